"""`x[key]` means what NumPy means by it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, JitgraphError, OutOfBoundsError, ShapeError
from tests.tensor.helpers import assert_same, evaluate

KINDS = ("slice", "slice", "int", "new", "bool", "array", "mask", "end")
SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple)


@st.composite
def keys(draw, shape):
    """A key for an array of this shape; most of its indices lie inside."""
    entries, axis = [], 0
    arrays = draw(st.sampled_from([(), (3,), (2, 3), (1,), (2, 1)]))
    while axis < len(shape):
        n = shape[axis]
        kind = draw(st.sampled_from(KINDS))
        if kind in ("new", "bool"):
            entries.append(None if kind == "new" else draw(st.booleans()))
            continue
        if kind == "end":
            if draw(st.booleans()):
                entries.append(Ellipsis)
            break
        if kind == "mask" and n:
            entries.append(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))))
        elif kind == "int" and n:
            entries.append(draw(st.integers(-n, n - 1)))
        elif kind == "array" and n:
            index = st.integers(-n, n - 1)
            flat = draw(st.lists(index, min_size=int(np.prod(arrays)),
                                 max_size=int(np.prod(arrays))))
            entries.append(np.array(flat, np.int64).reshape(arrays))
        else:
            bound = st.none() | st.integers(-7, 7)
            step = draw(st.sampled_from([None, 1, 2, 3, -1, -2, -3]))
            entries.append(slice(draw(bound), draw(bound), step))
        axis += 1
    return tuple(entries)


def numpy_result(array, key):
    try:
        return array[key]
    except IndexError:
        return None


def symbolic_key(key, givens, dtype):
    """The key with every number and integer array replaced by a variable."""
    def replaced(entry):
        if isinstance(entry, slice):
            return slice(replaced(entry.start), replaced(entry.stop), entry.step)
        if type(entry) is int or (isinstance(entry, np.ndarray) and entry.dtype != bool):
            array = np.asarray(entry)
            variable = T.tensor(dtype, (None,) * array.ndim)
            givens[variable] = array
            return variable
        return entry

    return tuple(map(replaced, key))


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_key_of_known_and_unknown_shapes(data):
    shape = data.draw(SHAPES)
    key = data.draw(keys(shape))
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    want = numpy_result(array, key)
    known = T.tensor("float64", shape, "x")
    unknown = T.tensor("float64", (None,) * len(shape), "x")
    for x, symbolic in ((known, False), (unknown, False), (known, True), (unknown, True)):
        givens = {x: array}
        if want is None:
            with pytest.raises(JitgraphError):
                evaluate(x[key], givens)
            continue
        made = x[symbolic_key(key, givens, "int64") if symbolic else key]
        assert_same(evaluate(made, givens), want)


WRITES = {"set": None, "add": np.add, "multiply": np.multiply, "max": np.maximum, "min": np.minimum}


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(list(WRITES)))
def test_writing_at_any_key(data, how):
    """`x.at[key].set(v)` is what `x[key] = v` makes of a copy, the others what `ufunc.at` does."""
    shape = data.draw(SHAPES)
    key = data.draw(keys(shape))
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    part = numpy_result(array, key)
    if part is None:
        return
    value = -1.5 - np.arange(part.size).reshape(part.shape) if data.draw(st.booleans()) else 2.5
    want = array.copy()
    if how == "set":
        want[key] = value
    else:
        WRITES[how].at(want, key, value)
    x = T.tensor("float64", shape if data.draw(st.booleans()) else (None,) * len(shape), "x")
    givens = {x: array}
    made = x.at[symbolic_key(key, givens, "int64") if data.draw(st.booleans()) else key]
    assert_same(evaluate(getattr(made, how)(value), givens), want)
    if how == "set":
        assert_same(evaluate(T.set_subtensor(x[key], value), {x: array}), want)


def test_more_ways_to_write():
    x, v, mask = T.dmatrix("x"), T.dvector("v"), T.tensor("bool", (None, None), "mask")
    array, row = np.arange(6.0).reshape(2, 3), np.array([4.0, 5, 6])
    truth = array > 2
    for made, want in (
        (x.at[0].subtract(v), array - [row, 0 * row]), (x.at[1].divide(2), array / [[1], [2]]),
        (x.at[:, 0].power(2), array ** [2, 1, 1]), (x.at[...].mul(2), array * 2),
        (x.at[0].apply(T.exp), np.where([[True], [False]], np.exp(array), array)),
        (x.at[1].get(), array[1]), (x.at[mask].set(7), np.where(truth, 7, array)),
        (x.at[(mask,)].add(1), array + truth), (x.at[v > 4.5].max(3), None),
        (T.inc_subtensor(x[:, 1:], v[1:]), array + row * [0, 1, 1]),
        (T.set_subtensor(x[:], 1), np.ones((2, 3))),
        (T.inc_subtensor(x[[0, 0]], 1), array + np.array([[2], [0]])),
        (T.put_along_axis(x, [[1], [0]], -1, 1), [[0, -1, 2], [-1, 4, 5]]),
        (T.put_along_axis(x, [5, 0], 9, None), [[9, 1, 2], [3, 4, 9]]),
        (x.at[0].set(np.ones((1, 3), np.int8)), [[1, 1, 1], [3, 4, 5]]),
    ):  # fmt: skip
        if want is not None:
            assert_same(evaluate(made, {x: array, v: row, mask: truth}), np.asarray(want, float),
                        1e-15)  # fmt: skip


def test_writes_that_are_refused():
    x, z = T.tensor("float64", (3, 4), "x"), T.tensor("complex128", (), "z")
    for write, error, words in (
        (lambda: x.at[3].set(1), OutOfBoundsError, "index 3 is out of bounds"),
        (lambda: x.at[0].set(np.ones(3)), ShapeError, "cannot broadcast"),
        (lambda: x.at[0].set(z), DTypeError, "cannot be written"),
        (lambda: x.__setitem__(0, 1), DTypeError, "cannot change"),
    ):
        with pytest.raises(error, match=words) as caught:
            write()
        assert "test_indexing.py" in str(caught.value)


def test_writes_are_checked_and_done_natively():
    x, i = T.dvector("x"), T.lvector("i")
    f = jg.function([x, i], [x.at[i].set(0), x.at[i].multiply(3), x.at[1:-1].set(x[::-1][1:-1])])
    array = np.arange(1.0, 6)
    for got, want in zip(f(array, [0, -1, 0]), ([0, 2, 3, 4, 0], [9, 2, 3, 4, 15], [1, 4, 3, 2, 5]),
                         strict=True):  # fmt: skip
        assert_same(got, np.array(want, float))
    with pytest.raises(OutOfBoundsError, match="index 5 is out of bounds"):
        f(array, [0, 5])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 6), st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9),
       st.sampled_from([1, 2, 3, -1, -2, -3]))  # fmt: skip
@example(0, None, None, -1)
@example(5, 1 << 70, -(1 << 70), -1)
def test_slices_clamp_as_numpy_does(n, start, stop, step):
    array = np.arange(n)
    x = T.lvector("x")
    assert_same(evaluate(x[start:stop:step], {x: array}), array[start:stop:step])
    if max(abs(start or 0), abs(stop or 0)) < 1 << 62:
        givens = {x: array}
        (key,) = symbolic_key((slice(start, stop, step),), givens, "int32")
        assert_same(evaluate(x[key], givens), array[start:stop:step])


def test_minibatch_with_a_short_last_slice():
    x, i = T.matrix("x"), T.lscalar("i")
    array = np.arange(26.0).reshape(13, 2)
    for start in (0, 10, 13, 20, -3):
        assert_same(evaluate(x[i : i + 5, :], {x: array, i: start}), array[start : start + 5])


def test_one_row_per_label():
    p, y = T.matrix("p"), T.ivector("y")
    array, labels = np.arange(12.0).reshape(4, 3), np.array([2, 0, -1, 1], np.int32)
    made = p[T.arange(y.shape[0]), y]
    assert made.ndim == 1
    assert_same(evaluate(made, {p: array, y: labels}), array[np.arange(4), labels])


@pytest.mark.parametrize("key", [
    np.int8(1), np.uint8(2), np.array(1), [0, 2], [[0, 1], [2, 0]], (), [], ([],),
    (slice(None), [True, False, True, False]), (np.array([2, 0], np.uint8), slice(1, None)),
    np.array([True, False, True]), (0, slice(None)), ([0, 1], None, [1, 2]),
    np.arange(12).reshape(3, 4) % 2 == 0, (Ellipsis, None), (None, Ellipsis, 0),
], ids=str)  # fmt: skip
def test_what_numpy_takes(key):
    array = np.arange(12.0).reshape(3, 4)
    for shape in ((3, 4), (None, None)):
        x = T.tensor("float64", shape)
        assert_same(evaluate(x[key], {x: array}), array[key])


def test_lists_of_variables_and_constants():
    x, i, j = T.vector("x"), T.lscalar("i"), T.iscalar("j")
    array = np.arange(5.0)
    assert_same(evaluate(x[[i, j, -1]], {x: array, i: 3, j: -2}), array[[3, -2, -1]])
    assert x[T.constant(2) : T.constant(np.int8(4))].ndim == 1
    assert T.vector(shape=(5,))[T.constant(-1)].is_op("squeeze")


def test_known_positions_need_no_check():
    x = T.tensor("float64", (3, 4))
    made = x[1, -1]
    assert made.op.name == "squeeze"
    assert made.op.args[0].op.attrs["starts"] == (1, 3)


def test_whole_slices_cost_nothing():
    x = T.matrix("x")
    assert x[:] is x
    assert x[:, :] is x
    assert x[...] is x
    assert T.vector(shape=(4,))[0:9].op is None


def test_unsigned_indices_are_not_wrapped():
    x, i = T.vector("x"), T.tensor("uint8", (None,))
    assert_same(evaluate(x[i], {x: np.arange(300.0), i: [255, 0]}), [255.0, 0.0])


def test_out_of_range_at_the_call():
    x, i = T.vector("x"), T.lscalar("i")
    for bad in (3, -4):
        with pytest.raises(OutOfBoundsError, match=f"index {bad} is out of bounds"):
            evaluate(x[i], {x: np.arange(3.0), i: bad})
    with pytest.raises(OutOfBoundsError):
        evaluate(x[3], {x: np.arange(3.0)})
    with pytest.raises(OutOfBoundsError):
        evaluate(x[[0, -4]], {x: np.arange(3.0)})


def test_mask_of_the_wrong_length_at_the_call():
    x = T.vector("x")
    with pytest.raises(ShapeError):
        evaluate(x[np.array([True, False])], {x: np.arange(3.0)})


@pytest.mark.parametrize(("key", "error", "words"), [
    (3, OutOfBoundsError, "index 3 is out of bounds for axis 0 with size 3"),
    (-4, OutOfBoundsError, "index -4 is out of bounds"),
    ((0, [1, 4]), OutOfBoundsError, "index 4 is out of bounds for axis 1 with size 4"),
    ((0, 0, 0), OutOfBoundsError, "too many indices: 3"),
    ((..., ...), OutOfBoundsError, "only one Ellipsis"),
    (np.array([True, False]), OutOfBoundsError, "mask of extent 2"),
    (1.5, DTypeError, "must be an integer, not f64"),
    ("a", DTypeError, "'a' is not an array"),
    (T.scalar("s"), DTypeError, "must be an integer, not f64"),
    (slice(None, None, 0), ShapeError, "step cannot be 0"),
    (slice(0.5, None), DTypeError, "a slice bound must be an integer"),
    (slice(T.vector(), None), DTypeError, "a slice bound must be an integer scalar"),
], ids=str)  # fmt: skip
def test_refused_keys(key, error, words):
    x = T.tensor("float64", (3, 4), "x")
    with pytest.raises(error, match=words) as caught:
        x[key]
    assert "test_indexing.py" in str(caught.value)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_take(axis):
    array = np.arange(12.0).reshape(3, 4)
    x, i = T.matrix("x"), T.lmatrix("i")
    index = np.array([[0, 2], [-1, 1]])
    assert_same(evaluate(x.take(i, axis), {x: array, i: index}), array.take(index, axis))
