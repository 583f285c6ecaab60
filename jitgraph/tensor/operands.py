"""What may stand where an array is meant, and how it becomes a variable.

The functions of this package are written over plain `Value`s. Results are `Variable`s because an
op's result has the most derived class of its arguments, and because constants made here are of the
class that `variable.py` registers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeAlias, TypeVar, cast, overload

import numpy as np

from jitgraph.errors import DTypeError, JitgraphError, Operand, RangeError, ShapeError
from jitgraph.ir import opdef
from jitgraph.ir.elementwise import cast as cast_to
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import joining, movement
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.types import (
    DTYPES,
    F32,
    I64,
    DType,
    as_dtype,
    is_bfloat16,
    is_supported,
    result_type,
)
from jitgraph.ir.values import Value
from jitgraph.location import caller_location

if TYPE_CHECKING:
    from jitgraph.tensor.variable import Variable

Axis: TypeAlias = "int | Sequence[int] | None"
P = ParamSpec("P")
V = TypeVar("V", bound=type[Value])

#: Scalars that adapt to the dtype of the arrays beside them (NEP 50).
WEAK = (int, float, complex)
_default_class: type[Value] = Value
_asked_class: ContextVar[type[Value] | None] = ContextVar("_asked_class", default=None)


def user_class(cls: V) -> V:
    """Class decorator: constants that users meet are of this class from now on."""
    global _default_class
    _default_class = cls
    return cls


def variable_class() -> type[Value]:
    """The class of what is made for users: constants, and parameters of loops."""
    return _asked_class.get() or _default_class


@contextmanager
def speaking(cls: type[Value]) -> Iterator[None]:
    """Within the block, what is made for users is of a class derived from theirs."""
    token = _asked_class.set(cls)
    try:
        yield
    finally:
        _asked_class.reset(token)


# --- public functions --------------------------------------------------------------------------
@overload
def public(function: Callable[P, Value]) -> Callable[P, Variable]: ...
@overload
def public(function: Callable[P, list[Value]]) -> Callable[P, list[Variable]]: ...
@overload
def public(function: Callable[P, tuple[Value, ...]]) -> Callable[P, tuple[Variable, ...]]: ...


def public(function: Callable[P, Any]) -> Callable[P, Any]:
    """A function users call: its errors name the user's line and the operands."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return function(*args, **kwargs)
        except JitgraphError as error:
            raise error.locate(caller_location(), _operands(args)) from None

    return call


def _operands(args: Iterable[Any]) -> Iterator[Operand]:
    for arg in args:
        if isinstance(arg, Value):
            yield Operand(arg.describe(), str(arg.type), arg.location)
        elif isinstance(arg, list | tuple):
            yield from _operands(a for a in arg if isinstance(a, Value))


def refuse(error: JitgraphError, *operands: Value) -> NoReturn:
    """Raise an error at the user's line."""
    raise error.locate(caller_location(), _operands(operands))


# --- arrays ------------------------------------------------------------------------------------
def constant(array: ArrayLike, dtype: Any = None) -> Value:
    """A constant of the user's class; raises DTypeError if it is no array of a supported dtype."""
    try:
        made = np.asarray(array)
    except ValueError as error:
        raise DTypeError(f"{type(array).__name__} is not an array: {error}") from None
    native = made.dtype.newbyteorder("=")
    if not is_supported(native):
        described = f"dtype {made.dtype}" if isinstance(array, np.ndarray) else repr(array)[:40]
        raise DTypeError(
            f"{described} is not an array of a supported dtype", hint="one of: " + ", ".join(DTYPES)
        )
    target = native if dtype is None else as_dtype(dtype)
    if target.kind in "iu" and native.kind in "iu" and type(array) in (int, list, tuple):
        try:
            made = np.asarray(array, target)
        except OverflowError as error:
            raise RangeError(str(error), hint="give a wider dtype") from None
    with np.errstate(all="ignore"):
        return opdef.constant(made.astype(target, copy=False), cls=variable_class())


def _holds_value(items: Iterable[Any]) -> bool:
    return any(
        isinstance(i, Value) or (isinstance(i, list | tuple) and _holds_value(i)) for i in items
    )


def factors(*given: ArrayLike) -> list[Value]:
    """The operands of NumPy's generalised ufuncs of products, which make float32 of bfloat16."""
    values = promoted([as_tensor(g) for g in given])
    return [cast_to(v, F32) for v in values] if is_bfloat16(values[0].dtype) else values


@public
def as_tensor(x: ArrayLike, dtype: Any = None, name: str | None = None) -> Value:
    """x as a variable: a variable itself, an array, scalar or (nested) list as a constant, a list
    that holds variables as their stack.

    dtype: what to cast to. name: given to a constant. Raises DTypeError if x is no array of a
    supported dtype, ShapeError if the members of a list differ in shape.
    """
    if isinstance(x, Value):
        return x if dtype is None else cast_to(x, dtype)
    if isinstance(x, list | tuple) and _holds_value(x):
        joined = stacked([as_tensor(item) for item in x], 0)
        return joined if dtype is None else cast_to(joined, dtype)
    made = constant(x, dtype)
    made.name = name
    return made


def operands(given: Sequence[ArrayLike]) -> list[Any]:
    """Operands of an elementwise function, at least one of them symbolic. Python scalars stay as
    they are, so that they adapt to the arrays beside them."""
    ready = [as_tensor(g) if isinstance(g, list | tuple) else g for g in given]
    if any(isinstance(r, Value) for r in ready):
        return ready
    strong = [i for i, r in enumerate(ready) if type(r) not in WEAK]
    for i in strong[:1] or range(len(ready)):
        ready[i] = as_tensor(ready[i])
    return ready


def common_dtype(given: Iterable[Any]) -> DType:
    """NumPy's result dtype of variables, arrays and Python scalars (NEP 50)."""
    return result_type([
        g if type(g) in WEAK else g.dtype if isinstance(g, Value) else np.asarray(g).dtype
        for g in given
    ])


def promoted(values: Sequence[Value]) -> list[Value]:
    """The values cast to their common dtype."""
    dtype = common_dtype(values)
    return [cast_to(v, dtype) for v in values]


def stacked(values: Sequence[Value], axis: int) -> Value:
    """Values of one shape, promoted and joined along a new axis counted from the front."""
    ranks = sorted({v.ndim for v in values})
    if len(ranks) > 1:
        raise ShapeError(f"cannot stack arrays of {ranks[0]} and {ranks[1]} dimensions")
    raised = [movement.expand_dims(v, (axis,)) for v in promoted(values)]
    return joining.concatenate(raised, axis)


# --- sizes -------------------------------------------------------------------------------------
def as_size(given: Any, what: str = "a dimension") -> Size:
    """A number, or an i64 scalar; raises DTypeError for what is no integer."""
    if isinstance(given, Value):
        if given.ndim or given.dtype.kind not in "iu":
            raise DTypeError(f"{what} must be an integer scalar, not {given.type}")
        literal = given.literal
        return cast_to(given, I64) if literal is None else int(literal.array)
    try:
        return int(given.__index__())
    except (AttributeError, TypeError):
        raise DTypeError(f"{what} must be an integer, not {given!r}") from None


def as_sizes(shape: Any) -> tuple[Size, ...]:
    """A shape from an integer, a sequence of integers and scalars, or an integer vector of known
    length; raises DTypeError or ShapeError."""
    if isinstance(shape, Value) and shape.ndim == 1:
        length = shape.type.shape[0]
        if not isinstance(length, int):
            raise ShapeError(f"a shape needs a known number of dimensions, not {shape.type}")
        shape = [
            movement.squeeze(slice_axis(shape, 0, i, 1), (0,)) if shape.literal is None
            else int(shape.literal.array[i]) for i in range(length)
        ]  # fmt: skip
    if isinstance(shape, list | tuple | np.ndarray):
        return tuple(as_size(s) for s in shape)
    return (as_size(shape),)


def typed(value: Any) -> Variable:
    """The promise that a value is of the user's class, for the type checker."""
    return cast("Variable", value)
