"""Expansions of the math library as templates: ops in order, built once per dtype and process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from jitgraph.codegen.mathlib import COMPLEX, EXPANSIONS
from jitgraph.errors import InternalError
from jitgraph.ir.opdef import Attrs, Expand, OpDef, Rejection, apply_op, building_with
from jitgraph.ir.types import DTYPE_NAMES, DType, Type, computed_in
from jitgraph.ir.values import Op, Value


def part_dtype(dtype: DType) -> DType:
    """The dtype of a complex dtype's parts; a real dtype itself."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


@dataclass(frozen=True, slots=True)
class Template:
    """An expansion over parameters: ops in order, and the parts of the result."""

    params: tuple[Value, ...]
    steps: tuple[tuple[Value, Op], ...]
    results: tuple[Value, ...]


class _Sharing:
    """An emitter that returns the value it made before for an equal op."""

    def __init__(self) -> None:
        self._made: dict[Any, Value] = {}
        self.steps: list[tuple[Value, Op]] = []

    def emit(self, definition: OpDef, args: tuple[Value, ...], attrs: Attrs) -> Value:
        operands = tuple(a.literal or a for a in args)
        key = (definition, operands, tuple(attrs.items()))
        if (value := self._made.get(key)) is None:
            value = self._made[key] = apply_op(definition, args, attrs, None)
            assert value.op is not None
            self.steps.append((value, value.op))
        return value


@cache
def expansion(name: str, dtypes: tuple[DType, ...]) -> Template:
    """The expansion of an op for operands of `dtypes`. Complex operands come as their parts."""
    table = COMPLEX if any(d.kind == "c" for d in dtypes) else EXPANSIONS
    if name not in table:
        names = ", ".join(DTYPE_NAMES[d] for d in dtypes)
        raise InternalError(f"{name} has no scalar code for {names}")
    return template(table[name], dtypes)


@cache
def template(function: Callable[..., Any], dtypes: tuple[DType, ...]) -> Template:
    """What a function of values does with operands of `dtypes`."""
    sharing = _Sharing()
    params: list[Value] = []
    operands: list[Any] = []
    for dtype in dtypes:
        parts = [Value(Type(part_dtype(dtype))) for _ in range(1 + (dtype.kind == "c"))]
        params += parts
        operands.append(parts[0] if len(parts) == 1 else tuple(parts))
    with building_with(sharing):
        result = function(*operands)
    results = result if isinstance(result, tuple) else (result,)
    used = _reachable(results, sharing.steps)
    return Template(tuple(params), used, results)


def one_round(how: Rejection, dtypes: tuple[DType, ...]) -> Template:
    """One round of an op that draws by rejection: its number and states come first."""
    return template(how.propose, (np.dtype("u8"), *[np.dtype("f8")] * how.states, *dtypes))


def _reachable(
    results: Sequence[Value], steps: Sequence[tuple[Value, Op]]
) -> tuple[tuple[Value, Op], ...]:
    """The steps that the results depend on."""
    needed = set(results)
    kept = []
    for value, op in reversed(steps):
        if value in needed:
            needed.update(op.args)
            kept.append((value, op))
    return tuple(reversed(kept))


def op_length(value: Value) -> int:
    """About how many instructions an op is."""
    op = value.op
    if op is None or op.name == "constant":
        return 0
    if isinstance(op.definition.lower, Rejection):
        return len(one_round(op.definition.lower, tuple(a.dtype for a in op.args)).steps)
    if not isinstance(op.definition.lower, Expand) or any(a.dtype.kind == "c" for a in op.args):
        return 1
    dtypes = tuple(computed_in(a.dtype) for a in op.args)
    return len(expansion(op.name, dtypes).steps)
