"""Cancellation: sums and products as normal forms.

    x + y - x => y      2*x - x => x      f + -f => 0      x*y/x => y      x*y * (1/x) => y

A sum is {term: coefficient}, a product {factor: exponent}, with exact rational numbers. Equal terms
meet in the dictionary; if what is left takes fewer ops than what was written, it is written anew,
otherwise the user's order and rounding stay. Integers are a ring that wraps, so their sums cancel
under every algebra; those of floats, and all products, need the real one.

The form of a value is made once, from those of its arguments, and has at most `LEAVES` terms (a
longer sum counts as one term of the next), so a sweep over a function stays linear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from jitgraph.ir.builder import Builder
from jitgraph.ir.opdef import Attrs, OpDef, constant
from jitgraph.ir.ops.arithmetic import sqrt
from jitgraph.ir.types import DType, kind_of
from jitgraph.ir.values import Value
from jitgraph.passes.rules.rule import FINITE, Rule, fitted, number_of, recipe
from jitgraph.passes.rules.strength import multiplied

#: How many terms or factors a form may have.
LEAVES = 16

Number = int | Fraction
Args = tuple[Value, ...]
Forms: TypeAlias = "dict[Value, Form]"


@dataclass(frozen=True, slots=True)
class Form:
    """unit + Σ number·term, or unit · Π term^number; `ops` counts the ops it was written with."""

    terms: dict[Value, Number]
    unit: Number
    ops: int = 0


def _ops(a: Form, b: Form, args: Args) -> int:
    return a.ops + 1 + (0 if args[0] is args[1] else b.ops)


# --- numbers -----------------------------------------------------------------------------------
def _exact(value: Value) -> Number | None:
    """The finite number a constant consists of, as an exact rational."""
    number = number_of(value)
    if number is None or kind_of(number.dtype) not in "iuf" or not np.isfinite(number):
        return None
    exact = number.item()
    return int(exact) if exact == int(exact) else Fraction(exact)


def _simple(number: Number) -> Number:
    return int(number) if number.denominator == 1 else number


def _rounded(number: Number, dtype: DType) -> Any:
    """The number in a dtype: wrapped for integers, None where a float over- or underflows."""
    if dtype.kind in "iu":
        return dtype.type(_wrapped(int(number), dtype.itemsize * 8, dtype.kind == "i"))
    try:
        with np.errstate(over="ignore"):
            made = dtype.type(float(number))
    except OverflowError:
        return None
    return made if np.isfinite(made) and (made != 0 or number == 0) else None


def _wrapped(number: int, bits: int, signed: bool = True) -> int:
    low = -(1 << (bits - 1)) if signed else 0
    return (number - low) % (1 << bits) + low


def _size(number: Number) -> Number:
    return -number if number < 0 else number


def _is_integer(number: Number) -> bool:
    return number.denominator == 1


# --- sums --------------------------------------------------------------------------------------
def _sum_of(value: Value, known: Forms, depth: int) -> Form:
    """The value as a sum; of one term, itself, if it is no sum."""
    op = value.op
    if op is None or not depth:
        return Form({value: 1}, 0)
    name = op.definition.name
    if name in ("constant", "broadcast_to"):
        number = _exact(value)
        return Form({value: 1}, 0) if number is None else Form({}, number)
    if name not in _SUM_OPS:
        return Form({value: 1}, 0)
    form = known.get(value)
    if form is None:
        form = _sum(name, op.args, known, depth) or Form({value: 1}, 0)
        known[value] = form
    return form


_SUM_OPS = ("add", "subtract", "negative", "multiply", "divide")


def _sum(name: str, args: Args, known: Forms, depth: int = LEAVES) -> Form | None:
    """The sum that an op of this name makes of the arguments, if it makes one."""
    dtype = args[0].type.dtype
    if name == "negative":
        form = _sum_of(args[0], known, depth - 1)
        return _scaled(form, -1, form.ops + 1, dtype)
    if name in ("multiply", "divide"):
        return _multiple(name, args, known, depth)
    a, b = (_sum_of(arg, known, depth - 1) for arg in args)
    # In v - 2*v, v stays one term, though it may be a sum itself.
    if args[1] in a.terms or len(b.terms) + len(a.terms) > LEAVES:
        b = Form({args[1]: 1}, 0)
    if args[0] in b.terms or len(b.terms) + len(a.terms) > LEAVES:
        a = Form({args[0]: 1}, 0)
    if name == "subtract":
        b = _scaled(b, -1, b.ops, dtype)
    terms = dict(a.terms)
    for term, k in b.terms.items():
        terms[term] = _coefficient(terms.get(term, 0) + k, dtype)
    terms = {term: k for term, k in terms.items() if k}
    return Form(terms, _coefficient(a.unit + b.unit, dtype), _ops(a, b, args))


def _multiple(name: str, args: Args, known: Forms, depth: int) -> Form | None:
    """c·x or x/c for a constant c. A sum x is one term: its author may have factored c out."""
    for x, c in (args, args[::-1]) if name == "multiply" else (args,):
        number = _exact(c)
        if number is None or (number == 0 and name == "divide"):
            continue
        by = number if name == "multiply" else Fraction(1) / number
        form = _sum_of(x, known, depth - 1)
        if len(form.terms) != 1 or form.unit:
            form = Form({x: 1}, 0)
        return _scaled(form, by, form.ops + 1, x.type.dtype)
    return None


def _scaled(form: Form, by: Number, ops: int, dtype: DType) -> Form:
    terms = {term: _coefficient(k * by, dtype) for term, k in form.terms.items()}
    kept = {term: k for term, k in terms.items() if k}
    return Form(kept, _coefficient(form.unit * by, dtype), ops)


def _coefficient(number: Number, dtype: DType) -> Number:
    if dtype.kind in "iu":
        return _wrapped(int(number), dtype.itemsize * 8)
    return _simple(number)


def _sum_cost(form: Form) -> int:
    """The number of ops `_build_sum` writes."""
    numbers = form.terms.values()
    scales = sum(abs(k) != 1 for k in numbers)
    all_negative = bool(numbers) and not form.unit and all(k < 0 for k in numbers)
    leading = all_negative and all(k == -1 for k in numbers)
    return len(numbers) + (form.unit != 0) - 1 + scales + leading


def _build_sum(form: Form, dtype: DType) -> Value | None:
    """The sum, positive terms first; None if a number does not fit the dtype."""
    items = sorted(form.terms.items(), key=lambda item: item[1] < 0)
    unit = _rounded(form.unit, dtype)
    if unit is None:
        return None
    if not items:
        return constant(unit)
    unit_first = bool(form.unit) and items[0][1] < 0
    total: Any = unit if unit_first else None
    for value, k in items:
        scale = _rounded(k if total is None else _size(k), dtype)
        if scale is None:
            return None
        term: Any = value if abs(k) == 1 else value * scale
        if total is None:
            total = -term if k == -1 else term
        else:
            total = total + term if k > 0 else total - term
    return total if unit_first or not form.unit else total + unit  # type: ignore[no-any-return]


# --- products ----------------------------------------------------------------------------------
_PRODUCT_OPS = ("multiply", "divide", "negative", "square", "sqrt", "power")


def _product_of(value: Value, known: Forms, depth: int) -> Form:
    """The value as a product; of one factor, itself, if it is no product."""
    op = value.op
    if op is None or not depth:
        return Form({value: 1}, 1)
    name = op.definition.name
    if name in ("constant", "broadcast_to"):
        number = _exact(value)
        return Form({}, number) if number else Form({value: 1}, 1)
    if name not in _PRODUCT_OPS:
        return Form({value: 1}, 1)
    form = known.get(value)
    if form is None:
        form = _product(name, op.args, known, depth) or Form({value: 1}, 1)
        known[value] = form
    return form


def _product(name: str, args: Args, known: Forms, depth: int = LEAVES) -> Form | None:
    """The product that an op of this name makes of the arguments, if it makes one."""
    if name == "negative":
        form = _product_of(args[0], known, depth - 1)
        return Form(form.terms, -form.unit, form.ops + 1)
    if name not in ("multiply", "divide"):
        return _power(name, args, known, depth)
    a, b = (_product_of(arg, known, depth - 1) for arg in args)
    if args[1] in a.terms or len(b.terms) + len(a.terms) > LEAVES:
        b = Form({args[1]: 1}, 1)
    if args[0] in b.terms or len(b.terms) + len(a.terms) > LEAVES:
        a = Form({args[0]: 1}, 1)
    sign = 1 if name == "multiply" else -1
    factors = dict(a.terms)
    for factor, k in b.terms.items():
        factors[factor] = _simple(factors.get(factor, 0) + sign * k)
    factors = {factor: k for factor, k in factors.items() if k}
    unit = a.unit if b.unit == 1 else _simple(a.unit * Fraction(b.unit) ** sign)
    return Form(factors, unit, _ops(a, b, args))


def _power(name: str, args: Args, known: Forms, depth: int) -> Form | None:
    """x to the power of a constant."""
    fixed: dict[str, Number] = {"square": 2, "sqrt": Fraction(1, 2)}
    exponent = _exact(args[1]) if name == "power" else fixed.get(name)
    if not exponent or _size(exponent) > LEAVES:
        return None
    if not _is_integer(exponent):  # sqrt(x*x) is not x
        return Form({args[0]: exponent}, 1, 1)
    form = _product_of(args[0], known, depth - 1)
    factors = {factor: _simple(k * exponent) for factor, k in form.terms.items()}
    return Form(factors, _simple(Fraction(form.unit) ** int(exponent)), form.ops + 1)


def _product_cost(form: Form) -> int:
    """The number of ops `_build_product` writes; more than any limit if it cannot."""
    above = [_power_cost(k) for k in form.terms.values() if k > 0]
    below = [_power_cost(-k) for k in form.terms.values() if k < 0]
    joins = max(len(above) - 1, 0) + max(len(below) - 1, 0) + bool(below)
    scaled = abs(form.unit) != 1 and bool(above)
    return sum(above) + sum(below) + joins + scaled + (form.unit < 0 and bool(above))


def _power_cost(k: Number) -> int:
    """How many multiplications and roots xᵏ takes, for k > 0 in halves."""
    if k.denominator > 2 or k > LEAVES:
        return 1000
    whole = int(k)
    products = whole.bit_length() + whole.bit_count() - 2 if whole else 0
    return products + (k.denominator == 2) * (1 + (whole > 0))


def _build_product(form: Form, dtype: DType) -> Value | None:
    """The product, as one fraction times a constant."""
    above = _multiplied([(v, k) for v, k in form.terms.items() if k > 0])
    below = _multiplied([(v, -k) for v, k in form.terms.items() if k < 0])
    unit = _rounded(form.unit if above is None else _size(form.unit), dtype)
    if unit is None:
        return None
    if above is None:
        return constant(unit) if below is None else unit / below
    total = above if below is None else above / below
    total = total if unit == 1 else total * unit
    return -total if form.unit < 0 else total  # type: ignore[no-any-return]


def _multiplied(factors: list[tuple[Value, Number]]) -> Any:
    total: Any = None
    for value, k in factors:
        power = multiplied(value, int(k)) if k >= 1 else None
        if k.denominator == 2:
            power = sqrt(value) if power is None else power * sqrt(value)
        total = power if total is None else total * power
    return total


# --- the rules ---------------------------------------------------------------------------------
def _rewrite(
    read: Callable[[str, Args, Forms], Form | None],
    cost: Callable[[Form], int],
    build: Callable[[Form, DType], Value | None],
) -> Callable[[Builder, OpDef, Args, Attrs], Value | None]:
    def rewrite(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
        form = read(definition.name, args, builder.forms.setdefault(read, {}))
        if form is None or cost(form) >= form.ops:
            return None
        better = build(form, args[0].type.dtype)
        return None if better is None else fitted(builder, better, definition, args, attrs)

    return rewrite


_cancel_sum = _rewrite(_sum, _sum_cost, _build_sum)
_cancel_product = _rewrite(_product, _product_cost, _build_product)

RULES: tuple[Rule, ...] = (
    recipe("cancel-sum", "add", "subtract", "negative", "multiply", dtypes="iu",
           over=_SUM_OPS)(_cancel_sum),
    recipe("cancel-sum-of-floats", "add", "subtract", "negative", "multiply", "divide",
           dtypes="f", reassociates=True, assumes=FINITE, over=_SUM_OPS)(_cancel_sum),
    recipe("cancel-product", "multiply", "divide", dtypes="f", reassociates=True,
           assumes=FINITE, over=_PRODUCT_OPS)(_cancel_product),
)  # fmt: skip
