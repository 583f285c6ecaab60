"""Connectionist temporal classification, by adding up all paths."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

STEPS, CLASSES = 4, 3
LABELS = np.array([[1, 2], [1, 1], [2, -1], [-1, -1], [2, 1]], np.int32)
LENGTHS = np.array([4, 4, 3, 2, 1], np.int32)
X = np.random.RandomState(5).normal(0, 2, (STEPS, len(LABELS), CLASSES))


pytestmark = pytest.mark.usefixtures("installed")


def said(path: tuple[int, ...]) -> list[int]:
    """The labels of a path: repetitions are one, blanks none."""
    return [k for k, _ in itertools.groupby(path) if k]


def cost(x: Any, labels: Any, length: int) -> float:
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    wanted = [k for k in labels if k >= 0]
    paths = itertools.product(range(CLASSES), repeat=length)
    total = sum(np.prod(p[np.arange(length), path]) for path in paths if said(path) == wanted)
    return float(-np.log(total)) if total else np.inf


def test_costs_and_gradients() -> None:
    import theano
    import theano.tensor as T
    from theano.tensor.nnet.ctc import ctc, ctc_available

    assert ctc_available()
    x, labels, lengths = T.tensor3(dtype="float64"), T.imatrix(), T.ivector()
    each = ctc(x, labels, lengths)
    possible = T.switch(T.isinf(each), 0.0, each)
    f = theano.function([x, labels, lengths], [each, T.grad(possible.sum(), x)])
    found, slope = f(X, LABELS, LENGTHS)

    def costs(at: Any) -> Any:
        return np.array([cost(at[:, k], LABELS[k], n) for k, n in enumerate(LENGTHS)])

    expected = costs(X)
    assert np.isinf(expected[-1])  # one step cannot say two labels
    np.testing.assert_allclose(found, expected)
    for place in np.ndindex(X.shape):
        step = np.zeros(X.shape)
        step[place] = 1e-5
        moved = X + step, X - step
        a, b = (np.where(np.isinf(c), 0, c).sum() for c in map(costs, moved))
        np.testing.assert_allclose(slope[place], (a - b) / 2e-5, atol=1e-7)


def test_long_sequences_in_single_precision() -> None:
    from theano.tensor.nnet.ctc import ctc

    random = np.random.RandomState(1)
    x = random.normal(0, 3, (200, 3, 10)).astype(np.float32)
    labels = random.randint(1, 10, (3, 30)).astype(np.int32)
    lengths = np.array([200, 150, 80], np.int32)
    single, double = ctc(x, labels, lengths).eval(), ctc(x.astype(float), labels, lengths).eval()
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-5)
