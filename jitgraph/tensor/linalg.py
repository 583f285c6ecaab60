"""Linear algebra under NumPy's and SciPy's names: `T.linalg.solve`, `T.linalg.svd`, ..."""

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

__all__ = [
    "cho_factor", "cho_solve", "cholesky", "cond", "det", "eig", "eigh", "eigvals", "eigvalsh",
    "expm", "inv", "lstsq", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose",
    "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
    "tensorinv", "tensorsolve", "vector_norm",
]  # fmt: skip
