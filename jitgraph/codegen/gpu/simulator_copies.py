"""Asynchronous copies of the simulated device. They are done at once, which is one of the moments
when they may happen."""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator_checks import READ, WRITE
from jitgraph.codegen.llvm import FunctionBuilder, Module

_COPY = "cp.async"
_WIDTHS = (("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16))
#: The intrinsics, without their prefix.
COPIES = (*(f"{_COPY}.{kind}.shared.global.{width}.s" for kind, width in _WIDTHS),
          f"{_COPY}.commit.group", f"{_COPY}.wait.group")  # fmt: skip


def emit_copies(module: Module) -> None:
    """The functions: of so many bytes some are read, the others become 0."""
    module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    for kind, width in _WIDTHS:
        f = FunctionBuilder(
            module, f"sim_{_COPY}.{kind}.shared.global.{width}.s",
            ["ptr %to", "ptr %from", "i32 %size"],
        )  # fmt: skip
        to = f.emit(f"call ptr @sim_access(ptr %to, i64 {width}, i64 {width}, i64 {WRITE})")
        f.do(f"call void @llvm.memset.p0.i64(ptr {to}, i8 0, i64 {width}, i1 false)")
        size = f.emit("zext i32 %size to i64")
        with f.if_then(f.emit(f"icmp ne i64 {size}, 0")):
            of = f.emit(f"call ptr @sim_access(ptr %from, i64 {size}, i64 {width}, i64 {READ})")
            f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {of}, i64 {size}, i1 false)")
        f.do("ret void")
    FunctionBuilder(module, f"sim_{_COPY}.commit.group").do("ret void")
    FunctionBuilder(module, f"sim_{_COPY}.wait.group", ["i32 %groups"]).do("ret void")
