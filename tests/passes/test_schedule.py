"""Programs: everything is computed before it is used, memory is shared only when it is free."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.driver import Compilation, Interface, default_layout
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import (
    Buffer,
    Check,
    Fetch,
    Kernel,
    Let,
    Product,
    Program,
    Rows,
    Step,
    Zero,
)
from jitgraph.ir.schedule_text import print_program
from jitgraph.ir.values import Value
from jitgraph.tensor.variable import Variable
from tests.strategies import Program as RandomProgram
from tests.strategies import functions

GIVEN = {"dim", "stride", "constant"}


def program_of(fn: Function) -> Program:
    layout = default_layout(fn, [[None] * p.ndim for p in fn.params])
    interface = Interface((None,) * len(fn.params), (None,) * len(fn.results), False)
    return Compilation(fn, layout, interface).program


def compiled(inputs: list[Variable], outputs: list[Variable]) -> Program:
    return program_of(Function(inputs, outputs))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(functions(benign=True))
def test_every_program_is_well_formed(random: RandomProgram) -> None:
    program = program_of(random.function)
    assert_scalars_come_first(program)
    assert_buffers_are_written_before_they_are_read(program)
    assert_slots_are_shared_safely(program)
    assert print_program(program)


def scalars_of(step: Step) -> list[Value]:
    if isinstance(step, Let):
        return list(step.value.op.args) if step.value.op is not None else []
    if isinstance(step, Check):
        return [step.condition]
    return [] if isinstance(step, Fetch) else step.scalars()


def assert_scalars_come_first(program: Program) -> None:
    known: set[Value] = set()
    for at, step in enumerate(program.steps):
        for scalar in scalars_of(step):
            given = scalar.op is not None and scalar.op.name in GIVEN
            assert given or scalar in known, f"step {at} uses {scalar.describe()} too early"
        if isinstance(step, Let | Fetch):
            known.add(step.value)


def assert_buffers_are_written_before_they_are_read(program: Program) -> None:
    written = set(program.param_buffers)
    for step in program.steps:
        reads = {step.buffer} if isinstance(step, Fetch) else set()
        if isinstance(step, Kernel | Rows | Product | Zero):
            reads = step.reads() - running_totals(step)
        assert all(b in written or b.kind == "constant" for b in reads)
        if isinstance(step, Kernel | Rows | Product | Zero):
            written |= step.writes()
    assert set(program.results) <= written


def running_totals(step: Step) -> set[Buffer]:
    """What a kernel reads of its own: the row before, of a running total."""
    stores = step.stores if isinstance(step, Kernel) else ()
    return {s.access.buffer for s in stores if s.running is not None}


def spans_of(program: Program) -> dict[Buffer, list[int]]:
    """The steps that touch each buffer."""
    spans: dict[Buffer, list[int]] = {}
    for at, step in enumerate(program.steps):
        if isinstance(step, Fetch):
            spans.setdefault(step.buffer, []).append(at)
        elif isinstance(step, Kernel | Rows | Product | Zero):
            for buffer in step.reads() | step.writes():
                spans.setdefault(buffer, []).append(at)
    return spans


def assert_slots_are_shared_safely(program: Program) -> None:
    """Two buffers of one slot live one after the other; they may meet in one kernel, which then
    writes exactly where it reads. So do a result and the temporary that had its memory first."""
    spans = spans_of(program)
    assert len(set(program.inherited.values())) == len(program.inherited)
    for guest, home in program.inherited.items():
        assert guest not in program.placement
        assert max(spans[guest]) == min(spans[home])
        assert_overwrites(program.steps[min(spans[home])], home, guest)
    for first, slot in program.placement.items():
        for second, other in program.placement.items():
            if slot != other or first is second or first not in spans or second not in spans:
                continue
            early, late = sorted((first, second), key=lambda b: min(spans[b]))
            assert max(spans[early]) <= min(spans[late])
            if max(spans[early]) == min(spans[late]):
                assert_overwrites(program.steps[max(spans[early])], late, early)


def assert_overwrites(step: Step, late: Buffer, early: Buffer) -> None:
    if isinstance(step, Product) and step.epilogue is not None:
        assert early not in step.operands(), "a part of the product may still read it"
        step = step.epilogue.kernel
    assert isinstance(step, Kernel)
    stores = [s.access for s in step.stores if s.access.buffer is late]
    loads = [x.access for x in step.loads if x.access.buffer is early]
    assert stores
    assert all(s.strides == x.strides for s in stores for x in loads)
    assert all(s.offset == x.offset for s in stores for x in loads)


# --- what fuses ----------------------------------------------------------------------------------
def test_elementwise_chains_are_one_kernel_without_temporaries() -> None:
    x, y = T.dvectors("x", "y")
    program = compiled([x, y], [T.exp(x) * y + T.sin(x) / (1 + y * y)])
    assert len(program.work()) == 1
    assert not program.slots


def test_views_cost_nothing() -> None:
    a = T.dmatrix("a")
    program = compiled([a], [(a.T[::-1, 1:] * 2).reshape((-1,))])
    (kernel, *_) = program.work()
    assert isinstance(kernel, Kernel)
    assert len(kernel.loads) == 1


def test_a_reduction_takes_its_operand_in() -> None:
    x, y = T.dmatrix("x"), T.dvector("y")
    program = compiled([x, y], [T.sum(T.exp(x - y), axis=1)])
    (kernel,) = program.work()
    assert isinstance(kernel, Kernel)
    assert kernel.stores[0].in_register
    assert not program.slots


def test_results_over_one_domain_share_a_kernel() -> None:
    x = T.dmatrix("x")
    e = T.exp(x)
    program = compiled([x], [e, e * 2, T.sum(e), T.max(x, axis=1)])
    kernels = [w for w in program.work() if isinstance(w, Kernel) and w.extents]
    assert len(kernels) == 1
    assert sum(v.is_op("exp") for v in kernels[0].body()) == 1


def test_products_read_transposes_and_slices_where_they_lie() -> None:
    a, b = T.dmatrix("a"), T.dmatrix("b")
    program = compiled([a, b], [T.dot(a.T[1:], b[:, ::2])])
    (product,) = program.work()
    assert isinstance(product, Product)
    assert not program.slots


def test_a_product_that_is_read_transposed_is_written_transposed() -> None:
    a, b = T.dmatrix("a"), T.dmatrix("b")
    program = compiled([a, b], [T.dot(a, b).T + 1])
    (product,) = program.work()
    assert isinstance(product, Product)
    assert product.epilogue is not None
    kernel = product.epilogue.kernel
    places = [a.strides for a in kernel.accesses()]
    assert product.epilogue.turned
    assert all(s == product.out.strides[::-1] for s in places), "both sides lie in the same order"


def test_temporaries_share_memory() -> None:
    a, v = T.dmatrix("a", shape=(64, 64)), T.dmatrix("v", shape=(64, 64))
    x = v
    for _ in range(8):
        x = T.tanh(T.dot(a, x))
    program = compiled([a, v], [x])
    assert len(program.slots) <= 2


def test_softmax_needs_no_memory_but_a_row_for_each_thread() -> None:
    x = T.dmatrix("x")
    program = compiled([x], [T.nnet.softmax(x)])
    (rows,) = program.work()
    assert isinstance(rows, Rows)
    assert rows.depth == 1
    assert sorted(len(b.extents) for b in rows.locals) == [0, 0, 1]
    assert not program.slots


def test_the_autoencoder_step_is_one_native_call_of_few_kernels() -> None:
    rng = np.random.default_rng(0)
    w = jg.shared(rng.random((6, 4)), name="w")
    hidden_bias, visible_bias = jg.shared(np.zeros(4)), jg.shared(np.zeros(6))
    x = T.dmatrix("x")
    hidden = T.nnet.sigmoid(T.dot(x, w) + hidden_bias)
    out = T.nnet.sigmoid(T.dot(hidden, T.transpose(w)) + visible_bias)
    cost = T.mean(-T.sum(x * T.log(out) + (1 - x) * T.log(1 - out), axis=1))
    params = [w, hidden_bias, visible_bias]
    updates = [(p, p - 0.1 * g) for p, g in zip(params, T.grad(cost, params), strict=True)]
    step = jg.function([x], cost, updates=updates)
    work = step.compilation.program.work()
    assert sum(isinstance(s, Product) for s in work) == 5
    assert sum(isinstance(s, Kernel) for s in work) <= 8


@pytest.mark.parametrize("algebra", ["real", "ieee"])
def test_reductions_choose_their_loops(algebra: str) -> None:
    x = T.dmatrix("x")
    columns = jg.function([x], x.sum(axis=0), algebra=algebra).compilation.program
    kernels = [w for w in columns.work() if isinstance(w, Kernel)]
    assert [s.in_register for k in kernels for s in k.stores] == [False]
    rows = jg.function([x], x.sum(axis=1), algebra=algebra).compilation.program
    assert [s.in_register for k in rows.work() if isinstance(k, Kernel) for s in k.stores] == [True]
