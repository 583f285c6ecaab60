"""LLVM instructions that no op in the tables stands for, as ops for expansions to build with.

They are not registered: no program contains them, only the scalar code of the library does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jitgraph.errors import InternalError
from jitgraph.ir.opdef import Attrs, OpDef, emit
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value


@dataclass(frozen=True, slots=True)
class Native:
    """An instruction as text. `{0}`, `{1}` stand for the operands, `{t}` for the register type of
    the first, `{r}` for that of the result; `{m}` is the type in names of intrinsics (`f64`).

    `declaration` has the lines that the module needs; `functions` the scalar functions, by name,
    each of which is put into the module once, and vectors call for each lane. `library` names a
    library compiled once and the function of it that is called. With `beyond`, the function is only
    needed where the first operand is finite and larger in size: elsewhere it gives the other two
    operands, as a pair. With `scalar_only`, vectors are their first operand instead.
    """

    text: str
    declaration: str = ""
    functions: Mapping[str, str] = field(default_factory=dict)
    library: tuple[str, str] | None = None
    beyond: float | None = None
    scalar_only: bool = False


@dataclass(frozen=True, slots=True)
class Lookup:
    """The element of a short table that the low bits of the operand, an integer, tell."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rarely:
    """The second operand, or, if the first (a bool) holds in any lane, what the function makes of
    the others, in all lanes."""

    function: Callable[..., Value]


def _no_evaluation(*operands: Any, **attrs: Any) -> Any:
    raise InternalError("native instructions are not evaluated")


def native(
    name: str,
    text: str,
    *,
    declaration: str = "",
    functions: Mapping[str, str] | None = None,
    library: tuple[str, str] | None = None,
    beyond: float | None = None,
    scalar_only: bool = False,
) -> Callable[..., Value]:
    """A function that builds the instruction; its result has the first operand's dtype, or the
    one given as `dtype`."""

    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        return types[0].with_dtype(attrs["dtype"])

    op = OpDef(
        name=name,
        infer=infer,
        evaluate=_no_evaluation,
        shape=_no_evaluation,
        lower=Native(  # type: ignore[arg-type]
            text, declaration, functions or {}, library, beyond, scalar_only
        ),
    )

    def build(*operands: Value, dtype: Any = None) -> Value:
        return emit(op, operands, dtype=operands[0].dtype if dtype is None else dtype)

    return build


@cache
def _lookup_op(values: tuple[float, ...]) -> OpDef:
    return OpDef(
        name="lookup",
        infer=lambda types, attrs: types[0].with_dtype(attrs["dtype"]),
        evaluate=_no_evaluation,
        shape=_no_evaluation,
        lower=Lookup(values),  # type: ignore[arg-type]
    )


def lookup(index: Value, values: tuple[float, ...], dtype: Any) -> Value:
    """`values[index % len(values)]` in `dtype`, as wide as the index; for powers of two of them."""
    return emit(_lookup_op(values), (index,), dtype=dtype)


@cache
def _rarely_op(function: Callable[..., Value]) -> OpDef:
    return OpDef(
        name=f"rarely_{function.__name__}",
        infer=lambda types, attrs: types[1],
        evaluate=_no_evaluation,
        shape=_no_evaluation,
        lower=Rarely(function),  # type: ignore[arg-type]
    )


def rarely(
    unusual: Value, usual: Value, function: Callable[..., Value], *operands: Value
) -> Value:
    """`usual`, or `function(*operands)` in all lanes of a vector if one of them is `unusual`: for
    what costs more than a branch."""
    return emit(_rarely_op(function), (unusual, usual, *operands))


def _float_intrinsic(name: str) -> Callable[..., Value]:
    function = f"@llvm.{name}.{{m}}"
    return native(name, f"call {{t}} {function}({{t}} {{0}})",
                  declaration=f"declare {{t}} {function}({{t}})")  # fmt: skip


fabs = _float_intrinsic("fabs")
floor = _float_intrinsic("floor")
ceil = _float_intrinsic("ceil")
trunc = _float_intrinsic("trunc")

#: The operand itself, which an optimiser takes for anything. (It looks into scalar code only.)
unfollowed = native("unfollowed", 'call {t} asm "", "=r,0"({t} {0})', scalar_only=True)

#: Bits shifted out come in at the other end.
rotate_left = native("rotate_left", "call {t} @llvm.fshl.{m}({t} {0}, {t} {0}, {t} {1})",
                     declaration="declare {t} @llvm.fshl.{m}({t}, {t}, {t})")  # fmt: skip

#: Shifts by less than the width; a larger count is poison.
shl = native("shl", "shl {t} {0}, {1}")
lshr = native("lshr", "lshr {t} {0}, {1}")
ashr = native("ashr", "ashr {t} {0}, {1}")

#: Division by nonzero; INT_MIN / -1 is undefined behaviour.
sdiv = native("sdiv", "sdiv {t} {0}, {1}")
udiv = native("udiv", "udiv {t} {0}, {1}")
srem = native("srem", "srem {t} {0}, {1}")
urem = native("urem", "urem {t} {0}, {1}")
