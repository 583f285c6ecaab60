"""The incomplete gamma and beta functions."""

from __future__ import annotations

from jitgraph.ir.formulas.gamma import (
    SQRT_2PI,
    beta,
    gamma,
    log_gamma_above,
    stirling_rest,
)
from jitgraph.ir.formulas.iteration import Iteration
from jitgraph.ir.formulas.numbers import (
    EPSILON,
    INF,
    NAN,
    Number,
    Quotient,
    absolute,
    equal,
    polynomial,
    rational,
    sqrt,
    where,
)
from jitgraph.ir.ops.exponential import erfc, exp, expm1, log, log1p, power

#: (log(1 + x) - x) / x² for -0.4 <= x <= 0.7; relative error 2^-66.
_LOG1P_LESS: Quotient = (
    (
        -0.5, -1.8844986236067065, -2.8697140601785307, -2.2595692475945417, -0.9760866641421174,
        -0.22550432369362913, -0.024817292232794354, -0.0009422940280675159,
        -2.2035834940252712e-07,
    ), (
        1.0, 4.43566391388008, 8.196537396277115, 8.165664802433787, 4.738613397320234,
        1.6130264506489564, 0.3070981886087908, 0.02883465118103939, 0.000963057666309509,
    ),
)  # fmt: skip
#: The coefficients of Temme's expansion for large a: of a^-k in powers of η (DLMF 8.12.12), to
#: 2e-18 for |η| < 0.36 and a > 200.
_TEMME = (
    (
        -0.3333333333333333, 0.08333333333333333, -0.014814814814814815, 0.0011574074074074073,
        0.0003527336860670194, -0.0001787551440329218, 3.919263178522438e-05,
        -2.185448510679992e-06, -1.85406221071516e-06, 8.296711340953087e-07,
        -1.7665952736826078e-07, 6.707853543401498e-09, 1.0261809784240309e-08,
        -4.382036018453353e-09, 9.14769958223679e-10, -2.5514193994946248e-11,
        -5.830772132550426e-11,
    ),
    (
        -0.001851851851851852, -0.003472222222222222, 0.0026455026455026454,
        -0.0009902263374485596, 0.00020576131687242798, -4.018775720164609e-07,
        -1.8098550334489977e-05, 7.64916091608111e-06, -1.6120900894563446e-06,
        4.647127802807434e-09, 1.378633446915721e-07, -5.752545603517705e-08,
        1.1951628599778148e-08, -1.7543241719747647e-11, -1.0091543710600413e-09,
    ),
    (
        0.004133597883597883, -0.0026813271604938273, 0.0007716049382716049,
        2.0093878600823047e-06, -0.0001073665322636516, 5.2923448829120125e-05,
        -1.2760635188618728e-05, 3.423578734096138e-08, 1.3721957309062934e-06,
        -6.298992138380055e-07, 1.4280614206064242e-07,
    ),
    (
        0.0006494341563786008, 0.00022947209362139917, -0.0004691894943952557,
        0.00026772063206283885, -7.561801671883977e-05, -2.396505113867297e-07,
        1.1082654115347302e-05, -5.6749528269915965e-06, 1.4230900732435883e-06,
    ),
    (
        -0.0008618882909167117, 0.0007840392217200666, -0.0002990724803031902,
        -1.4638452578843418e-06, 6.641498215465122e-05, -3.968365047179435e-05,
        1.1375726970678419e-05,
    ),
    (
        -0.00033679855336635813, -6.972813758365857e-05, 0.0002772753244959392,
        -0.00019932570516188847, 6.797780477937208e-05,
    ),
    (
        0.0005313079364639922, -0.0005921664373536939,
    ),
    (
        0.00034436760689237765,
    ),
)  # fmt: skip


def log_less(x: Number, ratio: Number) -> Number:
    """log(1 + x) - x, where `ratio` is 1 + x, but rounded once."""
    near = absolute(x - 0.15) < 0.55
    small = where(near, x, 0.0)
    return where(near, small * small * rational(small, _LOG1P_LESS), log(ratio) - x)


# --- gamma ---------------------------------------------------------------------------------------
#: Σ x^n / ((a + 1)...(a + n)) from n = 0.
lower_series = Iteration(
    "lower_gamma_series", 2,
    start=lambda a, x: (1.0 + 0.0 * x, 1.0 + 0.0 * x, a),
    more=lambda given, state: state[1] > state[0] * EPSILON,
    step=lambda given, state: _next_lower(given[1], *state),
)  # fmt: skip


def _next_lower(x: Number, total: Number, term: Number, n: Number) -> tuple[Number, ...]:
    term = term * (x / (n + 1.0))
    return total + term, term, n + 1.0


#: Σ (-x)^n / (n!·(a + n)) from n = 1, for x <= 1.1.
upper_series = Iteration(
    "upper_gamma_series", 2,
    start=lambda a, x: (0.0 * x, x + (1.0 - x), 0.0 * x),
    more=lambda given, state: absolute(state[1]) > EPSILON * absolute(state[0]) * (1.0 + state[2]),
    step=lambda given, state: _next_upper(*given, *state),
)  # fmt: skip


def _next_upper(
    a: Number, x: Number, total: Number, term: Number, n: Number
) -> tuple[Number, ...]:
    n = n + 1.0
    term = term * (-x / n)
    return total + term / (a + n), term, n


#: The continued fraction 1 / (x + 1 - a - 1·(1 - a) / (x + 3 - a - ...)), by Lentz's method; the
#: state is its value, both quotients, the number of the step and the last change.
upper_fraction = Iteration(
    "upper_gamma_fraction", 2,
    start=lambda a, x: (1.0 / (x + (1.0 - a)), 1e300 + 0.0 * x, 1.0 / (x + (1.0 - a)), 0.0 * x,
                        1.0 + 0.0 * x),
    more=lambda given, state: absolute(state[4]) > EPSILON,
    step=lambda given, state: _next_fraction(*given, *state),
)  # fmt: skip


def _next_fraction(
    a: Number, x: Number, value: Number, c: Number, d: Number, n: Number, change: Number
) -> tuple[Number, ...]:
    n = n + 1.0
    numerator, denominator = -n * (n - a), x + (1.0 - a) + 2.0 * n
    d = 1.0 / (numerator * d + denominator)
    c = denominator + numerator / c
    return value * (c * d), c, d, n, c * d - 1.0


def leading_power(a: Number, x: Number) -> Number:
    """x^a·exp(-x) / Γ(a + 1)."""
    large = a > 10.0
    t = where(large, a, 10.0)
    ratio = exp(t * log_less((x - t) / t, x / t) - stirling_rest(t)) / (SQRT_2PI * sqrt(t))
    s, z = where(large, 1.0, a), where(x > 2000.0, 2000.0, x)
    return where(large, ratio, power(z, s) * exp(-z) / gamma(1.0 + s))


def _uniform(a: Number, x: Number) -> tuple[Number, Number, Number]:
    """Where a is large and x near, and there Temme's expansion: of η·sqrt(a/2) the complementary
    error function is twice the upper function, less twice the rest."""
    applies = (a > 200.0) & (absolute(x - a) < 0.3 * a)
    s = where(applies, a, 200.0)
    u = where(applies, (x - a) / a, 0.0)
    half = -log_less(u, 1.0 + u)
    eta = where(u < 0.0, -sqrt(2.0 * half), sqrt(2.0 * half))
    inverse = 1.0 / s
    total = polynomial(inverse, [polynomial(eta, c) for c in _TEMME])
    return applies, eta * sqrt(0.5 * s), exp(-s * half) / (SQRT_2PI * sqrt(s)) * total


def _regions(a: Number, x: Number) -> tuple[Number, Number, Number]:
    """Where a and x are usual numbers, and the two clamped to them."""
    usual = (a > 0.0) & (x > 0.0) & (a < INF) & (x < INF)
    return usual, where(usual, a, 1.0), where(usual, x, 1.0)


def _by_fraction(a: Number, x: Number, applies: Number, ratio: Number) -> Number:
    """The upper function for x > a."""
    return ratio * a * upper_fraction(where(applies, a, 1.0), where(applies, x, 1.0))


def gammainc(a: Number, x: Number) -> Number:
    """The regularised lower function: a series for x < a, else 1 less the upper one."""
    usual, s, t = _regions(a, x)
    uniform, z, rest = _uniform(s, t)
    far = (t > 1.1) & (t > s)
    ratio = leading_power(s, t)
    below = ratio * lower_series(s, where(uniform | far, 0.0, t))
    above = 1.0 - _by_fraction(s, t, far, ratio)
    y = where(uniform, 0.5 * erfc(-z) - rest, where(far, above, below))
    return _at_ends(a, x, usual, y, 0.0, 1.0)


def gammaincc(a: Number, x: Number) -> Number:
    """The regularised upper function: a continued fraction for x > a, a series of its own for
    small x, else 1 less the lower function."""
    usual, s, t = _regions(a, x)
    uniform, z, rest = _uniform(s, t)
    far = (t > 1.1) & (t > s)
    bound = where(t < 0.5, -0.4 / log(where(t < 0.5, t, 0.5)), 0.75 * t)
    small = (t <= 1.1) & (s <= bound)
    ratio = leading_power(s, t)
    below = 1.0 - ratio * lower_series(s, where(uniform | far | small, 0.0, t))
    above = _by_fraction(s, t, far, ratio)
    a_small, t_small = where(small, s, 0.5), where(small, t, 0.5)
    exponent = a_small * log(t_small) - log_gamma_above(a_small)
    series = upper_series(a_small, t_small)
    near = -expm1(exponent) - a_small * exp(exponent) * series
    y = where(uniform, 0.5 * erfc(z) + rest, where(far, above, where(small, near, below)))
    return _at_ends(a, x, usual, y, 1.0, 0.0)


def _at_ends(
    a: Number, x: Number, usual: Number, y: Number, at_zero: float, at_infinity: float
) -> Number:
    """The results where an operand is zero, infinite, negative or NaN."""
    ends = where(equal(x, 0.0) | equal(a, INF), at_zero, at_infinity)
    both = (equal(x, 0.0) & equal(a, 0.0)) | (equal(x, INF) & equal(a, INF))
    valid = (a >= 0.0) & (x >= 0.0)
    return where(usual, y, where(valid, where(both, NAN, ends), NAN))


# --- beta ----------------------------------------------------------------------------------------
#: The continued fraction of DLMF 8.17.22, by Lentz's method, two steps at a time.
beta_fraction = Iteration(
    "beta_fraction", 3,
    start=lambda a, b, x: _first_beta(a, b, x),
    more=lambda given, state: absolute(state[4]) > EPSILON,
    step=lambda given, state: _next_beta(*given, *state),
    limit=20000,
)  # fmt: skip


def _first_beta(a: Number, b: Number, x: Number) -> tuple[Number, ...]:
    d = 1.0 / (1.0 - x * ((a + b) / (a + 1.0)))
    return d, 1.0 + 0.0 * x, d, 0.0 * x, 1.0 + 0.0 * x


def _next_beta(
    a: Number, b: Number, x: Number, value: Number, c: Number, d: Number, n: Number, change: Number
) -> tuple[Number, ...]:
    n = n + 1.0
    twice = a + 2.0 * n
    even = x * ((n / twice) * ((b - n) / (twice - 1.0)))
    d, c = 1.0 / (1.0 + even * d), 1.0 + even / c
    value = value * (c * d)
    odd = -x * (((a + n) / twice) * ((a + b + n) / (twice + 1.0)))
    d, c = 1.0 / (1.0 + odd * d), 1.0 + odd / c
    return value * (c * d), c, d, n, c * d - 1.0


def beta_power(a: Number, b: Number, x: Number) -> Number:
    """x^a·(1 - x)^b / B(a, b)."""
    large = (a > 8.0) & (b > 8.0)
    p, q = where(large, a, 8.0), where(large, b, 8.0)
    total = p + q
    away = where(x < 0.5, p - total * x, total * (1.0 - x) - q)
    exponent = p * log_less(-away / p, x * (total / p))
    exponent = exponent + q * log_less(away / q, (1.0 - x) * (total / q))
    rest = stirling_rest(p) + stirling_rest(q) - stirling_rest(total)
    stirling = sqrt(p * (q / total)) * (exp(exponent - rest) / SQRT_2PI)
    s, t = where(large, 1.0, a), where(large, 1.0, b)
    return where(large, stirling, power(x, s) * exp(t * log1p(-x)) / beta(s, t))


def betainc(a: Number, b: Number, x: Number) -> Number:
    """The regularised function: a continued fraction in x, or 1 less one in 1 - x."""
    usual = (a > 0.0) & (b > 0.0) & (x > 0.0) & (x < 1.0) & (a < INF) & (b < INF)
    s, t, z = where(usual, a, 1.0), where(usual, b, 1.0), where(usual, x, 0.5)
    # For b < 1 it serves nearly up to 1, and 1 less the other could be next to nothing.
    turned = (z > (s + 1.0) / (s + t + 2.0)) & ((t > 1.0) | (z > 0.99))
    p, q = where(turned, t, s), where(turned, s, t)
    part = beta_power(s, t, z) / p * beta_fraction(p, q, where(turned, 1.0 - z, z))
    y = where(turned, 1.0 - part, part)
    # All of the weight lies at 0 for a = 0 or infinite b, at 1 for b = 0 or infinite a.
    low, high = equal(a, 0.0) | equal(b, INF), equal(b, 0.0) | equal(a, INF)
    ends = where(equal(x, 0.0), 0.0, where(equal(x, 1.0), 1.0, where(low, 1.0, 0.0)))
    valid = (a >= 0.0) & (b >= 0.0) & (x >= 0.0) & (x <= 1.0)
    return where(usual, y, where(valid & ~(low & high), ends, NAN))
