"""Elements of an array in other places: turned, shifted, repeated."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import joining, movement
from jitgraph.ir.ops.arithmetic import add, maximum, minimum, not_equal, remainder, where
from jitgraph.ir.ops.indexing import gather, slice_axis
from jitgraph.ir.ops.prefix import prefix_sum
from jitgraph.ir.types import normalise_axes, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.counting import searchsorted
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import Axis, as_size, as_tensor, constant, public
from jitgraph.tensor.shaping import concatenate, full_like, length, ravel


# --- turned and shifted ------------------------------------------------------------------------
@public
def flip(m: ArrayLike, axis: Axis = None) -> Value:
    """m with the order of its elements reversed along axes, by default along all."""
    m = as_tensor(m)
    axes = normalise_axes(axis, m.ndim)
    backwards = slice(None, None, -1)
    return getitem(m, tuple(backwards if a in axes else slice(None) for a in range(m.ndim)))


@public
def fliplr(m: ArrayLike) -> Value:
    """m with its columns (axis 1) in reverse order."""
    return flip(_of_rank(m, 2, "fliplr"), 1)


@public
def flipud(m: ArrayLike) -> Value:
    """m with its rows (axis 0) in reverse order."""
    return flip(_of_rank(m, 1, "flipud"), 0)


def _of_rank(m: ArrayLike, least: int, name: str) -> Value:
    value = as_tensor(m)
    if value.ndim < least:
        raise ShapeError(f"{name} needs {least} dimensions at least, not {value.type}")
    return value


@public
def rot90(m: ArrayLike, k: int = 1, axes: Sequence[int] = (0, 1)) -> Value:
    """m turned k times by 90 degrees, from the first of the axes towards the second."""
    m = as_tensor(m)
    first, second = (normalise_axis(a, m.ndim) for a in axes)
    if first == second:
        raise ShapeError(f"rot90 needs two different axes, not {tuple(axes)}")
    order = list(range(m.ndim))
    order[first], order[second] = second, first
    match k % 4:
        case 0:
            return as_tensor(m)
        case 1:
            return movement.transpose(flip(m, second), order)
        case 2:
            return flip(m, (first, second))
        case _:
            return flip(movement.transpose(m, order), second)


@public
def roll(a: ArrayLike, shift: Any, axis: Axis = None) -> Value:
    """a with its elements moved on by `shift` along an axis, those beyond the end back in front;
    without an axis, of the flattened array. Several shifts and axes pair up."""
    a = as_tensor(a)
    if axis is None:
        return movement.reshape(roll(ravel(a), shift, 0), movement.dims(a))
    shifts = list(shift) if isinstance(shift, list | tuple | np.ndarray) else [shift]
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    pairs = builtins.max(len(shifts), len(axes))
    if len(shifts) not in (1, pairs) or len(axes) not in (1, pairs):
        raise ShapeError(f"roll by {len(shifts)} shifts along {len(axes)} axes")
    y: Value = a
    for k in range(pairs):
        y = _rolled(y, shifts[k % len(shifts)], normalise_axis(axes[k % len(axes)], a.ndim))
    return y


def _rolled(a: Value, shift: Any, axis: int) -> Value:
    extent, by = movement.dim(a, axis), as_size(shift, "a shift")
    if isinstance(extent, int) and isinstance(by, int):
        cut: Size = -by % builtins.max(extent, 1)
    else:
        cut = remainder(-by, maximum(extent, 1))
    parts = [slice_axis(a, axis, cut, extent - cut), slice_axis(a, axis, 0, cut)]
    return joining.concatenate(parts, axis)


@public
def rollaxis(a: ArrayLike, axis: int, start: int = 0) -> Value:
    """a with one axis moved before the one at `start`."""
    a = as_tensor(a)
    axis = normalise_axis(axis, a.ndim)
    if not -a.ndim <= start <= a.ndim:
        raise ShapeError(f"rollaxis: start {start} is out of bounds for {a.ndim} dimensions")
    start += a.ndim * (start < 0)
    order = [k for k in range(a.ndim) if k != axis]
    order.insert(start - (axis < start), axis)
    return movement.transpose(a, order)


@public
def matrix_transpose(x: ArrayLike) -> Value:
    """x with its last two axes exchanged."""
    x = _of_rank(x, 2, "matrix_transpose")
    return movement.transpose(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


# --- repeated ----------------------------------------------------------------------------------
@public
def repeat(
    a: ArrayLike, repeats: ArrayLike, axis: int | None = None, *, total_repeat_length: Any = None
) -> Value:
    """a with each element so many times along an axis, or flattened. Where the numbers of repeats
    differ by element and are not known, the call tells how many there are, unless
    `total_repeat_length` does: too many are left out, and the last one fills what is missing."""
    a = as_tensor(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = normalise_axis(axis, a.ndim)
    times = as_tensor(repeats)
    if times.dtype.kind not in "iub":
        raise DTypeError(f"repeats must be integers, not {times.type}")
    if times.ndim and times.type.shape[0] != 1:
        return _each_repeated(a, times, axis, total_repeat_length)
    count = length(getitem(times, 0) if times.ndim else times, "the number of repeats")
    sizes = movement.dims(a)
    wide = movement.expand_dims(a, (axis + 1,))
    wide = movement.broadcast_to(wide, (*sizes[: axis + 1], count, *sizes[axis + 1 :]))
    return movement.reshape(wide, (*sizes[:axis], sizes[axis] * count, *sizes[axis + 1 :]))


def _each_repeated(a: Value, times: Value, axis: int, total: Any) -> Value:
    if times.ndim != 1:
        raise ShapeError(f"repeats are a vector, not {times.type}")
    extent, number = a.type.shape[axis], times.type.shape[0]
    if isinstance(extent, int) and isinstance(number, int) and extent != number:
        raise ShapeError(f"{number} repeats do not fit axis {axis} of {a.type}")
    if times.literal is not None and total is None:
        numbers = times.literal.array
        if (numbers < 0).any():
            raise ShapeError("repeats may not contain negative values")
        rows: Any = np.repeat(np.arange(len(numbers)), numbers)
    else:
        # The sum unites both extents; a negative number of elements fails the call.
        counts = cast(times, np.int64) + movement.iota(movement.dim(a, axis), type(a)) * 0
        ends = prefix_sum(counts, 0)
        least = minimum(reductions.min(counts, initial=0), 0)
        size = length(total, "total_repeat_length") if total is not None else (
            where(least < 0, least, reductions.sum(counts))
        )
        found = searchsorted(ends, movement.iota(size, type(a)), "right")
        rows = found if total is None else minimum(found, movement.dim(a, axis) - 1)
    sizes = movement.dims(a)
    length_ = number if isinstance(number, int) else sizes[axis]
    fitted = movement.reshape(a, (*sizes[:axis], length_, *sizes[axis + 1 :]))
    order = [axis, *(k for k in range(a.ndim) if k != axis)]
    read = gather(movement.transpose(fitted, order), [as_tensor(rows)])
    return movement.transpose(read, [order.index(k) for k in range(a.ndim)])


@public
def tile(A: ArrayLike, reps: Any) -> Value:  # noqa: N803  (NumPy's name)
    """A laid out so many times along each axis."""
    given = list(reps) if isinstance(reps, list | tuple | np.ndarray) else [reps]
    asked = [length(r, "a number of repeats") for r in given]
    a = as_tensor(A)
    rank = builtins.max(a.ndim, len(asked))
    counts = [*[1] * (rank - len(asked)), *asked]
    sizes = movement.dims(movement.expand_dims(a, range(rank - a.ndim)))
    apart = [s for pair in zip([1] * rank, sizes, strict=True) for s in pair]
    whole = [s for pair in zip(counts, sizes, strict=True) for s in pair]
    wide = movement.broadcast_to(movement.reshape(a, apart), whole)
    return movement.reshape(wide, [c * s for c, s in zip(counts, sizes, strict=True)])


@public
def resize(a: ArrayLike, new_shape: Any) -> Value:
    """The elements of a in C order, over and over, until a shape of known sizes is full."""
    shape = tuple(new_shape) if isinstance(new_shape, list | tuple) else (new_shape,)
    flat = ravel(a)
    total, have = int(np.prod(shape)), movement.dim(flat, 0)
    if not total or (isinstance(have, int) and not have):
        return movement.broadcast_to(constant(np.zeros((), flat.dtype)), shape)
    places = movement.iota(total, cls=type(constant(0)))
    return movement.reshape(gather(flat, [remainder(places, maximum(have, 1))]), shape)


# --- taken apart and put together --------------------------------------------------------------
@public
def append(arr: ArrayLike, values: ArrayLike, axis: int | None = None) -> Value:
    """values at the end of arr along an axis; without one, both flattened."""
    return concatenate([as_tensor(arr), as_tensor(values)], axis)


@public
def delete(arr: ArrayLike, obj: Any, axis: int | None = None) -> Value:
    """arr without the elements at known positions along an axis. Where only the call knows its
    extent, these are one position, or several counted from the front."""
    x, axis = _flat_without_axis(arr, axis)
    extent, lead = movement.dim(x, axis), (slice(None),) * axis
    if isinstance(extent, int):
        return getitem(x, (*lead, np.delete(np.arange(extent), _known(obj, "delete"))))
    gone = _from_front(obj, extent, "delete")
    kept = movement.iota(extent - len(gone), cls=type(x))
    passed = functools.reduce(add, [cast(kept >= place - k, np.int64)
                                    for k, place in enumerate(gone)], kept)  # fmt: skip
    return getitem(x, (*lead, passed))


def _from_front(obj: Any, extent: Value, name: str) -> list[Any]:
    """Known positions along an axis of unknown extent, in order; they must lie inside."""
    places = np.unique(_known(obj, name)).tolist() if not isinstance(obj, slice) else [-1, 0]
    if len(places) > 1 and places[0] < 0:
        raise ShapeError(
            f"{name} takes positions from the front where the extent is not known, not {obj}",
            hint="give the shape when the variable is made, such as shape=(3, None)",
        )
    every = movement.iota(extent, cls=type(constant(0)))
    return [getitem(every, place) for place in places]


@public
def insert(arr: ArrayLike, obj: Any, values: ArrayLike, axis: int | None = None) -> Value:
    """arr with values put before known positions along an axis. Where only the call knows its
    extent, this is one position that is not negative."""
    x, axis = _flat_without_axis(arr, axis)
    extent, places = movement.dim(x, axis), _known(obj, "insert")
    value = cast(as_tensor(values), x.dtype)
    if np.ndim(places) == 0 and value.ndim:  # one place: the values' first axis goes to `axis`
        value = movement.transpose(
            movement.expand_dims(value, range(x.ndim - value.ndim)),
            [*range(1, axis + 1), 0, *range(axis + 1, x.ndim)],
        )
    if not isinstance(extent, int):
        return _inserted(x, places, value, axis)
    count = value.type.shape[axis] if np.ndim(places) == 0 and value.ndim else 1
    if not isinstance(count, int):
        raise ShapeError(f"insert needs to know how many values {value.type} are")
    marked = np.insert(np.arange(extent), [places] * count if np.ndim(places) == 0 else places, -1)
    new = np.flatnonzero(marked < 0)
    sizes = list(movement.dims(x))
    sizes[axis] = len(new)
    both = joining.concatenate([x, movement.broadcast_to(value, sizes)], axis)
    order = marked.copy()
    order[new] = extent + np.arange(len(new))
    return getitem(both, (*(slice(None),) * axis, order))


def _inserted(x: Value, places: Any, value: Value, axis: int) -> Value:
    if np.ndim(places) or places < 0:
        raise ShapeError(
            f"insert takes one position from the front where the extent is not known: {x.type}",
            hint="give the shape when the variable is made, such as shape=(3, None)",
        )
    sizes = list(movement.dims(x))
    rest = sizes[axis] - int(places)
    sizes[axis] = movement.dim(value, axis) if value.ndim else 1
    parts = slice_axis(x, axis, 0, int(places)), slice_axis(x, axis, int(places), rest)
    middle = movement.broadcast_to(value, sizes)
    return joining.concatenate([parts[0], middle, parts[1]], axis)


@public
def trim_zeros(filt: ArrayLike, trim: str = "fb", axis: Any = None) -> Value:
    """An array without the zeros at the front ("f") and the back ("b") of axes: how many are left
    the call tells."""
    if set(trim.lower()) - set("fb"):
        raise OptionError(f"trim is {trim!r}", hint="'f', 'b' or 'fb'")
    x: Value = as_tensor(filt)
    for place in normalise_axes(tuple(axis) if isinstance(axis, list) else axis, x.ndim):
        others = tuple(a for a in range(x.ndim) if a != place)
        some = reductions.any(not_equal(x, 0), others)
        extent = movement.dim(x, place)
        there = cast(some, np.int64)
        ends = [reductions.argmax(v) for v in (there, flip(there))]
        front, back = (end if which in trim.lower() else end * 0
                       for which, end in zip("fb", ends, strict=True))  # fmt: skip
        size = where(reductions.any(some), extent - front - back, 0)
        x = slice_axis(x, place, where(size > 0, front, 0), size)
    return x


def _flat_without_axis(arr: ArrayLike, axis: int | None) -> tuple[Value, int]:
    x = as_tensor(arr)
    return (ravel(x), 0) if axis is None else (x, normalise_axis(axis, x.ndim))


def _known_extent(x: Value, axis: int, name: str) -> int:
    extent = x.type.shape[axis]
    if not isinstance(extent, int):
        raise ShapeError(
            f"{name} needs to know the extent of axis {axis} of {x.type}",
            hint="give the shape when the variable is made, such as shape=(3, None)",
        )
    return extent


def _known(obj: Any, name: str) -> Any:
    if isinstance(obj, Value):
        raise DTypeError(f"{name} takes known positions, not {obj.type}")
    return obj


@public
def column_stack(tup: Sequence[ArrayLike]) -> Value:
    """Vectors as the columns of a matrix; matrices side by side."""
    values = [as_tensor(a) for a in tup]
    return concatenate(
        [movement.reshape(v, (-1, 1)) if v.ndim < 2 else v for v in values], 1
    )


@public
def block(arrays: Any) -> Value:
    """Nested lists of arrays joined: the innermost along the last axis, and so on outwards."""
    depth = _depth(arrays)
    rank = builtins.max(depth, _deepest_rank(arrays))
    return _blocked(arrays, depth, rank)


def _depth(arrays: Any) -> int:
    return 1 + builtins.max(map(_depth, arrays)) if isinstance(arrays, list) else 0


def _deepest_rank(arrays: Any) -> int:
    if isinstance(arrays, list):
        return builtins.max(map(_deepest_rank, arrays))
    return as_tensor(arrays).ndim


def _blocked(arrays: Any, depth: int, rank: int) -> Value:
    if not isinstance(arrays, list):
        value = as_tensor(arrays)
        return movement.expand_dims(value, range(rank - value.ndim))
    return concatenate([_blocked(a, depth - 1, rank) for a in arrays], rank - depth)


@public
def unstack(x: ArrayLike, axis: int = 0) -> tuple[Value, ...]:
    """The arrays along an axis of known extent, one by one."""
    x = as_tensor(x)
    axis = normalise_axis(axis, x.ndim)
    count = _known_extent(x, axis, "unstack")
    return tuple(getitem(x, (*(slice(None),) * axis, k)) for k in range(count))


@public
def broadcast_arrays(*args: ArrayLike) -> tuple[Value, ...]:
    """The arrays broadcast against each other."""
    values = [as_tensor(a) for a in args]
    shape: Value | None = None
    for value in values:
        same = full_like(value, 0, np.int64)
        shape = same if shape is None else shape + same
    return () if shape is None else tuple(
        v if v.type.shape == shape.type.shape and v.type.is_static
        else movement.broadcast_to(v, movement.dims(shape)) for v in values
    )
