"""A device whose memory is the host's and whose functions are Python's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from jitgraph.codegen.gpu import record
from jitgraph.codegen.gpu.target import device_target
from jitgraph.runtime.device import Device

_TYPES = {"ptr": ctypes.c_void_p, "i64": ctypes.c_uint64, "i32": ctypes.c_uint32,
          "i8": ctypes.c_uint8}  # fmt: skip


def c_function(name: str, function: Callable[..., int]) -> Any:
    """A Python function as the driver's of that name; it gets 0 for NULL."""
    types = [_TYPES[t] for t in record.PARAMETERS[name]]
    return ctypes.CFUNCTYPE(ctypes.c_int, *types)(lambda *a: function(*(x or 0 for x in a)))


#: A driver's functions are there for as long as the process; arrays may be freed late.
_immortal: list[Any] = []


class FakeMemory:
    """Blocks by address, and the driver's functions on them. `refuse` is what they return."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.refuse: dict[str, int] = {}
        self.calls: list[str] = []
        self.kept = {name: self._function(name) for name in record.FUNCTIONS}
        _immortal.append(self.kept)

    @property
    def functions(self) -> dict[str, int]:
        return {k: ctypes.cast(f, ctypes.c_void_p).value or 0 for k, f in self.kept.items()}

    def _function(self, name: str) -> Any:
        def run(*arguments: int) -> int:
            self.calls.append(name)
            if name in self.refuse:
                return self.refuse[name]
            return int(getattr(self, name)(*arguments) or 0)

        return c_function(name, run)

    def alloc(self, cell: int, size: int, stream: int) -> int:
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        ctypes.c_void_p.from_address(cell).value = ctypes.addressof(block)
        return 0

    def free(self, address: int, stream: int) -> int:
        return 0 if self.blocks.pop(address, None) is not None else 1

    def set_bytes(self, to: int, value: int, size: int, stream: int) -> None:
        ctypes.memset(to, value, size)

    def to_host(self, to: int, source: int, size: int, stream: int) -> None:
        ctypes.memmove(to, source, size)

    to_device = copy = to_host

    def launch(self, *_: int) -> None: ...

    def wait(self, stream: int) -> None: ...

    def enter(self, context: int) -> None: ...


class FakeDevice(Device):
    """See the module."""

    description = "memory of the host"

    def __init__(self, name: str = "simulated") -> None:
        self.memory = FakeMemory()
        super().__init__(name, device_target("sm_90"), self.memory.functions, stream=7)

    def load(self, image: bytes, names: Sequence[str], *, shared: Any = ()) -> Any:
        raise NotImplementedError

    def whereabouts(self, address: int) -> str:
        return self.name if address in self.memory.blocks else "cpu"
