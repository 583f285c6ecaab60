"""One peer's process: sets cases up, verifies them and times calls when the parent says so.

    python -m bench.worker PEER THREADS

Commands and answers are JSON, one a line. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import timeit
from pathlib import Path
from typing import Any

import numpy as np

from bench.case import Case, disagreement
from bench.cases import CASES
from bench.peers import module_of
from bench.peers.base import NotHere, Peer, Prepared


def settle() -> None:
    """Wait until no thread of this process spins for more work any longer, as those of OpenBLAS do
    for a tenth of a second: it would take a processor from the peer whose turn is next."""
    for _ in range(50):
        before = time.process_time()
        time.sleep(0.01)
        if time.process_time() - before < 0.002:
            return


class Worker:
    """At most one case is set up at a time."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.timer: timeit.Timer | None = None
        self.prepared: Prepared | None = None

    def version(self) -> dict[str, Any]:
        """What is being measured."""
        return {"version": self.peer.version()}

    def setup(self, case: str, reference: str) -> dict[str, Any]:
        """Compile a case, and compare its results with those saved at `reference`."""
        self.drop()
        return self._setup(CASES[case], Path(reference))

    def _setup(self, case: Case, reference: Path) -> dict[str, Any]:
        start = timeit.default_timer()
        self.prepared = self.peer.prepare(case, case.arrays())
        wanted = [np.load(path, mmap_mode="r") for path in sorted(reference.glob("*.npy"))]
        wrong = disagreement(case, self.prepared.fetch(), wanted)
        if wrong:
            return {"word": "wrong", "why": wrong}
        self.timer = timeit.Timer(self.prepared.statement, globals=self.prepared.names)
        return {"how": self.prepared.how, "seconds": timeit.default_timer() - start}

    def time(self, calls: int, warm: int) -> dict[str, Any]:
        """Seconds a call takes, over `calls` calls after `warm` that do not count."""
        assert self.timer is not None, "setup comes first"
        if warm:
            self.timer.timeit(warm)
        seconds = self.timer.timeit(calls) / calls
        settle()
        return {"seconds": seconds}

    def drop(self) -> dict[str, Any]:
        """Let go of the case and its memory."""
        self.timer = self.prepared = None
        gc.collect()
        return {}


def answer(worker: Worker, line: str) -> dict[str, Any]:
    """What a command gives; a failure is an answer too."""
    command = json.loads(line)
    try:
        result: dict[str, Any] = getattr(worker, command.pop("do"))(**command)
    except NotHere as word:
        return {"word": str(word)}
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0]
        return {"word": "failed", "why": f"{type(error).__name__}: {text}"[:300]}
    return result


def main() -> None:
    """Serve until the pipe closes."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, threads = sys.argv[1], int(sys.argv[2])
    try:
        worker = Worker(importlib.import_module(module_of(name)).Adapter(threads))
        replies.write(json.dumps(worker.version()) + "\n")
    except Exception as error:
        replies.write(json.dumps({"word": "not installed", "why": str(error)[:300]}) + "\n")
        return
    for line in sys.stdin:
        replies.write(json.dumps(answer(worker, line)) + "\n")


if __name__ == "__main__":
    main()
