"""Kernels over the same domain that share data become one kernel.

    for i: a[i] = f(x[i])         for i: a = f(x[i])
    for i: b[i] = g(a[i])   =>           b[i] = g(a)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, Protocol

from jitgraph.ir.kernel import (
    Access,
    Buffer,
    Check,
    Fetch,
    Kernel,
    Let,
    Load,
    Source,
    Step,
    Store,
    View,
    Yield,
)
from jitgraph.ir.opdef import OpDef, apply_op, same_size
from jitgraph.ir.values import Value, topological
from jitgraph.location import Location
from jitgraph.passes.fuse import LARGEST_BODY, is_scalar_code, op_weight

#: More streams than this at once, and the hardware prefetcher loses track.
MOST_BUFFERS = 16
#: How far back a kernel looks for one to join.
LOOK_BACK = 12


def merge_kernels(steps: Sequence[Step], results: set[Buffer]) -> list[Step]:
    """Kernels over the same domain that share data become one; stores nobody reads disappear."""
    readers = Readers(steps)
    merged: list[Step | _Growing] = []
    for step in steps:
        if isinstance(step, Kernel) and not step.sequential:
            partner = _partner(merged, step, readers)
            if partner is None:
                merged.append(_Growing(step))
            else:
                partner.join(step, readers)
        else:
            merged.append(step)
    made = [s.kernel() if isinstance(s, _Growing) else s for s in merged]
    return _without_dead_stores(made, results)


class Readers:
    """Who still reads each buffer, as kernels are merged."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.left = Counter(b for s in steps for b in _read_by(s))
        written: dict[Buffer, tuple[Kernel, Access]] = {}
        #: Temporaries that vanish if all who read them join the kernel that writes them.
        self.passing: set[Buffer] = set()
        for step in steps:
            if isinstance(step, Kernel) and not step.sequential:
                self.passing -= {s.view.buffer for s in step.sources}
                for load in step.loads:
                    writer, access = written.get(load.access.buffer, (step, load.access))
                    if not (_same_domain(writer, step) and access.same_as(load.access)):
                        self.passing.discard(load.access.buffer)
                for store in step.stores:
                    written[store.access.buffer] = step, store.access
                    if store.access.buffer.kind == "temporary" and store.combine is None:
                        self.passing.add(store.access.buffer)
            else:
                self.passing -= _read_by(step)

    def is_last(self, buffer: Buffer) -> bool:
        return buffer.kind == "temporary" and self.left[buffer] == 1


def _read_by(step: Step) -> set[Buffer]:
    if isinstance(step, Fetch):
        return {step.buffer}
    return set() if isinstance(step, Let | Check) else step.reads()


# --- who joins whom ----------------------------------------------------------------------------
def _partner(
    steps: Sequence[Step | _Growing], kernel: Kernel, readers: Readers
) -> _Growing | None:
    """The latest earlier kernel that `kernel` can join."""
    available = Availability(kernel)
    looked = 0
    for step in reversed(steps):
        if isinstance(step, _Growing):
            looked += 1
            if looked > LOOK_BACK:
                return None
            if _same_domain(step.first, kernel) and _compatible(step, kernel, available, readers):
                return step
        if not available.may_pass(step):
            return None
    return None


class Touching(Protocol):
    """Something that reads and writes buffers."""

    def reads(self) -> set[Buffer]: ...
    def writes(self) -> set[Buffer]: ...


class Movable(Touching, Protocol):
    """Something that could run earlier."""

    def scalars(self) -> list[Value]: ...


class Availability:
    """Follows how far up work may move: past steps that it does not depend on."""

    def __init__(self, kernel: Movable) -> None:
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


def _compatible(
    first: _Growing, second: Kernel, available: Availability, readers: Readers
) -> bool:
    """Whether one nest can run both bodies: what the second reads of the first's results, it reads
    at the same point; they share data; and the joint body stays small."""
    touched = first.reads() | first.writes()
    if not available.reads & touched or available.writes & touched:
        return False
    if any(source.view.buffer in first.stores for source in second.sources):
        return False
    for load in second.loads:
        store = first.stores.get(load.access.buffer)
        if store is not None and (
            store.combine is not None or store.indices or store.access != load.access
        ):
            return False
    buffers = (touched | available.reads | available.writes) - readers.passing
    return len(buffers) <= MOST_BUFFERS and first.weight_with(second) <= LARGEST_BODY


# --- joining -----------------------------------------------------------------------------------
class _Growing:
    """A kernel that others may still join: their bodies in one, each value computed once."""

    def __init__(self, kernel: Kernel) -> None:
        self.first = kernel
        self.weight = 0
        self.loads: dict[Access, Load] = {}
        self.sources: dict[View, Source] = {}
        self.stores: dict[Buffer, Store] = {}
        self._values: dict[Any, Value] = {}
        self._captured: dict[Value, None] = {}
        self._locations: dict[Location, None] = {}
        self._take(kernel)

    def reads(self) -> set[Buffer]:
        read = {a.buffer for a in self.loads} | {v.buffer for v in self.sources}
        return read | {b for b, s in self.stores.items() if s.combine and not s.in_register}

    def writes(self) -> set[Buffer]:
        return set(self.stores)

    def join(self, kernel: Kernel, readers: Readers) -> None:
        """Run the kernel's body after this one's, on this one's values."""
        passed = kernel.reads() & self.stores.keys()
        self._take(kernel)
        for buffer in passed:
            if readers.is_last(buffer):
                del self.stores[buffer]
            readers.left[buffer] -= 1

    def kernel(self) -> Kernel:
        joint = replace(
            self.first,
            loads=tuple(self.loads.values()),
            sources=tuple(self.sources.values()),
            stores=tuple(self.stores.values()),
            captured=tuple(self._captured),
            locations=tuple(self._locations),
        )
        return _with_live_loads(joint)

    def weight_with(self, kernel: Kernel) -> int:
        """The weight of the body with the kernel's joined to it."""
        new = self._leaves(kernel)
        weight = self.weight
        for value in kernel.body():
            known = self._values.get(_key(value, new))
            if known is None:
                weight += op_weight(value)
            else:
                new[value] = known
        return weight

    def _take(self, kernel: Kernel) -> None:
        new = self._leaves(kernel)
        for load in kernel.loads:
            if load.access.buffer not in self.stores:
                self.loads.setdefault(load.access, load)
        for source in kernel.sources:
            self.sources.setdefault(source.view, source)
        for value in kernel.body():
            new[value] = self._shared(value, new)
        for store in kernel.stores:
            self.stores[store.access.buffer] = replace(
                store,
                value=new.get(store.value, store.value),
                indices=tuple((new.get(i, i), stride) for i, stride in store.indices),
            )
        self._captured |= dict.fromkeys(kernel.captured)
        self._locations |= dict.fromkeys(kernel.locations)

    def _leaves(self, kernel: Kernel) -> dict[Value, Value]:
        """What the leaves of the kernel's body are in this one's."""
        new: dict[Value, Value] = dict(zip(kernel.iterators, self.first.iterators, strict=True))
        for load in kernel.loads:
            store = self.stores.get(load.access.buffer)
            known = self.loads.get(load.access, load).leaf
            new[load.leaf] = known if store is None else store.value
        for source in kernel.sources:
            new[source.handle] = self.sources.get(source.view, source).handle
        return new

    def _shared(self, value: Value, new: Mapping[Value, Value]) -> Value:
        """The body's value for this op on the new arguments, made if there is none yet."""
        key = _key(value, new)
        known = self._values.get(key)
        if known is None:
            definition, args, _ = key
            op = value.op
            assert op is not None
            same = args == op.args
            known = value if same else apply_op(definition, args, op.attrs, op.location)
            self._values[key] = known
            self.weight += op_weight(value)
        return known


def _key(value: Value, new: Mapping[Value, Value]) -> tuple[OpDef, tuple[Value, ...], Any]:
    op = value.op
    assert op is not None
    return op.definition, tuple(new.get(a, a) for a in op.args), tuple(op.attrs.items())


# --- stores that nobody reads ------------------------------------------------------------------
def _without_dead_stores(steps: list[Step], results: set[Buffer]) -> list[Step]:
    """Backwards, so that a kernel whose last reader vanished vanishes as well."""
    needed = set(results)
    kept: list[Step] = []
    for step in reversed(steps):
        if isinstance(step, Fetch):
            needed.add(step.buffer)
        elif isinstance(step, Kernel):
            places = [s for s in step.stores if s.access.buffer in needed]
            needed |= {best.access.buffer for s in places if (best := step.extremum(s))}
            stores = tuple(s for s in step.stores if s.access.buffer in needed)
            if not stores:
                continue
            step = _with_live_loads(replace(step, stores=stores))
            needed |= step.reads()
        elif not isinstance(step, Let | Check | Yield):
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
