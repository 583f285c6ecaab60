"""Which kernels a step of work becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu.nests.apart import emit_apart
from jitgraph.codegen.gpu.nests.cells import cells_of
from jitgraph.codegen.gpu.nests.elementwise import emit_elementwise, is_elementwise
from jitgraph.codegen.gpu.nests.points import emit_points
from jitgraph.codegen.gpu.nests.reductions import emit_reductions, reduces
from jitgraph.codegen.gpu.nests.rows import emit_rows
from jitgraph.codegen.gpu.nests.transposes import emit_transposed, turned_loads
from jitgraph.codegen.gpu.orders.prefixes import emit_running, runs
from jitgraph.codegen.gpu.orders.scatters import emit_scatter, scatters
from jitgraph.codegen.gpu.orders.selecting import emit_ordering, emit_selection
from jitgraph.codegen.gpu.orders.sorting import emit_sort
from jitgraph.codegen.gpu.products.convolutions import emit_convolution
from jitgraph.codegen.gpu.products.product import emit_product
from jitgraph.ir.kernel import (
    Buffer,
    Call,
    Check,
    Fetch,
    Kernel,
    Let,
    Product,
    Rows,
    Step,
    Work,
    Zero,
)

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice


def emit_work(p: OnDevice, step: Work, name: str) -> bool:
    """Emit the kernels for a step and the code that launches them; false if there are none."""
    match step:
        case Zero():
            size = p.product_of((*step.buffer.extents, step.buffer.dtype.itemsize))
            p.workspace.clear(p.f, p.pointer(step.buffer), size)
            return True
        case Kernel() if runs(step):
            emit_running(p.arguments(step, name), step)
            return True
        case Kernel() if scatters(step):
            emit_scatter(p.arguments(step, name), step)
            return True
        case Kernel() if reduces(step):
            emit_reductions(lambda part: p.arguments(part, p.device.fresh(name)), step)
            return True
        case Kernel() if is_elementwise(step):
            loop, turned = turned_loads(step)
            if turned:
                emit_transposed(p.arguments(step, name), step, loop, turned)
            else:
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
        case Call() if (emit := _ROUTINES.get(step.routine.library)) is not None:
            return emit(p, step, name)
        case Call() if step.routine.library == "convolution":
            emit_convolution(p, step, name)
            return True
    return False


def needless_starts(steps: Sequence[Step]) -> set[Step]:
    """The steps that fill memory for what is then not combined there, but in registers."""
    found: set[Step] = set()
    for at, step in enumerate(steps):
        overwritten: set[Buffer] = set()
        if isinstance(step, Kernel) and reduces(step):
            overwritten = {s.access.buffer for s in step.stores if s.reduced}
        elif isinstance(step, Rows) and cells_of(step) is not None:
            overwritten = step.totals
        for before in reversed(steps[:at] if overwritten else ()):
            if isinstance(before, Let | Fetch | Check):
                continue
            filled = _filled(before)
            if filled is None:
                break
            if filled in overwritten:
                found.add(before)
    return found


def _filled(step: Step) -> Buffer | None:
    """The buffer that a step fills with a constant, if that is all it does."""
    if isinstance(step, Zero):
        return step.buffer
    if isinstance(step, Kernel) and not step.loads and len(step.stores) == 1:
        item = step.stores[0]
        return item.access.buffer if item.value.literal is not None else None
    return None

#: What launches the routines of a library that devices have.
_ROUTINES = {"numpy.sort": emit_sort, "selection": emit_selection, "ordering": emit_ordering}
