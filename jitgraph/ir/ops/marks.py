"""Marks: ops whose value is their first operand, and which mean something to a gradient only.

They are gone as soon as a function is simplified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitgraph.errors import DTypeError
from jitgraph.ir import batching
from jitgraph.ir.batching import Batch
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Array, Attrs, Gradient, OpDef, Shape, ShapeSource, emit, register
from jitgraph.ir.ops.arithmetic import maximum, minimum
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.types import Bundle, Type
from jitgraph.ir.values import Value

#: The marks whose one result is their first operand, by name.
MARKS: dict[str, OpDef] = {}


def _first(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    return source.shape(args[0])


def _declare(
    name: str,
    gradient: Gradient,
    doc: str,
    *,
    infer: Callable[[Sequence[Type], Attrs], Type] = lambda types, attrs: types[0],
    evaluate: Callable[..., Array] = lambda x: x,
    batch: Callable[..., Value] = batching.elementwise,
) -> OpDef:
    made = OpDef(
        name=name, infer=infer, evaluate=evaluate, shape=_first, gradient=gradient, batch=batch,
        doc=doc,
    )  # fmt: skip
    register(made)
    MARKS[name] = made
    return made


ALIAS = _declare(
    "alias", lambda g, y, x: [g],
    "x itself, as a value of its own that a gradient can be taken with respect to.",
)  # fmt: skip
DISCONNECTED = _declare(
    "disconnected", lambda g, y, x: [None],
    "x as a constant to gradients: nothing behind it is connected to the cost.",
)  # fmt: skip
ZERO_GRADIENT = _declare(
    "zero_gradient", lambda g, y, x: [zeros_like(x)],
    "x as a constant to gradients, which are zeros for what lies behind it.",
)  # fmt: skip


# --- gradients changed on their way --------------------------------------------------------------
def _infer_changed(types: Sequence[Type], attrs: Attrs) -> Type:
    x, *others = types
    if any(o.dtype != x.dtype or o.rank > x.rank for o in others):
        raise DTypeError(f"what changes the gradient of {x} must be numbers of its dtype")
    return x


def _batch_changed(batch: Batch, *args: Value) -> Value:
    others = batch.aligned(args, batch.rank(0, args))[1:]
    return emit(batch.definition, (batch.spread(0, args), *others))


CLIPPED_GRADIENT = _declare(
    "clipped_gradient",
    lambda g, y, x, low, high: [maximum(minimum(g, high), low), None, None],
    "x, whose gradient is brought between two bounds.",
    infer=_infer_changed, evaluate=lambda x, low, high: x, batch=_batch_changed,
)  # fmt: skip
SCALED_GRADIENT = _declare(
    "scaled_gradient", lambda g, y, x, factor: [g * factor, None],
    "x, whose gradient is multiplied by a factor.",
    infer=_infer_changed, evaluate=lambda x, factor: x, batch=_batch_changed,
)  # fmt: skip


# --- gradients of the user's own -----------------------------------------------------------------
Adjoints = Callable[[Sequence[Value], Sequence[Value]], Sequence["Value | None"]]


class CustomRule(str):
    """A gradient that is a Python function, as an attribute, which prints as its name.

    `adjoints(gs, operands)` gives one adjoint (or None) per input of the function, from those of
    its outputs and the op's other operands: residuals, then inputs. `batched()` is the rule for
    many elements.
    """

    __slots__ = ("adjoints", "batched")
    adjoints: Adjoints
    batched: Callable[[], CustomRule]

    @classmethod
    def of(
        cls, name: str, adjoints: Adjoints, batched: Callable[[], CustomRule]
    ) -> CustomRule:
        made = cls(name)
        made.adjoints, made.batched = adjoints, batched
        return made

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


def _custom_gradient(
    gs: Sequence[Value | None], y: Value, *args: Value, rule: CustomRule, outputs: int,
    residuals: int,
) -> list[Value | None]:  # fmt: skip
    seeds = [zeros_like(a) if g is None else g for g, a in zip(gs, args, strict=False)]
    inputs = args[outputs + residuals :]
    found = rule.adjoints(seeds, args[outputs:])
    adjoints = [None if a is None else cast(a, x.dtype) for a, x in zip(found, inputs, strict=True)]
    return [*([None] * (outputs + residuals)), *adjoints]


def _batch_custom(batch: Batch, *args: Value, rule: CustomRule, **counts: int) -> Value:
    spread = [batch.spread(k, args) for k in range(len(args))]
    return emit(CUSTOM_GRADIENT, spread, rule=rule.batched(), **counts)


def _shapes_of_outputs(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Any:
    return tuple(source.shape(a) for a in args[: attrs["outputs"]])


def _evaluate_custom(*args: Array, rule: Any, outputs: int, residuals: int) -> Any:
    return args[:outputs]


CUSTOM_GRADIENT: OpDef = OpDef(
    name="custom_gradient",
    infer=lambda types, attrs: Bundle.of(types[: attrs["outputs"]]),
    evaluate=_evaluate_custom,
    shape=_shapes_of_outputs,
    gradient=_custom_gradient,
    batch=_batch_custom,
    doc="Its first operands, with a gradient that is a Python function: the others are what that "
    "needs, and then the inputs it gives adjoints of.",
)
register(CUSTOM_GRADIENT)


def alias(x: Value) -> Value:
    """x as another value, which is not a part of anything made of x before."""
    return emit(ALIAS, (x,))


def with_gradient(
    outputs: Sequence[Value], residuals: Sequence[Value], inputs: Sequence[Value], rule: CustomRule
) -> tuple[Value, ...]:
    """The outputs of a function, with a gradient of their own."""
    return items(emit(
        CUSTOM_GRADIENT, (*outputs, *residuals, *inputs),
        rule=rule, outputs=len(outputs), residuals=len(residuals),
    ))  # fmt: skip
