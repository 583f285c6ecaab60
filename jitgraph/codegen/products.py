"""Matrix products of a program: calls of the routines of `codegen.matmul`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.ir.kernel import Buffer, Product, View
from jitgraph.ir.opdef import Size


def emit_product(
    f: FunctionBuilder,
    step: Product,
    size: Callable[[Size], str],
    pointer: Callable[[Buffer], str],
    epilogue: str = "ptr null, ptr null",
) -> None:
    """Call the product of the step's dtype; `size` and `pointer` give registers. The `epilogue` is
    a function and its context.

    The innermost batch axis is the routine's own, loops go over the others.
    """
    views = (step.left, step.right, step.out)
    starts = [_start(f, view, size, pointer) for view in views]
    # Sizes must be in registers before the loops: what a loop body computes ends with it.
    strides = [[size(stride) for stride in view.strides] for view in views]
    extents = [size(extent) for extent in step.batch]
    sizes = ", ".join(f"i64 {size(s)}" for s in (step.rows, step.columns, step.inner))
    steps = [stride[-3] if extents else "0" for stride in strides]
    batch = ", ".join(f"i64 {s}" for s in (extents[-1] if extents else "1", *steps))
    name = _routine(step)
    f.module.use(name, name, f"declare void @{name}({', '.join(_SIGNATURE)})")

    def loops(axis: int, pointers: list[str]) -> None:
        if axis + 1 >= len(extents):
            operands = ", ".join(
                f"ptr {p}, i64 {stride[-2]}, i64 {stride[-1]}"
                for p, stride in zip(pointers, strides, strict=True)
            )
            f.do(f"call void @{name}({sizes}, {operands}, {batch}, {epilogue})")
            return
        with f.loop(0, extents[axis], name="batch") as loop:
            moved = [
                f.offset(p, f.emit(f"mul i64 {loop}, {stride[axis]}"))
                for p, stride in zip(pointers, strides, strict=True)
            ]
            loops(axis + 1, moved)

    loops(0, starts)


_SIGNATURE = ["i64"] * 3 + ["ptr", "i64", "i64"] * 3 + ["i64"] * 4 + ["ptr"] * 2


def _routine(step: Product) -> str:
    return "matmul_f64" if step.out.buffer.dtype == np.float64 else "matmul_f32"


def _start(
    f: FunctionBuilder,
    view: View,
    size: Callable[[Size], str],
    pointer: Callable[[Buffer], str],
) -> str:
    start, offset = pointer(view.buffer), size(view.offset)
    return start if offset == "0" else f.offset(start, offset)
