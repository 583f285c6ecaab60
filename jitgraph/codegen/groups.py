"""Light reductions over rows, several rows at a time (unroll and jam).

    for i in steps of 8:                        a group
      for j:   s[0] += x[i, j] * v[j];  s[1] += x[i + 1, j] * v[j];  ...
      for i' in the group:                      what is left of its row, and the end of its sum

Memory is then read in several streams, which the hardware fetches ahead of each other: from a
single one a core gets little more than half of what it can read. What does not vary with the row
(v) is loaded once for all. Sums over the rows themselves are kept in registers while a strip of
columns goes down the group:

    for i in steps of 8, for j:   s = y[j];  for i' in the group: s += x[i', j];  y[j] = s

Each row is added up as it would be on its own, and each column from the first row to the last: what
is in a group with what changes no result. Where rows are missing in a group the last one takes
their places, and only what comes after the main loop knows how many there are. Few or short rows
are read one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from jitgraph.codegen.innermost import (
    Carrying,
    Innermost,
    carrying,
    copies_of,
    has_masks,
    is_zero,
    mask_before,
    whole_steps,
)
from jitgraph.codegen.places import FirstPlace
from jitgraph.codegen.registers import Register, register_type, vector_of
from jitgraph.codegen.vectors import Lanes, needs_steps
from jitgraph.ir.kernel import Store
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.nests import Nest, Scope

#: Rows of a group; fewer where a body reads more arrays, so that there are no more streams.
_ROWS = 8
#: Sums that keep places need more registers, and more code in the end.
_ROWS_OF_PLACES = 4
#: Sums in the main loop of rows: so many hide the latency of an addition.
_SUMS = 4
#: Shorter rows, in bytes, are one stream as they are: several lie in a page of memory.
_LEAST_BYTES = 4096
#: Fewer rows, and the chunks of several threads would have groups with rows missing.
_LEAST_ROWS = 512
#: Vectors side by side where sums over rows stay in registers.
_COLUMNS = 4


def rows_in_groups(nest: Nest) -> int:
    """How many rounds of the last loop but one make a group; 1 where that does not pay: the body
    has enough to do without memory, or reads too many streams or none."""
    kernel, inner = nest.kernel, nest.rank - 1
    if inner - 1 < nest.depth or nest.tiles is not None or nest.lanes == 1 or copies_of(nest) < 2:
        return 1
    if kernel.sources or not (all(_along_rows(nest, s) for s in kernel.stores)
                              or all(_across_rows(nest, s) for s in kernel.stores)):  # fmt: skip
        return 1
    loads = [load.access for load in kernel.loads if nest.level[load.leaf] == nest.rank]
    streams = sum(not is_zero(access.strides[inner - 1]) for access in loads)
    if not streams or any(needs_steps(a.buffer.dtype, a.strides[inner], False) for a in loads):
        return 1
    rows = _ROWS_OF_PLACES if any(s.places is not None for s in kernel.stores) else _ROWS
    while rows > 1 and rows * max(streams, len(kernel.stores)) > _ROWS:
        rows //= 2
    if not nest.carried:
        return rows
    height, width = kernel.extents[inner - 1 :]
    itemsize = max(access.buffer.dtype.itemsize for access in loads)
    few = isinstance(height, int) and height < _LEAST_ROWS
    short = isinstance(width, int) and width * itemsize < _LEAST_BYTES
    return 1 if few or short else rows


def _along_rows(nest: Nest, store: Store) -> bool:
    """Whether a store reduces the innermost loop alone, in a register."""
    return nest.carried.get(store) == nest.rank - 1 and store.running is None


def _across_rows(nest: Nest, store: Store) -> bool:
    """Whether a store combines rows in memory, by neighbours."""
    row, dtype = nest.rank - 2, store.access.buffer.dtype
    strides = store.access.strides
    return (store not in nest.carried and row in store.reduced and not store.indices
            and store.running is None and is_zero(strides[row]) and dtype.kind != "c"
            and strides[-1] == dtype.itemsize)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    """A row in the main loop."""

    scope: Scope
    loops: Innermost


class Groups:
    """The last two loops of a nest, by groups of rows."""

    def __init__(self, nest: Nest, rows: int) -> None:
        self.nest = nest
        self.f = nest.f
        self.rows = rows
        self.outer = nest.rank - 2
        self.copies = max(_SUMS // rows, 1)
        #: Where the states of the rows lie, register by register.
        self.slots = {
            s: [(t, self.f.emit(f"alloca [{rows} x {t}], align 64", "state")) for t in one.types()]
            for s, one in nest.accumulators.items()
        }
        #: What is kept of a column: a sum, or an extremum and its place.
        self.columns = [
            (best, s) if (best := nest.kernel.extremum(s)) is not None else (s,)
            for s in nest.kernel.stores if not self.slots and s not in nest.extrema
        ]

    def emit(self, pointers: list[str]) -> None:
        """The loops."""
        if not self.slots:
            with self._groups() as (first, last):
                self._across(pointers, first, last)
            return
        f, nest = self.f, self.nest
        together, apart, done = (f.label(name) for name in ("together", "apart", "done"))
        f.branch_if(self._pays(), together, apart)
        f.block(together)
        with nest.within(nest.scope()), self._groups() as (first, last):
            self._along(pointers, first, last)
        f.branch(done)
        f.block(apart)
        with nest.within(nest.scope()):
            nest.loop(self.outer, pointers, {})
        f.block(done)

    def _pays(self) -> str:
        """Whether the rows are many and long."""
        f, nest = self.f, self.nest
        rows, columns = (nest.size(e) for e in nest.kernel.extents[self.outer :])
        itemsize = max(load.leaf.dtype.itemsize for load in nest.kernel.loads)
        many = f.emit(f"icmp sge i64 {rows}, {_LEAST_ROWS}")
        long = f.emit(f"icmp sge i64 {columns}, {_LEAST_BYTES // itemsize}")
        return f.emit(f"and i1 {many}, {long}")

    @contextmanager
    def _groups(self) -> Iterator[tuple[str, str]]:
        """A loop over the groups: where one begins and ends."""
        f = self.f
        begin, end = self.nest.bounds(self.outer)
        with f.loop(begin, end, self.rows, name="group") as group:
            yield group.index, f.minimum(f.emit(f"add i64 {group}, {self.rows}"), end)

    @contextmanager
    def _row(self, pointers: list[str], number: str) -> Iterator[_Row]:
        """Code for a row."""
        nest = self.nest
        scope = nest.scope()
        with nest.within(scope):
            nest.registers[nest.kernel.iterators[self.outer]] = number
            inner = [nest.along(p, a.strides[self.outer], number)
                     for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
            nest.compute(self.outer + 1, inner)
            yield _Row(scope, Innermost(nest, inner))

    # --- each row for itself --------------------------------------------------------------------
    def _along(self, pointers: list[str], first: str, last: str) -> None:
        nest, f = self.nest, self.f
        left, right = nest.bounds(self.outer + 1)
        middle = whole_steps(f, left, right, self.copies * nest.lanes)
        final, rows = f.emit(f"sub i64 {last}, 1"), []
        for k in range(self.rows):
            with self._row(pointers, f.minimum(f.emit(f"add i64 {first}, {k}"), final)) as row:
                rows.append(row)
        self._save(self._main_loop(rows, left, middle))
        with f.loop(first, last, name="row") as one, self._row(pointers, one.index) as row:
            slots_of = self._slots(f.emit(f"sub i64 {one}, {first}"))
            saved = {s: [f.emit(f"load {t}, ptr {p}") for t, p in slots]
                     for s, slots in slots_of.items()}  # fmt: skip
            for item, state in row.loops.rest(middle, right, saved).items():
                nest.finish(item, row.loops.pointers, state)

    def _save(self, states: dict[tuple[int, Store], list[str]]) -> None:
        for k in range(self.rows):
            for item, slots in self._slots(str(k)).items():
                for register, (type_, slot) in zip(states[k, item], slots, strict=True):
                    self.f.do(f"store {type_} {register}, ptr {slot}")

    def _slots(self, number: str) -> dict[Store, list[tuple[str, str]]]:
        """Types and addresses of what is kept of a row, by its number in the group."""
        return {
            s: [(t, self.f.emit(f"getelementptr {t}, ptr {p}, i64 {number}")) for t, p in slots]
            for s, slots in self.slots.items()
        }

    def _main_loop(
        self, rows: Sequence[_Row], begin: str, end: str
    ) -> dict[tuple[int, Store], list[str]]:
        """The states of all rows after their whole steps."""
        f, accumulators = self.f, self.nest.accumulators
        keys = product(range(len(rows)), accumulators)
        states = {(k, s): accumulators[s].initial() for k, s in keys}
        blocks = [b for one in accumulators.values() if (b := one.block) is not None]
        if not blocks:
            return self._block(rows, begin, end, states)
        block = min(blocks) * self.copies * self.nest.lanes
        types = {(k, s): accumulators[s].types() for k, s in states}
        with carrying(f, begin, end, block, types, states) as loop:
            last = f.minimum(f.emit(f"add i64 {loop.index}, {block}"), end)
            loop.states = self._block(rows, loop.index, last, loop.states)
        return loop.states

    def _block(
        self,
        rows: Sequence[_Row],
        begin: str,
        end: str,
        states: dict[tuple[int, Store], list[str]],
    ) -> dict[tuple[int, Store], list[str]]:
        nest, accumulators = self.nest, self.nest.accumulators
        keys = list(product(states, range(self.copies)))
        types = {((k, s), copy): accumulators[s].partial_types() for (k, s), copy in keys}
        partials = {((k, s), copy): accumulators[s].identity() for (k, s), copy in keys}
        with carrying(self.f, begin, end, self.copies * nest.lanes, types, partials) as loop:
            self._bodies(rows, loop, rows[0].loops.steps_since(loop.index, begin, nest.lanes))
        after = {}
        for k, item in states:
            one = accumulators[item]
            with nest.within(rows[k].scope):
                placed = [rows[k].loops.placed(one, loop.states[(k, item), copy], begin, copy)
                          for copy in range(self.copies)]  # fmt: skip
            after[k, item] = one.absorb(states[k, item], placed)
        return after

    def _bodies(
        self,
        rows: Sequence[_Row],
        loop: Carrying[tuple[tuple[int, Store], int]],
        step: str,
    ) -> None:
        """All copies of the body for all rows. What does not vary with the row is that of the
        first."""
        nest, varying = self.nest, self._varying()
        at = [row.loops.moved(loop.index) for row in rows]
        for copy in range(self.copies):
            shared: dict[Value, Register] = {}
            for k, row in enumerate(rows):
                with nest.within(row.scope):
                    body = row.loops.lowered(loop.index, at[k], copy, None, shared)
                for item, one in nest.accumulators.items():
                    key = ((k, item), copy)
                    value = body.lowering.lower(item.value)
                    loop.states[key] = one.add(loop.states[key], value, None, step)
                if k == 0:
                    shared = {v: r for v, r in body.registers.items() if v not in varying}

    def _varying(self) -> set[Value]:
        """The values that depend on the row."""
        kernel = self.nest.kernel
        found = {kernel.iterators[self.outer]}
        found |= {i.leaf for i in kernel.loads if not is_zero(i.access.strides[self.outer])}
        for value in self.nest.body:
            if value.op is not None and not found.isdisjoint(value.op.args):
                found.add(value)
        return found

    # --- one row after the other, onto the same sums --------------------------------------------
    def _across(self, pointers: list[str], first: str, last: str) -> None:
        nest, f = self.nest, self.f
        left, right = nest.bounds(self.outer + 1)
        step = _COLUMNS * nest.lanes
        middle = whole_steps(f, left, right, step)
        with f.loop(left, middle, step, name="strip") as at:
            self._strip(pointers, first, last, at.index, _COLUMNS, None)
        if middle == right:
            return
        if has_masks(nest):
            with f.loop(middle, right, nest.lanes, name="strip") as at:
                self._strip(pointers, first, last, at.index, 1, right)
            return
        with f.loop(first, last, name="row") as one, self._row(pointers, one.index) as row:
            row.loops.rest(middle, right, {})

    def _strip(
        self, pointers: list[str], first: str, last: str, index: str, copies: int, end: str | None
    ) -> None:
        """The vectors from `index` on, of all rows; with an `end`, only what is before it."""
        nest, f = self.nest, self.f
        mask = None if end is None else mask_before(nest, index, end)
        lanes = Lanes(f, nest.lanes, mask)
        parts = [(item, copy) for column, copy in product(self.columns, range(copies))
                 for item in column]  # fmt: skip
        at, before = [], []
        for item, copy in parts:
            dtype = item.access.buffer.dtype
            start = nest.along(pointers[nest.number(item)], dtype.itemsize, index)
            at.append(f.offset(start, copy * nest.lanes * dtype.itemsize))
            vector = vector_of(register_type(dtype), nest.lanes)
            before.append((vector, str(lanes.load(at[-1], dtype, dtype.itemsize, None))))
        with (f.loop(first, last, name="row", accumulators=before) as loop,
              self._row(pointers, loop.index) as row):  # fmt: skip
            moved, carried, after = row.loops.moved(index), iter(loop.carried), []
            bodies = [row.loops.lowered(index, moved, copy, mask) for copy in range(copies)]
            for column, body in product(self.columns, bodies):
                state = [next(carried) for _ in column]
                after += self._followed(column[-1], state, body.lowering.lower(column[-1].value))
            loop.carry(*after)
        for (item, _), place, total in zip(parts, at, loop.results, strict=True):
            dtype = item.access.buffer.dtype
            lanes.store(total, place, dtype, dtype.itemsize, None)

    def _followed(self, item: Store, state: list[str], value: Register) -> list[str]:
        """What is kept of a column, after one more row."""
        nest = self.nest
        if item.places is not None:
            keeper = FirstPlace(self.f, item, nest.lanes)
            return keeper.follow(state, value, nest.place(item))
        assert item.combine is not None
        return [str(nest.merged(item.combine, item.value.dtype, state[0], value, nest.lanes))]
