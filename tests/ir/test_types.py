"""Types: text, dimensions, broadcasting, axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.types import (
    DTYPES,
    Dim,
    Extent,
    Type,
    as_dtype,
    broadcast_dim,
    broadcast_shapes,
    normalise_axes,
    normalise_axis,
    parse_type,
    type_of,
)

N, M, N_NOT_ONE = Extent("n"), Extent("m"), Extent("n", not_one=True)
DIMS = st.none() | st.integers(0, 9) | st.sampled_from([N, M, N_NOT_ONE, Extent("a.b_1")])
TYPES = st.builds(Type, st.sampled_from(list(DTYPES.values())), st.lists(DIMS).map(tuple))


@given(TYPES)
def test_types_come_back_from_their_text(type_: Type) -> None:
    assert parse_type(str(type_)) == type_
    assert hash(parse_type(str(type_))) == hash(type_)


@pytest.mark.parametrize("text", ["f64[]", "bool[?]", "i8[n, 3]", "c64[n!, ?, 0]"])
def test_types_read_as_they_print(text: str) -> None:
    assert str(parse_type(text)) == text


@pytest.mark.parametrize("text", ["", "f64", "f64[", "f64[1,]", "f64[-1]", "f64[n m]", "f64[!]"])
def test_other_text_is_no_type(text: str) -> None:
    with pytest.raises(ShapeError):
        parse_type(text)


def test_unsupported_dtypes_are_refused() -> None:
    for unknown in ("object", "U3", "f12", "M8[s]", np.longdouble, "no dtype"):
        with pytest.raises(DTypeError):
            as_dtype(unknown)
    with pytest.raises(DTypeError):
        parse_type("f128[]")


def test_dtypes_are_native_and_have_short_names() -> None:
    assert as_dtype(">f8") == as_dtype("f64") == as_dtype(float) == np.dtype("f8")
    assert as_dtype("i8") == np.int8  # ours, not NumPy's eight bytes


def test_type_of_arrays() -> None:
    assert str(type_of(np.zeros((2, 0), np.float32))) == "f32[2, 0]"
    assert str(type_of(np.int16(3))) == "i16[]"


@given(TYPES)
def test_a_type_accepts_itself_and_unknown_extents_accept_it(type_: Type) -> None:
    assert type_.accepts(type_)
    assert type_.with_shape([None] * type_.rank).accepts(type_)


def sizes_of(dim: Dim, n: int, m: int, unknown: int) -> int | None:
    """The number a dimension stands for, or None where it cannot be."""
    if isinstance(dim, Extent):
        size = n if dim.name == "n" else m
        return None if dim.not_one and size == 1 else size
    return unknown if dim is None else dim


def test_what_is_known_of_a_broadcast_holds_for_every_number() -> None:
    dims: list[Dim] = [0, 1, 2, 3, None, N, M, N_NOT_ONE]
    numbers = (0, 1, 2, 3)
    for a, b in itertools.product(dims, repeat=2):
        known = broadcast_dim(a, b)
        possible = False
        for n, m, u, v in itertools.product(numbers, repeat=4):
            size_a, size_b = sizes_of(a, n, m, u), sizes_of(b, n, m, v)
            if size_a is None or size_b is None or not (size_a == size_b or 1 in (size_a, size_b)):
                continue
            possible = True
            assert not isinstance(known, ShapeError), (a, b)
            size = size_b if size_a == 1 else size_a
            assert known is None or sizes_of(known, n, m, size) == size, (a, b, known)
        assert possible != isinstance(known, ShapeError), (a, b)


def test_broadcasting_shapes() -> None:
    assert broadcast_shapes([]) == ()
    assert broadcast_shapes([(3, 1), (N,)]) == (3, N)
    assert broadcast_shapes([(N, 3), (N, 1), ()]) == (N, 3)
    assert broadcast_shapes([(N,), (M,)]) == (None,)
    with pytest.raises(ShapeError, match="dimension 1: 2 is not 3 and neither is 1"):
        broadcast_shapes([(4, 2), (3,)])


def test_axes() -> None:
    assert normalise_axis(-1, 3) == 2
    assert normalise_axis(np.int8(1), 3) == 1
    assert normalise_axes(None, 2) == (0, 1)
    assert normalise_axes((-1, 0), 3) == (0, 2)
    assert normalise_axes((), 3) == ()
    with pytest.raises(ShapeError, match="axis 3 is out of bounds for 3 dimensions"):
        normalise_axis(3, 3)
    with pytest.raises(ShapeError, match="twice"):
        normalise_axes((0, -3), 3)
    with pytest.raises(DTypeError, match="must be an integer"):
        normalise_axis(1.0, 3)
