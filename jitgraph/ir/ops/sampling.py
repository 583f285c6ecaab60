"""The table of ops that draw by rejection: candidates are proposed until one is accepted.

A proposal is a function of the round, a key (64 random bits of the element's own) and parameters:
it gives a candidate and whether that is accepted. It is written once, over ops, which compute where
they are given arrays: so it is the meaning in NumPy as well as what is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import Elementwise, Operands, binary, cast, ternary
from jitgraph.ir.opdef import Rejection
from jitgraph.ir.ops.arithmetic import equal, floor, minimum, rint, sqrt, where
from jitgraph.ir.ops.exponential import exp, log, log1p
from jitgraph.ir.ops.random import U64, bits_to_normal, threefry
from jitgraph.ir.types import F64, DType

Proposal = Callable[..., tuple[Any, Any]]

#: The worst proposal is refused four times in five: 256 times in a row with a chance of 2^-82.
ROUNDS = 256
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

PROPOSALS: dict[str, Proposal] = {}


def _sampler(name: str, propose: Proposal, declare: Any, doc: str) -> Elementwise:
    def sampled(key: Any, *parameters: Any) -> Any:
        key, *parameters = np.broadcast_arrays(key, *parameters)
        found, pending = np.full(key.shape, np.nan), np.ones(key.shape, bool)
        for round_ in range(ROUNDS):
            candidate, accepted = propose(U64.type(round_), key, *parameters)
            found = np.where(pending & accepted, candidate, found)
            pending = pending & ~accepted
            if not pending.any():
                break
        return found

    def signature(kinds: Operands) -> tuple[DType, ...]:
        if kinds[0] != U64 or any(k not in (F64, float, int) for k in kinds[1:]):
            raise TypeError
        return (U64, *[F64] * len(kinds))

    PROPOSALS[name] = propose
    declared: Elementwise = declare(
        name, sampled, signature=signature, lower=Rejection(ROUNDS), doc=doc
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


# --- discrete distributions with a log-concave probability: L. Devroye (1987) --------------------
def _propose_around(
    round_: Any, key: Any, mode: Any, at_mode: Any, log_ratio: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """An integer from under the hat min(1, exp(w - at_mode·|x - mode|)), which is above every
    log-concave probability over the one at its mode. log_ratio(k): that quotient's logarithm."""
    bits = threefry(round_ * 2, key)
    w = 1.0 + 0.5 * at_mode
    u = _unit(bits) * (1.0 + w)
    beyond = -log(where(u < w, 1.0, u - w))  # 0 under the flat part of the hat
    away = rint((where(u < w, u, w) + beyond) / at_mode)
    k = mode + where(equal(bits & 1, 0), away, -away)
    height = log(_unit(threefry(round_ * 2 + 1, key))) - beyond
    return k, height <= log_ratio(k)


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


def _propose_poisson(round_: Any, key: Any, rate: Any) -> tuple[Any, Any]:
    meant = rate >= 0.0
    rate = where(rate > 1e-300, rate, 1e-300)
    mode, log_rate = floor(rate), log(rate)
    base = mode * log_rate - _log_factorial(mode)

    def log_ratio(k: Any) -> Any:
        within = where(k < 0.0, 0.0, k)
        return where(k < 0.0, -math.inf, k * log_rate - _log_factorial(within) - base)

    k, accepted = _propose_around(round_, key, mode, exp(base - rate), log_ratio)
    return where(meant, k, math.nan), accepted | equal(meant, False)


sample_poisson = _sampler(
    "sample_poisson", _propose_poisson, binary,
    "A number of the Poisson distribution with rate `b`, by the bits of `a`.",
)  # fmt: skip


def _propose_binomial(round_: Any, key: Any, n: Any, p: Any) -> tuple[Any, Any]:
    meant = (n >= 0.0) & (p >= 0.0) & (p <= 1.0)
    rare = where(p < 0.5, p, 1.0 - p)
    q = where(rare > 1e-300, rare, 1e-300)
    mode = minimum(floor((n + 1.0) * q), n)
    log_odds = log(q) - log1p(-q)
    base = mode * log_odds - _log_factorial(mode) - _log_factorial(n - mode)

    def log_ratio(k: Any) -> Any:
        outside = (k < 0.0) | (k > n)
        within = where(outside, 0.0, k)
        factorials = _log_factorial(within) + _log_factorial(n - within)
        return where(outside, -math.inf, k * log_odds - factorials - base)

    at_mode = exp(base + _log_factorial(n) + n * log1p(-q))
    k, accepted = _propose_around(round_, key, mode, at_mode, log_ratio)
    return where(meant, where(p < 0.5, k, n - k), math.nan), accepted | equal(meant, False)


sample_binomial = _sampler(
    "sample_binomial", _propose_binomial, ternary,
    "How many of `b` trials succeed, each with probability `c`, by the bits of `a`.",
)  # fmt: skip
