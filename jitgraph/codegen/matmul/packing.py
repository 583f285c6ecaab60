"""Packing: panels of an operand, contiguous in the order the micro-kernel reads them."""


from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling


def emit_pack(module: Module, name: str, tiling: Tiling) -> None:
    """Copy `count` lines of `depth` elements into panels of `width` lines, depth first.

    A line is a row of A or a column of B, `stride` bytes from the next; its elements are
    `depth_stride` apart. Missing lines up to a multiple of `pad` become zero.
    """
    chunk, item = tiling.chunk, tiling.item
    parameters = (
        "ptr noalias %to, ptr noalias readonly %from, i64 %count, i64 %depth, i64 %stride, "
        "i64 %depth_stride, i64 %width, i64 %pad"
    )
    f = Emitter(module, f"{name}.pack", parameters, tiling)
    to_step = f.emit(f"mul i64 %width, {item}")
    padded = f.emit("add i64 %count, %pad")
    padded = f.emit(f"sub i64 {padded}, 1")
    padded = f.emit(f"sub i64 {padded}, {f.emit(f'urem i64 {padded}, %pad')}")
    with f.loop(0, padded, chunk, "line", properties=ROLLED) as j:
        within = f.emit(f"urem i64 {j}, %width")
        panel = f.at("%to", f.emit(f"sub i64 {j}, {within}"), f.emit(f"mul i64 %depth, {item}"))
        to = f.item_at(panel, within)
        source = f.at("%from", j, "%stride")
        left = f.maximum(f.emit(f"sub i64 %count, {j}"), 0)
        live = f.minimum(left, chunk)
        done = _emit_pack_vectors(f, to, to_step, source, live)
        with f.loop(done, "%depth", 1, "k", properties=ROLLED) as k:
            to_row = f.at(to, k, to_step)
            from_row = f.at(source, k, "%depth_stride")
            with f.loop(0, live, 1, "q", properties=ROLLED) as q:
                value = f.load(tiling.type_, f.at(from_row, q, "%stride"))
                f.store(tiling.type_, value, f.item_at(to_row, q))
            with f.loop(live, chunk, 1, "z", properties=ROLLED) as z:
                f.store(tiling.type_, "0.0", f.item_at(to_row, z))
    f.do("ret void")


def _emit_pack_vectors(f: Emitter, to: str, to_step: str, source: str, live: str) -> str:
    """Pack `chunk` whole lines by vectors; returns how far along the depth that went.

    Contiguous across lines: copied. Contiguous along the depth: transposed by squares.
    """
    tiling, chunk = f.tiling, f.tiling.chunk
    vector = f"<{chunk} x {tiling.type_}>"
    whole = f.emit(f"icmp eq i64 {live}, {chunk}")
    copying = f.emit(f"and i1 {whole}, {f.is_item('%stride')}")
    squares = f.emit(f"and i1 {whole}, {f.is_item('%depth_stride')}")
    copied = f.select(copying, "i64", "%depth", 0)
    with f.loop(0, copied, 1, "k", properties=ROLLED) as k:
        p = f.at(source, k, "%depth_stride")
        value = f.load(vector, p)
        f.store(vector, value, f.at(to, k, to_step))
    depth_whole = f.emit(f"and i64 %depth, {-chunk}")
    transposed = f.select(squares, "i64", depth_whole, copied)
    with f.loop(copied, transposed, chunk, "k", properties=ROLLED) as k:
        column = f.item_at(source, k)
        square = [f.load(vector, p) for p in every(f, column, "%stride", chunk)]
        rows = every(f, f.at(to, k, to_step), to_step, chunk)
        for value, p in zip(_emit_transpose(f, vector, square), rows, strict=True):
            f.store(vector, value, p)
    return f.maximum(copied, transposed)


def every(f: Emitter, pointer: str, stride: str, count: int) -> list[str]:
    """`count` pointers, `stride` bytes apart."""
    pointers = [pointer]
    while len(pointers) < count:
        pointers.append(f.offset(pointers[-1], stride))
    return pointers


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
