"""Simplified functions mean what they meant: random programs, before and after."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from jitgraph.errors import JitgraphError
from jitgraph.ir import interpreter
from jitgraph.ir.ops.arithmetic import multiply
from jitgraph.ir.ops.exponential import sin
from jitgraph.ir.types import parse_type
from jitgraph.ir.values import Function, Value
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options, Trace
from jitgraph.passes.pipeline import PIPELINE, optimise
from jitgraph.passes.simplify import simplify
from tests.native import assert_close
from tests.strategies import Program, functions

SETTINGS = settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def param(name: str, type_: str) -> Value:
    return Value(parse_type(type_), name=name)


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
        np.testing.assert_array_equal(g, w)
        if g.dtype.kind == "f":
            keep = ~np.isnan(g)
            np.testing.assert_array_equal(np.signbit(g)[keep], np.signbit(w)[keep])


@SETTINGS
@given(functions())
def test_simplifying_twice_changes_nothing(program: Program) -> None:
    once = simplify(program.function, Options())
    assert len(simplify(once, Options()).ops) <= len(once.ops)
