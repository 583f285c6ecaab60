"""Which kernels become a part of the product before them."""

from __future__ import annotations

from typing import Any

import pytest

import jitgraph.tensor as T
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import Epilogue, Kernel, Product, Program, Rows
from jitgraph.tensor.variable import Variable
from tests.passes.test_schedule import program_of


def program(*results: Any) -> Program:
    values = {v for r in results for v in _leaves(r)}
    return program_of(Function(sorted(values, key=lambda v: str(v.name)), list(results)))


def _leaves(value: Any) -> set[Any]:
    if value.op is None:
        return {value}
    return {leaf for a in value.op.args for leaf in _leaves(a)}


def epilogues(made: Program) -> list[Epilogue]:
    return [s.epilogue for s in made.work() if isinstance(s, Product) and s.epilogue is not None]


def matrices(names: str) -> list[Variable]:
    return [T.dmatrix(name) for name in names]


def test_a_layer_is_one_step_without_memory_of_its_own() -> None:
    x, w = matrices("xw")
    made = program(T.tanh(x @ w + T.dvector("b")))
    (product,) = made.work()
    assert isinstance(product, Product)
    assert product.epilogue is not None
    assert not product.epilogue.turned
    assert not made.slots
    assert made.inherited == {product.out.buffer: made.results[0]}
    assert product.writes() == {product.out.buffer, made.results[0]}
    assert product.out.buffer not in product.reads()


def test_layers_take_turns_in_two_slots() -> None:
    x = T.dmatrix("x", shape=(64, 64))
    w = T.dmatrix("w", shape=(64, 64))
    for _ in range(6):
        x = T.tanh(x @ w)
    made = program(x)
    assert len(epilogues(made)) == 6
    assert len(made.slots) <= 2


@pytest.mark.parametrize("turned", [False, True])
def test_a_product_that_others_read_stays(turned: bool) -> None:
    x, w, v = matrices("xwv")
    first = x @ w
    made = program((first.T if turned else first) + 1, first @ v)
    assert not epilogues(made)


def test_work_in_between_stays_in_between() -> None:
    """The kernel moves up to its product, past what it does not depend on."""
    x, w, y = matrices("xwy")
    made = program(x @ w + 1, T.exp(y).sum(axis=0))
    assert len(epilogues(made)) == 1
    scaled = program((x @ w) * T.sum(T.exp(x @ w)))
    assert not epilogues(scaled), "the sum comes after the whole product"


NOT_POINT_BY_POINT = {
    "sum over rows": lambda x, w: T.tanh(x @ w).sum(axis=0),
    "sum over columns": lambda x, w: T.tanh(x @ w).sum(axis=1),
    "row nest": lambda x, w: T.softmax(x @ w, axis=1),
    "another place": lambda x, w: (x @ w)[::-1] + 1,
    "part": lambda x, w: (x @ w)[1:] + 1,
    "computed place": lambda x, w: (x @ w)[T.lvector("i")],
    "running total": lambda x, w: T.cumsum(x @ w, axis=0),
    "another matrix": lambda x, w: x @ w + T.dmatrix("d"),
    "another product": lambda x, w: x @ w - T.exp(x) @ w,
    "two results": lambda x, w: [T.exp(x @ w + 1), x @ w + 1],
    "batch": lambda x, w: T.matmul(T.dtensor3("t"), w) + 1,
}


@pytest.mark.parametrize("name", NOT_POINT_BY_POINT)
def test_other_kernels_wait_for_the_whole_product(name: str) -> None:
    x, w = matrices("xw")
    results = NOT_POINT_BY_POINT[name](x, w)
    made = program(*results) if isinstance(results, list) else program(results)
    assert not epilogues(made)
    assert any(isinstance(s, Kernel | Rows) for s in made.work())


def test_a_square_that_meets_its_transpose_waits() -> None:
    (x,) = matrices("x")
    square = x @ x
    assert not epilogues(program(square + square.T))
