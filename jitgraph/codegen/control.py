"""Loops and branches of a program: regions written where they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jitgraph.codegen.entry import PYTHON_ERROR
from jitgraph.codegen.registers import Register, register_type
from jitgraph.ir.kernel import Argument, Branch, Buffer, Loop, Program
from jitgraph.ir.types import I64

if TYPE_CHECKING:
    from jitgraph.codegen.program import ProgramEmitter

#: A loop of more steps than any counter reaches ends by its condition, or by Ctrl-C.
UNBOUNDED = 2**63 - 1
#: What comes back where there is no memory (see `codegen.program`).
OUT_OF_MEMORY = -2
#: How many rows there is room for at first where nobody knows how many there will be.
ROWS = 16
#: How many steps go by between looks for Ctrl-C: where steps are scalar arithmetic, and else.
SCALAR_STEPS, STEPS = 1 << 20, 1 << 14


@dataclass(slots=True)
class _Fed:
    """An argument in registers: its extents, and a pointer to its elements or the scalar itself.
    `row` is how far the pointer moves from step to step."""

    extents: list[str]
    register: Register
    in_memory: bool
    row: str = "0"


def _fed(emitter: ProgramEmitter, argument: Argument, *, carried: bool = False) -> _Fed:
    extents = [emitter.size(e) for e in argument.extents]
    if argument.scalar is not None:
        place = None if carried else emitter.place_of(argument.scalar)
        if place is not None:
            return _Fed(extents, place, in_memory=True)
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
    with f.if_then(f.emit(f"icmp ne ptr {source}, {target}")):
        emitter.workspace.copy(f, target, source, size)


def _run(
    emitter: ProgramEmitter, region: Program, fed: Sequence[_Fed], results: Sequence[str | None]
) -> dict[int, Register]:
    """Emit a region; gives the scalars it yields."""
    inner = emitter.regions[region]
    inner.in_registers = frozenset(
        p for p, a in zip(region.params, fed, strict=True) if not a.in_memory
    )
    return inner.run([a.extents for a in fed], [a.register for a in fed], results)


# --- memory that grows -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Growing:
    """Memory that is exchanged for more as it fills up: cells with its address and its bytes, and a
    variable with how many were needed last time, which is where the next call starts."""

    cell: str
    capacity: str
    last: str


def reserve_grown(emitter: ProgramEmitter) -> dict[Buffer, Growing]:
    """Cells for the arrays that loops of a program write row by row, not knowing how many."""
    f = emitter.f
    grown = {b for step in emitter.program.work() for b in step.writes() if b.kind == "grown"}
    found = {}
    for buffer in sorted(grown, key=lambda b: b.number):
        last = f"@{emitter.prefix}{buffer}.last"
        f.module.declare(f"{last} = internal global i64 0")
        found[buffer] = Growing(emitter.cell("grown"), f.emit("alloca i64", "capacity"), last)
        f.do(f"store i64 0, ptr {found[buffer].capacity}")
    return found


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
        yielded = _run(emitter, region, fed, results)
        for k, register in yielded.items():
            emitter.put(register, results[k], step.results[k].dtype)
        f.branch(done)
    f.block(done)


# --- loop --------------------------------------------------------------------------------------
def emit_loop(emitter: ProgramEmitter, step: Loop) -> None:
    """Run the body step after step."""
    _LoopEmitter(emitter, step).emit()


class _LoopEmitter:
    """Scalars are carried in registers. Arrays, and scalars that stay on a device, are read where
    the step before has written them, `now`, and written to `next`: pointers that every step
    exchanges. The first step reads the initial values where they are."""

    def __init__(self, emitter: ProgramEmitter, step: Loop) -> None:
        self.emitter, self.step, self.f = emitter, step, emitter.f

    def emit(self) -> None:
        f, step, emitter = self.f, self.step, self.emitter
        self.bound = emitter.size(step.steps)
        # What the steps need must be in registers before they begin.
        carried = len(step.state)
        arguments = [a for a in step.arguments if a is not None]
        stay = emitter.carried_in_memory(step)
        given = [_fed(emitter, a, carried=k < carried and k not in stay)
                 for k, a in enumerate(arguments)]  # fmt: skip
        self.state, self.rows = given[:carried], given[carried : carried + step.rows]
        self.captured = given[carried + step.rows :]
        self.finals = [emitter.pointer(s.final) for s in step.state]
        self.others = [None if s.other is None else emitter.pointer(s.other) for s in step.state]
        for k in sorted(stay):
            self.others[k] = emitter.element_cell()
        self.outputs = [None if b.kind == "grown" else emitter.pointer(b) for b in step.outputs]
        lengths = [_bytes(emitter, s.final) for s in step.state]
        self.strides = [emitter.product_of((*b.extents[1:], b.dtype.itemsize))
                        for b in step.outputs]  # fmt: skip
        for buffer in step.outputs:
            if buffer.kind == "grown":
                emitter.require_product((*buffer.extents[1:], buffer.dtype.itemsize))
        done = None if step.done is None else emitter.pointer(step.done)
        self.odd = f.emit(f"trunc i64 {self.bound} to i1")
        for k in sorted(stay):
            self._into_memory(k)
        header = f.begin_loop("step", [("i64", "0"), *self._initial()])
        count, *values = header.carried
        self._unpack(values)
        body, end = f.label("body"), f.label("end")
        f.branch_if(f.emit(f"icmp slt i64 {count}, {self.bound}"), body, end)
        f.block(body)
        self._look_for_signals(count)
        following = self._step(count, end)
        f.end_loop(header, [f.emit(f"add i64 {count}, 1"), *following])
        f.block(end)
        for k, state in enumerate(step.state):
            now = self.now[k]
            if self.others[k] is None:
                emitter.put(now, self.finals[k], state.final.dtype)
            else:
                assert isinstance(now, str)
                _copy(emitter, self.finals[k], now, lengths[k])
        for buffer in step.outputs:
            if buffer.kind == "grown":
                self._settle(buffer, count)
        if done is not None:
            emitter.put(count, done, I64)

    def _look_for_signals(self, count: str) -> None:
        """Let the user stop a loop that may never end, or work that is done again and again."""
        f, each = self.f, STEPS if self.step.body.work() else SCALAR_STEPS
        if isinstance(self.step.steps, int) and self.step.steps < each:
            return
        due = f.emit(f"and i64 {count}, {each - 1}")
        with f.if_then(f.emit(f"icmp eq i64 {due}, {each - 1}")):
            going_on = f.emit(f"icmp eq i32 {f.emit('call i32 @signals()')}, 0")
            self.emitter.require(going_on, PYTHON_ERROR)

    def _initial(self) -> list[tuple[str, str]]:
        """What is carried, as LLVM sees it: registers of scalars; the two pointers of an array,
        such that the last of a known number of steps writes the final buffer."""
        f = self.f
        found: list[tuple[str, str]] = []
        for k, (fed, other) in enumerate(zip(self.state, self.others, strict=True)):
            register = fed.register
            if other is None:
                type_ = register_type(self.step.state[k].final.dtype)
                found += [(type_, part) for part in _parts(register)]
            else:
                assert isinstance(register, str)
                first = f.select(self.odd, "ptr", self.finals[k], other)
                found += [("ptr", register), ("ptr", first)]
        return found

    def _into_memory(self, k: int) -> None:
        """A scalar that steps read in memory, where the first does not write to."""
        fed = self.state[k]
        if not fed.in_memory:
            place = self.f.select(self.odd, "ptr", str(self.others[k]), self.finals[k])
            final = self.step.state[k].final
            self.emitter.put(fed.register, place, final.dtype)
            self.state[k] = _Fed(fed.extents, place, in_memory=True)

    def _unpack(self, values: Sequence[str]) -> None:
        """The registers of each carried value, from those of the loop's header."""
        self.now: list[Register] = []
        self.next: list[str | None] = []
        left = iter(values)
        for fed, other in zip(self.state, self.others, strict=True):
            if other is not None:
                self.now.append(next(left))
                self.next.append(next(left))
            else:
                parts = [next(left) for _ in _parts(fed.register)]
                self.now.append(parts[0] if len(parts) == 1 else (parts[0], parts[1]))
                self.next.append(None)

    def _step(self, count: str, end: str) -> list[str]:
        """Emit a step; gives what the next one is to carry."""
        f, step, emitter = self.f, self.step, self.emitter
        row = count
        if step.reverse:
            last = f.emit(f"sub i64 {self.bound}, 1")
            row = f.emit(f"sub i64 {last}, {count}")
        number = _Fed([], row, in_memory=False)
        state = [_Fed(a.extents, now, in_memory=other is not None)
                 for a, now, other in zip(self.state, self.now, self.others, strict=True)]
        if step.condition is not None:
            self._leave_unless(step.condition, [number, *state, *self.captured], end)
        rows = [
            _Fed(a.extents, self._at(a.register, row, a.row), in_memory=True) for a in self.rows
        ]
        outputs = [
            self._grown(b, row, stride) if p is None else self._at(p, row, stride)
            for b, p, stride in zip(step.outputs, self.outputs, self.strides, strict=True)
        ]
        yielded = _run(
            emitter, step.body, [number, *state, *rows, *self.captured], [*self.next, *outputs]
        )
        for k, (place, buffer) in enumerate(zip(outputs, step.outputs, strict=True), len(state)):
            if k in yielded:
                emitter.put(yielded[k], place, buffer.dtype)
        for k, pointer in enumerate(self.next):
            if pointer is not None and k in yielded:
                emitter.put(yielded[k], pointer, step.state[k].final.dtype)
        following: list[str] = []
        for k, (pointer, other) in enumerate(zip(self.next, self.others, strict=True)):
            if pointer is None or other is None:
                following += _parts(yielded[k])
            else:
                is_final = f.emit(f"icmp eq ptr {pointer}, {self.finals[k]}")
                following += [pointer, f.select(is_final, "ptr", other, self.finals[k])]
        return following

    def _grown(self, buffer: Buffer, row: str, stride: str) -> str:
        """Where a row goes in memory that becomes twice as large whenever it is full."""
        f, growing = self.f, self.emitter.grown[buffer]
        used = f.emit(f"mul i64 {row}, {stride}")
        capacity = f.emit(f"load i64, ptr {growing.capacity}")
        with f.if_then(f.emit(f"icmp ugt i64 {f.emit(f'add i64 {used}, {stride}')}, {capacity}")):
            twice, first = f.emit(f"shl i64 {capacity}, 1"), f.emit(f"mul i64 {stride}, {ROWS}")
            last = f.emit(f"load atomic i64, ptr {growing.last} monotonic, align 8")
            more = f.maximum(f.maximum(twice, first), last)
            made = self.emitter.workspace.take(f, more)
            self.emitter.require(f.emit(f"icmp ne ptr {made}, null"), OUT_OF_MEMORY)
            old = f.emit(f"load ptr, ptr {growing.cell}")
            _copy(self.emitter, made, old, used)
            f.do(f"store ptr {made}, ptr {growing.cell}")
            f.do(f"store i64 {more}, ptr {growing.capacity}")
            self.emitter.workspace.give(f, old)
        return f.offset(f.emit(f"load ptr, ptr {growing.cell}"), used)

    def _settle(self, buffer: Buffer, steps: str) -> None:
        """Memory that grew stays where it is from now on."""
        f, emitter = self.f, self.emitter
        growing = emitter.grown[buffer]
        emitter.pointers[emitter.memory.key(buffer)] = f.emit(f"load ptr, ptr {growing.cell}")
        rows = f.emit(f"add i64 {steps}, {f.emit(f'lshr i64 {steps}, 3')}")
        used = f.emit(f"mul i64 {rows}, {self.strides[self.step.outputs.index(buffer)]}")
        f.do(f"store atomic i64 {used}, ptr {growing.last} monotonic, align 8")

    def _leave_unless(self, condition: Program, fed: Sequence[_Fed], end: str) -> None:
        f = self.f
        holds = _run(self.emitter, condition, fed, [None])[0]
        going_on = f.label("going_on")
        assert isinstance(holds, str)
        f.branch_if(holds, going_on, end)
        f.block(going_on)

    def _at(self, pointer: Register, row: str, stride: str) -> str:
        assert isinstance(pointer, str)
        return self.f.offset(pointer, self.f.emit(f"mul i64 {row}, {stride}"))


def _parts(register: Register) -> tuple[str, ...]:
    """The LLVM values of a scalar: two for a complex one."""
    return (register,) if isinstance(register, str) else tuple(register)
