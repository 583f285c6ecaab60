"""`theano.tensor.nnet.abstract_conv`: shapes of convolutions, and convolutions made of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.errors import OptionError, ShapeError
from jitgraph.theano import images
from jitgraph.theano.ops import Assert
from jitgraph.theano.variables import as_tensor_variable, spoken


# --- shapes ------------------------------------------------------------------------------------
def _around(border_mode: Any, span: Any) -> Any:
    """How many zeros there are along an axis, on both sides together."""
    if isinstance(border_mode, str):
        named = {"half": 2 * (span // 2), "full": 2 * (span - 1), "valid": 0}
        if border_mode not in named:
            raise OptionError(f"border_mode cannot be {border_mode!r}",
                              hint="'valid', 'half', 'full' or numbers")  # fmt: skip
        return named[border_mode]
    return sum(border_mode) if isinstance(border_mode, tuple) else 2 * border_mode


def _modes(border_mode: Any, rank: int) -> tuple[Any, ...]:
    return border_mode if isinstance(border_mode, tuple) else (border_mode,) * rank


def _by_axis(one: Callable[..., Any], first: Any, second: Any, border_mode: Any, subsample: Any,
             dilation: Any) -> list[Any]:  # fmt: skip
    """A rule for one axis, applied to each."""
    rank = len(subsample)
    columns = zip(first[-rank:], second[-rank:], _modes(border_mode, rank), subsample,
                  dilation or (1,) * rank, strict=True)  # fmt: skip
    return [one(*column) for column in columns]


def get_conv_shape_1axis(image_shape: Any, kernel_shape: Any, border_mode: Any, subsample: int,
                         dilation: int = 1) -> Any:  # fmt: skip
    """The extent that comes out along an axis."""
    if image_shape is None or kernel_shape is None:
        return None
    span = (kernel_shape - 1) * dilation + 1
    return (image_shape + _around(border_mode, span) - span) // subsample + 1


def get_conv_output_shape(image_shape: Any, kernel_shape: Any, border_mode: Any, subsample: Any,
                          filter_dilation: Any = None) -> tuple[Any, ...]:  # fmt: skip
    """The shape that comes out of a convolution."""
    each = _by_axis(get_conv_shape_1axis, image_shape, kernel_shape, border_mode, subsample,
                    filter_dilation)  # fmt: skip
    return (image_shape[0], kernel_shape[0], *each)


def get_conv_gradweights_shape_1axis(image_shape: Any, top_shape: Any, border_mode: Any,
                                     subsample: int, dilation: int) -> Any:  # fmt: skip
    """The extent of filters along an axis, where images and results tell it."""
    if image_shape is None or top_shape is None or subsample != 1 or border_mode == "half":
        return None
    if border_mode == "full":
        span = top_shape - image_shape
    else:
        span = image_shape - top_shape + _around(border_mode, 0)
    return span // dilation + 1


def get_conv_gradinputs_shape_1axis(kernel_shape: Any, top_shape: Any, border_mode: Any,
                                    subsample: int, dilation: int) -> Any:  # fmt: skip
    """The extent of images along an axis, where filters and results tell it."""
    if kernel_shape is None or top_shape is None or subsample != 1:
        return None
    span = (kernel_shape - 1) * dilation + 1
    return top_shape + span - 1 - _around(border_mode, span)


def get_conv_gradweights_shape(image_shape: Any, top_shape: Any, border_mode: Any, subsample: Any,
                               filter_dilation: Any = None, num_groups: int = 1,
                               unshared: bool = False) -> tuple[Any, ...]:  # fmt: skip
    """The shape of the filters of a convolution."""
    each = _by_axis(get_conv_gradweights_shape_1axis, image_shape, top_shape, border_mode,
                    subsample, filter_dilation)  # fmt: skip
    channels = None if image_shape[1] is None else image_shape[1] // num_groups
    places = tuple(top_shape[2:]) if unshared else ()
    return (top_shape[1], *places, channels, *each)


def get_conv_gradinputs_shape(kernel_shape: Any, top_shape: Any, border_mode: Any, subsample: Any,
                              filter_dilation: Any = None, num_groups: int = 1) -> Any:  # fmt: skip
    """The shape of the images of a convolution."""
    each = _by_axis(get_conv_gradinputs_shape_1axis, kernel_shape, top_shape, border_mode,
                    subsample, filter_dilation)  # fmt: skip
    channels = None if kernel_shape[1] is None else kernel_shape[1] * num_groups
    return (top_shape[0], channels, *each)


def check_conv_gradinputs_shape(image_shape: Any, kernel_shape: Any, output_shape: Any,
                                border_mode: Any, subsample: Any,
                                filter_dilation: Any = None) -> bool:  # fmt: skip
    """Whether images and filters of these shapes give the output, as far as is known."""
    made = get_conv_output_shape(image_shape, kernel_shape, border_mode, subsample,
                                 filter_dilation)  # fmt: skip
    return all(a is None or b is None or a == b for a, b in zip(made, output_shape, strict=True))


def border_mode_to_pad(mode: Any, convdim: int, kshp: Any) -> tuple[tuple[int, int], ...]:
    """The zeros before and behind each axis."""
    made = []
    for span, each in zip(kshp, _modes(mode, convdim), strict=True):
        if isinstance(each, tuple):
            made.append((int(each[0]), int(each[1])))
        else:
            half = _around(each, span) // 2
            made.append((half, half))
    return tuple(made)


def assert_shape(x: Any, expected_shape: Any, msg: str = "Unexpected shape.") -> Any:
    """x; a call where it has another shape raises AssertionError."""
    x = as_tensor_variable(x)
    equal = [jt.equal(x.shape[k], n) for k, n in enumerate(expected_shape) if n is not None]
    return Assert(msg)(x, *equal) if equal else x


# --- other convolutions ------------------------------------------------------------------------
@spoken
def unshared_conv2d(
    input: Any, filters: Any, filter_shape: Any, border_mode: Any, subsample: Any,
    filter_flip: bool, filter_dilation: Any, num_groups: int,
) -> Any:  # fmt: skip
    """A convolution with filters of its own for each place: (filters, rows, columns, channels,
    rows of a filter, columns of a filter)."""
    x, w = as_tensor_variable(input), as_tensor_variable(filters)
    if w.ndim != 6:
        raise ShapeError(f"unshared filters have 6 dimensions, not {w.type}")
    told = images._hint(filter_shape) or (None,) * 6
    height, width = (t if t is not None else d for t, d in zip(told[4:], w.type.shape[4:],
                                                               strict=True))  # fmt: skip
    if not isinstance(height, int) or not isinstance(width, int):
        raise OptionError("the extents of unshared filters must be known",
                          hint="filter_shape=(filters, rows, columns, channels, 3, 3)")  # fmt: skip
    (down, right), (dy, dx) = images._numbers(subsample), images._numbers(filter_dilation)
    spans = ((height - 1) * dy + 1, (width - 1) * dx + 1)
    around = border_mode_to_pad(images._numbers(border_mode), 2, spans)
    x = jt.pad(x, [(0, 0), (0, 0), *around])
    groups, rows, columns = num_groups, w.shape[1], w.shape[2]
    x = x.reshape((x.shape[0], groups, x.shape[1] // groups, x.shape[2], x.shape[3]))
    w = w.reshape((groups, w.shape[0] // groups, *w.shape[1:]))
    total: Any = 0
    for p, q in np.ndindex(height, width):
        seen = x[:, :, :, p * dy :: down, q * dx :: right][:, :, :, :rows, :columns]
        key = (height - 1 - p, width - 1 - q) if filter_flip else (p, q)
        total = total + jt.einsum("bgihw,gohwi->bgohw", seen, w[(..., *key)])
    return total.reshape((x.shape[0], -1, rows, columns))


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
    length = images._hint(filter_shape)[2] or w.shape[2]
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
    inner = images.conv2d_of_today(input, depthwise_filters, input_shape, None, border_mode, subsample,
                                   filter_flip, None, filter_dilation, num_channels)  # fmt: skip
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
    x = jt.zeros(images._filled(input_shape, g.shape[0], w.shape[1] * num_groups), str(g.dtype))
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
    w = jt.zeros(images._filled(filter_shape, g.shape[1], x.shape[1] // num_groups), str(g.dtype))
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
