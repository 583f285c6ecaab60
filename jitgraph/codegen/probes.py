"""Programs that write down what they do: when each step began and ended, and the sizes of it.

    @profile    start, start again, end; then for each step of work begin, end, sizes

Times are nanoseconds of a clock of the system, since counters of cycles are neither the same on
all cores nor readable everywhere. The first two say what looking at the clock takes.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jitgraph.codegen.program import ProgramEmitter
from jitgraph.ir.kernel import Call, Kernel, Program, Rows, Work
from jitgraph.ir.types import I64
from jitgraph.ir.values import Value

SYMBOL = "profile"
_START, _AGAIN, _END, _STEPS = range(4)
# What Python's perf_counter reads: on macOS the other clock counts microseconds.
_CLOCK = getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC)
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What a run wrote down, in nanoseconds: each step of work, all that lies between them, and a
    look at the clock. Each step contains one look, and what lies between them one more than there
    are steps."""

    steps: tuple[int, ...]
    outside: int
    look: int


def words(program: Program) -> int:
    """How many i64 the table has."""
    return _STEPS + sum(2 + len(sizes(step)) for step in program.work())


def sizes(step: Work) -> list[Value]:
    """The integers a step depends on, in the order of the table: those of its loops and accesses,
    and the extents of the arrays it reads or writes at computed places."""
    found = [v for v in step.scalars() if v.dtype == I64]
    inside: tuple[Work, ...] = step.kernels if isinstance(step, Rows) else (step,)
    if isinstance(step, Call) and step.epilogue is not None:
        inside += step.epilogue.rows.kernels
    for kernel in inside:
        if isinstance(kernel, Call):
            found += [e for v in (*kernel.inputs, *kernel.outputs) for e in v.buffer.extents
                      if isinstance(e, Value)]  # fmt: skip
        if isinstance(kernel, Kernel):
            buffers = [s.view.buffer for s in kernel.sources]
            buffers += [s.access.buffer for s in kernel.stores if s.indices]
            found += [e for b in buffers for e in b.extents if isinstance(e, Value)]
    return list(dict.fromkeys(found))


def reading(program: Program, table: Sequence[int]) -> Reading:
    """The times in a table."""
    at, times = _STEPS, []
    for step in program.work():
        times.append(table[at + 1] - table[at])
        at += 2 + len(sizes(step))
    outside = table[_END] - table[_AGAIN] - sum(times)
    return Reading(tuple(times), outside, table[_AGAIN] - table[_START])


def sizes_in(program: Program, table: Sequence[int]) -> list[dict[Value, int]]:
    """The sizes of each step of work in a table."""
    at, found = _STEPS, []
    for step in program.work():
        values = sizes(step)
        at += 2
        found.append(dict(zip(values, table[at : at + len(values)], strict=True)))
        at += len(values)
    return found


class Probing(ProgramEmitter):
    """Writes a program with a table `@profile`, which it writes into; what, `_stamp` says."""

    def emit(self) -> None:
        table = f"[{words(self.program)} x i64] zeroinitializer, align 8"
        self.module.declare(f"@{SYMBOL} = dso_local global {table}")
        self._begin_probing()
        self._at = _STEPS
        self._stamp(_START)
        self._stamp(_AGAIN)
        super().emit()

    def _work(self, step: Work) -> None:
        for buffer in sorted(step.reads() | step.writes(), key=lambda b: b.number):
            self.pointer(buffer)  # allocated before the clock runs
        for k, value in enumerate(sizes(step)):
            self._put(self._at + 2 + k, self.size(value))
        self._stamp(self._at)
        self._probed(step)
        self._stamp(self._at + 1)
        self._at += 2 + len(sizes(step))

    def _probed(self, step: Work) -> None:
        super()._work(step)

    def _return(self, status: str) -> None:
        self._stamp(_END)
        super()._return(status)

    def _put(self, word: int, value: str) -> None:
        place = f"getelementptr inbounds (i8, ptr @{SYMBOL}, i64 {8 * word})"
        self.f.do(f"store i64 {value}, ptr {place}")

    @abstractmethod
    def _begin_probing(self) -> None: ...

    @abstractmethod
    def _stamp(self, word: int) -> None: ...


class ProbedEmitter(Probing):
    """Takes times."""

    def _begin_probing(self) -> None:
        self.module.declare("declare i32 @clock_gettime(i32, ptr)")
        self._time = self.f.emit("alloca [2 x i64]", "time")

    def _stamp(self, word: int) -> None:
        f = self.f
        f.do(f"call i32 @clock_gettime(i32 {_CLOCK}, ptr {self._time})")
        seconds = f.emit(f"load i64, ptr {self._time}")
        rest = f.emit(f"load i64, ptr {f.offset(self._time, 8)}")
        whole = f.emit(f"mul i64 {seconds}, {_BILLION}")
        self._put(word, f.emit(f"add i64 {whole}, {rest}"))
