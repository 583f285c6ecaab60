"""The CPU back end: from a program to object code."""

from __future__ import annotations

from jitgraph.codegen.entry import emit_run
from jitgraph.codegen.library import declare_functions
from jitgraph.codegen.llvm import Module, object_code
from jitgraph.codegen.llvm import assembly as text_of_assembly
from jitgraph.codegen.probes import ProbedEmitter
from jitgraph.codegen.program import ProgramEmitter
from jitgraph.codegen.regions import RegionEmitter
from jitgraph.codegen.signature import Signature, slot_table
from jitgraph.codegen.target import host
from jitgraph.ir.kernel import Program
from jitgraph.store import Entry


def emit(
    program: Program, signature: Signature, *, contract: bool, probed: bool = False
) -> Module:
    """The program as LLVM IR, before LLVM's own passes; if `probed`, one that takes its times."""
    module = Module(host())
    declare_functions(module)
    module.declare(slot_table(len(signature.outputs)))
    writer = ProbedEmitter if probed else ProgramEmitter
    writer(module, program, signature, contract, RegionEmitter).emit()
    emit_run(module, signature.params)
    return module


def compiled(module: Module, name: str) -> Entry:
    """Object code for the module of a function, and what it needs to be linked with."""
    objects = tuple(object_code(unit, module.target) for unit in module.units())
    return Entry({"kind": "function", "name": name, "imports": module.imports}, objects)


def assembly(module: Module) -> str:
    """The assembly, for people to read."""
    return "\n".join(text_of_assembly(unit, module.target) for unit in module.units())
