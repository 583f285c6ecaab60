"""Elementary functions of complex numbers, as expressions in their real and imaginary parts.

Gradients follow from those of the parts: by z = x + iy they are dL/dx + i·dL/dy.
Source: W. Kahan, "Branch cuts for complex elementary functions", 1987.
"""

# mypy: disable-error-code=no-any-return
# (Functions of the op tables are typed Any.)
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops import exponential as of_reals
from jitgraph.ir.ops.arithmetic import (
    absolute,
    complex_,
    copysign,
    equal,
    hypot,
    imag,
    maximum,
    minimum,
    real,
    sign,
    where,
)
from jitgraph.ir.ops.arithmetic import sqrt as real_sqrt
from jitgraph.ir.types import result_type
from jitgraph.ir.values import Value


def _parts(z: Value) -> tuple[Value, Value]:
    return real(z), imag(z)


def exp(z: Value) -> Value:
    x, y = _parts(z)
    size = of_reals.exp(x)
    return complex_(size * of_reals.cos(y), where(equal(y, 0), y, size * of_reals.sin(y)))


def exp2(z: Value) -> Value:
    return exp(z * math.log(2))


def expm1(z: Value) -> Value:
    """exp(x)·cos(y) - 1 without cancellation, by the half angle."""
    x, y = _parts(z)
    half = of_reals.sin(y * 0.5)
    re = of_reals.expm1(x) * of_reals.cos(y) - 2 * half * half
    return complex_(re, of_reals.exp(x) * of_reals.sin(y))


def _log_size(x: Value, y: Value) -> Value:
    """log(|z|): near 1 by log1p, where |z| would round the difference away."""
    a, b = absolute(x), absolute(y)
    large, small = maximum(a, b), minimum(a, b)
    size = hypot(x, y)
    near = (size > 0.7) & (size < 1.5)
    close = 0.5 * of_reals.log1p(where(near, (large - 1) * (large + 1) + small * small, 0))
    return where(near, close, of_reals.log(size))


def log(z: Value) -> Value:
    x, y = _parts(z)
    return complex_(_log_size(x, y), of_reals.arctan2(y, x))


def log2(z: Value) -> Value:
    return log(z) * (1 / math.log(2))


def log10(z: Value) -> Value:
    return log(z) * (1 / math.log(10))


def log1p(z: Value) -> Value:
    x, y = _parts(z)
    small = (absolute(x) < 0.5) & (absolute(y) < 0.5)
    close = 0.5 * of_reals.log1p(where(small, x * (2 + x) + y * y, 0))
    return complex_(where(small, close, _log_size(x + 1, y)), of_reals.arctan2(y, x + 1))


def sqrt(z: Value) -> Value:
    x, y = _parts(z)
    size = hypot(x, y)
    # A quarter keeps the sum finite where |z| is near the largest number.
    root = real_sqrt(0.25 * size + 0.25 * absolute(x)) * math.sqrt(2)
    nothing = equal(root, 0)
    other = where(nothing, 0, 0.5 * absolute(y) / where(nothing, 1, root))
    forward = x >= 0
    re, im = where(forward, root, other), where(forward, other, root)
    return complex_(re, copysign(im, y))


def sin(z: Value) -> Value:
    x, y = _parts(z)
    return complex_(of_reals.sin(x) * of_reals.cosh(y), of_reals.cos(x) * of_reals.sinh(y))


def cos(z: Value) -> Value:
    x, y = _parts(z)
    return complex_(of_reals.cos(x) * of_reals.cosh(y), -of_reals.sin(x) * of_reals.sinh(y))


def sinh(z: Value) -> Value:
    x, y = _parts(z)
    return complex_(of_reals.sinh(x) * of_reals.cos(y), of_reals.cosh(x) * of_reals.sin(y))


def cosh(z: Value) -> Value:
    x, y = _parts(z)
    return complex_(of_reals.cosh(x) * of_reals.cos(y), of_reals.sinh(x) * of_reals.sin(y))


def tanh(z: Value) -> Value:
    """By t = tan(y), s = sinh(x), all of it bounded; far out it is ±1."""
    x, y = _parts(z)
    far = absolute(x) > 20
    near = where(far, 1, x)
    t, s = of_reals.tan(y), of_reals.sinh(near)
    rho, beta = real_sqrt(1 + s * s), 1 + t * t
    below = 1 + beta * s * s
    outer = 4 * of_reals.sin(y) * of_reals.cos(y) * of_reals.exp(-2 * absolute(x))
    return complex_(where(far, sign(x), beta * rho * s / below), where(far, outer, t / below))


def tan(z: Value) -> Value:
    return _turned(tanh, z)


def _turned(function: Callable[[Value], Value], z: Value) -> Value:
    """-i·f(i·z)."""
    x, y = _parts(z)
    w = function(complex_(-y, x))
    return complex_(imag(w), -real(w))


def arcsin(z: Value) -> Value:
    x, _ = _parts(z)
    below, above = sqrt(1 - z), sqrt(1 + z)
    across = real(below) * imag(above) - imag(below) * real(above)
    along = real(below) * real(above) - imag(below) * imag(above)
    return complex_(of_reals.arctan2(x, along), of_reals.arcsinh(across))


def arccos(z: Value) -> Value:
    below, above = sqrt(1 - z), sqrt(1 + z)
    across = real(above) * imag(below) - imag(above) * real(below)
    return complex_(2 * of_reals.arctan2(real(below), real(above)), of_reals.arcsinh(across))


def arctan(z: Value) -> Value:
    return _turned(arctanh, z)


def arcsinh(z: Value) -> Value:
    return _turned(arcsin, z)


def arccosh(z: Value) -> Value:
    below, above = sqrt(z - 1), sqrt(z + 1)
    along = real(below) * real(above) + imag(below) * imag(above)
    return complex_(of_reals.arcsinh(along), 2 * of_reals.arctan2(imag(below), real(above)))


def arctanh(z: Value) -> Value:
    x, y = _parts(z)
    beside = (1 - x) * (1 - x) + y * y
    re = 0.25 * of_reals.log1p(4 * x / beside)
    return complex_(re, 0.5 * of_reals.arctan2(2 * y, (1 - x) * (1 + x) - y * y))


def power(z: Value, w: Value) -> Value:
    """exp(w·log(z)); z⁰ is 1, and 0 to a power of positive real part 0."""
    nothing, one = equal(z, 0), equal(w, 0)
    made = exp(w * log(where(nothing, 1, z)))
    made = where(nothing, where(real(w) > 0, 0, z.dtype.type(complex(np.nan, np.nan))), made)
    made = where(equal(w, 2), z * z, where(equal(w, 1), z, made))
    return where(one, 1, made)


def sign_(z: Value) -> Value:
    """z / |z|, and 0 for 0."""
    size = absolute(z)
    nothing = equal(size, 0)
    return where(nothing, 0, z / where(nothing, 1, size))


#: By the name of the op for real numbers.
FUNCTIONS: dict[str, Callable[..., Value]] = {
    **{f.__name__: f for f in (exp, exp2, expm1, log, log2, log10, log1p, sqrt, sin, cos, tan,
                               sinh, cosh, tanh, arcsin, arccos, arctan, arcsinh, arccosh,
                               arctanh, power)},
    "sign": sign_,
}  # fmt: skip


def of_common_dtype(operands: list[Any]) -> list[Value] | None:
    """Operands of a function as complex values, or None where none of them is complex."""
    kinds = [o.dtype if isinstance(o, Value | np.ndarray | np.generic) else np.asarray(o).dtype
             for o in operands]  # fmt: skip
    if not any(k.kind == "c" for k in kinds):
        return None
    weak = [o if type(o) in (int, float, complex) else k
            for o, k in zip(operands, kinds, strict=True)]  # fmt: skip
    return [cast(o, result_type(weak)) for o in operands]
