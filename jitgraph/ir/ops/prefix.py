"""Running totals along an axis. Inside the IR they keep the dtype."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir import batching
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Array, Attrs, OpDef, Shape, ShapeSource, emit, register
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value


def _infer(types: Sequence[Type], attrs: Attrs) -> Type:
    (x,) = types
    if x.dtype.kind not in "iufc":
        raise DTypeError(f"prefix_sum does not take {x}")
    if not 0 <= attrs["axis"] < x.rank:
        raise ShapeError(f"prefix_sum: axis {attrs['axis']} does not fit {x}")
    return x


def _evaluate(x: Array, *, axis: int, reverse: bool) -> Array:
    turned = np.flip(x, axis) if reverse else x
    with np.errstate(all="ignore"):
        total = np.cumsum(turned, axis=axis, dtype=x.dtype)
    return np.ascontiguousarray(np.flip(total, axis)) if reverse else total


def _shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    return source.shape(args[0])


def _gradient(g: Value, y: Value, x: Value, *, axis: int, reverse: bool) -> list[Value]:
    return [prefix_sum(g, axis, reverse=not reverse)]


def _decompose(x: Value, *, axis: int, reverse: bool) -> Value:
    """Halves are added in single precision and rounded once each."""
    if x.dtype != np.float16:
        return prefix_sum(x, axis, reverse=reverse)
    wide = prefix_sum(cast(x, np.float32), axis, reverse=reverse)
    return cast(wide, np.float16)  # type: ignore[no-any-return]


PREFIX_SUM = OpDef(
    name="prefix_sum",
    infer=_infer,
    evaluate=_evaluate,
    shape=_shape,
    gradient=_gradient,
    decompose=_decompose,
    batch=batching.along_axis,
    doc="The sum of all elements up to each along an axis; with `reverse`, from each on.",
)
register(PREFIX_SUM)


def prefix_sum(x: Value, axis: int, *, reverse: bool = False) -> Value:
    """Sums of the first 1, 2, 3, ... elements along an axis."""
    return emit(PREFIX_SUM, (x,), axis=axis, reverse=reverse)
