"""Linear algebra under NumPy's and SciPy's names: `T.linalg.solve`, `T.linalg.svd`, ..."""

from __future__ import annotations

from typing import Any

from jitgraph.errors import ShapeError
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.values import Value
from jitgraph.tensor import diagonals, linear, products
from jitgraph.tensor.contraction import tensordot
from jitgraph.tensor.linear import matmul
from jitgraph.tensor.matrices import (
    cho_factor,
    cho_solve,
    cholesky,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    expm,
    inv,
    lstsq,
    matrix_power,
    matrix_rank,
    matrix_transpose,
    multi_dot,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
    tensorinv,
    tensorsolve,
)
from jitgraph.tensor.norms import cond, matrix_norm, norm, vector_norm
from jitgraph.tensor.operands import as_tensor, public
from jitgraph.tensor.products import vecdot

__all__ = [
    "cho_factor", "cho_solve", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals", "eigvalsh", "expm", "inv", "lstsq", "matmul", "matrix_norm", "matrix_power",
    "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr", "slogdet",
    "solve", "solve_triangular", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace",
    "vecdot", "vector_norm",
]  # fmt: skip


@public
def diagonal(x: ArrayLike, offset: int = 0) -> Value:
    """The diagonals of matrices in the last two axes."""
    return diagonals.diagonal(x, offset, -2, -1)


@public
def trace(x: ArrayLike, offset: int = 0, dtype: Any = None) -> Value:
    """The sums along the diagonals of matrices in the last two axes."""
    return diagonals.trace(x, offset, -2, -1, dtype)


@public
def outer(x1: ArrayLike, x2: ArrayLike) -> Value:
    """The outer product of two vectors."""
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"outer takes vectors, not {a.type} and {b.type}", hint="T.outer flattens")
    return linear.outer(a, b)


@public
def cross(x1: ArrayLike, x2: ArrayLike, axis: int = -1) -> Value:
    """The cross product of vectors of three elements along an axis."""
    return products.cross(x1, x2, axis=axis)
