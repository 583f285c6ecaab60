"""What the machine can do, measured: bytes a second from each cache and from memory, and
floating-point operations a second. Kept on disk, so a machine is measured once.
"""

from __future__ import annotations

import ctypes
import math
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jitgraph.codegen.objects import cached_library, code_key
from jitgraph.codegen.pool import pool_library
from jitgraph.codegen.streams import ARITHMETIC, CHAINS, CONTEXT, STREAMS, UNROLLED, library_text
from jitgraph.codegen.target import cache_bytes, host
from jitgraph.config import config
from jitgraph.runtime.threads import set_num_threads
from jitgraph.store import Entry, store

#: The best of so many counts: a limit is what something reached. After a while (seconds) fewer do.
_MOST_REPEATS, _LEAST_REPEATS, _PATIENCE = 7, 2, 0.03
#: Bytes and operations that take about a millisecond.
_MOVED = 64 << 20
_OPERATIONS = 100_000_000
#: Bytes that do not fit into any cache: so many times the greatest, within bounds.
_PAST_CACHES = 3
_LEAST, _MOST = 64 << 20, 256 << 20
#: Of a cache that is shared with others, so much at most is measured.
_SHARED = 16 << 20
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Level:
    """A cache, or the memory: how many bytes fit, and bytes a second that can be copied (each
    counts as read and as written) and read."""

    name: str
    capacity: float
    copy: float
    read: float

    def seconds(self, read: int, written: int) -> float:
        """The least time in which so many bytes can be read and written."""
        for_writing = max(2 / self.copy - 1 / self.read, 0)
        return read / self.read + written * for_writing


@dataclass(frozen=True, slots=True)
class Limits:
    """What `threads` threads together can do: the levels of memory, the smallest first, and
    operations a second in single and double precision, of which a multiply-add is two."""

    threads: int
    levels: tuple[Level, ...]
    f32: float
    f64: float

    def level_for(self, size: int) -> Level:
        """The smallest level that holds `size` bytes."""
        return next(level for level in self.levels if size <= level.capacity)


_known: dict[int, Limits] = {}
_lock = threading.Lock()


def limits(threads: int | None = None, *, fresh: bool = False) -> Limits:
    """The limits for a number of threads, that of calls by default. They are measured, in about
    half a second, if that has not been done on this machine, or if they should be `fresh`."""
    count = config.num_threads if threads is None else threads
    with _lock:
        found = None if fresh else _known.get(count) or _kept(count)
        if found is None:
            with set_num_threads(count):
                found = _Machine(count).limits()
            _keep(found)
        _known[count] = found
        return found


# --- on disk -----------------------------------------------------------------------------------
def _key(threads: int) -> str:
    return code_key(host(), "limits", platform.node(), str(threads))


def _kept(threads: int) -> Limits | None:
    shelf = store()
    entry = shelf.load(_key(threads)) if shelf is not None else None
    if entry is None:
        return None
    head = entry.header
    return Limits(threads, tuple(Level(*level) for level in head["levels"]), *head["arithmetic"])


def _keep(found: Limits) -> None:
    shelf = store()
    if shelf is not None:
        levels = [[x.name, x.capacity, x.copy, x.read] for x in found.levels]
        header = {"kind": "limits", "name": f"{found.threads} threads", "levels": levels}
        shelf.save(_key(found.threads), Entry(header | {"arithmetic": [found.f32, found.f64]}, ()))


# --- measuring ---------------------------------------------------------------------------------
class _Machine:
    """The machine, with memory to measure it on."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        target = host()
        self.code = cached_library("streams", lambda: library_text(target), target,
                                   passes="explicit")  # fmt: skip
        start = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64)
        self.parallel_for: Callable[..., None] = start(pool_library(target).address("parallel_for"))
        self.vector_bytes = target.vector_bytes
        caches = {"L1": target.l1_bytes * threads, "L2": target.l2_bytes * threads}
        shared = cache_bytes(3, 0)
        if shared > 2 * caches["L2"]:
            caches["L3"] = shared
        self.caches = caches
        self.most = min(max(_PAST_CACHES * max(caches.values()), _LEAST), _MOST)
        self.out, self.source = (_touched(self.most // 2) for _ in range(2))

    def limits(self) -> Limits:
        levels = []
        for name, size in self.caches.items():
            part = min(size // 2, _SHARED if name == "L3" else size, self.most)
            levels.append(Level(name, size, *self._bandwidths(part)))
        levels.append(Level("memory", math.inf, *self._bandwidths(self.most)))
        rates = [self._arithmetic(name, itemsize) for name, (_, itemsize) in ARITHMETIC.items()]
        return Limits(self.threads, tuple(levels), *rates)

    def _bandwidths(self, size: int) -> tuple[float, float]:
        """Bytes a second, copied and read, of two arrays with `size` bytes together."""
        piece = UNROLLED * self.vector_bytes
        part = size // 2 // self.threads // piece * piece
        rounds = max(_MOVED // (2 * part * self.threads), 1)
        moved = part * self.threads * rounds
        rates = {name: moved / self._fastest(name, part, rounds) for name in STREAMS}
        copy = max(rates["copy"], rates["copy_past_caches"])
        return 2 * copy, max(rates["read"], copy)  # a copy reads as well

    def _arithmetic(self, name: str, itemsize: int) -> float:
        per_round = 2 * CHAINS * self.vector_bytes // itemsize
        rounds = _OPERATIONS // per_round
        return self.threads * rounds * per_round / self._fastest(name, self.vector_bytes, rounds)

    def _fastest(self, name: str, size: int, rounds: int) -> float:
        """Seconds in which every thread runs a kernel, at best."""
        given = {"out": self.out.ctypes.data, "source": self.source.ctypes.data,
                 "size": size, "rounds": rounds}  # fmt: skip
        context = (ctypes.c_int64 * len(CONTEXT))(*(given[field] for field in CONTEXT))
        task, times = self.code.address(name), list[float]()
        while len(times) < _LEAST_REPEATS or (
            len(times) < _MOST_REPEATS and sum(times) < _PATIENCE
        ):
            start = time.perf_counter()
            self.parallel_for(task, ctypes.addressof(context), self.threads)
            times.append(time.perf_counter() - start)
        return min(times)


def _touched(size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Memory that starts on a page and is there already, filled with ordinary numbers below 1."""
    whole = np.full(size + _PAGE, 0x3F, np.uint8)
    start = -whole.ctypes.data % _PAGE
    return whole[start : start + size]
