"""Powers and roots."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

import math
from fractions import Fraction

from jitgraph.codegen.mathlib.exponential import reduce, reduced_exponential, scale_by
from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    LN2,
    Pair,
    Table,
    bits_of,
    clamp,
    divide_pairs,
    fast_two_sum,
    fma,
    format_of,
    literal,
    parts,
    pick,
    polynomial,
    power_of_two,
    round_to_integer,
    two_product,
    two_sum,
)
from jitgraph.codegen.mathlib.logarithmic import decompose
from jitgraph.codegen.mathlib.native import fabs, floor, native
from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops.arithmetic import copysign, equal, not_equal, sqrt, where
from jitgraph.ir.values import Value

#: (2·atanh(s) / s - 2 - 2/3·z) / z² by z = s²; relative error of log 2^-37.6 and 2^-65.2.
_LOG_TAIL: Table = {
    F32: (
        0.39999998, 0.28571877, 0.2218485, 0.19470622,
    ),
    F64: (
        0.3999999999999998, 0.28571428571445256, 0.2222222221750246, 0.18181818874372885,
        0.15384556599733984, 0.1333632770027351, 0.11674612056558326, 0.11990719267311306,
    ),
}
#: The cube root on [sqrt(1/2), sqrt(2)], relative error 2^-16.7.
_CBRT: Table = {
    F32: (0.45167032, 0.9047945, -0.53558034, 0.21689597, -0.037776224),
    F64: (
        0.45167032227335585, 0.9047945369749649, -0.5355803124696098, 0.2168959688490744,
        -0.037776222685014245,
    ),
}
TWO_THIRDS = Fraction(2, 3)


# --- power -------------------------------------------------------------------------------------
def _log_pair(x: Value) -> Pair:
    """log(x) for positive finite x as a pair, to about 12 bits more than the precision."""
    m, k = decompose(x)
    f = m - 1.0
    below, below_low = two_sum(literal(x, 2), f)
    s, s_low = fast_two_sum(*divide_pairs((f, literal(x, 0)), (below, below_low)))
    z, z_low = two_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    third, third_low = parts(x, TWO_THIRDS)
    c, c_low = fast_two_sum(literal(x, third), fma(z, polynomial(z, _LOG_TAIL), third_low))
    zc, zc_low = two_product(z, c)
    zc_low += fma(z, c_low, z_low * c)
    cubic, cubic_low = two_product(s, zc)
    cubic_low += fma(s, zc_low, s_low * zc)
    log_m, log_m_low = fast_two_sum(s + s, cubic)
    log_m_low += fma(s_low, 2.0, cubic_low)
    ln2, ln2_low = parts(x, LN2)
    high, low = two_product(k, ln2)
    total, lost = fast_two_sum(high, log_m)
    return fast_two_sum(total, lost + (fma(k, ln2_low, low) + log_m_low))


def _power_of_magnitude(x: Value, y: Value) -> Value:
    """|x|^y as exp(y·log|x|), with the limits for infinite and zero operands."""
    a = fabs(x)
    high, low = _log_pair(a)
    infinite = (a < math.inf) ^ True
    at_edge = infinite | equal(a, 0.0)
    high = where(infinite, math.inf, where(equal(a, 0.0), -math.inf, high))
    low = where(at_edge, 0.0, low)
    product = y * high
    lost = fma(y, low, fma(y, high, -product))
    bounded = clamp(product, *pick(x, (-104.0, 89.0), (-746.0, 710.0)))
    lost = where(equal(bounded, product), lost, 0.0)
    n, r = reduce(bounded, format_of(x).bias)
    near, rest = reduced_exponential(r)
    power = near + fma(near + rest, lost, rest)
    return scale_by(power, n, bounded < pick(x, -75.0, -690.0))


def float_power(x: Value, y: Value) -> Value:
    """exp(y·log|x|) in pairs, with the sign and the special cases of C's pow."""
    power = where(equal(fabs(x), 1.0), 1.0, _power_of_magnitude(x, y))
    half = y * 0.5
    integral = equal(floor(y), y)
    odd = integral & not_equal(floor(half), half)
    negative = bits_of(x) < 0
    power = where(negative & odd, -power, power)
    defined = integral | (x >= 0.0) | equal(x, -math.inf)
    power = where(defined & equal(x, x) & equal(y, y), power, math.nan)
    return where(equal(y, 0.0) | equal(x, 1.0), 1.0, power)


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
    """Floats: measured 0.72 ULP, as C's pow in special cases. Integers wrap around."""
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
    """sqrt(x² + y²), scaled by a power of two against overflow and underflow. Measured 0.83 ULP."""
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
