"""The thread pool: every chunk once, whoever runs it and whatever happens around it."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_tasks import meet, parallel_for, perturbed_pool, stress

from jitgraph.codegen import pool
from jitgraph.codegen.pool import pool_library
from jitgraph.codegen.target import host
from jitgraph.config import config

HERE = Path(__file__).parent
#: One thread; as many as most CI machines have CPUs; more (then nobody spins).
THREADS = (1, 2, 3, 8)


@pytest.fixture(autouse=True)
def _same_threads_after() -> Iterator[None]:
    with config.override(num_threads=2):
        yield


def cells(number: int) -> np.ndarray:
    return np.zeros(number, dtype=np.int64)


@settings(max_examples=100, deadline=None)
@given(st.integers(-2, 300), st.sampled_from(THREADS))
def test_every_chunk_runs_once(chunks: int, threads: int) -> None:
    counts = cells(300)
    with config.override(num_threads=threads):
        parallel_for("count", counts, chunks)
    np.testing.assert_array_equal(counts, np.arange(300) < chunks)


@pytest.mark.parametrize("threads", THREADS)
def test_many_small_calls(threads: int) -> None:
    with config.override(num_threads=threads):
        assert stress(5000, seed=threads) == 0


@pytest.mark.parametrize("threads", THREADS)
def test_threads_work_at_the_same_time(threads: int) -> None:
    """Each chunk waits for all others, so each needs a thread of its own: no wakeup is lost."""
    with config.override(num_threads=threads):
        assert meet(threads, joins=1000) == 1000 * threads


@pytest.mark.parametrize("threads", THREADS)
def test_any_order_of_steps(threads: int) -> None:
    """Threads stop now and then before each step that others see, which opens every race."""
    with config.override(num_threads=threads):
        assert stress(3000, seed=threads, on=perturbed_pool()) == 0
        assert meet(threads, joins=3000, on=perturbed_pool()) == 3000 * threads


@pytest.mark.parametrize("threads", THREADS)
def test_no_more_threads_than_set(threads: int) -> None:
    """Also where more threads exist already."""
    with config.override(num_threads=max(THREADS)):
        parallel_for("count", cells(100), 100)
    ran_by = cells(100)
    with config.override(num_threads=threads):
        parallel_for("identify", ran_by, 100)
    assert 1 <= len(set(ran_by)) <= threads


def test_one_thread_runs_in_order() -> None:
    context = cells(51)
    with config.override(num_threads=1):
        parallel_for("record", context, 50)
    np.testing.assert_array_equal(context, [50, *range(50)])


def test_nested_calls() -> None:
    counts = cells(8 * 50)
    parallel_for("nested", counts, 50)
    np.testing.assert_array_equal(counts, np.ones(8 * 50))


def test_a_call_beside_a_busy_pool_runs_in_order_on_its_own_thread() -> None:
    held = cells(2)
    holder = threading.Thread(target=parallel_for, args=("hold", held, 2))
    holder.start()
    try:
        while held[1] == 0:
            time.sleep(0.001)
        order, ran_by = cells(51), cells(50)
        parallel_for("record", order, 50)
        parallel_for("identify", ran_by, 50)
    finally:
        held[0] = 1
        holder.join()
    np.testing.assert_array_equal(order, [50, *range(50)])
    assert set(ran_by) == {threading.get_ident()}


def test_callers_in_several_threads_while_the_number_changes() -> None:
    with ThreadPoolExecutor(4) as callers:
        calls = [callers.submit(stress, 2000, seed) for seed in range(4)]
        random = np.random.default_rng(0)
        while not all(call.done() for call in calls):
            config.num_threads = int(random.choice(THREADS))
            time.sleep(0.001)
    assert [call.result() for call in calls] == [0] * 4


def in_child(check: Callable[[], bool]) -> None:
    """Fork, and require that the check succeeds in the child in reasonable time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            status = 0 if check() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_pool_starts_anew_after_a_fork() -> None:
    def rendezvous() -> bool:
        with config.override(num_threads=3):
            return meet(3, joins=1) == 3

    assert rendezvous()
    in_child(rendezvous)
    assert rendezvous()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_while_the_pool_is_busy() -> None:
    over = threading.Event()

    def keep_busy() -> int:
        faults = 0
        while not over.is_set():
            faults += stress(100, seed=1)
        return faults

    with ThreadPoolExecutor(1) as other, config.override(num_threads=3):
        busy = other.submit(keep_busy)
        try:
            for seed in range(10):
                in_child(lambda seed=seed: stress(100, seed) == 0)
        finally:
            over.set()
        assert busy.result() == 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_exit_beside_workers(busy: bool) -> None:
    """The process ends at once, with workers parked, looking for work or working."""
    program = (
        "import threading\n"
        "from jitgraph.config import config\n"
        "from pool_tasks import stress\n"
        "config.num_threads = 3\n"
        "assert stress(1000, 1) == 0\n"
        f"if {busy}:\n"
        "    threading.Thread(target=stress, args=(1 << 40, 1), daemon=True).start()\n"
        "    assert stress(100, 1) == 0\n"
    )
    path = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_workers_leave_signals_to_python() -> None:
    """A worker takes no signal that Python's main thread waits for, only its own faults."""
    parallel_for("count", cells(100), 100)
    python = {thread.native_id for thread in threading.enumerate()}
    blocked = {}
    for status in Path("/proc/self/task").glob("*/status"):
        lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        blocked[int(lines["Pid"])] = int(lines["SigBlk"], 16)

    def blocks(mask: int, number: int) -> bool:
        return bool(mask >> (number - 1) & 1)

    # Threads of other libraries block their faults as well, or nothing.
    workers = [
        mask
        for thread, mask in blocked.items()
        if thread not in python
        and blocks(mask, signal.SIGINT)
        and not any(blocks(mask, number) for number in (signal.SIGSEGV, signal.SIGFPE))
    ]
    assert workers
    for mask in workers:
        assert all(blocks(mask, number) for number in (signal.SIGTERM, signal.SIGALRM))


def test_starting_workers_leaves_the_callers_signals_alone() -> None:
    threads = 2 * max(THREADS)  # more than any other test

    def blocked_after_a_start() -> set[signal.Signals | int]:
        signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1])
        assert meet(threads, joins=1) == threads
        return signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with config.override(num_threads=threads), ThreadPoolExecutor(1) as executor:
        assert executor.submit(blocked_after_a_start).result() == {signal.SIGUSR1}


def test_one_pool_for_all_threads() -> None:
    with ThreadPoolExecutor(4) as executor:
        assert len({id(p) for p in executor.map(pool_library, [host()] * 8)}) == 1


def test_other_processors() -> None:
    """The pool compiles for AArch64, with its loads and stores that order memory."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = replace(host(), triple="aarch64-unknown-linux-gnu", cpu="generic", features="")
    machine = llvm.Target.from_triple(target.triple).create_target_machine(opt=0)
    module = llvm.parse_assembly(pool._text(target), llvm.create_context())
    module.triple = target.triple
    assembly = machine.emit_assembly(module)
    assert all(instruction in assembly for instruction in ("\tisb", "\tldar\t", "\tstlr\t"))
