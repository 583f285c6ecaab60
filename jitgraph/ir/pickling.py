"""Graphs in pickles and deep copies.

A value is pickled as what its slots hold, and its op with it. Left to itself that descends from
each value into its arguments, which a graph of some hundred ops in a row does not survive. So what
is pickled first of a graph is `Before`: all it is made of, arguments first, such that nothing that
follows is more than a step away from what is there already. Values keep their identity within one
pickle, whatever they are reached through.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitgraph.ir.values import Value


class _Listed(threading.local):
    """The values (by `id`) that this thread is pickling as items of a list."""

    def __init__(self) -> None:
        self.values: set[int] = set()


_listed = _Listed()


class Before:
    """Values in an order in which none comes before its arguments; pickled as a list of them."""

    __slots__ = ("values",)

    def __init__(self, values: Iterable[Value]) -> None:
        self.values = list(values)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (), None, self._items()

    def _items(self) -> Iterator[Any]:
        """The values, and behind them the mark that the list is written; picklers look ahead."""
        own = {id(value) for value in self.values} - _listed.values
        _listed.values |= own
        try:
            yield from self.values
            yield _End(own)
        except GeneratorExit:  # the pickler gave up
            _listed.values -= own
            raise


class _End:
    """The end of a list: pickled as nothing of importance."""

    __slots__ = ("own",)

    def __init__(self, own: set[int]) -> None:
        self.own = own

    def __reduce__(self) -> tuple[Any, ...]:
        _listed.values -= self.own
        return tuple, ()


def is_listed(value: Value) -> bool:
    """Whether the arguments of a value have been pickled before it."""
    return id(value) in _listed.values


def slots_of(value: Value) -> dict[str, Any]:
    """What a value holds, by the names of its slots, without what belongs to this process."""
    cls: Any = type(value)
    held = {name: getattr(value, name) for name in _names(cls) if hasattr(value, name)}
    return held | getattr(value, "__dict__", {})


@cache
def _names(cls: type) -> tuple[str, ...]:
    named = [name for base in cls.__mro__ for name in getattr(base, "__slots__", ())]
    left_out = {"__weakref__", *getattr(cls, "transient", ())}
    return tuple(name for name in named if name not in left_out)


# --- functions behind decorators ---------------------------------------------------------------
_WRAPPED = ".__wrapped__"


def path_of(function: Callable[..., Any]) -> str:
    """Where in its module a function was defined: what is there now may be a decorator's work."""
    return str(getattr(function, "__qualname__", "")).removesuffix(_WRAPPED)


def found_at(function: Callable[..., Any]) -> Any:
    """What its module now has where a function was defined, or None."""
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for name in path_of(function).split("."):
        found = getattr(found, name, None)
    return found


def reachable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called by the name under which picklers find it behind its decorator."""
    if getattr(found_at(function), "__wrapped__", None) is function:
        function.__qualname__ = path_of(function) + _WRAPPED
    return function
