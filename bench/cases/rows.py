"""Programs over the rows of a matrix, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import uniform

ROWS, COLUMNS = 4096, 1024
SHAPE = (ROWS, COLUMNS)
BYTES = 4 * ROWS * COLUMNS


def softmax(xp: Any, x: Any) -> Any:
    """Along the last axis."""
    if hasattr(xp, "softmax"):
        return xp.softmax(x, axis=-1)
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def logsumexp(xp: Any, x: Any) -> Any:
    """Of every row."""
    if hasattr(xp, "logsumexp"):
        return xp.logsumexp(x, axis=-1)
    peak = xp.max(x, axis=-1, keepdims=True)
    return xp.log(xp.sum(xp.exp(x - peak), axis=-1)) + peak[:, 0]


def likelihood(xp: Any, x: Any, y: Any) -> Any:
    """The mean negative log-likelihood of labels y under softmax(x)."""
    if hasattr(xp, "log_softmax"):
        return -xp.mean(xp.take(xp.log_softmax(x, axis=-1), y))
    return xp.mean(logsumexp(xp, x) - xp.take(x, y))


def layer_norm(xp: Any, x: Any, gamma: Any, beta: Any) -> Any:
    """Rows of mean 0 and variance 1, scaled and shifted."""
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(centred * centred, axis=-1, keepdims=True)
    return centred / xp.sqrt(variance + 1e-5) * gamma + beta


def gelu(xp: Any, x: Any) -> Any:
    """x times the normal distribution function."""
    return 0.5 * x * (1 + xp.erf(x * 0.7071067811865476))


def softmax_slope(xp: Any, x: Any, w: Any) -> Any:
    """Of sum(softmax(x) w)."""
    s = softmax(xp, x)
    return s * (w - xp.sum(s * w, axis=-1, keepdims=True))


def likelihood_slope(xp: Any, x: Any, y: Any) -> Any:
    """softmax(x) less the labels, over the number of rows."""
    slope = softmax(xp, x)
    slope[np.arange(len(y)), y] -= 1
    slope /= len(y)
    return slope


def layer_norm_slope(xp: Any, x: Any, gamma: Any, beta: Any, w: Any) -> Any:
    """Of sum(layer_norm(x) w), to x, gamma and beta."""
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)
    unit = centred * spread
    d = w * gamma
    dx = spread * (d - d.mean(axis=-1, keepdims=True)
                   - unit * (d * unit).mean(axis=-1, keepdims=True))  # fmt: skip
    return dx, (w * unit).sum(axis=0), w.sum(axis=0)


def gelu_slope(xp: Any, x: Any, w: Any) -> Any:
    """Of sum(gelu(x) w)."""
    bell = xp.exp(-0.5 * x * x) * 0.3989422804014327
    return w * (0.5 * (1 + xp.erf(x * 0.7071067811865476)) + x * bell)


def logsumexp_slope(xp: Any, x: Any, w: Any) -> Any:
    """Of sum(logsumexp(x) w)."""
    return softmax(xp, x) * w[:, None]


def labelled(random: np.random.Generator) -> list[Any]:
    """A matrix, and a column of each row."""
    x = uniform(np.float32, SHAPE)(random)[0]
    return [x, random.integers(0, COLUMNS, ROWS)]


def cases() -> Iterator[Case]:
    """Forward and backward, float32."""
    x, row, weights = SHAPE, (COLUMNS,), SHAPE
    forward: dict[str, Any] = {
        "softmax": (softmax, uniform(np.float32, x), BYTES),
        "logsumexp": (logsumexp, uniform(np.float32, x), 4 * ROWS),
        "log-softmax NLL": (likelihood, labelled, 4),
        "layer norm": (layer_norm, uniform(np.float32, x, row, row), BYTES),
        "gelu": (gelu, uniform(np.float32, x), BYTES),
    }
    for name, (program, inputs, written) in forward.items():
        yield Case(
            name=f"{name} f32 4096x1024", group="rows", family=name, inputs=inputs,
            expression=program, traffic=(BYTES, written), quick=name in ("softmax", "gelu"),
        )  # fmt: skip
    backward: dict[str, Any] = {
        "softmax": (
            lambda xp, x, w: xp.sum(softmax(xp, x) * w), softmax_slope,
            uniform(np.float32, x, weights), (0,), 2, 1,
        ),
        "logsumexp": (
            lambda xp, x, w: xp.sum(logsumexp(xp, x) * w), logsumexp_slope,
            uniform(np.float32, x, (ROWS,)), (0,), 1, 1,
        ),
        "log-softmax NLL": (likelihood, likelihood_slope, labelled, (0,), 1, 1),
        "layer norm": (
            lambda xp, x, g, b, w: xp.sum(layer_norm(xp, x, g, b) * w), layer_norm_slope,
            uniform(np.float32, x, row, row, weights), (0, 1, 2), 2, 1,
        ),
        "gelu": (
            lambda xp, x, w: xp.sum(gelu(xp, x) * w), gelu_slope,
            uniform(np.float32, x, weights), (0,), 2, 1,
        ),
    }  # fmt: skip
    for name, (program, by_hand, inputs, wrt, read, written) in backward.items():
        yield Case(
            name=f"{name} gradient f32 4096x1024", group="row gradients",
            family=f"{name} gradient", inputs=inputs, expression=program, by_hand=by_hand,
            wrt=wrt, traffic=(read * BYTES, written * BYTES), tolerance=5,
        )  # fmt: skip
