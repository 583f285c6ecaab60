"""Huge angles: reduction by pi/2 with integers, out of the way of the common case.

M. Payne and R. Hanek, "Radian reduction for trigonometric functions", 1983: of the product of the
53-bit significand and 2/pi only the 192 bits around the binary point matter; multiples of 4
quadrants above them are never computed. Words of 64 bits do.

The functions called take x and the pair that the common case made of it, and give that pair back,
or the right one where x is beyond the bound. They are a library compiled once; vector code calls
them lane by lane, if any lane is huge.
"""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from collections.abc import Callable

from jitgraph.codegen.mathlib.floats import F32, F64, Pair
from jitgraph.codegen.mathlib.native import native
from jitgraph.ir.types import DTYPE_NAMES, DType
from jitgraph.ir.values import Value

#: Up to here the reductions of the common case lose nothing that matters.
BOUNDS: dict[DType, float] = {F32: 2.0**17, F64: 2.0**21}
#: 2/pi to 1216 bits after the binary point.
_TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424d"
    "d2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639"
    "835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f46"
    "3f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6bab",
    16,
)
_WORDS = 22
_TABLE = ", ".join(
    f"i64 {(_TWO_OVER_PI << 128 >> 64 * (_WORDS - 1 - k)) % (1 << 64)}" for k in range(_WORDS)
)

# --- the reduction of one number ----------------------------------------------------------------
# With x = m·2^e, bit j of 2/pi (from 0, after the point) counts 2^(e-j-1) quadrants for each unit
# of m, so bits above j = e - 2 make multiples of 4. The table has a word of zeros on top, for
# negative j, and one at the end.
_REDUCE = """define internal { double, double, i64 } @angle.reduce(double %x) noinline
  memory(none) #0 {
  %bits = bitcast double %x to i64
  %raised = lshr i64 %bits, 52
  %biased = and i64 %raised, 2047
  %fraction = and i64 %bits, 4503599627370495
  %m = or i64 %fraction, 4503599627370496
  %first = sub i64 %biased, 1013
  %word = lshr i64 %first, 6
  %by = and i64 %first, 63
  %p0 = getelementptr i64, ptr @angle.two_over_pi, i64 %word
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %p3 = getelementptr i64, ptr %p0, i64 3
  %w0 = load i64, ptr %p0
  %w1 = load i64, ptr %p1
  %w2 = load i64, ptr %p2
  %w3 = load i64, ptr %p3
  %v0 = call i64 @llvm.fshl.i64(i64 %w0, i64 %w1, i64 %by)
  %v1 = call i64 @llvm.fshl.i64(i64 %w1, i64 %w2, i64 %by)
  %v2 = call i64 @llvm.fshl.i64(i64 %w2, i64 %w3, i64 %by)
  %m.wide = zext i64 %m to i128
  %v1.wide = zext i64 %v1 to i128
  %v2.wide = zext i64 %v2 to i128
  %low.product = mul i128 %m.wide, %v2.wide
  %low.carry = lshr i128 %low.product, 64
  %middle.product = mul i128 %m.wide, %v1.wide
  %middle = add i128 %middle.product, %low.carry
  %top.product = mul i64 %m, %v0
  %middle.carry = lshr i128 %middle, 64
  %carry = trunc i128 %middle.carry to i64
  %a0 = add i64 %top.product, %carry
  %a1 = trunc i128 %middle to i64
  %a2 = trunc i128 %low.product to i64
  %rounded = add i64 %a0, 2305843009213693952
  %quadrant = lshr i64 %rounded, 62
  %b0 = call i64 @llvm.fshl.i64(i64 %a0, i64 %a1, i64 2)
  %b1 = call i64 @llvm.fshl.i64(i64 %a1, i64 %a2, i64 2)
  %b2 = shl i64 %a2, 2
  %sign = ashr i64 %b0, 63
  %c0 = xor i64 %b0, %sign
  %c1 = xor i64 %b1, %sign
  %c2 = xor i64 %b2, %sign
  %zeros = call i64 @llvm.ctlz.i64(i64 %c0, i1 false)
  %d0 = call i64 @llvm.fshl.i64(i64 %c0, i64 %c1, i64 %zeros)
  %d1 = call i64 @llvm.fshl.i64(i64 %c1, i64 %c2, i64 %zeros)
  %h.int = and i64 %d0, -2048
  %h.big = uitofp i64 %h.int to double
  %l.int = call i64 @llvm.fshl.i64(i64 %d0, i64 %d1, i64 53)
  %l.big = uitofp i64 %l.int to double
  %exponent = sub i64 959, %zeros
  %exponent.bits = shl i64 %exponent, 52
  %flip = xor i64 %sign, %bits
  %flip.bit = and i64 %flip, -9223372036854775808
  %unit.bits = or i64 %exponent.bits, %flip.bit
  %unit = bitcast i64 %unit.bits to double
  %h = fmul double %h.big, %unit
  %l.some = fmul double %l.big, %unit
  %l = fmul double %l.some, 0x3CA0000000000000
  %p = fmul double %h, 0x3FF921FB54442D18
  %minus.p = fneg double %p
  %e = call double @llvm.fma.f64(double %h, double 0x3FF921FB54442D18, double %minus.p)
  %e.more = call double @llvm.fma.f64(double %h, double 0x3C91A62633145C07, double %e)
  %e.all = call double @llvm.fma.f64(double %l, double 0x3FF921FB54442D18, double %e.more)
  %high = fadd double %p, %e.all
  %p.left = fsub double %p, %high
  %low = fadd double %p.left, %e.all
  %back = sub i64 0, %quadrant
  %x.negative = icmp slt i64 %bits, 0
  %turn = select i1 %x.negative, i64 %back, i64 %quadrant
  %pair.1 = insertvalue { double, double, i64 } poison, double %high, 0
  %pair.2 = insertvalue { double, double, i64 } %pair.1, double %low, 1
  %result = insertvalue { double, double, i64 } %pair.2, i64 %turn, 2
  ret { double, double, i64 } %result
}
"""
# sin(x), or cos(x) for PHASE 1, is the sine of the pair: the angle of an even quadrant, or pi/2
# less its size, negated in the second half.
_AS_SINE = """  %turned = add i64 %quadrant, PHASE
  %odd = trunc i64 %turned to i1
  %a = call double @llvm.fabs.f64(double %h)
  %below = fcmp olt double %h, 0.0
  %minus.l = fneg double %l
  %a.low = select i1 %below, double %minus.l, double %l
  %rest = fsub double 0x3FF921FB54442D18, %a
  %rest.back = fsub double 0x3FF921FB54442D18, %rest
  %rest.lost = fsub double %rest.back, %a
  %rest.more = fsub double 0x3C91A62633145C07, %a.low
  %rest.low = fadd double %rest.lost, %rest.more
  %some.high = select i1 %odd, double %rest, double %h
  %some.low = select i1 %odd, double %rest.low, double %l
  %half = and i64 %turned, 2
  %sign = shl i64 %half, 62
  %some.high.bits = bitcast double %some.high to i64
  %some.low.bits = bitcast double %some.low to i64
  %high.bits = xor i64 %some.high.bits, %sign
  %low.bits = xor i64 %some.low.bits, %sign
  %high = bitcast i64 %high.bits to double
  %low = bitcast i64 %low.bits to double
"""
# The angle itself, and whether the quadrant is odd in the last bit of its low part.
_AS_QUARTER = """  %odd = trunc i64 %quadrant to i1
  %high = fadd double %h, 0.0
  %low = fadd double %l, 0.0
"""
_MARK = """  %odd.int = zext i1 %odd to {i}
  %plain.bits = bitcast {t} PLAIN to {i}
  %clear.bits = and {i} %plain.bits, -2
  %marked.bits = or {i} %clear.bits, %odd.int
  %marked = bitcast {i} %marked.bits to {t}
"""
_NARROW = """  %high.single = fptrunc double %high to float
  %high.back = fpext float %high.single to double
  %left = fsub double %high, %high.back
  %left.all = fadd double %left, %low
  %low.single = fptrunc double %left.all to float
"""
_DECLARATIONS = f"""@angle.two_over_pi = internal constant [{_WORDS} x i64] [{_TABLE}]
declare i64 @llvm.fshl.i64(i64, i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare double @llvm.fma.f64(double, double, double)
declare double @llvm.fabs.f64(double)"""
_FABS = "declare {t} @llvm.fabs.{m}({t})"
_INFINITY = "0x7FF0000000000000"
_PAIR = "{{ {t}, {t} }}"


def _insert(pair: str, type_: str, high: str, low: str) -> str:
    """Put two values into a pair."""
    return f"""  %half.pair = insertvalue {pair} poison, {type_} {high}, 0
  %pair = insertvalue {pair} %half.pair, {type_} {low}, 1
"""


def _scalar(name: str, dtype: DType, finish: str) -> str:
    """The function on one number: what the common case made of it, if it is not huge."""
    single = dtype == F32
    high, low = ("%high.single", "%low.single") if single else ("%high", "%low")
    text = finish + (_NARROW if single else "")
    if finish == _AS_QUARTER:
        text += _MARK.replace("PLAIN", low).replace("{i}", "i32" if single else "i64")
        low = "%marked"
    wide = "%wide" if single else "%x"
    widen = "  %wide = fpext float %x to double\n" if single else ""
    return f"""define {_PAIR} @{name}.{{m}}({{t}} %x, {{t}} %r, {{t}} %rest.r) memory(none) #0 {{{{
  %size = call {{t}} @llvm.fabs.{{m}}({{t}} %x)
  %far = fcmp ogt {{t}} %size, {BOUNDS[dtype]}
  %finite = fcmp olt {{t}} %size, {_INFINITY}
  %huge = and i1 %far, %finite
  br i1 %huge, label %reduce, label %done
done:
  %same.half = insertvalue {_PAIR} poison, {{t}} %r, 0
  %same = insertvalue {_PAIR} %same.half, {{t}} %rest.r, 1
  ret {_PAIR} %same
reduce:
{widen}  %all = call {{{{ double, double, i64 }}}} @angle.reduce(double {wide})
  %h = extractvalue {{{{ double, double, i64 }}}} %all, 0
  %l = extractvalue {{{{ double, double, i64 }}}} %all, 1
  %quadrant = extractvalue {{{{ double, double, i64 }}}} %all, 2
{text}{_insert(_PAIR, "{t}", high, low)}  ret {_PAIR} %pair
}}}}
"""


def library_text() -> str:
    """The functions for all dtypes, as a module."""
    lines, functions = dict.fromkeys(_DECLARATIONS.splitlines()), [_REDUCE]
    for dtype in BOUNDS:
        types = {"t": "float" if dtype == F32 else "double", "m": DTYPE_NAMES[dtype]}
        lines[_FABS.format(**types)] = None
        functions += [_scalar(n, dtype, finish).format(**types) for n, finish in _FINISHES.items()]
    return "\n".join([*lines, *functions, "attributes #0 = { nounwind }"])


def _calls(name: str) -> dict[DType, Callable[..., Value]]:
    symbol = f"{name}.{{m}}"
    parameters = "{t} {0}, {t} {1}, {t} {2}"
    return {
        dtype: native(
            name,
            f"call {_PAIR} @{symbol}({parameters}) nounwind memory(none)",
            declaration=f"declare {_PAIR} @{symbol}({{t}}, {{t}}, {{t}})",
            library=("angles", symbol),
            beyond=bound,
        )
        for dtype, bound in BOUNDS.items()
    }


_FINISHES = {
    "angle.sine": _AS_SINE.replace("PHASE", "0"),
    "angle.cosine": _AS_SINE.replace("PHASE", "1"),
    "angle.quarter": _AS_QUARTER,
}
_SINE, _COSINE, _QUARTER = (_calls(name) for name in _FINISHES)
# The value between the call and these is an LLVM pair, whatever its dtype says.
_HIGH = native("angle_high", f"extractvalue {_PAIR} {{0}}, 0")
_LOW = native("angle_low", f"extractvalue {_PAIR} {{0}}, 1")


def _called(calls: dict[DType, Callable[..., Value]], x: Value, reduced: Pair) -> Pair:
    pair = calls[x.dtype](x, *reduced)
    return _HIGH(pair), _LOW(pair)


def as_sine(x: Value, reduced: Pair) -> Pair:
    """The pair whose sine is sin(x): `reduced`, unless x is huge."""
    return _called(_SINE, x, reduced)


def as_cosine(x: Value, reduced: Pair) -> Pair:
    """The pair whose sine is cos(x): `reduced`, unless x is huge."""
    return _called(_COSINE, x, reduced)


def as_quarter(x: Value, reduced: Pair) -> Pair:
    """x less a multiple of pi/2, and whether that is odd in the last bit of the low part:
    `reduced`, unless x is huge."""
    return _called(_QUARTER, x, reduced)
