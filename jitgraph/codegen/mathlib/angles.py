"""Huge angles: reduction by pi/2 with integers, out of the way of the common case.

M. Payne and R. Hanek, "Radian reduction for trigonometric functions", 1983: of the product of the
53-bit significand and 2/pi only the 192 bits around the binary point matter; multiples of 4
quadrants above them are never computed.

The function called gives x and 0 up to a bound; beyond it the reduced angle, and its rest with the
quadrant in the last two bits. A loop around it vectorises because the call names vector variants
(LLVM's vector function ABI), which look whether any lane is huge.
"""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from collections.abc import Callable

from jitgraph.codegen.mathlib.floats import F32, F64, Pair
from jitgraph.codegen.mathlib.native import native
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

#: Up to here the Cody-Waite reduction in three parts loses nothing that matters.
BOUNDS: dict[DType, float] = {F32: 2.0**17, F64: 2.0**30}
_LANES = {F32: (4, 8, 16), F64: (2, 4, 8)}
#: 2/pi to 1216 bits after the binary point.
_TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424d"
    "d2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639"
    "835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f46"
    "3f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6bab",
    16,
)

# --- the reduction of one number ----------------------------------------------------------------
# With x = m·2^e, bit j of 2/pi (from 0, after the point) counts 2^(e-j-1) quadrants for each unit
# of m, so bits above j = e - 2 make multiples of 4. The constant has 64 zero bits on top, for
# negative j, and 64 at the end, to be read
# beyond it.
_REDUCE = """define internal {{ double, double }} @angle.reduce(double %x) noinline memory(none)
  #0 {{
  %bits = bitcast double %x to i64
  %raised = lshr i64 %bits, 52
  %biased = and i64 %raised, 2047
  %fraction = and i64 %bits, 4503599627370495
  %m = or i64 %fraction, 4503599627370496
  %first = sub i64 2165, %biased
  %byte = lshr i64 %first, 3
  %cell = getelementptr i8, ptr @angle.two_over_pi, i64 %byte
  %words = load i256, ptr %cell, align 1
  %rest = and i64 %first, 7
  %by = zext i64 %rest to i256
  %shifted = lshr i256 %words, %by
  %window = trunc i256 %shifted to i192
  %wide.m = zext i64 %m to i192
  %product = mul i192 %wide.m, %window
  %rounded = add i192 %product, HALF
  %quadrant.wide = lshr i192 %rounded, 190
  %quadrant = trunc i192 %quadrant.wide to i64
  %above = and i192 %rounded, MASK
  %signed = sub i192 %above, HALF
  %negative = icmp slt i192 %signed, 0
  %size = call i192 @llvm.abs.i192(i192 %signed, i1 false)
  %zeros.wide = call i192 @llvm.ctlz.i192(i192 %size, i1 false)
  %zeros = trunc i192 %zeros.wide to i64
  %normal = shl i192 %size, %zeros.wide
  %top.wide = lshr i192 %normal, 139
  %top.int = trunc i192 %top.wide to i64
  %top = uitofp i64 %top.int to double
  %next.wide = lshr i192 %normal, 86
  %next.all = trunc i192 %next.wide to i64
  %next.int = and i64 %next.all, 9007199254740991
  %next = uitofp i64 %next.int to double
  %exponent = sub i64 972, %zeros
  %exponent.bits = shl i64 %exponent, 52
  %scale = bitcast i64 %exponent.bits to double
  %x.negative = icmp slt i64 %bits, 0
  %flip = xor i1 %negative, %x.negative
  %minus.scale = fneg double %scale
  %unit = select i1 %flip, double %minus.scale, double %scale
  %h = fmul double %top, %unit
  %l.big = fmul double %next, %unit
  %l = fmul double %l.big, 0x3CA0000000000000
  %p = fmul double %h, 0x3FF921FB54442D18
  %minus.p = fneg double %p
  %e = call double @llvm.fma.f64(double %h, double 0x3FF921FB54442D18, double %minus.p)
  %e.more = call double @llvm.fma.f64(double %h, double 0x3C91A62633145C07, double %e)
  %e.all = call double @llvm.fma.f64(double %l, double 0x3FF921FB54442D18, double %e.more)
  %high = fadd double %p, %e.all
  %p.left = fsub double %p, %high
  %low = fadd double %p.left, %e.all
  %back = sub i64 0, %quadrant
  %turn = select i1 %x.negative, i64 %back, i64 %quadrant
  %turn.bits = and i64 %turn, 3
  %low.bits = bitcast double %low to i64
  %low.clear = and i64 %low.bits, -4
  %low.turned = or i64 %low.clear, %turn.bits
  %low.result = bitcast i64 %low.turned to double
  %pair = insertvalue {{ double, double }} poison, double %high, 0
  %result = insertvalue {{ double, double }} %pair, double %low.result, 1
  ret {{ double, double }} %result
}}
""".replace("HALF", str(1 << 189)).replace("MASK", str((1 << 190) - 1))
_DECLARATIONS = f"""@angle.two_over_pi = internal constant i1408 {_TWO_OVER_PI << 64}, align 8
declare i192 @llvm.abs.i192(i192, i1)
declare i192 @llvm.ctlz.i192(i192, i1)
declare double @llvm.fma.f64(double, double, double)
declare {{t}} @llvm.fabs.{{m}}({{t}})"""

_NARROW = """  %high.single = fptrunc double %high to float
  %high.back = fpext float %high.single to double
  %left = fsub double %high, %high.back
  %left.all = fadd double %left, %low
  %low.single = fptrunc double %left.all to float
  %turn.long = bitcast double %low to i64
  %turn.int = trunc i64 %turn.long to i32
  %turn = and i32 %turn.int, 3
  %low.bits = bitcast float %low.single to i32
  %low.clear = and i32 %low.bits, -4
  %low.turned = or i32 %low.clear, %turn
  %low.result = bitcast i32 %low.turned to float
"""
_INFINITY = "0x7FF0000000000000"
_PAIR = "{{ {t}, {t} }}"


def _insert(type_: str, pair: str, high: str, low: str, name: str) -> str:
    """Put two values into a pair."""
    return f"""  %{name}.half = insertvalue {pair} poison, {type_} {high}, 0
  %{name} = insertvalue {pair} %{name}.half, {type_} {low}, 1
"""


def _scalar(dtype: DType) -> str:
    """The function on one number."""
    single = dtype == F32
    widen = "  %wide = fpext float %x to double\n" if single else ""
    parts = ("%high.single", "%low.result") if single else ("%high", "%low")
    return f"""define internal {_PAIR} @angle.{{m}}({{t}} %x) noinline memory(none) #0 {{{{
  %a = call {{t}} @llvm.fabs.{{m}}({{t}} %x)
  %far = fcmp ogt {{t}} %a, {BOUNDS[dtype]}
  %finite = fcmp olt {{t}} %a, {_INFINITY}
  %huge = and i1 %far, %finite
  br i1 %huge, label %reduce, label %done
done:
{_insert("{t}", _PAIR, "%x", "0.0", "same")}  ret {_PAIR} %same
reduce:
{widen}  %pair = call {{{{ double, double }}}} @angle.reduce(double {"%wide" if single else "%x"})
  %high = extractvalue {{{{ double, double }}}} %pair, 0
  %low = extractvalue {{{{ double, double }}}} %pair, 1
{_NARROW if single else ""}{_insert("{t}", _PAIR, *parts, "reduced")}  ret {_PAIR} %reduced
}}}}
"""


def _variant(dtype: DType, lanes: int) -> str:
    """The function on a vector: the numbers one by one, if any of them is huge."""
    vector = f"<{lanes} x {{t}}>"
    pair = f"{{{{ {vector}, {vector} }}}}"
    text = f"""define hidden {pair} @angle.{{m}}.v{lanes}({vector} %x) memory(none) #0 {{{{
  %a = call {vector} @llvm.fabs.v{lanes}{{m}}({vector} %x)
  %far = fcmp ogt {vector} %a, splat ({{t}} {BOUNDS[dtype]})
  %finite = fcmp olt {vector} %a, splat ({{t}} {_INFINITY})
  %huge = and <{lanes} x i1> %far, %finite
  %any = call i1 @llvm.vector.reduce.or.v{lanes}i1(<{lanes} x i1> %huge)
  br i1 %any, label %reduce, label %done
done:
{_insert(vector, pair, "%x", "zeroinitializer", "same")}  ret {pair} %same
reduce:
"""
    highs = lows = "poison"
    for k in range(lanes):
        text += f"""  %x.{k} = extractelement {vector} %x, i32 {k}
  %y.{k} = call {_PAIR} @angle.{{m}}({{t}} %x.{k})
  %high.{k} = extractvalue {_PAIR} %y.{k}, 0
  %low.{k} = extractvalue {_PAIR} %y.{k}, 1
  %highs.{k} = insertelement {vector} {highs}, {{t}} %high.{k}, i32 {k}
  %lows.{k} = insertelement {vector} {lows}, {{t}} %low.{k}, i32 {k}
"""
        highs, lows = f"%highs.{k}", f"%lows.{k}"
    return text + _insert(vector, pair, highs, lows, "reduced") + f"  ret {pair} %reduced\n}}}}\n"


def _call(dtype: DType) -> Callable[..., Value]:
    lanes = _LANES[dtype]
    variants = ",".join(f"_ZGV_LLVM_N{n}v_angle.{{m}}(angle.{{m}}.v{n})" for n in lanes)
    declarations = "".join(
        f"\ndeclare <{n} x {{t}}> @llvm.fabs.v{n}{{m}}(<{n} x {{t}}>)"
        f"\ndeclare i1 @llvm.vector.reduce.or.v{n}i1(<{n} x i1>)"
        for n in lanes
    )
    return native(
        "angle",
        f"call {_PAIR} @angle.{{m}}({{t}} {{0}}) nounwind memory(none) "
        f'"vector-function-abi-variant"="{variants}"',
        declaration=_DECLARATIONS + declarations,
        functions={
            "angle.reduce": _REDUCE,
            "angle.{m}": _scalar(dtype) + "".join(_variant(dtype, n) for n in lanes),
        },
        vector=f"call {_PAIR} @angle.{{k}}.v{{n}}({{t}} {{0}})",
    )


_CALLS = {dtype: _call(dtype) for dtype in BOUNDS}
# The value between the call and these is an LLVM pair, whatever its dtype says.
_HIGH = native("angle_high", f"extractvalue {_PAIR} {{0}}, 0")
_LOW = native("angle_low", f"extractvalue {_PAIR} {{0}}, 1")


def split_huge_angle(x: Value) -> Pair:
    """x and 0, or the reduced angle and its rest with the quadrant in the last two bits."""
    pair = _CALLS[x.dtype](x)
    return _HIGH(pair), _LOW(pair)
