"""Rewrite rules: tables by theme, each rule an equation with a contract."""

from jitgraph.passes.rules.registry import THEMES, rules_for

__all__ = ["THEMES", "rules_for"]
