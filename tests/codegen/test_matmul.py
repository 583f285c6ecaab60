"""Generated matrix products against numpy: every stride pattern, nothing written outside C."""

import ctypes
import mmap
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph
from jitgraph.codegen.llvm import Compiled
from jitgraph.codegen.matmul import compile_matmul, matmul_library
from jitgraph.codegen.matmul.tiling import Tiling
from jitgraph.codegen.target import Target, host

Array = npt.NDArray[Any]
DTYPES = {"f32": np.float32, "f64": np.float64}
CANARY = 12345.0


def small_target() -> Target:
    """The host with tiny caches, so that small products cross every block boundary."""
    return replace(host(), l1_bytes=64, l2_bytes=64)


def narrow_target() -> Target:
    """The host as if it had sixteen 16-byte registers: the other register tile, no masks."""
    return replace(host(), vector_bytes=16, vector_registers=16)


def middle_target() -> Target:
    """The host as if it had sixteen 32-byte registers, and tiny caches."""
    return replace(host(), vector_bytes=32, vector_registers=16, l1_bytes=64, l2_bytes=64)


TARGETS: dict[str, Callable[[], Target]] = {
    "host": host,
    "small": small_target,
    "narrow": narrow_target,
    "middle": middle_target,
}
SIGNATURE = (
    [ctypes.c_int64] * 3
    + [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64] * 3
    + [ctypes.c_int64] * 4
    + [ctypes.c_void_p] * 2
)
PRODUCT = ctypes.CFUNCTYPE(None, *SIGNATURE)
TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
EPILOGUE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 4)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
def backwards(task: int, context: int, chunks: int) -> None:
    """A `parallel_for` that takes the chunks in another order than one would expect."""
    run = TASK(task)
    for chunk in range(chunks - 1, -1, -1):
        run(context, chunk)


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)
def no_memory(size: int) -> None:
    """A `malloc` that has none left."""
    refused.append(size)


refused: list[int] = []


def address_of(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


@cache
def compiled(dtype: str, target_name: str, poor: bool = False) -> Compiled:
    imports = {"parallel_for": address_of(backwards)}
    if poor:
        imports["malloc"] = address_of(no_memory)
    return compile_matmul(dtype, TARGETS[target_name](), imports)


def call(
    code: Compiled, dtype: str, a: Array, b: Array, c: Array, epilogue: int | None = None
) -> None:
    """C = A B for arrays of rank 2, or of rank 3 and equal lengths."""
    stacked = a.ndim == 3
    batch = (len(c), *[x.strides[0] for x in (a, b, c)]) if stacked else (1, 0, 0, 0)
    m, k, n = *a.shape[-2:], b.shape[-1]
    operands = [x for array in (a, b, c) for x in (array.ctypes.data, *array.strides[-2:])]
    product = PRODUCT(code.address(f"matmul_{dtype}"))
    product(m, n, k, *operands, *batch, epilogue, None)


def multiply(a: Array, b: Array, c: Array, dtype: str, target: str = "host") -> None:
    call(compiled(dtype, target), dtype, a, b, c)


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


def is_product(a: Array, b: Array, c: Array, dtype: str) -> bool:
    """Whether c is a @ b within the bound for sums in any order."""
    kind = np.longdouble if dtype == "f64" and max(*a.shape, *b.shape) < 80 else np.float64
    exact = a.astype(kind) @ b.astype(kind)
    magnitude = np.abs(a).astype(kind) @ np.abs(b).astype(kind)
    bound = (a.shape[-1] + 2) * np.finfo(DTYPES[dtype]).eps * magnitude
    return bool((np.abs(c - exact) <= bound).all())


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
    assert is_product(a, b, c, dtype)
    c[...] = CANARY
    np.testing.assert_array_equal(base, inside)


READ_LAYOUTS = ["rows", "transposed", "sliced", "columns", "reversed", "broadcast"]
WRITE_LAYOUTS = ["rows", "transposed", "sliced", "reversed"]
sizes = st.one_of(st.integers(0, 9), st.sampled_from([15, 16, 17]), st.integers(0, 70))


@settings(max_examples=250, deadline=None)
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


def edges(dtype: str, target: Target) -> list[int]:
    """Sizes around the tile: vectors of columns, panels of them, rows of a tile."""
    lanes = target.vector_bytes // np.dtype(DTYPES[dtype]).itemsize
    near = {lanes + d for d in (-1, 0, 1)} | {3 * lanes + d for d in (-1, 0, 1)}
    return sorted({0, 1, 2, 4 * lanes, 5 * lanes - 1, *near})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_edges_of_tiles(dtype: str, target: str) -> None:
    for n in edges(dtype, TARGETS[target]()):
        for m in (*range(10), 15, 16, 17, 23):
            check((m, n, 7), ("rows", "rows", "rows"), dtype, target)


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
        (1, 900, 401),
        (900, 1, 401),
        (300, 500, 1),
    ],
)
def test_shapes_across_blocks(
    shape: tuple[int, int, int], layouts: tuple[str, str, str], dtype: str
) -> None:
    check(shape, layouts, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", ["small", "middle"])
@pytest.mark.parametrize("shape", [(700, 150, 140), (9, 1200, 140), (150, 70, 700)])
def test_small_caches_cross_every_block(
    shape: tuple[int, int, int], dtype: str, target: str
) -> None:
    check(shape, ("rows", "rows", "rows"), dtype, target)
    check(shape, ("transposed", "transposed", "rows"), dtype, target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(0, 5, 3), (5, 0, 3), (5, 7, 0), (40, 70, 0), (1, 70, 0), (70, 1, 0), (0, 0, 0)]
)
def test_empty_products(shape: tuple[int, int, int], dtype: str) -> None:
    """An empty sum is zero, and overwrites."""
    check(shape, ("rows", "rows", "rows"), dtype)
    check(shape, ("transposed", "transposed", "sliced"), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["rows", "transposed", "sliced"])
@pytest.mark.parametrize("shape", [(9, 26, 65), (40, 26, 300), (1, 26, 65), (200, 26, 100)])
def test_padding_does_not_spread_nan(shape: tuple[int, int, int], layout: str, dtype: str) -> None:
    """Tiles compute past the edge; what they find there must not reach C."""
    m, n, k = shape
    a, b = np.ones((m, k), DTYPES[dtype]), laid_out(k, n, layout, dtype)
    b[1][...] = np.nan
    b[0][:, : n - 1] = 1.0
    c, _ = laid_out(m, n, "rows", dtype)
    multiply(a, b[0], c, dtype)
    np.testing.assert_array_equal(c[:, : n - 1], k)
    assert np.isnan(c[:, n - 1]).all()


def guarded(values: Array, keep: list[mmap.mmap]) -> Array:
    """A copy in C order that ends where memory that must not be read begins."""
    size = -(-max(values.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    keep.append(mmap.mmap(-1, size + mmap.PAGESIZE))
    memory = np.frombuffer(keep[-1], np.uint8)
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert protect(memory.ctypes.data + size, mmap.PAGESIZE, 0) == 0
    placed = memory[size - values.nbytes : size].view(values.dtype).reshape(values.shape)
    placed[...] = values
    return placed


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="needs mprotect")
@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 150), st.integers(1, 150), st.integers(1, 300)),
    turned=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from(list(DTYPES)),
    target=st.sampled_from(list(TARGETS)),
)
def test_nothing_is_read_behind_operands(
    shape: tuple[int, int, int], turned: tuple[bool, bool], dtype: str, target: str
) -> None:
    """Panels packed by the way and fetched ahead are partly outside; a fault would end this."""
    m, n, k = shape
    rng, keep = np.random.default_rng(0), list[mmap.mmap]()
    a, b = (
        guarded(rng.standard_normal(s[::-1] if turn else s).astype(DTYPES[dtype]), keep)
        for s, turn in zip(((m, k), (k, n)), turned, strict=True)
    )
    a, b = a.T if turned[0] else a, b.T if turned[1] else b
    c = guarded(np.full((m, n), CANARY, DTYPES[dtype]), keep)
    multiply(a, b, c, dtype, target)
    assert is_product(a, b, c, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["rows", "transposed", "columns"])
@pytest.mark.parametrize("out", ["rows", "sliced"])
@pytest.mark.parametrize(
    "shape", [(33, 50, 785), (47, 200, 785), (131, 333, 263), (300, 170, 261), (1100, 113, 262)]
)
def test_panels_packed_by_the_way(
    shape: tuple[int, int, int], layout: str, out: str, dtype: str
) -> None:
    """Depths that are no multiple of the unrolled steps, rows and columns of no tile; one, two
    and more tasks read each column."""
    check(shape, ("rows", layout, out), dtype)
    check(shape, ("transposed", layout, out), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3, 5), (1, 40, 40), (40, 1, 40), (90, 80, 70)])
def test_infinity_and_nan_propagate(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    a, b = np.ones((m, k), DTYPES[dtype]), np.ones((k, n), DTYPES[dtype])
    a[m // 2, k // 2], b[k // 3, n // 2], b[0, 0] = np.inf, -np.inf, np.nan
    c, _ = laid_out(m, n, "rows", dtype)
    multiply(a, b, c, dtype)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(c, a @ b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4, 5), (33, 20, 17), (1, 30, 30), (30, 1, 30), (70, 70, 70)])
@pytest.mark.parametrize("still", ["", "a", "b", "ab"])
@pytest.mark.parametrize("count", [0, 1, 2, 19])
def test_batches(shape: tuple[int, int, int], still: str, count: int, dtype: str) -> None:
    """Operands named in `still` are the same for all items: their step is zero."""
    m, n, k = shape
    rng = np.random.default_rng(count)
    a = rng.standard_normal((1 if "a" in still else count, m, k)).astype(DTYPES[dtype])
    b = rng.standard_normal((1 if "b" in still else count, k, n)).astype(DTYPES[dtype])
    a, b = np.broadcast_to(a, (count, m, k)), np.broadcast_to(b, (count, k, n))
    c = np.full((count + 1, m, n), CANARY, DTYPES[dtype])
    call(compiled(dtype, "host"), dtype, a, b, c[:count])
    assert all(is_product(x, y, z, dtype) for x, y, z in zip(a, b, c, strict=False))
    assert (c[count] == CANARY).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", ["host", "small"])
@pytest.mark.parametrize("layout", ["rows", "transposed", "sliced"])
@pytest.mark.parametrize(
    "shape",
    [
        (3, 4, 5),
        (5, 4, 0),
        (1, 90, 50),
        (90, 1, 50),
        (150, 130, 90),
        (20, 300, 400),
        (0, 4, 4),
        (128, 1000, 300),
        (600, 10, 784),
        (784, 500, 20),
        (700, 33, 45),
    ],
)
def test_epilogue_sees_each_final_element_once(
    shape: tuple[int, int, int], layout: str, target: str, dtype: str
) -> None:
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = operand(rng, m, k, "rows", dtype), operand(rng, k, n, "transposed", dtype)
    c, _ = laid_out(m, n, layout, dtype)
    seen, final = np.zeros((m, n), int), np.zeros((m, n))

    @EPILOGUE
    def epilogue(_: int, row0: int, row1: int, col0: int, col1: int) -> None:
        seen[row0:row1, col0:col1] += 1
        final[row0:row1, col0:col1] = c[row0:row1, col0:col1]

    call(compiled(dtype, target), dtype, a, b, c, address_of(epilogue))
    assert (seen == 1).all()
    np.testing.assert_array_equal(final, c)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_memory_for_panels(dtype: str) -> None:
    """Slower, but no error."""
    rng = np.random.default_rng(0)
    for shape, layout in (((90, 80, 70), "sliced"), ((1, 90, 800), "transposed")):
        m, n, k = shape
        a, b = operand(rng, m, k, "sliced", dtype), operand(rng, k, n, layout, dtype)
        c, _ = laid_out(m, n, "rows", dtype)
        refused.clear()
        call(compiled(dtype, "host", poor=True), dtype, a, b, c)
        assert refused
        assert is_product(a, b, c, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "count"),
    [((300, 310, 290), 1), ((20, 500, 784), 1), ((600, 10, 784), 1), ((784, 500, 20), 1),
     ((700, 600, 520), 1), ((900, 1, 900), 1), ((1, 900, 900), 1),
     ((32, 32, 32), 40), ((7, 11, 13), 1)],
)  # fmt: skip
def test_threads_do_not_change_results(shape: tuple[int, int, int], count: int, dtype: str) -> None:
    (m, n, k), rng = shape, np.random.default_rng(0)
    a = rng.standard_normal((count, m, k)).astype(DTYPES[dtype])
    b = rng.standard_normal((count, k, n)).astype(DTYPES[dtype])
    results = []
    for number in (1, 2, 5):
        with jitgraph.set_num_threads(number):
            c = np.full((count, m, n), CANARY, DTYPES[dtype])
            call(matmul_library(dtype, host()), dtype, a, b, c)
        assert all(is_product(x, y, z, dtype) for x, y, z in zip(a, b, c, strict=True))
        results.append(c)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


cuts = st.one_of(
    st.integers(1, 40), st.sampled_from([127, 128, 129, 255, 256, 257, 509]), st.integers(1, 800)
)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(cuts, cuts, cuts),
    dtype=st.sampled_from(list(DTYPES)),
    target=st.sampled_from(list(TARGETS)),
    layout=st.sampled_from(["rows", "transposed"]),
)
def test_tasks_partition_c(
    shape: tuple[int, int, int], dtype: str, target: str, layout: str
) -> None:
    """However the grid is cut: no task is empty, none overlaps another, all of C is final."""
    m, n, k = shape
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    a, b = operand(rng, m, k, "rows", dtype), operand(rng, k, n, layout, dtype)
    c, base = laid_out(m, n, "rows", dtype)
    seen = np.zeros((m, n), int)
    areas: list[int] = []

    @EPILOGUE
    def epilogue(_: int, row0: int, row1: int, col0: int, col1: int) -> None:
        seen[row0:row1, col0:col1] += 1
        areas.append((row1 - row0) * (col1 - col0))

    call(compiled(dtype, target), dtype, a, b, c, address_of(epilogue))
    assert (seen == 1).all()
    assert all(areas)
    assert is_product(a, b, c, dtype)
    c[...] = CANARY
    assert (base == CANARY).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(128, 1000, 784), (600, 10, 784), (784, 500, 20), (20, 500, 784)]
)
def test_tasks_are_several_and_nearly_equal(shape: tuple[int, int, int], dtype: str) -> None:
    m, n, k = shape
    a, b, c = (np.zeros(s, DTYPES[dtype]) for s in ((m, k), (k, n), (m, n)))
    areas: list[int] = []

    @EPILOGUE
    def epilogue(_: int, row0: int, row1: int, col0: int, col1: int) -> None:
        areas.append((row1 - row0) * (col1 - col0))

    call(compiled(dtype, "host"), dtype, a, b, c, address_of(epilogue))
    assert 4 <= len(areas) <= 64
    # By list order on two threads, each next task to the one that is free.
    free = [0, 0]
    for area in areas:
        free[free.index(min(free))] += area
    assert max(free) <= 0.57 * sum(areas)


@pytest.mark.parametrize("dtype", DTYPES)
def test_library_is_compiled_once(dtype: str) -> None:
    assert matmul_library(dtype, host()) is matmul_library(dtype, host())


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiling_fits_the_registers(dtype: str) -> None:
    """The accumulators, a row of B and a broadcast element."""
    for vector_bytes, registers in ((64, 32), (32, 16), (16, 32), (16, 16)):
        target = replace(host(), vector_bytes=vector_bytes, vector_registers=registers)
        tiling = Tiling.of(dtype, target)
        assert tiling.rows * tiling.vectors + tiling.vectors + 1 <= registers
        assert tiling.mc % tiling.rows == 0
        assert tiling.nc % tiling.cols == 0
