"""Logarithms and what is made of them.

x = 2^k·m with m in [sqrt(1/2), sqrt(2)); with f = m - 1 and s = f / (2 + f),
log(m) = 2·atanh(s) = f - f²/2 + s·(f²/2 + R(s²)), the form of fdlibm's e_log.c, in f64. In f32 a
polynomial in f is cheaper than the division.
"""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

import math
from fractions import Fraction

from jitgraph.codegen.mathlib.exponential import exp, exp2
from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    LN2,
    LN10,
    Pair,
    Table,
    bits_of,
    estrin,
    fast_two_sum,
    fma,
    format_of,
    literal,
    nearly_identity,
    parts,
    pick,
    polynomial,
    two_product,
    two_sum,
)
from jitgraph.codegen.mathlib.native import ashr, fabs, lookup
from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops.arithmetic import copysign, equal, sqrt, where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.values import Value

#: For f64, (2·atanh(s) / s - 2) / s² by s² <= 0.0295; for f32, (log(1 + f) - f + f²/2) / f³ by f.
#: Relative error of log 2^-27.3 and 2^-59.5.
_LOG: Table = {
    F32: (
        0.3333333, -0.25000823, 0.20001261, -0.16623335, 0.1420095, -0.13159509, 0.12766941,
        -0.07643113,
    ),
    F64: (
        0.6666666666666734, 0.3999999999941628, 0.28571428742162036, 0.22222198587081068,
        0.18183563968706218, 0.1531405216414204, 0.1479599704522548,
    ),
}
#: For f32, in f64: m from the number with these bits on, in 16 pieces, 1/c in the middle of each (1
#: in the one around it) and log2(1/c); log2(1 + f) / f for |f| = |m·c - 1| <= 0.0298, relative
#: error 2^-38.2.
_PIECES_FROM = 0x3FE6555500000000
_MIDDLES = (
    1.401460166198322, 1.3426576291934202, 1.288590867950822, 1.2387099213059793,
    1.1925468098983878, 1.1497008088987082, 1.1098267853712465, 1.0726258811952185,
    1.037838009039473, 1.0, 0.9504953367011455, 0.8971965175725684, 0.8495577515614606,
    0.8067228959599075, 0.7680001875000457, 0.732824598198717,
)
_LOGS = (
    -0.48693073912970625, -0.4250914718278249, -0.36579427574599543, -0.3088383794957119,
    -0.2540458960696621, -0.2012584718852037, -0.15033452757901258, -0.10114696942093526,
    -0.053581278191666894, 0.0, 0.0732485461141507, 0.15650407420742168, 0.2352160720695664,
    0.3098548926072558, 0.380821431720419, 0.44846016472802114,
)
_LOG2 = (
    1.442695040893391, -0.721347520448356, 0.48089825663347374, -0.3606736811816769,
    0.2888119707912858, -0.24068802103875664,
)


# --- the core ----------------------------------------------------------------------------------
def split(x: Value) -> tuple[Value, Value, Value]:
    """m and k with x = 2^k·m for a normal positive x, and k where the exponent's bits are."""
    digits = format_of(x).digits
    lowest = int(x.dtype.type(math.sqrt(0.5)).view(format_of(x).integer))
    above = bits_of(x) - lowest
    exponent = above & (-1 << digits)
    k: Value = cast(ashr(above, literal(above, digits)), x.dtype)
    return bitcast(bits_of(x) - exponent, x.dtype), k, exponent


def decompose(x: Value) -> Pair:
    """m and k with x = 2^k·m, for positive finite x."""
    subnormal, up = x < format_of(x).smallest_normal, format_of(x).digits + 2
    m, k, _ = split(where(subnormal, x * 2.0**up, x))
    return m, where(subnormal, k - float(up), k)


def _beyond(f: Value, low: Value | None) -> Value:
    """log(1 + f) - f + low."""
    if f.dtype == F32:
        z = f * f
        cubic = f * z
        tail = cubic * polynomial(f, _LOG) if low is None else fma(cubic, polynomial(f, _LOG), low)
        return fma(z, -0.5, tail)
    s = f / (f + 2.0)
    z = s * s
    half = 0.5 * f * f
    inner = fma(z, polynomial(z, _LOG), half)
    return (s * inner if low is None else fma(s, inner, low)) - half


def _checked(x: Value, y: Value) -> Value:
    """y = log(x), or what log is where x is not positive and finite."""
    y = where(x < math.inf, y, x)
    return where(x > 0.0, y, where(equal(x, 0.0), -math.inf, literal(x, math.nan)))


def _scaled(x: Value, of_two: Fraction, unit: Fraction) -> Value:
    """log2(x)·of_two where log(m) is taken `unit` times."""
    m, k = decompose(x)
    f = m - 1.0
    unit_high, unit_low = parts(x, unit)
    two_high, two_low = parts(x, of_two)
    first, first_low = two_product(f, unit_high)
    rest = fma(_beyond(f, None), unit_high, fma(f, unit_low, first_low))
    power, power_low = two_product(k, two_high)
    total, lost = fast_two_sum(power, first)
    return _checked(x, total + (rest + (fma(k, two_low, power_low) + lost)))


def wide_log2(x: Value) -> Value:
    """log2(x) for positive finite x of f32, in f64, where none is subnormal."""
    bits = bits_of(cast(x, F64))
    above = bits - _PIECES_FROM
    exponent = above & (-1 << 52)
    piece = ashr(above, literal(above, 48))
    f = fma(bitcast(bits - exponent, F64), lookup(piece, _MIDDLES, F64), -1.0)
    start = fma(cast(exponent, F64), 2.0**-52, lookup(piece, _LOGS, F64))
    return fma(f, estrin(f, _LOG2), start)


def _with_power(k: Value, f: Value, low: Value | None) -> Value:
    """k·ln 2 + log(1 + f) + low."""
    ln2, ln2_low = parts(k, LN2)
    low = k * ln2_low if low is None else fma(k, ln2_low, low)
    return fma(k, ln2, f + _beyond(f, low))


def log_of_normal(x: Value) -> Value:
    """log of what is known to be positive, finite and no subnormal number."""
    m, k, _ = split(x)
    return _with_power(k, m - 1.0, None)


# --- the functions -----------------------------------------------------------------------------
def log(x: Value) -> Value:
    m, k = decompose(x)
    return _checked(x, _with_power(k, m - 1.0, None))


def log2(x: Value) -> Value:
    if x.dtype == F32:
        return _checked(x, cast(wide_log2(x), F32))
    return _scaled(x, Fraction(1), 1 / LN2)


def log10(x: Value) -> Value:
    if x.dtype == F32:
        return _checked(x, cast(wide_log2(x) * float(LN2 / LN10), F32))
    return _scaled(x, LN2 / LN10, 1 / LN10)


def log1p_pair(x: Value, low: Value | None) -> Value:
    """log(1 + x + low), for |low| at most an ulp of x. What 1 + x rounds off is brought to the
    scale of m, and joins f."""
    total = 1.0 + x
    lost = x - (total - 1.0)
    m, k, exponent = split(total)
    inverse = bits_of(literal(x, 1)) - exponent
    near = m - 1.0
    small = (lost if low is None else lost + low) * bitcast(where(inverse < 0, 0, inverse), x.dtype)
    f = near + small
    return _checked(total, _with_power(k, f, (near - f) + small))


def log1p(x: Value) -> Value:
    return copysign(log1p_pair(x, None), x)


def logaddexp(a: Value, b: Value) -> Value:
    """max + log1p(exp(-|a - b|)). At most 2 ULP of the larger of the terms."""
    y = where(a > b, a, b) + log1p(exp(-fabs(a - b)))
    return where(equal(a, b), a + math.log(2), y)


def logaddexp2(a: Value, b: Value) -> Value:
    """max + log2(1 + 2^-|a - b|). At most 2 ULP of the larger of the terms."""
    y = where(a > b, a, b) + log1p(exp2(-fabs(a - b))) * float(1 / LN2)
    return where(equal(a, b), a + 1.0, y)


def softplus(x: Value) -> Value:
    """max(x, 0) + log1p(exp(-|x|))."""
    return where(x > 0.0, x, literal(x, 0)) + log1p(exp(-fabs(x)))


# --- inverse hyperbolic functions --------------------------------------------------------------
def arcsinh(x: Value) -> Value:
    """log1p(a + a² / (1 + sqrt(1 + a²))) with a = |x|; log(a) + ln 2 for large a. 1 ULP."""
    a = fabs(x)
    large = a > pick(x, 2.0**12, 2.0**28)
    within = where(large, 1.0, a)
    square = within * within
    more, lost = fast_two_sum(within, square / (1.0 + sqrt(1.0 + square)))
    y = log1p_pair(where(large, a - 1.0, more), where(large, 0.0, lost))
    y = y + where(large, math.log(2), literal(x, 0))
    return nearly_identity(x, copysign(y, x))


def arccosh(x: Value) -> Value:
    """log1p(t + sqrt(2t + t²)) with t = x - 1, which is exact; log(x) + ln 2 for large x."""
    large = x > pick(x, 2.0**12, 2.0**28)
    t = where(large, 1.0, x) - 1.0
    total, lost = two_sum(sqrt(fma(t, t, t + t)), t)
    y = log1p_pair(where(large, x - 1.0, total), where(large, 0.0, lost))
    y = y + where(large, math.log(2), literal(x, 0))
    return where(x < 1.0, math.nan, y)


def arctanh(x: Value) -> Value:
    """log1p(2a / (1 - a)) / 2 with a = |x|."""
    a = fabs(x)
    below, lost = fast_two_sum(literal(x, 1), -a)
    twice = a + a
    quotient = twice / below
    rest = (fma(-quotient, below, twice) - quotient * lost) / below
    y = 0.5 * log1p_pair(quotient, where(equal(a, 1.0), 0.0, rest))
    return nearly_identity(x, copysign(y, x))
