"""Matrix products as generated LLVM IR, after BLIS (Van Zee & van de Geijn, 2015).

C = A B is computed in register tiles of `rows` x `cols` elements: for each step along k the
micro-kernel loads one row of B as vectors and multiplies it with broadcast elements of A.

    for each block of NC columns, of KC steps along k:     pack B into panels of `cols` columns
      for each block of MC rows:                           pack A into panels of `rows` rows
        for each panel of B (stays in the L1 cache):
          for each panel of A (streams from the L2 cache): micro-kernel

The micro-kernel reads A and B through strides, so packing is a choice and not a need: an operand
that is used only a few times is read where it lies. Only B must have contiguous rows then; as
C' = B' A' is the same product, `_emit_entry` picks the cheaper of the two orientations.
Rows and columns past the edge are computed (from a repeated row, from zero padding) but not stored.
"""

from dataclasses import dataclass
from functools import cache
from math import gcd

from jitgraph.codegen.llvm import (
    NO_UNROLL,
    NO_VECTORIZE,
    Compiled,
    FunctionBuilder,
    Loop,
    Module,
    compile_ir,
)
from jitgraph.codegen.target import Target

# The product's parameters, and the arguments of the same product transposed.
_SIZES = "i64 %m, i64 %n, i64 %k"
_PRODUCT = (
    f"{_SIZES}, ptr %a, i64 %a_rs, i64 %a_cs, ptr %b, i64 %b_rs, i64 %b_cs, "
    "ptr %c, i64 %c_rs, i64 %c_cs"
)
_TRANSPOSED_PRODUCT = (
    "i64 %n, i64 %m, i64 %k, ptr %b, i64 %b_cs, i64 %b_rs, ptr %a, i64 %a_cs, i64 %a_rs, "
    "ptr %c, i64 %c_cs, i64 %c_rs"
)
_PRODUCT_PARAMETERS = _PRODUCT.replace("ptr", "ptr noalias")

_ROLLED = (NO_VECTORIZE, NO_UNROLL)
_TYPES = {"f32": ("float", 4), "f64": ("double", 8)}

# Up to this many scalar multiplications a triple loop is faster than setting up tiles.
_TINY_PRODUCT = 256
# An operand whose every panel is used at most this many times is read without packing.
_DIRECT_USES = 4
# Steps along k that the micro-kernel prefetches ahead.
_PREFETCH_STEPS = 8
_PACKED_B_BYTES = 4 << 20


def emit_matmul(module: Module, dtype: str, target: Target, *, internal: bool = True) -> str:
    """Emit C = A B for `dtype` ("f32" or "f64"), once per module, and return its name.

    The function (internal unless told otherwise) has the signature

        void (i64 m, i64 n, i64 k,
              ptr A, i64 a_row_stride, i64 a_col_stride,
              ptr B, i64 b_row_stride, i64 b_col_stride,
              ptr C, i64 c_row_stride, i64 c_col_stride, ptr scratch)

    Strides are in bytes, of any sign. C is overwritten and must not overlap A or B; `scratch`
    is 64-byte aligned and as large as `emit_matmul_scratch` says. Sums over k are reassociated.
    """
    name = f"matmul_{dtype}"
    if module.once(name):
        tiling = _Tiling.of(dtype, target)
        _emit_store(module, name, tiling)
        for vectors in range(1, tiling.vectors + 1):
            _emit_sweep(module, name, tiling, vectors)
        _emit_pack(module, name, tiling)
        _emit_blocks(module, name, tiling)
        _emit_dots(module, name, tiling)
        _emit_tiny(module, name, tiling)
        _emit_cost(module, name, tiling)
        _emit_entry(module, name, tiling, internal)
    return f"@{name}"


def emit_matmul_scratch(
    module: Module, dtype: str, target: Target, *, internal: bool = True
) -> str:
    """Emit `i64 (i64 m, i64 n, i64 k)`, the scratch bytes `emit_matmul`'s function needs."""
    name = f"matmul_{dtype}_scratch"
    if module.once(name):
        tiling = _Tiling.of(dtype, target)
        f = _Emitter(module, name, _SIZES, tiling, returns="i64", internal=internal)
        depth = f.minimum("%k", tiling.kc)
        sizes = []
        for rows, cols in (("%m", "%n"), ("%n", "%m")):
            b_cols = f.round_up(f.minimum(cols, tiling.nc), tiling.cols)
            a_rows = f.round_up(f.minimum(rows, tiling.mc), tiling.rows)
            sizes.append(f.emit(f"add i64 {b_cols}, {a_rows}"))
        elements = f.emit(f"mul i64 {f.maximum(*sizes)}, {depth}")
        size = f.emit(f"mul i64 {elements}, {tiling.item}")
        f.do(f"ret i64 {f.emit(f'add i64 {size}, 64')}")
    return f"@{name}"


@cache
def matmul_library(dtype: str, target: Target) -> Compiled:
    """Both functions compiled on their own, once per process, exported under the same names.

    They cost LLVM more than most programs do and never differ: a program declares them, and
    links with `imports={"matmul_f64": library.address("matmul_f64"), ...}`.
    """
    module = Module(target)
    emit_matmul(module, dtype, target, internal=False)
    emit_matmul_scratch(module, dtype, target, internal=False)
    return compile_ir(module.text(), target, tuned=True)


@dataclass(frozen=True, slots=True)
class _Tiling:
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
    def of(dtype: str, target: Target) -> "_Tiling":
        """32 registers hold 8 x 3 accumulators, a row of B and a broadcast; 16 hold 4 x 3, as
        exactly. A panel of B fills the L1 cache, a block of A half the L2 cache."""
        type_, item = _TYPES[dtype]
        lanes = target.vector_bytes // item
        rows, vectors = (8, 3) if target.vector_registers >= 32 else (4, 3)
        cols = lanes * vectors
        kc = max(64, target.l1_bytes // (cols * item) // 8 * 8)
        mc = max(rows, target.l2_bytes // 2 // (kc * item) // rows * rows)
        nc = max(1, _PACKED_B_BYTES // (kc * cols * item)) * cols
        return _Tiling(type_, item, lanes, rows, vectors, kc, mc, nc)

    @property
    def cols(self) -> int:
        return self.lanes * self.vectors

    @property
    def chunk(self) -> int:
        """Packing moves chunk x chunk squares: it divides the panels of A and of B."""
        return gcd(self.rows, self.lanes)


class _Emitter(FunctionBuilder):
    """A function builder with the arithmetic that blocked loops are made of."""

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: str,
        tiling: _Tiling,
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


def _emit_sweep(module: Module, name: str, tiling: _Tiling, vectors: int) -> None:
    """The micro-kernel, swept down all rows of a block of A for one panel of B.

    The panel has `nr` columns, at most `vectors` vectors; `a_panel` is the distance between
    row panels of A; `add` says to accumulate onto C.
    """
    parameters = (
        "i64 %nr, i64 %m, i64 %kc, ptr noalias readonly %a, i64 %a_rs, i64 %a_cs, "
        "i64 %a_panel, ptr noalias readonly %b, i64 %b_rs, ptr noalias %c, i64 %c_rs, "
        "i64 %c_cs, i1 %add"
    )
    f = _Emitter(module, f"{name}.sweep{vectors}", parameters, tiling)
    tile = f.emit(f"alloca [{tiling.rows * tiling.cols} x {tiling.type_}], align 64")
    c_panel = f.emit(f"mul i64 %c_rs, {tiling.rows}")
    pointers = [("ptr", "%a"), ("ptr", "%c")]
    with f.loop(0, "%m", tiling.rows, "row", accumulators=pointers, properties=_ROLLED) as i:
        a, c = i.carried
        mr = f.minimum(f.emit(f"sub i64 %m, {i}"), tiling.rows)
        _emit_prefetch_tile(f, c, mr, vectors)
        sums = _emit_micro_kernel(f, a, mr, vectors)
        for r, row in enumerate(sums):
            for v, value in enumerate(row):
                p = f.item_at(tile, r * tiling.cols + v * tiling.lanes)
                f.store(f.vector, value, p)
        f.do(
            f"call void @{name}.store(ptr {tile}, i64 {mr}, i64 %nr, "
            f"ptr {c}, i64 %c_rs, i64 %c_cs, i1 %add)"
        )
        i.carry(f.offset(a, "%a_panel"), f.offset(c, c_panel))
    f.do("ret void")


def _emit_micro_kernel(f: _Emitter, a: str, mr: str, vectors: int) -> list[list[str]]:
    """Sums over k of one register tile, as vectors by row. Rows from `mr` on repeat the last.

    The row pointers stay put and share one running offset, which x86 addresses for free.
    """
    tiling, vector = f.tiling, f.vector
    last = f.emit(f"sub i64 {mr}, 1")
    rows = [a] + [f.at(a, f.minimum(last, r), "%a_rs") for r in range(1, tiling.rows)]
    a_ahead = f.at(a, str(_PREFETCH_STEPS), "%a_cs")
    b_ahead = f.emit(f"mul i64 %b_rs, {_PREFETCH_STEPS}")
    carried = [("i64", "0"), ("ptr", "%b")]
    carried += [(vector, "zeroinitializer")] * (tiling.rows * vectors)
    with f.loop(0, "%kc", 1, "k", accumulators=carried, properties=_ROLLED) as k:
        offset, b, *sums = k.carried
        _emit_prefetch(f, f.offset(a_ahead, offset))
        b_row = []
        for v in range(vectors):
            p = f.item_at(b, v * tiling.lanes)
            b_row.append(f.load(vector, p))
            _emit_prefetch(f, f.offset(p, b_ahead))
        following = []
        for r, row in enumerate(rows):
            x = f.load(tiling.type_, f.offset(row, offset))
            x = f.emit(f"insertelement {vector} poison, {tiling.type_} {x}, i64 0")
            mask = f"<{tiling.lanes} x i32> zeroinitializer"
            x = f.emit(f"shufflevector {vector} {x}, {vector} poison, {mask}")
            for v in range(vectors):
                following.append(f.fma(vector, x, b_row[v], sums[r * vectors + v]))
        offset_next = f.emit(f"add i64 {offset}, %a_cs")
        k.carry(offset_next, f.offset(b, "%b_rs"), *following)
    sums = k.results[2:]
    return [sums[r * vectors : (r + 1) * vectors] for r in range(tiling.rows)]


def _emit_prefetch_tile(f: _Emitter, c: str, mr: str, vectors: int) -> None:
    """Fetch the tile of C (if its rows are contiguous) while the sums for it are made."""
    with f.loop(0, mr, 1, "row", accumulators=[("ptr", c)], properties=_ROLLED) as i:
        for v in range(vectors):
            _emit_prefetch(f, f.item_at(i.carried[0], v * f.tiling.lanes))
        i.carry(f.offset(i.carried[0], "%c_rs"))


def _emit_prefetch(f: _Emitter, address: str) -> None:
    f.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    f.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 3, i32 1)")


def _emit_store(module: Module, name: str, tiling: _Tiling) -> None:
    """Write the `mr` x `nr` corner of a tile that was put in memory, to any strides."""
    parameters = (
        "ptr noalias readonly %tile, i64 %mr, i64 %nr, ptr noalias %c, i64 %c_rs, "
        "i64 %c_cs, i1 %add"
    )
    f = _Emitter(module, f"{name}.store", parameters, tiling)
    whole = f.emit(f"and i64 %nr, {-tiling.lanes}")
    by_vectors = f.select(f.is_item("%c_cs"), "i64", whole, 0)
    rows = [("ptr", "%tile"), ("ptr", "%c")]
    with f.loop(0, "%mr", 1, "row", accumulators=rows, properties=_ROLLED) as i:
        tile, c = i.carried
        with f.loop(0, by_vectors, tiling.lanes, "col", properties=_ROLLED) as j:
            _emit_store_item(f, f.vector, f.item_at(tile, j), f.item_at(c, j))
        with f.loop(by_vectors, "%nr", 1, "col", properties=_ROLLED) as j:
            _emit_store_item(f, tiling.type_, f.item_at(tile, j), f.at(c, j, "%c_cs"))
        i.carry(f.offset(tile, tiling.cols * tiling.item), f.offset(c, "%c_rs"))
    f.do("ret void")


def _emit_store_item(f: _Emitter, type_: str, tile: str, c: str) -> None:
    """Store, or add where `%add` holds; C is not read otherwise (it may be fresh memory)."""
    value = f.load(type_, tile)
    add, store, before = f.label("add"), f.label("store"), f.current
    f.branch_if("%add", add, store)
    f.block(add)
    total = f.emit(f"fadd {type_} {f.load(type_, c)}, {value}")
    f.block(store)
    f.store(type_, f.phi(type_, [(value, before), (total, add)]), c)


def _emit_pack(module: Module, name: str, tiling: _Tiling) -> None:
    """Copy `count` lines of `depth` elements into panels of `width` lines, depth first.

    A line is a row of A or a column of B, `stride` bytes from the next; its elements are
    `depth_stride` apart. Missing lines up to a multiple of `pad` become zero.
    """
    chunk, item = tiling.chunk, tiling.item
    parameters = (
        "ptr noalias %to, ptr noalias readonly %from, i64 %count, i64 %depth, i64 %stride, "
        "i64 %depth_stride, i64 %width, i64 %pad"
    )
    f = _Emitter(module, f"{name}.pack", parameters, tiling)
    to_step = f.emit(f"mul i64 %width, {item}")
    padded = f.emit("add i64 %count, %pad")
    padded = f.emit(f"sub i64 {padded}, 1")
    padded = f.emit(f"sub i64 {padded}, {f.emit(f'urem i64 {padded}, %pad')}")
    with f.loop(0, padded, chunk, "line", properties=_ROLLED) as j:
        within = f.emit(f"urem i64 {j}, %width")
        panel = f.at("%to", f.emit(f"sub i64 {j}, {within}"), f.emit(f"mul i64 %depth, {item}"))
        to = f.item_at(panel, within)
        source = f.at("%from", j, "%stride")
        left = f.maximum(f.emit(f"sub i64 %count, {j}"), 0)
        live = f.minimum(left, chunk)
        done = _emit_pack_vectors(f, to, to_step, source, live)
        with f.loop(done, "%depth", 1, "k", properties=_ROLLED) as k:
            to_row = f.at(to, k, to_step)
            from_row = f.at(source, k, "%depth_stride")
            with f.loop(0, live, 1, "q", properties=_ROLLED) as q:
                value = f.load(tiling.type_, f.at(from_row, q, "%stride"))
                f.store(tiling.type_, value, f.item_at(to_row, q))
            with f.loop(live, chunk, 1, "z", properties=_ROLLED) as z:
                f.store(tiling.type_, "0.0", f.item_at(to_row, z))
    f.do("ret void")


def _emit_pack_vectors(f: _Emitter, to: str, to_step: str, source: str, live: str) -> str:
    """Pack `chunk` whole lines by vectors; returns how far along the depth that went.

    Contiguous across lines: copied. Contiguous along the depth: transposed by squares.
    """
    tiling, chunk = f.tiling, f.tiling.chunk
    vector = f"<{chunk} x {tiling.type_}>"
    whole = f.emit(f"icmp eq i64 {live}, {chunk}")
    copying = f.emit(f"and i1 {whole}, {f.is_item('%stride')}")
    squares = f.emit(f"and i1 {whole}, {f.is_item('%depth_stride')}")
    copied = f.select(copying, "i64", "%depth", 0)
    with f.loop(0, copied, 1, "k", properties=_ROLLED) as k:
        p = f.at(source, k, "%depth_stride")
        value = f.load(vector, p)
        f.store(vector, value, f.at(to, k, to_step))
    depth_whole = f.emit(f"and i64 %depth, {-chunk}")
    transposed = f.select(squares, "i64", depth_whole, copied)
    with f.loop(copied, transposed, chunk, "k", properties=_ROLLED) as k:
        column = f.item_at(source, k)
        square = [f.load(vector, p) for p in _every(f, column, "%stride", chunk)]
        rows = _every(f, f.at(to, k, to_step), to_step, chunk)
        for value, p in zip(_emit_transpose(f, vector, square), rows, strict=True):
            f.store(vector, value, p)
    return f.maximum(copied, transposed)


def _every(f: _Emitter, pointer: str, stride: str, count: int) -> list[str]:
    """`count` pointers, `stride` bytes apart."""
    pointers = [pointer]
    while len(pointers) < count:
        pointers.append(f.offset(pointers[-1], stride))
    return pointers


def _emit_transpose(f: _Emitter, vector: str, square: list[str]) -> list[str]:
    """Transpose n vectors of n elements (n a power of two).

    Interleaving line i with line i + n/2 rotates the bits of (line, element) by one place;
    log2(n) rotations exchange line and element.
    """
    n = len(square)
    halves = [[half + i // 2 + i % 2 * n for i in range(n)] for half in (0, n // 2)]
    masks = [f"<{n} x i32> <{', '.join(f'i32 {i}' for i in half)}>" for half in halves]
    for _ in range(n.bit_length() - 1):
        square = [
            f.emit(f"shufflevector {vector} {x}, {vector} {y}, {mask}")
            for x, y in zip(square[: n // 2], square[n // 2 :], strict=True)
            for mask in masks
        ]
    return square


def _emit_blocks(module: Module, name: str, tiling: _Tiling) -> None:
    """The product by cache blocks: the three outer loops of the module docstring."""
    f = _Emitter(
        module,
        f"{name}.blocks",
        f"{_PRODUCT_PARAMETERS}, ptr noalias %scratch",
        tiling,
    )
    # Blocks along k of equal depth: a thin last one would waste the tile's set-up.
    blocks = f.emit(f"udiv i64 {f.emit(f'add i64 %k, {tiling.kc - 1}')}, {tiling.kc}")
    up = f.emit(f"sub i64 {f.emit(f'add i64 %k, {blocks}')}, 1")
    depth = f.emit(f"udiv i64 {up}, {blocks}")
    few_rows = f.emit(f"icmp sle i64 %m, {_DIRECT_USES * tiling.rows}")
    b_in_place = f.emit(f"and i1 {few_rows}, {f.is_item('%b_cs')}")
    widest = f.round_up(f.minimum("%n", tiling.nc), tiling.cols)
    b_bytes = f.emit(f"mul i64 {f.emit(f'mul i64 {widest}, {depth}')}, {tiling.item}")
    a_packed = f.offset("%scratch", f.round_up(b_bytes, 64))
    with f.loop(0, "%n", tiling.nc, "jc", properties=_ROLLED) as jc:
        nc = f.minimum(f.emit(f"sub i64 %n, {jc}"), tiling.nc)
        whole = f.emit(f"mul i64 {f.emit(f'udiv i64 {nc}, {tiling.cols}')}, {tiling.cols}")
        packed_from = f.select(b_in_place, "i64", whole, 0)
        with f.loop(0, "%k", depth, "pc", properties=_ROLLED) as pc:
            kc = f.minimum(f.emit(f"sub i64 %k, {pc}"), depth)
            b = f.at(f.at("%b", pc, "%b_rs"), jc, "%b_cs")
            f.do(
                f"call void @{name}.pack(ptr %scratch, ptr {f.at(b, packed_from, '%b_cs')}, "
                f"i64 {f.emit(f'sub i64 {nc}, {packed_from}')}, i64 {kc}, "
                f"i64 %b_cs, i64 %b_rs, i64 {tiling.cols}, i64 {tiling.lanes})"
            )
            a = f.at("%a", pc, "%a_cs")
            c = f.at("%c", jc, "%c_cs")
            add = f.emit(f"icmp ne i64 {pc}, 0")
            _emit_row_blocks(f, name, a, a_packed, b, packed_from, c, nc, kc, add)
    f.do("ret void")


def _emit_row_blocks(
    f: _Emitter,
    name: str,
    a: str,
    a_packed: str,
    b: str,
    packed_from: str,
    c: str,
    nc: str,
    kc: str,
    add: str,
) -> None:
    """One block of B times all blocks of A: pack A if it pays, then sweep panel by panel.

    Columns of B before `packed_from` are read in place, the others are in the scratch panels.
    """
    tiling, item = f.tiling, f.tiling.item
    a_in_place = f.emit(f"icmp sle i64 %n, {_DIRECT_USES * tiling.cols}")
    panel_bytes = f.emit(f"mul i64 {kc}, {tiling.rows * item}")
    in_place_bytes = f.emit(f"mul i64 %a_rs, {tiling.rows}")
    a_rs = f.select(a_in_place, "i64", "%a_rs", item)
    a_cs = f.select(a_in_place, "i64", "%a_cs", tiling.rows * item)
    a_panel = f.select(a_in_place, "i64", in_place_bytes, panel_bytes)
    with f.loop(0, "%m", tiling.mc, "ic", properties=_ROLLED) as ic:
        mc = f.minimum(f.emit(f"sub i64 %m, {ic}"), tiling.mc)
        a_block = f.at(a, ic, "%a_rs")
        packed_rows = f.select(a_in_place, "i64", 0, mc)
        f.do(
            f"call void @{name}.pack(ptr {a_packed}, ptr {a_block}, i64 {packed_rows}, "
            f"i64 {kc}, i64 %a_rs, i64 %a_cs, i64 {tiling.rows}, i64 {tiling.chunk})"
        )
        a_panels = f.select(a_in_place, "ptr", a_block, a_packed)
        c_block = f.at(c, ic, "%c_rs")
        with f.loop(0, nc, tiling.cols, "jr", properties=_ROLLED) as jr:
            nr = f.minimum(f.emit(f"sub i64 {nc}, {jr}"), tiling.cols)
            b_in_place = f.emit(f"icmp slt i64 {jr}, {packed_from}")
            column = f.emit(f"sub i64 {jr}, {packed_from}")
            packed = f.at("%scratch", column, f.emit(f"mul i64 {kc}, {item}"))
            b_panel = f.select(b_in_place, "ptr", f.at(b, jr, "%b_cs"), packed)
            b_rs = f.select(b_in_place, "i64", "%b_rs", tiling.cols * item)
            _emit_sweep_calls(
                f,
                name,
                nr,
                f"i64 {nr}, i64 {mc}, i64 {kc}, "
                f"ptr {a_panels}, i64 {a_rs}, i64 {a_cs}, i64 {a_panel}, "
                f"ptr {b_panel}, i64 {b_rs}, "
                f"ptr {f.at(c_block, jr, '%c_cs')}, i64 %c_rs, i64 %c_cs, i1 {add}",
            )


def _emit_sweep_calls(f: _Emitter, name: str, nr: str, arguments: str) -> None:
    """Call the micro-kernel that is no wider than `nr` columns need."""
    swept = f.label("swept")
    for vectors in range(1, f.tiling.vectors):
        narrow, wider = f.label("narrow"), f.label("wider")
        fits = f.emit(f"icmp sle i64 {nr}, {vectors * f.tiling.lanes}")
        f.branch_if(fits, narrow, wider)
        f.block(narrow)
        f.do(f"call void @{name}.sweep{vectors}({arguments})")
        f.branch(swept)
        f.block(wider)
    f.do(f"call void @{name}.sweep{f.tiling.vectors}({arguments})")
    f.block(swept)


def _emit_dots(module: Module, name: str, tiling: _Tiling) -> None:
    """Matrix times vector, both contiguous along k: a dot product for each of `count` lines."""
    parameters = (
        "i64 %count, i64 %k, ptr noalias readonly %a, i64 %a_rs, ptr noalias readonly %x, "
        "ptr noalias %y, i64 %y_stride"
    )
    f = _Emitter(module, f"{name}.dots", parameters, tiling)
    type_, vector, ways = tiling.type_, f.vector, 4
    step = ways * tiling.lanes
    whole = f.emit(f"and i64 %k, {-step}")
    with f.loop(0, "%count", 1, "row", properties=_ROLLED) as i:
        row = f.at("%a", i, "%a_rs")
        zeros = [(vector, "zeroinitializer")] * ways
        with f.loop(0, whole, step, "k", accumulators=zeros, properties=_ROLLED) as k:
            following = []
            for way in range(ways):
                at = f.emit(f"add i64 {k}, {way * tiling.lanes}")
                factors = [f.load(vector, f.item_at(p, at)) for p in (row, "%x")]
                following.append(f.fma(vector, factors[0], factors[1], k.carried[way]))
            k.carry(*following)
        total = k.results[0]
        for partial in k.results[1:]:
            total = f.emit(f"fadd {vector} {total}, {partial}")
        reduce = f"@llvm.vector.reduce.fadd.v{tiling.lanes}f{tiling.item * 8}"
        f.module.declare(f"declare {type_} {reduce}({type_}, {vector})")
        total = f.emit(f"call reassoc {type_} {reduce}({type_} 0.0, {vector} {total})")
        total = _emit_scalar_dot(f, whole, total, row, tiling.item, "%x", tiling.item)
        f.store(type_, total, f.at("%y", i, "%y_stride"))
    f.do("ret void")


def _emit_scalar_dot(
    f: _Emitter, start: str, total: str, x: str, x_step: str | int, y: str, y_step: str | int
) -> str:
    """`total` plus the products of x and y from step `start` to `%k`."""
    type_ = f.tiling.type_
    sums = [(type_, total)]
    with f.loop(start, "%k", 1, "k", accumulators=sums, properties=_ROLLED) as k:
        left = f.load(type_, f.at(x, k, x_step))
        right = f.load(type_, f.at(y, k, y_step))
        k.carry(f.fma(type_, left, right, k.carried[0]))
    return k.results[0]


def _emit_tiny(module: Module, name: str, tiling: _Tiling) -> None:
    """The triple loop: for products too small to set anything up, and for k = 0."""
    f = _Emitter(module, f"{name}.tiny", _PRODUCT_PARAMETERS, tiling)
    with f.loop(0, "%m", 1, "row", properties=_ROLLED) as i:
        row, c_row = f.at("%a", i, "%a_rs"), f.at("%c", i, "%c_rs")
        with f.loop(0, "%n", 1, "col", properties=_ROLLED) as j:
            column = f.at("%b", j, "%b_cs")
            total = _emit_scalar_dot(f, "0", "0.0", row, "%a_cs", column, "%b_rs")
            f.store(tiling.type_, total, f.at(c_row, j, "%c_cs"))
    f.do("ret void")


def _emit_cost(module: Module, name: str, tiling: _Tiling) -> None:
    """Rough cycles of `blocks` in one orientation: tiles with their waste, packing B, and
    storing to a C whose rows are not contiguous."""
    parameters = f"{_SIZES}, i64 %b_cs, i64 %c_cs"
    f = _Emitter(module, f"{name}.cost", parameters, tiling, returns="i64")
    tiles = f.emit(f"mul i64 {f.round_up('%m', tiling.rows)}, {f.round_up('%n', tiling.lanes)}")
    tiles = f.emit(f"udiv i64 {f.emit(f'mul i64 {tiles}, %k')}, {2 * tiling.lanes}")
    few_rows = f.emit(f"icmp sle i64 %m, {_DIRECT_USES * tiling.rows}")
    in_place = f.emit(f"and i1 {few_rows}, {f.is_item('%b_cs')}")
    packing = f.select(in_place, "i64", 0, f.emit("mul i64 %n, %k"))
    scattered = f.emit(f"mul i64 {f.emit('mul i64 %m, %n')}, 2")
    storing = f.select(f.is_item("%c_cs"), "i64", 0, scattered)
    total = f.emit(f"add i64 {tiles}, {packing}")
    f.do(f"ret i64 {f.emit(f'add i64 {total}, {storing}')}")


def _emit_entry(module: Module, name: str, tiling: _Tiling, internal: bool) -> None:
    """Choose: the triple loop, dot products, or blocks for A B or for its transpose B' A'."""
    parameters = f"{_PRODUCT_PARAMETERS}, ptr noalias %scratch"
    f = _Emitter(module, name, parameters, tiling, internal=internal)
    size = f.emit(f"mul i64 {f.emit('mul i64 %m, %n')}, %k")
    with f.if_then(f.emit(f"icmp sle i64 {size}, {_TINY_PRODUCT}")):
        f.do(f"call void @{name}.tiny({_PRODUCT})")
        f.do("ret void")
    one_row, one_col = f.emit("icmp eq i64 %m, 1"), f.emit("icmp eq i64 %n, 1")
    along_k = f.emit(f"and i1 {f.is_item('%a_cs')}, {f.is_item('%b_rs')}")
    is_vector = f.emit(f"or i1 {one_row}, {one_col}")
    with f.if_then(f.emit(f"and i1 {is_vector}, {along_k}")):
        arguments = [
            f"{type_} {f.select(one_col, type_, then, otherwise)}"
            for type_, then, otherwise in (
                ("i64", "%m", "%n"),
                ("i64", "%k", "%k"),
                ("ptr", "%a", "%b"),
                ("i64", "%a_rs", "%b_cs"),
                ("ptr", "%b", "%a"),
                ("ptr", "%c", "%c"),
                ("i64", "%c_rs", "%c_cs"),
            )
        ]
        f.do(f"call void @{name}.dots({', '.join(arguments)})")
        f.do("ret void")
    cost = f.emit(f"call i64 @{name}.cost(i64 %m, i64 %n, i64 %k, i64 %b_cs, i64 %c_cs)")
    cost_t = f.emit(f"call i64 @{name}.cost(i64 %n, i64 %m, i64 %k, i64 %a_rs, i64 %c_rs)")
    transpose = f.emit(f"icmp slt i64 {cost_t}, {cost}")
    arguments = []
    for plain, transposed in zip(
        _PRODUCT.split(", "), _TRANSPOSED_PRODUCT.split(", "), strict=True
    ):
        type_, value = plain.split()
        arguments.append(f"{type_} {f.select(transpose, type_, transposed.split()[1], value)}")
    f.do(f"call void @{name}.blocks({', '.join(arguments)}, ptr %scratch)")
    f.do("ret void")
