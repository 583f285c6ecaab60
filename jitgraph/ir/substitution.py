"""Expressions with parts of them replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitgraph.ir.opdef import apply_op
from jitgraph.ir.values import Value, topological


def substituted(roots: Sequence[Value], replacements: Mapping[Value, Value]) -> list[Value]:
    """The expressions with some values replaced, all at once; what does not change stays itself."""
    if not replacements:
        return list(roots)
    new: dict[Value, Value] = dict(replacements)
    for value in topological(roots, stop=set(replacements)):
        if value in new:
            continue
        op = value.op
        args = tuple(new[a] for a in op.args) if op is not None else ()
        if op is None or all(a is b for a, b in zip(args, op.args, strict=True)):
            new[value] = value
        else:
            new[value] = apply_op(op.definition, args, op.attrs, op.location)
    return [new[r] for r in roots]
