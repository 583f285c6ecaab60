"""Graphs far deeper than Python's recursion limit, and work that stays linear in their size."""

from __future__ import annotations

import time

import numpy as np

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.ir.function import Function
from jitgraph.ir.parser import parse
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options
from jitgraph.passes.pipeline import optimise
from jitgraph.tensor.variable import Variable

DEEP = 100_000


def chain(x: Variable, ops: int) -> Variable:
    """x -> x * 0.5 -> tanh -> ..., `ops` ops after one another."""
    y = x
    for _ in range(ops // 2):
        y = T.tanh(y * 0.5)
    return y


def test_a_hundred_thousand_ops_build_differentiate_print_and_verify() -> None:
    x = T.dscalar("x")
    y = chain(x, DEEP)
    gradient = T.grad(y, x)
    fn = Function([x], [y, gradient])
    assert len(fn.ops) > DEEP
    verify(fn)
    text = str(fn)
    assert text.count("tanh") == DEEP // 2
    assert text.count("\n") > DEEP


def test_a_long_chain_compiles_and_runs() -> None:
    x = T.dvector("x")
    y = chain(x, 600)
    f = jg.function([x], [y, T.grad(T.sum(y), x)])
    points = np.linspace(-1, 1, 5)
    want, slope = points, np.ones(5)
    for _ in range(300):
        want = np.tanh(want * 0.5)
        slope = slope * 0.5 * (1 - want * want)
    value, gradient = f(points)
    np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-300)


def test_a_long_scalar_program_compiles() -> None:
    x = T.dscalar("x")
    y = x
    for k in range(2_000):
        y = y * 0.999 + k
    f = jg.function([x], y)
    want = 1.0
    for k in range(2_000):
        want = want * 0.999 + k
    np.testing.assert_allclose(f(1.0), want, rtol=1e-9)


def test_text_of_a_long_function_parses_back() -> None:
    x = T.dvector("x")
    fn = Function([x], [chain(x, 10_000)])
    assert parse(str(fn)) == fn


def test_passes_are_linear() -> None:
    """Four times the ops take well under sixteen times the time (quadratic would be sixteen)."""
    x = T.dvector("x")

    def seconds(ops: int) -> float:
        fn = Function([x], [chain(x, ops)])
        start = time.process_time()
        optimise(fn, Options())
        return time.process_time() - start

    seconds(400)
    assert seconds(8_000) < 10 * max(seconds(2_000), 0.01)
