"""The devices of this machine, by their names."""

from __future__ import annotations

import threading

from jitgraph.config import DEVICE_NAME, config
from jitgraph.errors import DeviceError, OptionError
from jitgraph.runtime.device import Device, Header

_found: dict[str, Device] = {}
# Re-entrant: finding a device may load code.
_lock = threading.RLock()


def device(name: str | Device | None = None) -> Device | None:
    """The device of this name, or of `jitgraph.config.device`; None for the CPU.

    "cuda" is the first GPU, "cuda:1" the second, "simulated" a GPU that the CPU pretends to be;
    "cuda:0/1" is another stream of work on the first GPU. Raises OptionError for another name and
    NoDeviceError where there is no such device.
    """
    if isinstance(name, Device):
        return name
    name = canonical(config.device if name is None else name)
    if name == "cpu":
        return None
    with _lock:
        if name not in _found:
            _found[name] = _made(name)
        return _found[name]


def canonical(name: str) -> str:
    """The one name of a device that has several ("cuda" is "cuda:0"). Raises OptionError."""
    match = DEVICE_NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise OptionError(
            f"there is no device {name!r}",
            hint='"cpu", "cuda", "cuda:1" and so on, "simulated"; with a stream: "cuda:0/1"',
        )
    if name == "cpu":
        return name
    kind, stream = name.partition(":")[0].partition("/")[0], int(match["stream"] or 0)
    place = f"{kind}:{int(match['number'] or 0)}" if kind == "cuda" else kind
    return f"{place}/{stream}" if stream else place


def found() -> list[Device]:
    """The devices that have been used so far."""
    return list(_found.values())


def names() -> list[str]:
    """The names of the devices that are to be had."""
    from jitgraph.runtime.cuda import count

    return ["cpu", *(f"cuda:{n}" for n in range(count())), "simulated"]


def _made(name: str) -> Device:
    place, _, stream = name.partition("/")
    if place == "simulated":
        from jitgraph.runtime.simulated import SimulatedDevice

        return SimulatedDevice(int(stream or 0))
    from jitgraph.runtime.cuda import CudaDevice

    return CudaDevice(int(place.partition(":")[2]), stream=int(stream or 0))


def device_of(header: Header) -> Device:
    """The device that a header's memory is on."""
    for known in _found.values():
        if known.owns(header):
            return known
    raise DeviceError("the array is on no device")
