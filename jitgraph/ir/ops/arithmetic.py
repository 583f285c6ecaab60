"""The table of arithmetic, comparison, logical and bitwise ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.ir.elementwise import Elementwise, binary, cast, ternary, unary
from jitgraph.ir.opdef import Compare, Expand, Inst, Intrinsic, Special
from jitgraph.ir.operators import TABLE
from jitgraph.ir.types import DType, kind_of
from jitgraph.ir.values import Value

# --- arithmetic ---------------------------------------------------------------------------------
add = binary(
    "add", np.add, lower=Inst("fadd", "add", "add", "or"),
    grad=(lambda g, y, a, b: g, lambda g, y, a, b: g),
)  # fmt: skip
subtract = binary(
    "subtract", np.subtract, lower=Inst("fsub", "sub", "sub"),
    grad=(lambda g, y, a, b: g, lambda g, y, a, b: -g),
)  # fmt: skip
multiply = binary(
    "multiply", np.multiply, lower=Inst("fmul", "mul", "mul", "and"),
    grad=(lambda g, y, a, b: g * conjugate(b), lambda g, y, a, b: g * conjugate(a)),
)  # fmt: skip
divide = binary(
    "divide", np.divide, lower=Inst("fdiv"),
    grad=(lambda g, y, a, b: g / conjugate(b), lambda g, y, a, b: -g * conjugate(y / b)),
)  # fmt: skip
floor_divide = binary("floor_divide", np.floor_divide, lower=Expand(), grad=(None, None))
remainder = binary(
    "remainder", np.remainder, lower=Expand(),
    grad=(lambda g, y, a, b: g, lambda g, y, a, b: -g * floor_divide(a, b)),
)  # fmt: skip
fmod = binary(
    "fmod", np.fmod, lower=Expand(),
    grad=(lambda g, y, a, b: g, lambda g, y, a, b: -g * trunc(a / b)),
)  # fmt: skip

gcd = binary("gcd", np.gcd, lower=Expand())
lcm = binary("lcm", np.lcm, lower=Expand())


negative = unary(
    "negative", np.negative, lower=Inst("fneg", "neg", "neg"), grad=lambda g, y, x: -g,
    zero_to_zero=False,
)  # fmt: skip
positive = unary("positive", np.positive, lower=Expand(), grad=lambda g, y, x: g)
barrier: Elementwise = unary(
    "barrier", np.positive, lower=Expand(), grad=lambda g, y, x: g,
    doc="x itself, computed again: what is made of it is not shared with what is made of x.",
)  # fmt: skip


def _absolute_gradient(g: Value, y: Value, x: Value) -> Any:
    if x.dtype.kind != "c":
        return g * sign(x)
    # z / |z|, and at 0 nothing, as for real numbers.
    return g * where(equal(y, 0), 0, x / y)


absolute = unary(
    "absolute", np.absolute, lower=Expand(), grad=_absolute_gradient, zero_to_zero=True
)
sign: Elementwise = unary("sign", np.sign, lower=Expand(), flat=True)
square = unary(
    "square", np.square, lower=Expand(), grad=lambda g, y, x: g * (2 * conjugate(x)),
    zero_to_zero=True,
)
reciprocal = unary(
    "reciprocal", np.reciprocal, lower=Expand(), grad=lambda g, y, x: -g * conjugate(y * y),
)  # fmt: skip
sqrt = unary(
    "sqrt", np.sqrt, lower=Intrinsic("sqrt"), grad=lambda g, y, x: g / (2 * y),
    domain=(0, np.inf), zero_to_zero=True,
)  # fmt: skip
cbrt = unary(
    "cbrt", np.cbrt, lower=Expand(), grad=lambda g, y, x: g / (3 * y * y), zero_to_zero=True,
)  # fmt: skip
hypot = binary(
    "hypot", np.hypot, lower=Expand(),
    grad=(lambda g, y, a, b: g * (a / y), lambda g, y, a, b: g * (b / y)),
)  # fmt: skip


def _fma_reference(a: Any, b: Any, c: Any) -> Any:
    wide = np.longdouble(a) * np.longdouble(b) + np.longdouble(c)
    return np.asarray(wide).astype(np.result_type(a, b, c))


def _fma_signature(kinds: tuple[Any, ...]) -> tuple[DType, ...]:
    weak = [k(0) if isinstance(k, type) else k for k in kinds]
    dtype = np.sqrt.resolve_dtypes((np.result_type(*weak), None))[0]
    return (dtype,) * 4


fma = ternary(
    "fma", _fma_reference, lower=Intrinsic("fma"), signature=_fma_signature,
    grad=(lambda g, y, a, b, c: g * b, lambda g, y, a, b, c: g * a, lambda g, y, a, b, c: g),
    doc="a·b + c, rounded once.",
)  # fmt: skip


# --- extrema: np.maximum hands NaN on, np.fmax ignores it; ties share the gradient -------------
def _wins(pick: Any) -> tuple[Any, Any]:
    def first(g: Value, y: Value, a: Value, b: Value) -> Any:
        return where(equal(a, b), g * 0.5, where(pick(a, b), g, 0))

    def second(g: Value, y: Value, a: Value, b: Value) -> Any:
        return where(equal(a, b), g * 0.5, where(pick(a, b), 0, g))

    return first, second


maximum = binary("maximum", np.maximum, lower=Expand(), grad=_wins(lambda a, b: a > b))
minimum = binary("minimum", np.minimum, lower=Expand(), grad=_wins(lambda a, b: a < b))
fmax = binary("fmax", np.fmax, lower=Expand(), grad=_wins(lambda a, b: (a > b) | isnan(b)))
fmin = binary("fmin", np.fmin, lower=Expand(), grad=_wins(lambda a, b: (a < b) | isnan(b)))

# --- rounding -----------------------------------------------------------------------------------
floor = unary("floor", np.floor, lower=Expand(), flat=True, zero_to_zero=True)
ceil = unary("ceil", np.ceil, lower=Expand(), flat=True, zero_to_zero=True)
trunc: Elementwise = unary("trunc", np.trunc, lower=Expand(), flat=True, zero_to_zero=True)
rint = unary("rint", np.rint, lower=Intrinsic("rint"), flat=True, zero_to_zero=True)
copysign: Elementwise = binary(
    "copysign", np.copysign, lower=Intrinsic("copysign"),
    grad=(lambda g, y, a, b: g * sign(a) * copysign(1, b), None),
)  # fmt: skip
heaviside = binary("heaviside", np.heaviside, lower=Expand(), grad=(None, None))

# --- comparisons --------------------------------------------------------------------------------
equal = binary("equal", np.equal, lower=Compare("oeq", "eq", "eq"))
not_equal = binary("not_equal", np.not_equal, lower=Compare("une", "ne", "ne"))
less = binary("less", np.less, lower=Compare("olt", "slt", "ult"))
less_equal = binary("less_equal", np.less_equal, lower=Compare("ole", "sle", "ule"))
greater = binary("greater", np.greater, lower=Compare("ogt", "sgt", "ugt"))
greater_equal = binary("greater_equal", np.greater_equal, lower=Compare("oge", "sge", "uge"))

# --- predicates: they hold under every algebra --------------------------------------------------
isnan: Elementwise = unary("isnan", np.isnan, lower=Expand())
isinf = unary("isinf", np.isinf, lower=Expand())
isfinite = unary("isfinite", np.isfinite, lower=Expand())
signbit = unary("signbit", np.signbit, lower=Expand())

# --- logic and bits -----------------------------------------------------------------------------
logical_and = binary("logical_and", np.logical_and, lower=Expand())
logical_or = binary("logical_or", np.logical_or, lower=Expand())
logical_xor = binary("logical_xor", np.logical_xor, lower=Expand())
logical_not = unary("logical_not", np.logical_not, lower=Expand())
bitwise_and = binary("bitwise_and", np.bitwise_and, lower=Inst(None, "and", "and", "and"))
bitwise_or = binary("bitwise_or", np.bitwise_or, lower=Inst(None, "or", "or", "or"))
bitwise_xor = binary("bitwise_xor", np.bitwise_xor, lower=Inst(None, "xor", "xor", "xor"))
invert = unary("invert", np.invert, lower=Expand())
left_shift = binary("left_shift", np.left_shift, lower=Expand())
right_shift = binary("right_shift", np.right_shift, lower=Expand())

# --- complex ------------------------------------------------------------------------------------
conjugate: Elementwise = unary(
    "conjugate", np.conjugate, lower=Expand(), grad=lambda g, y, x: conjugate(g)
)


def _parts_signature(kinds: tuple[Any, ...]) -> tuple[DType, ...]:
    (kind,) = kinds
    dtype = np.dtype(kind)
    if kind_of(dtype) not in "fc":
        raise TypeError
    return dtype, np.empty(0, dtype).real.dtype


def _complex_signature(kinds: tuple[Any, ...]) -> tuple[DType, ...]:
    if any(k is complex or (isinstance(k, np.dtype) and k.kind == "c") for k in kinds):
        raise TypeError
    weak = [k(0) if isinstance(k, type) else k for k in kinds]
    dtype = np.result_type(*weak, np.float32)
    return dtype, dtype, np.result_type(dtype, np.complex64)


def _complex_reference(re: Any, im: Any) -> Any:
    re, im = np.broadcast_arrays(re, im)
    made = np.empty(re.shape, np.result_type(re, np.complex64))
    made.real, made.imag = re, im
    return made


# The gradient of a real cost by a complex z = x + iy is dL/dx + i·dL/dy, the direction in which the
# cost rises most.
real: Elementwise = unary(
    "real", np.real, signature=_parts_signature, lower=Expand(),
    grad=lambda g, y, x: cast(g, x.dtype), doc="The real part.",
)  # fmt: skip
imag: Elementwise = unary(
    "imag", np.imag, signature=_parts_signature, lower=Expand(),
    grad=lambda g, y, x: complex_(0, g) if x.dtype.kind == "c" else None,
    doc="The imaginary part; 0 for real numbers.",
)  # fmt: skip
complex_: Elementwise = binary(
    "complex", _complex_reference, signature=_complex_signature, lower=Special(),
    grad=(lambda g, y, a, b: real(g), lambda g, y, a, b: imag(g)),
    doc="The complex numbers with these real and imaginary parts.",
)  # fmt: skip


# --- selection ---------------------------------------------------------------------------------
def _where_signature(kinds: tuple[Any, ...]) -> tuple[DType, ...]:
    if kinds[0] != np.bool_:
        raise TypeError
    weak = [k(0) if isinstance(k, type) else k for k in kinds[1:]]
    dtype = np.result_type(*weak)
    return (np.dtype(np.bool_), dtype, dtype, dtype)


where: Elementwise = ternary(
    "where", np.where, lower=Special(), signature=_where_signature,
    grad=(None, lambda g, y, c, a, b: where(c, g, 0), lambda g, y, c, a, b: where(c, 0, g)),
    doc="Elements of the second operand where the first is true, of the third elsewhere.",
)  # fmt: skip

TABLE.update({
    op.name: op
    for op in (add, subtract, multiply, divide, floor_divide, remainder, bitwise_and,
               bitwise_or, bitwise_xor, left_shift, right_shift, less, less_equal, greater,
               greater_equal, negative, positive, absolute, invert)
})  # fmt: skip
