"""Calls of native routines: NumPy's inner loops and sorts, BLAS, and the code of `selection`.

A routine's library says how it is called. An inner loop takes the pointers of its operands, then
the extents (of one batch axis and of its core) and the byte strides (of the batch axis, then of the
core, operand by operand), so it reads any memory as it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jitgraph.codegen.convolution.call import emit_convolution
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


def emit_call(p: ProgramEmitter, step: Call, name: str) -> None:
    """Run the routine of a step, whose functions are to have this name; where it fails, the program
    does."""
    f = p.f
    if step.routine.fails:
        f.module.declare("declare i32 @feclearexcept(i32)")
        f.module.declare("declare i32 @fetestexcept(i32)")
        f.emit(f"call i32 @feclearexcept(i32 {_INVALID})")
    _EMITTERS[step.routine.library](Operands(p, step, name))
    if step.routine.fails:
        flags = f.emit(f"call i32 @fetestexcept(i32 {_INVALID})")
        p.require_success(f.emit(f"icmp eq i32 {flags}, 0"))


def _cores(step: Call) -> list[str]:
    passed = [core for core in step.routine.operands if core is not None]
    return [*passed[step.routine.in_place :], *step.routine.results]


class Operands:
    """The registers of a call. All are made before any loop: what a loop computes ends with it."""

    def __init__(self, p: ProgramEmitter, step: Call, name: str) -> None:
        self.p, self.f, self.step, self.name = p, p.f, step, name
        self.views: Sequence[View] = (*step.inputs, *step.outputs)
        self.batch = [p.size(extent) for extent in step.batch]
        self.core = [p.size(extent) for extent in step.core]
        self.strides = [[p.size(stride) for stride in view.strides] for view in self.views]
        # A result that only matters image by image has no memory of its own.
        kept = step.epilogue is None or step.epilogue.image is None
        self.starts = [p.start(view) for view in step.inputs]
        self.starts += [p.start(view) if kept else "null" for view in step.outputs]
        self.choice = p.size(step.choice)

    def loop(self, library: str, symbols: Sequence[str], chars: str) -> tuple[str, str]:
        """The inner loop for these dtypes and its last argument; of two symbols, one by choice."""
        names = [loop_symbol(library, symbol, chars) for symbol in symbols]
        for name in names:
            self.f.module.use("numpy", name, "declare " + _LOOP.format(name))
        if not takes_data(names[0]):
            return self._chosen([f"@{name}" for name in names]), "null"
        for name in names:
            self.f.module.use("numpy", f"{name}.data", f"@{name}.data = external global i8")
        return (self._chosen([f"@{name}" for name in names]),
                self._chosen([f"@{name}.data" for name in names]))  # fmt: skip

    def _chosen(self, pointers: Sequence[str]) -> str:
        if len(pointers) == 1:
            return pointers[0]
        first = self.f.emit(f"icmp eq i64 {self.choice}, 0")
        return self.f.select(first, "ptr", *pointers)

    def for_each(
        self, axes: int, body: Callable[[list[str]], None]
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
def _inner_loop(o: Operands) -> None:
    routine = o.step.routine
    _call_loop(o, routine.library, routine.symbols, range(len(o.views)), o.core)


def _qr(o: Operands) -> None:
    """Householder's reflections and their factors, in place; then q, made of them."""
    (raw, whole), core = o.step.routine.symbols, o.core
    _call_loop(o, "numpy.linalg", (raw,), range(2), core)
    named = core if whole == "qr_reduced" else core[:2]
    _call_loop(o, "numpy.linalg", (whole,), range(3), named)


def _call_loop(
    o: Operands, library: str, symbols: Sequence[str], used: range, core: Sequence[str]
) -> None:
    """Call an inner loop with some of the views, batch axis by batch axis."""
    f, rank = o.f, len(o.batch)
    chars = "".join(o.views[k].buffer.dtype.char for k in used)
    routine, data = o.loop(library, symbols, chars)
    count = o.batch[-1] if rank else "1"
    outer = [o.strides[k][rank - 1] if rank else "0" for k in used]
    inner = [s for k in used for s in o.strides[k][rank:]]
    pointers = o.p.call_words
    extents = f.offset(pointers, 8 * len(used))
    steps = f.offset(extents, 8 * (1 + len(core)))
    for table, words in ((extents, (count, *core)), (steps, (*outer, *inner))):
        for k, word in enumerate(words):
            f.do(f"store i64 {word}, ptr {f.offset(table, 8 * k)}")

    def call(starts: list[str]) -> None:
        for k in used:
            f.do(f"store ptr {starts[k]}, ptr {f.offset(pointers, 8 * k)}")
        f.do(f"call void {routine}(ptr {pointers}, ptr {extents}, ptr {steps}, ptr {data})")

    with f.if_then(f.emit(f"icmp sgt i64 {count}, 0")):
        o.for_each(max(rank - 1, 0), call)


# --- sorts -------------------------------------------------------------------------------------
def _sort(o: Operands) -> None:
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


# --- selections --------------------------------------------------------------------------------
def _selection(o: Operands) -> None:
    """The extents are those of the operands and of the result."""
    f, (n, count) = o.f, o.core
    name = o.step.routine.symbols[0]
    if name == "compress":
        name = f"compress_{o.views[-1].buffer.dtype.itemsize}"
    pointers = ["ptr"] * (len(o.views) - 1)
    f.module.use("selection", name, f"declare void @{name}({', '.join(pointers)}, i64, i64, ptr)")
    operands = ", ".join(f"ptr {start}" for start in o.starts[:-1])
    f.do(f"call void @{name}({operands}, i64 {n}, i64 {count}, ptr {o.starts[-1]})")


# --- places in sorted order ----------------------------------------------------------------------
def _ordering(o: Operands) -> None:
    """Of two operands, rows of i64 both; a scalar has no length that the routine is told."""
    f, routine = o.f, o.step.routine
    (name,) = routine.symbols
    sizes = iter(o.core)
    lengths = {"m": "", "n": ""} | {core: next(sizes) for core in routine.operands if core}
    parameters = [[f"ptr {{{k}}}", *([f"i64 {lengths[core]}"] if core else [])]
                  for k, core in enumerate(routine.operands)]  # fmt: skip
    template = ", ".join(word for words in parameters for word in words) + ", ptr {2}"
    types = ", ".join(word.split()[0] for word in template.split(", "))
    f.module.use("ordering", name, f"declare void @{name}({types})")

    def call(starts: list[str]) -> None:
        f.do(f"call void @{name}({template.format(*starts)})")

    o.for_each(len(o.batch), call)


# --- BLAS --------------------------------------------------------------------------------------
def _triangular(o: Operands) -> None:
    """x = a⁻¹ b, in place. Fortran sees rows as columns: xᵀ aᵀ = bᵀ, the triangle turned."""
    f, (m, n) = o.f, o.core
    kind = o.step.routine.symbols[0].removeprefix("solve_")
    letter = "z" if o.views[0].buffer.dtype.kind == "c" else "d"
    symbol = f"scipy.blas.{letter}trsm"
    f.module.use("scipy", symbol, f"declare void @{symbol}({', '.join(['ptr'] * 11)})")
    f.module.declare('@letters = internal constant [5 x i8] c"RULNN"')
    f.module.declare("@one = internal constant [2 x double] [double 1.0, double 0.0]")
    f.module.declare('@unit = internal constant [1 x i8] c"U"')
    uplo = 1 if "lower" in kind else 2
    right, triangle, plain = (
        f"ptr getelementptr inbounds (i8, ptr @letters, i64 {k})" for k in (0, uplo, 3)
    )
    diagonal = "ptr @unit" if "unit" in kind else plain
    words = o.p.call_words
    for k, size in enumerate((n, m)):
        f.do(f"store i64 {size}, ptr {f.offset(words, 8 * k)}")  # the low half is the int
    columns, rows = f"ptr {words}", f"ptr {f.offset(words, 8)}"

    def call(starts: list[str]) -> None:
        a, x = (f"ptr {start}" for start in starts)
        f.do(f"call void @{symbol}({right}, {triangle}, {plain}, {diagonal}, {columns}, {rows}, "
             f"ptr @one, {a}, {rows}, {x}, {columns})")  # fmt: skip

    some = f.emit(f"icmp sgt i64 {f.minimum(m, n)}, 0")
    with f.if_then(some):
        o.for_each(len(o.batch), call)


# --- Python ------------------------------------------------------------------------------------
def _python(o: Operands) -> None:
    """The number tells whose op it is; Python reads tables of pointers and extents."""
    f, (kind, number) = o.f, o.step.routine.symbols
    f.module.use("python", f"python_{kind}", f"declare i32 @python_{kind}(i64, ptr, ptr, ptr)")
    tables = [o.p.call_words]
    for words in (o.starts[: len(o.step.inputs)], o.starts[len(o.step.inputs) :], o.core):
        kind_of = "i64" if words is o.core else "ptr"
        for k, word in enumerate(words):
            f.do(f"store {kind_of} {word}, ptr {f.offset(tables[-1], 8 * k)}")
        tables.append(f.offset(tables[-1], 8 * len(words)))
    given = ", ".join(f"ptr {table}" for table in tables[:3])
    status = f.emit(f"call i32 @python_{kind}(i64 {number}, {given})")
    o.p.require_success(f.emit(f"icmp eq i32 {status}, 0"))


_EMITTERS: dict[str, Callable[[Operands], None]] = {
    "numpy.linalg": _inner_loop,
    "numpy.linalg.qr": _qr,
    "numpy.fft": _inner_loop,
    "numpy.sort": _sort,
    "selection": _selection,
    "ordering": _ordering,
    "scipy.blas": _triangular,
    "convolution": emit_convolution,
    "python": _python,
}
