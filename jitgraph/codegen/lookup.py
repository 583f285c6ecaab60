"""Elements of short tables at computed places, for all lanes at once.

AVX-512 permutes one or two registers by the low bits of an index, in one instruction: a table of
16 or 32 f32, 8 or 16 f64 costs no more than an addition. Elsewhere the elements are gathered from
memory.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from jitgraph.codegen.llvm import FunctionBuilder

_REGISTER_BYTES = 64
_PERMUTES = {4: ("permvar.sf.512", "vpermi2var.ps.512"), 8: ("permvar.df.512", "vpermi2var.pd.512")}


def look_up(f: FunctionBuilder, index: str, values: npt.NDArray[Any], lanes: int) -> str:
    """`values[index % len(values)]` for a power of two of f32 or f64 values and an index of
    integers as wide as they are."""
    width = values.itemsize
    type_, integer = ("float", "i32") if width == 4 else ("double", "i64")
    table = _Table(f, type_, integer, values)
    whole = _REGISTER_BYTES // width
    if lanes == 1:
        return table.load(index)
    fits = len(values) in (whole, 2 * whole)
    if f.module.target.vector_bytes != _REGISTER_BYTES or not fits:
        return table.gather(index, lanes)
    if lanes == whole:
        return table.permute(index)
    parts = max(lanes // whole, 1)
    found = [table.permute(_lanes_of(f, integer, index, lanes, k * whole, whole))
             for k in range(parts)]  # fmt: skip
    if parts == 1:
        return _lanes_of(f, type_, found[0], whole, 0, lanes)
    while len(found) > 1:
        found = [_joined(f, type_, low, high, lanes // len(found))
                 for low, high in zip(found[::2], found[1::2], strict=True)]  # fmt: skip
    return found[0]


class _Table:
    def __init__(
        self, f: FunctionBuilder, type_: str, integer: str, values: npt.NDArray[Any]
    ) -> None:
        self.f, self.type, self.integer, self.count = f, type_, integer, len(values)
        self.elements = [
            f"{type_} 0x{int(bits):016X}" for bits in values.astype(np.float64).view(np.uint64)
        ]
        self.name = f"@table.{zlib.crc32(values.tobytes()):08x}"

    def _global(self) -> str:
        elements = ", ".join(self.elements)
        self.f.module.declare(
            f"{self.name} = internal constant [{self.count} x {self.type}] [{elements}]"
        )
        return self.name

    def load(self, index: str) -> str:
        place = self.f.emit(f"and {self.integer} {index}, {self.count - 1}")
        at = self.f.emit(f"getelementptr {self.type}, ptr {self._global()}, {self.integer} {place}")
        return self.f.emit(f"load {self.type}, ptr {at}")

    def gather(self, index: str, lanes: int) -> str:
        f, integers, vector = self.f, f"<{lanes} x {self.integer}>", f"<{lanes} x {self.type}>"
        last = f"splat ({self.integer} {self.count - 1})"
        places = f.emit(f"and {integers} {index}, {last}")
        pointers = f.emit(
            f"getelementptr {self.type}, ptr {self._global()}, {integers} {places}"
        )
        name = f"@llvm.masked.gather.v{lanes}f{self.integer[1:]}.v{lanes}p0"
        f.module.declare(f"declare {vector} {name}(<{lanes} x ptr>, i32, <{lanes} x i1>, {vector})")
        return f.emit(
            f"call {vector} {name}(<{lanes} x ptr> {pointers}, i32 {int(self.integer[1:]) // 8}, "
            f"<{lanes} x i1> splat (i1 true), {vector} zeroinitializer)"
        )

    def permute(self, index: str) -> str:
        """Of a whole register of indices."""
        width = int(self.integer[1:]) // 8
        lanes = _REGISTER_BYTES // width
        vector, integers = f"<{lanes} x {self.type}>", f"<{lanes} x {self.integer}>"
        halves = [
            f"{vector} <{', '.join(self.elements[k : k + lanes])}>"
            for k in range(0, self.count, lanes)
        ]
        name = f"@llvm.x86.avx512.{_PERMUTES[width][len(halves) - 1]}"
        second = "".join(f", {vector}" for _ in halves[1:])
        self.f.module.declare(f"declare {vector} {name}({vector}, {integers}{second})")
        operands = ", ".join([halves[0], f"{integers} {index}", *halves[1:]])
        return self.f.emit(f"call {vector} {name}({operands})")


def _lanes_of(
    f: FunctionBuilder, type_: str, register: str, lanes: int, first: int, count: int
) -> str:
    """`count` lanes from `first` on; those that are not there are poison."""
    vector = f"<{lanes} x {type_}>"
    order = ", ".join(f"i32 {k}" if k < lanes else "i32 poison"
                      for k in range(first, first + count))  # fmt: skip
    return f.emit(
        f"shufflevector {vector} {register}, {vector} poison, <{count} x i32> <{order}>"
    )


def _joined(f: FunctionBuilder, type_: str, low: str, high: str, lanes: int) -> str:
    vector = f"<{lanes} x {type_}>"
    order = ", ".join(f"i32 {k}" for k in range(2 * lanes))
    return f.emit(
        f"shufflevector {vector} {low}, {vector} {high}, <{2 * lanes} x i32> <{order}>"
    )
