"""The math library: ops as expressions in simpler ops.

`EXPANSIONS` has a function for every op declared with `lower=Expand()`: it takes scalar values of
the op's operand dtypes (never f16, which is computed in f32) and returns the value to compute.
`COMPLEX` has one for every op that takes complex operands; there each operand is a pair of real
values. Expressions are branch-free, so that they mean the same on vectors; the few functions that
need loops of their own (`fmod`, integer `power`, the reduction of huge angles) are scalar LLVM
functions, which vector code calls lane by lane.
"""

from collections.abc import Callable
from typing import Any

from jitgraph.codegen.mathlib import (
    complex,
    division,
    elementary,
    exponential,
    formulas,
    logarithmic,
    powers,
    random,
    special,
    trigonometric,
)


def _named(*functions: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {function.__name__: function for function in functions}


EXPANSIONS = _named(
    elementary.positive, elementary.barrier,
    elementary.absolute, elementary.sign, elementary.maximum,
    elementary.minimum, elementary.fmax, elementary.fmin, elementary.floor, elementary.ceil,
    elementary.trunc, elementary.heaviside, elementary.isnan, elementary.isinf,
    elementary.isfinite, elementary.signbit, elementary.logical_and, elementary.logical_or,
    elementary.logical_xor, elementary.logical_not, elementary.invert, elementary.left_shift,
    elementary.right_shift, elementary.conjugate, elementary.real, elementary.imag,
    division.floor_divide, division.remainder, division.fmod, division.gcd, division.lcm,
    powers.power, powers.cbrt, powers.hypot, powers.square, powers.reciprocal,
    exponential.exp, exponential.exp2, exponential.expm1, exponential.sigmoid,
    exponential.sinh, exponential.cosh, exponential.tanh,
    logarithmic.log, logarithmic.log2, logarithmic.log10, logarithmic.log1p,
    logarithmic.logaddexp, logarithmic.logaddexp2, logarithmic.softplus,
    logarithmic.arcsinh, logarithmic.arccosh, logarithmic.arctanh,
    trigonometric.sin, trigonometric.cos, trigonometric.tan, trigonometric.deg2rad,
    trigonometric.rad2deg, trigonometric.arcsin, trigonometric.arccos,
    trigonometric.arctan, trigonometric.arctan2,
    special.erf, special.erfc,
    random.threefry, random.bits_to_normal,
) | formulas.EXPANSIONS  # fmt: skip
COMPLEX = _named(
    complex.add, complex.subtract, complex.multiply, complex.divide, complex.reciprocal,
    complex.square, complex.negative, complex.positive, complex.barrier, complex.conjugate,
    complex.real,
    complex.imag, complex.absolute, complex.equal, complex.not_equal, complex.isnan,
    complex.isinf, complex.isfinite, complex.logical_and, complex.logical_or,
    complex.logical_xor, complex.logical_not,
)  # fmt: skip
