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
        if self.line_stride == str(item):
            return aligned
        near = f.emit(f"icmp eq i64 {self.line_stride}, {item}")
        return f.emit(f"and i1 {aligned}, {near}", "aligned")

    def reader(self, line: str, last: str) -> MatrixReader:
        """As `tiling.Factor` says."""
        start, rest = self._from(line)
        if not self.deep:
            last = self.f.select(self.f.emit(f"icmp sgt i64 {rest}, 0"), "i64", last, 0)
        return MatrixReader(self, start, rest, last)

    def vectors(self, line: str, last: str, lanes: int) -> VectorReader:
        """As `tiling.Factor` says."""
        f = self.f
        start, rest = self._from(line)
        count = f.emit(f"trunc i64 {f.maximum(f.minimum(rest, lanes), 0)} to i32")
        return VectorReader(self, start, f.emit(f"mul i32 {count}, {_VECTOR // lanes}"), last)

    def _from(self, line: str) -> tuple[str, str]:
        """Where a line of the tile begins, and how many there are from there on."""
        f = self.f
        at = f.emit(f"add i64 {self.first}, {line}")
        start = f.offset(self.start, f.emit(f"mul i64 {at}, {self.line_stride}"))
        return start, f.emit(f"sub i64 {self.lines}, {at}")

    def at(self, start: str, depth: str) -> str:
        """So many steps further."""
        return self.f.offset(start, self.f.emit(f"mul i64 {depth}, {self.depth_stride}"))


class Progress:
    """Addresses further and further on, by the same distance each time."""

    def __init__(self, f: FunctionBuilder, start: str, stride: str) -> None:
        self.f, self.stride = f, stride
        self.address, self.reached = start, 0
        self._steps: dict[int, str] = {}

    def to(self, count: int) -> str:
        """So many strides from the start."""
        distance = count - self.reached
        if distance:
            if distance not in self._steps:
                self._steps[distance] = self.f.emit(f"mul i64 {self.stride}, {distance}")
            self.address = self.f.offset(self.address, self._steps[distance])
            self.reached = count
        return self.address


@dataclass(frozen=True, slots=True)
class MatrixReader:
    """A matrix from some line on, of which there are `rest`."""

    matrix: Matrix
    start: str
    rest: str
    last: str

    def at(self, depth: str, further: str = "0") -> MatrixCursor:
        """As `tiling.Reader` says."""
        f, matrix, rest = self.matrix.f, self.matrix, self.rest
        start = matrix.at(self.start, depth)
        if not matrix.deep:
            steps = f.emit(f"sub i64 {self.last}, {depth}")
            return MatrixCursor(f, Progress(f, start, matrix.depth_stride), steps)
        if further != "0":
            start = f.offset(start, f.emit(f"mul i64 {further}, {matrix.line_stride}"))
            rest = f.emit(f"sub i64 {rest}, {further}")
        rest = f.select(f.emit(f"icmp slt i64 {depth}, {self.last}"), "i64", rest, 0)
        return MatrixCursor(f, Progress(f, start, matrix.line_stride), rest)


@dataclass(frozen=True, slots=True)
class MatrixCursor:
    """A matrix from some element on. There are `rest` lines, or steps of the depth."""

    f: FunctionBuilder
    progress: Progress
    rest: str

    def element(self, distance: int) -> tuple[str, str]:
        """As `tiling.Cursor` says."""
        return self.progress.to(distance), self.f.emit(f"icmp sgt i64 {self.rest}, {distance}")


@dataclass(frozen=True, slots=True)
class VectorReader:
    """Adjacent lines of a matrix, which have `size` bytes (an i32)."""

    matrix: Matrix
    start: str
    size: str
    last: str

    def at(self, depth: str) -> VectorCursor:
        """As `tiling.Vectors` says."""
        f, matrix = self.matrix.f, self.matrix
        start = Progress(f, matrix.at(self.start, depth), matrix.depth_stride)
        return VectorCursor(f, start, f.emit(f"sub i64 {self.last}, {depth}"), self.size)


@dataclass(frozen=True, slots=True)
class VectorCursor:
    """Such lines from some step of the depth on, of which there are `steps`."""

    f: FunctionBuilder
    progress: Progress
    steps: str
    size: str

    def vector(self, step: int) -> tuple[str, str]:
        """As `tiling.VectorCursor` says."""
        within = self.f.emit(f"icmp sgt i64 {self.steps}, {step}")
        return self.progress.to(step), self.f.select(within, "i32", self.size, 0)
