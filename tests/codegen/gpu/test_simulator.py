"""The simulated device: right kernels run and are right, wrong ones are caught."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
from kernels import Memory, driver, kernel, launch

from jitgraph.codegen.gpu import simulator

AXPY = kernel("ptr noalias %x, ptr noalias %y, i64 %n", """
  %some = icmp slt i64 %i, %n
  br i1 %some, label %loop, label %done
loop:
  %k = phi i64 [ %i, %entry ], [ %next, %loop ]
  %px = getelementptr float, ptr %x, i64 %k
  %py = getelementptr float, ptr %y, i64 %k
  %vx = load float, ptr %px
  %vy = load float, ptr %py, align 4
  %scaled = fmul float %vx, 2.0
  %sum = fadd float %scaled, %vy
  store float %sum, ptr %py, align 4
  %next = add i64 %k, %all
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
""")  # fmt: skip


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    simulator.clear_fault()
    yield
    for address in simulator.live_allocations():
        assert driver("free", address) == 0


@pytest.mark.parametrize("n", [0, 1, 31, 1000])
def test_grid_stride_axpy(n: int) -> None:
    x, y = np.arange(n + 1, dtype="f4"), np.ones(n + 1, "f4")
    a, b = Memory.of(x), Memory.of(y)
    assert launch(AXPY, 3, 64, [a, b, n]) == 0, simulator.last_fault()
    expected = y.copy()
    expected[:n] += 2 * x[:n]
    np.testing.assert_array_equal(b.read("f4"), expected)


def test_allocations() -> None:
    memories = [Memory(size) for size in (1, 256, 1000, 1 << 20)]
    assert simulator.live_allocations() == {m.address: m.size for m in memories}
    assert all(m.address % 256 == 0 for m in memories)
    for memory in memories[1::2]:
        memory.free()
    assert simulator.live_allocations() == {m.address: m.size for m in memories[::2]}
    cell = ctypes.c_size_t()
    assert driver("alloc", ctypes.addressof(cell), 0) == 1
