"""The programs as plain functions of NumPy, under jit: what the same program of symbols takes is
what there is to reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from bench.case import Case
from bench.cases import programs
from bench.cases.calls import total
from bench.cases.elementwise import uniform

#: Ends the name of a case whose program is jitted.
JITTED = ", jit"
DISPATCH = "call, 2 vectors of 4, jit"


def cases() -> Iterator[Case]:
    """Programs that the other peers run as the cases without jit, and the call of a function."""
    for case in programs.cases():
        if case.family in ("n-body", "stencil", "mandelbrot"):
            yield dataclasses.replace(
                case, name=case.name + JITTED, group="jit", only=("jitgraph", "baseline"),
                options={**case.options, "jit": True},
            )  # fmt: skip
    yield Case(
        name=DISPATCH, group="calls", family="call jit", expression=total,
        inputs=uniform(np.float64, (4,), (4,)), only=("jitgraph", "baseline", "numpy", "jax"),
        options={"jit": True, "ufunc": "add"}, quick=True,
    )  # fmt: skip
