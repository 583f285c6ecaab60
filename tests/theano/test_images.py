"""Convolutions and pooling under Theano's names: arguments, axes and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
from jitgraph.theano import install, uninstall

RANDOM = np.random.RandomState(2)
X = RANDOM.normal(0, 1, (2, 4, 7, 6))
W = RANDOM.normal(0, 1, (3, 4, 3, 2))


@pytest.fixture(autouse=True, scope="module")
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()


def value(*expressions: Any) -> Any:
    """What the interpreter makes of them: their meaning is tested, not the compiler."""
    found = jg.function([], list(expressions), mode="interpreted")()
    return found[0] if len(expressions) == 1 else found


def correlated(x: Any, w: Any) -> Any:
    """Every place of x under the filters, by loops."""
    sizes = [n - k + 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    made = np.zeros((len(x), len(w), *sizes))
    for place in np.ndindex(*sizes):
        key = tuple(slice(p, p + k) for p, k in zip(place, w.shape[2:], strict=True))
        part = x[(slice(None), slice(None), *key)].reshape(len(x), -1)
        made[(slice(None), slice(None), *place)] = part @ w.reshape(len(w), -1).T
    return made


def flipped(w: Any) -> Any:
    return w[:, :, ::-1, ::-1]


def test_convolutions() -> None:
    from theano.tensor import nnet
    from theano.tensor.nnet.conv import conv2d as old

    plain = correlated(X, flipped(W))
    hint = {"input_shape": (None, 4, 7, 6), "filter_shape": (3, 4, 3, 2)}
    np.testing.assert_allclose(value(nnet.conv2d(X, W, **hint)), plain)
    np.testing.assert_allclose(value(nnet.conv2d(X, W, filter_flip=False)), correlated(X, W))
    np.testing.assert_allclose(value(nnet.conv2d(X, W, subsample=(2, 1))), plain[:, :, ::2])
    np.testing.assert_allclose(value(old(X, W, image_shape=X.shape, filter_shape=W.shape)), plain)
    around = np.pad(X, [(0, 0), (0, 0), (2, 2), (1, 1)])
    full = correlated(around, flipped(W))
    np.testing.assert_allclose(value(nnet.conv2d(X, W, border_mode="full")), full)
    np.testing.assert_allclose(value(nnet.conv2d(X, W, border_mode=(2, 1))), full)
    shape = nnet.abstract_conv.get_conv_output_shape(X.shape, W.shape, "full", (2, 1))
    assert shape == full[:, :, ::2].shape


def test_convolutions_of_volumes() -> None:
    from theano.tensor.nnet import conv3d
    from theano.tensor.nnet.conv3d2d import conv3d as by_time

    x, w = RANDOM.normal(0, 1, (2, 3, 5, 4, 4)), RANDOM.normal(0, 1, (2, 3, 2, 2, 3))
    expected = correlated(x, w[:, :, ::-1, ::-1, ::-1])
    np.testing.assert_allclose(value(conv3d(x, w)), expected)
    turned = (0, 2, 1, 3, 4)
    found = value(by_time(x.transpose(turned), w.transpose(turned)))
    np.testing.assert_allclose(found, expected.transpose(turned))


def test_adjoints() -> None:
    import theano
    import theano.tensor as T
    from theano.tensor.nnet import abstract_conv, conv2d, conv2d_transpose

    x, w = theano.shared(X), theano.shared(W)
    g = RANDOM.normal(0, 1, (2, 3, 3, 5))
    by_x, by_w = T.grad(None, [x, w], known_grads={conv2d(x, w, subsample=(2, 1)): g})
    options = {"subsample": (2, 1)}
    found = value(
        by_x, by_w, abstract_conv.conv2d_grad_wrt_inputs(g, W, X.shape, **options),
        abstract_conv.conv2d_grad_wrt_weights(X, g, W.shape, **options),
        conv2d_transpose(g, W, X.shape, input_dilation=(2, 1)),
    )  # fmt: skip
    np.testing.assert_allclose(found[2], found[0])
    np.testing.assert_allclose(found[3], found[1])
    np.testing.assert_allclose(found[4], found[0])


def test_separable() -> None:
    from theano.tensor.nnet import separable_conv2d

    depth, point = RANDOM.normal(0, 1, (4, 1, 3, 2)), RANDOM.normal(0, 1, (5, 4, 1, 1))
    each = np.concatenate([correlated(X[:, k:k + 1], flipped(depth[k:k + 1])) for k in range(4)], 1)
    found = value(separable_conv2d(X, depth, point, 4))
    np.testing.assert_allclose(found, np.einsum("bcij,oc->boij", each, point[:, :, 0, 0]))


def test_pooling() -> None:
    from theano.tensor.signal.pool import max_pool_2d_same_size, pool_2d, pool_3d

    blocks = X[:, :, :6].reshape(2, 4, 3, 2, 3, 2)
    found = value(
        pool_2d(X, ds=(2, 2), ignore_border=True),
        pool_2d(X, ws=(2, 2), ignore_border=True, mode="average_exc_pad"),
        pool_2d(X, (2, 2), ignore_border=True, st=(2, 2), padding=(0, 0), mode="sum"),
        max_pool_2d_same_size(X, (2, 2)),
        pool_3d(X, (2, 2, 2), ignore_border=True),
    )
    np.testing.assert_allclose(found[0], blocks.max(axis=(3, 5)))
    np.testing.assert_allclose(found[1], blocks.mean(axis=(3, 5)))
    np.testing.assert_allclose(found[2], blocks.sum(axis=(3, 5)))
    spread = np.repeat(np.repeat(found[0], 2, 2), 2, 3)
    whole = X[:, :, :6]
    np.testing.assert_array_equal(found[3][:, :, :6], np.where(whole == spread, whole, 0))
    assert found[4].shape == (2, 2, 3, 3)


def test_upsampling() -> None:
    from theano.tensor.nnet.abstract_conv import bilinear_kernel_2D, bilinear_upsampling

    line = np.arange(3.0)[None, None, None] * np.ones((1, 1, 2, 1))
    found = value(bilinear_upsampling(line, ratio=2))
    np.testing.assert_allclose(found, np.ones((1, 1, 4, 1)) * [0, 0.5, 1, 1.5, 2, 2])
    thrice = value(bilinear_upsampling(line, ratio=3))[0, 0, 0]
    np.testing.assert_allclose(thrice, [0, 0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 2])
    assert bilinear_kernel_2D(2).data.tolist() == (np.outer([1, 2, 1], [1, 2, 1]) / 4).tolist()
