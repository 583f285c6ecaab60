"""Packing: panels of an operand, contiguous in the order the micro-kernel reads them."""

from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.kernel import emit_width
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling, every

#: Rows ahead of a copy that are prefetched: hardware does not follow them into other pages.
_PREFETCH_ROWS = 8
#: Bytes ahead on a line that is transposed.
_PREFETCH_BYTES = 512
#: Rows that are copied into all panels before the next ones, as streams side by side: a panel
#: alone would take short pieces of rows, each from another page.
_STREAMS = 16


def emit_pack(module: Module, name: str, tiling: Tiling) -> None:
    """Emit `pack_a` and `pack_b`: all panels of an operand, one after another.

    A line is a row of A or a column of B, `stride` bytes from the next; its elements are
    `depth_stride` apart. Panels of A have `tiling.rows` lines, panels of B what `emit_width`
    says; where the last has fewer, it is filled with copies of its last line. Elements from
    `depth` to `padded` are zero.
    """
    _emit_pack_panel(module, name, tiling)
    parameters = (
        "ptr %to, ptr %from, i64 %count, i64 %depth, i64 %padded, i64 %stride, i64 %depth_stride"
    )
    for operand in ("a", "b"):
        f = Emitter(module, f"{name}.pack_{operand}", parameters, tiling)
        steps = f.select(f.is_item("%stride"), "i64", _STREAMS, f.maximum("%padded", 1))
        with f.loop(0, "%padded", steps, "k", properties=ROLLED) as k:
            depth = f.maximum(f.rest("%depth", k, steps), 0)
            padded = f.rest("%padded", k, steps)
            source = f.at("%from", k, "%depth_stride")
            _emit_panels(f, f"{name}.pack", operand, source, depth, padded, k.index)
        f.do("ret void")


def _emit_panels(
    f: Emitter, pack: str, operand: str, source: str, depth: str, padded: str, k: str
) -> None:
    """Some steps of all panels."""
    head, body, end = f.label("head"), f.label("panel"), f.label("end")
    before, j_next = f.current, f.fresh("j")
    f.block(head)
    j = f.phi("i64", [("0", before), (j_next, body)])
    f.branch_if(f.emit(f"icmp slt i64 {j}, %count"), body, end)
    f.block(body)
    left = f.emit(f"sub i64 %count, {j}")
    width = str(f.tiling.rows) if operand == "a" else emit_width(f, left)
    panel = f.item_at("%to", f.emit(f"mul i64 {j}, %padded"))
    to = f.item_at(panel, f.product(k, width))
    f.do(
        f"call void @{pack}(ptr {to}, ptr {f.at(source, j, '%stride')}, "
        f"i64 {f.minimum(left, width)}, i64 {depth}, i64 {padded}, "
        f"i64 %stride, i64 %depth_stride, i64 {width})"
    )
    f.do(f"{j_next} = add i64 {j}, {width}")
    f.branch(head)
    f.block(end)


def _emit_pack_panel(module: Module, name: str, tiling: Tiling) -> None:
    """One panel: lines contiguous across are copied, lines contiguous along the depth are
    transposed by squares, others and the rests are moved one by one."""
    chunk, item = tiling.chunk, tiling.item
    parameters = (
        "ptr noalias %to, ptr noalias readonly %from, i64 %count, i64 %depth, "
        "i64 %padded, i64 %stride, i64 %depth_stride, i64 %width"
    )
    f = Emitter(module, f"{name}.pack", parameters, tiling)
    to_step = f.emit(f"mul i64 %width, {item}")
    copied = f.select(f.is_item("%stride"), "i64", f.emit(f"and i64 %count, {-chunk}"), 0)
    _emit_copy(f, copied, to_step)
    squares = f.emit(f"and i64 %depth, {-chunk}")
    squares = f.select(f.is_item("%depth_stride"), "i64", squares, 0)
    last = f.emit("sub i64 %count, 1")
    with f.loop(copied, "%width", chunk, "line", properties=ROLLED) as j:
        to = f.item_at("%to", j)
        lines = [
            f.at("%from", f.minimum(f.emit(f"add i64 {j}, {q}"), last), "%stride")
            for q in range(chunk)
        ]
        _emit_squares(f, lines, to, to_step, squares)
        with f.loop(squares, "%depth", 1, "k", properties=ROLLED) as k:
            to_row = f.at(to, k, to_step)
            moved = f.emit(f"mul i64 {k}, %depth_stride")
            for q, line in enumerate(lines):
                value = f.load(tiling.type_, f.offset(line, moved))
                f.store(tiling.type_, value, f.item_at(to_row, q))
    with f.loop("%depth", "%padded", 1, "k", properties=ROLLED) as k:
        to_row = f.at("%to", k, to_step)
        with f.loop(0, "%width", chunk, "line", properties=ROLLED) as j:
            f.store(f"<{chunk} x {tiling.type_}>", "zeroinitializer", f.item_at(to_row, j))
    f.do("ret void")


def _emit_copy(f: Emitter, copied: str, to_step: str) -> None:
    """The first `copied` lines, which lie side by side."""
    vector = f"<{f.tiling.chunk} x {f.tiling.type_}>"
    depth = f.select(f.emit(f"icmp eq i64 {copied}, 0"), "i64", 0, "%depth")
    ahead = f.emit(f"mul i64 %depth_stride, {_PREFETCH_ROWS}")
    rows = [("ptr", "%from"), ("ptr", "%to")]
    with f.loop(0, depth, 1, "k", accumulators=rows, properties=ROLLED) as k:
        from_row, to_row = k.carried
        with f.loop(0, copied, f.tiling.chunk, "line", properties=ROLLED) as j:
            place = f.item_at(from_row, j)
            f.prefetch(f.offset(place, ahead))
            f.store(vector, f.load(vector, place), f.item_at(to_row, j))
        k.carry(f.offset(from_row, "%depth_stride"), f.offset(to_row, to_step))


def _emit_squares(f: Emitter, lines: list[str], to: str, to_step: str, squares: str) -> None:
    """The first `squares` elements of each line, by transposing squares."""
    chunk = f.tiling.chunk
    vector = f"<{chunk} x {f.tiling.type_}>"
    to_square = f.emit(f"mul i64 {to_step}, {chunk}")
    with f.loop(0, squares, chunk, "k", accumulators=[("ptr", to)], properties=ROLLED) as k:
        places = [f.item_at(line, k) for line in lines]
        for place in places:
            f.prefetch(f.offset(place, _PREFETCH_BYTES))
        square = [f.load(vector, place) for place in places]
        rows = every(f, k.carried[0], to_step, chunk)
        for value, p in zip(_emit_transpose(f, vector, square), rows, strict=True):
            f.store(vector, value, p)
        k.carry(f.offset(k.carried[0], to_square))


def _emit_transpose(f: Emitter, vector: str, square: list[str]) -> list[str]:
    """Transpose n vectors of n elements (n a power of two).

    Interleaving line i with line i + n/2 rotates the bits of (line, element) by one place;
    log2(n) rotations exchange line and element.
    """
    n = len(square)
    halves = [[half + i // 2 + i % 2 * n for i in range(n)] for half in (0, n // 2)]
    masks = [f"<{n} x i32> <{', '.join(f'i32 {i}' for i in half)}>" for half in halves]
    for _ in range(n.bit_length() - 1):
        square = [
            f.emit(f"shufflevector {vector} {x}, {vector} {y}, {mask}")
            for x, y in zip(square[: n // 2], square[n // 2 :], strict=True)
            for mask in masks
        ]
    return square
