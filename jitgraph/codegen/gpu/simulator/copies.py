"""Asynchronous copies of the simulated device. What they bring is there when their thread waits for
it and no sooner: until then there is 255 in every byte, NaN as a number.

`@copies` has for each thread a list of those under way, records of

    ptr to, ptr from, i64 bytes, i64 group

and before it how many they are, the group that is open, and the stamp of the block they belong to.
"""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator.checks import READ, WRITE
from jitgraph.codegen.gpu.simulator.state import MOST_THREADS, Kind, get
from jitgraph.codegen.llvm import FunctionBuilder, Module

_COPY = "cp.async"
_WIDTHS = (("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16))
#: The intrinsics, without their prefix.
COPIES = (*(f"{_COPY}.{kind}.shared.global.{width}.s" for kind, width in _WIDTHS),
          f"{_COPY}.commit.group", f"{_COPY}.wait.group")  # fmt: skip
#: How many copies of a thread may be under way, and what its list takes.
_MOST = 255
_RECORD, _HEAD = 32, 32
_BYTES = _HEAD + _MOST * _RECORD


def emit_copies(module: Module) -> None:
    """The functions."""
    module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    module.declare(f"@copies = internal global [{MOST_THREADS * _BYTES} x i8] zeroinitializer")
    _emit_list(module)
    for kind, width in _WIDTHS:
        f = FunctionBuilder(
            module, f"sim_{_COPY}.{kind}.shared.global.{width}.s",
            ["ptr %to", "ptr %from", "i32 %size"],
        )  # fmt: skip
        to = f.emit(f"call ptr @sim_access(ptr %to, i64 {width}, i64 {width}, i64 {WRITE})")
        # Only shared memory is where it seems to be.
        outside = f.emit(f"icmp ne ptr {to}, %to")
        size = f.emit("zext i32 %size to i64")
        much = f.emit(f"icmp ugt i64 {size}, {width}")
        with f.if_then(f.emit(f"or i1 {outside}, {much}")):
            address = f.emit("ptrtoint ptr %to to i64")
            f.do(f"call void @fault(i64 {Kind.SHARED}, i64 {address}, i64 {size})")
        f.do(f"call void @llvm.memset.p0.i64(ptr {to}, i8 -1, i64 {width}, i1 false)")
        of = f.emit(f"call ptr @sim_access(ptr %from, i64 {size}, i64 {width}, i64 {READ})")
        f.do(f"call void @copy_later(ptr {to}, ptr {of}, i64 {size}, i64 {width})")
        f.do("ret void")
    f = FunctionBuilder(module, f"sim_{_COPY}.commit.group")
    group = f.offset(f.emit("call ptr @copies_of()"), 8)
    before = f.emit(f"load i64, ptr {group}")
    f.do(f"store i64 {f.emit(f'add i64 {before}, 1')}, ptr {group}")
    f.do("ret void")
    _emit_wait(module)


def _emit_list(module: Module) -> None:
    f = FunctionBuilder(module, "copies_of", returns="ptr", internal=True)
    offset = f.emit(f"mul i64 {get(f, 'thread')}, {_BYTES}")
    found, block = f.offset("@copies", offset), get(f, "block")
    stamp = f.emit(f"load i64, ptr {f.offset(found, 16)}")
    with f.if_then(f.emit(f"icmp ne i64 {stamp}, {block}")):
        for at, value in ((0, "0"), (8, "0"), (16, block)):
            f.do(f"store i64 {value}, ptr {f.offset(found, at)}")
    f.do(f"ret ptr {found}")
    f = FunctionBuilder(
        module, "copy_later", ["ptr %to", "ptr %from", "i64 %size", "i64 %width"], internal=True
    )
    # What has nothing to read writes zeros, and reads them here.
    module.declare("@zeros = internal constant [16 x i8] zeroinitializer")
    f.do("call void @note_copy(ptr %to, ptr %from, i64 %size)")
    rest = f.emit("sub i64 %width, %size")
    f.do(f"call void @note_copy(ptr {f.offset('%to', '%size')}, ptr @zeros, i64 {rest})")
    f.do("ret void")
    f = FunctionBuilder(module, "note_copy", ["ptr %to", "ptr %from", "i64 %size"], internal=True)
    with f.if_then(f.emit("icmp eq i64 %size, 0")):
        f.do("ret void")
    list_ = f.emit("call ptr @copies_of()")
    count = f.emit(f"load i64, ptr {list_}")
    with f.if_then(f.emit(f"icmp eq i64 {count}, {_MOST}")):
        f.do(f"call void @fault(i64 {Kind.SHARED}, i64 {f.emit('ptrtoint ptr %to to i64')}, i64 0)")
    record = _record(f, list_, count)
    group = f.emit(f"load i64, ptr {f.offset(list_, 8)}")
    for at, value in ((0, "ptr %to"), (8, "ptr %from"), (16, "i64 %size"), (24, f"i64 {group}")):
        f.do(f"store {value}, ptr {f.offset(record, at)}")
    f.do(f"store i64 {f.emit(f'add i64 {count}, 1')}, ptr {list_}")
    f.do("ret void")


def _record(f: FunctionBuilder, list_: str, number: str) -> str:
    return f.offset(list_, f.emit(f"add i64 {f.emit(f'mul i64 {number}, {_RECORD}')}, {_HEAD}"))


def _emit_wait(module: Module) -> None:
    """Do the copies of all groups but the last so many; the others move to the front."""
    f = FunctionBuilder(module, f"sim_{_COPY}.wait.group", ["i32 %groups"])
    list_ = f.emit("call ptr @copies_of()")
    count = f.emit(f"load i64, ptr {list_}")
    open_ = f.emit(f"load i64, ptr {f.offset(list_, 8)}")
    final = f.emit(f"sub i64 {open_}, {f.emit('zext i32 %groups to i64')}")
    with f.loop(0, count, 1, "copy", accumulators=[("i64", "0")]) as number:
        record, kept = _record(f, list_, str(number)), number.carried[0]
        to, source = (f.emit(f"load ptr, ptr {f.offset(record, at)}") for at in (0, 8))
        size, group = (f.emit(f"load i64, ptr {f.offset(record, at)}") for at in (16, 24))
        due = f.emit(f"icmp slt i64 {group}, {final}")
        do, keep, done = f.label("do"), f.label("keep"), f.label("done")
        f.branch_if(due, do, keep)
        f.block(do)
        # Who else wants what is written now has yet to meet this thread.
        f.do(f"call ptr @sim_access(ptr {to}, i64 {size}, i64 1, i64 {WRITE})")
        f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")
        f.branch(done)
        f.block(keep)
        place = _record(f, list_, kept)
        for at, value in ((0, f"ptr {to}"), (8, f"ptr {source}"), (16, f"i64 {size}"),
                          (24, f"i64 {group}")):  # fmt: skip
            f.do(f"store {value}, ptr {f.offset(place, at)}")
        f.block(done)
        more = f.emit(f"zext i1 {f.emit(f'xor i1 {due}, true')} to i64")
        number.carry(f.emit(f"add i64 {kept}, {more}"))
    f.do(f"store i64 {number.results[0]}, ptr {list_}")
    f.do("ret void")
