"""Elements chosen by symbolic masks: arrays whose extents only the call knows."""

from __future__ import annotations

from jitgraph.errors import OutOfBoundsError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import movement, selection
from jitgraph.ir.ops.arithmetic import not_equal
from jitgraph.ir.ops.indexing import gather
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.types import BOOL, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, public


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
    flat = selection.positions(mask)
    found: list[Value] = []
    for size in movement.dims(mask)[:0:-1]:
        found.append(flat % size)
        flat = flat // size
    return [flat, *found[::-1]]


@public
def nonzero(a: ArrayLike) -> tuple[Value, ...]:
    """The indices of the elements that are not zero, one vector for each axis, in C order."""
    x = as_tensor(a)
    if not x.ndim:
        raise ShapeError(f"nonzero takes no scalar: {x.type}", hint="use T.atleast_1d(x)")
    return tuple(places(_truth(x)))


@public
def flatnonzero(a: ArrayLike) -> Value:
    """The indices in the flattened array of the elements that are not zero."""
    return selection.positions(movement.reshape(_truth(a), (-1,)))


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
