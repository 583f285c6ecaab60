"""Kernels cut into many chunks: the same bits for every number of threads, and the right ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen import launch
from jitgraph.ir import interpreter
from tests.codegen.variants import VARIANTS
from tests.native import assert_close, coarsest, compiled
from tests.strategies import Program, functions

LONG = bool(os.environ.get("JITGRAPH_LONG"))
NAMES = [n for n in VARIANTS if LONG or n.split()[-1] in {"f32", "bool", "all"}]
THREADS = (1, 2, 5)
SIZES = (0, 1, 2, 5, 63, 64, 65, 211, 1031)


@pytest.fixture(autouse=True)
def small_chunks() -> Iterator[None]:
    """Chunks of next to no work, so that small arrays have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "GRAIN", 1)
        patch.setattr(launch, "STRIPE", launch.UNIT)
        yield


@pytest.mark.parametrize("name", NAMES)
def test_chunks_of_every_variant(name: str) -> None:
    variant = VARIANTS[name]
    fn = variant.function()
    native = compiled(fn, "ieee", arrays=variant.arrays(37))
    for n in SIZES:
        if not n and not variant.of_nothing:
            continue
        arrays = variant.arrays(n)
        want = interpreter.run(fn, arrays)
        for threads in THREADS:
            with jg.set_num_threads(threads):
                got = native(*arrays)
            for g, w in zip(got, want, strict=True):
                np.testing.assert_array_equal(g, w, err_msg=f"{name}, n = {n}, {threads} threads")


@settings(
    max_examples=600 if LONG else 40, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(functions(benign=True), st.sampled_from([1, 16, 64]))
def test_random_programs_do_not_depend_on_threads(program: Program, grain: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "GRAIN", grain)
        native = compiled(program.function, arrays=program.inputs())
    want = interpreter.run(program.function, program.inputs())
    runs = []
    for threads in THREADS:
        with jg.set_num_threads(threads):
            runs.append(native(*program.inputs()) or [])
    for g, w in zip(runs[0], want, strict=True):
        assert_close(g, w, program, coarsest(program.function))
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            assert a.tobytes() == b.tobytes(), program


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_sums_of_many_chunks_have_the_same_bits(dtype: str) -> None:
    """Rounding would tell in which order they were added."""
    x = jg.tensor.tensor(dtype, shape=(None, None))
    fn = jg.function([x], [x.sum(), x.sum(axis=0), x.sum(axis=1), (x * x - x).sum(axis=0)])
    rng = np.random.default_rng(4)
    for shape in ((1000, 700), (3, 20_011), (20_011, 3), (1, 9)):
        array = rng.standard_normal(shape).astype(dtype)
        runs = []
        for threads in THREADS:
            with jg.set_num_threads(threads):
                runs.append(b"".join(r.tobytes() for r in fn(array)))
        assert len(set(runs)) == 1, shape


def test_equal_kernels_are_compiled_once() -> None:
    """Steps of a loop that Python unrolled call one function, each with memory of its own."""
    x, m = T.dvector("x"), T.dmatrix("m")
    value = x
    for _ in range(6):
        value = T.tanh((m * value).sum(axis=1))  # too large to be fused with the next
    f = jg.function([x, m], value)
    text = f.dump("llvm")
    assert len(re.findall(r"call void @kernel0\(", text)) >= 6
    assert len(re.findall(r"define internal void @kernel\d+\(", text)) == 1
    a = np.linspace(-1.0, 1.0, 50)
    b = np.cos(np.outer(a, np.arange(50.0)))
    expected = a
    for _ in range(6):
        expected = np.tanh((b * expected).sum(axis=1))
    np.testing.assert_allclose(f(a, b), expected, rtol=1e-9)
