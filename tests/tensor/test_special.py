"""`T.special`: SciPy's names and meanings, gradients of what is made of several ops, errors."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, GradientError
from jitgraph.tensor import special

X = np.array([0.0, 0.3, 0.5, 1.0, 2.5, 3.0, 7.25, -0.4, np.nan, np.inf])
Y = np.array([1.0, 0.0, 2.0, 0.7, 3.0, 3.0, 0.5, 1.0, 1.0, 2.0])
#: Functions made of several ops: how they are called.
MADE: dict[str, Any] = {
    "zeta(x)": lambda m, x, y: m.zeta(x),
    "zeta(3, x)": lambda m, x, y: m.zeta(3, x),
    **{f"polygamma({n}, x)": lambda m, x, y, n=n: m.polygamma(n, x) for n in range(4)},
    "multigammaln": lambda m, x, y: m.multigammaln(abs(x) + 2, 3),
    "factorial": lambda m, x, y: m.factorial(x),
    "kl_div": lambda m, x, y: m.kl_div(x, y),
    "log_expit": lambda m, x, y: m.log_expit(x),
    "huber": lambda m, x, y: m.huber(y, x),
    "pseudo_huber": lambda m, x, y: m.pseudo_huber(y, x),
    "boxcox": lambda m, x, y: m.boxcox(x, y),
    "boxcox1p": lambda m, x, y: m.boxcox1p(x, y),
}


def test_functions_made_of_others() -> None:
    x, y = T.dvectors("x", "y")
    f = jg.function([x, y], [make(special, x, y) for make in MADE.values()], algebra="ieee")
    usual = X[:8]
    for name, got in zip(MADE, f(usual, Y[:8]), strict=True):
        with np.errstate(all="ignore"):
            want = MADE[name](scipy.special, usual, Y[:8])
        np.testing.assert_allclose(got, want, rtol=2e-14, atol=1e-15, err_msg=name)


def test_gradients_of_functions_made_of_others() -> None:
    """At points where they are smooth, against central differences; twice."""
    x, y = T.dvectors("x", "y")
    names = [name for name in MADE if name != "zeta(x)"]
    costs = [MADE[name](special, x, y).sum() for name in names]
    firsts = [T.grad(c, [x, y], disconnected_inputs="ignore") for c in costs]
    seconds = [T.grad(a.sum(), x, disconnected_inputs="ignore") for a, _ in firsts]
    results = [*costs, *(g for pair in firsts for g in pair), *seconds]
    f = jg.function([x, y], results, on_unused_input="ignore")
    at, step = [np.array([0.35, 1.7, 2.2]), np.array([0.6, 1.2, 1.9])], 1e-5

    def moved(k: int, element: int, by: float) -> list[Any]:
        operands = [a.copy() for a in at]
        operands[k][element] += by
        return f(*operands)  # type: ignore[no-any-return]

    n, found = len(names), f(*at)
    for element in range(3):
        sides = [(moved(k, element, step), moved(k, element, -step)) for k in (0, 1)]
        for i, name in enumerate(names):
            for k, (up, down) in enumerate(sides):
                slope = (up[i] - down[i]) / (2 * step)
                np.testing.assert_allclose(found[n + 2 * i + k][element], slope,
                                           rtol=1e-6, atol=1e-8, err_msg=name)  # fmt: skip
            up, down = sides[0]
            slope = (up[n + 2 * i].sum() - down[n + 2 * i].sum()) / (2 * step)
            np.testing.assert_allclose(found[3 * n + i][element], slope, rtol=1e-5, atol=1e-6,
                                       err_msg=name)  # fmt: skip


def test_limits_have_gradients() -> None:
    """At 0 the quotients are of a function that is 0 there."""
    x = T.dscalar("x")
    wanted = {"i0": 0.0, "i1": 0.5, "j0": 0.0, "j1": 0.5, "exprel": 0.5, "sinc": 0.0, "erfinv":
              np.sqrt(np.pi) / 2, "ndtr": 1 / np.sqrt(2 * np.pi)}  # fmt: skip
    f = jg.function([x], [T.grad(getattr(T, name)(x), x) for name in wanted])
    np.testing.assert_allclose(f(0.0), list(wanted.values()), rtol=1e-15)


def test_slopes_are_exact_where_they_change_form() -> None:
    x = T.dvector("x")
    at = np.array([1e-9, 1e-3, 0.0299, 0.0301, 0.0999, 0.1001, 2.0])
    got = jg.function([x], [T.grad(f(x).sum(), x) for f in (T.exprel, T.sinc)])(at)
    with mpmath.workdps(50):
        points = [mpmath.mpf(float(t)) for t in at]
        exprel = [(t * mpmath.exp(t) - mpmath.expm1(t)) / t**2 for t in points]
        sinc = [(mpmath.cospi(t) - mpmath.sincpi(t)) / t for t in points]
    want = np.array([exprel, sinc], dtype=np.float64)
    np.testing.assert_allclose(got, want, rtol=5e-14)


def test_derivatives_by_parameters_are_there_once() -> None:
    a, x = T.dvectors("a", "x")
    for y in (T.gammainc(a, x), T.gammaincc(a, x), special.zeta(a, x), special.zeta(a)):
        slope = T.grad(y.sum(), a)
        with pytest.raises(GradientError, match="has no gradient"):
            T.grad(slope.sum(), a)
    density = jg.function([a, x], T.grad(T.gammainc(a, x).sum(), x))
    np.testing.assert_allclose(density([2.0], [3.0]), [3 * np.exp(-3.0)], rtol=1e-13)


@pytest.mark.parametrize("order", [-1, 1.5, [1, 2], T.lscalar("n")], ids=str)
def test_polygamma_of_strange_orders(order: Any) -> None:
    with pytest.raises(DTypeError, match="polygamma of order"):
        special.polygamma(order, T.dvector("x"))


def test_names() -> None:
    """Each function is known by the name of SciPy's ufunc, and none of these is forgotten."""
    for name in special.__all__:
        assert callable(getattr(special, name)), name
        if name != "sinc":
            theirs = getattr(scipy.special, name)
            assert getattr(theirs, "__name__", name) in special.FUNCTIONS, name
    assert special.FUNCTIONS["psi"] is T.psi
    assert special.expit is T.expit
    assert T.expit.__doc__ == T.sigmoid.__doc__


def test_integers_and_complex_operands() -> None:
    assert T.gammaln(T.lvector("n")).dtype == np.float64
    assert T.beta(T.fvector("x"), 2).dtype == np.float32
    assert T.gammaln([1.0, 5.0]).dtype == np.float64
    with pytest.raises(DTypeError, match="does not take complex"):
        T.gamma(T.zvector("z"))
