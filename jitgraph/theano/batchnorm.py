"""`theano.tensor.nnet.bn`."""

from __future__ import annotations

from typing import Any

import jitgraph.tensor as jt
from jitgraph.errors import OptionError
from jitgraph.theano.variables import as_tensor_variable, spoken


def _axes(axes: Any, rank: int) -> tuple[int, ...]:
    """The axes that are reduced."""
    if axes == "per-activation":
        return (0,)
    if axes == "spatial":
        return (0, *range(2, rank))
    if isinstance(axes, tuple | list):
        return tuple(int(a) for a in axes)
    raise OptionError(f"axes cannot be {axes!r}", hint="'per-activation', 'spatial' or a tuple")


def _spread(parameter: Any, rank: int, axes: tuple[int, ...]) -> Any:
    """A parameter with extent 1 along the axes that are reduced."""
    p = as_tensor_variable(parameter)
    if p.ndim == rank:
        return p
    places = iter(range(p.ndim))
    return p.dimshuffle(*("x" if a in axes else next(places) for a in range(rank)))


@spoken
def batch_normalization(inputs: Any, gamma: Any, beta: Any, mean: Any, std: Any,
                        mode: str = "low_mem") -> Any:  # fmt: skip
    """(inputs - mean)·gamma / std + beta."""
    return (as_tensor_variable(inputs) - mean) * (gamma / std) + beta


@spoken
def batch_normalization_train(
    inputs: Any, gamma: Any, beta: Any, axes: Any = "per-activation", epsilon: float = 1e-4,
    running_average_factor: Any = 0.1, running_mean: Any = None, running_var: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    """Normalised by the batch: the output, its mean, 1 / its deviation, and what the running mean
    and variance become if there are any. All but the output are of the rank of gamma."""
    x, gamma = as_tensor_variable(inputs), as_tensor_variable(gamma)
    over = _axes(axes, x.ndim)
    mean = jt.mean(x, over, keepdims=True)
    var = jt.mean(jt.square(x - mean), over, keepdims=True)
    inverse = 1.0 / jt.sqrt(var + epsilon)
    out = (x - mean) * (_spread(gamma, x.ndim, over) * inverse) + _spread(beta, x.ndim, over)
    kept = [mean, inverse]
    keep, take = 1 - running_average_factor, running_average_factor
    if running_mean is not None:
        old = as_tensor_variable(running_mean)
        kept.append(jt.cast(_spread(old, x.ndim, over) * keep + mean * take, old.dtype))
    if running_var is not None:
        old = as_tensor_variable(running_var)
        count: Any = 1
        for axis in over:
            count = count * x.shape[axis]
        count = jt.cast(count, x.dtype)
        unbiased = var * (count / (count - 1))
        kept.append(jt.cast(_spread(old, x.ndim, over) * keep + unbiased * take, old.dtype))
    return out, *(k if gamma.ndim == x.ndim else jt.squeeze(k, over) for k in kept)


@spoken
def batch_normalization_test(
    inputs: Any, gamma: Any, beta: Any, mean: Any, var: Any, axes: Any = "per-activation",
    epsilon: float = 1e-4,
) -> Any:  # fmt: skip
    """Normalised by a mean and a variance that are given."""
    x = as_tensor_variable(inputs)
    over = _axes(axes, x.ndim)
    gamma, beta, mean, var = (_spread(p, x.ndim, over) for p in (gamma, beta, mean, var))
    return (x - mean) * (gamma / jt.sqrt(var + epsilon)) + beta
