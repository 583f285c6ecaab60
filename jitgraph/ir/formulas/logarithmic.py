"""Logarithms times something, and quotients whose limits at zero are finite.

These are light, so they are computed in the dtype of their operands.
"""

from __future__ import annotations

import math

from jitgraph.ir.formulas.numbers import (
    INF,
    Number,
    absolute,
    equal,
    polynomial,
    sine_of_pi,
    where,
)
from jitgraph.ir.ops.exponential import arctanh, expm1, log, log1p


def xlogy(x: Number, y: Number) -> Number:
    """x·log(y), but 0 for x = 0."""
    return where(equal(x, 0.0) & equal(y, y), 0.0, x * log(y))


def xlog1py(x: Number, y: Number) -> Number:
    """x·log(1 + y), but 0 for x = 0."""
    return where(equal(x, 0.0) & equal(y, y), 0.0, x * log1p(y))


def entr(x: Number) -> Number:
    """-x·log(x), 0 at 0, -inf below."""
    return where(equal(x, 0.0), 0.0, where(x < 0.0, -INF, -x * log(x)))


def rel_entr(x: Number, y: Number) -> Number:
    """x·log(x / y), 0 for x = 0 and y >= 0, infinite outside."""
    ratio, at_zero = x / y, equal(x, 0.0) & (y >= 0.0)
    near = (ratio > 0.5) & (ratio < 2.0)
    # Of numbers so far apart that their quotient is none, the logarithms are.
    bounded = (ratio > 1e-30) & (ratio < 1e30)
    logarithm = where(near, log1p((x - y) / y), where(bounded, log(ratio), log(x) - log(y)))
    y = where((x > 0.0) & (y > 0.0), x * logarithm, where(equal(x, x) & equal(y, y), INF, x + y))
    return where(at_zero, 0.0, y)


def logit(x: Number) -> Number:
    """log(x / (1 - x)), in the middle 2·artanh(2x - 1), whose argument is exact."""
    middle = absolute(x - 0.5) < 0.25
    return where(middle, 2.0 * arctanh(2.0 * x - 1.0), log(x / (1.0 - x)))


def exprel(x: Number) -> Number:
    """(exp(x) - 1) / x, 1 at 0."""
    return where(equal(x, 0.0), 1.0, where(equal(x, INF), INF, expm1(x) / x))


#: k / (k + 1)! for k from 1.
_SLOPE = tuple(k / math.factorial(k + 1) for k in range(1, 9))


def exprel_slope_near_zero(x: Number) -> Number:
    """The derivative of exprel for |x| < 0.03."""
    return polynomial(x, _SLOPE)


def sinc(x: Number) -> Number:
    """sin(πx) / (πx), 1 at 0 and 0 at other integers."""
    return where(equal(x, 0.0), 1.0, sine_of_pi(x) / (math.pi * x))


#: (-1)^k·2k·π^2k / (2k + 1)! for k from 1.
_SINC_SLOPE = tuple(
    (-1) ** k * 2 * k * math.pi ** (2 * k) / math.factorial(2 * k + 1) for k in range(1, 7)
)


def sinc_slope_near_zero(x: Number) -> Number:
    """The derivative of sinc for |x| < 0.1."""
    return x * polynomial(x * x, _SINC_SLOPE)
