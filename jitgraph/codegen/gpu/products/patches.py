"""The patches of images that filters see, as a factor of a product: a line is a place in one array,
a step of the depth is one in another, and where both meet the images is the sum of two offsets.

What belongs to a step stands in a table of the device's memory (`emit_table`), rows of

    i64 offset, i32 z, y, x, _, i64 other

(all in bytes and elements of the images). Rows behind the last step meet no image; there are enough
of them that nobody need ask. Coordinates have 32 bits: no axis of an image has 2**31 elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.nests.points import split_index
from jitgraph.codegen.gpu.products.arithmetic import Sizes
from jitgraph.codegen.gpu.products.geometry import Triple
from jitgraph.codegen.gpu.products.tiling import Vectors
from jitgraph.codegen.llvm import FunctionBuilder

ROW_BYTES = 32
_OTHER = 24
#: Rows behind the last step: as far as tiles read ahead.
SPARE = 64
#: A coordinate that is in no image, whatever is added to it.
NOWHERE = -(1 << 30)


@dataclass(frozen=True, slots=True)
class Row:
    """What a step of the depth is told: (offset in bytes, coordinates, another offset)."""

    offset: str
    at: Triple
    other: str


def emit_table(
    f: FunctionBuilder, steps: str, extents: Sequence[str], row: Callable[[list[str]], Row]
) -> None:
    """Fill `%table`, whose rows are numbered by these extents in C order."""
    s = Sizes(f)
    first = s.plus(s.times(gpu.block(f), gpu.threads(f)), gpu.thread(f))
    every = s.times(gpu.blocks(f), gpu.threads(f))
    with f.loop(first, s.plus(steps, SPARE), every, "row") as number:
        place = f.offset("%table", s.times(str(number), ROW_BYTES))
        made = row(split_index(f, str(number), list(extents)))
        within = f.emit(f"icmp slt i64 {number}, {steps}")
        z = f.select(within, "i64", made.at[0], NOWHERE)
        f.do(f"store i64 {made.offset}, ptr {place}, align 16")
        for k, coordinate in enumerate((z, *made.at[1:])):
            narrow = f.emit(f"trunc i64 {coordinate} to i32")
            f.do(f"store i32 {narrow}, ptr {f.offset(place, 8 + 4 * k)}")
        f.do(f"store i32 0, ptr {f.offset(place, 20)}")
        f.do(f"store i64 {made.other}, ptr {f.offset(place, _OTHER)}")


def other_offset(f: FunctionBuilder, step: str) -> str:
    """The other offset of a step."""
    place = f.offset("%table", f.emit(f"mul i64 {step}, {ROW_BYTES}"))
    return f.emit(f"load i64, ptr {f.offset(place, _OTHER)}")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a line meets the images: an address, and coordinates (i64)."""

    start: str
    at: Triple


@dataclass(frozen=True, slots=True)
class Patches:
    """The factor. `spot` finds the place of a line; `turn` tells for a step of the depth which row
    of the table it has, and by how many bytes it is elsewhere.

    Coordinates of images are those of line and step together, divided by `strides` where that
    leaves no rest; then an image's element is `pitches` bytes for each, behind the offset. With
    strides of 1 that is in the offsets already. If `inside`, only what is behind the last step is
    in no image.
    """

    f: FunctionBuilder
    first: str
    lines: str
    spatial: Triple
    strides: tuple[int, int, int]
    pitches: Triple
    inside: bool
    spot: Callable[[str], Spot]
    turn: Callable[[str], tuple[str, str]]
    deep: bool = False
    aligned: str | None = None

    def reader(self, line: str, last: str) -> PatchReader:
        """As `tiling.Factor` says."""
        f, s = self.f, Sizes(self.f)
        line = s.plus(self.first, line)
        exists = f.emit(f"icmp slt i64 {line}, {self.lines}")
        spot = self.spot(line)
        z = f.select(exists, "i64", spot.at[0], NOWHERE)
        at = [f.emit(f"trunc i64 {x} to i32") for x in (z, *spot.at[1:])]
        extents = [f.emit(f"trunc i64 {x} to i32") for x in self.spatial]
        return PatchReader(self, spot.start, at, extents, last)

    def vectors(self, line: str, last: str, lanes: int) -> Vectors:
        """As `tiling.Factor` says."""
        raise AssertionError("patches are not aligned")


@dataclass(frozen=True, slots=True)
class PatchReader:
    """The patches of one line."""

    patches: Patches
    start: str
    at_line: list[str]
    extents: list[str]
    last: str

    def at(self, depth: str, further: str = "0") -> PatchCursor:
        """As `tiling.Reader` says."""
        f = self.patches.f
        row, more = self.patches.turn(depth)
        within = f.emit(f"icmp slt i64 {depth}, {self.last}")
        z = f.select(within, "i32", self.at_line[0], NOWHERE)
        # Nothing is read behind the last step, but the row of the table.
        row = f.select(within, "i64", row, 0)
        place = f.offset("%table", f.emit(f"mul i64 {row}, {ROW_BYTES}"))
        return PatchCursor(self, place, f.offset(self.start, more), [z, *self.at_line[1:]])


@dataclass(frozen=True, slots=True)
class PatchCursor:
    """The patches of one line, from some step of the depth on."""

    reader: PatchReader
    row: str
    start: str
    at: list[str]

    def element(self, distance: int) -> tuple[str, str]:
        """As `tiling.Cursor` says."""
        patches = self.reader.patches
        f = patches.f
        row = f.offset(self.row, distance * ROW_BYTES)
        offset = f.emit(f"load i64, ptr {row}, align 16")
        place = f.offset(self.start, offset)
        exists = "true"
        for k, extent in enumerate(self.reader.extents):
            stride = patches.strides[k]
            if k and patches.inside and stride == 1:
                continue
            coordinate = f.emit(f"load i32, ptr {f.offset(row, 8 + 4 * k)}")
            where = f.emit(f"add i32 {self.at[k]}, {coordinate}")
            if stride != 1:
                whole = f.emit(f"udiv i32 {where}, {stride}")
                again = f.emit(f"mul i32 {whole}, {stride}")
                exact = f.emit(f"icmp eq i32 {again}, {where}")
                exists = self._both(exists, exact)
                where = whole
            exists = self._both(exists, f.emit(f"icmp ult i32 {where}, {extent}"))
            if patches.strides != (1, 1, 1):
                wide = f.emit(f"zext i32 {where} to i64")
                place = f.offset(place, f.emit(f"mul i64 {wide}, {patches.pitches[k]}"))
        return place, exists

    def _both(self, a: str, b: str) -> str:
        return Sizes(self.reader.patches.f).both(a, b)
