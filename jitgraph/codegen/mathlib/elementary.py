"""Sign, extrema, rounding, predicates, logic and shifts: exact functions."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

import math

import numpy as np

from jitgraph.codegen.mathlib import native
from jitgraph.codegen.mathlib.floats import bits_of
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import constant
from jitgraph.ir.ops.arithmetic import equal, not_equal, where
from jitgraph.ir.values import Value


# --- sign and extrema --------------------------------------------------------------------------
def positive(x: Value) -> Value:
    return x


def barrier(x: Value) -> Value:
    return x


def conjugate(x: Value) -> Value:
    return x


def real(x: Value) -> Value:
    return x


def imag(x: Value) -> Value:
    return constant(x.dtype.type(0))


def absolute(x: Value) -> Value:
    if x.dtype.kind == "f":
        return fabs(x)
    return where(x < 0, -x, x) if x.dtype.kind == "i" else x


def sign(x: Value) -> Value:
    """-1, 0 or 1; NaN for NaN, and 0 for -0."""
    if x.dtype.kind == "u":
        return where(equal(x, 0), x, 1)
    negative = where(x < 0, -1, x)
    return where(x > 0, 1, where(equal(x, 0), 0, negative))


def _is_nan(x: Value) -> Value:
    return not_equal(x, x)


def maximum(x: Value, y: Value) -> Value:
    """The larger; NaN where either is."""
    if x.dtype.kind == "b":
        return x | y
    larger = where(x > y, x, y)  # y where either is NaN
    return where(_is_nan(x), x, larger) if x.dtype.kind == "f" else larger


def minimum(x: Value, y: Value) -> Value:
    """The smaller; NaN where either is."""
    if x.dtype.kind == "b":
        return x & y
    smaller = where(x < y, x, y)
    return where(_is_nan(x), x, smaller) if x.dtype.kind == "f" else smaller


def fmax(x: Value, y: Value) -> Value:
    """The larger; the other where one is NaN."""
    if x.dtype.kind != "f":
        return maximum(x, y)
    return where(_is_nan(y), x, where(x > y, x, y))


def fmin(x: Value, y: Value) -> Value:
    """The smaller; the other where one is NaN."""
    if x.dtype.kind != "f":
        return minimum(x, y)
    return where(_is_nan(y), x, where(x < y, x, y))


# --- rounding ----------------------------------------------------------------------------------
def floor(x: Value) -> Value:
    return native.floor(x) if x.dtype.kind == "f" else x


def ceil(x: Value) -> Value:
    return native.ceil(x) if x.dtype.kind == "f" else x


def trunc(x: Value) -> Value:
    return native.trunc(x) if x.dtype.kind == "f" else x


def heaviside(x: Value, at_zero: Value) -> Value:
    beside = where(x < 0.0, 0.0, where(x > 0.0, 1.0, x))
    return where(equal(x, 0.0), at_zero, beside)


# --- predicates --------------------------------------------------------------------------------
def isnan(x: Value) -> Value:
    return _is_nan(x) if x.dtype.kind == "f" else constant(np.False_)


def isinf(x: Value) -> Value:
    return equal(fabs(x), math.inf) if x.dtype.kind == "f" else constant(np.False_)


def isfinite(x: Value) -> Value:
    return fabs(x) < math.inf if x.dtype.kind == "f" else constant(np.True_)


def signbit(x: Value) -> Value:
    return bits_of(x) < 0


# --- logic and bits ----------------------------------------------------------------------------
def truth(x: Value) -> Value:
    result: Value = cast(x, np.bool_)
    return result


def logical_and(x: Value, y: Value) -> Value:
    return truth(x) & truth(y)


def logical_or(x: Value, y: Value) -> Value:
    return truth(x) | truth(y)


def logical_xor(x: Value, y: Value) -> Value:
    return truth(x) ^ truth(y)


def logical_not(x: Value) -> Value:
    return truth(x) ^ True


def invert(x: Value) -> Value:
    ones = True if x.dtype.kind == "b" else ~x.dtype.type(0)
    return x ^ ones


def _in_width(x: Value, count: Value) -> Value:
    """Whether `count` is a shift by less than the width; a negative one is not."""
    unsigned = cast(count, np.dtype(f"u{x.dtype.itemsize}"))
    return unsigned < 8 * x.dtype.itemsize


def left_shift(x: Value, count: Value) -> Value:
    """0 for counts outside the width (LLVM's poison is not chosen there)."""
    return where(_in_width(x, count), native.shl(x, count), 0)


def right_shift(x: Value, count: Value) -> Value:
    """The sign, or 0, for counts outside the width."""
    if x.dtype.kind == "u":
        return where(_in_width(x, count), native.lshr(x, count), 0)
    width = constant(np.asarray(8 * x.dtype.itemsize - 1, x.dtype))
    return where(_in_width(x, count), native.ashr(x, count), native.ashr(x, width))
