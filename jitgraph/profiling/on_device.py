"""Runs a device program that has events recorded around its steps."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.codegen import probes
from jitgraph.codegen.gpu import probes as stamps
from jitgraph.driver import Compilation
from jitgraph.ir.kernel import Program
from jitgraph.runtime.device import Device, Timer
from jitgraph.runtime.device_limits import device_limits
from jitgraph.runtime.limits import Level, Limits

#: The limits of a device that has no clock.
UNKNOWN = Limits(0, (Level("memory", math.inf, math.inf, math.inf),), math.inf, math.inf)


class DeviceRuns:
    """A program in runs on its device."""

    def __init__(self, device: Device, compilation: Compilation) -> None:
        self.device, self.program = device, compilation.program
        count = stamps.events(self.program)
        self.timer = device.timer(count)
        code = compilation.code
        if self.timer is not None:
            cells = (ctypes.c_uint64 * (1 + count)).from_address(code.address(stamps.SYMBOL))
            cells[:] = [self.timer.function, *self.timer.handles]
        self._table = (ctypes.c_int64 * probes.words(self.program)).from_address(
            code.address(probes.SYMBOL)
        )

    @property
    def limits(self) -> Limits:
        """Those of the device; unknown where it has no clock."""
        return UNKNOWN if self.timer is None else device_limits(self.device)

    def given(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs where the program wants them: arrays on the device, numbers on the host."""
        owns = self.device.owns
        found = []
        for array in inputs:
            if array.ndim == 0:
                found.append(self.device.download(array) if owns(array) else array)
            else:
                found.append(array if owns(array) else self.device.upload(np.asarray(array)))
        return found

    def failing(self, fail: Callable[..., object]) -> Callable[..., object]:
        """`fail` for inputs on the device."""

        def told(status: int, *inputs: Any) -> object:
            self.device.check()
            owns = self.device.owns
            return fail(status, *(self.device.download(a) if owns(a) else a for a in inputs))

        return told

    def run(
        self, native: Callable[..., Any], inputs: Sequence[Any], least: int, most: int,
        enough: float,
    ) -> tuple[list[probes.Reading], list[int]]:  # fmt: skip
        """Readings, in nanoseconds, and the table as the last run left it. Without a clock one run
        is enough, and its times are zeros."""
        readings: list[probes.Reading] = []
        start = time.perf_counter()
        while len(readings) <= least or (
            len(readings) <= most and time.perf_counter() - start < enough
        ):
            native(*inputs)
            self.device.wait()
            readings.append(_reading(self.program, self.timer))
            if self.timer is None:
                return readings, list(self._table)
        return readings[1:], list(self._table)


def _reading(program: Program, timer: Timer | None) -> probes.Reading:
    count = len(program.work())
    if timer is None:
        return probes.Reading((0,) * count, 0, 0)
    steps = [round(1e9 * timer.seconds(2 + 2 * k, 3 + 2 * k)) for k in range(count)]
    whole = round(1e9 * timer.seconds(0, 1))
    return probes.Reading(tuple(steps), max(whole - sum(steps), 0), 0)
