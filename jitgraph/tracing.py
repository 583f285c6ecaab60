"""Which extents a function under `jit` wants to know as numbers while it is traced.

Extents are symbols, so that one trace serves all shapes. `np.arange(len(x))`, `np.eye(x.shape[1])`
and `for row in x` need numbers. Whoever asks for one makes the trace start over with the extents it
depends on taken from the arguments, and what comes of it serves arguments of these extents only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from jitgraph.ir.values import Value
from jitgraph.tensor import variable

#: Number of an argument, and an axis of it.
Place: TypeAlias = tuple[int, int]


class Restart(BaseException):
    """The trace needs more extents than are known. No error, so that no program catches it."""

    def __init__(self, places: set[Place]) -> None:
        super().__init__(places)
        self.places = places


class _Tracing(threading.local):
    """The inputs of the function this thread is tracing; None if it is tracing none."""

    inputs: Sequence[Value] | None = None


_tracing = _Tracing()


def is_tracing() -> bool:
    """Whether this thread is tracing a function under `jit`."""
    return _tracing.inputs is not None


@contextmanager
def tracing(inputs: Sequence[Value]) -> Iterator[None]:
    """While a function of these inputs runs. May raise `Restart`."""
    _tracing.inputs = inputs
    try:
        yield
    finally:
        _tracing.inputs = None


def _fix_extents(wanted: Value) -> None:
    """Raise `Restart` if the number `wanted` could be known, were more extents known."""
    if _tracing.inputs is None:
        return
    places = _unknown_behind(wanted, _tracing.inputs)
    if places:
        raise Restart(places)


def _unknown_behind(wanted: Value, inputs: Sequence[Value]) -> set[Place]:
    """The unknown extents of inputs that a number is made of; none if it is made of their elements.

    The extents of a result may come from all extents of its operands, and those of a parameter of
    a loop's body from anything.
    """
    numbers = {value: k for k, value in enumerate(inputs)}
    unknown = {value: {(k, axis) for axis, extent in enumerate(value.type.shape)
                       if not isinstance(extent, int)}
               for value, k in numbers.items()}  # fmt: skip
    found: set[Place] = set()
    pending = [(wanted, False)]
    seen = set(pending)
    while pending:
        value, only_extents = pending.pop()
        if value.op is None:
            if not only_extents:
                return set()
            found |= unknown[value] if value in numbers else set().union(*unknown.values())
            continue
        below = only_extents
        if value.is_op("dim"):
            array = value.op.args[0]
            if array in numbers:
                found.add((numbers[array], value.op.attrs["axis"]))
                continue
            below = True
        more = [(a, below) for a in value.op.args if (a, below) not in seen]
        seen.update(more)
        pending += more
    return found


variable.FIX_EXTENTS = _fix_extents
