"""What a device program does on the host: memory, copies and launches, by the device's record.

`@device` is the record (`codegen.gpu.record`): the addresses of the driver's functions, and the
stream. `@kernels` has the handles of the kernels, in the order of `DeviceModule.kernels`. A driver
function that fails leaves its code in the record.
"""

from __future__ import annotations

from jitgraph.codegen.control import OUT_OF_MEMORY
from jitgraph.codegen.gpu import record
from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.workspace import Workspace

#: What a program returns where a function of the driver failed.
DEVICE_FAILED = -3


def word(name: str) -> str:
    """The operand that points at a word of the record."""
    return f"ptr getelementptr inbounds (i8, ptr @device, i64 {record.offset(name)})"


def multiprocessors(f: FunctionBuilder) -> str:
    """How many the device has."""
    return f.emit(f"load i64, {word('sms')}", "sms")


class DeviceMemory(Workspace):
    """The device's memory, in the order of its stream."""

    stack = 0
    no_array = OUT_OF_MEMORY

    def new_array(self, f: FunctionBuilder, arguments: str) -> str:
        return f.emit(f"call ptr @new_device_array(ptr @device, {arguments})")

    def take_spare(self, f: FunctionBuilder, slot: str, arguments: str) -> str:
        return f.emit(f"call ptr @take_device_spare(ptr @device, ptr {slot}, {arguments})")

    def take(self, f: FunctionBuilder, size: str) -> str:
        return f.emit(f"call ptr @device_take(i64 {size})")

    def give(self, f: FunctionBuilder, pointer: str) -> None:
        f.do(f"call void @device_give(ptr {pointer})")

    def copy(self, f: FunctionBuilder, target: str, source: str, size: str) -> None:
        f.do(f"call void @device_copy(ptr {target}, ptr {source}, i64 {size})")

    def clear(self, f: FunctionBuilder, pointer: str, size: str) -> None:
        f.do(f"call void @device_clear(ptr {pointer}, i64 {size})")


DEVICE = DeviceMemory()

_MOVES: dict[str, tuple[str, str, tuple[str | int, ...]]] = {
    # name: its parameters, the driver's function, what that is given
    "device_copy": ("ptr %to, ptr %from, i64 %size", "copy", ("%to", "%from", "%size")),
    "device_put": ("ptr %to, ptr %from, i64 %size", "to_device", ("%to", "%from", "%size")),
    "device_get": ("ptr %to, ptr %from, i64 %size", "to_host", ("%to", "%from", "%size")),
    "device_clear": ("ptr %to, i64 %size", "set_bytes", ("%to", 0, "%size")),
}


def emit_helpers(module: Module) -> None:
    """Add the functions that device programs call to the host's module."""
    module.declare("@device = external global i8")
    module.use("runtime", "new_device_array", "declare ptr @new_device_array(ptr, i32, i32, ptr)")
    module.use(
        "runtime", "take_device_spare", "declare ptr @take_device_spare(ptr, ptr, i32, i32, ptr)"
    )
    for name, (parameters, function, given) in _MOVES.items():
        f = FunctionBuilder(module, name, parameters.split(", "), internal=True, passes="quick")
        with f.if_then(f.emit("icmp eq i64 %size, 0")):
            f.do("ret void")
        _call(f, function, *given, _stream(f))
        f.do("ret void")
    f = FunctionBuilder(module, "device_wait", internal=True, passes="quick")
    _call(f, "wait", _stream(f))
    f.do("ret void")
    _emit_context(module)
    _emit_landing(module)
    _emit_take(module)
    f = FunctionBuilder(module, "device_give", ["ptr %block"], internal=True, passes="quick")
    with f.if_then(f.emit("icmp ne ptr %block, null")):
        _call(f, "free", "%block", _stream(f))
    f.do("ret void")
    _emit_launch(module)


def _stream(f: FunctionBuilder) -> str:
    return record.word(f, "@device", "stream")


def _call(f: FunctionBuilder, function: str, *arguments: str | int) -> str:
    """Call a function of the driver; a failure is noted in the record."""
    code = record.call(f, "@device", function, *arguments)
    with f.if_then(f.emit(f"icmp ne i32 {code}, 0")):
        record.fail(f, "@device", code)
    return code


def _emit_context(module: Module) -> None:
    """`ptr @device_enter()` makes the device's context that of the thread, and gives the one that
    was, for `@device_leave`: in it other libraries see which device is theirs."""
    f = FunctionBuilder(module, "device_enter", returns="ptr", internal=True, passes="quick")
    cell = f.reserve("ptr", "cell")
    f.do(f"store ptr null, ptr {cell}")
    _call(f, "current", cell)
    before = f.emit(f"load ptr, ptr {cell}", "before")
    own = record.word(f, "@device", "context")
    with f.if_then(f.emit(f"icmp ne ptr {before}, {own}")):
        _call(f, "enter", own)
    f.do(f"ret ptr {before}")
    f = FunctionBuilder(module, "device_leave", ["ptr %before"], internal=True, passes="quick")
    own = record.word(f, "@device", "context")
    with f.if_then(f.emit(f"icmp ne ptr %before, {own}")):
        _call(f, "enter", "%before")
    f.do("ret void")


def _emit_landing(module: Module) -> None:
    """`ptr @device_landing()`: page-locked memory for a number, until others have come in."""
    f = FunctionBuilder(module, "device_landing", returns="ptr", internal=True, passes="quick")
    counter = record.place(f, "@device", "taken")
    number = f.emit(f"atomicrmw add ptr {counter}, i64 1 monotonic")
    place = f.emit(f"and i64 {number}, {record.SCALARS - 1}")
    start = record.word(f, "@device", "scalars")
    f.do(f"ret ptr {f.emit(f'getelementptr [16 x i8], ptr {start}, i64 {place}')}")


def _emit_take(module: Module) -> None:
    """`ptr @device_take(i64 size)`: device memory, or null."""
    f = FunctionBuilder(
        module, "device_take", ["i64 %size"], returns="ptr", internal=True, passes="quick"
    )
    cell = f.reserve("ptr", "made")
    f.do(f"store ptr null, ptr {cell}")
    size = f.intrinsic("i64", "@llvm.umax.i64", "i64 %size", "i64 1")
    code = _call(f, "alloc", cell, size, _stream(f))
    made = f.emit(f"load ptr, ptr {cell}")
    fine = f.emit(f"icmp eq i32 {code}, 0")
    f.do(f"ret ptr {f.select(fine, 'ptr', made, 'null')}")


def _emit_launch(module: Module) -> None:
    """`i32 @device_launch(i64 kernel, i64 blocks, i32 threads, i64 shared, ptr parameters)`: 0, or
    the driver's code."""
    f = FunctionBuilder(
        module, "device_launch",
        ["i64 %kernel", "i64 %blocks", "i32 %threads", "i64 %shared", "ptr %parameters"],
        returns="i32", internal=True, passes="quick",
    )  # fmt: skip
    with f.if_then(f.emit("icmp sle i64 %blocks, 0")):
        f.do("ret i32 0")
    handle = f.emit("getelementptr ptr, ptr @kernels, i64 %kernel")
    function = f.emit(f"load ptr, ptr {handle}", "function")
    # What is too much for a grid is to stay so, and be refused by the driver.
    wanted = f.minimum("%blocks", (1 << 32) - 1)
    blocks, shared = (f.emit(f"trunc i64 {x} to i32") for x in (wanted, "%shared"))
    code = _call(f, "launch", function, blocks, 1, 1, "%threads", 1, 1, shared, _stream(f),
                 "%parameters", "null")  # fmt: skip
    f.do(f"ret i32 {code}")
