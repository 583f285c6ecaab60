"""A case on all peers: set up, verified, and timed in rounds, every peer in each round.

A turn is a batch of calls and the wait for the last of them, so the time of a call is the longer
one of what the host does and what the device does. `host` is how long a call takes to return.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.case import TOLERANCES, Array, Case, distance, results
from bench.gpu.peers import Peer, Running
from bench.peers import on_jitgraph
from bench.peers.base import NotHere
from jitgraph.config import config

#: Calls that may be on their way without the host having to wait for room.
_IN_FLIGHT = 32
_SETTLED = 3


@dataclass(frozen=True, slots=True)
class Effort:
    """How many rounds, and the seconds of a turn."""

    rounds: int
    seconds: float


@dataclass(slots=True)
class Outcome:
    """What came of one peer in one case: seconds of a call by rounds, or a word that says why
    there are none."""

    seconds: list[float] = field(default_factory=list)
    #: Until a call returns; and on the device alone, where the peer can tell.
    host: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)
    word: str = ""
    why: str = ""
    setup: float = 0.0

    @property
    def median(self) -> float:
        return middle(self.seconds)


def middle(seconds: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(seconds) if seconds else math.nan


def measured(case: Case, peers: Mapping[str, Peer], effort: Effort) -> dict[str, Outcome]:
    """Outcomes by peer."""
    outcomes = {name: Outcome() for name in peers}
    arrays = case.arrays()
    wanted = reference(case, arrays)
    ready = {}
    for name, peer in peers.items():
        running = _prepared(peer, case, arrays, wanted, outcomes[name])
        if running is not None:
            ready[name] = running
    counts = {name: _calls(running, effort) for name, running in ready.items()}
    for _ in range(effort.rounds):
        for name, running in list(ready.items()):
            try:
                _turn(running, counts[name], outcomes[name])
            except Exception as error:
                _failed(outcomes[name], error)
                del ready[name]
    ready.clear()
    gc.collect()
    return outcomes


def reference(case: Case, arrays: Sequence[Array]) -> list[Array]:
    """What jitgraph computes on the CPU."""
    with config.override(device="cpu"):
        function, arguments = on_jitgraph.compiled(case, list(arrays))
    if not case.state:
        return results(function(*arguments))
    function.function(*arguments)
    cost = function.function(*arguments)
    return [np.asarray(cost), *(p.get_value() for p in function.shared)]


def _prepared(
    peer: Peer, case: Case, arrays: Sequence[Array], wanted: Sequence[Array], outcome: Outcome
) -> Running | None:
    start = time.perf_counter()
    try:
        running = peer.prepare(case, list(arrays))
        got = results(running.fetch())
    except NotHere as word:
        outcome.word, outcome.why = "–", str(word)
        return None
    except Exception as error:
        _failed(outcome, error)
        return None
    outcome.setup = time.perf_counter() - start
    if why := disagreement(case, got, wanted):
        outcome.word, outcome.why = "wrong", why
        return None
    return running


def disagreement(case: Case, got: Sequence[Array], wanted: Sequence[Array]) -> str | None:
    """How results differ from the CPU's, or None where they do not."""
    if len(got) != len(wanted):
        return f"{len(got)} results, not {len(wanted)}"
    for a, b in zip(got, wanted, strict=True):
        if a.shape != b.shape:
            return f"shape {a.shape}, not {b.shape}"
        if a.dtype != b.dtype:
            return f"computed in {a.dtype}, not {b.dtype}"
        limit = case.tolerance * TOLERANCES["f"].get(b.dtype.itemsize, 0.0)
        if not (apart := distance(a, b)) <= limit:
            return f"off by {apart:.1e}, more than {limit:.0e}"
    return None


def _failed(outcome: Outcome, error: Exception) -> None:
    first = (str(error).strip().splitlines() or [""])[0]
    outcome.word, outcome.why = "failed", f"{type(error).__name__}: {first}"[:300]
    outcome.seconds.clear()


def _calls(running: Running, effort: Effort) -> int:
    """How many calls fill a turn, after a few that let things settle."""
    for _ in range(_SETTLED):
        running.call()
    running.wait()
    start = time.perf_counter()
    running.call()
    running.wait()
    return max(1, min(2000, round(effort.seconds / max(time.perf_counter() - start, 1e-6))))


def _turn(running: Running, count: int, outcome: Outcome) -> None:
    call = running.call
    call()
    running.wait()
    few = min(count, _IN_FLIGHT)
    start = time.perf_counter()
    for _ in range(few):
        call()
    outcome.host.append((time.perf_counter() - start) / few)
    running.wait()
    start = time.perf_counter()
    for _ in range(count):
        call()
    running.wait()
    outcome.seconds.append((time.perf_counter() - start) / count)
    if running.device_seconds is not None:
        outcome.device.append(running.device_seconds(few) / few)
