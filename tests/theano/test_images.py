"""Convolutions and pooling under Theano's names: arguments, axes and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgraph as jg

RANDOM = np.random.RandomState(2)
X = RANDOM.normal(0, 1, (2, 4, 7, 6))
W = RANDOM.normal(0, 1, (3, 4, 3, 2))


pytestmark = pytest.mark.usefixtures("installed")


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


def test_ops_of_old() -> None:
    from theano.tensor.nnet.conv import ConvOp, conv2d
    from theano.tensor.signal.downsample import DownsampleFactorMax
    from theano.tensor.signal.pool import Pool, pool_2d

    found = value(
        ConvOp(X.shape[1:], W.shape[2:], 3, 2, 2, 1, output_mode="full")(X, W),
        conv2d(X, W, border_mode="full", subsample=(2, 1)),
        DownsampleFactorMax((2, 3), ignore_border=False)(X), pool_2d(X, (2, 3), False),
    )  # fmt: skip
    np.testing.assert_allclose(found[0], found[1])
    np.testing.assert_allclose(found[2], found[3])
    assert ConvOp.getOutputShape((7, 6), (3, 2), (2, 1), "full") == found[0].shape[2:]
    for window, step, pad, border in (
        ((2, 3), None, (0, 0), False), ((3, 2), (1, 3), (0, 0), False),
        ((3, 2), (2, 1), (1, 1), True),
    ):  # fmt: skip
        out = value(Pool(border)(X, window, step, pad))
        assert Pool.out_shape(X.shape, window, border, step, pad) == list(out.shape)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("border_mode", "pads"),
    [("valid", (0, 0)), ("full", (2, 1)), ("half", (1, 1)), ((0, 2), (0, 2))],
)
def test_unshared(border_mode: Any, pads: tuple[int, int], groups: int) -> None:
    import theano
    import theano.tensor as T
    from theano.tensor.nnet import conv2d
    from theano.tensor.nnet.abstract_conv import conv2d_grad_wrt_inputs, conv2d_grad_wrt_weights

    around = np.pad(X, [(0, 0), (0, 0), *((p, p) for p in pads)])
    rows, columns = (around.shape[2] - 3) // 2 + 1, around.shape[3] - 1
    w = RANDOM.normal(0, 1, (6, rows, columns, 4 // groups, 3, 2))
    expected = np.zeros((2, 6, rows, columns))
    for o, r, c in np.ndindex(6, rows, columns):
        first = (o // (6 // groups)) * (4 // groups)
        seen = around[:, first : first + 4 // groups, 2 * r : 2 * r + 3, c : c + 2]
        expected[:, o, r, c] = (seen * w[o, r, c, :, ::-1, ::-1]).sum(axis=(1, 2, 3))
    options = {"border_mode": border_mode, "subsample": (2, 1), "num_groups": groups,
               "unshared": True}  # fmt: skip
    x, filters = theano.shared(X), theano.shared(w)
    made = conv2d(x, filters, filter_shape=w.shape, **options)
    g = RANDOM.normal(0, 1, expected.shape)
    found = value(
        made, *T.grad(None, [x, filters], known_grads={made: g}),
        conv2d_grad_wrt_inputs(g, w, (None, None, *X.shape[2:]), w.shape, **options),
        conv2d_grad_wrt_weights(X, g, w.shape, **options),
    )  # fmt: skip
    np.testing.assert_allclose(found[0], expected)
    np.testing.assert_allclose((found[1] * X).sum(), (expected * g).sum())
    np.testing.assert_allclose(found[3], found[1])
    np.testing.assert_allclose(found[4], found[2])


def test_causal() -> None:
    from theano.tensor.nnet import causal_conv1d

    x, w = RANDOM.normal(0, 1, (2, 3, 8)), RANDOM.normal(0, 1, (4, 3, 3))
    around = np.pad(x, [(0, 0), (0, 0), (4, 0)])
    expected = sum(np.einsum("bit,oi->bot", around[:, :, 4 - 2 * k:12 - 2 * k], w[:, :, k])
                   for k in range(3))  # fmt: skip
    np.testing.assert_allclose(value(causal_conv1d(x, w, w.shape, filter_dilation=2)), expected)


def test_adjoints_of_volumes() -> None:
    from theano.tensor.nnet import abstract_conv, conv3d, separable_conv3d

    x, w = RANDOM.normal(0, 1, (2, 3, 5, 4, 4)), RANDOM.normal(0, 1, (2, 3, 2, 2, 3))
    g = RANDOM.normal(0, 1, (2, 2, 2, 3, 2))
    options = {"subsample": (2, 1, 1)}
    y, by_x, by_w, again = value(
        conv3d(x, w, **options),
        abstract_conv.conv3d_grad_wrt_inputs(g, w, (None, None, 5, 4, 4), **options),
        abstract_conv.conv3d_grad_wrt_weights(x, g, w.shape, **options),
        abstract_conv.AbstractConv3d_gradWeights(**options)(x, g, (2, 2, 3)),
    )
    np.testing.assert_allclose([(by_x * x).sum(), (by_w * w).sum()], [(y * g).sum()] * 2)
    np.testing.assert_allclose(again, by_w)
    point = RANDOM.normal(0, 1, (5, 3, 1, 1, 1))
    depth = RANDOM.normal(0, 1, (3, 1, 2, 2, 2))
    assert value(separable_conv3d(x, depth, point, 3)).shape == (2, 5, 4, 3, 3)


def test_shapes_of_convolutions() -> None:
    from theano.tensor.nnet import abstract_conv as a

    images, filters = (2, 4, 9, 8), (3, 4, 3, 2)
    for mode in ("valid", "full", (1, 2), ((0, 2), 1)):
        out = a.get_conv_output_shape(images, filters, mode, (1, 1), (2, 3))
        assert a.get_conv_gradweights_shape(images, out, mode, (1, 1), (2, 3)) == filters
        assert a.get_conv_gradinputs_shape(filters, out, mode, (1, 1), (2, 3)) == images
        assert a.check_conv_gradinputs_shape(images, filters, out, mode, (1, 1), (2, 3))
    assert a.get_conv_gradinputs_shape(filters, out, "valid", (2, 1))[2:] == (None, 8)
    assert a.border_mode_to_pad("half", 2, (3, 5)) == ((1, 1), (2, 2))
    with pytest.raises(AssertionError, match="rows"):
        value(a.assert_shape(X, (2, None, 6, None), "rows"))


def test_names_of_cudnn() -> None:
    from theano.gpuarray import dnn
    from theano.tensor.nnet import conv2d, softmax
    from theano.tensor.signal.pool import pool_2d

    assert not dnn.dnn_available()
    g = RANDOM.normal(0, 1, (2, 3, 5, 5))
    found = value(
        dnn.dnn_conv(X, W), conv2d(X, W),
        dnn.dnn_conv(X, W, "half", (2, 2), conv_mode="cross"),
        conv2d(X, W, border_mode="half", subsample=(2, 2), filter_flip=False),
        dnn.dnn_pool(X, (2, 3), (1, 2)), pool_2d(X, (2, 3), True, (1, 2)),
        dnn.GpuDnnSoftmax("accurate", "channel")(X[:, :, 0, 0]), softmax(X[:, :, 0, 0]),
        (dnn.dnn_gradinput(W, g, X.shape) * X).sum(), (dnn.dnn_conv(X, W) * g).sum(),
        (dnn.dnn_gradweight(X, g, W.shape) * W).sum(), (dnn.dnn_conv(X, W) * g).sum(),
    )  # fmt: skip
    for ours, theirs in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert value(dnn.dnn_pool(X, (2, 2))).shape == (2, 4, 6, 5)


def test_fractions_of_upsampling() -> None:
    """As Theano did: a convolution of the triangle with the points, spread out."""
    from theano.tensor.nnet.abstract_conv import bilinear_kernel_1D, bilinear_upsampling

    line = RANDOM.normal(0, 1, 5)
    for p, q in ((3, 2), (2, 3), (5, 4), (4, 2)):
        found = value(bilinear_upsampling(line[None, None, None] * np.ones((1, 1, 1, 1)),
                                          frac_ratio=((2, 2), (p, q))))[0, 0, 0]  # fmt: skip
        r, s = p // np.gcd(p, q), q // np.gcd(p, q)
        twice = (2 * len(line) - 1) * r + 1
        kernel = np.pad(bilinear_kernel_1D(r).data, (twice // 2, twice - twice // 2))
        spread = np.zeros((len(line) + 1) * r + 1)
        spread[::r] = np.pad(line, 1, mode="edge")
        np.testing.assert_allclose(found, np.convolve(kernel, spread, "valid")[::s])


def test_upsampling() -> None:
    from theano.tensor.nnet.abstract_conv import bilinear_kernel_2D, bilinear_upsampling

    line = np.arange(3.0)[None, None, None] * np.ones((1, 1, 2, 1))
    found = value(bilinear_upsampling(line, ratio=2))
    np.testing.assert_allclose(found, np.ones((1, 1, 4, 1)) * [0, 0.5, 1, 1.5, 2, 2])
    thrice = value(bilinear_upsampling(line, ratio=3))[0, 0, 0]
    np.testing.assert_allclose(thrice, [0, 0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 2])
    assert bilinear_kernel_2D(2).data.tolist() == (np.outer([1, 2, 1], [1, 2, 1]) / 4).tolist()
