"""Operands read across their rows, in tiles, against NumPy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
from jitgraph import tensor
from jitgraph.codegen import cpu
from jitgraph.codegen.nests import Memory
from jitgraph.codegen.target import host
from jitgraph.codegen.tiles import ROWS, tiled_loads
from jitgraph.ir.kernel import Kernel

DTYPES = ("?", "i1", "u2", "f2", "f4", "i8", "f8", "c8", "c16")
#: Around the sizes of vectors, of blocks and of tiles.
SIZES = ((0, 3), (1, 9), (7, 8), (9, 7), (15, 17), (16, 33), (31, 1), (67, 40), (ROWS, 64),
         (ROWS + 1, 65), (261, 2 * ROWS + 19))  # fmt: skip


def numbers(dtype: str, *shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Small whole numbers: sums of them are exact."""
    return np.random.default_rng(seed).integers(0, 3, shape).astype(dtype)


def variable(dtype: str, rank: int) -> Any:
    return tensor.tensor(np.dtype(dtype), (None,) * rank)


def tiled(f: Any) -> int:
    """How many loads of a compiled function go through tiles."""
    program = f.compilation.program
    memory = Memory(program.placement, program.inherited)
    return sum(len(tiled_loads(k, memory)) for k in program.steps if isinstance(k, Kernel))


def mixed(x: Any, y: Any) -> list[Any]:
    """Copies, elementwise ops and sums, for x of shape (m, n) and y of shape (n, m)."""
    both = x.T + y
    return [x.T.copy() if isinstance(x, np.ndarray) else x.T, both, both.sum(axis=0), both.sum()]


@pytest.mark.parametrize("vector_bytes", [64, 32, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_and_dtypes(dtype: str, vector_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with the shorter vectors of other machines, which have no masks."""
    widest = host().vector_bytes
    if vector_bytes > widest:
        pytest.skip(f"vectors here have {widest} bytes")
    monkeypatch.setattr(cpu, "host", lambda: replace(host(), vector_bytes=vector_bytes))
    x, y = variable(dtype, 2), variable(dtype, 2)
    with jg.config.override(cache=False):
        f = jg.function([x, y], mixed(x, y))
        assert tiled(f)
        for m, n in SIZES[:-1] if dtype == "f2" else SIZES:  # sums stay below 65504
            a, b = numbers(dtype, m, n), numbers(dtype, n, m, seed=1)
            # Half precision is added in another order.
            exact = 2e-3 if dtype == "f2" else 0
            for got, want in zip(f(a, b), mixed(a, b), strict=True):
                np.testing.assert_allclose(got, want, rtol=exact, err_msg=f"{m} x {n}")


def test_threads_share_tiles_between_them() -> None:
    x, y = variable("f8", 2), variable("f8", 2)
    f = jg.function([x, y], mixed(x, y))
    a, b = (np.random.default_rng(k).normal(size=s) for k, s in enumerate([(701, 523), (523, 701)]))
    results = []
    for threads in (1, 2, 5):
        with jg.set_num_threads(threads):
            results.append(f(a, b))
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, want)
    for got, want in zip(results[0], mixed(a, b), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11)


@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1), (1, 0, 2)])
def test_any_permutation(axes: tuple[int, ...]) -> None:
    x = variable("f4", 3)
    f = jg.function([x], tensor.transpose(x, axes) * 2)
    assert tiled(f) == (axes[-1] != 2)
    for shape in ((3, 20, 33), (17, 5, 40), (33, 34, 9), (0, 2, 2)):
        a = numbers("f4", *shape)
        np.testing.assert_array_equal(f(a), a.transpose(axes) * 2)


LAYOUTS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "Fortran": np.asfortranarray,
    "part of a wider one": lambda a: np.concatenate([a, a], -1)[..., : a.shape[-1]],
    "part of a wider one, transposed": lambda a: (
        np.concatenate([a.T, a.T], -1)[..., : a.shape[0]].T
    ),
    "every second": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["i1", "f4", "f8", "c16"])
def test_layouts_of_inputs(dtype: str, layout: str) -> None:
    """Of one operand and of both; what NumPy gives is in C order or not, ours always is."""
    x, y = variable(dtype, 2), variable(dtype, 2)
    f = jg.function([x, y], [x + y, tensor.sum(x * y, axis=0), tensor.sum(x * y, axis=1)])
    for m, n in ((2, 3), (9, 16), (40, 67)):
        a, b = numbers(dtype, m, n), numbers(dtype, m, n, seed=1)
        other = LAYOUTS[layout](a)
        np.testing.assert_array_equal(other, a)
        for u, v in ((other, b), (b, other), (other, LAYOUTS[layout](b))):
            got = f(u, v)
            for result, want in zip(got, (u + v, (u * v).sum(axis=0), (u * v).sum(axis=1)),
                                    strict=True):  # fmt: skip
                np.testing.assert_array_equal(result, want)
                assert result.flags.c_contiguous


def test_sums_across_rows_are_not_cut() -> None:
    """Each row's sum stays in one register, whatever way its operands are read."""
    x, y = variable("f8", 2), variable("f8", 2)
    f = jg.function([x, y], tensor.sum(x.T * y, axis=1))
    assert not tiled(f)
    a, b = numbers("f8", 40, 33), numbers("f8", 33, 40, seed=1)
    np.testing.assert_array_equal(f(a, b), (a.T * b).sum(axis=1))


def test_memory_that_is_written_is_not_read_in_tiles() -> None:
    """x[...] += x.T: a part of the result must not be read back."""
    s = jg.shared(numbers("f8", 50, 50))
    before = s.get_value()
    step = jg.function([], [], updates=[(s, s + s.T)])
    for _ in range(3):
        step()
        before = before + before.T
        np.testing.assert_array_equal(s.get_value(), before)


def test_first_places_are_found_in_order() -> None:
    """Of equal elements the first in C order counts: tiles would see another one first."""
    x, y = variable("f8", 2), variable("f8", 2)
    f = jg.function([x, y], [tensor.argmax(x.T + y), tensor.argmin(x.T + y, axis=0)])
    a, b = numbers("f8", 300, 150), numbers("f8", 150, 300, seed=1)
    for got, want in zip(f(a, b), ((a.T + b).argmax(), (a.T + b).argmin(axis=0)), strict=True):
        np.testing.assert_array_equal(got, want)
