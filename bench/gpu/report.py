"""A run on a GPU as Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.case import Case
from bench.gpu.cases import GROUPS
from bench.gpu.measure import Outcome, middle
from bench.record import geometric_mean
from bench.report import duration
from jitgraph.runtime.limits import Limits

#: Less traffic than this says nothing about memory.
_STREAM = 64 << 20


@dataclass(slots=True)
class Record:
    """A run. Outcomes are by name of the case, then by peer; probes are seconds by name."""

    device: str
    versions: dict[str, str]
    machine: dict[str, str]
    limits: Limits
    date: str
    cases: list[Case] = field(default_factory=list)
    outcomes: dict[str, dict[str, Outcome]] = field(default_factory=dict)
    probes: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def best(self, case: Case) -> str | None:
        """The fastest peer beside jitgraph."""
        timed = {p: o.median for p, o in self.outcomes[case.name].items()
                 if p != "jitgraph" and o.seconds}  # fmt: skip
        return min(timed, key=timed.__getitem__) if timed else None

    def ratio(self, case: Case) -> float:
        """How many times faster jitgraph is than the best peer; NaN where one is missing."""
        outcomes, best = self.outcomes[case.name], self.best(case)
        ours = outcomes.get("jitgraph")
        if best is None or ours is None or not ours.seconds:
            return math.nan
        return outcomes[best].median / ours.median

    def share(self, case: Case) -> float:
        """The part of the device's bandwidth that jitgraph reaches; NaN where that is no limit."""
        ours = self.outcomes[case.name].get("jitgraph")
        read, written = case.traffic
        if ours is None or not ours.seconds or read + written < _STREAM:
            return math.nan
        level = self.limits.levels[-1]
        rate = level.read if written < read / 8 else level.copy
        return (read + written) / ours.median / rate


def line(record: Record, case: Case) -> str:
    """A case while it runs."""
    outcomes = record.outcomes[case.name]
    times = "  ".join(f"{p} {o.word or duration(o.median)}" for p, o in outcomes.items()
                      if o.word != "–")  # fmt: skip
    whys = "".join(f"\n    {p}: {o.why}" for p, o in outcomes.items() if o.word not in ("", "–"))
    return f"{case.name}: {times}  {_tail(record, case)}{whys}"


def _tail(record: Record, case: Case) -> str:
    times, share = record.ratio(case), record.share(case)
    parts = ["" if math.isnan(times) else f"×{times:.2f}",
             "" if math.isnan(share) else f"{share:.0%} of the limit",
             f"{case.flops / record.outcomes[case.name]['jitgraph'].median / 1e12:.1f} TFLOP/s"
             if case.flops and _timed(record, case) else ""]  # fmt: skip
    return "  ".join(filter(None, parts))


def _timed(record: Record, case: Case) -> bool:
    ours = record.outcomes[case.name].get("jitgraph")
    return ours is not None and bool(ours.seconds)


def heading(record: Record) -> str:
    """The device, the versions, the limits."""
    level = record.limits.levels[-1]
    versions = ", ".join(f"{p} {v}" for p, v in record.versions.items())
    return (
        f"{record.device}; Python {record.machine['python']}, NumPy {record.machine['numpy']}, "
        f"{record.machine['system']}.\n\n{versions}.\n\nThe device's memory, by kernels that do "
        f"nothing else: copies {level.copy / 1e9:.0f} GB/s, reads {level.read / 1e9:.0f} GB/s."
    )


def table(record: Record, cases: Sequence[Case]) -> str:
    """Medians by peer, the best one bold."""
    shown = [p for p in record.versions
             if any(record.outcomes[c.name][p].word != "–" for c in cases)]  # fmt: skip
    head = ["case", *shown, "times faster", "of the limit", "TFLOP/s", "call returns after"]
    rows = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for case in cases:
        outcomes = record.outcomes[case.name]
        cells = [outcomes[p].word or duration(outcomes[p].median) for p in shown]
        if (best := record.best(case)) in shown:
            cells[shown.index(best)] = f"**{cells[shown.index(best)]}**"
        ours = outcomes.get("jitgraph", Outcome())
        rate = case.flops / ours.median / 1e12 if case.flops else math.nan
        cells += [_number(record.ratio(case), ".2f"), _number(record.share(case), ".0%"),
                  _number(rate, ".1f"), duration(middle(ours.host))]  # fmt: skip
        rows.append(f"| {case.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def markdown(record: Record) -> str:
    """The whole report."""
    parts = [
        "# jitgraph beside its peers on a GPU", heading(record),
        "Medians, in one process, every peer in each round; a batch of calls and the wait for the "
        "last of them. Results were compared with those of jitgraph on the CPU of the same machine "
        "first. *Of the limit*: the part of the device's bandwidth that jitgraph reaches. "
        "*Call returns after*: what a call of jitgraph takes the host.",
        f"{record.date}, {record.seconds:.0f} s.",
    ]  # fmt: skip
    for group, title in GROUPS.items():
        if own := [c for c in record.cases if c.group == group]:
            parts += [f"## {title}", table(record, own)]
            average = geometric_mean(map(record.ratio, own))
            if not math.isnan(average):
                parts.append(f"Geometric mean of times faster: {average:.2f}.")
    if record.probes:
        rows = [f"| {name} | {duration(s)} |" for name, s in record.probes.items()]
        parts += ["## Compilation", "\n".join(["| | |", "|---|---:|", *rows])]
    whys = [f"* {name}, {peer}: {o.word}: {o.why}" for name, outcomes in record.outcomes.items()
            for peer, o in outcomes.items() if o.word not in ("", "–")]  # fmt: skip
    if whys:
        parts += ["## Words instead of numbers", "\n".join(whys)]
    return "\n\n".join(parts) + "\n"


def data(record: Record) -> dict[str, Any]:
    """Everything, for other programs."""
    level = record.limits.levels[-1]
    rows = [
        {
            "name": case.name, "group": case.group, "traffic": case.traffic, "flops": case.flops,
            "best": record.best(case), "ratio": _plain(record.ratio(case)),
            "share_of_limit": _plain(record.share(case)),
            "peers": {p: _figures(o) for p, o in record.outcomes[case.name].items()},
        }
        for case in record.cases
    ]  # fmt: skip
    return {
        "device": record.device, "machine": record.machine, "versions": record.versions,
        "limits": {"copy": level.copy, "read": level.read}, "date": record.date,
        "seconds": round(record.seconds), "probes": record.probes, "cases": rows,
    }  # fmt: skip


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


def _figures(outcome: Outcome) -> dict[str, Any]:
    kept: dict[str, Any] = {k: v for k, v in (("word", outcome.word), ("why", outcome.why)) if v}
    for name in ("seconds", "host", "device"):
        if found := getattr(outcome, name):
            kept[name] = {"median": _plain(middle(found)), "min": _plain(min(found)),
                          "rounds": len(found)}  # fmt: skip
    if outcome.setup:
        kept["setup"] = round(outcome.setup, 3)
    return kept


def write(record: Record, folder: Path) -> Path:
    """results.md and results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.md"
    path.write_text(markdown(record), encoding="utf-8")
    text = json.dumps(data(record), indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    return path
