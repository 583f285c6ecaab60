"""Functions with a gradient of their own: the user's, or one that computes the function anew."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from jitgraph.calls import name_of
from jitgraph.errors import GradientError, InputError
from jitgraph.ir.opdef import Attrs, OpDef, apply_op, building_with
from jitgraph.ir.ops.arithmetic import barrier
from jitgraph.ir.ops.marks import Adjoints, CustomRule, with_gradient
from jitgraph.ir.ops.movement import dim
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import Bundle, Type
from jitgraph.ir.values import Value, topological
from jitgraph.location import caller_location
from jitgraph.passes.autodiff import pulled_back
from jitgraph.passes.batched_regions import spread
from jitgraph.passes.batching import batched
from jitgraph.tensor.gradient import same_shape
from jitgraph.tensor.operands import typed
from jitgraph.tensor.variable import Variable
from jitgraph.transforms.functions import Function, checked, results, transformed, variables
from jitgraph.trees import Structure, count, flatten, unflatten


# --- gradients of the user's own -----------------------------------------------------------------
class _CustomVjp:
    """A function and the rule of its gradient, once `defvjp` has named it."""

    def __init__(self, f: Function, nondiff_argnums: Sequence[int]) -> None:
        self._function = f
        self._fixed = tuple(nondiff_argnums)
        self._forward: Function | None = None
        self._backward: Function | None = None
        functools.update_wrapper(self, f, updated=())

    def defvjp(self, forward: Function, backward: Function) -> None:
        """forward(*args) gives (result, residuals); backward(residuals, adjoint), with the
        arguments of nondiff_argnums in front, a tuple of adjoints, one per other argument (None for
        zero)."""
        self._forward = checked(forward, "defvjp")
        self._backward = checked(backward, "defvjp")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(leaf, Value) for leaf in flatten((args, kwargs))[0]):
            return self._function(*args, **kwargs)
        if self._forward is None or self._backward is None:
            raise GradientError(f"the gradient of {name_of(self._function)} is not defined yet",
                                hint="f.defvjp(forward, backward)",
                                location=caller_location())  # fmt: skip
        if kwargs:
            raise InputError(f"{name_of(self._function)} has a gradient of its own, and takes its "
                             "arguments by position", location=caller_location())  # fmt: skip
        fixed = [args[k] for k in self._fixed]
        moving = tuple(a for k, a in enumerate(args) if k not in self._fixed)
        out, residuals = self._forward(*args)
        return _with_gradient(
            name_of(self._function), out, residuals, moving,
            functools.partial(self._backward, *fixed),
        )  # fmt: skip


def custom_vjp(f: Function | None = None, *, nondiff_argnums: Sequence[int] = ()) -> Any:
    """A function whose gradient is written by hand, in JAX's manner:

        @jg.custom_vjp
        def f(x): ...
        f.defvjp(forward, backward)

    forward(x) gives (f(x), residuals), and backward(residuals, g) a tuple of adjoints, one per
    argument. Called with arrays outside any trace, f is the plain function.
    """
    if f is None:
        return functools.partial(custom_vjp, nondiff_argnums=nondiff_argnums)
    return _CustomVjp(checked(f, "custom_vjp"), nondiff_argnums)


def _with_gradient(
    name: str, out: Any, residuals: Any, inputs: tuple[Any, ...], backward: Function
) -> Any:
    """What `out` is, with `backward(residuals, adjoint)` for the adjoints of the inputs."""
    values, out_structure = results(out, f"a result of {name}")
    kept, kept_structure = variables(residuals)
    leaves, _ = variables(inputs)
    structures = [flatten(argument)[1] for argument in inputs]

    def adjoints(gs: Sequence[Value], operands: Sequence[Value]) -> list[Value | None]:
        own = unflatten(kept_structure, operands[: len(kept)])
        given = backward(own, unflatten(out_structure, gs))
        return _one_per_leaf(name, given, structures, operands[len(kept) :])

    made = with_gradient(values, kept, leaves, _rule(name, adjoints))
    return unflatten(out_structure, map(typed, made))


def _one_per_leaf(
    name: str, given: Any, structures: Sequence[Structure], leaves: Sequence[Value]
) -> list[Value | None]:
    """The adjoints that a user's function gave, for each leaf of the inputs."""
    if not isinstance(given, tuple | list) or len(given) != len(structures):
        raise GradientError(
            f"the gradient of {name} must give a tuple of {len(structures)} adjoints, one per "
            "argument",
            hint="(g * 2,) is a tuple of one; None stands for zero",
            location=caller_location(),
        )
    found: list[Value | None] = []
    for adjoint, structure in zip(given, structures, strict=True):
        if adjoint is None:
            found += [None] * count(structure)
            continue
        own, own_structure = flatten(adjoint)
        if own_structure != structure:
            raise GradientError(
                f"the gradient of {name} gave an adjoint of another tree than the argument has",
                location=caller_location(),
            )
        found += [same_shape(a, leaves[len(found) + k], "an adjoint") for k, a in enumerate(own)]
    return found


def _rule(name: str, adjoints: Adjoints) -> CustomRule:
    return CustomRule.of(name, adjoints, lambda: _rule(name, _for_all(adjoints)))


def _for_all(adjoints: Adjoints) -> Adjoints:
    """The rule of one element, for many."""

    def many(gs: Sequence[Value], operands: Sequence[Value]) -> list[Value | None]:
        everything = [*gs, *operands]
        ones = [Variable(Type(v.dtype, v.type.shape[1:])) for v in everything]
        found = adjoints(ones[: len(gs)], ones[len(gs) :])
        present = [a for a in found if a is not None]
        size = dim(everything[0], 0)
        made = iter(batched(present, dict(zip(ones, everything, strict=True)), size))
        return [None if a is None else spread(*next(made), size) for a in found]

    return many


# --- computed anew -------------------------------------------------------------------------------
class _Recorder:
    """An emitter that remembers what was made."""

    def __init__(self) -> None:
        self.made: set[Value] = set()

    def emit(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value:
        value = apply_op(definition, args, attrs, caller_location())
        self.made.add(value)
        return value


def checkpoint(f: Function) -> Any:
    """f, whose gradient computes f anew instead of keeping what it had computed on the way.

    That takes less memory and more time. It changes no value.
    """
    checked(f, "checkpoint")
    name = name_of(f)

    def call(*args: Any, **kwargs: Any) -> Any:
        recorder = _Recorder()
        with building_with(recorder):
            values, structure = results(f(*args, **kwargs), f"a result of {name}")
        inside = [v for v in topological(values) if v in recorder.made]
        outside = [a for v in inside for a in (v.op.args if v.op is not None else ())
                   if a not in recorder.made and a.literal is None]  # fmt: skip
        taken = list(dict.fromkeys(outside))
        if not taken or any(isinstance(v.type, Bundle) for v in taken):
            return unflatten(structure, map(typed, values))

        def adjoints(gs: Sequence[Value], operands: Sequence[Value]) -> list[Value | None]:
            fresh = [barrier(x) if x.type.is_continuous else x for x in operands]
            again = substituted(values, dict(zip(taken, fresh, strict=True)))
            return pulled_back(again, gs, fresh)

        made = with_gradient(values, (), taken, _rule(name, adjoints))
        return unflatten(structure, map(typed, made))

    return transformed(f, call, "checkpoint", checkpoint)
