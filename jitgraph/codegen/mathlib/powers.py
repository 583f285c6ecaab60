"""Powers and roots."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from jitgraph.codegen.mathlib.exponential import scale_by, twice_exp2
from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    LN2,
    Pair,
    Table,
    bits_of,
    clamp,
    estrin,
    fast_two_sum,
    flip_sign,
    fma,
    format_of,
    literal,
    parts,
    pick,
    polynomial,
    power_of_two,
    round_to_integer,
    two_product,
)
from jitgraph.codegen.mathlib.logarithmic import decompose, wide_log2
from jitgraph.codegen.mathlib.native import fabs, floor, native, rarely, trunc
from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops.arithmetic import copysign, equal, not_equal, sqrt, where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.values import Value

#: For f64, (3·atanh(s) / s - 3 - z) / z² by z = s² <= 0.0295; relative error of log 2^-66.3.
_LOG_TAIL = (
    0.600000000000034, 0.4285714285514387, 0.33333333780900826, 0.27272676458763173,
    0.23080140360389642, 0.19885122170619215, 0.1979548743572417,
)
#: The cube root on [sqrt(1/2), sqrt(2)], relative error 2^-16.7.
_CBRT: Table = {
    F32: (0.45167032, 0.9047945, -0.53558034, 0.21689597, -0.037776224),
    F64: (
        0.45167032227335585, 0.9047945369749649, -0.5355803124696098, 0.2168959688490744,
        -0.037776222685014245,
    ),
}


# --- power -------------------------------------------------------------------------------------
def _cut(x: Value, bits: int) -> Value:
    """x without its last bits, so that products with it are exact."""
    return bitcast(bits_of(x) & (-1 << bits), x.dtype)


def _log2_pair(x: Value) -> Pair:
    """log2(x) for positive finite x of f64 as a pair, to about 11 bits more than the precision.

    With s = (m - 1) / (m + 1) cut in two, log2(m) = s·(3 + s² + s⁴·Q(s²))·2/(3·ln 2): the constant
    and the coefficient of s² are exact, as in fdlibm's e_pow.c.
    """
    half = (format_of(x).digits + 2) // 2
    m, k = decompose(x)
    f, below = m - 1.0, m + 1.0
    below_low = m - (below - 1.0)
    inverse = 1.0 / below
    s = f * inverse
    high = _cut(s, half)
    low = fma(-high, below_low, fma(-high, below, f)) * inverse
    z, square = high * high, s * s
    rest = fma(square * square, estrin(square, _LOG_TAIL), low * (s + high))
    factor = _cut(3.0 + (z + rest), half)
    factor_low = rest - ((factor - 3.0) - z)
    product = high * factor  # exact
    product_low = fma(low, factor, s * factor_low)
    unit, unit_low = parts(x, Fraction(2, 3) / LN2)
    log_m, lost = two_product(product, unit)
    lost = fma(product_low, unit, fma(product, unit_low, lost))
    total, more = fast_two_sum(k, log_m)
    return total, more + lost


def _exponent(a: Value, y: Value) -> Pair:
    """y·log2(a) as a pair, with the limits for infinite and zero operands."""
    if a.dtype == F32:
        log = wide_log2(a)
        log = where(a < math.inf, where(equal(a, 0.0), -math.inf, log), cast(a, F64))
        product = cast(y, F64) * log
        high = cast(product, F32)
        return high, cast(product - cast(high, F64), F32)
    high, low = _log2_pair(a)
    high = where(a < math.inf, where(equal(a, 0.0), -math.inf, high), a)
    product = y * high
    return product, fma(y, low, fma(y, high, -product))


def _power_of_magnitude(a: Value, y: Value) -> Value:
    """a^y as 2^(y·log2(a))."""
    product, lost = _exponent(a, y)
    bounded = clamp(product, *pick(a, (-151.0, 129.0), (-1080.0, 1025.0)))
    lost = where(equal(bounded, product), lost, 0.0)
    n, bits = round_to_integer(bounded, offset=format_of(a).bias - 1)
    r = (bounded - n) + lost
    return scale_by(twice_exp2(r), bits, bounded < pick(a, -125.0, -1021.0))


def _careful_power(x: Value, y: Value) -> Value:
    """|x|^y with the sign and the special cases of C's pow."""
    a = fabs(x)
    power = _power_of_magnitude(a, y)
    power = where(equal(y, 0.0) | (equal(a, 1.0) & equal(y, y)), 1.0, power)
    over_even = fabs(fma(trunc(y * 0.5), -2.0, y))  # exact; NaN where y is infinite
    odd = equal(over_even, 1.0)
    broken = (over_even > 0.0) & not_equal(over_even, 1.0)
    sign = bits_of(x) & bits_of(literal(x, -0.0))
    power = where(odd, flip_sign(power, sign), power)
    undefined = (x < 0.0) & (a < math.inf) & broken
    power = where(undefined, math.nan, power)
    return where(equal(x, 1.0), 1.0, power)


def _single_power(x: Value, y: Value) -> Value:
    """In f64 up to the exponent's fraction, for positive x, where the result is a normal number;
    else with care."""
    product = cast(y, F64) * wide_log2(x)
    n, wide = round_to_integer(product, offset=format_of(x).bias - 1)
    bits = cast(wide, np.int32)
    power = twice_exp2(cast(product - n, F32)) * power_of_two(bits, x)
    largest = int(np.float32(np.finfo(np.float32).max).view(np.int32))
    usual = (cast(bits_of(x) - 1, np.uint32) < largest) & (fabs(y) < 2.0**20)
    usual = usual & (cast(bits - 1, np.uint32) < 2 * format_of(x).bias - 1)
    return rarely(usual ^ True, power, _careful_power, x, y)


def float_power(x: Value, y: Value) -> Value:
    return _single_power(x, y) if x.dtype == F32 else _careful_power(x, y)


# Squaring and multiplying, wrapping around. A negative exponent, which is rejected before this
# code runs, is read as unsigned: the loop ends for every operand.
_INTEGER_POWER = """define internal {t} @integer_power.{t}({t} %base, {t} %exponent) #0 {{
entry:
  br label %step
step:
  %power = phi {t} [ 1, %entry ], [ %power.next, %step ]
  %square = phi {t} [ %base, %entry ], [ %square.next, %step ]
  %left = phi {t} [ %exponent, %entry ], [ %left.next, %step ]
  %bit = trunc {t} %left to i1
  %product = mul {t} %power, %square
  %power.next = select i1 %bit, {t} %product, {t} %power
  %square.next = mul {t} %square, %square
  %left.next = lshr {t} %left, 1
  %more = icmp ne {t} %left.next, 0
  br i1 %more, label %step, label %done
done:
  ret {t} %power.next
}}"""
_integer_power = native(
    "integer_power",
    "call {t} @integer_power.{t}({t} {0}, {t} {1})",
    functions={"integer_power.{t}": _INTEGER_POWER},
)


def power(x: Value, y: Value) -> Value:
    """Floats as C's pow in special cases. Integers wrap around."""
    return float_power(x, y) if x.dtype.kind == "f" else _integer_power(x, y)


# --- roots -------------------------------------------------------------------------------------
def cbrt(x: Value) -> Value:
    """A polynomial, then Newton's method, the last step with an exact residue. 0.7 ULP."""
    a = fabs(x)
    regular = (a < math.inf) & (a > 0.0)
    m, k = decompose(where(regular, a, 1.0))
    third = floor(fma(k, 1.0 / 3.0, 0.125))
    left = fma(third, -3.0, k)
    single, double = equal(left, 0.0), equal(left, 1.0)
    root = polynomial(m, _CBRT)
    root = root * where(single, 1.0, where(double, 2.0 ** (1 / 3), literal(x, 2.0 ** (2 / 3))))
    target = m * where(single, 1.0, where(double, 2.0, literal(x, 4.0)))
    for _ in range(pick(x, 1, 2)):
        square, lost = two_product(root, root)
        residue = fma(root, square, -target) + root * lost
        root = root - residue / (3.0 * square)
    _, n = round_to_integer(third, offset=format_of(x).bias)
    return where(regular, copysign(root * power_of_two(n, x), x), x)


def hypot(x: Value, y: Value) -> Value:
    """sqrt(x² + y²), scaled by a power of two against overflow and underflow."""
    a, b = fabs(x), fabs(y)
    large = where(a > b, a, b)
    small = where(a > b, b, a)
    reach = format_of(x).bias // 2 - 8
    wide = 2.0 ** (reach + 16 + format_of(x).digits)
    up, down = large > 2.0**reach, large < 2.0**-reach
    factor = where(up, 1 / wide, where(down, wide, literal(x, 1)))
    back = where(up, wide, where(down, 1 / wide, literal(x, 1)))
    large, small = large * factor, small * factor
    y = sqrt(fma(large, large, small * small)) * back
    return where(equal(a, math.inf) | equal(b, math.inf), math.inf, y)


def square(x: Value) -> Value:
    return x * x


def reciprocal(x: Value) -> Value:
    """1 / x; for integers what NumPy's C cast makes of it (zero where |x| > 1)."""
    if x.dtype.kind == "f":
        return 1.0 / x
    result: Value = cast(1.0 / cast(x, F64), x.dtype)
    return result
