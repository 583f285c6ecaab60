"""Generated matrix products against numpy: every stride pattern, nothing written outside C."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitgraph.codegen.llvm import Compiled, FunctionBuilder, Module, compile_ir
from jitgraph.codegen.matmul import emit_matmul, emit_matmul_scratch, matmul_library
from jitgraph.codegen.target import Target, host

Array = npt.NDArray[Any]
DTYPES = {"f32": np.float32, "f64": np.float64}
CANARY = 12345.0


def small_target() -> Target:
    """The host with tiny caches, so that small products cross every block boundary."""
    return replace(host(), l1_bytes=64, l2_bytes=64)


def narrow_target() -> Target:
    """The host as if it had sixteen 16-byte registers: the other register tile."""
    return replace(host(), vector_bytes=16, vector_registers=16)


TARGETS: dict[str, Callable[[], Target]] = {
    "host": host,
    "small": small_target,
    "narrow": narrow_target,
}
SIGNATURE = ["i64"] * 3 + ["ptr", "i64", "i64"] * 3 + ["ptr"]
C_TYPES = [ctypes.c_int64 if t == "i64" else ctypes.c_void_p for t in SIGNATURE]


@cache
def compiled(target_name: str) -> Compiled:
    """Both dtypes behind exported wrappers: product_f64, scratch_f64, ..."""
    target = TARGETS[target_name]()
    module = Module(target)
    for dtype in DTYPES:
        product = emit_matmul(module, dtype, target)
        scratch = emit_matmul_scratch(module, dtype, target)
        assert emit_matmul(module, dtype, target) == product
        parameters = [f"{type_} %x{i}" for i, type_ in enumerate(SIGNATURE)]
        f = FunctionBuilder(module, f"product_{dtype}", parameters)
        f.do(f"call void {product}({', '.join(parameters)})")
        f.do("ret void")
        f = FunctionBuilder(module, f"scratch_{dtype}", parameters[:3], returns="i64")
        size = f.emit(f"call i64 {scratch}({', '.join(parameters[:3])})")
        f.do(f"ret i64 {size}")
    return compile_ir(module.text(), target)


def multiply(a: Array, b: Array, c: Array, dtype: str, target: str = "host") -> None:
    code = compiled(target)
    (m, k), n = a.shape, b.shape[1]
    sizes = ctypes.CFUNCTYPE(ctypes.c_int64, *C_TYPES[:3])(code.address(f"scratch_{dtype}"))
    size = sizes(m, n, k)
    scratch = np.full(size + 128, 0xFF, np.uint8)  # NaN patterns
    start = -scratch.ctypes.data % 64
    product = ctypes.CFUNCTYPE(None, *C_TYPES)(code.address(f"product_{dtype}"))
    arguments = [x for array in (a, b, c) for x in (array.ctypes.data, *array.strides)]
    product(m, n, k, *arguments, scratch.ctypes.data + start)
    assert (scratch[:start] == 0xFF).all()
    assert (scratch[start + size :] == 0xFF).all()


def laid_out(rows: int, cols: int, layout: str, dtype: str) -> tuple[Array, Array]:
    """A rows x cols view in the given layout, and the array of canaries it is a view of."""
    row_step, col_step = {"sliced": (2, 3), "columns": (1, 2)}.get(layout, (1, 1))
    shape = (rows * row_step + 4, cols * col_step + 4)
    base = np.full(shape[::-1] if layout == "transposed" else shape, CANARY, DTYPES[dtype])
    view = base.T if layout == "transposed" else base
    view = view[2 : 2 + rows * row_step : row_step, 2 : 2 + cols * col_step : col_step]
    if layout == "reversed":
        view = view[::-1, ::-1]
    assert view.shape == (rows, cols)
    return view, base


def operand(rng: np.random.Generator, rows: int, cols: int, layout: str, dtype: str) -> Array:
    if layout == "broadcast":
        row = rng.standard_normal((1, cols)).astype(DTYPES[dtype])
        return np.broadcast_to(row, (rows, cols))
    view, _ = laid_out(rows, cols, layout, dtype)
    view[...] = rng.standard_normal((rows, cols))
    return view


def check(
    shape: tuple[int, int, int],
    layouts: tuple[str, str, str],
    dtype: str,
    target: str = "host",
) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    a, b = operand(rng, m, k, layouts[0], dtype), operand(rng, k, n, layouts[1], dtype)
    c, base = laid_out(m, n, layouts[2], dtype)
    inside = base.copy()
    multiply(a, b, c, dtype, target)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    bound = (k + 2) * np.finfo(DTYPES[dtype]).eps * magnitude
    assert (np.abs(c - exact) <= bound).all()
    c[...] = CANARY
    np.testing.assert_array_equal(base, inside)


READ_LAYOUTS = ["rows", "transposed", "sliced", "columns", "reversed", "broadcast"]
WRITE_LAYOUTS = ["rows", "transposed", "sliced", "reversed"]
sizes = st.one_of(st.integers(0, 9), st.integers(0, 70))


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(sizes, sizes, sizes),
    layouts=st.tuples(
        st.sampled_from(READ_LAYOUTS),
        st.sampled_from(READ_LAYOUTS),
        st.sampled_from(WRITE_LAYOUTS),
    ),
    dtype=st.sampled_from(list(DTYPES)),
    target=st.sampled_from(list(TARGETS)),
)
def test_any_shape_and_layout(
    shape: tuple[int, int, int], layouts: tuple[str, str, str], dtype: str, target: str
) -> None:
    check(shape, layouts, dtype, target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "layouts",
    [
        ("rows", "rows", "rows"),
        ("transposed", "transposed", "rows"),
        ("rows", "transposed", "rows"),
        ("transposed", "rows", "transposed"),
        ("sliced", "columns", "sliced"),
    ],
)
@pytest.mark.parametrize(
    "shape",
    [
        (20, 500, 784),
        (784, 500, 20),
        (600, 10, 784),
        (257, 193, 129),
        (129, 97, 513),
        (33, 49, 300),
        (1, 300, 257),
        (300, 1, 257),
        (1, 1, 1000),
    ],
)
def test_shapes_across_blocks(
    shape: tuple[int, int, int], layouts: tuple[str, str, str], dtype: str
) -> None:
    check(shape, layouts, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(700, 150, 140), (9, 1200, 140)])
def test_small_caches_cross_every_block(shape: tuple[int, int, int], dtype: str) -> None:
    check(shape, ("rows", "rows", "rows"), dtype, "small")
    check(shape, ("transposed", "transposed", "rows"), dtype, "small")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 7, 0), (40, 70, 0), (0, 0, 0)])
def test_empty_products(shape: tuple[int, int, int], dtype: str) -> None:
    """An empty sum is zero, and overwrites."""
    check(shape, ("rows", "rows", "rows"), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_does_not_spread_nan(dtype: str) -> None:
    """Tiles compute past the edge; what they find there must not reach C."""
    a = np.ones((9, 65), DTYPES[dtype])
    b = np.full((65, 31), np.nan, DTYPES[dtype])[:, 2:28]
    b[:, :25] = 1.0
    c, _ = laid_out(9, 26, "rows", dtype)
    multiply(a, b, c, dtype)
    np.testing.assert_array_equal(c[:, :25], 65.0)
    assert np.isnan(c[:, 25]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_library_is_compiled_once(dtype: str) -> None:
    library = matmul_library(dtype, host())
    assert library is matmul_library(dtype, host())
    scratch = ctypes.CFUNCTYPE(ctypes.c_int64, *C_TYPES[:3])
    size = scratch(library.address(f"matmul_{dtype}_scratch"))(3, 4, 5)
    buffer = np.empty(size + 64, np.uint8)
    a, b = np.ones((3, 5), DTYPES[dtype]), np.ones((5, 4), DTYPES[dtype])
    c = np.zeros((3, 4), DTYPES[dtype])
    arguments = [x for array in (a, b, c) for x in (array.ctypes.data, *array.strides)]
    product = ctypes.CFUNCTYPE(None, *C_TYPES)(library.address(f"matmul_{dtype}"))
    product(3, 4, 5, *arguments, buffer.ctypes.data + -buffer.ctypes.data % 64)
    np.testing.assert_array_equal(c, 5.0)
