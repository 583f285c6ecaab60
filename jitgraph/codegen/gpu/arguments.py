"""A kernel's parameters, and the host code that launches it with their values.

Pointers come first, by the key of their memory, then the program's scalars. A scalar that was
computed on the device and never left it (`late`) is a pointer too: the kernel reads it where it is,
and computes what the program makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from jitgraph.codegen.gpu import host
from jitgraph.codegen.gpu.module import THREADS
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Context, scalar_parameters
from jitgraph.codegen.registers import Register, load, register_type
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.ir.kernel import Buffer, Call, Kernel, Product, Rows, View
from jitgraph.ir.opdef import Size
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: What kernels are made for.
Threaded: TypeAlias = Kernel | Rows | Product | Call


class Arguments:
    """What the kernels made for a step of work take. Each kernel is begun (`begin`), written,
    and launched (`launch`); all of a step take the same arguments, and such as they add."""

    def __init__(self, emitter: OnDevice, work: Threaded, name: str) -> None:
        self.emitter, self.f = emitter, emitter.f
        self.work, self.name = work, name
        memory = emitter.memory
        own = set(work.locals) if isinstance(work, Rows) else set()
        self.buffers = {memory.key(b): b for b in buffers_of(work) if b not in own}
        #: What lies behind the other pointers stays as it is, so reading it may be reordered.
        self.written = {memory.key(b) for b in work.writes()}
        captured = {v for k in kernels_of(work) for v in k.captured}
        sizes = set(sizes_of(work))
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
        self._begun = False

    # --- a kernel -------------------------------------------------------------------------------
    def begin(
        self, sizes: Sequence[Size] = (), more: Sequence[str] = (), threads: int = THREADS,
        resident: int = 0,
    ) -> FunctionBuilder:
        """Begin a kernel; `more` are parameters beyond those of all kernels of the step."""
        parameters = [f"ptr noalias {'' if key in self.written else 'readonly '}%p{k}"
                      for k, key in enumerate(self.buffers)]  # fmt: skip
        for k, scalar in enumerate(self.scalars):
            parameters += scalar_parameters(scalar, f"%v{k}")
        parameters += [f"ptr %d{k}" for k in range(len(self.late))]
        name = self.emitter.device.fresh(self.name) if self._begun else self.name
        self._begun = True
        self.kernel = self.emitter.device.kernel(name, [*parameters, *more], threads, resident)
        return self.kernel

    def context(self, work: Threaded, local: Mapping[str, str] | None = None) -> Context:
        """What the nests of the kernel begun last have in common. `local` says where memory of its
        own is, by key."""
        f, memory = self.kernel, self.emitter.memory
        places = {key: f"%p{k}" for k, key in enumerate(self.buffers)} | dict(local or {})
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
        self, kernel: FunctionBuilder, blocks: str, threads: int | str, more: Sequence[str] = (),
        shared: str = "0",
    ) -> None:  # fmt: skip
        """Launch a finished kernel; no blocks are no work. `threads` is a number or an i32."""
        number = self.emitter.device.launched(kernel)
        values = [*self.values, *more]
        cells = self.f.record(values)
        table = self.f.reserve(f"[{max(len(values), 1)} x ptr]", "parameters")
        for k in range(len(values)):
            at = self.f.offset(cells, 8 * k) if k else cells
            self.f.do(f"store ptr {at}, ptr {self.f.offset(table, 8 * k)}")
        self.emitter.launch(number, blocks, threads, shared, table)


def kernels_of(work: Threaded) -> Sequence[Kernel]:
    """The loop nests of the work."""
    match work:
        case Kernel():
            return (work,)
        case Rows():
            return work.kernels
        case Product():
            return () if work.epilogue is None else (work.epilogue.kernel,)
    return ()


def buffers_of(work: Threaded) -> list[Buffer]:
    """The buffers that the work reads or writes, in order of use."""
    used = [view.buffer for view in _views(work)]
    for kernel in kernels_of(work):
        used += [load.access.buffer for load in kernel.loads]
        used += [source.view.buffer for source in kernel.sources]
        used += [store.access.buffer for store in kernel.stores]
    return list(dict.fromkeys(used))


def _views(work: Threaded) -> Sequence[View]:
    """What the work takes whole."""
    match work:
        case Product():
            return (work.left, work.right, work.out)
        case Call():
            return (*work.inputs, *work.outputs)
    return ()


def sizes_of(work: Threaded) -> list[Value]:
    """The scalars that the host must have, or threads need to find their way."""
    sizes: list[Size] = []
    for view in _views(work):
        sizes += [view.offset, *view.strides]
    if isinstance(work, Product):
        sizes += [*work.batch, work.rows, work.columns, work.inner]
    elif isinstance(work, Call):
        sizes += [*work.batch, *work.core, work.choice]
    for kernel in kernels_of(work):
        sizes += kernel.extents
        for access in kernel.accesses():
            sizes += [access.offset, *access.strides]
        for source in kernel.sources:
            sizes += [source.view.offset, *source.view.strides]
        for store in kernel.stores:
            sizes += [stride for _, stride in store.indices]
            sizes += store.places or ()
    return [s for s in sizes if isinstance(s, Value)]
