"""Running totals: what the elements of a row up to each come to.

    x        3 1 4 | 1 5 9 | 2 6        segments, a block each
    totals   8     | 15    | 8          1. what each segment comes to
             0     | 8     | 23         2. of these, running totals of those before
    out      3 4 8 | 9 14 23 | 25 31    3. running totals from there on

A block goes through its segment by as many elements as it has threads; lanes of a warp add up by
shuffles, warps through shared memory. The order only depends on the length of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from jitgraph.codegen.expansions import part_dtype
from jitgraph.codegen.gpu import launching as gl
from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.points import emit_points, permuted, split_index
from jitgraph.codegen.gpu.nests.together import registers_of, words_of
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.places import accumulator
from jitgraph.codegen.reductions import combined
from jitgraph.codegen.registers import (
    narrowed,
    register_type,
    store,
    widened,
)
from jitgraph.ir.kernel import Kernel

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Elements of a segment, rounds of all threads of a block.
SEGMENT = 16 * gpu.THREADS
_WARP = 32
_WARPS = gpu.THREADS // _WARP
#: Words of 32 bits of the largest state.
_WORDS = 4
#: Rows of fewer elements are short; and from so many rows on that lie side by side, each thread has
#: one of its own.
_SHORT, _MANY_ROWS = 64, 4096


class Body(Protocol):
    """What is scanned, in one kernel: registers of these types, merged in order."""

    types: list[str]
    neutral: list[str]

    def merged(self, a: Sequence[str], b: Sequence[str]) -> list[str]:
        """What two neighbours come to."""

    def value(self, row: str, place: str) -> list[str]:
        """What an element is."""

    def put(self, row: str, place: str, before: list[str], value: list[str]) -> None:
        """What is done with what the elements before it come to."""


#: Begins a kernel with more parameters than its own.
Begin: TypeAlias = Callable[[list[str]], FunctionBuilder]
#: Launches it, in so many blocks, with the values of those.
Launch: TypeAlias = Callable[[FunctionBuilder, str, list[str]], None]


def scan_rows(
    p: OnDevice,
    begin: Begin,
    launch: Launch,
    rows: str,
    n: str,
    body: Callable[[FunctionBuilder], Body],
) -> None:
    """Launch the three kernels, of which rows of one segment need the last one only."""
    f = p.f
    segments = gl.divided_up(f, n, SEGMENT)
    several = f.emit(f"icmp sgt i64 {segments}, 1")
    tasks = f.emit(f"mul i64 {rows}, {segments}")
    apart = f.select(several, "i64", tasks, 0)
    totals = p.scratch_memory(f.emit(f"mul i64 {apart}, {4 * _WORDS}"))
    more = ["ptr noalias %totals", "i64 %rows", "i64 %count", "i64 %segments"]
    values = [f"ptr {totals}", f"i64 {rows}", f"i64 {n}", f"i64 {segments}"]
    before = f.select(several, "i64", rows, 0)
    parts = [(_totals, apart), (_before, before), (_scan, tasks)]
    if n.isdigit() and int(n) <= SEGMENT:
        del parts[:2]
    for part, blocks in parts:
        kernel = begin(more)
        shared = gpu.shared_memory(kernel, _WARPS * _WORDS * 4)
        part(Scan(kernel, body(kernel), shared))
        launch(kernel, gl.blocks_for(p, blocks), values)


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan by the threads of a block, in one kernel."""

    f: FunctionBuilder
    body: Body
    shared: str

    @property
    def types(self) -> list[str]:
        return self.body.types

    @property
    def neutral(self) -> list[str]:
        return self.body.neutral

    def merged(self, a: Sequence[str], b: Sequence[str]) -> list[str]:
        return self.body.merged(a, b)

    def state(self) -> list[tuple[str, str]]:
        """What changes nothing, with types."""
        return list(zip(self.types, self.neutral, strict=True))

    def chosen(self, which: str, a: Sequence[str], b: Sequence[str]) -> list[str]:
        return [self.f.select(which, t, x, y) for t, x, y in zip(self.types, a, b, strict=True)]

    def block(self, values: list[str]) -> tuple[list[str], list[str]]:
        """Of each thread what the threads before it come to, and what all do. All threads of the
        block take part."""
        f, thread = self.f, gpu.thread(self.f)
        lane = f.emit(f"and i64 {thread}, {_WARP - 1}")
        warp = f.emit(f"lshr i64 {thread}, 5")
        carried = list(zip(self.types, values, strict=True))
        with f.loop(0, 5, name="step", accumulators=carried) as step:
            distance = f.emit(f"shl i64 1, {step}")
            before = self.from_below(step.carried, distance)
            far = f.emit(f"icmp sge i64 {lane}, {distance}")
            step.carry(*self.chosen(far, self.merged(before, step.carried), step.carried))
        within = step.results
        last = f.emit(f"icmp eq i64 {lane}, {_WARP - 1}")
        with f.if_then(last):
            self._put(within, warp)
        gpu.barrier(f)
        carried = self.state() * 2
        with f.loop(0, _WARPS, name="warp", accumulators=carried) as other:
            count = len(self.types)
            before, total = other.carried[:count], other.carried[count:]
            there = self._get(str(other))
            earlier = f.emit(f"icmp slt i64 {other}, {warp}")
            joined = self.merged(before, there)
            other.carry(*self.chosen(earlier, joined, before), *self.merged(total, there))
        gpu.barrier(f)
        before, total = other.results[:count], other.results[count:]
        below = self.from_below(within, "1")
        first = f.emit(f"icmp eq i64 {lane}, 0")
        return self.chosen(first, before, self.merged(before, below)), total

    def from_below(self, values: Sequence[str], distance: str) -> list[str]:
        """The registers of the thread so many places before in the warp."""
        f, by = self.f, self.f.emit(f"trunc i64 {distance} to i32")
        words = [f.intrinsic("i32", "@llvm.nvvm.shfl.sync.up.i32", "i32 -1", f"i32 {word}",
                             f"i32 {by}", "i32 0") for word in words_of(f, self.types, values)
                 ]  # fmt: skip
        return registers_of(f, self.types, words)

    def _put(self, values: Sequence[str], slot: str) -> None:
        f = self.f
        at = f.offset(self.shared, f.emit(f"mul i64 {slot}, {4 * _WORDS}"))
        for k, word in enumerate(words_of(f, self.types, values)):
            f.do(f"store i32 {word}, ptr {f.offset(at, 4 * k)}")

    def _get(self, slot: str) -> list[str]:
        f = self.f
        at = f.offset(self.shared, f.emit(f"mul i64 {slot}, {4 * _WORDS}"))
        count = len(words_of(f, self.types, self.neutral))
        words = [f.emit(f"load i32, ptr {f.offset(at, 4 * k)}") for k in range(count)]
        return registers_of(f, self.types, words)



# --- kernels -----------------------------------------------------------------------------------
def _segment(f: FunctionBuilder, task: str) -> tuple[str, str, str]:
    """The row, and from where to where its segment goes."""
    row = f.emit(f"udiv i64 {task}, %segments")
    start = f.emit(f"mul i64 {f.emit(f'urem i64 {task}, %segments')}, {SEGMENT}")
    return row, start, f.minimum(f.emit(f"add i64 {start}, {SEGMENT}"), "%count")


def _totals(scan: Scan) -> None:
    """What each segment comes to."""
    f = scan.f
    with gl.each_task(f, f.emit("mul i64 %rows, %segments")) as task:
        row, start, end = _segment(f, str(task))
        with f.loop(start, end, gpu.THREADS, name="round", accumulators=scan.state()) as loop:
            place = f.emit(f"add i64 {loop}, {gpu.thread(f)}")
            value = _where(scan, f.emit(f"icmp slt i64 {place}, {end}"),
                           partial(scan.body.value, row, place))  # fmt: skip
            loop.carry(*scan.merged(loop.carried, value))
        _, total = scan.block(loop.results)
        with f.if_then(f.emit(f"icmp eq i64 {gpu.thread(f)}, 0")):
            _save(scan, total, str(task))


def _before(scan: Scan) -> None:
    """Of each segment what those before it come to."""
    f = scan.f
    with gl.each_task(f, "%rows") as row:
        begin = f.emit(f"mul i64 {row}, %segments")
        with f.loop(
            0, "%segments", gpu.THREADS, name="part", accumulators=scan.state()
        ) as loop:
            place = f.emit(f"add i64 {loop}, {gpu.thread(f)}")
            inside = f.emit(f"icmp slt i64 {place}, %segments")
            at = f.emit(f"add i64 {begin}, {place}")
            before, total = scan.block(_where(scan, inside, partial(_saved, scan, at)))
            with f.if_then(inside):
                _save(scan, scan.merged(loop.carried, before), at)
            loop.carry(*scan.merged(loop.carried, total))


def _scan(scan: Scan) -> None:
    """What the elements of each segment have before them."""
    f = scan.f
    with gl.each_task(f, f.emit("mul i64 %rows, %segments")) as task:
        row, start, end = _segment(f, str(task))
        several = f.emit("icmp sgt i64 %segments, 1")
        first = _where(scan, several, partial(_saved, scan, str(task)))
        types = list(zip(scan.types, first, strict=True))
        with f.loop(start, end, gpu.THREADS, name="round", accumulators=types) as loop:
            place = f.emit(f"add i64 {loop}, {gpu.thread(f)}")
            inside = f.emit(f"icmp slt i64 {place}, {end}")
            value = _where(scan, inside, partial(scan.body.value, row, place))
            before, total = scan.block(value)
            with f.if_then(inside):
                scan.body.put(row, place, scan.merged(loop.carried, before), value)
            loop.carry(*scan.merged(loop.carried, total))


def _where(scan: Scan, condition: str, emit: Callable[[], list[str]]) -> list[str]:
    """What is emitted where the condition holds, elsewhere what changes nothing."""
    f = scan.f
    before, then, done = f.current, f.label("then"), f.label("either")
    f.branch_if(condition, then, done)
    f.block(then)
    values = emit()
    last = f.current
    f.block(done)
    return [f.phi(t, [(v, last), (none, before)])
            for t, v, none in zip(scan.types, values, scan.neutral, strict=True)]  # fmt: skip


def _save(scan: Scan, state: Sequence[str], slot: str) -> None:
    f = scan.f
    at = f.offset("%totals", f.emit(f"mul i64 {slot}, {4 * _WORDS}"))
    for k, word in enumerate(words_of(f, scan.types, state)):
        f.do(f"store i32 {word}, ptr {f.offset(at, 4 * k)}")


def _saved(scan: Scan, slot: str) -> list[str]:
    f = scan.f
    at = f.offset("%totals", f.emit(f"mul i64 {slot}, {4 * _WORDS}"))
    count = len(words_of(f, scan.types, scan.neutral))
    words = [f.emit(f"load i32, ptr {f.offset(at, 4 * k)}") for k in range(count)]
    return registers_of(f, scan.types, words)


# --- running totals of the schedule --------------------------------------------------------------
def runs(kernel: Kernel) -> bool:
    """Whether a kernel does nothing but running totals along one loop."""
    return len(kernel.stores) == 1 and kernel.stores[0].running is not None


def emit_running(arguments: Arguments, kernel: Kernel) -> None:
    """Launch the three kernels, of which rows of one segment need the last one only; or the one
    that gives each thread a row, where rows are short, or lie side by side and are many."""
    (item,) = kernel.stores
    assert item.running is not None
    loop, p, f = item.running, arguments.emitter, arguments.f
    order = [k for k in range(len(kernel.extents)) if k != loop]
    turned = permuted(kernel, [*order, loop])
    extents = turned.extents
    rows, n = p.product_of(extents[:-1]), p.size(extents[-1])
    apart = loop != len(extents) - 1
    if not order or (rows.isdigit() and n.isdigit()):
        if order and _is_serial(int(rows), int(n), apart):
            emit_points(arguments, kernel)
        else:
            _scan_kernel(arguments, turned)
        return
    short = f.emit(f"icmp slt i64 {n}, {_SHORT}")
    serial = f.emit(f"and i1 {short}, {f.emit(f'icmp sgt i64 {rows}, {_WARP}')}")
    if apart:
        many = f.emit(f"icmp sge i64 {rows}, {_MANY_ROWS}")
        serial = f.emit(f"or i1 {serial}, {many}")
    points, together, done = (f.label(name) for name in ("points", "together", "totals"))
    f.branch_if(serial, points, together)
    f.block(points)
    emit_points(arguments, kernel)
    f.branch(done)
    f.block(together)
    _scan_kernel(arguments, turned)
    f.block(done)


def _is_serial(rows: int, n: int, apart: bool) -> bool:
    return (n < _SHORT and rows > _WARP) or (apart and rows >= _MANY_ROWS)


def _scan_kernel(arguments: Arguments, kernel: Kernel) -> None:
    p = arguments.emitter
    rows, n = p.product_of(kernel.extents[:-1]), p.size(kernel.extents[-1])

    def begin(more: list[str]) -> FunctionBuilder:
        return arguments.begin(more=more)

    def launch(f: FunctionBuilder, blocks: str, values: list[str]) -> None:
        f.do("ret void")
        arguments.launch(f, blocks, gpu.THREADS, values)

    scan_rows(p, begin, launch, rows, n, lambda f: _Running(f, arguments, kernel))


class _Running:
    """The one store of a kernel along its innermost loop."""

    def __init__(self, f: FunctionBuilder, arguments: Arguments, kernel: Kernel) -> None:
        self.f = f
        (self.item,) = kernel.stores
        self.nest = Nest(arguments.context(kernel), kernel, len(kernel.extents))
        made = accumulator(f, self.item, 1)
        self.running = made
        self.neutral = made.initial()
        self.types = [register_type(made.dtype)] * len(self.neutral)
        dtype = self.item.value.dtype
        self.half = dtype if part_dtype(dtype) != made.dtype else None

    def merged(self, a: Sequence[str], b: Sequence[str]) -> list[str]:
        combine, dtype = self.running.combine, self.running.dtype
        return [combined(self.f, combine, dtype, x, y, 1) for x, y in zip(a, b, strict=True)]

    def value(self, row: str, place: str) -> list[str]:
        nest = self.nest
        with nest.within(nest.scope()):
            nest.compute(nest.rank, self._pointers(row, place))
            value = nest.outside.lower(self.item.value)
        parts = [value] if isinstance(value, str) else list(value)
        if self.half is not None:
            parts = [widened(self.f.emit, part, self.half, 1) for part in parts]
        return parts

    def put(self, row: str, place: str, before: list[str], value: list[str]) -> None:
        parts = self.merged(before, value)
        if self.half is not None:
            parts = [narrowed(self.f.emit, part, self.half, 1) for part in parts]
        register = parts[0] if len(parts) == 1 else (parts[0], parts[1])
        with self.nest.within(self.nest.scope()):
            out = self._pointers(row, place)[-1]
        store(self.f, register, out, self.item.access.buffer.dtype)

    def _pointers(self, row: str, place: str) -> list[str]:
        nest = self.nest
        extents = [nest.size(e) for e in nest.kernel.extents[:-1]]
        pointers = nest.start()
        for loop, index in enumerate([*split_index(self.f, row, extents), place]):
            nest.registers[nest.kernel.iterators[loop]] = index
            pointers = [nest.along(p, a.strides[loop], index)
                        for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
        return pointers
