"""Memory for packed operands: blocks of one size that calls borrow and give back.

Fresh memory costs a page fault for every 4 kB, more than packing into it does.
"""

from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling

#: Blocks kept for later calls; what more threads borrow at once is freed.
_KEPT = 8
_ALIGN = 2 << 20
#: Advice to Linux: fewer pages, so that addresses are found in the processor's own tables.
_HUGE_PAGES = 14

ACQUIRE, RELEASE = "@scratch.acquire", "@scratch.release"


def emit_memory(module: Module, tiling: Tiling) -> None:
    """Emit `ptr acquire()`, null when there is no memory, and `void release(ptr)`."""
    module.declare(f"@scratch.kept = internal global [{_KEPT} x ptr] zeroinitializer, align 8")
    module.declare("declare ptr @malloc(i64)")
    module.declare("declare void @free(ptr)")
    f = Emitter(module, ACQUIRE[1:], "", tiling, returns="ptr")
    with f.loop(0, _KEPT, 1, "slot", properties=ROLLED) as i:
        slot = f.at("@scratch.kept", i, 8)
        found = f.emit(f"atomicrmw xchg ptr {slot}, ptr null acquire")
        with f.if_then(f.emit(f"icmp ne ptr {found}, null")):
            f.do(f"ret ptr {found}")
    made = f.emit(f"call ptr @malloc(i64 {tiling.scratch_bytes + _ALIGN})")
    if "linux" in module.target.triple:
        module.declare("declare i32 @madvise(ptr, i64, i32)")
        with f.if_then(f.emit(f"icmp ne ptr {made}, null")):
            inside = emit_aligned(f, made)
            f.do(f"call i32 @madvise(ptr {inside}, i64 {tiling.scratch_bytes}, i32 {_HUGE_PAGES})")
    f.do(f"ret ptr {made}")
    f = Emitter(module, RELEASE[1:], "ptr %memory", tiling)
    with f.loop(0, _KEPT, 1, "slot", properties=ROLLED) as i:
        slot = f.at("@scratch.kept", i, 8)
        pair = f.emit(f"cmpxchg ptr {slot}, ptr null, ptr %memory release monotonic")
        with f.if_then(f.emit(f"extractvalue {{ ptr, i1 }} {pair}, 1")):
            f.do("ret void")
    f.do("call void @free(ptr %memory)")
    f.do("ret void")


def emit_aligned(f: Emitter, memory: str) -> str:
    """Where to pack in a block."""
    up = f.offset(memory, _ALIGN - 1)
    return f.intrinsic("ptr", "@llvm.ptrmask.p0.i64", f"ptr {up}", f"i64 {-_ALIGN}")
