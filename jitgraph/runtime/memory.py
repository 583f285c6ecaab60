"""The memory that jitgraph keeps for large results and temporaries to come: `jitgraph.memory`.
The limit is that of the host's; on a GPU all that was ever in use is kept, until `clear`.

An array returned by a compiled function owns its memory like any other. When it dies, a large block
is kept for the next result of about that size, because fresh pages cost several times what it takes
to fill them. At most `limit()` bytes are kept; the blocks that have waited longest go first.
"""

from __future__ import annotations

import ctypes
from functools import cache

from jitgraph.errors import OptionError


def limit() -> int:
    """How many bytes are kept at most: an eighth of the machine's memory unless changed."""
    return _field("limit").value


def set_limit(size: int) -> None:
    """Keep at most so many bytes from now on; 0 keeps nothing."""
    if size < 0:
        raise OptionError(f"the limit of kept memory cannot be {size}")
    _field("limit").value = size
    if kept() > size:
        clear()


def kept() -> int:
    """How many bytes are kept at the moment."""
    return _field("kept").value


def clear() -> None:
    """Give all that is kept back to the operating system, and to other users of the GPUs."""
    from jitgraph.runtime.devices import found
    from jitgraph.runtime.pyapi import LIBRARY

    for device in found():
        device.clear()
    ctypes.CFUNCTYPE(None)(LIBRARY.address("pool_clear"))()


@cache
def _field(name: str) -> ctypes.c_int64:
    from jitgraph.codegen.recycling import POOL_FIELDS
    from jitgraph.runtime.pyapi import LIBRARY

    return ctypes.c_int64.from_address(LIBRARY.address("pool") + 8 * POOL_FIELDS.index(name))
