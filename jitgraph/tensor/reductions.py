"""Reductions with NumPy's axes, dtypes and names.

Everywhere: `axis` is None (all axes), an integer or a tuple, negative ones count from the end;
`keepdims=True` leaves reduced axes with extent 1. An axis that does not exist, or is named twice,
raises ShapeError; a dtype without meaning raises DTypeError.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import arithmetic, normalisation, reduction
from jitgraph.ir.ops.arithmetic import absolute, maximum, not_equal, sqrt, square
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.movement import broadcast_to, dim, dims, expand_dims, product, reshape
from jitgraph.ir.ops.prefix import prefix_max, prefix_min, prefix_prod, prefix_sum
from jitgraph.ir.types import (
    BOOL,
    F64,
    DType,
    as_dtype,
    computed_in,
    kind_of,
    normalise_axes,
    normalise_axis,
)
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import Axis, as_tensor, public


def axes_of(x: Value, axis: Axis) -> tuple[int, ...]:
    """The axes that `axis` names, counted from the front."""
    return normalise_axes(tuple(axis) if isinstance(axis, list) else axis, x.ndim)


def _kept(y: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return expand_dims(y, axes) if keepdims else y


#: Products of complex elements: loops, which `complex_products` puts here. They are built on sums.
COMPLEX: dict[str, Callable[..., Value]] = {}


def _total_dtype(x: Value, dtype: Any) -> DType:
    """What NumPy sums in: small integers widen to 64 bits."""
    if dtype is not None:
        return as_dtype(dtype)
    if x.dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if x.dtype.kind == "u" else x.dtype


def _mean_dtype(x: Value, dtype: Any, name: str) -> DType:
    if dtype is None:
        return x.dtype if kind_of(x.dtype) in "fc" else F64
    if kind_of(wanted := as_dtype(dtype)) not in "fc":
        raise DTypeError(f"{name} cannot be computed in {wanted}", hint="give a floating dtype")
    return wanted


def _sum(x: Value, axes: tuple[int, ...], dtype: DType) -> Value:
    if dtype == BOOL:
        return reduction.any_over(cast(x, BOOL), axes)
    return cast(reduction.sum_(cast(x, computed_in(dtype)), axes), dtype)  # type: ignore[no-any-return]


def _count(x: Value, axes: tuple[int, ...]) -> Any:
    return product([dim(x, a) for a in axes])


def _as_divisor(count: Any, dtype: DType) -> Any:
    return cast(count, dtype) if isinstance(count, Value) else count


# --- sums and products -------------------------------------------------------------------------
@public
def sum(
    x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False,
    *, initial: ArrayLike = None, where: ArrayLike = True,
) -> Value:  # fmt: skip
    """The sum of elements. bool and small integers sum in 64 bits, float16 in float32 (the result
    is float16 again); dtype chooses another. `initial` is added; only elements `where` count."""
    x = as_tensor(x)
    total = _total_dtype(x, dtype)
    x = _chosen(x, where, 0)
    axes = axes_of(x, axis)
    return _kept(_from(arithmetic.add, _sum(x, axes, total), initial), axes, keepdims)


@public
def prod(
    x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False,
    *, initial: ArrayLike = None, where: ArrayLike = True,
) -> Value:  # fmt: skip
    """The product of elements, in the dtypes of `sum`.
    The result is multiplied by `initial`; only elements `where` count."""
    x = as_tensor(x)
    total = _total_dtype(x, dtype)
    x = _chosen(x, where, 1)
    axes = axes_of(x, axis)
    if total == BOOL:
        return _kept(reduction.all_over(cast(x, BOOL), axes), axes, keepdims)
    y = cast(_product(cast(x, computed_in(total)), axes), total)
    return _kept(_from(arithmetic.multiply, y, initial), axes, keepdims)


def _product(x: Value, axes: tuple[int, ...]) -> Value:
    return COMPLEX["prod"](x, axes) if x.dtype.kind == "c" else reduction.prod(x, axes)


def _running_product(x: Value, axis: int) -> Value:
    return COMPLEX["cumprod"](x, axis) if x.dtype.kind == "c" else prefix_prod(x, axis)


def _chosen(x: Value, condition: ArrayLike, otherwise: Any) -> Value:
    """x where the condition holds, elsewhere what changes nothing."""
    if condition is True:
        return x
    return arithmetic.where(truth(as_tensor(condition)), x, x.dtype.type(otherwise))  # type: ignore[no-any-return]


def _from(combine: Any, y: Value, initial: ArrayLike) -> Value:
    """A reduction with the element it starts from, in its own dtype."""
    if initial is None:
        return y
    return cast(combine(y, initial if type(initial) is int else as_tensor(initial)), y.dtype)  # type: ignore[no-any-return]


def _running(x: ArrayLike, axis: int | None, dtype: Any, name: str) -> tuple[Value, int]:
    """What a running total is made of: without an axis the elements in C order, as a vector."""
    x = as_tensor(x)
    total = _total_dtype(x, dtype)
    if total == BOOL:
        raise DTypeError(f"{name} does not compute in bool", hint="give an integer dtype")
    if axis is None or x.ndim == 0:
        x, axis = reshape(x, (-1,)), normalise_axis(0 if axis is None else axis, 1)
    return cast(x, total), normalise_axis(axis, x.ndim)


@public
def cumsum(x: ArrayLike, axis: int | None = None, dtype: Any = None) -> Value:
    """The sum of all elements up to each along an axis, in the dtypes of `sum`; without an axis,
    of the elements in C order, as a vector."""
    return prefix_sum(*_running(x, axis, dtype, "cumsum"))


@public
def cumprod(x: ArrayLike, axis: int | None = None, dtype: Any = None) -> Value:
    """The product of all elements up to each along an axis, in the dtypes of `sum`; without an
    axis, of the elements in C order, as a vector."""
    return _running_product(*_running(x, axis, dtype, "cumprod"))


@public
def cummax(x: ArrayLike, axis: int = 0) -> Value:
    """The largest of all elements up to each along an axis: `np.maximum.accumulate`."""
    x = as_tensor(x)
    return prefix_max(x, normalise_axis(axis, x.ndim))


@public
def cummin(x: ArrayLike, axis: int = 0) -> Value:
    """The smallest of all elements up to each along an axis: `np.minimum.accumulate`."""
    x = as_tensor(x)
    return prefix_min(x, normalise_axis(axis, x.ndim))


def _cumulative(
    x: ArrayLike, axis: int | None, dtype: Any, include_initial: bool, name: str
) -> Value:
    x = as_tensor(x)
    if axis is None and x.ndim > 1:
        raise ShapeError(f"{name} needs an axis for {x.type}")
    prefix, first = _CUMULATIVE[name]
    y = prefix(*_running(x, 0 if axis is None else axis, dtype, name))
    if not include_initial:
        return y
    axis = normalise_axis(0 if axis is None else axis, y.ndim)
    sizes = [1 if k == axis else dim(y, k) for k in range(y.ndim)]
    return concatenate([broadcast_to(as_tensor(first, y.dtype), sizes), y], axis)


_CUMULATIVE = {"cumulative_sum": (prefix_sum, 0), "cumulative_prod": (_running_product, 1)}


@public
def cumulative_sum(
    x: ArrayLike, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Value:
    """`cumsum` along an axis, which only vectors may leave out; from 0 with include_initial."""
    return _cumulative(x, axis, dtype, include_initial, "cumulative_sum")


@public
def cumulative_prod(
    x: ArrayLike, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Value:
    """`cumprod` along an axis, which only vectors may leave out; from 1 with include_initial."""
    return _cumulative(x, axis, dtype, include_initial, "cumulative_prod")


@public
def mean(
    x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False,
    *, where: ArrayLike = True,
) -> Value:  # fmt: skip
    """The arithmetic mean (of elements `where`); float64 for integers and bool. NaN over no
    elements at all."""
    x = as_tensor(x)
    axes, result = axes_of(x, axis), _mean_dtype(x, dtype, "mean")
    if where is not True:
        chosen = arithmetic.where(truth(as_tensor(where)), cast(x, computed_in(result)), 0)
        hits = broadcast_to(truth(as_tensor(where)), dims(chosen))
        count = reduction.sum_(cast(hits, np.int64), axes)
        y = reduction.sum_(chosen, axes) / cast(count, _real(chosen.dtype))
        return _kept(cast(y, result), axes, keepdims)
    return _kept(cast(_mean(x, axes, computed_in(result)), result), axes, keepdims)


def _mean(x: Value, axes: tuple[int, ...], dtype: DType) -> Value:
    total = reduction.sum_(cast(x, dtype), axes)
    return total / _as_divisor(_count(x, axes), dtype)  # type: ignore[no-any-return]


@public
def var(
    x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False, ddof: int = 0
) -> Value:
    """The variance: mean of |x - mean(x)|², divided by the count less ddof. Real for complex x."""
    x = as_tensor(x)
    axes, result = axes_of(x, axis), _mean_dtype(x, dtype, "var")
    y = _variance(x, axes, computed_in(result), ddof)
    return _kept(y if y.dtype == _real(result) else cast(y, _real(result)), axes, keepdims)


@public
def std(
    x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False, ddof: int = 0
) -> Value:
    """The standard deviation: the square root of `var`."""
    return sqrt(var(x, axis, dtype, keepdims, ddof))  # type: ignore[no-any-return]


def _real(dtype: DType) -> DType:
    return np.empty(0, dtype).real.dtype


def _variance(x: Value, axes: tuple[int, ...], dtype: DType, ddof: int) -> Value:
    """Two passes, as NumPy: the mean first, so that large offsets do not cancel."""
    deviation = cast(x, dtype) - expand_dims(_mean(x, axes, dtype), axes)
    squares = square(absolute(deviation) if dtype.kind == "c" else deviation)
    count = _count(x, axes)
    if ddof:
        left = count - ddof
        count = maximum(left, 0) if isinstance(left, Value) else builtins.max(left, 0)
    return reduction.sum_(squares, axes) / _as_divisor(count, squares.dtype)  # type: ignore[no-any-return]


# --- extrema -----------------------------------------------------------------------------------
@public
def max(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False,
    *, initial: ArrayLike = None, where: ArrayLike = True,
) -> Value:  # fmt: skip
    """The largest element, NaN if there is one; `initial` counts as an element, and only elements
    `where` do, if that is given as well. Without elements and `initial` it raises ShapeError."""
    x = as_tensor(x)
    if where is not True and initial is None:
        raise DTypeError("max with where= needs initial=, as nothing may be left")
    x = _chosen(x, where, initial)
    axes = axes_of(x, axis)
    largest = reduction.max_(x, axes) if initial is None else reduction.peak(x, axes)
    return _kept(_from(arithmetic.maximum, largest, initial), axes, keepdims)


@public
def min(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False,
    *, initial: ArrayLike = None, where: ArrayLike = True,
) -> Value:  # fmt: skip
    """The smallest element, NaN if there is one; `initial` counts as an element, and only elements
    `where` do, if that is given as well. Without elements and `initial` it raises ShapeError."""
    x = as_tensor(x)
    if where is not True and initial is None:
        raise DTypeError("min with where= needs initial=, as nothing may be left")
    x = _chosen(x, where, initial)
    axes = axes_of(x, axis)
    smallest = reduction.min_(x, axes) if initial is None else _least(x, axes)
    return _kept(_from(arithmetic.minimum, smallest, initial), axes, keepdims)


def _least(x: Value, axes: tuple[int, ...]) -> Value:
    """The smallest element, the greatest number where there is none."""
    turned = arithmetic.negative if kind_of(x.dtype) == "f" else arithmetic.invert
    return turned(reduction.peak(turned(x), axes))  # type: ignore[no-any-return]


@public
def argmax(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """Position (int64) of the first largest element; over several axes it counts in C order."""
    x = as_tensor(x)
    axes = axes_of(x, axis)
    return _kept(reduction.argmax(x, axes), axes, keepdims)


@public
def argmin(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """Position (int64) of the first smallest element; over several axes it counts in C order."""
    x = as_tensor(x)
    axes = axes_of(x, axis)
    return _kept(reduction.argmin(x, axes), axes, keepdims)


@public
def max_and_argmax(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False
) -> tuple[Value, ...]:
    """`max` and `argmax` in one."""
    x = as_tensor(x)
    return max(x, axis, keepdims), argmax(x, axis, keepdims)


# --- truth -------------------------------------------------------------------------------------
def truth(x: Value) -> Value:
    """x as bool: what is not 0 is true."""
    return x if x.dtype == BOOL else not_equal(x, 0)


@public
def any(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False, *, where: ArrayLike = True
) -> Value:
    """Whether an element (`where` asked) is true, which is not 0."""
    x = _chosen(truth(as_tensor(x)), where, False)
    axes = axes_of(x, axis)
    return _kept(reduction.any_over(x, axes), axes, keepdims)


@public
def all(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False, *, where: ArrayLike = True
) -> Value:
    """Whether every element (`where` asked) is true, which is not 0."""
    x = _chosen(truth(as_tensor(x)), where, True)
    axes = axes_of(x, axis)
    return _kept(reduction.all_over(x, axes), axes, keepdims)


# --- composite ---------------------------------------------------------------------------------
@public
def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """log(sum(exp(x))) without overflow; -inf over no elements. Integers become float64."""
    x = as_float(as_tensor(x))
    axes = axes_of(x, axis)
    return _kept(normalisation.logsumexp(x, axes), axes, keepdims)


def as_float(x: Value) -> Value:
    """x itself if its dtype is floating or complex, else as float64."""
    return x if kind_of(x.dtype) in "fc" else cast(x, F64)
