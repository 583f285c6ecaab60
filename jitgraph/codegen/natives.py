"""Where the native routines of NumPy and SciPy are in this process.

Generated code names them by symbols; their addresses are found when code is loaded. They are

    numpy.linalg.solve.dd    the inner loop of a (g)ufunc, for the dtypes of its operands
    numpy.linalg.solve.dd.data    what that loop wants as its last argument, if anything
    numpy.sort.f8, numpy.argsort.stable.i4    `int (ptr row, [ptr places,] i64 n, ptr none)`
    scipy.blas.dtrsm    as in Fortran, from `scipy.linalg.cython_blas`

What does not look as it does in the NumPy we know is refused, with an error that says so.
"""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from typing import Any

import numpy as np

from jitgraph.codegen.loader import CodegenError
from jitgraph.errors import MissingPackageError

#: The private modules with the gufuncs, by the names that symbols start with.
_MODULES = {
    "numpy.linalg": "numpy.linalg._umath_linalg",
    "numpy.fft": "numpy.fft._pocketfft_umath",
}
# Offsets in a PyUFuncObject: part of NumPy's ABI.
_NIN, _NOUT, _FUNCTIONS, _DATA, _NTYPES, _NAME, _TYPES = 16, 20, 32, 40, 48, 56, 64
# NumPy's table of C functions, and PyArray_ArrFuncs: the sorts come after 21 casts and 12 others.
_GET_ARRFUNCS, _SORT, _ARGSORT = 365, 33, 36
_STABLE = 2


def loop_symbol(library: str, ufunc: str, chars: str) -> str:
    """The symbol of the inner loop of a ufunc for operands of these dtypes (as characters)."""
    return f"{library}.{ufunc}.{chars}"


def takes_data(symbol: str) -> bool:
    """Whether a loop wants something as its last argument. It is the same in every process."""
    return _loop(symbol)[1] != 0


class _NumPy:
    """NumPy's loops and sorts, as a library."""

    def address(self, symbol: str) -> int:
        if symbol.endswith(".data"):
            return _loop(symbol.removesuffix(".data"))[1]
        if symbol.startswith(("numpy.sort.", "numpy.argsort.")):
            return _sort(symbol)
        return _loop(symbol)[0]


class _SciPy:
    """The routines that SciPy gives to Cython programs, as a library."""

    def address(self, symbol: str) -> int:
        _, kind, name = symbol.split(".")
        try:
            module = importlib.import_module(f"scipy.linalg.cython_{kind}")
        except ImportError as error:
            raise no_scipy("a program that calls BLAS or LAPACK") from error
        capsule = module.__pyx_capi__[name]
        text = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)
        label = text(("PyCapsule_GetName", ctypes.pythonapi))(capsule)
        return _pointer(capsule, label)


def no_scipy(what: str) -> MissingPackageError:
    """The error for what needs SciPy where there is none."""
    return MissingPackageError(
        f"{what} needs SciPy, which is not installed", hint="pip install jitgraph[linalg]"
    )


@cache
def numpy_routines() -> _NumPy:
    return _NumPy()


@cache
def scipy_routines() -> _SciPy:
    return _SciPy()


def _pointer(capsule: Any, label: bytes | None) -> int:
    unpack = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return int(unpack(capsule, label))


# --- inner loops of ufuncs ---------------------------------------------------------------------
@cache
def _loop(symbol: str) -> tuple[int, int]:
    """The addresses of a loop and of its data."""
    library, name, chars = symbol.rsplit(".", 2)
    ufunc = getattr(importlib.import_module(_MODULES[library]), name, None)
    if not isinstance(ufunc, np.ufunc) or not _is_known(ufunc):
        raise CodegenError(f"NumPy {np.__version__} has no {library}.{name} that jitgraph knows")
    types = [t.replace("->", "") for t in ufunc.types]
    if chars not in types:
        raise CodegenError(f"{library}.{name} of NumPy {np.__version__} has no loop for {chars}")
    k = types.index(chars)
    return _entry(ufunc, _FUNCTIONS, k), _entry(ufunc, _DATA, k)


def _entry(ufunc: np.ufunc, offset: int, k: int) -> int:
    """The k-th pointer of a table, or 0 where there is no table."""
    table = _field(ufunc, offset, ctypes.c_void_p)
    return (table and (ctypes.c_void_p * (k + 1)).from_address(table)[k]) or 0


def _field(ufunc: np.ufunc, offset: int, kind: Any) -> Any:
    return kind.from_address(id(ufunc) + offset).value


def _is_known(ufunc: np.ufunc) -> bool:
    """Whether the struct has what Python says in the places where we look for it."""
    counts = [_field(ufunc, o, ctypes.c_int) for o in (_NIN, _NOUT, _NTYPES)]
    if counts != [ufunc.nin, ufunc.nout, ufunc.ntypes]:
        return False
    numbers = [np.dtype(c).num for t in ufunc.types for c in t.replace("->", "")]
    types = (ctypes.c_char * len(numbers)).from_address(_field(ufunc, _TYPES, ctypes.c_void_p))
    name = _field(ufunc, _NAME, ctypes.c_char_p)
    return bool(name.decode() == ufunc.__name__ and list(types.raw) == numbers)


# --- sorts -------------------------------------------------------------------------------------
@cache
def _sort(symbol: str) -> int:
    _, what, *kind, dtype = symbol.split(".")
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    table = (ctypes.c_void_p * (_GET_ARRFUNCS + 1)).from_address(_pointer(capsule, None))
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(table[_GET_ARRFUNCS] or 0)
    functions = (ctypes.c_void_p * (_ARGSORT + _STABLE + 1)).from_address(get(np.dtype(dtype)))
    place = (_SORT if what == "sort" else _ARGSORT) + (_STABLE if kind else 0)
    if not functions[place]:
        raise CodegenError(f"NumPy {np.__version__} has no {symbol}")
    return functions[place] or 0
