"""The table of ops that draw by rejection: candidates are proposed until one is accepted.

A proposal is a function of the round, states, a key (64 random bits of the element's own) and
parameters: it gives a candidate, whether that is accepted, and the states for the next round, which
are 0 in the first. It is written once, over ops, which compute where they are given arrays: so it
is the meaning in NumPy as well as what is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import Elementwise, Operands, binary, cast, ternary
from jitgraph.ir.opdef import Rejection
from jitgraph.ir.ops.arithmetic import absolute, equal, floor, sqrt, where
from jitgraph.ir.ops.exponential import exp, log, log1p
from jitgraph.ir.ops.random import U64, bits_to_normal, threefry
from jitgraph.ir.types import F64, DType

Proposal = Callable[..., tuple[Any, ...]]

#: The worst proposal is refused two times in five: 256 times in a row with a chance of 2^-338.
ROUNDS = 256
#: More than this, numbers with a mean of 10 or less are with a chance of less than 2^-60.
SMALL_COUNTS = 60.0
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _sampler(name: str, propose: Proposal, declare: Any, doc: str, states: int = 0) -> Elementwise:
    def sampled(key: Any, *parameters: Any) -> Any:
        key, *others = np.broadcast_arrays(key, *parameters)
        found, pending = np.full(key.shape, np.nan), np.ones(key.shape, bool)
        state: Any = [np.zeros(key.shape)] * states
        for round_ in range(ROUNDS):
            candidate, accepted, *state = propose(U64.type(round_), *state, key, *others)
            found = np.where(pending & accepted, candidate, found)
            pending = pending & ~accepted
            if not pending.any():
                break
        return found

    def signature(kinds: Operands) -> tuple[DType, ...]:
        if kinds[0] != U64 or any(k not in (F64, float, int) for k in kinds[1:]):
            raise TypeError
        return (U64, *[F64] * len(kinds))

    declared: Elementwise = declare(
        name, sampled, signature=signature, lower=Rejection(propose, ROUNDS, states), doc=doc
    )
    return declared


def _unit(bits: Any) -> Any:
    """A number in (0, 1), by the upper 52 bits."""
    return (cast(bits >> 12, F64) + 0.5) * 2.0**-52


# --- gamma: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables" -------
def _propose_gamma(round_: Any, key: Any, a: Any) -> tuple[Any, Any]:
    x = bits_to_normal(threefry(round_ * 2, key))
    u = _unit(threefry(round_ * 2 + 1, key))
    d = a - 1 / 3
    v = 1.0 + x / sqrt(9.0 * d)
    cube = v * v * v
    # Where v < 0 or the parameter is none, the logarithm is NaN.
    accepted = log(u) < 0.5 * x * x + d * (1.0 - cube + log(cube))
    meant = d > 0.0
    return d * cube, accepted | equal(meant, False)


sample_gamma = _sampler(
    "sample_gamma", _propose_gamma, binary,
    "A number of the gamma distribution with shape `b` >= 1 and scale 1, by the bits of `a`.",
)  # fmt: skip


# --- small counts: the first k whose cumulative probability is above u ---------------------------
def _search(round_: Any, rest: Any, key: Any, at_zero: Any, growth: Any) -> tuple[Any, Any, Any]:
    """One k a round. `rest` is what is left of u, over the probability of k; growth(k) is the
    probability of k over that of k + 1. Rounding may leave a rest beyond the last: at 2^-52."""
    k = cast(round_, F64)
    rest = where(equal(k, 0.0), _unit(threefry(0, key)) / at_zero, rest)
    return k, (rest < 1.0) | (k > SMALL_COUNTS), (rest - 1.0) * growth(k)


def _propose_few_poisson(round_: Any, rest: Any, key: Any, rate: Any) -> tuple[Any, Any, Any]:
    inverse = 1.0 / where(rate > 0.0, rate, 1.0)
    return _search(round_, rest, key, exp(-rate), lambda k: (k + 1.0) * inverse)


def _propose_few_binomial(round_: Any, rest: Any, key: Any, n: Any, p: Any) -> tuple[Any, Any, Any]:
    odds = (1.0 - p) / where(p > 0.0, p, 1.0)

    def growth(k: Any) -> Any:
        left = n - k
        return where(left > 0.0, (k + 1.0) * odds / where(left > 0.0, left, 1.0), 0.0)

    return _search(round_, rest, key, exp(n * log1p(-p)), growth)


sample_few_poisson = _sampler(
    "sample_few_poisson", _propose_few_poisson, binary,
    "A number of the Poisson distribution with rate `b` <= 10, by the bits of `a`.", states=1,
)  # fmt: skip
sample_few_binomial = _sampler(
    "sample_few_binomial", _propose_few_binomial, ternary,
    "How many of `b` trials succeed, each with probability `c` <= 1/2, b·c <= 10, by the bits of "
    "`a`.", states=1,
)  # fmt: skip


# --- large counts: W. Hörmann's transformed rejection (1993) -------------------------------------
def _log_factorial(k: Any) -> Any:
    """log(k!) for k >= 0 by Stirling's series at k + 8, with an error of 1e-11."""
    product = k + 1.0
    for n in range(2, 8):
        product = product * (k + float(n))
    z = k + 8.0
    inverse = 1.0 / z
    s = inverse * inverse
    series = inverse * (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680))))
    return (z - 0.5) * log(z) - z + (HALF_LOG_2PI + series) - log(product)


def _transformed(round_: Any, key: Any, a: Any, b: Any, centre: Any) -> tuple[Any, Any]:
    """An integer, and log of a uniform number over the height of its hat, but for a factor."""
    u = _unit(threefry(round_ * 2, key)) - 0.5
    v = _unit(threefry(round_ * 2 + 1, key))
    inverse = 1.0 / (0.5 - absolute(u))
    k = floor((2.0 * a * inverse + b) * u + centre)
    return k, log(v / (a * inverse * inverse + b))


def _propose_poisson(round_: Any, key: Any, rate: Any) -> tuple[Any, Any]:
    b = 0.931 + 2.53 * sqrt(rate)
    a = -0.059 + 0.02483 * b
    factor = log(1.1239 + 1.1328 / (b - 3.4))
    log_rate = log(rate)
    k, height = _transformed(round_, key, a, b, rate + 0.43)
    possible = k >= 0.0
    within = where(possible, k, 0.0)
    return k, possible & (height + factor <= within * log_rate - rate - _log_factorial(within))


def _propose_binomial(round_: Any, key: Any, n: Any, p: Any) -> tuple[Any, Any]:
    deviation = sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    mode = floor((n + 1.0) * p)
    log_odds = log(p) - log1p(-p)
    peak = _log_factorial(mode) + _log_factorial(n - mode) - log((2.83 + 5.1 / b) * deviation)
    k, height = _transformed(round_, key, a, b, n * p + 0.5)
    possible = (k >= 0.0) & (k <= n)
    within = where(possible, k, 0.0)
    factorials = _log_factorial(within) + _log_factorial(n - within)
    return k, possible & (height <= peak - factorials + (within - mode) * log_odds)


sample_poisson = _sampler(
    "sample_poisson", _propose_poisson, binary,
    "A number of the Poisson distribution with rate `b` >= 10, by the bits of `a`.",
)  # fmt: skip
sample_binomial = _sampler(
    "sample_binomial", _propose_binomial, ternary,
    "How many of `b` trials succeed, each with probability `c` <= 1/2, b·c >= 10, by the bits of "
    "`a`.",
)  # fmt: skip
