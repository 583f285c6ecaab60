"""Products that leave loops: which do, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import jitgraph.tensor as T
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options
from jitgraph.passes.pipeline import optimise
from jitgraph.passes.specialise import specialise
from tests.native import assert_close, compiled

RNG = np.random.default_rng(11)


def parted(
    params: Sequence[Any], results: Sequence[Any], arrays: Sequence[Any], algebra: str = "real"
) -> list[tuple[int, int]]:
    """For each loop how many products are in its body, and how much it carries; after the results
    were found to be what they are without any pass."""
    fn = Function(params, results)
    best = optimise(fn, Options(algebra))
    verify(best)
    want = interpreter.run(fn, arrays)
    native = compiled(fn, algebra, arrays=arrays)
    for found in (interpreter.run(best, arrays), native(*arrays)):
        for a, b in zip(found, want, strict=True):
            assert_close(a, b)
    loops = [v.op for v in best.ops if v.op is not None and v.op.name == "loop"]
    return [(sum(v.is_op("matmul") for v in op.attrs["body"].ops), op.attrs["carried"])
            for op in loops]  # fmt: skip


def net(batch: bool) -> tuple[list[Any], Any, list[Any]]:
    """A recurrent net, its cost, and values for its parameters."""
    lead = (2,) if batch else ()
    shapes = [(4, *lead, 3), (*lead, 5), (3, 5), (5, 5)]
    xs, h0, w, u = params = [T.tensor("float64", (None,) * len(s)) for s in shapes]

    def step(h: Any, x: Any) -> Any:
        h = T.tanh(x @ w + h @ u)
        return h, h

    _, rows = T.loop_rows(step, h0, xs)
    return params, (rows**2).sum(), [RNG.normal(size=s) for s in shapes]


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("steps", [4, 1, 0])
def test_only_the_recurrence_stays(batch: bool, steps: int) -> None:
    params, cost, arrays = net(batch)
    arrays[0] = arrays[0][:steps]
    gradients = T.grad(cost, params)
    decomposed = 0 if not batch else 1  # products with vectors have become sums
    assert parted(params, [cost], arrays) == [(decomposed, 1)]
    forward, backward = parted(params, [cost, *gradients], arrays)
    assert forward == (decomposed, 1)
    assert backward == ((4, 3) if batch else (0, 1))  # sums of products of matrices stay


def test_matrices_are_turned_once() -> None:
    params, cost, _ = net(True)
    fn = Function(params, [T.grad(cost, params[0])])
    fn = optimise(specialise(fn, tuple((0,) * p.ndim for p in params)), Options("real"))
    loops = [v.op for v in fn.ops if v.op is not None and v.op.name == "loop"]
    assert len(loops) == 2
    assert not any(v.is_op("transpose") for op in loops for v in op.attrs["body"].ops)


def test_running_sums_keep_their_order_in_ieee() -> None:
    params, cost, arrays = net(False)
    (_, forward), (_, backward) = parted(
        params, [cost, *T.grad(cost, params[2:])], arrays, "ieee"
    )
    assert (forward, backward) == (1, 3)


def test_what_more_than_a_sum_depends_on_stays() -> None:
    xs, w = T.dmatrix("xs"), T.dmatrix("w")
    arrays = [RNG.normal(size=(3, 4)), RNG.normal(size=(4, 4))]
    last, rows = T.loop_rows(lambda s, x: (s + x[:, None] @ x[None], s.sum()), w, xs)
    assert parted([xs, w], [last, rows], arrays) == [(0, 1)]
    last, rows = T.loop_rows(lambda s, x: (s + x[:, None] @ x[None], x.sum()), w, xs)
    assert parted([xs, w], [last, rows], arrays) == [(0, 0)]
    last = T.fori_loop(0, xs.shape[0], lambda i, s: s + i * w @ (w + i), w)
    assert parted([xs, w], [last], arrays) == [(1, 1)]  # there would be rows to store
    last = T.while_loop(lambda s: s.sum() < 50, lambda s: s + w @ w.T, w)
    assert parted([w], [last], arrays[1:]) == [(0, 1)]


def test_products_of_rows_with_what_is_captured() -> None:
    xs, w = T.dmatrix("xs"), T.dmatrix("w")
    arrays = [RNG.normal(size=(6, 4)), RNG.normal(size=(4, 4))]

    def step(s: Any, x: Any) -> Any:
        return T.sin(s + w @ x + T.exp(x) @ w), None

    last, _ = T.loop_rows(step, w[0], xs, reverse=True)
    fn = optimise(Function([xs, w], [last]), Options("real"))
    assert sum(v.is_op("matmul") for v in fn.ops) == 2
    assert parted([xs, w], [last], arrays) == [(0, 1)]
    rows, _ = T.map(lambda x: T.tanh(x @ w) @ w, xs)
    assert parted([xs, w], [rows], arrays) == [(0, 0)]


def test_a_loop_that_ends_by_itself_computes_no_row_ahead() -> None:
    xs, w = T.dmatrix("xs"), T.dmatrix("w")

    def step(x: Any, s: Any) -> Any:
        s = T.sin(s + x @ w)
        return s, T.until(s.sum() > 0)

    rows, _ = T.scan(step, xs, w[0])
    arrays = [RNG.normal(size=(6, 4)), RNG.normal(size=(4, 4))]
    cost = (rows**2).sum()
    fn = optimise(Function([xs, w], [cost, T.grad(cost, w)]), Options("real"))
    forward, backward = (v.op.attrs for v in fn.ops if v.op is not None and v.is_op("loop"))
    assert forward["condition"] is not None
    parted([xs, w], [cost, T.grad(cost, w)], arrays)
    assert backward["carried"] == 1


def test_second_derivatives() -> None:
    params, cost, arrays = net(True)
    slope = T.grad(cost, params[3])
    curve = T.grad((slope * slope).sum(), params[2])
    parted(params, [cost, slope, curve], arrays)
