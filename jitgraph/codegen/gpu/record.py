"""The record of a device: what host code that works on it reads, a block of words in memory.

The first words are the driver's C functions, so generated code launches kernels and moves memory
without Python; then what they are called with. Each device has one record that never moves and
lives as long as the process (`jitgraph.runtime.device`). Every function returns a CUresult, an
i32 that is 0 where all is well; `error` is where generated code leaves one that is not.
"""

from __future__ import annotations

from jitgraph.codegen.llvm import FunctionBuilder

#: The driver's functions by our names, and which one has the same signature and meaning.
FUNCTIONS = {
    "launch": "cuLaunchKernel",
    "alloc": "cuMemAllocAsync",
    "free": "cuMemFreeAsync",
    "set_bytes": "cuMemsetD8Async",
    "to_host": "cuMemcpyDtoHAsync_v2",
    "to_device": "cuMemcpyHtoDAsync_v2",
    "copy": "cuMemcpyDtoDAsync_v2",
    "wait": "cuStreamSynchronize",
    "enter": "cuCtxSetCurrent",
}
#: What they are called with. `error`: the last CUresult that was not 0. `handler`: the NEP 49
#: handler of arrays in the device's memory. `sms`: multiprocessors. `shared`: bytes of shared
#: memory that a block may have. `plan`, `multiply`, `describe`: functions of a library of matrix
#: products (`codegen.gpu.products.library`), null where no program has asked for it.
STATE = ("context", "stream", "error", "handler", "sms", "shared", "plan", "multiply", "describe")
WORDS = (*FUNCTIONS, *STATE)
#: The types of the functions' parameters.
PARAMETERS = {
    "launch": ("ptr", "i32", "i32", "i32", "i32", "i32", "i32", "i32", "ptr", "ptr", "ptr"),
    "alloc": ("ptr", "i64", "ptr"),
    "free": ("ptr", "ptr"),
    "set_bytes": ("ptr", "i8", "i64", "ptr"),
    "to_host": ("ptr", "ptr", "i64", "ptr"),
    "to_device": ("ptr", "ptr", "i64", "ptr"),
    "copy": ("ptr", "ptr", "i64", "ptr"),
    "wait": ("ptr",),
    "enter": ("ptr",),
}
OUT_OF_MEMORY = 2
#: What the status codes of that library are raised by, to tell them from the driver's.
LIBRARY = 10_000


def offset(name: str) -> int:
    """Where in a record a word is, in bytes."""
    return 8 * WORDS.index(name)


def place(f: FunctionBuilder, record: str, name: str) -> str:
    """The address of a word."""
    return f.offset(record, offset(name))


def word(f: FunctionBuilder, record: str, name: str, type_: str = "ptr") -> str:
    """The value of a word."""
    return f.emit(f"load {type_}, ptr {place(f, record, name)}", name)


def call(f: FunctionBuilder, record: str, name: str, *arguments: str | int) -> str:
    """Call one of the functions; the i32 that it returns. `arguments` are without their types."""
    pairs = zip(PARAMETERS[name], arguments, strict=True)
    typed = ", ".join(f"{type_} {argument}" for type_, argument in pairs)
    return f.emit(f"call i32 {word(f, record, name)}({typed})", "status")


def fail(f: FunctionBuilder, record: str, status: str | int) -> None:
    """Note a failing i32 in the record."""
    wide = f.emit(f"zext i32 {status} to i64")
    f.do(f"store i64 {wide}, ptr {place(f, record, 'error')}")
