"""The table of exponentials, logarithms, powers, trigonometric and hyperbolic functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import Elementwise, binary, floating, unary
from jitgraph.ir.opdef import Attrs, Expand, ShapeSource
from jitgraph.ir.operators import TABLE
from jitgraph.ir.ops.arithmetic import equal, sqrt, where
from jitgraph.ir.ops.reduction import all_
from jitgraph.ir.values import Value

LN2, LN10 = math.log(2), math.log(10)
POSITIVE = (0.0, np.inf)


# --- references NumPy does not have ------------------------------------------------------------
def _in_float64(function: Any) -> Any:
    """A float64 scalar function as an array function that keeps its operand's dtype."""
    ufunc = np.frompyfunc(function, 1, 1)

    def reference(x: Any) -> Any:
        x = np.asarray(x)
        dtype = np.sqrt.resolve_dtypes((x.dtype, None))[-1]
        return np.asarray(ufunc(x.astype(np.float64)), dtype=np.float64).astype(dtype)

    return reference


def _sigmoid_reference(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1 / (1 + e), e / (1 + e)).astype(e.dtype)


def _softplus_reference(x: Any) -> Any:
    return np.logaddexp(np.zeros_like(x), x)


# --- exponentials ------------------------------------------------------------------------------
exp = unary("exp", np.exp, lower=Expand(), grad=lambda g, y, x: g * y)
exp2 = unary("exp2", np.exp2, lower=Expand(), grad=lambda g, y, x: g * (y * LN2))
expm1 = unary("expm1", np.expm1, lower=Expand(), grad=lambda g, y, x: g * (y + 1),
              zero_to_zero=True)  # fmt: skip
log = unary("log", np.log, lower=Expand(), grad=lambda g, y, x: g / x, domain=POSITIVE)
log2 = unary("log2", np.log2, lower=Expand(), grad=lambda g, y, x: g / (x * LN2), domain=POSITIVE)
log10 = unary("log10", np.log10, lower=Expand(), grad=lambda g, y, x: g / (x * LN10),
              domain=POSITIVE)  # fmt: skip
log1p = unary("log1p", np.log1p, lower=Expand(), grad=lambda g, y, x: g / (1 + x),
              domain=(-1, np.inf), zero_to_zero=True)  # fmt: skip
logaddexp = binary(
    "logaddexp", np.logaddexp, lower=Expand(),
    grad=(lambda g, y, a, b: g * sigmoid(a - b), lambda g, y, a, b: g * sigmoid(b - a)),
)  # fmt: skip
logaddexp2 = binary(
    "logaddexp2", np.logaddexp2, lower=Expand(),
    grad=(lambda g, y, a, b: g * sigmoid((a - b) * LN2),
          lambda g, y, a, b: g * sigmoid((b - a) * LN2)),
)  # fmt: skip
sigmoid: Elementwise = unary(
    "sigmoid", _sigmoid_reference, signature=lambda kinds: floating(*kinds), lower=Expand(),
    grad=lambda g, y, x: g * (y * (1 - y)), doc="1 / (1 + exp(-x)).",
)  # fmt: skip
softplus = unary(
    "softplus", _softplus_reference, signature=lambda kinds: floating(*kinds), lower=Expand(),
    grad=lambda g, y, x: g * sigmoid(x), doc="log(1 + exp(x)), without overflow.",
)  # fmt: skip

# --- powers ---------------------------------------------------------------------------------------
def _integer_power_is_defined(
    source: ShapeSource, args: Sequence[Value], attrs: Attrs
) -> list[Value]:
    exponent = args[1]
    if exponent.dtype.kind != "i":
        return []
    return [all_(exponent >= 0)]


def _power_gradient_of_base(g: Value, y: Value, a: Value, b: Value) -> Any:
    # b·a^(b-1), but 0 for b = 0 also where a^(b-1) is infinite.
    return where(equal(b, 0), 0, g * (b * power(a, b - 1)))


def _power_gradient_of_exponent(g: Value, y: Value, a: Value, b: Value) -> Any:
    # a^b·log(a); for a = 0 and b > 0 the limit is 0, not 0·(-inf).
    at_zero = equal(a, 0)
    return where(at_zero, 0, g * (y * log(where(at_zero, 1, a))))


power = binary(
    "power", np.power, lower=Expand(), requires=_integer_power_is_defined,
    grad=(_power_gradient_of_base, _power_gradient_of_exponent),
    domain=((0.1, np.inf), (-np.inf, np.inf)),
)  # fmt: skip

TABLE["power"] = power

# --- trigonometric ------------------------------------------------------------------------------
sin = unary("sin", np.sin, lower=Expand(), grad=lambda g, y, x: g * cos(x), zero_to_zero=True)
cos: Elementwise = unary("cos", np.cos, lower=Expand(), grad=lambda g, y, x: -g * sin(x))
tan = unary("tan", np.tan, lower=Expand(), grad=lambda g, y, x: g * (1 + y * y),
            zero_to_zero=True)  # fmt: skip
arcsin = unary("arcsin", np.arcsin, lower=Expand(), grad=lambda g, y, x: g / sqrt(1 - x * x),
               domain=(-1, 1), zero_to_zero=True)  # fmt: skip
arccos = unary("arccos", np.arccos, lower=Expand(), grad=lambda g, y, x: -g / sqrt(1 - x * x),
               domain=(-1, 1))  # fmt: skip
arctan = unary("arctan", np.arctan, lower=Expand(), grad=lambda g, y, x: g / (1 + x * x),
               zero_to_zero=True)  # fmt: skip
arctan2 = binary(
    "arctan2", np.arctan2, lower=Expand(),
    grad=(lambda g, y, a, b: g * (b / (a * a + b * b)),
          lambda g, y, a, b: -g * (a / (a * a + b * b))),
)  # fmt: skip
deg2rad = unary("deg2rad", np.deg2rad, lower=Expand(), grad=lambda g, y, x: g * (math.pi / 180),
                zero_to_zero=True)  # fmt: skip
rad2deg = unary("rad2deg", np.rad2deg, lower=Expand(), grad=lambda g, y, x: g * (180 / math.pi),
                zero_to_zero=True)  # fmt: skip

# --- hyperbolic ---------------------------------------------------------------------------------
sinh = unary("sinh", np.sinh, lower=Expand(), grad=lambda g, y, x: g * cosh(x), zero_to_zero=True)
cosh: Elementwise = unary("cosh", np.cosh, lower=Expand(), grad=lambda g, y, x: g * sinh(x))
tanh = unary("tanh", np.tanh, lower=Expand(), grad=lambda g, y, x: g * (1 - y * y),
             zero_to_zero=True)  # fmt: skip
arcsinh = unary("arcsinh", np.arcsinh, lower=Expand(), grad=lambda g, y, x: g / sqrt(x * x + 1),
                zero_to_zero=True)  # fmt: skip
arccosh = unary("arccosh", np.arccosh, lower=Expand(),
                grad=lambda g, y, x: g / (sqrt(x - 1) * sqrt(x + 1)),
                domain=(1, np.inf))  # fmt: skip
arctanh = unary("arctanh", np.arctanh, lower=Expand(), grad=lambda g, y, x: g / (1 - x * x),
                domain=(-1, 1), zero_to_zero=True)  # fmt: skip

# --- the error function -------------------------------------------------------------------------
TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
erf = unary(
    "erf", _in_float64(math.erf), signature=lambda kinds: floating(*kinds), lower=Expand(),
    grad=lambda g, y, x: g * (TWO_OVER_SQRT_PI * exp(-x * x)), zero_to_zero=True,
    doc="2/sqrt(pi) times the integral of exp(-t²) from 0 to x.",
)  # fmt: skip
erfc = unary(
    "erfc", _in_float64(math.erfc), signature=lambda kinds: floating(*kinds), lower=Expand(),
    grad=lambda g, y, x: -g * (TWO_OVER_SQRT_PI * exp(-x * x)), doc="1 - erf(x), to full accuracy.",
)  # fmt: skip
