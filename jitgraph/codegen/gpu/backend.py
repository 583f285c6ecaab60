"""The back end for devices: from a program to code of the host and an image for the device."""

from __future__ import annotations

from dataclasses import dataclass

from jitgraph.codegen.entry import emit_run
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.gpu.probes import ProbedDeviceEmitter
from jitgraph.codegen.gpu.program import emit_device_program
from jitgraph.codegen.gpu.target import DeviceTarget
from jitgraph.codegen.library import declare_functions
from jitgraph.codegen.llvm import Module, object_code
from jitgraph.codegen.llvm import assembly as text_of_assembly
from jitgraph.codegen.signature import Signature, slot_table
from jitgraph.codegen.target import host
from jitgraph.config import EXACT, Products
from jitgraph.ir.kernel import Program
from jitgraph.store import Entry


@dataclass(frozen=True, slots=True)
class Modules:
    """The two sides of a device program."""

    host: Module
    device: DeviceModule
    #: How many constants the host's tables list.
    constants: int

    def text(self) -> str:
        """Both, for people to read."""
        return f"; ---- host\n{self.host.text()}\n; ---- device\n{self.device.text()}"


def emit(
    program: Program,
    signature: Signature,
    target: DeviceTarget,
    *,
    contract: bool,
    products: Products = EXACT,
    probed: bool = False,
) -> Modules:
    """The program as LLVM IR, before LLVM's own passes; if `probed`, one that takes its times."""
    module, device = Module(host()), DeviceModule(target, products)
    declare_functions(module)
    module.declare(slot_table(len(signature.outputs)))
    constants = emit_device_program(
        module, device, program, signature, contract=contract,
        kind=ProbedDeviceEmitter if probed else None,
    )
    emit_run(module, signature.params)
    return Modules(module, device, constants)


def compiled(modules: Modules, name: str) -> Entry:
    """Object code of the host, and the device's image as the last object."""
    module, device = modules.host, modules.device
    objects = tuple(object_code(unit, module.target) for unit in module.units())
    shared = {k: device.dynamic[k] for k in device.kernels if k in device.dynamic}
    header = {
        "kind": "function", "name": name, "imports": module.imports, "kernels": device.kernels,
        "shared": shared, "constants": modules.constants, "library": device.library_calls > 0,
    }  # fmt: skip
    return Entry(header, (*objects, image(device)))


def image(device: DeviceModule) -> bytes:
    """What the device loads: PTX, or for the simulated device object code."""
    if device.target.simulated:
        from jitgraph.codegen.gpu.simulation import simulated_object

        return simulated_object(device.text(), device.kernels)
    from jitgraph.codegen.gpu.ptx import ptx

    return ptx(device.text(), device.target).encode()


def ptx_of(modules: Modules) -> str:
    """The kernels as PTX; those of the simulated device for a GPU like it."""
    from jitgraph.codegen.gpu.ptx import ptx

    return ptx(modules.device.text(), modules.device.target)


def sass_of(modules: Modules) -> str:
    """The kernels as machine code, for people to read. Raises DeviceError where tools are
    missing."""
    from jitgraph.codegen.gpu.ptx import assemble, sass

    cubin, _ = assemble(ptx_of(modules), modules.device.target.cpu)
    return sass(cubin)


def assembly(modules: Modules) -> str:
    """The kernels as PTX, or as the host's assembly, for people to read."""
    device = modules.device
    if device.target.simulated:
        from jitgraph.codegen.gpu.simulation import simulated_unit

        return text_of_assembly(simulated_unit(device.text(), device.kernels), host())
    return image(device).decode()
