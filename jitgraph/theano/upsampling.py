"""Images made larger, by straight lines between their points."""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.errors import OptionError
from jitgraph.theano.variables import as_tensor_variable, spoken


def bilinear_kernel_1D(ratio: int, normalize: bool = True) -> Any:  # noqa: N802  (Theano's name)
    """The triangle that interpolates between points `ratio` apart."""
    half = np.arange(1, ratio + 1)
    made = np.concatenate([half, half[-2::-1]]).astype(float)
    return as_tensor_variable(made / ratio if normalize else made)


def bilinear_kernel_2D(ratio: Any, normalize: bool = True) -> Any:  # noqa: N802  (Theano's name)
    """The product of two triangles."""
    rows, columns = (bilinear_kernel_1D(r, normalize).data for r in _pair(ratio))
    return as_tensor_variable(np.outer(rows, columns))


def _pair(given: Any) -> tuple[Any, Any]:
    first, second = given if isinstance(given, tuple | list) else (given, given)
    return first, second


@spoken
def bilinear_upsampling(input: Any, ratio: Any = None, frac_ratio: Any = None,
                        batch_size: Any = None, num_input_channels: Any = None,
                        use_1D_kernel: bool = True) -> Any:  # fmt: skip  # noqa: N803
    """Images `ratio` times as large, edges repeated; one number, or one for each axis."""
    if (ratio is None) == (frac_ratio is None):
        raise OptionError("bilinear_upsampling takes either ratio= or frac_ratio=")
    if ratio is None:
        return frac_bilinear_upsampling(input, frac_ratio)
    x = as_tensor_variable(input)
    for axis, times in zip((2, 3), _pair(ratio), strict=True):
        x = _upsampled(x, axis, times, 1)
    return x


@spoken
def frac_bilinear_upsampling(input: Any, frac_ratio: Any) -> Any:
    """Images p / q times as large, for `frac_ratio` (p, q), or ((p, q), (p, q)) by axis."""
    if not isinstance(frac_ratio, tuple):
        raise ValueError("frac_ratio is a tuple (p, q), or one of such tuples")
    both = frac_ratio if isinstance(frac_ratio[0], tuple) else (frac_ratio, frac_ratio)
    x = as_tensor_variable(input)
    for axis, (p, q) in zip((2, 3), both, strict=True):
        shared = gcd(p, q)
        x = _upsampled(x, axis, p // shared, q // shared)
    return x


def _upsampled(x: Any, axis: int, ratio: int, step: int) -> Any:
    """An axis `ratio` times as long, of which every `step`-th point is kept."""
    size = x.shape[axis]
    at = jt.arange(0, size * ratio, step) - (ratio - 1) // 2
    at = jt.clip(at / float(ratio), 0, size - 1)
    low = jt.cast(jt.floor(at), "int64")
    weight = jt.cast(at - low, x.dtype)
    high = jt.minimum(low + 1, size - 1)
    pattern: list[Any] = ["x"] * x.ndim
    pattern[axis] = 0
    weight = weight.dimshuffle(*pattern)
    return jt.take(x, low, axis) * (1 - weight) + jt.take(x, high, axis) * weight
