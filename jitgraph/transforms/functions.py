"""What transforms share: functions over trees of arrays, run on variables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from jitgraph.calls import name_of
from jitgraph.errors import GradientError, InputError
from jitgraph.function import expression_of
from jitgraph.ir.ops.marks import alias
from jitgraph.ir.values import Value
from jitgraph.jit import Bound, Jitted, jit
from jitgraph.location import caller_location
from jitgraph.tensor.operands import as_tensor, typed
from jitgraph.tensor.variable import Variable
from jitgraph.trees import Structure, flatten, unflatten

Function = Callable[..., Any]


def checked(f: Any, transform: str) -> Function:
    """f, if it can be called; raises InputError."""
    if not callable(f):
        raise InputError(f"{transform} takes a function, not {f!r:.60}", location=caller_location())
    return f  # type: ignore[no-any-return]


def transformed(f: Function, made: Function, transform: str, again: Any, *arguments: Any) -> Any:
    """A transform of f as users hold it: under jit, with f's static arguments and algebra. It
    pickles as `again(f, *arguments)`, which makes the same."""
    options = dict(f._options) if isinstance(f, Jitted | Bound) else {}
    options["name"] = f"{transform}({name_of(f)})"
    functools.update_wrapper(made, f, updated=())
    result = jit(made, **options)
    result._again = again, (f, *arguments)
    return result


def variables(tree: Any) -> tuple[list[Variable], Structure]:
    """The leaves of a tree as variables: arrays as constants."""
    leaves, structure = flatten(tree)
    return [typed(as_tensor(leaf)) for leaf in leaves], structure


def results(tree: Any, role: str) -> tuple[list[Value], Structure]:
    """The leaves of what a function gave, as expressions."""
    leaves, structure = flatten(tree)
    return [expression_of(leaf, role) for leaf in leaves], structure


def chosen(argnums: int | Sequence[int], count: int, transform: str) -> list[int]:
    """The positions of arguments that `argnums` names; raises InputError for one not there."""
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for n in numbers:
        if not -count <= n < count:
            raise InputError(
                f"{transform} by argument {n} of a function called with {count}",
                hint="arguments to differentiate by are passed by position",
                location=caller_location(),
            )
    return [n % count for n in numbers]


class Point:
    """Arguments of a function, some of which it is differentiated by.

    The leaves of these are aliases, so that a variable the function also takes from outside is a
    constant there, as it would be for arrays.
    """

    def __init__(
        self, args: Sequence[Any], argnums: int | Sequence[int], transform: str
    ) -> None:
        self.single = isinstance(argnums, int)
        numbers = chosen(argnums, len(args), transform)
        self.leaves: list[Value] = []
        self._structures: list[Structure] = []
        self.args = list(args)
        for n in numbers:
            leaves, structure = variables(args[n])
            self._check(leaves, transform)
            own = [alias(leaf) for leaf in leaves]
            self.args[n] = unflatten(structure, own)
            self.leaves += own
            self._structures.append(structure)

    @staticmethod
    def _check(leaves: Sequence[Value], transform: str) -> None:
        for leaf in leaves:
            if not leaf.type.is_continuous:
                raise GradientError(
                    f"{transform} by {leaf.describe()}, which is {leaf.type}",
                    hint="only floating and complex arrays have derivatives; pass 2.0, not 2",
                    location=caller_location(),
                )

    def tree(self, found: Sequence[Any]) -> Any:
        """One result per leaf, in the trees of the arguments: of one, or a tuple of all."""
        rest = iter(found)
        trees = tuple(unflatten(s, rest) for s in self._structures)
        return trees[0] if self.single else trees
