"""The scaled error function, the inverses of erf and erfc, and the normal distribution."""

from __future__ import annotations

import math

from jitgraph.ir.formulas.numbers import (
    INF,
    Number,
    Quotient,
    absolute,
    copysign,
    equal,
    rational,
    sqrt,
    square_pair,
    where,
)
from jitgraph.ir.ops.exponential import erfc, exp, log, log1p

SQRT_HALF = math.sqrt(0.5)

#: exp(x²)·erfc(x) for 0 <= x <= 2; relative error 2^-57.3.
_SCALED: Quotient = (
    (
        1.0, 1.3511336590078078, 0.934709127380013, 0.3847205469752525, 0.09822548059902304,
        0.014580856068813633, 0.000985571765965769, -6.531191949638768e-09,
    ), (
        1.0, 2.4795128261033224, 2.732539744901005, 1.7408014203449478, 0.6951902041161623,
        0.17492289187951546, 0.025849043710434734, 0.0017465338836046248,
    ),
)  # fmt: skip
#: x·exp(x²)·erfc(x) by 1/x², for x >= 2; relative error 2^-55.5.
_SCALED_TAIL: Quotient = (
    (
        0.5641895835477563, 16.83868800823956, 180.58286377593078, 872.3033569096266,
        1947.9689320099835, 1844.8939626460835, 575.0122843961809, 25.17582103035573,
    ), (
        1.0, 30.345797404400653, 334.4976910094468, 1692.481941552276, 4098.388608986326,
        4507.39228251253, 1911.0825190391333, 202.04635947241266,
    ),
)  # fmt: skip
#: erfinv(x) / x by 1/2 - x², for x² <= 1/2; relative error 2^-57.6.
_INVERSE: Quotient = (
    (
        1.051795860165225, 5.320833333225208, 9.810314406011765, 8.036678603681644,
        2.838412313000684, 0.3457934918955348, 0.006597271145687312,
    ), (
        1.0, 5.523809103638624, 11.406123917114538, 10.890593384214878, 4.806643003616912,
        0.8474972788602785, 0.03841612407598892,
    ),
)  # fmt: skip
#: erfcinv(y) by sqrt(-log(y)) - 1.0625, up to 2.9375 (y = 1e-7); relative error 2^-57.8.
_INVERSE_TAIL: Quotient = (
    (
        0.698283554587142, 4.081928277703773, 10.028897236319816, 13.63532925249955,
        11.269977558280793, 5.802607563679135, 1.8170249508774516, 0.3213464792935117,
        0.02774953394923421, 0.0008242718136610901,
    ), (
        1.0, 4.425437963507153, 7.934250510645413, 7.768268446878299, 4.504216992146601,
        1.5481167178382773, 0.29478428186773037, 0.02688126553361602, 0.0008242148979290351,
    ),
)  # fmt: skip
#: erfcinv(y) / sqrt(-log(y)) by 1 / sqrt(-log(y)), for y <= 1e-7; relative error 2^-54.1.
_INVERSE_FAR: Quotient = (
    (
        1.0000019186457354, 150.31847793379515, 5746.796516161825, 71883.08556647945,
        275000.9947827445, 44451.20352654096, -689141.7830611547, -127785.89021643993,
        -41147.73596245013,
    ), (
        1.0, 150.32007584279756, 5750.051590307777, 72245.59560742821, 285486.1698990732,
        137050.40509218603, -504454.957963523, -362983.9534312364, -356690.1753431964,
    ),
)  # fmt: skip


def erfcx(x: Number) -> Number:
    """exp(x²)·erfc(x); for x < 0 it is 2·exp(x²) less that of -x."""
    a = absolute(x)
    small = a < 2.0
    t = where(small, 2.0, a)
    inverse = 1.0 / t
    above = rational(inverse * inverse, _SCALED_TAIL) * inverse
    y = where(small, rational(where(small, a, 0.0), _SCALED), above)
    within = where(x < 0.0, where(x > -27.0, x, -27.0), 0.0)
    square, lost = square_pair(within)
    power = exp(square)
    return where(x < 0.0, 2.0 * power * (1.0 + lost) - y, y)


def _inverse_of_tail(y: Number) -> Number:
    """erfcinv(y) for y < 0.31."""
    r = sqrt(-log(y))
    near = r < 4.0
    first = rational(where(near, r, 4.0) - 1.0625, _INVERSE_TAIL)
    far = where(near, 4.0, r)
    z = where(near, first, far * rational(1.0 / far, _INVERSE_FAR))
    return where(equal(y, 0.0), INF, z)


def _inverse(x: Number, tail: Number, positive: Number) -> Number:
    """erfinv(x), where `tail` is 1 - |x|, and the sign of the result if that is small."""
    central = tail > 0.3
    within = where(central, x, 0.0)
    y = within * rational(0.5 - within * within, _INVERSE)
    far = _inverse_of_tail(where(central, 0.25, tail))
    return where(central, y, where(positive, far, -far))


def erfinv(x: Number) -> Number:
    """By x² up to 0.7, then by the logarithm of what is left to 1."""
    return copysign(_inverse(x, 1.0 - absolute(x), x > 0.0), x)


def erfcinv(y: Number) -> Number:
    """erfinv(1 - y), without the subtraction where y or 2 - y is small."""
    low = y < 1.0
    return _inverse(1.0 - y, where(low, y, 2.0 - y), low)


# --- the normal distribution ---------------------------------------------------------------------
def normal_inverse(p: Number) -> Number:
    """-√2·erfcinv(2p)."""
    return -math.sqrt(2.0) * erfcinv(2.0 * p)


def _tail(x: Number) -> tuple[Number, Number, Number]:
    """For a = |x| > 1: erfcx(a/√2) / 2, and -a²/2 as a sum."""
    a = absolute(x)
    a = where(a > 1.0, where(a > 1e150, 1e150, a), 1.0)
    square, lost = square_pair(a)
    return 0.5 * erfcx(SQRT_HALF * a), -0.5 * square, -0.5 * lost


def normal(x: Number) -> Number:
    """erfc(-x/√2) / 2 up to |x| = 1, beyond erfcx times exp(-x²/2), whose exponent is exact."""
    scaled, high, low = _tail(x)
    tail = scaled * exp(high) * (1.0 + low)
    central = 0.5 * erfc(-SQRT_HALF * x)
    return where(x < -1.0, tail, where(x > 1.0, 1.0 - tail, central))


def log_normal(x: Number) -> Number:
    """The logarithm of `normal`, where that is below the smallest number as well."""
    scaled, high, low = _tail(x)
    tail = scaled * exp(high) * (1.0 + low)
    far = where(x < -1e150, -0.5 * x * x, high + (low + log(scaled)))
    return where(x < -1.0, far, log1p(-where(x > 1.0, tail, 0.5 * erfc(SQRT_HALF * x))))
