"""Averages, spreads and what leaves NaNs out."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import arithmetic, linear, movement, reduction
from jitgraph.ir.ops.arithmetic import isnan, logical_not, maximum, minimum, sqrt, where
from jitgraph.ir.ops.indexing import gather
from jitgraph.ir.types import F64, I64, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.diagonals import diagonal
from jitgraph.tensor.operands import Axis, as_tensor, common_dtype, public
from jitgraph.tensor.products import conjugated
from jitgraph.tensor.shaping import concatenate


# --- spreads and averages ----------------------------------------------------------------------
@public
def ptp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """The largest element less the smallest, over axes."""
    x = as_tensor(x)
    return reductions.max(x, axis, keepdims) - reductions.min(x, axis, keepdims)


@public
def count_nonzero(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """How many elements are not 0, over axes."""
    return reductions.sum(reductions.truth(as_tensor(x)), axis, None, keepdims)


@public
def average(
    a: ArrayLike, axis: Axis = None, weights: ArrayLike = None, returned: bool = False,
    keepdims: bool = False,
) -> Any:  # fmt: skip
    """The mean, weighted by `weights` of a's shape or along the axis. With `returned` also the
    sum of the weights."""
    x = as_tensor(a)
    if weights is None:
        y = reductions.mean(x, axis, None, keepdims)
        count = movement.product(
            [movement.dim(x, k) for k in reductions.axes_of(x, axis)]
        )
        return (y, _full(y, count)) if returned else y
    w: Value = as_tensor(weights)
    dtype = common_dtype([x, w] if kind_of(x.dtype) in "fc" else [x, w, np.float64(0)])
    if w.ndim != x.ndim:
        axes = reductions.axes_of(x, axis)
        if axis is None or w.ndim != len(axes):
            raise ShapeError(f"weights {w.type} fit neither {x.type} nor the axis {axis}")
        w = movement.expand_dims(w, [k for k in range(x.ndim) if k not in axes])
    w = movement.broadcast_to(w, movement.dims(x)) if w.type.shape != x.type.shape else w
    total = reductions.sum(w, axis, dtype, keepdims)
    y = reductions.sum(cast(x, dtype) * cast(w, dtype), axis, dtype, keepdims) / total
    return (y, total) if returned else y


def _full(y: Value, count: Any) -> Value:
    """A number of elements beside a mean, of its dtype and shape."""
    return movement.broadcast_to(cast(as_tensor(count), y.dtype), movement.dims(y))


# --- covariance --------------------------------------------------------------------------------
@public
def cov(
    m: ArrayLike, y: ArrayLike = None, rowvar: bool = True, bias: bool = False,
    ddof: int | None = None, fweights: ArrayLike = None, aweights: ArrayLike = None,
    *, dtype: Any = None,
) -> Value:  # fmt: skip
    """The covariances of variables (the rows, or without rowvar the columns) over observations,
    divided by their number less ddof (1, or 0 with bias); fweights say how often each observation
    was made, aweights how much it weighs."""
    if ddof is not None and ddof != int(ddof):
        raise OptionError(f"ddof must be an integer, not {ddof}")
    x = _observations(m, rowvar)
    if y is not None:
        x = concatenate([x, _observations(y, rowvar)], 0)
    kind = common_dtype([x, np.float64(0)]) if dtype is None else np.dtype(dtype)
    x, less = cast(x, kind), (0 if bias else 1) if ddof is None else ddof
    if fweights is None and aweights is None:
        count = movement.dim(x, 1)
        centred = x - reductions.mean(x, 1, keepdims=True)
        return _second_moments(centred, centred, _number(count, F64) - less)
    given = [as_tensor(v) for v in (fweights, aweights) if v is not None]
    w = cast(given[0] if len(given) == 1 else given[0] * given[1], F64)
    total = reductions.sum(w)
    mean = reductions.sum(x * w, 1, keepdims=True) / total
    fact = total - less
    if less and aweights is not None:
        fact = total - less * reductions.sum(w * given[-1]) / total
    centred = x - mean
    return _second_moments(centred, centred * w, fact)


def _observations(m: ArrayLike, rowvar: bool) -> Value:
    x = as_tensor(m)
    if x.ndim > 2:
        raise ShapeError(f"cov takes vectors and matrices, not {x.type}")
    if x.ndim < 2:
        return movement.reshape(x, (1, -1))
    return x if rowvar else movement.transpose(x, (1, 0))


def _number(size: Any, dtype: Any) -> Any:
    return cast(size, dtype) if isinstance(size, Value) else dtype.type(size)


def _second_moments(x: Value, y: Value, fact: Any) -> Value:
    product = linear.matmul(x, conjugated(movement.transpose(cast(y, x.dtype), (1, 0))))
    scaled = product / cast(maximum(as_tensor(fact), 0), np.empty(0, x.dtype).real.dtype)
    ones = [k for k in (0, 1) if scaled.type.shape[k] == 1]
    return movement.squeeze(scaled, ones if len(ones) == 2 else [])


@public
def corrcoef(
    x: ArrayLike, y: ArrayLike = None, rowvar: bool = True, *, dtype: Any = None
) -> Value:
    """The covariances divided by both standard deviations: correlations, in -1..1."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    spread = cast(sqrt(cast(diagonal(c), np.empty(0, c.dtype).real.dtype)), c.dtype)
    scaled = c / movement.expand_dims(spread, (1,)) / movement.expand_dims(spread, (0,))
    if c.dtype.kind == "c":
        return scaled
    return minimum(maximum(scaled, -1.0), 1.0)  # type: ignore[no-any-return]


# --- without NaNs ------------------------------------------------------------------------------
def _without(x: ArrayLike, otherwise: Any) -> tuple[Value, Value | None]:
    """x with another number for every NaN, and where these are."""
    value = as_tensor(x)
    if kind_of(value.dtype) not in "fc":
        return value, None
    missing = isnan(value)
    return where(missing, value.dtype.type(otherwise), value), missing


@public
def nansum(x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Value:
    """`sum` with 0 for NaN."""
    return reductions.sum(_without(x, 0)[0], axis, dtype, keepdims)


@public
def nanprod(x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Value:
    """`prod` with 1 for NaN."""
    return reductions.prod(_without(x, 1)[0], axis, dtype, keepdims)


@public
def nancumsum(x: ArrayLike, axis: int | None = None, dtype: Any = None) -> Value:
    """`cumsum` with 0 for NaN."""
    return reductions.cumsum(_without(x, 0)[0], axis, dtype)


@public
def nancumprod(x: ArrayLike, axis: int | None = None, dtype: Any = None) -> Value:
    """`cumprod` with 1 for NaN."""
    return reductions.cumprod(_without(x, 1)[0], axis, dtype)


@public
def nanmax(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """The largest element that is not NaN; NaN where there is none."""
    y, missing = _without(x, -np.inf)
    return _or_nan(reductions.max(y, axis, keepdims), missing, axis, keepdims)


@public
def nanmin(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """The smallest element that is not NaN; NaN where there is none."""
    y, missing = _without(x, np.inf)
    return _or_nan(reductions.min(y, axis, keepdims), missing, axis, keepdims)


def _or_nan(y: Value, missing: Value | None, axis: Axis, keepdims: bool) -> Value:
    if missing is None:
        return y
    nothing = reductions.all(missing, axis, keepdims)
    return where(nothing, y.dtype.type(np.nan), y)  # type: ignore[no-any-return]


@public
def nanargmax(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """Position of the first largest element that is not NaN; where all are, the call fails."""
    y, missing = _without(x, -np.inf)
    return _found(reductions.argmax(y, axis, keepdims), y, missing, axis, keepdims)


@public
def nanargmin(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """Position of the first smallest element that is not NaN; where all are, the call fails."""
    y, missing = _without(x, np.inf)
    return _found(reductions.argmin(y, axis, keepdims), y, missing, axis, keepdims)


def _found(y: Value, x: Value, missing: Value | None, axis: Axis, keepdims: bool) -> Value:
    """Positions, of which a slice of NaNs alone has none: reading at -1 fails there."""
    if missing is None:
        return y
    nothing = cast(reductions.all(missing, axis, keepdims), I64)
    count = movement.product([movement.dim(x, k) for k in reductions.axes_of(x, axis)])
    places = movement.iota(count, cls=type(x))
    return gather(places, [y - nothing * (count + 1)])


def _count(x: Value, missing: Value, axes: tuple[int, ...], dtype: Any) -> Value:
    return cast(reduction.sum_(cast(logical_not(missing), I64), axes), dtype)  # type: ignore[no-any-return]


@public
def nanmean(x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Value:
    """The mean of the elements that are not NaN; NaN where there is none."""
    y, missing = _without(x, 0)
    if missing is None:
        return reductions.mean(y, axis, dtype, keepdims)
    axes = reductions.axes_of(y, axis)
    total = reductions.sum(y, axis, dtype)
    made = total / _count(y, missing, axes, np.empty(0, total.dtype).real.dtype)
    return movement.expand_dims(made, axes) if keepdims else made


@public
def nanvar(
    x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False, ddof: int = 0
) -> Value:
    """The variance of the elements that are not NaN; NaN where there are not more than ddof."""
    y, missing = _without(x, 0)
    if missing is None:
        return reductions.var(y, axis, dtype, keepdims, ddof)
    axes = reductions.axes_of(y, axis)
    off = where(missing, 0, y - nanmean(x, axis, dtype, keepdims=True))
    squares = arithmetic.square(arithmetic.absolute(off) if off.dtype.kind == "c" else off)
    total = reductions.sum(squares, axis)
    left = _count(y, missing, axes, total.dtype) - ddof
    made = where(left > 0, total / where(left > 0, left, 1), total.dtype.type(np.nan))
    return movement.expand_dims(made, axes) if keepdims else made


@public
def nanstd(
    x: ArrayLike, axis: Axis = None, dtype: Any = None, keepdims: bool = False, ddof: int = 0
) -> Value:
    """The square root of `nanvar`."""
    return sqrt(nanvar(x, axis, dtype, keepdims, ddof))  # type: ignore[no-any-return]
