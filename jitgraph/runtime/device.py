"""Devices other than the CPU: what all of them have.

A device's arrays are NumPy array objects whose data lies in its memory, *headers*, which nothing on
the host may look into; users hold them as `jitgraph.DeviceArray`. Native code gets at a device by
its record (`codegen.gpu.record`): the addresses of a driver's C functions, and what to call them
with.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np

from jitgraph.codegen.gpu import record
from jitgraph.codegen.gpu.memory import HANDLER
from jitgraph.codegen.gpu.target import DeviceTarget
from jitgraph.codegen.pyobjects import ARRAY_HANDLER, BFLOAT16
from jitgraph.codegen.signature import singleton
from jitgraph.errors import DeviceError, DeviceMemoryError, DriverError, NoDeviceError
from jitgraph.ir.types import is_bfloat16

if TYPE_CHECKING:
    from jitgraph.runtime.cublas import Library, Multiplier

Header: TypeAlias = np.ndarray[Any, Any]

#: The stream that other libraries work on, unless they say something else.
LEGACY_STREAM = 1

_C_TYPES = {"ptr": ctypes.c_void_p, "i64": ctypes.c_uint64, "i32": ctypes.c_uint32,
            "i8": ctypes.c_uint8}  # fmt: skip


class Kernels(Protocol):
    """A loaded module of kernels. It is unloaded when the object dies."""

    @property
    def handles(self) -> Mapping[str, int]:
        """What to launch, by name: a CUfunction."""


class Timer(Protocol):
    """Events that device programs have recorded, and the times between them."""

    @property
    def function(self) -> int:
        """The address of a C function (event, stream) that records one."""

    @property
    def handles(self) -> Sequence[int]:
        """The events."""

    def seconds(self, first: int, last: int) -> float:
        """From one event to another, by their numbers, once all work is done."""


class Device(ABC):
    """A device, with one stream of work and the memory that its arrays lie in.

    Work is done in the order in which it was asked for, while the host goes on; `wait` is for the
    end of it. Raises what `check` says when something fails.
    """

    #: Names and texts of CUresults that a user may meet, where the driver cannot be asked.
    _errors: ClassVar[dict[int, tuple[str, str]]] = {
        record.OUT_OF_MEMORY: ("CUDA_ERROR_OUT_OF_MEMORY", "out of memory"),
    }

    def __init__(
        self,
        name: str,
        target: DeviceTarget,
        functions: Mapping[str, int],
        *,
        context: int = 0,
        stream: int = 0,
    ) -> None:
        """`functions` are the addresses of those in `record.FUNCTIONS`."""
        from jitgraph.runtime.pyapi import BY_HAND, memory_handler

        if not BY_HAND:
            raise NoDeviceError(
                f"jitgraph does not know how NumPy {np.__version__} frees its arrays, which those "
                "of devices depend on",
                hint="install another version of NumPy, or a newer jitgraph",
            )
        self.name = name
        self.target = target
        self._preparing = threading.Lock()
        self._multiplier: Multiplier | None = None
        self._words = (ctypes.c_uint64 * len(record.WORDS))()
        # Arrays may be freed at the very end of the process.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._words))
        #: The address of the record.
        self.record = ctypes.addressof(self._words)
        self._handler = memory_handler(f"jitgraph_{name}", HANDLER, self.record)
        words = {
            **functions,
            "context": context,
            "stream": stream,
            "handler": self._handler,
            "sms": target.sms,
            "shared": target.shared_bytes,
        }
        for word, value in words.items():
            self._words[record.WORDS.index(word)] = value
        self._calls = {
            word: ctypes.CFUNCTYPE(ctypes.c_int, *map(_C_TYPES.__getitem__, parameters))(
                functions[word]
            )
            for word, parameters in record.PARAMETERS.items()
        }

    def __repr__(self) -> str:
        return f"<device {self.name}: {self.description}>"

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, for people."""

    @abstractmethod
    def load(
        self,
        image: bytes,
        names: Sequence[str],
        *,
        shared: Mapping[str, int] = MappingProxyType({}),
    ) -> Kernels:
        """Load a module with the kernels of these names. `shared` says how many bytes of dynamic
        shared memory kernels may be launched with that want more than `STATIC_SHARED`."""

    def require_shared(self, wanted: Mapping[str, int]) -> None:
        """Raise unless blocks may have so much shared memory, by the names of kernels."""
        for name, size in wanted.items():
            if size > self.target.shared_bytes:
                raise DeviceError(
                    f"{name} needs {size} bytes of shared memory for each block, of which "
                    f"{self.name} has {self.target.shared_bytes}",
                    hint="compute with shorter rows at a time, or on the CPU",
                )

    @abstractmethod
    def whereabouts(self, address: int) -> str:
        """The name of the device whose memory is at an address; "cpu" for the host's."""

    def follow(self, stream: int) -> None:
        """Let work that is asked for from now on come after what another stream has to do."""
        self.wait()

    def precede(self, stream: int) -> None:
        """Let work of another stream from now on come after what was asked for here."""
        self.wait()

    def mark(self) -> Any:
        """A point in the work, for `seconds`."""
        self.wait()
        return time.perf_counter()

    def seconds(self, start: Any, end: Any) -> float:
        """How long the work between two marks took."""
        taken: float = end - start
        return taken

    def timer(self, count: int) -> Timer | None:
        """So many events; None where a device has no clock."""
        return None

    # --- the library of matrix products ---------------------------------------------------------
    def _library(self) -> Library | None:
        """cuBLASLt, if it is there."""
        return None

    @cached_property
    def _found_library(self) -> Library | None:
        return self._library()

    @cached_property
    def has_library(self) -> bool:
        """Whether products are for cuBLASLt where nobody says who computes them: it is there, and
        the driver is new enough for it."""
        try:
            self.prepare_library()
        except DeviceError:
            return False
        return True

    def prepare_library(self) -> None:
        """Let generated code call cuBLASLt from now on. Raises DeviceError where there is none."""
        from jitgraph.runtime.cublas import OWN, Multiplier

        with self._preparing:
            if self._multiplier is not None:
                return
            if self._found_library is None:
                raise DeviceError(
                    "config.products is 'cublas', but there is no cuBLASLt",
                    hint=f"pip install nvidia-cublas; {OWN}",
                )
            self._multiplier = Multiplier(self, self._found_library)
            for word, value in self._multiplier.words.items():
                self._words[record.WORDS.index(word)] = value

    @property
    def stream(self) -> int:
        """The stream that all work goes to: a CUstream."""
        return self._words[record.WORDS.index("stream")]

    def call(self, function: str, *arguments: int) -> None:
        """Call a function of the record; raises if it fails."""
        if status := self.try_call(function, *arguments):
            self.fail(status, record.FUNCTIONS[function])

    def try_call(self, function: str, *arguments: int) -> int:
        """The same; gives the CUresult."""
        return int(self._calls[function](*arguments))

    def enter(self) -> None:
        """Make the device's context that of this thread."""
        self.call("enter", self._words[record.WORDS.index("context")])

    def check(self) -> None:
        """Raise what generated code has left in the record, once."""
        place = record.WORDS.index("error")
        status, self._words[place] = self._words[place], 0
        if status:
            self.fail(status)

    def note(self, status: int) -> None:
        """Leave an error for `check`."""
        self._words[record.WORDS.index("error")] = status

    def fail(self, status: int, what: str = "") -> None:
        """Raise the error that a CUresult, or a status of the library of products, means."""
        if status >= record.LIBRARY:
            from jitgraph.runtime.cublas import OWN, described

            name = described(status - record.LIBRARY)
            message = f"{self.name}: cuBLASLt cannot compute a matrix product ({name})"
            raise DriverError(message, code=status - record.LIBRARY, name=name, hint=OWN)
        name, text = self._error(status)
        where = f" ({what})" if what else ""
        if status == record.OUT_OF_MEMORY:
            raise DeviceMemoryError(
                f"{self.name} has not enough free memory{where}{self._room()}",
                hint="free arrays that are no longer needed, or compute with less at a time",
            )
        raise DriverError(f"{self.name}: {name}, {text}{where}", code=status, name=name)

    def _room(self) -> str:
        """What is to be said of the memory that is left."""
        return ""

    def _error(self, status: int) -> tuple[str, str]:
        return self._errors.get(status, (f"error {status}", "the driver says no more"))

    def allocate(self, size: int) -> int:
        """The address of memory on the device, for `free`."""
        self.enter()
        cell = ctypes.c_void_p()
        self.call("alloc", ctypes.addressof(cell), max(size, 1), self.stream)
        return cell.value or 0

    def free(self, address: int) -> None:
        """Give memory back, once all work asked for so far is done."""
        self.call("free", address, self.stream)

    def wait(self) -> None:
        """Until all work that was asked for is done. Raises what went wrong with it."""
        self.check()
        self.enter()
        self.call("wait", self.stream)

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Header:
        """A new header, of memory with anything in it, in C order."""
        from jitgraph.runtime.pyapi import LIBRARY, know_bfloat16, new_reference

        dtype = singleton(dtype)
        if is_bfloat16(dtype):
            know_bfloat16(dtype)
        number = BFLOAT16 if is_bfloat16(dtype) else dtype.num
        dims = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        self.enter()
        make = ctypes.PYFUNCTYPE(
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p
        )(LIBRARY.address("new_device_array"))
        made = make(self.record, number, len(shape), ctypes.addressof(dims))
        if made is None:
            self.check()
            raise MemoryError
        header: Header = new_reference(made)
        return header

    def upload(self, array: np.ndarray[Any, Any]) -> Header:
        """A copy of a host's array on the device. The array may be written to afterwards."""
        array = np.ascontiguousarray(array).reshape(array.shape)
        header = self.empty(array.shape, array.dtype)
        if array.nbytes:
            self.send(address_of(header), address_of(array), array.nbytes)
        return header

    def download(self, header: Header) -> np.ndarray[Any, Any]:
        """A copy of a device's array on the host."""
        array = np.empty(header.shape, header.dtype)
        if array.nbytes:
            self.fetch(address_of(array), address_of(header), array.nbytes)
        return array

    def duplicate(self, header: Header) -> Header:
        """A copy of a device's array on the same device."""
        made = self.empty(header.shape, header.dtype)
        if made.nbytes:
            self.call("copy", address_of(made), address_of(header), made.nbytes, self.stream)
        return made

    def send(self, to: int, source: int, size: int) -> None:
        """Copy memory of the host to the device; the host's has been read on return."""
        self.enter()
        self.call("to_device", to, source, size, self.stream)

    def fetch(self, to: int, source: int, size: int) -> None:
        """Copy memory of the device to the host, where it is on return."""
        self.enter()
        self.call("to_host", to, source, size, self.stream)
        self.wait()

    def owns(self, array: Header) -> bool:
        """Whether this is a header of the device's."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        if isinstance(array.base, Foreign):
            return array.base.device is self
        handler = ctypes.c_void_p.from_address(id(array) + ARRAY_HANDLER).value
        return array.base is None and handler == self._handler

    def adopt(
        self, address: int, shape: Sequence[int], dtype: np.dtype[Any], owner: object
    ) -> Header:
        """A header of memory on the device that belongs to somebody else, in C order; it keeps
        `owner` alive."""
        return Foreign(self, address, tuple(shape), dtype, owner).array()


class Memory:
    """Memory that belongs to another library, as the base of an array object."""

    __slots__ = ("__array_interface__", "dtype", "owner")

    def __init__(
        self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any], owner: object,
        strides: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        self.dtype, self.owner = dtype, owner
        kind = f"|V{dtype.itemsize}" if is_bfloat16(dtype) else dtype.str
        self.__array_interface__ = {
            "version": 3, "shape": shape, "typestr": kind, "data": (address, False),
            "strides": strides,
        }  # fmt: skip

    def array(self) -> Header:
        """The array object."""
        return np.asarray(self).view(singleton(self.dtype))


class Foreign(Memory):
    """Such memory on a device."""

    __slots__ = ("device",)

    def __init__(self, device: Device, *described: Any) -> None:
        super().__init__(*described)
        self.device = device

    def __del__(self) -> None:
        # Its owner may write to it now, or give it to others, on its own stream.
        with contextlib.suppress(DeviceError):
            self.device.precede(LEGACY_STREAM)


def address_of(array: np.ndarray[Any, Any]) -> int:
    """Where an array's data lies."""
    address: int = array.__array_interface__["data"][0]
    return address
