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
from jitgraph.passes.rules.registry import rules_for


def simplify(fn: Function, options: Options) -> Function:
    """`fn` by simpler ops, with composite ops such as softmax recognised and kept."""
    rules = rules_for(options.algebra)
    return rebuild(fn, Builder(fn.params, rules=rules, log=options.log))
