"""`theano.gof.utils` and what else of `theano.gof` programs use beside ops and graphs."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

scratchpad = SimpleNamespace
undef = object()


class TestValueError(Exception):
    """A test value that is missing or wrong."""


class ParamsType:
    """For `params_type` of an op: the names of the parameters, which `perform` finds as attributes
    of its fourth argument."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields


class Feature:
    """What watches a graph while it is rewritten; rewrites are jitgraph's own and call nothing."""

    def on_attach(self, fgraph: Any) -> None:
        """Never called."""


def add_tag_trace(thing: Any, user_line: Any = None) -> Any:
    """The thing itself: every variable knows its line."""
    return thing


def memoize(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is called once for the same arguments."""
    return functools.cache(function)


def deprecated(filename: str, msg: str = "") -> Callable[..., Any]:
    """A decorator: the first call warns."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            warnings.warn(f"{filename}: {function.__name__} is deprecated. {msg}",
                          DeprecationWarning, stacklevel=2)  # fmt: skip
            return function(*args, **kwargs)

        return call

    return decorate


def uniq(seq: Iterable[Any]) -> list[Any]:
    """The items, none of them twice."""
    return list(dict.fromkeys(seq))


def difference(seq1: Iterable[Any], seq2: Iterable[Any]) -> list[Any]:
    """The items of the first that are not in the second."""
    rest = set(seq2)
    return [x for x in seq1 if x not in rest]


def flatten(a: Any) -> list[Any]:
    """The items of nested lists, tuples and sets, in one list."""
    if not isinstance(a, tuple | list | set):
        return [a]
    return [item for part in a for item in flatten(part)]
