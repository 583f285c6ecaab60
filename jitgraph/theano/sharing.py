"""`theano.shared`."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.ir.types import as_dtype
from jitgraph.ir.values import Value
from jitgraph.theano.streams import shared_state
from jitgraph.theano.variables import TensorSharedVariable


def shared(
    value: Any,
    name: str | None = None,
    strict: bool = False,
    allow_downcast: bool | None = None,
    borrow: bool = False,
    broadcastable: Any = None,
    target: str = "cpu",
    **unused: Any,
) -> TensorSharedVariable:
    """A shared variable holding `value`; with `borrow` an array is not copied."""
    if isinstance(value, Value):
        raise TypeError("a shared variable holds a value, not a symbolic variable")
    if isinstance(value, np.random.RandomState):
        return shared_state(value, name)
    array = np.asarray(value)
    dtype = as_dtype(array.dtype)
    if borrow:
        array = np.require(array, dtype=dtype, requirements=["C", "A"])
    else:
        array = np.array(array, dtype=dtype, order="C")
    made = TensorSharedVariable(array, name)
    if broadcastable is not None:
        made.__dict__["_broadcastable"] = tuple(map(bool, broadcastable))
    if strict or allow_downcast is not None:
        made.__dict__["rules"] = (allow_downcast, strict)
    return made
