"""Kernels that read some operands across their rows, tile by tile: A + transpose(B).

    for i in steps of 128, for j in steps of 256 bytes:
      tile[i, j] = B[j, i]                  square blocks, transposed in registers
      for i and j of the tile:              the ordinary loops, which read the tile along its rows

So every cache line of B is used as a whole, and the body reads neighbours only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jitgraph.codegen.innermost import carrying, is_zero
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.ir.kernel import Access, Kernel, Store
from jitgraph.ir.opdef import Size

if TYPE_CHECKING:
    from jitgraph.codegen.nests import Memory, Nest

#: Rows of a tile, and the bytes of one. A kernel has no more tiles than stay in the L2 cache.
ROWS, ROW_BYTES = 128, 256
_MOST_TILES = 4
#: Blocks that are transposed in registers are no larger than this.
_MOST_LANES = 16
_WORD = 8


def tiled_loads(kernel: Kernel, memory: Memory, depth: int = 0) -> list[int]:
    """The loads that go by neighbours along the last loop but one and by jumps along the last, in a
    kernel that may take these two loops tile by tile. `depth` loops belong to somebody else."""
    rank = len(kernel.extents)
    if rank - depth < 2 or any(_needs_order(s, rank) for s in kernel.stores):
        return []
    if any(isinstance(e, int) and e < 8 for e in kernel.extents[-2:]):
        return []
    written = {memory.key(s.access.buffer) for s in kernel.stores}
    return [k for k, load in enumerate(kernel.loads)
            if _crosses(load.access) and memory.key(load.access.buffer) not in written
            ][:_MOST_TILES]  # fmt: skip


def _needs_order(store: Store, rank: int) -> bool:
    """Whether a store wants all rounds of the last loop one after the other: it reduces that loop
    alone, in a register, or asks for the first place, or writes to computed places."""
    if store.indices or store.places is not None:
        return True
    strides = store.access.strides
    return store.combine is not None and rank - 2 not in store.reduced and is_zero(strides[-1])


def _crosses(access: Access) -> bool:
    itemsize = access.buffer.dtype.itemsize
    across, along = access.strides[-2:]
    jumps = not isinstance(along, int) or abs(along) > itemsize
    return isinstance(across, int) and across == itemsize and jumps


@dataclass(frozen=True, slots=True)
class _Tile:
    """Memory for a part of the operand that load number `load` reads, one row after the other."""

    load: int
    memory: str
    itemsize: int
    along: Size

    @property
    def columns(self) -> int:
        return ROW_BYTES // self.itemsize


class Tiles:
    """The tiles of one kernel. `kernel` is the kernel as it reads them."""

    def __init__(self, f: FunctionBuilder, kernel: Kernel, loads: list[int]) -> None:
        self.f = f
        self.tiles: list[_Tile] = []
        changed = list(kernel.loads)
        for k in loads:
            access = kernel.loads[k].access
            itemsize = access.buffer.dtype.itemsize
            memory = f.emit(f"alloca [{ROWS * ROW_BYTES} x i8], align 64", "tile")
            self.tiles.append(_Tile(k, memory, itemsize, access.strides[-1]))
            inside = replace(access, strides=(*access.strides[:-2], ROW_BYTES, itemsize))
            changed[k] = replace(changed[k], access=inside)
        self.kernel = replace(kernel, loads=tuple(changed))
        self.columns = min(tile.columns for tile in self.tiles)

    def emit(
        self, nest: Nest, pointers: list[str], states: dict[Store, list[str]]
    ) -> dict[Store, list[str]]:
        """The last two loops; `states` are the reductions begun outside."""
        f, outer = self.f, nest.rank - 2
        types = {s: nest.accumulators[s].types() for s in states}
        (top, bottom), (left, right) = nest.bounds(outer), nest.bounds(outer + 1)
        with carrying(f, top, bottom, ROWS, types, states) as rows:
            below = f.minimum(f.emit(f"add i64 {rows.index}, {ROWS}"), bottom)
            with carrying(f, left, right, self.columns, types, rows.states) as columns:
                after = f.minimum(f.emit(f"add i64 {columns.index}, {self.columns}"), right)
                window = (rows.index, below), (columns.index, after)
                nest.windows = dict(zip((outer, outer + 1), window, strict=True))
                inside = list(pointers)
                for tile in self.tiles:
                    inside[tile.load] = self._fill(nest, tile, pointers[tile.load], *window)
                columns.states = nest.loop(outer, inside, columns.states)
                nest.windows = {}
            rows.states = columns.states
        return rows.states

    def _fill(
        self,
        nest: Nest,
        tile: _Tile,
        source: str,
        rows: tuple[str, str],
        columns: tuple[str, str],
    ) -> str:
        """Copy a part of the operand; where its element (0, 0) would be in the tile."""
        f, (top, below), (left, right) = self.f, rows, columns
        stride = nest.size(tile.along)
        source = f.offset(source, f.emit(f"mul i64 {top}, {tile.itemsize}"))
        source = f.offset(source, f.emit(f"mul i64 {left}, {stride}"))
        high, wide = f.emit(f"sub i64 {below}, {top}"), f.emit(f"sub i64 {right}, {left}")
        lanes = max(min(f.module.target.vector_bytes // tile.itemsize, _MOST_LANES), 2)
        full_high, full_wide = (f.emit(f"and i64 {n}, {-lanes}") for n in (high, wide))
        with f.loop(0, full_wide, lanes) as j, f.loop(0, full_high, lanes) as i:
            from_, to = self._places(tile, source, stride, i.index, j.index)
            self._block(from_, to, stride, tile.itemsize, lanes)
        self._one_by_one(tile, source, stride, (full_high, high), ("0", full_wide))
        self._one_by_one(tile, source, stride, ("0", high), (full_wide, wide))
        back = f.emit(f"mul i64 {top}, {-ROW_BYTES}")
        start = f.offset(tile.memory, back)
        return f.offset(start, f.emit(f"mul i64 {left}, {-tile.itemsize}"))

    def _places(self, tile: _Tile, source: str, stride: str, i: str, j: str) -> tuple[str, str]:
        """Where an element of the tile comes from, and where it goes."""
        f = self.f
        from_ = f.offset(source, f.emit(f"mul i64 {i}, {tile.itemsize}"))
        from_ = f.offset(from_, f.emit(f"mul i64 {j}, {stride}"))
        to = f.offset(tile.memory, f.emit(f"mul i64 {i}, {ROW_BYTES}"))
        return from_, f.offset(to, f.emit(f"mul i64 {j}, {tile.itemsize}"))

    def _one_by_one(
        self, tile: _Tile, source: str, stride: str, rows: tuple[str, str], columns: tuple[str, str]
    ) -> None:
        """What does not fill a block."""
        f, type_ = self.f, f"i{8 * tile.itemsize}"
        align = min(tile.itemsize, _WORD)
        with f.loop(*columns) as j, f.loop(*rows) as i:
            from_, to = self._places(tile, source, stride, i.index, j.index)
            element = f.emit(f"load {type_}, ptr {from_}, align {align}")
            f.do(f"store {type_} {element}, ptr {to}, align {align}")

    def _block(self, source: str, to: str, stride: str, itemsize: int, lanes: int) -> None:
        """A square block, transposed by exchanging halves, quarters and so on of its rows."""
        f, align = self.f, min(itemsize, _WORD)
        words = itemsize // align
        vector = f"<{lanes * words} x i{8 * align}>"
        rows, at = [], source
        for k in range(lanes):
            at = f.offset(at, stride) if k else source
            rows.append(f.emit(f"load {vector}, ptr {at}, align {align}"))
        distance = 1
        while distance < lanes:
            for k in range(lanes):
                if not k & distance:
                    pair = rows[k], rows[k + distance]
                    rows[k] = self._exchanged(vector, pair, distance, lanes, words, low=True)
                    rows[k + distance] = self._exchanged(
                        vector, pair, distance, lanes, words, low=False
                    )
            distance *= 2
        for k, row in enumerate(rows):
            f.do(f"store {vector} {row}, ptr {f.offset(to, k * ROW_BYTES)}, align {align}")

    def _exchanged(
        self,
        vector: str,
        pair: tuple[str, str],
        distance: int,
        lanes: int,
        words: int,
        *,
        low: bool,
    ) -> str:
        """One of two rows after the off-diagonal parts of both have changed places."""
        places = []
        for k in range(lanes):
            second = bool(k & distance)
            element = k if second != low else (k - distance if second else k + distance)
            first_word = (element + lanes * second) * words
            places += [f"i32 {first_word + w}" for w in range(words)]
        count = lanes * words
        return self.f.emit(
            f"shufflevector {vector} {pair[0]}, {vector} {pair[1]}, "
            f"<{count} x i32> <{', '.join(places)}>"
        )
