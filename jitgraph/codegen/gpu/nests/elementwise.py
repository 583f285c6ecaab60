"""Kernels that combine nothing: strips of neighbours, dealt to all threads of the grid in turn."""

from __future__ import annotations

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.strips import aligned, copies_of, width_of
from jitgraph.codegen.gpu.nests.sweeps import Sweep, ceil_div, product
from jitgraph.codegen.nests import Nest
from jitgraph.ir.kernel import Kernel

#: Blocks for each multiprocessor; more work makes threads go round.
_ROUNDS = 32
#: Strips in flight.
_MOST_COPIES = 4


def is_elementwise(kernel: Kernel) -> bool:
    """Whether every point writes places of its own, and no more."""
    return bool(kernel.extents) and not any(
        s.combine is not None or s.indices or s.running is not None for s in kernel.stores
    )


def emit_elementwise(arguments: Arguments, kernel: Kernel) -> None:
    """The kernel, and the code that launches it."""
    p = arguments.emitter
    width = width_of(kernel)
    wide = aligned(p, kernel.accesses(), width)
    extents = [p.size(e) for e in kernel.extents]
    strips = product(p.f, [*extents[:-1], ceil_div(p.f, extents[-1], width)])
    f = arguments.begin(more=["i64 %strips", "i1 %wide"])
    nest = Nest(arguments.context(kernel), kernel)
    pointers = nest.start()
    nest.compute(0, pointers)
    first = f.emit(f"mul i64 {gpu.block(f)}, {gpu.threads(f)}")
    first = f.emit(f"add i64 {first}, {gpu.thread(f)}")
    step = f.emit(f"mul i64 {gpu.blocks(f)}, {gpu.threads(f)}")
    copies = copies_of(kernel, width, _MOST_COPIES)
    inner = [nest.size(e) for e in kernel.extents]
    Sweep(nest, pointers, {}, inner, width, step, copies, None if wide == "false" else "%wide"
          ).emit(first, "%strips", [])  # fmt: skip
    f.do("ret void")
    blocks = ceil_div(p.f, strips, gpu.THREADS * copies)
    blocks = p.f.minimum(blocks, arguments.most_blocks(_ROUNDS))
    arguments.launch(f, blocks, gpu.THREADS, [f"i64 {strips}", f"i1 {wide}"])
