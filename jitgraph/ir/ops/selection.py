"""Elements chosen by a mask: results whose extent only the call knows.

How many there are is a value of its own (`how_many`), which every op here is given, so that extents
of arrays chosen by one mask are one value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from jitgraph.errors import BatchingError, DTypeError, OutOfBoundsError, ShapeError
from jitgraph.ir.batching import Batch
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Array, Attrs, OpDef, Routine, Shape, ShapeSource, emit, register
from jitgraph.ir.ops.arithmetic import equal
from jitgraph.ir.ops.indexing import SCATTER_ADD, gather, zeros_like
from jitgraph.ir.ops.movement import broadcast_to, dims, expand_dims, product, reshape, transpose
from jitgraph.ir.ops.reduction import sum_
from jitgraph.ir.types import BOOL, I64, Type
from jitgraph.ir.values import Value


def how_many(mask: Value) -> Value:
    """The number of true elements."""
    return sum_(cast(mask, I64), tuple(range(mask.ndim)))


def _check(name: str, mask: Type, count: Type) -> None:
    if mask.dtype != BOOL or not mask.rank:
        raise DTypeError(f"{name} needs an array of bools, not {mask}")
    if count != Type(I64):
        raise DTypeError(f"{name}: the count must be {Type(I64)}, not {count}")


def _all_counted(mask: Value, count: Value) -> list[Value]:
    while mask.op is not None and mask.is_op("reshape"):
        mask = mask.op.args[0]
    return [equal(count, how_many(mask))]


def _counted(mask: Array, count: Array) -> Array:
    if np.count_nonzero(mask) != count:
        raise ShapeError(f"{np.count_nonzero(mask)} elements are true, not {count}")
    return mask


def _ragged(batch: Batch) -> NoReturn:
    raise BatchingError(
        "a mask chooses another number of elements for each element of a vmap, and such arrays "
        "cannot be stacked",
        hint="keep the shape: T.where(mask, x, 0), x.sum(where=mask), ...; or give the number: "
             "T.nonzero(x, size=n), T.flatnonzero(x, size=n)",
    )  # fmt: skip


# --- positions: where a mask is true ------------------------------------------------------------
def _infer_positions(types: Sequence[Type], attrs: Attrs) -> Type:
    _check("positions", *types)
    return Type(I64, (None,))


def _decompose_positions(mask: Value, count: Value) -> Value:
    return emit(POSITIONS, (reshape(mask, (-1,)) if mask.ndim > 1 else mask, count))


POSITIONS = OpDef(
    name="positions",
    infer=_infer_positions,
    evaluate=lambda mask, count: np.flatnonzero(_counted(mask, count)),
    shape=lambda source, args, attrs: (args[1],),
    requires=lambda source, args, attrs: _all_counted(*args),
    lower=Routine("selection", ("positions",), ("n", None), ("k",), dense=True),
    decompose=_decompose_positions,
    batch=lambda batch, mask, count: _ragged(batch),
    doc="Where a mask is true, counted in C order; the second operand is how often that is.",
)
register(POSITIONS)


def positions(mask: Value, count: Value | None = None) -> Value:
    """Where the mask is true, counted in C order."""
    return emit(POSITIONS, (mask, how_many(mask) if count is None else count))


# --- compress: the elements where a mask is true --------------------------------------------------
def _infer_compress(types: Sequence[Type], attrs: Attrs) -> Type:
    x, mask, count = types
    _check("compress", mask, count)
    if x.rank != mask.rank or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(x.shape, mask.shape, strict=True)
    ):
        raise OutOfBoundsError(f"a mask {mask} does not fit {x}")
    return Type(x.dtype, (None,))


def _shape_of_compressed(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    x, mask, count = args
    for a, b in zip(source.shape(x), source.shape(mask), strict=True):
        source.same_size(a, b)
    return (count,)


def _decompose_compress(x: Value, mask: Value, count: Value) -> Value:
    flat = [reshape(a, (-1,)) if a.ndim > 1 else a for a in (x, mask)]
    return emit(COMPRESS, (*flat, count))


def _batch_compress(batch: Batch, x: Value, mask: Value, count: Value) -> Value:
    """One mask for all: the same places of each element."""
    if batch.among(1):
        _ragged(batch)
    columns = transpose(reshape(x, (batch.size, product(dims(mask)))), (1, 0))
    return transpose(gather(columns, [positions(mask, count)]), (1, 0))


COMPRESS = OpDef(
    name="compress",
    infer=_infer_compress,
    evaluate=lambda x, mask, count: x[_counted(mask, count)],
    shape=_shape_of_compressed,
    requires=lambda source, args, attrs: _all_counted(*args[1:]),
    gradient=lambda g, y, x, mask, count: [expanded(g, mask, count), None, None],
    lower=Routine("selection", ("compress",), ("n", "n", None), ("k",), dense=True),
    decompose=_decompose_compress,
    batch=_batch_compress,
    doc="The elements where a mask of the same shape is true, in C order; then their number.",
)
register(COMPRESS)


def compress(x: Value, mask: Value, count: Value | None = None) -> Value:
    """The elements of x where the mask, of its shape, is true."""
    return emit(COMPRESS, (x, mask, how_many(mask) if count is None else count))


# --- expand: elements put where a mask is true, zeros elsewhere -----------------------------------
def _infer_expand(types: Sequence[Type], attrs: Attrs) -> Type:
    x, mask, count = types
    _check("expand", mask, count)
    if x.rank != 1:
        raise ShapeError(f"expand takes a vector, not {x}")
    if x.dtype.kind == "b":
        raise DTypeError(f"expand does not take {x}", hint="cast it to an integer first")
    return x.with_shape(mask.shape)


def _evaluate_expand(x: Array, mask: Array, count: Array) -> Array:
    y = np.zeros(mask.shape, x.dtype)
    y[_counted(mask, count)] = x
    return y


def _shape_of_expanded(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    source.same_size(source.shape(args[0])[0], args[2])
    return source.shape(args[1])


def _decompose_expand(x: Value, mask: Value, count: Value) -> Value:
    flat = reshape(mask, (-1,))
    base = zeros_like(flat, x.dtype)
    return reshape(emit(SCATTER_ADD, (base, x, positions(flat, count))), dims(mask))


def _batch_expand(batch: Batch, x: Value, mask: Value, count: Value) -> Value:
    if batch.among(1):
        _ragged(batch)
    sizes = dims(mask)
    zero = zeros_like(reshape(mask, (-1,)), x.dtype)
    base = broadcast_to(expand_dims(zero, (1,)), (product(sizes), batch.size))
    placed = emit(SCATTER_ADD, (base, transpose(x, (1, 0)), positions(mask, count)))
    return reshape(transpose(placed, (1, 0)), (batch.size, *sizes))


EXPAND = OpDef(
    name="expand",
    infer=_infer_expand,
    evaluate=_evaluate_expand,
    shape=_shape_of_expanded,
    requires=lambda source, args, attrs: _all_counted(*args[1:]),
    gradient=lambda g, y, x, mask, count: [compress(g, mask, count), None, None],
    decompose=_decompose_expand,
    batch=_batch_expand,
    doc="An array with a vector's elements where the mask is true, and zeros: compress's adjoint.",
)
register(EXPAND)


def expanded(x: Value, mask: Value, count: Any) -> Value:
    """The elements of a vector where the mask is true, zeros elsewhere."""
    return emit(EXPAND, (x, mask, count))
