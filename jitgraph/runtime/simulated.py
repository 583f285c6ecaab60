"""The simulated GPU: one that the CPU pretends to be, for tests and for seeing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitgraph.codegen.gpu import record, simulation, simulator
from jitgraph.codegen.gpu.target import device_target
from jitgraph.codegen.llvm import Compiled
from jitgraph.errors import DriverError
from jitgraph.runtime.devices import Device

#: What the simulated GPU is like: one of today's with few multiprocessors.
_ARCH, _MULTIPROCESSORS = "sm_90", 2


@dataclass(frozen=True, slots=True)
class _Kernels:
    """A loaded module, which its code keeps alive."""

    code: Compiled
    handles: dict[str, int]


class SimulatedDevice(Device):
    """A device in the host's memory, whose kernels' every access is checked."""

    def __init__(self) -> None:
        code = simulator.library()
        functions = {name: code.address(f"sim_{name}") for name in record.FUNCTIONS}
        target = device_target(_ARCH, sms=_MULTIPROCESSORS, simulated=True)
        super().__init__("simulated", target, functions)

    @property
    def description(self) -> str:
        return "a GPU that the CPU pretends to be"

    def image(self, text: str) -> bytes:
        raise NotImplementedError

    def whereabouts(self, address: int) -> str:
        return "simulated" if any(
            start <= address < start + size
            for start, size in simulator.live_allocations().items()
        ) else "cpu"

    def load(self, image: bytes, names: Sequence[str], *, shared=None) -> _Kernels:
        code = simulation.linked(image)
        return _Kernels(code, {name: simulation.handle(code, name) for name in names})

    def fail(self, status: int, what: str = "") -> None:
        fault = simulator.last_fault()
        if fault is not None and status >= record.NOT_SUPPORTED - 101:
            simulator.clear_fault()
            raise DriverError(f"simulated: {fault}", code=status)
        super().fail(status, what)
