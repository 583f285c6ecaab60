"""What follows a matrix product, run on its parts: right, and the same bits for all threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen import epilogue, launch
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from tests.native import compiled

THREADS = (1, 2, 5)
#: Rows, inner dimension, columns: none, vectors, one part, parts of many shapes.
SIZES = ((0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 5, 7), (9, 5, 1), (7, 16, 17), (67, 71, 97),
         (150, 90, 211), (40, 600, 100))  # fmt: skip
SQUARE = (0, 1, 5, 17, 97, 130)
#: Never a part of the product, where it pays, always.
TIMES = (1 << 40, 8, 0)

Build = Callable[..., Any]

#: Of x (m, k), w (k, n), b (n), c (m), d (m, n) and e (n, m).
PROGRAMS: dict[str, Build] = {
    "bias and maximum": lambda x, w, b, c, d, e: T.maximum(x @ w + b, 0),
    "rows and columns": lambda x, w, b, c, d, e: (x @ w + b) * c[:, None],
    "another matrix": lambda x, w, b, c, d, e: d - 2 * (x @ w),
    "two results": lambda x, w, b, c, d, e: [x @ w + d, (x @ w) * d],
    "product kept": lambda x, w, b, c, d, e: [x @ w, (x @ w + b) * 2],
    "product read again": lambda x, w, b, c, d, e: [T.maximum(x @ w, 0), (x @ w).sum(axis=0)],
    "turned": lambda x, w, b, c, d, e: (x @ w).T * 3 + c,
    "turned result": lambda x, w, b, c, d, e: [(x @ w + b).T, x + 1],
    "another matrix across": lambda x, w, b, c, d, e: x @ w + e.T,
    "strided operands": lambda x, w, b, c, d, e: x[:, ::-1] @ w[::-1] + d[::-1],
    "index": lambda x, w, b, c, d, e: x @ w + T.arange(b.shape[0]).astype(x.dtype),
    "narrower": lambda x, w, b, c, d, e: (x @ w + b).astype("float16"),
    "wider": lambda x, w, b, c, d, e: [(x @ w).astype("float64") * 0.5, x @ w > b],
    "products in turn": lambda x, w, b, c, d, e: T.maximum(T.maximum(x @ w, b) @ w.T, 1) @ w - d,
    "two products": lambda x, w, b, c, d, e: x @ w - (x + 1) @ w + d,
}
#: Of x (n, n): what the product reads is what the kernel reads, or would have room in.
SQUARES: dict[str, Build] = {
    "operand": lambda x: (x @ x) * x,
    "operand across": lambda x: x @ x + x.T,
    "dying operand": lambda x: _stored(x) @ _stored(x) - _stored(x),
    "powers": lambda x: _stored(_stored(x) @ x) @ _stored(x) + 1,
}


def _stored(x: Any) -> Any:
    """Small integers that cost more than reading them back."""
    return T.maximum(T.minimum(x // 1, 2), -1)


@pytest.fixture(autouse=True, params=TIMES, ids=["afterwards", "as usual", "part by part"])
def times(request: pytest.FixtureRequest) -> Iterator[int]:
    """How often, and chunks of next to no work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epilogue, "_TIMES", request.param)
        patch.setattr(epilogue, "_CACHES", min(request.param, 1))
        patch.setattr(launch, "GRAIN", 1 << 10)
        yield request.param


def check(fn: Function, arrays: list[np.ndarray[Any, Any]], native: Any, context: object) -> None:
    """The very numbers of the interpreter: sums of small integers are exact in any order."""
    want = interpreter.run(fn, arrays)
    for threads in THREADS:
        with jg.set_num_threads(threads):
            got = native(*arrays)
        for g, w in zip(got, want, strict=True):
            assert g.dtype == w.dtype
            np.testing.assert_array_equal(g, w, err_msg=f"{context}, {threads} threads")


def numbers(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray[Any, Any]:
    return rng.integers(-2, 3, shape).astype(dtype)


@pytest.mark.parametrize("name", PROGRAMS)
def test_parts_of_every_program(name: str, times: int) -> None:
    dtype = "float64" if times else "float32"
    x, w, d, e = (T.matrix(n, dtype=dtype) for n in "xwde")
    b, c = (T.vector(n, dtype=dtype) for n in "bc")
    made = PROGRAMS[name](x, w, b, c, d, e)
    fn = Function([x, w, b, c, d, e], made if isinstance(made, list) else [made])
    native, rng = compiled(fn), np.random.default_rng(1)
    for m, k, n in SIZES:
        shapes = ((m, k), (k, n), (n,), (m,), (m, n), (n, m))
        check(fn, [numbers(rng, dtype, *s) for s in shapes], native, (name, m, k, n))


@pytest.mark.parametrize("name", SQUARES)
def test_what_the_product_still_reads_is_left_alone(name: str) -> None:
    x = T.dmatrix("x")
    fn = Function([x], [SQUARES[name](x)])
    native, rng = compiled(fn), np.random.default_rng(1)
    for n in SQUARE:
        check(fn, [numbers(rng, "float64", n, n)], native, (name, n))


def test_functions_do_not_depend_on_threads() -> None:
    """Rounding would tell how the product was cut."""
    x, w, b = T.fmatrix("x"), T.fmatrix("w"), T.fvector("b")
    f, rng = jg.function([x, w, b], T.tanh(x @ w + b)), np.random.default_rng(2)
    for m, k, n in ((200, 128, 300), (20, 784, 500), (500, 3, 500), (800, 130, 900)):
        arrays = [rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n), (n,))]
        runs = []
        for threads in THREADS:
            with jg.set_num_threads(threads):
                runs.append(f(*arrays).tobytes())
        assert len(set(runs)) == 1, (m, k, n)
