"""A whole program as one native function: scalar code, checks, allocations, kernels, products.

`@program` is what the entry wrapper calls (see `codegen.entry` for the convention). It returns 0,
or k + 1 when check k failed, or an error below zero; in every case its memory is given back and the
GIL is held again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.calls import emit_call, words_needed
from jitgraph.codegen.control import OUT_OF_MEMORY, emit_branch, emit_loop, reserve_grown
from jitgraph.codegen.epilogue import emit_with_epilogue
from jitgraph.codegen.launch import Launcher
from jitgraph.codegen.llvm import FunctionBuilder, Module, Passes
from jitgraph.codegen.nests import Memory
from jitgraph.codegen.products import emit_product
from jitgraph.codegen.registers import Register, load, store, type_number
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.codegen.signature import ROUTINE_FAILED, Signature, program_parameters, slot_of_output
from jitgraph.codegen.workspace import HOST, Workspace
from jitgraph.errors import InternalError
from jitgraph.ir.kernel import (
    Branch,
    Buffer,
    Call,
    Check,
    Fetch,
    Kernel,
    Let,
    Loop,
    Product,
    Program,
    Rows,
    Slot,
    Step,
    View,
    Work,
    Yield,
    Zero,
)
from jitgraph.ir.opdef import Size
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.regions import RegionEmitter

#: Makes what writes a region, given who writes the program around it and what names begin with.
RegionWriter: TypeAlias = "Callable[..., RegionEmitter]"

#: No machine has memory for a temporary of more bytes.
LARGEST_SLOT = float(1 << 47)
#: Below this many elements of work a call keeps the GIL: releasing it costs as much.
LONG_WORK = 100_000
#: What a step of work inside a loop counts for, whose size is not known where the loop begins.
STEP_WORK = 1000
_ALIGN = 64


def _is_scalar(loop: Loop) -> bool:
    """Whether steps of a loop, or of loops inside it, do nothing but scalar arithmetic: it is then
    the program's own function that does the work."""
    inner = [w for region in loop.regions() for w in region.work()]
    return all(isinstance(w, Branch) or (isinstance(w, Loop) and _is_scalar(w)) for w in inner)


class ProgramEmitter:
    """Writes the body of `@program`, top to bottom."""

    #: What the names of kernels and constants begin with.
    prefix = ""
    #: Where arrays are.
    workspace: Workspace = HOST

    def __init__(
        self,
        module: Module,
        program: Program,
        signature: Signature,
        contract: bool,
        regions_by: RegionWriter,
    ) -> None:
        self.module = module
        self.program = program
        self.regions_by = regions_by
        self.signature = signature
        self.contract = contract
        self.memory = Memory(program.placement, program.inherited)
        # Without kernels the scalars are the work, and with them they are next to nothing.
        work = program.work()
        works = any(not isinstance(step, Zero) for step in work)
        passes: Passes = "quick" if works else "vectorise"
        if any(isinstance(s, Loop) and _is_scalar(s) for s in work):
            passes = "explicit"
        self.f = FunctionBuilder(
            module,
            "program",
            program_parameters(signature.params),
            returns="i64",
            internal=True,
            passes=passes,
        )
        self.bindings: dict[Value, Register] = {}
        self.scalars = ScalarLowering(self.f, self.bindings, contract)
        self.pointers: dict[str, str] = {}
        self.exits: list[tuple[str, str]] = []
        self.leave = self.f.label("leave")
        self.gil: str | None = None
        #: Cells with memory that the exit frees, and those with memory of the host's pool.
        self.owned: list[str] = []
        self.host_cells: list[str] = []
        #: The emitter of the whole program.
        self.root: ProgramEmitter = self
        self.space: list[str] = []

    # --- structure ------------------------------------------------------------------------------
    def emit(self) -> None:
        self._bind_params()
        self._constants()
        self._reserve()
        steps = self.program.steps
        for step in steps[: self.program.prologue]:
            self._step(step)
        self._arena()
        rest = steps[self.program.prologue :]
        early = [b for b in self.program.results if self._is_known(b.extents)]
        for buffer in early:
            self._allocate_result(buffer)
        if len(early) == len(self.program.results):
            self._release_gil()
        for step in rest:
            self._step(step)
        for buffer in self.program.results:
            self._allocate_result(buffer)
        self._return("0")
        self._leave()

    def _bind_params(self) -> None:
        self._param_index = {param: i for i, param in enumerate(self.program.params)}
        for i, buffer in enumerate(self.program.param_buffers):
            self.pointers[self.memory.key(buffer)] = f"%x{i}"

    def _constants(self) -> None:
        for buffer in sorted(self._buffers(), key=lambda b: b.number):
            if buffer.kind != "constant":
                continue
            assert buffer.constant is not None
            data = buffer.constant.array.tobytes()
            text = "".join(f"\\{byte:02X}" for byte in data)
            name = f"@{self.prefix}{self.memory.key(buffer)}"
            self.module.declare(
                f'{name} = internal constant [{len(data)} x i8] c"{text}", align {_ALIGN}'
            )
            self.pointers[self.memory.key(buffer)] = name

    def _buffers(self) -> set[Buffer]:
        found: set[Buffer] = set()
        for step in self.program.steps:
            if isinstance(step, Fetch):
                found.add(step.buffer)
            elif not isinstance(step, Let | Check):
                found |= step.reads() | step.writes()
        return found

    def _reserve(self) -> None:
        """Cells that must be set on every path before the exit reads them."""
        f = self.f
        rank = max((len(b.extents) for b in self.program.results), default=0)
        self.dims = f.emit(f"alloca [{max(rank, 1)} x i64]", "dims")
        self._reserve_memory()
        if any(not isinstance(step, Zero) for step in self.program.work()):
            self.gil = self.cell("gil")

    def _reserve_memory(self) -> None:
        """Cells for what the program and its regions allocate, and memory on the stack."""
        f = self.f
        self.heap = self.cell("heap") if self.program.slots else None
        self.stack = f.emit(f"alloca [{HOST.stack} x i8], align {_ALIGN}", "stack")
        self.late_cells = [self.cell("late") for slot in self.program.slots if slot.late]
        words = [words_needed(step) for step in self.program.steps if isinstance(step, Call)]
        #: Memory for the tables of pointers, extents and strides that a call takes.
        self.call_words = f.emit(f"alloca [{max(words)} x i64]", "words") if words else ""
        launches = sum(isinstance(s, Kernel | Rows) or (isinstance(s, Call) and bool(s.epilogue))
                       for s in self.program.steps)  # fmt: skip
        #: Memory for the copies of locals and of totals of one launch, while they are small.
        if launches and not self.space:
            self.space = [f.emit(f"alloca [{HOST.stack} x i8], align {_ALIGN}", name)
                          for name in ("locals", "totals")]  # fmt: skip
        self.grown = reserve_grown(self)
        self.owned += [growing.cell for growing in self.grown.values()]
        self._free_cells = [self.cell("space") for _ in range(2 * launches)]
        #: Cells with what only lasts for a step of a region.
        self.scratch = list(self.late_cells)
        self.owned += self.scratch
        self.host_cells += self._free_cells
        self.regions: dict[Program, RegionEmitter] = {}
        for step in self.program.work():
            if isinstance(step, Loop | Branch):
                for program in step.regions():
                    prefix = f"{self.prefix}region{len(self.regions)}."
                    self.regions[program] = self._region(program, prefix)

    def _region(self, program: Program, prefix: str) -> RegionEmitter:
        """What writes a region of this program."""
        return self.regions_by(self, program, prefix)

    def cell(self, name: str) -> str:
        cell = self.f.emit("alloca ptr", name)
        self.f.do(f"store ptr null, ptr {cell}")
        return cell

    def _return(self, status: str) -> None:
        self.exits.append((status, self.f.current))
        self.f.branch(self.leave)

    def require(self, condition: str, status: int) -> None:
        """Go on if the i1 condition holds, else leave with the status."""
        going_on = self.f.label("ok")
        self.exits.append((str(status), self.f.current))
        self.f.branch_if(condition, going_on, self.leave)
        self.f.block(going_on)

    def require_success(self, condition: str) -> None:
        """Go on if a routine has not failed; else the interpreter will say what is wrong."""
        self.require(condition, ROUTINE_FAILED)

    def _leave(self) -> None:
        f = self.f
        f.block(self.leave)
        status = f.phi("i64", self.exits, "status")
        cells = [c for c in (self.heap, *self.owned) if c is not None]
        for cell in cells:
            self.workspace.give(f, f.emit(f"load ptr, ptr {cell}"))
        for cell in self.host_cells:
            HOST.give(f, f.emit(f"load ptr, ptr {cell}"))
        self._last()
        if self.gil is not None:
            state = f.emit(f"load ptr, ptr {self.gil}")
            with f.if_then(f.emit(f"icmp ne ptr {state}, null")):
                f.do(f"call void @acquire_gil(ptr {state})")
        f.do(f"ret i64 {status}")

    def _last(self) -> None:
        """Whatever else is to be done at the end, however it comes."""

    # --- scalars --------------------------------------------------------------------------------
    def register(self, value: Value) -> Register:
        """The register of a program scalar."""
        found = self.bindings.get(value)
        if found is None:
            found = self._given(value) or self.scalars.lower(value)
            self.bindings[value] = found
        return found

    def place_of(self, value: Value) -> str | None:
        """Where a program scalar is that is in memory and not in a register."""
        return None

    def carried_in_memory(self, loop: Loop) -> frozenset[int]:
        """The numbers of the scalars that a loop does not carry in registers."""
        return frozenset()

    def put(self, register: Register, pointer: str, dtype: DType) -> None:
        """Write an element where arrays are."""
        store(self.f, register, pointer, dtype)

    def element_cell(self) -> str:
        """Memory for one element, where arrays are."""
        raise InternalError("scalars of the host are in registers")

    def _given(self, value: Value) -> str | None:
        op = value.op
        if op is None or op.name not in ("dim", "stride"):
            return None
        param = self._param_index[op.args[0]]
        kind = "extent" if op.name == "dim" else "stride"
        return f"%x{param}.{kind}{op.attrs['axis']}"

    def size(self, size: Size) -> str:
        if isinstance(size, int):
            return str(size)
        register = self.register(size)
        assert isinstance(register, str)
        return register

    def product_of(self, sizes: Sequence[Size]) -> str:
        known = 1
        total: str | None = None
        for size in sizes:
            if isinstance(size, int):
                known *= size
            elif total is None:
                total = self.size(size)
            else:
                total = self.f.emit(f"mul i64 {total}, {self.size(size)}")
        if total is None:
            return str(known)
        return total if known == 1 else self.f.emit(f"mul i64 {total}, {known}")

    def _step(self, step: Step) -> None:
        match step:
            case Let():
                self._bind_arguments(step.value)
                self.bindings[step.value] = self.scalars.lower(step.value)
            case Fetch():
                self._fetch(step)
            case Check():
                self._bind_arguments(step.condition)
                register = self.register(step.condition)
                assert isinstance(register, str)
                self.require(register, 1 + self._checks_before(step))
            case Yield():  # a region's, see there
                raise InternalError("only regions give scalars back in registers")
            case _:
                self._work(step)

    def _fetch(self, step: Fetch) -> None:
        pointer = self.pointer(step.buffer)
        self.bindings[step.value] = load(self.f, pointer, step.value.dtype)

    def _checks_before(self, step: Check) -> int:
        checks = [s for s in self.program.steps if isinstance(s, Check)]
        return checks.index(step) if step in checks else len(checks)

    def _bind_arguments(self, value: Value) -> None:
        for argument in value.op.args if value.op is not None else ():
            if argument not in self.bindings and (given := self._given(argument)) is not None:
                self.bindings[argument] = given

    # --- memory ---------------------------------------------------------------------------------
    def _is_known(self, sizes: Sequence[Size]) -> bool:
        """Whether the sizes are numbers, given, or computed already."""
        return all(
            isinstance(s, int) or s in self.bindings or self._given(s) is not None for s in sizes
        )

    def _allocate_result(self, buffer: Buffer) -> None:
        key = self.memory.key(buffer)
        if key in self.pointers:
            return
        f = self.f
        k = self.program.results.index(buffer)
        spec = self.signature.outputs[k]
        for axis, extent in enumerate(buffer.extents):
            f.do(f"store i64 {self.size(extent)}, ptr {f.offset(self.dims, 8 * axis)}")
        arguments = f"i32 {type_number(buffer.dtype)}, i32 {spec.rank}, ptr {self.dims}"
        if spec.kind == "update":
            slot = f.emit(f"load ptr, {slot_of_output(k)}")
            made = self.workspace.take_spare(f, slot, arguments)
        else:
            made = self.workspace.new_array(f, arguments)
        f.do(f"store ptr {made}, ptr {f.offset('%outs', 8 * k)}")
        self.require(f.emit(f"icmp ne ptr {made}, null"), self.workspace.no_array)
        self.pointers[key] = f.emit(f"load ptr, ptr {f.offset(made, py.ARRAY_DATA)}")

    def _arena(self) -> None:
        """One block for all early slots: on the stack if small."""
        early = [(k, s) for k, s in enumerate(self.program.slots) if not s.late]
        if not early:
            return
        f = self.f
        offsets: list[str] = []
        total = "0"
        for _, slot in early:
            self.require_sane(slot)
            offsets.append(total)
            total = self.plus(total, self.rounded(self.size(slot.size)))
        if total.isdigit() and int(total) <= self.workspace.stack:
            base = self.stack
        else:
            base = self.stack_or_heap(total, self.stack, self.heap)
        for (k, _), offset in zip(early, offsets, strict=True):
            self.pointers[f"slot{k}"] = base if offset == "0" else f.offset(base, offset)

    def require_sane(self, slot: Slot) -> None:
        """Leave where the size, worked out in floating point, is beyond any memory: as an integer
        it might have wrapped around to a small one."""
        if isinstance(slot.size, int):  # also where an extent of 0 hides one that is not known yet
            self.require("true" if slot.size < LARGEST_SLOT else "false", OUT_OF_MEMORY)
            return
        self.require_product(slot.factors)

    def require_product(self, factors: Sequence[Size]) -> None:
        """Leave where so many bytes are beyond any memory."""
        f = self.f
        total: str | None = None
        for factor in factors:
            part = f"{float(factor)!r}" if isinstance(factor, int) else f.emit(
                f"sitofp i64 {self.size(factor)} to double"
            )  # fmt: skip
            total = part if total is None else f.emit(f"fmul double {total}, {part}")
        self.require(f.emit(f"fcmp olt double {total}, {LARGEST_SLOT!r}"), OUT_OF_MEMORY)

    def space_cell(self) -> str:
        """A cell for memory that the exit frees, not used before."""
        return self._free_cells.pop()

    def stack_or_heap(self, total: str, stack: str, cell: str | None) -> str:
        """Memory of `total` bytes: on the stack if that is small, else freed by the exit."""
        f = self.f
        before = f.current
        large, done = f.label("large"), f.label("arena")
        f.branch_if(f.emit(f"icmp sgt i64 {total}, {self.workspace.stack}"), large, done)
        f.block(large)
        made = self.malloc(total, cell)
        after = f.current
        f.block(done)
        return f.phi("ptr", [(stack, before), (made, after)], "arena")

    def plus(self, a: str, b: str) -> str:
        if a.isdigit() and b.isdigit():
            return str(int(a) + int(b))
        return b if a == "0" else self.f.emit(f"add i64 {a}, {b}")

    def rounded(self, size: str) -> str:
        if size.isdigit():
            return str(-(-int(size) // _ALIGN) * _ALIGN)
        more = self.f.emit(f"add i64 {size}, {_ALIGN - 1}")
        return self.f.emit(f"and i64 {more}, {-_ALIGN}")

    def malloc(self, size: str, cell: str | None) -> str:
        """Aligned memory that the exit frees."""
        f = self.f
        made = self.workspace.take(f, size)
        f.do(f"store ptr {made}, ptr {cell}")
        self.require(f.emit(f"icmp ne ptr {made}, null"), OUT_OF_MEMORY)
        return made

    def borrow(self, size: str) -> str:
        """Memory that the step itself gives back (`pool_give`)."""
        made = self.f.emit(f"call ptr @pool_take(i64 {size})")
        self.require(self.f.emit(f"icmp ne ptr {made}, null"), OUT_OF_MEMORY)
        return made

    def start(self, view: View) -> str:
        """Where a view begins."""
        start, offset = self.pointer(view.buffer), self.size(view.offset)
        return start if offset == "0" else self.f.offset(start, offset)

    def pointer(self, buffer: Buffer) -> str:
        key = self.memory.key(buffer)
        if key not in self.pointers:
            home = self.program.inherited.get(buffer, buffer)
            if home.kind == "result":
                self._allocate_result(home)
            else:
                k = self.program.placement[buffer]
                slot = self.program.slots[k]
                late = [s for s in self.program.slots if s.late]
                self.require_sane(slot)
                self.pointers[key] = self.malloc(
                    self.rounded(self.size(slot.size)), self.late_cells[late.index(slot)]
                )
        return self.pointers[key]

    def _release_gil(self) -> None:
        """Let other Python threads run if the work ahead is long, as far as one can tell now."""
        total = "0"
        for step in self.program.work():
            kernels = step.kernels if isinstance(step, Rows) else (step,)
            for kernel in kernels:
                if isinstance(kernel, Kernel) and self._is_known(kernel.extents):
                    total = self.plus(total, self.product_of(kernel.extents))
            if isinstance(step, Loop) and self._is_known([step.steps]):
                steps = step.steps if isinstance(step.steps, Value) else min(step.steps, LONG_WORK)
                each = STEP_WORK * len(step.body.work()) + 1
                total = self.plus(total, self.product_of([steps, each]))
            if isinstance(step, Product):
                after = step.epilogue.kernel if step.epilogue is not None else None
                if after is not None and self._is_known(after.extents):
                    total = self.plus(total, self.product_of(after.extents))
                sizes = (*step.batch, step.rows, step.columns, step.inner)
                if self._is_known(sizes):
                    # Eight multiplications by a micro-kernel take about as long as one element.
                    size = self.product_of(sizes)
                    total = self.plus(total, self.f.emit(f"lshr i64 {size}, 3"))
            if isinstance(step, Call) and self._is_known((*step.batch, *step.core)):
                # A routine does more to an element than a loop. A convolution names so many sizes
                # that their product means nothing.
                many = step.routine.library == "convolution"
                sizes = step.outputs[0].buffer.extents if many else (*step.batch, *step.core)
                size = self.product_of((16, *sizes))
                total = self.plus(total, size)
        if self.gil is None or (total.isdigit() and int(total) < LONG_WORK):
            return
        with self.f.if_then(self.f.emit(f"icmp sgt i64 {total}, {LONG_WORK}")):
            state = self.f.emit("call ptr @release_gil()")
            self.f.do(f"store ptr {state}, ptr {self.gil}")

    # --- work -----------------------------------------------------------------------------------
    def _work(self, step: Work) -> None:
        match step:
            case Kernel() | Rows():
                Launcher(self).launch(step, self._name(step))
            case Loop():
                emit_loop(self, step)
            case Branch():
                emit_branch(self, step)
            case Product(epilogue=None):
                emit_product(self.f, step, self.size, self.pointer)
            case Product():
                emit_with_epilogue(self, step, self._name(step))
            case Call():
                emit_call(self, step, self._name(step))
            case Zero():
                self._zero(step)

    @cached_property
    def _numbers(self) -> dict[Work, int]:
        return {step: number for number, step in enumerate(self.program.work())}

    def _name(self, step: Work) -> str:
        return f"{self.prefix}kernel{self._numbers[step]}"

    def _zero(self, step: Zero) -> None:
        size = self.product_of((*step.buffer.extents, step.buffer.dtype.itemsize))
        self.workspace.clear(self.f, self.pointer(step.buffer), size)
