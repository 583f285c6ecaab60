"""What Python and NumPy had in those years and have no longer, for the program that is run."""

from __future__ import annotations

import collections
import collections.abc
import fractions
import functools
import inspect
import math
import pickle
import sys
import time
from types import ModuleType
from typing import Any

import numpy as np


class _Casts:
    """`numpy.cast["float32"](x)`."""

    def __getitem__(self, dtype: Any) -> Any:
        return lambda x: np.asarray(x).astype(dtype)


def _shared_dtype(arrays: Any, scalars: Any) -> np.dtype[Any]:
    """`numpy.find_common_type`."""
    return np.result_type(*arrays, *scalars)


#: Names that NumPy has dropped, and what they were.
_NUMPY: dict[str, Any] = {
    "float": float, "int": int, "bool": bool, "object": object, "complex": complex, "str": str,
    "long": int, "unicode": str, "float_": np.float64, "complex_": np.complex128,
    "int0": np.intp, "uint0": np.uintp, "string_": np.bytes_, "unicode_": np.str_,
    "product": np.prod, "cumproduct": np.cumprod, "sometrue": np.any, "alltrue": np.all,
    "round_": np.round, "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "PINF": np.inf,
    "NINF": -np.inf, "NaN": np.nan, "NAN": np.nan,
    "asscalar": lambda a: a.item(), "asfarray": lambda a, dtype=float: np.asarray(a, dtype),
    "rank": np.ndim, "msort": lambda a: np.sort(a, axis=0), "cast": _Casts(), "mat": np.asmatrix,
    "in1d": np.isin, "trapz": np.trapezoid, "row_stack": np.vstack, "bool8": np.bool_,
    "cfloat": np.complex128, "longfloat": np.longdouble, "find_common_type": _shared_dtype,
    "typeDict": np.sctypeDict,
    "sctypes": {"int": [np.int8, np.int16, np.int32, np.int64],
                "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
                "float": [np.float16, np.float32, np.float64, np.longdouble],
                "complex": [np.complex64, np.complex128, np.clongdouble],
                "others": [bool, object, bytes, str, np.void]},
}  # fmt: skip
_COLLECTIONS = ("Callable", "Iterable", "Iterator", "Mapping", "MutableMapping",
                "MutableSequence", "MutableSet", "Sequence", "Set", "Sized")  # fmt: skip


_ArgSpec = collections.namedtuple(
    "_ArgSpec", "args varargs keywords defaults"
)


def _getargspec(function: Any) -> Any:
    """`inspect.getargspec`."""
    return _ArgSpec(*inspect.getfullargspec(function)[:4])


#: What modules of Python have dropped, and what it was.
_PYTHON: tuple[tuple[ModuleType, str, Any], ...] = (
    (time, "clock", time.process_time), (inspect, "getargspec", _getargspec),
    (fractions, "gcd", math.gcd),
    *((collections, name, getattr(collections.abc, name)) for name in _COLLECTIONS),
)  # fmt: skip


def restore() -> None:
    """Put back what is missing."""
    for name, meaning in _NUMPY.items():
        if name not in vars(np):
            setattr(np, name, meaning)
    for module, name, meaning in _PYTHON:
        if not hasattr(module, name):
            setattr(module, name, meaning)


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
