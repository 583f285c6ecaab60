"""Arithmetic that means the same on float64 arrays and on f64 values of a graph.

Formulas are written once: the interpreter computes them on arrays, code is generated from what they
build of values. Neither contracts or reorders them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from jitgraph.ir.ops import arithmetic
from jitgraph.ir.ops.arithmetic import absolute, copysign, equal, rint, sqrt, where
from jitgraph.ir.values import Value

#: A float64 array, or an f64 value.
Number: TypeAlias = Any
#: Coefficients of a polynomial, the lowest first.
Coefficients: TypeAlias = Sequence[float]
#: Numerator and denominator.
Quotient: TypeAlias = tuple[Coefficients, Coefficients]

INF, NAN = math.inf, math.nan
EPSILON = 2.0**-53

#: sin(πr) / r by r² <= 1/4; relative error 2^-54.5.
_SINE = (
    3.141592653589793, -5.167712780049969, 2.550164039877294, -0.5992645293187379,
    0.08214588656990647, -0.0073704304789902805, 0.0004662996902207413, -2.190318966256371e-05,
    7.694774946756109e-07,
)  # fmt: skip


def fma(a: Number, b: Number, c: Number) -> Number:
    """a·b + c; on values rounded once."""
    if isinstance(a, Value):
        return arithmetic.fma(a, b, c)
    return a * b + c


def polynomial(x: Number, coefficients: Coefficients) -> Number:
    """Horner's rule in steps of x², for a shorter chain of operations."""
    if len(coefficients) < 3:
        return fma(x, coefficients[1], coefficients[0]) if coefficients[1:] else coefficients[0]
    square = x * x
    even: Number = coefficients[len(coefficients) - 1 & ~1]
    odd: Number = coefficients[(len(coefficients) & ~1) - 1]
    for c in reversed(coefficients[: len(coefficients) - 1 & ~1 : 2]):
        even = fma(square, even, c)
    for c in reversed(coefficients[1 : (len(coefficients) & ~1) - 1 : 2]):
        odd = fma(square, odd, c)
    return fma(x, odd, even)


def rational(x: Number, quotient: Quotient) -> Number:
    """A quotient of polynomials."""
    return polynomial(x, quotient[0]) / polynomial(x, quotient[1])


def clamp(x: Number, low: float, high: float) -> Number:
    """x within bounds; NaN stays."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


def square_pair(x: Number) -> tuple[Number, Number]:
    """x² as a sum of two numbers, exact for 1e-140 < |x| < 1e150 (Dekker 1971)."""
    product = x * x
    if isinstance(x, Value):
        return product, arithmetic.fma(x, x, -product)
    spread = x * 134217729.0
    high = spread - (spread - x)
    low = x - high
    return product, ((high * high - product) + 2.0 * high * low) + low * low


def sine_of_pi(x: Number) -> Number:
    """sin(πx), to full relative precision also beside its zeros."""
    n = rint(x)
    r = x - n
    y = r * polynomial(r * r, _SINE)
    return where(equal(n, 2.0 * rint(0.5 * n)), y, -y)


def cosine_of_pi(x: Number) -> Number:
    """cos(πx), to full relative precision also beside its zeros."""
    n = rint(x)
    r = 0.5 - absolute(x - n)
    y = r * polynomial(r * r, _SINE)
    return where(equal(n, 2.0 * rint(0.5 * n)), y, -y)


def is_integer(x: Number) -> Number:
    """Whether x is an integer. Infinities are."""
    return equal(rint(x), x)


__all__ = [
    "EPSILON", "INF", "NAN", "Coefficients", "Number", "Quotient", "absolute", "clamp", "copysign",
    "cosine_of_pi", "equal", "fma", "is_integer", "polynomial", "rational", "sine_of_pi", "sqrt",
    "square_pair", "where",
]  # fmt: skip
