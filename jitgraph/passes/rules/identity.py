"""Ops that change nothing, and ops that another op says more simply."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.ir.builder import Builder
from jitgraph.ir.elementwise import Elementwise, cast
from jitgraph.ir.opdef import Attrs, OpDef
from jitgraph.ir.ops.arithmetic import (
    absolute,
    ceil,
    conjugate,
    copysign,
    equal,
    floor,
    fmax,
    fmin,
    greater,
    greater_equal,
    hypot,
    invert,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    negative,
    not_equal,
    positive,
    reciprocal,
    rint,
    sign,
    square,
    trunc,
    where,
)
from jitgraph.ir.ops.marks import MARKS
from jitgraph.ir.types import DType, finfo, kind_of
from jitgraph.ir.values import Value
from jitgraph.passes.rules.rule import (
    FINITE,
    Rule,
    false_like,
    full_like,
    ones_like,
    recipe,
    rule,
    true_like,
    zeros_like,
)

INTEGERS, FLOATS, ANY = "iu", "f", "biufc"

ARITHMETIC = (
    rule("add-zero", lambda x: x + 0, lambda x: x, dtypes=INTEGERS),
    rule("add-zero-float", lambda x: x + 0, lambda x: x, dtypes=FLOATS, assumes=FINITE),
    rule("add-minus-zero", lambda x: x + -0.0, lambda x: x, dtypes=FLOATS),
    rule("sub-zero", lambda x: x - 0, lambda x: x),
    rule("sub-minus-zero", lambda x: x - -0.0, lambda x: x, dtypes=FLOATS, assumes=FINITE),
    rule("zero-sub", lambda x: 0 - x, lambda x: -x, dtypes=INTEGERS),
    rule("zero-sub-float", lambda x: 0 - x, lambda x: -x, dtypes=FLOATS, assumes=FINITE),
    rule("mul-one", lambda x: x * 1, lambda x: x),
    rule("mul-minus-one", lambda x: x * -1, lambda x: -x, dtypes="if"),
    rule("mul-zero", lambda x: x * 0, zeros_like, dtypes=INTEGERS),
    rule("mul-zero-float", lambda x: x * 0, zeros_like, dtypes=FLOATS, assumes=FINITE),
    rule("div-one", lambda x: x / 1, lambda x: x, dtypes=FLOATS),
    rule("div-minus-one", lambda x: x / -1, lambda x: -x, dtypes=FLOATS),
    rule("zero-div", lambda x: 0 / x, zeros_like, dtypes=FLOATS, assumes=FINITE),
    rule("floordiv-one", lambda x: x // 1, lambda x: x, dtypes=INTEGERS),
    rule("mod-one", lambda x: x % 1, zeros_like, dtypes=INTEGERS),
    rule("pow-zero", lambda x: x**0, ones_like, dtypes=INTEGERS),
    # NumPy makes a NaN of these for a NaN in float16, but 1 in the wider types.
    rule("pow-zero-float", lambda x: x**0, ones_like, dtypes=FLOATS, assumes=FINITE),
    rule("pow-one", lambda x: x**1, lambda x: x),
    rule("one-pow", lambda x: 1**x, ones_like, dtypes="u"),
    rule("one-pow-float", lambda x: 1**x, ones_like, dtypes=FLOATS, assumes=FINITE),
    rule("reciprocal", lambda x: reciprocal(x), lambda x: 1 / x, dtypes=FLOATS),
    rule("square", lambda x: square(x), lambda x: x * x),
    rule("positive", lambda x: positive(x), lambda x: x),
    rule("conjugate-real", lambda x: conjugate(x), lambda x: x),
    rule("conjugate-twice", lambda x: conjugate(conjugate(x)), lambda x: x, dtypes="c"),
    rule("hypot-zero", lambda x: hypot(x, 0), lambda x: absolute(x), dtypes=FLOATS),
    rule("shl-zero", lambda x: x << 0, lambda x: x, dtypes=INTEGERS),
    rule("shr-zero", lambda x: x >> 0, lambda x: x, dtypes=INTEGERS),
)

# A negation moves out of products and into sums, where it meets others.
SIGNS = (
    rule("neg-neg", lambda x: negative(negative(x)), lambda x: x, dtypes="iufc"),
    rule("add-neg", lambda x, y: x + -y, lambda x, y: x - y),
    rule("sub-neg", lambda x, y: x - -y, lambda x, y: x + y),
    rule("mul-neg", lambda x, y: x * -y, lambda x, y: -(x * y)),
    rule("div-neg", lambda x, y: x / -y, lambda x, y: -(x / y), dtypes=FLOATS),
    rule("neg-div", lambda x, y: -x / y, lambda x, y: -(x / y), dtypes=FLOATS),
    rule("neg-mul-constant", lambda x, c: -(x * c), lambda x, c: x * -c, constants="c",
         dtypes="if"),
    rule("neg-sub", lambda x, y: -(x - y), lambda x, y: y - x, dtypes=INTEGERS),
    rule("neg-sub-float", lambda x, y: -(x - y), lambda x, y: y - x, dtypes=FLOATS,
         assumes=FINITE),
    rule("abs-neg", lambda x: absolute(-x), lambda x: absolute(x), dtypes="if"),
    rule("abs-abs", lambda x: absolute(absolute(x)), lambda x: absolute(x), dtypes="if"),
    rule("abs-unsigned", lambda x: absolute(x), lambda x: x, dtypes="u"),
    rule("abs-square", lambda x: absolute(x * x), lambda x: x * x, dtypes=FLOATS),
    rule("sign-sign", lambda x: sign(sign(x)), lambda x: sign(x)),
    rule("copysign-self", lambda x: copysign(x, x), lambda x: x, dtypes=FLOATS),
)  # fmt: skip


def _round_of_round(outer: Elementwise, inner: Elementwise) -> Rule:
    name = f"{outer.name}-{inner.name}"
    return rule(name, lambda x: outer(inner(x)), lambda x: inner(x), dtypes=FLOATS)


def _round_of_integer(op: Elementwise) -> Rule:
    return rule(f"{op.name}-integer", lambda x: op(x), lambda x: x, dtypes=INTEGERS)


_ROUND = (floor, ceil, trunc, rint)
ROUNDING = (
    *(_round_of_round(outer, inner) for outer in _ROUND for inner in _ROUND),
    *(_round_of_integer(op) for op in (floor, ceil, trunc)),
)

EXTREMA = (
    rule("max-self", lambda x: maximum(x, x), lambda x: x, dtypes="biuf"),
    rule("min-self", lambda x: minimum(x, x), lambda x: x, dtypes="biuf"),
    rule("fmax-self", lambda x: fmax(x, x), lambda x: x, dtypes="biuf"),
    rule("fmin-self", lambda x: fmin(x, x), lambda x: x, dtypes="biuf"),
    rule("max-max", lambda x, y: maximum(maximum(x, y), y), lambda x, y: maximum(x, y)),
    rule("min-min", lambda x, y: minimum(minimum(x, y), y), lambda x, y: minimum(x, y)),
    rule("max-min", lambda x, y: maximum(minimum(x, y), y), lambda x, y: y, dtypes=INTEGERS),
    rule("min-max", lambda x, y: minimum(maximum(x, y), y), lambda x, y: y, dtypes=INTEGERS),
)

# Comparisons are written with "less"; x != x is left alone, since it asks for NaNs.
COMPARISONS = (
    rule("greater", lambda x, y: greater(x, y), lambda x, y: less(y, x), dtypes="biuf"),
    rule("greater-equal", lambda x, y: greater_equal(x, y), lambda x, y: less_equal(y, x),
         dtypes="biuf"),
    rule("less-self", lambda x: less(x, x), false_like, dtypes="biuf"),
    rule("less-equal-self", lambda x: less_equal(x, x), true_like, dtypes="biu"),
    rule("equal-self", lambda x: equal(x, x), true_like, dtypes="biu"),
    rule("not-equal-self", lambda x: not_equal(x, x), false_like, dtypes="biu"),
    rule("equal-true", lambda x: equal(x, True), lambda x: x, dtypes="b"),
    rule("equal-false", lambda x: equal(x, False), lambda x: ~x, dtypes="b"),
    rule("not-equal", lambda x, y: ~equal(x, y), lambda x, y: not_equal(x, y), dtypes="b"),
    rule("not-not-equal", lambda x, y: ~not_equal(x, y), lambda x, y: equal(x, y), dtypes="b"),
)  # fmt: skip

# Logic on bools is written with the bitwise ops.
LOGIC = (
    rule("logical-and", lambda x, y: logical_and(x, y), lambda x, y: x & y, dtypes="b"),
    rule("logical-or", lambda x, y: logical_or(x, y), lambda x, y: x | y, dtypes="b"),
    rule("logical-xor", lambda x, y: logical_xor(x, y), lambda x, y: x ^ y, dtypes="b"),
    rule("logical-not", lambda x: logical_not(x), lambda x: invert(x), dtypes="b"),
    rule("not-not", lambda x: ~~x, lambda x: x, dtypes="biu"),
    rule("and-self", lambda x: x & x, lambda x: x, dtypes="biu"),
    rule("or-self", lambda x: x | x, lambda x: x, dtypes="biu"),
    rule("xor-self", lambda x: x ^ x, zeros_like, dtypes="biu"),
    rule("and-zero", lambda x: x & 0, zeros_like, dtypes="biu"),
    rule("or-zero", lambda x: x | 0, lambda x: x, dtypes="biu"),
    rule("xor-zero", lambda x: x ^ 0, lambda x: x, dtypes="biu"),
    rule("and-true", lambda x: x & True, lambda x: x, dtypes="b"),
    rule("or-true", lambda x: x | True, true_like, dtypes="b"),
    rule("xor-true", lambda x: x ^ True, lambda x: ~x, dtypes="b"),
    rule("and-ones", lambda x: x & -1, lambda x: x, dtypes="i"),
    rule("or-ones", lambda x: x | -1, lambda x: full_like(x, -1), dtypes="i"),
    rule("and-not", lambda x: x & ~x, zeros_like, dtypes="biu"),
    rule("or-not", lambda x: x | ~x, true_like, dtypes="b"),
    rule("and-or", lambda x, y: x & (x | y), lambda x, y: x, dtypes="biu"),
    rule("or-and", lambda x, y: x | (x & y), lambda x, y: x, dtypes="biu"),
)

SELECTION = (
    rule("where-same", lambda c, a: where(c, a, a), lambda c, a: a, dtypes=ANY),
    rule("where-true", lambda a, b: where(True, a, b), lambda a, b: a, dtypes=ANY),
    rule("where-false", lambda a, b: where(False, a, b), lambda a, b: b, dtypes=ANY),
    rule("where-not", lambda c, a, b: where(~c, a, b), lambda c, a, b: where(c, b, a), dtypes=ANY),
    rule("where-bool", lambda c: where(c, True, False), lambda c: c, dtypes="b"),
    rule("where-not-bool", lambda c: where(c, False, True), lambda c: ~c, dtypes="b"),
    rule("where-in-true", lambda c, x, y, z: where(c, where(c, x, y), z),
         lambda c, x, y, z: where(c, x, z), dtypes=ANY),
    rule("where-in-false", lambda c, x, y, z: where(c, x, where(c, y, z)),
         lambda c, x, y, z: where(c, x, z), dtypes=ANY),
)  # fmt: skip


def _holds(dtype: DType, source: DType) -> bool:
    """Whether every value of `source` is one of `dtype`."""
    if source.kind in "biu" and kind_of(dtype) in "fc":
        mantissa = finfo(dtype).nmant + 1
        return source.kind == "b" or source.itemsize * 8 - (source.kind == "i") <= mantissa
    return np.can_cast(source, dtype, "safe")


@recipe("cast-cast", "cast")
def cast_of_cast(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """cast(cast(x, wide), to) => cast(x, to)"""
    middle, to = args[0].type.dtype, attrs["dtype"]
    if middle == to:
        return args[0]
    if not args[0].is_op("cast"):
        return None
    x: Any = args[0].op.args[0]  # type: ignore[union-attr]
    source = x.type.dtype
    # Out-of-range conversions to integers differ by source type, so the final one must fit, or
    # both steps be integer conversions, which wrap.
    wraps = all(d.kind in "biu" for d in (source, middle, to))
    if not _holds(middle, source) or not (wraps or kind_of(to) in "fc" or _holds(to, source)):
        return None
    return cast(x, to)  # type: ignore[no-any-return]


@recipe("mark", *MARKS)
def mark(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """alias(x) => x, and so for all that means something to gradients only"""
    return args[0]


@recipe("item-of-mark", "item", over=("custom_gradient",), dtypes="V")
def item_of_mark(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """item(custom_gradient(x, y), 1) => y"""
    assert args[0].op is not None
    return args[0].op.args[attrs["index"]]


RULES: tuple[Rule, ...] = (
    *ARITHMETIC, *SIGNS, *ROUNDING, *EXTREMA, *COMPARISONS, *LOGIC, *SELECTION, cast_of_cast, mark,
    item_of_mark,
)  # fmt: skip
