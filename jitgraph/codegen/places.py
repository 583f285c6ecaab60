"""Reductions in registers that keep more than a total: places of extrema, and running totals.

Of an extremum, each lane keeps its best element and where that was.

    best, step = (x, here) where x beats best, else (best, step)

In the innermost loop a place is the number of elements from where its block began, 32 bits and the
same for all lanes; only afterwards does it become the position of lane, copy and block. The first
of equal elements wins and NaN beats every number, as in NumPy. Lanes that saw nothing hold what no
element is worse than, at position 0: where nothing beats that, the first element is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.reductions import Accumulator, combined, combining, constant
from jitgraph.codegen.registers import (
    Register,
    load,
    register_type,
    splat,
    store,
    vector_of,
    widened,
)
from jitgraph.codegen.vectors import Lanes
from jitgraph.ir.kernel import Store
from jitgraph.ir.types import I64, DType, computed_in, is_half, kind_of

#: From the position to the extremum, where chunks leave both for those who join them.
_BESIDE = 8


@dataclass(frozen=True, slots=True)
class FirstPlace(Accumulator):
    """argmax and argmin: states are (extremum, position), partials (extremum, step)."""

    @property
    def dtype(self) -> DType:
        """What is compared: halves as floats."""
        return computed_in(self.store.value.dtype)

    @property
    def block(self) -> int | None:
        return 1 << 24  # steps, of hundreds of elements at most, which are counted in 32 bits

    def types(self) -> list[str]:
        return [self.type, vector_of("i64", self.lanes)]

    def partial_types(self) -> list[str]:
        return [self.type, vector_of("i32", self.lanes)]

    def initial(self) -> list[str]:
        return self.identity()

    def identity(self) -> list[str]:
        (worst,) = self.neutral_vector()
        return [worst, "0" if self.lanes == 1 else "zeroinitializer"]

    def add(
        self, partials: Sequence[str], value: Register, mask: str | None, step: str = ""
    ) -> list[str]:
        value = self._wide(value)
        better = self._beats(value, partials[0], self.lanes)
        if mask is not None:
            better = self.f.emit(f"and {vector_of('i1', self.lanes)} {better}, {mask}")
        return self._chosen(better, [value, step], partials, self.partial_types(), self.lanes)

    def follow(self, state: Sequence[Register], value: Register, place: str) -> list[str]:
        """An extremum and its place, as they are in memory, with an element merged in whose place
        is behind all they have seen; it is the same in all lanes."""
        best, before = state
        better = self._beats(self._wide(value), self._wide(best), self.lanes)
        here = Lanes(self.f, self.lanes).spread(place, ["i64"])
        types = [vector_of(register_type(t), self.lanes) for t in (self.store.value.dtype, I64)]
        return self._chosen(
            better, [str(value), str(here)], [str(best), str(before)], types, self.lanes
        )

    def joined(self, before: Sequence[Register], state: Sequence[str]) -> list[str]:
        """The better one of an extremum and its place in memory, and of a state."""
        best, place = before
        narrow = replace(self, lanes=1)
        return self._first([narrow._wide(best), str(place)], self._winner(state), 1)

    def _wide(self, value: Register) -> str:
        """As it is compared."""
        assert isinstance(value, str)
        dtype = self.store.value.dtype
        return widened(self.f.emit, value, dtype, self.lanes) if is_half(dtype) else value

    def neutral(self) -> Register:
        return "0"

    def placed(self, partials: Sequence[str], begin: str, stride: str) -> list[str]:
        """Partials with positions instead of steps: those of elements `stride` apart, the first
        of them at `begin`."""
        f, lanes = self.f, Lanes(self.f, self.lanes)
        wide = vector_of("i64", self.lanes)
        at = f.emit(f"zext {vector_of('i32', self.lanes)} {partials[1]} to {wide}")
        if self.lanes > 1:
            at = f.emit(f"add {wide} {at}, {lanes.numbers('i64')}")
        at = f.emit(f"mul {wide} {at}, {lanes.spread(stride, ['i64'])}")
        at = f.emit(f"add {wide} {at}, {lanes.spread(begin, ['i64'])}")
        # A lane that nothing was good enough for has no place of its own.
        (worst,) = self.neutral_vector()
        seen = self._beats(partials[0], worst, self.lanes)
        none = self.identity()[1]
        at = f.emit(f"select {vector_of('i1', self.lanes)} {seen}, {wide} {at}, {wide} {none}")
        return [partials[0], at]

    def absorb(self, state: Sequence[str], copies: Sequence[Sequence[str]]) -> list[str]:
        best = list(state)
        for copy in copies:
            best = self._first(best, copy, self.lanes)
        return best

    def result(self, state: Sequence[str]) -> Register:
        return self._winner(state)[1]

    def write_both(self, state: Sequence[str], pointer: str) -> None:
        """The position, and beside it the extremum: what `saved` reads."""
        best, position = self._winner(state)
        store(self.f, position, pointer, I64)
        store(self.f, best, self.f.offset(pointer, _BESIDE), self.dtype)

    def saved(self, pointer: str) -> list[str]:
        best = load(self.f, self.f.offset(pointer, _BESIDE), self.dtype)
        position = load(self.f, pointer, I64)
        assert isinstance(best, str)
        assert isinstance(position, str)
        return [best, position]

    # --- comparisons ----------------------------------------------------------------------------
    def _beats(self, a: str, b: str, lanes: int) -> str:
        """Whether a is the better one: NaN is better than every number."""
        f, type_ = self.f, vector_of(register_type(self.dtype), lanes)
        word = "gt" if self.combine == "maximum" else "lt"
        if kind_of(self.dtype) != "f":
            sign = "s" if self.dtype.kind == "i" else "u"
            return f.emit(f"icmp {sign}{word} {type_} {a}, {b}")
        better = f.emit(f"fcmp u{word} {type_} {a}, {b}")
        number = f.emit(f"fcmp ord {type_} {b}, {b}")
        return f.emit(f"and {vector_of('i1', lanes)} {better}, {number}")

    def _first(self, a: Sequence[str], b: Sequence[str], lanes: int) -> list[str]:
        """Of two states the better one, of equal ones that with the lower position."""
        f, bits = self.f, vector_of("i1", lanes)
        behind = self._beats(a[0], b[0], lanes)
        better = self._beats(b[0], a[0], lanes)
        earlier = f.emit(f"icmp slt {vector_of('i64', lanes)} {b[1]}, {a[1]}")
        # Nobody is better than itself: "earlier" counts where neither is.
        not_behind = f.emit(f"xor {bits} {behind}, {Lanes(f, lanes).spread('true', ['i1'])}")
        tie = f.emit(f"and {bits} {earlier}, {not_behind}")
        chosen = f.emit(f"or {bits} {better}, {tie}")
        types = [vector_of(t, lanes) for t in (register_type(self.dtype), "i64")]
        return self._chosen(chosen, b, a, types, lanes)

    def _chosen(
        self, which: str, yes: Sequence[str], no: Sequence[str], types: Sequence[str], lanes: int
    ) -> list[str]:
        bits = vector_of("i1", lanes)
        return [self.f.emit(f"select {bits} {which}, {t} {a}, {t} {b}")
                for t, a, b in zip(types, yes, no, strict=True)]  # fmt: skip

    def _winner(self, state: Sequence[str]) -> list[str]:
        """The best of all lanes: halves against each other, until one is left."""
        best, lanes = list(state), self.lanes
        types = (register_type(self.dtype), "i64")
        while lanes > 1:
            lanes //= 2
            low, high = ([self._part(t, r, lanes, side) for t, r in zip(types, best, strict=True)]
                         for side in (0, 1))  # fmt: skip
            best = self._first(low, high, lanes)
        return best

    def _part(self, type_: str, register: str, lanes: int, side: int) -> str:
        whole = vector_of(type_, 2 * lanes)
        if lanes == 1:
            return self.f.emit(f"extractelement {whole} {register}, i64 {side}")
        order = ", ".join(f"i32 {k + side * lanes}" for k in range(lanes))
        return self.f.emit(
            f"shufflevector {whole} {register}, {whole} poison, <{lanes} x i32> <{order}>"
        )


@dataclass(frozen=True, slots=True)
class Running(Accumulator):
    """Running totals: the state is the total so far, in all lanes, and is carried from copy to
    copy; every point stores its own."""

    @property
    def is_compensated(self) -> bool:
        return False

    def initial(self) -> list[str]:
        """What changes nothing: for sums not 0.0, to which -0.0 would be lost."""
        none = combining(self.combine).identity(self.dtype)
        if self.combine == "add" and kind_of(self.dtype) == "f":
            none = -0.0
        one = splat(register_type(self.dtype), constant(self.dtype, none), self.lanes)
        return [one] * self.parts

    def begun(self, state: Sequence[str], copies: int) -> list[tuple[str, str]]:
        return list(zip(self.types(), state, strict=True))

    def follow(self, state: Sequence[str], value: Register) -> tuple[Register, list[str]]:
        """The totals of the lanes, and the total of them all."""
        values = [value] if isinstance(value, str) else list(value)
        totals, after = [], []
        for before, none, one in zip(state, self.initial(), values, strict=True):
            within = self._within(one, none)
            totals.append(self._sum(before, within))
            # Not the last lane of what was just added: so rounds wait for one addition only.
            after.append(self._sum(before, self._last(within)))
        return (totals[0] if len(totals) == 1 else (totals[0], totals[1])), after

    def single(self, state: Sequence[str]) -> list[str]:
        """The state of one lane."""
        return [self.f.emit(f"extractelement {self.type} {r}, i64 0") for r in state]

    def _sum(self, a: str, b: str) -> str:
        return combined(self.f, self.combine, self.dtype, a, b, self.lanes)

    def _within(self, register: str, none: str) -> str:
        """Of each lane what the lanes up to it come to."""
        distance = 1
        while distance < self.lanes:
            order = ", ".join(f"i32 {self.lanes + k - distance if k >= distance else 0}"
                              for k in range(self.lanes))  # fmt: skip
            moved = self.f.emit(f"shufflevector {self.type} {none}, {self.type} {register}, "
                                f"<{self.lanes} x i32> <{order}>")  # fmt: skip
            register = self._sum(moved, register)
            distance *= 2
        return register

    def _last(self, register: str) -> str:
        """The last lane in all lanes."""
        if self.lanes == 1:
            return register
        return self.f.emit(f"shufflevector {self.type} {register}, {self.type} poison, "
                           f"<{self.lanes} x i32> splat (i32 {self.lanes - 1})")  # fmt: skip


def accumulator(f: FunctionBuilder, store: Store, lanes: int) -> Accumulator:
    """What combines a store in registers."""
    if store.running is not None:
        return Running(f, store, lanes)
    kind = Accumulator if store.places is None else FirstPlace
    return kind(f, store, lanes)
