"""Which kernels a step of work becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jitgraph.codegen.gpu.points import emit_points
from jitgraph.codegen.gpu.products import as_kernel
from jitgraph.ir.kernel import Kernel, Product, Rows, Work, Zero

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice


def emit_work(p: OnDevice, step: Work, name: str) -> bool:
    """Emit the kernels for a step and the code that launches them; false if there are none."""
    match step:
        case Zero():
            size = p.product_of((*step.buffer.extents, step.buffer.dtype.itemsize))
            p.workspace.clear(p.f, p.pointer(step.buffer), size)
            return True
        case Kernel() | Rows():
            return emit_points(p.arguments(step, name), step)
        case Product():
            made = emit_work(p, as_kernel(step), name)
            if step.epilogue is not None:
                made = emit_work(p, step.epilogue.kernel, f"{name}_epilogue") and made
            return made
    return False
