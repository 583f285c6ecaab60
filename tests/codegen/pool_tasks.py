"""Native tasks for the thread pool, and native code that calls it faster than Python can."""

import ctypes
from functools import cache

import numpy as np
import numpy.typing as npt

from jitgraph.codegen.llvm import Compiled, compile_ir
from jitgraph.codegen.pool import pool_library
from jitgraph.codegen.target import host

#: stress() calls with fewer chunks than this; its counts have this length.
MOST_CHUNKS = 64

# count: adds 1 to context[chunk], after a while that depends on the chunk.
# nested: a parallel_for of 8 counts inside each chunk.
# record: writes its chunk to the next place of context[1:], context[0] counting them.
# identify: writes the thread that runs it to context[chunk].
# rendezvous: context[0] says how many chunks must run at the same time; 1 is added to context[1]
#     for each that has met all others, before it ran out of patience.
# hold: adds 1 to context[1] and waits for context[0].
_TASKS = """
declare void @parallel_for(ptr, ptr, i64)
declare ptr @pthread_self()
declare i32 @sched_yield()
declare i32 @usleep(i32)

define void @count(ptr %counts, i64 %chunk) {
entry:
  %while = and i64 %chunk, 7
  %rounds = mul i64 %while, 20
  br label %work
work:
  %i = phi i64 [ 0, %entry ], [ %i.next, %work ]
  %i.next = add i64 %i, 1
  fence seq_cst
  %more = icmp slt i64 %i.next, %rounds
  br i1 %more, label %work, label %done
done:
  %place = getelementptr i64, ptr %counts, i64 %chunk
  %old = atomicrmw add ptr %place, i64 1 monotonic
  ret void
}

define void @nested(ptr %counts, i64 %chunk) {
  %first = mul i64 %chunk, 8
  %place = getelementptr i64, ptr %counts, i64 %first
  call void @parallel_for(ptr @count, ptr %place, i64 8)
  ret void
}

define void @record(ptr %context, i64 %chunk) {
  %before = atomicrmw add ptr %context, i64 1 monotonic
  %index = add i64 %before, 1
  %place = getelementptr i64, ptr %context, i64 %index
  store i64 %chunk, ptr %place
  ret void
}

define void @identify(ptr %context, i64 %chunk) {
  %place = getelementptr i64, ptr %context, i64 %chunk
  %self = call ptr @pthread_self()
  store ptr %self, ptr %place
  call i32 @usleep(i32 50)
  ret void
}

define void @rendezvous(ptr %context, i64 %chunk) {
entry:
  %met = getelementptr i64, ptr %context, i64 1
  %here = getelementptr i64, ptr %context, i64 2
  %all = load i64, ptr %context
  %others = atomicrmw add ptr %here, i64 1 seq_cst
  br label %look
look:
  %i = phi i64 [ 0, %entry ], [ %i.next, %yield ], [ %i.next, %sleep ]
  %arrived = load atomic i64, ptr %here seq_cst, align 8
  %complete = icmp sge i64 %arrived, %all
  br i1 %complete, label %good, label %wait
wait:
  %i.next = add i64 %i, 1
  %soon = icmp slt i64 %i, 200
  br i1 %soon, label %yield, label %sleep
yield:
  call i32 @sched_yield()
  br label %look
sleep:
  call i32 @usleep(i32 100)
  %more = icmp slt i64 %i.next, 100000
  br i1 %more, label %look, label %over
good:
  %before = atomicrmw add ptr %met, i64 1 seq_cst
  br label %over
over:
  ret void
}

define void @hold(ptr %context, i64 %chunk) {
entry:
  %held = getelementptr i64, ptr %context, i64 1
  %before = atomicrmw add ptr %held, i64 1 seq_cst
  br label %look
look:
  %flag = load atomic i64, ptr %context seq_cst, align 8
  %free = icmp ne i64 %flag, 0
  br i1 %free, label %over, label %wait
wait:
  call i32 @usleep(i32 100)
  br label %look
over:
  ret void
}
"""

# meet: `joins` rendezvous one after the other, context[1] counting chunks that met all others.
# stress: `joins` calls of random size, some after a sleep; returns how many counts were not what
# they should be, each chunk of a call having run once.
_STRESS = f"""
define void @meet(ptr %context, i64 %joins) {{
entry:
  %here = getelementptr i64, ptr %context, i64 2
  %all = load i64, ptr %context
  br label %join
join:
  %i = phi i64 [ 0, %entry ], [ %i.next, %join ]
  store i64 0, ptr %here
  call void @parallel_for(ptr @rendezvous, ptr %context, i64 %all)
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %joins
  br i1 %more, label %join, label %over
over:
  ret void
}}

define i64 @stress(ptr %counts, i64 %joins, i64 %seed) {{
entry:
  br label %join
join:
  %i = phi i64 [ 0, %entry ], [ %i.next, %checked ]
  %random = phi i64 [ %seed, %entry ], [ %random.next, %checked ]
  %faults = phi i64 [ 0, %entry ], [ %faults.now, %checked ]
  %product = mul i64 %random, 6364136223846793005
  %random.next = add i64 %product, 1442695040888963407
  %high = lshr i64 %random.next, 33
  %chunks = urem i64 %high, {MOST_CHUNKS}
  %drawn = lshr i64 %random.next, 40
  %choice = and i64 %drawn, 15
  %sleepy = icmp eq i64 %choice, 0
  br i1 %sleepy, label %sleep, label %call
sleep:
  %drawn.time = lshr i64 %random.next, 45
  %time = and i64 %drawn.time, 127
  %time.short = trunc i64 %time to i32
  call i32 @usleep(i32 %time.short)
  br label %call
call:
  call void @parallel_for(ptr @count, ptr %counts, i64 %chunks)
  br label %check
check:
  %c = phi i64 [ 0, %call ], [ %c.next, %check ]
  %sum = phi i64 [ %faults, %call ], [ %faults.now, %check ]
  %place = getelementptr i64, ptr %counts, i64 %c
  %got = load i64, ptr %place
  store i64 0, ptr %place
  %runs = icmp ult i64 %c, %chunks
  %want = zext i1 %runs to i64
  %wrong = icmp ne i64 %got, %want
  %fault = zext i1 %wrong to i64
  %faults.now = add i64 %sum, %fault
  %c.next = add i64 %c, 1
  %more.chunks = icmp slt i64 %c.next, {MOST_CHUNKS}
  br i1 %more.chunks, label %check, label %checked
checked:
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %joins
  br i1 %more, label %join, label %over
over:
  ret i64 %faults.now
}}
"""


@cache
def tasks() -> Compiled:
    """The tasks, linked with the pool."""
    imports = {"parallel_for": pool_library(host()).address("parallel_for")}
    return compile_ir(_TASKS + _STRESS, host(), imports=imports)


def parallel_for(task: str, context: npt.NDArray[np.int64], chunks: int) -> None:
    """Run a task. Without the GIL, as all calls through ctypes."""
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    function = signature(pool_library(host()).address("parallel_for"))
    function(tasks().address(task), context.ctypes.data, chunks)


def meet(threads: int, joins: int) -> int:
    """How many chunks met all others, in so many rendezvous of as many threads."""
    context = np.zeros(3, dtype=np.int64)
    context[0] = threads
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    signature(tasks().address("meet"))(context.ctypes.data, joins)
    return int(context[1])


def stress(joins: int, seed: int) -> int:
    """The number of faults in so many calls of random size, none if all is well."""
    counts = np.zeros(MOST_CHUNKS, dtype=np.int64)
    signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, *[ctypes.c_int64] * 2)
    return int(signature(tasks().address("stress"))(counts.ctypes.data, joins, seed))
