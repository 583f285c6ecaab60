"""Row nests whose kernels run one after the other, each over all points of the shared loops.

What they pass each other is then memory of the device, with a cell for each point. This serves the
nests that no group of threads can run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from jitgraph.ir.kernel import Access, Buffer, Kernel, Rows
from jitgraph.ir.opdef import Size
from jitgraph.ir.types import I64, Type
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice


def emit_apart(p: OnDevice, rows: Rows, emit: Callable[[Kernel], bool]) -> bool:
    """Emit the kernels of the nest; false if one of them could not be."""
    steps: dict[Buffer, tuple[Size, ...]] = {}
    for buffer in rows.locals:
        size, found = p.product_of((*buffer.extents, buffer.dtype.itemsize)), []
        for extent in reversed(rows.shared):
            step = Value(Type(I64), name="cell")
            p.bindings[step] = size
            found.append(step)
            size = p.product_of((step, extent))
        steps[buffer] = tuple(reversed(found))
        p.pointers[p.memory.key(buffer)] = p.scratch_memory(size)

    def spread(access: Access) -> Access:
        if access.buffer not in steps:
            return access
        return replace(access, strides=(*steps[access.buffer], *access.strides[rows.depth :]))

    for kernel in rows.kernels:
        loads = tuple(replace(x, access=spread(x.access)) for x in kernel.loads)
        stores = tuple(replace(x, access=spread(x.access)) for x in kernel.stores)
        if not emit(replace(kernel, loads=loads, stores=stores)):
            return False
    return True
