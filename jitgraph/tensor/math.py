"""Elementwise functions under NumPy's names.

Every op of the elementwise tables is here by its name (`exp`, `maximum`, `logical_and`, ...), made
from its declaration; `ALIASES` gives the other names NumPy and Theano know them by. They take
variables, arrays, lists and Python scalars, mixed; dtypes promote by NEP 50. They raise DTypeError
for operands without meaning, ShapeError for shapes that cannot broadcast.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from jitgraph.errors import DTypeError, InputError
from jitgraph.ir import ops
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.elementwise import cast as cast_to
from jitgraph.ir.opdef import OPS, ArrayLike, Rejection
from jitgraph.ir.ops import arithmetic
from jitgraph.ir.types import F64, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor import complexes, masks, reductions
from jitgraph.tensor.operands import as_tensor, common_dtype, operands, public, refuse

if TYPE_CHECKING:
    from jitgraph.tensor.variable import Variable

#: Other names by which NumPy or Theano know an op.
ALIASES = {
    "abs": "absolute", "abs_": "absolute", "neg": "negative", "inv": "reciprocal",
    "sqr": "square", "sgn": "sign", "conj": "conjugate", "pow": "power", "mod": "remainder",
    "mul": "multiply", "sub": "subtract", "true_divide": "divide", "true_div": "divide",
    "int_div": "floor_divide", "eq": "equal", "neq": "not_equal", "lt": "less",
    "le": "less_equal", "gt": "greater", "ge": "greater_equal", "and_": "bitwise_and",
    "or_": "bitwise_or", "xor": "bitwise_xor", "bitwise_not": "invert",
    "acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2",
    "acosh": "arccosh", "asinh": "arcsinh", "atanh": "arctanh",
    "degrees": "rad2deg", "radians": "deg2rad", "bitwise_invert": "invert",
    "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift",
    "expit": "sigmoid", "psi": "digamma", "tri_gamma": "trigamma",
}  # fmt: skip
#: What `random` is made of: users draw numbers instead.
INTERNAL = frozenset({"threefry", "bits_to_normal"}) | frozenset(
    op.name for op in OPS.values() if isinstance(op.lower, Rejection)
)
#: What users know in another form: also `where` below, and the parts of complex numbers.
_ELSEWHERE = INTERNAL | {"where", "real", "imag"}
_PARAMETERS = {1: ("x",), 2: ("a", "b"), 3: ("a", "b", "c")}


def _function(op: Elementwise, name: str) -> Callable[..., Variable]:
    of_complex = complexes.FUNCTIONS.get(op.name)

    @public
    def call(*given: ArrayLike) -> Value:
        ready = operands(given)
        parts = complexes.of_common_dtype(ready) if of_complex else None
        if of_complex is not None and parts is not None and len(parts) == op.arity:
            return of_complex(*map(as_tensor, parts))
        return op(*ready)  # type: ignore[no-any-return]

    call.__name__ = call.__qualname__ = name
    call.__doc__ = op.doc
    call.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter(p, inspect.Parameter.POSITIONAL_ONLY) for p in _PARAMETERS[op.arity]
    ])
    return call


def _tables() -> dict[str, Callable[..., Variable]]:
    assert ops.__all__, "importing the tables declares the ops"
    found = {op.name: op for op in OPS.values() if isinstance(op, Elementwise)}
    names = {name: name for name in found} | ALIASES
    return {name: _function(found[op], name) for name, op in names.items() if op not in _ELSEWHERE}


#: The functions that follow from the op tables, by name.
FUNCTIONS = _tables()


_NOTHING: Any = object()


@overload
def where(condition: ArrayLike) -> tuple[Variable, ...]: ...
@overload
def where(condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> Variable: ...


def where(condition: ArrayLike, a: Any = _NOTHING, b: Any = _NOTHING) -> Any:
    """a where condition is true (not 0), b elsewhere; all three broadcast together. Without a and
    b, the indices where it is: `nonzero(condition)`."""
    if a is not _NOTHING and b is not _NOTHING:
        return _choice(condition, a, b)
    if a is not b:
        refuse(InputError("where takes either both a and b, or neither"))
    return masks.nonzero(condition)


@public
def _choice(condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> Value:
    a, b = (as_tensor(v) if isinstance(v, list | tuple) else v for v in (a, b))
    return arithmetic.where(reductions.truth(as_tensor(condition)), a, b)  # type: ignore[no-any-return]


#: Theano's name of `where`.
switch = where


@public
def cast(x: ArrayLike, dtype: Any) -> Value:
    """x in another dtype, converted as NumPy's `astype`."""
    return cast_to(as_tensor(x), dtype)  # type: ignore[no-any-return]


@public
def clip(x: ArrayLike, lo: ArrayLike, hi: ArrayLike) -> Value:
    """x brought into lo..hi; None leaves a side open. Where lo > hi the result is hi, as in NumPy.
    The dtype is that of all three together."""
    x = as_tensor(x)
    bounds = [as_tensor(b) if isinstance(b, list | tuple) else b for b in (lo, hi)]
    if x.dtype.kind in "iu":  # a bound beyond all there are is none
        limits = np.iinfo(x.dtype)
        lowest, highest = (b if type(b) is int else None for b in bounds)
        bounds = [None if lowest is not None and lowest <= limits.min else bounds[0],
                  None if highest is not None and highest >= limits.max else bounds[1]]  # fmt: skip
    y: Any = cast_to(x, common_dtype([x, *(b for b in bounds if b is not None)]))
    if bounds[0] is not None:
        y = arithmetic.maximum(y, bounds[0])
    return y if bounds[1] is None else arithmetic.minimum(y, bounds[1])  # type: ignore[no-any-return]


@public
def round(x: ArrayLike, decimals: int = 0) -> Value:
    """x to a number of decimals, halves to even. Integers stay as they are (decimals < 0 rounds
    them to tens, hundreds, ...)."""
    value = as_tensor(x)
    if value.dtype.kind == "c":
        raise DTypeError(f"round does not take {value.type}")
    if value.dtype.kind in "iu" and decimals >= 0:
        return value
    if decimals == 0:
        return FUNCTIONS["rint"](value)
    scale = 10.0 ** abs(decimals)
    real = cast_to(value, F64) if value.dtype.kind in "iu" else value
    if decimals > 0:
        return cast_to(arithmetic.rint(real * scale) / scale, value.dtype)  # type: ignore[no-any-return]
    return cast_to(arithmetic.rint(real / scale) * scale, value.dtype)  # type: ignore[no-any-return]


@public
def relu(x: ArrayLike, alpha: ArrayLike = 0) -> Value:
    """max(x, 0), or x where positive and alpha·x elsewhere."""
    x = as_tensor(x)
    if type(alpha) in (int, float) and alpha == 0:
        return arithmetic.maximum(x, 0)  # type: ignore[no-any-return]
    return arithmetic.where(x > 0, x, x * alpha)  # type: ignore[no-any-return]


@public
def isclose(
    a: ArrayLike, b: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Value:
    """|a - b| <= atol + rtol·|b|, as bool; infinities are close to themselves, NaN to nothing
    unless equal_nan."""
    a, b = as_tensor(a), as_tensor(b)
    if kind_of(b.dtype) not in "fc":
        b = cast_to(b, common_dtype((b, 1.0)))
    near = arithmetic.less_equal(arithmetic.absolute(a - b), atol + rtol * arithmetic.absolute(b))
    close = (near & arithmetic.isfinite(b)) | arithmetic.equal(a, b)
    if equal_nan:
        close = close | (arithmetic.isnan(a) & arithmetic.isnan(b))
    return close  # type: ignore[no-any-return]


@public
def allclose(
    a: ArrayLike, b: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Value:
    """Whether `isclose` holds everywhere, as a bool scalar."""
    return reductions.all(isclose(a, b, rtol, atol, equal_nan))
