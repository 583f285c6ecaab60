"""`Function`: a graph of values with parameters, results and checks; what passes work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from jitgraph.errors import InternalError
from jitgraph.ir.pickling import Before
from jitgraph.ir.printer import print_function
from jitgraph.ir.values import Op, Value, topological


class Function:
    """Parameters, results and the checks that must hold before any result is used.

    `checks` are bool scalars: where one is false the call has failed, and the interpreter is asked
    what to tell the user. `ops` lists every value made by an op, arguments first.
    """

    __slots__ = ("_ops", "_text", "checks", "name", "params", "results")

    def __init__(
        self,
        params: Iterable[Value],
        results: Iterable[Value],
        *,
        checks: Iterable[Value] = (),
        name: str = "main",
    ) -> None:
        self.params: Final = tuple(params)
        self.results: Final = tuple(results)
        self.checks: Final = tuple(checks)
        self.name: Final = name
        self._ops: tuple[Value, ...] | None = None
        self._text: str | None = None

    @property
    def ops(self) -> tuple[Value, ...]:
        """Values in topological order; raises InternalError on a free variable."""
        if self._ops is None:
            params = frozenset(self.params)
            order = topological((*self.checks, *self.results), stop=params)
            free = [v for v in order if v.op is None and v not in params]
            if free:
                names = ", ".join(v.describe() for v in free)
                raise InternalError(f"{self.name} uses {names}, which it has no parameter for")
            self._ops = tuple(v for v in order if v not in params)
        return self._ops

    def __reduce__(self) -> tuple[Any, ...]:
        values = self.params, self.results, self.checks
        return _function, (Before((*self.params, *self.ops)), *values, self.name)

    def has_op(self, holds: Callable[[Op], bool]) -> bool:
        """Whether the function, or a region in it, has an op of which that holds."""
        return any(
            holds(op)
            or any(isinstance(x, Function) and x.has_op(holds) for x in op.attrs.values())
            for op in (value.op for value in self.ops if value.op is not None)
        )

    def __str__(self) -> str:
        if self._text is None:
            self._text = print_function(self)
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _function(
    before: object,
    params: tuple[Value, ...],
    results: tuple[Value, ...],
    checks: tuple[Value, ...],
    name: str,
) -> Function:
    return Function(params, results, checks=checks, name=name)


def print_expression(values: Value | Iterable[Value], *, locations: bool = False) -> str:
    """The expressions as a function of the variables they are made of."""
    roots = (values,) if isinstance(values, Value) else tuple(values)
    leaves = [v for v in topological(roots) if v.op is None]
    return print_function(Function(leaves, roots, name="expression"), locations=locations)
