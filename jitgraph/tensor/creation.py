"""Arrays from nothing but sizes and numbers. Sizes and bounds may be scalar variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.config import config
from jitgraph.errors import DomainError, DTypeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import ceil, equal, maximum
from jitgraph.ir.types import F64, I64, DType, as_dtype, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_size, as_tensor, common_dtype, constant, public
from jitgraph.tensor.shaping import length, sized


@public
def zeros(shape: Any, dtype: Any = None) -> Value:
    """Zeros, in floatX unless a dtype is given."""
    return full(shape, 0, dtype or config.floatX)


@public
def ones(shape: Any, dtype: Any = None) -> Value:
    """Ones, in floatX unless a dtype is given."""
    return full(shape, 1, dtype or config.floatX)


@public
def full(shape: Any, fill_value: ArrayLike, dtype: Any = None) -> Value:
    """`fill_value` broadcast to a shape, in its own dtype unless one is given."""
    return sized(shape, as_tensor(fill_value, dtype))


@public
def eye(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Value:
    """An n × m matrix (m = n by default) with ones on the k-th diagonal, in floatX by default."""
    rows = _iota(length(n, "n"))
    columns = _iota(length(n if m is None else m, "m"))
    on_diagonal = equal(
        movement.expand_dims(rows, (1,)) + as_size(k, "k"), movement.expand_dims(columns, (0,))
    )
    return cast(on_diagonal, dtype or config.floatX)  # type: ignore[no-any-return]


def _iota(size: Any) -> Value:
    return movement.iota(size, cls=type(constant(0)))


@public
def arange(
    start: ArrayLike, stop: ArrayLike = None, step: ArrayLike = 1, dtype: Any = None
) -> Value:
    """The numbers from start up to stop (without it) by step; one argument alone is the stop.

    int64 for integers, float64 for floats (as NumPy), unless a dtype is given. The length is
    ceil((stop - start) / step), 0 where that is negative. A step known to be 0 raises DomainError.
    """
    if stop is None:
        start, stop = 0, start
    bounds = [_bound(b) for b in (start, stop, step)]
    natural = common_dtype([*bounds, np.int64(0)])
    if kind_of(natural) not in "iuf":
        raise DTypeError(f"arange does not take {natural}")
    result = natural if dtype is None else as_dtype(dtype)
    if not isinstance(bounds[2], Value) and bounds[2] == 0:
        raise DomainError("the step of arange cannot be 0")
    if not any(isinstance(b, Value) for b in bounds):
        return constant(np.arange(*bounds, dtype=result))
    size = (_float_length if kind_of(natural) == "f" else _integer_length)(*bounds)
    return _progression(_iota(size), bounds[0], bounds[2], result)


def _bound(given: ArrayLike) -> Any:
    """A bound of arange as a variable, or as a number where it is known."""
    value = as_tensor(given)
    if value.ndim:
        raise DTypeError(f"a bound of arange must be a scalar, not {value.type}")
    return value if value.literal is None else value.literal.array[()]


def _integer_length(start: Any, stop: Any, step: Any) -> Any:
    """max(0, ceil((stop - start) / step)), in integers: ceil(a/b) = -floor(-a/b)."""
    start, stop, step = (_wide(b) for b in (start, stop, step))
    if not isinstance(step, Value) and step == 1:
        span = stop if not isinstance(start, Value) and start == 0 else stop - start
        return maximum(span, 0)
    return maximum(-((start - stop) // step), 0)


def _wide(bound: Any) -> Any:
    return cast(bound, I64) if isinstance(bound, Value) else int(bound)


def _float_length(start: Any, stop: Any, step: Any) -> Any:
    start, stop, step = (cast(b, F64) if isinstance(b, Value) else float(b)
                         for b in (start, stop, step))  # fmt: skip
    return cast(maximum(ceil((stop - start) / step), 0), I64)


def _progression(counter: Value, start: Any, step: Any, dtype: DType) -> Value:
    """start + i·d with d = (start + step) - start, computed in the result's dtype as NumPy does."""
    first, second = (as_tensor(v, dtype) for v in (start, start + step))
    known = [v.literal for v in (first, second)]
    if all(known) and known[0].array == 0 and known[1].array == 1:  # type: ignore[union-attr]
        return cast(counter, dtype)  # type: ignore[no-any-return]
    return cast(counter, dtype) * (second - first) + first  # type: ignore[no-any-return]
