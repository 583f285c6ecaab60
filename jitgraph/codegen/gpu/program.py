"""The host's side of a device program: `@program`, as the CPU has it, with arrays and kernels on a
device.

What the host does is scalar code: sizes, checks, loops. Steps of work are launches; one for which
there are no kernels runs on the host, between copies of its arrays. A scalar that a kernel makes is
*late*: later kernels read it where it is, and the host waits for it only where it must know it, as
for a size, a check or a condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from jitgraph.codegen.control import OUT_OF_MEMORY
from jitgraph.codegen.gpu import host, launching
from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments, Threaded
from jitgraph.codegen.gpu.carried import in_memory, needed_by_host
from jitgraph.codegen.gpu.host import DEVICE, DEVICE_FAILED
from jitgraph.codegen.gpu.kernels import emit_work, needless_starts
from jitgraph.codegen.gpu.module import DeviceModule
from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.program import ProgramEmitter
from jitgraph.codegen.regions import RegionEmitter
from jitgraph.codegen.registers import Register, load, register_type, store
from jitgraph.codegen.signature import Signature
from jitgraph.codegen.workspace import HOST, Workspace
from jitgraph.ir.kernel import (
    Access,
    Branch,
    Buffer,
    Fetch,
    Kernel,
    Let,
    Loop,
    Program,
    Step,
    Store,
    Work,
    Yield,
)
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value


def emit_device_program(
    module: Module,
    device: DeviceModule,
    program: Program,
    signature: Signature,
    *,
    contract: bool,
    kind: type[DeviceEmitter] | None = None,
) -> int:
    """Add `@program` to the host's module and its kernels to the device's; gives the number of its
    constants. `kind` is what writes it, if not a `DeviceEmitter`.

    The host's module then has two tables to be filled when it is loaded: `@kernels`, and
    `@constant_places`, the addresses of copies on the device of what `@constant_table` lists (pairs
    of address and size)."""
    host.emit_helpers(module)
    emitter = (kind or DeviceEmitter)(module, program, signature, contract, device)
    emitter.emit()
    emitter.tables()
    return len(emitter.constants)


class OnDevice(ProgramEmitter):
    """What programs and regions of a device have in common."""

    device: DeviceModule
    workspace: Workspace = DEVICE
    #: Constants of the program and all its regions: names of their data, and sizes.
    constants: list[tuple[str, int]]

    def _begin(
        self, program: Program, device: DeviceModule, constants: list[tuple[str, int]]
    ) -> None:
        self.device, self.constants = device, constants
        #: Where scalars are that the host does not have.
        self.late: dict[Value, str] = {}
        self._deferred: set[Value] = set()
        self._needless = needless_starts(program.steps)
        #: Memory that a step has written to, by key.
        self._written: set[str] = set()

    # --- scalars --------------------------------------------------------------------------------
    def is_late(self, value: Value) -> bool:
        """Whether the scalar is a word of the device's memory that the host has not read."""
        return value in self.late and value not in self.bindings

    def late_leaves(self, value: Value) -> list[Value]:
        """The late scalars that this one is computed from, or is."""
        return [x for x in self.leaves(value) if self.is_late(x)]

    def leaves(self, value: Value) -> list[Value]:
        """What a scalar is computed from: scalars that the host has, and late ones."""
        found: dict[Value, None] = {}
        seen, waiting = {value}, [value]
        while waiting:
            top = waiting.pop()
            if top.literal is not None:
                continue
            known = top in self.bindings or top in self.late or top.op is None
            if known or self._given(top) is not None:
                found[top] = None
            else:
                assert top.op is not None
                waiting += [a for a in top.op.args if a not in seen]
                seen.update(top.op.args)
        return list(found)

    def register(self, value: Value) -> Register:
        if value not in self.bindings and (leaves := self.late_leaves(value)):
            self._get(leaves)
        return super().register(value)

    def _get(self, leaves: Sequence[Value]) -> None:
        """Wait for late scalars, and for all that the host is going to need at once."""
        f = self.f
        cells: dict[Value, str] = {}
        for leaf in dict.fromkeys([*leaves, *filter(self.is_late, self._needed)]):
            cells[leaf] = f.emit("call ptr @device_landing()", "landing")
            size = leaf.dtype.itemsize
            f.do(f"call void @device_get(ptr {cells[leaf]}, ptr {self.late[leaf]}, i64 {size})")
        self.wait()
        self.bindings.update({leaf: load(f, cell, leaf.dtype) for leaf, cell in cells.items()})

    @cached_property
    def _needed(self) -> list[Value]:
        """The scalars that the host must know, in the order in which they are made."""
        needed = needed_by_host(self.program)
        return [s.value for s in self.program.steps if isinstance(s, Fetch) and s.value in needed]

    def carried_in_memory(self, loop: Loop) -> frozenset[int]:
        return in_memory(loop, lambda value: bool(self.late_leaves(value)))

    def put(self, register: Register, pointer: str, dtype: DType) -> None:
        """As a kernel: nobody waits for the host's memory to be read."""
        parts = [register] if isinstance(register, str) else list(register)
        names = [f"%v{k}" for k in range(len(parts))]
        type_ = register_type(dtype)

        def write(f: FunctionBuilder) -> None:
            with f.if_then(f.emit(f"icmp eq i64 {gpu.thread(f)}, 0")):
                store(f, names[0] if len(names) == 1 else (names[0], names[1]), "%out", dtype)

        parameters = ["ptr noalias %out", *(f"{type_} {name}" for name in names)]
        kernel = launching.routine(self, f"put_{dtype.name}", parameters, write)
        values = [f"ptr {pointer}", *(f"{type_} {part}" for part in parts)]
        launching.launch(self, kernel, values, "1")

    def element_cell(self) -> str:
        return self.malloc("16", self.scratch_cell())

    def wait(self) -> None:
        """Until the device has done all that came before."""
        self.f.do("call void @device_wait()")
        self.require_sound()

    def require_sound(self) -> None:
        """Leave if a function of the driver has failed."""
        error = self.f.emit(f"load i64, {host.word('error')}", "error")
        self.require(self.f.emit(f"icmp eq i64 {error}, 0"), DEVICE_FAILED)

    def place_of(self, value: Value) -> str | None:
        """Where a late scalar is; one that is yet to be computed is written to new memory."""
        if value in self.bindings or not self.late_leaves(value):
            return None
        if value not in self.late:
            place = self.element_cell()
            self._scalar_to(value, place)
            self.late[value] = place  # not before: it would be computed from itself
        return self.late[value]

    def scratch_cell(self) -> str:
        """A cell for memory of the device that the exit frees."""
        cell = self.f.reserve_cell("place")
        self.scratch.append(cell)
        self.root.owned.append(cell)
        return cell

    def scratch_memory(self, size: str) -> str:
        """Memory of the device for one step, that the exit frees; null where the size is 0."""
        f, cell = self.f, self.scratch_cell()
        with f.if_then(f.emit(f"icmp ne i64 {size}, 0")):
            # In a loop, it is that of the round before.
            self.workspace.give(f, f.emit(f"load ptr, ptr {cell}"))
            f.do(f"store ptr null, ptr {cell}")
            self.malloc(size, cell)
        return f.emit(f"load ptr, ptr {cell}", "scratch")

    def _scalar_to(self, value: Value, pointer: str) -> None:
        """Compute a scalar on the device."""
        buffer = Buffer(-1 - len(self.pointers), "scalar", value.dtype, "temporary")
        self.pointers[self.memory.key(buffer)] = pointer
        kernel = Kernel((), (), (), (), (Store(value, Access(buffer, 0, ())),), (value,))
        self.work_named(kernel, self.device.fresh("scalar"))

    # --- steps ----------------------------------------------------------------------------------
    def _step(self, step: Step) -> None:
        if step in self._needless:
            return
        if isinstance(step, Let) and self._needs_late(step.value):
            self._bind_arguments(step.value)
            self._deferred.add(step.value)
        else:
            super()._step(step)

    def _needs_late(self, value: Value) -> bool:
        args = value.op.args if value.op is not None else ()
        return any(a not in self.bindings and (a in self.late or a in self._deferred) for a in args)

    def _fetch(self, step: Fetch) -> None:
        self.late[step.value] = self.pointer(step.buffer)

    def _work(self, step: Work) -> None:
        if isinstance(step, Loop | Branch):
            super()._work(step)
        else:
            self.work_named(step, self.device.fresh(self._name(step)))

    def work_named(self, step: Work, name: str) -> None:
        if not emit_work(self, step, name):
            self._numbers.setdefault(step, len(self._numbers))
            with self._on_host(step):
                super()._work(step)
        self._written |= {self.memory.key(b) for b in step.writes()}

    def launch(
        self, number: int, blocks: str, threads: int | str, shared: str, parameters: str
    ) -> None:
        """Launch kernel `number` of the device's module."""
        code = self.f.emit(
            f"call i32 @device_launch(i64 {number}, i64 {blocks}, i32 {threads}, i64 {shared}, "
            f"ptr {parameters})"
        )
        self.require(self.f.emit(f"icmp eq i32 {code}, 0"), DEVICE_FAILED)

    def arguments(self, work: Threaded, name: str) -> Arguments:
        """The arguments of the kernels for a step."""
        return Arguments(self, work, name)

    @contextmanager
    def _on_host(self, step: Work) -> Iterator[None]:
        """While a step runs on the host, whose arrays are copied there and back."""
        f = self.f
        needed = {self.memory.key(b) for b in step.reads()} | self._written
        buffers = sorted(step.reads() | step.writes(), key=lambda b: b.number)
        by_key = {self.memory.key(b): b for b in buffers}
        places: dict[str, tuple[str, str, str, str]] = {}
        for scalar in step.scalars():
            self.register(scalar)
        for key, buffer in by_key.items():
            there, size = self.pointer(buffer), self._size_of(buffer)
            cell = f.reserve_cell("staged")
            self.host_cells.append(cell)
            here = HOST.take(f, self.rounded(self.plus(size, "1")))
            f.do(f"store ptr {here}, ptr {cell}")
            self.require(f.emit(f"icmp ne ptr {here}, null"), OUT_OF_MEMORY)
            if key in needed:
                f.do(f"call void @device_get(ptr {here}, ptr {there}, i64 {size})")
            places[key] = there, here, size, cell
        self.wait()
        kept, self.pointers = self.pointers, dict(self.pointers)
        self.pointers.update({key: here for key, (_, here, _, _) in places.items()})
        self.workspace = HOST
        yield
        self.workspace, self.pointers = DEVICE, kept
        written = {self.memory.key(b) for b in step.writes()}
        for key, (there, here, size, _) in places.items():
            if key in written:
                f.do(f"call void @device_put(ptr {there}, ptr {here}, i64 {size})")
        self.wait()
        for _, here, _, cell in places.values():
            HOST.give(f, here)
            f.do(f"store ptr null, ptr {cell}")

    def _size_of(self, buffer: Buffer) -> str:
        return self.product_of((*buffer.extents, buffer.dtype.itemsize))

    # --- memory ---------------------------------------------------------------------------------
    def _constants(self) -> None:
        count = len(self.constants)
        super()._constants()
        for buffer in sorted(self._buffers(), key=lambda b: b.number):
            if buffer.kind == "constant":
                assert buffer.constant is not None
                key = self.memory.key(buffer)
                self.constants.append((self.pointers[key], buffer.constant.array.nbytes))
                at = f"getelementptr inbounds (i8, ptr @constant_places, i64 {8 * count})"
                self.pointers[key] = self.f.emit(f"load ptr, ptr {at}")
                count += 1


class DeviceEmitter(OnDevice):
    """Writes the body of `@program`."""

    def __init__(
        self,
        module: Module,
        program: Program,
        signature: Signature,
        contract: bool,
        device: DeviceModule,
    ) -> None:
        self._begin(program, device, [])
        super().__init__(module, program, signature, contract, DeviceRegionEmitter)

    def tables(self) -> None:
        """The tables that the loader reads and fills."""
        kernels, constants = len(self.device.kernels), self.constants
        self.module.declare(f"@kernels = dso_local global [{kernels} x ptr] zeroinitializer")
        self.module.declare(
            f"@constant_places = dso_local global [{len(constants)} x ptr] zeroinitializer"
        )
        calls = self.device.library_calls
        self.module.declare(f"@plans = dso_local global [{calls} x ptr] zeroinitializer")
        f = FunctionBuilder(self.module, "constant_table", ["ptr %pairs"], passes="quick")
        for k, (name, size) in enumerate(constants):
            f.do(f"store ptr {name}, ptr {f.offset('%pairs', 16 * k)}")
            f.do(f"store i64 {size}, ptr {f.offset('%pairs', 16 * k + 8)}")
        f.do("ret void")

    def emit(self) -> None:
        self._before = self.f.emit("call ptr @device_enter()", "before")
        super().emit()

    def _return(self, status: str) -> None:
        if status == "0":  # a copy that the driver has refused must not become a new value
            self.require_sound()
        super()._return(status)

    def _last(self) -> None:
        self.f.do(f"call void @device_leave(ptr {self._before})")

    def _fetch(self, step: Fetch) -> None:
        if step.buffer in self.program.param_buffers:
            k = self.program.param_buffers.index(step.buffer)
            if self.signature.params[k].shared_slot is None:  # numbers stay on the host
                ProgramEmitter._fetch(self, step)
                return
        super()._fetch(step)


class DeviceRegionEmitter(OnDevice, RegionEmitter):
    """Writes a region where it runs."""

    def __init__(self, around: OnDevice, program: Program, prefix: str) -> None:
        self._begin(program, around.device, around.constants)
        RegionEmitter.__init__(self, around, program, prefix)

    def _step(self, step: Step) -> None:
        if isinstance(step, Fetch) and step.buffer in self.given:
            self.bindings[step.value] = self.given[step.buffer]
        elif isinstance(step, Yield):
            passed = {k: v for k, v in step.values if not self._kept(k, v)}
            if leaves := [x for v in passed.values() for x in self.late_leaves(v)]:
                self._get(leaves)
            self.yielded = {k: self.register(v) for k, v in passed.items()}
        else:
            OnDevice._step(self, step)

    def _kept(self, k: int, value: Value) -> bool:
        """Whether a late scalar could be written where the result goes."""
        key = self.memory.key(self.program.results[k])
        if key not in self.pointers or not self.late_leaves(value):
            return False
        self._scalar_to(value, self.pointers[key])
        return True
