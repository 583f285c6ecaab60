"""Matrix products on the simulated device, compared with NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu import simulator
from jitgraph.codegen.gpu.products import copies
from jitgraph.codegen.gpu.products.product import tiles
from jitgraph.config import PRECISIONS

DTYPES = ("float32", "float64")
#: Extents around those of tiles, and of nothing.
EXTENTS = st.sampled_from([0, 1, 2, 5, 16, 31, 63, 64, 65, 70, 130])
#: Depths that are cut into no, two and three parts.
DEPTHS = st.sampled_from([0, 1, 7, 8, 9, 16, 33, 100, 511, 512, 530, 800])


def filled(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """Small whole numbers: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


@cache
def product(dtype: str, turned: tuple[bool, bool, bool]) -> Any:
    x, y = T.matrix("x", dtype=dtype), T.matrix("y", dtype=dtype)
    z = T.dot(x.T if turned[0] else x, y.T if turned[1] else y)
    return jg.function([x, y], z.T if turned[2] else z, device="simulated")


@pytest.mark.parametrize("turned", [(False, False, False), (True, False, False),
                                    (False, True, False), (True, True, True)])  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_sizes_and_orders(dtype: str, turned: tuple[bool, bool, bool]) -> None:
    f = product(dtype, turned)

    @settings(max_examples=5, deadline=None)
    @given(EXTENTS, EXTENTS, DEPTHS)
    def run(rows: int, columns: int, depth: int) -> None:
        a, b = filled((rows, depth), dtype), filled((depth, columns), dtype, 1)
        found = f(a.T.copy() if turned[0] else a, b.T.copy() if turned[1] else b)
        expected = a @ b
        np.testing.assert_array_equal(found, expected.T if turned[2] else expected)

    run()


@pytest.mark.parametrize("dtype", DTYPES)
def test_epilogues_and_batches(dtype: str) -> None:
    x, y = T.matrix("x", dtype=dtype), T.matrix("y", dtype=dtype)
    b, s = T.vector("b", dtype=dtype), T.scalar("s", dtype=dtype)
    u, v = T.tensor4("u", dtype=dtype), T.tensor4("v", dtype=dtype)
    dense = jg.function([x, y, b, s], [T.maximum(T.dot(x, y) + b, s), T.tanh(0 * T.dot(x, y).T)],
                        device="simulated")  # fmt: skip
    batched = jg.function([u, v], T.matmul(u, v), device="simulated")

    @settings(max_examples=4, deadline=None)
    @given(EXTENTS, EXTENTS, DEPTHS)
    def run(rows: int, columns: int, depth: int) -> None:
        a, c = filled((rows, depth), dtype), filled((depth, columns), dtype, 1)
        d = filled((columns,), dtype, 2)
        found, total = dense(a, c, d, 3)
        np.testing.assert_array_equal(found, np.maximum(a @ c + d, 3))
        np.testing.assert_array_equal(total, np.tanh(0 * (c.T @ a.T)))
        some = filled((2, 1, rows, depth), dtype)
        others = filled((1, 3, depth, columns), dtype, 1)
        if rows * columns < 1000:
            np.testing.assert_array_equal(batched(some, others), some @ others)

    run()


def test_the_large_tile() -> None:
    """A product of many tiles, whose last ones are cut off."""
    for dtype in DTYPES:
        large, *_ = tiles(np.dtype(dtype))
        rows, columns = 2 * large.rows + 1, large.columns * 43 + 4
        a, b = filled((rows, 9), dtype), filled((9, columns), dtype, 1)
        x, y = T.matrix("x", dtype=dtype), T.matrix("y", dtype=dtype)
        f = jg.function([x, y], T.dot(x, y), device="simulated")
        np.testing.assert_array_equal(f(a, b), a @ b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_and_few_lines(dtype: str) -> None:
    """Factors that are known to be vectors, or to have few rows or columns."""
    x = T.tensor3("x", dtype=dtype)
    u, v = (T.tensor3(n, dtype=dtype, shape=s) for n, s in (("u", (None, 1, None)),
                                                           ("v", (None, None, 1))))  # fmt: skip
    flat = T.matrix("flat", dtype=dtype, shape=(3, None))
    f = jg.function([x, u, v, flat], [
        T.matmul(x, v), T.matmul(u, x), T.matmul(x.dimshuffle(0, 2, 1), u.dimshuffle(0, 2, 1)),
        T.dot(flat, x[0]), T.dot(x[0].T, flat.T),
    ], device="simulated")  # fmt: skip

    @settings(max_examples=5, deadline=None)
    @given(st.sampled_from([0, 1, 33]), EXTENTS, DEPTHS)
    def run(batch: int, rows: int, columns: int) -> None:
        a = filled((batch + 1, rows, columns), dtype)
        b, c = filled((batch + 1, 1, rows), dtype, 1), filled((batch + 1, columns, 1), dtype, 2)
        d = filled((3, rows), dtype, 3)
        wanted = [a @ c, b @ a, (b @ a).swapaxes(1, 2), d @ a[0], (d @ a[0]).T]
        for found, one in zip(f(a, b, c, d), wanted, strict=True):
            np.testing.assert_array_equal(found, one)

    run()


@pytest.mark.parametrize("dtype", DTYPES)
def test_known_sizes(dtype: str) -> None:
    """Which are for the small tiles."""
    x = T.matrix("x", dtype=dtype, shape=(40, None))
    y = T.matrix("y", dtype=dtype, shape=(None, 70))
    f = jg.function([x, y], T.dot(x, y), device="simulated")
    for depth in (0, 3, 700):
        a, b = filled((40, depth), dtype), filled((depth, 70), dtype, 1)
        np.testing.assert_array_equal(f(a, b), a @ b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gpus_without_asynchronous_copies(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before sm_80 load and store, and multiply f64 without tensor cores."""
    monkeypatch.setattr(copies, "_SINCE", 1000)
    x, y = T.matrix("x", dtype=dtype), T.matrix("y", dtype=dtype)
    f = jg.function([x, y], T.dot(x.T, y.T), device="simulated")
    a, b = filled((70, 40), dtype), filled((130, 70), dtype, 1)
    np.testing.assert_array_equal(f(a, b), a.T @ b.T)
    g = jg.function([x, y], T.dot(x, y), device="simulated")
    large, *_ = tiles(np.dtype(dtype))
    for rows, depth, columns in ((5, 0, 3), (1, 600, 130), (large.rows + 1, 9, 64 * large.columns)):
        a, b = filled((rows, depth), dtype), filled((depth, columns), dtype, 1)
        np.testing.assert_array_equal(g(a, b), a @ b)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_order_of_warps_does_not_matter(precision: str) -> None:
    x, y = T.fmatrix("x"), T.fmatrix("y")
    f = jg.function([x, y], T.dot(x, y) + 1, device="simulated", precision=precision)
    a, b = filled((130, 300), "float32"), filled((300, 140), "float32", 1)
    simulator.set_backward(True)
    try:
        np.testing.assert_array_equal(f(a, b), a @ b + 1)
    finally:
        simulator.set_backward(False)
