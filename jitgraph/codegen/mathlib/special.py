"""The error function and its complement."""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from jitgraph.codegen.mathlib.exponential import reduce, reduced_exponential, scale_by
from jitgraph.codegen.mathlib.floats import (
    F32,
    F64,
    Table,
    even_and_odd,
    fma,
    format_of,
    pick,
    polynomial,
    two_product,
)
from jitgraph.codegen.mathlib.native import fabs
from jitgraph.codegen.mathlib.pieces import ERF, odd_function
from jitgraph.ir.ops.arithmetic import where
from jitgraph.ir.values import Value

#: erf(x) / x - 1 by x² <= 1; error of erf 2^-29.1 and 2^-56.1, relative.
_ERF_SMALL: Table = {
    F32: (
        0.12837917, -0.3761263, 0.11283618, -0.026855126, 0.005190729, -0.00080306455,
        7.919599e-05,
    ),
    F64: (
        0.1283791670955126, -0.3761263890318375, 0.11283791670954885, -0.026866170645077955,
        0.005223977624828959, -0.0008548326981446708, 0.00012055331133486706,
        -1.4925595780502488e-05, 1.6461008554240177e-06, -1.635039653106572e-07,
        1.466032791560473e-08, -1.137494292189158e-09, 5.960649142767219e-11,
    ),
}
#: (1 + 2x)·exp(x²)·erfc(x) by (x - 4) / (x + 4), for 1/2 <= x up to where erfc underflows; the
#: form of M. M. Shepherd and J. G. Laframboise (1981). Relative error 2^-24.6 and 2^-53.7.
_ERFC: Table = {
    F32: (
        1.2329952, -0.13962108, 0.015379655, 0.06809463, -0.10104049, 0.0937706, -0.0662914,
        0.036948998, -0.016518261, 0.00541836, 7.541514e-05,
    ),
    F64: (
        1.2329951186255526, -0.13962111684056175, 0.015379652102613228, 0.06809705425459352,
        -0.10103906603589584, 0.09373283500208912, -0.06633036582212794, 0.03716751547267022,
        -0.016197733935732622, 0.005031970597152282, -0.000757774154509509,
        -0.00019926026276014872, 0.0001506254429652463, -2.4386261619709796e-05,
        -1.1232329267291916e-05, 5.679807024525142e-06, 3.1135881345750514e-07,
        -7.824304838815205e-07, 5.6898643668229435e-08, 7.43811733821614e-08,
        -8.538669844460379e-09,
    ),
}


def erf(x: Value) -> Value:
    return odd_function(x, ERF[x.dtype])


def erfc(x: Value) -> Value:
    """exp(-x²)·P((x - 4) / (x + 4)) / (1 + 2x) from 1/2, mirrored for x < -1/2."""
    a = fabs(x)
    limit = pick(x, 10.3, 27.3)
    within = where(a > limit, limit, a)
    square, lost = two_product(within, within)
    n, r = reduce(-square, format_of(x).bias)
    high, low = reduced_exponential(r)
    power = high + low
    power = fma(power, -lost, power)
    t = (within - 4.0) / (within + 4.0)
    factor = even_and_odd(t, _ERFC[x.dtype]) / fma(within, 2.0, 1.0)
    large = scale_by(power * factor, n, within > pick(x, 8.5, 26.0))
    small_square = where(a < 0.5, a * a, 0.0)
    tail = x * polynomial(small_square, _ERF_SMALL)
    small = where(x < 0.25, 1.0 - (x + tail), 0.5 + ((0.5 - x) - tail))
    return where(a < 0.5, small, where(x < 0.0, 2.0 - large, large))
