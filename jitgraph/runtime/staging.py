"""Page-locked memory of the host, through which a GPU's transfers go: only that is read and written
while the host goes on."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jitgraph.runtime.cuda import CudaDevice, Event

#: So many pieces of so many bytes.
PIECES, CHUNK = 8, 2 << 20


class Staging:
    """Pieces of page-locked memory through which transfers go in chunks: while the device moves
    some, the host fills or empties others."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._pieces: list[int] = []
        #: When each was last moved.
        self._moved: list[Event | None] = [None] * PIECES
        self._next = 0

    def send(self, to: int, source: int, size: int) -> None:
        """Copy to the device; the source has been read on return."""
        with self._lock, self._device.entered():
            for at, length in _chunks(size):
                k = self._free()
                ctypes.memmove(self._pieces[k], source + at, length)
                self._move("to_device", to + at, self._pieces[k], length, k)

    def fetch(self, to: int, source: int, size: int) -> None:
        """Copy to the host, where all has arrived on return."""
        with self._lock, self._device.entered():
            waiting: list[tuple[int, int, int]] = []
            for at, length in _chunks(size):
                k = self._free()
                self._move("to_host", self._pieces[k], source + at, length, k)
                waiting.append((k, to + at, length))
                if len(waiting) == PIECES:
                    self._empty(*waiting.pop(0))
            for chunk in waiting:
                self._empty(*chunk)

    def _free(self) -> int:
        """A piece that nothing is moved to or from any more."""
        k = self._next
        if k == len(self._pieces):
            self._pieces.append(int(self._device.ask("cuMemHostAlloc", CHUNK, 0)))
        self._finish(k)
        self._next = (k + 1) % PIECES
        return k

    def _move(self, function: str, to: int, source: int, size: int, k: int) -> None:
        self._device.call(function, to, source, size, self._device.stream)
        self._moved[k] = self._device.done()

    def _finish(self, k: int) -> None:
        event, self._moved[k] = self._moved[k], None
        if event is not None:
            event.wait()

    def _empty(self, k: int, to: int, length: int) -> None:
        self._finish(k)
        ctypes.memmove(to, self._pieces[k], length)


def _chunks(size: int) -> Iterator[tuple[int, int]]:
    """The offset and the length of each chunk of a transfer."""
    for at in range(0, size, CHUNK):
        yield at, min(CHUNK, size - at)
