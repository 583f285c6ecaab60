"""The SSA graph: `Value` and `Op`, both immutable.

An expression the user builds is this graph. A `Value` is a parameter (its `op` is None) or the
result of an `Op`; an op holds its arguments, never its users, so graphs share freely and every
pass is `Function -> Function`.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from jitgraph.ir.operators import Operators
from jitgraph.ir.pickling import Before, is_listed, slots_of
from jitgraph.ir.types import Type, type_of
from jitgraph.location import Location

if TYPE_CHECKING:
    from jitgraph.ir.opdef import OpDef


class Literal:
    """A constant array, compared by dtype, shape and bits: 0.0 is not -0.0, a NaN equals itself."""

    __slots__ = ("_hash", "_key", "_splat", "array")

    def __init__(self, array: Any) -> None:
        given = np.asarray(array)
        made = np.array(given, given.dtype.newbyteorder("="), order="C")
        made.flags.writeable = False
        self.array: Final[np.ndarray[Any, Any]] = made
        self._key = (made.dtype, made.shape, made.tobytes())
        self._hash = hash(self._key)
        self._splat: tuple[Any] | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Literal) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return Literal, (self.array,)

    def __deepcopy__(self, memo: object) -> Literal:
        return self

    @property
    def splat(self) -> Any:
        """The one element all are equal to (by bits), or None."""
        if self._splat is None:
            self._splat = (self._common_element(),)
        return self._splat[0]

    def _common_element(self) -> Any:
        flat = self.array.reshape(-1)
        data, size = self._key[2], self.array.dtype.itemsize
        # Looking at two elements spares most large constants the comparison of all.
        if flat.size == 0 or (flat.size > 1 and data[:size] != data[size : 2 * size]):
            return None
        return flat[0] if flat.size == 1 or data == data[:size] * flat.size else None


class Value(Operators):
    """An SSA value. Arithmetic on values builds ops; equality of values is identity."""

    __slots__ = ("__weakref__", "location", "name", "op", "type")
    #: `int`, `float` or `complex` for a Python number, which adapts to the arrays beside it.
    weak: ClassVar[Any] = None
    #: Slots that neither pickles nor copies keep.
    transient: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        type: Type,
        op: Op | None = None,
        name: str | None = None,
        location: Location | None = None,
    ) -> None:
        self.type = type
        self.op = op
        self.name = name
        self.location = op.location if op is not None else location

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    @property
    def literal(self) -> Literal | None:
        """The constant this value is, or None."""
        op = self.op
        return op.attrs["value"] if op is not None and op.definition.name == "constant" else None

    def is_op(self, name: str) -> bool:
        return self.op is not None and self.op.definition.name == name

    def describe(self) -> str:
        """A short name for messages: the user's name, the constant, or the op that made it."""
        if self.name:
            return self.name
        if self.literal is not None:
            return str(self.literal.array) if self.literal.array.size < 8 else "constant"
        return f"{self.op.name}(...)" if self.op is not None else "input"

    def __reduce__(self) -> tuple[Any, ...]:
        op = self.op
        before = None if op is None or is_listed(self) else Before(topological(op.args))
        return copyreg.__newobj__, (type(self),), (before, slots_of(self))  # type: ignore[attr-defined]

    def __setstate__(self, state: tuple[Any, dict[str, Any]]) -> None:
        for name, held in state[1].items():
            setattr(self, name, held)


class Op:
    """The application of a definition to arguments. Attributes are never changed after birth."""

    __slots__ = ("args", "attrs", "definition", "location", "type")

    def __init__(
        self,
        definition: OpDef,
        args: tuple[Value, ...],
        attrs: Mapping[str, Any],
        type: Type,
        location: Location | None,
    ) -> None:
        self.definition = definition
        self.args = args
        self.attrs = attrs
        self.type = type
        self.location = location

    @property
    def name(self) -> str:
        return self.definition.name

    def __reduce__(self) -> tuple[Any, ...]:
        return Op, (self.definition, self.args, dict(self.attrs), self.type, self.location)

    def __repr__(self) -> str:
        return f"<{self.name} : {self.type}>"


def literal_type(literal: Literal) -> Type:
    return type_of(literal.array)


def topological(
    roots: Iterable[Value], *, stop: frozenset[Value] | set[Value] = frozenset()
) -> list[Value]:
    """Every value the roots depend on, arguments first; values in `stop` are not looked into.

    Iterative, since graphs of 100,000 ops in a row are legal.
    """
    order: list[Value] = []
    done: set[Value] = set()
    opened: set[Value] = set()  # so that a cycle, which the verifier will name, comes to an end
    pending = list(roots)[::-1]
    while pending:
        value = pending[-1]
        if value not in done:
            op = value.op
            if op is not None and value not in opened and value not in stop:
                opened.add(value)
                waiting = [a for a in op.args if a not in done]
                if waiting:
                    pending += waiting[::-1]
                    continue
            done.add(value)
            order.append(value)
        pending.pop()
    return order
