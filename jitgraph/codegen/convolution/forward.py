"""The convolution: filters times patches, panels of which are packed as they are needed."""

from __future__ import annotations

from jitgraph.codegen.convolution.direct import emit_direct, emit_is_direct
from jitgraph.codegen.convolution.geometry import (
    ENOUGH_TASKS,
    MOST_CHUNKS,
    Fields,
    Memory,
    emit_caller,
    emit_chunks,
    emit_clear,
    emit_copies,
    emit_epilogue,
    emit_offsets,
    emit_pieces,
    emit_runs,
    emit_tasks,
    rounded,
)
from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.kernel import emit_width
from jitgraph.codegen.matmul.parallel import TASK, emit_run
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling

#: Elements of the filters from which on other threads help to pack them.
_PACKING = 1 << 15
_FIELDS = Fields(("parts", "blocks", "deep", "block", "own", "direct"))


def emit_forward(module: Module, base: str, tiling: Tiling) -> None:
    """Emit `i64 {base}.conv(geometry, x, w, y, memory, epilogue, context)`. Tasks are images, or
    parts of them; what follows on these comes when they all are done."""
    name = f"{base}.conv"
    emit_copies(module, name, tiling, _FIELDS)
    _emit_patches(module, name, tiling)
    _emit_pack_task(module, name, base, tiling)
    emit_direct(module, name, tiling, _FIELDS)
    _emit_task(module, name, base, tiling)
    _emit_rest_task(module, name, tiling)
    f, u = emit_caller(module, name, tiling)
    record = _FIELDS.emit_record(f)
    u["blocks"], u["deep"], u["block"] = emit_blocks_of(f, u["depth"], u["o"])
    images = f.product(u["images"], u["groups"])
    more = f.parts(str(ENOUGH_TASKS), f.maximum(images, 1))
    direct = emit_is_direct(f, u)
    u["direct"] = f.emit(f"zext i1 {direct} to i64")
    units = f.select(direct, "i64", f.product(u["oz"], u["oy"]), f.parts(u["places"], tiling.cols))
    u["parts"] = f.maximum(f.minimum(more, units), 1)
    made = f.product(images, u["o"], u["places"])
    emit_chunks(f, u, f.product(images, u["parts"]), made)
    panel = tiling.cols * (tiling.kc + tiling.unroll) * tiling.item
    nowhere = f.emit("icmp eq ptr %out, null")
    apart = f.emit(f"icmp ugt i64 {u['parts']}, 1")
    image = rounded(f, f.product(u["groups"], u["o"], u["places"], tiling.item))
    u["own"] = f.select(f.both(nowhere, f.emit(f"xor i1 {apart}, true")), "i64", image, 0)
    packed = f.emit(f"add i64 {rounded(f, u['copied'])}, {panel}")
    u["slot_bytes"] = f.emit(f"add i64 {packed}, {u['own']}")
    memory = Memory(f)
    u["flags"] = memory.part(8 * MOST_CHUNKS)
    u["offsets"] = memory.part(f.product(u["depth"], 8))
    u["packed"] = memory.part(f.product(u["groups"], u["blocks"], u["block"], tiling.item))
    u["slot_memory"] = memory.part(f.product(u["slots"], u["slot_bytes"]))
    every = f.select(f.both(nowhere, apart), "i64", f.product(made, tiling.item), 0)
    u["out"] = f.select(nowhere, "ptr", memory.part(every), "%out")
    memory.leave_if_asked()
    emit_clear(f, u["flags"], str(8 * MOST_CHUNKS))
    emit_offsets(f, u, u["c"])
    typed = _FIELDS.typed(u)
    several = f.product(u["groups"], u["o"], u["depth"])
    much = f.emit(f"icmp ugt i64 {several}, {_PACKING}")
    packing = f.select(direct, "i64", 0, f.product(u["groups"], u["blocks"]))
    emit_run(f, f"{name}.pack_task", record, typed, packing, much)
    emit_run(f, f"{name}.task", record, typed, u["chunks"], "true")
    with f.if_then(f.both(apart, f.emit("icmp ne ptr %epilogue, null"))):
        several = f.emit(f"icmp ugt i64 {u['chunks']}, 1")
        chunks = f.product(u["images"], _pieces(f, u))
        emit_run(f, f"{name}.rest_task", record, typed, chunks, several)
    f.do("ret i64 0")


def _pieces(f: Emitter, u: dict[str, str]) -> str:
    """In how many pieces the channels of an image are, whose outputs were made in parts."""
    filters, images = f.product(u["groups"], u["o"]), f.maximum(u["images"], 1)
    return f.maximum(f.minimum(f.emit(f"udiv i64 {MOST_CHUNKS}, {images}"), filters), 1)


def _emit_rest_task(module: Module, name: str, tiling: Tiling) -> None:
    """What follows on some channels of an image whose outputs were made in parts."""
    f = Emitter(module, f"{name}.rest_task", TASK, tiling)
    u = _FIELDS.unpack(f)
    pieces, filters = _pieces(f, u), f.product(u["groups"], u["o"])
    image, piece = (f.emit(f"{op} i64 %chunk, {pieces}") for op in ("udiv", "urem"))
    channels = _emit_bounds(f, piece, filters, pieces)
    at = f.item_at(u["out"], f.product(image, filters, u["places"]))
    emit_epilogue(f, u, "%chunk", image, at, *channels)
    f.do("ret void")


def emit_blocks_of(f: Emitter, depth: str, rows: str) -> tuple[str, str, str]:
    """Blocks of a sum, steps of a block, and elements of one that is packed for some rows."""
    tiling = f.tiling
    blocks = f.maximum(f.parts(depth, tiling.kc), 1)
    deep = f.maximum(f.parts(depth, blocks), 1)
    size = f.product(f.round_up(rows, tiling.rows), f.round_up(deep, tiling.unroll))
    return blocks, deep, size


def _emit_pack_task(module: Module, name: str, base: str, tiling: Tiling) -> None:
    """Pack the filters of a group, for one block."""
    f = Emitter(module, f"{name}.pack_task", TASK, tiling)
    u, item = _FIELDS.unpack(f), tiling.item
    group = f.emit(f"udiv i64 %chunk, {u['blocks']}")
    done = f.product(f.emit(f"urem i64 %chunk, {u['blocks']}"), u["deep"])
    deep = f.rest(u["depth"], done, u["deep"])
    stride = f.product(u["depth"], item)
    source = f.item_at(f.at(u["b"], f.product(group, u["o"]), stride), done)
    to = f.item_at(u["packed"], f.product("%chunk", u["block"]))
    f.do(
        f"call void @{base}.pack_a(ptr {to}, ptr {source}, i64 {u['o']}, i64 {deep}, "
        f"i64 {f.round_up(deep, tiling.unroll)}, i64 {stride}, i64 {item})"
    )
    f.do("ret void")


def _emit_task(module: Module, name: str, base: str, tiling: Tiling) -> None:
    """Some outputs of one image and group, panel by panel."""
    item = tiling.item
    with emit_tasks(module, f"{name}.task", tiling, _FIELDS) as (f, u, scratch, task):
        part = f.emit(f"urem i64 {task}, {u['parts']}")
        image = f.emit(f"udiv i64 {task}, {u['parts']}")
        group = f.emit(f"urem i64 {image}, {u['groups']}")
        source = emit_image(f, u, name, image, scratch, u["a"])
        own = f.offset(scratch, rounded(f, u["copied"]))
        panel = f.offset(own, u["own"])
        first_filter = f.product(group, u["o"])
        kept = f.emit(f"icmp eq i64 {u['own']}, 0")
        picture = f.emit(f"udiv i64 {image}, {u['groups']}")
        whole = f.item_at(u["out"], f.product(picture, u["groups"], u["o"], u["places"]))
        whole = f.select(kept, "ptr", whole, own)
        out = f.item_at(whole, f.product(first_filter, u["places"]))
        direct, packed, end = f.label("direct"), f.label("packed"), f.label("columns.end")
        f.branch_if(f.emit(f"icmp ne i64 {u['direct']}, 0"), direct, packed)
        f.block(direct)
        first, last = _emit_bounds(f, part, f.product(u["oz"], u["oy"]), u["parts"])
        with f.loop(0, u["o"], name="filter", properties=ROLLED) as o:
            number = f.emit(f"add i64 {first_filter}, {o}")
            filter_ = f.item_at(u["b"], f.product(number, u["depth"]))
            to = f.item_at(out, f.product(o.index, u["places"]))
            f.do(f"call void @{name}.direct(ptr %record, ptr {source}, ptr {filter_}, ptr {to}, "
                 f"i64 {first}, i64 {last})")  # fmt: skip
        f.branch(end)
        f.block(packed)
        panels = _emit_bounds(f, part, f.parts(u["places"], tiling.cols), u["parts"])
        first, last = (f.product(p, tiling.cols) for p in panels)
        last = f.minimum(last, u["places"])
        head = f.begin_loop("column", [("i64", first)])
        j = head.carried[0]
        body = f.label("panel")
        f.branch_if(f.emit(f"icmp slt i64 {j}, {last}"), body, end)
        f.block(body)
        left = f.emit(f"sub i64 {last}, {j}")
        width = emit_width(f, left)
        n = f.minimum(left, width)
        with f.loop(0, u["blocks"], name="block", properties=ROLLED) as block:
            done = f.product(block.index, u["deep"])
            deep = f.rest(u["depth"], done, u["deep"])
            padded = f.round_up(deep, tiling.unroll)
            f.do(
                f"call void @{name}.patches(ptr %record, ptr {panel}, ptr {source}, "
                f"ptr {f.at(u['offsets'], done, 8)}, i64 {deep}, i64 {padded}, "
                f"i64 {j}, i64 {n}, i64 {width})"
            )
            number = f.emit(f"add i64 {f.product(group, u['blocks'])}, {block}")
            a = f.item_at(u["packed"], f.product(number, u["block"]))
            emit_packed_sweep(f, base, u["o"], n, padded, a, panel, f.item_at(out, j),
                              f.product(u["places"], item), block.index)  # fmt: skip
        f.end_loop(head, [f.emit(f"add i64 {j}, {width}")])
        f.block(end)
        with f.if_then(f.emit(f"icmp eq i64 {u['parts']}, 1")):
            behind = f.emit(f"add i64 {first_filter}, {u['o']}")
            emit_epilogue(f, u, "%chunk", picture, whole, first_filter, behind)


def _emit_bounds(f: Emitter, part: str, units: str, parts: str) -> tuple[str, str]:
    """The first and the last (exclusive) unit of a part."""
    first, last = (
        f.emit(f"udiv i64 {f.product(p, units)}, {parts}")
        for p in (part, f.emit(f"add i64 {part}, 1"))
    )
    return first, last


def emit_image(
    f: Emitter, u: dict[str, str], name: str, image: str, scratch: str, images: str
) -> str:
    """Where the channels of a group of an image are read: where they lie, or between zeros."""
    size = f.product(u["c"], u["iz"], u["iy"], u["ix"])
    plain = f.item_at(images, f.product(image, size))
    framed = f.emit(f"icmp ne i64 {u['copied']}, 0")
    with f.if_then(framed):
        f.do(f"call void @{name}.frame(ptr %record, ptr {scratch}, ptr {plain}, i64 {u['c']})")
    return f.select(framed, "ptr", scratch, plain)


def emit_packed_sweep(
    f: Emitter, base: str, m: str, n: str, k: str, a: str, b: str, c: str, c_rs: str, add: str
) -> None:
    """One packed panel times all packed rows; `add` is not 0 where C has the sum so far."""
    item, rows = f.tiling.item, f.tiling.rows
    adds = f.emit(f"icmp ne i64 {add}, 0")
    f.do(
        f"call void @{base}.sweep(i64 {m}, i64 {n}, i64 {k}, i64 {k}, ptr {a}, i64 {item}, "
        f"i64 {rows * item}, i64 {f.product(k, rows * item)}, i1 true, ptr {b}, i64 0, i64 0, "
        f"i1 true, i1 false, ptr null, ptr null, ptr {c}, i64 {c_rs}, i64 {item}, i1 {adds})"
    )


def _emit_patches(module: Module, name: str, tiling: Tiling) -> None:
    """Pack a panel: a row for each element of the filters, a column for each place."""
    parameters = (
        "ptr %record, ptr noalias %to, ptr noalias readonly %from, ptr readonly %offsets, "
        "i64 %deep, i64 %padded, i64 %first, i64 %count, i64 %width"
    )
    f = Emitter(module, f"{name}.patches", parameters, tiling)
    u, item = _FIELDS.unpack(f), tiling.item
    step = f.product("%width", item)
    with f.if_then(f.emit("icmp slt i64 %count, %width")):
        emit_clear(f, "%to", f.product("%deep", step))
    more = f.emit("sub i64 %padded, %deep")
    emit_clear(f, f.at("%to", "%deep", step), f.product(more, step))
    for done, place, length in emit_runs(f, u, "%first", "%count"):
        for start, mask in emit_pieces(f, u, length):
            to = f.item_at(f.item_at("%to", done), start)
            along = f.product(start, u["sx"], item)
            source = f.offset(f.offset("%from", place), along)
            starts = [("ptr", to), ("ptr", "%offsets")]
            with f.loop(0, "%deep", 1, "k", accumulators=starts, properties=ROLLED) as k:
                row, entry = k.carried
                at = f.offset(source, f.emit(f"load i64, ptr {entry}"))
                if mask is None:
                    f.store(tiling.type_, f.load(tiling.type_, at), row)
                elif tiling.masked:
                    f.masked_store(f.masked_load(at, mask), row, mask)
                else:
                    f.store(f.vector, f.load(f.vector, at), row)
                k.carry(f.offset(row, step), f.offset(entry, 8))
    f.do("ret void")
