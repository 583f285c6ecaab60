"""Matrix products on devices."""

from __future__ import annotations

from jitgraph.ir.kernel import Access, Kernel, Load, Product, Store, View
from jitgraph.ir.opdef import Size, apply_op
from jitgraph.ir.ops.arithmetic import multiply
from jitgraph.ir.types import I64, Type
from jitgraph.ir.values import Value


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
