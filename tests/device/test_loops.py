"""Loops on a device: who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu import simulator
from tests.device.conftest import DEVICE

pytestmark = pytest.mark.skipif(DEVICE != "simulated", reason="only the simulator counts")


def waits(call: Callable[[], Any]) -> int:
    before = simulator.waits()
    call()
    return simulator.waits() - before


def test_training_never_waits() -> None:
    """Gradient steps inside a loop, which sums up the costs."""
    x = np.linspace(-1, 1, 24).reshape(8, 3)
    y = x @ [1.0, -2.0, 0.5]

    def step(w: Any, velocity: Any, total: Any, rate: Any) -> Any:
        cost = T.sum((T.dot(x, w) - y) ** 2)
        velocity = 0.9 * velocity - rate * T.grad(cost, w)
        return w + velocity, velocity, total + cost, rate * 0.99

    start = T.dvector("start")
    n = T.lscalar("n")
    outputs, _ = jg.scan(
        step, outputs_info=[start, T.zeros_like(start), T.constant(0.0), T.constant(0.01)],
        n_steps=n,
    )  # fmt: skip
    finals = [o[-1] for o in outputs]
    f = jg.function([start, n], finals)
    expected = jg.function([start, n], finals, device="cpu")
    for steps in (1, 2, 5, 6):
        found = []
        assert waits(lambda: found.extend(f(np.ones(3), steps))) == 0  # noqa: B023
        for a, b in zip(found, expected(np.ones(3), steps), strict=True):
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12)


def test_a_condition_is_waited_for_once_a_step() -> None:
    v = T.dvector("v")

    def step(total: Any, count: Any) -> Any:
        more = total + T.sum(v)
        return [more, count + T.max(v)], T.until(more > 10.0)

    outputs, _ = jg.scan(step, outputs_info=[T.constant(0.0), T.constant(1.0)], n_steps=100)
    f = jg.function([v], [outputs[0][-1], outputs[1][-1]])
    found: list[Any] = []
    assert waits(lambda: found.extend(f(np.ones(3)))) <= 4 + 1
    assert [float(x) for x in found] == [12.0, 5.0]


def test_what_is_computed_of_a_late_scalar_is_given_to_a_loop() -> None:
    """As an argument of its steps, which read it where it is."""
    x = T.lvector("x")
    total = x.sum()
    least = T.minimum(total, 1)
    rows, _ = jg.scan(lambda s: T.stack([s, least]), sequences=[x])
    f = jg.function([x], [rows, least])
    found, one = f([3, 4, 5])
    np.testing.assert_array_equal(found, [[3, 1], [4, 1], [5, 1]])
    assert int(one) == 1
