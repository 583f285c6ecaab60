"""Transforms of functions and of expressions: against differences, loops and each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import (
    BatchingError,
    DisconnectedError,
    GradientError,
    InputError,
    OptionError,
    ShapeError,
)
from jitgraph.ir.function import Function
from jitgraph.ir.types import F64, Type
from jitgraph.ir.values import Value
from jitgraph.passes.autodiff import pulled_back, pushed_forward
from tests.native import compiled
from tests.test_gradients import STRUCTURAL, trials

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
STEP = 1e-6


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape)


def close(got: Any, want: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# --- forward mode, for every op ------------------------------------------------------------------
def _forward_and_back(outputs: list[Value], inputs: list[Value]) -> tuple[list[Value], list[Value]]:
    """What the outputs change by, and what comes back, over seeds that are inputs as well."""
    moves = [Value(Type(v.dtype, v.type.shape)) for v in inputs]
    weights = [Value(Type(y.dtype, (None,) * y.ndim)) for y in outputs]
    ahead = pushed_forward(outputs, inputs, moves)
    back = pulled_back(outputs, weights, inputs)
    zeros = [y * 0.0 if a is None else a for y, a in zip(outputs, ahead, strict=True)]
    none = [x * 0.0 if b is None else b for x, b in zip(inputs, back, strict=True)]
    return [*moves, *weights], [*outputs, *zeros, *none]


def test_forward_mode_of_every_elementwise_op() -> None:
    """<J v, u> = <v, Jᵀ u>, and J v is what differences along v say."""
    every = trials(20)
    params: list[Value] = []
    results: list[Value] = []
    arrays: list[Array] = []
    for trial in every:
        seeds, found = _forward_and_back([trial.built()], trial.values)
        params += [*trial.values, *seeds]
        results += found
        arrays += [*trial.arrays, *(normal(20) for _ in seeds)]
    f = compiled(Function(params, results))
    ours = f(*arrays)
    at = place = 0
    for trial in every:
        n = len(trial.values)
        own = arrays[at : at + 2 * n + 1]
        y, ahead, *back = ours[place : place + 2 + n]
        at, place = at + 2 * n + 1, place + 2 + n
        points, moves, weight = own[:n], own[n : 2 * n], own[-1]
        up, down = (trial.computed([p + s * STEP * m for p, m in zip(points, moves, strict=True)])
                    for s in (1, -1))  # fmt: skip
        slope = (up - down) / (2 * STEP)
        smooth = np.abs(slope) < 1e4  # no step has been crossed
        np.testing.assert_allclose(ahead[smooth], slope[smooth], rtol=1e-4, atol=1e-4,
                                   err_msg=trial.op.name)  # fmt: skip
        pulled = sum(float(np.vdot(b, m)) for b, m in zip(back, moves, strict=True))
        np.testing.assert_allclose(np.vdot(weight, ahead), pulled, rtol=1e-9, atol=1e-9,
                                   err_msg=trial.op.name)  # fmt: skip
        assert y.shape == ahead.shape


def test_forward_mode_of_structural_ops() -> None:
    params: list[Value] = []
    results: list[Value] = []
    arrays: list[Array] = []
    counts = []
    for build, operands in STRUCTURAL.values():
        own = [Value(Type(F64, a.shape)) for a in operands]
        y = build(*own)
        seeds, found = _forward_and_back([y], own)
        shape = tuple(d if isinstance(d, int) else 1 for d in y.type.shape)
        params += [*own, *seeds]
        results += found
        arrays += [*operands, *(normal(*a.shape) for a in operands), normal(*shape)]
        counts.append((len(own), shape))
    f = compiled(Function(params, results), arrays=arrays)
    ours = f(*arrays)
    moved = {}
    for sign in (1, -1):
        shifted, at = list(arrays), 0
        for n, _ in counts:
            for k in range(at, at + n):
                shifted[k] = arrays[k] + sign * STEP * arrays[k + n]
            at += 2 * n + 1
        moved[sign] = f(*shifted)
    at = place = 0
    for name, (n, _) in zip(STRUCTURAL, counts, strict=True):
        y, ahead, *back = ours[place : place + 2 + n]
        slope = (moved[1][place] - moved[-1][place]) / (2 * STEP)
        np.testing.assert_allclose(ahead, slope, rtol=1e-4, atol=1e-4, err_msg=name)
        moves, weight = arrays[at + n : at + 2 * n], arrays[at + 2 * n]
        pulled = sum(float(np.vdot(b, m)) for b, m in zip(back, moves, strict=True))
        np.testing.assert_allclose(np.vdot(weight, ahead), pulled, rtol=1e-8, atol=1e-8,
                                   err_msg=name)  # fmt: skip
        at, place = at + 2 * n + 1, place + 2 + n


# --- gradients of functions ----------------------------------------------------------------------
def network(p: Any, x: Any) -> Any:
    hidden = T.tanh(x @ p["w"] + p["b"])
    return (hidden * p["v"]).sum()


def parameters() -> tuple[dict[str, Array], Array]:
    return {"w": normal(3, 4), "b": normal(4), "v": normal(4)}, normal(5, 3)


def test_gradients_come_in_the_trees_of_the_arguments() -> None:
    p, x = parameters()
    value, slopes = jg.value_and_grad(network)(p, x)
    hidden = np.tanh(x @ p["w"] + p["b"])
    close(value, (hidden * p["v"]).sum())
    close(slopes["v"], hidden.sum(0))
    close(slopes["b"], ((1 - hidden**2) * p["v"]).sum(0))
    assert list(slopes) == list(p)
    both = jg.grad(network, argnums=(1, 0))(p, x)
    assert isinstance(both, tuple)
    close(both[0], ((1 - hidden**2) * p["v"]) @ p["w"].T)
    close(both[1]["b"], slopes["b"])
    more = jg.grad(lambda p, x: (network(p, x), {"x": x * 2}), has_aux=True)(p, x)
    close(more[0]["v"], slopes["v"])
    close(more[1]["x"], x * 2)
    jg.verify_grad(network, [p, x], rng=0)


def test_what_is_not_depended_on_has_zeros_and_what_is_taken_from_outside_is_constant() -> None:
    x = normal(3)
    first, second = jg.grad(lambda pair: 2.0 * pair[1].sum())([x, x])
    np.testing.assert_array_equal([first, second], [np.zeros(3), np.full(3, 2.0)])

    def outer(x: Any) -> Any:
        return jg.grad(lambda y: (x * y).sum())(x)  # x is the point, and a constant inside

    close(jg.jit(outer)(x), x)
    close(jg.grad(lambda x: outer(x).sum())(x), np.ones(3))


def test_higher_orders_and_nesting() -> None:
    f = lambda x: T.exp(T.sin(x))
    g = f
    for _ in range(3):
        g = jg.grad(g)
    s, c = np.sin(0.3), np.cos(0.3)
    close(g(0.3), np.exp(s) * (c**3 - 3 * s * c - c))
    close(jg.vmap(jg.grad(jg.grad(f)))(np.full(3, 0.3)), np.full(3, np.exp(s) * (c * c - s)))
    x = T.dscalar("x")
    close(jg.function([x], jg.grad(f)(x) + jg.grad(f(x), x))(0.3), 2 * np.exp(s) * c)


@pytest.mark.parametrize("mode", ["shorter", "forward", "reverse"])
def test_jacobians_against_differences(mode: str) -> None:
    def f(x: Any, w: Any) -> Any:
        return {"product": T.tanh(w @ x), "sum": (x * x).sum(), "outer": T.outer(x, x[:2])}

    x, w = normal(3), normal(4, 3)
    found = jg.jacobian(f, argnums=(0, 1), mode=mode)(x, w)
    run = jg.jit(f)
    for name, parts in found.items():
        for which, (part, argument) in enumerate(zip(parts, (x, w), strict=True)):
            shape = run(x, w)[name].shape
            assert part.shape == (*shape, *argument.shape)
            for k in np.ndindex(argument.shape):
                sides = []
                for sign in (1, -1):
                    args = [x.copy(), w.copy()]
                    args[which][k] += sign * STEP
                    sides.append(run(*args)[name])
                slope = (sides[0] - sides[1]) / (2 * STEP)
                close(part[(..., *k)], slope, 1e-6)


def test_jacobians_of_expressions() -> None:
    x, a = T.dvector("x"), T.dmatrix("a")
    y = T.sin(a @ x)
    point, matrix = normal(3), normal(2, 3)
    want = np.cos(matrix @ point)[:, None] * matrix
    rows, columns, grad = jg.function([x, a], [
        T.jacobian(y, x, mode="reverse"), T.jacobian(y, x, mode="forward"),
        T.jacobian(y.sum(), [x])[0],
    ])(point, matrix)  # fmt: skip
    close(rows, want)
    close(columns, want)
    close(grad, want.sum(0))
    with pytest.raises(DisconnectedError):
        T.jacobian(y, T.dvector("z"))
    none = T.jacobian(y, (z := T.dvector("z")), disconnected_inputs="ignore")
    assert jg.function([x, a, z], none)(point, matrix, normal(4)).shape == (2, 4)
    cost = (T.exp(x) * x.sum()).sum()
    v = normal(3)
    e = np.exp(point)
    hessian = np.diag(e * point.sum()) + e[:, None] + e[None, :]
    full, product = jg.function([x], [T.hessian(cost, x), T.hvp(cost, x, v)])(point)
    close(full, hessian)
    close(product, hessian @ v)
    close(jg.hessian(lambda x: (T.exp(x) * x.sum()).sum())(point), hessian)
    close(jg.hvp(lambda x: (T.exp(x) * x.sum()).sum(), (point,), (v,))[0], hessian @ v)


def test_hessian_of_a_tree_has_all_blocks() -> None:
    p = {"a": normal(2), "b": normal(3)}
    blocks = jg.hessian(lambda p: (p["a"].sum() ** 2) * p["b"].sum())(p)
    close(blocks["a"]["a"], np.full((2, 2), 2 * p["b"].sum()))
    close(blocks["a"]["b"], np.full((2, 3), 2 * p["a"].sum()))
    close(blocks["b"]["b"], np.zeros((3, 3)))


def test_products_with_jacobians() -> None:
    a, x, v, u = normal(4, 3), normal(3), normal(3), normal(4)
    f = lambda a, x: (T.tanh(a @ x), x * 2)
    out, change = jg.jvp(f, (a, x), (np.zeros((4, 3)), v))
    slope = 1 - np.tanh(a @ x) ** 2
    close(out[0], np.tanh(a @ x))
    close(change[0], slope * (a @ v))
    close(change[1], 2 * v)
    out, pull = jg.vjp(f, a, x)
    of_a, of_x = pull((u, np.ones(3)))
    close(of_x, a.T @ (u * slope) + 2)
    close(of_a, np.outer(u * slope, x))
    left, right = T.dmatrix("a"), T.dvector("x")
    y = T.tanh(left @ right)
    rop, lop = jg.function([left, right], [T.Rop(y, right, v), T.Lop(y, right, u)])(a, x)
    close(rop, slope * (a @ v))
    close(lop, a.T @ (u * slope))
    with pytest.raises(InputError, match="same tree"):
        jg.jvp(f, (a, x), (v,))
    with pytest.raises(ShapeError, match="must be of its type"):
        T.Rop(y, right, a)


# --- options of T.grad ---------------------------------------------------------------------------
def test_options_of_grad() -> None:
    x, y, z = T.dvectors("x", "y", "z")
    h = x * y
    cost = (h * h).sum()
    cost.name = "cost"
    found = T.grad(cost, {"x": x, "y": y})
    assert list(found) == ["x", "y"]
    assert found["x"].name == "(dcost/dx)"
    known = T.grad(cost, [x], known_grads={h: y})
    alone = T.grad(None, x, known_grads={h: y})
    one, two = jg.function([x, y], [known[0], alone], on_unused_input="ignore")(
        np.array([1.0, 2]), np.array([3.0, 4]))  # fmt: skip
    np.testing.assert_array_equal(one, [9, 16])
    np.testing.assert_array_equal(two, [9, 16])
    options = {"disconnected_inputs": "ignore", "return_disconnected": "none"}
    assert T.grad(cost, [x, z], **options)[1] is None
    with pytest.raises(OptionError):
        T.grad(cost, x, return_disconnected="type")


def test_marks() -> None:
    x = T.dvector("x")
    costs = [
        (x * T.stop_gradient(x)).sum(), (x * T.disconnected_grad(x)).sum(),
        T.grad_clip(x * x, -1.0, 1.0).sum() * 3, T.grad_scale(x, -2.0).sum(),
        (x + T.consider_constant(x) + T.zero_grad(x)).sum(),
    ]  # fmt: skip
    found = jg.function([x], [T.grad(c, x) for c in costs])(np.array([1.0, 5.0]))
    for got, want in zip(found, ([1, 5], [1, 5], [2, 10], [-2, -2], [1, 1]), strict=True):
        np.testing.assert_array_equal(got, want)
    assert jg.function([x], T.grad(T.zero_grad(x).sum(), x))([1.0]) == [0]
    with pytest.raises(DisconnectedError):
        T.grad(T.disconnected_grad(x).sum(), x)
    assert jg.grad(lambda x: T.disconnected_grad(x).sum())(np.ones(1)) == [0]


# --- vmap ----------------------------------------------------------------------------------------
def looped(f: Callable[..., Any], args: list[Any], axes: list[Any]) -> list[Any]:
    count = next(a.shape[x] for a, x in zip(args, axes, strict=True) if x is not None)
    run = jg.jit(f)
    return [run(*(a if x is None else np.take(a, k, x) for a, x in zip(args, axes, strict=True)))
            for k in range(count)]  # fmt: skip


MAPPED: dict[str, tuple[Callable[..., Any], list[Array], list[Any]]] = {
    "matrix by vector": (lambda a, b: a @ b, [normal(2, 3), normal(5, 3)], [None, 0]),
    "vector by matrix": (lambda a, b: a @ b, [normal(5, 3), normal(3, 2)], [0, None]),
    "other axes": (lambda a, b: a * b.sum(), [normal(3, 5, 2), normal(2, 5)], [1, -1]),
    "normalised": (lambda x: (x - x.mean()) / x.std(), [normal(5, 7)], [0]),
    "softmax": (lambda x: T.softmax(x, axis=0), [normal(5, 7, 2)], [0]),
    "indexed": (lambda x, i: x[i] + x[-1], [normal(6), np.array([0, 5, 2, -1])], [None, 0]),
    "indexed rows": (lambda x, i: x[i], [normal(4, 6, 2), np.array([0, 5, 2, -1])], [0, 0]),
    "reversed": (lambda x: x[::-1, 1:], [normal(4, 3, 3)], [0]),
    "gradient": (jg.grad(lambda w, x: T.tanh(x @ w).sum()), [normal(3), normal(5, 2, 3)],
                 [None, 0]),
    "jacobian": (jg.jacobian(lambda x: T.sin(x) * x[0]), [normal(4, 3)], [0]),
    "cond": (lambda x: T.cond(x > 0, lambda v: v * 2, lambda v: v - 1, x), [normal(6)], [0]),
    "for": (lambda n, x: T.fori_loop(0, n, lambda i, s: s * 1.5 + i, x),
            [np.array([0, 3, 5, 1]), normal(4)], [0, 0]),
    "while": (lambda x: T.while_loop(lambda s: s > 2, lambda s: s / 2, x),
              [np.array([1.0, 30, 5, 100])], [0]),
    "gradient of while": (
        jg.grad(lambda x: T.while_loop(lambda s: s > 2, lambda s: T.sqrt(s) * 1.1, x)),
        [np.array([1.0, 30, 5, 100])], [0]),
    "scan": (lambda a, w: T.scan(lambda r, s, w: s * w + r, sequences=[a],
                                 outputs_info=[T.zeros(3)], non_sequences=[w])[0],
             [normal(4, 6, 3), normal(3)], [0, None]),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPPED)
def test_vmap_against_a_loop(name: str) -> None:
    f, args, axes = MAPPED[name]
    got = jg.vmap(f, in_axes=tuple(axes))(*args)
    close(got, np.stack(looped(f, args, axes)))


def test_vmap_of_trees_and_out_axes() -> None:
    def f(p: Any, x: Any) -> Any:
        return {"y": p["w"] @ x, "same": p["b"]}

    p, x = {"w": normal(4, 2, 3), "b": normal(2)}, normal(3, 4)
    mapped = jg.vmap(f, in_axes=({"w": 0, "b": None}, 1), out_axes={"y": 1, "same": 0})
    out = mapped(p, x)
    close(out["y"], np.stack([p["w"][k] @ x[:, k] for k in range(4)], axis=1))
    close(out["same"], np.tile(p["b"], (4, 1)))
    once = jg.vmap(f, in_axes=({"w": 0, "b": None}, 1), out_axes={"y": 0, "same": None})
    close(once(p, x)["same"], p["b"])
    outer = jg.vmap(jg.vmap(lambda a, b: a * b, (None, 0)), (0, None))
    close(outer(x[:, 0], x[0]), np.outer(x[:, 0], x[0]))
    xs, v = T.dmatrix("xs"), T.dvector("v")
    close(jg.function([xs], T.vectorize_graph((v * v).sum(), {v: xs}))(x), (x * x).sum(1))


def test_what_vmap_refuses() -> None:
    x = normal(3, 2)
    with pytest.raises(ShapeError, match="cannot map"):
        jg.vmap(lambda a, b: a * b)(x, 2.0)
    with pytest.raises(InputError, match="maps none"):
        jg.vmap(lambda a: a, in_axes=None)(x)
    with pytest.raises(InputError, match="2 entries for 1"):
        jg.vmap(lambda a: a, in_axes=(0, 0))(x)
    with pytest.raises(ShapeError):
        jg.vmap(lambda a, b: a + b)(x, np.ones((4, 2)))
    with pytest.raises(ShapeError):
        jg.vmap(lambda a, b: a + b)(x, np.ones((1, 2)))  # a shape of one is a mistake here as well
    with pytest.raises(BatchingError, match="differ from element to element"):
        jg.vmap(lambda n: T.arange(n))(np.array([1, 2]))
    with pytest.raises(InputError, match="out_axes"):
        jg.vmap(lambda a: a, out_axes=None)(x)


# --- gradients of one's own ----------------------------------------------------------------------
def test_custom_gradients() -> None:
    @jg.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y, x.sum()

    f.defvjp(lambda x, y: ((x * y, x.sum()), (x, y)),
             lambda kept, g: (g[0] * 100 + g[1], None))  # fmt: skip
    x, y = normal(3), normal(3)
    cost = lambda x, y: f(x, y)[0].sum() + 2 * f(x, y)[1]
    of_x, of_y = jg.grad(cost, argnums=(0, 1))(x, y)
    close(of_x, np.full(3, 102.0))
    close(of_y, np.zeros(3))
    close(jg.jit(f)(x, y)[0], x * y)
    close(f(x, y)[0], x * y)
    each = jg.vmap(jg.grad(lambda x: f(x, x)[0].sum()))(normal(4, 3))
    close(each, np.full((4, 3), 100.0))
    close(jg.grad(lambda x: jg.vmap(f)(x, x)[0].sum())(normal(4, 3)), np.full((4, 3), 100.0))
    with pytest.raises(GradientError, match="not defined yet"):
        jg.jit(jg.custom_vjp(lambda x: x))(x)


def test_checkpoint_computes_anew() -> None:
    w = normal(3, 3)

    def layers(x: Any) -> Any:
        for _ in range(3):
            x = T.tanh(x @ w)
        return x

    x = normal(2, 3)
    plain = jg.grad(lambda x: layers(layers(x)).sum())
    light = jg.grad(lambda x: jg.checkpoint(layers)(jg.checkpoint(layers)(x)).sum())
    close(light(x), plain(x), 1e-12)
    counts = [f.dump(x, stage="optimised").count("tanh") for f in (plain, light)]
    assert counts[1] > counts[0]

    def outer(v: Any) -> Any:  # what comes from outside has its gradient too
        return jg.checkpoint(lambda x: T.tanh(x * v))(v * 2).sum()

    close(jg.grad(outer)(w), jg.grad(lambda v: T.tanh(v * 2 * v).sum())(w), 1e-12)
    close(jg.vmap(jg.grad(outer))(w), jg.grad(outer)(w), 1e-12)


# --- errors --------------------------------------------------------------------------------------
def test_wrong_gradients_are_found() -> None:
    @jg.custom_vjp
    def wrong(x: Any) -> Any:
        return x * x

    wrong.defvjp(lambda x: (x * x, x), lambda x, g: (g * x,))
    with pytest.raises(GradientError, match="forward mode"):
        jg.verify_grad(wrong, [normal(3)], rng=0)
    jg.verify_grad(lambda x: T.sin(x) * x[0], [normal(3).astype("f4")], rng=0)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda x: jg.grad(lambda x: x)(x), GradientError, "needs a function that gives a floating"),
    (lambda x: jg.grad(lambda x: (x.sum(), x))(x), GradientError, "not a tree"),
    (lambda x: jg.grad(lambda x: x.sum())(1), GradientError, "pass 2.0, not 2"),
    (lambda x: jg.grad(lambda x: x.sum(), argnums=1)(x), InputError, "by argument 1"),
    (lambda x: jg.grad(lambda x: x.sum(), has_aux=True)(x), InputError, "gives two things"),
    (lambda x: jg.grad("x"), InputError, "takes a function"),
])  # fmt: skip
def test_errors(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        call(normal(3))


# --- names ---------------------------------------------------------------------------------------
NAMES = [
    "grad", "value_and_grad", "jacobian", "hessian", "jvp", "Rop", "vjp", "Lop", "hvp", "vmap",
    "stop_gradient", "disconnected_grad", "zero_grad", "consider_constant", "grad_clip",
    "custom_vjp", "checkpoint", "verify_grad", "scan", "while_loop", "fori_loop", "cond", "ifelse",
    "map", "reduce", "foldl", "foldr",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_transform_is_in_both_modules(name: str) -> None:
    for module in (jg, T):
        assert callable(getattr(module, name))
    assert name in T.__all__


def test_transforms_of_functions_under_the_name_of_tensors() -> None:
    rows = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(T.vmap(lambda r: r.sum())(rows), rows.sum(1))
    T.verify_grad(lambda r: (r**2).sum(), [rows])
