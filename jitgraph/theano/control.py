"""`theano.ifelse`."""

from __future__ import annotations

from typing import Any

import jitgraph.tensor as jt
from jitgraph.theano.variables import as_tensor_variable, spoken


@spoken
def ifelse(condition: Any, then_branch: Any, else_branch: Any, name: str | None = None) -> Any:
    """One of two expressions, or lists of them; only that one is computed."""
    chosen = jt.not_equal(as_tensor_variable(condition), 0)
    if not isinstance(then_branch, list | tuple):
        return jt.ifelse(chosen, as_tensor_variable(then_branch), as_tensor_variable(else_branch))
    made = jt.ifelse(chosen, [as_tensor_variable(v) for v in then_branch],
                     [as_tensor_variable(v) for v in else_branch])  # fmt: skip
    return type(then_branch)(made)


class IfElse:
    """`IfElse(n)(condition, *then_and_else)`."""

    def __init__(self, n_outs: int, **options: Any) -> None:
        self.n_outs = n_outs

    def __call__(self, condition: Any, *branches: Any) -> Any:
        n = self.n_outs
        made = ifelse(condition, list(branches[:n]), list(branches[n:]))
        return made[0] if n == 1 else made
