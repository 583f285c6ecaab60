"""Row nests: what belongs together is one step, and stays right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import jitgraph.tensor as T
from jitgraph.driver import Compilation, Interface, default_layout
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import Kernel, Product, Program, Rows
from jitgraph.ir.types import kind_of
from jitgraph.tensor.variable import Variable
from tests.native import assert_close, compiled
from tests.strategies import Program as RandomProgram
from tests.strategies import functions

Expression = Callable[..., Variable]


def program_of(fn: Function) -> Program:
    layout = default_layout(fn, [[None] * p.ndim for p in fn.params])
    interface = Interface((None,) * len(fn.params), (None,) * len(fn.results), False)
    return Compilation(fn, layout, interface).program


def centred(x: Variable) -> Variable:
    return x - x.mean(axis=-1, keepdims=True)


def layer_norm(x: Variable, gamma: Variable, beta: Variable) -> Variable:
    spread = T.sqrt((centred(x) ** 2).mean(axis=-1, keepdims=True) + 1e-5)
    return centred(x) / spread * gamma + beta


def unit(x: Variable) -> Variable:
    return x / T.sqrt((x * x).sum(axis=-1, keepdims=True))


def by_hand(x: Variable) -> Variable:
    e = T.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


OVER_ROWS: dict[str, Expression] = {
    "softmax": lambda x: T.softmax(x, axis=-1),
    "softmax by hand": by_hand,
    "log_softmax": lambda x: T.log_softmax(x, axis=-1),
    "logsumexp": lambda x: T.logsumexp(x, axis=-1),
    "layer norm": layer_norm,
    "var": lambda x: x.var(axis=-1),
    "std": lambda x: x.std(axis=-1),
    "unit": unit,
    "argmax": lambda x: x.argmax(axis=-1),
}
#: Their gradients write into slices, which are steps of their own.
WITHIN_ROWS: dict[str, Expression] = {
    "a window of the row before": lambda x: T.softmax(x, axis=-1)[..., 1:] - x[..., :-1],
    "turned rows": lambda x: T.softmax(x, axis=-1)[..., ::-1],
}
SIZES = [(1, 1), (5, 1), (1, 9), (0, 9), (3, 8), (7, 33), (64, 100)]


def inputs_of(expression: Expression, ndim: int) -> list[Variable]:
    x = {2: T.dmatrix, 3: T.dtensor3}[ndim]("x")
    return [x, T.dvector("gamma"), T.dvector("beta")] if expression is layer_norm else [x]


def arrays_for(inputs: Sequence[Variable], shape: tuple[int, ...]) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape if p.ndim > 1 else shape[-1:]) for p in inputs]


def functions_of(name: str, ndim: int) -> list[Function]:
    """The expression, and the gradient of its sum of squares."""
    expression = OVER_ROWS.get(name) or WITHIN_ROWS[name]
    inputs = inputs_of(expression, ndim)
    value = expression(*inputs)
    if kind_of(value.dtype) != "f" or name in WITHIN_ROWS:
        return [Function(inputs, [value])]
    return [Function(inputs, [value]), Function(inputs, T.grad(T.sum(value * value), inputs))]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", [*OVER_ROWS, *WITHIN_ROWS])
def test_one_pass_over_memory(name: str, ndim: int) -> None:
    for fn in functions_of(name, ndim):
        work = program_of(fn).work()
        assert sum(isinstance(w, Rows | Kernel | Product) for w in work) == 1, name
        assert isinstance(work[-1], Kernel if name == "argmax" else Rows)


@pytest.mark.parametrize("name", [*OVER_ROWS, *WITHIN_ROWS])
def test_rows_of_every_size_agree_with_the_interpreter(name: str) -> None:
    for fn in functions_of(name, 2):
        native = compiled(fn)
        for shape in SIZES:
            if name == "argmax" and 0 in shape:
                continue
            arrays = arrays_for(fn.params, shape)  # type: ignore[arg-type]
            want = interpreter.run(fn, arrays)
            for g, w in zip(native(*arrays), want, strict=True):
                assert_close(g, w, (name, shape), 1e-8)


def test_columns_are_read_row_by_row() -> None:
    """Softmax down the columns keeps its loops over whole rows: no step strides through memory."""
    x = T.dmatrix("x")
    work = program_of(Function([x], [T.softmax(x, axis=0)])).work()
    kernels = [w for w in work if isinstance(w, Kernel)]
    assert len(kernels) > 1
    assert all(a.strides[-1] == 8 for k in kernels for a in k.accesses())


def test_pairs_are_never_all_in_memory() -> None:
    x = T.dmatrix("x", shape=(None, 3))
    apart = x[None, :, :] - x[:, None, :]
    pull = apart * ((apart**2).sum(axis=2, keepdims=True) + 0.01) ** -1.5
    program = program_of(Function([x], [pull.sum(axis=1)]))
    temporaries = {b for work in program.work() for b in work.writes() if b.kind == "temporary"}
    assert all(len(b.extents) == 1 for b in temporaries)
    assert sum(isinstance(w, Kernel) and len(w.extents) == 2 for w in program.work()) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(functions(benign=True))
def test_row_nests_are_well_formed(random: RandomProgram) -> None:
    for step in program_of(random.function).work():
        if not isinstance(step, Rows):
            continue
        for kernel in step.kernels:
            assert all(a is b or a == b for a, b in
                       zip(kernel.extents[: step.depth], step.shared, strict=True))  # fmt: skip
            for access in kernel.accesses():
                if access.buffer in step.locals:
                    assert access.strides[: step.depth] == (0,) * step.depth
        for total in step.totals:
            users = [k for k in step.kernels if total in k.reads() | k.writes()]
            assert len(users) == 1
