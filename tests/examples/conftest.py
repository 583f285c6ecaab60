"""The tests choose their data, whatever the environment says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples import datasets


@pytest.fixture(autouse=True, scope="session")
def bundled_digits() -> Iterator[None]:
    """`datasets.load()` means scikit-learn's digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(datasets.VARIABLE, raising=False)
        yield
