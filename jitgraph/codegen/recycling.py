"""Memory that is used again: blocks for large results and temporaries, kept when given back.

Fresh pages cost the operating system several times what it costs to compute their contents. So a
block that nobody needs any more is kept, up to a limit, and the next request of about its size gets
it. The functions, which may be called from any thread, with the GIL or without:

    ptr  @pool_take(i64 size)        64-byte aligned (large blocks by pages), or NULL
    void @pool_give(ptr block)       NULL is fine
    void @pool_clear()               give everything that is kept to the operating system

`@pool` holds the state (`POOL_FIELDS`). A block is preceded by two words: the address `malloc`
gave, and how many bytes may be used. The lock is held for some instructions only; who does not get
it soon (a thread was suspended, or the process forked, just then) goes to `malloc` and `free`
instead.

`@data_malloc`, `@data_calloc`, `@data_realloc` and `@data_free` are the pool in the words of
NumPy's allocators (NEP 49): an array whose memory came from `@pool_take` names them as its handler.
"""

from jitgraph.codegen.llvm import FunctionBuilder, Module

#: The words of `@pool`, before the list of the kept blocks (from the oldest to the newest).
POOL_FIELDS = ("lock", "limit", "kept", "count")
#: The functions of a handler, in its order.
HANDLER = ("data_malloc", "data_calloc", "data_realloc", "data_free")
#: How many blocks are kept at most.
_BLOCKS = 64
#: Smaller blocks go to `malloc`, which recycles them well enough itself.
SMALLEST = 64 << 10
_PAGE, _HUGE_PAGE = 4 << 10, 2 << 20
#: From here on a block starts at a huge page and asks for such pages, as NumPy's own do.
_HUGE = 4 << 20
_MADV_HUGEPAGE = 14
#: No machine has memory for a block of more bytes.
_LARGEST = 1 << 47
_HEADER, _BASE, _CAPACITY = 16, -16, -8
_ATTEMPTS = 1000


def _field(name: str) -> str:
    return f"getelementptr inbounds (i8, ptr @pool, i64 {8 * POOL_FIELDS.index(name)})"


_KEPT_BLOCKS = f"getelementptr inbounds (i8, ptr @pool, i64 {8 * len(POOL_FIELDS)})"


def emit_pool(module: Module) -> None:
    """Add the pool, empty and with a limit of 0, to the module."""
    words = len(POOL_FIELDS) + _BLOCKS
    module.declare(f"@pool = global [{words} x i64] zeroinitializer, align 64")
    for declaration in ("ptr @malloc(i64)", "void @free(ptr)"):
        module.declare(f"declare {declaration}")
    module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    module.declare("declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)")
    _emit_lock(module)
    _emit_fresh(module)
    _emit_remove(module)
    _emit_reuse(module)
    _emit_take(module)
    _emit_give(module)
    _emit_handler(module)


def _emit_lock(module: Module) -> None:
    """`i1 @pool_lock()`, whether it succeeded, and `@pool_unlock()`."""
    f = FunctionBuilder(module, "pool_lock", returns="i1", internal=True)
    with f.loop(0, _ATTEMPTS):
        lock = f.emit(f"cmpxchg ptr {_field('lock')}, i64 0, i64 1 acquire monotonic")
        with f.if_then(f.emit(f"extractvalue {{ i64, i1 }} {lock}, 1")):
            f.do("ret i1 true")
    f.do("ret i1 false")
    f = FunctionBuilder(module, "pool_unlock", internal=True)
    f.do(f"store atomic i64 0, ptr {_field('lock')} release, align 8")
    f.do("ret void")


def _load(f: FunctionBuilder, field: str) -> str:
    return f.emit(f"load i64, ptr {_field(field)}", field)


def _capacity(f: FunctionBuilder, block: str) -> str:
    return f.emit(f"load i64, ptr {f.offset(block, _CAPACITY)}", "capacity")


def _rounded(f: FunctionBuilder, size: str, unit: int) -> str:
    return f.emit(f"and i64 {f.emit(f'add i64 {size}, {unit - 1}')}, {-unit}")


def _emit_fresh(module: Module) -> None:
    """`ptr @pool_fresh(i64 size, i64 alignment)`: a block from `malloc`."""
    f = FunctionBuilder(
        module, "pool_fresh", ["i64 %size", "i64 %alignment"], returns="ptr", internal=True
    )
    more = f.emit(f"add i64 %alignment, {_HEADER}")
    base = f.emit(f"call ptr @malloc(i64 {f.emit(f'add i64 %size, {more}')})", "base")
    with f.if_then(f.emit(f"icmp eq ptr {base}, null")):
        f.do("ret ptr null")
    end = f.offset(base, f.emit(f"add i64 %alignment, {_HEADER - 1}"))
    mask = f.emit("sub i64 0, %alignment")
    block = f.intrinsic("ptr", "@llvm.ptrmask.p0.i64", f"ptr {end}", f"i64 {mask}")
    f.do(f"store ptr {base}, ptr {f.offset(block, _BASE)}")
    f.do(f"store i64 %size, ptr {f.offset(block, _CAPACITY)}")
    if "linux" in module.target.triple:
        module.declare("declare i32 @madvise(ptr, i64, i32)")
        with f.if_then(f.emit(f"icmp sge i64 %size, {_HUGE}")):
            f.emit(f"call i32 @madvise(ptr {block}, i64 %size, i32 {_MADV_HUGEPAGE})")
    f.do(f"ret ptr {block}")


def _emit_remove(module: Module) -> None:
    """`ptr @pool_remove(i64 index)`: take a kept block off the list, with the lock held."""
    f = FunctionBuilder(module, "pool_remove", ["i64 %index"], returns="ptr", internal=True)
    cell = f.emit(f"getelementptr ptr, ptr {_KEPT_BLOCKS}, i64 %index")
    block = f.emit(f"load ptr, ptr {cell}", "block")
    fewer = f.emit(f"sub i64 {_load(f, 'count')}, 1")
    after = f.emit(f"mul i64 {f.emit(f'sub i64 {fewer}, %index')}, 8")
    moved = f"ptr {cell}, ptr {f.offset(cell, 8)}, i64 {after}, i1 false"
    f.do(f"call void @llvm.memmove.p0.p0.i64({moved})")
    f.do(f"store i64 {fewer}, ptr {_field('count')}")
    less = f.emit(f"sub i64 {_load(f, 'kept')}, {_capacity(f, block)}")
    f.do(f"store i64 {less}, ptr {_field('kept')}")
    f.do(f"ret ptr {block}")


def _emit_reuse(module: Module) -> None:
    """`ptr @pool_reuse(i64 size)`: the block last kept that has the size, or up to a quarter
    more, else NULL."""
    f = FunctionBuilder(module, "pool_reuse", ["i64 %size"], returns="ptr", internal=True)
    count = _load(f, "count")
    most = f.emit(f"add i64 %size, {f.emit('lshr i64 %size, 2')}")
    with f.loop(0, count) as i:
        index = f.emit(f"sub i64 {f.emit(f'sub i64 {count}, 1')}, {i}")
        cell = f.emit(f"getelementptr ptr, ptr {_KEPT_BLOCKS}, i64 {index}")
        capacity = _capacity(f, f.emit(f"load ptr, ptr {cell}"))
        enough = f.emit(f"icmp sge i64 {capacity}, %size")
        close = f.emit(f"icmp sle i64 {capacity}, {most}")
        with f.if_then(f.emit(f"and i1 {enough}, {close}")):
            f.do(f"ret ptr {f.emit(f'call ptr @pool_remove(i64 {index})')}")
    f.do("ret ptr null")


def _emit_take(module: Module) -> None:
    f = FunctionBuilder(module, "pool_take", ["i64 %size"], returns="ptr")
    with f.if_then(f.emit(f"icmp ult i64 %size, {SMALLEST}")):
        f.do(f"ret ptr {f.emit('call ptr @pool_fresh(i64 %size, i64 64)')}")
    with f.if_then(f.emit(f"icmp ugt i64 %size, {_LARGEST}")):
        f.do("ret ptr null")
    size = _rounded(f, "%size", _PAGE)
    with f.if_then(f.emit("call i1 @pool_lock()")):
        block = f.emit(f"call ptr @pool_reuse(i64 {size})", "block")
        f.do("call void @pool_unlock()")
        with f.if_then(f.emit(f"icmp ne ptr {block}, null")):
            f.do(f"ret ptr {block}")
    large = f.emit(f"icmp sge i64 {size}, {_HUGE}")
    alignment = f.select(large, "i64", _HUGE_PAGE, _PAGE)
    f.do(f"ret ptr {f.emit(f'call ptr @pool_fresh(i64 {size}, i64 {alignment})')}")


def _emit_give(module: Module) -> None:
    f = FunctionBuilder(module, "pool_free", ["ptr %block"], internal=True)
    base = f.emit(f"load ptr, ptr {f.offset('%block', _BASE)}", "base")
    f.do(f"call void @free(ptr {base})")
    f.do("ret void")
    _emit_drop(module)
    f = FunctionBuilder(module, "pool_give", ["ptr %block"])
    with f.if_then(f.emit("icmp eq ptr %block, null")):
        f.do("ret void")
    capacity = _capacity(f, "%block")
    keep, free = f.label("keep"), f.label("free")
    f.branch_if(f.emit(f"icmp ult i64 {capacity}, {SMALLEST}"), free, keep)
    f.block(keep)
    room = f.emit(f"sub i64 {_load(f, 'limit')}, {capacity}")
    dropped = f.emit(f"call i1 @pool_drop(i64 {room}, i64 {_BLOCKS - 1})")
    locked = f.label("locked")
    f.branch_if(dropped, locked, free)
    f.block(locked)
    count = _load(f, "count")
    cell = f.emit(f"getelementptr ptr, ptr {_KEPT_BLOCKS}, i64 {count}")
    f.do(f"store ptr %block, ptr {cell}")
    f.do(f"store i64 {f.emit(f'add i64 {count}, 1')}, ptr {_field('count')}")
    more = f.emit(f"add i64 {_load(f, 'kept')}, {capacity}")
    f.do(f"store i64 {more}, ptr {_field('kept')}")
    f.do("call void @pool_unlock()")
    f.do("ret void")
    f.block(free)
    f.do("call void @pool_free(ptr %block)")
    f.do("ret void")
    f = FunctionBuilder(module, "pool_clear")
    with f.if_then(f.emit("call i1 @pool_drop(i64 0, i64 0)")):
        f.do("call void @pool_unlock()")
    f.do("ret void")


def _emit_drop(module: Module) -> None:
    """`i1 @pool_drop(i64 bytes, i64 blocks)`: free the oldest blocks until no more than so much is
    kept, and return with the lock held; false, without it, where that cannot be."""
    f = FunctionBuilder(
        module, "pool_drop", ["i64 %bytes", "i64 %blocks"], returns="i1", internal=True
    )
    again = f.label("again")
    with f.if_then(f.emit("icmp slt i64 %bytes, 0")):
        f.do("ret i1 false")
    f.block(again)
    locked = f.label("locked")
    never = f.label("never")
    f.branch_if(f.emit("call i1 @pool_lock()"), locked, never)
    f.block(never)
    f.do("ret i1 false")
    f.block(locked)
    small = f.emit(f"icmp sle i64 {_load(f, 'kept')}, %bytes")
    few = f.emit(f"icmp sle i64 {_load(f, 'count')}, %blocks")
    with f.if_then(f.emit(f"and i1 {small}, {few}")):
        f.do("ret i1 true")
    oldest = f.emit("call ptr @pool_remove(i64 0)", "oldest")
    f.do("call void @pool_unlock()")
    f.do(f"call void @pool_free(ptr {oldest})")
    f.branch(again)


def _emit_handler(module: Module) -> None:
    """The pool as an allocator of NumPy's."""
    f = FunctionBuilder(module, "data_malloc", ["ptr %context", "i64 %size"], returns="ptr")
    f.do(f"ret ptr {f.emit('call ptr @pool_take(i64 %size)')}")
    f = FunctionBuilder(
        module, "data_calloc", ["ptr %context", "i64 %count", "i64 %item"], returns="ptr"
    )
    size = f.intrinsic("{ i64, i1 }", "@llvm.umul.with.overflow.i64", "i64 %count", "i64 %item")
    with f.if_then(f.emit(f"extractvalue {{ i64, i1 }} {size}, 1")):
        f.do("ret ptr null")
    size = f.emit(f"extractvalue {{ i64, i1 }} {size}, 0")
    block = f.emit(f"call ptr @pool_take(i64 {size})", "block")
    with f.if_then(f.emit(f"icmp ne ptr {block}, null")):
        f.do(f"call void @llvm.memset.p0.i64(ptr {block}, i8 0, i64 {size}, i1 false)")
    f.do(f"ret ptr {block}")
    _emit_realloc(module)
    f = FunctionBuilder(module, "data_free", ["ptr %context", "ptr %block", "i64 %size"])
    f.do("call void @pool_give(ptr %block)")
    f.do("ret void")


def _emit_realloc(module: Module) -> None:
    """In place where the block is large enough, but not more than twice as large."""
    f = FunctionBuilder(
        module, "data_realloc", ["ptr %context", "ptr %block", "i64 %size"], returns="ptr"
    )
    with f.if_then(f.emit("icmp eq ptr %block, null")):
        f.do(f"ret ptr {f.emit('call ptr @pool_take(i64 %size)')}")
    capacity = _capacity(f, "%block")
    enough = f.emit(f"icmp ule i64 %size, {capacity}")
    close = f.emit(f"icmp uge i64 %size, {f.emit(f'lshr i64 {capacity}, 1')}")
    with f.if_then(f.emit(f"and i1 {enough}, {close}")):
        f.do("ret ptr %block")
    made = f.emit("call ptr @pool_take(i64 %size)", "made")
    with f.if_then(f.emit(f"icmp ne ptr {made}, null")):
        common = f.minimum("%size", capacity)
        f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {made}, ptr %block, i64 {common}, i1 false)")
        f.do("call void @pool_give(ptr %block)")
    f.do(f"ret ptr {made}")
