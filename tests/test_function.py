"""What `jitgraph.function` promises: inputs, outputs, updates, givens, variants, threads."""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph import compiled
from jitgraph.errors import DTypeError, InputError, JitgraphError, ShapeError, UpdateError


# --- outputs -------------------------------------------------------------------------------------
def test_one_output_a_list_and_none() -> None:
    x = T.dvector("x")
    one, several = jg.function([x], x + 1), jg.function([x], [x + 1, x * 2])
    s = jg.shared(np.zeros(2), "s")
    empty = jg.function([x], updates=[(s, s + x)])
    assert isinstance(one([1.0]), np.ndarray)
    got = several([1.0])
    assert isinstance(got, list)
    assert [a.tolist() for a in got] == [[2.0], [2.0]]
    assert jg.function([x], [x + 1])([1.0])[0].tolist() == [2.0]
    assert jg.function([x], (x + 1,))([1.0])[0].tolist() == [2.0]
    assert empty([1.0, 2.0]) is None
    assert s.get_value().tolist() == [1.0, 2.0]


def test_scalars_are_0d_arrays() -> None:
    x = T.dscalar("x")
    f = jg.function([x], [x + 1, x, x > 0, 3])
    for result, dtype in zip(f(2), ("f8", "f8", "?", "i8"), strict=True):
        assert type(result) is np.ndarray
        assert result.shape == ()
        assert result.dtype == np.dtype(dtype)


def test_outputs_are_fresh_writable_and_alias_nothing() -> None:
    x = T.dmatrix("x")
    s = jg.shared(np.ones((2, 3)), "s", borrow=True)
    held = s.get_value(borrow=True)
    y = x * 2
    f = jg.function([x], [x, x.T, x[::-1], x.reshape((3, 2)), x[0], s, s.T, y, y, T.ones((2, 3)),
                          T.broadcast_to(x[0], (4, 3))])  # fmt: skip
    data = np.arange(6.0).reshape(2, 3)
    first, second = f(data), f(data)
    want = [data, data.T, data[::-1], data.reshape(3, 2), data[0], held, held.T, data * 2, data * 2,
            np.ones((2, 3)), np.broadcast_to(data[0], (4, 3))]  # fmt: skip
    results = [*first, *second]
    for result, expected in zip(results, want * 2, strict=True):
        np.testing.assert_array_equal(result, expected)
        assert result.flags.writeable
        assert result.flags.c_contiguous
        assert not np.shares_memory(result, data)
        assert not np.shares_memory(result, held)
    for k, a in enumerate(results):
        assert not any(np.shares_memory(a, b) for b in results[k + 1 :])
        a[...] = -1
    np.testing.assert_array_equal(f(data)[5], np.ones((2, 3)))
    assert data[1, 2] == 5


def test_constants_as_outputs() -> None:
    big = np.random.default_rng(0).normal(size=(64, 65))
    x = T.dscalar("x")
    f = jg.function([x], [x, big, 2.5, [1, 2], np.float32(3), T.dot(big, big.T)[0, 0] * x])
    for _ in range(2):
        _, array, number, listed, single, product = f(2.0)
        np.testing.assert_array_equal(array, big)
        assert (number, single) == (2.5, 3)
        assert single.dtype == np.float32
        assert listed.tolist() == [1, 2]
        np.testing.assert_allclose(product, 2 * (big[0] ** 2).sum())
        array[...] = 0


def test_no_inputs_and_many() -> None:
    assert jg.function([], T.arange(3) * 2)().tolist() == [0, 2, 4]
    many = [T.dvector(f"x{k}") for k in range(20)]
    total: Any = 0
    for k, x in enumerate(many):
        total = total + (k + 1) * x
    f = jg.function(many, total)
    np.testing.assert_array_equal(f(*[np.full(5, k) for k in range(20)]),
                                  np.full(5, sum(k * (k + 1) for k in range(20))))  # fmt: skip
    assert f(**{f"x{k}": np.zeros(0) for k in range(20)}).shape == (0,)


def test_large_ranks_and_empty_arrays() -> None:
    x = T.tensor("float64", (None,) * 6, "x")
    f = jg.function([x], [x.sum(axis=(1, 3)), T.exp(x), x.mean()])
    data = np.random.default_rng(0).normal(size=(2, 1, 3, 2, 1, 2))
    for array in (data, data.transpose(), data[:, :0]):
        total, exponential, _ = f(array)
        np.testing.assert_allclose(total, array.sum(axis=(1, 3)), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(exponential, np.exp(array), rtol=1e-14)


# --- inputs --------------------------------------------------------------------------------------
def test_keyword_calls() -> None:
    x, y = T.dscalars("x", "y")
    f = jg.function([x, y], x - y)
    assert f(3, y=1) == f(y=1, x=3) == f(3, 1) == 2


def test_python_scalars_and_lists_adapt() -> None:
    x, n, z, b = T.fvector("x"), T.iscalar("n"), T.zscalar("z"), T.tensor("bool", (), "b")
    f = jg.function([x, n, z, b], [x, n, z, b])
    got = f([1, 2.5], 3, 1j, True)
    assert [r.dtype.str[1:] for r in got] == ["f4", "i4", "c16", "b1"]
    assert [r.tolist() for r in got] == [[1, 2.5], 3, 1j, True]
    with pytest.raises(DTypeError):
        f([1.0], 2.5, 1j, True)
    with pytest.raises(DTypeError):
        f([1.0], 2**40, 1j, True)
    with pytest.raises(DTypeError):
        f([1.0], 2, 1j, 2)


def test_allow_input_downcast() -> None:
    x, n = T.fvector("x"), T.iscalar("n")
    wide, count = np.arange(3.0), np.int64(3)
    strict = jg.function([x, n], x * n)
    with pytest.raises(DTypeError, match=r"allow_input_downcast"):
        strict(wide, 3)
    loose = jg.function([x, n], x * n, allow_input_downcast=True)
    got = loose(wide, count)
    np.testing.assert_array_equal(got, wide * 3)
    with pytest.raises(DTypeError):
        loose(wide + 1j, count)
    # What loses nothing is taken anyway.
    np.testing.assert_array_equal(strict(np.arange(3, dtype=np.float16), np.int8(2)), [0, 2, 4])


def test_on_unused_input() -> None:
    x, y = T.dscalars("x", "y")
    with pytest.raises(InputError, match="no output needs the input y"):
        jg.function([x, y], x)
    with pytest.warns(UserWarning, match="no output needs the input y"):
        assert jg.function([x, y], x, on_unused_input="warn")(1, 2) == 1
    assert jg.function([x, y], x, on_unused_input="ignore")(1, 2) == 1


def test_named_dimensions_are_equal() -> None:
    x = T.matrix("x", dtype="float64", shape=("batch", 784))
    y = T.vector("y", dtype="float64", shape=("batch",))
    f = jg.function([x, y], [x.sum(axis=1) + y, x.shape[0]])
    for batch in (5, 1, 0):
        total, size = f(np.ones((batch, 784)), np.ones(batch))
        np.testing.assert_array_equal(total, np.full(batch, 785))
        assert size == batch
    with pytest.raises(ShapeError, match="batch"):
        f(np.ones((5, 784)), np.ones(4))
    with pytest.raises(ShapeError, match="batch"):
        f(np.ones((5, 784)), np.ones(1))
    with pytest.raises(ShapeError, match="783 is not 784"):
        f(np.ones((5, 783)), np.ones(5))


def test_rows_and_columns_broadcast() -> None:
    row, col = T.row("row", dtype="float64"), T.col("col", dtype="float64")
    f = jg.function([row, col], [row + col, T.grad((row * col).sum(), row)])
    total, slope = f(np.ones((1, 3)), np.ones((2, 1)))
    assert total.shape == (2, 3)
    np.testing.assert_array_equal(slope, np.full((1, 3), 2.0))
    with pytest.raises(ShapeError):
        f(np.ones((2, 3)), np.ones((2, 1)))


def test_any_memory_is_taken() -> None:
    x = T.dmatrix("x")
    f = jg.function([x], T.exp(x).sum(axis=0))
    data = np.random.default_rng(0).normal(size=(5, 8))
    unaligned = np.zeros(data.nbytes + 1, np.uint8)[1:].view(float).reshape(data.shape)
    unaligned[...] = data
    masked = data.view(type("Mine", (np.ndarray,), {}))
    for array in (data, np.asfortranarray(data), data[::-1], data[:, ::-2], unaligned,
                  data.astype(">f8"), masked, np.broadcast_to(data[0], (3, 8)), data.tolist()):
        got = f(array)
        assert type(got) is np.ndarray
        np.testing.assert_allclose(got, np.exp(np.asarray(array)).sum(axis=0), rtol=1e-13)
    frozen = data.copy()
    frozen.flags.writeable = False
    np.testing.assert_allclose(f(frozen), np.exp(data).sum(axis=0), rtol=1e-13)


# --- variants ------------------------------------------------------------------------------------
def test_one_variant_a_layout_not_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a call that has its variant never comes to the slow path."""
    x, y = T.dmatrix("x"), T.dvector("y")
    slow = []
    look = compiled.by_input
    monkeypatch.setattr(compiled, "by_input", lambda *args: slow.append(args) or look(*args))
    f = jg.function([x, y], x + y)

    def calls(expected: int, *inputs: tuple[Any, Any]) -> None:
        for a, b in inputs:
            np.testing.assert_array_equal(f(a, b), a + b)
        assert (len(f._state.variants), len(slow)) == (expected, expected - 1)

    row = np.arange(4.0)
    calls(1, *((np.ones((rows, 4)), row) for rows in (2, 3, 0, 700)))
    calls(2, *((np.ones((rows, 4)), np.ones(1)) for rows in (2, 3)))
    calls(3, *[(np.ones((1, 4)), np.ones(1))] * 2)
    calls(4, *((np.ones((4, rows)).T, np.ones(4)) for rows in (2, 9)))
    calls(5, *((np.ones((4, rows)).T, row[::-1]) for rows in (2, 9)))
    calls(6, *((np.ones((rows, 4)), np.broadcast_to(2.0, 4)) for rows in (2, 9)))
    calls(6, *[(np.ones((4, 3)).T, row), (np.ones((3, 4)), row), (np.ones((1, 4)), np.ones(1))] * 2)
    f(np.ones((2, 4)), [1, 2, 3, 4])
    f(np.ones((5, 4)), np.ones(4, np.float32))
    assert len(f._state.variants) == 6
    assert len(slow) == 7


def test_updates_use_old_values_and_commit_together() -> None:
    a, b = jg.shared(np.zeros(3), "a"), jg.shared(np.ones(3), "b")
    swap = jg.function([], [a, b], updates=[(a, b), (b, a)])
    for step in range(5):
        first, second = swap()
        assert first.tolist() == [step % 2] * 3
        assert second.tolist() == [1 - step % 2] * 3
        assert a.get_value().tolist() == second.tolist()
        assert b.get_value().tolist() == first.tolist()
    assert not np.shares_memory(a.get_value(borrow=True), b.get_value(borrow=True))


def test_one_expression_may_update_several_and_be_an_output() -> None:
    a, b = jg.shared(np.zeros(2), "a"), jg.shared(np.zeros(2), "b")
    x = T.dvector("x")
    new = a + x
    f = jg.function([x], new, updates={a: new, b: new})
    got = f([1.0, 2.0])
    got[...] = 9
    a.get_value(borrow=True)[...] = 7
    assert b.get_value().tolist() == [1, 2]
    # An input handed on must be copied.
    data = np.ones(2)
    keep = jg.function([x], updates=[(a, x)])
    keep(data)
    data[...] = 5
    assert a.get_value().tolist() == [1, 1]


def test_updates_may_change_the_shape() -> None:
    s = jg.shared(np.zeros((0, 2)), "s")
    row = T.dvector("row")
    grow = jg.function([row], s.shape[0], updates=[(s, T.concatenate([s, row[None, :]]))])
    for step in range(4):
        assert grow([step, -step]) == step
    assert s.get_value().tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]


def test_the_updates_dtype_must_fit() -> None:
    s, n = jg.shared(np.zeros(2, np.float32), "s"), jg.shared(np.int64(0), "n")
    jg.function([], updates=[(n, n + 1)])()
    assert n.get_value() == 1
    with pytest.raises(UpdateError, match="lose information"):
        jg.function([], updates=[(s, s + np.ones(2))])
    with pytest.raises(UpdateError, match="ranks differ"):
        jg.function([], updates=[(s, s[0])])
    assert s.get_value().dtype == np.float32


def test_a_failing_call_changes_nothing() -> None:
    a, b = jg.shared(np.zeros(3), "a"), jg.shared(np.arange(3.0), "b")
    i = T.lscalar("i")
    f = jg.function([i], a.sum(), updates=[(a, a + 1), (b, b + b[i])])
    f(1)
    before = a.get_value(), b.get_value()
    for bad in (3, -4, 10**12):
        with pytest.raises(IndexError):
            f(bad)
        np.testing.assert_array_equal(a.get_value(), before[0])
        np.testing.assert_array_equal(b.get_value(), before[1])
    f(-1)
    assert a.get_value().tolist() == [2, 2, 2]


def test_shared_values_are_copied_unless_borrowed() -> None:
    mine = np.zeros(2)
    copied, borrowed = jg.shared(mine), jg.shared(mine, borrow=True)
    mine[0] = 1
    assert copied.get_value()[0] == 0
    assert borrowed.get_value()[0] == 1
    copied.get_value()[0] = 5
    assert copied.get_value()[0] == 0
    copied.get_value(borrow=True)[0] = 6
    assert copied.get_value()[0] == 6
    copied.set_value(mine)
    mine[1] = 7
    assert copied.get_value()[1] == 0
    copied.set_value(mine, borrow=True)
    mine[1] = 8
    assert copied.get_value()[1] == 8
    f = jg.function([], updates=[(copied, copied + 1)])
    f()
    f()
    assert mine.tolist() == [1, 8]
    copied.set_value([4, 5])
    assert copied.get_value().tolist() == [4.0, 5.0]
    with pytest.raises(ShapeError):
        copied.set_value(1.0)
    with pytest.raises(DTypeError):
        copied.set_value(np.array([1j, 2]))
    # Layouts of shared values are variants too.
    copied.set_value(np.ones(5))
    f()
    copied.set_value(np.ones(1))
    f()
    assert copied.get_value().tolist() == [2.0]


# --- givens --------------------------------------------------------------------------------------
def test_givens_replace_variables_and_expressions() -> None:
    x, y = T.dvectors("x", "y")
    z = x * y
    assert jg.function([y], z.sum(), givens={x: y + 1})([1.0, 2.0]) == 8
    assert jg.function([x], (z + 1).sum(), givens=[(z, x)])([1.0, 2.0]) == 5
    assert jg.function([x, y], [z, x - y], givens={x: y, y: x})([1.0], [3.0])[1].tolist() == [2.0]
    assert jg.function([y], z, givens={x: np.array([1, 2])})([5.0, 6.0]).tolist() == [5, 12]


def test_minibatches_of_shared_data() -> None:
    data = np.arange(50.0).reshape(25, 2)
    shared = jg.shared(data, borrow=True)
    w = jg.shared(np.zeros(2))
    x, i = T.dmatrix("x"), T.lscalar("i")
    f = jg.function([i], x.sum(axis=0), updates=[(w, w + x.sum(axis=0))],
                    givens={x: shared[i * 10 : (i + 1) * 10]})  # fmt: skip
    for k in range(4):  # the third is short, the fourth empty
        np.testing.assert_array_equal(f(k), data[10 * k : 10 * k + 10].sum(axis=0))
    np.testing.assert_array_equal(w.get_value(), data.sum(axis=0))


def test_eval() -> None:
    x, y = T.dscalars("x", "y")
    z = x + 2 * y
    assert z.eval({x: 1, y: 2}) == 5
    assert z.eval({y: 1.5, x: 0}) == 3
    assert T.arange(3).eval().tolist() == [0, 1, 2]
    s = jg.shared(np.ones(2))
    assert (s * x).eval({x: 3}).tolist() == [3, 3]
    with pytest.raises(InputError, match="y"):
        z.eval({x: 1})


# --- algebra -------------------------------------------------------------------------------------


def test_eval_goes_where_shared_variables_are() -> None:
    """And binds none of them: a look at one is no reason not to train it on a device."""
    w = jg.shared(np.ones(3), name="w")
    doubled = w * 2
    assert doubled.eval().tolist() == [2, 2, 2]
    step = jg.function([], w.sum(), updates=[(w, w + 1)], device="simulated")
    assert (float(step()), w.device) == (3, "simulated")
    for _ in range(2):
        assert doubled.eval().tolist() == [4, 4, 4]
    assert (w + T.zeros(3)).eval().tolist() == [2, 2, 2]
    assert "on simulated" in repr(step)


def test_real_algebra_cancels_what_ieee_keeps() -> None:
    x, y = T.dvectors("x", "y")
    given = np.array([1.0, np.inf, np.nan]), np.array([2.0, 1.0, 1.0])
    results = [x - x, 0 * x, x + y - x, x * y / x]
    real = jg.function([x, y], results, algebra="real")(*given)
    ieee = jg.function([x, y], results, algebra="ieee")(*given)
    a, b = given
    with np.errstate(invalid="ignore"):
        want = [a - a, 0 * a, a + b - a, a * b / a]
    for got, expected in zip(ieee, want, strict=True):
        np.testing.assert_array_equal(got, expected)
    for got, expected in zip(real, [np.zeros(3), np.zeros(3), b, b], strict=True):
        np.testing.assert_array_equal(got, expected)
    with jg.config.override(algebra="ieee"):
        got = jg.function([x], x - x)(a)
    np.testing.assert_array_equal(got, want[0])


def test_shapes_are_demanded_of_what_cancels() -> None:
    """0 * x still has x's shape, and x + y - x that of the broadcast."""
    x, y = T.dvectors("x", "y")
    f = jg.function([x, y], x + y - x)
    assert f(np.ones(3), np.ones(1)).tolist() == [1, 1, 1]
    with pytest.raises(ShapeError):
        f(np.ones(3), np.ones(2))


# --- many calls, many threads --------------------------------------------------------------------
def run_threads(count: int, work: Any) -> None:
    failures: list[BaseException] = []

    def guarded(k: int) -> None:
        try:
            work(k)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_eight_threads_call_one_function() -> None:
    x, y = T.dmatrix("x"), T.dvector("y")
    f = jg.function([x, y], [T.exp(x) + y, T.dot(x, y)])

    def work(k: int) -> None:
        rng = np.random.default_rng(k)
        for step in range(150):
            a = rng.normal(size=(k + 1, 5))
            b = rng.normal(size=5)
            given = a if step % 3 else np.asfortranarray(a)  # variants are compiled by many at once
            total, product = f(given, b)
            np.testing.assert_allclose(total, np.exp(a) + b, rtol=1e-12)
            np.testing.assert_allclose(product, a @ b, rtol=1e-9, atol=1e-12)

    run_threads(8, work)


def test_eight_threads_update_and_fail() -> None:
    """Values are never torn, and at least one update of each thread is seen."""
    s = jg.shared(np.zeros(500), "s")
    i = T.lscalar("i")
    f = jg.function([i], s, updates=[(s, s + 1 + 0 * s[i])])

    def work(k: int) -> None:
        for step in range(200):
            if step % 10 == 0:
                with pytest.raises(IndexError):
                    f(500 + k)
            seen = f(k)
            assert seen.min() == seen.max()
            now = s.get_value()
            assert now.min() == now.max()

    run_threads(8, work)
    assert 200 <= s.get_value()[0] <= 1600


def test_threads_build_and_call_functions_of_their_own() -> None:
    def work(k: int) -> None:
        x = T.dvector("x")
        f = jg.function([x], T.grad(((x - k) ** 2).sum(), x))
        for _ in range(50):
            np.testing.assert_array_equal(f([1.0, 2.0]), [2 * (1.0 - k), 2 * (2.0 - k)])

    run_threads(4, work)


def test_the_gil_is_released_for_long_work() -> None:
    x = T.dvector("x")
    f = jg.function([x], T.sin(T.exp(T.sin(x))).sum())
    data = np.random.default_rng(0).normal(size=3_000_000)
    f(data)
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    calls: list[tuple[float, float]] = []
    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        for _ in range(20):
            start = time.perf_counter()
            f(data)
            calls.append((start, time.perf_counter()))
    finally:
        done.set()
        ticker.join()
    # With the GIL held nothing could tick inside a call, however long that takes.
    inside = [
        t for start, end in calls for t in ticks
        if start + 0.2 * (end - start) < t < end - 0.2 * (end - start)
    ]  # fmt: skip
    assert len(inside) >= 5, f"{len(inside)} ticks in the middle of {len(calls)} calls"


def test_thousands_of_calls_do_not_leak() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    s = jg.shared(np.zeros(1000), "s")
    f = jg.function([x, n], [x * n, x.sum(), x[n]], updates=[(s, s + n)])
    data, strided, wide = np.ones(1000), np.ones(2000)[::2], np.ones(1000, np.float32)

    def calls(count: int) -> None:
        for _ in range(count):
            f(data, 2)
            f(strided, n=2)
            f(wide, 2)
            for bad in (1000, "text"):
                try:
                    f(data, bad)
                except (JitgraphError, TypeError):
                    continue
                pytest.fail("no error")

    calls(20)
    gc.collect()
    watched = (data, strided, wide, f, s, x, np.dtype(float), None)
    before = [sys.getrefcount(w) for w in watched]
    tracemalloc.start()
    try:
        calls(5)
        low = tracemalloc.get_traced_memory()[0]
        calls(300)
        gc.collect()
        high = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert high - low < 50_000
    after = [sys.getrefcount(w) for w in watched]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True)), (before, after)


@pytest.mark.parametrize("step", [-3, -1, 1, 2, 8])
def test_slices_by_symbolic_steps(step: int) -> None:
    x, (a, b, s) = T.dmatrix("x"), T.lscalars("a", "b", "s")
    f = jg.function([x, a, b, s], [x[a:b:s], x[:, a:b:s], x[::s], x[1:3, None, ::s]])
    grid = np.arange(42.0).reshape(6, 7)
    for start in (-8, -3, 0, 2, 9):
        for stop in (-8, -1, 0, 4, 10):
            want = [grid[start:stop:step], grid[:, start:stop:step], grid[::step],
                    grid[1:3, None, ::step]]  # fmt: skip
            for g, w in zip(f(grid, start, stop, step), want, strict=True):
                np.testing.assert_array_equal(g, w)


def test_a_symbolic_step_of_zero_is_refused() -> None:
    x, s = T.dvector("x"), T.lscalar("s")
    f = jg.function([x, s], x[::s])
    with pytest.raises(ShapeError, match="cannot be negative"):
        f(np.ones(3), 0)


def test_extents_adapt_to_the_arrays_beside_them() -> None:
    x = T.fmatrix("x")
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    outputs = [x / x.shape[0], x * x.size, x.sum(axis=0) / (x.shape[0] - 1), x.shape[0] / 2]
    want = [data / data.shape[0], data * data.size, data.sum(axis=0) / 1, np.float64(1)]
    for g, w in zip(jg.function([x], outputs)(data), want, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(g, w)
    u = T.tensor("uint8", (None,))
    assert (u + u.shape[0]).dtype == np.int64, "a number of elements need not fit into a byte"


def test_numpy_functions_on_variables() -> None:
    x = T.dvector("x")
    f = jg.function([x], [np.exp(x), np.maximum(x, 0), np.ones(3) @ x, np.arange(3) * x])
    data = np.array([-1.0, 0.5, 2.0])
    want = [np.exp(data), np.maximum(data, 0), np.ones(3) @ data, np.arange(3) * data]
    for g, w in zip(f(data), want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-15)
    f = jg.function([x], [np.concatenate([x, x]), np.add.reduce(x)])
    for g, w in zip(f(data), [np.concatenate([data, data]), data.sum()], strict=True):
        np.testing.assert_allclose(g, w)
    with pytest.raises(DTypeError, match=r"np\.save"):
        np.save("file", x)


def test_what_a_call_without_outputs_returns() -> None:
    x = T.dscalar("x")
    s = jg.shared(0.0, "s")
    assert jg.function([x], [], on_unused_input="ignore")(1) == []
    assert jg.function([x], updates=[(s, s + x)])(1) is None


def test_a_compiled_function_shows_its_inputs() -> None:
    f = jg.function([T.dscalar("x"), T.dscalar(), T.dscalar("y z")], 1.0,
                    on_unused_input="ignore")  # fmt: skip
    assert str(inspect.signature(f)) == "(x, arg1, arg2)"
    assert "by position or by name" in (f.__doc__ or "")
