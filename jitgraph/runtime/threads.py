"""How many threads compiled functions use. The pool itself is generated: `codegen/pool.py`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from jitgraph.config import config


class _Restore(AbstractContextManager[None]):
    """Sets the former number of threads again at the end of a `with` block."""

    def __init__(self, former: int) -> None:
        self._former = former

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: Any) -> None:
        config.num_threads = self._former


def set_num_threads(threads: int) -> AbstractContextManager[None]:
    """Let every call from now on use at most `threads` threads, its own among them.

    The results are the same for every number. May be called at any time, from any thread, and
    holds for all threads of the process; `with set_num_threads(1):` holds for the block. Raises
    OptionError if `threads` is not a positive integer (or absurdly large).
    """
    former = config.num_threads
    config.num_threads = threads
    return _Restore(former)


def get_num_threads() -> int:
    """The number of threads a call may use: as set, or JITGRAPH_NUM_THREADS, or
    OMP_NUM_THREADS, or the number of CPUs this process may use."""
    return config.num_threads
