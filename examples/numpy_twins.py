"""The training steps of the examples, written by hand in NumPy.

They are what a careful programmer writes without a compiler: derivatives worked out on paper,
parameters updated in place. Tests hold jitgraph's programs against them, and the demo measures
both in one run. Each class starts from given parameters, so that twins can start alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), element by element."""
    result: Array = 1 / (1 + np.exp(-x))
    return result


def softmax(x: Array) -> Array:
    """exp(x) / sum(exp(x)) along the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = e / e.sum(axis=-1, keepdims=True)
    return result


class Xor:
    """One hidden layer w1[3, 2], one output unit w2[3, 1]; the last row of each is the bias."""

    def __init__(self, w1: Array, w2: Array, learning_rate: float) -> None:
        self.w1, self.w2 = w1.copy(), w2.copy()
        self.learning_rate = learning_rate

    def step(self, x: Array, y: float) -> float:
        """One step down the gradient for one sample; its cost before the step."""
        x1 = np.append(x, 1.0)
        hidden = sigmoid(self.w1.T @ x1)
        h1 = np.append(hidden, 1.0)
        (out,) = sigmoid(self.w2.T @ h1)
        d_out = 2 * (out - y) * out * (1 - out)
        d_hidden = self.w2[:-1, 0] * d_out * hidden * (1 - hidden)
        self.w2 -= self.learning_rate * (h1 * d_out)[:, None]
        self.w1 -= self.learning_rate * np.outer(x1, d_hidden)
        return float((out - y) ** 2)


class LogisticRegression:
    """softmax(images @ W + b) for images[n, pixels] and labels[n], W[pixels, classes]."""

    def __init__(
        self, images: Array, labels: Array, classes: int, batch: int, learning_rate: float
    ) -> None:
        self.images, self.labels = images, labels
        self.W = np.zeros((images.shape[1], classes), images.dtype)
        self.b = np.zeros(classes, images.dtype)
        self.batch, self.learning_rate = batch, learning_rate

    def step(self, start: int) -> float:
        """One step down the gradient for the minibatch at start; its mean negative log
        likelihood before the step."""
        x = self.images[start : start + self.batch]
        y = self.labels[start : start + self.batch]
        rows = np.arange(len(y))
        p = softmax(x @ self.W + self.b)
        cost = -np.log(p[rows, y]).mean()
        p[rows, y] -= 1
        p /= len(y)
        self.W -= self.learning_rate * (x.T @ p)
        self.b -= self.learning_rate * p.sum(axis=0)
        return float(cost)

    def error_rate(self, images: Array, labels: Array) -> float:
        """The part of the images that is taken for another digit."""
        return float((np.argmax(images @ self.W + self.b, axis=1) != labels).mean())


class AutoEncoder:
    """sigmoid(sigmoid(images @ W + b1) @ W.T + b2) for images[n, pixels] and W[pixels, hidden]."""

    def __init__(self, images: Array, W: Array, batch: int, learning_rate: float) -> None:  # noqa: N803
        self.images = images
        self.W = W.copy()
        self.b1 = np.zeros(W.shape[1], W.dtype)
        self.b2 = np.zeros(W.shape[0], W.dtype)
        self.batch, self.learning_rate = batch, learning_rate

    def step(self, start: int) -> float:
        """One step down the gradient for the minibatch at start; its mean cross-entropy before
        the step."""
        x = self.images[start : start + self.batch]
        hidden = sigmoid(x @ self.W + self.b1)
        out = sigmoid(hidden @ self.W.T + self.b2)
        cost = -(x * np.log(out) + (1 - x) * np.log(1 - out)).sum(axis=1).mean()
        d_out = (out - x) / len(x)
        d_hidden = (d_out @ self.W) * hidden * (1 - hidden)
        self.W -= self.learning_rate * (x.T @ d_hidden + d_out.T @ hidden)
        self.b1 -= self.learning_rate * d_hidden.sum(axis=0)
        self.b2 -= self.learning_rate * d_out.sum(axis=0)
        return float(cost)
