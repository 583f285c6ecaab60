"""Batching: expressions of one element => the same for many elements at once, op by op.

    y = dot(x, w), x: f64[n]   =>   Y = matmul(X, w), X: f64[b, n]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitgraph.errors import BatchingError, JitgraphError, Operand
from jitgraph.ir.batching import Batch
from jitgraph.ir.opdef import Size, apply_op, building_with
from jitgraph.ir.ops.movement import broadcast_to, dims, expand_dims
from jitgraph.ir.types import Bundle
from jitgraph.ir.values import Op, Value, topological
from jitgraph.passes.stabilise import AsWritten


def batched(
    roots: Sequence[Value], inputs: Mapping[Value, Value], size: Size
) -> list[tuple[Value, bool]]:
    """The roots for all elements, and whether they differ from element to element.

    `inputs` gives for each value that differs an array of `size` elements along its first axis.
    What depends on none of them stays itself. Raises BatchingError for ops without a rule.
    """
    new: dict[Value, tuple[Value, bool]] = {v: (many, True) for v, many in inputs.items()}
    emitter = AsWritten()
    with building_with(emitter):
        for value in topological(roots, stop=set(inputs)):
            if value not in new:
                emitter.location = value.location
                new[value] = _for_all(value, new, size)
    return [new[r] for r in roots]


def for_all_elements(made: Value, differs: bool, size: Size) -> Value:
    """A result of `batched` with the axis of the elements, which repeats what is the same."""
    if differs:
        return made
    return broadcast_to(expand_dims(made, (0,)), (size, *dims(made)))


def _for_all(
    value: Value, new: Mapping[Value, tuple[Value, bool]], size: Size
) -> tuple[Value, bool]:
    op = value.op
    if op is None:
        return value, False
    args = [new[a] for a in op.args]
    if any(differs for _, differs in args):
        return _applied(op, value, args, size)
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
