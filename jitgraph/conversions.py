"""What arrays on devices are made into by themselves: arrays of another dtype, and copies in C
order of elements that lie apart. Each is a compiled function of one argument, kept by the device;
where the elements begin and what lies between them is not compiled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph import device_array
from jitgraph.device_array import DeviceArray
from jitgraph.function import function
from jitgraph.tensor.constructors import tensor
from jitgraph.tensor.math import cast

if TYPE_CHECKING:
    from jitgraph.runtime.device import Device, Header


def converted(header: Header, device: Device, dtype: np.dtype[Any]) -> DeviceArray:
    """A new array in C order of the elements of a header, which may lie in any way."""
    shape, flat = header.shape, header.squeeze()
    if flat.flags.c_contiguous:
        flat = flat.reshape(-1)
    if not flat.size:
        return DeviceArray(device.empty(shape, dtype), device)
    key = header.dtype, flat.ndim, dtype
    if key not in device.conversions:
        x = tensor(header.dtype, (None,) * flat.ndim)
        y = x.copy() if dtype == header.dtype else cast(x, dtype)
        device.conversions[key] = function([x], y, device=device.name, name="converted")
    made = device.conversions[key](DeviceArray(flat, device))
    return DeviceArray(made._header.reshape(shape), device)


device_array.convert = converted
