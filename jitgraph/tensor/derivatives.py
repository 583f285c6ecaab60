"""Jacobians, Hessians and products with them, as expressions.

`Rop` and `Lop` are Theano's names of `jvp` and `vjp`. A Jacobian is one of these products for all
unit vectors at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jitgraph.errors import BatchingError, DisconnectedError, GradientError, InputError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.passes.autodiff import gradients, pulled_back, pushed_forward
from jitgraph.passes.batched_regions import spread
from jitgraph.passes.batching import batched
from jitgraph.tensor import creation
from jitgraph.tensor.gradient import (
    Constants,
    choose,
    connected,
    constants_of,
    grad,
    like,
    same_shape,
    targets_of,
)
from jitgraph.tensor.operands import as_tensor, refuse, typed
from jitgraph.tensor.variable import Variable

_CHOICES = ("raise", "warn", "ignore", "zero")


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _expressions(given: Any) -> list[Value]:
    values = _listed(given)
    for value in values:
        if not isinstance(value, Value):
            refuse(GradientError(f"only expressions have derivatives, not {type(value).__name__}"))
        if not value.type.is_continuous:
            refuse(GradientError(
                f"{value.describe()} is {value.type}: only floating expressions have derivatives",
                hint='cast what it is made of, such as x.astype("float64")',
            ), value)  # fmt: skip
    return values


def _paired(given: Any, targets: Sequence[Value], role: str) -> list[Value]:
    points = _listed(given)
    if len(points) != len(targets):
        refuse(InputError(f"{len(points)} given for {len(targets)} variables: one {role} each"))
    return [same_shape(p, t, role) for p, t in zip(points, targets, strict=True)]


# --- products with a Jacobian --------------------------------------------------------------------
def jvp(f: Any, wrt: Any, eval_points: Any, disconnected_outputs: str = "raise") -> Any:
    """J·v: how the expressions change, to first order, as `wrt` does along `eval_points`.

    f: an expression, or a list or tuple of them, for which the result is one as well.
    disconnected_outputs: what to do about an expression that depends on none of `wrt`: "raise"
    DisconnectedError, or give zeros ("ignore").
    """
    choose("disconnected_outputs", disconnected_outputs, _CHOICES)
    outputs, targets = _expressions(f), targets_of(wrt)
    tangents = _paired(eval_points, targets, "a tangent")
    found = pushed_forward(outputs, targets, tangents)
    for value, made in zip(outputs, found, strict=True):
        if made is None and disconnected_outputs == "raise":
            refuse(DisconnectedError(
                f"{value.describe()} ({value.type}) depends on none of the variables",
                hint='disconnected_outputs="ignore" gives zeros for it',
            ), value, *targets)  # fmt: skip
    return like(f, [typed(zeros_like(y) if d is None else d)
                    for y, d in zip(outputs, found, strict=True)])  # fmt: skip


def vjp(
    f: Any,
    wrt: Any,
    eval_points: Any,
    consider_constant: Constants = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """uᵀ·J: the adjoints of `wrt` for adjoints `eval_points` of the expressions f.

    wrt: a variable, or a list, tuple or dict of them, for which the result is one as well.
    """
    choose("disconnected_inputs", disconnected_inputs, _CHOICES)
    outputs, targets = _expressions(f), targets_of(wrt)
    cotangents = _paired(eval_points, outputs, "an adjoint")
    found = pulled_back(outputs, cotangents, targets, constants_of(consider_constant))
    return like(wrt, [connected(g, w, disconnected_inputs, *outputs)
                      for g, w in zip(found, targets, strict=True)])  # fmt: skip


Rop, Lop = jvp, vjp


def hvp(cost: Variable, wrt: Any, eval_points: Any, disconnected_inputs: str = "raise") -> Any:
    """H·v, with H the second derivatives of a scalar cost, without ever making H."""
    targets = targets_of(wrt)
    slopes = grad(cost, targets, disconnected_inputs=disconnected_inputs)
    tangents = _paired(eval_points, targets, "a tangent")
    found = pulled_back(slopes, tangents, targets)  # H is symmetric
    return like(wrt, [typed(zeros_like(w) if g is None else g)
                      for g, w in zip(found, targets, strict=True)])  # fmt: skip


# --- Jacobians -----------------------------------------------------------------------------------
def jacobian(
    expression: Any,
    wrt: Any,
    consider_constant: Constants = None,
    disconnected_inputs: str = "raise",
    mode: str = "shorter",
) -> Any:
    """All derivatives of an expression: of the shape of the expression, then that of `wrt`.

    mode: "reverse" computes row by row, "forward" column by column (all of them at once), and
    "shorter" whichever of them are fewer as far as the types tell, else rows.
    """
    choose("mode", mode, ("shorter", "forward", "reverse"))
    choose("disconnected_inputs", disconnected_inputs, _CHOICES)
    (y,) = _expressions(expression)
    fixed = constants_of(consider_constant)
    found = []
    for w in targets_of(wrt):
        for v in (y, w):
            if v.dtype.kind == "c":
                message = f"{v.describe()} is {v.type}: Jacobians are of real numbers"
                refuse(GradientError(message), v)
        forward = _columns_are_fewer(y, w) if mode == "shorter" else mode == "forward"
        made = _columns(y, w) if forward and not fixed else _rows(y, w, fixed)
        shape = (*movement.dims(y), *movement.dims(w))
        if made is None:
            zero = connected(None, w, disconnected_inputs, y)
            made = movement.broadcast_to(movement.expand_dims(zero, range(y.ndim)), shape)
        found.append(typed(made))
    return like(wrt, found)


def hessian(cost: Variable, wrt: Any, disconnected_inputs: str = "raise") -> Any:
    """The second derivatives of a scalar cost by each variable twice: of its shape, twice."""
    targets = targets_of(wrt)
    slopes = grad(cost, targets, disconnected_inputs=disconnected_inputs)
    return like(wrt, [jacobian(g, w, disconnected_inputs="ignore", mode="reverse")
                      for g, w in zip(slopes, targets, strict=True)])  # fmt: skip


def _columns_are_fewer(y: Value, w: Value) -> bool:
    rows, columns = movement.product(y.type.shape), movement.product(w.type.shape)
    if y.type.is_static and w.type.is_static:
        return bool(columns < rows)
    return w.ndim < y.ndim


def _units(like: Value) -> Value:
    """An array of `like`'s type for each of its elements, with a one there."""
    sizes = movement.dims(like)
    count = movement.product(sizes)
    return movement.reshape(creation.eye(count, dtype=like.dtype), (count, *sizes))


def _rows(y: Value, w: Value, fixed: Sequence[Value]) -> Value | None:
    if not y.ndim:
        (found,) = gradients(y, [w], fixed)
        return found
    unit = Variable(y.type)
    (row,) = pulled_back([y], [unit], [w], fixed)
    if row is None:
        return None
    units = _units(y)
    rows = _for_all(row, {unit: units})
    return movement.reshape(rows, (*movement.dims(y), *movement.dims(w)))


def _columns(y: Value, w: Value) -> Value | None:
    unit = Variable(w.type)
    (column,) = pushed_forward([y], [w], [unit])
    if column is None:
        return None
    columns = _for_all(column, {unit: _units(w)})
    moved = movement.transpose(columns, [*range(1, columns.ndim), 0])
    return movement.reshape(moved, (*movement.dims(y), *movement.dims(w)))


def _for_all(value: Value, inputs: Mapping[Value, Value]) -> Value:
    (size, *_) = (movement.dim(many, 0) for many in inputs.values())
    ((made, differs),) = batched([value], inputs, size)
    return spread(made, differs, size)


# --- one element => many -------------------------------------------------------------------------
def vectorize_graph(outputs: Any, replace: Mapping[Variable, Any]) -> Any:
    """Expressions of one element, for many: each variable of `replace` becomes an array with one
    more axis in front, and so do the outputs.

    Outputs that depend on none of them are repeated. Raises BatchingError for what cannot be
    computed for all elements at once.
    """
    inputs: dict[Value, Value] = {old: as_tensor(new) for old, new in replace.items()}
    if not inputs:
        hint = "replace={x: xs}, with xs of one more axis"
        refuse(BatchingError("nothing to replace", hint=hint))
    for old, new in inputs.items():
        if new.ndim != old.ndim + 1:
            refuse(ShapeError(
                f"{old.describe()} is {old.type}: for many, one more axis is needed than {new.type}"
            ), old, new)  # fmt: skip
        inputs[old] = cast(new, old.dtype)
    try:
        return like(outputs, [typed(_for_all(v, inputs)) for v in _listed(outputs)])
    except BatchingError as error:
        raise error.locate(caller_location()) from None
