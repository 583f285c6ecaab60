"""Keys, and the random bits that follow from them.

A key is a u64 scalar. The bits of element i of an array (counted in C order) are number i of the
key's Threefry sequence, so they are computed where they are used, on any thread, in no memory.
Keys, bits and uniform numbers are those of `jax.random` (with 64-bit types and its default,
partitionable Threefry). An array of keys draws an array for each of them.
"""

# mypy: disable-error-code="no-any-return, operator"
# (Python operators on values are typed Any, or not at all.)
from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.config import config
from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size, emit
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import maximum
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.ops.random import U64, threefry
from jitgraph.ir.types import DTYPE_NAMES, DType, as_dtype, finfo, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_sizes, as_tensor, constant, public

#: What keys and floating results may be asked for.
WORDS = {np.dtype(f"u{n}"): 8 * n for n in (1, 2, 4, 8)}


# --- keys --------------------------------------------------------------------------------------
@public
def key(seed: ArrayLike) -> Value:
    """The key of a seed: an integer, or an integer scalar variable."""
    if isinstance(seed, Value):
        if seed.ndim or seed.dtype.kind not in "iu":
            raise DTypeError(f"a seed must be an integer, not {seed.type}")
        return cast(seed, U64)
    try:
        number = int(np.asarray(seed)[()].__index__())
    except (AttributeError, TypeError):
        raise DTypeError(f"a seed must be an integer, not {seed!r}") from None
    return constant(np.uint64(number % 2**64))


def as_key(given: ArrayLike) -> Value:
    """A key, or an array of them; raises DTypeError for anything else."""
    value = as_tensor(given)
    if value.dtype != U64:
        raise DTypeError(
            f"{given!r} is no key", hint="make one with T.random.key(seed), or split() one"
        )
    return value


@public
def split(key: ArrayLike, num: Any = 2) -> Value:
    """New keys from one, as an array of this length (or shape). They, and the old one, should each
    be used once."""
    return words(as_key(key), checked_sizes(num))


@public
def fold_in(key: ArrayLike, data: ArrayLike) -> Value:
    """A new key from a key and an integer, such as the number of a step."""
    data = as_tensor(data)
    if data.dtype.kind not in "iu":
        raise DTypeError(f"a key can take in integers, not {data.type}")
    return threefry(cast(data, U64), as_key(key))


def derived(key: Value, count: int) -> list[Value]:
    """Several keys from one, for draws that belong to one number."""
    return [threefry(constant(np.uint64(i)), key) for i in range(count)]


# --- shapes ------------------------------------------------------------------------------------
def checked_sizes(shape: Any) -> tuple[Size, ...]:
    """A shape whose sizes are not known to be negative."""
    sizes = as_sizes(shape)
    if any(isinstance(s, int) and s < 0 for s in sizes):
        raise ShapeError(f"a dimension cannot be negative: {sizes}")
    return sizes


def sample_sizes(shape: Any, *parameters: Value) -> tuple[Size, ...]:
    """The shape asked for, or without one that of the parameters together."""
    if shape is not None:
        return checked_sizes(shape)
    together = parameters[0]
    for parameter in parameters[1:]:
        together = together + parameter
    return movement.dims(together)


def fitted(parameter: Value, sizes: tuple[Size, ...]) -> Value:
    """A parameter for each element of a sample; raises ShapeError if there are more of them."""
    if parameter.ndim > len(sizes):
        raise ShapeError(f"{parameter.type} holds more parameters than the sample has dimensions")
    return movement.broadcast_to(parameter, sizes) if parameter.ndim else parameter


# --- bits --------------------------------------------------------------------------------------
def _positions(sizes: tuple[Size, ...]) -> Value:
    """The number of each element, in C order."""
    found: Any = constant(np.uint64(0))
    stride: Any = 1
    for axis in reversed(range(len(sizes))):
        static = isinstance(sizes[axis], int)
        along: Any = emit(movement.IOTA, (), shape=(sizes[axis],)) if static else movement.iota(
            sizes[axis], cls=type(found)
        )  # fmt: skip
        along = cast(along * stride, U64)
        found = movement.expand_dims(along, tuple(range(1, len(sizes) - axis))) + found
        stride = sizes[axis] * stride
    return found


def words(key: Value, sizes: tuple[Size, ...]) -> Value:
    """64 random bits for each element, of shape key.shape + sizes."""
    lifted = movement.expand_dims(key, tuple(range(key.ndim, key.ndim + len(sizes))))
    return threefry(_positions(sizes), lifted)


def _narrowed(bits: Any, dtype: DType) -> Value:
    """As many bits as the dtype has; the two halves together where they do."""
    return bits if dtype == U64 else cast((bits >> 32) ^ bits, dtype)


@public
def bits(key: ArrayLike, shape: Any = (), dtype: Any = "uint32") -> Value:
    """Random bits, as unsigned integers."""
    dtype = as_dtype(dtype)
    if dtype not in WORDS:
        raise DTypeError(f"random bits are unsigned integers, not {DTYPE_NAMES[dtype]}")
    return _narrowed(words(as_key(key), checked_sizes(shape)), dtype)


# --- uniform numbers ---------------------------------------------------------------------------
def as_float(dtype: Any) -> DType:
    """A floating dtype, floatX for None."""
    found = as_dtype(dtype or config.floatX)
    if kind_of(found) != "f":
        raise DTypeError(f"samples of this distribution are floats, not {DTYPE_NAMES[found]}")
    return found


def word_for(key: Value, sizes: tuple[Size, ...], dtype: DType) -> Value:
    """As many random bits for each element as a float of this dtype has."""
    return _narrowed(words(key, sizes), np.dtype(f"u{dtype.itemsize}"))


def unit(key: Value, sizes: tuple[Size, ...], dtype: DType) -> Value:
    """Numbers in [0, 1): the bits become the fraction of a number in [1, 2)."""
    info = finfo(dtype)
    word: Any = word_for(key, sizes, dtype)
    one = int(np.ones((), dtype).view(word.dtype))
    fraction = (word >> (8 * dtype.itemsize - info.nmant)) | one
    return bitcast(fraction, dtype) - 1.0


def between(
    key: Value, sizes: tuple[Size, ...], dtype: DType, low: ArrayLike, high: ArrayLike
) -> Value:
    """Numbers in [low, high)."""
    if type(low) is float and type(high) is float and (low, high) == (0.0, 1.0):
        return unit(key, sizes, dtype)
    low, high = (fitted(as_tensor(v, dtype), sizes) for v in (low, high))
    return maximum(low, unit(key, sizes, dtype) * (high - low) + low)


@public
def uniform(
    key: ArrayLike,
    shape: Any = (),
    dtype: Any = None,
    minval: ArrayLike = 0.0,
    maxval: ArrayLike = 1.0,
) -> Value:
    """Numbers in [minval, maxval): 52 random bits of f64, 23 of f32, 10 of f16."""
    return between(as_key(key), checked_sizes(shape), as_float(dtype), minval, maxval)
