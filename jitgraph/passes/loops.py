"""Rewrites of loop nests: their order, nests merged into one, adjacent loops into one.

    for i: a[i] = f(x[i])         for i: a = f(x[i])
    for i: b[i] = g(a[i])   =>           b[i] = g(a)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Protocol

import numpy as np

from jitgraph.ir.kernel import (
    Access,
    Buffer,
    Check,
    Fetch,
    Kernel,
    Let,
    Load,
    Product,
    Rows,
    Source,
    Step,
    Store,
    Zero,
    same_size,
)
from jitgraph.ir.opdef import Shape, Size, apply_op, constant
from jitgraph.ir.ops.reduction import neutral
from jitgraph.ir.types import I64, Type
from jitgraph.ir.values import Value, topological
from jitgraph.passes.fuse import LARGEST_BODY, is_scalar_code, op_weight
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
        return natural
    return [k for k in natural if k != best] + [best]


def _jumps(kernel: Kernel, iterator: int) -> int:
    """How many accesses leave the cache line at each step of the iterator."""
    extent = kernel.extents[iterator]
    if isinstance(extent, int) and extent <= 4 and not _walks_on(kernel, iterator):
        return len(kernel.loads) + len(kernel.stores) + 1
    count = 0
    for access in kernel.accesses():
        stride = access.strides[iterator]
        small = isinstance(stride, int) and abs(stride) <= access.buffer.dtype.itemsize
        count += not small
    return count


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
            replace(s, access=turned(s.access), reduced=frozenset(place[k] for k in s.reduced))
            for s in kernel.stores
        ),
    )


# --- merging -----------------------------------------------------------------------------------
def merge_kernels(steps: Sequence[Step], results: set[Buffer]) -> list[Step]:
    """Kernels over the same domain that share data become one; stores nobody reads disappear."""
    merged: list[Step] = []
    for step in steps:
        if isinstance(step, Kernel) and not step.sequential:
            found = _partner(merged, step)
            if found is not None:
                first = merged[found]
                assert isinstance(first, Kernel)
                merged[found] = _joined(first, step)
                continue
        merged.append(step)
    return _without_dead_stores(merged, results)


def _partner(steps: list[Step], kernel: Kernel) -> int | None:
    """The latest earlier kernel that `kernel` can join."""
    available = Availability(kernel)
    looked = 0
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        if isinstance(step, Kernel) and not step.sequential:
            looked += 1
            if looked > LOOK_BACK:
                return None
            if _same_domain(step, kernel) and _compatible(step, kernel, available):
                return at
        if not available.may_pass(step):
            return None
    return None


class Touching(Protocol):
    """Something that reads and writes buffers."""

    def reads(self) -> set[Buffer]: ...
    def writes(self) -> set[Buffer]: ...


class Availability:
    """Follows how far up a kernel may move: past steps that it does not depend on."""

    def __init__(self, kernel: Kernel) -> None:
        self.reads, self.writes = kernel.reads(), kernel.writes()
        self.fetched = taken_from_memory(kernel.scalars())

    def may_pass(self, step: Step | Touching) -> bool:
        if isinstance(step, Check):
            # Checks of what is known before all kernels are made before them. Any other may guard
            # the very memory this kernel reads.
            return all(v.op is None for v in taken_from_memory([step.condition]))
        if isinstance(step, Fetch):
            return step.value not in self.fetched
        assert not isinstance(step, Let)
        touched = step.reads() | step.writes()
        return not (step.writes() & self.reads) and not (touched & self.writes)


def taken_from_memory(scalars: Iterable[Value]) -> set[Value]:
    """The values that scalar code takes from memory."""
    found: set[Value] = set()
    seen: set[Value] = set()
    stack = list(scalars)
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.op is not None and is_scalar_code(value):
            if value.op.name not in ("dim", "stride"):
                stack += value.op.args
        else:
            found.add(value)
    return found


def _same_domain(first: Kernel, second: Kernel) -> bool:
    rank = len(first.extents)
    return rank == len(second.extents) and common_loops(first, second) == rank


def common_loops(first: Kernel, second: Kernel) -> int:
    """How many outermost loops of two kernels go over the same extents."""
    pairs = zip(first.extents, second.extents, strict=False)
    return sum(1 for _ in takewhile(lambda pair: same_size(*pair), pairs))


def _compatible(first: Kernel, second: Kernel, available: Availability) -> bool:
    """Whether one nest can run both bodies: what the second reads of the first's results, it reads
    at the same point; they share data; and the joint body stays small."""
    written = {s.access.buffer: s for s in first.stores}
    if any(source.view.buffer in written for source in second.sources):
        return False
    if (first.reads() | first.writes()) & available.writes:
        return False
    for load in second.loads:
        store = written.get(load.access.buffer)
        if store is not None and (
            store.combine is not None or store.indices or not store.access.same_as(load.access)
        ):
            return False
    if not second.reads() & (first.reads() | set(written)):
        return False
    buffers = first.reads() | first.writes() | second.reads() | second.writes()
    weight = sum(map(op_weight, (*first.body(), *second.body())))
    return len(buffers) <= MOST_BUFFERS and weight <= LARGEST_BODY


def _joined(first: Kernel, second: Kernel) -> Kernel:
    """One nest running the first body, then the second on the first's values."""
    replaced: dict[Value, Value] = dict(zip(second.iterators, first.iterators, strict=True))
    loads = list(first.loads)
    for load in second.loads:
        replaced[load.leaf] = _forwarded(first, load) or _shared_load(loads, load)
    sources = list(first.sources)
    for source in second.sources:
        replaced[source.handle] = _shared_source(sources, source)
    for value in second.body():
        op = value.op
        assert op is not None
        args = tuple(replaced.get(a, a) for a in op.args)
        replaced[value] = (
            value if args == op.args and not op.args
            else apply_op(op.definition, args, op.attrs, op.location)
        )  # fmt: skip
    stores = [*first.stores, *(_store_of(s, replaced) for s in second.stores)]
    return replace(
        first,
        loads=tuple(loads),
        sources=tuple(sources),
        stores=tuple(stores),
        captured=tuple(dict.fromkeys((*first.captured, *second.captured))),
        locations=tuple(dict.fromkeys((*first.locations, *second.locations))),
    )


def _forwarded(first: Kernel, load: Load) -> Value | None:
    for store in first.stores:
        if store.access.buffer is load.access.buffer:
            return store.value
    return None


def _shared_load(loads: list[Load], load: Load) -> Value:
    for known in loads:
        if known.access.same_as(load.access):
            return known.leaf
    loads.append(load)
    return load.leaf


def _shared_source(sources: list[Source], source: Source) -> Value:
    for known in sources:
        if known.view == source.view:
            return known.handle
    sources.append(source)
    return source.handle


def _store_of(store: Store, replaced: Mapping[Value, Value]) -> Store:
    def new(value: Value) -> Value:
        return replaced.get(value, value)

    return replace(
        store,
        value=new(store.value),
        indices=tuple((new(i), stride) for i, stride in store.indices),
    )


def _without_dead_stores(steps: list[Step], results: set[Buffer]) -> list[Step]:
    """Backwards, so that a kernel whose last reader vanished vanishes as well."""
    needed = set(results)
    kept: list[Step] = []
    for step in reversed(steps):
        if isinstance(step, Fetch):
            needed.add(step.buffer)
        elif isinstance(step, Kernel):
            stores = tuple(s for s in step.stores if s.access.buffer in needed)
            if not stores:
                continue
            step = _with_live_loads(replace(step, stores=stores))
            needed |= step.reads()
        elif isinstance(step, Product | Zero):
            if not step.writes() & needed:
                continue
            needed |= step.reads()
        kept.append(step)
    return kept[::-1]


def _with_live_loads(kernel: Kernel) -> Kernel:
    used = set(topological(kernel.roots(), stop=kernel.leaves()))
    return replace(
        kernel,
        loads=tuple(load for load in kernel.loads if load.leaf in used),
        sources=tuple(source for source in kernel.sources if source.handle in used),
        captured=tuple(v for v in kernel.captured if v in used),
    )


# --- collapsing --------------------------------------------------------------------------------
def collapse(step: Step, sizes: Sizes) -> Step:
    """Adjacent loops that walk memory as one: for i, j over x[i, j] => for k over x[k]."""
    if isinstance(step, Rows):
        kernels = [_collapse(k, sizes, step.depth) for k in step.kernels]
        depth = step.depth
        for outer in range(depth - 2, -1, -1):
            if all(_collapsible(k, outer, sizes, _body_uses(k)) for k in kernels):
                kernels = [_collapsed(k, outer, sizes) for k in kernels]
                depth -= 1
        return replace(step, depth=depth, kernels=tuple(kernels))
    return _collapse(step, sizes, 0) if isinstance(step, Kernel) else step


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
    if any((outer in s.reduced) != (inner in s.reduced) for s in kernel.stores):
        return False

    def walks_on(access: Access) -> bool:
        along: Size = sizes.mul(access.strides[inner], kernel.extents[inner])
        return same_size(access.strides[outer], along)

    return all(map(walks_on, kernel.accesses()))


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
                    reduced=frozenset(k - (k > outer) for k in s.reduced))
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
                        kernels.append(_start_cell(store, kernel, step, sizes))
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


def _start_cell(store: Store, kernel: Kernel, rows: Rows, sizes: Sizes) -> Kernel:
    """A kernel of a row nest that fills the part of the accumulator that belongs to one point."""
    buffer = store.access.buffer
    extents = tuple(e for e in buffer.extents if not same_size(e, 1))
    strides = sizes.row_major(extents, buffer.dtype.itemsize)
    if buffer in rows.locals:
        extents, strides = (*rows.shared, *extents), ((0,) * rows.depth + strides)
    return _fill(_neutral(store), extents, Access(buffer, 0, strides))


def _neutral(store: Store) -> np.generic:
    assert store.combine is not None
    dtype = store.access.buffer.dtype
    value: np.generic = dtype.type(neutral(store.combine, dtype))
    return value


def _fill(value: np.generic, extents: Shape, access: Access) -> Kernel:
    iterators = tuple(Value(Type(I64), name=f"i{k}") for k in range(len(extents)))
    return Kernel(extents, iterators, (), (), (Store(constant(value), access),))
