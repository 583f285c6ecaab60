"""Device programs that write down what their steps do: `codegen.probes` for a device.

The table `@profile` is the CPU's, with numbers of launches in place of times. The times are those
of the device: `@stamps` is the address of a function that records an event, and an event before
and after the program and each step of work. Without a function nothing is recorded.
"""

from __future__ import annotations

from jitgraph.codegen.gpu import host
from jitgraph.codegen.gpu.program import DeviceEmitter, DeviceRegionEmitter, OnDevice
from jitgraph.codegen.probes import Probing
from jitgraph.codegen.regions import RegionEmitter
from jitgraph.ir.kernel import Program, Work

SYMBOL = "stamps"


def events(program: Program) -> int:
    """How many events there are: two for the whole program, then two for each step."""
    return 2 + 2 * len(program.work())


class _Counting(OnDevice):
    """Counts launches, those of regions too."""

    def launch(
        self, number: int, blocks: str, threads: int | str, shared: str, parameters: str
    ) -> None:
        super().launch(number, blocks, threads, shared, parameters)
        count = self.f.emit("load i64, ptr @launches")
        self.f.do(f"store i64 {self.f.emit(f'add i64 {count}, 1')}, ptr @launches")

    def _region(self, program: Program, prefix: str) -> RegionEmitter:
        return _CountingRegion(self, program, prefix)


class _CountingRegion(_Counting, DeviceRegionEmitter):
    """A region where it runs."""


class ProbedDeviceEmitter(Probing, _Counting, DeviceEmitter):
    """Writes a program that writes into the table, and has events recorded."""

    def _begin_probing(self) -> None:
        count = events(self.program)
        self.module.declare("@launches = internal global i64 0")
        self.module.declare(f"@{SYMBOL} = dso_local global [{1 + count} x ptr] zeroinitializer")
        self.f.do("store i64 0, ptr @launches")
        self._event = 0
        self._record(0)

    def _stamp(self, word: int) -> None:
        self._put(word, self.f.emit("load i64, ptr @launches"))

    def _probed(self, step: Work) -> None:
        number = self._event = self._event + 2
        self._record(number)
        super()._probed(step)
        self._record(number + 1)

    def _return(self, status: str) -> None:
        if status == "0":
            self._record(1)
        super()._return(status)

    def _record(self, event: int) -> None:
        f = self.f
        function = f.emit(f"load ptr, ptr @{SYMBOL}")
        with f.if_then(f.emit(f"icmp ne ptr {function}, null")):
            place = f"getelementptr inbounds (i8, ptr @{SYMBOL}, i64 {8 * (1 + event)})"
            handle = f.emit(f"load ptr, ptr {place}")
            stream = f.emit(f"load ptr, {host.word('stream')}")
            f.do(f"call i32 {function}(ptr {handle}, ptr {stream})")
