"""The table of reductions. Inside the IR they drop the reduced axes and keep the dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir import batching
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import (
    OPS,
    Array,
    Attrs,
    OpDef,
    Shape,
    ShapeSource,
    emit,
    in_single,
    register,
)
from jitgraph.ir.ops.arithmetic import equal, greater_equal, where
from jitgraph.ir.ops.movement import broadcast_to, dims, expand_dims
from jitgraph.ir.types import F32, I64, DType, Type, is_half, kind_of
from jitgraph.ir.values import Value


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reduction(OpDef):
    """An op that combines all elements along `axes`.

    `combine` names the elementwise op that merges two partial results (for argmax the one that
    decides), `identity` gives its neutral element for a dtype.
    """

    numpy: Callable[..., Any]
    accepts: str
    combine: str
    identity: Callable[[DType], Any]
    #: The result is the position of the element, not the element.
    positional: bool = False
    #: Whether no element at all has a meaning (a sum has, a maximum has not).
    of_nothing: bool = True


def _lowest(dtype: DType) -> Any:
    if kind_of(dtype) == "f":
        return -np.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: DType) -> Any:
    if kind_of(dtype) == "f":
        return np.inf
    return True if dtype.kind == "b" else np.iinfo(dtype).max


def _declare(
    name: str,
    numpy: Callable[..., Any],
    *,
    accepts: str,
    combine: str,
    identity: Callable[[DType], Any],
    gradient: Any = None,
    decompose: Any = None,
    positional: bool = False,
    of_nothing: bool = True,
    doc: str,
) -> Reduction:
    short = name.removeprefix("reduce_")

    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        x, axes = types[0], attrs["axes"]
        if kind_of(x.dtype) not in accepts:
            raise DTypeError(f"{short} does not take {x}")
        if any(not 0 <= a < x.rank for a in axes) or tuple(sorted(set(axes))) != tuple(axes):
            raise ShapeError(f"{short}: axes {list(axes)} do not fit {x}")
        if not of_nothing and any(x.shape[a] == 0 for a in axes):
            raise ShapeError(f"{short} of an axis of extent 0 in {x} has no value")
        shape = tuple(d for i, d in enumerate(x.shape) if i not in axes)
        return Type(I64 if positional else x.dtype, shape)

    def evaluate(x: Array, *, axes: tuple[int, ...]) -> Array:
        if not of_nothing and any(x.shape[a] == 0 for a in axes):
            raise ShapeError(f"{short} of an axis of extent 0 in shape {x.shape} has no value")
        with np.errstate(all="ignore"):
            if positional:
                return np.asarray(numpy(_merge_last(x, axes), axis=-1), dtype=np.int64)
            extra = {"dtype": x.dtype} if combine in ("add", "multiply") else {}
            return np.asarray(numpy(x, axis=axes, **extra))

    def shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
        return tuple(s for i, s in enumerate(source.shape(args[0])) if i not in attrs["axes"])

    def requires(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
        extents = source.shape(args[0])
        unknown = [extents[a] for a in attrs["axes"] if not isinstance(extents[a], int)]
        return [greater_equal(size, 1) for size in unknown]

    declared = Reduction(
        name=name,
        infer=infer,
        evaluate=in_single(evaluate),
        shape=shape,
        requires=None if of_nothing else requires,
        gradient=gradient,
        decompose=decompose,
        batch=batching.along_axes,
        doc=doc,
        numpy=numpy,
        accepts=accepts,
        combine=combine,
        identity=identity,
        positional=positional,
        of_nothing=of_nothing,
    )
    register(declared)
    return declared


def neutral(combine: str, dtype: DType) -> Any:
    """The element that changes nothing when `combine` merges it with another."""
    definitions = (d for d in OPS.values() if isinstance(d, Reduction))
    return next(d.identity(dtype) for d in definitions if d.combine == combine)


def _merge_last(x: Array, axes: tuple[int, ...]) -> Array:
    """The axes merged into one last axis, in C order: what argmax over several axes counts in."""
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    moved = x.transpose((*kept, *axes))
    lead = moved.shape[: len(kept)]
    return moved.reshape((*lead, int(np.prod(moved.shape[len(kept) :], dtype=np.int64))))


def restore(g: Value, x: Value, axes: Sequence[int]) -> Value:
    """A reduced value spread again over the axes of x that were reduced."""
    return broadcast_to(expand_dims(g, axes), dims(x))


def _in_single(definition: str) -> Callable[..., Value]:
    """Half floats => accumulated in single precision and rounded once, as NumPy does."""

    def decompose(x: Value, *, axes: tuple[int, ...]) -> Value:
        op = OPS[definition]
        if not is_half(x.dtype):
            return emit(op, (x,), axes=axes)
        return cast(emit(op, (cast(x, F32),), axes=axes), x.dtype)  # type: ignore[no-any-return]

    return decompose


def _prod_gradient(g: Value, y: Value, x: Value, *, axes: tuple[int, ...]) -> list[Value]:
    """The product of the others: with one zero, only its own slot gets any.

    Factors that are zero here stay in the expressions (as `missing`), so that the gradient of this
    gradient is right at zeros as well: two zeros have a mixed second derivative.
    """
    zero = equal(x, 0)
    zeros = restore(sum_(cast(zero, I64), axes), x, axes)
    whole = restore(prod(where(zero, 1, x), axes), x, axes)
    missing = restore(sum_(where(zero, x, 0), axes), x, axes)
    others = whole / where(zero, 1, x)
    at_zero = where(equal(zeros, 1), whole, where(equal(zeros, 2), whole * (missing - x), 0))
    elsewhere = where(equal(zeros, 0), others, where(equal(zeros, 1), others * missing, 0))
    return [restore(g, x, axes) * where(zero, at_zero, elsewhere)]


def _extremum_gradient(g: Value, y: Value, x: Value, *, axes: tuple[int, ...]) -> list[Value]:
    chosen = cast(equal(x, restore(y, x, axes)), x.dtype)
    return [restore(g / sum_(chosen, axes), x, axes) * chosen]


REDUCE_SUM = _declare(
    "reduce_sum", np.sum, accepts="iufc", combine="add", identity=lambda d: 0,
    decompose=_in_single("reduce_sum"),
    gradient=lambda g, y, x, *, axes: [restore(g, x, axes)],
    doc="The sum along axes.",
)  # fmt: skip
REDUCE_PROD = _declare(
    "reduce_prod", np.prod, accepts="iuf", combine="multiply", identity=lambda d: 1,
    decompose=_in_single("reduce_prod"),
    gradient=_prod_gradient, doc="The product along axes.",
)  # fmt: skip
REDUCE_MAX = _declare(
    "reduce_max", np.max, accepts="biuf", combine="maximum", identity=_lowest, of_nothing=False,
    gradient=_extremum_gradient,
    doc="The largest element along axes; NaN if there is one. Ties share the gradient.",
)  # fmt: skip
REDUCE_PEAK = _declare(
    "reduce_peak", lambda x, axis: np.max(x, axis=axis, initial=_lowest(x.dtype)), accepts="biuf",
    combine="maximum", identity=_lowest, gradient=_extremum_gradient,
    doc="The largest element along axes, the least number (-inf) if there is none: what softmax "
    "shifts by.",
)  # fmt: skip
REDUCE_MIN = _declare(
    "reduce_min", np.min, accepts="biuf", combine="minimum", identity=_highest, of_nothing=False,
    gradient=_extremum_gradient,
    doc="The smallest element along axes; NaN if there is one. Ties share the gradient.",
)  # fmt: skip
REDUCE_ANY = _declare(
    "reduce_any", np.any, accepts="b", combine="logical_or", identity=lambda d: False,
    doc="Whether any element along axes is true.",
)  # fmt: skip
REDUCE_ALL = _declare(
    "reduce_all", np.all, accepts="b", combine="logical_and", identity=lambda d: True,
    doc="Whether all elements along axes are true.",
)  # fmt: skip
REDUCE_ARGMAX = _declare(
    "reduce_argmax", np.argmax, accepts="biuf", combine="maximum", identity=_lowest,
    positional=True, of_nothing=False,
    doc="Position of the first largest element (or first NaN) in the axes taken in C order.",
)  # fmt: skip
REDUCE_ARGMIN = _declare(
    "reduce_argmin", np.argmin, accepts="biuf", combine="minimum", identity=_highest,
    positional=True, of_nothing=False,
    doc="Position of the first smallest element (or first NaN) in the axes taken in C order.",
)  # fmt: skip


def _reducer(definition: Reduction) -> Callable[[Value, Sequence[int]], Value]:
    def reduce(x: Value, axes: Sequence[int]) -> Value:
        axes = tuple(sorted(axes))
        if not axes and not definition.positional:
            return x
        return emit(definition, (x,), axes=axes)

    reduce.__doc__ = f"{definition.doc} The axes are counted from the front and dropped."
    return reduce


sum_ = _reducer(REDUCE_SUM)
prod = _reducer(REDUCE_PROD)
max_ = _reducer(REDUCE_MAX)
peak = _reducer(REDUCE_PEAK)
min_ = _reducer(REDUCE_MIN)
any_over = _reducer(REDUCE_ANY)
all_over = _reducer(REDUCE_ALL)
argmax = _reducer(REDUCE_ARGMAX)
argmin = _reducer(REDUCE_ARGMIN)


def all_(x: Value) -> Value:
    """Whether every element of a bool array is true."""
    return all_over(x, range(x.ndim))
