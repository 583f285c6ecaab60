"""What a pass is: a named `Function -> Function`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jitgraph.ir.builder import Rewritten
from jitgraph.ir.function import Function


@dataclass(slots=True)
class Options:
    """What passes may assume, and where they report.

    algebra: "real" or "ieee" (see `jitgraph.config`). log: every rewrite, when somebody asks why.
    """

    algebra: str = "real"
    log: Callable[[Rewritten], None] | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """A rewrite of a whole function, with the reason it stands where it stands."""

    name: str
    reason: str
    run: Callable[[Function, Options], Function]


@dataclass(slots=True)
class Trace:
    """The function after each pass, and how long each took, for `dump --passes --time`."""

    stages: list[tuple[Pass, Function, float]] = field(default_factory=list)
