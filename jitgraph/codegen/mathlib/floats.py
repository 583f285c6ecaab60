"""What the library knows of f32 and f64, and error-free arithmetic on them.

Functions are written once, over values of either format. A pair `(high, low)` stands for the
unevaluated sum high + low, |low| at most half an ulp of high.
"""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from jitgraph.codegen.mathlib.native import fabs, shl
from jitgraph.ir.opdef import constant
from jitgraph.ir.ops import arithmetic
from jitgraph.ir.ops.arithmetic import where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

Pair = tuple[Value, Value]
Table = dict["DType", Sequence[float]]
F32, F64 = np.dtype("f4"), np.dtype("f8")


@dataclass(frozen=True, slots=True)
class Format:
    """A binary format: `digits` stored fraction bits, exponents biased by `bias`."""

    integer: DType
    digits: int
    bias: int

    @property
    def round_shift(self) -> float:
        """1.5·2^digits: added to a small number it leaves the rounded number in the low bits."""
        return 1.5 * 2.0**self.digits

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def negligible(self) -> float:
        """Below it a function with f(x) = x + O(x²) is x, to the last bit."""
        return 2.0 ** -(self.digits + 6)


PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628")
LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009493393621969")
LN10 = Fraction("2.30258509299404568401799145468436420760110148862877297603332790096757260967")

FORMATS = {F32: Format(np.dtype("i4"), 23, 127), F64: Format(np.dtype("i8"), 52, 1023)}


def format_of(x: Value) -> Format:
    return FORMATS[x.dtype]


def bits_of(x: Value) -> Value:
    """The bits as a signed integer."""
    return bitcast(x, format_of(x).integer)


def literal(like: Value, value: Any) -> Value:
    """A constant of the dtype of `like`."""
    return constant(np.asarray(value).astype(like.dtype))


def pick(x: Value, single: Any, double: Any) -> Any:
    """A constant that differs between the formats."""
    return single if x.dtype == F32 else double


def fma(a: Value, b: Value | float, c: Value | float) -> Value:
    """a·b + c rounded once, in the format of a."""
    operands = (o if isinstance(o, Value) else literal(a, o) for o in (b, c))
    product: Value = arithmetic.fma(a, *operands)
    return product


def parts(x: Value, number: Fraction, count: int = 2) -> list[float]:
    """A real number as an unevaluated sum of `count` numbers of the format of x."""
    pieces = []
    for _ in range(count):
        pieces.append(float(x.dtype.type(float(number))))
        number -= Fraction(pieces[-1])
    return pieces


def polynomial(x: Value, table: Table) -> Value:
    """The polynomial with the table's coefficients, lowest first."""
    return estrin(x, table[x.dtype])


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """A polynomial in the fewest operations."""
    *lower, last = coefficients
    total = literal(x, last)
    for coefficient in reversed(lower):
        total = fma(total, x, coefficient)
    return total


def estrin(x: Value, coefficients: Sequence[float]) -> Value:
    """A polynomial in log2(n) steps: latency is what limits a loop over long ones."""
    terms: list[Any] = list(coefficients)
    while len(terms) > 1:
        last = terms[-1:] if len(terms) % 2 else []
        pairs = zip(terms[::2], terms[1::2], strict=False)
        terms = [fma(x, slope, start) for start, slope in pairs] + last
        x = x * x
    result: Value = terms[0]
    return result


def even_and_odd(x: Value, coefficients: Sequence[float]) -> Value:
    """A polynomial as even(x²) + x·odd(x²), each by Horner's rule: slower than `estrin`, and more
    exact where large terms cancel."""
    square = x * x
    return fma(x, horner(square, coefficients[1::2]), horner(square, coefficients[::2]))


# --- error-free transformations ----------------------------------------------------------------
def fast_two_sum(a: Value, b: Value) -> Pair:
    """a + b exactly, for |a| >= |b| (Dekker 1971)."""
    total = a + b
    return total, (a - total) + b


def two_sum(a: Value, b: Value) -> Pair:
    """a + b exactly (Knuth)."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def two_product(a: Value, b: Any) -> Pair:
    """a·b exactly, barring underflow."""
    product = a * b
    return product, fma(a, b, -product)


def divide_pairs(a: Pair, b: Pair) -> Pair:
    """a / b with an error of a few units in the square of the precision."""
    inverse = 1.0 / b[0]
    quotient = a[0] * inverse
    rest = fma(-quotient, b[0], a[0]) + fma(-quotient, b[1], a[1])
    return quotient, rest * inverse


# --- powers of two -----------------------------------------------------------------------------
def round_to_integer(x: Value, factor: Fraction | int = 1, offset: int = 0) -> Pair:
    """The nearest integer n to x·factor, |n| < 2^(digits - 2), as a float, and an integer whose
    low bits hold n + offset. (Conversion instructions are slow or missing for vectors of f64.)"""
    shift = format_of(x).round_shift + offset
    shifted = x + shift if factor == 1 else fma(x, float(factor), shift)
    return shifted - shift, bits_of(shifted)


def power_of_two(biased: Value, like: Value) -> Value:
    """2^n for a biased exponent n + bias in the low bits of an integer, from 1 to 2·bias."""
    return bitcast(shift_left(biased, format_of(like).digits), like.dtype)


def _count(n: Value, count: int) -> Value:
    return constant(np.asarray(count, n.dtype))


def shift_left(n: Value, count: int) -> Value:
    return shl(n, _count(n, count))


def flip_sign(x: Value, sign: Value) -> Value:
    """x, negated where the top bit of the integer `sign` is set."""
    return bitcast(bits_of(x) ^ sign, x.dtype)


# --- selections --------------------------------------------------------------------------------
def clamp(x: Value, low: float, high: float) -> Value:
    """x within bounds; NaN stays."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


def nearly_identity(x: Value, y: Value) -> Value:
    """y = f(x) for a function with f(x) = x + O(x²): x itself where it is zero or tiny, which
    keeps the sign of zero and the bits of subnormal numbers."""
    return where(fabs(x) < format_of(x).negligible, x, y)
