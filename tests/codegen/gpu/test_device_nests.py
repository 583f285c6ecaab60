"""Loop nests on the simulated device: what strips, groups of threads and parts compute."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import kernels
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu import backend, simulation, simulator
from jitgraph.codegen.gpu.ptx import assemble, ptx, tool
from jitgraph.codegen.gpu.target import device_target
from jitgraph.errors import MissingPackageError
from jitgraph.runtime import devices
from tests.arrays import comparable

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_DTYPES = ("float32", "float64", "bfloat16", "uint8", "bool", "complex64")
_TOLERANCE = {"float16": 4e-3, "bfloat16": 4e-2, "float32": 2e-5, "complex64": 2e-5}
# Not 1, for which there would be variants of the functions.
_EXTENTS = st.sampled_from([0, 2, 3, 7, 31, 32, 33, 64])
_LONG = st.sampled_from([3, 31, 32, 33, 255, 256, 257, 1000, 1025, 5000])
_SETTINGS = settings(
    max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def _sums(x: Any) -> list[Any]:
    return [x.sum(), x.sum(0), x.sum(2), x.sum((0, 2)), x.sum(1), T.any(x, axis=2), x.T.sum(1)]


def _extrema(x: Any) -> list[Any]:
    return [x.max(2), x.min(0), x.argmax(2), x.argmin(0), x.argmax(1), x.argmax(), x.max(), x.min()]


def _points(x: Any) -> list[Any]:
    return [x + x[0], x[::2, :, 1:] * x[::2, :, :-1], T.where(x == x[:1], x, x[0, 0]),
            x[:, :, ::-1]]  # fmt: skip


def _turned(x: Any) -> list[Any]:
    return [T.where(x[0, 0, 0] == x.T, x[-1, -1, -1], x.T), x.transpose(0, 2, 1) + x.sum()]


def _rows(x: Any) -> list[Any]:
    exp = T.exp(x - x.max(2, keepdims=True))
    centred = x - x.mean(2, keepdims=True)
    normal = centred / T.sqrt((centred**2).mean(2, keepdims=True) + 1e-3)
    return [exp / exp.sum(2, keepdims=True), T.log(exp.sum(2)), normal, normal.sum((0, 1)),
            x / x.max((1, 2), keepdims=True), T.cumsum(centred, axis=2)]  # fmt: skip


def _gradients(x: Any) -> list[Any]:
    exp = T.exp(x - x.max(2, keepdims=True))
    centred = x - x.mean(2, keepdims=True)
    normal = centred / T.sqrt((centred**2).mean(2, keepdims=True) + 1e-3)
    scale = T.ones_like(x[0, 0]) * 2
    cost = (normal * scale).sum() + (exp / exp.sum(2, keepdims=True) * normal**2).sum()
    return list(jg.grad(cost, [x, scale]))


@cache
def _functions(made: Callable[[Any], list[Any]], dtype: str) -> tuple[Any, Any]:
    x = T.tensor3("x", dtype=dtype)
    results = made(x)
    return (jg.function([x], results, device="simulated"),
            jg.function([x], results, mode="interpreted"))  # fmt: skip


def _array(shape: Sequence[int], dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal(shape) * 3
    if dtype.startswith("complex"):
        return (numbers + 1j * rng.standard_normal(shape)).astype(dtype)
    return numbers.astype(_BFLOAT16 if dtype == "bfloat16" else dtype)


def _check(made: Callable[[Any], list[Any]], array: np.ndarray, dtype: str) -> None:
    on_device, interpreted = _functions(made, dtype)
    tolerance = _TOLERANCE.get(dtype, 1e-11)
    for found, wanted in zip(on_device(array), interpreted(array), strict=True):
        found, wanted = (np.asarray(a) for a in (found, wanted))
        assert found.dtype == wanted.dtype
        near = max(array.size, 1) ** 0.5 * tolerance
        np.testing.assert_allclose(comparable(found), comparable(wanted), tolerance, near)


@pytest.mark.parametrize("dtype", _DTYPES)
@given(st.tuples(_EXTENTS, _EXTENTS, _EXTENTS), st.integers(0, 99), st.booleans())
@example((3, 2, 7000), 0, False)
@example((4000, 2, 3), 0, False)
@example((2, 3000, 2), 0, False)
@_SETTINGS
def test_reductions(dtype: str, shape: tuple[int, ...], seed: int, with_nan: bool) -> None:
    array = _array(shape, dtype, seed)
    if with_nan and array.size and dtype not in ("uint8", "bool"):
        array.flat[seed % array.size] = np.nan
    _check(_sums, array, dtype)
    if array.size and not dtype.startswith("complex"):
        _check(_extrema, np.round(array) if dtype != "bool" else array, dtype)  # ties


@pytest.mark.parametrize("dtype", _DTYPES)
@given(st.tuples(_EXTENTS.filter(bool), _EXTENTS.filter(bool), _EXTENTS), st.integers(0, 99))
@example((2, 3, 5000), 0)
@_SETTINGS
def test_elementwise(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    _check(_points, _array(shape, dtype, seed), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex128"])
@given(st.tuples(_EXTENTS.filter(bool), _EXTENTS.filter(bool), _EXTENTS.filter(bool)))
@_SETTINGS
def test_transposes(dtype: str, shape: tuple[int, ...]) -> None:
    _check(_turned, _array(shape, dtype, 0), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("made", [_rows, _gradients])
@given(st.tuples(st.sampled_from([2, 40]), st.sampled_from([2, 3]), _LONG), st.integers(0, 99))
@example((2, 2, 13000), 0)
@_SETTINGS
def test_row_nests(
    made: Callable[[Any], list[Any]], dtype: str, shape: tuple[int, ...], seed: int
) -> None:
    _check(made, _array(shape, dtype, seed), dtype)


# --- rows of every length -------------------------------------------------------------------------
def _softmaxes(x: Any, g: Any) -> list[Any]:
    exp = T.exp(x - x.max(1, keepdims=True))
    y = exp / exp.sum(1, keepdims=True)
    return [y, T.log(exp.sum(1)), *jg.grad((y * g).sum(), [x])]


def _normals(x: Any, g: Any) -> list[Any]:
    centred, scale = x - x.mean(1, keepdims=True), g[0] + 1
    y = centred / T.sqrt((centred**2).mean(1, keepdims=True) + 1e-3) * scale
    return [y, x.argmax(1), *jg.grad((y * g).sum(), [x, g])]


@cache
def _of_rows(
    made: Callable[..., list[Any]], dtype: str, length: int | None, mode: str
) -> Any:
    x, g = (T.matrix(name, dtype=dtype, shape=(None, length)) for name in "xg")
    how: dict[str, Any] = {"device": "simulated"} if mode == "device" else {"mode": mode}
    return jg.function([x, g], made(x, g), **how)


def _check_rows(
    made: Callable[..., list[Any]], dtype: str, shape: tuple[int, int], known: bool
) -> None:
    x, g = (_array(shape, dtype, seed) for seed in (1, 2))
    if made is _softmaxes and shape[0] > 2:
        x[0, shape[1] // 2], x[1, 0], x[2, -1] = np.nan, np.inf, -np.inf
    wanted = _of_rows(made, dtype, None, "interpreted")(x, g)
    found = _of_rows(made, dtype, shape[1] if known else None, "device")(x, g)
    tolerance = _TOLERANCE.get(dtype, 1e-11)
    for a, b in zip(found, wanted, strict=True):
        a, b = comparable(np.asarray(a)), comparable(np.asarray(b))
        near = 20 * tolerance * max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0)))
        np.testing.assert_allclose(a, b, 20 * tolerance, near)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("made", [_softmaxes, _normals])
@pytest.mark.parametrize("known", [2, 31, 257, 1024])
def test_rows_in_registers(made: Callable[..., list[Any]], dtype: str, known: int) -> None:
    for points in (3, 70):
        _check_rows(made, dtype, (points, known), True)


# Strips of a warp and of a block; all the shared memory there is, and more; rows in parts.
@pytest.mark.parametrize("length", [5, 4100, 14500, 19400, 19500, 32764, 32765, 41000])
@pytest.mark.parametrize("made", [_softmaxes, _normals])
def test_rows_in_memory(made: Callable[..., list[Any]], length: int) -> None:
    _check_rows(made, "float32", (3, length), False)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_long_rows(dtype: str) -> None:
    for length in (9700, 70000):
        _check_rows(_normals, dtype, (2, length), False)


def test_very_long_rows_are_the_work_of_many_blocks() -> None:
    x = T.fmatrix("x")
    function = jg.function([x], T.nnet.softmax(x), device="simulated")
    counts = []
    for shape in ((3, 33000), (3, 1000), (130, 400)):
        array = _array(shape, "float32", 0)
        first, before = np.asarray(function(array)), simulator.launches()
        np.testing.assert_array_equal(np.asarray(function(array)), first)
        counts.append(simulator.launches() - before)
    assert counts == [3, 1, 1]


def test_results_do_not_depend_on_how_much_shared_memory_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, shapes = devices.device("simulated"), [(150, 700), (3, 12000), (2, 33000)]
    found = []
    for room in (device.target.shared_bytes, 64 << 10):
        monkeypatch.setattr(device, "target", replace(device.target, shared_bytes=room))
        x, g = T.fmatrix("x"), T.fmatrix("g")
        function = jg.function([x, g], _normals(x, g), device="simulated")
        assert function.compilation.device_target.shared_bytes == room
        calls = [function(*(_array(shape, "float32", k) for k in (0, 1))) for shape in shapes]
        found.append([np.asarray(result) for results in calls for result in results])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_may_be_written_over_what_is_read() -> None:
    x = T.matrix("x", dtype="float32", shape=(None, 9))
    function = jg.function([x], T.nnet.softmax(T.dot(x, x.T)[:, :9] + 0 * x), device="simulated")
    array = _array((37, 9), "float32", 0)
    exp = array.astype("f8") @ array.T.astype("f8")
    exp = np.exp(exp[:, :9] - exp[:, :9].max(1, keepdims=True))
    np.testing.assert_allclose(np.asarray(function(array)), exp / exp.sum(1, keepdims=True), 1e-4,
                               1e-6)  # fmt: skip


def test_shared_memory_has_to_be_asked_for() -> None:
    text = """
@k.asked = external addrspace(3) global [0 x i8], align 16
define ptx_kernel void @k() #0 {
  store i8 1, ptr addrspacecast (ptr addrspace(3) getelementptr (i8, ptr addrspace(3) @k.asked, i64 99999) to ptr)
  ret void
}
attributes #0 = { nounwind }
"""  # noqa: E501
    assert kernels.launch(text, 1, 1, [], dynamic=100_000) == 1
    simulation.allow_shared(kernels.code(text), "k", 100_000)
    assert kernels.launch(text, 1, 1, [], dynamic=100_000) == 0
    assert kernels.launch(text, 1, 1, [], dynamic=99_999) == 700
    assert "past the end of the shared memory" in str(simulator.last_fault())
    simulator.clear_fault()


@pytest.mark.parametrize("shape", [(2, 3, 50000), (50000, 2, 2)])
def test_sums_are_as_exact_as_their_type(shape: tuple[int, ...]) -> None:
    on_device, _ = _functions(_sums, "float32")
    array = _array(shape, "float32", 1)
    total = on_device(array)[0]
    exact = math.fsum(array.ravel().tolist())
    assert abs(float(np.asarray(total)) - exact) <= np.spacing(np.float32(abs(exact)))
    columns = np.asarray(on_device(array)[1])
    np.testing.assert_allclose(columns, array.astype("f8").sum(0), 1e-5, 1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1), (4000, 1, 3)])
def test_extents_of_one(shape: tuple[int, ...]) -> None:
    _check(_sums, _array(shape, "float16", 0), "float16")


def test_results_do_not_depend_on_alignment() -> None:
    x = T.fvector("x")
    whole = jg.function([x], [x.sum(), T.exp(x)], device="simulated")
    part = jg.function([x], [x[1:].sum(), T.exp(x[1:])], device="simulated")
    array = _array((9001,), "float32", 3)
    for a, b in zip(whole(array[1:].copy()), part(array), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_transpose_is_added_in_place() -> None:
    x, y = T.dmatrix("x"), T.dmatrix("y")
    function = jg.function([x, y], T.dot(x, y) + T.dot(y, x).T, device="simulated")
    a, b = _array((5, 5), "float64", 0), _array((5, 5), "float64", 1)
    np.testing.assert_allclose(np.asarray(function(a, b)), a @ b + (b @ a).T)


def test_what_is_overwritten_is_not_filled_first() -> None:
    x = T.fmatrix("x")
    function = jg.function([x], x.sum(0), device="simulated")
    function(np.ones((64, 70), "f4"))
    before = simulator.launches()
    assert (np.asarray(function(np.ones((64, 70), "f4"))) == 64).all()
    assert simulator.launches() == before + 1


def test_equal_reductions_are_one_kernel() -> None:
    x, y = T.fmatrix("x"), T.fmatrix("y")
    text = _image(jg.function([x, y], [x.sum(0), y.sum(0)]), "sm_90")
    assert text.count(".entry") == text.count(".shared .align") == 2


def test_a_sum_that_only_the_call_knows() -> None:
    x, y = T.fmatrix("x"), T.fmatrix("y")
    function = jg.function([x, y], jg.grad((x * y * x).sum(), [x, y]), device="simulated")
    for shape in [(33, 70), (1, 70), (33, 1), (1, 1), (2, 5000), (5000, 2)]:
        a, b = _array((shape[0] if shape[0] > 1 else 40, shape[1] if shape[1] > 1 else 50),
                      "float32", 1), _array(shape, "float32", 2)  # fmt: skip
        gradient = np.asarray(function(a, b)[1])
        wanted = a.astype("f8") ** 2
        wanted = wanted.sum(tuple(k for k in (0, 1) if shape[k] == 1), keepdims=True)
        np.testing.assert_allclose(gradient, wanted, 1e-5)


# --- the assembler --------------------------------------------------------------------------------
def _image(function: Any, arch: str) -> str:
    made = function.compilation
    target = device_target(arch)
    modules = backend.emit(made.program, made.signature, target, contract=True)
    return ptx(modules.device.text(), target)


@pytest.mark.parametrize("arch", ["sm_75", "sm_90"])
def test_kernels_fit_into_registers(arch: str) -> None:
    try:
        tool("ptxas")
    except MissingPackageError:
        pytest.skip("there is no ptxas")
    x, v = T.fmatrix("x"), T.fvector("v")
    function = jg.function([x, v], [x.sum(), T.exp(x) + v, T.nnet.softmax(x), x.T + v[:, None]])
    text = _image(function, arch)
    assert ".v4.b32" in text
    made = [_of_rows(one, "float32", length, "native")
            for one in (_softmaxes, _normals) for length in (None, 1024)]  # fmt: skip
    for ptx_ in (text, *(_image(one, arch) for one in made)):
        for report in assemble(ptx_, arch)[1].values():
            assert report.stack == report.spill_stores == report.spill_loads == 0
            assert report.registers <= 160


@pytest.mark.parametrize("arch", ["sm_75", "sm_90", "sm_100"])
def test_integers_are_combined_by_atomics(arch: str) -> None:
    """Where there are instructions for them, and without sorting."""
    i = T.lvector("i")
    image = {}
    for dtype in ("int32", "uint64", "int16", "float32"):
        x, v = T.tensor(dtype, (None,)), T.tensor(dtype, (None,))
        image[dtype] = _image(jg.function([x, v, i], [x.at[i].add(v), x.at[i].max(v)]), arch)
    for dtype, suffix in (("int32", "32"), ("uint64", "64")):
        kinds = set(re.findall(r"(?:atom|red)\.\S*?(add|max)\.[us]" + suffix, image[dtype]))
        assert kinds == {"add", "max"}
        assert image[dtype].count(".entry") < image["int16"].count(".entry")
    assert not re.search(r"\b(atom|red)\.", image["int16"] + image["float32"])
    try:
        _, reports = assemble(image["int32"], arch)
    except MissingPackageError:
        pytest.skip("there is no ptxas")
    assert all(r.stack == r.spill_stores == 0 for r in reports.values())
