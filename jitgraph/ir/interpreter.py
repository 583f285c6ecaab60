"""The NumPy meaning of a function: what compiled code is compared with, and who explains failures.

When native code reports that a run-time condition failed, the same inputs are run here, and the
error this raises (the user's line, the operands with their sizes of this call) is the message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitgraph.errors import (
    DomainError,
    DTypeError,
    InputError,
    InternalError,
    JitgraphError,
    LinAlgError,
    Operand,
    OutOfBoundsError,
    ShapeError,
)
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import Array
from jitgraph.ir.printer import name_values, op_line
from jitgraph.ir.types import Bundle, Dim, Extent, type_of
from jitgraph.ir.values import Op, Value

#: What NumPy raises about operands; anything else is a defect and passes through as it is.
NUMPY_ERRORS = (ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError)

#: Operands of a failed check are shown with their elements up to this many.
FEW = 8


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is shown each op's value, operands and result, and the function, inputs and results of
    each run of a region; ops inside regions are shown like the others (see `steps`)."""

    op: Callable[[Value, Sequence[Any], Any], None] | None = None
    region: Callable[[Function, Sequence[Array], Sequence[Array]], None] | None = None


#: Nobody.
UNWATCHED = Watch()


def run(fn: Function, inputs: Sequence[Array], *, watch: Watch = UNWATCHED) -> list[Array]:
    """The results of `fn`, as fresh arrays; every intermediate is dropped after its last use.

    Raises InputError, DTypeError or ShapeError for inputs that are not what the parameters say,
    the op's own error (ShapeError, OutOfBoundsError, DomainError) where an op has no value or a
    check does not hold, and InternalError where an op contradicts its inferred type.
    """
    extents = _Extents()
    _bind(fn, inputs, extents)
    arrays = dict(zip(fn.params, inputs, strict=True))
    uses = Counter(_uses(fn))
    checks = iter(fn.checks)
    pending = _check_ready(next(checks, None), checks, arrays, uses)
    for value in fn.ops:
        operands = [arrays[a] for a in _op(value).args]
        with _around(_op(value), watch):
            result = _evaluate(value, operands)
        _confirm(fn, value, result, extents)
        if watch.op is not None:
            watch.op(value, operands, result)
        arrays[value] = result
        _release(_op(value).args, arrays, uses)
        pending = _check_ready(pending, checks, arrays, uses)
    return [np.array(arrays[r], order="C") for r in fn.results]


def _op(value: Value) -> Op:
    assert value.op is not None
    return value.op


# --- regions -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Place:
    """The op whose regions run, which run of them this is, and what it is a part of."""

    op: Op
    watch: Watch
    outer: _Place | None
    step: str = ""

    def __str__(self) -> str:
        at = f" at {self.op.location.short}" if self.op.location is not None else ""
        return f"in {self.step} of the {self.op.name}{at}"


_PLACE: ContextVar[_Place | None] = ContextVar("_PLACE", default=None)


@contextmanager
def _at(place: _Place | None) -> Iterator[None]:
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


@contextmanager
def _around(op: Op, watch: Watch) -> Iterator[None]:
    """While the op is evaluated: its regions are run on its behalf."""
    if not any(isinstance(a, Function) for a in op.attrs.values()):
        yield
        return
    with _at(_Place(op, watch, _PLACE.get())):
        yield


def run_region(fn: Function, inputs: Sequence[Array], step: str) -> list[Array]:
    """The results of a region of the op that is being evaluated. Errors say in which `step`."""
    place = _PLACE.get()
    if place is None:  # evaluated by itself
        return run(fn, inputs)
    with _at(replace(place, step=step)):
        try:
            results = run(fn, inputs, watch=place.watch)
            if place.watch.region is not None:
                place.watch.region(fn, inputs, results)
        except JitgraphError as error:
            raise error.within(steps()) from None
        return results


def steps() -> tuple[str, ...]:
    """In which steps of which loops and branches the interpreter is just now, innermost first."""
    found, place = [], _PLACE.get()
    while place is not None:
        if place.step:
            found.append(str(place))
        place = place.outer
    return tuple(found)


# --- inputs ------------------------------------------------------------------------------------
class _Extents:
    """The number each named extent stands for in this call, and where it was met first."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, str]] = {}

    def objection(self, dim: Dim, size: int, place: str) -> str | None:
        """Why an axis of `size` elements cannot be `dim`, or None."""
        if dim is None or dim == size:
            return None
        if not isinstance(dim, Extent):
            return f"{place} has {size} elements, not {dim}"
        if dim.not_one and size == 1:
            return f"{place} has 1 element, but {dim} is never 1"
        expected, first = self.known.setdefault(dim.name, (size, place))
        if expected == size:
            return None
        return f"{place} has {size} elements, but {dim.name} is {expected}, from {first}"


def _bind(fn: Function, inputs: Sequence[Array], extents: _Extents) -> None:
    """Raise unless the inputs are arrays of the parameters' types."""
    if len(inputs) != len(fn.params):
        raise InputError(f"{fn.name} takes {len(fn.params)} inputs, not {len(inputs)}")
    for index, (param, array) in enumerate(zip(fn.params, inputs, strict=True)):
        name = param.name or f"input {index}"
        error = _input_error(name, param, array, extents)
        if error is not None:
            raise error.locate(param.location, (Operand(name, str(param.type), param.location),))


def _input_error(
    name: str, param: Value, array: Any, extents: _Extents
) -> JitgraphError | None:
    if not isinstance(array, np.ndarray):
        return InputError(f"{name} must be an array, not {type(array).__name__}")
    if array.dtype != param.dtype:
        return DTypeError(f"{name} must be {param.type}, not an array of dtype {array.dtype}")
    if array.ndim != param.ndim:
        return ShapeError(f"{name} must be {param.type}, not an array of rank {array.ndim}")
    for axis, (dim, size) in enumerate(zip(param.type.shape, array.shape, strict=True)):
        objection = extents.objection(dim, size, f"axis {axis} of {name}")
        if objection is not None:
            return ShapeError(objection)
    return None


# --- one op ------------------------------------------------------------------------------------
def _evaluate(value: Value, operands: list[Array]) -> Any:
    """An array, or a tuple of them where the op has several results."""
    op = _op(value)
    try:
        found = op.definition.evaluate(*operands, **op.attrs)
        if isinstance(value.type, Bundle):
            return tuple(map(np.asarray, found))
        return np.asarray(found)
    except (JitgraphError, *NUMPY_ERRORS) as error:
        if op.definition.opaque:
            raise
        raise explain(op, operands, error) from None


def explain(op: Op, operands: Sequence[Array], error: Exception) -> JitgraphError:
    """What to tell the user of an op that failed on these operands.

    Inference over the types of this call words it as an error at build time would have been.
    """
    types = [Bundle.of(map(type_of, a)) if isinstance(a, tuple) else type_of(a) for a in operands]
    try:
        op.definition.infer(types, op.attrs)
        found = error if isinstance(error, JitgraphError) else _translated(op, error)
    except JitgraphError as better:
        found = better
    return found.locate(op.location, _described(op, map(str, types)))


def _translated(op: Op, error: Exception) -> JitgraphError:
    if op.name == "power" and isinstance(error, ValueError):
        return DomainError(
            "an integer to a negative integer power is no integer", hint="cast a base to float"
        )
    if isinstance(error, IndexError):
        return OutOfBoundsError(f"{op.name}: {error}")
    kind = LinAlgError if isinstance(error, np.linalg.LinAlgError) else ShapeError
    return kind(f"{op.name}: {error}")


def _described(op: Op, texts: Iterable[str]) -> Iterator[Operand]:
    for argument, text in zip(op.args, texts, strict=True):
        yield Operand(argument.describe(), text, argument.location)


def _confirm(fn: Function, value: Value, result: Array, extents: _Extents) -> None:
    """Raise InternalError where what was computed is not of the type that was inferred."""
    if isinstance(value.type, Bundle):
        if len(result) != len(value.type.items):
            raise InternalError(f"{len(result)} results, not {value.type}")
        return  # its items are looked at one by one
    type_ = value.type
    agrees = result.dtype == type_.dtype and result.ndim == type_.rank
    if not agrees or any(
        extents.objection(d, s, "") for d, s in zip(type_.shape, result.shape, strict=True)
    ):
        line = op_line(value, name_values(fn.params, fn.ops))
        raise InternalError(
            f"computed {result.dtype} of shape {result.shape}, against the type of\n  {line}",
            location=_op(value).location,
        )


# --- lifetimes and checks ----------------------------------------------------------------------
def _uses(fn: Function) -> Iterator[Value]:
    """Every use of every value; a check also uses its operands, which its message shows."""
    for value in fn.ops:
        yield from _op(value).args
    for check in fn.checks:
        yield from _shown(check)
    yield from fn.results


def _shown(check: Value) -> tuple[Value, ...]:
    return (check, *(check.op.args if check.op is not None else ()))


def _release(used: Iterable[Value], arrays: dict[Value, Array], uses: Counter[Value]) -> None:
    for value in used:
        uses[value] -= 1
        if not uses[value]:
            del arrays[value]


def _check_ready(
    check: Value | None, rest: Iterator[Value], arrays: dict[Value, Array], uses: Counter[Value]
) -> Value | None:
    """Test the checks whose value is known by now, in order; gives the first still to come."""
    while check is not None and check in arrays:
        if not arrays[check]:
            raise _check_failed(check, arrays)
        _release(_shown(check), arrays, uses)
        check = next(rest, None)
    return check


def _check_failed(check: Value, arrays: dict[Value, Array]) -> JitgraphError:
    op = check.op
    if op is None or not op.args:
        return ShapeError(f"the check {check.describe()} does not hold").locate(check.location)
    operands = [arrays[a] for a in op.args]
    shown = [_with_elements(a) for a in operands]
    plain = [str(a) if a.ndim == 0 else str(type_of(a)) for a in operands]
    error = ShapeError(f"the check {op.name}({', '.join(plain)}) does not hold")
    return error.locate(op.location, _described(op, shown))


def _with_elements(array: Array) -> str:
    if array.size > FEW:
        return str(type_of(array))
    return f"{type_of(array)} = {np.array2string(array, separator=', ')}"
