"""Rewrites of reductions."""

from __future__ import annotations

from jitgraph.ir.builder import Builder
from jitgraph.ir.opdef import Attrs, OpDef, emit
from jitgraph.ir.ops.arithmetic import negative
from jitgraph.ir.ops.movement import squeeze
from jitgraph.ir.values import Value
from jitgraph.passes.rules.rule import FINITE, Rule, recipe, same

Args = tuple[Value, ...]
_COMBINING = (
    "reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all",
)  # fmt: skip


def _reduce_of_one(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """reduce(x) => squeeze(x), over axes of extent 1"""
    extents = builder.shape(args[0])
    ones = [a for a in attrs["axes"] if same(extents[a], 1)]
    if not ones and attrs["axes"]:
        return None
    left = [a for a in range(args[0].ndim) if a not in ones]
    axes = tuple(left.index(a) for a in attrs["axes"] if a not in ones)
    rest = squeeze(args[0], ones)
    return emit(definition, (rest,), axes=axes) if axes else rest


reduce_of_one = recipe("reduce-of-one", *_COMBINING, dtypes="biu")(_reduce_of_one)
reduce_of_one_float = recipe(
    "reduce-of-one-float", "reduce_prod", "reduce_max", "reduce_min", dtypes="f"
)(_reduce_of_one)
# NumPy's sum starts from 0.0, so the sum of one -0.0 is 0.0.
sum_of_one_float = recipe(
    "sum-of-one-float", "reduce_sum", dtypes="fc", assumes=FINITE
)(_reduce_of_one)


def _reduce_of_reduce(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """reduce(reduce(x)) => reduce(x)"""
    inner = args[0].op
    if inner is None or inner.definition is not definition:
        return None
    left = [a for a in range(inner.args[0].ndim) if a not in inner.attrs["axes"]]
    axes = sorted((*inner.attrs["axes"], *(left[a] for a in attrs["axes"])))
    return emit(definition, inner.args, axes=tuple(axes))


reduce_of_reduce = recipe(
    "reduce-of-reduce", *_COMBINING, dtypes="biu", over=_COMBINING
)(_reduce_of_reduce)
extremum_of_extremum = recipe(
    "extremum-of-extremum", "reduce_max", "reduce_min", dtypes="f", over=_COMBINING
)(_reduce_of_reduce)
sum_of_sum = recipe(
    "sum-of-sum", "reduce_sum", "reduce_prod", dtypes="fc", reassociates=True, over=_COMBINING
)(_reduce_of_reduce)


def _sum_of_negative(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """sum(-x) => -sum(x)"""
    op = args[0].op
    if op is None or op.definition.name != "negative":
        return None
    return negative(emit(definition, op.args, **attrs))  # type: ignore[no-any-return]


sum_of_negative = recipe(
    "sum-of-negative", "reduce_sum", dtypes="iu", over=("negative",)
)(_sum_of_negative)
sum_of_negative_floats = recipe(
    "sum-of-negative-floats", "reduce_sum", dtypes="fc", assumes=FINITE, over=("negative",)
)(_sum_of_negative)

RULES: tuple[Rule, ...] = (
    reduce_of_one, reduce_of_one_float, sum_of_one_float, reduce_of_reduce,
    extremum_of_extremum, sum_of_sum, sum_of_negative, sum_of_negative_floats,
)  # fmt: skip
