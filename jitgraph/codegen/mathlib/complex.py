"""Complex arithmetic on real and imaginary parts, by NumPy's formulas."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from jitgraph.codegen.mathlib import elementary
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.codegen.mathlib.powers import hypot
from jitgraph.ir.ops.arithmetic import equal as real_equal
from jitgraph.ir.ops.arithmetic import not_equal as real_not_equal
from jitgraph.ir.ops.arithmetic import where
from jitgraph.ir.values import Value

#: The real and the imaginary part.
Complex = tuple[Value, Value]


def add(x: Complex, y: Complex) -> Complex:
    return x[0] + y[0], x[1] + y[1]


def subtract(x: Complex, y: Complex) -> Complex:
    return x[0] - y[0], x[1] - y[1]


def multiply(x: Complex, y: Complex) -> Complex:
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def _by_size(x: Complex) -> tuple[Value, Value, Value]:
    """Whether the imaginary part is the larger one (or NaN is about), the larger, the smaller."""
    steep = (fabs(x[0]) >= fabs(x[1])) ^ True
    return steep, where(steep, x[1], x[0]), where(steep, x[0], x[1])


def divide(x: Complex, y: Complex) -> Complex:
    """R. L. Smith's algorithm (1962): by the larger part of y, against overflow."""
    steep, large, small = _by_size(y)
    zero = real_equal(large, 0.0) & real_equal(small, 0.0)
    ratio = small / large
    scale = 1.0 / where(zero, fabs(large), large + small * ratio)
    re, im = where(steep, x[1], x[0]), where(steep, x[0], x[1])
    along = re + im * ratio
    across = where(steep, re * ratio - im, im - re * ratio)
    return where(zero, x[0], along) * scale, where(zero, x[1], across) * scale


def reciprocal(x: Complex) -> Complex:
    """Smith's algorithm for 1 / x."""
    steep, large, small = _by_size(x)
    ratio = small / large
    below = large + small * ratio
    first, second = where(steep, ratio, 1.0), where(steep, -1.0, -ratio)
    return first / below, second / below


def square(x: Complex) -> Complex:
    return x[0] * x[0] - x[1] * x[1], x[0] * x[1] + x[1] * x[0]


def negative(x: Complex) -> Complex:
    return -x[0], -x[1]


def positive(x: Complex) -> Complex:
    return x


def barrier(x: Complex) -> Complex:
    return x


def conjugate(x: Complex) -> Complex:
    return x[0], -x[1]


def real(x: Complex) -> Value:
    return x[0]


def imag(x: Complex) -> Value:
    return x[1]


def absolute(x: Complex) -> Value:
    return hypot(x[0], x[1])


def equal(x: Complex, y: Complex) -> Value:
    result: Value = real_equal(x[0], y[0]) & real_equal(x[1], y[1])
    return result


def not_equal(x: Complex, y: Complex) -> Value:
    result: Value = real_not_equal(x[0], y[0]) | real_not_equal(x[1], y[1])
    return result


def isnan(x: Complex) -> Value:
    return elementary.isnan(x[0]) | elementary.isnan(x[1])


def isinf(x: Complex) -> Value:
    return elementary.isinf(x[0]) | elementary.isinf(x[1])


def isfinite(x: Complex) -> Value:
    return elementary.isfinite(x[0]) & elementary.isfinite(x[1])


def _truth(x: Complex) -> Value:
    return elementary.truth(x[0]) | elementary.truth(x[1])


def logical_and(x: Complex, y: Complex) -> Value:
    return _truth(x) & _truth(y)


def logical_or(x: Complex, y: Complex) -> Value:
    return _truth(x) | _truth(y)


def logical_xor(x: Complex, y: Complex) -> Value:
    return _truth(x) ^ _truth(y)


def logical_not(x: Complex) -> Value:
    return _truth(x) ^ True
