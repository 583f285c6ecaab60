"""The gamma function, its logarithm and the derivatives of that, and the beta function.

Between 1/2 and 3 the functions are a quotient of polynomials around their zeros, above 3 Stirling's
series, summed up as a quotient in 1/x². Numbers beside zero are moved up by one, negative ones
reflected to -x, which is exact where 1 - x is not.
"""

from __future__ import annotations

import math

from jitgraph.ir.formulas.numbers import (
    INF,
    NAN,
    Number,
    Quotient,
    absolute,
    clamp,
    copysign,
    cosine_of_pi,
    equal,
    is_integer,
    polynomial,
    rational,
    sine_of_pi,
    where,
)
from jitgraph.ir.ops.arithmetic import floor, rint
from jitgraph.ir.ops.exponential import exp, log, log1p, power

HALF_LOG_2PI = 0.9189385332046727
SQRT_2PI = 2.5066282746310007
#: The root of digamma, as a sum.
DIGAMMA_ROOT = (1.4616321449683622, 9.549995429965697e-17)

#: log(Γ(x)) / ((x - 1)(x - 2)) by x - 1/2, for 1/2 <= x <= 3; relative error 2^-58.9.
_LOG_GAMMA: Quotient = (
    (
        0.7631532572329335, 4.962446986308564, 12.835466452920109, 16.91740012241282,
        12.120920674878208, 4.679570152360017, 0.9112779412999749, 0.07733142314417933,
        0.0020469969121452115, 3.5919487594554833e-06,
    ), (
        1.0, 7.266410709983226, 21.428860131793176, 33.075043783056394, 28.798158411712013,
        14.259516705161335, 3.871531779671204, 0.5289361719367064, 0.030662281882556763,
        0.0005064449741443662,
    ),
)  # fmt: skip
#: x·(log Γ(x) - (x - 1/2)·log x + x - log(2π)/2) by 1/x², for x >= 3; error of log Γ 2^-61.
_STIRLING: Quotient = (
    (
        0.08333333333333331, 0.918263825474311, 2.702549987494539, 2.285847156008154,
        0.375745910291392, -0.0040514674162732125,
    ), (
        1.0, 11.052499239024874, 32.78949268175876, 28.425029915698005, 5.2130168036949085,
    ),
)  # fmt: skip
#: digamma(x) / (x - root) by x - 1/2, for 1/2 <= x <= 2; relative error 2^-61.
_DIGAMMA: Quotient = (
    (
        2.041851487905516, 4.2454965889682255, 3.0219894770777542, 0.9392009166655065,
        0.12991602708295893, 0.006988333847012945, 9.33282031707323e-05,
    ), (
        1.0, 3.552595408987453, 3.961020239608433, 1.9199919108911234, 0.4390080040141763,
        0.04557822383371119, 0.0017968209294717818, 1.5693660345705322e-05,
    ),
)  # fmt: skip
#: x²·(log x - 1/(2x) - digamma(x)) by 1/x², for x >= 2; error of digamma 2^-59.
_DIGAMMA_TAIL: Quotient = (
    (
        0.08333333333333118, 1.268614503746905, 5.913982912690265, 10.013882084023217,
        5.588594581590231, 0.6247674885568865, -0.011090197341884237,
    ), (
        1.0, 15.323374044951578, 72.45251331087022, 126.73215172797761, 76.96149644776173,
        11.640990032049055,
    ),
)  # fmt: skip
#: x³·(trigamma(x) - 1/x - 1/(2x²)) by 1/x², for x >= 1/2; relative error of trigamma 2^-58.
_TRIGAMMA_TAIL: Quotient = (
    (
        0.16666666666666102, 4.563801545401206, 45.997882105569886, 222.32796856931546,
        563.6518542101837, 771.6580420137161, 567.422021611497, 216.4206629975668,
        39.85941931741186, 3.10082611843318, 0.07711015047599792, 0.00025848882803401724,
    ), (
        1.0, 27.582809272392453, 281.36099734731727, 1386.4996093777931, 3624.0786446268244,
        5201.945511122367, 4111.503430761412, 1748.813108989402, 379.9241004799204,
        38.243687898902344, 1.4779143652251743, 0.013991777029440482,
    ),
)  # fmt: skip
#: exp(x) for |x| <= 0.03.
_EXP = tuple(1.0 / math.factorial(k) for k in range(9))


def stirling_rest(x: Number) -> Number:
    """log Γ(x) - (x - 1/2)·log x + x - log(2π)/2, for x >= 3."""
    inverse = 1.0 / x
    return inverse * rational(inverse * inverse, _STIRLING)


def log_gamma_above(d: Number) -> Number:
    """log Γ(1 + d), for -1/2 <= d <= 2, exact beside its zeros at 0 and 1."""
    return d * (d - 1.0) * rational(d + 0.5, _LOG_GAMMA)


def _brought_up(x: Number) -> tuple[Number, Number, Number, Number]:
    """Whether x lies within 1/2 of zero, or below; the number that log Γ is taken of instead
    (1 + x, -x or x), and that number less one."""
    near, negative = absolute(x) < 0.5, x <= -0.5
    a = where(near, 1.0 + x, absolute(x))
    return near, negative, a, where(near, x, a - 1.0)


def gamma(x: Number) -> Number:
    """Γ(x): exp(log Γ) up to 3, then Stirling's series; Γ(1 + x) / x beside zero, and
    -π / (x·sin(πx)·Γ(-x)) below. Integers have exact values as far as these fit."""
    near, negative, a, d = _brought_up(x)
    small = a < 3.0
    t = clamp(a, 3.0, 300.0)
    exponential = exp(where(small, log_gamma_above(where(small, d, 1.0)), -t))
    # The power is split in two against overflow, and multiplied or divided by in turn.
    half = power(t, 0.5 * t - 0.25)
    first = where(small, exponential, half * SQRT_2PI * polynomial(stirling_rest(t), _EXP))
    second = where(small, 1.0, half * exponential)
    above = first * second
    above = where(is_integer(x) & (above < 2.0**53), rint(above), above)
    below = -math.pi / (x * sine_of_pi(x)) / first / second
    y = where(near, above / x, where(negative, below, above))
    return where(negative & is_integer(x), NAN, y)


def log_gamma(x: Number) -> Number:
    """log |Γ(x)|. For x > 0 the relative error is small at the zeros too; for x < 0 the error is
    small beside the larger of the two terms."""
    near, negative, a, d = _brought_up(x)
    small = a < 3.0
    t = where(small, 3.0, a)
    log_t = log(t)
    large = (t - 0.5) * (log_t - 1.0) + ((HALF_LOG_2PI - 0.5) + stirling_rest(t))
    large = where(t < 1e300, large, t * (log_t - 1.0))
    large = where(equal(a, INF), INF, large)
    y = where(small, log_gamma_above(where(small, d, 1.0)), large)
    rest = log(where(near, absolute(x), absolute(x * sine_of_pi(x)) / math.pi))
    y = where(near, y - rest, where(negative, -(y + rest), y))
    y = where(negative & is_integer(x), INF, y)
    return where(equal(absolute(x), INF), x, y)


def gamma_sign(x: Number) -> Number:
    """The sign of Γ(x): 1 or -1, also at zeros; NaN at negative integers."""
    odd = 2.0 * floor(0.5 * floor(x)) < floor(x)
    sign = where(equal(x, 0.0), copysign(1.0, x), where((x < 0.0) & odd, -1.0, 1.0))
    return where(((x < 0.0) & is_integer(x)) | ~equal(x, x), NAN, sign)


def digamma(x: Number) -> Number:
    """(log Γ)'(x): beside its root, or by Stirling's series; x < -1/2 by -x."""
    near, negative, a, _ = _brought_up(x)
    small = a < 2.0
    s, t = where(small, a, 1.0), where(small, 2.0, a)
    inverse = 1.0 / t
    w = inverse * inverse
    root = ((s - DIGAMMA_ROOT[0]) - DIGAMMA_ROOT[1]) * rational(s - 0.5, _DIGAMMA)
    series = log(t) - (0.5 * inverse + w * rational(w, _DIGAMMA_TAIL))
    y = where(small, root, series)
    cotangent = math.pi * cosine_of_pi(x) / sine_of_pi(x)
    y = where(near, y - 1.0 / x, where(negative, (y - 1.0 / x) - cotangent, y))
    return where(negative & is_integer(x), NAN, y)


def trigamma(x: Number) -> Number:
    """digamma'(x): Stirling's series from 1/2 on, 1/x² more beside zero; x < -1/2 by -x."""
    near, negative, a, _ = _brought_up(x)
    inverse = 1.0 / a
    w = inverse * inverse
    y = inverse + (0.5 * w + w * inverse * rational(w, _TRIGAMMA_TAIL))
    sine = sine_of_pi(x) / math.pi
    reflected = 1.0 / (sine * sine) - (y - w)
    y = where(near, y + 1.0 / (x * x), where(negative, reflected, y))
    return where(negative & is_integer(x), INF, y)


# --- the beta function ---------------------------------------------------------------------------
def _beta_parts(a: Number, b: Number) -> tuple[Number, Number]:
    """B(a, b) as a factor and the logarithm of another: arguments below 3 are moved up by 3, and
    logarithms of quotients of gamma functions taken by Stirling's series."""
    small, large = where(a < b, a, b), where(a < b, b, a)
    total = small + large
    huge = total > 1e30  # then only `small` can be below 3, and three factors could overflow
    scale = where(huge, total, 1.0)
    low = small < 3.0
    s, whole = where(low, small, 1.0), where(low, total, 1.0)
    # (x + y) / x is 1 + y/x, where both may be tiny.
    up = where(huge, 1.0 / s, (1.0 + where(low, large, 0.0) / s) / scale)
    up = up * ((whole / scale + 1.0 / scale) / (s + 1.0))
    factor = where(low, up * ((whole / scale + 2.0 / scale) / (s + 2.0)), 1.0)
    total = where(low, total + 3.0, total)
    high = large < 3.0
    s, whole = where(high, large, 1.0), where(high, total, 1.0)
    up = whole / s * ((whole + 1.0) / (s + 1.0)) * ((whole + 2.0) / (s + 2.0))
    factor = where(high, factor * up, factor)
    p, q = where(low, small + 3.0, small), where(high, large + 3.0, large)
    rest = stirling_rest(p) + (stirling_rest(q) - stirling_rest(p + q))
    logarithm = (p - 0.5) * log(p / (p + q)) - q * log1p(p / q) - 0.5 * log(q)
    logarithm = logarithm + (HALF_LOG_2PI + rest) + where(low & huge, 3.0 * log(scale), 0.0)
    return where(equal(total, total), factor, NAN), logarithm


def _sign(n: Number) -> Number:
    """(-1)^n of an integer."""
    return where(equal(n, 2.0 * rint(0.5 * n)), 1.0, -1.0)


def _beta_any(a: Number, b: Number) -> tuple[Number, Number]:
    """B(a, b) as a factor and the logarithm of another, also for negative arguments: by
    Γ(x)·Γ(-x) = -π / (x·sin(πx)) it is a factor times or over a beta function of positive ones."""
    low, high = where(a < b, a, b), where(a < b, b, a)
    total = low + high
    mixed, both = (low < 0.0) & (high >= 0.0), high < 0.0
    over = mixed & (total < 0.0)
    under = (mixed & ~over) | both
    p = where(over, high, where(under, -low, low))
    q = where(over, -total, where(both, -high, where(under, total, high)))
    factor, logarithm = _beta_parts(p, q)
    sine, sine_total = low * sine_of_pi(low), total * sine_of_pi(total)
    reflected = -math.pi / sine
    reflected = where(both, reflected * sine_total / (high * sine_of_pi(high)), reflected)
    ratio = where(is_integer(high), _sign(high) * (total / low), sine_total / sine)
    factor = where(over, factor * ratio, where(under, reflected / factor, factor))
    # A pole over a pole: -1, 1 and their kin.
    pole = mixed & equal(total, 0.0) & is_integer(low)
    factor = where(pole, -_sign(high) / low, factor)
    logarithm = where(pole, 0.0, where(under, -logarithm, logarithm))
    return factor, where(equal(q, q), logarithm, NAN)


def _at_ends(a: Number, b: Number, y: Number, at_infinity: float) -> Number:
    """What B(a, b) or its logarithm is where an argument is infinite or zero."""
    infinite = equal(absolute(a), INF) | equal(absolute(b), INF)
    one = (a > 0.0) & (b > 0.0) & ~equal(a, b)
    y = where(infinite, where(one, at_infinity, NAN), y)
    return where(equal(a, 0.0) | equal(b, 0.0), where(equal(a + b, a + b), INF, NAN), y)


def beta(a: Number, b: Number) -> Number:
    """Γ(a)·Γ(b) / Γ(a + b)."""
    factor, logarithm = _beta_any(a, b)
    return _at_ends(a, b, factor * exp(logarithm), 0.0)


def log_beta(a: Number, b: Number) -> Number:
    """log |B(a, b)|."""
    factor, logarithm = _beta_any(a, b)
    return _at_ends(a, b, log(absolute(factor)) + logarithm, -INF)


def binomial(n: Number, k: Number) -> Number:
    """1 / ((n + 1)·B(n - k + 1, k + 1)); integers of integers as far as they fit,
    and NaN for negative integers n."""
    y = 1.0 / ((n + 1.0) * beta(1.0 + (n - k), 1.0 + k))
    whole = is_integer(n) & is_integer(k)
    y = where(whole & (absolute(y) < 2.0**53), rint(y), y)
    y = where((n < 0.0) & is_integer(n), NAN, y)
    return where(whole & ((k < 0.0) | (k > n)) & (n >= 0.0), 0.0, y)


def rising(z: Number, m: Number) -> Number:
    """Γ(z + m) / Γ(z): of positive arguments by the beta function, whose relative error does not
    grow with them; where both are poles, by Γ(1 - z) / Γ(1 - z - m)."""
    total = z + m
    positive = (z > 0.0) & (total > 0.0)
    step = where(positive, absolute(m), 1.0)
    y = gamma(step) / beta(where(positive, where(m < 0.0, total, z), 1.0), step)
    y = where(m < 0.0, 1.0 / y, y)
    pole = (z <= 0.0) & is_integer(z)
    both = pole & (total <= 0.0) & is_integer(total)
    quotient = gamma(where(both, 1.0 - z, total)) / gamma(where(both, 1.0 - total, z))
    above = (total <= 0.0) & is_integer(total)
    other = where(pole & equal(m, m), 0.0, where(above, INF, quotient))
    other = where(both, _sign(m) * quotient, other)
    return where(equal(m, 0.0), 1.0, where(positive, y, other))
