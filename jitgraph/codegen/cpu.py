"""The CPU back end: from a program to machine code in this process."""

from __future__ import annotations

from collections.abc import Sequence

from jitgraph.codegen.entry import OutputSpec, ParamSpec, emit_entry
from jitgraph.codegen.llvm import Compiled, Module, compile_ir
from jitgraph.codegen.products import product_imports
from jitgraph.codegen.program import Signature, emit_program
from jitgraph.codegen.target import host
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import Program
from jitgraph.ir.types import Extent


def signature_of(
    fn: Function,
    contiguous: Sequence[bool],
    param_slots: Sequence[int | None],
    result_slots: Sequence[int | None],
) -> Signature:
    """The parameters and outputs of the native function, from the specialised graph."""
    params = []
    for param, in_order, slot in zip(fn.params, contiguous, param_slots, strict=True):
        dims = tuple(d if isinstance(d, int) else None for d in param.type.shape)
        not_one = tuple(isinstance(d, Extent) and d.not_one for d in param.type.shape)
        params.append(ParamSpec(param.dtype, dims, not_one, in_order, slot))
    outputs = [
        OutputSpec("result" if slot is None else "update", r.dtype, r.ndim, slot)
        for r, slot in zip(fn.results, result_slots, strict=True)
    ]
    return Signature(tuple(params), tuple(outputs))


def emit(
    program: Program,
    fn: Function,
    signature: Signature,
    *,
    single: bool,
    nothing: bool,
    contract: bool,
) -> str:
    """The module as LLVM IR text, before LLVM's own passes."""
    module = Module(host())
    emit_program(module, program, signature, contract=contract)
    emit_entry(
        module,
        signature.params,
        signature.outputs,
        equal_dims=_equal_dims(fn),
        single=single,
        nothing=nothing,
    )
    return module.text()


def link(text: str, program: Program) -> Compiled:
    """Machine code for the module, linked with the matrix products it calls."""
    return compile_ir(text, host(), imports=product_imports(program, host()))


def _equal_dims(fn: Function) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Axes of parameters that bear the same extent name."""
    first: dict[str, tuple[int, int]] = {}
    pairs = []
    for k, param in enumerate(fn.params):
        for axis, dim in enumerate(param.type.shape):
            if isinstance(dim, Extent):
                at = first.setdefault(dim.name, (k, axis))
                if at != (k, axis):
                    pairs.append((at, (k, axis)))
    return pairs
