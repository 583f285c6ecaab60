"""What functions take and give besides variables: defaults, names, conversions, modes."""

from __future__ import annotations

import collections
import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import (
    DTypeError,
    InputError,
    InternalError,
    OptionError,
    ShapeError,
    UpdateError,
)


def test_defaults_by_position_and_by_name() -> None:
    x, y, z = T.dscalar("x"), T.fvector("y"), T.iscalar("z")
    f = jg.function([x, jg.In(y, value=[1, 2]), jg.In(z, value=3, name="times")], [x * y, x * z])
    for got, want in ((f(2), [[2, 4], 6]), (f(2, [5.0]), [[10], 6]), (f(2, times=1), [[2, 4], 2]),
                      (f(times=0, x=1), [[1, 2], 0]), (f(1, times=4, y=[0]), [[0], 4])):
        assert [a.tolist() for a in got] == want
    assert str(inspect.signature(f)).startswith("(x, y=array([1., 2.]")
    for call, words in ((lambda: f(), "missing input: x"), (lambda: f(1, z=2), "named 'z'"),
                        (lambda: f(1, x=2), "'x' is given twice"),
                        (lambda: f(1, [1], 2, 3), "4 inputs given, 3 wanted")):
        with pytest.raises(InputError, match=words):
            call()
    f["times"] = 10
    f[y] = [3.0]
    assert [a.tolist() for a in f(2)] == [[6], 20]
    assert f[z] == f["times"] == 10
    with pytest.raises(DTypeError):
        f["times"] = 1.5
    with pytest.raises(InputError, match="it holds: times, y"):
        f["x"]
    with pytest.raises(DTypeError, match="input z"):
        jg.function([jg.In(z, value=1.5)], z)


def test_defaults_that_are_updated() -> None:
    step, state = T.dscalar("step"), T.dscalar("state")
    f = jg.function([jg.In(step, value=1), jg.In(state, value=0, update=state + step)], state)
    g = jg.function([jg.In(step, value=1), jg.In(state, value=0, update=state + step)], state)
    assert [f(), f(5), f(), f(1, 50), f(state=7), f(), g()] == [0, 1, 6, 50, 7, 8, 0]
    assert f["state"] == 9
    with pytest.raises(DTypeError):
        f("text")
    assert f[state] == 9
    with pytest.raises(InputError, match="no value to start with"):
        jg.function([jg.In(state, update=state + 1)], state)


def test_outputs_by_name() -> None:
    x = T.dvector("x")
    s = jg.shared(np.zeros(2), "s")
    f = jg.function([x], {"twice": x * 2, "sum": jg.Out(x.sum(), borrow=True)},
                    updates=[(s, s + x)])  # fmt: skip
    for given in ([1.0, 2.0], np.ones(2), np.ones((2, 2))[:, 0]):
        got = f(given)
        assert list(got) == ["twice", "sum"]
        assert got["twice"].tolist() == [2 * v for v in given]
        assert got["sum"] == sum(given)
    assert s.get_value().tolist() == [3, 4]
    assert jg.function([], {})() == {}
    assert jg.function([x], [jg.Out(x), x + 1])([1.0])[1] == 2
    with pytest.raises(InputError, match="names, not 1"):
        jg.function([x], {1: x})


def test_nothing_in_and_nothing_out() -> None:
    assert jg.function([], [])() == []
    assert jg.function([], None)() is None
    s = jg.shared(1)
    step = jg.function([], updates={s: s * 2})
    assert step() is None
    assert s.get_value() == 2


def test_updates_as_lists_dicts_and_pairs() -> None:
    a, b = jg.shared(1.0, "a"), jg.shared(2.0, "b")
    for updates in ({a: a + b, b: a}, [(a, a + b), (b, a)], ((a, a + b), [b, a]),
                    collections.OrderedDict([(b, a), (a, a + b)]), [[a, a + b], [b, a]]):
        a.set_value(1.0), b.set_value(2.0)
        jg.function([], updates=updates)()
        assert (a.get_value(), b.get_value()) == (3, 1)
    with pytest.raises(UpdateError, match="pairs or a dict"):
        jg.function([], updates=[a, b])


@pytest.mark.parametrize(
    ("value", "downcast", "fits"),
    [
        (0.1, None, True), (0.1, True, True), (0.1, False, False), (0.5, False, True),
        ([0.1, 1], None, True), (7, None, True), (2**40, False, True), (np.int8(3), None, True),
        (np.float64(0.5), None, True), (np.float64(0.1), None, False), (np.int64(2), False, True),
        (np.array(0.5), None, False), (np.array(0.1), True, True), (np.nan, False, True),
        (np.array(3, np.int64), None, False), (np.array(3, np.int16), False, True),
        (1j, None, False), (1j, True, False), ("x", True, False), (None, None, False),
    ],
)  # fmt: skip
def test_what_goes_into_a_single(value: Any, downcast: bool | None, fits: bool) -> None:
    x = T.tensor("float32", (None,) * np.ndim(value), "speed")
    f = jg.function([x], x, allow_input_downcast=downcast)
    if fits:
        np.testing.assert_array_equal(f(value), np.asarray(value, np.float32))
        np.testing.assert_array_equal(f(speed=value), np.asarray(value, np.float32))
    else:
        with pytest.raises(TypeError, match="input speed is f32"):
            f(value)


@pytest.mark.parametrize("downcast", [None, True, False])
def test_fractions_do_not_go_into_integers(downcast: bool | None) -> None:
    n = T.iscalar("count")
    f = jg.function([n], n * 2, allow_input_downcast=downcast)
    assert [f(3), f(3.0), f(np.float64(4)), f(np.uint8(5))] == [6, 6, 8, 10]
    for value in (2.5, np.float64(2.5), np.array(2.5), [1.5], np.nan, np.inf, 1e30, 2**31):
        with pytest.raises(TypeError, match="input count is i32"):
            f(value)


def test_strict_inputs() -> None:
    x, y = T.dscalar("x"), T.fvector("y")
    f = jg.function([jg.In(x, strict=True), jg.In(y, allow_downcast=True)], x * y)
    assert f(np.float64(2), np.ones(1)) == [2]
    assert f(np.array(2.0), [1]) == [2]
    for wrong in (2.0, 2, np.float32(2), np.array(2)):
        with pytest.raises(DTypeError, match="input x is strict"):
            f(wrong, [1])


def test_strict_and_loose_shared_variables() -> None:
    plain, strict = jg.shared(np.float32(1)), jg.shared(np.ones(2), "s", strict=True)
    loose = jg.shared(np.ones(2, np.float32), allow_downcast=True)
    tight = jg.shared(np.float32(1), allow_downcast=False)
    plain.set_value(0.1), tight.set_value(0.5), loose.set_value(np.array([0.1, 2]))
    assert plain.get_value() == np.float32(0.1)
    assert loose.get_value(borrow=True, return_internal_type=True).dtype == np.float32
    for variable, value in ((plain, np.array(0.1)), (strict, [1.0, 2.0]), (tight, 0.1),
                            (strict, np.ones(2, np.float32)), (loose, np.array([1j, 0]))):
        with pytest.raises(DTypeError):
            variable.set_value(value)
    strict.set_value(np.zeros(2))
    assert jg.shared(3).dtype == np.int64
    assert jg.shared(3.0).ndim == 0


def test_clones_and_subgraphs() -> None:
    x, y = T.dvectors("x", "y")
    z = (x * y).sum()
    assert jg.clone(z, {y: x + 1}).eval({x: [1.0, 2.0]}) == 8
    first, second = jg.clone([z, z + 1], [(x, np.array([3.0]))])
    assert (first + second).eval({y: [2.0]}) == 13
    assert jg.clone(z) is z
    dot = jg.subgraph([x, y], [z, x - y])
    total, difference = dot(y, y * 2)
    assert jg.function([y], T.grad(total, y))([3.0]).tolist() == [12]
    assert difference.eval({"y": [1.0]}).tolist() == [-1]
    with pytest.raises(InputError, match="1 inputs given, 2 wanted"):
        dot(x)
    with pytest.raises(InputError, match="no variables of the expression are named 'q'"):
        z.eval({"q": 1})


@pytest.mark.parametrize("mode", [None, "native", "interpreted", "checked", "guarded"])
def test_modes_agree(mode: str | None) -> None:
    x = T.dvector("x")
    s = jg.shared(np.zeros(3), "s")
    hidden = T.exp(x) * 0.5
    f = jg.function([x], {"y": hidden.sum(), "s": s}, updates=[(s, s + hidden)], mode=mode)
    g = jg.function([jg.In(x, value=[1.0])], x * 2, mode=mode)
    for step in range(3):
        got = f([0.0, 1.0, 2.0])
        np.testing.assert_allclose(got["s"], step * np.exp([0, 1, 2]) / 2)
    np.testing.assert_allclose(s.get_value(), 3 * np.exp([0, 1, 2]) / 2)
    assert (g().tolist(), g([3]).tolist()) == ([2.0], [6.0])
    assert jg.function([x], [x], mode=mode)([1])[0] == 1
    assert jg.function([x], updates=[(s, x)], mode=mode)([5]) is None
    s.set_value(np.ones(3))
    with pytest.raises(ShapeError):
        f([1.0, 2.0])
    assert s.get_value().tolist() == [1, 1, 1]


def test_guarded_functions_name_the_line() -> None:
    x = T.dvector("x")
    y = T.sqrt(x) - 1
    f = jg.function([x], T.log(y), mode="guarded")
    assert f([4.0]) == 0
    with pytest.raises(ValueError, match=r"log gives an infinity\n(.|\n)*test_inputs.py"):
        f([1.0])
    with pytest.raises(ValueError, match=r"sqrt gives NaN\n(.|\n)*from -1.0 to 4.0"):
        f([4.0, -1.0])
    with pytest.raises(ValueError, match="x has NaN among"):
        f([np.nan])
    with pytest.raises(OptionError, match="mode cannot be 'fast'"):
        jg.function([x], y, mode="fast")


def test_checked_functions_find_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    x = T.dvector("x")
    f = jg.function([x], x * 2, mode="checked")
    assert f([1.0]) == 2
    definition = (x * 2).op.definition
    broken = dataclasses.replace(definition, evaluate=lambda a, b: a * b + 1)
    f._state.plan.function.results[0].op.definition = broken
    with pytest.raises(InternalError, match="differs between native code and NumPy"):
        f([1.0])
