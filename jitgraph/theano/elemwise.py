"""Classes of ops, for `isinstance(node.op, T.Elemwise)` and the few that programs apply."""

from __future__ import annotations

from typing import Any

from jitgraph.ir.elementwise import Elementwise
from jitgraph.theano import basic
from jitgraph.theano.scalarops import ScalarOp


class _Kind(type):
    """Membership is asked of an op's declaration."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return bool(cls.covers(instance))  # type: ignore[attr-defined]


class Elemwise(metaclass=_Kind):
    """Ops that go element by element. A call applies a scalar op to arrays."""

    def __init__(self, scalar_op: Any, inplace_pattern: Any = None, name: str | None = None,
                 **options: Any) -> None:  # fmt: skip
        self.scalar_op, self.name = scalar_op, name

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.scalar_op(*inputs)

    @staticmethod
    def covers(op: Any) -> bool:
        """Whether an op is of this kind."""
        return isinstance(op, Elementwise | ScalarOp)


class CAReduce(metaclass=_Kind):
    """Reductions. A call reduces over axes."""

    names = frozenset({"sum", "prod", "max", "min", "any", "all"})
    function: Any = None

    def __init__(self, axis: Any = None, dtype: Any = None, acc_dtype: Any = None) -> None:
        self.axis, self.dtype = axis, dtype

    def __call__(self, x: Any) -> Any:
        return type(self).function(x, self.axis)

    @classmethod
    def covers(cls, op: Any) -> bool:
        """Whether an op is of this kind."""
        name: str = getattr(op, "name", None) or ""
        return name.startswith("reduce_") and name.removeprefix("reduce_") in cls.names


class Sum(CAReduce):
    """Sums."""

    names, function = frozenset({"sum"}), staticmethod(basic.sum)


class Prod(CAReduce):
    """Products."""

    names, function = frozenset({"prod"}), staticmethod(basic.prod)


class All(CAReduce):
    """Whether all are true."""

    names = frozenset({"all"})
    function = staticmethod(lambda x, axis: x.all(axis))


class Any_(CAReduce):  # noqa: N801  (`Any` is Theano's name)
    """Whether one is true."""

    names = frozenset({"any"})
    function = staticmethod(lambda x, axis: x.any(axis))


class Subtensor(metaclass=_Kind):
    """Slices."""

    @staticmethod
    def covers(op: Any) -> bool:
        """Whether an op is of this kind."""
        return getattr(op, "name", "") in ("slice", "gather")


AdvancedSubtensor = AdvancedSubtensor1 = Subtensor


class IncSubtensor(metaclass=_Kind):
    """Writing to a part."""

    @staticmethod
    def covers(op: Any) -> bool:
        """Whether an op is of this kind."""
        return getattr(op, "name", "") in ("set_slice", "add_slice", "scatter")


AdvancedIncSubtensor = AdvancedIncSubtensor1 = IncSubtensor
