"""Python numbers that are not known yet: arguments of functions under `jit`.

NumPy lets Python's numbers adapt to the arrays beside them (NEP 50): `x * 2.5` is of x's dtype if x
is a float. `Number` does the same. Arithmetic of Python's numbers gives Python's numbers; NumPy's
functions make arrays of rank 0 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import cast
from jitgraph.ir.operators import TABLE
from jitgraph.ir.types import I64, Type, kind_of
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.tensor.operands import WEAK
from jitgraph.tensor.variable import Variable

#: Python's kinds of numbers that adapt, by the kind of dtype that holds them.
KINDS: dict[str, type | None] = {"b": None, "i": int, "f": float, "c": complex}


def _is_number(operand: Any) -> bool:
    return type(operand) in WEAK or isinstance(operand, Number | bool)


def _counted(number: Any) -> Any:
    """A number as arithmetic takes it: True is 1."""
    if isinstance(number, Number) and number.dtype.kind == "b":
        return Number.of(cast(number, I64))
    return int(number) if isinstance(number, bool) else number


def _binary(name: str, *, reflected: bool = False) -> Callable[[Any, Any], Any]:
    def method(self: Number, other: Any) -> Any:
        if not _is_number(other):
            return TABLE[name](other, self) if reflected else TABLE[name](self, other)
        a, b = _counted(self), _counted(other)
        return Number.of(TABLE[name](b, a) if reflected else TABLE[name](a, b))

    return method


def _unary(name: str) -> Callable[[Any], Any]:
    return lambda self: Number.of(TABLE[name](_counted(self)))


class Number(Variable):
    """A Python int, float, complex or bool without its value."""

    __slots__ = ()
    expression_class = Variable
    __hash__ = Value.__hash__

    @classmethod
    def argument(cls, kind: type, name: str) -> Number:
        """An unknown number of one of Python's kinds."""
        return cls(Type(np.dtype(kind)), None, name, caller_location())

    @classmethod
    def of(cls, value: Value) -> Number:
        """A value that Python's own arithmetic would have given."""
        return cls(value.type, value.op)

    @property
    def weak(self) -> type | None:
        return KINDS[kind_of(self.dtype)]

    __add__, __radd__ = _binary("add"), _binary("add", reflected=True)
    __sub__, __rsub__ = _binary("subtract"), _binary("subtract", reflected=True)
    __mul__, __rmul__ = _binary("multiply"), _binary("multiply", reflected=True)
    __truediv__, __rtruediv__ = _binary("divide"), _binary("divide", reflected=True)
    __floordiv__ = _binary("floor_divide")
    __rfloordiv__ = _binary("floor_divide", reflected=True)
    __mod__, __rmod__ = _binary("remainder"), _binary("remainder", reflected=True)
    __pow__, __rpow__ = _binary("power"), _binary("power", reflected=True)
    __neg__, __pos__, __abs__ = _unary("negative"), _unary("positive"), _unary("absolute")
