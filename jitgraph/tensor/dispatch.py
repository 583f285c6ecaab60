"""NumPy's own names: `np.f(x)` of a variable is `T.f(x)`.

NumPy hands every call that meets a variable to `__array_ufunc__` or `__array_function__`. The
function of the same name is looked up among those of `jitgraph.tensor` and called with the same
arguments: NumPy's signature says which they are, ours what they are called here. What an argument
asks for and we lack (`out=`, ...) is refused, never ignored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

import numpy as np

from jitgraph.errors import DTypeError
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, refuse
from jitgraph.tensor.refusals import REFUSED

#: The public names of `jitgraph.tensor`, which puts them here when it is imported.
NAMESPACE: dict[str, Any] = {}

#: What `np.add.reduce` and its kind are called, by ufunc.
REDUCTIONS = {
    "add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min",
    "logical_and": "all", "logical_or": "any",
}  # fmt: skip
ACCUMULATIONS = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax",
                 "minimum": "cummin"}  # fmt: skip

#: Arguments without a meaning for what does not exist yet, and the values that ask for nothing.
_HARMLESS: dict[str, Sequence[Any]] = {
    "order": ("C", "K", "A"), "subok": (True, False), "casting": ("same_kind", "safe", "unsafe"),
    "copy": (None, True, False), "where": (True,), "out": (None, (None,)), "like": (None,),
    "signature": (None,), "device": (None, "cpu"),
}  # fmt: skip
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD,
                inspect.Parameter.VAR_POSITIONAL)  # fmt: skip


def find(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Our function of the name of one of NumPy's, or None."""
    name, (package, *rest) = function.__name__, function.__module__.split(".")
    if package != "numpy":
        return None
    return getattr(NAMESPACE.get(rest[0]), name, None) if rest else NAMESPACE.get(name)


def shown(function: Callable[..., Any]) -> str:
    """`np.linalg.norm`, as users write it."""
    parts = function.__module__.split(".")[1:2]
    return ".".join(["np", *parts, function.__name__])


# --- np.f(x) -----------------------------------------------------------------------------------
def call_function(
    variable: Value, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
) -> Any:
    """A call of one of NumPy's functions as an expression; raises DTypeError if there is none."""
    target = None if function.__name__ in REFUSED else find(function)
    if target is None:
        _refuse(variable, shown(function), REFUSED.get(function.__name__, "see docs/numpy.md"))
    given = inspect.signature(function).bind(*args, **kwargs)
    counterparts = _counterparts(function, target)
    arguments: dict[str, Any] = {}
    named: dict[str, Any] = {}
    for name, value in _spelled(given):
        ours = counterparts.get(name)
        if ours is not None:
            listed = _several(target), _several(function)
            alone = ours == listed[0] and name != listed[1]
            arguments[ours] = (value,) if alone else value
        elif _several(target, inspect.Parameter.VAR_KEYWORD) and name not in _HARMLESS:
            named[name] = value
        elif not _asks_for_nothing(name, value, given.signature):
            _refuse(variable, f"{shown(function)} with {name}=", f"leave out {name}=")
    order = {name: arguments[name] for name in _parameters(target) if name in arguments}
    bound = inspect.BoundArguments(inspect.signature(target), order)
    return target(*bound.args, **bound.kwargs, **named)


def _spelled(given: inspect.BoundArguments) -> list[tuple[str, Any]]:
    """The arguments by name, those of `**kwargs` by their own."""
    listed: list[tuple[str, Any]] = []
    for name, value in given.arguments.items():
        if given.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            listed += value.items()
        else:
            listed.append((name, value))
    return listed


@cache
def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _several(
    function: Callable[..., Any], kind: Any = inspect.Parameter.VAR_POSITIONAL
) -> str | None:
    """The name of the `*args` (or `**kwargs`) of a function, if it has some."""
    return next((n for n, p in _parameters(function).items() if p.kind is kind), None)


@cache
def _counterparts(function: Callable[..., Any], target: Callable[..., Any]) -> dict[str, str]:
    """Our parameter for each of NumPy's: of the same name, else that at the same place."""
    theirs, ours = _parameters(function), _parameters(target)
    places = [p for p in ours.values() if p.kind in _BY_POSITION]
    found = {name: name for name in ours}
    for place, (name, parameter) in enumerate(theirs.items()):
        if name in ours or parameter.kind not in _BY_POSITION or place >= len(places):
            continue
        if places[place].name not in theirs:
            found[name] = places[place].name
    return found


def _asks_for_nothing(name: str, value: Any, signature: inspect.Signature) -> bool:
    parameter = signature.parameters.get(name)
    if parameter is not None and value is parameter.default:
        return True
    if isinstance(value, Value | np.ndarray):
        return False
    usual = () if parameter is None else (parameter.default,)
    return any(type(value) is type(h) and value == h for h in (*_HARMLESS.get(name, ()), *usual))


def _refuse(variable: Value, what: str, hint: str) -> NoReturn:
    refuse(DTypeError(
        f"{what} cannot take {variable.describe()}, which is symbolic", hint=hint
    ), variable)  # fmt: skip


# --- ufuncs and their methods ------------------------------------------------------------------
def call_ufunc(
    variable: Value, ufunc: np.ufunc, method: str, inputs: Any, options: Mapping[str, Any]
) -> Any:
    """A call of a ufunc, or of its `reduce`, `accumulate` or `outer`, as an expression."""
    name = ufunc.__name__
    what = f"np.{name}" + (f".{method}" if method != "__call__" else "")
    left = {k: v for k, v in options.items() if not _is_harmless(k, v)}
    if method == "reduce" and name in REDUCTIONS:
        return _reduced(NAMESPACE[REDUCTIONS[name]], inputs, left)
    if method == "accumulate" and name in ACCUMULATIONS:
        return NAMESPACE[ACCUMULATIONS[name]](*inputs, **{"axis": 0, **left})
    function = NAMESPACE.get(name)
    if function is None or method not in ("__call__", "outer"):
        hint = 'write x.at[indices].add(...)' if method == "at" else "see docs/numpy.md"
        _refuse(variable, what, REFUSED.get(name, hint))
    dtype = left.pop("dtype", None)
    if left:
        listed = ", ".join(f"{k}=" for k in left)
        _refuse(variable, f"{what} with {listed}", f"leave out {listed}")
    operands = list(inputs)
    if dtype is not None:
        operands = [as_tensor(x, dtype) for x in operands]
    if method == "outer":
        first, second = map(as_tensor, operands)
        operands = [first[(..., *[None] * second.ndim)], second]
    return function(*operands)


def _is_harmless(name: str, value: Any) -> bool:
    return not isinstance(value, Value | np.ndarray) and value in _HARMLESS.get(name, ())


def _reduced(function: Callable[..., Any], inputs: Any, options: Mapping[str, Any]) -> Any:
    """`np.add.reduce` goes along the first axis unless told otherwise; dtype None asks for none."""
    kept = {k: v for k, v in options.items() if not (k == "dtype" and v is None)}
    return function(*inputs, **{"axis": 0, **kept})
