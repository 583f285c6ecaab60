"""Series and continued fractions: loops that end when the result no longer changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgraph.ir.formulas.numbers import Number
from jitgraph.ir.opdef import Attrs, Expand, OpDef, emit
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value

State = tuple[Number, ...]


def _no_meaning(*given: Any, **attrs: Any) -> Any:
    raise AssertionError("only formulas hold iterations")


def _infer(types: Sequence[Type], attrs: Attrs) -> Type:
    return types[0]


@dataclass(frozen=True, eq=False)
class Iteration:
    """While `more(operands, state)` holds, at most `limit` times, the state becomes
    `step(operands, state)`. The result is the first number of the state.

    On arrays each element stops by itself. Of values it makes an op, which is not registered: only
    the scalar code of formulas has it, as a call of a function with a loop.
    """

    name: str
    arity: int
    start: Callable[..., State]
    more: Callable[[State, State], Number]
    step: Callable[[State, State], State]
    limit: int = 2000

    def __post_init__(self) -> None:
        op = OpDef(
            name=self.name,
            infer=_infer,
            evaluate=_no_meaning,
            shape=_no_meaning,
            lower=Expand(),
        )
        object.__setattr__(self, "_op", op)
        ITERATIONS[self.name] = self

    def __call__(self, *operands: Number) -> Number:
        if isinstance(operands[0], Value):
            return emit(self._op, operands)  # type: ignore[attr-defined]
        broadcast = np.broadcast_arrays(*operands)
        shape = broadcast[0].shape
        given = [np.ravel(x) for x in broadcast]
        state = [np.broadcast_to(s, given[0].shape).astype(np.float64)
                 for s in self.start(*given)]  # fmt: skip
        going = np.arange(given[0].size)
        for _ in range(self.limit):
            own, now = tuple(x[going] for x in given), tuple(s[going] for s in state)
            going = going[self.more(own, now)]
            if not going.size:
                break
            own, now = tuple(x[going] for x in given), tuple(s[going] for s in state)
            for s, following in zip(state, self.step(own, now), strict=True):
                s[going] = following
        return state[0].reshape(shape)


#: All of them, by name.
ITERATIONS: dict[str, Iteration] = {}
