"""Where the memory of a program's arrays is, and the code that takes, moves and frees it."""

from __future__ import annotations

from jitgraph.codegen.llvm import FunctionBuilder


class Workspace:
    """The host's memory: the stack while it is little, else the pool of `codegen.recycling`."""

    #: Arenas up to this many bytes live on the stack.
    stack = 8192
    #: What a program returns where an array could not be made: here NumPy has said why.
    no_array = -1

    def new_array(self, f: FunctionBuilder, arguments: str) -> str:
        """An array for a result (`codegen.newarray`), or null."""
        return f.emit(f"call ptr @new_array({arguments})")

    def take_spare(self, f: FunctionBuilder, slot: str, arguments: str) -> str:
        """An array for the new value of a shared variable, or null."""
        return f.emit(f"call ptr @take_spare(ptr {slot}, {arguments})")

    def take(self, f: FunctionBuilder, size: str) -> str:
        """Aligned memory, or null."""
        return f.emit(f"call ptr @pool_take(i64 {size})")

    def give(self, f: FunctionBuilder, pointer: str) -> None:
        """Give memory back; null is fine."""
        f.do(f"call void @pool_give(ptr {pointer})")

    def copy(self, f: FunctionBuilder, target: str, source: str, size: str) -> None:
        """Copy memory that does not overlap."""
        f.module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")

    def clear(self, f: FunctionBuilder, pointer: str, size: str) -> None:
        """Set bytes to zero."""
        f.module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        f.do(f"call void @llvm.memset.p0.i64(ptr {pointer}, i8 0, i64 {size}, i1 false)")


HOST = Workspace()
