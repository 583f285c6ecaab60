"""Products and sums as one op: which ones, what they mean, and the same bits everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.target import host
from jitgraph.driver import default_layout
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import Kernel
from jitgraph.ir.values import Value
from jitgraph.passes.schedule import schedule

FORMS = {
    "a * b + c": lambda a, b, c: a * b + c,
    "c + a * b": lambda a, b, c: c + a * b,
    "a * b - c": lambda a, b, c: a * b - c,
    "c - a * b": lambda a, b, c: c - a * b,
    "a * b + c * b": lambda a, b, c: a * b + c * b,
    "a * b - 2": lambda a, b, c: a * b - 2.0 + c * 0,
}


A, B, C = T.dvectors("a", "b", "c")


def ops(*results: Value, contracts: bool = True) -> list[str]:
    """The ops of the kernels for expressions."""
    fn = Function([A, B, C], list(results))
    layout = default_layout(fn, [[None]] * 3)
    program = schedule(fn, layout.orders, contracts=contracts)
    kernels = [step for step in program.work() if isinstance(step, Kernel)]
    return [v.op.name for k in kernels for v in k.body() if v.op is not None]


def test_each_sum_takes_one_product() -> None:
    assert ops(A * B + C) == ["fma"]
    assert ops(C - A * B) == ["negative", "fma"]
    assert ops(A * B + C * B) == ["multiply", "fma"]
    assert sorted(ops(A * B + C, T.exp(A * B))) == ["exp", "fma", "multiply"]
    assert ops(A * B + C, contracts=False) == ["multiply", "add"]


def test_other_dtypes_are_left_alone() -> None:
    x, y = T.lvectors("x", "y")
    fn = Function([x, y], [x * y + x])
    layout = default_layout(fn, [[None]] * 2)
    (kernel,) = schedule(fn, layout.orders, contracts=True).work()
    assert isinstance(kernel, Kernel)
    assert "fma" not in [v.op.name for v in kernel.body() if v.op is not None]


@pytest.mark.skipif(not host().has_fma, reason="the processor has no such instruction")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_contracted_sum_is_rounded_once(form: Any) -> None:
    """The error of the sum is half a unit of itself, however much of it cancels."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 1000))
    c = a * b * (1 + 2.0**-40)  # most digits cancel
    plain, fused = jg.jit(form, algebra="ieee"), jg.jit(form)
    exact = form(*(np.asarray(x, np.longdouble) for x in (a, b, c)))
    worst = [float(np.max(np.abs(f(a, b, c) - exact) / np.maximum(np.abs(exact), 1e-300)))
             for f in (plain, fused)]  # fmt: skip
    assert worst[1] <= worst[0]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_simulated_device_gives_the_same_bits(form: Any) -> None:
    """Also where a product does not vary along the innermost loop."""
    rng = np.random.default_rng(6)
    for shapes in (((30, 40), (30, 40), (30, 40)), ((30, 1), (30, 1), (30, 40))):
        given = [rng.normal(size=shape) for shape in shapes]
        here, there = jg.jit(form)(*given), jg.jit(form, device="simulated")(*given)
        if host().has_fma:
            np.testing.assert_array_equal(np.asarray(there), here)
        else:
            np.testing.assert_allclose(np.asarray(there), here, rtol=1e-12, atol=1e-12)
