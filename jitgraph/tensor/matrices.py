"""Systems of equations, factors, eigenvalues and functions of matrices: most of `T.linalg`.

As NumPy, they compute in double precision and give the result in the precision of the operands;
integers become float64 and half precision is refused. All but `lstsq` and `multi_dot` take stacks
of matrices. `eig` and `eigvals` always give complex numbers, since dtypes do not depend on values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, constant, emit
from jitgraph.ir.ops import eigenvalues, movement
from jitgraph.ir.ops import linalg as ops
from jitgraph.ir.ops.arithmetic import conjugate, divide, equal, where
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.types import I64, DType, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor import linear, reductions, sorting
from jitgraph.tensor.control import fori_loop
from jitgraph.tensor.math import FUNCTIONS as F
from jitgraph.tensor.operands import as_tensor, public

_SINGLE = {np.dtype(np.float32): np.dtype(np.float64),
           np.dtype(np.complex64): np.dtype(np.complex128)}  # fmt: skip


class EigResult(NamedTuple):
    eigenvalues: Value
    eigenvectors: Value


class EighResult(NamedTuple):
    eigenvalues: Value
    eigenvectors: Value


class QRResult(NamedTuple):
    Q: Value
    R: Value


class SVDResult(NamedTuple):
    U: Value
    S: Value
    Vh: Value


class SlogdetResult(NamedTuple):
    sign: Value
    logabsdet: Value


# --- operands -----------------------------------------------------------------------------------
class _Precision(NamedTuple):
    """The dtypes of results, by the kind of number they are."""

    plain: DType
    real: DType
    complex: DType

    def round(self, y: Value) -> Value:
        """A result in the precision of the operands."""
        to = self.complex if y.dtype.kind == "c" else self.real
        return y if y.dtype == to or kind_of(y.dtype) not in "fc" else cast(y, to)


def prepared(*given: ArrayLike) -> tuple[list[Any], _Precision]:
    """The operands in double precision of one dtype, and the precision of results."""
    values = [as_tensor(g) for g in given]
    for value in values:
        if value.dtype == np.float16:
            raise DTypeError(f"linear algebra does not take {value.type}",
                             hint="cast it to float32")  # fmt: skip
    single = all(v.dtype in _SINGLE for v in values)
    kind = "c" if any(v.dtype.kind == "c" for v in values) else "f"
    names = ("float32", "complex64") if single else ("float64", "complex128")
    real, complex_ = map(np.dtype, names)
    wide = np.dtype(np.complex128 if kind == "c" else np.float64)
    ready = [v if v.dtype == wide else cast(v, wide) for v in values]
    return ready, _Precision(complex_ if kind == "c" else real, real, complex_)


def require_matrices(name: str, *values: Value) -> None:
    for value in values:
        if value.ndim < 2:
            raise ShapeError(f"{name} takes matrices, not {value.type}")


def _require_square(name: str, x: Value) -> None:
    require_matrices(name, x)
    m, n = x.type.shape[-2:]
    if isinstance(m, int) and isinstance(n, int) and m != n:
        raise ShapeError(f"{name} takes square matrices, not {x.type}")


def _stacked(a: Value, b: Value) -> tuple[Value, Value]:
    """Two stacks of matrices, their batches broadcast together."""
    first, second = movement.dims(a)[:-2], movement.dims(b)[:-2]
    known = [s for s in (*first, *second) if isinstance(s, int)]
    if len(known) == len(first) + len(second) and first == second:
        return a, b
    if not first or not second:
        batch = first or second
    else:
        batch = movement.dims(reductions.sum(a, (-2, -1)) + reductions.sum(b, (-2, -1)))
    return tuple(movement.broadcast_to(x, (*batch, *movement.dims(x)[-2:])) for x in (a, b))  # type: ignore[return-value]


def _one(name: str, op: Callable[[Value], Value], a: ArrayLike) -> Value:
    (x,), precision = prepared(a)
    require_matrices(name, x)
    return precision.round(op(x))


def _several(name: str, definition: Any, a: ArrayLike) -> list[Value]:
    (x,), precision = prepared(a)
    require_matrices(name, x)
    return [precision.round(y) for y in items(emit(definition, (x,)))]


def _triangle(uplo: str) -> bool:
    """Whether the upper triangle is meant."""
    if str(uplo).upper() not in ("L", "U"):
        raise OptionError(f"UPLO is {uplo!r}", hint="one of: L, U")
    return str(uplo).upper() == "U"


# --- systems of equations -----------------------------------------------------------------------
def _system(
    a: ArrayLike, b: ArrayLike, solver: Callable[[Value, Value], Value]
) -> Value:
    """A solver applied to matrices, or to one vector."""
    (left, right), precision = prepared(a, b)
    require_matrices("solve", left)
    if not right.ndim:
        raise ShapeError(f"solve needs a vector or matrices on the right, not {right.type}")
    if right.ndim == 1:
        column = movement.expand_dims(right, (1,))
        x = solver(*_stacked(left, column))
        return precision.round(movement.squeeze(x, (x.ndim - 1,)))
    return precision.round(solver(*_stacked(left, right)))


@public
def solve(a: ArrayLike, b: ArrayLike) -> Value:
    """x such that a @ x = b, for square matrices a; b is one vector or a stack of matrices.

    The call raises LinAlgError where a matrix is singular.
    """
    return _system(a, b, ops.solve)


@public
def solve_triangular(
    a: ArrayLike,
    b: ArrayLike,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
) -> Value:
    """SciPy's: x such that a @ x = b, or aᵀ (trans 1 or "T"), aᴴ (2 or "C"), reading only one
    triangle of a. The call raises LinAlgError where there is a zero on the diagonal."""
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise OptionError(f"trans is {trans!r}", hint="one of: 0, 1, 2, 'N', 'T', 'C'")

    def solver(left: Value, right: Value) -> Value:
        turned = trans not in (0, "N")
        if turned:
            left = ops.adjoint(left)
            left = conjugate(left) if trans in (1, "T") and left.dtype.kind == "c" else left
        return ops.solve_triangular(left, right, lower=lower != turned, unit=unit_diagonal)

    return _system(a, b, solver)


def cho_factor(a: ArrayLike, lower: bool = False) -> tuple[Value, bool]:
    """SciPy's: the Cholesky factor (its other triangle is zero here) and `lower`, for
    `cho_solve`."""
    return cholesky(a, upper=not lower), lower


@public
def cho_solve(c_and_lower: tuple[ArrayLike, bool], b: ArrayLike) -> Value:
    """x such that a @ x = b, given the Cholesky factor of a and whether it is the lower one."""
    factor, lower = c_and_lower

    def solver(c: Value, right: Value) -> Value:
        steps = (c, ops.adjoint(c)) if lower else (ops.adjoint(c), c)
        half = ops.solve_triangular(steps[0], right, lower=True)
        return ops.solve_triangular(steps[1], half, lower=False)

    return _system(factor, b, solver)


@public
def lstsq(a: ArrayLike, b: ArrayLike, rcond: Any = None) -> tuple[Value, ...]:
    """NumPy's: the x with the least |a @ x - b|, the residuals, the rank of a, its singular
    values. Gradients are of x alone, for a of full column rank."""
    (left, right), precision = prepared(a, b)
    if left.ndim != 2 or right.ndim not in (1, 2):
        raise ShapeError(f"lstsq takes a matrix and a vector or matrix: {left.type}, {right.type}")
    if rcond is None:
        m, n = movement.dims(left)
        most = max(m, n) if isinstance(m, int) and isinstance(n, int) else -ops.least(-m, -n)
        rcond = cast(as_tensor(most), np.float64) * np.finfo(np.float64).eps
    limit = cast(as_tensor(rcond), np.float64)
    columns = movement.expand_dims(right, (1,)) if right.ndim == 1 else right
    x, squares, rank, s = items(emit(ops.LSTSQ, (left, columns, limit)))
    m, n = movement.dims(left)
    full = equal(rank, n) & (as_tensor(m) > n)
    count = where(full, movement.dims(squares)[0], 0)
    squares = slice_axis(squares, 0, 0, count)
    x = movement.squeeze(x, (1,)) if right.ndim == 1 else x
    return precision.round(x), precision.round(squares), rank, precision.round(s)


# --- inverses, powers, determinants ---------------------------------------------------------------
@public
def inv(a: ArrayLike) -> Value:
    """The inverse of square matrices; the call raises LinAlgError where one is singular."""
    return _one("inv", ops.inv, a)


@public
def tensorinv(a: ArrayLike, ind: int = 2) -> Value:
    """The inverse of a as a map between arrays: its first `ind` axes against the others."""
    x = as_tensor(a)
    if not 0 < ind < x.ndim:
        raise ShapeError(f"tensorinv: ind={ind} leaves no axes of {x.type} on one side")
    sizes = movement.dims(x)
    old, new = sizes[:ind], sizes[ind:]
    flat = movement.reshape(x, (movement.product(old), movement.product(new)))
    return movement.reshape(inv(flat), (*new, *old))


@public
def tensorsolve(a: ArrayLike, b: ArrayLike) -> Value:
    """x such that tensordot(a, x, x.ndim) is b: a's first axes are b's, the others x's."""
    left, right = as_tensor(a), as_tensor(b)
    sizes = movement.dims(left)[right.ndim :]
    count = movement.product(sizes)
    x = solve(movement.reshape(left, (-1, count)), movement.reshape(right, (-1,)))
    return movement.reshape(x, sizes)


@public
def pinv(a: ArrayLike, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Value:
    """The pseudo-inverse; singular values up to rcond (1e-15) times the largest count as zero."""
    (x,), precision = prepared(a)
    require_matrices("pinv", x)
    limit = as_tensor(1e-15 if rcond is None and rtol is None else rtol if rcond is None else rcond)
    u, s, vh = _singular(x, hermitian)
    cutoff = movement.expand_dims(limit, (limit.ndim,)) * reductions.max(s, -1, keepdims=True)
    large = s > cutoff
    inverse = where(large, divide(1.0, where(large, s, 1.0)), 0.0)
    scaled = ops.adjoint(vh) * cast(ops.as_row(inverse), vh.dtype)
    return precision.round(matmul(scaled, ops.adjoint(u)))


def _singular(x: Value, hermitian: bool) -> tuple[Value, Value, Value]:
    """u, s, vh; of a Hermitian matrix by its eigenvalues, in any order."""
    if not hermitian:
        u, s, vh = items(emit(ops.SVD, (x,)))
        return u, s, vh
    w, v = items(emit(ops.EIGH, (x,)))
    sign = where(w < 0, -1.0, 1.0)
    return v, w * sign, ops.adjoint(v * cast(ops.as_row(sign), v.dtype))


@public
def matrix_power(a: ArrayLike, n: int) -> Value:
    """A square matrix to an integer power; negative ones are powers of the inverse."""
    x: Value = as_tensor(a)
    _require_square("matrix_power", x)
    try:
        power = int(n.__index__())
    except AttributeError:
        raise DTypeError(f"the exponent of matrix_power must be an integer, not {n!r}") from None
    if power == 0:
        i, j = ops.places(x)
        one = cast(equal(i, j), x.dtype)
        return movement.broadcast_to(one, movement.dims(x))
    if power < 0:
        x, power = inv(x), -power
    total: Value | None = None
    while power:
        if power & 1:
            total = x if total is None else matmul(total, x)
        power >>= 1
        x = matmul(x, x) if power else x
    assert total is not None
    return total


@public
def det(a: ArrayLike) -> Value:
    """The determinant of square matrices."""
    return _one("det", lambda x: emit(ops.DET, (x,)), a)


@public
def slogdet(a: ArrayLike) -> tuple[Value, ...]:
    """Sign and logarithm of the absolute value of the determinant."""
    return SlogdetResult(*_several("slogdet", ops.SLOGDET, a))


# --- factors --------------------------------------------------------------------------------------
@public
def cholesky(a: ArrayLike, *, upper: bool = False) -> Value:
    """The lower triangular L with a = L @ Lᴴ, or the upper one, of which only that triangle of a
    is read. The call raises LinAlgError where a matrix is not positive definite."""

    def factor(x: Value) -> Value:
        return ops.adjoint(emit(ops.CHOLESKY, (ops.adjoint(x),))) if upper else emit(
            ops.CHOLESKY, (x,)
        )

    return _one("cholesky", factor, a)


@public
def qr(a: ArrayLike, mode: str = "reduced") -> Any:
    """NumPy's: (Q, R) for the modes reduced and complete, R for r, (h, tau) for raw."""
    if mode not in ("reduced", "complete", "r", "raw"):
        raise OptionError(f"mode is {mode!r}", hint="one of: reduced, complete, r, raw")
    (x,), precision = prepared(a)
    require_matrices("qr", x)
    m, n = x.type.shape[-2:]
    definition = ops.QR
    if mode == "complete":
        if not (isinstance(m, int) and isinstance(n, int)):
            raise ShapeError(
                f"qr of {x.type}: the mode complete needs known extents",
                hint="give the shape when the variable is made",
            )
        definition = ops.QR_COMPLETE if m > n else ops.QR
    h, tau, q = map(precision.round, items(emit(definition, (x,))))
    if mode == "raw":
        return movement.transpose(h, [*range(h.ndim - 2), h.ndim - 1, h.ndim - 2]), tau
    r = ops.upper_part(slice_axis(h, h.ndim - 2, 0, movement.dims(q)[-1]))
    return r if mode == "r" else QRResult(q, r)


@public
def eigh(a: ArrayLike, UPLO: str = "L") -> tuple[Value, ...]:  # noqa: N803  (NumPy's name)
    """Eigenvalues, ascending, and eigenvectors (columns) of Hermitian matrices, of which one
    triangle is read."""
    x = as_tensor(a)
    require_matrices("eigh", x)
    return EighResult(*_several("eigh", ops.EIGH, ops.adjoint(x) if _triangle(UPLO) else x))


@public
def eigvalsh(a: ArrayLike, UPLO: str = "L") -> Value:  # noqa: N803  (NumPy's name)
    """The eigenvalues of Hermitian matrices, ascending."""
    x = as_tensor(a)
    require_matrices("eigvalsh", x)
    read = ops.adjoint(x) if _triangle(UPLO) else x
    return _one("eigvalsh", lambda m: emit(ops.EIGVALSH, (m,)), read)


@public
def eig(a: ArrayLike) -> tuple[Value, ...]:
    """Eigenvalues and eigenvectors (columns) of square matrices, complex also where NumPy would
    find them real. Gradients of the vectors are of those with the largest element real."""
    return EigResult(*_several("eig", eigenvalues.EIG, a))


@public
def eigvals(a: ArrayLike) -> Value:
    """The eigenvalues of square matrices, complex also where NumPy would find them real."""
    return _one("eigvals", lambda x: emit(eigenvalues.EIGVALS, (x,)), a)


@public
def svd(
    a: ArrayLike, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """(U, S, Vh) with a = (U * S) @ Vh, or S alone. Gradients of U and Vh need
    full_matrices=False."""
    if hermitian and not compute_uv:
        return _absolute_eigenvalues(a)
    if not compute_uv:
        return svdvals(a)
    if hermitian:
        (x,), precision = prepared(a)
        u, s, vh = _singular(x, True)
        s, order = _descending(s)
        u, v = (_columns(m, order) for m in (u, ops.adjoint(vh)))
        return SVDResult(*map(precision.round, (u, s, ops.adjoint(v))))
    definition = ops.SVD_FULL if full_matrices else ops.SVD
    return SVDResult(*_several("svd", definition, a))


def _absolute_eigenvalues(a: ArrayLike) -> Value:
    """The singular values of Hermitian matrices."""
    return _one("svd", lambda x: _descending(emit(ops.EIGVALSH, (x,)))[0], a)


def _descending(w: Value) -> tuple[Value, Value]:
    """Absolute values in descending order, and where they come from."""
    size = where(w < 0, -w, w)
    order = sorting.argsort(-size)
    return sorting.along(size, order), order


def _columns(x: Value, order: Value) -> Value:
    """The columns of each matrix in another order."""
    whole = movement.broadcast_to(ops.as_row(order), movement.dims(x))
    return sorting.along(x, whole)


@public
def svdvals(x: ArrayLike) -> Value:
    """The singular values, descending."""
    return _one("svdvals", lambda m: emit(ops.SVDVALS, (m,)), x)


@public
def matrix_rank(
    A: ArrayLike, tol: Any = None, hermitian: bool = False, *, rtol: Any = None  # noqa: N803
) -> Value:
    """The number of singular values above tol, by default the largest one times the larger extent
    times the precision."""
    x = as_tensor(A)
    if x.ndim < 2:
        return cast(reductions.any(x), np.int64)  # type: ignore[no-any-return]
    s = _absolute_eigenvalues(x) if hermitian else svdvals(x)
    if tol is None:
        if rtol is None:
            m, n = movement.dims(x)[-2:]
            most = max(m, n) if isinstance(m, int) and isinstance(n, int) else -ops.least(-m, -n)
            rtol = cast(as_tensor(most), s.dtype) * np.finfo(s.dtype).eps
        limit: Value = reductions.max(s, -1, keepdims=True) * as_tensor(rtol)
    else:
        given = as_tensor(tol)
        limit = movement.expand_dims(given, (given.ndim,))
    return reductions.sum(s > limit, -1)


@public
def multi_dot(arrays: Sequence[ArrayLike]) -> Value:
    """The product of several matrices (the first and the last may be vectors), in the order that
    takes the fewest multiplications where all extents are known."""
    values = [as_tensor(a) for a in arrays]
    if len(values) < 2:
        raise ShapeError(f"multi_dot takes at least two arrays, not {len(values)}")
    for k, v in enumerate(values):
        if v.ndim != 2 and not (v.ndim == 1 and k in (0, len(values) - 1)):
            raise ShapeError(f"multi_dot takes matrices, not {v.type}")
    sizes = [v.type.shape[0] if v.ndim == 2 else 1 for v in values[:1]]
    sizes += [v.type.shape[0] for v in values[1:]]
    sizes.append(values[-1].type.shape[1] if values[-1].ndim == 2 else 1)
    if not all(isinstance(s, int) for s in sizes):
        total: Value = values[0]
        for v in values[1:]:
            total = linear.dot(total, v)
        return total
    split = _cheapest([int(s) for s in sizes])  # type: ignore[arg-type]

    def product(first: int, last: int) -> Value:
        if first == last:
            return values[first]
        k = split[first, last]
        return linear.dot(product(first, k), product(k + 1, last))

    return product(0, len(values) - 1)


def _cheapest(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to split each chain of matrices (Cormen et al., section 14.2)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return split


# --- the exponential ------------------------------------------------------------------------------
#: Padé's coefficients of degree 13, and the norm up to which they are exact to double precision.
_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
    10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
_THETA = 5.371920351148152
#: No more squarings than this.
_SQUARINGS = 16


@public
def expm(a: ArrayLike) -> Value:
    """The exponential of square matrices, by scaling and squaring.

    N. Higham, "The scaling and squaring method for the matrix exponential revisited", 2005. Norms
    above 350,000 (whose exponentials are beyond all floats, or lose all digits) are not scaled any
    further.
    """
    (x,), precision = prepared(a)
    _require_square("expm", x)
    size = reductions.max(reductions.sum(F["absolute"](x), -2), -1)
    steps: Value = F["ceil"](F["log2"](F["maximum"](size / _THETA, 1.0)))
    steps = F["minimum"](where(steps >= 0, steps, 0.0), float(_SQUARINGS))
    none = constant(np.zeros(1, steps.dtype))
    most = cast(reductions.max(concatenate([movement.reshape(steps, (-1,)), none], 0)), I64)
    steps = movement.expand_dims(steps, (steps.ndim, steps.ndim + 1))
    scaled = x * cast(F["exp2"](-steps), x.dtype)
    return precision.round(fori_loop(
        0, most, lambda k, y: where(steps > cast(k, steps.dtype), matmul(y, y), y), _pade(scaled)
    ))  # fmt: skip


def _pade(x: Value) -> Value:
    """The quotient of two polynomials of degree 13 that is nearest to exp."""
    c = [constant(np.asarray(b, x.dtype)) for b in _PADE]
    i, j = ops.places(x)
    one = cast(equal(i, j), x.dtype)
    x2 = matmul(x, x)
    x4 = matmul(x2, x2)
    x6 = matmul(x4, x2)
    odd = matmul(x, matmul(x6, x6 * c[13] + x4 * c[11] + x2 * c[9])
                 + x6 * c[7] + x4 * c[5] + x2 * c[3] + one * c[1])  # fmt: skip
    even = (matmul(x6, x6 * c[12] + x4 * c[10] + x2 * c[8])
            + x6 * c[6] + x4 * c[4] + x2 * c[2] + one * c[0])  # fmt: skip
    return ops.solve(even - odd, even + odd)


@public
def matrix_transpose(x: ArrayLike) -> Value:
    """The last two axes exchanged."""
    value = as_tensor(x)
    require_matrices("matrix_transpose", value)
    return movement.transpose(value, [*range(value.ndim - 2), value.ndim - 1, value.ndim - 2])

