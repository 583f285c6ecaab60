"""The table, the goals, and the numbers as JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from bench.case import Case
from bench.measure import Outcome
from bench.peers import PEERS, RIVALS

Outcomes = Mapping[str, Outcome]


def duration(seconds: float) -> str:
    """Three figures and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def best_rival(outcomes: Outcomes) -> str | None:
    """The fastest peer."""
    timed = {p: o.median for p, o in outcomes.items() if p in RIVALS and o.seconds and not o.word}
    return min(timed, key=timed.__getitem__) if timed else None


def ratio(outcomes: Outcomes) -> float:
    """How many times faster jitgraph is than the best peer; NaN where one of them is missing."""
    best, ours = best_rival(outcomes), outcomes.get("jitgraph")
    if best is None or ours is None or ours.word or not ours.seconds:
        return math.nan
    return outcomes[best].median / ours.median


def geometric_mean(values: Sequence[float]) -> float:
    """Of those that are numbers."""
    numbers = [v for v in values if not math.isnan(v)]
    return statistics.geometric_mean(numbers) if numbers else math.nan


def cell(outcome: Outcome) -> str:
    """A time, or the word."""
    return outcome.word or (duration(outcome.median) if outcome.seconds else "right")


def line(case: Case, outcomes: Outcomes) -> str:
    """A case while it runs."""
    times = "  ".join(f"{peer} {cell(outcome)}" for peer, outcome in outcomes.items())
    whys = "".join(f"\n    {p}: {o.why}" for p, o in outcomes.items() if o.why)
    return f"{case.name}: {times}  → ×{ratio(outcomes):.2f}{whys}"


def table(cases: Sequence[Case], outcomes: Mapping[str, Outcomes]) -> str:
    """Markdown: median time a call."""
    peers = [p for p in PEERS if any(p in row for row in outcomes.values())]
    lines = [
        "| case | " + " | ".join(PEERS[p] for p in peers) + " | best peer | times faster |",
        "|---|" + "---|" * (len(peers) + 2),
    ]
    for case in cases:
        row = outcomes[case.name]
        cells = [cell(row[p]) if p in row else "" for p in peers]
        best = best_rival(row)
        lines.append(
            f"| {case.name} | {' | '.join(cells)} | {PEERS[best] if best else ''} "
            f"| {ratio(row):.2f} |"
        )
    mean = geometric_mean([ratio(outcomes[c.name]) for c in cases])
    return "\n".join([*lines, "", f"geometric mean: {mean:.2f}"])
