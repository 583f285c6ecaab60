"""Run as a program: native code on arrays that end or begin at a page nobody may touch.

A load or a store beyond an array is a crash; the last line printed names the variant.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import sys
from typing import Any

import numpy as np

import jitgraph as jg
from jitgraph.codegen import pyobjects as py
from jitgraph.ir import interpreter
from jitgraph.tensor.variable import Variable
from tests.codegen.variants import VARIANTS, sizes_around
from tests.native import compiled

_PAGE = mmap.PAGESIZE
_SPACE = 256 * _PAGE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Arena:
    """Pages that may be used, between two that may not."""

    def __init__(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        start: int = _libc.mmap(None, _SPACE + 2 * _PAGE, 0, flags, -1, 0)
        self.begin = start + _PAGE
        assert _libc.mprotect(self.begin, _SPACE, mmap.PROT_READ | mmap.PROT_WRITE) == 0

    def place(self, size: int, *, at_end: bool) -> int:
        """The address of `size` bytes that touch the page after, or before, the arena."""
        assert size <= _SPACE
        return self.begin + _SPACE - size if at_end else self.begin

    def holding(self, array: np.ndarray[Any, Any], *, at_end: bool) -> np.ndarray[Any, Any]:
        """The array's numbers, in the same layout, within the arena."""
        low, high = np.lib.array_utils.byte_bounds(array) if array.size else (0, 0)
        start = self.place(high - low, at_end=at_end)
        first = array.__array_interface__["data"][0] - low if array.size else 0
        memory: Any = (ctypes.c_char * (high - low)).from_address(start)
        held: np.ndarray[Any, Any] = np.ndarray(
            array.shape, array.dtype, memory, first, array.strides
        )
        held[...] = array
        return held


ARENAS = [Arena() for _ in range(4)]


def read_within(name: str) -> None:
    """All operands of a variant in arenas of their own."""
    variant = VARIANTS[name]
    fn = variant.function()
    native = compiled(fn, "ieee", arrays=variant.arrays(37))
    for n in sizes_around(variant.lanes(64)):
        if not n:
            continue
        arrays = variant.arrays(n)
        want = interpreter.run(fn, arrays)
        for at_end in (True, False):
            held = [arena.holding(a, at_end=at_end)
                    for arena, a in zip(ARENAS, arrays, strict=False)]  # fmt: skip
            for g, w in zip(native(*held), want, strict=True):
                np.testing.assert_array_equal(g, w, err_msg=f"{name}, n = {n}")


def written_within(name: str) -> None:
    """The first result of a variant in an arena: it is the array of a shared variable."""
    variant = VARIANTS[name]
    fn = variant.function()
    params = [Variable(p.type, name=p.name) for p in fn.params]
    made = variant.build(*params)
    update = made[0] if isinstance(made, list) else made
    if not update.ndim:
        return
    target = jg.shared(np.empty((0,) * update.ndim, update.dtype))
    step = jg.function(params, [], updates={target: update}, algebra="ieee")
    for n in sizes_around(variant.lanes(64))[2::2]:
        arrays = variant.arrays(n)
        want = interpreter.run(fn, arrays)[0]
        for at_end in (True, False):
            # Two arrays take turns; the next call but one writes to this one.
            step(*arrays)
            step(*arrays)
            cell = ctypes.c_void_p.from_address(id(target.get_value(borrow=True)) + py.ARRAY_DATA)
            home, cell.value = cell.value, ARENAS[0].place(want.nbytes, at_end=at_end)
            step(*arrays)
            step(*arrays)
            array = target.get_value(borrow=True)
            assert array.ctypes.data == cell.value, f"{name} was written elsewhere"
            np.testing.assert_array_equal(array, want, err_msg=f"{name}, n = {n}")
            cell.value = home
            del array


def main(names: list[str]) -> None:
    faulthandler.enable()
    for name in names:
        print("read", name, flush=True)
        read_within(name)
        print("written", name, flush=True)
        written_within(name)


if __name__ == "__main__":
    main(sys.argv[1:] or list(VARIANTS))
