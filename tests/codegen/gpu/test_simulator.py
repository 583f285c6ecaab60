"""The simulated device: right kernels run and are right, wrong ones are caught."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
from kernels import BARRIER, Memory, driver, kernel, launch

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

_SHUFFLE = "call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1"
#: Each warp's sum, then the first warp's sum of the sums.
BLOCK_SUM = kernel("ptr %x, ptr %out", f"""
  %p = getelementptr i32, ptr %x, i64 %i
  %v = load i32, ptr %p
  %v16 = {_SHUFFLE}, i32 %v, i32 16, i32 31)
  %s16 = add i32 %v, %v16
  %v8 = {_SHUFFLE}, i32 %s16, i32 8, i32 31)
  %s8 = add i32 %s16, %v8
  %v4 = {_SHUFFLE}, i32 %s8, i32 4, i32 31)
  %s4 = add i32 %s8, %v4
  %v2 = {_SHUFFLE}, i32 %s4, i32 2, i32 31)
  %s2 = add i32 %s4, %v2
  %v1 = {_SHUFFLE}, i32 %s2, i32 1, i32 31)
  %s1 = add i32 %s2, %v1
  %lane = and i64 %tid, 31
  %warp = lshr i64 %tid, 5
  %slot = getelementptr i32, ptr %shared, i64 %warp
  %leads = icmp eq i64 %lane, 0
  br i1 %leads, label %keep, label %meet
keep:
  store i32 %s1, ptr %slot
  br label %meet
meet:
  {BARRIER}
  %last = icmp eq i64 %tid, 0
  br i1 %last, label %final, label %done
final:
  %warps = lshr i64 %threads, 5
  br label %loop
loop:
  %w = phi i64 [ 0, %final ], [ %next, %loop ]
  %acc = phi i32 [ 0, %final ], [ %sum, %loop ]
  %q = getelementptr i32, ptr %shared, i64 %w
  %part = load i32, ptr %q
  %sum = add i32 %acc, %part
  %next = add i64 %w, 1
  %more = icmp slt i64 %next, %warps
  br i1 %more, label %loop, label %write
write:
  %o = getelementptr i32, ptr %out, i64 %block
  store i32 %sum, ptr %o
  br label %done
done:
  ret void
""")  # fmt: skip

TRANSPOSE = kernel("ptr noalias %x, ptr noalias %out", f"""
  %row = lshr i64 %tid, 5
  %col = and i64 %tid, 31
  %p = getelementptr float, ptr %x, i64 %tid
  %v = load float, ptr %p
  %s = getelementptr float, ptr %shared, i64 %tid
  store float %v, ptr %s
  {BARRIER}
  %base = mul i64 %col, 32
  %turned = add i64 %base, %row
  %t = getelementptr float, ptr %shared, i64 %turned
  %w = load float, ptr %t
  %o = getelementptr float, ptr %out, i64 %tid
  store float %w, ptr %o
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


def test_block_sum_by_shuffles_and_shared_memory() -> None:
    rng = np.random.default_rng(1)
    for threads in (32, 64, 256):
        x = rng.integers(0, 100, 5 * threads).astype("i4")
        a, out = Memory.of(x), Memory(4 * 5)
        assert launch(BLOCK_SUM, 5, threads, [a, out]) == 0, simulator.last_fault()
        np.testing.assert_array_equal(out.read("i4"), x.reshape(5, -1).sum(1))


def test_transpose_through_shared_memory() -> None:
    x = np.arange(32 * 32, dtype="f4").reshape(32, 32)
    a, out = Memory.of(x), Memory(x.nbytes)
    assert launch(TRANSPOSE, 1, 1024, [a, out]) == 0, simulator.last_fault()
    np.testing.assert_array_equal(out.read("f4").reshape(32, 32), x.T)
