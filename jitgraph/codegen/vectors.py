"""Loads and stores of vectors: `lanes` neighbours along the innermost loop at once.

| step between neighbours | load | store |
|---|---|---|
| 0 | one element in every lane | (reductions only) |
| the element size | a vector | a vector |
| minus the element size | a vector, reversed | the same |
| any other, or only known at run time | gather | scatter |

With a mask only the lanes in it touch memory; the others load zeros. Complex numbers are a vector
of real and one of imaginary parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitgraph.codegen.expansions import part_dtype
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.registers import (
    Register,
    load,
    memory_type,
    packed,
    splat,
    unpacked,
    vector_of,
)
from jitgraph.ir.opdef import Size
from jitgraph.ir.types import BOOL, DTYPE_NAMES, DType, is_bfloat16


@dataclass(frozen=True, slots=True)
class Lanes:
    """Vectors of `count` elements, of which `mask` (an i1 vector, or None for all) are meant."""

    f: FunctionBuilder
    count: int
    mask: str | None = None

    def spread(self, register: Register, types: list[str]) -> Register:
        """A scalar register in every lane."""
        if isinstance(register, str):
            return self._spread(register, types[0])
        re, im = (self._spread(r, t) for r, t in zip(register, types, strict=True))
        return re, im

    def _spread(self, register: str, type_: str) -> str:
        if self.count == 1:
            return register
        if not register.startswith("%"):
            return splat(type_, register, self.count)
        vector = vector_of(type_, self.count)
        one = self.f.emit(f"insertelement {vector} poison, {type_} {register}, i64 0")
        zeros = f"<{self.count} x i32> zeroinitializer"
        return self.f.emit(f"shufflevector {vector} {one}, {vector} poison, {zeros}")

    def steps(self, stride: str) -> str:
        """Byte offsets of the lanes: 0, stride, 2 * stride, ..."""
        vector = vector_of("i64", self.count)
        return self.f.emit(f"mul {vector} {self.numbers('i64')}, {self._spread(stride, 'i64')}")

    def numbers(self, type_: str) -> str:
        """0, 1, 2, ... as a constant."""
        return "<" + ", ".join(f"{type_} {k}" for k in range(self.count)) + ">"

    # --- memory ---------------------------------------------------------------------------------
    def load(self, pointer: str, dtype: DType, stride: Size, steps: str | None) -> Register:
        """Elements from `pointer` on; `steps` are the lanes' offsets where `stride` is not one of
        those that need none."""
        parts = dtype.kind == "c"
        if self.count == 1:
            return load(self.f, pointer, dtype)
        if stride == dtype.itemsize and not (parts and self.mask):
            return self._load_pairs(pointer, dtype) if parts else self._near(pointer, dtype)
        if stride == -dtype.itemsize and not parts and not self.mask:
            return self._unpacked(self._reversed(self._raw(self._first(pointer, dtype), dtype),
                                                dtype), dtype)  # fmt: skip
        assert steps is not None
        pointers = self.pointers(pointer, steps)
        return self.gather(pointers, dtype)

    def pointers(self, pointer: str, offsets: str) -> str:
        """A pointer per lane."""
        vector = vector_of("i64", self.count)
        return self.f.emit(f"getelementptr i8, ptr {pointer}, {vector} {offsets}", "at")

    def gather(self, pointers: str, dtype: DType) -> Register:
        """The elements at a vector of pointers."""
        first = self._gather(pointers, dtype)
        if dtype.kind != "c":
            return self._unpacked(first, dtype)
        return first, self._gather(self._second(pointers, dtype), dtype)

    def store(
        self, register: Register, pointer: str, dtype: DType, stride: Size, steps: str | None,
        suffix: str = "",
    ) -> None:  # fmt: skip
        """Elements to `pointer` and on. With a `suffix` for the instruction the address must be
        that of an aligned vector."""
        if isinstance(register, tuple):
            if stride == dtype.itemsize and not self.mask:
                self._store_pairs(register, pointer, dtype)
                return
            assert steps is not None
            pointers = self.pointers(pointer, steps)
            self._scatter(register[0], pointers, dtype)
            self._scatter(register[1], self._second(pointers, dtype), dtype)
            return
        register = packed(self.f.emit, register, dtype, self.count)
        if stride == dtype.itemsize:
            self._store_near(register, pointer, dtype, suffix)
        elif stride == -dtype.itemsize and not self.mask:
            self._store_near(self._reversed(register, dtype), self._first(pointer, dtype), dtype)
        else:
            assert steps is not None
            self._scatter(register, self.pointers(pointer, steps), dtype)

    # --- pieces ---------------------------------------------------------------------------------
    def _unpacked(self, raw: str, dtype: DType) -> str:
        return unpacked(self.f.emit, raw, dtype, self.count)

    def _vector(self, dtype: DType) -> str:
        return vector_of(memory_type(dtype), self.count)

    def _align(self, dtype: DType) -> int:
        return part_dtype(dtype).itemsize

    def _raw(self, pointer: str, dtype: DType) -> str:
        return self.f.emit(f"load {self._vector(dtype)}, ptr {pointer}, align {self._align(dtype)}")

    def _near(self, pointer: str, dtype: DType) -> str:
        if self.mask is None:
            return self._unpacked(self._raw(pointer, dtype), dtype)
        vector, bits = self._vector(dtype), vector_of("i1", self.count)
        name = f"@llvm.masked.load.v{self.count}{_name(dtype)}.p0"
        self.f.module.declare(f"declare {vector} {name}(ptr, i32, {bits}, {vector})")
        loaded = self.f.emit(
            f"call {vector} {name}(ptr {pointer}, i32 {self._align(dtype)}, {bits} {self.mask}, "
            f"{vector} zeroinitializer)"
        )
        return self._unpacked(loaded, dtype)

    def _store_near(self, register: str, pointer: str, dtype: DType, suffix: str = "") -> None:
        vector, bits = self._vector(dtype), vector_of("i1", self.count)
        align = self._align(dtype)
        if self.mask is None:
            if suffix:  # what goes past the caches is whole aligned vectors
                align = self.count * dtype.itemsize
            self.f.do(f"store {vector} {register}, ptr {pointer}, align {align}{suffix}")
            return
        name = f"@llvm.masked.store.v{self.count}{_name(dtype)}.p0"
        self.f.module.declare(f"declare void {name}({vector}, ptr, i32, {bits})")
        self.f.do(
            f"call void {name}({vector} {register}, ptr {pointer}, i32 {align}, {bits} {self.mask})"
        )

    def _gather(self, pointers: str, dtype: DType) -> str:
        vector, bits = self._vector(dtype), vector_of("i1", self.count)
        several = vector_of("ptr", self.count)
        name = f"@llvm.masked.gather.v{self.count}{_name(dtype)}.v{self.count}p0"
        self.f.module.declare(f"declare {vector} {name}({several}, i32, {bits}, {vector})")
        return self.f.emit(
            f"call {vector} {name}({several} {pointers}, i32 {self._align(dtype)}, "
            f"{bits} {self._meant()}, {vector} zeroinitializer)"
        )

    def _scatter(self, register: str, pointers: str, dtype: DType) -> None:
        vector, bits = self._vector(dtype), vector_of("i1", self.count)
        several = vector_of("ptr", self.count)
        name = f"@llvm.masked.scatter.v{self.count}{_name(dtype)}.v{self.count}p0"
        self.f.module.declare(f"declare void {name}({vector}, {several}, i32, {bits})")
        self.f.do(
            f"call void {name}({vector} {register}, {several} {pointers}, "
            f"i32 {self._align(dtype)}, {bits} {self._meant()})"
        )

    def _meant(self) -> str:
        return self.mask or splat("i1", "true", self.count)

    def _second(self, pointers: str, dtype: DType) -> str:
        """Pointers to the imaginary parts."""
        several = vector_of("ptr", self.count)
        return self.f.emit(f"getelementptr i8, {several} {pointers}, i64 {dtype.itemsize // 2}")

    def _first(self, pointer: str, dtype: DType) -> str:
        """Where a vector that ends at `pointer` begins."""
        return self.f.offset(pointer, -(self.count - 1) * dtype.itemsize)

    def _reversed(self, register: str, dtype: DType) -> str:
        backwards = ", ".join(f"i32 {k}" for k in reversed(range(self.count)))
        return self._shuffled(register, self._vector(dtype), backwards, self.count)

    def _shuffled(self, register: str, vector: str, order: str, count: int) -> str:
        return self.f.emit(
            f"shufflevector {vector} {register}, {vector} poison, <{count} x i32> <{order}>"
        )

    def _load_pairs(self, pointer: str, dtype: DType) -> Register:
        pairs = vector_of(memory_type(dtype), 2 * self.count)
        both = self.f.emit(f"load {pairs}, ptr {pointer}, align {self._align(dtype)}")
        re, im = (
            self._shuffled(both, pairs, ", ".join(f"i32 {2 * k + part}" for k in
                                                  range(self.count)), self.count)
            for part in (0, 1)
        )  # fmt: skip
        return re, im

    def _store_pairs(self, register: tuple[str, str], pointer: str, dtype: DType) -> None:
        vector, pairs = self._vector(dtype), vector_of(memory_type(dtype), 2 * self.count)
        order = ", ".join(f"i32 {k + part * self.count}" for k in range(self.count)
                          for part in (0, 1))  # fmt: skip
        both = self.f.emit(
            f"shufflevector {vector} {register[0]}, {vector} {register[1]}, "
            f"<{2 * self.count} x i32> <{order}>"
        )
        self.f.do(f"store {pairs} {both}, ptr {pointer}, align {self._align(dtype)}")


def needs_steps(dtype: DType, stride: Size, masked: bool) -> bool:
    """Whether lanes of this stride are reached by pointers of their own."""
    if isinstance(stride, int) and stride == 0:
        return False
    unit = isinstance(stride, int) and abs(stride) == dtype.itemsize
    if not unit or (dtype.kind == "c" and (masked or stride != dtype.itemsize)):
        return True
    return masked and stride != dtype.itemsize


def _name(dtype: DType) -> str:
    """The element type in names of intrinsics."""
    if is_bfloat16(dtype):
        return "i16"
    return "i8" if dtype == BOOL else DTYPE_NAMES[part_dtype(dtype)].replace("u", "i")
