"""Rows of loops that end by themselves: how many there are only the loop finds out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import InputError, JitgraphError, ShapeError
from jitgraph.ir.function import Function
from jitgraph.ir.ops.control import loop
from jitgraph.passes.base import Options
from jitgraph.passes.pipeline import optimise
from tests.test_control import assert_gradients, everywhere, loops_of

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(9)


def grown(v: Any, limit: Any) -> Any:
    """Rows of a vector that grows until it is large enough."""
    rows, _ = T.scan(lambda s: (s * 1.25 + 0.1, T.until(s.sum() > limit)), outputs_info=v)
    return rows


def grown_by_python(v: Array, limit: float) -> Array:
    rows = []
    while True:
        before, v = v, v * 1.25 + 0.1
        rows.append(v)
        if before.sum() > limit:
            return np.array(rows)


def test_rows_against_python() -> None:
    v, limit = T.dvector("v"), T.dscalar("limit")
    rows = grown(v, limit)
    calls = [(RNG.uniform(0, 1, n), np.asarray(most))
             for n, most in ((3, 10.0), (1, -1.0), (2, 1e30), (4, 1e6))]  # fmt: skip
    everywhere([v, limit], [rows, rows.sum(0), rows[-1], rows[::-1].T], *calls)
    for start, most in calls:
        found = jg.function([v, limit], rows)(start, most)
        np.testing.assert_allclose(found, grown_by_python(start, float(most)), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "complex128"])
def test_rows_of_scalars(dtype: str) -> None:
    n = T.lscalar("n")
    rows, _ = T.scan(lambda k: (k + 1, T.cast(k % 3, dtype), T.until(k + 1 >= n)),
                     outputs_info=[np.int64(0), None])  # fmt: skip
    for count in (1, 16, 17, 100):
        counted, cast = everywhere([n], rows, [np.asarray(count)])
        np.testing.assert_array_equal(counted, np.arange(1, count + 1))
        np.testing.assert_array_equal(cast, (np.arange(count) % 3).astype(dtype))


def test_a_loop_that_never_runs_has_no_rows() -> None:
    x = T.dvector("x")
    last = T.while_loop(lambda s: s.sum() < 0, lambda s: T.sin(s), x)
    f = jg.function([x], [last, T.grad(last.sum(), x)])
    for found, want in zip(f([1.0, 2.0]), ([1.0, 2.0], [1.0, 1.0]), strict=True):
        np.testing.assert_array_equal(found, want)


def test_rows_inside_loops_differ_in_number_and_length() -> None:
    """Memory that one step of the loop around has grown serves the next, whose rows are longer."""
    x, n = T.dvector("x"), T.lscalar("n")

    def outer(i: Any, total: Any) -> Any:
        rows = grown(x[: i + 1], 40.0)
        return total + (rows * rows).sum() / rows.shape[0]

    total = T.fori_loop(0, n, outer, 0.0)
    values = RNG.uniform(0.1, 1, 30)
    found, = everywhere([x, n], [total], [values, np.asarray(30)])
    rows = [grown_by_python(values[: i + 1], 40.0) for i in range(30)]
    np.testing.assert_allclose(found, sum((r * r).sum() / len(r) for r in rows), rtol=1e-12)


# --- gradients ---------------------------------------------------------------------------------
def test_the_forward_loop_runs_once() -> None:
    x = T.dvector("x")
    last = T.while_loop(lambda s: (s * s).sum() > 1.0, lambda s: T.sin(s) * x, x)
    fn = optimise(Function([x], [last, T.grad(last.sum(), x)]), Options())
    forward, backward = loops_of(fn)
    assert forward.attrs["condition"] is not None
    assert backward.attrs["condition"] is None
    assert not fn.checks


def test_gradients_to_second_order() -> None:
    def build(v: Any, a: Any) -> Any:
        rows, _ = T.scan(lambda s: (T.sin(s) * a + 0.5 * s, T.until((s * s).sum() < 0.2)),
                         outputs_info=v, n_steps=50)  # fmt: skip
        return (rows * rows).sum() + rows[-1].prod()

    assert_gradients(build, [np.array([0.9, 1.3]), np.array([0.4, 0.3])], 1e-4)


def test_a_chain_that_is_longer_than_any_first_guess() -> None:
    x, n = T.dscalar("x"), T.lscalar("n")
    last, _ = T.while_loop(lambda s: s[1] < n, lambda s: (T.sin(s[0]) + x, s[1] + 1), (x, 0))
    f = jg.function([x, n], [last, T.grad(last, x)])
    for count in (3, 16, 17, 1000):
        value, slope, s = 0.3, 1.0, 0.3
        for _ in range(count):
            slope, s = np.cos(s) * slope + 1.0, np.sin(s) + value
        np.testing.assert_allclose(f(value, count), [s, slope], rtol=1e-10)


def test_every_element_of_a_vmap_has_a_tape_of_its_own_length() -> None:
    def slope(x: Any) -> Any:
        return T.while_loop(lambda s: s < 5.0, lambda s: T.exp(0.1 * s) + s * (x + 0.5), x)

    values = np.array([0.5, 1.0, 6.0, 0.9])
    many = jg.jit(jg.vmap(jg.grad(slope)))(values)
    one = jg.jit(jg.grad(slope))
    np.testing.assert_allclose(many, [one(v) for v in values], rtol=1e-12)


# --- errors, memory ----------------------------------------------------------------------------
def test_a_step_that_fails_leaves_nothing_behind() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    rows, _ = T.scan(lambda k: (k + 1, x[k] * T.ones(1000), T.until(k + 1 >= n)),
                     outputs_info=[np.int64(0), None])  # fmt: skip
    f = jg.function([x, n], rows)
    with pytest.raises(JitgraphError, match="out of bounds"):
        f(np.ones(100), 200)
    assert f(np.ones(100), 100)[1].shape == (100, 1000)


def test_what_has_no_end_is_refused() -> None:
    with pytest.raises(InputError, match="n_steps, or an until"):
        T.scan(lambda s: s * 2, outputs_info=T.dscalar())


def test_a_loop_that_ends_by_itself_goes_forwards() -> None:
    i, s = T.lscalar("i"), T.dscalar("s")
    body = Function([i, s], [s * 2], name="body")
    going_on = Function([i, s], [s < 10], name="going_on")
    with pytest.raises(ShapeError, match="walks from the first row"):
        loop(body, [T.dscalar()], [], [], 5, condition=going_on, reverse=True)


ENDLESS = """
import jitgraph as jg, jitgraph.tensor as T, numpy as np, signal
signal.signal(signal.SIGALRM, signal.default_int_handler)
x, c = T.dscalar("x"), T.dvector("c")
last = T.while_loop(lambda s: s < 2, lambda s: T.sin((c * s).sum()) + 0 * x, x)
f = jg.function([x, c], T.grad(last, x))
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    f(1.0, np.ones(10000))
except KeyboardInterrupt:
    print("stopped", f(3.0, np.zeros(3)))
"""


def test_an_endless_tape_can_be_stopped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "stopped 1.0\n"
