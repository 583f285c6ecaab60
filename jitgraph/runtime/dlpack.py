"""DLPack: how libraries hand each other arrays without copies, on whatever device these lie.

An array travels as a capsule with a C struct. Whoever takes it renames the capsule and calls the
struct's `deleter` when the memory is no longer needed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError
from jitgraph.ir.types import bfloat16, is_bfloat16

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
#: Versions from 1.0 on have another struct.
_VERSION = (1, 0)
_PLAIN, _VERSIONED = b"dltensor", b"dltensor_versioned"
_USED_PLAIN, _USED_VERSIONED = b"used_dltensor", b"used_dltensor_versioned"
_KINDS = "iuf?bcB"  # NumPy's by DLPack's number; ? is no array's, b stands for bfloat16, B for bool
_BFLOAT, _BOOL = 4, 6


class _Tensor(ctypes.Structure):
    """DLTensor"""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Plain(ctypes.Structure):
    """DLManagedTensor"""

    _fields_ = (
        ("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)
    )  # fmt: skip


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned"""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


def _capsule_function(name: str, result: Any, *arguments: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, *arguments)((f"PyCapsule_{name}", ctypes.pythonapi))


# The object as an address: a capsule's destructor must not touch its count of references.
_is_valid = _capsule_function("IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer = _capsule_function("GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_rename = _capsule_function("SetName", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_make = _capsule_function(
    "New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)


@dataclass(frozen=True, slots=True)
class Imported:
    """An array of another library. Its memory is good for as long as `owner` lives."""

    address: int
    shape: tuple[int, ...]
    #: In elements; None in C order.
    strides: tuple[int, ...] | None
    dtype: np.dtype[Any]
    device: tuple[int, int]
    owner: object


class _Owner:
    """Gives the memory of an imported array back."""

    __slots__ = ("_address", "_deleter")

    def __init__(self, address: int, deleter: int | None) -> None:
        self._address, self._deleter = address, deleter

    def __del__(self) -> None:
        if self._deleter:
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._deleter)(self._address)


def imported(capsule: object) -> Imported:
    """The array in a capsule, which is used up. Raises DTypeError for elements NumPy does not
    know."""
    type_: type[_Plain | _Versioned]
    if _is_valid(id(capsule), _VERSIONED):
        type_, name, used = _Versioned, _VERSIONED, _USED_VERSIONED
    else:
        type_, name, used = _Plain, _PLAIN, _USED_PLAIN
    address = _pointer(id(capsule), name)
    managed = type_.from_address(address)
    tensor = managed.tensor
    rank = tensor.ndim
    dtype = _dtype(tensor)
    found = Imported(
        (tensor.data or 0) + tensor.byte_offset,
        tuple(tensor.shape[:rank]),
        tuple(tensor.strides[:rank]) if tensor.strides else None,
        dtype,
        (tensor.device_type, tensor.device_id),
        _Owner(address, managed.deleter),
    )
    _rename(id(capsule), used)
    return found


def _dtype(tensor: _Tensor) -> np.dtype[Any]:
    code, bits = tensor.code, tensor.bits
    if tensor.lanes == 1 and code < len(_KINDS):
        if (code, bits) == (_BFLOAT, 16):
            return bfloat16()
        if code == _BOOL and bits == 8:
            return np.dtype(bool)
        name = f"{_KINDS[code]}{bits // 8}"
        if name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"):
            return np.dtype(name)
    raise DTypeError(
        f"an array comes with elements that jitgraph does not compute with (DLPack's type "
        f"{code} of {bits} bits, {tensor.lanes} lanes)",
        hint="convert it before",
    )


#: What was handed out and not given back, by the address of its struct.
_exported: dict[int, tuple[object, ...]] = {}


def _give_back(address: int) -> None:
    _exported.pop(address, None)


def _destroy(capsule: int) -> None:
    """A capsule that nobody has taken the array out of."""
    for name in (_PLAIN, _VERSIONED):
        if _is_valid(capsule, name):
            _give_back(_pointer(capsule, name))


_callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_DELETER, _DESTRUCTOR = _callback(_give_back), _callback(_destroy)


def exported(
    address: int,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    device: tuple[int, int],
    owner: object,
    max_version: tuple[int, int] | None,
) -> object:
    """A capsule with an array in C order; `owner` lives until whoever takes it gives it back."""
    versioned = max_version is not None and tuple(max_version) >= _VERSION
    managed: Any = _Versioned() if versioned else _Plain()
    rank = len(shape)
    extents = (ctypes.c_int64 * max(rank, 1))(*shape)
    strides = (ctypes.c_int64 * max(rank, 1))()
    step = 1
    for axis in reversed(range(rank)):
        strides[axis] = step
        step *= max(shape[axis], 1)
    code = _BFLOAT if is_bfloat16(dtype) else _KINDS.index(dtype.kind.replace("b", "B"))
    pointer = ctypes.POINTER(ctypes.c_int64)
    managed.tensor = _Tensor(
        address, *device, rank, code, 8 * dtype.itemsize, 1,
        ctypes.cast(extents, pointer), ctypes.cast(strides, pointer), 0,
    )  # fmt: skip
    managed.deleter = ctypes.cast(_DELETER, ctypes.c_void_p)
    if versioned:
        managed.major, managed.minor = _VERSION
    place = ctypes.addressof(managed)
    _exported[place] = (managed, extents, strides, owner)
    destroy = ctypes.cast(_DESTRUCTOR, ctypes.c_void_p)
    return _make(place, _VERSIONED if versioned else _PLAIN, destroy)
