"""Every way a kernel can be laid out, in sizes around whole vectors, against the interpreter."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen import cpu, groups
from jitgraph.codegen.target import Target, host
from jitgraph.ir import interpreter
from jitgraph.ir.types import DTYPES, Type
from jitgraph.tensor.variable import Variable
from tests.codegen.variants import VARIANTS, sizes_around
from tests.native import compiled

#: `JITGRAPH_LONG=1` tries all variants everywhere.
LONG = bool(os.environ.get("JITGRAPH_LONG"))


def some(*dtypes: str) -> list[str]:
    """The variants in these dtypes, and those in a dtype of their own."""
    return [n for n in VARIANTS if LONG or n.split()[-1] in {*dtypes, "choice", "all"}]


def agrees(name: str, vector_bytes: int) -> None:
    variant = VARIANTS[name]
    fn = variant.function()
    native = compiled(fn, "ieee", arrays=variant.arrays(37))
    for n in sizes_around(variant.lanes(vector_bytes)):
        if not n and not variant.of_nothing:
            continue
        arrays = variant.arrays(n)
        for got, want in zip(native(*arrays), interpreter.run(fn, arrays), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            np.testing.assert_array_equal(got, want, err_msg=f"{name}, n = {n}")


@pytest.mark.parametrize("name", some("f32", "c128", "bool", "f16"))
def test_every_size_is_right_to_the_bit(name: str) -> None:
    agrees(name, host().vector_bytes)


def in_groups(dtypes: Iterable[str]) -> list[str]:
    """The variants of many rows."""
    return [n for n in VARIANTS if "rows" in n and n.split()[-1] in dtypes
            and "gathered" not in n]  # fmt: skip


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are worked on in groups however few and short they are."""
    monkeypatch.setattr(groups, "_LEAST_ROWS", 2)
    monkeypatch.setattr(groups, "_LEAST_BYTES", 1)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("name", in_groups(["f32", "f64", "f16", "c64", "i8", "bool"]))
def test_groups_of_rows_are_right_to_the_bit(name: str) -> None:
    agrees(name, host().vector_bytes)


def _haswell() -> Target:
    """Vectors of four doubles, and no masks."""
    features = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+sse4.2,-avx512f"
    return replace(
        host(), cpu="haswell", features=features, vector_bytes=32, vector_registers=16
    )


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or host().vector_bytes < 32,
    reason="code for AVX2 only runs where there is AVX2",
)
@pytest.mark.parametrize("name", some("f64", "c64", "bool"))
def test_targets_without_masks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "host", _haswell)
    agrees(name, 32)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or host().vector_bytes < 32,
    reason="code for AVX2 only runs where there is AVX2",
)
@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("name", in_groups(["f64", "c64"]))
def test_groups_of_rows_without_masks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "host", _haswell)
    agrees(name, 32)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="pages are guarded by mprotect")
def test_nothing_beyond_an_array_is_touched() -> None:
    """A crash of the other process: its last line names the variant."""
    command = [sys.executable, "-m", "tests.codegen.guarded", *some("f32", "bool")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-3000:]
    assert done.stdout.count("written") == len(some("f32", "bool"))


# --- sums of floats ------------------------------------------------------------------------------
def _sum(dtype: str) -> Any:
    x = Variable(Type(DTYPES[dtype], (None,)), name="x")
    return jg.function([x], x.sum())


def _hard(dtype: str, n: int) -> list[np.ndarray[Any, Any]]:
    """Numbers whose rounding errors do not cancel, that cancel themselves, and of all sizes."""
    rng = np.random.default_rng(n)
    spread = rng.standard_normal(n) * 10.0 ** rng.integers(-6, 7, n)
    halves = rng.standard_normal(n // 2)
    constants = [np.full(n, c) for c in (0.1, 0.3, 1 / 3, 1.7)]
    cases = [*constants, rng.random(n), spread, np.concatenate([halves, -halves]) + 1e-3]
    return [case.astype(DTYPES[dtype]) for case in cases]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("n", [2, 9, 33, 128, 1000, 4097, 100_003])
def test_sums_are_as_accurate_as_pairwise_ones(dtype: str, n: int) -> None:
    native = _sum(dtype)
    ours, theirs = [], []
    for array in _hard(dtype, n):
        exact = math.fsum(array.astype(np.float64))
        unit = float(np.finfo(array.dtype).eps) * math.fsum(abs(array.astype(np.float64)))
        ours.append(abs(float(native(array)) - exact) / unit)
        theirs.append(abs(float(np.sum(array)) - exact) / unit)
    assert max(ours) <= max(*theirs, 0.5) + 1, (ours, theirs)


@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
@pytest.mark.parametrize("n", [2, 5, 17, 64, 100, 2000])
def test_sums_of_what_is_not_finite(dtype: str, n: int) -> None:
    native, inf, top = _sum(dtype), np.inf, float(np.finfo(DTYPES[dtype]).max)
    cases = {(inf,): inf, (-inf,): -inf, (inf, -inf): np.nan, (np.nan,): np.nan,
             (inf, np.nan): np.nan, (top, top): inf, (-top, -top): -inf,
             (inf, top): inf}  # fmt: skip
    for numbers, want in cases.items():
        for start in (0, n - len(numbers)):
            array = np.zeros(n, DTYPES[dtype])
            array[start : start + len(numbers)] = numbers
            np.testing.assert_equal(float(native(array)), want, err_msg=str(numbers))


@pytest.mark.parametrize("dtype", ["f16", "f32", "f64", "c64", "i8", "bool"])
def test_a_sum_of_nothing_is_zero(dtype: str) -> None:
    nothing = np.zeros(0, DTYPES[dtype])
    got = _sum(dtype)(nothing)
    assert got == 0
    assert got.dtype == nothing.sum().dtype


# --- groups of rows ------------------------------------------------------------------------------
_OF_ROWS: dict[str, Any] = {
    "sum": lambda x: x.sum(axis=1),
    "largest": lambda x: x.max(axis=1),
    "place": lambda x: x.argmin(axis=1),
    "product": lambda x: T.dot(x, x[0]),
    "of two": lambda x: (x * x[:, ::-1]).sum(axis=1),
}


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = jg.config.num_threads
    yield partial(setattr, jg.config, "num_threads")
    jg.config.num_threads = before


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("name", _OF_ROWS)
def test_a_row_is_the_same_in_any_group(
    name: str, dtype: str, threads: Callable[[int], None]
) -> None:
    """To the bit, whichever rows are worked on with it and whichever thread does so."""
    x = Variable(Type(DTYPES[dtype], (None, None)), name="x")
    native = jg.function([x], _OF_ROWS[name](x))
    rng = np.random.default_rng(7)
    for rows, columns in ((2, 5), (23, 131), (517, 1031), (2003, 1500)):
        array = (rng.standard_normal((rows, columns)) * 1e3).astype(DTYPES[dtype])
        threads(1)
        want = native(array)
        for count in (2, 5):
            threads(count)
            np.testing.assert_array_equal(native(array), want)
        for by in range(1, min(rows - 1, 9)):  # the first row is a factor of the others
            moved = np.concatenate([array[:1], np.roll(array[1:], by, axis=0)])
            np.testing.assert_array_equal(native(moved)[1:], np.roll(want[1:], by))


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_sums_of_rows_are_as_accurate_as_pairwise_ones(dtype: str) -> None:
    x = Variable(Type(DTYPES[dtype], (None, None)), name="x")
    native = jg.function([x], x.sum(axis=1))
    for n in (2, 10, 34, 128, 1000, 4098, 20_004):
        array = np.stack(_hard(dtype, n))
        exact = np.array([math.fsum(row) for row in array.astype(np.float64)])
        unit = float(np.finfo(array.dtype).eps) * abs(array.astype(np.float64)).sum(axis=1)
        ours, theirs = abs(native(array) - exact) / unit, abs(array.sum(axis=1) - exact) / unit
        assert ours.max() <= max(theirs.max(), 0.5) + 1, (n, ours, theirs)


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "i8", "u16", "bool"])
@pytest.mark.parametrize("axis", [0, 1])
def test_places_along_outer_axes(
    dtype: str, axis: int, threads: Callable[[int], None]
) -> None:
    """The first of equal elements, and the first NaN."""
    x = Variable(Type(DTYPES[dtype], (None, None, None)), name="x")
    native = jg.function([x], [x.argmax(axis=axis), x.argmin(axis=axis), x.max(axis=axis)])
    rng = np.random.default_rng(3)
    for shape in ((2, 2, 2), (9, 3, 129), (40, 17, 70), (900, 5, 300)):
        array = rng.integers(0, 4, shape).astype(DTYPES[dtype])
        cases = [array, np.zeros_like(array)]
        if array.dtype.kind == "f":
            some = rng.random(shape)
            cases.append(np.where(some < 0.02, np.nan, array).astype(array.dtype))
            cases.append(np.where(some < 0.9, -np.inf, np.inf).astype(array.dtype))
            cases.append(np.full_like(array, np.inf))
        for count in (1, 2, 5):
            threads(count)
            for case in cases:
                want = case.argmax(axis=axis), case.argmin(axis=axis), case.max(axis=axis)
                for got, right in zip(native(case), want, strict=True):
                    np.testing.assert_array_equal(got, right)


def test_large_results_are_right() -> None:
    """Large results are written past the caches, from aligned and from other addresses."""
    x = T.fmatrix("x")
    native = jg.function([x], [x * 2, x + 1])
    for shape in ((1100, 2048), (2300, 1001)):
        array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
        twice, more = native(array)
        np.testing.assert_array_equal(twice, array * 2)
        np.testing.assert_array_equal(more, array + 1)
