"""Products past the caches: operands packed block by block, tasks over a grid of C."""

from dataclasses import dataclass

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
from jitgraph.codegen.matmul.tiling import DIRECT_USES, PRODUCT, ROLLED, Emitter, Tiling

#: Multiplications that are worth a task of their own, as a power of two, and the most tasks that
#: a product is cut into for the sake of threads.
_TASK_BITS = 18
_MOST_TASKS = 16

_PACK = (
    "i64 %m, i64 %n, i64 %k, ptr %a, i64 %a_rs, i64 %a_cs, ptr %b, i64 %b_rs, i64 %b_cs, "
    "ptr %to_a, ptr %to_b, i64 %padded, i64 %mc, i64 %nc, i64 %a_tasks"
)
_TILE = (
    "i64 %m, i64 %n, i64 %k, ptr %a, i64 %a_line, i64 %a_rs, i64 %a_cs, "
    "ptr %b, i64 %b_line, i64 %b_rs, i64 %packed, ptr %c, i64 %c_rs, i64 %c_cs, i64 %add, "
    "i64 %mc, i64 %nc, i64 %row_tasks, i64 %row0, i64 %col0, "
    "ptr %epilogue, ptr %context, i64 %swapped, "
    "ptr %unpacked, i64 %steps, i64 %padded, i64 %unpacked_rs, i64 %unpacked_cs"
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the loops over blocks know: registers."""

    depth: str  # steps along k at a time
    work: str  # multiplications of the whole product
    a_in_place: str
    b_in_place: str
    a_packed: str  # where packed panels of A and B go
    b_packed: str
    pack_record: str
    tile_record: str


def emit_blocks(module: Module, name: str, tiling: Tiling) -> None:
    """The product by blocks of packed operands.

    For each block along k, tasks pack what is not read in place, then tasks over a grid of C
    multiply. Tasks depend on the sizes only, and none adds to what another computes.
    """
    _emit_pack_task(module, name, tiling)
    _emit_tile_task(module, name, tiling)
    f = Emitter(module, f"{name}.blocks", f"{PRODUCT}, {EPILOGUE}", tiling)
    blocks = f.maximum(f.parts("%k", tiling.kc), 1)  # of equal depth
    a_in_place = emit_a_in_place(f)
    b_in_place = emit_b_in_place(f)
    in_place = f.both(a_in_place, b_in_place)
    pack_record, tile_record = emit_record(f, _PACK), emit_record(f, _TILE)
    packing, going, before = f.label("packing"), f.label("going"), f.current
    f.branch_if(in_place, going, packing)
    f.block(packing)
    made = f.emit(f"call ptr {ACQUIRE}()")
    with f.if_then(f.emit(f"icmp eq ptr {made}, null")):
        f.do(f"call void @{name}.plain({PRODUCT})")
        emit_epilogue(f, "0", "%m", "0", "%n")
        f.do("ret void")
    after = f.current
    f.block(going)
    memory = f.phi("ptr", [("null", before), (made, after)])
    a_packed = emit_aligned(f, memory)
    b_packed = f.offset(a_packed, tiling.most_rows * tiling.kc * tiling.item)
    plan = _Plan(
        depth=f.maximum(f.parts("%k", blocks), 1),
        work=f.product("%m", "%n", "%k"),
        a_in_place=a_in_place,
        b_in_place=b_in_place,
        a_packed=a_packed,
        b_packed=b_packed,
        pack_record=pack_record,
        tile_record=tile_record,
    )
    with (
        f.loop(0, "%n", tiling.most_cols, "jc", properties=ROLLED) as jc,
        f.loop(0, "%m", tiling.most_rows, "ic", properties=ROLLED) as ic,
        f.loop(0, "%k", plan.depth, "pc", properties=ROLLED) as pc,
    ):
        _emit_step(f, name, plan, ic.index, jc.index, pc.index)
    with f.if_then(f.emit(f"icmp ne ptr {memory}, null")):
        f.do(f"call void {RELEASE}(ptr {memory})")
    f.do("ret void")


def emit_a_in_place(f: Emitter) -> str:
    """Whether A is read where it lies, for a product of some size."""
    return f.emit(f"icmp sle i64 %n, {DIRECT_USES * f.tiling.cols}")


def emit_b_in_place(f: Emitter) -> str:
    """Whether B is read where it lies, for a product of some size."""
    tiling = f.tiling
    few = f.emit(f"icmp sle i64 %m, {DIRECT_USES * tiling.rows}")
    return f.both(few, emit_b_readable(f))


def emit_b_readable(f: Emitter) -> str:
    """Whether the micro-kernel can read B where it lies."""
    readable = f.is_item("%b_cs")
    if f.tiling.masked:
        return readable
    ragged = f.emit(f"and i64 %n, {f.tiling.lanes - 1}")
    return f.both(readable, f.emit(f"icmp eq i64 {ragged}, 0"))


def _emit_step(f: Emitter, name: str, plan: _Plan, ic: str, jc: str, pc: str) -> None:
    """One block of A times one block of B, added to what earlier blocks along k gave."""
    tiling, item = f.tiling, f.tiling.item
    m, n = f.rest("%m", ic, tiling.most_rows), f.rest("%n", jc, tiling.most_cols)
    k = f.rest("%k", pc, plan.depth)
    padded = f.round_up(k, tiling.unroll)
    mc, nc = _emit_grid(f, m, n, plan.work)
    row_tasks, col_tasks = f.parts(m, mc), f.parts(n, nc)
    a = f.at(f.at("%a", ic, "%a_rs"), pc, "%a_cs")
    b = f.at(f.at("%b", pc, "%b_rs"), jc, "%b_cs")
    a_tasks = f.select(plan.a_in_place, "i64", 0, row_tasks)
    # Columns of B that only one task multiplies are packed by it, and are in its cache then.
    alone = f.emit(f"icmp eq i64 {row_tasks}, 1")
    b_tasks = f.select(f.either(plan.b_in_place, alone), "i64", 0, col_tasks)
    pack_late = f.both(alone, f.emit(f"xor i1 {plan.b_in_place}, true"))
    unpacked_b = f.select(pack_late, "ptr", b, "null")
    fields = (
        f"i64 {m}, i64 {n}, i64 {k}, ptr {a}, i64 %a_rs, i64 %a_cs, ptr {b}, i64 %b_rs, "
        f"i64 %b_cs, ptr {plan.a_packed}, ptr {plan.b_packed}, "
        f"i64 {padded}, i64 {mc}, i64 {nc}, i64 {a_tasks}"
    )
    tasks = f.emit(f"add i64 {a_tasks}, {b_tasks}")
    large = f.emit(f"icmp ugt i64 {plan.work}, {1 << _TASK_BITS}")
    emit_run(f, f"{name}.pack_task", plan.pack_record, fields, tasks, large)
    packed_line = f.emit(f"mul i64 {padded}, {item}")
    both_packed = f.emit(f"xor i1 {f.either(plan.a_in_place, plan.b_in_place)}, true")
    depth = f.select(both_packed, "i64", padded, k)
    packed = f.select(both_packed, "i64", 2, 1)
    last = f.emit(f"icmp sge i64 {f.emit(f'add i64 {pc}, {k}')}, %k")
    a_fields = [
        f"{type_} {f.select(plan.a_in_place, type_, there, packed)}"
        for type_, there, packed in (
            ("ptr", a, plan.a_packed),
            ("i64", "%a_rs", packed_line),
            ("i64", "%a_rs", str(item)),
            ("i64", "%a_cs", str(tiling.rows * item)),
        )
    ]
    b_fields = [
        f"{type_} {f.select(plan.b_in_place, type_, there, packed)}"
        for type_, there, packed in (
            ("ptr", b, plan.b_packed),
            ("i64", str(item), packed_line),
            ("i64", "%b_rs", "0"),
            ("i64", "0", packed),
        )
    ]
    c = f.at(f.at("%c", ic, "%c_rs"), jc, "%c_cs")
    add = f.emit(f"zext i1 {f.emit(f'icmp ne i64 {pc}, 0')} to i64")
    epilogue = f.select(last, "ptr", "%epilogue", "null")
    fields = ", ".join(
        [
            f"i64 {m}, i64 {n}, i64 {depth}",
            *a_fields,
            *b_fields,
            f"ptr {c}, i64 %c_rs, i64 %c_cs, i64 {add}, i64 {mc}, i64 {nc}, i64 {row_tasks}",
            f"i64 {ic}, i64 {jc}, ptr {epilogue}, ptr %context, i64 %swapped",
            f"ptr {unpacked_b}, i64 {k}, i64 {padded}, i64 %b_rs, i64 %b_cs",
        ]
    )
    tasks = f.product(row_tasks, col_tasks)
    emit_run(f, f"{name}.tile_task", plan.tile_record, fields, tasks, large)


def _emit_grid(f: Emitter, m: str, n: str, work: str) -> tuple[str, str]:
    """Rows and columns of a task: no more than the caches like, and about equal; fewer where
    threads would otherwise have too few tasks. Columns are cut first, to whole panels."""
    tiling = f.tiling
    shifted = f.emit(f"lshr i64 {work}, {_TASK_BITS}")
    wanted = f.maximum(f.minimum(shifted, _MOST_TASKS), 1)
    row_tasks, panels = f.parts(m, tiling.mc), f.parts(n, tiling.cols)
    col_tasks = f.maximum(f.parts(n, tiling.nc), f.parts(wanted, row_tasks))
    col_tasks = f.minimum(col_tasks, panels)
    row_tasks = f.maximum(row_tasks, f.parts(wanted, col_tasks))
    return (
        f.round_up(f.parts(m, row_tasks), tiling.rows),
        f.round_up(f.parts(n, col_tasks), tiling.cols),
    )


def _emit_pack_task(module: Module, name: str, tiling: Tiling) -> None:
    """Pack the rows of A, or the columns of B, that one task of the grid multiplies."""
    f = Emitter(module, f"{name}.pack_task", TASK, tiling)
    u = unpacked(f, _PACK)
    of_a, of_b = f.label("of_a"), f.label("of_b")
    f.branch_if(f.emit(f"icmp slt i64 %chunk, {u['a_tasks']}"), of_a, of_b)
    f.block(of_a)
    i = f.product("%chunk", u["mc"])
    to = f.item_at(u["to_a"], f.product(i, u["padded"]))
    f.do(
        f"call void @{name}.pack_a(ptr {to}, ptr {f.at(u['a'], i, u['a_rs'])}, "
        f"i64 {f.rest(u['m'], i, u['mc'])}, i64 {u['k']}, i64 {u['padded']}, "
        f"i64 {u['a_rs']}, i64 {u['a_cs']})"
    )
    f.do("ret void")
    f.block(of_b)
    j = f.product(f.emit(f"sub i64 %chunk, {u['a_tasks']}"), u["nc"])
    to = f.item_at(u["to_b"], f.product(j, u["padded"]))
    f.do(
        f"call void @{name}.pack_b(ptr {to}, ptr {f.at(u['b'], j, u['b_cs'])}, "
        f"i64 {f.rest(u['n'], j, u['nc'])}, i64 {u['k']}, i64 {u['padded']}, "
        f"i64 {u['b_cs']}, i64 {u['b_rs']})"
    )
    f.do("ret void")


def _emit_tile_task(module: Module, name: str, tiling: Tiling) -> None:
    """One rectangle of the grid of C, row by row so that the columns of B stay in the cache."""
    f = Emitter(module, f"{name}.tile_task", TASK, tiling)
    u = unpacked(f, _TILE)
    i = f.product(f.emit(f"urem i64 %chunk, {u['row_tasks']}"), u["mc"])
    j = f.product(f.emit(f"udiv i64 %chunk, {u['row_tasks']}"), u["nc"])
    m, n = f.rest(u["m"], i, u["mc"]), f.rest(u["n"], j, u["nc"])
    a, b = f.at(u["a"], i, u["a_line"]), f.at(u["b"], j, u["b_line"])
    c = f.at(f.at(u["c"], i, u["c_rs"]), j, u["c_cs"])
    with f.if_then(f.emit(f"icmp ne ptr {u['unpacked']}, null")):
        source = f.at(u["unpacked"], j, u["unpacked_cs"])
        f.do(
            f"call void @{name}.pack_b(ptr {b}, ptr {source}, i64 {n}, i64 {u['steps']}, "
            f"i64 {u['padded']}, i64 {u['unpacked_cs']}, i64 {u['unpacked_rs']})"
        )
    a_panel = f.product(u["a_line"], tiling.rows)
    add = f.emit(f"icmp ne i64 {u['add']}, 0")
    f.do(
        f"call void @{name}.sweep(i64 {m}, i64 {n}, i64 {u['k']}, ptr {a}, i64 {u['a_rs']}, "
        f"i64 {u['a_cs']}, i64 {a_panel}, ptr {b}, i64 {u['b_rs']}, "
        f"i64 {u['b_line']}, i64 {u['packed']}, "
        f"ptr {c}, i64 {u['c_rs']}, i64 {u['c_cs']}, i1 {add})"
    )
    row, col = f.emit(f"add i64 {u['row0']}, {i}"), f.emit(f"add i64 {u['col0']}, {j}")
    row_end, col_end = f.emit(f"add i64 {row}, {m}"), f.emit(f"add i64 {col}, {n}")
    hook = (u["epilogue"], u["context"], u["swapped"])
    emit_epilogue(f, row, row_end, col, col_end, hook)
    f.do("ret void")
