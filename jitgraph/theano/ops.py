"""Ops of the user's own: `theano.Op` with `perform` in Python, and `as_op`.

A function with such an op is interpreted, op by op in NumPy, since native code cannot call Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import GradientError, InputError
from jitgraph.ir.opdef import Attrs, OpDef, emit
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.types import I64, Bundle, Type
from jitgraph.ir.values import Value, topological
from jitgraph.tensor.operands import speaking
from jitgraph.theano import testvalues
from jitgraph.theano.graphs import MethodNotDefined
from jitgraph.theano.variables import Apply, TensorVariable, as_tensor_variable

get_test_value = testvalues.of


class Call(str):
    """An op of the user's applied, as an attribute, which prints as its name."""

    __slots__ = ("node",)
    node: Apply

    @classmethod
    def of(cls, node: Apply) -> Call:
        """The attribute of a node."""
        made = cls(str(node.op))
        made.node = node
        return made

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


def _performed(*arrays: Any, call: Call) -> tuple[Any, ...]:
    node = call.node
    storage: list[list[Any]] = [[None] for _ in node.outputs]
    node.op.perform(node, list(arrays), storage)
    return tuple(
        np.asarray(cell[0], out.type.dtype) for cell, out in zip(storage, node.outputs, strict=True)
    )


def _adjoints(gs: Any, y: Value, *args: Value, call: Call) -> list[Value | None]:
    from jitgraph.tensor import zeros_like

    with speaking(TensorVariable):
        outputs = items(y)
        seeds = [zeros_like(o) if g is None else g for g, o in zip(gs, outputs, strict=True)]
        found = call.node.op.L_op(list(args), list(outputs), seeds)
    return [a if isinstance(a, Value) else None for a in found]


def _shapes(source: Any, args: Sequence[Value], attrs: Attrs) -> Any:
    call = attrs["call"]
    known = getattr(call.node.op, "same_shape", None)
    if known is not None:
        return tuple(source.shape(args[known]) for _ in call.node.outputs)
    return tuple(
        tuple(emit(EXTENT, tuple(args), call=call, place=k, axis=a) for a in range(out.ndim))
        for k, out in enumerate(call.node.outputs)
    )


PYTHON = OpDef(
    name="python",
    infer=lambda types, attrs: Bundle.of(
        Type(o.type.dtype, o.type.shape) for o in attrs["call"].node.outputs
    ),
    evaluate=_performed,
    shape=_shapes,
    gradient=_adjoints,
    doc="An op of the user's own, computed in Python.",
)
EXTENT = OpDef(
    name="python_extent",
    infer=lambda types, attrs: Type(I64),
    evaluate=lambda *arrays, call, place, axis: np.int64(
        _performed(*arrays, call=call)[place].shape[axis]
    ),
    shape=lambda source, args, attrs: (),
    gradient=lambda g, y, *args, **attrs: [None] * len(args),
    doc="An extent of what an op of the user's own gives.",
)


def needs_python(roots: Sequence[Value]) -> bool:
    """Whether the expressions have an op of the user's own, in a loop or outside."""
    for value in topological(roots):
        op = value.op
        if op is None:
            continue
        if op.definition in (PYTHON, EXTENT):
            return True
        regions = [r for a in op.attrs.values() for r in (a if isinstance(a, tuple) else (a,))]
        if any(hasattr(r, "results") and needs_python(r.results) for r in regions):
            return True
    return False


class Op:
    """The base of ops of the user's own: `make_node` (or `itypes` and `otypes`), `perform`, and
    `grad` or `L_op` where there is a gradient."""

    __props__: tuple[str, ...] = ()
    itypes: Any = None
    otypes: Any = None
    default_output: int | None = None

    def make_node(self, *inputs: Any) -> Apply:
        """The application to inputs: what types the outputs have."""
        if self.itypes is None or self.otypes is None:
            name = type(self).__name__
            raise MethodNotDefined(f"{name} has neither make_node nor itypes and otypes")
        given = [as_tensor_variable(i) for i in inputs]
        if len(given) != len(self.itypes):
            raise ValueError(f"{self} takes {len(self.itypes)} inputs, not {len(given)}")
        for variable, type_ in zip(given, self.itypes, strict=True):
            if variable.type.dtype != type_.dtype or variable.ndim != type_.ndim:
                raise TypeError(f"{self} takes {type_}, not {variable.type!r}")
        return Apply(self, given, [type_() for type_ in self.otypes])

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if type(self).perform is Op.perform:
            raise InputError(
                f"{type(self).__name__} has no perform(): ops written in C are not taken",
                hint="write perform(self, node, inputs, outputs)",
            )
        node = self.make_node(*inputs)
        given = [as_tensor_variable(i) for i in node.inputs]
        with speaking(TensorVariable):
            made = items(emit(PYTHON, given, call=Call.of(node)))
        return_list = options.get("return_list", False)
        if self.default_output is not None:
            return made[self.default_output]
        return list(made) if return_list or len(made) > 1 else made[0]

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any = None) -> None:
        """Compute `output_storage[k][0]` from arrays."""
        raise MethodNotDefined(f"{type(self).__name__}.perform")

    def grad(self, inputs: Any, output_grads: Any) -> Any:
        """The adjoints of the inputs."""
        raise GradientError(f"{self} has no gradient", hint="give it a method grad")

    def L_op(self, inputs: Any, outputs: Any, output_grads: Any) -> Any:  # noqa: N802
        """The adjoints of the inputs, from those of the outputs."""
        return self.grad(inputs, output_grads)

    def _identity(self) -> tuple[Any, ...]:
        return (type(self), *(getattr(self, p) for p in self.__props__))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return bool(self.__props__) and isinstance(other, Op) and (
            self._identity() == other._identity()
        )

    def __hash__(self) -> int:
        return hash(self._identity()) if self.__props__ else object.__hash__(self)

    def __str__(self) -> str:
        listed = ", ".join(f"{p}={getattr(self, p)!r}" for p in self.__props__)
        return type(self).__name__ + (f"{{{listed}}}" if listed else "")


class _FromFunction(Op):
    """A Python function as an op."""

    def __init__(self, function: Callable[..., Any], itypes: Any, otypes: Any) -> None:
        self.itypes, self.otypes, self.function = itypes, otypes, function

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any = None) -> None:
        made = self.function(*inputs)
        results = made if isinstance(made, list | tuple) else (made,)
        for cell, result in zip(output_storage, results, strict=True):
            cell[0] = result

    def __str__(self) -> str:
        return f"FromFunctionOp{{{self.function.__name__}}}"


def as_op(itypes: Any, otypes: Any, infer_shape: Any = None) -> Callable[..., Any]:
    """A decorator that makes an op of a function of arrays."""
    itypes, otypes = (list(t) if isinstance(t, list | tuple) else [t] for t in (itypes, otypes))
    return lambda function: _FromFunction(function, itypes, otypes)


class _Printed(Op):
    """What it is given, printed on the way."""

    same_shape = 0

    def __init__(self, printer: Any) -> None:
        self.printer = printer

    def make_node(self, *inputs: Any) -> Apply:
        (x,) = map(as_tensor_variable, inputs)
        return Apply(self, [x], [x.type()])

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any = None) -> None:
        self.printer.show(inputs[0])
        output_storage[0][0] = inputs[0]

    def grad(self, inputs: Any, output_grads: Any) -> Any:
        return output_grads


def printed(x: Any, printer: Any) -> Any:
    """x, shown by a printer whenever it is computed."""
    return _Printed(printer)(x)


def same_value(x: Any) -> Any:
    """x itself."""
    return as_tensor_variable(x)


def shape_of() -> Callable[[Any], Any]:
    """The extents, as an op."""
    return lambda x: as_tensor_variable(x).shape


def ignored(*args: Any, **options: Any) -> None:
    """What has no effect here: code in C."""

