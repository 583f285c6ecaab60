"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.batching import Batch
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Array, Attrs, OpDef, Shape, ShapeSource, emit, in_single, register
from jitgraph.ir.ops.arithmetic import conjugate, multiply
from jitgraph.ir.ops.movement import dims, expand_dims, squeeze, sum_to, transpose
from jitgraph.ir.ops.reduction import any_over, sum_
from jitgraph.ir.types import F32, F64, Type, broadcast_shapes, is_half
from jitgraph.ir.values import Value


def _infer_matmul(types: Sequence[Type], attrs: Attrs) -> Type:
    a, b = types
    if a.dtype != b.dtype:
        raise DTypeError(f"cannot multiply {a} by {b}", hint="insert a cast")
    if not a.rank or not b.rank:
        raise ShapeError(f"a matrix product takes no scalars: {a} and {b}")
    inner_a, inner_b = a.shape[-1], b.shape[-2 if b.rank > 1 else -1]
    if isinstance(inner_a, int) and isinstance(inner_b, int) and inner_a != inner_b:
        raise ShapeError(
            f"cannot multiply {a} by {b}: the inner dimensions {inner_a} and {inner_b} differ"
        )
    batch = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
    rows = a.shape[-2:-1]
    columns = b.shape[-1:] if b.rank > 1 else ()
    return a.with_shape((*batch, *rows, *columns))


def _evaluate_matmul(a: Array, b: Array) -> Array:
    try:
        with np.errstate(all="ignore"):
            return np.asarray(np.matmul(a, b))
    except ValueError:
        raise ShapeError(f"cannot multiply shapes {a.shape} and {b.shape}") from None


def _multiplied(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    a, b = (source.shape(x) for x in args)
    source.same_size(a[-1], b[-2 if len(b) > 1 else -1])
    batch = source.broadcast([a[:-2], b[:-2]])
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def _swap_last(x: Value) -> Value:
    axes = list(range(x.ndim))
    axes[-2:] = axes[:-3:-1]
    return conjugate(transpose(x, axes)) if x.dtype.kind == "c" else transpose(x, axes)


def _matmul_gradient(g: Value, y: Value, a: Value, b: Value) -> list[Value]:
    """With matrices: g·bᵀ and aᵀ·g, summed over broadcast batch axes. Vectors become matrices."""
    rows = expand_dims(a, (0,)) if a.ndim == 1 else a
    columns = expand_dims(b, (1,)) if b.ndim == 1 else b
    lifted = g
    if b.ndim == 1:
        lifted = expand_dims(lifted, (lifted.ndim,))
    if a.ndim == 1:
        lifted = expand_dims(lifted, (lifted.ndim - 1,))
    of_a = matmul(lifted, _swap_last(columns))
    of_b = matmul(_swap_last(rows), lifted)
    of_a = sum_to(of_a, dims(rows)) if of_a.ndim > 2 else of_a
    of_b = sum_to(of_b, dims(columns)) if of_b.ndim > 2 else of_b
    return [squeeze(of_a, (0,)) if a.ndim == 1 else of_a,
            squeeze(of_b, (1,)) if b.ndim == 1 else of_b]  # fmt: skip


def _decompose_matmul(a: Value, b: Value) -> Value:
    """A product with a vector => multiply and sum, which fuses with what is around it. So do
    products with one row, one column or one term, and those of dtypes without a micro-kernel."""
    if a.ndim == 1 and b.ndim == 1:
        return sum_product(a, b, 0)
    if b.ndim == 1:
        return sum_product(a, b, a.ndim - 1)
    if a.ndim == 1:
        return sum_product(expand_dims(a, (1,)), b, b.ndim - 2)
    if a.type.shape[-1] == 1 and b.type.shape[-2] == 1:
        return multiply(a, b)  # type: ignore[no-any-return]
    if a.ndim == b.ndim == 2 and b.type.shape[1] == 1:
        return expand_dims(sum_product(a, squeeze(b, (1,)), 1), (1,))
    if a.ndim == b.ndim == 2 and a.type.shape[0] == 1:
        return expand_dims(sum_product(transpose(a, (1, 0)), b, 0), (0,))
    if is_half(a.dtype):
        return cast(emit(MATMUL, (cast(a, F32), cast(b, F32))), a.dtype)  # type: ignore[no-any-return]
    if a.dtype not in (F32, F64):
        left = expand_dims(a, (a.ndim,))
        return sum_product(left, expand_dims(b, (b.ndim - 2,)), max(a.ndim, b.ndim) - 1)
    return emit(MATMUL, (a, b))


def sum_product(a: Value, b: Value, axis: int) -> Value:
    """The sum of products along an axis; of halves in single precision and rounded once."""
    if is_half(a.dtype):
        return cast(sum_product(cast(a, F32), cast(b, F32), axis), a.dtype)  # type: ignore[no-any-return]
    product = multiply(a, b)
    return any_over(product, (axis,)) if product.dtype.kind == "b" else sum_(product, (axis,))


def _batch_matmul(batch: Batch, a: Value, b: Value) -> Value:
    """Many vectors by one matrix are one product; otherwise vectors become matrices, and the
    elements are the first of the leading axes."""
    (of_a, of_b), (rank_a, rank_b) = batch.flags, (batch.rank(k, (a, b)) for k in range(2))
    if rank_a == 1 and not of_b and rank_b < 3:
        return matmul(a, b)
    if rank_b == 1 and not of_a and rank_a < 3:
        return matmul(b, transpose(a, (1, 0)) if rank_a == 2 else a)
    rows = expand_dims(a, (a.ndim - 1,)) if rank_a == 1 else a
    columns = expand_dims(b, (b.ndim,)) if rank_b == 1 else b
    y = matmul(*batch.aligned((rows, columns)))
    y = squeeze(y, (y.ndim - 1,)) if rank_b == 1 else y
    return squeeze(y, (y.ndim - 1 - (rank_b > 1),)) if rank_a == 1 else y


MATMUL = OpDef(
    name="matmul",
    infer=_infer_matmul,
    evaluate=in_single(_evaluate_matmul),
    shape=_multiplied,
    gradient=_matmul_gradient,
    decompose=_decompose_matmul,
    batch=_batch_matmul,
    doc="NumPy's matmul: matrices in the last two axes, leading axes broadcast, vectors allowed.",
)
register(MATMUL)


def matmul(a: Value, b: Value) -> Value:
    """The matrix product of two values of one dtype."""
    return emit(MATMUL, (a, b))
