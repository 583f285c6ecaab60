"""Functions of neural networks, under Theano's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jitgraph.errors import ShapeError
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import movement, normalisation
from jitgraph.ir.ops.arithmetic import multiply, negative
from jitgraph.ir.ops.exponential import log
from jitgraph.ir.ops.reduction import sum_
from jitgraph.ir.types import normalise_axes
from jitgraph.ir.values import Value
from jitgraph.tensor import indexing
from jitgraph.tensor.convolution import (
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    images2neibs,
    pool_2d,
    pool_3d,
)
from jitgraph.tensor.math import FUNCTIONS, relu
from jitgraph.tensor.operands import Axis, as_tensor, public
from jitgraph.tensor.reductions import as_float

if TYPE_CHECKING:
    from collections.abc import Callable

    from jitgraph.tensor.variable import Variable

__all__ = [
    "binary_crossentropy", "categorical_crossentropy", "conv1d", "conv2d", "conv2d_transpose",
    "conv3d", "images2neibs", "log_softmax", "logsoftmax", "pool_2d", "pool_3d", "relu", "sigmoid",
    "softmax", "softplus",
]  # fmt: skip

sigmoid: Callable[[ArrayLike], Variable] = FUNCTIONS["sigmoid"]
softplus: Callable[[ArrayLike], Variable] = FUNCTIONS["softplus"]


@public
def softmax(x: ArrayLike, axis: Axis = -1) -> Value:
    """exp(x) / sum(exp(x)) along axis (an integer, a tuple, or None for all), without overflow.
    Integers become float64."""
    x = as_float(as_tensor(x))
    return normalisation.softmax(x, normalise_axes(axis, x.ndim))


@public
def log_softmax(x: ArrayLike, axis: Axis = -1) -> Value:
    """log(softmax(x)) without underflow. Integers become float64."""
    x = as_float(as_tensor(x))
    return normalisation.log_softmax(x, normalise_axes(axis, x.ndim))


#: Theano's name.
logsoftmax = log_softmax


@public
def binary_crossentropy(output: ArrayLike, target: ArrayLike) -> Value:
    """-(target·log(output) + (1 - target)·log(1 - output)), element by element."""
    p, t = as_tensor(output), as_tensor(target)
    return -(t * log(p) + (1 - t) * log(1 - p))  # type: ignore[no-any-return]


@public
def categorical_crossentropy(coding_dist: ArrayLike, true_dist: ArrayLike) -> Value:
    """The cross-entropy of each row of coding_dist[n, k], as a vector of n.

    true_dist: as many distributions [n, k], or the n classes as an integer vector.
    Raises ShapeError for other ranks.
    """
    p, t = as_tensor(coding_dist), as_tensor(true_dist)
    if t.ndim == p.ndim and p.ndim:
        return negative(sum_(multiply(t, log(p)), (p.ndim - 1,)))  # type: ignore[no-any-return]
    if p.ndim != 2 or t.ndim != 1 or t.dtype.kind not in "iu":
        raise ShapeError(
            f"{t.type} says nothing about the classes of {p.type}",
            hint="give distributions of the same rank, or an integer vector of classes",
        )
    rows = movement.iota(movement.dim(t, 0), cls=type(p))
    return negative(indexing.getitem(log(p), (rows, t)))  # type: ignore[no-any-return]
