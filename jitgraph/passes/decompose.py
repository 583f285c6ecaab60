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
from jitgraph.passes.regions import inside
from jitgraph.passes.rules.registry import rules_for


def decompose(fn: Function, options: Options) -> Function:
    """`fn` without ops that say themselves how they are made of others."""

    rules = rules_for(options.algebra, "primitive")
    builder = Builder(fn.params, rules=rules, log=options.log)
    regions = inside(builder, lambda region: decompose(region, options))

    def taken_apart(old: Value, args: tuple[Value, ...]) -> Value | None:
        assert old.op is not None
        parts = old.op.definition.decompose
        return regions(old, args) if parts is None else parts(*args, **old.op.attrs)

    return rebuild(fn, builder, taken_apart)
