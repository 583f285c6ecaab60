"""The adjoint by the filters: patches, read where they lie, times the adjoint of the outputs,
turned. Some images make a sum of their own, so that sums do not depend on threads."""

from __future__ import annotations

from jitgraph.codegen.convolution.forward import emit_image
from jitgraph.codegen.convolution.geometry import (
    ENOUGH_TASKS,
    MOST_CHUNKS,
    Fields,
    Memory,
    emit_caller,
    emit_chunks,
    emit_clear,
    emit_copies,
    emit_offsets,
    emit_row,
    emit_tasks,
    rounded,
)
from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.kernel import emit_width
from jitgraph.codegen.matmul.parallel import TASK, emit_run
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling, every

#: The sums of the images take no more memory than this.
_SUMS = 16 << 20
#: Elements of the sums that a task joins.
_JOINED = 1 << 14
_FIELDS = Fields(("shares", "parts", "line", "sum", "rows", "joins"))
_TILE = (
    "ptr %record, ptr noalias readonly %x, ptr noalias readonly %offsets, "
    "ptr noalias readonly %g, ptr noalias %sums, i64 %first, i64 %count"
)


def emit_by_filters(module: Module, base: str, tiling: Tiling) -> None:
    """Emit `i64 {base}.conv_by_filters(geometry, x, g, w, memory, ...)`. Tasks are some images
    (`shares`), or some rows of their sums; a sum has a line for each element of the filters of a
    group."""
    name = f"{base}.conv_by_filters"
    emit_copies(module, name, tiling, _FIELDS)
    for vectors in range(1, tiling.vectors + 1):
        rows = tiling.rows
        while rows:
            _emit_tile(module, name, tiling, vectors, rows)
            rows //= 2
    _emit_panel(module, name, tiling)
    _emit_task(module, name, base, tiling)
    _emit_join_task(module, name, tiling)
    item = tiling.item
    f, u = emit_caller(module, name, tiling)
    record = _FIELDS.emit_record(f)
    u["line"] = f.product(f.round_up(u["o"], tiling.lanes), item)
    u["sum"] = f.product(u["groups"], u["depth"], u["line"])
    fit = f.maximum(f.emit(f"udiv i64 {_SUMS}, {f.maximum(u['sum'], 1)}"), 1)
    u["shares"] = f.maximum(f.minimum(f.minimum(u["images"], ENOUGH_TASKS), fit), 1)
    shared = f.product(u["shares"], u["groups"])
    more = f.parts(str(ENOUGH_TASKS), f.maximum(shared, 1))
    u["parts"] = f.maximum(f.minimum(more, f.parts(u["depth"], tiling.rows)), 1)
    u["rows"] = f.maximum(f.emit(f"udiv i64 {tiling.kc}, {u['ox']}"), 1)
    emit_chunks(f, u, f.product(shared, u["parts"]))
    turned = rounded(f, f.product(u["rows"], u["ox"], u["line"]))
    u["slot_bytes"] = f.emit(f"add i64 {rounded(f, u['copied'])}, {turned}")
    joined = f.emit(f"udiv i64 {f.product(u['sum'], u['shares'])}, {_JOINED * item}")
    u["joins"] = f.maximum(f.minimum(f.minimum(joined, MOST_CHUNKS), u["depth"]), 1)
    memory = Memory(f)
    u["flags"] = memory.part(8 * MOST_CHUNKS)
    u["offsets"] = memory.part(f.product(u["depth"], 8))
    u["packed"] = memory.part(f.product(u["shares"], u["sum"]))
    u["slot_memory"] = memory.part(f.product(u["slots"], u["slot_bytes"]))
    memory.leave_if_asked()
    emit_clear(f, u["flags"], str(8 * MOST_CHUNKS))
    emit_offsets(f, u, u["c"])
    typed = _FIELDS.typed(u)
    emit_run(f, f"{name}.task", record, typed, u["chunks"], "true")
    emit_run(f, f"{name}.join_task", record, typed, u["joins"], "true")
    f.do("ret i64 0")


def _emit_bounds(f: Emitter, number: str, of: str, whole: str, unit: int = 1) -> tuple[str, str]:
    """Where one of equal parts begins and ends, in whole units but at the end."""
    units = f.parts(whole, unit)
    first, last = (
        f.product(f.emit(f"udiv i64 {f.product(n, units)}, {of}"), unit)
        for n in (number, f.emit(f"add i64 {number}, 1"))
    )
    return first, f.minimum(last, whole)


def _emit_task(module: Module, name: str, base: str, tiling: Tiling) -> None:
    """The sum of some images, for one group and some elements of its filters."""
    item = tiling.item
    with emit_tasks(module, f"{name}.task", tiling, _FIELDS) as (f, u, scratch, task):
        part = f.emit(f"urem i64 {task}, {u['parts']}")
        rest = f.emit(f"udiv i64 {task}, {u['parts']}")
        group = f.emit(f"urem i64 {rest}, {u['groups']}")
        share = f.emit(f"udiv i64 {rest}, {u['groups']}")
        first, last = _emit_bounds(f, share, u["shares"], u["images"])
        k, k_end = _emit_bounds(f, part, u["parts"], u["depth"], tiling.rows)
        depth = f.emit(f"sub i64 {k_end}, {k}")
        sums = f.at(f.at(u["packed"], rest, f.product(u["depth"], u["line"])), k, u["line"])
        emit_clear(f, sums, f.product(depth, u["line"]))
        turned = f.offset(scratch, rounded(f, u["copied"]))
        stride = f.product(u["places"], item)
        lines = f.product(u["oz"], u["oy"])
        with f.loop(first, last, name="image", properties=ROLLED) as image:
            number = f.emit(f"add i64 {f.product(image.index, u['groups'])}, {group}")
            source = emit_image(f, u, name, number, scratch, u["a"])
            over = f.at(u["b"], f.product(number, u["o"]), stride)
            with f.loop(0, lines, u["rows"], "lines", properties=ROLLED) as row:
                count = f.rest(lines, row, u["rows"])
                deep = f.product(count, u["ox"])
                from_ = f.item_at(over, f.product(row.index, u["ox"]))
                f.do(
                    f"call void @{base}.pack_b(ptr {turned}, ptr {from_}, i64 {u['o']}, "
                    f"i64 {deep}, i64 {deep}, i64 {stride}, i64 {item})"
                )
                f.do(
                    f"call void @{name}.panels(ptr %record, ptr {source}, "
                    f"ptr {f.at(u['offsets'], k, 8)}, ptr {turned}, ptr {sums}, i64 {row}, "
                    f"i64 {count}, i64 {depth})"
                )


def _emit_panel(module: Module, name: str, tiling: Tiling) -> None:
    """Some lines of outputs of an image, times what the filters see there: panel by panel of the
    filters, tile by tile of their elements."""
    f = Emitter(module, f"{name}.panels", f"{_TILE}, i64 %depth", tiling)
    u = _FIELDS.unpack(f)
    deep = f.product("%count", u["ox"])
    head = f.begin_loop("filter", [("i64", "0")])
    j = head.carried[0]
    body, end = f.label("panel"), f.label("filters.end")
    f.branch_if(f.emit(f"icmp slt i64 {j}, {u['o']}"), body, end)
    f.block(body)
    width = emit_width(f, f.emit(f"sub i64 {u['o']}, {j}"))
    g = f.item_at("%g", f.product(j, deep))
    sums = f.item_at("%sums", j)
    done = f.label("swept")
    for vectors in range(tiling.vectors, 0, -1):
        this, narrower = f.label("this"), f.label("narrower")
        if vectors > 1:
            fits = f.emit(f"icmp eq i64 {width}, {vectors * tiling.lanes}")
            f.branch_if(fits, this, narrower)
            f.block(this)
        start, rows = "0", tiling.rows
        while rows:
            left = f.emit(f"sub i64 %depth, {start}")
            stop = f.emit(f"add i64 {start}, {f.emit(f'and i64 {left}, {-rows}')}")
            with f.loop(start, stop, rows, "tile", properties=ROLLED) as k:
                f.do(
                    f"call void @{name}.tile{vectors}x{rows}(ptr %record, ptr %x, "
                    f"ptr {f.at('%offsets', k, 8)}, ptr {g}, ptr {f.at(sums, k, u['line'])}, "
                    "i64 %first, i64 %count)"
                )
            start, rows = stop, rows // 2
        f.branch(done)
        if vectors > 1:
            f.block(narrower)
    f.block(done)
    f.end_loop(head, [f.emit(f"add i64 {j}, {width}")])
    f.block(end)
    f.do("ret void")


def _emit_tile(module: Module, name: str, tiling: Tiling, vectors: int, rows: int) -> None:
    """Sums of some elements of the filters, by some filters, over lines of outputs."""
    f = Emitter(module, f"{name}.tile{vectors}x{rows}", _TILE, tiling)
    u, vector, item = _FIELDS.unpack(f), f.vector, tiling.item
    starts = [
        f.opaque(f.offset("%x", f.emit(f"load i64, ptr {f.offset('%offsets', 8 * r)}")))
        for r in range(rows)
    ]
    step = f.product(u["sx"], item)
    carried = [("ptr", "%g"), *[(vector, "zeroinitializer")] * (rows * vectors)]
    last = f.emit("add i64 %first, %count")
    with f.loop("%first", last, name="line", accumulators=carried, properties=ROLLED) as line:
        inner = [("i64", emit_row(f, u, line.index)), ("ptr", line.carried[0])]
        inner += [(vector, value) for value in line.carried[1:]]
        with f.loop(0, u["ox"], name="x", accumulators=inner, properties=ROLLED) as x:
            offset, g, *sums = x.carried
            row = [f.load(vector, f.item_at(g, v * tiling.lanes)) for v in range(vectors)]
            following = []
            for r, start in enumerate(starts):
                value = f.splat(vector, f.load(tiling.type_, f.offset(start, offset)))
                following += [f.fma(vector, value, row[v], sums[r * vectors + v])
                              for v in range(vectors)]  # fmt: skip
            x.carry(f.emit(f"add i64 {offset}, {step}"),
                    f.item_at(g, vectors * tiling.lanes), *following)  # fmt: skip
        line.carry(*x.results[1:])
    for r, place in enumerate(every(f, "%sums", u["line"], rows)):
        for v in range(vectors):
            at = f.item_at(place, v * tiling.lanes)
            value = line.results[1 + r * vectors + v]
            f.store(vector, f.emit(f"fadd {vector} {f.load(vector, at)}, {value}"), at)
    f.do("ret void")


def _emit_join_task(module: Module, name: str, tiling: Tiling) -> None:
    """Add up the sums of all images for some elements of the filters, and turn them."""
    f = Emitter(module, f"{name}.join_task", TASK, tiling)
    u, vector = _FIELDS.unpack(f), f.vector
    buffer = f.emit(f"alloca {vector}, align 64")
    first, last = _emit_bounds(f, "%chunk", u["joins"], u["depth"])
    to_step = f.product(u["depth"], tiling.item)
    with (
        f.loop(0, u["groups"], name="group", properties=ROLLED) as group,
        f.loop(first, last, name="k", properties=ROLLED) as k,
        f.loop(0, u["o"], tiling.lanes, "filter", properties=ROLLED) as j,
    ):
        number = f.emit(f"add i64 {f.product(group.index, u['depth'])}, {k}")
        place = f.item_at(f.at(u["packed"], number, u["line"]), j)
        starts = [("ptr", place), (vector, "zeroinitializer")]
        with f.loop(0, u["shares"], name="share", accumulators=starts, properties=ROLLED) as s:
            total = f.emit(f"fadd {vector} {s.carried[1]}, {f.load(vector, s.carried[0])}")
            s.carry(f.offset(s.carried[0], u["sum"]), total)
        f.store(vector, s.results[1], buffer)
        filter_ = f.emit(f"add i64 {f.product(group.index, u['o'])}, {j}")
        to = f.item_at(f.at(u["out"], filter_, to_step), k)
        lanes = f.rest(u["o"], j, tiling.lanes)
        with f.loop(0, lanes, name="lane", accumulators=[("ptr", to)], properties=ROLLED) as q:
            value = f.load(tiling.type_, f.item_at(buffer, q))
            f.store(tiling.type_, value, q.carried[0])
            q.carry(f.offset(q.carried[0], to_step))
    f.do("ret void")
