"""Derivatives of functions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import GradientError, InputError
from jitgraph.ir.opdef import constant
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.types import kind_of
from jitgraph.ir.values import Value
from jitgraph.jit import jit
from jitgraph.location import caller_location
from jitgraph.passes.autodiff import pulled_back, pushed_forward
from jitgraph.tensor import derivatives as of_expressions
from jitgraph.tensor.gradient import grad as grad_of_expression
from jitgraph.tensor.gradient import same_shape
from jitgraph.tensor.operands import typed
from jitgraph.tensor.variable import Variable
from jitgraph.transforms.functions import (
    Function,
    Point,
    checked,
    results,
    transformed,
)
from jitgraph.trees import Node, Structure, flatten, unflatten

Argnums = int | Sequence[int]


def _split(out: Any, has_aux: bool, transform: str) -> tuple[Any, Any]:
    if not has_aux:
        return out, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise InputError(
            f"{transform} with has_aux=True takes a function that gives two things: a result, and "
            "more that comes along",
            location=caller_location(),
        )
    return out


def _filled(adjoints: Sequence[Value | None], leaves: Sequence[Value]) -> list[Variable]:
    return [typed(zeros_like(leaf) if a is None else a)
            for a, leaf in zip(adjoints, leaves, strict=True)]  # fmt: skip


# --- gradients -----------------------------------------------------------------------------------
def _cost(out: Any, transform: str) -> Value:
    leaves, structure = results(out, "a cost")
    if isinstance(structure, Node) or len(leaves) != 1:
        raise GradientError(
            f"{transform} needs a function that gives one scalar, not a tree",
            hint="has_aux=True for a function that gives (cost, more)",
            location=caller_location(),
        )
    (cost,) = leaves
    if cost.ndim or kind_of(cost.dtype) != "f":
        raise GradientError(
            f"{transform} needs a function that gives a floating scalar, not {cost.type}",
            hint="reduce it first, such as .sum() or .mean(); jacobian differentiates arrays",
            location=cost.location or caller_location(),
        )
    return cost


def value_and_grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """A function that gives what f gives, and the gradient: `(value, gradient)`.

    See `grad`. With has_aux f gives `(cost, more)`, and the result is `((cost, more), gradient)`.
    """
    checked(f, "value_and_grad")

    def call(*args: Any, **kwargs: Any) -> Any:
        point = Point(args, argnums, "value_and_grad")
        out, aux = _split(f(*point.args, **kwargs), has_aux, "value_and_grad")
        cost = _cost(out, "value_and_grad")
        one = constant(np.ones((), cost.dtype), cls=Variable)
        slopes = point.tree(_filled(pulled_back([cost], [one], point.leaves), point.leaves))
        return ((cost, aux), slopes) if has_aux else (cost, slopes)

    return transformed(f, call, "value_and_grad", value_and_grad, argnums, has_aux)


def grad(f: Any, *args: Any, **kwargs: Any) -> Any:
    """The gradient of a function, or of an expression.

    grad(f, argnums=0, has_aux=False) is a function of f's arguments: the derivative of the floating
    scalar that f gives by the argument at position argnums (a tuple of positions gives a tuple), as
    a tree like that argument. What f does not depend on has a gradient of zeros. With has_aux f
    gives `(cost, more)`, and the result is `(gradient, more)`.

    grad(cost, wrt, ...) of an expression is `jitgraph.tensor.grad`.
    """
    if isinstance(f, Value):
        return grad_of_expression(f, *args, **kwargs)  # type: ignore[call-overload]
    return _grad(checked(f, "grad"), *args, **kwargs)


def _grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Any:
    both = value_and_grad(f, argnums, has_aux).__wrapped__

    def call(*args: Any, **kwargs: Any) -> Any:
        value, slopes = both(*args, **kwargs)
        return (slopes, value[1]) if has_aux else slopes

    return transformed(f, call, "grad", _grad, argnums, has_aux)


# --- Jacobians -----------------------------------------------------------------------------------
def _jacobian(f: Function, argnums: Argnums, has_aux: bool, mode: str, transform: str) -> Any:
    checked(f, transform)

    def call(*args: Any, **kwargs: Any) -> Any:
        point = Point(args, argnums, transform)
        out, aux = _split(f(*point.args, **kwargs), has_aux, transform)
        leaves, structure = results(out, "what is differentiated")
        parts = [
            point.tree([
                of_expressions.jacobian(y, w, disconnected_inputs="ignore", mode=mode)
                for w in point.leaves
            ])
            for y in leaves
        ]  # fmt: skip
        found = unflatten(structure, parts)
        return (found, aux) if has_aux else found

    return transformed(f, call, transform, _jacobian, argnums, has_aux, mode, transform)


def jacobian(f: Any, *args: Any, **kwargs: Any) -> Any:
    """All derivatives of a function, or of an expression.

    jacobian(f, argnums=0, has_aux=False, mode="shorter") is a function of f's arguments: for each
    array that f gives, a tree like the argument, whose arrays have the shape of the result and then
    that of the argument. mode: "reverse", "forward", or "shorter" for whichever needs fewer rows as
    far as the types tell.

    jacobian(expression, wrt, ...) is `jitgraph.tensor.jacobian`.
    """
    if isinstance(f, Value):
        return of_expressions.jacobian(f, *args, **kwargs)
    return _of_function(f, *args, **kwargs)


def _of_function(
    f: Function, argnums: Argnums = 0, has_aux: bool = False, mode: str = "shorter"
) -> Any:
    return _jacobian(f, argnums, has_aux, mode, "jacobian")


def jacfwd(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """`jacobian` in forward mode: as many columns as the argument has elements."""
    return _jacobian(f, argnums, has_aux, "forward", "jacfwd")


def jacrev(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Any:
    """`jacobian` in reverse mode: as many rows as the result has elements."""
    return _jacobian(f, argnums, has_aux, "reverse", "jacrev")


def hessian(f: Any, *args: Any, **kwargs: Any) -> Any:
    """The second derivatives of a function that gives a scalar, or of an expression.

    hessian(f, argnums=0) is a function of f's arguments: a tree like the argument, whose leaves are
    trees like the argument, of arrays with the shapes of both.

    hessian(cost, wrt, ...) of an expression is `jitgraph.tensor.hessian`.
    """
    if isinstance(f, Value):
        return of_expressions.hessian(typed(f), *args, **kwargs)
    return _hessian(checked(f, "hessian"), *args, **kwargs)


def _hessian(f: Function, argnums: Argnums = 0) -> Any:
    rows = jacrev(_grad(f, argnums).__wrapped__, argnums).__wrapped__

    def call(*args: Any, **kwargs: Any) -> Any:
        return rows(*args, **kwargs)

    return transformed(f, call, "hessian", _hessian, argnums)


# --- products with a Jacobian --------------------------------------------------------------------
def _like(tree: Any, structure: Structure, leaves: Sequence[Value], role: str) -> list[Value]:
    """The leaves of a tree of tangents or adjoints, each of its value's type."""
    found, own = flatten(tree)
    if own != structure:
        raise InputError(
            f"{role} must come in the same tree as what they belong to",
            location=caller_location(),
        )
    return [same_shape(v, leaf, role) for v, leaf in zip(found, leaves, strict=True)]


def jvp(f: Any, *args: Any, **kwargs: Any) -> Any:
    """jvp(f, primals, tangents, has_aux=False): what f gives at the primals (a tuple of arguments),
    and how that changes, to first order, as these move along the tangents.

    jvp(expressions, wrt, tangents) is `jitgraph.tensor.jvp`.
    """
    if _is_expression(f):
        return of_expressions.jvp(f, *args, **kwargs)
    return _jvp(checked(f, "jvp"), *args, **kwargs)


def _jvp(
    f: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> Any:
    return _jvp_of(f, has_aux)(tuple(primals), tuple(tangents))


@functools.lru_cache(maxsize=256)
def _jvp_of(f: Function, has_aux: bool) -> Any:
    def call(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        point = Point(primals, range(len(primals)), "jvp")
        moves = _like(tangents, flatten(tuple(point.args))[1], point.leaves, "tangents")
        out, aux = _split(f(*point.args), has_aux, "jvp")
        leaves, structure = results(out, "what is differentiated")
        changes = _filled(pushed_forward(leaves, point.leaves, moves), leaves)
        found = unflatten(structure, leaves), unflatten(structure, changes)
        return (*found, aux) if has_aux else found

    return jit(call, name="jvp")


def vjp(f: Any, *args: Any, **kwargs: Any) -> Any:
    """vjp(f, *primals, has_aux=False): what f gives at these arguments, and a function that pulls
    an adjoint of it back to a tuple of adjoints of the arguments.

    Called with arrays, that function computes f anew. vjp(expressions, wrt, adjoints) is
    `jitgraph.tensor.vjp`.
    """
    if _is_expression(f):
        return of_expressions.vjp(f, *args, **kwargs)
    return _vjp(checked(f, "vjp"), *args, **kwargs)


def _vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    forward, backward = _vjp_of(f, has_aux)
    out = forward(*primals)

    def pull(adjoints: Any) -> Any:
        return backward(primals, adjoints)

    return (out[0], pull, out[1]) if has_aux else (out, pull)


@functools.lru_cache(maxsize=256)
def _vjp_of(f: Function, has_aux: bool) -> tuple[Any, Any]:
    def forward(*primals: Any) -> Any:
        return f(*primals)

    def backward(primals: tuple[Any, ...], adjoints: Any) -> Any:
        point = Point(primals, range(len(primals)), "vjp")
        out, _ = _split(f(*point.args), has_aux, "vjp")
        leaves, structure = results(out, "what is differentiated")
        seeds = _like(adjoints, structure, leaves, "adjoints")
        return point.tree(_filled(pulled_back(leaves, seeds, point.leaves), point.leaves))

    return jit(forward, name="vjp"), jit(backward, name="vjp")


def hvp(f: Any, *args: Any, **kwargs: Any) -> Any:
    """hvp(f, primals, tangents): the second derivatives of a function that gives a scalar, times
    the tangents; a tuple of trees like the primals. No matrix of them is made.

    hvp(cost, wrt, tangents) of an expression is `jitgraph.tensor.hvp`.
    """
    if _is_expression(f):
        return of_expressions.hvp(f, *args, **kwargs)
    return _hvp(checked(f, "hvp"), *args, **kwargs)


def _hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    return _hvp_of(f)(tuple(primals), tuple(tangents))


@functools.lru_cache(maxsize=256)
def _hvp_of(f: Function) -> Any:
    def call(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        point = Point(primals, range(len(primals)), "hvp")
        moves = _like(tangents, flatten(tuple(point.args))[1], point.leaves, "tangents")
        cost = _cost(f(*point.args), "hvp")
        one = constant(np.ones((), cost.dtype), cls=Variable)
        slopes = _filled(pulled_back([cost], [one], point.leaves), point.leaves)
        found = pulled_back(slopes, moves, point.leaves)  # the second derivatives are symmetric
        return point.tree(_filled(found, point.leaves))

    return jit(call, name="hvp")


def _is_expression(f: Any) -> bool:
    return isinstance(f, Value) or (isinstance(f, list | tuple) and len(f) > 0)
