"""The micro-kernel: a register tile of C, and storing it."""


from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling

# Steps along k that the micro-kernel prefetches ahead.
_PREFETCH_STEPS = 8


def emit_sweep(module: Module, name: str, tiling: Tiling, vectors: int) -> None:
    """The micro-kernel, swept down all rows of a block of A for one panel of B.

    The panel has `nr` columns, at most `vectors` vectors; `a_panel` is the distance between
    row panels of A; `add` says to accumulate onto C.
    """
    parameters = (
        "i64 %nr, i64 %m, i64 %kc, ptr noalias readonly %a, i64 %a_rs, i64 %a_cs, "
        "i64 %a_panel, ptr noalias readonly %b, i64 %b_rs, ptr noalias %c, i64 %c_rs, "
        "i64 %c_cs, i1 %add"
    )
    f = Emitter(module, f"{name}.sweep{vectors}", parameters, tiling)
    tile = f.emit(f"alloca [{tiling.rows * tiling.cols} x {tiling.type_}], align 64")
    c_panel = f.emit(f"mul i64 %c_rs, {tiling.rows}")
    pointers = [("ptr", "%a"), ("ptr", "%c")]
    with f.loop(0, "%m", tiling.rows, "row", accumulators=pointers, properties=ROLLED) as i:
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


def _emit_micro_kernel(f: Emitter, a: str, mr: str, vectors: int) -> list[list[str]]:
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
    with f.loop(0, "%kc", 1, "k", accumulators=carried, properties=ROLLED) as k:
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


def _emit_prefetch_tile(f: Emitter, c: str, mr: str, vectors: int) -> None:
    """Fetch the tile of C (if its rows are contiguous) while the sums for it are made."""
    with f.loop(0, mr, 1, "row", accumulators=[("ptr", c)], properties=ROLLED) as i:
        for v in range(vectors):
            _emit_prefetch(f, f.item_at(i.carried[0], v * f.tiling.lanes))
        i.carry(f.offset(i.carried[0], "%c_rs"))


def _emit_prefetch(f: Emitter, address: str) -> None:
    f.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    f.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 3, i32 1)")


def emit_store(module: Module, name: str, tiling: Tiling) -> None:
    """Write the `mr` x `nr` corner of a tile that was put in memory, to any strides."""
    parameters = (
        "ptr noalias readonly %tile, i64 %mr, i64 %nr, ptr noalias %c, i64 %c_rs, "
        "i64 %c_cs, i1 %add"
    )
    f = Emitter(module, f"{name}.store", parameters, tiling)
    whole = f.emit(f"and i64 %nr, {-tiling.lanes}")
    by_vectors = f.select(f.is_item("%c_cs"), "i64", whole, 0)
    rows = [("ptr", "%tile"), ("ptr", "%c")]
    with f.loop(0, "%mr", 1, "row", accumulators=rows, properties=ROLLED) as i:
        tile, c = i.carried
        with f.loop(0, by_vectors, tiling.lanes, "col", properties=ROLLED) as j:
            _emit_store_item(f, f.vector, f.item_at(tile, j), f.item_at(c, j))
        with f.loop(by_vectors, "%nr", 1, "col", properties=ROLLED) as j:
            _emit_store_item(f, tiling.type_, f.item_at(tile, j), f.at(c, j, "%c_cs"))
        i.carry(f.offset(tile, tiling.cols * tiling.item), f.offset(c, "%c_rs"))
    f.do("ret void")


def _emit_store_item(f: Emitter, type_: str, tile: str, c: str) -> None:
    """Store, or add where `%add` holds; C is not read otherwise (it may be fresh memory)."""
    value = f.load(type_, tile)
    add, store, before = f.label("add"), f.label("store"), f.current
    f.branch_if("%add", add, store)
    f.block(add)
    total = f.emit(f"fadd {type_} {f.load(type_, c)}, {value}")
    f.block(store)
    f.store(type_, f.phi(type_, [(value, before), (total, add)]), c)
