"""Matrix products by cuBLASLt: on the simulated device, whose library checks what it is asked for,
and the descriptors by the real library where that is installed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu.plans import COMPUTE, COMPUTE_F64, PROBLEM, WORDS
from jitgraph.errors import DeviceError, DriverError
from jitgraph.runtime import cublas, devices, simulated_cublas
from jitgraph.runtime.cublas import Multiplier, installed
from jitgraph.runtime.device import Device
from jitgraph.runtime.simulated import SimulatedDevice
from jitgraph.runtime.simulated_cublas import SimulatedLibrary
from tests.codegen.gpu.test_products import filled

DTYPES = ("float32", "float64")
EXTENTS = st.sampled_from([0, 1, 2, 5, 16, 33])
EITHER = st.booleans()


@pytest.fixture(autouse=True)
def everything() -> Iterator[None]:
    with jg.config.override(products="cublas", device="simulated"):
        yield


def device() -> SimulatedDevice:
    found = devices.device("simulated")
    assert isinstance(found, SimulatedDevice)
    return found


def products() -> list[tuple[int, int, int, int]]:
    """What the library has computed so far, rows and columns exchanged."""
    device().prepare_library()
    library = device()._found_library
    assert isinstance(library, SimulatedLibrary)
    return library.products


@cache
def product(dtype: str, turned: tuple[bool, bool, bool]) -> Any:
    x, y = T.matrix("x", dtype=dtype), T.matrix("y", dtype=dtype)
    z = T.dot(x.T if turned[0] else x, y.T if turned[1] else y)
    return jg.function([x, y], z.T if turned[2] else z)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25, deadline=None)
@given(st.tuples(EITHER, EITHER, EITHER), EXTENTS, EXTENTS, EXTENTS)
def test_any_sizes_and_orders(
    dtype: str, turned: tuple[bool, bool, bool], rows: int, columns: int, depth: int
) -> None:
    a, b = filled((rows, depth), dtype), filled((depth, columns), dtype, 1)
    before = len(products())
    found = product(dtype, turned)(a.T.copy() if turned[0] else a, b.T.copy() if turned[1] else b)
    np.testing.assert_array_equal(found, (a @ b).T if turned[2] else a @ b)
    if depth != 1 and 1 not in (rows, columns):  # which have kernels of their own
        assert len(products()) == before + bool(rows and columns)


def test_a_bias_is_added_by_the_library_and_the_rest_by_a_kernel() -> None:
    x, y = T.fmatrix("x"), T.fmatrix("y")
    b, c = T.fvector("b"), T.fvector("c")
    only = jg.function([x, y, b], T.dot(x, y) + b)
    more = jg.function([x, y, b], T.tanh(T.dot(x, y) * 1e-3 + b))
    down = jg.function([x, y, c], T.dot(x, y) + c[:, None])
    double = jg.function([x, y, b], T.dot(x.astype("float64"), y) + b)
    p, q = filled((7, 9), "f4"), filled((9, 5), "f4", 1)
    v, w = filled((5,), "f4", 2), filled((7,), "f4", 3)
    np.testing.assert_array_equal(only(p, q, v), p @ q + v)
    np.testing.assert_allclose(more(p, q, v), np.tanh(p @ q * np.float32(1e-3) + v), rtol=1e-6)
    np.testing.assert_array_equal(down(p, q, w), p @ q + w[:, None])
    np.testing.assert_array_equal(double(p, q, v), p.astype("f8") @ q + v)
    kernels = [f.profile(p, q, w if f is down else v).steps for f in (only, more, down)]
    assert [sum(s.launches for s in steps) for steps in kernels] == [0, 1, 1]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([1, 3]), st.sampled_from([1, 4]), EXTENTS, EXTENTS)
def test_batches(outer: int, inner: int, rows: int, depth: int) -> None:
    f = _batched()
    a, b = filled((outer, inner, rows, depth), "f4"), filled((depth, 17), "f4", 1)
    before = len(products())
    found, turned, heads = f(a, b)
    np.testing.assert_array_equal(found, a @ b)
    np.testing.assert_array_equal(turned, a @ a.swapaxes(-1, -2))
    other = a.swapaxes(1, 2)
    np.testing.assert_array_equal(heads, other @ other.swapaxes(-1, -2))
    if 1 not in (rows, depth):
        assert len(products()) >= before + 2 * bool(rows)


@cache
def _batched() -> Any:
    x, y = T.ftensor4("x"), T.fmatrix("y")
    heads = x.dimshuffle(0, 2, 1, 3)
    return jg.function([x, y], [
        T.matmul(x, y), T.matmul(x, x.dimshuffle(0, 1, 3, 2)),
        T.matmul(heads, heads.dimshuffle(0, 1, 3, 2)),
    ])  # fmt: skip


def test_what_it_cannot_do_is_done_by_kernels() -> None:
    x, y = T.dmatrix("x"), T.dmatrix("y")
    f = jg.function([x, y], T.dot(x[:, ::2], y))
    g = jg.function([x, y], T.dot(x[::-1], y))
    a, b = filled((20, 40), "f8"), filled((20, 20), "f8", 1)
    before = len(products())
    np.testing.assert_array_equal(f(a, b), a[:, ::2] @ b)
    np.testing.assert_array_equal(g(b, b), b[::-1] @ b)
    assert len(products()) == before
    h = jg.function([x, y], T.dot(x[3:15], y))
    np.testing.assert_array_equal(h(b, b), b[3:15] @ b)
    assert len(products()) == before + 1


@pytest.mark.parametrize(("precision", "bits"), [("tf32", 10), ("f16", 10), ("bf16", 7)])
def test_precision(precision: str, bits: int) -> None:
    x, y = T.fmatrix("x"), T.fmatrix("y")
    f = jg.function([x, y], T.dot(x, y), precision=precision)
    odd = np.full((20, 20), 1 + 2.0 ** -(bits + 2), "f4")
    np.testing.assert_array_equal(f(odd, np.eye(20, dtype="f4")), np.ones((20, 20)))
    kept = np.full((20, 20), 1 + 2.0**-bits, "f4")
    np.testing.assert_array_equal(f(kept, np.eye(20, dtype="f4")), kept)


def test_a_plan_serves_all_calls_of_its_sizes() -> None:
    x, y, b = T.fmatrix("x"), T.fmatrix("y"), T.fvector("b")
    f = jg.function([x, y, b], T.dot(x, y) + b)
    products()
    multiplier = device()._multiplier
    assert multiplier is not None
    for rows in (41, 43, 41, 43):
        a, c, d = filled((rows, 6), "f4"), filled((6, 8), "f4", rows), filled((8,), "f4", rows)
        np.testing.assert_array_equal(f(a, c, d), a @ c + d)
    kinds = [np.frombuffer(key, "i8")[:4].tolist() for key in multiplier._plans]
    assert sum(kind[2:] == [41, 8] for kind in kinds) == 1
    assert sum(kind[2:] == [43, 8] for kind in kinds) == 1


def test_steps_of_loops_and_training() -> None:
    rng = np.random.default_rng(0)
    xs, w0 = rng.random((6, 12, 8)).astype("f4"), rng.random((8, 8)).astype("f4") / 8

    def trained(where: str) -> Any:
        w = jg.shared(w0, name="w")
        x, h = T.ftensor3("x"), T.fmatrix("h")
        states, _ = jg.scan(
            lambda x, h: T.tanh(x + T.dot(h, w)), sequences=[x], outputs_info=[h]
        )
        cost = (states[-1] ** 2).mean()
        step = jg.function([x, h], cost, updates=[(w, w - T.grad(cost, w))], device=where)
        costs = [float(step(xs, xs[0])) for _ in range(3)]
        return costs, w.get_value()

    before = len(products())
    costs, weights = trained("simulated")
    assert len(products()) >= before + 3 * 6 * 2
    expected, expected_weights = trained("cpu")
    np.testing.assert_allclose(costs, expected, rtol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-4)


def test_threads_share_a_plan() -> None:
    x, y, b = T.fmatrix("x"), T.fmatrix("y"), T.fvector("b")
    f = jg.function([x, y, b], T.dot(x, y) + b)
    a, c = filled((6, 6), "f4"), filled((6, 6), "f4", 1)
    wrong: list[int] = []

    def work(k: int) -> None:
        bias = np.full(6, k, "f4")
        for _ in range(20):
            if not np.array_equal(f(a, c, bias), a @ c + bias):
                wrong.append(k)

    threads = [Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class TestWho:
    """Who computes a product when nobody says it."""

    @pytest.fixture
    def auto(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(SimulatedDevice, "has_library", True)
        with jg.config.override(products="auto", cache=False):
            yield

    @pytest.mark.usefixtures("auto")
    def test_large_ones_and_those_of_unknown_sizes(self) -> None:
        def by_library(rows: int | None, depth: int | None, after: Any) -> bool:
            x = T.matrix("x", dtype="float32", shape=(rows, depth))
            y = T.matrix("y", dtype="float32", shape=(depth, rows))
            z = T.dot(x, y)
            f = jg.function([x, y], after(z))
            a, b = filled((rows or 9, depth or 9), "f4"), filled((depth or 9, rows or 9), "f4", 1)
            before = len(products())
            np.testing.assert_allclose(f(a, b), after(T.constant(a @ b)).eval(), rtol=1e-5)
            return len(products()) > before

        assert by_library(None, None, lambda z: z)
        assert by_library(None, None, T.tanh)
        assert not by_library(32, 32, lambda z: z)
        assert by_library(92, 512, T.tanh)
        assert not by_library(256, 64, T.tanh)
        assert by_library(256, 64, lambda z: z)

    def test_kernels_where_asked_for(self) -> None:
        x = T.fmatrix("x")
        with jg.config.override(products="own"):
            f = jg.function([x], T.dot(x, x))
        before = len(products())
        f(filled((9, 9), "f4"))
        assert len(products()) == before

    def test_settings(self) -> None:
        with pytest.raises(jg.errors.OptionError, match="'auto', 'own', 'cublas'"):
            jg.config.products = "mkl"


class TestFailure:
    def test_a_status_is_an_error_that_says_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, y = T.fmatrix("x"), T.fmatrix("y")
        w = jg.shared(np.zeros((3, 3), "f4"))
        f = jg.function([x, y], T.dot(x, y), updates=[(w, w + 1)])
        a = filled((3, 3), "f4")
        f(a, a)
        monkeypatch.setattr(SimulatedLibrary, "_shape", _not_supported)
        with pytest.raises(DriverError, match=r"cuBLASLt .*CUBLAS_STATUS_NOT_SUPPORTED") as caught:
            f(filled((71, 3), "f4"), a)
        assert "JITGRAPH_PRODUCTS=own" in str(caught.value)
        assert caught.value.code == 15
        with pytest.raises(DriverError, match="NOT_SUPPORTED"):
            f(a, a)  # whose plan is there
        np.testing.assert_array_equal(w.get_value(), np.ones((3, 3)))
        monkeypatch.undo()
        np.testing.assert_array_equal(f(a, a), a @ a)

    def test_no_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "_found", {})
        monkeypatch.setattr(SimulatedDevice, "_library", lambda self: None)
        x = T.fmatrix("x")
        with pytest.raises(DeviceError, match="there is no cuBLASLt") as caught:
            jg.function([x], T.dot(x, x))(filled((3, 3), "f4"))
        assert "pip install nvidia-cublas" in str(caught.value)


    def test_a_library_that_does_not_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def create(self: SimulatedLibrary, cell: int) -> None:
            raise simulated_cublas._Refused(1)

        assert _Device().has_library
        monkeypatch.setattr(SimulatedLibrary, "_create", create)
        assert not _Device().has_library
        with pytest.raises(DeviceError, match=r"does not start.*NOT_INITIALIZED"):
            _Device().prepare_library()


class _Device(SimulatedDevice):
    """One that has the library where nobody says who computes."""

    has_library = Device.__dict__["has_library"]


def _not_supported(*_: Any) -> Any:
    raise simulated_cublas._Refused(15)


class _Half:
    """The installed library's descriptors, and the simulated one's handle and heuristics."""

    def __init__(self, real: cublas.InstalledLibrary, simulated: SimulatedLibrary) -> None:
        self._real, self._simulated = real, simulated

    def address(self, name: str) -> int:
        needs_gpu = name in ("cublasLtCreate", "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul")
        return self._simulated.address(name) if needs_gpu else self._real.address(name)


def _proposed(self: SimulatedLibrary, *given: int) -> None:
    ctypes.c_int32.from_address(given[9]).value = 1


@pytest.mark.skipif(installed() is None, reason="nvidia-cublas is not installed")
@pytest.mark.parametrize("compute", [*COMPUTE.values(), COMPUTE_F64])
def test_the_real_library_takes_the_descriptors(
    compute: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but what needs a GPU: a handle, the heuristics, the product."""
    monkeypatch.setattr(SimulatedLibrary, "_propose", _proposed)
    real = installed()
    assert real is not None
    multiplier = Multiplier(device(), _Half(real, SimulatedLibrary(device())))
    words = dict.fromkeys(PROBLEM, 1) | {
        "compute": compute, "batch": 3, "rows": 5, "columns": 7, "depth": 9, "left_aligned": 16,
        "left_turned": 0, "left_line": 9, "left_batch": 45,
        "right_turned": 1, "right_line": 11, "right_batch": 0, "out_line": 7, "out_batch": 35,
    }  # fmt: skip
    problem = (ctypes.c_int64 * len(PROBLEM))(*words.values())
    address = multiplier._plan(ctypes.addressof(problem))
    assert address is not None
    plan = dict(zip(WORDS, (ctypes.c_int64 * len(WORDS)).from_address(address), strict=True))
    get = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t,
        ctypes.c_void_p,
    )(real.address("cublasLtMatrixLayoutGetAttribute"))  # fmt: skip
    cell = ctypes.c_int64()

    def told(layout: str, attribute: int) -> int:
        assert not get(plan[layout], attribute, ctypes.addressof(cell), 8, None)
        return cell.value

    rows, columns, line = 2, 3, 4  # attributes
    assert [told("right_layout", x) for x in (rows, columns, line)] == [9, 7, 11]
    assert [told("left_layout", x) for x in (rows, columns, line)] == [9, 5, 9]
    assert [told("out_layout", x) for x in (rows, columns, line)] == [7, 5, 7]
    assert told("left_layout", cublas.BATCH_OFFSET) == 45
