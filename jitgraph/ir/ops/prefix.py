"""What elements up to each along an axis combine to. Inside the IR the dtype is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir import batching
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    OpDef,
    Shape,
    ShapeSource,
    emit,
    in_single,
    register,
)
from jitgraph.ir.ops.arithmetic import equal, logical_and, where
from jitgraph.ir.types import F32, I64, Type, is_half, kind_of
from jitgraph.ir.values import Value


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prefix(OpDef):
    """An op that gives what is combined so far, by the elementwise op `combine`."""

    combine: str


def _declare(
    name: str, combine: str, *, accepts: str, doc: str,
    gradient: Callable[..., list[Value]] | None = None,
) -> Prefix:  # fmt: skip
    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        (x,) = types
        if kind_of(x.dtype) not in accepts:
            raise DTypeError(f"{name} does not take {x}")
        if not 0 <= attrs["axis"] < x.rank:
            raise ShapeError(f"{name}: axis {attrs['axis']} does not fit {x}")
        return x

    def evaluate(x: Array, *, axis: int, reverse: bool) -> Array:
        turned = np.flip(x, axis) if reverse else x
        with np.errstate(all="ignore"):
            made = getattr(np, combine).accumulate(turned, axis=axis, dtype=x.dtype)
        return np.ascontiguousarray(np.flip(made, axis)) if reverse else made

    def shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
        return source.shape(args[0])

    def decompose(x: Value, *, axis: int, reverse: bool) -> Value:
        """Halves are combined in single precision and rounded once each."""
        if not is_half(x.dtype):
            return emit(declared, (x,), axis=axis, reverse=reverse)
        wide = emit(declared, (cast(x, F32),), axis=axis, reverse=reverse)
        return cast(wide, x.dtype)  # type: ignore[no-any-return]

    declared = Prefix(
        name=name, infer=infer, evaluate=in_single(evaluate), shape=shape, gradient=gradient,
        decompose=decompose, batch=batching.along_axis, doc=doc, combine=combine,
    )  # fmt: skip
    register(declared)
    return declared


def _sum_gradient(g: Value, y: Value, x: Value, *, axis: int, reverse: bool) -> list[Value]:
    return [prefix_sum(g, axis, reverse=not reverse)]


def _prod_gradient(g: Value, y: Value, x: Value, *, axis: int, reverse: bool) -> list[Value]:
    """What comes after an element contains it once: sum(g·y) / x. From the first 0 on all products
    are 0, and only that 0 itself can change them."""
    zero = equal(x, 0)
    met = prefix_sum(cast(zero, I64), axis, reverse=reverse)
    first = logical_and(zero, equal(met, 1))
    others = prefix_prod(where(first, 1, x), axis, reverse=reverse)
    before = prefix_sum(g * y, axis, reverse=not reverse) / where(zero, 1, x)
    there = prefix_sum(g * others, axis, reverse=not reverse)
    return [where(equal(met, 0), before, where(first, there, 0))]


PREFIX_SUM = _declare(
    "prefix_sum", "add", accepts="iufc", gradient=_sum_gradient,
    doc="The sum of all elements up to each along an axis; with `reverse`, from each on.",
)  # fmt: skip
PREFIX_PROD = _declare(
    "prefix_prod", "multiply", accepts="iuf", gradient=_prod_gradient,
    doc="The product of all elements up to each along an axis; with `reverse`, from each on.",
)  # fmt: skip


PREFIX_MAX = _declare(
    "prefix_max", "maximum", accepts="iuf",
    doc="The largest of all elements up to each along an axis; with `reverse`, from each on.",
)  # fmt: skip
PREFIX_MIN = _declare(
    "prefix_min", "minimum", accepts="iuf",
    doc="The smallest of all elements up to each along an axis; with `reverse`, from each on.",
)  # fmt: skip


def prefix_sum(x: Value, axis: int, *, reverse: bool = False) -> Value:
    """Sums of the first 1, 2, 3, ... elements along an axis."""
    return emit(PREFIX_SUM, (x,), axis=axis, reverse=reverse)


def prefix_prod(x: Value, axis: int, *, reverse: bool = False) -> Value:
    """Products of the first 1, 2, 3, ... elements along an axis."""
    return emit(PREFIX_PROD, (x,), axis=axis, reverse=reverse)


def prefix_max(x: Value, axis: int) -> Value:
    """The largest of the first 1, 2, 3, ... elements along an axis."""
    return emit(PREFIX_MAX, (x,), axis=axis, reverse=False)


def prefix_min(x: Value, axis: int) -> Value:
    """The smallest of the first 1, 2, 3, ... elements along an axis."""
    return emit(PREFIX_MIN, (x,), axis=axis, reverse=False)
