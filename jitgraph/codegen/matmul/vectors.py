"""Matrix times vector, as streaming kernels: dot products, and combinations of rows."""

from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.memory import ACQUIRE, RELEASE, emit_aligned
from jitgraph.codegen.matmul.parallel import TASK, emit_record, emit_run, unpacked
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling, every

#: Elements of the matrix that are worth a task, and from how many on there are tasks at all.
_TASK_ELEMENTS = 1 << 15
_PARALLEL_ELEMENTS = 1 << 17
#: Lines whose dot products are made at once, by so many vectors a step.
_LINES, _WAYS = 4, 2
#: Rows that are combined at once, and bytes of the result that stay in the L1 cache.
_ROWS, _STRIP = 8, 16384
#: Columns of a task that combines: shorter pieces of rows are not streamed.
_LEAST_COLUMNS = 2048

#: y = x B, for a matrix B of k rows and n columns.
_VECTOR = "i64 %n, i64 %k, ptr %x, i64 %x_step, ptr %b, i64 %b_rs, i64 %b_cs, ptr %y, i64 %y_step"
_FIELDS = f"{_VECTOR}, i64 %share"


def emit_vectors(module: Module, name: str, tiling: Tiling) -> None:
    """Emit `dots`, for a B contiguous along k, and `combine`, for one with contiguous rows.

    Both give false, having done nothing, where they lack memory for a vector that is not
    contiguous. Tasks share out the columns, so sums never depend on threads.
    """
    _emit_dots_task(module, name, tiling)
    _emit_combine_task(module, name, tiling)
    f = Emitter(module, f"{name}.dots", _VECTOR, tiling, returns="i1")
    record = emit_record(f, _FIELDS)
    strided, ready, before = f.label("strided"), f.label("ready"), f.current
    f.branch_if(f.is_item("%x_step"), ready, strided)
    f.block(strided)
    memory, after = _emit_gathered(f)
    copy = emit_aligned(f, memory)
    with f.loop(0, "%k", 1, "k", accumulators=[("ptr", "%x")], properties=ROLLED) as k:
        f.store(tiling.type_, f.load(tiling.type_, k.carried[0]), f.item_at(copy, k))
        k.carry(f.offset(k.carried[0], "%x_step"))
    after = f.current
    f.block(ready)
    x = f.phi("ptr", [("%x", before), (copy, after)])
    owned = f.phi("ptr", [("null", before), (memory, after)])
    _emit_shared_out(f, f"{name}.dots_task", record, x, _LINES, _LINES)
    with f.if_then(f.emit(f"icmp ne ptr {owned}, null")):
        f.do(f"call void {RELEASE}(ptr {owned})")
    f.do("ret i1 true")
    f = Emitter(module, f"{name}.combine", _VECTOR, tiling)
    record = emit_record(f, _FIELDS)
    _emit_shared_out(f, f"{name}.combine_task", record, "%x", _LEAST_COLUMNS, 8 * tiling.lanes)
    f.do("ret void")


def _emit_gathered(f: Emitter) -> tuple[str, str]:
    """Memory for a contiguous copy of x; leaves the function where there is none."""
    refuse, asked, got = f.label("refuse"), f.label("asked"), f.label("got")
    fits = f.emit(f"icmp ule i64 {f.product('%k', f.tiling.item)}, {f.tiling.scratch_bytes}")
    f.branch_if(fits, asked, refuse)
    f.block(asked)
    memory = f.emit(f"call ptr {ACQUIRE}()")
    f.branch_if(f.emit(f"icmp ne ptr {memory}, null"), got, refuse)
    f.block(refuse)
    f.do("ret i1 false")
    f.block(got)
    return memory, f.current


def _emit_shared_out(f: Emitter, task: str, record: str, x: str, least: int, multiple: int) -> None:
    """Share the columns out to tasks, at least so many to each, in multiples."""
    columns = f.emit(f"udiv i64 {_TASK_ELEMENTS}, {f.maximum('%k', 1)}")
    share = f.round_up(f.maximum(columns, least), multiple)
    parallel = f.emit(f"icmp ugt i64 {f.product('%n', '%k')}, {_PARALLEL_ELEMENTS}")
    share = f.select(parallel, "i64", share, f.maximum("%n", 1))
    fields = f"{_VECTOR}, i64 {share}".replace("%x,", f"{x},")
    emit_run(f, task, record, fields, f.parts("%n", share), parallel)


def _emit_dots_task(module: Module, name: str, tiling: Tiling) -> None:
    """Dot products of x with columns of B that are contiguous."""
    f = Emitter(module, f"{name}.dots_task", TASK, tiling)
    u = unpacked(f, _FIELDS)
    start = f.product("%chunk", u["share"])
    n = f.rest(u["n"], start, u["share"])
    whole = f.emit(f"and i64 {n}, {-_LINES}")
    b, y = f.at(u["b"], start, u["b_cs"]), f.at(u["y"], start, u["y_step"])
    moves = [f.product(u[step], _LINES) for step in ("b_cs", "y_step")]
    starts = [("ptr", b), ("ptr", y)]
    with f.loop(0, whole, _LINES, "line", accumulators=starts, properties=ROLLED) as j:
        b, y = j.carried
        _emit_dots(f, u, b, y, _LINES)
        j.carry(f.offset(b, moves[0]), f.offset(y, moves[1]))
    starts = [("ptr", j.results[0]), ("ptr", j.results[1])]
    with f.loop(whole, n, 1, "line", accumulators=starts, properties=ROLLED) as j:
        b, y = j.carried
        _emit_dots(f, u, b, y, 1)
        j.carry(f.offset(b, u["b_cs"]), f.offset(y, u["y_step"]))
    f.do("ret void")


def _emit_dots(f: Emitter, u: dict[str, str], b: str, y: str, count: int) -> None:
    """`count` dot products at once, in two or more sums each to hide the latency of adding."""
    tiling, vector = f.tiling, f.vector
    ways = _WAYS * _LINES // count
    step = ways * tiling.lanes
    lines = every(f, b, u["b_cs"], count)
    whole = f.emit(f"and i64 {u['k']}, {-step}")
    zeros = [(vector, "zeroinitializer")] * (count * ways)
    with f.loop(0, whole, step, "k", accumulators=zeros, properties=ROLLED) as k:
        following = []
        for way in range(ways):
            at = f.emit(f"add i64 {k}, {way * tiling.lanes}")
            x = f.load(vector, f.item_at(u["x"], at))
            for q, line in enumerate(lines):
                other = f.load(vector, f.item_at(line, at))
                following.append(f.fma(vector, x, other, k.carried[way * count + q]))
        k.carry(*following)
    sums = [k.results[q] for q in range(count)]
    for way in range(1, ways):
        sums = [
            f.emit(f"fadd {vector} {total}, {k.results[way * count + q]}")
            for q, total in enumerate(sums)
        ]
    rest = [(vector, total) for total in sums]
    with f.loop(whole, u["k"], tiling.lanes, "k", accumulators=rest, properties=ROLLED) as k:
        mask = f.mask(f.rest(u["k"], k, tiling.lanes))
        x = f.masked_load(f.item_at(u["x"], k), mask)
        k.carry(*[
            f.fma(vector, x, f.masked_load(f.item_at(line, k), mask), total)
            for line, total in zip(lines, k.carried, strict=True)
        ])  # fmt: skip
    for total, place in zip(k.results, every(f, y, u["y_step"], count), strict=True):
        f.store(tiling.type_, f.reduce(total), place)


def _emit_combine_task(module: Module, name: str, tiling: Tiling) -> None:
    """Rows of B, times elements of x, added up strip by strip."""
    f = Emitter(module, f"{name}.combine_task", TASK, tiling)
    u = unpacked(f, _FIELDS)
    buffer = f.emit(f"alloca [{_STRIP} x i8], align 64")
    strip_columns = _STRIP // tiling.item
    start = f.product("%chunk", u["share"])
    n = f.rest(u["n"], start, u["share"])
    b, y = f.at(u["b"], start, tiling.item), f.at(u["y"], start, u["y_step"])
    contiguous = f.is_item(u["y_step"])
    with f.loop(0, n, strip_columns, "strip", properties=ROLLED) as j:
        width = f.rest(n, j, strip_columns)
        place = f.at(y, j, u["y_step"])
        strip = f.select(contiguous, "ptr", place, buffer)
        _emit_combined(f, u, f.item_at(b, j), strip, width)
        moved = f.select(contiguous, "i64", 0, width)
        with f.loop(0, moved, 1, "q", properties=ROLLED) as q:
            value = f.load(tiling.type_, f.item_at(strip, q))
            f.store(tiling.type_, value, f.at(place, q, u["y_step"]))
    f.do("ret void")


def _emit_combined(f: Emitter, u: dict[str, str], b: str, strip: str, width: str) -> None:
    """One strip of y: eight rows at a time, the rest one by one; the first ones overwrite."""
    whole = f.emit(f"and i64 {u['k']}, {-_ROWS}")
    with f.if_then(f.emit(f"icmp eq i64 {u['k']}, 0")):
        _emit_rows(f, [], [], strip, width, None)
    starts = [("ptr", b), ("ptr", u["x"])]
    for count, first, last in ((_ROWS, "0", whole), (1, whole, u["k"])):
        with f.loop(first, last, count, "k", accumulators=starts, properties=ROLLED) as k:
            rows = every(f, k.carried[0], u["b_rs"], count)
            factors = every(f, k.carried[1], u["x_step"], count)
            _emit_rows(f, rows, factors, strip, width, f.emit(f"icmp ne i64 {k}, 0"))
            k.carry(f.offset(rows[-1], u["b_rs"]), f.offset(factors[-1], u["x_step"]))
        starts = [("ptr", result) for result in k.results]


def _emit_rows(
    f: Emitter, rows: list[str], factors: list[str], strip: str, width: str, add: str | None
) -> None:
    """Set the strip to the sum of rows times factors, or add to it where the i1 `add` holds."""
    tiling, vector = f.tiling, f.vector
    scale = [f.splat(vector, f.load(tiling.type_, p)) for p in factors]
    whole = f.emit(f"and i64 {width}, {-tiling.lanes}")
    keep = f.mask(f.select(add, "i64", tiling.lanes, 0)) if add is not None else None
    for first, last in (("0", whole), (whole, width)):
        partial = first != "0"
        mask = f.mask(f.emit(f"sub i64 {width}, {whole}")) if partial else ""
        with f.loop(first, last, tiling.lanes, "j", properties=ROLLED) as j:
            place = f.item_at(strip, j)
            sums = ["zeroinitializer", "zeroinitializer"]
            if keep is not None:
                old = f.masked_load(place, mask) if partial else f.load(vector, place)
                cond = f"<{tiling.lanes} x i1> {keep}"
                sums[0] = f.emit(f"select {cond}, {vector} {old}, {vector} zeroinitializer")
            for i, (row, factor) in enumerate(zip(rows, scale, strict=True)):
                p = f.item_at(row, j)
                value = f.masked_load(p, mask) if partial else f.load(vector, p)
                sums[i % 2] = f.fma(vector, value, factor, sums[i % 2])
            total = sums[0]
            if len(rows) > 1:
                total = f.emit(f"fadd {vector} {sums[0]}, {sums[1]}")
            if partial:
                f.masked_store(total, place, mask)
            else:
                f.store(vector, total, place)
