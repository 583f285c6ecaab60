"""Composite ops with names of their own, so that rules see them before they are taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir import batching
from jitgraph.ir.opdef import Array, Attrs, OpDef, emit, in_single, register
from jitgraph.ir.ops.arithmetic import isfinite, where
from jitgraph.ir.ops.exponential import exp, log
from jitgraph.ir.ops.movement import expand_dims
from jitgraph.ir.ops.reduction import peak, restore, sum_
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value


def _infer(name: str, keeps_axes: bool) -> Callable[[Sequence[Type], Attrs], Type]:
    def infer(types: Sequence[Type], attrs: Attrs) -> Type:
        x, axes = types[0], attrs["axes"]
        if not x.is_float:
            raise DTypeError(f"{name} does not take {x}", hint="cast it to a float first")
        if any(not 0 <= a < x.rank for a in axes):
            raise ShapeError(f"{name}: axes {list(axes)} do not fit {x}")
        return x if keeps_axes else x.with_shape(d for i, d in enumerate(x.shape) if i not in axes)

    return infer


def _peak(x: Array, axes: tuple[int, ...]) -> Array:
    """The maximum, or 0 where it is not finite: exp(x - peak) is then exact about infinities."""
    peak = x.max(axis=axes, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(peak), peak, 0).astype(x.dtype)


def _evaluate_logsumexp(x: Array, *, axes: tuple[int, ...]) -> Array:
    with np.errstate(all="ignore"):
        peak = _peak(x, axes)
        total = np.exp(x - peak).sum(axis=axes, keepdims=True, dtype=x.dtype)
        return np.asarray(np.squeeze(np.log(total) + peak, axes))


def _evaluate_softmax(x: Array, *, axes: tuple[int, ...]) -> Array:
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=axes, keepdims=True, initial=-np.inf))
        return np.asarray(e / e.sum(axis=axes, keepdims=True, dtype=x.dtype))


def _evaluate_log_softmax(x: Array, *, axes: tuple[int, ...]) -> Array:
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=axes, keepdims=True, initial=-np.inf)
        total = np.exp(shifted).sum(axis=axes, keepdims=True, dtype=x.dtype)
        return np.asarray(shifted - np.log(total))


def _shift(x: Value, axes: tuple[int, ...]) -> Value:
    return x - expand_dims(peak(x, axes), axes)  # type: ignore[no-any-return]


def _decompose_softmax(x: Value, *, axes: tuple[int, ...]) -> Value:
    e = exp(_shift(x, axes))
    return e / expand_dims(sum_(e, axes), axes)  # type: ignore[no-any-return]


def _decompose_log_softmax(x: Value, *, axes: tuple[int, ...]) -> Value:
    shifted = _shift(x, axes)
    return shifted - expand_dims(log(sum_(exp(shifted), axes)), axes)  # type: ignore[no-any-return]


def _decompose_logsumexp(x: Value, *, axes: tuple[int, ...]) -> Value:
    shift = peak(x, axes)
    shift = where(isfinite(shift), shift, 0)
    total = sum_(exp(x - expand_dims(shift, axes)), axes)
    return log(total) + shift  # type: ignore[no-any-return]


def _softmax_gradient(g: Value, y: Value, x: Value, *, axes: tuple[int, ...]) -> list[Any]:
    return [y * (g - expand_dims(sum_(g * y, axes), axes))]


def _log_softmax_gradient(g: Value, y: Value, x: Value, *, axes: tuple[int, ...]) -> list[Any]:
    return [g - exp(y) * expand_dims(sum_(g, axes), axes)]


def _logsumexp_gradient(g: Value, y: Value, x: Value, *, axes: tuple[int, ...]) -> list[Any]:
    return [restore(g, x, axes) * exp(x - expand_dims(y, axes))]


SOFTMAX = OpDef(
    name="softmax",
    infer=_infer("softmax", keeps_axes=True),
    evaluate=in_single(_evaluate_softmax),
    shape=lambda source, args, attrs: source.shape(args[0]),
    gradient=_softmax_gradient,
    decompose=_decompose_softmax,
    batch=batching.along_axes,
    doc="exp(x) / sum(exp(x)) along axes, shifted by the maximum.",
)
LOG_SOFTMAX = OpDef(
    name="log_softmax",
    infer=_infer("log_softmax", keeps_axes=True),
    evaluate=in_single(_evaluate_log_softmax),
    shape=lambda source, args, attrs: source.shape(args[0]),
    gradient=_log_softmax_gradient,
    decompose=_decompose_log_softmax,
    batch=batching.along_axes,
    doc="log(softmax(x)) without underflow.",
)
LOGSUMEXP = OpDef(
    name="logsumexp",
    infer=_infer("logsumexp", keeps_axes=False),
    evaluate=in_single(_evaluate_logsumexp),
    shape=lambda source, args, attrs: tuple(
        s for i, s in enumerate(source.shape(args[0])) if i not in attrs["axes"]
    ),
    gradient=_logsumexp_gradient,
    decompose=_decompose_logsumexp,
    batch=batching.along_axes,
    doc="log(sum(exp(x))) along axes, without overflow.",
)
for _definition in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP):
    register(_definition)


def softmax(x: Value, axes: Sequence[int]) -> Value:
    """exp(x) normalised to sum 1 along axes counted from the front."""
    return emit(SOFTMAX, (x,), axes=tuple(axes))


def log_softmax(x: Value, axes: Sequence[int]) -> Value:
    """The logarithm of `softmax`."""
    return emit(LOG_SOFTMAX, (x,), axes=tuple(axes))


def logsumexp(x: Value, axes: Sequence[int]) -> Value:
    """log(sum(exp(x))) along axes counted from the front, which are dropped."""
    return emit(LOGSUMEXP, (x,), axes=tuple(axes))
