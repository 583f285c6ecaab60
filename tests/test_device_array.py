"""Arrays on devices as users and other libraries see them."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DeviceError, DTypeError, InputError, OptionError
from jitgraph.runtime import devices, dlpack
from jitgraph.runtime.device import address_of
from tests.runtime.fake_device import FakeDevice

DTYPES = ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16"]
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def sample(shape, dtype):
    return np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)


@pytest.fixture
def gpu(monkeypatch):
    """A device that says it is a GPU; with another one beside it."""
    made = {name: FakeDevice(name) for name in ("cuda:0", "cuda:1")}
    made["cuda:1"].memory.blocks = made["cuda:0"].memory.blocks  # one address space

    def whereabouts(address):
        for start, block in made["cuda:0"].memory.blocks.items():
            if start <= address < start + len(block):
                return getattr(block, "device", "cuda:0")
        return "cpu"

    for device in made.values():
        monkeypatch.setattr(device, "whereabouts", whereabouts)
    monkeypatch.setattr(devices, "_found", made)
    before = len(made["cuda:0"].memory.blocks)
    yield made["cuda:0"]
    gc.collect()
    assert len(made["cuda:0"].memory.blocks) == before
    assert not dlpack._exported


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The first array of all compiles the runtime library."""
    jg.device_put(1, "simulated")


class TestArray:
    @given(SHAPES, st.sampled_from(DTYPES))
    def test_is_what_was_put(self, shape, dtype):
        data = sample(shape, dtype)
        x = jg.device_put(data, "simulated")
        assert type(x) is jg.DeviceArray
        assert (x.shape, x.dtype, x.ndim, x.size) == (shape, data.dtype, data.ndim, data.size)
        assert (x.nbytes, x.itemsize) == (data.nbytes, data.itemsize)
        for back in (np.asarray(x), x.get(), x.to_host(), x.copy().get(), np.from_dlpack(x),
                     pickle.loads(pickle.dumps(x)).get(), copy.deepcopy(x).get()):  # fmt: skip
            assert back.dtype == data.dtype
            np.testing.assert_array_equal(back, data)
        assert x.tolist() == data.tolist()
        assert jg.device_put(x, "simulated") is x

    def test_numbers(self):
        x = jg.device_put(np.float32(2.5), "simulated")
        assert (float(x), int(x), complex(x), bool(x), x.item()) == (2.5, 2, 2.5, True, 2.5)
        n = jg.device_put(3, "simulated")
        assert [10, 11, 12, 13][n] == 13
        with pytest.raises(TypeError):
            [1].__getitem__(x)
        with pytest.raises(TypeError, match="unsized"):
            len(x)
        with pytest.raises(ValueError, match="ambiguous"):
            bool(jg.device_put([1, 2], "simulated"))

    def test_without_axes_is_a_number(self):
        """As a loss is in a training loop."""
        x, n = jg.device_put(np.float32(2.5), "simulated"), jg.device_put(7, "simulated")
        assert (x + 1, 1 - x, -x, x * n, n % 4, 2**n) == (3.5, -1.5, -2.5, 17.5, 3, 128)
        assert (x < 3, x >= n, x == 2.5, min(x, n) is x) == (True, False, True, True)
        assert type(x + 1) is np.float32
        assert divmod(n, 4) == (1, 3)
        total = np.zeros(2)
        total += x
        x += n
        assert (total.tolist(), x, np.isnan(x)) == ([2.5, 2.5], 9.5, False)

    def test_with_variables(self):
        """An array of a device is a constant of an expression, on either side."""
        x, v = jg.device_put([1.0, 2.0], "simulated"), T.dvector("v")
        for result in (x * v, v * x, np.multiply(x, v), np.multiply(v, x)):
            assert result.eval({v: [3, 4]}).tolist() == [3, 8]
        assert (x @ v).eval({v: [3, 4]}) == 11

    def test_sequence(self):
        x = jg.device_put([[1, 2], [3, 4], [5, 6]], "simulated")
        assert len(x) == 3
        assert [row.tolist() for row in x] == [[1, 2], [3, 4], [5, 6]]

    def test_conversion(self):
        x = jg.device_put([1, 2], "simulated")
        assert np.asarray(x, "f4").dtype == np.float32
        with pytest.raises(ValueError, match="without a copy"):
            np.asarray(x, copy=False)

    def test_text(self):
        x = jg.device_put(np.float32([1, 2.5]), "simulated")
        assert repr(x) == "DeviceArray([1. , 2.5], dtype=float32, device='simulated')"
        assert (str(x), f"{x}") == ("[1.  2.5]", "[1.  2.5]")
        assert f"{jg.device_put(2.5, 'simulated'):.3f}" == "2.500"
        assert x._repr_html_().startswith("<pre>DeviceArray([1. ,")
        empty = jg.device_put(np.zeros((0, 3)), "simulated")
        assert "shape=(0, 3)" in repr(empty)
        large = jg.device_put(np.zeros(1 << 18), "simulated")
        assert repr(large) == "DeviceArray(shape=(262144,), dtype=float64, device='simulated')"

    def test_memory_goes_with_it(self):
        from jitgraph.codegen.gpu import simulator

        gc.collect()
        before = len(simulator.live_allocations())
        held = [jg.device_put(np.zeros(n), "simulated") for n in range(5)]
        assert len(simulator.live_allocations()) == before + 5
        held.clear()
        assert len(simulator.live_allocations()) == before

    def test_changed_source(self):
        data = np.zeros(4)
        x = jg.device_put(data, "simulated")
        data[:] = 1
        assert x.tolist() == [0] * 4
        x.get()[:] = 5
        assert x.tolist() == [0] * 4

    def test_bfloat16(self):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        data = np.arange(4).astype(ml_dtypes.bfloat16)
        x = jg.device_put(data, "simulated")
        assert x.get().tolist() == data.tolist()
        again = jg.from_dlpack(x.copy(), "simulated")
        assert again.dtype == data.dtype

    def test_to_the_host(self):
        x = jg.device_put([1.0], "simulated")
        for back in (jg.device_put(x, "cpu"), jg.device_put(x), jg.device_put([1.0])):
            assert type(back) is np.ndarray
            assert back.tolist() == [1.0]

    @pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.zeros(1, "M8[s]")])
    def test_unsupported(self, value):
        with pytest.raises(DTypeError, match="dtype"):
            jg.device_put(value, "simulated")

    def test_foreign_order(self):
        assert jg.device_put(np.arange(3, dtype=">i4"), "simulated").tolist() == [0, 1, 2]

    def test_names(self):
        names = jg.devices()
        assert (names[0], names[-1]) == ("cpu", "simulated")
        with pytest.raises(OptionError, match="tpu"):
            jg.device_put([1.0], "tpu")


class TestRefusals:
    @pytest.mark.parametrize(
        "compute",
        [
            lambda x: x + 1, lambda x: 1 - x, lambda x: x @ x, lambda x: -x, lambda x: x == x,
            lambda x: x < 1, lambda x: abs(x), lambda x: x[0], lambda x: np.sin(x),
            lambda x: np.ones(3) * x, lambda x: divmod(x, 2), lambda x: 2**x, lambda x: hash(x),
            lambda x: np.sum(x), lambda x: jg.device_put(2.0, "simulated") * x,
            lambda x: np.add(1, 2, out=jg.device_put(2.0, "simulated")),
        ],
    )  # fmt: skip
    def test_computes_nothing(self, compute):
        x = jg.device_put([1.0, 2.0, 3.0], "simulated")
        with pytest.raises(TypeError) as caught:
            compute(x)
        assert "unhashable" in str(caught.value) or "jitgraph.jit(device=" in str(caught.value)

    def test_says_what_was_asked_of_what(self):
        x = jg.device_put(np.zeros((2, 3), "f4"), "simulated")
        with pytest.raises(InputError, match=r"np\.add .*f32\[2, 3\] on simulated") as caught:
            x + 1
        assert "x + 1" in str(caught.value)
        with pytest.raises(AttributeError, match=r"'reshape'\n.*jitgraph\.jit\(device="):
            x.reshape(3, 2)
        with pytest.raises(AttributeError, match=r"'colour'$"):
            x.colour  # noqa: B018
        with pytest.raises(TypeError, match="unsupported operand"):
            x + None
        assert (x == None) is False  # noqa: E711

    def test_never_changes(self):
        x = jg.device_put([1.0, 2.0, 3.0], "simulated")
        with pytest.raises(InputError, match="never change"):
            x[0] = 1
        with pytest.raises(TypeError):
            x += 1
        with pytest.raises(AttributeError):
            x.colour = "red"


class Foreign:
    """Another library's array on a device, which says what it is told to say."""

    def __init__(self, device, data, /, **interface):
        self.header = device.upload(data)
        self.said = {
            "version": 3, "shape": data.shape, "typestr": data.dtype.str, "strides": None,
            "data": (address_of(self.header), False), "stream": None, **interface,
        }  # fmt: skip

    @property
    def __cuda_array_interface__(self):
        return self.said


class Exchanged:
    """One that speaks DLPack."""

    def __init__(self, device, data, kind=dlpack.CUDA, number=0):
        self.header = device.upload(data)
        self.kind, self.number, self.asked, self.shape = kind, number, [], data.shape

    def __dlpack_device__(self):
        return self.kind, self.number

    def __dlpack__(self, **options):
        self.asked.append(options)
        return dlpack.exported(
            address_of(self.header), self.shape, self.header.dtype, (self.kind, self.number), self,
            options.get("max_version"),
        )  # fmt: skip


class TestForeign:
    @pytest.mark.parametrize("kind", [Foreign, Exchanged])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_comes_without_a_copy(self, gpu, kind, dtype):
        data = sample((2, 3), dtype)
        other = kind(gpu, data)
        address = address_of(other.header)
        x = jg.from_dlpack(other)
        del other
        gc.collect()
        assert address_of(x._header) == address
        assert (x.device, x.dtype) == (gpu, data.dtype)
        np.testing.assert_array_equal(x.get(), data)
        assert jg.device_put(x, "cuda") is x

    def test_is_the_device_it_says(self, gpu):
        other = Exchanged(devices.device("cuda:1"), np.arange(3), number=1)
        x = jg.from_dlpack(other)
        assert x.device is devices.device("cuda:1")
        moved = jg.device_put(x, "cuda")
        assert moved.device is gpu
        assert moved.tolist() == [0, 1, 2]

    def test_streams(self, gpu, monkeypatch):
        followed, preceded = [], []
        monkeypatch.setattr(gpu, "follow", followed.append)
        monkeypatch.setattr(gpu, "precede", preceded.append)
        for stream, want in ((None, []), (1, [1]), (77, [77])):
            x = jg.device_put(Foreign(gpu, np.zeros(2), stream=stream), "cuda")
            assert followed == want
            followed.clear()
        del x
        assert preceded == [1, 1, 1]  # the memory goes back after our work
        other = Exchanged(gpu, np.zeros(2))
        jg.from_dlpack(other)
        assert other.asked[0]["stream"] == gpu.stream
        x = jg.device_put(np.zeros(2), "cuda")
        for stream, want in ((None, [1]), (-1, []), (5, [5])):
            preceded.clear()
            x.__dlpack__(stream=stream)
            assert preceded == want
        assert x.__cuda_array_interface__["stream"] == gpu.stream

    def test_misaligned_is_copied(self, gpu):
        other = Foreign(gpu, np.arange(8.0))
        address = address_of(other.header)
        other.said |= {"data": (address + 8, False), "shape": (7,)}
        x = jg.device_put(other, "cuda")
        assert address_of(x._header) not in range(address, address + 64)
        assert x.tolist() == [1, 2, 3, 4, 5, 6, 7]

    @pytest.mark.parametrize(
        ("said", "error", "match"),
        [
            ({"strides": (8, 16)}, DeviceError, "C order"),
            ({"strides": (-24, 8)}, DeviceError, "C order"),
            ({"typestr": ">f8"}, DTypeError, "convert it"),
            ({"typestr": "|O8"}, DTypeError, "convert it"),
            ({"mask": object()}, DTypeError, "masked"),
        ],
    )
    def test_refused(self, gpu, said, error, match):
        with pytest.raises(error, match=match):
            jg.device_put(Foreign(gpu, np.zeros((2, 3)), **said), "cuda")

    @pytest.mark.parametrize("strides", [(24, 8), None])
    def test_c_order(self, gpu, strides):
        assert jg.device_put(Foreign(gpu, np.ones((2, 3)), strides=strides), "cuda").ndim == 2
        row = Foreign(gpu, np.ones((1, 3)), strides=(999, 8))
        assert jg.device_put(row, "cuda").shape == (1, 3)
        nothing = Foreign(gpu, np.ones((0, 3)), strides=(1, 1), data=(0, False))
        assert jg.device_put(nothing, "cuda").shape == (0, 3)

    def test_host_pointer(self, gpu):
        data = np.zeros(3)
        other = Foreign(gpu, data, data=(address_of(data), False))
        with pytest.raises(DeviceError, match="memory of the host"):
            jg.device_put(other, "cuda")

    def test_other_kinds(self, gpu):
        other = Exchanged(gpu, np.zeros(3), kind=10)
        with pytest.raises(DeviceError, match="type 10"):
            jg.from_dlpack(other)

    def test_gradients(self, gpu):
        class Tensor(Exchanged):
            def __dlpack__(self, **options):
                raise BufferError("Can't export tensors that require gradient")

            @property
            def __cuda_array_interface__(self):
                raise RuntimeError("on Variable that requires grad")

        class Silent:
            __cuda_array_interface__ = Tensor.__cuda_array_interface__

        for array in (Tensor(gpu, np.zeros(3)), Silent()):
            with pytest.raises(DeviceError, match=r"detach"):
                jg.from_dlpack(array)

    def test_no_array(self):
        with pytest.raises(InputError, match="list"):
            jg.from_dlpack([1, 2])

    def test_arrays_of_the_host(self):
        data = np.arange(12.0).reshape(3, 4)
        for array in (data, data.T, data[::2, ::-1], data[:0]):
            x = jg.from_dlpack(array, "simulated")
            np.testing.assert_array_equal(x.get(), array)
        assert type(jg.from_dlpack(data)) is np.ndarray


class TestLent:
    @pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (2, 3)])
    def test_round_trip(self, gpu, version):
        data = sample((2, 0, 3), "f4"), sample((2, 3), "c16"), sample((), "?")
        for array in data:
            x = jg.device_put(array, "cuda")
            capsule = x.__dlpack__(max_version=version)
            assert ("versioned" in repr(capsule)) == (version is not None and version >= (1, 0))
            found = dlpack.imported(capsule)
            assert (found.address, found.shape, found.dtype, found.device) == (
                address_of(x._header), array.shape, array.dtype, (dlpack.CUDA, 0),
            )  # fmt: skip
            assert len(dlpack._exported) == 1
            del found
            assert not dlpack._exported

    def test_outlives_its_array(self, gpu):
        x = jg.device_put(np.arange(3), "cuda")
        address = address_of(x._header)
        found = dlpack.imported(x.__dlpack__())
        del x
        gc.collect()
        assert address in gpu.memory.blocks
        del found
        assert address not in gpu.memory.blocks

    def test_nobody_takes_it(self, gpu):
        jg.device_put(np.arange(3), "cuda").__dlpack__()
        assert not dlpack._exported

    def test_a_capsule_is_used_once(self, gpu):
        capsule = jg.device_put(np.arange(3), "cuda").__dlpack__()
        dlpack.imported(capsule)
        with pytest.raises(ValueError, match="incorrect name"):
            dlpack.imported(capsule)

    def test_elsewhere(self, gpu):
        x = jg.device_put(np.arange(3), "cuda")
        assert x.__dlpack_device__() == (2, 0)
        assert dlpack.imported(x.__dlpack__(dl_device=(1, 0))).device == (1, 0)
        assert np.from_dlpack(x, device="cpu").tolist() == [0, 1, 2]
        for options in ({"dl_device": (2, 1)}, {"dl_device": (1, 0), "copy": False}):
            with pytest.raises(BufferError):
                x.__dlpack__(**options)
        copied = dlpack.imported(x.__dlpack__(copy=True))
        assert copied.address != address_of(x._header)

    def test_interface(self, gpu):
        x = jg.device_put(sample((2, 3), "f4"), "cuda")
        said = x.__cuda_array_interface__
        assert said["data"] == (address_of(x._header), False)
        assert (said["shape"], said["typestr"], said["version"]) == ((2, 3), "<f4", 3)
        assert jg.device_put(np.zeros((0, 2)), "cuda").__cuda_array_interface__["data"][0] == 0
        assert not hasattr(jg.device_put([1.0], "simulated"), "__cuda_array_interface__")

    def test_lanes(self, gpu):
        capsule = jg.device_put(sample((2,), "f4"), "cuda").__dlpack__()
        place = dlpack._pointer(id(capsule), b"dltensor")
        dlpack._Plain.from_address(place).tensor.lanes = 4
        with pytest.raises(DTypeError, match="4 lanes"):
            dlpack.imported(capsule)


def test_import_stays_light():
    code = (
        "import jitgraph, sys; print([m for m in sys.modules if 'llvm' in m or '.gpu' in m"
        " or m in ('jitgraph.runtime.devices', 'jitgraph.runtime.cuda', 'scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    assert ctypes.sizeof(dlpack._Tensor) == 48
