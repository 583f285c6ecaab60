"""Runs the function of a kernel or a row nest: all at once, or in chunks on several threads.

    f(..., 0, n)    =>    parallel_for(f.task, context, chunks): f(..., begin(chunk), end(chunk))

How many chunks there are depends on the sizes of the arrays and on nothing else, so a result is
the same for every number of threads. What all chunks accumulate into (the *totals*: sums over the
split loop) each of them has a copy of; the copies are joined in order when all are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jitgraph.codegen.expansions import op_length
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Memory, NestFunction, emit_nest, kept_inside, streamed_stores
from jitgraph.codegen.places import FirstPlace, accumulator
from jitgraph.codegen.registers import load, register_type, store
from jitgraph.codegen.tiles import ROWS, tiled_loads
from jitgraph.ir.kernel import Buffer, Kernel, Rows, Slot, Store
from jitgraph.ir.opdef import Size

if TYPE_CHECKING:
    from jitgraph.codegen.program import ProgramEmitter

#: Work of a chunk, in eighths of a vector instruction: some ten microseconds.
GRAIN = 8 * 20_000
MOST_CHUNKS = 64
#: Copies of totals take no more memory than this.
MOST_COPIES = 1 << 20
#: Results of more than so many second-level caches are written past the caches.
STREAMED = 2
#: Chunks of the innermost loop begin at multiples of this many elements.
UNIT = 64
#: The same where loops run around it: a page of memory, so that each row is read in long pieces.
STRIPE = 512
#: A loop that is known to be shorter is not worth splitting.
_SHORT = 2 * STRIPE
PARALLEL_FOR = "declare void @parallel_for(ptr, ptr, i64)"


def split_loop(work: Kernel | Rows) -> int | None:
    """The loop whose rounds go to different threads, if any: the outermost one that nothing is
    summed over, else the outermost."""
    if isinstance(work, Rows):
        scattered = any(s.indices for k in work.kernels for s in k.stores)
        return None if scattered else 0
    rank = len(work.extents)
    if not rank or any(s.indices for s in work.stores):
        return None
    reduced = frozenset().union(*(s.reduced for s in work.stores))
    running = {s.running for s in work.stores}
    for loop in range(rank):
        extent = work.extents[loop]
        short = loop == rank - 1 and isinstance(extent, int) and extent < _SHORT
        if loop not in reduced and loop not in running and not (short and reduced):
            return loop
    return None if 0 in running else 0


def totals_of(work: Kernel | Rows, split: int) -> dict[Buffer, Store]:
    """What the rounds of the split loop accumulate into together."""
    kernels = work.kernels if isinstance(work, Rows) else (work,)
    split_loops = range(work.depth) if isinstance(work, Rows) else (split,)
    found = {s.access.buffer: s for k in kernels for s in k.stores
             if not s.reduced.isdisjoint(split_loops)}  # fmt: skip
    return dict(sorted(found.items(), key=lambda item: item[0].number))


def unit_of(work: Kernel | Rows, split: int, memory: Memory) -> int:
    """Chunks begin at multiples of so many rounds of the split loop."""
    if isinstance(work, Rows) or split < len(work.extents) - 2:
        return 1
    if split == len(work.extents) - 2:
        return ROWS if tiled_loads(work, memory) else 1
    return UNIT if split == 0 else STRIPE


def cost(kernel: Kernel, vector_bytes: int) -> int:
    """About how long a point of the domain takes, in eighths of a vector instruction."""
    instructions = sum(map(op_length, kernel.body())) + 2 * len(kernel.accesses())
    widest = max((s.value.dtype.itemsize for s in kernel.stores), default=8)
    return max(8 * instructions * widest // vector_bytes, 1)


def bound(f: FunctionBuilder, chunk: str, chunks: str, extent: str, unit: int) -> str:
    """Where a chunk begins: at a multiple of the unit, the last one's end at the extent."""
    units = extent
    if unit > 1:
        units = f.emit(f"sdiv i64 {f.emit(f'add i64 {extent}, {unit - 1}')}, {unit}")
    at = f.emit(f"sdiv i64 {f.emit(f'mul i64 {chunk}, {units}')}, {chunks}")
    return at if unit == 1 else f.minimum(f.emit(f"mul i64 {at}, {unit}"), extent)


@dataclass(frozen=True, slots=True)
class Copies:
    """Memory of which each chunk has its own: where that of the first begins, and the bytes from
    each to the next."""

    base: str
    size: str


class Launcher:
    """Emits the launches of a program, into its function."""

    def __init__(self, program: ProgramEmitter) -> None:
        self.program = program
        self.f = program.f

    def launch(self, work: Kernel | Rows, name: str) -> None:
        """Emit the function for the work, and the code that runs it."""
        p = self.program
        split = split_loop(work)
        if split is not None and self._is_small(work):
            split = None
        streamed = streamed_stores(work, p.memory)
        streams = self.past_caches(work, streamed)
        made = emit_nest(
            p.module, work, name, p.memory, split=() if split is None else (split,),
            streams=bool(streams), contract=p.contract,
        )  # fmt: skip
        kernels = work.kernels if isinstance(work, Rows) else (work,)
        if split is None:
            copies = self.locals_of(work, "1")
            self._call(made, {k: c.base for k, c in copies.items()}, streams)
            return
        extent = p.size(kernels[0].extents[split])
        unit = unit_of(work, split, p.memory)
        totals = totals_of(work, split)
        copied = self._sizes(totals)
        chunks = self.chunks(kernels, extent, unit, copied)
        own = work.locals if isinstance(work, Rows) else ()
        # Everything is to be in registers before the paths part.
        self.arguments(made, {p.memory.key(b): "null" for b in own})
        copies = self.locals_of(work, chunks)
        several, once, done = (self.f.label(n) for n in ("several", "once", "done"))
        # With the position of an extremum comes the extremum, for which results have no room.
        fewest = 0 if any(s.places is not None and s.in_register for s in totals.values()) else 1
        self.f.branch_if(self.f.emit(f"icmp sgt i64 {chunks}, {fewest}"), several, once)
        self.f.block(several)
        copies_of_totals = self.copies_of(totals, chunks)
        for buffer, item in totals.items():
            if not item.in_register:
                self.fill(item, copies_of_totals[p.memory.key(buffer)], chunks)
        self._parallel(made, copies | copies_of_totals, streams, chunks, extent, unit)
        for buffer, item in totals.items():
            mine = copies_of_totals[p.memory.key(buffer)]
            best = next((b for k in kernels if (b := k.extremum(item))), None)
            if best is None:
                self.join(item, buffer, mine, chunks)
            else:
                theirs = copies_of_totals[p.memory.key(best.access.buffer)]
                self._join_places(item, best, (mine, theirs), chunks)
        self.f.branch(done)
        self.f.block(once)
        bounds = ["i64 0", f"i64 {extent}", *streams]
        self._call(made, {k: c.base for k, c in copies.items()}, bounds)
        self.f.block(done)

    # --- how much -------------------------------------------------------------------------------
    def _is_small(self, work: Kernel | Rows) -> bool:
        """Whether one chunk is known to be enough."""
        kernels = work.kernels if isinstance(work, Rows) else (work,)
        total = 0
        for kernel in kernels:
            points = 1
            for extent in kernel.extents:
                if not isinstance(extent, int):
                    return False
                points *= extent
            total += points * cost(kernel, self.program.module.target.vector_bytes)
        return total < 2 * GRAIN

    def chunks(
        self, kernels: Sequence[Kernel], extent: str, unit: int, copied: dict[Buffer, str]
    ) -> str:
        f, p = self.f, self.program
        total = "0"
        for kernel in kernels:
            price = cost(kernel, p.module.target.vector_bytes)
            total = p.plus(total, p.product_of((*kernel.extents, price)))
        chunks = f.minimum(f.emit(f"sdiv i64 {total}, {GRAIN}"), MOST_CHUNKS)
        if unit > 1:
            extent = f.emit(f"sdiv i64 {p.plus(extent, str(unit - 1))}, {unit}")
        chunks = f.minimum(chunks, extent)
        bytes_ = "0"
        for size in copied.values():
            bytes_ = p.plus(bytes_, size)
        if copied:
            chunks = f.minimum(chunks, f.emit(f"sdiv i64 {MOST_COPIES}, {f.maximum(bytes_, 1)}"))
        return f.maximum(chunks, 1)

    def past_caches(self, work: Kernel | Rows, streamed: Sequence[Store]) -> list[str]:
        """The flag that says so, as an argument: what is written does not fit into the caches. None
        where it is known to fit."""
        p = self.program
        largest = STREAMED * p.module.target.l2_bytes
        buffers = {item.access.buffer for item in streamed}
        known = all(isinstance(e, int) for b in buffers for e in b.extents)
        total = "0"
        for buffer in sorted(buffers, key=lambda b: b.number):
            total = p.plus(total, p.product_of((*buffer.extents, buffer.dtype.itemsize)))
        if not buffers or (known and int(total) <= largest):
            return []
        return [f"i1 {self.f.emit(f'icmp sgt i64 {total}, {largest}')}"]

    # --- memory ---------------------------------------------------------------------------------
    def _sizes(self, buffers: Iterable[Buffer]) -> dict[Buffer, str]:
        p = self.program
        return {b: p.rounded(p.product_of((*b.extents, b.dtype.itemsize))) for b in buffers}

    def copies_of(self, totals: Iterable[Buffer], chunks: str) -> dict[str, Copies]:
        """Memory for a copy of each total for each chunk."""
        sizes = self._sizes(totals)
        return self._copies(sizes, chunks, 1) if sizes else {}

    def locals_of(self, work: Kernel | Rows, chunks: str) -> dict[str, Copies]:
        """Memory for the locals that the function does not keep on its stack."""
        if not isinstance(work, Rows):
            return {}
        p, kept = self.program, kept_inside(work)
        sizes: dict[Buffer, str] = {}
        for buffer in work.locals:
            if buffer in kept:
                continue
            factors = (*buffer.extents, buffer.dtype.itemsize)
            size = p.product_of(factors)
            if not size.isdigit():
                # Where there are no rows, a row may have any size.
                largest: Size = next(e for e in factors if not isinstance(e, int))
                copies = (*work.shared, *factors)
                p.require_sane(Slot(buffer.name, largest, copies))
                none = self.f.emit(f"icmp eq i64 {p.product_of(work.shared)}, 0")
                size = self.f.emit(f"select i1 {none}, i64 0, i64 {size}")
            sizes[buffer] = p.rounded(size)
        return self._copies(sizes, chunks, 0) if sizes else {}

    def _copies(self, sizes: dict[Buffer, str], chunks: str, use: int) -> dict[str, Copies]:
        """A block of memory with a copy of each buffer for each chunk."""
        p, f = self.program, self.f
        offsets, total = [], "0"
        for size in sizes.values():
            offsets.append(total)
            total = p.plus(total, size)
        whole = f.emit(f"mul i64 {total}, {chunks}")
        base = p.stack_or_heap(whole, p.space[use], p.space_cell())
        return {
            p.memory.key(buffer): Copies(base if at == "0" else f.offset(base, at), total)
            for buffer, at in zip(sizes, offsets, strict=True)
        }

    # --- calls ----------------------------------------------------------------------------------
    def arguments(self, made: NestFunction, own: dict[str, str]) -> list[str]:
        """Typed arguments; `own` are pointers that are not the program's."""
        p = self.program
        keys = [p.memory.key(b) for b in made.buffers]
        arguments = [
            f"ptr {own[key] if key in own else p.pointer(buffer)}"
            for key, buffer in zip(keys, made.buffers, strict=True)
        ]
        for scalar in made.scalars:
            register = p.register(scalar)
            parts = [register] if isinstance(register, str) else register
            arguments += [f"{register_type(scalar.dtype)} {part}" for part in parts]
        return arguments

    def _call(self, made: NestFunction, own: dict[str, str], bounds: Sequence[str]) -> None:
        arguments = [*self.arguments(made, own), *bounds]
        self.f.do(f"call void {made.name}({', '.join(arguments)})")

    def _parallel(
        self,
        made: NestFunction,
        own: dict[str, Copies],
        streams: Sequence[str],
        chunks: str,
        extent: str,
        unit: int,
    ) -> None:
        """Put the arguments where the task finds them, and run it for all chunks."""
        f, p = self.f, self.program
        arguments = self.arguments(made, {key: c.base for key, c in own.items()})
        keys: list[str] = [p.memory.key(b) for b in made.buffers]
        arguments += streams
        cells = [f"i64 {chunks}", f"i64 {extent}", *arguments]
        strides = {k: own[key].size for k, key in enumerate(keys) if key in own}
        cells += [f"i64 {size}" for size in strides.values()]
        context = f.record(cells)
        types = [a.rsplit(" ", 1)[0] for a in arguments]
        task = self._task(made, types, list(strides), len(streams), unit)
        p.module.use("pool", "parallel_for", PARALLEL_FOR)
        f.do(f"call void @parallel_for(ptr {task}, ptr {context}, i64 {chunks})")

    def _task(
        self,
        made: NestFunction,
        types: Sequence[str],
        copied: Sequence[int],
        flags: int,
        unit: int,
    ) -> str:
        """The function that runs one chunk. The last `flags` arguments come after the bounds."""
        name = f"{made.step}.task"
        f = FunctionBuilder(
            self.program.module, name, ["ptr %context", "i64 %chunk"], internal=True,
            passes=self.f.passes,
        )  # fmt: skip

        cells = f.unpack("%context", ["i64", "i64", *types, *(["i64"] * len(copied))])
        (chunks, extent), registers = cells[:2], cells[2 : 2 + len(types)]
        for at, size in zip(copied, cells[2 + len(types) :], strict=True):
            registers[at] = f.offset(registers[at], f.emit(f"mul i64 %chunk, {size}"))
        following = f.emit("add i64 %chunk, 1")
        begin, end = (bound(f, chunk, chunks, extent, unit)
                      for chunk in ("%chunk", following))  # fmt: skip
        arguments = [f"{t} {r}" for t, r in zip(types, registers, strict=True)]
        arguments[len(arguments) - flags : len(arguments) - flags] = [f"i64 {begin}", f"i64 {end}"]
        f.do(f"call void {made.name}({', '.join(arguments)})")
        f.do("ret void")
        return f.module.merged(f).name

    # --- totals ---------------------------------------------------------------------------------
    def fill(self, item: Store, copies: Copies, chunks: str) -> None:
        """Copies of a total begin with what adding changes nothing."""
        f, dtype = self.f, item.access.buffer.dtype
        neutral = accumulator(f, item, 1).neutral()
        count = self.program.product_of(item.access.buffer.extents)
        with f.loop(0, chunks, name="copy") as copy:
            start = f.offset(copies.base, f.emit(f"mul i64 {copy}, {copies.size}"))
            with f.loop(0, count, name="cell") as cell:
                at = f.offset(start, f.emit(f"mul i64 {cell}, {dtype.itemsize}"))
                store(f, neutral, at, dtype)

    def join(self, item: Store, buffer: Buffer, copies: Copies, chunks: str) -> None:
        """All copies of a total combined, in order, with what is there already."""
        f, dtype = self.f, buffer.dtype
        joint = accumulator(f, item, 1)
        home = self.program.pointer(buffer)
        with f.loop(0, self.program.product_of(buffer.extents), name="cell") as cell:
            offset = f.emit(f"mul i64 {cell}, {dtype.itemsize}")
            at = f.offset(home, offset)
            state = joint.initial()
            if not item.in_register:
                state = joint.absorb(state, [joint.saved(at)])
            first = f.offset(copies.base, offset)
            carried = list(zip(joint.types(), state, strict=True))
            with f.loop(0, chunks, name="copy", accumulators=carried) as copy:
                from_ = f.offset(first, f.emit(f"mul i64 {copy}, {copies.size}"))
                copy.carry(*joint.absorb(copy.carried, [joint.saved(from_)]))
            store(f, joint.result(copy.results), at, dtype)

    def _join_places(
        self, item: Store, best: Store, copies: tuple[Copies, Copies], chunks: str
    ) -> None:
        """All copies of the places of extrema, by those of the extrema."""
        f, joint = self.f, accumulator(self.f, item, 1)
        assert isinstance(joint, FirstPlace)
        buffers = item.access.buffer, best.access.buffer
        home = self.program.pointer(buffers[0])
        with f.loop(0, self.program.product_of(buffers[0].extents), name="cell") as cell:
            carried = list(zip(joint.types(), joint.initial(), strict=True))
            with f.loop(0, chunks, name="copy", accumulators=carried) as copy:
                before = [
                    load(f, self._cell(own, buffer, str(copy), str(cell)), buffer.dtype)
                    for own, buffer in zip(copies, buffers, strict=True)
                ]
                copy.carry(*joint.joined(before[::-1], copy.carried))
            at = f.offset(home, f.emit(f"mul i64 {cell}, {buffers[0].dtype.itemsize}"))
            store(f, joint.result(copy.results), at, buffers[0].dtype)

    def _cell(self, copies: Copies, buffer: Buffer, copy: str, cell: str) -> str:
        """Where an element of a copy is."""
        start = self.f.offset(copies.base, self.f.emit(f"mul i64 {copy}, {copies.size}"))
        return self.f.offset(start, self.f.emit(f"mul i64 {cell}, {buffer.dtype.itemsize}"))
