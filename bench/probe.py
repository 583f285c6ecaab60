"""What only a fresh process can tell: imports, compilations, memory.

    python -m bench.probe PEER import
    python -m bench.probe PEER compile CASE [CASE_BEFORE]
    python -m bench.probe PEER memory CASE SMALL_CASE

Prints one number: seconds, or bytes.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.peers import module_of

LIBRARIES = {
    "jitgraph": "jitgraph", "baseline": "jitgraph", "numpy": "numpy", "scipy": "scipy.special",
    "numexpr": "numexpr", "numba": "numba", "jax": "jax.numpy", "torch": "torch",
    "drjit": "drjit.llvm", "pytensor": "pytensor.tensor",
}  # fmt: skip


def imported(peer: str) -> float:
    """Seconds to import the library, NumPy included."""
    start = time.perf_counter()
    importlib.import_module(LIBRARIES[peer.partition("-")[0]])
    return time.perf_counter() - start


def compiled(peer: str, name: str, before: str = "") -> float:
    """Seconds from symbols to the first result, the library being imported and, if there is
    something `before`, having compiled that."""
    from bench.cases import CASES

    adapter = importlib.import_module(module_of(peer)).Adapter(threads())
    adapter.version()
    if before:
        earlier = adapter.prepare(CASES[before], CASES[before].arrays())
        exec(earlier.statement, earlier.names)
    case = CASES[name]
    arrays = case.arrays()
    start = time.perf_counter()
    prepared = adapter.prepare(case, arrays)
    exec(prepared.statement, prepared.names)
    return time.perf_counter() - start


def remembered(peer: str, name: str, small: str) -> float:
    """Bytes at the peak of some calls, over those of the process that has run a small case."""
    from bench.cases import CASES

    adapter = importlib.import_module(module_of(peer)).Adapter(threads())
    adapter.version()
    first = adapter.prepare(CASES[small], CASES[small].arrays())
    exec(first.statement, first.names)
    del first
    gc.collect()
    before = resident("VmRSS")
    prepared = adapter.prepare(CASES[name], CASES[name].arrays())
    prepared.fetch = None
    exec(prepared.statement, prepared.names)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(3):
        exec(prepared.statement, prepared.names)
    return float(resident("VmHWM") - before)


def resident(what: str) -> int:
    """Bytes of this process in memory: now (VmRSS) or at most (VmHWM)."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def threads() -> int:
    """As the parent set them."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


if __name__ == "__main__":
    probes: dict[str, Callable[..., float]] = {
        "import": imported, "compile": compiled, "memory": remembered,
    }  # fmt: skip
    print(probes[sys.argv[2]](sys.argv[1], *sys.argv[3:]))
