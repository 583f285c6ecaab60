"""What a user reads when a program or a call is wrong: typed errors that name the line, the
operands with their types, and the mend. At build where that is provable, else at the call."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import (
    DisconnectedError,
    DomainError,
    DTypeError,
    GradientError,
    InputError,
    JitgraphError,
    OptionError,
    OutOfBoundsError,
    RangeError,
    ShapeError,
    TruthValueError,
    UpdateError,
)

Build = Callable[[], Any]
PLACE = re.compile(r"test_bad_input\.py:\d+")


def told(build: Build, error: type[JitgraphError]) -> str:
    """The message, with `@` for this file and a line number, carets still under the expression."""
    with pytest.raises(JitgraphError) as caught:
        build()
    assert type(caught.value) is error, caught.value
    lines: list[str] = []
    shorter = 0
    for line in str(caught.value).split("\n"):
        short = PLACE.sub("@", line)
        lines.append(line[shorter:] if set(line.strip()) == {"^"} else short)
        shorter = len(line) - len(short)
    return "\n".join(lines)


def golden(text: str) -> str:
    """A message as it is written in a test: without the indent and the first newline."""
    lines = text.strip("\n").split("\n")
    return "\n".join(line.removeprefix("        ") for line in lines).rstrip()


# --- whole messages ------------------------------------------------------------------------------
def test_sizes_that_meet_at_the_call() -> None:
    w = T.dvector("w")
    b = T.dvector("b")
    f = jg.function([w, b], T.exp(w + b))
    assert told(lambda: f(np.ones(3), np.ones(4)), ShapeError) == golden("""
        cannot add f64[3] and f64[4] (dimension 0: 3 is not 4 and neither is 1)
          @   f = jg.function([w, b], T.exp(w + b))
                                            ^^^^^
          w: f64[3]  from @      b: f64[4]  from @""")


def test_matrix_product_at_the_call() -> None:
    a = T.dmatrix("a")
    v = T.dvector("v")
    f = jg.function([a, v], T.dot(a, v))
    assert told(lambda: f(np.ones((2, 3)), np.ones(2)), ShapeError) == golden("""
        cannot multiply f64[2, 3] by f64[2]: the inner dimensions 3 and 2 differ
          @   f = jg.function([a, v], T.dot(a, v))
                                      ^^^^^^^^^^^
          a: f64[2, 3]  from @      v: f64[2]  from @""")


def test_index_at_the_call() -> None:
    x = T.dvector("x")
    i = T.lscalar("i")
    f = jg.function([x, i], x[i])
    for bad in (3, -4):
        assert told(lambda bad=bad: f(np.ones(3), bad), OutOfBoundsError) == golden(f"""
        index {bad} is out of bounds for axis 0 with size 3
          @   f = jg.function([x, i], x[i])
                                      ^^^^
          x: f64[3]  from @      where(...): i64[]  from @""")


def test_reshape_at_the_call() -> None:
    x = T.dvector("x")
    n = T.lscalar("n")
    f = jg.function([x, n], x.reshape((n, 2)))
    assert told(lambda: f(np.ones(6), 4), ShapeError) == golden("""
        cannot reshape shape (6,) to (4, 2): the sizes differ
          @   f = jg.function([x, n], x.reshape((n, 2)))
                                      ^^^^^^^^^^^^^^^^^
          x: f64[6]  from @      n: i64[]  from @""")


def test_rank_of_an_input() -> None:
    x = T.dvector("x")
    f = jg.function([x], x)
    call = lambda: f(np.ones((3, 3)))
    assert told(call, ShapeError) == golden("""
        input x is f64[?], and was given an array of shape (3, 3)
          @   call = lambda: f(np.ones((3, 3)))
                             ^^^^^^^^^^^^^^^^^^
          x: f64[?]  from @
          pass an array of rank 1""")


def test_wider_floats_are_refused() -> None:
    x = T.fvector("x")
    f = jg.function([x], x * 2)
    call = lambda: f(np.ones(3))
    assert told(call, DTypeError) == golden("""
        input x is f32, and was given float64: the conversion could lose information
          @   call = lambda: f(np.ones(3))
                             ^^^^^^^^^^^^^
          x: f32[?]  from @
          pass x.astype('float32'), or build with allow_input_downcast=True""")


def test_inputs_the_outputs_need() -> None:
    x = T.dvector("x")
    y = T.dvector("y")
    assert told(lambda: jg.function([x], x + y), InputError) == golden("""
        the outputs need y: f64[?], which is not among the inputs
          @   y = T.dvector("y")
                  ^^^^^^^^^^^^^^
          add it to inputs, or give it a value through givens=""")
    assert told(lambda: jg.function([x, y], x), InputError) == golden("""
        no output needs the input y
          @   y = T.dvector("y")
                  ^^^^^^^^^^^^^^
          leave it out, or pass on_unused_input='ignore'""")
    assert told(lambda: jg.function([x, x], x), InputError) == golden("""
        the input x is given twice
          @   x = T.dvector("x")
                  ^^^^^^^^^^^^^^""")


def test_missing_and_extra_arguments() -> None:
    x, y = T.dvector("x"), T.fmatrix("y")
    f = jg.function([x, y], x + y, name="sum_up")
    call = lambda: f(np.ones(3))
    assert told(call, InputError) == golden("""
        missing input: y
          @   call = lambda: f(np.ones(3))
                             ^^^^^^^^^^^^^
          inputs of sum_up: x: f64[?], y: f32[?, ?]""")
    assert told(lambda: f(), InputError).startswith("missing inputs: x, y\n")
    assert told(lambda: f(1, 2, 3), InputError).startswith("3 inputs given, 2 wanted\n")
    assert told(lambda: f(1, z=2), InputError).startswith("there is no input named 'z'\n")
    assert told(lambda: f(1, x=2), InputError).startswith("the input 'x' is given twice\n")


def test_update_of_another_type() -> None:
    s = jg.shared(np.zeros((2, 3)), "s")
    new = s + 1j
    assert told(lambda: jg.function([], updates=[(s, new)]), UpdateError) == golden("""
        s is f64[?, ?], its update c128[?, ?]: the conversion would lose information
          @   new = s + 1j
                    ^^^^^^
          write it out: T.cast(new_value, 'float64')""")


def test_truth_of_a_symbol() -> None:
    x = T.dvector("x")
    build = lambda: 1 if x > 0 else 2
    assert told(build, TruthValueError) == golden("""
        greater(...) (bool[?]) is symbolic: it is neither true nor false yet
          @   build = lambda: 1 if x > 0 else 2
                                   ^^^^^
          greater(...): bool[?]  from @
          choose between values with T.where(condition, a, b), or run one of two functions \
with T.cond(condition, f, g)""")


def test_integer_to_a_negative_power() -> None:
    n = T.lvector("n")
    f = jg.function([n], 2**n)
    assert told(lambda: f([1, -1]), DomainError) == golden("""
        an integer to a negative integer power is no integer
          @   f = jg.function([n], 2**n)
                                   ^^^^
          2: i64[]      n: i64[2]  from @
          cast a base to float""")


# --- every kind of mistake: the error, and words its message must have ---------------------------
X, Y = T.dvectors("X", "Y")
A, K = T.dmatrix("A"), T.dmatrix("K", shape=(2, 3))
COUNT, N, XF = T.lscalar("I"), T.lvector("N"), T.fvector("XF")
S = jg.shared(np.zeros((2, 3)), "S")

AT_BUILD: list[tuple[Build, type[JitgraphError], list[str]]] = [
    # inputs and outputs
    (lambda: jg.function([X + 1], X), InputError, ["add(...) is an expression", "givens="]),
    (lambda: jg.function([3], X), InputError, ["3 is not a symbolic variable", "T.dscalar"]),
    (lambda: jg.function(X, X), InputError, ["must be a list", "function([x], x + 1)"]),
    (lambda: jg.function([S], S), InputError, ["shared variable S cannot be an input"]),
    (lambda: jg.function([X], object()), InputError, ["cannot be an output"]),
    (lambda: jg.function([X], [X, "a"]), InputError, ["'a' cannot be an output"]),
    (lambda: jg.function([X], [{"a": X}]), InputError, ["cannot be an output"]),
    # updates
    (lambda: jg.function([X], X, updates=[(X, X)]), UpdateError,
     ["X cannot be updated: it is not a shared variable", "jitgraph.shared"]),
    (lambda: jg.function([], updates=[(S, S.sum())]), UpdateError,
     ["S is f64[?, ?], its update f64[]: the ranks differ", "S.sum()"]),
    (lambda: jg.function([], updates=[(S, S), (S, S)]), UpdateError, ["S is updated twice"]),
    (lambda: jg.function([], updates=[S]), UpdateError, ["updates must be pairs or a dict"]),
    (lambda: jg.function([], updates=3), UpdateError, ["updates must be pairs or a dict"]),
    # givens
    (lambda: jg.function([X], X, givens={3: X}), InputError, ["givens can replace variables"]),
    (lambda: jg.function([X], XF, givens={XF: X}), DTypeError,
     ["XF is f32[?] and cannot be replaced by f64[?]", "T.cast(replacement, 'float32')"]),
    (lambda: jg.function([X], A, givens={A: X}), ShapeError, ["the ranks differ"]),
    # options
    (lambda: jg.function([X], X, algebra="complex"), OptionError, ["'real', 'ieee'"]),
    (lambda: jg.function([X, Y], X, on_unused_input="no"), OptionError, ["'raise', 'warn'"]),
    # expressions
    (lambda: K + np.ones(2), ShapeError, ["cannot add f64[2, 3] and f64[2]", "3 is not 2"]),
    (lambda: T.dot(K, K), ShapeError, ["inner dimensions 3 and 2 differ", "T.dot(K, K)"]),
    (lambda: K[2], OutOfBoundsError, ["index 2 is out of bounds for axis 0 with size 2", "K[2]"]),
    (lambda: X[0, 0], OutOfBoundsError, ["too many indices"]),
    (lambda: X[1.5], DTypeError, ["an index must be an integer"]),
    (lambda: X[Y], DTypeError, ["an index must be an integer", "Y: f64[?]"]),
    (lambda: K.reshape((4, 2)), ShapeError, ["cannot reshape f64[2, 3] to [4, 2]"]),
    (lambda: K.reshape((4, -1)), ShapeError, ["cannot reshape f64[2, 3]"]),
    (lambda: T.concatenate([K, K.T]), ShapeError, ["cannot concatenate", "K: f64[2, 3]"]),
    (lambda: K.sum(axis=2), ShapeError, ["axis 2 is out of bounds"]),
    (lambda: X & 1, DTypeError, ["bitwise_and does not take f64"]),
    (lambda: N + 2**70, RangeError, ["add: Python integer 1180591620717411303424"]),
    # gradients
    (lambda: T.grad(X, X), GradientError, ["needs a scalar cost", "cost.mean()"]),
    (lambda: T.grad(N.sum(), N), GradientError, ["only floating costs have a gradient"]),
    (lambda: T.grad(X.sum(), N), GradientError, ["cannot differentiate by N"]),
    (lambda: T.grad(X.sum(), Y), DisconnectedError, ["does not depend on Y", "ignore"]),
    # shared variables, eval
    (lambda: S.set_value(np.ones(2)), ShapeError, ["S has rank 2, the new value rank 1"]),
    (lambda: S.set_value(np.ones((2, 3)) * 1j), DTypeError, ["S holds float64"]),
    (lambda: jg.shared("text"), DTypeError, ["is not supported"]),
    (lambda: (X + Y).eval({X: [1]}), InputError, ["the outputs need Y: f64[?]"]),
    (lambda: X.eval({3: [1]}), InputError, ["3 is not a symbolic variable"]),
]  # fmt: skip


@pytest.mark.parametrize(("build", "error", "words"), AT_BUILD)
def test_at_build(build: Build, error: type[JitgraphError], words: list[str]) -> None:
    text = told(build, error)
    assert all(w in text for w in words), text


AT_CALL: list[tuple[list[Any], Any, list[Any], type[JitgraphError], list[str]]] = [
    ([X], X, [np.ones(3) + 1j], DTypeError, ["input X is f64, and was given complex128"]),
    ([X], X, ["ab"], DTypeError, ["input X is f64[?], and was given <U2", "f(*args)"]),
    ([X], X, [None], DTypeError, ["was given object"]),
    ([X], X, [object()], DTypeError, ["was given object"]),
    ([X], X, [[[1], [1, 2]]], InputError, ["input X"]),
    ([X], X, [X], InputError, ["was given the symbolic X: f64[?]", "givens="]),
    ([COUNT], COUNT, [1.5], DTypeError, ["input I is i64, and was given float64"]),
    ([COUNT], COUNT, [2**70], DTypeError, ["input I"]),
    ([K], K, [np.ones((3, 3))], ShapeError, ["input K is f64[2, 3]", "3 is not 2"]),
    ([X, N], X[N], [np.ones(3), [0, 7]], OutOfBoundsError, ["index 7", "X[N]", "X: f64[3]"]),
    ([X], X[5], [np.ones(3)], OutOfBoundsError, ["index 5", "X[5]"]),
    ([X], X.reshape((2, -1)), [np.ones(3)], ShapeError, ["cannot reshape", "X: f64[3]"]),
    ([X, COUNT], X.reshape((COUNT, COUNT)), [np.ones(4), -2], ShapeError, ["(-2, -2)"]),
    ([A], T.dot(A, A), [np.ones((2, 3))], ShapeError, ["inner dimensions 3 and 2", "T.dot(A, A)"]),
    ([A], T.concatenate([A, A.T]), [np.ones((2, 3))], ShapeError, ["cannot concatenate"]),
    ([A], A + A.T, [np.ones((2, 3))], ShapeError, ["cannot add f64[2, 3] and f64[3, 2]"]),
    ([X], X.max(), [np.ones(0)], ShapeError, ["max of an axis of extent 0"]),
    ([A], A.squeeze(0), [np.ones((2, 3))], ShapeError, ["cannot squeeze axis 0"]),
    ([X, COUNT], T.broadcast_to(X, (2, COUNT)), [np.ones(3), 4], ShapeError, ["cannot broadcast"]),
    ([COUNT], T.zeros((COUNT,)), [-3], ShapeError, ["(-3,)", "T.zeros((COUNT,))"]),
]


@pytest.mark.parametrize(("inputs", "output", "args", "error", "words"), AT_CALL)
def test_at_the_call(
    inputs: list[Any], output: Any, args: list[Any], error: type[JitgraphError], words: list[str]
) -> None:
    s = jg.shared(np.zeros(2), "s")
    f = jg.function(inputs, output, updates=[(s, s + 1)])
    for _ in range(2):
        text = told(lambda: f(*args), error)
        assert all(w in text for w in words), text
    assert s.get_value().tolist() == [0, 0]


def test_errors_are_the_builtin_ones_too() -> None:
    f = jg.function([X, COUNT], X[COUNT])
    with pytest.raises(IndexError):
        f([1.0], 1)
    with pytest.raises(TypeError):
        f([1.0])
    with pytest.raises(ValueError, match="shape"):
        f([[1.0]], 0)


def test_too_much_memory() -> None:
    f = jg.function([COUNT], T.zeros((COUNT, 8)) + T.arange(8))
    for size in (2**40, 2**60):
        with pytest.raises((MemoryError, ValueError)):
            f(size)
    assert f(2).shape == (2, 8)


def test_nan_constants() -> None:
    """A NaN equals itself as a constant, and stays one under both algebras."""
    nan = T.constant(np.nan)
    for algebra in ("real", "ieee"):
        f = jg.function([X], [X + nan, T.isnan(nan), T.where(X > 0, nan, X), nan + nan],
                        algebra=algebra)  # fmt: skip
        total, yes, chosen, twice = f([1.0, -1.0])
        assert np.isnan(total).all()
        assert yes
        np.testing.assert_array_equal(chosen, [np.nan, -1])
        assert np.isnan(twice)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.complex_numbers(),
    st.binary(max_size=3), st.lists(st.one_of(st.floats(), st.lists(st.integers(), max_size=2)),
                                   max_size=3),
    st.sampled_from([
        np.zeros((2, 0)), np.array("x"), np.array([None]), np.ma.masked_array([1.0], [True]),
        np.zeros(3, "M8[s]"), np.zeros(2, [("a", "f8")]), np.zeros(2, np.longdouble),
        np.broadcast_to(np.float64(1), (10**6, 10**6)), np.zeros(3)[::-1], np.float16(1), X, {}, (),
        np.zeros((1,) * 32), np.arange(3), np.zeros(2, ">i4"), np.lib.stride_tricks.as_strided(
            np.zeros(4), (2, 2), (8, 8)), np.array(3),
    ]),
)  # fmt: skip


FITTING = [np.ones(3), 1, np.ones((2, 1), bool)]


@settings(max_examples=300, deadline=None)
@given(st.tuples(*(st.one_of(st.just(fitting), ANYTHING) for fitting in FITTING)),
       st.integers(0, 4), st.dictionaries(st.sampled_from(["X", "I", "q"]), ANYTHING, max_size=1))
def test_no_argument_crashes(args: tuple[Any, ...], count: int, kwargs: dict[str, Any]) -> None:
    f = taker()
    try:
        results = f(*(*args, args[0])[:count], **kwargs)
    except JitgraphError:
        return
    assert all(isinstance(r, np.ndarray) for r in results)


@cache
def taker() -> Any:
    """A function of a vector, an index and a bool matrix."""
    flag = T.tensor("bool", (None, 1), "B")
    return jg.function([X, COUNT, flag], [X.sum() + COUNT, X[COUNT], T.where(flag, X, 0)])
