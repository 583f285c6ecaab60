"""Several streams of one device, and several devices: what they share, copy, and in what order."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu import record, simulator
from jitgraph.config import config
from jitgraph.errors import DeviceError, DeviceMemoryError, DriverError, OptionError
from jitgraph.runtime import devices
from jitgraph.runtime.cuda import CudaDevice
from jitgraph.runtime.device import Device, address_of
from tests.runtime.fake_device import FakeDevice
from tests.runtime.fake_driver import FakeDriver
from tests.runtime.lagging import LaggingDevice

DATA = np.arange(24.0).reshape(4, 6)


class TestNames:
    def test_canonical(self) -> None:
        names = {"cuda/1": "cuda:0/1", "cuda:0/0": "cuda:0", "cuda:2/03": "cuda:2/3",
                 "simulated/0": "simulated", "simulated/2": "simulated/2"}  # fmt: skip
        assert {name: devices.canonical(name) for name in names} == names

    @pytest.mark.parametrize("name", ["cpu/1", "cuda/", "cuda:/1", "cuda:0/-1", "simulated/x"])
    def test_others(self, name: str) -> None:
        with pytest.raises(OptionError, match="device"):
            devices.canonical(name)
        with pytest.raises(OptionError, match="device"):
            config.device = name

    def test_setting(self) -> None:
        with config.override(device="simulated/1"):
            assert jg.jit(np.sin)(DATA).device is devices.device("simulated/1")


# --- by the driver -----------------------------------------------------------------------------
@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """Two GPUs, on which all work must be ordered and done in the right context."""
    made = FakeDriver(gpus=2)
    monkeypatch.setattr("jitgraph.runtime.cuda._bindings", lambda: made)
    monkeypatch.setattr(devices, "_found", {})
    yield made
    gc.collect()
    assert not made.memory.blocks
    assert not made.memory.order.races
    assert not made.memory.strays
    assert made.memory.context == 0


def on(name: str) -> CudaDevice:
    found = devices.device(name)
    assert isinstance(found, CudaDevice)
    return found


class TestStreams:
    def test_what_they_share(self, driver: FakeDriver) -> None:
        first, second = on("cuda:1"), on("cuda:1/4")
        assert (first.place, second.place, second.name) == ("cuda:1", "cuda:1", "cuda:1/4")
        assert first.stream != second.stream
        assert first.target == second.target  # so what is compiled is
        assert first.record != second.record
        assert driver.memory.contexts == {first.stream: 78, second.stream: 78}

    @pytest.mark.parametrize("target", ["cuda:0/1", "cuda:0"])
    def test_no_copy(self, driver: FakeDriver, target: str) -> None:
        source = "cuda:0" if target != "cuda:0" else "cuda:0/1"
        x = jg.device_put(DATA, source)
        driver.memory.calls.clear()
        y = jg.device_put(x, target)
        assert address_of(y._header) == address_of(x._header)
        assert y.device is on(target)
        assert not {"copy", "to_host", "alloc", "wait"} & set(driver.memory.calls)
        assert y.device.owns(y._header)
        assert not x.device.owns(y._header)
        np.testing.assert_array_equal(y.copy().get(), DATA)
        del x
        np.testing.assert_array_equal(y.get(), DATA)

    @pytest.mark.parametrize("orderless", ["write", "read"])
    def test_somebody_watches(self, driver: FakeDriver, orderless: str) -> None:
        """What these tests rely on: work that does not wait is found out."""
        x = jg.device_put(DATA, "cuda:0")
        y = jg.device_put(x, "cuda:0/1")
        z = y.copy()
        with x.device.entered():
            to, source, stream = address_of(x._header), address_of(z._header), x.device.stream
            if orderless == "write":
                x.device.call("set_bytes", to, 0, 8, stream)
            else:
                x.device.call("copy", to, source, 8, stream)
        z.device.join(x.device)
        assert driver.memory.order.races
        driver.memory.order.races.clear()

    def test_memory_goes_back_in_order(self, driver: FakeDriver) -> None:
        """The owner's stream waits for the other's work before it frees or writes."""
        x = jg.device_put(DATA, "cuda:0")
        y = jg.device_put(x, "cuda:0/1")
        z = y.copy()  # reads x's memory, later
        del x, y
        assert len(driver.memory.blocks) == 1
        np.testing.assert_array_equal(z.get(), DATA)

    def test_there_and_back(self, driver: FakeDriver) -> None:
        x = jg.device_put(DATA, "cuda:0")
        again = jg.device_put(jg.device_put(x, "cuda:0/1"), "cuda:0/2")
        np.testing.assert_array_equal(jg.device_put(again, "cuda:0").copy().get(), DATA)
        assert again.__dlpack_device__() == (2, 0)
        assert again.__cuda_array_interface__["stream"] == on("cuda:0/2").stream

    def test_arrays_of_others(self, driver: FakeDriver) -> None:
        """They are taken for the stream that wants them."""
        owner = on("cuda:0").upload(DATA)

        said = {"version": 3, "shape": DATA.shape, "typestr": "<f8", "strides": None,
                "data": (address_of(owner), False), "stream": on("cuda:0").stream}  # fmt: skip
        x = jg.device_put(SimpleNamespace(__cuda_array_interface__=said), "cuda:0/1")
        assert (x.device.name, address_of(x._header)) == ("cuda:0/1", address_of(owner))
        np.testing.assert_array_equal(x.get(), DATA)
        x.block_until_ready()

    def test_freed_where_it_was_made(self, driver: FakeDriver) -> None:
        for name in ("cuda:0", "cuda:0/1", "cuda:1"):
            jg.device_put(DATA, name).copy()


class TestBetweenGPUs:
    def test_directly(self, driver: FakeDriver) -> None:
        """Nobody waits, nothing passes through the host."""
        x = jg.device_put(DATA, "cuda:0")
        on("cuda:1")
        driver.memory.calls.clear()
        y = jg.device_put(x, "cuda:1")
        del x
        assert driver.memory.calls.count("copy") == 0  # of one device
        assert driver.count("cuMemcpyPeerAsync") == 1
        assert not {"to_host", "to_device", "wait"} & set(driver.memory.calls)
        assert driver.count("cuEventSynchronize") == 0
        np.testing.assert_array_equal(y.get(), DATA)
        (_, (to, there, _, here, size, stream)) = next(
            c for c in driver.calls if c[0] == "cuMemcpyPeerAsync"
        )
        assert (to, there, here, size) == (address_of(y._header), 78, 77, DATA.nbytes)
        assert stream == on("cuda:1").stream

    def test_ways_are_opened_once(self, driver: FakeDriver) -> None:
        for name in ("cuda:1", "cuda:1/2", "cuda:1"):
            jg.device_put(jg.device_put(DATA, "cuda:0"), name)
        asked = [a for name, a in driver.calls if name == "cuMemPoolSetAccess"]
        assert len(asked) == 2  # once for each stream there
        (access,) = asked[0][1]
        assert (access.location.id, int(access.location.type), int(access.flags)) == (1, 1, 3)
        driver.peers = 0
        jg.device_put(jg.device_put(DATA, "cuda:1"), "cuda:0")
        assert driver.count("cuMemPoolSetAccess") == 2
        assert driver.count("cuMemcpyPeerAsync") == 4  # the driver finds a way

    @pytest.mark.parametrize("code", [217, 801])
    def test_refused(self, driver: FakeDriver, code: int) -> None:
        driver.refuse["cuMemcpyPeerAsync"] = code
        y = jg.device_put(jg.device_put(DATA, "cuda:0"), "cuda:1")
        np.testing.assert_array_equal(y.get(), DATA)
        assert y.device is on("cuda:1")

    def test_lost(self, driver: FakeDriver) -> None:
        driver.refuse["cuMemcpyPeerAsync"] = 700
        with pytest.raises(DriverError, match="ILLEGAL_ADDRESS") as caught:
            jg.device_put(jg.device_put(DATA, "cuda:0"), "cuda:1")
        assert caught.value.sticky

    def test_no_memory_there(self, driver: FakeDriver) -> None:
        x = jg.device_put(DATA, "cuda:0")
        driver.memory.refuse["alloc"] = record.OUT_OF_MEMORY
        with pytest.raises(DeviceMemoryError, match="cuda:1 has not enough"):
            jg.device_put(x, "cuda:1")
        driver.memory.refuse.clear()
        np.testing.assert_array_equal(x.get(), DATA)

    @pytest.mark.parametrize("array", [np.zeros((0, 3)), np.float32(3), np.arange(5, dtype="i1")])
    def test_any_array(self, driver: FakeDriver, array: Any) -> None:
        y = jg.device_put(jg.device_put(array, "cuda:0"), "cuda:1")
        np.testing.assert_array_equal(y.get(), array)
        assert y.dtype == array.dtype

    def test_other_kinds(self, driver: FakeDriver) -> None:
        """Where devices have nothing in common, by the host."""
        other = FakeDevice()
        x = jg.DeviceArray(other.upload(DATA), other)
        np.testing.assert_array_equal(jg.device_put(x, "cuda:1").get(), DATA)


class TestContexts:
    def test_are_left_as_they_were(self, driver: FakeDriver) -> None:
        """Whatever was current in the thread is so afterwards, where something fails as well."""
        gpu, other = on("cuda:0"), on("cuda:1")
        for outside in (0, 5, gpu.context, other.context):
            driver.memory.context = outside
            x = jg.device_put(DATA, gpu)
            y = jg.device_put(jg.device_put(x, other), "cuda:0/1")
            for z in (x, y):
                np.testing.assert_array_equal(z.copy().get(), DATA)
                z.block_until_ready()
            gpu.mark(), other.timer(2), gpu.whereabouts(address_of(x._header))
            gpu.load(b"", ["k"])
            driver.memory.refuse["to_host"] = 1
            with pytest.raises(DriverError):
                x.get()
            driver.memory.refuse.clear()
            del x, y, z
            gc.collect()
            assert driver.memory.context == outside
        driver.memory.context = 0

    def test_nothing_is_set_that_is_so(self, driver: FakeDriver) -> None:
        gpu = on("cuda:0")
        driver.memory.context = gpu.context
        driver.memory.calls.clear()
        jg.device_put(DATA, gpu).get()
        assert "enter" not in driver.memory.calls
        driver.memory.context = 0

    @pytest.mark.parametrize("outside", [0, 5, 77])
    def test_programs(self, driver: FakeDriver, outside: int) -> None:
        x = T.dmatrix("x")
        f = jg.function([x], T.exp(x), device="cuda:0")
        f(DATA)
        driver.memory.context = outside
        driver.memory.calls.clear()
        f(jg.device_put(DATA, "cuda:0"))
        assert driver.memory.context == outside
        assert ("enter" in driver.memory.calls) == (outside != 77)
        driver.memory.refuse["launch"] = 701
        with pytest.raises(DriverError, match="OUT_OF_RESOURCES"):
            f(DATA)
        driver.memory.refuse.clear()
        assert driver.memory.context == outside
        driver.memory.context = 0
        del f


# --- on a device that does the work ------------------------------------------------------------
@pytest.fixture(params=["first", "second", "both"])
def lagging(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LaggingDevice]]:
    """Two streams, of which the named one falls behind."""
    behind = request.param
    made = [LaggingDevice(0, prompt=behind == "second"), LaggingDevice(1, prompt=behind == "first")]
    monkeypatch.setattr(devices, "_found", {d.name: d for d in made})
    gc.collect()
    for d in made:
        d.wait()
    before = len(simulator.live_allocations())
    yield made
    gc.collect()
    for d in made:
        d.wait()
        assert not d.faults
    assert len(simulator.live_allocations()) == before


def test_a_shared_one(lagging: list[LaggingDevice]) -> None:
    w = jg.shared(np.ones(3), "w")
    jg.function([], w + 1, device="simulated/1")
    assert w.device == "simulated/1"
    with pytest.raises(DeviceError, match=r"used by a function on simulated/1.* one on simulated "):
        jg.function([], w * 2, device="simulated")


def test_pipeline(lagging: list[LaggingDevice]) -> None:
    """Arrays go from stream to stream, and their memory is used again in between."""
    first = jg.jit(lambda a: a * 2 + 1, device="simulated")
    second = jg.jit(lambda a, b: (a - b).sum(axis=0), device="simulated/1")
    for k in range(5):
        x = jg.device_put(DATA + k, "simulated")
        y = first(x)
        z = second(y, jg.device_put(x, "simulated/1"))
        del x, y
        first(DATA)  # takes memory that was freed
        assert z.device.name == "simulated/1"
        np.testing.assert_array_equal(first(z), 2 * (DATA + k + 1).sum(axis=0) + 1)


def test_somebody_watches(lagging: list[LaggingDevice], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without order a stream reads what is not there yet."""
    monkeypatch.setattr(LaggingDevice, "join", lambda self, other: None)
    double = jg.jit(lambda a: a * 2, device="simulated/1")
    double(DATA)
    x = jg.device_put(DATA, "simulated")
    if lagging[0].prompt:
        np.testing.assert_array_equal(double(x), 2 * DATA)
    else:
        with pytest.raises(DriverError, match="never written"):
            double(x)


@pytest.mark.parametrize("lagging", ["both"], indirect=True)
def test_a_late_scalar_is_waited_for(lagging: list[LaggingDevice]) -> None:
    """A size, a condition and a check that kernels make."""
    x = T.dmatrix("x")
    for name in ("simulated", "simulated/1"):
        chosen = jg.function([x], x[x > 5] * 2, device=name)
        for _ in range(3):
            np.testing.assert_array_equal(chosen(DATA), DATA[DATA > 5] * 2)
        halved = jg.jit(
            lambda a: jg.while_loop(lambda b: b.sum() > 1, lambda b: b / 2, a), device=name
        )
        found = np.asarray(halved(DATA))
        assert 0.5 < found.sum() <= 1


@pytest.mark.parametrize("lagging", ["both"], indirect=True)
def test_training(lagging: list[LaggingDevice]) -> None:
    def step(device: str) -> tuple[Any, Any]:
        x, w = T.dmatrix("x"), jg.shared(np.full((6, 3), 0.1), "w")
        cost = T.sum(T.tanh(x @ w) ** 2)
        return jg.function([x], cost, updates=[(w, w - 0.01 * T.grad(cost, w))], device=device), w

    runs: list[Callable[[Any], Any]] = []
    values = []
    for name in ("simulated", "simulated/1", "cpu"):
        f, w = step(name)
        runs.append(f)
        values.append(w)
    for _ in range(3):
        costs = [np.asarray(f(DATA / 10)) for f in runs]
        np.testing.assert_allclose(costs, costs[-1:] * 3)
    np.testing.assert_allclose(*[v.get_value() for v in values[1:]])


def test_one_compilation_for_all_streams() -> None:
    """The code is the same, so the disk has it."""
    x = T.dmatrix("x")
    keys = [jg.function([x], x + 1, device=name).compilation._options()
            for name in ("simulated", "simulated/1")]  # fmt: skip
    assert keys[0] == keys[1]


def test_base_device_orders_by_waiting() -> None:
    a, b = FakeDevice("simulated"), FakeDevice("simulated/9")
    b.memory.calls.clear()
    a.join(b)
    assert b.memory.calls == ["current", "wait"]
    assert isinstance(a, Device)
