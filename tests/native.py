"""Native results of an IR function, and how close they must be to the interpreter's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.compiled import Plan, compiled_function, layout_of
from jitgraph.driver import default_layout
from jitgraph.function import place
from jitgraph.inputs import arguments_for
from jitgraph.ir.function import Function
from tests.arrays import comparable

#: Relative error allowed per dtype kind and size (V2 is bfloat16): programs of ten ops, reductions
#: among them.
TOLERANCE = {"V2": 1.6e-1, "f2": 2e-2, "f4": 2e-4, "f8": 1e-10, "c8": 2e-4, "c16": 1e-10}


def compiled(
    fn: Function, algebra: str = "real", *, arrays: Sequence[np.ndarray] | None = None
) -> Any:
    """The function as a native callable that returns a list.

    With `arrays` the variant compiled first is the one for inputs like them, which saves a
    compilation where some have an extent of 1 or are not in C order.
    """
    plan = Plan(fn, arguments_for(fn.params), (), (), False, False, algebra, device=place(None))
    if arrays is not None and plan.device == "cpu":
        return compiled_function(plan, layout_of(plan, arrays))
    made = compiled_function(plan, default_layout(fn, [[None] * p.ndim for p in fn.params]))
    return made if plan.device == "cpu" else lambda *given: fetched(made(*given))


def fetched(results: Any) -> Any:
    """The results of a function, on the host."""
    return None if results is None else [np.asarray(r) for r in results]


def run_native(fn: Function, inputs: Sequence[np.ndarray], algebra: str = "real") -> list[Any]:
    """The results of the compiled function."""
    results = compiled(fn, algebra)(*inputs)
    return [] if results is None else results


def coarsest(fn: Function) -> float:
    """The tolerance for a program that may compute in several precisions: that of the lowest."""
    kinds = {v.dtype.str[1:] for v in (*fn.params, *fn.ops)}
    return max((TOLERANCE[k] for k in kinds if k in TOLERANCE), default=0.0)


def assert_close(got: Any, want: Any, context: object = "", bound: float | None = None) -> None:
    """Same dtype and shape, and the same numbers up to the rounding of a few ops."""
    assert got.dtype == want.dtype, context
    assert got.shape == want.shape, context
    bound = TOLERANCE.get(want.dtype.str[1:], 0.0) if bound is None else bound
    got, want = comparable(got), comparable(want)
    if want.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want, err_msg=str(context))
        return
    scale = float(np.max(np.abs(want), initial=0, where=np.isfinite(want)))
    np.testing.assert_allclose(
        got, want, rtol=bound, atol=bound * max(scale, 1), equal_nan=True, err_msg=str(context)
    )
