"""Python integers that are not known yet, beside arrays of integers: NumPy takes those that fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgraph.errors import DTypeError, RangeError
from jitgraph.ir import batching
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Array, Attrs, OpDef, ShapeSource, register
from jitgraph.ir.ops.arithmetic import greater_equal, less_equal
from jitgraph.ir.ops.reduction import all_
from jitgraph.ir.types import DTYPE_NAMES, I64, DType, Type
from jitgraph.ir.values import Value


def _infer(types: Sequence[Type], attrs: Attrs) -> Type:
    (x,), dtype = types, attrs["dtype"]
    if x.dtype != I64 or dtype.kind not in "iu":
        raise DTypeError(f"cannot narrow {x} to {DTYPE_NAMES[dtype]}")
    return x.with_dtype(dtype)


def _evaluate(x: Array, *, dtype: DType) -> Array:
    limits = np.iinfo(dtype)
    wrong = x[(x < limits.min) | (x > limits.max)] if x.ndim else (
        [x] if not limits.min <= int(x) <= limits.max else []
    )
    for number in wrong:
        raise RangeError(f"Python integer {number} out of bounds for {dtype}")
    return np.asarray(x, dtype)


def _fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    (x,), limits = args, np.iinfo(attrs["dtype"])
    inside = greater_equal(x, limits.min)
    if limits.max < np.iinfo(I64).max:
        inside = inside & less_equal(x, limits.max)
    return [all_(inside) if inside.ndim else inside]


NARROW = OpDef(
    name="narrow",
    infer=_infer,
    evaluate=_evaluate,
    shape=lambda source, args, attrs: source.shape(args[0]),
    gradient=lambda g, y, x, *, dtype: [None],
    requires=_fits,
    decompose=lambda x, *, dtype: cast(x, dtype),
    batch=batching.elementwise,
    doc="An integer in another dtype of integers, which must hold it.",
)
register(NARROW)
