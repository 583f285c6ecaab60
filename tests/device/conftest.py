"""Every test here runs its programs on a device. NVIDIA's assembler takes all the kernels that come
up in them, each for one of several generations of GPUs by turns, or with JITGRAPH_TEST_ASSEMBLE=all
for all of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from typing import Any

import pytest

from jitgraph.codegen.gpu import backend
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.gpu.ptx import assemble, ptx
from jitgraph.codegen.gpu.target import DeviceTarget, device_target
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.signature import Signature
from jitgraph.config import config
from jitgraph.errors import MissingPackageError
from jitgraph.ir.kernel import Program

DEVICE = os.environ.get("JITGRAPH_TEST_DEVICE", "simulated")
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
#: Whether each kernel is assembled for all of them, or for one, by turns.
ALL = os.environ.get("JITGRAPH_TEST_ASSEMBLE") == "all"
#: Bytes that a thread may keep in memory because registers are short.
MOST_SPILLED = 512

_seen: set[str] = set()
_turns = itertools.count()


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
        turn = next(_turns) % len(ARCHITECTURES)
        for arch in ARCHITECTURES if ALL else ARCHITECTURES[turn : turn + 1]:
            _assemble(again(device_target(arch)).device, arch)


def _assemble(device: DeviceModule, arch: str) -> None:
    """The assembler takes the kernels for an architecture that it has not seen yet, and little is
    spilled."""
    fresh = copy(device)
    fresh.functions = [f for f in device.functions if _is_new(f, arch)]
    if not fresh.functions:
        return
    try:
        _, reports = assemble(ptx(fresh.text(), device.target), arch)
    except MissingPackageError:
        return
    for kernel, report in reports.items():
        assert report.spill_stores <= MOST_SPILLED, (arch, kernel, report)


def _is_new(kernel: FunctionBuilder, arch: str) -> bool:
    """Whether this is the first kernel of its text."""
    key = f"{arch} {hash(str(kernel).replace(kernel.symbol, ''))}"
    known = key in _seen
    _seen.add(key)
    return not known
