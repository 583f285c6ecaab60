"""`cuda.bindings.driver` as it answers on a machine with GPUs, for tests on one without.

Every function takes what the real one takes and returns a tuple that begins with its status. What
`refuse` names returns that status and nothing else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from jitgraph.codegen.gpu import record
from tests.runtime.fake_device import FakeMemory

GPU = {
    "COMPUTE_CAPABILITY_MAJOR": 9, "COMPUTE_CAPABILITY_MINOR": 0, "MULTIPROCESSOR_COUNT": 132,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448, "MEMORY_POOLS_SUPPORTED": 1,
}  # fmt: skip


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_PEER_ACCESS_UNSUPPORTED = 217
    CUDA_ERROR_INVALID_PTX = 218
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701
    CUDA_ERROR_NOT_SUPPORTED = 801
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803


class Handle:
    """What the driver gives out: an object that is a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __int__(self) -> int:
        return self.number


def _names(prefix: str, *names: str) -> Any:
    return IntEnum(prefix, {name: k for k, name in enumerate(names)})


class CUmemAccessDesc:
    """Who may reach a pool's memory, and how."""

    def __init__(self) -> None:
        self.location = SimpleNamespace(type=None, id=None)
        self.flags: Any = None


class FakeDriver:
    """See the module. `calls` has the functions that were called and their arguments."""

    CUresult = CUresult
    CUmemAccessDesc = CUmemAccessDesc
    CUstream_flags = _names("CUstream_flags", "CU_STREAM_DEFAULT", "CU_STREAM_NON_BLOCKING")
    CUevent_flags = _names("CUevent_flags", "CU_EVENT_DEFAULT", "_", "CU_EVENT_DISABLE_TIMING")
    CUdevice_attribute = _names(
        "CUdevice_attribute", *(f"CU_DEVICE_ATTRIBUTE_{name}" for name in GPU)
    )
    CUmemPool_attribute = _names("CUmemPool_attribute", "CU_MEMPOOL_ATTR_RELEASE_THRESHOLD")
    CUdriverProcAddress_flags = _names(
        "CUdriverProcAddress_flags", "CU_GET_PROC_ADDRESS_DEFAULT",
        "CU_GET_PROC_ADDRESS_LEGACY_STREAM",
    )  # fmt: skip
    CUjit_option = _names(
        "CUjit_option", "CU_JIT_ERROR_LOG_BUFFER", "CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES"
    )
    CUfunction_attribute = _names(
        "CUfunction_attribute", "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
    )
    CUpointer_attribute = _names(
        "CUpointer_attribute", "CU_POINTER_ATTRIBUTE_MEMORY_TYPE",
        "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL",
    )  # fmt: skip
    CUmemLocationType = IntEnum("CUmemLocationType", {"CU_MEM_LOCATION_TYPE_DEVICE": 1})
    CUmemAccess_flags = IntEnum("CUmemAccess_flags", {"CU_MEM_ACCESS_FLAGS_PROT_READWRITE": 3})
    cuuint64_t = Handle

    def __init__(self, gpus: int = 1, version: int = 12040, *, peers: int = 1, **gpu: int) -> None:
        self.gpus, self.version, self.gpu, self.peers = gpus, version, GPU | gpu, peers
        self.memory = FakeMemory()
        self.addresses = {
            name.removesuffix("_v2"): self.memory.functions[word]
            for word, name in record.FUNCTIONS.items()
        }
        self.addresses["cuEventRecord"] = self.memory.functions["free"]  # of the same parameters
        self.refuse: dict[str, int] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.log = b""
        self.handles = 1000
        self.live: set[int] = set()
        self.pinned: dict[int, Any] = {}
        #: By event, the context it was made in, and what comes before it.
        self.events: dict[int, tuple[int, dict[int, int]]] = {}

    def __getattr__(self, name: str) -> Any:
        answer = _ANSWERS[name]

        def called(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, arguments))
            if name in _IN_CONTEXT and not self.memory.context:
                self.memory.strays.append(f"{name} in no context")
            if name in self.refuse:
                answer(self, *arguments)
                outputs = {"cuInit": 0, "cuGetProcAddress": 2}.get(name, 1)
                return (CUresult(self.refuse[name]), *[None] * outputs)
            result = answer(self, *arguments)
            return (CUresult(0), *(result if isinstance(result, tuple) else (result,)))

        return called

    def count(self, name: str) -> int:
        """How often a function was called."""
        return sum(called == name for called, _ in self.calls)

    def new(self) -> Handle:
        """A handle of something that must be destroyed."""
        self.handles += 1
        self.live.add(self.handles)
        return Handle(self.handles)

    def destroy(self, handle: Handle) -> tuple[()]:
        """The end of it."""
        self.live.remove(int(handle))
        return ()

    def stream(self) -> Handle:
        """One of the context that is current; the first is 66."""
        number = 66 + len(self.memory.contexts)
        self.memory.contexts[number] = self.memory.context
        return Handle(number)

    def event(self) -> Handle:
        """One of the context that is current."""
        made = self.new()
        self.events[int(made)] = self.memory.context, {}
        return made

    def record(self, event: Handle, stream: int) -> tuple[()]:
        """An event, of the same context, at what a stream was asked for so far."""
        context, _ = self.events[int(event)]
        if self.memory.contexts.get(int(stream), self.memory.context) != context:
            self.memory.strays.append(f"event of context {context} on stream {int(stream)}")
        self.events[int(event)] = context, self.memory.order.point(int(stream))
        return ()

    def wait_event(self, stream: int, event: Handle, flags: int) -> tuple[()]:
        """A stream goes on after an event."""
        self.memory.order.after(int(stream), self.events[int(event)][1])
        return ()

    def wait_for(self, event: Handle) -> tuple[()]:
        """The host does."""
        self.memory.order.waited(self.events[int(event)][1])
        return ()

    def copy_peer(
        self, to: int, there: int, source: int, here: int, size: int, stream: int
    ) -> tuple[()]:
        """From one GPU's memory to another's."""
        if "cuMemcpyPeerAsync" not in self.refuse:
            self.memory.copy(to, source, size, stream)
        return ()

    def pin(self, size: int) -> int:
        """Page-locked memory."""
        block = ctypes.create_string_buffer(size)
        self.pinned[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def load(self, image: bytes, count: int, keys: list[int], values: list[Any]) -> Handle:
        """A module, and what the compiler says of it."""
        assert image.endswith(b"\0")
        assert len(keys) == len(values) == count
        values[0][: len(self.log)] = self.log
        assert values[1] == len(values[0])
        return self.new()

    def pointer(self, what: int, address: int) -> int:
        """The kind of memory (1: the host's, 2: a device's), or its device."""
        return (1 if address in self.pinned else 2, 0)[what]


#: What the driver may refuse in a thread where no context is current.
_IN_CONTEXT = {
    "cuStreamCreate", "cuStreamWaitEvent", "cuMemGetInfo", "cuMemHostAlloc", "cuModuleLoadDataEx",
    "cuModuleGetFunction", "cuModuleUnload", "cuFuncSetAttribute", "cuEventCreate", "cuEventRecord",
    "cuEventSynchronize", "cuEventElapsedTime", "cuEventDestroy", "cuPointerGetAttribute",
    "cuMemcpyPeerAsync",
}  # fmt: skip
_ANSWERS: dict[str, Callable[..., Any]] = {
    "cuInit": lambda driver, flags: (),
    "cuDriverGetVersion": lambda driver: driver.version,
    "cuDeviceGetCount": lambda driver: driver.gpus,
    "cuDeviceGet": lambda driver, ordinal: Handle(ordinal),
    "cuDeviceGetName": lambda driver, length, gpu: b"NVIDIA Test\0\0",
    "cuDeviceGetAttribute": lambda driver, what, gpu: driver.gpu[what.name[20:]],
    "cuDevicePrimaryCtxRetain": lambda driver, gpu: Handle(77 + int(gpu)),
    "cuCtxSetCurrent": lambda driver, context: driver.memory.enter(int(context)) or (),
    "cuCtxGetCurrent": lambda driver: Handle(driver.memory.context),
    "cuStreamCreate": lambda driver, flags: driver.stream(),
    "cuStreamWaitEvent": FakeDriver.wait_event,
    "cuDeviceGetDefaultMemPool": lambda driver, gpu: Handle(55),
    "cuMemPoolSetAttribute": lambda driver, pool, what, value: (),
    "cuMemPoolTrimTo": lambda driver, pool, kept: (),
    "cuMemPoolSetAccess": lambda driver, pool, access, count: (),
    "cuDeviceCanAccessPeer": lambda driver, gpu, peer: driver.peers,
    "cuMemcpyPeerAsync": FakeDriver.copy_peer,
    "cuMemGetInfo": lambda driver: (1000, 2000),
    "cuMemHostAlloc": lambda driver, size, flags: driver.pin(size),
    "cuGetProcAddress": lambda driver, name, version, flags: (driver.addresses[name.decode()], 0),
    "cuGetErrorName": lambda driver, code: code.name.encode(),
    "cuGetErrorString": lambda driver, code: code.name.lower().replace("_", " ").encode(),
    "cuModuleLoadDataEx": FakeDriver.load,
    "cuModuleGetFunction": lambda driver, module, name: Handle(int(module) * 100 + len(name)),
    "cuModuleUnload": FakeDriver.destroy,
    "cuFuncSetAttribute": lambda driver, function, what, value: (),
    "cuEventCreate": lambda driver, flags: driver.event(),
    "cuEventRecord": FakeDriver.record,
    "cuEventSynchronize": FakeDriver.wait_for,
    "cuEventElapsedTime": lambda driver, start, end: 2.5,
    "cuEventDestroy": FakeDriver.destroy,
    "cuPointerGetAttribute": lambda driver, what, address: driver.pointer(what, address),
}
