"""What an op is: one declaration from which everything else follows.

| field | gives |
|---|---|
| `infer` | type inference, verification and build-time errors |
| `evaluate` | the meaning, in NumPy: interpreter, constant folding, tests |
| `gradient` | reverse-mode differentiation |
| `shape` | run-time extents of the result as i64 expressions |
| `requires` | what must hold at run time, as bool scalars |
| `lower` | how the code generator computes it, as data |
| `decompose` | the same value by simpler ops |
| `batch` | the op on many elements at once (`ir.batching`) |
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from jitgraph.errors import InternalError, JitgraphError, Operand
from jitgraph.ir.types import F32, Type, is_bfloat16
from jitgraph.ir.values import Literal, Op, Value, literal_type
from jitgraph.location import Location, caller_location

Array: TypeAlias = "np.ndarray[Any, Any]"
#: A run-time extent: a number, or an i64 scalar.
Size: TypeAlias = "int | Value"
Shape: TypeAlias = "tuple[Size, ...]"


@dataclass(frozen=True, slots=True)
class Told:
    """An extent that only the op itself tells: by the i64 scalar that is its result `index`."""

    index: int


#: Something a user may pass where an array is meant.
ArrayLike: TypeAlias = Any


# --- lowering, as data -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Inst:
    """One LLVM instruction per kind of operand; None where the op does not take the kind."""

    floating: str | None = None
    signed: str | None = None
    unsigned: str | None = None
    boolean: str | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """One LLVM comparison predicate per kind of operand."""

    floating: str
    signed: str
    unsigned: str


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """An LLVM intrinsic by name, such as `sqrt` for `llvm.sqrt.f64`."""

    name: str


@dataclass(frozen=True, slots=True)
class Expand:
    """Scalar code found under the op's name in `codegen.mathlib`."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A loop until a candidate is accepted; NaN after so many rounds. `propose` makes of the number
    of the round, states (f64, at first 0) and the operands a candidate, whether it is accepted, and
    the next states."""

    propose: Callable[..., tuple[Any, ...]]
    rounds: int
    states: int = 0


@dataclass(frozen=True, slots=True)
class Special:
    """Lowered by a generator of its own, chosen by the op's name: views, reductions, products."""


@dataclass(frozen=True, slots=True)
class Routine:
    """A call of native code with whole arrays, written by `codegen.calls`.

    `library` and `symbols` name the code (see `codegen.libraries`); of several symbols the scalar
    operand number `choice` chooses one. `operands` and `results` name the sizes of their last axes,
    as the signature of a gufunc does; the axes before those are a batch that all have. An operand
    None is a scalar that the routine is not given. `fails` says that it may raise the flag of
    invalid floating-point operations. With `in_place` the first result starts as the first operand;
    `dense` routines take arrays in C order only.
    """

    library: str
    symbols: tuple[str, ...]
    operands: tuple[str | None, ...]
    results: tuple[str, ...]
    choice: int | None = None
    fails: bool = False
    in_place: bool = False
    dense: bool = False


Lowering: TypeAlias = Inst | Compare | Intrinsic | Expand | Rejection | Special | Routine


class ShapeSource(Protocol):
    """What shape rules ask for: the extents of a value."""

    def shape(self, value: Value) -> Shape: ...
    def item_shapes(self, bundle: Value) -> tuple[Shape, ...]: ...
    def broadcast(self, shapes: Sequence[Shape]) -> Shape: ...
    def same_size(self, a: Size, b: Size) -> Size: ...


Attrs: TypeAlias = Mapping[str, Any]
Gradient: TypeAlias = Callable[..., Sequence[Value | None]]
#: `(batch, *args, **attrs) -> value`; see `ir.batching.Batch`.
Batching: TypeAlias = Callable[..., Value]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OpDef:
    """The declaration of an op. `gradient(g, y, *args, **attrs)` gives one adjoint per argument,
    None where nothing flows; an op without one stops with GradientError, one without `batch` with
    BatchingError.

    An op with several results infers a `Bundle`; its `evaluate` gives a tuple of arrays, its
    `shape` a tuple of shapes (of sizes and `Told`), and its `gradient` receives a tuple of adjoints
    in place of g, None for results nobody has used."""

    name: str
    infer: Callable[[Sequence[Type], Attrs], Type]
    evaluate: Callable[..., Any]
    shape: Callable[[ShapeSource, Sequence[Value], Attrs], Shape]
    gradient: Gradient | None = None
    requires: Callable[[ShapeSource, Sequence[Value], Attrs], list[Value]] | None = None
    lower: Lowering = Special()
    decompose: Callable[..., Value] | None = None
    batch: Batching | None = None
    doc: str = ""
    #: Runs code of the user's, whose errors are its own; see `ir.ops.opaque`.
    opaque: bool = False

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return op_named, (self.name,)


OPS: dict[str, OpDef] = {}


def in_single(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """The meaning of an op that NumPy lacks for bfloat16: computed in float32, rounded once."""

    @functools.wraps(evaluate)
    def evaluated(*arrays: Any, **attrs: Any) -> Any:
        narrow = next((a.dtype for a in arrays if is_bfloat16(a.dtype)), None)
        if narrow is None:
            return evaluate(*arrays, **attrs)
        wide = (a.astype(F32) if a.dtype == narrow else a for a in arrays)
        found = np.asarray(evaluate(*wide, **attrs))
        with np.errstate(all="ignore"):
            return found.astype(narrow) if found.dtype == F32 else found

    return evaluated


def op_named(name: str) -> OpDef:
    """The declaration of an op, for graphs that come from elsewhere."""
    if name not in OPS:
        raise InternalError(f"there is no op {name}: the graph is of another version of jitgraph")
    return OPS[name]


def register(definition: OpDef) -> None:
    if definition.name in OPS:
        raise InternalError(f"op {definition.name} is declared twice")
    OPS[definition.name] = definition


# --- who builds --------------------------------------------------------------------------------
class Emitter(Protocol):
    """Turns an op application into a value; passes install one that simplifies as it builds."""

    def emit(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value: ...


class _Active(threading.local):
    emitter: Emitter | None = None


_active = _Active()


class building_with:  # noqa: N801  (a context manager)
    """Within the block, every op application of this thread goes through `emitter`."""

    __slots__ = ("_before", "_emitter")

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def __enter__(self) -> None:
        self._before = _active.emitter
        _active.emitter = self._emitter

    def __exit__(self, *raised: object) -> None:
        _active.emitter = self._before


def emit(definition: OpDef, args: Sequence[Value], **attrs: Any) -> Value:
    """Apply an op: through the active builder, or as written, with the user's location."""
    emitter = _active.emitter
    if emitter is not None:
        return emitter.emit(definition, tuple(args), attrs)
    return apply_op(definition, tuple(args), attrs, caller_location())


def apply_op(
    definition: OpDef, args: tuple[Value, ...], attrs: Attrs, location: Location | None
) -> Value:
    """The op as it stands, typed; an inference error gets the place and the operands."""
    try:
        type_ = definition.infer([a.type for a in args], attrs)
    except JitgraphError as error:
        operands = (Operand(a.describe(), str(a.type), a.location) for a in args)
        raise error.locate(location, operands) from None
    cls = result_class(args)
    return cls(type_, Op(definition, args, attrs, type_, location))


@dataclass(slots=True)
class AsWritten:
    """An emitter that changes nothing; the ops get the location of the one they replace."""

    location: Location | None = None

    def emit(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value:
        return apply_op(definition, args, attrs, self.location)


def result_class(args: Sequence[Any]) -> type[Value]:
    """An expression over the user's variables is again a variable: the most derived class wins."""
    best: type[Value] = Value
    for arg in args:
        cls = type(arg)
        if cls is best or not isinstance(arg, Value):
            continue
        cls = getattr(cls, "expression_class", cls)
        if issubclass(cls, best):
            best = cls
    return best


# --- constants ---------------------------------------------------------------------------------
def _infer_constant(types: Sequence[Type], attrs: Attrs) -> Type:
    return literal_type(attrs["value"])


CONSTANT = OpDef(
    name="constant",
    infer=_infer_constant,
    evaluate=lambda *, value: value.array,
    shape=lambda source, args, attrs: attrs["value"].array.shape,
    gradient=lambda g, y, *, value: (),
    doc="An array known when the program is built.",
)
register(CONSTANT)


def constant(array: ArrayLike, dtype: Any = None, cls: type[Value] = Value) -> Value:
    """A constant value; with `cls`, one of the user's kind."""
    literal = Literal(np.asarray(array, dtype=dtype))
    type_ = literal_type(literal)
    return cls(type_, Op(CONSTANT, (), {"value": literal}, type_, None))


# --- mixed static and run-time numbers ---------------------------------------------------------
def same_size(a: Size, b: Size) -> bool:
    """Whether two sizes are provably equal: equal numbers or the same value."""
    return a is b or (isinstance(a, int) and isinstance(b, int) and a == b)


def split_sizes(sizes: Sequence[Size]) -> tuple[tuple[int | None, ...], tuple[Value, ...]]:
    """Sizes as an attribute with None holes, and the values that fill the holes in order."""
    static: list[int | None] = []
    dynamic: list[Value] = []
    for size in sizes:
        if isinstance(size, Value) and size.literal is not None:
            size = int(size.literal.array)
        static.append(None if isinstance(size, Value) else int(size))
        if isinstance(size, Value):
            dynamic.append(size)
    return tuple(static), tuple(dynamic)


def join_sizes(static: Sequence[int | None], dynamic: Sequence[Any]) -> tuple[Any, ...]:
    """The inverse of `split_sizes`, for values or for run-time numbers."""
    holes = iter(dynamic)
    filled: list[Any] = []
    for size in static:
        value = next(holes) if size is None else size
        filled.append(value if isinstance(value, Value) else int(value))
    return tuple(filled)
