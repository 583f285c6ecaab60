"""Calls of functions under `jit`, taken apart: leaves, the tree they form, static values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgraph.errors import InputError
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.tensor.number import Number
from jitgraph.tensor.variable import Variable
from jitgraph.trees import LEAF, Node, Structure, flatten, leaf_names, unflatten

#: What a leaf is: one of Python's numbers, or dtype and rank.
Kind = Any
PYTHON_NUMBERS = (float, int, complex, bool)
#: Classes of arrays whose dtypes are NumPy's, as far as any were met.
_ARRAYS: set[type] = {np.ndarray}


@dataclass(slots=True)
class Call:
    """A call of a function, its arguments apart: the leaves, and all that a trace depends on."""

    leaves: list[Any]
    structure: Structure
    static: tuple[tuple[int | str, Any], ...]

    def arguments(self, leaves: Iterable[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of the function with other leaves."""
        args, kwargs = unflatten(self.structure, leaves)
        args = list(args)
        for where, value in self.static:
            if isinstance(where, int):
                args.insert(where, value)
            else:
                kwargs[where] = value
        return args, kwargs


@dataclass(frozen=True, slots=True)
class Parameters:
    """The names of a function's parameters, by position, and those that are static."""

    names: tuple[str, ...]
    static: frozenset[str]

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Take a call apart."""
        if kwargs:
            args = self._in_place(args, kwargs)
        static: tuple[tuple[int | str, Any], ...] = ()
        if self.static:
            names = self.names[: len(args)]
            fixed = {k for k, name in enumerate(names) if name in self.static}
            static = (*((k, args[k]) for k in sorted(fixed)),
                      *((name, kwargs.pop(name)) for name in sorted(self.static & set(kwargs))))
            args = tuple(a for k, a in enumerate(args) if k not in fixed)
        leaves, structure = flatten((args, kwargs))
        return Call(leaves, structure, static)

    def _in_place(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Positional arguments with the keywords that continue them, which are taken out."""
        more = []
        for name in self.names[len(args) :]:
            if name not in kwargs:
                break
            more.append(kwargs.pop(name))
        if len(kwargs) > 1:
            rest = sorted(kwargs.items())
            kwargs.clear()
            kwargs.update(rest)
        return (*args, *more)

    def leaf_names(self, call: Call) -> list[str]:
        """A name for each leaf."""
        assert isinstance(call.structure, Node)
        args, kwargs = call.structure.children
        assert isinstance(args, Node)
        assert isinstance(kwargs, Node)
        fixed = {where for where, _ in call.static}
        free = [n for k, n in enumerate(self.names) if k not in fixed]
        free += [f"arg{k}" for k in range(len(free), len(args.children))]
        pairs = [*zip(free, args.children, strict=False),
                 *zip(kwargs.keys, kwargs.children, strict=True)]  # fmt: skip
        return [n for name, structure in pairs for n in leaf_names(structure, name)]


def parameters_of(
    function: Callable[..., Any], names: Sequence[str], numbers: Sequence[int]
) -> Parameters:
    """Raises InputError for static arguments that the function does not have."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY,
                                                           p.POSITIONAL_OR_KEYWORD)]  # fmt: skip
    known = {p.name for p in parameters}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in names:
        if name not in known and not takes_any:
            raise InputError(f"{name_of(function)} has no argument {name!r} to be static",
                             hint=f"its arguments: {', '.join(known)}",
                             location=caller_location())  # fmt: skip
    static = set(names)
    for number in numbers:
        if not -len(positional) <= number < len(positional):
            raise InputError(f"{name_of(function)} has no positional argument {number}",
                             location=caller_location())  # fmt: skip
        static.add(positional[number])
    return Parameters(tuple(positional), frozenset(static))


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called in messages."""
    inner = function.func if isinstance(function, functools.partial) else function
    return getattr(inner, "__name__", type(inner).__name__)


def flat(count: int) -> Structure:
    """The tree of a call with so many arguments that are leaves."""
    return Node(tuple, None, (Node(tuple, None, (LEAF,) * count), Node(dict, (), ())))


def kind_of_leaf(leaf: Any) -> Kind:
    """What a trace depends on of a leaf; None for what has no dtype."""
    kind = type(leaf)
    if kind in _ARRAYS:
        return leaf.dtype, leaf.ndim
    if kind in PYTHON_NUMBERS:
        return kind
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype, leaf.ndim
    if isinstance(leaf, Value):
        return Value
    if hasattr(leaf, "__array__"):
        if isinstance(dtype := getattr(leaf, "dtype", None), np.dtype):  # of a device
            _ARRAYS.add(kind)
            return dtype, leaf.ndim
        array = np.asarray(leaf)
        return array.dtype, array.ndim
    return None


def variable_of(kind: Kind, name: str, shape: tuple[int | None, ...]) -> Variable:
    """The variable for a leaf of this kind."""
    if kind in PYTHON_NUMBERS:
        return Number.argument(kind, name)
    return Variable(Type(kind[0].newbyteorder("="), shape), None, name)
