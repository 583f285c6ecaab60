"""Run cases on jitgraph and its peers, in turns, and write the report.

python -m bench --quick
python -m bench --cases 'softmax*' rows --peers numpy,jax,jitgraph
python -m bench --baseline ../other-checkout --cases functions --peers jitgraph,baseline
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import fresh, machine, measure, plots, report
from bench.case import Case, chosen
from bench.cases import CASES
from bench.fleet import ROOT, Fleet, environment
from bench.fresh import Probe
from bench.measure import Effort, Outcome
from bench.peers import PEERS, QUICK
from bench.record import Record

#: Of whole runs; others go to OTHERS.
RESULTS, OTHERS = ROOT / "bench" / "results", ROOT / "out" / "bench"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m bench", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer cases, peers and rounds")
    add("--cases", nargs="*", default=[], metavar="GLOB", help="names, groups or families")
    add("--peers", help=f"of {', '.join(PEERS)}, with commas between")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for every peer")
    add("--rounds", type=int)
    add("--verify", action="store_true", help="compare results, time nothing")
    add("--jitgraph", type=Path, default=ROOT, metavar="CHECKOUT", help="what to measure")
    add("--baseline", type=Path, metavar="CHECKOUT", help="another jitgraph, beside it")
    add("--out", type=Path, metavar="FOLDER", help="of the report")
    add("--list", action="store_true", help="print the cases and stop")
    return parser.parse_args(argv)


class Run:
    """The cases and probes of one command line, and what came of them."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.cases = chosen(CASES.values(), given.cases, given.quick)
        self.probes = [
            p for p in fresh.probes()
            if (p.quick or not given.quick) and not given.verify
            and (not given.cases or any(fnmatch.fnmatch(n, g) for g in given.cases
                                        for n in (p.name, p.kind)))
        ]  # fmt: skip
        self.effort = _effort(given)
        self.peers = _peers(given)
        self.checkouts = {"jitgraph": given.jitgraph.resolve()}
        if given.baseline:
            self.checkouts["baseline"] = given.baseline.resolve()
        self.outcomes: dict[str, dict[str, Outcome]] = {}

    def go(self) -> Record:
        """Measure everything, with a bar on the terminal."""
        start = time.perf_counter()
        memory = Path("/dev/shm")
        with (
            tempfile.TemporaryDirectory(
                prefix="jitgraph-bench-", dir=memory if memory.is_dir() else None
            ) as folder,
            Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                     TimeElapsedColumn(), TextColumn("{task.fields[doing]}")) as progress,
        ):  # fmt: skip
            scratch = Path(folder)
            fleet = Fleet(self.peers, self.checkouts, scratch)
            try:
                limits = self._measure(fleet, progress, scratch)
            finally:
                fleet.stop()
        return Record(
            machine=machine.described(self.given.threads), versions=fleet.versions(),
            limits=limits, cases=tuple(self.cases), probes=tuple(self.probes),
            outcomes=self.outcomes, seconds=time.perf_counter() - start,
            date=datetime.date.today().isoformat(), quick=self.given.quick,
        )  # fmt: skip

    def _measure(self, fleet: Fleet, progress: Progress, scratch: Path) -> dict[str, float]:
        """Cases and probes; the limits of the machine, taken before and after them."""
        threads = self.given.threads
        bar = progress.add_task("", total=len(self.cases) + len(self.probes), doing="")

        def tell(text: str) -> None:
            progress.update(bar, doing=text)

        limits: dict[str, float] = {}
        for items in (self.cases, self.probes):
            if not self.given.verify:
                tell("limits of the machine")
                for name, value in machine.measured(
                    threads, environment("jitgraph", threads, ROOT)
                ).items():
                    limits[name] = max(value, limits.get(name, 0.0))
            for item in items:
                progress.update(bar, description=item.name)
                unit = "s"
                if isinstance(item, Probe):
                    unit, rounds = item.unit, 1 if self.given.quick else 3
                    found = fresh.measured(item, self.peers, self.checkouts, threads, scratch,
                                           rounds, tell)  # fmt: skip
                else:
                    processes = fleet.at(item.threads or threads)
                    found = measure.measured(item, processes, self.effort, scratch, tell)
                self.outcomes[item.name] = found
                progress.print(report.line(item.name, found, unit), markup=False)
                progress.advance(bar)
        return limits


def _effort(given: argparse.Namespace) -> Effort:
    effort = measure.QUICK if given.quick else measure.FULL
    if given.rounds is None and not given.verify:
        return effort
    rounds = 0 if given.verify else given.rounds
    return Effort(rounds, effort.seconds, effort.setup_timeout, min(rounds, 3))


def _peers(given: argparse.Namespace) -> list[str]:
    if given.peers:
        peers: list[str] = given.peers.split(",")
        if unknown := set(peers) - set(PEERS):
            raise SystemExit(f"no peers {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    else:
        peers = [p for p in (QUICK if given.quick else PEERS) if p != "baseline"]
    if given.baseline and "baseline" not in peers:
        peers.insert(1, "baseline")
    return peers


def _listed(cases: Sequence[Case]) -> str:
    return "\n".join(f"{c.group:16} {c.name}" for c in cases)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and report."""
    given = options(argv)
    run = Run(given)
    if given.list:
        print(_listed(run.cases), *(f"{p.kind:16} {p.name}" for p in run.probes), sep="\n")
        return
    record = run.go()
    if given.verify:
        return
    whole = not (given.quick or given.cases or given.peers)
    folder = given.out or (RESULTS if whole else OTHERS)
    pictures = plots.draw(record, folder)
    path = report.write(record, folder, pictures)
    console = Console()
    console.print(Markdown(report.goals(record)))
    for name in (path.name, "results.json", *pictures):
        console.print(folder / name)


if __name__ == "__main__":
    main()
