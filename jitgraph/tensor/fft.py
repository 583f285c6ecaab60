"""Fourier transforms under NumPy's names: `T.fft.fft`, `T.fft.rfft2`, ...

They compute in single precision where the argument is float32 or complex64, else in double.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size, constant
from jitgraph.ir.ops import fourier, movement
from jitgraph.ir.ops.arithmetic import conjugate, divide, sqrt, where
from jitgraph.ir.types import F32, computed_in, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import Axis, as_size, as_tensor, public
from jitgraph.tensor.shaping import concatenate

Transform = Callable[[Value, Value, Size], Value]
_SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _single(x: Value) -> bool:
    return x.dtype == np.complex64 or computed_in(x.dtype) == F32


def _complex(x: Value) -> Value:
    return cast(x, np.complex64 if _single(x) else np.complex128)  # type: ignore[no-any-return]


def _factor(norm: str | None, n: Size, real: Any, *, forward: bool) -> Value:
    """What a transform of length n is multiplied by."""
    if norm not in _SWAPPED:
        raise OptionError(f"norm is {norm!r}", hint="one of: backward, ortho, forward")
    if not forward:
        norm = _SWAPPED[norm]
    if norm is None or norm == "backward":
        return constant(1, real)
    count = constant(n, real) if not isinstance(n, Value) else cast(n, real)
    return divide(constant(1, real), sqrt(count) if norm == "ortho" else count)  # type: ignore[no-any-return]


def _count(n: Any) -> Size:
    size = as_size(n, "the length of a transform")
    if isinstance(size, int) and size < 1:
        raise ShapeError(f"a transform has at least one point, not {size}")
    return size


def _along(x: Value, axis: int, transform: Callable[[Value], Value]) -> Value:
    """A transform of the last axis, applied to another."""
    place = normalise_axis(axis, x.ndim)
    order = [*(a for a in range(x.ndim) if a != place), place]
    y = transform(movement.transpose(x, order))
    return movement.transpose(y, [order.index(a) for a in range(x.ndim)])


def _one(
    x: Value, n: Any, axis: int, norm: str | None, transform: Transform, *, forward: bool
) -> Value:
    """A transform whose length is n, or the extent of the axis."""
    length = _count(movement.dim(x, normalise_axis(axis, x.ndim)) if n is None else n)
    factor = _factor(norm, length, np.float32 if _single(x) else np.float64, forward=forward)
    return _along(x, axis, lambda rows: transform(rows, factor, length))


def _real(x: Value, what: str) -> Value:
    if x.dtype.kind == "c":
        raise DTypeError(f"{what} takes real numbers, not {x.type}", hint="use the complex fft")
    return cast(x, np.float32 if _single(x) else np.float64)  # type: ignore[no-any-return]


@public
def fft(a: ArrayLike, n: Any = None, axis: int = -1, norm: str | None = None) -> Value:
    """The discrete Fourier transform along an axis, of n points."""
    return _one(_complex(as_tensor(a)), n, axis, norm, fourier.fft, forward=True)


@public
def ifft(a: ArrayLike, n: Any = None, axis: int = -1, norm: str | None = None) -> Value:
    """The inverse of `fft`."""
    return _one(_complex(as_tensor(a)), n, axis, norm, fourier.ifft, forward=False)


@public
def rfft(a: ArrayLike, n: Any = None, axis: int = -1, norm: str | None = None) -> Value:
    """The first half of the transform of real numbers: n // 2 + 1 elements."""
    return _one(_real(as_tensor(a), "rfft"), n, axis, norm, fourier.rfft, forward=True)


@public
def irfft(a: ArrayLike, n: Any = None, axis: int = -1, norm: str | None = None) -> Value:
    """The inverse of `rfft`, of n real numbers; by default 2 * (m - 1) for m elements."""
    x = _complex(as_tensor(a))
    if n is None:
        n = (movement.dim(x, normalise_axis(axis, x.ndim)) - 1) * 2
    return _one(x, n, axis, norm, fourier.irfft, forward=False)


@public
def hfft(a: ArrayLike, n: Any = None, axis: int = -1, norm: str | None = None) -> Value:
    """The (real) transform of a signal whose other half is its conjugate."""
    return irfft(conjugate(_complex(as_tensor(a))), n, axis, _swapped(norm))


@public
def ihfft(a: ArrayLike, n: Any = None, axis: int = -1, norm: str | None = None) -> Value:
    """The inverse of `hfft`."""
    return conjugate(rfft(a, n, axis, _swapped(norm)))  # type: ignore[no-any-return]


def _swapped(norm: str | None) -> str:
    if norm not in _SWAPPED:
        raise OptionError(f"norm is {norm!r}", hint="one of: backward, ortho, forward")
    return _SWAPPED[norm]


# --- several axes -------------------------------------------------------------------------------
def _axes(x: Value, s: Any, axes: Any) -> tuple[list[Any], list[int]]:
    """Lengths (None where the extent itself) and axes of a transform over several."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    places = [normalise_axis(a, x.ndim) for a in axes]
    lengths = [None] * len(places) if s is None else list(s)
    if len(lengths) != len(places):
        raise ShapeError(f"{len(lengths)} lengths are given for {len(places)} axes")
    return [None if isinstance(n, int) and n == -1 else n for n in lengths], places


def _each(
    x: Value, lengths: Sequence[Any], axes: Sequence[int], norm: str | None, one: Any
) -> Value:
    """A transform along each of the axes, the last one first."""
    for n, axis in list(zip(lengths, axes, strict=True))[::-1]:
        x = one(x, n, axis, norm)
    return x


@public
def fftn(a: ArrayLike, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """`fft` along several axes, all by default."""
    x = _complex(as_tensor(a))
    return _each(x, *_axes(x, s, axes), norm, fft)


@public
def ifftn(a: ArrayLike, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """The inverse of `fftn`."""
    x = _complex(as_tensor(a))
    return _each(x, *_axes(x, s, axes), norm, ifft)


@public
def rfftn(a: ArrayLike, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """`rfft` along the last of the axes, `fft` along the others."""
    x = _real(as_tensor(a), "rfftn")
    lengths, places = _axes(x, s, axes)
    if not places:
        raise ShapeError("rfftn needs at least one axis")
    return _each(rfft(x, lengths[-1], places[-1], norm), lengths[:-1], places[:-1], norm, fft)


@public
def irfftn(a: ArrayLike, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """The inverse of `rfftn`."""
    x = _complex(as_tensor(a))
    lengths, places = _axes(x, s, axes)
    if not places:
        raise ShapeError("irfftn needs at least one axis")
    # From the first axis on, as NumPy does.
    for n, axis in zip(lengths[:-1], places[:-1], strict=True):
        x = ifft(x, n, axis, norm)
    return irfft(x, lengths[-1], places[-1], norm)


@public
def fft2(
    a: ArrayLike, s: Any = None, axes: Any = (-2, -1), norm: str | None = None
) -> Value:
    """`fft` along two axes, the last ones by default."""
    return fftn(a, s, axes, norm)


@public
def ifft2(
    a: ArrayLike, s: Any = None, axes: Any = (-2, -1), norm: str | None = None
) -> Value:
    """The inverse of `fft2`."""
    return ifftn(a, s, axes, norm)


@public
def rfft2(
    a: ArrayLike, s: Any = None, axes: Any = (-2, -1), norm: str | None = None
) -> Value:
    """`rfft` along the last of two axes, `fft` along the other."""
    return rfftn(a, s, axes, norm)


@public
def irfft2(
    a: ArrayLike, s: Any = None, axes: Any = (-2, -1), norm: str | None = None
) -> Value:
    """The inverse of `rfft2`."""
    return irfftn(a, s, axes, norm)


# --- frequencies --------------------------------------------------------------------------------
def _turned(x: Value, axes: Axis, part: Callable[[Size], Size]) -> Value:
    """Rows with their first part moved behind the rest."""
    chosen = range(x.ndim) if axes is None else axes if isinstance(axes, Sequence) else (axes,)
    for axis in chosen:
        place = normalise_axis(axis, x.ndim)
        first = part(movement.dim(x, place))
        lead = (slice(None),) * place
        x = concatenate(
            [getitem(x, (*lead, slice(first, None))), getitem(x, (*lead, slice(0, first)))], place
        )
    return x


@public
def fftshift(x: ArrayLike, axes: Axis = None) -> Value:
    """The zero frequency moved to the middle."""
    return _turned(as_tensor(x), axes, lambda n: (n + 1) // 2)


@public
def ifftshift(x: ArrayLike, axes: Axis = None) -> Value:
    """The inverse of `fftshift`."""
    return _turned(as_tensor(x), axes, lambda n: n // 2)


@public
def fftfreq(n: Any, d: Any = 1.0) -> Value:
    """The frequencies that belong to the elements of `fft`, for n points at a distance d."""
    size = _count(n)
    k = movement.iota(size, type(as_tensor(0)))
    signed = where(k < (size + 1) // 2, k, k - size)
    return _frequencies(signed, size, d)


@public
def rfftfreq(n: Any, d: Any = 1.0) -> Value:
    """The frequencies that belong to the elements of `rfft`."""
    size = _count(n)
    return _frequencies(movement.iota(size // 2 + 1, type(as_tensor(0))), size, d)


def _frequencies(k: Value, n: Size, d: Any) -> Value:
    count = cast(as_tensor(n), np.float64) * d
    return cast(k, np.float64) * divide(1.0, count)  # type: ignore[no-any-return]


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
