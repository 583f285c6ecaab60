"""`stabilised` touches only what it mends."""

from __future__ import annotations

import numpy as np

from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import constant
from jitgraph.ir.ops.arithmetic import sqrt, square
from jitgraph.ir.ops.exponential import exp, log, sigmoid
from jitgraph.ir.ops.movement import expand_dims
from jitgraph.ir.ops.normalisation import softmax
from jitgraph.ir.ops.reduction import sum_
from jitgraph.ir.types import parse_type
from jitgraph.ir.values import Value, topological
from jitgraph.passes.stabilise import stabilised

x = Value(parse_type("f64[?, ?]"), name="x")
s = Value(parse_type("f64[?]"), name="s")


def ops(value: Value) -> list[str]:
    return [v.op.name for v in topological([value]) if v.op is not None and v.literal is None]


def test_what_needs_no_mending_stays_the_same_object() -> None:
    left, right = exp(x) * 2, log(1 + x)
    whole = left + right
    made = stabilised([whole, left], set())
    assert made[1] is left
    assert made[0] is not whole
    assert made[0].op is not None
    assert made[0].op.args[0] is left
    assert ops(made[0].op.args[1]) == ["log1p"]


def test_values_in_stop_are_not_looked_into() -> None:
    inner = log(1 + x)
    outer = exp(inner)
    assert stabilised([outer], {inner}) == [outer]
    assert stabilised([outer], {outer}) == [outer]


def test_formulas_meet_what_was_mended_below_them() -> None:
    assert ops(stabilised([log(1 - sigmoid(x))], set())[0]) == ["negative", "negative", "softplus",
                                                                "negative"]  # fmt: skip
    by_hand = log(exp(x) / expand_dims(sum_(exp(x), (1,)), (1,)))
    assert ops(stabilised([by_hand], set())[0]) == ["log_softmax"]
    assert ops(stabilised([log(softmax(x, (0,)))], set())[0]) == ["log_softmax"]
    assert ops(stabilised([log(sum_(exp(x), (0,)))], set())[0]) == ["logsumexp"]
    assert ops(stabilised([sqrt(square(x))], set())[0]) == ["absolute"]


def test_softmax_by_hand_needs_the_sum_to_line_up() -> None:
    e = exp(x)
    assert ops(stabilised([e / sum_(e, (0,))], set())[0]) == ["softmax"]
    assert "softmax" not in ops(stabilised([e / sum_(e, (1,))], set())[0])
    assert ops(stabilised([e / sum_(e, (0, 1))], set())[0]) == ["softmax"]


def test_a_constant_that_broadcasts_keeps_its_shape() -> None:
    value = log(constant(np.ones((4, 1))) + s)
    made = stabilised([value], set())[0]
    assert "log1p" in ops(made)
    fn = Function([s], [made])
    assert interpreter.run(fn, [np.arange(3.0)])[0].shape == (4, 3)


def test_locations_are_those_of_the_formula() -> None:
    value = log(1 + x)
    made = stabilised([value], set())[0]
    assert made.location is value.location


def test_a_long_chain_needs_no_stack() -> None:
    value = x
    for _ in range(20_000):
        value = exp(value)
    assert stabilised([value], set()) == [value]
