"""Gradients that an op says it does not have: an error where one is asked for, else never seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import GradientError
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.ops.marks import CustomRule, with_gradient
from jitgraph.ir.types import kind_of
from jitgraph.ir.values import Value, topological

NullTypeGradError = GradientError


class NullType:
    """The type of what is not there. A call makes such a gradient."""

    def __init__(self, why_null: str = "(no explanation given)") -> None:
        self.why_null = why_null

    def __call__(self, name: str | None = None) -> Undefined:
        return Undefined(self)


class Undefined:
    """A gradient that is not there, in what the `grad` of an op gives."""

    def __init__(self, type: NullType) -> None:
        self.type = type


def grad_undefined(op: Any, x_pos: int, x: Any, comment: str = "") -> Undefined:
    """For the `grad` of an Op: there is none by this input."""
    why = f"{op} has no gradient by its input {x_pos} ({_described(x)}). {comment}"
    return NullType(why.strip())()


def grad_not_implemented(op: Any, x_pos: int, x: Any, comment: str = "") -> Undefined:
    """For the `grad` of an Op: nobody has written that by this input."""
    why = f"the gradient of {op} by its input {x_pos} ({_described(x)}) is not implemented. "
    return NullType((why + comment).strip())()


def _described(x: Any) -> str:
    return x.describe() if isinstance(x, Value) else repr(x)


class _Missing(CustomRule):
    """Marks what stands for a gradient that is not there; the text says why."""

    __slots__ = ()


def _refused(gs: Sequence[Value], operands: Sequence[Value]) -> list[Value | None]:
    return []


def adjoint(given: Any, x: Value) -> Value | None:
    """What the `grad` of an op gives for its input x, as an adjoint. One that is not there is NaN:
    in a loop it may be computed although nobody needs it."""
    if isinstance(given, Undefined):
        rule = _Missing.of(given.type.why_null, _refused, lambda: rule)
        missing = zeros_like(x)
        if kind_of(x.dtype) in "fc":
            missing = missing + np.nan
        return with_gradient([missing], [], [], rule)[0]
    return given if isinstance(given, Value) else None


def checked(found: Any) -> Any:
    """Derivatives; raises NullTypeGradError where one is made of what is not defined."""
    listed: Iterable[Any] = found if isinstance(found, list | tuple) else [found]
    for value in topological([v for v in listed if isinstance(v, Value)]):
        rule = value.op.attrs.get("rule") if value.op is not None else None
        if isinstance(rule, _Missing):
            raise NullTypeGradError(str(rule))
    return found
