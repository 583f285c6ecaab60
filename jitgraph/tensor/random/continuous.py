"""Distributions of real numbers, under the names of `jax.random`.

`shape` is that of the result; None stands for the shape of the parameters. Where a distribution is
a function of uniform or normal numbers and of its parameters, gradients flow to the parameters;
through `gamma`, and what is made of it, they do not.
"""

# mypy: disable-error-code="no-any-return, operator"
# (Python operators on values are typed Any, or not at all.)
from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgraph.errors import DomainError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import absolute, copysign, less, maximum, minimum, sqrt, where
from jitgraph.ir.ops.exponential import erf, exp, log, log1p, power, sigmoid, tan
from jitgraph.ir.ops.normalisation import softmax
from jitgraph.ir.ops.random import U64, bits_to_normal
from jitgraph.ir.ops.sampling import sample_gamma
from jitgraph.ir.types import F64, DType, finfo
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, public
from jitgraph.tensor.random.bits import (
    as_float,
    as_key,
    between,
    checked_sizes,
    derived,
    fitted,
    sample_sizes,
    unit,
    word_for,
    words,
)

F32 = np.dtype("f4")


def _prepared(key: ArrayLike, shape: Any, dtype: Any, *parameters: ArrayLike) -> tuple[Any, ...]:
    """The key, the sizes of the result, its dtype, and the parameters in that dtype."""
    found = as_float(dtype)
    values = [as_tensor(p, found) for p in parameters]
    sizes = sample_sizes(shape, *values)
    return (as_key(key), sizes, found, *(fitted(v, sizes) for v in values))


def positive(parameter: ArrayLike, name: str) -> None:
    """Raise DomainError for a parameter known not to be positive; at the call it gives NaN."""
    if not isinstance(parameter, Value) and not np.all(np.asarray(parameter) > 0):
        raise DomainError(f"{name} must be positive, not {parameter!r}")


# --- functions of a uniform number ---------------------------------------------------------------
def _open(key: Value, sizes: tuple[Size, ...], dtype: DType) -> Value:
    """Numbers in (0, 1)."""
    return between(key, sizes, dtype, float(finfo(dtype).tiny), 1.0)


def _exponential(key: Value, sizes: tuple[Size, ...], dtype: DType) -> Any:
    return -log1p(-unit(key, sizes, dtype))


@public
def exponential(key: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Exponentially distributed numbers with mean 1."""
    return _exponential(as_key(key), checked_sizes(shape), as_float(dtype))


@public
def gumbel(key: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Numbers of the standard Gumbel distribution."""
    u = _open(as_key(key), checked_sizes(shape), as_float(dtype))
    return -log(-log(u))


@public
def logistic(key: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Numbers of the standard logistic distribution."""
    u = _open(as_key(key), checked_sizes(shape), as_float(dtype))
    return log(u / (1.0 - u))


@public
def laplace(key: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Numbers of the standard Laplace distribution."""
    dtype = as_float(dtype)
    low = -1.0 + float(finfo(dtype).epsneg)
    u = between(as_key(key), checked_sizes(shape), dtype, low, 1.0)
    return copysign(log1p(-absolute(u)), u)


@public
def cauchy(key: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Numbers of the standard Cauchy distribution."""
    dtype = as_float(dtype)
    u: Any = between(as_key(key), checked_sizes(shape), dtype, float(finfo(dtype).eps), 1.0)
    return tan(math.pi * (u - 0.5))


@public
def pareto(key: ArrayLike, b: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """Numbers of the Pareto distribution with exponent b, from 1 on."""
    positive(b, "b")
    key, sizes, dtype, b = _prepared(key, shape, dtype, b)
    return exp(_exponential(key, sizes, dtype) / b)


@public
def weibull_min(
    key: ArrayLike,
    scale: ArrayLike,
    concentration: ArrayLike,
    shape: Any = None,
    dtype: Any = None,
) -> Value:
    """Numbers of the Weibull distribution."""
    positive(concentration, "concentration")
    key, sizes, dtype, scale, concentration = _prepared(key, shape, dtype, scale, concentration)
    return power(_exponential(key, sizes, dtype), 1.0 / concentration) * scale


@public
def rayleigh(key: ArrayLike, scale: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """Numbers of the Rayleigh distribution."""
    key, sizes, dtype, scale = _prepared(key, shape, dtype, scale)
    return scale * sqrt(2.0 * _exponential(key, sizes, dtype))


@public
def triangular(
    key: ArrayLike,
    left: ArrayLike,
    mode: ArrayLike,
    right: ArrayLike,
    shape: Any = None,
    dtype: Any = None,
) -> Value:
    """Numbers of the triangular distribution from left to right with its peak at mode."""
    key, sizes, dtype, left, mode, right = _prepared(key, shape, dtype, left, mode, right)
    u: Any = unit(key, sizes, dtype)
    width = right - left
    rising = left + sqrt(u * width * (mode - left))
    falling = right - sqrt((1.0 - u) * width * (right - mode))
    return where(less(u * width, mode - left), rising, falling)


# --- functions of a normal number ----------------------------------------------------------------
def _normal(key: Value, sizes: tuple[Size, ...], dtype: DType) -> Any:
    wide = dtype if dtype == F64 else F32
    return cast(bits_to_normal(word_for(key, sizes, wide)), dtype)


@public
def normal(key: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Normal numbers with mean 0 and variance 1."""
    return _normal(as_key(key), checked_sizes(shape), as_float(dtype))


@public
def truncated_normal(
    key: ArrayLike, lower: ArrayLike, upper: ArrayLike, shape: Any = None, dtype: Any = None
) -> Value:
    """Standard normal numbers between two bounds, of which one must be within 8 of the mean."""
    result = as_float(dtype)
    key, sizes, _, low, high = _prepared(key, shape, "float64", lower, upper)
    first, last = (0.5 + 0.5 * erf(b * math.sqrt(0.5)) for b in (low, high))
    place = first + unit(key, sizes, F64) * (last - first)
    place = minimum(place, 1.0 - 2.0**-53)
    drawn = bits_to_normal(cast(place * 2.0**52, U64) << 12)
    return cast(maximum(low, minimum(high, drawn)), result)


@public
def lognormal(
    key: ArrayLike, sigma: ArrayLike = 1.0, shape: Any = None, dtype: Any = None
) -> Value:
    """exp of normal numbers with mean 0 and standard deviation sigma."""
    key, sizes, dtype, sigma = _prepared(key, shape, dtype, sigma)
    return exp(_normal(key, sizes, dtype) * sigma)


@public
def maxwell(key: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Numbers of the Maxwell distribution: the length of three normal numbers."""
    sizes, dtype = checked_sizes(shape), as_float(dtype)
    x, y, z = (_normal(k, sizes, dtype) for k in derived(as_key(key), 3))
    return sqrt(x * x + y * y + z * z)


@public
def wald(key: ArrayLike, mean: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """Numbers of the inverse Gaussian distribution with scale 1, by J. Michael, W. Schucany and
    R. Haas (1976)."""
    positive(mean, "mean")
    key, sizes, dtype, mean = _prepared(key, shape, dtype, mean)
    first, second = derived(key, 2)
    y = mean * _normal(first, sizes, dtype) ** 2
    x = mean * (1.0 - 2.0 * y / (sqrt(y * (4.0 + y)) + y + (y <= 0.0)))
    smaller = unit(second, sizes, dtype) * (mean + x) <= mean
    return where(smaller, x, mean * mean / x)


# --- gamma and what is made of it ----------------------------------------------------------------
def _gamma_and_boost(key: Value, sizes: tuple[Size, ...], a: Value) -> tuple[Any, Any]:
    """Gamma numbers of a shape that is not below 1, and the logarithm of what they are to be
    multiplied with: for a < 1, u^(1/a) brings those of a + 1 to a."""
    first, second = derived(key, 2)
    a = cast(a, F64)
    known = a.literal
    if known is not None and (known.array >= 1).all():
        return sample_gamma(words(first, sizes), a), None
    small = less(a, 1.0)
    drawn = sample_gamma(words(first, sizes), where(small, a + 1.0, a))
    boost = where(small, -_exponential(second, sizes, F64) / where(small, a, 1.0), 0.0)
    return where(a > 0.0, drawn, math.nan), boost


def _gamma(key: Value, sizes: tuple[Size, ...], a: Value) -> Any:
    drawn, boost = _gamma_and_boost(key, sizes, a)
    return drawn if boost is None else drawn * exp(boost)


def _log_gamma(key: Value, sizes: tuple[Size, ...], a: Value) -> Any:
    drawn, boost = _gamma_and_boost(key, sizes, a)
    return log(drawn) if boost is None else log(drawn) + boost


@public
def gamma(key: ArrayLike, a: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """Numbers of the gamma distribution with shape a and scale 1."""
    positive(a, "a")
    key, sizes, dtype, a = _prepared(key, shape, dtype, a)
    return cast(_gamma(key, sizes, a), dtype)


@public
def loggamma(key: ArrayLike, a: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """The logarithm of what `gamma` draws, which for small a is too small for a float itself."""
    positive(a, "a")
    key, sizes, dtype, a = _prepared(key, shape, dtype, a)
    return cast(_log_gamma(key, sizes, a), dtype)


@public
def beta(key: ArrayLike, a: ArrayLike, b: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """Numbers of the beta distribution."""
    positive(a, "a")
    positive(b, "b")
    key, sizes, dtype, a, b = _prepared(key, shape, dtype, a, b)
    first, second = derived(key, 2)
    odds = _log_gamma(first, sizes, a) - _log_gamma(second, sizes, b)
    return cast(sigmoid(odds), dtype)


@public
def dirichlet(key: ArrayLike, alpha: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """Vectors of the Dirichlet distribution along a new last axis; alpha has its parameters along
    the last axis, and one vector for each of its other elements unless a shape is given."""
    positive(alpha, "alpha")
    dtype, alpha = as_float(dtype), as_tensor(alpha, F64)
    *batch, length = movement.dims(alpha)
    sizes = (*(batch if shape is None else checked_sizes(shape)), length)
    logs = _log_gamma(as_key(key), sizes, fitted(alpha, sizes))
    return cast(softmax(logs, (logs.ndim - 1,)), dtype)


@public
def chisquare(key: ArrayLike, df: ArrayLike, shape: Any = None, dtype: Any = None) -> Value:
    """Numbers of the chi-square distribution with df degrees of freedom."""
    positive(df, "df")
    key, sizes, dtype, df = _prepared(key, shape, dtype, df)
    return cast(2.0 * _gamma(key, sizes, df / 2.0), dtype)


@public
def f(
    key: ArrayLike, dfnum: ArrayLike, dfden: ArrayLike, shape: Any = None, dtype: Any = None
) -> Value:
    """Numbers of Fisher's F distribution."""
    positive(dfnum, "dfnum")
    positive(dfden, "dfden")
    key, sizes, dtype, above, below = _prepared(key, shape, dtype, dfnum, dfden)
    first, second = derived(key, 2)
    x, y = _gamma(first, sizes, above / 2.0), _gamma(second, sizes, below / 2.0)
    return cast((x / above) / (y / below), dtype)


@public
def t(key: ArrayLike, df: ArrayLike, shape: Any = (), dtype: Any = None) -> Value:
    """Numbers of Student's t distribution with df degrees of freedom."""
    positive(df, "df")
    key, sizes, dtype, df = _prepared(key, shape, dtype, df)
    first, second = derived(key, 2)
    half = df / 2.0
    return cast(_normal(first, sizes, dtype) * sqrt(half / _gamma(second, sizes, half)), dtype)
