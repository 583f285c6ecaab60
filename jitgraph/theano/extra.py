"""`theano.tensor.extra_ops` and what else differs from NumPy by an argument."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.ir.values import Value
from jitgraph.theano.variables import as_tensor_variable, spoken


@spoken
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """For each index the element of that choice; the choices are a list, or an array's rows."""
    if not isinstance(choices, Value):
        return jt.choose(a, [as_tensor_variable(c) for c in choices], mode=mode)
    rows, index = as_tensor_variable(choices), as_tensor_variable(a)
    count = rows.shape[0]
    if mode != "raise":
        index = index % count if mode == "wrap" else jt.clip(index, 0, count - 1)
    index, _ = jt.broadcast_arrays(index, rows[0])
    new = ["x"] * (index.ndim + 1 - rows.ndim)
    rows = jt.broadcast_to(rows.dimshuffle(0, *new, *range(1, rows.ndim)), [count, *index.shape])
    return jt.take_along_axis(rows, jt.expand_dims(index, 0), 0)[0]


@spoken
def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours."""
    return jt.diff(as_tensor_variable(x), n, axis)


@spoken
def bincount(x: Any, weights: Any = None, minlength: Any = None,
             assert_nonneg: bool = False) -> Any:  # fmt: skip
    """How often each number comes up."""
    return jt.bincount(x, weights, minlength or 0)


@spoken
def squeeze(x: Any, axis: Any = None) -> Any:
    """Without axes of extent 1."""
    return jt.squeeze(as_tensor_variable(x), axis)


@spoken
def compress(condition: Any, x: Any, axis: int | None = None) -> Any:
    """The parts where the condition is true."""
    return jt.compress(jt.not_equal(as_tensor_variable(condition), 0), x, axis)


@spoken
def cumsum(x: Any, axis: int | None = None) -> Any:
    """Sums of all elements up to each."""
    return jt.cumsum(x, axis)


@spoken
def cumprod(x: Any, axis: int | None = None) -> Any:
    """Products of all elements up to each."""
    return jt.cumprod(x, axis)


@spoken
def unique(ar: Any, return_index: bool = False, return_inverse: bool = False,
           return_counts: bool = False, axis: Any = None) -> Any:  # fmt: skip
    """The different elements, in order."""
    found: Any = jt.unique
    return found(ar, return_index, return_inverse, return_counts, axis)


def UniqueOf(return_index: bool = False, return_inverse: bool = False,  # noqa: N802
             return_counts: bool = False, axis: Any = None) -> Any:  # fmt: skip
    """`unique` as an op."""
    return lambda x: unique(x, return_index, return_inverse, return_counts, axis)


@spoken
def searchsorted(x: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where elements belong in a sorted vector."""
    return jt.searchsorted(x, v, side, sorter)


@spoken
def bartlett(M: Any) -> Any:  # noqa: N803  (Theano's name)
    """The triangular window of M points."""
    length = as_tensor_variable(M)
    span = jt.maximum(length - 1, 1)
    ramp = jt.arange(length) * 2.0 / span
    return jt.where(length > 1, jt.minimum(ramp, 2 - ramp), 1.0)


@spoken
def to_one_hot(y: Any, nb_class: Any, dtype: Any = None) -> Any:
    """A row for each class number, with a one there."""
    from jitgraph.config import config

    y = as_tensor_variable(y)
    hot = jt.equal(y.dimshuffle(0, "x"), jt.arange(nb_class).dimshuffle("x", 0))
    return jt.cast(hot, dtype or config.floatX)


@spoken
def fill_diagonal(a: Any, val: Any) -> Any:
    """a with a value where all indices are the same."""
    a = as_tensor_variable(a)
    if a.ndim == 2:
        return fill_diagonal_offset(a, val, 0)
    places = jt.arange(a.shape[0])
    return jt.set_subtensor(a[(places,) * a.ndim], jt.cast(as_tensor_variable(val), a.dtype))


@spoken
def fill_diagonal_offset(a: Any, val: Any, offset: Any) -> Any:
    """The matrix with a value on another diagonal."""
    a = as_tensor_variable(a)
    rows, columns = (jt.arange(a.shape[k]) for k in (a.ndim - 2, a.ndim - 1))
    on = jt.equal(columns.dimshuffle("x", 0) - rows.dimshuffle(0, "x"), offset)
    return jt.where(on, jt.cast(as_tensor_variable(val), a.dtype), a)


@spoken
def unravel_index(indices: Any, dims: Any, order: str = "C", ndim: Any = None) -> Any:
    """Flat indices as one index for each axis."""
    step = 1 if order == "C" else -1
    return jt.unravel_index(indices, dims[::step])[::step]


@spoken
def ravel_multi_index(multi_index: Any, dims: Any, mode: str = "raise", order: str = "C") -> Any:
    """One index for each axis as flat indices."""
    if order == "F":
        multi_index, dims = multi_index[::-1], dims[::-1]
    return jt.ravel_multi_index(multi_index, dims, mode)


def broadcast_shape_iter(arrays: Any) -> Any:
    """The extents of arrays that broadcast together."""
    total = as_tensor_variable(arrays[0])
    for other in arrays[1:]:
        total = total + other
    return total.shape


def cpu_contiguous(x: Any) -> Any:
    """x: arrays are in C order where that matters."""
    return as_tensor_variable(x)


def hash_from_ndarray(data: Any) -> str:
    """A hash of an array."""
    array = np.ascontiguousarray(data)
    return hashlib.sha256(repr((array.dtype, array.shape)).encode() + array.tobytes()).hexdigest()


def shape_of_variables(fgraph: Any, input_shapes: Any) -> dict[Any, Any]:
    """The shapes of all variables of a graph, for shapes of its inputs."""
    from jitgraph.theano.functions import function

    variables = [v for v in fgraph.variables if v.literal is None]
    probe = function(list(fgraph.inputs), [v.shape.vector() for v in variables],
                     on_unused_input="ignore")  # fmt: skip
    given = [np.ones(input_shapes[v], v.type.dtype) for v in fgraph.inputs]
    return {v: tuple(int(n) for n in s) for v, s in zip(variables, probe(*given), strict=True)}
