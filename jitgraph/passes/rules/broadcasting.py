"""Broadcasts move outward and disappear: what is repeated is computed once.

    exp(broadcast_to(s)) => broadcast_to(exp(s))      x + broadcast_to(s) => x + s
"""

from __future__ import annotations

from jitgraph.ir.builder import Builder
from jitgraph.ir.elementwise import Elementwise, cast
from jitgraph.ir.opdef import OPS, Attrs, OpDef, Shape, Size, emit
from jitgraph.ir.ops.arithmetic import equal, not_equal
from jitgraph.ir.ops.movement import broadcast_to, expand_dims, squeeze, transpose
from jitgraph.ir.types import is_half
from jitgraph.ir.values import Op, Value
from jitgraph.passes.rules.rule import Rule, full_like, recipe, same, same_shape

Args = tuple[Value, ...]

#: The ops that work element by element and so commute with broadcasting.
POINTWISE = (*(name for name, op in OPS.items() if isinstance(op, Elementwise)), "cast")
BROADCAST = ("broadcast_to",)


def _broadcast(value: Value) -> Op | None:
    op = value.op
    return op if op is not None and op.definition.name == "broadcast_to" else None


def _fits(builder: Builder, inner: Shape, outer: Shape) -> bool:
    """Whether `inner` provably broadcasts to `outer`: each extent is the same or 1."""
    return all(map(builder.broadcasts, inner, outer[len(outer) - len(inner) :]))


def _joined(shapes: list[Shape], result: Shape) -> Shape:
    """The broadcast of shapes that all fit into `result`: its extents, or 1."""
    rank = max(map(len, shapes))
    joined: list[Size] = []
    for axis in range(1, rank + 1):
        given = any(len(s) >= axis and same(s[-axis], result[-axis]) for s in shapes)
        joined.append(result[-axis] if given else 1)
    return tuple(reversed(joined))


@recipe("compute-before-broadcast", *POINTWISE, over=BROADCAST)
def compute_before_broadcast(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """op(x, broadcast_to(s)) => broadcast_to(op(x, s))"""
    if not any(map(_broadcast, args)):
        return None
    result = tuple(map(builder.find, definition.shape(builder, args, attrs)))
    inner: list[Value] = []
    for arg in args:
        op = _broadcast(arg)
        fits = op is not None and _fits(builder, builder.shape(op.args[0]), result)
        inner.append(op.args[0] if op is not None and fits else arg)
    shapes = [builder.shape(a) for a in inner]
    if all(a is b for a, b in zip(inner, args, strict=True)):
        return None
    if not all(_fits(builder, s, result) for s in shapes):
        return None
    value = emit(definition, inner, **attrs)
    return value if same_shape(_joined(shapes, result), result) else broadcast_to(value, result)


@recipe("expand-of-broadcast", "expand_dims", over=BROADCAST)
def expand_of_broadcast(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """expand_dims(broadcast_to(s)) => broadcast_to(expand_dims(s))"""
    op = _broadcast(args[0])
    if op is None:
        return None
    inner, axes = op.args[0], attrs["axes"]
    places = [i for i in range(args[0].ndim + len(axes)) if i not in axes]
    # Axes before the first of s need not be made: broadcasting makes them.
    first = places[args[0].ndim - inner.ndim] if inner.ndim else args[0].ndim + len(axes)
    inner = expand_dims(inner, [a - first for a in axes if a > first])
    return broadcast_to(inner, definition.shape(builder, args, attrs))


@recipe("transpose-of-broadcast", "transpose", over=BROADCAST)
def transpose_of_broadcast(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """transpose(broadcast_to(s)) => broadcast_to(transpose(s))"""
    op = _broadcast(args[0])
    if op is None:
        return None
    inner = op.args[0]
    if inner.ndim:
        full = expand_dims(inner, range(args[0].ndim - inner.ndim))
        inner = transpose(full, attrs["perm"])
    return broadcast_to(inner, definition.shape(builder, args, attrs))


@recipe("slice-of-broadcast", "slice", over=BROADCAST)
def slice_of_broadcast(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """broadcast_to(s)[a:b] => broadcast_to(s), for axes along which s repeats"""
    op = _broadcast(args[0])
    if op is None or not _repeats(builder, op, args[0].ndim, attrs["axes"]):
        return None
    return broadcast_to(op.args[0], definition.shape(builder, args, attrs))


def _repeats(builder: Builder, op: Op, rank: int, axes: tuple[int, ...]) -> bool:
    """Whether a broadcast repeats its operand along all these axes."""
    inner = builder.shape(op.args[0])
    lead = rank - len(inner)
    return all(axis < lead or same(inner[axis - lead], 1) for axis in axes)


@recipe("view-of-scalar", "reshape", "squeeze", "gather", over=BROADCAST)
def view_of_scalar(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """reshape(broadcast_to(c)) => broadcast_to(c), for a scalar c"""
    op = _broadcast(args[0])
    if op is None or op.args[0].ndim:
        return None
    return broadcast_to(op.args[0], definition.shape(builder, args, attrs))


# --- reductions over what is repeated ----------------------------------------------------------
def _once(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> tuple[Value, Size] | None:
    """The reduction with the repeats left out, and how often each element was repeated."""
    op = _broadcast(args[0])
    if op is None:
        return None
    rank = args[0].ndim
    again = [a for a in attrs["axes"] if _repeats(builder, op, rank, (a,))]
    if not again:
        return None
    extents = builder.shape(args[0])
    lead = rank - op.args[0].ndim
    inner = squeeze(op.args[0], [a - lead for a in again if a >= lead])
    kept = [a for a in range(rank) if a not in again]
    spread = broadcast_to(inner, [extents[a] for a in kept])
    axes = tuple(kept.index(a) for a in attrs["axes"] if a not in again)
    count: Size = 1
    for axis in again:
        count = count * extents[axis]
    return (emit(definition, (spread,), axes=axes) if axes else spread), count


def _sum_repeated(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """sum(broadcast_to(s)) => s * n"""
    dtype = args[0].type.dtype
    if is_half(dtype):  # n may be more than float16 can count
        return None
    found = _once(builder, definition, args, attrs)
    if found is None:
        return None
    once, count = found
    if isinstance(count, Value):
        return once * cast(count, dtype)  # type: ignore[no-any-return]
    return once * dtype.type(count)  # type: ignore[no-any-return]


sum_of_repeated = recipe(
    "sum-of-repeated", "reduce_sum", dtypes="iu", over=BROADCAST
)(_sum_repeated)
sum_of_repeated_floats = recipe(
    "sum-of-repeated-floats", "reduce_sum", dtypes="fc", reassociates=True, over=BROADCAST
)(_sum_repeated)


@recipe("extremum-of-repeated", "reduce_max", "reduce_min", over=BROADCAST)
def extremum_of_repeated(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """max(broadcast_to(s)) => s; the builder has demanded that there is an element at all"""
    found = _once(builder, definition, args, attrs)
    return None if found is None else found[0]


@recipe("all-of-repeated", "reduce_all", "reduce_any", over=BROADCAST)
def all_of_repeated(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """all(broadcast_to(s)) => s | n == 0;  any(broadcast_to(s)) => s & n != 0"""
    found = _once(builder, definition, args, attrs)
    if found is None:
        return None
    once, count = found
    if not isinstance(count, Value):
        return once if count else full_like(once, definition.name == "reduce_all")
    if definition.name == "reduce_all":
        return once | equal(count, 0)  # type: ignore[no-any-return]
    return once & not_equal(count, 0)  # type: ignore[no-any-return]


RULES: tuple[Rule, ...] = (
    compute_before_broadcast, expand_of_broadcast, transpose_of_broadcast, slice_of_broadcast,
    view_of_scalar, sum_of_repeated, sum_of_repeated_floats, extremum_of_repeated, all_of_repeated,
)  # fmt: skip
