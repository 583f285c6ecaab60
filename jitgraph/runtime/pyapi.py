"""The CPython and NumPy C API for generated code: addresses, checked layouts, and linking.

Importing this module verifies the struct offsets that generated code relies on against live
objects (some 100 microseconds), and raises `UnsupportedPython` where they do not hold. Import it
when the first program is compiled, not before.

Also the one place that knows the runtime library is loaded: importing fills its table.
"""

import ctypes
import os
import sys
import sysconfig
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.library import runtime_library
from jitgraph.codegen.recycling import HANDLER, POOL_FIELDS
from jitgraph.codegen.target import host

# Indices in NumPy's table of C functions; they are its ABI and never change.
_NUMPY_ABI, _NUMPY_TYPE, _NUMPY_NEW, _NUMPY_DEFAULT_HANDLER = 0, 2, 93, 306
#: The versions of NumPy whose way to free an array is known to agree with `codegen.newarray`.
_KNOWN_NUMPY = {(2, minor) for minor in range(5)}


#: The characters of the dtypes that programs compute with.
_CHARS = "?bBhHiIlLqQefdFD"


class UnsupportedPython(RuntimeError):  # noqa: N818 - not an error of the user's program
    """This interpreter or this NumPy lays out its objects in a way jitgraph does not know."""


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
    table = (ctypes.c_void_p * (_NUMPY_DEFAULT_HANDLER + 1)).from_address(unpack(capsule, None))
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(table[_NUMPY_ABI] or 0)()
    _check(version >> 24 == 2, f"NumPy's C ABI is {version:#x}, not that of NumPy 2")
    return table


def _addresses() -> list[int | None]:
    """What belongs in `@api`: each name of `pyobjects.API`, then descriptors by type number."""
    numpy = _numpy_api()
    handler = ctypes.c_void_p.from_address(numpy[_NUMPY_DEFAULT_HANDLER] or 0).value or 0
    known: dict[str, int | None] = {
        "PyArray_Type": numpy[_NUMPY_TYPE],
        "PyArray_New": numpy[_NUMPY_NEW],
        "PyFloat_Type": id(float),
        "PyLong_Type": id(int),
        "PyComplex_Type": id(complex),
        "Py_None": id(None),
        "Py_True": id(True),
        "Py_False": id(False),
        "default_handler": handler,
        "pool_handler": memory_handler("jitgraph_pool", HANDLER),
        "by_hand": int(_arrays_are_known(handler)),
    }
    _check(known["PyArray_Type"] == id(np.ndarray), "ndarray's type is not where it should be")
    addresses = [
        known[name] if name in known else _address(getattr(ctypes.pythonapi, name))
        for name in py.API
    ]
    by_number = {np.dtype(char).num: np.dtype(char) for char in _CHARS}
    descrs = [id(by_number[n]) if n in by_number else 0 for n in range(py.TYPE_NUMBERS)]
    return [*addresses, *descrs]


def _arrays_are_known(handler: int) -> bool:
    """Whether NumPy will free an array that was made by hand as if it had made it."""
    version = tuple(int(part) for part in np.__version__.split(".")[:2])
    plain = np.ndarray((3, 2))
    words = [
        _read(ctypes.c_void_p, plain, offset)
        for offset in (py.ARRAY_WEAKREFS, py.ARRAY_BUFFER, py.ARRAY_HANDLER)
    ]
    return (
        version in _KNOWN_NUMPY
        and sys.platform in ("linux", "darwin")
        and np.ndarray.__basicsize__ == py.ARRAY_SIZE
        and words == [None, None, handler]
    )


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
    for char in _CHARS:
        _check_scalar(np.dtype(char))


def _check_scalar(dtype: np.dtype[Any]) -> None:
    scalar = dtype.type(1)
    raw = ctypes.string_at(id(scalar) + py.SCALAR_VALUE, dtype.itemsize)
    _check(raw == np.asarray(scalar).tobytes(), f"{dtype} scalars are laid out differently")


def know_bfloat16(dtype: np.dtype[Any]) -> None:
    """Let generated code make arrays of bfloat16."""
    cell = len(py.API) + py.BFLOAT16
    table = (ctypes.c_void_p * py.API_SIZE).from_address(LIBRARY.address("api"))
    if table[cell] is None:
        _check_scalar(dtype)
        table[cell] = id(dtype)


class _Handler(ctypes.Structure):
    """PyDataMem_Handler: how NumPy allocates the data of an array (NEP 49)."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


def memory_handler(name: str, functions: Sequence[str], context: int | None = None) -> int:
    """The address of the capsule that arrays name whose data these functions of the library
    allocate and free. It is never freed: arrays may outlive this module, and every other."""
    handler = _Handler(name.encode(), 1, context, *map(LIBRARY.address, functions))
    make = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
    )(("PyCapsule_New", ctypes.pythonapi))
    capsule = make(ctypes.addressof(handler), _CAPSULE_NAME, None)
    for kept in (capsule, handler):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    return id(capsule)


def new_reference(address: int) -> Any:
    """The object at an address that a C function has returned as a reference of the caller's."""
    made = ctypes.cast(address, ctypes.py_object)
    value = made.value
    ctypes.pythonapi.Py_DecRef(made)
    return value


def _pool_limit() -> int:
    """How much memory may be kept: an eighth of the machine's, where that is known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8
    except (AttributeError, ValueError, OSError):
        return 1 << 30


_check_interpreter()
_check_arrays()
_check_scalars()
_CAPSULE_NAME = b"mem_handler"
LIBRARY = runtime_library(host())
_api = (ctypes.c_void_p * py.API_SIZE)(*_addresses())
ctypes.memmove(LIBRARY.address("api"), _api, ctypes.sizeof(_api))
#: Whether arrays are made by hand, as those of devices must be.
BY_HAND = bool(_api[py.API.index("by_hand")])
_limit = ctypes.c_int64.from_address(LIBRARY.address("pool") + 8 * POOL_FIELDS.index("limit"))
_limit.value = _pool_limit()
