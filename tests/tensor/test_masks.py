"""Symbolic masks against NumPy: what they choose, in any company, with gradients."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import BatchingError, OutOfBoundsError, ShapeError
from jitgraph.ir.ops.exponential import sin
from jitgraph.ir.ops.prefix import prefix_sum
from jitgraph.ir.ops.reduction import max_, sum_
from jitgraph.ir.ops.selection import compress, expanded, how_many
from jitgraph.ir.types import DTYPES
from jitgraph.tensor.masks import read
from tests.native import assert_close
from tests.test_gradients import check_cases, normal

RNG = np.random.default_rng(5)

READS = {
    "whole": lambda x, m: x[m > 0],
    "leading": lambda x, m: x[m[:, 0, 0] > 0],
    "two leading": lambda x, m: x[m[:, :, 0] > 0],
    "inner": lambda x, m: x[:, m[0, :, 0] > 0],
    "last": lambda x, m: x[..., m[0, 0] > 0],
    "beside an integer": lambda x, m: x[m[:, 0, 0] > 0, 1],
    "beside a slice": lambda x, m: x[m[:, 0, 0] > 0, 1:, ::2],
    "beside None": lambda x, m: x[None, m[:, :, 0] > 0, None],
    "beside an array": lambda x, m: x[m[:, 0, 0] > 0, np.array([[0], [1]])] if (
        not isinstance(x, np.ndarray)) else x[np.nonzero(m[:, 0, 0] > 0)[0], np.array([[0], [1]])],
    "apart": lambda x, m: x[m[:, 0, 0] > 0, :, 0],
    "nowhere": lambda x, m: x[m > 99],
    "everywhere": lambda x, m: x[m > -99],
}  # fmt: skip


def test_reading() -> None:
    x = T.dtensor3("x")
    f = jg.function([x], [way(x, x) for way in READS.values()])
    for shape in ((4, 3, 5), (2, 2, 2), (30, 3, 7)):
        data = RNG.normal(size=shape)
        for name, got, way in zip(READS, f(data), READS.values(), strict=True):
            want = way(data, data)
            assert got.shape == want.shape, name
            np.testing.assert_array_equal(got, want, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_every_dtype_and_length(dtype: Any) -> None:
    x, m = T.tensor(dtype, (None,)), T.vector("m", dtype="bool")
    f = jg.function([x, m], [x[m], T.flatnonzero(m), T.nonzero(x)[0]])
    for n in (0, 2, 7, 8, 9, 64, 131):
        data, mask = RNG.integers(0, 3, n).astype(dtype), RNG.random(n) < 0.5
        wanted = data[mask], np.flatnonzero(mask), np.flatnonzero(data)
        for got, want in zip(f(data, mask), wanted, strict=True):
            np.testing.assert_array_equal(got, want, strict=True)


def test_functions() -> None:
    x = T.dmatrix("x")
    m = x > 0

    def made(mod: Any, x: Any, m: Any) -> list[Any]:
        return [*mod.nonzero(m), *mod.where(m), mod.argwhere(m), mod.flatnonzero(x),
                mod.extract(m, x), mod.compress(m[:, 0], x, 0), mod.compress(m[0, :2], x, 1),
                mod.compress(m[0], x)]  # fmt: skip

    f = jg.function([x], made(T, x, m))
    for shape in ((4, 3), (5, 8)):
        data = RNG.normal(size=shape)
        for got, want in zip(f(data), made(np, data, data > 0), strict=True):
            np.testing.assert_array_equal(got, want, strict=True)


def test_writing() -> None:
    """Values for the chosen elements in order, one for all, one row for all rows."""
    x, v = T.dmatrix("x"), T.dvector("v")
    m, rows = x > 0, v > 0
    made = [x.at[m].set(x[m] * 2), x.at[m].add(T.arange(x[m].size)), x.at[m].set(7),
            x.at[rows].set(x[rows] + 1), x.at[rows].set(x[0]), x.at[rows, 1].multiply(v[rows]),
            T.grad(T.sin(x.at[m].set(x[m] ** 2)).sum(), x)]  # fmt: skip
    f = jg.function([x, v], made)
    for shape in ((4, 3), (9, 5)):
        a, b = RNG.normal(size=shape), RNG.normal(size=shape[0])
        chosen, lines = a > 0, b > 0
        counted = a.copy()
        counted[chosen] += np.arange(chosen.sum())
        scaled = a.copy()
        scaled[lines, 1] *= b[lines]
        want = [np.where(chosen, 2 * a, a), counted, np.where(chosen, 7, a), a + lines[:, None],
                np.where(lines[:, None], a[0], a), scaled,
                np.where(chosen, np.cos(a * a) * 2 * a, np.cos(a))]  # fmt: skip
        for k, (got, one) in enumerate(zip(f(a, b), want, strict=True)):
            assert_close(got, one, k)
    with pytest.raises(ValueError, match=r"axis|equal|broadcast|check"):
        jg.function([x, v], x.at[m].set(v))(np.ones((2, 2)), np.ones(3))


def test_what_is_computed_from_chosen_elements() -> None:
    x, y = T.dmatrices("x", "y")
    m = x > 0
    made = [x[m].sum(), (T.exp(x[m]) * y[m]).mean(), x[m].max(), x[m].std(), (x[m] > 1).any(),
            x[m].astype("int64").prod(), x[m].argmax(), T.sort(x[m]), T.cumsum(x[m] + y[m]),
            x[m] @ y[m], x[m].size, y[m][x[m] > 1]]  # fmt: skip
    f = jg.function([x, y], made)
    a, b = RNG.normal(size=(2, 7, 9))
    u, v = a[a > 0], b[a > 0]
    want = [u.sum(), (np.exp(u) * v).mean(), u.max(), u.std(), (u > 1).any(),
            u.astype("i8").prod(), u.argmax(), np.sort(u), np.cumsum(u + v), u @ v, u.size,
            v[u > 1]]  # fmt: skip
    for k, (got, one) in enumerate(zip(f(a, b), want, strict=True)):
        assert_close(got, np.asarray(one), k)


def test_a_masked_sum_needs_no_memory() -> None:
    x = T.dvector("x")
    for cost in (x[x > 0].sum(), (x[x > 0] ** 2).max(), T.grad((x[x > 0] ** 2).sum(), x)):
        f = jg.function([x], cost)
        assert "compress" not in f.dump("optimised")
        assert "positions" not in f.dump("optimised")


# --- errors --------------------------------------------------------------------------------------
def test_errors() -> None:
    x, m = T.tensor("float64", (3, 4)), T.tensor("bool", (2,))
    with pytest.raises(OutOfBoundsError, match="mask of extent 2"):
        x[m]
    with pytest.raises(OutOfBoundsError, match="too many"):
        x[T.tensor("bool", (None, None, None))]
    with pytest.raises(ShapeError, match="scalar"):
        T.nonzero(T.dscalar())
    v, mask = T.dvector("v"), T.vector("mask", dtype="bool")
    f = jg.function([v, mask], v[mask])
    with pytest.raises(IndexError) as caught:
        f(np.zeros(3), np.zeros(4, bool))
    assert "test_masks.py" in str(caught.value)
    with pytest.raises(ValueError, match="max"):
        jg.function([v, mask], v[mask].max())(np.zeros(3), np.zeros(3, bool))


# --- gradients -----------------------------------------------------------------------------------
def test_gradients() -> None:
    def chosen(x: Any) -> Any:
        return compress(x, x > 0)

    def put_back(x: Any) -> Any:
        mask = x > 0.0
        return expanded(sin(compress(x, mask)), mask, how_many(mask))

    check_cases({
        "running": (lambda x: sum_(sin(prefix_sum(chosen(x), 0)), (0,)), [normal(2, 5)]),
        "sum": (lambda x: sum_(sin(chosen(x)), (0,)), [normal(7)]),
        "expand": (lambda x: sin(put_back(x)), [normal(2, 3)]),
        "rows": (lambda x: sum_(sin(read(x, max_(x, (1,)) > 0.5)), (0,)), [normal(4, 2)]),
    }, 2)  # fmt: skip


# --- threads, and code from the disk -------------------------------------------------------------
PROGRAM = """
import numpy as np, jitgraph as jg, jitgraph.tensor as T
x = T.dmatrix("x")
m = x > 0
f = jg.function([x], [x[m], T.sort(x), T.linalg.inv(x), T.fft.rfft(x), T.linalg.qr(x)[1],
                      T.linalg.solve_triangular(x, x, lower=True)])
a = np.arange(16.0).reshape(4, 4) % 7 - 3 + 5 * np.eye(4)
print([float(np.abs(r).sum()) for r in f(a)])
"""


def test_code_from_the_disk() -> None:
    """A second process finds the routines where they are in it."""
    found = [subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True,
                            text=True).stdout for _ in range(2)]  # fmt: skip
    assert found[0]
    assert found[0] == found[1]


def test_threads() -> None:
    x = T.dmatrix("x")
    f = jg.function([x], [x[x > 0].sum(), T.sort(x, None)[::100], T.linalg.inv(x)])
    data = [RNG.normal(size=(60, 60)) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for a, found in zip(data, pool.map(f, data), strict=True):
            assert_close(found[0], a[a > 0].sum())
            assert_close(found[1], np.sort(a, None)[::100])
            assert_close(found[2], np.linalg.inv(a), bound=1e-8)


# --- a given number ------------------------------------------------------------------------------
def test_nonzero_of_a_given_number() -> None:
    """As JAX's: filled up where there are fewer, cut where there are more."""
    rows = np.array([[0, 3, 0, 4, 5], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    x = T.lvector("x")
    for size in (0, 2, 4):
        f = jg.function([x], [T.flatnonzero(x, size=size, fill_value=-7),
                              T.nonzero(x, size=size)[0]])  # fmt: skip
        for row in rows:
            found = np.flatnonzero(row)[:size]
            for got, fill in zip(f(row), (-7, 0), strict=True):
                want = np.concatenate([found, np.full(size - len(found), fill)])
                np.testing.assert_array_equal(got, want)
    m = T.lmatrix("m")
    i, j = jg.function([m], list(T.nonzero(m, size=5, fill_value=9)))(rows)
    np.testing.assert_array_equal(i, [0, 0, 0, 1, 9])
    np.testing.assert_array_equal(j, [1, 3, 4, 4, 9])
    each = jg.jit(jg.vmap(lambda row: T.flatnonzero(row, size=2)))(rows)
    np.testing.assert_array_equal(each, [[1, 3], [4, 0], [0, 0]])


RAGGED: dict[str, Any] = {
    "read": lambda x: x[x > 0], "nonzero": lambda x: T.nonzero(x)[0], "unique": T.unique,
    "compress": lambda x: T.compress(x > 0, x), "repeat": lambda x: T.repeat(x, x > 0),
}  # fmt: skip


@pytest.mark.parametrize("name", RAGGED)
def test_masks_that_differ_say_what_to_do_under_vmap(name: str) -> None:
    with pytest.raises(BatchingError) as caught:
        jg.jit(jg.vmap(RAGGED[name]))(np.ones((2, 3)))
    assert "cannot be stacked" in str(caught.value)
    assert "test_masks.py:" in str(caught.value)
    assert "T.where" in str(caught.value)


def test_one_mask_for_all_elements_of_a_vmap() -> None:
    rows, mask = np.arange(12.0).reshape(3, 4), np.array([True, False, True, True])
    f = jg.jit(jg.vmap(lambda x, m: T.grad((x[m] ** 2).sum(), x) + x[m].sum(), in_axes=(0, None)))
    want = np.where(mask, 2 * rows, 0) + rows[:, mask].sum(1)[:, None]
    np.testing.assert_allclose(f(rows, mask), want)
