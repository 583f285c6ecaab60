"""SciPy where it has the very function: special functions, softmax, BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from scipy import signal, special
from scipy.linalg import blas

from bench.case import Case, results
from bench.peers.base import NotHere, Peer, Prepared, call


def convolution(x: Any, w: Any) -> Any:
    """Image by image and filter by filter."""
    y = [[sum(signal.correlate2d(a, b, "valid") for a, b in zip(image, filters, strict=True))
          for filters in w] for image in x]  # fmt: skip
    return np.array(y)


FUNCTIONS: dict[str, Any] = {
    "function erf": special.erf,
    "function sigmoid": special.expit,
    "function log1p": special.log1p,
    "function expm1": special.expm1,
    "softmax": lambda x: special.softmax(x, axis=-1),
    "convolution": convolution,
    "logsumexp": lambda x: special.logsumexp(x, axis=-1),
}


def product(dtype: str) -> Any:
    """BLAS takes Fortran's order: the transposed product of the transposed operands, no copies."""
    gemm = blas.sgemm if dtype == "float32" else blas.dgemm
    return lambda a, b: gemm(1.0, b.T, a.T).T


class Adapter(Peer):
    """Only the families of FUNCTIONS, and plain products."""

    def version(self) -> str:
        return str(scipy.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.options.get("blas"):
            function = product(arrays[0].dtype.name)
        elif case.family in FUNCTIONS:
            function = FUNCTIONS[case.family]
        else:
            raise NotHere("–")
        statement, names = call(function, arrays)
        return Prepared(statement, names, lambda: results(function(*arrays)))
