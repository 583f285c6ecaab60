"""`RandomStreams`: random variables whose state compiled functions move on by themselves."""

# mypy: disable-error-code="no-any-return, operator"
# (Python operators on values are typed Any, or not at all.)
from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.errors import DTypeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops.exponential import exp
from jitgraph.ir.ops.random import threefry
from jitgraph.ir.types import DType, as_dtype, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, common_dtype, constant, public
from jitgraph.tensor.random import choices, continuous, discrete
from jitgraph.tensor.random.bits import as_float, between, fitted, sample_sizes
from jitgraph.tensor.shared import SharedVariable

#: What turns states into keys. States count, so they do not meet for 2^64 calls, nor do keys.
STREAM = np.uint64(0x9E3779B97F4A7C15)


def _float(dtype: Any, *parameters: ArrayLike) -> DType:
    """The dtype asked for, or that of parameters which are variables or arrays; else floatX."""
    typed_ones = [p for p in parameters if isinstance(p, Value | np.ndarray | np.generic)]
    if dtype is None and typed_ones and kind_of(found := common_dtype(typed_ones)) == "f":
        return found
    return as_float(dtype)


class RandomStreams:
    """Random variables. Each has a state of its own, a shared variable with a default update, so
    each call of a function that uses it draws anew, and functions that share it do not repeat each
    other's numbers. Within a call a random variable is one value, however often it is used.

    `size` is the shape of the sample; without it, that of the parameters.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = 0
        #: Pairs of a state and its default update.
        self.state_updates: list[tuple[SharedVariable, Value]] = []
        self.seed(seed)

    def seed(self, seed: int | None = None) -> None:
        """Start all streams anew: by the same seed, the same numbers. None takes one by chance."""
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        elif not hasattr(seed, "__index__"):
            raise DTypeError(f"a seed must be an integer, not {seed!r}")
        self._seed = int(seed) % 2**64
        for number, (state, _) in enumerate(self.state_updates):
            state.set_value(self._first(number))

    def _first(self, number: int) -> Any:
        """The state that stream `number` starts with."""
        return threefry.evaluate(np.uint64(number), np.uint64(self._seed))

    def _key(self) -> Value:
        """The key of a new stream."""
        number = len(self.state_updates)
        state = SharedVariable(self._first(number), f"random_state_{number}")
        state.default_update = state + 1
        self.state_updates.append((state, state.default_update))
        return threefry(state, constant(STREAM))

    # --- real numbers ---------------------------------------------------------------------------
    @public
    def uniform(
        self, size: Any = None, low: ArrayLike = 0.0, high: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Numbers in [low, high)."""
        found = _float(dtype, low, high)
        sizes = sample_sizes(size, as_tensor(low), as_tensor(high))
        return between(self._key(), sizes, found, low, high)

    @public
    def normal(
        self, size: Any = None, avg: ArrayLike = 0.0, std: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Normal numbers with this mean and standard deviation."""
        found = _float(dtype, avg, std)
        mean, deviation = (as_tensor(p, found) for p in (avg, std))
        sizes = sample_sizes(size, mean, deviation)
        noise: Any = continuous.normal(self._key(), sizes, found)
        return noise * fitted(deviation, sizes) + fitted(mean, sizes)

    @public
    def truncated_normal(
        self, size: Any = None, lower: ArrayLike = -2.0, upper: ArrayLike = 2.0, dtype: Any = None
    ) -> Value:
        """Standard normal numbers between two bounds."""
        found = _float(dtype, lower, upper)
        return continuous.truncated_normal(self._key(), lower, upper, size, found)

    def _scaled(self, draw: Any, size: Any, loc: ArrayLike, scale: ArrayLike, dtype: Any) -> Value:
        """loc + scale · what `draw` draws."""
        found = _float(dtype, loc, scale)
        place, width = (as_tensor(p, found) for p in (loc, scale))
        sizes = sample_sizes(size, place, width)
        drawn: Any = draw(self._key(), sizes, found)
        return drawn * fitted(width, sizes) + fitted(place, sizes)

    @public
    def exponential(self, size: Any = None, scale: ArrayLike = 1.0, dtype: Any = None) -> Value:
        """Exponentially distributed numbers with this mean."""
        return self._scaled(continuous.exponential, size, 0.0, scale, dtype)

    @public
    def laplace(
        self, size: Any = None, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Numbers of the Laplace distribution."""
        return self._scaled(continuous.laplace, size, loc, scale, dtype)

    @public
    def logistic(
        self, size: Any = None, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Numbers of the logistic distribution."""
        return self._scaled(continuous.logistic, size, loc, scale, dtype)

    @public
    def gumbel(
        self, size: Any = None, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Numbers of the Gumbel distribution."""
        return self._scaled(continuous.gumbel, size, loc, scale, dtype)

    @public
    def cauchy(
        self, size: Any = None, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Numbers of the Cauchy distribution."""
        return self._scaled(continuous.cauchy, size, loc, scale, dtype)

    @public
    def lognormal(
        self, size: Any = None, mean: ArrayLike = 0.0, sigma: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """exp of normal numbers with this mean and standard deviation."""
        return exp(self.normal(size, mean, sigma, dtype))

    @public
    def gamma(
        self, size: Any = None, shape: ArrayLike = 1.0, scale: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Numbers of the gamma distribution."""
        found = _float(dtype, shape, scale)
        sizes = sample_sizes(size, as_tensor(shape), as_tensor(scale))
        drawn: Any = continuous.gamma(self._key(), shape, sizes, found)
        return drawn * fitted(as_tensor(scale, found), sizes)

    @public
    def beta(
        self, size: Any = None, a: ArrayLike = 1.0, b: ArrayLike = 1.0, dtype: Any = None
    ) -> Value:
        """Numbers of the beta distribution."""
        return continuous.beta(self._key(), a, b, size, _float(dtype, a, b))

    @public
    def chisquare(self, size: Any = None, df: ArrayLike = 1.0, dtype: Any = None) -> Value:
        """Numbers of the chi-square distribution."""
        return continuous.chisquare(self._key(), df, size, _float(dtype, df))

    @public
    def standard_t(self, size: Any = None, df: ArrayLike = 1.0, dtype: Any = None) -> Value:
        """Numbers of Student's t distribution."""
        return continuous.t(self._key(), df, size, _float(dtype, df))

    @public
    def dirichlet(
        self, size: Any = None, alpha: ArrayLike = (1.0, 1.0), dtype: Any = None
    ) -> Value:
        """Vectors of the Dirichlet distribution, along a new last axis."""
        return continuous.dirichlet(self._key(), alpha, size, _float(dtype, alpha))

    # --- whole numbers --------------------------------------------------------------------------
    @public
    def integers(
        self, low: ArrayLike, high: ArrayLike = None, size: Any = (), dtype: Any = "int64"
    ) -> Value:
        """Integers from low up to but not including high, or below `low` if that is alone."""
        low, high = (0, low) if high is None else (low, high)
        return discrete.randint(self._key(), size, low, high, dtype)

    @public
    def random_integers(
        self, size: Any = (), low: ArrayLike = 0, high: ArrayLike = 1, dtype: Any = "int64"
    ) -> Value:
        """Integers from low up to and including high."""
        return discrete.randint(self._key(), size, low, high + 1, dtype)

    @public
    def bernoulli(self, size: Any = None, p: ArrayLike = 0.5) -> Value:
        """True with probability p."""
        return discrete.bernoulli(self._key(), p, size)

    @public
    def binomial(
        self, size: Any = None, n: ArrayLike = 1, p: ArrayLike = 0.5, dtype: Any = "int64"
    ) -> Value:
        """How many of n trials succeed, each with probability p."""
        if type(n) is int and n == 1:
            return cast(discrete.bernoulli(self._key(), p, size), as_dtype(dtype))
        drawn = discrete.binomial(self._key(), n, p, size)
        return cast(drawn, as_dtype(dtype))

    @public
    def negative_binomial(
        self, size: Any = None, n: ArrayLike = 1, p: ArrayLike = 0.5, dtype: Any = "int64"
    ) -> Value:
        """How many trials fail before n succeed."""
        return discrete.negative_binomial(self._key(), n, p, size, dtype)

    @public
    def geometric(self, size: Any = None, p: ArrayLike = 0.5, dtype: Any = "int64") -> Value:
        """How many trials it takes until one succeeds."""
        return discrete.geometric(self._key(), p, size, dtype)

    @public
    def poisson(self, size: Any = None, lam: ArrayLike = 1.0, dtype: Any = "int64") -> Value:
        """Numbers of the Poisson distribution with rate lam."""
        return discrete.poisson(self._key(), lam, size, dtype)

    # --- choices --------------------------------------------------------------------------------
    @public
    def multinomial(
        self, size: Any = None, n: Any = 1, pvals: ArrayLike = (0.5, 0.5), dtype: Any = "int64"
    ) -> Value:
        """How often each category along the last axis of pvals comes up in n trials."""
        return choices.multinomial(self._key(), n, pvals, size, dtype)

    @public
    def choice(
        self, size: Any = (), a: Any = 2, replace: bool = True, p: ArrayLike | None = None
    ) -> Value:
        """Elements of a (or integers below a) with probabilities p, or all as likely."""
        return choices.choice(self._key(), a, size, replace, p)

    @public
    def permutation(self, x: Any) -> Value:
        """x with its parts along the first axis in random order, or the integers below x."""
        return choices.permutation(self._key(), x)

    def __repr__(self) -> str:
        return f"RandomStreams(seed={self._seed}), {len(self.state_updates)} streams"
