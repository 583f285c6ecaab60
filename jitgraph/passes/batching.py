"""Batching: expressions of one element => the same for many elements at once, op by op.

    y = dot(x, w), x: f64[n]   =>   Y = matmul(X, w), X: f64[b, n]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitgraph.errors import BatchingError, JitgraphError, Operand
from jitgraph.ir.batching import Batch
from jitgraph.ir.opdef import AsWritten, Size, apply_op, building_with
from jitgraph.ir.ops.bundles import ITEM
from jitgraph.ir.ops.control import Control
from jitgraph.ir.types import Bundle
from jitgraph.ir.values import Op, Value, topological
from jitgraph.passes.batched_regions import Many, batched_control, walked


def batched(
    roots: Sequence[Value],
    inputs: Mapping[Value, Value],
    size: Size,
    same: Mapping[Value, Value] | None = None,
) -> list[Many]:
    """The roots for all elements, and whether they differ from element to element.

    `inputs` gives for each value that differs an array of `size` elements along its first axis, and
    `same` what stands for values that do not. What depends on none of them stays itself. Raises
    BatchingError for ops without a rule.
    """
    replaced = {v: (many, True) for v, many in inputs.items()}
    replaced.update((v, (other, False)) for v, other in (same or {}).items())
    order = topological(roots, stop=set(replaced))
    elements = _Elements(replaced, size, walked(order, roots))
    with building_with(elements.emitter):
        for value in order:
            if value not in elements.new:
                elements.emitter.location = value.location
                elements.new[value] = elements.of(value)
    return [elements.new[r] for r in roots]


class _Elements:
    """The values made so far, for all elements."""

    def __init__(self, new: dict[Value, Many], size: Size, walked: set[Value]) -> None:
        self.new, self.size, self._walked = new, size, walked
        self.emitter = AsWritten()
        #: The results of control flow, whose regions are batched as a whole.
        self._items: dict[Value, list[Many]] = {}

    def of(self, value: Value) -> Many:
        op = value.op
        if op is None:
            return value, False
        if op.definition is ITEM and op.args[0] in self._items:
            found: Many = self._items[op.args[0]][op.attrs["index"]]
            return found
        args = [self.new[a] for a in op.args]
        if any(differs for _, differs in args):
            if value in self._walked and args[-1][1]:
                return args[0]
            if isinstance(op.definition, Control):
                self._items[value] = batched_control(op, args, self.size, batched)
                return value, False
            return _applied(op, value, args, self.size)
        if all(a is b for (a, _), b in zip(args, op.args, strict=True)):
            return value, False
        return apply_op(op.definition, tuple(a for a, _ in args), op.attrs, op.location), False


def _applied(
    op: Op, value: Value, args: Sequence[tuple[Value, bool]], size: Size
) -> tuple[Value, bool]:
    rule = op.definition.batch
    operands = [Operand(a.describe(), str(a.type), a.location) for a in op.args]
    if rule is None:
        raise BatchingError(
            f"{op.name} cannot be computed for all elements of a vmap at once",
            hint="compute it outside the vmap, or loop over the elements with scan",
        ).locate(op.location, operands)
    batch = Batch(op.definition, size, tuple(differs for _, differs in args))
    try:
        made = rule(batch, *(a for a, _ in args), **op.attrs)
    except JitgraphError as error:
        raise error.locate(op.location, operands) from None
    return made, isinstance(made.type, Bundle) or made.ndim != value.ndim
