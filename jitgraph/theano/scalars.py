"""`theano.scalar`: scalars are arrays of rank 0, and their ops those of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

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
