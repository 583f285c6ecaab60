"""The simulated device: right kernels run and are right, wrong ones are caught."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kernels import BARRIER, WARP_BARRIER, Memory, driver, kernel, launch

from jitgraph.codegen.gpu import simulation, simulator
from jitgraph.codegen.gpu.simulator_checks import ATOMIC, READ, WRITE
from jitgraph.codegen.gpu.simulator_state import Kind, result_of
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


#: The block that comes last adds up what all blocks wrote: stores and loads are volatile.
LAST_BLOCK = kernel("ptr %parts, ptr %ticket, ptr %out", """
  %leads = icmp eq i64 %tid, 0
  br i1 %leads, label %lead, label %done
lead:
  %p = getelementptr i64, ptr %parts, i64 %block
  store volatile i64 %block, ptr %p
  call void @llvm.nvvm.membar.gl()
  %mine = atomicrmw add ptr %ticket, i32 1 acq_rel
  %next = add i32 %mine, 1
  %last = icmp eq i32 %next, %blocks32
  br i1 %last, label %loop, label %done
loop:
  %k = phi i64 [ 0, %lead ], [ %k.next, %loop ]
  %acc = phi i64 [ 0, %lead ], [ %sum, %loop ]
  %q = getelementptr i64, ptr %parts, i64 %k
  %v = load volatile i64, ptr %q
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


def test_the_last_block_sees_what_others_wrote() -> None:
    parts, ticket, out = Memory(8 * 10), Memory.of(np.zeros(1, "i4")), Memory(8)
    assert launch(LAST_BLOCK, 10, 32, [parts, ticket, out]) == 0, simulator.last_fault()
    assert out.read("i8") == 45


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
import ctypes, sys
from kernels import Memory
from jitgraph.codegen.gpu import simulation, simulator
from jitgraph.codegen.gpu.simulator_checks import ATOMIC, READ, WRITE
memory = Memory(100)
simulator.set_guarded(sys.argv[1] == "guarded")
ctypes.c_int64.from_address(memory.address).value = 1
print("touched")
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    for how, ok in (("guarded", False), ("open", True)):
        done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": path})  # fmt: skip
        assert (done.returncode == 0, "touched" in done.stdout) == (ok, ok), done.stderr
        assert ok or done.returncode < 0


def test_bad_launches() -> None:
    a = Memory.of(np.zeros(1, "f4"))
    for grid, threads, dynamic in ((0, 32, 0), (1, 0, 0), (1, 1025, 0), (1, 32, 1 << 20)):
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
     ("%p", 8, 8, READ | WRITE | ATOMIC)),
])  # fmt: skip
def test_accesses_are_found(line: str, expected: tuple[object, ...]) -> None:
    assert list(simulation.accesses(line)) == [expected]


def test_unknown_intrinsics_are_refused() -> None:
    text = kernel("ptr %a", "  %v = call i32 @llvm.nvvm.nothing()\n  ret void\n")
    with pytest.raises(CodegenError, match=r"simulated device has no llvm\.nvvm\.nothing"):
        simulation.simulated_unit(text, ["k"])
