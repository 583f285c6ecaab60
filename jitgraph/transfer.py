"""What device functions are given and give: headers in, `DeviceArray` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.device_array import DeviceArray, is_foreign
from jitgraph.errors import DeviceError
from jitgraph.inputs import Argument, as_input
from jitgraph.ir.types import Type
from jitgraph.location import caller_location
from jitgraph.runtime import devices
from jitgraph.runtime.device import Device, Header


class Gate:
    """The way into and out of a function on a device."""

    def __init__(self, device: str, arguments: Sequence[Argument]) -> None:
        found = devices.device(device)
        assert found is not None
        self.device = found
        self._arguments = arguments
        #: The dtype and rank of arrays that need no closer look; None where all do.
        self._plain = [_plain(argument.variable.type) for argument in arguments]

    def headers(self, values: Sequence[Any]) -> list[Header]:
        """Values of the inputs as a native program takes them."""
        device = self.device
        return [
            value._header
            if plain is not None and type(value) is DeviceArray and value.device is device
            and (value._header.dtype, value._header.ndim) == plain
            else header(device, argument, value)
            for value, plain, argument in zip(values, self._plain, self._arguments, strict=True)
        ]  # fmt: skip

    def results(self, found: Any) -> Any:
        """What a native program returned, as the user gets it: a `DeviceArray`, a list of such, or
        None."""
        if found is None:
            return None
        if type(found) is list:
            return [DeviceArray(result, self.device) for result in found]
        return DeviceArray(found, self.device)

    def on_host(self, value: Any) -> Any:
        """An input of a native program where NumPy can read it."""
        return self.device.download(value) if value.ndim else value


def _plain(type_: Type) -> tuple[np.dtype[Any], int] | None:
    numbers = any(isinstance(extent, int) for extent in type_.shape)
    return None if numbers or not type_.rank else (type_.dtype, type_.rank)


def header(device: Device, argument: Argument, value: Any) -> Header:
    """The header of an input's array, on the device; numbers stay on the host. Raises InputError,
    DTypeError, ShapeError or DeviceError."""
    variable = argument.variable
    if is_foreign(value):
        value = DeviceArray.of(value)
    if type(value) is DeviceArray:
        if value.device is not device:
            raise DeviceError(
                f"input {variable.describe()} of a function on {device.name} was given an array on "
                f"{value.device.name}",
                hint=f"move it: jitgraph.device_put(x, {device.name!r})",
                location=caller_location(),
            )
        found = value._header
        if variable.ndim and found.dtype == variable.dtype and found.ndim == variable.ndim:
            return as_known(argument, found)
        value = np.asarray(value)
    array: Header = as_input(argument, value)
    return device.upload(array) if variable.ndim else array


def as_known(argument: Argument, found: Header) -> Header:
    """A header of the right dtype and rank, whose known extents are those of the input."""
    known = argument.variable.type.shape
    if any(isinstance(k, int) and k != n for k, n in zip(known, found.shape, strict=True)):
        as_input(argument, np.empty(found.shape, found.dtype))
    return found
