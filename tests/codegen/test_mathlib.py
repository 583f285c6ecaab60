"""Errors of the math library in units in the last place, against mpmath."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from scalar_kernels import DTYPES, Array, compile_kernels

from jitgraph.codegen.mathlib.angles import BOUNDS
from jitgraph.codegen.mathlib.pieces import ERF, TANH
from jitgraph.ir.opdef import OPS

Draw = Callable[[np.random.Generator, int, bool], Array]
COUNT = 250


def magnitudes(low: float, high: float) -> Draw:
    """Numbers of either sign with evenly spread logarithms."""
    return lambda rng, n, single: 2.0 ** rng.uniform(low, high, n) * rng.choice([-1.0, 1.0], n)


def uniform(low: float, high: float) -> Draw:
    return lambda rng, n, single: rng.uniform(low, high, n)


def either(single: Draw, double: Draw) -> Draw:
    return lambda rng, n, is_single: (single if is_single else double)(rng, n, is_single)


def absolute(draw: Draw) -> Draw:
    return lambda rng, n, single: np.abs(draw(rng, n, single))


def near_multiples(unit: float, most: int) -> Draw:
    """Where a reduction of the argument cancels."""
    return lambda rng, n, single: rng.integers(-most, most, n) * unit


def offset(by: float, draw: Draw) -> Draw:
    return lambda rng, n, single: by + draw(rng, n, single)


ANY = either(magnitudes(-125, 125), magnitudes(-1020, 1020))
SMALL = magnitudes(-30, 3)
EXPONENTS = either(uniform(-103, 88.7), uniform(-745, 709.7))
ANGLES = [SMALL, magnitudes(0, 20), near_multiples(math.pi / 2, 10**6), ANY]

#: op, reference, bounds in ulps for f32 and f64 (docs/mathlib.md has what was measured), where to
#: draw operands from.
UNARY: list[tuple[str, Callable[..., Any], float, float, list[Draw]]] = [
    ("exp", mpmath.exp, 0.95, 0.95, [SMALL, EXPONENTS]),
    ("exp2", lambda x: mpmath.mpf(2) ** x, 0.95, 0.95,
     [SMALL, either(uniform(-149, 128), uniform(-1074, 1024))]),
    ("expm1", mpmath.expm1, 1.2, 1.2, [SMALL, EXPONENTS]),
    ("sigmoid", lambda x: 1 / (1 + mpmath.exp(-x)), 0.95, 0.95, [SMALL, EXPONENTS]),
    ("softplus", lambda x: mpmath.log1p(mpmath.exp(x)), 1.5, 1.5, [SMALL, EXPONENTS]),
    ("sinh", mpmath.sinh, 1.15, 1.15, [SMALL, EXPONENTS]),
    ("cosh", mpmath.cosh, 0.95, 0.95, [SMALL, EXPONENTS]),
    ("tanh", mpmath.tanh, 0.85, 1.2, [SMALL, magnitudes(-3, 4)]),
    ("log", mpmath.log, 0.85, 0.85, [absolute(ANY), absolute(magnitudes(-2, 2))]),
    ("log2", lambda x: mpmath.log(x, 2), 0.51, 1.05, [absolute(ANY), absolute(magnitudes(-2, 2))]),
    ("log10", mpmath.log10, 0.51, 0.95, [absolute(ANY), absolute(magnitudes(-2, 2))]),
    ("log1p", mpmath.log1p, 0.95, 0.95,
     [absolute(ANY), uniform(-1, 1), magnitudes(-26, -22), magnitudes(-56, -50)]),
    ("arcsinh", mpmath.asinh, 1.2, 1.2, [ANY, SMALL]),
    ("arccosh", mpmath.acosh, 1.6, 1.6, [offset(1, absolute(ANY)), offset(1, uniform(0, 1))]),
    ("arctanh", mpmath.atanh, 1.05, 1.05, [uniform(-1, 1), magnitudes(-30, 0)]),
    ("sin", mpmath.sin, 0.95, 0.95, ANGLES),
    ("cos", mpmath.cos, 1.0, 1.0, ANGLES),
    ("tan", mpmath.tan, 0.9, 0.9, ANGLES),
    ("arcsin", mpmath.asin, 0.7, 0.7, [uniform(-1, 1), magnitudes(-30, 0)]),
    ("arccos", mpmath.acos, 0.8, 0.8, [uniform(-1, 1), magnitudes(-30, 0)]),
    ("arctan", mpmath.atan, 0.85, 0.85, [ANY, SMALL]),
    ("erf", mpmath.erf, 0.95, 0.75, [SMALL, uniform(-4, 4), uniform(0.9, 1.4)]),
    ("erfc", mpmath.erfc, 0.52, 1.3, [SMALL, either(uniform(-5, 10), uniform(-6, 27))]),
    ("cbrt", lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), 0.6, 0.6, [ANY, SMALL]),
]  # fmt: skip
BINARY: list[tuple[str, Callable[..., Any], float, list[tuple[Draw, Draw]]]] = [
    ("power", lambda a, b: a**b, 1.45,
     [(absolute(ANY), uniform(-1, 1)), (offset(1, uniform(-1e-3, 1e-3)), EXPONENTS)]),
    ("hypot", mpmath.hypot, 1.0, [(SMALL, SMALL), (ANY, ANY)]),
    ("arctan2", mpmath.atan2, 1.3, [(SMALL, SMALL), (ANY, ANY)]),
    ("logaddexp", lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b)), 1.5,
     [(uniform(0, 20), uniform(0, 20))]),
    ("logaddexp2", lambda a, b: mpmath.log(mpmath.mpf(2) ** a + mpmath.mpf(2) ** b, 2), 1.5,
     [(uniform(0, 20), uniform(0, 20))]),
]  # fmt: skip


@cache
def compiled() -> dict[str, Callable[..., Array]]:
    rows = [(row[0], 1) for row in UNARY] + [(row[0], 2) for row in BINARY]
    return compile_kernels({
        f"{name}.{d}": (OPS[name], [DTYPES[d]] * arity)  # type: ignore[dict-item]
        for name, arity in rows for d in ("f32", "f64")
    })  # fmt: skip


def worst_error(
    actual: Array, reference: Callable[..., Any], operands: list[Array]
) -> tuple[float, Any]:
    """The largest error in ulps of the exact result, and where it is."""
    info, worst = np.finfo(actual.dtype), (0.0, None)
    with mpmath.workdps(50):
        for result, *args in zip(actual, *operands, strict=True):
            exact = reference(*(mpmath.mpf(float(a)) for a in args))
            if isinstance(exact, mpmath.mpc) or abs(exact) > float(info.max):
                continue
            exponent = mpmath.frexp(exact)[1] - 1 if exact else info.minexp
            ulp = mpmath.ldexp(1, max(exponent, info.minexp) - info.nmant)
            error = float(abs(mpmath.mpf(float(result)) - exact) / ulp)
            if not error <= worst[0]:
                worst = (error, (*args, result))
    return worst


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("row", UNARY, ids=lambda row: row[0])
def test_unary_error(row: Any, dtype: str) -> None:
    name, reference, single, double, draws = row
    rng, is_single = np.random.default_rng(11), dtype == "f32"
    x = np.concatenate([draw(rng, COUNT, is_single) for draw in draws]).astype(DTYPES[dtype])
    error, where = worst_error(compiled()[f"{name}.{dtype}"](x), reference, [x])
    assert error <= (single if is_single else double), where


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("row", BINARY, ids=lambda row: row[0])
def test_binary_error(row: Any, dtype: str) -> None:
    name, reference, bound, draws = row
    rng, is_single = np.random.default_rng(13), dtype == "f32"
    pairs = [(a(rng, COUNT, is_single), b(rng, COUNT, is_single)) for a, b in draws]
    x, y = (np.concatenate(part).astype(DTYPES[dtype]) for part in zip(*pairs, strict=True))
    error, where = worst_error(compiled()[f"{name}.{dtype}"](x, y), reference, [x, y])
    assert error <= bound, where


def test_the_smallest_numbers_stay() -> None:
    """Functions with f(x) = x + O(x²), at zeros and subnormal numbers of either sign."""
    names = ["sin", "tan", "tanh", "expm1", "log1p", "sinh", "arcsin", "arctan", "arcsinh"]
    for dtype in ("f32", "f64"):
        tiny = np.finfo(DTYPES[dtype]).smallest_subnormal * np.array([0, 1, 3, 1000])
        x = np.concatenate([tiny, -tiny]).astype(DTYPES[dtype])
        for name in names:
            y = compiled()[f"{name}.{dtype}"](x)
            np.testing.assert_array_equal(y, x, err_msg=name)
            np.testing.assert_array_equal(np.signbit(y), np.signbit(x), err_msg=name)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_angles_around_the_bound(dtype: str) -> None:
    """Where the reduction by integers takes over, also in some lanes of a vector only."""
    bound = BOUNDS[DTYPES[dtype]]
    rng = np.random.default_rng(3)
    near = bound * (1 + rng.uniform(-1e-5, 1e-5, 200))
    mixed = np.where(rng.random(200) < 0.1, bound * 2.0 ** rng.uniform(0, 60, 200), near)
    x = np.concatenate([near, mixed, -mixed, [bound]]).astype(DTYPES[dtype])
    for name in ("sin", "cos", "tan"):
        actual = compiled()[f"{name}.{dtype}"](x)
        error, where = worst_error(actual, getattr(mpmath, name), [x])
        assert error <= 1.0, (name, where)


def test_powers_of_negative_numbers() -> None:
    """Signs by the parity of the exponent, NaN where it is no integer, as NumPy's."""
    y = np.array([0.0, 0.5, 1, 2, 3, 2.0**53 - 1, 2.0**53, 5e-324, 1e-300, 0.25, np.inf, np.nan,
                  1 - 2.0**-53, 1 + 2.0**-52, 2 - 2.0**-52, 3 - 2.0**-51])  # fmt: skip
    x = np.array([-0.0, -0.5, -1.0, -2.0, -1e300, -np.inf, 0.0, 1.0])
    operands = [part.ravel() for part in np.meshgrid(x, np.concatenate([y, -y]))]
    with np.errstate(all="ignore"):
        expected = np.power(*operands)
    actual = compiled()["power.f64"](*operands)
    np.testing.assert_allclose(actual, expected, rtol=1e-15)
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[finite]), np.signbit(expected[finite]))


def test_unusual_powers_among_others() -> None:
    """f32, where a branch mends what the usual way does not give: in some lanes, in many, in all;
    results that are subnormal, overflow, or vanish."""
    rng = np.random.default_rng(5)
    special = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -2.5, 3e-42, -3e-42, 3e38], "f4")
    exponents = np.array([0, -0.0, 1, -1, 2, 3, 0.5, np.inf, -np.inf, np.nan, 1e30, -1e30], "f4")
    for share in (0.0, 0.02, 0.5, 1.0):
        n = 2048
        x, y = rng.uniform(0.1, 9, n).astype("f4"), rng.uniform(-70, 70, n).astype("f4")
        x = np.where(rng.random(n) < share, rng.choice(special, n), x)
        y = np.where(rng.random(n) < share, rng.choice(exponents, n), y)
        with np.errstate(all="ignore"):
            expected = np.power(x.astype("f8"), y.astype("f8")).astype("f4")
        actual = compiled()["power.f32"](x, y)
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))
        np.testing.assert_array_max_ulp(np.abs(actual[number]), np.abs(expected[number]), 1)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_where_pieces_meet(dtype: str) -> None:
    """Every number near the edges of the pieces of erf and tanh."""
    for name, table in (("erf", ERF), ("tanh", TANH)):
        if DTYPES[dtype] not in table:
            continue
        pieces = table[DTYPES[dtype]]
        edges = (np.arange(len(pieces.centres)) + 0.5) / pieces.per_unit
        units = np.arange(-8, 9) * np.spacing(edges.astype(DTYPES[dtype]))[:, None]
        x = (edges.astype(DTYPES[dtype])[:, None] + units).ravel().astype(DTYPES[dtype])
        error, where = worst_error(compiled()[f"{name}.{dtype}"](x), getattr(mpmath, name), [x])
        assert error <= 0.95, (name, where)


def test_hard_angles() -> None:
    """Arguments that lie nearer to a multiple of pi/2 than almost all others (J.-M. Muller,
    "Elementary Functions", and W. Kahan's 6381956970095103·2^797), and the largest."""
    x = np.array([6381956970095103.0 * 2.0**797, 5.319372648326541e255, 1e22, 2.0**1023, 11.0,
                  1.7976931348623157e308, 22.0, 355.0, 9007199254740992.0])  # fmt: skip
    for name in ("sin", "cos", "tan"):
        reference = getattr(mpmath, name)
        with mpmath.workdps(400):
            exact = np.array([float(reference(mpmath.mpf(v))) for v in x])
        np.testing.assert_array_max_ulp(compiled()[f"{name}.f64"](x), exact, 1)
