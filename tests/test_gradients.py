"""Every gradient, compiled, against central differences in float64; and its gradient in turn.

Elementwise cases follow from the tables. Costs are random projections of results, so that each
element of an adjoint has a weight of its own; many costs share one compiled function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DisconnectedError, GradientError
from jitgraph.ir import interpreter
from jitgraph.ir.elementwise import Elementwise, cast
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OPS, constant, emit
from jitgraph.ir.ops import movement as move
from jitgraph.ir.ops.arithmetic import absolute, complex_, imag, real
from jitgraph.ir.ops.convolution import by_filters, by_input, convolve
from jitgraph.ir.ops.exponential import sin
from jitgraph.ir.ops.indexing import (
    ADD_SLICE,
    COMBINES,
    SCATTER_ADD,
    SET_SLICE,
    gather,
    scatter,
    slice_,
)
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.normalisation import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, log_softmax, softmax
from jitgraph.ir.ops.pooling import pool_max, pool_sum
from jitgraph.ir.ops.prefix import prefix_prod, prefix_sum
from jitgraph.ir.ops.reduction import REDUCE_MAX, REDUCE_MIN, REDUCE_PEAK, REDUCE_PROD, sum_
from jitgraph.ir.ops.special import FORMULAS
from jitgraph.ir.types import DTYPES, F64, Type, kind_of, type_of
from jitgraph.ir.values import Value, topological
from jitgraph.passes.autodiff import gradients
from tests.native import compiled
from tests.strategies import Program, functions

STEP = 1e-5
Array = np.ndarray[Any, Any]
DIFFERENTIABLE = [op for op in OPS.values()
                  if isinstance(op, Elementwise) and op.gradient is not None
                  and op.name != "complex"]  # fmt: skip


def total(x: Value) -> Value:
    return sum_(x, range(x.ndim))


def projected(x: Value, seed: int) -> Value:
    """A scalar with a weight of its own for every element, whatever the shape at the call."""
    rng = np.random.default_rng(seed)
    if x.type.is_static:
        return total(x * rng.uniform(0.5, 1.5, x.type.shape))
    weights = rng.uniform(0.5, 1.5, 7)
    position = move.reshape(move.iota(move.product(move.dims(x))) % 7, move.dims(x))
    return total(x * gather(constant(weights), [position]))


def adjoints(cost: Value, wrt: Sequence[Value]) -> list[Value]:
    """Gradients, with zeros where nothing flows."""
    return [w * 0.0 if g is None else g for g, w in zip(gradients(cost, wrt), wrt, strict=True)]


# --- elementwise ---------------------------------------------------------------------------------
@dataclass
class Trial:
    """An op and the float operands it is differentiated by, as values and as arrays."""

    op: Elementwise
    values: list[Value]
    arrays: list[Array]

    @property
    def fixed(self) -> list[Any]:
        count = self.arrays[0].size
        if self.op.name == "where":
            return [np.arange(count) % 3 > 0]
        return [points(self.op, k, np.random.default_rng(k), count) for k in self.op.unknown]

    def built(self) -> Any:
        return self.op(*self.fixed, *self.values)

    def computed(self, arrays: Sequence[Array]) -> Array:
        return self.op.evaluate(*self.fixed, *arrays)


def points(op: Elementwise, which: int, rng: np.random.Generator, count: int) -> Array:
    """Points inside the domain, away from its ends and from zero."""
    low, high = op.domain[which]
    inside = rng.uniform(max(low, -3) + 0.07, min(high, 3 + max(low, 0)) - 0.07, count)
    return np.where(np.abs(inside) < 0.05, inside + 0.11, inside)


def trials(count: int) -> list[Trial]:
    made = []
    for seed, op in enumerate(DIFFERENTIABLE):
        rng = np.random.default_rng(seed)
        first = 1 if op.name == "where" else len(op.unknown)  # these come first
        floats = range(first, op.arity)
        values = [Value(Type(F64, (None,)), name=f"{op.name}{k}") for k in floats]
        made.append(Trial(op, values, [points(op, k, rng, count) for k in floats]))
    return made


#: Operands by which there is a first derivative only.
ONCE = {"gammainc": (0,), "gammaincc": (0,), "betainc": (0, 1), "hurwitz_zeta": (0,),
        "riemann_zeta": (0,)}  # fmt: skip


def test_every_elementwise_gradient() -> None:
    """First and second order; points where differences of two steps disagree lie at a kink."""
    count = 24
    every = trials(count)
    weights = np.random.default_rng(99).uniform(0.5, 1.5, count)
    firsts: list[Value] = []
    seconds: list[Value] = []
    for trial in every:
        first = adjoints(total(trial.built() * weights), trial.values)
        once = ONCE.get(trial.op.name, ())
        parts = [g * weights[::-1] * (k + 1) for k, g in enumerate(first) if k not in once]
        firsts += first
        seconds += adjoints(total(sum(parts)), trial.values) if parts else (
            [v * 0.0 for v in trial.values]
        )
    params = [v for trial in every for v in trial.values]
    f = compiled(Function(params, [*firsts, *seconds]))

    def called(shift: Callable[[int], float]) -> dict[Value, tuple[Array, Array]]:
        moved = [a + shift(k) for trial in every for k, a in enumerate(trial.arrays)]
        got = f(*moved)
        return dict(zip(params, zip(got[: len(params)], got[len(params) :], strict=True),
                        strict=True))  # fmt: skip

    found = called(lambda k: 0.0)
    moved = {(which, sign): called(lambda k, w=which, s=sign: s * STEP * (k == w))
             for which in range(3) for sign in (1, -1)}  # fmt: skip
    for trial in every:
        for which, value in enumerate(trial.values):
            exact, smooth = differences(trial, which, weights)
            assert smooth.sum() > count // 2, trial.op.name
            np.testing.assert_allclose(
                found[value][0][smooth], exact[smooth], rtol=1e-6, atol=1e-7,
                err_msg=f"{trial.op.name}, operand {which}",
            )  # fmt: skip
            slope = sum(
                (k + 1) * weights[::-1] * (moved[which, 1][v][0] - moved[which, -1][v][0])
                for k, v in enumerate(trial.values) if k not in ONCE.get(trial.op.name, ())
            ) / (2 * STEP)
            np.testing.assert_allclose(
                found[value][1][smooth], np.broadcast_to(slope, count)[smooth],
                rtol=2e-5, atol=2e-5,
                err_msg=f"{trial.op.name}, operand {which}, second order",
            )  # fmt: skip


def differences(trial: Trial, which: int, weights: Array) -> tuple[Array, Array]:
    """Central differences, and where they can be trusted."""

    def slope(step: float) -> Array:
        sides = []
        for sign in (1, -1):
            moved = list(trial.arrays)
            moved[which] = moved[which] + sign * step
            sides.append(trial.computed(moved) * weights)
        return np.asarray((sides[0] - sides[1]) / (2 * step))

    fine, coarse = slope(STEP), slope(100 * STEP)
    return fine, np.isclose(fine, coarse, rtol=1e-2, atol=1e-2)


def test_operands_broadcast_at_the_call_have_their_adjoints_summed() -> None:
    """(3, 1) with (1, 4), of unknown extents: each adjoint has its operand's shape."""
    ops = [op for op in DIFFERENTIABLE if op.arity == 2
           and (op.name not in FORMULAS or op.name == "xlogy")]  # fmt: skip
    shapes = [((3, 1), (1, 4)), ((3, 4), (1, 1)), ((3, 4), (4,)), ((1, 1), (3, 4))]
    for ranks in ((2, 2), (2, 1)):
        params = [[Value(Type(F64, (None,) * r)) for r in ranks] for _ in ops]
        results = [g for op, own in zip(ops, params, strict=True)
                   for g in adjoints(total(sin(op(*own))), own)]  # fmt: skip
        f = compiled(Function([p for own in params for p in own], results))
        for left, right in [s for s in shapes if (len(s[0]), len(s[1])) == ranks]:
            arrays = [operand(op, k, shape) for op in ops for k, shape in enumerate((left, right))]
            got = f(*arrays)
            for k, op in enumerate(ops):
                operands = arrays[2 * k : 2 * k + 2]
                for which in range(2):
                    full = slopes_of(op, operands, which)
                    want = move.SUM_TO.evaluate(full, shape=operands[which].shape)
                    assert got[2 * k + which].shape == operands[which].shape
                    np.testing.assert_allclose(got[2 * k + which], want, rtol=1e-5, atol=1e-6,
                                               err_msg=f"{op.name} {left} {right}")  # fmt: skip


def operand(op: Elementwise, which: int, shape: tuple[int, ...]) -> Array:
    found = points(op, which, np.random.default_rng(7 + which), int(np.prod(shape)))
    return np.abs(found).reshape(shape)


def slopes_of(op: Elementwise, operands: Sequence[Array], which: int) -> Array:
    full = np.broadcast_arrays(*operands)
    sides = []
    for sign in (1, -1):
        moved = list(full)
        moved[which] = moved[which] + sign * STEP
        sides.append(np.sin(op.evaluate(*moved)))
    return np.asarray((sides[0] - sides[1]) / (2 * STEP))


# --- whole arrays --------------------------------------------------------------------------------
Build = Callable[..., Value]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def index(*numbers: int) -> Value:
    return constant(np.array(numbers, np.int64))


def reduction(op: Any, *axes: int) -> Build:
    return lambda x: emit(op, (x,), axes=axes)


SLICE = {"axes": (0, 1), "starts": (1, 4), "sizes": (2, 3), "steps": (2, -1)}
STRUCTURAL: dict[str, tuple[Build, list[Array]]] = {
    **{f"{op.name}{list(axes)}": (reduction(op, *axes), [normal(3, 4)])
       for op in (REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_PEAK, SOFTMAX, LOG_SOFTMAX, LOGSUMEXP)
       for axes in ((0,), (1,), (0, 1))},
    "sum": (lambda x: sin(sum_(x, (1,))), [normal(3, 4)]),
    "prod with a zero": (reduction(REDUCE_PROD, 1), [np.array([[2.0, 0, 3], [1, 2, 3]])]),
    "prod with two zeros": (reduction(REDUCE_PROD, 1), [np.array([[2.0, 0, 0], [1, 2, 0]])]),
    **{f"matmul {a} {b}": (lambda x, y: sin(matmul(x, y)), [normal(*a), normal(*b, seed=1)])
       for a, b in [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (3, 4)),
                    ((2, 2, 3), (3,)), ((3,), (2, 3, 2)), ((2, 2, 3), (2, 3, 2)),
                    ((2, 2, 3), (1, 3, 2)), ((1, 2, 3), (2, 3, 2)), ((2, 3), (2, 3, 2)),
                    ((1, 3), (3, 1)), ((2, 1), (1, 3))]},
    "matmul with itself": (lambda x: matmul(x, sin(move.transpose(x, (1, 0)))), [normal(3, 2)]),
    "slice": (lambda x: sin(slice_(x, *(SLICE[k] for k in ("axes", "starts", "sizes", "steps")))),
              [normal(4, 5)]),
    "set_slice": (lambda x, v: sin(emit(SET_SLICE, (x, v), **SLICE)),
                  [normal(4, 5), normal(2, 3)]),
    "add_slice": (lambda x, v: sin(emit(ADD_SLICE, (x, v), **SLICE)),
                  [normal(4, 5), normal(2, 3)]),
    "gather": (lambda x: sin(gather(x, [index(2, 0, 2, 2)])), [normal(3, 2)]),
    "gather of two axes": (lambda x: sin(gather(x, [index(2, 0, 2), index(1, 1, 1)])),
                           [normal(3, 2)]),
    "scatter_add": (lambda x, v: sin(emit(SCATTER_ADD, (x, v, index(2, 0, 2)))),
                    [normal(3, 2), normal(3, 2, seed=1)]),
    **{f"scatter {combine}": (
        lambda x, v, combine=combine: sin(scatter(x, v, [index(2, 0, 2)], combine)),
        [normal(3, 2), normal(3, 2, seed=1)]) for combine in COMBINES},
    "broadcast_to": (lambda x: sin(move.broadcast_to(x, (2, 3, 4))), [normal(3, 1)]),
    "sum_to": (lambda x: sin(move.sum_to(x, (3, 1))), [normal(2, 3, 4)]),
    "reshape": (lambda x: sin(move.reshape(x, (3, -1))), [normal(2, 6)]),
    "transpose": (lambda x: sin(move.transpose(x, (2, 0, 1))), [normal(2, 3, 2)]),
    "expand and squeeze": (lambda x: move.squeeze(sin(move.expand_dims(x, (0, 2))), (0,)),
                           [normal(2, 3)]),
    "concatenate": (lambda x, y: sin(concatenate([x, y, x], 1)), [normal(2, 3), normal(2, 1)]),
    "prefix_sum": (lambda x: sin(prefix_sum(prefix_sum(x, 0), 1, reverse=True)), [normal(3, 4)]),
    "prefix_prod": (lambda x: sin(prefix_prod(prefix_prod(x, 0), 1, reverse=True)),
                    [normal(3, 4)]),
    "complex": (lambda x, y: real(complex_(x, y) * complex_(y, x)) * imag(complex_(x, y * y)),
                [normal(3), normal(3, seed=1)]),
    "conv": (lambda x, w: sin(convolve(x, w, strides=(2, 1), padding=(1, 0, 0, 2),
                                       dilation=(1, 2), groups=2)),
             [normal(2, 4, 4, 3), normal(2, 2, 2, 2, seed=1)]),
    "conv_by_input": (lambda g, w: sin(by_input(g, w, (5,), strides=(2,), padding="half",
                                                dilation=(1,), groups=1)),
                      [normal(2, 3, 3), normal(3, 2, 3, seed=1)]),
    "conv_by_filters": (lambda x, g: sin(by_filters(x, g, (2,), strides=(1,), padding="full",
                                                    dilation=(1,), groups=1)),
                        [normal(2, 2, 3), normal(2, 3, 4, seed=1)]),
    "pool_max": (lambda x: sin(pool_max(x, (2, 2), (1, 2))), [normal(2, 3, 5)]),
    "pool_sum": (lambda x: sin(pool_sum(x, (2, 3), (2, 1))), [normal(5, 4)]),
    "cast": (lambda x: sin(cast(cast(x, "c128"), "f64")), [normal(3)]),
    "log of softmax": (lambda x: sin(OPS["log"](softmax(x, (1,)))), [normal(2, 3)]),  # type: ignore[operator]
    "far softmax": (lambda x: log_softmax(x, (1,)), [np.array([[0.0, 800, -800], [1, 2, 3]])]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("orders", [1, 2], ids=["unknown extents", "second order"])
def test_structural_gradients(orders: int) -> None:
    """All at once: the cases share no parameter, so one call moves an element of each. The second
    order is tried with known extents, whose code compiles much sooner; the first without."""
    check_cases(STRUCTURAL if orders == 2 else dict(list(STRUCTURAL.items())[::2]), orders)


def check_cases(cases: dict[str, tuple[Build, list[Array]]], orders: int) -> None:
    """The gradients of cases, with known extents and also of the second order if `orders` is 2."""
    params: dict[str, list[Value]] = {}
    results: dict[str, list[Value]] = {}
    for seed, (name, (build, arrays)) in enumerate(cases.items()):
        own = params[name] = [
            Value(type_of(a) if orders == 2 else Type(F64, (None,) * a.ndim)) for a in arrays
        ]
        cost = projected(build(*own), seed)
        results[name] = [cost, *adjoints(cost, own)]
        if orders == 2:
            slope = sum((projected(g, seed + k) for k, g in enumerate(results[name][1:])), cost)
            results[name] += [slope, *adjoints(slope, own)]
    inputs = {name: arrays for name, (_, arrays) in cases.items()}
    fn = Function(chain.from_iterable(params.values()), chain.from_iterable(results.values()))
    f = compiled(fn, arrays=list(chain.from_iterable(inputs.values())))

    def called(which: int, element: int, by: float) -> dict[str, list[Array]]:
        moved = {name: [a.copy() for a in arrays] for name, arrays in inputs.items()}
        for arrays in moved.values():
            if which < len(arrays) and element < arrays[which].size:
                arrays[which].flat[element] += by
        rest = iter(f(*chain.from_iterable(moved.values())))
        return {name: [next(rest) for _ in results[name]] for name in cases}

    found = called(0, 0, 0.0)
    for which in range(2):
        for element in range(max((arrays[which].size for arrays in inputs.values()
                                  if which < len(arrays)), default=0)):  # fmt: skip
            up, down = called(which, element, STEP), called(which, element, -STEP)
            for name, arrays in inputs.items():
                if which >= len(arrays) or element >= arrays[which].size:
                    continue
                for order in range(orders):
                    of = order * (1 + len(arrays))  # a cost, then its gradients
                    slope = (up[name][of] - down[name][of]) / (2 * STEP)
                    np.testing.assert_allclose(
                        found[name][of + 1 + which].flat[element], slope, rtol=1e-5, atol=1e-5,
                        err_msg=f"{name}: operand {which}, element {element}, order {order + 1}",
                    )  # fmt: skip


def test_ties_share_the_gradient() -> None:
    x = T.dmatrix("x")
    data = np.array([[1.0, 3, 3, 3], [2, 2, 0, 1]])
    top, bottom = jg.function([x], [T.grad(x.max(axis=1).sum(), x), T.grad(x.min(), x)])(data)
    np.testing.assert_allclose(top, [[0, 1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(bottom, [[0, 0, 0, 0], [0, 0, 1, 0]])
    y = T.dvector("y")
    both = jg.function([y], T.grad(T.maximum(y, 1.0).sum(), y))
    np.testing.assert_allclose(both([0, 1, 2]), [0, 0.5, 1])


# --- what flows, and what does not -------------------------------------------------------------
def test_consider_constant() -> None:
    x = T.dvector("x")
    y = T.exp(x)
    f = jg.function([x], T.grad((x * y).sum(), x, consider_constant=[y]))
    np.testing.assert_allclose(f([1.0, 2.0]), np.exp([1.0, 2.0]))


def test_disconnected() -> None:
    x, y = T.dvectors("x", "y")
    cost = (x * T.floor(y) + T.argmax(y)).sum()
    with pytest.raises(DisconnectedError):
        T.grad(x.sum(), y)
    zeros = jg.function([x, y], T.grad(x.sum(), y, disconnected_inputs="ignore"),
                        on_unused_input="ignore")  # fmt: skip
    np.testing.assert_array_equal(zeros([1.0], [1.0, 2.0]), [0, 0])
    f = jg.function([x, y], T.grad(cost, x))
    np.testing.assert_array_equal(f([1.0, 1.0], [2.5, 3.5]), [2, 3])


def test_casts_carry_gradients_back_in_their_own_dtype() -> None:
    x, n = T.fvector("x"), T.lvector("n")
    cost = (x.astype("float64") ** 2 * n).sum()
    g = jg.function([x, n], T.grad(cost, x))([1, 2], [3, 4])
    assert g.dtype == np.float32
    np.testing.assert_array_equal(g, [6, 16])
    with pytest.raises(GradientError, match="cannot differentiate by n"):
        T.grad(cost, n)
    through_integers = T.grad((x.astype("int64").astype("float32")).sum(), x)
    np.testing.assert_array_equal(jg.function([x], through_integers)([1.5, 2]), [0, 0])


def test_a_derivative_of_zero_is_zero_and_no_error() -> None:
    x, y = T.dvectors("x", "y")
    costs = [T.floor(x).sum(), (x > 0).sum() * y.sum(), T.copysign(y, x).sum()]
    for cost in costs:
        g = jg.function([x, y], T.grad(cost, x), on_unused_input="ignore")
        np.testing.assert_array_equal(g([1.5, -2], [1, 2]), [0, 0])
    curvature = T.grad((T.grad(T.relu(x).sum(), x) * y).sum(), x)
    f = jg.function([x, y], curvature, on_unused_input="ignore")
    np.testing.assert_array_equal(f([1.5, -2], [1, 2]), [0, 0])


def test_intermediate_values_are_targets_too() -> None:
    x = T.dscalar("x")
    y = x * x
    inner, outer = jg.function([x], T.grad(T.sin(y), [y, x]))(0.5)
    np.testing.assert_allclose([inner, outer], [np.cos(0.25), np.cos(0.25)], rtol=1e-12)


def test_third_order() -> None:
    x = T.dscalar("x")
    y = T.exp(T.sin(x))
    for _ in range(3):
        y = T.grad(y, x)
    s, c = np.sin(0.3), np.cos(0.3)
    want = np.exp(s) * (c**3 - 3 * s * c - c)
    np.testing.assert_allclose(jg.function([x], y)(0.3), want, rtol=1e-12)


def test_empty_arrays_have_empty_gradients() -> None:
    x, y = T.dmatrix("x"), T.dvector("y")
    f = jg.function([x, y], T.grad((T.exp(x) * y).sum(), [x, y]))
    gx, gy = f(np.zeros((0, 3)), np.ones(3))
    assert gx.shape == (0, 3)
    np.testing.assert_array_equal(gy, np.zeros(3))


# --- complex: the adjoint of z = a + ib is dL/da + i dL/db ---------------------------------------
COMPLEX: dict[str, Build] = {
    "multiply": lambda z, w: z * w,
    "divide": lambda z, w: z / w,
    "subtract": lambda z, w: z - w,
    "negative": lambda z, w: -z + w,
    "square": lambda z, w: OPS["square"](z) * w,  # type: ignore[operator]
    "reciprocal": lambda z, w: OPS["reciprocal"](z) + w,  # type: ignore[operator]
    "conjugate": lambda z, w: OPS["conjugate"](z) * w,  # type: ignore[operator]
    "absolute": lambda z, w: absolute(z) * w,
    "matmul": lambda z, w: matmul(move.reshape(z, (1, 3)), move.reshape(w, (3, 1))),
    "sum": lambda z, w: sum_(z * w, (0,)),
    "cast": lambda z, w: cast(cast(z, "f64"), "c128") * w,
    "where": lambda z, w: OPS["where"](np.array([True, False, True]), z, w),  # type: ignore[operator]
}


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_complex_gradients() -> None:
    z, w = (Value(Type(DTYPES["c128"], (3,)), name=n) for n in "zw")
    costs = [total(absolute(build(z, w) + (0.3 - 2j))) for build in COMPLEX.values()]
    results = [r for cost in costs for r in (cost, *adjoints(cost, [z, w]))]
    f = compiled(Function([z, w], results))
    inputs = [normal(3, seed=k) + 1j * normal(3, seed=k + 5) for k in (1, 2)]
    found = f(*inputs)
    for which in range(2):
        for element in range(3):
            parts = []
            for unit in (1, 1j):
                sides = []
                for sign in (1, -1):
                    moved = [a.copy() for a in inputs]
                    moved[which][element] += sign * STEP * unit
                    sides.append(f(*moved))
                up, down = (side[::3] for side in sides)
                parts.append([(a - b) / (2 * STEP) for a, b in zip(up, down, strict=True)])
            for k, name in enumerate(COMPLEX):
                want = parts[0][k] + 1j * parts[1][k]
                got = found[3 * k + 1 + which][element]
                np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7,
                                           err_msg=f"{name}, operand {which}")  # fmt: skip


# --- random programs -----------------------------------------------------------------------------
def differentiable(program: Program) -> list[Value]:
    """The f64 results, if all floats on the way are f64 (others round away small differences)."""
    values = topological(program.function.results)
    if any(kind_of(v.dtype) in "fc" and v.dtype != F64 for v in values):
        return []
    return [r for r in program.function.results if r.dtype == F64]


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                 HealthCheck.filter_too_much])  # fmt: skip
@given(functions(benign=True, dtypes=("f64", "f64", "i64"), max_steps=6))
def test_random_programs(program: Program) -> None:
    results = differentiable(program)
    params = [p for p in program.function.params if p.dtype == F64]
    assume(results and any(p in set(topological(results)) for p in params))
    cost = total(absolute(results[0]) * 0.0)  # of the class and dtype of a cost
    for r in results:
        cost = cost + total(r)
    fn = Function(program.function.params, [cost, *adjoints(cost, params)])
    rng = np.random.default_rng(0)
    inputs = [np.asarray(a + rng.uniform(-0.01, 0.01, a.shape)) if a.dtype == F64 else a
              for a in program.inputs()]  # fmt: skip
    _, *found = compiled(fn, arrays=inputs)(*inputs)

    reference = Function(program.function.params, [cost])

    def value(which: int, element: int, by: float) -> float:
        moved = [a.copy() for a in inputs]
        moved[which].flat[element] += by
        return float(interpreter.run(reference, moved)[0])

    for gradient, param in zip(found, params, strict=True):
        which = program.function.params.index(param)
        for element in range(min(inputs[which].size, 6)):
            slopes = [(value(which, element, s) - value(which, element, -s)) / (2 * s)
                      for s in (STEP, STEP / 10)]  # fmt: skip
            if not np.isclose(*slopes, rtol=1e-3, atol=1e-3):
                continue  # a kink
            np.testing.assert_allclose(gradient.flat[element], slopes[0], rtol=1e-3, atol=1e-3,
                                       err_msg=repr(program))  # fmt: skip
