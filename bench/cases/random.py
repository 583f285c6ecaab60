"""Arrays of random numbers. Peers have generators of their own, so only shapes agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import DTYPES

#: All numbers may differ from NumPy's.
OPTIONS = {"differing": 1.0}
N = 10**6


def cases() -> Iterator[Case]:
    """A million numbers each, and their sum."""
    for law in ("uniform", "normal"):
        for name, dtype in DTYPES.items():
            yield Case(
                name=f"{law} {name} 1e6", group="random", family=f"random {law}",
                inputs=lambda random: [5], options=OPTIONS,
                expression=lambda xp, seed, _law=law, _dtype=name: getattr(xp, f"random_{_law}")(
                    seed, N, "float" + _dtype[1:]
                ),
                traffic=(0, N * np.dtype(dtype).itemsize), quick=law == "normal",
            )  # fmt: skip
    yield Case(
        name="mean of 1e6 normal numbers", group="random", family="random mean",
        inputs=lambda random: [5], expression=mean, options=OPTIONS, traffic=(0, 8),
    )  # fmt: skip


def mean(xp: Any, seed: Any) -> Any:
    """Nothing but the draw: the array need not exist."""
    return xp.mean(xp.exp(-xp.random_normal(seed, N, "float64") ** 2), axis=0)
