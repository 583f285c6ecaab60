"""Device memory as NumPy's arrays see it: who allocates and frees it.

An array of a device is a NumPy array object whose data pointer is device memory, a *header*, which
no user ever sees. It is made by `newarray`; its handler (NEP 49) has as context the device's
record (`record`):

    ptr  @device_malloc(ptr record, i64 size)              NULL, and `error` set, on failure
    ptr  @device_calloc(ptr record, i64 count, i64 item)
    ptr  @device_realloc(ptr record, ptr block, i64 size)  NULL: memory of a device stays as it is
    void @device_free(ptr record, ptr block, i64 size)

All work in the order of the device's stream. Whoever frees a header may be any thread with any
context, or none; the driver takes the context from the stream.
"""

from __future__ import annotations

from jitgraph.codegen.gpu import record
from jitgraph.codegen.llvm import FunctionBuilder, Module

#: The functions of a handler, in its order.
HANDLER = ("device_malloc", "device_calloc", "device_realloc", "device_free")
#: No array is without memory, so that every one has an address of its own.
_SMALLEST = 16


def emit_device_memory(module: Module) -> None:
    """Add the four functions."""
    f = FunctionBuilder(module, "device_malloc", ["ptr %record", "i64 %size"], returns="ptr")
    cell = f.reserve("ptr", "cell")
    size = f.maximum("%size", _SMALLEST)
    stream = record.word(f, "%record", "stream")
    status = record.call(f, "%record", "alloc", cell, size, stream)
    with f.if_then(f.emit(f"icmp ne i32 {status}, 0")):
        record.fail(f, "%record", status)
        f.do("ret ptr null")
    f.do(f"ret ptr {f.emit(f'load ptr, ptr {cell}', 'block')}")
    _emit_calloc(module)
    f = FunctionBuilder(
        module, "device_realloc", ["ptr %record", "ptr %block", "i64 %size"], returns="ptr"
    )
    f.do("ret ptr null")
    f = FunctionBuilder(module, "device_free", ["ptr %record", "ptr %block", "i64 %size"])
    with f.if_then(f.emit("icmp ne ptr %block, null")):
        # Nobody could be told of a failure, which is that of earlier work or the process's end.
        record.call(f, "%record", "free", "%block", record.word(f, "%record", "stream"))
    f.do("ret void")


def _emit_calloc(module: Module) -> None:
    f = FunctionBuilder(
        module, "device_calloc", ["ptr %record", "i64 %count", "i64 %item"], returns="ptr"
    )
    size = f.intrinsic("{ i64, i1 }", "@llvm.umul.with.overflow.i64", "i64 %count", "i64 %item")
    with f.if_then(f.emit(f"extractvalue {{ i64, i1 }} {size}, 1")):
        record.fail(f, "%record", record.OUT_OF_MEMORY)
        f.do("ret ptr null")
    size = f.emit(f"extractvalue {{ i64, i1 }} {size}, 0")
    block = f.emit(f"call ptr @device_malloc(ptr %record, i64 {size})", "block")
    with f.if_then(f.emit(f"icmp ne ptr {block}, null")):
        stream = record.word(f, "%record", "stream")
        status = record.call(f, "%record", "set_bytes", block, 0, size, stream)
        with f.if_then(f.emit(f"icmp ne i32 {status}, 0")):
            record.fail(f, "%record", status)
            f.do(f"call void @device_free(ptr %record, ptr {block}, i64 {size})")
            f.do("ret ptr null")
    f.do(f"ret ptr {block}")
