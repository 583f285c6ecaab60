"""One small test per bug that reached somebody: what went wrong is in its docstring."""

from __future__ import annotations

import copy
import gc

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import ShapeError


@pytest.mark.parametrize(
    ("elements", "rows", "columns"),
    [(4, 2**62 + 1, 4), (0, 2**32, 2**32)],
)
def test_reshape_to_sizes_whose_product_wraps(elements: int, rows: int, columns: int) -> None:
    """The product of the new extents was compared as i64, where it wraps around to the right
    number; reading the result crashed the process."""
    x, (a, b) = T.dvector("x"), T.lscalars("a", "b")
    f = jg.function([x, a, b], x.reshape((a, b))[5].sum())
    with pytest.raises(ShapeError, match="the sizes differ"):
        f(np.zeros(elements), rows, columns)


def test_extents_are_checked_before_kernels_rely_on_them() -> None:
    """The product makes k and y's extent one, so the argmax ran over y's extent; that the two are
    equal was checked only after the index check, which needs the argmax. It read far outside m."""
    v, w, (m, y) = T.lvector("v"), T.dvector("w"), T.dmatrices("m", "y")
    head = m[: v.max()]
    f = jg.function([v, m, y, w], [w[T.argmax(T.exp(head), axis=1)], T.dot(head.T, y)])
    arrays = np.ones((5, 3)), np.broadcast_to(np.ones(2), (10**6, 2)), np.arange(3.0)
    with pytest.raises(ShapeError, match="inner dimensions 3 and 1000000 differ"):
        f([1, 3], *arrays)


def test_parameters_named_like_generated_names() -> None:
    """An input named "arg1" and a nameless second one shared the names of their extents, so that
    calls with different lengths were refused by every variant (InternalError)."""
    x, y = T.dvector("arg1"), T.dvector()
    named = T.vector("y", dtype="float64", shape=("arg1.0",))
    for other in (y, named):
        a, b = jg.function([x, other], [x.sum(), other.sum()])(np.ones(3), np.ones(4))
        assert (a, b) == (3, 4)


def test_temporary_of_no_rows_and_late_columns() -> None:
    """The size of a temporary is 0 whatever its late extent, which the prologue asked for all the
    same before it was computed (InternalError while compiling)."""
    v, m = T.lvector("v"), T.dmatrix("m")
    wide = T.exp(T.ones((4, v.sum())) * m[0, 0])
    f = jg.function([v, m], T.dot(T.dot(T.exp(m[:0, :4]), wide), wide.T))
    assert f([1, 2], np.ones((3, 4))).shape == (0, 4)


def test_late_temporary_of_a_size_known_early() -> None:
    """A reshape makes a late product of extents equal to an early one, so the size of a temporary
    was early and its factors late: the prologue asked for them too soon (InternalError)."""
    v, u, m = T.lvector("v"), T.lvector("u"), T.dmatrix("m")
    n = u.shape[0] * 2
    a, b = T.exp(T.arange(n) * 1.0), T.exp(m[: v.max()].T).reshape((n,))
    f = jg.function([v, u, m], [T.dot(a, b), (a + b).max()])
    found = f([1, 2], [1] * 4, np.zeros((5, 4)))
    np.testing.assert_allclose(found, [np.exp(np.arange(8.0)).sum(), np.exp(7.0) + 1])


@pytest.mark.parametrize("step", [2**63 - 1, -(2**63), 2**70])
def test_slices_by_enormous_steps(step: int) -> None:
    """Rounding the number of elements up overflowed, and what does not fit an i64 was refused."""
    x, values = T.dvector("x"), np.arange(5.0)
    np.testing.assert_array_equal(jg.function([x], x[::step])(values), values[::step])


def test_copies_of_shared_variables_have_cells_of_their_own() -> None:
    """A deep copy kept the address of the original's cells: functions of the copy read and updated
    the original, and memory already freed once that was gone."""
    original = jg.shared(np.arange(3.0))
    other = copy.deepcopy(original)
    step = jg.function([], updates=[(other, other + 1)])
    step()
    np.testing.assert_array_equal(original.get_value(), [0, 1, 2])
    del original
    gc.collect()
    step()
    np.testing.assert_array_equal(other.get_value(), [2, 3, 4])


def test_accumulators_of_row_nests_whose_shared_loops_collapse() -> None:
    """The accumulator was filled by loops over two axes inside one loop over both: most of it was
    left as it was found in memory."""
    x = T.dtensor4("x")
    top = x.max(axis=-2)
    values = np.random.default_rng(0).standard_normal((2, 3, 9, 33))
    found, apart = jg.function([x], [top, x - T.expand_dims(top, -2)])(values)
    np.testing.assert_array_equal(found, values.max(axis=-2))
    np.testing.assert_array_equal(apart, values - values.max(axis=-2, keepdims=True))


def test_argmax_over_a_short_axis_that_is_not_the_last() -> None:
    """Its positions became an array constant while kernels were made, which kernels took for a
    number (TypeError while compiling)."""
    x, n = T.dtensor4("x"), 2
    fn = jg.function([x], T.broadcast_to(x, (2, 3, n, 3)).argmax(axis=2))
    values = np.arange(9.0).reshape(1, 3, 1, 3)
    np.testing.assert_array_equal(fn(values), np.zeros((2, 3, 3)))
    values = np.random.default_rng(0).standard_normal((2, 3, n, 3))
    np.testing.assert_array_equal(fn(values), values.argmax(axis=2))
