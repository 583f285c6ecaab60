"""What a function takes and gives: `In`, `Out`, and what becomes of the arguments of a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, InputError, JitgraphError, Operand, ShapeError
from jitgraph.ir.types import DTYPE_NAMES, can_cast, kind_of
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.tensor.shared import SharedVariable


@dataclass(frozen=True, slots=True, eq=False)
class In:
    """An input with more to say than its type.

    value: what a call that does not give the input computes with. name: the keyword of a call, by
    default the variable's name. update: an expression that becomes the value after each call (it is
    kept by the function; `f[variable]` reads and sets it). strict: take arrays of exactly the dtype
    only. allow_downcast: as `allow_input_downcast` of `function`, for this input. borrow, mutable:
    permissions to keep or to overwrite what is passed, which compiled functions never need.
    """

    variable: Any
    name: str | None = None
    value: Any = None
    update: Any = None
    mutable: bool = False
    strict: bool = False
    allow_downcast: bool | str | None = None
    borrow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Out:
    """An output. With `borrow` it might be memory that the function uses again; results always are
    the caller's own."""

    variable: Any
    borrow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """An input as a call sees it. `default` holds what a call computes with that does not give
    it."""

    variable: Value
    keyword: str | None
    default: SharedVariable | None = None
    downcast: bool | str | None = None
    strict: bool = False

    @property
    def particular(self) -> bool:
        """Whether numbers without a dtype must be looked at before they are taken."""
        return self.strict or self.downcast is False


def arguments_for(inputs: Sequence[Value]) -> tuple[Argument, ...]:
    """Inputs of which nothing is said but what they are."""
    return tuple(Argument(variable, variable.name) for variable in inputs)


# --- calls -------------------------------------------------------------------------------------
def by_input(
    label: str, arguments: Sequence[Argument], args: Sequence[Any], kwargs: dict[str, Any]
) -> list[Any]:
    """What a call gives for each input, by position, by name or by default; raises InputError."""
    if len(args) > len(arguments):
        raise _wrong_call(label, arguments, f"{len(args)} inputs given, {len(arguments)} wanted")
    given, missing = list(args), []
    for argument in arguments[len(args) :]:
        if argument.keyword is not None and argument.keyword in kwargs:
            given.append(kwargs.pop(argument.keyword))
        elif argument.default is not None:
            given.append(argument.default.slots.host())
        else:
            missing.append(argument.keyword or argument.variable.describe())
    for name in kwargs:
        twice = any(a.keyword == name for a in arguments)
        raise _wrong_call(label, arguments, f"the input {name!r} is given twice" if twice
                          else f"there is no input named {name!r}")  # fmt: skip
    if missing:
        plural = "s" * (len(missing) > 1)
        raise _wrong_call(label, arguments, f"missing input{plural}: {', '.join(missing)}")
    return given


def _wrong_call(label: str, arguments: Sequence[Argument], message: str) -> InputError:
    listed = (f"{a.keyword or a.variable.describe()}: {a.variable.type}" for a in arguments)
    hint = f"inputs of {label}: {', '.join(listed) or 'none'}"
    return InputError(message, hint=hint, location=caller_location())


def coerced(arguments: Sequence[Argument], given: Sequence[Any]) -> list[Any]:
    """One array per input; raises InputError, DTypeError or ShapeError."""
    return [as_input(a, v) for a, v in zip(arguments, given, strict=True)]


def as_input(argument: Argument, value: Any) -> Any:
    """The array that a value is for an input; raises InputError, DTypeError or ShapeError."""
    param = argument.variable
    type_ = param.type
    if isinstance(value, Value):
        raise InputError(
            f"input {param.describe()} was given the symbolic {value!r}",
            hint="call with arrays; to substitute an expression use givens=",
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"input {param.describe()}: {error}", location=caller_location()
        ) from None
    if array.dtype != type_.dtype or (argument.strict and not _is_typed(value)):
        array = _converted(argument, array, value)
    if array.ndim != type_.rank:
        raise refused(param, ShapeError(
            f"input {param.describe()} is {type_}, and was given an array of shape {array.shape}",
            hint=f"pass an array of rank {type_.rank}",
        ))  # fmt: skip
    for axis, (known, size) in enumerate(zip(type_.shape, array.shape, strict=True)):
        if isinstance(known, int) and known != size:
            raise refused(param, ShapeError(
                f"input {param.describe()} is {type_}, and was given an array of shape "
                f"{array.shape} (dimension {axis}: {size} is not {known})",
            ))  # fmt: skip
    # Exact arrays in native byte order: the native entry takes nothing else.
    return np.asarray(np.require(array, dtype=type_.dtype, requirements=["A", "E"]))


def _is_typed(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _converted(argument: Argument, array: Any, value: Any) -> Any:
    """An array of the input's dtype, if it is one that the input may be given."""
    param = argument.variable
    have, want = array.dtype, param.dtype
    if kind_of(have) not in "biufc":
        raise refused(param, DTypeError(
            f"input {param.describe()} is {param.type}, and was given {have}",
            hint="pass an array of numbers",
        ))  # fmt: skip
    if not argument.strict and _may_convert(argument, array, value):
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(want)
    if argument.strict:
        raise refused(param, DTypeError(
            f"input {param.describe()} is strict: it takes arrays of {DTYPE_NAMES[want]}, and was "
            f"given {have if _is_typed(value) else repr(value)}",
            hint=f"pass np.asarray(x, {str(want)!r})",
        ))  # fmt: skip
    typed = _is_typed(value)
    hint = f"pass x.astype({str(want)!r})" if typed else f"pass numbers that fit into {want}"
    if typed and can_cast(have, want, "same_kind") and argument.downcast is None:
        hint += ", or build with allow_input_downcast=True"
    raise refused(param, DTypeError(
        f"input {param.describe()} is {DTYPE_NAMES[want]}, and was given {have}: "
        "the conversion could lose information",
        hint=hint,
    ))  # fmt: skip


def _may_convert(argument: Argument, array: Any, value: Any) -> bool:
    """Arrays convert where nothing can be lost, or by permission to fewer digits; lists and
    numbers, which have not chosen a dtype, also where nothing is lost of these very numbers."""
    have, want = array.dtype, argument.variable.dtype
    if argument.downcast == "unsafe" or can_cast(have, want, "safe"):
        return True
    if argument.downcast and kind_of(want) in "fc" and can_cast(have, want, "same_kind"):
        return True
    loose = not isinstance(value, np.ndarray)
    if argument.downcast is None and not _is_typed(value) and kind_of(want) in "fc":
        return kind_of(have) in "biuf" or kind_of(have) == kind_of(want)
    if not (loose or argument.downcast) or (have.kind == "c" and want.kind != "c"):
        return False
    with np.errstate(all="ignore"):
        adapted = array.astype(want)
    nan = kind_of(want) in "fc" and kind_of(have) in "fc"
    return bool(np.array_equal(adapted, array, equal_nan=nan))


def refused(param: Value, error: JitgraphError) -> JitgraphError:
    """The error at the line of the call, with the input and the line that made it."""
    operand = Operand(param.describe(), str(param.type), param.location)
    return error.locate(caller_location(), [operand])
