"""Every test here runs its programs on a device. NVIDIA's assembler takes all the kernels that come
up in them, for several generations of GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from jitgraph.codegen.gpu import backend
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.gpu.ptx import assemble, ptx
from jitgraph.codegen.gpu.target import device_target
from jitgraph.config import config
from jitgraph.errors import MissingPackageError

DEVICE = os.environ.get("JITGRAPH_TEST_DEVICE", "simulated")
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
#: Bytes that a thread may keep in memory because registers are short.
MOST_SPILLED = 64

_seen: set[str] = set()


@pytest.fixture(autouse=True)
def on_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Functions that do not say where they compute do so on the device."""
    made: list[DeviceModule] = []
    image = backend.image

    def noted(device: DeviceModule) -> bytes:
        made.append(device)
        return image(device)

    monkeypatch.setattr(backend, "image", noted)
    with config.override(device=DEVICE):
        yield
    for module in made:
        if (text := module.text()) not in _seen and module.kernels:
            _seen.add(text)
            _assemble(text)


def _assemble(text: str) -> None:
    """The assembler takes the kernels for each architecture, and little is spilled."""
    for arch in ARCHITECTURES:
        try:
            _, reports = assemble(ptx(text, device_target(arch)), arch)
        except MissingPackageError:
            return
        for kernel, report in reports.items():
            assert report.spill_stores <= MOST_SPILLED, (arch, kernel, report)
