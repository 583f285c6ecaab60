"""`theano.tests.unittest_tools`."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.theano import gradient
from jitgraph.theano.config import config


def fetch_seed(pseed: Any = None) -> int:
    """The seed of the settings, or the one given."""
    seed = config.unittests.rseed if pseed is None else pseed
    return int(np.random.randint(2**31)) if seed == "random" else int(seed)


def seed_rng(pseed: Any = None) -> int:
    """Seed NumPy's global generator, and say with what."""
    seed = fetch_seed(pseed)
    np.random.seed(seed)
    return seed


def verify_grad(op: Any, pt: Any, n_tests: int = 2, rng: Any = None, *args: Any,
                **kwargs: Any) -> None:  # fmt: skip
    """`theano.gradient.verify_grad` with a generator of its own."""
    gradient.verify_grad(op, pt, n_tests, rng or np.random.RandomState(fetch_seed()), *args,
                         **kwargs)  # fmt: skip


def assert_allclose(expected: Any, value: Any, rtol: float = 1e-5, atol: float = 1e-8) -> None:
    """Raise AssertionError unless two arrays are close."""
    np.testing.assert_allclose(value, expected, rtol, atol)
