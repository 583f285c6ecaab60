"""Evaluation of expressions by NumPy, with the checks that a compiled call makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.function import Function
from jitgraph.ir.interpreter import run
from jitgraph.ir.values import Value
from tests.arrays import comparable


def evaluate(expression: Any, givens: dict[Any, Any] | None = None) -> Any:
    """The value of an expression or list of them, given arrays for its variables.

    It is computed twice: as the user built it, which words the errors, and as the simplifying
    builder makes it, with the checks that a compiled call would do.
    """
    givens = givens or {}
    params = list(givens)
    arrays = [np.asarray(v, p.dtype) for p, v in givens.items()]
    results = [expression] if isinstance(expression, Value) else list(expression)
    written = Function(params, results)
    found = run(written, arrays)
    for one, other in zip(found, run(rebuild(written, Builder(params)), arrays), strict=True):
        assert_same(one, other, rtol=1e-15)
    return found[0] if isinstance(expression, Value) else found


def assert_same(got: np.ndarray[Any, Any], want: Any, rtol: float = 0.0) -> None:
    """Equal in dtype, shape and elements (NaN equals NaN)."""
    want = np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    got, want = comparable(got), comparable(want)
    if rtol and got.dtype.kind in "fc":
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(got, want)
