"""Polynomials, as vectors of coefficients from the highest power down."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import joining, movement
from jitgraph.ir.ops.arithmetic import absolute, greater, maximum, not_equal, sqrt, where
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.types import F64, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor import matrices, reductions
from jitgraph.tensor.control import fori_loop
from jitgraph.tensor.diagonals import diag, vander
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.linear import outer
from jitgraph.tensor.operands import as_tensor, constant, promoted, public
from jitgraph.tensor.padding import pad
from jitgraph.tensor.products import convolve


def _coefficients(p: ArrayLike) -> Value:
    value = as_tensor(p)
    if value.ndim > 1:
        raise ShapeError(f"coefficients are a vector, not {value.type}")
    return movement.reshape(value, (-1,)) if not value.ndim else value


def _falling(size: Size, least: int) -> Value:
    """size - 1 + least, ..., least."""
    counter = movement.iota(size, cls=type(as_tensor(0)))
    return (size - 1 + least) - counter  # type: ignore[no-any-return]


@public
def polyval(p: ArrayLike, x: ArrayLike) -> Value:
    """The value at x of the polynomial whose coefficients are p, from the highest power down: by
    Horner's scheme for a known number of them, else by powers."""
    c, x = _coefficients(p), as_tensor(x)
    size = movement.dim(c, 0)
    if isinstance(size, Value):
        powers = movement.expand_dims(x, (x.ndim,)) ** _falling(size, 0)
        return reductions.sum(c * powers, -1)
    y: Any = cast(movement.broadcast_to(as_tensor(0), movement.dims(x)), x.dtype)
    for k in range(size):
        y = y * x + getitem(c, k)
    return y  # type: ignore[no-any-return]


@public
def polyadd(a1: ArrayLike, a2: ArrayLike) -> Value:
    """The coefficients of the sum of two polynomials."""
    a, b = _aligned(a1, a2)
    return a + b  # type: ignore[no-any-return]


@public
def polysub(a1: ArrayLike, a2: ArrayLike) -> Value:
    """The coefficients of the difference of two polynomials."""
    a, b = _aligned(a1, a2)
    return a - b  # type: ignore[no-any-return]


def _aligned(a1: ArrayLike, a2: ArrayLike) -> list[Value]:
    """Two polynomials with as many coefficients each, zeros in front of the shorter one."""
    pair = promoted([_coefficients(a1), _coefficients(a2)])
    sizes = [movement.dim(v, 0) for v in pair]
    if all(isinstance(n, int) for n in sizes):
        size: Any = builtins.max(sizes)
    else:
        size = maximum(*sizes)
    return [pad(v, [(size - n, 0)]) for v, n in zip(pair, sizes, strict=True)]


@public
def polymul(a1: ArrayLike, a2: ArrayLike) -> Value:
    """The coefficients of the product of two polynomials."""
    return convolve(_coefficients(a1), _coefficients(a2))


@public
def polyder(p: ArrayLike, m: int = 1) -> Value:
    """The coefficients of the m-th derivative of a polynomial."""
    c = _coefficients(p)
    for _ in range(m):
        c = getitem(c, slice(None, -1))
        c = c * _falling(movement.dim(c, 0), 1)
    return c


@public
def polyint(p: ArrayLike, m: int = 1, k: ArrayLike = None) -> Value:
    """The coefficients of the m-th integral of a polynomial, with the constants k."""
    c = _coefficients(p)
    given = [0.0] * m if k is None else k
    constants = movement.broadcast_to(movement.reshape(as_tensor(given), (-1,)), (m,))
    for j in range(m):
        last = slice_axis(constants, 0, j, 1)
        c = joining.concatenate(promoted([c / _falling(movement.dim(c, 0), 1), last]), 0)
    return c


# --- division and roots --------------------------------------------------------------------------
def _leading(nonzero: Value) -> Value:
    """How many elements of a vector of bools come before the first true one."""
    size = movement.dim(nonzero, 0)
    found = cast(reductions.argmax(cast(nonzero, np.int64)), np.int64)
    return where(reductions.any(nonzero), found, cast(as_tensor(size), np.int64))  # type: ignore[no-any-return]


@public
def polydiv(u: ArrayLike, v: ArrayLike) -> tuple[Value, ...]:
    """Quotient and remainder of two polynomials; leading zeros (up to 1e-8) of the remainder are
    left out, so that the call tells how long it is."""
    first, second = promoted([_coefficients(u), _coefficients(v)])
    dtype = np.result_type(first.dtype, F64)
    rest, divisor = cast(first, dtype), cast(second, dtype)
    m, n = movement.dim(rest, 0), movement.dim(divisor, 0)
    steps, size = maximum(m - n + 1, 0), maximum(m - n + 1, 1)
    if not isinstance(steps, Value):
        steps, size = int(steps), int(size)
    quotient = movement.broadcast_to(constant(np.zeros((), dtype)), (size,))
    scale = 1 / getitem(divisor, 0)

    def divided(k: Value, state: tuple[Any, Any]) -> tuple[Value, Value]:
        q, r = state
        d = scale * getitem(r, k)
        part = slice(k, k + n)
        return q.at[k].set(d), r.at[part].set(getitem(r, part) - d * divisor)

    quotient, rest = fori_loop(0, steps, divided, (quotient, rest))
    zeros = _leading(greater(absolute(rest), 1e-8))
    last = cast(as_tensor(m), np.int64) - 1
    zeros = where(zeros > last, last, zeros)
    return quotient, slice_axis(rest, 0, zeros, m - zeros)


@public
def roots(p: ArrayLike) -> Value:
    """Where a polynomial is 0: the eigenvalues of its companion matrix, complex also where NumPy
    would find them real. How many there are the zeros at both ends of the coefficients tell."""
    c = as_tensor(p)
    if c.ndim != 1:
        raise ShapeError(f"coefficients are a vector, not {c.type}")
    c = cast(c, np.result_type(c.dtype, F64))
    size, given = movement.dim(c, 0), not_equal(c, 0)
    front, back = _leading(given), _leading(getitem(given, slice(None, None, -1)))
    none = cast(front >= size, np.int64)
    back = back * (1 - none)
    degree = maximum(size - front - back - 1, 0)
    lower = slice_axis(c, 0, maximum(size - back - degree, 0), degree)
    top = getitem(pad(c, (0, 1)), where(none > 0, size, front))
    row = movement.expand_dims(-lower / top, (0,))
    below = slice_axis(diag(movement.broadcast_to(constant(np.ones((), c.dtype)), (degree,))), 0, 0,
                       maximum(degree - 1, 0))  # fmt: skip
    # The row belongs in front of the others; a polynomial of degree 0 has none.
    companion = slice_axis(joining.concatenate([row, below], 0), 0, 0, degree)
    found = matrices.eigvals(companion)
    zeros = movement.broadcast_to(constant(np.zeros((), found.dtype)), (back,))
    return joining.concatenate([found, zeros], 0)


@public
def poly(seq_of_zeros: ArrayLike) -> Value:
    """The coefficients of the polynomial with these roots, or with the eigenvalues of a matrix as
    roots; those of complex roots are complex."""
    z: Value = as_tensor(seq_of_zeros)
    if z.ndim == 2:
        z = matrices.eigvals(z)
    if z.ndim != 1:
        raise ShapeError(f"poly takes roots or a square matrix, not {z.type}")
    z = cast(z, z.dtype if kind_of(z.dtype) in "fc" else F64)
    first = pad(movement.broadcast_to(constant(np.ones((), z.dtype)), (1,)),
                (0, movement.dim(z, 0)))  # fmt: skip

    def times(k: Value, c: Any) -> Any:
        later = pad(getitem(c, slice(None, -1)), (1, 0))
        return c - getitem(z, k) * later

    made: Value = fori_loop(0, movement.dim(z, 0), times, first)
    return made


# --- least squares -------------------------------------------------------------------------------
@public
def polyfit(
    x: ArrayLike, y: ArrayLike, deg: int, rcond: Any = None, full: bool = False,
    w: ArrayLike = None, cov: bool | str = False,
) -> Any:  # fmt: skip
    """The polynomial of a degree that is nearest to points (x, y), in least squares weighted by
    `w`; with `full` also what `lstsq` tells, with `cov` the covariances of the coefficients."""
    at, values = as_tensor(x), as_tensor(y)
    if at.ndim != 1 or values.ndim not in (1, 2):
        raise ShapeError(f"polyfit takes points along a vector: {at.type} and {values.type}")
    if not isinstance(deg, int) or deg < 0:
        raise OptionError(f"the degree is {deg!r}", hint="a number, 0 or more")
    at, values = (cast(v, np.result_type(v.dtype, F64)) for v in (at, values))
    if rcond is None:
        rcond = cast(as_tensor(movement.dim(at, 0)), F64) * np.finfo(F64).eps
    powers: Value = vander(at, deg + 1)
    if w is not None:
        weights = cast(as_tensor(w), F64)
        powers = powers * movement.expand_dims(weights, (1,))
        values = values * (movement.expand_dims(weights, (1,)) if values.ndim == 2 else weights)
    scale = sqrt(reductions.sum(powers * powers, 0))
    scaled = powers / scale
    c, squares, rank, s = matrices.lstsq(scaled, values, rcond)
    c = c / (movement.expand_dims(scale, (1,)) if c.ndim == 2 else scale)
    if full:
        return c, squares, rank, s, as_tensor(rcond)
    if not cov:
        return c
    base = matrices.inv(movement.transpose(scaled, (1, 0)) @ scaled) / outer(scale, scale)
    if cov == "unscaled":
        return c, base if values.ndim == 1 else movement.expand_dims(base, (2,))
    fact = squares / (movement.dim(at, 0) - (deg + 1))
    if values.ndim == 1:
        return c, base * fact
    return c, movement.expand_dims(base, (2,)) * fact
