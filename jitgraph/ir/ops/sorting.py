"""Sorting rows along the last axis, by NumPy's own routines; places in order without sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.batching import Batch, along_rows
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
from jitgraph.ir.ops.arithmetic import bitwise_xor, equal, isnan, less, where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.ops.indexing import SCATTER_ADD, zeros_like
from jitgraph.ir.ops.movement import dims, expand_dims, iota, reshape
from jitgraph.ir.types import DTYPE_NAMES, F32, F64, I64, U64, Dim, Type, is_bfloat16, kind_of
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


# --- keys: numbers in the order of sorting --------------------------------------------------------
def sort_keys(x: Value) -> Value:
    """i64 numbers in the order of x's elements: NaNs are equal and last, zeros of both signs
    equal. The ops below work on such keys."""
    kind = kind_of(x.dtype)
    if kind == "c":
        raise DTypeError(f"the order of {x.type} is not that of numbers")
    if x.dtype == U64:
        return bitcast(bitwise_xor(x, np.uint64(1 << 63)), I64)
    if kind in "biu":
        return cast(x, I64)  # type: ignore[no-any-return]
    wide = cast(x, F64)
    bits = bitcast(wide, I64)
    ordered = where(less(bits, 0), bitwise_xor(bits, np.int64((1 << 63) - 1)), bits)
    ordered = where(equal(wide, 0), np.int64(0), ordered)
    return where(isnan(wide), np.int64((1 << 63) - 1), ordered)  # type: ignore[no-any-return]


def _check_keys(name: str, types: Sequence[Type]) -> None:
    for type_ in types:
        if type_.dtype != I64:
            raise DTypeError(f"{name} takes keys ({DTYPE_NAMES[I64]}), not {type_}")


def _infer_search(types: Sequence[Type], attrs: Attrs) -> Type:
    known, wanted = types
    _check_keys("search", types)
    if not known.rank or known.rank != wanted.rank:
        raise ShapeError(f"cannot search {wanted} in the rows of {known}")
    return wanted.with_shape((*_leads(known, wanted), wanted.shape[-1]))


def _leads(a: Type, b: Type) -> list[Dim]:
    """The extents of the rows of both, but for their own."""
    for x, y in zip(a.shape[:-1], b.shape[:-1], strict=True):
        if isinstance(x, int) and isinstance(y, int) and x != y:
            raise ShapeError(f"the rows of {a} and {b} do not pair up")
    return [x if isinstance(x, int) else y for x, y in zip(a.shape[:-1], b.shape[:-1], strict=True)]


def _shape_of_rows(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    a, b = (source.shape(arg) for arg in args)
    for x, y in zip(a[:-1], b[:-1], strict=True):
        source.same_size(x, y)
    return b


def _row_by_row(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """A function of two vectors that gives one like the second, applied to rows."""

    def applied(a: Array, b: Array) -> Array:
        found = np.empty(b.shape, np.int64)
        for index in np.ndindex(b.shape[:-1]):
            found[index] = function(a[index], b[index])
        return found

    return applied


def _batch_search(batch: Batch, known: Value, wanted: Value) -> Value:
    """One row of known keys serves all: what is sought in it becomes one row as well."""
    if batch.flags[0] or known.ndim > 1:
        return along_rows(batch, known, wanted)
    flat = emit(batch.definition, (known, reshape(wanted, (-1,))))
    return reshape(flat, dims(wanted))


def _search(side: Literal["left", "right"], doc: str) -> OpDef:
    definition = OpDef(
        name=f"search_{side}",
        infer=_infer_search,
        evaluate=_row_by_row(lambda known, wanted: np.searchsorted(known, wanted, side)),
        shape=_shape_of_rows,
        gradient=lambda g, y, known, wanted: [None, None],
        batch=_batch_search,
        lower=Routine("ordering", (f"search_{side}",), ("m", "n"), ("n",), dense=True),
        doc=doc,
    )
    register(definition)
    return definition


SEARCH = {
    "left": _search("left", "How many keys of a sorted row are less than each of those sought."),
    "right": _search("right", "How many of a sorted row are not larger than each of those sought."),
}


# --- places in order without sorting --------------------------------------------------------------
def _infer_argselect(types: Sequence[Type], attrs: Attrs) -> Type:
    keys, places = types
    _check_keys("argselect", types)
    if not keys.rank or keys.rank != places.rank:
        raise ShapeError(f"places {places} do not fit the rows of {keys}")
    return places.with_shape((*_leads(keys, places), places.shape[-1]))


def _argselect(keys: Array, places: Array) -> Array:
    if not keys.size:
        return np.zeros(places.shape, np.int64)
    order: Array = np.argsort(keys, kind="stable")[np.clip(places, 0, len(keys) - 1)]
    return order


ARGSELECT = OpDef(
    name="argselect",
    infer=_infer_argselect,
    evaluate=_row_by_row(_argselect),
    shape=_shape_of_rows,
    gradient=lambda g, y, keys, places: [None, None],
    batch=along_rows,
    lower=Routine("ordering", ("argselect",), ("m", "n"), ("n",), fails=True,
                  dense=True),
    doc="Where the keys of a row are that sorting it (stably) would bring to some places.",
)
register(ARGSELECT)


def _infer_argpartition(types: Sequence[Type], attrs: Attrs) -> Type:
    keys, place = types
    _check_keys("argpartition", types)
    if not keys.rank or place.rank:
        raise ShapeError(f"argpartition takes rows and one place, not {keys} and {place}")
    return keys


def _evaluate_argpartition(keys: Array, place: Array) -> Array:
    if not keys.size:
        return np.empty(keys.shape, np.int64)
    ranks = np.argsort(np.argsort(keys, axis=-1, kind="stable"), axis=-1)
    own = np.clip(place, 0, keys.shape[-1] - 1)
    order: Array = np.argsort(np.sign(ranks - own), axis=-1, kind="stable")
    return order


ARGPARTITION = OpDef(
    name="argpartition",
    infer=_infer_argpartition,
    evaluate=_evaluate_argpartition,
    shape=_same_shape,
    gradient=lambda g, y, keys, place: [None, None],
    batch=along_rows,
    lower=Routine("ordering", ("argpartition",), ("n", ""), ("n",), fails=True,
                  dense=True),
    doc="The positions of a row's keys: of those before the one that sorting would bring to a "
        "place, its own, then the others; each part in the order it has.",
)  # fmt: skip
register(ARGPARTITION)
