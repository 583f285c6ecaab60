"""Logarithms and what is made of them.

x = 2^k·m with m in [sqrt(1/2), sqrt(2)); with f = m - 1 and s = f / (2 + f),
log(m) = 2·atanh(s) = f - f²/2 + s·(f²/2 + R(s²)), the form of fdlibm's e_log.c.
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
    fast_two_sum,
    fma,
    format_of,
    literal,
    nearly_identity,
    parts,
    pick,
    polynomial,
    shift_right,
    two_sum,
)
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.ir.ops.arithmetic import copysign, equal, sqrt, where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.values import Value

#: (2·atanh(s) / s - 2) / s², by z = s² <= 0.0295; relative error of log 2^-34.1 and 2^-58.2.
_LOG: Table = {
    F32: (
        0.6666666, 0.4000097, 0.2849908, 0.24270768,
    ),
    F64: (
        0.6666666666666736, 0.3999999999940452, 0.2857142874460534, 0.22222198343928995,
        0.18183576475991325, 0.15313731762750873, 0.1479922888628937,
    ),
}


# --- the core ----------------------------------------------------------------------------------
def decompose(x: Value) -> Pair:
    """m and k with x = 2^k·m, for positive finite x. Arithmetic on the bits, as in musl's log."""
    format_ = format_of(x)
    digits, bias = format_.digits, format_.bias
    subnormal = x < format_.smallest_normal
    bits = bits_of(where(subnormal, x * 2.0 ** (digits + 2), x))
    lowest = int(bits_like(x, math.sqrt(0.5)))
    above = bits - lowest
    fraction = (above & ((1 << digits) - 1)) + lowest
    # The biased exponent as the low digits of 2^digits, a float: no conversion is needed.
    exponent = shift_right(above + (bias << digits), digits)
    base = int(bits_like(x, 2.0**digits))
    offset = 2.0**digits + bias
    k = bitcast(exponent | base, x.dtype)
    k = k - where(subnormal, offset + digits + 2, literal(x, offset))
    return bitcast(fraction, x.dtype), k


def bits_like(x: Value, number: float) -> int:
    """The bits of a number in the format of x."""
    return int(x.dtype.type(number).view(format_of(x).integer))


def _fraction_pair(m: Value) -> Pair:
    """log(m) as a high part and a rest that is smaller, but not by much."""
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    half = f * 0.5
    square = half * f
    high = f - square
    lost = ((f - high) - square) - fma(half, f, -square)
    return high, fma(s, square + z * polynomial(z, _LOG), lost)


def _checked(x: Value, y: Value) -> Value:
    """y = log(x), or what log is where x is not positive and finite."""
    special = where(x < 0.0, math.nan, where(equal(x, 0.0), -math.inf, x))
    return where((x > 0.0) & (x < math.inf), y, special)


def _scaled(x: Value, of_two: Fraction, unit: Fraction) -> Value:
    """log2(x)·of_two where log(m) is taken `unit` times."""
    m, k = decompose(x)
    high, low = _fraction_pair(m)
    unit_high, unit_low = parts(x, unit)
    two_high, two_low = parts(x, of_two)
    first = high * unit_high
    rest = fma(high, unit_low, fma(high, unit_high, -first)) + low * unit_high
    power = k * two_high
    total, lost = two_sum(power, first)
    rest += fma(k, two_low, fma(k, two_high, -power)) + lost
    return _checked(x, total + rest)


def _with_power(k: Value, high: Value, low: Value) -> Value:
    """k·ln 2 + high + low."""
    ln2, ln2_low = parts(k, LN2)
    product = k * ln2
    total, lost = fast_two_sum(product, high)
    return total + (fma(k, ln2_low, low) + (lost + fma(k, ln2, -product)))


# --- the functions -----------------------------------------------------------------------------
def log(x: Value) -> Value:
    """At most 0.6 ULP."""
    m, k = decompose(x)
    return _checked(x, _with_power(k, *_fraction_pair(m)))


def log2(x: Value) -> Value:
    """At most 0.6 ULP."""
    return _scaled(x, Fraction(1), 1 / LN2)


def log10(x: Value) -> Value:
    """At most 0.6 ULP."""
    return _scaled(x, LN2 / LN10, 1 / LN10)


def log1p_pair(x: Value, low: Value) -> Value:
    """log(1 + x + low), for |low| at most an ulp of x."""
    total, lost = two_sum(literal(x, 1), x)
    m, k = decompose(total)
    high, rest = _fraction_pair(m)
    more = (lost + low) / total
    return _checked(total, _with_power(k, high, rest + fma(more * -0.5, more, more)))


def log1p(x: Value) -> Value:
    """Measured 0.65 ULP."""
    return nearly_identity(x, log1p_pair(x, literal(x, 0)))


def logaddexp(a: Value, b: Value) -> Value:
    """max + log1p(exp(-|a - b|)). At most 2 ULP of the larger of the terms."""
    y = where(a > b, a, b) + log1p(exp(-fabs(a - b)))
    return where(equal(a, b), a + math.log(2), y)


def logaddexp2(a: Value, b: Value) -> Value:
    """max + log2(1 + 2^-|a - b|). At most 2 ULP of the larger of the terms."""
    y = where(a > b, a, b) + log1p(exp2(-fabs(a - b))) * float(1 / LN2)
    return where(equal(a, b), a + 1.0, y)


def softplus(x: Value) -> Value:
    """max(x, 0) + log1p(exp(-|x|)). Measured 1.2 ULP."""
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
    """log1p(t + sqrt(2t + t²)) with t = x - 1, which is exact; log(x) + ln 2 for large x.
    Measured 1.1 ULP."""
    large = x > pick(x, 2.0**12, 2.0**28)
    t = where(large, 1.0, x) - 1.0
    total, lost = two_sum(sqrt(fma(t, t, t + t)), t)
    y = log1p_pair(where(large, x - 1.0, total), where(large, 0.0, lost))
    y = y + where(large, math.log(2), literal(x, 0))
    return where(x < 1.0, math.nan, y)


def arctanh(x: Value) -> Value:
    """log1p(2a / (1 - a)) / 2 with a = |x|. Measured 1.0 ULP."""
    a = fabs(x)
    below, lost = fast_two_sum(literal(x, 1), -a)
    twice = a + a
    quotient = twice / below
    rest = (fma(-quotient, below, twice) - quotient * lost) / below
    y = 0.5 * log1p_pair(quotient, where(equal(a, 1.0), 0.0, rest))
    return nearly_identity(x, copysign(y, x))
