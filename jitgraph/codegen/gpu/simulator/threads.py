"""Launches on the simulated device: blocks one after the other, threads of a block as fibers.

Blocks, and warps of a block, run from the first to the last, or `backward`: what a kernel computes
must not depend on it. A kernel without barriers and warp operations runs its threads in a loop, on
one fiber. In others every thread is a fiber with a stack of its own, and runs until it waits: at
the block's barrier or in a *collective* of its warp, an operation that happens when all lanes its
mask names have come.

    void @sim_barrier(i64 site)
    void @sim_collective(ptr compute, i64 site, i32 mask, ptr record)

A collective's `compute(records, mask)`, if there is one, finds each lane's record and may leave
results in it. Without one it is the warp's barrier. A `site` is the place in the kernel, where
threads of a warp must be at the same one, else 0. When nobody can go on the block is done, or at
its barrier, or the kernel is wrong.
"""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator.state import (
    INVALID_VALUE,
    MOST_THREADS,
    NAME_BYTES,
    STAMP_SHIFT,
    SUCCESS,
    WARP,
    Kind,
    cell,
    described,
    get,
    place,
    put,
    result_of,
    warp_stamp,
)
from jitgraph.codegen.llvm import FunctionBuilder, Module

STACK_BYTES = 128 << 10
_GUARD_BYTES = 16 << 10
#: Stacks begin apart by so much more, lest all use the same lines of the cache.
_COLOUR_BYTES = 5 * 64
_READY, _EXITED, _BARRIER, _COLLECTIVE = range(4)
#: The words of a fiber.
_FIBER = ("sp", "status", "site", "mask", "compute", "record")
_X86_SWITCH = """\
pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15; movq %rsp, (%rdi); \
movq %rsi, %rsp; popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; retq"""
_X86_FRAME, _X86_RETURN = 64, 48
_ARM_PAIRS = ("x19, x20", "x21, x22", "x23, x24", "x25, x26", "x27, x28", "x29, x30",
              "d8, d9", "d10, d11", "d12, d13", "d14, d15")  # fmt: skip
_ARM_FRAME, _ARM_RETURN = 160, 88


def emit_threads(module: Module) -> None:
    """All of it."""
    module.declare(f"@fibers = internal global [{len(_FIBER) * MOST_THREADS} x i64] "
                   "zeroinitializer, align 64")  # fmt: skip
    module.declare("@lost = internal global ptr null")
    frame, entry = _emit_switch(module)
    _emit_start(module, frame, entry)
    _emit_running(module)
    _emit_waiting(module)
    _emit_faults(module)
    _emit_warp(module)
    _emit_collectives(module)
    _emit_block(module)
    _emit_settle(module)
    _emit_launch(module)


def _emit_switch(module: Module) -> tuple[int, int]:
    """`void @switch(ptr save, ptr to)`: leave one stack for another. What a function must preserve
    lies on the stack that is left; answers how large that is and where the return address."""
    if module.target.triple.startswith("x86_64"):
        code, frame, entry = _X86_SWITCH, _X86_FRAME, _X86_RETURN
    else:
        saves = [f"stp {pair}, [sp, #{16 * k}]" for k, pair in enumerate(_ARM_PAIRS)]
        loads = [f"ldp {pair}, [sp, #{16 * k}]" for k, pair in enumerate(_ARM_PAIRS)]
        lines = [f"sub sp, sp, #{_ARM_FRAME}", *saves, "mov x9, sp", "str x9, [x0]",
                 "mov sp, x1", *loads, f"add sp, sp, #{_ARM_FRAME}", "ret"]  # fmt: skip
        code, frame, entry = "; ".join(lines), _ARM_FRAME, _ARM_RETURN
    f = FunctionBuilder(
        module, "switch", ["ptr %save", "ptr %to"], attributes="naked noinline optnone"
    )
    f.do(f'call void asm sideeffect "{code}", ""()')
    f.do("unreachable")
    return frame, entry


def _fiber(f: FunctionBuilder, index: str, field: str) -> str:
    """The address of a fiber's word."""
    fiber = f.emit(f"getelementptr [{len(_FIBER)} x i64], ptr @fibers, i64 {index}")
    return f.offset(fiber, 8 * _FIBER.index(field))


def _emit_start(module: Module, frame: int, entry: int) -> None:
    """Stacks, each with pages at its end that nobody may touch; and new fibers on them."""
    f = FunctionBuilder(module, "sim_start_threads", ["i32 %flags"], internal=True)
    size = MOST_THREADS * STACK_BYTES
    stacks = f.emit(f"call ptr @mmap(ptr null, i64 {size}, i32 3, i32 %flags, i32 -1, i64 0)")
    put(f, "stacks", stacks, "ptr")
    module.declare("declare i32 @mprotect(ptr, i64, i32)")
    with f.loop(0, size, STACK_BYTES) as offset:
        f.do(f"call i32 @mprotect(ptr {f.offset(stacks, str(offset))}, i64 {_GUARD_BYTES}, i32 0)")
    f.do("ret void")
    f = FunctionBuilder(module, "prepare", ["i64 %index"], internal=True)
    end = f.emit(f"mul i64 {f.emit('add i64 %index, 1')}, {STACK_BYTES}")
    colour = f.emit(f"mul i64 {f.emit('and i64 %index, 63')}, {_COLOUR_BYTES}")
    start = f.emit(f"sub i64 {end}, {f.emit(f'add i64 {colour}, {frame}')}")
    sp = f.offset(get(f, "stacks", "ptr"), start)
    f.do(f"store ptr @fiber, ptr {f.offset(sp, entry)}")
    f.do(f"store ptr {sp}, ptr {_fiber(f, '%index', 'sp')}")
    f.do(f"store i64 {_READY}, ptr {_fiber(f, '%index', 'status')}")
    f.do("ret void")


def _emit_running(module: Module) -> None:
    f = FunctionBuilder(module, "be", ["i64 %thread"], internal=True)
    put(f, "thread", "%thread")
    f.do(f"store i32 {f.emit('trunc i64 %thread to i32')}, ptr {place('tid')}")
    f.do("ret void")
    f = FunctionBuilder(module, "resume", ["i64 %index"], internal=True)
    f.do("call void @be(i64 %index)")
    start = f.emit(f"add i64 {get(f, 'stacks')}, {f.emit(f'mul i64 %index, {STACK_BYTES}')}")
    put(f, "stack", start)
    put(f, "stack_end", f.emit(f"add i64 {start}, {STACK_BYTES}"))
    sp = f.emit(f"load ptr, ptr {_fiber(f, '%index', 'sp')}")
    f.do(f"call void @switch(ptr {cell('scheduler')}, ptr {sp})")
    f.do("ret void")
    f = FunctionBuilder(module, "suspend", ["i64 %status"], internal=True)
    thread = get(f, "thread")
    f.do(f"store i64 %status, ptr {_fiber(f, thread, 'status')}")
    f.do(f"call void @switch(ptr {_fiber(f, thread, 'sp')}, ptr {get(f, 'scheduler', 'ptr')})")
    f.do("ret void")
    f = FunctionBuilder(module, "fiber", internal=True)
    thunk, parameters = described(f, "thunk", "ptr"), get(f, "parameters", "ptr")
    alone = f.emit(f"icmp ne i64 {described(f, 'synchronises')}, 0")
    with f.if_then(alone):
        f.do(f"call void {thunk}(ptr {parameters})")
        f.do(f"call void @suspend(i64 {_EXITED})")
    with f.loop(0, get(f, "threads")) as thread_:
        f.do(f"call void @be(i64 {thread_})")
        f.do(f"call void {thunk}(ptr {parameters})")
    f.do("call void @be(i64 0)")
    f.do(f"call void @suspend(i64 {_EXITED})")
    f.do("unreachable")


def _emit_waiting(module: Module) -> None:
    f = FunctionBuilder(module, "sim_barrier", ["i64 %site"])
    f.do(f"store i64 %site, ptr {_fiber(f, get(f, 'thread'), 'site')}")
    f.do(f"call void @suspend(i64 {_BARRIER})")
    f.do("ret void")
    f = FunctionBuilder(
        module, "sim_collective", ["ptr %compute", "i64 %site", "i32 %mask", "ptr %record"]
    )
    thread = get(f, "thread")
    lane = f.emit(f"trunc i64 {f.emit(f'and i64 {thread}, {WARP - 1}')} to i32")
    bit = f.emit(f"and i32 {f.emit(f'lshr i32 %mask, {lane}')}, 1")
    with f.if_then(f.emit(f"icmp eq i32 {bit}, 0")):
        put(f, "fault_other", -1)
        f.do(f"call void @fault(i64 {Kind.LANE}, i64 0, i64 0)")
    lanes = f.emit(f"call i32 @lanes(i64 {thread})")
    mask = f.emit(f"and i32 %mask, {lanes}")
    f.do(f"store i32 {mask}, ptr {_fiber(f, thread, 'mask')}")
    f.do(f"store i64 %site, ptr {_fiber(f, thread, 'site')}")
    f.do(f"store ptr %compute, ptr {_fiber(f, thread, 'compute')}")
    f.do(f"store ptr %record, ptr {_fiber(f, thread, 'record')}")
    f.do(f"call void @suspend(i64 {_COLLECTIVE})")
    f.do("ret void")
    f = FunctionBuilder(module, "lanes", ["i64 %thread"], returns="i32", internal=True)
    first = f.emit(f"and i64 %thread, {-WARP}")
    lanes = f.minimum(f.emit(f"sub i64 {get(f, 'threads')}, {first}"), WARP)
    missing = f.emit(f"trunc i64 {f.emit(f'sub i64 {WARP}, {lanes}')} to i32")
    f.do(f"ret i32 {f.emit(f'lshr i32 -1, {missing}')}")


def _emit_faults(module: Module) -> None:
    """`@report` writes a fault down; `@fault` ends the kernel with it."""
    f = FunctionBuilder(module, "report", ["i64 %kind", "i64 %address", "i64 %size"], internal=True)
    for field, value in (("fault", "%kind"), ("aborted", "%kind"), ("fault_address", "%address"),
                         ("fault_size", "%size")):  # fmt: skip
        put(f, field, value)
    for field, source in (("fault_kernel", "kernel"), ("fault_thread", "thread"),
                          ("fault_bytes", "bytes"), ("fault_base", "near"),
                          ("fault_extent", "near_extent")):  # fmt: skip
        put(f, field, get(f, source))
    with f.if_then(f.emit(f"icmp ne ptr {get(f, 'kernel', 'ptr')}, null")):
        name = described(f, "name", "ptr")
        f.do(f"call ptr @strncpy(ptr @sim_fault_name, ptr {name}, i64 {NAME_BYTES - 1})")
    block = f.emit(f"load i32, ptr {place('ctaid')}")
    put(f, "fault_block", f.emit(f"zext i32 {block} to i64"))
    f.do("ret void")
    f = FunctionBuilder(module, "fault", ["i64 %kind", "i64 %address", "i64 %size"], internal=True)
    f.do("call void @report(i64 %kind, i64 %address, i64 %size)")
    f.do(f"call void @switch(ptr @lost, ptr {get(f, 'scheduler', 'ptr')})")
    f.do("unreachable")


def _emit_warp(module: Module) -> None:
    """`i1 @run_warp(i64 first, i64 fibers)`: run a warp as far as it gets; whether it moved."""
    f = FunctionBuilder(
        module, "run_warp", ["i64 %first", "i64 %fibers"], returns="i1", internal=True
    )
    end = f.minimum(f.emit(f"add i64 %first, {WARP}"), "%fibers")
    ran = f.reserve("i1", "ran")
    f.do(f"store i1 false, ptr {ran}")
    again = f.label("again")
    f.block(again)
    with f.loop("%first", end) as thread:
        status = f.emit(f"load i64, ptr {_fiber(f, str(thread), 'status')}")
        with f.if_then(f.emit(f"icmp eq i64 {status}, {_READY}")):
            f.do(f"store i1 true, ptr {ran}")
            f.do(f"call void @resume(i64 {thread})")
            with f.if_then(f.emit(f"icmp ne i64 {get(f, 'aborted')}, 0")):
                f.do("ret i1 true")
    met = f.emit(f"call i1 @meet(i64 %first, i64 {end})")
    done = f.label("done")
    f.branch_if(met, again, done)
    f.block(done)
    f.do(f"ret i1 {f.emit(f'load i1, ptr {ran}')}")


def _emit_collectives(module: Module) -> None:
    """`i1 @meet(i64 first, i64 end)`: do the collectives of a warp to which all have come."""
    f = FunctionBuilder(
        module, "complete", ["i64 %first", "i64 %end", "i64 %leader"], returns="i1", internal=True
    )
    mask = f.emit(f"load i32, ptr {_fiber(f, '%leader', 'mask')}")
    with f.loop("%first", "%end") as thread, f.if_then(_named(f, mask, str(thread))):
        for field, type_ in (("status", "i64"), ("mask", "i32"), ("compute", "i64"),
                             ("site", "i64")):  # fmt: skip
            own = f.emit(f"load {type_}, ptr {_fiber(f, '%leader', field)}")
            other = f.emit(f"load {type_}, ptr {_fiber(f, str(thread), field)}")
            with f.if_then(f.emit(f"icmp ne {type_} {own}, {other}")):
                f.do("ret i1 false")
    f.do("ret i1 true")
    f = FunctionBuilder(module, "meet", ["i64 %first", "i64 %end"], returns="i1", internal=True)
    records, met = f.reserve(f"[{WARP} x ptr]", "records"), f.reserve("i1", "met")
    f.do(f"store i1 false, ptr {met}")
    with f.loop("%first", "%end") as leader:
        status = f.emit(f"load i64, ptr {_fiber(f, str(leader), 'status')}")
        with f.if_then(f.emit(f"icmp eq i64 {status}, {_COLLECTIVE}")):
            complete = f.emit(f"call i1 @complete(i64 %first, i64 %end, i64 {leader})")
            with f.if_then(complete):
                f.do(f"store i1 true, ptr {met}")
                _emit_meeting(f, str(leader), records)
    f.do(f"ret i1 {f.emit(f'load i1, ptr {met}')}")


def _emit_meeting(f: FunctionBuilder, leader: str, records: str) -> None:
    mask = f.emit(f"load i32, ptr {_fiber(f, leader, 'mask')}")
    compute = f.emit(f"load ptr, ptr {_fiber(f, leader, 'compute')}")
    with (
        f.loop("%first", "%end", name="member") as member,
        f.if_then(_named(f, mask, str(member))),
    ):
        f.do(f"store i64 {_READY}, ptr {_fiber(f, str(member), 'status')}")
        record = f.emit(f"load ptr, ptr {_fiber(f, str(member), 'record')}")
        lane = f.emit(f"sub i64 {member}, %first")
        slot = f.emit(f"getelementptr ptr, ptr {records}, i64 {lane}")
        f.do(f"store ptr {record}, ptr {slot}")
    barrier, operation, done = f.label("barrier"), f.label("operation"), f.label("met")
    f.branch_if(f.emit(f"icmp eq ptr {compute}, null"), barrier, operation)
    f.block(operation)
    f.do(f"call void {compute}(ptr {records}, i32 {mask})")
    f.branch(done)
    f.block(barrier)
    whole = f.emit(f"icmp eq i32 {mask}, {f.emit('call i32 @lanes(i64 %first)')}")
    with f.if_then(whole):
        f.do(f"store i64 {f.emit('call i64 @tick()')}, ptr {warp_stamp(f, '%first')}")
    f.block(done)


def _named(f: FunctionBuilder, mask: str, thread: str) -> str:
    """Whether a mask names a thread."""
    lane = f.emit(f"trunc i64 {f.emit(f'and i64 {thread}, {WARP - 1}')} to i32")
    return f.emit(f"trunc i32 {f.emit(f'lshr i32 {mask}, {lane}')} to i1")


def _emit_block(module: Module) -> None:
    """`void @run_block()`: all threads of a block, until it is done or the kernel aborted."""
    f = FunctionBuilder(module, "tick", returns="i64", internal=True)
    clock = f.emit(f"add i64 {get(f, 'clock')}, 1")
    put(f, "clock", clock)
    f.do(f"ret i64 {f.emit(f'shl i64 {clock}, {STAMP_SHIFT}')}")
    f = FunctionBuilder(module, "run_block", internal=True)
    synchronises = f.emit(f"icmp ne i64 {described(f, 'synchronises')}, 0")
    fibers = f.select(synchronises, "i64", get(f, "threads"), 1)
    with f.loop(0, fibers) as thread:
        f.do(f"call void @prepare(i64 {thread})")
    again, stuck = f.label("again"), f.label("stuck")
    ran = f.reserve("i1", "ran")
    f.block(again)
    f.do(f"store i1 false, ptr {ran}")
    with f.loop(0, fibers, WARP) as at:
        last = f.emit(f"and i64 {f.emit(f'sub i64 {fibers}, 1')}, {-WARP}")
        first = _in_order(f, str(at), last)
        some = f.emit(f"call i1 @run_warp(i64 {first}, i64 {fibers})")
        with f.if_then(f.emit(f"icmp ne i64 {get(f, 'aborted')}, 0")):
            f.do("ret void")
        before = f.emit(f"load i1, ptr {ran}")
        f.do(f"store i1 {f.emit(f'or i1 {before}, {some}')}, ptr {ran}")
    f.branch_if(f.emit(f"load i1, ptr {ran}"), again, stuck)
    f.block(stuck)
    end = f.label("end")
    f.branch_if(f.emit(f"call i1 @settle(i64 {fibers})"), again, end)
    f.block(end)
    f.do("ret void")


def _in_order(f: FunctionBuilder, index: str, last: str) -> str:
    """What comes at a place in the order."""
    backward = f.emit(f"icmp ne i64 {get(f, 'backward')}, 0")
    return f.select(backward, "i64", f.emit(f"sub i64 {last}, {index}"), index)


def _emit_settle(module: Module) -> None:
    """`i1 @settle(i64 fibers)`: nobody goes on: open the barrier, if that is why."""
    f = FunctionBuilder(module, "settle", ["i64 %fibers"], returns="i1", internal=True)
    counts = f.reserve("[5 x i64]", "counts")
    waiting = f.reserve("i64", "waiting")
    f.do(f"call void @llvm.memset.p0.i64(ptr {counts}, i8 0, i64 40, i1 false)")
    f.do(f"store i64 0, ptr {waiting}")
    with f.loop(0, "%fibers") as thread:
        status = f.emit(f"load i64, ptr {_fiber(f, str(thread), 'status')}")
        count = f.emit(f"getelementptr i64, ptr {counts}, i64 {status}")
        more = f.emit(f"add i64 {f.emit(f'load i64, ptr {count}')}, 1")
        f.do(f"store i64 {more}, ptr {count}")
        with f.if_then(f.emit(f"icmp ne i64 {status}, {_EXITED}")):
            f.do(f"store i64 {thread}, ptr {waiting}")
        leader = f.emit(f"and i64 {thread}, {-WARP}")
        sites = (f.emit(f"load i64, ptr {_fiber(f, k, 'site')}") for k in (leader, str(thread)))
        with f.if_then(f.emit(f"icmp ne i64 {', '.join(sites)}")):
            f.do(f"store i64 1, ptr {f.offset(counts, 32)}")
    exited = f.emit(f"load i64, ptr {f.offset(counts, 8 * _EXITED)}")
    with f.if_then(f.emit(f"icmp eq i64 {exited}, %fibers")):
        f.do("ret i1 false")
    arrived = f.emit(f"load i64, ptr {f.offset(counts, 8 * _BARRIER)}")
    apart = f.emit(f"load i64, ptr {f.offset(counts, 32)}")
    all_there = f.emit(f"icmp eq i64 {arrived}, %fibers")
    with f.if_then(f.emit(f"and i1 {all_there}, {f.emit(f'icmp eq i64 {apart}, 0')}")):
        put(f, "interval", f.emit("call i64 @tick()"))
        with f.loop(0, "%fibers") as thread:
            f.do(f"store i64 {_READY}, ptr {_fiber(f, str(thread), 'status')}")
        f.do("ret i1 true")
    thread_ = f.emit(f"load i64, ptr {waiting}")
    f.do(f"call void @be(i64 {thread_})")
    status = f.emit(f"load i64, ptr {_fiber(f, thread_, 'status')}")
    collective = f.emit(f"icmp eq i64 {status}, {_COLLECTIVE}")
    kind = f.select(collective, "i64", int(Kind.WARP), int(Kind.BARRIER))
    mask = f.emit(f"load i32, ptr {_fiber(f, thread_, 'mask')}")
    wide = f.emit(f"zext i32 {mask} to i64")
    put(f, "fault_other", f.select(collective, "i64", wide, arrived))
    all_ = f.emit(f"shl i64 {get(f, 'threads')}, 32")
    f.do(f"call void @report(i64 {kind}, i64 0, i64 {f.emit(f'or i64 {all_}, {exited}')})")
    f.do("ret i1 false")


_LAUNCH = ("ptr %kernel", "i32 %grid", "i32 %grid_y", "i32 %grid_z", "i32 %threads",
           "i32 %threads_y", "i32 %threads_z", "i32 %dynamic", "ptr %stream", "ptr %parameters",
           "ptr %extra")  # fmt: skip


def _emit_launch(module: Module) -> None:
    results = [SUCCESS, *(result_of(kind) for kind in Kind)]
    table = ", ".join(f"i32 {result}" for result in results)
    module.declare(f"@results = internal constant [{len(results)} x i32] [{table}]")
    f = FunctionBuilder(module, "sim_launch", _LAUNCH, returns="i32")
    for other in ("grid_y", "grid_z", "threads_y", "threads_z"):
        with f.if_then(f.emit(f"icmp ne i32 %{other}, 1")):
            f.do(f"ret i32 {INVALID_VALUE}")
    for name, most in (("grid", (1 << 31) - 1), ("threads", MOST_THREADS)):
        less = f.emit(f"sub i32 %{name}, 1")
        with f.if_then(f.emit(f"icmp uge i32 {less}, {most}")):
            f.do(f"ret i32 {INVALID_VALUE}")
    f.do("call void @enter()")
    status = f.emit("call i32 @run(ptr %kernel, i32 %grid, i32 %threads, i32 %dynamic, "
                    "ptr %parameters)")  # fmt: skip
    f.do("call void @leave()")
    f.do(f"ret i32 {status}")
    _emit_run(module)


def _emit_run(module: Module) -> None:
    f = FunctionBuilder(
        module, "run",
        ["ptr %kernel", "i32 %grid", "i32 %threads", "i32 %dynamic", "ptr %parameters"],
        returns="i32", internal=True,
    )  # fmt: skip
    put(f, "kernel", "%kernel", "ptr")
    dynamic = f.emit("zext i32 %dynamic to i64")
    size = f.emit(f"add i64 {described(f, 'shared')}, {dynamic}")
    with f.if_then(f.emit(f"icmp ugt i64 {size}, {described(f, 'most')}")):
        f.do(f"ret i32 {INVALID_VALUE}")
    put(f, "bytes", size)
    put(f, "parameters", "%parameters", "ptr")
    threads, blocks = f.emit("zext i32 %threads to i64"), f.emit("zext i32 %grid to i64")
    put(f, "threads", threads)
    put(f, "aborted", 0)
    put(f, "launch", f.emit("call i64 @tick()"))
    put(f, "launches", f.emit(f"add i64 {get(f, 'launches')}, 1"))
    f.do(f"store i32 %threads, ptr {place('ntid')}")
    f.do(f"store i32 %grid, ptr {place('nctaid')}")
    with f.loop(0, blocks) as index:
        block = _in_order(f, str(index), f.emit(f"sub i64 {blocks}, 1"))
        f.do(f"store i32 {f.emit(f'trunc i64 {block} to i32')}, ptr {place('ctaid')}")
        f.do(f"call void @begin_block(i64 {index})")
        f.do("call void @run_block()")
        aborted = get(f, "aborted")
        with f.if_then(f.emit(f"icmp ne i64 {aborted}, 0")):
            code = f.emit(f"getelementptr i32, ptr @results, i64 {aborted}")
            put(f, "kernel", "null", "ptr")
            f.do(f"ret i32 {f.emit(f'load i32, ptr {code}')}")
    put(f, "kernel", "null", "ptr")
    f.do(f"ret i32 {SUCCESS}")
