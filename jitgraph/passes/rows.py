"""Kernels over the same outer loops in one step, which takes memory once for all of them.

    for i, j: t0[i] max= x[i, j]                  for i:
    for i, j: t1[i, j] = exp(x[i, j] - t0[i])         for j: t0 max= x[i, j]
    for i, j: t2[i] += t1[i, j]             =>        for j: t1[j] = exp(x[i, j] - t0)
    for i, j: y[i, j] = t1[i, j] / t2[i]              for j: t2 += t1[j]
                                                      for j: y[i, j] = t1[j] / t2

Kernels may share their outer loops as far as what one writes and another reads lies in one *cell*:
the part of a buffer that belongs to a point of these loops. The strides of the outer loops tell:
an access that moves by one cell from each point to the next, and is within the buffer at the first
and at the last, is within its own cell at all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from jitgraph.ir.kernel import (
    ELEMENT,
    Access,
    Buffer,
    Check,
    Fetch,
    Kernel,
    Let,
    Load,
    Rows,
    Step,
    Store,
)
from jitgraph.ir.opdef import Shape, Size, same_size
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value
from jitgraph.passes.merge import Availability, common_loops
from jitgraph.passes.nest import Sizes

#: A loop over fewer elements than this costs more than the memory it saves.
SMALLEST_ROW = 8
#: How many steps a kernel looks back for others to run with.
REACH = 16
#: More kernels than this in one function compile slowly.
MOST_KERNELS = 24
#: A cell of more bytes than this falls out of the cache before it is read again.
LARGEST_CELL = 1 << 20


def group_rows(steps: Sequence[Step], sizes: Sizes) -> list[Step]:
    """The steps with kernels grouped where that saves passes over memory."""
    grouped: list[Step | _Group] = []
    for step in steps:
        if not isinstance(step, Kernel) or step.sequential:
            grouped.append(step)
            continue
        # What a kernel joins may now have a reason to join something earlier.
        at, group = len(grouped), _Group((step,), len(step.extents))
        while (found := _partner(grouped[max(at - REACH, 0) : at], group, sizes)) is not None:
            distance, depth = found
            if at < len(grouped):
                del grouped[at]
            at -= distance
            first = grouped[at]
            assert isinstance(first, _Group)
            group = grouped[at] = _Group((*first.kernels, *group.kernels), depth)
        if at == len(grouped):
            grouped.append(group)
    return _Finish(grouped, sizes).run()


class _Group:
    """Kernels that share `depth` loops, and what they touch."""

    def __init__(self, kernels: tuple[Kernel, ...], depth: int) -> None:
        self.kernels = kernels
        self.depth = depth
        self.touched: dict[Buffer, list[Kernel]] = {}
        self.written: set[Buffer] = set()
        for kernel in kernels:
            for buffer in kernel.reads() | kernel.writes():
                self.touched.setdefault(buffer, []).append(kernel)
            self.written |= kernel.writes()

    def scalars(self) -> list[Value]:
        return [s for k in self.kernels for s in k.scalars()]

    def reads(self) -> set[Buffer]:
        return set(self.touched)

    def writes(self) -> set[Buffer]:
        return self.written


# --- who joins whom ----------------------------------------------------------------------------
def _partner(
    steps: Sequence[Step | _Group], group: _Group, sizes: Sizes
) -> tuple[int, int] | None:
    """The latest earlier group that `group` can join, how far up that is, and how many loops they
    then share."""
    available = Availability(group)
    for distance, step in enumerate(reversed(steps), 1):
        if isinstance(step, _Group):
            depth = _joint_depth(step, group, sizes)
            if depth:
                return distance, depth
        if not available.may_pass(step):
            return None
    return None


def _joint_depth(first: _Group, second: _Group, sizes: Sizes) -> int:
    """How many loops two groups can share: as many as they share already, or, for two kernels, as
    many as leave the fewest sums across them. 0 where they should stay apart."""
    members = (*first.kernels, *second.kernels)
    if not first.reads() & second.reads() or len(members) > MOST_KERNELS:
        return 0
    common = min(common_loops(members[0], k) for k in members)
    fixed = {g.depth for g in (first, second) if len(g.kernels) > 1}
    depths = [d for d in range(common, 0, -1) if fixed <= {d}]
    possible = [d for d in depths if _fits(first, second, d, sizes)]
    return min(possible, key=lambda d: sum(len(_totals(k, d)) for k in members), default=0)


def _fits(first: _Group, second: _Group, depth: int, sizes: Sizes) -> bool:
    members = (*first.kernels, *second.kernels)
    if any(s.places is not None for k in members for s in _totals(k, depth)):
        return False  # the position of an extremum is never combined in memory
    if max(_points(k.extents[depth:]) for k in members) < SMALLEST_ROW:
        return False
    return _saves(first, second, depth) and all(
        _passes_within_cells(first, second, buffer, depth, sizes)
        for buffer in first.reads() & second.reads()
        if buffer in first.written or buffer in second.written
    )


def _points(extents: Iterable[Size]) -> float:
    """The number of points of a domain; infinite where only the call knows."""
    points = 1.0
    for extent in extents:
        points *= extent if isinstance(extent, int) else float("inf") if points else 0
    return points


def _saves(first: _Group, second: _Group, depth: int) -> bool:
    """Whether the groups pass each other something, or both walk through the cells of a buffer."""

    def walked(group: _Group) -> set[Buffer]:
        accesses = (a for k in group.kernels for a in _accesses(k))
        return {a.buffer for a in accesses if _walks_cells(a, depth)}

    if first.written & second.reads() or second.written & first.reads():
        return True
    return bool(walked(first) & walked(second))


def _walks_cells(access: Access, depth: int) -> bool:
    outer, inner = access.strides[:depth], access.strides[depth:]
    return any(s != 0 for s in outer) and any(s != 0 for s in inner)


def _totals(kernel: Kernel, depth: int) -> list[Store]:
    shared = frozenset(range(depth))
    return [s for s in kernel.stores if s.reduced & shared]


def _passes_within_cells(
    first: _Group, second: _Group, buffer: Buffer, depth: int, sizes: Sizes
) -> bool:
    """Whether what they pass through the buffer, they pass at the same point."""
    cell = cell_of(buffer, first.kernels[0].extents[:depth], sizes)
    if cell is None:
        return False
    if buffer.kind == "temporary" and LARGEST_CELL < cell.bytes < float("inf"):
        return False
    for member in (*first.touched[buffer], *second.touched[buffer]):
        if any(s.access.buffer is buffer for s in _totals(member, depth)):
            return False
        if not cell.holds(member):
            return False
    return True


# --- cells -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Cell:
    """The part of a buffer that belongs to one point of shared loops."""

    buffer: Buffer
    axes: tuple[int, ...]
    steps: tuple[Size, ...]
    extents: Shape
    strides: tuple[Size, ...]

    @property
    def bytes(self) -> float:
        return _points(self.extents) * self.buffer.dtype.itemsize

    def holds(self, kernel: Kernel) -> bool:
        """Whether the kernel, at each point, touches only the cell of that point."""
        depth = len(self.steps)
        accesses = [a for a in kernel.accesses() if a.buffer is self.buffer]
        return all(
            all(map(same_size, a.strides[:depth], self.steps)) for a in accesses
        ) and all(self._holds_elements(kernel, s.handle, s.view.strides)
                  for s in kernel.sources if s.view.buffer is self.buffer)  # fmt: skip

    def _holds_elements(
        self, kernel: Kernel, handle: Value, strides: tuple[Size, ...]
    ) -> bool:
        if len(strides) != len(self.buffer.extents):  # a view with other axes
            return False
        if not all(same_size(strides[a], s) for a, s in zip(self.axes, self.steps, strict=True)):
            return False
        reads = (v.op for v in kernel.body() if v.op is not None and v.op.definition is ELEMENT)
        return all(
            op.args[0] is not handle
            or all(op.args[1 + a] is kernel.iterators[k] for k, a in enumerate(self.axes))
            for op in reads
        )


def cell_of(buffer: Buffer, shared: Shape, sizes: Sizes) -> Cell | None:
    """How the buffer is cut by loops over `shared`, if its leading axes are those (axes of one
    element do not count)."""
    depth = len(shared)
    axes = [k for k, e in enumerate(buffer.extents) if not same_size(e, 1)]
    if len(axes) < depth or not all(
        same_size(buffer.extents[a], e) for a, e in zip(axes, shared, strict=False)
    ):
        return None
    strides = sizes.row_major(buffer.extents, buffer.dtype.itemsize)
    return Cell(
        buffer,
        tuple(axes[:depth]),
        tuple(strides[a] for a in axes[:depth]),
        tuple(buffer.extents[a] for a in axes[depth:]),
        tuple(strides[a] for a in axes[depth:]),
    )


def _accesses(kernel: Kernel) -> Iterator[Access]:
    yield from kernel.accesses()
    for source in kernel.sources:
        yield Access(source.view.buffer, source.view.offset, source.view.strides)


# --- the steps ---------------------------------------------------------------------------------
class _Finish:
    """Turns groups into steps: what only matters inside becomes local."""

    def __init__(self, steps: Sequence[Step | _Group], sizes: Sizes) -> None:
        self.steps = steps
        self.sizes = sizes
        self.users: dict[Buffer, int] = {}
        for step in steps:
            for buffer in _touched(step):
                self.users[buffer] = self.users.get(buffer, 0) + 1
        self.numbers = max((b.number for b in self.users), default=0)

    def run(self) -> list[Step]:
        return [self._step(s) if isinstance(s, _Group) else s for s in self.steps]

    def _step(self, group: _Group) -> Step:
        if len(group.kernels) == 1:
            return group.kernels[0]
        depth = group.depth
        locals_: list[Buffer] = []
        kernels: list[Kernel] = []
        for kernel in group.kernels:
            kernels += self._parts(kernel, depth, locals_)
        totals = {s.access.buffer for k in kernels for s in _totals(k, depth)}
        moved: dict[Buffer, Buffer] = {}
        for buffer in sorted(group.written - totals, key=lambda b: b.number):
            if buffer.kind == "temporary" and self.users[buffer] == 1:
                cell = cell_of(buffer, kernels[0].extents[:depth], self.sizes)
                assert cell is not None
                moved[buffer] = replace(buffer, extents=cell.extents)
        kernels = [with_locals(k, depth, moved) for k in kernels]
        return Rows(depth, tuple(kernels), (*moved.values(), *locals_))

    def _parts(self, kernel: Kernel, depth: int, locals_: list[Buffer]) -> list[Kernel]:
        """The kernel, and what adds up its totals. A total that is combined over inner loops as
        well, in a register, is combined over those first."""
        stores: list[Store] = []
        after: list[Kernel] = []
        for store in kernel.stores:
            if store in _totals(kernel, depth) and store.in_register:
                inner = store.reduced - frozenset(range(depth))
                if inner:
                    part = self._scalar(store.value)
                    locals_.append(part)
                    after.append(_added(kernel, depth, store, part))
                    store = replace(
                        store, access=Access(part, 0, (0,) * len(kernel.extents)), reduced=inner
                    )
                else:
                    store = replace(store, in_register=False)
            stores.append(store)
        return [replace(kernel, stores=tuple(stores)), *after]

    def _scalar(self, value: Value) -> Buffer:
        self.numbers += 1
        return Buffer(self.numbers, f"t{self.numbers}", value.dtype, "temporary")


def _touched(step: Step | _Group) -> set[Buffer]:
    if isinstance(step, Fetch):
        return {step.buffer}
    return set() if isinstance(step, Let | Check) else step.reads() | step.writes()


def _added(kernel: Kernel, depth: int, store: Store, part: Buffer) -> Kernel:
    """What combines a part, at each point of the shared loops, into the total of `store`."""
    leaf = Value(Type(part.dtype), name="x0")
    access = replace(store.access, strides=store.access.strides[:depth])
    total = Store(leaf, access, store.combine, store.reduced & frozenset(range(depth)))
    return Kernel(
        kernel.extents[:depth],
        kernel.iterators[:depth],
        (Load(leaf, Access(part, 0, (0,) * depth)),),
        (),
        (total,),
        locations=kernel.locations,
    )


def with_locals(kernel: Kernel, depth: int, moved: dict[Buffer, Buffer]) -> Kernel:
    """The kernel with buffers that have become local to a point of the `depth` outer loops."""
    def access(a: Access) -> Access:
        home = moved.get(a.buffer)
        return a if home is None else Access(home, a.offset, (0,) * depth + a.strides[depth:])

    def source_axes(buffer: Buffer, strides: tuple[Size, ...]) -> tuple[Size, ...]:
        outer = [k for k, e in enumerate(buffer.extents) if not same_size(e, 1)]
        return tuple(0 if k in outer[:depth] else s for k, s in enumerate(strides))

    return replace(
        kernel,
        loads=tuple(replace(x, access=access(x.access)) for x in kernel.loads),
        stores=tuple(replace(s, access=access(s.access)) for s in kernel.stores),
        sources=tuple(
            s if s.view.buffer not in moved else replace(s, view=replace(
                s.view, buffer=moved[s.view.buffer],
                strides=source_axes(s.view.buffer, s.view.strides),
            ))
            for s in kernel.sources
        ),
    )  # fmt: skip
