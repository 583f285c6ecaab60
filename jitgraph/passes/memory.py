"""Places scalars and temporaries: what is computed when, and which memory is used twice.

    t0 = exp(x); t1 = t0 * t0; y = t1 @ w    =>    t0 and t1 in one slot of the arena
"""

from __future__ import annotations

from collections.abc import Iterable

from jitgraph.errors import InternalError
from jitgraph.ir.kernel import (
    Access,
    Buffer,
    Check,
    Fetch,
    Kernel,
    Let,
    Product,
    Program,
    Slot,
    Step,
    Work,
    Yield,
)
from jitgraph.ir.opdef import Size, same_size
from jitgraph.ir.values import Value
from jitgraph.passes.fuse import is_scalar_code
from jitgraph.passes.nest import Sizes

_GIVEN = frozenset({"dim", "stride", "constant"})


# --- scalars -----------------------------------------------------------------------------------
def place_scalars(program: Program) -> Program:
    """Each scalar computed once, before its first use; what needs no kernel goes to the front."""
    placer = _Placer()
    prologue: list[Step] = []
    rest: list[Step] = []
    params = set(program.param_buffers)
    for step in program.steps:
        if isinstance(step, Fetch) and step.buffer in params:
            prologue.append(step)
            placer.early.add(step.value)
    for step in program.steps:
        if isinstance(step, Fetch):
            if step.value not in placer.early:
                rest.append(step)
                placer.late.add(step.value)
        elif isinstance(step, Check):
            placer.place([step.condition], prologue, rest)
            late = step.condition in placer.late
            (rest if late else prologue).append(step)
        else:
            placer.place(step.scalars(), prologue, rest)  # type: ignore[union-attr]
            rest.append(step)
    sizes = [s for b in _allocated(program, rest) for s in b.extents if isinstance(s, Value)]
    placer.place(sizes, prologue, rest)
    return program.with_steps([*prologue, *rest], prologue=len(prologue))


def _allocated(program: Program, steps: Iterable[Step]) -> list[Buffer]:
    written = {b for s in steps if not isinstance(s, Fetch | Check | Let) for b in s.writes()}
    return sorted(written | set(program.results), key=lambda b: b.number)


class _Placer:
    """Knows which scalars are computed already, in the prologue (early) or after it (late)."""

    def __init__(self) -> None:
        self.early: set[Value] = set()
        self.late: set[Value] = set()

    def place(self, scalars: Iterable[Value], prologue: list[Step], rest: list[Step]) -> None:
        stack = list(scalars)
        while stack:
            value = stack[-1]
            if self._is_known(value):
                stack.pop()
                continue
            if value.op is None or not is_scalar_code(value):
                raise InternalError(f"the scalar {value.describe()} is used before it is computed")
            missing = [a for a in value.op.args if not self._is_known(a)]
            if missing:
                stack += missing
                continue
            stack.pop()
            late = any(a in self.late for a in value.op.args)
            (self.late if late else self.early).add(value)
            (rest if late else prologue).append(Let(value))

    def _is_known(self, value: Value) -> bool:
        given = value.op is not None and value.op.name in _GIVEN
        return given or value in self.early or value in self.late


# --- temporaries -------------------------------------------------------------------------------
def plan_memory(program: Program, sizes: Sizes) -> Program:
    """Temporaries in slots; one slot serves several whose lives do not overlap, and a kernel writes
    over an operand that dies in it, where it reads and writes the same place at the same time."""
    return _Planner(program, sizes).run()


class _Planner:
    def __init__(self, program: Program, sizes: Sizes) -> None:
        self.program = program
        self.sizes = sizes
        self.last = _last_uses(program)
        self.slots: list[Slot] = []
        self.free: list[int] = []
        self.placement: dict[Buffer, int] = {}
        self.scalars = _Placer()
        self.prologue = list(program.steps[: program.prologue])
        self.steps: list[Step] = []
        self.inherited = self._inherited()
        self.scalars.early = {s.value for s in self.prologue if isinstance(s, Let | Fetch)}

    def run(self) -> Program:
        for at, step in enumerate(self.program.steps):
            if at < self.program.prologue:
                continue
            if isinstance(step, Let | Fetch):
                self.scalars.late.add(step.value)
            elif not isinstance(step, Check | Yield):
                self._place(at, step)
            self.steps.append(step)
        return self.program.with_steps(
            [*self.prologue, *self.steps],
            prologue=len(self.prologue),
            slots=tuple(self.slots),
            placement=self.placement,
            inherited=self.inherited,
        )

    def _inherited(self) -> dict[Buffer, Buffer]:
        """Temporaries that live in the memory of a result: those that die in the kernel which
        first writes the result, read at the very place that is written."""
        found: dict[Buffer, Buffer] = {}
        first = _first_uses(self.program)
        for at, step in enumerate(self.program.steps):
            kernel, operands = _over_operands(step)
            for result in sorted(kernel.writes() if kernel else (), key=lambda b: b.number):
                if kernel is None or result.kind != "result" or first[result] != at:
                    continue
                for operand in operands:
                    dies = operand.kind == "temporary" and self.last[operand] == at
                    if dies and operand not in found and _overwrites(kernel, result, operand):
                        found[operand] = result
                        break
        return found

    def _place(self, at: int, step: Work) -> None:
        kernel, operands = _over_operands(step)
        if isinstance(step, Product):
            self._find_room({step.out.buffer}, None, [])
        dying = [b for b in operands if b in self.placement and self.last[b] == at]
        self._find_room(step.writes(), kernel, dying)
        self._release(at)

    def _find_room(self, written: set[Buffer], kernel: Kernel | None, dying: list[Buffer]) -> None:
        """Slots for what a step writes, if need be over what dies in its kernel."""
        for buffer in sorted(written - set(self.placement), key=lambda b: b.number):
            if buffer.kind != "temporary" or buffer in self.inherited:
                continue
            factors = (*buffer.extents, buffer.dtype.itemsize)
            size = self.sizes.product(factors)
            chosen = self._in_place(kernel, buffer, size, dying)
            if chosen is None:
                chosen = self._from_free(size, factors)
            else:
                dying = [b for b in dying if self.placement[b] != chosen]
            self.placement[buffer] = chosen

    def _from_free(self, size: Size, factors: tuple[Size, ...]) -> int:
        for slot in self.free:
            if same_size(self.slots[slot].size, size):
                self.free.remove(slot)
                return slot
        late = False
        if isinstance(size, Value):
            # The size may be an early value that a late product was found to equal.
            needed = [size, *(f for f in factors if isinstance(f, Value))]
            self.scalars.place(needed, self.prologue, self.steps)
            late = any(f in self.scalars.late for f in needed)
        self.slots.append(Slot(f"s{len(self.slots)}", size, factors, late))
        return len(self.slots) - 1

    def _release(self, at: int) -> None:
        live = {slot for b, slot in self.placement.items() if self.last[b] > at}
        ended = {slot for b, slot in self.placement.items() if self.last[b] == at}
        self.free += sorted(ended - live - set(self.free))

    def _in_place(
        self, kernel: Kernel | None, buffer: Buffer, size: Size, dying: list[Buffer]
    ) -> int | None:
        """The slot of a dying operand that `buffer` can be written over."""
        if kernel is None:
            return None
        for operand in dying:
            slot = self.placement[operand]
            if same_size(self.slots[slot].size, size) and _overwrites(kernel, buffer, operand):
                return slot
        return None


def _over_operands(step: Step) -> tuple[Kernel | None, list[Buffer]]:
    """The kernel of a step that may write over what it reads, and what that is, the best first:
    the product that it is the epilogue of, but nothing that the product reads."""
    if isinstance(step, Product) and step.epilogue is not None:
        kernel, out = step.epilogue.kernel, step.out.buffer
        return kernel, sorted(
            kernel.reads() - step.operands(), key=lambda b: (b is not out, b.number)
        )
    if isinstance(step, Kernel) and not step.sequential:
        return step, sorted(step.reads(), key=lambda b: b.number)
    return None, []


def _overwrites(kernel: Kernel, buffer: Buffer, operand: Buffer) -> bool:
    """Whether a kernel may write `buffer` over `operand`: it reads and writes the same place at
    the same time, and nothing else of either."""
    if operand.dtype.itemsize != buffer.dtype.itemsize or len(operand.extents) != len(
        buffer.extents
    ):
        return False
    stores = [s for s in kernel.stores if s.access.buffer is buffer]
    if any(s.combine is not None or s.indices for s in stores):
        return False
    if any(s.view.buffer is operand for s in kernel.sources):
        return False
    loads = [x.access for x in kernel.loads if x.access.buffer is operand]
    moved = [Access(buffer, a.offset, a.strides) for a in loads]
    whole = all(map(same_size, operand.extents, buffer.extents))
    return whole and all(s.access.same_as(a) for s in stores for a in moved)


def _first_uses(program: Program) -> dict[Buffer, int]:
    first: dict[Buffer, int] = {}
    for at, step in enumerate(program.steps):
        if not isinstance(step, Let | Fetch | Check):
            for buffer in step.reads() | step.writes():
                first.setdefault(buffer, at)
    return first


def _last_uses(program: Program) -> dict[Buffer, int]:
    last: dict[Buffer, int] = {}
    for at, step in enumerate(program.steps):
        if isinstance(step, Fetch):
            # On devices kernels read it where it lies, as late as they run.
            last[step.buffer] = len(program.steps)
        elif not isinstance(step, Let | Check):
            for buffer in step.reads() | step.writes():
                last[buffer] = max(at, last.get(buffer, at))
    return last
