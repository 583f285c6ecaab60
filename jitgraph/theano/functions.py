"""`theano.function` and what goes with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import jitgraph as jg
from jitgraph.errors import InputError
from jitgraph.ir.substitution import substituted
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import speaking
from jitgraph.tensor.shared import SharedVariable
from jitgraph.theano import modes
from jitgraph.theano.callables import Container, with_habits
from jitgraph.theano.config import config
from jitgraph.theano.signature import In, Out, Param
from jitgraph.theano.variables import Shape, TensorVariable, as_tensor_variable

__all__ = ["Container", "In", "Out", "Param"]
UnusedInputError = InputError


class OrderedUpdates(OrderedDict[Any, Any]):
    """Updates by shared variable, in the order in which they were given."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, SharedVariable):
            raise TypeError(f"only shared variables are updated, not {key!r}")
        super().__setitem__(key, value)

    def update(self, other: Any = None, **unused: Any) -> None:  # type: ignore[override]
        """Add updates; one variable cannot have two."""
        pairs = other.items() if isinstance(other, Mapping) else other or ()
        for key, value in pairs:
            if key in self and self[key] is not value:
                raise KeyError(f"{key.describe()} is updated twice", key)
            self[key] = value

    def __add__(self, other: Any) -> OrderedUpdates:
        joined = OrderedUpdates(self)
        joined.update(other)
        return joined

    def __radd__(self, other: Any) -> OrderedUpdates:
        joined = OrderedUpdates(other)
        joined.update(self)
        return joined


def function(
    inputs: Sequence[Any], outputs: Any = None, mode: Any = None, updates: Any = None,
    givens: Any = None, no_default_updates: Any = False, accept_inplace: bool = False,
    name: str | None = None, rebuild_strict: bool = True,
    allow_input_downcast: bool | None = None, profile: Any = None,
    on_unused_input: str | None = None,
) -> Any:  # fmt: skip
    """Compile expressions into a function, with Theano's arguments.

    An input may be an expression: the function then computes with what the call gives for it.
    accept_inplace, rebuild_strict and profile change nothing.
    """
    if not isinstance(inputs, list | tuple):
        raise TypeError("the inputs must be a list, such as function([x], y)")
    chosen = modes.get_mode(mode)
    cut = {} if givens is None else dict(givens.items() if isinstance(givens, Mapping) else givens)
    taken = [_input(item, cut) for item in inputs]
    results = _outputs(outputs)
    with speaking(TensorVariable):
        made = jg.function(
            taken, results, updates=_pairs(updates),
            givens={old: as_tensor_variable(new) for old, new in cut.items()},
            name=name or "main", on_unused_input=on_unused_input or config.on_unused_input,
            allow_input_downcast=_casting(allow_input_downcast), algebra=chosen.algebra,
            no_default_updates=_listed(no_default_updates), mode=chosen.native,
        )  # fmt: skip
    return chosen.wrapped(with_habits(made))


def _casting(allowed: bool | None) -> bool | str | None:
    """What may be done to inputs: what is allowed is all that `astype` does, as it was."""
    return "unsafe" if allowed else allowed


def _pairs(updates: Any) -> list[tuple[Any, Any]]:
    pairs = updates.items() if isinstance(updates, Mapping) else updates or ()
    return [(old, as_tensor_variable(new) if isinstance(new, Shape) else new)
            for old, new in pairs]  # fmt: skip


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, Value) else given


def _input(item: Any, cut: dict[Any, Any]) -> Any:
    """An input of `jitgraph.function`; where Theano takes an expression, a variable for it."""
    declared = item if isinstance(item, In) else None
    variable = item.variable if declared else item
    if isinstance(variable, tuple | list):
        raise TypeError("inputs with values are written In(variable, value=...)")
    if isinstance(variable, Value) and variable.op is not None and not variable.literal:
        leaf = TensorVariable(variable.type, None, variable.name, variable.location)
        cut[variable] = leaf
        variable = leaf
    if declared is None:
        return variable
    return jg.In(
        variable, declared.name, declared.value, declared.update, declared.mutable,
        declared.strict, _casting(declared.allow_downcast), declared.borrow,
    )  # fmt: skip


def _outputs(outputs: Any) -> Any:
    if isinstance(outputs, Mapping):
        return {str(key): _output(value) for key, value in outputs.items()}
    if isinstance(outputs, list | tuple) and not isinstance(outputs, Shape):
        return [_output(o) for o in outputs]
    return _output(outputs)


def _output(value: Any) -> Any:
    if isinstance(value, Out):
        value = value.variable
    return value if value is None or isinstance(value, Value) else as_tensor_variable(value)


def clone(
    output: Any, replace: Any = None, strict: bool = True, share_inputs: bool = True,
    copy_inputs: Any = None,
) -> Any:  # fmt: skip
    """Expressions with parts of them replaced."""
    pairs = replace.items() if isinstance(replace, Mapping) else replace or ()
    replaced = {old: as_tensor_variable(new) for old, new in pairs}
    for old, new in replaced.items():
        if strict and (old.ndim != new.ndim or old.dtype != new.dtype):
            raise TypeError(f"{old.describe()} is {old.type} and cannot become {new.type}; "
                            "strict=False allows it")  # fmt: skip
    several = isinstance(output, list | tuple)
    made = substituted(list(output) if several else [output], replaced)
    return made if several else made[0]


def map_variables(replacer: Any, graphs: Sequence[Any], additional_inputs: Any = ()) -> list[Any]:
    """Graphs whose variables are what `replacer` makes of them."""
    from jitgraph.ir.values import topological

    replaced: dict[Value, Value] = {}
    for value in topological(graphs):
        (rebuilt,) = substituted([value], replaced) if replaced else (value,)
        new = replacer(rebuilt)
        if new is not value:
            replaced[value] = new
    return substituted(graphs, replaced)


def rebuild_collect_shared(outputs: Any, inputs: Any = None, replace: Any = None,
                           **options: Any) -> Any:  # fmt: skip
    """The outputs with their replacements."""
    return inputs, clone(outputs, replace, strict=False), []


class _FunctionKind(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return hasattr(instance, "compilation") and callable(instance)


class AFunction(metaclass=_FunctionKind):
    """For `isinstance` only: `function` makes them."""
