"""exp and its kin: reduction by the Cody-Waite method, a polynomial, scaling by 2^n.

x = n·ln 2 + r with |r| <= ln 2 / 2, and exp(r) = 1 + r + r²·Q(r). What must not lose the last
bits of a sum carries them along as a rest.
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
    estrin,
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
    two_sum,
)
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.codegen.mathlib.pieces import TANH, odd_function
from jitgraph.ir.ops.arithmetic import copysign, where
from jitgraph.ir.values import Value

# Coefficients: minimax in the weight that makes the error of the function uniform (Remez's
# algorithm in 40 digits), then rounded; the error of the rounded polynomial is given.
#: (exp(r) - 1 - r) / r² on |r| <= 0.347; relative error of exp 2^-28.2 (f32), 2^-57.9 (f64).
_EXP: Table = {
    F32: (0.49999994, 0.16666517, 0.041668102, 0.008369191, 0.0013838834),
    F64: (
        0.5000000000000011, 0.16666666666666435, 0.041666666666525735, 0.008333333333475693,
        0.0013888888944889597, 0.00019841269555962495, 2.480149170449188e-05,
        2.7557534622808095e-06, 2.7630774517815347e-07, 2.5018812756119925e-08,
    ),
}
#: (2^r - 1 - r·ln 2) / r² on |r| <= 1/2; relative error of exp2 2^-31.8 and 2^-57.1.
_EXP2: Table = {
    F32: (0.2402265, 0.05550405, 0.009618087, 0.0013337822, 0.0001545212, 1.4360337e-05),
    F64: (
        0.24022650695910172, 0.055504108664824574, 0.009618129107577079, 0.0013333558145568062,
        0.0001540353047884443, 1.5252734737271665e-05, 1.3215424487637033e-06,
        1.0177656444522163e-07, 7.075616037510215e-09, 4.5192508106392266e-10,
    ),
}
#: (tanh(x) / x - 1) / x² by x², up to _TANH_SMALL, as a quotient; relative error of tanh 2^-57.
_TANH_OVER = (-0.33333333333333154, -0.020486644692438688, -0.0001986404315417219)
_TANH_BELOW = (1.0, 0.46145993407714453, 0.023275133022558674, 0.00020595805293113797)
_TANH_SMALL = 0.75


# --- the core ----------------------------------------------------------------------------------
def reduce(x: Value, offset: int = 0) -> tuple[Value, Pair]:
    """n + offset in the low bits of an integer, and r as a pair."""
    n, bits = round_to_integer(x, 1 / LN2, offset)
    high, low = parts(x, LN2)
    near = fma(n, -high, x)  # exact: the product's bits below those of x cancel
    r = fma(n, -low, near)
    return bits, (r, fma(n, -low, near - r))


def tail_of_exponential(r: Pair) -> Value:
    """exp(r) - 1 - r of the pair, less than a fifth of r."""
    high, low = r
    return fma(high * high, polynomial(high, _EXP), low)


def reduced_exponential(r: Pair) -> Pair:
    """exp(r) for reduced r as a pair."""
    return fast_two_sum(literal(r[0], 1), r[0] + tail_of_exponential(r))


def exponential_minus_one(x: Value, *, down: int) -> Pair:
    """(exp(x) - 1)·2^-down; the low part need not be small. The scale leaves room near the upper
    end of the range."""
    bits, r = reduce(x, format_of(x).bias - down)
    scale = power_of_two(bits, x)
    less_one = scale - 2.0**-down
    high = fma(scale, r[0], less_one)
    lost = fma(scale, r[0], less_one - high)
    return high, fma(scale, tail_of_exponential(r), lost)


def scale_by(y: Value, biased: Value, tiny: Value) -> Value:
    """y·2^n from n + bias, for n down to where the result is subnormal (`tiny` must hold there,
    and nowhere near the upper end); it is rounded once and overflows to infinity."""
    step = format_of(y).digits + 12
    y = y * power_of_two(where(tiny, biased + step, biased), y)
    return where(tiny, y * 2.0**-step, y)


def twice_exp2(r: Value) -> Value:
    """2·2^r for |r| <= 1/2."""
    slope = fma(r, estrin(r, [2.0 * c for c in _EXP2[r.dtype]]), 2.0 * float(LN2))
    return fma(r, slope, 2.0)


# --- the functions -----------------------------------------------------------------------------
def exp(x: Value) -> Value:
    x = clamp(x, *pick(x, (-104.0, 89.0), (-746.0, 710.0)))
    bits, (r, _) = reduce(x, format_of(x).bias - 1)
    slope = fma(r, estrin(r, [2.0 * c for c in _EXP[x.dtype]]), 2.0)
    twice = fma(r, slope, 2.0)  # rounds less than 2 + (2r + 2r²·Q(r))
    return scale_by(twice, bits, x < pick(x, -86.5, -708.0))


def exp2(x: Value) -> Value:
    x = clamp(x, *pick(x, (-151.0, 129.0), (-1080.0, 1025.0)))
    n, bits = round_to_integer(x, offset=format_of(x).bias - 1)
    return scale_by(twice_exp2(x - n), bits, x < pick(x, -125.0, -1021.0))


def expm1(x: Value) -> Value:
    bounded = clamp(x, *pick(x, (-20.0, 89.0), (-40.0, 710.0)))
    high, low = exponential_minus_one(bounded, down=1)
    return nearly_identity(x, 2.0 * (high + low))


def sigmoid(x: Value) -> Value:
    """1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0, where e = exp(-|x|)."""
    least, normal = pick(x, (-104.0, -86.5), (-746.0, -708.0))
    a = -fabs(x)
    a = where(a < least, least, a)
    bits, r = reduce(a, format_of(x).bias)
    high, low = reduced_exponential(r)
    step = format_of(x).digits + 12
    scale = power_of_two(where(a < normal, bits + step, bits), x)
    total = fma(scale, high, 1.0)
    lost = fma(scale, low, fma(scale, high, 1.0 - total))
    below = x < 0.0
    over = (where(below, high, 1.0), where(below, low, 0.0))
    quotient, rest = divide_pairs(over, (total, lost))
    ratio = quotient + rest
    y = where(below, ratio * scale, ratio)
    return where(x < normal, y * 2.0**-step, y)


def sinh(x: Value) -> Value:
    """(E + E/(1 + E)) / 2 with E = exp(|x|) - 1."""
    a = fabs(x)
    a = where(a > pick(x, 89.5, 710.5), pick(x, 89.5, 710.5), a)
    high, low = fast_two_sum(*exponential_minus_one(a, down=2))
    below, lost = two_sum(literal(x, 1), 4.0 * high)
    quotient, rest = divide_pairs((high, low), (below, fma(low, 4.0, lost)))
    rest = where(a > pick(x, 20.0, 40.0), 0.0, rest)  # 4·high may be infinite
    quotient = where(a > pick(x, 20.0, 40.0), 0.0, quotient)
    total, error = fast_two_sum(high, quotient)
    return nearly_identity(x, copysign(2.0 * (total + (error + (low + rest))), x))


def cosh(x: Value) -> Value:
    """(e + 1/e) / 2 with e = exp(|x|)."""
    a = fabs(x)
    a = where(a > pick(x, 89.5, 710.5), pick(x, 89.5, 710.5), a)
    bits, r = reduce(a, format_of(x).bias - 2)
    high, low = reduced_exponential(r)
    scale = power_of_two(bits, x)
    high = high * scale
    return 2.0 * (high + fma(low, scale, 0.0625 / high))


def tanh(x: Value) -> Value:
    """By pieces in f32; in f64 x + x³·R(x²) for small x, else 1 - 2 / (1 + e) with e = exp(2|x|),
    which need not be very exact. One division serves both."""
    if x.dtype == F32:
        return odd_function(x, TANH[F32])
    a = fabs(x)
    small = a < _TANH_SMALL
    within = where(a > 22.0, 22.0, a)
    n, bits = round_to_integer(within, 2 / LN2, format_of(x).bias)
    r = fma(n, -0.5 * float(LN2), within)
    power = fma(r * r, estrin(r, [4.0 * c * 2.0**k for k, c in enumerate(_EXP[F64])]), r + r)
    scale = power_of_two(bits, x)
    below = fma(scale, power, scale + 1.0)
    z = x * x
    over = where(small, a * z * estrin(z, _TANH_OVER), -2.0)
    below = where(small, estrin(z, _TANH_BELOW), below)
    return copysign(where(small, a, 1.0) + over / below, x)
