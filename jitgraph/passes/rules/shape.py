"""Rewrites of ops that move elements: sizes become attributes, views of views become one view.

A rewrite here has to give exactly the extents of the op it replaces, and has to leave the checks
that op would have made (those of ops already born are kept by the builder).
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgraph.ir.builder import Builder
from jitgraph.ir.opdef import (
    Attrs,
    OpDef,
    Shape,
    Size,
    constant,
    emit,
    join_sizes,
    split_sizes,
)
from jitgraph.ir.ops.indexing import ADD_SLICE, slice_, slice_bounds
from jitgraph.ir.ops.movement import (
    broadcast_to,
    expand_dims,
    holes,
    reshape,
    squeeze,
    sum_to,
    transpose,
)
from jitgraph.ir.ops.reduction import sum_
from jitgraph.ir.values import Op, Value
from jitgraph.passes.rules.rule import FINITE, Rule, number_of, recipe, same, same_shape

Args = tuple[Value, ...]


def source(value: Value, *names: str) -> Op | None:
    """The op that made the value, if it is one of these."""
    op = value.op
    return op if op is not None and op.definition.name in names else None


# --- sizes -------------------------------------------------------------------------------------
#: How many operands come before the sizes.
_ARRAYS = {
    "broadcast_to": 1, "sum_to": 1, "reshape": 1, "iota": 0, "slice": 1, "set_slice": 2,
    "add_slice": 2,
}  # fmt: skip


def _known(builder: Builder, size: Value) -> Size:
    """What is known of a run-time size: its number, or the value that stands for all equals."""
    found = builder.find(size)
    return size if isinstance(found, int) and found < 0 else found


@recipe("known-sizes", *_ARRAYS)
def known_sizes(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """op(x, 3) {shape = [none]} => op(x) {shape = [3]}"""
    lead = _ARRAYS[definition.name]
    given = args[lead:]
    sizes = [_known(builder, a) for a in given]
    if all(map(same, sizes, given)):
        return None
    new = dict(attrs)
    operands: list[Value] = []
    used = 0
    for name in ("starts", "sizes") if "starts" in attrs else ("shape",):
        count = holes(attrs[name])
        new[name], dynamic = split_sizes(join_sizes(attrs[name], sizes[used : used + count]))
        operands += dynamic
        used += count
    return emit(definition, (*args[:lead], *operands), **new)


# --- broadcast_to and sum_to -------------------------------------------------------------------
@recipe("broadcast-to-own-shape", "broadcast_to")
def broadcast_to_own_shape(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """broadcast_to(x, shape of x) => x"""
    own = same_shape(builder.shape(args[0]), _target(builder, args, attrs))
    return args[0] if own else None


def _target(builder: Builder, args: Args, attrs: Attrs) -> Shape:
    return tuple(map(builder.find, join_sizes(attrs["shape"], args[1:])))


@recipe("broadcast-of-broadcast", "broadcast_to")
def broadcast_of_broadcast(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """broadcast_to(broadcast_to(x)) => broadcast_to(x), also over expand_dims of leading axes"""
    inner = source(args[0], "broadcast_to", "expand_dims")
    if inner is None:
        return None
    if inner.name == "expand_dims" and not _leading(inner.attrs["axes"]):
        return None
    return broadcast_to(inner.args[0], join_sizes(attrs["shape"], args[1:]))


def _leading(axes: Sequence[int]) -> bool:
    return tuple(axes) == tuple(range(len(axes)))


@recipe("splat-constant", "constant")
def splat_constant(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """constant [c, c, ...] => broadcast_to(c)"""
    literal = attrs["value"]
    if literal.array.size < 2 or (number := literal.splat) is None:
        return None
    return broadcast_to(constant(number), literal.array.shape)


@recipe("resolve-sum-to", "sum_to")
def resolve_sum_to(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """sum_to(x, shape) => expand_dims(reduce_sum(x)), the axes to sum being known now"""
    x, have, want = args[0], builder.shape(args[0]), _target(builder, args, attrs)
    lead = len(have) - len(want)
    keep = [same(h, w) for h, w in zip(have[lead:], want, strict=True)]
    ones = [i for i, w in enumerate(want) if same(w, 1) and not keep[i]]
    axes = (*range(lead), *(lead + i for i in ones))
    if not axes and not all(keep):
        return None
    rest = expand_dims(sum_(x, axes), ones)
    # Where it is not known yet whether an axis was broadcast, that is decided at the call.
    return rest if len(ones) + sum(keep) == len(want) else sum_to(rest, want)


# --- reshape -----------------------------------------------------------------------------------
@recipe("reshape-to-own-shape", "reshape")
def reshape_to_own_shape(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """reshape(x, shape of x) => x, and with axes of extent 1 more or less: squeeze, expand_dims"""
    have, want = builder.shape(args[0]), _target(builder, args, attrs)
    if same_shape(have, want):
        return args[0]
    if not same_shape(_without_ones(have), _without_ones(want)):
        return None
    surplus, missing = _unmatched_ones(have, want)
    return expand_dims(squeeze(args[0], surplus), missing)


def _unmatched_ones(have: Shape, want: Shape) -> tuple[list[int], list[int]]:
    """The axes of extent 1 only the first shape has, and those only the second has."""
    surplus: list[int] = []
    missing: list[int] = []
    i = j = 0
    while i < len(have) or j < len(want):
        one_here = i < len(have) and same(have[i], 1)
        one_there = j < len(want) and same(want[j], 1)
        if one_here and not one_there:
            surplus.append(i)
        elif one_there and not one_here:
            missing.append(j)
        i += one_here or not one_there
        j += one_there or not one_here
    return surplus, missing


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if not same(size, 1))


@recipe("reshape-of-view", "reshape", over=("reshape", "expand_dims", "squeeze"))
def reshape_of_view(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """reshape(reshape(x)) => reshape(x), also over expand_dims and squeeze"""
    inner = source(args[0], "reshape", "expand_dims", "squeeze")
    return None if inner is None else reshape(inner.args[0], join_sizes(attrs["shape"], args[1:]))


# --- transpose, expand_dims, squeeze -----------------------------------------------------------
@recipe("transpose-of-view", "transpose")
def transpose_of_view(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """transpose(transpose(x)) => transpose(x); transpose(expand_dims(x)) => expand_dims(...)"""
    perm = attrs["perm"]
    if perm == tuple(range(len(perm))):
        return args[0]
    inner = source(args[0], "transpose", "expand_dims")
    if inner is None:
        return None
    x = inner.args[0]
    if inner.name == "transpose":
        return transpose(x, [inner.attrs["perm"][p] for p in perm])
    new = inner.attrs["axes"]
    old = [i for i in range(len(perm)) if i not in new]
    moved = transpose(x, [old.index(p) for p in perm if p not in new])
    return expand_dims(moved, [i for i, p in enumerate(perm) if p in new])


@recipe("expand-of-expand", "expand_dims")
def expand_of_expand(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """expand_dims(expand_dims(x)) => expand_dims(x)"""
    outer = attrs["axes"]
    if not outer:
        return args[0]
    inner = source(args[0], "expand_dims")
    if inner is None:
        return None
    places = [i for i in range(args[0].ndim + len(outer)) if i not in outer]
    return expand_dims(inner.args[0], (*outer, *(places[a] for a in inner.attrs["axes"])))


@recipe("squeeze-of-view", "squeeze")
def squeeze_of_view(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """squeeze(expand_dims(x)) => x; squeeze(squeeze(x)) => squeeze(x)"""
    outer = attrs["axes"]
    if not outer:
        return args[0]
    inner = source(args[0], "expand_dims", "squeeze")
    if inner is None:
        return None
    x, axes = inner.args[0], inner.attrs["axes"]
    if inner.name == "squeeze":
        kept = [i for i in range(x.ndim) if i not in axes]
        return squeeze(x, (*axes, *(kept[a] for a in outer)))
    if not set(outer) & set(axes):
        return None
    # What is squeezed of x itself goes first, counted as the axes of x are.
    old = [i for i in range(args[0].ndim) if i not in axes]
    left = [i for i in range(args[0].ndim) if i not in outer]
    rest = squeeze(x, [old.index(a) for a in outer if a not in axes])
    return expand_dims(rest, [left.index(a) for a in axes if a not in outer])


# --- slice -------------------------------------------------------------------------------------
def _sliced_axes(args: Args, attrs: Attrs, lead: int) -> dict[int, tuple[Size, Size, int]]:
    starts, sizes = slice_bounds(attrs, args[lead:])
    return dict(zip(attrs["axes"], zip(starts, sizes, attrs["steps"], strict=True), strict=True))


def _slice_all(x: Value, cuts: dict[int, tuple[Size, Size, int]]) -> Value:
    axes = sorted(cuts)
    starts, sizes, steps = zip(*(cuts[a] for a in axes), strict=True) if axes else ((), (), ())
    return slice_(x, axes, starts, sizes, steps)


def _is_whole(builder: Builder, extent: Size, cut: tuple[Size, Size, int]) -> bool:
    start, size, step = cut
    return step == 1 and same(builder.find(start), 0) and same(builder.find(size), extent)


@recipe("slice-of-whole", "slice")
def slice_of_whole(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """x[0:n] => x for an axis of extent n"""
    extents = builder.shape(args[0])
    cuts = _sliced_axes(args, attrs, 1)
    left = {a: cut for a, cut in cuts.items() if not _is_whole(builder, extents[a], cut)}
    return None if len(left) == len(cuts) else _slice_all(args[0], left)


@recipe("slice-of-slice", "slice", over=("slice",))
def slice_of_slice(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """x[a::p][b::q] => x[a + b*p :: p*q]"""
    inner = source(args[0], "slice")
    if inner is None:
        return None
    cuts = _sliced_axes(inner.args, inner.attrs, 1)
    for axis, (start, size, step) in _sliced_axes(args, attrs, 1).items():
        first, _, stride = cuts.get(axis, (0, 0, 1))
        cuts[axis] = (first + start * stride, size, stride * step)
    return _slice_all(inner.args[0], cuts)


@recipe("set-whole", "set_slice")
def set_whole(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """x with x[:] = v => v"""
    extents = builder.shape(args[0])
    cuts = _sliced_axes(args, attrs, 2)
    whole = all(_is_whole(builder, extents[a], cut) for a, cut in cuts.items())
    return broadcast_to(args[1], extents) if whole else None


# --- joins -------------------------------------------------------------------------------------
@recipe("concatenate-nothing", "concatenate")
def concatenate_nothing(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """concatenate(x, y) => x for a y without elements along the axis"""
    axis = attrs["axis"]
    kept = [a for a in args if not same(builder.shape(a)[axis], 0)] or list(args[:1])
    if len(kept) == len(args) > 1:
        return None
    definition.shape(builder, args, attrs)  # demands that the other extents are equal
    return kept[0] if len(kept) == 1 else emit(definition, kept, **attrs)


# --- sums of what is zero outside a slice: the gradient of overlapping slices -------------------
def _add_part(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """x + (zeros with zeros[a:b] = v) => x with x[a:b] += v"""
    for whole, other in (args, args[::-1]):
        op = source(other, "set_slice")
        if op is None or not _is_zero(op.args[0]):
            continue
        if same_shape(builder.shape(whole), builder.shape(other)):
            return emit(ADD_SLICE, (whole, *op.args[1:]), **op.attrs)
    return None


def _is_zero(value: Value) -> bool:
    number = number_of(value)
    return number is not None and bool(number == 0)


add_part = recipe("add-part", "add", dtypes="iu", stage="late", over=("set_slice",))(_add_part)
# Outside the slice x + 0.0 is x, but for the sign of a zero.
add_part_floats = recipe(
    "add-part-floats", "add", dtypes="fc", stage="late", over=("set_slice",), assumes=FINITE
)(_add_part)


RULES: tuple[Rule, ...] = (
    known_sizes, broadcast_to_own_shape, broadcast_of_broadcast, splat_constant, resolve_sum_to,
    reshape_to_own_shape, reshape_of_view, transpose_of_view, expand_of_expand, squeeze_of_view,
    slice_of_whole, slice_of_slice, set_whole, concatenate_nothing, add_part, add_part_floats,
)  # fmt: skip
