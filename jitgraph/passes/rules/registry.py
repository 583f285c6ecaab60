"""All rules, by theme; and those that may start at an op, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from jitgraph.passes.rules import (
    broadcasting,
    cancellation,
    extents,
    identity,
    normal_form,
    reductions,
    shape,
    stabilise,
    strength,
)
from jitgraph.passes.rules.rule import Rule

#: In the order in which rules are tried.
THEMES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "identity": identity.RULES,
    "cancellation": cancellation.RULES,
    "stabilise": stabilise.RULES,
    "strength": strength.RULES,
    "shape": shape.RULES,
    "broadcasting": broadcasting.RULES,
    "reductions": reductions.RULES,
    "extents": extents.RULES,
    "normal form": normal_form.RULES,
}

_SKIPPED: Final = {"graph": ("early", "late"), "primitive": ("early", "composites")}


@cache
def rules_for(algebra: str, level: str = "graph") -> Mapping[str, tuple[Rule, ...]]:
    """The rules an algebra allows, by the name of the op they start at.

    algebra: "real" for all, "ieee" for the exact ones. level: "graph" while composite ops such as
    softmax exist, "primitive" once they are decomposed.
    """
    table: dict[str, list[Rule]] = {}
    for rules in THEMES.values():
        for rule in rules:
            if rule.stage not in _SKIPPED[level] and (algebra == "real" or rule.promise.exact):
                for root in rule.roots:
                    table.setdefault(root, []).append(rule)
    return {root: tuple(found) for root, found in table.items()}
