"""Running totals: every length around the vectors, both directions, all dtypes, any threads."""

from __future__ import annotations

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.target import host
from jitgraph.ir.types import DTYPE_NAMES, DType, is_bfloat16
from tests.arrays import comparable
from tests.native import assert_close

_LANES = host().vector_bytes // 8
LENGTHS = (0, 1, 2, _LANES - 1, _LANES, _LANES + 1, 4 * _LANES - 1, 4 * _LANES + 1, 131, 1031)


@pytest.mark.parametrize("dtype", DTYPE_NAMES, ids=str)
def test_every_length(dtype: DType) -> None:
    x = T.tensor(dtype, (None,))
    total = jg.function([x], T.cumsum(x))
    rng = np.random.default_rng(2)
    for length in LENGTHS:
        array = rng.integers(0, 2, length).astype(dtype)
        for laid in (array, np.repeat(array, 3)[::3], array[::-1]):
            want = np.cumsum(laid)
            if is_bfloat16(dtype):  # which NumPy adds up without more digits
                want = np.cumsum(comparable(laid)).astype(dtype)
            np.testing.assert_array_equal(total(laid), want)
            assert total(laid).dtype == want.dtype


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_axes_and_layouts(axis: int | None) -> None:
    x = T.dtensor3("x")
    total = jg.function([x], [T.cumsum(T.exp(x), axis), x.cumsum(axis)])
    rng = np.random.default_rng(3)
    for shape in ((3, 5, 70), (2, 1, 9), (1, 1, 1), (0, 3, 2), (40, 0, 2), (7, 33, 3)):
        array = rng.standard_normal(shape)
        for laid in (array, np.asfortranarray(array), array[::-1, :, ::-1]):
            for got, source in zip(total(laid), (np.exp(laid), laid), strict=True):
                assert_close(got, np.cumsum(source, axis), (shape, axis), 1e-12)


def test_special_values_stay_where_they_are() -> None:
    x = T.dmatrix("x")
    for axis in (0, 1):
        total = jg.function([x], T.cumsum(x, axis))
        for value in (np.nan, np.inf, -np.inf, -0.0):
            array = np.full((37, 41), -0.0)
            array[11, 13] = value
            array[19, 23] = np.inf if value == -np.inf else -0.0
            want = np.cumsum(array, axis)
            np.testing.assert_array_equal(total(array), want)
            assert np.array_equal(np.signbit(total(array)) | np.isnan(want),
                                  np.signbit(want) | np.isnan(want))  # fmt: skip


def test_any_number_of_threads() -> None:
    x = T.dmatrix("x")
    total = jg.function([x], [T.cumsum(x), T.cumsum(x, 0), T.cumsum(x, 1)])
    array = np.random.default_rng(5).standard_normal((700, 1001))
    found = []
    for threads in (1, 2, 5):
        with jg.set_num_threads(threads):
            found.append(b"".join(y.tobytes() for y in total(array)))
    assert len(set(found)) == 1


def test_no_less_accurate_than_one_after_the_other() -> None:
    x = T.fvector("x")
    array = np.random.default_rng(6).random(1 << 20).astype("f")
    exact = np.cumsum(array.astype("d"))
    ours = np.abs(jg.function([x], T.cumsum(x))(array) - exact).max()
    assert ours <= np.abs(np.cumsum(array) - exact).max()
