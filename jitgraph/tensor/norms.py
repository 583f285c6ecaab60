"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, emit
from jitgraph.ir.ops import linalg as ops
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import absolute, divide, isnan, sqrt, square, where
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.types import F64, kind_of, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.matrices import prepared, require_matrices, svdvals
from jitgraph.tensor.operands import Axis, as_tensor, public

Axes = tuple[int, ...]
_ORDERS = "None, fro, nuc, inf, -inf, 1, -1, 2, -2"


def _inexact(x: ArrayLike) -> Value:
    value = as_tensor(x)
    return value if kind_of(value.dtype) in "fc" else cast(value, F64)


@public
def norm(x: ArrayLike, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Value:
    """NumPy's: of a vector (one axis) or of matrices (two); without `ord` the root of the sum of
    squares, over all axes if none is given."""
    value = _inexact(x)
    if axis is None:
        axes = tuple(range(value.ndim))
        if ord is None:
            return _root_of_squares(value, axes, keepdims)
    else:
        given = axis if isinstance(axis, tuple | list) else (axis,)
        axes = tuple(normalise_axis(a, value.ndim) for a in given)
    if len(axes) == 1:
        return _of_vectors(value, ord, axes, keepdims)
    if len(axes) == 2:
        if axes[0] == axes[1]:
            raise ShapeError("norm: the axes are the same", hint="name two different ones")
        return _of_matrices(value, ord, axes, keepdims)
    raise ShapeError(f"norm with ord={ord!r} takes one axis or two, not {len(axes)}")


def _root_of_squares(x: Value, axes: Axes, keepdims: bool) -> Value:
    size = absolute(x) if x.dtype.kind == "c" else x
    return sqrt(reductions.sum(square(size), axes, keepdims=keepdims))  # type: ignore[no-any-return]


def _of_vectors(x: Value, order: Any, axes: Axes, keepdims: bool) -> Value:
    size = absolute(x)
    if order is None or order == 2:
        return _root_of_squares(x, axes, keepdims)
    if isinstance(order, str):
        raise OptionError(f"norm: {order!r} is not for vectors", hint="a number or None")
    if order == math.inf:
        return reductions.max(size, axes, keepdims)
    if order == -math.inf:
        return reductions.min(size, axes, keepdims)
    if order == 0:
        return cast(reductions.sum(size > 0, axes, keepdims=keepdims), size.dtype)  # type: ignore[no-any-return]
    if order == 1:
        return reductions.sum(size, axes, keepdims=keepdims)
    total = reductions.sum(size**order, axes, keepdims=keepdims)
    return total ** (1.0 / order)  # type: ignore[no-any-return]


def _of_matrices(x: Value, order: Any, axes: Axes, keepdims: bool) -> Value:
    if order is None or order in ("fro", "f"):
        return _root_of_squares(x, axes, keepdims)
    extremum: dict[Any, Callable[..., Value]] = {
        1: reductions.max, math.inf: reductions.max, -1: reductions.min, -math.inf: reductions.min,
    }  # fmt: skip
    if order in extremum:
        summed, left = axes if abs(order) == 1 else axes[::-1]
        total = reductions.sum(absolute(x), summed, keepdims=True)
        found = extremum[order](total, left, keepdims=True)
        return found if keepdims else movement.squeeze(found, sorted(axes))
    reduced: dict[Any, Callable[..., Value]] = {
        2: reductions.max, -2: reductions.min, "nuc": reductions.sum,
    }  # fmt: skip
    if order not in reduced:
        raise OptionError(f"norm: ord is {order!r}", hint=f"for matrices one of: {_ORDERS}")
    rest = [a for a in range(x.ndim) if a not in axes]
    s = svdvals(movement.transpose(x, [*rest, *axes]))
    found = reduced[order](s, s.ndim - 1)
    return movement.expand_dims(found, sorted(axes)) if keepdims else found


@public
def vector_norm(
    x: ArrayLike, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2
) -> Value:
    """The norm over all the given axes together, as of one vector."""
    value = _inexact(x)
    given = range(value.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(normalise_axis(a, value.ndim) for a in given)
    return _of_vectors(value, ord, axes, keepdims)


@public
def matrix_norm(x: ArrayLike, *, keepdims: bool = False, ord: Any = "fro") -> Value:
    """The norm of each matrix of a stack."""
    value = _inexact(x)
    require_matrices("matrix_norm", value)
    return _of_matrices(value, ord, (value.ndim - 2, value.ndim - 1), keepdims)


@public
def cond(x: ArrayLike, p: Any = None) -> Value:
    """The condition number: the product of the norms of a matrix and of its inverse, infinite for
    singular ones."""
    value = as_tensor(x)
    require_matrices("cond", value)
    if p is None or p in (2, -2):
        s = svdvals(value)
        ends = (slice_axis(s, s.ndim - 1, k, 1) for k in (0, movement.dims(s)[-1] - 1))
        first, last = (movement.squeeze(end, (s.ndim - 1,)) for end in ends)
        found = divide(last, first) if p == -2 else divide(first, last)
    else:
        (wide,), precision = prepared(value)
        inverse = emit(ops.INV_OR_NAN, (wide,))
        found = precision.round(norm(wide, p, (-2, -1)) * norm(inverse, p, (-2, -1)))
    broken = reductions.any(isnan(value), (-2, -1)) if kind_of(value.dtype) in "fc" else False
    return where(isnan(found) & ~as_tensor(broken), math.inf, found)  # type: ignore[no-any-return]
