"""Products of vectors and matrices."""

from __future__ import annotations

from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import linear
from jitgraph.ir.ops.arithmetic import multiply
from jitgraph.ir.ops.movement import expand_dims, reshape
from jitgraph.ir.values import Value
from jitgraph.tensor import contraction
from jitgraph.tensor.operands import WEAK, as_tensor, factors, promoted, public


@public
def dot(a: ArrayLike, b: ArrayLike) -> Value:
    """NumPy's dot: the product of scalars, the inner product of vectors, the matrix product.

    Of more dimensions it sums over the last axis of a and the last but one of b. dtypes promote as
    NumPy's do. Raises ShapeError where the inner dimensions are known to differ.
    """
    for one, other in ((a, b), (b, a)):
        if type(one) in WEAK:
            return multiply(as_tensor(other), one)  # type: ignore[no-any-return]
    left, right = as_tensor(a), as_tensor(b)
    if not left.ndim or not right.ndim:
        return multiply(left, right)  # type: ignore[no-any-return]
    if right.ndim > 2:
        return contraction.tensordot(left, right, (-1, -2))
    return linear.matmul(*promoted((left, right)))


@public
def matmul(a: ArrayLike, b: ArrayLike) -> Value:
    """`a @ b`: matrices in the last two axes, leading axes broadcast, vectors allowed.

    dtypes promote as NumPy's do. Raises ShapeError for a scalar operand or known inner dimensions
    that differ.
    """
    return linear.matmul(*factors(a, b))


@public
def outer(a: ArrayLike, b: ArrayLike) -> Value:
    """y[i, j] = a[i] * b[j]; operands of more than one dimension are flattened."""
    left, right = (reshape(as_tensor(x), (-1,)) for x in (a, b))
    return multiply(expand_dims(left, (1,)), expand_dims(right, (0,)))  # type: ignore[no-any-return]
