"""Functions on a device as users call them: arrays that stay there, shared variables, errors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DeviceError, DTypeError, InputError, OptionError, ShapeError
from tests.device.conftest import DEVICE


def test_results_stay_on_the_device_and_go_back_in() -> None:
    x = T.fmatrix("x")
    f = jg.function([x], T.tanh(x) * 2)
    first = f(np.ones((3, 4), "f4"))
    assert isinstance(first, jg.DeviceArray)
    assert first.shape == (3, 4)
    twice = f(f(first))
    want = np.ones((3, 4), "f4")
    for _ in range(3):
        want = np.tanh(want) * 2
    np.testing.assert_allclose(np.asarray(twice), want, rtol=1e-6)


def test_shared_variables_live_there() -> None:
    w, v = jg.shared(np.arange(6.0).reshape(2, 3), name="w"), T.dvector("v")
    cost = (T.dot(w, v) ** 2).sum()
    step = jg.function([v], cost, updates=[(w, w - 0.01 * T.grad(cost, w))])
    assert w.device == (DEVICE if ":" in DEVICE or DEVICE == "simulated" else f"{DEVICE}:0")
    mine, given = w.get_value(), np.array([1.0, -2.0, 0.5])
    for _ in range(5):
        residue = mine @ given
        np.testing.assert_allclose(float(step(given)), (residue**2).sum(), rtol=1e-12)
        mine = mine - 0.02 * np.outer(residue, given)
    np.testing.assert_allclose(w.get_value(), mine, rtol=1e-12)
    w.set_value(np.zeros((4, 3)))  # another shape, the same function
    assert float(step(given)) == 0
    assert w.get_value().shape == (4, 3)


def test_a_variable_lives_in_one_place() -> None:
    w = jg.shared(np.ones(3), name="w")
    jg.function([], w.sum(), device="cpu")
    with pytest.raises(DeviceError, match=r"(?s)w is used by a function on cpu.*copy"):
        jg.function([], w.sum())


def test_copies_and_pickles_have_their_own() -> None:
    w = jg.shared(2.0, name="w")
    step = jg.function([], w * 1, updates=[(w, w * w)])
    for made in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        assert [float(made()) for _ in range(3)] == [2, 4, 16]
    assert w.get_value() == 2.0


def test_trees_and_numbers_under_jit() -> None:
    @jg.jit
    def f(tree: dict, times: float) -> dict:
        return {"sum": tree["a"] + tree["b"] * times, "most": np.max(tree["a"])}

    given = {"a": np.arange(5.0), "b": np.ones(5)}
    got = f(given, 3.0)
    np.testing.assert_array_equal(np.asarray(got["sum"]), given["a"] + 3)
    assert float(got["most"]) == 4


def test_constants_small_and_large() -> None:
    x = T.dvector("x")
    small, large = np.arange(7.0), np.arange(5000.0)
    f = jg.function([x], [x[:7] * small, (x * large).sum()])
    got = f(np.ones(5000))
    np.testing.assert_array_equal(np.asarray(got[0]), small)
    assert float(got[1]) == large.sum()


def test_a_failing_call_changes_nothing() -> None:
    w, i = jg.shared(np.zeros(3), name="w"), T.lscalar("i")
    indices = T.lvector("indices")
    f = jg.function([indices, i], w[indices].sum(), updates=[(w, w + i)])
    with pytest.raises(IndexError, match=r"test_functions\.py"):
        f([0, 7], 1)
    np.testing.assert_array_equal(w.get_value(), np.zeros(3))
    assert float(f([0, 2], 1)) == 0
    np.testing.assert_array_equal(w.get_value(), np.ones(3))


def test_bad_input_is_refused_as_on_the_cpu() -> None:
    x, n = T.dmatrix("x"), T.lvector("n")
    f = jg.function([x, n], x.sum() + n.sum())
    for given, error in (
        ((np.ones(3), [1]), ShapeError),
        ((np.ones((2, 2)), [1.5]), DTypeError),
        ((np.ones((2, 2)),), InputError),
    ):
        with pytest.raises(error):
            f(*given)
    device = jg.device_put(np.ones((2, 2)))
    with pytest.raises(DTypeError):
        f(device, jg.device_put(np.ones(2)))
    assert float(f(device, [3])) == 7


def test_modes_look_at_what_the_device_does() -> None:
    x = T.dvector("x")
    w = jg.shared(np.ones(3), name="w")
    f = jg.function([x], (x * w).sum(), updates=[(w, w + x)], mode="checked")
    assert float(f([1, 2, 3])) == 6
    assert float(f([1, 2, 3])) == 20


def test_unknown_devices() -> None:
    with pytest.raises(OptionError, match="no device 'gpu'"):
        jg.function([], T.constant(1.0), device="gpu")


def test_jit_stays_where_its_first_call_was() -> None:
    f = jg.jit(lambda x: x + 1)
    assert isinstance(f(np.ones(2)), jg.DeviceArray)
    with jg.config.override(device="cpu"):
        assert isinstance(f(np.ones((2, 2))), jg.DeviceArray)
        assert isinstance(jg.jit(lambda x: x + 1)(np.ones(2)), np.ndarray)
