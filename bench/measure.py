"""A case on all peers: set up, verified, and timed in rounds, every peer in each round."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.case import Case
from bench.fleet import Gone, Process
from bench.peers import FIRST

#: Between two peers: threads of the last one that spin for more work go to sleep.
PAUSE = 0.01
#: Calls longer than this get no unmeasured call before each round.
LONG = 0.1


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time to give."""

    rounds: int
    seconds: float
    setup_timeout: float
    least_rounds: int = 3

    def calls(self, seconds: float) -> int:
        """How many calls of this length fill a round."""
        return max(1, min(1_000_000, round(self.seconds / max(seconds, 1e-9))))

    def rounds_for(self, seconds: float) -> int:
        """Fewer rounds where one call of every peer takes long."""
        return max(self.least_rounds, min(self.rounds, math.ceil(4 / max(seconds, 1e-9))))


FULL = Effort(rounds=9, seconds=0.03, setup_timeout=150)
QUICK = Effort(rounds=3, seconds=0.015, setup_timeout=20)


@dataclass(slots=True)
class Outcome:
    """What came of one peer in one case: times, or a word that says why there are none."""

    seconds: list[float] = field(default_factory=list)
    word: str = ""
    why: str = ""
    how: str = ""
    setup_seconds: float = 0.0

    @property
    def median(self) -> float:
        """Seconds a call: the median of the rounds."""
        return statistics.median(self.seconds) if self.seconds else math.nan


def measured(
    case: Case,
    fleet: Mapping[str, Process],
    effort: Effort,
    scratch: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Outcome]:
    """Outcomes by peer."""
    from bench.peers.on_numpy import NAMESPACE  # which needs SciPy; reports do not

    outcomes = {peer: Outcome() for peer in fleet}
    folder = scratch / "reference"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for at, array in enumerate(case.reference(NAMESPACE)):
        np.save(folder / f"{at:02}.npy", array)

    fit = fitting(case, list(fleet), available())

    def set_up(peer: str) -> None:
        if peer not in fit:
            outcomes[peer].word = "no memory"
            return
        tell(f"{peer} compiles")
        outcomes[peer] = _set_up(fleet[peer], case, folder, effort.setup_timeout)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(set_up, fleet))
    for peer in fleet:
        if not outcomes[peer].word and effort.rounds:
            tell(f"{peer} warms up")
            _warm_up(fleet[peer], outcomes[peer], effort)
    if effort.rounds:
        _rounds({p: fleet[p] for p in fleet if not outcomes[p].word}, outcomes, effort, tell)
    for process in fleet.values():
        if not process.missing:
            _ask(process, Outcome(), "drop", 60)
    return outcomes


def available() -> float:
    """Bytes of memory that are free."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+)", info.read_text()) if info.exists() else None
    return float(found[1]) * 1024 if found else math.inf


def fitting(case: Case, peers: Sequence[str], memory: float) -> list[str]:
    """The peers whose arrays fit in memory together, with copies while they are converted."""
    order = [*(p for p in FIRST if p in peers), *(p for p in peers if p not in FIRST)]
    each = 1.3 * sum(case.traffic)
    room = 0.8 * memory - 2 * each
    return order[: max(1, int(room / each))] if each * len(peers) > room else order


def _set_up(process: Process, case: Case, folder: Path, timeout: float) -> Outcome:
    if process.missing:
        return Outcome(word=process.missing)
    if case.only and process.peer not in case.only:
        return Outcome(word="–")
    outcome = Outcome()
    reply = _ask(process, outcome, "setup", timeout, case=case.name, reference=str(folder))
    outcome.how, outcome.setup_seconds = reply.get("how", ""), reply.get("seconds", 0.0)
    return outcome


def _ask(
    process: Process, outcome: Outcome, do: str, timeout: float, **arguments: Any
) -> dict[str, Any]:
    """The answer; where there is none, the outcome says so."""
    try:
        reply = process.ask(do, timeout, **arguments)
    except Gone as gone:
        reply = {"word": str(gone)}
    outcome.word, outcome.why = reply.get("word", ""), reply.get("why", "")
    return reply


def _warm_up(process: Process, outcome: Outcome, effort: Effort) -> None:
    """Calls until the time of one settles; the last time is kept to choose the number of calls."""
    calls, seconds = 1, math.inf
    for _ in range(8):
        reply = _ask(process, outcome, "time", 60, calls=calls, warm=0)
        if outcome.word:
            return
        before, seconds = seconds, reply["seconds"]
        if calls * seconds > effort.seconds / 2 and seconds > before / 1.5:
            break
        calls = min(effort.calls(seconds), 10 * calls)
    outcome.seconds = [seconds]


def _rounds(
    fleet: Mapping[str, Process],
    outcomes: Mapping[str, Outcome],
    effort: Effort,
    tell: Callable[[str], None],
) -> None:
    expected = {peer: outcomes[peer].seconds.pop() for peer in fleet}
    rounds = effort.rounds_for(sum(max(s, effort.seconds) for s in expected.values()))
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for peer, process in fleet.items():
            if outcomes[peer].word:
                continue
            time.sleep(PAUSE)
            short = expected[peer] < LONG
            reply = _ask(
                process, outcomes[peer], "time", 60 + 20 * expected[peer],
                calls=effort.calls(expected[peer]), warm=int(short),
            )  # fmt: skip
            if not outcomes[peer].word:
                outcomes[peer].seconds.append(reply["seconds"])
