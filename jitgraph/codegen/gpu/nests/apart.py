"""Row nests whose kernels run one after the other, each over all points of the shared loops.

What they pass each other is then memory of the device, with a cell for each point. This serves the
nests that no group of threads can run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from jitgraph.codegen.innermost import is_zero
from jitgraph.ir.kernel import ELEMENT, Access, Buffer, Kernel, Rows, Source
from jitgraph.ir.opdef import Size
from jitgraph.ir.types import I64, Type
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice


def emit_apart(p: OnDevice, rows: Rows, emit: Callable[[Kernel], bool]) -> bool:
    """Emit the kernels of the nest; false if one of them could not be."""
    axes = {s: _axes(k, s, rows.depth) for k in rows.kernels for s in k.sources
            if s.view.buffer in rows.locals}  # fmt: skip
    if None in axes.values():
        return False
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

    def spread_source(source: Source) -> Source:
        found = axes.get(source)
        if found is None:
            return source
        strides = list(source.view.strides)
        for axis, step in zip(found, steps[source.view.buffer], strict=True):
            strides[axis] = step
        return replace(source, view=replace(source.view, strides=tuple(strides)))

    for kernel in rows.kernels:
        sources = tuple(map(spread_source, kernel.sources))
        loads = tuple(replace(x, access=spread(x.access)) for x in kernel.loads)
        stores = tuple(replace(x, access=spread(x.access)) for x in kernel.stores)
        if not emit(replace(kernel, sources=sources, loads=loads, stores=stores)):
            return False
    return True


def _axes(kernel: Kernel, source: Source, depth: int) -> list[int] | None:
    """The axes of a local read at computed places along which it is read at the very point of each
    shared loop; None if there are no such."""
    reads = [v.op.args[1:] for v in kernel.body()
             if v.op is not None and v.op.definition is ELEMENT and v.op.args[0] is source.handle]
    found = []
    for iterator in kernel.iterators[:depth]:
        own = [a for a, stride in enumerate(source.view.strides)
               if is_zero(stride) and all(r[a] is iterator for r in reads)]  # fmt: skip
        if not own:
            return None
        found.append(own[0])
    return found
