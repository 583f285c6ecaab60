"""Distinct elements, and sets as sorted arrays: how many elements they have the call tells."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size, emit
from jitgraph.ir.ops import sorting as ops
from jitgraph.ir.ops.arithmetic import (
    equal,
    isnan,
    logical_and,
    logical_not,
    maximum,
    minimum,
    not_equal,
)
from jitgraph.ir.ops.indexing import SCATTER_ADD, gather, slice_axis
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.movement import (
    broadcast_to,
    dim,
    dims,
    expand_dims,
    iota,
    product,
    reshape,
    transpose,
)
from jitgraph.ir.ops.prefix import prefix_sum
from jitgraph.ir.ops.selection import compress, how_many, positions
from jitgraph.ir.ops.sorting import sort
from jitgraph.ir.types import BOOL, I64, kind_of, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.control import fori_loop
from jitgraph.tensor.counting import searchsorted
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import as_tensor, constant, promoted, public


# --- distinct elements --------------------------------------------------------------------------
@public
def unique(
    ar: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The distinct elements, or along an axis the distinct parts, in ascending order; with them, as
    asked: where each is met first, for every element which one it is, how often each is met. How
    many there are the call tells. They are sorted even if that is not asked for."""
    x = as_tensor(ar)
    asked = (return_index, return_inverse, return_counts)
    if axis is not None:
        return _unique_parts(x, normalise_axis(axis, x.ndim), asked)
    flat = reshape(x, (-1,))
    order = ops.argsort(flat, stable=True) if return_index or return_inverse else None
    ordered = ops.sort(flat) if order is None else gather(flat, [order])
    first = _first_of_each(ordered, equal_nan)
    count = how_many(first)
    found = [compress(ordered, first, count), *_told(first, count, order, asked)]
    if return_inverse:
        found[1 + return_index] = reshape(found[1 + return_index], dims(x))
    return found[0] if len(found) == 1 else tuple(found)


def _unique_parts(x: Value, axis: int, asked: tuple[bool, bool, bool]) -> Any:
    """Parts are compared element by element, in C order; NaNs differ."""
    turn = [axis, *(a for a in range(x.ndim) if a != axis)]
    turned = transpose(x, turn)
    size, rest = dims(turned)[0], product(dims(turned)[1:])
    rows = reshape(turned, (size, rest))
    if x.dtype == BOOL:
        rows = cast(rows, np.int8)
    columns = transpose(rows, (1, 0))

    def by_column(k: Value, order: Value) -> Value:
        key = gather(columns, [cast(as_tensor(rest), I64) - 1 - k])
        return gather(order, [ops.argsort(gather(key, [order]), stable=True)])

    order = fori_loop(0, rest, by_column, iota(size, type(x)))
    ordered = gather(rows, [order])
    k = iota(size, type(x))
    differs = not_equal(ordered, gather(ordered, [maximum(k - 1, 0)]))
    first = reductions.any(differs, 1) | (k < 1)
    count = how_many(first)
    parts = gather(turned, [gather(order, [positions(first, count)])])
    found = [transpose(parts, [turn.index(a) for a in range(x.ndim)]),
             *_told(first, count, order, asked)]  # fmt: skip
    return found[0] if len(found) == 1 else tuple(found)


def _told(
    first: Value, count: Value, order: Value | None, asked: tuple[bool, bool, bool]
) -> list[Value]:
    """What is asked for beside the distinct elements, of where they begin in sorted order."""
    found: list[Value] = []
    return_index, return_inverse, return_counts = asked
    if return_index:
        assert order is not None
        found.append(compress(order, first, count))
    if return_inverse:
        assert order is not None
        rank = prefix_sum(cast(first, I64), 0) - 1
        found.append(emit(SCATTER_ADD, (rank * 0, rank, order)))
    if return_counts:
        size = dims(first)[0]
        starts = compress(iota(size, type(first)), first, count)
        later = slice_axis(starts, 0, minimum(count, 1), maximum(count - 1, 0))
        ends = concatenate([later, _as_vector(size, minimum(count, 1))], 0)
        found.append(ends - starts)
    return found


def _as_vector(number: Size, size: Size) -> Value:
    return broadcast_to(cast(as_tensor(number), I64), (size,))


def _first_of_each(ordered: Value, equal_nan: bool) -> Value:
    """Whether each element of a sorted vector differs from the one before it."""
    n = dims(ordered)[0]
    k = iota(n, type(ordered))
    before = gather(ordered, [maximum(k - 1, 0)])
    differs = not_equal(ordered, before)
    if equal_nan and kind_of(ordered.dtype) in "fc":
        differs = differs & ~(isnan(ordered) & isnan(before))
    return differs | (k < 1)  # type: ignore[no-any-return]


class UniqueAllResult(NamedTuple):
    """What `unique_all` gives."""

    values: Value
    indices: Value
    inverse_indices: Value
    counts: Value


class UniqueCountsResult(NamedTuple):
    """What `unique_counts` gives."""

    values: Value
    counts: Value


class UniqueInverseResult(NamedTuple):
    """What `unique_inverse` gives."""

    values: Value
    inverse_indices: Value


@public
def unique_all(x: ArrayLike) -> UniqueAllResult:
    """The distinct elements, where each is met first, for every element which one it is, and how
    often each is met. NaNs differ."""
    return UniqueAllResult(*unique(x, True, True, True, equal_nan=False))  # type: ignore[no-untyped-call]


@public
def unique_counts(x: ArrayLike) -> UniqueCountsResult:
    """The distinct elements, and how often each is met. NaNs differ."""
    return UniqueCountsResult(*unique(x, return_counts=True, equal_nan=False))  # type: ignore[no-untyped-call]


@public
def unique_inverse(x: ArrayLike) -> UniqueInverseResult:
    """The distinct elements, and for every element which one it is. NaNs differ."""
    return UniqueInverseResult(*unique(x, return_inverse=True, equal_nan=False))  # type: ignore[no-untyped-call]


@public
def unique_values(x: ArrayLike) -> Value:
    """The distinct elements, in ascending order. NaNs differ."""
    found: Value = unique(x, equal_nan=False)  # type: ignore[no-untyped-call]
    return found


# --- membership ---------------------------------------------------------------------------------
#: Among so many elements or fewer, known when the program is built, each is compared with all.
_FEW = 16


@public
def isin(
    element: ArrayLike, test_elements: ArrayLike, assume_unique: bool = False,
    invert: bool = False, *, kind: str | None = None,
) -> Value:  # fmt: skip
    """Whether each element is among the test elements (with `invert`: is not)."""
    x: Value = as_tensor(element)
    tests = _flat(test_elements)
    number = tests.type.shape[0]
    if (isinstance(number, int) and number <= _FEW) or "c" in (x.dtype.kind, tests.dtype.kind):
        found = reductions.any(equal(expand_dims(x, (x.ndim,)), tests), -1)
    else:
        # With one element more, there is one at every place that a search gives.
        x, tests = promoted([x, tests])
        known = sort(tests)
        places = minimum(searchsorted(known, x), maximum(dim(known, 0) - 1, 0))
        padded = concatenate([known, broadcast_to(cast(constant(0), x.dtype), (1,))], 0)
        found = equal(gather(padded, [places]), x) & (cast(as_tensor(dim(known, 0)), I64) > 0)
    return logical_not(found) if invert else found


# --- sets ---------------------------------------------------------------------------------------
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


def _with_index(flat: Value) -> tuple[Value, Value]:
    found, index = unique(flat, return_index=True)  # type: ignore[no-untyped-call]
    return found, index


@public
def intersect1d(
    ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """The distinct elements that are in both arrays, in order; with `return_indices` also where
    each is met first in both, flattened."""
    if not return_indices:
        both, met = _merged(ar1, ar2)
        return compress(both, met)
    first, second = promoted([_flat(ar1), _flat(ar2)])
    (a, at), (b, there) = (_with_index(v) for v in (first, second))
    met = isin(a, b)
    count = how_many(met)
    found = compress(a, met, count)
    return found, compress(at, met, count), getitem(there, searchsorted(b, found))


@public
def setxor1d(ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False) -> Value:
    """The distinct elements that are in one array only, in order."""
    both, met = _merged(ar1, ar2)
    size = dims(both)[0]
    last = size - (size > 0)
    ahead = concatenate([slice_axis(met, 0, size - last, last),
                         slice_axis(constant([False]), 0, 0, size - last)], 0)  # fmt: skip
    return compress(both, logical_and(logical_not(met), logical_not(ahead)))


@public
def setdiff1d(ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False) -> Value:
    """The distinct elements of the first array that are not in the second, in order; with
    `assume_unique` all of them, as they are."""
    if assume_unique:
        flat = _flat(ar1)
        return compress(flat, isin(flat, ar2, invert=True))
    own: Value = unique(_flat(ar1))  # type: ignore[no-untyped-call]
    both: Value = intersect1d(own, ar2)  # type: ignore[no-untyped-call]
    return setxor1d(own, both)
