"""Loops and branches: against Python, native and interpreted, and their gradients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, InputError, JitgraphError, ShapeError
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.parser import parse
from jitgraph.ir.values import Value
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options
from jitgraph.passes.pipeline import optimise
from tests.native import assert_close, compiled

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(3)


def program(params: Sequence[Value], results: Sequence[Any]) -> Function:
    fn = Function(params, [T.as_tensor(r) for r in results])
    verify(fn)
    assert str(parse(str(fn))) == str(fn)
    return fn


def everywhere(
    params: Sequence[Value], results: Sequence[Any], *calls: Sequence[Array]
) -> list[Any]:
    """The results for the last arguments, found equal natively, interpreted and optimised."""
    fn = program(params, results)
    best = optimise(fn, Options("ieee"))
    verify(best)
    native = compiled(fn, "ieee", arrays=calls[0])
    for arrays in calls:
        want = interpreter.run(fn, arrays)
        for found in (native(*arrays), interpreter.run(best, arrays)):
            for a, b in zip(found, want, strict=True):
                assert_close(a, b)
    return want


def slopes(f: Callable[..., Array], arrays: Sequence[Array], which: int) -> Array:
    """Central differences of a scalar function."""
    found = np.zeros_like(arrays[which])
    for at in np.ndindex(found.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = [a.copy() for a in arrays]
            moved[which][at] += step
            values.append(float(f(*moved)))
        found[at] = (values[0] - values[1]) / 2e-6
    return found


def assert_gradients(
    build: Callable[..., Any], arrays: Sequence[Array], tolerance: float = 2e-5
) -> None:
    """First and second derivatives of a scalar expression of float arrays."""
    params = [T.tensor("float64", a.shape) for a in arrays]
    cost = build(*params)
    first = [T.grad(cost, p, disconnected_inputs="ignore") for p in params]
    weights = [RNG.uniform(0.5, 1.5, a.shape) for a in arrays]
    mixed = sum((g * w).sum() for g, w in zip(first, weights, strict=True))
    second = [T.grad(mixed, p, disconnected_inputs="ignore") for p in params]
    f = jg.function(params, [cost, mixed, *first, *second], on_unused_input="ignore")
    _, _, *found = f(*arrays)
    for order in (0, 1):
        for k in range(len(arrays)):
            want = slopes(lambda *a, order=order: f(*a)[order], arrays, k)
            got = found[order * len(arrays) + k]
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# --- loops against Python ----------------------------------------------------------------------
def elman(h: Any, x: Any, w: Any, tanh: Any) -> Any:
    return tanh(h @ w + x)


@pytest.mark.parametrize("reverse", [False, True])
def test_recurrence_against_python(reverse: bool) -> None:
    h0, xs, w = T.dvector("h0"), T.dmatrix("xs"), T.dmatrix("w")

    def step(h: Any, x: Any) -> Any:
        new = elman(h, x, w, T.tanh)
        return new, {"state": new, "twice": 2 * x}

    last, rows = T.loop_rows(step, h0, xs, reverse=reverse)
    assert set(rows) == {"state", "twice"}
    calls = [(RNG.normal(size=3), RNG.normal(size=(n, 3)), RNG.normal(size=(3, 3)))
             for n in (4, 0, 1, 2, 7)]  # fmt: skip
    everywhere([h0, xs, w], [last, rows["state"], rows["twice"]], *calls)
    for start, walked, weights in calls:
        h, want = start, np.zeros_like(walked)
        for k in range(len(walked))[:: -1 if reverse else 1]:
            h = want[k] = elman(h, walked[k], weights, np.tanh)
        found = jg.function([h0, xs, w], [last, rows["state"]])(start, walked, weights)
        np.testing.assert_allclose(found[0], h, rtol=1e-12)
        np.testing.assert_allclose(found[1], want, rtol=1e-12)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_random_loops(data: st.DataObject) -> None:
    """Carried scalars and vectors of several dtypes, rows, captured values, a nested loop."""
    dtypes = data.draw(st.lists(st.sampled_from(["float64", "float32", "int64"]), min_size=1,
                                max_size=3))  # fmt: skip
    length = data.draw(st.integers(0, 5))
    width = data.draw(st.integers(1, 4))
    turns = data.draw(st.integers(0, 3))
    starts = [T.tensor(d, (None,) if k % 2 else (), name=f"s{k}") for k, d in enumerate(dtypes)]
    xs, c = T.dmatrix("xs"), T.dvector("c")

    def step(state: list[Any], x: Any) -> Any:
        inner = T.fori_loop(0, turns, lambda i, a: a * 0.5 + c.sum() + i, x)
        new = [T.cast(s + inner.sum() * (k + 1), s.dtype) if s.ndim == 0 else s[::-1] + 1
               for k, s in enumerate(state)]  # fmt: skip
        return new, (inner, state[0])

    last, (inner, first) = T.loop_rows(step, starts, xs)
    arrays = [np.asarray(RNG.normal(size=(width,) if k % 2 else ()) * 3).astype(d)
              for k, d in enumerate(dtypes)]  # fmt: skip
    arrays += [RNG.normal(size=(length, width)), RNG.normal(size=width)]
    everywhere([*starts, xs, c], [*last, inner, first], arrays)


def test_while_loops_end_when_they_should() -> None:
    x = T.dvector("x")
    halved, count = T.while_loop(
        lambda s: (s[0] > 1).any(), lambda s: (s[0] / 2, s[1] + 1), (x, 0)
    )
    for values in ([1.0], [8.0, 3.0], [1e6]):
        found, turns = everywhere([x], [halved, count], [np.array(values)])
        want, n = np.array(values), 0
        while (want > 1).any():
            want, n = want / 2, n + 1
        assert int(turns) == n
        np.testing.assert_array_equal(found, want)


def test_loops_within_loops_and_branches() -> None:
    n, x = T.lscalar("n"), T.dvector("x")

    def row(i: Any, a: Any) -> Any:
        return T.cond(i % 2 == 0, lambda v: T.fori_loop(0, i, lambda j, b: b + j, v),
                      lambda v: v * 2, a)  # fmt: skip

    result = T.fori_loop(0, n, row, x)
    for turns in (0, 1, 5):
        found, = everywhere([n, x], [result], [np.array(turns), np.array([1.0, -2.0])])
        want = np.array([1.0, -2.0])
        for i in range(turns):
            want = want + sum(range(i)) if i % 2 == 0 else want * 2
        np.testing.assert_array_equal(found, want)


def test_only_the_chosen_branch_runs() -> None:
    x, i = T.dvector("x"), T.lscalar("i")
    found = T.ifelse(i < x.shape[0], x[i], T.constant(-1.0))
    f = jg.function([x, i], found)
    assert f([1.0, 2.0], 1) == 2.0
    assert f([1.0, 2.0], 7) == -1.0  # the index of the other branch is not looked at


def test_branches_of_different_shapes() -> None:
    x, c = T.dvector("x"), T.bscalar("c")
    found = T.cond(c > 0, lambda v: v[1:], lambda v: v * 2, x)
    f = jg.function([x, c], [found, found.sum()])
    np.testing.assert_array_equal(f([1.0, 2.0, 3.0], 1)[0], [2.0, 3.0])
    np.testing.assert_array_equal(f([1.0, 2.0, 3.0], 0)[0], [2.0, 4.0, 6.0])


def test_dicts_may_change_the_order_of_their_keys() -> None:
    x = T.dscalar("x")
    last = T.fori_loop(0, 3, lambda i, s: {"b": s["a"], "a": s["b"] + 1}, {"a": x, "b": 2 * x})
    assert list(last) == ["a", "b"]
    found = jg.function([x], [last["a"], last["b"]])(10.0)
    a, b = 10.0, 20.0
    for _ in range(3):
        a, b = b + 1, a
    assert found == [a, b]


# --- gradients ---------------------------------------------------------------------------------
def test_gradients_of_a_recurrence() -> None:
    def build(h0: Any, xs: Any, w: Any) -> Any:
        last, rows = T.loop_rows(lambda h, x: (T.tanh(h @ w + x),) * 2, h0, xs)
        return (rows**2).sum() + last.prod()

    assert_gradients(build, [RNG.normal(size=2), RNG.normal(size=(3, 2)), RNG.normal(size=(2, 2))])


def test_gradients_backwards_and_of_part_of_a_sequence() -> None:
    def build(xs: Any, c: Any) -> Any:
        last, rows = T.loop_rows(lambda s, x: (s * x + c, T.sin(s)), 1.0, xs, length=3,
                                 reverse=True)  # fmt: skip
        return last * rows.sum()

    assert_gradients(build, [RNG.normal(size=4), RNG.normal(size=())])


def test_gradients_through_a_trip_count_that_depends_on_the_data() -> None:
    def root(x: Any) -> Any:
        return T.while_loop(lambda s: abs(s * s - x) > 1e-12 * x, lambda s: 0.5 * (s + x / s), x)

    x = T.dscalar("x")
    f = jg.function([x], [root(x), T.grad(root(x), x)])
    for value in (2.0, 5000.0):
        found, slope = f(value)
        assert np.isclose(found, np.sqrt(value))
        assert np.isclose(slope, 0.5 / np.sqrt(value))
    assert f(1.0) == [1.0, 1.0]  # no step: the root is x itself


def test_gradients_of_nested_loops_and_branches() -> None:
    def build(x: Any, y: Any) -> Any:
        def outer(i: Any, a: Any) -> Any:
            inner = T.fori_loop(0, 2, lambda j, b: T.sin(b) + y * (j + 1), a)
            return T.cond(i > 0, lambda v: v * v, lambda v: v + y, inner)

        return T.fori_loop(0, 3, outer, x).sum()

    assert_gradients(build, [RNG.normal(size=2), RNG.normal(size=2)], 1e-4)


def test_second_derivatives_of_a_data_dependent_loop_inside_a_loop() -> None:
    def build(v: Any, xs: Any) -> Any:
        def step(s: Any, x: Any) -> Any:
            small = T.while_loop(lambda z: (z * z).sum() > 0.7, lambda z: T.sin(z) * 0.6, s + x)
            return s * 0.9, small

        _, rows = T.loop_rows(step, v, xs)
        return (rows * rows).sum()

    xs = np.array([[0.1, 0.2], [0.5, 0.3], [0.9, 0.8]])
    assert_gradients(build, [np.array([1.2, 1.7]), xs], 1e-4)


# --- what the passes do ------------------------------------------------------------------------
def loops_of(fn: Function) -> list[Any]:
    return [v.op for v in fn.ops if v.op is not None and v.op.name == "loop"]


def test_a_cost_and_its_gradient_share_a_loop() -> None:
    xs, w = T.dmatrix("xs"), T.dvector("w")
    last, _ = T.loop_rows(lambda h, x: (T.tanh(h * w + x), None), w, xs)
    cost = last.sum()
    fn = optimise(program([xs, w], [cost, T.grad(cost, xs), T.grad(cost, w)]), Options())
    assert len(loops_of(fn)) == 2


def test_what_nobody_needs_is_trimmed() -> None:
    xs, w = T.dmatrix("xs"), T.dvector("w")
    carry, _ = T.loop_rows(
        lambda s, x: ({"a": s["a"] + x, "unused": s["unused"] * 2, "fixed": s["fixed"]}, s["a"]),
        {"a": w, "unused": w, "fixed": w}, xs,
    )  # fmt: skip
    (op,) = loops_of(optimise(program([xs, w], [carry["a"] + carry["fixed"]]), Options()))
    assert op.attrs["carried"] == 1
    assert len(op.attrs["body"].results) == 1
    assert len(op.args) == 3  # the steps, what is carried, the rows


def test_constant_parts_of_a_step_are_computed_once() -> None:
    xs, w, h0 = T.dmatrix("xs"), T.dmatrix("w"), T.dvector("h0")
    last, _ = T.loop_rows(lambda h, x: (h + x @ (w @ w), None), h0, xs)
    fn = optimise(program([xs, w, h0], [last]), Options())
    assert sum(v.is_op("matmul") for v in fn.ops) == 2  # w @ w, and all rows times that
    (op,) = loops_of(fn)
    assert not any(v.is_op("matmul") for v in op.attrs["body"].ops)


# --- errors ------------------------------------------------------------------------------------
def refused(error: type[JitgraphError], build: Callable[[], Any], *words: str) -> None:
    with pytest.raises(error) as caught:
        build()
    told = str(caught.value)
    for word in (*words, "test_control.py"):
        assert word in told, told


def test_errors_name_what_is_carried() -> None:
    x = T.dvector("x")
    refused(ShapeError, lambda: T.fori_loop(0, 3, lambda i, a: a.sum(), x), "f64[?]", "f64[]")
    n = T.lvector("n")
    refused(DTypeError, lambda: T.fori_loop(0, 3, lambda i, a: T.cast(a, "uint64"), n), "uint64")
    refused(InputError, lambda: T.fori_loop(0, 3, lambda i, a: (a, a), x), "fori_loop")
    refused(InputError, lambda: T.scan(lambda a: None, x), "gives nothing")
    refused(ShapeError, lambda: T.while_loop(lambda a: a > 0, lambda a: a - 1, x), "scalar")
    refused(ShapeError, lambda: T.cond(x.sum() > 0, lambda v: v, lambda v: v.sum(), x), "ranks")


def test_an_index_out_of_range_inside_a_loop_raises() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    f = jg.function([x, n], T.fori_loop(0, n, lambda i, a: a + x[i], 0.0))
    assert f([1.0, 2.0], 2) == 3.0
    refused(JitgraphError, lambda: f([1.0, 2.0], 3), "out of bounds", "size 2")


def test_steps_must_keep_the_shape() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    f = jg.function([x, n], T.fori_loop(0, n, lambda i, a: T.concatenate([a, a]), x))
    with pytest.raises(ShapeError):
        f([1.0, 2.0], 3)


def test_a_shape_may_be_found_to_be_the_same_at_run_time() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    last = T.fori_loop(0, n, lambda i, a: 2 * a[a > 0], x)
    f = jg.function([x, n], [last, T.grad(last.sum(), x)])
    for turns in (0, 3):
        found = f([1.0, 2.0], turns)
        np.testing.assert_array_equal(found[0], 2.0**turns * np.array([1, 2]))
        np.testing.assert_array_equal(found[1], [2.0**turns] * 2)
    assert f([1.0, -2.0], 0)[0].shape == (2,)
    refused(ShapeError, lambda: f([1.0, -2.0], 1), "equal(2, 1)")


# --- scan --------------------------------------------------------------------------------------
def test_scan_with_taps() -> None:
    x = T.dvector("x")
    rows, updates = T.scan(
        lambda before, after, y2, y1: before * after + 0.5 * y1 - 0.2 * y2,
        sequences={"input": x, "taps": [-1, 1]},
        outputs_info={"initial": T.constant([0.0, 1.0]), "taps": [-2, -1]},
    )
    assert not updates
    values = RNG.normal(size=6)
    want = [0.0, 1.0]
    for k in range(1, 5):
        want.append(values[k - 1] * values[k + 1] + 0.5 * want[-1] - 0.2 * want[-2])
    found, slope = jg.function([x], [rows, T.grad(rows.sum(), x)])(values)
    np.testing.assert_allclose(found, want[2:])
    f = jg.function([x], rows.sum())
    np.testing.assert_allclose(slope, slopes(f, [values], 0), rtol=1e-6, atol=1e-8)


def test_scan_until_and_updates() -> None:
    limit, total = T.dscalar("limit"), jg.shared(0.0, "total")

    def step(former: Any) -> Any:
        return former * 2, {total: total + former}, T.until(former * 2 > limit)

    rows, updates = T.scan(step, outputs_info=T.constant(1.0), n_steps=100)
    f = jg.function([limit], rows, updates=updates)
    np.testing.assert_array_equal(f(45.0), [2, 4, 8, 16, 32, 64])
    assert total.get_value() == 63
    np.testing.assert_array_equal(f(1.0), [2])
    assert total.get_value() == 64


def test_folds_and_maps() -> None:
    x, y = T.dvector("x"), T.dvector("y")
    values = RNG.normal(size=5)
    first, _ = T.foldl(lambda r, a: a * 2 + r, x, T.constant(0.0))
    last, _ = T.foldr(lambda r, a: a * 2 + r, x, T.constant(0.0))
    joined, _ = T.map(lambda a, b: a * b, [x, y])
    shortest = jg.function([x, y], joined)(values, values[:3])
    np.testing.assert_allclose(shortest, values[:3] ** 2)
    found = jg.function([x], [first, last])(values)
    want = [0.0, 0.0]
    for k in range(5):
        want = [want[0] * 2 + values[k], want[1] * 2 + values[4 - k]]
    np.testing.assert_allclose(found, want)


def test_a_jacobian_by_scan() -> None:
    x = T.dvector("x")
    y = x**3 * x.sum()
    rows, _ = T.scan(lambda i, y, x: T.grad(y[i], x), T.arange(x.shape[0]), non_sequences=[y, x])
    values = np.array([1.0, 2.0, 3.0])
    want = np.diag(3 * values**2 * values.sum()) + (values**3)[:, None]
    np.testing.assert_allclose(jg.function([x], rows)(values), want)


# --- random numbers ----------------------------------------------------------------------------
def test_every_step_draws_anew() -> None:
    streams = T.random.RandomStreams(7)
    x = T.dvector("x")
    walk, _ = T.scan(lambda x, s: s + x * streams.normal((3,)), x, T.zeros(3))
    _, rows = T.loop_rows(lambda s, v: (s, streams.uniform((2,)) + 0 * v), 0.0, x)
    outside = streams.uniform((2,))
    fixed = T.fori_loop(0, 3, lambda i, a: a + outside, T.zeros(2))
    f = jg.function([x], [walk, rows, fixed, outside])
    first, second = f(np.ones(50)), f(np.ones(50))
    draws = np.concatenate([np.diff(r[0], axis=0).ravel() for r in (first, second)])
    assert np.unique(draws).size == draws.size
    uniform = np.concatenate([first[1].ravel(), second[1].ravel()])
    assert np.unique(uniform).size == uniform.size
    np.testing.assert_allclose(first[2], 3 * first[3])


def test_dtypes_settle_whatever_way_they_wander() -> None:
    x = T.dscalar("x")
    found = T.fori_loop(0, 6, lambda i, s: (s[1], s[2], s[3], s[4], s[4] + x), (0, 0, 0, 0, 0))
    assert [f.dtype.name for f in found] == ["float64"] * 5
    values = jg.function([x], list(found))(0.5)
    np.testing.assert_array_equal(values, [1.0, 1.5, 2.0, 2.5, 3.0])


def test_structures_that_differ_are_shown_as_trees() -> None:
    with pytest.raises(InputError, match=r"what it takes: \*, not \(\*, \*\)"):
        T.fori_loop(0, 3, lambda i, s: (s, s), T.dvector())


def test_loops_of_too_few_or_too_many_steps_are_refused() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    _, rows = T.loop_rows(lambda s, _: (s + 1, s), x, None, n)
    with pytest.raises(ShapeError, match="a loop of -2 steps has no rows"):
        jg.function([x, n], rows)(np.ones(2), -2)
    _, rows = T.loop_rows(lambda s, r: (s + r, s), 0.0, x, n)
    with pytest.raises(JitgraphError, match="3 elements from 0 by 1 are not all inside axis 0"):
        jg.function([x, n], rows)(np.ones(2), 3)


def test_sequences_are_equally_long() -> None:
    a, b = T.dvector("a"), T.dvector("b")
    _, rows = T.loop_rows(lambda s, r: (s, r[0] * r[1]), 0.0, (a, b))
    f = jg.function([a, b], rows)
    np.testing.assert_array_equal(f([1, 2], [3, 4]), [3, 8])
    for short in ([3.0], [3.0, 4.0, 5.0]):
        refused(ShapeError, lambda short=short: f([1, 2], short), "a loop of 2 steps")
    known = [T.constant(np.ones(2)), T.constant(np.ones(3))]
    refused(ShapeError, lambda: T.loop_rows(lambda s, r: (s, r[0]), 0.0, known), "equally long")


def test_scan_starts_from_numpy_scalars() -> None:
    x = T.fvector("x")
    rows, _ = T.scan(lambda r, s: s + r, x, np.float32(1))
    np.testing.assert_array_equal(jg.function([x], rows)(np.ones(3, np.float32)), [2, 3, 4])


def test_gradients_of_inner_loops_whose_steps_nobody_knows() -> None:
    """Their tapes differ in length from step to step, and so are written on the way back."""

    v, xs = T.dvector("v"), T.dmatrix("xs")

    def step(s: Any, x: Any) -> Any:
        inner = T.while_loop(lambda z: (z * z).sum() > 0.7, lambda z: T.sin(z) * 0.6, s + x)
        return s * 0.9, inner

    _, rows = T.loop_rows(step, v, xs)
    cost = (rows * rows).sum()
    f = jg.function([v, xs], [cost, T.grad(cost, v), T.grad(cost, xs)])
    arrays = [RNG.uniform(1, 2, 2), RNG.uniform(0, 1, (3, 2))]
    for k, found in enumerate(f(*arrays)[1:]):
        want = slopes(lambda *a: f(*a)[0], arrays, k)
        np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-5)


def test_a_gradient_of_zero_is_an_expression_of_the_user() -> None:
    x = T.tensor("float64", (3,))
    assert T.grad(T.dscalar() * 2, x, disconnected_inputs="ignore").sum().ndim == 0


# --- Ctrl-C ------------------------------------------------------------------------------------
ENDLESS = """
import jitgraph as jg, jitgraph.tensor as T, numpy as np, signal
signal.signal(signal.SIGALRM, signal.default_int_handler)
x = T.dvector("x")
f = jg.function([x], T.while_loop(lambda s: (s > 0).all(), lambda s: s + 1, x))
g = jg.function([x], T.while_loop(lambda s: s > 0, lambda s: s + 1, x[0]))
n = T.lscalar("n")
many = jg.function([n, x], T.fori_loop(0, n, lambda i, s: s * 0.5, x))
few = jg.function([n, x], T.fori_loop(0, n, lambda i, s: s * 0.5, x[0]))
for endless in (f, g, lambda x: many(2**62, x), lambda x: few(2**62, x)):
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        endless(np.ones(3))
    except KeyboardInterrupt:
        print("stopped", f(np.zeros(3)))
"""


def test_a_loop_that_takes_too_long_can_be_stopped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "stopped [0. 0. 0.]\n" * 4
