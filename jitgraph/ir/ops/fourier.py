"""Discrete Fourier transforms along the last axis, by NumPy's pocketfft.

All are sums without a factor of their own, times the scalar `factor`; rows are cut or filled up
with zeros to the length of the transform. n is the extent of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.batching import along_rows
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    Gradient,
    OpDef,
    Routine,
    Shape,
    ShapeSource,
    Size,
    constant,
    emit,
    join_sizes,
    register,
    split_sizes,
)
from jitgraph.ir.ops.arithmetic import equal, greater_equal, minimum, multiply, where
from jitgraph.ir.ops.indexing import SET_SLICE, slice_axis
from jitgraph.ir.ops.movement import broadcast_to, check_sizes, dims, iota
from jitgraph.ir.types import DType, Type
from jitgraph.ir.values import Value

_REAL = {np.dtype(c): np.dtype(r) for c, r in (("F", "f"), ("D", "d"))}
_COMPLEX = {r: c for c, r in _REAL.items()}


def _declare(
    name: str,
    symbols: tuple[str, ...],
    takes: str,
    gives: str,
    evaluate: Callable[..., Array],
    gradient: Gradient,
    doc: str,
) -> OpDef:
    """`takes` and `gives` are kinds of dtypes; with two symbols (for even and odd lengths) the
    third operand is the length modulo 2."""
    halves = len(symbols) > 1
    sizes_from = 2 + halves

    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        x, factor = types[:2]
        check_sizes(name, types[sizes_from:], int(attrs["n"] is None))
        known = _REAL if takes == "c" else _COMPLEX
        if x.dtype not in known:
            raise DTypeError(f"{name} does not take {x}")
        if not x.rank:
            raise ShapeError(f"{name} needs an axis: {x}")
        real: DType = _REAL.get(x.dtype, x.dtype)
        if factor != Type(real):
            raise DTypeError(f"{name}: the factor must be {Type(real)}, not {factor}")
        result = real if gives == "f" else _COMPLEX[real]
        return Type(result, (*x.shape[:-1], attrs["n"]))

    def shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
        (n,) = join_sizes((attrs["n"],), args[sizes_from:])
        return (*source.shape(args[0])[:-1], n)

    def requires(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
        return [greater_equal(s, 1) for s in args[sizes_from:]]

    operands = ("n", "", *((None,) if halves else ()))
    definition = OpDef(
        name=name,
        infer=infer,
        evaluate=evaluate,
        shape=shape,
        requires=requires,
        batch=along_rows,
        gradient=gradient,
        lower=Routine("numpy.fft", symbols, operands, ("m",), choice=2 if halves else None),
        doc=doc,
    )
    register(definition)
    return definition


def _scaled(y: Array, factor: Array) -> Array:
    return np.asarray((y * factor).astype(y.dtype, copy=False))


def _evaluate_fft(x: Array, factor: Array, *size: Array, n: Any) -> Array:
    return _scaled(np.fft.fft(x, join_sizes((n,), size)[0]), factor)


def _evaluate_ifft(x: Array, factor: Array, *size: Array, n: Any) -> Array:
    return _scaled(np.fft.ifft(x, join_sizes((n,), size)[0], norm="forward"), factor)


def _evaluate_rfft(x: Array, factor: Array, odd: Array, *size: Array, n: Any) -> Array:
    length = 2 * (join_sizes((n,), size)[0] - 1) + int(odd)
    return _scaled(np.fft.rfft(x, length), factor)


def _evaluate_irfft(x: Array, factor: Array, *size: Array, n: Any) -> Array:
    return _scaled(np.fft.irfft(x, join_sizes((n,), size)[0], norm="forward"), factor)


# --- gradients: the adjoint of a transform is the transform back, without its factor ------------
def _fitted(y: Value, size: Size) -> Value:
    """Rows cut, or filled up with zeros, to a length."""
    have, axis = dims(y)[-1], y.ndim - 1
    if isinstance(have, int) and isinstance(size, int):
        kept: Size = min(have, size)
    else:
        kept = have if have is size else minimum(have, size)
    if kept is size or (isinstance(have, int) and isinstance(size, int) and have == size):
        return y
    cut = slice_axis(y, axis, 0, kept)
    whole = broadcast_to(constant(np.zeros((), y.dtype), cls=type(y)), (*dims(y)[:-1], size))
    sizes, dynamic = split_sizes((kept,))
    return emit(SET_SLICE, (whole, cut, *dynamic), axes=(axis,), starts=(0,), sizes=sizes,
                steps=(1,))  # fmt: skip


def _of_fft(back: Callable[[Value, Value, Size], Value]) -> Gradient:
    def gradient(g: Value, y: Value, x: Value, factor: Value, *size: Value, n: Any) -> list[Any]:
        pulled = _fitted(back(g, factor, dims(y)[-1]), dims(x)[-1])
        return [pulled, *([None] * (1 + len(size)))]

    return gradient


def _rfft_gradient(
    g: Value, y: Value, x: Value, factor: Value, odd: Value, *size: Value, n: Any
) -> list[Any]:
    length = (dims(y)[-1] - 1) * 2 + (odd if odd.literal is None else int(odd.literal.array))
    pulled = cast(ifft(g, factor, length), x.dtype)
    return [_fitted(pulled, dims(x)[-1]), *([None] * (2 + len(size)))]


def _irfft_gradient(
    g: Value, y: Value, x: Value, factor: Value, *size: Value, n: Any
) -> list[Any]:
    """Every term but the first, and the last of an even length, counts for two."""
    length = dims(y)[-1]
    pulled = rfft(g, factor, length)
    k = iota(dims(pulled)[-1], type(g))
    alone = equal(k, 0) | equal(k * 2, length)
    weights = cast(where(alone, 1.0, 2.0), factor.dtype)
    return [_fitted(multiply(pulled, weights), dims(x)[-1]), *([None] * (1 + len(size)))]


FFT = _declare(
    "fft", ("fft",), "c", "c", _evaluate_fft, _of_fft(lambda g, s, n: ifft(g, s, n)),
    "The discrete Fourier transform of each row, times a factor.",
)  # fmt: skip
IFFT = _declare(
    "ifft", ("ifft",), "c", "c", _evaluate_ifft, _of_fft(lambda g, s, n: fft(g, s, n)),
    "The transform with the conjugate roots of unity, times a factor (1/n makes it the inverse).",
)  # fmt: skip
RFFT = _declare(
    "rfft", ("rfft_n_even", "rfft_n_odd"), "f", "c", _evaluate_rfft, _rfft_gradient,
    "The first half of the transform of real rows, times a factor; after that, length mod 2.",
)  # fmt: skip
IRFFT = _declare(
    "irfft", ("irfft",), "c", "f", _evaluate_irfft, _irfft_gradient,
    "Real rows from the first half of their transform, times a factor.",
)  # fmt: skip


def _length(n: Size) -> tuple[Any, tuple[Value, ...]]:
    static, dynamic = split_sizes((n,))
    return static[0], dynamic


def fft(x: Value, factor: Value, n: Size) -> Value:
    """The transform of length n of each row, times a factor."""
    static, dynamic = _length(n)
    return emit(FFT, (x, factor, *dynamic), n=static)


def ifft(x: Value, factor: Value, n: Size) -> Value:
    """The transform with the conjugate roots of unity."""
    static, dynamic = _length(n)
    return emit(IFFT, (x, factor, *dynamic), n=static)


def rfft(x: Value, factor: Value, n: Size) -> Value:
    """The first half (n // 2 + 1 elements) of the transform of length n of real rows."""
    odd = n % 2
    static, dynamic = _length(n // 2 + 1)
    return emit(RFFT, (x, factor, odd if isinstance(odd, Value) else constant(np.int64(odd)),
                       *dynamic), n=static)  # fmt: skip


def irfft(x: Value, factor: Value, n: Size) -> Value:
    """Real rows of length n from the first half of their transform."""
    static, dynamic = _length(n)
    return emit(IRFFT, (x, factor, *dynamic), n=static)
