"""Derivatives of the incomplete gamma and beta functions by their parameters.

The series and continued fractions of `incomplete`, differentiated step by step; the powers before
them by their logarithms.
"""

from __future__ import annotations

from typing import TypeAlias

from jitgraph.ir.formulas.gamma import digamma
from jitgraph.ir.formulas.incomplete import (
    beta_fraction,
    beta_power,
    leading_power,
    lower_series,
    upper_fraction,
)
from jitgraph.ir.formulas.iteration import Iteration
from jitgraph.ir.formulas.numbers import EPSILON, INF, NAN, Number, absolute, equal, where
from jitgraph.ir.ops.exponential import log, log1p

#: A number and its derivative.
_Pair: TypeAlias = "tuple[Number, Number]"


# --- gamma ---------------------------------------------------------------------------------------
#: The derivative by a of Σ x^n / ((a + 1)...(a + n)); the state is that, the last term and its
#: derivative, and a + n.
lower_series_slope = Iteration(
    "lower_gamma_series_slope", 2,
    start=lambda a, x: (0.0 * x, 1.0 + 0.0 * x, 0.0 * x, a),
    more=lambda given, state: (absolute(state[2]) > absolute(state[0]) * EPSILON)
    | equal(state[0], 0.0) & (state[1] > 0.0),
    step=lambda given, state: _next_lower(given[1], *state),
    limit=20000,
)  # fmt: skip


def _next_lower(
    x: Number, total: Number, term: Number, slope: Number, n: Number
) -> tuple[Number, ...]:
    n = n + 1.0
    ratio = x / n
    term = term * ratio
    slope = slope * ratio - term / n
    return total + slope, term, slope, n


#: The derivative by a of the continued fraction of `incomplete.upper_fraction`; the state is that,
#: the value, both quotients and their derivatives, the number of the step and the last change.
upper_fraction_slope = Iteration(
    "upper_gamma_fraction_slope", 2,
    start=lambda a, x: _first_upper(a, x),
    more=lambda given, state: absolute(state[7]) > EPSILON * (absolute(state[0])
                                                              + absolute(state[1])),
    step=lambda given, state: _next_upper(*given, *state),
    limit=20000,
)  # fmt: skip


def _first_upper(a: Number, x: Number) -> tuple[Number, ...]:
    d = 1.0 / (x + (1.0 - a))
    return d * d, d, 1e300 + 0.0 * x, d, 0.0 * x, d * d, 0.0 * x, 1.0 + 0.0 * x


def _lentz(
    value: _Pair, c: _Pair, d: _Pair, numerator: _Pair, denominator: _Pair
) -> tuple[_Pair, _Pair, _Pair, Number]:  # fmt: skip
    """A step of Lentz's method for numbers with derivatives, and by how much they change."""
    inverse = 1.0 / (numerator[0] * d[0] + denominator[0])
    turned = -inverse * inverse * (numerator[1] * d[0] + numerator[0] * d[1] + denominator[1])
    share = numerator[0] / c[0]
    high = denominator[0] + share, denominator[1] + (numerator[1] - share * c[1]) / c[0]
    factor, slope = high[0] * inverse, high[1] * inverse + high[0] * turned
    following = value[0] * factor, value[1] * factor + value[0] * slope
    change = absolute(following[1] - value[1]) + absolute(following[0] - value[0])
    return following, high, (inverse, turned), change


def _next_upper(
    a: Number, x: Number, slope: Number, value: Number, c: Number, d: Number, of_c: Number,
    of_d: Number, n: Number, change: Number,
) -> tuple[Number, ...]:  # fmt: skip
    n = n + 1.0
    (value, slope), (c, of_c), (d, of_d), change = _lentz(
        (value, slope), (c, of_c), (d, of_d), (-n * (n - a), n), (x + (1.0 - a) + 2.0 * n, -1.0)
    )
    return slope, value, c, d, of_c, of_d, n, change


def gammainc_slope(a: Number, x: Number) -> Number:
    """The derivative by a of the regularised lower incomplete gamma function."""
    usual = (a > 0.0) & (x > 0.0) & (a < INF) & (x < INF)
    s, t = where(usual, a, 1.0), where(usual, x, 1.0)
    far = (t > 1.1) & (t > s)
    ratio, size = leading_power(s, t), log(t)
    t_near, t_far, s_far = where(far, 0.0, t), where(far, t, 2.0), where(far, s, 1.0)
    near = ratio * (lower_series(s, t_near) * (size - digamma(s + 1.0))
                    + lower_series_slope(s, t_near))  # fmt: skip
    above = ratio * s * (upper_fraction(s_far, t_far) * (size - digamma(s))
                         + upper_fraction_slope(s_far, t_far))  # fmt: skip
    inside = (a > 0.0) & (equal(x, 0.0) | equal(x, INF))
    return where(usual, where(far, -above, near), where(inside, 0.0, NAN))


# --- beta ----------------------------------------------------------------------------------------
def _beta_slope(name: str, by_first: float) -> Iteration:
    """The derivative of the continued fraction of `incomplete.beta_fraction` by a, or by b."""
    by_second = 1.0 - by_first

    def start(a: Number, b: Number, x: Number) -> tuple[Number, ...]:
        share = (a + b) / (a + 1.0)
        slope = (1.0 - by_first * share) / (a + 1.0)
        d = 1.0 / (1.0 - x * share)
        turned = d * d * (x * slope)
        return turned, d, 1.0 + 0.0 * x, d, 0.0 * x, turned, 0.0 * x, 1.0 + 0.0 * x

    def step(
        a: Number, b: Number, x: Number, slope: Number, value: Number, c: Number, d: Number,
        of_c: Number, of_d: Number, n: Number, change: Number,
    ) -> tuple[Number, ...]:  # fmt: skip
        n = n + 1.0
        twice = a + 2.0 * n
        even = x * ((n / twice) * ((b - n) / (twice - 1.0)))
        first = x * ((n / twice) / (twice - 1.0))
        of_even = by_second * first - by_first * even * (1.0 / twice + 1.0 / (twice - 1.0))
        now = _lentz((value, slope), (c, of_c), (d, of_d), (even, of_even), (1.0, 0.0))
        total, last = a + b + n, twice + 1.0
        odd = -x * (((a + n) / twice) * (total / last))
        of_odd = -x * ((total * by_first + (a + n)) / twice) / last
        of_odd = of_odd - by_first * odd * (1.0 / twice + 1.0 / last)
        after = _lentz(now[0], now[1], now[2], (odd, of_odd), (1.0, 0.0))
        (value, slope), (c, of_c), (d, of_d), change = after
        return slope, value, c, d, of_c, of_d, n, change + now[3]

    def more(given: tuple[Number, ...], state: tuple[Number, ...]) -> Number:
        return absolute(state[7]) > EPSILON * (absolute(state[0]) + absolute(state[1]))

    return Iteration(
        name, 3, start=start, more=more,
        step=lambda given, state: step(*given, *state), limit=20000,
    )  # fmt: skip


beta_slope_by_first = _beta_slope("beta_fraction_by_first", 1.0)
beta_slope_by_second = _beta_slope("beta_fraction_by_second", 0.0)


def _betainc_slope(a: Number, b: Number, x: Number, *, first: bool) -> Number:
    usual = (a > 0.0) & (b > 0.0) & (x > 0.0) & (x < 1.0) & (a < INF) & (b < INF)
    s, t, z = where(usual, a, 1.0), where(usual, b, 1.0), where(usual, x, 0.5)
    turned = z > (s + 1.0) / (s + t + 2.0)
    p, q, y = where(turned, t, s), where(turned, s, t), where(turned, 1.0 - z, z)
    power = beta_power(s, t, z) / p
    size = log(z) - digamma(s) if first else log1p(-z) - digamma(t)
    size = size + digamma(s + t)
    value = beta_fraction(p, q, y)
    by_own = value * (size - 1.0 / p) + beta_slope_by_first(p, q, y)
    by_other = value * size + beta_slope_by_second(p, q, y)
    near, above = (by_own, by_other) if first else (by_other, by_own)
    ends = (a > 0.0) & (b > 0.0) & (equal(x, 0.0) | equal(x, 1.0))
    return where(usual, power * where(turned, -above, near), where(ends, 0.0, NAN))


def betainc_slope_a(a: Number, b: Number, x: Number) -> Number:
    """The derivative by a of the regularised incomplete beta function."""
    return _betainc_slope(a, b, x, first=True)


def betainc_slope_b(a: Number, b: Number, x: Number) -> Number:
    """The derivative by b of the regularised incomplete beta function."""
    return _betainc_slope(a, b, x, first=False)
