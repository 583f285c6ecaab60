"""Tiles of a product: what a block of threads computes from its factors, which it reads piece by
piece along the depth of the sum.

    for depth, in pieces:    copy the pieces of both factors that come next to shared memory
                             every thread: sums[i, j] += left[i, k] * right[k, j]
    the sums, through shared memory, to whoever finishes the elements

A factor is read element by element, wherever it says the element is (`Factor`): a matrix in any
order, or the patches of an image. In shared memory a piece has a row for each step of the depth.
Every sum is one chain of fused multiply-adds in the order of the depth, whatever the tile is.

A warp is 4 x 8 threads. Each has groups of adjacent rows and columns, as many as 16 bytes hold; the
groups of a warp lie side by side, so that threads read shared memory without conflicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.products.arithmetic import Sizes
from jitgraph.codegen.gpu.products.copies import Copies
from jitgraph.codegen.llvm import NO_UNROLL, FunctionBuilder
from jitgraph.codegen.registers import register_type
from jitgraph.ir.types import DType

_WARP_ROWS, _WARP_COLUMNS = 4, 8
_VECTOR = 16
#: Steps of the depth written one after the other. Assemblers unroll the rest, and spill where they
#: are given more.
_UNROLLED = 2
#: Elements that a thread copies one after the other; more of them are a loop.
_COPIES = 4
#: Bytes of shared memory that the sums of one round may have on their way out.
_STAGED = 40 << 10


class Cursor(Protocol):
    """A factor as one thread reads it, from some element on. A *line* is a row of the left factor,
    a column of the right one."""

    def element(self, distance: int) -> tuple[str, str]:
        """The address of an element so many lines further where the factor is `deep`, else so many
        steps of the depth; and whether (an i1) there is one."""


class Reader(Protocol):
    """A factor as one thread reads it, from some line on."""

    def at(self, depth: str, further: str = "0") -> Cursor:
        """From a step of the depth on; and, of deep factors, so many lines further."""


class VectorCursor(Protocol):
    """Adjacent lines as one thread reads them, from some step of the depth on."""

    def vector(self, step: int) -> tuple[str, str]:
        """The address so many steps further, and how many bytes (an i32) there are, 16 at most."""


class Vectors(Protocol):
    """Adjacent lines as one thread reads them."""

    def at(self, depth: str) -> VectorCursor:
        """From a step of the depth on."""


class Factor(Protocol):
    """One of the two matrices of a product."""

    @property
    def deep(self) -> bool:
        """Whether steps of the depth are what is adjacent in memory, rather than lines."""

    @property
    def aligned(self) -> str | None:
        """Where this holds (an i1) lines are adjacent, and every 16 bytes of them aligned."""

    def reader(self, line: str, last: str) -> Reader:
        """For a thread that begins at a line of the tile, and a depth that ends at `last`."""

    def vectors(self, line: str, last: str, lanes: int) -> Vectors:
        """The same for so many lines at once, of factors that are `aligned`."""


@dataclass(frozen=True, slots=True)
class Tile:
    """How a block computes: the rows and columns of a thread, the warps, the depth of a piece, and
    how many pieces shared memory holds."""

    dtype: DType
    thread_rows: int
    thread_columns: int
    warp_rows: int
    warp_columns: int
    depth: int
    stages: int
    #: How many blocks a multiprocessor is to hold at least: while some wait, others compute.
    resident: int

    @property
    def lanes(self) -> int:
        """Elements of 16 bytes."""
        return _VECTOR // self.dtype.itemsize

    @property
    def rows(self) -> int:
        return self.thread_rows * _WARP_ROWS * self.warp_rows

    @property
    def columns(self) -> int:
        return self.thread_columns * _WARP_COLUMNS * self.warp_columns

    @property
    def threads(self) -> int:
        return 32 * self.warp_rows * self.warp_columns

    @property
    def vector(self) -> str:
        return f"<{self.lanes} x {register_type(self.dtype)}>"

    @property
    def sums(self) -> str:
        """The type of sums that a thread carries together."""
        return self.vector

    def code(self, f: FunctionBuilder) -> TileCode:
        """The code of the tile, in the kernel `f`."""
        return TileCode(f, self)

    def pitch(self, lines: int) -> int:
        """Bytes from one step of the depth to the next in shared memory. The 16 bytes between them
        spare lines that are written at once the same banks."""
        return lines * self.dtype.itemsize + _VECTOR

    @property
    def row_groups(self) -> int:
        return self.thread_rows // self.lanes

    @property
    def column_groups(self) -> int:
        return self.thread_columns // self.lanes

    @property
    def vectors(self) -> int:
        """Vectors of sums that a thread has."""
        return self.thread_rows * self.column_groups

    @property
    def stage_bytes(self) -> int:
        return self.depth * (self.pitch(self.rows) + self.pitch(self.columns))

    @property
    def rounds(self) -> int:
        """In how many rounds the sums leave."""
        rounds = 1
        while self.rows * self.out_pitch // rounds > _STAGED and rounds < self.row_groups:
            rounds *= 2
        return rounds

    @property
    def out_pitch(self) -> int:
        """Bytes from row to row of the sums on their way out."""
        return self.columns * self.dtype.itemsize + _VECTOR

    @property
    def shared_bytes(self) -> int:
        return max(self.stages * self.stage_bytes, self.rows // self.rounds * self.out_pitch)


class TileCode:
    """The code of a tile, in the kernel `f`."""

    def __init__(self, f: FunctionBuilder, tile: Tile) -> None:
        self.f, self.tile = f, tile
        self.type, self.vector = register_type(tile.dtype), tile.vector
        self.suffix = f"v{tile.lanes}f{8 * tile.dtype.itemsize}"
        self.shared = gpu.shared_memory(f, tile.shared_bytes)
        self.copies = Copies(f, self.shared)
        thread = self.thread = gpu.thread(f)
        warp, lane = f.emit(f"lshr i64 {thread}, 5"), f.emit(f"and i64 {thread}, 31")
        self.warp_row, self.warp_column = self.split(warp, tile.warp_columns)
        self.lane_row, self.lane_column = self.split(lane, _WARP_COLUMNS)

    def split(self, index: str, width: int) -> tuple[str, str]:
        """Row and column of what is numbered row by row; the width is a power of two."""
        shift = width.bit_length() - 1
        return (self.f.emit(f"lshr i64 {index}, {shift}") if shift else index,
                self.f.emit(f"and i64 {index}, {width - 1}") if shift else "0")  # fmt: skip

    # --- sums -----------------------------------------------------------------------------------
    def sums(self, left: Factor, right: Factor, first: str, last: str) -> list[str]:
        """The thread's sums over a part of the depth: vectors of columns, row by row."""
        f, tile = self.f, self.tile
        pieces = [
            Piece(self, left, tile.rows, 0, last),
            Piece(self, right, tile.columns, tile.depth * tile.pitch(tile.rows), last),
        ]
        with f.loop(0, tile.stages - 1, name="stage", properties=(NO_UNROLL,), runs=True) as turn:
            ahead = f.emit(f"add i64 {first}, {f.emit(f'mul i64 {turn}, {tile.depth}')}")
            self._copy(pieces, ahead, f.emit(f"mul i64 {turn}, {tile.stage_bytes}"))
        at_row, at_column = self._starts()
        at_column = f.emit(f"add i64 {at_column}, {pieces[1].behind}")
        # The stage that is free, and behind it the one whose copies are the oldest.
        free = ("i64", str((tile.stages - 1) * tile.stage_bytes))
        zeros = [(tile.sums, "zeroinitializer")] * tile.vectors
        with f.loop(first, last, tile.depth, "k", accumulators=[free, *zeros]) as loop:
            stage, *sums = loop.carried
            self.copies.wait(tile.stages - 2)
            gpu.barrier(f)
            ahead = f.emit(f"add i64 {loop}, {(tile.stages - 1) * tile.depth}")
            self._copy(pieces, ahead, stage)
            stage = self._after(stage)
            here = f.offset(self.shared, stage)
            sums = self._added(f.offset(here, at_row), f.offset(here, at_column), sums)
            loop.carry(stage, *sums)
        self.copies.wait(0)
        gpu.barrier(f)
        return loop.results[1:]

    def _copy(self, pieces: Sequence[Piece], depth: str, stage: str) -> None:
        for piece in pieces:
            piece.copy(depth, stage)
        self.copies.commit()

    def _after(self, stage: str) -> str:
        f, tile = self.f, self.tile
        following = f.emit(f"add i64 {stage}, {tile.stage_bytes}")
        wraps = f.emit(f"icmp eq i64 {following}, {tile.stages * tile.stage_bytes}")
        return f.select(wraps, "i64", 0, following)

    def _starts(self) -> tuple[str, str]:
        """Where in a piece of each factor the thread begins to read."""
        f, item = self.f, self.tile.dtype.itemsize
        return (f.emit(f"mul i64 {self.thread_row('0')}, {item}"),
                f.emit(f"mul i64 {self.thread_column('0')}, {item}"))  # fmt: skip

    def _added(self, rows: str, columns: str, sums: list[str]) -> list[str]:
        """The sums and the products of a piece, some steps of the depth at a time."""
        f, tile = self.f, self.tile
        row_step = _WARP_ROWS * _VECTOR
        column_step = _WARP_COLUMNS * _VECTOR
        carried = [("ptr", rows), ("ptr", columns), *((self.vector, x) for x in sums)]
        at_row, at_column = tile.pitch(tile.rows), tile.pitch(tile.columns)
        with f.loop(0, tile.depth, _UNROLLED, "step", accumulators=carried, runs=True) as step:
            rows, columns, *sums = step.carried
            for k in range(_UNROLLED):
                left = [self._vector(rows, k * at_row + g * row_step)
                        for g in range(tile.row_groups)]  # fmt: skip
                right = [self._vector(columns, k * at_column + g * column_step)
                         for g in range(tile.column_groups)]  # fmt: skip
                sums = self._with_products(left, right, sums)
            step.carry(f.offset(rows, _UNROLLED * at_row),
                       f.offset(columns, _UNROLLED * at_column), *sums)  # fmt: skip
        return step.results[2:]

    def _with_products(
        self, left: Sequence[str], right: Sequence[str], sums: Sequence[str]
    ) -> list[str]:
        """The sums and the products of one step."""
        f, tile, after = self.f, self.tile, list(sums)
        for row in range(tile.thread_rows):
            group, lane = divmod(row, tile.lanes)
            mask = f"<{tile.lanes} x i32> splat (i32 {lane})"
            every = f.emit(f"shufflevector {self.vector} {left[group]}, {self.vector} poison, "
                           f"{mask}")  # fmt: skip
            for n, vector in enumerate(right, row * tile.column_groups):
                operands = (f"{self.vector} {x}" for x in (every, vector, sums[n]))
                after[n] = f.intrinsic(self.vector, f"@llvm.fma.{self.suffix}", *operands)
        return after

    def _vector(self, start: str, offset: int) -> str:
        place = self.behind(start, offset)
        return self.f.emit(f"load {self.vector}, ptr {place}, align {_VECTOR}")

    def behind(self, pointer: str, offset: int) -> str:
        """So many bytes behind a pointer."""
        return self.f.offset(pointer, offset) if offset else pointer

    def thread_row(self, group: str) -> str:
        """The first row of the tile that is in a group of the thread's rows."""
        return self._place(self.warp_row, self.tile.row_groups, group, _WARP_ROWS, self.lane_row)

    def thread_column(self, group: str) -> str:
        """The same of columns."""
        return self._place(
            self.warp_column, self.tile.column_groups, group, _WARP_COLUMNS, self.lane_column
        )

    def _place(self, warp: str, groups: int, group: str, lanes: int, lane: str) -> str:
        s = Sizes(self.f)
        number = s.plus(s.times(warp, groups), group)
        return s.times(s.plus(s.times(number, lanes), lane), self.tile.lanes)

    # --- on their way out -----------------------------------------------------------------------
    def deliver(
        self, sums: Sequence[str], finish: Callable[[str, str, str], None], *, by_rows: bool
    ) -> None:
        """`finish(row, column, sum)` for every element of the tile. Adjacent threads have adjacent
        columns, or rows if not `by_rows`."""
        f, tile = self.f, self.tile
        if tile.rounds == 1:
            self._deliver_round("0", sums, finish, by_rows)
            return
        with f.loop(0, tile.rounds, name="round", runs=True) as turn:
            chosen = self._chosen(str(turn), sums)
            self._deliver_round(str(turn), chosen, finish, by_rows)
            gpu.barrier(f)

    def _chosen(self, turn: str, sums: Sequence[str]) -> Sequence[str]:
        """The sums of a round."""
        f, each = self.f, len(sums) // self.tile.rounds
        found = sums[:each]
        for k in range(1, self.tile.rounds):
            here = f.emit(f"icmp eq i64 {turn}, {k}")
            found = [f.select(here, self.tile.sums, sums[k * each + n], one)
                     for n, one in enumerate(found)]  # fmt: skip
        return found

    def _deliver_round(
        self, turn: str, sums: Sequence[str], finish: Callable[[str, str, str], None],
        by_rows: bool,
    ) -> None:  # fmt: skip
        f, tile = self.f, self.tile
        self._stage(sums)
        gpu.barrier(f)
        height = tile.rows // tile.rounds
        each = height // tile.warp_rows
        count = height * tile.columns
        with f.loop(self.thread, count, tile.threads, "element", runs=True) as element:
            if by_rows:
                staged, column = self.split(str(element), tile.columns)
            else:
                column, staged = self.split(str(element), height)
            at_row = f.emit(f"mul i64 {staged}, {tile.out_pitch}")
            at_column = f.emit(f"mul i64 {column}, {tile.dtype.itemsize}")
            place = f.emit(f"add i64 {at_row}, {at_column}")
            value = f.emit(f"load {self.type}, ptr {f.offset(self.shared, place)}")
            warp, within = self.split(staged, each)
            row = f.emit(f"mul i64 {warp}, {each * tile.rounds}")
            row = f.emit(f"add i64 {row}, {f.emit(f'mul i64 {turn}, {each}')}")
            finish(f.emit(f"add i64 {row}, {within}"), column, value)

    def _stage(self, sums: Sequence[str]) -> None:
        """Write the sums of a round to shared memory."""
        f, tile = self.f, self.tile
        item, pitch = tile.dtype.itemsize, tile.out_pitch
        groups = tile.row_groups // tile.rounds
        row = self._place(self.warp_row, groups, "0", _WARP_ROWS, self.lane_row)
        start = f.emit(f"mul i64 {row}, {pitch}")
        column = f.emit(f"mul i64 {self.thread_column('0')}, {item}")
        start = f.offset(self.shared, f.emit(f"add i64 {start}, {column}"))
        for n, vector in enumerate(sums):
            thread_row, g = divmod(n, tile.column_groups)
            group, lane = divmod(thread_row, tile.lanes)
            at = (group * _WARP_ROWS * tile.lanes + lane) * pitch + g * _WARP_COLUMNS * _VECTOR
            f.do(f"store {self.vector} {vector}, ptr {self.behind(start, at)}, align {_VECTOR}")


class Piece:
    """What a thread copies of the pieces of a factor: `lines` of the tile, `behind` so many bytes
    of a stage."""

    def __init__(
        self, code: TileCode, factor: Factor, lines: int, behind: int, last: str
    ) -> None:
        self.code, self.factor, self.lines, self.behind = code, factor, lines, behind
        self.f, tile = code.f, code.tile
        self.tile = tile
        if factor.deep:
            line, self.k = code.split(code.thread, tile.depth)
        else:
            self.k, line = code.split(code.thread, lines)
        self.reader = factor.reader(line, last)
        self.place = self._place(self.k, line)
        self.wide: Vectors | None = None
        if factor.aligned is not None and code.copies.asynchronous:
            self.wide_k, vector = code.split(code.thread, lines // tile.lanes)
            line = self.f.emit(f"mul i64 {vector}, {tile.lanes}")
            self.wide = factor.vectors(line, last, tile.lanes)
            self.wide_place = self._place(self.wide_k, line)

    def _place(self, k: str, line: str) -> str:
        s, tile = Sizes(self.f), self.tile
        at = s.plus(s.times(k, tile.pitch(self.lines)), s.times(line, tile.dtype.itemsize))
        return s.plus(at, str(self.behind))

    def copy(self, depth: str, stage: str) -> None:
        """Copy what begins at a depth to a stage."""
        f = self.f
        if self.wide is None:
            self._copy_elements(depth, stage)
            return
        wide, narrow, done = f.label("wide"), f.label("narrow"), f.label("copied")
        assert self.factor.aligned is not None
        f.branch_if(self.factor.aligned, wide, narrow)
        f.block(wide)
        self._copy_vectors(self.wide, depth, stage)
        f.branch(done)
        f.block(narrow)
        self._copy_elements(depth, stage)
        f.block(done)

    def _copy_elements(self, depth: str, stage: str) -> None:
        """Element by element; adjacent threads copy what is adjacent in memory."""
        f, tile = self.f, self.tile
        count = self.lines * tile.depth
        pitch = tile.pitch(self.lines)
        # From one element of the thread to the next: lines, or steps of the depth.
        deep = self.factor.deep
        distance = max(tile.threads // (tile.depth if deep else self.lines), 1)
        step = distance * (tile.dtype.itemsize if deep else pitch)
        with self._threads(count):
            place = f.emit(f"add i64 {stage}, {self.place}")
            depth = f.emit(f"add i64 {depth}, {self.k}")
            each = max(count // tile.threads, 1)
            if each <= _COPIES:
                self._copy_some(self.reader.at(depth), place, each, distance, step)
                return
            with f.loop(0, each * distance, _COPIES * distance, "copy", runs=True) as turn:
                if deep:
                    cursor = self.reader.at(depth, str(turn))
                else:
                    cursor = self.reader.at(f.emit(f"add i64 {depth}, {turn}"))
                moved = f.emit(f"mul i64 {turn}, {step // distance}")
                moved = f.emit(f"add i64 {place}, {moved}")
                self._copy_some(cursor, moved, _COPIES, distance, step)

    def _copy_some(
        self, cursor: Cursor, place: str, count: int, distance: int, step: int
    ) -> None:
        copied = [(n * step, *cursor.element(n * distance)) for n in range(count)]
        self.code.copies.elements(self.tile.dtype, place, copied)

    def _copy_vectors(self, reader: Vectors, depth: str, stage: str) -> None:
        """16 bytes at once; what is behind the last line becomes zeros."""
        f, tile = self.f, self.tile
        of_line = self.lines // tile.lanes
        count, step = of_line * tile.depth, max(tile.threads // of_line, 1)
        with self._threads(count):
            place = f.emit(f"add i64 {stage}, {self.wide_place}")
            cursor = reader.at(f.emit(f"add i64 {depth}, {self.wide_k}"))
            self.code.copies.vectors(place, [
                (n * step * tile.pitch(self.lines), *cursor.vector(n * step))
                for n in range(max(count // tile.threads, 1))
            ])  # fmt: skip

    def _threads(self, count: int) -> AbstractContextManager[None]:
        """For the threads that have something to copy."""
        if count >= self.tile.threads:
            return nullcontext()
        return self.f.if_then(self.f.emit(f"icmp slt i64 {self.code.thread}, {count}"))
