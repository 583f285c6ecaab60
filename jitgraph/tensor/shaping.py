"""Arrays in another shape or order, joined, cut and made anew.

Wherever a size is asked for it may be an integer or an integer scalar variable. Axes may be
negative; one that does not exist raises ShapeError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import joining, movement
from jitgraph.ir.ops.arithmetic import minimum
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.types import I64, normalise_axes, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import (
    Axis,
    as_size,
    as_sizes,
    as_tensor,
    constant,
    promoted,
    public,
    stacked,
)


# --- one array, another shape ------------------------------------------------------------------
@public
def reshape(x: ArrayLike, *shape: Any) -> Value:
    """The elements of x in C order under another shape, given as a tuple or as several sizes.

    One size may be -1 and is worked out. Raises ShapeError if the sizes are known not to fit; a
    misfit that only the call can see is raised by the call.
    """
    given = shape[0] if len(shape) == 1 else shape
    return movement.reshape(as_tensor(x), as_sizes(given))


@public
def flatten(x: ArrayLike, ndim: int = 1) -> Value:
    """x with `ndim` dimensions: the first ndim - 1 stay, the rest become one, in C order."""
    x = as_tensor(x)
    if not 1 <= ndim <= max(x.ndim, 1):
        raise ShapeError(f"cannot flatten {x.type} to {ndim} dimensions")
    return x if x.ndim == ndim else movement.reshape(x, (*movement.dims(x)[: ndim - 1], -1))


@public
def ravel(x: ArrayLike) -> Value:
    """x as a vector, in C order."""
    return flatten(x)


@public
def transpose(x: ArrayLike, *axes: Any) -> Value:
    """Axis i of the result is axis axes[i] of x; without axes their order is reversed."""
    x = as_tensor(x)
    given = axes[0] if len(axes) == 1 and not hasattr(axes[0], "__index__") else axes
    if not given:
        return movement.transpose(x, range(x.ndim)[::-1])
    if len(given) != x.ndim:
        raise ShapeError(f"axes {tuple(given)} do not fit {x.type}")
    return movement.transpose(x, [normalise_axis(a, x.ndim) for a in given])


@public
def dimshuffle(x: ArrayLike, *pattern: Any) -> Value:
    """Axes of x in the order of the pattern, with a new axis of extent 1 for every "x".

    An axis left out must have extent 1. Example: `v.dimshuffle("x", 0)` is a row.
    """
    x = as_tensor(x)
    given = pattern[0] if len(pattern) == 1 and isinstance(pattern[0], list | tuple) else pattern
    kept = [normalise_axis(p, x.ndim) for p in given if not isinstance(p, str)]
    if len(set(kept)) != len(kept) or any(isinstance(p, str) and p != "x" for p in given):
        raise ShapeError(f"{tuple(given)} is no pattern for {x.type}", hint='axes and "x"')
    dropped = [axis for axis in range(x.ndim) if axis not in kept]
    left = movement.squeeze(x, dropped)
    rank_of = {axis: rank for rank, axis in enumerate(sorted(kept))}
    moved = movement.transpose(left, [rank_of[a] for a in kept])
    return movement.expand_dims(moved, [i for i, p in enumerate(given) if isinstance(p, str)])


@public
def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Value:
    """x with two axes exchanged."""
    x = as_tensor(x)
    i, j = normalise_axis(axis1, x.ndim), normalise_axis(axis2, x.ndim)
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return movement.transpose(x, order)


def _listed(axes: int | Sequence[int], rank: int) -> list[int]:
    """Axes in the order given, from one or a sequence; raises ShapeError on a repeated one."""
    given = list(axes) if isinstance(axes, list | tuple) else [axes]
    found = [normalise_axis(a, rank) for a in given]
    if len(set(found)) != len(found):
        raise ShapeError(f"axis {axes} names a dimension twice")
    return found


@public
def moveaxis(
    x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]
) -> Value:
    """x with the axes `source` at the positions `destination`, the others in their order."""
    x = as_tensor(x)
    sources, targets = _listed(source, x.ndim), _listed(destination, x.ndim)
    if len(sources) != len(targets):
        raise ShapeError(f"cannot move {len(sources)} axes to {len(targets)} positions")
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return movement.transpose(x, order)


@public
def squeeze(x: ArrayLike, axis: Axis = None) -> Value:
    """x without the axes given, each of extent 1; without `axis`, those known to have extent 1.

    Raises ShapeError for an axis of another extent (at the call where only that can tell).
    """
    x = as_tensor(x)
    if axis is None:
        return movement.squeeze(x, [i for i, d in enumerate(x.type.shape) if d == 1])
    return movement.squeeze(x, normalise_axes(axis, x.ndim))


@public
def expand_dims(x: ArrayLike, axis: int | Sequence[int]) -> Value:
    """x with new axes of extent 1 at these positions of the result."""
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, list | tuple) else 1
    return movement.expand_dims(x, normalise_axes(axis, x.ndim + count))


def _at_least(x: ArrayLike, rank: int) -> Value:
    value = as_tensor(x)
    return shape_padleft(value, max(rank - value.ndim, 0))


def _each(make: Callable[[ArrayLike], Value], arrays: Sequence[ArrayLike]) -> Any:
    return make(arrays[0]) if len(arrays) == 1 else tuple(map(make, arrays))


@public
def atleast_1d(*arrays: ArrayLike) -> Any:
    """The array, a scalar as a vector; a tuple for several arrays."""
    return _each(lambda x: _at_least(x, 1), arrays)


@public
def atleast_2d(*arrays: ArrayLike) -> Any:
    """The array with new leading axes of extent 1 up to 2 dimensions; a tuple for several."""
    return _each(lambda x: _at_least(x, 2), arrays)


@public
def atleast_3d(*arrays: ArrayLike) -> Any:
    """The array with 3 dimensions as NumPy makes them: v[n] becomes [1, n, 1], m[m, n] [m, n, 1];
    a tuple for several."""
    return _each(_of_rank_3, arrays)


def _of_rank_3(x: ArrayLike) -> Value:
    value = as_tensor(x)
    if value.ndim == 2:
        return shape_padright(value)
    return shape_padright(_at_least(value, 2)) if value.ndim == 1 else _at_least(value, 3)


@public
def shape_padleft(x: ArrayLike, n: int = 1) -> Value:
    """x with n new leading axes of extent 1."""
    return movement.expand_dims(as_tensor(x), range(n))


@public
def shape_padright(x: ArrayLike, n: int = 1) -> Value:
    """x with n new trailing axes of extent 1."""
    x = as_tensor(x)
    return movement.expand_dims(x, range(x.ndim, x.ndim + n))


@public
def broadcast_to(x: ArrayLike, shape: Any) -> Value:
    """x repeated along axes of extent 1 and new leading axes; raises ShapeError if it cannot."""
    return movement.broadcast_to(as_tensor(x), as_sizes(shape))


@public
def shape(x: ArrayLike) -> Value:
    """The extents of x as an int64 vector; `x.shape` is the same as a tuple."""
    x = as_tensor(x)
    sizes = movement.dims(x)
    if all(isinstance(s, int) for s in sizes):
        return constant(sizes, I64)
    return as_tensor(list(sizes), dtype=I64)


@public
def size(x: ArrayLike, axis: Axis = None) -> Any:
    """The number of elements, or those along axes: an integer, or a scalar variable."""
    x = as_tensor(x)
    axes = normalise_axes(axis, x.ndim)
    return movement.product([movement.dim(x, k) for k in axes])


def ndim(x: ArrayLike) -> int:
    """The number of dimensions."""
    return as_tensor(x).ndim


# --- joining and cutting -----------------------------------------------------------------------
def _sequence(arrays: Any, what: str) -> list[Value]:
    if isinstance(arrays, Value) and isinstance(length := (*arrays.type.shape, None)[0], int):
        return [
            movement.squeeze(slice_axis(arrays, 0, i, 1), (0,)) for i in range(length)
        ]
    if isinstance(arrays, Value) or not hasattr(arrays, "__len__"):
        raise DTypeError(f"{what} takes a list of arrays, not {type(arrays).__name__}")
    if not len(arrays):
        raise ShapeError(f"{what} needs at least one array")
    return [as_tensor(a) for a in arrays]


@public
def concatenate(arrays: Sequence[ArrayLike], axis: int | None = 0) -> Value:
    """Arrays joined along an existing axis (axis=None flattens them first); dtypes promote.

    Raises ShapeError for ranks, or extents along other axes, that differ.
    """
    values = _sequence(arrays, "concatenate")
    if axis is None:
        values, axis = [ravel(v) for v in values], 0
    if len({v.ndim for v in values}) > 1:
        listed = " and ".join(str(v.type) for v in values)
        raise ShapeError(f"cannot concatenate {listed}: the numbers of dimensions differ")
    if not values[0].ndim:
        raise ShapeError("scalars cannot be concatenated", hint="use T.stack")
    return joining.concatenate(promoted(values), normalise_axis(axis, values[0].ndim))


@public
def stack(arrays: Sequence[ArrayLike], axis: int = 0) -> Value:
    """Arrays of one shape joined along a new axis; dtypes promote."""
    values = _sequence(arrays, "stack")
    return stacked(values, normalise_axis(axis, values[0].ndim + 1))


@public
def vstack(arrays: Sequence[ArrayLike]) -> Value:
    """Arrays one below the other; vectors are rows."""
    return concatenate([_at_least(a, 2) for a in _sequence(arrays, "vstack")], 0)


@public
def hstack(arrays: Sequence[ArrayLike]) -> Value:
    """Arrays side by side; vectors are joined end to end."""
    values = [_at_least(a, 1) for a in _sequence(arrays, "hstack")]
    return concatenate(values, 0 if values[0].ndim == 1 else 1)


@public
def dstack(arrays: Sequence[ArrayLike]) -> Value:
    """Arrays one behind the other, along the third axis."""
    return concatenate([_of_rank_3(a) for a in _sequence(arrays, "dstack")], 2)


@public
def split(
    x: ArrayLike, indices_or_sections: int | Sequence[Any], axis: int = 0
) -> list[Value]:
    """x cut along an axis: into so many equal parts, or before each of the indices.

    Raises ShapeError if the parts cannot be equal (at the call where only that can tell).
    """
    x = as_tensor(x)
    axis = normalise_axis(axis, x.ndim)
    given: Any = indices_or_sections
    if isinstance(given, list | tuple) or getattr(given, "ndim", 0) > 0:
        return _split_before(x, list(given), axis)
    sections = as_size(given, "the number of parts")
    if isinstance(sections, Value):
        raise DTypeError("the number of parts must be a number, not symbolic")
    return _split_evenly(x, sections, axis)


def _split_before(x: Value, indices: list[Any], axis: int) -> list[Value]:
    bounds = [None, *indices, None]
    lead = (slice(None),) * axis
    return [getitem(x, (*lead, slice(a, b))) for a, b in pairwise(bounds)]


def _split_evenly(x: Value, sections: int, axis: int) -> list[Value]:
    """Through a reshape to [..., sections, length, ...], whose check is the one that is needed."""
    length = movement.dim(x, axis)
    if sections < 1 or (isinstance(length, int) and length % sections):
        raise ShapeError(f"axis {axis} of {x.type} cannot be split into {sections} equal parts")
    sizes = movement.dims(x)
    part = length // sections
    folded = movement.reshape(x, (*sizes[:axis], sections, part, *sizes[axis + 1 :]))
    return [
        movement.squeeze(slice_axis(folded, axis, i, 1), (axis,)) for i in range(sections)
    ]


@public
def array_split(
    x: ArrayLike, indices_or_sections: int | Sequence[Any], axis: int = 0
) -> list[Value]:
    """Like `split`, but parts of an axis of known extent may differ by one element."""
    x = as_tensor(x)
    axis = normalise_axis(axis, x.ndim)
    given: Any = indices_or_sections
    if isinstance(given, list | tuple) or getattr(given, "ndim", 0) > 0:
        return _split_before(x, list(given), axis)
    extent, sections = movement.dim(x, axis), int(given)
    if sections < 1:
        raise ShapeError(f"cannot split into {sections} parts")
    if isinstance(extent, Value):
        each, more = extent // sections, extent % sections
        bounds = [k * each + minimum(more, k) for k in range(1, sections)]
    else:
        short, more = divmod(extent, sections)
        bounds = [k * short + min(k, more) for k in range(1, sections)]
    return _split_before(x, bounds, axis)


@public
def hsplit(x: ArrayLike, indices_or_sections: int | Sequence[Any]) -> list[Value]:
    """`split` along the columns; a vector along its one axis."""
    x = as_tensor(x)
    return [*split(x, indices_or_sections, 1 if x.ndim > 1 else 0)]


@public
def vsplit(x: ArrayLike, indices_or_sections: int | Sequence[Any]) -> list[Value]:
    """`split` along the rows."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"vsplit takes two dimensions at least, not {x.type}")
    return [*split(x, indices_or_sections, 0)]


@public
def dsplit(x: ArrayLike, indices_or_sections: int | Sequence[Any]) -> list[Value]:
    """`split` along the third axis."""
    x = as_tensor(x)
    if x.ndim < 3:
        raise ShapeError(f"dsplit takes three dimensions at least, not {x.type}")
    return [*split(x, indices_or_sections, 2)]


# --- repeated values ---------------------------------------------------------------------------
@public
def zeros_like(x: ArrayLike, dtype: Any = None) -> Value:
    """Zeros of x's shape, and of its dtype unless another is given."""
    return full_like(x, 0, dtype)


@public
def ones_like(x: ArrayLike, dtype: Any = None) -> Value:
    """Ones of x's shape, and of its dtype unless another is given."""
    return full_like(x, 1, dtype)


@public
def full_like(x: ArrayLike, fill_value: ArrayLike, dtype: Any = None) -> Value:
    """`fill_value` broadcast to x's shape, in x's dtype unless another is given."""
    x = as_tensor(x)
    fill = as_tensor(fill_value, x.dtype if dtype is None else dtype)
    return movement.broadcast_to(fill, movement.dims(x))


def sized(shape: Any, fill: Value) -> Value:
    """`fill` repeated to a shape whose sizes are known not to be negative."""
    sizes: tuple[Size, ...] = as_sizes(shape)
    if any(isinstance(s, int) and s < 0 for s in sizes):
        raise ShapeError(f"a dimension cannot be negative: {sizes}")
    return movement.broadcast_to(fill, sizes)


def length(size: Any, what: str) -> Size:
    """A size that is known not to be negative."""
    found = as_size(size, what)
    if isinstance(found, int) and found < 0:
        raise ShapeError(f"{what} cannot be negative: {found}")
    return found
