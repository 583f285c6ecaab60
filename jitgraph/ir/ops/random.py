"""The table of ops that make random numbers: bits from counters, normal numbers from bits.

They are functions like all others: the same counter and key give the same bits, whoever asks, in
whatever order and on however many threads. What draws is made of them in `tensor.random`.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import Operands, binary, unary
from jitgraph.ir.opdef import Expand
from jitgraph.ir.types import DType

U32, U64 = np.dtype("u4"), np.dtype("u8")

#: Threefry-2x32: how far each of eight rounds rotates, and the parity of the key schedule.
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA
ROUNDS = 20


def threefry_words(counter: tuple[Any, Any], key: tuple[Any, Any], rotate: Any) -> tuple[Any, Any]:
    """Threefry-2x32 of J. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3" (2011),
    on words that wrap around at 32 bits: arrays, or values of an expression."""
    keys = (*key, key[0] ^ key[1] ^ PARITY)
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for round_ in range(ROUNDS):
        x = x + y
        y = rotate(y, ROTATIONS[round_ % 8]) ^ x
        if round_ % 4 == 3:
            turn = round_ // 4 + 1
            x = x + keys[turn % 3]
            y = y + (keys[(turn + 1) % 3] + turn)
    return x, y


def _rotated(x: Any, count: int) -> Any:
    return (x << U32.type(count)) | (x >> U32.type(32 - count))


def _threefry_reference(counter: Any, key: Any) -> Any:
    def words(x: Any) -> tuple[Any, Any]:
        x = np.asarray(x, U64)
        return (x >> U64.type(32)).astype(U32), x.astype(U32)

    with np.errstate(over="ignore"):
        high, low = threefry_words(words(counter), words(key), _rotated)
    return (high.astype(U64) << U64.type(32)) | low.astype(U64)


def _bits_only(kinds: Operands) -> tuple[DType, ...]:
    if any(k not in (U64, int) for k in kinds):
        raise TypeError
    return (U64,) * 3


threefry = binary(
    "threefry", _threefry_reference, signature=_bits_only, lower=Expand(),
    doc="64 random bits: the number `a` of the sequence with the key `b`, by 20 rounds of "
    "Threefry-2x32, high words first.",
)  # fmt: skip


# --- the normal distribution ---------------------------------------------------------------------
def _normal_quantile(q: float, rest: float) -> float:
    """Where the distribution function of standard normal numbers is (q + 1) / 2; rest = 1 - |q|.
    The standard library's answer is made a little more exact by a step of Newton's."""
    x = -NormalDist().inv_cdf(rest / 2)
    root = x / math.sqrt(2)
    excess = math.erf(root) - abs(q) if rest > 0.5 else rest - math.erfc(root)
    return math.copysign(x - excess * math.sqrt(math.pi / 2) * math.exp(x * x / 2), q)


def _normal_reference(bits: Any) -> Any:
    bits = np.asarray(bits)
    digits, dtype = (32, np.float32) if bits.dtype == U32 else (52, np.float64)
    place = (bits >> bits.dtype.type(8 * bits.itemsize - digits)).astype(np.int64)
    doubled = 2 * place + 1 - 2**digits  # exact, and never 0
    q, rest = np.ldexp(doubled, -digits), np.ldexp(2**digits - np.abs(doubled), -digits)
    return np.asarray(np.frompyfunc(_normal_quantile, 2, 1)(q, rest), np.float64).astype(dtype)


def _normal_signature(kinds: Operands) -> tuple[DType, ...]:
    if kinds[0] not in (U32, U64):
        raise TypeError
    return (kinds[0], np.dtype("f4" if kinds[0] == U32 else "f8"))


bits_to_normal = unary(
    "bits_to_normal", _normal_reference, signature=_normal_signature, lower=Expand(),
    doc="Random bits as a number of the standard normal distribution: its quantile at the middle "
    "of the interval that the bits, read as a fraction, stand for. f32 of u32, f64 of the upper 52 "
    "bits of u64.",
)  # fmt: skip
