"""Every test here runs its programs on a device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TypeVar

import pytest

from jitgraph.config import config

T = TypeVar("T")

#: Whether a device is named: then everything is tried there, else of what takes minutes a sample.
NAMED = "JITGRAPH_TEST_DEVICE" in os.environ
DEVICE = os.environ.get("JITGRAPH_TEST_DEVICE", "simulated")


def some(items: Sequence[T], number: int) -> list[T]:
    """So many of the items, every day the next ones; all of them where a device is named."""
    if NAMED:
        return list(items)
    start = date.today().toordinal() * number
    return [items[(start + k) % len(items)] for k in range(number)]


@pytest.fixture(autouse=True)
def on_device() -> Iterator[None]:
    """Functions that do not say where they compute do so on the device."""
    with config.override(device=DEVICE):
        yield
