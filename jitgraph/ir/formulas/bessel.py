"""Bessel functions of order 0 and 1: J and Y, and the modified I, as they are and scaled."""

from __future__ import annotations

import math

from jitgraph.ir.formulas.numbers import (
    INF,
    NAN,
    Coefficients,
    Number,
    Quotient,
    absolute,
    copysign,
    equal,
    polynomial,
    rational,
    sqrt,
    where,
)
from jitgraph.ir.ops.exponential import cos, exp, log, sin

#: I0(x) and I1(x) / x by x²/4 <= 16; relative error 2^-66.
_I0 = (
    1.0, 1.0, 0.25, 0.027777777777777755, 0.0017361111111111461, 6.944444444441013e-05,
    1.9290123457006003e-06, 3.936759888219489e-08, 6.151187354479221e-10, 7.594057827170692e-12,
    7.59406797600664e-14, 6.275969663468321e-16, 4.359348020944281e-18, 2.572988085759427e-20,
    1.3415761569784824e-22, 5.1096461630991e-25, 3.507871363498179e-27,
)  # fmt: skip
_I1 = (
    0.5, 0.25, 0.041666666666666664, 0.003472222222222221, 0.0001736111111111127,
    5.7870370370355985e-06, 1.3778659612078076e-07, 2.4604749303686497e-09, 3.417326302530056e-11,
    3.7970290086786145e-13, 3.4518478825983527e-15, 2.614998356865979e-17, 1.67659953556416e-19,
    9.192620359789057e-22, 4.461501670572496e-24, 1.6159458667861973e-26, 1.0157879998931895e-28,
)  # fmt: skip
#: exp(-x)·I(x)·sqrt(x) by 1/8 - 1/x, for x >= 8; relative error 2^-53.5.
_I0_TAIL: Quotient = (
    (
        0.40568634235459394, -4.304198796387432, 126.80170537286179, -447.3208867740808,
        15893.651002684595, 10591.585721071373, 1562846.0906100024, 8129892.917128305,
        6089191.091293515, 389712.3927859481,
    ), (
        1.0, -10.464743016787446, 310.92831232258874, -1056.1178227729229, 38984.81853853826,
        31962.432277279768, 3851978.504372137, 20604296.579696253, 17531304.663155183,
        2010893.7010276131,
    ),
)  # fmt: skip
_I1_TAIL: Quotient = (
    (
        0.37941226661015137, -3.8623110069712587, 116.36047730039927, -363.0450969949515,
        14510.232235439964, 16980.849947355255, 1440004.275917332, 8090172.339837843,
        8715195.961412372, 1957219.6498170989,
    ), (
        1.0, -10.611683233510563, 311.4598570359915, -1093.7325811117403, 38779.94904330296,
        27685.317624081054, 3791413.9744171924, 19676963.566138163, 15214630.638435265,
        1111146.9690029651,
    ),
)  # fmt: skip
#: J0(x) / ((x² - r²)(x² - s²)) and J1(x) / (x·(x² - r²)(x² - s²)), where r and s are the first two
#: zeros, by x²/12.5 - 1, for x² <= 25; relative error 2^-60 and 2^-62.
_J0 = (
    0.0031873556303932387, -0.0019210870437164043, 0.0004876827177655841, -7.121705240575817e-05,
    6.854954847199607e-06, -4.7062916645911956e-07, 2.428622037960705e-08, -9.781438898963926e-10,
    3.163724062599791e-11, -8.404233005163385e-13, 1.8688380331361946e-14, -3.5067884138041406e-16,
)  # fmt: skip
_J1 = (
    0.0004323698734106474, -0.00020932672214860176, 4.42186880710148e-05, -5.5154944596019595e-06,
    4.6259792151650164e-07, -2.8111472529775428e-08, 1.3002918729440069e-09,
    -4.742877783300894e-11, 1.4012939773181751e-12, -3.4250955397308183e-14, 7.050818764424782e-16,
    -1.233150470517342e-17,
)  # fmt: skip
#: The squares of these zeros, as sums.
_ZEROS_0 = (5.783185962946784, 4.123247343506204e-16, 30.471262343662087, -2.366534485750659e-16)
_ZEROS_1 = (14.681970642123893, -9.858177825793294e-17, 49.2184563216946, 5.086354069436341e-16)
#: Y0(x) - 2/π·log(x)·J0(x), and (Y1(x) - 2/π·(log(x)·J1(x) - 1/x)) / x; error 2^-62 and 2^-66.
_Y0 = (
    0.4837248578102995, -0.4326558222855125, -0.47057636552972876, 0.38851639956570944,
    -0.11151682184328655, 0.017635345389338763, -0.0018028096665503848, 0.00012994629092080693,
    -6.985504374077116e-06, 2.914220689209726e-07, -9.720955208024336e-09, 2.653997328222032e-10,
    -6.049936946601659e-12, 1.1666644197889048e-13,
)  # fmt: skip
_Y1 = (
    0.13974939033568806, 0.09108650838448444, -0.16312020358118715, 0.06634695354779108,
    -0.013433433740818165, 0.0016688031328635944, -0.00014141835794484212, 8.733098304848304e-06,
    -4.1137780795312627e-07, 1.5288901826522263e-08, -4.601301074540157e-10,
    1.1448943210506125e-11, -2.397782341502854e-13, 4.278100569870905e-15,
)  # fmt: skip
#: The amplitudes P and x·Q of J(x) = sqrt(2/(πx))·(P·cos(χ) - Q·sin(χ)), with χ = x - π/4 for order
#: 0 and x - 3π/4 for order 1, by 1/x², for x >= 5; relative error of P 2^-57, of Q 2^-52.
_P0: Quotient = (
    (
        1.0, 132.3498054797206, 5448.472108580403, 84695.09471081222, 481134.5971737126,
        802810.3715083643, 192883.91740926798,
    ), (
        1.0, 132.42011797972052, 5457.670746026431, 85064.55849211664, 486573.34647112543,
        829912.5741161852, 223754.73037999478,
    ),
)  # fmt: skip
_Q0: Quotient = (
    (
        -0.12499999999999997, -18.754524372249737, -887.5933395471071, -16146.710409559097,
        -109699.39328821281, -222985.2921915169, -59552.364749677006,
    ), (
        1.0, 150.62213247799474, 7187.185008120234, 133125.08637151573, 944426.8213246552,
        2169758.236854166, 988799.8041721837,
    ),
)  # fmt: skip
_P1: Quotient = (
    (
        1.0, 130.13784322218038, 5247.367427213244, 79487.1552011541, 437555.89488815004,
        708916.7499159301, 184500.9447679831,
    ), (
        1.0, 130.02065572218046, 5232.274827177226, 78892.06980329264, 428984.1140308834,
        667254.4318190911, 138288.58535696988,
    ),
)  # fmt: skip
_Q1: Quotient = (
    (
        0.37499999999999994, 55.50013135905241, 2585.3887408602855, 46204.899328326486,
        308548.6641223959, 625031.3849830644, 190450.84692027824,
    ), (
        1.0, 148.27378779080524, 6934.173385622158, 125004.69116242198, 852560.2802478946,
        1835041.5331342453, 725579.7210156888,
    ),
)  # fmt: skip


# --- modified functions --------------------------------------------------------------------------
def _scaled(a: Number, far: Quotient) -> tuple[Number, Number, Number]:
    """For a = |x|: whether it is below 8, x²/4 for such x, and exp(-x)·I(x) for others."""
    small = a < 8.0
    near, t = where(small, a, 0.0), where(small, 8.0, a)
    return small, 0.25 * near * near, rational(0.125 - 1.0 / t, far) / sqrt(t)


def i0(x: Number) -> Number:
    a = absolute(x)
    small, z, far = _scaled(a, _I0_TAIL)
    half = exp(0.5 * where(a < 750.0, a, 750.0))
    return where(small, polynomial(z, _I0), where(a < 750.0, half * far * half, a * INF))


def i0e(x: Number) -> Number:
    a = absolute(x)
    small, z, far = _scaled(a, _I0_TAIL)
    return where(small, exp(-where(small, a, 0.0)) * polynomial(z, _I0), far)


def i1(x: Number) -> Number:
    a = absolute(x)
    small, z, far = _scaled(a, _I1_TAIL)
    half = exp(0.5 * where(a < 750.0, a, 750.0))
    large = where(a < 750.0, half * far * half, a * INF)
    return where(small, x * polynomial(z, _I1), copysign(large, x))


def i1e(x: Number) -> Number:
    a = absolute(x)
    small, z, far = _scaled(a, _I1_TAIL)
    near = x * (exp(-where(small, a, 0.0)) * polynomial(z, _I1))
    return where(small, near, copysign(far, x))


# --- J and Y -------------------------------------------------------------------------------------
def _near(z: Number, zeros: Coefficients, quotient: Coefficients) -> Number:
    """J of order 0, or J / x of order 1, by z = x² <= 25."""
    first, first_low, second, second_low = zeros
    below = ((z - first) - first_low) * ((z - second) - second_low)
    return below * polynomial(z * 0.08 - 1.0, quotient)


def _waves(
    t: Number, amplitude: Quotient, quadrature: Quotient
) -> tuple[Number, Number, Number, Number]:
    """For t >= 5: cos(t), sin(t), P + Q and P - Q, the latter over sqrt(πt)."""
    inverse = 1.0 / t
    w = inverse * inverse
    p, q = rational(w, amplitude), inverse * rational(w, quadrature)
    scale = 1.0 / (math.sqrt(math.pi) * sqrt(t))
    return cos(t), sin(t), scale * (p + q), scale * (p - q)


def _parts(x: Number) -> tuple[Number, Number, Number]:
    """Whether |x| < 5, x² for such x, and |x| for others."""
    a = absolute(x)
    small = a < 5.0
    near = where(small, x, 0.0)
    return small, near * near, where(small, 5.0, a)


def j0(x: Number) -> Number:
    small, z, t = _parts(x)
    c, s, more, less = _waves(t, _P0, _Q0)
    return where(small, _near(z, _ZEROS_0, _J0), c * more + s * less)


def j1(x: Number) -> Number:
    small, z, t = _parts(x)
    c, s, more, less = _waves(t, _P1, _Q1)
    far = s * more - c * less
    return where(small, x * _near(z, _ZEROS_1, _J1), where(x < 0.0, -far, far))


def y0(x: Number) -> Number:
    small, z, t = _parts(x)
    c, s, more, less = _waves(t, _P0, _Q0)
    logarithm = log(where(small, x, 1.0)) * (2.0 / math.pi)
    near = polynomial(z * 0.08 - 1.0, _Y0) + logarithm * _near(z, _ZEROS_0, _J0)
    y = where(small, near, s * more - c * less)
    return where(x < 0.0, NAN, where(equal(x, 0.0), -INF, y))


def y1(x: Number) -> Number:
    small, z, t = _parts(x)
    c, s, more, less = _waves(t, _P1, _Q1)
    a = where(small, x, 1.0)
    product = log(a) * _near(z, _ZEROS_1, _J1) * a
    near = a * polynomial(z * 0.08 - 1.0, _Y1) + (product - 1.0 / a) * (2.0 / math.pi)
    y = where(small, near, -(c * more + s * less))
    return where(x < 0.0, NAN, where(equal(x, 0.0), -INF, y))
