"""The table of ops on the bits of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from jitgraph.errors import DTypeError
from jitgraph.ir import batching
from jitgraph.ir.opdef import Array, ArrayLike, Attrs, OpDef, Special, emit, register
from jitgraph.ir.types import DTYPE_NAMES, Type, as_dtype
from jitgraph.ir.values import Value


def _infer(types: Sequence[Type], attrs: Attrs) -> Type:
    source, target = types[0].dtype, attrs["dtype"]
    if source.itemsize != target.itemsize or {source.kind, target.kind} & {"b", "c"}:
        names = f"{DTYPE_NAMES[source]} to {DTYPE_NAMES[target]}"
        raise DTypeError(f"cannot bitcast {names}", hint="integers and floats of one width")
    return types[0].with_dtype(target)


def _evaluate(x: Array, *, dtype: Array) -> Array:
    return x.view(dtype)


BITCAST = OpDef(
    name="bitcast",
    infer=_infer,
    evaluate=_evaluate,
    shape=lambda source, args, attrs: source.shape(args[0]),
    gradient=lambda g, y, x, *, dtype: [None],
    lower=Special(),
    batch=batching.elementwise,
    doc="The same bits read as another dtype of the same width, as `ndarray.view` does.",
)
register(BITCAST)


def bitcast(x: Value, dtype: ArrayLike) -> Value:
    """The bits of x as `dtype`; x itself if it has that dtype already. Raises DTypeError where
    the widths differ."""
    dtype = as_dtype(dtype)
    return x if x.type.dtype == dtype else emit(BITCAST, (x,), dtype=dtype)
