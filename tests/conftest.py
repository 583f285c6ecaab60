"""Options of the test run."""

from __future__ import annotations

import contextlib
import os

import pytest

# Every pass verifies what it made.
os.environ.setdefault("JITGRAPH_VERIFY", "1")
# Every test compiles anew; those of the cache switch it on, in a directory of their own.
os.environ["JITGRAPH_CACHE"] = "0"

from jitgraph.errors import DTypeError
from jitgraph.ir.types import bfloat16

pytest_plugins = ["tests.assembling"]

# Tests that go over all dtypes take bfloat16 too, where it is installed.
with contextlib.suppress(DTypeError):
    bfloat16()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite the golden files")


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    """Whether golden files take what they get as right."""
    return bool(request.config.getoption("--bless"))
