"""Shared variables: arrays that compiled functions read and update, kept between calls."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.types import DTYPE_NAMES, Type, as_dtype, can_cast, kind_of
from jitgraph.ir.values import Value, topological
from jitgraph.location import caller_location
from jitgraph.runtime.callable import Slots
from jitgraph.tensor.variable import Variable

_serials = itertools.count()


def made_since(serial: int, values: Sequence[Value]) -> list[SharedVariable]:
    """The shared variables among what the values are made of that are younger than `serial`."""
    leaves = (v for v in topological(values) if isinstance(v, SharedVariable))
    return [v for v in leaves if v.serial > serial]


def latest() -> int:
    """A serial number no shared variable has, greater than all so far."""
    return next(_serials)


class SharedVariable(Variable):
    """A variable with a value of its own, of fixed dtype and rank; its shape may change.

    Functions that use it read the value it has when they are called; `updates` give it a new one
    after all results are computed. One with a `default_update`, an expression, gets that from every
    function that uses it and does not say otherwise.
    """

    __slots__ = ("default_update", "serial", "slots")
    expression_class = Variable

    def __init__(self, value: np.ndarray[Any, Any], name: str | None) -> None:
        super().__init__(
            Type(as_dtype(value.dtype), (None,) * value.ndim), None, name, caller_location()
        )
        self.slots = Slots(value)
        self.default_update: Value | None = None
        #: Greater than that of any made before.
        self.serial = next(_serials)

    def get_value(self, borrow: bool = False) -> np.ndarray[Any, Any]:
        """The present value: a copy, or with `borrow` the array itself (do not write to it)."""
        value: np.ndarray[Any, Any] = self.slots.get()
        return value if borrow else value.copy()

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Replace the value. It must convert to the variable's dtype without loss and have its
        rank; with `borrow` a fitting array is taken as it is. Raises DTypeError or ShapeError."""
        self.slots.set(_fitting(value, self.dtype, self.ndim, borrow, self.describe()))

    def __repr__(self) -> str:
        dims = ", ".join(map(str, self.slots.get().shape))
        return f"{self.name or 'shared'}: {DTYPE_NAMES[self.dtype]}[{dims}] (shared)"


def _fitting(
    value: Any, dtype: np.dtype[Any], rank: int, borrow: bool, name: str
) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.ndim != rank:
        raise ShapeError(
            f"{name} has rank {rank}, the new value rank {array.ndim}",
            hint="make a new shared variable for another rank",
        )
    typed = isinstance(value, np.ndarray | np.generic)
    if array.dtype != dtype and not _converts(array, dtype, typed):
        raise DTypeError(
            f"{name} holds {dtype}, the new value {array.dtype}",
            hint=f"convert it: value.astype({str(dtype)!r})",
        )
    return _held(array, dtype, borrow)


def _held(array: np.ndarray[Any, Any], dtype: np.dtype[Any], borrow: bool) -> np.ndarray[Any, Any]:
    """The array as cells of shared variables want it; without `borrow` never the user's memory."""
    if borrow:
        return np.require(array, dtype=dtype, requirements=["C", "A"])
    return np.array(array, dtype=dtype, order="C")


def _converts(array: np.ndarray[Any, Any], dtype: np.dtype[Any], typed: bool) -> bool:
    """Arrays convert where NumPy calls it safe; Python numbers and lists adapt within a kind."""
    return can_cast(array.dtype, dtype, "safe" if typed else "same_kind") or (
        not typed and array.dtype.kind == "i" and kind_of(dtype) in "iuf"
        and bool(np.all(array.astype(dtype) == array))
    )  # fmt: skip


def shared(value: Any, name: str | None = None, borrow: bool = False) -> SharedVariable:
    """A shared variable holding `value` (array, list or number). With `borrow` an array is not
    copied, and changes made to it outside are seen. Raises DTypeError for unsupported dtypes."""
    array = np.asarray(value)
    dtype = as_dtype(array.dtype)
    return SharedVariable(_held(array, dtype, borrow), name)
