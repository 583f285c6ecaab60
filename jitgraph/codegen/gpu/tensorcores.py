"""Tiles that tensor cores multiply, with operands rounded to fewer bits and sums in f32.

    mma.m16n8k8  tf32      mma.m16n8k16  bf16, f16

Factors lie in shared memory as they are (f32, `tiling`); threads round what they read. A warp has
4 x 4 products of 16 x 8 elements: lane l has of each the rows l / 4 and l / 4 + 8, and the columns
2 (l % 4) and the one after it; of operands rows or columns l / 4, and steps of the depth l % 4 (or
pairs of these), as the PTX manual draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from jitgraph.codegen.gpu.tiling import Tile, TileCode
from jitgraph.codegen.llvm import FunctionBuilder

Precision: TypeAlias = Literal["tf32", "bf16", "f16"]
_ROWS, _COLUMNS = 16, 8
#: Products of a warp, down and across.
_DOWN, _ACROSS = 4, 4
_F32 = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class TensorTile(Tile):
    """A tile of warps that each multiply 64 x 32 elements."""

    precision: Precision

    @property
    def rows(self) -> int:
        return _DOWN * _ROWS * self.warp_rows

    @property
    def columns(self) -> int:
        return _ACROSS * _COLUMNS * self.warp_columns

    @property
    def vectors(self) -> int:
        return _DOWN * _ACROSS

    @property
    def row_groups(self) -> int:
        return _DOWN

    def pitch(self, lines: int) -> int:
        """What the lanes of a warp read is in different banks: four steps of the depth, or four
        pairs of them, of eight lines each."""
        return 4 * lines + (32 if self.precision == "tf32" else 16)

    def code(self, f: FunctionBuilder) -> TensorCode:
        return TensorCode(f, self)


def tensor_tile(precision: Precision) -> TensorTile:
    """128 x 128 elements."""
    depth, stages = (8, 5) if precision == "tf32" else (16, 2)
    return TensorTile(_F32, 0, 0, 2, 4, depth, stages, 2, precision)


class TensorCode(TileCode):
    """The code of such a tile."""

    tile: TensorTile

    def __init__(self, f: FunctionBuilder, tile: TensorTile) -> None:
        super().__init__(f, tile)
        lane = f.emit(f"and i64 {self.thread}, 31")
        self.group, self.member = self.split(lane, 4)

    def _starts(self) -> tuple[str, str]:
        f, tile = self.f, self.tile
        steps = 1 if tile.precision == "tf32" else 2
        found = []
        for warp, lines, count in ((self.warp_row, tile.rows, _DOWN * _ROWS),
                                   (self.warp_column, tile.columns, _ACROSS * _COLUMNS)):
            line = f.emit(f"add i64 {f.emit(f'mul i64 {warp}, {count}')}, {self.group}")
            step = f.emit(f"mul i64 {self.member}, {steps * tile.pitch(lines)}")
            found.append(f.emit(f"add i64 {step}, {f.emit(f'mul i64 {line}, 4')}"))
        return found[0], found[1]

    def _added(self, rows: str, columns: str, sums: list[str]) -> list[str]:
        f, tile = self.f, self.tile
        depth = 8 if tile.precision == "tf32" else 16
        for first in range(0, tile.depth, depth):
            left = [[self._operand(rows, tile.rows, first, 16 * m + 8 * (n % 2), n // 2)
                     for n in range(4)] for m in range(_DOWN)]  # fmt: skip
            right = [[self._operand(columns, tile.columns, first, 8 * m, n) for n in range(2)]
                     for m in range(_ACROSS)]  # fmt: skip
            sums = [self._product(left[n // _ACROSS], right[n % _ACROSS], before)
                    for n, before in enumerate(sums)]  # fmt: skip
        del f
        return sums

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
        return self.f.emit(f"load float, ptr {self.f.offset(start, offset)}")

    def _product(self, left: Sequence[str], right: Sequence[str], before: str) -> str:
        f = self.f
        sums = [f"float {f.emit(f'extractelement <4 x float> {before}, i32 {k}')}"
                for k in range(4)]  # fmt: skip
        name = {"tf32": "k8.row.col.tf32", "bf16": "k16.row.col.bf16",
                "f16": "k16.row.col.f32.f32"}[self.tile.precision]  # fmt: skip
        four = "{ float, float, float, float }"
        made = f.intrinsic(four, f"@llvm.nvvm.mma.m16n8{name}", *left, *right, *sums)
        after = "poison"
        for k in range(4):
            part = f.emit(f"extractvalue {four} {made}, {k}")
            after = f.emit(f"insertelement <4 x float> {after}, float {part}, i32 {k}")
        return after

    def _stage(self, sums: Sequence[str]) -> None:
        f, tile = self.f, self.tile
        each = tile.rows // tile.rounds // tile.warp_rows
        row = f.emit(f"add i64 {f.emit(f'mul i64 {self.warp_row}, {each}')}, {self.group}")
        column = f.emit(f"mul i64 {self.warp_column}, {_ACROSS * _COLUMNS}")
        column = f.emit(f"add i64 {column}, {f.emit(f'mul i64 {self.member}, 2')}")
        start = f.emit(f"mul i64 {row}, {tile.out_pitch}")
        start = f.emit(f"add i64 {start}, {f.emit(f'mul i64 {column}, 4')}")
        start = f.offset(self.shared, start)
        for n, vector in enumerate(sums):
            down, across = divmod(n, _ACROSS)
            for half in range(2):
                lanes = f"<2 x i32> <i32 {2 * half}, i32 {2 * half + 1}>"
                pair = f.emit(f"shufflevector <4 x float> {vector}, <4 x float> poison, {lanes}")
                at = (_ROWS * down + 8 * half) * tile.out_pitch + 4 * _COLUMNS * across
                f.do(f"store <2 x float> {pair}, ptr {f.offset(start, at)}, align 8")
