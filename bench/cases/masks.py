"""Elements chosen by a mask, and the mask alone to compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import uniform

N = 10**6
#: The cases that goals compare.
MASK, MASKED_SUM = "x > 0 f64 1e6", "sum of x[x > 0] f64 1e6"


def cases() -> Iterator[Case]:
    """All of them."""
    yield Case(
        name=MASK, group="masks", family="mask", inputs=uniform(np.float64, (N,)),
        expression=lambda xp, x: x > 0, traffic=(8 * N, N),
    )  # fmt: skip
    yield Case(
        name=MASKED_SUM, group="masks", family="masked sum", inputs=uniform(np.float64, (N,)),
        expression=lambda xp, x: xp.masked_sum(x, x > 0), traffic=(8 * N, 8),
    )  # fmt: skip
    yield Case(
        name="sum of x[mask] f64 1e6", group="masks", family="given mask sum", inputs=_masked,
        expression=lambda xp, x, mask: xp.masked_sum(x, mask), traffic=(9 * N, 8),
    )  # fmt: skip


def _masked(random: np.random.Generator) -> Sequence[Any]:
    return [random.uniform(-2, 2, N), random.random(N) < 0.5]
