"""What watches over the calls of a function: for NaNs, or for whoever wants to see every op."""

from __future__ import annotations

from copy import copy
from types import SimpleNamespace
from typing import Any

import numpy as np

from jitgraph.inputs import by_input, coerced
from jitgraph.ir import interpreter
from jitgraph.ir.types import kind_of
from jitgraph.theano.variables import Apply

#: Numbers larger than this are suspect.
BIG = 1e10


class _Watched:
    """A compiled function whose calls are also walked op by op in the interpreter, before."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_function":
            raise AttributeError(name)
        return getattr(self._function, name)

    def __getitem__(self, key: Any) -> Any:
        return self._function[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._function[key] = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._function!r}>"

    def copy(self, *args: Any, **options: Any) -> Any:
        """A copy of the function, watched as well."""
        made = copy(self)
        made._function = self._function.copy(*args, **options)
        return made

    def __call__(self, *args: Any, output_subset: Any = None, **kwargs: Any) -> Any:
        plan = self._function._state.plan
        given = by_input(self._function.name, plan.arguments, args, dict(kwargs))
        arrays = [*coerced(plan.arguments, given), *(s.slots.host() for s in plan.shared)]
        self.begin(plan.function.params, arrays)
        with np.errstate(all="ignore"):
            interpreter.run(plan.function, arrays, watch=interpreter.Watch(self.watch))
        return self._function(*args, output_subset=output_subset, **kwargs)

    def begin(self, params: Any, arrays: Any) -> None:
        """See the inputs of a call."""

    def watch(self, value: Any, operands: Any, result: Any) -> None:
        """See one op of a call."""


class Guarded(_Watched):
    """Nothing may be NaN, infinite or large."""

    def __init__(self, function: Any, errors: dict[str, bool]) -> None:
        super().__init__(function)
        self._errors = errors

    def begin(self, params: Any, arrays: Any) -> None:
        for param, array in zip(params, arrays, strict=True):
            self._check(array, f"the input {param.describe()}", param)

    def watch(self, value: Any, operands: Any, result: Any) -> None:
        if value.literal is None:
            self._check(result, f"the result of {value.op.name}", value)

    def _check(self, array: Any, what: str, value: Any) -> None:
        if not isinstance(array, np.ndarray) or kind_of(array.dtype) not in "fc":
            return
        finite = array[np.isfinite(array)]
        found = {"nan": np.isnan(array).any(), "inf": np.isinf(array).any(),
                 "big": (np.abs(finite) > BIG).any()}  # fmt: skip
        for kind, present in found.items():
            if present and self._errors[kind]:
                place = f" ({value.location.short})" if value.location else ""
                where = "".join(f"\n{step}" for step in interpreter.steps())
                raise AssertionError(f"{what}{place} has {kind} values:\n{array}{where}")


class Monitored(_Watched):
    """Every op is shown to functions, `(graph, number, node, storage)`."""

    def __init__(self, function: Any, before: Any, after: Any) -> None:
        super().__init__(function)
        self._before, self._after, self._number = before, after, 0

    def begin(self, params: Any, arrays: Any) -> None:
        self._number = 0

    def watch(self, value: Any, operands: Any, result: Any) -> None:
        if value.literal is not None:
            return
        storage = SimpleNamespace(inputs=[[o] for o in operands], outputs=[[result]])
        for function in (self._before, self._after):
            if function is not None:
                function(self._function.maker.fgraph, self._number, Apply.of(value), storage)
        self._number += 1
