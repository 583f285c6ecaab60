"""The gradient of a scalar cost, as expressions that compile like any other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, overload

from jitgraph.errors import DisconnectedError, GradientError, OptionError
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.values import Value
from jitgraph.location import Location, caller_location
from jitgraph.passes.autodiff import gradients
from jitgraph.tensor.operands import refuse, typed
from jitgraph.tensor.variable import Variable

_CHOICES = ("raise", "warn", "ignore")


@overload
def grad(
    cost: Variable,
    wrt: Variable,
    consider_constant: Sequence[Variable] | Variable | None = None,
    disconnected_inputs: str = "raise",
) -> Variable: ...
@overload
def grad(
    cost: Variable,
    wrt: Sequence[Variable],
    consider_constant: Sequence[Variable] | Variable | None = None,
    disconnected_inputs: str = "raise",
) -> Any: ...


def grad(
    cost: Variable,
    wrt: Variable | Sequence[Variable],
    consider_constant: Sequence[Variable] | Variable | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """d cost / d wrt: one expression of wrt's type, or a list (tuple) of them for a list (tuple).

    cost: a floating scalar. wrt: floating variables, or expressions in the cost. Nothing flows
    through the values in consider_constant. disconnected_inputs: what to do about a wrt the cost
    does not depend on: "raise" DisconnectedError, or give zeros and "warn" or "ignore".
    Raises GradientError for a cost that is no floating scalar, a wrt without a gradient, or an op
    on the way that has none.
    """
    if disconnected_inputs not in _CHOICES:
        raise OptionError(
            f"disconnected_inputs cannot be {disconnected_inputs!r}",
            hint=f"one of: {', '.join(map(repr, _CHOICES))}",
            location=caller_location(),
        )
    targets: list[Any] = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    fixed = [consider_constant] if isinstance(consider_constant, Value) else consider_constant or ()
    _check_cost(cost)
    for target in targets:
        _check_target(target)
    found = [
        _connected(g, cost, w, disconnected_inputs)
        for g, w in zip(gradients(cost, targets, fixed), targets, strict=True)
    ]
    if isinstance(wrt, list | tuple):
        return type(wrt)(found)
    return found[0]


def _check_cost(cost: Any) -> None:
    if not isinstance(cost, Value):
        refuse(GradientError(f"the cost must be symbolic, not {type(cost).__name__}"))
    if cost.ndim:
        refuse(GradientError(
            f"the gradient needs a scalar cost, not {cost.type}",
            hint="reduce it first, such as cost.mean() or cost.sum()",
        ), cost)  # fmt: skip
    if cost.dtype.kind != "f":
        refuse(GradientError(
            f"the cost is {cost.type}: only floating costs have a gradient",
            hint='cast what it is made of, such as x.astype("float64")',
        ), cost)  # fmt: skip


def _check_target(target: Any) -> None:
    if not isinstance(target, Value):
        refuse(GradientError(
            f"cannot differentiate by {type(target).__name__}",
            hint="wrt must be a variable or a list of variables",
        ))  # fmt: skip
    if not target.type.is_continuous:
        refuse(GradientError(
            f"cannot differentiate by {target.describe()}, which is {target.type}",
            hint="only floating and complex variables have a gradient",
        ), target)  # fmt: skip


def _connected(adjoint: Value | None, cost: Value, target: Value, otherwise: str) -> Variable:
    if adjoint is not None:
        return typed(adjoint)
    message = f"the cost does not depend on {target.describe()} ({target.type})"
    if otherwise == "raise":
        refuse(DisconnectedError(
            message, hint='disconnected_inputs="ignore" gives zeros for it'
        ), cost, target)  # fmt: skip
    if otherwise == "warn":
        place = caller_location() or Location("<unknown>", 0)
        warnings.warn_explicit(message, UserWarning, place.file, place.line)
    return typed(zeros_like(target))
