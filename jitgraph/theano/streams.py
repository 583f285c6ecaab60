"""Random numbers: `RandomStreams`, `MRG_RandomStreams`, and functions of a state."""

# mypy: disable-error-code="override"
# (Theano's arguments are others than ours.)

from __future__ import annotations

from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.config import config
from jitgraph.ir.ops.random import threefry
from jitgraph.tensor.random.streams import STREAM
from jitgraph.tensor.random.streams import RandomStreams as Streams
from jitgraph.theano.types import TensorType
from jitgraph.theano.variables import TensorSharedVariable, TensorVariable, spoken


def random_state_type(name: str | None = None) -> Any:
    """A variable for a state, which a call of a function gives as a number."""
    return TensorType("uint64", ())(name)


class StateValue:
    """What `variable.rng.get_value()` gives: a state that can be seeded and put back."""

    def __init__(self, number: Any) -> None:
        self.number = np.uint64(number)

    def seed(self, seed: int) -> None:
        """Start anew."""
        self.number = _first(int(seed), 0)

    def get_state(self) -> tuple[Any, ...]:
        """The state as a tuple."""
        return ("threefry", int(self.number))

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Go on from a state."""
        self.number = np.uint64(state[1])


class StateVariable(TensorSharedVariable):
    """The state of a random variable."""

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> Any:
        return StateValue(self.slots.host()[()])

    def set_value(self, value: Any, borrow: bool = False) -> None:
        number = value.number if isinstance(value, StateValue) else value
        super().set_value(np.asarray(number, np.uint64), borrow)


def shared_state(random: np.random.RandomState, name: str | None) -> StateVariable:
    """The state that follows from one of NumPy's."""
    _, words, position, *_ = random.get_state()
    mixed = np.random.SeedSequence([int(position), *map(int, words)])
    return StateVariable(mixed.generate_state(1, np.uint64).reshape(()), name)


def _first(seed: int, number: int) -> Any:
    return threefry.evaluate(np.uint64(number), np.uint64(seed % 2**64))


class RandomStreams(Streams):
    """Random variables, each with a state of its own, `variable.rng`.

    Arguments are Theano's: `size`, the parameters, `ndim` (which says what size says already) and
    `dtype`. The numbers are not Theano's; they follow the same distributions.
    """

    def __init__(self, seed: Any = None, no_warn: bool = False, use_cuda: Any = None) -> None:
        if isinstance(seed, list | tuple | np.ndarray):
            mixed = np.random.SeedSequence([int(s) for s in seed])
            seed = int(mixed.generate_state(1, np.uint64)[0])
        self.default_instance_seed = seed
        super().__init__(None if seed is None else int(seed))

    def seed(self, seed: Any = None) -> None:
        """Start all streams anew."""
        super().seed(None if seed is None else int(seed))

    def _key(self) -> Any:
        number = len(self.state_updates)
        state = StateVariable(np.asarray(self._first(number)), f"random_state_{number}")
        state.default_update = state + np.uint64(1)
        self.state_updates.append((state, state.default_update))
        return threefry(state, TensorVariable.of(STREAM))

    def updates(self) -> list[tuple[Any, Any]]:
        """Pairs of the states and their updates."""
        return list(self.state_updates)

    def gen(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        """A random variable of `op(state, ...)`."""
        return getattr(self, op.__name__)(*args, **kwargs)

    @spoken
    def _drawn(self, method: str, size: Any, dtype: Any, *args: Any) -> Any:
        before = len(self.state_updates)
        drawn = getattr(super(), method)(size, *args, **({} if dtype is None else {"dtype": dtype}))
        if len(self.state_updates) > before:
            state, update = self.state_updates[before]
            drawn.rng, drawn.update = state, (state, update)
        return drawn

    # --- distributions --------------------------------------------------------------------------
    def uniform(self, size: Any = None, low: Any = 0.0, high: Any = 1.0, ndim: Any = None,
                dtype: Any = None, nstreams: Any = None) -> Any:  # fmt: skip
        return self._drawn("uniform", size, dtype or config.floatX, low, high)

    def normal(self, size: Any = None, avg: Any = 0.0, std: Any = 1.0, ndim: Any = None,
               dtype: Any = None, nstreams: Any = None, truncate: bool = False) -> Any:  # fmt: skip
        if truncate:
            return self._drawn("truncated_normal", size, dtype or config.floatX) * std + avg
        return self._drawn("normal", size, dtype or config.floatX, avg, std)

    def truncated_normal(self, size: Any = None, avg: Any = 0.0, std: Any = 1.0, ndim: Any = None,
                         dtype: Any = None, nstreams: Any = None) -> Any:  # fmt: skip
        return self.normal(size, avg, std, ndim, dtype, nstreams, truncate=True)

    def binomial(self, size: Any = None, n: Any = 1, p: Any = 0.5, ndim: Any = None,
                 dtype: Any = "int64", prob: Any = None, nstreams: Any = None) -> Any:  # fmt: skip
        return self._drawn("binomial", size, dtype, n, p if prob is None else prob)

    def random_integers(self, size: Any = (), low: Any = 0, high: Any = 1, ndim: Any = None,
                        dtype: Any = "int64") -> Any:  # fmt: skip
        return self._drawn("random_integers", () if size is None else size, dtype, low, high)

    def poisson(self, size: Any = None, lam: Any = 1.0, ndim: Any = None, dtype: Any = "int64",
                nstreams: Any = None) -> Any:  # fmt: skip
        return self._drawn("poisson", size, dtype, lam)

    @spoken
    def choice(self, size: Any = 1, a: Any = 2, replace: bool = True, p: Any = None,
               ndim: Any = None, dtype: Any = "int64", nstreams: Any = None) -> Any:  # fmt: skip
        """Integers below a, or elements of it."""
        shape = () if size is None else size
        return jt.cast(self._drawn("choice", shape, None, a, replace, p), dtype)

    @spoken
    def permutation(self, size: Any = None, n: int = 1, ndim: Any = None,
                    dtype: Any = "int64") -> Any:  # fmt: skip
        """As many permutations of the integers below n as size says."""
        if size is None or (isinstance(size, tuple | list) and not size):
            return jt.cast(self._permuted(n), dtype)
        shape = tuple(size) if isinstance(size, tuple | list) else (size,)
        keys = self.uniform((*shape, n), dtype="float64")
        return jt.cast(jt.argsort(keys, -1), dtype)

    def _permuted(self, x: Any) -> Any:
        return super().permutation(x)

    @spoken
    def shuffle_row_elements(self, input: Any) -> Any:
        """The elements of each row in random order."""
        keys = self.uniform(input.shape, dtype="float64")
        return jt.take_along_axis(input, jt.argsort(keys, -1), -1)

    @spoken
    def multinomial(self, size: Any = None, n: Any = 1, pvals: Any = (0.5, 0.5), ndim: Any = None,
                    dtype: Any = "int64", nstreams: Any = None, **unused: Any) -> Any:  # fmt: skip
        """How often each category comes up in n trials."""
        return self._drawn("multinomial", size, dtype, n, pvals)

    @spoken
    def multinomial_wo_replacement(self, size: Any = None, n: int = 1, pvals: Any = None,
                                   replace: bool = False, ndim: Any = None,
                                   dtype: Any = "int64", nstreams: Any = None) -> Any:  # fmt: skip
        """n different categories of each row of probabilities."""
        noise = self.uniform(pvals.shape, low=1e-12, dtype=str(pvals.dtype))
        race = jt.log(noise) / pvals  # the first n of exponential clocks
        return jt.cast(jt.argsort(-race, -1)[..., :n], dtype)


class MRG_RandomStreams(RandomStreams):  # noqa: N801  (Theano's name)
    """`RandomStreams` under another name."""

    def __init__(self, seed: Any = 12345, use_cuda: Any = None) -> None:
        super().__init__(seed)

    @property
    def rstate(self) -> int:
        """What the states of further variables follow from."""
        return int(self._seed)

    @rstate.setter
    def rstate(self, state: int) -> None:
        self._seed = state

    def inc_rstate(self) -> None:
        """Start all streams anew, elsewhere."""
        self.seed(self._seed + 1)

    def multinomial(self, size: Any = None, n: Any = 1, pvals: Any = None, ndim: Any = None,
                    dtype: Any = "int64", nstreams: Any = None, **unused: Any) -> Any:  # fmt: skip
        return super().multinomial(size, n, pvals, ndim, dtype)


# --- functions of a state ----------------------------------------------------------------------
def _function_of_state(method: str) -> Any:
    def draw(random_state: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        streams = _Continued(random_state)
        drawn = getattr(streams, method)(*args, **kwargs)
        return streams.state, drawn

    draw.__name__ = draw.__qualname__ = method
    draw.__doc__ = f"The next state, and what `RandomStreams.{method}` draws."
    return draw


class _Continued(RandomStreams):
    """Streams that draw with one state."""

    def __init__(self, state: Any) -> None:
        super().__init__(0)
        self.state = state

    def _key(self) -> Any:
        key = threefry(self.state, TensorVariable.of(STREAM))
        self.state = self.state + np.uint64(1)
        return key


uniform, normal, binomial, random_integers, choice, poisson, permutation, multinomial = (
    _function_of_state(name) for name in (
        "uniform", "normal", "binomial", "random_integers", "choice", "poisson", "permutation",
        "multinomial",
    )
)  # fmt: skip
shuffle_row_elements = _function_of_state("shuffle_row_elements")
