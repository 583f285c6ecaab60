"""Sizes of register tiles and cache blocks, and the vocabulary of the generators."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from jitgraph.codegen.llvm import (
    NO_UNROLL,
    NO_VECTORIZE,
    FunctionBuilder,
    Loop,
    Module,
)
from jitgraph.codegen.target import Target

#: One product's operands, and the arguments of the same product transposed.
PRODUCT = (
    "i64 %m, i64 %n, i64 %k, ptr %a, i64 %a_rs, i64 %a_cs, ptr %b, i64 %b_rs, i64 %b_cs, "
    "ptr %c, i64 %c_rs, i64 %c_cs"
)
TRANSPOSED_PRODUCT = (
    "i64 %n, i64 %m, i64 %k, ptr %b, i64 %b_cs, i64 %b_rs, ptr %a, i64 %a_cs, i64 %a_rs, "
    "ptr %c, i64 %c_cs, i64 %c_rs"
)

ROLLED = (NO_VECTORIZE, NO_UNROLL)
TYPES = {"f32": ("float", 4), "f64": ("double", 8)}

#: An operand whose every panel is used at most this many times is read without packing.
DIRECT_USES = 4
#: Packed operands take at most this many bytes each, ...
_PACKED_BYTES = 4 << 20
#: ... and no more than this many second-level caches hold.
_PACKED_CACHES = 64


@dataclass(frozen=True, slots=True)
class Tiling:
    """Sizes of the register tile (elements), the packed chunk and the cache blocks."""

    type_: str  # LLVM scalar type
    item: int  # bytes of it
    lanes: int  # elements of a vector
    rows: int  # register tile: rows ...
    vectors: int  # ... by so many vectors
    masked: bool  # loads of part of a vector cost what whole ones do
    unroll: int  # steps along k that the micro-kernel does at once on packed operands
    kc: int  # steps along k whose operands are packed at once
    mc: int  # rows and ...
    nc: int  # ... columns of C that are one task at most, where blocks are `kc` deep
    packed: int  # bytes for each packed operand
    together: int  # bytes of several blocks along k that are packed at once

    @staticmethod
    def of(dtype: str, target: Target) -> "Tiling":
        """32 registers hold 8 x 3 accumulators, a row of B and a broadcast; 16 hold 4 x 3, as
        exactly. A panel of B fills the L1 cache; an eighth of the L2 cache holds the rows
        of A of one task, three eighths its columns of B."""
        type_, item = TYPES[dtype]
        lanes = target.vector_bytes // item
        rows, vectors = (8, 3) if target.vector_registers >= 32 else (4, 3)
        cols = lanes * vectors
        kc = max(16, target.l1_bytes // (cols * item) // 8 * 8)
        mc = max(rows, target.l2_bytes // 8 // (kc * item) // rows * rows)
        nc = max(1, target.l2_bytes * 3 // 8 // (kc * cols * item)) * cols
        masked = target.vector_bytes == 64
        packed = max(min(_PACKED_BYTES, _PACKED_CACHES * target.l2_bytes), 2 * kc * cols * item)
        together = min(packed, target.l2_bytes // 2)
        return Tiling(type_, item, lanes, rows, vectors, masked, 4, kc, mc, nc, packed, together)

    @property
    def cols(self) -> int:
        return self.lanes * self.vectors

    @property
    def chunk(self) -> int:
        """Packing moves chunk x chunk squares: it divides the panels of A and of B."""
        return gcd(self.rows, self.lanes)

    @property
    def most_rows(self) -> int:
        """Rows of A that are packed at once."""
        return self.packed // (self.kc * self.item) // self.rows * self.rows

    @property
    def most_cols(self) -> int:
        """Columns of B that are packed at once."""
        return self.packed // (self.kc * self.item) // self.cols * self.cols

    @property
    def scratch_bytes(self) -> int:
        """Memory for both packed operands."""
        return 2 * self.packed


class Emitter(FunctionBuilder):
    """A function builder with the arithmetic that blocked loops are made of."""

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: str,
        tiling: Tiling,
        *,
        returns: str = "void",
        internal: bool = True,
    ) -> None:
        super().__init__(
            module,
            name,
            parameters.split(", ") if parameters else [],
            returns=returns,
            internal=internal,
            attributes="noinline" if internal else "",
        )
        self.tiling = tiling
        self.vector = f"<{tiling.lanes} x {tiling.type_}>"

    def product(self, *values: str | int) -> str:
        """The product of i64 values."""
        total = str(values[0])
        for value in values[1:]:
            total = self.emit(f"mul i64 {total}, {value}")
        return total

    def round_up(self, value: str, multiple: int) -> str:
        more = self.emit(f"add i64 {value}, {multiple - 1}")
        if multiple & (multiple - 1) == 0:
            return self.emit(f"and i64 {more}, {-multiple}")
        return self.emit(f"mul i64 {self.emit(f'udiv i64 {more}, {multiple}')}, {multiple}")

    def parts(self, value: str, size: str | int) -> str:
        """How many parts of `size` cover `value`."""
        less = self.emit(f"sub i64 {size}, 1")
        return self.emit(f"udiv i64 {self.emit(f'add i64 {value}, {less}')}, {size}")

    def rest(self, whole: str, done: str | Loop, most: str | int) -> str:
        """What is left of `whole`, up to `most`."""
        return self.minimum(self.emit(f"sub i64 {whole}, {done}"), most)

    def both(self, x: str, y: str) -> str:
        return self.emit(f"and i1 {x}, {y}")

    def either(self, x: str, y: str) -> str:
        return self.emit(f"or i1 {x}, {y}")

    def is_item(self, stride: str) -> str:
        """Whether elements `stride` bytes apart are contiguous."""
        return self.emit(f"icmp eq i64 {stride}, {self.tiling.item}")

    def at(self, pointer: str, index: str | Loop, stride: str | int) -> str:
        """`pointer` moved by `index` times `stride` bytes."""
        return self.offset(pointer, self.emit(f"mul i64 {index}, {stride}"))

    def item_at(self, pointer: str, index: str | int | Loop) -> str:
        return self.emit(f"getelementptr {self.tiling.type_}, ptr {pointer}, i64 {index}", "p")

    def load(self, type_: str, pointer: str) -> str:
        """Load a scalar or a vector that is aligned to its elements."""
        return self.emit(f"load {type_}, ptr {pointer}, align {self.tiling.item}")

    def store(self, type_: str, value: str, pointer: str) -> None:
        """Store what `load` loads."""
        self.do(f"store {type_} {value}, ptr {pointer}, align {self.tiling.item}")

    def mask(self, count: str) -> str:
        """The first `count` lanes of a vector."""
        lanes = self.tiling.lanes
        every = self.splat(f"<{lanes} x i32>", self.emit(f"trunc i64 {count} to i32"))
        order = ", ".join(f"i32 {i}" for i in range(lanes))
        return self.emit(f"icmp slt <{lanes} x i32> <{order}>, {every}")

    def masked_load(self, pointer: str, mask: str) -> str:
        """The lanes in the mask, others zero. Memory of the others is not touched.

        Alignment is an argument, as LLVM had it up to 21; later ones take that form, too.
        """
        name = f"@llvm.masked.load.{self._suffix(self.vector)}.p0"
        mask_type = f"<{self.tiling.lanes} x i1>"
        self.module.declare(f"declare {self.vector} {name}(ptr, i32, {mask_type}, {self.vector})")
        return self.emit(
            f"call {self.vector} {name}(ptr {pointer}, i32 {self.tiling.item}, "
            f"{mask_type} {mask}, {self.vector} zeroinitializer)"
        )

    def masked_store(self, value: str, pointer: str, mask: str) -> None:
        name = f"@llvm.masked.store.{self._suffix(self.vector)}.p0"
        mask_type = f"<{self.tiling.lanes} x i1>"
        self.module.declare(f"declare void {name}({self.vector}, ptr, i32, {mask_type})")
        self.do(
            f"call void {name}({self.vector} {value}, ptr {pointer}, i32 {self.tiling.item}, "
            f"{mask_type} {mask})"
        )

    def splat(self, vector: str, scalar: str) -> str:
        """A vector of equal elements."""
        lanes, type_ = vector[1:-1].split(" x ")
        one = self.emit(f"insertelement {vector} poison, {type_} {scalar}, i64 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.emit(f"shufflevector {vector} {one}, {vector} poison, {zeros}")

    def fma(self, type_: str, x: str, y: str, z: str) -> str:
        """x y + z, fused where the target can."""
        operands = (f"{type_} {x}", f"{type_} {y}", f"{type_} {z}")
        return self.intrinsic(type_, f"@llvm.fmuladd.{self._suffix(type_)}", *operands)

    def reduce(self, value: str) -> str:
        """The sum of a vector's elements, in any order."""
        type_ = self.tiling.type_
        name = f"@llvm.vector.reduce.fadd.{self._suffix(self.vector)}"
        self.module.declare(f"declare {type_} {name}({type_}, {self.vector})")
        zero = f"{type_} -0.0"
        return self.emit(f"call reassoc {type_} {name}({zero}, {self.vector} {value})")

    def opaque(self, pointer: str) -> str:
        """The same pointer, of which LLVM does not know how it was computed: it would compute
        it again in a loop, to save a register."""
        return self.emit(f'call ptr asm "", "=r,0"(ptr {pointer})')

    def prefetch(self, address: str, level: int = 1) -> None:
        """Fetch a line to the cache of this level."""
        self.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 {4 - level}, i32 1)")

    def fill(self, record: str, fields: Sequence[str]) -> None:
        """Put typed values into a record, an array of i64, to be read back with `unpack`."""
        for i, field in enumerate(fields):
            self.do(f"store {field}, ptr {self.offset(record, 8 * i)}")

    def _suffix(self, type_: str) -> str:
        suffix = f"f{self.tiling.item * 8}"
        return f"v{self.tiling.lanes}{suffix}" if type_ == self.vector else suffix


def every(f: Emitter, pointer: str, stride: str | int, count: int) -> list[str]:
    """`count` pointers, `stride` bytes apart."""
    pointers = [pointer]
    while len(pointers) < count:
        pointers.append(f.offset(pointers[-1], stride))
    return pointers
