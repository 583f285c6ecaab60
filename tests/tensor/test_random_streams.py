"""`RandomStreams`, and the default updates its states move on by."""

from __future__ import annotations

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, UpdateError


def test_each_call_draws_anew_and_a_seed_brings_it_back() -> None:
    streams = T.random.RandomStreams(7)
    f = jg.function([], streams.uniform((3,)))
    first, second = f(), f()
    assert not np.intersect1d(first, second).size
    streams.seed(7)
    np.testing.assert_array_equal(f(), first)
    again = jg.function([], T.random.RandomStreams(7).uniform((3,)))
    np.testing.assert_array_equal(again(), first)
    streams.seed(8)
    assert not np.intersect1d(f(), first).size
    assert T.random.RandomStreams()._seed != T.random.RandomStreams()._seed


def test_a_random_variable_is_one_value_in_a_call() -> None:
    streams = T.random.RandomStreams(7)
    x, y = streams.normal((4,)), streams.normal((4,))
    a, b, c = jg.function([], [x, x * 2, y])()
    np.testing.assert_array_equal(b, a * 2)
    assert not np.intersect1d(a, c).size


def test_functions_that_share_a_stream_do_not_repeat_it() -> None:
    x = T.random.RandomStreams(7).uniform((5,))
    f, g = jg.function([], x), jg.function([], x + 0)
    numbers = np.concatenate([f(), g(), f(), g()])
    assert len(set(numbers.tolist())) == 20


def test_no_default_updates() -> None:
    streams = T.random.RandomStreams(7)
    x, y = streams.uniform((2,)), streams.uniform((2,))
    states = [state for state, _ in streams.state_updates]
    fixed = jg.function([], [x, y], no_default_updates=True)
    np.testing.assert_array_equal(fixed(), fixed())
    half = jg.function([], [x, y], no_default_updates=states[:1])
    before, after = half(), half()
    np.testing.assert_array_equal(before[0], after[0])
    assert (before[1] != after[1]).all()


def test_what_is_said_of_a_state_counts() -> None:
    """Explicit updates replace default ones; a state that is given is not moved on."""
    streams = T.random.RandomStreams(7)
    x = streams.uniform(())
    (state, moved), = streams.state_updates
    start = int(state.get_value())
    f = jg.function([], x, updates=[(state, moved + 1)])
    f()
    assert int(state.get_value()) == start + 2
    given = T.tensor(dtype="uint64", shape=(), name="given")
    g = jg.function([given], x, givens=[(state, given)])
    assert g(np.uint64(5)) == g(np.uint64(5)) != g(np.uint64(6))
    assert int(state.get_value()) == start + 2


def test_default_updates_of_any_shared_variable() -> None:
    """They may need others with updates of their own; only what a function reads is moved on."""
    count, total = jg.shared(0, "count"), jg.shared(0.0, "total")
    count.default_update = count + 1
    total.default_update = total + count
    f = jg.function([], total * 1)
    assert [float(f()) for _ in range(4)] == [0, 0, 1, 3]
    g = jg.function([], count * 1)
    assert int(g()) == 4
    assert float(total.get_value()) == 6
    count.default_update = count + 1.5
    with pytest.raises(UpdateError, match="lose"):
        jg.function([], count * 1)


def test_a_failing_call_moves_nothing_on() -> None:
    streams = T.random.RandomStreams(7)
    x = T.dvector("x")
    f = jg.function([x], x + streams.uniform((3,)))
    (state, _), = streams.state_updates
    before = state.get_value()
    with pytest.raises(Exception, match="3"):
        f(np.zeros(4))
    assert state.get_value() == before


def test_every_method() -> None:
    """Shapes by size, by parameters and of the call; dtypes by parameters and as asked for."""
    s, x = T.random.RandomStreams(7), T.fmatrix("x")
    shape = x.shape
    kinds = {
        "f4": [s.uniform(None, x, x + 1), s.normal(None, x), s.uniform(shape, dtype="float32"),
               s.exponential(None, x), s.gamma(None, x, x)],
        "f8": [s.uniform(shape), s.normal(shape, 1.0, 2.0), s.truncated_normal(shape),
               s.exponential(shape, 2.0), s.laplace(shape), s.logistic(shape), s.gumbel(shape),
               s.cauchy(shape), s.lognormal(shape), s.gamma(shape, 2.0, 3.0),
               s.beta(shape, 2.0, 3.0), s.chisquare(shape, 2.0), s.standard_t(shape, 3.0)],
        "i8": [s.integers(5, size=shape), s.integers(-5, 5, shape), s.random_integers(shape, 1, 6),
               s.binomial(shape), s.binomial(shape, 9, 0.3), s.negative_binomial(shape, 2.0, 0.5),
               s.geometric(shape), s.poisson(None, x), s.choice(shape, 7),
               s.choice(shape, 2, p=[0.5, 0.5])],
        "b1": [s.bernoulli(shape)],
    }  # fmt: skip
    f = jg.function([x], [e for group in kinds.values() for e in group])
    array = np.full((3, 4), 2, np.float32)
    results = iter(f(array))
    for dtype, group in kinds.items():
        for _ in group:
            result = next(results)
            assert (result.dtype, result.shape) == (np.dtype(dtype), (3, 4))
    rows = jg.function([x], [s.dirichlet(None, x), s.multinomial(x.shape[0], 5), s.permutation(x),
                             s.permutation(x.shape[1])])  # fmt: skip
    assert [r.shape for r in rows(array)] == [(3, 4), (3, 2), (3, 4), (4,)]


def test_wrong_seeds() -> None:
    with pytest.raises(DTypeError, match="seed must be an integer"):
        T.random.RandomStreams("today")  # type: ignore[arg-type]
