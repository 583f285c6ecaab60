"""How many bytes of a buffer affine accesses touch, each counted once.

An access is a set of boxes' corners: an offset and, by dimension, a stride and an extent. Accesses
to one buffer mostly have the same strides and are shifted against each other (slices, stencils), so
they are boxes in one grid, whose union is counted exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Grids of more cells are not counted: the sum of the boxes then stands for their union.
_MOST_CELLS = 1_000_000

_Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Region:
    """The elements at offset + i0 * stride0 + i1 * stride1 + ..., in bytes. `dims` are (stride,
    extent), the greatest stride first; strides are above 0 and differ, extents are above 1."""

    offset: int
    dims: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        """The offset of the last element."""
        return self.offset + sum(stride * (extent - 1) for stride, extent in self.dims)


def region(offset: int, strides: Sequence[int], extents: Sequence[int]) -> Region | None:
    """What an access touches: a byte stride and an extent per loop. None for nothing at all."""
    if 0 in extents:
        return None
    offset += sum(s * (n - 1) for s, n in zip(strides, extents, strict=True) if s < 0)
    pairs = sorted((abs(s), n) for s, n in zip(strides, extents, strict=True) if s and n > 1)
    dims: list[tuple[int, int]] = []
    for stride, extent in pairs:
        if dims:
            inner, count = dims[-1]
            factor = stride // inner
            if stride % inner == 0 and factor < count:  # overlapping, as in sliding windows
                dims[-1] = inner, factor * (extent - 1) + count
                continue
        dims.append((stride, extent))
    return Region(offset, tuple(reversed(dims)))


def footprint(regions: Sequence[Region], itemsize: int) -> int:
    """The bytes in the union of the regions."""
    if not regions:
        return 0
    origin = min(r.offset for r in regions)
    hull = max(r.end for r in regions) + itemsize - origin
    basis = sorted({stride for r in regions for stride, _ in r.dims}, reverse=True)
    boxes = list(dict.fromkeys(_box(r, origin, basis) for r in regions))
    return min(_union(boxes) * itemsize, hull)


def _box(region: Region, origin: int, basis: Sequence[int]) -> _Box:
    """The region in the grid of the strides `basis`: per stride, and for what is left, from where
    to where."""
    extents = dict(region.dims)
    rest = region.offset - origin
    spans = []
    for stride in basis:
        at = (rest + stride // 2) // stride  # the nearest: a slice may begin left of the origin
        rest -= at * stride
        spans.append((at, at + extents.get(stride, 1)))
    return (*spans, (rest, rest + 1))


def _union(boxes: Sequence[_Box]) -> int:
    """The number of points in any of the boxes."""
    volumes = [math.prod(end - start for start, end in box) for box in boxes]
    cuts = [sorted({edge for span in spans for edge in span})
            for spans in zip(*boxes, strict=True)]  # fmt: skip
    shape = [len(c) - 1 for c in cuts]
    if len(boxes) == 1 or math.prod(shape) > _MOST_CELLS:
        return sum(volumes)
    inside = np.zeros(shape, bool)
    for box in boxes:
        inside[tuple(slice(c.index(start), c.index(end))
                     for c, (start, end) in zip(cuts, box, strict=True))] = True  # fmt: skip
    counted = inside.astype(np.int64)
    for edges in reversed(cuts):
        counted = counted @ np.diff(edges)
    return int(counted)
