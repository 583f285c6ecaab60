"""Copies from global to shared memory that go on while a thread computes.

They are the GPU's own asynchronous ones, which can write zeros where there is nothing to read;
before sm_80, which has none, threads load and store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.registers import register_type
from jitgraph.codegen.target import Target
from jitgraph.ir.types import DType

_ASYNC = "@llvm.nvvm.cp.async"
#: The first architecture that has them.
_SINCE = 80
_VECTOR = 16


class Copies:
    """The copies of one kernel to its shared memory. Places are offsets there (i64)."""

    def __init__(self, f: FunctionBuilder, memory: str) -> None:
        self.f, self.memory = f, memory
        self.asynchronous = asynchronous(f.module.target)

    def elements(self, dtype: DType, copied: Sequence[tuple[str, str, str]]) -> None:
        """Copy elements: (place, source, whether there is a source); else there will be 0."""
        if self.asynchronous:
            for place, source, exists in copied:
                size = self.f.select(exists, "i32", dtype.itemsize, 0)
                self._copy("ca", dtype.itemsize, place, source, size)
            return
        f, type_ = self.f, register_type(dtype)
        loaded = []
        for _, source, exists in copied:
            before = f.current
            with f.if_then(exists):
                value = f.emit(f"load {type_}, ptr {source}")
                inside = f.current
            loaded.append(f.phi(type_, [("0.0", before), (value, inside)]))
        for (place, _, _), value in zip(copied, loaded, strict=True):
            f.do(f"store {type_} {value}, ptr {self._place(place)}")

    def vector(self, place: str, source: str, size: str) -> None:
        """Copy 16 bytes, of which `size` (an i32) are read and the others are 0."""
        self._copy("cg", _VECTOR, place, source, size)

    def commit(self) -> None:
        """What was copied since the last time is a group."""
        self._call("commit.group", "")

    def wait(self, groups: int) -> None:
        """Until no more than so many groups of the thread's own copies are under way."""
        self._call("wait.group", f"i32 {groups}")

    def _call(self, name: str, arguments: str) -> None:
        if self.asynchronous:
            types = arguments.split(" ")[0]
            self.f.module.declare(f"declare void {_ASYNC}.{name}({types})")
            self.f.do(f"call void {_ASYNC}.{name}({arguments})")

    def _copy(self, kind: str, width: int, place: str, source: str, size: str) -> None:
        f = self.f
        name = f"{_ASYNC}.{kind}.shared.global.{width}.s"
        f.module.declare(f"declare void {name}(ptr addrspace(3), ptr addrspace(1), i32)")
        to = f.emit(f"addrspacecast ptr {self._place(place)} to ptr addrspace(3)")
        start = f.emit(f"addrspacecast ptr {source} to ptr addrspace(1)")
        f.do(f"call void {name}(ptr addrspace(3) {to}, ptr addrspace(1) {start}, i32 {size})")

    def _place(self, place: str) -> str:
        return self.f.offset(self.memory, place)


def asynchronous(target: Target) -> bool:
    """Whether a GPU has asynchronous copies. (Those with these also multiply tf32 and bf16.)"""
    number = re.search(r"\d+", target.cpu)
    return number is not None and int(number[0]) >= _SINCE
