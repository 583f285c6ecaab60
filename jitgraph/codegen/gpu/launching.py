"""Kernels that no schedule describes: whoever writes them names and gives their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu import host
from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.llvm import FunctionBuilder, Loop

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Blocks of a grid, for each multiprocessor; more work makes them go round.
_ROUNDS = 32


def begin(p: OnDevice, name: str, parameters: Sequence[str]) -> FunctionBuilder:
    """A kernel for blocks of `gpu.THREADS`."""
    return p.device.kernel(p.device.fresh(name), parameters)


def routine(
    p: OnDevice, name: str, parameters: Sequence[str], emit: Callable[[FunctionBuilder], None]
) -> FunctionBuilder:
    """The kernel of this name, which is written once and launched by several steps."""
    if name not in p.device.routines:
        p.device.routines[name] = begin(p, name, parameters)
        emit(p.device.routines[name])
    return p.device.routines[name]


def launch(p: OnDevice, kernel: FunctionBuilder, values: Sequence[str], blocks: str) -> None:
    """Finish a kernel and launch it with typed values; no blocks are no work."""
    if not kernel.terminated:
        kernel.do("ret void")
    number = p.device.launched(kernel)
    cells = p.f.record(values)
    table = p.f.reserve(f"[{max(len(values), 1)} x ptr]", "parameters")
    for k in range(len(values)):
        at = p.f.offset(cells, 8 * k) if k else cells
        p.f.do(f"store ptr {at}, ptr {p.f.offset(table, 8 * k)}")
    p.launch(number, blocks, gpu.THREADS, "0", table)


def blocks_for(p: OnDevice, tasks: str) -> str:
    """The blocks of a grid in which each does a task at a time."""
    most = p.f.emit(f"mul i64 {host.multiprocessors(p.f)}, {_ROUNDS}")
    return p.f.minimum(tasks, most)


def blocks_of_threads(p: OnDevice, points: str) -> str:
    """The blocks of a grid in which each thread does a point at a time."""
    return blocks_for(p, divided_up(p.f, points, gpu.THREADS))


def divided_up(f: FunctionBuilder, number: str, by: str | int) -> str:
    """The quotient of numbers that are not negative, rounded up."""
    last = f.emit(f"add i64 {number}, {f.emit(f'sub i64 {by}, 1')}")
    return f.emit(f"udiv i64 {last}, {by}")


@contextmanager
def each_task(f: FunctionBuilder, count: str) -> Iterator[Loop]:
    """A loop in which the blocks of the grid share tasks; all threads of a block have the same."""
    with f.loop(gpu.block(f), count, gpu.blocks(f), name="task") as loop:
        yield loop


@contextmanager
def each_point(f: FunctionBuilder, count: str) -> Iterator[Loop]:
    """A loop in which the threads of the grid share points."""
    first = f.emit(f"mul i64 {gpu.block(f)}, {gpu.threads(f)}")
    step = f.emit(f"mul i64 {gpu.blocks(f)}, {gpu.threads(f)}")
    with f.loop(f.emit(f"add i64 {first}, {gpu.thread(f)}"), count, step, name="point") as loop:
        yield loop


def at(f: FunctionBuilder, type_: str, base: str, index: str) -> str:
    """Where an element of an array is."""
    return f.emit(f"getelementptr {type_}, ptr {base}, i64 {index}", "p")


def read(f: FunctionBuilder, type_: str, base: str, index: str) -> str:
    return f.emit(f"load {type_}, ptr {at(f, type_, base, index)}")


def write(f: FunctionBuilder, type_: str, value: str, base: str, index: str) -> None:
    f.do(f"store {type_} {value}, ptr {at(f, type_, base, index)}")
