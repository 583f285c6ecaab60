"""Sorting and order statistics against NumPy, for every dtype, axis and method."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.opdef import emit
from jitgraph.ir.ops import sorting as ops
from jitgraph.ir.ops.exponential import sin
from jitgraph.ir.types import DTYPES, is_bfloat16
from tests.arrays import example_array
from tests.native import assert_close
from tests.test_gradients import check_cases, normal

RNG = np.random.default_rng(11)
METHODS = ["linear", "lower", "higher", "nearest", "midpoint", "inverted_cdf",
           "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen",
           "weibull", "median_unbiased", "normal_unbiased"]  # fmt: skip


def compare(x: np.ndarray, *calls: Callable[[Any, Any], Any]) -> None:
    """The calls, of (T or np, the array), give the same; all in one program."""
    variable = T.tensor(x.dtype, (None,) * x.ndim)
    made = [r for call in calls for r in listed(call(T, variable))]
    want = [r for call in calls for r in listed(call(np, x))]
    for k, (got, one) in enumerate(zip(jg.function([variable], made)(x), want, strict=True)):
        assert_close(got, np.asarray(one), k)


def listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


# --- order ---------------------------------------------------------------------------------------
# NumPy sorts bfloat16 wrongly where there are NaNs; tests/tensor/test_bfloat16.py has a test of it.
@pytest.mark.parametrize("dtype", [d for d in DTYPES.values() if not is_bfloat16(d)], ids=str)
def test_sorting(dtype: Any) -> None:
    x = example_array(RNG, dtype, (5, 37), benign=False)
    if dtype.kind == "f":
        x[1, 3] = x[2, 5] = np.nan
    compare(
        x, lambda m, a: m.sort(a, 0), lambda m, a: m.sort(a),
        lambda m, a: m.argsort(a, 0, kind="stable"), lambda m, a: m.argsort(a, None, kind="stable"),
        lambda m, a: m.take(a, m.argsort(a, None)),
    )  # fmt: skip


def test_sorting_few_elements_and_many() -> None:
    for shape in ((0,), (1,), (0, 3), (3, 0), (2, 1)):
        compare(np.ones(shape), lambda m, a: m.sort(a), lambda m, a: m.argsort(a, kind="stable"))
    compare(RNG.normal(size=100_000), lambda m, a: m.sort(a), lambda m, a: m.argsort(a))


def test_what_sorting_gives() -> None:
    x = RNG.integers(0, 9, (4, 30))
    compare(x, lambda m, a: m.lexsort((a[0], a[1], a[2])),
            lambda m, a: m.lexsort((a[0], a[1] * 1.5)))  # fmt: skip
    v = T.lmatrix()
    largest, where = jg.function([v], list(T.top_k(v, 5)))(x)
    np.testing.assert_array_equal(largest, -np.sort(-x)[:, :5])
    np.testing.assert_array_equal(np.take_along_axis(x, where, 1), largest)
    part, arg = jg.function([v], [T.partition(v, 7), T.argpartition(v, 7)])(x)
    for rows in (part, np.take_along_axis(x, arg, 1)):
        assert (rows[:, :7] <= rows[:, 7:8]).all()
        assert (rows[:, 8:] >= rows[:, 7:8]).all()


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(
    st.sampled_from(["f8", "i8"]),
    hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9),
    elements=st.integers(-3, 3),
))  # fmt: skip
def test_unique(x: np.ndarray) -> None:
    f = _unique(x.dtype.char, x.ndim)
    want = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    for got, one in zip(f(x), want, strict=True):
        assert_close(got, one)


_COMPILED: dict[Any, Any] = {}


def _unique(dtype: str, rank: int) -> Any:
    if (dtype, rank) not in _COMPILED:
        x = T.tensor(np.dtype(dtype), (None,) * rank)
        made = T.unique(x, return_index=True, return_inverse=True, return_counts=True)
        _COMPILED[dtype, rank] = jg.function([x], list(made))
    return _COMPILED[dtype, rank]


def test_nans_are_one_element_of_unique() -> None:
    x = np.array([np.nan, 1, np.nan, 2, 1])
    compare(x, lambda m, a: m.unique(a), lambda m, a: m.unique(a, equal_nan=False))


# --- order statistics ----------------------------------------------------------------------------
@pytest.mark.parametrize("axis", [(0, 1), 0])
def test_quantiles(axis: Any) -> None:
    q = np.array([0, 0.1, 0.25, 0.5, 0.77, 1])
    for x in (RNG.normal(size=(6, 5)), RNG.integers(0, 50, (4, 7))):
        compare(
            x, *[lambda m, a, k=k: m.quantile(a, q, axis, method=k) for k in METHODS],
            lambda m, a: m.percentile(a, 30, axis, keepdims=True), lambda m, a: m.median(a, axis),
            lambda m, a: m.median(a, axis, keepdims=True),
        )  # fmt: skip


def test_quantiles_beside_nans() -> None:
    x = RNG.normal(size=(5, 6))
    x[1] = np.nan
    x[2, 3] = x[3, 0] = np.nan
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(RuntimeWarning)
        compare(
            x, lambda m, a: m.median(a, 1), lambda m, a: m.quantile(a, [0.2, 0.5], 1),
            lambda m, a: m.nanmedian(a, 1), lambda m, a: m.nanquantile(a, [0.2, 0.5], 1),
            lambda m, a: m.nanpercentile(a, 40, 0), lambda m, a: m.nanmedian(a),
        )  # fmt: skip


def test_precision_follows_the_operand() -> None:
    compare(RNG.normal(size=9).astype("f4"), lambda m, a: m.median(a),
            lambda m, a: m.quantile(a, 0.3), lambda m, a: m.percentile(a, 30))  # fmt: skip


# --- places in order without sorting -------------------------------------------------------------
KEYS: dict[str, Callable[[int], np.ndarray]] = {
    "few": lambda n: RNG.integers(-2, 3, n),
    "all": lambda n: RNG.integers(-(2**62), 2**62, n),
    "ends": lambda n: RNG.choice([-(2**63), 0, 2**63 - 1], n),
    "one": lambda n: np.full(n, 7),
    "rising": np.arange,
    "falling": lambda n: -np.arange(n),
    "mostly one": lambda n: np.where(RNG.random(n) < 0.9, 5, RNG.integers(0, 10**9, n)),
    # What the sample sees is not what there is.
    "misleading": lambda n: np.where(np.arange(n) < n // 3, 10**6, RNG.integers(0, 99, n)),
}


def test_selection_finds_what_sorting_would() -> None:
    """Stably, for places at both ends, of few keys and of many, however these are distributed."""
    keys, places, place = T.lvector("keys"), T.lvector("places"), T.lscalar("place")
    f = jg.function([keys, places, place], [
        emit(ops.ARGSELECT, (keys, places)), emit(ops.ARGPARTITION, (keys, place)),
    ])  # fmt: skip
    for n in (1, 7, 8, 9, 512, 513, 3000, 40_000):
        for name, make in KEYS.items():
            x = make(n)
            order = np.argsort(x, kind="stable")
            asked = np.array([0, n - 1, n // 2, n // 2 + (n > 2), n // 7, 3 * n // 4, 0])
            for k in (0, n // 3, n - 1):
                chosen, parted = f(x, asked, k)
                np.testing.assert_array_equal(chosen, order[asked], err_msg=f"{name}, {n}")
                assert parted[k] == order[k]
                for part, own in ((parted[:k], order[:k]), (parted[k + 1 :], order[k + 1 :])):
                    np.testing.assert_array_equal(part, np.sort(own), err_msg=f"{name}, {n}, {k}")


@pytest.mark.parametrize("dtype", [d for d in DTYPES.values() if d.kind not in "cV"], ids=str)
def test_searches_and_medians_of_every_dtype(dtype: Any) -> None:
    """In the order of sorting: NaNs last, both zeros equal."""
    known = np.sort(example_array(RNG, dtype, (333,), benign=False))
    wanted = np.concatenate([known[::7], example_array(RNG, dtype, (70,), benign=False)])
    if dtype.kind == "f":
        known[-3:] = np.nan
        wanted[::9], wanted[1::9] = np.nan, -0.0
    a, v = T.tensor(dtype, (None,)), T.tensor(dtype, (None, None))
    sides = ("left", "right")
    f = jg.function([a, v], [
        *(T.searchsorted(table, v, side) for table in (a, a[:9]) for side in sides),
        T.partition(v, 3, axis=0)[3], T.nanmedian(v, 1),
    ])  # fmt: skip
    table = wanted[: 116].reshape(29, 4)
    *found, parted, middle = f(known, table)
    for k, got in enumerate(found):
        np.testing.assert_array_equal(got, np.searchsorted(known[: 9 if k > 1 else None], table,
                                                           sides[k % 2]))  # fmt: skip
    np.testing.assert_array_equal(parted, np.sort(table, 0)[3])
    if dtype.kind != "b":
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            want = np.nanmedian(table.astype("f8") if dtype.itemsize == 2 else table, 1)
        np.testing.assert_allclose(middle, want.astype(middle.dtype), rtol=1e-3)


def test_one_table_for_all_elements_of_a_vmap() -> None:
    known, rows = np.sort(RNG.normal(size=40)), RNG.normal(size=(3, 50))
    own = np.sort(RNG.normal(size=(3, 40)), 1)
    f = jg.jit(jg.vmap(T.searchsorted, in_axes=(None, 0)))
    np.testing.assert_array_equal(f(known, rows), np.searchsorted(known, rows))
    f = jg.jit(jg.vmap(T.searchsorted))
    np.testing.assert_array_equal(f(own, rows),
                                  [np.searchsorted(k, r) for k, r in zip(own, rows, strict=True)])
    f = jg.jit(jg.vmap(lambda x: (T.median(x), T.argpartition(x, 4)[4])))
    middle, place = f(rows)
    np.testing.assert_allclose(middle, np.median(rows, 1))
    np.testing.assert_array_equal(place, np.argsort(rows, 1)[:, 4])


# --- errors and gradients ------------------------------------------------------------------------
def test_errors() -> None:
    x = T.dmatrix("x")
    with pytest.raises(ShapeError, match="axis 2"):
        T.sort(x, 2)
    with pytest.raises(ShapeError, match=r"scalar|axis"):
        T.sort(T.dscalar())
    with pytest.raises(OptionError, match="kind"):
        T.argsort(x, kind="bubble")
    with pytest.raises(OptionError, match="method"):
        T.quantile(x, 0.5, method="guess")
    with pytest.raises(ShapeError, match="range"):
        T.quantile(x, 1.5)
    with pytest.raises(DTypeError, match="median"):
        T.median(x.astype("complex128"))


def test_gradients() -> None:
    check_cases({
        "sort": (lambda x: sin(ops.sort(x)), [normal(3, 5)]),
        "sort along": (lambda x: T.sin(T.sort(T.as_tensor(x), 0)), [normal(4, 2)]),
        "median": (lambda x: T.sin(T.median(x, 1)), [normal(3, 4)]),
        "quantile": (lambda x: T.sin(T.quantile(x, [0.2, 0.7], 0)), [normal(5, 2)]),
        "many quantiles": (lambda x: T.sin(T.quantile(x, np.linspace(0, 1, 30))), [normal(9)]),
        "partition": (lambda x: T.sin(T.partition(x, 2)) * T.arange(5), [normal(2, 5)]),
        "interp": (lambda x, xp, fp: T.interp(x, T.cumsum(T.abs(xp) + 0.1), fp),
                   [normal(30) + 3, normal(25), normal(25)]),
        "largest": (lambda x: T.sin(T.top_k(x, 2)[0]), [normal(2, 5)]),
    }, 2)  # fmt: skip
