"""The error function and its complement."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from collections.abc import Sequence

from jitgraph.codegen.mathlib.exponential import reduce, scale_by, tail_of_exponential
from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    Table,
    estrin,
    even_and_odd,
    fast_two_sum,
    fma,
    format_of,
    literal,
    two_product,
)
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.codegen.mathlib.pieces import ERF, odd_function
from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops.arithmetic import where
from jitgraph.ir.values import Value

#: erf(x) / x - 1 by x² <= 1; error of erf 2^-56.1, relative.
_ERF_SMALL = (
    0.1283791670955126, -0.3761263890318375, 0.11283791670954885, -0.026866170645077955,
    0.005223977624828959, -0.0008548326981446708, 0.00012055331133486706,
    -1.4925595780502488e-05, 1.6461008554240177e-06, -1.635039653106572e-07,
    1.466032791560473e-08, -1.137494292189158e-09, 5.960649142767219e-11,
)
#: (1 + 2x)·exp(x²)·erfc(x) by (x - 4) / (x + 4), for 1/2 <= x up to where erfc underflows in
#: f32 and f64; the form of M. M. Shepherd and J. G. Laframboise (1981). Relative error 2^-32.5 and
#: 2^-54.3, most of which is that of the first coefficient, which is 9·exp(16)·erfc(4).
_ERFC: Table = {
    F32: (
        1.2329951188132682, -0.1396211174954685, 0.015379612764708199, 0.06809707845101132,
        -0.10103771737921621, 0.09373331177158002, -0.06634679474118263, 0.037150784665691876,
        -0.016118063687396215, 0.005162074339287206, -0.000861063416561899,
        -0.0005094720397503263,
    ),
    F64: (
        1.2329951186255526, -0.13962111684056253, 0.015379652102619146, 0.06809705425469509,
        -0.10103906603626144, 0.09373283499827335, -0.06633036581341831, 0.037167515538492894,
        -0.016197734040610343, 0.005031969972127726, -0.0007577734320318695,
        -0.00019925668993083735, 0.0001506224234641003, -2.4399081639979843e-05,
        -1.1224541959289625e-05, 5.708896432156136e-06, 2.9925346841352155e-07,
        -8.229584747303857e-07, 6.729346339527509e-08, 1.0602835077736987e-07,
        -1.2324774826519212e-08, -1.060594984292844e-08,
    ),
}
_ERFC_FIRST = (1.2329951186255526, -4.625318921008717e-17)


def erf(x: Value) -> Value:
    return odd_function(x, ERF[x.dtype])


def erfc(x: Value) -> Value:
    """exp(-x²)·P((x - 4) / (x + 4)) / (1 + 2x) from 1/2, mirrored for x < -1/2. In f32 all of it
    is computed in f64; in f64 what is multiplied comes in pairs."""
    if x.dtype == F32:
        return cast(_erfc(cast(x, F64), _ERFC[F32]), F32)
    return _erfc(x, _ERFC[F64])


def _erfc(x: Value, coefficients: Sequence[float]) -> Value:
    a = fabs(x)
    within = where(a > 27.3, 27.3, a)
    square, lost = two_product(within, within)
    n, r = reduce(-square, format_of(x).bias)
    less_one, left = fast_two_sum(r[0], tail_of_exponential(r))
    power, power_low = fast_two_sum(literal(x, 1), less_one)
    power_low = fma(power, -lost, power_low + left)
    t = (within - 4.0) / (within + 4.0)
    below, below_low = fast_two_sum(2.0 * within, literal(x, 1))
    first, first_low = _ERFC_FIRST
    factor, factor_low = fast_two_sum(literal(x, first), t * even_and_odd(t, coefficients[1:]))
    inverse = 1.0 / below
    quotient = factor * inverse
    rest = fma(-quotient, below_low, fma(-quotient, below, factor)) + (factor_low + first_low)
    large, more = two_product(power, quotient)
    large = large + fma(power, rest * inverse, fma(power_low, quotient, more))
    large = scale_by(large, n, within > 26.0)
    small_square = where(a < 0.5, a * a, 0.0)
    tail = x * estrin(small_square, _ERF_SMALL)
    small = where(x < 0.25, 1.0 - (x + tail), 0.5 + ((0.5 - x) - tail))
    return where(a < 0.5, small, where(x < 0.0, 2.0 - large, large))
