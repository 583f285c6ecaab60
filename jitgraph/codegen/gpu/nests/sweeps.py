"""The strips of a nest that one thread computes: every `step`-th of them.

    for strips i, i + step, ...:      several at once while they are whole, then one by one

Where several loops are inside, a thread counts their indices up by the digits of the step, without
dividing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitgraph.codegen.gpu.nests.points import split_index
from jitgraph.codegen.gpu.nests.strips import Held, Place, Strips
from jitgraph.codegen.gpu.nests.together import dealt
from jitgraph.codegen.innermost import is_zero
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.places import FirstPlace
from jitgraph.codegen.reductions import Accumulator
from jitgraph.ir.opdef import Size

#: Elements in registers that are reduced one after the other.
_CHAIN = 4


class Sweep:
    """The strips that a thread reduces: several at once while they are whole, then one by one."""

    def __init__(
        self, nest: Nest, pointers: list[str], outer: Mapping[int, str], extents: Sequence[str],
        width: int, step: str, copies: int, wide: str | None, held: Held | None = None,
    ) -> None:  # fmt: skip
        """`pointers` are where the accesses are at the indices `outer`; `extents` those of the
        nest's inner loops; `step` is from one strip of the thread to its next."""
        self.nest, self.f, self.pointers, self.outer = nest, nest.f, pointers, outer
        self.width, self.step, self.copies = width, step, copies
        self.strips = Strips(nest, width, held)
        self.wide = wide if self.strips.any_wide else None
        self.loops = range(nest.depth, nest.rank)
        f = self.f
        #: How many strips there are along each loop, the innermost one cut into them.
        self.extents = [*extents[:-1], ceil_div(f, extents[-1], width)] if extents else []
        #: The same, for dividing: loops may be empty.
        self.radices = [e if e.isdigit() and e != "0" else f.maximum(e, 1) for e in self.extents]
        self.last = extents[-1] if extents else "1"
        self.digits = split_index(f, step, self.radices)

    def emit(self, begin: str, end: str, accumulators: Sequence[Accumulator]) -> list[list[str]]:
        """The strips from `begin` on, before `end`; gives the states of what they reduce."""
        self.accumulators = accumulators
        states = [one.initial() for one in accumulators]
        start = split_index(self.f, begin, self.radices)
        if self.copies > 1:
            begin, start, states = self._round(begin, end, start, states, self.copies)
        return self._round(begin, end, start, states, 1)[2]

    def at_once(self, begin: str, accumulators: Sequence[Accumulator]) -> list[list[str]]:
        """All `copies` elements of a thread of a single loop, from `begin` on, of which the last
        one need not be there; gives the states of what they reduce."""
        f, (loop,), step = self.f, self.loops, int(self.step)
        self.accumulators = accumulators
        first, places = self._moved_along(loop, begin), []
        for number in range(self.copies):
            index, there, distance = begin, None, number * step
            pointers = first
            if distance + step > int(self.last):
                index = f.emit(f"add i64 {begin}, {distance}")
                there = [f.emit(f"icmp slt i64 {index}, {self.last}")]
                index = f.select(there[0], "i64", index, begin)
                pointers = self._moved_along(loop, index)
            elif number:
                index = f.emit(f"add i64 {begin}, {distance}")
                pointers = [f.offset(p, s * distance) if isinstance(s, int) and s
                            else self.nest.along(p, s, str(distance))
                            for p, s in zip(first, self._strides(loop), strict=True)]  # fmt: skip
            places.append(Place({loop: index}, pointers, there))
        return self._absorbed(places, [one.initial() for one in accumulators], _CHAIN)

    def _moved_along(self, loop: int, index: str) -> list[str]:
        """The pointers at an index of a loop."""
        return [self.nest.along(p, stride, index)
                for p, stride in zip(self.pointers, self._strides(loop), strict=True)]  # fmt: skip

    def _strides(self, loop: int) -> list[Size]:
        """How the accesses move along a loop. What is in registers has no place."""
        return [0 if a.buffer in self.strips.held else a.strides[loop]
                for a in self.nest.accesses]  # fmt: skip

    def _round(
        self, begin: str, end: str, start: list[str], states: list[list[str]], copies: int
    ) -> tuple[str, list[str], list[list[str]]]:
        """A loop over `copies` strips at once, all of them whole, or over one at a time."""
        f, whole = self.f, copies > 1
        if whole:
            end = self._whole(end)
            ahead = f.emit(f"mul i64 {self.step}, {copies - 1}")
            end = f.emit(f"sub i64 {end}, {ahead}")
        types = [t for one in self.accumulators for t in one.types()]
        flat = [r for state in states for r in state]
        carried = [("i64", i) for i in (begin, *start)] + list(zip(types, flat, strict=True))
        stride = f.emit(f"mul i64 {self.step}, {copies}")
        with f.loop(begin, end, stride, name="strip", accumulators=carried) as loop:
            rank = len(start)
            indices, flat = loop.carried[1 : rank + 1], loop.carried[rank + 1 :]
            places = []
            for _ in range(copies):
                places.append(self._place(indices, whole))
                indices = self._moved(indices)
            states = self._absorbed(places, dealt(self.accumulators, flat))
            following = f.emit(f"add i64 {loop.carried[0]}, {stride}")
            loop.carry(following, *indices, *(r for state in states for r in state))
        results = loop.results
        return results[0], results[1 : rank + 1], dealt(self.accumulators, results[rank + 1 :])

    def _whole(self, end: str) -> str:
        """Up to where all strips are whole."""
        f, width = self.f, self.width
        if width == 1:
            return end
        full = f.emit(f"udiv i64 {self.last}, {width}")
        if len(self.loops) == 1:
            return f.minimum(end, full)
        even = f.emit(f"icmp eq i64 {f.emit(f'mul i64 {full}, {width}')}, {self.last}")
        return f.select(even, "i64", end, 0)

    def _moved(self, indices: Sequence[str]) -> list[str]:
        """The indices of the thread's next strip."""
        f, carry, after = self.f, "0", []
        for index, digit, extent in zip(indices[:0:-1], self.digits[:0:-1], self.extents[:0:-1],
                                        strict=True):  # fmt: skip
            index = f.emit(f"add i64 {f.emit(f'add i64 {index}, {digit}')}, {carry}")
            over = f.emit(f"icmp sge i64 {index}, {extent}")
            less = f.emit(f"sub i64 {index}, {extent}")
            after.append(f.select(over, "i64", less, index))
            carry = f.emit(f"zext i1 {over} to i64")
        first = f.emit(f"add i64 {f.emit(f'add i64 {indices[0]}, {self.digits[0]}')}, {carry}")
        return [first, *reversed(after)]

    def _place(self, indices: Sequence[str], whole: bool) -> Place:
        f, nest = self.f, self.nest
        last = indices[-1] if self.width == 1 else f.emit(f"mul i64 {indices[-1]}, {self.width}")
        at = dict(zip(self.loops, [*indices[:-1], last], strict=True))
        pointers = self.pointers
        for loop, index in at.items():
            pointers = [nest.along(p, a.strides[loop], index)
                        for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
        there = None
        if not whole and self.width > 1:
            left = f.emit(f"sub i64 {self.last}, {last}")
            there = [f.emit(f"icmp sgt i64 {left}, {e}") for e in range(self.width)]
        for loop in at:  # one that may or may not be reduced runs on one side only
            if loop in self.outer:
                at[loop] = f.emit(f"add i64 {at[loop]}, {self.outer[loop]}")
        return Place(at, pointers, there)

    def _absorbed(
        self, places: Sequence[Place], states: list[list[str]], chain: int = 1
    ) -> list[list[str]]:
        """The states with strips added: some of them one after the other, if that is `chain`."""
        f, wide = self.f, self.wide
        if wide is not None and places[0].there is not None:
            wide = f.emit(f"and i1 {wide}, {places[0].there[-1]}")
        self.strips.compute(places, wide)
        after = []
        for one, state in zip(self.accumulators, states, strict=True):
            count = 1 if isinstance(one, FirstPlace) else chain
            several = [places[k : k + count] for k in range(0, len(places), count)]
            after.append(one.absorb(state, [self._partials(one, some) for some in several]))
        self.strips.write(places, wide)
        return after

    def _partials(self, one: Accumulator, several: Sequence[Place]) -> list[str]:
        partials = one.identity()
        for place in several:
            for e, scope in enumerate(place.scopes):
                mask = None if place.there is None else place.there[e]
                partials = one.add(partials, scope.outside.lower(one.store.value), mask, str(e))
        if not isinstance(one, FirstPlace):
            return partials
        (place,) = several
        places = one.store.places
        assert places is not None
        f, total = self.f, "0"
        for loop, stride in enumerate(places):
            if not is_zero(stride):
                index = place.indices.get(loop) or self.outer[loop]
                more = f.emit(f"mul i64 {index}, {self.nest.size(stride)}")
                total = f.emit(f"add i64 {total}, {more}")
        return one.placed(partials, total, self.nest.size(places[-1]))


def product(f: FunctionBuilder, sizes: Sequence[str]) -> str:
    """The product of i64 registers and numbers."""
    total = "1"
    for size in sizes:
        total = size if total == "1" else f.emit(f"mul i64 {total}, {size}")
    return total


def ceil_div(f: FunctionBuilder, a: str, b: str | int) -> str:
    """The quotient of two i64, rounded up."""
    if b == 1:
        return a
    more = f.emit(f"add i64 {a}, {f.emit(f'sub i64 {b}, 1')}")
    return f.emit(f"udiv i64 {more}, {b}")
