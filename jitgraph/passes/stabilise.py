"""Stabilise: the formulas a user wrote => forms whose gradients are good numbers too.

    log(1 + exp(x)) => softplus(x)      log(softmax(x)) => log_softmax(x)

Runs before differentiation: the derivative of log(sigmoid(x)) as written is 0/0 for small x, that
of -softplus(-x) is sigmoid(-x).
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgraph.ir.builder import Builder
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import AsWritten, building_with
from jitgraph.ir.ops.movement import broadcast_to, dims
from jitgraph.ir.values import Op, Value, topological
from jitgraph.passes.rules.registry import stabilising_rules
from jitgraph.passes.rules.rule import Apply, Equation, Rule


def stabilised(values: Sequence[Value], stop: set[Value]) -> list[Value]:
    """The values with every unstable formula replaced.

    What holds no such formula stays the same object, and values in `stop` are not looked into.
    """
    new: dict[Value, Value] = {}
    emitter = AsWritten()
    with building_with(emitter):
        for value in topological(values, stop=stop):
            op = value.op
            if op is None or value in stop:
                new[value] = value
                continue
            emitter.location = op.location
            args = tuple(new[a] for a in op.args)
            moved = any(a is not b for a, b in zip(args, op.args, strict=True))
            made = emitter.emit(op.definition, args, op.attrs) if moved else value
            new[value] = _rewritten(made, stop)
    return [new[v] for v in values]


def _rewritten(value: Value, stop: set[Value]) -> Value:
    """The value by the first rule that fits, or itself."""
    op = value.op
    assert op is not None
    for rule in stabilising_rules().candidates(op.definition, op.args):
        better = _applied(rule, op, value, stop)
        if better is not None:
            return better
    return value


def _applied(rule: Rule, op: Op, value: Value, stop: set[Value]) -> Value | None:
    if not isinstance(rule, Equation):  # those that recognise composites keep the shape
        seen = _parts(op.args)
        return None if seen & stop else rule.apply(Builder(()), op.definition, op.args, op.attrs)
    found = rule.match(op.args)
    if found is None or any(_looks_into(v, op.args, stop) for v in rule.variants):
        return None
    better: Value = cast(rule.rewrite(**found), value.dtype)
    if rule.keeps_shape(found, value.type.shape):
        return better
    return broadcast_to(better, dims(value))


def _looks_into(pattern: Apply, args: Sequence[Value], stop: set[Value]) -> bool:
    """Whether the pattern asks which op made a value in `stop`."""
    for part, arg in zip(pattern.args, args, strict=True):
        if isinstance(part, Apply) and arg.op is not None:
            same_op = arg.op.definition is part.definition
            if arg in stop or (same_op and _looks_into(part, arg.op.args, stop)):
                return True
    return False


def _parts(args: Sequence[Value]) -> set[Value]:
    """The values that make up a softmax or logsumexp written by hand."""
    parts: set[Value] = set()
    pending = list(args)
    while pending:
        value = pending.pop()
        if value.op is not None and value.op.name in _COMPOSITE_PARTS:
            parts.add(value)
            pending += value.op.args
    return parts


_COMPOSITE_PARTS = ("exp", "reduce_sum", "expand_dims", "softmax")
