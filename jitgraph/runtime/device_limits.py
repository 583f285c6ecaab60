"""What a device can do, measured: bytes a second that its memory copies and reads. Kept on disk,
so a device is measured once."""

from __future__ import annotations

import ctypes
import math
from contextlib import ExitStack

from jitgraph.codegen.gpu.backend import image
from jitgraph.codegen.gpu.module import THREADS
from jitgraph.codegen.gpu.streams import STREAMS, TILE, streams
from jitgraph.codegen.objects import code_key
from jitgraph.codegen.target import host
from jitgraph.runtime.device import Device, Kernels
from jitgraph.runtime.limits import Level, Limits
from jitgraph.store import Entry, store

#: Bytes of both arrays together: past the caches, of which the largest have 128 MiB.
MOVED = 2 << 30
_REPEATS = 12
#: Blocks for each multiprocessor, of which the best is taken.
_BLOCKS = (8, 16, 32)


def device_limits(device: Device, *, fresh: bool = False, moved: int = MOVED) -> Limits:
    """The limits of a device's memory. Measured if that has not been done on this machine, or if
    they should be `fresh`; `moved` bytes are moved each time."""
    shelf = store()
    key = code_key(host(), "device limits", device.description, str(moved))
    entry = shelf.load(key) if shelf is not None and not fresh else None
    if entry is not None:
        return _limits(*entry.header["rates"])
    rates = _measured(device, moved)
    if shelf is not None:
        shelf.save(key, Entry({"kind": "limits", "name": device.name, "rates": list(rates)}, ()))
    return _limits(*rates)


def _limits(copy: float, read: float) -> Limits:
    """As the limits of one level of memory; what arithmetic could do is not measured."""
    level = Level("memory", math.inf, copy, max(read, copy))
    return Limits(0, (level,), math.inf, math.inf)


def _measured(device: Device, moved: int) -> tuple[float, float]:
    """Bytes a second, copied (each counts as read and as written) and read."""
    tiles = max(moved // 2 // TILE, 1)
    size = tiles * TILE
    module = streams(device.target)
    kernels = device.load(image(module), module.kernels)
    with device.entered(), ExitStack() as stack:
        places = []
        for _ in range(2):
            places.append(device.allocate(size))
            stack.callback(device.free, places[-1])
            device.call("set_bytes", places[-1], 0x3F, size, device.stream)
        best = dict.fromkeys(STREAMS, math.inf)
        for _ in range(_REPEATS):
            for name in STREAMS:
                for each in _BLOCKS:
                    count = min(tiles, each * device.target.sms)
                    seconds = _run(device, kernels, name, places, tiles, count)
                    best[name] = min(best[name], seconds)
        device.wait()
    return 2 * size / best["copy"], size / best["read"]


def _run(
    device: Device, kernels: Kernels, name: str, places: list[int], tiles: int, blocks: int
) -> float:
    """Seconds that one launch takes on the device."""
    values = [ctypes.c_uint64(v) for v in (*places, tiles)]
    table = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
    start = device.mark()
    device.call("launch", kernels.handles[name], blocks, 1, 1, THREADS, 1, 1, 0, device.stream,
                ctypes.addressof(table), 0)  # fmt: skip
    return device.seconds(start, device.mark())
