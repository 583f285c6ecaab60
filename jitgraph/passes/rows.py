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
from dataclasses import dataclass, field, replace

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
    same_size,
)
from jitgraph.ir.opdef import Shape, Size
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value
from jitgraph.passes.loops import LOOK_BACK, Availability, common_loops
from jitgraph.passes.nest import Sizes

#: A loop over fewer elements than this costs more than the memory it saves.
SMALLEST_ROW = 8
#: A cell of more bytes than this falls out of the cache before it is read again.
LARGEST_CELL = 1 << 20


def group_rows(steps: Sequence[Step], sizes: Sizes) -> list[Step]:
    """The steps with kernels grouped where that saves passes over memory."""
    grouped: list[Step | _Group] = []
    for step in steps:
        if not isinstance(step, Kernel) or step.sequential:
            grouped.append(step)
            continue
        found = _partner(grouped, step, sizes)
        if found is None:
            grouped.append(_Group([step], len(step.extents)))
        else:
            at, depth = found
            group = grouped[at]
            assert isinstance(group, _Group)
            group.add(step, depth)
    return _Finish(grouped, sizes).run()


@dataclass(slots=True, eq=False)
class _Group:
    """Kernels that share `depth` loops, and what they touch."""

    kernels: list[Kernel]
    depth: int
    touched: dict[Buffer, list[Kernel]] = field(default_factory=dict)
    written: set[Buffer] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._note(self.kernels[0])

    def add(self, kernel: Kernel, depth: int) -> None:
        self.kernels.append(kernel)
        self.depth = depth
        self._note(kernel)

    def _note(self, kernel: Kernel) -> None:
        for buffer in kernel.reads() | kernel.writes():
            self.touched.setdefault(buffer, []).append(kernel)
        self.written |= kernel.writes()

    def reads(self) -> set[Buffer]:
        return set(self.touched)

    def writes(self) -> set[Buffer]:
        return self.written


# --- who joins whom ----------------------------------------------------------------------------
def _partner(
    steps: Sequence[Step | _Group], kernel: Kernel, sizes: Sizes
) -> tuple[int, int] | None:
    """The latest earlier group that `kernel` can join, and how many loops they then share."""
    available = Availability(kernel)
    looked = 0
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        if isinstance(step, _Group):
            looked += 1
            if looked > LOOK_BACK:
                return None
            depth = _joint_depth(step, kernel, sizes)
            if depth:
                return at, depth
        if not available.may_pass(step):
            return None
    return None


def _joint_depth(group: _Group, kernel: Kernel, sizes: Sizes) -> int:
    """How many loops `kernel` can share with the group: as many as it shares already, or, with a
    single kernel, as many as leave the fewest sums across them. 0 where it should stay apart."""
    if not any(b in group.touched for b in kernel.reads() | kernel.writes()):
        return 0
    if len(group.kernels) > 1:
        depths = [group.depth]
    else:
        depths = list(range(common_loops(group.kernels[0], kernel), 0, -1))
    possible = [d for d in depths if _fits(group, kernel, d, sizes)]
    members = [*group.kernels, kernel]
    return min(possible, key=lambda d: sum(len(_totals(k, d)) for k in members), default=0)


def _fits(group: _Group, kernel: Kernel, depth: int, sizes: Sizes) -> bool:
    members = [*group.kernels, kernel]
    if common_loops(group.kernels[0], kernel) < depth:
        return False
    if max(map(_points, (k.extents[depth:] for k in members))) < SMALLEST_ROW:
        return False
    return _saves(group, kernel, depth) and all(
        _passes_within_cells(group, kernel, buffer, depth, sizes)
        for buffer in kernel.reads() | kernel.writes()
        if buffer in group.written or (buffer in group.touched and buffer in kernel.writes())
    )


def _points(extents: Iterable[Size]) -> float:
    """The number of points of a domain; infinite where only the call knows."""
    points = 1.0
    for extent in extents:
        points *= extent if isinstance(extent, int) else float("inf") if points else 0
    return points


def _saves(group: _Group, kernel: Kernel, depth: int) -> bool:
    """Whether the kernel and the group pass each other something within the points, or both walk
    through the cells of a buffer."""
    passed = (kernel.reads() & group.written) | (kernel.writes() & set(group.touched))
    if passed:
        return True
    walked = {a.buffer for a in _accesses(kernel) if _walks_cells(a, depth)}
    return any(
        a.buffer is buffer and _walks_cells(a, depth)
        for buffer in walked
        for member in group.touched.get(buffer, ())
        for a in _accesses(member)
    )


def _walks_cells(access: Access, depth: int) -> bool:
    outer, inner = access.strides[:depth], access.strides[depth:]
    return any(s != 0 for s in outer) and any(s != 0 for s in inner)


def _totals(kernel: Kernel, depth: int) -> list[Store]:
    shared = frozenset(range(depth))
    return [s for s in kernel.stores if s.reduced & shared]


def _passes_within_cells(
    group: _Group, kernel: Kernel, buffer: Buffer, depth: int, sizes: Sizes
) -> bool:
    """Whether what they pass through the buffer, they pass at the same point."""
    cell = cell_of(buffer, kernel.extents[:depth], sizes)
    if cell is None:
        return False
    if buffer.kind == "temporary" and LARGEST_CELL < cell.bytes < float("inf"):
        return False
    for member in (*group.touched[buffer], kernel):
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
        kernels = [_with_locals(k, depth, moved) for k in kernels]
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


def _with_locals(kernel: Kernel, depth: int, moved: dict[Buffer, Buffer]) -> Kernel:
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
