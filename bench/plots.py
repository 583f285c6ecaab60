"""Pictures of a run: bars per case, time and memory against problem size."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.case import Case
from bench.peers import PEERS
from bench.record import Record

COLOURS = dict(zip(
    PEERS, ("#c1272d", "#e9a3a5", "#4d77cf", "#7ea6e0", "#5fb3a3", "#35a04c", "#f0a830",
            "#ee7733", "#8e6bbf", "#999999", "#555555"), strict=True,
))  # fmt: skip


def draw(record: Record, folder: Path) -> list[str]:
    """Write the pictures; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in (
        ("cases", bars(record)), ("time", curves(record, "s")), ("memory", curves(record, "B")),
    ):  # fmt: skip
        if picture is not None:
            picture.savefig(folder / f"{name}.png", dpi=90)
            written.append(f"{name}.png")
    return written


def median(record: Record, name: str, peer: str) -> float:
    """NaN where there is none."""
    outcome = record.outcomes.get(name, {}).get(peer)
    return math.nan if outcome is None or outcome.word else outcome.median


def bars(record: Record) -> Figure | None:
    """Time of every peer over jitgraph's, case by case: right of the line jitgraph is faster."""
    cases = [c for c in record.cases if not math.isnan(median(record, c.name, "jitgraph"))]
    peers = [p for p in record.peers(PEERS) if p != "jitgraph"]
    if not cases or not peers:
        return None
    figure = Figure(figsize=(9, 1.2 + 0.16 * len(cases)), layout="constrained")
    axes: Axes = figure.add_subplot()
    for at, case in enumerate(reversed(cases)):
        ours = median(record, case.name, "jitgraph")
        ratios = {p: median(record, case.name, p) / ours for p in peers}
        known = [r for r in ratios.values() if not math.isnan(r)]
        if known:
            best = min(known)
            axes.barh(at, best - 1, left=1, height=0.7,
                      color="#b7dfbe" if best >= 1 else "#f3b6b8")  # fmt: skip
        for peer, r in ratios.items():
            axes.plot(r, at, "o", ms=3.5, color=COLOURS[peer])
    for peer in peers:
        axes.plot([], [], "o", ms=4, color=COLOURS[peer], label=PEERS[peer])
    axes.axvline(1, color=COLOURS["jitgraph"], lw=1.2)
    axes.set_xscale("log")
    axes.set_yticks(range(len(cases)), [c.name for c in reversed(cases)], fontsize=5.5)
    axes.set_ylim(-0.7, len(cases) - 0.3)
    axes.set_xlabel("time / time of jitgraph (bar: the best peer)")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=7, loc="upper right")
    return figure


def curves(record: Record, unit: str) -> Figure | None:
    """Against problem size: nanoseconds an element, or peak bytes an element."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for item in record.cases if unit == "s" else record.probes:
        if item.curve and (isinstance(item, Case) or item.unit == unit):
            found[item.curve[0]].append((item.curve[1], item.name))
    found = {title: sorted(points) for title, points in found.items() if len(points) > 1}
    if not found:
        return None
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    for at, (title, points) in enumerate(found.items(), start=1):
        axes: Axes = figure.add_subplot(rows, columns, at)
        for peer in record.peers(PEERS):
            scale = 1e9 if unit == "s" else 1
            values = [scale * median(record, name, peer) / n for n, name in points]
            if not all(map(math.isnan, values)):
                axes.plot([n for n, _ in points], values, "o-", ms=3,
                          lw=2 if peer == "jitgraph" else 1, color=COLOURS[peer],
                          label=PEERS[peer])  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("elements")
        axes.set_ylabel("ns an element" if unit == "s" else "peak bytes an element")
        axes.grid(alpha=0.3)
        if at == 1:
            axes.legend(fontsize=6.5)
    return figure
