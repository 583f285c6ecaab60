"""The convolution for few filters (depthwise ones have one for each channel): they read the input
where it lies, in vectors along the columns of the outputs. Packing would take longer than what is
done with the panels."""

from __future__ import annotations

from jitgraph.codegen.convolution.geometry import Fields, emit_row
from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling

#: Packing a panel is worth it for more filters of a group than this.
FEW = 2
#: Rows of outputs that share the elements of a filter.
_ROWS = 4


def emit_is_direct(f: Emitter, u: dict[str, str]) -> str:
    """Whether there are so few filters, and the outputs along a row see neighbours."""
    few = f.emit(f"icmp ule i64 {u['o']}, {FEW}")
    return f.both(few, f.emit(f"icmp eq i64 {u['sx']}, 1"))


def emit_direct(module: Module, name: str, tiling: Tiling, fields: Fields) -> None:
    """Emit `{name}.direct(record, from, filter, to, first, last)`: rows of the outputs of one
    filter."""
    parameters = (
        "ptr %record, ptr noalias readonly %from, ptr noalias readonly %filter, ptr noalias %to, "
        "i64 %first, i64 %last"
    )
    f = Emitter(module, f"{name}.direct", parameters, tiling)
    u = fields.unpack(f)
    start = "%first"
    for rows in (_ROWS, 1):
        count = f.emit(f"sub i64 %last, {start}")
        whole = f.product(f.emit(f"udiv i64 {count}, {rows}"), rows)
        end = f.emit(f"add i64 {start}, {whole}")
        with f.loop(start, end, rows, "row", properties=ROLLED) as row:
            _emit_rows(f, u, [f.emit(f"add i64 {row}, {r}") for r in range(rows)])
        start = end
    f.do("ret void")


def _emit_rows(f: Emitter, u: dict[str, str], rows: list[str]) -> None:
    """Some rows of outputs: whole vectors, then the rest of the row."""
    tiling = f.tiling
    length = f.product(u["ox"], tiling.item)
    sources = [f.offset("%from", emit_row(f, u, row)) for row in rows]
    outs = [f.at("%to", row, length) for row in rows]
    whole = f.emit(f"and i64 {u['ox']}, {-tiling.lanes}")
    with f.loop(0, whole, tiling.lanes, "vector", properties=ROLLED) as v:
        _emit_piece(f, u, sources, outs, v.index, "every")
    if tiling.masked:
        rest = f.emit(f"sub i64 {u['ox']}, {whole}")
        with f.if_then(f.emit(f"icmp sgt i64 {rest}, 0")):
            _emit_piece(f, u, sources, outs, whole, f.mask(rest))
    else:
        with f.loop(whole, u["ox"], name="element", properties=ROLLED) as v:
            _emit_piece(f, u, sources, outs, v.index, "one")


def _emit_piece(
    f: Emitter, u: dict[str, str], rows: list[str], outs: list[str], column: str, lanes: str
) -> None:
    """The sums of a piece of each row: `every` lane of a vector, `one` element, or a mask."""
    sources = [f.item_at(row, column) for row in rows]
    tiling = f.tiling
    type_ = tiling.type_ if lanes == "one" else f.vector
    masked = lanes not in ("every", "one")
    starts = [(type_, "zeroinitializer" if type_ == f.vector else "0.0")] * len(outs)
    with f.loop(0, u["depth"], name="k", accumulators=starts, properties=ROLLED) as k:
        offset = f.emit(f"load i64, ptr {f.at(u['offsets'], k, 8)}")
        weight = f.load(tiling.type_, f.item_at("%filter", k))
        weight = weight if lanes == "one" else f.splat(f.vector, weight)
        following = []
        for source, total in zip(sources, k.carried, strict=True):
            at = f.offset(source, offset)
            seen = f.masked_load(at, lanes) if masked else f.load(type_, at)
            following.append(f.fma(type_, weight, seen, total))
        k.carry(*following)
    for total, out in zip(k.results, outs, strict=True):
        at = f.item_at(out, column)
        if masked:
            f.masked_store(total, at, lanes)
        else:
            f.store(type_, total, at)
