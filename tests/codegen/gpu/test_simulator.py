"""The simulated device: right kernels run and are right, wrong ones are caught."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
from kernels import BARRIER, WARP_BARRIER, Memory, driver, kernel, launch

from jitgraph.codegen.gpu import simulator
from jitgraph.codegen.gpu.simulator_state import Kind, result_of

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


#: Kernels that do one thing wrong; launched with two blocks of 64 threads, `%a` having 256 bytes
#: that are written and `%b` 256 bytes that are not. What kind of fault, in which thread, and a part
#: of the message.
WRONG: dict[str, tuple[str, Kind, int, str]] = {
    "reads past the end": ("""
  %p = getelementptr float, ptr %a, i64 %tid
  %q = getelementptr i8, ptr %p, i64 4
  %v = load float, ptr %q
  ret void
""", Kind.OUTSIDE, 63, "0 bytes past the end of an allocation of 256 bytes"),
    "reads before the start": ("""
  %p = getelementptr float, ptr %a, i64 -2
  %v = load float, ptr %p
  ret void
""", Kind.OUTSIDE, 0, "8 bytes before"),
    "writes past the end": ("""
  %p = getelementptr float, ptr %a, i64 %tid
  %q = getelementptr i8, ptr %p, i64 2
  store float 0.0, ptr %q, align 2
  ret void
""", Kind.OUTSIDE, 63, "across the end of an allocation of 256 bytes"),
    "writes at null": ("""
  store i32 1, ptr null
  ret void
""", Kind.HOST, 0, "0x0"),
    "writes a constant": ("""
  store float 1.0, ptr @table
  ret void
""", Kind.HOST, 0, "neither"),
    "reads past a constant": ("""
  %p = getelementptr float, ptr @table, i64 4
  %v = load float, ptr %p
  ret void
""", Kind.HOST, 0, "neither"),
    "reads what nobody wrote": ("""
  %p = getelementptr float, ptr %b, i64 %tid
  %v = load float, ptr %p
  ret void
""", Kind.UNINITIALISED, 0, "never written"),
    "reads shared memory that nobody wrote": ("""
  %p = getelementptr float, ptr %shared, i64 %tid
  store float 1.0, ptr %p
  %q = getelementptr i8, ptr %p, i64 2
  %v = load float, ptr %q, align 2
  ret void
""", Kind.UNINITIALISED, 0, "shared memory"),
    "writes past shared memory": ("""
  %p = getelementptr i8, ptr %shared, i64 4094
  store i32 1, ptr %p, align 2
  ret void
""", Kind.SHARED, 0, "across the end of the shared memory of 4096 bytes"),
    "loads a vector askew": ("""
  %p = getelementptr float, ptr %a, i64 %tid
  %v = load <4 x float>, ptr %p
  ret void
""", Kind.MISALIGNED, 1, "16"),
    "stores askew": ("""
  %p = getelementptr i8, ptr %a, i64 2
  store float 1.0, ptr %p, align 4
  ret void
""", Kind.MISALIGNED, 0, "not a multiple of 4"),
    "two threads write the same byte": ("""
  %half = lshr i64 %tid, 1
  %p = getelementptr i8, ptr %b, i64 %half
  store i8 1, ptr %p
  ret void
""", Kind.RACE, 1, "thread 0 of this block wrote"),
    "a thread reads what another writes": ("""
  %p = getelementptr i32, ptr %a, i64 %tid
  %q = getelementptr i32, ptr %a, i64 5
  %v = load i32, ptr %q
  store i32 1, ptr %p
  ret void
""", Kind.RACE, 5, "of this block read"),
    "two blocks write the same byte": ("""
  %p = getelementptr i32, ptr %b, i64 %tid
  store i32 1, ptr %p
  ret void
""", Kind.RACE, 0, "of another block wrote"),
    "a block reads what another wrote": ("""
  %p = getelementptr i32, ptr %a, i64 %block
  %first = icmp eq i64 %tid, 0
  br i1 %first, label %go, label %done
go:
  store i32 1, ptr %p
  %q = getelementptr i32, ptr %a, i64 0
  %v = load i32, ptr %q
  br label %done
done:
  ret void
""", Kind.RACE, 0, "of another block wrote"),
    "a block writes what another read": ("""
  %p = getelementptr i32, ptr %a, i64 %block
  %first = icmp eq i64 %i, 0
  %q = getelementptr i32, ptr %a, i64 1
  %v = load i32, ptr %q
  store i32 1, ptr %p
  ret void
""", Kind.RACE, 1, "thread 0 of this block wrote"),
    "an atomic beside a plain store": ("""
  %even = icmp eq i64 %tid, 0
  br i1 %even, label %plain, label %atomic
plain:
  store i32 1, ptr %a
  br label %done
atomic:
  %v = atomicrmw add ptr %a, i32 1 monotonic
  br label %done
done:
  ret void
""", Kind.RACE, 1, "thread 0 of this block wrote"),
    "shared memory is read without a barrier": (f"""
  %p = getelementptr i32, ptr %shared, i64 %tid
  store i32 1, ptr %p
  {WARP_BARRIER}
  %other = xor i64 %tid, 32
  %q = getelementptr i32, ptr %shared, i64 %other
  %high = icmp uge i64 %tid, 32
  br i1 %high, label %read, label %done
read:
  %v = load i32, ptr %q
  br label %done
done:
  ret void
""", Kind.RACE, 32, "thread 0 of this block wrote"),
    "shared memory is overwritten without a barrier": (f"""
  %p = getelementptr i32, ptr %shared, i64 %tid
  store i32 1, ptr %p
  {BARRIER}
  %v = load i32, ptr %shared
  store i32 2, ptr %p
  ret void
""", Kind.RACE, 1, "thread 0 of this block wrote"),
    "half of the block comes to the barrier": (f"""
  %high = icmp uge i64 %tid, 32
  br i1 %high, label %meet, label %done
meet:
  {BARRIER}
  br label %done
done:
  ret void
""", Kind.BARRIER, 63, "32 of 64 threads; 32 have ended"),
    "a warp's threads are at two barriers": (f"""
  %odd = trunc i64 %tid to i1
  br i1 %odd, label %one, label %two
one:
  {BARRIER}
  br label %done
two:
  {BARRIER}
  br label %done
done:
  ret void
""", Kind.BARRIER, 63, "different places"),
    "lanes shuffle apart": ("""
  %odd = trunc i64 %tid to i1
  br i1 %odd, label %one, label %two
one:
  %v = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 1, i32 1, i32 31)
  br label %done
two:
  %w = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 1, i32 1, i32 31)
  br label %done
done:
  ret void
""", Kind.WARP, 63, "0xffffffff"),
    "a lane ends while others shuffle": ("""
  %first = icmp eq i64 %tid, 3
  br i1 %first, label %done, label %go
go:
  %v = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 1, i32 1, i32 31)
  br label %done
done:
  ret void
""", Kind.WARP, 31, "0xffffffff"),
    "a lane is not in its mask": ("""
  %v = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 65535, i32 1, i32 0, i32 31)
  ret void
""", Kind.LANE, 16, "mask"),
    "a lane reads one that takes no part": ("""
  %low = and i64 %tid, 31
  %part = icmp ult i64 %low, 16
  br i1 %part, label %go, label %done
go:
  %v = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 65535, i32 1, i32 20, i32 31)
  br label %done
done:
  ret void
""", Kind.LANE, 0, "lane 20"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_kernels_are_caught(name: str) -> None:
    body, kind, thread, message = WRONG[name]
    a, b = Memory.of(np.ones(64, "i4")), Memory(256)
    status = launch(kernel("ptr %a, ptr %b", body), 2, 64, [a, b])
    fault = simulator.last_fault()
    assert fault is not None
    assert (fault.kind, fault.kernel, fault.thread) == (kind, "k", thread), fault
    assert message in str(fault), fault
    assert status == result_of(kind)
    assert launch(AXPY, 1, 64, [a, a, 0]) == 0  # the device goes on
