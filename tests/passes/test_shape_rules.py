"""Each rewrite that is no equation: it fires, and the function means what it meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgraph.tensor as T
from jitgraph.errors import JitgraphError
from jitgraph.ir import interpreter
from jitgraph.ir.elementwise import cast
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import constant, emit
from jitgraph.ir.ops.arithmetic import equal, less, less_equal, maximum, minimum
from jitgraph.ir.ops.exponential import exp, log
from jitgraph.ir.ops.indexing import SET_SLICE, gather, slice_, slice_axis, zeros_like
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.marks import CustomRule, alias, with_gradient
from jitgraph.ir.ops.movement import (
    BROADCAST_TO,
    SUM_TO,
    broadcast_to,
    dim,
    dims,
    expand_dims,
    iota,
    reshape,
    squeeze,
    sum_to,
    transpose,
)
from jitgraph.ir.ops.normalisation import softmax
from jitgraph.ir.ops.reduction import all_, any_over, max_, prod, sum_
from jitgraph.ir.ops.selection import compress, expanded, how_many
from jitgraph.ir.types import DTYPES, parse_type
from jitgraph.ir.values import Value
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options
from jitgraph.passes.decompose import decompose
from jitgraph.passes.rules import THEMES
from jitgraph.passes.rules.rule import Recipe
from jitgraph.passes.simplify import simplify
from jitgraph.passes.specialise import plain

RECIPES = {r.name: r for rules in THEMES.values() for r in rules if isinstance(r, Recipe)}
SIZES = {"n": 4, "m": 3, "?": 5}


def param(text: str) -> Value:
    name, type_ = text.split(":")
    return Value(parse_type(type_), name=name)


def part_of_zeros(x: Value, y: Value) -> Value:
    """The gradient of a slice."""
    cut = slice_axis(y, 0, 1, 2)
    assert cut.op is not None
    return emit(SET_SLICE, (zeros_like(x), cut), **cut.op.attrs)


Case = tuple[list[str], Callable[..., Any], str]
#: For each rewrite: parameters, an expression, and the ops that are left of it.
CASES: dict[str, Case] = {
    "cast-cast": (["x:i8[n]"], lambda x: cast(cast(x, "i64"), "i16"), "cast"),
    "mark": (["x:f64[n]"], alias, ""),
    "item-of-mark": (
        ["x:f64[n]", "y:f64[m]"],
        lambda x, y: with_gradient([x, y], [], [], CustomRule.of("none", list, lambda: None))[1],
        ""),
    "softmax-by-hand": (
        ["x:f64[n, m]"], lambda x: exp(x) / expand_dims(sum_(exp(x), (1,)), (1,)), "softmax"),
    "log-softmax": (["x:f64[n, m]"], lambda x: log(softmax(x, (0,))), "log_softmax"),
    "log-sum-exp": (["x:f64[n, m]"], lambda x: log(sum_(exp(x), (0,))), "logsumexp"),
    "known-sizes": (
        ["x:f64[]", "y:f64[2]"],
        lambda x, y: emit(BROADCAST_TO, (x, constant(2) * 2), shape=(None,)), "broadcast_to"),
    "broadcast-to-own-shape": (["x:f64[n]"], lambda x: broadcast_to(x, dims(x)), ""),
    "broadcast-of-broadcast": (
        ["x:f64[3]"], lambda x: broadcast_to(broadcast_to(x, (4, 3)), (2, 4, 3)), "broadcast_to"),
    "splat-constant": (["x:f64[3]"], lambda x: x + np.full((3,), 2.0), "add constant"),
    "resolve-sum-to": (
        ["x:f64[n, m]"], lambda x: sum_to(x, (1, dim(x, 1))), "expand_dims reduce_sum"),
    "reshape-to-own-shape": (["x:f64[n, m]"], lambda x: reshape(x, dims(x)), ""),
    "reshape-of-view": (
        ["x:f64[6, 2]"], lambda x: reshape(reshape(x, (4, 3)), (2, 6)), "reshape"),
    "transpose-of-view": (
        ["x:f64[n, m, 2]"], lambda x: transpose(transpose(x, (1, 2, 0)), (0, 2, 1)), "transpose"),
    "expand-of-expand": (
        ["x:f64[n, m]"], lambda x: expand_dims(expand_dims(x, (1,)), (0, 2)), "expand_dims"),
    "squeeze-of-view": (
        ["x:f64[n, m]"], lambda x: squeeze(expand_dims(x, (0, 2)), (0,)), "expand_dims"),
    "concatenate-nothing": (
        ["x:f64[n, m]", "y:f64[n, m]"],
        lambda x, y: concatenate([x, slice_axis(y, 1, 0, 0)], 1), ""),
    "slice-of-whole": (["x:f64[n, m]"], lambda x: slice_axis(x, 0, 0, dim(x, 0)), ""),
    "slice-of-slice": (
        ["x:f64[20]"],
        lambda x: slice_(slice_(x, (0,), (18,), (9,), (-2,)), (0,), (1,), (3,), (2,)), "slice"),
    "set-whole": (
        ["x:f64[n]", "y:f64[n]"],
        lambda x, y: emit(SET_SLICE, (x, y, dim(x, 0)), axes=(0,), starts=(0,), sizes=(None,),
                          steps=(1,)), ""),
    "compute-before-broadcast": (
        ["x:f64[n, m]", "y:f64[m]"], lambda x, y: x + broadcast_to(y, dims(x)), "add"),
    "expand-of-broadcast": (
        ["x:f64[m]"], lambda x: expand_dims(broadcast_to(x, (4, dim(x, 0))), (1, 3)),
        "broadcast_to dim expand_dims"),
    "transpose-of-broadcast": (
        ["x:f64[m]"], lambda x: transpose(broadcast_to(x, (4, dim(x, 0))), (1, 0)),
        "broadcast_to dim expand_dims"),
    "slice-of-broadcast": (
        ["x:f64[3]"], lambda x: slice_axis(broadcast_to(x, (4, 3)), 0, 1, 2), "broadcast_to"),
    "view-of-scalar": (
        ["x:f64[]"], lambda x: reshape(broadcast_to(x, (6, 2)), (3, 4)), "broadcast_to"),
    "sum-of-repeated": (
        ["x:i64[m]"], lambda x: sum_(broadcast_to(x, (4, dim(x, 0))), (0, 1)),
        "constant multiply reduce_sum"),
    "sum-of-repeated-floats": (
        ["x:f64[]", "y:f64[n]"], lambda x, y: sum_(broadcast_to(x, dims(y)), (0,)),
        "cast dim multiply"),
    "extremum-of-repeated": (
        ["x:f64[]", "y:f64[3]"], lambda x, y: max_(broadcast_to(x, dims(y)), (0,)), ""),
    "all-of-repeated": (
        ["x:bool[]", "y:f64[n]"], lambda x, y: any_over(broadcast_to(x, dims(y)), (0,)),
        "bitwise_and constant dim not_equal"),
    "reduce-of-one": (["x:i64[n, 1]"], lambda x: max_(x, (1,)), "squeeze"),
    "reduce-of-one-float": (["x:f64[n, 1]"], lambda x: max_(x, (1,)), "squeeze"),
    "sum-of-one-float": (["x:f64[n, 1]"], lambda x: sum_(x, (1,)), "squeeze"),
    "reduce-of-reduce": (["x:i64[n, m]"], lambda x: sum_(sum_(x, (1,)), (0,)), "reduce_sum"),
    "extremum-of-extremum": (
        ["x:f64[3, 4, 5]"], lambda x: max_(max_(x, (1,)), (0,)), "reduce_max"),
    "sum-of-sum": (["x:f64[n, m]"], lambda x: sum_(sum_(x, (0,)), (0,)), "reduce_sum"),
    "sum-of-negative": (["x:i64[n]"], lambda x: sum_(-x, (0,)), "negative reduce_sum"),
    "sum-of-negative-floats": (["x:f64[n]"], lambda x: sum_(-x, (0,)), "negative reduce_sum"),
    "sum-of-selection": (
        ["x:f64[n]", "m:bool[n]"], lambda x, m: sum_(exp(compress(x, m)), (0,)),
        "constant exp reduce_sum where"),
    "reduction-of-selection": (
        ["x:i64[n]", "m:bool[n]"], lambda x, m: sum_(compress(x, m) + compress(x, m), (0,)),
        "add constant reduce_sum where"),
    "extremum-of-selection": (
        ["x:f64[n, m]", "m:bool[n, m]"], lambda x, m: prod(-compress(x, m), (0,)),
        "constant negative reduce_prod where"),
    "expand-of-selection": (
        ["x:f64[n, m]", "m:bool[n, m]"],
        lambda x, m: expanded(exp(compress(x, m)), m, how_many(m)), "constant exp where"),
    "add-part": (
        ["x:i64[6]", "y:i64[6]"], lambda x, y: x * y + part_of_zeros(x, y),
        "add_slice multiply slice"),
    "add-part-floats": (
        ["x:f64[6]", "y:f64[6]"], lambda x, y: part_of_zeros(x, y) + x * y,
        "add_slice multiply slice"),
    "combine-few": (
        ["x:i64[n, 2]"], lambda x: max_(x * x, (1,)),
        "maximum multiply multiply slice slice squeeze squeeze"),
    "combine-few-floats": (
        ["x:f64[n, 2]", "y:f64[n]"], lambda x, y: sum_(x * expand_dims(y, (1,)), (1,)),
        "add multiply multiply slice slice squeeze squeeze"),
    "reduce-apart": (
        ["x:i64[n, 2]", "y:i64[n]"], lambda x, y: sum_(x * expand_dims(y * y, (1,)), (0,)),
        "concatenate expand_dims expand_dims multiply multiply multiply reduce_sum reduce_sum "
        "slice slice squeeze squeeze"),
    "reduce-apart-floats": (
        ["x:f64[2, n]", "y:f64[n]"], lambda x, y: sum_(x * exp(y), (1,)),
        "concatenate exp expand_dims expand_dims multiply multiply reduce_sum reduce_sum "
        "slice slice squeeze squeeze"),
    "known-broadcast": (
        ["x:f64[?]", "y:f64[1]"],
        lambda x, y: equal(dim(x + zeros_like(x), 0), 1) | equal(dim(x, 0), dim(x, 0)), "constant"),
    "decided-comparison": (["x:f64[n]"], lambda x: less(dim(x, 0), 0), "constant"),
    "decided-extremum": (["x:f64[n]"], lambda x: minimum(maximum(dim(x, 0), 0), dim(x, 0)), "dim"),
    "shortened-extent": (
        ["x:f64[n]"], lambda x: dim(x, 0) - minimum(1, dim(x, 0)),
        "add constant constant dim maximum"),
    "constant-start": (
        ["x:f64[n]"], lambda x: slice_axis(x, 0, minimum(2, dim(x, 0)), maximum(dim(x, 0) - 2, 0)),
        "constant constant dim maximum slice subtract"),
    "inside-if-any": (
        ["x:f64[n]"],
        lambda x: equal(maximum(dim(x, 0) - 2, 0), 0)
        | less_equal(2 + maximum(dim(x, 0) - 2, 0), dim(x, 0)),
        "constant"),
    "all-in-bounds": (
        ["x:f64[n]", "y:f64[m]"], lambda x, y: all_(less(iota(dim(x, 0)), dim(y, 0))),
        "dim dim less_equal"),
    "cancel-sum": (["x:i8[]", "y:i8[]"], lambda x, y: x - (x - y), ""),
    "cancel-sum-of-floats": (["x:f64[]", "y:f64[]"], lambda x, y: x - (x - y), ""),
    "cancel-product": (["x:f64[]", "y:f64[]"], lambda x, y: x / (x / y), ""),
}  # fmt: skip


def test_every_rewrite_has_a_case() -> None:
    assert set(CASES) == set(RECIPES)


@pytest.mark.parametrize("name", CASES)
def test_fires_and_keeps_the_meaning(name: str) -> None:
    texts, make, left = CASES[name]
    params = [param(t) for t in texts]
    before = Function(params, [make(*params)])
    fired: list[str] = []
    algebra = "ieee" if RECIPES[name].promise.exact else "real"
    sweep = decompose if RECIPES[name].stage == "late" else simplify
    after = sweep(before, Options(algebra, lambda r: fired.append(r.rule)))
    verify(after)
    if name != "known-broadcast":  # its own test is below
        assert name in fired
    assert " ".join(sorted(str(v.op.name) for v in after.ops if v.op)) == left, str(after)
    arrays = [_example(p) for p in params]
    want, got = interpreter.run(before, arrays)[0], interpreter.run(after, arrays)[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=0)


def _example(p: Value) -> np.ndarray:
    shape = [d if isinstance(d, int) else SIZES[str(d) if d else "?"] for d in p.type.shape]
    count = int(np.prod(shape))
    return (np.arange(count) % 5 + 1).reshape(shape).astype(p.type.dtype)


def function(texts: list[str], make: Callable[..., Any]) -> tuple[Function, str]:
    params = [param(t) for t in texts]
    return (after := simplify(Function(params, [make(*params)]), Options())), str(after)


def test_the_broadcast_of_unknown_extents_is_worked_out_once() -> None:
    fn, _ = function(["x:f64[?]", "y:f64[?]"], lambda x, y: (x + y) * y + x)
    assert len(fn.checks) == 1
    for sizes in ((3, 3), (3, 1), (1, 3), (1, 1)):
        x, y = (np.arange(1.0, n + 1) for n in sizes)
        np.testing.assert_array_equal(interpreter.run(fn, [x, y])[0], (x + y) * y + x)
    with pytest.raises(JitgraphError):
        interpreter.run(fn, [np.ones(2), np.ones(3)])


def test_a_check_outlives_the_op_it_was_for() -> None:
    fn, _ = function(["x:f64[?]", "y:f64[?]"], lambda x, y: (x + y) - (x + y) + x)
    with pytest.raises(JitgraphError):
        interpreter.run(fn, [np.ones(2), np.ones(3)])


def test_sum_to_waits_for_the_call_where_the_axis_is_unknown() -> None:
    fn, text = function(["x:f64[n, ?]", "y:f64[?]"], lambda x, y: sum_to(x + y, dims(y)))
    assert "sum_to" in text
    assert "reduce_sum" in text
    for size in (1, 3):
        got = interpreter.run(fn, [np.ones((4, 3)), np.ones(size)])[0]
        np.testing.assert_array_equal(got, np.full(size, 24.0 * 3 / (size * 3)))


def test_sum_to_of_a_partly_known_shape() -> None:
    x = param("x:f64[2, n, 3]")
    fn = simplify(Function([x], [emit(SUM_TO, (x, dim(x, 1)), shape=(None, 1))]), Options("ieee"))
    assert "sum_to" not in str(fn)
    got = interpreter.run(fn, [np.ones((2, 4, 3))])[0]
    np.testing.assert_array_equal(got, np.full((4, 1), 6.0))


@pytest.mark.parametrize("start", [-3, 0, 2, 9])
def test_slice_bounds_are_decided(start: int) -> None:
    """x[start : start + 4] as `tensor.indexing` clips it: nothing is checked at the call."""

    def clipped(x: Value) -> Any:
        n = dim(x, 0)
        low = minimum(maximum(constant(start), 0), n)
        high = minimum(maximum(constant(start + 4), 0), n)
        return less_equal(low, n) & less_equal(0, low) & less_equal(0, n - low) & (high <= n)

    _, text = function(["x:f64[n]"], clipped)
    assert "constant true" in text
    assert "minimum" not in text


def test_constant_indices_are_checked_by_one_comparison() -> None:
    fn, text = function(["x:f64[n]"], lambda x: gather(x, [constant(np.array([0, 7, 3]))]))
    assert "reduce_all" not in text
    with pytest.raises(JitgraphError):
        interpreter.run(fn, [np.ones(7)])
    assert interpreter.run(fn, [np.ones(8)])[0].shape == (3,)


def test_commutative_ops_are_shared() -> None:
    fn, _ = function(["x:f64[n]", "y:f64[n]"], lambda x, y: exp(x + y) * exp(y + x))
    assert [v.op.name for v in fn.ops if v.op] == ["add", "exp", "multiply"]


def test_every_exponent_of_integers_is_still_checked() -> None:
    x = param("x:i64[n]")
    y = param("y:i64[n]")
    assert simplify(Function([x, y], [x**y]), Options()).checks
    assert not simplify(Function([x], [x**3]), Options()).checks
    assert DTYPES["i64"] == x.dtype


@pytest.mark.parametrize("axes", [(0,), (1,), (3,), (0, 3), (1, 3)])
@pytest.mark.parametrize("reduce", [sum_, max_], ids=["sum", "max"])
def test_components_are_those_of_the_whole(reduce: Any, axes: tuple[int, ...]) -> None:
    """Reductions over short axes of views, broadcasts and arithmetic, in every position."""
    texts = "x:i64[2, 3, m, 2]", "y:i64[m, 1]", "z:i64[2, 3]", "v:i64[2]", "w:i64[1, 2]"
    x, y, z, v, w = map(param, texts)
    turned = transpose(broadcast_to(z, (2, 2, 3)), (0, 2, 1))
    row = broadcast_to(expand_dims(v, (0,)), (1, 2)) + transpose(expand_dims(v, (1,)), (1, 0)) * w
    whole = cast(x - y, "i32") * cast(expand_dims(turned, (2,)) - row, "i32")
    before = Function([x, y, z, v, w], [reduce(whole, axes)])
    after = decompose(simplify(before, Options()), Options())
    assert "reduce" not in str(after)
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-9, 9, [d if isinstance(d, int) else 3 for d in p.type.shape])
              for p in before.params]  # fmt: skip
    want, got = interpreter.run(before, arrays)[0], interpreter.run(after, arrays)[0]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", range(8))
def test_slices_of_one_length_are_known_to_be(n: int) -> None:
    """Neighbours in a grid, two sweeps deep: nothing about lengths is left for the call, and all
    extents are right, also where slices are empty."""
    x = T.dvector("x")

    def sweep(u: Any) -> Any:
        return u[:-2] + 2 * u[1:-1] + 3 * u[2:]

    before = Function([x], [sweep(sweep(x)), x[1:] - x[:-1], x[3:] * x[1:-2]])
    after = simplify(plain(before), Options())
    assert not after.checks
    array = np.arange(float(n))
    for got, want in zip(interpreter.run(after, [array]), interpreter.run(before, [array]),
                         strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, want)
