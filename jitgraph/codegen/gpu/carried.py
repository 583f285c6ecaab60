"""Which scalars a loop on a device hands from step to step in the device's memory.

    acc, n, i = acc + cost(x[i]), n * 2, i + 1 while n < limit       memory: acc; registers: n, i

What kernels make stays where they leave it, so that no step waits for the one before; what the
host must know, as for a size, a check or a condition, it carries itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jitgraph.codegen.gpu.arguments import sizes_of
from jitgraph.ir.kernel import (
    Argument,
    Branch,
    Check,
    Fetch,
    Kernel,
    Let,
    Loop,
    Product,
    Program,
    Rows,
    Step,
    Yield,
)
from jitgraph.ir.values import Value


def in_memory(loop: Loop, is_late: Callable[[Value], bool]) -> frozenset[int]:
    """The numbers of the carried scalars that stay in memory. `is_late` tells which scalars of the
    program around the loop the device has."""
    states = [k for k, state in enumerate(loop.state) if state.other is None]
    needed = set(_parameters_needed(loop.body))
    if loop.condition is not None:
        needed |= set(_parameters_needed(loop.condition, yields=True))
    given = [a for a in loop.arguments if a is not None]
    made = {k for k in states if _is_made(given[k], is_late)}
    while True:
        grown = made | _made_by_step(loop, states, made, given, is_late)
        if grown == made:
            break
        made = grown
    return frozenset(k for k in made if k + 1 not in needed)


def needed_by_host(program: Program, *, yields: bool = False) -> set[Value]:
    """The fetched scalars that the host must know to run a program."""
    roots: list[Value] = []
    for step in program.steps:
        roots += _needs(step)
        if yields and isinstance(step, Yield):
            roots += step.scalars()
    return _leaves(roots, {s.value for s in program.steps if isinstance(s, Fetch)})


def _leaves(roots: Iterable[Value], fetched: set[Value]) -> set[Value]:
    found, seen, waiting = set[Value](), set[Value](), list(roots)
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in fetched:
            found.add(value)
        elif value.op is not None:
            waiting += value.op.args
    return found


def _needs(step: Step) -> list[Value]:
    match step:
        case Check():
            return [step.condition]
        case Let() | Fetch() | Yield():
            return []
        case Kernel() | Product():
            return sizes_of(step)
        case Rows():
            local = [s for b in step.locals for s in b.extents if isinstance(s, Value)]
            return [*sizes_of(step), *local]
        case Loop():
            return _loop_needs(step)
        case Branch():
            arguments = list(step.arguments)
            passed = {k for region in step.regions() for k in _parameters_needed(region)}
            return [step.condition, *_sizes(arguments), *_scalars(arguments, passed)]
        case _:
            return step.scalars()


def _loop_needs(loop: Loop) -> list[Value]:
    """A scalar that the host carries, it must know from the start."""
    given = [a for a in loop.arguments if a is not None]
    passed = {k - 1 for region in loop.regions() for k in _parameters_needed(region)}
    extents = [s for b in loop.writes() for s in b.extents if isinstance(s, Value)]
    steps = [loop.steps] if isinstance(loop.steps, Value) else []
    return [*steps, *extents, *_sizes(given), *_scalars(given, passed)]


def _sizes(arguments: Sequence[Argument]) -> list[Value]:
    sizes = [s for a in arguments for s in a.scalars() if s is not a.scalar]
    return [s for s in sizes if isinstance(s, Value)]


def _scalars(arguments: Sequence[Argument], numbers: set[int]) -> list[Value]:
    scalars = [a.scalar for k, a in enumerate(arguments) if k in numbers]
    return [s for s in scalars if s is not None]


def _parameters_needed(region: Program, *, yields: bool = False) -> list[int]:
    needed = needed_by_host(region, yields=yields)
    buffers = {s.buffer for s in region.steps if isinstance(s, Fetch) and s.value in needed}
    return [k for k, buffer in enumerate(region.param_buffers) if buffer in buffers]


def _is_made(argument: Argument, is_late: Callable[[Value], bool]) -> bool:
    return argument.view is not None or (argument.scalar is not None and is_late(argument.scalar))


def _made_by_step(
    loop: Loop,
    states: Sequence[int],
    made: set[int],
    given: Sequence[Argument],
    is_late: Callable[[Value], bool],
) -> set[int]:
    """The carried scalars that a step makes on the device, where these are there before it."""
    body, carried = loop.body, len(loop.state)
    on_host = {body.param_buffers[0]}
    for k, argument in enumerate(given):
        there = k in made if k in states else _is_made(argument, is_late)
        if not there and (k in states or k >= carried):
            on_host.add(body.param_buffers[k + 1])
    late = {s.value for s in body.steps if isinstance(s, Fetch) and s.buffer not in on_host}
    yielded = {k: v for s in body.steps if isinstance(s, Yield) for k, v in s.values}
    return {k for k in states if k not in yielded or _leaves([yielded[k]], late)}
