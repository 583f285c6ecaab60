"""From the text of a module with kernels to PTX, and for people and tests on to machine code.

PTX needs only LLVM, through llvmlite, and is what the driver loads. NVIDIA's assembler is asked
where it is there (package nvidia-cuda-nvcc, or on the PATH): what a kernel takes of registers and
shared memory, and whether it spills.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu.spaces import with_spaces
from jitgraph.codegen.gpu.target import DeviceTarget
from jitgraph.codegen.llvm import llvm_lock
from jitgraph.codegen.loader import CodegenError
from jitgraph.errors import MissingPackageError

if TYPE_CHECKING:
    import llvmlite.binding as llvm

#: The packages that bring NVIDIA's tools, first those that `pip` is to be asked for.
_PACKAGES = {
    "ptxas": ("nvidia-cuda-nvcc", "nvidia-cuda-nvcc-cu12"),
    "nvdisasm": ("nvidia-cuda-nvdisasm",),
    "compute-sanitizer": ("nvidia-cuda-sanitizer-api", "nvidia-cuda-sanitizer-api-cu12"),
}
_SECONDS = 120
_REPORT = re.compile(
    r"Function properties for (?P<name>\S+)\s+"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads"
)
_USED = re.compile(r"Used (?P<registers>\d+) registers(?P<rest>.*)")
_SHARED = re.compile(r"(\d+) bytes smem")


def ptx(text: str, target: DeviceTarget) -> str:
    """PTX for the text of an LLVM module. Raises CodegenError when LLVM rejects it."""
    import llvmlite.binding as llvm

    with llvm_lock:
        machine = _machine(target)
        header = f'target datalayout = "{machine.target_data}"\ntarget triple = "{target.triple}"\n'
        try:
            module = llvm.parse_assembly(header + with_spaces(text), llvm.create_context())
            if os.environ.get("JITGRAPH_VERIFY"):
                module.verify()
        except RuntimeError as error:
            raise CodegenError(f"invalid LLVM IR: {error}", text) from error
        if " = alloca " in text:
            _keep_in_registers(module, machine)
        made: str = machine.emit_assembly(module)
        return made


def _keep_in_registers(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """What functions of libraries have on their stacks would be local memory."""
    import llvmlite.binding as llvm

    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.run(module, builder)


@cache
def _machine(target: DeviceTarget) -> llvm.TargetMachine:
    """The code generator. Optimising is for the assembler, which does better without LLVM's
    (whose loops want twice the registers) and has to do it anyway."""
    import llvmlite.binding as llvm

    _initialise()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=0
    )


@cache
def _initialise() -> None:
    """Make LLVM ready for NVIDIA's targets."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@dataclass(frozen=True, slots=True)
class KernelReport:
    """What the assembler says of a kernel: registers of a thread, and bytes.

    `stack` is a thread's local memory, `spill_stores` and `spill_loads` what does not fit into
    registers, `shared` a block's shared memory.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


def assemble(text: str, arch: str) -> tuple[bytes, Mapping[str, KernelReport]]:
    """Machine code (a cubin) for PTX, and what is to be said of each kernel.

    Raises CodegenError when the assembler rejects it, MissingPackageError when there is none."""
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernels.ptx", Path(folder) / "kernels.cubin"
        source.write_text(text)
        options = ["--verbose", f"--gpu-name={arch}", "-o", str(cubin)]
        command = [str(tool("ptxas")), *options, str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        if done.returncode:
            raise CodegenError(f"ptxas rejects the code: {done.stderr.strip()}", text)
        return cubin.read_bytes(), _reports(done.stderr)


def _reports(said: str) -> dict[str, KernelReport]:
    reports = {}
    for match in _REPORT.finditer(said):
        used = _USED.search(said, match.end())
        if used is None:
            continue
        shared = _SHARED.search(used["rest"])
        reports[match["name"]] = KernelReport(
            int(used["registers"]),
            int(match["stack"]),
            int(match["stores"]),
            int(match["loads"]),
            int(shared[1]) if shared else 0,
        )
    return reports


def sass(cubin: bytes) -> str:
    """The machine code for people to read. Raises MissingPackageError without a disassembler."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cubin"
        path.write_bytes(cubin)
        command = [str(tool("nvdisasm")), "--print-code", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise CodegenError(f"the disassembler fails: {done.stderr.strip()}")
    return str(done.stdout)


@cache
def tool(name: str) -> Path:
    """One of NVIDIA's tools. Raises MissingPackageError where it is not installed."""
    packages = _PACKAGES.get(name, ())
    for package in packages:
        try:
            files = metadata.files(package) or ()
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.stem == name and file.parent.name == "bin":
                path = Path(str(file.locate()))
                if os.access(path, os.X_OK):
                    return path
    found = shutil.which(name)
    if found is None:
        raise MissingPackageError(
            f"NVIDIA's tool {name} is neither installed as a package nor on the PATH",
            hint=f"pip install {packages[0]}" if packages else "",
        )
    return Path(found)
