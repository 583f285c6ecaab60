"""Arrays with some elements changed: `x.at[key].set(v)`, `T.set_subtensor(x[key], v)`.

Nothing is written in place as far as anybody can see: the result is a new array, for which the
compiler uses the old one's memory where nobody else wants that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Shape, emit, split_sizes
from jitgraph.ir.ops import arithmetic, movement
from jitgraph.ir.ops.indexing import ADD_SLICE, SET_SLICE, gather, scatter, slice_
from jitgraph.ir.types import BOOL, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.indexing import (
    Item,
    Positions,
    cuts_of,
    fixed_axes,
    gathering,
    getitem,
    new_axes,
    parsed,
    resolved,
)
from jitgraph.tensor.masks import check_mask
from jitgraph.tensor.operands import as_tensor, public

#: How what is written meets what is there.
_COMBINING: dict[str, Callable[..., Any]] = {
    "add": arithmetic.add, "multiply": arithmetic.multiply, "maximum": arithmetic.maximum,
    "minimum": arithmetic.minimum,
}  # fmt: skip


class At:
    """`x.at`, which takes a key."""

    def __init__(self, x: Value) -> None:
        self._x = x

    def __getitem__(self, key: Any) -> Place:
        return Place(self._x, key)


class Place:
    """`x.at[key]`: each method gives a new array, like x but for the elements `x[key]`.

    Where index arrays name an element twice, `set` keeps what comes last, the others combine all.
    Values broadcast to the shape of `x[key]` and are cast to x's dtype. Indices outside raise
    OutOfBoundsError.
    """

    def __init__(self, x: Value, key: Any) -> None:
        self._x, self._key = x, key

    def get(self) -> Value:
        """x[key]."""
        return getitem(self._x, self._key)

    def set(self, values: ArrayLike) -> Value:
        """The elements replaced."""
        return written(self._x, self._key, values, "set")

    def add(self, values: ArrayLike) -> Value:
        """values added to the elements."""
        return written(self._x, self._key, values, "add")

    def subtract(self, values: ArrayLike) -> Value:
        """values subtracted from the elements."""
        return written(self._x, self._key, arithmetic.negative(as_tensor(values)), "add")

    def multiply(self, values: ArrayLike) -> Value:
        """The elements multiplied by values."""
        return written(self._x, self._key, values, "multiply")

    mul = multiply

    def divide(self, values: ArrayLike) -> Value:
        """The elements divided by values."""
        inverse = arithmetic.reciprocal(cast(as_tensor(values), self._x.dtype))
        return written(self._x, self._key, inverse, "multiply")

    def min(self, values: ArrayLike) -> Value:
        """The smaller of elements and values."""
        return written(self._x, self._key, values, "minimum")

    def max(self, values: ArrayLike) -> Value:
        """The larger of elements and values."""
        return written(self._x, self._key, values, "maximum")

    def power(self, values: ArrayLike) -> Value:
        """The elements to the power of values, which counts once for an element named twice."""
        return self.set(self.get() ** as_tensor(values))

    def apply(self, function: Callable[[Any], Any]) -> Value:
        """What a function makes of the elements, once for an element named twice."""
        return self.set(function(self.get()))


# --- writing -----------------------------------------------------------------------------------
@public
def written(x: ArrayLike, key: Any, values: ArrayLike, combine: str) -> Value:
    """x with values set, or combined with what is there, at x[key]; `combine` is "set", "add",
    "multiply", "maximum" or "minimum"."""
    x, given = as_tensor(x), as_tensor(values)
    if given.dtype.kind == "c" and x.dtype.kind != "c":
        raise DTypeError(f"{given.type} cannot be written into {x.type}")
    value: Value = as_tensor(values, x.dtype) if type(values) is int else cast(given, x.dtype)
    mask = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if isinstance(mask, Value) and mask.dtype == BOOL and mask.literal is None and (
        mask.ndim and value.ndim <= x.ndim - mask.ndim
    ):
        return _where(x, mask, value, combine)
    base, items = parsed(x, key)
    value = _fitted(value, movement.dims(getitem(x, key)))
    if any(isinstance(i, Positions) for i in items):
        made = _scattered(base, items, value, combine)
    else:
        value = movement.squeeze(value, new_axes(items))
        made = _into_slice(base, items, value, combine)
    return made if made.ndim == x.ndim else movement.reshape(made, movement.dims(x))


def _where(x: Value, mask: Value, value: Value, combine: str) -> Value:
    """A symbolic mask over the leading axes, and one value for all the rows it takes."""
    check_mask(x, mask)
    made = value if combine == "set" else _COMBINING[combine](x, value)
    shown = movement.expand_dims(mask, range(mask.ndim, x.ndim))
    return arithmetic.where(shown, made, x)  # type: ignore[no-any-return]


def _fitted(value: Value, shape: Shape) -> Value:
    """A value of the shape it is written to; leading axes of extent 1 too many are dropped."""
    more = value.ndim - len(shape)
    return movement.broadcast_to(movement.squeeze(value, range(max(more, 0))), shape)


def _into_slice(x: Value, items: Sequence[Item], value: Value, combine: str) -> Value:
    """Basic indexing; `value` has the axes that are kept."""
    cuts = cuts_of(items)
    value = movement.expand_dims(value, fixed_axes(items))
    if not cuts:
        return value if combine == "set" else _COMBINING[combine](x, value)
    if combine not in ("set", "add") or (combine == "add" and x.dtype == BOOL):
        value = _COMBINING[combine](slice_(x, *zip(*cuts, strict=True)), value)
        combine = "set"
    axes, starts, sizes, steps = zip(*cuts, strict=True)
    (known_starts, moving), (known_sizes, unknown) = split_sizes(starts), split_sizes(sizes)
    return emit(
        SET_SLICE if combine == "set" else ADD_SLICE, (x, value, *moving, *unknown),
        axes=axes, starts=known_starts, sizes=known_sizes, steps=steps,
    )  # fmt: skip


def _scattered(x: Value, items: Sequence[Item], value: Value, combine: str) -> Value:
    """Index arrays, into the part of x that the slices beside them leave."""
    cuts, fixed, way = cuts_of(items), fixed_axes(items), gathering(items)
    part = movement.squeeze(slice_(x, *zip(*cuts, strict=True)) if cuts else x, fixed)
    value = movement.squeeze(value, way.new)
    value = movement.transpose(value, _inverse(way.order))
    turned = movement.transpose(part, way.turned)
    made = movement.transpose(scatter(turned, value, way.indices, combine), _inverse(way.turned))
    return _into_slice(x, items, made, "set") if cuts else made


def _inverse(order: Sequence[int]) -> list[int]:
    return [list(order).index(k) for k in range(len(order))]


# --- Theano's names ----------------------------------------------------------------------------
def _indexed(x: Value) -> tuple[Value, Any]:
    """What was indexed, and by what, to make x; x itself is its own `x[...]`."""
    return getattr(x, "indexed", (x, Ellipsis))


@public
def set_subtensor(x: Value, y: ArrayLike) -> Value:
    """`set_subtensor(a[key], y)` is a with the elements `a[key]` replaced by y."""
    return written(*_indexed(x), y, "set")


@public
def inc_subtensor(x: Value, y: ArrayLike) -> Value:
    """`inc_subtensor(a[key], y)` is a with y added to the elements `a[key]`; an element that index
    arrays name twice gets both."""
    return written(*_indexed(x), y, "add")


# --- along one axis ----------------------------------------------------------------------------
def _along(x: Value, indices: ArrayLike, axis: int) -> list[Value]:
    """An index array for every axis of x: along `axis` the one given, along others all."""
    wanted = as_tensor(indices)
    if wanted.dtype.kind not in "iu":
        raise DTypeError(f"indices must be integers, not {wanted.type}")
    if wanted.ndim != x.ndim:
        raise ShapeError(f"indices {wanted.type} and {x.type} must have as many dimensions")
    every = []
    for k in range(x.ndim):
        counter = movement.iota(movement.dim(x, k), cls=type(x))
        others = [j for j in range(x.ndim) if j != k]
        every.append(resolved(wanted, movement.dim(x, k)) if k == axis
                     else movement.expand_dims(counter, others))  # fmt: skip
    return every


@public
def take_along_axis(arr: ArrayLike, indices: ArrayLike, axis: int | None = -1) -> Value:
    """For each place of `indices` the element of its own row (or column, ...) along the axis, at
    that index; axis=None takes from the flattened array."""
    x: Value = as_tensor(arr)
    if axis is None:
        x, axis = movement.reshape(x, (-1,)), 0
    return gather(x, _along(x, indices, normalise_axis(axis, x.ndim)))


@public
def put_along_axis(
    arr: ArrayLike, indices: ArrayLike, values: ArrayLike, axis: int | None
) -> Value:
    """arr with values where `take_along_axis` would read, as a new array."""
    x = as_tensor(arr)
    flat = movement.reshape(x, (-1,)) if axis is None else x
    places = _along(flat, indices, normalise_axis(0 if axis is None else axis, flat.ndim))
    shape = movement.dims(gather(flat, places))
    made = scatter(flat, _fitted(cast(as_tensor(values), x.dtype), shape), places, "set")
    return made if axis is not None else movement.reshape(made, movement.dims(x))
