"""Row nests as a group of threads runs them: kernels rewritten for it.

* What the points of the shared loops add up together (*totals*), each group adds up in a copy.
* What several kernels read of a row, the first one keeps in memory of the group.
* Locals that lie in memory share it where their lives do not overlap.
* Every kernel is of one of three kinds: one value a point, strips dealt to the threads of the
  group (all of whose reductions are over all inner loops), or a thread for each point of the inner
  loops that nothing is combined over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from jitgraph.codegen.gpu.nests.points import permuted, serial_loops, with_stores
from jitgraph.codegen.gpu.nests.strips import width_of
from jitgraph.codegen.innermost import is_zero
from jitgraph.ir.kernel import Access, Buffer, Kernel, Load, Rows, Store
from jitgraph.ir.opdef import OPS, apply_op, same_size
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value

Kind: TypeAlias = Literal["value", "strips", "points"]


@dataclass(slots=True)
class Part:
    """A kernel of the nest, with its inner loops in the order in which they are run: those that
    nothing is combined over first."""

    kernel: Kernel
    kind: Kind
    #: How many of the inner loops nothing is combined over.
    free: int
    #: What it takes from registers, by leaf.
    taken: dict[Value, Buffer] = field(default_factory=dict)

    @property
    def reduces(self) -> bool:
        """Whether all threads of the group reduce it together."""
        return self.kind == "strips" and any(s.combine is not None for s in self.kernel.stores)

    def way(self, access: Access, depth: int) -> object:
        """Accesses that go the same way meet each element by the same thread."""
        if self.kind != "strips":
            return object()
        return (self.kernel.extents[depth:], access.offset, access.strides[depth:])


@dataclass(slots=True)
class Cells:
    """A row nest for groups of threads."""

    depth: int
    parts: list[Part]
    #: Locals of one element that all threads of the group have in registers.
    kept: set[Buffer]
    #: Locals in memory of the group, and which part of that each of them has.
    places: dict[Buffer, int]
    #: Rows kept there, and where they come from.
    rows: dict[Buffer, Access]
    #: The group's copies of totals.
    copies: dict[Buffer, tuple[Buffer, Store]]
    width: int

    @property
    def stages(self) -> int:
        """How many kernels reduce."""
        return sum(part.reduces for part in self.parts)

    @property
    def words(self) -> int:
        """About how many words of 32 bits a thread has at once: of a strip, and of what has been
        reduced."""
        return 2 * self.stages + max((sum(max(a.buffer.dtype.itemsize // 4, 1) * self.width
                        for a in part.kernel.accesses() if not all(map(is_zero, a.strides)))
                    for part in self.parts if part.kind == "strips"), default=0)  # fmt: skip

    @property
    def row(self) -> int | None:
        """The known extent of all inner loops, if threads can hold in registers what kernels pass
        each other."""
        rows = [part for part in self.parts if part.kind == "strips"]
        extents = {e for part in rows for e in part.kernel.extents[self.depth :]}
        alone = all(len(part.kernel.extents) == self.depth + 1 for part in rows)
        if any(part.kind == "points" for part in self.parts) or not alone or len(extents) != 1:
            return None
        (extent,) = extents
        if not all(map(self.by_elements, self.places)):
            return None
        return extent if isinstance(extent, int) else None

    def by_elements(self, buffer: Buffer) -> bool:
        """Whether each element of a local is touched by one thread only, the same in all kernels,
        along single loops."""
        for part in self.parts:
            if any(s.view.buffer is buffer for s in part.kernel.sources):
                return False
            for access in part.kernel.accesses():
                near = (0, *[0] * self.depth, buffer.dtype.itemsize)
                if access.buffer is buffer and (
                    part.kind != "strips" or near != (access.offset, *access.strides)
                ):
                    return False
        return True

    @property
    def groups_of_locals(self) -> list[list[Buffer]]:
        """The locals of each part of the memory."""
        found: list[list[Buffer]] = [[] for _ in set(self.places.values())]
        for buffer, place in self.places.items():
            found[place].append(buffer)
        return found

    def meetings(self, key: Callable[[Buffer], str]) -> set[int]:
        """The kernels before which the threads of a group meet, since one reads what another
        wrote: their numbers, and how many kernels there are where they meet at the end. `key` says
        which memory a buffer is in."""
        touched: dict[object, list[tuple[object, bool]]] = {}
        met: set[int] = set()
        for number, part in enumerate(self.parts):
            mine = self._touches(part, key)
            if any(a != b and (x or y) for where, ways in mine.items()
                   for b, y in ways for a, x in touched.get(where, ())):  # fmt: skip
                touched.clear()
                met.add(number)
            for where, ways in mine.items():
                touched.setdefault(where, []).extend(ways)
        return met | ({len(self.parts)} if met else set())

    def _touches(
        self, part: Part, key: Callable[[Buffer], str]
    ) -> dict[object, list[tuple[object, bool]]]:
        """Which memory a kernel touches, by which threads; whether it writes."""
        found: dict[object, list[tuple[object, bool]]] = {}

        def note(buffer: Buffer, way: object, writes: bool) -> None:
            where = self.places[buffer] if buffer in self.places else key(buffer)
            found.setdefault(where, []).append((way, writes))

        for load in part.kernel.loads:
            note(load.access.buffer, part.way(load.access, self.depth), False)
        for source in part.kernel.sources:
            note(source.view.buffer, object(), False)
        for item in part.kernel.stores:
            if item.access.buffer not in self.kept:
                alone = item.combine is not None
                way = object() if alone else part.way(item.access, self.depth)
                note(item.access.buffer, way, True)
        return found


def cells_of(rows: Rows) -> Cells | None:
    """The nest rewritten, or None where groups of threads cannot run it."""
    stores = [s for k in rows.kernels for s in k.stores]
    if any(s.indices for s in stores):
        return None
    shared = frozenset(range(rows.depth))
    if any(s.reduced & shared and (s.reduced - shared or s.places) for s in stores):
        return None
    copies: dict[Buffer, tuple[Buffer, Store]] = {}
    kernels = [_with_copies(k, shared, copies) for k in rows.kernels]
    names = [*rows.locals]
    written = {s.access.buffer for s in stores}
    kept_rows: dict[Buffer, Access] = {}
    kernels = _keeping_rows(kernels, rows.depth, kept_rows, written)
    parts = [_part(kernel, rows.depth) for kernel in kernels]
    kept = {b for b in rows.locals if not b.extents and _in_registers(b, parts)}
    parts = [piece for part in parts for piece in _split(part, kept)]
    for part in parts:
        _take(part, kept)
    widths = [width_of(p.kernel) for p in parts if p.kind == "strips"]
    memory = [b for b in (*names, *kept_rows) if b not in kept]
    places = _places(parts, memory, rows.depth)
    return Cells(rows.depth, parts, kept, places, kept_rows, copies, min(widths, default=1))


def _places(parts: Sequence[Part], buffers: Sequence[Buffer], depth: int) -> dict[Buffer, int]:
    """Which part of the memory each local has. Two of the same size may have the same, where the
    one is last read before the other is written, or by the same thread at the same element."""
    uses: dict[Buffer, list[int]] = {b: [] for b in buffers}
    for number, part in enumerate(parts):
        for buffer in part.kernel.reads() | part.kernel.writes():
            if buffer in uses:
                uses[buffer].append(number)
    places: dict[Buffer, int] = {}
    last: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (min(uses[b], default=0), b.number)):
        for place, before in enumerate(last):
            if _follows(buffer, before, uses, parts, depth):
                places[buffer], last[place] = place, buffer
                break
        else:
            places[buffer] = len(last)
            last.append(buffer)
    return places


def _follows(
    after: Buffer, before: Buffer, uses: dict[Buffer, list[int]], parts: Sequence[Part], depth: int
) -> bool:
    same = before.dtype.itemsize == after.dtype.itemsize and len(before.extents) == len(
        after.extents
    )
    if not same or not all(map(same_size, before.extents, after.extents)):
        return False
    if not uses[before] or not uses[after] or max(uses[before]) > min(uses[after]):
        return False
    if max(uses[before]) < min(uses[after]):
        return True
    part = parts[min(uses[after])]
    if before in part.kernel.writes() or any(
        s.view.buffer in (before, after) for s in part.kernel.sources
    ):
        return False
    ways = {part.way(a, depth) for a in part.kernel.accesses() if a.buffer in (before, after)}
    return len(ways) == 1


def _with_copies(
    kernel: Kernel, shared: frozenset[int], copies: dict[Buffer, tuple[Buffer, Store]]
) -> Kernel:
    """The kernel with totals added up in copies: total = total + value."""
    loads, stores = list(kernel.loads), []
    for item in kernel.stores:
        if item.reduced & shared:
            assert item.combine is not None
            total = item.access.buffer
            copy = _local(f"{total.name}.copy", total, len(copies))
            copies[total] = copy, item
            access = replace(item.access, buffer=copy)
            before = Value(Type(total.dtype), name="before")
            loads.append(Load(before, access))
            value = apply_op(OPS[item.combine], (before, item.value), {}, None)
            item = Store(value, access)
        stores.append(item)
    return replace(kernel, loads=tuple(loads), stores=tuple(stores))


def _local(name: str, like: Buffer, number: int) -> Buffer:
    """A buffer of the group's, whose number no other of the nest has."""
    return Buffer(-1000 - 2 * number, name, like.dtype, "temporary", like.extents)


def _keeping_rows(
    kernels: list[Kernel], depth: int, kept_rows: dict[Buffer, Access], written: set[Buffer]
) -> list[Kernel]:
    """Kernels of which later ones read a row where the first one keeps it."""
    found: list[tuple[int, Load, Buffer]] = []
    after: list[Kernel] = []
    for number, kernel in enumerate(kernels):
        loads, stores = [], list(kernel.stores)
        for load in kernel.loads:
            access = load.access
            if access.buffer in written or not _is_row(kernel, access, depth):
                loads.append(load)
                continue
            same = [b for k, one, b in found if one.access.same_as(access)
                    and same_size(kernels[k].extents[-1], kernel.extents[-1])]  # fmt: skip
            if same:
                near = Access(same[0], 0, (*[0] * depth, access.strides[-1]))
                loads.append(Load(load.leaf, near))
                continue
            loads.append(load)
            if any(_reads(k, access, kernel, depth) for k in kernels[number + 1 :]):
                extents = (kernel.extents[-1],)
                kept = Buffer(-1001 - 2 * len(found), f"{access.buffer.name}.row",
                              access.buffer.dtype, "temporary", extents)  # fmt: skip
                found.append((number, load, kept))
                kept_rows[kept] = access
                near = Access(kept, 0, (*[0] * depth, access.strides[-1]))
                stores.append(Store(load.leaf, near))
        after.append(replace(kernel, loads=tuple(loads), stores=tuple(stores)))
    return after


def _is_row(kernel: Kernel, access: Access, depth: int) -> bool:
    """Whether a kernel reads neighbours along its one inner loop, that other points do not read."""
    if len(kernel.extents) != depth + 1 or serial_loops(kernel) - {depth}:
        return False
    moves = not all(is_zero(s) for s in access.strides[:depth])
    stride = access.strides[-1]
    return moves and isinstance(stride, int) and stride == access.buffer.dtype.itemsize


def _reads(kernel: Kernel, access: Access, like: Kernel, depth: int) -> bool:
    return (
        len(kernel.extents) == depth + 1
        and same_size(kernel.extents[-1], like.extents[-1])
        and any(_is_row(kernel, x.access, depth) and x.access.same_as(access)
                for x in kernel.loads)
    )  # fmt: skip


def _part(kernel: Kernel, depth: int) -> Part:
    rank = len(kernel.extents)
    serial = serial_loops(kernel)
    free = [k for k in range(depth, rank) if k not in serial]
    rest = [k for k in range(depth, rank) if k in serial]
    turned = permuted(kernel, [*range(depth), *free, *rest])
    if rank == depth:
        return Part(turned, "value", 0)
    inner = frozenset(range(depth, rank))
    whole = not free and all(
        s.running is None and (s.combine is None or (s.reduced == inner and s.in_register))
        for s in turned.stores
    )
    plain = not rest and all(s.combine is None for s in turned.stores)
    return Part(turned, "strips" if whole or plain else "points", len(free))


def _in_registers(buffer: Buffer, parts: Sequence[Part]) -> bool:
    """Whether all that is stored in a local of one element is known to a thread as a whole."""
    for part in parts:
        for item in part.kernel.stores:
            if item.access.buffer is buffer and not (
                part.kind == "value" or (part.kind == "strips" and item.combine is not None)
            ):
                return False
    return True


def _split(part: Part, kept: set[Buffer]) -> list[Part]:
    """One value a point is computed by all threads where they keep it, else by the first one."""
    if part.kind != "value":
        return [part]
    stores = part.kernel.stores
    both = ([s for s in stores if (s.access.buffer in kept) is keep] for keep in (True, False))
    return [replace(part, kernel=with_stores(part.kernel, some)) for some in both if some]


def _take(part: Part, kept: set[Buffer]) -> None:
    """Let a kernel take from registers what is kept there."""
    kernel = part.kernel
    part.taken = {x.leaf: x.access.buffer for x in kernel.loads if x.access.buffer in kept}
    part.kernel = replace(
        kernel,
        loads=tuple(x for x in kernel.loads if x.leaf not in part.taken),
        captured=(*kernel.captured, *part.taken),
    )
