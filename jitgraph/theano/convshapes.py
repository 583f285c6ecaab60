"""Shapes of convolutions, and how programs write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgraph.errors import OptionError


def numbers(given: Any) -> Any:
    """A shape, or sizes, with constants as numbers."""
    if given is None or isinstance(given, str | int):
        return given
    return tuple(_number(g) for g in given)


def _number(given: Any) -> Any:
    literal = getattr(given, "literal", None)
    if literal is not None:
        return int(literal.array)
    return tuple(given) if isinstance(given, list | tuple) else given


def hint(given: Any) -> Any:
    """What is known of a shape; variables are not."""
    if given is None:
        return None
    return tuple(g if isinstance(g, int | np.integer) else None for g in numbers(given))


def filled(shape: Any, *known: Any) -> list[Any]:
    """A shape, whose first extents are these where they are not told."""
    told = list(shape)
    return [k if s is None else s for s, k in zip(told, known, strict=False)] + told[len(known):]


# --- what comes out of a convolution, and what went in -----------------------------------------
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
