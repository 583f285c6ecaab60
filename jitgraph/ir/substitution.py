"""Expressions with parts of them replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitgraph.ir.function import Function
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


def without_rules(fn: Function) -> Function:
    """The function without gradients of the user's own, which are Python functions, and of no
    more use once all gradients are taken."""
    new: dict[Value, Value] = {p: p for p in fn.params}
    for value in fn.ops:
        op = value.op
        assert op is not None
        args = tuple(new[a] for a in op.args)
        if op.name == "item" and (bundle := args[0].op) and bundle.name == "custom_gradient":
            new[value] = bundle.args[op.attrs["index"]]
            continue
        attrs = {k: without_rules(held) if isinstance(held, Function) else held
                 for k, held in op.attrs.items()}  # fmt: skip
        same = all(a is b for a, b in zip(args, op.args, strict=True)) and all(
            attrs[k] is held for k, held in op.attrs.items()
        )
        new[value] = value if same else apply_op(op.definition, args, attrs, op.location)
    if all(new[v] is v for v in (*fn.results, *fn.checks)):
        return fn
    results, checks = ([new[v] for v in values] for values in (fn.results, fn.checks))
    return Function(fn.params, results, checks=checks, name=fn.name)
