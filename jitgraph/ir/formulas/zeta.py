"""The zeta functions of Hurwitz and Riemann, by the sum of Euler and Maclaurin."""

from __future__ import annotations

import math

from jitgraph.ir.formulas.gamma import digamma, gamma, log_gamma
from jitgraph.ir.formulas.iteration import Iteration
from jitgraph.ir.formulas.numbers import (
    INF,
    NAN,
    Number,
    equal,
    is_integer,
    sine_of_pi,
    where,
)
from jitgraph.ir.ops.arithmetic import floor
from jitgraph.ir.ops.exponential import exp, log, power

#: How many terms are added up before the rest is an integral; more of them where q < 0.
_TERMS = 9.0
#: As many negative q as are walked through; below, the result is NaN.
_FARTHEST = 100_000
#: B(2k) / (2k)! for k from 1.
_CORRECTIONS = (
    0.08333333333333333, -0.001388888888888889, 3.306878306878307e-05, -8.267195767195768e-07,
    2.08767569878681e-08, -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13,
    8.586062056277845e-15, -2.174868698558062e-16, 5.5090028283602295e-18, -1.3954464685812522e-19,
)  # fmt: skip

#: The sum of (q + k)^-s for k = n - 1, ..., 0: the smallest first.
power_sum = Iteration(
    "power_sum", 3,
    start=lambda s, q, n: (0.0 * q, n),
    more=lambda given, state: state[1] > 0.5,
    step=lambda given, state: (
        state[0] + power(given[1] + (state[1] - 1.0), -given[0]), state[1] - 1.0
    ),
    limit=_FARTHEST + 20,
)  # fmt: skip


def _continued(s: Number, q: Number) -> Number:
    """The sum of (q + k)^-s over all k >= 0, continued analytically to s > -10."""
    below = where(q > 0.0, 0.0, -floor(q))
    terms = where(below < _FARTHEST, below + _TERMS, 0.0)
    a = q + terms
    inverse = 1.0 / a
    factor, square = s * inverse, inverse * inverse
    rest = 0.5 + factor * _CORRECTIONS[0]
    for k, c in enumerate(_CORRECTIONS[1:]):
        factor = factor * (s + (2.0 * k + 1.0)) * (s + (2.0 * k + 2.0)) * square
        rest = rest + c * factor
    last = power(a, -s)
    total = power_sum(s, q, terms) + where(equal(last, 0.0), 0.0, last * rest)
    total = total + power(a, 1.0 - s) / (s - 1.0)
    return where(below < _FARTHEST, total, NAN)


def zeta(s: Number, q: Number) -> Number:
    """Hurwitz's function for s > 1; negative q only for integer s."""
    finite = q < INF
    y = _continued(s, where(finite, q, 1.0))
    y = where(finite, y, where(equal(q, q), 0.0, q))
    y = where(q > 0.0, y, where(is_integer(q), INF, where(is_integer(s), y, NAN)))
    y = where(s > 1.0, y, where(equal(s, 1.0), INF, NAN))
    return where(equal(q, q), y, NAN)


def riemann_zeta(s: Number) -> Number:
    """ζ(s), by ζ(1 - s) for s < -0.1."""
    negative = s < -0.1
    t = where(negative, 1.0 - s, s)
    above = _continued(where(equal(t, 1.0), 2.0, t), where(equal(t, t), 1.0, t))
    mild = where(t < 170.0, t, 170.0)
    near = gamma(mild) * power(2.0 * math.pi, -mild)
    far = exp(log_gamma(where(t < INF, t, 1e300)) - t * math.log(2.0 * math.pi))
    factor = 2.0 * where(t < 170.0, near, far)
    factor = where(is_integer(0.5 * s), 0.0, factor * sine_of_pi(0.5 * s))
    y = where(negative, factor * above, where(equal(t, 1.0), INF, above))
    return where(equal(s, -INF), NAN, y)


# --- the derivative by s -------------------------------------------------------------------------
#: The sum of log(q + k)·(q + k)^-s for k = n - 1, ..., 0.
log_power_sum = Iteration(
    "log_power_sum", 3,
    start=lambda s, q, n: (0.0 * q, n),
    more=lambda given, state: state[1] > 0.5,
    step=lambda given, state: (
        state[0] + _log_power(given[0], given[1] + (state[1] - 1.0)), state[1] - 1.0
    ),
    limit=20,
)  # fmt: skip


def _log_power(s: Number, a: Number) -> Number:
    return log(a) * power(a, -s)


def _continued_slope(s: Number, q: Number) -> Number:
    """The derivative by s of `_continued`, for q > 0."""
    a = q + _TERMS
    inverse, size = 1.0 / a, log(a)
    square = inverse * inverse
    factor, slope = s * inverse, inverse
    rest, rest_slope = 0.5 + factor * _CORRECTIONS[0], slope * _CORRECTIONS[0]
    for k, c in enumerate(_CORRECTIONS[1:]):
        first, second = s + (2.0 * k + 1.0), s + (2.0 * k + 2.0)
        slope = (slope * first * second + factor * (first + second)) * square
        factor = factor * first * second * square
        rest, rest_slope = rest + c * factor, rest_slope + c * slope
    last = power(a, -s)
    tail = where(equal(last, 0.0), 0.0, last * (rest_slope - size * rest))
    integral = power(a, 1.0 - s) / (s - 1.0)
    return tail - log_power_sum(s, q, _TERMS + 0.0 * q) - integral * (size + 1.0 / (s - 1.0))


def zeta_slope(s: Number, q: Number) -> Number:
    """The derivative of Hurwitz's function by s > 1, for q > 0."""
    usual = (s > 1.0) & (q > 0.0) & (q < INF)
    y = _continued_slope(where(usual, s, 2.0), where(usual, q, 1.0))
    return where(usual, y, where((s > 1.0) & equal(q, INF), 0.0, NAN))


def riemann_slope(s: Number) -> Number:
    """The derivative of ζ(s), by that of ζ(1 - s) for s < -0.1."""
    negative = s < -0.1
    t = where(negative, 1.0 - s, s)
    t = where(equal(t, 1.0), 2.0, t)
    own, slope = _continued(t, 1.0 + 0.0 * t), _continued_slope(t, 1.0 + 0.0 * t)
    mild = where(t < 170.0, t, 170.0)
    factor = 2.0 * gamma(mild) * power(2.0 * math.pi, -mild)
    sine, cosine = sine_of_pi(0.5 * s), sine_of_pi(0.5 * s + 0.5)
    turned = (math.log(2.0 * math.pi) - digamma(mild)) * (sine * own) - sine * slope
    turned = factor * (turned + 0.5 * math.pi * cosine * own)
    y = where(negative, where(t < 170.0, turned, NAN), slope)
    return where(equal(s, 1.0), -INF, y)
