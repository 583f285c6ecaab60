"""The worker processes, one a peer, seen from the parent: ask, wait, and survive their end."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Compiled code that peers keep between runs, so that a second run starts sooner.
CACHE = Path(sys.prefix) / "cache"
#: Libraries that only jitgraph's worker sees: Numba holds back the llvmlite of the environment.
OWN = Path(sys.prefix) / "jitgraph"
COUNTS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "JITGRAPH_NUM_THREADS",
)  # fmt: skip


class Gone(Exception):  # noqa: N818
    """The worker did not answer; the message is the word in the table."""


def environment(peer: str, threads: int, checkout: Path) -> dict[str, str]:
    """Every worker sees the same, except which jitgraph is imported."""
    path = [ROOT]
    if peer in ("jitgraph", "baseline"):
        path = [*([OWN] if OWN.is_dir() else []), checkout, ROOT]
    return {
        **os.environ,
        **dict.fromkeys(COUNTS, str(threads)),
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "JITGRAPH_CACHE_DIR": str(CACHE / peer),
        "TORCHINDUCTOR_CACHE_DIR": str(CACHE / "torch"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "NUMBA_CACHE_DIR": str(CACHE / "numba"),
        "PYTENSOR_FLAGS": f"base_compiledir={CACHE / 'pytensor'}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
    }


class Process:
    """A worker, started again when it is next needed after it died or hung."""

    def __init__(self, peer: str, threads: int, checkout: Path, log: Path) -> None:
        self.peer, self.threads, self.checkout, self.log = peer, threads, checkout, log
        self.version: str | None = None
        self.missing: str | None = None
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and learn the version of its library; `missing` says why there is none."""
        self.log.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.worker", self.peer, str(self.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("a"), text=True,
            env=environment(self.peer, self.threads, self.checkout), cwd=ROOT,
            preexec_fn=self._on_few_cores,
        )  # fmt: skip
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()
        try:
            hello = self._answer(timeout=120)
        except Gone as gone:
            hello = {"word": str(gone)}
        self.version, self.missing = hello.get("version"), hello.get("word")

    def _on_few_cores(self) -> None:
        """Some libraries count the cores they may run on, and nothing else."""
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: self.threads])

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    def ask(self, do: str, timeout: float, **arguments: Any) -> dict[str, Any]:
        """The answer to a command. Raises Gone when there is none in time."""
        if self._process is None:
            self.start()
        if self._process is None:
            raise Gone(self.missing or "did not start")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError:
            self.stop()
            raise Gone("crashed") from None
        return self._answer(timeout)

    def _answer(self, timeout: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            self.stop()
            raise Gone("too slow") from None
        if line is None:
            self.stop()
            raise Gone("crashed")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def stop(self) -> None:
        """End it, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Fleet:
    """Processes by peer and number of threads, started when first needed."""

    def __init__(self, peers: Sequence[str], checkouts: Mapping[str, Path], logs: Path) -> None:
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
