"""Linear algebra over stacks of matrices, by NumPy's inner loops (LAPACK), in double precision.

Adjoints: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008; J. Townsend, "Differentiating the singular value decomposition", 2016;
M. Seeger et al., "Auto-differentiating linear algebra", 2017. Where a routine reads the lower
triangle only, so does the adjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, GradientError, ShapeError
from jitgraph.ir.batching import along_rows
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    Gradient,
    OpDef,
    Routine,
    Shape,
    ShapeSource,
    Size,
    constant,
    emit,
    register,
)
from jitgraph.ir.ops.arithmetic import (
    complex_,
    conjugate,
    divide,
    equal,
    greater,
    imag,
    minimum,
    multiply,
    not_equal,
    square,
    subtract,
    where,
)
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.indexing import slice_axis, zeros_like
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.movement import dims, expand_dims, iota, transpose
from jitgraph.ir.ops.reduction import all_
from jitgraph.ir.types import F64, Bundle, Dim, DType, Type, dim_text
from jitgraph.ir.values import Value

C128 = np.dtype(np.complex128)
#: Dtypes of results, by letter: the operands', its real or complex kin, a number of columns.
_RESULT: dict[str, Callable[[DType], DType]] = {
    "=": lambda dtype: dtype,
    "r": lambda dtype: F64,
    "c": lambda dtype: C128,
    "i": lambda dtype: np.dtype(np.int32),
}


# --- signatures ---------------------------------------------------------------------------------
def _joined(name: str, what: str, a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int) and a != b:
        raise ShapeError(f"{name}: {what} {a} and {b} should be equal")
    return a if isinstance(a, int) or b is None else b


def _bound(
    name: str, signature: Sequence[str], types: Sequence[Type]
) -> tuple[tuple[Dim, ...], dict[str, Dim]]:
    """Batch and named extents of the operands; raises ShapeError where they do not fit."""
    named: dict[str, Dim] = {}
    batch: list[Dim] | None = None
    for core, type_ in zip(signature, types, strict=True):
        lead = type_.rank - len(core)
        if lead < 0:
            kind = "matrices" if len(core) == 2 else "vectors"
            raise ShapeError(f"{name} takes {kind}, not {type_}")
        for letter, dim in zip(core, type_.shape[lead:], strict=True):
            if letter not in named:
                named[letter] = dim
            elif core == letter * 2 and _differ(named[letter], dim):
                raise ShapeError(
                    f"{name} takes square matrices: the last axes of {type_} have "
                    f"{dim_text(named[letter])} and {dim_text(dim)} elements"
                )
            else:
                named[letter] = _joined(name, "the extents", named[letter], dim)
        if core:
            own = type_.shape[:lead]
            if batch is not None and len(batch) != len(own):
                raise ShapeError(f"{name}: the batches {batch} and {list(own)} differ")
            batch = [_joined(name, "the batch extents", a, b)
                     for a, b in zip(batch or own, own, strict=True)]  # fmt: skip
    return tuple(batch or ()), named


def _differ(a: Dim, b: Dim) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a != b


def _least_dim(named: Mapping[str, Dim]) -> Dim:
    m, n = named["m"], named["n"]
    return min(m, n) if isinstance(m, int) and isinstance(n, int) else None


def declare(
    name: str,
    operands: tuple[str, ...],
    results: Sequence[tuple[str, str]],
    evaluate: Callable[..., Any],
    *,
    symbols: tuple[str, ...] = (),
    library: str = "numpy.linalg",
    gradient: Gradient | None = None,
    requires: Callable[[ShapeSource, Sequence[Value], Attrs], list[Value]] | None = None,
    fails: bool = True,
    in_place: bool = False,
    dense: bool = False,
    decompose: Callable[..., Value] | None = None,
    doc: str,
) -> OpDef:
    """An op with a gufunc's signature: `results` are pairs of core and dtype letter; p is the
    smaller one of m and n."""
    cores = [core for core, _ in results]

    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        for type_, core in zip(types, operands, strict=True):
            if type_.dtype not in ((F64, C128) if core else (F64,)) or (
                core and type_.dtype != types[0].dtype
            ):
                raise DTypeError(f"{name} does not take {', '.join(map(str, types))}",
                                 hint="cast to float64 or complex128")  # fmt: skip
        batch, named = _bound(name, operands, types)
        if "p" not in named and "m" in named and "n" in named:
            named["p"] = _least_dim(named)
        made = [Type(_RESULT[kind](types[0].dtype), (*batch, *(named[c] for c in core)))
                for core, kind in results]  # fmt: skip
        return made[0] if len(made) == 1 else Bundle.of(made)

    def shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Any:
        named: dict[str, Size] = {}
        batch: Shape | None = None
        for core, arg in zip(operands, args, strict=True):
            own = source.shape(arg)
            lead = len(own) - len(core)
            for letter, size in zip(core, own[lead:], strict=True):
                named[letter] = source.same_size(named.get(letter, size), size)
            if core:
                batch = tuple(source.same_size(a, b)
                              for a, b in zip(batch or own[:lead], own[:lead], strict=True))
        if "p" not in named and "m" in named and "n" in named:
            named["p"] = least(named["m"], named["n"])
        made = tuple((*(batch or ()), *(named[c] for c in core)) for core in cores)
        return made[0] if len(made) == 1 else made

    definition = OpDef(
        name=name, infer=infer, evaluate=evaluate, shape=shape, gradient=gradient,
        requires=requires, decompose=decompose, batch=along_rows, doc=doc,
        lower=Routine(library, symbols or (name,), operands, tuple(cores), fails=fails,
                      in_place=in_place, dense=dense),
    )  # fmt: skip
    register(definition)
    return definition


def least(a: Size, b: Size) -> Size:
    """The smaller of two sizes."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a is b else minimum(a, b)


# --- pieces -------------------------------------------------------------------------------------
def adjoint(x: Value) -> Value:
    """The conjugate transpose of each matrix."""
    axes = [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2]
    turned = transpose(x, axes)
    return conjugate(turned) if x.dtype.kind == "c" else turned


def places(x: Value) -> tuple[Value, Value]:
    """The row and the column of each element of a matrix."""
    rows, columns = dims(x)[-2:]
    return expand_dims(iota(rows, type(x)), (1,)), expand_dims(iota(columns, type(x)), (0,))


def lower_part(x: Value, diagonal: float = 1.0) -> Value:
    """The lower triangle of each matrix, its diagonal scaled."""
    i, j = places(x)
    on = x if diagonal == 1.0 else multiply(x, diagonal)
    zero = constant(np.zeros((), x.dtype))
    return where(greater(i, j), x, where(equal(i, j), on, zero))  # type: ignore[no-any-return]


def upper_part(x: Value) -> Value:
    """The upper triangle of each matrix, with the diagonal."""
    i, j = places(x)
    return where(greater(i, j), constant(np.zeros((), x.dtype)), x)  # type: ignore[no-any-return]


def _folded(x: Value) -> Value:
    """The adjoint of a matrix of which only the lower triangle is read, from that of the whole."""
    return lower_part(x + adjoint(x), 0.5)


def as_column(x: Value) -> Value:
    return expand_dims(x, (x.ndim,))


def as_row(x: Value) -> Value:
    return expand_dims(x, (x.ndim - 1,))


def like(x: Value, y: Value) -> Value:
    """x in the dtype of y."""
    return x if x.dtype == y.dtype else cast(x, y.dtype)


def _inverse_differences(w: Value) -> Value:
    """1 / (w[j] - w[i]), and 0 on the diagonal."""
    difference = subtract(as_row(w), as_column(w))
    i, j = places(difference)
    same = equal(i, j)
    return where(same, 0.0, divide(1.0, where(same, 1.0, difference)))  # type: ignore[no-any-return]


# --- systems, inverses, determinants ------------------------------------------------------------
def _solve_gradient(g: Value, y: Value, a: Value, b: Value) -> list[Value]:
    of_b = solve(adjoint(a), g)
    return [-matmul(of_b, adjoint(y)), of_b]


SOLVE = declare(
    "solve", ("mm", "mn"), [("mn", "=")], np.linalg.solve, gradient=_solve_gradient,
    doc="x such that a @ x = b, for square matrices a and matrices b.",
)  # fmt: skip


def _inv_gradient(g: Value, y: Value, a: Value) -> list[Value]:
    turned = adjoint(y)
    return [-matmul(matmul(turned, g), turned)]


def _evaluate_inv_or_nan(a: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.linalg._umath_linalg.inv(a))


INV_OR_NAN = declare(
    "inverse_or_nan", ("mm",), [("mm", "=")], _evaluate_inv_or_nan, symbols=("inv",),
    gradient=_inv_gradient, fails=False,
    doc="The inverse of square matrices, NaN for singular ones.",
)  # fmt: skip
INV = declare(
    "inverse", ("mm",), [("mm", "=")], lambda a: np.linalg.inv(a), symbols=("inv",),
    gradient=_inv_gradient, doc="The inverse of square matrices.",
)  # fmt: skip


def _det_gradient(g: Value, y: Value, a: Value) -> list[Value]:
    factor = g * (conjugate(y) if y.dtype.kind == "c" else y)
    return [as_column(as_column(factor)) * adjoint(inv(a))]


DET = declare(
    "det", ("mm",), [("", "=")], lambda a: np.asarray(np.linalg.det(a)),
    gradient=_det_gradient, fails=False, doc="The determinant of square matrices.",
)  # fmt: skip


def _slogdet_gradient(g: Any, y: Value, a: Value) -> list[Value | None]:
    """The logarithm of the determinant moves by tr(a⁻¹ da): its size by the real part, its phase by
    the imaginary one."""
    of_sign, of_log = g
    factor = None if of_log is None else like(of_log, a)
    if of_sign is not None and a.dtype == C128:
        turning = imag(of_sign * conjugate(items(y)[0]))
        phase = complex_(turning * 0.0, turning)
        factor = phase if factor is None else factor + phase
    if factor is None:
        return [zeros_like(a)]
    return [as_column(as_column(factor)) * adjoint(inv(a))]


SLOGDET = declare(
    "slogdet", ("mm",), [("", "="), ("", "r")],
    lambda a: tuple(map(np.asarray, np.linalg.slogdet(a))),
    gradient=_slogdet_gradient, fails=False,
    doc="Sign (or phase) and logarithm of the absolute value of the determinant.",
)  # fmt: skip


def _lstsq_gradient(g: Any, y: Value, a: Value, b: Value, rcond: Value) -> list[Value | None]:
    of_x, of_squares, _, of_s = g
    x = items(y)[0]
    residual = b - matmul(a, x)
    of_a, of_b = zeros_like(a), zeros_like(b)
    if of_x is not None:
        t = solve(matmul(adjoint(a), a), of_x)
        of_b = matmul(a, t)
        of_a = matmul(residual, adjoint(t)) - matmul(of_b, adjoint(x))
    if of_squares is not None:
        twice = residual * like(as_row(of_squares), residual) * 2.0
        of_a, of_b = of_a - matmul(twice, adjoint(x)), of_b + twice
    if of_s is not None:
        of_a = of_a + _svdvals_gradient(of_s, items(y)[3], a)[0]
    return [of_a, of_b, None]


def _evaluate_lstsq(a: Array, b: Array, rcond: Array) -> tuple[Array, ...]:
    if a.ndim > 2:
        parts = [_evaluate_lstsq(x, y, rcond) for x, y in zip(a, b, strict=True)]
        return tuple(np.stack(part) for part in zip(*parts, strict=True))
    x, _, rank, s = np.linalg.lstsq(a, b, rcond=float(rcond))
    squares = np.linalg._umath_linalg.lstsq(a, b, rcond)[1]
    return x, squares, np.asarray(rank, np.int32), s


LSTSQ = declare(
    "lstsq", ("mn", "mk", ""), [("nk", "="), ("k", "r"), ("", "i"), ("p", "r")], _evaluate_lstsq,
    gradient=_lstsq_gradient,
    doc="The x with the least |a @ x - b|, squared residuals, the rank, singular values; singular "
    "values up to rcond times the largest count as zero. The gradient needs full column rank.",
)  # fmt: skip


# --- triangular matrices ------------------------------------------------------------------------
def _triangle(a: Value, *, lower: bool, unit: bool) -> Value:
    """What a triangular solver reads of a matrix."""
    part = lower_part(a) if lower else upper_part(a)
    if not unit:
        return part
    i, j = places(a)
    return where(equal(i, j), constant(np.ones((), a.dtype)), part)  # type: ignore[no-any-return]


def _solve_triangle(*, lower: bool, unit: bool) -> OpDef:
    name = f"solve_{'unit_' * unit}{'lower' if lower else 'upper'}"

    def evaluate(b: Array, a: Array) -> Array:
        part = np.tril(a) if lower else np.triu(a)
        if unit:
            part = np.where(np.eye(a.shape[-1], dtype=bool), 1, part)
        return np.linalg.solve(part, b)

    def gradient(g: Value, y: Value, b: Value, a: Value) -> list[Value]:
        of_b = solve_triangular(adjoint(a), g, lower=not lower, unit=unit)
        of_a = -matmul(of_b, adjoint(y))
        kept = 0.0 if unit else 1.0
        if lower:
            return [of_b, lower_part(of_a, kept)]
        return [of_b, adjoint(lower_part(adjoint(of_a), kept))]

    def requires(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
        i, j = places(args[1])
        return [] if unit else [all_(not_equal(i, j) | not_equal(args[1], 0))]

    def decompose(b: Value, a: Value) -> Value:
        if find_spec("scipy") is not None:
            return emit(definition, (b, a))
        return solve(_triangle(a, lower=lower, unit=unit), b)

    definition = declare(
        name, ("mn", "mm"), [("mn", "=")], evaluate, library="scipy.blas", gradient=gradient,
        requires=requires, decompose=decompose, fails=False, in_place=True, dense=True,
        doc=f"a⁻¹ @ b (b first), reading only the {'lower' if lower else 'upper'} triangle of a"
        + ", its diagonal taken as ones." * unit + "." * (not unit),
    )  # fmt: skip
    return definition


_TRIANGULAR = {(lower, unit): _solve_triangle(lower=lower, unit=unit)
               for lower in (True, False) for unit in (False, True)}  # fmt: skip


def solve_triangular(a: Value, b: Value, *, lower: bool, unit: bool = False) -> Value:
    """a⁻¹ @ b, where only one triangle of a is read."""
    return emit(_TRIANGULAR[lower, unit], (b, a))


def _cholesky_gradient(g: Value, y: Value, a: Value) -> list[Value]:
    middle = lower_part(matmul(adjoint(y), g), 0.5)
    left = solve_triangular(adjoint(y), middle, lower=False)
    return [_folded(adjoint(solve_triangular(adjoint(y), adjoint(left), lower=False)))]


CHOLESKY = declare(
    "cholesky", ("mm",), [("mm", "=")], lambda a: np.linalg.cholesky(a), symbols=("cholesky_lo",),
    gradient=_cholesky_gradient,
    doc="The lower triangular factor of Hermitian positive definite matrices, of which only the "
    "lower triangles are read.",
)  # fmt: skip


# --- eigenvalues --------------------------------------------------------------------------------
def _eigvalsh_gradient(g: Value, y: Value, a: Value) -> list[Value]:
    _, v = items(eigh(a))
    return [_folded(matmul(v * like(as_row(g), v), adjoint(v)))]


EIGVALSH = declare(
    "eigvalsh", ("mm",), [("m", "r")], lambda a: np.linalg.eigvalsh(a), symbols=("eigvalsh_lo",),
    gradient=_eigvalsh_gradient,
    doc="The eigenvalues of Hermitian matrices, ascending; only the lower triangles are read.",
)  # fmt: skip


def _eigh_gradient(g: Any, y: Value, a: Value) -> list[Value | None]:
    of_w, of_v = g
    w, v = items(y)
    middle = None
    if of_v is not None:
        turned = matmul(adjoint(v), of_v)
        middle = turned * like(_inverse_differences(w), turned)
    if of_w is not None:
        i, j = places(v)
        diagonal = where(equal(i, j), like(as_row(of_w), v), constant(np.zeros((), v.dtype)))
        middle = diagonal if middle is None else middle + diagonal
    if middle is None:
        return [zeros_like(a)]
    return [_folded(matmul(matmul(v, middle), adjoint(v)))]


EIGH = declare(
    "eigh", ("mm",), [("m", "r"), ("mm", "=")], lambda a: tuple(np.linalg.eigh(a)),
    symbols=("eigh_lo",), gradient=_eigh_gradient,
    doc="Eigenvalues (ascending) and eigenvectors (columns) of Hermitian matrices; only the lower "
    "triangles are read.",
)  # fmt: skip


# --- orthogonal factors -------------------------------------------------------------------------
def _svdvals_gradient(g: Value, y: Value, a: Value) -> list[Value]:
    u, _, vh = items(svd(a))
    return [matmul(u * like(as_row(g), u), vh)]


SVDVALS = declare(
    "svdvals", ("mn",), [("p", "r")], lambda a: np.linalg.svd(a, compute_uv=False),
    symbols=("svd",), gradient=_svdvals_gradient, doc="The singular values, descending.",
)  # fmt: skip


def _svd_gradient(g: Any, y: Value, a: Value) -> list[Value | None]:
    """Of complex matrices for costs that do not change with the phases of pairs of vectors, which
    are open."""
    of_u, of_s, of_vh = g
    u, s, vh = items(y)
    total = zeros_like(a) if of_s is None else matmul(u * like(as_row(of_s), u), vh)
    factors = like(_inverse_differences(square(s)), a)
    across, down = like(as_row(s), a), like(as_column(s), a)
    if of_u is not None:
        turned = matmul(adjoint(u), of_u)
        skew = turned - adjoint(turned)
        inner = factors * skew * across
        if a.dtype == C128:
            i, j = places(skew)
            zero = constant(np.zeros((), C128))
            inner = inner + where(equal(i, j), skew / (across * 2.0), zero)
        rest = (of_u - matmul(u, turned)) / across
        total = total + matmul(matmul(u, inner) + rest, vh)
    if of_vh is not None:
        turned = matmul(vh, adjoint(of_vh))
        skew = factors * (turned - adjoint(turned))
        rest = (of_vh - matmul(adjoint(turned), vh)) / down
        total = total + matmul(u, matmul(down * skew, vh) + rest)
    return [total]


SVD = declare(
    "svd", ("mn",), [("mp", "="), ("p", "r"), ("pn", "=")],
    lambda a: tuple(np.linalg.svd(a, full_matrices=False)), symbols=("svd_s",),
    gradient=_svd_gradient, doc="u, singular values (descending) and vh: a = (u * s) @ vh.",
)  # fmt: skip


def _svd_full_gradient(g: Any, y: Value, a: Value) -> list[Value | None]:
    of_u, of_s, of_vh = g
    if of_u is not None or of_vh is not None:
        raise GradientError("the gradient of all singular vectors is not determined",
                            hint="use full_matrices=False")  # fmt: skip
    return list(_svd_gradient((None, of_s, None), svd(a), a))


SVD_FULL = declare(
    "svd_full", ("mn",), [("mm", "="), ("p", "r"), ("nn", "=")],
    lambda a: tuple(np.linalg.svd(a)), symbols=("svd_f",), gradient=_svd_full_gradient,
    doc="Like `svd`, with all singular vectors.",
)  # fmt: skip


def _evaluate_qr(mode: str) -> Callable[[Array], tuple[Array, ...]]:
    def evaluate(a: Array) -> tuple[Array, ...]:
        h, tau = np.linalg.qr(a, mode="raw")
        q = np.linalg.qr(a, mode=mode)[0]  # type: ignore[call-overload]
        return np.swapaxes(h, -1, -2), tau, q

    return evaluate


def _qr_gradient(g: Any, y: Value, a: Value) -> list[Value | None]:
    """For matrices with at least as many rows as columns."""
    of_h, of_tau, of_q = g
    if of_tau is not None:
        raise GradientError("the factors of Householder's reflections have no gradient")
    m, n = a.type.shape[-2:]
    if isinstance(m, int) and isinstance(n, int) and m < n:
        raise GradientError("qr has a gradient for matrices with as many rows as columns or more")
    h, _, q = items(y)
    r = upper_part(slice_axis(h, h.ndim - 2, 0, dims(q)[-1]))
    middle = None
    if of_h is not None:
        of_r = upper_part(slice_axis(of_h, h.ndim - 2, 0, dims(q)[-1]))
        middle = matmul(r, adjoint(of_r))
    if of_q is not None:
        part = matmul(adjoint(of_q), q)
        middle = -part if middle is None else middle - part
    if middle is None:
        return [zeros_like(a)]
    strict = lower_part(middle, 0.0)
    total = matmul(q, lower_part(middle) + adjoint(strict))
    total = total if of_q is None else total + of_q
    return [adjoint(solve_triangular(r, adjoint(total), lower=False))]


QR = declare(
    "qr", ("mn",), [("mn", "="), ("p", "="), ("mp", "=")], _evaluate_qr("reduced"),
    symbols=("qr_r_raw", "qr_reduced"), library="numpy.linalg.qr", in_place=True,
    gradient=_qr_gradient,
    doc="Householder's reflections (LAPACK's geqrf; above and on the diagonal they are r), their "
    "factors, and q with as many columns as r has rows.",
)  # fmt: skip
QR_COMPLETE = declare(
    "qr_complete", ("mn",), [("mn", "="), ("n", "="), ("mm", "=")], _evaluate_qr("complete"),
    symbols=("qr_r_raw", "qr_complete"), library="numpy.linalg.qr", in_place=True,
    doc="Like `qr`, with all columns of q, for matrices with more rows than columns.",
)  # fmt: skip


# --- the ops as functions -----------------------------------------------------------------------
def solve(a: Value, b: Value) -> Value:
    """a⁻¹ @ b for matrices of one batch."""
    return emit(SOLVE, (a, b))


def inv(a: Value) -> Value:
    return emit(INV, (a,))


def eigh(a: Value) -> Value:
    return emit(EIGH, (a,))


def svd(a: Value) -> Value:
    return emit(SVD, (a,))
