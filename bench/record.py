"""All numbers of a run, and what follows from them: the best peer, ratios, parts of limits."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.case import Case
from bench.fresh import Probe
from bench.measure import Outcome
from bench.peers import RIVALS

Outcomes = Mapping[str, Outcome]
#: Less traffic than this says nothing about memory.
STREAM = 8_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """A run. Outcomes are by name of the case or probe, then by peer."""

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    limits: Mapping[str, float]
    cases: tuple[Case, ...]
    probes: tuple[Probe, ...]
    outcomes: Mapping[str, Outcomes]
    seconds: float
    date: str
    quick: bool

    def peers(self, order: Iterable[str]) -> list[str]:
        """Those that took part."""
        return [p for p in order if any(p in row for row in self.outcomes.values())]

    def past_cache(self, case: Case) -> bool:
        """Whether its arrays are too large to stay in the last cache."""
        last = max(self.machine.get("caches", {}).values(), default=32 << 20)
        return sum(case.traffic) > 1.5 * last

    def bandwidth(self, case: Case) -> float:
        """Bytes a second that any program moved on this machine, in such a mixture of reads and
        writes: the kernels of bench.machine, or any peer in this run. NaN if unknown."""
        reading = _reads(case)
        names = ("read",) if reading else ("copy", "copy_past_cache", "copy by NumPy")
        known = [self.limits[n] for n in names if n in self.limits]
        for other in self.cases:
            if self.past_cache(other) and _reads(other) == reading and not other.flops:
                known += [
                    sum(other.traffic) / o.median
                    for o in self.outcomes.get(other.name, {}).values() if o.seconds and not o.word
                ]  # fmt: skip
        return max(known, default=math.nan)

    def share(self, case: Case, peer: str = "jitgraph") -> float:
        """The part of the machine's limit that a peer reaches; NaN where there is no such limit."""
        outcome = self.outcomes.get(case.name, {}).get(peer)
        if outcome is None or outcome.word or not outcome.seconds:
            return math.nan
        if case.flops:
            kind = "f64" if " f64" in case.name else "f32"
            alone = ", one thread" if case.threads == 1 else ""
            return case.flops / outcome.median / self.limits.get(f"fma_{kind}{alone}", math.nan)
        if sum(case.traffic) < STREAM:
            return math.nan
        return sum(case.traffic) / outcome.median / self.bandwidth(case)

    def json(self) -> dict[str, Any]:
        """Everything, for other programs."""
        rows = [
            {
                "name": case.name, "group": case.group, "traffic": case.traffic,
                "flops": case.flops, **self._compared(case.name),
                "share_of_limit": _number(self.share(case)),
            }
            for case in self.cases
        ] + [
            {"name": p.name, "group": p.kind, "unit": p.unit, **self._compared(p.name)}
            for p in self.probes
        ]  # fmt: skip
        return {
            "date": self.date, "quick": self.quick, "seconds": round(self.seconds),
            "machine": dict(self.machine), "versions": dict(self.versions),
            "limits": {k: float(f"{v:.4g}") for k, v in self.limits.items()}, "cases": rows,
        }  # fmt: skip

    def _compared(self, name: str) -> dict[str, Any]:
        outcomes = self.outcomes[name]
        return {
            "best": best_rival(outcomes), "ratio": _number(ratio(outcomes)),
            "peers": {p: _figures(o) for p, o in outcomes.items()},
        }  # fmt: skip


def _reads(case: Case) -> bool:
    read, written = case.traffic
    return written < read / 8


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


def _figures(outcome: Outcome) -> dict[str, Any]:
    kept = {k: v for k, v in asdict(outcome).items() if v and k != "seconds"}
    if outcome.seconds and not outcome.word:
        kept["median"] = float(f"{outcome.median:.4g}")
        kept["min"] = float(f"{min(outcome.seconds):.4g}")
        kept["rounds"] = len(outcome.seconds)
    if "setup_seconds" in kept:
        kept["setup_seconds"] = round(kept["setup_seconds"], 3)
    return kept


def best_rival(outcomes: Outcomes) -> str | None:
    """The fastest peer."""
    timed = {p: o.median for p, o in outcomes.items() if p in RIVALS and o.seconds and not o.word}
    return min(timed, key=timed.__getitem__) if timed else None


def against(outcomes: Outcomes, peer: str | None) -> float:
    """How many times faster jitgraph is than a peer; NaN where one of them is missing."""
    ours, theirs = outcomes.get("jitgraph"), outcomes.get(peer or "")
    if any(o is None or o.word or not o.seconds for o in (ours, theirs)):
        return math.nan
    assert ours is not None
    assert theirs is not None
    return theirs.median / ours.median


def ratio(outcomes: Outcomes) -> float:
    """How many times faster jitgraph is than the best peer."""
    return against(outcomes, best_rival(outcomes))


def geometric_mean(values: Iterable[float]) -> float:
    """Of those that are numbers."""
    numbers = [v for v in values if not math.isnan(v)]
    return statistics.geometric_mean(numbers) if numbers else math.nan
