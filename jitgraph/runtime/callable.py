"""Python objects whose call is generated code, and the cells of shared variables.

CPython calls an object through the function pointer that its type says instances hold (PEP 590,
"vectorcall"). `make_callable_type` makes such types: a native base type brings the pointer, and
everything else (attributes, weak references, garbage collection, methods) is that of an ordinary
Python class derived from it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph.codegen import pyobjects as py

if TYPE_CHECKING:
    from jitgraph.runtime.device import Device

_TPFLAGS_BASETYPE, _TPFLAGS_HAVE_VECTORCALL = 1 << 10, 1 << 11
_TP_CALL, _TP_MEMBERS = 50, 72  # numbers of slots, from typeslots.h
_T_PYSSIZET, _READONLY = 19, 1
_TYPE_FLAGS = 168  # offset of tp_flags in a type object


class _Member(ctypes.Structure):
    """PyMemberDef"""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _TypeSlot(ctypes.Structure):
    """PyType_Slot"""

    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _TypeSpec(ctypes.Structure):
    """PyType_Spec"""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_TypeSlot)),
    )


# CPython keeps pointers into these, so they live as long as the process.
_MEMBERS = (_Member * 2)(
    _Member(b"__vectorcalloffset__", _T_PYSSIZET, py.CALLABLE, _READONLY, None)
)
_SLOTS = (_TypeSlot * 3)(
    _TypeSlot(_TP_CALL, ctypes.cast(ctypes.pythonapi.PyVectorcall_Call, ctypes.c_void_p)),
    _TypeSlot(_TP_MEMBERS, ctypes.addressof(_MEMBERS)),
)
_SPEC = _TypeSpec(
    b"jitgraph.runtime.callable.NativeEntry",
    py.CALLABLE + len(py.CALLABLE_FIELDS) * ctypes.sizeof(ctypes.c_void_p),
    0,
    _TPFLAGS_BASETYPE | _TPFLAGS_HAVE_VECTORCALL,
    _SLOTS,
)


@cache
def _native_entry() -> type:
    """The base type: a pointer to code, where calls go, and those that the code reads."""
    from_spec = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(
        ("PyType_FromSpec", ctypes.pythonapi)
    )
    type_: type = from_spec(ctypes.addressof(_SPEC))
    return type_


def make_callable_type(name: str, methods: type) -> type[Any]:
    """A class `name`, derived from `methods`, whose instances run native code when called.

    `methods` is an ordinary class without `__slots__` and without `__call__`, or derived from a
    class made here; its `__init__` and so on work as usual. Until `set_entry` gave an instance its
    code, calling it is a TypeError.
    """
    native = _native_entry()
    if any("__call__" in vars(base) for base in methods.__mro__ if base is not native):
        raise TypeError(f"{methods.__name__}.__call__ would hide the native entry")
    bases = (methods,) if issubclass(methods, native) else (methods, native)
    namespace = {"__module__": methods.__module__, "__doc__": methods.__doc__}
    made = type(name, bases, namespace)
    if not made.__flags__ & _TPFLAGS_HAVE_VECTORCALL:
        # CPython 3.11 inherits the pointer's place but, fearing a later `__call__`, not the flag.
        flags = ctypes.c_ulong.from_address(id(made) + _TYPE_FLAGS)
        if flags.value != made.__flags__:
            raise RuntimeError("this interpreter lays out its types in an unknown way")
        flags.value |= _TPFLAGS_HAVE_VECTORCALL
    return made


def set_entry(
    callable_: object, entry: int, table: int, slow: object, fail: object, owner: object
) -> None:
    """Let calls of `callable_` run the vectorcall function at address `entry`, with the variants of
    `table` (see `codegen.entry`).

    The object keeps `slow`, `fail` and `owner` (of the table and the code) alive, and those of
    former entries as well: they may still be running, in another thread or below the very caller
    that replaces the entry.
    """
    if not isinstance(callable_, _native_entry()):
        raise TypeError(f"{callable_!r} was not made by make_callable_type")
    vars(callable_).setdefault("_code_owners", []).append((slow, fail, owner))
    cells = (ctypes.c_void_p * len(py.CALLABLE_FIELDS)).from_address(id(callable_) + py.CALLABLE)
    cells[1:] = [table, id(slow), id(fail)]
    cells[0] = entry


class Slots:
    """The two cells of a shared variable, [current, spare], which generated code exchanges.

    They are the storage of a Python list of fixed length: CPython then does the counting of
    references and the garbage collection, and access from Python is atomic under the GIL. An
    empty spare cell holds None.
    """

    __slots__ = ("__weakref__", "_cells", "address", "device", "home")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._cells: list[np.ndarray[Any, Any] | None] = [array, None]
        cells = ctypes.c_void_p.from_address(id(self._cells) + py.LIST_ITEMS).value
        assert cells is not None
        self.address = cells
        #: The device in whose memory the arrays lie, if they do.
        self.device: Device | None = None
        #: Where the functions run that use the variable, once there is one.
        self.home: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy has cells of its own; the address of these would outlive them.
        return _cells, (self.host(),)

    def get(self) -> np.ndarray[Any, Any]:
        """The current array itself: of a device, its header. It stays as it is while the caller
        holds it: updates go to other memory."""
        current = self._cells[0]
        assert current is not None
        return current

    def host(self) -> np.ndarray[Any, Any]:
        """The current array where NumPy can read it: itself, or a copy of a device's."""
        current = self.get()
        return current if self.device is None else self.device.download(current)

    def set(self, array: np.ndarray[Any, Any]) -> None:
        """Make `array` itself, or its copy on the device, the current one. Generated code will not
        write to it unless, one update later, it owns its memory and nobody else refers to it."""
        self._cells[0] = array if self.device is None else self.device.upload(array)

    def place(self, device: Device, header: np.ndarray[Any, Any]) -> None:
        """Let the value lie in the memory of a device, where its copy is that has this header."""
        self._cells[:] = [header, None]
        self.device = device

    def drop_spare(self) -> None:
        """Free the memory that is kept for the next update."""
        self._cells[1] = None


def _cells(array: np.ndarray[Any, Any]) -> Slots:
    """Cells with an array out of a pickle, which may have been turned into a file's memory."""
    return Slots(np.require(np.asarray(array), requirements=["C", "A"]))
