"""Elementwise functions of NumPy that are expressions in the ops of the tables."""

# mypy: disable-error-code=no-any-return
# (Functions of the op tables are typed Any.)
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import arithmetic, exponential, movement
from jitgraph.ir.ops.arithmetic import (
    absolute,
    complex_,
    copysign,
    equal,
    isinf,
    isnan,
    logical_not,
    maximum,
    minimum,
    not_equal,
    trunc,
    where,
)
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.ops.indexing import gather
from jitgraph.ir.types import BOOL, F64, I64, computed_in, finfo, is_half, kind_of
from jitgraph.ir.values import Value
from jitgraph.tensor import reductions, sequences
from jitgraph.tensor.operands import (
    as_tensor,
    common_dtype,
    constant,
    operands,
    promoted,
    public,
)
from jitgraph.tensor.reductions import truth


def _floating(x: ArrayLike) -> Value:
    """x in the dtype NumPy's functions of real numbers compute in."""
    value = as_tensor(x)
    if kind_of(value.dtype) in "fc":
        return value
    return cast(value, np.sqrt.resolve_dtypes((value.dtype, None))[0])


def _real(x: ArrayLike, name: str) -> Value:
    value = _floating(x)
    if value.dtype.kind == "c":
        raise DTypeError(f"{name} does not take {value.type}")
    return value


# --- sizes and rounding ------------------------------------------------------------------------
@public
def fabs(x: ArrayLike) -> Value:
    """The size of real numbers, as floats."""
    return absolute(_real(x, "fabs"))


@public
def fix(x: ArrayLike) -> Value:
    """x rounded towards 0."""
    return trunc(as_tensor(x))


@public
def float_power(a: ArrayLike, b: ArrayLike) -> Value:
    """a to the power b, in float64 at least."""
    x, y = (as_tensor(v) for v in (a, b))
    dtype = common_dtype([x, y, np.float64(0)])
    return cast(x, dtype) ** cast(y, dtype)


@public
def divmod(a: ArrayLike, b: ArrayLike) -> tuple[Value, ...]:
    """The floor of a / b, and what is left."""
    x, y = operands((a, b))
    return arithmetic.floor_divide(x, y), arithmetic.remainder(x, y)


@public
def modf(x: ArrayLike) -> tuple[Value, ...]:
    """What is behind the point, and the whole number before it, both of x's sign."""
    x = _real(x, "modf")
    whole = trunc(x)
    return copysign(where(isinf(x), 0, x - whole), x), whole


@public
def nan_to_num(
    x: ArrayLike, copy: bool = True, nan: float = 0.0, posinf: float | None = None,
    neginf: float | None = None,
) -> Value:  # fmt: skip
    """x with numbers for NaN and the infinities, which by default become the largest ones."""
    value = as_tensor(x)
    if value.dtype.kind == "c":
        parts = (arithmetic.real(value), arithmetic.imag(value))
        return complex_(*(_numbers(p, nan, posinf, neginf) for p in parts))
    return _numbers(value, nan, posinf, neginf) if kind_of(value.dtype) == "f" else value


def _numbers(x: Value, nan: float, posinf: float | None, neginf: float | None) -> Value:
    limits = finfo(x.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    y = where(isinf(x), where(x > 0, x.dtype.type(high), x.dtype.type(low)), x)
    return where(isnan(x), x.dtype.type(nan), y)


# --- predicates --------------------------------------------------------------------------------
@public
def isposinf(x: ArrayLike) -> Value:
    """Whether elements are +inf."""
    return equal(_real(x, "isposinf"), np.inf)


@public
def isneginf(x: ArrayLike) -> Value:
    """Whether elements are -inf."""
    return equal(_real(x, "isneginf"), -np.inf)


@public
def iscomplex(x: ArrayLike) -> Value:
    """Whether elements have an imaginary part other than 0."""
    return not_equal(imag(x), 0)


@public
def isreal(x: ArrayLike) -> Value:
    """Whether elements have no imaginary part."""
    return equal(imag(x), 0)


@public
def array_equal(a1: ArrayLike, a2: ArrayLike, equal_nan: bool = False) -> Value:
    """Whether two arrays have one shape and equal elements, as a bool scalar. Extents that only the
    call can tell must agree there."""
    x, y = as_tensor(a1), as_tensor(a2)
    known = zip(x.type.shape, y.type.shape, strict=False)
    if x.ndim != y.ndim or any(
        isinstance(m, int) and isinstance(n, int) and m != n for m, n in known
    ):
        return constant(np.False_)
    same = equal(x, y)
    if equal_nan and kind_of(x.dtype) in "fc" and kind_of(y.dtype) in "fc":
        same = same | (isnan(x) & isnan(y))
    return reductions.all(same)


@public
def array_equiv(a1: ArrayLike, a2: ArrayLike) -> Value:
    """Whether two arrays that broadcast to each other have equal elements, as a bool scalar."""
    return reductions.all(equal(*operands((a1, a2))))


# --- complex parts -----------------------------------------------------------------------------
@public
def real(val: ArrayLike) -> Value:
    """The real part; real numbers are their own."""
    x = as_tensor(val)
    return arithmetic.real(x) if x.dtype.kind == "c" else x


@public
def imag(val: ArrayLike) -> Value:
    """The imaginary part, 0 for real numbers."""
    x = as_tensor(val)
    if x.dtype.kind == "c":
        return arithmetic.imag(x)
    return movement.broadcast_to(constant(np.zeros((), x.dtype)), movement.dims(x))


@public
def angle(z: ArrayLike, deg: bool = False) -> Value:
    """The angle of complex numbers in the plane, in radians or degrees."""
    x: Value = as_tensor(z)
    if x.dtype.kind != "c":
        x = _floating(cast(x, F64) if x.dtype.kind in "iub" else x)
    y = exponential.arctan2(imag(x), real(x))
    return y * (180 / np.pi) if deg else y


# --- numbers as bits ---------------------------------------------------------------------------
def _as_bits(x: Value) -> tuple[Value, np.dtype[Any], int]:
    """The bits as signed integers, their dtype, and how many of them are the fraction's."""
    integer = np.dtype(f"i{x.dtype.itemsize}")
    return bitcast(x, integer), integer, finfo(x.dtype).nmant


@public
def nextafter(x1: ArrayLike, x2: ArrayLike) -> Value:
    """The number next to x1 in the direction of x2."""
    x, y = promoted([_real(v, "nextafter") for v in (x1, x2)])
    bits, integer, _ = _as_bits(x)
    away = equal(y > x, x > 0)  # one bit more is one step away from 0
    stepped = bitcast(where(away, bits + 1, bits - 1), x.dtype)
    tiny = bitcast(constant(integer.type(1)), x.dtype)
    stepped = where(equal(x, 0), copysign(tiny, y), stepped)
    stepped = where(equal(x, y), y, stepped)
    return where(isnan(x) | isnan(y), x.dtype.type(np.nan), stepped)


@public
def spacing(x: ArrayLike) -> Value:
    """The distance to the next number away from 0, of x's sign."""
    x = _real(x, "spacing")
    outwards = nextafter(x, copysign(x.dtype.type(np.inf), x))
    nothing = logical_not(arithmetic.isfinite(x))
    return where(nothing, x.dtype.type(np.nan), outwards - x)


@public
def ldexp(x1: ArrayLike, x2: ArrayLike) -> Value:
    """x1 · 2^x2."""
    x, n = _real(x1, "ldexp"), as_tensor(x2)
    if n.dtype.kind not in "iub":
        raise DTypeError(f"ldexp takes an integer exponent, not {n.type}")
    wide = cast(x, F64) if is_half(x.dtype) else x
    limit = 1 << (wide.dtype.itemsize * 8 - finfo(wide.dtype).nmant - 2)
    count = minimum(maximum(cast(n, I64), -3 * limit), 3 * limit)
    part = count // 4  # four factors, none of which overflows before the product does
    rest = count - 3 * part
    y = wide
    for k in (part, part, part, rest):
        y = y * _power_of_two(k, wide.dtype)
    return cast(y, x.dtype)


def _power_of_two(n: Any, dtype: np.dtype[Any]) -> Value:
    """2^n for an n that needs no subnormal number."""
    info = finfo(dtype)
    biased = cast(n + (int(info.maxexp) - 1), np.dtype(f"i{dtype.itemsize}"))
    return bitcast(biased * (1 << info.nmant), dtype)


@public
def frexp(x: ArrayLike) -> tuple[Value, ...]:
    """m and n with x = m · 2^n and 0.5 <= |m| < 1."""
    x = _real(x, "frexp")
    wide = cast(x, computed_in(x.dtype))
    info = finfo(wide.dtype)
    odd = equal(wide, 0) | logical_not(arithmetic.isfinite(wide))
    small = absolute(wide) < info.smallest_normal
    scaled = where(small, wide * 2.0 ** (info.nmant + 2), wide)
    bits, _, digits = _as_bits(scaled)
    bias = int(info.maxexp) - 2
    exponent = ((bits >> digits) & ((1 << info.nexp) - 1)) - bias
    mantissa = bitcast((bits & ~(((1 << info.nexp) - 1) << digits)) | (bias << digits), wide.dtype)
    exponent = where(small, exponent - (info.nmant + 2), exponent)
    return (cast(where(odd, wide, mantissa), x.dtype),
            cast(where(odd, 0, exponent), np.int32))  # fmt: skip


@public
def bitwise_count(x: ArrayLike) -> Value:
    """The number of ones among the bits of |x|, as uint8."""
    value = as_tensor(x)
    if value.dtype.kind not in "iub":
        raise DTypeError(f"bitwise_count does not take {value.type}")
    unsigned = np.dtype(f"u{value.dtype.itemsize}")
    v = cast(absolute(value) if value.dtype.kind == "i" else value, unsigned)
    width = 8 * unsigned.itemsize

    def mask(part: str) -> Any:
        return unsigned.type(int(part * width, 2) & ((1 << width) - 1))

    pairs, fours, eights = "01", "0011", "00001111"
    v = v - ((v >> 1) & mask(pairs))
    v = (v & mask(fours)) + ((v >> 2) & mask(fours))
    v = (v + (v >> 4)) & mask(eights)
    shift = 8
    while shift < width:
        v = v + (v >> shift)
        shift *= 2
    return cast(v & unsigned.type(127), np.uint8)


# --- choices -----------------------------------------------------------------------------------
@public
def select(
    condlist: Sequence[ArrayLike], choicelist: Sequence[ArrayLike], default: ArrayLike = 0
) -> Value:
    """Elements of the first choice whose condition holds, else the default."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ShapeError(f"select: {len(condlist)} conditions for {len(choicelist)} choices")
    dtype = common_dtype([*map(_kept_weak, choicelist), _kept_weak(default)])
    y = cast(as_tensor(default), dtype)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        mask = as_tensor(condition)
        if mask.dtype != BOOL:
            raise DTypeError(f"select takes bool conditions, not {mask.type}")
        y = where(mask, cast(as_tensor(choice), dtype), y)
    return y


def _kept_weak(x: ArrayLike) -> Any:
    return x if type(x) in (int, float, complex) else as_tensor(x)


@public
def choose(a: ArrayLike, choices: Any, mode: str = "raise") -> Value:
    """Elements of the array that a's elements number: a[i] = k takes choices[k][i]. mode: "raise"
    (numbers outside fail the call), "wrap" or "clip"."""
    index = as_tensor(a)
    if index.dtype.kind not in "iub":
        raise DTypeError(f"choose takes integers, not {index.type}")
    options = promoted([as_tensor(c) for c in choices])
    place, count = cast(index, I64), len(options)
    if mode == "wrap":
        place = place % count
    elif mode == "clip":
        place = minimum(maximum(place, 0), count - 1)
    elif mode == "raise":
        place = gather(constant(np.arange(count)), [place])
    else:
        raise OptionError(f"no mode {mode!r}", hint="'raise', 'wrap' or 'clip'")
    y = options[0]
    for k, option in enumerate(options[1:], start=1):
        y = where(equal(place, k), option, y)
    return where(equal(place, 0), options[0], y)


@public
def piecewise(x: ArrayLike, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Value:
    """What functions (or numbers) give where their conditions hold, in x's dtype; the last
    condition that holds counts. One function more than conditions is for elsewhere."""
    value = as_tensor(x)
    given = condlist if isinstance(condlist, list | tuple) else [condlist]
    conditions = [truth(as_tensor(c)) for c in given]
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        raise ShapeError(f"piecewise: {len(funclist)} functions for {len(conditions)} conditions")
    pieces = [cast(as_tensor(f(value, *args, **kw) if callable(f) else f), value.dtype)
              for f in funclist]  # fmt: skip
    y = pieces[-1] if len(pieces) > len(conditions) else as_tensor(value.dtype.type(0))
    for condition, piece in zip(conditions, pieces, strict=False):
        y = where(condition, piece, y)
    return movement.broadcast_to(y, movement.dims(value)) if not y.ndim else y


@public
def fromfunction(
    function: Any, shape: Any, *, dtype: Any = float, **kwargs: Any
) -> Any:
    """What a function makes of the positions along each axis of a shape."""
    return function(*sequences.positions(shape, dtype), **kwargs)


# --- what is known of a variable ---------------------------------------------------------------
def iscomplexobj(x: ArrayLike) -> bool:
    """Whether the dtype is complex."""
    return as_tensor(x).dtype.kind == "c"


def isrealobj(x: ArrayLike) -> bool:
    """Whether the dtype is not complex."""
    return as_tensor(x).dtype.kind != "c"


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that arrays, dtypes and Python numbers promote to."""
    return np.result_type(*(x.dtype if isinstance(x, Value) else x for x in arrays_and_dtypes))


def common_type(*arrays: ArrayLike) -> np.dtype[Any]:
    """The floating or complex dtype that holds all arrays."""
    return np.dtype(np.common_type(*(np.empty(0, as_tensor(x).dtype) for x in arrays)))


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether NumPy's rules allow a cast."""
    return bool(np.can_cast(from_.dtype if isinstance(from_, Value) else from_, to, casting))
