"""The simulated device: a GPU's driver, memory and threads as host code, with checks.

It is there to prove kernels where there is no GPU. Generated code sees the C functions of the
driver (`FUNCTIONS`, under the names of the device record), and a kernel's handle is the address of
a descriptor (`simulation`). A fault ends a launch with the driver's error code; `last_fault` says
what exactly happened. Unlike a real device this one goes on afterwards.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from jitgraph.codegen.gpu.simulator.intrinsics import INTRINSICS
from jitgraph.codegen.gpu.simulator.state import (
    FIELDS,
    OTHER_BLOCK,
    OTHER_READS,
    OTHER_WHO,
    SHARED_BYTES,
    Kind,
)
from jitgraph.codegen.llvm import Compiled, Module
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.target import Target, host

#: The driver's functions, by their names in the device record.
FUNCTIONS = ("launch", "alloc", "free", "set_bytes", "to_host", "to_device", "copy", "wait",
             "enter")  # fmt: skip
#: What the code of kernels is linked with.
IMPORTS = ("sim_access", "sim_fence", "sim_shared_memory", *INTRINSICS)
#: Python has the flag's name only from 3.13 on. What is reserved could make `fork` fail.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
#: The arena that is asked for first, and the least that will do.
_MOST, _LEAST = 16 << 30, 256 << 20

_lock = threading.Lock()


def library() -> Compiled:
    """The simulator of this process, which lives as long as the process: `sim_launch` and so on."""
    with _lock:
        return _library(host())


def imports() -> Mapping[str, int]:
    """What to link the code of kernels with."""
    return {name: library().address(name) for name in IMPORTS}


@cache
def _library(target: Target) -> Compiled:
    code = cached_library("simulator", lambda: _text(target), target, passes="vectorise")
    start = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_int)(
        code.address("sim_start")
    )
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    unreserved = flags | _NO_RESERVE
    size = _MOST
    while not start(size, unreserved, flags):
        size //= 2
        if size < _LEAST:
            raise MemoryError("no address space for the memory of the simulated device")
    return code


def _text(target: Target) -> str:
    from jitgraph.codegen.gpu.simulator.checks import emit_checks
    from jitgraph.codegen.gpu.simulator.copies import emit_copies
    from jitgraph.codegen.gpu.simulator.intrinsics import emit_intrinsics
    from jitgraph.codegen.gpu.simulator.memory import emit_memory
    from jitgraph.codegen.gpu.simulator.state import emit_state
    from jitgraph.codegen.gpu.simulator.tensorcores import emit_tensor_cores
    from jitgraph.codegen.gpu.simulator.threads import emit_threads

    module = Module(target)
    emit_state(module)
    emit_memory(module)
    emit_threads(module)
    emit_checks(module)
    emit_intrinsics(module)
    emit_copies(module)
    emit_tensor_cores(module)
    return module.text()


@dataclass(frozen=True, slots=True)
class Fault:
    """What a kernel, or a transfer (then `kernel` is empty), did wrong.

    `offset` counts from the nearest allocation, or the block's shared memory, which has `extent`
    bytes. What `size` and `other` mean depends on the kind.
    """

    kind: Kind
    kernel: str
    block: int
    thread: int
    address: int
    size: int
    shared: bool
    offset: int
    extent: int
    other: int

    def __str__(self) -> str:
        who = f"kernel {self.kernel}, block {self.block}, thread {self.thread}"
        return f"{who if self.kernel else 'the host'}: {_MESSAGES[self.kind](self)}"

    @property
    def place(self) -> str:
        """Where the address lies."""
        if not self.extent:
            return "where nothing is allocated"
        if self.offset < 0:
            where = f"{-self.offset} bytes before"
        elif self.offset >= self.extent:
            where = f"{self.offset - self.extent} bytes past the end of"
        elif self.offset + self.size > self.extent:
            where = "across the end of"
        else:
            where = f"at byte {self.offset} of"
        what = "the shared memory" if self.shared else "an allocation"
        return f"{where} {what} of {self.extent} bytes"


def _race(fault: Fault) -> str:
    who = fault.other & OTHER_WHO
    number = f"thread {fault.other & 1023}"
    known = {0: number, 1: "several threads of one warp"}.get(who >> 10, "several threads")
    block = "another" if fault.other & OTHER_BLOCK else "this"
    did = "read" if fault.other & OTHER_READS else "wrote"
    return f"touches memory {fault.place}, which {known} of {block} block {did}, unordered"


def _barrier(fault: Fault) -> str:
    threads, ended = fault.size >> 32, fault.size & 0xFFFFFFFF
    if fault.other == threads:
        return "waits at the barrier, but threads of one warp do so at different places"
    return f"waits at the barrier with {fault.other} of {threads} threads; {ended} have ended"


_MESSAGES: dict[Kind, Callable[[Fault], str]] = {
    Kind.OUTSIDE: lambda f: f"touches {f.size} bytes {f.place}",
    Kind.HOST: lambda f: (
        f"touches {f.address:#x}, which is neither memory of the device nor, "
        "to read, a variable of the module"
    ),
    Kind.SHARED: lambda f: f"touches {f.size} bytes {f.place}",
    Kind.MISALIGNED: lambda f: f"touches {f.address:#x}, not a multiple of {f.other}",
    Kind.UNINITIALISED: lambda f: f"reads memory never written, {f.place}",
    Kind.RACE: _race,
    Kind.BARRIER: _barrier,
    Kind.WARP: lambda f: (
        f"waits for the lanes {f.other:#x} of its warp, not all of which come; "
        f"{f.size & 0xFFFFFFFF} threads have ended"
    ),
    Kind.LANE: lambda f: (
        "is not in the mask of its own operation"
        if f.other < 0
        else f"reads from lane {f.other}, which takes no part"
    ),
    Kind.TRANSFER: lambda f: f"copies or fills {f.size} bytes {f.place}",
    Kind.RELEASE: lambda f: f"frees {f.address:#x}, where no allocation starts",
}


def last_fault() -> Fault | None:
    """The last fault, if there was one."""
    words = _words()
    if not words["fault"]:
        return None
    name = ""
    if words["fault_kernel"]:
        name = ctypes.string_at(library().address("sim_fault_name")).decode()
    address, base, extent = words["fault_address"], words["fault_base"], words["fault_extent"]
    start = library().address("sim_shared_memory")
    shared = start <= address < start + SHARED_BYTES
    if shared:
        base, extent = start, words["fault_bytes"]
    return Fault(
        Kind(words["fault"]), name, words["fault_block"], words["fault_thread"], address,
        words["fault_size"] % (1 << 64), shared, address - base, extent, words["fault_other"],
    )  # fmt: skip


def clear_fault() -> None:
    """Forget the last fault."""
    _cell("fault").value = 0


def set_limit(size: int | None) -> None:
    """How many bytes may be allocated; None is as many as there are."""
    words = _words()
    _cell("limit").value = words["end"] - words["arena"] if size is None else size


def set_backward(on: bool) -> None:
    """Whether blocks, and warps of a block, run from the last to the first."""
    _cell("backward").value = int(on)


def live_allocations() -> dict[int, int]:
    """The size of what is allocated now, by address."""
    words = _words()
    pairs = (ctypes.c_int64 * (2 * words["count"])).from_address(words["registry"])
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def launches() -> int:
    """How many kernels were launched so far."""
    return _words()["launches"]


def waits() -> int:
    """How often the host waited for the device so far."""
    return _words()["waits"]


def _words() -> dict[str, int]:
    cells = (ctypes.c_int64 * len(FIELDS)).from_address(library().address("sim"))
    return dict(zip(FIELDS, cells, strict=True))


def _cell(field: str) -> ctypes.c_int64:
    return ctypes.c_int64.from_address(library().address("sim") + 8 * FIELDS.index(field))
