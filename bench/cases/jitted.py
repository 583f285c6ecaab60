"""The programs as plain functions of NumPy, under jit: what the same program of symbols takes is
what there is to reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bench.case import Case
from bench.cases import programs

#: Ends the name of a case whose program is jitted.
JITTED = ", jit"


def cases() -> Iterator[Case]:
    """Programs that the other peers run as the cases without jit."""
    for case in programs.cases():
        if case.family in ("n-body", "stencil", "mandelbrot"):
            yield dataclasses.replace(
                case, name=case.name + JITTED, group="jit", only=("jitgraph", "baseline"),
                options={**case.options, "jit": True},
            )  # fmt: skip
