"""Differences, slopes, areas and interpolation of sampled values."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import joining, movement
from jitgraph.ir.ops.arithmetic import (
    absolute,
    equal,
    isnan,
    logical_and,
    maximum,
    minimum,
    not_equal,
    remainder,
    where,
)
from jitgraph.ir.ops.indexing import gather
from jitgraph.ir.types import BOOL, F64, kind_of, normalise_axes, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.counting import searchsorted
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import Axis, as_tensor, common_dtype, promoted, public
from jitgraph.tensor.shaping import concatenate, ravel


# --- differences -------------------------------------------------------------------------------
@public
def diff(
    a: ArrayLike, n: int = 1, axis: int = -1, prepend: ArrayLike = None, append: ArrayLike = None
) -> Value:
    """Each element less the one before it along an axis, n times; `prepend` and `append` first put
    values to its ends."""
    if n < 0:
        raise OptionError(f"diff cannot be taken {n} times")
    x = as_tensor(a)
    if not x.ndim:
        raise ShapeError(f"diff takes no scalar ({x.type})")
    axis = normalise_axis(axis, x.ndim)
    if n == 0:
        return x
    ends = [_end(e, x, axis) for e in (prepend, append)]
    parts = [p for p in (ends[0], x, ends[1]) if p is not None]
    x = concatenate(parts, axis) if len(parts) > 1 else x
    lead = (slice(None),) * axis
    for _ in range(n):
        later, before = getitem(x, (*lead, slice(1, None))), getitem(x, (*lead, slice(None, -1)))
        x = not_equal(later, before) if x.dtype == BOOL else later - before
    return x


def _end(given: ArrayLike, x: Value, axis: int) -> Value | None:
    if given is None:
        return None
    value = as_tensor(given)
    if value.ndim:
        return value
    sizes = [1 if k == axis else s for k, s in enumerate(movement.dims(x))]
    return movement.broadcast_to(value, sizes)


@public
def ediff1d(ary: ArrayLike, to_end: ArrayLike = None, to_begin: ArrayLike = None) -> Value:
    """The differences of neighbours in C order, with values before and after them."""
    middle = diff(ravel(ary))
    begin, end = (None if e is None else cast(ravel(e), middle.dtype) for e in (to_begin, to_end))
    parts = [p for p in (begin, middle, end) if p is not None]
    return concatenate(parts, 0) if len(parts) > 1 else middle


@public
def gradient(f: ArrayLike, *varargs: ArrayLike, axis: Axis = None, edge_order: int = 1) -> Any:
    """Slopes along axes by central differences, at the ends by one-sided ones of `edge_order` 1 or
    2. varargs: the distance of neighbours, or one per axis, or their positions along each."""
    x = as_tensor(f)
    axes = normalise_axes(axis, x.ndim)
    if isinstance(axis, list | tuple):
        axes = tuple(normalise_axis(a, x.ndim) for a in axis)
    given = list(varargs) if varargs else [1.0]
    if len(given) == 1 and not as_tensor(given[0]).ndim:
        given = given * len(axes)
    if len(given) != len(axes):
        raise ShapeError(f"gradient: {len(given)} distances for {len(axes)} axes")
    if edge_order not in (1, 2):
        raise OptionError(f"edge_order must be 1 or 2, not {edge_order}")
    if kind_of(x.dtype) not in "fc":
        x = cast(x, F64)
    slopes = [_slope(x, h, k, edge_order) for h, k in zip(given, axes, strict=True)]
    return slopes[0] if len(axes) == 1 else tuple(slopes)


def _slope(x: Value, distance: ArrayLike, axis: int, order: int) -> Value:
    extent = x.type.shape[axis]
    if isinstance(extent, int) and extent < order + 1:
        raise ShapeError(f"gradient needs {order + 1} elements along axis {axis} of {x.type}")
    lead, rest = (slice(None),) * axis, x.ndim - axis - 1

    def part(start: int | None, stop: int | None) -> Value:
        return getitem(x, (*lead, slice(start, stop)))

    h = distance if isinstance(distance, int | float) else as_tensor(distance)
    if getattr(h, "ndim", 0):
        return _uneven_slope(part, diff(as_tensor(h)), axis, rest, order)
    inner = (part(2, None) - part(None, -2)) / (2.0 * h)
    if order == 1:
        first, last = (part(1, 2) - part(0, 1)) / h, (part(-1, None) - part(-2, -1)) / h
    else:
        a, b, c = -1.5 / h, 2.0 / h, -0.5 / h
        first = a * part(0, 1) + b * part(1, 2) + c * part(2, 3)
        last = -c * part(-3, -2) + -b * part(-2, -1) + -a * part(-1, None)
    return joining.concatenate(promoted([first, inner, last]), axis)


def _uneven_slope(part: Any, steps: Value, axis: int, rest: int, order: int) -> Value:
    """Slopes where the steps differ, by parabolas through three points."""
    def along(v: Value) -> Value:
        return movement.expand_dims(v, range(1, rest + 1))

    def step(start: int, stop: int | None) -> Value:
        return along(getitem(steps, slice(start, stop)))

    h1, h2 = along(getitem(steps, slice(None, -1))), step(1, None)
    inner = (-h2 / (h1 * (h1 + h2)) * part(None, -2) + (h2 - h1) / (h1 * h2) * part(1, -1)
             + h1 / (h2 * (h1 + h2)) * part(2, None))  # fmt: skip
    d1, d2, e1, e2 = step(0, 1), step(1, 2), step(-2, -1), step(-1, None)
    if order == 1:
        first = (part(1, 2) - part(0, 1)) / d1
        last = (part(-1, None) - part(-2, -1)) / e2
    else:
        first = (-(2.0 * d1 + d2) / (d1 * (d1 + d2)) * part(0, 1)
                 + (d1 + d2) / (d1 * d2) * part(1, 2) - d1 / (d2 * (d1 + d2)) * part(2, 3))
        last = (e2 / (e1 * (e1 + e2)) * part(-3, -2) - (e2 + e1) / (e1 * e2) * part(-2, -1)
                + (2.0 * e2 + e1) / (e2 * (e1 + e2)) * part(-1, None))
    return joining.concatenate(promoted([first, inner, last]), axis)


@public
def trapezoid(y: ArrayLike, x: ArrayLike = None, dx: ArrayLike = 1.0, axis: int = -1) -> Value:
    """The area under samples along an axis, by trapezoids; x are their places, or dx apart."""
    values = as_tensor(y)
    axis = normalise_axis(axis, values.ndim)
    lead = (slice(None),) * axis
    width: Any = dx
    if x is not None:
        places = as_tensor(x)
        if places.ndim == 1:
            width = movement.expand_dims(diff(places), range(1, values.ndim - axis))
        else:
            width = diff(places, axis=axis)
    after, before = (getitem(values, (*lead, s)) for s in (slice(1, None), slice(None, -1)))
    return reductions.sum(width * (after + before) / 2.0, axis)


@public
def unwrap(
    p: ArrayLike, discont: ArrayLike = None, axis: int = -1, *, period: ArrayLike = 2 * np.pi
) -> Value:
    """p with multiples of the period added so that neighbours along an axis differ by at most half
    of it (or `discont`, if that is more)."""
    x = as_tensor(p)
    axis = normalise_axis(axis, x.ndim)
    d = diff(x, axis=axis)
    dtype = common_dtype([d, period])
    half: Any = period / 2
    if dtype.kind in "iu":
        half, odd = divmod(period, 2)
        on_edge = bool(odd == 0)
    else:
        on_edge = True
    moved = remainder(d + half, period) - half
    if on_edge:
        moved = where(logical_and(equal(moved, -half), d > 0), half, moved)
    fixed = moved - d
    fixed = where(absolute(d) < (half if discont is None else discont), 0, fixed)
    lead = (slice(None),) * axis
    first = getitem(x, (*lead, slice(None, 1)))
    rest = getitem(x, (*lead, slice(1, None))) + reductions.cumsum(fixed, axis)
    return joining.concatenate([cast(first, dtype), cast(rest, dtype)], axis)


# --- interpolation -----------------------------------------------------------------------------
@public
def interp(
    x: ArrayLike, xp: ArrayLike, fp: ArrayLike, left: ArrayLike = None, right: ArrayLike = None,
    period: ArrayLike = None,
) -> Value:  # fmt: skip
    """Values at x of the line through the points (xp, fp), xp rising; `left` and `right` beyond
    the ends, by default the values there."""
    if period is not None:
        raise OptionError("interp takes no period", hint="continue xp and fp by a period, reduce x")
    at, places = cast(as_tensor(x), F64), cast(as_tensor(xp), F64)
    values = as_tensor(fp)
    values = values if values.dtype.kind == "c" else cast(values, F64)
    if places.ndim != 1 or values.ndim != 1:
        raise ShapeError(f"interp takes vectors of points: {places.type} and {values.type}")
    count = movement.dim(places, 0)
    found = searchsorted(places, at, "right") - 1
    below = minimum(maximum(found, 0), maximum(count - 2, 0) if isinstance(count, Value)
                    else builtins.max(count - 2, 0))  # fmt: skip
    above = minimum(below + 1, count - 1)
    x0, x1, y0, y1 = (gather(v, [k]) for v in (places, values) for k in (below, above))
    slope = (y1 - y0) / where(equal(x1, x0), 1.0, x1 - x0)
    y = slope * (at - x0) + y0
    last = getitem(values, -1)
    y = where(at >= getitem(places, -1), last, y)
    ends = (getitem(values, 0) if left is None else left, last if right is None else right)
    y = where(at < getitem(places, 0), ends[0], y)
    y = where(at > getitem(places, -1), ends[1], y)
    return where(isnan(at), at, y)  # type: ignore[no-any-return]
