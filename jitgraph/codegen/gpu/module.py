"""The module of a device's kernels, and what its functions call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from jitgraph.codegen.gpu.target import DeviceTarget
from jitgraph.codegen.iterations import library_text as iterations_text
from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.mathlib.angles import library_text as angles_text
from jitgraph.config import EXACT, Products

#: Threads of a block, unless a kernel wants another number.
THREADS = 256
#: What an empty piece of assembly, an identity for LLVM, calls registers.
_OPAQUE = re.compile(r'call (\w+) asm "", "=r,0"')
_REGISTERS = {"i16": "h", "i32": "r", "i64": "l", "float": "f", "double": "d"}


class DeviceModule(Module):
    """Kernels in the making. A device has no libraries: what functions call is defined here."""

    target: DeviceTarget

    def __init__(self, target: DeviceTarget, products: Products = EXACT) -> None:
        super().__init__(target)
        #: How exact products of f32 are, and who computes them (`config.products`).
        self.precision, self.products = products.precision, products.products
        #: How many places there are where the host calls the library of products.
        self.library_calls = 0
        #: The names of the kernels, in the order in which the host knows them.
        self.kernels: list[str] = []
        #: Kernels that several steps may launch, by name.
        self.routines: dict[str, FunctionBuilder] = {}
        #: Bytes of dynamic shared memory at most, of kernels that must ask for that.
        self.dynamic: dict[str, int] = {}

    def kernel(
        self, name: str, parameters: Sequence[str], threads: int = THREADS, resident: int = 0
    ) -> FunctionBuilder:
        """A kernel for blocks of at most so many threads, of which a multiprocessor is to hold so
        many at least."""
        attributes = f'"nvvm.maxntid"="{threads}"'
        if resident:
            attributes += f' "nvvm.minctasm"="{resident}"'
        return FunctionBuilder(
            self, name, parameters, returns="ptx_kernel void", passes="explicit",
            attributes=attributes,
        )  # fmt: skip

    def fresh(self, name: str) -> str:
        """A name for a kernel that no other has."""
        name = name.replace(".", "_")
        made, number = name, 0
        while not self.once(f"kernel {made}"):
            number += 1
            made = f"{name}_{number}"
        return made

    def merged(self, function: FunctionBuilder) -> FunctionBuilder:
        first = super().merged(function)
        if first is not function:
            for line in self._own_memory(function):
                self._declarations.pop(line, None)
        return first

    def _unnamed(self, function: FunctionBuilder) -> str:
        """With shared memory of the same size, which bears the kernel's name."""
        text, own = super()._unnamed(function), []
        for line, name in self._own_memory(function).items():
            own.append(line.removeprefix(name))
            text = re.sub(rf"{re.escape(name)}(?![\w.$])", "@", text)
        return "\n".join([text, *own])

    def _own_memory(self, function: FunctionBuilder) -> dict[str, str]:
        """The lines that declare a kernel's shared memory, and its names."""
        names = (_shared_name(function), _dynamic_name(function))
        return {line: name for line in self._declarations for name in names
                if line.startswith(f"{name} =")}  # fmt: skip

    def launched(self, function: FunctionBuilder) -> int:
        """The number of a finished kernel, or of the equal one that was here before."""
        name = self.merged(function).symbol
        if name not in self.kernels:
            self.kernels.append(name)
        return self.kernels.index(name)

    def use(self, library: str, symbol: str, declaration: str) -> None:
        """Define the functions of a library here."""
        if self.once(library):
            declarations, functions = _library(library)
            for line in declarations:
                self.declare(line)
            self.define(functions)

    def _joined(self, declarations: Iterable[str], functions: Iterable[str]) -> str:
        metadata = (f"{name} = {node}" for node, name in self._metadata.items())
        attributes = "attributes #0 = { nounwind }"
        text = "\n".join([*declarations, *functions, attributes, *metadata]) + "\n"
        return _OPAQUE.sub(lambda m: f'call {m[1]} asm "", "={_REGISTERS[m[1]]},0"', text)


@cache
def _library(name: str) -> tuple[list[str], str]:
    """The declarations and the functions of a library of scalar functions, as internal ones."""
    from jitgraph.codegen.target import host

    text = iterations_text(host()) if name == "iterations" else angles_text()
    lines = [line for line in text.splitlines() if not line.startswith("attributes")]
    declared = [line for line in lines if line.startswith(("declare", "@"))]
    rest = [line for line in lines if line not in declared]
    functions = re.sub(r"^define (?!internal)", "define internal ", "\n".join(rest), flags=re.M)
    return declared, functions


# --- threads -----------------------------------------------------------------------------------
def thread(f: FunctionBuilder) -> str:
    """The number of the thread in its block, an i64."""
    return _special(f, "tid.x")


def block(f: FunctionBuilder) -> str:
    """The number of the block."""
    return _special(f, "ctaid.x")


def threads(f: FunctionBuilder) -> str:
    """How many threads the block has."""
    return _special(f, "ntid.x")


def blocks(f: FunctionBuilder) -> str:
    """How many blocks there are."""
    return _special(f, "nctaid.x")


def _special(f: FunctionBuilder, register: str) -> str:
    read = f.intrinsic("i32", f"@llvm.nvvm.read.ptx.sreg.{register}")
    return f.emit(f"zext i32 {read} to i64", register.split(".")[0])


def barrier(f: FunctionBuilder) -> None:
    """All threads of the block meet; what they wrote before is seen after."""
    # The name that LLVM 20 knows; later ones take it for its new name.
    name = "@llvm.nvvm.barrier0"
    f.module.declare(f"declare void {name}() convergent nounwind")
    f.do(f"call void {name}()")


def shared_memory(f: FunctionBuilder, size: int, align: int = 16) -> str:
    """So many bytes that all threads of a block share."""
    name = _shared_name(f)
    f.module.declare(
        f"{name} = internal addrspace(3) global [{size} x i8] undef, align {align}"
    )
    return f.emit(f"addrspacecast ptr addrspace(3) {name} to ptr", "shared")


def dynamic_memory(f: FunctionBuilder, most: int = 0) -> str:
    """Memory that the threads of a block share, of the size that the launch says: at most so much
    where a block needs more than every block may have."""
    if most and isinstance(f.module, DeviceModule):
        f.module.dynamic[f.symbol] = most
    name = _dynamic_name(f)
    f.module.declare(f"{name} = external addrspace(3) global [0 x i8], align 16")
    return f.emit(f"addrspacecast ptr addrspace(3) {name} to ptr", "dynamic")


def _shared_name(f: FunctionBuilder) -> str:
    return f"@{f.symbol}.shared"


def _dynamic_name(f: FunctionBuilder) -> str:
    return f"@{f.symbol}_dynamic"
