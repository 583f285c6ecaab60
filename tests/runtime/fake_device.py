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


class Order:
    """What of the work on streams is sure to come before what, and whose memory it touches. `races`
    are pairs of work on the same memory of which nobody can say which comes first."""

    def __init__(self) -> None:
        #: By stream, how much of each stream's work comes before what it is asked for next.
        self.clocks: dict[int, dict[int, int]] = {}
        self.host: dict[int, int] = {}
        #: By address of a block: the last work that wrote to it, and what has read it since.
        self.touched: dict[int, tuple[tuple[int, int] | None, list[tuple[int, int]]]] = {}
        self.races: list[str] = []

    def point(self, stream: int) -> dict[int, int]:
        """All that comes before the end of a stream's work so far."""
        return dict(self.clocks.setdefault(stream, {}))

    def after(self, stream: int, point: dict[int, int]) -> None:
        """What a stream is asked for from now on comes after a point."""
        _raise(self.clocks.setdefault(stream, {}), point)

    def waited(self, point: dict[int, int]) -> None:
        """The host goes on only after a point."""
        _raise(self.host, point)

    def work(self, what: str, stream: int, block: int, *, writes: bool) -> None:
        """Work on a stream that touches a block."""
        clock = self.clocks.setdefault(stream, {})
        _raise(clock, self.host)
        clock[stream] = clock.get(stream, 0) + 1
        written, read = self.touched.get(block, (None, []))
        for other, number in [*([written] if written else []), *(read if writes else [])]:
            if clock.get(other, 0) < number:
                self.races.append(f"{what} on stream {stream} does not wait for stream {other}")
        now = stream, clock[stream]
        self.touched[block] = (now, []) if writes else (written, [*read, now])


def _raise(clock: dict[int, int], by: dict[int, int]) -> None:
    for stream, number in by.items():
        clock[stream] = max(clock.get(stream, 0), number)


class FakeMemory:
    """Blocks by address, and the driver's functions on them. `refuse` is what they return; `order`
    has what was done, by streams."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.refuse: dict[str, int] = {}
        self.calls: list[str] = []
        #: What is current in the one thread there is; and, by stream, what must be.
        self.context = 0
        self.contexts: dict[int, int] = {}
        self.strays: list[str] = []
        self.order = Order()
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

    def touch(self, what: str, stream: int, address: int, *, writes: bool) -> None:
        """Note that work on a stream touches a block."""
        if what != "free" and self.contexts.get(stream, self.context) != self.context:
            self.strays.append(f"{what} on stream {stream} in context {self.context}")
        for start, block in self.blocks.items():
            if start <= address < start + max(len(block), 1):
                self.order.work(what, stream, start, writes=writes)

    def alloc(self, cell: int, size: int, stream: int) -> int:
        block = ctypes.create_string_buffer(size)
        address = ctypes.addressof(block)
        self.blocks[address] = block
        self.order.touched.pop(address, None)
        self.touch("alloc", stream, address, writes=True)
        ctypes.c_void_p.from_address(cell).value = address
        return 0

    def free(self, address: int, stream: int) -> int:
        self.touch("free", stream, address, writes=True)
        return 0 if self.blocks.pop(address, None) is not None else 1

    def set_bytes(self, to: int, value: int, size: int, stream: int) -> None:
        self.touch("set_bytes", stream, to, writes=True)
        ctypes.memset(to, value, size)

    def to_host(self, to: int, source: int, size: int, stream: int) -> None:
        self.touch("to_host", stream, source, writes=False)
        ctypes.memmove(to, source, size)

    def to_device(self, to: int, source: int, size: int, stream: int) -> None:
        self.touch("to_device", stream, to, writes=True)
        ctypes.memmove(to, source, size)

    def copy(self, to: int, source: int, size: int, stream: int) -> None:
        self.touch("copy", stream, source, writes=False)
        self.touch("copy", stream, to, writes=True)
        ctypes.memmove(to, source, size)

    def launch(self, *_: int) -> None: ...

    def wait(self, stream: int) -> None:
        if self.contexts.get(stream, self.context) != self.context:
            self.strays.append(f"wait for stream {stream} in context {self.context}")
        self.order.waited(self.order.point(stream))

    def enter(self, context: int) -> None:
        self.context = context

    def current(self, cell: int) -> None:
        ctypes.c_void_p.from_address(cell).value = self.context


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
