"""A rule is an equation with a contract:

    rule("sub-self", lambda x: x - x, lambda x: zeros_like(x), assumes=FINITE)

The two lambdas are the rule: called with pattern variables they make the pattern, called with
values the rewrite, called with NumPy arrays the property test.

| contract | promise |
|---|---|
| exact | bitwise equal on every input (a NaN equals a NaN) |
| stabilises | at least as close to the value over the real numbers |
| reassociates | the rounding may change, the number not |
| assumes finite | differs only where the left side meets NaN, an infinity or the sign of a zero |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from jitgraph.errors import InternalError
from jitgraph.ir.builder import COMMUTATIVE, Builder
from jitgraph.ir.elementwise import CAST, Elementwise, cast
from jitgraph.ir.opdef import CONSTANT, Attrs, OpDef, Shape, Size, constant
from jitgraph.ir.operators import Operators
from jitgraph.ir.ops.movement import BROADCAST_TO, broadcast_to, dims
from jitgraph.ir.types import broadcast_shapes, kind_of
from jitgraph.ir.values import Value

#: The assumption a rule may make: no operand or intermediate is NaN or infinite, no divisor zero.
FINITE: Final = "finite"


@dataclass(frozen=True, slots=True)
class Contract:
    """What a rewrite promises; with no flag set, every bit."""

    stabilises: bool = False
    reassociates: bool = False
    assumes: str | None = None

    @property
    def exact(self) -> bool:
        return not (self.stabilises or self.reassociates or self.assumes)

    def __str__(self) -> str:
        said = [
            "stabilises" * self.stabilises,
            "reassociates" * self.reassociates,
            f"assumes {self.assumes}" if self.assumes else "",
        ]
        return ", ".join(filter(None, said)) or "exact"




# --- patterns ----------------------------------------------------------------------------------
class Pattern(Operators, ABC):
    """A side of a rule. Applying an op to patterns makes a pattern (`Elementwise.__call__`)."""

    __slots__ = ()

    def apply_pattern(self, definition: Elementwise, operands: Sequence[Any]) -> Pattern:
        return Apply(definition, tuple(map(as_pattern, operands)))

    @abstractmethod
    def matches(self, value: Value, found: dict[str, Any]) -> bool:
        """Whether the value fits; what variables stand for is added to `found`."""

    def holes(self) -> Iterator[str]:
        return iter(())


@dataclass(frozen=True, slots=True)
class Hole(Pattern):
    """A variable: any value, the same wherever the name stands; or the number of a constant."""

    name: str
    constant: bool = False

    def matches(self, value: Value, found: dict[str, Any]) -> bool:
        if self.constant:
            found[self.name] = number = number_of(value)
            return number is not None
        return found.setdefault(self.name, value) is value

    def holes(self) -> Iterator[str]:
        yield self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Number(Pattern):
    """A Python number: every constant equal to it; the sign of a zero counts."""

    value: int | float | bool

    def matches(self, value: Value, found: dict[str, Any]) -> bool:
        number = number_of(value)
        return number is not None and is_number(number, self.value)

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Apply(Pattern):
    """An op of patterns."""

    definition: Elementwise
    args: tuple[Pattern, ...]

    def matches(self, value: Value, found: dict[str, Any]) -> bool:
        op = value.op
        return op is not None and op.definition is self.definition and self.fits(op.args, found)

    def fits(self, args: Sequence[Value], found: dict[str, Any]) -> bool:
        for pattern, arg in zip(self.args, args, strict=True):
            if not pattern.matches(arg, found):
                return False
        return True

    def holes(self) -> Iterator[str]:
        for arg in self.args:
            yield from arg.holes()

    def __str__(self) -> str:
        return f"{self.definition.name}({', '.join(map(str, self.args))})"


@dataclass(frozen=True, slots=True)
class Call(Pattern):
    """Something a right side computes that is no op: `zeros_like(x)`."""

    name: str
    args: tuple[Pattern, ...]

    def matches(self, value: Value, found: dict[str, Any]) -> bool:
        raise InternalError(f"the left side of a rule cannot have {self}: it is no op")

    def holes(self) -> Iterator[str]:
        for arg in self.args:
            yield from arg.holes()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"


def as_pattern(operand: Any) -> Pattern:
    return operand if isinstance(operand, Pattern) else Number(operand)


#: The ops that `number_of` sees through.
_NUMBERS = frozenset((CONSTANT, BROADCAST_TO, CAST))


def number_of(value: Value) -> Any:
    """The one number a constant consists of, also through broadcasts and casts; else None."""
    op = value.op
    if op is None:
        return None
    name = op.definition.name
    if name == "constant":
        return op.attrs["value"].splat
    if name == "broadcast_to":
        return number_of(op.args[0])
    if name == "cast":
        number = number_of(op.args[0])
        with np.errstate(all="ignore"):
            return None if number is None else number.astype(op.attrs["dtype"])
    return None


def is_number(number: Any, wanted: int | float | bool) -> bool:
    """Equal, and of the same sign where both are zero."""
    if number != wanted:
        return False
    signed = wanted == 0 and kind_of(number.dtype) in "fc"
    return not signed or bool(np.signbit(number.real) == np.signbit(wanted))


# --- right sides -------------------------------------------------------------------------------
def full_like(x: Any, number: int | float | bool, dtype: Any = None) -> Any:
    """`number` everywhere, with the shape of x: for values, arrays and patterns."""
    if isinstance(x, Pattern):
        return Call(f"full_like[{number}]", (x,))
    if isinstance(x, Value):
        return broadcast_to(constant(number, dtype or x.dtype), dims(x))
    return np.full_like(x, number, dtype=dtype)


def zeros_like(x: Any) -> Any:
    return full_like(x, 0)


def ones_like(x: Any) -> Any:
    return full_like(x, 1)


def true_like(x: Any) -> Any:
    return full_like(x, True, np.bool_)


def false_like(x: Any) -> Any:
    return full_like(x, False, np.bool_)


# --- rewrites ----------------------------------------------------------------------------------
#: The dtype kinds of an op's first and last operand.
Kinds: TypeAlias = "tuple[str, str]"
#: For each operand of an op, the op that made it.
Heads: TypeAlias = "tuple[OpDef | None, ...]"


class Rule(Protocol):
    """A `Rewrite` that says where it starts and what it promises."""

    @property
    def name(self) -> str: ...
    @property
    def contract(self) -> str: ...
    @property
    def promise(self) -> Contract: ...
    @property
    def roots(self) -> tuple[str, ...]: ...
    @property
    def stage(self) -> str: ...
    def may_start(self, kinds: Kinds, heads: Heads) -> bool: ...
    def apply(
        self, builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
    ) -> Value | None: ...


#: When a rule applies. early: only before differentiation; composites: until they are decomposed;
#: always; late: only after decomposition, since it hides structure that other rules look for.
STAGES: Final = ("early", "composites", "always", "late")


@dataclass(frozen=True, slots=True, eq=False)
class Equation:
    """`left => right`, elementwise, for operands of the dtype kinds in `dtypes`."""

    name: str
    left: Apply
    right: Pattern
    rewrite: Callable[..., Any]
    promise: Contract
    dtypes: str
    stage: str
    when: Callable[..., bool] | None
    #: `left` with the operands of commutative ops in every order.
    variants: tuple[Apply, ...]
    #: For each argument of each variant, the ops it may come from; None for any.
    heads: tuple[tuple[frozenset[OpDef] | None, ...], ...]

    @property
    def contract(self) -> str:
        return str(self.promise)

    @property
    def roots(self) -> tuple[str, ...]:
        return (self.left.definition.name,)

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.left.holes()))

    def match(self, args: tuple[Value, ...]) -> dict[str, Any] | None:
        """The values of the variables for which `left` is the op with these arguments."""
        for variant, wanted in zip(self.variants, self.heads, strict=True):
            for arg, head in zip(args, wanted, strict=True):  # most mismatches show here, fast
                if head is not None and (arg.op is None or arg.op.definition not in head):
                    break
            else:
                found: dict[str, Any] = {}
                if variant.fits(args, found) and (self.when is None or self.when(**found)):
                    return found
        return None

    def may_start(self, kinds: Kinds, heads: Heads) -> bool:
        """Whether there are values from these ops, of these dtypes, that match."""
        return kinds[-1] in self.dtypes and any(
            all(w is None or h in w for w, h in zip(wanted, heads, strict=True))
            for wanted in self.heads
        )

    def apply(
        self, builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
    ) -> Value | None:
        found = self.match(args)
        if found is None:
            return None
        return fitted(builder, self.rewrite(**found), definition, args, attrs)

    def keeps_shape(self, found: dict[str, Any], shape: Sequence[Any]) -> bool:
        """Whether both sides broadcast the same variables, and no constant adds to the shape."""
        variables = set(self.left.holes())
        used = [found[name].type.shape for name in variables if isinstance(found[name], Value)]
        return variables == set(self.right.holes()) and broadcast_shapes(used) == tuple(shape)

    def __str__(self) -> str:
        return f"{self.name}: {self.left} => {self.right} ({self.promise})"


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """A rewrite that is no equation between elementwise ops: it looks at attributes or extents.
    At least one operand has to come from an op in `over`, unless that is empty."""

    name: str
    roots: tuple[str, ...]
    function: Callable[[Builder, OpDef, tuple[Value, ...], Attrs], Value | None]
    promise: Contract
    dtypes: str
    stage: str
    over: frozenset[str]

    @property
    def contract(self) -> str:
        return str(self.promise)

    def may_start(self, kinds: Kinds, heads: Heads) -> bool:
        """Whether there are values from these ops, of these dtypes, that the rewrite looks at."""
        made = not self.over or any(h is not None and h.name in self.over for h in heads)
        return kinds[0] in self.dtypes and made

    def apply(
        self, builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
    ) -> Value | None:
        return self.function(builder, definition, args, attrs)

    def __str__(self) -> str:
        return f"{self.name}: {(self.function.__doc__ or '').strip()} ({self.promise})"


def rule(
    name: str,
    left: Callable[..., Any],
    right: Callable[..., Any],
    *,
    assumes: str | None = None,
    stabilises: bool = False,
    reassociates: bool = False,
    dtypes: str = "",
    constants: str = "",
    stage: str = "always",
    when: Callable[..., bool] | None = None,
) -> Equation:
    """Declare `left => right`. Variables named in `constants` match constants and stand for their
    number; `when` is a side condition on the variables. `dtypes` are the kinds of the op's last
    operand for which it holds: floats for a rule that stabilises, else all real numbers."""
    code = left.__code__
    holes = {n: Hole(n, n in constants) for n in code.co_varnames[: code.co_argcount]}
    pattern = left(**holes)
    assert isinstance(pattern, Apply)
    assert stage in STAGES
    variants = tuple(_orders(pattern))
    return Equation(
        name=name,
        left=pattern,
        right=as_pattern(right(**holes)),
        rewrite=right,
        promise=Contract(stabilises, reassociates, assumes),
        dtypes=dtypes or ("f" if stabilises else "iuf"),
        stage=stage,
        when=when,
        variants=variants,
        heads=tuple(tuple(map(_head, variant.args)) for variant in variants),
    )


def recipe(
    name: str,
    *roots: str,
    assumes: str | None = None,
    stabilises: bool = False,
    reassociates: bool = False,
    dtypes: str = "biufc",
    stage: str = "always",
    over: Sequence[str] = (),
) -> Callable[[Callable[..., Value | None]], Recipe]:
    """Declare a function of (builder, definition, args, attrs) as a rewrite of `roots`, for
    operands at least one of which comes from an op in `over` (of any op, if that is empty)."""
    promise = Contract(stabilises, reassociates, assumes)
    return lambda function: Recipe(
        name, roots, function, promise, dtypes, stage, frozenset(over)
    )


def _head(pattern: Pattern) -> frozenset[OpDef] | None:
    """The ops a value may come from that matches the pattern; None for any, or none."""
    if isinstance(pattern, Apply):
        return frozenset((pattern.definition,))
    is_number = isinstance(pattern, Number) or (isinstance(pattern, Hole) and pattern.constant)
    return _NUMBERS if is_number else None


def _orders(pattern: Apply) -> list[Apply]:
    """The pattern with commutative operands in each order, without those that match the same."""
    found: dict[str, Apply] = {}
    for args in _products([_each_order(a) for a in pattern.args]):
        swapped = [args, args[::-1]] if pattern.definition.name in COMMUTATIVE else [args]
        for order in swapped:
            made = Apply(pattern.definition, order)
            found.setdefault(_nameless(made), made)
    return list(found.values())


def _each_order(pattern: Pattern) -> list[Pattern]:
    return list(_orders(pattern)) if isinstance(pattern, Apply) else [pattern]


def _products(choices: list[list[Pattern]]) -> Iterator[tuple[Pattern, ...]]:
    if not choices:
        yield ()
        return
    for first in choices[0]:
        for rest in _products(choices[1:]):
            yield (first, *rest)


def _nameless(pattern: Pattern) -> str:
    """The text of a pattern with its variables numbered as they appear: `add(0, exp(1))`."""
    numbers: dict[str, int] = {}

    def text(p: Pattern) -> str:
        if isinstance(p, Hole):
            return f"${numbers.setdefault(p.name, len(numbers))}{'!' * p.constant}"
        if isinstance(p, Apply):
            return f"{p.definition.name}({','.join(map(text, p.args))})"
        return str(p)

    return text(pattern)


# --- the result stands exactly where the op stood ----------------------------------------------
def same(a: Size, b: Size) -> bool:
    """Whether two representatives (`Builder.find`) are provably the same extent."""
    return a is b or (isinstance(a, int) and isinstance(b, int) and a == b)


def same_shape(a: Shape, b: Shape) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


def fitted(
    builder: Builder, better: Value, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
) -> Value:
    """`better` with the dtype and the extents of the op it replaces.

    Asking for those extents also records the checks the op would have made.
    """
    if isinstance(definition, Elementwise):
        better = cast(better, definition.infer([a.type for a in args], attrs).dtype)
    if not any(a.type.shape for a in args):
        return better
    shape = tuple(map(builder.find, definition.shape(builder, args, attrs)))
    return better if same_shape(builder.shape(better), shape) else broadcast_to(better, shape)
