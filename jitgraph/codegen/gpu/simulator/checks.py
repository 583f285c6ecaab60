"""What the simulated device checks before a thread touches memory.

    ptr @sim_access(ptr address, i64 size, i64 alignment, i64 kind)

gives the place on the host where the access happens. Memory must be a live allocation, the block's
shared memory, the thread's own stack or, to read, a variable of the module. What is read must have
been written. And no two threads may touch a byte, of which one writes, with nothing between them
that says who comes first: the block's barrier, the warp's, or the end of the launch; unless both
are atomic (`volatile` counts, as PTX has it). Of other blocks a block knows what they did before a
fence that something atomic followed, once it has done something atomic itself and then, for plain
accesses, had a fence: so the last block to come may add up what all have written.

So every byte has two *records* in a shadow, of who last wrote and who last read it: a stamp (when),
whether all was atomic, and a thread or, if there were several since the last barrier, whether they
are of one warp, one block, or the grid. A stamp is what the clock showed; it ticks with every
launch, block and barrier, so that records need never be cleared.
"""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator.state import (
    KNOWN_BLOCKS,
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

#: What an access may be, as bits. One that is ordered is a fence as well.
READ, WRITE, ATOMIC, ORDERED = 1, 2, 4, 8
#: How a block may know what others did: it did something atomic, and then had a fence.
_BY_ATOMIC, _BY_FENCE = 1, 2
#: A record, from its lowest bit: thread (10 bits), who (2 bits), whether any access was plain.
_THREAD_MASK = 1023
_WHO_SHIFT = 10
_WHO_MASK, _WARP, _BLOCK, _GRID = (who << _WHO_SHIFT for who in (3, 1, 2, 3))
_PLAIN = 1 << 12
#: Bytes that are looked at together.
_CHUNK = 4


def emit_checks(module: Module) -> None:
    """`sim_access` and what it calls."""
    module.declare("declare ptr @memchr(ptr, i32, i64)")
    _emit_begin_block(module)
    _emit_fence(module)
    _emit_access(module)
    _emit_elsewhere(module)
    _emit_tracked(module)
    _emit_hole(module)
    _emit_unordered(module)
    _emit_merged(module)
    _emit_races(module)


def _emit_begin_block(module: Module) -> None:
    """`void @begin_block(i64 number)`, the number of the block in the order in which they run."""
    f = FunctionBuilder(module, "begin_block", ["i64 %number"], internal=True)
    stamp = f.emit("call i64 @tick()")
    for field, value in (("thread", "0"), ("number", "%number"), ("acquired", "0"), ("fenced", "0"),
                         ("block", stamp), ("interval", stamp)):  # fmt: skip
        put(f, field, value)
    with f.if_then(f.emit(f"icmp slt i64 %number, {KNOWN_BLOCKS}")):
        begun = _fence(f, "%number")
        f.do(f"store i64 {stamp}, ptr {begun}")
        f.do(f"store i64 0, ptr {f.offset(begun, 8)}")
    written = get(f, "shared_written", "ptr")
    f.do(f"call void @llvm.memset.p0.i64(ptr {written}, i8 0, i64 {get(f, 'bytes')}, i1 false)")
    f.do("ret void")


def _fence(f: FunctionBuilder, number: str) -> str:
    """Where it is noted when a block began and, behind it, when it last had a fence of which
    others may know, because something atomic followed."""
    return f.emit(f"getelementptr [2 x i64], ptr {get(f, 'fences', 'ptr')}, i64 {number}")


def _emit_fence(module: Module) -> None:
    """`void @sim_fence()`, of the whole device; `void @exchanged(i64 kind)`, after what is atomic;
    `i1 @released(i64 record, i64 plain)`: whether another block had a fence after what is recorded,
    and this one may know of it."""
    f = FunctionBuilder(module, "sim_fence")
    stamp = f.emit("call i64 @tick()")
    put(f, "fenced", stamp)
    some = f.emit(f"icmp ne i64 {get(f, 'acquired')}, 0")
    put(f, "acquired", f.select(some, "i64", _BY_FENCE, 0))
    f.do("ret void")
    f = FunctionBuilder(module, "exchanged", ["i64 %kind"], internal=True)
    number = get(f, "number")
    known = f.emit(f"icmp slt i64 {number}, {KNOWN_BLOCKS}")
    with f.if_then(f.emit(f"and i1 {known}, {_has(f, '%kind', WRITE)}")):
        f.do(f"store i64 {get(f, 'fenced')}, ptr {f.offset(_fence(f, number), 8)}")
    ordered = f.select(_has(f, "%kind", ORDERED), "i64", _BY_FENCE, _BY_ATOMIC)
    put(f, "acquired", f.maximum(get(f, "acquired"), ordered))
    f.do("ret void")
    f = FunctionBuilder(
        module, "released", ["i64 %record", "i64 %plain"], returns="i1", internal=True
    )
    is_plain = f.emit("icmp ne i64 %plain, 0")
    needed = f.select(is_plain, "i64", _BY_FENCE, _BY_ATOMIC)
    number = get(f, "number")
    missing = f.emit(f"icmp ult i64 {get(f, 'acquired')}, {needed}")
    unknown = f.emit(f"icmp sge i64 {number}, {KNOWN_BLOCKS}")
    with f.if_then(f.emit(f"or i1 {missing}, {unknown}")):
        f.do("ret i1 false")
    loop = f.begin_loop("search", [("i64", "0"), ("i64", number)])
    low, high = loop.carried
    middle = f.emit(f"lshr i64 {f.emit(f'add i64 {low}, {high}')}, 1")
    with f.if_then(f.emit(f"icmp eq i64 {low}, {middle}")):
        fence = f.emit(f"load i64, ptr {f.offset(_fence(f, low), 8)}")
        f.do(f"ret i1 {f.emit(f'icmp ult i64 %record, {fence}')}")
    begun = f.emit(f"load i64, ptr {_fence(f, middle)}")
    before = f.emit(f"icmp ule i64 {begun}, %record")
    f.end_loop(loop, [f.select(before, "i64", middle, low), f.select(before, "i64", high, middle)])


def _emit_access(module: Module) -> None:
    parameters = ["ptr %pointer", "i64 %size", "i64 %alignment", "i64 %kind"]
    f = FunctionBuilder(module, "sim_access", parameters, returns="ptr")
    address = f.emit("ptrtoint ptr %pointer to i64", "address")
    odd = f.emit(f"and i64 {address}, {f.emit('sub i64 %alignment, 1')}")
    with f.if_then(f.emit(f"icmp ne i64 {odd}, 0")):
        put(f, "fault_other", "%alignment")
        _fault(f, Kind.MISALIGNED, address)
    with f.if_then(f.emit("icmp eq i64 %size, 0")):
        f.do("ret ptr %pointer")
    offset = f.emit(f"sub i64 {address}, {get(f, 'arena')}")
    room = f.emit(f"sub i64 {get(f, 'end')}, {get(f, 'arena')}")
    with f.if_then(f.emit(f"icmp ult i64 {offset}, {room}")):
        again = _within(f, address, get(f, "near"), get(f, "near_extent"))
        with f.if_then(f.emit(f"xor i1 {again}, true")):
            live = f.emit(f"call i1 @live(i64 {address}, i64 %size)")
            with f.if_then(f.emit(f"xor i1 {live}, true")):
                _fault(f, Kind.OUTSIDE, address)
        with f.if_then(_has(f, "%kind", ORDERED)):
            f.do("call void @sim_fence()")
        _check(f, address, offset, "written", "races", get(f, "launch"))
        with f.if_then(_has(f, "%kind", ATOMIC)):
            f.do("call void @exchanged(i64 %kind)")
        f.do(f"ret ptr {f.offset(get(f, 'memory', 'ptr'), offset)}")
    shared = f.emit(f"sub i64 {address}, ptrtoint (ptr @sim_shared_memory to i64)")
    with f.if_then(f.emit(f"icmp ult i64 {shared}, {SHARED_BYTES}")):
        start = "ptrtoint (ptr @sim_shared_memory to i64)"
        inside = _within(f, address, start, get(f, "bytes"))
        with f.if_then(f.emit(f"xor i1 {inside}, true")):
            _fault(f, Kind.SHARED, address)
        _check(f, address, shared, "shared_written", "shared_races", get(f, "block"))
        f.do("ret ptr %pointer")
    f.do(f"call void @elsewhere(i64 {address}, i64 %size, i64 %kind)")
    f.do("ret ptr %pointer")


def _within(f: FunctionBuilder, address: str, start: str, extent: str) -> str:
    """Whether `%size` bytes at an address, at least one, lie in so many from a start."""
    offset = f.emit(f"sub i64 {address}, {start}")
    begins = f.emit(f"icmp ult i64 {offset}, {extent}")
    ends = f.emit(f"icmp ule i64 %size, {f.emit(f'sub i64 {extent}, {offset}')}")
    return f.emit(f"and i1 {begins}, {ends}")


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


def _emit_elsewhere(module: Module) -> None:
    """`void @elsewhere(i64 address, i64 size, i64 kind)`: the thread's stack, and variables."""
    f = FunctionBuilder(
        module, "elsewhere", ["i64 %address", "i64 %size", "i64 %kind"], internal=True
    )
    stack = get(f, "stack")
    room = f.emit(f"sub i64 {get(f, 'stack_end')}, {stack}")
    with f.if_then(_within(f, "%address", stack, room)):
        f.do("ret void")
    with f.if_then(f.emit(f"icmp eq i64 %kind, {READ}")):
        table = described(f, "constants", "ptr")
        with f.loop(0, described(f, "constant_count")) as k:
            row = f.emit(f"getelementptr [2 x i64], ptr {table}, i64 {k}")
            start = f.emit(f"load i64, ptr {row}")
            extent = f.emit(f"load i64, ptr {f.offset(row, 8)}")
            with f.if_then(_within(f, "%address", start, extent)):
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
    f.do(f"%writes = icmp uge i64 {f.emit(f'and i64 %kind, {WRITE}')}, {WRITE}")
    with f.if_then("%writes"):
        f.do("call void @llvm.memset.p0.i64(ptr %written, i8 1, i64 %size, i1 false)")
    f.do(f"%plain = select i1 {_has(f, '%kind', ATOMIC)}, i64 0, i64 {_PLAIN}")
    whole = f.emit(f"and i64 %size, {-_CHUNK}")
    with f.loop(0, whole, _CHUNK) as byte:
        _each(f, "races_of_chunk", str(byte), "%record")
    with f.loop(whole, "%size") as byte:
        _each(f, "races", str(byte), "%record")
    f.do("ret void")


def _has(f: FunctionBuilder, word: str, bit: int) -> str:
    return f.emit(f"icmp ne i64 {f.emit(f'and i64 {word}, {bit}')}, 0")


def _emit_hole(module: Module) -> None:
    """`i64 @hole(ptr written, i64 size)`: the first byte never written, or -1."""
    f = FunctionBuilder(module, "hole", ["ptr %written", "i64 %size"], returns="i64", internal=True)
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
    """`i1 @unordered(i64 record, i64 oldest, i64 plain)`: whether nothing says that what is
    recorded came before what this thread does now."""
    f = FunctionBuilder(
        module, "unordered", ["i64 %record", "i64 %oldest", "i64 %plain"],
        returns="i1", internal=True,
    )  # fmt: skip
    with f.if_then(f.emit("icmp ult i64 %record, %oldest")):
        f.do("ret i1 false")
    who = f.emit(f"and i64 %record, {_WHO_MASK}")
    with f.if_then(f.emit(f"icmp eq i64 {who}, {_GRID}")):
        f.do("ret i1 true")
    with f.if_then(f.emit(f"icmp ult i64 %record, {get(f, 'block')}")):
        released = f.emit("call i1 @released(i64 %record, i64 %plain)")
        f.do(f"ret i1 {f.emit(f'xor i1 {released}, true')}")
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
    """`{ i64, i64 } @judge(...)`: check what is done with a byte of these records; the new ones.
    `void @races(...)`: do so for one byte. `void @races_of_chunk(...)`: for several at once, whose
    records mostly are the same."""
    rest = ["i64 %plain", "i1 %writes", "i64 %oldest"]
    f = FunctionBuilder(
        module, "judge", ["i64 %address", "i64 %written", "i64 %read", *rest],
        returns="{ i64, i64 }", internal=True,
    )  # fmt: skip
    after_write = f.emit("call i1 @unordered(i64 %written, i64 %oldest, i64 %plain)")
    _conflict(f, after_write, "%written", 0)
    after_read = f.emit("call i1 @unordered(i64 %read, i64 %oldest, i64 %plain)")
    store, load = f.label("store"), f.label("load")
    f.branch_if("%writes", store, load)
    f.block(store)
    _conflict(f, after_read, "%read", OTHER_READS)
    merged = f.emit(f"call i64 @merged(i64 %written, i1 {after_write}, i64 %plain)")
    made = f.emit(f"insertvalue {{ i64, i64 }} undef, i64 {merged}, 0")
    f.do(f"ret {{ i64, i64 }} {f.emit(f'insertvalue {{ i64, i64 }} {made}, i64 %read, 1')}")
    f.block(load)
    merged = f.emit(f"call i64 @merged(i64 %read, i1 {after_read}, i64 %plain)")
    made = f.emit("insertvalue { i64, i64 } undef, i64 %written, 0")
    f.do(f"ret {{ i64, i64 }} {f.emit(f'insertvalue {{ i64, i64 }} {made}, i64 {merged}, 1')}")
    f = FunctionBuilder(module, "races", ["i64 %address", "ptr %place", *rest], internal=True)
    written = f.emit("load i64, ptr %place")
    for field, record in enumerate(_judged(f, written, f.offset("%place", 8))):
        f.do(f"store i64 {record}, ptr {f.offset('%place', 8 * field)}")
    f.do("ret void")
    _emit_races_of_chunk(module, ["i64 %address", "ptr %place", *rest])


def _judged(f: FunctionBuilder, written: str, read: str) -> list[str]:
    """The new records of `%address`; `read` points at the one of who read."""
    old = f"i64 {written}, i64 {f.emit(f'load i64, ptr {read}')}"
    new = f.emit(
        f"call {{ i64, i64 }} @judge(i64 %address, {old}, i64 %plain, i1 %writes, i64 %oldest)"
    )
    return [f.emit(f"extractvalue {{ i64, i64 }} {new}, {k}") for k in range(2)]


def _emit_races_of_chunk(module: Module, parameters: list[str]) -> None:
    words = f"<{2 * _CHUNK} x i64>"
    f = FunctionBuilder(module, "races_of_chunk", parameters, internal=True)
    records = f.emit(f"load {words}, ptr %place, align 16")
    pairs = ", ".join(["i32 0, i32 1"] * _CHUNK)
    first = f.emit(f"shufflevector {words} {records}, {words} undef, "
                   f"<{2 * _CHUNK} x i32> <{pairs}>")  # fmt: skip
    differ = f.emit(f"icmp ne {words} {records}, {first}")
    any_ = f.emit(f"bitcast <{2 * _CHUNK} x i1> {differ} to i{2 * _CHUNK}")
    with f.if_then(f.emit(f"icmp ne i{2 * _CHUNK} {any_}, 0")):
        with f.loop(0, _CHUNK) as byte:
            _each(f, "races", str(byte))
        f.do("ret void")
    written = f.emit(f"extractelement {words} {records}, i32 0")
    new = _judged(f, written, f.offset("%place", 8))
    made = f"{words} undef"
    for k, record in enumerate(new):
        made = f"{words} {f.emit(f'insertelement {made}, i64 {record}, i32 {k}')}"
    spread = f.emit(f"shufflevector {made}, {words} undef, <{2 * _CHUNK} x i32> <{pairs}>")
    f.do(f"store {words} {spread}, ptr %place, align 16")
    f.do("ret void")


def _each(f: FunctionBuilder, function: str, byte: str, place: str = "%place") -> None:
    """Call a function for the records of a byte."""
    there = f.emit(f"getelementptr [2 x i64], ptr {place}, i64 {byte}")
    address = f.emit(f"add i64 %address, {byte}")
    f.do(f"call void @{function}(i64 {address}, ptr {there}, i64 %plain, i1 %writes, i64 %oldest)")


def _conflict(f: FunctionBuilder, unordered: str, record: str, how: int) -> None:
    """End the kernel where an access to be ordered is not, and not both are atomic."""
    plain = _has(f, f.emit(f"or i64 {record}, %plain"), _PLAIN)
    with f.if_then(f.emit(f"and i1 {unordered}, {plain}")):
        other_block = f.emit(f"icmp ult i64 {record}, {get(f, 'block')}")
        where = f.select(other_block, "i64", OTHER_BLOCK, 0)
        other = f.emit(f"and i64 {record}, {_WHO_MASK | _THREAD_MASK}")
        put(f, "fault_other", f.emit(f"or i64 {f.emit(f'or i64 {other}, {where}')}, {how}"))
        f.do(f"call void @fault(i64 {Kind.RACE}, i64 %address, i64 1)")
