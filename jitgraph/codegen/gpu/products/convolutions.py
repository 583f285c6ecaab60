"""Convolutions and their adjoints on devices: products one of whose factors is never there as a
whole (`patches`).

    conv              filters * patches                   columns: images and their spots
    conv_by_input     turned filters * patches of the     columns: images and their elements
                      adjoint of the outputs
    conv_by_filters   adjoint of the outputs * patches    depth: images and their spots

The groups are a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.points import split_index
from jitgraph.codegen.gpu.products.arithmetic import Sizes
from jitgraph.codegen.gpu.products.geometry import Geometry, Triple
from jitgraph.codegen.gpu.products.matrices import Matrix, MatrixCursor, Progress
from jitgraph.codegen.gpu.products.parts import Extents, Problem, emit_problem, remainder, tiled
from jitgraph.codegen.gpu.products.patches import (
    ROW_BYTES,
    SPARE,
    Patches,
    Row,
    Spot,
    emit_table,
    other_offset,
)
from jitgraph.codegen.gpu.products.product import fitting
from jitgraph.codegen.gpu.products.tiling import Cursor, Factor, Reader, Tile, Vectors
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.registers import store
from jitgraph.ir.kernel import Access, Buffer, Call, Kernel, Load, Source, View
from jitgraph.ir.opdef import Size, same_size

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Spots of an image are numbered as if there were a multiple of so many, which is one of the depth
#: of each tile: a piece of a tile is of one image.
_SPOTS = 16


def emit_convolution(p: OnDevice, step: Call, name: str) -> None:
    """Run a convolution or an adjoint, and the row nest that follows."""
    item = step.epilogue
    if item is None:
        _emit_alone(p, step, name)
        return
    rows = item.rows
    if item.image is not None:
        out = step.outputs[0].buffer
        size = p.product_of((*out.extents, out.dtype.itemsize))
        p.pointers[p.memory.key(out)] = p.malloc(size, p.scratch_cell())
        rows = replace(rows, kernels=tuple(_of_all(k, item.image, out) for k in rows.kernels))
    _emit_alone(p, replace(step, epilogue=None), name)
    alone = len(rows.kernels) == 1 and not rows.locals
    p.work_named(rows.kernels[0] if alone else rows, p.device.fresh(f"{name}.images"))


def _of_all(kernel: Kernel, image: Buffer, out: Buffer) -> Kernel:
    """A kernel that reads one image after the other, from all of them."""
    def stride_of(axis: int) -> Size:
        stride: Size = out.dtype.itemsize
        for extent in out.extents[axis + 1 :]:
            stride = extent * stride
        return stride

    def loaded(item: Load) -> Load:
        access = item.access
        strides = (stride_of(0), *access.strides[1:])
        return replace(item, access=Access(out, access.offset, strides))

    def whole(source: Source) -> Source:
        strides = list(source.view.strides)
        outer = [k for k, e in enumerate(out.extents) if not same_size(e, 1)]
        for axis in outer[:1]:
            strides[axis] = stride_of(axis)
        return replace(source, view=View(out, source.view.offset, tuple(strides)))

    return replace(
        kernel,
        loads=tuple(loaded(x) if x.access.buffer is image else x for x in kernel.loads),
        sources=tuple(whole(x) if x.view.buffer is image else x for x in kernel.sources),
    )


def _emit_alone(p: OnDevice, step: Call, name: str) -> None:
    arguments = p.arguments(step, name)
    dtype = step.outputs[0].buffer.dtype
    s, geometry = Sizes(p.f), Geometry.of(p.f, step, p.size)
    kind = _BODIES[step.routine.symbols[0]]
    rows, columns, depth = kind.extents(s, geometry)
    steps = kind.steps(s, geometry)
    table = p.malloc(s.times(s.plus(steps, SPARE), ROW_BYTES), p.scratch_cell())
    f = arguments.begin(more=["ptr %table"])
    kind(arguments, step).emit_table(f)
    f.do("ret void")
    blocks = s.least(s.parts(s.plus(steps, SPARE), gpu.THREADS), arguments.most_blocks(1))
    arguments.launch(f, blocks, gpu.THREADS, [f"ptr {table}"])
    problem = Problem(
        arguments, dtype, s.times(p.product_of(step.batch), geometry.groups), rows, columns, depth,
        lambda f, extents: kind(arguments, step, extents), {"ptr %table": f"ptr {table}"},
    )  # fmt: skip
    emit_problem(problem, [tiled(tile) for tile in fitting(p.device, dtype, rows, columns)])


class _Body(ABC):
    """What the three have in common, in the kernel begun last."""

    by_rows = True

    def __init__(self, arguments: Arguments, step: Call, size: Extents | None = None) -> None:
        self.f, self.step, self.s = arguments.kernel, step, Sizes(arguments.kernel)
        self.nest = Nest(arguments.context(step), Kernel((), (), (), (), ()))
        self.geometry = Geometry.of(self.f, step, self.nest.size)
        self.item = step.outputs[0].buffer.dtype.itemsize
        #: None where the kernel fills the table.
        self.size = size

    @staticmethod
    @abstractmethod
    def extents(s: Sizes, g: Geometry) -> tuple[str, str, str]:
        """Rows, columns and depth of the product."""

    @staticmethod
    @abstractmethod
    def steps(s: Sizes, g: Geometry) -> str:
        """How many rows the table has."""

    # --- where things are -----------------------------------------------------------------------
    def place(self, number: str) -> Sequence[str]:
        """As `parts.Body` says: in the batch, and then which group it is."""
        number, group = remainder(self.f, number, str(self.geometry.groups))
        lead = split_index(self.f, number, [self.nest.size(e) for e in self.step.batch])
        return [*lead, group]

    def start(self, view: View, place: Sequence[str]) -> str:
        """Where an array of the batch begins."""
        pointer = self.nest.pointer(view.buffer, view.offset)
        for index, stride in zip(place, view.strides, strict=False):
            if index is not place[-1]:
                pointer = self.nest.along(pointer, stride, index)
        return pointer

    def behind(self, pointer: str, elements: str) -> str:
        return self.f.offset(pointer, self.s.times(elements, self.item))

    def flat(self, at: Sequence[str], extents: Sequence[str]) -> str:
        """The number of an element in C order."""
        number = at[0]
        for index, extent in zip(at[1:], extents[1:], strict=True):
            number = self.s.plus(self.s.times(number, extent), index)
        return number

    def tap(self, at: Sequence[str]) -> Triple:
        """How far a tap is from the first one."""
        z, y, x = (self.s.times(k, d)
                   for k, d in zip(at, self.geometry.dilation, strict=True))  # fmt: skip
        return z, y, x

    def corner(self, at: Sequence[str]) -> Triple:
        """Where the first tap meets the image from a spot."""
        g = self.geometry
        z, y, x = (self.s.less(self.s.times(r, stride), before)
                   for r, stride, before in zip(at, g.strides, g.before, strict=True))  # fmt: skip
        return z, y, x

    def patches(
        self, column: str, spot: Callable[[str], Spot], turn: Callable[[str], tuple[str, str]]
    ) -> Patches:
        """Patches of the images."""
        assert self.size is not None
        g = self.geometry
        return Patches(self.f, column, self.size.columns, g.spatial, (1, 1, 1), ("0", "0", "0"),
                       not g.padded, spot, turn)  # fmt: skip

    def store_image(
        self, place: Sequence[str], channels: str, extent: str, row: str, column: str, value: str
    ) -> None:
        """Store an element of one of the images [n, groups * channels, extent]."""
        image, at = remainder(self.f, column, extent)
        channel = self.flat([image, place[-1], row], ["", str(self.geometry.groups), channels])
        start = self.start(self.step.outputs[0], place)
        pointer = self.behind(start, self.flat([channel, at], ["", extent]))
        store(self.f, value, pointer, self.step.outputs[0].buffer.dtype)


class _Forward(_Body):
    """The convolution."""

    @staticmethod
    def extents(s: Sizes, g: Geometry) -> tuple[str, str, str]:
        return g.filters, s.times(g.images, *g.spots), s.times(g.channels, *g.taps)

    @staticmethod
    def steps(s: Sizes, g: Geometry) -> str:
        return s.times(g.channels, *g.taps)

    def emit_table(self, f: FunctionBuilder) -> None:
        """A row for each element of a filter."""
        g, s = self.geometry, self.s

        def row(at: list[str]) -> Row:
            tap = self.tap(at[1:])
            offset = self.flat([at[0], *tap], ["", *g.spatial])
            return Row(s.times(offset, self.item), tap, "0")

        emit_table(f, self.steps(s, g), [g.channels, *g.taps], row)

    def factors(self, tile: Tile, place: Sequence[str], row: str, column: str) -> list[Factor]:
        """As `parts.Body` says."""
        g, s, size = self.geometry, self.s, self.size
        assert size is not None
        images, filters = (self.start(view, place) for view in self.step.inputs)
        each = s.times(g.channels, *g.taps)
        filters = self.behind(filters, s.times(place[-1], g.filters, each))

        def spot(line: str) -> Spot:
            image, at = remainder(self.f, line, s.times(*g.spots))
            corner = self.corner(split_index(self.f, at, list(g.spots)))
            channel = s.times(self.flat([image, place[-1]], ["", str(g.groups)]), g.channels)
            start = self.behind(images, self.flat([channel, *corner], ["", *g.spatial]))
            return Spot(start, corner)

        return [
            Matrix(self.f, tile.dtype, filters, s.times(each, self.item), str(self.item), row,
                   size.rows),
            self.patches(column, spot, lambda depth: (depth, "0")),
        ]  # fmt: skip

    def finish(self, place: Sequence[str], row: str, column: str, value: str) -> None:
        """As `parts.Body` says."""
        g = self.geometry
        self.store_image(place, g.filters, self.s.times(*g.spots), row, column, value)


class _ByInput(_Body):
    """The adjoint by the images: a tap and an element of the image meet one spot, or none."""

    @staticmethod
    def extents(s: Sizes, g: Geometry) -> tuple[str, str, str]:
        return g.channels, s.times(g.images, *g.spatial), s.times(g.filters, *g.taps)

    @staticmethod
    def steps(s: Sizes, g: Geometry) -> str:
        return s.times(g.filters, *g.taps)

    def emit_table(self, f: FunctionBuilder) -> None:
        """A row for each tap of each filter; the other offset is that of its first channel."""
        g, s = self.geometry, self.s
        plain = g.strides == (1, 1, 1)

        def row(at: list[str]) -> Row:
            z, y, x = (s.less("0", k) for k in self.tap(at[1:]))
            near = [z, y, x] if plain else ["0", "0", "0"]
            offset = self.flat([at[0], *near], ["", *g.spots])
            channels = s.times(at[0], g.channels)
            other = self.flat([channels, *at[1:]], ["", *g.taps])
            return Row(s.times(offset, self.item), (z, y, x), s.times(other, self.item))

        emit_table(f, self.steps(s, g), [g.filters, *g.taps], row)

    def factors(self, tile: Tile, place: Sequence[str], row: str, column: str) -> list[Factor]:
        """As `parts.Body` says."""
        g, s, size = self.geometry, self.s, self.size
        assert size is not None
        adjoint, filters = (self.start(view, place) for view in self.step.inputs)
        taps, plain = s.times(*g.taps), g.strides == (1, 1, 1)
        filters = self.behind(filters, s.times(place[-1], g.filters, g.channels, taps))

        def spot(line: str) -> Spot:
            image, at = remainder(self.f, line, s.times(*g.spatial))
            z, y, x = (s.plus(k, before) for k, before in
                       zip(split_index(self.f, at, list(g.spatial)), g.before, strict=True))
            channel = s.times(self.flat([image, place[-1]], ["", str(g.groups)]), g.filters)
            near = [z, y, x] if plain else ["0", "0", "0"]
            start = self.behind(adjoint, self.flat([channel, *near], ["", *g.spots]))
            return Spot(start, (z, y, x))

        width = s.times(g.spots[2], self.item)
        pitches = (s.times(g.spots[1], width), width, str(self.item))
        patches = Patches(self.f, column, size.columns, g.spots, g.strides, pitches, False, spot,
                          lambda depth: (depth, "0"))  # fmt: skip
        return [_Turned(self, filters, row, size.rows, s.times(taps, self.item)), patches]

    def finish(self, place: Sequence[str], row: str, column: str, value: str) -> None:
        """As `parts.Body` says."""
        g = self.geometry
        self.store_image(place, g.channels, self.s.times(*g.spatial), row, column, value)


class _ByFilters(_Body):
    """The adjoint by the filters."""

    @staticmethod
    def extents(s: Sizes, g: Geometry) -> tuple[str, str, str]:
        depth = s.times(g.images, s.times(s.parts(s.times(*g.spots), _SPOTS), _SPOTS))
        return g.filters, s.times(g.channels, *g.taps), depth

    @staticmethod
    def steps(s: Sizes, g: Geometry) -> str:
        return s.times(*g.spots)

    def emit_table(self, f: FunctionBuilder) -> None:
        """A row for each spot."""
        g, s = self.geometry, self.s

        def row(at: list[str]) -> Row:
            corner = self.corner(at)
            return Row(s.times(self.flat(corner, g.spatial), self.item), corner, "0")

        emit_table(f, self.steps(s, g), list(g.spots), row)

    def factors(self, tile: Tile, place: Sequence[str], row: str, column: str) -> list[Factor]:
        """As `parts.Body` says."""
        g, s, size = self.geometry, self.s, self.size
        assert size is not None
        images, adjoint = (self.start(view, place) for view in self.step.inputs)
        volume = s.times(g.channels, *g.spatial)
        images = self.behind(images, s.times(place[-1], volume))
        adjoint = self.behind(adjoint, s.times(place[-1], g.filters, *g.spots))

        def spot(line: str) -> Spot:
            channel, at = remainder(self.f, line, s.times(*g.taps))
            tap = self.tap(split_index(self.f, at, list(g.taps)))
            return Spot(self.behind(images, self.flat([channel, *tap], ["", *g.spatial])), tap)

        def turn(depth: str) -> tuple[str, str]:
            image, at = self.image_at(depth)
            return at, s.times(image, g.groups, volume, self.item)

        return [_Outputs(self, adjoint, row, size.rows), self.patches(column, spot, turn)]

    def image_at(self, depth: str) -> tuple[str, str]:
        """The image of a step of the depth, and the spot, if there is one."""
        spots = self.s.times(*self.geometry.spots)
        each = self.s.times(self.s.parts(spots, _SPOTS), _SPOTS)
        return remainder(self.f, depth, each)

    def finish(self, place: Sequence[str], row: str, column: str, value: str) -> None:
        """As `parts.Body` says."""
        g = self.geometry
        number = self.flat([place[-1], row, column],
                           ["", g.filters, self.s.times(g.channels, *g.taps)])  # fmt: skip
        start = self.start(self.step.outputs[0], place)
        dtype = self.step.outputs[0].buffer.dtype
        store(self.f, value, self.behind(start, number), dtype)


_BODIES: dict[str, type[_Forward | _ByInput | _ByFilters]] = {
    "conv": _Forward,
    "conv_by_input": _ByInput,
    "conv_by_filters": _ByFilters,
}


# --- factors in order ----------------------------------------------------------------------------
class _Deep:
    """What they have in common."""

    def vectors(self, line: str, last: str, lanes: int) -> Vectors:
        """As `tiling.Factor` says."""
        raise AssertionError("these are not aligned")


@dataclass(frozen=True, slots=True)
class _Turned(_Deep):
    """Filters whose lines are the channels: a step is a tap of a filter."""

    body: _ByInput
    start: str
    first: str
    lines: str
    stride: str
    deep: bool = True
    aligned: str | None = None

    def reader(self, line: str, last: str) -> Reader:
        """As `tiling.Factor` says."""
        s = self.body.s
        line = s.plus(self.first, line)
        start = self.body.f.offset(self.start, s.times(line, self.stride))
        return _Lines(self.body.f, start, s.less(self.lines, line), self.stride, last,
                      lambda depth: (other_offset(self.body.f, depth), "true"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Outputs(_Deep):
    """Outputs whose lines are those of the filters: a step is a spot of an image."""

    body: _ByFilters
    start: str
    first: str
    lines: str
    deep: bool = True
    aligned: str | None = None

    def reader(self, line: str, last: str) -> Reader:
        """As `tiling.Factor` says."""
        body, s, g = self.body, self.body.s, self.body.geometry
        line = s.plus(self.first, line)
        spots = s.times(*g.spots)
        stride = s.times(spots, body.item)

        def turn(depth: str) -> tuple[str, str]:
            image, at = body.image_at(depth)
            offset = s.plus(s.times(image, g.groups, g.filters, spots), at)
            return s.times(offset, body.item), body.f.emit(f"icmp slt i64 {at}, {spots}")

        start = body.f.offset(self.start, s.times(line, stride))
        return _Lines(body.f, start, s.less(self.lines, line), stride, last, turn)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines from some one on, of which there are `rest`; `turn` tells for a step of the depth an
    offset, and whether (an i1) there is something."""

    f: FunctionBuilder
    start: str
    rest: str
    stride: str
    last: str
    turn: Callable[[str], tuple[str, str]]

    def at(self, depth: str, further: str = "0") -> Cursor:
        """As `tiling.Reader` says."""
        f, s = self.f, Sizes(self.f)
        within = f.emit(f"icmp slt i64 {depth}, {self.last}")
        offset, there = self.turn(f.select(within, "i64", depth, 0))
        rest = f.select(s.both(within, there), "i64", s.less(self.rest, further), 0)
        start = f.offset(self.start, offset)
        if further != "0":
            start = f.offset(start, s.times(self.stride, further))
        return MatrixCursor(f, Progress(f, start, self.stride), rest)
