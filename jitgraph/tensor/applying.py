"""Functions of the user's own, applied along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgraph.errors import ShapeError
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import movement
from jitgraph.ir.types import normalise_axes, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.derivatives import vectorize_graph
from jitgraph.tensor.operands import as_tensor, public
from jitgraph.tensor.regions import parameter


@public
def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: ArrayLike, *args: Any, **kwargs: Any
) -> Value:
    """What a function makes of each vector along an axis. It is called once, with a symbolic one;
    the axes of what it gives take the place of the axis."""
    x = as_tensor(arr)
    place = normalise_axis(axis, x.ndim)
    lead = [a for a in range(x.ndim) if a != place]
    sizes = [movement.dim(x, a) for a in lead]
    rows = movement.reshape(movement.transpose(x, [*lead, place]),
                            (movement.product(sizes), movement.dim(x, place)))  # fmt: skip
    one = parameter(rows.type.with_shape(rows.type.shape[1:]), "row")
    made = as_tensor(func1d(one, *args, **kwargs))
    many: Value = vectorize_graph(made, {one: rows})
    found = movement.reshape(many, (*sizes, *movement.dims(many)[1:]))
    own = range(len(lead), found.ndim)
    return movement.transpose(found, [*range(place), *own, *range(place, len(lead))])


@public
def apply_over_axes(func: Callable[..., Any], a: ArrayLike, axes: Any) -> Value:
    """A function of an array and an axis, applied for one axis after the other, which it may leave
    out or keep with extent 1."""
    x: Value = as_tensor(a)
    for axis in normalise_axes(tuple(axes) if isinstance(axes, list) else axes, x.ndim):
        made: Value = as_tensor(func(x, axis))
        made = movement.expand_dims(made, (axis,)) if made.ndim == x.ndim - 1 else made
        if made.ndim != x.ndim:
            raise ShapeError(f"the function makes {made.type} of {x.type}")
        x = made
    return x
