"""Scalar ops of the user's own (`theano.scalar.UnaryScalarOp`), and `Elemwise`, which applies them
to arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.config import config
from jitgraph.errors import InputError
from jitgraph.ir.types import kind_of
from jitgraph.theano.ops import Op
from jitgraph.theano.types import TensorType
from jitgraph.theano.variables import Apply, as_tensor_variable, spoken

Preference = Callable[..., Sequence[Any]]


# --- which dtypes come out ---------------------------------------------------------------------
def upcast_out(*types: Any) -> list[Any]:
    """The dtype that holds numbers of all operands."""
    return [np.result_type(*(t.dtype for t in types))]


def same_out(type: Any) -> list[Any]:
    """The dtype of the operand."""
    return [type.dtype]


def upgrade_to_float(*types: Any) -> list[Any]:
    """As `upcast_out`, but floats of integers."""
    joined = np.result_type(*(t.dtype for t in types))
    return [joined if kind_of(joined) in "fc" else np.dtype(config.floatX)]


def transfer_type(*places: Any) -> Preference:
    """The dtypes of the operands at these places."""
    return lambda *types: [types[p].dtype if isinstance(p, int) else p for p in places]


def specific_out(*dtypes: Any) -> Preference:
    """These dtypes."""
    return lambda *types: [np.dtype(getattr(d, "dtype", d)) for d in dtypes]


same_out_nocomplex = same_out
upgrade_to_float_no_complex = upgrade_to_float


# --- ops ---------------------------------------------------------------------------------------
class ScalarOp(Op):
    """A function of numbers, `impl`, applied to each element of arrays; `grad` is by expressions.
    Code in C is not used."""

    nin = -1
    nout = 1

    def __init__(self, output_types_preference: Any = None, name: str | None = None) -> None:
        self.name = name
        self.output_types_preference = output_types_preference or upcast_out

    def impl(self, *inputs: Any) -> Any:
        """The result for numbers."""
        raise InputError(f"{self} has no impl(): ops written in C are not taken",
                         hint="write impl(self, x), or an expression")  # fmt: skip

    def make_node(self, *inputs: Any) -> Apply:
        given = list(jt.broadcast_arrays(*map(as_tensor_variable, inputs)))
        if self.nin >= 0 and len(given) != self.nin:
            raise TypeError(f"{self} takes {self.nin} operands, not {len(given)}")
        dtypes = self.output_types_preference(*(g.type for g in given))
        return Apply(self, given, [TensorType(d, given[0].type.shape)() for d in dtypes])

    @spoken
    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return super().__call__(*inputs, **options)

    def perform(self, node: Any, inputs: Any, output_storage: Any, params: Any = None) -> None:
        each = np.frompyfunc(self.impl, len(inputs), self.nout)(*inputs)
        results = each if isinstance(each, tuple) else (each,)
        for cell, result, out in zip(output_storage, results, node.outputs, strict=True):
            cell[0] = np.asarray(result).astype(out.type.dtype)

    def infer_shape(self, node: Any, shapes: Any) -> Any:
        """Operands have the shape of the results."""
        return [shapes[0]] * self.nout

    def __str__(self) -> str:
        return self.name or type(self).__name__


class UnaryScalarOp(ScalarOp):
    """A function of a number."""

    nin = 1


class BinaryScalarOp(ScalarOp):
    """A function of two numbers."""

    nin = 2
