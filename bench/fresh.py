"""Probes in fresh processes, peer after peer in each round: imports, compilations, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cases import CASES
from bench.fleet import ROOT, environment
from bench.measure import Outcome

#: What is compiled, and what the process has compiled before.
COMPILED = {
    "elementwise": ("fused f64 1e2", "arithmetic f64 1e2"),
    "MLP step": ("MLP step, tiny", "logistic regression step f32, batch 600"),
    "scan gradient": ("recurrent net f32, 200 steps of 64, vector, gradient",
                      "recurrent net f32, 200 steps of 64, vector"),
}  # fmt: skip
#: What a peer has no part in.
WITHOUT = {"import": (), "compile": ("numpy", "scipy"), "memory": ("scipy",)}


@dataclass(frozen=True, slots=True)
class Probe:
    """One row: what is asked, and whether the cache on disk is full."""

    name: str
    arguments: tuple[str, ...]
    unit: str = "s"
    warm: bool = False
    least: float = 0.0
    quick: bool = True
    curve: tuple[str, int] | None = None

    @property
    def kind(self) -> str:
        """import, compile or memory."""
        return self.arguments[0]


def probes() -> Iterator[Probe]:
    """All of them."""
    yield Probe("import", ("import",))
    first = "the first of a process"
    for title, (case, before) in COMPILED.items():
        for warm in (False, True):
            how = "from the cache on disk" if warm else "cold"
            plain = title == "elementwise"
            if plain:
                name = f"compile {title}, {first}, {how}"
                yield Probe(name, ("compile", case), warm=warm, quick=False)
            name, arguments = f"compile {title}, {how}", ("compile", case, before)
            yield Probe(name, arguments, warm=warm, quick=plain and not warm)
    for n in (5, 6, 7):
        name = f"fused f64 1e{n}"
        yield Probe(
            f"memory of {name}", ("memory", name, "fused f64 1e2"), "B",
            least=sum(CASES[name].traffic), quick=n == 6, curve=("fused f64", 10**n),
        )  # fmt: skip
    step = "MLP 784-1000-1000-10 step f32, batch 128"
    yield Probe(
        f"memory of {step}", ("memory", step, "MLP step, tiny"), "B",
        least=sum(a.nbytes for a in CASES[step].arrays()), quick=False,
    )  # fmt: skip


def measured(
    probe: Probe,
    peers: Sequence[str],
    checkouts: Mapping[str, Path],
    threads: int,
    scratch: Path,
    rounds: int,
    tell: Callable[[str], None],
) -> dict[str, Outcome]:
    """Outcomes by peer; `seconds` are bytes for probes of memory."""
    outcomes = {p: Outcome(word="–" if p in WITHOUT[probe.kind] else "") for p in peers}
    for number in range(rounds + probe.warm):
        for peer in peers:
            outcome = outcomes[peer]
            if outcome.word:
                continue
            tell(f"{peer}, {number + 1} of {rounds + probe.warm}")
            cache = scratch / "cache" / peer
            if not probe.warm or number == 0:
                shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir(parents=True, exist_ok=True)
            found = _run(probe, peer, checkouts.get(peer, ROOT), threads, cache, outcome)
            if found is not None and number >= probe.warm:
                outcome.seconds.append(found)
    return outcomes


def _run(
    probe: Probe, peer: str, checkout: Path, threads: int, cache: Path, outcome: Outcome
) -> float | None:
    command = [sys.executable, "-P", "-m", "bench.probe", peer, *probe.arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=150, cwd=ROOT, check=False,
            env={**environment(peer, threads, checkout), **_caches(cache)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        outcome.word = "too slow"
        return None
    if done.returncode:
        outcome.why = (done.stderr.strip().splitlines() or ["?"])[-1][:300]
        outcome.word = outcome.why.partition("NotHere: ")[2] or "failed"
        return None
    return float(done.stdout.split()[-1])


def _caches(folder: Path) -> dict[str, str]:
    """Every peer's cache on disk, in an own folder; Dr.Jit keeps its below the home folder."""
    return {
        "HOME": str(folder),
        "JITGRAPH_CACHE_DIR": str(folder / "jitgraph"),
        "NUMBA_CACHE_DIR": str(folder / "numba"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),
        "PYTENSOR_FLAGS": f"base_compiledir={folder / 'pytensor'}",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XDG_CACHE_HOME": os.fspath(folder / "xdg"),
    }
