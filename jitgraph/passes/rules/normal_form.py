"""Cancellation: sums and products as normal forms.

    x + y - x => y      2*x - x => x      f + -f => 0      x*y/x => y      x*y * (1/x) => y

A sum is {term: coefficient}, a product {factor: exponent}, with exact rational numbers. Equal terms
meet in the dictionary; if what is left takes fewer ops than what was written, it is written anew,
otherwise the user's order and rounding stay. Integers are a ring that wraps, so their sums cancel
under every algebra; those of floats, and all products, need the real one.

Each op looks at no more than `LEAVES` terms below it, which keeps the sweep linear.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from jitgraph.ir.builder import Builder
from jitgraph.ir.opdef import Attrs, OpDef, constant
from jitgraph.ir.ops.arithmetic import sqrt
from jitgraph.ir.types import DType
from jitgraph.ir.values import Op, Value
from jitgraph.passes.rules.rule import FINITE, Rule, fitted, number_of, recipe
from jitgraph.passes.rules.strength import multiplied

#: How many terms or factors are looked at.
LEAVES = 16

Number = int | Fraction


def _exact(number: np.generic) -> Number | None:
    """The number as an exact rational; None where it is none."""
    if number.dtype.kind in "iu":
        return int(number)  # type: ignore[call-overload, no-any-return]
    if number.dtype.kind != "f" or not np.isfinite(number):  # type: ignore[call-overload]
        return None
    return _simple(Fraction(float(number)))  # type: ignore[arg-type]


def _simple(number: Number) -> Number:
    return int(number) if number.denominator == 1 else number


def _rounded(number: Number, dtype: DType) -> np.generic | None:
    """The number in a dtype: wrapped for integers, None where a float over- or underflows."""
    if dtype.kind in "iu":
        bits = dtype.itemsize * 8
        return np.array(int(number) % (1 << bits), f"u{bits // 8}").astype(dtype)[()]
    try:
        made = dtype.type(float(number))
    except OverflowError:
        return None
    return made if np.isfinite(made) and (made != 0 or number == 0) else None


@dataclass(slots=True)
class _Form:
    """What is known of a sum or product: terms still to be looked into, terms looked into, and
    the number of ops they were written with. The key None stands for the constant part."""

    dtype: DType
    terms: dict[Value, Number] = field(default_factory=dict)
    closed: dict[Value, Number] = field(default_factory=dict)
    constant: Number = 0
    written: int = 0

    def put(self, value: Value, number: Number) -> None:
        """Add to the number of a term; a term whose number is 0 is gone."""
        place = self.closed if value in self.closed else self.terms
        number = self.wrapped(number + place.pop(value, 0))
        if number:
            place[value] = number

    def wrapped(self, number: Number) -> Number:
        if self.dtype.kind not in "iu":
            return _simple(number)
        half = 1 << (self.dtype.itemsize * 8 - 1)
        return (int(number) + half) % (2 * half) - half

    def next(self) -> tuple[Value, Number] | None:
        """A term to look into, or None when there are none or enough."""
        while self.terms and len(self.terms) + len(self.closed) < LEAVES and self.written < LEAVES:
            value = next(iter(self.terms))
            number = self.terms.pop(value)
            if value.op is not None:
                return value, number
            self.closed[value] = number
        return None

    @property
    def found(self) -> list[tuple[Value, Number]]:
        return [*self.closed.items(), *self.terms.items()]


# --- sums ----------------------------------------------------------------------------------------
class _Sum(_Form):
    __slots__ = ()

    def add(self, value: Value, k: Number) -> None:
        """Add k·value, with factors that are constants or signs taken into k."""
        while self.written < LEAVES:
            op = value.op
            if op is None:
                break
            if op.name == "negative":
                value, k = op.args[0], -k
            elif op.name in ("multiply", "divide") and (scaled := _scaled(op)) is not None:
                value, k = scaled[0], k * scaled[1]
            else:
                break
            self.written += 1
        number = number_of(value)
        known = None if number is None else _exact(number)
        if known is None:
            self.put(value, k)
        else:
            self.constant = self.wrapped(self.constant + k * known)

    def add_op(self, op: Op | _Birth, k: Number) -> bool:
        """Add k·op(...), if that is a sum."""
        if op.name not in ("add", "subtract") or self.dtype.kind == "b":
            return False
        self.written += 1
        self.add(op.args[0], k)
        self.add(op.args[1], k if op.name == "add" else -k)
        return True

    def grow(self) -> None:
        # Only ±1: multiplying a constant into a sum would undo what its author factored out.
        while (item := self.next()) is not None:
            value, k = item
            if not (abs(k) == 1 and value.op is not None and self.add_op(value.op, k)):
                self.closed[value] = k

    def cost(self) -> int:
        """The number of ops `build` would write."""
        terms = self.found
        scales = sum(abs(k) != 1 for _, k in terms)
        negative = bool(terms) and not self.constant and all(k < 0 for _, k in terms)
        leading = negative and all(abs(k) == 1 for _, k in terms)
        return len(terms) + (self.constant != 0) - 1 + scales + leading

    def build(self) -> Value | None:
        """The sum, positive terms first; None if a number does not fit the dtype."""
        total: Any = None
        if self.constant and all(k < 0 for _, k in self.found):
            total = _rounded(self.constant, self.dtype)
        for value, k in sorted(self.found, key=lambda item: item[1] < 0):
            scale = _rounded(abs(k) if total is not None else k, self.dtype)
            if scale is None:
                return None
            term: Any = value if abs(k) == 1 else value * scale
            if total is None:
                total = -term if k == -1 else term
            else:
                total = total + term if k > 0 else total - term
        if total is None or (self.constant and any(k > 0 for _, k in self.found)):
            rest = _rounded(self.constant, self.dtype)
            if rest is None:
                return None
            total = constant(rest) if total is None else total + rest
        return total  # type: ignore[no-any-return]


def _scaled(op: Op | _Birth) -> tuple[Value, Number] | None:
    """x and c, if the op is x·c or x/c for a constant c."""
    for x, c in (op.args, op.args[::-1]) if op.name == "multiply" else (op.args,):
        number = number_of(c)
        known = None if number is None else _exact(number)
        if known is not None and not (known == 0 and op.name == "divide"):
            return x, known if op.name == "multiply" else Fraction(1) / known
    return None


# --- products ------------------------------------------------------------------------------------
class _Product(_Form):
    __slots__ = ()

    def multiply(self, value: Value, k: Number) -> None:
        """Multiply by valueᵏ, with powers of powers and signs taken apart."""
        while self.written < LEAVES and _is_integer(k):
            op = value.op
            if op is None:
                break
            if op.name == "negative":
                value, self.constant = op.args[0], self.constant * (-1) ** int(k)
            elif (power := _power(op)) is not None:
                value, k = power[0], _simple(k * power[1])
            else:
                break
            self.written += 1
        number = number_of(value)
        known = None if number is None else _exact(number)
        if known and _is_integer(k) and abs(k) <= LEAVES:
            self.constant = _simple(self.constant * Fraction(known) ** int(k))
        else:
            self.put(value, k)

    def multiply_op(self, op: Op | _Birth, k: Number) -> bool:
        """Multiply by op(...)ᵏ, if that is a product."""
        if op.name not in ("multiply", "divide") or not _is_integer(k):
            return False
        self.written += 1
        self.multiply(op.args[0], k)
        self.multiply(op.args[1], k if op.name == "multiply" else -k)
        return True

    def grow(self) -> None:
        while (item := self.next()) is not None:
            value, k = item
            if value.op is None or not self.multiply_op(value.op, k):
                self.closed[value] = k

    def cost(self) -> int:
        """The number of ops `build` would write; more than any limit if it cannot."""
        above = [_power_cost(k) for _, k in self.found if k > 0]
        below = [_power_cost(-k) for _, k in self.found if k < 0]
        scale = self.constant not in (1, -1)
        factors = len(above) + len(below) - 1 + (not above and bool(below))
        shared = scale and (bool(above) or not below)
        return sum(above) + sum(below) + max(factors, 0) + shared + (self.constant == -1)

    def build(self) -> Value | None:
        """The product, as one fraction times a constant."""
        scale = _rounded(abs(self.constant), self.dtype)
        if scale is None:
            return None
        above = _multiplied_all([(v, k) for v, k in self.found if k > 0])
        below = _multiplied_all([(v, -k) for v, k in self.found if k < 0])
        if above is None:
            total: Any = constant(scale) if below is None else scale / below
        else:
            total = above if below is None else above / below
            total = total if scale == 1 else total * scale
        return -total if self.constant < 0 else total  # type: ignore[no-any-return]


def _is_integer(k: Number) -> bool:
    return k.denominator == 1


def _power(op: Op) -> tuple[Value, Number] | None:
    """x and c, if the op is x to the power of a constant c."""
    if op.name == "square":
        return op.args[0], 2
    if op.name == "sqrt":
        return op.args[0], Fraction(1, 2)
    if op.name == "power":
        number = number_of(op.args[1])
        known = None if number is None else _exact(number)
        return None if not known else (op.args[0], known)
    return None


def _power_cost(k: Number) -> int:
    """How many multiplications and roots xᵏ takes, for k > 0 in halves."""
    if k.denominator > 2 or k > LEAVES:
        return 1000
    whole = int(k)
    products = whole.bit_length() + whole.bit_count() - 2 if whole else 0
    return products + (k.denominator == 2) * (1 + (whole > 0))


def _multiplied_all(factors: list[tuple[Value, Number]]) -> Value | None:
    total: Value | None = None
    for value, k in factors:
        power = multiplied(value, int(k)) if k >= 1 else None
        if k.denominator == 2:
            power = sqrt(value) if power is None else power * sqrt(value)
        total = power if total is None else total * power
    return total


# --- the rules -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Birth:
    """An op about to be born, as the forms see ops."""

    definition: OpDef
    args: tuple[Value, ...]

    @property
    def name(self) -> str:
        return self.definition.name


def _cancel_sum(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """x + y - x => y;  2*x - x => x"""
    form = _Sum(args[0].type.dtype)
    birth = _Birth(definition, args)
    if definition.name == "negative":
        form.written = 1
        form.add(args[0], -1)
    elif definition.name in ("multiply", "divide"):
        scaled = _scaled(birth)
        if scaled is None:
            return None
        form.written = 1
        form.add(*scaled)
    else:
        form.add_op(birth, 1)
        form.grow()
    return _replaced(builder, form, definition, args, attrs)


def _cancel_product(
    builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value | None:
    """x*y/x => y;  x*y * (1/x) => y"""
    form = _Product(args[0].type.dtype, constant=1)
    form.multiply_op(_Birth(definition, args), 1)
    form.grow()
    return None if not form.constant else _replaced(builder, form, definition, args, attrs)


def _replaced(
    builder: Builder,
    form: _Sum | _Product,
    definition: OpDef,
    args: tuple[Value, ...],
    attrs: Attrs,
) -> Value | None:
    if form.cost() >= form.written:
        return None
    better = form.build()
    return None if better is None else fitted(builder, better, definition, args, attrs)


RULES: tuple[Rule, ...] = (
    recipe("cancel-sum", "add", "subtract", "negative", "multiply", dtypes="iu")(_cancel_sum),
    recipe("cancel-sum-of-floats", "add", "subtract", "negative", "multiply", "divide",
           dtypes="f", reassociates=True, assumes=FINITE)(_cancel_sum),
    recipe("cancel-product", "multiply", "divide", dtypes="f", reassociates=True,
           assumes=FINITE)(_cancel_product),
)  # fmt: skip
