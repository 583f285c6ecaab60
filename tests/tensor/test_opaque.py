"""Python functions as ops: called once, with what they need; their errors; `Print`."""

from __future__ import annotations

import pickle
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import BatchingError, DTypeError, GradientError, InputError, ShapeError

MODES = pytest.mark.parametrize("mode", ["native", "interpreted", "checked"])


@jg.as_op(itypes=[T.dmatrix], otypes=[T.dvector])
def row_medians(x: Any) -> Any:
    return np.median(x, axis=1)


@jg.as_op([T.dvector, "i64[]"], ["f64[?]", T.bscalar, "c128[2, ?]"])
def several(x: Any, n: Any) -> Any:
    if n < 0:
        raise LookupError(f"{n} is negative")
    return [x[:n], len(x), np.array([x, x * 1j])]


class Counted:
    """A function that counts its calls and spoils its operands."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        result = x * 2
        x[...] = -1
        return result


def test_results_are_those_of_the_function() -> None:
    x = T.dmatrix("x")
    medians = row_medians(T.exp(x))
    f = jg.function([x], [medians, medians[:, None] * x, medians.shape[0], T.exp(x)])
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (1, 4), (4, 1), (0, 3)):
        data = rng.normal(size=shape)
        for given in (data, np.asfortranarray(data), np.repeat(data, 2, axis=1)[:, ::2]):
            want = np.median(np.exp(data), axis=1)
            got = f(given)
            np.testing.assert_allclose(got[0], want, rtol=1e-14)
            np.testing.assert_allclose(got[1], want[:, None] * data, rtol=1e-14)
            assert got[2] == shape[0]
            np.testing.assert_allclose(got[3], np.exp(data), rtol=1e-14)
    assert repr(row_medians) == "<op row_medians of Python>"


@MODES
def test_several_results_and_scalars(mode: str) -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    s = jg.shared(np.zeros(2), "s")
    head, length, rows = several(x, n + 1)
    f = jg.function([x, n], [head * 2, length, rows, rows.sum()], updates=[(s, head)], mode=mode)
    data = np.arange(1.0, 4.0)
    for k in (1, 0, 2, -1):
        got = f(data, k)
        np.testing.assert_array_equal(got[0], 2 * data[: k + 1])
        np.testing.assert_array_equal(got[2], [data, data * 1j])
        assert (got[1], got[3]) == (3, 6 + 6j)
        assert got[1].dtype == np.int8
        np.testing.assert_array_equal(s.get_value(), data[: k + 1])


@MODES
def test_errors_come_out_as_they_are(mode: str) -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    s = jg.shared(1.0, "s")
    f = jg.function([x, n], several(x, n)[0], updates=[(s, s + 1)], mode=mode)
    with pytest.raises(LookupError, match="-1 is negative") as caught:
        f([1.0], -1)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].line == 'raise LookupError(f"{n} is negative")'
    assert s.get_value() == 1
    assert f([1.0, 2.0], 1).tolist() == [1]
    assert s.get_value() == 2


def test_even_exits_pass() -> None:
    @jg.as_op("f64[]", "f64[]")
    def leave(x: Any) -> Any:
        raise KeyboardInterrupt

    x = T.dscalar("x")
    f = jg.function([x], leave(x) + 1)
    with pytest.raises(KeyboardInterrupt):
        f(1)


@pytest.mark.parametrize("known", [True, False])
def test_one_call_with_operands_of_its_own(known: bool) -> None:
    counted = Counted()
    op = jg.as_op(T.dvector, T.dvector, infer_shape=(lambda s: s) if known else None)(counted)
    x = T.dvector("x")
    y = op(x)
    f = jg.function([x], [y.sum(), T.exp(y), y * 2, op(x)[::-1], x + 0])
    data = np.arange(3.0)
    total, _, _, turned, kept = f(data)
    assert (counted.calls, total) == (1, 6)
    assert (turned.tolist(), kept.tolist(), data.tolist()) == ([4, 2, 0], [0, 1, 2], [0, 1, 2])
    jg.function([x], x + 1, on_unused_input="ignore")(data)
    assert counted.calls == 1
    # Only its extents are wanted.
    shape = jg.function([x], op(x).shape[0])
    for _ in range(600):
        assert shape(data) == 3
    assert counted.calls == (1 if known else 601)
    assert len(op._opaque._kept) <= 256


def test_what_is_not_as_promised() -> None:
    x = T.dvector("x")
    wrong = {
        "result 0 of f has shape": (lambda x: x[None], None),
        "result 0 of f is complex128": (lambda x: x * 1j, None),
        "f gave 2 results, not 1": (lambda x: (x, x), None),
        "infer_shape says": (lambda x: x[1:], lambda shapes: shapes),
    }
    for words, (function, infer) in wrong.items():
        function.__name__ = "f"
        f = jg.function([x], jg.as_op(T.dvector, T.dvector, infer_shape=infer)(function)(x) * 2)
        with pytest.raises((ShapeError, DTypeError), match=words):
            f([1.0, 2.0])
    op = jg.as_op(T.dvector, T.dvector, infer_shape=lambda shapes: [()])(lambda x: x)
    for call, error in ((lambda: op(x), InputError), (lambda: row_medians(x), ShapeError),
                        (lambda: row_medians(T.zmatrix()), DTypeError),
                        (lambda: row_medians(x, x), InputError),
                        (lambda: jg.as_op(T.dvector, []), InputError),
                        (lambda: jg.as_op(3, T.dvector), InputError)):
        with pytest.raises(error, match=r"(.|\n)*test_opaque"):
            call()
    assert row_medians(np.ones((2, 2), np.float32)).eval().tolist() == [1, 1]


def test_gradients() -> None:
    cube = jg.as_op([T.dvector, T.lscalar], T.dvector, infer_shape=lambda shapes: shapes[:1],
                    grad=lambda xs, gs: [3 * xs[0] ** 2 * gs[0], None])(lambda x, n: x**3 + n)
    x = T.dvector("x")
    cost = (cube(T.sin(x), 2) * x).sum()
    f = jg.function([x], T.grad(cost, x))
    twin = jg.function([x], T.grad(((T.sin(x) ** 3 + 2) * x).sum(), x))
    data = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(f(data), twin(data), rtol=1e-13)
    m = T.dmatrix("m")
    with pytest.raises(GradientError, match="row_medians is a Python function without"):
        T.grad(row_medians(m).sum(), m)
    with pytest.raises(BatchingError):
        jg.vmap(lambda row: cube(row, 1))(np.ones((2, 3)))


def test_inside_loops_branches_and_traces() -> None:
    counted = Counted()
    op = jg.as_op(T.dvector, T.dvector, infer_shape=lambda s: s)(counted)
    x, n = T.dvector("x"), T.lscalar("n")
    rows, _ = T.scan(op, outputs_info=[x], n_steps=n)
    chosen = T.cond(n > 2, lambda v: op(v), lambda v: v, x)
    f, g = jg.function([x, n], rows[-1]), jg.function([x, n], chosen)
    for k in (1, 5):
        counted.calls = 0
        np.testing.assert_array_equal(f([1.0, 3.0], k), np.array([1.0, 3.0]) * 2**k)
        assert counted.calls == k
    counted.calls = 0
    assert (g([1.0], 2).tolist(), counted.calls) == ([1], 0)
    assert (g([1.0], 3).tolist(), counted.calls) == ([2], 1)
    assert jg.jit(lambda v: op(v) + 1)(np.ones(2)).tolist() == [3, 3]
    assert counted.calls == 2
    # A function may call compiled functions itself.
    nested = jg.as_op(T.dvector, T.dvector)(lambda v: f(v, 2) + g(v, 0))
    assert jg.function([x], nested(x) + x)([1.0]).tolist() == [6]


def test_many_threads_and_long_work() -> None:
    x = T.dvector("x")
    shifted = jg.as_op(T.dvector, T.dvector)(lambda v: np.append(v, threading.get_ident()))
    f = jg.function([x], shifted(T.tanh(x))[-1])
    wrong: list[Any] = []

    def work() -> None:
        here = threading.get_ident()
        data = np.ones(200_000)  # of which the GIL is released
        wrong.extend(got for _ in range(20) if (got := f(data)) != float(here))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_neither_kept_on_disk_nor_lost_in_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JITGRAPH_CACHE_DIR", str(tmp_path))
    with jg.config.override(cache=True):
        x = T.dmatrix("x")
        f = jg.function([x], row_medians(x) + 1, name="opaque")
        f(np.ones((2, 2)))
        assert not any(b"opaque" in path.read_bytes() for path in tmp_path.rglob("*.jit*"))
    loop, _ = T.scan(lambda row: T.Print("row", global_fn=print_nothing)(row), sequences=[x])
    g = jg.function([x], [row_medians(x), loop])
    for made in (pickle.loads(pickle.dumps(g)), g):
        assert made(np.arange(6.0).reshape(2, 3))[0].tolist() == [1, 4]
    cost, wrt = pickle.loads(pickle.dumps((T.Print("x", ())(x).sum(), x)))  # graphs as well
    assert jg.function([wrt], T.grad(cost, wrt))([[2.0]]) == [[1]]
    local = jg.function([x], jg.as_op(T.dmatrix, T.dmatrix)(lambda v: v)(x))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def print_nothing(op: Any, x: Any) -> None:
    assert isinstance(op, T.Print)


# --- Print ---------------------------------------------------------------------------------------
def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    x = T.dvector("x")
    y = T.Print("hello")(x * 2)
    z = T.Print("again", attrs=["shape", "min"])(y + 1)
    unseen = T.Print("unseen")(x)
    f = jg.function([x], [z.sum(), T.grad((z**2).sum(), x), 0 * unseen])
    assert capsys.readouterr().out == ""
    total, slope, _ = f([1.0, 2.0])
    text = "hello __str__ = [2. 4.]\nagain shape = (2,)\nagain min = 3.0\n"
    assert capsys.readouterr().out == text
    assert total == 8
    assert slope.tolist() == [12, 20]
    pair = jg.function([x], T.Print("one")(x) + T.Print("two")(x))
    assert pair([1.0]) == [2]
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == ["one __str__ = [1.]", "two __str__ = [1.]"]


def test_print_what_one_likes() -> None:
    seen: list[Any] = []
    x = T.fmatrix("x")
    shown = T.Print("m", global_fn=lambda op, v: seen.append((op.message, v.tolist())))(x)
    assert shown.type == x.type
    assert jg.function([x], shown)([[1, 2]]).tolist() == [[1, 2]]
    assert seen == [("m", [[1, 2]])]
