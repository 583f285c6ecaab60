"""Tensor cores of the simulated device: products of 16 x 8 elements by the lanes of a warp, each of
which brings a part of the operands (see `tensorcores` for which)."""

from __future__ import annotations

from jitgraph.codegen.gpu.simulator.state import WARP
from jitgraph.codegen.llvm import FunctionBuilder, Module

_FOUR = "{ float, float, float, float }"
#: The products: the depth, and the type of a register of the operands.
_PRODUCTS = {
    "mma.m16n8k8.row.col.tf32": (8, "i32"),
    "mma.m16n8k16.row.col.bf16": (16, "i32"),
    "mma.m16n8k16.row.col.f32.f32": (16, "<2 x half>"),
}
_DOUBLES = "mma.m8n8k4.row.col.f64"
_CONVERSIONS = ("f2tf32.rna", "ff2bf16x2.rn", "ff2f16x2.rn")
#: The intrinsics, without their prefix, and whether they make threads wait for each other.
TENSOR_CORES = {
    **dict.fromkeys((_DOUBLES, *_PRODUCTS), True), **dict.fromkeys(_CONVERSIONS, False)
}  # fmt: skip
#: Where in a lane's record the operands and the sums are, and what comes of them.
_LEFT, _RIGHT, _BEFORE, _AFTER = 0, 32, 48, 80


def emit_tensor_cores(module: Module) -> None:
    """The functions."""
    _emit_conversions(module)
    _emit_doubles(module)
    for name, (depth, type_) in _PRODUCTS.items():
        _emit_compute(module, name, depth)
        parameters = ["i64 %site"]
        parameters += [f"{type_} %a{k}" for k in range(4)] + [f"{type_} %b{k}" for k in range(2)]
        parameters += [f"float %c{k}" for k in range(4)]
        f = FunctionBuilder(module, f"sim_{name}", parameters, returns=_FOUR)
        words = [f.emit(f"bitcast {type_} %{x} to i32")
                 for x in ("a0", "a1", "a2", "a3", "b0", "b1")]  # fmt: skip
        record = f.record([*(f"i32 {word}" for word in words),
                           *(f"float %c{k}" for k in range(4)), *["float 0.0"] * 4])  # fmt: skip
        f.do(f"call void @sim_collective(ptr @compute.{name}, i64 %site, i32 -1, ptr {record})")
        made = "poison"
        for k in range(4):
            part = f.emit(f"load float, ptr {f.offset(record, _AFTER + 8 * k)}")
            made = f.emit(f"insertvalue {_FOUR} {made}, float {part}, {k}")
        f.do(f"ret {_FOUR} {made}")


def _emit_doubles(module: Module) -> None:
    """Products of 8 x 8 elements: a lane's record has one of each operand, then two sums."""
    f = FunctionBuilder(
        module, f"compute.{_DOUBLES}", ["ptr %records", "i32 %mask"], internal=True
    )
    with f.loop(0, WARP, name="lane") as lane, f.loop(0, 2, name="place") as place:
        group, member = f.emit(f"lshr i64 {lane}, 2"), f.emit(f"and i64 {lane}, 3")
        column = f.emit(f"add i64 {f.emit(f'mul i64 {member}, 2')}, {place}")
        mine = f.offset(_record(f, str(lane)), f.emit(f"mul i64 {place}, 8"))
        total = f.emit(f"load double, ptr {f.offset(mine, 16)}")
        for k in range(4):
            found = []
            for line, at in ((group, 0), (column, 8)):
                other = f.emit(f"add i64 {f.emit(f'mul i64 {line}, 4')}, {k}")
                found.append(f.emit(f"load double, ptr {f.offset(_record(f, other), at)}"))
            a, b = found
            total = f.intrinsic("double", "@llvm.fma.f64", f"double {a}", f"double {b}",
                                f"double {total}")  # fmt: skip
        f.do(f"store double {total}, ptr {f.offset(mine, 32)}")
    f.do("ret void")
    two, words = "{ double, double }", ("%a", "%b", "%c0", "%c1")
    f = FunctionBuilder(
        module, f"sim_{_DOUBLES}", ["i64 %site", *(f"double {x}" for x in words)], returns=two
    )
    record = f.record([*(f"double {x}" for x in words), "double 0.0", "double 0.0"])
    f.do(f"call void @sim_collective(ptr @compute.{_DOUBLES}, i64 %site, i32 -1, ptr {record})")
    low, high = (f.emit(f"load double, ptr {f.offset(record, at)}") for at in (32, 40))
    made = f.emit(f"insertvalue {two} poison, double {low}, 0")
    f.do(f"ret {two} {f.emit(f'insertvalue {two} {made}, double {high}, 1')}")


def _emit_conversions(module: Module) -> None:
    f = FunctionBuilder(module, "sim_f2tf32.rna", ["float %x"], returns="i32")
    bits = f.emit("bitcast float %x to i32")
    up = f.emit(f"and i32 {f.emit(f'add i32 {bits}, {1 << 12}')}, {-1 << 13}")
    is_nan = f.emit("fcmp uno float %x, %x")
    f.do(f"ret i32 {f.select(is_nan, 'i32', 0x7FFFFFFF, up)}")
    f = FunctionBuilder(module, "bf16", ["float %x"], returns="i32", internal=True)
    bits = f.emit("bitcast float %x to i32")
    last = f.emit(f"and i32 {f.emit(f'lshr i32 {bits}, 16')}, 1")
    up = f.emit(f"add i32 {f.emit(f'add i32 {bits}, {0x7FFF}')}, {last}")
    is_nan = f.emit("fcmp uno float %x, %x")
    kept = f.select(is_nan, "i32", 0x7FFF0000, up)
    f.do(f"ret i32 {f.emit(f'lshr i32 {kept}, 16')}")
    halves = ["float %high", "float %low"]
    f = FunctionBuilder(module, "sim_ff2bf16x2.rn", halves, returns="<2 x bfloat>")
    high, low = (f.emit(f"call i32 @bf16(float %{x})") for x in ("high", "low"))
    both = f.emit(f"or i32 {f.emit(f'shl i32 {high}, 16')}, {low}")
    f.do(f"ret <2 x bfloat> {f.emit(f'bitcast i32 {both} to <2 x bfloat>')}")
    f = FunctionBuilder(module, "sim_ff2f16x2.rn", halves, returns="<2 x half>")
    high, low = (f.emit(f"fptrunc float %{x} to half") for x in ("high", "low"))
    pair = f.emit(f"insertelement <2 x half> poison, half {low}, i32 0")
    f.do(f"ret <2 x half> {f.emit(f'insertelement <2 x half> {pair}, half {high}, i32 1')}")


def _emit_compute(module: Module, name: str, depth: int) -> None:
    """`void @compute.NAME(ptr records, i32 mask)`: what comes of the records of a warp."""
    f = FunctionBuilder(
        module, f"compute.{name}", ["ptr %records", "i32 %mask"], internal=True
    )
    half = depth // 2
    with f.loop(0, WARP, name="lane") as lane, f.loop(0, 4, name="place") as place:
        group, member = f.emit(f"lshr i64 {lane}, 2"), f.emit(f"and i64 {lane}, 3")
        lower = f.emit(f"lshr i64 {place}, 1")
        column = f.emit(f"add i64 {f.emit(f'mul i64 {member}, 2')}, "
                        f"{f.emit(f'and i64 {place}, 1')}")  # fmt: skip
        mine = _record(f, str(lane))
        offset = f.emit(f"mul i64 {place}, 8")
        before = f.emit(f"load float, ptr {f.offset(f.offset(mine, _BEFORE), offset)}")
        with f.loop(0, depth, 1, "k", accumulators=[("float", before)]) as k:
            later = f.emit(f"udiv i64 {k}, {half}")
            step = f.emit(f"urem i64 {k}, {half}")
            register = f.emit(f"add i64 {lower}, {f.emit(f'mul i64 {later}, 2')}")
            a = _element(f, group, step, _LEFT, register, depth)
            b = _element(f, column, step, _RIGHT, later, depth)
            k.carry(f.intrinsic("float", "@llvm.fma.f32", f"float {a}", f"float {b}",
                                f"float {k.carried[0]}"))  # fmt: skip
        f.do(f"store float {k.results[0]}, ptr {f.offset(f.offset(mine, _AFTER), offset)}")
    f.do("ret void")


def _record(f: FunctionBuilder, lane: str) -> str:
    return f.emit(f"load ptr, ptr {f.emit(f'getelementptr ptr, ptr %records, i64 {lane}')}")


def _element(
    f: FunctionBuilder, line: str, step: str, part: int, register: str, depth: int
) -> str:
    """An element of an operand: of the lane that has this line and step."""
    pairs = depth // 8
    lane = f.emit(f"add i64 {f.emit(f'mul i64 {line}, 4')}, {f.emit(f'udiv i64 {step}, {pairs}')}")
    offset = f.emit(f"add i64 {f.emit(f'mul i64 {register}, 8')}, {part}")
    word = f.emit(f"load i32, ptr {f.offset(_record(f, lane), offset)}")
    if pairs == 1:
        kept = f.emit(f"and i32 {word}, {-1 << 13}")
        return f.emit(f"bitcast i32 {kept} to float")
    odd = f.emit(f"and i64 {step}, 1")
    shift = f.emit(f"trunc i64 {f.emit(f'mul i64 {odd}, 16')} to i32")
    bits = f.emit(f"lshr i32 {word}, {shift}")
    if f.symbol.endswith("bf16"):
        return f.emit(f"bitcast i32 {f.emit(f'shl i32 {bits}, 16')} to float")
    narrow = f.emit(f"bitcast i16 {f.emit(f'trunc i32 {bits} to i16')} to half")
    return f.emit(f"fpext half {narrow} to float")
