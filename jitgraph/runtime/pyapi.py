"""The CPython and NumPy C API for generated code: addresses, checked layouts, and linking.

Importing this module verifies the struct offsets that generated code relies on against live
objects (some 100 microseconds), and raises `UnsupportedPython` where they do not hold. Import it
when the first program is compiled, not before.
"""

import ctypes
import sys
import sysconfig
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.entry import OutputSpec, ParamSpec, entry_links

# Indices in NumPy's table of C functions; they are its ABI and never change.
_NUMPY_ABI, _NUMPY_TYPE, _NUMPY_NEW = 0, 2, 93


class UnsupportedPython(RuntimeError):  # noqa: N818 - not an error of the user's program
    """This interpreter or this NumPy lays out its objects in a way jitgraph does not know."""


def link_entry(
    table: int,
    params: Sequence[ParamSpec],
    outputs: Sequence[OutputSpec],
    slow: object,
    fail: object,
) -> None:
    """Fill the table `@links`, at address `table`, of a freshly loaded program.

    The generated code borrows `slow` and `fail` and the cells of shared variables: whoever owns
    the code must keep them alive as long.
    """
    values = [*API_ADDRESSES, *entry_links(params, outputs, id(slow), id(fail))]
    cells = (ctypes.c_void_p * len(values))(*values)
    ctypes.memmove(table, cells, ctypes.sizeof(cells))


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise UnsupportedPython(
            f"jitgraph cannot run on this interpreter: {what} "
            f"(Python {sys.version.split()[0]}, NumPy {np.__version__}, {sys.platform})"
        )


def _numpy_api() -> ctypes.Array[ctypes.c_void_p]:
    """NumPy's table of C functions, found as its own C headers find it."""
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    unpack = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = (ctypes.c_void_p * (_NUMPY_NEW + 1)).from_address(unpack(capsule, None))
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(table[_NUMPY_ABI] or 0)()
    _check(version >> 24 == 2, f"NumPy's C ABI is {version:#x}, not that of NumPy 2")
    return table


def _addresses() -> tuple[int, ...]:
    """The address of each name of `pyobjects.API`."""
    numpy = _numpy_api()
    known = {
        "PyArray_Type": numpy[_NUMPY_TYPE],
        "PyArray_New": numpy[_NUMPY_NEW],
        "PyFloat_Type": id(float),
        "PyLong_Type": id(int),
        "Py_None": id(None),
    }
    _check(known["PyArray_Type"] == id(np.ndarray), "ndarray's type is not where it should be")
    return tuple(known.get(name) or _address(getattr(ctypes.pythonapi, name)) for name in py.API)


def _read(type_: type[Any], object_: object, offset: int) -> Any:
    return type_.from_address(id(object_) + offset).value


def _check_interpreter() -> None:
    _check(sys.implementation.name == "cpython", "it is not CPython")
    _check(not sysconfig.get_config_var("Py_GIL_DISABLED"), "it is a free-threaded build")
    _check(ctypes.sizeof(ctypes.c_void_p) == 8, "pointers do not have 64 bits")
    _check(sys.byteorder == "little", "it is big-endian")
    _check(object.__basicsize__ == 16, "it is a debugging build")
    witness = object()
    before = _read(ctypes.c_int32, witness, py.REFCOUNT)
    another = witness
    after = _read(ctypes.c_int32, another, py.REFCOUNT)
    # 3.14 may borrow references to locals, so that a second name need not raise the count.
    _check(before > 0 and after >= before, "reference counts are not at the start of objects")
    _check(_read(ctypes.c_void_p, witness, py.TYPE) == id(object), "types are not at offset 8")
    items = [witness, None]
    cells = _read(ctypes.c_void_p, items, py.LIST_ITEMS)
    _check(
        list((ctypes.c_void_p * 2).from_address(cells)) == [id(witness), id(None)],
        "lists keep their items elsewhere",
    )


def _check_arrays() -> None:
    base = np.zeros((5, 7, 3))
    array = base[1:4, ::2]
    descr = array.dtype
    seen = [
        _read(ctypes.c_void_p, array, py.ARRAY_DATA),
        _read(ctypes.c_int, array, py.ARRAY_NDIM),
        _read(ctypes.c_void_p, array, py.ARRAY_BASE),
        _read(ctypes.c_void_p, array, py.ARRAY_DESCR),
        _read(ctypes.c_int, array, py.ARRAY_FLAGS),
        _read(ctypes.c_int, base, py.ARRAY_FLAGS),
        _read(ctypes.c_int, descr, py.DESCR_TYPENUM),
        _read(ctypes.c_char, descr.newbyteorder(), py.DESCR_BYTEORDER),
    ]
    owned = py.C_CONTIGUOUS | py.OWNDATA | py.ALIGNED | py.WRITEABLE
    address, flags = array.ctypes.data, array.flags.num
    expected = [address, 3, id(base), id(descr), flags, owned, descr.num, b">"]
    _check(seen == expected, f"ndarrays are laid out differently: {seen} is not {expected}")
    # Only now is it safe to follow pointers.
    for field, known in (py.ARRAY_DIMS, array.shape), (py.ARRAY_STRIDES, array.strides):
        cells = (ctypes.c_ssize_t * 3).from_address(_read(ctypes.c_void_p, array, field))
        _check(tuple(cells) == known, f"ndarrays are laid out differently: {[*cells]} != {known}")


def _check_scalars() -> None:
    _check(_read(ctypes.c_double, 0.75, py.SCALAR_VALUE) == 0.75, "floats are laid out differently")
    for char in "?bBhHiIlLqQefdFD":
        scalar = np.dtype(char).type(1)
        raw = ctypes.string_at(id(scalar) + py.SCALAR_VALUE, scalar.itemsize)
        _check(raw == scalar.tobytes(), f"{type(scalar).__name__} is laid out differently")


_check_interpreter()
_check_arrays()
_check_scalars()
API_ADDRESSES = _addresses()
