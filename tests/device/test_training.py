"""Training programs on the device and on the CPU: costs and parameters agree after some steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from tests.device.conftest import some

BATCH, CLASSES, STEPS = 24, 10, 4
Array = np.ndarray[Any, Any]


def digits() -> tuple[Array, Array]:
    """Images of 8 x 8 in [0, 1] and labels: scikit-learn's, or where it is missing random ones."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        rng = np.random.default_rng(0)
        return rng.random((256, 64)), rng.integers(0, CLASSES, 256)
    images, labels = load_digits(return_X_y=True)
    return images[:256] / 16, labels[:256]


def weights(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(3)
    return [rng.uniform(-1, 1, s) * (3 / max(int(np.prod(s[1:])), 1)) ** 0.5 / 2 for s in shapes]


def likelihood(scores: Any, labels: Any) -> Any:
    return -T.mean(T.nnet.log_softmax(scores)[T.arange(labels.shape[0]), labels])


def logistic(p: Sequence[Any], x: Any, y: Any) -> Any:
    return likelihood(x @ p[0] + p[1], y)


def mlp(p: Sequence[Any], x: Any, y: Any) -> Any:
    hidden = T.tanh(x @ p[0] + p[1])
    hidden = T.tanh(hidden @ p[2] + p[3])
    return likelihood(hidden @ p[4] + p[5], y)


def autoencoder(p: Sequence[Any], x: Any, y: Any) -> Any:
    hidden = T.nnet.sigmoid(x @ p[0] + p[1])
    out = T.nnet.sigmoid(hidden @ p[0].T + p[2])
    return T.mean(T.nnet.binary_crossentropy(out, x)) + 0 * T.sum(y)


def lenet(p: Sequence[Any], x: Any, y: Any) -> Any:
    images = x.reshape((x.shape[0], 1, 8, 8))
    seen = T.nnet.conv2d(images, p[0]) + p[1].reshape((1, -1, 1, 1))
    pooled = T.tanh(T.nnet.pool_2d(seen, (2, 2), ignore_border=True))
    return likelihood(pooled.reshape((x.shape[0], -1)) @ p[2] + p[3], y)


def recurrent(p: Sequence[Any], x: Any, y: Any) -> Any:
    rows = x.reshape((x.shape[0], 8, 8)).dimshuffle(1, 0, 2)
    states = jg.scan(lambda row, h: T.tanh(row @ p[0] + h @ p[1]), sequences=[rows],
                     outputs_info=[T.zeros((x.shape[0], 12), x.dtype)])[0]  # fmt: skip
    return likelihood(states[-1] @ p[2] + p[3], y)


PROGRAMS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "logistic": (logistic, [(64, CLASSES), (CLASSES,)]),
    "MLP": (mlp, [(64, 30), (30,), (30, 20), (20,), (20, CLASSES), (CLASSES,)]),
    "autoencoder": (autoencoder, [(64, 25), (25,), (64,)]),
    "LeNet": (lenet, [(4, 1, 3, 3), (4,), (36, CLASSES), (CLASSES,)]),
    "recurrent": (recurrent, [(8, 12), (12, 12), (12, CLASSES), (CLASSES,)]),
}


def trained(name: str, dtype: str, device: str | None) -> list[Array]:
    """The costs of some steps of gradient descent with momentum, and the parameters after them."""
    program, shapes = PROGRAMS[name]
    images, labels = digits()
    x, y = T.matrix("x", dtype), T.lvector("y")
    params = [jg.shared(w.astype(dtype), f"p{k}") for k, w in enumerate(weights(*shapes))]
    speeds = [jg.shared(np.zeros_like(p.get_value())) for p in params]
    cost = program(params, x, y)
    updates: list[tuple[Any, Any]] = []
    for p, v, slope in zip(params, speeds, T.grad(cost, params), strict=True):
        speed = np.dtype(dtype).type(0.5) * v - np.dtype(dtype).type(0.1) * slope
        updates += [(v, speed), (p, p + speed)]
    step = jg.function([x, y], cost, updates=updates, device=device)
    costs = []
    for k in range(STEPS):
        part = slice(k * BATCH, (k + 1) * BATCH)
        costs.append(np.asarray(step(images[part].astype(dtype), labels[part])))
    return [np.array(costs), *(p.get_value() for p in params)]


@pytest.mark.parametrize("dtype", some(["float64", "float32"], 1))
@pytest.mark.parametrize("name", some(list(PROGRAMS), 2))
def test_learns_as_on_the_cpu(name: str, dtype: str) -> None:
    bound = 1e-10 if dtype == "float64" else 2e-4
    for got, want in zip(trained(name, dtype, None), trained(name, dtype, "cpu"), strict=True):
        np.testing.assert_allclose(got, want, rtol=bound, atol=bound * np.abs(want).max())
