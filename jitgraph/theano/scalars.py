"""`theano.scalar`: scalars are arrays of rank 0, and their ops those of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.theano.types import TensorType
from jitgraph.theano.variables import as_tensor_variable, constant

as_scalar = as_tensor_variable
__all__ = ["Scalar", "as_scalar", "constant", "upcast"]


def upcast(*dtypes: Any) -> str:
    """The dtype that holds numbers of all these."""
    return str(np.result_type(*(np.dtype(d) for d in dtypes)))


def Scalar(dtype: Any) -> TensorType:  # noqa: N802  (Theano's name)
    """The type of a scalar."""
    return TensorType(dtype, ())


def _made_by_class(function: Callable[..., Any]) -> Callable[..., Any]:
    """A class of scalar ops as programs use it: a call makes the op, a function of variables."""
    return lambda output_types_preference=None, name=None: function


#: The classes of `theano.scalar.basic_scipy`.
Erf, Erfc, Erfcx, Erfinv, Erfcinv, Gamma, GammaLn, Psi, TriGamma, J0, J1, I0, I1 = map(
    _made_by_class,
    (jt.erf, jt.erfc, jt.erfcx, jt.erfinv, jt.erfcinv, jt.gamma, jt.gammaln, jt.psi, jt.tri_gamma,
     jt.j0, jt.j1, jt.i0, jt.i1),
)  # fmt: skip
