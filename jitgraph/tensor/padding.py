"""Arrays continued beyond their ends: `pad`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size, emit, split_sizes
from jitgraph.ir.ops import joining, movement
from jitgraph.ir.ops.arithmetic import (
    absolute,
    floor_divide,
    greater,
    greater_equal,
    maximum,
    minimum,
    remainder,
    rint,
    where,
)
from jitgraph.ir.ops.indexing import SET_SLICE, gather, slice_axis
from jitgraph.ir.types import kind_of, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.arranging import flip
from jitgraph.tensor.operands import as_tensor, public
from jitgraph.tensor.sequences import evenly_spaced
from jitgraph.tensor.shaping import length
from jitgraph.tensor.sorting import median

#: An array continued along an axis, by so many elements before and after.
_Along: TypeAlias = Callable[[Value, int, Size, Size], Value]


@public
def pad(array: ArrayLike, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Value:
    """array with `pad_width` more elements before and after along each axis: a number, a pair for
    all axes, or a pair per axis, or a dict of them by axis.

    mode: "constant" (with `constant_values`), "edge", "linear_ramp" (to `end_values`), "maximum",
    "mean", "median", "minimum" (of `stat_length` elements, or all), "reflect" and "symmetric" (of
    `reflect_type` "even" or "odd"), "wrap", "empty" (zeros).
    """
    x: Value = as_tensor(array)
    widths = _pairs(pad_width, x.ndim, "pad_width")
    if mode in ("constant", "empty"):
        values = kwargs.pop("constant_values", 0) if mode == "constant" else 0
        _no_more(kwargs, mode)
        return _padded(x, widths, values)
    if mode not in _MODES:
        known = ", ".join(map(repr, ("constant", "empty", *_MODES)))
        raise OptionError(f"pad has no mode {mode!r}", hint=f"one of: {known}")
    along = _MODES[mode](x, kwargs)
    _no_more(kwargs, mode)
    for axis, (before, after) in enumerate(widths):
        if not all(isinstance(w, int) and w == 0 for w in (before, after)):
            x = along(x, axis, length(before, "a width"), length(after, "a width"))
    return x


def _no_more(kwargs: dict[str, Any], mode: str) -> None:
    if kwargs:
        raise OptionError(f"pad in mode {mode!r} does not take {', '.join(kwargs)}")


def _pairs(given: Any, rank: int, what: str) -> list[tuple[Any, Any]]:
    """One pair per axis from a number, a pair, a pair per axis or a dict by axis."""
    if isinstance(given, dict):
        by_axis = {normalise_axis(a, rank): w for a, w in given.items()}
        return [_pair(by_axis.get(a, 0)) for a in range(rank)]
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if not isinstance(given, list | tuple):
        return [_pair(given)] * rank
    if not any(isinstance(g, list | tuple) for g in given):
        return [_pair(given)] * rank
    pairs = [_pair(g) for g in given]
    if len(pairs) not in (1, rank):
        raise ShapeError(f"{what} for {len(pairs)} axes does not fit {rank} dimensions")
    return pairs * rank if len(pairs) == 1 else pairs


def _pair(given: Any) -> tuple[Any, Any]:
    if not isinstance(given, list | tuple):
        return given, given
    return (given[0], given[-1]) if len(given) in (1, 2) else _no_pair(given)


def _no_pair(given: Any) -> tuple[Any, Any]:
    raise ShapeError(f"{given!r} is no pair of widths")


def _padded(x: Value, widths: Sequence[tuple[Any, Any]], values: Any) -> Value:
    """x written into constants, axis by axis where these differ."""
    widths = [(length(a, "a width"), length(b, "a width")) for a, b in widths]
    fills = _pairs(values, x.ndim, "constant_values")
    flat = [f for pair in fills for f in pair]
    if all(f is flat[0] or (not isinstance(f, Value) and f == flat[0]) for f in flat):
        return _framed(x, range(x.ndim), widths, flat[0] if flat else 0)
    for axis, ((before, after), (first, last)) in enumerate(zip(widths, fills, strict=True)):
        sizes = list(movement.dims(x))
        parts = []
        for width, fill in ((before, first), (after, last)):
            sizes[axis] = width
            parts.append(movement.broadcast_to(cast(as_tensor(fill), x.dtype), sizes))
        x = joining.concatenate([parts[0], x, parts[1]], axis)
    return x


def _framed(
    x: Value, axes: Sequence[int], widths: Sequence[tuple[Size, Size]], fill: Any
) -> Value:
    extents = movement.dims(x)
    whole = [before + size + after
             for (before, after), size in zip(widths, extents, strict=True)]  # fmt: skip
    base = movement.broadcast_to(cast(as_tensor(fill), x.dtype), whole)
    starts, moving = split_sizes([before for before, _ in widths])
    sizes, unknown = split_sizes(extents)
    return emit(SET_SLICE, (base, x, *moving, *unknown), axes=tuple(axes), starts=starts,
                sizes=sizes, steps=(1,) * len(starts))  # fmt: skip


# --- read beyond the ends ------------------------------------------------------------------------
def _places(x: Value, axis: int, before: Size, after: Size, mode: str) -> tuple[Any, Size]:
    """Positions along an axis, from before its start to behind its end, and its extent."""
    extent = movement.dim(x, axis)
    if isinstance(extent, int) and extent == 0:
        raise ShapeError(f"pad cannot extend axis {axis} of {x.type}, which is empty, by {mode!r}")
    if all(isinstance(s, int) for s in (before, after, extent)):
        return np.arange(-before, extent + after), extent
    return movement.iota(before + extent + after, type(x)) - before, extent


def _read(x: Value, axis: int, places: Any) -> Value:
    order = [axis, *(a for a in range(x.ndim) if a != axis)]
    read = gather(movement.transpose(x, order), [as_tensor(places)])
    return movement.transpose(read, [order.index(a) for a in range(x.ndim)])


def _continued(mode: str, source: Callable[[Any, Size], Any]) -> Callable[..., _Along]:
    def made(x: Value, options: dict[str, Any]) -> _Along:
        if mode in ("reflect", "symmetric"):
            kind = options.pop("reflect_type", "even")
            if kind == "odd":
                return functools.partial(_odd, mode)
            if kind != "even":
                raise OptionError(f"reflect_type is {kind!r}", hint="'even' or 'odd'")
        return along

    def along(x: Value, axis: int, before: Size, after: Size) -> Value:
        return _read(x, axis, source(*_places(x, axis, before, after, mode)))

    return made


def _edge(places: Any, extent: Size) -> Any:
    return minimum(maximum(places, 0), extent - 1)


def _reflect(places: Any, extent: Size) -> Any:
    """0 1 2 3 | 2 1 0 1 2 ...: a triangle of period 2(n - 1)."""
    period = maximum(2 * (extent - 1), 1)
    there = remainder(places, period)
    return minimum(there, absolute(period - there)) if not _is_one(extent) else there * 0


def _is_one(extent: Size) -> bool:
    return isinstance(extent, int) and extent == 1


def _symmetric(places: Any, extent: Size) -> Any:
    """0 1 2 3 | 3 2 1 0 0 1 ...: a triangle of period 2n."""
    there = remainder(places, 2 * extent)
    return minimum(there, 2 * extent - 1 - there)


def _wrap(places: Any, extent: Size) -> Any:
    return remainder(places, extent)


def _odd(mode: str, x: Value, axis: int, before: Size, after: Size) -> Value:
    """Turned around the ends in value as well: a period further all are larger by twice the
    difference of the ends."""
    places, extent = _places(x, axis, before, after, mode)
    shared = mode == "reflect"  # the ends are not repeated
    half = maximum(extent - 1, 1) if shared else extent
    rounds, there = floor_divide(places, 2 * half), remainder(places, 2 * half)
    back = greater(there, half) if shared else greater_equal(there, half)
    mirrored = 2 * half - there if shared else 2 * half - 1 - there
    inside = minimum(where(back, mirrored, there), extent - 1)
    others = [a for a in range(x.ndim) if a != axis]
    turned, often = (movement.expand_dims(cast(as_tensor(v), x.dtype), others)
                     for v in (back, rounds))  # fmt: skip
    first, last = slice_axis(x, axis, 0, 1), slice_axis(x, axis, extent - 1, 1)
    read = _read(x, axis, inside)
    return read + turned * 2 * (last - read) + often * 2 * (last - first)  # type: ignore[no-any-return]


# --- made of what is there -----------------------------------------------------------------------
def _statistic(function: Callable[..., Value]) -> Callable[..., _Along]:
    def made(x: Value, options: dict[str, Any]) -> _Along:
        lengths = _pairs(options.pop("stat_length", None), x.ndim, "stat_length")

        def along(x: Value, axis: int, before: Size, after: Size) -> Value:
            extent = movement.dim(x, axis)
            parts = [x]
            for k, (width, given) in enumerate(zip((before, after), lengths[axis], strict=True)):
                size = extent if given is None else minimum(length(given, "stat_length"), extent)
                size = int(size) if isinstance(size, np.integer | np.ndarray) else size
                start = extent - size if k else 0
                found = function(slice_axis(x, axis, start, size), axis, keepdims=True)
                if x.dtype.kind in "iu" and kind_of(found.dtype) == "f":
                    found = rint(found)
                sizes = list(movement.dims(x))
                sizes[axis] = width
                parts.insert(k * 2, movement.broadcast_to(cast(found, x.dtype), sizes))
            return joining.concatenate(parts, axis)

        return along

    return made


def _ramps(x: Value, options: dict[str, Any]) -> _Along:
    """In equal steps from the given numbers, at the very ends, to those of the array."""
    ends = _pairs(options.pop("end_values", 0), x.ndim, "end_values")

    def along(x: Value, axis: int, before: Size, after: Size) -> Value:
        extent = movement.dim(x, axis)
        parts = [x]
        for k, (width, end) in enumerate(zip((before, after), ends[axis], strict=True)):
            edge = slice_axis(x, axis, extent - 1 if k else 0, 1)
            inner = movement.squeeze(edge, (axis,))
            outer = cast(as_tensor(end), np.result_type(x.dtype, np.asarray(end).dtype)
                         if not isinstance(end, Value) else x.dtype)  # fmt: skip
            outer = movement.broadcast_to(outer, movement.dims(inner))
            ramp, _ = evenly_spaced(outer, inner, width, False, x.dtype, axis)
            parts.insert(k * 2, flip(ramp, axis) if k else ramp)
        return joining.concatenate(parts, axis)

    return along


#: By mode: how an axis is continued, given the array and the options that are taken out.
_MODES: dict[str, Callable[[Value, dict[str, Any]], _Along]] = {
    **{mode: _continued(mode, source) for mode, source in (
        ("edge", _edge), ("reflect", _reflect), ("symmetric", _symmetric), ("wrap", _wrap),
    )},
    "linear_ramp": _ramps,
    "maximum": _statistic(reductions.max), "minimum": _statistic(reductions.min),
    "mean": _statistic(reductions.mean), "median": _statistic(median),
}  # fmt: skip
