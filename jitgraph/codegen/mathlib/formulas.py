"""The special functions: the formulas of `ir.formulas`, the heavy ones in f64 whatever the dtype.

Their loops are functions of a library compiled once (`codegen.iterations`), which vector code calls
lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgraph.codegen.mathlib.floats import F64
from jitgraph.codegen.mathlib.native import native
from jitgraph.ir.elementwise import cast
from jitgraph.ir.formulas.iteration import ITERATIONS, Iteration
from jitgraph.ir.ops.special import FORMULAS, OWN_DTYPE
from jitgraph.ir.values import Value


def _in_f64(formula: Callable[..., Any]) -> Callable[..., Value]:
    def expanded(*operands: Value) -> Value:
        y: Value = cast(formula(*(cast(x, F64) for x in operands)), operands[0].dtype)
        return y

    return expanded


def _called(iteration: Iteration) -> Callable[..., Value]:
    symbol = f"iteration.{iteration.name}"
    types = ", ".join(["double"] * iteration.arity)
    operands = ", ".join(f"double {{{k}}}" for k in range(iteration.arity))
    return native(
        iteration.name,
        f"call double @{symbol}({operands}) nounwind memory(none)",
        declaration=f"declare double @{symbol}({types})",
        library=("iterations", symbol),
    )


EXPANSIONS: dict[str, Callable[..., Value]] = {
    **{name: formula if name in OWN_DTYPE else _in_f64(formula)
       for name, formula in FORMULAS.items()},
    **{name: _called(iteration) for name, iteration in ITERATIONS.items()},
}
