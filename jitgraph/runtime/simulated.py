"""The device "simulated": a GPU that the CPU pretends to be.

It runs the very kernels that a GPU would, thread by thread and with checks
(`codegen.gpu.simulator`), and is there for tests and for seeing; it is not fast. A kernel that does
what it must not ends with an error that says what that was; unlike a GPU's, its memory stays as it
is then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu import record, simulation, simulator
from jitgraph.codegen.gpu.target import device_target
from jitgraph.codegen.llvm import Compiled
from jitgraph.errors import DriverError
from jitgraph.runtime.device import Device, Kernels

if TYPE_CHECKING:
    from jitgraph.runtime.simulated_cublas import SimulatedLibrary

_ARCHITECTURE = "sm_90"
#: Few, so that small arrays are work for several blocks each.
_MULTIPROCESSORS = 4


class SimulatedDevice(Device):
    """See the module."""

    description = "a GPU that the CPU pretends to be"

    def __init__(self, stream: int = 0) -> None:
        address = simulator.library().address
        functions = {word: address(f"sim_{word}") for word in record.FUNCTIONS}
        target = device_target(_ARCHITECTURE, sms=_MULTIPROCESSORS, simulated=True)
        name = f"simulated/{stream}" if stream else "simulated"
        super().__init__(name, target, functions, stream=stream)

    def load(
        self,
        image: bytes,
        names: Sequence[str],
        *,
        shared: Mapping[str, int] = MappingProxyType({}),
    ) -> Kernels:
        self.require_shared(shared)
        code = simulation.linked(image)
        for name, size in shared.items():
            simulation.allow_shared(code, name, size)
        return _Module(code, names)

    #: Its own kernels are what it is there to prove.
    has_library = False

    def _library(self) -> SimulatedLibrary:
        from jitgraph.runtime.simulated_cublas import SimulatedLibrary

        return SimulatedLibrary(self)

    def whereabouts(self, address: int) -> str:
        blocks = simulator.live_allocations().items()
        inside = any(start <= address < start + max(size, 1) for start, size in blocks)
        return self.place if inside else "cpu"

    def fail(self, status: int, what: str = "") -> None:
        fault = simulator.last_fault()
        if fault is None or status == record.OUT_OF_MEMORY:
            super().fail(status, what)
        simulator.clear_fault()
        raise DriverError(f"{self.name}: {fault}", code=status, name=f"error {status}")


class _Module:
    """A loaded module."""

    def __init__(self, code: Compiled, names: Sequence[str]) -> None:
        self._code = code
        self.handles = {name: simulation.handle(code, name) for name in names}
