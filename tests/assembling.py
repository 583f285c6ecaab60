"""NVIDIA's assembler takes every kernel that a test makes, for four generations of GPUs.

A kernel that it rejects, or of which a thread has too much in memory, is an error of the test that
made it. The run's summary says how many there were, and which want most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pytest

from jitgraph.codegen.gpu import backend
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.gpu.products.copies import asynchronous
from jitgraph.codegen.gpu.ptx import KernelReport, assemble, ptx, tool
from jitgraph.codegen.gpu.target import DeviceTarget, device_target
from jitgraph.codegen.signature import Signature
from jitgraph.errors import MissingPackageError
from jitgraph.ir.kernel import Program

#: Code is made for the first two: sm_80 is the first with copies that run by themselves, which is
#: all that emission asks about an architecture.
WITHOUT_COPIES, WITH_COPIES = "sm_75", "sm_80"
#: The first architecture for which LLVM writes this PTX, and those that get the same text.
ARCHITECTURES = {"sm_75": ("sm_75",), "sm_80": ("sm_80", "sm_90"), "sm_100": ("sm_100",)}
#: Of so many programs one shows that what was made once is the same for each architecture.
ONE_OF = 8
#: Bytes that a thread may keep in memory because registers are short, and all it may have there.
MOST_SPILLED, MOST_STACK = 512, 1024
#: How many kernels are named for each thing they want much of.
_NAMED = 3
_WANTS = {"registers": "registers", "spill_stores": "bytes spilled", "stack": "bytes of stack"}

_COMMENT = re.compile("//.*")

Again = Callable[[DeviceTarget], backend.Modules]


@dataclass
class Summary:
    """What became of the kernels of a run."""

    kernels: int = 0
    assembled: dict[str, int] = field(default_factory=dict)
    #: Which kernels want most of each of `_WANTS`: how much, and who.
    most: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, arch: str, kernel: str, report: KernelReport, test: str) -> None:
        """A kernel, or a function that kernels call."""
        for want in _WANTS:
            self._most(want, [(getattr(report, want), f"{kernel} for {arch} in {test}")])

    def join(self, other: Summary) -> None:
        """Take over what another process has."""
        self.kernels += other.kernels
        for arch, number in other.assembled.items():
            self.assembled[arch] = self.assembled.get(arch, 0) + number
        for want, found in other.most.items():
            self._most(want, found)

    def _most(self, want: str, found: list[tuple[int, str]]) -> None:
        known = [*self.most.get(want, []), *map(tuple, found)]
        self.most[want] = sorted({k for k in known if k[0]}, reverse=True)[:_NAMED]

    def lines(self) -> Iterator[str]:
        told = ", ".join(f"{number} for {arch}" for arch, number in sorted(
            self.assembled.items(), key=lambda item: int(item[0].removeprefix("sm_"))))  # fmt: skip
        yield f"{self.kernels} kernels: {told or 'none of them assembled, as there is no ptxas'}"
        for want, found in self.most.items():
            for amount, who in found:
                yield f"{amount:6} {_WANTS[want]}: {who}"


#: What emits each program again, and its kernels if they have copies that run by themselves.
_made: list[tuple[Again, DeviceModule | None]] = []
_seen: set[int] = set()
_numbers = count()
_summary = Summary()


@pytest.fixture(autouse=True, scope="session")
def _programs_are_noted() -> Iterator[None]:
    """All device programs of this process are kept until their test ends."""
    emit = backend.emit

    def noted(
        program: Program, signature: Signature, target: DeviceTarget, **how: Any
    ) -> backend.Modules:
        modules = emit(program, signature, target, **how)
        again = partial(emit, program, signature, **how)
        # A test may have changed what the device can do, until it ends.
        _made.append((again, modules.device if asynchronous(target) else None))
        return modules

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "emit", noted)
        yield


@pytest.fixture(autouse=True)
def _kernels_assemble(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    while _made:
        _assemble(*_made.pop(), request.node.nodeid)


def _assemble(again: Again, device: DeviceModule | None, test: str) -> None:
    """All kernels of a program that no other before had."""
    newer = again(device_target(WITH_COPIES)).device if device is None else device
    older = again(device_target(WITHOUT_COPIES)).device
    checks = next(_numbers) % ONE_OF == 0
    if checks:
        for arch in ("sm_80", "sm_100"):
            assert again(device_target(arch)).device.text() == newer.text(), arch
    parts = {True: _fresh(newer), False: _fresh(older)}
    _summary.kernels += len(parts[True].functions)
    try:
        tool("ptxas")
    except MissingPackageError:
        return
    todo: list[tuple[str, str]] = []
    for first, architectures in ARCHITECTURES.items():
        target = device_target(first)
        if not (part := parts[asynchronous(target)]).functions:
            continue
        text = ptx(part.text(), target)
        for arch in architectures:
            named = text.replace(f".target {first}\n", f".target {arch}\n", 1)
            assert not checks or _same(named, ptx(part.text(), device_target(arch))), arch
            todo.append((arch, named))
            _summary.assembled[arch] = _summary.assembled.get(arch, 0) + len(part.functions)
    with ThreadPoolExecutor() as pool:
        for (arch, _), reports in zip(todo, pool.map(_reports, todo), strict=True):
            for kernel, report in reports.items():
                _summary.add(arch, kernel, report, test)
                assert report.spill_stores <= MOST_SPILLED, (arch, kernel, report)
                assert report.stack <= MOST_STACK, (arch, kernel, report)


def _same(text: str, other: str) -> bool:
    """Whether two texts say the same, but for comments, in which LLVM counts calls."""
    return _COMMENT.sub("", text) == _COMMENT.sub("", other)


def _reports(job: tuple[str, str]) -> dict[str, KernelReport]:
    arch, text = job
    return dict(assemble(text, arch)[1])


def _fresh(device: DeviceModule) -> DeviceModule:
    """The module without the kernels whose text came up before."""
    fresh = copy(device)
    fresh.functions = []
    for kernel in device.functions:
        key = hash((asynchronous(device.target), str(kernel).replace(kernel.symbol, "")))
        if key not in _seen:
            fresh.functions.append(kernel)
        _seen.add(key)
    return fresh


# --- the summary, of several processes where pytest has them --------------------------------------
def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["kernels"] = asdict(_summary)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if (found := getattr(node, "workeroutput", {}).get("kernels")) is not None:
        _summary.join(Summary(**found))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _summary.kernels:
        terminalreporter.section("kernels")
        for line in _summary.lines():
            terminalreporter.write_line(line)
