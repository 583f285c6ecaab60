"""How long it takes to compile for the device, cold and from the cache on disk, each in a process
of its own that has compiled something else before: `python -m bench.gpu.fresh DEVICE`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
_SECONDS = 120


def probes(device: str, rounds: int) -> Iterator[tuple[str, float]]:
    """Names, and medians of seconds from the variables to the first result."""
    found: dict[str, list[float]] = {"cold": [], "from the cache on disk": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for seconds in found.values():
                seconds.append(_run(device, cache))
    for how, seconds in found.items():
        yield f"compile a fused kernel and run it, {how}", statistics.median(seconds)


def _run(device: str, cache: str) -> float:
    environment = {**os.environ, "JITGRAPH_CACHE_DIR": cache, "JITGRAPH_CACHE": "1"}
    done = subprocess.run([sys.executable, "-m", __name__, device], capture_output=True, text=True,
                          check=True, cwd=ROOT, env=environment, timeout=_SECONDS)  # fmt: skip
    return float(done.stdout)


def timed(device: str) -> float:
    """Seconds."""
    import jitgraph as jg
    import jitgraph.tensor as T
    from bench.cases.elementwise import arithmetic, fused

    def first(program: Any) -> None:
        variables = [T.matrix(name, "float32") for name in "abc"]
        function = jg.function(variables, program(T, *variables), device=device)
        np.asarray(function(*[np.ones((4, 4), np.float32)] * 3))

    first(arithmetic)
    start = time.perf_counter()
    first(fused)
    return time.perf_counter() - start


if __name__ == "__main__":
    print(timed(sys.argv[1]))
