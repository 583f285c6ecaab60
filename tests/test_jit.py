"""Functions under jit mean what they mean to NumPy, and are traced once per kinds of arguments."""

from __future__ import annotations

import dataclasses
import gc
import sys
import threading
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import (
    DTypeError,
    InputError,
    OutOfBoundsError,
    ShapeError,
    TruthValueError,
)
from tests.native import assert_close

DTYPES = ["f4", "f8", "i4", "i8", "u1", "c16"]


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Layer:
    w: Any
    b: Any
    name: str = dataclasses.field(default="layer", metadata={"static": True})


# --- values --------------------------------------------------------------------------------------
def combined(x: Any, y: Any) -> Any:
    return (x - y) * x + 3 * y - x


def reduced(x: Any, y: Any) -> Any:
    return (x * x).sum() + y


def structured(x: Any, y: Any) -> Any:
    return {"sum": x + y, "parts": [x * 2, (y, None)], "same": x}


FUNCTIONS = {f.__name__: jg.jit(f) for f in (combined, reduced, structured)}


def arguments(dtype: str, rank: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 4, rank))
    return (rng.integers(0, 9, shape) + (1j if dtype == "c16" else 0)).astype(dtype)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(FUNCTIONS)), st.sampled_from(DTYPES), st.sampled_from(DTYPES[:-1]),
    st.integers(0, 2), st.sampled_from(["array", "number", "scalar"]), st.integers(0, 99),
)  # fmt: skip
def test_values_dtypes_and_trees_are_numpys(
    name: str, first: str, second: str, rank: int, kind: str, seed: int
) -> None:
    f = FUNCTIONS[name]
    x = arguments(first, rank, seed)
    others = {"array": x.real.astype(second), "number": 2, "scalar": np.float32(2.5)}
    y = others[kind]
    with np.errstate(all="ignore"):
        want = f.__wrapped__(x, y)
    got = f(x, y)
    assert_same_tree(got, want)


def assert_same_tree(got: Any, want: Any) -> None:
    if isinstance(want, dict):
        assert list(got) == list(want)
        got, want = list(got.values()), list(want.values())
    if isinstance(want, list | tuple):
        assert type(got) is type(want)
        for a, b in zip(got, want, strict=True):
            assert_same_tree(a, b)
    elif want is None:
        assert got is None
    else:
        assert_close(np.asarray(got), np.asarray(want))


def test_python_numbers_adapt_as_in_numpy() -> None:
    f = jg.jit(lambda x, a: x * (a + 1) - 2 * a)
    for dtype in ("f4", "f8", "i1", "f2"):
        x = np.arange(3).astype(dtype)
        for a in (3, 2.5, np.float32(2), np.int8(2), True, np.array(2.0)):
            want = x * (a + 1) - 2 * a
            got = f(x, a)
            assert got.dtype == want.dtype, (dtype, type(a))
            np.testing.assert_allclose(got, want, rtol=1e-3)
    g = jg.jit(lambda x, a: np.sqrt(a) * x)
    assert g(np.ones(2, "f4"), 2.0).dtype == np.float64  # np.sqrt(2.0) is a float64 of NumPy's
    assert jg.jit(lambda a, b: a / b)(1, 2) == 0.5
    assert jg.jit(lambda a: -abs(a) ** 2 // 3)(-4) == -6


def test_trees_go_in_and_come_out() -> None:
    @jg.jit
    def f(layer: Layer, pair: Pair, many: OrderedDict[str, Any]) -> Any:
        out = pair.left @ layer.w + layer.b
        return Layer(out, None, layer.name), Pair(out * 2, [many["a"]]), OrderedDict(z=out, a=1.5)

    w = np.arange(6.0).reshape(2, 3)
    layer, pair, one = f(Layer(w, np.ones(3), "first"), Pair(np.ones(2), 1), OrderedDict(a=2))
    np.testing.assert_array_equal(layer.w, w.sum(0) + 1)
    assert (layer.b, layer.name) == (None, "first")
    assert isinstance(pair, Pair)
    assert pair.right == [2]
    assert list(one) == ["z", "a"]
    assert one["a"] == 1.5
    f(Layer(w, np.ones(3), "second"), Pair(np.ones(2), 1), OrderedDict(a=2))
    assert f.traces == 2  # what is static belongs to the kind of call


# --- how often it is traced ----------------------------------------------------------------------
def test_traced_once_per_kinds_and_never_per_shape() -> None:
    traced = []

    @jg.jit
    def f(x: Any, y: Any) -> Any:
        traced.append((x.type, y.type))
        return x + y

    for shape in ((3,), (1,), (0,), (7,), (5,)):
        f(np.ones(shape), np.ones(shape))
        f(np.ones(shape)[::-1], 2.0)
    assert len(traced) == 2 == f.traces
    f(np.ones(3, "f4"), np.ones(3))
    f(np.ones((3, 3)), np.ones(3))
    f(np.ones(3), 2)
    assert len(traced) == 5
    with pytest.raises(ShapeError):
        f(np.ones(3), np.ones(4))
    assert len(traced) == 5


def test_what_the_native_entry_takes_does_not_come_to_python(monkeypatch: Any) -> None:
    f = jg.jit(lambda x, y: x * y)
    a, b = np.arange(3.0), np.arange(3.0, dtype="f4")
    calls = [(a, a), (b, b), (a, 2.0), (b, 2.0), (b, 2), (np.float64(2), a), (a, np.float64(2))]
    want = [f(*args) for args in calls]
    # The slow path cannot do without:
    monkeypatch.setattr(sys.modules["jitgraph.jit"], "coerced", None)
    for args, first in zip(calls, want, strict=True):
        again = f(*args)
        assert again.dtype == first.dtype == (args[0] * args[1]).dtype
        np.testing.assert_array_equal(again, first)
    with pytest.raises(TypeError):
        f(a, [1, 2, 3])


def test_static_arguments() -> None:
    @jg.jit(static_argnames=("power", "mode"))
    def f(x: Any, power: int, *, mode: str = "plus") -> Any:
        y = x
        for _ in range(power - 1):
            y = y * x
        return y if mode == "plus" else -y

    x = np.arange(3.0)
    np.testing.assert_array_equal(f(x, 3), x**3)
    np.testing.assert_array_equal(f(x, power=2, mode="minus"), -(x**2))
    np.testing.assert_array_equal(f(power=2, x=x), x**2)
    assert f.traces == 3
    f(x + 1, 3)
    assert f.traces == 3
    g = jg.jit(lambda n, x: x[:n], static_argnums=0)
    np.testing.assert_array_equal(g(2, x), x[:2])
    with pytest.raises(InputError, match="cannot be hashed"):
        f(x, [2])
    with pytest.raises(InputError, match="no argument 'pow'"):
        jg.jit(f.__wrapped__, static_argnames="pow")
    with pytest.raises(InputError, match=r"(?s)the argument mode of f.*static_argnames"):
        jg.jit(lambda x, mode: x, name="f")(x, "fast")


def test_keywords_defaults_and_none() -> None:
    @jg.jit
    def f(x: Any, y: Any = 2.0, z: Any = None) -> Any:
        return x * y if z is None else x * y + z

    x = np.arange(3.0)
    for args, kwargs in (((x,), {}), ((x, 3.0), {}), ((x,), {"y": x}), ((x,), {"z": 1.0}),
                         ((), {"x": x, "z": x, "y": 2})):  # fmt: skip
        np.testing.assert_array_equal(f(*args, **kwargs), f.__wrapped__(*args, **kwargs))
    with pytest.raises(TypeError, match="missing"):
        f()


# --- other uses ----------------------------------------------------------------------------------
def test_methods() -> None:
    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @jg.jit
        def apply(self, x: Any) -> Any:
            return x * self.factor

    one, two = Scale(2.0), Scale(3.0)
    x = np.arange(3.0)
    np.testing.assert_array_equal(one.apply(x), x * 2)
    np.testing.assert_array_equal(two.apply(x), x * 3)
    np.testing.assert_array_equal(one.apply(x), x * 2)
    gone = weakref.ref(two)
    del two
    gc.collect()
    assert gone() is None

    @dataclasses.dataclass
    class Tree:
        w: Any

        @jg.jit
        def apply(self, x: Any) -> Any:
            return x @ self.w

    tree = Tree(np.eye(3))
    np.testing.assert_array_equal(tree.apply(x), x)
    tree.w = 2 * np.eye(3)  # an argument like any other
    np.testing.assert_array_equal(tree.apply(x), 2 * x)


def test_it_looks_like_the_function() -> None:
    def f(x: Any, y: Any = 1) -> Any:
        """Doubles."""
        return x * 2

    g = jg.jit(f)
    assert (g.__name__, g.__doc__, g.__wrapped__) == ("f", "Doubles.", f)
    x = np.ones(3)
    assert "multiply" in g.dump(x, stage="graph")
    assert "multiply" in str(g.trace(x))
    assert "<8 x double>" in g.lower(x).llvm or "double" in g.lower(x).llvm
    assert "f(x" in repr(g)
    assert "traced 1 time" in repr(g)


def test_nested_functions_are_inlined_and_variables_build_expressions() -> None:
    inner = jg.jit(lambda x: x * 2)
    outer = jg.jit(lambda x: inner(x) + inner(np.ones(3)))
    x = np.arange(3.0)
    np.testing.assert_array_equal(outer(x), 2 * x + 2)
    v = T.dvector("v")
    np.testing.assert_array_equal(jg.function([v], inner(v) + 1)(x), 2 * x + 1)
    closed = jg.jit(lambda x: jg.jit(lambda y: x + y)(y=np.ones(3)))
    np.testing.assert_array_equal(closed(x), x + 1)


def test_arrays_from_outside_are_constants_and_shared_variables_are_read() -> None:
    table, state = np.arange(3.0), jg.shared(np.ones(3))
    f = jg.jit(lambda x: x * table + state)
    x = np.ones(3)
    np.testing.assert_array_equal(f(x), [1, 2, 3])
    state.set_value(np.zeros(3))
    np.testing.assert_array_equal(f(x), [0, 1, 2])


def test_threads_trace_once() -> None:
    traced = []

    @jg.jit
    def f(x: Any) -> Any:
        traced.append(1)
        return x + 1

    threads = [threading.Thread(target=lambda n=n: f(np.ones(n + 2))) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert traced == [1]


# --- extents as numbers --------------------------------------------------------------------------
def one_hot(x: Any, n: Any) -> Any:
    return x[:, None] == np.arange(n.shape[1])


def ridge(x: Any, n: Any) -> Any:
    return n.T @ n + 0.5 * np.eye(n.shape[1]), np.zeros(n.shape).sum() + x[0]


def horner(x: Any, n: Any) -> Any:
    value = 0.0
    for row in n[::-1]:
        value = value * 0.5 + row
    return value / (len(x) - 1)


def halved(x: Any, n: Any) -> Any:
    kept = np.concatenate([x, x])[: 2 * len(x) - 1]
    return kept if len(kept) % 3 else -kept[: int(kept.shape[0] / 2)]


def weighted(x: Any, n: Any) -> Any:
    return (n @ n.T + x.sum()) * np.linspace(0.0, 1.0, (n @ n.T).shape[0])


@pytest.mark.parametrize("function", [one_hot, ridge, horner, halved, weighted])
def test_extents_that_are_asked_for_are_numbers(function: Any) -> None:
    compiled = jg.jit(function)
    shapes = [(4, 3, 5), (4, 3, 5), (5, 3, 5), (5, 2, 2), (2, 2, 2), (7, 1, 6), (4, 3, 5)]
    for length, *shape in shapes:
        x, n = np.arange(length) * 1.0, np.arange(np.prod(shape) * 1.0).reshape(shape)
        expected, found = function(x, n), compiled(x, n)
        for e, f in zip(*(v if isinstance(v, tuple) else (v,) for v in (expected, found)),
                        strict=True):  # fmt: skip
            assert_close(f, np.asarray(e))
    wanted = {one_hot: {s[2] for s in shapes}, ridge: {s[1:] for s in shapes},
              horner: {s[:2] for s in shapes}, halved: {s[0] for s in shapes},
              weighted: {s[1] for s in shapes}}  # fmt: skip
    assert compiled.traces == len(wanted[function])


def test_extents_are_numbers_inside_loops_maps_and_gradients() -> None:
    def total(x: Any) -> Any:
        step = lambda s, row: s + (row * np.arange(row.shape[0])).sum()
        return T.foldl(lambda row, s: step(s, row), x, 0.0)[0] + sum(r.sum() for r in x)

    x = np.arange(6.0).reshape(2, 3)
    expected = np.arange(3.0) + np.ones((2, 1))
    assert_close(jg.jit(jg.grad(lambda x: (x @ np.arange(x.shape[1] * 1.0)).sum()))(x),
                 np.tile(np.arange(3.0), (2, 1)))  # fmt: skip
    assert_close(jg.jit(jg.vmap(lambda r: r * np.arange(len(r))))(x), x * np.arange(3))
    assert_close(jg.vmap(lambda r: r * np.arange(len(r)))(x), x * np.arange(3))
    assert_close(jg.jit(total)(x), (x * np.arange(3)).sum() + x.sum())
    assert_close(jg.grad(total)(x), expected)


def test_points_in_space_are_compiled_for_their_coordinates() -> None:
    """In a variant of its own, not a trace; other extents are served all the same."""
    @jg.jit
    def distances(p: Any) -> Any:
        return ((p[:, None] - p[None]) ** 2).sum(axis=-1)

    rng = np.random.default_rng(1)
    for shape in ((5, 3), (2, 3), (4, 5), (4, 3), (3, 2), (3, 1), (0, 3), (3, 0)):
        p = rng.normal(size=shape)
        np.testing.assert_allclose(distances(p), ((p[:, None] - p[None]) ** 2).sum(axis=-1))
    assert distances.traces == 1


# --- what cannot be traced -----------------------------------------------------------------------
def branches(x: Any) -> Any:
    if x > 0:  # here
        return x
    return -x


def converts(x: Any) -> Any:
    return float(x)  # here


def counts(x: Any) -> Any:
    return [x * i for i in range(x[x > 0].shape[0])]  # here


def exports(x: Any) -> Any:
    return np.asarray(x)  # here


def looks_up(x: Any) -> Any:
    return [1, 2, 3][x.sum()]  # here


def writes(x: Any) -> Any:
    x[0] = 1.0  # here
    return x


def iterates(x: Any) -> Any:
    return [row * 2 for row in x[x > 0]]  # here


UNTRACEABLE = [
    (branches, np.float64(1), TruthValueError, "where"),
    (converts, np.float64(1), DTypeError, "static_argnames"),
    (counts, np.ones(3), DTypeError, "static_argnames"),
    (exports, np.ones(3), DTypeError, "static_argnames"),
    (looks_up, np.arange(3), DTypeError, "static_argnames"),
    (writes, np.ones(3), DTypeError, r"at\[key\].set"),
    (iterates, np.ones(3), DTypeError, "vmap"),
]


@pytest.mark.parametrize(("function", "x", "error", "words"), UNTRACEABLE,
                         ids=[f.__name__ for f, *_ in UNTRACEABLE])  # fmt: skip
def test_what_cannot_be_traced_says_where_and_what_to_do(
    function: Any, x: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        jg.jit(function)(x)
    assert "# here" in str(caught.value)
    assert any(f"while {function.__name__} was traced" in n for n in caught.value.__notes__)


def test_errors_of_calls_name_the_line_in_the_function() -> None:
    @jg.jit
    def f(x: Any, i: Any) -> Any:
        return x[i] * 2  # here

    np.testing.assert_array_equal(f(np.arange(3.0), 1), 2)
    for index in (5, np.int64(-7)):
        with pytest.raises(OutOfBoundsError, match="# here"):
            f(np.arange(3.0), index)
    with pytest.raises(InputError, match="no array of numbers"):
        f(np.array(["a"]), 0)
    with pytest.raises(InputError, match="from outside"):
        jg.jit(lambda x: x + T.dscalar("free"))(1.0)
    with pytest.raises(InputError, match="takes a function"):
        jg.jit(3)


class TestTheShortWay:
    """Calls with leaves alone, whose program is a callable of its own, are looked up by kind."""

    def test_it_gives_what_the_long_one_does(self):
        @jg.jit
        def f(x, y):
            return {"sum": x + y, "first": (x[0], y)}

        rng = np.random.default_rng(0)
        for dtype in (np.float64, np.float32, np.float64):
            for n in (3, 1, 5):
                x, y = rng.random((n, 2)).astype(dtype), rng.random(2).astype(dtype)
                for _ in range(2):
                    found = f(x, y)
                    np.testing.assert_array_equal(found["sum"], x + y)
                    assert found["sum"].dtype == dtype
                    np.testing.assert_array_equal(found["first"][0], x[0])
        assert list(f(x, 2)) == ["sum", "first"]
        np.testing.assert_array_equal(f(x, y=y)["sum"], x + y)

    def test_programs_for_some_extents_are_told_apart(self):
        @jg.jit
        def f(x):
            return [x * k for k in range(x.shape[0])]

        for n in (2, 3, 2, 4):
            assert len(f(np.arange(float(n)))) == n

    def test_static_arguments_are_told_apart(self):
        @jg.jit(static_argnums=1)
        def f(x, n):
            return [x] * n

        x = np.arange(3.0)
        assert [len(f(x, n)) for n in (2, 3, 2)] == [2, 3, 2]
        np.testing.assert_array_equal(f(x, 1)[0], x)

    def test_trees_and_leaves_are_told_apart(self):
        f = jg.jit(lambda x: {"y": np.sum(x[0]) if isinstance(x, tuple) else np.sum(x)})
        x = np.arange(4.0)
        assert f(x)["y"] == 6
        assert f((x, x))["y"] == 6
        assert f(x)["y"] == 6
