"""The adjoint by the images: turned filters times the adjoint of the outputs, whose rows are added
up where the filters saw them. For few channels of a group (depthwise) it is the convolution of the
adjoint of the outputs with the turned filters, if those move by one."""

from __future__ import annotations

from jitgraph.codegen.convolution.direct import FEW
from jitgraph.codegen.convolution.forward import emit_blocks_of, emit_packed_sweep
from jitgraph.codegen.convolution.geometry import (
    ENOUGH_TASKS,
    GIVEN,
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

_PACKING = 1 << 15
#: The products of a panel take this part of the second-level cache at most.
_OF_L2 = 4
_FIELDS = Fields(("parts", "share", "blocks", "deep", "block", "framed", "products", "own"))


def emit_by_input(module: Module, base: str, tiling: Tiling) -> None:
    """Emit `i64 {base}.conv_by_input(geometry, g, w, x, memory, epilogue, context)`. Tasks are some
    channels (`share`) of an image."""
    name = f"{base}.conv_by_input"
    emit_copies(module, name, tiling, _FIELDS)
    _emit_pack_task(module, name, base, tiling)
    _emit_added(module, name, tiling)
    _emit_task(module, name, base, tiling)
    f, u = emit_caller(module, name, tiling)
    _emit_as_convolution(f, u, base)
    record = _FIELDS.emit_record(f)
    images = f.product(u["images"], u["groups"])
    room = module.target.l2_bytes // _OF_L2 // (tiling.cols * tiling.item)
    fit = f.maximum(f.emit(f"udiv i64 {room}, {u['volume']}"), 1)
    more = f.maximum(f.parts(str(ENOUGH_TASKS), f.maximum(images, 1)), f.parts(u["c"], fit))
    parts = f.maximum(f.minimum(more, u["c"]), 1)
    u["share"] = f.maximum(f.parts(u["c"], parts), 1)
    u["parts"] = f.parts(u["c"], u["share"])
    rows = f.product(u["share"], u["volume"])
    u["blocks"], u["deep"], u["block"] = emit_blocks_of(f, u["o"], rows)
    inner = f.product(u["c"], u["iz"], u["iy"], u["ix"])
    emit_chunks(f, u, f.product(images, u["parts"]), f.product(images, inner))
    panel = tiling.cols * (tiling.kc + tiling.unroll) * tiling.item
    whole = f.emit(f"icmp eq i64 {u['copied']}, 0")
    u["framed"] = rounded(f, f.select(whole, "i64", 0, f.product(u["share"], u["channel"])))
    u["products"] = f.product(f.round_up(rows, tiling.rows), tiling.cols * tiling.item)
    swept = f.emit(f"add i64 {rounded(f, u['products'])}, {panel}")
    nowhere = f.emit("icmp eq ptr %out, null")
    image = rounded(f, f.product(u["groups"], inner, tiling.item))
    u["own"] = f.select(nowhere, "i64", image, 0)
    swept = f.emit(f"add i64 {swept}, {u['framed']}")
    u["slot_bytes"] = f.emit(f"add i64 {swept}, {u['own']}")
    memory = Memory(f)
    u["flags"] = memory.part(8 * MOST_CHUNKS)
    u["offsets"] = memory.part(f.product(u["volume"], 8))
    packing = f.product(u["groups"], u["parts"], u["blocks"])
    u["packed"] = memory.part(f.product(packing, u["block"], tiling.item))
    u["slot_memory"] = memory.part(f.product(u["slots"], u["slot_bytes"]))
    memory.leave_if_asked()
    emit_clear(f, u["flags"], str(8 * MOST_CHUNKS))
    emit_offsets(f, u, "1")
    typed = _FIELDS.typed(u)
    much = f.emit(f"icmp ugt i64 {f.product(u['groups'], u['o'], u['depth'])}, {_PACKING}")
    emit_run(f, f"{name}.pack_task", record, typed, packing, much)
    emit_run(f, f"{name}.task", record, typed, u["chunks"], "true")
    f.do("ret i64 0")


def _emit_as_convolution(f: Emitter, u: dict[str, str], base: str) -> None:
    """Leave, with what is asked for done, where `conv` does it."""
    item = f.tiling.item
    suits = f.emit(f"icmp ule i64 {u['c']}, {FEW}")
    turned = u | {"c": u["o"], "o": u["c"]}
    for a in "zyx":
        reach = f.product(f.emit(f"sub i64 {u['k' + a]}, 1"), u["d" + a])
        before = f.emit(f"sub i64 {reach}, {u['p' + a]}")
        inside = f.emit(f"icmp sge i64 {before}, 0")
        suits = f.both(suits, f.both(inside, f.emit(f"icmp eq i64 {u['s' + a]}, 1")))
        turned |= {"i" + a: u["o" + a], "o" + a: u["i" + a], "p" + a: before}
    with f.if_then(suits):
        geometry = f.record([f"i64 {turned[word]}" for word in GIVEN])
        size = rounded(f, f.product(u["groups"], u["o"], u["depth"], item))
        called = f"call i64 @{base}.conv(ptr {geometry}, "
        then = "ptr %epilogue, ptr %context)"
        asked = f.emit(f"{called}ptr null, ptr null, ptr %out, ptr null, {then}")
        with f.if_then(f.emit("icmp eq ptr %memory, null")):
            f.do(f"ret i64 {f.emit(f'add i64 {asked}, {size}')}")
        _emit_turned(f, u)
        rest = f.offset("%memory", size)
        f.emit(f"{called}ptr %a, ptr %memory, ptr %out, ptr {rest}, {then}")
        f.do("ret i64 0")


def _emit_turned(f: Emitter, u: dict[str, str]) -> None:
    """The filters at the start of the memory: a filter for each channel, the elements reversed."""
    whole = f.emit(f"sub i64 {u['volume']}, 1")
    with (
        f.loop(0, u["groups"], name="group", properties=ROLLED) as group,
        f.loop(0, u["o"], name="filter", properties=ROLLED) as o,
        f.loop(0, u["c"], name="channel", properties=ROLLED) as c,
    ):
        filter_ = f.emit(f"add i64 {f.product(group.index, u['o'])}, {o}")
        plane = f.emit(f"add i64 {f.product(filter_, u['c'])}, {c}")
        channel = f.emit(f"add i64 {f.product(group.index, u['c'])}, {c}")
        turned = f.emit(f"add i64 {f.product(channel, u['o'])}, {o}")
        source = f.item_at("%b", f.product(plane, u["volume"]))
        to = f.item_at("%memory", f.product(turned, u["volume"]))
        with f.loop(0, u["volume"], name="element", properties=ROLLED) as k:
            value = f.load(f.tiling.type_, f.item_at(source, k))
            back = f.emit(f"sub i64 {whole}, {k}")
            f.store(f.tiling.type_, value, f.item_at(to, back))


def _emit_channels(f: Emitter, u: dict[str, str], part: str) -> tuple[str, str]:
    """The first channel of a part, and how many it has."""
    first = f.product(part, u["share"])
    return first, f.rest(u["c"], first, u["share"])


def _emit_pack_task(module: Module, name: str, base: str, tiling: Tiling) -> None:
    """Pack the turned filters of a group for some channels, for one block."""
    f = Emitter(module, f"{name}.pack_task", TASK, tiling)
    u, item = _FIELDS.unpack(f), tiling.item
    rest = f.emit(f"udiv i64 %chunk, {u['blocks']}")
    group = f.emit(f"udiv i64 {rest}, {u['parts']}")
    channel, channels = _emit_channels(f, u, f.emit(f"urem i64 {rest}, {u['parts']}"))
    done = f.product(f.emit(f"urem i64 %chunk, {u['blocks']}"), u["deep"])
    deep = f.rest(u["o"], done, u["deep"])
    stride = f.product(u["depth"], item)
    filter_ = f.emit(f"add i64 {f.product(group, u['o'])}, {done}")
    source = f.item_at(f.at(u["b"], filter_, stride), f.product(channel, u["volume"]))
    to = f.item_at(u["packed"], f.product("%chunk", u["block"]))
    f.do(
        f"call void @{base}.pack_a(ptr {to}, ptr {source}, "
        f"i64 {f.product(channels, u['volume'])}, i64 {deep}, "
        f"i64 {f.round_up(deep, tiling.unroll)}, i64 {item}, i64 {stride})"
    )
    f.do("ret void")


def _emit_task(module: Module, name: str, base: str, tiling: Tiling) -> None:
    """Some channels of one image: panel by panel of the outputs."""
    item = tiling.item
    with emit_tasks(module, f"{name}.task", tiling, _FIELDS) as (f, u, scratch, task):
        part = f.emit(f"urem i64 {task}, {u['parts']}")
        image = f.emit(f"udiv i64 {task}, {u['parts']}")
        group = f.emit(f"urem i64 {image}, {u['groups']}")
        channel, channels = _emit_channels(f, u, part)
        inner = f.product(u["iz"], u["iy"], u["ix"])
        first = f.emit(f"add i64 {f.product(group, u['c'])}, {channel}")
        kept = f.emit(f"icmp eq i64 {u['own']}, 0")
        picture = f.emit(f"udiv i64 {image}, {u['groups']}")
        whole = f.item_at(u["out"], f.product(picture, u["groups"], u["c"], inner))
        whole = f.select(kept, "ptr", whole, scratch)
        plain = f.item_at(whole, f.product(first, inner))
        scratch = f.offset(scratch, u["own"])
        framed = f.emit(f"icmp ne i64 {u['framed']}, 0")
        to = f.select(framed, "ptr", scratch, plain)
        emit_clear(f, to, f.product(channels, u["channel"]))
        products = f.offset(scratch, u["framed"])
        panel = f.offset(products, rounded(f, u["products"]))
        over = f.item_at(u["a"], f.product(image, u["o"], u["places"]))
        rows = f.product(channels, u["volume"])
        head = f.begin_loop("column", [("i64", "0")])
        j = head.carried[0]
        body, end = f.label("panel"), f.label("columns.end")
        f.branch_if(f.emit(f"icmp slt i64 {j}, {u['places']}"), body, end)
        f.block(body)
        left = f.emit(f"sub i64 {u['places']}, {j}")
        width = emit_width(f, left)
        n = f.minimum(left, width)
        stride = f.product(u["places"], item)
        with f.loop(0, u["blocks"], name="block", properties=ROLLED) as block:
            done = f.product(block.index, u["deep"])
            deep = f.rest(u["o"], done, u["deep"])
            padded = f.round_up(deep, tiling.unroll)
            source = f.item_at(f.at(over, done, stride), j)
            f.do(
                f"call void @{base}.pack_b(ptr {panel}, ptr {source}, i64 {n}, i64 {deep}, "
                f"i64 {padded}, i64 {item}, i64 {stride})"
            )
            number = f.emit(f"add i64 {f.product(group, u['parts'])}, {part}")
            number = f.emit(f"add i64 {f.product(number, u['blocks'])}, {block}")
            a = f.item_at(u["packed"], f.product(number, u["block"]))
            emit_packed_sweep(f, base, rows, n, padded, a, panel, products,
                              str(tiling.cols * item), block.index)  # fmt: skip
        f.do(f"call void @{name}.added(ptr %record, ptr {to}, ptr {products}, i64 {channels}, "
             f"i64 {j}, i64 {n})")  # fmt: skip
        f.end_loop(head, [f.emit(f"add i64 {j}, {width}")])
        f.block(end)
        with f.if_then(framed):
            f.do(f"call void @{name}.unframe(ptr %record, ptr {plain}, ptr {scratch}, "
                 f"i64 {channels})")  # fmt: skip
        behind = f.emit(f"add i64 {first}, {channels}")
        emit_epilogue(f, u, "%chunk", picture, whole, first, behind)


def _emit_added(module: Module, name: str, tiling: Tiling) -> None:
    """Add the products of a panel to the input. Channels come innermost: elements of a filter that
    are neighbours add to overlapping vectors, which should not follow upon each other."""
    parameters = (
        "ptr %record, ptr noalias %to, ptr noalias readonly %from, i64 %channels, i64 %first, "
        "i64 %count"
    )
    f = Emitter(module, f"{name}.added", parameters, tiling)
    u, item = _FIELDS.unpack(f), tiling.item
    line = tiling.cols * item
    between = f.product(u["volume"], line)
    for done, place, length in emit_runs(f, u, "%first", "%count"):
        for start, mask in emit_pieces(f, u, length):
            source = f.item_at(f.item_at("%from", done), start)
            along = f.product(start, u["sx"], item)
            to = f.offset(f.offset("%to", place), along)
            with f.loop(0, u["volume"], name="element", properties=ROLLED) as k:
                offset = f.emit(f"load i64, ptr {f.at(u['offsets'], k, 8)}")
                starts = [("ptr", f.offset(to, offset)), ("ptr", f.at(source, k, line))]
                with f.loop(0, "%channels", name="c", accumulators=starts,
                            properties=ROLLED) as c:  # fmt: skip
                    _emit_added_piece(f, mask, *c.carried)
                    c.carry(f.offset(c.carried[0], u["channel"]), f.offset(c.carried[1], between))
    f.do("ret void")


def _emit_added_piece(f: Emitter, mask: str | None, to: str, source: str) -> None:
    type_ = f.tiling.type_ if mask is None else f.vector
    if mask is not None and f.tiling.masked:
        pair = f.masked_load(to, mask), f.masked_load(source, mask)
        f.masked_store(f.emit(f"fadd {type_} {pair[0]}, {pair[1]}"), to, mask)
        return
    total = f.emit(f"fadd {type_} {f.load(type_, to)}, {f.load(type_, source)}")
    f.store(type_, total, to)
