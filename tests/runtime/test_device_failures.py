"""What a user meets when something is wrong with a device: a typed error that says what and what to
do, values as they were, and other functions that go on."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu import record
from jitgraph.config import config
from jitgraph.device_array import DeviceArray
from jitgraph.errors import (
    DeviceError,
    DeviceMemoryError,
    DriverError,
    NoDeviceError,
    OptionError,
)
from jitgraph.runtime import devices
from jitgraph.runtime.cuda import CudaDevice
from tests.runtime.fake_device import FakeDevice, c_function
from tests.runtime.fake_driver import FakeDriver

OUT_OF_MEMORY, ILLEGAL_ADDRESS = 2, 700
SIMULATED = devices.device("simulated")
assert SIMULATED is not None


class Trouble:
    """Makes a function of the device's record fail: in one call, or from that call on."""

    def __init__(self, name: str, status: int, at: int, *, lasting: bool = False) -> None:
        self.calls = 0
        self.place = record.WORDS.index(name)
        self.right = SIMULATED._words[self.place]
        real = SIMULATED._calls[name]

        def run(*arguments: int) -> int:
            self.calls += 1
            failing = self.calls > at if lasting else self.calls == at + 1
            return status if failing else int(real(*arguments))

        self.function = c_function(name, run)

    def __enter__(self) -> Trouble:
        address = ctypes.cast(self.function, ctypes.c_void_p).value
        SIMULATED._words[self.place] = address
        return self

    def __exit__(self, *_: object) -> None:
        SIMULATED._words[self.place] = self.right


def step() -> tuple[Any, list[Any], list[np.ndarray]]:
    """A training step, its shared variables, and what these are."""
    rng = np.random.default_rng(0)
    x = T.dmatrix("x")
    w, v = (jg.shared(rng.normal(size=(4, 3)), name) for name in "wv")
    cost = T.sum(T.tanh(x @ w) ** 2)
    slope = T.grad(cost, w)
    made = jg.function([x], cost, updates=[(v, 0.9 * v - slope), (w, w + v - slope)],
                       device="simulated")  # fmt: skip
    return made, [w, v], [w.get_value(), v.get_value()]


X = np.linspace(-1, 1, 20).reshape(5, 4)


# --- no such device ----------------------------------------------------------------------------
@contextmanager
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("jitgraph.runtime.cuda._bindings", lambda: FakeDriver(gpus=0))
        patch.setattr(devices, "_found", {"simulated": SIMULATED})
        yield


def test_no_gpu_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, wherever a GPU is asked for; what runs elsewhere goes on."""
    x = T.dvector("x")
    with without_gpu(monkeypatch):
        for ask in (
            lambda: jg.function([x], x + 1, device="cuda"),
            lambda: jg.jit(np.sin, device="cuda:1")(np.ones(3)),
            lambda: jg.device_put(np.ones(3), "cuda"),
        ):
            with pytest.raises(NoDeviceError, match="finds no GPU"):
                ask()
        with config.override(device="cuda"), pytest.raises(NoDeviceError, match="finds no GPU"):
            jg.function([x], x + 1)
        assert jg.devices() == ["cpu", "simulated"]
        np.testing.assert_array_equal(jg.function([x], x + 1, device="simulated")([1.0]), [2.0])
        np.testing.assert_array_equal(jg.function([x], x + 1)([1.0]), [2.0])


def test_no_such_name() -> None:
    x = T.dvector("x")
    for name in ("gpu", "cuda:", "cuda:x", "", "CUDA"):
        with pytest.raises(OptionError, match="device"):
            jg.function([x], x + 1, device=name)


def test_ptx_that_the_driver_does_not_know() -> None:
    driver = FakeDriver()
    gpu = CudaDevice(0, driver)
    driver.refuse["cuModuleLoadDataEx"] = 222
    with pytest.raises(DriverError, match="UNSUPPORTED_PTX_VERSION") as caught:
        gpu.load(b"", ["kernel0"])
    assert "install a newer driver" in str(caught.value)
    assert not caught.value.sticky


# --- arrays elsewhere --------------------------------------------------------------------------
def test_an_array_on_another_device() -> None:
    other = FakeDevice("cuda:1")
    there = DeviceArray(other.upload(np.ones(3)), other)
    x = T.dvector("x")
    f = jg.function([x], x + 1, device="simulated")
    with pytest.raises(DeviceError, match=r"input x .* was given an array on cuda:1") as e:
        f(there)
    assert "device_put(x, 'simulated')" in str(e.value)
    np.testing.assert_array_equal(f(np.asarray(there)), 2 * np.ones(3))
    # A function of the host takes its numbers.
    np.testing.assert_array_equal(jg.function([x], x + 1, device="cpu")(there), 2 * np.ones(3))


def test_a_variable_shared_by_two_devices() -> None:
    w = jg.shared(np.ones(3), "w")
    first = jg.function([], w + 1, device="cpu")
    with pytest.raises(DeviceError, match=r"w .*is used by a function on cpu") as caught:
        jg.function([], w * 2, device="simulated")
    assert "give all functions that share it one device" in str(caught.value)
    np.testing.assert_array_equal(first(), 2 * np.ones(3))


# --- memory ------------------------------------------------------------------------------------
def test_out_of_memory_changes_nothing() -> None:
    """Whichever allocation of a step it is that fails."""
    f, shared, _ = step()
    with Trouble("alloc", OUT_OF_MEMORY, 10_000) as none:
        f(X)
    assert none.calls > 2
    kept = [s.get_value() for s in shared]
    for at in range(none.calls):
        said = ""
        with Trouble("alloc", OUT_OF_MEMORY, at) as trouble:
            try:
                f(X)
            except DeviceMemoryError as error:
                said = str(error)
        if not said:  # a call that reuses memory asks less often
            assert trouble.calls <= at
            kept = [s.get_value() for s in shared]
            continue
        assert "not enough free memory" in said
        assert "free arrays" in said
        for s, value in zip(shared, kept, strict=True):
            np.testing.assert_array_equal(s.get_value(), value)
    twin, _, _ = step()
    twin(X)
    assert np.isfinite(np.asarray(f(X)))


def test_nothing_is_lost_where_memory_is_short() -> None:
    from jitgraph.codegen.gpu import simulator

    f, _, _ = step()
    with Trouble("alloc", OUT_OF_MEMORY, 10_000) as none:
        f(X)
        f(X)
    SIMULATED.wait()
    before = len(simulator.live_allocations())
    for at in range(none.calls // 2):
        with Trouble("alloc", OUT_OF_MEMORY, at, lasting=True):
            for _ in range(5):
                with contextlib.suppress(DeviceMemoryError):
                    f(X)
    gc.collect()
    assert len(simulator.live_allocations()) <= before + 2


# --- a driver that fails -----------------------------------------------------------------------
@pytest.mark.parametrize("name", ["launch", "to_host", "copy", "wait", "to_device"])
def test_a_failing_driver(name: str) -> None:
    """A typed error, or nothing where the function is not called; then all goes on."""
    f, shared, _ = step()
    f(X)
    kept = [s.get_value() for s in shared]
    code = 0
    with Trouble(name, ILLEGAL_ADDRESS, 0) as trouble:
        try:
            np.asarray(f(X))
        except DriverError as error:
            code = error.code
    assert code == (ILLEGAL_ADDRESS if trouble.calls else 0)
    if code and name == "launch":
        for s, value in zip(shared, kept, strict=True):
            np.testing.assert_array_equal(s.get_value(), value)
    assert np.isfinite(np.asarray(f(X)))


def test_a_lost_device_leaves_the_others() -> None:
    """As after a sticky error: every call fails, and functions on the CPU do not mind."""
    f, _, _ = step()
    x = T.dvector("x")
    on_cpu = jg.function([x], T.exp(x), device="cpu")
    with Trouble("launch", ILLEGAL_ADDRESS, 0, lasting=True):
        for _ in range(2):
            with pytest.raises(DriverError):
                np.asarray(f(X))
            np.testing.assert_allclose(on_cpu([0.0]), [1.0])
            np.testing.assert_allclose(jg.function([x], x * 3, device="cpu")([1.0]), [3.0])
    assert np.isfinite(np.asarray(f(X)))


# --- shared memory -----------------------------------------------------------------------------
def test_too_much_shared_memory() -> None:
    """Asked for when a kernel is loaded, found by the driver's compiler, or at the launch."""
    driver = FakeDriver()
    gpu = CudaDevice(0, driver)
    with pytest.raises(DeviceError, match=r"kernel0 needs 300000 bytes of shared memory.* 232448"):
        gpu.load(b"", ["kernel0"], shared={"kernel0": 300_000})
    driver.refuse["cuModuleLoadDataEx"] = 218
    driver.log = b"ptxas error : Entry function 'kernel0' uses too much shared data (0x12000 bytes)"
    with pytest.raises(DriverError, match="uses too much shared data"):
        gpu.load(b"", ["kernel0"])
    driver.memory.refuse["launch"] = 701
    with pytest.raises(DriverError, match="OUT_OF_RESOURCES") as caught:
        gpu.call("launch", *[0] * 11)
    assert "registers or shared memory" in str(caught.value)
