"""Whole numerical programs: options, polynomials, bodies, grids, fractals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import DTYPES, uniform

RATE, VOLATILITY = 0.02, 0.3
#: Of the Taylor series of exp.
COEFFICIENTS = (1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0)
BODIES, SOFTENING = 2000, 1e-3
GRID, SWEEPS = 2000, 10
PIXELS, TURNS = 1000, 50


def black_scholes(xp: Any, spot: Any, strike: Any, years: Any) -> tuple[Any, Any]:
    """Prices of a call and a put."""
    spread = VOLATILITY * xp.sqrt(years)
    d1 = (xp.log(spot / strike) + (RATE + 0.5 * VOLATILITY**2) * years) / spread
    d2 = d1 - spread
    n1 = 0.5 + 0.5 * xp.erf(d1 * 0.7071067811865476)
    n2 = 0.5 + 0.5 * xp.erf(d2 * 0.7071067811865476)
    discounted = strike * xp.exp(-RATE * years)
    call = spot * n1 - discounted * n2
    return call, call - spot + discounted


def market(dtype: Any, n: int) -> Any:
    """Spots, strikes and years to expiry."""

    def inputs(random: np.random.Generator) -> Sequence[Any]:
        return [random.uniform(low, high, n).astype(dtype)
                for low, high in ((10, 50), (10, 50), (0.2, 2))]  # fmt: skip

    return inputs


def polynomial(xp: Any, x: Any) -> Any:
    """Of degree 8, by Horner's rule."""
    y = COEFFICIENTS[0] * x + COEFFICIENTS[1]
    for c in COEFFICIENTS[2:]:
        y = y * x + c
    return y


def attraction(xp: Any, x: Any, mass: Any) -> Any:
    """The acceleration of every body by all."""
    apart = x[None, :, :] - x[:, None, :]
    squared = xp.sum(apart * apart, axis=2) + SOFTENING
    pull = mass / (squared * xp.sqrt(squared))
    return xp.sum(apart * pull[:, :, None], axis=1)


def stencil(xp: Any, u: Any) -> Any:
    """The mean of the four neighbours, ten times, a border less each time."""
    for _ in range(SWEEPS):
        u = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    return u


def mandelbrot(xp: Any, x: Any, y: Any) -> Any:
    """How many of fifty turns z = z² + c stays within 2."""
    re, im = x, y
    count = 0 * x
    for _ in range(TURNS):
        re2, im2 = re * re, im * im
        inside = re2 + im2 <= 4
        count = xp.where(inside, count + 1, count)
        im = xp.where(inside, 2 * re * im + y, im)
        re = xp.where(inside, re2 - im2 + x, re)
    return count


def window(random: np.random.Generator) -> Sequence[Any]:
    """The complex plane around the set, as coordinates of every pixel."""
    x, y = np.meshgrid(np.linspace(-2, 0.5, PIXELS), np.linspace(-1.25, 1.25, PIXELS))
    return [x.astype(np.float32).reshape(-1), y.astype(np.float32).reshape(-1)]


def cases() -> Iterator[Case]:
    """All of them."""
    for name, dtype in DTYPES.items():
        size = np.dtype(dtype).itemsize
        yield Case(
            name=f"Black-Scholes {name} 2e6", group="programs", family="Black-Scholes",
            inputs=market(dtype, 2 * 10**6), expression=black_scholes, tolerance=5,
            traffic=(6_000_000 * size, 4_000_000 * size), quick=True,
        )  # fmt: skip
    yield Case(
        name="polynomial f32 1e7", group="programs", family="polynomial",
        inputs=uniform(np.float32, (10**7,)), expression=polynomial,
        traffic=(4 * 10**7, 4 * 10**7), quick=True,
    )  # fmt: skip
    yield Case(
        name="n-body f32 2000", group="programs", family="n-body",
        inputs=lambda random: [random.normal(size=(BODIES, 3)).astype(np.float32),
                               random.random(BODIES).astype(np.float32)],
        expression=attraction, tolerance=20, quick=True,
    )  # fmt: skip
    yield Case(
        name="stencil f64 2000x2000, 10 sweeps", group="programs", family="stencil",
        inputs=uniform(np.float64, (GRID, GRID)), expression=stencil, quick=True,
    )  # fmt: skip
    yield Case(
        name="mandelbrot f32 1000x1000, 50 turns", group="programs", family="mandelbrot",
        inputs=window, expression=mandelbrot, options={"differing": 0.01},
    )  # fmt: skip
