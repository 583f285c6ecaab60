"""Cheaper ops for the same number: multiplications for powers and divisions, shifts for both."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.ir.ops.arithmetic import sqrt
from jitgraph.ir.types import finfo
from jitgraph.passes.rules.rule import FINITE, Call, Pattern, Rule, rule

#: Powers up to this one become multiplications: at most six of them.
LARGEST_POWER = 16


def multiplied(x: Any, n: int) -> Any:
    """xⁿ by squaring: x⁵ = (x²)²·x."""
    if n == 1:
        return x
    half = multiplied(x, n // 2)
    return half * half * x if n % 2 else half * half


def _power(n: int) -> tuple[Rule, Rule]:
    return (
        rule(f"pow-{n}", lambda x: x**n, lambda x: multiplied(x, n), dtypes="iu"),
        rule(f"pow-{n}-float", lambda x: x**n, lambda x: multiplied(x, n), dtypes="f",
             reassociates=True),
    )  # fmt: skip


POWERS = (
    rule("pow-2", lambda x: x**2, lambda x: x * x),
    *(r for n in range(3, LARGEST_POWER + 1) for r in _power(n)),
    rule("pow-minus-1", lambda x: x**-1, lambda x: 1 / x, dtypes="f"),
    rule("pow-minus-2", lambda x: x**-2, lambda x: 1 / (x * x), dtypes="f", reassociates=True),
    rule("pow-half", lambda x: x**0.5, lambda x: sqrt(x), dtypes="f", assumes=FINITE),
    rule("pow-minus-half", lambda x: x**-0.5, lambda x: 1 / sqrt(x), dtypes="f",
         reassociates=True, assumes=FINITE),
    rule("pow-3-halves", lambda x: x**1.5, lambda x: x * sqrt(x), dtypes="f",
         reassociates=True, assumes=FINITE),
    rule("pow-5-halves", lambda x: x**2.5, lambda x: x * x * sqrt(x), dtypes="f",
         reassociates=True, assumes=FINITE),
    rule("pow-minus-3-halves", lambda x: x**-1.5, lambda x: 1 / (x * sqrt(x)), dtypes="f",
         reassociates=True, assumes=FINITE),
    rule("pow-minus-3", lambda x: x**-3, lambda x: 1 / (x * x * x), dtypes="f", reassociates=True),
)  # fmt: skip


def _is_power_of_two(c: Any) -> bool:
    """Whether 1/c is a number of c's type, and exact."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(c) and np.isfinite(1 / c) and abs(np.frexp(c)[0]) == 0.5)


def _has_reciprocal(c: Any) -> bool:
    with np.errstate(all="ignore"):
        smallest = finfo(c.dtype).smallest_normal
        return bool(np.isfinite(c) and smallest <= abs(1 / c) < np.inf)


def _is_positive_power_of_two(c: Any) -> bool:
    return int(c) > 0 and int(c) & (int(c) - 1) == 0


def _exponent(c: Any) -> Any:
    return Call("log2", (c,)) if isinstance(c, Pattern) else int(c).bit_length() - 1


# `late`, for until then x / 3 * 3 can cancel, and sizes are easier to reason about as quotients.
DIVISIONS = (
    rule("div-power-of-two", lambda x, c: x / c, lambda x, c: x * (1 / c), dtypes="f",
         constants="c", when=lambda x, c: _is_power_of_two(c), stage="late"),
    rule("div-constant", lambda x, c: x / c, lambda x, c: x * (1 / c), dtypes="f",
         constants="c", when=lambda x, c: _has_reciprocal(c), reassociates=True, stage="late"),
    rule("floordiv-power-of-two", lambda x, c: x // c, lambda x, c: x >> _exponent(c),
         dtypes="iu", constants="c", when=lambda x, c: _is_positive_power_of_two(c), stage="late"),
    rule("mod-power-of-two", lambda x, c: x % c, lambda x, c: x & (c - 1), dtypes="iu",
         constants="c", when=lambda x, c: _is_positive_power_of_two(c), stage="late"),
)  # fmt: skip

RULES: tuple[Rule, ...] = (*POWERS, *DIVISIONS)
