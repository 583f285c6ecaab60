"""What a compiled program takes and gives: the face it shows to the entry and to the runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jitgraph.ir.function import Function
from jitgraph.ir.order import Order, open_axes
from jitgraph.ir.types import Extent, is_bfloat16, kind_of

#: What a program returns where a native routine failed: beyond the numbers of all its checks.
ROUTINE_FAILED = 1 << 40


@dataclass(frozen=True)
class ParamSpec:
    """An array the program reads.

    `dims` are the extents, None where any will do; `not_one` tells which of those unknown extents
    must not be 1 in this variant. `order` tells how the array lies in memory:
    exactly one order fits. `shared_slot` is the address of a shared variable's cells: such a
    parameter is read from there and is no call argument.
    """

    dtype: np.dtype[Any]
    dims: tuple[int | None, ...]
    not_one: tuple[bool, ...]
    order: Order
    shared_slot: int | None = None

    def __post_init__(self) -> None:
        singleton(self.dtype)
        if len(self.dims) != len(self.not_one):
            raise ValueError("dims and not_one must have one entry per axis")


@dataclass(frozen=True)
class OutputSpec:
    """An array the program makes: returned to the caller, or the new value of a shared variable
    whose cells are at `slot`."""

    kind: Literal["result", "update"]
    dtype: np.dtype[Any]
    rank: int
    slot: int | None = None

    def __post_init__(self) -> None:
        if (self.kind == "update") != (self.slot is not None):
            raise ValueError("an update needs a slot, and a result has none")


def program_parameters(params: Sequence[ParamSpec]) -> list[str]:
    """The LLVM parameters of `@program`, in order: `ptr %x0`, `i64 %x0.extent0`, ..., `i64
    %x0.stride0`, ..., `ptr %outs`; strides only of axes that may have any."""
    parameters = []
    for i, param in enumerate(params):
        rank = len(param.dims)
        parameters.append(f"ptr %x{i}")
        parameters += [f"i64 %x{i}.extent{axis}" for axis in range(rank)]
        parameters += [f"i64 %x{i}.stride{axis}" for axis in open_axes(param.order)]
    return [*parameters, "ptr %outs"]


def slot_table(outputs: int) -> str:
    """The definition of `@slots`, the cells of the shared variables that the outputs belong to
    (null for a result). It must be filled once the program is loaded."""
    return f"@slots = dso_local global [{outputs} x ptr] zeroinitializer, align 8"


def slot_of_output(output: int) -> str:
    """The operand that points at an output's place in `@slots`."""
    return f"ptr getelementptr inbounds (i8, ptr @slots, i64 {8 * output})"


def singleton(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """NumPy's own descriptor object for a native builtin dtype (unpickled ones are copies)."""
    if not dtype.isnative or kind_of(dtype) not in "biufc" or dtype.char in "gG":
        raise ValueError(f"compiled programs cannot take arrays of {dtype!r}")
    return np.dtype(dtype.type if is_bfloat16(dtype) else dtype.char)


def alias_number(dtype: np.dtype[Any]) -> int:
    """The number of the other C type with the same representation (long and long long), or the
    dtype's own."""
    twins = (np.dtype(char) for char in "ilqILQ")
    same = [d.num for d in twins if d == dtype and d.num != dtype.num]
    return same[0] if same else dtype.num


@dataclass(frozen=True, slots=True)
class Signature:
    """The program's face to the entry."""

    params: tuple[ParamSpec, ...]
    outputs: tuple[OutputSpec, ...]


def signature_of(
    fn: Function,
    orders: Sequence[Order],
    param_slots: Sequence[int | None],
    result_slots: Sequence[int | None],
) -> Signature:
    """The parameters and outputs of the native function, from the specialised graph."""
    params = []
    for param, order, slot in zip(fn.params, orders, param_slots, strict=True):
        dims = tuple(d if isinstance(d, int) else None for d in param.type.shape)
        not_one = tuple(isinstance(d, Extent) and d.not_one for d in param.type.shape)
        params.append(ParamSpec(param.dtype, dims, not_one, order, slot))
    outputs = [
        OutputSpec("result" if slot is None else "update", r.dtype, r.ndim, slot)
        for r, slot in zip(fn.results, result_slots, strict=True)
    ]
    return Signature(tuple(params), tuple(outputs))


def equal_extents(fn: Function) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Axes of parameters that bear the same extent name."""
    first: dict[str, tuple[int, int]] = {}
    pairs = []
    for k, param in enumerate(fn.params):
        for axis, dim in enumerate(param.type.shape):
            if isinstance(dim, Extent):
                at = first.setdefault(dim.name, (k, axis))
                if at != (k, axis):
                    pairs.append((at, (k, axis)))
    return pairs
