"""What libraries on top of Theano rely on: Lasagne, nolearn, Keras, theanets, Passage."""

# ruff: noqa: N803  (T is a fixture)

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest

from jitgraph.theano import era

M = np.random.RandomState(3).normal(0, 1, (4, 3))


pytestmark = pytest.mark.usefixtures("installed")


@pytest.mark.parametrize(("axes", "rank"), [((0,), 1), ((0, 2), 1), ((0, 2), 3), ((1,), 2)])
def test_batch_statistics_have_the_rank_of_gamma(T: Any, axes: Any, rank: int) -> None:
    x = np.random.RandomState(1).normal(2, 3, (4, 3, 5) if 2 in axes or rank == 2 else (4, 3))
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    shape = tuple(1 if a in axes else x.shape[a] for a in range(x.ndim))
    full = rank == x.ndim
    gamma = np.random.RandomState(2).rand(*(shape if full else [x.shape[a] for a in kept]))
    spread = gamma.reshape(shape)
    found = T.nnet.bn.batch_normalization_train(
        T.constant(x), T.constant(gamma), T.constant(-gamma), axes, 1e-4, 0.3,
        T.constant(gamma * 2), T.constant(gamma + 1),
    )  # fmt: skip
    assert isinstance(found, tuple)
    assert [v.ndim for v in found] == [x.ndim] + [rank] * 4
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    count = x.size / mean.size
    want = [
        (x - mean) * spread / np.sqrt(var + 1e-4) - spread, mean, 1 / np.sqrt(var + 1e-4),
        spread * 1.4 + mean * 0.3, (spread + 1) * 0.7 + var * count / (count - 1) * 0.3,
    ]  # fmt: skip
    for got, value in zip(found, want, strict=True):
        np.testing.assert_allclose(got.eval().ravel(), value.ravel())


def test_index_by_a_list_of_slices(T: Any) -> None:
    x = T.matrix()
    np.testing.assert_array_equal(x[[slice(None), slice(1, 3)]].eval({x: M}), M[:, 1:3])
    np.testing.assert_array_equal(x[[2, 0]].eval({x: M}), M[[2, 0]])


def test_eval_takes_values_of_expressions(T: Any) -> None:
    x = T.matrix()
    h = T.exp(x)
    y = T.sum(h * 2 + x.T.sum())
    assert (h * 2).eval({h: [[1.0, 2.0]]}).tolist() == [[2, 4]]
    np.testing.assert_allclose(y.eval({h: np.ones((4, 3)), x: M}), 24 + 12 * M.sum())


def test_names_of_several(T: Any) -> None:
    assert [v.name for v in T.matrices("ab")] == ["a", "b"]
    assert [v.name for v in T.matrices(["left", "right"])] == ["left", "right"]
    assert [v.name for v in T.scalars("left", "right")] == ["left", "right"]
    assert T.vectors("a").name == "a"
    assert len(T.vectors(1)) == 1


def test_numpy_multiplies_extents(T: Any) -> None:
    x = T.tensor3()
    rows, columns, _ = x.shape
    assert np.prod((rows, 2, columns)).eval({x: np.zeros((3, 5, 1))}) == 30
    assert np.sum([rows, columns]).eval({x: np.zeros((3, 5, 1))}) == 8


def test_axes_as_arrays(T: Any) -> None:
    a, b = np.random.RandomState(0).rand(2, 3, 4, 5), np.random.RandomState(1).rand(5, 6, 3)
    axes = np.array([[1, 3], [2, 0]])
    got = T.tensordot(T.constant(a), T.constant(b), axes=axes).eval()
    np.testing.assert_allclose(got, np.tensordot(a, b, axes=[[1, 3], [2, 0]]))


def test_tile_by_a_vector(T: Any) -> None:
    x, reps = T.matrix(), T.ivector()
    np.testing.assert_array_equal(T.tile(x, reps, ndim=2).eval({x: M, reps: [2, 3]}),
                                  np.tile(M, (2, 3)))  # fmt: skip
    joined = T.concatenate([[1], x.shape[1:]])
    np.testing.assert_array_equal(T.tile(x, joined).eval({x: M}), np.tile(M, (1, 3)))
    with pytest.raises(ValueError, match="how many repeats"):
        T.tile(x, reps)


def test_walk_over_a_graph(theano: Any, T: Any) -> None:
    """Parents of a variable are what made it, those of that what it was applied to."""
    x, w = T.matrix("x"), theano.shared(M.T, "w")
    pending, found = [T.tanh(T.dot(x, w)).sum()], set()
    while pending:
        node = pending.pop()
        found.add(node)
        pending += node.get_parents()
    assert {x, w} <= found
    assert isinstance(w, T.sharedvar.SharedVariable)
    assert isinstance(T.constant(1.0), T.Constant)
    assert not isinstance(x, T.Constant)


def test_equal_computations(theano: Any, T: Any) -> None:
    from theano.scan_module.scan_utils import equal_computations

    x, y = T.matrices("xy")
    assert equal_computations([T.exp(x) + 1, x], [T.exp(x) + 1, x])
    assert not equal_computations([T.exp(x) + 1], [T.exp(x) + 2])
    assert not equal_computations([x], [x, x])
    assert not equal_computations([T.exp(x)], [T.exp(y)])
    assert equal_computations([T.exp(x)], [T.exp(y)], [x], [y])


def test_modules_that_are_only_asked(theano: Any, T: Any) -> None:
    import theano.sparse as sparse
    from theano import theano as itself
    from theano.sandbox.cuda import dnn

    assert itself is theano
    assert not dnn.dnn_available()
    assert not isinstance(T.matrix().type, sparse.SparseType)
    assert not isinstance(T.matrix(), sparse.SparseVariable)
    with pytest.raises(ImportError, match="dense"):
        sparse.csr_matrix("x")
    assert theano.sparse_grad(T.constant(2.0)).eval() == 2


def test_spellings_of_settings(theano: Any) -> None:
    config = theano.config
    with config.change_flags({"NanGuardMode.nan_is_error": False}, gcc__cxxflags="-O2"):
        assert config.gcc__cxxflags == config.gcc.cxxflags == "-O2"
        assert config.nanguardmode.nan_is_error is False
        assert theano.function([], theano.tensor.constant(np.nan), mode="NanGuardMode")() != 0
    assert config.NanGuardMode.nan_is_error is True
    assert config.cmodule.debug is False


def test_what_numpy_and_python_had(monkeypatch: Any) -> None:
    for name in ("cast", "mat", "in1d", "find_common_type", "float"):
        monkeypatch.setattr(np, name, None, raising=False)
        monkeypatch.delattr(np, name)
    monkeypatch.delattr(inspect, "getargspec", raising=False)
    era.restore()
    assert np.cast["float32"](1.5).dtype == np.float32  # type: ignore[attr-defined]
    assert np.in1d([1, 2], [2]).tolist() == [False, True]  # type: ignore[attr-defined]
    assert np.find_common_type(["f4"], ["i2"]) == np.float32  # type: ignore[attr-defined]
    spec = inspect.getargspec(lambda a, b=1, *c, **d: None)  # type: ignore[attr-defined]
    assert (spec.args, spec.varargs, spec.keywords, spec.defaults) == (["a", "b"], "c", "d", (1,))
    args, *_ = spec
    assert args == ["a", "b"]


def test_test_values_around_a_scan(theano: Any, T: Any) -> None:
    """The variables of a step have no values, the loop and what follows from it do."""
    with theano.config.change_flags(compute_test_value="raise"):
        x, w = T.vector("x"), theano.shared(np.arange(3.0), "w")
        x.tag.test_value = np.array([1.0, 2.0, 3.0])
        total, _ = theano.scan(lambda u, v, before: T.exp(u) * v + before, [x, w], T.constant(0.0))
        slope = T.grad(total[-1] * 2, x)
        want = np.exp([1, 2, 3]) * np.arange(3)
        np.testing.assert_allclose(total.tag.test_value, np.cumsum(want))
        np.testing.assert_allclose(slope.tag.test_value, 2 * want)
        with pytest.raises(AttributeError, match="no test value"):
            T.exp(T.vector("y"))
        assert T.constant([1.0, 2.0]).tag.test_value.tolist() == [1, 2]


def test_float_x_is_a_dtype(theano: Any, T: Any) -> None:
    with theano.config.change_flags(floatX="float32"):
        x = T.ivector()
        made = [T.constant(1, dtype="floatX"), T.TensorType("floatX", ())(), T.cast(x, "floatX"),
                x.astype("floatX"), T.zeros((2,), "floatX"), T.vector(dtype="floatX")]  # fmt: skip
        assert [v.dtype for v in made] == ["float32"] * len(made)


def test_diagonals_and_windows(T: Any) -> None:
    cube = np.random.RandomState(0).rand(3, 3, 3)
    want = cube.copy()
    np.fill_diagonal(want, 2)
    np.testing.assert_array_equal(T.fill_diagonal(T.constant(cube), 2).eval(), want)
    np.testing.assert_array_equal(T.fill_diagonal(T.constant(M), 2).eval().diagonal(), [2, 2, 2])
    points = T.iscalar()
    for count in (0, 1, 2, 5, 6):
        found = T.extra_ops.bartlett(points).eval({points: count})
        np.testing.assert_allclose(found, np.bartlett(count), atol=1e-15)


def test_variables_of_a_class_of_the_program(theano: Any, T: Any) -> None:
    """As PyMC3 has it: a variable with more to say, which another one's value is passed on to."""

    class Variable(T.TensorVariable):  # type: ignore[misc]
        def __init__(self, type: Any = None, owner: Any = None, index: Any = None,
                     name: Any = None, note: Any = None) -> None:  # fmt: skip
            super().__init__(type, owner, index, name)
            self.note = note

    x = Variable(T.dvector, None, None, "x", note=[1])
    assert (x.name, x.note, x.owner) == ("x", [1], None)
    assert (x * 2).eval({x: [1, 2]}).tolist() == [2, 4]
    for source in (T.exp(x), x):
        y = Variable(T.dvector, name="y")
        theano.Apply(theano.compile.view_op, inputs=[source], outputs=[y])
        np.testing.assert_allclose((y + 1).eval({x: [1, 2]}), source.eval({x: [1, 2]}) + 1)


def test_special_functions_of_scalars(T: Any) -> None:
    from theano.scalar import upgrade_to_float
    from theano.scalar.basic_scipy import GammaLn

    gammaln = T.Elemwise(GammaLn(upgrade_to_float, name="gammaln"), name="gammaln")
    np.testing.assert_allclose(gammaln(T.constant([1.0, 2.0, 5.0])).eval(), np.log([1, 1, 24]))


def test_constants_are_no_variables_to_isinstance(theano: Any, T: Any) -> None:
    """So programs tell the inputs of a graph from the numbers in it."""
    x, two = T.vector("x"), T.constant(2.0)
    leaves = theano.gof.graph.inputs([x * two + 1])
    assert [v for v in leaves if isinstance(v, T.TensorVariable)] == [x]
    assert isinstance(two, T.TensorConstant)
    assert isinstance(two, theano.Variable)
    assert isinstance(two * two, T.TensorVariable)
    assert isinstance(pickle.loads(pickle.dumps(two)), T.TensorConstant)


def test_functions_of_small_integers_are_single(T: Any) -> None:
    """Constants are as small as they can be; half precision was never asked for."""
    two, flags = T.constant(2), T.bvector()
    for made in (T.sqrt(two), T.log(flags), T.exp(T.eq(flags, 1)), T.arctan2(two, two)):
        assert made.dtype == "float32"
    np.testing.assert_allclose(T.sqrt(two).eval(), np.sqrt(np.float32(2)))
    assert T.sqrt(T.vector(dtype="float16")).dtype == "float16"
    assert T.cast(two, "float16").dtype == "float16"
    assert T.abs_(two).dtype == "int8"
