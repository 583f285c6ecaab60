"""Products on the simulated tensor cores: those of rounded operands, with sums in f32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.config import PRECISIONS
from jitgraph.errors import OptionError


def rounded(x: Any, precision: str) -> Any:
    """What a tensor core multiplies in place of f32."""
    if precision == "f16":
        return x.astype("f2").astype("f4")
    bits = x.view("u4").astype("u8")
    if precision == "tf32":  # halves go up
        return (bits + (1 << 12) & 0xFFFFE000).astype("u4").view("f4")
    return (bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000).astype("u4").view("f4")


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("turned", [False, True])
def test_products_of_rounded_operands(precision: str, turned: bool) -> None:
    x, y, b = T.fmatrix("x"), T.fmatrix("y"), T.fvector("b")
    z = T.dot(x.T, y.T) if turned else T.dot(x, y)
    f = jg.function([x, y, b], z + b, device="simulated", precision=precision)
    rng = np.random.default_rng(3)
    for rows, depth, columns in ((5, 7, 9), (70, 40, 130), (130, 600, 33), (1400, 9, 1300)):
        if turned and rows == 1400:
            continue
        p, q = (rng.normal(size=s).astype("f4") for s in ((rows, depth), (depth, columns)))
        c = rng.normal(size=columns).astype("f4")
        found = np.asarray(f(p.T.copy(), q.T.copy(), c) if turned else f(p, q, c))
        exact = rounded(p, precision).astype("f8") @ rounded(q, precision).astype("f8") + c
        np.testing.assert_allclose(found, exact, rtol=0, atol=2e-6 * np.abs(exact).max())


def test_convolutions_of_rounded_operands() -> None:
    x, w = T.ftensor4("x"), T.ftensor4("w")
    y = T.nnet.conv2d(x, w, border_mode="half")
    outputs = [y, *T.grad((y * y).sum(), [x, w])]
    exact = jg.function([x, w], outputs, device="simulated")
    with jg.config.override(precision="tf32"):
        near = jg.function([x, w], outputs, device="simulated")
    rng = np.random.default_rng(3)
    given = [rng.normal(size=s).astype("f4") for s in ((2, 20, 8, 8), (70, 20, 3, 3))]
    for one, other in zip(near(*given), exact(*given), strict=True):
        a, b = np.asarray(one), np.asarray(other)
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-3 * np.abs(b).max())
        assert (a != b).any()


def test_the_cpu_is_exact() -> None:
    x = T.fmatrix("x")
    p = np.random.default_rng(3).normal(size=(9, 9)).astype("f4")
    f = jg.function([x], T.dot(x, x), device="cpu")
    g = jg.jit(lambda x: x @ x, device="cpu", precision="bf16")
    np.testing.assert_array_equal(f(p), g(p))
    with pytest.raises(OptionError, match="precision"):
        jg.function([x], x, precision="half")
