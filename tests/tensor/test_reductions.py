"""Reductions agree with NumPy in value, dtype and shape."""

from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.types import DTYPE_NAMES
from tests.tensor.helpers import assert_same, evaluate

AXES = [None, 0, 1, -1, (0, 2), (1,), (), (-1, 0)]
NAMES = ["sum", "prod", "mean", "var", "std", "min", "max", "any", "all"]
DTYPES = sorted(map(str, DTYPE_NAMES))


def sample(dtype, shape=(2, 3, 4)):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, shape) + (1j if "complex" in dtype else 0)
    return (values if np.dtype(dtype).kind != "f" else values * 0.5).astype(dtype)


def tolerance(dtype):
    of_narrow = {"bfloat16": 1.6e-2, "float16": 2e-3, "float32": 1e-6, "complex64": 1e-6}
    return of_narrow.get(str(dtype), 1e-14)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_axes(name, axis, keepdims):
    array = sample("float64")
    for shape in ((2, 3, 4), (None,) * 3):
        x = T.tensor("float64", shape)
        want = getattr(np, name)(array, axis=axis, keepdims=keepdims)
        got = getattr(T, name)(x, axis=axis, keepdims=keepdims)
        assert_same(evaluate(got, {x: array}), want, 1e-14)
        method = getattr(x, name)(axis, keepdims=keepdims)
        assert method.type == got.type


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name, dtype):
    array = sample(dtype)
    x = T.tensor(dtype, (None,) * 3)
    if "complex" in dtype and name in ("min", "max"):
        with pytest.raises(DTypeError):
            getattr(x, name)()
        return
    want = getattr(np, name)(array, axis=1)
    assert_same(evaluate(getattr(x, name)(axis=1), {x: array}), want, tolerance(dtype))


@pytest.mark.parametrize("result", ["float32", "float64", "float16", "int16", "bool"])
@pytest.mark.parametrize("name", ["sum", "prod", "mean"])
def test_dtype_argument(name, result):
    array = sample("int16")
    x = T.wtensor3("x")
    if name == "mean" and result in ("int16", "bool"):
        with pytest.raises(DTypeError):
            x.mean(dtype=result)
        return
    want = getattr(np, name)(array[0], axis=0, dtype=result)
    got = getattr(x, name)(axis=1, dtype=result)[0]
    assert_same(evaluate(got, {x: array}), want, tolerance(result))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_positions(axis, keepdims):
    array = sample("float32")
    x = T.ftensor3()
    for name in ("argmax", "argmin"):
        want = getattr(np, name)(array, axis=axis, keepdims=keepdims)
        assert_same(evaluate(getattr(x, name)(axis, keepdims), {x: array}), want)
    most, where = T.max_and_argmax(x, axis, keepdims)
    assert_same(evaluate(most, {x: array}), array.max(axis, keepdims=keepdims))
    assert_same(evaluate(where, {x: array}), array.argmax(axis, keepdims=keepdims))


def test_position_over_several_axes_counts_in_c_order():
    array = sample("float64")
    x = T.tensor3()
    want = array.transpose(1, 0, 2).reshape(3, 8).argmax(1)
    assert_same(evaluate(x.argmax((0, 2)), {x: array}), want)


@pytest.mark.parametrize("ddof", [0, 1, 4])
def test_degrees_of_freedom(ddof):
    array = sample("float64", (3, 4))
    for shape in ((3, 4), (None, None)):
        x = T.tensor("float64", shape)
        with np.errstate(all="ignore"), pytest.warns() if ddof == 4 else np.errstate():
            want = np.var(array, axis=1, ddof=ddof)
        assert_same(evaluate(T.var(x, 1, ddof=ddof), {x: array}), want, 1e-14)


def test_float16_accumulates_in_float32():
    array = np.ones(5000, np.float16)
    x = T.tensor("float16", (None,))
    assert evaluate(x.sum(), {x: array}) == 5000
    assert evaluate(x.mean(), {x: array}) == 1


def test_no_elements():
    x = T.vector("x")
    empty = np.zeros(0)
    assert evaluate(x.sum(), {x: empty}) == 0
    assert evaluate(x.prod(), {x: empty}) == 1
    assert evaluate(x.all(), {x: empty})
    assert not evaluate(x.any(), {x: empty})
    assert np.isnan(evaluate(x.mean(), {x: empty}))
    for name in ("min", "max", "argmin", "argmax"):
        with pytest.raises(ShapeError):
            evaluate(getattr(x, name)(), {x: empty})


def test_nan_counts_as_true_and_is_the_maximum():
    array = np.array([0.0, np.nan, 3.0])
    x = T.vector()
    assert evaluate(x.any(), {x: array})
    assert np.isnan(evaluate(x.max(), {x: array}))
    assert evaluate(x.argmax(), {x: array}) == 1


def test_logsumexp():
    array = np.array([[1000.0, 1000.0], [-np.inf, -np.inf]])
    x = T.matrix()
    want = np.array([1000 + np.log(2), -np.inf])
    assert_same(evaluate(T.logsumexp(x, axis=1), {x: array}), want, 1e-14)
    assert T.logsumexp(T.ivector(), keepdims=True).type.dtype == np.float64


def test_lists_and_arrays_become_variables():
    assert_same(evaluate(T.sum([1, 2, 3])), np.int64(6))
    x = T.scalar("x")
    assert_same(evaluate(T.mean([x, 1, 2.5]), {x: 2.5}), 2.0)


@pytest.mark.parametrize("name", [*NAMES, "argmax", "logsumexp"])
def test_bad_axes(name):
    x = T.matrix("x")
    for axis in (2, -3, (0, 0), (0, 5)):
        with pytest.raises(ShapeError) as caught:
            getattr(T, name)(x, axis=axis)
        assert "test_reductions.py" in str(caught.value)
    with pytest.raises(DTypeError):
        getattr(T, name)(x, axis=1.5)


@pytest.mark.parametrize("dtype", ["f2", "f8", "i4", "?"])
@pytest.mark.parametrize("name", ["max", "min"])
def test_extrema_of_nothing_are_what_they_start_from(name: str, dtype: str) -> None:
    function = getattr(np, name)

    def extrema(x: Any) -> list[Any]:
        return [function(x, axis=axis, initial=1, where=where)
                for axis in (None, 1) for where in (True, x > 2)]  # fmt: skip

    compiled = jg.jit(extrema)
    for n in (0, 5):
        a = np.arange(3 * n).reshape(3, n).astype(dtype)
        for got, want in zip(compiled(a), extrema(a), strict=True):
            np.testing.assert_array_equal(got, want, strict=True)
    with pytest.raises(ShapeError):
        jg.jit(lambda x: function(x, axis=1))(np.zeros((3, 0), dtype))
