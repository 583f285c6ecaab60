"""Products of complex elements, as loops: their parts do not combine one by one.

`reductions` finds them in a table, since loops are built on what it has.
"""

from __future__ import annotations

import numpy as np

from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import multiply
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.control import fori_loop, loop_rows
from jitgraph.tensor.indexing import getitem
from jitgraph.tensor.operands import constant
from jitgraph.tensor.padding import pad
from jitgraph.tensor.reductions import COMPLEX

#: So many products are multiplied up side by side.
_LANES = 32


def prod(x: Value, axes: tuple[int, ...]) -> Value:
    """The product along axes."""
    kept = [a for a in range(x.ndim) if a not in axes]
    turned = movement.transpose(x, [*axes, *kept])
    sizes = [movement.dim(x, a) for a in kept]
    flat = movement.reshape(turned, (movement.product([movement.dim(x, a) for a in axes]), *sizes))
    count = movement.dim(flat, 0)
    if isinstance(count, int) and count <= _LANES:
        return _halved(flat, count, x)
    more = [(0, -count % _LANES), *[(0, 0)] * len(kept)]
    rounds = (count + _LANES - 1) // _LANES
    rows = movement.reshape(pad(flat, more, constant_values=1), (rounds, _LANES, *sizes))
    first = movement.broadcast_to(constant(np.ones((), x.dtype)), (_LANES, *sizes))
    lanes: Value = fori_loop(0, rounds, lambda k, y: y * getitem(rows, k), first)
    return _halved(lanes, _LANES, x)


def _halved(rows: Value, count: int, x: Value) -> Value:
    """The product of a known number of rows, by halves."""
    if not count:
        return movement.broadcast_to(constant(np.ones((), x.dtype)), movement.dims(rows)[1:])
    while count > 1:
        half, odd = divmod(count, 2)
        low, high = slice_axis(rows, 0, 0, half), slice_axis(rows, 0, half, half)
        both: Value = multiply(low, high)
        if odd:
            last = slice_axis(rows, 0, count - 1, 1)
            start = multiply(slice_axis(both, 0, 0, 1), last)
            both = both.at[0].set(getitem(start, 0))  # type: ignore[attr-defined]
        rows, count = both, half
    return movement.squeeze(rows, (0,))


def cumprod(x: Value, axis: int) -> Value:
    """The product of all elements up to each along an axis."""
    order = [axis, *(a for a in range(x.ndim) if a != axis)]
    rows = movement.transpose(x, order)
    one = movement.broadcast_to(constant(np.ones((), x.dtype)), movement.dims(rows)[1:])

    def step(carried: Value, row: Value) -> tuple[Value, Value]:
        made = multiply(carried, row)
        return made, made

    _, found = loop_rows(step, one, rows)
    return movement.transpose(found, [order.index(a) for a in range(x.ndim)])


COMPLEX.update(prod=prod, cumprod=cumprod)
