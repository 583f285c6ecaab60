"""Reductions of a matrix over either axis and both, and running sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import uniform

N = 4000


def cases() -> Iterator[Case]:
    """sum, mean, var, max, argmax; cumulative sums."""
    for function in ("sum", "mean", "var", "max", "argmax"):
        for axis in (0, 1, None):

            def program(xp: Any, x: Any, f: str = function, axis: int | None = axis) -> Any:
                return getattr(xp, f)(x, axis=axis)

            yield Case(
                name=f"{function} axis {'all' if axis is None else axis} f64 {N}x{N}",
                group="reductions", family=f"reduce {function}",
                inputs=uniform(np.float64, (N, N), low=-1, high=2), expression=program,
                traffic=(8 * N * N, 8), quick=function in ("sum", "argmax") and axis != 0,
                options={"axis": axis, "function": function},
            )  # fmt: skip
    for name, shape, axis in (("1e7", (10**7,), 0), (f"rows {N}x{N}", (N, N), 1)):
        size = 8 * int(np.prod(shape))
        yield Case(
            name=f"cumsum f64 {name}", group="reductions", family="cumsum",
            inputs=uniform(np.float64, shape, low=-1, high=2),
            expression=lambda xp, x, axis=axis: xp.cumsum(x, axis=axis), traffic=(size, size),
            options={"axis": axis},
        )  # fmt: skip
