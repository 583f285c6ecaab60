"""Calls of native routines: NumPy's inner loops and sorts, BLAS, and the code of `selection`.

A routine's library says how it is called. An inner loop takes the pointers of its operands, then
the extents (of one batch axis and of its core) and the byte strides (of the batch axis, then of the
core, operand by operand), so it reads any memory as it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jitgraph.codegen.natives import loop_symbol, takes_data
from jitgraph.ir.kernel import Call, View

if TYPE_CHECKING:
    from jitgraph.codegen.program import ProgramEmitter

#: FE_INVALID, on all processors we generate code for.
_INVALID = 1
_LOOP = "void @{}(ptr, ptr, ptr, ptr)"


def words_needed(step: Call) -> int:
    """How many 64-bit words the tables for a call take: pointers, extents, strides."""
    views = (*step.inputs, *step.outputs)
    return 2 * len(views) + 1 + len(step.core) + sum(map(len, _cores(step)))


def emit_call(p: ProgramEmitter, step: Call) -> None:
    """Run the routine of a step; where it fails, the program does."""
    f = p.f
    if step.routine.fails:
        f.module.declare("declare i32 @feclearexcept(i32)")
        f.module.declare("declare i32 @fetestexcept(i32)")
        f.emit(f"call i32 @feclearexcept(i32 {_INVALID})")
    _EMITTERS[step.routine.library](_Operands(p, step))
    if step.routine.fails:
        flags = f.emit(f"call i32 @fetestexcept(i32 {_INVALID})")
        p.require_success(f.emit(f"icmp eq i32 {flags}, 0"))


def _cores(step: Call) -> list[str]:
    passed = [core for core in step.routine.operands if core is not None]
    return [*passed[step.routine.in_place :], *step.routine.results]


class _Operands:
    """The registers of a call. All are made before any loop: what a loop computes ends with it."""

    def __init__(self, p: ProgramEmitter, step: Call) -> None:
        self.p, self.f, self.step = p, p.f, step
        self.views: Sequence[View] = (*step.inputs, *step.outputs)
        self.batch = [p.size(extent) for extent in step.batch]
        self.core = [p.size(extent) for extent in step.core]
        self.strides = [[p.size(stride) for stride in view.strides] for view in self.views]
        self.starts = [p.start(view) for view in self.views]
        self.choice = p.size(step.choice)

    def symbols(self, chars: str) -> str:
        """The routine for these dtypes, chosen among the symbols if there are several."""
        names = [self._use(loop_symbol(self.step.routine.library, s, chars))
                 for s in self.step.routine.symbols]  # fmt: skip
        if len(names) == 1:
            return names[0]
        first = self.f.emit(f"icmp eq i64 {self.choice}, 0")
        return self.f.select(first, "ptr", *names)

    def _use(self, symbol: str) -> str:
        self.f.module.use("numpy", symbol, "declare " + _LOOP.format(symbol))
        return f"@{symbol}"

    def for_each(
        self, axes: int, body: Callable[[list[str]], None], starts: Sequence[str] | None = None
    ) -> None:
        """Loops over the first batch axes around the body, which is given the pointers there."""
        f = self.f

        def loops(axis: int, pointers: list[str]) -> None:
            if axis == axes:
                body(pointers)
                return
            with f.loop(0, self.batch[axis], name="batch") as loop:
                loops(axis + 1, [
                    f.offset(start, f.emit(f"mul i64 {loop}, {stride[axis]}"))
                    for start, stride in zip(pointers, self.strides, strict=True)
                ])  # fmt: skip

        loops(0, list(self.starts))


# --- inner loops -------------------------------------------------------------------------------
def _inner_loop(o: _Operands) -> None:
    f, rank = o.f, len(o.batch)
    chars = "".join(view.buffer.dtype.char for view in o.views)
    routine = o.symbols(chars)
    count = o.batch[-1] if rank else "1"
    outer = [stride[rank - 1] if rank else "0" for stride in o.strides]
    inner = [s for stride in o.strides for s in stride[rank:]]
    pointers = o.p.call_words
    extents = f.offset(pointers, 8 * len(o.views))
    steps = f.offset(extents, 8 * (1 + len(o.core)))
    for table, words in ((extents, (count, *o.core)), (steps, (*outer, *inner))):
        for k, word in enumerate(words):
            f.do(f"store i64 {word}, ptr {f.offset(table, 8 * k)}")
    data = _data(o, chars)

    def call(starts: list[str]) -> None:
        for k, start in enumerate(starts):
            f.do(f"store ptr {start}, ptr {f.offset(pointers, 8 * k)}")
        f.do(f"call void {routine}(ptr {pointers}, ptr {extents}, ptr {steps}, ptr {data})")

    with f.if_then(f.emit(f"icmp sgt i64 {count}, 0")):
        o.for_each(max(rank - 1, 0), call)


def _data(o: _Operands, chars: str) -> str:
    """What the loop wants as its last argument; all symbols of a routine want the same kind."""
    library, symbols = o.step.routine.library, o.step.routine.symbols
    names = [loop_symbol(library, s, chars) for s in symbols]
    if not takes_data(names[0]):
        return "null"
    found = []
    for name in names:
        o.f.module.use("numpy", f"{name}.data", f"@{name}.data = external global i8")
        found.append(f"@{name}.data")
    if len(found) == 1:
        return found[0]
    first = o.f.emit(f"icmp eq i64 {o.choice}, 0")
    return o.f.select(first, "ptr", *found)


# --- sorts -------------------------------------------------------------------------------------
def _sort(o: _Operands) -> None:
    """Rows of the one result, in place; or the places of the rows of an operand in order."""
    f, view = o.f, o.views[0]
    symbol = f"numpy.{o.step.routine.symbols[0]}.{view.buffer.dtype.str[1:]}"
    places = len(o.views) > 1
    parameters = "ptr, ptr, i64, ptr" if places else "ptr, i64, ptr"
    f.module.use("numpy", symbol, f"declare i32 @{symbol}({parameters})")

    def call(starts: list[str]) -> None:
        pointers = ", ".join(f"ptr {start}" for start in starts)
        if places:
            with f.loop(0, o.core[0], name="place") as i:
                cell = f.offset(starts[1], f.emit(f"mul i64 {i}, 8"))
                f.do(f"store i64 {i}, ptr {cell}")
        f.emit(f"call i32 @{symbol}({pointers}, i64 {o.core[0]}, ptr null)")

    o.for_each(len(o.batch), call)


_EMITTERS: dict[str, Callable[[_Operands], None]] = {
    "numpy.linalg": _inner_loop,
    "numpy.fft": _inner_loop,
    "numpy.sort": _sort,
}
