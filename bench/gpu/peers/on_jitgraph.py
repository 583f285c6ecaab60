"""jitgraph: the program of the CPU's benchmark, compiled for the device; where cuBLASLt is
installed, products also by kernels of jitgraph's own."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitgraph as jg
from bench.case import Case, results
from bench.gpu import peers
from bench.gpu.peers import Running
from bench.peers import on_jitgraph
from bench.peers.base import NotHere
from jitgraph.config import config
from jitgraph.runtime import devices


class Adapter(peers.Peer):
    """Compiles by `jitgraph.function`."""

    def version(self) -> str:
        return jg.__version__

    def prepare(self, case: Case, arrays: list[Any]) -> Running:
        device = devices.device(self.device)
        own = self.name != "jitgraph"
        if own and (case.group != "products" or device is None or not device.has_library):
            raise NotHere("the same")
        settings = {
            "device": self.device, "products": "own" if own else "auto",
            "precision": case.options.get("precision", "exact"),
        }  # fmt: skip
        with config.override(**settings):
            function, arguments = on_jitgraph.compiled(case, arrays)
        given = [a if device is None or not isinstance(a, np.ndarray) else
                 jg.device_put(a, device) for a in arguments]  # fmt: skip
        stateful = hasattr(function, "shared")
        step = function.function if stateful else function

        def call() -> Any:
            return step(*given)

        def wait() -> None:
            if device is not None:
                device.wait()

        def fetch() -> Any:
            if stateful:
                call()
                return [np.asarray(call()), *(p.get_value() for p in function.shared)]
            found = call()
            return results(found)

        def seconds(count: int) -> float:
            assert device is not None
            start = device.mark()
            for _ in range(count):
                call()
            return device.seconds(start, device.mark())

        timed = seconds if self.device.startswith("cuda") else None
        return Running(call, wait, fetch, timed)
