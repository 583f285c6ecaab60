"""`theano.gpuarray.dnn` and `theano.sandbox.cuda.dnn`: the functions of cuDNN, by our own ops."""

from __future__ import annotations

from typing import Any

import jitgraph.tensor as jt
from jitgraph.errors import OptionError
from jitgraph.theano import abstract, images
from jitgraph.theano.batchnorm import batch_normalization_test, batch_normalization_train
from jitgraph.theano.variables import as_tensor_variable, spoken

_MODES = {"conv": True, "cross": False}


def dnn_available(*context: Any) -> bool:
    """Whether there is cuDNN: no. Its functions are there all the same."""
    return False


dnn_available.msg = "jitgraph needs no cuDNN"  # type: ignore[attr-defined]
dnn_present = dnn_available


def _flips(mode: str) -> bool:
    if mode not in _MODES:
        raise OptionError(f"conv_mode cannot be {mode!r}", hint="'conv' or 'cross'")
    return _MODES[mode]


def dnn_conv(
    img: Any, kerns: Any, border_mode: Any = "valid", subsample: Any = (1, 1),
    dilation: Any = (1, 1), conv_mode: str = "conv", direction_hint: Any = None,
    workmem: Any = None, algo: Any = None, precision: Any = None, num_groups: int = 1,
    **unused: Any,
) -> Any:  # fmt: skip
    """The convolution of images; with conv_mode="cross" filters are not flipped."""
    return images.conv2d_of_today(
        img, kerns, border_mode=border_mode, subsample=subsample, filter_flip=_flips(conv_mode),
        filter_dilation=dilation, num_groups=num_groups,
    )  # fmt: skip


def dnn_conv3d(
    img: Any, kerns: Any, border_mode: Any = "valid", subsample: Any = (1, 1, 1),
    dilation: Any = (1, 1, 1), conv_mode: str = "conv", direction_hint: Any = None,
    algo: Any = None, precision: Any = None, num_groups: int = 1, **unused: Any,
) -> Any:  # fmt: skip
    """The convolution of volumes."""
    return images.conv3d(
        img, kerns, border_mode=border_mode, subsample=subsample, filter_flip=_flips(conv_mode),
        filter_dilation=dilation, num_groups=num_groups,
    )  # fmt: skip


def dnn_gradweight(
    img: Any, topgrad: Any, kerns_shp: Any, border_mode: Any = "valid", subsample: Any = (1, 1),
    dilation: Any = (1, 1), conv_mode: str = "conv", precision: Any = None, algo: Any = None,
    num_groups: int = 1,
) -> Any:  # fmt: skip
    """The adjoint of the filters."""
    return images.conv2d_grad_wrt_weights(
        img, topgrad, list(kerns_shp), None, border_mode, subsample, _flips(conv_mode), dilation,
        num_groups,
    )  # fmt: skip


def dnn_gradinput(
    kerns: Any, topgrad: Any, img_shp: Any, border_mode: Any = "valid", subsample: Any = (1, 1),
    dilation: Any = (1, 1), conv_mode: str = "conv", precision: Any = None, algo: Any = None,
    num_groups: int = 1,
) -> Any:  # fmt: skip
    """The adjoint of the images."""
    return images.conv2d_grad_wrt_inputs(
        topgrad, kerns, list(img_shp), None, border_mode, subsample, _flips(conv_mode), dilation,
        num_groups,
    )  # fmt: skip


def dnn_gradweight3d(img: Any, topgrad: Any, kerns_shp: Any, border_mode: Any = "valid",
                     subsample: Any = (1, 1, 1), dilation: Any = (1, 1, 1),
                     conv_mode: str = "conv", **unused: Any) -> Any:  # fmt: skip
    """The adjoint of the filters of volumes."""
    return abstract.conv3d_grad_wrt_weights(img, topgrad, list(kerns_shp), None, border_mode,
                                            subsample, _flips(conv_mode), dilation)  # fmt: skip


def dnn_gradinput3d(kerns: Any, topgrad: Any, img_shp: Any, border_mode: Any = "valid",
                    subsample: Any = (1, 1, 1), dilation: Any = (1, 1, 1),
                    conv_mode: str = "conv", **unused: Any) -> Any:  # fmt: skip
    """The adjoint of the volumes."""
    return abstract.conv3d_grad_wrt_inputs(topgrad, kerns, list(img_shp), None, border_mode,
                                           subsample, _flips(conv_mode), dilation)  # fmt: skip


def dnn_pool(img: Any, ws: Any, stride: Any = None, mode: str = "max", pad: Any = None) -> Any:
    """Windows reduced by mode, `stride` apart (by default 1, not their size)."""
    rank = len(ws)
    pool = images.pool_2d if rank == 2 else images.pool_3d
    return pool(img, ws, True, stride or (1,) * rank, pad or (0,) * rank,
                "max" if mode == "max_deterministic" else mode)  # fmt: skip


class GpuDnnSoftmax:
    """`GpuDnnSoftmax(algo, mode)(x)`: algo "fast", "accurate" or "log"; over the channels (mode
    "channel") or all but the first axis ("instance")."""

    def __init__(self, *options: str) -> None:
        *self.format, self.algo, self.mode = options

    @spoken
    def __call__(self, x: Any) -> Any:
        x = as_tensor_variable(x)
        normalise = jt.nnet.log_softmax if self.algo == "log" else jt.nnet.softmax
        if self.mode == "channel":
            return normalise(x, 1)
        return normalise(x.flatten(2)).reshape(x.shape)


def dnn_batch_normalization_train(inputs: Any, gamma: Any, beta: Any,
                                  mode: Any = "per-activation", *args: Any,
                                  **options: Any) -> Any:  # fmt: skip
    """`batch_normalization_train`; mode is its `axes`."""
    return batch_normalization_train(inputs, gamma, beta, mode, *args, **options)


def dnn_batch_normalization_test(
    inputs: Any, gamma: Any, beta: Any, mean: Any, var: Any, mode: Any = "per-activation",
    epsilon: float = 1e-4,
) -> Any:  # fmt: skip
    """`batch_normalization_test`; mode is its `axes`."""
    return batch_normalization_test(inputs, gamma, beta, mean, var, mode, epsilon)
