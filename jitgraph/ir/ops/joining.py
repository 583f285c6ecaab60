"""Joining arrays along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgraph.errors import ShapeError
from jitgraph.ir import batching
from jitgraph.ir.opdef import Array, Attrs, OpDef, Shape, ShapeSource, Size, emit, register
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.ops.movement import dim
from jitgraph.ir.types import Dim, Type
from jitgraph.ir.values import Value


def _infer_concatenate(types: Sequence[Type], attrs: Attrs) -> Type:
    axis, first = attrs["axis"], types[0]
    joined: Dim = 0
    for t in types:
        if t.dtype != first.dtype or t.rank != first.rank:
            raise ShapeError(f"cannot concatenate {first} and {t}: dtypes and ranks must agree")
        length = t.shape[axis]
        joined = joined + length if isinstance(joined, int) and isinstance(length, int) else None
    others: list[Dim] = []
    for i in range(first.rank):
        known = {d for d in (t.shape[i] for t in types) if isinstance(d, int)}
        if i != axis and len(known) > 1:
            raise ShapeError(
                f"cannot concatenate {' and '.join(map(str, types))} along axis {axis} "
                f"(dimension {i}: {' is not '.join(map(str, sorted(known)))})"
            )
        others.append(known.pop() if known else first.shape[i])
    others[axis] = joined
    return first.with_shape(others)


def _evaluate_concatenate(*arrays: Array, axis: int) -> Array:
    try:
        return np.concatenate(arrays, axis=axis)
    except ValueError:
        shapes = " and ".join(str(a.shape) for a in arrays)
        raise ShapeError(f"cannot concatenate shapes {shapes} along axis {axis}") from None


def _joined(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    axis = attrs["axis"]
    shapes = [source.shape(a) for a in args]
    result = list(shapes[0])
    for shape in shapes[1:]:
        for i, size in enumerate(shape):
            result[i] = result[i] + size if i == axis else source.same_size(result[i], size)
    return tuple(result)


def _concatenate_gradient(g: Value, y: Value, *args: Value, axis: int) -> list[Value | None]:
    pieces: list[Value | None] = []
    start: Size = 0
    for arg in args:
        length = dim(arg, axis)
        pieces.append(slice_axis(g, axis, start, length))
        start = start + length
    return pieces


CONCATENATE = OpDef(
    name="concatenate",
    infer=_infer_concatenate,
    evaluate=_evaluate_concatenate,
    shape=_joined,
    gradient=_concatenate_gradient,
    batch=batching.along_axis,
    doc="Arrays joined along an axis.",
)
register(CONCATENATE)


def concatenate(arrays: Sequence[Value], axis: int) -> Value:
    """Arrays of one dtype and rank joined along an axis counted from the front."""
    return arrays[0] if len(arrays) == 1 else emit(CONCATENATE, arrays, axis=axis)
