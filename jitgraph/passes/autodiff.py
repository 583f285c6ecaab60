"""Reverse-mode differentiation, graph to graph, so that gradients of gradients are nothing special.

    y = exp(x); cost = sum(y)    =>    g = broadcast(1); dx = g * y

Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., section 3.2 (incremental reverse).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import GradientError, Operand
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.opdef import constant
from jitgraph.ir.ops.bundles import ITEM
from jitgraph.ir.ops.control import Control
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.ops.marks import alias
from jitgraph.ir.ops.movement import dims, sum_to
from jitgraph.ir.types import Bundle
from jitgraph.ir.values import Value, topological
from jitgraph.passes.adjoint_regions import pulled_back_through


def gradients(
    cost: Value, wrt: Sequence[Value], consider_constant: Collection[Value] = ()
) -> list[Value | None]:
    """The adjoint of each value of `wrt`, of its type; None where the cost does not depend on it.

    Where it does, but only through steps (floor, a comparison, an integer), the adjoint is zero.
    Nothing flows through values in `consider_constant`. The cost is stabilised first: the
    derivative of log(softmax(x)) as written is 0/0 where the softmax underflows.
    Raises GradientError if an op on the way has no gradient.
    """
    one = constant(np.ones((), cost.dtype), cls=type(cost))
    return pulled_back([cost], [one], wrt, consider_constant)


def pulled_back(
    outputs: Sequence[Value],
    seeds: Sequence[Value | None],
    wrt: Sequence[Value],
    consider_constant: Collection[Value] = (),
) -> list[Value | None]:
    """The adjoint of each value of `wrt` when those of the outputs are the seeds, which have the
    outputs' types (None stands for zero). Otherwise as `gradients`."""
    from jitgraph.passes.stabilise import stabilised  # brings all rules: when first needed

    stop = frozenset(consider_constant) - frozenset(wrt)
    outputs = stabilised(outputs, set(wrt) | stop)
    targets = set(wrt)
    order = topological(outputs, stop=stop)
    if cut := {v for v in order if v.is_op("disconnected") and v not in targets}:
        stop |= cut
        order = topological(outputs, stop=stop)
    active = _depending_on(order, wrt, stop)
    adjoints = _Adjoints()
    for output, seed in zip(outputs, seeds, strict=True):
        adjoints.add(output, seed)
    for value in reversed(order):
        adjoint = adjoints.of(value)
        if adjoint is None or value.op is None or value in stop:
            continue
        if value not in targets:
            adjoints.forget(value)  # nobody asks for it: its memory can go
        if value.op.definition is ITEM:
            adjoints.add_item(value.op.args[0], value.op.attrs["index"], adjoint)
            continue
        pulled = _pull_back(value, adjoint, active)
        for argument, flowing in zip(value.op.args, pulled, strict=True):
            if argument in active:
                adjoints.add(argument, flowing)
    reached = set(order)
    return [
        (adjoints.of(w) if adjoints.of(w) is not None else zeros_like(w)) if w in reached else None
        for w in wrt
    ]


def pushed_forward(
    outputs: Sequence[Value], wrt: Sequence[Value], tangents: Sequence[Value]
) -> list[Value | None]:
    """How each output changes, to first order, as `wrt` does along the tangents; None for one that
    depends on none of them.

    By reverse mode alone: the adjoints of `wrt` are linear in those of the outputs, so what pulls
    the tangents back through them is the derivative itself.
    """
    seeds = [alias(zeros_like(y)) for y in outputs]
    adjoints = pulled_back(outputs, seeds, wrt)
    linear = [(a, t) for a, t in zip(adjoints, tangents, strict=True) if a is not None]
    if not linear:
        return [None] * len(seeds)
    return pulled_back([a for a, _ in linear], [t for _, t in linear], seeds)


class _Adjoints:
    """What has flowed back so far: a value, or for a bundle a tuple of values and None."""

    def __init__(self) -> None:
        self._known: dict[Value, Any] = {}

    def of(self, value: Value) -> Any:
        return self._known.get(value)

    def add(self, value: Value, flowing: Value | None) -> None:
        if flowing is not None:
            before = self._known.get(value)
            self._known[value] = flowing if before is None else before + flowing

    def add_item(self, bundle: Value, index: int, flowing: Value) -> None:
        assert isinstance(bundle.type, Bundle)
        items = list(self._known.get(bundle) or (None,) * len(bundle.type.items))
        items[index] = flowing if items[index] is None else items[index] + flowing
        self._known[bundle] = tuple(items)

    def forget(self, value: Value) -> None:
        del self._known[value]


def _depending_on(
    order: Sequence[Value], wrt: Sequence[Value], stop: frozenset[Value]
) -> set[Value]:
    """The values through which a change of `wrt` reaches the cost differentiably."""
    active = {w for w in wrt if w.type.is_continuous}
    for value in order:
        op = value.op
        if op is None or value in stop or not value.type.is_continuous:
            continue
        if any(a in active for a in op.args):
            active.add(value)
    return active


def _pull_back(value: Value, adjoint: Any, active: set[Value]) -> list[Value | None]:
    op = value.op
    assert op is not None
    if not any(a in active for a in op.args):
        return [None] * len(op.args)
    definition = op.definition
    if isinstance(definition, Control):
        wanted = [a in active for a in op.args]
        return pulled_back_through(value, adjoint, wanted, pulled_back)
    unknown = definition.unknown if isinstance(definition, Elementwise) else ()
    refused = [k for k in unknown if op.args[k] in active]
    if definition.gradient is None or refused:
        by = f" by operand {refused[0] + 1}" if refused else ""
        operands = (Operand(a.describe(), str(a.type), a.location) for a in op.args)
        raise GradientError(
            f"{op.name} has no gradient{by}", hint="name the value in consider_constant="
        ).locate(op.location, operands)
    flowing = list(definition.gradient(adjoint, value, *op.args, **op.attrs))
    if isinstance(definition, Elementwise):
        return [
            None if f is None else unbroadcast(f, a, value)
            for f, a in zip(flowing, op.args, strict=True)
        ]
    return flowing


def unbroadcast(adjoint: Value, argument: Value, result: Value) -> Value:
    """The adjoint summed over the axes along which `argument` was broadcast to `result`, which for
    unknown extents only the call can tell."""
    shape = argument.type.shape
    op = result.op
    assert op is not None
    if len(op.args) == 1 or (None not in shape and shape == result.type.shape):
        return adjoint
    return sum_to(adjoint, dims(argument))
