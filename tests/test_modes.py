"""Modes look into loops and branches: errors name the line inside, and the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
from jitgraph import lax
from jitgraph import tensor as T
from jitgraph.errors import InternalError, OutOfBoundsError
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.values import Op
from jitgraph.theano.functions import function as theano_function
from jitgraph.theano.modes import MonitorMode, NanGuardMode


def spent(rows: Any) -> Any:
    """The logarithms of what is left of 5 after each row, NaN below nothing."""

    def step(left: Any, row: Any) -> Any:
        left = left - row
        root = T.log(left)  # the line to be named
        return left, T.where(root > 0, root, 0.0)

    return lax.scan(step, 5.0, rows)[1]


def test_guarded_loops_name_line_and_step() -> None:
    x = T.dvector("x")
    f = jg.function([x], spent(x).sum(), mode="guarded")
    np.testing.assert_allclose(f([1.0, 2.0]), np.log([4.0, 2.0]).sum())
    with pytest.raises(ValueError, match="log gives NaN\n") as caught:
        f([1.0, 1.0, 2.0, 2.0, 1.0])
    told = str(caught.value)
    assert "root = T.log(left)  # the line to be named" in told
    assert "from -1.0 to -1.0" in told
    assert "in step 3 of the loop at test_modes.py:" in told
    # that the results are finite is no excuse, and a row that is never walked no fault
    assert np.isfinite(jg.function([x], spent(x))([1.0, 1.0, 2.0, 2.0, 1.0])).all()
    reverse = lax.scan(lambda s, r: (s, T.sqrt(r)), 0.0, x, reverse=True)[1]
    with pytest.raises(ValueError, match=r"in step 1 \(row 2\) of the loop"):
        jg.function([x], reverse, mode="guarded")([-1.0, 1.0, -1.0, 1.0])


def test_guarded_branches_and_conditions() -> None:
    y = T.dscalar("y")

    def step(s: Any) -> Any:
        return lax.cond(s > 10, lambda s: s + T.sqrt(s - 20), lambda s: s + 5, s)

    f = jg.function([y], lax.while_loop(lambda s: s < 100, step, y), mode="guarded")
    assert f(120.0) == 120
    with pytest.raises(ValueError, match="sqrt gives NaN") as caught:
        f(1.0)
    branch, loop = str(caught.value).splitlines()[-2:]
    assert branch.startswith("  in the true side of the branch at test_modes.py:")
    assert loop.startswith("  in step 2 of the loop at test_modes.py:")
    until = lax.while_loop(lambda s: T.log(s) < 9, lambda s: s - 1, y)
    with pytest.raises(ValueError, match="in the condition before step 2 of the loop"):
        jg.function([y], until, mode="guarded")(2.0)


def test_guarded_gradients_of_loops() -> None:
    """The slope of a root is infinite at 0, where the root is not."""
    x = T.dvector("x")
    roots = lax.scan(lambda s, r: (s + T.sqrt(r), s), 0.0, x)[0]
    assert jg.function([x], roots, mode="guarded")([4.0, 0.0]) == 2
    with pytest.raises(ValueError, match="an infinity") as caught:
        jg.function([x], T.grad(roots, x), mode="guarded")([4.0, 0.0, 1.0])
    assert "T.grad(roots, x)" in str(caught.value)
    assert "of the loop at test_modes.py" in str(caught.value)


def test_any_error_in_a_loop_names_the_step() -> None:
    x, k = T.dvector("x"), T.lvector("k")
    _, found = lax.scan(lambda s, i: (s, x[i]), 0.0, k)
    f = jg.function([x, k], found)
    assert f([1.0, 2.0], [1, 0]).tolist() == [2, 1]
    with pytest.raises(OutOfBoundsError, match=r"in step 2 of the loop at test_modes\.py"):
        f([1.0, 2.0], [1, 0, 7])
    assert interpreter.steps() == ()


def ops_of(fn: Function) -> Iterator[Op]:
    for value in fn.ops:
        assert value.op is not None
        yield value.op
        for held in value.op.attrs.values():
            if isinstance(held, Function):
                yield from ops_of(held)


def test_checked_loops_name_the_step() -> None:
    """A difference in the third step, which the results do not show."""
    x = T.dvector("x")
    _, rows = lax.scan(lambda s, r: (T.tanh(s + r), T.where(r > 2, 0.0, s)), 0.0, x)
    f = jg.function([x], rows, mode="checked")
    np.testing.assert_allclose(f([1.0, 3.0]), [0, 0])
    tanh = next(op for op in ops_of(f._state.plan.function) if op.name == "tanh")
    broken = dataclasses.replace(tanh.definition, evaluate=lambda a: np.tanh(a) + (a > 3))
    tanh.definition = broken
    assert f([1.0, 1.0]).shape == (2,)
    with pytest.raises(InternalError, match="differs between native code and NumPy") as caught:
        f([1.0, 1.0, 3.0])
    assert "lax.scan(lambda s, r: (T.tanh(s + r)" in str(caught.value)
    assert "in step 2 of the loop at test_modes.py" in str(caught.value)


def test_checked_loops_agree() -> None:
    """Nested loops, branches and gradients: each region in native code beside NumPy."""
    x = T.dmatrix("x")

    def row(s: Any, r: Any) -> Any:
        inner = lax.fori_loop(0, 3, lambda i, a: a * 0.5 + 1.0 / (a * a + i + 1), s + r.sum())
        return lax.cond(inner > 0, lambda a: a * 2, lambda a: -a, inner), inner

    last, rows = lax.scan(row, 0.1, x)
    slope = T.grad(last + rows.sum(), x)
    values = np.random.default_rng(0).normal(size=(5, 3))
    got = jg.function([x], [last, rows, slope], mode="checked")(values)
    for a, b in zip(got, jg.function([x], [last, rows, slope])(values), strict=True):
        np.testing.assert_allclose(a, b)


def test_modes_of_theano_look_into_loops() -> None:
    x = T.dvector("x")
    f = theano_function([x], spent(x), mode=NanGuardMode(True, True, True))
    np.testing.assert_allclose(f([1.0, 2.0]), np.log([4.0, 2.0]))
    with pytest.raises(AssertionError, match=r"the result of log \(test_modes\.py:\d+\) has nan"):
        f([1.0, 1.0, 2.0, 2.0])
    with pytest.raises(AssertionError, match=r"\nin step 3 of the loop at test_modes.py:"):
        f([1.0, 1.0, 2.0, 2.0])
    with pytest.raises(AssertionError, match=r"has big values(.|\n)*in step 0 of the loop"):
        f([-1e10])
    slope = T.grad(spent(x).sum(), x)
    checked = theano_function([x], slope, mode="DebugMode")([1.0, 2.0, 0.5])
    np.testing.assert_allclose(checked, jg.function([x], slope)([1.0, 2.0, 0.5]))
    seen: list[str] = []
    watch = lambda graph, number, node, storage: seen.append(str(node))
    theano_function([x], spent(x), mode=MonitorMode(post_func=watch))([1.0, 1.0])
    assert sum(node.startswith("log(") for node in seen) == 2
