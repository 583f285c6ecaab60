"""A run as Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from bench.case import Case
from bench.fresh import Probe
from bench.goals import verdicts
from bench.measure import Outcome
from bench.peers import PEERS
from bench.record import Outcomes, Record, best_rival, geometric_mean, ratio

GROUPS = {
    "calls": "Calls",
    "elementwise": "Elementwise, from a hundred elements to a hundred million",
    "functions": "Functions in cache",
    "layouts": "Layouts",
    "rows": "Rows",
    "row gradients": "Gradients of rows",
    "reductions": "Reductions",
    "products": "Matrix products",
    "convolutions": "Convolutions",
    "loops": "Loops",
    "masks": "Masks",
    "random": "Random numbers",
    "jit": "NumPy functions under jit",
    "programs": "Programs",
    "training": "Training steps",
}
PROBES = {"import": "Import", "compile": "Compilation", "memory": "Peak memory"}


def duration(seconds: float) -> str:
    """Three figures and a unit."""
    if math.isnan(seconds):
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:#.3g} {unit}".replace(". ", " ")
    return f"{seconds / 1e-9:.3g} ns"


def amount(size: float) -> str:
    """Bytes."""
    return "" if math.isnan(size) else f"{size / (1 << 20):.1f} MB"


def cell(outcome: Outcome | None, unit: str = "s") -> str:
    """A time (or bytes), or the word."""
    if outcome is None:
        return ""
    if outcome.word:
        return outcome.word
    if not outcome.seconds:
        return "right"
    return duration(outcome.median) if unit == "s" else amount(outcome.median)


def line(name: str, outcomes: Outcomes, unit: str = "s") -> str:
    """A case while it runs."""
    times = "  ".join(f"{p} {cell(o, unit)}" for p, o in outcomes.items() if o.word != "–")
    whys = "".join(f"\n    {p}: {o.why}" for p, o in outcomes.items() if o.why)
    return f"{name}: {times}  ×{ratio(outcomes):.2f}{whys}"


def row(record: Record, item: Case | Probe, peers: list[str]) -> str:
    """One line of the table; the best peer in bold."""
    outcomes = record.outcomes[item.name]
    best = best_rival(outcomes)
    unit = item.unit if isinstance(item, Probe) else "s"
    texts = {p: cell(outcomes.get(p), unit) for p in peers}
    if best:
        texts[best] = f"**{texts[best]}**"
    share = record.share(item) if isinstance(item, Case) else math.nan
    importing = isinstance(item, Probe) and item.kind == "import"
    times = math.nan if importing else ratio(outcomes)
    return (f"| {item.name} | {' | '.join(texts.values())} "
            f"| {'' if math.isnan(times) else f'{times:.2f}'} "
            f"| {'' if math.isnan(share) else f'{100 * share:.0f} %'} |")  # fmt: skip


def table(record: Record, items: Iterable[Case | Probe]) -> str:
    """Markdown: medians by peer, ratio to the best, part of the limit."""
    items = list(items)
    names = {i.name for i in items}
    peers = [
        p for p in record.peers(PEERS)
        if any(o.get(p) and o[p].word != "–" for n, o in record.outcomes.items() if n in names)
    ]  # fmt: skip
    return "\n".join([
        f"| case | {' | '.join(PEERS[p] for p in peers)} | times faster | of the limit |",
        "|---|" + "---:|" * (len(peers) + 2),
        *(row(record, item, peers) for item in items),
    ])  # fmt: skip


def heading(record: Record) -> str:
    """The machine, the versions, the limits."""
    m = record.machine
    versions = ", ".join(f"{PEERS[p]} {v}" for p, v in record.versions.items())
    limits = ", ".join(
        f"{name.replace('_', ' ')} {value / 1e9:.1f} {'GFLOP/s' if 'fma' in name else 'GB/s'}"
        for name, value in record.limits.items()
    )
    caches = ", ".join(f"{k} {v >> 10} kB" for k, v in m.get("caches", {}).items())
    return (
        f"{m.get('processor')}, {m.get('cores')} cores, {caches}; {m.get('threads')} threads for "
        f"everybody; Python {m.get('python')}, {m.get('system')}.\n\n"
        f"{versions}.\n\nLimits of the machine, measured in this run: {limits}.\n\n"
        f"{'Quick run' if record.quick else 'Run'} of {record.date}, {record.seconds:.0f} s."
    )


def goals(record: Record) -> str:
    """The table of goals."""
    words = {True: "met", False: "**missed**", None: "–"}
    return "\n".join([
        "| goal | | found |", "|---|---|---|",
        *(f"| {v.goal} | {words[v.met]} | {v.found} |" for v in verdicts(record)),
    ])  # fmt: skip


def notes(record: Record) -> str:
    """Why there is a word instead of a number."""
    found = [f"* {name}, {PEERS[peer]}: {o.word}: {o.why}"
             for name, outcomes in record.outcomes.items() for peer, o in outcomes.items()
             if o.why]  # fmt: skip
    return "\n".join(["## Words instead of numbers", "", *found]) if found else ""


def markdown(record: Record, plots: Iterable[str] = ()) -> str:
    """The whole report."""
    ratios = [ratio(record.outcomes[c.name]) for c in record.cases]
    parts = [
        "# jitgraph beside its peers", heading(record),
        "Median time of a call; every result was compared with NumPy's first. The best peer is "
        "bold; *times faster* is its time over jitgraph's; *of the limit* is the part of the "
        "machine's bandwidth or of its multiply-adds that jitgraph reaches.",
        f"Geometric mean of times faster: **{geometric_mean(ratios):.2f}**.",
        "## Goals", goals(record),
    ]  # fmt: skip
    for group, title in GROUPS.items():
        items = [c for c in record.cases if c.group == group]
        if items:
            mean = geometric_mean(ratio(record.outcomes[c.name]) for c in items)
            parts += [f"## {title}", table(record, items), f"Geometric mean: {mean:.2f}."]
    for kind, title in PROBES.items():
        found = [p for p in record.probes if p.kind == kind]
        if found:
            parts += [f"## {title}", table(record, found)]
    parts += [f"![{Path(p).stem}]({p})" for p in plots]
    return "\n\n".join([*parts, notes(record)]).rstrip() + "\n"


def write(record: Record, folder: Path, plots: Iterable[str] = ()) -> Path:
    """results.md and results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.md"
    path.write_text(markdown(record, plots), encoding="utf-8")
    text = json.dumps(record.json(), indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    return path
