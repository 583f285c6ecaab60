"""What a compiled function is under Theano's names: `f.maker`, `f.container`, `output_subset=`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jitgraph.compiled import CompiledFunction
from jitgraph.runtime.callable import make_callable_type
from jitgraph.tensor.shared import SharedVariable
from jitgraph.theano.graphs import Graph, as_variables
from jitgraph.theano.signature import In, Out


class Container:
    """A place for a value: that of a shared variable, of a default, or none."""

    def __init__(self, holder: Any = None, name: str | None = None) -> None:
        self._holder = holder if isinstance(holder, SharedVariable) else SharedCell(holder)
        self.name = name

    @property
    def value(self) -> Any:
        """What is there."""
        return self._holder.get_value(borrow=True)

    @value.setter
    def value(self, new: Any) -> None:
        self._holder.set_value(new)

    data = value

    @property
    def storage(self) -> list[Any]:
        """What is there, in a list."""
        return [self.value]

    def __repr__(self) -> str:
        return f"<{self.value!r}>"


class SharedCell:
    """The value of what nobody shares."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get_value(self, borrow: bool = False) -> Any:
        """What is there."""
        return self._value

    def set_value(self, value: Any) -> None:
        """Put something else there."""
        self._value = value


class _ByKey(Mapping[Any, Any]):
    """Containers by variable, name or position; or their values, which can be set."""

    def __init__(self, function: Any, values: bool) -> None:
        self._function, self._values = function, values

    def _found(self, key: Any) -> Container:
        containers = self._function.input_storage
        if isinstance(key, int):
            return containers[key]  # type: ignore[no-any-return]
        for container, declared in zip(containers, self._function.maker.inputs, strict=True):
            if key is declared.variable or (key is not None and key == container.name):
                return container  # type: ignore[no-any-return]
        raise KeyError(key)

    def __getitem__(self, key: Any) -> Any:
        found = self._found(key)
        return found.value if self._values else found

    def __setitem__(self, key: Any, value: Any) -> None:
        self._found(key).value = value

    def __iter__(self) -> Iterator[Any]:
        return (declared.variable for declared in self._function.maker.inputs)

    def __len__(self) -> int:
        return len(self._function.maker.inputs)


class Maker:
    """`f.maker`: what a function was compiled of, and its optimised program."""

    profile = None

    def __init__(self, function: Any) -> None:
        self._function = function

    @property
    def fgraph(self) -> Graph:
        """The program as it is computed."""
        known: Graph | None = self._function.__dict__.get("_fgraph")
        if known is None:
            optimised = self._function.compilation.optimised
            known = self._function.__dict__["_fgraph"] = Graph(
                *as_variables(optimised.params, optimised.results)
            )
        return known

    @property
    def inputs(self) -> list[In]:
        """The inputs, then the shared variables, with what they become."""
        plan = self._function._state.plan
        new = dict(zip(plan.updated, plan.function.results[len(plan.outputs):], strict=True))
        explicit = [In(a.variable, a.keyword, a.default, new.get(a.default), implicit=False)
                    for a in plan.arguments]  # fmt: skip
        defaults = {a.default for a in plan.arguments}
        held = [v for v in dict.fromkeys([*plan.shared, *plan.updated]) if v not in defaults]
        return explicit + [In(v, v.name, v, new.get(v), mutable=v in new, implicit=True,
                              shared=True) for v in held]  # fmt: skip

    expanded_inputs = inputs

    @property
    def outputs(self) -> list[Out]:
        """The outputs."""
        return [Out(result) for result in self._function._state.plan.outputs]

    @property
    def mode(self) -> Any:
        """The mode: how calls are computed."""
        from jitgraph.theano.modes import get_mode

        checked = self._function._state.plan.mode == "checked"
        return get_mode("DebugMode" if checked else "FAST_RUN")

    @property
    def linker(self) -> Any:
        """What would link the program."""
        return self.mode.linker


class _Profile:
    """`f.profile(inputs)` measures what the steps of a function cost (`jitgraph.profiling`)."""

    def __init__(self, measure: Callable[..., Any]) -> None:
        self._measure = measure

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._measure(*args, **kwargs)

    def summary(self, file: Any = None, **options: Any) -> None:
        """Say how a profile is made: calls measure nothing."""
        print("f.profile(inputs) measures what the steps of f cost", file=file or sys.stderr)


class _Era:
    """What compiled functions have under Theano's names, besides what they have anyway."""

    _state: Any
    trust_input = False
    nodes_with_inner_function = ()

    @property
    def maker(self) -> Maker:
        """What the function was compiled of."""
        return Maker(self)

    @property
    def profile(self) -> _Profile:
        """What the steps of the function cost."""
        return _Profile(super().profile)  # type: ignore[misc]

    @property
    def input_storage(self) -> list[Container]:
        """Where inputs and shared variables have their values."""
        plan = self._state.plan
        given = [Container(a.default, a.keyword) for a in plan.arguments]
        implicit = self.maker.inputs[len(given):]
        return given + [Container(i.variable, i.name) for i in implicit]

    @property
    def output_storage(self) -> list[Container]:
        """Where outputs would be kept: results are the caller's, so there is nothing."""
        return [Container() for _ in self._state.plan.outputs]

    @property
    def container(self) -> Any:
        """The containers by variable or name."""
        return _ByKey(self, values=False)

    @property
    def value(self) -> Any:
        """The values by variable or name; they can be set."""
        return _ByKey(self, values=True)

    data = value
    finder = container

    @property
    def defaults(self) -> list[tuple[bool, bool, Any]]:
        """For each input whether it must be given, whether it starts anew, and its value."""
        implicit = self.maker.inputs
        return [(i.value is None, not i.implicit, c.value)
                for i, c in zip(implicit, self.input_storage, strict=True)]  # fmt: skip

    @property
    def fn(self) -> Callable[..., Any]:
        """The call without arguments, several times."""

        def run(n_calls: int = 1, output_subset: Any = None) -> Any:
            results = None
            for _ in range(n_calls):
                results = self(output_subset=output_subset)  # type: ignore[operator]
            return results

        return run

    @property
    def unpack_single(self) -> bool:
        """Whether a call gives an array and no list."""
        return bool(self._state.plan.single)

    @property
    def return_none(self) -> bool:
        """Whether there are no outputs."""
        return bool(self._state.plan.nothing)

    @property
    def output_keys(self) -> list[str] | None:
        """The names of the outputs, where they have names."""
        keys = self._state.plan.keys
        return None if keys is None else list(keys)

    def get_shared(self) -> list[SharedVariable]:
        """The shared variables that are read or updated."""
        return [i.variable for i in self.maker.inputs if i.implicit]

    def free(self) -> None:
        """Nothing is kept between calls but what compiled functions need."""

    sync_shared = free

    def __contains__(self, key: Any) -> bool:
        return key in self.value

    def copy(
        self, share_memory: bool = False, swap: Any = None, delete_updates: bool = False,
        name: str | None = None, profile: Any = None,
    ) -> Any:  # fmt: skip
        """Another function of the same program: see `jitgraph.function`."""
        made = super().copy(share_memory, swap, delete_updates, name)  # type: ignore[misc]
        return with_habits(made)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, super().__reduce__()

    def _slow(self, *args: Any, **kwargs: Any) -> Any:
        subset = kwargs.pop("output_subset", None)
        results = super()._slow(*args, **kwargs)  # type: ignore[misc]
        return results if subset is None else self._chosen(results, subset)

    def _chosen(self, results: Any, subset: Sequence[Any]) -> Any:
        """Some of the results: all are computed, for updates may need them."""
        if isinstance(results, dict):
            return {key: results[key] for key in subset}
        listed = [results] if self._state.plan.single else results
        return [listed[k] for k in subset]


class _EraInPython(_Era):
    """The same of functions whose calls go through Python. Those on a device give NumPy arrays, as
    Theano's did."""

    def __call__(self, *args: Any, output_subset: Any = None, **kwargs: Any) -> Any:
        results = super().__call__(*args, **kwargs)  # type: ignore[misc]
        if self._state.plan.device != "cpu":
            results = _on_host(results)
        return results if output_subset is None else self._chosen(results, output_subset)


def _on_host(results: Any) -> Any:
    """Results of a device as NumPy arrays."""
    if isinstance(results, dict):
        return {key: np.asarray(value) for key, value in results.items()}
    if isinstance(results, list):
        return [np.asarray(value) for value in results]
    return None if results is None else np.asarray(results)


@functools.cache
def _kind(kind: Any) -> Any:
    """A class of compiled functions, with Theano's habits."""
    if kind is CompiledFunction:
        made = make_callable_type("Function", type("_Function", (_Era, kind), {}))
    else:
        made = type("Function", (_EraInPython, kind), {})
        made.awake = _kind(kind.awake) if hasattr(kind, "awake") else None
    return made


def with_habits(function: Any) -> Any:
    """The compiled function itself, which now answers by Theano's names."""
    kind: Any = type(function)
    function.__class__ = _kind(kind)
    if function._state.native is not None:
        function._enter()
    return function


def _restored(restore: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return with_habits(restore(*args))
