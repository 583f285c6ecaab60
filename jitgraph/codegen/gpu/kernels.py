"""Which kernels a step of work becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jitgraph.codegen.gpu.apart import emit_apart
from jitgraph.codegen.gpu.cells import cells_of
from jitgraph.codegen.gpu.convolutions import emit_convolution
from jitgraph.codegen.gpu.elementwise import emit_elementwise, is_elementwise
from jitgraph.codegen.gpu.points import emit_points
from jitgraph.codegen.gpu.products import emit_product
from jitgraph.codegen.gpu.reductions import emit_reductions, reduces
from jitgraph.codegen.gpu.rows import emit_rows
from jitgraph.ir.kernel import Call, Kernel, Product, Rows, Work, Zero

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice


def emit_work(p: OnDevice, step: Work, name: str) -> bool:
    """Emit the kernels for a step and the code that launches them; false if there are none."""
    match step:
        case Zero():
            size = p.product_of((*step.buffer.extents, step.buffer.dtype.itemsize))
            p.workspace.clear(p.f, p.pointer(step.buffer), size)
            return True
        case Kernel() if reduces(step):
            emit_reductions(lambda part: p.arguments(part, p.device.fresh(name)), step)
            return True
        case Kernel() if is_elementwise(step):
            emit_elementwise(p.arguments(step, name), step)
            return True
        case Rows() if (cells := cells_of(step)) is not None:
            emit_rows(p.arguments(step, name), step, cells)
            return True
        case Rows():
            return emit_apart(p, step, lambda kernel: emit_work(p, kernel, p.device.fresh(name)))
        case Kernel():
            return emit_points(p.arguments(step, name), step)
        case Product():
            return emit_product(p, step, name)
        case Call() if step.routine.library == "convolution":
            emit_convolution(p, step, name)
            return True
    return False
