"""Python's operators, by name of the op each builds.

Values, rule patterns and the user's variables all take arithmetic from here, so `x - x` means the
same in a program, in a rule and in a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Filled by `jitgraph.ir.ops.elementwise` when the table exists: operator name -> op.
TABLE: dict[str, Callable[..., Any]] = {}


def _binary(name: str) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return TABLE[name](self, other)

    return method


def _reflected(name: str) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return TABLE[name](other, self)

    return method


def _unary(name: str) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return TABLE[name](self)

    return method


class Operators:
    """Mixin: arithmetic, bitwise and ordering operators. `==` stays identity here."""

    __slots__ = ()
    #: NumPy arrays on the left defer to us instead of building object arrays.
    __array_priority__ = 1000
    __array_ufunc__: Any = None

    __add__ = _binary("add")
    __radd__ = _reflected("add")
    __sub__ = _binary("subtract")
    __rsub__ = _reflected("subtract")
    __mul__ = _binary("multiply")
    __rmul__ = _reflected("multiply")
    __truediv__ = _binary("divide")
    __rtruediv__ = _reflected("divide")
    __floordiv__ = _binary("floor_divide")
    __rfloordiv__ = _reflected("floor_divide")
    __mod__ = _binary("remainder")
    __rmod__ = _reflected("remainder")
    __pow__ = _binary("power")
    __rpow__ = _reflected("power")
    __and__ = _binary("bitwise_and")
    __rand__ = _reflected("bitwise_and")
    __or__ = _binary("bitwise_or")
    __ror__ = _reflected("bitwise_or")
    __xor__ = _binary("bitwise_xor")
    __rxor__ = _reflected("bitwise_xor")
    __lshift__ = _binary("left_shift")
    __rlshift__ = _reflected("left_shift")
    __rshift__ = _binary("right_shift")
    __rrshift__ = _reflected("right_shift")
    __lt__ = _binary("less")
    __le__ = _binary("less_equal")
    __gt__ = _binary("greater")
    __ge__ = _binary("greater_equal")
    __neg__ = _unary("negative")
    __pos__ = _unary("positive")
    __abs__ = _unary("absolute")
    __invert__ = _unary("invert")
