"""Products of vectors and arrays beyond the matrix product."""

from __future__ import annotations

import functools
from typing import Any

from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import arithmetic, linear, movement
from jitgraph.ir.ops.arithmetic import conjugate, minimum, multiply, where
from jitgraph.ir.ops.indexing import gather, slice_axis
from jitgraph.ir.types import normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import contraction
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import as_tensor, constant, factors, promoted, public, stacked
from jitgraph.tensor.padding import pad
from jitgraph.tensor.shaping import moveaxis, ravel


def conjugated(x: Value) -> Value:
    """The complex conjugate of complex values, others as they are."""
    return conjugate(x) if x.dtype.kind == "c" else x


@public
def inner(a: ArrayLike, b: ArrayLike) -> Value:
    """The sum of products over the last axes of both."""
    x, y = promoted([as_tensor(a), as_tensor(b)])
    if not x.ndim or not y.ndim:
        return multiply(x, y)  # type: ignore[no-any-return]
    return contraction.tensordot(x, y, (-1, -1))


@public
def vdot(a: ArrayLike, b: ArrayLike) -> Value:
    """The sum of conj(a)·b over all elements."""
    x, y = promoted([ravel(a), ravel(b)])
    return linear.sum_product(conjugated(x), y, 0)


@public
def vecdot(x1: ArrayLike, x2: ArrayLike, axis: int = -1) -> Value:
    """The sums of conj(x1)·x2 along an axis."""
    x, y = (moveaxis(v, axis, -1) for v in factors(x1, x2))
    return linear.sum_product(conjugated(x), y, max(x.ndim, y.ndim) - 1)


@public
def matvec(x1: ArrayLike, x2: ArrayLike) -> Value:
    """Matrices (the last two axes of x1) times vectors (the last axis of x2)."""
    x, y = factors(x1, x2)
    product = linear.matmul(x, movement.expand_dims(y, (y.ndim,)))
    return movement.squeeze(product, (product.ndim - 1,))


@public
def vecmat(x1: ArrayLike, x2: ArrayLike) -> Value:
    """Conjugated vectors (the last axis of x1) times matrices (the last two axes of x2)."""
    x, y = factors(x1, x2)
    product = linear.matmul(movement.expand_dims(conjugated(x), (x.ndim - 1,)), y)
    return movement.squeeze(product, (product.ndim - 2,))


@public
def batched_dot(a: ArrayLike, b: ArrayLike) -> Value:
    """Theano's product of the k-th parts of a and b: matrices or vectors, along the first axis."""
    x, y = promoted([as_tensor(a), as_tensor(b)])
    if x.ndim not in (2, 3) or y.ndim not in (2, 3):
        raise ShapeError(f"batched_dot takes batches of vectors or matrices: {x.type}, {y.type}")
    labels = (0, *range(1, x.ndim)), (0, x.ndim - 1, *range(3, y.ndim + 1))
    made, order = contraction.contracted((x, labels[0]), (y, labels[1]), (x.ndim - 1,), (0,))
    return movement.transpose(made, [order.index(n) for n in sorted(order)])


@public
def kron(a: ArrayLike, b: ArrayLike) -> Value:
    """Kronecker's product: every element of a times the whole of b."""
    given = as_tensor(a), as_tensor(b)
    rank = max(v.ndim for v in given)
    x, y = (movement.expand_dims(v, range(rank - v.ndim)) for v in given)
    whole = multiply(movement.expand_dims(x, range(1, 2 * rank, 2)),
                     movement.expand_dims(y, range(0, 2 * rank, 2)))  # fmt: skip
    sizes = zip(movement.dims(x), movement.dims(y), strict=True)
    return movement.reshape(whole, [m * n for m, n in sizes])


@public
def cross(
    a: ArrayLike, b: ArrayLike, axisa: int = -1, axisb: int = -1, axisc: int = -1,
    axis: int | None = None,
) -> Value:  # fmt: skip
    """The cross product of vectors of length 3 along an axis."""
    if axis is not None:
        axisa = axisb = axisc = axis
    pair = moveaxis(as_tensor(a), axisa, -1), moveaxis(as_tensor(b), axisb, -1)
    if any(v.type.shape[-1] not in (3, None) for v in pair):
        raise ShapeError(f"cross takes vectors of length 3, not {pair[0].type} and {pair[1].type}")
    x, y = (movement.reshape(v, (*movement.dims(v)[:-1], 3)) for v in pair)
    (x0, x1, x2), (y0, y1, y2) = (
        [getitem(v, (..., k)) for k in range(3)] for v in (x, y)
    )
    parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
    return stacked(parts, normalise_axis(axisc, parts[0].ndim + 1))


@public
def convolve(a: ArrayLike, v: ArrayLike, mode: str = "full") -> Value:
    """The discrete convolution of two vectors: "full", "same" or "valid"."""
    x, y = _vectors(a, v, "convolve")
    m, n = movement.dim(x, 0), movement.dim(y, 0)
    if isinstance(m, int) and (not isinstance(n, int) or m < n):
        x, y, m, n = y, x, n, m
    return _slid(x, y, mode, (_least(m, n) - 1) // 2, "convolve")


@public
def correlate(a: ArrayLike, v: ArrayLike, mode: str = "valid") -> Value:
    """The sums of a[n + k]·conj(v[n]): "full", "same" or "valid"."""
    x, y = _vectors(a, v, "correlate")
    y = getitem(conjugated(y), slice(None, None, -1))
    m, n = movement.dim(x, 0), movement.dim(y, 0)
    if isinstance(m, int) and isinstance(n, int):
        middle = (n - 1) // 2 if m >= n else m // 2
    else:
        middle = where(as_tensor(m) >= n, (n - 1) // 2, as_tensor(m) // 2)
    if isinstance(m, int) and (not isinstance(n, int) or m < n):
        x, y = y, x
    return _slid(x, y, mode, middle, "correlate")


def _vectors(a: ArrayLike, v: ArrayLike, name: str) -> list[Value]:
    found = promoted([as_tensor(a), as_tensor(v)])
    for value in found:
        if value.ndim > 1:
            raise ShapeError(f"{name} takes vectors, not {value.type}")
        if value.type.shape == (0,):
            raise ShapeError(f"{name} takes no empty vector")
    return [movement.reshape(u, (-1,)) for u in found]


def _least(m: Size, n: Size) -> Any:
    return min(m, n) if isinstance(m, int) and isinstance(n, int) else minimum(m, n)


#: Kernels of at most as many elements are written out, one slice for each.
_UNROLLED = 32


def _slid(x: Value, kernel: Value, mode: str, middle: Any, name: str) -> Value:
    """The part of a convolution that a mode asks for: `size` elements from `start`, which is
    `middle` for "same"."""
    m, n = movement.dim(x, 0), movement.dim(kernel, 0)
    least = _least(m, n)
    most = m + n - least
    spans = {"full": (0, m + n - 1), "same": (middle, most), "valid": (least - 1, most - least + 1)}
    if mode not in spans:
        raise OptionError(f"{name} has no mode {mode!r}", hint="'full', 'same' or 'valid'")
    start, size = spans[mode]
    wide = pad(x, [(n - 1, n - 1)])
    backwards = getitem(kernel, slice(None, None, -1))
    if isinstance(n, int) and n <= _UNROLLED:
        terms = [slice_axis(wide, 0, start + j, size) * getitem(backwards, j) for j in range(n)]
        return functools.reduce(arithmetic.add, terms)
    places = movement.expand_dims(_counter(size), (1,)) + movement.expand_dims(_counter(n), (0,))
    return linear.sum_product(gather(wide, [places + start]), backwards, 1)


def _counter(size: Size) -> Value:
    return movement.iota(size, cls=type(constant(0)))
