"""Bits packed into bytes, and unpacked."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, OptionError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import bitwise_and, left_shift, maximum, not_equal, right_shift
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.types import normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions
from jitgraph.tensor.operands import as_tensor, public
from jitgraph.tensor.padding import pad
from jitgraph.tensor.shaping import length

_BITS = np.arange(8, dtype=np.uint8)


def _shifts(bitorder: str) -> Any:
    if bitorder not in ("big", "little"):
        raise OptionError(f"bitorder is {bitorder!r}", hint="'big' or 'little'")
    return _BITS[::-1].copy() if bitorder == "big" else _BITS


def _last(x: Value, axis: int | None) -> tuple[Value, list[int]]:
    """x with an axis last (flattened without one), and the order that brings it back."""
    if axis is None:
        return movement.reshape(x, (-1,)), [0]
    place = normalise_axis(axis, x.ndim)
    order = [*(a for a in range(x.ndim) if a != place), place]
    return movement.transpose(x, order), [order.index(a) for a in range(x.ndim)]


@public
def packbits(a: ArrayLike, axis: int | None = None, bitorder: str = "big") -> Value:
    """Eight elements, as bits (0 or not 0), in each byte along an axis or of the flattened array;
    zeros fill the last one."""
    shifts, x = _shifts(bitorder), as_tensor(a)
    if x.dtype.kind not in "biu":
        raise DTypeError(f"packbits takes bools and integers, not {x.type}")
    rows, back = _last(x, axis)
    extent = movement.dims(rows)[-1]
    bits = cast(not_equal(rows, 0), np.uint8)
    whole = pad(bits, [(0, 0)] * (rows.ndim - 1) + [(0, -extent % 8)])
    apart = movement.reshape(whole, (*movement.dims(rows)[:-1], (extent + 7) // 8, 8))
    packed = reductions.sum(left_shift(apart, shifts), -1, np.uint8)
    return movement.transpose(packed, back)


@public
def unpackbits(
    a: ArrayLike, axis: int | None = None, count: Any = None, bitorder: str = "big"
) -> Value:
    """The bits of bytes, eight elements each, along an axis or of the flattened array; `count` of
    them, with zeros where there are not so many, or so many less than all if it is negative."""
    shifts, x = _shifts(bitorder), as_tensor(a)
    if x.dtype != np.uint8:
        raise DTypeError(f"unpackbits takes uint8, not {x.type}")
    rows, back = _last(x, axis)
    wide = movement.expand_dims(rows, (rows.ndim,))
    bits = bitwise_and(right_shift(wide, shifts), np.uint8(1))
    lead, extent = movement.dims(rows)[:-1], 8 * movement.dims(rows)[-1]
    flat = movement.reshape(bits, (*lead, extent))
    if count is not None:
        wanted = length(count, "count") if isinstance(count, Value) or count >= 0 else (
            extent + int(count)
        )
        more = [(0, 0)] * len(lead) + [(0, maximum(wanted - extent, 0))]
        flat = slice_axis(pad(flat, more), len(lead), 0, wanted)
    return movement.transpose(flat, back)
