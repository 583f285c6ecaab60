"""Matrices as factors of a tiled product."""

from __future__ import annotations

from dataclasses import dataclass

from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.ir.types import DType

_VECTOR = 16


class Matrix:
    """Elements at affine addresses. `first` is the first line of the tile, `lines` is how many the
    matrix has; strides are in bytes."""

    def __init__(
        self, f: FunctionBuilder, dtype: DType, start: str, line_stride: str, depth_stride: str,
        first: str, lines: str,
    ) -> None:  # fmt: skip
        self.f, self.start = f, start
        self.line_stride, self.depth_stride = line_stride, depth_stride
        self.first, self.lines = first, lines
        item = dtype.itemsize
        self.deep = depth_stride == str(item) and line_stride != str(item)
        adjacent = not line_stride.isdigit() or line_stride == str(item)
        self.aligned = self._aligned(item) if adjacent and not self.deep else None

    def _aligned(self, item: int) -> str:
        f = self.f
        address = f.emit(f"ptrtoint ptr {self.start} to i64")
        both = f.emit(f"or i64 {address}, {self.depth_stride}")
        rest = f.emit(f"and i64 {both}, {_VECTOR - 1}")
        aligned = f.emit(f"icmp eq i64 {rest}, 0")
        near = f.emit(f"icmp eq i64 {self.line_stride}, {item}")
        return f.emit(f"and i1 {aligned}, {near}", "aligned")

    def reader(self, line: str, last: str) -> MatrixReader:
        """As `tiling.Factor` says."""
        f = self.f
        at = f.emit(f"add i64 {self.first}, {line}")
        start = f.offset(self.start, f.emit(f"mul i64 {at}, {self.line_stride}"))
        return MatrixReader(self, start, f.emit(f"sub i64 {self.lines}, {at}"), last)


@dataclass(frozen=True, slots=True)
class MatrixReader:
    """A matrix from some line on, of which there are `rest`."""

    matrix: Matrix
    start: str
    rest: str
    last: str

    def at(self, depth: str) -> MatrixCursor:
        """As `tiling.Reader` says."""
        f = self.matrix.f
        start = f.offset(self.start, f.emit(f"mul i64 {depth}, {self.matrix.depth_stride}"))
        return MatrixCursor(self, start, f.emit(f"sub i64 {self.last}, {depth}"))


@dataclass(frozen=True, slots=True)
class MatrixCursor:
    """A matrix from some step of the depth on, of which there are `steps`."""

    reader: MatrixReader
    start: str
    steps: str

    def element(self, line: int, step: int) -> tuple[str, str]:
        """As `tiling.Cursor` says."""
        f, matrix = self.reader.matrix.f, self.reader.matrix
        there = f.emit(f"icmp sgt i64 {self.reader.rest}, {line}")
        within = f.emit(f"icmp sgt i64 {self.steps}, {step}")
        start = self._along(self._along(self.start, matrix.line_stride, line),
                            matrix.depth_stride, step)  # fmt: skip
        return start, f.emit(f"and i1 {there}, {within}")

    def lines(self, step: int) -> tuple[str, str]:
        """As `tiling.Cursor` says."""
        f = self.reader.matrix.f
        within = f.emit(f"icmp sgt i64 {self.steps}, {step}")
        start = self._along(self.start, self.reader.matrix.depth_stride, step)
        return start, f.select(within, "i64", self.reader.rest, 0)

    def _along(self, start: str, stride: str, count: int) -> str:
        f = self.reader.matrix.f
        return f.offset(start, f.emit(f"mul i64 {stride}, {count}")) if count else start
