"""The exclusive-or network: it learns, and takes the same steps as NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import jitgraph as jg
from examples import numpy_twins, xor


def test_40_000_calls_learn_exclusive_or() -> None:
    result = xor.train(xor.Network(*xor.initial_weights()), calls=40_000)
    assert result.costs.shape == (10_000, 4)
    assert result.costs[0].max() > 0.1
    assert result.costs[-1].max() < 0.01
    np.testing.assert_array_equal(result.outputs > 0.5, xor.TARGETS == 1)


def test_every_cost_equals_that_of_numpy() -> None:
    weights = xor.initial_weights()
    network, twin = xor.Network(*weights), numpy_twins.Xor(*weights, xor.LEARNING_RATE)
    for call in range(400):
        x, y = xor.INPUTS[call % 4], xor.TARGETS[call % 4]
        np.testing.assert_allclose(network.step(x, y), twin.step(x, y), rtol=1e-6)
    np.testing.assert_allclose(network.w1.get_value(), twin.w1, rtol=1e-6)
    np.testing.assert_allclose(network.w2.get_value(), twin.w2, rtol=1e-6)


def test_float32() -> None:
    with jg.config.override(floatX="float32"):
        network = xor.Network(*xor.initial_weights())
        result = xor.train(network, calls=400)
    assert network.w1.get_value().dtype == np.float32
    assert result.costs.dtype == np.float32
    twin = numpy_twins.Xor(*xor.initial_weights(), xor.LEARNING_RATE)
    for x, y, cost in zip(xor.INPUTS, xor.TARGETS, result.costs[0], strict=True):
        np.testing.assert_allclose(cost, twin.step(x, y), rtol=1e-4)


def test_main_prints_the_truth_table(capsys: pytest.CaptureFixture[str]) -> None:
    xor.main(["--calls", "40"])
    out = capsys.readouterr().out
    assert [line[:11] for line in out.splitlines() if " xor " in line] == [
        "0 xor 1 = 1", "1 xor 0 = 1", "1 xor 1 = 0", "0 xor 0 = 0",
    ]  # fmt: skip
    assert "40 calls" in out
