"""Floor division and the two remainders, of integers and floats."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from jitgraph.codegen.mathlib.floats import F32, F64, literal
from jitgraph.codegen.mathlib.native import floor, native, sdiv, srem, udiv, urem
from jitgraph.ir.ops.arithmetic import copysign, equal, not_equal, where
from jitgraph.ir.values import Value


# --- division of integers ----------------------------------------------------------------------
def _divide(x: Value, y: Value) -> tuple[Value, Value]:
    """C's quotient and remainder of integers, 0 and 0 for y = 0; INT_MIN / -1 wraps around."""
    zero = equal(y, 0)
    if x.dtype.kind == "u":
        divisor = where(zero, 1, y)
        return where(zero, 0, udiv(x, divisor)), where(zero, 0, urem(x, divisor))
    minus_one = equal(y, -1)
    divisor = where(zero | minus_one, 1, y)
    quotient = where(minus_one, -x, sdiv(x, divisor))
    return where(zero, 0, quotient), where(zero, 0, srem(x, divisor))


def _is_rounded_up(remainder: Value, y: Value) -> Value:
    """Whether C's quotient, rounded to zero, is above the floor."""
    return not_equal(remainder, 0) & ((remainder ^ y) < 0)


# --- division of floats ------------------------------------------------------------------------
_FMOD = """define internal {t} @fmod.{m}({t} %x, {t} %y) memory(none) #0 {{
entry:
  %a = call {t} @llvm.fabs.{m}({t} %x)
  %b = call {t} @llvm.fabs.{m}({t} %y)
  %within = fcmp olt {t} %a, %b
  br i1 %within, label %unchanged, label %check
unchanged:
  ret {t} %x
check:
  %bounded = fcmp olt {t} %a, 0x7FF0000000000000
  %divides = fcmp ogt {t} %b, 0.0
  %defined = and i1 %bounded, %divides
  br i1 %defined, label %enlarge.test, label %undefined
undefined:
  ret {t} 0x7FF8000000000000
enlarge.test:
  %s = phi {t} [ %b, %check ], [ %s.more, %enlarge ]
  %part = fmul {t} %a, SMALL
  %enough = fcmp ole {t} %part, %s
  br i1 %enough, label %reduce, label %enlarge
enlarge:
  %s.more = fmul {t} %s, LARGE
  br label %enlarge.test
reduce:
  %rest = phi {t} [ %a, %enlarge.test ], [ %rest.next, %lessen ]
  %unit = phi {t} [ %s, %enlarge.test ], [ %unit.less, %lessen ]
  %quotient = fdiv {t} %rest, %unit
  %whole = call {t} @llvm.trunc.{m}({t} %quotient)
  %taken = fneg {t} %whole
  %left = call {t} @llvm.fma.{m}({t} %taken, {t} %unit, {t} %rest)
  %below = fcmp olt {t} %left, 0.0
  %back = fadd {t} %left, %unit
  %rest.next = select i1 %below, {t} %back, {t} %left
  %done = fcmp oeq {t} %unit, %b
  br i1 %done, label %finish, label %lessen
lessen:
  %unit.less = fmul {t} %unit, SMALL
  br label %reduce
finish:
  %signed = call {t} @llvm.copysign.{m}({t} %rest.next, {t} %x)
  ret {t} %signed
}}"""
_DECLARATIONS = """declare {t} @llvm.fabs.{m}({t})
declare {t} @llvm.trunc.{m}({t})
declare {t} @llvm.fma.{m}({t}, {t}, {t})
declare {t} @llvm.copysign.{m}({t}, {t})"""


def _fmod_function(large: str, small: str) -> str:
    return _FMOD.replace("LARGE", large).replace("SMALL", small)


#: The exact remainder with the sign of x. Where x / y is below 2^50 (f32: 2^20) one fma gives
#: it: the truncated quotient is at most one too large, and what is left always fits. From larger
#: ones multiples of y by powers of two are taken away first, 50 (20) bits at a time.
_float_remainder = {
    dtype: native(
        "fmod",
        "call {t} @fmod.{m}({t} {0}, {t} {1})",
        declaration=_DECLARATIONS,
        functions={"fmod.{m}": _fmod_function(large, small)},
    )
    for dtype, large, small in (
        (F32, "0x4130000000000000", "0x3EB0000000000000"),
        (F64, "0x4310000000000000", "0x3CD0000000000000"),
    )
}


def _floor_remainder(x: Value, y: Value) -> tuple[Value, Value, Value]:
    """C's remainder, whether its sign is not that of y, and the remainder with that of y."""
    rest = _float_remainder[x.dtype](x, y)
    wrong = not_equal(rest, 0.0) & not_equal(rest < 0.0, y < 0.0)
    return rest, wrong, where(equal(rest, 0.0), copysign(literal(y, 0), y),
                              where(wrong, rest + y, rest))  # fmt: skip


# --- the functions -----------------------------------------------------------------------------
def fmod(x: Value, y: Value) -> Value:
    """The remainder of the quotient rounded to zero: the sign of x. Exact."""
    return _float_remainder[x.dtype](x, y) if x.dtype.kind == "f" else _divide(x, y)[1]


def remainder(x: Value, y: Value) -> Value:
    """The remainder of the quotient rounded down: the sign of y. As Python's and NumPy's %."""
    if x.dtype.kind == "f":
        return _floor_remainder(x, y)[2]
    _, rest = _divide(x, y)
    return rest if x.dtype.kind == "u" else where(_is_rounded_up(rest, y), rest + y, rest)


def floor_divide(x: Value, y: Value) -> Value:
    """The quotient rounded down, by NumPy's algorithm (npy_divmod) for floats: x minus the
    remainder is divided, which is almost an integer, and rounded to it."""
    if x.dtype.kind == "f":
        return _float_floor_divide(x, y)
    quotient, rest = _divide(x, y)
    if x.dtype.kind == "u":
        return quotient
    return where(_is_rounded_up(rest, y), quotient - 1, quotient)


def _float_floor_divide(x: Value, y: Value) -> Value:
    rest, wrong, _ = _floor_remainder(x, y)
    quotient = (x - rest) / y
    quotient = where(wrong, quotient - 1.0, quotient)
    rounded = floor(quotient)
    rounded = where(quotient - rounded > 0.5, rounded + 1.0, rounded)
    direct = x / y
    rounded = where(equal(quotient, 0.0), copysign(literal(x, 0), direct), rounded)
    return where(equal(y, 0.0), direct, rounded)


# --- common divisors ---------------------------------------------------------------------------
_EUCLID = """define internal {t} @euclid.{m}({t} %a, {t} %b) memory(none) #0 {{
entry:
  br label %test
test:
  %x = phi {t} [ %a, %entry ], [ %y, %step ]
  %y = phi {t} [ %b, %entry ], [ %rest, %step ]
  %last = icmp eq {t} %y, 0
  br i1 %last, label %done, label %step
step:
  %rest = urem {t} %x, %y
  br label %test
done:
  ret {t} %x
}}"""
_euclid = native("euclid", "call {t} @euclid.{m}({t} {0}, {t} {1})",
                 functions={"euclid.{m}": _EUCLID})  # fmt: skip


def _size(x: Value) -> Value:
    """|x|, which as an unsigned number is right for the most negative one too."""
    return where(x < 0, -x, x) if x.dtype.kind == "i" else x


def gcd(x: Value, y: Value) -> Value:
    """The greatest common divisor of |x| and |y|; that of 0 and 0 is 0."""
    return _euclid(_size(x), _size(y))


def lcm(x: Value, y: Value) -> Value:
    """The least common multiple of |x| and |y|, 0 if one of them is 0; it wraps around."""
    a, b = _size(x), _size(y)
    common = _euclid(a, b)
    return where(equal(common, 0), 0, udiv(a, where(equal(common, 0), 1, common)) * b)
