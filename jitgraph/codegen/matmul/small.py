"""Products too small for blocks: a triple loop, dot products."""


from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.tiling import PRODUCT_PARAMETERS, ROLLED, Emitter, Tiling


def emit_dots(module: Module, name: str, tiling: Tiling) -> None:
    """Matrix times vector, both contiguous along k: a dot product for each of `count` lines."""
    parameters = (
        "i64 %count, i64 %k, ptr noalias readonly %a, i64 %a_rs, ptr noalias readonly %x, "
        "ptr noalias %y, i64 %y_stride"
    )
    f = Emitter(module, f"{name}.dots", parameters, tiling)
    type_, vector, ways = tiling.type_, f.vector, 4
    step = ways * tiling.lanes
    whole = f.emit(f"and i64 %k, {-step}")
    with f.loop(0, "%count", 1, "row", properties=ROLLED) as i:
        row = f.at("%a", i, "%a_rs")
        zeros = [(vector, "zeroinitializer")] * ways
        with f.loop(0, whole, step, "k", accumulators=zeros, properties=ROLLED) as k:
            following = []
            for way in range(ways):
                at = f.emit(f"add i64 {k}, {way * tiling.lanes}")
                factors = [f.load(vector, f.item_at(p, at)) for p in (row, "%x")]
                following.append(f.fma(vector, factors[0], factors[1], k.carried[way]))
            k.carry(*following)
        total = k.results[0]
        for partial in k.results[1:]:
            total = f.emit(f"fadd {vector} {total}, {partial}")
        reduce = f"@llvm.vector.reduce.fadd.v{tiling.lanes}f{tiling.item * 8}"
        f.module.declare(f"declare {type_} {reduce}({type_}, {vector})")
        total = f.emit(f"call reassoc {type_} {reduce}({type_} 0.0, {vector} {total})")
        total = emit_scalar_dot(f, whole, total, row, tiling.item, "%x", tiling.item)
        f.store(type_, total, f.at("%y", i, "%y_stride"))
    f.do("ret void")


def emit_scalar_dot(
    f: Emitter, start: str, total: str, x: str, x_step: str | int, y: str, y_step: str | int
) -> str:
    """`total` plus the products of x and y from step `start` to `%k`."""
    type_ = f.tiling.type_
    sums = [(type_, total)]
    with f.loop(start, "%k", 1, "k", accumulators=sums, properties=ROLLED) as k:
        left = f.load(type_, f.at(x, k, x_step))
        right = f.load(type_, f.at(y, k, y_step))
        k.carry(f.fma(type_, left, right, k.carried[0]))
    return k.results[0]


def emit_tiny(module: Module, name: str, tiling: Tiling) -> None:
    """The triple loop: for products too small to set anything up, and for k = 0."""
    f = Emitter(module, f"{name}.tiny", PRODUCT_PARAMETERS, tiling)
    with f.loop(0, "%m", 1, "row", properties=ROLLED) as i:
        row, c_row = f.at("%a", i, "%a_rs"), f.at("%c", i, "%c_rs")
        with f.loop(0, "%n", 1, "col", properties=ROLLED) as j:
            column = f.at("%b", j, "%b_cs")
            total = emit_scalar_dot(f, "0", "0.0", row, "%a_cs", column, "%b_rs")
            f.store(tiling.type_, total, f.at(c_row, j, "%c_cs"))
    f.do("ret void")
