"""What a group of threads does at a point of a row nest: the kernel of `rows`.

A *stage* ends where threads agree on what they reduced. Of a row that several blocks share, each
launch does one stage (`phase`): a block leaves the state of its part in memory, and the next launch
has all blocks join the states of all parts, in order, before it goes on. A launch that does
everything has the phase -1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.cells import Cells, Part
from jitgraph.codegen.gpu.nests.points import run_at, split_index
from jitgraph.codegen.gpu.nests.strips import Held, Strips, copies_of
from jitgraph.codegen.gpu.nests.sweeps import Sweep, product
from jitgraph.codegen.gpu.nests.together import (
    LOG_THREADS,
    agreed,
    dealt,
    group_words,
    meet,
    registers_of,
    told,
    word_count,
    words_of,
)
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.places import accumulator
from jitgraph.codegen.reductions import BLOCK, Accumulator
from jitgraph.codegen.registers import Register, register_type, store
from jitgraph.codegen.registers import load as load_element
from jitgraph.ir.kernel import Buffer, Rows
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

#: Threads of the largest blocks, as a power of two.
LOG_MOST = 9
_MOST_COPIES = 2
#: Words of a thread above which registers matter more than how many threads there are, and above
#: which the largest blocks would have too few.
_MANY_WORDS, _MOST_WORDS = 20, 40


@dataclass(frozen=True, slots=True)
class Plan:
    """What a kernel for a row nest knows when it is written."""

    cells: Cells
    #: Whether several blocks may share a row.
    divisible: bool
    #: The kernels before which the threads of a group meet.
    meetings: frozenset[int]
    #: Whether a kernel's strips can be aligned.
    wide: tuple[bool, ...]
    #: Bytes of dynamic shared memory at most.
    most_shared: int
    #: If rows are held in registers: the threads of a group, and each one's elements.
    group: int = 0
    elements: int = 0
    #: Whether they may be overwritten by other groups.
    in_place: bool = False

    @property
    def log_most(self) -> int:
        """Threads of the largest blocks: each has half of the registers if there are twice as
        many."""
        return LOG_THREADS if self.cells.words > _MOST_WORDS else LOG_MOST

    @property
    def places(self) -> dict[Buffer, int]:
        """What is in memory of the group, and in which part of that."""
        return {} if self.group else self.cells.places

    @property
    def locals(self) -> int:
        """Parts of the memory of a group, but for copies of totals."""
        return len(set(self.places.values()))

    def parameters(self) -> list[str]:
        cells = self.cells
        more = ["i64 %points", "i64 %log_group", "i64 %log_block", "i64 %area", "i64 %far_area"]
        more += [f"i64 %o{k}" for k in range(self.locals + len(cells.copies))]
        more += ["i1 %near", "i1 %all_near", *(f"i1 %wide{k}" for k in range(len(cells.parts)))]
        more += ["ptr %scratch"]
        for k in range(len(cells.copies)):
            more += [f"ptr %copies{k}", f"i64 %copy_bytes{k}"]
        if self.divisible:
            more += ["i64 %parts", "i64 %phase", "ptr %states"]
            more += [f"i64 %each{k}" for k in range(len(cells.parts))]
        return more

    @property
    def phases(self) -> int:
        """Launches for rows in parts: copies of totals are cleared first."""
        return self.cells.stages + 1 + bool(self.cells.copies)

    def accumulators(self, f: FunctionBuilder) -> list[list[Accumulator]]:
        """Of each stage that ends with an agreement."""
        return [[accumulator(f, s, 1) for s in part.kernel.stores if s.combine is not None]
                for part in self.cells.parts if part.reduces]  # fmt: skip

    def words(self, f: FunctionBuilder) -> int:
        """The words of the states of all stages."""
        return sum(word_count(one) for stage in self.accumulators(f) for one in stage)

    def static_bytes(self, f: FunctionBuilder) -> int:
        """Of shared memory: each stage has its own, so that threads meet once a stage."""
        return max(sum(map(group_words, self.accumulators(f))), 16)


def emit_kernel(arguments: Arguments, rows: Rows, plan: Plan) -> FunctionBuilder:
    """The kernel for a row nest."""
    return _Group(arguments, rows, plan).f


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


class _Group:
    def __init__(self, arguments: Arguments, rows: Rows, plan: Plan) -> None:
        self.arguments, self.rows, self.plan = arguments, rows, plan
        self.p, self.cells, self.depth = arguments.emitter, plan.cells, rows.depth
        threads = max(plan.group, 1 << LOG_THREADS) if plan.group else 1 << plan.log_most
        resident = int(self.cells.words > _MANY_WORDS)
        self.f = f = arguments.begin(more=plan.parameters(), threads=threads, resident=resident)
        self.shared = gpu.shared_memory(f, plan.static_bytes(f))
        if plan.places or self.cells.copies:
            self.dynamic = gpu.dynamic_memory(f, plan.most_shared)
        #: Literals where the size of groups is known, so that the assembler can use that.
        self.log_group, self.log_block = "%log_group", "%log_block"
        if plan.group:
            log = plan.group.bit_length() - 1
            self.log_group, self.log_block = str(log), str(max(log, LOG_THREADS))
        self._threads()
        places = self._places()
        self.context = context = arguments.context(rows, places)
        self.padded = {b for b in plan.places if self.cells.by_elements(b)
                       and b not in self.cells.rows}  # fmt: skip
        self._clear(places)
        sizes = Nest(context, self.cells.parts[0].kernel, self.depth)
        shared = [sizes.size(e) for e in rows.shared]
        begin = f.emit(f"shl i64 {self.block}, {self.log_tile}")
        groups = f.emit(f"shl i64 {self.blocks}, {self.log_tile}")
        with f.loop(begin, "%points", groups, name="tile") as tile:
            point = f.emit(f"add i64 {tile}, {self.within}")
            self.real = f.emit(f"icmp ult i64 {point}, %points")
            self.point = f.select(self.real, "i64", point, 0)
            self._point(split_index(f, self.point, shared))
        self._flush(places)
        f.do("ret void")

    # --- who and where --------------------------------------------------------------------------
    def _threads(self) -> None:
        """The number of the thread in its group, of the group in its block, of the block among
        those that do one part."""
        f = self.f
        thread = gpu.thread(f)
        self.block, self.blocks, self.part = gpu.block(f), gpu.blocks(f), "0"
        if self.plan.divisible:
            numbers = [f.emit(f"trunc i64 {x} to i32") for x in (self.block, self.blocks, "%parts")]
            found = [f.emit(f"{op} i32 {x}, {numbers[2]}")
                     for op, x in (("udiv", numbers[0]), ("urem", numbers[0]),
                                   ("udiv", numbers[1]))]  # fmt: skip
            self.block, self.part, self.blocks = (f.emit(f"zext i32 {x} to i64") for x in found)
        self.step = str(self.plan.group or f.emit(f"shl i64 1, {self.log_group}"))
        self.log_tile = f.emit(f"sub i64 {self.log_block}, {self.log_group}")
        self.rank = f.emit(f"and i64 {thread}, {f.emit(f'sub i64 {self.step}, 1')}")
        self.within = f.emit(f"lshr i64 {thread}, {self.log_group}")
        self.leads = f.emit(f"icmp eq i64 {f.emit(f'or i64 {self.rank}, {self.part}')}, 0")

    def _places(self) -> dict[str, str]:
        """Where the memory of the group is, by key."""
        f, plan, cells, key = self.f, self.plan, self.cells, self.p.memory.key
        places = {key(b): "null" for b in (*cells.kept, *cells.places)}
        if not plan.places and not cells.copies:
            return places
        here = f.offset(self.dynamic, f.emit(f"mul i64 {self.within}, %area"))
        there = f.offset("%scratch", f.emit(f"mul i64 {self.block}, %far_area"))
        area = f.select("%near", "ptr", here, there)
        starts = [f.offset(area, f"%o{k}") for k in range(plan.locals)]
        places |= {key(b): starts[k] for b, k in plan.places.items()}
        for k, (copy, _) in enumerate(cells.copies.values()):
            near = f.offset(here, f"%o{k + len(starts)}")
            group = f.emit(f"add i64 {f.emit(f'shl i64 {self.block}, {self.log_tile}')}, "
                           f"{self.within}")  # fmt: skip
            places[key(copy)] = f.select("%all_near", "ptr", near, self._copy(k, group))
        return places

    def _copy(self, k: int, number: str) -> str:
        """Where in the device's memory a copy of a total is."""
        at = self.f.emit(f"mul i64 {number}, %copy_bytes{k}")
        return self.f.offset(f"%copies{k}", at)

    # --- copies of totals -----------------------------------------------------------------------
    def _clear(self, places: Mapping[str, str]) -> None:
        """Let copies of totals begin with what changes nothing."""
        f, copies = self.f, self.cells.copies
        if not copies:
            return
        with ExitStack() as stack:
            begin, step = self.rank, self.step
            if self.plan.divisible:
                stack.enter_context(f.if_then(f.emit("icmp sle i64 %phase, 0")))
                begin = f.emit(f"add i64 {f.emit(f'mul i64 {self.part}, {step}')}, {begin}")
                step = f.emit(f"mul i64 %parts, {step}")
            for copy, item in copies.values():
                neutral, size = Accumulator(f, item, 1).neutral(), copy.dtype.itemsize
                with f.loop(begin, self._count(copy), step, name="e") as e:
                    at = f.emit(f"mul i64 {e}, {size}")
                    store(f, neutral, f.offset(places[self.p.memory.key(copy)], at), copy.dtype)
            gpu.barrier(f)
            if self.plan.divisible:
                with f.if_then(f.emit("icmp eq i64 %phase, 0")):
                    f.do("ret void")

    def _flush(self, places: Mapping[str, str]) -> None:
        """What the groups of the block have in shared memory becomes its copy."""
        f = self.f
        if not self.cells.copies:
            return
        with f.if_then("%all_near"):
            gpu.barrier(f)
            tile = f.emit(f"shl i64 1, {self.log_tile}")
            first = self.plan.locals
            for k, (copy, item) in enumerate(self.cells.copies.values()):
                size, start = copy.dtype.itemsize, f.offset(self.dynamic, f"%o{first + k}")
                one = Accumulator(f, item, 1)
                pairs = list(zip(one.types(), one.initial(), strict=True))
                with f.loop(gpu.thread(f), self._count(copy), gpu.threads(f), name="e") as e:
                    at = f.emit(f"mul i64 {e}, {size}")
                    with f.loop(0, tile, accumulators=pairs) as group:
                        by = f.emit(f"mul i64 {group}, %area")
                        value = load_element(f, f.offset(f.offset(start, at), by), copy.dtype)
                        more = one.add(one.identity(), value, None)
                        group.carry(*one.absorb(group.carried, [more]))
                    place = f.offset(self._copy(k, self.block), at)
                    store(f, one.result(group.results), place, copy.dtype)

    def _count(self, buffer: Buffer) -> str:
        registers = self.context.registers
        return product(self.f, [str(registers[e]) if isinstance(e, Value) else str(e)
                                for e in buffer.extents])  # fmt: skip

    # --- a point --------------------------------------------------------------------------------
    def _point(self, index: list[str]) -> None:
        """All kernels at one point of the shared loops."""
        f, cells, plan = self.f, self.cells, self.plan
        self.known: dict[Buffer, Register] = {}
        self.held: Held = {b: [] for b in cells.places} if plan.group else {}
        self.stage, self.slots, self.words = (1 if cells.copies else 0), self.shared, 0
        with ExitStack() as rest:
            for k, part in enumerate(cells.parts):
                if k in plan.meetings:
                    meet(f, self.log_group)
                self._part(k, part, index, rest)
            if len(cells.parts) in plan.meetings or cells.stages == 1:
                meet(f, self.log_group)

    def _now(self, stage: int) -> str:
        """Whether a stage is done by this launch, where those before it have been done."""
        if not self.plan.divisible:
            return "true"
        return self.f.emit(f"icmp sle i64 %phase, {stage}")

    def _part(self, k: int, part: Part, index: list[str], rest: ExitStack) -> None:
        f, kernel = self.f, part.kernel
        nest = Nest(self.context, kernel, self.depth + (part.free if part.kind == "points" else 0))
        for leaf, buffer in part.taken.items():
            nest.registers[leaf] = self.known[buffer]
        pointers = nest.start()
        rows = {} if self.plan.group else self.cells.rows
        origins = [rows.get(a.buffer, a) for a in nest.accesses]
        far = [nest.pointer(o.buffer, o.offset) if o is not a else p
               for p, a, o in zip(pointers, nest.accesses, origins, strict=True)]  # fmt: skip
        for loop, i in enumerate(index):
            nest.registers[kernel.iterators[loop]] = i
            pointers = [nest.along(p, a.strides[loop], i)
                        for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
            far = [nest.along(p, o.strides[loop], i) if o is not a else p
                   for p, a, o in zip(far, nest.accesses, origins, strict=True)]  # fmt: skip
        pointers = [p if o is a else f.select("%near", "ptr", p, q)
                    for p, q, a, o in zip(pointers, far, nest.accesses, origins,
                                          strict=True)]  # fmt: skip
        if part.kind == "value":
            self._value(nest, pointers)
        elif part.kind == "strips":
            self._strips(k, nest, pointers, dict(enumerate(index)), rest)
        else:
            self._points(part, nest, index)

    def _value(self, nest: Nest, pointers: list[str]) -> None:
        """A kernel without inner loops: what is kept, every thread computes, else the first one."""
        f, items = self.f, nest.kernel.stores
        if items[0].access.buffer not in self.cells.kept:
            now = f.emit(f"and i1 {self._now(self.stage)}, {self.real}")
            with f.if_then(f.emit(f"and i1 {self.leads}, {now}")):
                nest.compute(self.depth, pointers)
                for s in items:
                    value = nest.outside.lower(s.value)
                    store(f, value, pointers[nest.number(s)], s.access.buffer.dtype)
            return
        with self._guarded(self.real) as results:
            nest.compute(self.depth, pointers)
            for s in items:
                results.add(nest.outside.lower(s.value), s.value.dtype)
        for s, register in zip(items, results.found, strict=True):
            self.known[s.access.buffer] = register

    def _strips(
        self, k: int, nest: Nest, pointers: list[str], index: Mapping[int, str], rest: ExitStack
    ) -> None:
        f, kernel = self.f, nest.kernel
        items = [s for s in kernel.stores if s.combine is not None]
        accumulators = [accumulator(f, s, 1) for s in items]
        if self.plan.group:
            states = self._held(nest, pointers, index, accumulators)
        else:
            states = self._swept(k, nest, pointers, index, accumulators)
        if not items:
            return
        states = self._agreed(accumulators, states, rest)
        now = f.emit(f"and i1 {self.real}, {self._now(self.stage)}")
        for item, one, state in zip(items, accumulators, states, strict=True):
            value, buffer = one.result(state), item.access.buffer
            if buffer in self.cells.kept:
                self.known[buffer] = told(f, value, buffer.dtype, self.log_group)
                continue
            with f.if_then(f.emit(f"and i1 {self.leads}, {now}")):
                store(f, value, pointers[nest.number(item)], buffer.dtype)

    def _held(
        self, nest: Nest, pointers: list[str], index: Mapping[int, str],
        accumulators: Sequence[Accumulator],
    ) -> list[list[str]]:  # fmt: skip
        """A sweep whose elements stay in registers."""
        nest.compute(self.depth, pointers)
        extents = [nest.size(nest.kernel.extents[-1])]
        sweep = Sweep(nest, pointers, index, extents, 1, self.step, self.plan.elements, None,
                      self.held)  # fmt: skip
        if self.plan.group < 1 << LOG_THREADS:  # else all groups have a point
            sweep.strips.writes = self.real
            sweep.strips.reads = self.real if self.plan.in_place else None
        return sweep.at_once(self.rank, accumulators)

    def _swept(
        self, k: int, nest: Nest, pointers: list[str], index: Mapping[int, str],
        accumulators: Sequence[Accumulator],
    ) -> list[list[str]]:  # fmt: skip
        """A sweep of strips."""
        f, kernel, width = self.f, nest.kernel, self.cells.width
        now = self.real
        if self.plan.divisible:
            now = f.emit(f"and i1 {now}, {self._now(self.stage)}")
        with self._guarded(now) as results:
            nest.compute(self.depth, pointers)
            extents = [nest.size(e) for e in kernel.extents[self.depth :]]
            own = {*self.plan.places, *(copy for copy, _ in self.cells.copies.values())}
            outside = [x for _, x in Strips(nest, width).loads if x.access.buffer not in own]
            most = _MOST_COPIES if outside else 1
            if any(one.is_compensated for one in accumulators):
                most = min(most, BLOCK // width)
            copies = copies_of(kernel, width, most)
            wide = f"%wide{k}" if self.plan.wide[k] else None
            sweep = Sweep(nest, pointers, index, extents, width, self.step, copies, wide)
            sweep.strips.only = dict.fromkeys(self.cells.rows, "%near")
            sweep.strips.padded = self.padded
            begin, end = self.rank, product(f, sweep.extents)
            if self.plan.divisible:
                first = f.emit(f"mul i64 {self.part}, %each{k}")
                begin = f.emit(f"add i64 {first}, {begin}")
                end = f.minimum(end, f.emit(f"add i64 {first}, %each{k}"))
            for one, state in zip(accumulators, sweep.emit(begin, end, accumulators),
                                  strict=True):  # fmt: skip
                for type_, initial, register in zip(one.types(), one.initial(), state, strict=True):
                    results.register(type_, register, initial)
        return dealt(accumulators, [str(r) for r in results.found])

    def _agreed(
        self, accumulators: Sequence[Accumulator], states: list[list[str]], rest: ExitStack
    ) -> list[list[str]]:
        """The end of a stage: all threads of the group, or all parts of the row, have one state."""
        f, stage = self.f, self.stage
        if self.plan.divisible:
            states = self._gathered(accumulators, states)
        states = agreed(f, accumulators, states, self.slots, self.log_group)
        self.slots = f.offset(self.slots, group_words(accumulators))
        if self.plan.divisible:
            stays = f.emit(f"icmp eq i64 %phase, {stage}")
            with f.if_then(f.emit(f"and i1 {stays}, {f.emit(f'icmp eq i64 {self.rank}, 0')}")):
                types = [t for one in accumulators for t in one.types()]
                words = words_of(f, types, [r for state in states for r in state])
                for word, place in zip(words, self._slots(len(words), self.part), strict=True):
                    f.do(f"store i32 {word}, ptr {place}")
            rest.enter_context(f.if_then(f.emit(f"icmp ne i64 %phase, {stage}")))
        self.words += sum(map(word_count, accumulators))
        self.stage += 1
        return states

    def _gathered(
        self, accumulators: Sequence[Accumulator], states: list[list[str]]
    ) -> list[list[str]]:
        """The states of the parts, where an earlier launch has made them: a part a thread."""
        f = self.f
        before, load, done = f.current, f.label("made"), f.label("gathered")
        made = f.emit(f"icmp sgt i64 %phase, {self.stage}")
        mine = f.emit(f"icmp slt i64 {self.rank}, %parts")
        f.branch_if(f.emit(f"and i1 {made}, {mine}"), load, done)
        f.block(load)
        types = [t for one in accumulators for t in one.types()]
        places = self._slots(sum(map(word_count, accumulators)), self.rank)
        found = registers_of(f, types, [f.emit(f"load i32, ptr {place}") for place in places])
        f.branch(done)
        f.block(done)
        flat = [r for state in states for r in state]
        after = [f.phi(t, [(b, load), (a, before)])
                 for t, a, b in zip(types, flat, found, strict=True)]  # fmt: skip
        return dealt(accumulators, after)

    def _slots(self, count: int, part: str) -> list[str]:
        """Where the words of a part's states are, of this stage and point."""
        f = self.f
        every = f.emit("mul i64 %points, %parts")
        at = f.emit(f"add i64 {f.emit(f'mul i64 {self.point}, %parts')}, {part}")
        found = []
        for k in range(self.words, self.words + count):
            number = f.emit(f"add i64 {f.emit(f'mul i64 {every}, {k}')}, {at}")
            found.append(f.emit(f"getelementptr i32, ptr %states, i64 {number}"))
        return found

    def _points(self, part: Part, nest: Nest, index: list[str]) -> None:
        """A thread for each point of the inner loops that nothing is combined over."""
        f = self.f
        extents = [nest.size(e) for e in part.kernel.extents[self.depth : nest.depth]]
        with f.if_then(self.real), f.loop(self.rank, product(f, extents), self.step) as loop:
            run_at(nest, [*index, *split_index(f, str(loop), extents)])

    @contextmanager
    def _guarded(self, condition: str) -> Iterator[_Results]:
        """Code for groups that have a point; `found` are its results, afterwards."""
        f, before = self.f, self.f.current
        then, done = f.label("real"), f.label("none")
        f.branch_if(condition, then, done)
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
