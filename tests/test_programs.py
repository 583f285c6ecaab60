"""Compiled and interpreted must agree: random programs, run both ways."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jitgraph as jg
from jitgraph.errors import JitgraphError
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.values import Value
from jitgraph.passes.specialise import with_params
from jitgraph.tensor.shared import SharedVariable, shared
from jitgraph.tensor.variable import Variable
from tests.native import assert_close, coarsest, run_native
from tests.strategies import EVERY_DTYPE, Program, functions

#: `JITGRAPH_LONG=1` looks ten times longer.
EXAMPLES = 60 * (10 if os.environ.get("JITGRAPH_LONG") else 1)
SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@SETTINGS
@given(functions(benign=True), st.sampled_from(["real", "ieee"]))
def test_native_agrees_with_the_interpreter(program: Program, algebra: str) -> None:
    want = interpreter.run(program.function, program.inputs())
    got = run_native(program.function, program.inputs(), algebra)
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, program, coarsest(program.function))


@SETTINGS
@given(functions(benign=True, dtypes=EVERY_DTYPE))
def test_in_every_dtype(program: Program) -> None:
    want = interpreter.run(program.function, program.inputs())
    got = run_native(program.function, program.inputs())
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, program, coarsest(program.function))


@SETTINGS
@given(functions(benign=True), st.data())
def test_any_memory_layout_gives_the_same(program: Program, data: st.DataObject) -> None:
    inputs = program.inputs()
    moved = [laid_out(a, data.draw(st.integers(0, 3))) for a in inputs]
    want = interpreter.run(program.function, inputs)
    got = run_native(program.function, moved)
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, program, coarsest(program.function))


@SETTINGS
@given(functions(benign=True, max_params=4), st.data())
def test_updates_and_givens_are_what_a_python_loop_would_do(
    program: Program, data: st.DataObject
) -> None:
    """Some parameters become shared variables updated by results, some are replaced by givens."""
    arrays = program.inputs()
    params = [_as_variable(p, a, data.draw(st.booleans())) for p, a in
              zip(program.function.params, arrays, strict=True)]  # fmt: skip
    fn = with_params(program.function, params)
    fn = Function(fn.params, fn.results)  # `jg.function` starts from results, without checks
    updates = _possible_updates(fn.results, params)
    inputs = [p for p in params if not isinstance(p, SharedVariable)]
    twins = [Variable(p.type, name=f"{p.name}_given") for p in inputs]
    givens = {p: q[::-1][::-1] if q.ndim else q for p, q in zip(inputs, twins, strict=True)}
    compiled = jg.function(
        twins, list(fn.results), updates=updates, givens=givens, on_unused_input="ignore"
    )
    state = dict(zip(params, arrays, strict=True))
    for _ in range(2):
        try:
            want = interpreter.run(fn, [state[p] for p in params])
        except JitgraphError:  # an update changed a shape: both must refuse, and change nothing
            with pytest.raises(JitgraphError):
                compiled(*(state[p] for p in inputs))
            break
        got = compiled(*(state[p] for p in inputs))
        for g, w in zip(got, want, strict=True):
            assert_close(g, w, program, coarsest(program.function))
        new = dict(zip(map(id, fn.results), want, strict=True))
        for target, result in updates.items():
            state[target] = new[id(result)]
        for p in params:
            if isinstance(p, SharedVariable):
                assert_close(p.get_value(), state[p], program, coarsest(fn))


def _as_variable(param: Value, array: np.ndarray, is_shared: bool) -> Variable:
    if is_shared:
        return shared(array, name=param.name)
    return Variable(param.type, name=param.name)


def _possible_updates(
    results: Sequence[Value], params: Sequence[Variable]
) -> dict[SharedVariable, Value]:
    updates: dict[SharedVariable, Value] = {}
    for target in params:
        fitting = [r for r in results if r.dtype == target.dtype and r.ndim == target.ndim]
        if isinstance(target, SharedVariable) and fitting:
            updates[target] = fitting[-1]
    return updates


def laid_out(array: np.ndarray, kind: int) -> np.ndarray:
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
