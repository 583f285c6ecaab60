"""Simplified functions mean what they meant: random programs, before and after."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.ops.exponential import sin
from jitgraph.ir.types import parse_type
from jitgraph.ir.values import Value, topological
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options, Trace
from jitgraph.passes.pipeline import PIPELINE, optimise
from jitgraph.passes.simplify import simplify
from tests.arrays import comparable
from tests.native import assert_close
from tests.strategies import Program, functions

SETTINGS = settings(
    max_examples=100, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@SETTINGS
@given(functions(benign=True))
def test_real_algebra_keeps_the_numbers(program: Program) -> None:
    after = optimise(program.function, Options("real"))
    verify(after)
    want = interpreter.run(program.function, program.inputs())
    got = interpreter.run(after, program.inputs())
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, program)


@SETTINGS
@given(functions())
def test_ieee_algebra_keeps_every_bit(program: Program) -> None:
    after = simplify(program.function, Options("ieee"))
    verify(after)
    want = interpreter.run(program.function, program.inputs())
    got = interpreter.run(after, program.inputs())
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        g, w = comparable(g), comparable(w)
        np.testing.assert_array_equal(g, w)
        if g.dtype.kind == "f":
            number = ~np.isnan(g)
            np.testing.assert_array_equal(np.signbit(g)[number], np.signbit(w)[number])


@SETTINGS
@given(functions())
def test_the_second_time_there_is_little_left_to_do(program: Program) -> None:
    """Little, not nothing: what the checks of the first time say of extents is new to it, and with
    new extents come new checks, of two ops each."""
    once = simplify(program.function, Options())
    twice = simplify(once, Options())
    checks = max(len(twice.checks) - len(once.checks), 0)
    assert len(twice.ops) <= len(once.ops) + 3 + 2 * checks
    assert len(topological(twice.results)) <= len(topological(once.results)) + 3


def chain(length: int) -> Function:
    x, y = (Value(parse_type("f64[n]"), name=name) for name in "xy")
    steps = [lambda v: v + y, lambda v: v * y, sin, lambda v: v - x, lambda v: v / y]
    v = x
    for k in range(length):
        v = steps[k % len(steps)](v)
    return Function([x, y], [v])


def test_time_is_linear_and_depth_unlimited() -> None:
    times = []
    for length in (1_000, 10_000):
        fn = chain(length)
        assert len(fn.ops) == length
        start = time.process_time()
        assert len(simplify(fn, Options()).ops) == length
        times.append(time.process_time() - start)
    assert times[1] < 30 * times[0]


def test_a_trace_holds_every_stage() -> None:
    trace = Trace()
    fn = chain(5)
    assert optimise(fn, Options(), trace) == trace.stages[-1][1]
    assert [step for step, _, _ in trace.stages] == list(PIPELINE)
    assert all(step.reason for step in PIPELINE)


def test_the_log_says_which_rule_and_what_it_promises() -> None:
    x = Value(parse_type("f64[]"), name="x")
    seen = []
    simplify(Function([x], [x - x + 1]), Options("real", seen.append))
    assert (seen[0].rule, seen[0].contract) == ("sub-self-float", "assumes finite")
    assert seen[0].before == "subtract(x, x)"
    assert seen[0].location.file == __file__


@pytest.mark.parametrize("algebra", ["real", "ieee"])
def test_dead_code_is_dropped(algebra: str) -> None:
    x = Value(parse_type("f64[n]"), name="x")
    assert not simplify(Function([x], [x * 1]), Options(algebra)).ops
