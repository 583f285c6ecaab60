"""Tasks over the thread pool, and the caller's epilogue."""

from jitgraph.codegen.matmul.tiling import ROLLED, Emitter

#: What a task takes: its record and its number.
TASK = "ptr %record, i64 %chunk"
#: The caller's epilogue. `swapped` says that rows and columns are exchanged.
EPILOGUE = "ptr %epilogue, ptr %context, i64 %swapped"
_HOOK = ("%epilogue", "%context", "%swapped")


def unpacked(f: Emitter, fields: str) -> dict[str, str]:
    """The fields of the task's record, by name."""
    types = [field.split()[0] for field in fields.split(", ")]
    names = [field.split(" %")[1] for field in fields.split(", ")]
    return dict(zip(names, f.unpack("%record", types), strict=True))


def emit_record(f: Emitter, fields: str) -> str:
    """Room on the stack for a task's record. Not in a loop: the stack would grow."""
    return f.emit(f"alloca [{len(fields.split(', '))} x i64], align 8")


def emit_run(f: Emitter, task: str, record: str, fields: str, chunks: str, parallel: str) -> None:
    """Run all chunks of a task on a record of typed values; on the pool where the i1 holds."""
    f.module.declare("declare void @parallel_for(ptr, ptr, i64)")
    f.fill(record, fields.split(", "))
    pool, here, done = f.label("pool"), f.label("here"), f.label("done")
    f.branch_if(parallel, pool, here)
    f.block(pool)
    f.do(f"call void @parallel_for(ptr @{task}, ptr {record}, i64 {chunks})")
    f.branch(done)
    f.block(here)
    with f.loop(0, chunks, 1, "chunk", properties=ROLLED) as chunk:
        f.do(f"call void @{task}(ptr {record}, i64 {chunk})")
    f.block(done)


def emit_epilogue(
    f: Emitter,
    row0: str,
    row1: str,
    col0: str,
    col1: str,
    hook: tuple[str, str, str] = _HOOK,
) -> None:
    """Tell the caller, if it asked, that this rectangle of C is final."""
    epilogue, context, swapped = hook
    with f.if_then(f.emit(f"icmp ne ptr {epilogue}, null")):
        swap = f.emit(f"icmp ne i64 {swapped}, 0")
        bounds = ", ".join(
            f"i64 {f.select(swap, 'i64', other, this)}"
            for this, other in ((row0, col0), (row1, col1), (col0, row0), (col1, row1))
        )
        f.do(f"call void {epilogue}(ptr {context}, {bounds})")
