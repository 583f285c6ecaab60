"""Batching: what an op does to one element => what it does to many at once.

    y = x @ w for each x of X   =>   Y = X @ w

An operand that differs from element to element is *batched*: it has the elements along a new first
axis. The rule of an op (`OpDef.batch`) is called if any operand is, and builds the result of all
elements, batched in turn; a result of the rank that the op gives for one element is the same for
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jitgraph.errors import BatchingError
from jitgraph.ir.opdef import OPS, OpDef, Size, emit, split_sizes
from jitgraph.ir.values import Value


@dataclass(frozen=True, slots=True)
class Batch:
    """What a rule is told: the op, how many elements there are, which operands are batched."""

    definition: OpDef
    size: Size
    flags: tuple[bool, ...]

    def rank(self, k: int, args: Sequence[Value]) -> int:
        """The rank that operand k has for one element."""
        return args[k].ndim - self.flags[k]

    def aligned(self, args: Sequence[Value], rank: int | None = None) -> list[Value]:
        """Operands that broadcast as those of one element do: batched ones get axes of extent 1
        behind the first, up to `rank` (that of the operand with most)."""
        ranks = [self.rank(k, args) for k in range(len(args))]
        rank = max(ranks, default=0) if rank is None else rank
        return [
            _expanded(a, range(1, 1 + rank - r)) if self.flags[k] else a
            for k, (a, r) in enumerate(zip(args, ranks, strict=True))
        ]

    def spread(self, k: int, args: Sequence[Value]) -> Value:
        """Operand k, batched even if it is the same for all elements."""
        x = args[k]
        if self.flags[k]:
            return x
        sizes = [emit(OPS["dim"], (x,), axis=a) if d is None or not isinstance(d, int) else d
                 for a, d in enumerate(x.type.shape)]  # fmt: skip
        static, dynamic = split_sizes((self.size, *sizes))
        return emit(OPS["broadcast_to"], (x, *dynamic), shape=static)

    def among(self, start: int, stop: int | None = None) -> bool:
        """Whether an operand from `start` on is batched."""
        return any(self.flags[start:stop])

    def demand_common(self, start: int) -> None:
        """Sizes, from operand `start` on, must be those of all elements."""
        if self.among(start):
            raise BatchingError(
                f"the sizes of a {self.definition.name} differ from element to element of a vmap, "
                "and such arrays cannot be stacked",
                hint="compute the size outside the vmap, or mask the elements with T.where",
            )


def _expanded(x: Value, axes: Sequence[int]) -> Value:
    return emit(OPS["expand_dims"], (x,), axes=tuple(axes)) if len(axes) else x


# --- rules that many ops share -------------------------------------------------------------------
def elementwise(batch: Batch, *args: Value, **attrs: Any) -> Value:
    """For ops of operands that broadcast, and for ops that keep the shape of one operand."""
    return emit(batch.definition, batch.aligned(args), **attrs)


def along_axes(batch: Batch, x: Value, *, axes: tuple[int, ...], **attrs: Any) -> Value:
    """For ops of one operand along some axes."""
    return emit(batch.definition, (x,), axes=tuple(a + 1 for a in axes), **attrs)


def along_axis(batch: Batch, *args: Value, axis: int, **attrs: Any) -> Value:
    """For ops along one axis whose operands have the same rank."""
    spread = [batch.spread(k, args) for k in range(len(args))]
    return emit(batch.definition, spread, axis=axis + 1, **attrs)


def along_rows(batch: Batch, *args: Value, **attrs: Any) -> Value:
    """For routines that work on the last axes of all their arrays; scalars tell them how."""
    for k in range(len(args)):
        if batch.flags[k] and not batch.rank(k, args):
            raise BatchingError(
                f"a parameter of {batch.definition.name} differs from element to element of a vmap",
                hint="it must be the same for all",
            )
    whole = [batch.spread(k, args) if batch.rank(k, args) else a for k, a in enumerate(args)]
    return emit(batch.definition, whole, **attrs)
