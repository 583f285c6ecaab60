"""Steps of gradient descent: slices of data aside, what a training loop runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import DTYPES
from bench.cases.rows import likelihood

PIXELS, CLASSES = 784, 10


def logistic_cost(xp: Any, w: Any, b: Any, x: Any, y: Any) -> Any:
    """Softmax regression."""
    return likelihood(xp, xp.matmul(x, w) + b, y)


def logistic_by_hand(xp: Any, w: Any, b: Any, x: Any, y: Any) -> Any:
    """Cost and slopes."""
    cost, p = softmax_cost(x @ w + b, y)
    return cost, x.T @ p, p.sum(axis=0)


def softmax_cost(scores: Any, y: Any) -> tuple[Any, Any]:
    """The cost, and its slope with respect to the scores."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    cost = -np.log(p[rows, y]).mean()
    p[rows, y] -= 1
    p /= len(y)
    return cost, p


def autoencoder_cost(xp: Any, w: Any, b1: Any, b2: Any, x: Any) -> Any:
    """Cross-entropy of images and what becomes of them through tied weights."""
    hidden = xp.sigmoid(xp.matmul(x, w) + b1)
    out = xp.sigmoid(xp.matmul(hidden, w.T) + b2)
    return -xp.mean(xp.sum(x * xp.log(out) + (1 - x) * xp.log(1 - out), axis=1))


def autoencoder_by_hand(xp: Any, w: Any, b1: Any, b2: Any, x: Any) -> Any:
    """Cost and slopes."""
    hidden = xp.sigmoid(x @ w + b1)
    out = xp.sigmoid(hidden @ w.T + b2)
    cost = -(x * np.log(out) + (1 - x) * np.log(1 - out)).sum(axis=1).mean()
    d_out = (out - x) / len(x)
    d_hidden = (d_out @ w) * hidden * (1 - hidden)
    return cost, x.T @ d_hidden + d_out.T @ hidden, d_hidden.sum(axis=0), d_out.sum(axis=0)


def xor_cost(xp: Any, w1: Any, w2: Any, x: Any, y: Any) -> Any:
    """The squared error of one sample; the last row of each matrix is the bias."""
    hidden = xp.sigmoid(xp.matmul(w1[:2].T, x) + w1[2])
    out = xp.sigmoid(xp.sum(w2[:2, 0] * hidden) + w2[2, 0])
    return (out - y) * (out - y)


def xor_by_hand(xp: Any, w1: Any, w2: Any, x: Any, y: Any) -> Any:
    """Cost and slopes."""
    hidden = xp.sigmoid(w1[:2].T @ x + w1[2])
    out = xp.sigmoid(w2[:2, 0] @ hidden + w2[2, 0])
    d_out = 2 * (out - y) * out * (1 - out)
    d_hidden = w2[:2, 0] * d_out * hidden * (1 - hidden)
    d1, d2 = np.empty_like(w1), np.empty_like(w2)
    d1[:2], d1[2] = x[:, None] * d_hidden, d_hidden
    d2[:2, 0], d2[2, 0] = hidden * d_out, d_out
    return (out - y) ** 2, d1, d2


def mlp_cost(
    xp: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any, x: Any, y: Any
) -> Any:
    """Three layers, tanh between them."""
    h1 = xp.tanh(xp.matmul(x, w1) + b1)
    h2 = xp.tanh(xp.matmul(h1, w2) + b2)
    return likelihood(xp, xp.matmul(h2, w3) + b3, y)


def mlp_by_hand(
    xp: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any, x: Any, y: Any
) -> Any:
    """Cost and slopes."""
    h1 = np.tanh(x @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    cost, d3 = softmax_cost(h2 @ w3 + b3, y)
    d2 = (d3 @ w3.T) * (1 - h2 * h2)
    d1 = (d2 @ w2.T) * (1 - h1 * h1)
    return (cost, x.T @ d1, d1.sum(axis=0), h1.T @ d2, d2.sum(axis=0), h2.T @ d3, d3.sum(axis=0))


def network(dtype: Any, layers: Sequence[int], batch: int, tied: bool = False) -> Any:
    """Inputs: the weights and biases of every layer, images, and labels unless tied."""

    def inputs(random: np.random.Generator) -> Sequence[Any]:
        found: list[Any] = []
        for fan_in, fan_out in pairwise(layers):
            bound = np.sqrt(6 / (fan_in + fan_out))
            found.append(random.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
            found.append(np.zeros(fan_out, dtype))
        if tied:
            found.append(np.zeros(layers[0], dtype))
        found.append(random.random((batch, layers[0])).astype(dtype))
        return found if tied else [*found, random.integers(0, layers[-1], batch)]

    return inputs


def cases() -> Iterator[Case]:
    """All of them."""
    for name, dtype in DTYPES.items():
        yield Case(
            name=f"logistic regression step {name}, batch 600", group="training",
            family="logistic step", inputs=network(dtype, (PIXELS, CLASSES), 600),
            expression=logistic_cost, by_hand=logistic_by_hand, state=2, tolerance=20,
            quick=True, flops=2 * 2 * 600 * PIXELS * CLASSES,
        )  # fmt: skip
        yield Case(
            name=f"autoencoder step {name}, batch 20", group="training",
            family="autoencoder step", inputs=network(dtype, (PIXELS, 500), 20, tied=True),
            expression=autoencoder_cost, by_hand=autoencoder_by_hand, state=3, tolerance=20,
            quick=name == "f32", flops=2 * 5 * 20 * PIXELS * 500,
        )  # fmt: skip
    yield Case(
        name="XOR step f64, one sample", group="training", family="XOR step",
        inputs=lambda random: [random.random((3, 2)), random.random((3, 1)),
                               np.array([0.0, 1.0]), 1.0],
        expression=xor_cost, by_hand=xor_by_hand, state=2, quick=True,
    )  # fmt: skip
    products = PIXELS * 1000 * 2 + 1000 * 1000 * 3 + 1000 * CLASSES * 3
    yield Case(
        name="MLP 784-1000-1000-10 step f32, batch 128", group="training", family="MLP step",
        inputs=network(np.float32, (PIXELS, 1000, 1000, CLASSES), 128),
        expression=mlp_cost, by_hand=mlp_by_hand, state=6, tolerance=20, quick=True,
        flops=2 * 128 * products,
    )  # fmt: skip
    yield Case(
        name="MLP step, tiny", group="probes", family="MLP step",
        inputs=network(np.float32, (12, 10, 10, 4), 6),
        expression=mlp_cost, by_hand=mlp_by_hand, state=6, tolerance=20,
    )  # fmt: skip
