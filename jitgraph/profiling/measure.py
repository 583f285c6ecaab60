"""Runs a program that takes the times of its steps, again and again."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from jitgraph.codegen import probes
from jitgraph.config import Products, config
from jitgraph.driver import Compilation, Interface, Layout
from jitgraph.errors import InternalError
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import Branch, Call, Kernel, Loop, Product, Program, Rows, Work, Zero
from jitgraph.ir.opdef import Array
from jitgraph.location import Location
from jitgraph.profiling.report import Profile, Step
from jitgraph.profiling.work import amount, loops
from jitgraph.runtime.callable import make_callable_type, set_entry
from jitgraph.runtime.limits import Limits, limits
from jitgraph.runtime.variant import ENTRY, Variant

#: Seconds of measuring, and how many runs count at least and at most. The first does not: it
#: fetches memory and wakes threads.
_ENOUGH = 0.3
_LEAST, _MOST = 3, 1000

_KINDS = {Kernel: "kernel", Rows: "rows", Product: "product", Call: "call", Zero: "zero",
          Loop: "loop", Branch: "branch"}  # fmt: skip


def profile(
    function: Function,
    layout: Layout,
    inputs: Sequence[Array],
    algebra: str,
    fail: Callable[..., object],
    device: str,
    products: Products,
) -> Profile:
    """What the steps of the variant for `layout` do with the inputs, one array per parameter.

    The program is one that takes times, and knows of no shared variables: they are inputs, and
    what it computes for them is dropped. `fail(status, *inputs)` is to raise the error of a run
    that stopped.
    """
    interface = Interface((None,) * len(function.params), (None,) * len(function.results), False)
    compilation = Compilation(function, layout, interface, algebra, device, products=products,
                              probed=True)  # fmt: skip
    program = compilation.program
    if device == "cpu":
        ceilings, timed = limits(), True
        readings, table = _run(compilation, inputs, fail)
    else:
        ceilings, timed, readings, table = _run_on(device, compilation, inputs, fail)
    middle, least = _combined(readings, median), _combined(readings, min)
    steps: list[Step] = []
    for work, sizes, seconds, fastest, count in zip(
        program.work(), probes.sizes_in(program, table), middle.steps, least.steps,
        probes.reading(program, table).steps, strict=True,
    ):
        kind, todo = _KINDS[type(work)], amount(work, sizes)
        steps.append(Step(
            name=f"{kind}{len(steps)}",
            kind=kind,
            loops=loops(work, sizes),
            seconds=seconds / 1e9,
            fastest=fastest / 1e9,
            read=todo.read,
            written=todo.written,
            single=todo.single,
            double=todo.double,
            lines=_lines(work, program),
            launches=0 if device == "cpu" else count,
        ))  # fmt: skip
    return Profile(
        name=function.name,
        threads=config.num_threads if device == "cpu" else 0,
        runs=len(readings),
        steps=tuple(steps),
        outside=middle.outside / 1e9,
        limits=ceilings,
        device=device,
        timed=timed,
    )


def _run(
    compilation: Compilation, inputs: Sequence[Array], fail: Callable[..., object]
) -> tuple[list[probes.Reading], list[int]]:
    """The times of all runs, and the table as the last one left it."""
    program, native = compilation.program, _callable(compilation, fail)
    table = (ctypes.c_int64 * probes.words(program)).from_address(
        compilation.code.address(probes.SYMBOL)
    )
    readings: list[probes.Reading] = []
    start = time.perf_counter()
    while len(readings) <= _LEAST or (
        len(readings) <= _MOST and time.perf_counter() - start < _ENOUGH
    ):
        native(*inputs)
        readings.append(probes.reading(program, list(table)))
    return readings[1:], list(table)


def _run_on(
    name: str, compilation: Compilation, inputs: Sequence[Any], fail: Callable[..., object]
) -> tuple[Limits, bool, list[probes.Reading], list[int]]:
    """The same on a device: its limits, whether it has a clock, times, and the table."""
    from jitgraph.profiling.on_device import DeviceRuns
    from jitgraph.runtime import devices

    device = devices.device(name)
    assert device is not None
    runs = DeviceRuns(device, compilation)
    native = _callable(compilation, runs.failing(fail))
    readings, table = runs.run(native, runs.given(inputs), _LEAST, _MOST, _ENOUGH)
    return runs.limits, runs.timer is not None, readings, table


def _combined(
    readings: Sequence[probes.Reading], combine: Callable[[Iterable[int]], float]
) -> probes.Reading:
    """One reading for all: their medians, say, without the usual look at the clock."""
    look = round(median(r.look for r in readings))
    steps = tuple(max(round(combine(times)) - look, 0)
                  for times in zip(*(r.steps for r in readings), strict=True))  # fmt: skip
    outside = round(combine([r.outside for r in readings])) - (len(steps) + 1) * look
    return probes.Reading(steps, max(outside, 0), look)


class _NativeMethods:
    """A program that takes times, as something to call."""


_Native = make_callable_type("Probed", _NativeMethods)


def _callable(compilation: Compilation, fail: Callable[..., object]) -> Any:
    """Calls the program with an array per parameter."""
    signature = compilation.signature
    variant = Variant(
        compilation.code,
        signature.params,
        signature.outputs,
        equal_extents=compilation.equal_extents,
        single=False,
        nothing=False,
    )
    made = _Native()
    set_entry(made, ENTRY, variant.address, _refused, fail, variant)
    return made


def _refused(*inputs: Any) -> None:
    raise InternalError("a profiled program refuses inputs that it was made for")


def _lines(work: Work, program: Program) -> tuple[str, ...]:
    """The lines of the user that a step comes from; for what only prepares memory, those of the
    step that goes on with it."""
    steps = program.work()
    after = steps[steps.index(work) :]
    users = (step for step in after if step is work or work.writes() & step.writes())
    for step in users:
        if found := _locations(step):
            return tuple(dict.fromkeys(f"{x.file}:{x.line}" for x in found))
    return ()


def _locations(work: Work) -> Sequence[Location]:
    match work:
        case Kernel():
            return work.locations
        case Rows():
            return [x for kernel in work.kernels for x in kernel.locations]
        case Product():
            after = work.epilogue.kernel.locations if work.epilogue is not None else ()
            return [*([work.location] if work.location is not None else []), *after]
        case Call():
            rows = work.epilogue.rows.kernels if work.epilogue is not None else ()
            own = [work.location] if work.location is not None else []
            return [*own, *(x for kernel in rows for x in kernel.locations)]
        case Zero():
            return []
        case Loop() | Branch():
            return [x for r in work.regions() for w in r.work() for x in _locations(w)]
