"""What watches over the calls of a function: comparison, NaNs, every op."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from jitgraph.inputs import by_input, coerced
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.theano.modes import DebugModeError

#: Numbers larger than this are suspect.
BIG = 1e10


class _Watched:
    """A compiled function whose calls are also walked op by op in the interpreter."""

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

    def _arrays(self, args: Any, kwargs: Any) -> list[Any]:
        """What the parameters of the program are in this call."""
        plan = self._function._state.plan
        given = by_input(self._function.name, plan.arguments, args, dict(kwargs))
        given = coerced(plan.arguments, given)
        return [*given, *(s.slots.get() for s in plan.shared)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


class Compared(_Watched):
    """Results must be those of the interpreter."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plan = self._function._state.plan
        expected = interpreter.run(plan.function, self._arrays(args, kwargs))
        results = self._function(*args, **kwargs)
        outputs = [] if results is None else [results] if plan.single else (
            list(results.values()) if isinstance(results, dict) else results
        )  # fmt: skip
        news = [s.get_value(borrow=True) for s in plan.updated]
        for k, (a, b) in enumerate(zip([*outputs, *news], expected, strict=False)):
            wide = np.finfo(b.dtype).eps if b.dtype.kind in "fc" else 0.0
            if b.dtype.kind in "fcbiu" and not np.allclose(
                a, b, rtol=1e6 * wide, atol=1e6 * wide, equal_nan=True
            ):
                raise DebugModeError(f"{self._function.name}: result {k} is\n{a}\n, and {b}\nby "
                                     "the interpreter")  # fmt: skip
        return results


class Guarded(_Watched):
    """Nothing may be NaN, infinite or large."""

    def __init__(self, function: Any, errors: dict[str, bool]) -> None:
        super().__init__(function)
        self._errors = errors

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fn = self._function._state.plan.function
        arrays = self._arrays(args, kwargs)
        for param, array in zip(fn.params, arrays, strict=True):
            self._check(array, f"the input {param.describe()}", param)
        for value, result in walked(fn, arrays):
            self._check(result, f"the result of {value.op.name}", value)
        return self._function(*args, **kwargs)

    def _check(self, array: Any, what: str, value: Any) -> None:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fc":
            return
        with np.errstate(all="ignore"):
            found = {"nan": np.isnan(array).any(), "inf": np.isinf(array).any(),
                     "big": (np.abs(array[np.isfinite(array)]) > BIG).any()}  # fmt: skip
        for kind, present in found.items():
            if present and self._errors[kind]:
                place = f" ({value.location.short})" if value.location else ""
                raise AssertionError(f"{what}{place} has {kind} values:\n{array}")


class Monitored(_Watched):
    """Every op is shown to functions before and after."""

    def __init__(self, function: Any, before: Any, after: Any) -> None:
        super().__init__(function)
        self._before, self._after = before, after

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fn = self._function._state.plan.function
        known = dict(zip(fn.params, self._arrays(args, kwargs), strict=True))
        for number, value in enumerate(fn.ops):
            op = value.op
            assert op is not None
            seen = SimpleNamespace(inputs=[[known[a]] for a in op.args], outputs=[[None]])
            if self._before is not None:
                self._before(fn, number, value, seen)
            known[value] = evaluated(value, known)
            seen.outputs = [[known[value]]]
            if self._after is not None:
                self._after(fn, number, value, seen)
        return self._function(*args, **kwargs)


def evaluated(value: Any, known: dict[Any, Any]) -> Any:
    """The result of one op."""
    op = value.op
    with np.errstate(all="ignore"):
        found = op.definition.evaluate(*(known[a] for a in op.args), **op.attrs)
    return found if isinstance(found, tuple) else np.asarray(found)


def walked(fn: Function, arrays: list[Any]) -> Any:
    """Each op's value and result, in order."""
    known = dict(zip(fn.params, arrays, strict=True))
    for value in fn.ops:
        known[value] = evaluated(value, known)
        yield value, known[value]
