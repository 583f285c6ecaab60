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

from functools import cache

from jitgraph.codegen.llvm import Compiled, Module
from jitgraph.codegen.matmul.blocks import emit_blocks
from jitgraph.codegen.matmul.kernel import emit_store, emit_sweep
from jitgraph.codegen.matmul.packing import emit_pack
from jitgraph.codegen.matmul.small import emit_dots, emit_tiny
from jitgraph.codegen.matmul.tiling import (
    DIRECT_USES,
    PRODUCT,
    PRODUCT_PARAMETERS,
    SIZES,
    TRANSPOSED_PRODUCT,
    Emitter,
    Tiling,
)
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.target import Target

# Up to this many scalar multiplications a triple loop is faster than setting up tiles.
_TINY_PRODUCT = 256


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
        tiling = Tiling.of(dtype, target)
        emit_store(module, name, tiling)
        for vectors in range(1, tiling.vectors + 1):
            emit_sweep(module, name, tiling, vectors)
        emit_pack(module, name, tiling)
        emit_blocks(module, name, tiling)
        emit_dots(module, name, tiling)
        emit_tiny(module, name, tiling)
        _emit_cost(module, name, tiling)
        _emit_entry(module, name, tiling, internal)
    return f"@{name}"


def emit_matmul_scratch(
    module: Module, dtype: str, target: Target, *, internal: bool = True
) -> str:
    """Emit `i64 (i64 m, i64 n, i64 k)`, the scratch bytes `emit_matmul`'s function needs."""
    name = f"matmul_{dtype}_scratch"
    if module.once(name):
        tiling = Tiling.of(dtype, target)
        f = Emitter(module, name, SIZES, tiling, returns="i64", internal=internal)
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
    """Both functions compiled on their own, kept on disk, exported under the same names.

    They cost LLVM more than most programs do and never differ: a program declares them, and
    links with `imports={"matmul_f64": library.address("matmul_f64"), ...}`.
    """

    def text() -> str:
        module = Module(target)
        emit_matmul(module, dtype, target, internal=False)
        emit_matmul_scratch(module, dtype, target, internal=False)
        return module.text()

    return cached_library(f"matmul_{dtype}", text, target)


def _emit_cost(module: Module, name: str, tiling: Tiling) -> None:
    """Rough cycles of `blocks` in one orientation: tiles with their waste, packing B, and
    storing to a C whose rows are not contiguous."""
    parameters = f"{SIZES}, i64 %b_cs, i64 %c_cs"
    f = Emitter(module, f"{name}.cost", parameters, tiling, returns="i64")
    tiles = f.emit(f"mul i64 {f.round_up('%m', tiling.rows)}, {f.round_up('%n', tiling.lanes)}")
    tiles = f.emit(f"udiv i64 {f.emit(f'mul i64 {tiles}, %k')}, {2 * tiling.lanes}")
    few_rows = f.emit(f"icmp sle i64 %m, {DIRECT_USES * tiling.rows}")
    in_place = f.emit(f"and i1 {few_rows}, {f.is_item('%b_cs')}")
    packing = f.select(in_place, "i64", 0, f.emit("mul i64 %n, %k"))
    scattered = f.emit(f"mul i64 {f.emit('mul i64 %m, %n')}, 2")
    storing = f.select(f.is_item("%c_cs"), "i64", 0, scattered)
    total = f.emit(f"add i64 {tiles}, {packing}")
    f.do(f"ret i64 {f.emit(f'add i64 {total}, {storing}')}")


def _emit_entry(module: Module, name: str, tiling: Tiling, internal: bool) -> None:
    """Choose: the triple loop, dot products, or blocks for A B or for its transpose B' A'."""
    parameters = f"{PRODUCT_PARAMETERS}, ptr noalias %scratch"
    f = Emitter(module, name, parameters, tiling, internal=internal)
    size = f.emit(f"mul i64 {f.emit('mul i64 %m, %n')}, %k")
    with f.if_then(f.emit(f"icmp sle i64 {size}, {_TINY_PRODUCT}")):
        f.do(f"call void @{name}.tiny({PRODUCT})")
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
        PRODUCT.split(", "), TRANSPOSED_PRODUCT.split(", "), strict=True
    ):
        type_, value = plain.split()
        arguments.append(f"{type_} {f.select(transpose, type_, transposed.split()[1], value)}")
    f.do(f"call void @{name}.blocks({', '.join(arguments)}, ptr %scratch)")
    f.do("ret void")
