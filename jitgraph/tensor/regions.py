"""Regions from Python functions and expressions: what they take from outside is found out.

    fn = lambda h: tanh(h @ w + b)    =>    region (%h, %w, %b), captured values w and b

What does not change from step to step is captured as a value, and so computed once, outside;
views, constants and extents are taken inside, where they cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jitgraph.ir.function import Function
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import Extent, Type
from jitgraph.ir.values import Value, topological
from jitgraph.location import caller_location
from jitgraph.tensor.operands import typed, variable_class
from jitgraph.tensor.variable import Variable

#: Ops that are rather done again inside than captured.
_INSIDE = frozenset({"constant", "iota", "broadcast_to", "expand_dims", "squeeze", "transpose",
                     "slice", "dim"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traced:
    """Expressions of a region's own parameters, and of parameters for what they capture."""

    results: tuple[Value, ...]
    captured: tuple[Value, ...]
    names: tuple[Value, ...]

    def function(self, params: Iterable[Value], name: str) -> Function:
        """The region: own parameters first, then what is captured."""
        return Function([*params, *self.names], self.results, name=name)


def parameter(like: Type, name: str) -> Variable:
    """A region's parameter for arrays of a type; names of extents mean nothing inside."""
    shape = (None if isinstance(d, Extent) else d for d in like.shape)
    return typed(variable_class()(like.with_shape(shape), None, name, caller_location()))


def traced(
    results: Sequence[Value], params: Sequence[Value], *, lazily: bool = False
) -> Traced:
    """The region of these results. `lazily`: only variables are captured, so that nothing is
    computed unless the region runs."""
    order = topological(results, stop=frozenset(params))
    inside = set(params)
    for value in order:
        if value.op is not None and any(a in inside for a in value.op.args):
            inside.add(value)
    found: dict[Value, None] = {}
    used = [a for v in order if v in inside and v.op is not None for a in v.op.args]
    pending = [v for v in (*used, *results) if v not in inside][::-1]
    seen: set[Value] = set()
    while pending:
        value = pending.pop()
        if value in seen or value in inside:
            continue
        seen.add(value)
        op = value.op
        if op is None:
            found.setdefault(value)
        elif op.name == "dim" and op.args[0].op is not None and not lazily:
            found.setdefault(value)  # the array itself would have to be stored
        elif lazily or op.name in _INSIDE:
            pending += op.args[::-1]
        else:
            found.setdefault(value)
    captured = tuple(found)
    names = tuple(parameter(v.type, v.name or f"captured{k}") for k, v in enumerate(captured))
    inner = substituted(results, dict(zip(captured, names, strict=True)))
    return Traced(tuple(inner), captured, names)


def shared_captures(*parts: Traced) -> tuple[tuple[Value, ...], list[Traced]]:
    """The values that several regions capture, once each, and the regions over one list of
    parameters for them."""
    every = tuple(dict.fromkeys(v for part in parts for v in part.captured))
    names = tuple(parameter(v.type, v.name or f"captured{k}") for k, v in enumerate(every))
    by_value = dict(zip(every, names, strict=True))
    joined = []
    for part in parts:
        renamed = {old: by_value[v] for old, v in zip(part.names, part.captured, strict=True)}
        joined.append(Traced(tuple(substituted(part.results, renamed)), every, names))
    return every, joined
