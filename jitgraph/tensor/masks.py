"""Elements chosen by symbolic masks: arrays whose extents only the call knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitgraph.errors import OutOfBoundsError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size, emit
from jitgraph.ir.ops import movement, selection
from jitgraph.ir.ops.arithmetic import maximum, not_equal, where
from jitgraph.ir.ops.indexing import gather
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.prefix import prefix_sum
from jitgraph.ir.ops.sorting import SEARCH
from jitgraph.ir.types import BOOL, I64, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_size, as_tensor, public


def _truth(x: ArrayLike) -> Value:
    value = as_tensor(x)
    if value.dtype.kind == "c":
        return not_equal(value, 0)  # type: ignore[no-any-return]
    return value if value.dtype == BOOL else cast(value, BOOL)


def check_mask(x: Value, mask: Value, first: int = 0) -> None:
    """Raise OutOfBoundsError where a mask is known not to fit the axes of x from `first` on."""
    for k, size in enumerate(mask.type.shape):
        extent = x.type.shape[first + k]
        if isinstance(size, int) and isinstance(extent, int) and size != extent:
            raise OutOfBoundsError(
                f"a mask of extent {size} does not fit axis {first + k} of {x.type}"
            )


def read(x: Value, mask: Value) -> Value:
    """x[mask] for a mask over the leading axes of x."""
    check_mask(x, mask)
    if mask.ndim == x.ndim:
        return selection.compress(x, mask)
    # The mask's own extents, so that the call finds out where they are not those of x.
    rest = movement.dims(x)[mask.ndim :]
    rows = movement.reshape(x, (*movement.dims(mask), *rest)) if mask.ndim else x
    merged = movement.reshape(rows, (movement.product(movement.dims(mask)), *rest))
    return gather(merged, [selection.positions(mask)])


def places(mask: Value) -> list[Value]:
    """The indices along each axis of the true elements, in C order."""
    return split_places(selection.positions(mask), movement.dims(mask))


def split_places(flat: Value, sizes: Sequence[Size]) -> list[Value]:
    """Positions in C order as indices along each axis."""
    found: list[Value] = []
    for size in sizes[:0:-1]:
        found.append(flat % size)
        flat = flat // size
    return [flat, *found[::-1]]


def _flat_places(mask: Value, size: Any, fill: Any) -> Value:
    """Where a vector of bools is true; with a size so many places, `fill` where there are fewer."""
    if size is None:
        return selection.positions(mask)
    met = prefix_sum(cast(mask, I64), 0)
    number = movement.iota(as_size(size, "size"), type(mask))
    found = emit(SEARCH["right"], (met, number))
    return where(number < selection.how_many(mask), found, as_tensor(fill, I64))  # type: ignore[no-any-return]


@public
def nonzero(a: ArrayLike, *, size: Any = None, fill_value: int = 0) -> tuple[Value, ...]:
    """The indices of the elements that are not zero, one vector for each axis, in C order. With
    `size` the vectors are so long: `fill_value` stands where there are fewer elements."""
    x = as_tensor(a)
    if not x.ndim:
        raise ShapeError(f"nonzero takes no scalar: {x.type}", hint="use T.atleast_1d(x)")
    if size is None:
        return tuple(places(_truth(x)))
    flat = _flat_places(movement.reshape(_truth(x), (-1,)), size, -1)
    made = split_places(maximum(flat, 0), movement.dims(x))
    return tuple(where(flat < 0, as_tensor(fill_value, I64), index) for index in made)


@public
def flatnonzero(a: ArrayLike, *, size: Any = None, fill_value: int = 0) -> Value:
    """The indices in the flattened array of the elements that are not zero; with `size` so many,
    `fill_value` where there are fewer."""
    return _flat_places(movement.reshape(_truth(a), (-1,)), size, fill_value)


@public
def argwhere(a: ArrayLike) -> Value:
    """The indices of the elements that are not zero, one row for each element."""
    x = as_tensor(a)
    if not x.ndim:
        raise ShapeError(f"argwhere takes no scalar: {x.type}", hint="use T.atleast_1d(x)")
    columns = [movement.expand_dims(index, (1,)) for index in places(_truth(x))]
    return concatenate(columns, 1)


@public
def extract(condition: ArrayLike, arr: ArrayLike) -> Value:
    """The elements of the flattened array where the flattened condition is true."""
    mask, x = (movement.reshape(v, (-1,)) for v in (_truth(condition), as_tensor(arr)))
    return read(x, mask)


@public
def compress(condition: ArrayLike, a: ArrayLike, axis: int | None = None) -> Value:
    """The parts of an array along an axis where the condition, a vector, is true; it may be
    shorter than the axis."""
    mask, x = _truth(condition), as_tensor(a)
    if mask.ndim != 1:
        raise ShapeError(f"compress takes a condition of one axis, not {mask.type}")
    if axis is None:
        return gather(movement.reshape(x, (-1,)), [selection.positions(mask)])
    place = normalise_axis(axis, x.ndim)
    order = [place, *(k for k in range(x.ndim) if k != place)]
    found = gather(movement.transpose(x, order), [selection.positions(mask)])
    return movement.transpose(found, [order.index(k) for k in range(x.ndim)])
