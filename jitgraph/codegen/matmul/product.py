"""Matrix products as generated LLVM IR, after BLIS (Van Zee & van de Geijn, 2015).

C = A B is computed in register tiles of `rows` x `vectors`: for each step along k the micro-kernel
loads one row of B as vectors and multiplies it with broadcast elements of A. Tiles are swept down
panels of B that stay in the L1 cache; rows of A stream from the L2 cache.

    small products      one sweep over operands where they lie; a strided B is packed on the stack
    large products      tasks over a grid of C sweep, block by block along k, panels that are packed
                        in the order the micro-kernel reads them: by the task itself, or before
                        by other tasks where several read them (`blocks`). A task packs a panel
                        of B while it multiplies it with the first rows of A, and fetches the next
                        panel while it multiplies this one with the others
    matrix and vector   dot products, or combinations of rows, streaming the matrix (`vectors`)
    batches             items are shared out to tasks

The micro-kernel reads A and B through strides, so packing is a choice and not a need: an operand
that is used only a few times is read where it lies. Only B must have contiguous rows then; as
C' = B' A' is the same product, the cheaper of the two orientations is taken.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from jitgraph.codegen.llvm import Compiled, Module, compile_ir
from jitgraph.codegen.matmul.blocks import (
    emit_a_in_place,
    emit_b_readable,
    emit_blocks,
)
from jitgraph.codegen.matmul.kernel import emit_first, emit_packed_panel, emit_panel, emit_sweep
from jitgraph.codegen.matmul.memory import emit_memory
from jitgraph.codegen.matmul.packing import emit_pack
from jitgraph.codegen.matmul.parallel import (
    TASK,
    emit_epilogue,
    emit_record,
    emit_run,
    unpacked,
)
from jitgraph.codegen.matmul.tiling import (
    PRODUCT,
    ROLLED,
    TRANSPOSED_PRODUCT,
    Emitter,
    Tiling,
)
from jitgraph.codegen.matmul.vectors import emit_vectors
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.pool import pool_library
from jitgraph.codegen.target import Target

#: Products of up to this many multiplications are not worth a choice.
_LITTLE = 1 << 12
#: Products of up to this many multiplications are swept without blocks.
_SMALL = 1 << 20
#: Bytes of the stack for packing a small B.
_STACK = 16384
#: Multiplications of a batch that are worth a task.
_TASK = 1 << 17

_BATCH = "i64 %count, i64 %a_step, i64 %b_step, i64 %c_step"
_BATCH_FIELDS = f"{PRODUCT}, {_BATCH}, i64 %share"
_CALL = "ptr %epilogue, ptr %context"


def emit_matmul(module: Module, dtype: str, target: Target) -> str:
    """Emit C = A B for `dtype` ("f32" or "f64") and return the function's name.

    The function has the signature

        void (i64 m, i64 n, i64 k,
              ptr A, i64 a_row_stride, i64 a_col_stride,
              ptr B, i64 b_row_stride, i64 b_col_stride,
              ptr C, i64 c_row_stride, i64 c_col_stride,
              i64 count, i64 a_step, i64 b_step, i64 c_step,
              ptr epilogue, ptr context)

    and computes `count` products, operands of the next one `step` bytes on. Strides are in
    bytes, of any sign or zero. C is overwritten and must not overlap A or B, nor itself. Sums
    over k are reassociated, in a way that depends on sizes and strides but not on threads.

    A non-null epilogue (then `count` is 1) is

        void (ptr context, i64 row0, i64 row1, i64 col0, i64 col1)

    and is told of rectangles of C that partition it, each once, when it is final and by the
    thread that computed it, while it is in a cache; rectangles may come at the same time from
    several threads. The module declares `parallel_for` (see `codegen.pool`).
    """
    name = f"matmul_{dtype}"
    tiling = Tiling.of(dtype, target)
    for vectors in range(1, tiling.vectors + 1):
        emit_panel(module, name, tiling, vectors)
        emit_packed_panel(module, name, tiling, vectors)
        emit_first(module, name, tiling, vectors)
    emit_sweep(module, name, tiling)
    emit_pack(module, name, tiling)
    emit_memory(module, tiling)
    emit_blocks(module, name, tiling)
    emit_vectors(module, name, tiling)
    _emit_plain(module, name, tiling)
    _emit_small(module, name, tiling)
    _emit_vector(module, name, tiling)
    _emit_cost(module, name, tiling)
    _emit_one(module, name, tiling)
    _emit_batch(module, name, tiling)
    return f"@{name}"


@cache
def matmul_library(dtype: str, target: Target) -> Compiled:
    """The product compiled on its own, kept on disk, and exported under its name.

    It costs LLVM more than most programs do and never differs: a program declares it, and
    links with `imports={"matmul_f64": library.address("matmul_f64"), ...}`.
    """
    pool = pool_library(target)
    imports = {"parallel_for": pool.address("parallel_for")}
    return cached_library(
        f"matmul_{dtype}", lambda: _text(dtype, target), target, imports=imports
    )


def _text(dtype: str, target: Target) -> str:
    module = Module(target)
    emit_matmul(module, dtype, target)
    return module.text()


def compile_matmul(
    dtype: str, target: Target, imports: Mapping[str, int] = MappingProxyType({})
) -> Compiled:
    """The product compiled with a `parallel_for` of one's choice."""
    return compile_ir(_text(dtype, target), target, passes="explicit", imports=imports)


def _emit_plain(module: Module, name: str, tiling: Tiling) -> None:
    """The triple loop, for when there is no memory to pack into."""
    f = Emitter(module, f"{name}.plain", PRODUCT, tiling)
    with f.loop(0, "%m", 1, "row", properties=ROLLED) as i:
        row, c_row = f.at("%a", i, "%a_rs"), f.at("%c", i, "%c_rs")
        with f.loop(0, "%n", 1, "col", properties=ROLLED) as j:
            column = f.at("%b", j, "%b_cs")
            sums = [(tiling.type_, "0.0")]
            with f.loop(0, "%k", 1, "k", accumulators=sums, properties=ROLLED) as k:
                left = f.load(tiling.type_, f.at(row, k, "%a_cs"))
                right = f.load(tiling.type_, f.at(column, k, "%b_rs"))
                k.carry(f.fma(tiling.type_, left, right, k.carried[0]))
            f.store(tiling.type_, k.results[0], f.at(c_row, j, "%c_cs"))
    f.do("ret void")


def _emit_small(module: Module, name: str, tiling: Tiling) -> None:
    """One sweep. False, and nothing done, where B is strided and too large for the stack."""
    f = Emitter(module, f"{name}.small", PRODUCT, tiling, returns="i1")
    item = tiling.item
    with f.if_then(emit_b_readable(f)):
        _emit_sweep(f, name)
        f.do("ret i1 true")
    size = f.product(f.round_up("%n", tiling.lanes), "%k", item)
    with f.if_then(f.emit(f"icmp ugt i64 {size}, {_STACK}")):
        f.do("ret i1 false")
    f.do(f"call void @{name}.small_packed({PRODUCT})")
    f.do("ret i1 true")
    f = Emitter(module, f"{name}.small_packed", PRODUCT, tiling)
    stack = f.emit(f"alloca [{_STACK} x i8], align 64")
    f.do(
        f"call void @{name}.pack_b(ptr {stack}, ptr %b, i64 %n, i64 %k, i64 %k, "
        f"i64 %b_cs, i64 %b_rs)"
    )
    _emit_sweep(f, name, stack)
    f.do("ret void")


def _emit_sweep(f: Emitter, name: str, b_packed: str | None = None) -> None:
    """The product as one sweep over operands where they lie, or over a packed B."""
    rows, item = f.tiling.rows, f.tiling.item
    b = f"ptr %b, i64 %b_rs, i64 {item}, i1 false, i1 true"
    if b_packed is not None:
        b = f"ptr {b_packed}, i64 0, i64 {f.product('%k', item)}, i1 true, i1 false"
    f.do(
        f"call void @{name}.sweep(i64 %m, i64 %n, i64 %k, i64 %k, ptr %a, i64 %a_rs, i64 %a_cs, "
        f"i64 {f.product('%a_rs', rows)}, i1 false, {b}, ptr null, "
        "ptr null, ptr %c, i64 %c_rs, i64 %c_cs, i1 false)"
    )


def _emit_vector(module: Module, name: str, tiling: Tiling) -> None:
    """A row times a matrix. False, and nothing done, where the matrix is strided both ways."""
    f = Emitter(module, f"{name}.vector", PRODUCT, tiling, returns="i1")
    arguments = "i64 %n, i64 %k, ptr %a, i64 %a_cs, ptr %b, i64 %b_rs, i64 %b_cs, ptr %c, i64 %c_cs"
    deep = f.emit("icmp ugt i64 %k, 1")
    with f.if_then(f.both(deep, f.is_item("%b_rs"))):
        f.do(f"ret i1 {f.emit(f'call i1 @{name}.dots({arguments})')}")
    with f.if_then(f.is_item("%b_cs")):
        f.do(f"call void @{name}.combine({arguments})")
        f.do("ret i1 true")
    f.do("ret i1 false")


def _emit_cost(module: Module, name: str, tiling: Tiling) -> None:
    """Rough cycles of the product in one orientation: tiles with their waste, packing, and
    storing block by block to a C whose rows are not contiguous."""
    parameters = "i64 %m, i64 %n, i64 %k, i64 %b_cs, i64 %c_cs"
    f = Emitter(module, f"{name}.cost", parameters, tiling, returns="i64")
    tiles = f.product("%m", f.round_up("%n", tiling.lanes), "%k")
    tiles = f.emit(f"udiv i64 {tiles}, {2 * tiling.lanes}")
    a_packing = f.select(emit_a_in_place(f), "i64", 0, f.product("%m", "%k"))
    b_packing = f.select(emit_b_readable(f), "i64", 0, f.product("%n", "%k"))
    packing = f.emit(f"lshr i64 {f.emit(f'add i64 {a_packing}, {b_packing}')}, 1")
    scattered = f.product("%m", "%n", f.maximum(f.parts("%k", tiling.kc), 1), 3)
    storing = f.select(f.is_item("%c_cs"), "i64", 0, scattered)
    total = f.emit(f"add i64 {tiles}, {packing}")
    f.do(f"ret i64 {f.emit(f'add i64 {total}, {storing}')}")


def _emit_one(module: Module, name: str, tiling: Tiling) -> None:
    """One product: choose the orientation and the way."""
    f = Emitter(module, f"{name}.one", f"{PRODUCT}, {_CALL}", tiling)
    one_col = f.emit("icmp eq i64 %n, 1")
    one_row = f.emit("icmp eq i64 %m, 1")
    vector, matrix, done = f.label("vector"), f.label("matrix"), f.label("done")
    direct, other = f.label("direct"), f.label("other")
    in_order = f.both(f.is_item("%c_cs"), emit_b_readable(f))
    little = f.emit(f"icmp ule i64 {f.product('%m', '%n', '%k')}, {_LITTLE}")
    f.branch_if(f.both(in_order, little), direct, other)
    f.block(direct)
    narrow, wide = f.label("narrow"), f.label("wide")
    f.branch_if(f.emit(f"icmp ult i64 {f.emit('sub i64 %n, 1')}, {tiling.lanes}"), narrow, wide)
    f.block(narrow)
    f.do(
        f"call void @{name}.panel1(i64 %n, i64 %m, i64 %k, ptr %a, i64 %a_rs, i64 %a_cs, "
        f"i64 {f.product('%a_rs', tiling.rows)}, ptr %b, i64 %b_rs, ptr %c, i64 %c_rs, i1 false)"
    )
    f.branch(done)
    f.block(wide)
    _emit_sweep(f, name)
    f.branch(done)
    f.block(other)
    f.branch_if(f.either(one_col, one_row), vector, matrix)
    f.block(vector)
    streamed = f.emit(f"call i1 @{name}.vector({_oriented(f, one_col)})")
    f.branch_if(streamed, done, matrix)
    f.block(matrix)
    cost = f.emit(f"call i64 @{name}.cost(i64 %m, i64 %n, i64 %k, i64 %b_cs, i64 %c_cs)")
    cost_t = f.emit(f"call i64 @{name}.cost(i64 %n, i64 %m, i64 %k, i64 %a_rs, i64 %c_rs)")
    transposed = f.emit(f"icmp slt i64 {cost_t}, {cost}")
    arguments = _oriented(f, transposed)
    small, blocks = f.label("small"), f.label("blocks")
    few = f.emit(f"icmp ule i64 {f.product('%m', '%n', '%k')}, {_SMALL}")
    shallow = f.emit(f"icmp ule i64 %k, {tiling.kc}")
    f.branch_if(f.both(few, shallow), small, blocks)
    f.block(small)
    swept = f.emit(f"call i1 @{name}.small({arguments})")
    f.branch_if(swept, done, blocks)
    f.block(blocks)
    swapped = f.emit(f"zext i1 {transposed} to i64")
    f.do(f"call void @{name}.blocks({arguments}, {_CALL}, i64 {swapped})")
    f.do("ret void")
    f.block(done)
    emit_epilogue(f, "0", "%m", "0", "%n", ("%epilogue", "%context", "0"))
    f.do("ret void")


def _oriented(f: Emitter, transposed: str) -> str:
    """The arguments of the product, or where the i1 holds of the transposed one."""
    arguments = []
    for plain, other in zip(PRODUCT.split(", "), TRANSPOSED_PRODUCT.split(", "), strict=True):
        (type_, this), that = plain.split(), other.split()[1]
        arguments.append(f"{type_} {f.select(transposed, type_, that, this)}")
    return ", ".join(arguments)


def _emit_batch(module: Module, name: str, tiling: Tiling) -> None:
    """All products of a batch: as one if rows of A and C go on into the next item and B stays;
    else one by one if they are large or few; else shared out to tasks."""
    _emit_batch_task(module, name, tiling)
    f = Emitter(module, name, f"{PRODUCT}, {_BATCH}, {_CALL}", tiling, internal=False)
    record = emit_record(f, _BATCH_FIELDS)
    single, several = f.label("single"), f.label("several")
    f.branch_if(f.emit("icmp eq i64 %count, 1"), single, several)
    f.block(single)
    f.do(f"call void @{name}.one({PRODUCT}, {_CALL})")
    f.do("ret void")
    f.block(several)
    goes_on = f.both(
        f.emit("icmp eq i64 %b_step, 0"),
        f.both(
            f.emit(f"icmp eq i64 %a_step, {f.product('%a_rs', '%m')}"),
            f.emit(f"icmp eq i64 %c_step, {f.product('%c_rs', '%m')}"),
        ),
    )
    with f.if_then(goes_on):
        m = f.product("%m", "%count")
        f.do(f"call void @{name}.one({PRODUCT.replace('%m', m)}, {_CALL})")
        f.do("ret void")
    work = f.product("%m", "%n", "%k")
    share = f.maximum(f.emit(f"udiv i64 {_TASK}, {f.maximum(work, 1)}"), 1)
    total = f.product(work, "%count")
    fit = f.emit(f"icmp ule i64 {work}, {_TASK << 7}")
    parallel = f.both(f.emit(f"icmp ugt i64 {total}, {2 * _TASK}"), fit)
    fields = f"{PRODUCT}, {_BATCH}, i64 {share}"
    emit_run(f, f"{name}.batch_task", record, fields, f.parts("%count", share), parallel)
    f.do("ret void")


def _emit_batch_task(module: Module, name: str, tiling: Tiling) -> None:
    f = Emitter(module, f"{name}.batch_task", TASK, tiling)
    u = unpacked(f, _BATCH_FIELDS)
    first = f.product("%chunk", u["share"])
    count = f.rest(u["count"], first, u["share"])
    operands = ("a", "b", "c")
    starts = [("ptr", f.at(u[x], first, u[f"{x}_step"])) for x in operands]
    with f.loop(0, count, 1, "item", accumulators=starts, properties=ROLLED) as i:
        places = dict(zip(operands, i.carried, strict=True))
        arguments = ", ".join(
            f"{field.split()[0]} {places.get(key, u[key])}"
            for field in PRODUCT.split(", ")
            for key in [field.split("%")[1]]
        )
        f.do(f"call void @{name}.one({arguments}, ptr null, ptr null)")
        i.carry(*[f.offset(places[x], u[f"{x}_step"]) for x in operands])
    f.do("ret void")
