"""What the simulated device knows, as words of generated code, and how it ends a kernel at a fault.

`@sim` holds the state (`FIELDS`), `@sim_place` what a kernel asks for its place in the grid,
`@sim_shared_memory` the shared memory of the one block that runs. Stamps are kept shifted, as the
records of accesses hold them (see `simulator_checks`).
"""

from __future__ import annotations

from enum import IntEnum

from jitgraph.codegen.llvm import FunctionBuilder, Module

#: The words of `@sim`. `arena` to `end` is the device's memory, allocated so far up to `high`;
#: `written` and `races` are the shadows beside it; `registry` lists the live allocations.
FIELDS = (
    "arena", "end", "high", "cursor", "limit", "used", "count", "registry", "written", "races",
    "open", "kernel", "bytes", "parameters", "clock", "launch", "block", "interval", "thread",
    "threads", "stack", "stack_end", "stacks", "scheduler", "aborted",
    "fault", "fault_kernel", "fault_block", "fault_thread", "fault_address", "fault_size",
    "fault_base", "fault_extent", "fault_other", "launches",
)  # fmt: skip

#: A block's shared memory on the largest devices.
SHARED_BYTES = 227 << 10
WARP = 32
MOST_THREADS = 1024
#: The words of a kernel's descriptor.
DESCRIPTOR = ("thunk", "shared", "synchronises", "name", "constants", "constant_count")

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


def result_of(kind: Kind) -> int:
    """The driver's code for a fault."""
    return _RESULTS.get(kind, LAUNCH_FAILED)


def emit_state(module: Module) -> None:
    """The variables, the lock, `sim_enter` and `sim_wait`, which have nothing to do."""
    module.declare(f"@sim = global [{len(FIELDS)} x i64] zeroinitializer, align 64")
    module.declare("@sim_place = global [4 x i32] zeroinitializer, align 16")
    module.declare(f"@sim_shared_memory = global [{SHARED_BYTES} x i8] zeroinitializer, align 256")
    module.declare("@mutex = internal global [128 x i8] zeroinitializer, align 64")
    for declaration in (
        "i32 @pthread_mutex_init(ptr, ptr)",
        "i32 @pthread_mutex_lock(ptr)",
        "i32 @pthread_mutex_unlock(ptr)",
        "ptr @mmap(ptr, i64, i32, i32, i32, i64)",
        "i32 @mprotect(ptr, i64, i32)",
        "i32 @madvise(ptr, i64, i32)",
        "void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
        "void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
        "void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)",
    ):
        module.declare(f"declare {declaration}")
    for name, parameter in (("sim_enter", "ptr %context"), ("sim_wait", "ptr %stream")):
        f = FunctionBuilder(module, name, [parameter], returns="i32")
        f.do("ret i32 0")
