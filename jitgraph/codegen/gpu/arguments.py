"""A kernel's parameters, and the host code that launches it with their values.

Pointers come first, by the key of their memory, then the program's scalars. A scalar that was
computed on the device and never left it (`late`) is a pointer too: the kernel reads it where it is,
and computes what the program makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu import host
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Context, kept_inside, scalar_parameters
from jitgraph.codegen.registers import Register, load, register_type
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.ir.kernel import Buffer, Kernel, Rows
from jitgraph.ir.opdef import Size
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice


class Arguments:
    """What the kernels made for a step of work take. Each kernel is begun (`begin`), written,
    and launched (`launch`); all of a step take the same arguments, and such as they add."""

    def __init__(self, emitter: OnDevice, work: Kernel | Rows, name: str) -> None:
        self.emitter, self.f = emitter, emitter.f
        self.work, self.name = work, name
        memory = emitter.memory
        inside = kept_inside(work) if isinstance(work, Rows) else []
        own = set(work.locals) if isinstance(work, Rows) else set()
        self.inside = inside
        self.buffers = {memory.key(b): b for b in buffers_of(work) if b not in own}
        #: What lies behind the other pointers stays as it is, so reading it may be reordered.
        self.written = {memory.key(b) for b in work.writes()}
        kernels = work.kernels if isinstance(work, Rows) else (work,)
        captured = {v for k in kernels for v in k.captured}
        sizes = set(sizes_of(kernels))
        #: Scalars that the host has, and those that kernels make of what is on the device.
        self.scalars: list[Value] = []
        self.made: list[Value] = []
        for value in work.scalars():
            late = value in captured and value not in sizes and emitter.late_leaves(value)
            (self.made if late else self.scalars).append(value)
        leaves = {x: None for v in self.made for x in emitter.leaves(v)}
        self.late = [x for x in leaves if emitter.is_late(x)]
        self.scalars += [x for x in leaves if not emitter.is_late(x) and x not in self.scalars]
        #: Everything is to be in registers before the paths part.
        self.values = [f"ptr {emitter.pointer(b)}" for b in self.buffers.values()]
        for scalar in self.scalars:
            register = emitter.register(scalar)
            parts = [register] if isinstance(register, str) else register
            self.values += [f"{register_type(scalar.dtype)} {part}" for part in parts]
        self.values += [f"ptr {emitter.late[x]}" for x in self.late]
        self._count = 0

    # --- a kernel -------------------------------------------------------------------------------
    def begin(self, sizes: Sequence[Size] = (), more: Sequence[str] = ()) -> FunctionBuilder:
        """Begin a kernel; `more` are parameters beyond those of all kernels of the step."""
        parameters = [f"ptr noalias {'' if key in self.written else 'readonly '}%p{k}"
                      for k, key in enumerate(self.buffers)]  # fmt: skip
        for k, scalar in enumerate(self.scalars):
            parameters += scalar_parameters(scalar, f"%v{k}")
        parameters += [f"ptr %d{k}" for k in range(len(self.late))]
        name = self.emitter.device.fresh(self.name) if self._count else self.name
        self._count += 1
        self.kernel = self.emitter.device.kernel(name, [*parameters, *more])
        return self.kernel

    def context(self, work: Kernel | Rows, local: Mapping[str, str] | None = None) -> Context:
        """What the nests of the kernel begun last have in common. `local` says where locals of a
        row nest are, unless each thread has its own."""
        f, memory = self.kernel, self.emitter.memory
        places = {key: f"%p{k}" for k, key in enumerate(self.buffers)}
        for buffer in self.inside if local is None else ():
            places[memory.key(buffer)] = f.reserve(f"[{max(host.bytes_of(buffer), 1)} x i8]", "l")
        places |= local or {}
        return Context(
            f, places, memory, self.registers(), (), self.emitter.contract, frozenset(), None
        )

    def registers(self) -> dict[Value, Register]:
        """The scalars in the kernel begun last."""
        f = self.kernel
        registers: dict[Value, Register] = {}
        for k, scalar in enumerate(self.scalars):
            complex_ = scalar.dtype.kind == "c"
            registers[scalar] = (f"%v{k}.re", f"%v{k}.im") if complex_ else f"%v{k}"
        for k, leaf in enumerate(self.late):
            registers[leaf] = load(f, f"%d{k}", leaf.dtype)
        lowering = ScalarLowering(f, registers, self.emitter.contract)
        for value in self.made:
            lowering.lower(value)
        return registers

    # --- its launch -----------------------------------------------------------------------------
    def most_blocks(self, rounds: int) -> str:
        """So many blocks for each multiprocessor of the device."""
        return self.f.emit(f"mul i64 {host.multiprocessors(self.f)}, {rounds}")

    def launch(
        self, kernel: FunctionBuilder, blocks: str, threads: int, more: Sequence[str] = (),
        shared: str = "0",
    ) -> None:  # fmt: skip
        """Launch a finished kernel; no blocks are no work."""
        number = self.emitter.device.launched(kernel)
        values = [*self.values, *more]
        cells = self.f.record(values)
        table = self.f.reserve(f"[{max(len(values), 1)} x ptr]", "parameters")
        for k in range(len(values)):
            at = self.f.offset(cells, 8 * k) if k else cells
            self.f.do(f"store ptr {at}, ptr {self.f.offset(table, 8 * k)}")
        self.emitter.launch(number, blocks, threads, shared, table)


def buffers_of(work: Kernel | Rows) -> list[Buffer]:
    """The buffers that the work reads or writes, in order of use."""
    used: list[Buffer] = []
    for kernel in work.kernels if isinstance(work, Rows) else (work,):
        used += [load.access.buffer for load in kernel.loads]
        used += [source.view.buffer for source in kernel.sources]
        used += [store.access.buffer for store in kernel.stores]
    return list(dict.fromkeys(used))


def sizes_of(kernels: Sequence[Kernel]) -> list[Value]:
    """The scalars that the host must have, or threads need to find their way."""
    sizes: list[Size] = []
    for kernel in kernels:
        sizes += kernel.extents
        for access in kernel.accesses():
            sizes += [access.offset, *access.strides]
        for source in kernel.sources:
            sizes += [source.view.offset, *source.view.strides]
        for store in kernel.stores:
            sizes += [stride for _, stride in store.indices]
            sizes += store.places or ()
    return [s for s in sizes if isinstance(s, Value)]
