"""The runtime library: what every program calls, and the entry that calls every program.

It is compiled once per process. A program is linked with its functions by address (`imports`).
"""

from functools import cache

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.entry import emit_entry
from jitgraph.codegen.gpu.memory import emit_device_memory
from jitgraph.codegen.llvm import Compiled, Module
from jitgraph.codegen.newarray import emit_arrays
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.recycling import emit_pool
from jitgraph.codegen.target import Target

#: The functions for programs, as they declare them.
FUNCTIONS = {
    "new_array": "ptr @new_array(i32, i32, ptr)",
    "take_spare": "ptr @take_spare(ptr, i32, i32, ptr)",
    "new_device_array": "ptr @new_device_array(ptr, i32, i32, ptr)",
    "take_device_spare": "ptr @take_device_spare(ptr, ptr, i32, i32, ptr)",
    "release_gil": "ptr @release_gil()",
    "this_thread": "i64 @this_thread()",
    "acquire_gil": "void @acquire_gil(ptr)",
    "signals": "i32 @signals()",
    "pool_take": "ptr @pool_take(i64)",
    "pool_give": "void @pool_give(ptr)",
}


@cache
def runtime_library(target: Target) -> Compiled:
    """The library for a target. `runtime.pyapi` fills its table `@api` before anything runs."""
    return cached_library("runtime", lambda: _text(target), target, passes="explicit")


def _text(target: Target) -> str:
    module = Module(target)
    module.define(py.helpers())
    emit_pool(module)
    emit_device_memory(module)
    emit_arrays(module)
    emit_entry(module)
    return module.text()


def declare_functions(module: Module) -> None:
    """Let a program call the library."""
    for name, declaration in FUNCTIONS.items():
        module.use("runtime", name, f"declare {declaration}")
