"""Numba: the loops of `numba_loops`, and one-line formulas wrapped into loops here."""

from __future__ import annotations

import os
from typing import Any

import numba
import numpy as np
from numba import njit, prange

from bench.case import Case, results
from bench.peers import numba_control, numba_loops, numba_programs
from bench.peers.base import NotHere, Peer, Prepared, call

LOOPS = {**numba_loops.LOOPS, **numba_programs.LOOPS, **numba_control.LOOPS}
OPTIONS: dict[str, Any] = {
    "fastmath": True, "error_model": "numpy", "cache": "NUMBA_CACHE_DIR" in os.environ,
}  # fmt: skip
#: Below, starting threads costs more than they save.
PARALLEL_FROM = 20_000


def mapped(formula: Any, count: int, parallel: bool) -> Any:
    """A loop over one to three flat arrays."""
    g = njit(fastmath=True, inline="always")(formula)
    options = {**OPTIONS, "parallel": parallel}
    if count == 1:

        @njit(**options)
        def one(a):
            out = np.empty_like(a)
            for i in prange(a.size):
                out[i] = g(a[i])
            return out

        return one
    if count == 2:

        @njit(**options)
        def two(a, b):
            out = np.empty_like(a)
            for i in prange(a.size):
                out[i] = g(a[i], b[i])
            return out

        return two

    @njit(**options)
    def three(a, b, c):
        out = np.empty_like(a)
        for i in prange(a.size):
            out[i] = g(a[i], b[i], c[i])
        return out

    return three


class Adapter(Peer):
    """parallel=True, fastmath=True; serial loops where arrays are small."""

    def version(self) -> str:
        numba.set_num_threads(min(self.threads, numba.config.NUMBA_NUM_THREADS))
        return str(numba.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.state:
            return self._step(case, arrays)
        function = self._function(case, arrays)
        statement, names = call(function, arrays)
        return Prepared(statement, names, lambda: _arrays(function(*arrays), arrays))

    def _function(self, case: Case, arrays: list[Any]) -> Any:
        size = max((a.size for a in arrays if isinstance(a, np.ndarray)), default=1)
        parallel = size >= PARALLEL_FROM and case.group != "loops"
        if case.family in numba_loops.FORMULAS:
            return mapped(numba_loops.FORMULAS[case.family], len(arrays), parallel)
        name = case.family
        if name.startswith("reduce ") or name == "cumsum":
            name = f"{name} {case.options['axis']}"
        if name.startswith("recurrent net"):
            name = f"{name} {arrays[-1].ndim}"
        if name == "Black-Scholes":
            name = f"{name} {arrays[0].dtype}"
        if name == "product" and arrays[0].ndim == 3:
            name = "products"
        if name not in LOOPS:
            raise NotHere("–")
        return njit(parallel=parallel, **OPTIONS)(LOOPS[name])

    def _step(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.family not in LOOPS:
            raise NotHere("–")
        step = njit(**OPTIONS)(LOOPS[case.family])
        trial = [a.copy() for a in arrays[: case.state]]
        data, rate = arrays[case.state :], arrays[0].dtype.type(case.rate)
        step(*trial, *data, rate)
        second = results([arrays[0].dtype.type(step(*trial, *data, rate)), *trial])
        state = [a.copy() for a in arrays[: case.state]]
        statement, names = call(step, [*state, *data, rate])
        return Prepared(statement, names, lambda: second)


def _arrays(given: Any, inputs: list[Any]) -> list[Any]:
    """Scalars come back as Python's, whatever they were computed in."""
    if isinstance(given, float) and isinstance(inputs[0], np.ndarray):
        given = inputs[0].dtype.type(given)
    return results(given)
