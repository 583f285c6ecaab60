"""Reading and writing parts of arrays: slices, integer-array gathers, and their adjoints.

Indices reach these ops already normalised (no negative ones, lengths worked out); that work is
ordinary i64 arithmetic built by `tensor.indexing`, so the compiler sees and folds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, OutOfBoundsError, ShapeError
from jitgraph.ir.batching import Batch
from jitgraph.ir.elementwise import cast, symbolic
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    OpDef,
    Shape,
    ShapeSource,
    Size,
    constant,
    emit,
    join_sizes,
    register,
    result_class,
    split_sizes,
)
from jitgraph.ir.ops.arithmetic import equal, less, less_equal, where
from jitgraph.ir.ops.movement import (
    broadcast_to,
    check_sizes,
    dims,
    expand_dims,
    holes,
    iota,
    product,
    reshape,
    transpose,
)
from jitgraph.ir.ops.reduction import all_
from jitgraph.ir.types import Dim, Type, broadcast_shapes, kind_of
from jitgraph.ir.values import Value


def zeros_like(x: Value, dtype: Any = None) -> Value:
    """Zeros of x's shape."""
    zero = constant(np.zeros((), dtype or x.dtype), cls=result_class((x,)))
    return broadcast_to(zero, dims(x))


# --- slice: y[i] = x[start + i·step] along some axes -------------------------------------------
def slice_bounds(attrs: Attrs, dynamic: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Starts and sizes per sliced axis, from the attributes and the operands that fill them."""
    starts = attrs["starts"]
    split = holes(starts)
    return join_sizes(starts, dynamic[:split]), join_sizes(attrs["sizes"], dynamic[split:])


def _infer_slice(types: Sequence[Type], attrs: Attrs) -> Type:
    check_sizes("slice", types[1:], holes(attrs["starts"]) + holes(attrs["sizes"]))
    shape = list(types[0].shape)
    for axis, size in zip(attrs["axes"], attrs["sizes"], strict=True):
        if not 0 <= axis < types[0].rank:
            raise ShapeError(f"{types[0]} has no axis {axis} to slice")
        shape[axis] = size
    columns = (attrs[key] for key in ("axes", "starts", "sizes", "steps"))
    for axis, *bounds in zip(*columns, strict=True):
        extent = types[0].shape[axis]
        if isinstance(extent, int) and None not in bounds:
            _check_bounds(axis, extent, *bounds)
    return types[0].with_shape(shape)


def _check_bounds(axis: int, extent: int, start: int, size: int, step: int) -> None:
    """Raise OutOfBoundsError unless every element of the slice exists."""
    last = start + (size - 1) * step
    if size < 0 or (size > 0 and not (0 <= start < extent and 0 <= last < extent)):
        raise OutOfBoundsError(
            f"{size} elements from {start} by {step} are not all inside axis {axis} "
            f"with size {extent}"
        )


def _numpy_slices(
    extents: Sequence[int], attrs: Attrs, dynamic: Sequence[Array]
) -> tuple[slice, ...]:
    slices = [slice(None)] * len(extents)
    starts, sizes = slice_bounds(attrs, dynamic)
    for axis, start, size, step in zip(attrs["axes"], starts, sizes, attrs["steps"], strict=True):
        _check_bounds(axis, extents[axis], start, size, step)
        stop = start + size * step
        slices[axis] = slice(start, None if stop < 0 else stop, step) if size else slice(0, 0)
    return tuple(slices)


def _evaluate_slice(
    x: Array, *dynamic: Array, axes: Any, starts: Any, sizes: Any, steps: Any
) -> Array:
    attrs = {"axes": axes, "starts": starts, "sizes": sizes, "steps": steps}
    return x[_numpy_slices(x.shape, attrs, dynamic)]


def _sliced(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    shape = list(source.shape(args[0]))
    for axis, size in zip(attrs["axes"], slice_bounds(attrs, args[1:])[1], strict=True):
        shape[axis] = size
    return tuple(shape)


def _slice_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    """Every element of a slice whose bounds only the call knows must exist."""
    return _bounds_hold(source.shape(args[0]), attrs, args[1:])


def _bounds_hold(extents: Shape, attrs: Attrs, dynamic: Sequence[Value]) -> list[Value]:
    conditions: list[Value] = []
    columns = (attrs["axes"], *slice_bounds(attrs, dynamic), attrs["steps"])
    for axis, start, size, step in zip(*columns, strict=True):
        if all(isinstance(s, int) for s in (start, size, extents[axis])):
            continue  # inference has looked at it
        if step == 1:  # the usual case, in the form that is most often provable
            inside = less_equal(0, start) & less_equal(start + size, extents[axis])
        else:
            last = start + (size - 1) * step
            low, high = (start, last) if step > 0 else (last, start)
            inside = less_equal(0, low) & less(high, extents[axis])
        conditions.append(symbolic(less_equal(0, size)))
        conditions.append(symbolic(equal(size, 0) | inside))
    return conditions


def _slice_gradient(g: Value, y: Value, x: Value, *dynamic: Value, **attrs: Any) -> list[Any]:
    return [emit(SET_SLICE, (zeros_like(x), g, *dynamic), **attrs), *([None] * len(dynamic))]


def _batch_slice(batch: Batch, x: Value, *dynamic: Value, **attrs: Any) -> Value:
    """Where starts differ from element to element, the slice is read at computed positions."""
    if not _starts_differ(batch, attrs, 1):
        return emit(SLICE, (x, *dynamic), **_behind_batch(attrs))
    order = _sliced_first(x.ndim + (not batch.flags[0]), attrs)
    lifted = transpose(batch.spread(0, (x, *dynamic)), order)
    return transpose(gather(lifted, _positions(batch, dynamic, attrs, 1)), _inverse(order))


def _starts_differ(batch: Batch, attrs: Attrs, first: int) -> bool:
    """Whether starts, which are operands from `first` on, are batched; sizes must not be."""
    sizes = first + holes(attrs["starts"])
    batch.demand_common(sizes)
    return batch.among(first, sizes)


def _behind_batch(attrs: Attrs) -> dict[str, Any]:
    return {**attrs, "axes": tuple(a + 1 for a in attrs["axes"])}


def _sliced_first(rank: int, attrs: Attrs) -> list[int]:
    """The axes of a batched operand: that of the elements, those sliced, the others."""
    lead = [0, *(a + 1 for a in attrs["axes"])]
    return [*lead, *(a for a in range(rank) if a not in lead)]


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(a) for a in range(len(order))]


def _positions(
    batch: Batch, dynamic: Sequence[Value], attrs: Attrs, first: int
) -> list[Value]:
    """A slice as index arrays of the axes in front (see `_sliced_first`)."""
    starts, sizes = slice_bounds(attrs, dynamic)
    rank, flags = 1 + len(starts), iter(batch.flags[first:])
    indices = [expand_dims(iota(batch.size), range(1, rank))]
    for k, (start, size, step) in enumerate(zip(starts, sizes, attrs["steps"], strict=True), 1):
        differs = attrs["starts"][k - 1] is None and next(flags)
        begin = expand_dims(start, range(1, rank)) if differs else start
        offsets = expand_dims(iota(size) * step, [a for a in range(rank) if a != k])
        indices.append(offsets + begin)
    return indices


SLICE = OpDef(
    name="slice",
    infer=_infer_slice,
    evaluate=_evaluate_slice,
    shape=_sliced,
    requires=_slice_fits,
    gradient=_slice_gradient,
    batch=_batch_slice,
    doc="Every step-th element from start, `size` of them, along the axes given.",
)
register(SLICE)


def slice_(
    x: Value,
    axes: Sequence[int],
    starts: Sequence[Size],
    sizes: Sequence[Size],
    steps: Sequence[int],
) -> Value:
    """Basic indexing, normalised: along axes[k], sizes[k] elements from starts[k] by steps[k]."""
    if not axes:
        return x
    s, dynamic_starts = split_sizes(starts)
    n, dynamic_sizes = split_sizes(sizes)
    operands = (x, *dynamic_starts, *dynamic_sizes)
    return emit(SLICE, operands, axes=tuple(axes), starts=s, sizes=n, steps=tuple(steps))


def slice_axis(x: Value, axis: int, start: Size, size: Size) -> Value:
    """`size` elements of one axis, from `start`."""
    return slice_(x, (axis,), (start,), (size,), (1,))


# --- set_slice: x with a slice replaced --------------------------------------------------------
def _infer_set_slice(types: Sequence[Type], attrs: Attrs) -> Type:
    x, value = types[:2]
    target = _infer_slice((x, *types[2:]), attrs)
    if value.dtype != x.dtype or not _fits(value, target.shape):
        raise ShapeError(f"cannot write {value} into the slice {target} of {x}")
    return x


def _fits(value: Type, shape: Sequence[Dim]) -> bool:
    """Whether a value may broadcast to a shape of its own rank."""
    return value.rank == len(shape) and all(
        have == 1 or not isinstance(have, int) or not isinstance(want, int) or have == want
        for have, want in zip(value.shape, shape, strict=True)
    )


def _evaluate_set_slice(
    x: Array, value: Array, *dynamic: Array, axes: Any, starts: Any, sizes: Any, steps: Any
) -> Array:
    attrs = {"axes": axes, "starts": starts, "sizes": sizes, "steps": steps}
    result = x.copy()
    result[_numpy_slices(x.shape, attrs, dynamic)] = value
    return result


def _set_slice_gradient(
    g: Value, y: Value, x: Value, value: Value, *dynamic: Value, **attrs: Any
) -> list[Value | None]:
    cut = emit(SLICE, (g, *dynamic), **attrs)
    hole = emit(SET_SLICE, (g, zeros_like(cut), *dynamic), **attrs)
    return [hole, cut, *([None] * len(dynamic))]


def _batch_write(
    batch: Batch, x: Value, value: Value, *dynamic: Value, **attrs: Any
) -> Value:
    x = batch.spread(0, (x, value, *dynamic))
    value = value if batch.flags[1] else expand_dims(value, (0,))
    if not _starts_differ(batch, attrs, 2):
        return emit(batch.definition, (x, value, *dynamic), **_behind_batch(attrs))
    order = _sliced_first(x.ndim, attrs)
    x, value = transpose(x, order), transpose(value, order)
    indices = _positions(batch, dynamic, attrs, 2)
    size = slice_bounds(attrs, dynamic)[1]
    value = broadcast_to(value, (batch.size, *size, *dims(x)[len(indices) :]))
    combine = "set" if batch.definition is SET_SLICE else "add"
    return transpose(scatter(x, value, indices, combine), _inverse(order))


SET_SLICE: OpDef = OpDef(
    name="set_slice",
    infer=_infer_set_slice,
    evaluate=_evaluate_set_slice,
    shape=lambda source, args, attrs: source.shape(args[0]),
    requires=lambda source, args, attrs: _bounds_hold(source.shape(args[0]), attrs, args[2:]),
    gradient=_set_slice_gradient,
    batch=_batch_write,
    doc="A copy of the first operand with a slice replaced by the second, of the slice's shape.",
)
register(SET_SLICE)


# --- add_slice: x with something added to a slice ----------------------------------------------
def _infer_add_slice(types: Sequence[Type], attrs: Attrs) -> Type:
    if types[0].dtype.kind == "b":
        raise DTypeError(f"add_slice does not take {types[0]}", hint="cast it to an integer first")
    return _infer_set_slice(types, attrs)


def _evaluate_add_slice(
    x: Array, value: Array, *dynamic: Array, axes: Any, starts: Any, sizes: Any, steps: Any
) -> Array:
    attrs = {"axes": axes, "starts": starts, "sizes": sizes, "steps": steps}
    result = x.copy()
    with np.errstate(all="ignore"):
        result[_numpy_slices(x.shape, attrs, dynamic)] += value
    return result


def _add_slice_gradient(
    g: Value, y: Value, x: Value, value: Value, *dynamic: Value, **attrs: Any
) -> list[Value | None]:
    return [g, emit(SLICE, (g, *dynamic), **attrs), *([None] * len(dynamic))]


ADD_SLICE = OpDef(
    name="add_slice",
    infer=_infer_add_slice,
    evaluate=_evaluate_add_slice,
    shape=lambda source, args, attrs: source.shape(args[0]),
    requires=lambda source, args, attrs: _bounds_hold(source.shape(args[0]), attrs, args[2:]),
    gradient=_add_slice_gradient,
    batch=_batch_write,
    doc="A copy of the first operand with the second, of the slice's shape, added to a slice.",
)
register(ADD_SLICE)


# --- gather: y[b, r] = x[i0[b], i1[b], ..., r] -------------------------------------------------
def _index_shape(types: Sequence[Type]) -> tuple[Any, ...]:
    if any(t.dtype.kind not in "i" for t in types):
        raise ShapeError("indices must be signed integers here")
    return broadcast_shapes([t.shape for t in types])


def _infer_gather(types: Sequence[Type], attrs: Attrs) -> Type:
    x, indices = types[0], types[1:]
    if len(indices) > x.rank:
        raise ShapeError(f"too many indices: {len(indices)} for {x}")
    return x.with_shape((*_index_shape(indices), *x.shape[len(indices) :]))


def checked_indices(x_shape: Sequence[int], indices: Sequence[Array]) -> tuple[Array, ...]:
    """The indices if each lies in its axis; raises OutOfBoundsError naming the first bad one."""
    for axis, index in enumerate(indices):
        size = x_shape[axis]
        bad = (index < 0) | (index >= size)
        if bad.any():
            # Negative indices arrive with the size added once; show the number the user wrote.
            first = int(index[bad][0])
            given = first - size if first < 0 else first
            raise OutOfBoundsError(
                f"index {given} is out of bounds for axis {axis} with size {size}"
            )
    return tuple(indices)


def _indices_in_bounds(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    sizes = source.shape(args[0])
    return [
        all_((index >= 0) & (index < size))
        for index, size in zip(args[1:], sizes, strict=False)
    ]


def _gathered(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    indices = args[1:]
    lead = source.broadcast([source.shape(i) for i in indices])
    return (*lead, *source.shape(args[0])[len(indices) :])


def _gather_gradient(g: Value, y: Value, x: Value, *indices: Value) -> list[Value | None]:
    return [emit(SCATTER_ADD, (zeros_like(x), g, *indices)), *([None] * len(indices))]


def _index_rank(batch: Batch, args: Sequence[Value], first: int) -> int:
    return max(batch.rank(k, args) for k in range(first, len(args)))


def _batched_indices(batch: Batch, args: Sequence[Value], first: int) -> list[Value]:
    """Index arrays, from operand `first` on, behind one for the elements themselves."""
    rank = _index_rank(batch, args, first)
    own = Batch(batch.definition, batch.size, batch.flags[first:]).aligned(args[first:], rank)
    return [expand_dims(iota(batch.size), range(1, 1 + rank)), *own]


def _elements_behind(rank: int, indexed: int) -> list[int]:
    """The axes of a batched operand with that of the elements behind the indexed ones."""
    return [*range(1, 1 + indexed), 0, *range(1 + indexed, rank)]


def _batch_gather(batch: Batch, *args: Value) -> Value:
    """The same indices for all elements read whole rows of them."""
    x, indices = args[0], args[1:]
    if not batch.flags[0]:
        own = Batch(batch.definition, batch.size, batch.flags[1:])
        return gather(x, own.aligned(indices))
    if batch.among(1):
        return gather(x, _batched_indices(batch, args, 1))
    read = gather(transpose(x, _elements_behind(x.ndim, len(indices))), indices)
    return transpose(read, _inverse(_elements_behind(read.ndim, _index_rank(batch, args, 1))))


GATHER = OpDef(
    name="gather",
    infer=_infer_gather,
    evaluate=lambda x, *indices: np.asarray(x[checked_indices(x.shape, indices)]),
    shape=_gathered,
    requires=_indices_in_bounds,
    gradient=_gather_gradient,
    batch=_batch_gather,
    doc="Integer-array indexing of the leading axes; the index arrays broadcast together.",
)
register(GATHER)


def gather(x: Value, indices: Sequence[Value]) -> Value:
    """x[indices[0], indices[1], ...]: non-negative i64 index arrays for the leading axes."""
    return emit(GATHER, (x, *indices))


# --- scatter_add: the adjoint of gather --------------------------------------------------------
def _infer_scatter_add(types: Sequence[Type], attrs: Attrs) -> Type:
    x, value, indices = types[0], types[1], types[2:]
    if x.dtype.kind == "b":
        raise DTypeError(f"scatter_add does not take {x}", hint="cast it to an integer first")
    target = (*_index_shape(indices), *x.shape[len(indices) :])
    if value.dtype != x.dtype or not _fits(value, target):
        raise ShapeError(f"cannot add {value} into {x} at {len(indices)} indices")
    return x


def _evaluate_scatter_add(x: Array, value: Array, *indices: Array) -> Array:
    result = x.copy()
    with np.errstate(all="ignore"):
        np.add.at(result, checked_indices(x.shape, indices), value)
    return result


def _scatter_in_bounds(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    return _indices_in_bounds(source, (args[0], *args[2:]), attrs)


def _batch_scatter(batch: Batch, *args: Value, **attrs: Any) -> Value:
    """For ops of an array, values, and index arrays that say where the values go."""
    x, value, indices = batch.spread(0, args), batch.spread(1, args), args[2:]
    rank = _index_rank(batch, args, 2)
    if batch.among(2):
        return emit(batch.definition, (x, value, *_batched_indices(batch, args, 2)), **attrs)
    order = _elements_behind(x.ndim, len(indices))
    lifted = transpose(value, _elements_behind(value.ndim, rank))
    written = emit(batch.definition, (transpose(x, order), lifted, *indices), **attrs)
    return transpose(written, _inverse(order))


SCATTER_ADD = OpDef(
    name="scatter_add",
    infer=_infer_scatter_add,
    evaluate=_evaluate_scatter_add,
    shape=lambda source, args, attrs: source.shape(args[0]),
    requires=_scatter_in_bounds,
    gradient=lambda g, y, x, value, *indices: [g, gather(g, indices), *([None] * len(indices))],
    batch=_batch_scatter,
    doc="A copy of the first operand with the second added at the indices; repeats accumulate.",
)
register(SCATTER_ADD)


# --- scatter: x with elements replaced by, or combined with, others ----------------------------
#: What `combine` may be, with the kinds of dtypes it takes, as NumPy computes it.
COMBINES: dict[str, tuple[str, Any]] = {
    "set": ("biufc", None), "multiply": ("iuf", np.multiply), "maximum": ("iuf", np.maximum),
    "minimum": ("iuf", np.minimum),
}  # fmt: skip


def _infer_scatter(types: Sequence[Type], attrs: Attrs) -> Type:
    x, value, indices, combine = types[0], types[1], types[2:], attrs["combine"]
    if kind_of(x.dtype) not in COMBINES[combine][0]:
        raise DTypeError(f"scatter by {combine} does not take {x}")
    target = (*_index_shape(indices), *x.shape[len(indices) :])
    if value.dtype != x.dtype or not _fits(value, target):
        raise ShapeError(f"cannot write {value} into {x} at {len(indices)} indices")
    return x


def _evaluate_scatter(x: Array, value: Array, *indices: Array, combine: str) -> Array:
    result, places = x.copy(), checked_indices(x.shape, indices)
    ufunc = COMBINES[combine][1]
    if ufunc is not None:
        with np.errstate(all="ignore"):
            ufunc.at(result, places, value)
        return result
    lead = np.broadcast_shapes(*(i.shape for i in indices))
    rest = x.shape[len(indices) :]
    flat = [np.broadcast_to(i, lead).reshape(-1) for i in indices]
    rows = np.broadcast_to(value, (*lead, *rest)).reshape(math.prod(lead), *rest)
    for k, place in enumerate(zip(*flat, strict=True)):  # of equal indices the last one counts
        result[place] = rows[k]
    return result


def _scatter_gradient(
    g: Value, y: Value, x: Value, value: Value, *indices: Value, combine: str
) -> list[Value | None]:
    of_x, of_value = _SCATTER_GRADIENTS[combine](g, y, x, value, indices)
    return [of_x, of_value, *([None] * len(indices))]


def _full(like: Value, number: Any) -> Value:
    """A number in every element of a value's shape and dtype."""
    return broadcast_to(constant(np.asarray(number, like.dtype)), dims(like))


def _set_gradient(
    g: Value, y: Value, x: Value, value: Value, indices: Sequence[Value]
) -> tuple[Value, Value]:
    """Each element written last gets its adjoint, those written over none."""
    read = gather(g, indices)
    order = reshape(iota(product(dims(read))), dims(read))
    none = broadcast_to(constant(np.int64(-1)), dims(x))
    last = gather(emit(SCATTER, (none, order, *indices), combine="set"), indices)
    return (emit(SCATTER, (g, zeros_like(read), *indices), combine="set"),
            where(equal(last, order), read, 0))  # fmt: skip


def _multiply_gradient(
    g: Value, y: Value, x: Value, value: Value, indices: Sequence[Value]
) -> tuple[Value, Value]:
    """Adjoints times all other factors of an element, of which one at most may be 0."""
    zero = equal(value, 0)
    ones = where(zero, 1, value)
    factors = emit(SCATTER, (_full(x, 1), ones, *indices), combine="multiply")
    count = broadcast_to(constant(np.int64(0)), dims(x))
    zeros = emit(SCATTER_ADD, (count, cast(zero, np.int64), *indices))
    left = gather(zeros, indices) - cast(zero, np.int64)
    others = gather(x * factors, indices) / ones
    return (g * where(equal(zeros, 0), factors, 0),
            where(equal(left, 0), gather(g, indices) * others, 0))  # fmt: skip


def _extremum_gradient(
    g: Value, y: Value, x: Value, value: Value, indices: Sequence[Value]
) -> tuple[Value, Value]:
    """Ties share."""
    own, given = cast(equal(x, y), x.dtype), cast(equal(value, gather(y, indices)), x.dtype)
    share = g / emit(SCATTER_ADD, (own, given, *indices))
    return share * own, gather(share, indices) * given


_SCATTER_GRADIENTS: dict[str, Any] = {
    "set": _set_gradient, "multiply": _multiply_gradient, "maximum": _extremum_gradient,
    "minimum": _extremum_gradient,
}  # fmt: skip

SCATTER = OpDef(
    name="scatter",
    infer=_infer_scatter,
    evaluate=_evaluate_scatter,
    shape=lambda source, args, attrs: source.shape(args[0]),
    requires=_scatter_in_bounds,
    gradient=_scatter_gradient,
    batch=_batch_scatter,
    doc="A copy of the first operand with the second written (`set`: the last of equal indices "
        "counts), multiplied or compared into the elements at the indices.",
)  # fmt: skip
register(SCATTER)


def scatter(x: Value, value: Value, indices: Sequence[Value], combine: str) -> Value:
    """x with `value`, of the shape that gather reads, brought into the elements at the indices:
    "add", or a name of `COMBINES`."""
    if combine == "add":
        return emit(SCATTER_ADD, (x, value, *indices))
    return emit(SCATTER, (x, value, *indices), combine=combine)
