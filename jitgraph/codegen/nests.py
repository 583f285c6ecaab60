"""A kernel as an LLVM function: loops around a body that is emitted as explicit vector code.

    for i:                        loads and ops that do not depend on j
      for j:                      the body, in vectors (`codegen.innermost`)

What does not depend on an inner loop is computed outside it (the *level* of a value is the number
of loops around it). Sums and other reductions over the innermost loops are vectors of partial
results (`codegen.reductions`). The kernels of a row nest follow each other inside the loops they
share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from jitgraph.codegen.expansions import part_dtype
from jitgraph.codegen.groups import Groups, rows_in_groups
from jitgraph.codegen.innermost import Innermost, Write, carrying, is_zero
from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.places import FirstPlace, accumulator
from jitgraph.codegen.reductions import combined
from jitgraph.codegen.registers import Register, load, register_type, store, vector_of
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.codegen.tiles import Tiles, tiled_loads
from jitgraph.codegen.vectors import Lanes
from jitgraph.ir.kernel import ELEMENT, Buffer, Kernel, Rows, Source, Store
from jitgraph.ir.opdef import Size
from jitgraph.ir.types import I64, DType, kind_of
from jitgraph.ir.values import Value

#: Functions with loops stay functions: inlining them costs compile time and loses `noalias`.
_ATTRIBUTES = "noinline"
#: Ops whose vector code is a call or a division for each lane, and the kinds of dtypes of which.
_LANE_BY_LANE = {"floor_divide": "iuf", "remainder": "iuf", "fmod": "iuf", "power": "iu",
                 "gcd": "iu", "lcm": "iu"}  # fmt: skip
_FEW_LANES = 8
#: Ops whose vector code works on halves of its operands' words: twice the lanes fill the vectors.
_HALF_WORDS = frozenset({"threefry"})
#: An op whose steps depend on each other for longer than a processor looks ahead: two vectors at
#: once, step by step, for it to overlap.
_DEEP = ("power", np.dtype("f4"))
#: Locals of a row nest up to this many bytes live on its stack.
_STACK = 16384
_ALIGN = 64


@dataclass(frozen=True, slots=True)
class Memory:
    """Which pointer a buffer lies behind: temporaries in one slot share it, and a temporary that
    inherits the memory of a result has the result's."""

    placement: Mapping[Buffer, int]
    inherited: Mapping[Buffer, Buffer]

    def key(self, buffer: Buffer) -> str:
        buffer = self.inherited.get(buffer, buffer)
        slot = self.placement.get(buffer)
        return f"slot{slot}" if slot is not None else f"buffer{buffer.number}"


@dataclass(frozen=True, slots=True)
class NestFunction:
    """The function of a kernel or a row nest, and what to pass: pointers by key, then scalars, then
    the first and the last (exclusive) round of each split loop. Its name is that of another step
    where the same function serves both."""

    step: str
    name: str
    buffers: tuple[Buffer, ...]
    scalars: tuple[Value, ...]


def scalar_parameters(value: Value, name: str) -> list[str]:
    """The LLVM parameters that carry a scalar: two for a complex one."""
    type_ = register_type(value.dtype)
    if value.dtype.kind == "c":
        return [f"{type_} {name}.re", f"{type_} {name}.im"]
    return [f"{type_} {name}"]


def kept_inside(rows: Rows) -> list[Buffer]:
    """The locals that lie on the stack of the row nest's own function."""
    known = [b for b in rows.locals if all(isinstance(e, int) for e in b.extents)]
    kept, total = [], 0
    for buffer in sorted(known, key=_bytes):
        total += max(_bytes(buffer), _ALIGN)
        if total <= _STACK:
            kept.append(buffer)
    return kept


def _bytes(buffer: Buffer) -> int:
    return math.prod((buffer.dtype.itemsize, *(e for e in buffer.extents if isinstance(e, int))))


def emit_nest(
    module: Module,
    work: Kernel | Rows,
    name: str,
    memory: Memory,
    *,
    split: tuple[int, ...],
    streams: bool,
    contract: bool,
) -> NestFunction:
    """Add the function of a kernel or a row nest to the module, which runs a part of each of the
    loops `split`. Where it `streams`, it is told whether to write past the caches."""
    inside = kept_inside(work) if isinstance(work, Rows) else []
    by_key = {memory.key(b): b for b in _in_order_of_use(work) if b not in inside}
    scalars = work.scalars()
    parameters = [f"ptr noalias %p{k}" for k in range(len(by_key))]
    for k, scalar in enumerate(scalars):
        parameters += scalar_parameters(scalar, f"%v{k}")
    for loop in split:
        parameters += [f"i64 %begin{loop}", f"i64 %end{loop}"]
    if streams:
        parameters.append("i1 %streams")
    function = FunctionBuilder(
        module, name, parameters, internal=True, attributes=_ATTRIBUTES, passes="explicit"
    )
    places = {key: f"%p{k}" for k, key in enumerate(by_key)}
    for buffer in inside:
        made = f"alloca [{max(_bytes(buffer), 1)} x i8], align {_ALIGN}"
        places[memory.key(buffer)] = function.emit(made, "local")
    registers: dict[Value, Register] = {}
    for k, scalar in enumerate(scalars):
        complex_ = scalar.dtype.kind == "c"
        registers[scalar] = (f"%v{k}.re", f"%v{k}.im") if complex_ else f"%v{k}"
    context = Context(
        function, places, memory, registers, split, contract,
        frozenset(streamed_stores(work, memory)), "%streams" if streams else None,
    )  # fmt: skip
    if isinstance(work, Rows):
        nests = [Nest(context, kernel, work.depth) for kernel in work.kernels]
        _share(context, nests, work, 0, [nest.start() for nest in nests])
    else:
        nest = Nest(context, work)
        nest.inside(0, nest.start(), {})
    if streams:  # such stores are ordered with nothing else
        with function.if_then("%streams"):
            function.do("fence seq_cst")
    function.do("ret void")
    same = module.merged(function).name
    return NestFunction(name, same, tuple(by_key.values()), tuple(scalars))


def _in_order_of_use(work: Kernel | Rows) -> list[Buffer]:
    """The buffers that the work reads or writes. Their order is that of the parameters, so that
    functions which differ in their buffers only have the same text."""
    used: list[Buffer] = []
    for kernel in work.kernels if isinstance(work, Rows) else (work,):
        used += [load.access.buffer for load in kernel.loads]
        used += [source.view.buffer for source in kernel.sources]
        used += [store.access.buffer for store in kernel.stores]
    return list(dict.fromkeys(used))


def streamed_stores(work: Kernel | Rows, memory: Memory) -> list[Store]:
    """Stores of whole vectors to memory that the work does not read: past the caches they save
    reading what is overwritten."""
    kernels = work.kernels if isinstance(work, Rows) else (work,)
    read = {memory.key(b) for k in kernels for b in k.reads()}
    read |= {memory.key(load.access.buffer) for k in kernels for load in k.loads}
    own = set(work.locals) if isinstance(work, Rows) else set()
    found = []
    for item in (s for k in kernels for s in k.stores):
        buffer = item.access.buffer
        near = bool(item.access.strides) and item.access.strides[-1] == buffer.dtype.itemsize
        running = item.running is not None and item.in_register
        combines = item.combine is not None and not running
        plain = not combines and not item.indices and buffer.dtype.kind != "c"
        if near and plain and buffer not in own and memory.key(buffer) not in read:
            found.append(item)
    return found


@dataclass(frozen=True, slots=True)
class Context:
    """What the loops of one function have in common."""

    f: FunctionBuilder
    places: Mapping[str, str]
    memory: Memory
    registers: Mapping[Value, Register]
    split: tuple[int, ...]
    contract: bool
    streamed: frozenset[Store]
    streams: str | None

    def bounds(self, loop: int, extent: str) -> tuple[str, str]:
        """From where to where a loop runs."""
        return (f"%begin{loop}", f"%end{loop}") if loop in self.split else ("0", extent)


def _share(
    context: Context, nests: list[Nest], rows: Rows, level: int, pointers: list[list[str]]
) -> None:
    """The loops that the kernels of a row nest share, from `level` inwards."""
    if level == rows.depth:
        for nest, at in zip(nests, pointers, strict=True):
            nest.inside(level, at, {})
        return
    begin, end = context.bounds(level, nests[0].size(rows.shared[level]))
    with context.f.loop(begin, end, name="row") as loop:
        inner = []
        for nest, at in zip(nests, pointers, strict=True):
            nest.registers[nest.kernel.iterators[level]] = loop.index
            inner.append([nest.along(p, a.strides[level], loop.index)
                          for p, a in zip(at, nest.accesses, strict=True)])  # fmt: skip
        _share(context, nests, rows, level + 1, inner)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known at a place in the code: registers of values, and what lowers more of them."""

    registers: dict[Value, Register]
    outside: ScalarLowering


def _in_memory(item: Store) -> bool:
    """Whether a store combines with what is there."""
    return item.combine is not None and not item.in_register


class Nest:
    """The loops of one kernel, from loop `depth` inwards."""

    def __init__(self, context: Context, kernel: Kernel, depth: int = 0) -> None:
        self.context = context
        self.f = context.f
        vectors = self.f.module.target.vector_bytes > 0
        loads = tiled_loads(kernel, context.memory, depth) if vectors else []
        self.tiles = Tiles(self.f, kernel, loads) if loads else None
        #: The parts of loops that a tile covers, while it is worked on.
        self.windows: dict[int, tuple[str, str]] = {}
        self.kernel = kernel = self.tiles.kernel if self.tiles else kernel
        self.depth = depth
        self.contract = context.contract
        self.rank = len(kernel.extents)
        self.body = kernel.body()
        self.accesses = kernel.accesses()
        self.level = self._levels()
        self.registers = dict(context.registers)
        self.outside = ScalarLowering(self.f, self.registers, self.contract)
        self.lanes = self._lanes() if self.rank > self.depth else 1
        self.carried = {s: depth for s in kernel.stores
                        if (depth := self._first_reduced(s)) < self.rank}  # fmt: skip
        self.accumulators = {s: accumulator(self.f, s, self.lanes) for s in self.carried}
        #: Extrema in memory, which are written with their places.
        self.extrema = {best for s in kernel.stores if (best := kernel.extremum(s))}
        rows = rows_in_groups(self)
        self.groups = Groups(self, rows) if rows > 1 else None

    # --- analysis -------------------------------------------------------------------------------
    def _levels(self) -> dict[Value, int]:
        """How many loops each value of the body depends on, from the outside. What an earlier
        kernel of the row nest writes is not there before the loops they share."""
        kernel, least = self.kernel, self.depth
        level = {iterator: k + 1 for k, iterator in enumerate(kernel.iterators)}
        for item in kernel.loads:
            used = [k + 1 for k, s in enumerate(item.access.strides) if not is_zero(s)]
            level[item.leaf] = max(used, default=least)
        for value in self.body:
            args = value.op.args if value.op is not None else ()
            level[value] = max((level.get(a, 0) for a in args), default=least)
        return {v: max(n, least) for v, n in level.items()}

    def _first_reduced(self, item: Store) -> int:
        """From which loop inwards a store combines in a register; the rank if nowhere."""
        depth = self.rank
        if item.combine is None or item.indices:
            return depth
        if item.running is not None:
            return depth - 1 if item.running == depth - 1 else depth
        while (depth > self.depth and depth - 1 in item.reduced
               and is_zero(item.access.strides[depth - 1])):  # fmt: skip
            depth -= 1
        return depth

    def _lanes(self) -> int:
        """How many elements of the innermost loop are computed at once."""
        if not self.f.module.target.vector_bytes:
            return 1  # a thread of a device
        kernel, inner = self.kernel, self.rank - 1
        for item in kernel.stores:
            stride = item.access.strides[inner]
            meets = is_zero(stride) or (_in_memory(item) and not isinstance(stride, int))
            if item.indices or (meets and self._first_reduced(item) == self.rank):
                return 1  # two lanes may write to one place
        used = self._used()
        values = (*(load.leaf for load in kernel.loads), *self.body, kernel.iterators[-1])
        sizes = [4 if v.dtype == "f2" else part_dtype(v.dtype).itemsize for v in values
                 if self.level.get(v, 0) == self.rank and v in used]  # fmt: skip
        sizes += [4 if s.places is not None else part_dtype(s.access.buffer.dtype).itemsize
                  for s in kernel.stores]
        lanes = self.f.module.target.vector_bytes // max(sizes)
        if any(v.op is not None and kind_of(v.dtype) in _LANE_BY_LANE.get(v.op.name, "")
               for v in self.body):  # fmt: skip
            lanes = min(lanes, _FEW_LANES)
        elif any(v.op is not None and (v.op.name in _HALF_WORDS or (v.op.name, v.dtype) == _DEEP)
                 for v in self.body):  # fmt: skip
            lanes *= 2
        extent = kernel.extents[inner]
        while isinstance(extent, int) and lanes // 2 >= extent and lanes > 1:
            lanes //= 2
        return lanes

    def _used(self) -> set[Value]:
        used = {a for v in self.body if v.op is not None for a in v.op.args}
        return used | set(self.kernel.roots()) | set(self.body)

    # --- loops ----------------------------------------------------------------------------------
    def start(self) -> list[str]:
        """Where each access begins."""
        return [self.pointer(a.buffer, a.offset) for a in self.accesses]

    def size(self, size: Size) -> str:
        """The register or number of a size."""
        if isinstance(size, int):
            return str(size)
        register = self.registers[size]
        assert isinstance(register, str)
        return register

    def pointer(self, buffer: Buffer, offset: Size) -> str:
        """Where in a buffer an offset leads."""
        pointer = self.context.places[self.context.memory.key(buffer)]
        by = self.size(offset)
        return pointer if by == "0" else self.f.offset(pointer, by)

    def along(self, pointer: str, stride: Size, index: str) -> str:
        """A pointer moved by `index` steps of a stride."""
        if is_zero(stride):
            return pointer
        offset = self.f.emit(f"mul nsw i64 {index}, {self.size(stride)}")
        return self.f.offset(pointer, offset)

    def inside(
        self, depth: int, pointers: list[str], states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """What happens inside `depth` loops. `states` are the reductions begun outside."""
        if depth < self.rank or self.lanes == 1:
            self.compute(depth, pointers)
        begun = [s for s, first in self.carried.items() if first == depth]
        states = states | {s: self.accumulators[s].initial() for s in begun}
        if depth == self.rank:
            for write in self.store_all(Lanes(self.f, 1), self.outside, pointers, {}):
                write.run("")
        elif depth == self.rank - 1:
            loops = Innermost(self, pointers)
            states = loops.emit(*self.bounds(depth), states)
        elif self.tiles is not None and depth == self.rank - 2:
            states = self.tiles.emit(self, pointers, states)
        elif self.groups is not None and depth == self.rank - 2:
            self.groups.emit(pointers)
        else:
            states = self.loop(depth, pointers, states)
        for item in begun:
            state = states.pop(item)
            if item.running is None:
                self.finish(item, pointers, state)
        return states

    def bounds(self, depth: int) -> tuple[str, str]:
        """From where to where a loop runs."""
        if depth in self.windows:
            return self.windows[depth]
        return self.context.bounds(depth, self.size(self.kernel.extents[depth]))

    def loop(
        self, depth: int, pointers: list[str], states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """The loop number `depth` and what is in it."""
        begin, end = self.bounds(depth)
        types = {s: self.accumulators[s].types() for s in states}
        with carrying(self.f, begin, end, 1, types, states) as loop:
            self.registers[self.kernel.iterators[depth]] = loop.index
            inner = [self.along(p, a.strides[depth], loop.index)
                     for p, a in zip(pointers, self.accesses, strict=True)]  # fmt: skip
            loop.states = self.inside(depth + 1, inner, loop.states)
        return loop.states

    def scope(self) -> Scope:
        """For code that does not come before all that follows: its registers are its own."""
        registers = dict(self.registers)
        return Scope(registers, ScalarLowering(self.f, registers, self.contract))

    @contextmanager
    def within(self, scope: Scope) -> Iterator[None]:
        """While code of this scope is written."""
        saved = self.outside, self.registers
        self.outside, self.registers = scope.outside, scope.registers
        yield
        self.outside, self.registers = saved

    def compute(self, depth: int, pointers: list[str]) -> None:
        """Everything that depends on the loops so far and on no other."""
        for item, pointer in zip(self.kernel.loads, pointers, strict=False):
            if self.level[item.leaf] == depth:
                self.registers[item.leaf] = load(self.f, pointer, item.leaf.dtype)
        for value in self.body:
            if self.level[value] == depth:
                if value.op is not None and value.op.definition is ELEMENT:
                    self.registers[value] = self.element(value)
                self.outside.lower(value)

    def source(self, handle: Value) -> Source:
        return next(s for s in self.kernel.sources if s.handle is handle)

    def element(self, value: Value) -> Register:
        """One element of a source at computed indices."""
        assert value.op is not None
        handle, *indices = value.op.args
        view = self.source(handle).view
        pointer = self.pointer(view.buffer, view.offset)
        for index, stride in zip(indices, view.strides, strict=True):
            register = self.outside.lower(index)
            assert isinstance(register, str)
            pointer = self.along(pointer, stride, register)
        return load(self.f, pointer, value.dtype)

    # --- stores ---------------------------------------------------------------------------------
    def store_all(
        self,
        lanes: Lanes,
        lowering: ScalarLowering,
        pointers: list[str],
        steps: Mapping[int, str],
    ) -> list[Write]:
        """The stores of one copy of the body, but for those that combine in registers; their
        values are computed."""
        return [
            self.first_place(lanes, lowering.lower(item.value), item, pointers, steps)
            if item.places is not None
            else self.written(lanes, lowering.lower(item.value), item, pointers, steps, lowering)
            for item in self.kernel.stores
            if item not in self.carried and item not in self.extrema
        ]

    def first_place(
        self,
        lanes: Lanes,
        value: Register,
        item: Store,
        pointers: list[str],
        steps: Mapping[int, str],
    ) -> Write:
        """The extremum and its place in memory, where the value is better: to be emitted."""
        best = self.kernel.extremum(item)
        assert best is not None
        at = [self.number(s) for s in (best, item)]
        strides = [self.accesses[k].strides[-1] for k in at]
        keeper, place = FirstPlace(self.f, item, lanes.count), self.place(item)

        def run(suffix: str) -> None:
            before = [lanes.load(pointers[k], s.access.buffer.dtype, stride, steps.get(k))
                      for k, s, stride in zip(at, (best, item), strides, strict=True)]  # fmt: skip
            after = keeper.follow(before, value, place)
            for k, s, stride, register in zip(at, (best, item), strides, after, strict=True):
                self._put(lanes, register, pointers[k], s, stride, steps.get(k))

        return Write(run, streams=False)

    def place(self, item: Store) -> str:
        """The place of all elements along the innermost loop, which is none of those reduced."""
        assert item.places is not None
        total = "0"
        for iterator, stride in zip(self.kernel.iterators, item.places, strict=True):
            if not is_zero(stride):
                index = self.registers[iterator]
                more = self.f.emit(f"mul i64 {index}, {self.size(stride)}")
                total = self.f.emit(f"add i64 {total}, {more}")
        return total

    def written(
        self,
        lanes: Lanes,
        value: Register,
        item: Store,
        pointers: list[str],
        steps: Mapping[int, str],
        lowering: ScalarLowering,
    ) -> Write:
        """The store of one value, to be emitted."""
        k = self.number(item)
        run = partial(self.write, lanes, value, item, pointers[k], steps.get(k), lowering)
        return Write(run, item in self.context.streamed)

    def write(
        self,
        lanes: Lanes,
        value: Register,
        item: Store,
        pointer: str,
        steps: str | None,
        lowering: ScalarLowering,
        suffix: str = "",
    ) -> None:
        """Store a value, or combine it with what is in memory."""
        dtype = item.value.dtype
        for index, stride in item.indices:
            register = lowering.lower(index)
            assert isinstance(register, str)
            pointer = self.along(pointer, stride, register)
        stride = item.access.strides[-1] if self.rank else 0
        if item.running is not None and _in_memory(item):
            value = self._after_previous(lanes, value, item, pointer, steps)
        elif item.combine is not None and _in_memory(item):
            before = lanes.load(pointer, dtype, stride, steps)
            value = self.merged(item.combine, dtype, before, value, lanes.count)
        self._put(lanes, value, pointer, item, stride, steps, suffix)

    def _put(
        self,
        lanes: Lanes,
        value: Register,
        pointer: str,
        item: Store,
        stride: Size,
        steps: str | None,
        suffix: str = "",
    ) -> None:
        dtype = item.access.buffer.dtype
        if lanes.count == 1:
            store(self.f, value, pointer, dtype)
        else:
            lanes.store(value, pointer, dtype, stride, steps, suffix)

    def _after_previous(
        self, lanes: Lanes, value: Register, item: Store, pointer: str, steps: str | None
    ) -> Register:
        """A running total: the value combined with the one before, but for the first."""
        assert item.running is not None
        assert item.combine is not None
        f, dtype, strides = self.f, item.value.dtype, item.access.strides
        index = self.registers[self.kernel.iterators[item.running]]
        first = f.emit(f"icmp eq i64 {index}, 0")
        back = f.emit(f"sub i64 0, {self.size(strides[item.running])}")
        at = f.offset(pointer, f.emit(f"select i1 {first}, i64 0, i64 {back}"))
        before = lanes.load(at, dtype, strides[-1], steps)
        after = self.merged(item.combine, dtype, before, value, lanes.count)
        type_ = vector_of(register_type(part_dtype(dtype)), lanes.count)
        pairs = [(value, after)] if isinstance(value, str) else list(zip(value, after, strict=True))
        chosen = [f.emit(f"select i1 {first}, {type_} {a}, {type_} {b}") for a, b in pairs]
        return chosen[0] if len(chosen) == 1 else (chosen[0], chosen[1])

    def merged(
        self, combine: str, dtype: DType, before: Register, value: Register, lanes: int
    ) -> Register:
        part = part_dtype(dtype)
        if isinstance(before, str) and isinstance(value, str):
            return combined(self.f, combine, part, before, value, lanes)
        re, im = (combined(self.f, combine, part, a, b, lanes)
                  for a, b in zip(before, value, strict=True))  # fmt: skip
        return re, im

    def finish(self, item: Store, pointers: list[str], state: list[str]) -> None:
        """The end of a reduction in registers."""
        pointer = pointers[self.number(item)]
        dtype = item.access.buffer.dtype
        accumulator = self.accumulators[item]
        if isinstance(accumulator, FirstPlace):
            self._finish_place(accumulator, pointers, state)
            return
        value = accumulator.result(state)
        if item.combine is not None and len(item.reduced) > self.rank - self.carried[item]:
            before = load(self.f, pointer, dtype)
            value = self.merged(item.combine, dtype, before, value, 1)
        store(self.f, value, pointer, dtype)

    def _finish_place(
        self, accumulator: FirstPlace, pointers: list[str], state: list[str]
    ) -> None:
        item = accumulator.store
        pointer, best = pointers[self.number(item)], self.kernel.extremum(item)
        if best is not None:
            # The extremum itself is written after its place: what is there is from before.
            before = [load(self.f, pointers[self.number(s)], s.access.buffer.dtype)
                      for s in (best, item)]  # fmt: skip
            store(self.f, accumulator.joined(before, state)[1], pointer, I64)
        elif item.reduced & set(self.context.split):
            accumulator.write_both(state, pointer)
        else:
            store(self.f, accumulator.result(state), pointer, I64)

    def number(self, item: Store) -> int:
        """Which of the accesses is that of a store."""
        return len(self.kernel.loads) + self.kernel.stores.index(item)
