"""Compiled and interpreted must agree: random programs, run both ways."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitgraph.ir import interpreter
from tests.native import assert_close, run_native
from tests.strategies import Program, functions

SETTINGS = settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@SETTINGS
@given(functions(benign=True))
def test_native_agrees_with_the_interpreter(program: Program) -> None:
    want = interpreter.run(program.function, program.inputs())
    got = run_native(program.function, program.inputs())
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, program)


@SETTINGS
@given(functions(benign=True), st.data())
def test_any_memory_layout_gives_the_same(program: Program, data: st.DataObject) -> None:
    inputs = program.inputs()
    laid_out = [_laid_out(a, data.draw(st.integers(0, 3))) for a in inputs]
    want = interpreter.run(program.function, inputs)
    got = run_native(program.function, laid_out)
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, program)


def _laid_out(array: np.ndarray, kind: int) -> np.ndarray:
    """The same numbers in another memory order: Fortran, reversed, or every second element."""
    if array.ndim == 0:
        return array
    if kind == 1:
        return np.asfortranarray(array)
    if kind == 2:
        return np.flip(np.ascontiguousarray(np.flip(array)))
    if kind == 3:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    return array
