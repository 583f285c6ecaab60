"""The interpreter: NumPy's meaning, its errors, its memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

from jitgraph.errors import (
    DomainError,
    DTypeError,
    InputError,
    InternalError,
    JitgraphError,
    OutOfBoundsError,
    ShapeError,
)
from jitgraph.ir.function import Function
from jitgraph.ir.interpreter import run
from jitgraph.ir.opdef import OPS, OpDef, apply_op, constant
from jitgraph.ir.ops.arithmetic import equal, greater_equal
from jitgraph.ir.ops.exponential import exp, power, tanh
from jitgraph.ir.ops.indexing import gather, slice_axis
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.movement import broadcast_to, dim, dims, reshape, squeeze, transpose
from jitgraph.ir.ops.normalisation import softmax
from jitgraph.ir.ops.reduction import max_
from jitgraph.ir.parser import parse
from jitgraph.ir.types import kind_of, parse_type
from jitgraph.ir.values import Value
from tests.strategies import EVERY_DTYPE, Program, functions


def var(text: str, name: str = "x") -> Value:
    return Value(parse_type(text), name=name)


@settings(max_examples=120, deadline=None)
@given(functions(dtypes=EVERY_DTYPE))
def test_any_program_runs_and_so_does_its_text(program: Program) -> None:
    ours = run(program.function, program.inputs())
    theirs = run(parse(str(program.function)), program.inputs())
    for result, a, b in zip(program.function.results, ours, theirs, strict=True):
        assert a.dtype == result.dtype
        assert a.tobytes() == b.tobytes()
        assert a.shape == b.shape


@settings(max_examples=60, deadline=None)
@given(functions(benign=True))
def test_benign_programs_stay_moderate(program: Program) -> None:
    for result in run(program.function, program.inputs()):
        if kind_of(result.dtype) == "f":
            assert (np.abs(result) <= 100).all()


def test_a_softmax_regression() -> None:
    x, w, b = var("f64[n, 4]"), var("f64[4, 3]", "w"), var("f64[3]", "b")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((5, 4), (4, 3), (3,))]
    (p,) = run(Function([x, w, b], [softmax(matmul(x, w) + b, [1])]), arrays)
    e = np.exp(arrays[0] @ arrays[1] + arrays[2])
    np.testing.assert_allclose(p, e / e.sum(1, keepdims=True), rtol=1e-12)


def test_results_are_fresh_writable_arrays() -> None:
    x = var("f64[2, 3]")
    c = constant(np.arange(3.0))
    array = np.ones((2, 3))
    views = [transpose(x, [1, 0]), broadcast_to(x, (4, 2, 3))]
    results = run(Function([x], [x, x, *views, c]), [array])
    for result in results:
        result[...] = 7
    assert array.min() == array.max() == 1
    assert c.literal is not None
    assert c.literal.array[1] == 1
    assert all(r.flags.c_contiguous for r in results)


# --- inputs --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("type_", "array", "error", "message"),
    [
        ("f64[3]", np.ones(3, np.float32), DTypeError, "x must be f64[3], not an array of dtype"),
        ("f64[3]", np.ones(3, ">f8"), DTypeError, "dtype >f8"),
        ("f64[3]", np.ones((3, 1)), ShapeError, "x must be f64[3], not an array of rank 2"),
        ("f64[3]", np.ones(4), ShapeError, "axis 0 of x has 4 elements, not 3"),
        ("f64[n!]", np.ones(1), ShapeError, "axis 0 of x has 1 element, but n! is never 1"),
        ("f64[n, n]", np.ones((2, 3)), ShapeError,
         "axis 1 of x has 3 elements, but n is 2, from axis 0 of x"),
        ("f64[3]", [1.0, 2.0, 3.0], InputError, "x must be an array, not list"),
    ],
)  # fmt: skip
def test_inputs_are_what_the_parameters_say(
    type_: str, array: np.ndarray, error: type[JitgraphError], message: str
) -> None:
    x = var(type_)
    with pytest.raises(error) as caught:
        run(Function([x], [x]), [array])
    assert message in caught.value.message


def test_named_extents_agree_between_inputs() -> None:
    x, y = var("f64[n]"), var("f64[2, n]", "y")
    with pytest.raises(ShapeError, match="axis 1 of y has 4 elements, but n is 3"):
        run(Function([x, y], [x + y]), [np.ones(3), np.ones((2, 4))])


def test_as_many_inputs_as_parameters() -> None:
    with pytest.raises(InputError, match="f takes 1 inputs, not 0"):
        run(Function([var("f64[]")], [], name="f"), [])


# --- errors at run time --------------------------------------------------------------------------
def failure(fn: Function, *inputs: np.ndarray) -> JitgraphError:
    with pytest.raises(JitgraphError) as caught:
        run(fn, inputs)
    return caught.value


def test_shapes_that_do_not_fit_are_told_as_at_build_time() -> None:
    a, b = var("f64[?]", "a"), var("f64[?]", "b")
    error = failure(Function([a, b], [a + b]), np.ones(3), np.ones(4))
    assert isinstance(error, ShapeError)
    assert error.message == (
        "cannot add f64[3] and f64[4] (dimension 0: 3 is not 4 and neither is 1)"
    )
    assert [str(o) for o in error.operands] == ["a: f64[3]", "b: f64[4]"]
    assert "test_interpreter.py" in str(error)
    assert "^^^^^" in str(error)


def test_a_product_that_does_not_fit() -> None:
    a, b = var("f64[?, ?]", "a"), var("f64[?, ?]", "b")
    error = failure(Function([a, b], [matmul(a, b)]), np.ones((2, 3)), np.ones((4, 5)))
    assert "the inner dimensions 3 and 4 differ" in error.message


def test_an_integer_to_a_negative_power() -> None:
    a, b = var("i64[?]", "a"), var("i64[?]", "b")
    fn = Function([a, b], [power(a, b)])
    error = failure(fn, np.array([2, 3]), np.array([1, -1]))
    assert isinstance(error, DomainError)
    assert "negative" in error.message
    assert error.operands[1].name == "b"
    shapes = failure(fn, np.array([2, 3]), np.array([1, 1, 1]))
    assert isinstance(shapes, ShapeError)


def test_an_index_out_of_bounds() -> None:
    x, i = var("f64[n]"), var("i64[?]", "i")
    error = failure(Function([x, i], [gather(x, [i])]), np.ones(3), np.array([0, 3]))
    assert isinstance(error, OutOfBoundsError)
    assert error.message == "index 3 is out of bounds for axis 0 with size 3"
    assert [o.type for o in error.operands] == ["f64[3]", "i64[2]"]


def test_a_slice_never_clamps() -> None:
    x = var("f64[n]")
    error = failure(Function([x], [slice_axis(x, 0, 1, 4)]), np.ones(3))
    assert isinstance(error, OutOfBoundsError)


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        (lambda x: max_(x, [0]), (0, 2), "max of an axis of extent 0 in f64[0, 2] has no value"),
        (lambda x: squeeze(x, [0]), (3, 2), "cannot squeeze axis 0 of f64[3, 2]"),
        (lambda x: reshape(x, [4]), (3, 2), "cannot reshape f64[3, 2] to [4]: the sizes differ"),
        (lambda x: reshape(x, [dim(x, 0)]), (3, 2), "cannot reshape shape (3, 2) to (3,)"),
        (lambda x: broadcast_to(x, dims(x)[::-1]), (3, 2), "cannot broadcast shape (3, 2)"),
    ],
)
def test_conditions_of_single_ops(
    build: Callable[[Value], Value], shape: tuple[int, ...], message: str
) -> None:
    x = var("f64[?, ?]")
    error = failure(Function([x], [build(x)]), np.ones(shape))
    assert isinstance(error, ShapeError)
    assert message in error.message


def test_a_check_that_does_not_hold_shows_its_operands() -> None:
    x, y = var("f64[?]"), var("f64[?]", "y")
    n, m = dim(x, 0), dim(y, 0)
    fn = Function([x, y], [exp(x)], checks=[equal(n, m)])
    run(fn, [np.ones(3), np.ones(3)])
    error = failure(fn, np.ones(3), np.ones(4))
    assert isinstance(error, ShapeError)
    assert error.message == "the check equal(3, 4) does not hold"
    assert "equal(n, m)" in str(error)
    assert [o.type for o in error.operands] == ["i64[] = 3", "i64[] = 4"]


def test_checks_are_tested_in_order() -> None:
    x = var("i64[]")
    first, second = greater_equal(x, 1), greater_equal(x, 2)
    fn = Function([x], [x], checks=[first, second])
    assert failure(fn, np.array(0)).message == "the check greater_equal(0, 1) does not hold"
    assert failure(fn, np.array(1)).message == "the check greater_equal(1, 2) does not hold"
    ok = var("bool[]", "ok")
    error = failure(Function([ok], [], checks=[ok]), np.array(False))
    assert error.message == "the check ok does not hold"


@pytest.mark.parametrize("result", [np.ones(3, np.float32), np.ones((3, 1)), np.ones(4)])
def test_an_op_that_contradicts_its_inference_is_found(result: np.ndarray) -> None:
    liar = OpDef(
        name="liar", infer=OPS["exp"].infer, evaluate=lambda x: result, shape=OPS["exp"].shape
    )
    x = var("f64[n]")
    fn = Function([x], [apply_op(liar, (x,), {}, None)])
    with pytest.raises(InternalError, match=r"computed float.*\n  %0 = liar %x : f64\[n\]"):
        run(fn, [np.ones(3)])


# --- memory and scale ----------------------------------------------------------------------------
def test_intermediates_are_dropped_after_their_last_use() -> None:
    x = y = var("f64[n]")
    for _ in range(50):
        y = tanh(y)
    fn = Function([x], [y])
    array = np.ones(100_000)
    run(fn, [array])
    tracemalloc.start()
    run(fn, [array])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * array.nbytes


def test_a_hundred_thousand_ops_run() -> None:
    x = y = var("i64[]")
    for _ in range(100_000):
        y = abs(y)
    assert run(Function([x], [y]), [np.array(-5)]) == [5]
