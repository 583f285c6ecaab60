"""Loops and branches of a program: regions written where they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jitgraph.codegen.scalar import Register, store
from jitgraph.ir.kernel import Argument, Branch, Buffer, Loop, Program

if TYPE_CHECKING:
    from jitgraph.codegen.program import ProgramEmitter

#: Room for the largest scalar.
_CELL = 16


@dataclass(slots=True)
class _Fed:
    """An argument in registers: its extents, and a pointer to its elements or the scalar itself.
    `row` is how far the pointer moves from step to step."""

    extents: list[str]
    register: Register
    in_memory: bool
    row: str = "0"


def _fed(emitter: ProgramEmitter, argument: Argument) -> _Fed:
    extents = [emitter.size(e) for e in argument.extents]
    if argument.scalar is not None:
        return _Fed(extents, emitter.register(argument.scalar), in_memory=False)
    view = argument.view
    assert view is not None
    start, offset = emitter.pointer(view.buffer), emitter.size(view.offset)
    pointer = start if offset == "0" else emitter.f.offset(start, offset)
    return _Fed(extents, pointer, in_memory=True, row=emitter.size(argument.row))


def _bytes(emitter: ProgramEmitter, buffer: Buffer) -> str:
    return emitter.product_of((*buffer.extents, buffer.dtype.itemsize))


def _copy(emitter: ProgramEmitter, target: str, source: str, size: str) -> None:
    """Copy memory, unless source and target are the same."""
    f = emitter.f
    f.module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    with f.if_then(f.emit(f"icmp ne ptr {source}, {target}")):
        f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")


def _run(
    emitter: ProgramEmitter, region: Program, fed: Sequence[_Fed], results: Sequence[str]
) -> None:
    inner = emitter.regions[region]
    inner.in_registers = frozenset(
        p for p, a in zip(region.params, fed, strict=True) if not a.in_memory
    )
    inner.run([a.extents for a in fed], [a.register for a in fed], results)


# --- branch ------------------------------------------------------------------------------------
def emit_branch(emitter: ProgramEmitter, step: Branch) -> None:
    """Run one of the two regions."""
    f = emitter.f
    # What both need must be in registers before the paths part.
    fed = [_fed(emitter, a) for a in step.arguments]
    results = [emitter.pointer(b) for b in step.results]
    condition = emitter.register(step.condition)
    then, otherwise, done = f.label("then"), f.label("otherwise"), f.label("done")
    assert isinstance(condition, str)
    f.branch_if(condition, then, otherwise)
    for label, region in ((then, step.then), (otherwise, step.otherwise)):
        f.block(label)
        _run(emitter, region, fed, results)
        f.branch(done)
    f.block(done)


# --- loop --------------------------------------------------------------------------------------
def emit_loop(emitter: ProgramEmitter, step: Loop) -> None:
    """Run the body step after step."""
    _LoopEmitter(emitter, step).emit()


class _LoopEmitter:
    """Carried values are read where the step before has written them: `now` and `next` are cells
    that hold pointers, which every step exchanges. The first step reads the initial values."""

    def __init__(self, emitter: ProgramEmitter, step: Loop) -> None:
        self.emitter, self.step, self.f = emitter, step, emitter.f

    def emit(self) -> None:
        f, step, emitter = self.f, self.step, self.emitter
        self.bound = emitter.size(step.steps)
        fed = [None if a is None else _fed(emitter, a) for a in step.arguments]
        self.fed = [a for a in fed if a is not None]
        self.carried = self.fed[: len(step.state)]
        self.rows = self.fed[len(step.state) : len(step.state) + step.rows]
        self.captured = self.fed[len(step.state) + step.rows :]
        self.finals = [emitter.pointer(s.final) for s in step.state]
        self.others = [emitter.pointer(s.other) for s in step.state]
        self.outputs = [emitter.pointer(b) for b in step.outputs]
        self.lengths = [_bytes(emitter, s.final) for s in step.state]
        self.strides = [emitter.product_of((*b.extents[1:], b.dtype.itemsize))
                        for b in step.outputs]  # fmt: skip
        done = None if step.done is None else emitter.pointer(step.done)
        self.count = self._cell("i64", "0", "count")
        self._start()
        head, body, end = f.label("step"), f.label("body"), f.label("end")
        f.block(head)
        count = f.emit(f"load i64, ptr {self.count}")
        f.branch_if(f.emit(f"icmp slt i64 {count}, {self.bound}"), body, end)
        f.block(body)
        self._step(count, end)
        f.branch(head)
        f.block(end)
        for k, (final, length) in enumerate(zip(self.finals, self.lengths, strict=True)):
            _copy(emitter, final, f.emit(f"load ptr, ptr {self.now[k]}"), length)
        if done is not None:
            f.do(f"store i64 {f.emit(f'load i64, ptr {self.count}')}, ptr {done}")

    def _cell(self, type_: str, value: str, name: str) -> str:
        cell = self.f.reserve(type_, name)
        self.f.do(f"store {type_} {value}, ptr {cell}")
        return cell

    def _start(self) -> None:
        """The cells: the last of a known number of steps is to write the final buffer."""
        f = self.f
        odd = f.emit(f"trunc i64 {self.bound} to i1")
        self.now, self.next = [], []
        for k, (fed, state) in enumerate(zip(self.carried, self.step.state, strict=True)):
            pointer = fed.register
            if not fed.in_memory:
                pointer = self.f.reserve(f"[{_CELL} x i8]", "initial")
                store(f, fed.register, pointer, state.final.dtype)
            assert isinstance(pointer, str)
            self.now.append(self._cell("ptr", pointer, "now"))
            first = f.select(odd, "ptr", self.finals[k], self.others[k])
            self.next.append(self._cell("ptr", first, "next"))

    def _step(self, count: str, end: str) -> None:
        f, step, emitter = self.f, self.step, self.emitter
        row = count
        if step.reverse:
            last = f.emit(f"sub i64 {self.bound}, 1")
            row = f.emit(f"sub i64 {last}, {count}")
        now = [f.emit(f"load ptr, ptr {cell}") for cell in self.now]
        following = [f.emit(f"load ptr, ptr {cell}") for cell in self.next]
        number = _Fed([], row, in_memory=False)
        state = [_Fed(a.extents, p, in_memory=True)
                 for a, p in zip(self.carried, now, strict=True)]  # fmt: skip
        if step.condition is not None:
            self._leave_unless(step.condition, [number, *state, *self.captured], end)
        rows = [
            _Fed(a.extents, self._at(a.register, row, a.row), in_memory=True) for a in self.rows
        ]
        outputs = [self._at(p, row, stride)
                   for p, stride in zip(self.outputs, self.strides, strict=True)]  # fmt: skip
        _run(emitter, step.body, [number, *state, *rows, *self.captured], [*following, *outputs])
        for k, pointer in enumerate(following):
            f.do(f"store ptr {pointer}, ptr {self.now[k]}")
            is_final = f.emit(f"icmp eq ptr {pointer}, {self.finals[k]}")
            turn = f.select(is_final, "ptr", self.others[k], self.finals[k])
            f.do(f"store ptr {turn}, ptr {self.next[k]}")
        f.do(f"store i64 {f.emit(f'add i64 {count}, 1')}, ptr {self.count}")

    def _leave_unless(self, condition: Program, fed: Sequence[_Fed], end: str) -> None:
        f = self.f
        cell = self.f.reserve("i8", "condition")
        _run(self.emitter, condition, fed, [cell])
        going_on = f.label("going_on")
        holds = f.emit(f"icmp ne i8 {f.emit(f'load i8, ptr {cell}')}, 0")
        f.branch_if(holds, going_on, end)
        f.block(going_on)

    def _at(self, pointer: Register, row: str, stride: str) -> str:
        assert isinstance(pointer, str)
        return self.f.offset(pointer, self.f.emit(f"mul i64 {row}, {stride}"))


