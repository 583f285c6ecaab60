"""Sorting rows along the last axis, by NumPy's own routines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from jitgraph.errors import ShapeError
from jitgraph.ir.batching import along_rows
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    OpDef,
    Routine,
    Shape,
    ShapeSource,
    emit,
    in_single,
    register,
)
from jitgraph.ir.ops.indexing import SCATTER_ADD, zeros_like
from jitgraph.ir.ops.movement import dims, expand_dims, iota
from jitgraph.ir.types import F32, I64, Type, is_bfloat16
from jitgraph.ir.values import Value


def rows_at(indices: Value) -> list[Value]:
    """Index arrays for reading or writing at `indices` along the last axis, row by row."""
    lead = indices.ndim - 1
    rows = [
        expand_dims(iota(size, type(indices)), [a for a in range(indices.ndim) if a != axis])
        for axis, size in enumerate(dims(indices)[:lead])
    ]
    return [*rows, indices]


def _infer_sort(types: Sequence[Type], attrs: Attrs) -> Type:
    (x,) = types
    if not x.rank:
        raise ShapeError(f"cannot sort a scalar: {x}")
    return x


def _same_shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    return source.shape(args[0])


def _sort_gradient(g: Value, y: Value, x: Value) -> list[Value]:
    return [emit(SCATTER_ADD, (zeros_like(x), g, *rows_at(argsort(x, stable=True))))]


def _decompose_sort(x: Value) -> Value:
    """bfloat16, which NumPy sorts wrongly where there are NaNs => the same numbers in float32."""
    if not is_bfloat16(x.dtype):
        return emit(SORT, (x,))
    return cast(emit(SORT, (cast(x, F32),)), x.dtype)  # type: ignore[no-any-return]


SORT = OpDef(
    name="sort",
    infer=_infer_sort,
    evaluate=in_single(lambda x: np.sort(x, axis=-1)),
    shape=_same_shape,
    gradient=_sort_gradient,
    decompose=_decompose_sort,
    batch=along_rows,
    lower=Routine("numpy.sort", ("sort",), ("n",), ("n",), in_place=True),
    doc="The elements of each row (along the last axis) in order, NaNs last.",
)
register(SORT)


def _infer_argsort(types: Sequence[Type], attrs: Attrs) -> Type:
    return _infer_sort(types, attrs).with_dtype(I64)


def _argsort(name: str, kind: Literal["quicksort", "stable"], symbol: str, doc: str) -> OpDef:
    def evaluate(x: Array) -> Array:
        return np.argsort(x, axis=-1, kind=kind)

    def decompose(x: Value) -> Value:
        return emit(definition, (cast(x, F32) if is_bfloat16(x.dtype) else x,))

    definition = OpDef(
        name=name,
        infer=_infer_argsort,
        decompose=decompose,
        evaluate=in_single(evaluate),
        shape=_same_shape,
        batch=along_rows,
        lower=Routine("numpy.sort", (symbol,), ("n",), ("n",), dense=True),
        doc=doc,
    )
    register(definition)
    return definition


ARGSORT = _argsort(
    "argsort", "quicksort", "argsort",
    "Where the elements of each sorted row come from; equal ones in any order.",
)  # fmt: skip
ARGSORT_STABLE = _argsort(
    "argsort_stable", "stable", "argsort.stable",
    "Where the elements of each sorted row come from; equal ones in the order they had.",
)  # fmt: skip


def sort(x: Value) -> Value:
    """x with each row (along the last axis) sorted."""
    return emit(SORT, (x,))


def argsort(x: Value, *, stable: bool = False) -> Value:
    """The permutation that sorts each row."""
    return emit(ARGSORT_STABLE if stable else ARGSORT, (x,))
