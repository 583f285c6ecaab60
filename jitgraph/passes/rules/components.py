"""Short axes of known extent become so many values: coordinates, colours, the corners of a box.

    sum(d * d, axis=-1) => d[..., 0] * d[..., 0] + d[..., 1] * d[..., 1] + d[..., 2] * d[..., 2]

What is left has no short inner loop, and fuses with what surrounds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from jitgraph.ir.builder import Builder
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.opdef import OPS, Attrs, OpDef, Shape, Size, emit
from jitgraph.ir.ops.indexing import slice_
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.movement import broadcast_to, expand_dims, squeeze, transpose
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.types import is_half
from jitgraph.ir.values import Op, Value
from jitgraph.passes.fuse import EXPENSIVE, op_cost
from jitgraph.passes.rules.rule import FINITE, Rule, recipe, same

Args = tuple[Value, ...]
#: Some axes, each with the one position along it that is meant.
Places: TypeAlias = "Mapping[int, int]"

#: As many elements are combined by ops of their own.
FEW = 8
#: Axes up to this extent are taken apart where that saves computing something for each of them.
SHORT = 4
#: How far up a component is computed by itself; beyond, it is read from the whole.
_DEPTH = 16
_COMBINING = (
    "reduce_sum", "reduce_prod", "reduce_max", "reduce_peak", "reduce_min", "reduce_any",
    "reduce_all",
)  # fmt: skip


# --- one component -----------------------------------------------------------------------------
def component(builder: Builder, value: Value, places: Places, depth: int = _DEPTH) -> Value:
    """The value at these places, without their axes: cheap arithmetic is done on components. One
    element is an array of extent 1, which kernels read where it is, and no scalar."""
    if not places:
        return value
    known = builder.forms.setdefault(component, {})
    key = (value, tuple(sorted(places.items())))
    found: Value | None = known.get(key)
    if found is None:
        found = known[key] = _component(builder, value, places, depth)
    return found


def _component(builder: Builder, value: Value, places: Places, depth: int) -> Value:
    op = value.op
    if op is not None and depth:
        if op.name == "broadcast_to":
            inside = _operand(builder, op.args[0], value, places)
            if inside is not None:
                return _of_broadcast(builder, op.args[0], value, places, inside, depth)
        if op.name == "expand_dims":
            return _of_expanded(builder, op, value, places, depth)
        if op.name == "transpose":
            return _of_transposed(builder, op, places, depth)
        cheap = isinstance(op.definition, Elementwise) and op_cost(value) < EXPENSIVE
        if cheap or op.name == "cast":
            parts = [_operand(builder, a, value, places) for a in op.args]
            if all(p is not None for p in parts):
                made = [component(builder, a, p, depth - 1)
                        for a, p in zip(op.args, parts, strict=True) if p is not None]  # fmt: skip
                return emit(op.definition, made, **op.attrs)
    ones = (1,) * len(places)
    axes = sorted(places)
    cut = slice_(value, axes, [places[a] for a in axes], ones, ones)
    return squeeze(cut, axes[len(axes) == value.ndim :])


def _operand(builder: Builder, operand: Value, whole: Value, places: Places) -> Places | None:
    """The places in an operand that broadcasts to `whole`; None where only the call knows."""
    have, want = builder.shape(operand), builder.shape(whole)
    lead = len(want) - len(have)
    found: dict[int, int] = {}
    for axis, place in places.items():
        if axis >= lead:
            extent = have[axis - lead]
            if not same(extent, 1) and not same(extent, want[axis]):
                return None
            found[axis - lead] = 0 if same(extent, 1) else place
    return found


def _left(shape: Shape, places: Places) -> list[Size]:
    return [size for axis, size in enumerate(shape) if axis not in places]


def _of_broadcast(
    builder: Builder, inner: Value, value: Value, places: Places, inside: Places, depth: int
) -> Value:
    left = _left(builder.shape(value), places)
    return broadcast_to(component(builder, inner, inside, depth - 1), left or (1,))


def _of_expanded(builder: Builder, op: Op, value: Value, places: Places, depth: int) -> Value:
    new = op.attrs["axes"]
    old = [a for a in range(value.ndim) if a not in new]
    inside = {old.index(a): place for a, place in places.items() if a not in new}
    left = [a for a in range(value.ndim) if a not in places]
    axes = [left.index(a) for a in new if a not in places]
    inner = component(builder, op.args[0], inside, depth - 1)
    return expand_dims(inner, axes[inner.ndim > len(left) - len(axes) :])


def _of_transposed(builder: Builder, op: Op, places: Places, depth: int) -> Value:
    perm = op.attrs["perm"]
    inner = component(
        builder, op.args[0], {perm[a]: place for a, place in places.items()}, depth - 1
    )
    left = [p for a, p in enumerate(perm) if a not in places] or [0]
    return transpose(inner, [sorted(left).index(p) for p in left])


# --- the rules ---------------------------------------------------------------------------------
def _is_half(value: Value) -> bool:
    return is_half(value.dtype)  # accumulated in single precision, and rounded once


def _combine_few(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """sum(x, axis) => x[..., 0] + x[..., 1] + x[..., 2]"""
    assert isinstance(definition, Reduction)
    x, axes = args[0], attrs["axes"]
    extents = [builder.shape(x)[a] for a in axes]
    if len(axes) == x.ndim or not all(isinstance(e, int) for e in extents) or _is_half(x):
        return None
    if not 0 < math.prod(extents) <= FEW:
        return None
    total: Value | None = None
    for place in np.ndindex(*extents):
        part = component(builder, x, dict(zip(axes, place, strict=True)))
        total = part if total is None else emit(OPS[definition.combine], (total, part))
    return total


combine_few = recipe("combine-few", *_COMBINING, dtypes="biu", stage="late")(_combine_few)
combine_few_floats = recipe(
    "combine-few-floats", *_COMBINING, dtypes="fc", stage="late", reassociates=True, assumes=FINITE
)(_combine_few)


def _reduce_apart(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """sum(d * s, 0) => concatenate(sum(d[:, 0] * s, 0), sum(d[:, 1] * s, 0)), so that an s which
    is the same for all components is computed once"""
    x, axes = args[0], attrs["axes"]
    short = [a for a in range(x.ndim) if a not in axes and _is_shared(builder, x, a)]
    if not short or _is_half(x):
        return None
    axis = short[0]
    extent = builder.shape(x)[axis]
    assert isinstance(extent, int)
    inner = tuple(a - (a > axis) for a in axes)
    place = axis - sum(a < axis for a in axes)
    parts = [emit(definition, (component(builder, x, {axis: k}),), axes=inner)
             for k in range(extent)]  # fmt: skip
    return concatenate([expand_dims(p, (place,)) for p in parts], place)


def _is_shared(builder: Builder, x: Value, axis: int) -> bool:
    """Whether an axis is short and an operand of rank is computed that does not depend on it."""
    extent = builder.shape(x)[axis]
    if not isinstance(extent, int) or not 1 < extent <= SHORT:
        return False
    op = x.op
    if op is None or not isinstance(op.definition, Elementwise) or op_cost(x) >= EXPENSIVE:
        return False
    for arg in op.args:
        at = axis - x.ndim + arg.ndim
        if arg.ndim and (at < 0 or same(builder.shape(arg)[at], 1)) and _is_computed(arg):
            return True
    return False


def _is_computed(value: Value) -> bool:
    op = value.op
    while op is not None and op.name in ("expand_dims", "broadcast_to", "transpose"):
        op = op.args[0].op
    return op is not None and isinstance(op.definition, Elementwise)


_ELEMENTWISE = tuple(name for name, op in OPS.items() if isinstance(op, Elementwise))
reduce_apart = recipe(
    "reduce-apart", *_COMBINING, dtypes="biu", stage="late", over=_ELEMENTWISE
)(_reduce_apart)
reduce_apart_floats = recipe(
    "reduce-apart-floats", *_COMBINING, dtypes="fc", stage="late", over=_ELEMENTWISE,
    reassociates=True,
)(_reduce_apart)  # fmt: skip

RULES: tuple[Rule, ...] = (combine_few, combine_few_floats, reduce_apart, reduce_apart_floats)
