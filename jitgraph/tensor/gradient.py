"""The gradient of a scalar cost, as expressions that compile like any other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, overload

from jitgraph.errors import (
    DisconnectedError,
    DTypeError,
    GradientError,
    OptionError,
    ShapeError,
)
from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.types import can_cast, kind_of
from jitgraph.ir.values import Value
from jitgraph.location import Location, caller_location
from jitgraph.passes.autodiff import gradients, pulled_back
from jitgraph.tensor.operands import as_tensor, refuse, typed
from jitgraph.tensor.variable import Variable

_CHOICES = ("raise", "warn", "ignore", "zero")
_DISCONNECTED = ("zero", "none")
Constants = Sequence[Variable] | Variable | None


@overload
def grad(
    cost: Variable | None,
    wrt: Variable,
    consider_constant: Constants = None,
    disconnected_inputs: str = "raise",
    add_names: bool = True,
    known_grads: Mapping[Variable, Any] | None = None,
    return_disconnected: str = "zero",
) -> Variable: ...
@overload
def grad(
    cost: Variable | None,
    wrt: Sequence[Variable] | Mapping[Any, Variable],
    consider_constant: Constants = None,
    disconnected_inputs: str = "raise",
    add_names: bool = True,
    known_grads: Mapping[Variable, Any] | None = None,
    return_disconnected: str = "zero",
) -> Any: ...


def grad(
    cost: Variable | None,
    wrt: Any,
    consider_constant: Constants = None,
    disconnected_inputs: str = "raise",
    add_names: bool = True,
    known_grads: Mapping[Variable, Any] | None = None,
    return_disconnected: str = "zero",
) -> Any:
    """d cost / d wrt: one expression of wrt's type, or a list, tuple or dict of them for one.

    cost: a floating scalar. wrt: floating variables, or expressions in the cost. Nothing flows
    through the values in consider_constant. disconnected_inputs: what to do about a wrt the cost
    does not depend on: "raise" DisconnectedError, or give zeros and "warn" or "ignore" ("zero").
    return_disconnected="none" gives None for it instead of zeros. known_grads: gradients of
    expressions on the way, which count instead of what flows to them from the cost; with them the
    cost may be None. add_names names the results, such as (dcost/dx).
    Raises GradientError for a cost that is no floating scalar, a wrt without a gradient, or an op
    on the way that has none.
    """
    choose("disconnected_inputs", disconnected_inputs, _CHOICES)
    choose("return_disconnected", return_disconnected, _DISCONNECTED)
    if cost is not None or not known_grads:
        _check_cost(cost)
    targets = targets_of(wrt)
    fixed = constants_of(consider_constant)
    none = return_disconnected == "none"
    found: list[Variable | None] = []
    for g, w in zip(_adjoints(cost, targets, fixed, known_grads or {}), targets, strict=True):
        if g is None and none and disconnected_inputs != "raise":
            found.append(None)
            continue
        made = connected(g, w, disconnected_inputs, *(() if cost is None else (cost,)))
        if add_names and cost is not None and cost.name and w.name:
            _name(made, f"(d{cost.name}/d{w.name})")
        found.append(made)
    return like(wrt, found)


def _adjoints(
    cost: Variable | None,
    targets: Sequence[Value],
    fixed: Sequence[Value],
    known: Mapping[Variable, Any],
) -> list[Value | None]:
    if not known:
        assert cost is not None
        return gradients(cost, targets, fixed)
    seeds = [same_shape(g, v, "a known gradient") for v, g in known.items()]
    behind = pulled_back(list(known), seeds, targets, fixed)
    if cost is None:
        return behind
    beside = gradients(cost, targets, [*fixed, *known])
    return [b if a is None else a if b is None else a + b
            for a, b in zip(beside, behind, strict=True)]  # fmt: skip


def _name(made: Value, name: str) -> None:
    if made.name is None and made.op is not None:
        made.name = name


# --- what all derivatives share ------------------------------------------------------------------
def choose(option: str, given: str, known: Sequence[str]) -> None:
    """Refuse an option's value that is not among those known."""
    if given not in known:
        raise OptionError(
            f"{option} cannot be {given!r}",
            hint=f"one of: {', '.join(map(repr, known))}",
            location=caller_location(),
        )


def targets_of(wrt: Any) -> list[Variable]:
    """The variables to differentiate by, from one or a list, tuple or dict of them."""
    if isinstance(wrt, Mapping):
        targets = list(wrt.values())
    else:
        targets = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    for target in targets:
        _check_target(target)
    return targets


def like(wrt: Any, found: Sequence[Any]) -> Any:
    """Results in the shape in which the variables were given."""
    if isinstance(wrt, Mapping):
        return dict(zip(wrt, found, strict=True))
    return type(wrt)(found) if isinstance(wrt, list | tuple) else found[0]


def constants_of(given: Constants) -> list[Value]:
    """Values nothing flows through, from one, several or None."""
    return [given] if isinstance(given, Value) else list(given or ())


def same_shape(given: Any, target: Value, role: str) -> Value:
    """An adjoint or tangent of `target`: of its dtype, and of its shape, which the call checks."""
    value = as_tensor(given)
    if value.ndim != target.ndim:
        refuse(ShapeError(
            f"{role} of {target.describe()} must be of its type, {target.type}, not {value.type}"
        ), value, target)  # fmt: skip
    if not can_cast(value.dtype, target.dtype, "same_kind"):
        refuse(DTypeError(
            f"{role} of {target.describe()} ({target.type}) cannot be {value.type}"
        ), value, target)  # fmt: skip
    return movement.reshape(cast(value, target.dtype), movement.dims(target))


def _check_cost(cost: Any) -> None:
    if not isinstance(cost, Value):
        refuse(GradientError(f"the cost must be symbolic, not {type(cost).__name__}"))
    if cost.ndim:
        refuse(GradientError(
            f"the gradient needs a scalar cost, not {cost.type}",
            hint="reduce it first, such as cost.mean() or cost.sum()",
        ), cost)  # fmt: skip
    if kind_of(cost.dtype) != "f":
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


def connected(
    adjoint: Value | None, target: Value, otherwise: str, *costs: Value
) -> Variable:
    """The adjoint of a target, or what `otherwise` says where there is none."""
    if adjoint is not None:
        return typed(adjoint)
    message = f"the cost does not depend on {target.describe()} ({target.type})"
    if otherwise == "raise":
        refuse(DisconnectedError(
            message, hint='disconnected_inputs="ignore" gives zeros for it'
        ), *costs, target)  # fmt: skip
    if otherwise == "warn":
        place = caller_location() or Location("<unknown>", 0)
        warnings.warn_explicit(message, UserWarning, place.file, place.line)
    return typed(zeros_like(target))
