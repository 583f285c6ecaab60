"""Ops of the user's own: inside loops, with parameters, of scalars, with gradients left out."""

# ruff: noqa: N803  (T is a fixture)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgraph as jg
from jitgraph.errors import BatchingError

RANDOM = np.random.RandomState(4)
M = RANDOM.normal(0, 1, (4, 3))
V = RANDOM.normal(0, 1, 3)


pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def product(theano: Any, T: Any) -> Any:
    """An op that multiplies, whose gradient by its second operand is said not to exist."""

    class Product(theano.Op):  # type: ignore[misc]
        __props__ = ()
        itypes = (T.dvector, T.dvector)
        otypes = (T.dvector,)

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            outputs[0][0] = inputs[0] * inputs[1]

        def infer_shape(self, node: Any, shapes: Any) -> Any:
            return [shapes[0]]

        def grad(self, inputs: Any, gs: Any) -> Any:
            missing = theano.gradient.grad_not_implemented(self, 1, inputs[1], "nobody did")
            return [gs[0] * inputs[1], missing]

    return Product()


def test_in_loops(theano: Any, T: Any, product: Any) -> None:
    x, w = T.dmatrix("x"), T.dvector("w")
    rows, _ = theano.scan(lambda row, w: product(row, w), sequences=x, non_sequences=w)
    powers, _ = theano.scan(lambda last, w: product(last, w), outputs_info=x[0], non_sequences=w,
                            n_steps=3)  # fmt: skip
    cost = (rows**2).sum() + powers[-1].sum()
    f = theano.function([x, w], [rows, powers, T.grad(cost, x)])
    found = f(M, V)
    np.testing.assert_allclose(found[0], M * V)
    np.testing.assert_allclose(found[1], M[0] * np.stack([V, V**2, V**3]))
    expected = 2 * M * V**2
    expected[0] += V**3
    np.testing.assert_allclose(found[2], expected)


def test_gradients_that_are_not_there(theano: Any, T: Any, product: Any) -> None:
    v, w = T.dvectors("v", "w")
    y = product(v, T.exp(w))
    np.testing.assert_allclose(T.grad(y.sum(), v).eval({v: V, w: V}), np.exp(V))
    for ask in (T.grad, T.hessian):
        with pytest.raises(theano.gradient.NullTypeGradError, match="nobody did"):
            ask((y**2).sum(), w)
    with pytest.raises(theano.gradient.NullTypeGradError, match="nobody did"):
        T.Lop(y, w, v)
    shown = theano.gradient.undefined_grad(w)
    assert shown.eval({w: V}).tolist() == V.tolist()
    with pytest.raises(theano.gradient.NullTypeGradError):
        T.grad((shown * w).sum(), w)


def test_products_with_jacobians(theano: Any, T: Any, product: Any) -> None:
    v, w, u = T.dvectors("v", "w", "u")
    found = theano.function([v, w, u], T.Rop(product(v, w), v, u), on_unused_input="ignore")
    np.testing.assert_allclose(found(V, V + 1, V + 2), (V + 1) * (V + 2))


def test_disconnected(theano: Any, T: Any) -> None:
    class Scaled(theano.Op):  # type: ignore[misc]
        itypes = (T.dvector, T.dscalar)
        otypes = (T.dvector,)

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            outputs[0][0] = inputs[0] * inputs[1]

        def connection_pattern(self, node: Any) -> Any:
            return [[True], [False]]

        def grad(self, inputs: Any, gs: Any) -> Any:
            return [gs[0] * inputs[1], theano.gradient.DisconnectedType()()]

    v, s = T.dvector("v"), T.dscalar("s")
    cost = Scaled()(v, s).sum()
    assert T.grad(cost, v).eval({v: V, s: 2.0}).tolist() == [2, 2, 2]
    with pytest.raises(theano.gradient.DisconnectedInputError):
        T.grad(cost, s)


def test_views_with_another_gradient(theano: Any, T: Any) -> None:
    class Reversed(theano.compile.ViewOp):  # type: ignore[misc]
        __props__ = ("factor",)

        def __init__(self, factor: float) -> None:
            self.factor = factor

        def grad(self, inputs: Any, gs: Any) -> Any:
            return [-self.factor * g for g in gs]

    v = T.dvector("v")
    y = Reversed(2.0)(v)
    assert y.owner.op == Reversed(2.0) != Reversed(3.0)
    f = theano.function([v], [y, T.grad(y.sum(), v)])
    assert [r.tolist() for r in f([1, 2])] == [[1, 2], [-2, -2]]
    assert not any("python" in node.label for node in f.maker.fgraph.toposort())


def test_parameters_and_thunks(theano: Any, T: Any) -> None:
    class Shifted(theano.Op):  # type: ignore[misc]
        params_type = theano.gof.ParamsType(by=T.dscalar)
        itypes = otypes = (T.dvector,)
        by = 3

        def perform(self, node: Any, inputs: Any, outputs: Any, params: Any) -> None:
            outputs[0][0] = inputs[0] + params.by

    class Doubled(theano.Op):  # type: ignore[misc]
        itypes = otypes = (T.dvector,)

        def make_thunk(self, node: Any, storage_map: Any, compute_map: Any, *rest: Any) -> Any:
            (x,), (y,) = ([storage_map[v] for v in some] for some in (node.inputs, node.outputs))

            def thunk() -> None:
                y[0] = 2 * x[0]

            return thunk

    v = T.dvector("v")
    assert Doubled()(Shifted()(v)).eval({v: [1, 2]}).tolist() == [8, 10]
    assert Shifted()(v, name="shifted").name == "shifted"


def test_second_derivatives_in_loops(theano: Any, T: Any) -> None:
    class Square(theano.Op):  # type: ignore[misc]
        itypes = otypes = (T.dscalar,)

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            outputs[0][0] = inputs[0] ** 2

        def L_op(self, inputs: Any, outputs: Any, gs: Any) -> Any:  # noqa: N802
            return [2 * outputs[0] / inputs[0] * gs[0]]

    x, w = T.dscalars("x", "w")
    steps, _ = theano.scan(lambda h, w: Square()(h) * w, outputs_info=x, non_sequences=w, n_steps=2)
    slope = T.grad(steps[-1], x)
    f = theano.function([x, w], [steps[-1], slope, T.grad(slope, x)])
    np.testing.assert_allclose(f(1.5, 0.7), [1.5**4 * 0.7**3, 4 * 1.5**3 * 0.7**3,
                                             12 * 1.5**2 * 0.7**3])  # fmt: skip


def test_several_outputs(theano: Any, T: Any) -> None:
    class Both(theano.Op):  # type: ignore[misc]
        itypes = (T.dvector,)
        otypes = (T.dvector, T.dscalar, T.lscalar)

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            outputs[0][0] = 2 * inputs[0]
            outputs[1][0], outputs[2][0] = inputs[0].sum(), inputs[0].size

        def grad(self, inputs: Any, gs: Any) -> Any:
            return [2 * gs[0] + gs[1] * T.ones_like(inputs[0])]

    class Second(Both):
        default_output = 1

    v = T.dvector("v")
    twice, total, count = Both()(v)
    for mode in ("FAST_RUN", "DebugMode"):
        f = theano.function([v], [count, T.grad(twice.sum() + total * count, v), Second()(v)],
                            mode=mode)  # fmt: skip
        found = f(V)
        assert (found[0], found[1].tolist()) == (3, [5, 5, 5])
        np.testing.assert_allclose(found[2], V.sum())


def test_scalar_ops(theano: Any, T: Any) -> None:
    class XLogX(theano.scalar.UnaryScalarOp):  # type: ignore[misc]
        def impl(self, x: float) -> float:
            return x * np.log(x) if x else 0.0

        def grad(self, inputs: Any, gs: Any) -> Any:
            return [gs[0] * (1 + T.log(inputs[0]))]

    class Hypot(theano.scalar.BinaryScalarOp):  # type: ignore[misc]
        def impl(self, x: float, y: float) -> float:
            return float((x * x + y * y) ** 0.5)

    x, v = T.dmatrix("x"), T.dvector("v")
    op = T.Elemwise(XLogX(theano.scalar.upgrade_to_float, name="xlogx"), name="xlogx")
    y = op(x)
    hypot = T.Elemwise(Hypot(theano.scalar.upgrade_to_float))(x, v)
    f = theano.function([x, v], [y, T.grad(y.sum(), x), hypot,
                                 T.Elemwise(theano.scalar.add)(x, v)])  # fmt: skip
    positive = abs(M)
    found = f(positive, V)
    np.testing.assert_allclose(found[0], positive * np.log(positive))
    np.testing.assert_allclose(found[1], 1 + np.log(positive))
    np.testing.assert_allclose(found[2], np.hypot(positive, V))
    np.testing.assert_allclose(found[3], positive + V)
    assert op(T.ivector()).dtype == "float64"
    assert isinstance(y.owner.op, T.Elemwise)

    class InC(theano.scalar.UnaryScalarOp):  # type: ignore[misc]
        def c_code(self, *args: Any) -> str:
            return ""

    with pytest.raises(TypeError, match="written in C"):
        theano.function([x], InC()(x))(M)


def test_for_all_elements_at_once(T: Any, product: Any) -> None:
    with pytest.raises(BatchingError, match="loop over the elements"):
        jg.vmap(lambda row: product(row, row))(M)
    found = jg.jit(lambda row: product(row, row) + row)(V)
    np.testing.assert_allclose(found, V * V + V)


def test_shapes_that_are_told(theano: Any, T: Any) -> None:
    import theano.compile.ops as ops

    x = T.dmatrix("x")
    told = [ops.shape(x), ops.Shape_i(1)(x), ops.shape_i(x, 0)]
    assert [np.asarray(n.eval({x: M})).tolist() for n in told] == [[4, 3], 3, 4]
    assert ops.specify_shape(x, (4, None)).eval({x: M}).shape == (4, 3)
    with pytest.raises(ValueError, match="reshape"):
        ops.specify_shape(x, (3, 4)).eval({x: M})
    assert ops.Rebroadcast((0, True), (1, False))(x).broadcastable == (True, False)
    loop, _ = theano.scan(lambda row: theano.compile.as_op(T.dvector, T.dvector)(np.sort)(row), x)
    with pytest.raises(ValueError, match="infer_shape"):
        theano.function([x], loop)


def test_gradients_of_graphs_as_ops(theano: Any, T: Any) -> None:
    x = T.dscalar("x")
    op = theano.OpFromGraph([x], [T.exp(x)], lop_overrides=lambda xs, ys, gs: [3 * gs[0] * ys[0]])
    slope = T.grad(op(x), x)
    assert [slope.eval({x: 0.0}), T.grad(slope, x).eval({x: 0.0})] == [3, 9]
