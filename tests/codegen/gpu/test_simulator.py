"""The simulated device: right kernels run and are right, wrong ones are caught."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from kernels import BARRIER, WARP_BARRIER, Memory, driver, kernel, launch

from jitgraph.codegen.gpu import simulation, simulator
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.gpu.simulator.checks import ATOMIC, ORDERED, READ, WRITE
from jitgraph.codegen.gpu.simulator.state import Kind, result_of
from jitgraph.codegen.gpu.target import device_target
from jitgraph.codegen.loader import CodegenError

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
    simulator.set_backward(False)
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
    "reads before what it just read": ("""
  %v = load float, ptr %a
  %p = getelementptr float, ptr %a, i64 -1
  %w = load float, ptr %p
  ret void
""", Kind.OUTSIDE, 0, "4 bytes before"),
    "reads before a constant": ("""
  %p = getelementptr float, ptr @table, i64 -1
  %v = load float, ptr %p
  ret void
""", Kind.HOST, 0, "neither"),
    "reads beyond the stack": ("""
  %own = alloca i64
  store i64 1, ptr %own
  %p = getelementptr i8, ptr %own, i64 1048576
  %v = load i64, ptr %p
  ret void
""", Kind.HOST, 0, "neither"),
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


HISTOGRAM = kernel("ptr %x, ptr %counts", f"""
  %s = getelementptr i32, ptr %shared, i64 %tid
  store i32 0, ptr %s
  {BARRIER}
  %p = getelementptr i8, ptr %x, i64 %i
  %v = load i8, ptr %p
  %bin = zext i8 %v to i64
  %q = getelementptr i32, ptr %shared, i64 %bin
  %old = atomicrmw add ptr %q, i32 1 monotonic
  {BARRIER}
  %n = load i32, ptr %s
  %o = getelementptr i32, ptr %counts, i64 %tid
  %o.old = atomicrmw add ptr %o, i32 %n monotonic
  ret void
""")  # fmt: skip


def test_histogram_by_atomics() -> None:
    x = np.random.default_rng(2).integers(0, 128, 4 * 128).astype("u1")
    a, counts = Memory.of(x), Memory(4 * 128)
    assert driver("set_bytes", counts.address, 0, counts.size) == 0
    assert launch(HISTOGRAM, 4, 128, [a, counts]) == 0, simulator.last_fault()
    np.testing.assert_array_equal(counts.read("i4"), np.bincount(x, minlength=128))


def last_block(store: str, fence: str, order: str, after: str, load: str) -> str:
    """A kernel whose last block adds up what all blocks wrote."""
    return kernel("ptr %parts, ptr %ticket, ptr %out", f"""
  %leads = icmp eq i64 %tid, 0
  br i1 %leads, label %lead, label %done
lead:
  %p = getelementptr i64, ptr %parts, i64 %block
  {store} i64 %block, ptr %p
  {fence}
  %mine = atomicrmw add ptr %ticket, i32 1 {order}
  {after}
  %next = add i32 %mine, 1
  %last = icmp eq i32 %next, %blocks32
  br i1 %last, label %loop, label %done
loop:
  %k = phi i64 [ 0, %lead ], [ %k.next, %loop ]
  %acc = phi i64 [ 0, %lead ], [ %sum, %loop ]
  %q = getelementptr i64, ptr %parts, i64 %k
  %v = {load} i64, ptr %q
  %sum = add i64 %acc, %v
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, %blocks
  br i1 %more, label %loop, label %write
write:
  store i64 %sum, ptr %out
  br label %done
done:
  ret void
""")  # fmt: skip


_GL = "call void @llvm.nvvm.membar.gl()"
#: Whether the last block may know what others wrote.
LAST_BLOCKS = {
    ("store", _GL, "monotonic", _GL, "load"): True,
    ("store", _GL, "monotonic", "", "load volatile"): True,
    ("store", "fence release", "monotonic", "fence acquire", "load"): True,
    ("store", "", "acq_rel", "", "load"): True,
    ("store volatile", "", "monotonic", "", "load volatile"): True,
    ("store", "", "monotonic", _GL, "load"): False,
    ("store", "", "monotonic", "", "load volatile"): False,
    ("store", _GL, "monotonic", "", "load"): False,
}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("how", LAST_BLOCKS, ids=",".join)
def test_the_last_block_sees_what_others_wrote(
    how: tuple[str, str, str, str, str], backward: bool
) -> None:
    simulator.set_backward(backward)
    parts, ticket, out = Memory(8 * 10), Memory.of(np.zeros(1, "i4")), Memory(8)
    status = launch(last_block(*how), 10, 32, [parts, ticket, out])
    if LAST_BLOCKS[how]:
        assert status == 0, simulator.last_fault()
        assert out.read("i8") == 45
    else:
        assert "of another block wrote" in str(simulator.last_fault())


MODES = ("idx", "up", "down", "bfly")
#: What each lane gets from shuffles with arguments from memory.
SHUFFLES = kernel("ptr %out, i32 %distance, i32 %clamp", "".join(f"""
  %{mode} = call i32 @llvm.nvvm.shfl.sync.{mode}.i32(i32 -1, i32 %tid32, i32 %distance, i32 %clamp)
  %p{mode} = getelementptr [4 x i32], ptr %out, i64 %tid, i64 {k}
  store i32 %{mode}, ptr %p{mode}
""" for k, mode in enumerate(MODES)) + "  ret void\n")  # fmt: skip


def shuffled(mode: str, lane: int, distance: int, clamp: int) -> int:
    """The manual's words."""
    bound, segment = clamp & 31, clamp >> 8 & 31
    last = lane & segment | bound & ~segment
    first = lane & segment
    source, exists = {
        "up": (lane - distance, lane - distance >= last),
        "down": (lane + distance, lane + distance <= last),
        "bfly": (lane ^ distance, lane ^ distance <= last),
        "idx": (first | distance & ~segment, (first | distance & ~segment) <= last),
    }[mode]
    return source if exists else lane


@pytest.mark.parametrize("width", [32, 16, 8, 4, 1])
def test_shuffles(width: int) -> None:
    for distance in (0, 1, 3, 5, 16, 31):
        for clamp in (31, 0):
            out, argument = Memory(16 * 32), (32 - width) << 8 | clamp
            assert launch(SHUFFLES, 1, 32, [out, distance, argument]) == 0, simulator.last_fault()
            expected = [[shuffled(mode, lane, distance, argument) for mode in MODES]
                        for lane in range(32)]  # fmt: skip
            np.testing.assert_array_equal(out.read("i4").reshape(32, 4), expected)


VOTES = kernel("ptr %out", """
  %odd = trunc i64 %tid to i1
  %some = call i1 @llvm.nvvm.vote.any.sync(i32 -1, i1 %odd)
  %every = call i1 @llvm.nvvm.vote.all.sync(i32 -1, i1 %odd)
  %ballot = call i32 @llvm.nvvm.vote.ballot.sync(i32 -1, i1 %odd)
  %one = zext i1 %some to i32
  %two = zext i1 %every to i32
  %record = getelementptr [3 x i32], ptr %out, i64 %tid
  store i32 %one, ptr %record
  %q = getelementptr i32, ptr %record, i64 1
  store i32 %two, ptr %q
  %r = getelementptr i32, ptr %record, i64 2
  store i32 %ballot, ptr %r
  ret void
""")  # fmt: skip


def test_votes() -> None:
    out = Memory(4 * 3 * 64)
    assert launch(VOTES, 1, 64, [out]) == 0, simulator.last_fault()
    assert (out.read("u4").reshape(64, 3) == [1, 0, 0xAAAAAAAA]).all()


def test_warp_barriers_order_a_warp() -> None:
    text = kernel("ptr %out", f"""
  %p = getelementptr i32, ptr %shared, i64 %tid
  store i32 %tid32, ptr %p
  {WARP_BARRIER}
  %other = xor i64 %tid, 1
  %q = getelementptr i32, ptr %shared, i64 %other
  %v = load i32, ptr %q
  {WARP_BARRIER}
  store i32 %v, ptr %p
  %o = getelementptr i32, ptr %out, i64 %tid
  store i32 %v, ptr %o
  ret void
""")  # fmt: skip
    out = Memory(4 * 96)
    assert launch(text, 1, 96, [out]) == 0, simulator.last_fault()
    np.testing.assert_array_equal(out.read("i4"), np.arange(96) ^ 1)


def test_out_of_memory() -> None:
    cell = ctypes.c_size_t()
    simulator.set_limit(1000)
    try:
        first = Memory(600)
        assert driver("alloc", ctypes.addressof(cell), 401) == 2
        first.free()
        Memory(1000)
    finally:
        simulator.set_limit(None)
    assert driver("alloc", ctypes.addressof(cell), 1 << 50) == 2


def test_transfers() -> None:
    x = np.arange(100, dtype="f4")
    a, b = Memory.of(x), Memory(x.nbytes)
    assert driver("copy", b.address, a.address, x.nbytes) == 0
    np.testing.assert_array_equal(b.read("f4"), x)
    assert driver("set_bytes", b.address + 4, 0xFF, 4) == 0
    assert b.read("u4")[:3].tolist() == [0, 0xFFFFFFFF, x[2:3].view("u4")[0]]
    assert driver("copy", b.address, a.address, 0) == driver("wait") == driver("enter", None) == 0


def test_wrong_transfers_are_caught() -> None:
    a, b, host = Memory.of(np.zeros(64, "f4")), Memory(256), np.zeros(100, "f4")
    address = host.ctypes.data
    for message, call in (
        ("across the end", ("to_host", address, a.address, 257)),
        ("across the end", ("to_host", address, a.address, (1 << 64) - 8)),
        ("across the end", ("to_device", a.address + 4, address, 256)),
        ("across the end", ("copy", b.address, a.address + 255, 2)),
        ("4 bytes before", ("set_bytes", a.address - 4, 0, 8)),
        ("never written", ("to_host", address, b.address, 256)),
        ("frees", ("free", a.address + 4)),
        ("frees", ("free", address)),
    ):
        assert driver(*call) == 1
        assert message in str(simulator.last_fault()), message
        assert str(simulator.last_fault()).startswith("the host")


def test_freed_memory_is_out_of_reach() -> None:
    for size in (256, 1 << 20):
        a = Memory.of(np.zeros(size, "i1"))
        a.free()
        body = "  %v = load float, ptr %a\n  ret void\n"
        assert launch(kernel("ptr %a", body), 1, 32, [a]) == 700
        again = Memory(size)
        assert driver("to_host", np.zeros(size, "i1").ctypes.data, again.address, size) == 1


def test_the_host_cannot_touch_device_memory() -> None:
    program = """
import ctypes, resource
from kernels import Memory
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
memory = Memory(100)
print("allocated", flush=True)
ctypes.c_int64.from_address(memory.address).value = 1
print("touched")
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    assert done.stdout == "allocated\n", done.stderr
    assert done.returncode < 0


def test_bad_launches() -> None:
    a = Memory.of(np.zeros(1, "f4"))
    for grid, threads, dynamic in ((0, 32, 0), (1, 0, 0), (1, 1025, 0), (1, 32, 49 << 10)):
        assert launch(AXPY, grid, threads, [a, a, 0], dynamic) == 1


@pytest.mark.parametrize(("type_", "size", "alignment"), [
    ("i1", 1, 1), ("i8", 1, 1), ("i24", 4, 4), ("half", 2, 2), ("double", 8, 8), ("ptr", 8, 8),
    ("<4 x float>", 16, 16), ("<2 x double>", 16, 16), ("<8 x i1>", 1, 1), ("<3 x float>", 12, 16),
    ("[3 x i64]", 24, 8), ("{ i8, double }", 16, 8), ("{ float, [2 x i8] }", 8, 4),
])  # fmt: skip
def test_layouts(type_: str, size: int, alignment: int) -> None:
    assert simulation.layout(type_) == (size, alignment)
    assert simulation.read_type(f"{type_} %x, ptr") == (type_, " %x, ptr")


@pytest.mark.parametrize(("line", "expected"), [
    ("  %v = load float, ptr %p", ("%p", 4, 4, READ)),
    ("  %v = load <2 x i64>, ptr %p, align 8, !tbaa !1", ("%p", 16, 8, READ)),
    ("  %v = load volatile i32, ptr getelementptr (i8, ptr @t, i64 4), align 4",
     ("getelementptr (i8, ptr @t, i64 4)", 4, 4, READ | ATOMIC)),
    ("  %v = load atomic i32, ptr %p monotonic, align 4", ("%p", 4, 4, READ | ATOMIC)),
    ("  store <2 x float> <float 1.0, float 2.0>, ptr %p.1, align 8", ("%p.1", 8, 8, WRITE)),
    ("  store { i8, i32 } { i8 1, i32 2 }, ptr %p", ("%p", 8, 4, WRITE)),
    ("  store volatile i64 %x, ptr %p", ("%p", 8, 8, WRITE | ATOMIC)),
    ("  %o = atomicrmw fadd ptr %p, float %x monotonic", ("%p", 4, 4, READ | WRITE | ATOMIC)),
    ("  %o = cmpxchg weak ptr %p, i64 %a, i64 %b acq_rel monotonic",
     ("%p", 8, 8, READ | WRITE | ATOMIC | ORDERED)),
])  # fmt: skip
def test_accesses_are_found(line: str, expected: tuple[object, ...]) -> None:
    assert list(simulation.accesses(line)) == [expected]


def test_unknown_intrinsics_are_refused() -> None:
    text = kernel("ptr %a", "  %v = call i32 @llvm.nvvm.nothing()\n  ret void\n")
    with pytest.raises(CodegenError, match=r"simulated device has no llvm\.nvvm\.nothing"):
        simulation.simulated_unit(text, ["k"])


@pytest.mark.parametrize(("line", "expected"), [
    ("  store volatile ptr %p, ptr %p, align 8", "  store volatile ptr %p, ptr %sim.7.0, align 8"),
    ("  %p.1 = load ptr, ptr %p", "  %p.1 = load ptr, ptr %sim.7.0"),
    ("  %p.1 = load i32, ptr getelementptr (i8, ptr @t, i64 8), align 4",
     "  %p.1 = load i32, ptr %sim.7.0, align 4"),
    ("  call void @llvm.memcpy.p0.p0.i64(ptr align 4 %p, ptr %p, i64 %n, i1 false)",
     "  call void @llvm.memcpy.p0.p0.i64(ptr align 4 %sim.7.1, ptr %sim.7.0, i64 %n, i1 false)"),
    ("  %p.1 = fadd float %a, %b", "  %p.1 = fadd float %a, %b"),
])  # fmt: skip
def test_accesses_happen_where_the_simulator_says(line: str, expected: str) -> None:
    assert list(simulation.checked(line, 7))[-1] == expected


def test_blocks_and_warps_run_forward_or_backward() -> None:
    text = kernel("ptr %ticket, ptr %out", f"""
  {BARRIER}
  %order = atomicrmw add ptr %ticket, i32 1 monotonic
  %o = getelementptr i32, ptr %out, i64 %i
  store i32 %order, ptr %o
  ret void
""")  # fmt: skip
    for backward in (False, True):
        simulator.set_backward(backward)
        ticket, out = Memory.of(np.zeros(1, "i4")), Memory(4 * 240)
        assert launch(text, 3, 80, [ticket, out]) == 0, simulator.last_fault()
        order = np.arange(240)
        if backward:  # warps of 32, 32 and 16 threads
            order = np.concatenate([np.concatenate(np.split(block, [32, 64])[::-1])
                                    for block in np.split(order, 3)[::-1]])  # fmt: skip
        np.testing.assert_array_equal(np.argsort(out.read("i4")), order)


#: What else a kernel may do: constants, the stack, copies, several variables in shared memory and
#: more of it, which the launch asks for, exchanges, and functions of its own that wait.
REST = kernel("ptr %x, ptr %out", """
  %out.count = getelementptr float, ptr %out, i64 64
  %own = alloca [2 x float], align 16
  %k = and i64 %tid, 3
  %c = getelementptr float, ptr @table, i64 %k
  %constant = load float, ptr %c
  store float %constant, ptr %own
  %own.1 = getelementptr float, ptr %own, i64 1
  store float 1.0, ptr %own.1
  %two = load <2 x float>, ptr %own
  %one = extractelement <2 x float> %two, i32 1
  %low = addrspacecast ptr addrspace(3) @k.more to ptr
  %s = getelementptr float, ptr addrspace(3) @k.more, i64 %tid
  store float %constant, ptr addrspace(3) %s, align 4
  %d = getelementptr float, ptr addrspacecast (ptr addrspace(3) @k.asked to ptr), i64 %tid
  %p = getelementptr float, ptr %x, i64 %tid
  call void @llvm.memcpy.p0.p0.i64(ptr %d, ptr %p, i64 4, i1 false)
  call void @meet()
  %other = xor i64 %tid, 1
  %q = getelementptr float, ptr %low, i64 %other
  %neighbour = load float, ptr %q
  %e = getelementptr float, ptr addrspacecast (ptr addrspace(3) @k.asked to ptr), i64 %other
  %copied = load float, ptr %e
  %turned = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %copied, i32 1, i32 31)
  %sum.1 = fadd float %neighbour, %one
  %sum.2 = fadd float %sum.1, %turned
  %o = getelementptr float, ptr %out, i64 %tid
  store float %sum.2, ptr %o
  br label %again
again:
  %seen = load volatile i32, ptr %out.count
  %more = add i32 %seen, 1
  %pair = cmpxchg ptr %out.count, i32 %seen, i32 %more monotonic monotonic
  %done = extractvalue { i32, i1 } %pair, 1
  br i1 %done, label %end, label %again
end:
  ret void
""") + f"""
@k.asked = external addrspace(3) global [0 x float], align 16
@k.more = internal addrspace(3) global [64 x float] undef, align 16
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define internal void @meet() {{
  {BARRIER}
  ret void
}}
"""  # fmt: skip


def test_the_rest_of_what_kernels_do() -> None:
    x = np.arange(64, dtype="f4")
    a, out = Memory.of(x), Memory.of(np.zeros(65, "f4"))
    assert launch(REST, 1, 64, [a, out], dynamic=256) == 0, simulator.last_fault()
    table = np.array([1, 2, 3, 4], "f4")[(np.arange(64) ^ 1) & 3]
    np.testing.assert_array_equal(out.read("f4")[:64], table + 1 + x)
    assert out.read("i4")[64] == 64
    assert launch(REST, 1, 64, [a, out], dynamic=128) == 700
    assert "past the end of the shared memory" in str(simulator.last_fault())


def test_allocations_never_overlap_when_the_arena_starts_again() -> None:
    rng = np.random.default_rng(3)
    words = simulator._words()
    memories: list[Memory] = []
    for round_ in range(6):
        # From just before the end, then from the start, amid what is left of earlier rounds.
        simulator._cell("cursor").value = words["end"] - 20_000 * (1 + round_ % 2)
        for _ in range(20):
            memories.append(Memory(int(rng.integers(1, 9000))))
            if len(memories) > 5 and rng.integers(2):
                memories.pop(int(rng.integers(len(memories)))).free()
    live = sorted(simulator.live_allocations().items())
    assert live == sorted((m.address, m.size) for m in memories)
    assert words["arena"] <= live[0][0]
    assert sum(live[-1]) <= words["end"]
    assert all(a + size < b for (a, size), (b, _) in itertools.pairwise(live))


def test_threads_of_the_host_take_turns() -> None:
    def work(value: int) -> bool:
        a, out = Memory.of(np.full(640, value, "i4")), Memory(4 * 5)
        status = launch(BLOCK_SUM, 5, 128, [a, out])
        good = (out.read("i4") == 128 * value).all()
        a.free()
        out.free()
        return status == 0 and bool(good)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(100)))


def test_a_kernel_like_another_may_be_launched_again() -> None:
    module = DeviceModule(device_target("sm_80"))
    first, second = (module.kernel(name, ["ptr %x"]) for name in ("one", "two"))
    for made in (first, second):
        made.do("ret void")
    assert [module.launched(made) for made in (first, second, second, first)] == [0] * 4
    assert module.functions == [first]
