"""Categories, choices and permutations, under the names of `jax.random`. No gradient flows to
probabilities.
"""

# mypy: disable-error-code="no-any-return, operator"
# (Python operators on values are typed Any, or not at all.)
from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.errors import DomainError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import equal, less_equal, minimum
from jitgraph.ir.ops.exponential import log
from jitgraph.ir.ops.prefix import prefix_sum
from jitgraph.ir.ops.random import U64
from jitgraph.ir.ops.sorting import argsort
from jitgraph.ir.types import F64, I64, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import indexing, reductions
from jitgraph.tensor.operands import as_size, as_tensor, public
from jitgraph.tensor.random.bits import as_key, checked_sizes, fitted, unit, words
from jitgraph.tensor.random.continuous import gumbel
from jitgraph.tensor.random.discrete import as_integer, below


# --- categories ----------------------------------------------------------------------------------
@public
def categorical(key: ArrayLike, logits: ArrayLike, axis: int = -1, shape: Any = None) -> Value:
    """Indices along an axis of logits, each with a probability in proportion to exp(logit)."""
    values = reductions.as_float(as_tensor(logits))
    axis = normalise_axis(axis, values.ndim)
    order = [a for a in range(values.ndim) if a != axis]
    values = movement.transpose(values, [*order, axis])
    *batch, length = movement.dims(values)
    sizes = (*(batch if shape is None else checked_sizes(shape)), length)
    noise = gumbel(key, sizes, values.dtype)
    return reductions.argmax(fitted(values, sizes) + noise, axis=-1)


def _cumulated(p: ArrayLike) -> Value:
    """Running totals of probabilities along the last axis, which need not add up to 1."""
    if not isinstance(p, Value) and not np.all(np.asarray(p) >= 0):
        raise DomainError("a probability cannot be negative")
    value = as_tensor(p, F64)
    if not value.ndim:
        raise ShapeError(f"probabilities are an array, not {value.type}")
    return prefix_sum(value, value.ndim - 1)


def _category(u: Value, totals: Value) -> Value:
    """The index of each u in [0, 1) among running totals along the last axis."""
    last = totals.ndim - 1
    place = u * indexing.getitem(totals, (Ellipsis, slice(-1, None)))
    reached = less_equal(totals, place)
    count = reductions.sum(reached, axis=reached.ndim - 1, dtype="int64")
    return minimum(count, as_size(movement.dim(totals, last)) - 1)


@public
def multinomial(
    key: ArrayLike, n: Any, p: ArrayLike, shape: Any = None, dtype: Any = "int64"
) -> Value:
    """How often each of the categories along the last axis of p comes up in n trials. The trials
    are made one by one, so n, an integer or an integer scalar variable, should not be large."""
    totals, dtype = _cumulated(p), as_integer(dtype)
    *batch, length = movement.dims(totals)
    sizes = tuple(batch) if shape is None else checked_sizes(shape)
    trials = as_size(n, "n")
    fit = fitted(totals, (*sizes, length))
    fit = fit if fit.ndim == 1 else movement.expand_dims(fit, (fit.ndim - 1,))
    own = as_key(key)
    u = movement.expand_dims(unit(own, (*sizes, trials), F64), (own.ndim + len(sizes) + 1,))
    drawn = _category(u, fit)
    classes = movement.iota(length, cls=type(u))
    hit = equal(movement.expand_dims(drawn, (drawn.ndim,)), classes)
    return reductions.sum(hit, axis=hit.ndim - 2, dtype=dtype)


@public
def choice(
    key: ArrayLike,
    a: Any,
    shape: Any = (),
    replace: bool = True,
    p: ArrayLike | None = None,
    axis: int = 0,
) -> Value:
    """Elements of a along an axis (or integers below a), with probabilities p or all as likely;
    without `replace` each at most once."""
    source = as_tensor(a)
    length = as_size(source, "a") if source.ndim == 0 else movement.dim(source, axis)
    sizes = checked_sizes(shape)
    if replace and p is None:
        span = as_tensor(length)
        picked = cast(below(as_key(key), sizes, cast(span, U64)), I64)
    elif replace:
        u = unit(as_key(key), sizes, F64)
        picked = _category(movement.expand_dims(u, (u.ndim,)), _cumulated(p))
    else:
        picked = _without_replacement(as_key(key), length, sizes, p)
    return picked if source.ndim == 0 else indexing.take(source, picked, axis)


# --- permutations --------------------------------------------------------------------------------
def _without_replacement(
    key: Value, length: Size, sizes: tuple[Size, ...], p: ArrayLike | None
) -> Value:
    count = movement.product(sizes)
    if isinstance(count, int) and isinstance(length, int) and count > length:
        raise DomainError(f"{count} elements cannot be taken from {length} without replacement")
    if p is None:
        order = argsort(words(key, (length,)), stable=True)
    else:  # the largest of logarithms with Gumbel noise
        noise = gumbel(key, (length,), "float64")
        order = argsort(-(noise + log(as_tensor(p, F64))), stable=True)
    first = indexing.getitem(order, (Ellipsis, slice(0, count)))
    return movement.reshape(first, (*movement.dims(key), *sizes))


@public
def permutation(key: ArrayLike, x: Any, axis: int = 0) -> Value:
    """x with its parts along an axis in random order, or the integers below x in random order."""
    source = as_tensor(x)
    length = as_size(source, "x") if source.ndim == 0 else movement.dim(source, axis)
    order = argsort(words(as_key(key), (length,)), stable=True)
    return order if source.ndim == 0 else indexing.take(source, order, axis)
