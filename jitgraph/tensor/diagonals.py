"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.config import config
from jitgraph.errors import ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import joining, movement
from jitgraph.ir.ops.arithmetic import equal, greater_equal, maximum, minimum, where
from jitgraph.ir.ops.indexing import gather, slice_axis
from jitgraph.ir.types import I64, normalise_axis, result_type
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.operands import as_size, as_tensor, constant, public
from jitgraph.tensor.shaping import length


def _counter(size: Size) -> Value:
    return movement.iota(size, cls=type(constant(0)))


def _grid(rows: Size, columns: Size) -> tuple[Value, Value]:
    """Row and column numbers, shaped to broadcast against each other."""
    return (movement.expand_dims(_counter(rows), (1,)),
            movement.expand_dims(_counter(columns), (0,)))  # fmt: skip


# --- triangles ---------------------------------------------------------------------------------
def _lower(rows: Size, columns: Size, k: Any) -> Value:
    i, j = _grid(rows, columns)
    return greater_equal(i + as_size(k, "k"), j)  # type: ignore[no-any-return]


@public
def tri(N: Any, M: Any = None, k: Any = 0, dtype: Any = None) -> Value:  # noqa: N803  (NumPy's)
    """An N × M matrix (M = N by default) with ones at and below the k-th diagonal."""
    rows = length(N, "N")
    lower = _lower(rows, rows if M is None else length(M, "M"), k)
    return cast(lower, dtype or config.floatX)  # type: ignore[no-any-return]


def _matrix(m: ArrayLike, name: str) -> Value:
    """m with two axes at least; a vector is one row, repeated, as NumPy takes it."""
    value = as_tensor(m)
    if not value.ndim:
        raise ShapeError(f"{name} takes no scalar ({value.type})")
    if value.ndim == 1:
        n = movement.dim(value, 0)
        return movement.broadcast_to(value, (n, n))
    return value


@public
def tril(m: ArrayLike, k: Any = 0) -> Value:
    """m with zeros above the k-th diagonal of its last two axes."""
    x = _matrix(m, "tril")
    rows, columns = movement.dims(x)[-2:]
    return where(_lower(rows, columns, k), x, np.zeros((), x.dtype))  # type: ignore[no-any-return]


@public
def triu(m: ArrayLike, k: Any = 0) -> Value:
    """m with zeros below the k-th diagonal of its last two axes."""
    x = _matrix(m, "triu")
    rows, columns = movement.dims(x)[-2:]
    below = _lower(rows, columns, as_size(k, "k") - 1)
    return where(below, np.zeros((), x.dtype), x)  # type: ignore[no-any-return]


@public
def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Value, ...]:
    """Rows and columns of the lower triangle of an n × m matrix of known size."""
    return tuple(map(constant, np.tril_indices(n, k, m)))


@public
def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Value, ...]:
    """Rows and columns of the upper triangle of an n × m matrix of known size."""
    return tuple(map(constant, np.triu_indices(n, k, m)))


@public
def tril_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Value, ...]:
    """`tril_indices` for a matrix of known shape."""
    rows, columns = _known_shape(arr, "tril_indices_from")
    return tril_indices(rows, k, columns)


@public
def triu_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Value, ...]:
    """`triu_indices` for a matrix of known shape."""
    rows, columns = _known_shape(arr, "triu_indices_from")
    return triu_indices(rows, k, columns)


@public
def diag_indices(n: Any, ndim: int = 2) -> tuple[Value, ...]:
    """The positions of the main diagonal of an array of `ndim` axes of extent n."""
    return (_counter(length(n, "n")),) * ndim


@public
def diag_indices_from(arr: ArrayLike) -> tuple[Value, ...]:
    """`diag_indices` for an array whose axes are of one extent."""
    x = as_tensor(arr)
    if x.ndim < 2 or len({d for d in x.type.shape if isinstance(d, int)}) > 1:
        raise ShapeError(f"diag_indices_from takes arrays with equal extents, not {x.type}")
    return diag_indices(movement.dim(x, 0), x.ndim)


def _known_shape(arr: ArrayLike, name: str) -> tuple[int, int]:
    x = as_tensor(arr)
    if x.ndim != 2 or not x.type.is_static:
        raise ShapeError(f"{name} needs a matrix of known shape, not {x.type}")
    rows, columns = (int(d) for d in x.type.shape)  # type: ignore[arg-type]
    return rows, columns


# --- diagonals ---------------------------------------------------------------------------------
@public
def diagonal(a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    """The elements a[..., i, i + offset, ...] of two axes, as the last axis of the result."""
    x = as_tensor(a)
    if x.ndim < 2:
        raise ShapeError(f"diagonal needs two dimensions at least, not {x.type}")
    first, second = normalise_axis(axis1, x.ndim), normalise_axis(axis2, x.ndim)
    if first == second:
        raise ShapeError("diagonal needs two different axes")
    kept = [k for k in range(x.ndim) if k not in (first, second)]
    turned = movement.transpose(x, [first, second, *kept])
    cut_axis, by = (0, -offset) if offset < 0 else (1, offset)
    extent = movement.dim(turned, cut_axis)
    start = _least(by, extent)
    if by:
        turned = slice_axis(turned, cut_axis, start, extent - start)
    places = _counter(_least(*movement.dims(turned)[:2]))
    read = gather(turned, [places, places])
    return movement.transpose(read, [*range(1, read.ndim), 0])


def _least(a: Size, b: Size) -> Size:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else minimum(a, b)


@public
def trace(
    a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None
) -> Value:
    """The sum along a diagonal, in the dtypes of `sum`."""
    return reductions.sum(diagonal(a, offset, axis1, axis2), -1, dtype)


@public
def diag(v: ArrayLike, k: int = 0) -> Value:
    """The k-th diagonal of a matrix, or the matrix with a vector on its k-th diagonal."""
    x: Value = as_tensor(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag takes a vector or a matrix, not {x.type}")
    zero = np.zeros((), x.dtype)
    if k:
        padding = movement.broadcast_to(constant(zero), (abs(k),))
        x = joining.concatenate([x, padding] if k > 0 else [padding, x], 0)
    rows, columns = _grid(*[movement.dim(x, 0)] * 2)
    element = movement.expand_dims(x, (1,))
    return where(equal(rows + k, columns), element, zero)  # type: ignore[no-any-return]


@public
def diagflat(v: ArrayLike, k: int = 0) -> Value:
    """The matrix with all elements of v on its k-th diagonal."""
    return diag(movement.reshape(as_tensor(v), (-1,)), k)


@public
def vander(x: ArrayLike, N: Any = None, increasing: bool = False) -> Value:  # noqa: N803
    """Row by row the powers of the elements of a vector, N of them, falling unless `increasing`."""
    base = as_tensor(x)
    if base.ndim != 1:
        raise ShapeError(f"vander takes a vector, not {base.type}")
    count = movement.dim(base, 0) if N is None else length(N, "N")
    powers = _counter(count)
    if not increasing:
        powers = maximum(count - 1, 0) - powers
    dtype = result_type((base.dtype, I64))
    raised = cast(movement.expand_dims(base, (1,)), dtype) ** movement.expand_dims(powers, (0,))
    return cast(raised, dtype)  # type: ignore[no-any-return]
