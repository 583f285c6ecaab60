"""Where native code enters Python: `@python_call` and `@python_results` of opaque functions.

Both are `i32 (i64 number, ptr inputs, ptr outputs, ptr extents)`, with tables of pointers, and the
extents of the inputs or, for `@python_results`, of the outputs. They take the GIL, and give 0, or 1
where Python raised an exception, which is kept for whoever explains the failure.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from jitgraph.ir.opdef import Array
from jitgraph.ir.ops.opaque import owner_of, remember
from jitgraph.ir.types import I64, Type

_WORD = ctypes.sizeof(ctypes.c_void_p)
_Entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, *[ctypes.c_void_p] * 3)


class Trampolines:
    """Both entries, as a library."""

    def __init__(self) -> None:
        self._entries = {"python_call": _entry(_call), "python_results": _entry(_results)}

    def address(self, symbol: str) -> int:
        return ctypes.cast(self._entries[symbol], ctypes.c_void_p).value or 0


@cache
def trampolines() -> Trampolines:
    return Trampolines()


def _entry(body: Callable[..., tuple[Sequence[Array], Sequence[Array]]]) -> Any:
    def run(number: int, inputs: int, outputs: int, extents: int) -> int:
        try:
            targets, found = body(number, inputs, outputs, extents)
            for target, array in zip(targets, found, strict=True):
                target[...] = array
        except BaseException as error:  # whatever it is, it must not end here
            remember(error)
            return 1
        return 0

    return _Entry(run)


def _call(number: int, inputs: int, outputs: int, extents: int) -> Any:
    owner = owner_of(number)
    # Copies: the function may keep what it is given, or write to it.
    found = owner.call.evaluate(*(a.copy() for a in _arrays(owner.inputs, inputs, extents)))
    return _arrays([Type(I64)] * len(found), outputs, extents), found


def _results(number: int, inputs: int, outputs: int, extents: int) -> Any:
    owner = owner_of(number)
    (token,) = _arrays([Type(I64)], inputs, extents)
    targets = _arrays(owner.outputs, outputs, extents)
    return targets, owner.results.evaluate(token, *(n for t in targets for n in t.shape))


def _arrays(types: Sequence[Type], pointers: int, extents: int) -> list[Array]:
    """The arrays in C order that a table points at; extents are told one after the other."""
    arrays: list[Array] = []
    for k, type_ in enumerate(types):
        shape = tuple((ctypes.c_int64 * type_.rank).from_address(extents))
        extents += _WORD * type_.rank
        size = math.prod(shape) * type_.dtype.itemsize
        start = ctypes.c_void_p.from_address(pointers + _WORD * k).value or 0
        memory = (ctypes.c_char * size).from_address(start) if size else bytearray()
        arrays.append(np.frombuffer(memory, type_.dtype).reshape(shape))
    return arrays
