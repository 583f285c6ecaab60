"""Random bits, and the normal distribution."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    Table,
    fma,
    literal,
    polynomial,
    shift_left,
)
from jitgraph.codegen.mathlib.logarithmic import log_of_normal
from jitgraph.codegen.mathlib.native import ashr, lshr, rarely, rotate_left, unfollowed
from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops.arithmetic import copysign, sqrt, where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.ops.random import U32, U64, threefry_words
from jitgraph.ir.values import Value

I32, I64 = np.dtype("i4"), np.dtype("i8")

#: The quantile by q = 2p - 1 as q·(sqrt(pi/2) + w·R), w = -log(1 - q²). R is up to w = LIMIT a
#: polynomial in w moved to [-1, 1], and beyond in sqrt(w). Relative error of R 2^-26.2 and 2^-52.9.
_LIMIT = {F32: 5.0, F64: 8.0}
_MIDDLE: Table = {
    F32: (
        0.34799972, 0.0008022803, -0.015571566, 0.004499072, 0.00032565693, -0.0006008797,
        0.00012278382, 3.955938e-05, -1.9650377e-05, 5.832575e-08,
    ),
    F64: (
        0.34384912323363737, -0.02090683019763478, -0.019941653476746583, 0.01532629358074149,
        -0.004566704355855495, -0.0010503767508113695, 0.0017549654844506166,
        -0.0007282601803336406, -4.647864485269315e-05, 0.00021794511692435303,
        -0.00011006389806197444, 3.644318726191149e-06, 2.7441932076010155e-05,
        -1.6384840941516646e-05, 1.8072969094802918e-06, 3.4189332874540128e-06,
        -2.4489567881657547e-06, 4.6046141985953785e-07, 4.5518157983478854e-07,
        -3.97923263082887e-07, 5.800923980929747e-08, 8.729342253670307e-08,
        -4.034981714275936e-08, -5.9911421701197534e-09, 5.793358467039273e-09,
        -4.4048289715473724e-10,
    ),
}
#: Where sqrt(w) lies: the middle, and how far it goes to either side.
_ROOTS = {F32: (3.45, 1.25), F64: (4.41, 1.61)}
_TAIL: Table = {
    F32: (
        0.2850288, -0.0569786, 0.0045406837, 0.0036559417, -0.0028732668, 0.0013028496,
        -0.00033694715, -6.720239e-05, 0.00015924803, -0.00011339318, 2.474347e-05, 2.0635784e-05,
        -1.0996595e-05,
    ),
    F64: (
        0.24488346911259204, -0.06053910401115465, 0.011649395610040397, -0.0005848664346069238,
        -0.0010436120852257208, 0.0008024343201863817, -0.000429333783744194,
        0.00019614331817402705, -7.750976756651304e-05, 2.272706267611891e-05,
        1.6081125467237453e-07, -7.521398449180481e-06, 7.62595933600915e-06,
        -5.019452501531714e-06, 2.2415798492081888e-06, -4.108366537006614e-07,
        -3.555662432779765e-07, 4.306399340248794e-07, -2.430751169634743e-07,
        6.77638012583742e-08, 8.239981711947844e-09, -1.99674887606357e-08, 1.528361039740347e-08,
        -7.359147283775708e-09, 5.745601622162452e-11, 1.7270023186040414e-09,
        -5.387908320363655e-10,
    ),
}


def _right(x: Value, count: int) -> Value:
    return lshr(x, literal(x, count))


def threefry(counter: Value, key: Value) -> Value:
    def words(x: Value) -> tuple[Any, Any]:
        return cast(_right(x, 32), I32), cast(x, I32)

    def rotate(x: Value, count: int) -> Value:
        return rotate_left(x, literal(x, count))

    # LLVM would follow a loop's index through the sums of all rounds, for a second or two.
    drawn = threefry_words(words(unfollowed(counter)), words(key), rotate)
    high, low = (cast(bitcast(word, U32), U64) for word in drawn)
    return shift_left(high, 32) | low


def _signed_fraction(bits: Value) -> tuple[Value, Value]:
    """q = 2p - 1 for the middle p of the interval that the bits stand for, and 1 - |q|: never 0,
    and exact where q is rounded (f32) or no bits are left to round (f64)."""
    if bits.dtype == U32:
        signed = bitcast(bits ^ 0x80000000, I32)
        size = signed ^ ashr(signed, literal(signed, 31))
        half = 2.0**-32
        q = fma(cast(size, F32), 2.0**-31, half)
        return copysign(q, cast(signed, F32)), fma(cast(size ^ 0x7FFFFFFF, F32), 2.0**-31, half)
    unit = bitcast(_right(bits, 12) | 0x3FF0000000000000, F64)  # in [1, 2)
    q = fma(unit - 1.5, 2.0, 2.0**-52)
    return q, 1.0 - where(q < 0.0, -q, q)


def _quantile(q: Value, w: Value, inner: Value) -> Value:
    return q * fma(w, inner, math.sqrt(math.pi / 2))


def _with_tail(q: Value, w: Value, middle: Value) -> Value:
    centre, half = _ROOTS[w.dtype]
    tail = polynomial(fma(sqrt(w), 1 / half, -centre / half), _TAIL)
    return _quantile(q, w, where(w < _LIMIT[w.dtype], middle, tail))


def bits_to_normal(bits: Value) -> Value:
    q, rest = _signed_fraction(bits)
    w = -log_of_normal(rest * (2.0 - rest))
    limit = _LIMIT[w.dtype]
    middle = polynomial(fma(w, 2 / limit, -1.0), _MIDDLE)
    return rarely(limit <= w, _quantile(q, w, middle), _with_tail, q, w, middle)
