"""Products past the caches: operands packed into panels, tasks over a grid of C."""

from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.memory import ACQUIRE, RELEASE, emit_aligned
from jitgraph.codegen.matmul.parallel import (
    EPILOGUE,
    TASK,
    emit_epilogue,
    emit_record,
    emit_run,
    unpacked,
)
from jitgraph.codegen.matmul.tiling import (
    DIRECT_USES,
    PRODUCT,
    ROLLED,
    Emitter,
    Tiling,
)

#: Multiplications that are worth a task of their own, as a power of two, and the most tasks that
#: a product is cut into for the sake of threads.
_TASK_BITS = 19
_MOST_TASKS = 16
#: Columns are cut into a multiple of so many tasks: as many for each of a few threads.
_EVENLY = 4
#: Products of at most this depth write more than they read: whole rows, then.
_SHALLOW = 64
#: Panels of a task that are so many that none is cut to make tasks equal.
_MANY = 3
#: So many tasks pack columns of B each for itself, while they read them: that is free where the
#: next ones are fetched in time, but takes more of the caches than reading what is packed.
_BY_THE_WAY = 2
#: Elements that a task packs, as a power of two, and from how many on other threads help.
_PACK_BITS = 14
_PACKING = 1 << 15

#: What the tasks know of a step, a part of the product whose packed operands fit the memory.
#: Without `a_packed` A is read in place; without `b_packed` B is read panel by panel, and perhaps
#: packed by the way. What is packed in so many `parts` by others than its readers lies there
#: block after block, `a_block` elements apart; an A without parts is packed by the only task that
#: reads it, block by block to the same place.
_STEP = (
    "i64 %m, i64 %n, i64 %k, ptr %a, i64 %a_rs, i64 %a_cs, ptr %b, i64 %b_rs, i64 %b_cs, "
    "ptr %c, i64 %c_rs, i64 %c_cs, i64 %depth, i64 %row_tasks, i64 %col_tasks, i64 %col_unit, "
    "ptr %a_packed, i64 %a_block, i64 %a_parts, ptr %b_packed, i64 %b_block, i64 %b_parts, "
    "i64 %add, i64 %row0, i64 %col0, ptr %epilogue, ptr %context, i64 %swapped"
)
_PACK = "ptr %record, i64 %block, i64 %start, i64 %count"


def emit_blocks(module: Module, name: str, tiling: Tiling) -> None:
    """The product by blocks of packed operands.

    A step is what the memory for packed operands has room for. Tasks pack what several others
    are going to read; then tasks over a grid of C multiply, block by block along k, and pack what
    only they read: A beforehand, B panel by panel on the stack. Tasks depend on the sizes only,
    and none adds to what another computes.
    """
    _emit_pack_lines(module, name, tiling, "a")
    _emit_pack_lines(module, name, tiling, "b")
    _emit_pack_task(module, name, tiling)
    _emit_tile_task(module, name, tiling)
    f = Emitter(module, f"{name}.blocks", f"{PRODUCT}, {EPILOGUE}", tiling)
    few = f.emit(f"icmp sle i64 %m, {DIRECT_USES * f.tiling.rows}")
    in_place = {"a": emit_a_in_place(f), "b": f.both(few, emit_b_readable(f))}
    record = emit_record(f, _STEP)
    packing, going, before = f.label("packing"), f.label("going"), f.current
    f.branch_if(f.both(in_place["a"], in_place["b"]), going, packing)
    f.block(packing)
    made = f.emit(f"call ptr {ACQUIRE}()")
    with f.if_then(f.emit(f"icmp eq ptr {made}, null")):
        f.do(f"call void @{name}.plain({PRODUCT})")
        emit_epilogue(f, "0", "%m", "0", "%n")
        f.do("ret void")
    after = f.current
    f.block(going)
    memory = f.phi("ptr", [("null", before), (made, after)])
    rows = _emit_extent(f, "%m", in_place["a"], tiling.most_rows, tiling.rows)
    cols = _emit_extent(f, "%n", in_place["b"], tiling.most_cols, tiling.cols)
    plan, deep = _emit_plan(f, rows, cols, memory, in_place)
    with (
        f.loop(0, "%n", cols, "jc", properties=ROLLED) as jc,
        f.loop(0, "%m", rows, "ic", properties=ROLLED) as ic,
        f.loop(0, "%k", deep, "pc", properties=ROLLED) as pc,
    ):
        _emit_step(f, name, record, plan, (rows, cols, deep), (ic.index, jc.index, pc.index))
    with f.if_then(f.emit(f"icmp ne ptr {memory}, null")):
        f.do(f"call void {RELEASE}(ptr {memory})")
    f.do("ret void")


def emit_a_in_place(f: Emitter) -> str:
    """Whether A is read where it lies, for a product of some size."""
    return f.emit(f"icmp sle i64 %n, {DIRECT_USES * f.tiling.cols}")


def emit_b_readable(f: Emitter, n: str = "%n", b_cs: str = "%b_cs") -> str:
    """Whether the micro-kernel can read B where it lies."""
    readable = f.is_item(b_cs)
    if f.tiling.masked:
        return readable
    ragged = f.emit(f"and i64 {n}, {f.tiling.lanes - 1}")
    return f.both(readable, f.emit(f"icmp eq i64 {ragged}, 0"))


def _emit_extent(f: Emitter, extent: str, in_place: str, most: int, multiple: int) -> str:
    """Rows or columns of a step: parts of about equal size, all where nothing is packed."""
    parts = f.maximum(f.parts(extent, most), 1)
    part = f.round_up(f.parts(extent, parts), multiple)
    return f.maximum(f.select(in_place, "i64", extent, part), 1)


def _emit_plan(
    f: Emitter, rows: str, cols: str, memory: str, in_place: dict[str, str]
) -> tuple[dict[str, str], str]:
    """What all steps have in common, by field; and how deep a step is: as many blocks along k as
    stay in the cache between packing and reading."""
    tiling = f.tiling
    blocks = f.maximum(f.parts("%k", tiling.kc), 1)
    depth = f.maximum(f.parts("%k", blocks), 1)
    padded = f.round_up(depth, tiling.unroll)
    row_tasks, col_tasks, col_unit = _emit_grid(f, rows, cols, depth)
    plan = {
        "depth": depth, "row_tasks": row_tasks, "col_tasks": col_tasks, "col_unit": col_unit,
    }  # fmt: skip
    aligned = emit_aligned(f, memory)
    a_parts = f.emit(f"lshr i64 {f.product(rows, depth)}, {_PACK_BITS}")
    a_parts = f.minimum(f.maximum(a_parts, 1), f.parts(rows, tiling.rows))
    room = blocks
    for x, place, lines, parts, readers in (
        ("a", aligned, f.round_up(rows, tiling.rows), a_parts, col_tasks),
        (
            "b",
            f.offset(aligned, tiling.packed),
            f.round_up(cols, tiling.lanes),
            col_tasks,
            row_tasks,
        ),
    ):
        alone = 1 if x == "a" else f.select(emit_b_readable(f), "i64", _BY_THE_WAY, 1)
        several = f.emit(f"icmp ugt i64 {readers}, {alone}")
        shared = f.both(several, f.emit(f"xor i1 {in_place[x]}, true"))
        block = f.product(lines, padded)
        nowhere = in_place[x] if x == "a" else f.emit(f"xor i1 {shared}, true")
        plan[f"{x}_packed"] = f.select(nowhere, "ptr", "null", place)
        plan[f"{x}_block"] = f.select(shared, "i64", block, 0)
        plan[f"{x}_parts"] = f.select(shared, "i64", parts, 0)
        most = f.emit(f"udiv i64 {tiling.together // tiling.item}, {block}")
        room = f.select(shared, "i64", f.minimum(room, most), room)
    return plan, f.product(f.maximum(room, 1), depth)


def _emit_grid(f: Emitter, m: str, n: str, depth: str) -> tuple[str, str, str]:
    """Tasks along the rows and along the columns of C, and of what the columns of a task are
    multiples: no task is larger than the caches like, and threads find enough of them.

    Columns are cut first, unless C is most of what is moved: a task streams its rows of A for
    every panel of B anyway, so they may come from a cache farther away, and columns of B that only
    one task reads stay with it.
    """
    tiling = f.tiling
    work = f.emit(f"lshr i64 {f.product(m, n, '%k')}, {_TASK_BITS}")
    wanted = f.minimum(work, _MOST_TASKS)
    rows = f.emit(f"udiv i64 {tiling.mc * tiling.kc}, {depth}")
    tiles = f.parts(m, tiling.rows)
    shallow = f.emit(f"icmp ule i64 {depth}, {_SHALLOW}")
    first = f.select(shallow, "i64", f.minimum(wanted, tiles), 1)
    row_tasks = f.maximum(f.parts(m, rows), first)
    panels, vectors = f.parts(n, tiling.cols), f.parts(n, tiling.lanes)
    share = f.parts(panels, f.maximum(f.parts(wanted, row_tasks), 1))
    share = f.minimum(share, f.emit(f"udiv i64 {tiling.nc // tiling.cols * tiling.kc}, {depth}"))
    cuts = f.parts(panels, share)
    even = f.minimum(f.round_up(cuts, _EVENLY), f.emit(f"lshr i64 {vectors}, 1"))
    col_tasks = f.select(f.emit(f"icmp eq i64 {cuts}, 1"), "i64", 1, f.maximum(even, 1))
    many = f.emit(f"icmp uge i64 {share}, {_MANY}")
    more = f.minimum(f.emit(f"udiv i64 {wanted}, {col_tasks}"), tiles)
    unit = f.select(many, "i64", tiling.cols, tiling.lanes)
    return f.maximum(row_tasks, more), col_tasks, unit


def _emit_step(
    f: Emitter,
    name: str,
    record: str,
    plan: dict[str, str],
    extents: tuple[str, str, str],
    starts: tuple[str, str, str],
) -> None:
    """One step: shared packing, then the grid."""
    ic, jc, pc = starts
    m, n, k = (
        f.rest(whole, start, extent)
        for whole, start, extent in zip(("%m", "%n", "%k"), starts, extents, strict=True)
    )
    last = f.emit(f"icmp sge i64 {f.emit(f'add i64 {pc}, {k}')}, %k")
    known = plan | {
        "m": m, "n": n, "k": k, "row0": ic, "col0": jc,
        "a": f.at(f.at("%a", ic, "%a_rs"), pc, "%a_cs"),
        "b": f.at(f.at("%b", pc, "%b_rs"), jc, "%b_cs"),
        "c": f.at(f.at("%c", ic, "%c_rs"), jc, "%c_cs"),
        "add": f.emit(f"zext i1 {f.emit(f'icmp ne i64 {pc}, 0')} to i64"),
        "epilogue": f.select(last, "ptr", "%epilogue", "null"),
    }  # fmt: skip
    fields = ", ".join(
        f"{type_} {known.get(register[1:], register)}"
        for type_, register in (field.split() for field in _STEP.split(", "))
    )
    a_parts, b_parts = plan["a_parts"], plan["b_parts"]
    blocks = f.parts(k, plan["depth"])
    chunks = f.product(blocks, f.emit(f"add i64 {a_parts}, {b_parts}"))
    moved = f.emit(f"add i64 {plan['a_block']}, {plan['b_block']}")
    much = f.emit(f"icmp ugt i64 {f.product(moved, blocks)}, {_PACKING}")
    emit_run(f, f"{name}.pack_task", record, fields, chunks, much)
    tasks = f.product(plan["row_tasks"], plan["col_tasks"])
    emit_run(f, f"{name}.tile_task", record, fields, tasks, "true")


def _emit_part(f: Emitter, extent: str, unit: str | int, parts: str, part: str) -> tuple[str, str]:
    """Where one of equal parts begins and how much it is, in whole units but at the end."""
    units = f.parts(extent, unit)
    start, end = (
        f.product(f.emit(f"udiv i64 {f.product(number, units)}, {parts}"), unit)
        for number in (part, f.emit(f"add i64 {part}, 1"))
    )
    return start, f.emit(f"sub i64 {f.minimum(end, extent)}, {start}")


def _emit_columns(f: Emitter, u: dict[str, str], part: str) -> tuple[str, str]:
    """The columns of one task."""
    return _emit_part(f, u["n"], u["col_unit"], u["col_tasks"], part)


def _emit_depth(f: Emitter, u: dict[str, str], block: str) -> tuple[str, str]:
    """How many steps along k a block has, and with the padding of packed panels."""
    depth = f.rest(u["k"], f.product(block, u["depth"]), u["depth"])
    return depth, f.round_up(depth, f.tiling.unroll)


def _emit_packed(
    f: Emitter, u: dict[str, str], operand: str, block: str, start: str, padded: str
) -> str:
    """Where packed lines are."""
    place = f.item_at(u[f"{operand}_packed"], f.product(block, u[f"{operand}_block"]))
    return f.item_at(place, f.product(start, padded))


def _emit_pack_lines(module: Module, name: str, tiling: Tiling, operand: str) -> None:
    """Pack some rows of A, or columns of B, of one block along k."""
    f = Emitter(module, f"{name}.pack_lines_{operand}", _PACK, tiling)
    u = unpacked(f, _STEP)
    along, across = ("rs", "cs") if operand == "a" else ("cs", "rs")
    stride, depth_stride = u[f"{operand}_{along}"], u[f"{operand}_{across}"]
    depth, padded = _emit_depth(f, u, "%block")
    source = f.at(f.at(u[operand], "%start", stride), f.product("%block", u["depth"]), depth_stride)
    f.do(
        f"call void @{name}.pack_{operand}("
        f"ptr {_emit_packed(f, u, operand, '%block', '%start', padded)}, ptr {source}, "
        f"i64 %count, i64 {depth}, i64 {padded}, i64 {stride}, i64 {depth_stride})"
    )
    f.do("ret void")


def _emit_pack_task(module: Module, name: str, tiling: Tiling) -> None:
    """Pack one block of the columns of one task of the grid, or of some rows."""
    f = Emitter(module, f"{name}.pack_task", TASK, tiling)
    u = unpacked(f, _STEP)
    parts = f.emit(f"add i64 {u['a_parts']}, {u['b_parts']}")
    block = f.emit(f"udiv i64 %chunk, {parts}")
    part = f.emit(f"urem i64 %chunk, {parts}")
    with f.if_then(f.emit(f"icmp slt i64 {part}, {u['b_parts']}")):
        start, count = _emit_columns(f, u, part)
        f.do(f"call void @{name}.pack_lines_b(ptr %record, i64 {block}, i64 {start}, i64 {count})")
        f.do("ret void")
    part = f.emit(f"sub i64 {part}, {u['b_parts']}")
    start, count = _emit_part(f, u["m"], tiling.rows, u["a_parts"], part)
    f.do(f"call void @{name}.pack_lines_a(ptr %record, i64 {block}, i64 {start}, i64 {count})")
    f.do("ret void")


def _emit_tile_task(module: Module, name: str, tiling: Tiling) -> None:
    """One rectangle of the grid of C, block by block along k so that it stays in the cache."""
    f = Emitter(module, f"{name}.tile_task", TASK, tiling)
    u, item = unpacked(f, _STEP), tiling.item
    buffer = f.emit(f"alloca [{tiling.kc * tiling.cols} x {tiling.type_}], align 64")
    row_part = f.emit(f"urem i64 %chunk, {u['row_tasks']}")
    i, m = _emit_part(f, u["m"], tiling.rows, u["row_tasks"], row_part)
    j, n = _emit_columns(f, u, f.emit(f"udiv i64 %chunk, {u['row_tasks']}"))
    with f.if_then(f.emit(f"icmp eq i64 {f.product(m, n)}, 0")):
        f.do("ret void")
    c = f.at(f.at(u["c"], i, u["c_rs"]), j, u["c_cs"])
    a_packed, b_packed = (f.emit(f"icmp ne ptr {u[f'{x}_packed']}, null") for x in "ab")
    a_rs = f.select(a_packed, "i64", item, u["a_rs"])
    a_cs = f.select(a_packed, "i64", tiling.rows * item, u["a_cs"])
    a_here = f.both(a_packed, f.emit(f"icmp eq i64 {u['a_parts']}, 0"))
    readable = emit_b_readable(f, u["n"], u["b_cs"])
    read_once = f.both(readable, f.emit(f"icmp sle i64 {m}, {tiling.rows}"))
    stream = f.select(f.either(b_packed, read_once), "ptr", "null", buffer)
    with f.loop(0, f.parts(u["k"], u["depth"]), 1, "block", properties=ROLLED) as blocks:
        block = blocks.index
        with f.if_then(a_here):
            f.do(f"call void @{name}.pack_lines_a(ptr %record, i64 {block}, i64 {i}, i64 {m})")
        depth, padded = _emit_depth(f, u, block)
        done = f.product(block, u["depth"])
        a_there = f.at(f.at(u["a"], i, u["a_rs"]), done, u["a_cs"])
        b_there = f.at(f.at(u["b"], j, u["b_cs"]), done, u["b_rs"])
        a = f.select(a_packed, "ptr", _emit_packed(f, u, "a", block, i, padded), a_there)
        b = f.select(b_packed, "ptr", _emit_packed(f, u, "b", block, j, padded), b_there)
        line = f.product(padded, item)
        a_panel = f.product(f.select(a_packed, "i64", line, u["a_rs"]), tiling.rows)
        b_step = f.select(b_packed, "i64", line, u["b_cs"])
        final = f.emit(f"icmp sge i64 {f.emit(f'add i64 {done}, {depth}')}, {u['k']}")
        b_after = f.select(final, "ptr", "null", f.at(b_there, depth, u["b_rs"]))
        earlier = f.emit(f"or i64 {u['add']}, {block}")
        add = f.emit(f"icmp ne i64 {earlier}, 0")
        f.do(
            f"call void @{name}.sweep(i64 {m}, i64 {n}, i64 {depth}, i64 {padded}, "
            f"ptr {a}, i64 {a_rs}, i64 {a_cs}, i64 {a_panel}, i1 {a_packed}, "
            f"ptr {b}, i64 {u['b_rs']}, i64 {b_step}, i1 {b_packed}, i1 {readable}, ptr {stream}, "
            f"ptr {b_after}, ptr {c}, i64 {u['c_rs']}, i64 {u['c_cs']}, i1 {add})"
        )
    row, col = f.emit(f"add i64 {u['row0']}, {i}"), f.emit(f"add i64 {u['col0']}, {j}")
    row_end, col_end = f.emit(f"add i64 {row}, {m}"), f.emit(f"add i64 {col}, {n}")
    hook = (u["epilogue"], u["context"], u["swapped"])
    emit_epilogue(f, row, row_end, col, col_end, hook)
    f.do("ret void")
