"""Sizes of register tiles and cache blocks, and the vocabulary of the generators."""

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

# The product's parameters, and the arguments of the same product transposed.
SIZES = "i64 %m, i64 %n, i64 %k"
PRODUCT = (
    f"{SIZES}, ptr %a, i64 %a_rs, i64 %a_cs, ptr %b, i64 %b_rs, i64 %b_cs, "
    "ptr %c, i64 %c_rs, i64 %c_cs"
)
TRANSPOSED_PRODUCT = (
    "i64 %n, i64 %m, i64 %k, ptr %b, i64 %b_cs, i64 %b_rs, ptr %a, i64 %a_cs, i64 %a_rs, "
    "ptr %c, i64 %c_cs, i64 %c_rs"
)
PRODUCT_PARAMETERS = PRODUCT.replace("ptr", "ptr noalias")

ROLLED = (NO_VECTORIZE, NO_UNROLL)
TYPES = {"f32": ("float", 4), "f64": ("double", 8)}

# An operand whose every panel is used at most this many times is read without packing.
DIRECT_USES = 4
_PACKED_B_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Tiling:
    """Sizes of the register tile (elements), the packed chunk and the cache blocks."""

    type_: str  # LLVM scalar type
    item: int  # bytes of it
    lanes: int  # elements of a vector
    rows: int  # register tile: rows ...
    vectors: int  # ... by so many vectors
    kc: int
    mc: int
    nc: int

    @staticmethod
    def of(dtype: str, target: Target) -> "Tiling":
        """32 registers hold 8 x 3 accumulators, a row of B and a broadcast; 16 hold 4 x 3, as
        exactly. A panel of B fills the L1 cache, a block of A half the L2 cache."""
        type_, item = TYPES[dtype]
        lanes = target.vector_bytes // item
        rows, vectors = (8, 3) if target.vector_registers >= 32 else (4, 3)
        cols = lanes * vectors
        kc = max(64, target.l1_bytes // (cols * item) // 8 * 8)
        mc = max(rows, target.l2_bytes // 2 // (kc * item) // rows * rows)
        nc = max(1, _PACKED_B_BYTES // (kc * cols * item)) * cols
        return Tiling(type_, item, lanes, rows, vectors, kc, mc, nc)

    @property
    def cols(self) -> int:
        return self.lanes * self.vectors

    @property
    def chunk(self) -> int:
        """Packing moves chunk x chunk squares: it divides the panels of A and of B."""
        return gcd(self.rows, self.lanes)


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
            parameters.split(", "),
            returns=returns,
            internal=internal,
            attributes="noinline" if internal else "",
        )
        self.tiling = tiling
        self.vector = f"<{tiling.lanes} x {tiling.type_}>"

    def round_up(self, value: str, multiple: int) -> str:
        more = self.emit(f"add i64 {value}, {multiple - 1}")
        if multiple & (multiple - 1) == 0:
            return self.emit(f"and i64 {more}, {-multiple}")
        return self.emit(f"mul i64 {self.emit(f'udiv i64 {more}, {multiple}')}, {multiple}")

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

    def fma(self, type_: str, x: str, y: str, z: str) -> str:
        """x y + z, fused where the target can."""
        suffix = f"f{self.tiling.item * 8}"
        if type_ == self.vector:
            suffix = f"v{self.tiling.lanes}{suffix}"
        operands = (f"{type_} {x}", f"{type_} {y}", f"{type_} {z}")
        return self.intrinsic(type_, f"@llvm.fmuladd.{suffix}", *operands)
