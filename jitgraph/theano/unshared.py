"""Convolutions with filters of their own for each place."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.errors import OptionError, ShapeError
from jitgraph.theano.convshapes import border_mode_to_pad, hint, numbers
from jitgraph.theano.variables import as_tensor_variable, spoken


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
    told = hint(filter_shape) or (None,) * 6
    height, width = (t if t is not None else d for t, d in zip(told[4:], w.type.shape[4:],
                                                               strict=True))  # fmt: skip
    if not isinstance(height, int) or not isinstance(width, int):
        raise OptionError("the extents of unshared filters must be known",
                          hint="filter_shape=(filters, rows, columns, channels, 3, 3)")  # fmt: skip
    (down, right), (dy, dx) = numbers(subsample), numbers(filter_dilation)
    spans = ((height - 1) * dy + 1, (width - 1) * dx + 1)
    around = border_mode_to_pad(numbers(border_mode), 2, spans)
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
