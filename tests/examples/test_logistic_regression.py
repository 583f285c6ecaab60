"""Softmax regression: it tells digits apart, and takes the same steps as NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jitgraph as jg
from examples import datasets, numpy_twins
from examples.logistic_regression import BATCH, LEARNING_RATE, Trainer, main, train

MNIST = Path(__file__).parents[2] / ".." / "shared" / "data" / "mnist"


def twin_of(data: datasets.Dataset) -> numpy_twins.LogisticRegression:
    return numpy_twins.LogisticRegression(
        data.train.images, data.train.labels, data.classes, BATCH, LEARNING_RATE
    )


def assert_steps_alike(trainer: Trainer, twin: numpy_twins.LogisticRegression) -> None:
    """One epoch, its short last minibatch included."""
    assert len(twin.labels) % BATCH
    for start in trainer.starts:
        np.testing.assert_allclose(trainer.step(start), twin.step(start), rtol=1e-6)
    W, b = (param.get_value() for param in trainer.model.params)  # noqa: N806
    np.testing.assert_allclose(W, twin.W, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(b, twin.b, rtol=1e-6, atol=1e-12)


def test_digits_are_told_apart() -> None:
    data = datasets.load()
    result = train(Trainer(data), data, epochs=20)
    # Guessing gives 2.30; NumPy reaches 0.222 and errors of 4.4 and 4.8 %.
    assert result.costs[0] > 1
    assert result.costs[-1] < 0.23
    assert result.costs == sorted(result.costs, reverse=True)
    assert result.valid_errors[-1] < 0.06
    assert result.test_error < 0.06


def test_every_cost_equals_that_of_numpy() -> None:
    data = datasets.load()
    trainer, twin = Trainer(data), twin_of(data)
    assert_steps_alike(trainer, twin)
    images, labels = data.test.images, data.test.labels
    assert float(trainer.error_rate(images, labels)) == twin.error_rate(images, labels)


def test_float32() -> None:
    with jg.config.override(floatX="float32"):
        data = datasets.load(dtype="float32")
        trainer = Trainer(data)
        twin = twin_of(data)
        for start in trainer.starts[:20]:
            cost = trainer.step(start)
            assert cost.dtype == np.float32
            np.testing.assert_allclose(cost, twin.step(start), rtol=1e-4)


@pytest.mark.skipif(not MNIST.exists(), reason="MNIST is not here")
def test_mnist() -> None:
    data = datasets.load(MNIST)
    assert data.size == (28, 28)
    assert len(data.train) + len(data.valid) + len(data.test) == 10_000
    counts = [np.bincount(part.labels) for part in (data.train, data.valid, data.test)]
    assert np.sum(counts, axis=0).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    trainer, twin = Trainer(data), twin_of(data)
    for start in trainer.starts[:50]:
        np.testing.assert_allclose(trainer.step(start), twin.step(start), rtol=1e-6)
    # From there on: NumPy reaches 9.3 % on the validation and 9.0 % on the test set.
    result = train(trainer, data, epochs=5)
    assert result.valid_errors[-1] < 0.105
    assert result.test_error < 0.105


def test_main_prints_costs_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--epochs", "2"])
    out = capsys.readouterr().out
    assert "scikit-learn digits" in out
    assert out.count("epoch ") == 2
    assert "test error" in out
