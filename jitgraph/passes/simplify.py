"""Simplify: fold constants, share equal ops, rewrite, drop what nobody needs; one forward sweep.

    %0 = subtract %x, 0 : f64[n]        =>      %0 = exp %x : f64[n]
    %1 = exp %0 : f64[n]                        return %0
    %2 = exp %x : f64[n]
    %3 = maximum %1, %2 : f64[n]
    return %3

Arguments are simple when an op is born, so no fixed point is sought (see `ir.builder`). Dead ops go
because a function consists of what its results and checks depend on.
"""

from __future__ import annotations

from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.function import Function
from jitgraph.passes.base import Options
from jitgraph.passes.fission import fissioned
from jitgraph.passes.regions import has_regions, inside, trimmed, unify
from jitgraph.passes.rules.registry import rules_for


def simplify(fn: Function, options: Options) -> Function:
    """`fn` by simpler ops, with composite ops such as softmax recognised and kept; also inside
    regions, whose loops are then made one where they do the same, and parted from products."""
    fn = _swept(fn, options)
    if has_regions(fn):
        fn = _swept(trimmed(unify(fn)), options)
        parted = fissioned(fn, reorders=options.algebra == "real")
        if parted is not fn:
            fn = trimmed(_swept(trimmed(parted), options))
    return fn


def _swept(fn: Function, options: Options) -> Function:
    builder = Builder(fn.params, rules=rules_for(options.algebra), log=options.log)
    return rebuild(fn, builder, inside(builder, lambda region: simplify(region, options)))
