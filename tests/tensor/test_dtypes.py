"""Promotion is NumPy's own (NEP 50): every op, every pair of dtypes, and Python scalars."""

import itertools

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError
from jitgraph.ir.elementwise import COMPLEX, Elementwise
from jitgraph.ir.opdef import OPS
from jitgraph.ir.types import DTYPE_NAMES, is_bfloat16
from jitgraph.tensor import complexes
from tests.tensor.helpers import assert_same, evaluate

DTYPES = list(DTYPE_NAMES)
SCALARS = [True, 2, 2.5, 2j]
PUBLIC = [op for op in OPS.values() if isinstance(op, Elementwise) and op.name in T.FUNCTIONS]
BINARY = [op for op in PUBLIC if op.arity == 2 and op.name != "complex"]
UNARY = [op for op in PUBLIC if op.arity == 1]


def numpy_dtype(op, *operands):
    """NumPy's result dtype, or None where it has no loop or one we leave out."""
    function = op.numpy
    if not isinstance(function, np.ufunc):  # sigmoid, beta, ...
        function = np.sqrt if op.arity == 1 else np.arctan2
    try:
        with np.errstate(all="ignore"):
            dtype = function(*operands).dtype
    except TypeError:
        return None
    complex_ = any(np.asarray(o).dtype.kind == "c" for o in operands)
    known = op.name in COMPLEX or op.name in complexes.FUNCTIONS
    return None if complex_ and not known else dtype


def our_dtype(op, *operands):
    try:
        return T.FUNCTIONS[op.name](*operands).dtype
    except DTypeError:
        return None


def adapted(dtype, scalar):
    """What NumPy is to be given for a Python scalar: it does not know that bfloat16 is a float,
    which one adapts to as to any other."""
    return dtype.type(scalar) if is_bfloat16(dtype) and type(scalar) is not complex else scalar


def dtype_of(function):
    try:
        return function().dtype
    except (DTypeError, TypeError):
        return None


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.name)
def test_binary(op):
    for a, b in itertools.product(DTYPES, DTYPES):
        want = numpy_dtype(op, np.ones(1, a), np.ones(1, b))
        assert our_dtype(op, T.tensor(a, (None,)), T.tensor(b, (None,))) == want, (a, b)


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.name)
def test_binary_with_python_scalars(op):
    for a, scalar in itertools.product(DTYPES, SCALARS):
        x, array = T.tensor(a, (None,)), np.ones(1, a)
        number = adapted(a, scalar)
        assert our_dtype(op, x, scalar) == numpy_dtype(op, array, number), (a, scalar)
        assert our_dtype(op, scalar, x) == numpy_dtype(op, number, array), (scalar, a)


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_unary(op):
    for a in DTYPES:
        assert our_dtype(op, T.tensor(a, (None,))) == numpy_dtype(op, np.ones(1, a)), a


@pytest.mark.parametrize("a", DTYPES, ids=str)
def test_where_concatenate_dot_clip(a):
    x, array = T.tensor(a, (None,)), np.ones(2, a)
    for b in DTYPES:
        y, other = T.tensor(b, (None,)), np.ones(2, b)
        want = dtype_of(lambda: np.concatenate([array, other]))  # noqa: B023
        assert dtype_of(lambda: T.where(x, x, y)) == want  # noqa: B023
        assert dtype_of(lambda: T.concatenate([x, y])) == want  # noqa: B023
        assert dtype_of(lambda: T.concatenate([x, other])) == want  # noqa: B023
        assert dtype_of(lambda: T.stack([x, other])) == want  # noqa: B023
        if want is None:
            continue
        assert T.dot(x, y).dtype == np.dot(array, other).dtype
        want = np.matmul(array, other).dtype
        assert (x @ other).dtype == want
        assert (array @ y).dtype == want
    for scalar in SCALARS[:3]:
        number = adapted(a, scalar)
        assert T.where([True], x, scalar).dtype == np.where([True], array, number).dtype
        if a.kind not in "bc" and not is_bfloat16(a):  # NumPy clips bfloat16 in float32
            assert T.clip(x, 0, scalar).dtype == np.clip(array, 0, scalar).dtype


def test_python_scalars_adapt_and_must_fit():
    x = T.tensor("int8", (None,), "x")
    assert (x + 100).dtype == np.int8
    assert (x + np.int64(100)).dtype == np.int64
    with pytest.raises(DTypeError, match="out of bounds for int8"):
        x + 300
    assert_same(evaluate(x < 300, {x: np.array([5], np.int8)}), [True])


def test_functions_without_variables_are_symbolic():
    assert_same(evaluate(T.add(np.float32(1), 2)), np.float32(3))
    assert_same(evaluate(T.add(1, 2)), np.int64(3))
    assert_same(evaluate(T.exp([0, 1])), np.exp([0, 1]))
    assert isinstance(T.sqrt(2), T.Variable)


def test_lists_of_variables():
    x, y = T.scalars("x", "y")
    assert_same(evaluate(T.exp([x, y]), {x: 0, y: 1}), np.exp([0.0, 1.0]))
    assert_same(evaluate(T.add([x, y], [[1], [2]]), {x: 0, y: 1}), [[1.0, 2.0], [2.0, 3.0]])
    assert_same(evaluate(T.where([True, False], [x, y], 5), {x: 0, y: 1}), [0.0, 5.0])


def test_numpy_arrays_on_the_left_defer():
    x = T.vector("x")
    for made in (np.ones(3) + x, np.float64(2) * x, np.ones((2, 3)) @ x, np.ones(3) > x):
        assert isinstance(made, T.Variable)


@pytest.mark.parametrize("dtype", ["U3", "O", "M8[s]", "longdouble"])
def test_foreign_dtypes(dtype):
    with pytest.raises(DTypeError):
        T.constant(np.zeros(2, dtype))
    with pytest.raises(DTypeError):
        T.vector() + np.zeros(2, dtype)


def test_byte_order_is_made_native():
    assert T.constant(np.ones(2, ">f8")).dtype == np.dtype("=f8")


# --- Python integers that do not fit -------------------------------------------------------------
x = T.tensor("uint8", (None,), "x")
TOO_LARGE = {
    "sum": lambda: x + 300, "reflected": lambda: 300 - x, "negative": lambda: x * -1,
    "function": lambda: np.minimum(x, 256), "shift": lambda: x << 999,
    "huge": lambda: T.lvector() + 2**63, "full": lambda: T.full(3, 300, dtype="uint8"),
    "full_like": lambda: T.full_like(x, -1), "as_tensor": lambda: T.as_tensor([1, 300], "uint8"),
    "set": lambda: x.at[0].set(300), "initial": lambda: T.max(x, initial=300),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_LARGE)
def test_python_integers_that_do_not_fit_are_refused(name: str) -> None:
    """NumPy raises OverflowError (NEP 50); ours says which line."""
    with pytest.raises(OverflowError) as caught:
        TOO_LARGE[name]()
    assert isinstance(caught.value, DTypeError)
    assert "test_dtypes.py:" in str(caught.value)


def test_python_integers_that_do_not_fit_where_that_means_something() -> None:
    """Comparisons are by value, and a bound beyond all there are is none."""
    values = np.array([1, 250], np.uint8)
    f = jg.function([x], [x == 300, x < 300, x > -1, T.clip(x, -5, 300), T.isin(x, 300)])
    for got, want in zip(f(values), [values == 300, values < 300, values > -1,
                                     np.clip(values, -5, 300), np.isin(values, 300)], strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


def test_integers_of_a_call_under_jit_are_looked_at_by_the_call() -> None:
    f = jg.jit(lambda a, n: (a + n, a < 2 * n))
    values = np.array([1, 250], np.uint8)
    total, smaller = f(values, 5)
    np.testing.assert_array_equal(total, values + 5)
    assert total.dtype == np.uint8
    np.testing.assert_array_equal(smaller, [True, False])
    for n in (300, -1):
        with pytest.raises(OverflowError, match=f"{n} out of bounds for uint8"):
            f(values, n)
