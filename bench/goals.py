"""The goals, each judged by the numbers of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.case import Case
from bench.cases.jitted import JITTED
from bench.cases.masks import MASK, MASKED_SUM
from bench.peers import PEERS
from bench.record import Record, against, geometric_mean, ratio

#: Timings of equal programs differ by this much.
NOISE = 0.97


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, whether it is met (None: not measured in this run), and the numbers."""

    goal: str
    met: bool | None
    found: str


def verdicts(record: Record) -> Iterator[Verdict]:
    """All goals."""
    yield from _against_peers(record)
    yield _call(record)
    yield _call_under_jit(record)
    yield _share(record, "arrays past the cache: at least 90 % of the streaming bandwidth", 0.9,
                 lambda c: c.group in ("elementwise", "programs") and record.past_cache(c)
                 and c.family in ("arithmetic", "polynomial"))  # fmt: skip
    yield _functions(record)
    yield _share(record, "softmax, layer norm, log-sum-exp of rows: at least 90 % of the "
                 "streaming bandwidth", 0.9,
                 lambda c: c.group == "rows" and c.family in ("softmax", "layer norm",
                                                              "logsumexp"))  # fmt: skip
    yield _share(record, "products of 1024³: at least 90 % of the peak of multiply-adds", 0.9,
                 lambda c: c.family == "product" and "1024³" in c.name)  # fmt: skip
    yield _never_slower(record, "other products: never slower than any library",
                        lambda c: c.group == "products" and "1024³" not in c.name)  # fmt: skip
    yield _two_threads(record)
    yield _never_slower(record, "convolutions on LeNet's shapes: never slower than torch and JAX",
                        lambda c: c.group == "convolutions")  # fmt: skip
    yield _never_slower(record, "recurrent nets, forward and gradients: ahead of every peer",
                        lambda c: c.family.startswith("recurrent net"))  # fmt: skip
    yield _masked_sum(record)
    yield _jitted(record)
    yield from _compilation(record)
    yield from _memory(record)


def _ratios(record: Record, among: Callable[[Case], bool]) -> dict[str, float]:
    found = {c.name: ratio(record.outcomes[c.name]) for c in record.cases if among(c)}
    return {name: r for name, r in found.items() if not math.isnan(r)}


def _never_slower(record: Record, goal: str, among: Callable[[Case], bool]) -> Verdict:
    found = _ratios(record, among)
    slower = [r for r in found.values() if r < NOISE]
    if not found:
        return Verdict(goal, None, "not measured")
    worst = min(found, key=found.__getitem__)
    return Verdict(goal, not slower, f"slower in {len(slower)} of {len(found)}; "
                   f"least ×{found[worst]:.2f} ({worst})")  # fmt: skip


def _against_peers(record: Record) -> Iterator[Verdict]:
    yield _never_slower(record, "every case: never slower than the best peer", lambda c: True)
    mean = geometric_mean(_ratios(record, lambda c: True).values())
    yield Verdict("geometric mean against the best peer: at least ×1.5",
                  None if math.isnan(mean) else mean >= 1.5, f"×{mean:.2f}")  # fmt: skip


def _call(record: Record) -> Verdict:
    goal = "a call with two vectors of 4: at most 100 ns, and below NumPy's x + y"
    row = record.outcomes.get("call, 2 vectors of 4", {})
    beside = against(row, "numpy")
    if math.isnan(beside):
        return Verdict(goal, None, "not measured")
    ours = row["jitgraph"].median
    return Verdict(goal, ours <= 100e-9 and beside > 1,
                   f"{1e9 * ours:.0f} ns, NumPy {1e9 * row['numpy'].median:.0f} ns")  # fmt: skip


def _call_under_jit(record: Record) -> Verdict:
    goal = "a call under jit with two vectors of 4: at most 150 ns"
    seconds = _ours(record, "call under jit, 2 vectors of 4")
    unknown = math.isnan(seconds)
    return Verdict(goal, None if unknown else seconds <= 150e-9,
                   "not measured" if unknown else f"{1e9 * seconds:.0f} ns")  # fmt: skip


def _share(record: Record, goal: str, least: float, among: Callable[[Case], bool]) -> Verdict:
    shares = {c.name: record.share(c) for c in record.cases if among(c)}
    shares = {name: s for name, s in shares.items() if not math.isnan(s)}
    if not shares:
        return Verdict(goal, None, "not measured")
    found = ", ".join(f"{name} {100 * s:.0f} %" for name, s in shares.items())
    return Verdict(goal, min(shares.values()) >= least, found)


def _functions(record: Record) -> Verdict:
    goal = "functions in cache: each faster than NumPy's loops and XLA's"
    slower, count = [], 0
    for case in record.cases:
        if case.group == "functions":
            row = record.outcomes[case.name]
            for peer in ("numpy", "jax"):
                r = against(row, peer)
                count += not math.isnan(r)
                if r < NOISE:
                    slower.append(f"{case.name} ×{r:.2f} of {PEERS[peer]}")
    if not count:
        return Verdict(goal, None, "not measured")
    return Verdict(goal, not slower, f"{len(slower)} of {count} slower: " + ", ".join(slower)
                   if slower else f"all {count} faster")  # fmt: skip


def _two_threads(record: Record) -> Verdict:
    goal = "two threads: at least ×1.8 of one where arithmetic is the limit"
    found = {}
    for case in record.cases:
        alone, together = case.name, case.name.removesuffix(", one thread")
        if alone != together and together in record.outcomes:
            one, more = (record.outcomes[n].get("jitgraph") for n in (alone, together))
            if one and more and one.seconds and more.seconds and not (one.word or more.word):
                found[together] = one.median / more.median
    if not found or record.machine.get("threads") != 2:
        return Verdict(goal, None, "not measured")
    return Verdict(goal, min(found.values()) >= 1.8,
                   ", ".join(f"{n} ×{r:.2f}" for n, r in found.items()))  # fmt: skip


def _ours(record: Record, name: str) -> float:
    return _of(record, name, "jitgraph")


def _of(record: Record, name: str, peer: str) -> float:
    outcome = record.outcomes.get(name, {}).get(peer)
    return outcome.median if outcome and not outcome.word else math.nan


def _masked_sum(record: Record) -> Verdict:
    goal = "sum of x[x > 0]: at most what NumPy's mask x > 0 takes alone"
    ours, mask = _ours(record, MASKED_SUM), _of(record, MASK, "numpy")
    if math.isnan(ours - mask):
        return Verdict(goal, None, "not measured")
    return Verdict(goal, ours <= mask / NOISE, f"×{mask / ours:.2f}")


def _jitted(record: Record) -> Verdict:
    goal = "NumPy functions under jit: as fast as the same programs of symbols"
    found = {}
    for case in record.cases:
        if case.group == "jit":
            symbolic = _ours(record, case.name.removesuffix(JITTED))
            found[case.name] = symbolic / _ours(record, case.name)
    found = {name: r for name, r in found.items() if not math.isnan(r)}
    if not found:
        return Verdict(goal, None, "not measured")
    return Verdict(goal, min(found.values()) >= NOISE,
                   ", ".join(f"{name} ×{r:.2f}" for name, r in found.items()))  # fmt: skip


def _compilation(record: Record) -> Iterator[Verdict]:
    for goal, name, limit in (
        ("cold compile of a fused elementwise function: at most 10 ms",
         "compile elementwise, cold", 10e-3),
        ("cold compile of an MLP step: at most 150 ms", "compile MLP step, cold", 150e-3),
        ("compile from the cache on disk: at most 5 ms",
         "compile elementwise, from the cache on disk", 5e-3),
        ("the same, MLP step", "compile MLP step, from the cache on disk", 5e-3),
        ("cold compile of the gradient of a scan: at most 150 ms",
         "compile scan gradient, cold", 150e-3),
        ("import: at most 150 ms", "import", 150e-3),
    ):  # fmt: skip
        seconds = _ours(record, name)
        unknown = math.isnan(seconds)
        yield Verdict(goal, None if unknown else seconds <= limit,
                      "not measured" if unknown else f"{1e3 * seconds:.1f} ms")  # fmt: skip


def _memory(record: Record) -> Iterator[Verdict]:
    for probe in record.probes:
        if probe.kind == "memory" and probe.curve:
            over = _ours(record, probe.name) - probe.least
            unknown = math.isnan(over)
            yield Verdict(
                f"{probe.name}: inputs and output and under 1 MB more",
                None if unknown else over < 1 << 20,
                "not measured" if unknown else f"{over / (1 << 20):.2f} MB more",
            )
