"""Kernels that read along one loop and write along another: through tiles in shared memory.

    for i, j:  y[i, j] = f(x[j, i])       tile[j][i] = x[j, i]    neighbouring threads along i
                                          y[i, j] = f(tile[j][i])  neighbouring threads along j

So both sides meet whole lines of memory. A tile's rows are padded by an element, which puts what a
warp reads of a column into different banks.
"""

from __future__ import annotations

from dataclasses import replace

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.points import split_index
from jitgraph.codegen.gpu.nests.strips import Place, Strips, copies_of
from jitgraph.codegen.gpu.nests.sweeps import ceil_div, product
from jitgraph.codegen.gpu.target import STATIC_SHARED
from jitgraph.codegen.innermost import is_zero
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.registers import load, store
from jitgraph.ir.kernel import Access, Buffer, Kernel, Load

#: A tile is so many elements wide and high, its threads so many rows of them.
_SIDE, _ROWS = 32, 8
_PITCH = _SIDE + 1
#: Loops that are known to be shorter are not worth a tile.
_SHORT = 8
#: Blocks for each multiprocessor; more tiles make them go round.
_ROUNDS = 32


def turned_loads(kernel: Kernel) -> tuple[int, list[Load]]:
    """The loop along which loads go by neighbours that jump along the innermost one, and these
    loads, as many as shared memory has room for."""
    last = len(kernel.extents) - 1
    by_loop: dict[int, list[Load]] = {}
    for item in kernel.loads:
        for loop in range(last):
            if _near(item.access, loop) and _jumps(item.access, last):
                by_loop.setdefault(loop, []).append(item)
    if not by_loop:
        return 0, []
    loop = max(by_loop, key=lambda k: len(by_loop[k]))
    short = [e for e in (kernel.extents[loop], kernel.extents[last]) if isinstance(e, int)]
    if any(e < _SHORT for e in short):
        return 0, []
    found, room = [], STATIC_SHARED
    for item in by_loop[loop]:
        room -= _bytes(item.access.buffer)
        found += [item] if room >= 0 else []
    return loop, found


def _near(access: Access, loop: int) -> bool:
    stride = access.strides[loop]
    return isinstance(stride, int) and stride == access.buffer.dtype.itemsize


def _jumps(access: Access, loop: int) -> bool:
    stride = access.strides[loop]
    return not is_zero(stride) and not _near(access, loop)


def _bytes(buffer: Buffer) -> int:
    return -(-_SIDE * _PITCH * buffer.dtype.itemsize // 16) * 16


def emit_transposed(arguments: Arguments, kernel: Kernel, loop: int, loads: list[Load]) -> None:
    """The kernel, and the code that launches it."""
    _Transpose(arguments, kernel, loop, loads).emit()


class _Transpose:
    def __init__(self, arguments: Arguments, kernel: Kernel, loop: int, loads: list[Load]) -> None:
        self.arguments, self.kernel, self.loads = arguments, kernel, loads
        self.across, self.last = loop, len(kernel.extents) - 1
        self.tiles = {item: Buffer(-1000 - k, "tile", item.leaf.dtype, "temporary")
                      for k, item in enumerate(loads)}  # fmt: skip
        strides = tuple(int(k in (loop, self.last)) for k in range(self.last + 1))
        #: The kernel that reads tiles.
        self.turned = replace(
            kernel,
            loads=tuple(
                replace(x, access=Access(self.tiles[x], 0, strides)) if x in self.tiles else x
                for x in kernel.loads
            ),
        )

    def emit(self) -> None:
        p = self.arguments.emitter
        extents = [p.size(e) for e in self.kernel.extents]
        for k in (self.across, self.last):
            extents[k] = ceil_div(p.f, extents[k], _SIDE)
        tiles = product(p.f, extents)
        f = self._kernel()
        blocks = p.f.minimum(tiles, self.arguments.most_blocks(_ROUNDS))
        self.arguments.launch(f, blocks, _SIDE * _ROWS, [f"i64 {tiles}"])

    def _kernel(self) -> FunctionBuilder:
        self.f = f = self.arguments.begin(more=["i64 %tiles"])
        key = self.arguments.emitter.memory.key
        shared = gpu.shared_memory(f, sum(map(_bytes, self.tiles.values())))
        self.places: dict[Buffer, str] = {}
        at = 0
        for buffer in self.tiles.values():
            self.places[buffer] = f.offset(shared, at)
            at += _bytes(buffer)
        local = {key(buffer): place for buffer, place in self.places.items()}
        context = self.arguments.context(self.kernel, local)
        source, nest = Nest(context, self.kernel), Nest(context, self.turned)
        column = f.emit(f"and i64 {gpu.thread(f)}, {_SIDE - 1}")
        row = f.emit(f"udiv i64 {gpu.thread(f)}, {_SIDE}")
        sizes = [nest.size(e) for e in self.kernel.extents]
        counts = [ceil_div(f, e, _SIDE) if k in (self.across, self.last) else e
                  for k, e in enumerate(sizes)]  # fmt: skip
        nest.compute(0, nest.start())
        with f.loop(gpu.block(f), "%tiles", gpu.blocks(f), name="tile") as tile:
            first = split_index(f, str(tile), counts)
            for k in (self.across, self.last):
                first[k] = f.emit(f"mul i64 {first[k]}, {_SIDE}")
            rows = [f.emit(f"add i64 {row}, {k}") if k else row for k in range(0, _SIDE, _ROWS)]
            self._fill(source, rows, column, first, sizes)
            gpu.barrier(f)
            several = copies_of(self.turned, 1, len(rows))
            for k in range(0, len(rows), several):
                self._use(nest, rows[k : k + several], column, first, sizes)
            gpu.barrier(f)
        f.do("ret void")
        return f

    def _fill(
        self, nest: Nest, rows: list[str], column: str, first: list[str], sizes: list[str]
    ) -> None:
        """Read tiles; beyond the ends, the last element again and again."""
        f, read = self.f, []
        for row in rows:
            index, _ = self._index(first, sizes, column, row)
            read += [(item, row, load(f, self._at(nest, item.access, index), item.leaf.dtype))
                     for item in self.loads]  # fmt: skip
        for item, row, value in read:
            store(f, value, self._cell(item, row, column), item.leaf.dtype)

    def _use(
        self, nest: Nest, rows: list[str], column: str, first: list[str], sizes: list[str]
    ) -> None:
        """The body for some rows of the tiles."""
        strips, places = Strips(nest, 1), []
        tiled = {k: x for k, x in enumerate(self.kernel.loads) if x in self.tiles}
        key = self.arguments.emitter.memory.key
        in_place = any(
            key(x.access.buffer) in self.arguments.written
            for k, x in enumerate(self.kernel.loads)
            if k not in tiled
        )
        for row in rows:
            index, inside = self._index(first, sizes, row, column)
            pointers = [
                self._cell(tiled[k], column, row) if k in tiled else self._at(nest, access, index)
                for k, access in enumerate(nest.accesses)
            ]
            place = Place(dict(enumerate(index)), pointers, [inside])
            if not in_place:
                places.append(place)
                continue
            # The last element, which threads beyond the ends would read, is being written.
            place.there = None
            with self.f.if_then(inside):
                strips.compute([place], None)
                strips.write([place], None)
        strips.compute(places, None)
        strips.write(places, None)

    def _index(
        self, first: list[str], sizes: list[str], across: str, last: str
    ) -> tuple[list[str], str]:
        """The index of an element of the tile, within the ends, and whether it was."""
        f, index, inside = self.f, list(first), "true"
        for k, more in ((self.across, across), (self.last, last)):
            wanted = f.emit(f"add i64 {first[k]}, {more}")
            index[k] = f.minimum(wanted, f.emit(f"sub i64 {sizes[k]}, 1"))
            inside = f.emit(f"and i1 {inside}, {f.emit(f'icmp slt i64 {wanted}, {sizes[k]}')}")
        return index, inside

    def _at(self, nest: Nest, access: Access, index: list[str]) -> str:
        pointer = nest.pointer(access.buffer, access.offset)
        for stride, i in zip(access.strides, index, strict=True):
            pointer = nest.along(pointer, stride, i)
        return pointer

    def _cell(self, item: Load, row: str, column: str) -> str:
        """An element of the tile of a load."""
        f = self.f
        at = f.emit(f"add i64 {f.emit(f'mul i64 {row}, {_PITCH}')}, {column}")
        offset = f.emit(f"mul i64 {at}, {item.leaf.dtype.itemsize}")
        return f.offset(self.places[self.tiles[item]], offset)
