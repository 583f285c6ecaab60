"""Reductions in registers: vectors of partial results, and how they become one.

A sum of floats is made of blocks: within a block each lane adds at most `BLOCK` values to each of
its partial sums, whose total then joins the sum so far by Knuth's two-sum, which keeps what
rounding loses in a second register. The error is that of adding some twenty numbers, however many
there are: no more than that of NumPy's pairwise sum, which starts from runs of sixteen
(D. E. Knuth, The Art of Computer Programming, vol. 2, 4.2.2, theorem B).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitgraph.codegen.expansions import part_dtype
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.registers import (
    F16,
    Register,
    constant_register,
    load,
    narrowed,
    register_type,
    splat,
    vector_of,
    widened,
)
from jitgraph.errors import InternalError
from jitgraph.ir.kernel import Store
from jitgraph.ir.opdef import OPS
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.types import DTYPE_NAMES, F32, DType, is_bfloat16, kind_of

#: Additions a lane makes before its sum joins the compensated one.
BLOCK = 16
#: What partial results of halves are rounded by, unless they are floats.
_ROUNDED = ("add", "multiply")


def combining(combine: str | None) -> Reduction:
    """The reduction that merges by an op."""
    for definition in OPS.values():
        if isinstance(definition, Reduction) and definition.combine == combine:
            return definition
    raise InternalError(f"no reduction combines by {combine}")


def combined(f: FunctionBuilder, combine: str, dtype: DType, a: str, b: str, lanes: int) -> str:
    """Two partial results of a real dtype merged."""
    if is_bfloat16(dtype):
        merged = combined(f, combine, F32, a, b, lanes)
        return narrowed(f.emit, merged, dtype, lanes) if combine in _ROUNDED else merged
    type_, kind = vector_of(register_type(dtype), lanes), kind_of(dtype)
    suffix = ("" if lanes == 1 else f"v{lanes}") + DTYPE_NAMES[dtype].replace("u", "i")
    match combine, kind:
        case ("add" | "multiply"), "f":
            return f.emit(f"f{combine[:3]} {type_} {a}, {b}")
        case ("add" | "multiply"), _:
            return f.emit(f"{combine[:3]} {type_} {a}, {b}")
        case ("maximum" | "minimum"), "f":
            name = f"@llvm.{combine}.{suffix}"
            f.module.declare(f"declare {type_} {name}({type_}, {type_})")
            # NumPy does not say which of two zeros is the larger.
            return f.emit(f"call nsz {type_} {name}({type_} {a}, {type_} {b})")
        case ("maximum" | "minimum"), "b":
            return f.emit(f"{'or' if combine == 'maximum' else 'and'} {type_} {a}, {b}")
        case ("maximum" | "minimum"), _:
            name = f"@llvm.{'s' if kind == 'i' else 'u'}{combine[:3]}.{suffix}"
            f.module.declare(f"declare {type_} {name}({type_}, {type_})")
            return f.emit(f"call {type_} {name}({type_} {a}, {type_} {b})")
        case ("logical_or" | "logical_and"), _:
            return f.emit(f"{combine.removeprefix('logical_')} {type_} {a}, {b}")
    raise InternalError(f"no reduction by {combine} of {dtype}")


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One reduction in registers. Its *state* is what loops around the innermost one carry, its
    *partials* what the innermost loop does: per part (real, imaginary) one vector per copy of the
    loop's body."""

    f: FunctionBuilder
    store: Store
    lanes: int

    @property
    def combine(self) -> str:
        assert self.store.combine is not None
        return self.store.combine

    @property
    def dtype(self) -> DType:
        """What is accumulated: sums and products of halves are floats, as in NumPy."""
        part = part_dtype(self.store.value.dtype)
        return F32 if is_bfloat16(part) or (part == F16 and self.combine in _ROUNDED) else part

    @property
    def parts(self) -> int:
        return 2 if self.store.value.dtype.kind == "c" else 1

    @property
    def is_compensated(self) -> bool:
        return self.combine == "add" and kind_of(self.dtype) == "f"

    @property
    def type(self) -> str:
        return vector_of(register_type(self.dtype), self.lanes)

    @property
    def block(self) -> int | None:
        """The longest stretch of the innermost loop, in steps, after which partials must join the
        state."""
        return BLOCK if self.is_compensated else None

    def identity(self) -> list[str]:
        """Fresh partials of one copy: a register per part."""
        return self.neutral_vector()

    def neutral_vector(self) -> list[str]:
        """What changes nothing, in all lanes: a register per part."""
        dtype = self.dtype
        neutral = constant_register(dtype.type(combining(self.combine).identity(dtype)))
        parts = [neutral, "0"] if isinstance(neutral, str) else list(neutral)
        if self.parts == 2:  # of a complex product it is 1 + 0i, but those are no reductions
            parts = [parts[0], parts[0]]
        return [splat(register_type(dtype), p, self.lanes) for p in parts[: self.parts]]

    def neutral(self) -> Register:
        """What memory holds before anything is combined with it."""
        part = part_dtype(self.store.value.dtype)
        text = constant(part, combining(self.combine).identity(part))
        return text if self.parts == 1 else (text, text)

    def initial(self) -> list[str]:
        """The state before anything was seen."""
        if not self.is_compensated:
            return self.identity()
        zero = splat(register_type(self.dtype), constant(self.dtype, 0), self.lanes)
        return [zero] * (2 * self.parts)

    def types(self) -> list[str]:
        """Of the registers of a state."""
        return [self.type] * len(self.initial())

    def partial_types(self) -> list[str]:
        """Of the partials of one copy."""
        return [self.type] * self.parts

    def begun(self, state: Sequence[str], copies: int) -> list[tuple[str, str]]:
        """What a block begins with, and its types."""
        return list(zip(self.partial_types(), self.identity(), strict=True)) * copies

    def add(
        self, partials: Sequence[str], value: Register, mask: str | None, step: str = ""
    ) -> list[str]:
        """Partials of one copy, with a value merged into the lanes of the mask. `step` counts the
        elements since the block began, in all lanes."""
        values = [value] if isinstance(value, str) else list(value)
        merged = []
        for before, one in zip(partials, values, strict=True):
            if part_dtype(self.store.value.dtype) != self.dtype:
                one = widened(self.f.emit, one, self.store.value.dtype, self.lanes)
            after = combined(self.f, self.combine, self.dtype, before, one, self.lanes)
            if mask is not None:
                bits = vector_of("i1", self.lanes)
                after = self.f.emit(
                    f"select {bits} {mask}, {self.type} {after}, {self.type} {before}"
                )
            merged.append(after)
        return merged

    def placed(self, partials: Sequence[str], begin: str, stride: str) -> list[str]:
        """The partials of a block as `absorb` wants them."""
        return list(partials)

    def widened(self, single: Sequence[str], lanes: int) -> list[str]:
        """The placed partials of an accumulator of one lane, in the first of several lanes."""
        wide = replace(self, lanes=lanes)
        return [
            self.f.emit(f"insertelement {vector_of(type_, lanes)} {identity}, {type_} {one}, i64 0")
            for type_, identity, one in zip(self.types(), wide.identity(), single, strict=False)
        ]

    def absorb(self, state: Sequence[str], copies: Sequence[Sequence[str]]) -> list[str]:
        """The state, with the partials of all copies merged into it."""
        totals = []
        for part in range(self.parts):
            several = [copy[part] for copy in copies]
            while len(several) > 1:
                pairs = zip(several[::2], several[1::2], strict=False)
                odd = several[len(several) & ~1 :]
                several = [self._merge(a, b) for a, b in pairs] + odd
            totals.append(several[0])
        if not self.is_compensated:
            return [self._merge(a, b) for a, b in zip(state, totals, strict=True)]
        after: list[str] = []
        for part, total in enumerate(totals):
            after += self._two_sum(state[2 * part], state[2 * part + 1], total)
        return after

    def united(self, state: Sequence[str], other: Sequence[str]) -> list[str]:
        """A state with another one merged into it."""
        if not self.is_compensated:
            return self.absorb(state, [other])
        after = self.absorb(state, [other[::2]])
        for part in range(self.parts):
            lost = (after[2 * part + 1], other[2 * part + 1])
            after[2 * part + 1] = self.f.emit(f"fadd {self.type} {lost[0]}, {lost[1]}")
        return after

    def _merge(self, a: str, b: str) -> str:
        return combined(self.f, self.combine, self.dtype, a, b, self.lanes)

    def _two_sum(self, sum_: str, lost: str, more: str) -> list[str]:
        f, type_ = self.f, self.type
        total = f.emit(f"fadd {type_} {sum_}, {more}")
        virtual = f.emit(f"fsub {type_} {total}, {sum_}")
        old = f.emit(f"fsub {type_} {total}, {virtual}")
        old_lost = f.emit(f"fsub {type_} {sum_}, {old}")
        more_lost = f.emit(f"fsub {type_} {more}, {virtual}")
        error = f.emit(f"fadd {type_} {old_lost}, {more_lost}")
        return [total, f.emit(f"fadd {type_} {lost}, {error}")]

    def saved(self, pointer: str) -> list[str]:
        """What another accumulator left in memory, as `absorb` wants it."""
        before = load(self.f, pointer, self.store.value.dtype)
        return self.add(self.identity(), before, None)

    def result(self, state: Sequence[str]) -> Register:
        """The one value the lanes come to."""
        if self.is_compensated:
            parts = [self._compensated(*state[2 * k : 2 * k + 2]) for k in range(self.parts)]
        else:
            parts = [self._across(register) for register in state]
        if part_dtype(self.store.value.dtype) != self.dtype:
            parts = [narrowed(self.f.emit, p, self.store.value.dtype, 1) for p in parts]
        return parts[0] if len(parts) == 1 else (parts[0], parts[1])

    def _compensated(self, sum_: str, lost: str) -> str:
        """Where the sum is infinite or NaN, what was lost is NaN and means nothing."""
        f, type_ = self.f, register_type(self.dtype)
        total, rest = self._across(sum_), self._across(lost)
        both = f.emit(f"fadd {type_} {total}, {rest}")
        sound = f.emit(f"fcmp ord {type_} {rest}, {constant(self.dtype, 0)}")
        return f.emit(f"select i1 {sound}, {type_} {both}, {type_} {total}")

    def _across(self, register: str) -> str:
        """The lanes of a vector merged."""
        if self.lanes == 1:
            return register
        f, type_, kind = self.f, register_type(self.dtype), kind_of(self.dtype)
        suffix = f"v{self.lanes}{DTYPE_NAMES[self.dtype].replace('u', 'i')}"
        if kind == "b":
            word = "or" if self.combine in ("maximum", "logical_or") else "and"
            return self._horizontal(f"{word}.v{self.lanes}i1", register)
        name = self.combine[:3] if self.combine in ("add", "multiply") else self.combine
        if kind != "f":
            sign = "" if name in ("add", "mul") else ("s" if kind == "i" else "u")
            return self._horizontal(f"{sign}{name[:3]}.{suffix}", register)
        if name in ("add", "mul"):
            full = f"@llvm.vector.reduce.f{name}.{suffix}"
            first = constant(self.dtype, -0.0 if name == "add" else 1)
            f.module.declare(f"declare {type_} {full}({type_}, {self.type})")
            return f.emit(f"call reassoc {type_} {full}({type_} {first}, {self.type} {register})")
        return self._horizontal(f"f{name}.{suffix}", register, "nsz ")

    def _horizontal(self, name: str, register: str, flags: str = "") -> str:
        type_, function = register_type(self.dtype), f"@llvm.vector.reduce.{name}"
        self.f.module.declare(f"declare {type_} {function}({self.type})")
        return self.f.emit(f"call {flags}{type_} {function}({self.type} {register})")


def constant(dtype: DType, number: float) -> str:
    """A real number as an operand."""
    text = constant_register(dtype.type(number))
    assert isinstance(text, str)
    return text
