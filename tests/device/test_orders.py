"""Sorts, prefix sums, selections and writes to computed places on the device, against NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import OutOfBoundsError
from tests.device.conftest import DEVICE

SIZES = st.sampled_from([0, 1, 2, 31, 32, 33, 63, 64, 255, 256, 257, 1023, 1024, 1025, 2100])
SEEDS = st.integers(0, 99)
quick = settings(max_examples=5, deadline=None)


def rows(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Few different numbers, zeros of both signs and NaNs."""
    r = np.random.default_rng(seed)
    x = r.integers(-9, 10, shape).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x[r.random(shape) < 0.1] = -0.0
        x[r.random(shape) < 0.1] = np.nan
    return x


@cache
def sorting(dtype: str) -> Any:
    x = T.tensor(dtype, (None, None))
    with jg.config.override(device=DEVICE):
        return jg.function([x], [T.sort(x), T.argsort(x, kind="stable")])


@pytest.mark.parametrize("dtype", ["uint64", "float16", "float64"])
@given(st.integers(0, 3), SIZES, SEEDS)
@quick
def test_sorts(dtype: str, m: int, n: int, seed: int) -> None:
    x = rows(seed, (m, n), dtype)
    values, places = map(np.asarray, sorting(dtype)(x))
    expected = np.argsort(x, axis=-1, kind="stable")
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, -1))
    assert values.tobytes() == np.take_along_axis(x, expected, -1).tobytes()


@cache
def summing(dtype: str) -> Any:
    x = T.tensor(dtype, (None, None))
    made = [T.cumsum(x, axis=1), T.cumsum(x, axis=0), T.cumprod(x, axis=1)]
    with jg.config.override(device=DEVICE):
        return jg.function([x], made)


@pytest.mark.parametrize("dtype", ["int8", "float32", "complex128"])
@given(st.sampled_from([0, 1, 2, 40]), st.one_of(SIZES, st.just(9000)), SEEDS)
@quick
def test_running_totals(dtype: str, m: int, n: int, seed: int) -> None:
    """Of whole numbers they are exact, and products keep away from overflow."""
    r = np.random.default_rng(seed)
    x = r.choice([1, -1, 2, 0], (m, n if m < 40 else min(n, 70)), p=[0.5, 0.4, 0.01, 0.09])
    x = x.astype(dtype)
    expected = [np.cumsum(x, axis=1), np.cumsum(x, axis=0), np.cumprod(x, axis=1)]
    for found, known in zip(summing(dtype)(x), expected, strict=True):
        assert np.asarray(found).dtype == known.dtype
        np.testing.assert_array_equal(np.asarray(found), known)


@given(st.sampled_from([1, 300, 5000]), SEEDS)
@quick
def test_running_sums_lose_no_more_than_one_by_one(n: int, seed: int) -> None:
    x = np.random.default_rng(seed).random((1, n)).astype("f4")
    exact = np.cumsum(x.astype("f8"), axis=1)
    found = np.asarray(summing("float32")(x)[0])
    lost, usual = (np.abs(s - exact).max() for s in (found, np.cumsum(x, axis=1)))
    assert lost <= max(usual, 4e-7 * exact.max())


@cache
def choosing() -> Any:
    x, y, k = T.lvector(), T.dmatrix(), T.lscalar()
    known = T.sort(x)
    made = [
        T.nonzero(x > 3)[0], x[x > 3], T.searchsorted(known, x),
        T.searchsorted(known, x, side="right"), T.median(y, axis=1), T.argpartition(y, k, axis=1),
    ]  # fmt: skip
    with jg.config.override(device=DEVICE):
        return jg.function([x, y, k], made)


@given(SIZES, SEEDS)
@quick
def test_choices(n: int, seed: int) -> None:
    x, y = rows(seed, (n,), "int64"), rows(seed, (3, max(n, 1)), "int8").astype("f8")
    k, known = seed % max(n, 1), np.sort(x)
    ranks = np.argsort(np.argsort(y, axis=-1, kind="stable"), axis=-1)
    expected = [
        np.flatnonzero(x > 3), x[x > 3], np.searchsorted(known, x),
        np.searchsorted(known, x, side="right"), np.median(y, axis=1),
        np.argsort(np.sign(ranks - k), axis=-1, kind="stable"),
    ]  # fmt: skip
    for a, b in zip(choosing()(x, y, k), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)


@cache
def writing(dtype: str) -> Any:
    x, v, y, w = (T.tensor(dtype, (None,) * rank) for rank in (2, 2, 1, 1))
    i = T.lvector()
    made = [T.set_subtensor(x[i], v), T.set_subtensor(y[i], w)]
    made += [T.inc_subtensor(x[i], v), T.inc_subtensor(y[i], w)]
    with jg.config.override(device=DEVICE):
        return jg.function([x, v, y, w, i], made)


@pytest.mark.parametrize("dtype", ["float16", "complex128"])
@given(SIZES, st.sampled_from([1, 2, 5, 1000]), SEEDS)
@quick
def test_writes_to_computed_places(dtype: str, n: int, places: int, seed: int) -> None:
    r = np.random.default_rng(seed)
    x, v, y, w = (r.integers(-1, 2, shape).astype(dtype)
                  for shape in ((places, 3), (n, 3), places, n))  # fmt: skip
    i = r.integers(-places, places, n)
    expected = [a.copy() for a in (x, y, x, y)]
    expected[0][i], expected[1][i] = v, w
    np.add.at(expected[2], i, v)
    np.add.at(expected[3], i, w)
    for found, known in zip(writing(dtype)(x, v, y, w, i), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(found), known)


@cache
def combining(dtype: str) -> Any:
    x, v, i = T.tensor(dtype, (None, None)), T.tensor(dtype, (None, None)), T.lvector()
    made = [x.at[i].add(v), x.at[i].max(v), x.at[i].min(v), x.at[i, 1].add(v[:, 0])]
    with jg.config.override(device=DEVICE):
        return jg.function([x, v, i], made)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32", "int64", "uint64"])
@given(SIZES, st.sampled_from([1, 2, 5, 1000]), SEEDS)
@quick
def test_combines_integers(dtype: str, n: int, places: int, seed: int) -> None:
    """Of all magnitudes, so sums wrap around."""
    r, known = np.random.default_rng(seed), np.iinfo(dtype)
    x, v = (r.integers(known.min, known.max, (m, 2), dtype, endpoint=True) for m in (places, n))
    i = r.integers(-places, places, n)
    expected = [x.copy() for _ in range(4)]
    np.add.at(expected[0], i, v)
    np.maximum.at(expected[1], i, v)
    np.minimum.at(expected[2], i, v)
    np.add.at(expected[3], (i, 1), v[:, 0])
    for found, wanted in zip(combining(dtype)(x, v, i), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(found), wanted)
    if n:
        i[n // 2] = places
        with pytest.raises(OutOfBoundsError, match=f"index {places} is out of bounds"):
            combining(dtype)(x, v, i)


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
def test_adds_few_values_as_the_cpu_does(dtype: str) -> None:
    """One by one, beginning with what is there: to the bit."""
    x, v, i = T.tensor(dtype, (None, None)), T.tensor(dtype, (None, None)), T.lvector()
    r = np.random.default_rng(0)
    given = [r.normal(size=(40, 2)).astype(dtype), r.normal(size=(100, 2)).astype(dtype),
             r.integers(-40, 40, 100)]  # fmt: skip
    found, wanted = (
        np.asarray(jg.function([x, v, i], x.at[i].add(v), device=device)(*given))
        for device in (DEVICE, "cpu")
    )
    assert found.tobytes() == wanted.tobytes()
