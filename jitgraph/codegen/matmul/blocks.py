"""The loops over cache blocks around packing and the micro-kernel."""


from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.tiling import (
    DIRECT_USES,
    PRODUCT_PARAMETERS,
    ROLLED,
    Emitter,
    Tiling,
)


def emit_blocks(module: Module, name: str, tiling: Tiling) -> None:
    """The product by cache blocks: the three outer loops of the module docstring."""
    f = Emitter(
        module,
        f"{name}.blocks",
        f"{PRODUCT_PARAMETERS}, ptr noalias %scratch",
        tiling,
    )
    # Blocks along k of equal depth: a thin last one would waste the tile's set-up.
    blocks = f.emit(f"udiv i64 {f.emit(f'add i64 %k, {tiling.kc - 1}')}, {tiling.kc}")
    up = f.emit(f"sub i64 {f.emit(f'add i64 %k, {blocks}')}, 1")
    depth = f.emit(f"udiv i64 {up}, {blocks}")
    few_rows = f.emit(f"icmp sle i64 %m, {DIRECT_USES * tiling.rows}")
    b_in_place = f.emit(f"and i1 {few_rows}, {f.is_item('%b_cs')}")
    widest = f.round_up(f.minimum("%n", tiling.nc), tiling.cols)
    b_bytes = f.emit(f"mul i64 {f.emit(f'mul i64 {widest}, {depth}')}, {tiling.item}")
    a_packed = f.offset("%scratch", f.round_up(b_bytes, 64))
    with f.loop(0, "%n", tiling.nc, "jc", properties=ROLLED) as jc:
        nc = f.minimum(f.emit(f"sub i64 %n, {jc}"), tiling.nc)
        whole = f.emit(f"mul i64 {f.emit(f'udiv i64 {nc}, {tiling.cols}')}, {tiling.cols}")
        packed_from = f.select(b_in_place, "i64", whole, 0)
        with f.loop(0, "%k", depth, "pc", properties=ROLLED) as pc:
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
    f: Emitter,
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
    a_in_place = f.emit(f"icmp sle i64 %n, {DIRECT_USES * tiling.cols}")
    panel_bytes = f.emit(f"mul i64 {kc}, {tiling.rows * item}")
    in_place_bytes = f.emit(f"mul i64 %a_rs, {tiling.rows}")
    a_rs = f.select(a_in_place, "i64", "%a_rs", item)
    a_cs = f.select(a_in_place, "i64", "%a_cs", tiling.rows * item)
    a_panel = f.select(a_in_place, "i64", in_place_bytes, panel_bytes)
    with f.loop(0, "%m", tiling.mc, "ic", properties=ROLLED) as ic:
        mc = f.minimum(f.emit(f"sub i64 %m, {ic}"), tiling.mc)
        a_block = f.at(a, ic, "%a_rs")
        packed_rows = f.select(a_in_place, "i64", 0, mc)
        f.do(
            f"call void @{name}.pack(ptr {a_packed}, ptr {a_block}, i64 {packed_rows}, "
            f"i64 {kc}, i64 %a_rs, i64 %a_cs, i64 {tiling.rows}, i64 {tiling.chunk})"
        )
        a_panels = f.select(a_in_place, "ptr", a_block, a_packed)
        c_block = f.at(c, ic, "%c_rs")
        with f.loop(0, nc, tiling.cols, "jr", properties=ROLLED) as jr:
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


def _emit_sweep_calls(f: Emitter, name: str, nr: str, arguments: str) -> None:
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
