"""What a worker asks of its peer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.case import Case

Array = NDArray[Any]


class NotHere(Exception):  # noqa: N818
    """The peer has no such thing; the message is the word in the table."""


@dataclass(slots=True)
class Prepared:
    """A compiled case: the statement that is timed, the names in it, and the results as NumPy
    arrays. `how` tells between ways a peer has of running programs."""

    statement: str
    names: dict[str, Any]
    fetch: Callable[[], Sequence[Array]]
    how: str = ""


class Peer(ABC):
    """One library. `prepare` may raise NotHere; any other exception is a failure of the peer."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @abstractmethod
    def version(self) -> str:
        """Of the library."""

    @abstractmethod
    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        """Compile the case for these inputs."""


def call(function: Any, arguments: Sequence[Any], suffix: str = "") -> tuple[str, dict[str, Any]]:
    """A statement that calls the function, without anything around it, and its names."""
    names = {f"a{i}": a for i, a in enumerate(arguments)}
    return f"f({', '.join(names)}){suffix}", {"f": function, **names}


class Names:
    """A module, with the names in which it differs from NumPy replaced."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def scalar(value: Any) -> bool:
    """Whether an input is a Python number."""
    return not isinstance(value, np.ndarray)
