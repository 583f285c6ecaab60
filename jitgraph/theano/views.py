"""`theano.compile.ops`: ops that give their operand on, or say what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitgraph.ir.ops.marks import with_gradient
from jitgraph.tensor.operands import speaking
from jitgraph.theano import basic
from jitgraph.theano.ops import Op, _FromFunction, gradient_of
from jitgraph.theano.types import type_as_seen
from jitgraph.theano.variables import Apply, TensorVariable, as_tensor_variable


class ViewOp(Op):
    """x itself. Classes derived from it have another `grad`, and cost nothing when they run."""

    passes_on = True
    view_map: dict[int, list[int]] = {0: [0]}  # noqa: RUF012  (Theano's programs write it so)

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        return Apply(self, [x], [type_as_seen(x.type)()])

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any = None) -> None:
        output_storage[0][0] = inputs[0]

    def grad(self, inputs: Any, output_grads: Any) -> Any:
        return list(output_grads)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if type(self).perform is not ViewOp.perform:
            return super().__call__(*inputs, **options)
        node = self.make_node(*inputs)
        x = as_tensor_variable(node.inputs[0])
        with speaking(TensorVariable):
            (made,) = with_gradient([x], [x], [x], gradient_of(node))
        made.__dict__["_owner"] = Apply(self, [x], [made])
        return made


DeepCopyOp = OutputGuard = ViewOp
view_op = deep_copy_op = ViewOp()


class FromFunctionOp(_FromFunction):
    """`FromFunctionOp(function, itypes, otypes, infer_shape)`: what `as_op` makes."""


class Shape:
    """`Shape()(x)`: the extents."""

    def __call__(self, x: Any) -> Any:
        return as_tensor_variable(x).shape


shape = Shape()


class Shape_i:  # noqa: N801  (Theano's name)
    """`Shape_i(i)(x)`: one extent."""

    def __init__(self, i: int) -> None:
        self.i = i

    def __call__(self, x: Any) -> Any:
        return as_tensor_variable(x).shape[self.i]


def shape_i(var: Any, i: int, fgraph: Any = None) -> Any:
    """One extent of a variable."""
    return as_tensor_variable(var).shape[i]


class Rebroadcast:
    """`Rebroadcast((axis, broadcasts), ...)(x)`: x; an axis that is said to broadcast must have
    extent 1."""

    def __init__(self, *axis: Sequence[Any]) -> None:
        self.axis = {int(a): bool(broadcasts) for a, broadcasts in axis}

    def __call__(self, x: Any) -> Any:
        ones = [a for a, broadcasts in self.axis.items() if broadcasts]
        return basic.addbroadcast(x, *ones) if ones else as_tensor_variable(x)


class SpecifyShape:
    """`SpecifyShape()(x, shape)`: x, which has this shape or the call fails."""

    def __call__(self, x: Any, shape: Any) -> Any:
        return basic.specify_shape(x, shape)


specify_shape = SpecifyShape()
