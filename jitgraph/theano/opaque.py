"""Names that are asked for and have nothing to do here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from jitgraph.theano.variables import as_tensor_variable

no, yes, none = False, True, None


def never(*args: Any, **options: Any) -> bool:
    """Whether something that never is there is there."""
    return False


def nothing(*args: Any, **options: Any) -> None:
    """What there is nothing to be done for."""


def same(x: Any) -> Any:
    """x itself: there is one memory."""
    return as_tensor_variable(x)


class Never:
    """For `isinstance` only: a kind of variable that is not there."""


def asarray(a: Any, dtype: Any = None, order: Any = None) -> Any:
    """An array of a dtype."""
    return np.asarray(a, dtype=None if dtype is None else np.dtype(dtype), order=order)


def load(path: str, dtype: Any = None, broadcastable: Any = None, mmap_mode: Any = None) -> Any:
    """The array of an .npy file, as a constant."""
    return as_tensor_variable(np.load(path, mmap_mode=mmap_mode))


class ProfileStats:
    """`f.profile(...)` of a compiled function says what its steps cost; this says nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.fct_callcount = 0

    def summary(self, *args: Any, **options: Any) -> None:
        """Print nothing."""


optdb = SimpleNamespace(query=nothing, register=nothing, __position__={})
