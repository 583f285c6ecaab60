"""Errors of the special functions: the bounds are those of the table in docs/mathlib.md.

In f64 the reference is mpmath, since SciPy is often less exact; in f32 and f16 it is SciPy in f64.
Results at poles and ends of domains are SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
from scalar_kernels import DTYPES, Array, compile_kernels

from jitgraph.ir.opdef import OPS
from jitgraph.ir.ops.special import FORMULAS, SLOPES

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "mathlib.md"
HEAD = "| special function | f64 | f32 | f16 | counted in |"
COUNT = 60
Draw = Callable[[np.random.Generator, int], Array]
Scale = Callable[..., Any]


# --- operands ------------------------------------------------------------------------------------
def magnitudes(low: float, high: float) -> Draw:
    return lambda rng, n: 2.0 ** rng.uniform(low, high, n)


def uniform(low: float, high: float) -> Draw:
    return lambda rng, n: rng.uniform(low, high, n)


def beside(point: float, least: float = -40) -> Draw:
    return lambda rng, n: point + rng.choice([-1.0, 1.0], n) * 2.0 ** rng.uniform(least, -3, n)


def below_one(rng: np.random.Generator, n: int) -> Array:
    return 1 - 2.0 ** rng.uniform(-50, -1, n)


def around_three(rng: np.random.Generator, n: int) -> Array:
    return 3 + rng.uniform(-2, 2, n)


def negative(draw: Draw) -> Draw:
    return lambda rng, n: -draw(rng, n)


# --- what an error is counted in -----------------------------------------------------------------
def _result(y: Any, *operands: Any) -> Any:
    return abs(y)


def _result_or_one(y: Any, *operands: Any) -> Any:
    return max(abs(y), 1)


def _amplitude(y: Any, x: Any) -> Any:
    return max(abs(y), min(1, mpmath.sqrt(2 / (mpmath.pi * abs(x)))))


def _steepness(y: Any, *operands: Any) -> Any:
    return abs(y) * (1 + abs(mpmath.log(abs(y)))) if y else y


ULP, ONE = "ULP", "ULP of the result or 1, the larger"
WAVE, STEEP = "ULP of the result or sqrt(2/πx)", "ULP times 1 + \\|log y\\|"
UNITS: dict[str, Scale] = {ULP: _result, ONE: _result_or_one, WAVE: _amplitude, STEEP: _steepness}


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    row: str
    exact: Callable[..., Any]
    draws: list[tuple[Draw, ...]]
    unit: str = ULP

    @property
    def name(self) -> str:
        return self.row.split(",")[0]


def _log_gamma(x: Any) -> Any:
    return mpmath.loggamma(x).real


def _inverse(start: Callable[[float], float], off: Callable[..., Any]) -> Callable[..., Any]:
    """The root that SciPy finds, made exact by Newton's method: off(z, y) is the step."""

    def exact(y: Any) -> Any:
        z = mpmath.mpf(float(start(float(y))))
        for _ in range(4):
            z -= off(z, y)
        return z

    return exact


def _erf_slope(z: Any) -> Any:
    return 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-z * z)


def _normal(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _log_normal(x: Any) -> Any:
    return mpmath.log(_normal(x)) if x < 0 else mpmath.log1p(-_normal(-x))


def _xlogx(x: Any, y: Any) -> Any:
    return x * mpmath.log(x / y)


def _erfcx(x: Any) -> Any:
    return mpmath.exp(x * x) * mpmath.erfc(x)


def _gammainc(a: Any, x: Any) -> Any:
    return mpmath.gammainc(a, 0, x, regularized=True)


def _gammaincc(a: Any, x: Any) -> Any:
    return mpmath.gammainc(a, x, regularized=True)


def _betainc(a: Any, b: Any, x: Any) -> Any:
    return mpmath.betainc(a, b, 0, x, regularized=True)


WIDE = [(magnitudes(-60, 60),), (uniform(0, 12),)]
SIGNED = [*WIDE, (negative(magnitudes(-60, 4)),)]
LIGHT = (magnitudes(-12, 5), magnitudes(-12, 5))
CASES = [
    Case("gamma", mpmath.gamma, [(uniform(-30, 33),), (uniform(-170, 171),),
                                 (beside(0.0, -60),), (beside(-2.0),)]),
    Case("gammaln", _log_gamma, [*WIDE, (beside(1.0),), (beside(2.0),)]),
    Case("gammaln, x < 0", _log_gamma, [(uniform(-30, 0),)], ONE),
    Case("digamma", mpmath.digamma, [*WIDE, (beside(1.4616321449683622),)]),
    Case("digamma, x < 0", mpmath.digamma, [(uniform(-30, 0),)], ONE),
    Case("trigamma", lambda x: mpmath.polygamma(1, x), [*WIDE, (uniform(-30, 0),)]),
    Case("hurwitz_zeta", mpmath.zeta, [(uniform(1.01, 20), magnitudes(-6, 5))]),
    Case("riemann_zeta", mpmath.zeta, [(uniform(-8, 30),), (beside(1.0),)], ONE),
    Case("gammasgn", lambda x: mpmath.sign(mpmath.gamma(x)), [(uniform(-9, 9),)]),
    Case("beta", mpmath.beta, [LIGHT, (magnitudes(-8, 9), magnitudes(-8, 9))], STEEP),
    Case("betaln", lambda a, b: mpmath.log(abs(mpmath.beta(a, b))), [LIGHT], ONE),
    Case("binom", mpmath.binomial, [(uniform(0, 60), uniform(0, 9))], STEEP),
    Case("poch", mpmath.rf, [(magnitudes(-9, 9), uniform(-4, 20))], STEEP),
    Case("gammainc", _gammainc, [(magnitudes(-8, 6), magnitudes(-8, 7)),
                                 (uniform(210, 300), uniform(200, 310))], STEEP),
    Case("gammaincc", _gammaincc, [(magnitudes(-8, 6), magnitudes(-8, 7)),
                                   (uniform(210, 300), uniform(200, 310))], STEEP),
    Case("betainc", _betainc, [(magnitudes(0, 5), magnitudes(0, 5), uniform(0.01, 0.99))], STEEP),
    Case("erfcx", _erfcx, [(uniform(-26, 27),), (magnitudes(-60, 6),)]),
    Case("erfinv", _inverse(scipy.special.erfinv,
                            lambda z, y: (mpmath.erf(z) - y) / _erf_slope(z)),
         [(uniform(-1, 1),), (magnitudes(-60, 0),), (below_one,)]),
    Case("erfcinv", _inverse(scipy.special.erfcinv,
                             lambda z, y: (y - mpmath.erfc(z)) / _erf_slope(z)),
         [(uniform(0.01, 1.99),), (magnitudes(-1000, 0),)], ONE),
    Case("ndtr", _normal, [(uniform(-37, 9),), (negative(magnitudes(-60, 5)),)]),
    Case("log_ndtr", _log_normal, [(uniform(-90, 9),), (negative(magnitudes(-60, 9)),)]),
    Case("ndtri", _inverse(scipy.special.ndtri, lambda z, p: (_normal(z) - p)
                           / mpmath.npdf(z)), [(uniform(0, 1),), (magnitudes(-1000, -1),)], ONE),
    Case("i0", lambda x: mpmath.besseli(0, x), [*WIDE[1:], (negative(magnitudes(-60, 9)),)]),
    Case("i1", lambda x: mpmath.besseli(1, x), [*WIDE[1:], (negative(magnitudes(-60, 9)),)]),
    Case("i0e", lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)),
         [*WIDE[1:], (negative(magnitudes(-60, 9)),)]),
    Case("i1e", lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)),
         [*WIDE[1:], (negative(magnitudes(-60, 9)),)]),
    Case("j0", lambda x: mpmath.besselj(0, x), [(uniform(0, 40),), (magnitudes(-60, 17),)], WAVE),
    Case("j1", lambda x: mpmath.besselj(1, x), [(uniform(-40, 40),), (magnitudes(-3, 17),)], WAVE),
    Case("y0", lambda x: mpmath.bessely(0, x), [(uniform(0, 40),), (magnitudes(-60, 17),)], WAVE),
    Case("y1", lambda x: mpmath.bessely(1, x), [(uniform(0, 40),), (magnitudes(-60, 17),)], WAVE),
    Case("xlogy", lambda x, y: x * mpmath.log(y), [LIGHT]),
    Case("xlog1py", lambda x, y: x * mpmath.log1p(y), [LIGHT]),
    Case("entr", lambda x: -x * mpmath.log(x), [(magnitudes(-60, 30),), (beside(1.0),)]),
    Case("rel_entr", _xlogx, [LIGHT, (around_three, around_three)]),
    Case("logit", lambda x: mpmath.log(x / (1 - x)),
         [(uniform(0, 1),), (magnitudes(-60, -1),), (beside(0.5),)]),
    Case("exprel", lambda x: mpmath.expm1(x) / x, [*SIGNED[1:], (magnitudes(-60, 4),)]),
    Case("sinc", lambda x: mpmath.sincpi(x), [(uniform(-9, 9),), (beside(3.0),)]),
]  # fmt: skip


@cache
def bounds() -> dict[str, tuple[dict[str, float], str]]:
    """The table: for each row the bounds by dtype, and what they are counted in."""
    lines = DOCUMENT.read_text().split(HEAD)[1].splitlines()[2:]
    rows = {}
    for line in lines:
        if not line.startswith("| "):
            break
        row, f64, f32, f16, unit = line[2:-2].split(" | ")
        rows[row] = ({"f64": float(f64), "f32": float(f32), "f16": float(f16)}, unit)
    return rows


@cache
def compiled() -> dict[str, Callable[..., Array]]:
    return compile_kernels({
        f"{name}.{d}": (OPS[name], [DTYPES[d]] * OPS[name].arity)  # type: ignore[attr-defined, dict-item]
        for name in FORMULAS for d in ("f16", "f32", "f64")
    })  # fmt: skip


def operands(case: Case, dtype: str, count: int) -> list[Array]:
    rng = np.random.default_rng(17)
    parts = [[draw(rng, count) for draw in draws] for draws in case.draws]
    with np.errstate(over="ignore"):
        return [np.concatenate(column).astype(DTYPES[dtype])
                for column in zip(*parts, strict=True)]  # fmt: skip


def errors(case: Case, results: list[Array], given: list[Array], info: Any) -> list[Any]:
    """The largest error of each array of results, and where: against mpmath."""
    worst: list[Any] = [(0.0, None)] * len(results)
    with mpmath.workdps(40):
        for k, row in enumerate(zip(*given, strict=True)):
            args = [mpmath.mpf(float(x)) for x in row]
            exact = mpmath.mpf(case.exact(*args).real)
            if not info.tiny < abs(exact) < info.max:
                continue
            size = UNITS[case.unit](exact, *args)
            exponent = max(int(mpmath.frexp(size)[1]) - 1, info.minexp)
            ulp = mpmath.ldexp(1, exponent - info.nmant)
            for which, y in enumerate(results):
                error = float(abs(mpmath.mpf(float(y[k])) - exact) / ulp)
                if not error <= worst[which][0]:
                    worst[which] = (error, (*row, y[k]))
    return worst


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_doubles_are_as_exact_as_documented(case: Case) -> None:
    """Compiled and interpreted."""
    given = operands(case, "f64", COUNT)
    with np.errstate(all="ignore"):
        results = [compiled()[f"{case.name}.f64"](*given), OPS[case.name].evaluate(*given)]
    limits, unit = bounds()[case.row]
    assert unit == case.unit
    for error, where in errors(case, results, given, np.finfo(np.float64)):
        assert error <= limits["f64"], where


def _sinc(x: Array) -> Array:
    """np.sinc, which has no exact zeros, with them."""
    return np.where(np.isfinite(x) & (x == np.rint(x)), x == 0, np.sinc(x)).astype(x.dtype)


def scipys(name: str) -> Callable[..., Any]:
    made: dict[str, Callable[..., Any]] = {
        "trigamma": lambda x: scipy.special.polygamma(1, x), "sinc": _sinc,
        "hurwitz_zeta": scipy.special.zeta, "riemann_zeta": scipy.special.zeta,
    }  # fmt: skip
    return made.get(name) or getattr(scipy.special, name)  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", ["f32", "f16"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_narrower_floats_are_as_exact_as_documented(case: Case, dtype: str) -> None:
    given = operands(case, dtype, 20 * COUNT)
    info = np.finfo(DTYPES[dtype])
    with np.errstate(all="ignore"):
        exact = scipys(case.name)(*(x.astype(np.float64) for x in given))
        got = compiled()[f"{case.name}.{dtype}"](*given).astype(np.float64)
        size = np.abs(exact)
        if case.unit == ONE:
            size = np.maximum(size, 1)
        elif case.unit == WAVE:
            x = np.abs(given[0].astype(np.float64))
            size = np.maximum(size, np.minimum(1, np.sqrt(2 / (np.pi * x))))
        unit = np.maximum(2.0 ** np.floor(np.log2(size)), float(info.tiny)) * float(info.eps)
        fit = (np.abs(exact) > float(info.tiny)) & (np.abs(exact) < float(info.max))
        error = np.where(fit, np.abs(got - exact) / unit, 0)
    k = int(np.argmax(error))
    where = (*(x[k] for x in given), got[k], exact[k])
    assert error[k] <= bounds()[case.row][0][dtype], where


def test_every_function_has_a_row() -> None:
    assert {case.name for case in CASES} == set(FORMULAS) - SLOPES
    assert {case.row for case in CASES} == set(bounds())


# --- special values ------------------------------------------------------------------------------
POINTS = [0.0, 1.0, 2.0, 3.0, 0.25, 0.5, 1.5, 30.5, 170.5, 172.0, 1e3, 1e10, 1e300, np.inf,
          1e-10, 1e-300]  # fmt: skip


def _infinite(*x: Array) -> Any:
    return np.logical_or.reduce([np.isinf(v) for v in x])


def _beyond(limit: float, *x: Array) -> Any:
    return np.logical_or.reduce([(v < 0) | (v > limit) | np.isnan(v) for v in x])


def _far_apart(a: Array, b: Array) -> Any:
    """A tiny number beside a large one, or two huge ones."""
    return (np.maximum(a, b) > 100) & ((np.minimum(a, b) < 1e-200) | (np.minimum(a, b) > 1e99))


#: Where we differ on purpose: from SciPy's NaN for limits that exist, its signs of poles at
#: negative operands, and results that it computes wrong or from NaN.
DIFFERENT: dict[str, Callable[..., Any]] = {
    "i0": _infinite, "i1": _infinite,
    "beta": lambda a, b: _beyond(np.inf, a, b) | _far_apart(a, b),
    "betaln": lambda a, b: _beyond(np.inf, a, b) | _far_apart(a, b),
    "binom": lambda n, k: _infinite(n, k) | _beyond(1e9, n, k) | _far_apart(n, k) | (k < 1e-99),
    "poch": lambda z, m: _infinite(z, m) | _beyond(1e9, z, m) | _far_apart(z, m),
    **dict.fromkeys(("j0", "j1", "y0", "y1"), lambda x: np.abs(x) > 1e6),
    "gammainc": lambda a, x: a > 1e9, "gammaincc": lambda a, x: a > 1e9,
    "betainc": lambda a, b, x: _infinite(a, b),
    "hurwitz_zeta": lambda s, q: (q < -1000) | np.isnan(s + q) | (s > 1e9),
    "riemann_zeta": lambda s: (s < -1000) | np.isinf(s),
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in FORMULAS if n not in SLOPES])
def test_special_values_are_scipys(name: str) -> None:
    """All combinations of zeros, poles, infinities, NaN and extreme numbers."""
    points = np.array([*POINTS, *(-p for p in POINTS), np.nan])
    op: Any = OPS[name]
    if op.arity == 3:
        points = points[np.abs(points) < 200]
    given = [p.ravel() for p in np.meshgrid(*[points] * op.arity)]
    with np.errstate(all="ignore"):
        got, want = compiled()[f"{name}.f64"](*given), np.asarray(scipys(name)(*given))
        same = np.isclose(got, want, rtol=1e-8, atol=1e-12, equal_nan=True) | (got == want)
        same |= DIFFERENT.get(name, lambda *x: np.zeros(x[0].shape, bool))(*given)
    wrong = np.flatnonzero(~same)[:6]
    assert same.all(), [(*(x[k] for x in given), got[k], want[k]) for k in wrong]


# --- derivatives by parameters -------------------------------------------------------------------
def _by(which: int, f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *x: mpmath.diff(lambda t: f(*x[:which], t, *x[which + 1 :]), x[which], h=1e-15)


POSITIVE: tuple[Draw, ...] = (magnitudes(-4, 10), magnitudes(-4, 10))
DERIVATIVES: dict[str, tuple[Callable[..., Any], list[tuple[Draw, ...]]]] = {
    "gammainc_slope": (_by(0, _gammainc), [POSITIVE, (uniform(90, 110), uniform(80, 130))]),
    "betainc_slope_a": (_by(0, _betainc), [(uniform(0.1, 9), uniform(0.1, 9), uniform(0, 1))]),
    "betainc_slope_b": (_by(1, _betainc), [(uniform(0.1, 9), uniform(0.1, 9), uniform(0, 1))]),
    "zeta_slope": (lambda s, q: mpmath.zeta(s, q, 1), [(uniform(1.01, 12), magnitudes(-6, 5))]),
    "riemann_slope": (lambda s: mpmath.zeta(s, 1, 1), [(uniform(-8, 20),), (beside(1.0),)]),
}


@pytest.mark.parametrize("name", sorted(SLOPES))
def test_derivatives_by_parameters(name: str) -> None:
    """Compiled and interpreted, of results that are not next to nothing."""
    exact, draws = DERIVATIVES[name]
    rng = np.random.default_rng(5)
    given = [np.concatenate(c) for c in zip(*[[d(rng, 20) for d in row] for row in draws],
                                            strict=True)]  # fmt: skip
    with np.errstate(all="ignore"):
        results = [compiled()[f"{name}.f64"](*given), OPS[name].evaluate(*given)]
    with mpmath.workdps(40):
        want = np.array([float(exact(*map(mpmath.mpf, map(float, row))).real)
                         for row in zip(*given, strict=True)])  # fmt: skip
    large = np.abs(want) > 1e-20
    for found in results:
        np.testing.assert_allclose(found[large], want[large], rtol=1e-11)
