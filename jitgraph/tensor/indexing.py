"""NumPy indexing: `x[...]` as slices, gathers and new axes.

Bounds and negative indices are worked out here as i64 arithmetic (folded in Python where all is
known), so the ops below see only plain ones. What is provably out of range raises
OutOfBoundsError at the user's line; the rest is checked by the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from jitgraph.errors import DTypeError, OutOfBoundsError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import equal, maximum, minimum, where
from jitgraph.ir.ops.indexing import gather, slice_
from jitgraph.ir.types import I64, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import masks
from jitgraph.tensor.operands import as_size, as_tensor, constant, public

#: Ops whose results are never negative.
_COUNTING = frozenset({"iota", "dim", "reduce_argmax", "reduce_argmin"})
_HUGE = 1 << 62


@dataclass(frozen=True, slots=True)
class Span:
    """An axis kept, from start by step; `whole` where nothing is cut."""

    start: Size
    size: Size
    step: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """An axis dropped: the element at an index known to be inside."""

    index: int


@dataclass(frozen=True, slots=True)
class Positions:
    """An axis read at indices (an i64 value of any rank, negative ones resolved)."""

    indices: Value


Item: TypeAlias = "Span | Position | Positions | None"


@public
def getitem(x: ArrayLike, key: Any) -> Value:
    """x[key] with NumPy's meaning: integers, slices, None, Ellipsis, integer arrays and
    boolean masks, all of which may be symbolic.

    Raises OutOfBoundsError for an index known to be outside or too many indices, DTypeError for
    what is no index, ShapeError for a slice step of 0.
    """
    x = as_tensor(x)
    if isinstance(key, Value) and key.dtype.kind == "b" and 0 < key.ndim <= x.ndim:
        return masks.read(x, key)
    x, entries = _entries(x, key)
    x, entries = _without_symbolic_steps(x, entries)
    return _read(x, _items(x, entries))


def parsed(x: Value, key: Any) -> tuple[Value, list[Item]]:
    """What a key selects, axis by axis, of x, which gets an axis for every `True` or `False`."""
    x, entries = _entries(x, key)
    if any(isinstance(e, slice) and isinstance(_step(e), Value) for e in entries):
        raise DTypeError("what is written to cannot have a symbolic step", hint="write at indices")
    return x, _items(x, entries)


def _entries(x: Value, key: Any) -> tuple[Value, list[Any]]:
    entries = [_entry(e) for e in (key if isinstance(key, tuple) else (key,))]
    return _without_masks(x, _spread(x, entries))


def _items(x: Value, entries: Sequence[Any]) -> list[Item]:
    axes = iter(range(x.ndim))
    return [None if e is None else _item(e, x, next(axes)) for e in entries]


# --- entries of the key ------------------------------------------------------------------------
def _entry(given: Any) -> Any:
    """One entry as None, Ellipsis, slice, int, integer array, mask, or symbolic index."""
    if given is None or given is Ellipsis or isinstance(given, slice):
        return given
    if isinstance(given, bool | np.bool_):
        return np.asarray(given)
    if hasattr(given, "__index__") and not isinstance(given, Value | np.ndarray):
        return int(given.__index__())
    if isinstance(given, list | tuple) and not len(given):
        return np.zeros(0, np.int64)
    value = as_tensor(given)
    if value.literal is not None:
        array = value.literal.array
        if array.dtype.kind in "iu":
            return int(array) if not array.ndim else array.astype(np.int64)
        if array.dtype.kind == "b":
            return array
    if value.dtype.kind == "b" and value.ndim:
        return value
    if value.dtype.kind not in "iu":
        raise DTypeError(f"an index must be an integer, not {value.type}")
    return value


def _consumed(entry: Any) -> int:
    """How many axes an entry stands for."""
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if _is_mask(entry) else 1


def _is_mask(entry: Any) -> bool:
    return isinstance(entry, np.ndarray | Value) and entry.dtype.kind == "b"


def _spread(x: Value, entries: Sequence[Any]) -> list[Any]:
    """Entries with the Ellipsis, or what is missing at the end, written as full slices."""
    places = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(places) > 1:
        raise OutOfBoundsError("an index can have only one Ellipsis")
    missing = x.ndim - sum(map(_consumed, entries))
    if missing < 0:
        raise OutOfBoundsError(f"too many indices: {x.ndim - missing} for {x.type}")
    place = places[0] if places else len(entries)
    return [*entries[:place], *[slice(None)] * missing, *entries[place + 1 :]]


def _without_masks(x: Value, entries: list[Any]) -> tuple[Value, list[Any]]:
    """Masks => the positions where they are true, one index array per axis. One that is a single
    `True` or `False` has a new axis, of which it takes all or nothing."""
    plain: list[Any] = []
    for entry in entries:
        axis = sum(e is not None for e in plain)
        if _is_mask(entry) and not entry.ndim:
            x = movement.expand_dims(x, (axis,))
            plain.append(np.zeros(int(entry), np.int64))
        elif _is_mask(entry):
            symbolic = isinstance(entry, Value)
            for i, size in enumerate(movement.dims(entry) if symbolic else entry.shape):
                x = _with_extent(x, axis + i, size)
            plain += masks.places(entry) if symbolic else entry.nonzero()
        else:
            plain.append(entry)
    return x, plain


def _with_extent(x: Value, axis: int, size: Size) -> Value:
    """x, whose extent along an axis must be `size`: a reshape is checked by the call."""
    known = x.type.shape[axis]
    if isinstance(known, int) and isinstance(size, int) and known != size:
        raise OutOfBoundsError(f"a mask of extent {size} does not fit axis {axis} of {x.type}")
    sizes = movement.dims(x)
    return movement.reshape(x, (*sizes[:axis], size, *sizes[axis + 1 :]))


def _item(entry: Any, x: Value, axis: int) -> Span | Position | Positions:
    extent = movement.dim(x, axis)
    if isinstance(entry, slice):
        return _span(entry, extent)
    if isinstance(entry, int):
        if isinstance(extent, int):
            return Position(int(_inside(np.asarray(entry), extent, axis)))
        return Positions(as_tensor(entry + extent if entry < 0 else entry, I64))
    if isinstance(entry, np.ndarray):
        if isinstance(extent, int):
            return Positions(constant(_inside(entry, extent, axis)))
        return Positions(resolved(constant(entry), extent))
    return Positions(resolved(entry, extent))


def _inside(index: np.ndarray[Any, Any], extent: int, axis: int) -> np.ndarray[Any, Any]:
    """Known indices counted from the front; raises OutOfBoundsError naming the first bad one."""
    bad = index[(index < -extent) | (index >= extent)]
    if bad.size:
        raise OutOfBoundsError(
            f"index {int(bad[0])} is out of bounds for axis {axis} with size {extent}"
        )
    return np.where(index < 0, index + extent, index)


def resolved(index: Value, extent: Size) -> Value:
    """Indices counted from the front: negative ones get the extent added."""
    counted = index.dtype.kind == "u" or (index.op is not None and index.op.name in _COUNTING)
    literal = index.literal
    index = cast(index, I64)
    if counted or (literal is not None and bool((literal.array >= 0).all())):
        return index
    return where(index < 0, index + extent, index)  # type: ignore[no-any-return]


# --- slices ------------------------------------------------------------------------------------
def _span(given: slice, extent: Size) -> Span:
    """Where a slice starts and how many elements it has, by the rule of `slice.indices`."""
    step = _step(given)
    assert isinstance(step, int)
    if step == 0:
        raise ShapeError("a slice step cannot be 0")
    step = max(-_HUGE, min(step, _HUGE))  # longer ones lead as far, and sums with them overflow
    start, stop = _bound(given.start), _bound(given.stop)
    if all(not isinstance(b, Value) for b in (start, stop, extent)):
        numbers = range(*slice(start, stop, step).indices(extent))  # type: ignore[arg-type]
        return Span(numbers.start, len(numbers), step, numbers == range(extent))  # type: ignore[arg-type]
    if start is None and stop is None and abs(step) == 1:
        return Span(0 if step > 0 else extent - 1, extent, step, step > 0)
    first = _clamped(start, extent, step, first=True)
    last = _clamped(stop, extent, step, first=False)
    return Span(first, _count(first, last, step, never_empty=None in (start, stop)), step)


def _step(given: slice) -> Size:
    return 1 if given.step is None else as_size(given.step, "a slice step")


def _without_symbolic_steps(x: Value, entries: list[Any]) -> tuple[Value, list[Any]]:
    """Slices by a step that only the call knows => reads at computed positions."""
    plain: list[Any] = []
    for entry in entries:
        if isinstance(entry, slice) and isinstance(_step(entry), Value):
            x = _stepped(x, sum(e is not None for e in plain), entry)
            entry = slice(None)
        plain.append(entry)
    return x, plain


def _stepped(x: Value, axis: int, given: slice) -> Value:
    """x[start:stop:step] along an axis, whichever way the step leads; a step of 0 fails the call
    as a negative number of elements would."""
    step, extent = _step(given), movement.dim(x, axis)
    start, stop = _bound(given.start), _bound(given.stop)

    def bound(b: Size | None, first: bool) -> Value:
        up, down = (_clamped(b, extent, way, first=first) for way in (1, -1))
        return where(step > 0, up, down)  # type: ignore[no-any-return]

    first, last = bound(start, True), bound(stop, False)
    count = where(equal(step, 0), -1, maximum(-((first - last) // step), 0))
    order = [axis, *(a for a in range(x.ndim) if a != axis)]
    read = gather(movement.transpose(x, order), [first + movement.iota(count) * step])
    return movement.transpose(read, [order.index(a) for a in range(x.ndim)])


def _bound(given: Any) -> Size | None:
    if given is None:
        return None
    found = as_size(given, "a slice bound")
    return found if isinstance(found, Value) else max(-_HUGE, min(found, _HUGE))


def _clamped(bound: Size | None, extent: Size, step: int, *, first: bool) -> Size:
    """A bound as a position: 0..extent going up, -1..extent-1 going down."""
    lowest, highest = (0, extent) if step > 0 else (-1, extent - 1)
    if bound is None:
        return lowest if first == (step > 0) else highest
    if isinstance(bound, Value):
        return where(  # type: ignore[no-any-return]
            bound < 0, _largest(bound + extent, lowest), _least(bound, highest)
        )
    if bound < 0:
        return _largest(bound + extent, lowest)
    return 0 if bound == 0 and step > 0 else _least(bound, highest)


def _count(first: Size, last: Size, step: int, *, never_empty: bool) -> Size:
    """How many steps lead from first to before last."""
    if isinstance(first, int) and first == 0 and step == 1:
        return last
    span = last - first if step > 0 else first - last
    if abs(step) != 1:
        span = (span + (abs(step) - 1)) // abs(step)
    # With one end left open a clamped bound cannot lie beyond it.
    return span if never_empty else _largest(span, 0)


def _least(a: Size, b: Size) -> Size:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else minimum(a, b)


def _largest(a: Size, b: Size) -> Size:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else maximum(a, b)


# --- reading -----------------------------------------------------------------------------------
def cuts_of(items: Sequence[Item]) -> list[tuple[int, Size, Size, int]]:
    """Axis, start, size and step of every slice that is not the whole axis."""
    return [
        (axis, item.start, item.size, item.step) if isinstance(item, Span)
        else (axis, item.index, 1, 1)
        for axis, item in enumerate(i for i in items if i is not None)
        if isinstance(item, Position) or (isinstance(item, Span) and not item.whole)
    ]  # fmt: skip


def fixed_axes(items: Sequence[Item]) -> list[int]:
    """The axes at one known position."""
    return [a for a, i in enumerate(i for i in items if i is not None) if isinstance(i, Position)]


def new_axes(items: Sequence[Item]) -> list[int]:
    """Where basic indexing puts new axes."""
    left = [i for i in items if not isinstance(i, Position)]
    return [place for place, item in enumerate(left) if item is None]


def _read(x: Value, items: Sequence[Item]) -> Value:
    """Slices first, which are views; then what is gathered; then new axes."""
    cuts = cuts_of(items)
    if cuts:
        x = slice_(x, *zip(*cuts, strict=True))
    x = movement.squeeze(x, fixed_axes(items))
    if any(isinstance(i, Positions) for i in items):
        way = gathering(items)
        y = gather(movement.transpose(x, way.turned), way.indices)
        return movement.expand_dims(movement.transpose(y, way.order), way.new)
    return movement.expand_dims(x, new_axes(items))


@dataclass(frozen=True, slots=True)
class Gathering:
    """How index arrays are read: of x with its axes `turned`, so that those with indices lead; what
    this gives is put in `order`, and gets `new` axes."""

    turned: list[int]
    indices: list[Value]
    order: list[int]
    new: list[int]


def gathering(items: Sequence[Item]) -> Gathering:
    """For index arrays into x without the axes of fixed positions. The dimensions they give come
    where NumPy puts them: in place of the indices if those stand together, else in front."""
    axes = [i for i in items if isinstance(i, Span | Positions)]
    read = [a for a, item in enumerate(axes) if isinstance(item, Positions)]
    kept = [a for a, item in enumerate(axes) if isinstance(item, Span)]
    indices = [item.indices for item in axes if isinstance(item, Positions)]
    rank = max(i.ndim for i in indices)
    front = _kept_in_front(items)
    lead, rest = list(range(rank)), list(range(rank, rank + len(kept)))
    ahead = sum(isinstance(i, Span) for i in items[:front])
    order = rest[:ahead] + lead + rest[ahead:]
    return Gathering(read + kept, indices, order, list(_new_axes(items, front, rank)))


def _kept_in_front(items: Sequence[Item]) -> int:
    """How many items stand before the dimensions of the index arrays. An integer beside an index
    array is an index array of rank 0."""
    places = [p for p, i in enumerate(items) if isinstance(i, Position | Positions)]
    together = places[-1] - places[0] + 1 == len(places)
    return places[0] if together else 0


def _new_axes(items: Sequence[Item], front: int, rank: int) -> Iterator[int]:
    """Positions in the result of the new axes that None asks for."""
    position = 0
    for place, item in enumerate((*items, None)):
        if place == front:
            position += rank
        if place < len(items) and item is None:
            yield position
        if item is None or isinstance(item, Span):
            position += 1


@public
def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None) -> Value:
    """Elements of x at integer indices along an axis, or of x flattened. As `x[..., indices]`."""
    x = as_tensor(x)
    if axis is None:
        return getitem(movement.reshape(x, (-1,)), indices)
    lead = normalise_axis(axis, x.ndim)
    return getitem(x, (*(slice(None),) * lead, as_tensor(indices)))
