"""Rows of light reductions, a strip of several rows at a time.

    for i in steps of 8:                  a group
      for j in steps of a strip:
        for i' in the group:              the main loop from j to the next strip

Memory is then read in several streams, which the hardware fetches ahead of each other: from a
single one a core gets little more than half of what it can read. Between strips the state of a row
lies on the stack, so this costs hardly any code. Sums over the rows themselves are kept in
registers while a strip goes down the group. Every row is added up as it would be on its own, and
every column from the first row to the last: what is in a group with what changes no result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING

from jitgraph.codegen.innermost import (
    Innermost,
    copies_of,
    has_masks,
    is_zero,
    mask_before,
    whole_steps,
)
from jitgraph.codegen.places import accumulator
from jitgraph.codegen.vectors import Lanes, needs_steps
from jitgraph.ir.kernel import Store

if TYPE_CHECKING:
    from jitgraph.codegen.nests import Nest

#: Streams of a group: with more, the prefetchers lose track.
_MOST_STREAMS = 16
_ROWS = 8
#: Vectors of a strip: no more cache lines than are fetched ahead of a stream.
STRIP = 16
#: Copies of the body where sums over rows stay in registers.
_COLUMN_COPIES = 4


def rows_in_groups(nest: Nest) -> int:
    """How many rounds of the last loop but one make a group; 1 where that does not pay: the body
    has enough to do without memory, or reads too many streams or none."""
    kernel, inner = nest.kernel, nest.rank - 1
    if inner - 1 < nest.depth or nest.tiles is not None or nest.lanes == 1 or copies_of(nest) < 2:
        return 1
    if not (all(_along_rows(nest, s) for s in kernel.stores)
            or all(_across_rows(nest, s) for s in kernel.stores)):  # fmt: skip
        return 1
    loads = [load.access for load in kernel.loads if nest.level[load.leaf] == nest.rank]
    streams = sum(not is_zero(access.strides[inner - 1]) for access in loads)
    if not streams or any(needs_steps(a.buffer.dtype, a.strides[inner], False) for a in loads):
        return 1
    extent = kernel.extents[inner - 1]
    rows = min(_ROWS, _MOST_STREAMS // streams)
    return min(rows, extent) if isinstance(extent, int) else rows


def _along_rows(nest: Nest, store: Store) -> bool:
    """Whether a store reduces the innermost loop alone, in a register."""
    return (nest.carried.get(store) == nest.rank - 1 and store.running is None
            and store.value.dtype.kind != "b")  # fmt: skip


def _across_rows(nest: Nest, store: Store) -> bool:
    """Whether a store combines rows in memory, by neighbours."""
    row, dtype = nest.rank - 2, store.access.buffer.dtype
    strides = store.access.strides
    return (store not in nest.carried and row in store.reduced and not store.indices
            and store.running is None and is_zero(strides[row]) and dtype.kind != "c"
            and strides[-1] == dtype.itemsize)  # fmt: skip


class Groups:
    """The last two loops of a nest, by groups of rows."""

    def __init__(self, nest: Nest, rows: int) -> None:
        self.nest = nest
        self.f = nest.f
        self.rows = rows
        self.outer = nest.rank - 2
        #: Where the states of the rows lie, register by register.
        self.slots = {
            s: [(t, self.f.emit(f"alloca [{rows} x {t}], align 64", "state")) for t in one.types()]
            for s, one in nest.accumulators.items()
        }
        self.columns = {
            s: accumulator(self.f, s, nest.lanes) for s in nest.kernel.stores if not self.slots
        }

    def emit(self, pointers: list[str]) -> None:
        f = self.f
        begin, end = self.nest.bounds(self.outer)
        with f.loop(begin, end, self.rows, name="group") as group:
            last = f.minimum(f.emit(f"add i64 {group}, {self.rows}"), end)
            if self.slots:
                self._along(pointers, group.index, last)
            else:
                self._across(pointers, group.index, last)

    @contextmanager
    def _row(self, pointers: list[str], index: str) -> Iterator[list[str]]:
        """Inside a round of the loop over rows: where its accesses begin."""
        nest = self.nest
        with nest.forgetting():
            nest.registers[nest.kernel.iterators[self.outer]] = index
            inner = [nest.along(p, a.strides[self.outer], index)
                     for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
            nest.compute(self.outer + 1, inner)
            yield inner

    # --- each row for itself --------------------------------------------------------------------
    def _along(self, pointers: list[str], first: str, last: str) -> None:
        nest, f = self.nest, self.f
        left, right = nest.bounds(self.outer + 1)
        step = copies_of(nest) * nest.lanes
        middle = whole_steps(f, left, right, step)
        with f.loop(first, last, name="row") as row:
            self._save({s: a.initial() for s, a in nest.accumulators.items()}, row.index, first)
        strip = max(STRIP // copies_of(nest), 1) * step
        with f.loop(left, middle, strip, name="strip") as at:
            end = f.minimum(f.emit(f"add i64 {at}, {strip}"), middle)
            with f.loop(first, last, name="row") as row, self._row(pointers, row.index) as inner:
                states = self._saved(row.index, first)
                states = Innermost(nest, inner).strip(at.index, end, states)
                self._save(states, row.index, first)
        with f.loop(first, last, name="row") as row, self._row(pointers, row.index) as inner:
            states = self._saved(row.index, first)
            states = Innermost(nest, inner).rest(middle, right, states)
            for item, state in states.items():
                nest.finish(item, inner, state)

    def _places(self, row: str, first: str) -> dict[Store, list[tuple[str, str]]]:
        """Types and addresses of what is kept of a row."""
        f = self.f
        number = f.emit(f"sub i64 {row}, {first}")
        return {
            s: [(t, f.emit(f"getelementptr {t}, ptr {p}, i64 {number}")) for t, p in slots]
            for s, slots in self.slots.items()
        }

    def _save(self, states: dict[Store, list[str]], row: str, first: str) -> None:
        for item, places in self._places(row, first).items():
            for register, (type_, place) in zip(states[item], places, strict=True):
                self.f.do(f"store {type_} {register}, ptr {place}")

    def _saved(self, row: str, first: str) -> dict[Store, list[str]]:
        return {s: [self.f.emit(f"load {t}, ptr {p}") for t, p in places]
                for s, places in self._places(row, first).items()}  # fmt: skip

    # --- one row after the other, onto the same sums --------------------------------------------
    def _across(self, pointers: list[str], first: str, last: str) -> None:
        nest, f = self.nest, self.f
        left, right = nest.bounds(self.outer + 1)
        step = _COLUMN_COPIES * nest.lanes
        middle = whole_steps(f, left, right, step)
        with f.loop(left, middle, step, name="strip") as at:
            self._strip(pointers, first, last, at.index, _COLUMN_COPIES, None)
        if middle == right:
            return
        if has_masks(nest):
            with f.loop(middle, right, nest.lanes, name="strip") as at:
                self._strip(pointers, first, last, at.index, 1, right)
            return
        with f.loop(first, last, name="row") as row, self._row(pointers, row.index) as inner:
            Innermost(nest, inner).rest(middle, right, {})

    def _strip(
        self, pointers: list[str], first: str, last: str, index: str, copies: int, end: str | None
    ) -> None:
        """The vectors from `index` on, of all rows; with an `end`, only what is before it."""
        nest, f = self.nest, self.f
        mask = None if end is None else mask_before(nest, index, end)
        lanes = Lanes(f, nest.lanes, mask)
        at, sums = [], []
        for (item, one), copy in product(self.columns.items(), range(copies)):
            dtype = item.access.buffer.dtype
            k = len(nest.kernel.loads) + nest.kernel.stores.index(item)
            start = nest.along(pointers[k], dtype.itemsize, index)
            at.append(f.offset(start, copy * nest.lanes * dtype.itemsize))
            sums.append((one.type, str(lanes.load(at[-1], dtype, dtype.itemsize, None))))
        with (f.loop(first, last, name="row", accumulators=sums) as row,
              self._row(pointers, row.index) as inner):  # fmt: skip
            loops = Innermost(nest, inner)
            moved = loops.moved(index)
            bodies = [loops.lowered(index, moved, copy, mask)[1] for copy in range(copies)]
            values = [(one, body.lower(item.value))
                      for (item, one), body in product(self.columns.items(), bodies)]  # fmt: skip
            row.carry(*(one.add([before], value, None)[0]
                        for (one, value), before in zip(values, row.carried, strict=True)))
        for (item, _), place, total in zip(
            product(self.columns, range(copies)), at, row.results, strict=True
        ):
            dtype = item.access.buffer.dtype
            lanes.store(total, place, dtype, dtype.itemsize, None)
