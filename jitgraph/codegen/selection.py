"""Elements chosen by a mask: a library of loops that write them side by side.

    void @compress_8(ptr x, ptr mask, i64 n, i64 count, ptr out)    elements of 8 bytes
    void @positions(ptr mask, i64 n, i64 count, ptr out)    their indices

Arrays are in C order; `count` is how many bytes of the mask are not zero, which bounds what is
written. Where vectors can be compressed in registers (AVX-512), whole ones are.
"""

from __future__ import annotations

from functools import cache

from jitgraph.codegen.llvm import Compiled, FunctionBuilder, Loop, Module
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.target import Target

#: Sizes of elements, in bytes.
ITEMSIZES = (1, 2, 4, 8, 16)
_LANES = 8


@cache
def selection_library(target: Target) -> Compiled:
    """The library for a target."""
    return cached_library("selection", lambda: _text(target), target, passes="explicit")


def _text(target: Target) -> str:
    module = Module(target)
    for itemsize in ITEMSIZES:
        _Selection(module, itemsize).emit()
    _Selection(module, None).emit()
    return module.text()


class _Selection:
    """Writes one function; without an item size that of the positions."""

    def __init__(self, module: Module, itemsize: int | None) -> None:
        self.itemsize = itemsize or 8
        self.type = f"i{8 * self.itemsize}"
        self.places = itemsize is None
        source = [] if self.places else ["ptr %x"]
        name = "positions" if self.places else f"compress_{itemsize}"
        self.f = FunctionBuilder(
            module, name, [*source, "ptr %mask", "i64 %n", "i64 %count", "ptr %out"],
            passes="explicit",
        )  # fmt: skip
        wide = "avx512" in module.target.features and module.target.vector_bytes == 64
        self.vectors = wide and self.itemsize in (4, 8)

    def emit(self) -> None:
        f = self.f
        self.start = f.emit("alloca i64")
        self.written = f.emit("alloca i64")
        for cell in (self.start, self.written):
            f.do(f"store i64 0, ptr {cell}")
        if self.vectors:
            self._by_vectors()
        self._one_by_one()
        f.do("ret void")

    def _by_vectors(self) -> None:
        f, lanes = self.f, _LANES
        vector, bits = f"<{lanes} x {self.type}>", f"<{lanes} x i1>"
        whole = f.emit(f"and i64 %n, {-lanes}")
        f.do(f"store i64 {whole}, ptr {self.start}")
        store = f"@llvm.masked.compressstore.v{lanes}{self.type}"
        f.module.declare(f"declare void {store}({vector}, ptr, {bits})")
        with f.loop(0, whole, lanes, accumulators=[("i64", "0")]) as i:
            (k,) = i.carried
            flags = f.emit(f"load <{lanes} x i8>, ptr {f.offset('%mask', str(i))}, align 1")
            chosen = f.emit(f"icmp ne <{lanes} x i8> {flags}, zeroinitializer")
            values = self._vector(i, vector)
            out = self._at("%out", k)
            f.do(f"call void {store}({vector} {values}, ptr {out}, {bits} {chosen})")
            byte = f.emit(f"bitcast {bits} {chosen} to i{lanes}")
            many = f.intrinsic(f"i{lanes}", f"@llvm.ctpop.i{lanes}", f"i{lanes} {byte}")
            i.carry(f.emit(f"add i64 {k}, {f.emit(f'zext i{lanes} {many} to i64')}"))
        f.do(f"store i64 {i.results[0]}, ptr {self.written}")

    def _vector(self, i: Loop, vector: str) -> str:
        f = self.f
        if not self.places:
            return f.emit(f"load {vector}, ptr {self._at('%x', str(i))}, align {self.itemsize}")
        first = f.emit(f"insertelement {vector} poison, i64 {i}, i64 0")
        same = f.emit(f"shufflevector {vector} {first}, {vector} poison, "
                      f"<{_LANES} x i32> zeroinitializer")  # fmt: skip
        steps = ", ".join(f"i64 {k}" for k in range(_LANES))
        return f.emit(f"add {vector} {same}, <{steps}>")

    def _at(self, base: str, index: str) -> str:
        return self.f.emit(f"getelementptr {self.type}, ptr {base}, i64 {index}", "p")

    def _one_by_one(self) -> None:
        """Every element is written where the next chosen one goes, which moves on if it is one."""
        f = self.f
        test, body, done = f.label("test"), f.label("body"), f.label("done")
        start = f.emit(f"load i64, ptr {self.start}")
        written = f.emit(f"load i64, ptr {self.written}")
        before = f.current
        i_next, k_next = f.fresh("i"), f.fresh("k")
        f.block(test)
        i = f.phi("i64", [(start, before), (i_next, body)])
        k = f.phi("i64", [(written, before), (k_next, body)])
        inside = f.emit(f"icmp slt i64 {i}, %n")
        room = f.emit(f"icmp slt i64 {k}, %count")
        f.branch_if(f.emit(f"and i1 {inside}, {room}"), body, done)
        f.block(body)
        value = i
        if not self.places:
            value = f.emit(f"load {self.type}, ptr {self._at('%x', i)}, align {self.itemsize}")
        f.do(f"store {self.type} {value}, ptr {self._at('%out', k)}, align {self.itemsize}")
        flag = f.emit(f"load i8, ptr {f.offset('%mask', i)}")
        chosen = f.emit(f"zext i1 {f.emit(f'icmp ne i8 {flag}, 0')} to i64")
        f.do(f"{k_next} = add i64 {k}, {chosen}")
        f.do(f"{i_next} = add i64 {i}, 1")
        f.branch(test)
        f.block(done)
