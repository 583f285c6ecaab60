"""T.linalg against NumPy and SciPy: values, dtypes, stacks, errors, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, GradientError, LinAlgError, OptionError, ShapeError
from jitgraph.ir.opdef import emit
from jitgraph.ir.ops import linalg as ops
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.exponential import sin
from jitgraph.ir.values import Value
from tests.native import assert_close
from tests.test_gradients import Build, check_cases

RNG = np.random.default_rng(7)
L = T.linalg


def normal(*shape: int, dtype: Any = "f8") -> np.ndarray:
    made = RNG.normal(size=shape)
    return (made + 1j * RNG.normal(size=shape) if np.dtype(dtype).kind == "c" else made).astype(
        dtype
    )


def definite(*shape: int, dtype: Any = "f8") -> np.ndarray:
    x = normal(*shape, shape[-1], dtype=dtype)
    return (x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(shape[-1])).astype(dtype)


def check(
    ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: np.ndarray, known: bool = False,
    bound: float | None = None,
) -> None:  # fmt: skip
    """The same dtypes, shapes and numbers, natively."""
    params = [T.tensor(a.dtype, a.shape if known else (None,) * a.ndim) for a in arrays]
    made = ours(*params)
    results = list(made) if isinstance(made, tuple) else [made]
    found = jg.function(params, results)(*arrays)
    want = theirs(*arrays)
    for got, one in zip(found, want if isinstance(want, tuple) else (want,), strict=True):
        assert_close(got, np.asarray(one), ours, bound)


def several(names: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Some functions of the same names at once, ours and NumPy's."""
    both = [(getattr(L, n), getattr(np.linalg, n)) for n in names.split()]

    def call(which: int) -> Callable[..., Any]:
        def every(x: Any) -> Any:
            parts = [pair[which](x) for pair in both]
            return tuple(p for part in parts
                         for p in (part if isinstance(part, tuple) else (part,)))  # fmt: skip

        return every

    return call(0), call(1)


# --- values --------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_functions_of_definite_matrices(dtype: str) -> None:
    ours, theirs = several("inv det slogdet cholesky eigvalsh svdvals matrix_rank norm")
    check(ours, theirs, definite(2, 4, dtype=dtype))
    check(ours, theirs, definite(3, dtype=dtype), known=True)


@pytest.mark.parametrize("shape", [(2, 5, 3), (3, 5)])
def test_factors_make_up_the_matrix(shape: tuple[int, ...]) -> None:
    for dtype in ("f8", "c16", "f4"):
        ours, theirs = several("qr svdvals pinv")
        check(ours, theirs, normal(*shape, dtype=dtype), bound=1e-4 if dtype == "f4" else None)
        x = T.tensor(dtype, (None,) * len(shape))
        svd = L.svd(x, full_matrices=False)
        made = jg.function([x], (svd.U * svd.S[..., None, :]) @ svd.Vh)
        a = normal(*shape, dtype=dtype)
        assert_close(made(a), a)


def test_eigenvectors() -> None:
    for dtype in ("f8", "c16"):
        for uplo in "LU":
            # The signs (phases) of vectors are open.
            check(lambda x, u=uplo: tuple(map(abs, L.eigh(x, u))),
                  lambda x, u=uplo: tuple(map(abs, np.linalg.eigh(x, u))),
                  definite(2, 3, dtype=dtype))  # fmt: skip
    x = T.dtensor3()
    w, v = L.eig(x)
    a = normal(2, 4, 4)
    residual = x.astype("complex128") @ v - v * w[..., None, :]
    found = jg.function([x], [w, residual, L.eigvals(x)])(a)
    assert_close(found[0], np.linalg.eig(a)[0].astype("c16"))
    assert_close(found[1], np.zeros((2, 4, 4), "c16"))
    assert_close(found[2], np.linalg.eigvals(a).astype("c16"))


@pytest.mark.parametrize("dtype", ["f8", "c16"])
def test_systems(dtype: str) -> None:
    a, b, v = normal(2, 3, 3, dtype=dtype), normal(3, 2, dtype=dtype), normal(3, dtype=dtype)
    check(L.solve, np.linalg.solve, a, b)
    check(L.solve, np.linalg.solve, a, v)
    check(L.solve, np.linalg.solve, a[0], normal(4, 3, 1, dtype=dtype))
    check(L.solve, np.linalg.solve, a[:, None], normal(3, 3, 2, dtype=dtype)[None])
    options = [{"lower": lower, "trans": trans, "unit_diagonal": unit}
               for lower in (True, False) for trans in (0, 1, 2)
               for unit in (True, False)]  # fmt: skip
    check(lambda x, y: tuple(L.solve_triangular(x, y, **o) for o in options),
          lambda x, y: tuple(scipy.linalg.solve_triangular(x, y, **o) for o in options),
          a[0] + 3 * np.eye(3), b)  # fmt: skip
    s = definite(3, dtype=dtype)
    for lower in (True, False):
        check(lambda x, y, k=lower: L.cho_solve(L.cho_factor(x, k), y),
              lambda x, y, k=lower: scipy.linalg.cho_solve(scipy.linalg.cho_factor(x, k), y),
              s, b)  # fmt: skip
        check(lambda x, k=lower: L.cholesky(x, upper=not k),
              lambda x, k=lower: np.linalg.cholesky(x, upper=not k), s)  # fmt: skip


@pytest.mark.parametrize("shapes", [((5, 3), (5, 2)), ((5, 3), (5,)), ((3, 5), (3, 2)),
                                    ((3, 3), (3,))])  # fmt: skip
def test_least_squares(shapes: Any) -> None:
    a, b = (normal(*s) for s in shapes)
    check(lambda x, y: (*L.lstsq(x, y)[:2], T.cast(L.lstsq(x, y)[2], "int32"), L.lstsq(x, y)[3]),
          lambda x, y: (lambda r: (*r[:2], np.asarray(r[2], "i4"), r[3]))(
              np.linalg.lstsq(x, y, rcond=None)), a, b)  # fmt: skip
    a[:, -1] = a[:, 0]  # of less than full rank: no residuals
    check(lambda x, y: L.lstsq(x, y)[:2],
          lambda x, y: np.linalg.lstsq(x, y, rcond=None)[:2], a, b, bound=1e-8)  # fmt: skip


def test_modes_of_qr() -> None:
    for shape in ((4, 2), (2, 4), (2, 3, 3)):
        for mode in ("complete", "raw"):
            check(lambda x, m=mode: tuple(L.qr(x, m)), lambda x, m=mode: tuple(np.linalg.qr(x, m)),
                  normal(*shape), known=True)  # fmt: skip
        check(lambda x: L.qr(x, "r"), lambda x: np.linalg.qr(x, "r"), normal(*shape))


ORDERS = [None, "fro", "nuc", math.inf, -math.inf, 1, -1, 2, -2]


def test_norms() -> None:
    for dtype in ("c16", "int64"):
        x = (normal(3, 4, 2, dtype="c16" if dtype == "c16" else "f8") * 9).astype(dtype)
        for keep in (False, True):
            check(lambda v, k=keep: tuple(L.norm(v, o, (0, 2), k) for o in ORDERS),
                  lambda v, k=keep: tuple(np.linalg.norm(v, o, (0, 2), k) for o in ORDERS),
                  x)  # fmt: skip
            vector = [None, math.inf, -math.inf, 0, 1, -1, 2, -2, 3, 0.5]
            check(lambda v, k=keep, o=vector: tuple(L.norm(v, i, 1, k) for i in o),
                  lambda v, k=keep, o=vector: tuple(np.linalg.norm(v, i, 1, k) for i in o),
                  x)  # fmt: skip
        check(L.norm, np.linalg.norm, x)
    check(lambda x: tuple(L.cond(x, o) for o in ORDERS if o != "nuc"),
          lambda x: tuple(np.linalg.cond(x, o) for o in ORDERS if o != "nuc"),
          normal(2, 3, 3))  # fmt: skip
    singular = jg.function([x := T.dmatrix()], [L.cond(x), L.cond(x, 1)])(np.zeros((2, 2)))
    assert all(np.isinf(s) or np.isnan(s) for s in singular)


def test_powers_products_and_exponentials() -> None:
    powers = (0, 1, 2, 5, -1, -3)
    check(lambda x: tuple(L.matrix_power(x, n) for n in powers),
          lambda x: tuple(np.linalg.matrix_power(x, n) for n in powers),
          normal(2, 3, 3), bound=1e-8)  # fmt: skip
    arrays = [normal(*s) for s in ((3, 20), (20, 4), (4, 7), (7,))]
    for known in (True, False):
        check(lambda *xs: L.multi_dot(xs), lambda *xs: np.linalg.multi_dot(xs), *arrays,
              known=known)  # fmt: skip
    scales = np.array([1e-3, 1.0, 30.0])[:, None, None]
    check(L.expm, scipy.linalg.expm, normal(3, 4, 4) * scales, bound=1e-9)
    check(L.expm, scipy.linalg.expm, normal(3, 3, dtype="c16"))
    check(L.tensorinv, np.linalg.tensorinv, normal(4, 6, 8, 3), bound=1e-8)
    check(L.tensorsolve, np.linalg.tensorsolve, normal(2, 3, 6), normal(2, 3), bound=1e-8)
    rank = normal(4, 2) @ normal(2, 5)
    check(L.matrix_rank, lambda x: np.asarray(np.linalg.matrix_rank(x)), rank)
    check(lambda x: L.pinv(x), np.linalg.pinv, rank, bound=1e-8)
    check(lambda x: L.pinv(x, hermitian=True), lambda x: np.linalg.pinv(x, hermitian=True),
          definite(3))  # fmt: skip


def test_no_elements_at_all() -> None:
    ours, theirs = several("inv det slogdet cholesky eigvalsh")
    check(ours, theirs, np.zeros((0, 3, 3)))
    check(ours, theirs, np.zeros((2, 0, 0)))
    check(L.solve, np.linalg.solve, np.eye(3), np.zeros((3, 0)))
    check(lambda x, y: L.solve_triangular(x, y, lower=True), np.linalg.solve, np.eye(3),
          np.zeros((3, 0)))  # fmt: skip


def test_integers_are_computed_in_double_precision() -> None:
    check(L.inv, np.linalg.inv, np.array([[2, 1], [1, 1]]))
    check(L.det, lambda x: np.asarray(np.linalg.det(x)), np.array([[2, 1], [1, 1]], "i1"))


def test_any_memory_is_read_as_it_lies() -> None:
    x = T.dmatrix()
    f = jg.function([x], [L.inv(x), L.cholesky(x), L.solve_triangular(x, x.T, lower=True),
                          L.qr(x)[1]])  # fmt: skip
    a = definite(6)
    wide = np.zeros((12, 18))
    wide[::2, ::3] = a
    for layout in (a, np.asfortranarray(a), a[::-1, ::-1][::-1, ::-1], wide[::2, ::3]):
        for got, want in zip(f(layout), f(a), strict=True):
            np.testing.assert_array_equal(got, want)


# --- errors --------------------------------------------------------------------------------------
def test_errors_when_the_expression_is_built() -> None:
    x = T.tensor("float64", (3, 4))
    for f in (L.inv, L.det, L.cholesky, L.eigh, L.eig, L.expm, L.slogdet, L.eigvals):
        with pytest.raises(ShapeError, match=r"square|equal"):
            f(x)
    with pytest.raises(ShapeError, match="matrices"):
        L.inv(T.dvector())
    with pytest.raises(DTypeError, match="f16"):
        L.inv(T.tensor("float16", (None, None)))
    with pytest.raises(ShapeError):
        L.solve(T.tensor("float64", (3, 3)), T.tensor("float64", (4, 1)))
    with pytest.raises(OptionError):
        L.qr(x, "economic")
    with pytest.raises(OptionError):
        L.norm(x, "nuclear")


def test_a_failing_call_says_where_and_is_numpys_error() -> None:
    x = T.dmatrix("x")
    cases = {
        "Singular": (L.inv(x), np.zeros((2, 2))),
        "positive definite": (L.cholesky(x), -np.eye(2)),
        "isfinite|check": (L.eigvals(x), np.full((2, 2), np.nan)),
    }
    for message, (y, bad) in cases.items():
        f = jg.function([x], y)
        with pytest.raises((LinAlgError, ShapeError), match=message) as caught:
            f(bad)
        assert "test_linalg.py" in str(caught.value)
        f(np.eye(2))
    with pytest.raises(np.linalg.LinAlgError):
        jg.function([x], L.solve(x, x))(np.ones((3, 3)))
    np.testing.assert_array_equal(jg.function([x], L.inv(x))(np.full((2, 2), np.nan)), np.nan)


def test_a_failing_update_changes_nothing() -> None:
    s = jg.shared(np.eye(2), name="s")
    x = T.dmatrix("x")
    f = jg.function([x], [], updates=[(s, s + L.inv(x))])
    with pytest.raises(np.linalg.LinAlgError):
        f(np.zeros((2, 2)))
    np.testing.assert_array_equal(s.get_value(), np.eye(2))


# --- gradients -----------------------------------------------------------------------------------
def _both(definition: Any, *parts: int) -> Build:
    def build(*xs: Value) -> Value:
        made = items(emit(definition, xs))
        total: Any = 0.0
        for k in parts:
            total = total + (sin(made[k] * made[k])).sum()  # type: ignore[attr-defined]
        return total

    return build


def _variables(build: Callable[..., Any]) -> Build:
    """A case written with the user's functions."""
    return lambda *xs: build(*map(T.as_tensor, xs))


SPD = definite(3)


def regular(*shape: int) -> np.ndarray:
    return normal(*shape) + 3 * np.eye(shape[-1])


DIFFERENTIABLE: dict[str, tuple[Build, list[np.ndarray]]] = {
    "solve": (lambda a, b: sin(ops.solve(a, b)), [regular(2, 2, 2), normal(2, 2, 3)]),
    "inv": (lambda a: sin(ops.inv(a)), [regular(3, 3)]),
    "inv_or_nan": (lambda a: sin(emit(ops.INV_OR_NAN, (a,))), [regular(2, 2)]),
    "det": (lambda a: emit(ops.DET, (a,)), [normal(2, 3, 3)]),
    "slogdet": (lambda a: items(emit(ops.SLOGDET, (a,)))[1], [regular(2, 2, 2)]),
    "cholesky": (lambda a: sin(emit(ops.CHOLESKY, (a,))), [SPD]),
    "eigvalsh": (lambda a: sin(emit(ops.EIGVALSH, (a,))), [SPD]),
    "svdvals": (lambda a: sin(emit(ops.SVDVALS, (a,))), [normal(2, 3)]),
    "lower": (lambda a, b: sin(ops.solve_triangular(a, b, lower=True)), [SPD, normal(3, 2)]),
    "upper": (lambda a, b: sin(ops.solve_triangular(a, b, lower=False)), [SPD, normal(3, 2)]),
    "unit": (lambda a, b: sin(ops.solve_triangular(a, b, lower=True, unit=True)),
             [normal(2, 2), normal(2, 1)]),
}  # fmt: skip


def test_gradients() -> None:
    check_cases(DIFFERENTIABLE, 2)


def test_gradients_of_factors() -> None:
    """Signs of vectors are open, so costs are of their squares."""
    cases: dict[str, Any] = {
        "eigh": (lambda a: sum_of_squares(*L.eigh(a)), [SPD]),
        "svd": (lambda a: sum_of_squares(*L.svd(a, False)), [normal(3, 2)]),
        "wide svd": (lambda a: sum_of_squares(*L.svd(a, False)), [normal(2, 3)]),
        "qr": (lambda a: sum_of_squares(*L.qr(a)), [normal(4, 3)]),
        "r": (lambda a: sum_of_squares(L.qr(a, "r")), [normal(3, 3)]),
        "lstsq": (lambda a, b: sum_of_squares(L.lstsq(a, b)[0]), [normal(4, 2), normal(4, 2)]),
        "pinv": (lambda a: sum_of_squares(L.pinv(a)), [normal(3, 2)]),
        "norm": (lambda a: L.norm(a, "nuc") + L.norm(a, 2) + L.norm(a), [normal(3, 2)]),
        "expm": (lambda a: sum_of_squares(L.expm(a)), [normal(2, 2)]),
        "power": (lambda a: sum_of_squares(L.matrix_power(a, -2)), [regular(2, 2)]),
        "cho_solve": (lambda a, b: sum_of_squares(L.cho_solve(L.cho_factor(a), b)),
                      [SPD, normal(3)]),
    }  # fmt: skip
    for name, (build, arrays) in cases.items():
        xs = [T.tensor("float64", (None,) * a.ndim) for a in arrays]
        cost = build(*xs)
        f = jg.function(xs, [cost, *T.grad(cost, xs)])
        _, *found = f(*arrays)
        for k, array in enumerate(arrays):
            for i in range(array.size):
                moved = []
                for step in (1e-6, -1e-6):
                    changed = [a.copy() for a in arrays]
                    changed[k].flat[i] += step
                    moved.append(f(*changed)[0])
                slope = (moved[0] - moved[1]) / 2e-6
                np.testing.assert_allclose(found[k].flat[i], slope, rtol=1e-5, atol=1e-5,
                                           err_msg=f"{name}, operand {k}, element {i}")  # fmt: skip


def sum_of_squares(*xs: Any) -> Any:
    return sum((T.sin(x * x) * (k + 1)).sum() for k, x in enumerate(xs))


def test_what_has_no_gradient_says_so() -> None:
    x = T.dmatrix("x")
    with pytest.raises(GradientError, match="not determined"):
        T.grad(L.svd(x)[0].sum(), x)


def _rotated(a: Any) -> Any:
    """Of pairs of singular vectors, whose phases are open, by what does not change with them."""
    u, s, vh = L.svd(a, False)
    return (u * (s.shape[0] - T.arange(s.shape[0]))) @ vh + 0.3 * u @ T.conj(u).T @ a


COMPLEX_COSTS: dict[str, Callable[[Any], Any]] = {
    "eigvals": L.eigvals,
    "eig": lambda a: L.eig(a)[1] * L.eig(a)[0],
    "svd": _rotated,
    "slogdet": lambda a: L.slogdet(a)[0] + L.slogdet(a)[1],
    "lstsq": lambda a: sum(T.sin(r).sum() for k, r in enumerate(L.lstsq(a[:, :2], a[:, 2:]))
                           if k != 2),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_gradients_by_complex_results(dtype: str) -> None:
    """Along random directions. Eigenvectors have their largest element real, as LAPACK's have."""
    rng = np.random.default_rng(8)
    x = T.tensor(dtype, (None, None), "x")

    def drawn() -> np.ndarray:
        made = rng.normal(size=(4, 4))
        return made + 1j * rng.normal(size=(4, 4)) if dtype == "complex128" else made

    costs = []
    for cost in COMPLEX_COSTS.values():
        y = cost(x)
        weights = np.cos(np.arange(4.0**y.ndim)).reshape((4,) * y.ndim)
        costs.append(((T.real(y) + 0.3 * T.imag(y)) * weights).sum())
    f = jg.function([x], costs)
    g = jg.function([x], [T.grad(cost, x) for cost in costs])
    a, step = drawn(), drawn()
    ends = f(a + 1e-6 * step), f(a - 1e-6 * step)
    for name, found, high, low in zip(COMPLEX_COSTS, g(a), *ends, strict=True):
        slope = np.sum(np.real(np.conj(found) * step))
        np.testing.assert_allclose(slope, (high - low) / 2e-6, rtol=1e-6, err_msg=name)
