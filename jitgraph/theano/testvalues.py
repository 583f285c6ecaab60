"""`tag.test_value`: values computed while the graph is built, so that errors come early."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jitgraph.ir.values import Value
from jitgraph.tensor.shared import SharedVariable
from jitgraph.theano.config import config


class NotScalarConstantError(Exception):
    """A variable that is no constant scalar."""


def scalar_constant(variable: Any) -> Any:
    """The number a constant scalar is; raises NotScalarConstantError."""
    if not isinstance(variable, Value):
        array = np.asarray(variable)
    elif variable.literal is not None:
        array = variable.literal.array
    else:
        raise NotScalarConstantError(f"{variable.describe()} is no constant")
    if array.size != 1:
        raise NotScalarConstantError(f"an array of shape {array.shape} is no scalar")
    return array.reshape(())


def constant_or_self(x: Any, elemwise: bool = True, only_process_constants: bool = False) -> Any:
    """The number a constant scalar is, else the variable."""
    try:
        return scalar_constant(x)
    except NotScalarConstantError:
        return x


def of(variable: Any) -> Any:
    """The test value of a variable; raises AttributeError where there is none."""
    if not isinstance(variable, Value):
        return variable
    if isinstance(variable, SharedVariable):
        return variable.get_value(borrow=True)
    if variable.literal is not None:
        return variable.literal.array
    tag: Any = getattr(variable, "tag", None)
    if not hasattr(tag, "test_value"):
        raise AttributeError(f"{variable.describe()} has no test value")
    given = tag.test_value
    return np.asarray(given, variable.type.dtype) if not isinstance(given, tuple) else given


def compute(variable: Any) -> None:
    """Give an expression the test value that follows from those it is made of, as
    `config.compute_test_value` says."""
    op = variable.op
    if op.definition.name == "constant":
        return
    try:
        operands = [of(a) for a in op.args]
    except AttributeError as missing:
        if not any(getattr(a, "__dict__", {}).get("declared") for a in op.args):
            return  # within the step of a loop, whose variables have no values yet
        if config.compute_test_value == "raise":
            raise AttributeError(f"{missing}, which compute_test_value='raise' demands") from None
        if config.compute_test_value == "warn":
            warnings.warn(str(missing), stacklevel=4)
        return
    with np.errstate(all="ignore"):
        variable.tag.test_value = op.definition.evaluate(*operands, **op.attrs)
