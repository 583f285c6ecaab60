"""What a call costs when there is next to nothing to compute."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import uniform


def total(xp: Any, *inputs: Any) -> Any:
    """The sum of the inputs; the only one times itself."""
    return reduce(add, inputs) if len(inputs) > 1 else inputs[0] * inputs[0]


def cases() -> Iterator[Case]:
    """Vectors of 4, scalars, and a function that only updates its state."""
    for count in (1, 2, 8):
        yield Case(
            name=f"call, {count} vector{'s' * (count > 1)} of 4", group="calls",
            family=f"call {count}", inputs=uniform(np.float64, *[(4,)] * count),
            expression=total, quick=count == 2,
            options={"ufunc": {1: "square", 2: "add"}.get(count, "")},
        )  # fmt: skip
    yield Case(
        name="call under jit, 2 vectors of 4", group="calls", family="call 2",
        inputs=uniform(np.float64, (4,), (4,)), expression=total, quick=True,
        options={"ufunc": "add", "jit": True},
    )  # fmt: skip
    yield Case(
        name="call, 2 Python floats", group="calls", family="call scalars",
        inputs=lambda random: [1.5, 2.5], expression=lambda xp, a, b: a + b,
    )  # fmt: skip
    yield Case(
        name="call, update of a vector of 4", group="calls", family="call update",
        inputs=uniform(np.float64, (4,)), expression=lambda xp, x: x + 0, quick=True,
        options={"update": True},
    )  # fmt: skip
