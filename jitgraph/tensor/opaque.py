"""Python functions in expressions: `as_op`, and `Print`, which shows a value at run time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgraph.errors import BatchingError, GradientError, InputError
from jitgraph.ir.opdef import Array, ArrayLike, Size
from jitgraph.ir.ops.marks import CustomRule, with_gradient
from jitgraph.ir.ops.movement import dims
from jitgraph.ir.ops.opaque import Opaque
from jitgraph.ir.types import Type, parse_type
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.tensor.operands import as_sizes, as_tensor, public, typed

#: What is known of a value, or how to make a variable of its type.
TypeLike = Any
InferShape = Callable[[list[tuple[Any, ...]]], Sequence[Any]]
Gradient = Callable[[list[Any], list[Any]], Sequence[Any]]


def _type(given: TypeLike) -> Type:
    """A type from itself, its text, a variable, or what makes variables, such as `T.dmatrix`."""
    if isinstance(given, Type):
        return given
    if isinstance(given, str):
        return parse_type(given)
    made = given if isinstance(given, Value) else given() if callable(given) else None
    if not isinstance(made, Value):
        raise InputError(f"{given!r} is no type", hint="such as T.dmatrix, or 'f64[?, ?]'",
                         location=caller_location())  # fmt: skip
    return made.type


class PythonOp:
    """A Python function of arrays that takes variables; see `as_op`."""

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Type],
        outputs: Sequence[Type],
        infer_shape: InferShape | None,
        grad: Gradient | None,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self._infer_shape, self._grad = infer_shape, grad
        label = getattr(function, "__name__", type(function).__name__)
        self._opaque = Opaque(label if label.isidentifier() else "function", function,
                              inputs, outputs)  # fmt: skip

    def __repr__(self) -> str:
        return f"<op {self._opaque.label} of Python>"

    def __call__(self, *args: ArrayLike) -> Any:
        label, wanted = self._opaque.label, self._opaque.inputs
        if len(args) != len(wanted):
            raise InputError(f"{label} takes {len(wanted)} operands, not {len(args)}",
                             location=caller_location())  # fmt: skip
        return _apply(self, *args)

    def apply(self, *args: ArrayLike) -> Any:
        """The results for the right number of operands."""
        opaque = self._opaque
        operands = [_operand(a, t) for a, t in zip(args, opaque.inputs, strict=True)]
        extents = None
        if self._infer_shape is not None:
            shapes = self._infer_shape([tuple(typed(x).shape) for x in operands])
            extents = _extents(opaque, shapes)
        rule = _Adjoints(opaque.label, self._grad).rule()
        made = with_gradient(opaque(operands, extents), (), operands, rule)
        found = [typed(value) for value in made]
        return found[0] if len(found) == 1 else found


_apply: Callable[..., Any] = public(PythonOp.apply)


def _operand(given: ArrayLike, type_: Type) -> Value:
    value = as_tensor(given)
    fits = np.can_cast(value.dtype, type_.dtype, "safe") or value.literal is not None
    return as_tensor(value, type_.dtype) if fits else value


def _extents(opaque: Opaque, shapes: Sequence[Any]) -> list[Size]:
    """What the user's `infer_shape` tells, one extent after the other."""
    told = [as_sizes(shape) for shape in shapes]
    if [len(shape) for shape in told] != [type_.rank for type_ in opaque.outputs]:
        listed = ", ".join(map(str, opaque.outputs))
        raise InputError(f"infer_shape of {opaque.label} gives {shapes!r} for {listed}",
                         hint="one tuple of extents for each result")  # fmt: skip
    return [size for shape in told for size in shape]


@dataclass(frozen=True, slots=True)
class _Adjoints:
    """The gradient of an op by the user's function, if there is one."""

    label: str
    grad: Gradient | None

    def rule(self) -> CustomRule:
        return CustomRule.of(self.label, self, self.batched)

    def __call__(self, gs: Sequence[Value], given: Sequence[Value]) -> list[Value | None]:
        if self.grad is None:
            raise GradientError(f"{self.label} is a Python function without a gradient",
                                hint="as_op(..., grad=) gives it one")  # fmt: skip
        found = self.grad([typed(x) for x in given], [typed(g) for g in gs])
        listed = list(found) if isinstance(found, tuple | list) else [found]
        if len(listed) != len(given):
            raise GradientError(
                f"the gradient of {self.label} gives {len(listed)} adjoints for {len(given)} "
                "operands",
                hint="return a list; None stands for no gradient",
            )
        return [None if a is None else as_tensor(a) for a in listed]

    def batched(self) -> CustomRule:
        raise BatchingError(f"{self.label} is a Python function of one element")


def as_op(
    itypes: Sequence[TypeLike] | TypeLike,
    otypes: Sequence[TypeLike] | TypeLike,
    infer_shape: InferShape | None = None,
    grad: Gradient | None = None,
) -> Callable[[Callable[..., Any]], PythonOp]:
    """Make an op of a Python function of NumPy arrays, which compiled functions call back:

        @jg.as_op(itypes=[T.dmatrix], otypes=[T.dvector])
        def row_medians(x):
            return np.median(x, axis=1)

    itypes, otypes: the types of operands and results: `T.dmatrix`, a variable, or `"f64[?, 3]"`.
    infer_shape: gives from the list of the operands' shapes (tuples of numbers and variables) the
    list of those of the results, so that programs know them without calling the function. grad:
    gives from the lists of operands and of adjoints of results, as variables, a list with the
    adjoint of each operand, or None.

    The function is called once a call, with copies of its operands, unless nobody needs what it
    gives, or another call has the same operands. It holds the GIL. What it raises comes out of the
    compiled function, and no shared variable has changed. Compiled functions with such ops are not
    kept on disk, and pickle if the Python function does.
    """
    inputs = [_type(t) for t in (itypes if isinstance(itypes, list | tuple) else [itypes])]
    outputs = [_type(t) for t in (otypes if isinstance(otypes, list | tuple) else [otypes])]
    if not outputs:
        raise InputError("an op needs a result", location=caller_location())
    return lambda function: PythonOp(function, inputs, outputs, infer_shape, grad)


# --- printing ----------------------------------------------------------------------------------
def print_attributes(op: Print, x: Array) -> None:
    """What `Print` does: a line for each attribute."""
    for name in op.attrs:
        found = getattr(x, name)
        print(op.message, name, "=", found() if callable(found) else found)


def _unchanged(xs: list[Any], gs: list[Any]) -> list[Any]:
    return gs


class Print:
    """An op that prints its operand whenever it is computed, and gives it on:

        x = T.Print("x", attrs=["shape", "mean"])(x)

    attrs are names of attributes or of methods of the array; `global_fn(op, array)` prints
    something else. What nobody needs is not computed, and so not printed.
    """

    def __init__(
        self,
        message: str = "",
        attrs: Sequence[str] = ("__str__",),
        global_fn: Callable[[Print, Array], object] = print_attributes,
    ) -> None:
        self.message, self.attrs, self.global_fn = message, tuple(attrs), global_fn

    def __call__(self, x: ArrayLike) -> Any:
        value = as_tensor(x)
        op = Opaque("Print", self.show, [value.type], [value.type])
        made = op([value], dims(value))
        return typed(with_gradient(made, (), [value], _Adjoints("Print", _unchanged).rule())[0])

    def show(self, x: Array) -> Array:
        """Print the array; give it back."""
        self.global_fn(self, x)
        return x
