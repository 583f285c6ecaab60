"""Footprints against counting addresses one by one."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from jitgraph.profiling.footprint import Region, footprint, region

ITEM = 8


def addresses(offset: int, strides: list[int], extents: list[int]) -> set[int]:
    return {
        offset + sum(i * s for i, s in zip(index, strides, strict=True))
        for index in itertools.product(*map(range, extents))
    }


def bytes_of(parts: list[Region | None]) -> int:
    return footprint([p for p in parts if p is not None], ITEM)


@given(st.integers(0, 9), st.lists(st.tuples(st.sampled_from([-24, -8, 0, 8, 16, 40, 200]),
                                             st.integers(0, 6)), max_size=3))  # fmt: skip
def test_one_access_is_between_its_addresses_and_its_hull(
    start: int, loops: list[tuple[int, int]]
) -> None:
    strides, extents = [s for s, _ in loops], [n for _, n in loops]
    seen = addresses(ITEM * start, strides, extents)
    found = bytes_of([region(ITEM * start, strides, extents)])
    hull = max(seen) - min(seen) + ITEM if seen else 0
    assert ITEM * len(seen) <= found <= max(hull, 0)


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_slices_of_an_array_are_exact(rows: int, columns: int, data: st.DataObject) -> None:
    """Unions of rectangles inside one array, as a stencil reads them, also transposed and
    backwards."""
    seen: set[int] = set()
    parts = []
    row = ITEM * columns
    for _ in range(data.draw(st.integers(1, 4))):
        top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
        height = data.draw(st.integers(1, rows - top))
        width = data.draw(st.integers(1, columns - left))
        offset, strides, extents = top * row + left * ITEM, [row, ITEM], [height, width]
        if data.draw(st.booleans()):
            offset, strides[0] = offset + row * (height - 1), -row
        if data.draw(st.booleans()):
            strides, extents = strides[::-1], extents[::-1]
        seen |= addresses(offset, strides, extents)
        parts.append(region(offset, strides, extents))
    found = bytes_of(parts)
    assert ITEM * len(seen) <= found <= ITEM * rows * columns
    if len(parts) == 1:
        assert found == ITEM * len(seen)


def test_a_five_point_stencil_reads_all_but_the_corners() -> None:
    n, m = 7, 9
    row = ITEM * m
    shifts = [(0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]
    parts = [region(row * i + ITEM * j, [row, ITEM], [n - 2, m - 2]) for i, j in shifts]
    assert bytes_of(parts) == ITEM * (n * m - 4)


def test_a_sliding_window_reads_each_element_once() -> None:
    assert bytes_of([region(0, [ITEM, ITEM], [100, 5])]) == ITEM * 104


def test_interleaved_halves_make_a_whole() -> None:
    halves = [region(k * ITEM, [2 * ITEM], [50]) for k in (0, 1)]
    assert bytes_of(halves) == ITEM * 100
    assert bytes_of(halves[:1]) == ITEM * 50


def test_nothing_is_nothing() -> None:
    assert region(0, [8, 8], [0, 5]) is None
    assert footprint([], ITEM) == 0
    assert bytes_of([region(16, [], [])]) == ITEM
