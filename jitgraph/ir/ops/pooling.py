"""Windows along the last axes, each reduced to one element: their maximum or their sum.

    y[.., j] = max of x[.., j * stride : j * stride + window], along each of these axes

A maximum passes its adjoint to every element of the window that equals it (as Theano did): that
needs no places in memory, and does not depend on an order. All adjoints are ops of this table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.batching import along_rows
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    OpDef,
    Shape,
    ShapeSource,
    Size,
    constant,
    emit,
    join_sizes,
    register,
    same_size,
    split_sizes,
)
from jitgraph.ir.ops.arithmetic import (
    add,
    equal,
    floor_divide,
    greater_equal,
    maximum,
    minimum,
    where,
)
from jitgraph.ir.ops.indexing import gather, slice_, zeros_like
from jitgraph.ir.ops.movement import check_sizes, dims, expand_dims, holes, iota, transpose
from jitgraph.ir.types import DType, Type, dim_text, kind_of
from jitgraph.ir.values import Value

F16, F32 = np.dtype(np.float16), np.dtype(np.float32)
#: Windows of up to so many elements along an axis are combined one by one.
_SHORT = 8


# --- extents ------------------------------------------------------------------------------------
def places(extents: Sequence[Any], attrs: Attrs) -> list[Any]:
    """How many windows there are along each axis; None where that is not known."""
    found: list[Any] = []
    for n, w, s in zip(extents, attrs["window"], attrs["strides"], strict=True):
        room = None if n is None else n - w
        found.append(None if room is None else room // s + 1 if s != 1 else room + 1)
    return found


def _numbers(extents: Sequence[Any]) -> list[int | None]:
    return [d if isinstance(d, int) else None for d in extents]


def _pooled_extents(name: str, x: Type, attrs: Attrs) -> list[Any]:
    rank = len(attrs["window"])
    if x.dtype.kind == "b" or (x.dtype.kind == "c" and "max" in name):
        raise DTypeError(f"{name} does not take {x}")
    if x.rank < rank:
        raise ShapeError(f"{name} along {rank} axes does not take {x}")
    extents = _numbers(x.shape[x.rank - rank :])
    for axis, (n, w) in enumerate(zip(extents, attrs["window"], strict=True)):
        if n is not None and n < w:
            raise ShapeError(
                f"{name} of {x}: a window of {w} does not fit into the {n} elements of axis "
                f"{x.rank - rank + axis}",
                hint="use a smaller window, or ignore_border=False",
            )
    return places(extents, attrs)


def _infer_pool(name: str) -> Callable[[Sequence[Type], Attrs], Type]:
    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        x = types[0]
        return x.with_shape((*x.shape[: -len(attrs["window"])], *_pooled_extents(name, x, attrs)))

    return infer


def _check_same(name: str, types: Sequence[Type], attrs: Attrs) -> None:
    """Two arrays like x and one like its pool have one dtype and fit each other."""
    if len({t.dtype for t in types}) > 1:
        raise DTypeError(f"{name} takes operands of one dtype, not {', '.join(map(str, types))}")


def _infer_unpool(types: Sequence[Type], attrs: Attrs) -> Type:
    g = types[0]
    check_sizes("unpool", types[1:], holes(attrs["sizes"]))
    rank = len(attrs["window"])
    if g.rank < rank:
        raise ShapeError(f"unpool along {rank} axes does not take {g}")
    whole = g.with_shape((*g.shape[: g.rank - rank], *attrs["sizes"]))
    _check_places("unpool", g, whole, attrs)
    return whole


def _check_places(name: str, y: Type, x: Type, attrs: Attrs) -> None:
    rank = len(attrs["window"])
    wanted = _pooled_extents(name, x, attrs)
    for have, want in zip(y.shape[y.rank - rank :], wanted, strict=True):
        if isinstance(have, int) and want is not None and have != want:
            raise ShapeError(f"{name}: {y} is no pool of {x}: {dim_text(have)} is not {want}")


def _infer_unpool_max(types: Sequence[Type], attrs: Attrs) -> Type:
    g, x, y = types
    _check_same("unpool_max", types, attrs)
    for small in (g, y):
        _check_places("unpool_max", small, x, attrs)
    return x


def _infer_pool_at_max(types: Sequence[Type], attrs: Attrs) -> Type:
    h, x, y = types
    _check_same("pool_at_max", types, attrs)
    for large in (h, x):
        _check_places("pool_at_max", y, large, attrs)
    return y


def _split(x: Shape, attrs: Attrs) -> tuple[Shape, Shape]:
    cut = len(x) - len(attrs["window"])
    return x[:cut], x[cut:]


def _pool_shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    lead, last = _split(source.shape(args[0]), attrs)
    return (*lead, *places(last, attrs))


def _unpool_shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    lead, _ = _split(source.shape(args[0]), attrs)
    return (*lead, *join_sizes(attrs["sizes"], args[1:]))


def _room(extents: Shape, attrs: Attrs) -> list[Value]:
    pairs = zip(extents, attrs["window"], strict=True)
    return [greater_equal(n, w) for n, w in pairs if isinstance(n, Value)]


def _equal(have: Sequence[Size], want: Sequence[Size]) -> list[Value]:
    return [equal(a, b) for a, b in zip(have, want, strict=True) if not same_size(a, b)]


def _pool_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    return _room(_split(source.shape(args[0]), attrs)[1], attrs)


def _unpool_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    _, have = _split(source.shape(args[0]), attrs)
    sizes = join_sizes(attrs["sizes"], args[1:])
    return [*_room(sizes, attrs), *_equal(have, places(sizes, attrs))]


def _all_fit(large: Sequence[int], small: Sequence[int]) -> Any:
    """Arrays like x agree, and those like its pool fit them."""

    def requires(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
        shapes = [source.shape(a) for a in args]
        lead, last = _split(shapes[large[0]], attrs)
        wanted = (*lead, *places(last, attrs))
        found = _room(last, attrs)
        for k in large[1:]:
            found += _equal(shapes[k], shapes[large[0]])
        for k in small:
            found += _equal(shapes[k], wanted)
        return found

    return requires


# --- the meaning --------------------------------------------------------------------------------
def _windows(x: Array, attrs: Attrs) -> tuple[Array, tuple[int, ...]]:
    """[.., *place, *element], and the axes of the elements."""
    rank = len(attrs["window"])
    last = tuple(range(x.ndim - rank, x.ndim))
    windows = sliding_window_view(x, attrs["window"], last)
    cut = [slice(None, None, s) for s in attrs["strides"]]
    inside = tuple(range(x.ndim, x.ndim + rank))
    return windows[(*[slice(None)] * (x.ndim - rank), *cut, *[slice(None)] * rank)], inside


def _demand(infer: Callable[[Sequence[Type], Attrs], Type], arrays: Sequence[Array],
            attrs: Attrs) -> None:  # fmt: skip
    infer([Type(a.dtype, a.shape) for a in arrays], attrs)


def _evaluate_pool(reduction: np.ufunc) -> Callable[..., Array]:
    name = "pool_max" if reduction is np.maximum else "pool_sum"

    def evaluate(x: Array, *, window: Any, strides: Any) -> Array:
        attrs = {"window": window, "strides": strides}
        _demand(_infer_pool(name), [x], attrs)
        seen, inside = _windows(x.astype(F32) if x.dtype == F16 else x, attrs)
        with np.errstate(all="ignore"):
            return np.asarray(reduction.reduce(seen, axis=inside, dtype=seen.dtype), x.dtype)

    return evaluate


def _spread(g: Array, shape: Sequence[int], attrs: Attrs, weight: Any = None) -> Array:
    """Each element of g added to all elements of its window, or to those where weight(cut)."""
    wide = F32 if g.dtype == F16 else g.dtype
    x = np.zeros(shape, wide)
    steps = list(zip(g.shape[g.ndim - len(attrs["window"]) :], attrs["strides"], strict=True))
    for at in product(*map(range, attrs["window"])):
        cut: Any = (..., *(slice(k, k + (p - 1) * s + 1, s)
                           for k, (p, s) in zip(at, steps, strict=True)))  # fmt: skip
        with np.errstate(all="ignore"):
            x[cut] += g if weight is None else np.where(weight(cut), g, g.dtype.type(0))
    return x.astype(g.dtype)


def _evaluate_unpool(g: Array, *dynamic: Array, sizes: Any, window: Any, strides: Any) -> Array:
    filled = join_sizes(sizes, dynamic)
    attrs = {"window": window, "strides": strides, "sizes": filled}
    _demand(_infer_unpool, [g], attrs)
    return _spread(g, (*g.shape[: g.ndim - len(filled)], *filled), attrs)


def _evaluate_unpool_max(g: Array, x: Array, y: Array, *, window: Any, strides: Any) -> Array:
    attrs = {"window": window, "strides": strides}
    _demand(_infer_unpool_max, [g, x, y], attrs)
    return _spread(g, x.shape, attrs, lambda cut: x[cut] == y)


def _evaluate_pool_at_max(h: Array, x: Array, y: Array, *, window: Any, strides: Any) -> Array:
    attrs = {"window": window, "strides": strides}
    _demand(_infer_pool_at_max, [h, x, y], attrs)
    seen, inside = _windows(h, attrs)
    hit = _windows(x, attrs)[0] == np.expand_dims(y, inside)
    wide = F32 if h.dtype == F16 else h.dtype
    return np.asarray(np.where(hit, seen, 0).sum(axis=inside, dtype=wide)).astype(h.dtype)


# --- as simpler ops -----------------------------------------------------------------------------
def _every(x: Value, axis: int, start: int, count: Size, step: int) -> Value:
    return slice_(x, (axis,), (start,), (count,), (step,))


def _along(combine: Any, x: Value, axis: int, window: int, step: int) -> Value:
    """Windows along one axis: of short ones every element in turn, of long ones their halves."""
    n = dims(x)[axis]
    room = n - window
    count = room // step + 1 if step != 1 else room + 1
    if window <= _SHORT:
        return reduce(combine, (_every(x, axis, k, count, step) for k in range(window)))
    parts: list[Value] = []
    start, length, runs = 0, 1, x
    while window:
        if window & 1:
            parts.append(_every(runs, axis, start, count, step))
            start += length
        window >>= 1
        if window:
            kept = dims(runs)[axis] - length
            runs = combine(_every(runs, axis, 0, kept, 1), _every(runs, axis, length, kept, 1))
            length *= 2
    return reduce(combine, parts)


def _decompose_pool(combine: Any) -> Callable[..., Value]:
    def decompose(x: Value, *, window: tuple[int, ...], strides: tuple[int, ...]) -> Value:
        if x.dtype == F16 and combine is add:
            wide = decompose(cast(x, F32), window=window, strides=strides)
            return cast(wide, F16)  # type: ignore[no-any-return]
        for axis, (w, s) in enumerate(zip(window, strides, strict=True)):
            x = _along(combine, x, x.ndim - len(window) + axis, w, s)
        return x

    return decompose


class _Cover:
    """The windows that elements of an array of some shape lie in: at most `terms` for each axis,
    the last ones that begin before the element."""

    def __init__(self, shape: Shape, small: Shape, attrs: Attrs) -> None:
        self.rank, self.lead = len(shape), len(shape) - len(attrs["window"])
        self.axes = [
            [self._term(n, m, w, s, t, axis) for t in range(-(-w // s))]
            for axis, (n, m, w, s) in enumerate(zip(
                shape[self.lead :], small[self.lead :], attrs["window"], attrs["strides"],
                strict=True,
            ))
        ]  # fmt: skip

    def _term(self, n: Size, m: Size, w: int, s: int, t: int, axis: int) -> tuple[Any, Any]:
        """Which window, kept inside, and whether there is one, along an axis of its own."""
        i: Any = constant(np.arange(n)) if isinstance(n, int) else iota(n)
        j = floor_divide(i, s) - t
        inside = (j >= 0) & (j < m)
        if w % s:
            inside = inside & (i - j * s < w)
        kept = maximum(minimum(j, m - 1), 0)
        behind = len(self.axes_behind(axis))
        shape = tuple(range(1, 1 + behind))
        return expand_dims(kept, shape) if behind else kept, (
            expand_dims(inside, shape) if behind else inside
        )

    def axes_behind(self, axis: int) -> range:
        return range(self.lead + axis + 1, self.rank)

    def total(self, element: Callable[[Callable[[Value], Value], Any], Value]) -> Value:
        """The sum over all windows of `element(read, inside)`, where read(y) is the window's
        element of an array like the pool, for each element."""
        terms = []
        for combination in product(*self.axes):
            indices = [index for index, _ in combination]
            inside = reduce(lambda a, b: a & b, (flag for _, flag in combination))
            terms.append(element(lambda y, at=indices: self._read(y, at), inside))  # type: ignore[misc]
        return reduce(add, terms)

    def _read(self, y: Value, indices: Sequence[Value]) -> Value:
        lead, last = range(self.lead), range(self.lead, self.rank)
        found = gather(transpose(y, (*last, *lead)), indices)
        count = len(indices)
        return transpose(found, (*range(count, self.rank), *range(count)))


def _decompose_unpool(g: Value, *dynamic: Value, sizes: Any, **attrs: Any) -> Value:
    if g.dtype == F16:
        wide = _decompose_unpool(cast(g, F32), *dynamic, sizes=sizes, **attrs)
        return cast(wide, F16)  # type: ignore[no-any-return]
    small = dims(g)
    lead = small[: len(small) - len(sizes)]
    cover = _Cover((*lead, *join_sizes(sizes, dynamic)), small, attrs)
    zero = constant(np.zeros((), g.dtype))
    return cover.total(lambda read, inside: where(inside, read(g), zero))


def _decompose_unpool_max(g: Value, x: Value, y: Value, **attrs: Any) -> Value:
    cover = _Cover(dims(x), dims(y), attrs)
    zero = constant(np.zeros((), g.dtype))
    return cover.total(lambda read, inside: where(inside & equal(x, read(y)), read(g), zero))


def _decompose_pool_at_max(
    h: Value, x: Value, y: Value, *, window: tuple[int, ...], strides: tuple[int, ...]
) -> Value:
    first = x.ndim - len(window)
    axes, counts = tuple(range(first, x.ndim)), dims(y)[first:]
    zero = constant(np.zeros((), h.dtype))
    terms = []
    for at in product(*map(range, window)):
        part, other = (slice_(v, axes, at, counts, strides) for v in (h, x))
        terms.append(where(equal(other, y), part, zero))
    total: Value = reduce(add, terms)
    return total


# --- declarations -------------------------------------------------------------------------------
def _geometry(attrs: Attrs) -> dict[str, Any]:
    return {"window": attrs["window"], "strides": attrs["strides"]}


def _sum_gradient(g: Value, y: Value, x: Value, **attrs: Any) -> list[Value]:
    return [unpool(g, dims(x)[x.ndim - len(attrs["window"]) :], **attrs)]


def _unpool_gradient(
    h: Value, x: Value, g: Value, *sizes: Value, **attrs: Any
) -> list[Value | None]:
    return [emit(POOL_SUM, (h,), **_geometry(attrs)), *([None] * len(sizes))]


POOL_MAX: OpDef = OpDef(
    name="pool_max",
    infer=_infer_pool("pool_max"),
    evaluate=_evaluate_pool(np.maximum),
    shape=_pool_shape,
    requires=_pool_fits,
    gradient=lambda g, y, x, **attrs: [emit(UNPOOL_MAX, (g, x, y), **attrs)],
    decompose=_decompose_pool(maximum),
    batch=along_rows,
    doc="The maximum of each window along the last axes.",
)
POOL_SUM: OpDef = OpDef(
    name="pool_sum",
    infer=_infer_pool("pool_sum"),
    evaluate=_evaluate_pool(np.add),
    shape=_pool_shape,
    requires=_pool_fits,
    gradient=_sum_gradient,
    decompose=_decompose_pool(add),
    batch=along_rows,
    doc="The sum of each window along the last axes.",
)
UNPOOL: OpDef = OpDef(
    name="unpool",
    infer=_infer_unpool,
    evaluate=_evaluate_unpool,
    shape=_unpool_shape,
    requires=_unpool_fits,
    gradient=_unpool_gradient,
    decompose=_decompose_unpool,
    batch=along_rows,
    doc="The adjoint of `pool_sum`: each element added to all of its window, in an array whose "
    "last extents are `sizes`.",
)
UNPOOL_MAX: OpDef = OpDef(
    name="unpool_max",
    infer=_infer_unpool_max,
    evaluate=_evaluate_unpool_max,
    shape=lambda source, args, attrs: source.shape(args[1]),
    requires=_all_fit([1], [0, 2]),
    gradient=lambda h, y, g, x, top, **attrs: [
        emit(POOL_AT_MAX, (h, x, top), **attrs), zeros_like(x), zeros_like(top)
    ],
    decompose=_decompose_unpool_max,
    batch=along_rows,
    doc="The adjoint g of `pool_max`: each element of g added to all elements of its window in x "
    "that equal the one in y, their maximum.",
)  # fmt: skip
POOL_AT_MAX: OpDef = OpDef(
    name="pool_at_max",
    infer=_infer_pool_at_max,
    evaluate=_evaluate_pool_at_max,
    shape=lambda source, args, attrs: source.shape(args[2]),
    requires=_all_fit([0, 1], [2]),
    gradient=lambda g, y, h, x, top, **attrs: [
        emit(UNPOOL_MAX, (g, x, top), **attrs), zeros_like(x), zeros_like(top)
    ],
    decompose=_decompose_pool_at_max,
    batch=along_rows,
    doc="The sum of the elements of each window of h where x equals y, its maximum there.",
)  # fmt: skip
for _definition in (POOL_MAX, POOL_SUM, UNPOOL, UNPOOL_MAX, POOL_AT_MAX):
    register(_definition)


# --- the ops as functions -----------------------------------------------------------------------
def pool_max(x: Value, window: Sequence[int], strides: Sequence[int]) -> Value:
    """The maximum of each window."""
    return emit(POOL_MAX, (x,), window=tuple(window), strides=tuple(strides))


def pool_sum(x: Value, window: Sequence[int], strides: Sequence[int]) -> Value:
    """The sum of each window."""
    return emit(POOL_SUM, (x,), window=tuple(window), strides=tuple(strides))


def unpool(g: Value, sizes: Sequence[Size], **geometry: Any) -> Value:
    """The adjoint of a sum over windows of an array whose last extents are `sizes`."""
    static, dynamic = split_sizes(sizes)
    return emit(UNPOOL, (g, *dynamic), sizes=static, **geometry)


def lowest(dtype: DType) -> Any:
    """What no maximum is less than."""
    return -np.inf if kind_of(dtype) == "f" else np.iinfo(dtype).min
