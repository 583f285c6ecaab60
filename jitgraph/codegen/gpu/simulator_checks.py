"""What the simulated device checks before a thread touches memory.

    void @sim_access(ptr address, i64 size, i64 alignment, i64 kind)

Memory must be a live allocation, the block's shared memory, the thread's own stack or, to read, a
variable of the module. What is read must have been written. And no two threads may touch a byte,
of which one writes, with nothing between them that says who comes first: the block's barrier, the
warp's, or the end of the launch; unless both are atomic (`volatile` counts, as PTX has it).

So every byte has two *records* in a shadow, of who last wrote and who last read it: a stamp (when),
whether all was atomic, and a thread or, if there were several since the last barrier, whether they
are of one warp, one block, or the grid. A stamp is what the clock showed; it ticks with every
launch, block and barrier, so that records need never be cleared.
"""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator_state import (
    OTHER_BLOCK,
    OTHER_READS,
    RECORD_BYTES,
    SHARED_BYTES,
    STAMP_SHIFT,
    Kind,
    described,
    get,
    put,
    warp_stamp,
)
from jitgraph.codegen.llvm import FunctionBuilder, Module

#: What an access may be, as bits.
READ, WRITE, ATOMIC = 1, 2, 4
#: A record, from its lowest bit: thread (10 bits), who (2 bits), whether any access was plain.
_THREAD_MASK = 1023
_WHO_SHIFT = 10
_WHO_MASK, _WARP, _BLOCK, _GRID = (who << _WHO_SHIFT for who in (3, 1, 2, 3))
_PLAIN = 1 << 12


def emit_checks(module: Module) -> None:
    """`sim_access` and what it calls."""
    module.declare("declare ptr @memchr(ptr, i32, i64)")
    _emit_begin_block(module)
    _emit_access(module)
    _emit_elsewhere(module)
    _emit_tracked(module)
    _emit_hole(module)
    _emit_unordered(module)
    _emit_merged(module)
    _emit_races(module)


def _emit_begin_block(module: Module) -> None:
    f = FunctionBuilder(module, "begin_block", internal=True)
    put(f, "thread", 0)
    written = get(f, "shared_written", "ptr")
    f.do(f"call void @llvm.memset.p0.i64(ptr {written}, i8 0, i64 {get(f, 'bytes')}, i1 false)")
    f.do("ret void")


def _emit_access(module: Module) -> None:
    parameters = ["ptr %pointer", "i64 %size", "i64 %alignment", "i64 %kind"]
    f = FunctionBuilder(module, "sim_access", parameters)
    address = f.emit("ptrtoint ptr %pointer to i64", "address")
    odd = f.emit(f"and i64 {address}, {f.emit('sub i64 %alignment, 1')}")
    with f.if_then(f.emit(f"icmp ne i64 {odd}, 0")):
        put(f, "fault_other", "%alignment")
        _fault(f, Kind.MISALIGNED, address)
    with f.if_then(f.emit("icmp eq i64 %size, 0")):
        f.do("ret void")
    offset = f.emit(f"sub i64 {address}, {get(f, 'arena')}")
    room = f.emit(f"sub i64 {get(f, 'end')}, {get(f, 'arena')}")
    with f.if_then(f.emit(f"icmp ult i64 {offset}, {room}")):
        beyond = _end_within(f, address, get(f, "near"))
        with f.if_then(f.emit(f"icmp ugt i64 {beyond}, {get(f, 'near_extent')}")):
            live = f.emit(f"call i1 @live(i64 {address}, i64 %size)")
            with f.if_then(f.emit(f"xor i1 {live}, true")):
                _fault(f, Kind.OUTSIDE, address)
        _check(f, address, offset, "written", "races", get(f, "launch"))
    shared = f.emit(f"sub i64 {address}, ptrtoint (ptr @sim_shared_memory to i64)")
    with f.if_then(f.emit(f"icmp ult i64 {shared}, {SHARED_BYTES}")):
        bytes_ = get(f, "bytes")
        end = f.emit(f"add i64 {shared}, %size")
        with f.if_then(f.emit(f"icmp ugt i64 {end}, {bytes_}")):
            _fault(f, Kind.SHARED, address)
        _check(f, address, shared, "shared_written", "shared_races", get(f, "block"))
    f.do(f"call void @elsewhere(i64 {address}, i64 %size, i64 %kind)")
    f.do("ret void")


def _end_within(f: FunctionBuilder, address: str, start: str) -> str:
    return f.emit(f"add i64 {f.emit(f'sub i64 {address}, {start}')}, %size")


def _fault(f: FunctionBuilder, kind: Kind, address: str) -> None:
    f.do(f"call void @fault(i64 {kind}, i64 {address}, i64 %size)")


def _check(
    f: FunctionBuilder, address: str, offset: str, written: str, races: str, oldest: str
) -> None:
    """Check what is tracked in shadows."""
    first = f.offset(get(f, written, "ptr"), offset)
    record = f.offset(get(f, races, "ptr"), f.emit(f"mul i64 {offset}, {RECORD_BYTES}"))
    f.do(f"call void @tracked(i64 {address}, i64 %size, i64 %kind, ptr {first}, ptr {record}, "
         f"i64 {oldest})")  # fmt: skip
    f.do("ret void")


def _emit_elsewhere(module: Module) -> None:
    """`void @elsewhere(i64 address, i64 size, i64 kind)`: the thread's stack, and variables."""
    f = FunctionBuilder(
        module, "elsewhere", ["i64 %address", "i64 %size", "i64 %kind"], internal=True
    )
    stack = get(f, "stack")
    room = f.emit(f"sub i64 {get(f, 'stack_end')}, {stack}")
    with f.if_then(f.emit(f"icmp ule i64 {_end_within(f, '%address', stack)}, {room}")):
        f.do("ret void")
    with f.if_then(f.emit(f"icmp eq i64 %kind, {READ}")):
        table = described(f, "constants", "ptr")
        with f.loop(0, described(f, "constant_count")) as k:
            row = f.emit(f"getelementptr [2 x i64], ptr {table}, i64 {k}")
            start = f.emit(f"load i64, ptr {row}")
            extent = f.emit(f"load i64, ptr {f.offset(row, 8)}")
            with f.if_then(f.emit(f"icmp ule i64 {_end_within(f, '%address', start)}, {extent}")):
                f.do("ret void")
    put(f, "near", 0)
    put(f, "near_extent", 0)
    _fault(f, Kind.HOST, "%address")
    f.do("ret void")


_TRACKED = ["i64 %address", "i64 %size", "i64 %kind", "ptr %written", "ptr %record", "i64 %oldest"]


def _emit_tracked(module: Module) -> None:
    """`void @tracked(...)`: memory that has shadows; `oldest` is the stamp before which no access
    matters."""
    f = FunctionBuilder(module, "tracked", _TRACKED, internal=True)
    with f.if_then(_has(f, "%kind", READ)):
        hole = f.emit("call i64 @hole(ptr %written, i64 %size)")
        with f.if_then(f.emit(f"icmp sge i64 {hole}, 0")):
            _fault(f, Kind.UNINITIALISED, f.emit(f"add i64 %address, {hole}"))
    writes = _has(f, "%kind", WRITE)
    with f.if_then(writes):
        f.do("call void @llvm.memset.p0.i64(ptr %written, i8 1, i64 %size, i1 false)")
    plain = f.select(_has(f, "%kind", ATOMIC), "i64", 0, _PLAIN)
    with f.loop(0, "%size", name="byte") as byte:
        place = f.emit(f"getelementptr [2 x i64], ptr %record, i64 {byte}")
        address = f.emit(f"add i64 %address, {byte}")
        f.do(f"call void @races(i64 {address}, ptr {place}, i64 {plain}, i1 {writes}, i64 %oldest)")
    f.do("ret void")


def _has(f: FunctionBuilder, word: str, bit: int) -> str:
    return f.emit(f"icmp ne i64 {f.emit(f'and i64 {word}, {bit}')}, 0")


def _emit_hole(module: Module) -> None:
    """`i64 @hole(ptr written, i64 size)`: the first byte never written, or -1."""
    f = FunctionBuilder(
        module, "hole", ["ptr %written", "i64 %size"], returns="i64", internal=True
    )
    with f.if_then(f.emit("icmp eq i64 %size, 4")):
        word = f.emit("load i32, ptr %written, align 1")
        with f.if_then(f.emit(f"icmp eq i32 {word}, {0x01010101}")):
            f.do("ret i64 -1")
    found = f.emit("call ptr @memchr(ptr %written, i32 0, i64 %size)")
    with f.if_then(f.emit(f"icmp eq ptr {found}, null")):
        f.do("ret i64 -1")
    end, start = (f.emit(f"ptrtoint ptr {p} to i64") for p in (found, "%written"))
    f.do(f"ret i64 {f.emit(f'sub i64 {end}, {start}')}")


def _emit_unordered(module: Module) -> None:
    """`i1 @unordered(i64 record, i64 oldest)`: whether nothing says that what is recorded came
    before what this thread does now."""
    f = FunctionBuilder(
        module, "unordered", ["i64 %record", "i64 %oldest"], returns="i1", internal=True
    )
    with f.if_then(f.emit("icmp ult i64 %record, %oldest")):
        f.do("ret i1 false")
    who = f.emit(f"and i64 %record, {_WHO_MASK}")
    other_block = f.emit(f"icmp ult i64 %record, {get(f, 'block')}")
    grid = f.emit(f"icmp eq i64 {who}, {_GRID}")
    with f.if_then(f.emit(f"or i1 {other_block}, {grid}")):
        f.do("ret i1 true")
    with f.if_then(f.emit(f"icmp ult i64 %record, {get(f, 'interval')}")):
        f.do("ret i1 false")
    thread = get(f, "thread")
    with f.if_then(_is_mine(f, "%record", thread)):
        f.do("ret i1 false")
    stamp = f.emit(f"load i64, ptr {warp_stamp(f, thread)}")
    met = f.emit(f"icmp ult i64 %record, {stamp}")
    both = f.emit(f"and i1 {met}, {_is_of_my_warp(f, '%record', thread)}")
    f.do(f"ret i1 {f.emit(f'xor i1 {both}, true')}")


def _is_mine(f: FunctionBuilder, record: str, thread: str) -> str:
    owner = f.emit(f"and i64 {record}, {_WHO_MASK | _THREAD_MASK}")
    return f.emit(f"icmp eq i64 {owner}, {thread}")


def _is_of_my_warp(f: FunctionBuilder, record: str, thread: str) -> str:
    """Whether all that is recorded was done by this thread's warp, in this block."""
    owner = f.emit(f"and i64 {record}, {_WHO_MASK & ~_WARP | _THREAD_MASK & -32}")
    return f.emit(f"icmp eq i64 {owner}, {f.emit(f'and i64 {thread}, -32')}")


def _emit_merged(module: Module) -> None:
    """`i64 @merged(i64 record, i1 unordered, i64 plain)`: the record with what this thread does."""
    f = FunctionBuilder(
        module, "merged", ["i64 %record", "i1 %unordered", "i64 %plain"],
        returns="i64", internal=True,
    )  # fmt: skip
    thread = get(f, "thread")
    stamp = f.emit(f"shl i64 {get(f, 'clock')}, {STAMP_SHIFT}")
    own = f.emit(f"or i64 {f.emit(f'or i64 {stamp}, {thread}')}, %plain")
    both = f.emit(f"or i64 {own}, {f.emit(f'and i64 %record, {_PLAIN}')}")
    with f.if_then("%unordered"):
        other_block = f.emit(f"icmp ult i64 %record, {get(f, 'block')}")
        was_grid = f.emit(f"icmp eq i64 {f.emit(f'and i64 %record, {_WHO_MASK}')}, {_GRID}")
        grid = f.emit(f"or i1 {other_block}, {was_grid}")
        warp = f.select(_is_of_my_warp(f, "%record", thread), "i64", _WARP, _BLOCK)
        who = f.select(grid, "i64", _GRID, warp)
        f.do(f"ret i64 {f.emit(f'or i64 {both}, {who}')}")
    recent = f.emit(f"icmp uge i64 %record, {get(f, 'interval')}")
    again = f.emit(f"and i1 {recent}, {_is_mine(f, '%record', thread)}")
    f.do(f"ret i64 {f.select(again, 'i64', both, own)}")


def _emit_races(module: Module) -> None:
    """`void @races(...)`: check and record what is done with one byte."""
    f = FunctionBuilder(
        module, "races",
        ["i64 %address", "ptr %place", "i64 %plain", "i1 %writes", "i64 %oldest"], internal=True,
    )  # fmt: skip
    written = f.emit("load i64, ptr %place")
    read = f.emit(f"load i64, ptr {f.offset('%place', 8)}")
    after_write = f.emit(f"call i1 @unordered(i64 {written}, i64 %oldest)")
    _conflict(f, after_write, written, 0)
    after_read = f.emit(f"call i1 @unordered(i64 {read}, i64 %oldest)")
    store, load = f.label("store"), f.label("load")
    f.branch_if("%writes", store, load)
    f.block(store)
    _conflict(f, after_read, read, OTHER_READS)
    merged = f"call i64 @merged(i64 {written}, i1 {after_write}, i64 %plain)"
    f.do(f"store i64 {f.emit(merged)}, ptr %place")
    f.do("ret void")
    f.block(load)
    merged = f"call i64 @merged(i64 {read}, i1 {after_read}, i64 %plain)"
    f.do(f"store i64 {f.emit(merged)}, ptr {f.offset('%place', 8)}")
    f.do("ret void")


def _conflict(f: FunctionBuilder, unordered: str, record: str, how: int) -> None:
    """End the kernel where an access to be ordered is not, and not both are atomic."""
    plain = _has(f, f.emit(f"or i64 {record}, %plain"), _PLAIN)
    with f.if_then(f.emit(f"and i1 {unordered}, {plain}")):
        other_block = f.emit(f"icmp ult i64 {record}, {get(f, 'block')}")
        where = f.select(other_block, "i64", OTHER_BLOCK, 0)
        other = f.emit(f"and i64 {record}, {_WHO_MASK | _THREAD_MASK}")
        put(f, "fault_other", f.emit(f"or i64 {f.emit(f'or i64 {other}, {where}')}, {how}"))
        f.do(f"call void @fault(i64 {Kind.RACE}, i64 %address, i64 1)")
