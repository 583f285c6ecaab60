"""Devices: the arrays native code makes in their memory, and what becomes of failures."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitgraph.codegen.gpu import record
from jitgraph.config import config
from jitgraph.errors import (
    DeviceError,
    DeviceMemoryError,
    DriverError,
    NoDeviceError,
    OptionError,
)
from jitgraph.ir.types import is_bfloat16
from jitgraph.runtime import devices
from jitgraph.runtime.callable import Slots
from jitgraph.runtime.device import Foreign, address_of
from jitgraph.runtime.devices import canonical
from tests.runtime.fake_device import FakeDevice

DTYPES = ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16"]
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@pytest.fixture(scope="module")
def fake():
    return FakeDevice()


@pytest.fixture(autouse=True)
def clean(fake):
    fake.memory.refuse.clear()
    before = len(fake.memory.blocks)
    yield
    gc.collect()
    assert len(fake.memory.blocks) == before


def error_word(fake):
    return ctypes.c_uint64.from_address(fake.record + record.offset("error")).value


def native(name, *types):
    from jitgraph.runtime.pyapi import LIBRARY, new_reference

    function = ctypes.PYFUNCTYPE(ctypes.c_void_p, *types)(LIBRARY.address(name))

    def call(*arguments):
        made = function(*arguments)
        return None if made is None else new_reference(made)

    return call


def new_array(fake, shape, dtype):
    make = native("new_device_array", ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    dims = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    return make(fake.record, np.dtype(dtype).num, len(shape), ctypes.addressof(dims))


def take_spare(name, slots, shape, dtype, *before):
    take = native(name, *[ctypes.c_void_p] * len(before), ctypes.c_void_p, ctypes.c_int,
                  ctypes.c_int, ctypes.c_void_p)  # fmt: skip
    dims = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    number = np.dtype(dtype).num
    return take(*before, slots.address, number, len(shape), ctypes.addressof(dims))


class TestHeaders:
    """A header is what NumPy would have made, but for where its data lies."""

    @given(SHAPES, st.sampled_from(DTYPES))
    def test_as_numpy_makes_it(self, fake, shape, dtype):
        made, want = new_array(fake, shape, dtype), np.empty(shape, dtype)
        assert made.dtype is want.dtype
        assert (made.shape, made.base) == (want.shape, None)
        assert made.strides == want.strides or not made.size  # which differ by version
        assert made.flags.num == want.flags.num
        assert address_of(made) in fake.memory.blocks
        assert fake.owns(made)
        assert fake.owns(made.view())
        assert not fake.owns(want)

    @given(SHAPES, st.sampled_from(DTYPES))
    def test_there_and_back(self, fake, shape, dtype):
        data = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        there = fake.upload(data)
        again = fake.duplicate(there)
        del there
        back = fake.download(again)
        assert back.dtype == data.dtype
        np.testing.assert_array_equal(back, data)

    def test_layouts(self, fake):
        data = np.arange(24.0).reshape(4, 6)
        for array in (data.T, data[::2, 1:], np.broadcast_to(data[0], (3, 6)), np.float32(3)):
            np.testing.assert_array_equal(fake.download(fake.upload(array)), array)

    def test_bfloat16(self, fake):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        data = np.arange(6).astype(ml_dtypes.bfloat16)
        there = fake.upload(data)
        assert is_bfloat16(there.dtype)
        np.testing.assert_array_equal(fake.download(there), data)
        owner = fake.adopt(address_of(there), (3, 2), data.dtype, there)
        assert is_bfloat16(owner.dtype)
        np.testing.assert_array_equal(fake.download(owner), data.reshape(3, 2))

    def test_dies_with_its_memory(self, fake):
        before = len(fake.memory.blocks)
        held = [new_array(fake, (n,), "f4") for n in range(10)]
        assert len(fake.memory.blocks) == before + 10
        held[3:] = []
        assert len(fake.memory.blocks) == before + 3

    def test_cannot_grow(self, fake):
        made = new_array(fake, (3,), "f8")
        with pytest.raises(MemoryError):
            made.resize(5, refcheck=False)

    def test_foreign_memory(self, fake):
        address = fake.allocate(48)
        owner = {1}  # anything
        header = fake.adopt(address, (2, 3), np.dtype("f8"), owner)
        assert isinstance(header.base.base, Foreign)
        assert fake.owns(header)
        assert address_of(header) == address
        assert sys.getrefcount(owner) == 3
        del header
        assert sys.getrefcount(owner) == 2
        fake.free(address)


class TestFailures:
    @pytest.mark.parametrize("dtype", ["f4", "c16"])
    def test_no_memory(self, fake, dtype):
        fake.memory.refuse["alloc"] = record.OUT_OF_MEMORY
        assert new_array(fake, (3,), dtype) is None
        assert error_word(fake) == record.OUT_OF_MEMORY
        with pytest.raises(DeviceMemoryError, match="not enough free memory"):
            fake.check()
        assert error_word(fake) == 0
        with pytest.raises(MemoryError):
            fake.empty((3,), np.dtype(dtype))

    @pytest.mark.parametrize("shape", [(-1,), (1 << 50,), (1 << 35, 1 << 35), (0, 1 << 60)])
    def test_no_such_shape(self, fake, shape):
        with pytest.raises(DeviceMemoryError):
            fake.empty(shape, np.dtype("f8"))

    def test_driver(self, fake):
        fake.memory.refuse["to_device"] = 700
        with pytest.raises(DriverError, match="cuMemcpyHtoDAsync_v2") as caught:
            fake.upload(np.ones(3))
        assert caught.value.code == 700

    def test_nothing_is_freed_twice(self, fake):
        fake.memory.refuse["set_bytes"] = 1
        from jitgraph.runtime.pyapi import LIBRARY

        types = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
        calloc = ctypes.PYFUNCTYPE(ctypes.c_void_p, *types)(LIBRARY.address("device_calloc"))
        before = set(fake.memory.blocks)
        assert calloc(fake.record, 4, 8) is None
        assert calloc(fake.record, 1 << 40, 1 << 40) is None
        assert set(fake.memory.blocks) == before
        with pytest.raises(DeviceError):
            fake.check()


class TestSpares:
    def test_reused_if_it_fits(self, fake):
        slots = Slots(new_array(fake, (2, 3), "f4"))
        for shape, dtype, same in (
            ((2, 3), "f4", True), ((3, 2), "f4", False), ((2, 3), "i4", False),
            ((6,), "f4", False),
        ):  # fmt: skip
            slots._cells[1] = new_array(fake, (2, 3), "f4")
            address = address_of(slots._cells[1])
            held = [new_array(fake, (2, 3), "f4") for _ in range(2)]
            made = take_spare("take_device_spare", slots, shape, dtype, fake.record)
            assert slots._cells[1] is None
            assert (made.shape, made.dtype, fake.owns(made)) == (shape, np.dtype(dtype), True)
            assert (address_of(made) == address) is same or not same
            del held

    def test_not_while_somebody_looks(self, fake):
        slots = Slots(new_array(fake, (2,), "f4"))
        seen = slots._cells[1] = new_array(fake, (2,), "f4")
        made = take_spare("take_device_spare", slots, (2,), "f4", fake.record)
        assert made is not seen

    def test_memory_elsewhere_is_not_reused(self, fake):
        """A shared variable may go from the host to a device and back, its spare stays behind."""
        other = FakeDevice("cuda:7")
        for spare in (np.zeros(4), other.empty((4,), np.dtype("f8"))):
            slots = Slots(np.zeros(4))
            slots._cells[1] = spare
            spare = None
            made = take_spare("take_device_spare", slots, (4,), "f8", fake.record)
            assert fake.owns(made)
        slots = Slots(np.zeros(4))
        slots._cells[1] = new_array(fake, (4,), "f8")
        assert not fake.owns(take_spare("take_spare", slots, (4,), "f8"))
        slots._cells[1] = np.zeros(4)
        address = address_of(slots._cells[1])
        assert address_of(take_spare("take_spare", slots, (4,), "f8")) == address

    def test_no_memory(self, fake):
        slots = Slots(np.zeros(4))
        fake.memory.refuse["alloc"] = record.OUT_OF_MEMORY
        assert take_spare("take_device_spare", slots, (2,), "f4", fake.record) is None
        with pytest.raises(DeviceMemoryError):
            fake.check()


class TestNames:
    def test_canonical(self):
        names = {"cuda": "cuda:0", "cuda:01": "cuda:1", "cuda:12": "cuda:12", "cpu": "cpu",
                 "simulated": "simulated"}  # fmt: skip
        assert {name: canonical(name) for name in names} == names

    @pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CPU", "", 3, None])
    def test_others(self, name):
        with pytest.raises(OptionError, match="device"):
            canonical(name)
        with pytest.raises(OptionError, match="device"):
            config.device = name

    def test_environment(self):
        code = "import jitgraph as jg; print(jg.config.device)"
        for name, want in (("cuda:1", "cuda:1"), ("nonsense", "JITGRAPH_DEVICE")):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True,
                env={"JITGRAPH_DEVICE": name, "PYTHONPATH": ":".join(sys.path)},
            )  # fmt: skip
            assert want in done.stdout + done.stderr


@pytest.fixture
def simulated():
    return devices.device("simulated")


def test_unknown_numpy(monkeypatch):
    from jitgraph.runtime import pyapi

    monkeypatch.setattr(pyapi, "BY_HAND", False)
    with pytest.raises(NoDeviceError, match="frees its arrays"):
        FakeDevice()


class TestSimulated:
    def test_one_for_all(self, simulated):
        assert devices.device("simulated") is simulated
        assert devices.device(simulated) is simulated
        assert devices.device("cpu") is None
        with config.override(device="simulated"):
            assert devices.device() is simulated
        assert devices.device() is None
        assert simulated.target.simulated

    def test_whereabouts(self, simulated):
        there = simulated.upload(np.zeros(100))
        host = np.zeros(3)
        assert simulated.whereabouts(address_of(there) + 799) == "simulated"
        assert simulated.whereabouts(address_of(host)) == "cpu"
        assert devices.device_of(there) is simulated
        with pytest.raises(DeviceError, match="on no device"):
            devices.device_of(host)

    def test_says_what_went_wrong(self, simulated):
        there = simulated.upload(np.zeros(4))
        host = np.zeros(100)
        with pytest.raises(DriverError, match=r"simulated: the host: copies .* 800 bytes"):
            simulated.fetch(address_of(host), address_of(there), host.nbytes)
        np.testing.assert_array_equal(simulated.download(there), np.zeros(4))

    def test_out_of_memory(self, simulated):
        from jitgraph.codegen.gpu import simulator

        simulator.set_limit(1 << 20)
        try:
            with pytest.raises(DeviceMemoryError, match="simulated has not enough free memory"):
                simulated.upload(np.zeros(1 << 20))
        finally:
            simulator.set_limit(None)
        assert simulated.download(simulated.upload(np.ones(3))).tolist() == [1, 1, 1]

    def test_marks(self, simulated):
        start = simulated.mark()
        assert simulated.seconds(start, simulated.mark()) >= 0


def test_threads(fake):
    """Arrays come and go in several threads at once."""
    wrong = []

    def work(number):
        for k in range(50):
            data = np.full(10 + k, number)
            if not np.array_equal(fake.download(fake.upload(data)), data):
                wrong.append((number, k))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("ending", ["", "raise SystemExit", "import os; os.fork()"])
def test_exit_with_live_arrays(ending):
    code = f"""
import builtins
import numpy as np, jitgraph as jg
builtins.kept = [jg.device_put(np.zeros(n), "simulated") for n in range(3)]
builtins.kept += [jg.device_put(x, "simulated/1") for x in kept] + [kept[2][1:]]
class Late:
    def __init__(self): self.array = jg.device_put(np.zeros(9), "simulated")
    def __del__(self): self.array = None
late = Late(); late.cycle = late
{ending}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
