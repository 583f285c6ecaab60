"""Every test here runs its programs on a device. NVIDIA's assembler takes all the kernels that come
up in them, for several generations of GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from jitgraph.codegen.gpu import backend
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.gpu.ptx import assemble, ptx
from jitgraph.codegen.gpu.target import DeviceTarget, device_target
from jitgraph.codegen.signature import Signature
from jitgraph.config import config
from jitgraph.errors import MissingPackageError
from jitgraph.ir.kernel import Program

DEVICE = os.environ.get("JITGRAPH_TEST_DEVICE", "simulated")
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
#: Bytes that a thread may keep in memory because registers are short.
MOST_SPILLED = 128

_seen: set[str] = set()


@pytest.fixture(autouse=True)
def on_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Functions that do not say where they compute do so on the device."""
    made: list[Callable[[DeviceTarget], backend.Modules]] = []
    emit = backend.emit

    def noted(
        program: Program, signature: Signature, target: DeviceTarget, **how: Any
    ) -> backend.Modules:
        made.append(partial(emit, program, signature, **how))
        return emit(program, signature, target, **how)

    monkeypatch.setattr(backend, "emit", noted)
    with config.override(device=DEVICE):
        yield
    for again in made:
        for arch in ARCHITECTURES:
            _assemble(again(device_target(arch)).device, arch)


def _assemble(device: DeviceModule, arch: str) -> None:
    """The assembler takes the kernels for an architecture, and little is spilled."""
    text = device.text()
    if not device.kernels or (key := f"{arch} {hash(text)}") in _seen:
        return
    _seen.add(key)
    try:
        _, reports = assemble(ptx(text, device.target), arch)
    except MissingPackageError:
        return
    for kernel, report in reports.items():
        assert report.spill_stores <= MOST_SPILLED, (arch, kernel, report)
