"""The innermost loop of a kernel: vectors in a main loop of several copies, then what is left.

    for j in steps of copies * lanes:       the body on vectors, several copies
    for j in steps of lanes:                the body once, on the lanes of a mask

Long bodies are emitted once, with a mask in every step. Targets without masked instructions do the
rest one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from jitgraph.codegen.expansions import op_length
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.places import Running, accumulator
from jitgraph.codegen.reductions import Accumulator
from jitgraph.codegen.registers import Register, register_type, vector_of
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.codegen.vectors import Lanes, needs_steps
from jitgraph.ir.kernel import ELEMENT, Access, Store
from jitgraph.ir.opdef import Size
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.nests import Nest

#: Bodies of at most so many instructions are repeated so many times in the main loop: often enough
#: to hide the latency of a reduction, and the loop's own instructions otherwise.
_REDUCING_COPIES = ((10, 4), (24, 2))
_COPIES = ((16, 2),)
#: Longer bodies are emitted only once, for a loop that masks every step.
_LONG_BODY = 48
#: The same where vectors may go past the caches, which only whole ones can.
_STREAMED_BODY = 120
#: Bytes of a line of the caches, and of a row from which on its ends do not matter.
_LINE, _LONG_ROW = 64, 16 << 10


@dataclass(frozen=True, slots=True)
class Write:
    """A store that waits until its place: `run` emits it, with a hint after the instruction.
    `streams` tells whether it may go past the caches."""

    run: Callable[[str], None]
    streams: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the body being emitted: what lowers its values, their registers so far, and where
    its accesses are."""

    lanes: Lanes
    lowering: ScalarLowering
    registers: Mapping[Value, Register]
    at: list[str]


def is_zero(stride: Size) -> bool:
    """Whether a stride is known to be zero."""
    return isinstance(stride, int) and stride == 0


Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Carrying(Generic[Key]):
    index: str
    states: dict[Key, list[str]]


@contextmanager
def carrying(
    f: FunctionBuilder,
    start: str,
    end: str,
    step: int,
    types: Mapping[Key, list[str]],
    states: dict[Key, list[str]],
) -> Iterator[Carrying[Key]]:
    """A loop that carries registers of reductions, of these types: the body sets `states` for the
    next round, and after the loop they are the final ones."""
    flat = [typed for s, r in states.items() for typed in zip(types[s], r, strict=True)]
    with f.loop(start, end, step, accumulators=flat) as loop:
        inside = Carrying(loop.index, _dealt(states, loop.carried))
        yield inside
        loop.carry(*(r for registers in inside.states.values() for r in registers))
    inside.states = _dealt(states, loop.results)


def _dealt(states: dict[Key, list[str]], flat: Sequence[str]) -> dict[Key, list[str]]:
    rest = iter(flat)
    return {s: [next(rest) for _ in registers] for s, registers in states.items()}


def has_masks(nest: Nest) -> bool:
    """Whether the target has masked instructions."""
    return nest.f.module.target.vector_bytes == 64


def copies_of(nest: Nest) -> int:
    """How many copies of the body the main loop has; 0 where every step is a masked one."""
    kernel = nest.kernel
    length = sum(op_length(v) for v in nest.body if nest.level[v] == nest.rank)
    extent = kernel.extents[-1]
    short = isinstance(extent, int) and extent <= nest.lanes
    streams = nest.context.streams is not None and any(
        item in nest.context.streamed for item in kernel.stores
    )
    if has_masks(nest) and (length > (_STREAMED_BODY if streams else _LONG_BODY) or short):
        return 0
    several = _REDUCING_COPIES if nest.carried else _COPIES
    return next((n for limit, n in several if length <= limit), 1)


def whole_steps(f: FunctionBuilder, begin: str, end: str, step: int) -> str:
    """Where the last whole step from `begin` to `end` ends."""
    if begin.isdigit() and end.isdigit():
        return str(int(begin) + (int(end) - int(begin)) // step * step)
    span = end if begin == "0" else f.emit(f"sub i64 {end}, {begin}")
    whole = f.emit(f"and i64 {span}, {-step}")
    return whole if begin == "0" else f.emit(f"add i64 {begin}, {whole}")


def mask_before(nest: Nest, index: str, end: str) -> str:
    """The lanes of a vector at `index` that are before the end."""
    f, count = nest.f, nest.lanes
    left = f.minimum(f.emit(f"sub i64 {end}, {index}"), count)
    lanes = Lanes(f, count)
    limit = lanes.spread(f.emit(f"trunc i64 {left} to i32"), ["i32"])
    return f.emit(f"icmp slt {vector_of('i32', count)} {lanes.numbers('i32')}, {limit}")


class Innermost:
    """The innermost loop: vectors in a main loop of several copies, then what is left."""

    def __init__(self, nest: Nest, pointers: list[str]) -> None:
        self.nest = nest
        self.f = nest.f
        self.pointers = pointers
        self.kernel = nest.kernel
        self.inner = nest.rank - 1
        self.masked = has_masks(nest)
        self.copies = copies_of(nest)
        self.uniform: dict[Value, Register] = {}
        self.steps: dict[tuple[int, bool], str] = {}
        self.past_caches: str | None = None
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
        """The loop from `begin` to `end`; `states` are the reductions begun outside it."""
        lanes = self.nest.lanes
        if lanes == 1:
            return self._sweep(begin, end, 1, 1, states, masked=False)
        if not self.copies:
            return self._sweep(begin, end, lanes, 1, states, masked=True)
        step = self.copies * lanes
        begin = self._up_to_line(begin, end, states)
        middle = whole_steps(self.f, begin, end, step)
        if middle != begin:
            self.past_caches = self._aligned(begin, end)
            states = self._sweep(begin, middle, step, self.copies, states, masked=False)
        return self.rest(middle, end, states)

    def rest(
        self, begin: str, end: str, states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """What is less than a step of the main loop."""
        if begin == end:
            return states
        if self.masked:
            return self._sweep(begin, end, self.nest.lanes, 1, states, masked=True, few=True)
        return self._one_by_one(begin, end, states)

    def _up_to_line(self, begin: str, end: str, states: dict[Store, list[str]]) -> str:
        """Rows that go past the caches may begin anywhere: does the elements before the first
        whole vector, and tells where that is. Sums do not depend on where arrays lie."""
        nest, f, flag = self.nest, self.f, self.nest.context.streams
        streamed = [s for s in self.kernel.stores if s in nest.context.streamed]
        if flag is None or not streamed or states or not self.masked or nest.rank < 2:
            return begin
        item, size = streamed[0], streamed[0].access.buffer.dtype.itemsize
        start = nest.along(self.pointers[nest.number(item)], item.access.strides[-1], begin)
        address = f.emit(f"sub i64 0, {f.emit(f'ptrtoint ptr {start} to i64')}")
        missing = f.emit(f"and i64 {address}, {nest.lanes * size - 1}")
        head = f.select(flag, "i64", f.emit(f"udiv i64 {missing}, {size}"), 0)
        first = f.minimum(f.emit(f"add i64 {begin}, {head}"), end)
        self._sweep(begin, first, nest.lanes, 1, states, masked=True, few=True)
        return first

    def _aligned(self, begin: str, end: str) -> str | None:
        """Whether to write past the caches: the caller says so, vectors are aligned, and lines that
        other rows write as well are few (they cost more than is saved)."""
        nest, f = self.nest, self.f
        flag = nest.context.streams
        if flag is None:
            return None
        first = len(self.kernel.loads)
        for k, item in enumerate(self.kernel.stores, first):
            if item not in nest.context.streamed:
                continue
            pointer = nest.along(self.pointers[k], item.access.strides[self.inner], begin)
            address = f.emit(f"ptrtoint ptr {pointer} to i64")
            size = nest.lanes * item.access.buffer.dtype.itemsize
            low = f.emit(f"and i64 {address}, {size - 1}")
            flag = f.emit(f"and i1 {flag}, {f.emit(f'icmp eq i64 {low}, 0')}")
            count = f.emit(f"sub i64 {end}, {begin}")
            row = f.emit(f"mul i64 {count}, {item.access.buffer.dtype.itemsize}")
            whole = f.emit(f"icmp eq i64 {f.emit(f'and i64 {row}, {_LINE - 1}')}, 0")
            long = f.emit(f"icmp sge i64 {row}, {_LONG_ROW}")
            flag = f.emit(f"and i1 {flag}, {f.emit(f'or i1 {whole}, {long}')}")
        return flag

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
        """Steps of `copies` bodies, block by block where a reduction asks for it and they are not
        `few`."""
        accumulators = self.nest.accumulators
        blocks = [b for s in states if (b := accumulators[s].block) is not None]
        if few or not blocks:
            return self._block(begin, end, step, copies, states, masked)
        block = min(blocks) * step
        types = {s: accumulators[s].types() for s in states}
        with carrying(self.f, begin, end, block, types, states) as loop:
            last = self.f.minimum(self.f.emit(f"add i64 {loop.index}, {block}"), end)
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
        begun = {s: accumulators[s].begun(state, copies) for s, state in states.items()}
        types = {s: [type_ for type_, _ in pairs] for s, pairs in begun.items()}
        partials = {s: [register for _, register in pairs] for s, pairs in begun.items()}
        with carrying(self.f, begin, end, step, types, partials) as loop:
            loop.states = self._copies(loop, begin, end, copies, masked)
        after = dict(loop.states)
        for item, registers in loop.states.items():
            accumulator = accumulators[item]
            if not isinstance(accumulator, Running):
                placed = [self.placed(accumulator, one, begin, copy)
                          for copy, one in enumerate(self._by_copy(item, registers))]  # fmt: skip
                after[item] = accumulator.absorb(states[item], placed)
        return after

    def _by_copy(self, item: Store, registers: list[str]) -> list[list[str]]:
        parts = len(self.nest.accumulators[item].partial_types())
        return [registers[k : k + parts] for k in range(0, len(registers), parts)]

    def placed(
        self, accumulator: Accumulator, partials: list[str], begin: str, copy: int
    ) -> list[str]:
        """The partials of a copy after a block that began at `begin`."""
        if accumulator.store.places is None:
            return partials
        nest, f, total = self.nest, self.f, "0"
        first = f.emit(f"add i64 {begin}, {copy * self.nest.lanes}")
        at = [*(nest.registers[i] for i in self.kernel.iterators[:-1]), first]
        for index, stride in zip(at, accumulator.store.places, strict=True):
            if not is_zero(stride):
                more = f.emit(f"mul i64 {index}, {nest.size(stride)}")
                total = f.emit(f"add i64 {total}, {more}")
        return accumulator.placed(partials, total, nest.size(accumulator.store.places[-1]))

    def steps_since(self, index: str, begin: str, lanes: int) -> str:
        """How far into a block a step is, for reductions that ask."""
        if not any(s.places is not None for s in self.nest.accumulators):
            return ""
        f = self.f
        step = f.emit(f"trunc i64 {f.emit(f'sub i64 {index}, {begin}')} to i32")
        spread = Lanes(f, lanes).spread(step, ["i32"])
        assert isinstance(spread, str)
        return spread

    def _copies(
        self, loop: Carrying[Store], begin: str, end: str, copies: int, masked: bool
    ) -> dict[Store, list[str]]:
        mask = mask_before(self.nest, loop.index, end) if masked else None
        step = self.steps_since(loop.index, begin, self.nest.lanes)
        after: dict[Store, list[str]] = {s: [] for s in loop.states}
        at = self.moved(loop.index)
        writes: list[Write] = []
        for copy in range(copies):
            partials = {
                s: (after[s] or r) if s.running is not None else self._by_copy(s, r)[copy]
                for s, r in loop.states.items()
            }
            results = self._body(loop.index, at, copy, mask, partials, writes, step)
            for item, registers in results.items():
                after[item] = registers if item.running is not None else after[item] + registers
        self._write(writes)
        return after

    def _write(self, writes: list[Write]) -> None:
        """The stores of all copies: those past the caches, if any, as the flag says."""
        if self.past_caches is None or not any(w.streams for w in writes):
            for write in writes:
                write.run("")
            return
        f = self.f
        hint = f", !nontemporal {f.module.metadata('i32 1')}"
        past, usual, done = (f.label(n) for n in ("past", "usual", "stored"))
        for write in writes:
            if not write.streams:
                write.run("")
        f.branch_if(self.past_caches, past, usual)
        for label, suffix in ((past, hint), (usual, "")):
            f.block(label)
            for write in writes:
                if write.streams:
                    write.run(suffix)
            f.branch(done)
        f.block(done)

    def _one_by_one(
        self, begin: str, end: str, states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """The rest on targets without masks. What it adds to a reduction goes to its first lane."""
        single = {s: accumulator(self.f, s, 1) for s in states}
        partials = {
            s: wide.single(states[s]) if isinstance(wide := self.nest.accumulators[s], Running)
            else single[s].identity()
            for s in states
        }  # fmt: skip
        types = {s: single[s].partial_types() for s in states}
        with carrying(self.f, begin, end, 1, types, partials) as loop:
            at = self.moved(loop.index)
            step = self.steps_since(loop.index, begin, 1)
            loop.states = self._scalar_body(loop.index, at, loop.states, single, step)
        after = dict(states)
        for item, registers in loop.states.items():
            if item.running is not None:
                continue  # the loop is over
            placed = self.placed(single[item], registers, begin, 0)
            filled = single[item].widened(placed, self.nest.lanes)
            after[item] = self.nest.accumulators[item].absorb(states[item], [filled])
        return after

    def moved(self, index: str) -> list[str]:
        """Where the accesses are at an index."""
        return [self.nest.along(p, a.strides[self.inner], index)
                for p, a in zip(self.pointers, self.nest.accesses, strict=True)]  # fmt: skip

    # --- the body -------------------------------------------------------------------------------
    def _body(
        self,
        index: str,
        at: list[str],
        copy: int,
        mask: str | None,
        partials: dict[Store, list[str]],
        writes: list[Write],
        step: str,
    ) -> dict[Store, list[str]]:
        """One copy of the body, `copy` vectors after `index`. Its stores join `writes`."""
        nest = self.nest
        if nest.lanes == 1:
            return self._scalar_body(index, at, partials, nest.accumulators, step)
        body = self.lowered(index, at, copy, mask)
        steps = {k: s for (k, m), s in self.steps.items() if m == (mask is not None)}
        writes += nest.store_all(body.lanes, body.lowering, body.at, steps)
        after, more = self._combined(
            nest.accumulators, partials, body.lanes, body.lowering, body.at, steps, step
        )
        writes += more
        return after

    def lowered(
        self,
        index: str,
        at: list[str],
        copy: int,
        mask: str | None,
        known: Mapping[Value, Register] = MappingProxyType({}),
    ) -> Copy:
        """A copy of the body, `copy` vectors after `index`, with all loads that are not `known`."""
        nest, f, lanes = self.nest, self.f, Lanes(self.f, self.nest.lanes, mask)
        moved = [self._after(p, a, copy * lanes.count)
                 for p, a in zip(at, nest.accesses, strict=True)]  # fmt: skip
        bindings: dict[Value, Register] = self.uniform | dict(known)
        if copy:
            index = f.emit(f"add nuw nsw i64 {index}, {copy * lanes.count}")
        here = f"{lanes.spread(index, ['i64'])}"
        vector = vector_of("i64", lanes.count)
        bindings[self.kernel.iterators[-1]] = f.emit(
            f"add {vector} {here}, {lanes.numbers('i64')}"
        )
        masked = mask is not None
        for k, item in enumerate(self.kernel.loads):
            if nest.level[item.leaf] == nest.rank and item.leaf not in bindings:
                stride = item.access.strides[self.inner]
                bindings[item.leaf] = lanes.load(
                    moved[k], item.leaf.dtype, stride, self.steps.get((k, masked))
                )
        lowering = ScalarLowering(f, bindings, nest.contract, lanes.count)
        for value in nest.body:
            if (value.op is not None and value.op.definition is ELEMENT
                    and nest.level[value] == nest.rank):  # fmt: skip
                bindings[value] = self._gathered(value, lanes, lowering, index)
        return Copy(lanes, lowering, bindings, moved)

    def _combined(
        self,
        accumulators: Mapping[Store, Accumulator],
        partials: dict[Store, list[str]],
        lanes: Lanes,
        lowering: ScalarLowering,
        at: list[str],
        steps: Mapping[int, str],
        step: str,
    ) -> tuple[dict[Store, list[str]], list[Write]]:
        """The partials with the values of one copy merged in, and the running totals to write."""
        after: dict[Store, list[str]] = {}
        writes = []
        for reduction, before in partials.items():
            one, value = accumulators[reduction], lowering.lower(reduction.value)
            if isinstance(one, Running):
                totals, after[reduction] = one.follow(before, value)
                writes.append(self.nest.written(lanes, totals, reduction, at, steps, lowering))
            else:
                after[reduction] = one.add(before, value, lanes.mask, step)
        return after, writes

    def _scalar_body(
        self,
        index: str,
        at: list[str],
        partials: dict[Store, list[str]],
        accumulators: Mapping[Store, Accumulator],
        step: str,
    ) -> dict[Store, list[str]]:
        """The body on one element."""
        nest = self.nest
        with nest.within(nest.scope()):
            nest.registers[self.kernel.iterators[-1]] = index
            nest.compute(nest.rank, at)
            for write in nest.store_all(Lanes(self.f, 1), nest.outside, at, {}):
                write.run("")
            after, writes = self._combined(
                accumulators, partials, Lanes(self.f, 1), nest.outside, at, {}, step
            )
            for write in writes:
                write.run("")
        return after

    def _after(self, pointer: str, access: Access, elements: int) -> str:
        stride = access.strides[self.inner]
        if not elements or is_zero(stride):
            return pointer
        if isinstance(stride, int):
            return self.f.offset(pointer, elements * stride)
        return self.nest.along(pointer, stride, str(elements))

    def _gathered(
        self, value: Value, lanes: Lanes, lowering: ScalarLowering, index: str
    ) -> Register:
        """Elements of a source at computed indices: neighbours where only the last index moves,
        with the loop."""
        nest = self.nest
        assert value.op is not None
        handle, *indices = value.op.args
        view = nest.source(handle).view
        pointer = nest.pointer(view.buffer, view.offset)
        offsets: str | None = None
        vector = vector_of("i64", lanes.count)
        for at, stride in zip(indices, view.strides, strict=True):
            if nest.level.get(at, 0) < nest.rank:
                register = nest.outside.lower(at)
                assert isinstance(register, str)
                pointer = nest.along(pointer, stride, register)
            elif at is self.kernel.iterators[-1] and stride == value.dtype.itemsize and (
                len(indices) == 1 or (offsets is None and at is indices[-1])
            ):  # fmt: skip
                pointer = nest.along(pointer, stride, index)
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
