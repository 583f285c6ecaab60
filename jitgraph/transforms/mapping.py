"""`vmap`: a function of one element => the same of many elements at once."""

from __future__ import annotations

from typing import Any

from jitgraph.errors import BatchingError, InputError, ShapeError
from jitgraph.ir.opdef import Size
from jitgraph.ir.ops import movement
from jitgraph.ir.types import Type, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.passes.batched_regions import spread
from jitgraph.passes.batching import batched
from jitgraph.tensor.operands import as_tensor, typed
from jitgraph.tensor.variable import Variable
from jitgraph.transforms.functions import Function, checked, results, transformed
from jitgraph.trees import flatten, unflatten
from jitgraph.trees import spread as one_per_leaf


def vmap(f: Function, in_axes: Any = 0, out_axes: Any = 0) -> Any:
    """f for many elements at once: its arguments have one axis more, along which the elements lie,
    and so have its results.

    in_axes: where that axis is: a number for all arguments; or a tuple (list) with an entry for
    each, which is a number, None for an argument that all elements share, or a tree of these like
    the argument. out_axes: where it shall be in the results, likewise. Arguments by keyword are
    mapped along their first axis. The elements are computed together, never one after the other.
    """
    checked(f, "vmap")

    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        axes = _axes_of(in_axes, args, kwargs)
        elements = _Elements(leaves, axes)
        own_args, own_kwargs = unflatten(structure, elements.ones)
        out, out_structure = results(f(*own_args, **own_kwargs), "a result of a function in vmap")
        places = one_per_leaf(out_axes, out_structure, "out_axes")
        try:
            made = batched(out, elements.inputs, elements.size)
        except BatchingError as error:
            raise error.locate(caller_location()) from None
        return unflatten(out_structure, [
            _placed(value, differs, place, elements.size)
            for (value, differs), place in zip(made, places, strict=True)
        ])  # fmt: skip

    return transformed(f, call, "vmap", vmap, in_axes, out_axes)


def _axes_of(in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The axis of each leaf, or None."""
    if isinstance(in_axes, list | tuple):
        if len(in_axes) != len(args):
            raise InputError(
                f"in_axes has {len(in_axes)} entries for {len(args)} arguments",
                location=caller_location(),
            )
        given = list(in_axes)
    else:
        given = [in_axes] * len(args)
    found = []
    for axis, arg in zip(given, args, strict=True):
        found += one_per_leaf(axis, flatten(arg)[1], "in_axes")
    return found + [0] * len(flatten(kwargs)[0])


class _Elements:
    """The arguments of a mapped function: what stands for one element, and all of them."""

    def __init__(self, leaves: list[Any], axes: list[Any]) -> None:
        self.inputs: dict[Value, Value] = {}
        self.ones: list[Any] = []
        self.size: Size = 0
        for leaf, axis in zip(leaves, axes, strict=True):
            self.ones.append(leaf if axis is None else self._one(as_tensor(leaf), axis))
        if not self.inputs:
            raise InputError(
                "vmap maps none of the arguments", hint="in_axes=0 maps along the first axis",
                location=caller_location(),
            )  # fmt: skip

    def _one(self, many: Value, axis: Any) -> Variable:
        if not many.ndim:
            raise ShapeError(
                f"vmap cannot map {many.describe()} along axis {axis}: it is {many.type}",
                hint="in_axes=None for an argument that all elements share",
                location=caller_location(),
            )
        axis = normalise_axis(axis, many.ndim)
        order = [axis, *(a for a in range(many.ndim) if a != axis)]
        first = movement.transpose(many, order)
        size = movement.dim(first, 0)
        if not self.inputs:
            self.size = size
        elif isinstance(size, int) and isinstance(self.size, int):
            if size != self.size:
                raise ShapeError(
                    f"vmap maps {self.size} elements of one argument, and {size} of another",
                    location=caller_location(),
                )
        else:  # a reshape is checked by the call
            first = movement.reshape(first, (self.size, *movement.dims(first)[1:]))
        one = Variable(Type(first.dtype, first.type.shape[1:]), None, many.name)
        self.inputs[one] = first
        return one


def _placed(value: Value, differs: bool, place: Any, size: Size) -> Variable:
    """A result with the axis of the elements where it is asked for."""
    if place is None:
        if differs:
            raise InputError(
                "a result that differs from element to element needs an axis in out_axes",
                location=caller_location(),
            )
        return typed(value)
    value = spread(value, differs, size)
    axis = normalise_axis(place, value.ndim)
    order = list(range(1, value.ndim))
    order.insert(axis, 0)
    return typed(movement.transpose(value, order))
