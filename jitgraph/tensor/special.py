"""Special functions, under the names of `scipy.special`.

Most are ops of their own and under the same names in `jitgraph.tensor`; the others are made of
these. SciPy's ufuncs applied to a variable find them by their names in `FUNCTIONS`.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph.errors import DTypeError
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import arithmetic as arith
from jitgraph.ir.ops import exponential
from jitgraph.ir.ops import special as ops
from jitgraph.ir.values import Value
from jitgraph.tensor import nnet
from jitgraph.tensor.math import FUNCTIONS as _ELEMENTWISE
from jitgraph.tensor.operands import operands, public
from jitgraph.tensor.reductions import logsumexp

if TYPE_CHECKING:
    from jitgraph.tensor.variable import Variable

# Ops under their own names.
beta = _ELEMENTWISE["beta"]
betainc = _ELEMENTWISE["betainc"]
betaln = _ELEMENTWISE["betaln"]
binom = _ELEMENTWISE["binom"]
cbrt = _ELEMENTWISE["cbrt"]
digamma = _ELEMENTWISE["digamma"]
entr = _ELEMENTWISE["entr"]
erf = _ELEMENTWISE["erf"]
erfc = _ELEMENTWISE["erfc"]
erfcinv = _ELEMENTWISE["erfcinv"]
erfcx = _ELEMENTWISE["erfcx"]
erfinv = _ELEMENTWISE["erfinv"]
exp2 = _ELEMENTWISE["exp2"]
expit = _ELEMENTWISE["expit"]
expm1 = _ELEMENTWISE["expm1"]
exprel = _ELEMENTWISE["exprel"]
gamma = _ELEMENTWISE["gamma"]
gammainc = _ELEMENTWISE["gammainc"]
gammaincc = _ELEMENTWISE["gammaincc"]
gammaln = _ELEMENTWISE["gammaln"]
gammasgn = _ELEMENTWISE["gammasgn"]
i0 = _ELEMENTWISE["i0"]
i0e = _ELEMENTWISE["i0e"]
i1 = _ELEMENTWISE["i1"]
i1e = _ELEMENTWISE["i1e"]
j0 = _ELEMENTWISE["j0"]
j1 = _ELEMENTWISE["j1"]
log1p = _ELEMENTWISE["log1p"]
log_ndtr = _ELEMENTWISE["log_ndtr"]
logit = _ELEMENTWISE["logit"]
ndtr = _ELEMENTWISE["ndtr"]
ndtri = _ELEMENTWISE["ndtri"]
poch = _ELEMENTWISE["poch"]
psi = _ELEMENTWISE["psi"]
rel_entr = _ELEMENTWISE["rel_entr"]
sinc = _ELEMENTWISE["sinc"]
xlog1py = _ELEMENTWISE["xlog1py"]
xlogy = _ELEMENTWISE["xlogy"]
y0 = _ELEMENTWISE["y0"]
y1 = _ELEMENTWISE["y1"]
loggamma = _ELEMENTWISE["gammaln"]
softmax, log_softmax = nnet.softmax, nnet.log_softmax


@public
def zeta(x: ArrayLike, q: ArrayLike | None = None) -> Value:
    """The sum of (q + k)^-x over all k >= 0, for x > 1; without q Riemann's function of any x.
    It has a derivative by q, but none by x."""
    if q is None:
        return ops.riemann_zeta(*operands([x]))  # type: ignore[no-any-return]
    return ops.hurwitz_zeta(*operands([x, q]))  # type: ignore[no-any-return]


@public
def polygamma(n: int, x: ArrayLike) -> Value:
    """The n-th derivative of digamma, for an integer n >= 0 that is known when the program is
    built. Raises DTypeError for other n."""
    try:
        order = -1 if isinstance(n, Value) else int(np.asarray(n).item())
    except (TypeError, ValueError):
        order = -1
    if order < 0 or order != n:
        shown = n.describe() if isinstance(n, Value) else repr(n)
        raise DTypeError(f"polygamma of order {shown}", hint="give an integer n >= 0")
    if order < 2:
        return (ops.digamma, ops.trigamma)[order](*operands([x]))  # type: ignore[no-any-return]
    factor = float(_math.factorial(order)) * (-1) ** (order + 1)
    return factor * ops.hurwitz_zeta(*operands([order + 1, x]))  # type: ignore[no-any-return]


@public
def multigammaln(a: ArrayLike, d: int) -> Value:
    """The logarithm of the multivariate gamma function of dimension d."""
    (a,) = operands([a])
    total: Any = 0.25 * d * (d - 1) * _math.log(_math.pi)
    for j in range(d):
        total = total + ops.gammaln(a - 0.5 * j)
    return total  # type: ignore[no-any-return]


@public
def factorial(n: ArrayLike) -> Value:
    """Γ(n + 1); 0 for n < 0."""
    (n,) = operands([n])
    return arith.where(n < 0, 0, ops.gamma_(n + 1.0))  # type: ignore[no-any-return]


@public
def kl_div(x: ArrayLike, y: ArrayLike) -> Value:
    """x·log(x / y) - x + y; y for x = 0, infinite where an operand is negative."""
    x, y = operands([x, y])
    return ops.rel_entr(x, y) - x + y  # type: ignore[no-any-return]


@public
def log_expit(x: ArrayLike) -> Value:
    """log(expit(x)), without underflow."""
    (x,) = operands([x])
    return -exponential.softplus(-x)  # type: ignore[no-any-return]


@public
def huber(delta: ArrayLike, r: ArrayLike) -> Value:
    """r²/2 where |r| <= delta, delta·(|r| - delta/2) elsewhere; infinite for delta < 0."""
    delta, r = operands([delta, r])
    size = arith.absolute(r)
    line = delta * (size - 0.5 * delta)
    near = arith.less_equal(size, delta)
    y = arith.where(near, 0.5 * r * r, line)
    return arith.where(arith.less(delta, 0), np.inf, y)  # type: ignore[no-any-return]


@public
def pseudo_huber(delta: ArrayLike, r: ArrayLike) -> Value:
    """delta²·(sqrt(1 + (r/delta)²) - 1), without cancellation; infinite for delta < 0."""
    delta, r = operands([delta, r])
    flat = arith.equal(delta, 0)
    ratio = r / arith.where(flat, 1, delta)
    y = r * r / (1 + arith.sqrt(1 + ratio * ratio))
    y = arith.where(flat & arith.equal(r, r), 0, y)
    return arith.where(arith.less(delta, 0), np.inf, y)  # type: ignore[no-any-return]


def _boxcox(x: Any, logarithm: Any, lmbda: Any) -> Any:
    """(exp(lmbda·log x) - 1) / lmbda, which is log(x) for lmbda = 0."""
    y = logarithm * ops.exprel(lmbda * logarithm)
    at_zero = arith.equal(x, 0) & (lmbda > 0)
    return arith.where(at_zero, -1 / arith.where(at_zero, lmbda, 1), y)


@public
def boxcox(x: ArrayLike, lmbda: ArrayLike) -> Value:
    """(x^lmbda - 1) / lmbda; log(x) for lmbda = 0."""
    x, lmbda = operands([x, lmbda])
    return _boxcox(x, exponential.log(x), lmbda)  # type: ignore[no-any-return]


@public
def boxcox1p(x: ArrayLike, lmbda: ArrayLike) -> Value:
    """((1 + x)^lmbda - 1) / lmbda; log(1 + x) for lmbda = 0."""
    x, lmbda = operands([x, lmbda])
    return _boxcox(x + 1, exponential.log1p(x), lmbda)  # type: ignore[no-any-return]


__all__ = [
    "beta", "betainc", "betaln", "binom", "boxcox", "boxcox1p", "cbrt", "digamma", "entr", "erf",
    "erfc", "erfcinv", "erfcx", "erfinv", "exp2", "expit", "expm1", "exprel", "factorial", "gamma",
    "gammainc", "gammaincc", "gammaln", "gammasgn", "huber", "i0", "i0e", "i1", "i1e", "j0", "j1",
    "kl_div", "log1p", "log_expit", "log_ndtr", "log_softmax", "loggamma", "logit", "logsumexp",
    "multigammaln", "ndtr", "ndtri", "poch", "polygamma", "pseudo_huber", "psi", "rel_entr", "sinc",
    "softmax", "xlog1py", "xlogy", "y0", "y1", "zeta",
]  # fmt: skip
#: All functions by the name that SciPy's ufunc or function has.
FUNCTIONS: dict[str, Callable[..., Variable]] = {
    **{name: globals()[name] for name in __all__}, "_zeta": zeta, "_riemann_zeta": zeta,
}  # fmt: skip
