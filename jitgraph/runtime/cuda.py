"""NVIDIA GPUs, by the driver's C functions, which `cuda.bindings` (cuda-python) finds and wraps.

What is done once goes through the wrappers; what is done in every call through the addresses in the
device's record. The driver's own pool serves the memory, in the order of one stream. The context is
the primary one, which torch, JAX and CuPy use as well, so their arrays are good here.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jitgraph.codegen.gpu import record
from jitgraph.codegen.gpu.target import DeviceTarget, Version, device_target
from jitgraph.errors import DeviceError, DriverError, NoDeviceError
from jitgraph.runtime.device import Device, Kernels, Timer

if TYPE_CHECKING:
    from jitgraph.runtime.cublas import Library

#: The version of the driver's interface that functions are asked for by.
_INTERFACE = 12000
_NO_DEVICE, _NOT_INITIALISED = 100, 3
_HOST_MEMORY = 1
#: After these the context is lost: every later call gives the same error.
_STICKY = {214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999}
_HINTS = {
    _NOT_INITIALISED: "a process that was forked after its parent used the GPU cannot use it: start"
    ' processes by "spawn" (multiprocessing.set_start_method)',
    218: "the driver rejects code that jitgraph generated: please report it",
    221: "the driver's compiler is missing (libnvidia-ptxjitcompiler): install the whole driver, or"
    " let the container see it",
    701: "a kernel needs more registers or shared memory than a block can have: please report it,"
    " and compute with shorter rows or fewer results at a time",
    222: "install a newer driver (nvidia-smi shows which one is there)",
}
_LOST = (
    "this process cannot use the device any more, and what lies on it is lost; a new process can"
)
_LOG_BYTES = 16 << 10
#: Page-locked memory for transfers: so many pieces of so many bytes. Shorter transfers to the host
#: go without, as they are waited for anyway.
_PIECES, _CHUNK = 8, 2 << 20
_DIRECT = 1 << 20


class CudaDevice(Device):
    """A GPU. Raises NoDeviceError where there is none with that number, no driver, no package."""

    def __init__(self, ordinal: int, driver: Any = None) -> None:
        self.name = f"cuda:{ordinal}"
        self.driver = driver = _bindings() if driver is None else driver
        _initialise(driver)
        self._gpu = self._found(ordinal)
        self.driver_version = _version(self.ask("cuDriverGetVersion"))
        target = self._target()
        context = int(self.ask("cuDevicePrimaryCtxRetain", self._gpu))
        self.ask("cuCtxSetCurrent", context)
        not_blocking = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = int(self.ask("cuStreamCreate", not_blocking))
        self._keep_memory()
        functions = {word: self._address(name) for word, name in record.FUNCTIONS.items()}
        super().__init__(self.name, target, functions, context=context, stream=stream)
        self.ordinal = ordinal
        self._staging = _Staging(self)

    @property
    def description(self) -> str:
        name: bytes = self.ask("cuDeviceGetName", 128, self._gpu)
        version = ".".join(map(str, self.driver_version))
        text = name.split(b"\0")[0].decode()
        return f"{text}, {self.target.cpu}, driver of CUDA {version}"

    def ask(self, function: str, *arguments: Any) -> Any:
        """Call a function of the driver by its wrapper; what it gives beside the status."""
        status, *results = getattr(self.driver, function)(*arguments)
        if int(status):
            self.fail(int(status), function)
        return results[0] if len(results) == 1 else tuple(results)

    def _found(self, ordinal: int) -> Any:
        count = int(self.ask("cuDeviceGetCount"))
        if not count:
            raise NoDeviceError(_no_gpu(), hint=_visible())
        if ordinal >= count:
            some = "one GPU, cuda:0" if count == 1 else f"{count} GPUs, cuda:0 to cuda:{count - 1}"
            message = f"there is no {self.name}: the driver finds {some}"
            raise NoDeviceError(message, hint=_visible())
        return self.ask("cuDeviceGet", ordinal)

    def _attribute(self, name: str) -> int:
        attribute = getattr(self.driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.ask("cuDeviceGetAttribute", attribute, self._gpu))

    def _target(self) -> DeviceTarget:
        if not self._attribute("MEMORY_POOLS_SUPPORTED"):
            raise NoDeviceError(f"{self.name} has no memory pools, which jitgraph needs")
        parts = ("COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR")
        return device_target(
            "sm_" + "".join(str(self._attribute(part)) for part in parts),
            cuda=self.driver_version,
            sms=self._attribute("MULTIPROCESSOR_COUNT"),
            shared_bytes=self._attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
        )

    def _keep_memory(self) -> None:
        """Let the pool keep what is freed for the allocations to come."""
        pool = self.ask("cuDeviceGetDefaultMemPool", self._gpu)
        threshold = self.driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        everything = self.driver.cuuint64_t(2**64 - 1)
        self.ask("cuMemPoolSetAttribute", pool, threshold, everything)

    def _address(self, name: str) -> int:
        """The address of a function of the driver."""
        legacy = self.driver.CUdriverProcAddress_flags.CU_GET_PROC_ADDRESS_LEGACY_STREAM
        symbol = name.removesuffix("_v2").encode()
        address, _ = self.ask("cuGetProcAddress", symbol, _INTERFACE, int(legacy))
        if not address:
            raise NoDeviceError(f"the NVIDIA driver has no {name}", hint=_HINTS[222])
        return int(address)

    def fail(self, status: int, what: str = "") -> None:
        if status != record.OUT_OF_MEMORY and status < record.LIBRARY:
            name, text = self._error(status)
            sticky = status in _STICKY
            message = f"{self.name}: {name}, {text}" + (f" ({what})" if what else "")
            hint = _LOST if sticky else _HINTS.get(status, "")
            raise DriverError(message, code=status, name=name, sticky=sticky, hint=hint)
        super().fail(status, what)

    def _error(self, status: int) -> tuple[str, str]:
        return _described(self.driver, status)

    def _room(self) -> str:
        failed, free, total = self.driver.cuMemGetInfo()
        return "" if int(failed) else f": {free:,} bytes of {total:,} are free"

    def load(
        self,
        image: bytes,
        names: Sequence[str],
        *,
        shared: Mapping[str, int] = MappingProxyType({}),
    ) -> Kernels:
        self.require_shared(shared)
        self.enter()
        options = self.driver.CUjit_option
        log = bytearray(_LOG_BYTES)
        keys = [options.CU_JIT_ERROR_LOG_BUFFER, options.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
        given = (image + b"\0", len(keys), keys, [log, len(log)])
        status, module = self.driver.cuModuleLoadDataEx(*given)
        if int(status):
            said = bytes(log).split(b"\0")[0].decode(errors="replace").strip()
            self.fail(int(status), f"cuModuleLoadDataEx{': ' if said else ''}{said}")
        loaded = _Module(self, module)
        for name in names:
            loaded.handles[name] = int(self.ask("cuModuleGetFunction", module, name.encode()))
        dynamic = self.driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        for name, size in shared.items():
            self.ask("cuFuncSetAttribute", loaded.handles[name], dynamic, size)
        return loaded

    def _library(self) -> Library | None:
        from jitgraph.runtime.cublas import installed

        return installed()

    def unload(self, module: Any) -> None:
        """Forget a module, once nothing of it runs any more."""
        self.enter()
        self.wait()
        self.ask("cuModuleUnload", module)

    def mark(self) -> _Event:
        self.enter()
        return _Event(self, self.stream, self.driver.CUevent_flags.CU_EVENT_DEFAULT)

    def seconds(self, start: _Event, end: _Event) -> float:
        end.wait()
        return float(self.ask("cuEventElapsedTime", start.handle, end.handle)) / 1e3

    def timer(self, count: int) -> Timer:
        self.enter()
        return _Timer(self, count, self._address("cuEventRecord"))

    def follow(self, stream: int) -> None:
        self._order(stream, self.stream)

    def precede(self, stream: int) -> None:
        self._order(self.stream, stream)

    def _order(self, first: int, second: int) -> None:
        self.enter()
        event = _Event(self, first, self.driver.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        self.ask("cuStreamWaitEvent", second, event.handle, 0)

    def done(self) -> _Event:
        """A point in the work, to be waited for."""
        return _Event(self, self.stream, self.driver.CUevent_flags.CU_EVENT_DISABLE_TIMING)

    def whereabouts(self, address: int) -> str:
        self.enter()
        attributes = self.driver.CUpointer_attribute
        ask = self.driver.cuPointerGetAttribute
        status, kind = ask(attributes.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address)
        if int(status) or int(kind) == _HOST_MEMORY:
            return "cpu"
        status, ordinal = ask(attributes.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address)
        return "cpu" if int(status) else f"cuda:{int(ordinal)}"

    def send(self, to: int, source: int, size: int) -> None:
        # The driver might still read pageable memory after its function returned.
        self._staging.send(to, source, size)

    def fetch(self, to: int, source: int, size: int) -> None:
        if size < _DIRECT:
            super().fetch(to, source, size)
        else:
            self.check()
            self._staging.fetch(to, source, size)


class _Event:
    """A point in the work of a stream: when all that was asked for so far is done."""

    __slots__ = ("_device", "handle")

    def __init__(self, device: CudaDevice, stream: int, flags: Any) -> None:
        self._device = device
        self.handle = device.ask("cuEventCreate", flags)
        device.ask("cuEventRecord", self.handle, stream)

    def wait(self) -> None:
        """Until then."""
        self._device.ask("cuEventSynchronize", self.handle)

    def __del__(self) -> None:
        # The driver keeps it for as long as something waits for it.
        if hasattr(self, "handle"):
            self._device.driver.cuEventDestroy(self.handle)


class _Timer:
    """Events for programs to record."""

    def __init__(self, device: CudaDevice, count: int, function: int) -> None:
        self.function = function
        self._device = device
        flags = device.driver.CUevent_flags.CU_EVENT_DEFAULT
        self._events = [device.ask("cuEventCreate", flags) for _ in range(count)]

    @property
    def handles(self) -> list[int]:
        return [int(event) for event in self._events]

    def seconds(self, first: int, last: int) -> float:
        found = self._device.ask("cuEventElapsedTime", self._events[first], self._events[last])
        return float(found) / 1e3

    def __del__(self) -> None:
        for event in getattr(self, "_events", ()):
            self._device.driver.cuEventDestroy(event)


class _Module:
    """A loaded module."""

    def __init__(self, device: CudaDevice, module: Any) -> None:
        self.handles: dict[str, int] = {}
        weakref.finalize(self, _unload, device, module).atexit = False


def _unload(device: CudaDevice, module: Any) -> None:
    try:
        device.unload(module)
    except DeviceError:  # whoever works on the device will be told
        return


class _Staging:
    """Pieces of page-locked memory through which transfers go in chunks: while the device moves
    some, the host fills or empties others."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._pieces: list[int] = []
        #: When each was last moved.
        self._moved: list[_Event | None] = [None] * _PIECES
        self._next = 0

    def send(self, to: int, source: int, size: int) -> None:
        """Copy to the device; the source has been read on return."""
        with self._lock:
            self._device.enter()
            for at, length in _chunks(size):
                k = self._free()
                ctypes.memmove(self._pieces[k], source + at, length)
                self._move("to_device", to + at, self._pieces[k], length, k)

    def fetch(self, to: int, source: int, size: int) -> None:
        """Copy to the host, where all has arrived on return."""
        with self._lock:
            self._device.enter()
            waiting: list[tuple[int, int, int]] = []
            for at, length in _chunks(size):
                k = self._free()
                self._move("to_host", self._pieces[k], source + at, length, k)
                waiting.append((k, to + at, length))
                if len(waiting) == _PIECES:
                    self._empty(*waiting.pop(0))
            for chunk in waiting:
                self._empty(*chunk)

    def _free(self) -> int:
        """A piece that nothing is moved to or from any more."""
        k = self._next
        if k == len(self._pieces):
            self._pieces.append(int(self._device.ask("cuMemHostAlloc", _CHUNK, 0)))
        self._finish(k)
        self._next = (k + 1) % _PIECES
        return k

    def _move(self, function: str, to: int, source: int, size: int, k: int) -> None:
        self._device.call(function, to, source, size, self._device.stream)
        self._moved[k] = self._device.done()

    def _finish(self, k: int) -> None:
        event, self._moved[k] = self._moved[k], None
        if event is not None:
            event.wait()

    def _empty(self, k: int, to: int, length: int) -> None:
        self._finish(k)
        ctypes.memmove(to, self._pieces[k], length)


def _chunks(size: int) -> Iterator[tuple[int, int]]:
    """The offset and the length of each chunk of a transfer."""
    for at in range(0, size, _CHUNK):
        yield at, min(_CHUNK, size - at)


def count(driver: Any = None) -> int:
    """How many GPUs there are to be had; 0 also where the driver or the package is missing."""
    try:
        driver = _bindings() if driver is None else driver
        _initialise(driver)
    except NoDeviceError:
        return 0
    status, number = driver.cuDeviceGetCount()
    return 0 if int(status) else int(number)


def _bindings() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise NoDeviceError(
            "a GPU needs the package cuda-bindings, which is not installed",
            hint='pip install "jitgraph[cuda]"',
        ) from error
    return driver


def _initialise(driver: Any) -> None:
    try:
        status = int(driver.cuInit(0)[0])
    except RuntimeError as error:  # of cuda.bindings: libcuda cannot be loaded
        raise NoDeviceError(
            "there is no NVIDIA driver on this machine (libcuda cannot be loaded)",
            hint="install NVIDIA's driver; a container must be started with access to the GPU"
            " (docker run --gpus all)",
        ) from error
    if status == _NO_DEVICE:
        raise NoDeviceError(_no_gpu(), hint=_visible())
    if status:
        name, text = _described(driver, status)
        hint = _HINTS.get(status, "nvidia-smi tells more")
        raise NoDeviceError(f"the NVIDIA driver does not start: {name}, {text}", hint=hint)


def _no_gpu() -> str:
    return "the NVIDIA driver finds no GPU"


def _visible() -> str:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if chosen is None else f"CUDA_VISIBLE_DEVICES={chosen!r} hides others"


def _version(number: int) -> Version:
    return number // 1000, number % 1000 // 10


def _described(driver: Any, status: int) -> tuple[str, str]:
    """The driver's name for a CUresult, and what it says of it."""
    try:
        code = driver.CUresult(status)
    except ValueError:  # newer than the bindings
        return f"error {status}", "unknown to cuda-bindings"
    texts = [getattr(driver, name)(code) for name in ("cuGetErrorName", "cuGetErrorString")]
    name, text = (b"" if int(failed) or said is None else said for failed, said in texts)
    return name.decode() or f"error {status}", text.decode()
