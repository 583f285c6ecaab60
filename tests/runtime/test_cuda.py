"""The driver's side of a GPU, against a driver that is not there."""

from __future__ import annotations

import gc
import inspect
import re
import sys
import types

import numpy as np
import pytest

import jitgraph as jg
from jitgraph.codegen.gpu import record
from jitgraph.errors import DeviceMemoryError, DriverError, NoDeviceError
from jitgraph.runtime import cuda, devices
from jitgraph.runtime.cuda import CudaDevice
from jitgraph.runtime.device import address_of
from tests.runtime.fake_driver import _ANSWERS, FakeDriver


@pytest.fixture
def driver():
    return FakeDriver(gpus=2)


@pytest.fixture
def gpu(driver):
    return CudaDevice(1, driver)


def words(device):
    return dict(zip(record.WORDS, device._words, strict=True))


class TestStart:
    def test_target(self, gpu):
        target = gpu.target
        assert (target.cpu, target.ptx, target.sms, target.shared_bytes) == (
            "sm_90", (8, 0), 132, 232448,
        )  # fmt: skip
        assert not target.simulated
        assert repr(gpu) == "<device cuda:1: NVIDIA Test, sm_90, driver of CUDA 12.4>"

    def test_record(self, gpu, driver):
        found = words(gpu)
        assert (found["context"], found["stream"], found["sms"], found["error"]) == (77, 66, 132, 0)
        for word, name in record.FUNCTIONS.items():
            assert found[word] == driver.addresses[name.removesuffix("_v2")]
        asked = [a for name, a in driver.calls if name == "cuGetProcAddress"]
        assert all(flags == 1 and version == 12000 for _, version, flags in asked)

    def test_memory_is_kept(self, gpu, driver):
        (_, (_, _, value)) = next(c for c in driver.calls if c[0] == "cuMemPoolSetAttribute")
        assert int(value) == 2**64 - 1

    def test_no_package(self, monkeypatch):
        for name in ("cuda", "cuda.bindings", "cuda.bindings.driver"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(NoDeviceError, match=r"cuda-bindings.* not installed") as caught:
            CudaDevice(0)
        assert 'pip install "jitgraph[cuda]"' in str(caught.value)
        assert cuda.count() == 0

    def test_no_driver(self, monkeypatch):
        driver = types.SimpleNamespace()

        def init(flags):
            raise RuntimeError("Failed to dlopen libcuda.so.1")

        driver.cuInit = init
        with pytest.raises(NoDeviceError, match="no NVIDIA driver on this machine"):
            CudaDevice(0, driver)
        assert cuda.count(driver) == 0

    def test_no_gpu(self, driver, monkeypatch):
        driver.refuse["cuInit"] = 100
        with pytest.raises(NoDeviceError, match="finds no GPU"):
            CudaDevice(0, driver)
        assert cuda.count(driver) == 0
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        with pytest.raises(NoDeviceError, match="CUDA_VISIBLE_DEVICES=''"):
            CudaDevice(0, FakeDriver(gpus=0))

    def test_not_so_many(self, driver):
        with pytest.raises(NoDeviceError, match=r"no cuda:2: the driver finds 2 GPUs, cuda:0 to"):
            CudaDevice(2, driver)
        with pytest.raises(NoDeviceError, match=r"no cuda:1: the driver finds one GPU, cuda:0"):
            CudaDevice(1, FakeDriver())
        assert cuda.count(driver) == 2

    def test_old_driver(self):
        with pytest.raises(NoDeviceError, match=r"too old: it is of CUDA 11.8"):
            CudaDevice(0, FakeDriver(version=11080))

    def test_old_gpu(self):
        with pytest.raises(NoDeviceError, match=r"GPU \(sm_61\) is too old"):
            CudaDevice(0, FakeDriver(COMPUTE_CAPABILITY_MAJOR=6, COMPUTE_CAPABILITY_MINOR=1))
        with pytest.raises(NoDeviceError, match="no memory pools"):
            CudaDevice(0, FakeDriver(MEMORY_POOLS_SUPPORTED=0))

    def test_new_gpu(self):
        driver = FakeDriver(
            version=13000, COMPUTE_CAPABILITY_MAJOR=12, COMPUTE_CAPABILITY_MINOR=9
        )
        assert CudaDevice(0, driver).target.cpu == "sm_121"

    def test_broken_driver(self, driver):
        driver.refuse["cuInit"] = 803
        with pytest.raises(NoDeviceError, match="does not start: CUDA_ERROR_SYSTEM_DRIVER_MISM"):
            CudaDevice(0, driver)

    def test_missing_function(self, driver):
        driver.addresses["cuMemAllocAsync"] = 0
        with pytest.raises(NoDeviceError, match="no cuMemAllocAsync"):
            CudaDevice(0, driver)

    def test_public_names(self, driver, monkeypatch):
        monkeypatch.setattr(cuda, "_bindings", lambda: driver)
        monkeypatch.setattr(devices, "_found", {})
        assert jg.devices() == ["cpu", "cuda:0", "cuda:1", "simulated"]
        x = jg.device_put([1.0, 2.0], "cuda:1")
        assert x.device is devices.device("cuda:1")
        assert devices.device("cuda") is not x.device
        assert devices.device_of(x._header) is x.device
        with pytest.raises(NoDeviceError, match="no cuda:7"):
            jg.device_put(x, "cuda:7")
        with jg.config.override(device="cuda"):
            assert jg.device_put(x).device.name == "cuda:0"


class TestTransfers:
    @pytest.mark.parametrize("size", [0, 1, 1000, (1 << 20) - 1, 1 << 20, (17 << 20) + 7, 2 << 20])
    def test_there_and_back(self, gpu, driver, size):
        data = np.random.default_rng(size).integers(0, 255, size, np.uint8)
        there = gpu.upload(data)
        assert address_of(there) in driver.memory.blocks
        np.testing.assert_array_equal(gpu.download(there), data)
        assert len(driver.pinned) <= cuda._PIECES
        del there
        assert not driver.memory.blocks

    def test_pinned_memory_is_not_overwritten_early(self, gpu, driver):
        """Each piece is waited for before it is filled again."""
        for _ in range(cuda._PIECES):
            gpu.upload(np.zeros(4))
        assert driver.count("cuEventSynchronize") == 0
        assert len(driver.live) == len(driver.pinned) == cuda._PIECES
        for more in range(1, 4):
            gpu.upload(np.zeros(4))
            assert driver.count("cuEventSynchronize") == more
        assert len(driver.live) == len(driver.pinned) == cuda._PIECES

    def test_a_failing_transfer_leaves_the_others_alone(self, gpu, driver):
        driver.memory.refuse["to_device"] = 700
        with pytest.raises(DriverError):
            gpu.upload(np.zeros(4))
        driver.memory.refuse.clear()
        data = np.arange(1 << 19)
        np.testing.assert_array_equal(gpu.download(gpu.upload(data)), data)

    def test_uploads_do_not_wait(self, gpu, driver):
        gpu.upload(np.zeros(4))
        assert "wait" not in driver.memory.calls
        gpu.download(gpu.upload(np.zeros(4)))
        assert "wait" in driver.memory.calls

    def test_marks(self, gpu, driver):
        start, end = gpu.mark(), gpu.mark()
        assert gpu.seconds(start, end) == 2.5e-3
        del start, end
        assert not driver.live

    def test_timer(self, gpu, driver):
        timer = gpu.timer(3)
        assert timer.function
        assert len(set(timer.handles)) == 3
        assert timer.seconds(0, 2) == 2.5e-3
        del timer
        gc.collect()
        assert not driver.live

    def test_order(self, gpu, driver):
        gpu.follow(5)
        gpu.precede(9)
        pairs = [
            (a[1], b[0]) for (_, a), (_, b) in zip(
                [c for c in driver.calls if c[0] == "cuEventRecord"],
                [c for c in driver.calls if c[0] == "cuStreamWaitEvent"], strict=True,
            )
        ]  # fmt: skip
        assert pairs == [(5, 66), (66, 9)]
        assert not driver.live

    def test_whereabouts(self, gpu, driver):
        assert gpu.whereabouts(12345) == "cuda:0"
        assert gpu.whereabouts(driver.pin(8)) == "cpu"
        driver.refuse["cuPointerGetAttribute"] = 1
        assert gpu.whereabouts(12345) == "cpu"


class TestModules:
    def test_load(self, gpu, driver):
        loaded = gpu.load(b"ptx", ["first", "second_one"], shared={"first": 100_000})
        module = next(iter(driver.live))
        assert loaded.handles == {"first": module * 100 + 5, "second_one": module * 100 + 10}
        (_, (function, _, size)) = driver.calls[-1]
        assert (function, size) == (module * 100 + 5, 100_000)
        del loaded
        gc.collect()
        assert not driver.live

    def test_rejected(self, gpu, driver):
        driver.refuse["cuModuleLoadDataEx"] = 218
        driver.log = b"ptxas error: line 7"
        with pytest.raises(DriverError, match=r"INVALID_PTX.*ptxas error: line 7") as caught:
            gpu.load(b"ptx", ["k"])
        assert (caught.value.code, caught.value.sticky) == (218, False)
        assert "please report it" in str(caught.value)

    def test_no_such_kernel(self, gpu, driver):
        driver.refuse["cuModuleGetFunction"] = 500
        with pytest.raises(DriverError, match="NOT_FOUND"):
            gpu.load(b"ptx", ["k"])
        gc.collect()
        assert driver.count("cuModuleUnload") == 1


class TestErrors:
    def test_sticky(self, gpu, driver):
        x = jg.DeviceArray(gpu.upload(np.zeros(3)), gpu)
        driver.memory.refuse["wait"] = 700
        for _ in range(2):
            with pytest.raises(DriverError, match="ILLEGAL_ADDRESS") as caught:
                x.block_until_ready()
            assert caught.value.sticky
            assert "a new process can" in str(caught.value)
        with pytest.raises(DriverError):
            np.asarray(x)

    def test_out_of_memory(self, gpu, driver):
        driver.memory.refuse["alloc"] = 2
        with pytest.raises(DeviceMemoryError, match="1,000 bytes of 2,000 are free"):
            gpu.upload(np.zeros(3))
        driver.memory.refuse.clear()
        gpu.upload(np.zeros(3))

    def test_forked(self, gpu, driver):
        driver.memory.refuse["enter"] = 3
        with pytest.raises(DriverError, match="spawn"):
            gpu.upload(np.zeros(3))

    def test_unknown(self, gpu, driver):
        driver.memory.refuse["wait"] = 4711
        with pytest.raises(DriverError, match="error 4711"):
            gpu.wait()

    def test_left_by_generated_code(self, gpu):
        gpu._words[record.WORDS.index("error")] = 700
        with pytest.raises(DriverError, match="ILLEGAL_ADDRESS"):
            gpu.check()
        gpu.check()


def test_the_fake_is_like_the_real_one():
    """The real driver's wrappers take as many arguments, and know the same names."""
    real = pytest.importorskip("cuda.bindings.driver")
    for name, answer in _ANSWERS.items():
        head = (getattr(real, name).__doc__ or "").splitlines()[0]
        described = re.fullmatch(rf"{name}\((.*)\)", head)
        assert described, head
        bare = re.sub(r"\[.*?\]", "", described[1])
        taken = len([part for part in bare.split(",") if part.strip()])
        assert taken == len(inspect.signature(answer).parameters) - 1, head
    for name, fake in vars(FakeDriver).items():
        if isinstance(fake, type) and hasattr(fake, "__members__"):
            known = getattr(real, name).__members__
            assert {m for m in fake.__members__ if m != "_"} <= set(known), name
    for result in FakeDriver.CUresult:
        assert real.CUresult(int(result)).name == result.name
    assert int(real.CUstream(5)) == 5
    assert cuda.count() >= 0
