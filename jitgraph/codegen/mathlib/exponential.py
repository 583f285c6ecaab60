"""exp and its kin: reduction by the Cody-Waite method, a polynomial, scaling by 2^n.

x = n·ln 2 + r with |r| <= ln 2 / 2, and exp(r) = 1 + r + r²·Q(r). The sum is carried as a pair, so
what is left of the error is the last rounding and less than 0.1 ulp.
"""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    LN2,
    Pair,
    Table,
    clamp,
    divide_pairs,
    fast_two_sum,
    fma,
    format_of,
    literal,
    nearly_identity,
    parts,
    pick,
    polynomial,
    power_of_two,
    round_to_integer,
    two_product,
    two_sum,
)
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.ir.ops.arithmetic import copysign, where
from jitgraph.ir.values import Value

# Coefficients: minimax in the weight that makes the error of the function uniform (Lawson's
# algorithm in 40 digits), then rounded; the error of the rounded polynomial is given.
#: (exp(r) - 1 - r) / r² on |r| <= 0.347; relative error of exp 2^-29.7 (f32), 2^-60.7 (f64).
_EXP: Table = {
    F32: (
        0.5, 0.16666667, 0.041666266, 0.008333272, 0.0013946379, 0.0001991418,
    ),
    F64: (
        0.5, 0.16666666666666685, 0.04166666666666673, 0.008333333333316548,
        0.001388888888885858, 0.00019841269897523782, 2.4801587373434984e-05,
        2.755723377699087e-06, 2.7557233631656615e-07, 2.5112399274829354e-08,
        2.0926858452932344e-09,
    ),
}


# --- the core ----------------------------------------------------------------------------------
def reduce(x: Value) -> tuple[Value, Pair]:
    """n in the low bits of an integer, and r as a pair."""
    n, bits = round_to_integer(x * float(1 / LN2))
    high, low = parts(x, LN2)
    near = fma(n, -high, x)  # exact: the product's bits below those of x cancel
    r = fma(n, -low, near)
    return bits, (r, fma(n, -low, near - r))


def _above_one(r: Pair) -> Pair:
    """exp(r) - 1 for reduced r."""
    high, low = r
    return fast_two_sum(high, fma(high * high, polynomial(high, _EXP), low))


def reduced_exponential(r: Pair) -> Pair:
    """exp(r) for reduced r; the low part need not be small."""
    high, low = r
    near_one, lost = fast_two_sum(literal(high, 1), high)
    return near_one, lost + fma(high * high, polynomial(high, _EXP), low)


def exponential_pair(x: Value, *, down: int) -> Pair:
    """exp(x)·2^-down, for x where that is a normal number."""
    n, r = reduce(x)
    high, low = fast_two_sum(*reduced_exponential(r))
    scale = power_of_two(n - down, x)
    return high * scale, low * scale


def exponential_minus_one(x: Value, *, down: int) -> Pair:
    """(exp(x) - 1)·2^-down. The scale leaves room near the upper end of the range."""
    n, r = reduce(x)
    high, low = _above_one(r)
    scale = power_of_two(n - down, x)
    unit = 2.0**-down
    less_one = scale - unit
    lost = (scale - less_one) - unit
    total, error = two_sum(less_one, scale * high)
    return total, error + (lost + scale * low)


def scale_by(y: Value, n: Value, tiny: Value) -> Value:
    """y·2^n, for y near 1 and n down to where the result is subnormal (`tiny` must hold there,
    and nowhere near the upper end); it is rounded once and overflows to infinity."""
    step = format_of(y).digits + 12
    scale = power_of_two(n + where(tiny, step, literal(n, -1)), y)
    return (y * scale) * where(tiny, 2.0**-step, literal(y, 2.0))


# --- the functions -----------------------------------------------------------------------------
def exp(x: Value) -> Value:
    """Measured 0.61 ULP; below 1 where the result is subnormal."""
    x = clamp(x, *pick(x, (-104.0, 89.0), (-746.0, 710.0)))
    n, r = reduce(x)
    high, low = reduced_exponential(r)
    return scale_by(high + low, n, x < pick(x, -75.0, -690.0))


def exp2(x: Value) -> Value:
    """Measured 0.61 ULP; below 1 where the result is subnormal."""
    x = clamp(x, *pick(x, (-151.0, 129.0), (-1080.0, 1025.0)))
    n, bits = round_to_integer(x)
    fraction = x - n
    ln2, ln2_low = parts(x, LN2)
    r, lost = two_product(fraction, ln2)
    high, low = reduced_exponential((r, fma(fraction, ln2_low, lost)))
    return scale_by(high + low, bits, x < pick(x, -108.0, -1000.0))


def expm1(x: Value) -> Value:
    """Measured 0.76 ULP."""
    bounded = clamp(x, *pick(x, (-20.0, 89.0), (-40.0, 710.0)))
    high, low = exponential_minus_one(bounded, down=1)
    return nearly_identity(x, 2.0 * (high + low))


def sigmoid(x: Value) -> Value:
    """1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0, where e = exp(-|x|). Measured 0.6 ULP;
    below 1 where the result is subnormal."""
    a = -fabs(x)
    a = where(a < pick(x, -104.0, -746.0), pick(x, -104.0, -746.0), a)
    n, r = reduce(a)
    high, low = fast_two_sum(*reduced_exponential(r))
    tiny = a < pick(x, -75.0, -690.0)
    scale = power_of_two(where(tiny, literal(n, pick(x, -100, -900)), n), x)
    total, lost = fast_two_sum(literal(x, 1), high * scale)
    below = x < 0.0
    over = (where(below, high, 1.0), where(below, low, 0.0))
    quotient, rest = divide_pairs(over, (total, fma(low, scale, lost)))
    ratio = quotient + rest
    return where(below, scale_by(ratio, n, tiny), ratio)


def sinh(x: Value) -> Value:
    """(E + E/(1 + E)) / 2 with E = exp(|x|) - 1. Measured 0.76 ULP."""
    a = fabs(x)
    a = where(a > pick(x, 89.5, 710.5), pick(x, 89.5, 710.5), a)
    high, low = exponential_minus_one(a, down=2)
    below, lost = two_sum(literal(x, 1), 4.0 * high)
    quotient, rest = divide_pairs((high, low), (below, fma(low, 4.0, lost)))
    rest = where(a > pick(x, 20.0, 40.0), 0.0, rest)  # 4·high may be infinite
    quotient = where(a > pick(x, 20.0, 40.0), 0.0, quotient)
    total, error = fast_two_sum(high, quotient)
    return nearly_identity(x, copysign(2.0 * (total + (error + (low + rest))), x))


def cosh(x: Value) -> Value:
    """(e + 1/e) / 2 with e = exp(|x|). Measured 0.86 ULP."""
    a = fabs(x)
    a = where(a > pick(x, 89.5, 710.5), pick(x, 89.5, 710.5), a)
    high, low = exponential_pair(a, down=2)
    return 2.0 * (high + (low + 0.0625 / high))


def tanh(x: Value) -> Value:
    """E / (E + 2) with E = exp(2|x|) - 1. Measured 0.91 ULP."""
    a = fabs(x)
    a = where(a > pick(x, 10.0, 22.0), pick(x, 10.0, 22.0), a)
    high, low = exponential_minus_one(a + a, down=1)
    below, lost = two_sum(literal(x, 1), high)
    quotient, rest = divide_pairs((high, low), (below, lost + low))
    return nearly_identity(x, copysign(quotient + rest, x))
