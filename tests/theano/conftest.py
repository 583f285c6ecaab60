"""Theano's names, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jitgraph.config import config
from jitgraph.theano import install, uninstall


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """`import theano` finds ours, until the module's tests are done."""
    install()
    with config.override(floatX="float64"):
        yield
    uninstall()


@pytest.fixture
def theano() -> Any:
    """The module of that name."""
    import theano

    return theano


@pytest.fixture
def T() -> Any:  # noqa: N802
    """Its tensors."""
    import theano.tensor as T

    return T
