"""What the simulated device knows, as words of generated code, and how it ends a kernel at a fault.

`@sim` holds the state (`FIELDS`), `@sim_place` what a kernel asks for its place in the grid,
`@sim_shared_memory` the shared memory of the one block that runs. Stamps are kept shifted, as the
records of accesses hold them (see `simulator.checks`).
"""

from __future__ import annotations

from enum import IntEnum

from jitgraph.codegen.llvm import FunctionBuilder, Module

#: The words of `@sim`. `arena` to `end` are the device's addresses, whose contents are in `memory`;
#: `registry` lists the live allocations, of which `near` was the last one looked at; `written` and
#: `races` are the shadows. Then come the launch, its time, its fibers, and what went wrong.
FIELDS = (
    "arena", "end", "memory", "cursor", "limit", "used", "count", "registry", "near", "near_extent",
    "written", "races", "shared_written", "shared_races",
    "kernel", "parameters", "bytes", "threads", "thread", "launches", "waits", "backward",
    "clock", "launch", "block", "interval", "number", "fences", "fenced",
    "acquired",
    "scheduler", "stacks", "stack", "stack_end", "aborted",
    "fault", "fault_kernel", "fault_block", "fault_thread", "fault_address", "fault_size",
    "fault_bytes", "fault_base", "fault_extent", "fault_other",
)  # fmt: skip
#: For how many blocks of a launch it is known when they had a fence.
KNOWN_BLOCKS = 1 << 20
#: How many bytes of a kernel's name `@sim_fault_name` keeps.
NAME_BYTES = 256

#: A block's shared memory on the largest devices.
SHARED_BYTES = 227 << 10
WARP = 32
#: Bytes in `races` for a byte of memory.
RECORD_BYTES = 16
#: Stamps are counted; in records of accesses they stand above this many bits.
STAMP_SHIFT = 16
MOST_THREADS = 1024
#: The words of a kernel's descriptor.
DESCRIPTOR = ("thunk", "shared", "synchronises", "name", "constants", "constant_count", "most")

SUCCESS, INVALID_VALUE, OUT_OF_MEMORY = 0, 1, 2
ILLEGAL_ADDRESS, MISALIGNED, LAUNCH_FAILED = 700, 716, 719


class Kind(IntEnum):
    """What went wrong."""

    OUTSIDE = 1
    HOST = 2
    SHARED = 3
    MISALIGNED = 4
    UNINITIALISED = 5
    RACE = 6
    BARRIER = 7
    WARP = 8
    LANE = 9
    TRANSFER = 10
    RELEASE = 11


#: `fault_other` of a race: who the other was, that it was a read, and was in another block.
OTHER_WHO, OTHER_READS, OTHER_BLOCK = (1 << 12) - 1, 1 << 13, 1 << 14

#: The result of the launch, where it is not LAUNCH_FAILED.
_RESULTS = {
    Kind.OUTSIDE: ILLEGAL_ADDRESS,
    Kind.HOST: ILLEGAL_ADDRESS,
    Kind.SHARED: ILLEGAL_ADDRESS,
    Kind.MISALIGNED: MISALIGNED,
}


def cell(field: str) -> str:
    """The address of a word of the state."""
    return f"getelementptr inbounds (i8, ptr @sim, i64 {8 * FIELDS.index(field)})"


def get(f: FunctionBuilder, field: str, type_: str = "i64") -> str:
    """Read a word of the state."""
    return f.emit(f"load {type_}, ptr {cell(field)}", field)


def put(f: FunctionBuilder, field: str, value: str | int, type_: str = "i64") -> None:
    """Write a word of the state."""
    f.do(f"store {type_} {value}, ptr {cell(field)}")


def described(f: FunctionBuilder, field: str, type_: str = "i64") -> str:
    """Read a word of the descriptor of the kernel that runs."""
    place = f.offset(get(f, "kernel", "ptr"), 8 * DESCRIPTOR.index(field))
    return f.emit(f"load {type_}, ptr {place}", field)


def place(name: str) -> str:
    """The address of a thread's `tid`, `ctaid`, `ntid` or `nctaid`."""
    return f"getelementptr inbounds (i8, ptr @sim_place, i64 {4 * PLACE.index(name)})"


PLACE = ("tid", "ctaid", "ntid", "nctaid")


def warp_stamp(f: FunctionBuilder, thread: str) -> str:
    """Where it is noted when the warp of a thread was last at its barrier."""
    return f.emit(f"getelementptr i64, ptr @warps, i64 {f.emit(f'lshr i64 {thread}, 5')}")


def result_of(kind: Kind) -> int:
    """The driver's code for a fault."""
    return _RESULTS.get(kind, LAUNCH_FAILED)


def emit_state(module: Module) -> None:
    """The variables; the lock (`@enter` and `@leave`) of whatever touches the device; `sim_enter`,
    `sim_current` and `sim_wait`, which have nothing to do but to count."""
    module.declare(f"@sim = global [{len(FIELDS)} x i64] zeroinitializer, align 64")
    module.declare("@sim_place = global [4 x i32] zeroinitializer, align 16")
    module.declare(f"@sim_shared_memory = global [{SHARED_BYTES} x i8] zeroinitializer, align 256")
    module.declare(f"@warps = internal global [{MOST_THREADS // WARP} x i64] zeroinitializer")
    module.declare(f"@sim_fault_name = global [{NAME_BYTES} x i8] zeroinitializer")
    module.declare("@mutex = internal global [128 x i8] zeroinitializer, align 64")
    for declaration in (
        "i32 @pthread_mutex_init(ptr, ptr)",
        "i32 @pthread_mutex_lock(ptr)",
        "i32 @pthread_mutex_unlock(ptr)",
        "ptr @mmap(ptr, i64, i32, i32, i32, i64)",
        "i32 @madvise(ptr, i64, i32)",
        "ptr @strncpy(ptr, ptr, i64)",
        "void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        "void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
        "void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)",
    ):
        module.declare(f"declare {declaration}")
    f = FunctionBuilder(module, "enter", internal=True)
    f.do("call i32 @pthread_mutex_lock(ptr @mutex)")
    f.do("ret void")
    f = FunctionBuilder(module, "leave", internal=True)
    f.do("call i32 @pthread_mutex_unlock(ptr @mutex)")
    f.do("ret void")
    f = FunctionBuilder(module, "sim_enter", ["ptr %context"], returns="i32")
    f.do("ret i32 0")
    f = FunctionBuilder(module, "sim_current", ["ptr %context"], returns="i32")
    f.do("store ptr null, ptr %context")
    f.do("ret i32 0")
    f = FunctionBuilder(module, "sim_wait", ["ptr %stream"], returns="i32")
    put(f, "waits", f.emit(f"add i64 {get(f, 'waits')}, 1"))
    f.do("ret i32 0")
