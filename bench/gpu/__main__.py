"""jitgraph beside its peers on a GPU, in turns, in one process; written to bench/results.

    python -m bench.gpu                                     every case, peers as far as installed
    python -m bench.gpu --cases 'softmax*' products --peers jitgraph,torch
    python -m bench.gpu --device simulated --tiny           a trial without a GPU: no times matter

It needs Python, NumPy, llvmlite and cuda-bindings. What is done is written after each case.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.case import Case
from bench.gpu import cases, fresh, measure, peers, report
from bench.gpu.report import Record
from jitgraph.errors import JitgraphError
from jitgraph.runtime import devices
from jitgraph.runtime.device_limits import MOVED, device_limits

RESULTS = Path(__file__).parents[1] / "results"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m bench.gpu", description=__doc__,
                                     formatter_class=raw)  # fmt: skip
    add = parser.add_argument
    add("--device", default="cuda", help="cuda, cuda:1, ..., simulated")
    add("--cases", nargs="*", default=["*"], metavar="GLOB", help="names, groups or families")
    add("--peers", default=",".join(peers.PEERS), help="with commas between")
    add("--quick", action="store_true", help="fewer cases and rounds")
    add("--tiny", action="store_true", help="small arrays")
    add("--rounds", type=int)
    add("--no-probes", action="store_true", help="no times of compilation")
    add("--out", type=Path, metavar="FOLDER", help="of the report")
    add("--list", action="store_true", help="print the cases and stop")
    return parser.parse_args(argv)


def chosen(given: argparse.Namespace) -> list[Case]:
    """The cases that the command line names."""
    return [c for c in cases.cases(given.tiny)
            if (c.quick or not given.quick)
            and any(fnmatch.fnmatch(n, p) for p in given.cases
                    for n in (c.name, c.group, c.family))]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit status: 2 where there is no such device, 1 where jitgraph
    failed or was wrong."""
    given = options(argv)
    todo = chosen(given)
    if given.list:
        print(*(f"{c.group:12} {c.name}" for c in todo), sep="\n")
        return 0
    try:
        device = devices.device(given.device)
    except JitgraphError as error:
        print(error)
        return 2
    if device is None:
        print("python -m bench measures the CPU")
        return 2
    rivals = peers.found(given.peers.split(","), given.device)
    record = Record(
        device=device.description,
        versions={name: peer.version() for name, peer in rivals.items()},
        machine={"python": platform.python_version(), "numpy": np.__version__,
                 "system": platform.platform()},
        limits=device_limits(device, fresh=True, moved=1 << 16 if given.tiny else MOVED),
        date=datetime.date.today().isoformat(),
    )  # fmt: skip
    folder = given.out or RESULTS / f"gpu-{_plain(device.description.partition(',')[0])}"
    print(report.heading(record), flush=True)
    effort = measure.Effort(given.rounds or (3 if given.quick or given.tiny else 9),
                            0.002 if given.tiny else 0.03)  # fmt: skip
    start = time.perf_counter()
    for case in todo:
        record.cases.append(case)
        record.outcomes[case.name] = measure.measured(case, rivals, effort)
        record.seconds = time.perf_counter() - start
        print(report.line(record, case), flush=True)
        report.write(record, folder)
    if not given.no_probes:
        for name, seconds in fresh.probes(given.device, 1 if given.tiny else 3):
            record.probes[name] = seconds
            print(f"{name}: {seconds * 1e3:.1f} ms", flush=True)
    print("", report.markdown(record), report.write(record, folder), sep="\n")
    return int(any(o["jitgraph"].word for o in record.outcomes.values() if "jitgraph" in o))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


if __name__ == "__main__":
    sys.exit(main())
