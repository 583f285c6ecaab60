"""A simulated device whose streams fall behind, as a GPU's do."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from jitgraph.codegen.gpu import record
from jitgraph.runtime.device import Device
from jitgraph.runtime.simulated import SimulatedDevice
from tests.runtime.fake_device import c_function

_kept: list[Any] = []


class LaggingDevice(SimulatedDevice):
    """Copies, fills and frees are done when somebody waits for them, or just before the next kernel
    of the same stream. One that is `prompt` does all at once, but for what it must wait for."""

    def __init__(self, stream: int = 0, *, prompt: bool = False) -> None:
        super().__init__(stream)
        self.prompt = prompt
        self.waiting: list[Callable[[], object]] = []
        self.done = 0
        #: What of it failed.
        self.faults: list[str] = []
        for name in ("to_host", "copy", "set_bytes", "free"):
            self._replace(name, self._later(name))
        self._replace("to_device", self._send())
        for name in ("launch", "wait"):
            self._replace(name, self._after_all(name))

    def _replace(self, name: str, function: Callable[..., int]) -> None:
        made = c_function(name, function)
        _kept.append(made)  # arrays may be freed late
        self._words[record.WORDS.index(name)] = ctypes.cast(made, ctypes.c_void_p).value
        self._calls[name] = made

    def add(self, work: Callable[[], object]) -> None:
        """Work for later."""
        self.waiting.append(work)
        if self.prompt:
            self.catch_up(self.point)

    @property
    def point(self) -> int:
        """The end of all work so far."""
        return self.done + len(self.waiting)

    def catch_up(self, point: int) -> None:
        """Do all work up to a point."""
        while self.done < point:
            self.done += 1
            self.waiting.pop(0)()

    def _later(self, name: str) -> Callable[..., int]:
        real = self._calls[name]

        def run(*arguments: int) -> int:
            self.add(lambda: self._do(name, real, arguments))
            return 0

        return run

    def _send(self) -> Callable[..., int]:
        real = self._calls["to_device"]

        def run(to: int, source: int, size: int, stream: int) -> int:
            data = ctypes.create_string_buffer(ctypes.string_at(source, size), max(size, 1))
            given = to, ctypes.addressof(data), size, stream
            self.add(lambda: (self._do("to_device", real, given), data))
            return 0

        return run

    def _after_all(self, name: str) -> Callable[..., int]:
        real = self._calls[name]

        def run(*arguments: int) -> int:
            self.catch_up(self.point)
            return int(real(*arguments))

        return run

    def _do(self, name: str, real: Callable[..., int], arguments: tuple[int, ...]) -> None:
        if real(*arguments):
            self.faults.append(f"{name} on {self.name}")

    def join(self, other: Device) -> None:
        assert isinstance(other, LaggingDevice)
        point = other.point
        self.add(lambda: other.catch_up(point))

    def follow(self, stream: int) -> None: ...

    def precede(self, stream: int) -> None: ...
