"""What Python and NumPy had in those years and have no longer, for the program that is run."""

from __future__ import annotations

import collections.abc
import functools
import pickle
import sys
import time
from types import ModuleType
from typing import Any

import numpy as np

#: Names that NumPy has dropped, and what they were.
_NUMPY: dict[str, Any] = {
    "float": float, "int": int, "bool": bool, "object": object, "complex": complex, "str": str,
    "long": int, "unicode": str, "float_": np.float64, "complex_": np.complex128,
    "int0": np.intp, "uint0": np.uintp, "string_": np.bytes_, "unicode_": np.str_,
    "product": np.prod, "cumproduct": np.cumprod, "sometrue": np.any, "alltrue": np.all,
    "round_": np.round, "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "PINF": np.inf,
    "NINF": -np.inf, "NaN": np.nan, "NAN": np.nan,
    "asscalar": lambda a: a.item(), "asfarray": lambda a, dtype=float: np.asarray(a, dtype),
    "rank": np.ndim, "msort": lambda a: np.sort(a, axis=0),
}  # fmt: skip
_COLLECTIONS = ("Callable", "Iterable", "Iterator", "Mapping", "MutableMapping",
                "MutableSequence", "MutableSet", "Sequence", "Set", "Sized")  # fmt: skip


def restore() -> None:
    """Put back what is missing."""
    for name, meaning in _NUMPY.items():
        if name not in vars(np):
            setattr(np, name, meaning)
    for name in _COLLECTIONS:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    if not hasattr(time, "clock"):
        time.clock = time.process_time  # type: ignore[attr-defined]


def c_pickle() -> ModuleType:
    """`cPickle`: reads what Python 2 wrote, arrays included."""
    made = ModuleType("cPickle", "pickle under its older name")
    made.__dict__.update({name: getattr(pickle, name) for name in pickle.__all__})
    for name in ("load", "loads"):
        setattr(made, name, functools.partial(getattr(pickle, name), encoding="latin1"))
    return made


def restore_python_2() -> None:
    """Let modules be found that Python 3 has elsewhere."""
    restore()
    sys.modules.setdefault("cPickle", c_pickle())
