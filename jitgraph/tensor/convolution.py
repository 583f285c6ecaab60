"""Convolution, pooling and patches of images, under Theano's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size, constant
from jitgraph.ir.ops import convolution, movement, pooling
from jitgraph.ir.ops.arithmetic import divide, maximum, minimum
from jitgraph.ir.ops.indexing import gather, slice_
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_size, as_sizes, as_tensor, promoted, public
from jitgraph.tensor.padding import pad

#: "valid", "half", "full", a number of zeros, one per axis, or pairs (before, after).
Border: TypeAlias = "str | int | Sequence[int | Sequence[int]]"
Hint: TypeAlias = "Sequence[int | None] | None"
POOLS = ("max", "sum", "average_inc_pad", "average_exc_pad")
#: Modes in which patches must fill the images (with the zeros around them).
_FILLED = ("valid", "half", "full")
NEIGHBOURS = ("valid", "ignore_borders", "wrap_centered", "half", "full")


# --- arguments ----------------------------------------------------------------------------------
def _numbers(given: Any, rank: int, what: str, least: int) -> tuple[int, ...]:
    """One integer per axis, at least `least`."""
    numbers = list(given) if isinstance(given, Sequence | np.ndarray) else [given] * rank
    if len(numbers) != rank:
        raise ShapeError(f"{what} for {len(numbers)} axes does not fit {rank} spatial axes")
    found: list[int] = []
    for number in numbers:
        size = as_size(number, what)
        if isinstance(size, Value):
            raise DTypeError(f"{what} must be known when the expression is built, not {size.type}")
        if size < least:
            raise ShapeError(f"{what} must be at least {least}, not {size}")
        found.append(size)
    return tuple(found)


def _padding(border_mode: Border, rank: int) -> str | tuple[int, ...]:
    """What the ops call padding."""
    if isinstance(border_mode, str):
        if border_mode == "valid":
            return (0, 0) * rank
        if border_mode in convolution.NAMED:
            return border_mode
        raise OptionError(
            f"a convolution has no border_mode {border_mode!r}",
            hint="'valid', 'half', 'full', a number of zeros per axis or pairs of them",
        )
    each = list(border_mode) if isinstance(border_mode, Sequence) else [border_mode] * rank
    if len(each) != rank:
        raise ShapeError(f"border_mode for {len(each)} axes does not fit {rank} spatial axes")
    flat: list[int] = []
    for one in each:
        pair = one if isinstance(one, Sequence) else (one, one)
        flat += _numbers(pair, 2, "border_mode", 0)
    return tuple(flat)


def _checked(x: Value, hint: Hint, what: str) -> Value:
    """x with the extents that the user said it has: others are refused now, or at the call."""
    if hint is None:
        return x
    if len(hint) != x.ndim:
        raise ShapeError(f"{what} has {len(hint)} extents, {x.type} has {x.ndim}")
    for axis, (said, have) in enumerate(zip(hint, x.type.shape, strict=True)):
        wanted = None if said is None else as_size(said, what)
        if isinstance(wanted, int) and isinstance(have, int) and wanted != have:
            raise ShapeError(f"{what} says {wanted} along axis {axis}, but {x.type} has {have}")
        if isinstance(wanted, int) and not isinstance(have, int):
            sizes = list(movement.dims(x))
            sizes[axis] = wanted
            x = movement.reshape(x, sizes)
    return x


def _operands(
    input: ArrayLike, filters: ArrayLike, input_shape: Hint, filter_shape: Hint, rank: int
) -> tuple[Value, Value]:
    x, w = promoted([as_tensor(input), as_tensor(filters)])
    for value, what in ((x, "input"), (w, "filters")):
        if value.ndim != rank + 2:
            raise ShapeError(
                f"conv{rank}d takes {what} of {rank + 2} dimensions, not {value.type}",
                hint="images are (batch, channels, ...), filters (filters, channels, ...)",
            )
        if not convolution.floating(value.dtype):
            raise DTypeError(f"conv{rank}d does not take {what} {value.type}",
                             hint="cast to a floating dtype")  # fmt: skip
    return _checked(x, input_shape, "input_shape"), _checked(w, filter_shape, "filter_shape")


def _flipped(w: Value) -> Value:
    """The filters, reversed along their spatial axes."""
    axes = range(2, w.ndim)
    sizes = [movement.dim(w, a) for a in axes]
    return slice_(w, tuple(axes), [n - 1 for n in sizes], sizes, (-1,) * len(axes))


def _geometry(
    rank: int, border_mode: Border, subsample: Any, filter_dilation: Any, num_groups: int
) -> dict[str, Any]:
    return {
        "strides": _numbers(subsample, rank, "subsample", 1),
        "padding": _padding(border_mode, rank),
        "dilation": _numbers(filter_dilation, rank, "filter_dilation", 1),
        "groups": _numbers(num_groups, 1, "num_groups", 1)[0],
    }


def _convolved(
    rank: int, input: ArrayLike, filters: ArrayLike, hints: tuple[Hint, Hint],
    border_mode: Border, subsample: Any, filter_flip: bool, filter_dilation: Any, num_groups: int,
) -> Value:  # fmt: skip
    x, w = _operands(input, filters, *hints, rank)
    geometry = _geometry(rank, border_mode, subsample, filter_dilation, num_groups)
    return convolution.convolve(x, _flipped(w) if filter_flip else w, **geometry)


# --- convolutions -------------------------------------------------------------------------------
@public
def conv1d(
    input: ArrayLike, filters: ArrayLike, input_shape: Hint = None, filter_shape: Hint = None,
    border_mode: Border = "valid", subsample: Any = 1, filter_flip: bool = True,
    filter_dilation: Any = 1, num_groups: int = 1,
) -> Value:  # fmt: skip
    """Signals (batch, channels, length) convolved with filters (filters, channels, length); see
    `conv2d`."""
    return _convolved(1, input, filters, (input_shape, filter_shape), border_mode, subsample,
                      filter_flip, filter_dilation, num_groups)  # fmt: skip


@public
def conv2d(
    input: ArrayLike, filters: ArrayLike, input_shape: Hint = None, filter_shape: Hint = None,
    border_mode: Border = "valid", subsample: Any = (1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1), num_groups: int = 1,
) -> Value:  # fmt: skip
    """Images (batch, channels, rows, columns) convolved with filters (filters, channels of a group,
    rows, columns).

    border_mode: zeros around the images: "valid" none, "half" half of a filter (so many rows come
    out as go in, where filters have an odd number), "full" all but one row of a filter; or numbers:
    one, one per axis, or pairs (before, after). subsample: how far filters move. filter_flip: turn
    them around, as convolution means; False is correlation. filter_dilation: distance of the
    elements that a filter sees. num_groups: groups of channels that have filters of their own.
    input_shape, filter_shape: what the extents (None: any) are to be.

    Raises ShapeError where operands do not fit each other.
    """
    return _convolved(2, input, filters, (input_shape, filter_shape), border_mode, subsample,
                      filter_flip, filter_dilation, num_groups)  # fmt: skip


@public
def conv3d(
    input: ArrayLike, filters: ArrayLike, input_shape: Hint = None, filter_shape: Hint = None,
    border_mode: Border = "valid", subsample: Any = (1, 1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1), num_groups: int = 1,
) -> Value:  # fmt: skip
    """Volumes (batch, channels, depth, rows, columns) convolved with filters; see `conv2d`."""
    return _convolved(3, input, filters, (input_shape, filter_shape), border_mode, subsample,
                      filter_flip, filter_dilation, num_groups)  # fmt: skip


@public
def conv2d_transpose(
    input: ArrayLike, filters: ArrayLike, output_shape: Sequence[Any], filter_shape: Hint = None,
    border_mode: Border = "valid", input_dilation: Any = (1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1), num_groups: int = 1,
) -> Value:  # fmt: skip
    """The transposed convolution: what `conv2d` with these filters (input channels, output channels
    of a group, rows, columns) and subsample=input_dilation pulls its adjoint back to.

    output_shape: (batch, channels, rows, columns) of the result, of which rows and columns must be
    given (several fit where filters move by more than one).
    """
    g, w = _operands(input, filters, None, filter_shape, 2)
    geometry = _geometry(2, border_mode, input_dilation, filter_dilation, num_groups)
    if len(output_shape) != 4:
        raise ShapeError(f"output_shape needs 4 extents, not {len(output_shape)}")
    if output_shape[2] is None or output_shape[3] is None:
        raise ShapeError("output_shape must give the rows and columns of the result")
    sizes = as_sizes(list(output_shape[2:]))
    y = convolution.by_input(g, _flipped(w) if filter_flip else w, sizes, **geometry)
    return _checked(y, [s if isinstance(s, int) else None for s in output_shape], "output_shape")


# --- pooling ------------------------------------------------------------------------------------
def _pooled(
    rank: int, input: ArrayLike, ws: Any, ignore_border: bool, stride: Any, pad_: Any, mode: str
) -> Value:
    x = as_tensor(input)
    if mode not in POOLS:
        raise OptionError(f"pooling has no mode {mode!r}",
                          hint=f"one of: {', '.join(map(repr, POOLS))}")  # fmt: skip
    if x.ndim < rank:
        raise ShapeError(f"pool_{rank}d takes arrays of at least {rank} dimensions, not {x.type}")
    window = _numbers(ws, rank, "ws", 1)
    steps = window if stride is None else _numbers(stride, rank, "stride", 1)
    around = _numbers(pad_, rank, "pad", 0)
    if any(around) and not ignore_border:
        raise OptionError("padding works only with ignore_border=True")
    if any(p >= w for p, w in zip(around, window, strict=True)):
        raise ShapeError(f"pad {around} must be smaller than the windows {window}")
    if mode.startswith("average") and x.dtype.kind in "iu":
        x = cast(x, np.float64)
    first = x.ndim - rank
    extents = movement.dims(x)[first:]
    counts = [_count(n + 2 * p, w, s, ignore_border)
              for n, p, w, s in zip(extents, around, window, steps, strict=True)]  # fmt: skip
    widths: list[tuple[Any, Any]] = [(0, 0)] * first
    for n, p, c, w, s in zip(extents, around, counts, window, steps, strict=True):
        widths.append((p, p if ignore_border else _more(n, c, w, s)))
    fill = pooling.lowest(x.dtype) if mode == "max" else 0
    if any(isinstance(w, Value) or w for pair in widths for w in pair):
        x = pad(x, widths, constant_values=fill)
    if mode == "max":
        return pooling.pool_max(x, window, steps)
    total = pooling.pool_sum(x, window, steps)
    if mode == "sum":
        return total
    inside = mode == "average_exc_pad"
    for axis, (n, p, c, w, s) in enumerate(zip(extents, around, counts, window, steps,
                                               strict=True)):  # fmt: skip
        size = _elements(n, p, c, w, s, inside)
        behind = tuple(range(1, rank - axis))
        size = cast(size, x.dtype)
        total = divide(total, movement.expand_dims(size, behind) if behind else size)
    return total


def _count(n: Any, w: int, s: int, ignore_border: bool) -> Any:
    """How many windows there are along n elements."""
    if ignore_border:
        return (n - w) // s + 1
    if s >= w:
        return (n - 1) // s + 1
    return _at_least(0, (n - 1 - w) // s + 1) + 1


def _at_least(least: int, n: Any) -> Any:
    return maximum(n, least) if isinstance(n, Value) else max(n, least)


def _more(n: Any, count: Any, w: int, s: int) -> Any:
    """How many elements are missing for the last window."""
    return _at_least(0, (count - 1) * s + w - n)


def _elements(n: Any, p: int, count: Any, w: int, s: int, inside: bool) -> Value:
    """How many elements each window has along an axis, with or without the padding."""
    first = movement.iota(count) * s if isinstance(count, Value) else constant(
        np.arange(max(count, 0)) * s
    )  # fmt: skip
    low, high = (p, n + p) if inside else (0, n + 2 * p)
    found: Value = minimum(first + w, high) - maximum(first, low)
    return found


@public
def pool_2d(
    input: ArrayLike, ws: Any, ignore_border: bool = False, stride: Any = None, pad: Any = (0, 0),
    mode: str = "max",
) -> Value:  # fmt: skip
    """Windows of ws = (rows, columns) along the last two axes, each reduced to one element.

    stride: how far windows move (ws, unless given). ignore_border: leave out what is not a whole
    window; otherwise the last ones are smaller. pad: rows and columns around the images, which only
    "average_inc_pad" counts. mode: "max", "sum", "average_inc_pad" or "average_exc_pad".

    The gradient of a maximum goes to every element that equals it.
    """
    return _pooled(2, input, ws, ignore_border, stride, pad, mode)


@public
def pool_3d(
    input: ArrayLike, ws: Any, ignore_border: bool = False, stride: Any = None,
    pad: Any = (0, 0, 0), mode: str = "max",
) -> Value:  # fmt: skip
    """Windows along the last three axes; see `pool_2d`."""
    return _pooled(3, input, ws, ignore_border, stride, pad, mode)


# --- patches ------------------------------------------------------------------------------------
@public
def images2neibs(
    ten4: ArrayLike, neib_shape: Any, neib_step: Any = None, mode: str = "valid"
) -> Value:
    """The patches of images (batch, channels, rows, columns) as rows of a matrix.

    neib_shape: rows and columns of a patch; neib_step: how far the next one is (neib_shape, unless
    given). mode: "valid" (patches must fill the images), "ignore_borders", "wrap_centered" (a patch
    around each place, going on at the other side; patches of odd extents), "half", "full" (zeros
    around the images).
    """
    x: Value = as_tensor(ten4)
    if mode not in NEIGHBOURS:
        raise OptionError(f"images2neibs has no mode {mode!r}",
                          hint=f"one of: {', '.join(map(repr, NEIGHBOURS))}")  # fmt: skip
    if x.ndim != 4:
        raise ShapeError(f"images2neibs takes arrays of 4 dimensions, not {x.type}")
    shape = _numbers(neib_shape, 2, "neib_shape", 1)
    steps = shape if neib_step is None else _numbers(neib_step, 2, "neib_step", 1)
    if mode in ("half", "full"):
        widths = [(c // 2, c // 2) if mode == "half" else (c - 1, c - 1) for c in shape]
        x = pad(x, [(0, 0), (0, 0), *widths])
    if mode in _FILLED:
        x = _filled(x, shape, steps)
    places = [_patch_places(movement.dims(x)[2 + k], shape[k], steps[k], mode, k)
              for k in range(2)]  # fmt: skip
    rows, columns = (movement.reshape(p, (-1,)) for p in places)
    turned = movement.transpose(x, (2, 3, 0, 1))
    seen = gather(turned, [movement.expand_dims(rows, (1,)), movement.expand_dims(columns, (0,))])
    (a, c), (b, d) = (movement.dims(p) for p in places)
    n, m = movement.dims(x)[:2]
    parts = movement.reshape(seen, (a, c, b, d, n, m))
    ordered = movement.transpose(parts, (4, 5, 0, 2, 1, 3))
    return movement.reshape(ordered, (n * m * a * b, c * d))


def _filled(x: Value, shape: Sequence[int], steps: Sequence[int]) -> Value:
    """x, refused at the call unless patches fill the axes whose extents are not known."""
    for axis, (c, step) in enumerate(zip(shape, steps, strict=True), 2):
        sizes = list(movement.dims(x))
        if isinstance(sizes[axis], Value) and step > 1:
            sizes[axis] = (sizes[axis] - c) // step * step + c
            x = movement.reshape(x, sizes)
    return x


def _patch_places(n: Size, c: int, step: int, mode: str, axis: int) -> Value:
    """The places along an axis that patches see: [patch, element]."""
    if mode == "wrap_centered" and c % 2 == 0:
        raise ShapeError(f"patches that wrap around have odd extents, not {c}")
    if isinstance(n, int) and n < c:
        raise ShapeError(f"images2neibs: patches of {c} do not fit into the {n} elements of axis "
                         f"{2 + axis}")  # fmt: skip
    if mode in _FILLED and isinstance(n, int) and (n - c) % step:
        raise ShapeError(
            f"images2neibs: patches of {c} by steps of {step} do not fill the {n} elements of axis "
            f"{2 + axis}", hint="use mode='ignore_borders'",
        )  # fmt: skip
    count: Any = -(-n // step) if mode == "wrap_centered" else (n - c) // step + 1
    start = movement.iota(count) if isinstance(count, Value) else constant(np.arange(count))
    inside = constant(np.arange(c))
    at: Value = movement.expand_dims(start * step, (1,)) + movement.expand_dims(inside, (0,))
    return (at - c // 2) % n if mode == "wrap_centered" else at
