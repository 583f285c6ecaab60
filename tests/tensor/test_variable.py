"""Variables as Python objects, their constructors, and the package's face."""

import copy
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import jitgraph.tensor as T
from jitgraph.config import config
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.opdef import OPS
from jitgraph.ir.types import Extent
from jitgraph.tensor.constructors import CONSTRUCTORS, KINDS, LETTERS
from jitgraph.tensor.math import ALIASES, INTERNAL
from jitgraph.tensor.stub import stub
from jitgraph.tensor.variable import Variable
from tests.tensor.helpers import assert_same, evaluate


class Shared(Variable):
    """Stands in for a subclass such as a shared variable."""

    __slots__ = ()


# --- constructors --------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("letter", ["", *LETTERS])
def test_constructors(kind, letter):
    with config.override(floatX="float32"):
        made = getattr(T, letter + kind)("x")
    assert type(made) is Variable
    assert made.dtype == LETTERS.get(letter, "float32")
    assert made.type.shape == KINDS[kind]
    assert made.name == "x"
    assert made.location.short.startswith("test_variable.py")


def test_plurals():
    x, y = T.dscalars("x", "y")
    assert (x.name, y.name) == ("x", "y")
    assert [m.type.rank for m in T.dmatrices(3)] == [2, 2, 2]
    assert len(T.lvectors("a")) == 1
    assert T.ftensor3s("a", "b")[1].dtype == np.float32


def test_known_and_named_dimensions():
    x = T.matrix("x", shape=("batch", 784))
    assert x.type.shape == (Extent("batch"), 784)
    assert repr(x) == "x: f64[batch, 784]"
    assert T.vector(shape=[np.int64(3)]).type.shape == (3,)
    assert T.row(shape=(None, 5)).type.shape == (1, 5)
    assert T.vector(shape="n").type.shape == (Extent("n"),)
    assert T.matrix(dtype="int8").dtype == np.int8
    assert T.tensor("bool", (2, None), "b").type.shape == (2, None)


def test_constants():
    array = np.array([1, 2])
    made = T.constant(array, name="c")
    array[0] = 9
    assert made.name == "c"
    assert_same(evaluate(made), [1, 2])
    x = T.scalar("x")
    assert T.as_tensor(x) is x
    assert T.as_tensor(x, "float32").dtype == np.float32
    assert_same(evaluate(T.as_tensor([[x, 1], [2, x]]), {x: 5}), [[5.0, 1.0], [2.0, 5.0]])
    assert T.as_tensor_variable(3).dtype == np.int64


# --- the class -----------------------------------------------------------------------------------
def test_results_are_variables():
    s = Shared(T.vector().type, name="s")
    for made in (s + 1, 1 - s, T.exp(s), s[0], s.sum(), s.T.reshape(-1), s == 1, T.grad(s.sum(), s),
                 s.shape[0], T.zeros_like(s)):  # fmt: skip
        assert type(made) is Variable


def test_equality_is_elementwise_and_hash_is_identity():
    x, y = T.vectors("x", "y")
    assert_same(evaluate(x == y, {x: [1, 2], y: [1, 3]}), [True, False])
    assert_same(evaluate(x != [1, 3], {x: [1, 2]}), [False, True])
    assert_same(evaluate(np.array([1.0, 3.0]) == x, {x: [1, 2]}), [True, False])
    assert_same(evaluate(np.float64(1) == x, {x: [1, 2]}), [True, False])
    assert len({x: 1, y: 2, (x + y): 3}) == 3
    assert x in {x}
    for other in (None, "x", {}, object()):
        assert (x == other) is False
        assert (x != other) is True


def test_iteration_and_length():
    x = T.tensor("float64", (3, None), "x")
    assert len(x) == 3
    a, b, c = x
    array = np.arange(6.0).reshape(3, 2)
    assert_same(evaluate(a + b * c, {x: array}), array[0] + array[1] * array[2])
    assert sum(1 for _ in T.constant([1, 2])) == 2


def test_operators_with_scalars_arrays_and_lists():
    x = T.vector("x")
    array = np.array([1.0, -2.0, 3.0])
    for build in (
        lambda v: 3 * v + 4 - v / 2, lambda v: v ** 2 // 2 % 3, lambda v: abs(-v) + +v,
        lambda v: 2 ** v, lambda v: v - [1, 2, 3], lambda v: np.ones((2, 1)) - v,
        lambda v: (v > 0) & ~(v >= 2) | (v < -1) ^ (v <= 1),
        lambda v: 1 / v, lambda v: 7 // v, lambda v: 7 % v, lambda v: v @ v,
    ):  # fmt: skip
        assert_same(evaluate(build(x), {x: array}), np.asarray(build(array)), 1e-15)


def test_python_functions_of_numbers():
    x = T.vector("x")
    assert_same(evaluate(round(x), {x: [0.5, 1.5]}), [0.0, 2.0])
    quotient, rest = divmod(x, 2)
    assert_same(evaluate(quotient * 2 + rest, {x: [7, -7]}), [7.0, -7.0])


def test_integer_bit_operators():
    x = T.ivector("x")
    array = np.array([5, 6, -7], np.int32)
    made = ((x << 2) >> 1 | 3) & 12 ^ ~x
    assert_same(evaluate(made, {x: array}), ((array << 2) >> 1 | 3) & 12 ^ ~array)


# --- display -------------------------------------------------------------------------------------
def test_display():
    x = T.matrix("x")
    y = T.exp(x) + 1
    assert repr(x) == "x: f64[?, ?]"
    assert repr(y) == "add(...): f64[?, ?]"
    assert "exp %x" in str(y)
    html = (x < y)._repr_html_()
    assert "bool[?, ?]" in html
    assert "test_variable.py" in html
    assert "-&gt;" in html
    assert set(y._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_copies_are_the_variable_itself():
    x = T.vector("x")
    assert x.copy() is x
    assert copy.copy([x])[0] is x


# --- the package ---------------------------------------------------------------------------------
def test_every_elementwise_op_and_alias_is_public():
    for op in OPS.values():
        if isinstance(op, Elementwise) and op.name not in INTERNAL:
            assert callable(getattr(T, op.name))
            assert op.name in T.__all__
    for alias, op in ALIASES.items():
        assert alias not in OPS
        assert T.FUNCTIONS[alias].__doc__ == T.FUNCTIONS[op].__doc__


def test_all_is_complete():
    namespace = {}
    exec("from jitgraph.tensor import *", namespace)
    assert set(T.__all__) <= set(namespace)
    assert len(set(T.__all__)) == len(T.__all__)
    for name in T.__all__:
        if callable(getattr(T, name)):
            assert getattr(T, name).__doc__, name


def test_stub_is_up_to_date():
    written = (Path(T.__file__).parent / "__init__.pyi").read_text()
    assert written == stub(), "run: python -m jitgraph.tensor.stub"
    declared = set(re.findall(r"^def (\w+)|as (\w+)$|^(\w+)[:=\s]", written, re.M))
    names = {name for found in declared for name in found}
    assert set(T.__all__) <= names
    assert set(CONSTRUCTORS) <= names


def test_building_is_linear():
    """An op costs the same however large the graph it joins already is."""
    x = T.dvector("x")
    seconds = []
    for _ in range(10):
        begin = time.thread_time()
        for _ in range(1_000):
            x = x * 2 + 1
        seconds.append(time.thread_time() - begin)
    assert min(seconds[5:]) < 3 * min(seconds[:5])


def test_theano_spelling():
    x, y = T.dscalars("x", "y")
    both, least = T.and_(x > 0, y > 0), T.switch(x > y, y, x)
    made = [T.neq(x, y), T.eq(x, y), T.sqr(x), T.sgn(y), both, least]
    got = evaluate(made, {x: -2, y: 3})
    assert [g.item() for g in got] == [True, False, 4.0, 1.0, False, -2.0]


def test_evaluator_is_a_hook():
    code = (
        "import jitgraph.tensor.variable as v; import jitgraph.tensor as T;"
        "v.EVALUATOR = lambda variable, givens: (variable.name, givens);"
        "assert T.scalar('x').eval() == ('x', {})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
