"""Row nests: a group of threads for each point of the shared loops.

    for points i, i + groups, ...:
        max over the group's strips of x[i]            kept in registers by all threads
        t = exp(x[i] - max), and its sum               t in the group's memory
        y[i] = t / sum

A group is up to a warp for short rows, up to a block for long ones or few. Its memory is shared
memory, or, where a row is too long for that, scratch memory of the device. Threads meet only where
one reads what another wrote. What all points add up is joined by a second step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.cells import Cells, Part
from jitgraph.codegen.gpu.nests.points import run_at, split_index
from jitgraph.codegen.gpu.nests.reductions import emit_reductions, log_of
from jitgraph.codegen.gpu.nests.strips import Strips, aligned, copies_of
from jitgraph.codegen.gpu.nests.sweeps import Sweep, ceil_div, product
from jitgraph.codegen.gpu.nests.together import (
    LOG_THREADS,
    LOG_WARP,
    broadcast,
    join,
    meet,
    shared_words,
)
from jitgraph.codegen.gpu.target import STATIC_SHARED
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.places import accumulator
from jitgraph.codegen.reductions import BLOCK, Accumulator
from jitgraph.codegen.registers import Register, register_type, store
from jitgraph.codegen.registers import load as load_element
from jitgraph.ir.kernel import Access, Buffer, Kernel, Load, Rows, Store
from jitgraph.ir.types import I64, DType, Type
from jitgraph.ir.values import Value

_THREADS = 1 << LOG_THREADS
#: Threads that keep a large device busy, as a power of two.
_POINTS = 17
#: Strips of a row from which on it is the work of a whole block.
_LONG = 1024
#: Blocks at most: each has memory for what all points add up, and for long rows.
_BLOCKS = 512
#: Bytes of scratch memory that long rows may take together.
_SCRATCH = 1 << 28
_MOST_COPIES = 4


def emit_rows(arguments: Arguments, rows: Rows, cells: Cells) -> None:
    """The kernels of a row nest, and the code that launches them."""
    _Nest(arguments, rows, cells).emit()


class _Results:
    """Registers that leave code which not all threads run."""

    def __init__(self) -> None:
        self.typed: list[tuple[str, str, str]] = []
        self.shapes: list[int] = []
        self.found: list[Register] = []

    def add(self, register: Register, dtype: DType) -> None:
        parts = [register] if isinstance(register, str) else list(register)
        type_ = register_type(dtype)
        self.typed += [(type_, part, "zeroinitializer") for part in parts]
        self.shapes.append(len(parts))

    def register(self, type_: str, register: str, initial: str) -> None:
        self.typed.append((type_, register, initial))
        self.shapes.append(1)


class _Nest:
    def __init__(self, arguments: Arguments, rows: Rows, cells: Cells) -> None:
        self.arguments, self.p = arguments, arguments.emitter
        self.rows, self.cells, self.depth = rows, cells, rows.depth
        self.memory = [*cells.locals, *(copy for copy, _ in cells.copies.values())]
        self.own = {*self.memory, *cells.kept}

    # --- the host's side ------------------------------------------------------------------------
    def emit(self) -> None:
        p, f, cells = self.p, self.p.f, self.cells
        points = p.product_of(self.rows.shared)
        sizes = {b: p.rounded(p.product_of((*b.extents, b.dtype.itemsize))) for b in self.memory}
        area, offsets = "0", []
        for buffer in self.memory:
            offsets.append(area)
            area = p.plus(area, sizes[buffer])
        log_group, near, room = self._shape(points, area)
        tile = f.emit(f"lshr i64 {_THREADS}, {log_group}")
        tiles = ceil_div(f, points, tile)
        blocks = f.minimum(tiles, self._most_blocks(near, area)) if self.memory else tiles
        groups = f.emit(f"mul i64 {blocks}, {tile}")
        far = f.select(near, "i64", 0, f.emit(f"mul i64 {groups}, {area}"))
        scratch = p.scratch_memory(far)
        copies = {}
        for total in cells.copies:
            size = p.product_of((*total.extents, total.dtype.itemsize))
            copies[total] = p.scratch_memory(f.emit(f"mul i64 {groups}, {size}"))
        wide = [aligned(p, part.kernel.accesses(), cells.width, self.own)
                if part.kind == "strips" else "false" for part in cells.parts]  # fmt: skip
        more = [f"i64 {x}" for x in (points, log_group, area, *offsets)]
        more += [f"i1 {x}" for x in (near, *wide)]
        more += [f"ptr {x}" for x in (scratch, *copies.values())]
        kernel = self._kernel([w != "false" for w in wide])
        self.arguments.launch(kernel, blocks, _THREADS, more, shared=room)
        for total, (_, item) in cells.copies.items():
            self._join(total, item, copies[total], groups)

    def _shape(self, points: str, area: str) -> tuple[str, str, str]:
        """The size of groups as a power of two, whether their memory is shared memory, and how much
        of that a block has."""
        p, f = self.p, self.p.f
        longest = "1"
        for part in self.cells.parts:
            inner = [p.size(e) for e in part.kernel.extents[self.depth :]]
            if part.kind == "strips":
                inner[-1] = ceil_div(f, inner[-1], self.cells.width)
                longest = f.maximum(longest, product(f, inner))
            elif part.kind == "points":
                longest = f.maximum(longest, product(f, inner[: part.free]))
        count = log_of(f, longest)
        wanted = f.emit(f"sub i64 {_POINTS}, {log_of(f, points)}")
        worth = f.emit(f"sub i64 {count}, 2")
        log_group = f.maximum(f.minimum(count, LOG_WARP), f.minimum(wanted, worth))
        log_group = f.select(
            f.emit(f"icmp sge i64 {longest}, {_LONG}"), "i64", LOG_THREADS, log_group
        )
        # Rows are to fit into shared memory: 2^15 bytes are two thirds of it.
        least = f.emit(f"sub i64 {log_of(f, area)}, {15 - LOG_THREADS}")
        log_group = f.minimum(f.maximum(log_group, least), LOG_THREADS)
        tile = f.emit(f"lshr i64 {_THREADS}, {log_group}")
        wish = f.emit(f"mul i64 {area}, {tile}")
        near = f.emit(f"icmp ule i64 {wish}, {STATIC_SHARED - self._static()}")
        return log_group, near, f.select(near, "i64", wish, 0)

    def _most_blocks(self, near: str, area: str) -> str:
        f = self.p.f
        room = f.emit(f"udiv i64 {_SCRATCH}, {f.maximum(area, 1)}")
        return f.select(near, "i64", _BLOCKS, f.maximum(f.minimum(room, _BLOCKS), 1))

    def _static(self) -> int:
        """Bytes of shared memory for joining."""
        items = [s for part in self.cells.parts if part.kind == "strips"
                 for s in part.kernel.stores if s.combine is not None]  # fmt: skip
        return max((shared_words([accumulator(self.p.f, s, 1)]) for s in items), default=64)

    def _join(self, total: Buffer, item: Store, scratch: str, groups: str) -> None:
        """Add the groups' copies up."""
        p = self.p
        copies = Buffer(-1 - len(p.pointers), "copies", total.dtype, "temporary")
        p.pointers[p.memory.key(copies)] = scratch
        count, bytes_ = (Value(Type(I64), name=n) for n in ("groups", "bytes"))
        p.bindings[count] = groups
        p.bindings[bytes_] = p.product_of((*total.extents, total.dtype.itemsize))
        elements = Value(Type(I64), name="elements")
        p.bindings[elements] = p.product_of(total.extents)
        size, leaf = total.dtype.itemsize, Value(Type(total.dtype), name="part")
        kernel = Kernel(
            (count, elements),
            tuple(Value(Type(I64), name=f"i{k}") for k in range(2)),
            (Load(leaf, Access(copies, 0, (bytes_, size))),),
            (),
            (Store(leaf, Access(total, 0, (0, size)), item.combine, frozenset({0})),),
        )
        name = f"{self.arguments.name}_total"
        emit_reductions(lambda k: p.arguments(k, p.device.fresh(name)), kernel)

    # --- the kernel -----------------------------------------------------------------------------
    def _kernel(self, wide: Sequence[bool]) -> FunctionBuilder:
        cells, copies = self.cells, self.cells.copies
        more = ["i64 %points", "i64 %log_group", "i64 %area"]
        more += [f"i64 %o{k}" for k in range(len(self.memory))]
        more += ["i1 %near", *(f"i1 %wide{k}" for k in range(len(cells.parts)))]
        more += ["ptr %scratch", *(f"ptr %copies{k}" for k in range(len(copies)))]
        self.f = f = self.arguments.begin(more=more)
        self.wide = wide
        self.shared = gpu.shared_memory(f, self._static())
        dynamic = gpu.dynamic_memory(f)
        thread, block = gpu.thread(f), gpu.block(f)
        log_tile = f.emit(f"sub i64 {LOG_THREADS}, %log_group")
        self.step = f.emit("shl i64 1, %log_group")
        self.rank = f.emit(f"and i64 {thread}, {f.emit(f'sub i64 {self.step}, 1')}")
        within = f.emit(f"lshr i64 {thread}, %log_group")
        group = f.emit(f"add i64 {f.emit(f'shl i64 {block}, {log_tile}')}, {within}")
        here = f.offset(dynamic, f.emit(f"mul i64 {within}, %area"))
        there = f.offset("%scratch", f.emit(f"mul i64 {group}, %area"))
        area = f.select("%near", "ptr", here, there)
        key = self.p.memory.key
        places = {key(b): f.offset(area, f"%o{k}") for k, b in enumerate(self.memory)}
        places |= {key(b): "null" for b in cells.kept}
        self.context = context = self.arguments.context(self.rows, places)
        self._clear(places)
        groups = f.emit(f"shl i64 {gpu.blocks(f)}, {log_tile}")
        sizes = Nest(context, cells.parts[0].kernel, self.depth)
        shared = [sizes.size(e) for e in self.rows.shared]
        begin = f.emit(f"shl i64 {block}, {log_tile}")
        with f.loop(begin, "%points", groups, name="tile") as tile:
            point = f.emit(f"add i64 {tile}, {within}")
            self.real = f.emit(f"icmp ult i64 {point}, %points")
            index = split_index(f, f.select(self.real, "i64", point, 0), shared)
            self._point(index)
        for k, (copy, _) in enumerate(copies.values()):
            self._flush(places[key(copy)], copy, f"%copies{k}", group)
        f.do("ret void")
        return f

    def _clear(self, places: Mapping[str, str]) -> None:
        """Let copies of totals begin with what changes nothing."""
        f = self.f
        for copy, item in self.cells.copies.values():
            neutral = Accumulator(f, item, 1).neutral()
            with self._elements(copy) as index:
                at = f.emit(f"mul i64 {index}, {copy.dtype.itemsize}")
                store(f, neutral, f.offset(places[self.p.memory.key(copy)], at), copy.dtype)
        if self.cells.copies:
            gpu.barrier(f)

    def _flush(self, place: str, copy: Buffer, target: str, group: str) -> None:
        f, size = self.f, copy.dtype.itemsize
        gpu.barrier(f)
        whole = f.emit(f"mul i64 {group}, {self._count(copy)}")
        with self._elements(copy) as index:
            value = load_element(f, f.offset(place, f.emit(f"mul i64 {index}, {size}")), copy.dtype)
            to = f.emit(f"mul i64 {f.emit(f'add i64 {whole}, {index}')}, {size}")
            store(f, value, f.offset(target, to), copy.dtype)

    def _count(self, buffer: Buffer) -> str:
        registers = self.context.registers
        return product(self.f, [str(registers[e]) if isinstance(e, Value) else str(e)
                                for e in buffer.extents])  # fmt: skip

    @contextmanager
    def _elements(self, buffer: Buffer) -> Iterator[str]:
        """All elements of a buffer, dealt to the threads of the group."""
        with self.f.loop(self.rank, self._count(buffer), self.step, name="e") as loop:
            yield str(loop)

    def _point(self, index: list[str]) -> None:
        """All kernels at one point of the shared loops."""
        self.known: dict[Buffer, Register] = {}
        #: Who touched which memory since the threads met: (what accessed it how, wrote).
        touched: dict[str, list[tuple[object, bool]]] = {}
        met = False
        for k, part in enumerate(self.cells.parts):
            mine = self._touches(part)
            if any(a != b and (x or y) for key, ways in mine.items()
                   for b, y in ways for a, x in touched.get(key, ())):  # fmt: skip
                meet(self.f, "%log_group")
                touched.clear()
                met = True
            for key, ways in mine.items():
                touched.setdefault(key, []).extend(ways)
            self._part(k, part, index)
        if met:
            meet(self.f, "%log_group")

    def _touches(self, part: Part) -> dict[str, list[tuple[object, bool]]]:
        """Which memory a kernel touches, by which threads; whether it writes."""
        found: dict[str, list[tuple[object, bool]]] = {}
        kernel, depth, key = part.kernel, self.depth, self.p.memory.key

        def way(access: Access) -> object:
            if part.kind != "strips":
                return object()
            return (kernel.extents[depth:], access.offset, access.strides[depth:])

        for load in kernel.loads:
            found.setdefault(key(load.access.buffer), []).append((way(load.access), False))
        for source in kernel.sources:
            found.setdefault(key(source.view.buffer), []).append((object(), False))
        for item in kernel.stores:
            if item.access.buffer not in self.cells.kept:
                alone = item.combine is not None
                found.setdefault(key(item.access.buffer), []).append(
                    (object() if alone else way(item.access), True)
                )
        return found

    def _part(self, k: int, part: Part, index: list[str]) -> None:
        kernel = part.kernel
        nest = Nest(self.context, kernel, self.depth + (part.free if part.kind == "points" else 0))
        for leaf, buffer in part.taken.items():
            nest.registers[leaf] = self.known[buffer]
        pointers = nest.start()
        for loop, i in enumerate(index):
            nest.registers[kernel.iterators[loop]] = i
            pointers = [nest.along(p, a.strides[loop], i)
                        for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
        if part.kind == "value":
            self._value(nest, pointers)
        elif part.kind == "strips":
            self._strips(k, nest, pointers, dict(enumerate(index)))
        else:
            self._points(part, nest, index)

    def _value(self, nest: Nest, pointers: list[str]) -> None:
        """A kernel without inner loops: what is kept, every thread computes, else the first one."""
        f, items = self.f, nest.kernel.stores
        if items[0].access.buffer not in self.cells.kept:
            first = f.emit(f"icmp eq i64 {self.rank}, 0")
            with f.if_then(f.emit(f"and i1 {first}, {self.real}")):
                nest.compute(self.depth, pointers)
                for s in items:
                    value = nest.outside.lower(s.value)
                    store(f, value, pointers[nest.number(s)], s.access.buffer.dtype)
            return
        with self._guarded() as results:
            nest.compute(self.depth, pointers)
            for s in items:
                results.add(nest.outside.lower(s.value), s.value.dtype)
        for s, register in zip(items, results.found, strict=True):
            self.known[s.access.buffer] = register

    def _strips(self, k: int, nest: Nest, pointers: list[str], index: Mapping[int, str]) -> None:
        f, kernel, width = self.f, nest.kernel, self.cells.width
        items = [s for s in kernel.stores if s.combine is not None]
        accumulators = [accumulator(f, s, 1) for s in items]
        with self._guarded() as results:
            nest.compute(self.depth, pointers)
            extents = [nest.size(e) for e in kernel.extents[self.depth :]]
            outside = [x for _, x in Strips(nest, width).loads if x.access.buffer not in self.own]
            most = _MOST_COPIES if outside else 1
            if any(one.is_compensated for one in accumulators):
                most = min(most, BLOCK // width)
            copies = copies_of(kernel, width, most)
            wide = f"%wide{k}" if self.wide[k] else None
            sweep = Sweep(nest, pointers, index, extents, width, self.step, copies, wide)
            end = product(f, sweep.extents)
            for one, state in zip(accumulators, sweep.emit(self.rank, end, accumulators),
                                  strict=True):  # fmt: skip
                for type_, initial, register in zip(one.types(), one.initial(), state, strict=True):
                    results.register(type_, register, initial)
        rest: list[str] = [str(r) for r in results.found]
        for item, one in zip(items, accumulators, strict=True):
            state, rest = rest[: len(one.types())], rest[len(one.types()) :]
            state = join(f, one, state, self.shared, "0", "%log_group")
            value, buffer = one.result(state), item.access.buffer
            if buffer in self.cells.kept:
                self.known[buffer] = broadcast(f, value, buffer.dtype, self.shared, self.rank,
                                               "%log_group")  # fmt: skip
                continue
            first = f.emit(f"icmp eq i64 {self.rank}, 0")
            with f.if_then(f.emit(f"and i1 {first}, {self.real}")):
                store(f, value, pointers[nest.number(item)], buffer.dtype)

    def _points(self, part: Part, nest: Nest, index: list[str]) -> None:
        """A thread for each point of the inner loops that nothing is combined over."""
        f = self.f
        extents = [nest.size(e) for e in part.kernel.extents[self.depth : nest.depth]]
        with f.if_then(self.real), f.loop(self.rank, product(f, extents), self.step) as loop:
            run_at(nest, [*index, *split_index(f, str(loop), extents)])

    @contextmanager
    def _guarded(self) -> Iterator[_Results]:
        """Code for groups that have a point; `found` are its results, afterwards."""
        f, before = self.f, self.f.current
        then, done = f.label("real"), f.label("none")
        f.branch_if(self.real, then, done)
        f.block(then)
        results = _Results()
        yield results
        last = f.current
        f.block(done)
        flat = iter([f.phi(type_, [(register, last), (initial, before)])
                     for type_, register, initial in results.typed])  # fmt: skip
        for parts in results.shapes:
            pair = [next(flat) for _ in range(parts)]
            results.found.append(pair[0] if parts == 1 else (pair[0], pair[1]))
