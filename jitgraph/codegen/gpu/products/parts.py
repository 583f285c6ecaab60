"""Products cut into tiles and, where these are too few for a GPU, into parts of the depth.

    blocks of the grid = batch x parts of the depth x tiles

Which tile it is, and into how many parts the depth is cut, is for the sizes to say, so that results
do not depend on the device. Parts leave their sums in memory of their own; a second kernel adds
these in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.products.arithmetic import Sizes
from jitgraph.codegen.gpu.products.copies import asynchronous
from jitgraph.codegen.gpu.products.tiling import Factor, Tile
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.registers import load, register_type, store
from jitgraph.ir.types import DType

#: Blocks that keep a large GPU busy, and those with which a large tile is worth while.
_FILL, _MANY = 264, 128
#: The least depth of a part, and the most parts.
_LEAST_PART, _MOST_PARTS = 256, 64
#: Rows and columns from which on a large tile is worth while.
_LARGE = 65
#: Tiles side by side that run at the same time, so that they share what they read.
_BAND = 8
_MOST_BLOCKS = (1 << 31) - 1
#: Blocks for each multiprocessor that add parts.
_ROUNDS = 16


class Body(Protocol):
    """A problem inside a kernel."""

    #: Whether columns are adjacent in what is written, rather than rows.
    by_rows: bool

    def place(self, number: str) -> Sequence[str]:
        """Where in the batch a product is."""

    def factors(self, tile: Tile, place: Sequence[str], row: str, column: str) -> list[Factor]:
        """The factors of the tile that begins here."""

    def finish(self, place: Sequence[str], row: str, column: str, value: str) -> None:
        """Store an element, or what is made of it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A batch of products of equal sizes: numbers, or registers of the host. In the kernel begun
    last, `body` gets the sizes as they are there."""

    arguments: Arguments
    dtype: DType
    batch: str
    rows: str
    columns: str
    depth: str
    body: Callable[[FunctionBuilder, Extents], Body]
    #: Parameters that its kernels have besides, and what the host gives for them.
    more: Mapping[str, str] = field(default_factory=dict)

    def extents(self) -> list[str]:
        return [self.batch, self.rows, self.columns, self.depth]


@dataclass(frozen=True, slots=True)
class Extents:
    """The sizes of a problem in a kernel."""

    batch: str
    rows: str
    columns: str
    depth: str


@dataclass(frozen=True, slots=True)
class Way:
    """A kernel that can do a product: its blocks of so many threads each do `rows` and `columns` of
    one part of the depth, whose length is a multiple of `step`."""

    threads: int
    rows: int
    columns: int
    step: int
    emit: Callable[[Problem, bool], FunctionBuilder]


def tiled(tile: Tile) -> Way:
    """By tiles."""
    return Way(tile.threads, tile.rows, tile.columns, tile.depth,
               lambda problem, several: _emit_tiled(problem, tile, several))  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Cut:
    """How the depth is cut (`parts` of `depth` steps), for how many blocks."""

    parts: str
    depth: str
    blocks: str


def emit_problem(problem: Problem, ways: Sequence[Way]) -> None:
    """Run a problem by the first way if that keeps a GPU busy, else by the second one."""
    p = problem.arguments.emitter
    s = Sizes(p.f)
    cuts = [_cut(s, problem, way) for way in ways]
    chosen, parts = ["true"], cuts[0].parts
    if len(ways) > 1:
        wide = s.is_more(s.least(problem.rows, problem.columns), _LARGE - 1)
        large = s.both(wide, s.is_more(cuts[0].blocks, _MANY - 1))
        chosen = [large, s.opposite(large)]
        parts = s.choose(large, parts, cuts[1].parts)
    several = s.is_more(parts, 1)
    scratch = _scratch(problem, parts, several)
    extents = [f"i64 {x}" for x in problem.extents() if not x.isdigit()]
    extents += problem.more.values()
    for way, cut, condition in zip(ways, cuts, chosen, strict=True):
        if condition == "false":
            continue
        # All get some blocks, those that are not for the sizes at hand none.
        problem.arguments.launch(
            way.emit(problem, several != "false"), s.choose(condition, cut.blocks, 0), way.threads,
            [*extents, f"ptr {scratch}", f"i64 {cut.parts}", f"i64 {cut.depth}"],
        )  # fmt: skip
    if several != "false":
        f = _emit_joined(problem)
        blocks = s.parts(s.times(*problem.extents()[:3]), gpu.THREADS)
        blocks = s.least(blocks, problem.arguments.most_blocks(_ROUNDS))
        problem.arguments.launch(
            f, s.choose(several, blocks, 0), gpu.THREADS,
            [*extents, f"ptr {scratch}", f"i64 {parts}", "i64 0"],
        )  # fmt: skip


def _cut(s: Sizes, problem: Problem, way: Way) -> _Cut:
    each = s.times(s.parts(problem.rows, way.rows), s.parts(problem.columns, way.columns),
                   problem.batch)  # fmt: skip
    parts = s.least(s.over(str(_FILL), each), s.over(problem.depth, _LEAST_PART))
    parts = s.most(s.least(parts, _MOST_PARTS), 1)
    depth = s.times(s.parts(s.parts(problem.depth, parts), way.step), way.step)
    parts = s.most(s.parts(problem.depth, depth), 1)
    return _Cut(parts, depth, s.times(each, parts))


def _scratch(problem: Problem, parts: str, several: str) -> str:
    """Memory for the sums of the parts."""
    if several == "false":
        return "null"
    p = problem.arguments.emitter
    f, cell = p.f, p.scratch_cell()
    size = Sizes(f).times(parts, *problem.extents()[:3], problem.dtype.itemsize)
    with f.if_then(several):
        p.malloc(size, cell)
    return f.emit(f"load ptr, ptr {cell}", "parts")


# --- kernels -------------------------------------------------------------------------------------
class Part:
    """Which part of which product a block does: it is block `block` of those that do one part, from
    `first` to `last`."""

    def __init__(self, problem: Problem, f: FunctionBuilder, several: bool) -> None:
        self.f, self.several, self.dtype = f, several, problem.dtype
        self.s = Sizes(f)
        self.extents = extents_in(problem)
        self.body = problem.body(f, self.extents)

    def begin(self, blocks: str) -> None:
        """Find it; `blocks` are those that do one part."""
        f, s = self.f, self.s
        number, self.block = block_remainder(f, gpu.block(f), blocks)
        self.first, self.last = "0", self.extents.depth
        self.batch, self.number = number, "0"
        if self.several:
            self.batch, self.number = block_remainder(f, number, "%parts")
            self.first = s.times(self.number, "%part_depth")
            self.last = s.least(s.plus(self.first, "%part_depth"), self.last)
        self.place = self.body.place(self.batch)

    def finish(self, row: str, column: str, value: str) -> None:
        """Finish an element, or keep its sum for whoever adds the parts."""
        f, s, sizes = self.f, self.s, self.extents
        if not self.several:
            self.body.finish(self.place, row, column, value)
            return
        kept, final, done = f.label("kept"), f.label("final"), f.label("finished")
        f.branch_if(s.is_more("%parts", 1), kept, final)
        f.block(kept)
        matrix = s.plus(s.times(self.number, sizes.batch), self.batch)
        if self.body.by_rows:
            place = s.plus(s.times(s.plus(s.times(matrix, sizes.rows), row), sizes.columns), column)
        else:
            place = s.plus(s.times(s.plus(s.times(matrix, sizes.columns), column), sizes.rows), row)
        place = s.times(place, self.dtype.itemsize)
        store(f, value, f.offset("%scratch", place), self.dtype)
        f.branch(done)
        f.block(final)
        self.body.finish(self.place, row, column, value)
        f.block(done)


def begin(problem: Problem, threads: int, resident: int = 0) -> FunctionBuilder:
    """Begin a kernel for a problem."""
    extents = [f"i64 %extent{k}" for k, x in enumerate(problem.extents()) if not x.isdigit()]
    more = [*extents, *problem.more, "ptr %scratch", "i64 %parts", "i64 %part_depth"]
    return problem.arguments.begin(more=more, threads=threads, resident=resident)


def extents_in(problem: Problem) -> Extents:
    """The sizes in the kernel begun last."""
    return Extents(*(x if x.isdigit() else f"%extent{k}"
                     for k, x in enumerate(problem.extents())))  # fmt: skip


def _emit_tiled(problem: Problem, tile: Tile, several: bool) -> FunctionBuilder:
    """The kernel of blocks that each compute a tile."""
    # Without asynchronous copies what is on its way takes registers.
    target = problem.arguments.emitter.device.target
    f = begin(problem, tile.threads, tile.resident if asynchronous(target) else 0)
    code, s = tile.code(f), Sizes(f)
    part = Part(problem, f, several)
    rows, columns = part.extents.rows, part.extents.columns
    across, down = s.parts(columns, tile.columns), s.parts(rows, tile.rows)
    part.begin(s.times(across, down))
    row, column = banded(f, part.block, down, across)
    row, column = s.times(row, tile.rows), s.times(column, tile.columns)
    left, right = part.body.factors(tile, part.place, row, column)
    sums = code.sums(left, right, part.first, part.last)
    left_rows, left_columns = s.less(rows, row), s.less(columns, column)

    def finish(y: str, x: str, value: str) -> None:
        inside = [f.emit(f"icmp slt i64 {a}, {b}") for a, b in ((y, left_rows), (x, left_columns))]
        with f.if_then(f.emit(f"and i1 {inside[0]}, {inside[1]}")):
            part.finish(s.plus(row, y), s.plus(column, x), value)

    code.deliver(sums, finish, by_rows=part.body.by_rows)
    f.do("ret void")
    return f


def _emit_joined(problem: Problem) -> FunctionBuilder:
    """The kernel that adds the sums of the parts, in order."""
    f = begin(problem, gpu.THREADS)
    sizes, s, dtype = extents_in(problem), Sizes(f), problem.dtype
    body = problem.body(f, sizes)
    total = s.times(sizes.batch, sizes.rows, sizes.columns)
    first = s.plus(s.times(gpu.block(f), gpu.threads(f)), gpu.thread(f))
    stride = s.times(total, dtype.itemsize)
    type_ = register_type(dtype)
    with f.loop(first, total, s.times(gpu.blocks(f), gpu.threads(f)), "point") as point:
        start = f.offset("%scratch", s.times(str(point), dtype.itemsize))
        sums = [(type_, "0.0"), ("ptr", start)]
        with f.loop(0, "%parts", 1, "part", accumulators=sums) as part:
            before, here = part.carried
            value = load(f, here, dtype)
            part.carry(f.emit(f"fadd {type_} {before}, {value}"), f.offset(here, stride))
        inner, outer = (
            (sizes.columns, sizes.rows) if body.by_rows else (sizes.rows, sizes.columns)
        )
        rest, x = remainder(f, str(point), inner)
        number, y = remainder(f, rest, outer)
        row, column = (y, x) if body.by_rows else (x, y)
        body.finish(body.place(number), row, column, part.results[0])
    f.do("ret void")
    return f


def remainder(f: FunctionBuilder, a: str, b: str) -> tuple[str, str]:
    """Quotient and remainder of i64 that are not negative; b is not 0."""
    if b == "1":
        return a, "0"
    return f.emit(f"udiv i64 {a}, {b}"), f.emit(f"urem i64 {a}, {b}")


def block_remainder(f: FunctionBuilder, a: str, b: str) -> tuple[str, str]:
    """The same of numbers of blocks, which are less than 2**31: that takes a few instructions."""
    if b == "1":
        return a, "0"
    narrow = [x if x.isdigit() else f.emit(f"trunc i64 {x} to i32") for x in (a, b)]
    found = [f.emit(f"{op} i32 {narrow[0]}, {narrow[1]}") for op in ("udiv", "urem")]
    quotient, rest = (f.emit(f"zext i32 {x} to i64") for x in found)
    return quotient, rest


def banded(f: FunctionBuilder, number: str, down: str, across: str) -> tuple[str, str]:
    """Row and column of a tile: bands of `_BAND` rows, each column by column."""
    s = Sizes(f)
    band, within = block_remainder(f, number, s.least(s.times(across, _BAND), _MOST_BLOCKS))
    first = s.times(band, _BAND)
    column, row = block_remainder(f, within, s.least(s.less(down, first), _BAND))
    return s.plus(first, row), column
