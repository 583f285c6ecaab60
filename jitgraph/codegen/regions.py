"""Regions of a program: the bodies of loops and branches, written where they run."""

from __future__ import annotations

from collections.abc import Sequence

from jitgraph.codegen.nests import Memory
from jitgraph.codegen.program import ProgramEmitter
from jitgraph.codegen.registers import Register
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.codegen.workspace import HOST
from jitgraph.ir.kernel import Buffer, Check, Fetch, Program, Step, Yield
from jitgraph.ir.values import Value


class RegionEmitter(ProgramEmitter):
    """Writes a region where it runs, into the function of the program around it.

    Its parameters are registers and pointers of that program, its results are written where the
    program says. Memory lasts as long as the call: a step of a loop that needs as much as the one
    before allocates nothing.
    """

    def __init__(self, around: ProgramEmitter, program: Program, prefix: str) -> None:
        self.prefix = prefix
        self.around, self.root, self.regions_by = around, around.root, around.regions_by
        self.module, self.f, self.contract = around.module, around.f, around.contract
        self.program = program
        self.memory = Memory(program.placement, program.inherited)
        self.bindings = {}
        self.scalars = ScalarLowering(self.f, self.bindings, self.contract)
        self.pointers = {}
        self.exits, self.leave = around.exits, around.leave
        self.gil = None
        self.owned = []
        self.host_cells = around.host_cells
        self.space = around.space
        self._reserve_memory()
        self.capacity = self.f.emit("alloca i64", "capacity")
        self.f.do(f"store i64 0, ptr {self.capacity}")
        #: What the arguments are: extents by parameter, scalars by their buffer.
        self.extents: list[list[str]] = []
        self.given: dict[Buffer, Register] = {}
        self.yielded: dict[int, Register] = {}
        kept = [] if self.heap is None else [self.heap]
        around.owned += [*kept, *self.owned]

    def run(
        self,
        extents: Sequence[Sequence[str]],
        arguments: Sequence[Register],
        results: Sequence[str | None],
    ) -> dict[int, Register]:
        """Emit the region: extents of each parameter, its pointer (where it is an array or an
        element in memory) or register, and a pointer for each result that is an array. Gives the
        registers of the others."""
        self.extents = [list(e) for e in extents]
        for buffer, param, argument in zip(
            self.program.param_buffers, self.program.params, arguments, strict=True
        ):
            if param in self.in_registers:
                self.given[buffer] = argument
            else:
                assert isinstance(argument, str)
                self.pointers[self.memory.key(buffer)] = argument
        for buffer, pointer in zip(self.program.results, results, strict=True):
            if pointer is not None:
                self.pointers[self.memory.key(buffer)] = pointer
        self._param_index = {param: i for i, param in enumerate(self.program.params)}
        self._constants()
        steps = self.program.steps
        for step in steps[: self.program.prologue]:
            self._step(step)
        self._arena()
        for step in steps[self.program.prologue :]:
            self._step(step)
        for cells, workspace in ((self.scratch, self.workspace), (self._free_cells, HOST)):
            for cell in cells:
                workspace.give(self.f, self.f.emit(f"load ptr, ptr {cell}"))
                self.f.do(f"store ptr null, ptr {cell}")
        return self.yielded

    #: Parameters whose arguments are registers.
    in_registers: frozenset[Value] = frozenset()

    def _given(self, value: Value) -> str | None:
        op = value.op
        if op is None or op.name != "dim":
            return None
        axis: int = op.attrs["axis"]
        return self.extents[self._param_index[op.args[0]]][axis]

    def _step(self, step: Step) -> None:
        if isinstance(step, Fetch) and step.buffer in self.given:
            self.bindings[step.value] = self.given[step.buffer]
        elif isinstance(step, Yield):
            self.yielded = {k: self.register(value) for k, value in step.values}
        else:
            super()._step(step)

    def _checks_before(self, step: Check) -> int:
        return self.around._checks_before(step)

    def _allocate_result(self, buffer: Buffer) -> None:
        """Results have their places from the start."""

    def stack_or_heap(self, total: str, stack: str, cell: str | None) -> str:
        if cell is not self.heap:
            return super().stack_or_heap(total, stack, cell)
        return self._workspace(total)

    def _workspace(self, total: str) -> str:
        """The arena: on the stack if small, else kept from step to step and only ever enlarged."""
        f = self.f
        assert self.heap is not None
        before = f.current
        large, grow, have, done = (f.label(n) for n in ("large", "grow", "have", "arena"))
        f.branch_if(f.emit(f"icmp sgt i64 {total}, {self.workspace.stack}"), large, done)
        f.block(large)
        capacity = f.emit(f"load i64, ptr {self.capacity}")
        f.branch_if(f.emit(f"icmp sgt i64 {total}, {capacity}"), grow, have)
        f.block(grow)
        self.workspace.give(f, f.emit(f"load ptr, ptr {self.heap}"))
        f.do(f"store ptr null, ptr {self.heap}")
        f.do(f"store i64 0, ptr {self.capacity}")
        self.malloc(total, self.heap)
        f.do(f"store i64 {total}, ptr {self.capacity}")
        f.block(have)
        kept = f.emit(f"load ptr, ptr {self.heap}")
        after = f.current
        f.block(done)
        return f.phi("ptr", [(self.stack, before), (kept, after)], "arena")
