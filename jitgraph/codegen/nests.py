"""A kernel as an LLVM function: loops around a body that is emitted as explicit vector code.

    for i:                                    loads and ops that do not depend on j
      for j in steps of copies * lanes:       the body on vectors, several copies
      for j in steps of lanes:                the body once, on the lanes of a mask

What does not depend on an inner loop is computed outside it (the *level* of a value is the number
of loops around it). Sums and other reductions over the innermost loops are vectors of partial
results (`codegen.reductions`). Targets without masked instructions do the rest one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.reductions import BLOCK, Accumulator, combined
from jitgraph.codegen.scalar import (
    Register,
    ScalarLowering,
    load,
    op_length,
    part_dtype,
    register_type,
    store,
    vector_of,
)
from jitgraph.codegen.vectors import Lanes, needs_steps
from jitgraph.ir.kernel import ELEMENT, Access, Buffer, Kernel, Source, Store
from jitgraph.ir.opdef import Size
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

#: Functions with loops stay functions: inlining them costs compile time and loses `noalias`.
_ATTRIBUTES = "noinline"
#: Bodies of at most so many instructions are repeated so many times in the main loop.
_COPIES = ((10, 4), (24, 2))
#: Longer bodies are emitted only once, for a loop that masks every step.
_LONG_BODY = 48
#: Ops whose vector code is a call or a division for each lane.
_LANE_BY_LANE = frozenset({"floor_divide", "remainder", "fmod", "power"})
_FEW_LANES = 8


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
class KernelFunction:
    """The function of a kernel, and what to pass: pointers by key, then scalars."""

    name: str
    buffers: tuple[Buffer, ...]
    scalars: tuple[Value, ...]


def scalar_parameters(value: Value, name: str) -> list[str]:
    """The LLVM parameters that carry a scalar: two for a complex one."""
    type_ = register_type(value.dtype)
    if value.dtype.kind == "c":
        return [f"{type_} {name}.re", f"{type_} {name}.im"]
    return [f"{type_} {name}"]


def emit_kernel(
    module: Module, kernel: Kernel, name: str, memory: Memory, *, contract: bool
) -> KernelFunction:
    """Add the kernel's function to the module."""
    by_key = {memory.key(b): b for b in sorted(kernel.reads() | kernel.writes(),
                                               key=lambda b: b.number)}  # fmt: skip
    scalars = kernel.scalars()
    parameters = [f"ptr noalias %{key}" for key in by_key]
    for k, scalar in enumerate(scalars):
        parameters += scalar_parameters(scalar, f"%v{k}")
    function = FunctionBuilder(
        module, name, parameters, internal=True, attributes=_ATTRIBUTES, passes="explicit"
    )
    registers: dict[Value, Register] = {}
    for k, scalar in enumerate(scalars):
        complex_ = scalar.dtype.kind == "c"
        registers[scalar] = (f"%v{k}.re", f"%v{k}.im") if complex_ else f"%v{k}"
    _Nest(function, kernel, memory, registers, contract).emit()
    function.do("ret void")
    return KernelFunction(function.name, tuple(by_key.values()), tuple(scalars))


def _is_zero(stride: Size) -> bool:
    return isinstance(stride, int) and stride == 0


def _in_memory(item: Store) -> bool:
    """Whether a store combines with what is there."""
    return item.combine is not None and not item.in_register


class _Nest:
    """The loops of one kernel."""

    def __init__(
        self,
        function: FunctionBuilder,
        kernel: Kernel,
        memory: Memory,
        registers: dict[Value, Register],
        contract: bool,
    ) -> None:
        self.f = function
        self.kernel = kernel
        self.memory = memory
        self.contract = contract
        self.rank = len(kernel.extents)
        self.body = kernel.body()
        self.accesses = kernel.accesses()
        self.level = self._levels()
        self.registers = dict(registers)
        self.outside = ScalarLowering(function, self.registers, contract)
        self.lanes = self._lanes() if self.rank else 1
        self.carried = {s: depth for s in kernel.stores
                        if (depth := self._first_reduced(s)) < self.rank}  # fmt: skip
        self.accumulators = {s: Accumulator(function, s, self.lanes) for s in self.carried}

    # --- analysis -------------------------------------------------------------------------------
    def _levels(self) -> dict[Value, int]:
        """How many loops each value of the body depends on, from the outside."""
        kernel = self.kernel
        level = {iterator: k + 1 for k, iterator in enumerate(kernel.iterators)}
        for item in kernel.loads:
            used = [k + 1 for k, s in enumerate(item.access.strides) if not _is_zero(s)]
            level[item.leaf] = max(used, default=0)
        for value in self.body:
            args = value.op.args if value.op is not None else ()
            level[value] = max((level.get(a, 0) for a in args), default=0)
        return level

    def _first_reduced(self, item: Store) -> int:
        """From which loop inwards a store combines in a register; the rank if nowhere."""
        depth = self.rank
        if item.combine is None or item.indices:
            return depth
        while (depth and depth - 1 in item.reduced
               and _is_zero(item.access.strides[depth - 1])):  # fmt: skip
            depth -= 1
        return depth

    def _lanes(self) -> int:
        """How many elements of the innermost loop are computed at once."""
        kernel, inner = self.kernel, self.rank - 1
        for item in kernel.stores:
            stride = item.access.strides[inner]
            meets = _is_zero(stride) or (_in_memory(item) and not isinstance(stride, int))
            if item.indices or (meets and self._first_reduced(item) == self.rank):
                return 1  # two lanes may write to one place
        sizes = [4 if v.dtype == "f2" else part_dtype(v.dtype).itemsize
                 for v in (*(load.leaf for load in kernel.loads), *self.body, kernel.iterators[-1])
                 if self.level.get(v, 0) == self.rank and v in self._used()]  # fmt: skip
        sizes += [s.access.buffer.dtype.itemsize // (2 if s.access.buffer.dtype.kind == "c" else 1)
                  for s in kernel.stores]  # fmt: skip
        lanes = self.f.module.target.vector_bytes // max(sizes)
        if any(v.op is not None and v.op.name in _LANE_BY_LANE for v in self.body):
            lanes = min(lanes, _FEW_LANES)
        extent = kernel.extents[inner]
        while isinstance(extent, int) and lanes // 2 >= extent and lanes > 1:
            lanes //= 2
        return lanes

    def _used(self) -> set[Value]:
        used = {a for v in self.body if v.op is not None for a in v.op.args}
        return used | set(self.kernel.roots()) | set(self.body)

    # --- loops ----------------------------------------------------------------------------------
    def emit(self) -> None:
        """All the loops, at the function's current place."""
        pointers = [self._pointer(a.buffer, a.offset) for a in self.accesses]
        self._inside(0, pointers, {})

    def size(self, size: Size) -> str:
        if isinstance(size, int):
            return str(size)
        register = self.registers[size]
        assert isinstance(register, str)
        return register

    def _pointer(self, buffer: Buffer, offset: Size) -> str:
        pointer, by = f"%{self.memory.key(buffer)}", self.size(offset)
        return pointer if by == "0" else self.f.offset(pointer, by)

    def _along(self, pointer: str, stride: Size, index: str) -> str:
        if _is_zero(stride):
            return pointer
        offset = self.f.emit(f"mul nsw i64 {index}, {self.size(stride)}")
        return self.f.offset(pointer, offset)

    def _inside(
        self, depth: int, pointers: list[str], states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """What happens inside `depth` loops. `states` are the reductions begun outside."""
        if depth < self.rank or self.lanes == 1:
            self._compute(depth, pointers)
        begun = [s for s, first in self.carried.items() if first == depth]
        states = states | {s: self.accumulators[s].initial() for s in begun}
        if depth == self.rank:
            self._store_all(Lanes(self.f, 1), self.outside, pointers, {})
        elif depth == self.rank - 1:
            loops = _Innermost(self, pointers)
            states = loops.emit("0", self.size(self.kernel.extents[depth]), states)
        else:
            states = self._loop(depth, pointers, states)
        for item in begun:
            self._finish(item, pointers, states.pop(item))
        return states

    def _loop(
        self, depth: int, pointers: list[str], states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        extent = self.size(self.kernel.extents[depth])
        with carrying(self.f, "0", extent, 1, self.accumulators, states) as loop:
            self.registers[self.kernel.iterators[depth]] = loop.index
            inner = [self._along(p, a.strides[depth], loop.index)
                     for p, a in zip(pointers, self.accesses, strict=True)]  # fmt: skip
            loop.states = self._inside(depth + 1, inner, loop.states)
        return loop.states

    def _compute(self, depth: int, pointers: list[str]) -> None:
        """Everything that depends on the loops so far and on no other."""
        for item, pointer in zip(self.kernel.loads, pointers, strict=False):
            if self.level[item.leaf] == depth:
                self.registers[item.leaf] = load(self.f, pointer, item.leaf.dtype)
        for value in self.body:
            if self.level[value] == depth:
                if value.op is not None and value.op.definition is ELEMENT:
                    self.registers[value] = self._element(value)
                self.outside.lower(value)

    def source(self, handle: Value) -> Source:
        return next(s for s in self.kernel.sources if s.handle is handle)

    def _element(self, value: Value) -> Register:
        """One element of a source at computed indices."""
        assert value.op is not None
        handle, *indices = value.op.args
        view = self.source(handle).view
        pointer = self._pointer(view.buffer, view.offset)
        for index, stride in zip(indices, view.strides, strict=True):
            register = self.outside.lower(index)
            assert isinstance(register, str)
            pointer = self._along(pointer, stride, register)
        return load(self.f, pointer, value.dtype)

    # --- stores ---------------------------------------------------------------------------------
    def _store_all(
        self,
        lanes: Lanes,
        lowering: ScalarLowering,
        pointers: list[str],
        steps: Mapping[int, str],
    ) -> None:
        """The stores of one copy of the body, but for those that combine in registers."""
        first = len(self.kernel.loads)
        for k, item in enumerate(self.kernel.stores, first):
            if item not in self.carried:
                self.write(lanes, lowering.lower(item.value), item, pointers[k], steps.get(k),
                           lowering)  # fmt: skip

    def write(
        self,
        lanes: Lanes,
        value: Register,
        item: Store,
        pointer: str,
        steps: str | None,
        lowering: ScalarLowering,
    ) -> None:
        """Store a value, or combine it with what is in memory."""
        dtype = item.value.dtype
        for index, stride in item.indices:
            register = lowering.lower(index)
            assert isinstance(register, str)
            pointer = self._along(pointer, stride, register)
        stride = item.access.strides[-1] if self.rank else 0
        if item.combine is not None and _in_memory(item):
            before = lanes.load(pointer, dtype, stride, steps)
            value = self._merged(item.combine, dtype, before, value, lanes.count)
        if lanes.count == 1:
            store(self.f, value, pointer, dtype)
        else:
            lanes.store(value, pointer, dtype, stride, steps)

    def _merged(
        self, combine: str, dtype: DType, before: Register, value: Register, lanes: int
    ) -> Register:
        part = part_dtype(dtype)
        if isinstance(before, str) and isinstance(value, str):
            return combined(self.f, combine, part, before, value, lanes)
        re, im = (combined(self.f, combine, part, a, b, lanes)
                  for a, b in zip(before, value, strict=True))  # fmt: skip
        return re, im

    def _finish(self, item: Store, pointers: list[str], state: list[str]) -> None:
        """The end of a reduction in registers."""
        value = self.accumulators[item].result(state)
        pointer = pointers[len(self.kernel.loads) + self.kernel.stores.index(item)]
        dtype = item.value.dtype
        if item.combine is not None and len(item.reduced) > self.rank - self.carried[item]:
            before = load(self.f, pointer, dtype)
            value = self._merged(item.combine, dtype, before, value, 1)
        store(self.f, value, pointer, dtype)


@dataclass(slots=True)
class _Carrying:
    index: str
    states: dict[Store, list[str]]


@contextmanager
def carrying(
    f: FunctionBuilder,
    start: str,
    end: str,
    step: int,
    accumulators: Mapping[Store, Accumulator],
    states: dict[Store, list[str]],
) -> Iterator[_Carrying]:
    """A loop that carries the states of reductions: the body sets `states` for the next round, and
    after the loop they are the final ones."""
    flat = [(accumulators[s].type, r) for s, registers in states.items() for r in registers]
    with f.loop(start, end, step, accumulators=flat) as loop:
        inside = _Carrying(loop.index, _dealt(states, loop.carried))
        yield inside
        loop.carry(*(r for registers in inside.states.values() for r in registers))
    inside.states = _dealt(states, loop.results)


def _dealt(states: dict[Store, list[str]], flat: Sequence[str]) -> dict[Store, list[str]]:
    rest = iter(flat)
    return {s: [next(rest) for _ in registers] for s, registers in states.items()}


class _Innermost:
    """The innermost loop: vectors in a main loop of several copies, then what is left."""

    def __init__(self, nest: _Nest, pointers: list[str]) -> None:
        self.nest = nest
        self.f = nest.f
        self.pointers = pointers
        self.kernel = nest.kernel
        self.inner = nest.rank - 1
        self.masked = nest.f.module.target.vector_bytes == 64
        length = sum(op_length(v) for v in nest.body if nest.level[v] == nest.rank)
        self.copies = next((n for limit, n in _COPIES if length <= limit), 1)
        extent = self.kernel.extents[self.inner]
        short = isinstance(extent, int) and extent <= nest.lanes
        if self.masked and (length > _LONG_BODY or short):
            self.copies = 0
        self.uniform: dict[Value, Register] = {}
        self.steps: dict[tuple[int, bool], str] = {}
        if nest.lanes > 1:
            self._prepare()

    def _prepare(self) -> None:
        """Before the loop: what is the same in all lanes, and the offsets of lanes far apart."""
        nest, lanes = self.nest, Lanes(self.f, self.nest.lanes)
        for value in self._from_outside():
            types = [register_type(value.dtype)] * 2
            self.uniform[value] = lanes.spread(nest.outside.lower(value), types)
        for k, access in enumerate(nest.accesses):
            stride = access.strides[self.inner]
            for masked in (False, True):
                if needs_steps(access.buffer.dtype, stride, masked):
                    made = self.steps.get((k, False)) or lanes.steps(nest.size(stride))
                    self.steps[k, masked] = made

    def _from_outside(self) -> list[Value]:
        """Values of outer levels that the vector code uses."""
        nest = self.nest
        inner = [v for v in nest.body if nest.level[v] == nest.rank]
        used = [a for v in inner if v.op is not None for a in v.op.args]
        used += nest.kernel.roots()
        sources = {s.handle for s in nest.kernel.sources}
        outer = {v: None for v in used if nest.level.get(v, 0) < nest.rank and v.literal is None}
        return [v for v in outer if v not in sources]

    # --- loops ----------------------------------------------------------------------------------
    def emit(
        self, begin: str, end: str, states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """The loop from `begin` to `end`."""
        lanes = self.nest.lanes
        if lanes == 1:
            return self._sweep(begin, end, 1, 1, states, masked=False)
        if not self.copies:
            return self._sweep(begin, end, lanes, 1, states, masked=True)
        step = self.copies * lanes
        middle = self._whole(begin, end, step)
        if middle != begin:
            states = self._sweep(begin, middle, step, self.copies, states, masked=False)
        if middle == end:
            return states
        if self.masked:
            return self._sweep(middle, end, lanes, 1, states, masked=True, few=True)
        return self._one_by_one(middle, end, states)

    def _whole(self, begin: str, end: str, step: int) -> str:
        """Where the last whole step from `begin` to `end` ends."""
        if begin.isdigit() and end.isdigit():
            return str(int(begin) + (int(end) - int(begin)) // step * step)
        span = end if begin == "0" else self.f.emit(f"sub i64 {end}, {begin}")
        whole = self.f.emit(f"and i64 {span}, {-step}")
        return whole if begin == "0" else self.f.emit(f"add i64 {begin}, {whole}")

    def _sweep(
        self,
        begin: str,
        end: str,
        step: int,
        copies: int,
        states: dict[Store, list[str]],
        *,
        masked: bool,
        few: bool = False,
    ) -> dict[Store, list[str]]:
        """Steps of `copies` bodies. Compensated sums go block by block, unless steps are `few`."""
        accumulators = self.nest.accumulators
        if few or not any(accumulators[s].is_compensated for s in states):
            return self._block(begin, end, step, copies, states, masked)
        with carrying(self.f, begin, end, BLOCK * step, accumulators, states) as loop:
            last = self.f.minimum(self.f.emit(f"add i64 {loop.index}, {BLOCK * step}"), end)
            loop.states = self._block(loop.index, last, step, copies, loop.states, masked)
        return loop.states

    def _block(
        self,
        begin: str,
        end: str,
        step: int,
        copies: int,
        states: dict[Store, list[str]],
        masked: bool,
    ) -> dict[Store, list[str]]:
        accumulators = self.nest.accumulators
        partials = {s: [r for _ in range(copies) for r in accumulators[s].identity()]
                    for s in states}  # fmt: skip
        with carrying(self.f, begin, end, step, accumulators, partials) as loop:
            loop.states = self._copies(loop, end, copies, masked)
        return {s: accumulators[s].absorb(states[s], self._by_copy(s, registers))
                for s, registers in loop.states.items()}  # fmt: skip

    def _by_copy(self, item: Store, registers: list[str]) -> list[list[str]]:
        parts = self.nest.accumulators[item].parts
        return [registers[k : k + parts] for k in range(0, len(registers), parts)]

    def _copies(
        self, loop: _Carrying, end: str, copies: int, masked: bool
    ) -> dict[Store, list[str]]:
        mask = self._mask(loop.index, end) if masked else None
        after: dict[Store, list[str]] = {s: [] for s in loop.states}
        at = self._moved(loop.index)
        for copy in range(copies):
            partials = {s: self._by_copy(s, r)[copy] for s, r in loop.states.items()}
            results = self._body(loop.index, at, copy, mask, partials)
            for item, registers in results.items():
                after[item] += registers
        return after

    def _one_by_one(
        self, begin: str, end: str, states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """The rest on targets without masks. What it adds to a reduction goes to its first lane."""
        single = {s: Accumulator(self.f, s, 1) for s in states}
        partials = {s: single[s].identity() for s in states}
        with carrying(self.f, begin, end, 1, single, partials) as loop:
            at = self._moved(loop.index)
            loop.states = self._scalar_body(loop.index, at, loop.states, single)
        after = {}
        for item, registers in loop.states.items():
            wide = self.nest.accumulators[item]
            one = register_type(wide.dtype)
            filled = [
                self.f.emit(f"insertelement {wide.type} {identity}, {one} {register}, i64 0")
                for identity, register in zip(wide.identity(), registers, strict=True)
            ]
            after[item] = wide.absorb(states[item], [filled])
        return after

    def _mask(self, index: str, end: str) -> str:
        """The lanes before the end."""
        f, count = self.f, self.nest.lanes
        left = f.minimum(f.emit(f"sub i64 {end}, {index}"), count)
        lanes = Lanes(f, count)
        limit = lanes.spread(f.emit(f"trunc i64 {left} to i32"), ["i32"])
        return f.emit(f"icmp slt {vector_of('i32', count)} {lanes.numbers('i32')}, {limit}")

    def _moved(self, index: str) -> list[str]:
        return [self.nest._along(p, a.strides[self.inner], index)
                for p, a in zip(self.pointers, self.nest.accesses, strict=True)]  # fmt: skip

    # --- the body -------------------------------------------------------------------------------
    def _body(
        self,
        index: str,
        at: list[str],
        copy: int,
        mask: str | None,
        partials: dict[Store, list[str]],
    ) -> dict[Store, list[str]]:
        """One copy of the body, `copy` vectors after `index`."""
        nest, f, lanes = self.nest, self.f, Lanes(self.f, self.nest.lanes, mask)
        if lanes.count == 1:
            return self._scalar_body(index, at, partials, nest.accumulators)
        moved = [self._after(p, a, copy * lanes.count)
                 for p, a in zip(at, nest.accesses, strict=True)]  # fmt: skip
        bindings: dict[Value, Register] = dict(self.uniform)
        if copy:
            index = f.emit(f"add nuw nsw i64 {index}, {copy * lanes.count}")
        here = f"{lanes.spread(index, ['i64'])}"
        vector = vector_of("i64", lanes.count)
        bindings[self.kernel.iterators[-1]] = f.emit(
            f"add {vector} {here}, {lanes.numbers('i64')}"
        )
        masked = mask is not None
        for k, item in enumerate(self.kernel.loads):
            if nest.level[item.leaf] == nest.rank:
                stride = item.access.strides[self.inner]
                bindings[item.leaf] = lanes.load(
                    moved[k], item.leaf.dtype, stride, self.steps.get((k, masked))
                )
        lowering = ScalarLowering(f, bindings, nest.contract, lanes.count)
        for value in nest.body:
            if (value.op is not None and value.op.definition is ELEMENT
                    and nest.level[value] == nest.rank):  # fmt: skip
                bindings[value] = self._gathered(value, lanes, lowering, index)
        steps = {k: s for (k, m), s in self.steps.items() if m == masked}
        nest._store_all(lanes, lowering, moved, steps)
        return {s: nest.accumulators[s].add(before, lowering.lower(s.value), mask)
                for s, before in partials.items()}  # fmt: skip

    def _scalar_body(
        self,
        index: str,
        at: list[str],
        partials: dict[Store, list[str]],
        accumulators: Mapping[Store, Accumulator],
    ) -> dict[Store, list[str]]:
        """The body on one element."""
        nest = self.nest
        saved = nest.outside, nest.registers
        nest.registers = dict(nest.registers)
        nest.outside = ScalarLowering(self.f, nest.registers, nest.contract)
        nest.registers[self.kernel.iterators[-1]] = index
        nest._compute(nest.rank, at)
        nest._store_all(Lanes(self.f, 1), nest.outside, at, {})
        after = {s: accumulators[s].add(before, nest.outside.lower(s.value), None)
                 for s, before in partials.items()}  # fmt: skip
        nest.outside, nest.registers = saved
        return after

    def _after(self, pointer: str, access: Access, elements: int) -> str:
        stride = access.strides[self.inner]
        if not elements or _is_zero(stride):
            return pointer
        if isinstance(stride, int):
            return self.f.offset(pointer, elements * stride)
        return self.nest._along(pointer, stride, str(elements))

    def _gathered(
        self, value: Value, lanes: Lanes, lowering: ScalarLowering, index: str
    ) -> Register:
        """Elements of a source at computed indices: neighbours where only the last index moves,
        with the loop."""
        nest = self.nest
        assert value.op is not None
        handle, *indices = value.op.args
        view = nest.source(handle).view
        pointer = nest._pointer(view.buffer, view.offset)
        offsets: str | None = None
        vector = vector_of("i64", lanes.count)
        for at, stride in zip(indices, view.strides, strict=True):
            if nest.level.get(at, 0) < nest.rank:
                register = nest.outside.lower(at)
                assert isinstance(register, str)
                pointer = nest._along(pointer, stride, register)
            elif at is self.kernel.iterators[-1] and stride == value.dtype.itemsize and (
                len(indices) == 1 or (offsets is None and at is indices[-1])
            ):  # fmt: skip
                pointer = nest._along(pointer, stride, index)
                if needs_steps(value.dtype, stride, lanes.mask is not None):
                    offsets = lanes.steps(str(stride))
            else:
                spread = lanes.spread(nest.size(stride), ["i64"])
                step = self.f.emit(f"mul {vector} {lowering.lower(at)}, {spread}")
                offsets = step if offsets is None else (
                    self.f.emit(f"add {vector} {offsets}, {step}")
                )  # fmt: skip
        if offsets is None:
            return lanes.load(pointer, value.dtype, value.dtype.itemsize, None)
        return lanes.gather(lanes.pointers(pointer, offsets), value.dtype)
