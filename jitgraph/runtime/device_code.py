"""Loaded device programs: the host's code, its kernels on the device, and the tables between."""

from __future__ import annotations

import ctypes
from contextlib import suppress

from jitgraph.codegen.libraries import addresses
from jitgraph.codegen.llvm import load_objects
from jitgraph.errors import DeviceError
from jitgraph.runtime.device import Device
from jitgraph.store import Entry


class DeviceCode:
    """A device program in this process (a `codegen.llvm.Compiled`). What it has on the device goes
    when it dies."""

    def __init__(self, device: Device, entry: Entry) -> None:
        *objects, image = entry.objects
        names, shared = entry.header["kernels"], entry.header["shared"]
        self._device = device
        if entry.header["library"]:
            device.prepare_library()
        self._kernels = device.load(image, names, shared=shared) if names else None
        imports = addresses(entry.header["imports"]) | {"device": device.record}
        self._host = load_objects(objects, imports=imports)
        self._constants: list[int] = []
        if self._kernels is not None:
            self._fill("kernels", [self._kernels.handles[name] for name in names])
        if count := entry.header["constants"]:
            self._fill("constant_places", self._uploaded(count))

    def address(self, symbol: str) -> int:
        """As `Compiled` says."""
        return self._host.address(symbol)

    def _fill(self, table: str, words: list[int]) -> None:
        cells = (ctypes.c_uint64 * len(words)).from_address(self._host.address(table))
        for k, word in enumerate(words):
            cells[k] = word

    def _uploaded(self, count: int) -> list[int]:
        """The addresses of copies of the program's constants on the device."""
        pairs = (ctypes.c_uint64 * (2 * count))()
        table = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._host.address("constant_table"))
        table(ctypes.addressof(pairs))
        for data, size in zip(pairs[::2], pairs[1::2], strict=True):
            self._constants.append(self._device.allocate(size))
            self._device.send(self._constants[-1], data, size)
        return self._constants

    def __del__(self) -> None:
        with suppress(DeviceError):  # whoever works on the device will be told
            for address in getattr(self, "_constants", ()):
                self._device.free(address)
