"""Functions that native code cannot run, because Python takes part: they are interpreted."""

from __future__ import annotations

from typing import Any

from jitgraph.compiled import Plan
from jitgraph.inputs import by_input, coerced
from jitgraph.ir import interpreter


class Interpreted:
    """A program as a callable, op by op in NumPy."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @property
    def name(self) -> str:
        """The function's name."""
        return self._plan.function.name

    @property
    def compilation(self) -> Any:
        """The program as it is: nothing was optimised."""
        return self

    @property
    def optimised(self) -> Any:
        """The program as it is: nothing was optimised."""
        return self._plan.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plan = self._plan
        given = coerced(plan.arguments, by_input(self.name, plan.arguments, args, dict(kwargs)))
        arrays = [*given, *(s.slots.get() for s in plan.shared)]
        results = interpreter.run(plan.function, arrays)
        outputs = results[: len(plan.outputs)]
        for shared, new in zip(plan.updated, results[len(plan.outputs) :], strict=True):
            shared.slots.set(new)
        if plan.nothing:
            return None
        if plan.keys is not None:
            return dict(zip(plan.keys, outputs, strict=True))
        return outputs[0] if plan.single else outputs

    def __repr__(self) -> str:
        return f"<interpreted {self.name}>"
