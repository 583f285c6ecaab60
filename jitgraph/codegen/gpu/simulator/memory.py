"""The memory of the simulated device: an arena, the list of what is allocated in it, transfers.

Allocations lie apart, so that what lies beyond one is in none. A device's address is none of the
host's: nothing may ever be there, what it holds is elsewhere, and only the simulator knows where.
So a host that touches device memory crashes as it would with a GPU. `written` has a byte for every
byte of the arena, which says whether anything was ever written there; what is not allocated counts
as never written.
"""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator.state import (
    INVALID_VALUE,
    KNOWN_BLOCKS,
    OUT_OF_MEMORY,
    RECORD_BYTES,
    SHARED_BYTES,
    SUCCESS,
    Kind,
    get,
    put,
)
from jitgraph.codegen.llvm import FunctionBuilder, Module

_ALIGNMENT, _APART = 256, 4 << 10
_PAGE = 64 << 10  # of any system
#: How many allocations there may be.
_MOST = 1 << 20
#: From here on the system gets the memory back when it is freed.
_LARGE = 256 << 10
_NONE, _READ_WRITE = 0, 3
_DONTNEED = 4


def emit_memory(module: Module) -> None:
    """All of it."""
    _emit_start(module)
    _emit_find(module)
    _emit_live(module)
    _emit_alloc(module)
    _emit_fit(module)
    _emit_free(module)
    _emit_transfers(module)


def _emit_start(module: Module) -> None:
    """`i32 @sim_start(i64 bytes, i32 flags, i32 stack_flags)`: take an arena of `bytes`, which are
    multiples of a page, with these flags for `mmap`; whether there was room."""
    f = FunctionBuilder(
        module, "sim_start", ["i64 %bytes", "i32 %flags", "i32 %stack_flags"], returns="i32"
    )
    f.do("call i32 @pthread_mutex_init(ptr @mutex, ptr null)")
    sizes = {
        "arena": "%bytes",
        "memory": "%bytes",
        "written": "%bytes",
        "races": f.emit(f"mul i64 %bytes, {RECORD_BYTES}"),
        "shared_written": str(SHARED_BYTES),
        "shared_races": str(SHARED_BYTES * RECORD_BYTES),
        "registry": str(16 * _MOST),
        "fences": str(16 * KNOWN_BLOCKS),
    }
    for field, size in sizes.items():
        rights = _NONE if field == "arena" else _READ_WRITE
        made = f.emit(
            f"call ptr @mmap(ptr null, i64 {size}, i32 {rights}, i32 %flags, i32 -1, i64 0)"
        )
        with f.if_then(f.emit(f"icmp eq ptr {made}, inttoptr (i64 -1 to ptr)")):
            f.do("ret i32 0")
        put(f, field, made, "ptr")
    start = get(f, "arena")
    put(f, "cursor", start)
    put(f, "end", f.emit(f"add i64 {start}, %bytes"))
    put(f, "limit", "%bytes")
    put(f, "clock", 1)
    f.do("call void @sim_start_threads(i32 %stack_flags)")
    f.do("ret i32 1")


def _entry(f: FunctionBuilder, index: str) -> str:
    """The address of an entry of the registry: start and size."""
    return f.emit(f"getelementptr [2 x i64], ptr {get(f, 'registry', 'ptr')}, i64 {index}")


def _emit_find(module: Module) -> None:
    """`i64 @find(i64 address)`: how many allocations start at the address or before it."""
    f = FunctionBuilder(module, "find", ["i64 %address"], returns="i64", internal=True)
    loop = f.begin_loop("search", [("i64", "0"), ("i64", get(f, "count"))])
    low, high = loop.carried
    with f.if_then(f.emit(f"icmp sge i64 {low}, {high}")):
        f.do(f"ret i64 {low}")
    middle = f.emit(f"lshr i64 {f.emit(f'add i64 {low}, {high}')}, 1")
    start = f.emit(f"load i64, ptr {_entry(f, middle)}")
    before = f.emit(f"icmp ule i64 {start}, %address")
    above = f.emit(f"add i64 {middle}, 1")
    f.end_loop(loop, [f.select(before, "i64", above, low), f.select(before, "i64", high, middle)])


def _emit_live(module: Module) -> None:
    """`i1 @live(i64 address, i64 size)`: whether that lies in one allocation; remembers that one,
    or the nearest, in `near` and `near_extent`."""
    f = FunctionBuilder(module, "live", ["i64 %address", "i64 %size"], returns="i1", internal=True)
    found = f.emit("call i64 @find(i64 %address)")
    put(f, "near", 0)
    put(f, "near_extent", 0)
    some = f.emit(f"icmp ne i64 {found}, 0")
    before = f.reserve("i64", "before")
    f.do(f"store i64 {1 << 62}, ptr {before}")
    with f.if_then(some):
        entry = _entry(f, f.emit(f"sub i64 {found}, 1"))
        _remember(f, entry)
        offset = f.emit(f"sub i64 %address, {get(f, 'near')}")
        room = f.emit(f"sub i64 {get(f, 'near_extent')}, {offset}")
        ends = f.emit(f"icmp sge i64 {room}, %size")
        with f.if_then(f.emit(f"and i1 {ends}, {f.emit('icmp sge i64 %size, 0')}")):
            f.do("ret i1 true")
        f.do(f"store i64 {f.emit(f'sub i64 0, {room}')}, ptr {before}")
    with f.if_then(f.emit(f"icmp slt i64 {found}, {get(f, 'count')}")):
        entry = _entry(f, found)
        distance = f.emit(f"sub i64 {f.emit(f'load i64, ptr {entry}')}, %address")
        nearer = f.emit(f"icmp slt i64 {distance}, {f.emit(f'load i64, ptr {before}')}")
        with f.if_then(nearer):
            _remember(f, entry)
    f.do("ret i1 false")


def _remember(f: FunctionBuilder, entry: str) -> None:
    put(f, "near", f.emit(f"load i64, ptr {entry}"))
    put(f, "near_extent", f.emit(f"load i64, ptr {f.offset(entry, 8)}"))


def _rounded(f: FunctionBuilder, size: str, unit: int) -> str:
    return f.emit(f"and i64 {f.emit(f'add i64 {size}, {unit - 1}')}, {-unit}")


def _emit_fit(module: Module) -> None:
    """`i64 @fit(i64 size)`: where so many bytes find room, from the last place on and then from the
    start of the arena; 0 where nowhere."""
    f = FunctionBuilder(module, "fit", ["i64 %size"], returns="i64", internal=True)
    loop = f.begin_loop("from", [("i64", get(f, "cursor")), ("i1", "false")])
    start, wrapped = loop.carried
    index = f.emit(f"call i64 @find(i64 {start})")
    before, after = _entry(f, f.emit(f"sub i64 {index}, 1")), _entry(f, index)
    first = f.emit(f"icmp eq i64 {index}, 0")
    last = f.emit(f"icmp eq i64 {index}, {get(f, 'count')}")
    at = f.reserve("i64", "at")
    f.do(f"store i64 {start}, ptr {at}")
    with f.if_then(f.emit(f"xor i1 {first}, true")):
        extent = f.emit(f"load i64, ptr {f.offset(before, 8)}")
        space = f.emit(f"call i64 @space(i64 {extent})")
        behind = f.emit(f"add i64 {f.emit(f'load i64, ptr {before}')}, {space}")
        f.do(f"store i64 {f.maximum(start, behind)}, ptr {at}")
    free = f.emit(f"load i64, ptr {at}")
    following = f.emit(f"load i64, ptr {after}")
    room = f.emit(f"sub i64 {f.select(last, 'i64', get(f, 'end'), following)}, {free}")
    with f.if_then(f.emit(f"icmp sge i64 {room}, %size")):
        f.do(f"ret i64 {free}")
    with f.if_then(f.emit(f"and i1 {last}, {wrapped}")):
        f.do("ret i64 0")
    again = f.select(last, "i64", get(f, "arena"), following)
    f.end_loop(loop, [again, f.emit(f"or i1 {wrapped}, {last}")])
    f = FunctionBuilder(module, "space", ["i64 %size"], returns="i64", internal=True)
    size = _rounded(f, "%size", _ALIGNMENT)
    f.do(f"ret i64 {f.emit(f'add i64 {size}, {_APART}')}")


def _emit_alloc(module: Module) -> None:
    f = FunctionBuilder(
        module, "sim_alloc", ["ptr %out", "i64 %size", "ptr %stream"], returns="i32"
    )
    with f.if_then(f.emit("icmp eq i64 %size, 0")):
        f.do(f"ret i32 {INVALID_VALUE}")
    f.do("call void @enter()")
    status = f.emit("call i32 @take(ptr %out, i64 %size)")
    f.do("call void @leave()")
    f.do(f"ret i32 {status}")
    f = FunctionBuilder(module, "take", ["ptr %out", "i64 %size"], returns="i32", internal=True)
    left = f.emit(f"sub i64 {get(f, 'limit')}, {get(f, 'used')}")
    much = f.emit(f"icmp ugt i64 %size, {f.maximum(left, 0)}")
    many = f.emit(f"icmp sge i64 {get(f, 'count')}, {_MOST - 1}")
    with f.if_then(f.emit(f"or i1 {much}, {many}")):
        f.do(f"ret i32 {OUT_OF_MEMORY}")
    space = f.emit("call i64 @space(i64 %size)")
    start = f.emit(f"call i64 @fit(i64 {space})")
    with f.if_then(f.emit(f"icmp eq i64 {start}, 0")):
        f.do(f"ret i32 {OUT_OF_MEMORY}")
    end = f.emit(f"add i64 {start}, {space}")
    index = f.emit(f"call i64 @find(i64 {start})")
    entry = _entry(f, index)
    _move(f, f.offset(entry, 16), entry, f.emit(f"sub i64 {get(f, 'count')}, {index}"))
    f.do(f"store i64 {start}, ptr {entry}")
    f.do(f"store i64 %size, ptr {f.offset(entry, 8)}")
    put(f, "cursor", end)
    put(f, "count", f.emit(f"add i64 {get(f, 'count')}, 1"))
    put(f, "used", f.emit(f"add i64 {get(f, 'used')}, %size"))
    f.do(f"store i64 {start}, ptr %out")
    f.do(f"ret i32 {SUCCESS}")


def _move(f: FunctionBuilder, to: str, start: str, entries: str) -> None:
    size = f.emit(f"mul i64 {entries}, 16")
    f.do(f"call void @llvm.memmove.p0.p0.i64(ptr {to}, ptr {start}, i64 {size}, i1 false)")


def _emit_free(module: Module) -> None:
    f = FunctionBuilder(module, "sim_free", ["i64 %address", "ptr %stream"], returns="i32")
    f.do("call void @enter()")
    status = f.emit("call i32 @release(i64 %address)")
    f.do("call void @leave()")
    f.do(f"ret i32 {status}")
    f = FunctionBuilder(module, "release", ["i64 %address"], returns="i32", internal=True)
    f.emit("call i1 @live(i64 %address, i64 1)")
    with f.if_then(f.emit(f"icmp ne i64 {get(f, 'near')}, %address")):
        f.do(f"call void @report(i64 {Kind.RELEASE}, i64 %address, i64 0)")
        f.do(f"ret i32 {INVALID_VALUE}")
    size = get(f, "near_extent")
    index = f.emit("call i64 @find(i64 %address)")
    entry = _entry(f, f.emit(f"sub i64 {index}, 1"))
    _move(f, entry, f.offset(entry, 16), f.emit(f"sub i64 {get(f, 'count')}, {index}"))
    put(f, "count", f.emit(f"sub i64 {get(f, 'count')}, 1"))
    put(f, "used", f.emit(f"sub i64 {get(f, 'used')}, {size}"))
    put(f, "near", 0)
    put(f, "near_extent", 0)
    f.do(f"call void @mark(i64 %address, i64 {size}, i8 0)")
    with f.if_then(f.emit(f"icmp sge i64 {size}, {_LARGE}")):
        first = _rounded(f, f.emit(f"sub i64 %address, {get(f, 'arena')}"), _PAGE)
        whole = f.emit(f"and i64 {f.emit(f'sub i64 {size}, {_PAGE - 1}')}, {-_PAGE}")
        for field, scale in (("memory", 1), ("races", RECORD_BYTES)):
            place = f.offset(get(f, field, "ptr"), f.emit(f"mul i64 {first}, {scale}"))
            bytes_ = f.emit(f"mul i64 {whole}, {scale}")
            f.do(f"call i32 @madvise(ptr {place}, i64 {bytes_}, i32 {_DONTNEED})")
    f.do(f"ret i32 {SUCCESS}")


def shadow(f: FunctionBuilder, address: str) -> str:
    """Where it is noted whether a byte of the arena was written."""
    return f.offset(get(f, "written", "ptr"), f.emit(f"sub i64 {address}, {get(f, 'arena')}"))


def _emit_transfers(module: Module) -> None:
    """Copies and fills: what they touch on the device must be allocated, and what the host gets
    must have been written."""
    f = FunctionBuilder(module, "mark", ["i64 %address", "i64 %size", "i8 %state"], internal=True)
    f.do(f"call void @llvm.memset.p0.i64(ptr {shadow(f, '%address')}, i8 %state, i64 %size, "
         "i1 false)")  # fmt: skip
    f.do("ret void")
    f = FunctionBuilder(
        module, "allowed", ["i64 %address", "i64 %size"], returns="i1", internal=True
    )
    good = f.emit("call i1 @live(i64 %address, i64 %size)")
    none = f.emit("icmp eq i64 %size, 0")
    with f.if_then(f.emit(f"or i1 {good}, {none}")):
        f.do("ret i1 true")
    f.do(f"call void @report(i64 {Kind.TRANSFER}, i64 %address, i64 %size)")
    f.do("ret i1 false")
    fill = _transfer(module, "sim_set_bytes", "i64 %to", "i8 %value")
    fill.do("call void @llvm.memset.p0.i64(ptr %target, i8 %value, i64 %size, i1 false)")
    fill.do("call void @mark(i64 %to, i64 %size, i8 1)")
    upload = _transfer(module, "sim_to_device", "i64 %to", "ptr %source")
    upload.do("call void @mark(i64 %to, i64 %size, i8 1)")
    copy = _transfer(module, "sim_copy", "i64 %to", "i64 %from")
    shadows = f"ptr {shadow(copy, '%to')}, ptr {shadow(copy, '%from')}"
    copy.do(f"call void @llvm.memmove.p0.p0.i64({shadows}, i64 %size, i1 false)")
    download = _transfer(module, "sim_to_host", "ptr %target", "i64 %from")
    hole = download.emit(f"call i64 @hole(ptr {shadow(download, '%from')}, i64 %size)")
    with download.if_then(download.emit(f"icmp sge i64 {hole}, 0")):
        where = download.emit(f"add i64 %from, {hole}")
        download.do(f"call void @report(i64 {Kind.UNINITIALISED}, i64 {where}, i64 %size)")
        download.do(f"ret i32 {INVALID_VALUE}")
    for f in (upload, copy, download):
        move = "ptr %target, ptr %source, i64 %size, i1 false"
        f.do(f"call void @llvm.memmove.p0.p0.i64({move})")
    for f in (fill, upload, copy, download):
        f.do(f"ret i32 {SUCCESS}")


def _transfer(module: Module, name: str, to: str, start: str) -> FunctionBuilder:
    """A function of the driver; what is inside its lock is to be written. There `%target` and
    `%source` are pointers, and what lies on the device is allocated."""
    parameters = [to, start, "i64 %size", "ptr %stream"]
    f = FunctionBuilder(module, name, parameters, returns="i32")
    f.do("call void @enter()")
    status = f.emit(f"call i32 @{name}.inside({', '.join(parameters)})")
    f.do("call void @leave()")
    f.do(f"ret i32 {status}")
    f = FunctionBuilder(module, f"{name}.inside", parameters, returns="i32", internal=True)
    for address, pointer in (("%to", "%target"), ("%from", "%source")):
        if f"i64 {address}" in parameters:
            allowed = f.emit(f"call i1 @allowed(i64 {address}, i64 %size)")
            with f.if_then(f.emit(f"xor i1 {allowed}, true")):
                f.do(f"ret i32 {INVALID_VALUE}")
            memory = f.emit(f"sub i64 {get(f, 'memory')}, {get(f, 'arena')}")
            place = f.emit(f"add i64 {address}, {memory}")
            f.do(f"{pointer} = inttoptr i64 {place} to ptr")
    return f
