"""Control flow under the names and with the arguments of `jax.lax`, for programs written that way.

    from jitgraph import lax
    carry, rows = lax.scan(step, h0, xs)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jitgraph.tensor as T
from jitgraph.errors import InputError
from jitgraph.tensor.control import cond, fori_loop, loop_rows, while_loop
from jitgraph.tensor.operands import as_tensor, refuse

scan = loop_rows
select = T.where

__all__ = ["cond", "fori_loop", "map", "scan", "select", "switch", "while_loop"]


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f` of every row of a tree of arrays, the results joined."""
    _, rows = loop_rows(lambda carry, x: (carry, f(x)), None, xs)
    return rows


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`; an index out of range takes the nearest branch. Only the one
    that is chosen runs."""
    if not branches:
        refuse(InputError("switch needs a branch", hint="switch(i, [f, g], x)"))
    chosen = as_tensor(index)

    def among(first: int, last: int) -> Callable[..., Any]:
        if first == last:
            return branches[first]
        middle = (first + last) // 2
        return lambda *given: cond(
            chosen <= middle, among(first, middle), among(middle + 1, last), *given
        )

    return among(0, len(branches) - 1)(*operands)
