"""Matrix products on devices: by tiles, or by lines where one factor is a vector.

The elements are finished by the epilogue where the product has one: nobody stores and reads the
product itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.gpu.nests.points import emit_points, run_at, split_index
from jitgraph.codegen.gpu.products.arithmetic import Sizes
from jitgraph.codegen.gpu.products.copies import asynchronous
from jitgraph.codegen.gpu.products.library import emit_by_library
from jitgraph.codegen.gpu.products.lines import THREADS as LINE_THREADS
from jitgraph.codegen.gpu.products.lines import Lines, depth_of_round, is_deep, lines_of_block
from jitgraph.codegen.gpu.products.matrices import Matrix
from jitgraph.codegen.gpu.products.parts import (
    Extents,
    Part,
    Problem,
    Way,
    begin,
    emit_problem,
    tiled,
)
from jitgraph.codegen.gpu.products.tensorcores import tensor_tiles
from jitgraph.codegen.gpu.products.tiling import Factor, Tile
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.registers import store
from jitgraph.ir.kernel import Access, Kernel, Load, Product, Store, View
from jitgraph.ir.opdef import Size, apply_op
from jitgraph.ir.ops.arithmetic import multiply
from jitgraph.ir.types import I64, DType, Type
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Matrices of a batch with up to so many elements are for threads, not for blocks.
_TINY = 256


def tiles(dtype: DType) -> tuple[Tile, Tile, Tile, Tile]:
    """The large and the small tile, and those for few rows and for few columns."""
    if dtype == np.float64:
        return (Tile(dtype, 8, 4, 2, 2, 8, 3, 3), Tile(dtype, 4, 2, 2, 2, 16, 3, 4),
                Tile(dtype, 4, 4, 1, 4, 8, 3, 4), Tile(dtype, 8, 2, 4, 1, 8, 3, 4))  # fmt: skip
    return (Tile(dtype, 8, 8, 4, 2, 8, 4, 2), Tile(dtype, 4, 4, 4, 2, 16, 3, 2),
            Tile(dtype, 4, 4, 1, 4, 8, 4, 4), Tile(dtype, 8, 4, 4, 1, 8, 4, 4))  # fmt: skip


def emit_product(p: OnDevice, step: Product, name: str) -> bool:
    """Run a product and its epilogue."""
    if step.batch and _is_tiny(step):
        return emit_points(p.arguments(kernel := as_kernel(step), name), kernel)
    if emit_by_library(p, step, name):
        return True
    arguments = p.arguments(step, name)
    rows, columns, depth = (p.size(s) for s in (step.rows, step.columns, step.inner))
    problem = Problem(
        arguments, step.out.buffer.dtype, p.product_of(step.batch), rows, columns, depth,
        lambda f, extents: ProductBody(arguments, step, extents),
    )  # fmt: skip
    emit_problem(problem, _ways(problem, step))
    return True


def _is_tiny(step: Product) -> bool:
    rows, columns = step.rows, step.columns
    return isinstance(rows, int) and isinstance(columns, int) and rows * columns <= _TINY


def _ways(problem: Problem, step: Product) -> list[Way]:
    """The kernel for the product, or a large and a small one between which the sizes decide."""
    rows, columns = problem.rows, problem.columns
    if "1" in (rows, columns):
        across = rows == "1"
        depth_stride = step.right.strides[-2] if across else step.left.strides[-1]
        deep = is_deep(problem.dtype, problem.arguments.emitter.size(depth_stride))
        lines = lines_of_block(deep)
        return [Way(
            LINE_THREADS, 1 if across else lines, lines if across else 1, depth_of_round(deep),
            lambda problem, several: _emit_lines(problem, step, across, several),
        )]  # fmt: skip
    device = problem.arguments.emitter.device
    return [tiled(tile) for tile in fitting(device, problem.dtype, rows, columns)]


def fitting(
    device: DeviceModule, dtype: DType, rows: str, columns: str
) -> Sequence[Tile]:
    """The tiles among which those sizes decide that are not known."""
    large, small, flat, tall = tiles(dtype)
    if rows.isdigit() and int(rows) <= flat.rows:
        return [flat]
    if columns.isdigit() and int(columns) <= tall.columns:
        return [tall]
    if asynchronous(device.target):
        if dtype == np.float64:
            return tensor_tiles("f64")
        if device.precision != "exact":
            return tensor_tiles(device.precision)
    return [large, small]


class ProductBody:
    """A product of matrices, in the kernel begun last."""

    def __init__(self, arguments: Arguments, step: Product, extents: Extents) -> None:
        self.f, self.step, self.extents = arguments.kernel, step, extents
        context = arguments.context(step)
        self.sizes = Nest(context, Kernel((), (), (), (), ()))
        self.nest: Nest | None = None
        strides = step.out.strides[-2:]
        if step.epilogue is not None:
            kernel, self.product = without(step.epilogue.kernel, step.out)
            self.nest = Nest(context, kernel, 2)
            strides = kernel.stores[0].access.strides
            strides = strides[::-1] if step.epilogue.turned else strides
        item = step.out.buffer.dtype.itemsize
        self.by_rows = strides[-1] == item or strides[-2] != item

    def place(self, number: str) -> Sequence[str]:
        """As `parts.Body` says."""
        return split_index(self.f, number, [self.sizes.size(e) for e in self.step.batch])

    def factors(self, tile: Tile, place: Sequence[str], row: str, column: str) -> list[Factor]:
        """As `parts.Body` says."""
        step, size, f = self.step, self.sizes.size, self.f
        left, right = step.left.strides, step.right.strides
        return [
            Matrix(f, tile.dtype, self.start(step.left, place), size(left[-2]), size(left[-1]),
                   row, self.extents.rows),
            Matrix(f, tile.dtype, self.start(step.right, place), size(right[-1]), size(right[-2]),
                   column, self.extents.columns),
        ]  # fmt: skip

    def finish(self, place: Sequence[str], row: str, column: str, value: str) -> None:
        """As `parts.Body` says: store it, or what the epilogue makes of it."""
        step, along = self.step, self.sizes.along
        if self.nest is None:
            pointer = along(self.start(step.out, place), step.out.strides[-2], row)
            pointer = along(pointer, step.out.strides[-1], column)
            store(self.f, value, pointer, step.out.buffer.dtype)
            return
        assert step.epilogue is not None
        for leaf in self.product:
            self.nest.registers[leaf] = value
        run_at(self.nest, [column, row] if step.epilogue.turned else [row, column])

    def start(self, view: View, place: Sequence[str]) -> str:
        """Where a matrix of a batch begins."""
        pointer = self.sizes.pointer(view.buffer, view.offset)
        for index, stride in zip(place, view.strides[:-2], strict=True):
            pointer = self.sizes.along(pointer, stride, index)
        return pointer


def without(kernel: Kernel, out: View) -> tuple[Kernel, list[Value]]:
    """An epilogue that does not load the product but is given it, and as what."""
    leaves = [x.leaf for x in kernel.loads if x.access.buffer is out.buffer]
    loads = tuple(x for x in kernel.loads if x.leaf not in leaves)
    return replace(kernel, loads=loads, captured=(*kernel.captured, *leaves)), leaves


def _emit_lines(
    problem: Problem, step: Product, across: bool, several: bool
) -> FunctionBuilder:
    """The kernel of a matrix and a vector, which is the left factor if `across`."""
    f = begin(problem, LINE_THREADS)
    s, part = Sizes(f), Part(problem, f, several)
    body = part.body
    assert isinstance(body, ProductBody)
    matrix, vector = (step.right, step.left) if across else (step.left, step.right)
    turn = -1 if across else 1
    line_stride, depth_stride = (body.sizes.size(x) for x in matrix.strides[-2:][::turn])
    deep = is_deep(problem.dtype, depth_stride)
    count = part.extents.columns if across else part.extents.rows
    part.begin(s.parts(count, lines_of_block(deep)))
    lines = Lines(
        f, problem.dtype, body.start(matrix, part.place), line_stride, depth_stride,
        body.start(vector, part.place), body.sizes.size(vector.strides[-2:][::turn][0]),
    )  # fmt: skip
    line, begun = lines.place()
    line = s.plus(s.times(part.block, lines_of_block(deep)), line)
    # All threads take part in adding up.
    value = lines.sum(s.least(line, s.less(count, "1")), begun, part.first, part.last)
    exists = f.emit(f"icmp slt i64 {line}, {count}")
    with f.if_then(f.emit(f"and i1 {lines.finishes()}, {exists}")):
        part.finish(*(("0", line) if across else (line, "0")), value)
    f.do("ret void")
    return f


def as_kernel(step: Product) -> Kernel:
    """A product as a loop nest: a sum over the innermost of its loops."""
    extents = (*step.batch, step.rows, step.columns, step.inner)
    batch = len(step.batch)
    dtype = step.out.buffer.dtype
    left, right = Value(Type(dtype), name="a"), Value(Type(dtype), name="b")

    def access(view: View, row: int, column: int) -> Access:
        strides: list[Size] = [*view.strides[:batch], 0, 0, 0]
        strides[batch + row] = view.strides[-2]
        strides[batch + column] = view.strides[-1]
        return Access(view.buffer, view.offset, tuple(strides))

    inner = len(extents) - 1
    value = apply_op(multiply, (left, right), {}, step.location)
    return Kernel(
        extents,
        tuple(Value(Type(I64), name=f"i{k}") for k in range(len(extents))),
        (Load(left, access(step.left, 0, 2)), Load(right, access(step.right, 2, 1))),
        (),
        (Store(value, access(step.out, 0, 1), "add", frozenset({inner}), in_register=True),),
        locations=() if step.location is None else (step.location,),
    )
