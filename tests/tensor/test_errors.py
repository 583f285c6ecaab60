"""What a user reads when something is wrong: whole messages, word for word."""

import warnings

import numpy as np
import pytest

import jitgraph.tensor as T
from jitgraph import errors


def message(build):
    with pytest.raises(errors.JitgraphError) as caught:
        build()
    return caught.value, str(caught.value)


def check(build, error, *lines):
    """The message's lines; `@` stands for this file and a line number."""
    raised, text = message(build)
    assert type(raised) is error
    got = [line.strip() for line in text.split("\n") if set(line.strip()) != {"^"}]
    place = f"test_errors.py:{build.__code__.co_firstlineno}"
    assert got == [line.replace("@", place) for line in lines]


def test_shapes_that_cannot_broadcast():
    w, b = T.tensor("float32", (3,), "w"), T.tensor("float32", (4,), "b")
    raised, text = message(lambda: w + b)
    lines = text.split("\n")
    assert lines[0] == "cannot add f32[3] and f32[4] (dimension 0: 3 is not 4 and neither is 1)"
    assert lines[1].endswith("raised, text = message(lambda: w + b)")
    assert lines[2].index("^") == lines[1].index("w + b")
    assert lines[2].strip() == "^^^^^"
    assert lines[3].split("      ")[0].startswith("  w: f32[3]  from test_errors.py:")
    assert isinstance(raised, errors.ShapeError)
    assert isinstance(raised, ValueError)


def test_truth_value():
    x = T.vector("x")
    check(
        lambda: bool(x > 0), errors.TruthValueError,
        "greater(...) (bool[?]) is symbolic: it is neither true nor false yet",
        "@   lambda: bool(x > 0), errors.TruthValueError,",
        "greater(...): bool[?]  from @",
        "choose between values with T.where(condition, a, b), or run one of two functions with "
        "T.cond(condition, f, g)",
    )  # fmt: skip
    with pytest.raises(errors.TruthValueError):
        assert x
    with pytest.raises(errors.TruthValueError):
        assert x in [T.vector()]


@pytest.mark.parametrize(("convert", "words"), [
    (float, "no number yet"), (int, "no number yet"), (complex, "no number yet"),
    (np.asarray, "no NumPy array yet"), (list, "cannot be iterated over"),
    (len, "has no length"), (range, "no number yet"), (lambda x: [1, 2][x], "no number yet"),
    (lambda x: np.array([x, x]), "no NumPy array yet"),
])  # fmt: skip
def test_conversions(convert, words):
    raised, text = message(lambda: convert(T.lscalar("n")))
    assert isinstance(raised, errors.DTypeError)
    assert isinstance(raised, TypeError)
    assert "n (i64[])" in text or "n is a scalar" in text
    assert words in text
    assert "test_errors.py" in text


def test_iteration_over_an_unknown_length():
    x = T.matrix("x")
    check(
        lambda: list(x), errors.DTypeError,
        "cannot iterate over x (f64[?, ?]): its length is not known",
        "@   lambda: list(x), errors.DTypeError,",
        f"x: f64[?, ?]  from {x.location.short}",
        "give the shape when the variable is made, such as shape=(3, None), or compute all rows at "
        "once with jitgraph.vmap",
    )  # fmt: skip
    _, text = message(lambda: len(x))
    assert "its length is not known yet" in text


def test_axis():
    x = T.matrix("x")
    check(
        lambda: x.sum(axis=2), errors.ShapeError,
        "axis 2 is out of bounds for 2 dimensions",
        "@   lambda: x.sum(axis=2), errors.ShapeError,",
        f"x: f64[?, ?]  from {x.location.short}",
    )  # fmt: skip


def test_index():
    x = T.tensor("float64", (3,), "x")
    check(
        lambda: x[5], errors.OutOfBoundsError,
        "index 5 is out of bounds for axis 0 with size 3",
        "@   lambda: x[5], errors.OutOfBoundsError,",
        f"x: f64[3]  from {x.location.short}",
    )  # fmt: skip
    with pytest.raises(IndexError):
        x[-4]


def test_operands_without_meaning():
    x = T.vector("x")
    check(
        lambda: x & 1, errors.DTypeError,
        "bitwise_and does not take f64 and int",
        "@   lambda: x & 1, errors.DTypeError,",
        f"x: f64[?]  from {x.location.short}",
    )  # fmt: skip
    for other in ("text", None, object()):
        raised, text = message(lambda other=other: x + other)
        assert isinstance(raised, errors.DTypeError)
        assert "test_errors.py" in text


def test_matrix_product():
    a, b = T.tensor("float64", (2, 3), "a"), T.tensor("float64", (4, 5), "b")
    raised, text = message(lambda: a @ b)
    assert isinstance(raised, errors.ShapeError)
    assert text.startswith(
        "cannot multiply f64[2, 3] by f64[4, 5]: the inner dimensions 3 and 4 differ"
    )


@pytest.mark.parametrize(("build", "words"), [
    (lambda: T.matrix("x", shape=(3,)), "a matrix has 2 dimensions, not the 1 of (3,)"),
    (lambda: T.row(shape=(2, 3)), "dimension 0 of a row is 1, not 2"),
    (lambda: T.vector(shape=(-3,)), "a dimension cannot be negative: -3"),
    (lambda: T.vector(shape=(2.5,)), "a dimension must be a number, a name or None, not 2.5"),
    (lambda: T.vector(shape=("a b",)), "'a b' is not a dimension"),
    (lambda: T.vector("x", dtype="float65"), "'float65' is not a dtype"),
    (lambda: T.dvector(3), "a name must be text, not 3"),
    (lambda: T.constant("text"), "'text' is not an array of a supported dtype"),
    (lambda: T.constant([[1], [1, 2]]), "list is not an array"),
])  # fmt: skip
def test_constructors(build, words):
    _, text = message(build)
    assert text.startswith(words)
    assert "test_errors.py" in text


# --- gradients -----------------------------------------------------------------------------------
def test_cost_must_be_a_scalar():
    x = T.vector("x")
    cost = x * 2
    check(
        lambda: T.grad(cost, x), errors.GradientError,
        "the gradient needs a scalar cost, not f64[?]",
        "@   lambda: T.grad(cost, x), errors.GradientError,",
        f"multiply(...): f64[?]  from {cost.location.short}",
        "reduce it first, such as cost.mean() or cost.sum()",
    )  # fmt: skip


@pytest.mark.parametrize(("cost", "wrt", "words"), [
    (T.lscalar("n") * 2, T.lscalar(), "the cost is i64[]: only floating costs have a gradient"),
    (3.0, T.scalar(), "the cost must be symbolic, not float"),
    (T.scalar(), T.lvector("k"), "cannot differentiate by k, which is i64[?]"),
    (T.scalar(), "x", "cannot differentiate by str"),
    (T.zscalar(), T.zscalar(), "the cost is c128[]"),
])  # fmt: skip
def test_gradient_of_or_by_what_has_none(cost, wrt, words):
    raised, text = message(lambda: T.grad(cost, wrt))
    assert isinstance(raised, errors.GradientError)
    assert text.startswith(words)
    assert "test_errors.py" in text


def test_disconnected():
    x, y = T.vectors("x", "y")
    cost = x.sum()
    raised, text = message(lambda: T.grad(cost, [x, y]))
    assert isinstance(raised, errors.DisconnectedError)
    assert text.startswith("the cost does not depend on y (f64[?])")
    with pytest.warns(UserWarning, match="does not depend on y") as caught:
        T.grad(cost, y, disconnected_inputs="warn")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zeros = T.grad(cost, (x, y), disconnected_inputs="ignore")
    assert isinstance(zeros, tuple)
    assert zeros[1].type.rank == 1
    _, text = message(lambda: T.grad(cost, x, disconnected_inputs="maybe"))
    assert "one of: 'raise', 'warn', 'ignore'" in text


def test_consider_constant():
    x = T.scalar("x")
    y = x * 2
    with pytest.raises(errors.DisconnectedError):
        T.grad(y * 3, x, consider_constant=[y])
    assert T.grad(y * x, x, consider_constant=y).type == x.type
