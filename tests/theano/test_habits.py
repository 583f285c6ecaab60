"""Habits of Theano's that names do not show, and functions that mean something else there."""

# ruff: noqa: N803  (T is a fixture)

from __future__ import annotations

import copy
import importlib
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import jitgraph as jg

pytestmark = pytest.mark.usefixtures("installed")


RANDOM = np.random.RandomState(0)
M = RANDOM.normal(0, 1, (4, 3))
V = RANDOM.normal(0, 1, 3)


def test_truth(T: Any) -> None:
    x, y = T.scalars("x", "y")
    assert x
    assert x + y
    assert T.exp(x)
    assert T.zeros((2,))
    assert x == x
    assert x != y
    assert x in [y, x]
    assert {x: 1}[x] == 1
    for ordering in (x < y, x >= 2, y < 3):
        with pytest.raises(TypeError):
            bool(ordering)


def test_what_variables_are(T: Any, theano: Any) -> None:
    x = T.matrix("x")
    y = T.dot(x, x.T) * 2
    assert y.owner.op.name == "multiply"
    assert x.owner is None
    assert isinstance(y.owner.op, T.Elemwise)
    assert isinstance(T.dot(x, x).owner.op, T.Dot)
    assert isinstance(x.sum(axis=0).owner.op, T.Sum)
    assert isinstance(x.sum(axis=0).owner.op, T.CAReduce)
    assert not isinstance(x.max(axis=0).owner.op, T.Sum)
    assert isinstance(x[1:].owner.op, T.Subtensor)
    assert not isinstance(y.owner.op, T.Dot)
    assert [v.name for v in theano.gof.graph.inputs([y]) if v.name] == ["x"]
    assert isinstance(T.constant(3), T.TensorConstant)
    assert not isinstance(x, T.TensorConstant)
    assert T.constant(3).data == 3
    assert isinstance(theano.shared(1), theano.compile.SharedVariable)
    assert isinstance(x, theano.Variable)
    x.tag.note = "kept"
    assert x.tag.note == "kept"
    with pytest.raises(TypeError):
        len(x)
    with pytest.raises(TypeError):
        list(x)


def test_shapes(T: Any, theano: Any) -> None:
    x = T.matrix("x")
    rows, columns = x.shape
    assert (rows + columns).eval({x: M}) == 7
    assert x.shape.eval({x: M}).tolist() == [4, 3]
    assert theano.function([x], [x.shape, x.shape[0] * 2, T.prod(x.shape)])(M)[2] == 12
    assert x.flatten().reshape(x.shape).eval({x: M}).tolist() == M.tolist()
    assert x.reshape((x.shape[1], -1)).eval({x: M}).shape == (3, 4)
    assert x.reshape(T.as_tensor_variable([2, 6]), ndim=2).eval({x: M}).shape == (2, 6)
    assert T.zeros_like(x).shape[0].eval({x: M}) == 4
    assert T.constant(M).shape[1].eval() == 3
    assert (x.shape * 2).eval({x: M}).tolist() == [8, 6]
    assert T.alloc(1.0, *x.shape).eval({x: M}).sum() == 12


def test_broadcasting(T: Any) -> None:
    x, v = T.matrix("x"), T.vector("v")
    assert (x + v.dimshuffle("x", 0)).eval({x: M, v: V}).shape == (4, 3)
    assert v.dimshuffle(0, "x").broadcastable == (False, True)
    one = T.addbroadcast(x, 0)
    assert one.broadcastable == (True, False)
    assert one.eval({x: M[:1]}).shape == (1, 3)
    with pytest.raises(ValueError, match="reshape"):
        one.eval({x: M})
    assert T.patternbroadcast(x, (False, True)).broadcastable == (False, True)
    assert T.unbroadcast(one, 0).eval({x: M[:1]}).shape == (1, 3)
    assert T.shape_padaxis(v, 1).eval({v: V}).shape == (3, 1)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


#: Expressions of a matrix x and a vector v, as text, and what NumPy says.
EXPRESSIONS: dict[str, Any] = {
    "T.nnet.softmax(v)": lambda x, v: softmax(v)[None],
    "T.nnet.logsoftmax(x)": lambda x, v: np.log(softmax(x)),
    "T.nnet.softmax_with_bias(x, v)": lambda x, v: softmax(x + v),
    "T.nnet.relu(x)": lambda x, v: np.maximum(x, 0),
    "T.nnet.relu(x, 0.1)": lambda x, v: np.where(x > 0, x, 0.1 * x),
    "T.nnet.elu(x, 2)": lambda x, v: np.where(x > 0, x, 2 * np.expm1(x)),
    "T.nnet.selu(x)": lambda x, v: 1.0507009873554805 * np.where(
        x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "T.nnet.hard_sigmoid(4 * x)": lambda x, v: np.clip(0.8 * x + 0.5, 0, 1),
    "T.nnet.softsign(x)": lambda x, v: x / (1 + abs(x)),
    "T.nnet.sigmoid_binary_crossentropy(x, 0.3)": lambda x, v: -(
        0.3 * np.log(1 / (1 + np.exp(-x))) + 0.7 * np.log(1 - 1 / (1 + np.exp(-x)))),
    "T.nnet.categorical_crossentropy(T.nnet.softmax(x), [0, 2, 1, 1])": lambda x, v: -np.log(
        softmax(x)[np.arange(4), [0, 2, 1, 1]]),
    "T.nnet.crossentropy_softmax_argmax_1hot_with_bias(x, v, [0, 2, 1, 1])[0]":
        lambda x, v: -np.log(softmax(x + v)[np.arange(4), [0, 2, 1, 1]]),
    "T.nnet.crossentropy_softmax_argmax_1hot_with_bias(x, v, [0, 2, 1, 1])[2]":
        lambda x, v: (x + v).argmax(axis=1),
    "T.nnet.confusion_matrix(T.constant([0, 1, 1, 2]), T.constant([0, 1, 2, 2]))[0]":
        lambda x, v: [[1, 0, 0], [0, 1, 1], [0, 0, 1]],
    "T.max_and_argmax(x, axis=1)[1]": lambda x, v: x.argmax(axis=1),
    "x.norm(2)": lambda x, v: np.linalg.norm(x),
    "x.norm(1, axis=0)": lambda x, v: abs(x).sum(axis=0),
    "T.sum(x, axis=[0, 1], acc_dtype='float64')": lambda x, v: x.sum(),
    "x.mean(axis=0, keepdims=True)": lambda x, v: x.mean(axis=0, keepdims=True),
    "T.var(x, axis=0)": lambda x, v: x.var(axis=0),
    "T.std(x, axis=1, keepdims=True)": lambda x, v: x.std(axis=1, keepdims=True),
    "T.ptp(x, axis=0)": lambda x, v: np.ptp(x, axis=0),
    "T.sqr(x) + T.sgn(x) + T.inv(x) + T.neg(x) + T.abs_(x)":
        lambda x, v: x**2 + np.sign(x) + 1 / x - x + abs(x),
    "T.iround(x * 3)": lambda x, v: np.rint(3 * x).astype(int),
    "T.round(x * 2, mode='half_away_from_zero')":
        lambda x, v: np.sign(x) * np.floor(abs(2 * x) + 0.5),
    "T.switch(T.gt(x, 0), x, v)": lambda x, v: np.where(x > 0, x, v),
    "T.join(1, x, x)": lambda x, v: np.hstack([x, x]),
    "T.stack(v, v)": lambda x, v: np.stack([v, v]),
    "T.stack([v, v], axis=1)": lambda x, v: np.stack([v, v], 1),
    "T.stacklists([[v[0], v[1]], [v[1], v[2]]])": lambda x, v: np.array(
        [[v[0], v[1]], [v[1], v[2]]]),
    "T.split(v, [1, 2], 2)[1]": lambda x, v: v[1:],
    "T.tile(v, 2)": lambda x, v: np.tile(v, 2),
    "T.repeat(x, 2, axis=0)": lambda x, v: x.repeat(2, axis=0),
    "T.batched_dot(x, x)": lambda x, v: (x * x).sum(axis=1),
    "T.batched_tensordot(x[:, :, None], x[:, None, :], axes=[[2], [1]])":
        lambda x, v: np.einsum("ni,nj->nij", x, x),
    "T.tensordot(x, x, axes=[[0], [0]])": lambda x, v: x.T @ x,
    "T.nonzero_values(T.switch(T.gt(x, 0), x, 0))": lambda x, v: x[x > 0],
    "T.largest(x, v, 0)": lambda x, v: np.maximum(np.maximum(x, v), 0),
    "T.set_subtensor(x[1], v)": lambda x, v: np.vstack([x[:1], v, x[2:]]),
    "T.inc_subtensor(x[:, [0, 0]], 1)": lambda x, v: x + np.array([2, 0, 0]),
    "T.take(v, [5, -1], mode='wrap')": lambda x, v: v[[2, 2]],
    "T.topk(v, 2)": lambda x, v: np.sort(v)[::-1][:2],
    "T.argtopk(v, -1)": lambda x, v: v.argsort()[:1],
    "T.extra_ops.to_one_hot(T.argmax(x, axis=1), 3)": lambda x, v: np.eye(3)[x.argmax(1)],
    "T.extra_ops.fill_diagonal(x, 7.)": lambda x, v: np.where(np.eye(4, 3) > 0, 7, x),
    "T.extra_ops.fill_diagonal_offset(x, 7., -1)": lambda x, v: np.where(
        np.eye(4, 3, -1) > 0, 7, x),
    "T.extra_ops.cumsum(x, axis=1)": lambda x, v: x.cumsum(axis=1),
    "T.extra_ops.diff(x)": lambda x, v: np.diff(x),
    "T.nlinalg.matrix_inverse(T.dot(x.T, x))": lambda x, v: np.linalg.inv(x.T @ x),
    "T.nlinalg.trace(T.dot(x.T, x))": lambda x, v: np.trace(x.T @ x),
    "T.nlinalg.svd(x, compute_uv=False)": lambda x, v: np.linalg.svd(x, compute_uv=False),
    "T.slinalg.cholesky(T.dot(x.T, x))": lambda x, v: np.linalg.cholesky(x.T @ x),
    "T.slinalg.solve(T.dot(x.T, x), v)": lambda x, v: np.linalg.solve(x.T @ x, v),
    "T.slinalg.kron(x, x)": lambda x, v: np.kron(x, x),
    "T.fft.irfft(T.fft.rfft(x[:, :2]))": lambda x, v: x[:, :2],
    "T.fft.rfft(x)": lambda x, v: np.stack(
        [np.fft.rfft(x).real, np.fft.rfft(x).imag], axis=-1),
    "T.xlogx.xlogx(abs(x))": lambda x, v: abs(x) * np.log(abs(x)),
    "T.choose(T.constant([3, 0, 2]), x)": lambda x, v: np.choose([3, 0, 2], x),
    "T.choose(T.constant([[5], [-2]]), x, mode='wrap')":
        lambda x, v: np.choose([[5], [-2]], x, mode="wrap"),
    "T.choose(T.argmax(x, axis=1), [v[0], v[1], v[2]])": lambda x, v: v[x.argmax(1)],
    "T.nlinalg.AllocDiag(offset=1)(v)": lambda x, v: np.diag(v, 1),
    "T.nlinalg.ExtractDiag(-1)(x)": lambda x, v: np.diag(x, -1),
    "T.nlinalg.MatrixInverse()(T.dot(x.T, x))": lambda x, v: np.linalg.inv(x.T @ x),
    "T.nlinalg.SVD(compute_uv=False)(x)": lambda x, v: np.linalg.svd(x, compute_uv=False),
    "T.extra_ops.CumOp(axis=1, mode='mul')(x)": lambda x, v: x.cumprod(axis=1),
    "T.Reshape(2)(x, [2, 6])": lambda x, v: x.reshape(2, 6),
    "T.Join()(1, x, x)": lambda x, v: np.hstack([x, x]),
    "T.Split(2)(v, 0, [1, 2])[1]": lambda x, v: v[1:],
    "T.Eye('float64')(3, 2, 1)": lambda x, v: np.eye(3, 2, 1),
    "T.Max(1)(x)": lambda x, v: x.max(axis=1),
    "T.clip(x, -0.5, 0.5)": lambda x, v: np.clip(x, -0.5, 0.5),
    "T.mgrid[0:3, 0:2][0]": lambda x, v: np.mgrid[0:3, 0:2][0],
    "T.fill(x, 2.)": lambda x, v: np.full_like(x, 2),
    "T.identity_like(x)": lambda x, v: np.eye(4, 3),
    "T.complex_from_polar(abs(v), v)": lambda x, v: abs(v) * np.exp(1j * v),
    "T.nnet.bn.batch_normalization(x, v, v, 1., 2.)": lambda x, v: (x - 1) * v / 2 + v,
    "T.nnet.bn.batch_normalization_train(x, v, v)[0]": lambda x, v: (
        x - x.mean(0)) / np.sqrt(x.var(0) + 1e-4) * v + v,
    "T.nnet.bn.batch_normalization_test(x, v, v, v, v**2)": lambda x, v: (
        x - v) / np.sqrt(v**2 + 1e-4) * v + v,
    "T.signal.pool.pool_2d(x, (2, 2), ignore_border=False)": lambda x, v: np.array(
        [[x[i:i + 2, j:j + 2].max() for j in (0, 2)] for i in (0, 2)]),
    "T.signal.downsample.max_pool_2d(x, (2, 3))": lambda x, v: np.array(
        [[x[i:i + 2].max()] for i in (0, 2)]),
    "T.signal.conv.conv2d(x, v[None, :], border_mode='full')": lambda x, v: np.array(
        [np.convolve(row, v) for row in x]),
    "T.nnet.neighbours.images2neibs(x[None, None], (2, 3))": lambda x, v: x.reshape(2, 6),
    "T.nnet.neighbours.neibs2images(x.reshape((2, 6)), (2, 3), (1, 1, 4, 3))":
        lambda x, v: x[None, None],
}  # fmt: skip


def test_expressions(T: Any) -> None:
    for module in ("signal.pool", "signal.downsample", "signal.conv", "nnet.neighbours",
                   "nnet.bn", "fft", "xlogx", "nlinalg", "slinalg", "extra_ops"):  # fmt: skip
        importlib.import_module(f"theano.tensor.{module}")
    x, v = T.matrix("x"), T.vector("v")
    outputs = {text: eval(text, {"T": T, "x": x, "v": v}) for text in EXPRESSIONS}
    found = jg.function([x, v], outputs, mode="interpreted")(M, V)
    for text, expected in EXPRESSIONS.items():
        want = expected(M, V)
        np.testing.assert_allclose(found[text], want, rtol=1e-7, atol=1e-9, err_msg=text)
        assert found[text].shape == np.shape(want), text


# --- functions -------------------------------------------------------------------------------
def test_results(theano: Any, T: Any) -> None:
    x = T.scalar("x")
    alone, listed = theano.function([x], 2 * x), theano.function([x], [2 * x])
    assert isinstance(alone(1), np.ndarray)
    assert isinstance(listed(1), list)
    result = theano.function([T.vector("v")], theano.shared(V), on_unused_input="ignore")([1.0])
    result[0] = 7  # results are the caller's own
    assert theano.function([], [])() == []
    assert theano.function([], {})() == {}
    state = theano.shared(1.0)
    assert theano.function([], updates=OrderedDict([(state, state * 2)]))() in (None, [])
    assert state.get_value() == 2
    with pytest.raises(theano.compile.UnusedInputError):
        theano.function([x, T.scalar("y")], x)
    assert x.eval({x: 1, T.scalar("y"): 2}) == 1


def test_inputs(theano: Any, T: Any) -> None:
    v = T.fvector("v")
    f = theano.function([v], v * 2)
    assert f([1, 2.5]).dtype == np.float32
    with pytest.raises(TypeError):
        f(np.ones(2))
    assert theano.function([v], v, allow_input_downcast=True)(np.ones(2)).dtype == np.float32
    i = T.iscalar("i")
    g = theano.function([i], i)
    assert g(3) == g(np.int64(3)) == g(3.0) == 3
    with pytest.raises(TypeError):
        g(3.5)


def test_an_expression_as_input(theano: Any, T: Any) -> None:
    x = T.scalar("x")
    hidden = T.tanh(x)
    f = theano.function([hidden], 3 * hidden)
    assert f(2.0) == 6
    assert theano.function([hidden, x], hidden + x)(2.0, 5.0) == 7


def test_floor_division_has_no_slope(T: Any) -> None:
    x = T.scalar("x")
    assert T.grad(x * (x // 2), x).eval({x: 5.0}) == 2


def test_gradients(T: Any, theano: Any) -> None:
    x, y = T.vector("x"), T.scalar("y")
    cost = (x**2).sum() * y
    gx, gy = T.grad(cost, [x, y])
    assert gy.eval({x: V}) == (V**2).sum()
    assert gx.eval({x: V, y: 2.0}).tolist() == (4 * V).tolist()
    squares = x**2
    cut = T.grad(squares.sum() + x.sum(), x, consider_constant=[squares])
    assert cut.eval({x: V}).tolist() == [1, 1, 1]
    half = x * 2
    assert T.grad(None, x, known_grads={half: T.ones_like(half)}).eval({x: V}).tolist() == [2] * 3
    with pytest.raises(theano.gradient.DisconnectedInputError):
        T.grad(y, x)
    assert T.grad(y, x, disconnected_inputs="ignore", return_disconnected="none") is None
    theano.gradient.verify_grad(lambda a: T.tanh(a).sum(), [V])
    with pytest.raises(theano.gradient.GradientError):
        theano.gradient.verify_grad(lambda a: theano.gradient.grad_scale(a, 3.0).sum(), [V])


def test_scan_updates(theano: Any, T: Any) -> None:
    rows, updates = theano.scan(lambda a: a + 1, outputs_info=[T.zeros(())], n_steps=3)
    assert not updates
    state = theano.shared(0.0)
    updates.update({state: rows[-1]})
    updates[state] = rows[-1] * 2
    theano.function([], [], updates=updates)()
    assert state.get_value() == 6
    total, _ = theano.reduce(lambda a, b: a + b, T.arange(5), T.constant(0, dtype="int64"))
    assert total.eval() == 10
    doubled, _ = theano.map(lambda a: a * 2, T.arange(3))
    assert doubled.eval().tolist() == [0, 2, 4]


def test_objects_with_functions_pickle(theano: Any, T: Any) -> None:
    class Model:
        def __init__(self) -> None:
            self.x = T.vector("x")
            self.w = theano.shared(np.zeros(3), name="w")
            self.w.tag.role = "weight"
            cost = ((self.w - self.x) ** 2).sum()
            self.train = theano.function(
                [self.x], cost, updates=[(self.w, self.w - 0.25 * T.grad(cost, self.w))]
            )

    model = Model()
    twin = copy.deepcopy(model)
    assert twin.train(V) == model.train(V)
    twin.train(V)
    np.testing.assert_allclose(model.w.get_value(), V / 2)
    np.testing.assert_allclose(twin.w.get_value(), V * 3 / 4)
    assert twin.w.tag.role == "weight"
    expression = pickle.loads(pickle.dumps({"w": model.w, "y": model.w * 2, "x": model.x}))
    expression["w"].set_value(V)
    np.testing.assert_allclose(expression["y"].eval(), 2 * V)
    assert type(expression["y"]) is type(model.w * 2)
    assert expression["x"].type == model.x.type


def test_shared_rules(theano: Any) -> None:
    bias = theano.shared(np.zeros((1, 2)), broadcastable=(True, False))
    assert bias.broadcastable == (True, False)
    strict = theano.shared(np.zeros(2), strict=True)
    with pytest.raises(TypeError):
        strict.set_value([1, 2])
    loose = theano.shared(np.zeros(2, "f"), allow_downcast=True)
    loose.set_value(np.ones(2))
    assert loose.get_value(borrow=True, return_internal_type=True).dtype == np.float32
    with pytest.raises(TypeError):
        theano.shared(np.zeros(2, "f")).set_value(np.ones(2))


def test_random_streams(theano: Any, T: Any) -> None:
    from theano.sandbox.rng_mrg import MRG_RandomStreams

    for streams in (T.shared_randomstreams.RandomStreams(3), MRG_RandomStreams(3)):
        draws = {
            "uniform": streams.uniform((2000,), low=-1, high=1),
            "normal": streams.normal(size=(2000,), avg=2, std=3, ndim=1),
            "binomial": streams.binomial((2000,), n=1, p=0.25, dtype="float32"),
            "multinomial": streams.multinomial(pvals=np.full((2000, 4), 0.25)),
            "choice": streams.choice(size=(2000,), a=4),
            "permutation": streams.permutation(size=(5,), n=7),
        }
        found = theano.function([], draws)()
        assert abs(found["uniform"].mean()) < 0.05
        assert abs(found["normal"].std() - 3) < 0.2
        assert abs(found["binomial"].mean() - 0.25) < 0.04
        assert (found["multinomial"].sum(axis=1) == 1).all()
        assert set(found["choice"]) == {0, 1, 2, 3}
        assert (np.sort(found["permutation"]) == np.arange(7)).all()
        assert [len(pair) for pair in streams.state_updates] == [2] * len(streams.state_updates)


def test_printing(theano: Any, T: Any, tmp_path: Any) -> None:
    x = T.vector("x")
    f = theano.function([x], T.exp(x) * 2)
    tree = theano.printing.debugprint(f, file="str", print_type=True)
    assert "exp [id" in tree
    path = tmp_path / "graph.dot"
    theano.printing.pydotprint(f, outfile=str(path), print_output_file=False)
    assert "exp" in path.read_text()
    assert f.maker.fgraph.toposort()


def test_h_softmax(T: Any) -> None:
    x, rank = RANDOM.normal(0, 1, (5, 3)), (3, 2)
    weights = [RANDOM.normal(0, 1, s) for s in ((3, 3), (3,), (3, 3, 2), (3, 2))]
    args = (x, 5, 6, *rank, *weights)
    every = T.nnet.h_softmax(*args).eval()
    np.testing.assert_allclose(every.sum(axis=1), 1)
    target = np.array([0, 5, 2, 3, 1])
    chosen = T.nnet.h_softmax(*args, target).eval()
    np.testing.assert_allclose(chosen, every[np.arange(5), target])


def test_assertions(theano: Any, T: Any) -> None:
    x = T.vector("x")
    checked = T.opt.Assert("all must be positive")(x, T.all(x > 0))
    f = theano.function([x], [checked * 2, T.grad(checked.sum(), x)])
    assert [r.tolist() for r in f([1, 2])] == [[2, 4], [1, 1]]
    with pytest.raises(AssertionError, match="positive"):
        f([1, -2])


def test_ops_of_the_users_own(theano: Any, T: Any) -> None:
    class Moments(theano.Op):  # type: ignore[misc]
        __props__ = ("power",)

        def __init__(self, power: int) -> None:
            self.power = power

        def make_node(self, x: Any) -> Any:
            x = T.as_tensor_variable(x)
            return theano.Apply(self, [x], [x.type(), T.dscalar()])

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            outputs[0][0] = inputs[0] ** self.power
            outputs[1][0] = (inputs[0] ** self.power).sum()

        def grad(self, inputs: Any, gs: Any) -> Any:
            return [(gs[0] + gs[1]) * self.power * inputs[0] ** (self.power - 1)]

    x = T.vector("x")
    each, total = Moments(3)(x)
    assert each.owner.op == Moments(3) != Moments(2)
    found = theano.function([x], [each, total, T.grad(each.sum() + total, x)])(V)
    np.testing.assert_allclose(found[0], V**3)
    np.testing.assert_allclose(found[1], (V**3).sum())
    np.testing.assert_allclose(found[2], 6 * V**2)

    class InC(theano.Op):  # type: ignore[misc]
        def make_node(self, x: Any) -> Any:
            return theano.Apply(self, [x], [x.type()])

    with pytest.raises(TypeError, match="written in C"):
        InC()(x)


def test_functions_of_a_random_state(theano: Any, T: Any) -> None:
    import theano.tensor.raw_random as raw

    state = raw.random_state_type("state")
    after, drawn = raw.uniform(state, size=(3,), low=1, high=2)
    f = theano.function([state], [after, drawn])
    first, again, other = f(5), f(5), f(f(5)[0])
    assert first[1].tolist() == again[1].tolist() != other[1].tolist()
    assert ((first[1] >= 1) & (first[1] < 2)).all()
    held = [theano.shared(np.random.RandomState(seed)) for seed in (1, 1, 2)]
    made = []
    for one in held:
        after, drawn = raw.normal(one, size=(3,))
        g = theano.function([], drawn, updates=[(one, after)])
        made.append([g().tolist(), g().tolist()])
    assert made[0] == made[1] != made[2]
    assert made[0][0] != made[0][1]
