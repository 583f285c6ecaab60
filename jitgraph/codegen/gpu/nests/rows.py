"""Row nests: a group of threads for each point of the shared loops.

    for points i, i + groups, ...:
        max over the group's strips of x[i]            kept in registers by all threads
        t = exp(x[i] - max), and its sum               t in the group's memory
        y[i] = t / sum

A group is up to a warp for short rows, up to a block for long ones or few. Its memory is shared
memory as far as a block can have that, else scratch memory of the device. Threads meet once for
what they reduce, and where one reads what another wrote. Few rows that are very long are cut into
parts, each for a block; then every agreement of threads (`groups`) is the end of a launch. What all
points add up is joined by a last step. All is decided by sizes alone, but for where the memory is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitgraph.codegen.expansions import op_length
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.cells import Cells
from jitgraph.codegen.gpu.nests.groups import LOG_MOST, Plan, emit_kernel
from jitgraph.codegen.gpu.nests.reductions import emit_reductions, log_of
from jitgraph.codegen.gpu.nests.strips import aligned
from jitgraph.codegen.gpu.nests.sweeps import ceil_div, product
from jitgraph.codegen.gpu.nests.together import LOG_THREADS, LOG_WARP
from jitgraph.codegen.gpu.target import ARCHITECTURES
from jitgraph.codegen.innermost import is_zero
from jitgraph.ir.kernel import Access, Buffer, Kernel, Load, Rows, Store
from jitgraph.ir.types import I64, Type
from jitgraph.ir.values import Value

#: Threads that keep a large device busy, as a power of two.
_POINTS = 17
#: Strips of a row from which on it is the work of a whole block, and of a large one.
_LONG, _LONGER = 1024, 4096
#: Of rows in registers: elements of a thread, words of them that it has, and how much code all of
#: its copies of the bodies may be.
_ELEMENTS, _WORDS, _CODE = 16, 64, 800
#: Bytes of rows for each 256 threads, as a power of two: more of them leave room for few blocks.
_LOG_ROOM = 15
#: Blocks at most: each has memory for what all points add up, or for long rows. Fewer, where the
#: first of these is not shared memory; then it is that on no device, since it decides how many
#: copies are added up.
_BLOCKS, _FAR_BLOCKS = 512, 128
_LEAST_SHARED = min(size for _, size in ARCHITECTURES.values())
_MOST_BLOCKS = (1 << 31) - 1
#: Bytes of scratch memory that long rows may take together.
_SCRATCH = 1 << 28
#: Strips of rows that are cut into parts, how many such rows there are at most, how many blocks
#: are wanted for them, and the strips of a part, as a power of two.
_CUT, _FEW, _PARTS, _LOG_PART = 8192, 128, 512, 11


def emit_rows(arguments: Arguments, rows: Rows, cells: Cells) -> None:
    """The kernels of a row nest, and the code that launches them."""
    _Nest(arguments, rows, cells).emit()


class _Nest:
    """How the host shares out the work."""

    def __init__(self, arguments: Arguments, rows: Rows, cells: Cells) -> None:
        self.arguments, self.p, self.f = arguments, arguments.emitter, arguments.emitter.f
        self.rows, self.cells, self.depth = rows, cells, rows.depth
        meetings = frozenset(cells.meetings(self.p.memory.key))
        divisible = bool(cells.stages) and not meetings and all(
            part.kind != "points" for part in cells.parts
        )
        group, elements = _held(rows, cells, self._in_place())
        self.plan = Plan(cells, divisible and not group, meetings, (), 0, group, elements,
                         bool(self._in_place()))  # fmt: skip

    def _in_place(self) -> list[Load]:
        """What is read of memory that the nest writes to."""
        written, local = self.arguments.written, self.rows.locals
        return [x for k in self.rows.kernels for x in k.loads if x.access.buffer not in local
                and self.p.memory.key(x.access.buffer) in written]  # fmt: skip

    def emit(self) -> None:
        p, f, cells = self.p, self.f, self.cells
        points = p.product_of(self.rows.shared)
        self._strips()
        self._memory()
        log_group = self._log_group(points)
        log_block = f.maximum(log_group, LOG_THREADS)
        tile = f.emit(f"shl i64 1, {f.emit(f'sub i64 {log_block}, {log_group}')}")
        parts = self._parts(points)
        cut = f.emit(f"icmp ugt i64 {parts}, 1")
        static = self.plan.static_bytes(f)
        limit = p.device.target.shared_bytes - static
        whole = f.emit(f"xor i1 {cut}, true")
        near = f.emit(f"and i1 {self._fits(self.area, tile, limit)}, {whole}")
        least = min(limit, _LEAST_SHARED - static)
        all_near = f.emit(f"and i1 {self._fits(self.full_area, tile, least)}, {near}")
        area = f.select(all_near, "i64", self.full_area, self.area)
        blocks = ceil_div(f, points, tile)
        if self.plan.places or cells.copies:
            most = f.select(cut, "i64", blocks, self._most_blocks(near, all_near))
            blocks = f.minimum(blocks, most)
        far = f.select(near, "i64", 0, f.emit(f"mul i64 {blocks}, {self.far_area}"))
        more = [f"i64 {x}" for x in (points, log_group, log_block, area, self.far_area)]
        more += [f"i64 {x}" for x in self.offsets]
        wide = [self._wide(k) for k in range(len(cells.parts))]
        more += [f"i1 {x}" for x in (near, all_near, *wide)]
        more += [f"ptr {p.scratch_memory(far)}"]
        count = f.select(all_near, "i64", blocks, f.emit(f"mul i64 {blocks}, {tile}"))
        copies = {}
        for total in cells.copies:
            size = p.product_of((*total.extents, total.dtype.itemsize))
            copies[total] = p.scratch_memory(f.emit(f"mul i64 {count}, {size}"))
            more += [f"ptr {copies[total]}", f"i64 {size}"]
        self.plan = replace(self.plan, wide=tuple(w != "false" for w in wide), most_shared=limit)
        room = f.select(near, "i64", f.emit(f"mul i64 {area}, {tile}"), 0)
        threads = f.emit(f"trunc i64 {f.emit(f'shl i64 1, {log_block}')} to i32")
        self._launch(more, points, blocks, parts, cut, threads, room)
        for total, (_, item) in cells.copies.items():
            self._join(total, item, copies[total], count)

    def _fits(self, area: str, tile: str, limit: int) -> str:
        wish = self.f.emit(f"mul i64 {area}, {tile}")
        return self.f.emit(f"icmp ule i64 {wish}, {limit}")

    def _launch(
        self, more: list[str], points: str, blocks: str, parts: str, cut: str, threads: str,
        room: str,
    ) -> None:  # fmt: skip
        """One launch, or one for each stage."""
        f, plan = self.f, self.plan
        if not plan.divisible:
            kernel = emit_kernel(self.arguments, self.rows, plan)
            self.arguments.launch(kernel, blocks, threads, more, shared=room)
            return
        words = f.emit(f"mul i64 {f.emit(f'mul i64 {points}, {parts}')}, {4 * plan.words(f)}")
        states = self.p.scratch_memory(f.select(cut, "i64", words, 0))
        each = [f"i64 {ceil_div(f, strips, parts)}" for strips in self.strips]
        kernel = emit_kernel(self.arguments, self.rows, plan)
        blocks = f.emit(f"mul i64 {blocks}, {parts}")
        with f.loop(0, f.select(cut, "i64", plan.phases, 1), name="phase") as phase:
            number = f.select(cut, "i64", str(phase), -1)
            values = [*more, f"i64 {parts}", f"i64 {number}", f"ptr {states}", *each]
            self.arguments.launch(kernel, blocks, threads, values, shared=room)

    # --- sizes ----------------------------------------------------------------------------------
    def _strips(self) -> None:
        """The strips of each kernel at a point, and the most that threads of a group share."""
        p, f = self.p, self.f
        self.strips, self.longest = [], "1"
        for part in self.cells.parts:
            inner = [p.size(e) for e in part.kernel.extents[self.depth :]]
            work = "1"
            if part.kind == "strips":
                inner[-1] = ceil_div(f, inner[-1], self.cells.width)
                work = product(f, inner)
            elif part.kind == "points":
                work = product(f, inner[: part.free])
            self.longest = work if self.longest == "1" else f.maximum(self.longest, work)
            self.strips.append(work)

    def _memory(self) -> None:
        """Where in the memory of a group everything is. Rows that can be read again where they come
        from are not there if that is no shared memory, nor are copies of totals."""
        p, cells = self.p, self.cells

        def size(buffer: Buffer) -> str:
            return p.rounded(p.product_of((*buffer.extents, buffer.dtype.itemsize)))

        groups = cells.groups_of_locals if self.plan.places else []
        locals_ = [max(group, key=lambda b: b.number) for group in groups]
        again = [all(b in cells.rows for b in group) for group in groups]
        starts: dict[int, str] = {}
        self.area = self.far_area = "0"
        for wanted in (False, True):
            for k in (k for k in range(len(locals_)) if again[k] is wanted):
                starts[k] = self.area
                self.area = p.plus(self.area, size(locals_[k]))
            if not wanted:
                self.far_area = self.area
        self.offsets = [starts[k] for k in range(len(locals_))]
        self.full_area = self.area
        for copy, _ in cells.copies.values():
            self.offsets.append(self.full_area)
            self.full_area = p.plus(self.full_area, size(copy))

    def _log_group(self, points: str) -> str:
        """The threads of a group, as a power of two."""
        f = self.f
        if self.plan.group:
            return str(self.plan.group.bit_length() - 1)
        count = log_of(f, self.longest)
        wanted = f.emit(f"sub i64 {_POINTS}, {log_of(f, points)}")
        worth = f.emit(f"sub i64 {count}, 2")
        log_group = f.maximum(f.minimum(count, LOG_WARP), f.minimum(wanted, worth))
        log_group = f.minimum(log_group, LOG_THREADS)
        for strips, log in ((_LONG, LOG_THREADS), (_LONGER, self.plan.log_most)):
            long = f.emit(f"icmp sge i64 {self.longest}, {strips}")
            log_group = f.select(long, "i64", log, log_group)
        least = f.emit(f"sub i64 {log_of(f, self.full_area)}, {_LOG_ROOM - LOG_THREADS}")
        return f.minimum(f.maximum(log_group, least), self.plan.log_most)

    def _parts(self, points: str) -> str:
        """Into how many parts rows are cut."""
        f = self.f
        if not self.plan.divisible:
            return "1"
        few = f.emit(f"icmp ule i64 {points}, {_FEW}")
        long = f.emit(f"icmp uge i64 {self.longest}, {_CUT}")
        wanted = ceil_div(f, str(_PARTS), f.maximum(points, 1))
        wanted = f.minimum(wanted, 1 << self.plan.log_most)
        parts = f.minimum(wanted, f.emit(f"lshr i64 {self.longest}, {_LOG_PART}"))
        return f.select(f.emit(f"and i1 {few}, {long}"), "i64", parts, 1)

    def _most_blocks(self, near: str, all_near: str) -> str:
        f = self.f
        room = f.maximum(f.emit(f"udiv i64 {_SCRATCH}, {f.maximum(self.far_area, 1)}"), 1)
        if self.cells.copies:
            return f.minimum(room, f.select(all_near, "i64", _BLOCKS, _FAR_BLOCKS))
        return f.select(near, "i64", _MOST_BLOCKS, f.minimum(room, _BLOCKS))

    def _wide(self, k: int) -> str:
        """The flag of a kernel's strips."""
        part, cells = self.cells.parts[k], self.cells
        if part.kind != "strips" or self.plan.group:
            return "false"
        accesses = [cells.rows.get(a.buffer, a) for a in part.kernel.accesses()]
        own = {*cells.kept, *(b for b in cells.places if b not in cells.rows)}
        own |= {copy for copy, _ in cells.copies.values()}
        return aligned(self.p, accesses, cells.width, own)

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


def _held(rows: Rows, cells: Cells, in_place: Sequence[Load]) -> tuple[int, int]:
    """Threads of a group that hold rows in registers, and the elements of each; zeros if they
    cannot."""
    extent = cells.row
    if extent is None or extent < 2 or any(
        all(map(is_zero, x.access.strides[rows.depth :])) for x in in_place
    ):
        return 0, 0
    code = sum(op_length(v) for part in cells.parts if part.kind == "strips"
               for v in part.kernel.body())  # fmt: skip
    code += sum(len(part.kernel.loads) + len(part.kernel.stores) for part in cells.parts)
    words = sum(max(-(-group[0].dtype.itemsize // 4), 1) for group in cells.groups_of_locals)
    most = min(_ELEMENTS, _WORDS // max(words, 1), _CODE // max(code, 1))
    if most < 2:
        return 0, 0
    group = max(_power(-(-extent // most)), min(1 << LOG_WARP, _power(-(-extent // 4))))
    return (group, -(-extent // group)) if group <= 1 << LOG_MOST else (0, 0)


def _power(number: int) -> int:
    """The least power of two that is not smaller."""
    return 1 << (number - 1).bit_length()
