"""Builds ops that are simple at birth: value numbering, folding, rewriting, and shapes.

Arguments of an op are already simple when the op is born, so one forward sweep does what would
otherwise take passes to a fixed point. The builder also knows every value's extents as numbers or
i64 expressions, learns which of them must be equal, and collects the run-time checks that make
that knowledge true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jitgraph.errors import JitgraphError, Operand, ShapeError
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import (
    CONSTANT,
    Attrs,
    OpDef,
    Shape,
    Size,
    Told,
    apply_op,
    building_with,
    constant,
)
from jitgraph.ir.ops.arithmetic import equal, where
from jitgraph.ir.ops.bundles import ITEM
from jitgraph.ir.ops.movement import DIM
from jitgraph.ir.types import I64, Bundle, Extent
from jitgraph.ir.values import Literal, Value
from jitgraph.location import Location

#: Folding must not turn a small program into a large constant.
FOLD_LIMIT = 1 << 14

#: Ops whose operands may be exchanged without changing a bit of the result. (The extrema are not
#: among them: which of 0.0 and -0.0 wins depends on the order.)
COMMUTATIVE = frozenset({
    "add", "multiply", "equal", "not_equal", "logical_and", "logical_or", "logical_xor",
    "bitwise_and", "bitwise_or", "bitwise_xor", "hypot", "logaddexp", "logaddexp2",
})  # fmt: skip


class Rewrite(Protocol):
    """A rule: looks at an op about to be born and may name a better value."""

    @property
    def name(self) -> str: ...

    @property
    def contract(self) -> str: ...

    def apply(
        self, builder: Builder, definition: OpDef, args: tuple[Value, ...], attrs: Attrs
    ) -> Value | None: ...


class Rewrites(Protocol):
    """Rules that know where they may start."""

    def candidates(
        self, definition: OpDef, args: tuple[Value, ...]
    ) -> Sequence[Rewrite]: ...


class NoRewrites:
    """For a builder that numbers and folds only."""

    def candidates(self, definition: OpDef, args: tuple[Value, ...]) -> Sequence[Rewrite]:
        return ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One line of `dump --why`."""

    rule: str
    contract: str
    location: Location | None
    before: str
    after: str


@dataclass(slots=True)
class Builder:
    """An emitter that simplifies. `rules` gives the rewrites that may start at an op; `log`, when
    given, receives a line per rewrite; `forms` is what rules remember of values."""

    params: Sequence[Value]
    rules: Rewrites = NoRewrites()  # noqa: RUF009  (it has no state)
    log: Callable[[Rewritten], None] | None = None
    location: Location | None = None
    checks: dict[Value, None] = field(default_factory=dict)
    forms: dict[Any, Any] = field(default_factory=dict)
    _numbers: dict[Any, Value] = field(default_factory=dict)
    _constants: dict[Literal, Value] = field(default_factory=dict)
    #: Extents, and how many had a leader when they were looked up.
    _shapes: dict[Value, tuple[Shape, int]] = field(default_factory=dict)
    _bundles: dict[Value, tuple[Shape, ...]] = field(default_factory=dict)
    _leaders: dict[Value, Size] = field(default_factory=dict)
    _births: dict[Value, int] = field(default_factory=dict)
    _parts: dict[Size, frozenset[Size]] = field(default_factory=dict)
    _joined: dict[frozenset[Size], Size] = field(default_factory=dict)
    _depth: int = 0

    def __post_init__(self) -> None:
        named: dict[str, Size] = {}
        for param in self.params:
            dims = tuple(self._param_dim(param, axis, named) for axis in range(param.ndim))
            self._shapes[param] = dims, 0

    def _param_dim(self, param: Value, axis: int, named: dict[str, Size]) -> Size:
        known = param.type.shape[axis]
        if isinstance(known, int):
            return known
        if isinstance(known, Extent) and known.name in named:
            return named[known.name]
        size = apply_op(DIM, (param,), {"axis": axis}, param.location)
        self._numbers[self._key(DIM, (param,), {"axis": axis})] = size
        self._shapes[size] = (), 0
        if isinstance(known, Extent):
            named[known.name] = size
        return size

    # --- emitting -------------------------------------------------------------------------------
    @staticmethod
    def _key(definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Any:
        # The key holds the arguments, not their ids, which a later value might be given again.
        if len(args) == 2 and definition.name in COMMUTATIVE and id(args[0]) > id(args[1]):
            args = args[::-1]
        return (definition, args, tuple(sorted(attrs.items())) if attrs else ())

    def emit(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value:
        """The value of an op application: an older one, a constant, a rewrite, or a new op."""
        if definition is DIM:
            return self._as_value(self.shape(args[0])[attrs["axis"]])
        if definition is CONSTANT:
            return self._constant(attrs["value"])
        args = tuple(map(self._interned, args))
        key = self._key(definition, args, attrs)
        found = self._numbers.get(key)
        if found is None:
            found = self._fold(definition, args, attrs)
            if found is None:
                # Also of an op that a rule replaces: its operands must fit all the same.
                self._demand(definition, args, attrs)
                found = self._rewritten(definition, args, attrs)
            found = self._born(definition, args, attrs) if found is None else self._interned(found)
            self._numbers[key] = found
        return found

    def _interned(self, value: Value) -> Value:
        """The one value that stands for a constant, wherever that was made."""
        op = value.op
        if op is None or op.definition is not CONSTANT:
            return value
        return self._constant(op.attrs["value"])

    def _constant(self, literal: Literal) -> Value:
        found = self._constants.get(literal)
        if found is None:
            found = self._rewritten(CONSTANT, (), {"value": literal})
            if found is None:
                found = apply_op(CONSTANT, (), {"value": literal}, self.location)
            self._constants[literal] = found
        return found

    def _as_value(self, size: Size) -> Value:
        return size if isinstance(size, Value) else self._interned(constant(size, I64))

    def _fold(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value | None:
        literals = [a.literal for a in args]
        if not literals or None in literals or definition.name in ("broadcast_to", "iota"):
            return None
        type_ = definition.infer([a.type for a in args], attrs)
        if isinstance(type_, Bundle):
            return None
        size = 1
        for d in type_.shape:
            size *= d if isinstance(d, int) else 1
        if size > FOLD_LIMIT:
            return None
        try:
            array = definition.evaluate(*(lit.array for lit in literals if lit), **attrs)
        except JitgraphError as error:
            operands = (Operand(a.describe(), str(a.type), a.location) for a in args)
            raise error.locate(self.location, operands) from None
        except ValueError:
            return None  # its check stays and speaks at the call
        return constant(array)

    def _rewritten(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value | None:
        rules = self.rules.candidates(definition, args)
        if not rules or self._depth > 20:  # deeper is a rule that feeds itself: leave the op be
            return None
        self._depth += 1
        try:
            with building_with(self):
                for rule in rules:
                    better = rule.apply(self, definition, args, attrs)
                    if better is not None:
                        if self.log is not None:
                            self._report(rule, definition, args, better)
                        return better
        finally:
            self._depth -= 1
        return None

    def _report(
        self, rule: Rewrite, definition: OpDef, args: tuple[Value, ...], better: Value
    ) -> None:
        assert self.log is not None
        before = f"{definition.name}({', '.join(a.describe() for a in args)})"
        self.log(Rewritten(rule.name, rule.contract, self.location, before, better.describe()))

    def _born(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value:
        value = apply_op(definition, args, attrs, self.location)
        self._births[value] = len(self._births)
        with building_with(self):
            try:
                # Also for scalar results: the rule of a product checks the inner extents.
                bundle = isinstance(value.type, Bundle)
                ranked = bundle or value.type.shape or any(a.type.shape for a in args)
                shape = definition.shape(self, args, attrs) if ranked else ()
            except JitgraphError as error:
                operands = (Operand(a.describe(), str(a.type), a.location) for a in args)
                raise error.locate(self.location, operands) from None
        if bundle:
            self._bundles[value], shape = self._told(value, shape), ()
        self._shapes[value] = shape, -1
        return value

    def _told(self, bundle: Value, shapes: Iterable[Any]) -> tuple[Shape, ...]:
        """The shapes of an op's results, with what only the results themselves can tell."""

        def size(given: Size | Told) -> Size:
            if not isinstance(given, Told):
                return given
            return self.emit(ITEM, (bundle,), {"index": given.index})

        return tuple(tuple(map(size, shape)) for shape in shapes)

    def _demand(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> None:
        if definition.requires is not None:
            with building_with(self):
                for condition in definition.requires(self, args, attrs):
                    self.check(condition)

    def check(self, condition: Value) -> None:
        """Demand that a bool scalar be true at run time. What is provably true costs nothing."""
        literal = condition.literal
        if literal is not None and bool(literal.array):
            return
        self.checks.setdefault(condition)
        op = condition.op
        if op is not None and op.name == "equal" and op.args[0].type.dtype.kind == "i":
            a, b = map(self._as_size, op.args)
            self._unite(a, b)

    @staticmethod
    def _as_size(value: Value) -> Size:
        return value if value.literal is None else int(value.literal.array)

    # --- shapes ---------------------------------------------------------------------------------
    def shape(self, value: Value) -> Shape:
        """The extents of a value: numbers where known, else the one i64 value that stands for all
        extents known to be equal to it."""
        known = self._shapes.get(value)
        if known is None:
            known = tuple(int(d) for d in value.type.shape), -1  # type: ignore[arg-type]
        shape, united = known
        if united != len(self._leaders):
            shape = tuple(map(self.find, shape))
            self._shapes[value] = shape, len(self._leaders)
        return shape

    def item_shapes(self, bundle: Value) -> tuple[Shape, ...]:
        """The extents of each result of an op that has several."""
        return tuple(tuple(map(self.find, shape)) for shape in self._bundles[bundle])

    def find(self, size: Size) -> Size:
        """The representative of all sizes known to equal this one."""
        while isinstance(size, Value):
            literal = size.literal
            if literal is not None:
                return int(literal.array)
            leader = self._leaders.get(size)
            if leader is None:
                return size
            size = leader
        return size

    def _unite(self, a: Size, b: Size) -> None:
        a, b = sorted((self.find(a), self.find(b)), key=self._precedence)
        if isinstance(b, Value) and a is not b:
            self._leaders[b] = a

    def _precedence(self, size: Size) -> tuple[int, int]:
        """Numbers lead, then extents of parameters, then what is computed, oldest first: a leader
        must never depend on a value whose extent it stands for."""
        if isinstance(size, int):
            return 0, 0
        return (1 if size.is_op("dim") else 2), self._births.get(size, 0)

    def same_size(self, a: Size, b: Size) -> Size:
        """The common size of two extents that must be equal; raises ShapeError if they cannot."""
        a, b = self.find(a), self.find(b)
        if a is b or (isinstance(a, int) and isinstance(b, int)):
            if isinstance(a, int) and a != b:
                raise ShapeError(f"the extents {a} and {b} should be equal")
            return a
        with building_with(self):
            self.check(equal(a, b))
        return self.find(a)

    def not_one(self, size: Size) -> bool:
        """Whether an extent is known not to be 1."""
        size = self.find(size)
        if isinstance(size, int):
            return size != 1
        op = size.op
        if op is None or op.name != "dim":
            return False
        known = op.args[0].type.shape[op.attrs["axis"]]
        return isinstance(known, Extent) and known.not_one

    def broadcast(self, shapes: Sequence[Shape]) -> Shape:
        """NumPy broadcasting of run-time shapes, with a check for what is not provable."""
        ranked = [shape for shape in shapes if shape]
        first = ranked[0] if ranked else ()
        if all(_equal(shape, first) for shape in ranked):
            return tuple(map(self.find, first))
        rank = max(map(len, ranked))
        result: list[Size] = []
        for axis in range(rank):
            size: Size = 1
            for shape in ranked:
                if (offset := axis - rank + len(shape)) >= 0:
                    size = self._meet(size, shape[offset], axis)
            result.append(size)
        return tuple(result)

    def _meet(self, a: Size, b: Size, axis: int) -> Size:
        a, b = self.find(a), self.find(b)
        if a is b or (isinstance(b, int) and b == 1):
            return a
        if isinstance(a, int) and a == 1:
            return b
        if isinstance(a, int) and isinstance(b, int):
            if a != b:
                raise ShapeError(f"dimension {axis}: {a} is not {b} and neither is 1")
            return a
        if self.not_one(a) and self.not_one(b):
            return self.same_size(a, b)
        with building_with(self):
            if self.not_one(a):
                self.check(equal(b, 1) | equal(a, b))
                return a
            if self.not_one(b):
                self.check(equal(a, 1) | equal(a, b))
                return b
            return self._join(a, b)

    def _join(self, a: Size, b: Size) -> Size:
        """The broadcast of two extents of which nothing is known; of the same ones, the same."""
        parts_a, parts_b = self._parts_of(a), self._parts_of(b)
        parts = parts_a | parts_b
        if parts in (parts_a, parts_b):
            return a if parts == parts_a else b
        if parts not in self._joined:
            self.check(equal(a, b) | equal(a, 1) | equal(b, 1))
            joined = self.find(where(equal(a, 1), b, a))
            self._joined[parts] = joined
            self._parts[joined] = parts
        return self._joined[parts]

    def _parts_of(self, size: Size) -> frozenset[Size]:
        return self._parts.get(size, frozenset((size,)))

    def broadcasts(self, size: Size, whole: Size) -> bool:
        """Whether an extent is known to be 1 or `whole`."""
        size, whole = self.find(size), self.find(whole)
        return size is whole or (isinstance(size, int) and size in (1, whole)) or (
            self._parts_of(size) <= self._parts_of(whole)
        )


def rebuild(
    fn: Function,
    builder: Builder,
    transform: Callable[[Value, tuple[Value, ...]], Value | None] | None = None,
) -> Function:
    """`fn` with every op emitted anew through `builder`.

    `transform(old, new_args)` may give the replacement of an op; None emits the op as it is.
    """
    new: dict[Value, Value] = {p: p for p in fn.params}
    with building_with(builder):
        pending = iter(fn.checks)
        waiting = next(pending, None)
        for old in fn.ops:
            op = old.op
            assert op is not None
            args = tuple(new[a] for a in op.args)
            builder.location = op.location
            better = transform(old, args) if transform is not None else None
            new[old] = builder.emit(op.definition, args, op.attrs) if better is None else better
            while waiting is not None and waiting in new:
                builder.check(new[waiting])
                waiting = next(pending, None)
    return finish(fn, builder, (new[r] for r in fn.results))


def finish(fn: Function, builder: Builder, results: Iterable[Value]) -> Function:
    """A function of `fn`'s parameters with these results and the builder's checks."""
    return Function(fn.params, results, checks=builder.checks, name=fn.name)


def _equal(a: Shape, b: Shape) -> bool:
    """Whether two shapes are the same numbers and values."""
    return len(a) == len(b) and all(
        x is y or (isinstance(x, int) and isinstance(y, int) and x == y)
        for x, y in zip(a, b, strict=True)
    )
