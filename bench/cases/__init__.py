"""All cases by name."""

from __future__ import annotations

from bench.case import Case
from bench.cases import (
    calls,
    convolution,
    elementwise,
    jitted,
    loops,
    masks,
    products,
    programs,
    random,
    reductions,
    rows,
    training,
)

CASES: dict[str, Case] = {}
for _module in (
    calls, elementwise, rows, reductions, masks, products, convolution, programs, jitted, random,
    loops, training,
):  # fmt: skip
    for _case in _module.cases():
        assert _case.name not in CASES, f"two cases {_case.name}"
        CASES[_case.name] = _case
