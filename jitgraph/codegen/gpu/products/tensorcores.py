"""Tiles that tensor cores multiply: f64 as it is, f32 rounded to fewer bits, with sums in f32.

    mma.m8n8k4  f64      mma.m16n8k8  tf32      mma.m16n8k16  bf16, f16

Factors lie in shared memory as they are (`tiling`); threads round what they read. A warp has 4 x 4
products of 16 (f64: 8) x 8 elements: lane l has of each the rows l / 4 and l / 4 + 8, and the
columns 2 (l % 4) and the one after it; of operands rows or columns l / 4, and steps of the depth
l % 4 (or pairs of these), as the PTX manual draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jitgraph.codegen.gpu.products.tiling import Tile, TileCode
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.registers import register_type

_COLUMNS = 8
#: Products of a warp, down and across.
_DOWN, _ACROSS = 4, 4
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class TensorTile(Tile):
    """A tile of warps that each multiply 64 x 32 elements, or 32 x 32 of f64."""

    precision: str

    @property
    def height(self) -> int:
        """Rows of a product."""
        return 8 if self.precision == "f64" else 16

    @property
    def step(self) -> int:
        """The depth of a product."""
        return {"f64": 4, "tf32": 8}.get(self.precision, 16)

    @property
    def rows(self) -> int:
        return _DOWN * self.height * self.warp_rows

    @property
    def columns(self) -> int:
        return _ACROSS * _COLUMNS * self.warp_columns

    @property
    def vectors(self) -> int:
        return _DOWN * _ACROSS

    @property
    def sums(self) -> str:
        """What the instructions give."""
        return f"{{ {', '.join([register_type(self.dtype)] * self.lanes)} }}"

    @property
    def row_groups(self) -> int:
        return _DOWN

    @property
    def rounds(self) -> int:
        """Each writes down as few sums as can be: there are many for one row."""
        return _DOWN

    def pitch(self, lines: int) -> int:
        """What the lanes of a warp read is in different banks: four steps of the depth, or four
        pairs of them, of eight lines each."""
        pairs = self.precision in ("bf16", "f16")
        return self.dtype.itemsize * lines + (16 if pairs else 32)

    def code(self, f: FunctionBuilder) -> TensorCode:
        return TensorCode(f, self)


def tensor_tiles(precision: str) -> list[Tile]:
    """One of 128 x 128 elements and one of 64 x 64; of f64 64 x 64 and 32 x 64."""
    if precision == "f64":
        return [TensorTile(_F64, 0, 0, rows, 2, 8, 3, blocks, precision)
                for rows, blocks in ((2, 3), (1, 4))]  # fmt: skip
    depth, stages = (8, 5) if precision == "tf32" else (16, 2)
    return [TensorTile(_F32, 0, 0, rows, columns, depth, stages, blocks, precision)
            for rows, columns, blocks in ((2, 4, 2), (1, 2, 4))]  # fmt: skip


class TensorCode(TileCode):
    """The code of such a tile."""

    tile: TensorTile

    def __init__(self, f: FunctionBuilder, tile: TensorTile) -> None:
        super().__init__(f, tile)
        lane = f.emit(f"and i64 {self.thread}, 31")
        self.group, self.member = self.split(lane, 4)

    def _starts(self) -> tuple[str, str]:
        f, tile = self.f, self.tile
        steps, item = 2 if tile.step == 16 else 1, tile.dtype.itemsize
        found = []
        for warp, lines, count in ((self.warp_row, tile.rows, _DOWN * tile.height),
                                   (self.warp_column, tile.columns, _ACROSS * _COLUMNS)):
            line = f.emit(f"add i64 {f.emit(f'mul i64 {warp}, {count}')}, {self.group}")
            step = f.emit(f"mul i64 {self.member}, {steps * tile.pitch(lines)}")
            found.append(f.emit(f"add i64 {step}, {f.emit(f'mul i64 {line}, {item}')}"))
        return found[0], found[1]

    def _added(self, rows: str, columns: str, sums: list[str]) -> list[str]:
        tile = self.tile
        for first in range(0, tile.depth, tile.step):
            if tile.precision == "f64":
                sums = self._added_doubles(rows, columns, first, sums)
                continue
            left = [[self._operand(rows, tile.rows, first, 16 * m + 8 * (n % 2), n // 2)
                     for n in range(4)] for m in range(_DOWN)]  # fmt: skip
            right = [[self._operand(columns, tile.columns, first, 8 * m, n) for n in range(2)]
                     for m in range(_ACROSS)]  # fmt: skip
            sums = [self._product(left[n // _ACROSS], right[n % _ACROSS], before)
                    for n, before in enumerate(sums)]  # fmt: skip
        return sums

    def _added_doubles(
        self, rows: str, columns: str, first: int, sums: Sequence[str]
    ) -> list[str]:
        """The sums and their products at four steps of the depth."""
        f, tile = self.f, self.tile
        left, right = (
            [f.emit(f"load double, ptr {self.behind(start, first * tile.pitch(lines) + 64 * m)}")
             for m in range(4)]
            for start, lines in ((rows, tile.rows), (columns, tile.columns))
        )  # fmt: skip
        return [
            f.intrinsic(tile.sums, "@llvm.nvvm.mma.m8n8k4.row.col.f64",
                        f"double {left[n // _ACROSS]}", f"double {right[n % _ACROSS]}",
                        *self._parts(before))
            for n, before in enumerate(sums)
        ]  # fmt: skip

    def _parts(self, sums: str) -> list[str]:
        """Sums that are carried together, with their type."""
        tile = self.tile
        return [f"{self.type} {self.f.emit(f'extractvalue {tile.sums} {sums}, {k}')}"
                for k in range(tile.lanes)]  # fmt: skip

    def _operand(self, start: str, lines: int, first: int, line: int, half: int) -> str:
        """One register of an operand, from one half of the depth of a product."""
        f, tile, pitch = self.f, self.tile, self.tile.pitch(lines)
        if tile.precision == "tf32":
            value = self._read(start, (first + 4 * half) * pitch + 4 * line)
            return f"i32 {f.intrinsic('i32', '@llvm.nvvm.f2tf32.rna', f'float {value}')}"
        low, high = (self._read(start, (first + 8 * half + k) * pitch + 4 * line)
                     for k in range(2))  # fmt: skip
        both = (f"float {high}", f"float {low}")
        if tile.precision == "f16":
            return f"<2 x half> {f.intrinsic('<2 x half>', '@llvm.nvvm.ff2f16x2.rn', *both)}"
        pair = f.intrinsic("<2 x bfloat>", "@llvm.nvvm.ff2bf16x2.rn", *both)
        return f"i32 {f.emit(f'bitcast <2 x bfloat> {pair} to i32')}"

    def _read(self, start: str, offset: int) -> str:
        return self.f.emit(f"load float, ptr {self.behind(start, offset)}")

    def _product(self, left: Sequence[str], right: Sequence[str], before: str) -> str:
        name = {"tf32": "k8.row.col.tf32", "bf16": "k16.row.col.bf16",
                "f16": "k16.row.col.f32.f32"}[self.tile.precision]  # fmt: skip
        return self.f.intrinsic(self.tile.sums, f"@llvm.nvvm.mma.m16n8{name}", *left, *right,
                                *self._parts(before))  # fmt: skip

    def _stage(self, sums: Sequence[str]) -> None:
        f, tile = self.f, self.tile
        each, item = tile.rows // tile.rounds // tile.warp_rows, tile.dtype.itemsize
        row = f.emit(f"add i64 {f.emit(f'mul i64 {self.warp_row}, {each}')}, {self.group}")
        column = f.emit(f"mul i64 {self.warp_column}, {_ACROSS * _COLUMNS}")
        column = f.emit(f"add i64 {column}, {f.emit(f'mul i64 {self.member}, 2')}")
        start = f.emit(f"mul i64 {row}, {tile.out_pitch}")
        start = f.emit(f"add i64 {start}, {f.emit(f'mul i64 {column}, {item}')}")
        start = f.offset(self.shared, start)
        for n, vector in enumerate(sums):
            down, across = divmod(n, _ACROSS)
            parts = self._parts(vector)
            for half in range(tile.height // 8):
                two = f"<2 x {self.type}>"
                pair = f.emit(f"insertelement {two} poison, {parts[2 * half]}, i32 0")
                pair = f.emit(f"insertelement {two} {pair}, {parts[2 * half + 1]}, i32 1")
                at = (tile.height * down + 8 * half) * tile.out_pitch + item * _COLUMNS * across
                place = self.behind(start, at)
                f.do(f"store {two} {pair}, ptr {place}, align {2 * item}")
