"""The thread pool, as generated LLVM IR: `parallel_for` over chunks of work.

    void parallel_for(ptr task, ptr context, i64 chunks)

runs `task(context, chunk)` once for each 0 <= chunk < chunks, on the pool's threads and on the
calling thread, and returns when all are done. Whoever is free takes the next chunk, so a result
must not depend on who computes a chunk; then it is the same for every number of threads. The pool
serves one call at a time. A call that finds it busy, from another thread of the user or from
inside a task, does its own chunks in order: nothing waits, and no CPU gets two threads.

Workers are native threads made by this code when a call first has use for them, not threads of
Python: a call may hold the GIL or not, nothing of Python runs on them or knows them, and at exit
they just end with the process, parked or not (their code is never unloaded). They block the
signals that a user sends, so those still reach Python's main thread and interrupt what it waits in.

One word, `@job`'s state, is the whole agreement between the caller and the workers:

    epoch (32 bits) | seats (16) | the caller sleeps (1) | active (15)

The caller fills in the job and publishes a new epoch with as many seats as there is work for.
A worker joins by exchanging a seat for an active worker, takes chunks until there are none left,
and leaves. The caller takes chunks too, removes the seats that are left, waits for `active` to
become 0 and knows that everything is done. It never waits for a worker that has not joined: one
that wakes up late finds no seat, and all chunks are done if no worker ever comes.

An idle worker looks at the state word for some tens of microseconds, as the next job often comes
soon, then sleeps on a condition variable. Going to sleep and publishing follow Dekker: each side
writes its own word (`sleepers`, the state) and then reads the other's, in sequential
consistency, so at least one sees the other. Whoever joins a job wakes two more sleepers while
there are seats and chunks left, so that many threads wake up as a tree. Where there are more
threads than CPUs nobody looks, all sleep.
"""

import ctypes
import os
import signal
import threading
import time
from functools import cache

from jitgraph.codegen.llvm import Compiled
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.target import Target
from jitgraph.config import config
from jitgraph.cpus import usable_cpus

#: How long an idle thread looks for work before it sleeps.
_PATIENCE_NS = 50_000

_ACTIVE = (1 << 15) - 1
_ASLEEP = 1 << 15
_SEAT = 1 << 16
_SEATS = 0xFFFF * _SEAT
_EPOCH = 1 << 32

# What a fault in a task raises; all else is blocked in workers.
_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)

_lock = threading.Lock()


def pool_library(target: Target) -> Compiled:
    """The pool of this process, which lives as long as the process.

    It exports `parallel_for` and `i64 pool_threads()`, the number of threads a call may use now.
    """
    with _lock:  # two pools would oversubscribe, and a lost one would be unloaded
        return _library(target)


@cache
def _library(target: Target) -> Compiled:
    # A few branches around atomic operations: optimising them takes 100 ms and gains nothing.
    code = cached_library("pool", lambda: _text(target), target, passes="quick")
    start = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    start(code.address("pool_start"))(
        ctypes.addressof(config.num_threads_cell), usable_cpus(), _rounds_of_patience(code)
    )
    # A child has none of its parent's threads, and locks as they happened to be.
    os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(code.address("pool_reset")))
    return code


def _rounds_of_patience(code: Compiled) -> int:
    """How often to pause: some CPUs take 1 ns for it, some 50."""
    pause = ctypes.CFUNCTYPE(None, ctypes.c_int64)(code.address("pool_pause"))
    rounds, least = 200, 1 << 62
    for _ in range(5):
        start = time.perf_counter_ns()
        pause(rounds)
        least = min(least, time.perf_counter_ns() - start)
    return _PATIENCE_NS * rounds // max(least, rounds // 10)


def _text(target: Target) -> str:
    return "\n".join((_DATA, _pause(target), _WAITING, _WORKER, _HIRING, _CALLER, _MANAGEMENT))


def _pause(target: Target) -> str:
    """The instruction for a loop that waits."""
    if target.triple.startswith("x86_64"):
        declaration, call = "void @llvm.x86.sse2.pause()", "void @llvm.x86.sse2.pause()"
    elif target.triple.startswith(("aarch64", "arm64")):  # where `yield` mostly does nothing
        declaration, call = "void @llvm.aarch64.isb(i32)", "void @llvm.aarch64.isb(i32 15)"
    else:
        declaration, call = "void @llvm.donothing()", "void @llvm.donothing()"
    return f"declare {declaration}\ndefine internal void @pause() {{ call {call} ret void }}"


# What is written by different threads lies in different cache lines (pairs of them on some CPUs).
# Mutexes and conditions have at most 64 bytes on the systems we know.
_DATA = """
%Job = type { i64, ptr, ptr, i64 }  ; state, task, context, chunks
@job = internal global %Job zeroinitializer, align 128
@task = internal alias ptr, getelementptr (%Job, ptr @job, i64 0, i32 1)
@context = internal alias ptr, getelementptr (%Job, ptr @job, i64 0, i32 2)
@chunks = internal alias i64, getelementptr (%Job, ptr @job, i64 0, i32 3)
@next = internal global i64 0, align 128      ; the first chunk that nobody has taken
@busy = internal global i32 0, align 128      ; 1 during a call
@sleepers = internal global i64 0, align 128  ; workers asleep that nobody has called; @mutex
@calls = internal global i64 0                ; calls to sleepers not yet heard; @mutex
@workers = internal global i64 0, align 128   ; threads made; changes during a call only
@limit = internal global ptr null, align 128  ; where the number of threads is set
@cpus = internal global i64 1
@patience = internal global i64 0
@mutex = internal global [128 x i8] zeroinitializer, align 128
@wakeup = internal global [128 x i8] zeroinitializer, align 128
@finished = internal global [128 x i8] zeroinitializer, align 128
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i64 @llvm.smin.i64(i64, i64)
"""

# await_job: worker number `worker` (the first is 1) waits for an epoch other than `seen`.
# await_workers: the caller waits until nobody is active.
_WAITING = f"""
define internal i64 @rounds_for(i64 %thread) {{
  %limit = call i64 @pool_threads()
  %cpus = load i64, ptr @cpus
  %useful = icmp ult i64 %thread, %limit
  %room = icmp ule i64 %limit, %cpus
  %look = and i1 %useful, %room
  %patience = load i64, ptr @patience
  %rounds = select i1 %look, i64 %patience, i64 0
  ret i64 %rounds
}}

define internal i64 @await_job(i64 %seen, i64 %worker) {{
entry:
  %rounds = call i64 @rounds_for(i64 %worker)
  br label %look
look:
  %round = phi i64 [ 0, %entry ], [ %round.next, %pause ]
  %state = load atomic i64, ptr @job acquire, align 8
  %epoch = lshr i64 %state, 32
  %new = icmp ne i64 %epoch, %seen
  br i1 %new, label %found, label %impatient
impatient:
  %enough = icmp uge i64 %round, %rounds
  br i1 %enough, label %tired, label %pause
pause:
  call void @pause()
  %round.next = add i64 %round, 1
  br label %look
found:
  ret i64 %state

tired:
  call i32 @pthread_mutex_lock(ptr @mutex)
  %others = load i64, ptr @sleepers
  %sleepers = add i64 %others, 1
  store atomic i64 %sleepers, ptr @sleepers seq_cst, align 8
  %state.now = load atomic i64, ptr @job seq_cst, align 8
  %epoch.now = lshr i64 %state.now, 32
  %new.now = icmp ne i64 %epoch.now, %seen
  br i1 %new.now, label %stay, label %sleep
stay:
  store atomic i64 %others, ptr @sleepers monotonic, align 8
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret i64 %state.now
sleep:
  %calls = load i64, ptr @calls
  %called = icmp ne i64 %calls, 0
  br i1 %called, label %rise, label %doze
doze:
  call i32 @pthread_cond_wait(ptr @wakeup, ptr @mutex)
  br label %sleep
rise:
  %calls.left = sub i64 %calls, 1
  store i64 %calls.left, ptr @calls
  call i32 @pthread_mutex_unlock(ptr @mutex)
  %state.risen = load atomic i64, ptr @job acquire, align 8
  ret i64 %state.risen
}}

define internal void @await_workers() {{
entry:
  %rounds = call i64 @rounds_for(i64 0)
  br label %look
look:
  %round = phi i64 [ 0, %entry ], [ %round.next, %pause ]
  %state = load atomic i64, ptr @job acquire, align 8
  %active = and i64 %state, {_ACTIVE}
  %done = icmp eq i64 %active, 0
  br i1 %done, label %over, label %impatient
impatient:
  %enough = icmp uge i64 %round, %rounds
  br i1 %enough, label %tired, label %pause
pause:
  call void @pause()
  %round.next = add i64 %round, 1
  br label %look
tired:
  call i32 @pthread_mutex_lock(ptr @mutex)
  %before = atomicrmw or ptr @job, i64 {_ASLEEP} acq_rel, align 8
  br label %sleep
sleep:
  %state.now = load atomic i64, ptr @job acquire, align 8
  %active.now = and i64 %state.now, {_ACTIVE}
  %done.now = icmp eq i64 %active.now, 0
  br i1 %done.now, label %rise, label %doze
doze:
  call i32 @pthread_cond_wait(ptr @finished, ptr @mutex)
  br label %sleep
rise:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %over
over:
  ret void
}}
"""

# wake: wake up to two sleepers if the job has seats and chunks for them.
# take_chunks: what the caller and the workers in a job do.
_WORKER = f"""
define internal void @wake(i64 %seats) {{
entry:
  %sleepers.seen = load atomic i64, ptr @sleepers seq_cst, align 8
  %somebody = icmp ne i64 %sleepers.seen, 0
  br i1 %somebody, label %count, label %over
count:
  %chunks = load i64, ptr @chunks
  %taken = load atomic i64, ptr @next monotonic, align 8
  %left = sub i64 %chunks, %taken
  %useful = call i64 @llvm.smin.i64(i64 %left, i64 %seats)
  %wanted = call i64 @llvm.smin.i64(i64 %useful, i64 2)
  %needed = icmp sgt i64 %wanted, 0
  br i1 %needed, label %call, label %over
call:
  call i32 @pthread_mutex_lock(ptr @mutex)
  %sleepers = load i64, ptr @sleepers
  %number = call i64 @llvm.smin.i64(i64 %wanted, i64 %sleepers)
  %sleepers.left = sub i64 %sleepers, %number
  store atomic i64 %sleepers.left, ptr @sleepers monotonic, align 8
  %calls = load i64, ptr @calls
  %calls.more = add i64 %calls, %number
  store i64 %calls.more, ptr @calls
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %each
each:
  %i = phi i64 [ 0, %call ], [ %i.next, %signal ]
  %more = icmp slt i64 %i, %number
  br i1 %more, label %signal, label %over
signal:
  call i32 @pthread_cond_signal(ptr @wakeup)
  %i.next = add i64 %i, 1
  br label %each
over:
  ret void
}}

define internal void @take_chunks(ptr %task, ptr %context, i64 %chunks) {{
entry:
  br label %take
take:
  %chunk = atomicrmw add ptr @next, i64 1 monotonic, align 8
  %more = icmp slt i64 %chunk, %chunks
  br i1 %more, label %run, label %over
run:
  call void %task(ptr %context, i64 %chunk)
  br label %take
over:
  ret void
}}

define internal ptr @work(ptr %number) {{
entry:
  %worker = ptrtoint ptr %number to i64
  br label %wait
wait:
  %seen = phi i64 [ 0, %entry ], [ %epoch, %join ], [ %epoch, %leave ], [ %epoch, %last ]
  %state.first = call i64 @await_job(i64 %seen, i64 %worker)
  br label %join
join:
  %state = phi i64 [ %state.first, %wait ], [ %state.found, %exchange ]
  %epoch = lshr i64 %state, 32
  %seats.bits = and i64 %state, {_SEATS}
  %free = icmp ne i64 %seats.bits, 0
  br i1 %free, label %exchange, label %wait
exchange:
  %joined = add i64 %state, {1 - _SEAT}
  %pair = cmpxchg ptr @job, i64 %state, i64 %joined acq_rel acquire, align 8
  %state.found = extractvalue {{ i64, i1 }} %pair, 0
  %in = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %in, label %work, label %join
work:
  %seats = udiv i64 %seats.bits, {_SEAT}
  %seats.left = sub i64 %seats, 1
  call void @wake(i64 %seats.left)
  %task = load ptr, ptr @task
  %context = load ptr, ptr @context
  %chunks = load i64, ptr @chunks
  call void @take_chunks(ptr %task, ptr %context, i64 %chunks)
  br label %leave
leave:
  %before = atomicrmw sub ptr @job, i64 1 acq_rel, align 8
  %rest = and i64 %before, {_ASLEEP | _ACTIVE}
  %last.one = icmp eq i64 %rest, {_ASLEEP | 1}
  br i1 %last.one, label %last, label %wait
last:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  call i32 @pthread_cond_signal(ptr @finished)
  br label %wait
}}
"""

_UNBLOCK_FAULTS = "\n".join(
    f"  call i32 @sigdelset(ptr %mask, i32 {number.value})" for number in _FAULTS
)

# hire: have `wanted` workers, if the system lets us; returns how many there are.
_HIRING = f"""
define internal i64 @hire(i64 %wanted) {{
entry:
  %thread = alloca ptr
  %mask = alloca [128 x i8], align 16
  %mask.before = alloca [128 x i8], align 16
  %workers = load i64, ptr @workers
  %enough = icmp sge i64 %workers, %wanted
  br i1 %enough, label %over, label %prepare
prepare:
  call i32 @sigfillset(ptr %mask)
{_UNBLOCK_FAULTS}
  call i32 @pthread_sigmask(i32 {signal.SIG_SETMASK.value}, ptr %mask, ptr %mask.before)
  br label %create
create:
  %have = phi i64 [ %workers, %prepare ], [ %number, %created ]
  %missing = icmp slt i64 %have, %wanted
  br i1 %missing, label %one, label %restore
one:
  %number = add i64 %have, 1
  %argument = inttoptr i64 %number to ptr
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @work, ptr %argument)
  %fine = icmp eq i32 %error, 0
  br i1 %fine, label %created, label %restore
created:
  %handle = load ptr, ptr %thread
  call i32 @pthread_detach(ptr %handle)
  br label %create
restore:
  store i64 %have, ptr @workers
  call i32 @pthread_sigmask(i32 {signal.SIG_SETMASK.value}, ptr %mask.before, ptr null)
  br label %over
over:
  %result = phi i64 [ %workers, %entry ], [ %have, %restore ]
  ret i64 %result
}}
"""

_CALLER = f"""
define void @parallel_for(ptr %task, ptr %context, i64 %chunks) {{
entry:
  %limit = call i64 @pool_threads()
  %threads = call i64 @llvm.smin.i64(i64 %limit, i64 %chunks)
  %several = icmp sgt i64 %threads, 1
  br i1 %several, label %try, label %serial
try:
  %pair = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic, align 4
  %ours = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %ours, label %staff, label %serial
staff:
  %wanted = sub i64 %threads, 1
  %workers = call i64 @hire(i64 %wanted)
  %seats = call i64 @llvm.smin.i64(i64 %workers, i64 %wanted)
  %seats.bits = mul i64 %seats, {_SEAT}
  store ptr %task, ptr @task
  store ptr %context, ptr @context
  store i64 %chunks, ptr @chunks
  store atomic i64 0, ptr @next monotonic, align 8
  %before = load atomic i64, ptr @job monotonic, align 8
  %epoch.before = and i64 %before, {-_EPOCH}
  %epoch = add i64 %epoch.before, {_EPOCH}
  %open = or i64 %epoch, %seats.bits
  store atomic i64 %open, ptr @job seq_cst, align 8
  call void @wake(i64 %seats)
  call void @take_chunks(ptr %task, ptr %context, i64 %chunks)
  %closed = atomicrmw and ptr @job, i64 {~_SEATS} acq_rel, align 8
  call void @await_workers()
  store atomic i32 0, ptr @busy release, align 4
  ret void
serial:
  %any = icmp sgt i64 %chunks, 0
  br i1 %any, label %run, label %over
run:
  %chunk = phi i64 [ 0, %serial ], [ %chunk.next, %run ]
  call void %task(ptr %context, i64 %chunk)
  %chunk.next = add i64 %chunk, 1
  %more = icmp slt i64 %chunk.next, %chunks
  br i1 %more, label %run, label %over
over:
  ret void
}}
"""

_MANAGEMENT = """
define i64 @pool_threads() {
  %limit = load ptr, ptr @limit
  %threads = load atomic i64, ptr %limit monotonic, align 8
  ret i64 %threads
}

define void @pool_start(ptr %limit, i64 %cpus, i64 %patience) {
  store ptr %limit, ptr @limit
  store i64 %cpus, ptr @cpus
  store i64 %patience, ptr @patience
  call void @pool_reset()
  ret void
}

define void @pool_reset() {
  store i64 0, ptr @job
  store i32 0, ptr @busy
  store i64 0, ptr @sleepers
  store i64 0, ptr @calls
  store i64 0, ptr @workers
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @wakeup, ptr null)
  call i32 @pthread_cond_init(ptr @finished, ptr null)
  ret void
}

define void @pool_pause(i64 %rounds) {
entry:
  br label %pause
pause:
  %round = phi i64 [ 0, %entry ], [ %round.next, %pause ]
  call void @pause()
  %round.next = add i64 %round, 1
  %more = icmp slt i64 %round.next, %rounds
  br i1 %more, label %pause, label %over
over:
  ret void
}
"""
