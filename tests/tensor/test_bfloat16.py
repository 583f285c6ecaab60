"""bfloat16, which is ml_dtypes' dtype: what users see of it. Tests that go over all dtypes (ops,
casts, promotion, printing) take it as well, where ml_dtypes is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph import lax
from jitgraph.errors import DTypeError
from jitgraph.ir.elementwise import Elementwise, resolve
from jitgraph.ir.function import Function
from jitgraph.ir.interpreter import run
from jitgraph.ir.opdef import OPS
from jitgraph.ir.parser import parse
from jitgraph.ir.types import parse_type

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = np.dtype(ml_dtypes.bfloat16)
Array = Any


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(BF16)


def rounded(x: Any) -> Array:
    """What is computed in float32, rounded once."""
    return np.asarray(x, np.float32).astype(BF16)


def assert_same(got: Any, want: Any) -> None:
    """The same dtype and bits; any NaN will do."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64))


# --- without ml_dtypes ----------------------------------------------------------------------------
_ABSENT = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np, jitgraph as jg, jitgraph.tensor as T
from jitgraph.errors import DTypeError
from jitgraph.ir.types import parse_type
x = T.fvector("x")
for ask in (lambda: T.matrix("x", dtype="bfloat16"), lambda: x.astype("bfloat16"),
            lambda: T.zeros(3, dtype="bf16"), lambda: parse_type("bf16[3]")):
    try:
        ask()
    except DTypeError as error:
        assert "pip install ml_dtypes" in str(error), error
        assert "jitgraph[bfloat16]" in str(error), error
    else:
        raise AssertionError("no error")
assert jg.jit(lambda x: x + 1)(np.ones(2, "f4")).dtype == "f4"
"""
_UNASKED = """
import sys, numpy as np, jitgraph as jg, jitgraph.tensor as T
x = T.vector("x", dtype="float16")
assert jg.function([x], T.exp(x).sum())(np.zeros(2, "f2")) == 2
assert "ml_dtypes" not in sys.modules
assert T.vector(dtype="bfloat16").dtype.name == "bfloat16"
"""


def run_fresh(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_error_without_ml_dtypes_says_what_to_install() -> None:
    run_fresh(_ABSENT)


def test_ml_dtypes_is_imported_when_it_is_asked_for() -> None:
    run_fresh(_UNASKED)


# --- names and types ------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["bfloat16", "bf16", BF16, ml_dtypes.bfloat16], ids=repr)
def test_names(name: Any) -> None:
    x = T.matrix("x", dtype=name)
    assert x.dtype == BF16
    assert str(x.type) == "bf16[?, ?]"
    assert T.fvector().astype(name).dtype == BF16
    assert parse_type("bf16[n, 3]").dtype == BF16


def test_printed_and_parsed() -> None:
    special = np.arange(0, 1 << 16, 77, dtype=np.uint16).view(BF16)
    x = T.vector("x", dtype=BF16)
    back = x.astype("f4").astype(BF16)
    fn = Function([x], [x + T.constant(special[0]), T.constant(special), back])
    again = parse(str(fn))
    assert str(again) == str(fn)
    for one, other in zip(run(fn, [special]), run(again, [special]), strict=True):
        assert one.tobytes() == other.tobytes()


def takes(op: Elementwise, dtype: Any) -> bool:
    operands = (*[np.dtype(bool)] * (op.name == "where"), *[dtype] * 3)[: op.arity]
    try:
        return resolve(op, operands)[:-1] == operands
    except DTypeError:
        return False


def test_ops_that_take_float16_take_bfloat16() -> None:
    elementwise = [op for op in OPS.values() if isinstance(op, Elementwise)]
    of_halves = [op.name for op in elementwise if takes(op, np.dtype(np.float16))]
    assert [op.name for op in elementwise if takes(op, BF16)] == of_halves


def test_python_numbers_adapt() -> None:
    x = T.vector("x", dtype=BF16)
    for made in (x * 2.5, 1 / x, x**2, T.where(x > 0, x, 0.5), T.maximum(0, x), x + True):
        assert made.dtype == BF16
    assert (x + np.float32(1)).dtype == np.float32
    assert (x + 1j).dtype == np.complex64


def test_float16_and_bfloat16_have_no_common_dtype() -> None:
    x, y = T.vector("x", dtype=BF16), T.vector("y", dtype="float16")
    with pytest.raises(DTypeError, match="f16 and bf16 have no common dtype"):
        T.concatenate([y, x])
    assert (x + y).dtype == np.float32  # as NumPy's loops have it


# --- values ---------------------------------------------------------------------------------------
X, V = numbers(6, 70), numbers(70, seed=1)
F, W = X.astype(np.float32), V.astype(np.float32)
INDEX = np.array([3, 0, 3])

#: Functions of NumPy, which the compiled one must agree with to the bit: of bfloat16, as ml_dtypes'
#: own loops compute it, or of float32, rounded.
SAME: dict[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda x, v: (x + v) * x - v / x,
    "comparisons": lambda x, v: (x < v) | np.isfinite(x),
    "division": lambda x, v: x // v + x % v,
    "rounding": lambda x, v: np.floor(x) + np.trunc(v) - np.rint(x),
    "roots": lambda x, v: np.sqrt(np.abs(x)),
    "extrema": lambda x, v: np.maximum(x, v) - np.fmin(x, -v),
    "neighbours": lambda x, v: np.nextafter(x, v) + np.spacing(x),
    "choice": lambda x, v: np.where(x > 0, x, v),
    "casts": lambda x, v: x.astype(np.int32) + x.astype(bool),
    "reads": lambda x, v: x[:, ::-3][INDEX] + x.T[INDEX, :1],
    "turned": lambda x, v: x[:, :6].T + x[:, :6],
    "selected": lambda x, v: x[x > 0],
    "joined": lambda x, v: np.concatenate([x, x[::2]], axis=0),
}
ROUNDED: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda x, v: np.sum(x),
    "mean": lambda x, v: np.mean(x, axis=0),
    "maximum": lambda x, v: np.max(x, axis=1),
    "running": lambda x, v: np.cumsum(x, axis=1),
    "sorted": lambda x, v: np.sort(x, axis=0),
    "dot": lambda x, v: np.dot(x, x.T),
    "matrix times vector": lambda x, v: np.dot(x, v),
    "inner": lambda x, v: np.inner(v, v),
}
PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "argmax": lambda x, v: np.argmax(x, axis=1),
    "argsort": lambda x, v: np.argsort(x, axis=1, kind="stable"),
    "nonzero": lambda x, v: np.nonzero(v > 0)[0],
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_agrees_with_numpy() -> None:
    """Also for arrays whose elements lie apart."""
    functions = [*SAME.values(), *ROUNDED.values(), *PLACES.values()]
    compiled = jg.jit(lambda x, v: [f(x, v) for f in functions])
    want = [f(X, V) for f in SAME.values()]
    want += [rounded(f(F, W)) for f in ROUNDED.values()]
    want += [f(F, W) for f in PLACES.values()]
    wide = np.zeros((6, 140), BF16)
    wide[:, ::2] = X
    for x in (X, wide[:, ::2]):
        for g, w in zip(compiled(x, V), want, strict=True):
            assert_same(g, w)


def test_generalised_ufuncs_give_float32() -> None:
    """As NumPy's do, which have no loop for bfloat16."""
    got = jg.jit(lambda x, v: [x @ x.T, x @ v, np.vecdot(x, v)])(X, V)
    for g, w in zip(got, (X @ X.T, X @ V, np.vecdot(X, V)), strict=True):
        assert g.dtype == w.dtype == np.float32
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)


def test_sums_do_not_stick() -> None:
    """A sum in bfloat16 would stay at 256. This one is shared among threads."""
    x = np.ones((1000, 1000), BF16)
    total, rows = jg.jit(lambda x: (x.sum(), x.sum(0)))(x)
    assert_same(total, rounded(1e6))
    assert_same(rows, np.full(1000, 1000, BF16))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_every_number_goes_through() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(BF16)
    same, single, back, negative = jg.jit(
        lambda x: (x + T.constant(BF16.type(-0.0)), x.astype("f4"), x.astype("f4").astype(BF16), -x)
    )(every)
    number = ~np.isnan(every.astype(np.float32))
    for got in (same, back):
        np.testing.assert_array_equal(got.view("u2")[number], every.view("u2")[number])
    assert_same(single, every.astype(np.float32))
    np.testing.assert_array_equal(negative.view("u2")[number], every.view("u2")[number] ^ 0x8000)
    assert np.isnan(same.astype("f4")[~number]).all()


def test_nan_is_sorted_last_and_found_first() -> None:
    """Unlike NumPy, which takes NaNs of bfloat16 for numbers when it sorts."""
    x = numbers(4, 30)
    x[1, [3, 7]] = x[2, 5] = np.nan
    single = x.astype(np.float32)
    got = jg.jit(lambda x: (np.sort(x), np.argsort(x, kind="stable"), np.argmax(x, axis=1),
                            np.max(x, axis=1), np.unique(x), np.searchsorted(np.sort(x[0]), x[2]),
                            np.median(x[0])))(x)  # fmt: skip
    want = (np.sort(single), np.argsort(single, kind="stable"), np.argmax(single, axis=1),
            np.max(single, axis=1), np.unique(single),
            np.searchsorted(np.sort(single[0]), single[2]), np.median(single[0]))  # fmt: skip
    for g, w in zip(got, want, strict=True):
        assert_same(g, rounded(w) if w.dtype == np.float32 else w)


# --- calls ----------------------------------------------------------------------------------------
def test_arguments() -> None:
    x = T.vector("x", dtype=BF16)
    f = jg.function([x], x + 1)
    one = rounded([1.5, 2.5])
    for given in (one, one.astype(one.dtype.newbyteorder()), [0.5, 1.5], np.repeat(one, 2)[::2]):
        made = f(given)
        assert type(made) is np.ndarray
        assert made.dtype is BF16
        assert made.flags.owndata
    for refused in (np.ones(2), np.ones(2, "f2"), np.ones(2, "i4"), np.ones(2, "c8")):
        with pytest.raises(DTypeError, match="input x is bf16"):
            f(refused)
    lenient = jg.function([x], x + 1, allow_input_downcast=True)
    assert_same(lenient(np.array([1.0, 2.0])), rounded([2, 3]))


def test_scalars() -> None:
    f = jg.jit(lambda a, b: a * b)
    assert_same(f(BF16.type(1.5), BF16.type(3)), np.array(4.5, BF16))
    assert_same(f(BF16.type(1.5), 3.0), np.array(4.5, BF16))
    assert_same(f(numbers(3), 3), numbers(3) * BF16.type(3))
    assert f.traces == 3


def test_shared_variables_are_updated_in_place() -> None:
    w = jg.shared(np.zeros(3, BF16))
    step = jg.function([], w.sum(), updates={w: w + 1})
    addresses = set()
    for k in range(6):
        assert_same(step(), np.array(3 * k, BF16))
        addresses.add(w.get_value(borrow=True).ctypes.data)
    assert len(addresses) == 2  # the two cells
    assert_same(w.get_value(), np.full(3, 6, BF16))


def test_random_numbers() -> None:
    key = T.random.key(3)
    u = T.random.uniform(key, (20_000,), dtype="bfloat16")
    n = T.random.normal(key, (20_000,), dtype=BF16)
    u, n = (a.astype(np.float64) for a in jg.function([], [u, n])())
    assert (u.min(), u.max()) == (0, 1 - 2.0**-7)
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(n.mean()) < 0.03
    assert abs(n.std() - 1) < 0.03


# --- gradients and loops --------------------------------------------------------------------------
def test_gradients_are_bfloat16() -> None:
    def cost(w: Any, x: Any) -> Any:
        return T.sum(T.tanh(T.dot(x, w) / 16) ** 2)

    g = jg.grad(cost)
    w = numbers(70, seed=2)
    got, want = g(w, X), g(w.astype(np.float32), F)
    assert got.dtype == BF16
    error = np.abs(got.astype(np.float32) - want)
    assert error.max() <= 2**-5 * np.abs(want).max()


def test_mixed_precision_training() -> None:
    """Weights in float32, arithmetic in bfloat16: the gradient comes back in float32."""
    w, x = T.fvector("w"), T.matrix("x", dtype=BF16)
    cost = T.dot(x, w.astype(BF16)).astype("float32").sum()
    got = jg.function([w, x], jg.grad(cost, w))(W, X)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, F.sum(0), rtol=2**-7, atol=2**-7)


def test_loops() -> None:
    def step(carry: Any, x: Any) -> Any:
        return carry * 0.5 + x, carry

    last, states = jg.jit(lambda v: lax.scan(step, T.zeros((), dtype=BF16), v))(V)
    carry, want = BF16.type(0), []
    for v in V:
        want.append(carry)
        carry = carry * BF16.type(0.5) + v
    assert_same(last, np.asarray(carry))
    assert_same(states, np.array(want))


# --- the cache ------------------------------------------------------------------------------------
_CACHED = """
import sys
if sys.argv[1:]:
    import {other}  # another dtype is registered first: bfloat16 gets another number
import numpy as np, ml_dtypes, jitgraph as jg, jitgraph.tensor as T
x, w = T.vector("x", dtype="bfloat16"), jg.shared(np.ones(3, ml_dtypes.bfloat16))
f = jg.function([x], [x * w, T.zeros((0, 2), dtype="bfloat16")], updates={{w: w + x}})
given = np.ones(3, ml_dtypes.bfloat16)
for k in range(1, 5):
    made, empty = f(given)
    assert made.dtype == empty.dtype == given.dtype and (made == k).all(), made
assert w.get_value().dtype == given.dtype
print("llvm" in f.compilation.times, given.dtype.num)
"""


def test_kept_code_serves_processes_where_bfloat16_has_another_number(tmp_path: Path) -> None:
    program = _CACHED.format(other="numpy._core._rational_tests")
    cache = {"JITGRAPH_CACHE": "1", "JITGRAPH_CACHE_DIR": str(tmp_path)}
    compiled, first = run_fresh(program, **cache).split()
    found, other = run_fresh(program.replace("sys.argv[1:]", "True"), **cache).split()
    assert (compiled, found) == ("True", "False")
    assert first != other
