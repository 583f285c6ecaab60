"""What follows on the images of a convolution: right, and the same bits for all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from tests.native import assert_close, compiled
from tests.tensor.test_convolution import (
    CONVOLUTIONS,
    RTOL,
    convolutions,
    convolved,
    numbers,
    pooled,
    slow,
)

THREADS = (1, 2, 5)
Array = np.ndarray[Any, Any]


#: What follows on outputs y and a number b for each filter, here and as NumPy has it.
WINDOWS = ((2, 2), False, (2, 2), (0, 0), "max")
LAYERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "activation": (lambda y, b: T.maximum(y + b, 0), lambda y, b: np.maximum(y + b, 0)),
    "sums": (lambda y, b: (y + b).sum(axis=-1), lambda y, b: (y + b).sum(axis=-1)),
    "pool": (lambda y, b: T.nnet.pool_2d(y, (2, 2), ignore_border=False) + b,
             lambda y, b: pooled(y, *WINDOWS) + b),
}  # fmt: skip


@slow
@given(convolutions(), st.sampled_from(sorted(LAYERS)), st.booleans())
def test_layers_are_the_loop(case: dict[str, Any], name: str, keep: bool) -> None:
    """Bias, activation and pool, without and with the outputs, for the whole argument space."""
    dtype, rank = case["dtype"], len(case["strides"])
    assume(name != "pool" or rank == 2)
    x, w, b = (
        numbers(shape, dtype, seed)
        for seed, shape in enumerate((case["x"], case["w"], (case["w"][0], *[1] * rank)))
    )
    given_ = [T.tensor(dtype, s.shape if case["known"] else [None] * s.ndim) for s in (x, w, b)]
    y = CONVOLUTIONS[rank](
        *given_[:2], border_mode=case["border"], subsample=case["strides"],
        filter_flip=case["flip"], filter_dilation=case["dilation"], num_groups=case["groups"],
    )  # fmt: skip
    raw = convolved(x, w, case["before"], case["after"], case["strides"], case["dilation"],
                    case["groups"], case["flip"])  # fmt: skip
    build, follow = LAYERS[name]
    wanted = [follow(raw, b.astype(float)), raw][: 1 + keep]
    got = jg.function(given_, [build(y, given_[2]), y][: 1 + keep])(x, w, b)
    scale = 50 * max(1.0, float(np.abs(raw).max(initial=0)))
    for have, want in zip(got, wanted, strict=True):
        assert have.dtype == dtype
        np.testing.assert_allclose(have, want, rtol=2 * RTOL[dtype], atol=RTOL[dtype] * scale)


def layer(y: Any, b: Any) -> Any:
    return T.tanh(y + b[:, None, None])


def pool(y: Any, ws: tuple[int, int] = (2, 2)) -> Any:
    return T.nnet.pool_2d(y, ws, ignore_border=True)


#: Of the convolution of x with w, and of b, a number for each filter.
PROGRAMS: dict[str, Callable[..., Any]] = {
    "activation": lambda y, x, w, b: layer(y, b),
    "pool": lambda y, x, w, b: T.tanh(pool(y) + b[:, None, None]),
    "activation, then pool": lambda y, x, w, b: pool(layer(y, b), (3, 2)),
    "kept": lambda y, x, w, b: [layer(y, b), y],
    "read again": lambda y, x, w, b: [layer(y, b), y[::-1, ::-1]],
    "totals": lambda y, x, w, b: [T.tanh(y).sum(axis=(2, 3)), layer(y, b).sum(axis=(0, 2, 3))],
    "gradient": lambda y, x, w, b: T.grad(T.sum(pool(layer(y, b)) ** 2), [x, w, b]),
    "second layer": lambda y, x, w, b: T.grad(
        T.sum(T.nnet.conv2d(layer(y, b), T.concatenate([w[:1, :1]] * 6, axis=1)) ** 2), [x, w, b]
    ),
    "half": lambda y, x, w, b: y.astype("float16"),
    "other convolution": lambda y, x, w, b: y * T.nnet.sigmoid(T.nnet.conv2d(x + 1, w)),
}  # fmt: skip


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_images_parts_and_tasks(name: str, groups: int) -> None:
    """Few large images, which are made in parts, and many, which are not."""
    dtype = "float64" if groups == 1 else "float32"
    x, w = (T.tensor(dtype, [None] * 4, name=n) for n in "xw")
    b = T.vector("b", dtype=dtype)
    if groups > 1 and name == "other convolution":
        return
    y = T.nnet.conv2d(x, w, num_groups=groups)
    made = PROGRAMS[name](y, x, w, b)
    fn = Function([x, w, b], made if isinstance(made, list) else [made])
    native, rng = compiled(fn), np.random.default_rng(1)
    for n, size in ((0, 9), (2, 9), (2, 41), (40, 19)):
        shapes = ((n, 2 * groups, size, size + 1), (6, 2, 3, 3), (6,))
        arrays = [rng.standard_normal(s).astype(dtype) for s in shapes]
        want = interpreter.run(fn, arrays)
        runs = []
        for threads in THREADS:
            with jg.set_num_threads(threads):
                got = native(*arrays)
            for g, h in zip(got, want, strict=True):
                assert_close(g, h, (name, n, size, threads))
            runs.append([g.tobytes() for g in got])
        assert all(run == runs[0] for run in runs), (name, n, size)


def test_results_of_any_size_are_written_past_the_caches() -> None:
    """More than the caches hold, with a layer after it."""
    x, w = (T.tensor("float32", [None] * 4) for _ in range(2))
    f = jg.function([x, w], T.maximum(T.nnet.conv2d(x, w), 0))
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((40, 1, 130, 130), (8, 1, 1, 1)))
    np.testing.assert_array_equal(f(a, b), np.maximum(a * b[:, 0], 0))


def test_an_error_leaves_nothing_behind() -> None:
    """Filters that do not fit are refused before anything is written."""
    x, w = (T.tensor("float64", [None] * 4) for _ in range(2))
    kept = jg.shared(np.ones(3))
    y = T.tanh(T.nnet.conv2d(x, w))
    f = jg.function([x, w], y, updates=[(kept, kept + y.sum())])
    with pytest.raises(jg.errors.JitgraphError):
        f(np.ones((2, 3, 4, 4)), np.ones((2, 3, 5, 5)))
    np.testing.assert_array_equal(kept.get_value(), np.ones(3))


def test_inside_a_loop() -> None:
    """Steps of a scan, which keep their memory from step to step."""
    x, w = (T.tensor("float64", [None] * 4) for _ in range(2))
    step = lambda h: T.tanh(T.nnet.conv2d(h, w, border_mode="half"))
    steps, _ = T.scan(step, [], [x], n_steps=3)
    f, rng = jg.function([x, w], steps[-1]), np.random.default_rng(3)
    a, b = rng.normal(size=(4, 3, 20, 20)), rng.normal(size=(3, 3, 3, 3))
    want = a
    for _ in range(3):
        want = np.tanh(convolved(want, b, [1, 1], [1, 1], [1, 1], [1, 1], 1, True))
    np.testing.assert_allclose(f(a, b), want, rtol=1e-9, atol=1e-12)
