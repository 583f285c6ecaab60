"""How an array lies in memory, as far as generated code is made for it.

| order | what is known |
|---|---|
| `"C"` | dense, the last axis innermost |
| `"F"` | dense, the first axis innermost, and not in C order as well |
| `"?1"`, ... | by axis: `1` neighbours, `0` the same element over and over, `?` any stride |

Every array has exactly one order. The native check (`@memory_order` in `codegen/entry.py`) computes
the same as `order_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

Order: TypeAlias = str

C: Final[Order] = "C"
FORTRAN: Final[Order] = "F"
ANY, UNIT, ZERO = "?", "1", "0"
#: What an axis may be, in the order of the numbers that stand for it in codes.
KINDS: Final = (ANY, UNIT, ZERO)
#: A code has two bits for an axis; further axes may have any stride.
CODED_AXES: Final = 32
C_CODE: Final = 2**64 - 1
FORTRAN_CODE: Final = 2**64 - 2


def order_of(array: np.ndarray[Any, Any]) -> Order:
    """The order of an array. The stride of an axis of one element says nothing and counts as 0."""
    if array.flags.c_contiguous:
        return C
    if array.flags.f_contiguous:
        return FORTRAN

    def kind(axis: int) -> str:
        stride = array.strides[axis]
        if axis >= CODED_AXES:
            return ANY
        if array.shape[axis] == 1 or stride == 0:
            return ZERO
        return UNIT if stride == array.itemsize else ANY

    return "".join(map(kind, range(array.ndim)))


def order_code(order: Order) -> int:
    """An order as a number of 64 bits."""
    if order in (C, FORTRAN):
        return C_CODE if order == C else FORTRAN_CODE
    return sum(KINDS.index(kind) << 2 * axis for axis, kind in enumerate(order))


def open_axes(order: Order) -> Sequence[int]:
    """The axes whose strides only the call tells."""
    return [axis for axis, kind in enumerate(order) if kind == ANY]


def describe(order: Order) -> str:
    """The order for people to read."""
    names = {C: "contiguous", FORTRAN: "Fortran"}
    return names.get(order) or f"strided({', '.join(order)})"
