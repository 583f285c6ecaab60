"""Sets as sorted arrays: how many elements they have the call tells."""

from __future__ import annotations

from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops.arithmetic import equal, logical_and, logical_not
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.movement import dims, reshape
from jitgraph.ir.ops.selection import compress
from jitgraph.ir.ops.sorting import sort
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, constant, promoted, public
from jitgraph.tensor.sorting import unique


def _flat(x: ArrayLike) -> Value:
    return reshape(as_tensor(x), (-1,))


def _merged(a: ArrayLike, b: ArrayLike) -> tuple[Value, Value]:
    """The elements of two sets in order, and whether each equals the one before it (there is a
    false in front)."""
    own = [unique(_flat(x)) for x in (a, b)]  # type: ignore[no-untyped-call]
    both = sort(concatenate(promoted(own), 0))
    pairs = dims(both)[0] - (dims(both)[0] > 0)
    equals = equal(slice_axis(both, 0, dims(both)[0] - pairs, pairs), slice_axis(both, 0, 0, pairs))
    front = slice_axis(constant([False]), 0, 0, dims(both)[0] - pairs)
    return both, concatenate([front, equals], 0)


@public
def union1d(ar1: ArrayLike, ar2: ArrayLike) -> Value:
    """The distinct elements of both arrays, in order."""
    both = concatenate(promoted([_flat(ar1), _flat(ar2)]), 0)
    found: Value = unique(both)  # type: ignore[no-untyped-call]
    return found


@public
def intersect1d(ar1: ArrayLike, ar2: ArrayLike) -> Value:
    """The distinct elements that are in both arrays, in order."""
    both, met = _merged(ar1, ar2)
    return compress(both, met)


@public
def setxor1d(ar1: ArrayLike, ar2: ArrayLike) -> Value:
    """The distinct elements that are in one array only, in order."""
    both, met = _merged(ar1, ar2)
    size = dims(both)[0]
    last = size - (size > 0)
    ahead = concatenate([slice_axis(met, 0, size - last, last),
                         slice_axis(constant([False]), 0, 0, size - last)], 0)  # fmt: skip
    return compress(both, logical_and(logical_not(met), logical_not(ahead)))


@public
def setdiff1d(ar1: ArrayLike, ar2: ArrayLike) -> Value:
    """The distinct elements of the first array that are not in the second, in order."""
    own: Value = unique(_flat(ar1))  # type: ignore[no-untyped-call]
    return setxor1d(own, intersect1d(own, ar2))
