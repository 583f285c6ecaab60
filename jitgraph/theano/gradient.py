"""`theano.gradient`."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.errors import DisconnectedError, GradientError
from jitgraph.theano.undefined import (
    NullType,
    NullTypeGradError,
    checked,
    grad_not_implemented,
    grad_undefined,
)
from jitgraph.theano.variables import as_tensor_variable, spoken
from jitgraph.theano.views import ViewOp

DisconnectedInputError = DisconnectedError
__all__ = ["NullType", "NullTypeGradError", "grad_not_implemented", "grad_undefined"]


class DisconnectedType:
    """The gradient of what the cost does not depend on. A call makes one."""

    def __call__(self, name: str | None = None) -> DisconnectedVariable:
        return DisconnectedVariable()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DisconnectedType)

    def __hash__(self) -> int:
        return hash(DisconnectedType)


class DisconnectedVariable:
    """A gradient that is none, in what the `grad` of an op gives."""

    type = DisconnectedType()


@spoken
def grad(
    cost: Any, wrt: Any, consider_constant: Any = None, disconnected_inputs: str = "raise",
    add_names: bool = True, known_grads: Any = None, return_disconnected: str = "zero",
    null_gradients: str = "raise",
) -> Any:  # fmt: skip
    """d cost / d wrt: one expression, or a list of them for a list."""
    if return_disconnected.lower() == "disconnected":
        return_disconnected = "none"
    if consider_constant is not None and not isinstance(consider_constant, list | tuple):
        consider_constant = [consider_constant]
    known = {v: as_tensor_variable(g) for v, g in (known_grads or {}).items()} or None
    return checked(jt.grad(cost, wrt, consider_constant, disconnected_inputs, add_names, known,
                           return_disconnected))  # fmt: skip


@spoken
def Rop(f: Any, wrt: Any, eval_points: Any, disconnected_outputs: str = "raise",  # noqa: N802
        return_disconnected: str = "zero") -> Any:  # fmt: skip
    """J·v."""
    return jt.Rop(f, wrt, eval_points, disconnected_outputs)


@spoken
def Lop(f: Any, wrt: Any, eval_points: Any, consider_constant: Any = None,  # noqa: N802
        disconnected_inputs: str = "raise") -> Any:  # fmt: skip
    """v·J."""
    return checked(jt.Lop(f, wrt, eval_points, consider_constant, disconnected_inputs))


@spoken
def jacobian(expression: Any, wrt: Any, consider_constant: Any = None,
             disconnected_inputs: str = "raise") -> Any:  # fmt: skip
    """All derivatives of an expression."""
    checked(jt.Lop(expression, wrt, jt.ones_like(expression), consider_constant, "ignore"))
    return jt.jacobian(expression, wrt, consider_constant, disconnected_inputs)


@spoken
def hessian(cost: Any, wrt: Any, consider_constant: Any = None,
            disconnected_inputs: str = "raise") -> Any:  # fmt: skip
    """The second derivatives of a scalar cost by each variable."""
    checked(jt.grad(cost, wrt, consider_constant, "ignore"))
    return jt.hessian(cost, wrt, disconnected_inputs)


@spoken
def subgraph_grad(wrt: Any, end: Any, start: Any = None, cost: Any = None,
                  details: bool = False) -> Any:  # fmt: skip
    """The gradients by `wrt`, and by `end`, where the graph is cut."""
    known = dict(start) if start else None
    found = grad(cost, [*wrt, *end], consider_constant=list(end), known_grads=known,
                 disconnected_inputs="ignore")  # fmt: skip
    behind = grad(cost, list(end), known_grads=known, disconnected_inputs="ignore")
    return found[: len(wrt)], behind


# --- what gradients see ------------------------------------------------------------------------
@spoken
def consider_constant(x: Any) -> Any:
    """x, through which nothing flows back."""
    return jt.consider_constant(x)


zero_grad = consider_constant


@spoken
def disconnected_grad(x: Any) -> Any:
    """x, as if the cost did not depend on what is behind it."""
    return jt.disconnected_grad(x)


@spoken
def grad_clip(x: Any, lower_bound: Any, upper_bound: Any) -> Any:
    """x, whose gradient is brought between bounds."""
    return jt.grad_clip(x, lower_bound, upper_bound)


@spoken
def grad_scale(x: Any, multiplier: Any) -> Any:
    """x, whose gradient is multiplied."""
    return jt.grad_scale(x, multiplier)


class UndefinedGrad(ViewOp):
    """x; a gradient through it is an error."""

    def grad(self, inputs: Any, output_grads: Any) -> Any:
        return [grad_undefined(self, k, x) for k, x in enumerate(inputs)]


undefined_grad = undefined_grad_ = UndefinedGrad()


# --- the same as ops ---------------------------------------------------------------------------
class ConsiderConstant:
    """`consider_constant` as an op."""

    def __call__(self, x: Any) -> Any:
        return consider_constant(x)


class DisconnectedGrad:
    """`disconnected_grad` as an op."""

    def __call__(self, x: Any) -> Any:
        return disconnected_grad(x)


class GradClip:
    """`GradClip(low, high)(x)`."""

    def __init__(self, clip_lower_bound: Any, clip_upper_bound: Any) -> None:
        self.clip_lower_bound, self.clip_upper_bound = clip_lower_bound, clip_upper_bound

    def __call__(self, x: Any) -> Any:
        return grad_clip(x, self.clip_lower_bound, self.clip_upper_bound)


class GradScale:
    """`GradScale(multiplier)(x)`."""

    def __init__(self, multiplier: Any) -> None:
        self.multiplier = multiplier

    def __call__(self, x: Any) -> Any:
        return grad_scale(x, self.multiplier)


ZeroGrad = ConsiderConstant
consider_constant_ = zero_grad_ = ConsiderConstant()
disconnected_grad_ = DisconnectedGrad()


def format_as(use_list: bool, use_tuple: bool, outputs: Any) -> Any:
    """Outputs as a list, a tuple, or the only one."""
    if use_list:
        return list(outputs)
    return tuple(outputs) if use_tuple else outputs[0]


# --- checking ----------------------------------------------------------------------------------
class numeric_grad:  # noqa: N801  (Theano's name)
    """Differences of a scalar function at a point: `numeric_grad(f, [x]).gf`."""

    def __init__(self, f: Any, pt: Any, eps: float | None = None, out_type: Any = None) -> None:
        several = isinstance(pt, list | tuple)
        points = [np.array(p, dtype=np.asarray(p).dtype) for p in (pt if several else [pt])]
        step = eps or (1e-7 if all(p.dtype == np.float64 for p in points) else 3e-4)
        found = []
        for p in points:
            slope = np.zeros_like(p)
            for place in np.ndindex(p.shape):
                kept = p[place]
                sides = []
                for sign in (1, -1):
                    p[place] = kept + sign * step
                    sides.append(np.array(f(*points), dtype=np.float64))
                p[place] = kept
                slope[place] = float((sides[0] - sides[1]).sum()) / (2 * step)
            found.append(slope)
        self.gf = found if several else found[0]


def verify_grad(
    fun: Any, pt: Any, n_tests: int = 2, rng: Any = None, eps: float | None = None,
    out_type: Any = None, abs_tol: float | None = None, rel_tol: float | None = None,
    mode: Any = None, cast_to_output_type: bool = False, no_debug_ref: bool = True,
) -> None:  # fmt: skip
    """Compare the gradient of `fun` at a point with differences; raises GradientError."""
    from jitgraph.theano.functions import function
    from jitgraph.theano.types import TensorType

    arrays = [np.array(p) for p in pt]
    random = rng if rng is not None else np.random.RandomState(0)
    wide = all(a.dtype == np.float64 for a in arrays)
    tolerance = (1e-4, 1e-4) if wide else (3e-2, 3e-2)
    for _ in range(n_tests):
        leaves = [TensorType(a.dtype, (False,) * a.ndim)(f"x{k}") for k, a in enumerate(arrays)]
        out = as_tensor_variable(fun(*leaves))
        direction = random.uniform(-1, 1, np.shape(function(leaves, out)(*arrays)))
        cost = jt.sum(out * direction.astype(str(out.dtype)))
        slopes = function(leaves, grad(cost, leaves, disconnected_inputs="ignore"),
                          on_unused_input="ignore")(*arrays)  # fmt: skip
        value = function(leaves, cost)
        differences = numeric_grad(value, arrays, eps).gf
        for k, (a, b) in enumerate(zip(slopes, differences, strict=True)):
            if not np.allclose(a, b, rtol=rel_tol or tolerance[1], atol=abs_tol or tolerance[0]):
                raise GradientError(
                    f"the gradient by argument {k} is off by {np.abs(a - b).max():.3g} at most"
                )
