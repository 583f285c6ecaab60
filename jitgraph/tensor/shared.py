"""Shared variables: arrays that compiled functions read and update, kept between calls."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DeviceError, DTypeError, ShapeError
from jitgraph.ir.pickling import slots_of
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

    __slots__ = ("allow_downcast", "default_update", "serial", "slots", "strict")
    transient = (*Variable.transient, "serial")
    expression_class = Variable

    def __init__(
        self,
        value: np.ndarray[Any, Any],
        name: str | None,
        *,
        strict: bool = False,
        allow_downcast: bool | None = None,
    ) -> None:
        super().__init__(
            Type(as_dtype(value.dtype), (None,) * value.ndim), None, name, caller_location()
        )
        self.slots = Slots(value)
        self.default_update: Value | None = None
        self.strict = strict
        self.allow_downcast = allow_downcast
        #: Greater than that of any made before.
        self.serial = next(_serials)

    def get_value(
        self, borrow: bool = False, return_internal_type: bool = False
    ) -> np.ndarray[Any, Any]:
        """The present value: a copy, or with `borrow` the array itself (do not write to it). It is
        a NumPy array in any case; the value of a variable on a device is copied from there."""
        value: np.ndarray[Any, Any] = self.slots.host()
        return value if borrow or self.slots.device is not None else value.copy()

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Replace the value. It must convert to the variable's dtype without loss and have its
        rank; with `borrow` a fitting array is taken as it is. Raises DTypeError or ShapeError."""
        self.slots.set(_fitting(value, self, borrow))

    @property
    def device(self) -> str:
        """Where the value lies: "cpu", or the name of a device."""
        return "cpu" if self.slots.device is None else self.slots.device.name

    def __setstate__(self, state: tuple[Any, dict[str, Any]]) -> None:
        super().__setstate__(state)
        self.serial = next(_serials)

    def __copy__(self) -> SharedVariable:
        """Another shared variable with the same value, which is its own from now on."""
        made = type(self).__new__(type(self))
        made.__setstate__((None, slots_of(self)))
        made.slots = Slots(self.get_value())
        return made

    def __repr__(self) -> str:
        dims = ", ".join(map(str, self.slots.get().shape))
        return f"{self.name or 'shared'}: {DTYPE_NAMES[self.dtype]}[{dims}] (shared)"


def settle(variables: Sequence[SharedVariable], device: str) -> None:
    """Let the values of all these lie where functions run that use them, or of none: raises
    DeviceError where other functions that use one run elsewhere, or for want of memory."""
    for variable in variables:
        home = variable.slots.home
        if home not in (None, device):
            raise DeviceError(
                f"{variable.describe()} is used by a function on {home}, and cannot be used by "
                f"one on {device} as well",
                hint=f"give all functions that share it one device, or let this one have a copy: "
                f"jitgraph.shared({variable.name or 'variable'}.get_value())",
                location=caller_location(),
            )
    new = [v for v in dict.fromkeys(variables) if v.slots.home is None]
    if device != "cpu":
        from jitgraph.runtime import devices

        found = devices.device(device)
        assert found is not None
        copies = [found.upload(v.slots.get()) for v in new]
        for variable, copied in zip(new, copies, strict=True):
            variable.slots.place(found, copied)
    for variable in new:
        variable.slots.home = device


def _fitting(value: Any, variable: SharedVariable, borrow: bool) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    dtype, name = variable.dtype, variable.describe()
    if array.ndim != variable.ndim:
        raise ShapeError(
            f"{name} has rank {variable.ndim}, the new value rank {array.ndim}",
            hint="make a new shared variable for another rank",
        )
    typed = isinstance(value, np.ndarray | np.generic)
    if variable.strict and not (typed and array.dtype == dtype):
        given = str(array.dtype) if typed else repr(value)
        raise DTypeError(
            f"{name} is strict: it holds arrays of {dtype}, and was given {given}",
            hint=f"convert it: np.asarray(value, {str(dtype)!r})",
        )
    if array.dtype != dtype and not _converts(array, dtype, typed, variable.allow_downcast):
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


def _converts(
    array: np.ndarray[Any, Any], dtype: np.dtype[Any], typed: bool, downcast: bool | None
) -> bool:
    """Arrays convert where NumPy calls it safe, and with `downcast` within a kind; Python numbers
    and lists adapt within a kind, unless it is False."""
    narrows = downcast or (downcast is None and not typed)
    return can_cast(array.dtype, dtype, "same_kind" if narrows else "safe") or (
        not typed and kind_of(array.dtype) in "if" and kind_of(dtype) in "iuf"
        and bool(np.all(array.astype(dtype) == array))
    )  # fmt: skip


def shared(
    value: Any,
    name: str | None = None,
    borrow: bool = False,
    *,
    strict: bool = False,
    allow_downcast: bool | None = None,
) -> SharedVariable:
    """A shared variable holding `value` (array, list or number). With `borrow` an array is not
    copied, and changes made to it outside are seen. `set_value` converts what loses nothing; arrays
    of wider dtypes with `allow_downcast`, and with `strict` nothing. Raises DTypeError for
    unsupported dtypes."""
    array = np.asarray(value)
    dtype = as_dtype(array.dtype)
    held = _held(array, dtype, borrow)
    return SharedVariable(held, name, strict=strict, allow_downcast=allow_downcast)
