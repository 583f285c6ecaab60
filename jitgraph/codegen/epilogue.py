"""A matrix product and the kernel that goes on from it, part by part.

    matmul(..., f.part, context)        f.part(context, part): f(arguments from context, part)

The routine calls `f.part` for each part of the product when that is final and still in a cache. It
cuts its tasks by the work of the product: where that is not several times the work of the kernel,
or all of it still is in the caches when it is done, the kernel runs afterwards, in chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jitgraph.codegen.launch import PARALLEL_FOR, Launcher, bound, cost, unit_of
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import NestFunction, emit_nest
from jitgraph.codegen.products import emit_product
from jitgraph.ir.kernel import Epilogue, Product

if TYPE_CHECKING:
    from jitgraph.codegen.program import ProgramEmitter

#: A product is so many times the work of its epilogue.
_TIMES = 8
#: A product of no more than so many second-level caches is read again as quickly as it is.
_CACHES = 1
_PART = tuple(f"i64 %{name}" for name in ("row0", "row1", "col0", "col1"))


def emit_with_epilogue(program: ProgramEmitter, step: Product, name: str) -> None:
    """Emit the functions for the epilogue, and the code that runs the product and it."""
    f, p, item = program.f, program, step.epilogue
    assert item is not None
    launcher = Launcher(program)
    made = emit_nest(
        p.module, item.kernel, name, p.memory, split=(0, 1), streams=False, contract=p.contract
    )  # fmt: skip
    arguments = launcher.arguments(made, {})
    part = _part(program, made, item, arguments)
    context = f.record(arguments)
    # Everything is to be in registers before the paths part.
    extents = [p.size(e) for e in item.kernel.extents]
    unit = unit_of(item.kernel, 0, p.memory)
    chunks = launcher.chunks([item.kernel], extents[0], unit, {})
    least = _least_depth(item, step, p.module.target.vector_bytes)
    inner = p.size(step.inner)
    little = f.emit(f"icmp slt i64 {inner}, {least}")
    size = p.product_of((*item.kernel.extents, step.out.buffer.dtype.itemsize))
    near = f.emit(f"icmp sle i64 {size}, {_CACHES * p.module.target.l2_bytes}")
    after = f.emit(f"or i1 {little}, {near}")
    hook = f.emit(f"select i1 {after}, ptr null, ptr {part}")
    emit_product(f, step, p.size, p.pointer, f"ptr {hook}, ptr {context}")
    task = _task(program, name, part, item, unit)
    p.module.use("pool", "parallel_for", PARALLEL_FOR)
    cells = [f"ptr {context}", *(f"i64 {register}" for register in (chunks, *extents))]
    record = f.record(cells)
    with f.if_then(after):
        f.do(f"call void @parallel_for(ptr {task}, ptr {record}, i64 {chunks})")


def _least_depth(item: Epilogue, step: Product, vector_bytes: int) -> int:
    """From how many multiplications for each element a product is enough work."""
    lanes = vector_bytes // step.out.buffer.dtype.itemsize
    return -(-_TIMES * cost(item.kernel, vector_bytes) * lanes // 8)


def _part(
    program: ProgramEmitter,
    made: NestFunction,
    item: Epilogue,
    arguments: Sequence[str],
) -> str:
    """The function that a product calls."""
    f = FunctionBuilder(
        program.module, f"{made.step}.part", ["ptr %context", *_PART], internal=True,
        passes=program.f.passes,
    )  # fmt: skip
    types = [argument.rsplit(" ", 1)[0] for argument in arguments]
    loaded = [f"{t} {r}" for t, r in zip(types, f.unpack("%context", types), strict=True)]
    bounds = [*_PART[2:], *_PART[:2]] if item.turned else list(_PART)
    f.do(f"call void {made.name}({', '.join([*loaded, *bounds])})")
    f.do("ret void")
    return program.module.merged(f).name


def _task(program: ProgramEmitter, name: str, part: str, item: Epilogue, unit: int) -> str:
    """The function that runs one chunk of the kernel's outer loop."""
    f = FunctionBuilder(
        program.module, f"{name}.task", ["ptr %record", "i64 %chunk"], internal=True,
        passes=program.f.passes,
    )  # fmt: skip
    context, chunks, outer, inner = f.unpack("%record", ["ptr", "i64", "i64", "i64"])
    following = f.emit("add i64 %chunk, 1")
    begin, end = (bound(f, c, chunks, outer, unit) for c in ("%chunk", following))
    bounds = [("0", inner), (begin, end)] if item.turned else [(begin, end), ("0", inner)]
    flat = ", ".join(f"i64 {register}" for pair in bounds for register in pair)
    f.do(f"call void {part}(ptr {context}, {flat})")
    f.do("ret void")
    return program.module.merged(f).name
