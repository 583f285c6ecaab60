"""How arrays lie in memory: in Python and in the native entry the same."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import jitgraph as jg
from jitgraph import compiled, tensor
from jitgraph.ir.order import C_CODE, CODED_AXES, FORTRAN_CODE, KINDS, order_code, order_of

A = np.arange(60.0).reshape(6, 10)
CUBE = np.arange(120.0).reshape(4, 5, 6)
VIEWS = {
    "C": [A, A[:3], A[:1], A[:, :0], A[:1, ::2][:, :1], CUBE, A[0]],
    "F": [A.T, CUBE.T, np.asfortranarray(A)],
    "?1": [A[:, 2:5], A[::2], A[::-1]],
    "1?": [A[:, 2:5].T, A[::2].T],
    "??": [A[:, ::2], A[:, ::-1], A.T[:, ::-1][::2]],
    "01": [np.broadcast_to(A[0], (7, 10)), as_strided(A, (5, 4), (0, 8))],
    "?0": [np.broadcast_to(A[:, :1], (6, 4))],
    "00": [np.broadcast_to(A[0, 0], (3, 4))],
    "11": [as_strided(A, (5, 4), (8, 8))],
    "1??": [CUBE[:, 1:3, 1:3].T],
    "?1?": [CUBE.transpose(0, 2, 1)],
    "0?": [A[::2, ::2][:1]],
}  # fmt: skip


@pytest.mark.parametrize("order", VIEWS)
def test_order_of(order: str) -> None:
    assert [order_of(view) for view in VIEWS[order]] == [order] * len(VIEWS[order])


@pytest.mark.parametrize("rank", [1, 3, CODED_AXES])
def test_codes_are_all_different(rank: int) -> None:
    orders = ["".join(kinds) for kinds in product(KINDS, repeat=min(rank, 3))]
    orders = [order[0] * (rank - len(order)) + order for order in orders]
    codes = [order_code(order) for order in orders]
    assert len({C_CODE, FORTRAN_CODE, *codes}) == len(orders) + 2
    assert all(0 <= code < 2**64 for code in codes)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_native_check_agrees(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each order is compiled for once, and its arrays then never come to the slow path."""
    x = tensor.tensor("float64", (None,) * rank)
    f = jg.function([x], x * 2)
    views = [v for order in VIEWS for v in VIEWS[order] if v.ndim == rank]
    views += [v[..., ::3] for v in views] + [v[::-1] for v in views]
    for view in views:
        np.testing.assert_array_equal(f(view), view * 2)
    kinds = {(order_of(v), tuple(n == 1 for n in v.shape)) for v in views} | {
        ("C", (False,) * rank)
    }
    assert len(f._state.variants) == len(kinds)

    def never(*_: Any) -> None:
        pytest.fail("a call with a known layout came to the slow path")

    monkeypatch.setattr(compiled, "by_input", never)
    for view in views:
        np.testing.assert_array_equal(f(view), view * 2)


def test_many_axes() -> None:
    """A code tells of 32 axes only."""
    wide = np.ones((1,) * 40 + (2, 6))[..., ::2]
    assert order_of(wide) == "0" * 32 + "?" * 10
