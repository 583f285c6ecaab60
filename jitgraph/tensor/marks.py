"""Values that mean something else to gradients than to the computation."""

from __future__ import annotations

from jitgraph.errors import GradientError
from jitgraph.ir.opdef import ArrayLike, emit
from jitgraph.ir.ops import marks
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, public


@public
def disconnected_grad(x: ArrayLike) -> Value:
    """x, as a constant to gradients: a cost is not connected to what lies behind it."""
    return emit(marks.DISCONNECTED, (as_tensor(x),))


@public
def stop_gradient(x: ArrayLike) -> Value:
    """x, as a constant to gradients, which are zeros for what lies behind it."""
    return emit(marks.ZERO_GRADIENT, (as_tensor(x),))


zero_grad = consider_constant = stop_gradient


def _real(x: ArrayLike) -> Value:
    value = as_tensor(x)
    if not value.type.is_float:
        raise GradientError(f"{value.type} has no gradient that could be changed")
    return value


@public
def grad_clip(x: ArrayLike, lower_bound: ArrayLike, upper_bound: ArrayLike) -> Value:
    """x, whose gradient is brought into lower_bound..upper_bound, element by element."""
    value = _real(x)
    bounds = (as_tensor(b, value.dtype) for b in (lower_bound, upper_bound))
    return emit(marks.CLIPPED_GRADIENT, (value, *bounds))


@public
def grad_scale(x: ArrayLike, multiplier: ArrayLike) -> Value:
    """x, whose gradient is multiplied by a number (-1 reverses it)."""
    value = _real(x)
    return emit(marks.SCALED_GRADIENT, (value, as_tensor(multiplier, value.dtype)))
