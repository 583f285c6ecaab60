"""argmax and argmin in registers: against NumPy where first places are hard to tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.reductions import BLOCK
from jitgraph.codegen.target import host
from jitgraph.ir.types import DTYPE_NAMES, DType, finfo, kind_of

REAL = [dtype for dtype in DTYPE_NAMES if kind_of(dtype) in "biuf"]
_LANES = host().vector_bytes // 4
LENGTHS = (1, _LANES - 1, _LANES, _LANES + 1, 4 * _LANES + 3, 131, 4 * _LANES * BLOCK + 1, 700_001)


def arrays(dtype: DType, shape: tuple[int, ...]) -> Iterator[np.ndarray[Any, Any]]:
    """Ties, extremes everywhere, NaN, both zeros, and a lonely extreme at the end."""
    rng = np.random.default_rng(7)
    few = rng.integers(0, 3, shape)
    yield few.astype(dtype)
    if dtype.kind == "b":
        yield np.zeros(shape, dtype)
        yield np.ones(shape, dtype)
        return
    limits = finfo(dtype) if kind_of(dtype) == "f" else np.iinfo(dtype)
    for value in (limits.min, limits.max):
        last = np.full(shape, value, dtype)
        yield last.copy()
        last.flat[-1] = 0
        yield last
    if kind_of(dtype) == "f":
        yield np.where(few == 0, dtype.type(-0.0), dtype.type(0.0))
        yield np.full(shape, -np.inf, dtype)
        yield np.full(shape, np.nan, dtype)
        some = np.full(shape, -np.inf, dtype)
        some.flat[some.size // 2 :: 3] = np.nan
        yield some


def first_place(function: Any, array: np.ndarray[Any, Any], axes: tuple[int, ...]) -> Any:
    kept = tuple(k for k in range(array.ndim) if k not in axes)
    moved = array.transpose(kept + axes)
    return function(moved.reshape(*moved.shape[: len(kept)], -1), axis=-1)


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_every_length(dtype: DType) -> None:
    x = T.tensor(dtype, (None,))
    find = jg.function([x], [T.argmax(x), T.argmin(x), T.argmax(x[::-1])])
    for length in LENGTHS:
        for array in arrays(dtype, (length,)):
            got = [int(place) for place in find(array)]
            assert got == [array.argmax(), array.argmin(), array[::-1].argmax()], (length, array)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8"])
def test_any_axes_in_any_layout(dtype: str, axes: tuple[int, ...]) -> None:
    x = T.tensor(dtype, (None, None, None))
    find = jg.function([x], [T.argmax(x, axes), T.argmin(x * x, axes)])
    for shape in ((3, 5, 70), (2, 1, 9), (1, 1, 1)):
        for array in arrays(np.dtype(dtype), shape):
            for laid in (array, np.asfortranarray(array), array[::-1, :, ::-1]):
                with np.errstate(all="ignore"):
                    squares = laid * laid
                most, least = find(laid)
                assert np.array_equal(most, first_place(np.argmax, laid, axes))
                assert np.array_equal(least, first_place(np.argmin, squares, axes))


def test_one_sweep_finds_the_extremum_and_its_place() -> None:
    x = T.dmatrix("x")
    find = jg.function([x], [T.max(x), T.argmax(x), T.argmin(x)])
    assert find.dump("schedule").count("kernel for") == 1


def test_any_number_of_threads() -> None:
    """Chunks are joined so that the first place wins."""
    x = T.dmatrix("x")
    find = jg.function([x], [T.argmax(x), T.argmin(x), T.argmax(x, axis=1)])
    array = np.random.default_rng(5).integers(-9, 9, (3, 900_001)).astype(float)
    want = [array.argmax(), array.argmin(), array.argmax(axis=1)]
    for threads in (1, 2, 5):
        with jg.set_num_threads(threads):
            for got, wanted in zip(find(array), want, strict=True):
                assert np.array_equal(got, wanted)
