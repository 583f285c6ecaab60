"""Distributions of whole numbers, under the names of `jax.random`.

`shape` is that of the result; None stands for the shape of the parameters. No gradient flows to
parameters. Counts are -1 where a parameter has no meaning.
"""

# mypy: disable-error-code="no-any-return, operator"
# (Python operators on values are typed Any, or not at all.)
from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.errors import DomainError, DTypeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops.arithmetic import floor, less, less_equal, maximum, minimum, where
from jitgraph.ir.ops.exponential import log1p
from jitgraph.ir.ops.random import U64
from jitgraph.ir.ops.sampling import (
    sample_binomial,
    sample_few_binomial,
    sample_few_poisson,
    sample_poisson,
)
from jitgraph.ir.types import F64, I64, DType, as_dtype, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, constant, public
from jitgraph.tensor.random.bits import (
    as_float,
    as_key,
    checked_sizes,
    derived,
    fitted,
    sample_sizes,
    unit,
    words,
)
from jitgraph.tensor.random.continuous import gamma, positive

#: Up to this mean, counts are found by search, beyond by rejection.
FEW = 10.0


def as_integer(dtype: Any) -> DType:
    """An integer dtype."""
    found = as_dtype(dtype)
    if found.kind not in "iu":
        raise DTypeError(f"samples of this distribution are integers, not {found}")
    return found


def probability(p: ArrayLike, name: str = "p") -> None:
    """Raise DomainError for what is known to be no probability."""
    if not isinstance(p, Value) and not np.all((np.asarray(p) >= 0) & (np.asarray(p) <= 1)):
        raise DomainError(f"{name} must be between 0 and 1, not {p!r}")


# --- one trial -----------------------------------------------------------------------------------
@public
def bernoulli(key: ArrayLike, p: ArrayLike = 0.5, shape: Any = None) -> Value:
    """True with probability p."""
    probability(p)
    p = as_tensor(p)
    dtype = as_float(p.dtype if kind_of(p.dtype) == "f" else None)
    sizes = sample_sizes(shape, p)
    return unit(as_key(key), sizes, dtype) < fitted(cast(p, dtype), sizes)


@public
def rademacher(key: ArrayLike, shape: Any = (), dtype: Any = "int64") -> Value:
    """1 or -1, each with probability 1/2."""
    heads = bernoulli(key, 0.5, checked_sizes(shape))
    return cast(where(heads, np.int8(1), np.int8(-1)), dtype)


# --- integers of a range -------------------------------------------------------------------------
def _high_product(bits: Any, span: Any) -> tuple[Any, Any]:
    """The upper and the lower 64 bits of a product, by 32-bit halves."""
    mask = np.uint64(2**32 - 1)
    top, low, span_top, span_low = bits >> 32, bits & mask, span >> 32, span & mask
    first = low * span_low
    second = top * span_low + (first >> 32)
    third = low * span_top + (second & mask)
    return top * span_top + (second >> 32) + (third >> 32), (third << 32) | (first & mask)


def below(key: Value, sizes: tuple[Size, ...], span: Any) -> Value:
    """Integers from 0 up to the u64 `span`, as u64: the upper half of bits · span. A span beyond
    32 bits takes 128 bits an element, so that no integer is more likely by 2^-64."""
    known = span.literal
    if known is not None and int(known.array.max(initial=1)) <= 2**32:
        return _high_product(words(key, sizes), span)[0]
    first, second = derived(key, 2)
    high, low = _high_product(words(first, sizes), span)
    rest = _high_product(words(second, sizes), span)[0]
    return high + cast(low + rest < low, U64)


@public
def randint(
    key: ArrayLike, shape: Any, minval: ArrayLike, maxval: ArrayLike, dtype: Any = "int64"
) -> Value:
    """Integers from minval up to but not including maxval, all as likely; minval where there are
    none. Raises DomainError for a range that is known to be empty or not to fit the dtype."""
    dtype = as_integer(dtype)
    info = np.iinfo(dtype)
    numbers = [b for b in (minval, maxval) if not isinstance(b, Value)]
    if any(np.any(np.asarray(b) < info.min) for b in numbers) or any(
        np.any(np.asarray(b, object) > info.max + (b is maxval)) for b in numbers
    ):
        raise DomainError(f"{minval!r} .. {maxval!r} is not within {dtype}")
    if len(numbers) == 2 and not np.all(np.less(*(np.asarray(b, object) for b in numbers))):
        raise DomainError(f"there are no integers from {minval!r} up to {maxval!r}")
    sizes = checked_sizes(shape)
    low, high = (fitted(_as_word(b), sizes) for b in (minval, maxval))
    span: Any = high - low
    if len(numbers) < 2:
        signed = cast(high, I64) > cast(low, I64) if dtype.kind == "i" else high > low
        span = where(signed, span, np.uint64(1))
    elif type(minval) is type(maxval) is int:
        if maxval - minval == 2**64:
            return cast(words(as_key(key), sizes) + low, dtype)
        span = constant(np.uint64(maxval - minval))
    return cast(below(as_key(key), sizes, span) + low, dtype)


def _as_word(bound: ArrayLike) -> Value:
    """An integer as u64, modulo 2^64."""
    if type(bound) is int:
        return constant(np.uint64(bound % 2**64))
    value = as_tensor(bound)
    if value.dtype.kind not in "iu":
        raise DTypeError(f"a bound of integers must be an integer, not {value.type}")
    return cast(value, U64)


# --- counts --------------------------------------------------------------------------------------
@public
def geometric(key: ArrayLike, p: ArrayLike, shape: Any = None, dtype: Any = "int64") -> Value:
    """How many trials it takes until one succeeds, each with probability p."""
    probability(p)
    dtype, p = as_integer(dtype), as_tensor(p, F64)
    sizes = sample_sizes(shape, p)
    p = fitted(p, sizes)
    u: Any = unit(as_key(key), sizes, F64)
    return cast(floor(log1p(-u) / log1p(-p)) + 1.0, dtype)


def _counts(mean: Value, few: Any, many: Any) -> Any:
    """few() where the mean is small, many() elsewhere; only one of them where all is known."""
    known = mean.literal
    if known is not None and (known.array < FEW).all():
        return few(mean)
    if known is not None and (known.array >= FEW).all():
        return many(mean)
    return where(less(mean, FEW), few(minimum(mean, FEW)), many(maximum(mean, FEW)))


def _poisson(key: Value, sizes: tuple[Size, ...], rate: Value) -> Any:
    own = words(key, sizes)
    drawn = _counts(rate, lambda r: sample_few_poisson(own, r), lambda r: sample_poisson(own, r))
    return where(rate >= 0.0, drawn, -1.0)


@public
def poisson(key: ArrayLike, lam: ArrayLike, shape: Any = None, dtype: Any = "int64") -> Value:
    """Numbers of the Poisson distribution with rate lam."""
    if not isinstance(lam, Value) and not np.all(np.asarray(lam) >= 0):
        raise DomainError(f"lam cannot be negative: {lam!r}")
    dtype, lam = as_integer(dtype), as_tensor(lam, F64)
    sizes = sample_sizes(shape, lam)
    return cast(_poisson(as_key(key), sizes, fitted(lam, sizes)), dtype)


@public
def binomial(
    key: ArrayLike, n: ArrayLike, p: ArrayLike, shape: Any = None, dtype: Any = "int64"
) -> Value:
    """How many of n trials succeed, each with probability p."""
    probability(p)
    dtype, n, p = as_integer(dtype), as_tensor(n, F64), as_tensor(p, F64)
    sizes = sample_sizes(shape, n, p)
    n, p = fitted(n, sizes), fitted(p, sizes)
    own = words(as_key(key), sizes)
    meant = less_equal(0.0, n) & less_equal(0.0, p) & less_equal(p, 1.0)
    rare = minimum(p, 1.0 - p)
    mean = n * rare

    def many(mean: Any) -> Any:
        # Where search is meant to do the work, parameters of which rejection makes something.
        large = less_equal(FEW, n * rare)
        return sample_binomial(own, where(large, n, 2 * FEW), where(large, rare, 0.5))

    def few(mean: Any) -> Any:
        small = less(n * rare, FEW)
        return sample_few_binomial(own, where(small, n, 1.0), where(small, rare, 0.5))

    drawn = _counts(mean, few, many)
    drawn = where(less(0.5, p), n - drawn, drawn)
    return cast(where(meant, drawn, -1.0), dtype)


@public
def negative_binomial(
    key: ArrayLike, n: ArrayLike, p: ArrayLike, shape: Any = None, dtype: Any = "int64"
) -> Value:
    """How many trials fail before n succeed, each with probability p: Poisson numbers with a gamma
    rate."""
    probability(p)
    positive(n, "n")
    dtype, n, p = as_integer(dtype), as_tensor(n, F64), as_tensor(p, F64)
    sizes = sample_sizes(shape, n, p)
    n, p = fitted(n, sizes), fitted(p, sizes)
    first, second = derived(as_key(key), 2)
    rate = gamma(first, n, sizes, F64) * (1.0 - p) / p
    return cast(_poisson(second, sizes, rate), dtype)
