"""Functions that undo each other, and a thing taken from itself.

Sums and products of any length are `jitgraph.passes.cancel`'s.
"""

from __future__ import annotations

from jitgraph.ir.ops.arithmetic import absolute, cbrt, sqrt, square
from jitgraph.ir.ops.exponential import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctanh,
    cos,
    cosh,
    deg2rad,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    rad2deg,
    sin,
    sinh,
    tan,
    tanh,
)
from jitgraph.passes.rules.rule import FINITE, Rule, ones_like, rule, zeros_like

SELF = (
    rule("sub-self", lambda x: x - x, zeros_like, dtypes="iu"),
    rule("sub-self-float", lambda x: x - x, zeros_like, dtypes="fc", assumes=FINITE),
    rule("div-self", lambda x: x / x, ones_like, dtypes="f", assumes=FINITE),
    rule("mod-self", lambda x: x % x, zeros_like, dtypes="iu"),
)

# f(g(x)) = x: nearer to the truth than two roundings. Where g is defined for some x only, the
# equation makes a number of what was a NaN.
INVERSES = (
    rule("exp-log", lambda x: exp(log(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("log-exp", lambda x: log(exp(x)), lambda x: x, stabilises=True),
    rule("exp2-log2", lambda x: exp2(log2(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("log2-exp2", lambda x: log2(exp2(x)), lambda x: x, stabilises=True),
    rule("expm1-log1p", lambda x: expm1(log1p(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("log1p-expm1", lambda x: log1p(expm1(x)), lambda x: x, stabilises=True),
    rule("sqrt-product", lambda x: sqrt(x * x), lambda x: absolute(x), stabilises=True),
    rule("sqrt-square", lambda x: sqrt(square(x)), lambda x: absolute(x), stabilises=True,
         stage="early"),
    rule("sqrt-power", lambda x: sqrt(x**2), lambda x: absolute(x), stabilises=True,
         stage="early"),
    rule("square-sqrt", lambda x: sqrt(x) * sqrt(x), lambda x: x, stabilises=True, assumes=FINITE),
    rule("cbrt-cube", lambda x: cbrt(x * x * x), lambda x: x, stabilises=True),
    rule("sin-arcsin", lambda x: sin(arcsin(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("cos-arccos", lambda x: cos(arccos(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("tan-arctan", lambda x: tan(arctan(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("sinh-arcsinh", lambda x: sinh(arcsinh(x)), lambda x: x, stabilises=True),
    rule("arcsinh-sinh", lambda x: arcsinh(sinh(x)), lambda x: x, stabilises=True),
    rule("cosh-arccosh", lambda x: cosh(arccosh(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("tanh-arctanh", lambda x: tanh(arctanh(x)), lambda x: x, stabilises=True, assumes=FINITE),
    rule("arctanh-tanh", lambda x: arctanh(tanh(x)), lambda x: x, stabilises=True),
    rule("degrees-radians", lambda x: deg2rad(rad2deg(x)), lambda x: x, stabilises=True),
    rule("radians-degrees", lambda x: rad2deg(deg2rad(x)), lambda x: x, stabilises=True),
)  # fmt: skip

RULES: tuple[Rule, ...] = (*SELF, *INVERSES)
