"""Ops of the user's own: `theano.Op` with `perform` in Python, and `as_op`. Native code calls them
back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import BatchingError, GradientError, InputError
from jitgraph.ir.opdef import emit
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.marks import DISCONNECTED, CustomRule, with_gradient
from jitgraph.ir.ops.opaque import Opaque
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_size, speaking
from jitgraph.theano import testvalues
from jitgraph.theano.graphs import MethodNotDefined
from jitgraph.theano.types import type_as_seen
from jitgraph.theano.undefined import adjoint
from jitgraph.theano.variables import Apply, TensorVariable, as_tensor_variable

get_test_value = testvalues.of


def _performed(node: Apply) -> Callable[..., tuple[Any, ...]]:
    """What the op does, as a function of arrays."""
    op = node.op
    own_thunk = type(op).make_thunk is not Op.make_thunk
    params = () if op.params_type is None else (op.get_params(node),)

    def compute(*arrays: Any) -> tuple[Any, ...]:
        storage: list[list[Any]] = [[None] for _ in node.outputs]
        if own_thunk:
            cells = [[array] for array in arrays]
            known = dict(zip([*node.inputs, *node.outputs], [*cells, *storage], strict=True))
            op.make_thunk(node, known, {v: [True] for v in known}, [])()
        else:
            op.perform(node, list(arrays), storage, *params)
        return tuple(np.asarray(cell[0], out.type.dtype)
                     for cell, out in zip(storage, node.outputs, strict=True))  # fmt: skip

    return compute


def gradient_of(node: Apply) -> CustomRule:
    """The gradient that the op says it has."""
    count = len(node.outputs)

    def adjoints(gs: Sequence[Value], operands: Sequence[Value]) -> list[Value | None]:
        outputs, inputs = list(operands[:count]), list(operands[count:])
        with speaking(TensorVariable):
            # What the gradient makes of the outputs has a gradient as well.
            outputs = list(with_gradient(outputs, outputs, inputs, gradient_of(node)))
            found = node.op.L_op(inputs, outputs, list(gs))
        if len(found) != len(inputs):
            raise GradientError(f"{node.op}.grad gives {len(found)} adjoints for {len(inputs)} "
                                "inputs")  # fmt: skip
        return [adjoint(a, x) for a, x in zip(found, inputs, strict=True)]

    def batched() -> CustomRule:
        raise BatchingError(f"{node.op} is a Python function of one element")

    return CustomRule.of(str(node.op), adjoints, batched)


class Op:
    """The base of ops of the user's own: `make_node` (or `itypes` and `otypes`), `perform`, and
    `grad` or `L_op` where there is a gradient."""

    __props__: tuple[str, ...] = ()
    itypes: Any = None
    otypes: Any = None
    default_output: int | None = None
    #: Not None: `perform` takes a fourth argument, what `get_params` gives.
    params_type: Any = None

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
        ours = type(self).perform is Op.perform and type(self).make_thunk is Op.make_thunk
        if ours:
            raise InputError(
                f"{type(self).__name__} has no perform(): ops written in C are not taken",
                hint="write perform(self, node, inputs, outputs)",
            )
        node = self.make_node(*inputs)
        given = [as_tensor_variable(i) for i in node.inputs]
        opaque = Opaque(type(self).__name__.strip("_"), _performed(node),
                        [v.type for v in given], [o.type for o in node.outputs])  # fmt: skip
        operands = self._connected(node, given)
        with speaking(TensorVariable):
            results = opaque(operands, self._extents(node, given))
            made = with_gradient(results, results, operands, gradient_of(node))
        for output in made:
            output.__dict__["_owner"] = Apply(self, given, made)
            output.name = options.get("name")
        if self.default_output is not None:
            return made[self.default_output]
        several = options.get("return_list", False) or len(made) > 1
        return list(made) if several else made[0]

    def _connected(self, node: Apply, given: list[Any]) -> list[Any]:
        """The operands, of which those that no output depends on are constants to gradients."""
        pattern = getattr(self, "connection_pattern", None)
        if pattern is None:
            return given
        return [v if any(row) else emit(DISCONNECTED, (v,))
                for v, row in zip(given, pattern(node), strict=True)]  # fmt: skip

    def _extents(self, node: Apply, given: Sequence[Any]) -> list[Any] | None:
        """All extents of the outputs, if the op has `infer_shape`."""
        infer = getattr(self, "infer_shape", None)
        if infer is None:
            return None
        shapes = infer(node, [tuple(movement.dims(v)) for v in given])
        return [as_size(n) for shape in shapes for n in shape]

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any = None) -> None:
        """Compute `output_storage[k][0]` from arrays."""
        raise MethodNotDefined(f"{type(self).__name__}.perform")

    def get_params(self, node: Any) -> Any:
        """What `perform` is told besides arrays: by default the op, which has its parameters."""
        return self

    def make_thunk(self, node: Any, storage_map: Any, compute_map: Any, no_recycling: Any,
                   impl: Any = None) -> Callable[[], Any]:  # fmt: skip
        """A function that computes the outputs where `storage_map` says. Ops may have their
        own."""
        raise MethodNotDefined(f"{type(self).__name__}.make_thunk")

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

    def __repr__(self) -> str:
        return str(self)


class _FromFunction(Op):
    """A Python function as an op."""

    def __init__(
        self, function: Callable[..., Any], itypes: Any, otypes: Any, shapes: Any
    ) -> None:
        self.itypes, self.otypes, self.function = itypes, otypes, function
        if shapes is not None:
            self.infer_shape = shapes

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
    return lambda function: _FromFunction(function, itypes, otypes, infer_shape)


class Assert(Op):
    """`Assert("message")(x, *conditions)` is x; a call where a condition is not true raises
    AssertionError."""

    __props__ = ("msg",)

    def __init__(self, msg: str = "Theano Assert failed!") -> None:
        self.msg = msg

    def make_node(self, *inputs: Any) -> Apply:
        value, *conditions = map(as_tensor_variable, inputs)
        return Apply(self, [value, *conditions], [type_as_seen(value.type)()])

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any = None) -> None:
        if not all(np.all(condition) for condition in inputs[1:]):
            raise AssertionError(self.msg)
        output_storage[0][0] = inputs[0]

    def infer_shape(self, node: Any, shapes: Any) -> Any:
        """The shape of what is passed on."""
        return [shapes[0]]

    def grad(self, inputs: Any, output_grads: Any) -> Any:
        return [output_grads[0], *(None for _ in inputs[1:])]


assert_ = assert_op = Assert()


def ignored(*args: Any, **options: Any) -> None:
    """What has no effect here: code in C."""

