"""Run cases on jitgraph and its peers, in turns, and write the report.

    python -m bench --quick
    python -m bench --cases 'softmax*' rows --peers numpy,jax,jitgraph
    python -m bench --baseline ../other-checkout --cases functions --peers jitgraph,baseline
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import measure, report
from bench.case import Case, chosen
from bench.cases import CASES
from bench.fleet import ROOT, Process
from bench.measure import Effort, Outcome
from bench.peers import PEERS, QUICK

RESULTS = ROOT / "bench" / "results"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer cases, peers and rounds")
    parser.add_argument("--cases", nargs="*", default=[], metavar="GLOB",
                        help="names, groups or families")  # fmt: skip
    parser.add_argument("--peers", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--verify", action="store_true", help="compare results, time nothing")
    parser.add_argument("--jitgraph", type=Path, default=ROOT, help="checkout to measure")
    parser.add_argument("--baseline", type=Path, help="another checkout of jitgraph, beside it")
    parser.add_argument("--out", type=Path, help=f"folder of the report ({RESULTS} for whole runs)")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    return parser.parse_args(argv)


class Fleet:
    """Processes by peer and number of threads, started when first needed."""

    def __init__(self, peers: Sequence[str], checkouts: dict[str, Path], logs: Path) -> None:
        self.peers, self.checkouts, self.logs = peers, checkouts, logs
        self.processes: dict[tuple[str, int], Process] = {}

    def at(self, threads: int) -> dict[str, Process]:
        """The processes that use so many threads."""
        for peer in self.peers:
            if (peer, threads) not in self.processes:
                log = self.logs / f"{peer}-{threads}.log"
                process = Process(peer, threads, self.checkouts.get(peer, ROOT), log)
                process.start()
                self.processes[peer, threads] = process
        return {peer: self.processes[peer, threads] for peer in self.peers}

    def versions(self) -> dict[str, str]:
        """Of the peers that run."""
        return {peer: p.version for (peer, _), p in self.processes.items() if p.version}

    def stop(self) -> None:
        """All of them."""
        for process in self.processes.values():
            process.stop()


def run(
    cases: Sequence[Case], fleet: Fleet, effort: Effort, threads: int, scratch: Path
) -> dict[str, dict[str, Outcome]]:
    """Outcomes by case and peer, with a bar while they are measured."""
    done: dict[str, dict[str, Outcome]] = {}
    console = Console()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}"), console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("", total=len(cases), doing="")
        for case in cases:
            progress.update(bar, description=case.name)
            processes = fleet.at(case.threads or threads)
            done[case.name] = measure.measured(
                case, processes, effort, scratch, lambda s: progress.update(bar, doing=s)
            )
            progress.print(report.line(case, done[case.name]))
            progress.advance(bar)
    return done


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and report."""
    given = options(argv)
    cases = chosen(CASES.values(), given.cases, given.quick)
    if given.list:
        print("\n".join(f"{c.group:16} {c.name}" for c in cases))
        return
    peers = given.peers.split(",") if given.peers else [
        p for p in (QUICK if given.quick else PEERS) if p != "baseline"
    ]  # fmt: skip
    if given.baseline and "baseline" not in peers:
        peers.insert(1, "baseline")
    effort = measure.QUICK if given.quick else measure.FULL
    if given.rounds is not None or given.verify:
        rounds = 0 if given.verify else given.rounds
        effort = Effort(rounds, effort.seconds, effort.setup_timeout, min(rounds, 3))
    checkouts = {"jitgraph": given.jitgraph.resolve()}
    if given.baseline:
        checkouts["baseline"] = given.baseline.resolve()
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as scratch:
        fleet = Fleet(peers, checkouts, Path(scratch))
        start = time.perf_counter()
        try:
            outcomes = run(cases, fleet, effort, given.threads, Path(scratch))
        finally:
            fleet.stop()
    seconds = time.perf_counter() - start
    print(f"{len(cases)} cases in {seconds:.0f} s")
    print(report.table(cases, outcomes))


if __name__ == "__main__":
    main()
