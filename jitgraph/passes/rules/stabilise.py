"""Formulas as people write them => the same number without overflow, underflow or cancellation."""

from __future__ import annotations

from jitgraph.ir.builder import Builder
from jitgraph.ir.opdef import Attrs, OpDef
from jitgraph.ir.ops.exponential import (
    exp,
    expm1,
    log,
    log1p,
    logaddexp,
    sigmoid,
    softplus,
    tanh,
)
from jitgraph.ir.ops.movement import expand_dims
from jitgraph.ir.ops.normalisation import log_softmax, logsumexp, softmax
from jitgraph.ir.values import Value
from jitgraph.passes.rules.rule import FINITE, Rule, recipe, rule

# The more special form stands first: log(1 + exp(x)) is also a log(1 + x).
LOGARITHMS = (
    rule("log-sigmoid", lambda x: log(sigmoid(x)), lambda x: -softplus(-x), stabilises=True),
    rule("log-1-sigmoid", lambda x: log(1 - sigmoid(x)), lambda x: -softplus(x), stabilises=True),
    rule("log1p-neg-sigmoid", lambda x: log1p(-sigmoid(x)), lambda x: -softplus(x),
         stabilises=True),
    rule("log-1p-exp", lambda x: log(1 + exp(x)), lambda x: softplus(x), stabilises=True),
    rule("log1p-exp", lambda x: log1p(exp(x)), lambda x: softplus(x), stabilises=True),
    rule("log-exp-exp", lambda x, y: log(exp(x) + exp(y)), lambda x, y: logaddexp(x, y),
         stabilises=True),
    rule("log-1p", lambda x: log(1 + x), lambda x: log1p(x), stabilises=True),
    rule("log-1m", lambda x: log(1 - x), lambda x: log1p(-x), stabilises=True),
)  # fmt: skip

EXPONENTIALS = (
    rule("exp-1", lambda x: exp(x) - 1, lambda x: expm1(x), stabilises=True),
    rule("1-exp", lambda x: 1 - exp(x), lambda x: -expm1(x), stabilises=True),
    rule("sigmoid-by-hand", lambda x: 1 / (1 + exp(-x)), lambda x: sigmoid(x), stabilises=True),
    rule("sigmoid-of-negative", lambda x: 1 / (1 + exp(x)), lambda x: sigmoid(-x),
         stabilises=True),
    rule("sigmoid-of-quotient", lambda x: exp(x) / (1 + exp(x)), lambda x: sigmoid(x),
         stabilises=True, assumes=FINITE),
    # After differentiation 1 - y is cheap beside a second sigmoid, and good enough.
    rule("1-sigmoid", lambda x: 1 - sigmoid(x), lambda x: sigmoid(-x), stabilises=True,
         stage="early"),
    rule("tanh-by-hand", lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)), lambda x: tanh(x),
         stabilises=True, assumes=FINITE),
    rule("softplus-minus-x", lambda x: softplus(x) - x, lambda x: softplus(-x), stabilises=True,
         assumes=FINITE),
    rule("x-minus-softplus", lambda x: x - softplus(x), lambda x: -softplus(-x), stabilises=True,
         assumes=FINITE),
)  # fmt: skip


def _normaliser(value: Value) -> tuple[Value, tuple[int, ...]] | None:
    """x and axes, if the value is sum(exp(x), axes), possibly with the axes kept."""
    if value.is_op("expand_dims"):
        assert value.op is not None
        found = _normaliser(value.op.args[0])
        return found if found is not None and found[1] == value.op.attrs["axes"] else None
    if not value.is_op("reduce_sum"):
        return None
    assert value.op is not None
    e = value.op.args[0]
    return (e.op.args[0], value.op.attrs["axes"]) if e.op is not None and e.is_op("exp") else None


@recipe("softmax-by-hand", "divide", stabilises=True, assumes=FINITE, dtypes="f",
        stage="composites", over=("exp",))  # fmt: skip
def softmax_by_hand(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """exp(x) / sum(exp(x)) => softmax(x)"""
    above, below = args
    found = _normaliser(below)
    if found is None or not above.is_op("exp"):
        return None
    x, axes = found
    assert above.op is not None
    # Without kept axes the sum still lines up if it was over the leading ones.
    aligned = below.ndim == above.ndim or axes == tuple(range(len(axes)))
    return softmax(x, axes) if above.op.args[0] is x and aligned else None


@recipe("log-softmax", "log", stabilises=True, dtypes="f", stage="composites",
        over=("softmax",))  # fmt: skip
def log_of_softmax(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """log(softmax(x)) => log_softmax(x)"""
    op = args[0].op
    return None if op is None or op.name != "softmax" else log_softmax(op.args[0], **op.attrs)


@recipe("log-sum-exp", "log", stabilises=True, dtypes="f", stage="composites",
        over=("reduce_sum", "expand_dims"))  # fmt: skip
def log_of_sum_of_exp(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """log(sum(exp(x))) => logsumexp(x)"""
    found = _normaliser(args[0])
    if found is None:
        return None
    total = logsumexp(*found)
    return expand_dims(total, found[1]) if args[0].is_op("expand_dims") else total


RULES: tuple[Rule, ...] = (
    *LOGARITHMS, *EXPONENTIALS, softmax_by_hand, log_of_softmax, log_of_sum_of_exp,
)  # fmt: skip
