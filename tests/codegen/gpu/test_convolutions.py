"""Convolutions and their adjoints on the simulated device, compared with their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.ir.opdef import OPS

#: Images, groups, channels and filters of a group; input, filters; strides, zeros, dilations.
CASES: list[tuple[Any, ...]] = [
    ((3, 1, 2, 5), (6, 9), (2, 3), (1, 1), (0, 0), (1, 1)),
    ((2, 2, 3, 9), (5, 20), (3, 2), (2, 3), (1, 2), (1, 1)),
    ((1, 1, 3, 70), (7, 19), (3, 3), (1, 1), (1, 1), (1, 2)),
    ((9, 3, 1, 1), (1, 5), (1, 5), (2, 2), (0, 4), (1, 1)),
    ((2, 1, 40, 20), (8, 8), (3, 3), (1, 1), "half", (1, 1)),
]


def functions(dtype: str, case: Any) -> Any:
    """The convolution and its adjoints, of arrays of any sizes."""
    (_, groups, _, _), _, _, strides, padding, dilation = case
    x, w, g = (T.tensor4(name, dtype=dtype) for name in "xwg")
    y = T.nnet.conv2d(x, w, border_mode=padding, subsample=strides, filter_dilation=dilation,
                      num_groups=groups, filter_flip=False)  # fmt: skip
    grads = T.grad((y * g).sum(), [x, w])
    return jg.function([x, w, g], [y, *grads], device="simulated")


@pytest.mark.parametrize(("dtype", "case"), [
    *(("float32", case) for case in CASES), ("float64", CASES[1])
])  # fmt: skip
def test_convolutions(dtype: str, case: Any) -> None:
    (n, groups, c, o), spatial, kernel, strides, before, dilation = case
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (n, groups * c, *spatial)).astype(dtype)
    w = rng.integers(-3, 4, (groups * o, c, *kernel)).astype(dtype)
    padding = before if isinstance(before, str) else tuple(p for p in before for _ in range(2))
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    y = OPS["conv"].evaluate(x, w, **attrs)
    g = rng.integers(-3, 4, y.shape).astype(dtype)
    wanted = [y, OPS["conv_by_input"].evaluate(g, w, sizes=spatial, **attrs),
              OPS["conv_by_filters"].evaluate(x, g, sizes=kernel, **attrs)]  # fmt: skip
    for found, expected in zip(functions(dtype, case)(x, w, g), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("pooled", [False, True])
def test_what_follows_on_images(pooled: bool) -> None:
    """Row nests that the host would run image by image."""
    x, w, b = T.tensor4("x", dtype="float32"), T.tensor4("w", dtype="float32"), T.vector("b")
    y = T.nnet.conv2d(x, w, border_mode="half", filter_flip=False)
    y = T.nnet.pool_2d(y, (2, 2), ignore_border=True) if pooled else y
    y = T.maximum(y + b.dimshuffle("x", 0, "x", "x"), 0)
    outputs = [y, *T.grad(y.sum(), [w, b])] if pooled else y
    rng = np.random.default_rng(1)
    given = [rng.integers(-3, 4, shape).astype(dtype) for shape, dtype in (
        ((3, 2, 8, 9), "float32"), ((4, 2, 3, 3), "float32"), ((4,), b.dtype))]  # fmt: skip
    wanted = jg.function([x, w, b], outputs)(*given)
    found = jg.function([x, w, b], outputs, device="simulated")(*given)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
