"""Decompose: composite ops => the primitive ops that code is generated for.

    %0 = softmax %x {axes = [0]} : f64[n]   =>   %0 = reduce_max %x {axes = [0]} : f64[]
                                                 %1 = subtract %x, %0 : f64[n]
                                                 %2 = exp %1 : f64[n]
                                                 %3 = reduce_sum %2 {axes = [0]} : f64[]
                                                 %4 = divide %2, %3 : f64[n]
"""

from __future__ import annotations

from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.function import Function
from jitgraph.ir.values import Value
from jitgraph.passes.base import Options
from jitgraph.passes.rules.registry import rules_for


def decompose(fn: Function, options: Options) -> Function:
    """`fn` without ops that say themselves how they are made of others."""

    def taken_apart(old: Value, args: tuple[Value, ...]) -> Value | None:
        assert old.op is not None
        parts = old.op.definition.decompose
        return None if parts is None else parts(*args, **old.op.attrs)

    rules = rules_for(options.algebra, "primitive")
    return rebuild(fn, Builder(fn.params, rules=rules, log=options.log), taken_apart)
