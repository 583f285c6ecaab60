"""Where numbers fall: positions in sorted vectors, bins and how many are in each."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, emit
from jitgraph.ir.ops import movement, reduction
from jitgraph.ir.ops.arithmetic import (
    equal,
    isnan,
    logical_not,
    maximum,
    minimum,
    not_equal,
    where,
)
from jitgraph.ir.ops.indexing import SCATTER_ADD, gather
from jitgraph.ir.ops.sorting import SEARCH, sort_keys
from jitgraph.ir.types import F64, I64, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import as_tensor, constant, promoted, public
from jitgraph.tensor.sequences import evenly_spaced
from jitgraph.tensor.shaping import length, ravel, sized

#: The built-in, whose name NumPy gives to an argument.
_range_of = range
#: Positions in so few elements are found by comparing with all of them, which fuses with the rest.
_FEW = 16


# --- positions ---------------------------------------------------------------------------------
def _before(a: Value, b: Value) -> Value:
    """a < b in the order of sorting, where NaN comes last."""
    less: Value = a < b
    return less if kind_of(b.dtype) != "f" else less | (isnan(b) & logical_not(isnan(a)))


@public
def searchsorted(
    a: ArrayLike, v: ArrayLike, side: str = "left", sorter: ArrayLike = None
) -> Value:
    """Where elements v would have to be put into the sorted vector a to keep it sorted: before
    equal ones ("left") or after them ("right"). `sorter` is what sorts a."""
    if side not in ("left", "right"):
        raise OptionError(f"searchsorted has no side {side!r}", hint="'left' or 'right'")
    known: Value = as_tensor(a)
    if known.ndim != 1:
        raise ShapeError(f"searchsorted takes a sorted vector, not {known.type}")
    if sorter is not None:
        known = getitem(known, sorter)
    known, wanted = promoted([known, as_tensor(v)])
    if known.dtype.kind == "c":
        raise DTypeError(f"searchsorted does not take {known.type}")
    extent = known.type.shape[0]
    if isinstance(extent, int) and extent <= _FEW:
        return _compared(known, wanted, side)
    flat = movement.reshape(wanted, (-1,)) if wanted.ndim != 1 else wanted
    found = emit(SEARCH[side], (sort_keys(known), sort_keys(flat)))
    return found if wanted.ndim == 1 else movement.reshape(found, movement.dims(wanted))


def _compared(known: Value, wanted: Value, side: str) -> Value:
    wide = movement.expand_dims(wanted, (wanted.ndim,))
    passed = _before(known, wide) if side == "left" else logical_not(_before(wide, known))
    return reduction.sum_(cast(passed, I64), (wanted.ndim,))


@public
def digitize(x: ArrayLike, bins: ArrayLike, right: bool = False) -> Value:
    """The number of the bin, between rising (or falling) bounds, of each element: bins[i-1] <= x <
    bins[i], or with `right` bins[i-1] < x <= bins[i]."""
    edges = as_tensor(bins)
    if edges.ndim != 1:
        raise ShapeError(f"digitize takes a vector of bounds, not {edges.type}")
    side = "left" if right else "right"
    if edges.literal is not None:
        bounds = edges.literal.array
        rising = bool(np.all(np.diff(bounds) >= 0))
        if not rising and not np.all(np.diff(bounds) <= 0):
            raise OptionError("the bins of digitize must rise or fall")
        return searchsorted(edges, x, side) if rising else _falling(edges, x, right)
    if edges.type.shape[0] in (0, 1):
        return searchsorted(edges, x, side)
    first, last = getitem(edges, 0), getitem(edges, -1)
    return where(first > last, _falling(edges, x, right), searchsorted(edges, x, side))  # type: ignore[no-any-return]


def _falling(edges: Value, x: ArrayLike, right: bool) -> Value:
    turned = getitem(edges, slice(None, None, -1))
    place = searchsorted(turned, x, "right" if not right else "left")
    return movement.dim(edges, 0) - place


# --- counts ------------------------------------------------------------------------------------
@public
def bincount(x: ArrayLike, weights: ArrayLike = None, minlength: Any = 0) -> Value:
    """How often each number 0, 1, 2, ... is among the integers x, or the sums of their weights;
    as long as the largest needs, but at least minlength. Negative numbers fail the call."""
    values = as_tensor(x)
    if values.dtype.kind not in "iub" or values.ndim != 1:
        raise DTypeError(f"bincount takes a vector of integers, not {values.type}")
    numbers = cast(values, I64)
    least = length(minlength, "minlength")
    count = movement.dim(numbers, 0)
    if isinstance(count, int) and not count:
        size: Any = least
    else:
        top = reductions.max(numbers, initial=-1) + 1
        size = maximum(top, least) if isinstance(least, Value) or least > 0 else top
    return _added_up(numbers, weights, size)


def _added_up(places: Value, weights: ArrayLike, size: Any) -> Value:
    """Ones or weights added at places of a vector of `size` zeros."""
    if weights is None:
        base = sized((size,), constant(np.zeros((), np.int64)))
        return emit(SCATTER_ADD, (base, constant(np.ones(1, np.int64)), places))
    w = cast(as_tensor(weights), F64)
    base = sized((size,), constant(np.zeros(())))
    return emit(SCATTER_ADD, (base, w, places))


# --- histograms --------------------------------------------------------------------------------
@public
def histogram_bin_edges(
    a: ArrayLike, bins: Any = 10, range: Any = None, weights: ArrayLike = None
) -> Value:
    """The bounds of the bins of `histogram`: given, or so many equal ones over the range, which is
    that of the data by default."""
    x = ravel(a)
    if isinstance(bins, str):
        raise OptionError(f"bins={bins!r}: the number of bins would depend on the data",
                          hint="give a number, or the bounds")  # fmt: skip
    edges = as_tensor(bins)
    if edges.ndim == 1:
        return edges
    low, high = _range(x, range)
    dtype = np.result_type(x.dtype, low.dtype, np.float64(0))
    return evenly_spaced(low, high, length(bins, "bins") + 1, dtype=dtype)[0]


def _range(x: Value, given: Any) -> tuple[Value, Value]:
    """From where to where equal bins reach; half a unit around where that is one point."""
    if given is None:
        empty = movement.dim(x, 0)
        if isinstance(empty, int) and not empty:
            low, high = constant(0.0), constant(1.0)
        else:
            low, high = reductions.min(x), reductions.max(x)
    else:
        low, high = as_tensor(given[0]), as_tensor(given[1])
    low, high = (cast(v, F64) if v.dtype.kind in "iub" else v for v in (low, high))
    same = equal(low, high)
    return where(same, low - 0.5, low), where(same, high + 0.5, high)


@public
def histogram(
    a: ArrayLike, bins: Any = 10, range: Any = None, density: bool | None = None,
    weights: ArrayLike = None,
) -> tuple[Value, ...]:  # fmt: skip
    """How many elements (or their weights) lie in each bin, and the bounds of the bins; the last
    bin holds its upper bound. `density` divides by the total and the widths."""
    x = ravel(a)
    edges = histogram_bin_edges(x, bins, range)
    places, inside = _bins_of(x, edges, equal_ones=as_tensor(bins).ndim == 0)
    size = movement.dim(edges, 0) - 1
    counts = _counted(places, inside, weights, size)
    if density:
        counts = cast(counts, F64) / _widths(edges) / reductions.sum(counts)
    return counts, edges


def _widths(edges: Value) -> Value:
    return getitem(edges, slice(1, None)) - getitem(edges, slice(None, -1))


def _bins_of(x: Value, edges: Value, *, equal_ones: bool) -> tuple[Value, Value]:
    """The bin of each element, 0 where it is outside of all, and whether it is inside."""
    last = movement.dim(edges, 0) - 2
    low, high = getitem(edges, 0), getitem(edges, -1)
    inside = (x >= low) & (x <= high)
    if not equal_ones:
        place = searchsorted(edges, x, "right") - 1
        return where(inside, minimum(place, last), 0), inside
    # Where all are of one width that tells the bin, but for rounding, which the bounds mend.
    share = (cast(x, edges.dtype) - low) / (high - low)
    place = cast(where(inside, share, 0) * cast(as_tensor(last + 1), edges.dtype), I64)
    place = minimum(place, last)
    place = place - cast(inside & (x < gather(edges, [place])), I64)
    above = inside & (x >= gather(edges, [place + 1])) & not_equal(place, last)
    return place + cast(above, I64), inside


def _counted(places: Value, inside: Value, weights: ArrayLike, size: Any) -> Value:
    if weights is None:
        base = sized((size,), constant(np.zeros((), np.int64)))
        return emit(SCATTER_ADD, (base, cast(inside, I64), places))
    w = ravel(weights)
    w = w if kind_of(w.dtype) in "fc" else cast(w, np.result_type(w.dtype, I64))
    base = sized((size,), constant(np.zeros((), w.dtype)))
    return emit(SCATTER_ADD, (base, where(inside, w, 0), places))


@public
def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool | None = None,
    weights: ArrayLike = None,
) -> Any:  # fmt: skip
    """`histogram` of points, one a row, in boxes, and the bounds along each axis. A list of vectors
    gives the coordinates one by one."""
    counts, edges = _histogram(_coordinates(sample), bins, range, density, weights)
    return counts, tuple(edges)


def _coordinates(sample: Any) -> list[Value]:
    if isinstance(sample, list | tuple):
        return [ravel(x) for x in sample]
    points: Value = as_tensor(sample)
    if points.ndim == 1:
        return [points]
    number = points.type.shape[1] if points.ndim == 2 else None
    if not isinstance(number, int):
        raise ShapeError(
            f"histogramdd takes points of a known number of coordinates, not {points.type}",
            hint="give the coordinates as a list of vectors",
        )
    return [getitem(points, (slice(None), k)) for k in _range_of(number)]


def _histogram(
    points: list[Value], bins: Any, ranges: Any, density: bool | None, weights: ArrayLike
) -> tuple[Any, list[Any]]:
    each = list(bins) if isinstance(bins, list | tuple) else [bins] * len(points)
    limits = [None] * len(points) if ranges is None else list(ranges)
    if len(each) != len(points) or len(limits) != len(points):
        raise ShapeError(f"the bins or ranges do not fit {len(points)} coordinates")
    edges = [histogram_bin_edges(p, b, r) for p, b, r in zip(points, each, limits, strict=True)]
    sizes = [movement.dim(e, 0) - 1 for e in edges]
    place, inside = _bins_of(points[0], edges[0], equal_ones=as_tensor(each[0]).ndim == 0)
    for point, edge, b, size in zip(points[1:], edges[1:], each[1:], sizes[1:], strict=True):
        own, within = _bins_of(point, edge, equal_ones=as_tensor(b).ndim == 0)
        place, inside = place * size + own, inside & within
    flat = _counted(place, inside, weights, movement.product(sizes))
    counts = cast(movement.reshape(flat, sizes), F64)
    if density:
        for axis, edge in enumerate(edges):
            others = [a for a in _range_of(len(edges)) if a != axis]
            counts = counts / movement.expand_dims(_widths(edge), others)
        counts = counts / reductions.sum(flat)
    return counts, edges


@public
def histogram2d(
    x: ArrayLike, y: ArrayLike, bins: Any = 10, range: Any = None, density: bool | None = None,
    weights: ArrayLike = None,
) -> tuple[Value, ...]:  # fmt: skip
    """`histogram` of points (x, y) in rectangles, and the bounds along both axes."""
    pair = bins if isinstance(bins, list | tuple) and len(bins) == 2 else (bins, bins)
    counts, edges = _histogram([ravel(x), ravel(y)], pair, range, density, weights)
    return counts, edges[0], edges[1]


# --- positions in shapes -----------------------------------------------------------------------
@public
def unravel_index(indices: ArrayLike, shape: Any) -> tuple[Value, ...]:
    """Positions in C order as one index per axis of a shape. Positions outside fail the call."""
    sizes = [length(s, "a dimension") for s in shape]
    flat = cast(as_tensor(indices), I64)
    places = movement.iota(movement.product(sizes), cls=type(flat))
    rest: Any = gather(places, [flat]) if flat.literal is None else flat
    found: list[Value] = []
    for size in reversed(sizes):
        found.append(rest % size)
        rest = rest // size
    return tuple(found[::-1])


@public
def ravel_multi_index(multi_index: Any, dims: Any, mode: str = "raise") -> Value:
    """One index per axis of a shape as positions in C order. mode: "raise" (indices outside fail
    the call), "wrap" or "clip"."""
    sizes = [length(s, "a dimension") for s in dims]
    flat: Any = 0
    for given, size in zip(multi_index, sizes, strict=True):
        index: Any = cast(as_tensor(given), I64)
        if mode == "wrap":
            index = index % size
        elif mode == "clip":
            index = minimum(maximum(index, 0), size - 1)
        elif mode == "raise":
            index = gather(movement.iota(size, cls=type(constant(0))), [index])
        else:
            raise OptionError(f"no mode {mode!r}", hint="'raise', 'wrap' or 'clip'")
        flat = flat * size + index
    return as_tensor(flat)
