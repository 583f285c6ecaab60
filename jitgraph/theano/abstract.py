"""`theano.tensor.nnet.abstract_conv`: convolutions made of others, and as ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jitgraph.tensor as jt
from jitgraph.errors import OptionError
from jitgraph.theano import images
from jitgraph.theano.convshapes import filled, hint
from jitgraph.theano.ops import Assert
from jitgraph.theano.variables import as_tensor_variable, spoken


def assert_shape(x: Any, expected_shape: Any, msg: str = "Unexpected shape.") -> Any:
    """x; a call where it has another shape raises AssertionError."""
    x = as_tensor_variable(x)
    equal = [jt.equal(x.shape[k], n) for k, n in enumerate(expected_shape) if n is not None]
    return Assert(msg)(x, *equal) if equal else x


# --- other convolutions ------------------------------------------------------------------------
@spoken
def causal_conv1d(
    input: Any, filters: Any, filter_shape: Any, input_shape: Any = None, subsample: int = 1,
    filter_flip: bool = True, filter_dilation: int = 1, num_groups: int = 1,
    unshared: bool = False,
) -> Any:  # fmt: skip
    """A convolution of signals (batch, channels, time) that never sees what comes later."""
    if unshared:
        raise OptionError("causal_conv1d has no unshared=", hint="conv2d has")
    x, w = as_tensor_variable(input), as_tensor_variable(filters)
    length = hint(filter_shape)[2] or w.shape[2]
    before = jt.zeros([x.shape[0], x.shape[1], (length - 1) * filter_dilation], str(x.dtype))
    return jt.nnet.conv1d(jt.concatenate([before, x], 2), w, None, None, "valid", subsample,
                          filter_flip, filter_dilation, num_groups)  # fmt: skip


@spoken
def separable_conv2d(
    input: Any, depthwise_filters: Any, pointwise_filters: Any, num_channels: int,
    input_shape: Any = None, depthwise_filter_shape: Any = None,
    pointwise_filter_shape: Any = None, border_mode: Any = "valid", subsample: Any = (1, 1),
    filter_flip: bool = True, filter_dilation: Any = (1, 1),
) -> Any:  # fmt: skip
    """Filters for each channel, then one that mixes them."""
    inner = images.conv2d_of_today(
        input, depthwise_filters, input_shape, None, border_mode, subsample, filter_flip, None,
        filter_dilation, num_channels,
    )  # fmt: skip
    return images.conv2d_of_today(inner, pointwise_filters, filter_flip=filter_flip)


@spoken
def separable_conv3d(
    input: Any, depthwise_filters: Any, pointwise_filters: Any, num_channels: int,
    input_shape: Any = None, depthwise_filter_shape: Any = None,
    pointwise_filter_shape: Any = None, border_mode: Any = "valid", subsample: Any = (1, 1, 1),
    filter_flip: bool = True, filter_dilation: Any = (1, 1, 1),
) -> Any:  # fmt: skip
    """Filters for each channel, then one that mixes them."""
    inner = images.conv3d(input, depthwise_filters, input_shape, None, border_mode, subsample,
                          filter_flip, filter_dilation, num_channels)  # fmt: skip
    return images.conv3d(inner, pointwise_filters, filter_flip=filter_flip)


@spoken
def conv3d_grad_wrt_inputs(
    output_grad: Any, filters: Any, input_shape: Any, filter_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1), num_groups: int = 1,
) -> Any:  # fmt: skip
    """The adjoint of the volumes of a `conv3d` with this adjoint."""
    g, w = as_tensor_variable(output_grad), as_tensor_variable(filters)
    x = jt.zeros(filled(input_shape, g.shape[0], w.shape[1] * num_groups), str(g.dtype))
    made = images.conv3d(x, w, None, filter_shape, border_mode, subsample, filter_flip,
                         filter_dilation, num_groups)  # fmt: skip
    return jt.Lop(made, x, g)


@spoken
def conv3d_grad_wrt_weights(
    input: Any, output_grad: Any, filter_shape: Any, input_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1), num_groups: int = 1,
) -> Any:  # fmt: skip
    """The adjoint of the filters of a `conv3d` with this adjoint."""
    x, g = as_tensor_variable(input), as_tensor_variable(output_grad)
    w = jt.zeros(filled(filter_shape, g.shape[1], x.shape[1] // num_groups), str(g.dtype))
    made = images.conv3d(x, w, input_shape, None, border_mode, subsample, filter_flip,
                         filter_dilation, num_groups)  # fmt: skip
    return jt.Lop(made, w, g)


# --- as ops ------------------------------------------------------------------------------------
class BaseAbstractConv:
    """`AbstractConv2d(imshp, kshp, border_mode, ...)(images, filters)`, and so on."""

    rank = 2
    function: Callable[..., Any]

    def __init__(
        self, imshp: Any = None, kshp: Any = None, border_mode: Any = "valid",
        subsample: Any = None, filter_flip: bool = True, filter_dilation: Any = None,
        num_groups: int = 1, unshared: bool = False,
    ) -> None:  # fmt: skip
        self.imshp, self.kshp, self.border_mode = imshp, kshp, border_mode
        self.subsample = subsample or (1,) * self.rank
        self.filter_dilation = filter_dilation or (1,) * self.rank
        self.filter_flip, self.num_groups, self.unshared = filter_flip, num_groups, unshared

    def _options(self) -> dict[str, Any]:
        names = ["border_mode", "subsample", "filter_flip", "filter_dilation", "num_groups"]
        names += ["unshared"] * (self.rank == 2)
        return {name: getattr(self, name) for name in names}


class AbstractConv2d(BaseAbstractConv):
    """The convolution of images."""

    function = staticmethod(images.conv2d_of_today)

    def __call__(self, img: Any, kern: Any) -> Any:
        return type(self).function(img, kern, input_shape=self.imshp, filter_shape=self.kshp,
                                   **self._options())  # fmt: skip


class AbstractConv2d_gradWeights(BaseAbstractConv):  # noqa: N801  (Theano's name)
    """The adjoint of the filters."""

    function = staticmethod(images.conv2d_grad_wrt_weights)

    def __call__(self, img: Any, topgrad: Any, shape: Any, **unused: Any) -> Any:
        """`shape`: rows and columns of the filters."""
        known = self.kshp or (None,) * (len(shape) if self.unshared else 2 + self.rank)
        whole = [*known[:-self.rank], *[shape[k - self.rank] for k in range(self.rank)]]
        if self.unshared:
            whole = list(shape)
        return type(self).function(img, topgrad, whole, self.imshp, **self._options())


class AbstractConv2d_gradInputs(BaseAbstractConv):  # noqa: N801  (Theano's name)
    """The adjoint of the images."""

    function = staticmethod(images.conv2d_grad_wrt_inputs)

    def __call__(self, kern: Any, topgrad: Any, shape: Any, **unused: Any) -> Any:
        """`shape`: rows and columns of the images."""
        known = self.imshp or (None,) * (2 + self.rank)
        whole = [*known[:2], *[shape[k] for k in range(self.rank)]]
        return type(self).function(topgrad, kern, whole, self.kshp, **self._options())


class AbstractConv3d(AbstractConv2d):
    """The convolution of volumes."""

    rank, function = 3, staticmethod(images.conv3d)


class AbstractConv3d_gradWeights(AbstractConv2d_gradWeights):  # noqa: N801  (Theano's name)
    """The adjoint of the filters of volumes."""

    rank, function = 3, staticmethod(conv3d_grad_wrt_weights)


class AbstractConv3d_gradInputs(AbstractConv2d_gradInputs):  # noqa: N801  (Theano's name)
    """The adjoint of the volumes."""

    rank, function = 3, staticmethod(conv3d_grad_wrt_inputs)
