"""What device functions are given and give: headers in, `DeviceArray` out."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.device_array import DeviceArray, is_foreign
from jitgraph.errors import DeviceError
from jitgraph.inputs import Argument, as_input
from jitgraph.location import caller_location
from jitgraph.runtime import devices
from jitgraph.runtime.device import Device, Header


def device_of(name: str) -> Device:
    """The device of a compiled function."""
    found = devices.device(name)
    assert found is not None
    return found


def header(device: Device, argument: Argument, value: Any) -> Header:
    """The header of an input's array, on the device; numbers stay on the host. Raises InputError,
    DTypeError, ShapeError or DeviceError."""
    variable = argument.variable
    if is_foreign(value):
        value = DeviceArray.of(value, device)
    if type(value) is DeviceArray:
        if value.device.place != device.place:
            raise DeviceError(
                f"input {variable.describe()} of a function on {device.name} was given an array on "
                f"{value.device.name}",
                hint=f"move it: jitgraph.device_put(x, {device.name!r})",
                location=caller_location(),
            )
        found = value.header
        if variable.ndim and found.dtype == variable.dtype and found.ndim == variable.ndim:
            if value.device is not device:
                found = device.bring(found, value.device)
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


def wrapped(device: Device, result: Any) -> Any:
    """What a native program returned, as the user gets it."""
    if isinstance(result, np.ndarray):
        return DeviceArray(result, device)
    return None if result is None else [DeviceArray(r, device) for r in result]


def on_host(device: Device, value: Any) -> Any:
    """An input of a native program where NumPy can read it."""
    return device.download(value) if value.ndim else value
