"""Ops that move elements without computing: shapes, views, joins.

Sizes that are numbers stand in attributes; sizes known only at run time are i64 operands that fill
the attribute's `none` holes in order (as in MLIR).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir import batching
from jitgraph.ir.batching import Batch
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    OpDef,
    Shape,
    ShapeSource,
    Size,
    constant,
    emit,
    in_single,
    join_sizes,
    register,
    split_sizes,
)
from jitgraph.ir.ops.arithmetic import equal, greater_equal, less
from jitgraph.ir.types import F32, I64, Type, is_half
from jitgraph.ir.values import Value


def check_sizes(name: str, types: Sequence[Type], holes: int) -> None:
    """Size operands must be as many as the holes, and i64 scalars."""
    if len(types) != holes or any(t != Type(I64) for t in types):
        raise ShapeError(f"{name} needs {holes} i64[] sizes, got {', '.join(map(str, types))}")


def holes(static: Sequence[int | None]) -> int:
    return sum(s is None for s in static)


def is_count(size: Size, depth: int = 8) -> bool:
    """Whether a size is known not to be negative, by looking at how it was made."""
    if not isinstance(size, Value):
        return size >= 0
    op = size.op
    if op is None or not depth:
        return False
    if op.name == "constant":
        return bool(op.attrs["value"].array >= 0)
    known = (is_count(a, depth - 1) for a in op.args if a.dtype.kind in "iu")
    if op.name == "maximum":
        return any(known)
    if op.name == "reduce_sum":
        return op.args[0].is_op("cast") and op.args[0].op.args[0].dtype.kind == "b"  # type: ignore[union-attr]
    return op.name == "dim" or (op.name in _KEEP_COUNTS and all(known))


#: Ops that make counts of counts.
_KEEP_COUNTS = frozenset({"add", "multiply", "floor_divide", "minimum", "where"})


def _counts(sizes: Sequence[Value]) -> list[Value]:
    """The demand that sizes a user computed are not negative."""
    return [greater_equal(s, 0) for s in sizes if not is_count(s)]


# --- dim: an extent as a number ----------------------------------------------------------------
def _infer_dim(types: Sequence[Type], attrs: Attrs) -> Type:
    if not 0 <= attrs["axis"] < types[0].rank:
        raise ShapeError(f"{types[0]} has no axis {attrs['axis']}")
    return Type(I64)


DIM: OpDef = OpDef(
    name="dim",
    infer=_infer_dim,
    evaluate=lambda x, *, axis: np.asarray(x.shape[axis], np.int64),
    shape=lambda source, args, attrs: (),
    gradient=lambda g, y, x, *, axis: [None],
    batch=lambda batch, x, *, axis: emit(DIM, (x,), axis=axis + 1),
    doc="The number of elements along an axis.",
)
register(DIM)


def dim(x: Value, axis: int) -> Size:
    """The extent of x along axis: a number where the type knows it, else an i64 scalar."""
    known = x.type.shape[axis]
    return known if isinstance(known, int) else emit(DIM, (x,), axis=axis)


def dims(x: Value) -> Shape:
    """All extents of x."""
    return tuple(dim(x, axis) for axis in range(x.ndim))


# --- broadcast_to and its adjoint --------------------------------------------------------------
def _infer_broadcast_to(types: Sequence[Type], attrs: Attrs) -> Type:
    shape = attrs["shape"]
    check_sizes("broadcast_to", types[1:], holes(shape))
    x = types[0]
    if x.rank > len(shape):
        raise ShapeError(f"cannot broadcast {x} to {len(shape)} dimensions")
    for axis, (have, want) in enumerate(zip(x.shape[::-1], shape[::-1], strict=False)):
        if isinstance(have, int) and have != 1 and want is not None and have != want:
            raise ShapeError(
                f"cannot broadcast {x} to {list(shape)} (dimension {len(shape) - 1 - axis}: "
                f"{have} is not {want})"
            )
    return x.with_shape(shape)


def _evaluate_broadcast_to(x: Array, *sizes: Array, shape: Sequence[int | None]) -> Array:
    full = join_sizes(shape, sizes)
    try:
        return np.broadcast_to(x, full)
    except ValueError:
        raise ShapeError(f"cannot broadcast shape {x.shape} to {full}") from None


def _broadcast_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    have = source.shape(args[0])
    want = join_sizes(attrs["shape"], args[1:])[len(attrs["shape"]) - len(have) :]
    checks = []
    for h, w in zip(have, want, strict=True):
        same = h is w or (isinstance(h, int) and (h == 1 or isinstance(w, int)))
        if not same:
            checks.append(equal(h, 1) | equal(h, w))
    return checks + _counts(args[1:])


def _batch_broadcast_to(
    batch: Batch, x: Value, *sizes: Value, shape: Sequence[int | None]
) -> Value:
    batch.demand_common(1)
    (lifted,) = Batch(batch.definition, batch.size, (True,)).aligned([x], len(shape))
    return broadcast_to(lifted, (batch.size, *join_sizes(shape, sizes)))


BROADCAST_TO = OpDef(
    name="broadcast_to",
    infer=_infer_broadcast_to,
    evaluate=_evaluate_broadcast_to,
    shape=lambda source, args, attrs: join_sizes(attrs["shape"], args[1:]),
    requires=_broadcast_fits,
    gradient=lambda g, y, x, *sizes, shape: [sum_to(g, dims(x)), *([None] * len(sizes))],
    batch=_batch_broadcast_to,
    doc="x repeated along axes of extent 1 and along new leading axes.",
)
register(BROADCAST_TO)


def broadcast_to(x: Value, shape: Sequence[Size]) -> Value:
    """x broadcast to a shape of numbers and i64 scalars; x itself where that changes nothing."""
    static, dynamic = split_sizes(shape)
    if static == x.type.shape and not dynamic:
        return x
    return emit(BROADCAST_TO, (x, *dynamic), shape=static)


def _infer_sum_to(types: Sequence[Type], attrs: Attrs) -> Type:
    shape = attrs["shape"]
    check_sizes("sum_to", types[1:], holes(shape))
    if types[0].dtype.kind == "b":
        raise DTypeError(f"sum_to does not take {types[0]}", hint="cast it to an integer first")
    if len(shape) > types[0].rank:
        raise ShapeError(f"cannot sum {types[0]} to {len(shape)} dimensions")
    for have, want in zip(types[0].shape[::-1], shape[::-1], strict=False):
        if isinstance(have, int) and want is not None and want not in (1, have):
            raise ShapeError(f"cannot sum {types[0]} to {list(shape)}: {want} is not {have}")
    return types[0].with_shape(shape)


def _evaluate_sum_to(x: Array, *sizes: Array, shape: Sequence[int | None]) -> Array:
    full = join_sizes(shape, sizes)
    lead = x.ndim - len(full)
    if any(want not in (1, have) for have, want in zip(x.shape[lead:], full, strict=True)):
        raise ShapeError(f"cannot sum shape {x.shape} to {full}")
    axes = tuple(i for i in range(x.ndim) if i < lead or (full[i - lead] == 1 != x.shape[i]))
    if not axes:  # NumPy's sum over no axes makes 0.0 of -0.0
        return x.reshape(full)
    with np.errstate(all="ignore"):
        return np.asarray(x.sum(axis=axes, keepdims=True, dtype=x.dtype)).reshape(full)


def _sum_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    want = join_sizes(attrs["shape"], args[1:])
    have = source.shape(args[0])[args[0].ndim - len(want) :]
    checks = []
    for h, w in zip(have, want, strict=True):
        same = h is w or (isinstance(w, int) and (w == 1 or isinstance(h, int)))
        if not same:
            checks.append(equal(w, 1) | equal(w, h))
    return checks


def _decompose_sum_to(x: Value, *sizes: Value, shape: Sequence[int | None]) -> Value:
    """Half floats => summed in single precision and rounded once, as NumPy does."""
    if not is_half(x.dtype):
        return emit(SUM_TO, (x, *sizes), shape=shape)
    wide = emit(SUM_TO, (cast(x, F32), *sizes), shape=shape)
    return cast(wide, x.dtype)  # type: ignore[no-any-return]


def _batch_sum_to(
    batch: Batch, x: Value, *sizes: Value, shape: Sequence[int | None]
) -> Value:
    """The axes in front, which the result lacks, stay as axes of extent 1 until the sum is done."""
    batch.demand_common(1)
    lead = x.ndim - 1 - len(shape)
    summed = sum_to(x, (batch.size, *([1] * lead), *join_sizes(shape, sizes)))
    return squeeze(summed, range(1, 1 + lead))


SUM_TO = OpDef(
    name="sum_to",
    infer=_infer_sum_to,
    evaluate=in_single(_evaluate_sum_to),
    shape=lambda source, args, attrs: join_sizes(attrs["shape"], args[1:]),
    requires=_sum_fits,
    gradient=lambda g, y, x, *sizes, shape: [broadcast_to(g, dims(x)), *([None] * len(sizes))],
    decompose=_decompose_sum_to,
    batch=_batch_sum_to,
    doc="The adjoint of broadcast_to: sums the axes along which the given shape was broadcast.",
)
register(SUM_TO)


def sum_to(x: Value, shape: Sequence[Size]) -> Value:
    """x summed over the axes by which `shape` would have been broadcast to x's shape."""
    static, dynamic = split_sizes(shape)
    if static == x.type.shape and not dynamic:
        return x
    return emit(SUM_TO, (x, *dynamic), shape=static)


# --- reshape -----------------------------------------------------------------------------------
def product(sizes: Sequence[Any]) -> Any:
    """The number of elements of a shape: a number where all sizes are, else an i64 scalar."""
    return math.prod(sizes) if all(isinstance(s, int) for s in sizes) else _symbolic_product(sizes)


def _symbolic_product(sizes: Sequence[Any]) -> Any:
    known = math.prod(s for s in sizes if isinstance(s, int))
    result: Any = None
    for size in sizes:
        if not isinstance(size, int):
            result = size if result is None else result * size
    return result if known == 1 else result * known


def _infer_reshape(types: Sequence[Type], attrs: Attrs) -> Type:
    shape, x = attrs["shape"], types[0]
    check_sizes("reshape", types[1:], holes(shape))
    if x.is_static and None not in shape and product(x.shape) != product(shape):
        raise ShapeError(f"cannot reshape {x} to {list(shape)}: the sizes differ")
    return x.with_shape(shape)


def _evaluate_reshape(x: Array, *sizes: Array, shape: Sequence[int | None]) -> Array:
    full = join_sizes(shape, sizes)
    if math.prod(full) != x.size or min(full, default=0) < 0:
        raise ShapeError(f"cannot reshape shape {x.shape} to {full}: the sizes differ")
    return x.reshape(full)


def _reshape_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    new = join_sizes(attrs["shape"], args[1:])
    have, want = product(source.shape(args[0])), product(new)
    if isinstance(have, int) and isinstance(want, int):
        return []
    checks = _counts(args[1:])
    if have is not want:
        checks += [equal(have, want), *_does_not_wrap(new)]
    return checks


def _does_not_wrap(sizes: Shape) -> list[Value]:
    """The demand that a product of sizes is what it is in i64: 2^62 + 1 times 4 is 4 there."""
    known = math.prod(s for s in sizes if isinstance(s, int))
    rough: Value | None = None
    for size in sizes:
        if isinstance(size, Value):
            factor = cast(size, np.float64)
            rough = factor if rough is None else rough * factor
    if rough is None or (known == 1 and rough.is_op("cast")):
        return []
    return [less(rough * float(known), 2.0**62)]


def _batch_reshape(
    batch: Batch, x: Value, *sizes: Value, shape: Sequence[int | None]
) -> Value:
    batch.demand_common(1)
    return reshape(x, (batch.size, *join_sizes(shape, sizes)))


RESHAPE = OpDef(
    name="reshape",
    infer=_infer_reshape,
    evaluate=_evaluate_reshape,
    shape=lambda source, args, attrs: join_sizes(attrs["shape"], args[1:]),
    requires=_reshape_fits,
    gradient=lambda g, y, x, *sizes, shape: [reshape(g, dims(x)), *([None] * len(sizes))],
    batch=_batch_reshape,
    doc="The same elements in C order under another shape.",
)
register(RESHAPE)


def reshape(x: Value, shape: Sequence[Size]) -> Value:
    """x under a new shape of numbers and i64 scalars; one entry may be -1, as in NumPy."""
    sizes = list(shape)
    unknown = [i for i, s in enumerate(sizes) if isinstance(s, int) and s == -1]
    if len(unknown) > 1:
        raise ShapeError("only one dimension of a reshape may be -1")
    if unknown:
        rest = product(sizes[: unknown[0]] + sizes[unknown[0] + 1 :])
        total = product(dims(x))
        if isinstance(rest, int) and isinstance(total, int):
            if rest == 0 or total % rest:
                raise ShapeError(f"cannot reshape {x.type} to {sizes}: {total} / {rest}")
            sizes[unknown[0]] = total // rest
        else:
            sizes[unknown[0]] = total // rest
    static, dynamic = split_sizes(sizes)
    if any(s is not None and s < 0 for s in static):
        raise ShapeError(f"a dimension cannot be negative: {list(static)}")
    if static == x.type.shape and not dynamic:
        return x
    return emit(RESHAPE, (x, *dynamic), shape=static)


# --- transpose, expand_dims, squeeze -----------------------------------------------------------
def _infer_transpose(types: Sequence[Type], attrs: Attrs) -> Type:
    perm, x = attrs["perm"], types[0]
    if sorted(perm) != list(range(x.rank)):
        raise ShapeError(f"{list(perm)} is no permutation of the {x.rank} axes of {x}")
    return x.with_shape(x.shape[p] for p in perm)


def _transposed(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    shape = source.shape(args[0])
    return tuple(shape[p] for p in attrs["perm"])


TRANSPOSE = OpDef(
    name="transpose",
    infer=_infer_transpose,
    evaluate=lambda x, *, perm: x.transpose(perm),
    shape=_transposed,
    gradient=lambda g, y, x, *, perm: [transpose(g, [perm.index(i) for i in range(len(perm))])],
    batch=lambda batch, x, *, perm: transpose(x, (0, *(p + 1 for p in perm))),
    doc="The axes of x in another order.",
)
register(TRANSPOSE)


def transpose(x: Value, perm: Sequence[int]) -> Value:
    """Axis i of the result is axis perm[i] of x."""
    perm = tuple(perm)
    return x if perm == tuple(range(x.ndim)) else emit(TRANSPOSE, (x,), perm=perm)


def _infer_expand_dims(types: Sequence[Type], attrs: Attrs) -> Type:
    axes, dims_left = attrs["axes"], iter(types[0].shape)
    rank = types[0].rank + len(axes)
    if len(set(axes)) != len(axes) or any(not 0 <= a < rank for a in axes):
        raise ShapeError(f"cannot put axes {list(axes)} into {types[0]}")
    return types[0].with_shape(1 if i in axes else next(dims_left) for i in range(rank))


def _expanded(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    have = iter(source.shape(args[0]))
    rank = args[0].ndim + len(attrs["axes"])
    return tuple(1 if i in attrs["axes"] else next(have) for i in range(rank))


EXPAND_DIMS = OpDef(
    name="expand_dims",
    infer=_infer_expand_dims,
    evaluate=lambda x, *, axes: np.expand_dims(x, axes),
    shape=_expanded,
    gradient=lambda g, y, x, *, axes: [squeeze(g, axes)],
    batch=batching.along_axes,
    doc="New axes of extent 1, at these positions of the result.",
)
register(EXPAND_DIMS)


def expand_dims(x: Value, axes: Sequence[int]) -> Value:
    """x with new axes of extent 1 at the positions `axes` of the result."""
    return emit(EXPAND_DIMS, (x,), axes=tuple(sorted(axes))) if len(axes) else x


def _infer_squeeze(types: Sequence[Type], attrs: Attrs) -> Type:
    x, axes = types[0], attrs["axes"]
    for axis in axes:
        if not 0 <= axis < x.rank:
            raise ShapeError(f"{x} has no axis {axis}")
        if isinstance(x.shape[axis], int) and x.shape[axis] != 1:
            raise ShapeError(f"cannot squeeze axis {axis} of {x}: its extent is not 1")
    return x.with_shape(d for i, d in enumerate(x.shape) if i not in axes)


def _evaluate_squeeze(x: Array, *, axes: tuple[int, ...]) -> Array:
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeError(f"cannot squeeze axes {list(axes)} of shape {x.shape}: not of extent 1")
    return np.squeeze(x, axes)


def _squeezed(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    return tuple(s for i, s in enumerate(source.shape(args[0])) if i not in attrs["axes"])


def _squeeze_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    shape = source.shape(args[0])
    return [equal(shape[a], 1) for a in attrs["axes"] if not isinstance(shape[a], int)]


SQUEEZE = OpDef(
    name="squeeze",
    infer=_infer_squeeze,
    evaluate=_evaluate_squeeze,
    shape=_squeezed,
    requires=_squeeze_fits,
    gradient=lambda g, y, x, *, axes: [expand_dims(g, axes)],
    batch=batching.along_axes,
    doc="x without these axes, whose extent must be 1.",
)
register(SQUEEZE)


def squeeze(x: Value, axes: Sequence[int]) -> Value:
    """x without the axes given, each of extent 1."""
    return emit(SQUEEZE, (x,), axes=tuple(sorted(axes))) if len(axes) else x


# --- iota --------------------------------------------------------------------------------------
def _infer_iota(types: Sequence[Type], attrs: Attrs) -> Type:
    check_sizes("iota", types, holes(attrs["shape"]))
    return Type(I64, attrs["shape"])


def _evaluate_iota(*sizes: Array, shape: Sequence[int | None]) -> Array:
    size = join_sizes(shape, sizes)[0]
    if size < 0:
        raise ShapeError(f"a dimension cannot be negative: {size}")
    return np.arange(size, dtype=np.int64)


def _batch_iota(batch: Batch, *sizes: Value, shape: Sequence[int | None]) -> Value:
    batch.demand_common(0)
    return emit(IOTA, sizes, shape=shape)


IOTA = OpDef(
    name="iota",
    infer=_infer_iota,
    evaluate=_evaluate_iota,
    shape=lambda source, args, attrs: join_sizes(attrs["shape"], args),
    requires=lambda source, args, attrs: _counts(args),
    gradient=lambda g, y, *sizes, shape: [None] * len(sizes),
    batch=_batch_iota,
    doc="0, 1, 2, ... as i64.",
)
register(IOTA)


def iota(size: Size, cls: type[Value] | None = None) -> Value:
    """The numbers 0 .. size-1 as i64[size]."""
    static, dynamic = split_sizes((size,))
    if not dynamic:
        return constant(np.arange(int(static[0] or 0), dtype=np.int64), cls=cls or Value)
    return emit(IOTA, dynamic, shape=static)


