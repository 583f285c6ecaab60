"""Pickles and copies of graphs, shared variables and compiled functions, and where they travel."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph import compiled
from jitgraph.errors import InputError, InternalError, JitgraphError, UpdateError
from jitgraph.ir import pickling
from jitgraph.ir.values import Value, topological
from jitgraph.tensor.random import RandomStreams
from jitgraph.trees import flatten

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "protocol 0": lambda x: pickle.loads(pickle.dumps(x, 0)),
    "pure Python": lambda x: pickle._loads(pickle._dumps(x)),  # type: ignore[attr-defined]
    "deepcopy": copy.deepcopy,
}
copied = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


class Model:
    """Least squares by gradient descent, as programs of the Theano era hold it."""

    def __init__(self) -> None:
        self.x, self.y = T.dmatrix("x"), T.dvector("y")
        self.w = jg.shared(np.zeros(3), "w")
        self.hidden = T.tanh(T.dot(self.x, self.w))
        self.cost = ((self.hidden - self.y) ** 2).mean()
        slope = T.grad(self.cost, self.w)
        updates = {self.w: self.w - 0.1 * slope}
        self.train = jg.function([self.x, self.y], self.cost, updates=updates)
        self.predict = jg.function([self.x], {"hidden": self.hidden})


DATA = np.random.default_rng(0).normal(size=(20, 3)), np.linspace(-0.5, 0.5, 20)


@copied
def test_a_model_trains_a_copy_of_its_own(copied: Any) -> None:
    first = Model()
    first.train(*DATA)
    second = copied(first)
    before = first.w.get_value()
    np.testing.assert_array_equal(second.w.get_value(), before)
    costs = [second.train(*DATA) for _ in range(5)]
    assert costs[-1] < costs[0]
    assert not np.array_equal(second.w.get_value(), before)
    np.testing.assert_array_equal(first.w.get_value(), before)
    # The same program: the original gives the very same numbers.
    assert [first.train(*DATA) for _ in range(5)] == costs
    np.testing.assert_array_equal(first.w.get_value(), second.w.get_value())
    # Functions, graph and shared variable of the copy are one whole.
    np.testing.assert_allclose(second.predict(DATA[0])["hidden"],
                               np.tanh(DATA[0] @ second.w.get_value()))  # fmt: skip
    again = jg.function([second.x], second.hidden * 2)
    np.testing.assert_array_equal(again(DATA[0]) / 2, second.predict(DATA[0])["hidden"])
    slope = jg.function([second.x, second.y], T.grad(second.cost, second.hidden))
    assert slope(*DATA).shape == (20,)


def test_parts_pickled_apart_are_apart() -> None:
    model = Model()
    w, train = (pickle.loads(pickle.dumps(part)) for part in (model.w, model.train))
    train(*DATA)
    assert not w.get_value().any()
    assert train["w"].any()


@copied
def test_graphs_keep_types_names_lines_and_identity(copied: Any) -> None:
    x = T.matrix("x", dtype="float32", shape=("n", 3))
    y = T.exp(x[1:]) + np.arange(3, dtype=np.float32)
    parts, order = T.linalg.svd(y @ y.T), T.argsort(x.ravel())
    graph = {"x": x, "y": y, "all": [y, *parts, order, T.where(x > 0, x, 1j)]}
    made = copied(graph)
    assert str(T.stack([v.sum() for v in made["all"][:2]])) == str(
        T.stack([v.sum() for v in graph["all"][:2]]))  # fmt: skip
    for old, new in zip(topological(graph["all"]), topological(made["all"]), strict=True):
        assert type(new) is type(old)
        assert (new.type, new.name, new.is_op("item")) == (old.type, old.name, old.is_op("item"))
        assert str(new.location and new.location.short) == str(old.location and old.location.short)
        assert new.dtype.isnative
        if old.op is not None and new.op is not None:
            assert new.op.definition is old.op.definition
    assert made["y"] is made["all"][0]
    assert made["x"] in set(topological([made["y"]]))
    assert made["x"] is not x
    written = T.set_subtensor(made["y"][0], 0)  # what was indexed is known
    assert jg.function([made["x"]], written.sum(axis=1))(np.ones((3, 3), "f4"))[0] == 0


@pytest.mark.parametrize("copied", [COPIES["pickle"], COPIES["deepcopy"]])
def test_long_graphs_survive(copied: Any) -> None:
    x, w = T.dscalar("x"), jg.shared(2.0, "w")
    y = x
    for k in range(1200):
        y = y + w if k % 2 else y * 0.5
    a, b, half = copied((x, y, T.sin(y)))
    assert half.op.args[0] is b
    assert jg.function([a], b)(3.0) == pytest.approx(jg.function([x], y)(3.0))
    assert not pickling._listed.values


def test_a_pickle_that_fails_leaves_nothing_behind() -> None:
    x = T.dscalar("x")
    for dump in (pickle.dumps, pickle._dumps):  # type: ignore[attr-defined]
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            dump([x + 1, T.exp(x + 1), lambda: 0])
        y = x + 1
        y.name = sys  # type: ignore[assignment]  # nothing that pickles
        with pytest.raises(TypeError):
            dump(T.exp(y) * 2)
    made = pickle.loads(pickle.dumps(T.exp(x)))
    assert made.eval({made.op.args[0]: 0}) == 1


@copied
def test_loops_branches_and_random_numbers(copied: Any) -> None:
    x, w = T.dvector("x"), jg.shared(0.5, "w")
    rows, _ = T.scan(lambda a, b: a * w + b, sequences=[x], outputs_info=[T.as_tensor(0.0)])
    chosen = T.cond(x.sum() > 0, lambda v: v * w, lambda v: v - w, x)
    draws = RandomStreams(3).normal(size=(4,))
    graph = x, w, [rows.sum(), T.grad(rows.sum(), x), chosen, draws]
    made_x, made_w, results = copied(graph)
    f, g = jg.function([x], graph[2]), jg.function([made_x], results)
    h = copied(f)
    for sign in (1, -1, 1):
        given = sign * np.arange(3.0)
        want, got, last = f(given), g(given), h(given)
        for a, b, c in zip(want, got, last, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    made_w.set_value(2.0)
    assert g(given)[0] != f(given)[0]


@copied
def test_default_updates_and_what_they_need(copied: Any) -> None:
    s, t = jg.shared(0.0, "s"), jg.shared(1.0, "t")
    s.default_update = s + t
    t.default_update = t * 2
    made_s, doubled = copied((s, s * 2))
    f = jg.function([], doubled)
    assert [float(f()) for _ in range(4)] == [0, 2, 6, 14]
    assert made_s.get_value() == 15
    assert made_s.default_update.op.args[0] is made_s
    assert s.get_value() == 0


# --- compiled functions --------------------------------------------------------------------------
def test_a_pickle_holds_the_optimised_graph_and_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    x = T.dmatrix("x")
    big = np.random.default_rng(0).normal(size=(40, 40))
    f = jg.function([x], [T.log(T.exp(x)).sum(axis=0) * 3, T.dot(x, big)], name="f")
    data = np.ones((2, 40))
    f(data), f(np.asfortranarray(data))
    held = pickle.dumps(f)
    assert b"func @f" in held
    assert b"ELF" not in held
    made = pickle.loads(held)
    assert not made._state.compilations
    assert repr(made) == repr(f)

    def optimise(*args: Any) -> Any:
        raise AssertionError("it was optimised before it was pickled")

    from jitgraph.passes import pipeline

    monkeypatch.setattr(pipeline, "optimise", optimise)
    for given in (data, np.asfortranarray(data)):
        for got, want in zip(made(given), f(given), strict=True):
            np.testing.assert_array_equal(got, want)
    assert made.compilation.llvm == f.compilation.llvm
    # As fast as the first: no Python frame is left.
    assert type(made) is type(f)
    monkeypatch.setattr(compiled, "by_input", optimise)
    made(data)
    assert pickle.loads(pickle.dumps(made)).dump("graph") == f.dump("graph")


def test_another_format_is_refused() -> None:
    f = jg.function([], T.arange(3))
    restore, (version, *rest) = f.__reduce__()
    with pytest.raises(InputError, match=f"format {version + 1}, not {version}"):
        restore(version + 1, *rest)
    restore_op, _ = T.arange(3).op.definition.__reduce__()
    with pytest.raises(InternalError, match="there is no op nonsense"):
        restore_op("nonsense")


def test_an_optimised_graph_that_means_nothing_here_is_made_anew() -> None:
    x = T.dvector("x")
    restore, (version, plan, texts) = jg.function([x], T.exp(x) * 2).__reduce__()
    strange = {layout: text.replace("exp", "exponential") for layout, text in texts.items()}
    assert strange != texts
    assert restore(version, plan, strange)([0.0]) == 2


def test_errors_of_copies_name_the_lines_of_the_program() -> None:
    x, i = T.dvector("x"), T.lscalar("i")
    f = pickle.loads(pickle.dumps(jg.function([x, i], x[i])))
    with pytest.raises(IndexError, match=r"test_pickling\.py"):
        f([1.0, 2.0], 5)
    assert f([1.0, 2.0], i=1) == 2


def test_functions_with_gradients_of_the_users_own() -> None:
    @jg.custom_vjp
    def square(x: Any) -> Any:
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, g: (g * 2 * x,))
    x = T.dscalar("x")
    f = jg.function([x], [square(x), T.grad(T.exp(square(x)), x)])
    for got, want in zip(pickle.loads(pickle.dumps(f))(0.5), f(0.5), strict=True):
        assert got == want


@copied
def test_defaults_and_what_they_become(copied: Any) -> None:
    step, state = T.dscalar("step"), T.dscalar("state")
    f = jg.function([jg.In(step, value=1), jg.In(state, value=0, update=state + step)], state)
    f(), f(2)
    g = copied(f)
    assert (g(), g(), f()) == (3, 4, 3)


def test_shared_values_in_foreign_memory(tmp_path: Path) -> None:
    """A pickler may have put large arrays into a file, and map that."""
    path = tmp_path / "w.npy"
    np.save(path, np.ones(4))
    s = jg.shared(np.zeros(4), "s")
    restore, _ = s.slots.__reduce__()
    s.slots = restore(np.load(path, mmap_mode="r"))
    f = jg.function([], s.sum(), updates=[(s, s + 1)])
    assert [f(), f(), f()] == [4, 8, 12]
    assert np.load(path).tolist() == [1] * 4


def test_shallow_copies() -> None:
    model = Model()
    w, train = copy.copy(model.w), copy.copy(model.train)
    train(*DATA)
    assert model.w.get_value().any()
    assert not w.get_value().any()
    assert w.name == "w"


# --- copies with other shared variables ----------------------------------------------------------
def test_copies_with_other_shared_variables() -> None:
    model = Model()
    other = jg.shared(np.ones(3), "other")
    swapped = model.train.copy(swap={model.w: other}, name="swapped")
    fixed = model.train.copy(delete_updates=True)
    assert swapped.name == "swapped"
    first = fixed(*DATA)
    assert fixed(*DATA) == first
    assert not model.w.get_value().any()
    swapped(*DATA)
    assert not model.w.get_value().any()
    assert other.get_value().tolist() != [1, 1, 1]
    model.train.copy()(*DATA)
    assert model.w.get_value().any()
    with pytest.raises(UpdateError, match="no shared variable other"):
        model.train.copy(swap={other: model.w})
    with pytest.raises(UpdateError, match="cannot be swapped"):
        model.train.copy(swap={model.w: jg.shared(1.0)})
    a, b = jg.shared(1.0, "a"), jg.shared(2.0, "b")
    both = jg.function([], a * b, updates=[(a, a + 1), (b, b + 1)])
    with pytest.raises(UpdateError, match="both are updated"):
        both.copy(swap={a: b})
    assert both.copy(swap={a: b}, delete_updates=True)() == 4


def test_copies_have_defaults_of_their_own() -> None:
    n, total = T.dscalar("n"), T.dscalar("total")
    f = jg.function([n, jg.In(total, value=0, update=total + n)], total + n)
    f(1)
    g = f.copy()
    assert (g(10), f(1)) == (11, 2)


# --- functions under jit -------------------------------------------------------------------------
@jg.jit
def doubled(x: Any) -> Any:
    return 2 * x


def _power(x: Any, n: int) -> Any:
    return x**n


power = jg.jit(_power, static_argnames="n", algebra="ieee")


def test_functions_under_jit() -> None:
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.deepcopy([doubled])[0] is doubled
    made = pickle.loads(pickle.dumps(power))
    assert made is not power
    assert made(np.arange(3.0), n=2).tolist() == power(np.arange(3.0), 2).tolist() == [0, 1, 4]
    assert made._algebra == "ieee"
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(jg.jit(lambda x: x))


def _cost(v: Any, w: Any) -> Any:
    return (T.sin(v) * w).sum()


@jg.grad
def decorated(v: Any) -> Any:
    return (v**3).sum()


@pytest.mark.parametrize("transform", [
    jg.grad, jg.jacrev, jg.jacfwd, jg.hessian, jg.checkpoint,
    lambda f: jg.value_and_grad(f, (0, 1)), lambda f: jg.vmap(f, (None, 0)),
    lambda f: jg.vmap(jg.grad(f), in_axes=(None, 0)),
])  # fmt: skip
def test_transforms_of_functions(transform: Any) -> None:
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    f = transform(_cost)
    made = pickle.loads(pickle.dumps(f))
    assert repr(made) == repr(f)
    given = np.arange(3.0), np.diag([1.0, 2.0, 3.0])
    for got, want in zip(flatten(made(*given))[0], flatten(f(*given))[0], strict=True):
        np.testing.assert_array_equal(got, want)


# --- other processes -----------------------------------------------------------------------------
def _called(work: tuple[Any, Any]) -> Any:
    function, given = work
    return function(given)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method: str) -> None:
    x, w = T.dvector("x"), jg.shared(np.arange(4.0), "w")
    f = jg.function([x], (T.exp(x) * w).sum())
    big = jg.function([x], T.tanh(x).sum())  # of so much work that threads take part
    data, many = np.ones(4), np.linspace(0, 1, 400_000)
    want = [f(data), big(many), doubled(data)]
    with multiprocessing.get_context(method).Pool(1) as pool:
        got = pool.map(_called, [(f, data), (big, many), (doubled, data)])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


SCRIPT = """
import numpy as np, jitgraph as jg, jitgraph.tensor as T

@jg.jit
def halved(x):
    return x / 2 if SIGN > 0 else -x

SIGN = 1
w = jg.shared(np.arange(4.0), "w")
x = T.dvector("x")
f = jg.function([x], (x * w).sum())
data = np.ones(4)
"""


def run_script(text: str, cache: Path) -> None:
    program = SCRIPT + textwrap.dedent(text)
    environment = {**os.environ, "JITGRAPH_CACHE": "1", "JITGRAPH_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=120, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_cloudpickle_and_joblib_take_what_main_defines(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    run_script("""
        import cloudpickle, joblib, pickle
        results = joblib.Parallel(n_jobs=2)(
            joblib.delayed(g)(data) for g in (f, halved, lambda a: halved(f(a) + a)))
        assert results[0] == 6 and results[1].tolist() == [0.5] * 4, results
        assert results[2].tolist() == [3.5] * 4, results
        assert pickle.loads(pickle.dumps(halved)) is halved
        assert cloudpickle.loads(cloudpickle.dumps(jg.grad(lambda v: (v * v).sum())))(data)[0] == 2
    """, tmp_path)


def test_joblib_dump(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    model = Model()
    model.train(*DATA)
    joblib.dump(model, tmp_path / "model")
    made = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(made.predict(DATA[0])["hidden"],
                                  model.predict(DATA[0])["hidden"])  # fmt: skip


def test_dask_blocks() -> None:
    array = pytest.importorskip("dask.array")
    x = T.dmatrix("x")
    f = jg.function([x], T.exp(x) * 2)
    data = np.random.default_rng(0).normal(size=(40, 6))
    blocks = array.from_array(data, chunks=(7, 6))
    for scheduler in ("threads", "processes"):
        got = array.map_blocks(f, blocks, dtype=float).compute(scheduler=scheduler, num_workers=1)
        np.testing.assert_allclose(got, 2 * np.exp(data), rtol=1e-14)


def test_scipy_minimises_value_and_gradient() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    x = T.dvector("x")
    cost = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    f, slope = jg.function([x], cost), jg.function([x], T.grad(cost, x))
    both = jg.function([x], [cost, T.grad(cost, x)])
    start = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
    for method in ("CG", "BFGS", "L-BFGS-B"):
        separate = optimize.minimize(f, start, jac=slope, method=method, tol=1e-10)
        together = optimize.minimize(both, start, jac=True, method=method, tol=1e-10)
        for found in (separate, together):
            np.testing.assert_allclose(found.x, 1, atol=1e-5)
            assert np.shape(found.fun) == ()
    found = optimize.minimize(jg.jit(jg.value_and_grad(
        lambda v: (100 * (v[1:] - v[:-1] ** 2) ** 2 + (1 - v[:-1]) ** 2).sum())),
        start, jac=True)  # fmt: skip
    np.testing.assert_allclose(found.x, 1, atol=1e-4)


def test_errors_pickle_too() -> None:
    x = T.dvector("x")
    f = jg.function([x], x[3])
    with pytest.raises(IndexError) as caught:
        f([1.0])
    made = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(made, JitgraphError)
    assert str(made) == str(caught.value)
    assert not isinstance(made, Value)
