"""The extents of what a region gives, as expressions of what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from jitgraph.errors import ShapeError
from jitgraph.ir.elementwise import symbolic
from jitgraph.ir.function import Function
from jitgraph.ir.interpreter import run
from jitgraph.ir.opdef import Array, Shape, ShapeSource, Size, constant, emit
from jitgraph.ir.ops.arithmetic import equal
from jitgraph.ir.ops.movement import dims
from jitgraph.ir.types import I64
from jitgraph.ir.values import Value, topological


@lru_cache(maxsize=1024)
def extents(fn: Function) -> tuple[tuple[Shape, ...], tuple[Value, ...]]:
    """The extents of each result of a region, over the parameters given beside them."""
    from jitgraph.ir.builder import (  # which knows the ops, and so those with regions
        Builder,
        rebuild,
    )

    builder = Builder(fn.params)
    rebuilt = rebuild(fn, builder)
    return tuple(map(builder.shape, rebuilt.results)), rebuilt.params


def row_extents(fn: Function, arrays: Sequence[Array]) -> list[tuple[int, ...]]:
    """The extents of each result as numbers, for parameters that exist."""
    shapes, params = extents(fn)
    sizes = [s for shape in shapes for s in shape]
    values = [s if isinstance(s, Value) else constant(s, I64) for s in sizes]
    found = iter(int(x) for x in run(Function(params, values), [np.asarray(a) for a in arrays]))
    return [tuple(next(found) for _ in shape) for shape in shapes]


def shapes_of_results(
    source: ShapeSource, fn: Function, given: Sequence[tuple[Shape, Value | None]]
) -> list[Shape]:
    """The extents of each result in the graph around the region. `given` has the extents of each
    parameter, and its value where that is the same in every step.

    Raises ShapeError where an extent depends on a value that changes from step to step.
    """
    shapes, params = extents(fn)
    place = {param: k for k, param in enumerate(params)}
    sizes = [s for shape in shapes for s in shape if isinstance(s, Value)]
    outer: dict[Value, Size] = {}
    for value in topological(sizes, stop=frozenset(params)):
        op = value.op
        if op is None:
            fixed = given[place[value]][1]
            if fixed is not None:
                outer[value] = fixed
        elif op.name == "dim" and op.args[0] in place:
            outer[value] = given[place[op.args[0]]][0][op.attrs["axis"]]
        elif all(a in outer for a in op.args):
            args = [_as_value(outer[a]) for a in op.args]
            outer[value] = emit(op.definition, args, **op.attrs)
    missing = [s for s in sizes if s not in outer]
    if missing:
        raise ShapeError(
            f"{missing[0].describe()}, an extent of a result of {fn.name}, changes step by step",
            hint="if a Python function makes it, tell its shape (infer_shape)",
            location=missing[0].location,
        )
    return [tuple(outer[s] if isinstance(s, Value) else s for s in shape) for shape in shapes]


def changing(fn: Function, varying: int) -> list[bool]:
    """Whether the extents of each result of a region may differ from step to step, as the first
    parameters, so many, do (whose own extents do not)."""
    shapes, params = extents(fn)
    found = []
    for shape in shapes:
        sizes = [s for s in shape if isinstance(s, Value)]
        stop = frozenset(v for v in topological(sizes) if v.is_op("dim"))
        reached = set(topological(sizes, stop=stop)) - stop
        found.append(not reached.isdisjoint(params[:varying]))
    return found


def keeping_shapes(fn: Function, carried: int, varying: int) -> Function:
    """A body with checks that what is carried keeps its extents, where only the step can tell."""
    try:
        wandering = changing(fn, varying)[:carried]
    except ShapeError:
        return fn  # and whoever asks for its extents is told
    pairs = [
        pair
        for param, result, wanders in zip(fn.params[1:], fn.results, wandering, strict=False)
        if wanders for pair in zip(dims(param), dims(result), strict=True)
    ]  # fmt: skip
    if not pairs:
        return fn
    checks = [symbolic(equal(a, b)) for a, b in pairs]
    return Function(fn.params, fn.results, checks=[*fn.checks, *checks], name=fn.name)


def _as_value(size: Size) -> Value:
    return size if isinstance(size, Value) else constant(size, I64)
