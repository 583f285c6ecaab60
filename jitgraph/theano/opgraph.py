"""`OpFromGraph`: an expression as an op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitgraph.ir.ops.marks import CustomRule, with_gradient
from jitgraph.ir.substitution import substituted
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import speaking
from jitgraph.theano.undefined import adjoint
from jitgraph.theano.variables import TensorVariable, as_tensor_variable


class OpFromGraph:
    """`OpFromGraph([x], [y])(z)` is y with z in the place of x.

    Gradients may be overridden, for all inputs (a function) or for each (a list): functions
    `(inputs, output_grads)`, with `lop_overrides` `(inputs, outputs, output_grads)`.
    """

    def __init__(
        self, inputs: Sequence[Any], outputs: Sequence[Any], inline: bool = False,
        lop_overrides: Any = "default", grad_overrides: Any = "default",
        rop_overrides: Any = "default", name: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.name = name or "OpFromGraph"
        self._grad, self._lop = grad_overrides, lop_overrides

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        given = [as_tensor_variable(i) for i in inputs]
        if len(given) != len(self.inputs):
            raise ValueError(f"{self.name} takes {len(self.inputs)} inputs, not {len(given)}")
        made = substituted(self.outputs, dict(zip(self.inputs, given, strict=True)))
        if self._grad not in ("default", None) or self._lop not in ("default", None):
            made = list(with_gradient(made, made, given, self._rule(len(made), len(given))))
        return made[0] if len(made) == 1 else made

    def _rule(self, outputs: int, inputs: int) -> CustomRule:
        def adjoints(gs: Sequence[Value], operands: Sequence[Value]) -> list[Value | None]:
            results, given = list(operands[:outputs]), list(operands[outputs:])
            with speaking(TensorVariable):
                if self._lop not in ("default", None):
                    rule = self._rule(outputs, inputs)
                    results = list(with_gradient(results, results, given, rule))
                    return _called(self._lop, inputs, given, results, list(gs))
                return _called(self._grad, inputs, given, list(gs))

        return CustomRule.of(self.name, adjoints, lambda: self._rule(outputs, inputs))

    def __repr__(self) -> str:
        return f"{self.name}({len(self.inputs)} inputs, {len(self.outputs)} outputs)"


def _called(override: Any, inputs: int, *args: Any) -> list[Value | None]:
    if callable(override):
        found = override(*args)
        found = list(found) if isinstance(found, list | tuple) else [found]
    else:
        found = [f(*args) if callable(f) else None for f in override]
    if len(found) != inputs:
        raise ValueError(f"a gradient of {inputs} inputs gave {len(found)} adjoints")
    return [adjoint(a, x) for a, x in zip(found, args[0], strict=True)]
