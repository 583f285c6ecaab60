"""Types as Theano's programs see them: `TensorType("float64", (False, False))("x")`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.config import config
from jitgraph.errors import DTypeError
from jitgraph.ir.types import Bundle, Dim, Type, as_dtype, kind_of
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.tensor.constructors import LETTERS
from jitgraph.tensor.operands import as_tensor, speaking

#: What is known of each kind's shape: whether an axis broadcasts.
KINDS: dict[str, tuple[bool, ...]] = {
    "scalar": (), "vector": (False,), "row": (True, False), "col": (False, True),
    "matrix": (False, False), **{f"tensor{rank}": (False,) * rank for rank in range(3, 8)},
}  # fmt: skip


#: The class of variables that types make, which `variables` puts here.
VARIABLE: type[Value] | None = None


def named_dtype(dtype: Any) -> Any:
    """A dtype; "floatX" stands for that of the settings."""
    return config.floatX if isinstance(dtype, str) and dtype == "floatX" else dtype


class TensorType(Type):
    """A dtype, and for each axis whether it broadcasts. A call makes a variable of this type."""

    __slots__ = ()

    def __init__(
        self, dtype: Any, broadcastable: Sequence[bool | Dim] = (), name: str | None = None
    ) -> None:
        shape = tuple(({True: 1, False: None}[d] if isinstance(d, bool | np.bool_) else d)
                      for d in broadcastable)  # fmt: skip
        super().__init__(as_dtype(named_dtype(dtype)), shape)

    def __call__(self, name: str | None = None) -> Any:
        if name is not None and not isinstance(name, str):
            raise DTypeError(f"a name must be text, not {name!r}")
        assert VARIABLE is not None
        made = VARIABLE(self, None, name, caller_location())
        made.__dict__["declared"] = True
        return made

    make_variable = __call__

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.rank

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """Which axes are known to have extent 1."""
        return tuple(d == 1 for d in self.shape)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype itself."""
        return self.dtype

    def clone(self, dtype: Any = None, broadcastable: Any = None) -> TensorType:
        """The type with another dtype or pattern."""
        return TensorType(self.dtype if dtype is None else dtype,
                          self.shape if broadcastable is None else broadcastable)  # fmt: skip

    def filter(self, data: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        """An array of this type, from something that is as good; raises TypeError."""
        array = np.asarray(data)
        exact = array.dtype == self.dtype
        if strict and not (exact and isinstance(data, np.ndarray)):
            raise TypeError(f"{self} was given {type(data).__name__} of {array.dtype}")
        if not (exact or allow_downcast or _fits(array, self.dtype, data)):
            raise TypeError(f"{self} cannot hold {array.dtype} without loss")
        if array.ndim != self.rank:
            raise TypeError(f"{self} has {self.rank} dimensions, the value {array.ndim}")
        return array.astype(self.dtype, copy=False)

    def filter_variable(self, other: Any, allow_convert: bool = True) -> Any:
        """A variable of this type."""
        assert VARIABLE is not None
        with speaking(VARIABLE):
            return as_tensor(other, self.dtype)

    def is_super(self, other: Type) -> bool:
        """Whether values of the other type are of this one."""
        return self.accepts(other)

    def values_eq(self, a: Any, b: Any) -> bool:
        """Whether two arrays are the same."""
        return bool(np.array_equal(a, b, equal_nan=True))

    def values_eq_approx(self, a: Any, b: Any, **tolerances: Any) -> bool:
        """Whether two arrays are close."""
        return bool(np.allclose(a, b, equal_nan=True, **tolerances))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Type) or isinstance(other, Bundle):
            return NotImplemented
        return self.dtype == other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    def __repr__(self) -> str:
        pattern = self.broadcastable
        kind = next((k for k, known in KINDS.items() if known == pattern), None)
        return f"TensorType({self.dtype}, {kind or pattern})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorType, (self.dtype, self.shape)


def _fits(array: np.ndarray[Any, Any], dtype: np.dtype[Any], given: Any) -> bool:
    if np.can_cast(array.dtype, dtype, "safe"):
        return True
    if isinstance(given, np.ndarray):
        return False
    return bool(type(given) is float and kind_of(dtype) == "f") or bool(
        np.array_equal(array.astype(dtype), array)
    )


_KNOWN: dict[Type, TensorType] = {}


def type_as_seen(type_: Type) -> Any:
    """The one `TensorType` of a type, so that `x.type is T.dmatrix` holds."""
    if isinstance(type_, TensorType | Bundle):
        return type_
    known = _KNOWN.get(type_)
    if known is None:
        known = TensorType(type_.dtype, type_.shape)
        if all(d is None or d == 1 for d in type_.shape):
            _KNOWN[known] = known
    return known


def _named() -> dict[str, TensorType]:
    made = {}
    for kind, pattern in KINDS.items():
        for letter, dtype in LETTERS.items():
            type_ = TensorType(dtype, pattern)
            made[letter + kind] = _KNOWN[type_] = type_
    return made


#: The types by the names of their constructors: `dmatrix`, `lscalar`, ...
NAMED = _named()


class Generic:
    """The type of what is no array; only for `isinstance` and comparisons."""

    def __repr__(self) -> str:
        return "<theano.gof.type.Generic>"


generic = Generic()


def is_variable(x: Any) -> bool:
    """Whether x is symbolic."""
    return isinstance(x, Value)
