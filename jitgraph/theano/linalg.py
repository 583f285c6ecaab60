"""`theano.tensor.nlinalg`, `.slinalg` and `.fft`."""

from __future__ import annotations

from typing import Any

import jitgraph.tensor as jt
from jitgraph.errors import OptionError
from jitgraph.theano.variables import as_tensor_variable, spoken


@spoken
def diag(v: Any, k: int = 0) -> Any:
    """The matrix of a diagonal, or the diagonal of a matrix."""
    return jt.diag(as_tensor_variable(v), k)


@spoken
def alloc_diag(x: Any, offset: int = 0) -> Any:
    """The matrix of a diagonal."""
    return jt.diag(as_tensor_variable(x), offset)


@spoken
def extract_diag(x: Any, offset: int = 0) -> Any:
    """The diagonal of a matrix."""
    return jt.diagonal(as_tensor_variable(x), offset)


@spoken
def trace(X: Any) -> Any:  # noqa: N803  (Theano's name)
    """The sum of a diagonal."""
    return jt.trace(X)


@spoken
def matrix_inverse(x: Any) -> Any:
    """The inverse of a matrix."""
    return jt.linalg.inv(x)


def psd(v: Any) -> Any:
    """The matrix itself, which the program knows to be positive definite."""
    return as_tensor_variable(v)


@spoken
def matrix_dot(*args: Any) -> Any:
    """The product of several matrices."""
    product = as_tensor_variable(args[0])
    for arg in args[1:]:
        product = jt.dot(product, arg)
    return product


@spoken
def pinv(x: Any) -> Any:
    """The pseudo-inverse."""
    return jt.linalg.pinv(x)


@spoken
def det(x: Any) -> Any:
    """The determinant."""
    return jt.linalg.det(x)


@spoken
def eig(x: Any) -> list[Any]:
    """Eigenvalues and right eigenvectors."""
    return list(jt.linalg.eig(x))


@spoken
def eigh(a: Any, UPLO: str = "L") -> list[Any]:  # noqa: N803  (Theano's name)
    """Eigenvalues and eigenvectors of a symmetric matrix."""
    return list(jt.linalg.eigh(a, UPLO))


@spoken
def qr(a: Any, mode: str = "reduced") -> Any:
    """Orthogonal times triangular."""
    names = {"full": "reduced", "economic": "reduced"}
    made: Any = jt.linalg.qr(a, names.get(mode, mode))  # type: ignore[no-untyped-call]
    return list(made) if isinstance(made, tuple) else made


@spoken
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular vectors and values."""
    made: Any = jt.linalg.svd(a, full_matrices, compute_uv)  # type: ignore[no-untyped-call]
    return list(made) if compute_uv else made


@spoken
def lstsq(x: Any, y: Any, rcond: Any = None) -> list[Any]:
    """The solution of least squares."""
    return list(jt.linalg.lstsq(x, y, rcond))


@spoken
def matrix_power(M: Any, n: int) -> Any:  # noqa: N803  (Theano's name)
    """A power of a matrix."""
    return jt.linalg.matrix_power(M, n)


@spoken
def norm(x: Any, ord: Any) -> Any:
    """The norm of a vector or a matrix."""
    return jt.linalg.norm(x, ord)


@spoken
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of `tensordot`."""
    return jt.linalg.tensorinv(a, ind)


@spoken
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """x with `tensordot(a, x) = b`."""
    if axes is not None:
        raise OptionError("tensorsolve has no axes=", hint="transpose first")
    return jt.linalg.tensorsolve(a, b)


# --- slinalg -----------------------------------------------------------------------------------
@spoken
def cholesky(x: Any) -> Any:
    """The lower triangular factor."""
    return jt.linalg.cholesky(x)


def CholeskyOf(lower: bool = True, destructive: bool = False,  # noqa: N802
               on_error: str = "raise") -> Any:  # fmt: skip
    """The factor as an op."""
    return cholesky if lower else lambda x: cholesky(x).T


@spoken
def solve(a: Any, b: Any, A_structure: str = "general", lower: bool = False) -> Any:  # noqa: N803
    """x with a·x = b."""
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    if A_structure in ("lower_triangular", "upper_triangular"):
        return jt.linalg.solve_triangular(a, b, lower=A_structure == "lower_triangular")
    return jt.linalg.solve(a, b)


def SolveOf(A_structure: str = "general", lower: bool = False, **options: Any) -> Any:  # noqa: N802, N803
    """`solve` as an op."""
    return lambda a, b: solve(a, b, A_structure, lower)


def solve_symmetric(a: Any, b: Any) -> Any:
    """`solve` for a symmetric matrix."""
    return solve(a, b)


def solve_lower_triangular(a: Any, b: Any) -> Any:
    """`solve` for a lower triangular matrix."""
    return solve(a, b, "lower_triangular")


def solve_upper_triangular(a: Any, b: Any) -> Any:
    """`solve` for an upper triangular matrix."""
    return solve(a, b, "upper_triangular")


@spoken
def eigvalsh(a: Any, b: Any = None, lower: bool = True) -> Any:
    """Eigenvalues of a symmetric matrix, or of a pair of them."""
    a = as_tensor_variable(a)
    if b is None:
        return jt.linalg.eigvalsh(a, "L" if lower else "U")
    factor = jt.linalg.cholesky(b)
    half = jt.linalg.solve_triangular(factor, a, lower=True)
    return jt.linalg.eigvalsh(jt.linalg.solve_triangular(factor, half.T, lower=True))


@spoken
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product."""
    return jt.kron(a, b)


@spoken
def expm(a: Any) -> Any:
    """The exponential of a matrix."""
    return jt.linalg.expm(a)


# --- fft ---------------------------------------------------------------------------------------
def _scale(norm: str | None, size: Any, inverse: bool) -> Any:
    if norm == "ortho":
        return 1.0 / jt.sqrt(size)
    if norm not in (None, "no_norm"):
        raise OptionError(f"norm cannot be {norm!r}", hint="None, 'ortho' or 'no_norm'")
    return 1.0 if (norm == "no_norm") or not inverse else 1.0 / size


@spoken
def rfft(inp: Any, norm: str | None = None) -> Any:
    """The transform of each inp[k], over all axes behind the first; real and imaginary parts lie
    along a new last axis."""
    x = as_tensor_variable(inp)
    axes = tuple(range(1, x.ndim))
    made = jt.fft.rfftn(x, axes=axes)
    size = jt.cast(_count(x, axes), x.dtype)
    made = made * _scale(norm, size, inverse=False)
    return jt.stack([jt.real(made), jt.imag(made)], axis=x.ndim)


@spoken
def irfft(inp: Any, norm: str | None = None, is_odd: bool = False) -> Any:
    """What `rfft` made this of."""
    x = as_tensor_variable(inp)
    rank = x.ndim - 1
    axes = tuple(range(1, rank))
    z = x[..., 0] + 1j * x[..., 1]
    last = (x.shape[rank - 1] - 1) * 2 + int(is_odd)
    sizes = [*(x.shape[k] for k in range(1, rank - 1)), last]
    made = jt.fft.irfftn(z, sizes, axes)
    size = jt.cast(_count(made, axes), made.dtype)
    if norm is None:
        return made
    return made * (size if norm == "no_norm" else jt.sqrt(size))


def _count(x: Any, axes: tuple[int, ...]) -> Any:
    count: Any = 1
    for axis in axes:
        count = count * x.shape[axis]
    return as_tensor_variable(count)
