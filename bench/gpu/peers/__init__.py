"""The peers on a GPU: how each one runs a case. Those that cannot be imported take no part."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.case import Array, Case
from bench.peers.base import NotHere

#: Modules here by name of the peer, in the order of the table.
PEERS = {
    "jitgraph": "on_jitgraph",
    "jitgraph without cuBLASLt": "on_jitgraph",
    "jax": "on_jax",
    "torch.compile": "on_torch",
    "torch": "on_torch",
    "cupy": "on_cupy",
    "triton": "on_triton",
}


@dataclass(slots=True)
class Running:
    """A compiled case: a call that may return before the device has done it, the end of all calls
    so far, and the results of one (of a training step: the cost and the parameters after two)."""

    call: Callable[[], Any]
    wait: Callable[[], Any]
    fetch: Callable[[], Sequence[Array]]
    #: Seconds on the device of so many calls, where the peer can tell.
    device_seconds: Callable[[int], float] | None = None


class Peer(ABC):
    """One library on one device."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, device

    @abstractmethod
    def version(self) -> str:
        """Of the library."""

    @abstractmethod
    def prepare(self, case: Case, arrays: list[Any]) -> Running:
        """Compile the case; raises NotHere where the peer has no such thing."""


def found(names: Sequence[str], device: str) -> dict[str, Peer]:
    """The peers that are there: off a GPU only jitgraph."""
    peers: dict[str, Peer] = {}
    for name in names:
        if name != "jitgraph" and not device.startswith("cuda"):
            continue
        try:
            module = importlib.import_module(f"bench.gpu.peers.{PEERS[name]}")
            peers[name] = module.Adapter(name, device)
        except (ImportError, NotHere):
            continue
    return peers


def ordinal(device: str) -> int:
    """The number of a GPU."""
    return int(device.partition(":")[2] or 0)
