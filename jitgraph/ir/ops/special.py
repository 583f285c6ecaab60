"""The table of special functions. What they compute is said in `ir.formulas`, in float64.

SciPy is the reference for values and for what happens at poles and outside of domains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import REALS, Elementwise, Interval, Operands, binary, ternary, unary
from jitgraph.ir.formulas import (
    bessel,
    error,
    gamma,
    incomplete,
    incomplete_slopes,
    logarithmic,
    zeta,
)
from jitgraph.ir.opdef import Expand
from jitgraph.ir.ops.arithmetic import absolute, equal, sign, where
from jitgraph.ir.ops.exponential import POSITIVE, cos, exp, log, log1p
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

Formula = Callable[..., Any]
Derivative = Callable[..., Any]

#: The formula of each op, by name.
FORMULAS: dict[str, Formula] = {}
#: The ops whose formulas serve in the dtype of the operands; others are computed in f64.
OWN_DTYPE: set[str] = set()
#: Derivatives of others by their parameters, which have no names outside.
SLOPES = frozenset(
    {"gammainc_slope", "betainc_slope_a", "betainc_slope_b", "zeta_slope", "riemann_slope"}
)
UNIT: Interval = (0.0, 1.0)
SQRT_PI = math.sqrt(math.pi)
SQRT_2PI = math.sqrt(2 * math.pi)


def _signature(kinds: Operands) -> tuple[DType, ...]:
    """All operands and the result of one float dtype, which NumPy's own functions would choose."""
    if len(kinds) == 1:
        return np.sqrt.resolve_dtypes((*kinds, None))
    if len(kinds) == 2:
        return np.arctan2.resolve_dtypes((*kinds, None))
    weak = [k(0) if isinstance(k, type) else k for k in kinds]
    return np.sqrt.resolve_dtypes((np.result_type(*weak), None))[:1] * (len(kinds) + 1)


def _special(
    name: str,
    formula: Formula,
    *grad: Derivative | None,
    doc: str,
    domain: tuple[Interval, ...] | None = None,
    zero_to_zero: bool = False,
    own_dtype: bool = False,
) -> Elementwise:
    """Declare an op. `grad` has one `(g, y, *operands) -> adjoint` per operand; None says that the
    derivative by the operand is not known here, and asking for it is an error."""

    def numpy(*operands: Any) -> Any:
        dtype = _signature(tuple(np.asarray(x).dtype for x in operands))[-1]
        y = formula(*(np.asarray(x, np.float64) for x in operands))
        return np.asarray(y).astype(dtype)

    FORMULAS[name] = formula
    if own_dtype:
        OWN_DTYPE.add(name)
    unknown = tuple(k for k, d in enumerate(grad) if d is None)
    rest: dict[str, Any] = {
        "signature": _signature, "lower": Expand(), "doc": doc, "unknown": unknown,
        "zero_to_zero": zero_to_zero,
    }  # fmt: skip
    if len(grad) == 1:
        (interval,) = domain or (REALS,)
        return unary(name, numpy, grad=grad[0], domain=interval, **rest)
    declare = binary if len(grad) == 2 else ternary
    return declare(name, numpy, grad=grad, domain=domain, **rest)  # type: ignore[arg-type]


# --- gamma and its kin ---------------------------------------------------------------------------
gamma_ = _special(
    "gamma", gamma.gamma, lambda g, y, x: g * (y * digamma(x)), domain=(POSITIVE,),
    doc="Γ(x).",
)  # fmt: skip
gammaln = _special(
    "gammaln", gamma.log_gamma, lambda g, y, x: g * digamma(x), domain=(POSITIVE,),
    doc="log |Γ(x)|.",
)  # fmt: skip
digamma: Elementwise = _special(
    "digamma", gamma.digamma, lambda g, y, x: g * trigamma(x), domain=(POSITIVE,),
    doc="The derivative of log Γ(x).",
)  # fmt: skip
trigamma: Elementwise = _special(
    "trigamma", gamma.trigamma, lambda g, y, x: g * (-2.0 * hurwitz_zeta(3.0, x)),
    domain=(POSITIVE,), doc="The derivative of digamma(x).",
)  # fmt: skip
hurwitz_zeta: Elementwise = _special(
    "hurwitz_zeta", zeta.zeta, lambda g, y, s, q: g * zeta_slope(s, q),
    lambda g, y, s, q: g * (-s * hurwitz_zeta(s + 1.0, q)),
    domain=((1.1, 4.0), POSITIVE), doc="The sum of (q + k)^-s over all k >= 0, for s > 1.",
)  # fmt: skip
zeta_slope: Elementwise = _special(
    "zeta_slope", zeta.zeta_slope, None,
    lambda g, y, s, q: -g * (hurwitz_zeta(s + 1.0, q) + s * zeta_slope(s + 1.0, q)),
    domain=((1.1, 4.0), POSITIVE), doc="The derivative of hurwitz_zeta by s, for q > 0.",
)  # fmt: skip
riemann_slope: Elementwise = _special(
    "riemann_slope", zeta.riemann_slope, None, doc="The derivative of riemann_zeta.",
)  # fmt: skip
riemann_zeta = _special(
    "riemann_zeta", zeta.riemann_zeta, lambda g, y, s: g * riemann_slope(s),
    domain=((1.3, 4.0),), doc="The sum of k^-s over all k >= 1, continued.",
)  # fmt: skip
gammasgn = _special(
    "gammasgn", gamma.gamma_sign, lambda g, y, x: None, domain=(POSITIVE,),
    doc="The sign of Γ(x).",
)  # fmt: skip
beta = _special(
    "beta", gamma.beta,
    lambda g, y, a, b: g * (y * (digamma(a) - digamma(a + b))),
    lambda g, y, a, b: g * (y * (digamma(b) - digamma(a + b))),
    domain=(POSITIVE, POSITIVE), doc="Γ(a)·Γ(b) / Γ(a + b).",
)  # fmt: skip
betaln = _special(
    "betaln", gamma.log_beta,
    lambda g, y, a, b: g * (digamma(a) - digamma(a + b)),
    lambda g, y, a, b: g * (digamma(b) - digamma(a + b)),
    domain=(POSITIVE, POSITIVE), doc="log |beta(a, b)|.",
)  # fmt: skip


binom = _special(
    "binom", gamma.binomial,
    lambda g, y, n, k: g * (y * (digamma(n + 1) - digamma(n - k + 1))),
    lambda g, y, n, k: g * (y * (digamma(n - k + 1) - digamma(k + 1))),
    domain=((3.0, np.inf), UNIT), doc="n over k: 1 / ((n + 1)·beta(n - k + 1, k + 1)).",
)  # fmt: skip
poch = _special(
    "poch", gamma.rising,
    lambda g, y, z, m: g * (y * (digamma(z + m) - digamma(z))),
    lambda g, y, z, m: g * (y * digamma(z + m)),
    domain=(POSITIVE, POSITIVE), doc="Γ(z + m) / Γ(z).",
)  # fmt: skip


def _gamma_density(a: Value, x: Value) -> Any:
    """x^(a-1)·exp(-x) / Γ(a), the derivative of gammainc by x."""
    return exp((a - 1) * log(x) - x - gammaln(a))


def _beta_density(a: Value, b: Value, x: Value) -> Any:
    """x^(a-1)·(1-x)^(b-1) / B(a, b), the derivative of betainc by x."""
    return exp((a - 1) * log(x) + (b - 1) * log1p(-x) - betaln(a, b))


gammainc_slope: Elementwise = _special(
    "gammainc_slope", incomplete_slopes.gammainc_slope, None,
    lambda g, y, a, x: g * (_gamma_density(a, x) * (log(x) - digamma(a))),
    domain=(POSITIVE, POSITIVE), doc="The derivative of gammainc by a.",
)  # fmt: skip
betainc_slope_a: Elementwise = _special(
    "betainc_slope_a", incomplete_slopes.betainc_slope_a, None, None,
    lambda g, y, a, b, x: g * (_beta_density(a, b, x) * (log(x) - digamma(a) + digamma(a + b))),
    domain=(POSITIVE, POSITIVE, UNIT), doc="The derivative of betainc by a.",
)  # fmt: skip
betainc_slope_b: Elementwise = _special(
    "betainc_slope_b", incomplete_slopes.betainc_slope_b, None, None,
    lambda g, y, a, b, x: g * (_beta_density(a, b, x) * (log1p(-x) - digamma(b) + digamma(a + b))),
    domain=(POSITIVE, POSITIVE, UNIT), doc="The derivative of betainc by b.",
)  # fmt: skip
gammainc = _special(
    "gammainc", incomplete.gammainc, lambda g, y, a, x: g * gammainc_slope(a, x),
    lambda g, y, a, x: g * _gamma_density(a, x),
    domain=(POSITIVE, POSITIVE), doc="The regularised lower incomplete gamma function of (a, x).",
)  # fmt: skip
gammaincc = _special(
    "gammaincc", incomplete.gammaincc, lambda g, y, a, x: -g * gammainc_slope(a, x),
    lambda g, y, a, x: -g * _gamma_density(a, x),
    domain=(POSITIVE, POSITIVE), doc="1 - gammainc(a, x), to full accuracy.",
)  # fmt: skip
betainc = _special(
    "betainc", incomplete.betainc, lambda g, y, a, b, x: g * betainc_slope_a(a, b, x),
    lambda g, y, a, b, x: g * betainc_slope_b(a, b, x),
    lambda g, y, a, b, x: g * _beta_density(a, b, x),
    domain=(POSITIVE, POSITIVE, UNIT),
    doc="The regularised incomplete beta function of (a, b, x).",
)  # fmt: skip

# --- the error function and the normal distribution ----------------------------------------------
erfcx: Elementwise = _special(
    "erfcx", error.erfcx, lambda g, y, x: g * (2 * x * y - 2 / SQRT_PI),
    doc="exp(x²)·erfc(x).",
)  # fmt: skip
erfinv = _special(
    "erfinv", error.erfinv, lambda g, y, x: g * (SQRT_PI / 2 * exp(y * y)), domain=((-1.0, 1.0),),
    zero_to_zero=True, doc="The inverse of erf.",
)  # fmt: skip
erfcinv = _special(
    "erfcinv", error.erfcinv, lambda g, y, x: -g * (SQRT_PI / 2 * exp(y * y)),
    domain=((0.0, 2.0),), doc="The inverse of erfc.",
)  # fmt: skip
ndtr = _special(
    "ndtr", error.normal, lambda g, y, x: g * (exp(-0.5 * x * x) / SQRT_2PI),
    doc="The distribution function of the standard normal distribution.",
)  # fmt: skip
log_ndtr = _special(
    "log_ndtr", error.log_normal,
    lambda g, y, x: g * (math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5))),
    doc="log of ndtr(x), where that is too small as well.",
)  # fmt: skip
ndtri = _special(
    "ndtri", error.normal_inverse, lambda g, y, x: g * (SQRT_2PI * exp(0.5 * y * y)),
    domain=(UNIT,), doc="The inverse of ndtr.",
)  # fmt: skip


# --- Bessel functions ----------------------------------------------------------------------------
def _over(y: Value, x: Value) -> Any:
    """y / x for a function of order 1, whose limit at 0 is 1/2."""
    at_zero = equal(x, 0)
    return where(at_zero, 0.5, y / where(at_zero, 1, x))


i0: Elementwise = _special(
    "i0", bessel.i0, lambda g, y, x: g * i1(x), doc="The modified Bessel function I of order 0.",
)  # fmt: skip
i1: Elementwise = _special(
    "i1", bessel.i1, lambda g, y, x: g * (i0(x) - _over(y, x)), zero_to_zero=True,
    doc="The modified Bessel function I of order 1.",
)  # fmt: skip
i0e: Elementwise = _special(
    "i0e", bessel.i0e, lambda g, y, x: g * (i1e(x) - sign(x) * y), doc="exp(-|x|)·i0(x).",
)  # fmt: skip
i1e: Elementwise = _special(
    "i1e", bessel.i1e, lambda g, y, x: g * (i0e(x) - _over(y, x) - absolute(y)), zero_to_zero=True,
    doc="exp(-|x|)·i1(x).",
)  # fmt: skip
j0: Elementwise = _special(
    "j0", bessel.j0, lambda g, y, x: -g * j1(x), doc="The Bessel function J of order 0.",
)  # fmt: skip
j1: Elementwise = _special(
    "j1", bessel.j1, lambda g, y, x: g * (j0(x) - _over(y, x)), zero_to_zero=True,
    doc="The Bessel function J of order 1.",
)  # fmt: skip
y0: Elementwise = _special(
    "y0", bessel.y0, lambda g, y, x: -g * y1(x), domain=(POSITIVE,),
    doc="The Bessel function Y of order 0.",
)  # fmt: skip
y1: Elementwise = _special(
    "y1", bessel.y1, lambda g, y, x: g * (y0(x) - y / x), domain=(POSITIVE,),
    doc="The Bessel function Y of order 1.",
)  # fmt: skip


# --- logarithms and quotients with limits --------------------------------------------------------
def _exprel_gradient(g: Value, y: Value, x: Value) -> Any:
    near = absolute(x) < 0.03
    far = where(near, 1, x)
    slope = logarithmic.exprel_slope_near_zero(where(near, x, 0))
    return g * where(near, slope, (exp(far) - exprel(far)) / far)


def _sinc_gradient(g: Value, y: Value, x: Value) -> Any:
    near = absolute(x) < 0.1
    far = where(near, 1, x)
    slope = logarithmic.sinc_slope_near_zero(where(near, x, 0))
    return g * where(near, slope, (cos(far * math.pi) - sinc(far)) / far)


xlogy = _special(
    "xlogy", logarithmic.xlogy, lambda g, y, a, b: g * log(b), lambda g, y, a, b: g * (a / b),
    domain=(POSITIVE, POSITIVE), own_dtype=True, doc="x·log(y), but 0 for x = 0.",
)  # fmt: skip
xlog1py = _special(
    "xlog1py", logarithmic.xlog1py, lambda g, y, a, b: g * log1p(b),
    lambda g, y, a, b: g * (a / (1 + b)), domain=(POSITIVE, (-1.0, np.inf)), own_dtype=True,
    doc="x·log(1 + y), but 0 for x = 0.",
)  # fmt: skip
entr = _special(
    "entr", logarithmic.entr, lambda g, y, x: -g * (log(x) + 1), domain=(POSITIVE,),
    zero_to_zero=True, own_dtype=True, doc="-x·log(x); 0 for x = 0, -inf for x < 0.",
)  # fmt: skip
rel_entr = _special(
    "rel_entr", logarithmic.rel_entr, lambda g, y, a, b: g * (log(a / b) + 1),
    lambda g, y, a, b: -g * (a / b), domain=(POSITIVE, POSITIVE), own_dtype=True,
    doc="x·log(x / y); 0 for x = 0 and y >= 0, inf where an operand is negative.",
)  # fmt: skip
logit = _special(
    "logit", logarithmic.logit, lambda g, y, x: g / (x * (1 - x)), domain=(UNIT,), own_dtype=True,
    doc="log(x / (1 - x)), the inverse of the sigmoid.",
)  # fmt: skip
exprel: Elementwise = _special(
    "exprel", logarithmic.exprel, _exprel_gradient, own_dtype=True, doc="(exp(x) - 1) / x; 1 at 0.",
)  # fmt: skip
sinc: Elementwise = _special(
    "sinc", logarithmic.sinc, _sinc_gradient, own_dtype=True, doc="sin(πx) / (πx); 1 at 0.",
)  # fmt: skip
