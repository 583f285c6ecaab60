"""Asynchronous copies of the simulated device, which allows no more than a GPU does."""

from __future__ import annotations

import numpy as np
import pytest
from kernels import BARRIER, Memory, kernel, launch

from jitgraph.codegen.gpu import simulator
from jitgraph.codegen.gpu.simulator.state import Kind

_COPY, _VECTOR = "cp.async.ca.shared.global.4.s", "cp.async.cg.shared.global.16.s"
_COMMIT = "call void @llvm.nvvm.cp.async.commit.group()"
_DECLARED = "".join(
    f"declare void @llvm.nvvm.{name}(ptr addrspace(3), ptr addrspace(1), i32)\n"
    for name in (_COPY, _VECTOR)
) + (
    "declare void @llvm.nvvm.cp.async.commit.group()\n"
    "declare void @llvm.nvvm.cp.async.wait.group(i32)\n"
)  # fmt: skip


def wait(groups: int) -> str:
    return f"call void @llvm.nvvm.cp.async.wait.group(i32 {groups})"


def copying(body: str) -> str:
    """A kernel in which each thread copies an element of x to its place in shared memory, and
    `%other` is the place of its neighbour's."""
    return _DECLARED + kernel(
        "ptr %x, ptr %y, i32 %size",
        f"""
  %place = getelementptr float, ptr %shared, i64 %tid
  %source = getelementptr float, ptr %x, i64 %tid
  %turned = xor i64 %tid, 1
  %other = getelementptr float, ptr %shared, i64 %turned
  %out = getelementptr float, ptr %y, i64 %tid
  %to = addrspacecast ptr %place to ptr addrspace(3)
  %from = addrspacecast ptr %source to ptr addrspace(1)
{body}
  store float %value, ptr %out
  ret void
""",
    )


_CALL = f"call void @llvm.nvvm.{_COPY}(ptr addrspace(3) %to, ptr addrspace(1) %from, i32 %size)"
_SHIFTED = f"""
  %odd = getelementptr i8, ptr %source, i64 4
  %near = addrspacecast ptr %odd to ptr addrspace(1)
  call void @llvm.nvvm.{_VECTOR}(ptr addrspace(3) %to, ptr addrspace(1) %near, i32 0)
  %value = load float, ptr %x
"""
_ELSEWHERE = f"""
  %global = addrspacecast ptr %out to ptr addrspace(3)
  call void @llvm.nvvm.{_COPY}(ptr addrspace(3) %global, ptr addrspace(1) %from, i32 4)
  %value = load float, ptr %x
"""


def neighbours(*lines: str) -> str:
    return copying("\n".join([*(f"  {line}" for line in (_CALL, _COMMIT, *lines)),
                              "  %value = load float, ptr %other"]))  # fmt: skip


def run(text: str, size: int) -> tuple[int, list[float]]:
    x, y = Memory.of(np.arange(1, 65, dtype="f4")), Memory.of(np.zeros(64, "f4"))
    status = launch(text, 1, 64, [x, y, size])
    found = y.read("f4").tolist()
    x.free()
    y.free()
    return status, found


def test_copies_arrive_or_are_zeros() -> None:
    kernel_ = neighbours(wait(0), BARRIER)
    assert run(kernel_, 4) == (0, [float(1 + (k ^ 1)) for k in range(64)])
    assert run(kernel_, 0) == (0, [0.0] * 64)


@pytest.mark.parametrize("groups", [None, 1])
def test_nothing_arrives_before_it_is_waited_for(groups: int | None) -> None:
    waits = [] if groups is None else [wait(groups)]
    status, found = run(neighbours(*waits, BARRIER), 4)
    assert status == 0
    assert np.isnan(found).all()


@pytest.mark.parametrize(("text", "size", "kind"), [
    (neighbours(wait(0)), 4, Kind.UNINITIALISED),
    # Threads have met, but not since what they wait for arrived.
    (neighbours(BARRIER, wait(0)), 4, Kind.RACE),
    (neighbours(wait(0), BARRIER), 8, Kind.SHARED),
    (copying(_SHIFTED), 0, Kind.MISALIGNED),
    (copying(_ELSEWHERE), 0, Kind.SHARED),
])  # fmt: skip
def test_wrong_copies_are_caught(text: str, size: int, kind: Kind) -> None:
    status, _ = run(text, size)
    fault = simulator.last_fault()
    assert status != 0
    assert fault is not None
    assert fault.kind is kind, fault
    simulator.clear_fault()
