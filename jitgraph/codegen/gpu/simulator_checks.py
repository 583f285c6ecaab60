"""What the simulated device checks before a thread touches memory."""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator_state import Kind, get, put
from jitgraph.codegen.llvm import FunctionBuilder, Module

#: What an access may be, as bits.
READ, WRITE, ATOMIC = 1, 2, 4


def emit_checks(module: Module) -> None:
    """`sim_read`, `sim_write` and `sim_atomic`."""
    module.declare("declare ptr @memchr(ptr, i32, i64)")
    f = FunctionBuilder(
        module, "defined", ["i64 %address", "i64 %size"], returns="i1", internal=True
    )
    start = f.emit(f"sub i64 %address, {get(f, 'arena')}")
    written = f.offset(get(f, "written", "ptr"), start)
    hole = f.emit(f"call ptr @memchr(ptr {written}, i32 0, i64 %size)")
    with f.if_then(f.emit(f"icmp eq ptr {hole}, null")):
        f.do("ret i1 true")
    offset = f.emit(f"sub i64 {f.emit(f'ptrtoint ptr {hole} to i64')}, {get(f, 'written')}")
    where = f.emit(f"add i64 {offset}, {get(f, 'arena')}")
    f.do(f"call void @report(i64 {Kind.UNINITIALISED}, i64 {where}, i64 %size)")
    f.do("ret i1 false")
    f = FunctionBuilder(
        module, "sim_access", ["ptr %address", "i64 %size", "i64 %alignment", "i64 %kind"]
    )
    address = f.emit("ptrtoint ptr %address to i64")
    offset = f.emit(f"sub i64 {address}, {get(f, 'arena')}")
    room = f.emit(f"sub i64 {get(f, 'end')}, {get(f, 'arena')}")
    with f.if_then(f.emit(f"icmp ult i64 {offset}, {room}")):
        f.do(f"call void @mark(i64 {address}, i64 %size, i8 1)")
    f.do("ret void")
    f = FunctionBuilder(module, "begin_block", internal=True)
    put(f, "thread", 0)
    f.do("ret void")
