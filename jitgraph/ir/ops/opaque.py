"""Python functions as ops: *opaque*, since nothing is known of them but the types of their results.

A call is two ops. `call` runs the function, keeps what it gives, and tells a token and the extents
nobody knew before; `results` copies what is kept for the token into arrays of these extents. So the
program can allocate its memory, and Python is called once. Native code comes here through
`codegen.trampoline`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from jitgraph.errors import DTypeError, InternalError, ShapeError
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import Array, Attrs, OpDef, Routine, Shape, ShapeSource, Size, constant, emit
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.pickling import reachable
from jitgraph.ir.types import I64, Bundle, Type
from jitgraph.ir.values import Value

#: Results that nobody has asked for are forgotten after so many others.
KEPT = 256
_numbers = itertools.count(1)
_tokens = itertools.count(1)
_known: WeakValueDictionary[int, Opaque] = WeakValueDictionary()
_raised = threading.local()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OpaqueDef(OpDef):
    """One of the two ops of an opaque function."""

    owner: Opaque

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.owner, self.name.rpartition(".")[2])


class Opaque:
    """A Python function of arrays, which gives a tuple of arrays of the types `outputs`."""

    __slots__ = ("__weakref__", "_kept", "call", "function", "inputs", "label", "number",
                 "outputs", "results")  # fmt: skip

    def __init__(
        self,
        label: str,
        function: Callable[..., Any],
        inputs: Sequence[Type],
        outputs: Sequence[Type],
    ) -> None:
        self.label, self.function = label, function
        self.inputs, self.outputs = _nameless(inputs), _nameless(outputs)
        self.number = next(_numbers)
        self._kept: dict[int, tuple[Array, ...]] = {}
        rank = sum(type_.rank for type_ in self.outputs)
        name, number = f"python.{label}.{self.number}", str(self.number)
        self.call = OpaqueDef(
            name=f"{name}.call",
            infer=self._infer_call,
            evaluate=self._evaluate_call,
            shape=lambda source, args, attrs: ((),) * (1 + rank),  # type: ignore[arg-type,return-value]
            lower=Routine("python", ("call", number), _axes(self.inputs), ("",) * (1 + rank),
                          dense=True),
            opaque=True,
            owner=self,
        )  # fmt: skip
        self.results = OpaqueDef(
            name=f"{name}.results",
            infer=lambda types, attrs: Bundle.of(self.outputs),
            evaluate=self._evaluate_results,
            shape=self._shapes,
            lower=Routine("python", ("results", number), ("", *[None] * rank),
                          _axes(self.outputs), dense=True),
            opaque=True,
            owner=self,
        )  # fmt: skip
        _known[self.number] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return Opaque, (self.label, reachable(self.function), self.inputs, self.outputs)

    def __deepcopy__(self, memo: object) -> Opaque:
        return self

    def __call__(
        self, args: Sequence[Value], extents: Sequence[Size] | None = None
    ) -> tuple[Value, ...]:
        """The results for these operands; `extents` are those of all results, where they can be
        known without calling the function."""
        token, *told = items(emit(self.call, args))
        sizes = told if extents is None else extents
        operands = [s if isinstance(s, Value) else constant(s, I64) for s in sizes]
        return items(emit(self.results, (token, *operands)))

    # --- meaning --------------------------------------------------------------------------------
    def _infer_call(self, types: Sequence[Type], attrs: Attrs) -> Type:
        for k, (want, have) in enumerate(zip(self.inputs, types, strict=True)):
            if have.dtype != want.dtype:
                raise DTypeError(f"{self.label} takes {want} as its operand {k}, not {have}")
            if have.rank != want.rank or any(
                isinstance(a, int) and isinstance(b, int) and a != b
                for a, b in zip(want.shape, have.shape, strict=True)
            ):
                raise ShapeError(f"{self.label} takes {want} as its operand {k}, not {have}")
        return Bundle.of([Type(I64)] * (1 + sum(type_.rank for type_ in self.outputs)))

    def _evaluate_call(self, *arrays: Array) -> tuple[Array, ...]:
        token = next(_tokens)
        found = self._conforming(self.function(*arrays))
        self._kept[token] = found
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        extents = [extent for array in found for extent in array.shape]
        return tuple(np.asarray(n, np.int64) for n in (token, *extents))

    def _conforming(self, given: Any) -> tuple[Array, ...]:
        """What the function gave as arrays of the promised types; raises DTypeError, ShapeError."""
        listed = given if isinstance(given, tuple | list) else (given,)
        if len(self.outputs) == 1 and isinstance(given, list):
            listed = (given,)
        if len(listed) != len(self.outputs):
            raise ShapeError(f"{self.label} gave {len(listed)} results, not {len(self.outputs)}")
        found = []
        for k, (result, type_) in enumerate(zip(listed, self.outputs, strict=True)):
            array = np.asarray(result)
            if not np.can_cast(array.dtype, type_.dtype, "same_kind"):
                raise DTypeError(f"result {k} of {self.label} is {array.dtype}, not {type_}")
            if array.ndim != type_.rank or any(
                isinstance(d, int) and d != n for d, n in zip(type_.shape, array.shape, strict=True)
            ):
                raise ShapeError(f"result {k} of {self.label} has shape {array.shape}, not {type_}")
            found.append(array.astype(type_.dtype))
        return tuple(found)

    def _evaluate_results(self, token: Array, *extents: Array) -> tuple[Array, ...]:
        found = self._kept.pop(int(token), None)
        if found is None:
            raise InternalError(f"the results of {self.label} are gone")
        rest = iter(extents)
        for k, array in enumerate(found):
            want = tuple(int(next(rest)) for _ in array.shape)
            if array.shape != want:
                raise ShapeError(f"result {k} of {self.label} has shape {array.shape}, and its "
                                 f"infer_shape says {want}")  # fmt: skip
        return found

    def _shapes(self, source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Any:
        rest = iter(args[1:])
        shapes: list[Shape] = []
        for type_ in self.outputs:
            told = [next(rest) for _ in type_.shape]
            shapes.append(tuple(d if isinstance(d, int) else size
                                for d, size in zip(type_.shape, told, strict=True)))  # fmt: skip
        return tuple(shapes)


def _nameless(types: Sequence[Type]) -> tuple[Type, ...]:
    """The types with the extents that are numbers; names mean nothing in another function."""
    return tuple(t.with_shape(d if isinstance(d, int) else None for d in t.shape) for t in types)


def _axes(types: Sequence[Type]) -> tuple[str, ...]:
    """A letter for each axis, none of them twice."""
    letters = map(chr, itertools.count(ord("a")))
    return tuple("".join(next(letters) for _ in type_.shape) for type_ in types)


def is_opaque(fn: Function) -> bool:
    """Whether a function, or a region in it, calls Python."""
    return fn.has_op(lambda op: op.definition.opaque)


# --- called from native code -------------------------------------------------------------------
def owner_of(number: int) -> Opaque:
    """The function with this number."""
    return _known[number]


def remember(error: BaseException) -> None:
    """Keep what a Python function raised until native code has come back."""
    _raised.error = error


def reraise() -> None:
    """Raise what a Python function has raised in this thread, with its own traceback."""
    error, _raised.error = getattr(_raised, "error", None), None
    if error is not None:
        raise error
