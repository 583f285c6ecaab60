"""Sums and products cancel, mean what they meant, and never grow."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.ops.arithmetic import reciprocal, sqrt, square
from jitgraph.ir.ops.exponential import exp
from jitgraph.ir.types import DTYPES, parse_type
from jitgraph.ir.values import Value
from jitgraph.passes.base import Options
from jitgraph.passes.simplify import simplify


def variables(type_: str) -> list[Value]:
    return [Value(parse_type(type_), name=name) for name in "xyz"]


def simplified(params: list[Value], result: Value, algebra: str = "real") -> Function:
    return simplify(Function(params, [result]), Options(algebra))


x, y, z = FLOATS = variables("f64[n]")
v = x + y
GONE = {
    "x + y - x": (x + y - x, y),
    "x - (x - y)": (x - (x - y), y),
    "(x + y) - (z + y)": (x + y - (z + y), x - z),
    "2*x - x": (2 * x - x, x),
    "3*x - 2*x": (3 * x - 2 * x, x),
    "v - 2*v": (v - 2 * v, -v),
    "2*v - v": (2 * v - v, v),
    "x + 1 - 1": (x + 1 - 1, x),
    "1 - (1 - x)": (1 - (1 - x), x),
    "x*3/3": (x * 3 / 3, x),
    "x/49*49": (x / 49 * 49, x),
    "-(2*x)": (-(2 * x), x * -2.0),
    "x + 1 + 2": (x + 1 + 2, x + 3),
    "x*y/x": (x * y / x, y),
    "x*y * (1/x)": (x * y * (1 / x), y),
    "x*y * reciprocal(x)": (x * y * reciprocal(x), y),
    "x*x/x": (x * x / x, x),
    "square(x)/x": (square(x) / x, x),
    "x*y/(x*z)": (x * y / (x * z), y / z),
    "x/(x*y)": (x / (x * y), 1 / y),
    "x / (y / z) / z": (x / (y / z) / z, x / y),
    "2*x * (3*y) / 6": (2 * x * (3 * y) / 6, x * y),
    "sqrt(x)*sqrt(y)*sqrt(x)": (sqrt(x) * sqrt(y) * sqrt(x), x * sqrt(y)),
    "exp(x)*y/exp(x)": (exp(x) * y / exp(x), y),
    "-x*y / -y": (-x * y / -y, x),
}


@pytest.mark.parametrize("case", GONE)
def test_cancels(case: str) -> None:
    before, want = GONE[case]
    assert simplified(FLOATS, before) == simplified(FLOATS, want)


KEPT = {
    "x + y - z": x + y - z,
    "z - y + x": z - y + x,
    "x + x": x + x,
    "x*y/z": x * y / z,
    "x/y/z": x / y / z,
    "2*(x + y)": 2 * (x + y),
    "x*x*x": x * x * x,
    "sqrt(x*x*y)": sqrt(x * x * y),
    "x*0.1*y": x * 0.1 * y,
}


@pytest.mark.parametrize("case", KEPT)
def test_leaves_alone_what_does_not_cancel(case: str) -> None:
    assert simplified(FLOATS, KEPT[case]) == Function(FLOATS, [KEPT[case]])


def test_nothing_of_an_infinite_constant_cancels() -> None:
    fn = simplified(FLOATS, x * np.inf - x * np.inf + y * np.nan)
    assert np.isnan(interpreter.run(fn, [np.ones(2)] * 3)[0]).all()


def test_a_constant_that_would_overflow_is_not_merged() -> None:
    (a, *_) = params = variables("f32[]")
    fn = simplified(params, a * np.float32(1e30) * np.float32(1e30))
    assert len(fn.ops) == 3


def test_the_result_keeps_the_shape() -> None:
    a, b = Value(parse_type("f64[4, 1]")), Value(parse_type("f64[3]"))
    fn = simplify(Function([a, b], [a + b - a]), Options())
    assert interpreter.run(fn, [np.ones((4, 1)), np.arange(3.0)])[0].shape == (4, 3)


def random_sum(rng: random.Random, leaves: list[Value], depth: int) -> Any:
    if not depth:
        return rng.choice(leaves)
    a = random_sum(rng, leaves, depth - 1)
    kind = rng.randrange(5)
    if kind == 0:
        return -a
    if kind == 1:
        return a * rng.choice([2, 3, 4])
    b = random_sum(rng, leaves, rng.randrange(depth))
    return a + b if kind < 4 else a - b


def random_product(rng: random.Random, leaves: list[Value], depth: int) -> Any:
    if not depth:
        return rng.choice(leaves)
    a = random_product(rng, leaves, depth - 1)
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice([square, sqrt, reciprocal])(a)
    if kind == 1:
        return a * rng.choice([2.0, 0.5, 3.0])
    b = random_product(rng, leaves, rng.randrange(depth))
    return a * b if kind < 4 else a / b


@pytest.mark.parametrize("dtype", ["i8", "u8", "i64"])
def test_integer_sums_keep_every_bit(dtype: str) -> None:
    params = variables(f"{dtype}[4]")
    info = np.iinfo(DTYPES[dtype])
    for seed in range(150):
        rng = random.Random(seed)
        result = random_sum(rng, params, 6)
        arrays = [np.random.default_rng([seed, i]).integers(info.min, info.max, 4, DTYPES[dtype])
                  for i in range(3)]  # fmt: skip
        check(params, result, arrays, "ieee", 0)


@pytest.mark.parametrize("make", [random_sum, random_product])
def test_float_forms_keep_the_number(make: Any) -> None:
    params = variables("f64[4]")
    for seed in range(250):
        result = make(random.Random(seed), params, 6)
        arrays = [np.random.default_rng([seed, i]).uniform(0.7, 1.4, 4) for i in range(3)]
        check(params, result, arrays, "real", 1e-12)


def check(
    params: list[Value], result: Value, arrays: list[np.ndarray], algebra: str, tolerance: float
) -> None:
    before = Function(params, [result])
    after = simplified(params, result, algebra)
    assert len(after.ops) <= len(simplified(params, result, "none").ops) + 2, before
    want, got = interpreter.run(before, arrays)[0], interpreter.run(after, arrays)[0]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=str(before))
