"""Shapes, joins and creation agree with NumPy, for known, unknown and symbolic sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph.tensor as T
from jitgraph.config import config
from jitgraph.errors import DomainError, DTypeError, ShapeError
from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.function import Function
from tests.tensor.helpers import assert_same, evaluate

ARRAY = np.arange(24.0).reshape(2, 3, 4)
ONES = np.arange(6.0).reshape(1, 2, 1, 3)


def both(array):
    """A variable of known and one of unknown shape for an array."""
    return [T.tensor(array.dtype, s, "x") for s in (array.shape, (None,) * array.ndim)]


CASES = {
    "reshape-tuple": lambda m, x: m.reshape(x, (6, 4)),
    "reshape-minus-one": lambda m, x: m.reshape(x, (3, -1)),
    "reshape-numpy-integers": lambda m, x: m.reshape(x, tuple(np.array([4, -1]))),
    "ravel": lambda m, x: m.ravel(x),
    "transpose": lambda m, x: m.transpose(x),
    "transpose-axes": lambda m, x: m.transpose(x, (1, -1, 0)),
    "swapaxes": lambda m, x: m.swapaxes(x, 0, -1),
    "moveaxis": lambda m, x: m.moveaxis(x, 0, -1),
    "moveaxis-several": lambda m, x: m.moveaxis(x, (0, 1), (-1, 0)),
    "expand-dims": lambda m, x: m.expand_dims(x, 1),
    "expand-dims-several": lambda m, x: m.expand_dims(x, (0, -1)),
    "broadcast-to": lambda m, x: m.broadcast_to(x, (5, 2, 3, 4)),
    "atleast-1d": lambda m, x: m.atleast_1d(x),
    "atleast-2d": lambda m, x: m.atleast_2d(x[0, 0]),
    "atleast-2d-matrix": lambda m, x: m.atleast_2d(x[0]),
    "atleast-3d-scalar": lambda m, x: m.atleast_3d(x[0, 0, 0]),
    "atleast-3d-vector": lambda m, x: m.atleast_3d(x[0, 0]),
    "atleast-3d-matrix": lambda m, x: m.atleast_3d(x[0]),
    "concatenate": lambda m, x: m.concatenate([x, x[:, :1]], 1),
    "concatenate-flat": lambda m, x: m.concatenate([x, [[1, 2]]], None),
    "concatenate-array": lambda m, x: m.concatenate([np.ones((2, 3, 1), np.int8), x], -1),
    "stack": lambda m, x: m.stack([x, x * 2], -1),
    "stack-mixed": lambda m, x: m.stack([x[0], np.ones((3, 4))], 1),
    "vstack": lambda m, x: m.vstack([x[0, 0], x[1]]),
    "hstack": lambda m, x: m.hstack([x[0], x[1, :, :2]]),
    "hstack-vectors": lambda m, x: m.hstack([x[0, 0], [1, 2]]),
    "split-equal": lambda m, x: m.split(x, 3, axis=1)[1],
    "split-before": lambda m, x: m.split(x, [1, 3], axis=-1)[2],
    "split-array": lambda m, x: m.split(x, np.array([1]), axis=0)[0],
    "zeros-like": lambda m, x: m.zeros_like(x, "int32"),
    "ones-like": lambda m, x: m.ones_like(x),
    "full-like": lambda m, x: m.full_like(x, 2.5),
    "outer": lambda m, x: m.outer(x[0], x[1, 0]),
    "where": lambda m, x: m.where(x % 2 == 0, x, -1),
    "round": lambda m, x: m.round(x * 1.2345, 2),
    "clip": lambda m, x: m.clip(x, 3, 5.5),
    "clip-open": lambda m, x: m.clip(x, None, 5),
    "isclose": lambda m, x: m.isclose(x, x + 1e-9),
    "allclose": lambda m, x: m.allclose(x, x + 1e-3),
}


@pytest.mark.parametrize("name", CASES)
def test_as_numpy(name):
    want = CASES[name](np, ARRAY)
    for x in both(ARRAY):
        assert_same(evaluate(CASES[name](T, x), {x: ARRAY}), want)


METHODS = {
    "reshape": lambda x: x.reshape(4, 6),
    "T": lambda x: x.T,
    "transpose": lambda x: x.transpose(2, 0, 1),
    "transpose-list": lambda x: x.transpose([2, 0, 1]),
    "swapaxes": lambda x: x.swapaxes(1, 2),
    "flatten": lambda x: x.flatten(),
    "ravel": lambda x: x.ravel(),
    "astype": lambda x: x.astype("int16"),
    "clip": lambda x: x.clip(2, 7),
    "round": lambda x: (x * 1.5).round(),
    "conj": lambda x: x.conj(),
    "copy": lambda x: x.copy(),
    "dot": lambda x: x.dot(x[0].T),
    "matmul": lambda x: x @ x.swapaxes(1, 2),
    "rmatmul": lambda x: np.ones((5, 3)) @ x,
    "divmod": lambda x: divmod(x, 3)[0] + divmod(x, 3)[1],
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    want = METHODS[name](ARRAY)
    for x in both(ARRAY):
        assert_same(evaluate(METHODS[name](x), {x: ARRAY}), want)


@pytest.mark.parametrize(("pattern", "want"), [
    ((3, 1), ONES[0, :, 0].T), ((1, "x", 3), ONES[0, :, 0][:, None]),
    (("x", 0, 1, 2, 3), ONES[None]), ((3, "x", 1, 0), ONES[0, :, 0].T[:, None, :, None]),
], ids=str)  # fmt: skip
def test_dimshuffle(pattern, want):
    for x in both(ONES):
        assert_same(evaluate(x.dimshuffle(*pattern), {x: ONES}), want)
        assert_same(evaluate(x.dimshuffle(list(pattern)), {x: ONES}), want)


def test_squeeze():
    known, unknown = both(ONES)
    assert_same(evaluate(known.squeeze(), {known: ONES}), ONES.squeeze())
    for x in (known, unknown):
        assert_same(evaluate(x.squeeze((0, -2)), {x: ONES}), ONES.squeeze((0, -2)))
    with pytest.raises(ShapeError):
        evaluate(unknown.squeeze(1), {unknown: ONES})


def test_flatten_to_some_dimensions():
    x = T.tensor3("x")
    assert_same(evaluate(x.flatten(2), {x: ARRAY}), ARRAY.reshape(2, 12))
    assert x.flatten(3) is x
    assert_same(evaluate(T.ravel(3.0)), [3.0])


def test_symbolic_sizes():
    x, n = T.tensor3("x"), T.iscalar("n")
    givens = {x: ARRAY, n: 4}
    assert_same(evaluate(x.reshape((n, -1)), givens), ARRAY.reshape(4, 6))
    assert_same(evaluate(x.reshape(x.shape[0], x.shape[1] * x.shape[2]), {x: ARRAY}),
                ARRAY.reshape(2, 12))  # fmt: skip
    assert_same(evaluate(x.reshape(T.shape(x)[::-1]), {x: ARRAY}), ARRAY.reshape(4, 3, 2))
    assert_same(evaluate(T.zeros((n, 2), "int8"), {n: 3}), np.zeros((3, 2), np.int8))
    assert_same(evaluate(T.full(n, 2.5), {n: 3}), np.full(3, 2.5))
    assert_same(evaluate(T.eye(n, n + 1, 1), {n: 3}), np.eye(3, 4, 1))
    assert_same(evaluate(T.broadcast_to(x[0, 0], (n, 4)), givens), np.tile(ARRAY[0, 0], (4, 1)))


def test_shape_and_size():
    known, unknown = both(ARRAY)
    assert known.shape == (2, 3, 4)
    assert known.size == 24
    assert_same(evaluate(T.shape(known)), np.array([2, 3, 4]))
    for made, want in [(T.shape(unknown), [2, 3, 4]), (unknown.size, 24), (unknown.shape[1], 3)]:
        assert_same(evaluate(made, {unknown: ARRAY}), np.array(want))
    x = T.tensor("float64", (None, 3))
    assert_same(evaluate(T.shape(x), {x: np.zeros((2, 3))}), np.array([2, 3]))
    assert_same(evaluate(T.zeros(T.shape(x)), {x: np.zeros((2, 3))}), np.zeros((2, 3)))


def test_creation_in_float_x():
    for name in ("float32", "float64"):
        with config.override(floatX=name):
            for made in (T.zeros(2), T.ones((1, 2)), T.eye(2), T.vector(), T.tensor()):
                assert made.dtype == name
    assert_same(evaluate(T.eye(3, k=-1, dtype="int32")), np.eye(3, k=-1, dtype=np.int32))
    assert_same(evaluate(T.ones((2, 0))), np.ones((2, 0)))
    assert_same(evaluate(T.full((2, 2), [1, 2])), np.full((2, 2), [1, 2]))


@pytest.mark.parametrize("args", [
    (5,), (2, 7), (7, 2, -2), (0,), (-3,), (1, 9, 4), (2.5,), (0.1, 3, 0.3), (5, 0.5, -0.7),
    (np.float32(2),), (np.int8(3),), (1, 2, 1000),
], ids=str)  # fmt: skip
def test_arange(args):
    want = np.arange(*args)
    assert_same(evaluate(T.arange(*args)), want)
    dtype = "float64" if want.dtype.kind == "f" else "int64"
    for symbolic in range(len(args)):
        bounds = [T.tensor(dtype) if i == symbolic else a for i, a in enumerate(args)]
        assert_same(evaluate(T.arange(*bounds), {bounds[symbolic]: args[symbolic]}), want)


@settings(max_examples=150, deadline=None)
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-5, 5).filter(bool))
def test_arange_of_symbolic_integers(start, stop, step):
    a, b, c = T.lscalars("a", "b", "c")
    givens = {a: start, b: stop, c: step}
    assert_same(evaluate(T.arange(a, b, c), givens), np.arange(start, stop, step))


@settings(max_examples=150, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.sampled_from([0.1, 0.3, 1.0, -0.25, -1.7]))
def test_arange_of_symbolic_floats(start, stop, step):
    a, b, c = T.dscalars("a", "b", "c")
    made = T.arange(a, b, c)
    assert_same(evaluate(made, {a: start, b: stop, c: step}), np.arange(start, stop, step), 1e-12)


@pytest.mark.parametrize("ranks", [(0, 0), (0, 2), (1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (3, 2)])
def test_dot(ranks):
    left = np.arange(1.0, 1 + 3 ** ranks[0]).reshape((3,) * ranks[0])
    right = np.arange(1.0, 1 + 3 ** ranks[1]).reshape((3,) * ranks[1])
    for x, y in zip(both(left), both(right), strict=True):
        assert_same(evaluate(T.dot(x, y), {x: left, y: right}), np.dot(left, right), 1e-14)


def test_dot_with_scalars_and_lists():
    v = T.fvector("v")
    assert_same(evaluate(T.dot(v, 2), {v: [1, 2]}), np.array([2, 4], np.float32))
    assert_same(evaluate(T.dot([[1, 2], [3, 4]], v), {v: [1, 2]}), np.array([5.0, 11.0]))


def test_one_and_unknown_extents_broadcast_at_the_call():
    a, b = np.array([1, 2]), np.ones((3, 1))
    for x in (T.lvector(), T.tensor("int64", (2,)), T.constant(a)):
        for y in (T.dmatrix(), T.dcol(), T.constant(b)):
            givens = {k: v for k, v in ((x, a), (y, b)) if k.op is None}
            assert_same(evaluate(x + y, givens), a + b)


def test_nnet():
    array = np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]])
    x, y = T.matrix("x"), T.ivector("y")
    softmax = np.exp(array) / np.exp(array).sum(1, keepdims=True)
    assert_same(evaluate(T.nnet.softmax(x), {x: array}), softmax, 1e-15)
    assert_same(evaluate(T.nnet.softmax(x, axis=None), {x: array}),
                np.exp(array) / np.exp(array).sum(), 1e-15)  # fmt: skip
    assert_same(evaluate(T.nnet.logsoftmax(x), {x: array}), np.log(softmax), 1e-15)
    assert T.softmax(T.imatrix()).dtype == np.float64
    classes = T.nnet.categorical_crossentropy(x, y)
    assert_same(evaluate(classes, {x: array, y: [1, 2]}), -np.log([0.7, 0.4]), 1e-15)
    rows = T.nnet.categorical_crossentropy(x, np.eye(3)[[1, 2]])
    assert_same(evaluate(rows, {x: array}), -np.log([0.7, 0.4]), 1e-15)
    binary = T.nnet.binary_crossentropy(x, 1)
    assert_same(evaluate(binary, {x: array}), -np.log(array), 1e-15)
    assert_same(evaluate(T.nnet.relu(x - 0.25), {x: array}), np.maximum(array - 0.25, 0))
    assert_same(evaluate(T.relu(x - 0.25, 0.1), {x: array}),
                np.where(array > 0.25, array - 0.25, (array - 0.25) * 0.1))  # fmt: skip


@pytest.mark.parametrize(("build", "error"), [
    (lambda x: x.reshape(5, 5), ShapeError),
    (lambda x: x.reshape(-1, -1), ShapeError),
    (lambda x: x.reshape(2.0, 12), DTypeError),
    (lambda x: x.reshape(T.vector()), ShapeError),
    (lambda x: x.transpose(0, 1), ShapeError),
    (lambda x: x.transpose(0, 0, 1), ShapeError),
    (lambda x: x.dimshuffle(0, 1), ShapeError),
    (lambda x: x.dimshuffle(0, 1, 2, "y"), ShapeError),
    (lambda x: x.swapaxes(0, 3), ShapeError),
    (lambda x: x.squeeze(0), ShapeError),
    (lambda x: x.flatten(4), ShapeError),
    (lambda x: T.moveaxis(x, (0, 1), 0), ShapeError),
    (lambda x: T.expand_dims(x, 5), ShapeError),
    (lambda x: T.broadcast_to(x, (2, 4)), ShapeError),
    (lambda x: T.concatenate([x, x[0]]), ShapeError),
    (lambda x: T.concatenate([x, x[:, :2]], 0), ShapeError),
    (lambda x: T.concatenate([]), ShapeError),
    (lambda x: T.concatenate([T.scalar(), T.scalar()]), ShapeError),
    (lambda x: T.concatenate(3), DTypeError),
    (lambda x: T.stack([x, x[0]]), ShapeError),
    (lambda x: T.split(x, 2, axis=1), ShapeError),
    (lambda x: T.split(x, T.lscalar()), DTypeError),
    (lambda x: x @ x[:, 0], ShapeError),
    (lambda x: T.dot(x, x), ShapeError),
    (lambda x: x @ 3, ShapeError),
    (lambda x: T.zeros(-1), ShapeError),
    (lambda x: T.zeros((2, "n")), DTypeError),
    (lambda x: T.eye(-2), ShapeError),
    (lambda x: T.arange(x), DTypeError),
    (lambda x: T.arange(0, 3, 0), DomainError),
    (lambda x: T.nnet.categorical_crossentropy(x, x[0]), ShapeError),
])  # fmt: skip
def test_refused(build, error):
    with pytest.raises(error) as caught:
        build(T.tensor("float64", (2, 3, 4), "x"))
    assert "test_shaping.py" in str(caught.value)


def test_sizes_that_turn_out_negative():
    x, n = T.scalar("x"), T.lscalar("n")
    for made in (T.zeros(n), T.eye(n), T.eye(3, n), T.broadcast_to(x, (n,)), T.full((2, n - 1), 3)):
        builder = Builder([x, n])
        rebuild(Function([x, n], [made]), builder)
        assert len(builder.checks) in (1, 2)
        with pytest.raises(ShapeError):
            evaluate(made, {x: 0, n: -1})


def test_misfits_only_the_call_can_see():
    x = T.vector("x")
    for made in (x.reshape(2, 2), T.split(x, 2)[0], T.broadcast_to(x, (4,))):
        with pytest.raises(ShapeError):
            evaluate(made, {x: np.zeros(3)})
