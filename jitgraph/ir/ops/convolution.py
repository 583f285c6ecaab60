"""Convolution (correlation, as in all neural networks) over one to three axes.

    y[n, o, p] = sum over c, k of x[n, c, p * stride + k * dilation - before] * w[o, c, k]

With weights g the sum of g * y is linear in each of x, w and g. The three ops are its derivatives
by g (the convolution), by x (also known as transposed convolution) and by w; so the derivatives of
each are the other two. Axes before those named are a batch, which all operands have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

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
    Size,
    emit,
    join_sizes,
    register,
    same_size,
    split_sizes,
)
from jitgraph.ir.ops.arithmetic import equal, greater_equal
from jitgraph.ir.ops.movement import check_sizes, dims, expand_dims, holes, reshape, squeeze
from jitgraph.ir.types import F64, DType, Type, dim_text
from jitgraph.ir.values import Value

F16, F32 = np.dtype(np.float16), np.dtype(np.float32)
#: Named paddings, that depend on the filters: outputs of the input's extent where that of the
#: filters is odd, and every output that an element of the input has a part in.
NAMED = ("half", "full")
#: What attributes all three ops have.
GEOMETRY = ("strides", "padding", "dilation", "groups")


# --- geometry -----------------------------------------------------------------------------------
def margins(kernel: Sequence[Any], attrs: Attrs) -> list[tuple[Any, Any]]:
    """Elements (zeros) before and after each axis; None where that is not known."""
    padding = attrs["padding"]
    if not isinstance(padding, str):
        return list(zip(padding[::2], padding[1::2], strict=True))
    reach = [_reach(k, d) for k, d in zip(kernel, attrs["dilation"], strict=True)]
    each = [None if r is None else r // 2 if padding == "half" else r - 1 for r in reach]
    return list(zip(each, each, strict=True))


def _reach(kernel: Any, dilation: int) -> Any:
    """How many elements of the input a filter spans."""
    return None if kernel is None else (kernel - 1) * dilation + 1


def output_extents(spatial: Sequence[Any], kernel: Sequence[Any], attrs: Attrs) -> list[Any]:
    """How many places filters have along each axis; None where that is not known."""
    found: list[Any] = []
    for room, step in zip(_room(spatial, kernel, attrs), attrs["strides"], strict=True):
        found.append(None if room is None else room // step + 1 if step != 1 else room + 1)
    return found


def _room(spatial: Sequence[Any], kernel: Sequence[Any], attrs: Attrs) -> list[Any]:
    """How far a filter can be moved along each axis."""
    room: list[Any] = []
    pads = margins(kernel, attrs)
    for n, k, d, (low, high) in zip(spatial, kernel, attrs["dilation"], pads, strict=True):
        known = n is not None and k is not None
        room.append(n + low + high - _reach(k, d) if known else None)
    return room


def _numbers(extents: Sequence[Any]) -> list[int | None]:
    return [d if isinstance(d, int) else None for d in extents]


def _parts(shape: Sequence[Any], attrs: Attrs) -> tuple[tuple[Any, ...], Any, Any, tuple[Any, ...]]:
    """The batch, the two axes before the spatial ones, and these."""
    rank = len(attrs["strides"])
    lead = len(shape) - rank - 2
    return tuple(shape[:lead]), shape[lead], shape[lead + 1], tuple(shape[lead + 2 :])


# --- inference ----------------------------------------------------------------------------------
def _check_operands(name: str, types: Sequence[Type], attrs: Attrs) -> None:
    a, b = types[:2]
    if a.dtype != b.dtype:
        raise DTypeError(f"{name} takes operands of one dtype, not {a} and {b}",
                         hint="insert a cast")  # fmt: skip
    if a.dtype not in (F16, F32, F64):
        raise DTypeError(f"{name} does not take {a}", hint="cast to a floating dtype")
    least = len(attrs["strides"]) + 2
    if a.rank < least or a.rank != b.rank:
        raise ShapeError(f"{name} over {least - 2} axes takes arrays of {least} dimensions, "
                         f"not {a} and {b}")  # fmt: skip
    for x, y in zip(_parts(a.shape, attrs)[0], _parts(b.shape, attrs)[0], strict=True):
        _agree(name, types, "batch extents", x, y)


def _agree(name: str, types: Sequence[Type], what: str, a: Any, b: Any) -> Any:
    """Two extents that must be equal, as far as known."""
    if isinstance(a, int) and isinstance(b, int) and a != b:
        raise ShapeError(f"{name} of {types[0]} and {types[1]}: the {what} {a} and {b} differ")
    return a if isinstance(a, int) else b


def _check_channels(
    name: str, types: Sequence[Type], attrs: Attrs, channels: Any, each: Any, filters: Any
) -> None:
    groups = attrs["groups"]
    if isinstance(channels, int) and isinstance(each, int) and channels != each * groups:
        parts = "" if groups == 1 else f" in each of {groups} groups"
        raise ShapeError(
            f"{name} of {types[0]} and {types[1]}: the input has {channels} channels, "
            f"the filters have {each}{parts}"
        )
    if isinstance(filters, int) and filters % groups:
        raise ShapeError(f"{name} of {types[0]} and {types[1]}: "
                         f"{filters} filters do not make {groups} equal groups")  # fmt: skip


def _check_room(
    name: str, types: Sequence[Type], attrs: Attrs, spatial: Sequence[Any], kernel: Sequence[Any]
) -> None:
    known, filters = _numbers(spatial), _numbers(kernel)
    for axis, room in enumerate(_room(known, filters, attrs)):
        if filters[axis] == 0:
            raise ShapeError(f"{name}: filters without elements along axis {axis}: {types[1]}")
        if room is not None and room < 0:
            n, k = known[axis], filters[axis]
            assert n is not None
            assert k is not None
            low, high = margins(filters, attrs)[axis]
            raise ShapeError(
                f"{name} of {types[0]} and {types[1]}: filters that span "
                f"{_reach(k, attrs['dilation'][axis])} elements do not fit into the {n} "
                f"of spatial axis {axis}" + f" with {low} + {high} zeros around" * bool(low + high),
                hint="pad the input (border_mode='half' or 'full'), or use smaller filters",
            )


def _infer_conv(types: Sequence[Type], attrs: Attrs) -> Type:
    name = "convolution"
    _check_operands(name, types, attrs)
    (lead, n, channels, spatial), (_, filters, each, kernel) = (
        _parts(t.shape, attrs) for t in types
    )
    _check_channels(name, types, attrs, channels, each, filters)
    _check_room(name, types, attrs, spatial, kernel)
    out = output_extents(_numbers(spatial), _numbers(kernel), attrs)
    return types[0].with_shape((*lead, n, filters, *out))


def _infer_by_input(types: Sequence[Type], attrs: Attrs) -> Type:
    name = "transposed convolution"
    check_sizes(name, types[2:], holes(attrs["sizes"]))
    _check_operands(name, types, attrs)
    (lead, n, maps, out), (_, filters, each, kernel) = (_parts(t.shape, attrs) for t in types[:2])
    _agree(name, types, "numbers of filters", maps, filters)
    channels = each * attrs["groups"] if isinstance(each, int) else None
    _check_channels(name, types, attrs, channels, each, filters)
    _check_places(name, types, attrs, attrs["sizes"], kernel, out)
    return types[0].with_shape((*lead, n, channels, *attrs["sizes"]))


def _infer_by_filters(types: Sequence[Type], attrs: Attrs) -> Type:
    name = "convolution's gradient by its filters"
    check_sizes(name, types[2:], holes(attrs["sizes"]))
    _check_operands(name, types, attrs)
    (lead, n, channels, spatial), (_, m, filters, out) = (
        _parts(t.shape, attrs) for t in types[:2]
    )
    _agree(name, types, "numbers of images", n, m)
    each = channels // attrs["groups"] if isinstance(channels, int) else None
    _check_channels(name, types, attrs, channels, each, filters)
    _check_places(name, types, attrs, spatial, attrs["sizes"], out)
    return types[0].with_shape((*lead, filters, each, *attrs["sizes"]))


def _check_places(
    name: str,
    types: Sequence[Type],
    attrs: Attrs,
    spatial: Sequence[Any],
    kernel: Sequence[Any],
    out: Sequence[Any],
) -> None:
    _check_room(name, types, attrs, spatial, kernel)
    wanted = output_extents(_numbers(spatial), _numbers(kernel), attrs)
    for axis, (have, want) in enumerate(zip(out, wanted, strict=True)):
        if isinstance(have, int) and want is not None and have != want:
            raise ShapeError(
                f"{name} of {types[0]}: along spatial axis {axis}, filters of "
                f"{dim_text(kernel[axis])} have {want} places in an input of "
                f"{dim_text(spatial[axis])}, not {have}"
            )


# --- run-time shapes ----------------------------------------------------------------------------
def _conv_shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    (lead, n, channels, spatial), (_, filters, each, kernel) = (
        _parts(source.shape(a), attrs) for a in args
    )
    if attrs["groups"] == 1:
        source.same_size(channels, each)
    return (*lead, n, filters, *output_extents(spatial, kernel, attrs))


def _by_input_shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    lead, n, maps, _ = _parts(source.shape(args[0]), attrs)
    _, filters, each, _ = _parts(source.shape(args[1]), attrs)
    source.same_size(maps, filters)
    return (*lead, n, each * attrs["groups"], *join_sizes(attrs["sizes"], args[2:]))


def _by_filters_shape(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Shape:
    lead, n, channels, _ = _parts(source.shape(args[0]), attrs)
    _, m, filters, _ = _parts(source.shape(args[1]), attrs)
    source.same_size(n, m)
    groups = attrs["groups"]
    each = channels if groups == 1 else channels // groups
    return (*lead, filters, each, *join_sizes(attrs["sizes"], args[2:]))


def _same_batch(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    leads = [_parts(source.shape(a), attrs)[0] for a in args[:2]]
    return _equal(*leads)


def _equal(have: Sequence[Size], want: Sequence[Size]) -> list[Value]:
    return [equal(a, b) for a, b in zip(have, want, strict=True) if not same_size(a, b)]


def _fits(spatial: Sequence[Size], kernel: Sequence[Size], attrs: Attrs) -> list[Value]:
    room = [r for r in _room(spatial, kernel, attrs) if isinstance(r, Value)]
    some = [k for k in kernel if isinstance(k, Value)]
    return [greater_equal(r, 0) for r in room] + [greater_equal(k, 1) for k in some]


def _in_groups(channels: Size, each: Size, filters: Size, groups: int) -> list[Value]:
    if groups == 1:
        return []
    found = _equal([channels], [each * groups])
    return found + ([equal(filters % groups, 0)] if isinstance(filters, Value) else [])


def _conv_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    (_, _, channels, spatial), (_, filters, each, kernel) = (
        _parts(source.shape(a), attrs) for a in args
    )
    return [*_same_batch(source, args, attrs), *_fits(spatial, kernel, attrs),
            *_in_groups(channels, each, filters, attrs["groups"])]  # fmt: skip


def _by_input_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    _, _, _, out = _parts(source.shape(args[0]), attrs)
    _, filters, each, kernel = _parts(source.shape(args[1]), attrs)
    spatial = join_sizes(attrs["sizes"], args[2:])
    return [*_same_batch(source, args, attrs), *_fits(spatial, kernel, attrs),
            *_in_groups(each * attrs["groups"], each, filters, attrs["groups"]),
            *_equal(out, output_extents(spatial, kernel, attrs))]  # fmt: skip


def _by_filters_fits(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    _, _, channels, spatial = _parts(source.shape(args[0]), attrs)
    _, _, filters, out = _parts(source.shape(args[1]), attrs)
    kernel, groups = join_sizes(attrs["sizes"], args[2:]), attrs["groups"]
    whole = [equal(channels % groups, 0)] if groups > 1 and isinstance(channels, Value) else []
    return [*_same_batch(source, args, attrs), *_fits(spatial, kernel, attrs), *whole,
            *_in_groups(0, 0, filters, groups),
            *_equal(out, output_extents(spatial, kernel, attrs))]  # fmt: skip


# --- the meaning --------------------------------------------------------------------------------
def _patches(x: Array, kernel: Sequence[int], attrs: Attrs) -> Array:
    """What filters see: [n, channel, *place, *element of the filter]."""
    pads = margins(kernel, attrs)
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    reach = [_reach(k, d) for k, d in zip(kernel, attrs["dilation"], strict=True)]
    axes = tuple(range(2, x.ndim))
    windows = sliding_window_view(padded, reach, axes)
    every = (slice(None), slice(None))
    places = [slice(None, None, s) for s in attrs["strides"]]
    return windows[(*every, *places, *(slice(None, None, d) for d in attrs["dilation"]))]


def _grouped(x: Array, axis: int, groups: int) -> Array:
    """The channels as [group, channel of the group]."""
    shape = list(x.shape)
    return x.reshape([*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]])


def _of_batch(
    infer: Callable[[Sequence[Type], Attrs], Type], single: Callable[..., Array],
    a: Array, b: Array, attrs: Attrs,
) -> Array:  # fmt: skip
    """The meaning for a batch, given that of one element; halves are summed in single precision."""
    result = infer([Type(x.dtype, x.shape) for x in (a, b)], attrs)
    found = np.empty([d for d in result.shape if isinstance(d, int)], a.dtype)
    wide = np.promote_types(a.dtype, F32)
    with np.errstate(all="ignore"):
        for place in np.ndindex(a.shape[: a.ndim - len(attrs["strides"]) - 2]):
            found[place] = single(a[place].astype(wide), b[place].astype(wide), **attrs)
    return found


def _evaluate_conv(
    x: Array, w: Array, *, strides: Any, padding: Any, dilation: Any, groups: int
) -> Array:
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return _of_batch(_infer_conv, _conv, x, w, attrs)


def _evaluate_by_input(
    g: Array, w: Array, *dynamic: Array,
    sizes: Any, strides: Any, padding: Any, dilation: Any, groups: int,
) -> Array:  # fmt: skip
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups,
             "sizes": join_sizes(sizes, dynamic)}  # fmt: skip
    return _of_batch(_infer_by_input, _by_input, g, w, attrs)


def _evaluate_by_filters(
    x: Array, g: Array, *dynamic: Array,
    sizes: Any, strides: Any, padding: Any, dilation: Any, groups: int,
) -> Array:  # fmt: skip
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups,
             "sizes": join_sizes(sizes, dynamic)}  # fmt: skip
    return _of_batch(_infer_by_filters, _by_filters, x, g, attrs)


def _conv(x: Array, w: Array, **attrs: Any) -> Array:
    groups, rank = attrs["groups"], x.ndim - 2
    seen = _grouped(_patches(x, w.shape[2:], attrs), 1, groups)
    filters = _grouped(w, 0, groups)
    n, g, c, o = range(4)
    places, inside = range(4, 4 + rank), range(4 + rank, 4 + 2 * rank)
    y = np.einsum(seen, [n, g, c, *places, *inside], filters, [g, o, c, *inside],
                  [n, g, o, *places], optimize=True)  # fmt: skip
    return np.asarray(y.reshape(x.shape[0], w.shape[0], *y.shape[3:]))


def _by_input(g: Array, w: Array, **attrs: Any) -> Array:
    spatial = attrs["sizes"]
    groups, kernel = attrs["groups"], w.shape[2:]
    pads = margins(kernel, attrs)
    over, filters = _grouped(g, 1, groups), _grouped(w, 0, groups)
    whole = [n + low + high for n, (low, high) in zip(spatial, pads, strict=True)]
    x = np.zeros((g.shape[0], groups, w.shape[1], *whole), g.dtype)
    for place in product(*map(range, kernel)):
        cut: list[Any] = [slice(k * d, k * d + (p - 1) * s + 1, s) for k, d, p, s in zip(
            place, attrs["dilation"], g.shape[2:], attrs["strides"], strict=True)]  # fmt: skip
        at: tuple[Any, ...] = (..., *place)
        x[(..., *cut)] += np.einsum("ngo...,goc->ngc...", over, filters[at])
    inside: list[Any] = [slice(low, low + n) for n, (low, _) in zip(spatial, pads, strict=True)]
    return np.asarray(x[(..., *inside)].reshape(g.shape[0], groups * w.shape[1], *spatial))


def _by_filters(x: Array, g: Array, **attrs: Any) -> Array:
    kernel, groups, rank = attrs["sizes"], attrs["groups"], x.ndim - 2
    seen = _grouped(_patches(x, kernel, attrs), 1, groups)
    over = _grouped(g, 1, groups)
    n, m, c, o = range(4)
    places, inside = range(4, 4 + rank), range(4 + rank, 4 + 2 * rank)
    w = np.einsum(seen, [n, m, c, *places, *inside], over, [n, m, o, *places],
                  [m, o, c, *inside], optimize=True)  # fmt: skip
    return np.asarray(w.reshape(g.shape[1], x.shape[1] // groups, *kernel))


# --- gradients ----------------------------------------------------------------------------------
def _geometry(attrs: Attrs) -> dict[str, Any]:
    return {name: attrs[name] for name in GEOMETRY}


def _spatial(x: Value, attrs: Attrs) -> Shape:
    return dims(x)[x.ndim - len(attrs["strides"]) :]


def _conv_gradient(g: Value, y: Value, x: Value, w: Value, **attrs: Any) -> list[Value]:
    return [by_input(g, w, _spatial(x, attrs), **attrs),
            by_filters(x, g, _spatial(w, attrs), **attrs)]  # fmt: skip


def _by_input_gradient(
    h: Value, x: Value, g: Value, w: Value, *sizes: Value, **attrs: Any
) -> list[Value | None]:
    geometry = _geometry(attrs)
    return [convolve(h, w, **geometry), by_filters(h, g, _spatial(w, attrs), **geometry),
            *([None] * len(sizes))]  # fmt: skip


def _by_filters_gradient(
    v: Value, w: Value, x: Value, g: Value, *sizes: Value, **attrs: Any
) -> list[Value | None]:
    geometry = _geometry(attrs)
    return [by_input(g, v, _spatial(x, attrs), **geometry), convolve(x, v, **geometry),
            *([None] * len(sizes))]  # fmt: skip


# --- native code and batches --------------------------------------------------------------------
def _decompose(definition: Any, *args: Value, **attrs: Any) -> Value:
    """Over three axes, in single or double precision: what there is native code for."""
    a, b, *sizes = args
    missing = 3 - len(attrs["strides"])
    if a.dtype == F16:
        wide = _decompose(definition, cast(a, F32), cast(b, F32), *sizes, **attrs)
        return cast(wide, F16)  # type: ignore[no-any-return]
    if not missing:
        return emit(definition(), args, **attrs)
    lead = a.ndim - len(attrs["strides"])
    axes = tuple(range(lead, lead + missing))
    ones = (1,) * missing
    more = {"strides": ones + attrs["strides"], "dilation": ones + attrs["dilation"],
            "groups": attrs["groups"], "padding": attrs["padding"]}  # fmt: skip
    if not isinstance(attrs["padding"], str):
        more["padding"] = (0, 0) * missing + attrs["padding"]
    if "sizes" in attrs:
        more["sizes"] = ones + attrs["sizes"]
    return squeeze(emit(definition(), (expand_dims(a, axes), expand_dims(b, axes), *sizes), **more),
                   axes)  # fmt: skip


def _batch_images(batch: Batch, a: Value, b: Value, *sizes: Value, **attrs: Any) -> Value:
    """Many inputs under one set of filters are more images."""
    rank = len(attrs["strides"])
    if batch.flags[0] and not batch.among(1) and a.ndim == rank + 3:
        shape = dims(a)
        flat = reshape(a, (shape[0] * shape[1], *shape[2:]))
        y = emit(batch.definition, (flat, b, *sizes), **attrs)
        return reshape(y, (*shape[:2], *dims(y)[1:]))
    return along_rows(batch, a, b, *sizes, **attrs)


_INPUT, _FILTERS, _OUTPUT = "nczyx", "oekji", "norqp"

CONV: OpDef = OpDef(
    name="conv",
    infer=_infer_conv,
    evaluate=_evaluate_conv,
    shape=_conv_shape,
    requires=_conv_fits,
    gradient=_conv_gradient,
    lower=Routine("convolution", ("conv",), (_INPUT, _FILTERS), (_OUTPUT,), dense=True),
    decompose=partial(_decompose, lambda: CONV),
    batch=_batch_images,
    doc="Correlation of images [n, channel, ...] with filters [filter, channel of the group, ...].",
)
CONV_BY_INPUT: OpDef = OpDef(
    name="conv_by_input",
    infer=_infer_by_input,
    evaluate=_evaluate_by_input,
    shape=_by_input_shape,
    requires=_by_input_fits,
    gradient=_by_input_gradient,
    lower=Routine("convolution", ("conv_by_input",), (_OUTPUT, _FILTERS), (_INPUT,), dense=True),
    decompose=partial(_decompose, lambda: CONV_BY_INPUT),
    batch=_batch_images,
    doc="The adjoint of `conv` by its images, whose spatial extents are `sizes`: the transposed "
    "convolution.",
)
CONV_BY_FILTERS: OpDef = OpDef(
    name="conv_by_filters",
    infer=_infer_by_filters,
    evaluate=_evaluate_by_filters,
    shape=_by_filters_shape,
    requires=_by_filters_fits,
    gradient=_by_filters_gradient,
    lower=Routine("convolution", ("conv_by_filters",), (_INPUT, _OUTPUT), (_FILTERS,), dense=True),
    decompose=partial(_decompose, lambda: CONV_BY_FILTERS),
    batch=along_rows,
    doc="The adjoint of `conv` by its filters, whose spatial extents are `sizes`.",
)
for _definition in (CONV, CONV_BY_INPUT, CONV_BY_FILTERS):
    register(_definition)


# --- the ops as functions -----------------------------------------------------------------------
def convolve(x: Value, w: Value, **geometry: Any) -> Value:
    """The convolution; `geometry` has what `GEOMETRY` names."""
    return emit(CONV, (x, w), **geometry)


def by_input(g: Value, w: Value, sizes: Sequence[Size], **geometry: Any) -> Value:
    """The transposed convolution, to spatial extents `sizes`."""
    static, dynamic = split_sizes(sizes)
    return emit(CONV_BY_INPUT, (g, w, *dynamic), sizes=static, **geometry)


def by_filters(x: Value, g: Value, sizes: Sequence[Size], **geometry: Any) -> Value:
    """The adjoint of filters with spatial extents `sizes`."""
    static, dynamic = split_sizes(sizes)
    return emit(CONV_BY_FILTERS, (x, g, *dynamic), sizes=static, **geometry)


def floating(dtype: DType) -> bool:
    """Whether convolutions take the dtype."""
    return dtype in (F16, F32, F64)
