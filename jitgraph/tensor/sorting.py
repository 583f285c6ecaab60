"""Sorting, order statistics and what is found by sorting, under NumPy's names.

Axes count as NumPy's do; `axis=None` is the flattened array. NaNs sort to the end. Gradients go
where the elements came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size, emit
from jitgraph.ir.ops import movement
from jitgraph.ir.ops import sorting as ops
from jitgraph.ir.ops.arithmetic import (
    greater_equal,
    isnan,
    logical_not,
    maximum,
    minimum,
    where,
)
from jitgraph.ir.ops.indexing import gather, slice_, slice_axis
from jitgraph.ir.types import F64, I64, kind_of, normalise_axes, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.math import FUNCTIONS as F
from jitgraph.tensor.operands import Axis, as_size, as_tensor, public
from jitgraph.tensor.shaping import concatenate

_KINDS = (None, "quicksort", "heapsort", "mergesort", "stable")


# --- axes ---------------------------------------------------------------------------------------
def _along(x: Value, axis: int | None, op: Callable[[Value], Value]) -> Value:
    """An op of the last axis, applied to another; without one, to the flattened array."""
    if axis is None:
        return op(movement.reshape(x, (-1,)))
    place = normalise_axis(axis, x.ndim)
    order = [*(a for a in range(x.ndim) if a != place), place]
    y = op(movement.transpose(x, order))
    return movement.transpose(y, [order.index(a) for a in range(x.ndim)])


def along(x: Value, indices: Value) -> Value:
    """Each row of x (along the last axis) at the indices of the same row."""
    return gather(x, ops.rows_at(indices))


def _stable(kind: str | None, stable: bool | None) -> bool:
    if kind not in _KINDS:
        raise OptionError(f"kind is {kind!r}", hint="one of: quicksort, heapsort, stable")
    return bool(stable) or kind in ("stable", "mergesort")


# --- order --------------------------------------------------------------------------------------
@public
def sort(
    a: ArrayLike, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None
) -> Value:
    """The elements in ascending order along an axis."""
    _stable(kind, stable)
    return _along(as_tensor(a), axis, ops.sort)


@public
def argsort(
    a: ArrayLike, axis: int | None = -1, kind: str | None = None, *, stable: bool | None = None
) -> Value:
    """The indices that sort along an axis; equal elements keep their order if `stable`."""
    keep = _stable(kind, stable)
    return _along(as_tensor(a), axis, lambda x: ops.argsort(x, stable=keep))


@public
def partition(
    a: ArrayLike, kth: Any, axis: int | None = -1, kind: str = "introselect"
) -> Value:
    """The k-th element in its sorted place, smaller ones before it and larger ones behind, each in
    the order they had; for several places everything is sorted."""
    _check_kind(kind)
    x = as_tensor(a)
    if _place(x, kth) is None:
        return _along(x, axis, lambda rows: _with_places(rows, kth, ops.sort(rows)))
    return _along(x, axis, lambda rows: along(rows, _partitioned(rows, kth)))


@public
def argpartition(
    a: ArrayLike, kth: Any, axis: int | None = -1, kind: str = "introselect"
) -> Value:
    """The indices that partition."""
    _check_kind(kind)
    return _along(as_tensor(a), axis, lambda rows: _partitioned(rows, kth))


def _check_kind(kind: str) -> None:
    if kind != "introselect":
        raise OptionError(f"kind is {kind!r}", hint="the one kind there is: introselect")


def _place(x: Value, kth: Any) -> Size | None:
    """The one place of a partition; None where there are several, or no order of one key."""
    if x.dtype.kind == "c":
        return None
    if isinstance(kth, Value):
        return as_size(kth, "kth") if not kth.ndim else None
    places = np.ravel(kth)
    return as_size(places[0], "kth") if len(places) == 1 else None


def _partitioned(rows: Value, kth: Any) -> Value:
    place = _place(rows, kth)
    if place is None:
        return _with_places(rows, kth, ops.argsort(rows, stable=True))
    extent = movement.dims(rows)[-1]
    if isinstance(place, int) and isinstance(extent, int):
        if not -extent <= place < extent:
            raise ShapeError(f"kth(={place}) is out of bounds for {extent} elements")
        inside: Any = place + extent * (place < 0)
    else:
        inside = where(place < 0, place + extent, place) if isinstance(place, Value) else (
            place + extent if place < 0 else place
        )
        inside = _checked(inside, extent, type(rows))
    own = movement.broadcast_to(cast(as_tensor(inside), I64), ())
    return emit(ops.ARGPARTITION, (ops.sort_keys(rows), own))


def _checked(place: Size, extent: Size, cls: type[Value]) -> Value:
    """A place that fails the call where it is none of the extent."""
    return gather(movement.iota(extent, cls), [cast(as_tensor(place), I64)])


def _with_places(rows: Value, kth: Any, found: Value) -> Value:
    """What has been found, if all the places are inside."""
    extent = rows.type.shape[-1]
    for k in np.ravel(kth) if not isinstance(kth, Value) else ():
        if isinstance(extent, int) and not -extent <= k < extent:
            raise ShapeError(f"kth(={k}) is out of bounds for {extent} elements")
    return found


@public
def top_k(a: ArrayLike, k: Any, axis: int = -1) -> tuple[Value, ...]:
    """The k largest elements along an axis, in descending order, and their indices."""
    x = as_tensor(a)
    size = as_size(k, "k")
    place = normalise_axis(axis, x.ndim)
    n = movement.dim(x, place)
    if isinstance(n, int) and isinstance(size, int) and not 0 <= size <= n:
        raise ShapeError(f"there are no {size} largest of {n} elements")

    def last(rows: Value) -> Value:
        order = ops.argsort(rows, stable=True)
        return slice_(order, (order.ndim - 1,), (movement.dims(order)[-1] - 1,), (size,), (-1,))

    order = [*(i for i in range(x.ndim) if i != place), place]
    rows = movement.transpose(x, order)
    indices = last(rows)
    back = [order.index(i) for i in range(x.ndim)]
    return tuple(movement.transpose(v, back) for v in (along(rows, indices), indices))


@public
def lexsort(keys: Any, axis: int = -1) -> Value:
    """The indices that sort by several keys, the last of them first of all."""
    given = list(keys) if isinstance(keys, list | tuple) else _rows(as_tensor(keys))
    if not given:
        raise ShapeError("lexsort needs at least one key")
    values = [as_tensor(key) for key in given]

    place = normalise_axis(axis, values[0].ndim)
    turn = [*(i for i in range(values[0].ndim) if i != place), place]
    rows = [movement.transpose(v, turn) for v in values]
    order = ops.argsort(rows[0], stable=True)
    for key in rows[1:]:
        order = along(order, ops.argsort(along(key, order), stable=True))
    return movement.transpose(order, [turn.index(i) for i in range(len(turn))])


@public
def sort_complex(a: ArrayLike) -> Value:
    """The elements in ascending order along the last axis, as complex numbers."""
    x = as_tensor(a)
    short = x.dtype.kind in "iu" and x.dtype.itemsize <= 2
    dtype = x.dtype if x.dtype.kind == "c" else np.dtype("c8" if short else "c16")
    return cast(ops.sort(x), dtype)  # type: ignore[no-any-return]


def _rows(x: Value) -> list[Value]:
    length = x.type.shape[0] if x.ndim else None
    if not isinstance(length, int):
        raise ShapeError(f"the number of keys must be known, not that of {x.type}")
    return [movement.squeeze(slice_axis(x, 0, k, 1), (0,)) for k in range(length)]


# --- order statistics ---------------------------------------------------------------------------
_METHODS = ("linear", "lower", "higher", "nearest", "midpoint", "inverted_cdf",
            "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen",
            "weibull", "median_unbiased", "normal_unbiased")  # fmt: skip
#: Parameters of the methods of Hyndman and Fan, 1996, in NumPy's form.
_CONTINUOUS = {
    "linear": (1.0, 1.0), "interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0), "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}  # fmt: skip


@public
def quantile(
    a: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Value:
    """The q-th quantiles (0 <= q <= 1) along axes, by NumPy's methods. NaN where there is one."""
    return _quantile(a, q, axis, method, keepdims, ignore_nan=False)


@public
def percentile(
    a: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Value:
    """The q-th percentiles (0 <= q <= 100) along axes."""
    return _quantile(a, _hundredth(a, q), axis, method, keepdims, ignore_nan=False)


@public
def nanquantile(
    a: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Value:
    """`quantile` of what is not NaN."""
    return _quantile(a, q, axis, method, keepdims, ignore_nan=True)


@public
def nanpercentile(
    a: ArrayLike, q: ArrayLike, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Value:
    """`percentile` of what is not NaN."""
    return _quantile(a, _hundredth(a, q), axis, method, keepdims, ignore_nan=True)


def _hundredth(a: ArrayLike, q: ArrayLike) -> Value:
    return _order(a, q) / 100  # type: ignore[no-any-return]


def _order(a: ArrayLike, q: ArrayLike) -> Value:
    """q as an array, in the precision of a if it is a Python number."""
    own = as_tensor(a).dtype
    weak = type(q) in (int, float) and kind_of(own) == "f"
    value = as_tensor(q)
    return cast(value, own if weak else F64 if value.dtype.kind in "biu" else value.dtype)  # type: ignore[no-any-return]


@public
def median(a: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """The middle element along axes, or the mean of the two middle ones; NaN where there is one."""
    return _median(a, axis, keepdims, ignore_nan=False)


@public
def nanmedian(a: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Value:
    """`median` of what is not NaN."""
    return _median(a, axis, keepdims, ignore_nan=True)


def _rows_over(x: Value, axis: Axis) -> tuple[Value, tuple[int, ...]]:
    """x with the axes merged into one, which is the last."""
    axes = normalise_axes(tuple(axis) if isinstance(axis, list) else axis, x.ndim)
    kept = [a for a in range(x.ndim) if a not in axes]
    turned = movement.transpose(x, [*kept, *axes])
    if len(axes) != 1:
        sizes = [movement.dim(x, a) for a in kept]
        turned = movement.reshape(turned, (*sizes, movement.product(
            [movement.dim(x, a) for a in axes])))  # fmt: skip
    return turned, axes


#: Elements at so many places are selected one by one; for more the rows are sorted.
_SELECTED = 24


def _counted(rows: Value, *, ignore_nan: bool) -> Value:
    """How many elements of each row count."""
    if ignore_nan and kind_of(rows.dtype) == "f":
        return reductions.sum(logical_not(isnan(rows)), -1)
    n = cast(as_tensor(movement.dims(rows)[-1]), I64)
    return movement.broadcast_to(n, movement.dims(rows)[:-1])


def _elements(rows: Value, *places: Value) -> list[Value]:
    """The elements that sorting each row would bring to places, which have the axes of the rows,
    then perhaps others."""
    lead, shape = rows.ndim - 1, movement.dims(places[0])
    flat = [movement.reshape(p, (*shape[:lead], -1)) for p in places]
    number = flat[0].type.shape[-1]
    if rows.dtype.kind == "c" or not isinstance(number, int) or number * len(places) > _SELECTED:
        ordered = ops.sort(rows)
        found = [along(ordered, p) for p in flat]
    else:
        # Side by side: where one is, the next is found at once.
        each = [movement.expand_dims(p, (p.ndim,)) for p in flat]
        wanted = movement.reshape(concatenate(each, -1), (*shape[:lead], number * len(places)))
        chosen = along(rows, emit(ops.ARGSELECT, (ops.sort_keys(rows), wanted)))
        apart = movement.reshape(chosen, (*shape[:lead], number, len(places)))
        found = [movement.squeeze(slice_axis(apart, lead + 1, k, 1), (lead + 1,))
                 for k in range(len(places))]  # fmt: skip
    return [movement.reshape(f, shape) for f in found]


def _median(a: ArrayLike, axis: Axis, keepdims: bool, *, ignore_nan: bool) -> Value:
    x = as_tensor(a)
    if x.dtype.kind == "c":
        raise DTypeError(f"median does not take {x.type}")
    rows, axes = _rows_over(x, axis)
    count = _counted(rows, ignore_nan=ignore_nan)
    result = x.dtype if kind_of(x.dtype) == "f" else F64
    high = minimum(count // 2, maximum(count - 1, 0))
    low = maximum((count - 1) // 2, 0)
    below, above = (cast(v, result) for v in _elements(rows, low, high))
    middle = where(count % 2 > 0, below, F["true_divide"](below + above, 2))
    return _finished(middle, rows, count, axes, keepdims, ignore_nan=ignore_nan)


def _finished(
    found: Value, rows: Value, count: Value, axes: Sequence[int], keepdims: bool, *,
    ignore_nan: bool, extra: int = 0,
) -> Value:  # fmt: skip
    """NaN where the rows have one, or nothing that counts; the axes as asked. `extra` axes of the
    result follow those of the rows, and go in front."""
    broken: Any = count < 1
    if kind_of(rows.dtype) == "f" and not ignore_nan:
        broken = broken | reductions.any(isnan(rows), -1)
    broken = movement.expand_dims(broken, range(broken.ndim, broken.ndim + extra))
    found = where(broken, np.asarray(np.nan, found.dtype), found) if (
        kind_of(found.dtype) == "f"
    ) else found
    lead = found.ndim - extra
    found = movement.transpose(found, [*range(lead, found.ndim), *range(lead)])
    return movement.expand_dims(found, [a + extra for a in axes]) if keepdims else found


def _quantile(
    a: ArrayLike, q: ArrayLike, axis: Axis, method: str, keepdims: bool, *, ignore_nan: bool
) -> Value:
    if method not in _METHODS:
        raise OptionError(f"method is {method!r}", hint="one of: " + ", ".join(_METHODS))
    x, order = as_tensor(a), _order(a, q)
    if x.dtype.kind == "c":
        raise DTypeError(f"quantile does not take {x.type}")
    literal = order.literal
    if literal is not None and not ((literal.array >= 0) & (literal.array <= 1)).all():
        raise ShapeError("quantiles must be in the range [0, 1]")
    rows, axes = _rows_over(x, axis)
    count = _counted(rows, ignore_nan=ignore_nan)
    extra = order.ndim
    each = movement.expand_dims(count, range(count.ndim, count.ndim + extra))
    low, high, weight = _between(order, each, method)
    below, above = _elements(rows, low) * 2 if weight is None else _elements(rows, low, high)
    found = _interpolated(below, above, weight)
    return _finished(found, rows, count, axes, keepdims, ignore_nan=ignore_nan, extra=extra)


def _between(order: Value, count: Value, method: str) -> tuple[Value, Value, Value | None]:
    """Places of the elements below and above each quantile, and the weight of the latter; None
    where the lower one is the quantile."""
    n = cast(count, F64)
    last = maximum(count - 1, 0)

    def place(position: Value) -> Value:
        whole = where(greater_equal(position, 0), position, 0.0)
        return minimum(cast(whole, I64), last)  # type: ignore[no-any-return]

    if method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        at = (n - 1) * order if method == "linear" else (
            n * order + (alpha + order * (1 - alpha - beta)) - 1
        )
        at = maximum(minimum(at, n - 1), 0.0)
        low = place(F["floor"](at))
        return low, minimum(low + 1, last), at - cast(low, F64)
    at = (n - 1) * order
    if method in ("lower", "higher", "nearest"):
        rounded = {"lower": "floor", "higher": "ceil", "nearest": "rint"}[method]
        low = place(F[rounded](at))
        return low, low, None
    if method == "midpoint":
        low, high = place(F["floor"](at)), place(F["ceil"](at))
        return low, high, where(low < high, 0.5, 0.0)
    return _discrete(order, n, last, place, method)


def _discrete(
    order: Value, n: Value, last: Value, place: Callable[[Value], Value], method: str
) -> tuple[Value, Value, Value | None]:
    """The methods that give elements, or the mean of two where a step is met exactly."""
    at = n * order  # rounded once: whether it is a whole number decides
    if method == "closest_observation":
        low = place(F["rint"](at) - 1)
        return low, low, None
    down = F["floor"](at)
    met = F["equal"](at, down)
    low = place(where(met, down - 1, down))
    if method == "inverted_cdf":
        return low, low, None
    two = met & (down >= 1)
    return low, where(two, minimum(low + 1, last), low), where(two, 0.5, 0.0)


def _interpolated(below: Value, above: Value, weight: Value | None) -> Value:
    """NumPy's lerp: from the nearer end."""
    if weight is None:
        return below
    integers = below.dtype.kind in "biu"
    low, high = ((cast(v, F64) if integers else v) for v in (below, above))
    weight = weight if integers or low.dtype == F64 else cast(weight, low.dtype)
    step = high - low
    return where(weight >= 0.5, high - step * (1 - weight), low + step * weight)  # type: ignore[no-any-return]


__all__ = [
    "argpartition", "argsort", "lexsort", "median", "nanmedian", "nanpercentile", "nanquantile",
    "partition", "percentile", "quantile", "sort", "sort_complex", "top_k",
]  # fmt: skip
