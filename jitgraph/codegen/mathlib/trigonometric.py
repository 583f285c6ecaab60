"""Sine, cosine, tangent and their inverses.

x = n·pi + r with r as a pair, by a Cody-Waite reduction in three parts that loses nothing to
cancellation; sin(x) is sin(r) or -sin(r), one polynomial without selection, and so is cos(x) with n
halfway between two integers. The tangent is reduced by pi/2, to a quotient of sine and cosine.
"""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

import math
from fractions import Fraction

from jitgraph.codegen.mathlib.angles import as_cosine, as_quarter, as_sine
from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    PI,
    Pair,
    Table,
    bits_of,
    divide_pairs,
    estrin,
    fast_two_sum,
    flip_sign,
    fma,
    format_of,
    literal,
    nearly_identity,
    parts,
    polynomial,
    round_to_integer,
    shift_left,
    two_product,
    two_sum,
)
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.ir.ops.arithmetic import copysign, equal, not_equal, sqrt, where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.values import Value

#: (sin(r) / r - 1) / r² by r², |r| <= pi/2; relative error of sin 2^-27.3 and 2^-61.6.
_SIN: Table = {
    F32: (-0.1666666, 0.008333069, -0.00019809777, 2.6060957e-06),
    F64: (
        -0.16666666666666666, 0.008333333333333207, -0.0001984126984121248,
        2.755731921156935e-06, -2.5052106904385325e-08, 1.6058940998472517e-10,
        -7.643019205598504e-13, 2.721416958890797e-15,
    ),
}
#: The same for |r| <= pi/4; 2^-32.5 and 2^-57.5.
_SIN_QUARTER: Table = {
    F32: (
        -0.16666667, 0.00833338, -0.00019853438, 2.8361392e-06,
    ),
    F64: (
        -0.16666666666666632, 0.008333333333322458, -0.000198412698298174,
        2.755731368873333e-06, -2.5050756741312825e-08, 1.5896666326580344e-10,
    ),
}
#: (cos(r) - 1 + r²/2) / r⁴ by r²; error of cos 2^-33.1 and 2^-59.4.
_COS: Table = {
    F32: (
        0.041666646, -0.0013887308, 2.4432135e-05,
    ),
    F64: (
        0.0416666666666666, -0.0013888888888873953, 2.4801587289373378e-05,
        -2.755731432012146e-07, 2.0875718781896294e-09, -1.1359409307224993e-11,
    ),
}
#: (atan(t) / t - 1) / t² by t², |t| <= tan(pi/8); relative error of atan 2^-30.4 and 2^-59.3.
_ARCTAN: Table = {
    F32: (
        -0.33333316, 0.19998528, -0.14244363, 0.10598723, -0.06088341,
    ),
    F64: (
        -0.333333333333332, 0.19999999999953755, -0.14285714280208595, 0.1111111078383862,
        -0.09090897763194922, 0.07692060231672715, -0.06663103473597028, 0.058478804179835114,
        -0.050392467833332476, 0.03806270551459746, -0.017904821676092225,
    ),
}
#: (asin(t) / t - 1) / t² by t² <= 1/4; relative error of asin 2^-31.6 and 2^-58.9.
_ARCSIN: Table = {
    F32: (
        0.1666666, 0.07500518, 0.04451464, 0.031825185, 0.01437718, 0.037598163,
    ),
    F64: (
        0.16666666666666763, 0.07499999999970243, 0.044642857175134935, 0.030381942683033774,
        0.02237221567556206, 0.01735159982328984, 0.013980964721119633, 0.01139774819778231,
        0.010786692979731383, 0.0036823858881483615, 0.021765195360620774,
        -0.021079843718960035, 0.032678584001254014,
    ),
}


# --- sine, cosine, tangent ---------------------------------------------------------------------
def _reduce(x: Value, n: Value, unit: Fraction) -> Pair:
    """x - n·unit, for an n that makes it small; the low part need not be."""
    first, second, third = parts(x, unit, 3)
    near = fma(-n, first, x)
    if x.dtype == F64:
        second, third = _short(unit - Fraction(first))
        r = fma(-n, second, near)
        return r, fma(-n, third, fma(-n, second, near - r))
    product, lost = two_product(n, second)
    r = near - product
    return r, fma(-n, third, ((near - r) - product) - lost)


def _short(number: Fraction) -> tuple[float, float]:
    """A number as a sum of an f64 of 30 bits, whose products with small integers are exact, and
    another."""
    scale = Fraction(2) ** (30 - math.frexp(float(number))[1])
    first = Fraction(round(number * scale)) / scale
    return float(first), float(number - first)


def _turned(pair: Pair, bits: Value) -> Pair:
    """The pair, negated where the integer is odd."""
    sign = shift_left(bits, 8 * bits.dtype.itemsize - 1)
    return flip_sign(pair[0], sign), flip_sign(pair[1], sign)


def _sine(r: Pair) -> Value:
    """sin(high + low), |high| <= pi/2: the cubic term is as large as 0.65 and is taken as a pair.
    The cosine that low is multiplied by may be rough."""
    high, low = r
    first, *others = _SIN[high.dtype]
    z, z_low = two_product(high, high)
    cubic, cubic_low = two_product(high, z)
    total = fma(cubic, first, high)
    lost = fma(cubic, first, high - total)
    lost = fma(fma(high, z_low, cubic_low), first, lost)
    lost = fma(low, fma(z, -0.42, 1.0), lost)
    return total + fma(cubic * z, estrin(z, others), lost)


def sin(x: Value) -> Value:
    n, bits = round_to_integer(x, 1 / PI)
    r = as_sine(x, _turned(_reduce(x, n, PI), bits))
    return where(equal(x, 0.0), x, _sine(r))


def cos(x: Value) -> Value:
    n, bits = round_to_integer(fma(x, float(1 / PI), 0.5))
    half = n - 0.5
    high, low = _reduce(x, half, PI)
    first = parts(x, PI)[0]
    near = fma(-half, first, x)  # not exact where x is less than one
    low = low + (x - fma(half, first, near))
    return _sine(as_cosine(x, _turned((high, low), bits)))


def _quarter_sine(r: Pair) -> Pair:
    high, low = r
    z = high * high
    cubic = high * z
    return fast_two_sum(high, fma(cubic, polynomial(z, _SIN_QUARTER), fma(low * z, -0.5, low)))


def _quarter_cosine(r: Pair) -> Pair:
    high, low = r
    z = high * high
    half = z * -0.5
    total, lost = fast_two_sum(literal(high, 1), half)
    tail = fma(z * z, polynomial(z, _COS), fma(high, high, -z) * -0.5)
    return fast_two_sum(total, lost + (tail - high * low))


def tan(x: Value) -> Value:
    """The quotient of sine and cosine as pairs."""
    n, bits = round_to_integer(x, 2 / PI)
    high, low = _reduce(x, n, PI / 2)
    marked = bitcast((bits_of(low) & -2) | (bits & 1), x.dtype)
    r = as_quarter(x, (high, marked))
    sine, cosine = _quarter_sine(r), _quarter_cosine(r)
    even = equal(bits_of(r[1]) & 1, 0)
    over = (where(even, sine[0], -cosine[0]), where(even, sine[1], -cosine[1]))
    under = (where(even, cosine[0], sine[0]), where(even, cosine[1], sine[1]))
    quotient, rest = divide_pairs(over, under)
    return nearly_identity(x, quotient + rest)


def deg2rad(x: Value) -> Value:
    """A product with the constant, rounded as NumPy rounds it."""
    return x * float(x.dtype.type(math.pi) / x.dtype.type(180))


def rad2deg(x: Value) -> Value:
    """A product with the constant, rounded as NumPy rounds it."""
    return x * float(x.dtype.type(180) / x.dtype.type(math.pi))


# --- inverses ----------------------------------------------------------------------------------
def _arctan_quotient(n: Value, d: Value) -> tuple[Value, Pair]:
    """arctan(n / d), 0 <= n <= d, as `offset` + pair: offset pi/4 where n / d > tan(pi/8), with
    arctan((n - d) / (n + d)) for the pair."""
    far = n > d * math.tan(math.pi / 8)
    difference, sum_ = two_sum(n, -d), two_sum(n, d)
    over = (where(far, difference[0], n), where(far, difference[1], 0.0))
    under = (where(far, sum_[0], d), where(far, sum_[1], 0.0))
    t, low = divide_pairs(over, under)
    z = t * t
    tail = fma(t * z, polynomial(z, _ARCTAN), low)
    return where(far, 1.0, literal(n, 0)), (t, tail)


def _add_to(base: Value, unit: list[float], pair: Pair) -> Value:
    """base·unit + pair, for a small integer `base` and a unit not less than the pair."""
    product = base * unit[0]
    total, lost = fast_two_sum(product, pair[0])
    return total + (lost + fma(base, unit[1], pair[1]))


def arctan(x: Value) -> Value:
    a = fabs(x)
    steep = a > 1.0
    n, d = where(steep, 1.0, a), where(steep, a, 1.0)
    offset, (t, low) = _arctan_quotient(n, where(a < math.inf, d, literal(x, 1)))
    t, low = where(steep, -t, t), where(steep, -low, low)
    base = where(steep, 2.0 - offset, offset)
    y = _add_to(base, parts(x, PI / 4), (t, low))
    y = where(a < math.inf, y, where(equal(a, math.inf), math.pi / 2, x))
    return nearly_identity(x, copysign(y, x))


def arctan2(y: Value, x: Value) -> Value:
    """Signs and special cases as in C."""
    a, b = fabs(y), fabs(x)
    steep = a > b
    n, d = where(steep, b, a), where(steep, a, b)
    infinite = equal(n, math.inf)
    n, d = where(infinite, 1.0, n), where(infinite, 1.0, d)
    d = where(equal(d, 0.0), 1.0, d)
    few = format_of(x).bias // 4
    factor = where(d > 2.0 ** (3 * few), 2.0**-few,
                   where(d < 2.0 ** (-2 * few), 2.0 ** (2 * few), literal(x, 1)))  # fmt: skip
    n, d = n * factor, d * factor
    huge = equal(d, math.inf)
    offset, (t, low) = _arctan_quotient(where(huge, 0.0, n), where(huge, 1.0, d))
    backward = bits_of(x) < 0
    quarter = where(steep, 2.0, where(backward, 4.0, literal(x, 0)))
    minus = not_equal(steep, backward)
    base = where(minus, quarter - offset, quarter + offset)
    t, low = where(minus, -t, t), where(minus, -low, low)
    angle = _add_to(base, parts(x, PI / 4), (t, low))
    angle = where(equal(base, 0.0), t + low, angle)
    return copysign(angle, y) + where(equal(x, x) & equal(y, y), -0.0, literal(x, math.nan))


def _arcsine_parts(a: Value) -> tuple[Value, Value, Value]:
    """Whether a > 1/2, and high and low with arcsin(a) = high + low, or pi/2 minus twice that."""
    large = a > 0.5
    z = where(large, 0.5 - 0.5 * a, a * a)
    root = sqrt(z)
    residue = fma(-root, root, z) / (root + root + format_of(a).smallest_normal)
    high = where(large, root, a)
    low = fma(high * z, polynomial(z, _ARCSIN), where(large, residue, 0.0))
    return large, high, low


def arcsin(x: Value) -> Value:
    """arcsin(a) = pi/2 - 2·arcsin(sqrt((1 - a) / 2)) for a > 1/2."""
    a = fabs(x)
    large, high, low = _arcsine_parts(a)
    y = _add_to(literal(x, 1), parts(x, PI / 2), (-2.0 * high, -2.0 * low))
    return nearly_identity(x, copysign(where(large, y, high + low), x))


def arccos(x: Value) -> Value:
    """2·arcsin(sqrt((1 - a) / 2)) for a = |x| > 1/2, reflected for negative x, pi/2 - arcsin(x)
    for small ones."""
    a = fabs(x)
    large, high, low = _arcsine_parts(a)
    negative = x < 0.0
    base = where(large, where(negative, 2.0, literal(x, 0)), 1.0)
    factor = where(large, where(negative, -2.0, literal(x, 2)),
                   where(negative, 1.0, literal(x, -1)))  # fmt: skip
    return _add_to(base, parts(x, PI / 2), (factor * high, factor * low))
