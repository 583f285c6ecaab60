"""Elementwise ops: how one is declared, promotes its operands by NEP 50, and infers its type.

Inside the IR an elementwise op takes exactly the dtypes of one NumPy loop; the public call puts in
the casts. NumPy itself is asked which loop that is (`ufunc.resolve_dtypes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, JitgraphError, Operand, RangeError, ShapeError
from jitgraph.ir import batching
from jitgraph.ir.opdef import (
    OPS,
    Array,
    ArrayLike,
    Attrs,
    Lowering,
    OpDef,
    Shape,
    ShapeSource,
    constant,
    emit,
    in_single,
    register,
    result_class,
)
from jitgraph.ir.types import (
    BOOL,
    DTYPE_NAMES,
    I64,
    DType,
    Type,
    as_dtype,
    broadcast_shapes,
    kind_of,
    weak_kinds,
)
from jitgraph.ir.values import Value
from jitgraph.location import caller_location

#: Operand dtypes as NumPy sees them: a dtype, or `int`/`float`/`complex` for a Python scalar.
Operands = tuple[Any, ...]
#: From operand dtypes to those of the loop: inputs, then the result.
Signature = Callable[[Operands], tuple[DType, ...]]
#: A bound on where an argument may lie for the op to be finite and differentiable.
Interval = tuple[float, float]
REALS: Interval = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Elementwise(OpDef):
    """An op applied to broadcast operands element by element."""

    numpy: Callable[..., Any]
    signature: Signature
    arity: int
    domain: tuple[Interval, ...]
    derivatives: tuple[Callable[..., Value | None] | None, ...] | None = None
    #: f(0, ...) == 0 exactly, in every dtype.
    zero_to_zero: bool = False
    #: Operands by which the derivative is not known; asking for it is an error.
    unknown: tuple[int, ...] = ()

    def __call__(self, *operands: ArrayLike) -> Any:
        """Build the op over broadcast, promoted operands (or compute it, if none is symbolic)."""
        if len(operands) != self.arity:
            raise TypeError(f"{self.name} takes {self.arity} operands, not {len(operands)}")
        for operand in operands:
            if isinstance(operand, Value):
                continue
            if (hook := getattr(operand, "apply_pattern", None)) is not None:
                return hook(self, operands)
        if not any(isinstance(o, Value) for o in operands):
            return self.evaluate(*map(np.asarray, operands))
        try:
            promoted = promote(self, operands)
        except JitgraphError as error:
            shown = (Operand(o.describe(), str(o.type), o.location)
                     for o in operands if isinstance(o, Value))  # fmt: skip
            raise error.locate(caller_location(), shown) from None
        return emit(self, promoted)


def promote(definition: Elementwise, operands: Sequence[ArrayLike]) -> list[Value]:
    """Operands as values of the loop's dtypes. Python scalars adapt to the arrays beside them."""
    cls = result_class(operands)
    kinds = _kinds(operands)
    loop = resolve(definition, kinds)
    if loop[-1] == BOOL and any(getattr(o, "weak", None) is int for o in operands):
        kinds = tuple(I64 if k is int else k for k in kinds)  # compared by value
        loop = resolve(definition, kinds)
    try:
        return [_as_loop_dtype(o, d, cls) for o, d in zip(operands, loop, strict=False)]
    except OverflowError as error:
        if loop[-1] == BOOL:  # NumPy compares an int8 with 300 by value, without overflow.
            loop = resolve(definition, tuple(_kind(np.asarray(o)) if isinstance(k, type) else k
                                             for o, k in zip(operands, kinds, strict=True)))
            return [_as_loop_dtype(o, d, cls) for o, d in zip(operands, loop, strict=False)]
        raise RangeError(
            f"{definition.name}: {error}", hint="cast the array to a wider dtype first"
        ) from None


def _kinds(operands: Sequence[ArrayLike]) -> Operands:
    """What NumPy sees. An extent is a Python integer there: beside floats it adapts to them, so
    that `x.sum() / x.shape[0]` is of x's dtype; beside integers it stays i64, which it fits."""
    kinds = tuple(map(_kind, operands))
    if any(isinstance(k, np.dtype) and kind_of(k) in "fc" for k in kinds):
        return tuple(int if is_extent(o) else k for o, k in zip(operands, kinds, strict=True))
    if all(isinstance(k, type) for k in kinds):  # nothing to adapt to
        return tuple(map(np.dtype, kinds))
    return kinds


def is_extent(operand: ArrayLike, depth: int = 6) -> bool:
    """Whether a value is an extent, or i64 arithmetic on extents and numbers (such as a size)."""
    op = operand.op if isinstance(operand, Value) and not operand.ndim else None
    if op is None or depth == 0:
        return getattr(operand, "weak", None) is int
    if op.name in ("add", "subtract", "multiply", "floor_divide", "maximum", "minimum"):
        parts = [a for a in op.args if a.literal is None]
        return bool(parts) and all(is_extent(a, depth - 1) for a in parts)
    return op.name == "dim"


def _kind(operand: ArrayLike) -> Any:
    if isinstance(operand, Value):
        return operand.weak or operand.type.dtype
    if type(operand) in (int, float, complex):
        return type(operand)
    return as_dtype(np.asarray(operand).dtype)


def _as_loop_dtype(operand: ArrayLike, dtype: DType, cls: type[Value]) -> Value:
    if not isinstance(operand, Value):
        if type(operand) is int and dtype.kind in "iu":  # must raise, not wrap
            limits = np.iinfo(dtype)
            if not limits.min <= operand <= limits.max:
                raise OverflowError(f"Python integer {operand} out of bounds for {dtype}")
        return constant(np.asarray(operand).astype(dtype, copy=False), cls=cls)
    if operand.type.dtype == dtype:
        return operand
    if operand.weak is int and dtype.kind in "iu":
        return emit(OPS["narrow"], (operand,), dtype=dtype)
    return cast(operand, dtype)  # type: ignore[no-any-return]


@lru_cache(maxsize=8192)
def _resolve(definition: Elementwise, kinds: Operands) -> tuple[DType, ...] | str:
    try:
        loop = definition.signature(weak_kinds(kinds))
    except TypeError:
        return f"{definition.name} does not take {_names(kinds)}"
    if any(d not in DTYPE_NAMES for d in loop):
        return f"{definition.name} does not take {_names(kinds)}"
    if "c" in {kind_of(d) for d in loop} and definition.name not in COMPLEX:
        return f"{definition.name} does not take complex operands"
    return loop


def _names(kinds: Operands) -> str:
    return " and ".join(DTYPE_NAMES.get(k) or k.__name__ for k in kinds)


def resolve(definition: Elementwise, kinds: Operands) -> tuple[DType, ...]:
    """The loop for the operands' dtypes; raises DTypeError if there is none."""
    loop = _resolve(definition, kinds)
    if isinstance(loop, str):
        raise DTypeError(loop)
    return loop


#: Ops with a meaning for complex operands.
COMPLEX = {
    "add", "subtract", "multiply", "divide", "negative", "positive", "barrier", "conjugate",
    "equal", "not_equal", "where", "cast", "square", "reciprocal", "absolute", "real", "imag",
    "complex",
    "isnan", "isinf", "isfinite", "logical_not", "logical_and", "logical_or", "logical_xor",
}  # fmt: skip


def as_ufunc(ufunc: np.ufunc) -> Signature:
    """The loops of a NumPy ufunc."""
    return lambda kinds: ufunc.resolve_dtypes((*kinds, None))


def floating(*kinds: Any) -> tuple[DType, ...]:
    """The loops of np.exp and friends, for ops NumPy itself lacks."""
    dtype = np.add.resolve_dtypes((*kinds, None))[0] if len(kinds) == 2 else kinds[0]
    return np.sqrt.resolve_dtypes((dtype, None))


def _declare(
    name: str,
    numpy: Callable[..., Any],
    arity: int,
    *,
    lower: Lowering,
    signature: Signature | None = None,
    derivatives: tuple[Callable[..., Any] | None, ...] | None = None,
    domain: tuple[Interval, ...] | None = None,
    zero_to_zero: bool = False,
    requires: Any = None,
    unknown: tuple[int, ...] = (),
    doc: str = "",
) -> Elementwise:
    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        dtypes = tuple(t.dtype for t in types)
        loop = resolve(declared, dtypes)
        if loop[:-1] != dtypes:
            raise DTypeError(f"{name} does not take {_names(dtypes)}", hint="insert a cast")
        try:
            return Type(loop[-1], broadcast_shapes([t.shape for t in types]))
        except ShapeError as error:
            listed = " and ".join(map(str, types))
            raise ShapeError(f"cannot {name} {listed} ({error.message})") from None

    def evaluate(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(numpy(*arrays))

    def shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
        return source.broadcast([source.shape(a) for a in args])

    def gradient(g: Value, y: Value, *args: Value) -> list[Value | None]:
        assert derivatives is not None
        return [None if d is None or not a.type.is_continuous else d(g, y, *args)
                for d, a in zip(derivatives, args, strict=True)]

    declared = Elementwise(
        name=name,
        infer=infer,
        evaluate=evaluate if isinstance(numpy, np.ufunc) else in_single(evaluate),
        shape=shape,
        gradient=None if derivatives is None else gradient,
        requires=requires,
        lower=lower,
        batch=batching.elementwise,
        doc=doc or (numpy.__doc__ or "").strip().split("\n\n")[1 if isinstance(numpy, np.ufunc)
                                                             else 0].strip(),
        numpy=numpy,
        signature=signature or as_ufunc(numpy),  # type: ignore[arg-type]
        arity=arity,
        domain=domain or (REALS,) * arity,
        derivatives=derivatives,
        zero_to_zero=zero_to_zero,
        unknown=unknown,
    )
    register(declared)
    return declared


def unary(
    name: str,
    numpy: Callable[..., Any],
    *,
    lower: Lowering,
    grad: Callable[..., Any] | None = None,
    flat: bool = False,
    domain: Interval = REALS,
    **rest: Any,
) -> Elementwise:
    """Declare a one-operand op. `grad(g, y, x)` is the adjoint of x; `flat` says it is zero."""
    derivatives = (grad,) if grad is not None or flat else None
    return _declare(
        name, numpy, 1, lower=lower, derivatives=derivatives, domain=(domain,), **rest
    )


def binary(
    name: str,
    numpy: Callable[..., Any],
    *,
    lower: Lowering,
    grad: tuple[Callable[..., Any] | None, Callable[..., Any] | None] | None = None,
    **rest: Any,
) -> Elementwise:
    """Declare a two-operand op. `grad` has one `(g, y, a, b) -> adjoint` per operand."""
    return _declare(name, numpy, 2, lower=lower, derivatives=grad, **rest)


def ternary(
    name: str,
    numpy: Callable[..., Any],
    *,
    lower: Lowering,
    grad: tuple[Callable[..., Any] | None, ...] | None = None,
    **rest: Any,
) -> Elementwise:
    """Declare a three-operand op."""
    return _declare(name, numpy, 3, lower=lower, derivatives=grad, **rest)


# --- cast --------------------------------------------------------------------------------------
def _infer_cast(types: Sequence[Type], attrs: Attrs) -> Type:
    return types[0].with_dtype(attrs["dtype"])


def _evaluate_cast(x: Array, *, dtype: DType) -> Array:
    if x.dtype.kind == "c" and dtype.kind not in "cb":  # as astype does, which warns of it
        x = x.real
    with np.errstate(all="ignore"):
        return x.astype(dtype)


from jitgraph.ir.opdef import Special  # noqa: E402

CAST = OpDef(
    name="cast",
    infer=_infer_cast,
    evaluate=_evaluate_cast,
    shape=lambda source, args, attrs: source.shape(args[0]),
    gradient=lambda g, y, x, *, dtype: [
        cast(g, x.dtype) if x.type.is_continuous and y.type.is_continuous else None
    ],
    lower=Special(),
    batch=batching.elementwise,
    doc="The same numbers in another dtype, converted as `astype` does.",
)
register(CAST)


def cast(x: ArrayLike, dtype: Any) -> Any:
    """x as another dtype (NumPy's `astype`); x itself if it has that dtype already."""
    dtype = as_dtype(dtype)
    if not isinstance(x, Value):
        return np.asarray(x).astype(dtype)
    return x if x.type.dtype == dtype else emit(CAST, (x,), dtype=dtype)


def symbolic(x: ArrayLike, cls: type[Value] = Value) -> Value:
    """x as a value: itself or a constant; raises DTypeError where NumPy cannot make an array."""
    if isinstance(x, Value):
        return x
    try:
        array = np.asarray(x)
        as_dtype(array.dtype)
    except (ValueError, JitgraphError):
        raise DTypeError(f"{type(x).__name__} is not an array of a supported dtype") from None
    return constant(array, cls=cls)
