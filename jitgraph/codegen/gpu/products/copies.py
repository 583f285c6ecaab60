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

    def elements(self, dtype: DType, place: str, copied: Sequence[tuple[int, str, str]]) -> None:
        """Copy elements to so many bytes behind a place: (offset, source, whether there is a
        source); else there will be 0."""
        f, size = self.f, dtype.itemsize
        if self.asynchronous:
            sizes = [f.select(exists, "i32", size, 0) for _, _, exists in copied]
            self._copy("ca", size, place, [(offset, source, bytes_) for (offset, source, _), bytes_
                                           in zip(copied, sizes, strict=True)])  # fmt: skip
            return
        type_ = register_type(dtype)
        loaded = []
        for _, source, exists in copied:
            before = f.current
            with f.if_then(exists):
                value = f.emit(f"load {type_}, ptr {source}")
                inside = f.current
            loaded.append(f.phi(type_, [("0.0", before), (value, inside)]))
        start = f.offset(self.memory, place)
        for (offset, _, _), value in zip(copied, loaded, strict=True):
            f.do(f"store {type_} {value}, ptr {f.offset(start, offset)}")

    def vectors(self, place: str, copied: Sequence[tuple[int, str, str]]) -> None:
        """Copy 16 bytes each, of which so many (an i32) are read and the others are 0."""
        self._copy("cg", _VECTOR, place, copied)

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

    def _copy(
        self, kind: str, width: int, place: str, copied: Sequence[tuple[int, str, str]]
    ) -> None:
        f = self.f
        name = f"{_ASYNC}.{kind}.shared.global.{width}.s"
        f.module.declare(f"declare void {name}(ptr addrspace(3), ptr addrspace(1), i32)")
        start = f.offset(self.memory, place)
        start = f.emit(f"addrspacecast ptr {start} to ptr addrspace(3)")
        for offset, source, size in copied:
            to = start
            if offset:
                to = f.emit(f"getelementptr i8, ptr addrspace(3) {start}, i64 {offset}")
            there = f.emit(f"addrspacecast ptr {source} to ptr addrspace(1)")
            f.do(f"call void {name}(ptr addrspace(3) {to}, ptr addrspace(1) {there}, i32 {size})")


def asynchronous(target: Target) -> bool:
    """Whether a GPU has asynchronous copies. (Those with these also multiply tf32 and bf16.)"""
    number = re.search(r"\d+", target.cpu)
    return number is not None and int(number[0]) >= _SINCE
