"""The micro-kernels: register tiles of C, swept over panels."""

from collections.abc import Callable

from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling, every

#: Steps along k that the micro-kernel prefetches ahead.
_PREFETCH_STEPS = 8
#: The same for rows of B that are read in place, from other pages and perhaps from memory.
_PREFETCH_ROWS = 16
#: The next panel of B is fetched during the product of this one with at least so many panels of A.
_UNHURRIED = 4
_LINE = 64

_PANEL = (
    "i64 %n, i64 %m, i64 %k, ptr noalias readonly %a, i64 %a_rs, i64 %a_cs, i64 %a_panel, "
    "ptr noalias readonly %b, i64 %b_rs, ptr noalias %c, i64 %c_rs, i1 %add"
)
#: Memory that will be read next: so many rows of it go to the L2 cache with every row of C.
_AHEAD = "ptr %ahead, i64 %ahead_rs, i64 %ahead_rows"
#: What `emit_sweep`'s function takes.
SWEEP = (
    "i64 %m, i64 %n, i64 %k, i64 %padded, ptr %a, i64 %a_rs, i64 %a_cs, i64 %a_panel, "
    "i1 %a_packed, ptr %b, i64 %b_rs, i64 %b_step, i1 %b_packed, i1 %b_readable, ptr %stream, "
    "ptr %b_after, ptr %c, i64 %c_rs, i64 %c_cs, i1 %add"
)
_FIRST = (
    "i64 %n, i64 %k, i64 %padded, ptr noalias readonly %a, i64 %a_rs, i64 %a_cs, "
    "ptr noalias readonly %b, i64 %b_rs, ptr noalias %to, ptr noalias %c, i64 %c_rs, i1 %add"
)


def emit_panel(module: Module, name: str, tiling: Tiling, vectors: int) -> None:
    """One panel of B, `n` columns that fill `vectors` vectors (the last one perhaps partly),
    times all rows of A, to contiguous rows of C.

    `a_panel` is the distance between full panels of A; `add` says to accumulate onto C. Rows
    that do not fill a panel are done by fours, twos and ones.
    """
    f = Emitter(module, f"{name}.panel{vectors}", _PANEL, tiling)
    mask = f.mask(f.emit(f"sub i64 %n, {(vectors - 1) * tiling.lanes}"))
    a, c = _emit_whole_tiles(
        f, mask, lambda a, _, there: (_emit_sums(f, a, tiling.rows, vectors, mask), there)
    )
    rows = tiling.rows // 2
    while rows:
        some = f.emit(f"icmp ne i64 {f.emit(f'and i64 %m, {rows}')}, 0")
        step, done, before = f.label("rows"), f.label("done"), f.current
        f.branch_if(some, step, done)
        f.block(step)
        _emit_tile(f, c, mask, _emit_sums(f, a, rows, vectors, mask))
        after = f.at(a, str(rows), "%a_rs"), f.at(c, str(rows), "%c_rs")
        last = f.current
        f.block(done)
        a, c = (
            f.phi("ptr", [(old, before), (new, last)])
            for old, new in zip((a, c), after, strict=True)
        )
        rows //= 2
    f.do("ret void")


def emit_packed_panel(module: Module, name: str, tiling: Tiling, vectors: int) -> None:
    """The same for packed A and B, whose strides are constants, and a k that is a multiple of
    `tiling.unroll`. Rows that do not fill a panel are left to the other kernel."""
    f = Emitter(module, f"{name}.packed{vectors}", f"{_PANEL}, {_AHEAD}", tiling)
    mask = f.mask(f.emit(f"sub i64 %n, {(vectors - 1) * tiling.lanes}"))
    a, c = _emit_whole_tiles(
        f, mask, lambda a, c, ahead: _emit_packed_sums(f, a, c, ahead, vectors), "%ahead"
    )
    rest = f.emit(f"and i64 %m, {tiling.rows - 1}")
    with f.if_then(f.emit(f"icmp ne i64 {rest}, 0")):
        f.do(
            f"call void @{name}.panel{vectors}(i64 %n, i64 {rest}, i64 %k, ptr {a}, i64 %a_rs, "
            f"i64 %a_cs, i64 %a_panel, ptr %b, i64 %b_rs, ptr {c}, i64 %c_rs, i1 %add)"
        )
    f.do("ret void")


def emit_first(module: Module, name: str, tiling: Tiling, vectors: int) -> None:
    """One panel of B, read in place, times the first whole panel of A; and packed meanwhile, for
    the rows of A that follow."""
    f = Emitter(module, f"{name}.first{vectors}", _FIRST, tiling)
    mask = f.mask(f.emit(f"sub i64 %n, {(vectors - 1) * tiling.lanes}"))
    _emit_tile(f, "%c", mask, _emit_sums(f, "%a", tiling.rows, vectors, mask, "%to"))
    line = tiling.item * tiling.lanes * vectors
    with f.loop("%k", "%padded", 1, "k", properties=ROLLED) as k:
        row = f.at("%to", k, line)
        for v in range(vectors):
            f.store(f.vector, "zeroinitializer", f.item_at(row, v * tiling.lanes))
    f.do("ret void")


def _emit_whole_tiles(
    f: Emitter,
    mask: str,
    sums: Callable[[str, str, str], tuple[list[list[str]], str]],
    ahead: str = "null",
) -> tuple[str, str]:
    """The panels of A that are full; returns where the rest of A and C are."""
    rows = f.tiling.rows
    whole = f.emit(f"and i64 %m, {-rows}")
    c_panel = f.emit(f"mul i64 %c_rs, {rows}")
    pointers = [("ptr", "%a"), ("ptr", "%c"), ("ptr", ahead)]
    with f.loop(0, whole, rows, "row", accumulators=pointers, properties=ROLLED) as i:
        a, c, ahead = i.carried
        values, ahead = sums(a, c, ahead)
        _emit_tile(f, c, mask, values)
        i.carry(f.offset(a, "%a_panel"), f.offset(c, c_panel), ahead)
    a, c, _ = i.results
    return a, c


def _emit_tile(f: Emitter, c: str, mask: str, sums: list[list[str]]) -> None:
    """Store one register tile, or add it to C."""
    places = [
        [f.item_at(row, v * f.tiling.lanes) for v in range(len(sums[0]))]
        for row in every(f, c, "%c_rs", len(sums))
    ]
    add, store, before = f.label("add"), f.label("store"), f.current
    f.branch_if("%add", add, store)
    f.block(add)
    totals = []
    for values, row in zip(sums, places, strict=True):
        whole = [f.load(f.vector, place) for place in row[:-1]]
        loaded = [*whole, f.masked_load(row[-1], mask)]
        totals.append(
            [f.emit(f"fadd {f.vector} {x}, {y}") for x, y in zip(loaded, values, strict=True)]
        )
    f.block(store)
    merged = [
        [f.phi(f.vector, [(x, before), (y, add)]) for x, y in zip(*pair, strict=True)]
        for pair in zip(sums, totals, strict=True)
    ]
    for values, row in zip(merged, places, strict=True):
        for value, place in zip(values[:-1], row[:-1], strict=True):
            f.store(f.vector, value, place)
        f.masked_store(values[-1], row[-1], mask)


def _emit_sums(
    f: Emitter, a: str, rows: int, vectors: int, mask: str, to: str | None = None
) -> list[list[str]]:
    """Sums over k of one register tile, as vectors by row; B is packed `to` a place, too.

    The row pointers stay put and share one running offset, which x86 addresses for free.
    """
    tiling, vector = f.tiling, f.vector
    starts = [f.opaque(start) for start in every(f, a, "%a_rs", rows)]
    ahead = f.emit(f"mul i64 %b_rs, {_PREFETCH_ROWS}")
    pointers = [("ptr", "%b")] + ([("ptr", to)] if to is not None else [])
    carried = [("i64", "0"), *pointers] + [(vector, "zeroinitializer")] * (rows * vectors)
    with f.loop(0, "%k", 1, "k", accumulators=carried, properties=ROLLED) as k:
        offset, b, *sums = k.carried
        copy = sums.pop(0) if to is not None else ""
        b_row = []
        for v in range(vectors):
            p = f.item_at(b, v * tiling.lanes)
            partial = tiling.masked and v == vectors - 1
            b_row.append(f.masked_load(p, mask) if partial else f.load(vector, p))
            if to is not None:
                f.store(vector, b_row[-1], f.item_at(copy, v * tiling.lanes))
        if to is not None:
            for v in range(vectors + 1):
                f.prefetch(f.offset(f.item_at(b, v * tiling.lanes), ahead))
        following = []
        for r, start in enumerate(starts):
            x = f.splat(vector, f.load(tiling.type_, f.offset(start, offset)))
            for v in range(vectors):
                following.append(f.fma(vector, x, b_row[v], sums[r * vectors + v]))
        moved = [f.offset(b, "%b_rs")]
        if to is not None:
            moved.append(f.item_at(copy, vectors * tiling.lanes))
        k.carry(f.emit(f"add i64 {offset}, %a_cs"), *moved, *following)
    return _by_rows(k.results[1 + len(pointers) :], vectors)


def _emit_packed_sums(
    f: Emitter, a: str, c: str, ahead: str, vectors: int
) -> tuple[list[list[str]], str]:
    """The same from packed panels: every address is a constant away from two pointers, since
    additions of addresses would compete with multiplications.

    The tile of C is prefetched row by row, evenly over the steps: all at once would take the
    buffers that A and B come through. So is what is `ahead`; returns where that goes on.
    """
    tiling, vector, rows = f.tiling, f.vector, f.tiling.rows
    a_step, b_step = rows * tiling.item, vectors * tiling.lanes * tiling.item
    share = f.round_up(f.parts("%k", rows), tiling.unroll)
    carried = [("ptr", c), ("ptr", ahead), ("ptr", a), ("ptr", "%b")]
    carried += [(vector, "zeroinitializer")] * (rows * vectors)
    with f.loop(0, "%k", share, "part", accumulators=carried, properties=ROLLED) as part:
        c_row, ahead, *carried_on = part.carried
        for v in range(vectors):
            f.prefetch(f.item_at(c_row, v * tiling.lanes))
        rows_ahead = [("ptr", ahead)]
        with f.loop(0, "%ahead_rows", 1, "ahead", accumulators=rows_ahead, properties=ROLLED) as q:
            for v in range(tiling.vectors + 1):
                f.prefetch(f.item_at(q.carried[0], v * tiling.lanes), level=2)
            q.carry(f.offset(q.carried[0], "%ahead_rs"))
        inner = list(zip([type_ for type_, _ in carried[2:]], carried_on, strict=True))
        end = f.minimum(f.emit(f"add i64 {part}, {share}"), "%k")
        with f.loop(
            part.index, end, tiling.unroll, "k", accumulators=inner, properties=ROLLED
        ) as k:
            a_next, b_next, *sums = k.carried
            for line in range(0, tiling.unroll * a_step, _LINE):
                f.prefetch(f.offset(a_next, line + _PREFETCH_STEPS * a_step))
            for u in range(tiling.unroll):
                b_row = [
                    f.load(vector, f.offset(b_next, u * b_step + v * tiling.lanes * tiling.item))
                    for v in range(vectors)
                ]
                for r in range(rows):
                    place = f.offset(a_next, u * a_step + r * tiling.item)
                    x = f.splat(vector, f.load(tiling.type_, place))
                    for v in range(vectors):
                        i = r * vectors + v
                        sums[i] = f.fma(vector, x, b_row[v], sums[i])
            a_next = f.offset(a_next, tiling.unroll * a_step)
            k.carry(a_next, f.offset(b_next, tiling.unroll * b_step), *sums)
        part.carry(f.offset(c_row, "%c_rs"), *q.results, *k.results)
    return _by_rows(part.results[4:], vectors), part.results[1]


def _by_rows(values: list[str], vectors: int) -> list[list[str]]:
    return [values[i : i + vectors] for i in range(0, len(values), vectors)]


def emit_sweep(module: Module, name: str, tiling: Tiling) -> None:
    """All panels of B times the rows of A.

    B is packed, panel after panel, or lies where its columns are `b_step` bytes apart. Then it is
    packed to the `stream`, panel by panel, unless that is null: this needs `b_readable`, and so do
    the kernels that read a panel in place and pack it by the way, while the next one is fetched;
    `b_after` is what follows the last one, or null. A panel has `vectors` vectors, but four are
    two and two. Packed operands are `padded` along k.
    """
    f = Emitter(module, f"{name}.sweep", SWEEP, tiling)
    item = tiling.item
    tile = f.emit(f"alloca [{tiling.rows * tiling.cols} x {tiling.type_}], align 64")
    streamed = f.emit("icmp ne ptr %stream, null")
    both_packed = f.both("%a_packed", f.either("%b_packed", streamed))
    steps = f.select(both_packed, "i64", "%padded", "%k")
    contiguous = f.is_item("%c_cs")
    whole = f.emit(f"icmp sge i64 %m, {tiling.rows}")
    by_the_way = f.both(f.both(contiguous, whole), "%b_readable")
    head, body, end = f.label("head"), f.label("panel"), f.label("end")
    before = f.current
    f.block(head)
    j_next, next_block = f.fresh("j"), f.label("next")
    j = f.phi("i64", [("0", before), (j_next, next_block)])
    f.branch_if(f.emit(f"icmp slt i64 {j}, %n"), body, end)
    f.block(body)
    width = emit_width(f, f.emit(f"sub i64 %n, {j}"))
    n = f.rest("%n", j, width)
    b, c = f.at("%b", j, "%b_step"), f.at("%c", j, "%c_cs")
    line = f.emit(f"mul i64 {width}, {item}")
    b_rs = f.select(f.either("%b_packed", streamed), "i64", line, "%b_rs")
    a, b, c, m = _emit_packing(f, name, b, c, n, width, streamed, by_the_way)
    straight, scatter = f.label("straight"), f.label("scatter")
    f.branch_if(contiguous, straight, scatter)
    f.block(straight)
    following = f.emit(f"add i64 {j}, {width}")
    more = f.emit(f"icmp slt i64 {following}, %n")
    ahead = f.select(more, "ptr", f.at("%b", following, "%b_step"), "%b_after")
    wanted = f.both(by_the_way, f.both(streamed, f.emit(f"icmp ne ptr {ahead}, null")))
    turns = f.maximum(f.emit(f"and i64 {m}, {-tiling.rows}"), tiling.rows)
    wanted = f.both(wanted, f.emit(f"icmp uge i64 {turns}, {_UNHURRIED * tiling.rows}"))
    each = f.emit(f"add i64 {f.emit(f'udiv i64 %k, {turns}')}, 1")
    fetched = f"ptr {ahead}, i64 %b_rs, i64 {f.select(wanted, 'i64', each, 0)}"
    common = f"i64 {steps}, ptr {{}}, i64 %a_rs, i64 %a_cs, i64 %a_panel, ptr {b}, i64 {b_rs}"
    _emit_either_call(
        f, name, width, both_packed,
        f"i64 {n}, i64 {m}, {common.format(a)}, ptr {c}, i64 %c_rs, i1 %add", fetched,
    )  # fmt: skip
    f.branch(next_block)
    f.block(scatter)
    starts = [("ptr", a), ("ptr", c)]
    with f.loop(0, m, tiling.rows, "row", accumulators=starts, properties=ROLLED) as i:
        rows = f.rest(m, i, tiling.rows)
        _emit_either_call(
            f, name, width, both_packed,
            f"i64 {n}, i64 {rows}, {common.format(i.carried[0])}, "
            f"ptr {tile}, i64 {tiling.cols * item}, i1 false", "ptr null, i64 0, i64 0",
        )  # fmt: skip
        _emit_scatter(f, tile, rows, n, i.carried[1])
        c_panel = f.emit(f"mul i64 %c_rs, {tiling.rows}")
        i.carry(f.offset(i.carried[0], "%a_panel"), f.offset(i.carried[1], c_panel))
    f.block(next_block)
    f.do(f"{j_next} = add i64 {j}, {width}")
    f.branch(head)
    f.block(end)
    f.do("ret void")


def _emit_packing(
    f: Emitter, name: str, b: str, c: str, n: str, width: str, streamed: str, by_the_way: str
) -> tuple[str, str, str, str]:
    """Pack a panel to the stream if there is one, `by_the_way` of the first rows of A where that is
    possible; A, the panel, C and the number of rows from where the sweep goes on."""
    stream, sweep = f.label("stream"), f.label("sweep")
    start = f.current
    f.branch_if(streamed, stream, sweep)
    f.block(stream)
    first, pack = f.label("first"), f.label("pack")
    f.branch_if(by_the_way, first, pack)
    f.block(first)
    arguments = (
        f"i64 {n}, i64 %k, i64 %padded, ptr %a, i64 %a_rs, i64 %a_cs, ptr {b}, i64 %b_rs, "
        f"ptr %stream, ptr {c}, i64 %c_rs, i1 %add"
    )
    _emit_panel_call(f, f"{name}.first", width, arguments)
    later = f.offset("%a", "%a_panel"), f.at(c, str(f.tiling.rows), "%c_rs")
    fewer = f.emit(f"sub i64 %m, {f.tiling.rows}")
    after_first = f.current
    f.branch(sweep)
    f.block(pack)
    f.do(
        f"call void @{name}.pack(ptr %stream, ptr {b}, i64 {n}, i64 %k, i64 %padded, "
        f"i64 %b_step, i64 %b_rs, i64 {width})"
    )
    f.branch(sweep)
    f.block(sweep)
    ways = (start, after_first, pack)
    b = f.phi("ptr", list(zip((b, "%stream", "%stream"), ways, strict=True)))
    a = f.phi("ptr", list(zip(("%a", later[0], "%a"), ways, strict=True)))
    c = f.phi("ptr", list(zip((c, later[1], c), ways, strict=True)))
    m = f.phi("i64", list(zip(("%m", fewer, "%m"), ways, strict=True)))
    return a, b, c, m


def emit_width(f: Emitter, left: str) -> str:
    """Columns of the next panel of B when `left` are left, in whole vectors."""
    tiling = f.tiling
    width = f.minimum(f.round_up(left, tiling.lanes), tiling.cols)
    lonely = (tiling.vectors + 1) * tiling.lanes
    fewer = (tiling.vectors - 1) * tiling.lanes
    too_many = f.emit(f"icmp ugt i64 {left}, {lonely}")
    too_few = f.emit(f"icmp ule i64 {left}, {tiling.cols}")
    return f.select(f.either(too_many, too_few), "i64", width, fewer)


def _emit_either_call(
    f: Emitter, name: str, width: str, both_packed: str, arguments: str, fetched: str
) -> None:
    """Call the micro-kernel of `width` columns for packed operands, or for any."""
    packed, strided, swept = f.label("packed"), f.label("strided"), f.label("swept")
    f.branch_if(both_packed, packed, strided)
    f.block(packed)
    _emit_panel_call(f, f"{name}.packed", width, f"{arguments}, {fetched}")
    f.branch(swept)
    f.block(strided)
    _emit_panel_call(f, f"{name}.panel", width, arguments)
    f.block(swept)


def _emit_panel_call(f: Emitter, kernel: str, width: str, arguments: str) -> None:
    """Call the kernel of `width` columns."""
    done = f.label("done")
    for vectors in range(f.tiling.vectors, 1, -1):
        this, narrower = f.label("this"), f.label("narrower")
        fits = f.emit(f"icmp eq i64 {width}, {vectors * f.tiling.lanes}")
        f.branch_if(fits, this, narrower)
        f.block(this)
        f.do(f"call void @{kernel}{vectors}({arguments})")
        f.branch(done)
        f.block(narrower)
    f.do(f"call void @{kernel}1({arguments})")
    f.block(done)


def _emit_scatter(f: Emitter, tile: str, rows: str, n: str, c: str) -> None:
    """Move a tile to any strides."""
    tiling = f.tiling
    starts = [("ptr", tile), ("ptr", c)]
    with f.loop(0, rows, 1, "r", accumulators=starts, properties=ROLLED) as r:
        from_row, to_row = r.carried
        with f.loop(0, n, 1, "q", accumulators=[("ptr", to_row)], properties=ROLLED) as q:
            place = q.carried[0]
            value = f.load(tiling.type_, f.item_at(from_row, q))
            add, store, before = f.label("add"), f.label("store"), f.current
            f.branch_if("%add", add, store)
            f.block(add)
            total = f.emit(f"fadd {tiling.type_} {f.load(tiling.type_, place)}, {value}")
            f.block(store)
            f.store(tiling.type_, f.phi(tiling.type_, [(value, before), (total, add)]), place)
            q.carry(f.offset(place, "%c_cs"))
        r.carry(f.offset(from_row, tiling.cols * tiling.item), f.offset(to_row, "%c_rs"))
