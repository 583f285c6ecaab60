"""What a step has to do, whatever the code for it does: bytes to move, arithmetic.

Bytes are those that the step must read or write at least once: elements that it reads several times
count once, and what its own parts hand each other (the locals of a row nest) not at all. Elements
at computed places count as often as they are computed, up to the whole array.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jitgraph.codegen.flops import flops, flops_of_combining
from jitgraph.codegen.innermost import is_zero
from jitgraph.ir.kernel import (
    ELEMENT,
    Branch,
    Buffer,
    Call,
    ImageEpilogue,
    Kernel,
    Loop,
    Product,
    Rows,
    Work,
    Zero,
)
from jitgraph.ir.opdef import Size
from jitgraph.ir.types import DType, kind_of
from jitgraph.ir.values import Value
from jitgraph.profiling.footprint import Region, footprint, region


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes, and floating-point operations in single and in double precision."""

    read: int
    written: int
    single: int
    double: int


def amount(step: Work, sizes: Mapping[Value, int]) -> Amount:
    """What the step has to do, its extents and strides being as in `sizes`."""
    sized = _Sized(sizes)
    match step:
        case Kernel():
            return sized.kernels([step], 0, set())
        case Rows():
            return sized.kernels(step.kernels, step.depth, set(step.locals))
        case Product():
            return sized.product(step)
        case Call():
            return sized.call(step)
        case Zero():
            return Amount(0, sized.bytes_of(step.buffer), 0, 0)
        case Loop() | Branch():
            return sized.control(step)


def loops(step: Work, sizes: Mapping[Value, int]) -> tuple[int, ...]:
    """How often the loops of a step go round: those that all kernels of a row nest share; batch,
    rows, columns and inner dimension of a product."""
    match step:
        case Kernel():
            found = step.extents
        case Rows():
            found = step.shared
        case Product():
            found = (*step.batch, step.rows, step.columns, step.inner)
        case Call():
            found = (*step.batch, *step.core)
        case Zero():
            found = step.buffer.extents
        case Loop():
            found = (step.steps,)
        case Branch():
            found = ()
    return tuple(s if isinstance(s, int) else sizes[s] for s in found)


class _Touched:
    """The parts of buffers that a step touches, in one direction."""

    def __init__(self) -> None:
        self.regions: dict[Buffer, list[Region]] = defaultdict(list)
        self.scattered: dict[Buffer, int] = defaultdict(int)


class _Sized:
    """Measures steps, their sizes known."""

    def __init__(self, sizes: Mapping[Value, int]) -> None:
        self.sizes = sizes

    def size(self, size: Size) -> int:
        return size if isinstance(size, int) else self.sizes[size]

    def all(self, sizes: Sequence[Size]) -> list[int]:
        return [self.size(s) for s in sizes]

    def bytes_of(self, buffer: Buffer) -> int:
        return math.prod(self.all(buffer.extents)) * buffer.dtype.itemsize

    def _bytes(self, touched: _Touched) -> int:
        total = sum(footprint(r, b.dtype.itemsize) for b, r in touched.regions.items())
        for buffer, count in touched.scattered.items():
            total += min(count * buffer.dtype.itemsize, self.bytes_of(buffer))
        return total

    def control(self, step: Loop | Branch) -> Amount:
        """What goes in and out, once; how much a region computes only its steps could tell."""
        read = sum(
            math.prod(self.all(a.extents)) * a.view.buffer.dtype.itemsize
            for a in step.arguments if a is not None and a.view is not None
        )  # fmt: skip
        written = [b for b in step.writes() if b.kind != "grown"]
        return Amount(read, sum(map(self.bytes_of, written)), 0, 0)

    # --- kernels --------------------------------------------------------------------------------
    def kernels(self, kernels: Sequence[Kernel], depth: int, known: set[Buffer]) -> Amount:
        """Kernels that run together; what is in `known`, or one of them has written, is not
        read from memory by those after it."""
        read, written = _Touched(), _Touched()
        local = frozenset(known)
        done = set(known)
        precisions = {"single": 0, "double": 0}
        for kernel in kernels:
            extents = self.all(kernel.extents)
            self._reads(kernel, extents, done, read)
            self._writes(kernel, extents, local, written)
            done |= kernel.writes()
            for dtype, count in self._arithmetic(kernel, extents, depth):
                wide = dtype.itemsize == (16 if dtype.kind == "c" else 8)
                precisions["double" if wide else "single"] += count
        return Amount(self._bytes(read), self._bytes(written), **precisions)

    def _reads(
        self, kernel: Kernel, extents: list[int], known: set[Buffer], read: _Touched
    ) -> None:
        accesses = [load.access for load in kernel.loads]
        # What a running total goes on from, the kernel itself has written.
        accesses += [s.access for s in kernel.stores if s.combine and s.running is None
                     and not s.in_register and not s.indices]  # fmt: skip
        for access in accesses:
            strides = self.all(access.strides)
            part = region(self.size(access.offset), strides, extents)
            if access.buffer not in known and part is not None:
                read.regions[access.buffer].append(part)
        points = math.prod(extents)
        arrays = {source.handle: source.view.buffer for source in kernel.sources}
        for value in kernel.body():
            if value.op is not None and value.op.definition is ELEMENT:
                read.scattered[arrays[value.op.args[0]]] += points
        for store in kernel.stores:
            if store.indices and store.combine:
                read.scattered[store.access.buffer] += points

    def _writes(
        self, kernel: Kernel, extents: list[int], local: frozenset[Buffer], written: _Touched
    ) -> None:
        for store in kernel.stores:
            access = store.access
            if store.indices:
                written.scattered[access.buffer] += math.prod(extents)
            elif access.buffer not in local:
                strides = self.all(access.strides)
                # A register is stored also where there was nothing to combine.
                rounds = [1 if store.in_register and k in store.reduced else n
                          for k, n in enumerate(extents)]  # fmt: skip
                part = region(self.size(access.offset), strides, rounds)
                if part is not None:
                    written.regions[access.buffer].append(part)

    def _arithmetic(
        self, kernel: Kernel, extents: list[int], depth: int
    ) -> Iterator[tuple[DType, int]]:
        """Operations by dtype. What does not depend on the inner loops is computed outside."""
        level = {iterator: k + 1 for k, iterator in enumerate(kernel.iterators)}
        for load in kernel.loads:
            used = [k + 1 for k, s in enumerate(load.access.strides) if not is_zero(s)]
            level[load.leaf] = max(used, default=depth)
        for value in kernel.body():
            if value.op is None:
                continue
            level[value] = max((level.get(a, depth) for a in value.op.args), default=depth)
            points = math.prod(extents[: max(level[value], depth)])
            dtypes = [a.dtype for a in value.op.args if kind_of(a.dtype) in "fc"]
            if dtypes:
                yield max(dtypes, key=lambda d: d.itemsize), points * flops(value.op)
        for store in kernel.stores:
            if store.combine is not None:
                dtype = store.value.dtype
                yield dtype, math.prod(extents) * flops_of_combining(store.combine, dtype)

    # --- products -------------------------------------------------------------------------------
    def product(self, step: Product) -> Amount:
        batch = self.all(step.batch)
        rows, columns, inner = self.all((step.rows, step.columns, step.inner))
        read = _Touched()
        for view, extents in ((step.left, (rows, inner)), (step.right, (inner, columns))):
            strides = self.all(view.strides)
            part = region(self.size(view.offset), strides, [*batch, *extents])
            if part is not None:
                read.regions[view.buffer].append(part)
        out = step.out.buffer
        single = out.dtype.itemsize == 4
        count = math.prod((2, *batch, rows, columns, inner))
        written = math.prod((*batch, rows, columns, out.dtype.itemsize))
        whole = Amount(
            self._bytes(read), written, *((count, 0) if single else (0, count))
        )
        if step.epilogue is None:
            return whole
        after = self.kernels([step.epilogue.kernel], 0, {out})
        return Amount(
            whole.read + after.read,
            after.written,
            whole.single + after.single,
            whole.double + after.double,
        )

    # --- routines -------------------------------------------------------------------------------
    def call(self, step: Call) -> Amount:
        """Bytes only: what a routine computes is its own affair, but for convolutions."""
        if step.epilogue is not None:
            return self._with_images(replace(step, epilogue=None), step.epilogue)
        read, written = (sum(map(self.bytes_of, buffers))
                         for buffers in (step.reads(), step.writes()))  # fmt: skip
        if step.routine.library != "convolution":
            return Amount(read, written, 0, 0)
        letters = dict.fromkeys("".join([*filter(None, step.routine.operands),
                                         *step.routine.results]))  # fmt: skip
        sizes = zip(letters, (self.size(s) for s in step.core), strict=True)
        each = 2 * math.prod(n for letter, n in sizes if letter not in "czyx")
        count = each * math.prod(self.all(step.batch))
        single = step.outputs[0].buffer.dtype.itemsize == 4
        return Amount(read, written, *((count, 0) if single else (0, count)))

    def _with_images(self, step: Call, epilogue: ImageEpilogue) -> Amount:
        """A convolution, and what follows on its images."""
        whole, rows = self.call(step), epilogue.rows
        made = step.outputs[0].buffer if epilogue.image is None else epilogue.image
        after = self.kernels(rows.kernels, rows.depth, {made, *rows.locals})
        kept = whole.written if epilogue.image is None else 0
        return Amount(
            whole.read + after.read,
            kept + after.written,
            whole.single + after.single,
            whole.double + after.double,
        )
