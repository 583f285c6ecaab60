"""Matrix products on devices: a tile for each block of threads (`tiling`).

    blocks of the grid = parts of the depth x batch x tiles

Which tile, and into how many parts the depth is cut where there are too few tiles for a GPU, is for
the sizes to say, so that results do not depend on the device. Parts leave their sums in memory of
their own; a second kernel adds these in order. The elements are finished by the epilogue where the
product has one: nobody stores and reads the product itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.arithmetic import Sizes
from jitgraph.codegen.gpu.lines import THREADS as LINE_THREADS
from jitgraph.codegen.gpu.lines import Lines, depth_of_round, is_deep, lines_of_block
from jitgraph.codegen.gpu.matrices import Matrix
from jitgraph.codegen.gpu.points import emit_points, run_at, split_index
from jitgraph.codegen.gpu.tiling import Tile, TileCode
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.registers import load, register_type, store
from jitgraph.ir.kernel import Access, Kernel, Load, Product, Store, View
from jitgraph.ir.opdef import Size, apply_op
from jitgraph.ir.ops.arithmetic import multiply
from jitgraph.ir.types import I64, DType, Type
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Blocks that keep a large GPU busy, and those with which a large tile is worth while.
_FILL, _MANY = 264, 128
#: The least depth of a part, and the most parts.
_LEAST_PART, _MOST_PARTS = 256, 64
#: Rows and columns from which on a large tile is worth while.
_LARGE = 65
#: Matrices of a batch with up to so many elements are for threads, not for blocks.
_TINY = 256
#: Tiles side by side that run at the same time, so that they share what they read.
_BAND = 8
#: Blocks for each multiprocessor that add parts.
_ROUNDS = 16


def tiles(dtype: DType) -> tuple[Tile, Tile, Tile, Tile]:
    """The large and the small tile, and those for few rows and for few columns."""
    if dtype == np.float64:
        return (Tile(dtype, 8, 4, 2, 2, 8, 3, 3), Tile(dtype, 4, 2, 2, 2, 16, 3, 4),
                Tile(dtype, 4, 4, 1, 4, 8, 3, 4), Tile(dtype, 8, 2, 4, 1, 8, 3, 4))  # fmt: skip
    return (Tile(dtype, 8, 8, 4, 2, 8, 4, 2), Tile(dtype, 4, 4, 4, 2, 16, 3, 2),
            Tile(dtype, 4, 8, 1, 4, 8, 4, 4), Tile(dtype, 8, 4, 4, 1, 8, 4, 4))  # fmt: skip


def emit_product(p: OnDevice, step: Product, name: str) -> bool:
    """Run a product and its epilogue."""
    if step.batch and _is_tiny(step):
        return emit_points(p.arguments(kernel := as_kernel(step), name), kernel)
    arguments = p.arguments(step, name)
    Launches(arguments, step).emit()
    return True


def _is_tiny(step: Product) -> bool:
    rows, columns = step.rows, step.columns
    return isinstance(rows, int) and isinstance(columns, int) and rows * columns <= _TINY


@dataclass(frozen=True, slots=True)
class Way:
    """A kernel that can do a product: its blocks of so many threads each do `rows` and `columns` of
    one part of the depth, whose length is a multiple of `depth` and at least `least`."""

    threads: int
    rows: int
    columns: int
    depth: int
    least: int
    emit: Callable[[bool], FunctionBuilder]


@dataclass(frozen=True, slots=True)
class Cut:
    """How the depth is cut (`parts` of `depth` steps), for how many blocks."""

    parts: str
    depth: str
    blocks: str


class Launches:
    """The kernels of one product."""

    def __init__(self, arguments: Arguments, step: Product) -> None:
        self.arguments, self.step, self.p = arguments, step, arguments.emitter
        self.dtype = step.out.buffer.dtype
        p = self.p
        self.sizes = Sizes(p.f)
        self.rows, self.columns, self.inner = (
            p.size(s) for s in (step.rows, step.columns, step.inner)
        )
        self.batch = p.product_of(step.batch)

    def emit(self) -> None:
        """All of them; those that are not for the sizes at hand get no blocks."""
        s = self.sizes
        ways = self._ways()
        cuts = [self._cut(way) for way in ways]
        chosen = ["true"] if len(ways) == 1 else self._chosen(cuts[0])
        parts = cuts[0].parts if len(ways) == 1 else s.choose(chosen[0], *(c.parts for c in cuts))
        several = s.is_more(parts, 1)
        scratch = self._scratch(parts, several)
        for way, cut, condition in zip(ways, cuts, chosen, strict=True):
            if condition == "false":
                continue
            self.arguments.launch(
                way.emit(several != "false"), s.choose(condition, cut.blocks, 0), way.threads,
                [f"ptr {scratch}", f"i64 {cut.parts}", f"i64 {cut.depth}"],
            )  # fmt: skip
        if several != "false":
            f = emit_joined(self.arguments, self.step)
            blocks = s.parts(s.times(self.batch, self.rows, self.columns), gpu.THREADS)
            blocks = s.least(blocks, self.arguments.most_blocks(_ROUNDS))
            self.arguments.launch(f, s.choose(several, blocks, 0), gpu.THREADS,
                                  [f"ptr {scratch}", f"i64 {parts}"])  # fmt: skip

    def _ways(self) -> list[Way]:
        """The kernel for the product, or a large and a small one between which sizes decide."""
        step = self.step
        if "1" in (self.rows, self.columns):
            across = self.rows == "1"
            strides = step.right.strides if across else step.left.strides[::-1]
            deep = is_deep(self.dtype, self.p.size(strides[-2]))
            lines = lines_of_block(deep)
            return [Way(
                LINE_THREADS, 1 if across else lines, lines if across else 1,
                depth_of_round(deep), _LEAST_PART,
                lambda several: emit_lines(self.arguments, step, across, several),
            )]  # fmt: skip
        fitting: Sequence[Tile] = tiles(self.dtype)
        if self.rows.isdigit() and int(self.rows) <= fitting[2].rows:
            fitting = fitting[2:3]
        elif self.columns.isdigit() and int(self.columns) <= fitting[3].columns:
            fitting = fitting[3:]
        return [
            Way(tile.threads, tile.rows, tile.columns, tile.depth, _LEAST_PART,
                partial(emit_tiled, self.arguments, step, tile))
            for tile in fitting[:2]
        ]  # fmt: skip

    def _cut(self, way: Way) -> Cut:
        s = self.sizes
        each = s.times(s.parts(self.rows, way.rows), s.parts(self.columns, way.columns),
                       self.batch)  # fmt: skip
        parts = s.least(s.over(str(_FILL), each), s.over(self.inner, way.least))
        parts = s.most(s.least(parts, _MOST_PARTS), 1)
        depth = s.times(s.parts(s.parts(self.inner, parts), way.depth), way.depth)
        parts = s.most(s.parts(self.inner, depth), 1)
        return Cut(parts, depth, s.times(each, parts))

    def _chosen(self, cut: Cut) -> list[str]:
        """When the large tile is the one, and when the small one."""
        s = self.sizes
        both = s.is_more(s.least(self.rows, self.columns), _LARGE - 1)
        large = s.both(both, s.is_more(cut.blocks, _MANY - 1))
        return [large, s.opposite(large)]

    def _scratch(self, parts: str, several: str) -> str:
        """Memory for the sums of the parts."""
        p, f = self.p, self.p.f
        if several == "false":
            return "null"
        s = self.sizes
        size = s.times(parts, self.batch, self.rows, self.columns, self.dtype.itemsize)
        cell = p.scratch_cell()
        with f.if_then(several):
            p.malloc(size, cell)
        return f.emit(f"load ptr, ptr {cell}", "parts")


# --- kernels -------------------------------------------------------------------------------------
class Elements:
    """The elements of a product in a kernel: what is done with them."""

    def __init__(self, arguments: Arguments, step: Product) -> None:
        self.f, self.step = arguments.kernel, step
        self.context = arguments.context(step)
        self.nest: Nest | None = None
        bare = Kernel((), (), (), (), ())
        self.sizes = Nest(self.context, bare)
        if step.epilogue is not None:
            kernel, self.product = without(step.epilogue.kernel, step.out)
            self.nest = Nest(self.context, kernel, 2)
            strides = kernel.stores[0].access.strides
            strides = strides[::-1] if step.epilogue.turned else strides
        else:
            strides = step.out.strides[-2:]
        item = step.out.buffer.dtype.itemsize
        #: Whether columns are adjacent in what is written, rather than rows.
        self.by_rows = strides[-1] == item or strides[-2] != item

    def size(self, size: Size) -> str:
        return self.sizes.size(size)

    def start(self, view: View, at: Sequence[str]) -> str:
        """Where the matrix of a view is that is `at` this place of the batch."""
        pointer = self.sizes.pointer(view.buffer, view.offset)
        for index, stride in zip(at, view.strides[:-2], strict=True):
            pointer = self.sizes.along(pointer, stride, index)
        return pointer

    def finish(self, at: Sequence[str], row: str, column: str, value: str) -> None:
        """Store an element, or what the epilogue makes of it."""
        step = self.step
        if self.nest is None:
            pointer = self.sizes.along(self.start(step.out, at), step.out.strides[-2], row)
            pointer = self.sizes.along(pointer, step.out.strides[-1], column)
            store(self.f, value, pointer, step.out.buffer.dtype)
            return
        assert step.epilogue is not None
        for leaf in self.product:
            self.nest.registers[leaf] = value
        run_at(self.nest, [column, row] if step.epilogue.turned else [row, column])

    def place(self, number: str, row: str, column: str) -> str:
        """The number of an element of matrix `number` in the memory of the parts."""
        s = Sizes(self.f)
        rows, columns = self.size(self.step.rows), self.size(self.step.columns)
        if self.by_rows:
            return s.plus(s.times(s.plus(s.times(number, rows), row), columns), column)
        return s.plus(s.times(s.plus(s.times(number, columns), column), rows), row)


def without(kernel: Kernel, out: View) -> tuple[Kernel, list[Value]]:
    """An epilogue that does not load the product but is given it, and as what."""
    leaves = [x.leaf for x in kernel.loads if x.access.buffer is out.buffer]
    loads = tuple(x for x in kernel.loads if x.leaf not in leaves)
    return replace(kernel, loads=loads, captured=(*kernel.captured, *leaves)), leaves


def emit_tiled(arguments: Arguments, step: Product, tile: Tile, several: bool) -> FunctionBuilder:
    """The kernel of blocks that each compute a tile."""
    f = arguments.begin(more=_MORE, threads=tile.threads, resident=tile.resident)
    elements = Elements(arguments, step)
    code, s = TileCode(f, tile), Sizes(f)
    rows, columns = elements.size(step.rows), elements.size(step.columns)
    across, down = s.parts(columns, tile.columns), s.parts(rows, tile.rows)
    part = Part(elements, s.times(across, down), several)
    row, column = banded(f, part.block, down, across)
    row, column = s.times(row, tile.rows), s.times(column, tile.columns)
    factors = [
        Matrix(f, tile.dtype, elements.start(view, part.at), elements.size(lines),
               elements.size(depth), first, count)
        for view, lines, depth, first, count in (
            (step.left, step.left.strides[-2], step.left.strides[-1], row, rows),
            (step.right, step.right.strides[-1], step.right.strides[-2], column, columns),
        )
    ]  # fmt: skip
    sums = code.sums(factors[0], factors[1], part.first, part.last)
    left_rows, left_columns = s.less(rows, row), s.less(columns, column)

    def finish(y: str, x: str, value: str) -> None:
        inside = [f.emit(f"icmp slt i64 {a}, {b}") for a, b in ((y, left_rows), (x, left_columns))]
        with f.if_then(f.emit(f"and i1 {inside[0]}, {inside[1]}")):
            part.finish(s.plus(row, y), s.plus(column, x), value)

    code.deliver(sums, finish, by_rows=elements.by_rows)
    f.do("ret void")
    return f


def emit_lines(
    arguments: Arguments, step: Product, across: bool, several: bool
) -> FunctionBuilder:
    """The kernel of a matrix and a vector, which is the left factor if `across`."""
    f = arguments.begin(more=_MORE, threads=LINE_THREADS)
    elements, s = Elements(arguments, step), Sizes(f)
    matrix, vector = (step.right, step.left) if across else (step.left, step.right)
    turn = -1 if across else 1
    line_stride, depth_stride = matrix.strides[-2:][::turn]
    count = elements.size(step.columns if across else step.rows)
    dtype = step.out.buffer.dtype
    deep = is_deep(dtype, elements.size(depth_stride))
    part = Part(elements, s.parts(count, lines_of_block(deep)), several)
    lines = Lines(
        f, dtype, elements.start(matrix, part.at), elements.size(line_stride),
        elements.size(depth_stride), elements.start(vector, part.at),
        elements.size(vector.strides[-2:][::turn][0]),
    )  # fmt: skip
    line, begin = lines.place()
    line = s.plus(s.times(part.block, lines_of_block(deep)), line)
    # All threads take part in adding up.
    value = lines.sum(s.least(line, s.less(count, "1")), begin, part.first, part.last)
    exists = f.emit(f"icmp slt i64 {line}, {count}")
    with f.if_then(f.emit(f"and i1 {lines.finishes()}, {exists}")):
        part.finish(*(("0", line) if across else (line, "0")), value)
    f.do("ret void")
    return f


#: What kernels are told of the parts of the depth.
_MORE = ("ptr %scratch", "i64 %parts", "i64 %part_depth")


class Part:
    """Which part of which product a block does: block `block` of those that do one part, `at` this
    place of the batch, from `first` to `last`."""

    def __init__(self, elements: Elements, blocks: str, several: bool) -> None:
        self.elements, self.several = elements, several
        f, step = elements.f, elements.step
        s = Sizes(f)
        self.f, self.s = f, s
        number, self.block = remainder(f, gpu.block(f), blocks)
        self.first, self.last = "0", elements.size(step.inner)
        self.batch, self.number = number, "0"
        if several:
            self.batch, self.number = remainder(f, number, "%parts")
            self.first = s.times(self.number, "%part_depth")
            self.last = s.least(s.plus(self.first, "%part_depth"), self.last)
        self.at = split_index(f, self.batch, [elements.size(e) for e in step.batch])

    def finish(self, row: str, column: str, value: str) -> None:
        """Finish an element, or keep its sum for whoever adds the parts."""
        f, s, elements = self.f, self.s, self.elements
        if not self.several:
            elements.finish(self.at, row, column, value)
            return
        kept, final, done = f.label("kept"), f.label("final"), f.label("finished")
        f.branch_if(s.is_more("%parts", 1), kept, final)
        f.block(kept)
        dtype = elements.step.out.buffer.dtype
        matrix = s.plus(s.times(self.number, _count(elements)), self.batch)
        place = s.times(elements.place(matrix, row, column), dtype.itemsize)
        store(f, value, f.offset("%scratch", place), dtype)
        f.branch(done)
        f.block(final)
        elements.finish(self.at, row, column, value)
        f.block(done)


def _count(elements: Elements) -> str:
    """How many matrices the batch has."""
    return Sizes(elements.f).times(*(elements.size(e) for e in elements.step.batch))


def emit_joined(arguments: Arguments, step: Product) -> FunctionBuilder:
    """The kernel that adds the sums of the parts, in order."""
    f = arguments.begin(more=["ptr %scratch", "i64 %parts"])
    elements, s = Elements(arguments, step), Sizes(f)
    dtype = step.out.buffer.dtype
    rows, columns = elements.size(step.rows), elements.size(step.columns)
    total = s.times(_count(elements), rows, columns)
    first = s.plus(s.times(gpu.block(f), gpu.threads(f)), gpu.thread(f))
    stride = s.times(total, dtype.itemsize)
    with f.loop(first, total, s.times(gpu.blocks(f), gpu.threads(f)), "point") as point:
        start = f.offset("%scratch", s.times(str(point), dtype.itemsize))
        with f.loop(0, "%parts", 1, "part", accumulators=[
            (register_type(dtype), "0.0"), ("ptr", start)
        ]) as part:  # fmt: skip
            total_, at_ = part.carried
            value = load(f, at_, dtype)
            part.carry(f.emit(f"fadd {register_type(dtype)} {total_}, {value}"),
                       f.offset(at_, stride))  # fmt: skip
        inner, outer = (columns, rows) if elements.by_rows else (rows, columns)
        rest, x = remainder(f, str(point), inner)
        batch, y = remainder(f, rest, outer)
        row, column = (y, x) if elements.by_rows else (x, y)
        at = split_index(f, batch, [elements.size(e) for e in step.batch])
        elements.finish(at, row, column, part.results[0])
    f.do("ret void")
    return f


def remainder(f: FunctionBuilder, a: str, b: str) -> tuple[str, str]:
    """Quotient and remainder of i64 that are not negative; b is not 0."""
    return f.emit(f"udiv i64 {a}, {b}"), f.emit(f"urem i64 {a}, {b}")


def banded(f: FunctionBuilder, number: str, down: str, across: str) -> tuple[str, str]:
    """Row and column of a tile: bands of `_BAND` rows, each column by column."""
    s = Sizes(f)
    band, within = remainder(f, number, s.times(across, _BAND))
    first = s.times(band, _BAND)
    column, row = remainder(f, within, s.least(s.less(down, first), _BAND))
    return s.plus(first, row), column


def as_kernel(step: Product) -> Kernel:
    """A product as a loop nest: a sum over the innermost of its loops."""
    extents = (*step.batch, step.rows, step.columns, step.inner)
    batch = len(step.batch)
    dtype = step.out.buffer.dtype
    left, right = Value(Type(dtype), name="a"), Value(Type(dtype), name="b")

    def access(view: View, row: int, column: int) -> Access:
        strides: list[Size] = [*view.strides[:batch], 0, 0, 0]
        strides[batch + row] = view.strides[-2]
        strides[batch + column] = view.strides[-1]
        return Access(view.buffer, view.offset, tuple(strides))

    inner = len(extents) - 1
    value = apply_op(multiply, (left, right), {}, step.location)
    return Kernel(
        extents,
        tuple(Value(Type(I64), name=f"i{k}") for k in range(len(extents))),
        (Load(left, access(step.left, 0, 2)), Load(right, access(step.right, 2, 1))),
        (),
        (Store(value, access(step.out, 0, 1), "add", frozenset({inner}), in_register=True),),
        locations=() if step.location is None else (step.location,),
    )
