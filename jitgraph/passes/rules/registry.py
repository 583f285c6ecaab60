"""All rules, by theme; and those that may start at an op."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

from jitgraph.ir.opdef import OpDef
from jitgraph.ir.types import kind_of
from jitgraph.ir.values import Value
from jitgraph.passes.rules import (
    broadcasting,
    cancellation,
    components,
    extents,
    identity,
    normal_form,
    reductions,
    selection,
    shape,
    stabilise,
    strength,
)
from jitgraph.passes.rules.rule import Heads, Kinds, Rule

#: In the order in which rules are tried.
THEMES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "identity": identity.RULES,
    "cancellation": cancellation.RULES,
    "stabilise": stabilise.RULES,
    "strength": strength.RULES,
    "shape": shape.RULES,
    "broadcasting": broadcasting.RULES,
    "reductions": reductions.RULES,
    "selection": selection.RULES,
    "components": components.RULES,
    "extents": extents.RULES,
    "normal form": normal_form.RULES,
}

_SKIPPED: Final = {"graph": ("early", "late"), "primitive": ("early", "composites")}


class RuleSet:
    """Some of the rules, found by the op they may start at.

    Most rules fail on the ops that made the operands or on a dtype. Which ones do depends on
    nothing else, so the others are listed once per combination met.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_root: dict[str, list[Rule]] = {}
        self._listed: dict[tuple[OpDef, Kinds, Heads], tuple[Rule, ...]] = {}
        for rule in rules:
            for root in rule.roots:
                self._by_root.setdefault(root, []).append(rule)

    def candidates(self, definition: OpDef, args: tuple[Value, ...]) -> tuple[Rule, ...]:
        """The rules that an op of these operands may match, in the order to try them."""
        if definition.name not in self._by_root:
            return ()
        kinds = (kind_of(args[0].type.dtype), kind_of(args[-1].type.dtype)) if args else ("i", "i")
        heads = tuple([None if a.op is None else a.op.definition for a in args])
        key = (definition, kinds, heads)
        found = self._listed.get(key)
        if found is None:
            rules = self._by_root[definition.name]
            found = self._listed[key] = tuple(r for r in rules if r.may_start(kinds, heads))
        return found


@cache
def rules_for(algebra: str, level: str = "graph") -> RuleSet:
    """The rules an algebra allows.

    algebra: "real" for all, "ieee" for the exact ones. level: "graph" while composite ops such as
    softmax exist, "primitive" once they are decomposed.
    """
    return RuleSet(
        rule
        for rules in THEMES.values()
        for rule in rules
        if rule.stage not in _SKIPPED[level] and (algebra == "real" or rule.promise.exact)
    )


@cache
def stabilising_rules() -> RuleSet:
    """The rules that bring a formula nearer to its value over the real numbers."""
    return RuleSet(r for rules in THEMES.values() for r in rules if r.promise.stabilises)
