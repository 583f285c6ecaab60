"""CuPy: elementwise programs as one kernel (`cupy.fuse`), others as they stand."""

from __future__ import annotations

from typing import Any

import cupy
from cupyx.scipy import special

from bench.case import Case
from bench.gpu import peers
from bench.gpu.peers import Running
from bench.peers.base import Names, NotHere

NAMESPACE = Names(cupy, erf=special.erf, sigmoid=special.expit)


class Adapter(peers.Peer):
    """See the module."""

    def __init__(self, name: str, device: str) -> None:
        super().__init__(name, device)
        if cupy.cuda.runtime.getDeviceCount() <= peers.ordinal(device):
            raise NotHere("no GPU for CuPy")
        self._device = cupy.cuda.Device(peers.ordinal(device))

    def version(self) -> str:
        return str(cupy.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Running:
        if case.wrt or case.state:
            raise NotHere("no derivatives")
        if case.family == "recurrent net" or case.options.get("precision"):
            raise NotHere("nothing like it")
        self._device.use()
        arguments = [cupy.asarray(a) for a in arrays]

        def program(*inputs: Any) -> Any:
            return case.expression(NAMESPACE, *inputs)

        elementwise = case.group == "elementwise" or case.family in ("Black-Scholes", "gelu")
        function = cupy.fuse(program) if elementwise else program

        def fetch() -> Any:
            given = function(*arguments)
            given = given if isinstance(given, tuple | list) else (given,)
            return [cupy.asnumpy(a) for a in given]

        return Running(lambda: function(*arguments), self._device.synchronize, fetch)
