"""Rewrites of loop nests: their order, adjacent loops into one, accumulators started.

    for i, j over x[i, j]    =>    for k over x[k]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jitgraph.ir.kernel import (
    Access,
    Kernel,
    Rows,
    Step,
    Store,
    Zero,
)
from jitgraph.ir.opdef import Shape, Size, constant, same_size
from jitgraph.ir.ops.reduction import neutral
from jitgraph.ir.types import I64, Type
from jitgraph.ir.values import Value
from jitgraph.passes.nest import Sizes

#: More streams than this at once, and the hardware prefetcher loses track.
MOST_BUFFERS = 16
#: How far back a kernel looks for one to join.
LOOK_BACK = 12


# --- loop order --------------------------------------------------------------------------------
def settle(kernel: Kernel) -> Kernel:
    """The kernel with its loops in the order that reads memory best, and each reduction told
    whether its reduced loops are the innermost ones, so that it can combine in a register.

    A loop that only the call knows to be reduced, by a stride that may be zero, combines in memory.
    """
    kernel = _permuted(kernel, _order(kernel))
    rank = len(kernel.extents)
    stores = []
    for store in kernel.stores:
        inner = frozenset(range(rank - len(store.reduced), rank))
        register = store.combine is not None and not store.indices and store.reduced == inner
        register = register and all(_is_zero(store.access.strides[k]) for k in inner)
        stores.append(replace(store, in_register=register))
    return replace(kernel, stores=tuple(stores))


def _is_zero(stride: Size) -> bool:
    return isinstance(stride, int) and stride == 0


def _order(kernel: Kernel) -> list[int]:
    rank = len(kernel.extents)
    natural = list(range(rank))
    if rank < 2 or kernel.sequential:
        return natural
    jumps = [_jumps(kernel, k) for k in natural]
    best = min(natural, key=lambda k: (jumps[k], -k))
    if jumps[best] == jumps[-1]:
        best = natural[-1]
    outside = [k for k in natural if k != best]
    # A load that jumps along the innermost loop is read in tiles, if the next one suits it.
    crossed = max(outside, key=lambda k: (_crossing(kernel, k, best), k))
    if not any(s.combine for s in kernel.stores):
        outside.remove(crossed)
        outside.append(crossed)
    return [*outside, best]


def _jumps(kernel: Kernel, iterator: int) -> tuple[int, int]:
    """How many stores, and how many loads, leave the cache line at each step of the iterator. Loads
    that do can be read in tiles."""
    extent = kernel.extents[iterator]
    if isinstance(extent, int) and extent <= 4 and not _walks_on(kernel, iterator):
        return len(kernel.stores) + 1, 0
    stores = sum(not _stays_near(s.access, iterator) for s in kernel.stores)
    return stores, sum(not _stays_near(load.access, iterator) for load in kernel.loads)


def _crossing(kernel: Kernel, across: int, along: int) -> int:
    """How many loads go by neighbours along one iterator and jump along the other."""
    return sum(
        _stays_near(load.access, across) and not _is_zero(load.access.strides[across])
        and not _stays_near(load.access, along)
        for load in kernel.loads
    )  # fmt: skip


def _stays_near(access: Access, iterator: int) -> bool:
    stride = access.strides[iterator]
    return isinstance(stride, int) and abs(stride) <= access.buffer.dtype.itemsize


def _walks_on(kernel: Kernel, inner: int) -> bool:
    """Whether the loop outside walks memory on where this one ends: the two are one long loop."""
    return inner > 0 and all(
        isinstance(a.strides[inner - 1], int)
        and a.strides[inner - 1] == a.strides[inner] * kernel.extents[inner]
        for a in kernel.accesses()
    )


def _permuted(kernel: Kernel, order: Sequence[int]) -> Kernel:
    if list(order) == list(range(len(order))):
        return kernel
    place = {old: new for new, old in enumerate(order)}

    def turned(access: Access) -> Access:
        return replace(access, strides=tuple(access.strides[k] for k in order))

    return replace(
        kernel,
        extents=tuple(kernel.extents[k] for k in order),
        iterators=tuple(kernel.iterators[k] for k in order),
        loads=tuple(replace(load, access=turned(load.access)) for load in kernel.loads),
        stores=tuple(
            replace(
                s,
                access=turned(s.access),
                reduced=frozenset(place[k] for k in s.reduced),
                places=None if s.places is None else tuple(s.places[k] for k in order),
            )
            for s in kernel.stores
        ),
    )


# --- collapsing --------------------------------------------------------------------------------
def collapse(step: Step, sizes: Sizes) -> Step:
    """Adjacent loops that walk memory as one: for i, j over x[i, j] => for k over x[k]."""
    if isinstance(step, Rows):
        kernels = list(collapse_inside(step, sizes).kernels)
        depth = step.depth
        for outer in range(depth - 2, -1, -1):
            if all(_collapsible(k, outer, sizes, _body_uses(k)) for k in kernels):
                kernels = [_collapsed(k, outer, sizes) for k in kernels]
                depth -= 1
        return replace(step, depth=depth, kernels=tuple(kernels))
    return _collapse(step, sizes, 0) if isinstance(step, Kernel) else step


def collapse_inside(rows: Rows, sizes: Sizes) -> Rows:
    """The same for the loops of each kernel alone."""
    kernels = tuple(_collapse(k, sizes, rows.depth) for k in rows.kernels)
    return replace(rows, kernels=kernels)


def _collapse(kernel: Kernel, sizes: Sizes, depth: int) -> Kernel:
    """The kernel with its loops from `depth` inwards collapsed."""
    used = _body_uses(kernel)
    for outer in range(len(kernel.extents) - 2, depth - 1, -1):
        if _collapsible(kernel, outer, sizes, used):
            kernel = _collapsed(kernel, outer, sizes)
    return kernel


def _body_uses(kernel: Kernel) -> set[Value]:
    return {a for v in kernel.body() if v.op is not None for a in v.op.args} | set(kernel.roots())


def _collapsible(kernel: Kernel, outer: int, sizes: Sizes, used: set[Value]) -> bool:
    inner = outer + 1
    if kernel.iterators[outer] in used or kernel.iterators[inner] in used:
        return False
    if any(s.running in (outer, inner) for s in kernel.stores):
        return False
    if any((outer in s.reduced) != (inner in s.reduced) for s in kernel.stores):
        return False

    def walks_on(strides: tuple[Size, ...]) -> bool:
        return same_size(strides[outer], sizes.mul(strides[inner], kernel.extents[inner]))

    walks = [access.strides for access in kernel.accesses()]
    walks += [s.places for s in kernel.stores if s.places is not None]
    return all(map(walks_on, walks))


def _collapsed(kernel: Kernel, outer: int, sizes: Sizes) -> Kernel:
    inner = outer + 1
    total = sizes.mul(kernel.extents[outer], kernel.extents[inner])

    def without(items: tuple[Size, ...]) -> tuple[Size, ...]:
        return items[:outer] + items[inner:]

    def flat(access: Access) -> Access:
        return replace(access, strides=without(access.strides))

    return replace(
        kernel,
        extents=(*kernel.extents[:outer], total, *kernel.extents[inner + 1 :]),
        iterators=kernel.iterators[:outer] + kernel.iterators[inner:],
        loads=tuple(replace(load, access=flat(load.access)) for load in kernel.loads),
        stores=tuple(
            replace(s, access=flat(s.access),
                    reduced=frozenset(k - (k > outer) for k in s.reduced),
                    places=None if s.places is None else without(s.places),
                    running=None if s.running is None else s.running - (s.running > outer))
            for s in kernel.stores
        ),
    )  # fmt: skip


# --- accumulators ------------------------------------------------------------------------------
def start_accumulators(steps: Sequence[Step], sizes: Sizes) -> list[Step]:
    """What a reduction combines in memory starts from the element that changes nothing:
    for i, j: y[j] += x[i, j]    =>    zero y; for i, j: y[j] += x[i, j]"""
    started: list[Step] = []
    for step in steps:
        if isinstance(step, Kernel) and not step.sequential:
            started += (_start(s, sizes) for s in _in_memory(step))
        elif isinstance(step, Rows):
            kernels: list[Kernel] = []
            for kernel in step.kernels:
                for store in _in_memory(kernel):
                    if store.access.buffer in step.totals:
                        started.append(_start(store, sizes))
                    else:
                        kernels.append(_start_cell(store, kernel, step))
                kernels.append(kernel)
            step = replace(step, kernels=tuple(kernels))
        started.append(step)
    return started


def _in_memory(kernel: Kernel) -> list[Store]:
    return [s for s in kernel.stores if s.combine is not None and not s.in_register]


def _start(store: Store, sizes: Sizes) -> Step:
    buffer = store.access.buffer
    value = _neutral(store)
    if not any(np.asarray(value).tobytes()):
        return Zero(buffer)
    strides = sizes.row_major(buffer.extents, buffer.dtype.itemsize)
    return _fill(value, buffer.extents, Access(buffer, 0, strides))


def _start_cell(store: Store, kernel: Kernel, rows: Rows) -> Kernel:
    """A kernel of a row nest that fills the part of the accumulator that belongs to one point."""
    strides = store.access.strides
    kept = [k for k, s in enumerate(strides) if k < rows.depth or not _is_zero(s)]
    access = replace(store.access, strides=tuple(strides[k] for k in kept))
    return _fill(_neutral(store), tuple(kernel.extents[k] for k in kept), access)


def _neutral(store: Store) -> np.generic:
    assert store.combine is not None
    if store.places is not None:
        return np.int64(0)
    dtype = store.access.buffer.dtype
    value: np.generic = dtype.type(neutral(store.combine, dtype))
    return value


def _fill(value: np.generic, extents: Shape, access: Access) -> Kernel:
    iterators = tuple(Value(Type(I64), name=f"i{k}") for k in range(len(extents)))
    return Kernel(extents, iterators, (), (), (Store(constant(value), access),))
