"""Rewrites of what is computed from elements chosen by a mask: over all elements instead, with the
mask inside, it fuses and needs no memory."""

from __future__ import annotations

import numpy as np

from jitgraph.ir.builder import Builder
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.opdef import Attrs, OpDef, constant, emit
from jitgraph.ir.ops.arithmetic import where
from jitgraph.ir.ops.movement import broadcast_to
from jitgraph.ir.ops.reduction import Reduction, neutral
from jitgraph.ir.values import Op, Value
from jitgraph.passes.rules.rule import FINITE, Rule, recipe

Args = tuple[Value, ...]
#: How deep the chosen elements may lie below what is computed from them.
_DEPTH = 12
_COMBINING = (
    "reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all",
)  # fmt: skip


def _is_arithmetic(op: Op) -> bool:
    """Whether elements that nobody has chosen may be computed as well: they cannot fail."""
    definition = op.definition
    return definition.name == "cast" or (
        isinstance(definition, Elementwise) and definition.requires is None
    )


def _selection(value: Value, depth: int = _DEPTH) -> Op | None:
    """The `compress` whose elements the value is computed from, or one of them."""
    op = value.op
    if op is None or not depth or value.ndim != 1:
        return None
    if op.definition.name == "compress":
        return op
    if not _is_arithmetic(op):
        return None
    found = (_selection(a, depth - 1) for a in op.args)
    return next((f for f in found if f is not None), None)


def _everywhere(
    value: Value, mask: Value, known: dict[Value, Value | None], depth: int = _DEPTH
) -> Value | None:
    """What the value is chosen from by the mask: computed for all elements; None if it is not."""
    if value not in known:
        known[value] = _computed_everywhere(value, mask, known, depth)
    return known[value]


def _computed_everywhere(
    value: Value, mask: Value, known: dict[Value, Value | None], depth: int
) -> Value | None:
    op = value.op
    if value.ndim == 0:
        return value
    if op is None or not depth:
        return None
    if op.definition.name == "compress":
        return op.args[0] if op.args[1] is mask else None
    if op.definition.name == "broadcast_to":
        return op.args[0] if op.args[0].ndim == 0 else None
    if not _is_arithmetic(op):
        return None
    args = [_everywhere(a, mask, known, depth - 1) for a in op.args]
    if any(a is None for a in args):
        return None
    return emit(op.definition, [a for a in args if a is not None], **op.attrs)


def _lifted(value: Value) -> tuple[Value, Value] | None:
    """(what the value is chosen from, the mask), if it is computed from chosen elements."""
    selection = _selection(value)
    if selection is None:
        return None
    whole = _everywhere(value, selection.args[1], {})
    return None if whole is None else (whole, selection.args[1])


def _over_all(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """reduce(compress(x, mask)) => reduce(where(mask, x, neutral element))"""
    assert isinstance(definition, Reduction)
    found = _lifted(args[0]) if attrs["axes"] else None
    if found is None:
        return None
    whole, mask = found
    none = constant(np.asarray(neutral(definition.combine, whole.dtype), whole.dtype))
    kept = where(mask, whole, none)
    return emit(definition, (kept,), axes=tuple(range(mask.ndim)))


# The sum of nothing but -0.0 is 0.0 here.
sum_of_selection = recipe("sum-of-selection", "reduce_sum", dtypes="fc", reassociates=True,
                          assumes=FINITE)(_over_all)  # fmt: skip
reduction_of_selection = recipe(
    "reduction-of-selection", *_COMBINING, dtypes="biu"
)(_over_all)
extremum_of_selection = recipe(
    "extremum-of-selection", "reduce_max", "reduce_min", "reduce_prod", dtypes="f",
    reassociates=True,
)(_over_all)  # fmt: skip


@recipe("expand-of-selection", "expand")
def expand_of_selection(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """expand(f(compress(x, mask)), mask) => where(mask, f(x), 0)"""
    mask = args[1]
    whole = _everywhere(args[0], mask, {})
    if whole is None:
        return None
    chosen = where(mask, whole, constant(np.zeros((), whole.dtype)))
    return chosen if chosen.ndim == mask.ndim else broadcast_to(chosen, builder.shape(mask))


RULES: tuple[Rule, ...] = (
    sum_of_selection, reduction_of_selection, extremum_of_selection, expand_of_selection,
)  # fmt: skip
