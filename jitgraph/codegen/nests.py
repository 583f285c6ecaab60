"""A kernel as an LLVM function: canonical loops over running pointers around a scalar body.

Loops are left to LLVM's vectoriser, which does well on them because every buffer is `noalias` and
inner strides are constants where the schedule knows them. A reduction whose loops are innermost
carries its accumulator in a register, with `reassoc` on the combining op alone, so that it
vectorises without giving any other op the right to change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.scalar import (
    Register,
    ScalarLowering,
    constant_register,
    load,
    register_type,
    store,
)
from jitgraph.errors import InternalError
from jitgraph.ir.kernel import ELEMENT, Buffer, Kernel, Rows, Store
from jitgraph.ir.opdef import OPS, Size
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

#: Functions with loops stay functions: inlining them costs compile time and loses `noalias`.
_ATTRIBUTES = "noinline"


@dataclass(frozen=True, slots=True)
class Memory:
    """Which pointer a buffer lies behind: temporaries in one slot share it, and a temporary that
    inherits the memory of a result has the result's."""

    placement: Mapping[Buffer, int]
    inherited: Mapping[Buffer, Buffer]

    def key(self, buffer: Buffer) -> str:
        buffer = self.inherited.get(buffer, buffer)
        slot = self.placement.get(buffer)
        return f"slot{slot}" if slot is not None else f"buffer{buffer.number}"


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """The function of a kernel, and what to pass: pointers by key, then scalars."""

    name: str
    buffers: tuple[Buffer, ...]
    scalars: tuple[Value, ...]


def scalar_parameters(value: Value, name: str) -> list[str]:
    """The LLVM parameters that carry a scalar: two for a complex one."""
    type_ = register_type(value.dtype)
    if value.dtype.kind == "c":
        return [f"{type_} {name}.re", f"{type_} {name}.im"]
    return [f"{type_} {name}"]


def emit_kernel(
    module: Module, kernel: Kernel, name: str, memory: Memory, *, contract: bool
) -> KernelFunction:
    """Add the kernel's function to the module."""
    by_key = {memory.key(b): b for b in sorted(kernel.reads() | kernel.writes(),
                                               key=lambda b: b.number)}  # fmt: skip
    scalars = kernel.scalars()
    parameters = [f"ptr noalias %{key}" for key in by_key]
    for k, scalar in enumerate(scalars):
        parameters += scalar_parameters(scalar, f"%v{k}")
    function = FunctionBuilder(module, name, parameters, internal=True, attributes=_ATTRIBUTES)
    registers: dict[Value, Register] = {}
    for k, scalar in enumerate(scalars):
        complex_ = scalar.dtype.kind == "c"
        registers[scalar] = (f"%v{k}.re", f"%v{k}.im") if complex_ else f"%v{k}"
    _Nest(function, kernel, memory, registers, contract).emit()
    return KernelFunction(function.name, tuple(by_key.values()), tuple(scalars))


def emit_rows(
    module: Module, rows: Rows, name: str, memory: Memory, *, contract: bool
) -> KernelFunction:
    """Add the function of a row nest: loops over the shared extents around all its kernels."""
    touched = rows.reads() | rows.writes() | set(rows.locals)
    by_key = {memory.key(b): b for b in sorted(touched, key=lambda b: b.number)}
    scalars = rows.scalars()
    parameters = [f"ptr noalias %{key}" for key in by_key]
    for k, scalar in enumerate(scalars):
        parameters += scalar_parameters(scalar, f"%v{k}")
    function = FunctionBuilder(module, name, parameters, internal=True, attributes=_ATTRIBUTES)
    registers: dict[Value, Register] = {}
    for k, scalar in enumerate(scalars):
        complex_ = scalar.dtype.kind == "c"
        registers[scalar] = (f"%v{k}.re", f"%v{k}.im") if complex_ else f"%v{k}"
    nests = [_Nest(function, k, memory, registers, contract) for k in rows.kernels]
    _share(function, nests, rows, 0, [nest.start() for nest in nests])
    function.do("ret void")
    return KernelFunction(function.name, tuple(by_key.values()), tuple(scalars))


def _share(
    f: FunctionBuilder, nests: list[_Nest], rows: Rows, level: int, pointers: list[list[str]]
) -> None:
    if level == rows.depth:
        for nest, at in zip(nests, pointers, strict=True):
            nest._level(level, at, {})
        return
    with f.loop(0, nests[0].size(rows.shared[level]), name=f"r{level}") as loop:
        inner = []
        for nest, at in zip(nests, pointers, strict=True):
            nest.indices.append(loop.index)
            inner.append([nest._along(p, a.strides[level], loop.index)
                          for p, a in zip(at, nest.accesses, strict=True)])  # fmt: skip
        _share(f, nests, rows, level + 1, inner)
        for nest in nests:
            nest.indices.pop()


class _Nest:
    def __init__(
        self,
        function: FunctionBuilder,
        kernel: Kernel,
        memory: Memory,
        registers: dict[Value, Register],
        contract: bool,
    ) -> None:
        self.f = function
        self.kernel = kernel
        self.memory = memory
        self.registers = registers
        self.contract = contract
        self.accesses = kernel.accesses()
        self.carried = [s for s in kernel.stores if s.in_register]
        self.indices: list[str] = []

    def emit(self) -> None:
        self._level(0, self.start(), {})
        self.f.do("ret void")

    def start(self) -> list[str]:
        return [
            self._moved(f"%{self.memory.key(a.buffer)}", self.size(a.offset)) for a in self.accesses
        ]

    def size(self, size: Size) -> str:
        if isinstance(size, int):
            return str(size)
        register = self.registers[size]
        assert isinstance(register, str)
        return register

    def _moved(self, pointer: str, offset: str) -> str:
        return pointer if offset == "0" else self.f.offset(pointer, offset)

    # --- loops ----------------------------------------------------------------------------------
    def _level(
        self, depth: int, pointers: list[str], carried: dict[int, list[str]]
    ) -> dict[int, list[str]]:
        """Emit the loops from `depth` inwards. `carried` are the accumulators alive here."""
        rank = len(self.kernel.extents)
        begun = [k for k, s in enumerate(self.carried) if rank - len(s.reduced) == depth]
        carried = {**carried, **{k: self._identity(self.carried[k]) for k in begun}}
        if depth == rank:
            carried = self._body(pointers, carried)
        else:
            carried = self._loop(depth, pointers, carried)
        for k in begun:
            self._finish(self.carried[k], pointers, carried.pop(k))
        return carried

    def _loop(
        self, depth: int, pointers: list[str], carried: dict[int, list[str]]
    ) -> dict[int, list[str]]:
        extent = self.size(self.kernel.extents[depth])
        initial = [
            (type_, register)
            for k, registers in carried.items()
            for type_, register in zip(self._types(self.carried[k]), registers, strict=True)
        ]
        with self.f.loop(0, extent, name=f"i{depth}", accumulators=initial) as loop:
            self.indices.append(loop.index)
            inner = [
                self._along(p, a.strides[depth], loop.index)
                for p, a in zip(pointers, self.accesses, strict=True)
            ]
            after = self._level(depth + 1, inner, self._dealt(carried, loop.carried))
            loop.carry(*(r for registers in after.values() for r in registers))
            self.indices.pop()
        return self._dealt(carried, loop.results)

    @staticmethod
    def _dealt(carried: dict[int, list[str]], flat: Sequence[str]) -> dict[int, list[str]]:
        rest = iter(flat)
        return {k: [next(rest) for _ in registers] for k, registers in carried.items()}

    def _along(self, pointer: str, stride: Size, index: str) -> str:
        if isinstance(stride, int) and stride == 0:
            return pointer
        offset = self.f.emit(f"mul nsw i64 {index}, {self.size(stride)}")
        return self.f.offset(pointer, offset)

    # --- the body -------------------------------------------------------------------------------
    def _body(self, pointers: list[str], carried: dict[int, list[str]]) -> dict[int, list[str]]:
        bindings: dict[Value, Register] = dict(self.registers)
        bindings.update(zip(self.kernel.iterators, self.indices, strict=True))
        for item, pointer in zip(self.kernel.loads, pointers, strict=False):
            bindings[item.leaf] = load(self.f, pointer, item.leaf.dtype)
        lowering = ScalarLowering(self.f, bindings, self.contract)
        for value in self.kernel.body():
            if value.op is not None and value.op.definition is ELEMENT:
                bindings[value] = self._element(value, lowering)
        first = len(self.kernel.loads)
        after = dict(carried)
        for store_, pointer in zip(self.kernel.stores, pointers[first:], strict=True):
            self._store(store_, pointer, lowering, after)
        return after

    def _element(self, value: Value, lowering: ScalarLowering) -> Register:
        assert value.op is not None
        handle, *indices = value.op.args
        view = next(s.view for s in self.kernel.sources if s.handle is handle)
        pointer = self._moved(f"%{self.memory.key(view.buffer)}", self.size(view.offset))
        for index, stride in zip(indices, view.strides, strict=True):
            pointer = self._along(pointer, stride, _single(lowering.lower(index)))
        return load(self.f, pointer, value.dtype)

    def _store(
        self,
        store_: Store,
        pointer: str,
        lowering: ScalarLowering,
        carried: dict[int, list[str]],
    ) -> None:
        value = lowering.lower(store_.value)
        dtype = store_.value.dtype
        if store_.in_register:
            k = self.carried.index(store_)
            carried[k] = self._combined(store_, carried[k], value)
            return
        for index, stride in store_.indices:
            pointer = self._along(pointer, stride, _single(lowering.lower(index)))
        if store_.combine is not None:
            before = load(self.f, pointer, dtype)
            value = _register(self._combined(store_, _parts(before), value))
        store(self.f, value, pointer, store_.access.buffer.dtype)

    # --- reductions -----------------------------------------------------------------------------
    def _types(self, store_: Store) -> list[str]:
        dtype = store_.value.dtype
        return [register_type(dtype)] * (2 if dtype.kind == "c" else 1)

    def _identity(self, store_: Store) -> list[str]:
        dtype = store_.value.dtype
        definition = _reduction_by(store_.combine)
        return _parts(constant_register(dtype.type(definition.identity(dtype))))

    def _finish(self, store_: Store, pointers: list[str], registers: list[str]) -> None:
        pointer = pointers[len(self.kernel.loads) + self.kernel.stores.index(store_)]
        store(self.f, _register(registers), pointer, store_.value.dtype)

    def _combined(
        self, store_: Store, before: list[str], value: Register
    ) -> list[str]:
        dtype = store_.value.dtype
        assert store_.combine is not None
        return [
            self._combine(store_.combine, dtype, a, b)
            for a, b in zip(before, _parts(value), strict=True)
        ]

    def _combine(self, combine: str, dtype: DType, a: str, b: str) -> str:
        type_ = register_type(dtype)
        kind = "f" if dtype.kind == "c" else dtype.kind
        match combine, kind:
            case ("add" | "multiply"), "f":
                flags = "reassoc contract" if self.contract else "reassoc"
                return self.f.emit(f"f{combine[:3]} {flags} {type_} {a}, {b}")
            case ("add" | "multiply"), _:
                return self.f.emit(f"{combine[:3]} {type_} {a}, {b}")
            case ("maximum" | "minimum"), "f":
                name = f"@llvm.{combine}.{_suffix(dtype)}"
                return self.f.intrinsic(type_, name, f"{type_} {a}", f"{type_} {b}")
            case ("maximum" | "minimum"), "b":
                return self.f.emit(f"{'or' if combine == 'maximum' else 'and'} i1 {a}, {b}")
            case ("maximum" | "minimum"), _:
                name = ("s" if kind == "i" else "u") + combine[:3]
                return self.f.intrinsic(
                    type_, f"@llvm.{name}.{type_}", f"{type_} {a}", f"{type_} {b}"
                )
            case ("logical_or" | "logical_and"), _:
                return self.f.emit(f"{combine.removeprefix('logical_')} i1 {a}, {b}")
        raise InternalError(f"no reduction by {combine} of {dtype}")


def _suffix(dtype: DType) -> str:
    return {"half": "f16", "float": "f32", "double": "f64"}[register_type(dtype)]


def _reduction_by(combine: str | None) -> Reduction:
    for definition in OPS.values():
        if isinstance(definition, Reduction) and definition.combine == combine:
            return definition
    raise InternalError(f"no reduction combines by {combine}")


def _parts(register: Register) -> list[str]:
    return [register] if isinstance(register, str) else list(register)


def _register(parts: Sequence[str]) -> Register:
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _single(register: Register) -> str:
    assert isinstance(register, str)
    return register
