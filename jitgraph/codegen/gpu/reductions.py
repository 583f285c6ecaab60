"""Reductions: a group of threads for each point of the result.

    thread g of a group:  state of elements g, g + G, ...     then the group's states are joined

Where neighbours in memory are reduced, the threads of a group are neighbours (and a group is up to
a warp for short rows, up to a block for long ones); else neighbouring threads belong to
neighbouring points, and groups share out the rows. Few points of many elements are reduced by
several blocks each, which leave their states in memory, and a second kernel joins those in order.
All of that is decided by sizes alone, so a result is the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.points import permuted, split_index
from jitgraph.codegen.gpu.strips import Place, Strips, aligned, copies_of, width_of
from jitgraph.codegen.gpu.together import (
    LOG_THREADS,
    LOG_WARP,
    join,
    registers_of,
    shared_words,
    word_count,
    words_of,
)
from jitgraph.codegen.innermost import is_zero
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.places import FirstPlace, accumulator
from jitgraph.codegen.reductions import BLOCK, Accumulator
from jitgraph.codegen.registers import store
from jitgraph.ir.kernel import Kernel, Store
from jitgraph.ir.opdef import Size

_THREADS = 1 << LOG_THREADS
#: Threads that keep a large device busy, as powers of two: for points, and for their parts.
_POINTS, _PARTS = 17, 18
#: Strips of a thread, from which on it is worth having more of them in a block, and more blocks.
_LOG_FEW, _FEW = 2, 4
#: The same for elements that lie apart, one a strip.
_LOG_ROWS, _ROWS = 3, 16
#: Rows of so many strips are always the work of a whole block.
_LONG = 2048
#: Strips in flight.
_MOST_COPIES = 4


def reduces(kernel: Kernel) -> bool:
    """Whether all that the kernel does is to reduce, and to store what it has at each point."""
    if kernel.sequential or any(s.indices or s.running is not None for s in kernel.stores):
        return False
    loops = frozenset().union(*(s.reduced for s in kernel.stores))
    plain = [s for s in kernel.stores if s.combine is None]
    return bool(loops) and not any(is_zero(s.access.strides[k]) for s in plain for k in loops)


def emit_reductions(arguments: Callable[[Kernel], Arguments], kernel: Kernel) -> None:
    """A kernel, or a pair of kernels, for all that is reduced over the same loops. What is stored
    at each point may be written over what is read, and so comes last."""
    ways = list(dict.fromkeys(s.reduced for s in kernel.stores if s.combine is not None))
    for way in ways:
        stores = tuple(s for s in kernel.stores
                       if (s.combine is None and way == ways[-1])
                       or (s.combine is not None and s.reduced == way))  # fmt: skip
        part = replace(kernel, stores=stores)
        part = replace(part, loads=_used_loads(part))
        _Reduction(arguments(part), part).emit()


def _used_loads(kernel: Kernel) -> tuple:
    body = kernel.body()
    used = {a for v in body if v.op is not None for a in v.op.args} | set(kernel.roots())
    return tuple(load for load in kernel.loads if load.leaf in used)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the host shares out the work: all i64, logarithms to base two."""

    points: str
    strips: str
    log_group: str
    #: Threads of a group, and of neighbouring points, are two to this apart.
    group_step: str
    point_step: str
    parts: str
    #: Strips of a part.
    each: str
    #: Of the threads that join the parts of a point.
    log_join: str

    def values(self) -> list[str]:
        return [f"i64 {getattr(self, field.name)}" for field in fields(self)]




_PARAMETERS = [f"i64 %{field.name}" for field in fields(_Plan)]


class _Reduction:
    """The kernels for one kernel that reduces over one set of loops."""

    def __init__(self, arguments: Arguments, kernel: Kernel) -> None:
        self.arguments, self.p = arguments, arguments.emitter
        rank = len(kernel.extents)
        reduced = next(s.reduced for s in kernel.stores if s.combine is not None)
        combining = [s for s in kernel.stores if s.combine is not None]
        #: Loops that only the call knows to be reduced.
        maybe = [k for k in sorted(reduced)
                 if not all(is_zero(s.access.strides[k]) for s in combining)]  # fmt: skip
        fast = _fastest(kernel)
        outer = [k for k in range(rank) if k not in reduced]
        inner = [k for k in range(rank) if k in reduced]
        for loops in (outer, inner):
            if fast in loops:
                loops.remove(fast)
                loops.append(fast)
        self.depth = len(outer)
        order = [*outer, *inner]
        self.kernel = permuted(kernel, order)
        self.maybe = [order.index(k) for k in maybe]
        #: Whether neighbours in memory are reduced; None where only the call knows.
        self.by_rows = None if fast in maybe else fast in reduced
        self.width = width_of(self.kernel) if self.by_rows else 1
        self.reducing = [s for s in self.kernel.stores if s.combine is not None]

    # --- the host's side ------------------------------------------------------------------------
    def emit(self) -> None:
        p, f, depth = self.p, self.p.f, self.depth
        extents = [p.size(e) for e in self.kernel.extents]
        self.inside = {k: self._reduced_extent(k, extents[k]) for k in self.maybe}
        self.outside = {
            k: f.select(f.emit(f"icmp eq i64 {inside}, 1"), "i64", extents[k], 1)
            for k, inside in self.inside.items()
        }
        points = _product(f, [*extents[:depth], *self.outside.values()])
        reduced = [self.inside.get(k, extents[k]) for k in range(depth, len(extents))]
        strips = _product(f, [*reduced[:-1], _ceil_div(f, reduced[-1], self.width)])
        plan = self._plan(points, strips)
        wide = self._wide()
        scratch = self._scratch(plan)
        tile = f.emit(f"lshr i64 {_THREADS}, {plan.log_group}")
        blocks = f.emit(f"mul i64 {_ceil_div(f, points, tile)}, {plan.parts}")
        more = [*plan.values(), *(f"i64 {x}" for k in self.maybe
                                  for x in (self.inside[k], self.outside[k])),
                f"i1 {wide}", f"ptr {scratch}"]  # fmt: skip
        self.arguments.launch(self._first(), blocks, _THREADS, more)
        several = f.emit(f"icmp ugt i64 {plan.parts}, 1")
        tile = f.emit(f"lshr i64 {_THREADS}, {plan.log_join}")
        blocks = f.select(several, "i64", _ceil_div(f, points, tile), 0)
        self.arguments.launch(self._second(), blocks, _THREADS, more)

    def _reduced_extent(self, loop: int, extent: str) -> str:
        """The extent of a loop where it is reduced, else 1."""
        f, strides = self.p.f, {s.access.strides[loop] for s in self.reducing}
        (stride,) = strides
        zero = f.emit(f"icmp eq i64 {self.p.size(stride)}, 0")
        return f.select(zero, "i64", extent, 1)

    def _plan(self, points: str, strips: str) -> _Plan:
        f = self.p.f
        wanted = f.emit(f"sub i64 {_POINTS}, {_log(f, points)}")
        wanted = f.maximum(wanted, 0)
        count = _log(f, strips)
        rows = columns = "0"
        if self.by_rows is not False:
            worth = f.maximum(f.emit(f"sub i64 {count}, {_LOG_FEW}"), 0)
            several = f.minimum(f.minimum(wanted, worth), LOG_THREADS)
            rows = f.maximum(f.minimum(count, LOG_WARP), several)
            long = f.emit(f"icmp sge i64 {strips}, {_LONG}")
            rows = f.select(long, "i64", LOG_THREADS, rows)
        if self.by_rows is not True:
            beside = f.emit(f"sub i64 {LOG_THREADS}, {f.minimum(_log(f, points), LOG_WARP)}")
            worth = f.maximum(f.emit(f"sub i64 {count}, {_LOG_ROWS}"), 0)
            columns = f.minimum(f.minimum(wanted, worth), beside)
        if self.by_rows is None:
            last = len(self.kernel.extents) - 1
            rowwise = f.emit(f"icmp ne i64 {self.inside.get(last, '1')}, 1")
            log_group = f.select(rowwise, "i64", rows, columns)
            few = f.select(rowwise, "i64", _FEW, _ROWS)
        else:
            rowwise = "true" if self.by_rows else "false"
            log_group = rows if self.by_rows else columns
            few = str(_FEW if self.by_rows else _ROWS)
        beside = f.emit(f"sub i64 {LOG_THREADS}, {log_group}")
        threads = f.emit(f"shl i64 {f.maximum(points, 1)}, {log_group}")
        wanted_parts = _ceil_div(f, str(1 << _PARTS), threads)
        each = f.emit(f"mul i64 {f.emit(f'shl i64 1, {log_group}')}, {few}")
        parts = f.minimum(wanted_parts, f.emit(f"udiv i64 {strips}, {each}"))
        parts = f.maximum(parts, 1)
        return _Plan(
            points, strips, log_group, f.select(rowwise, "i64", 0, beside),
            f.select(rowwise, "i64", log_group, 0), parts, _ceil_div(f, strips, parts),
            f.minimum(_log(f, parts), LOG_THREADS),
        )  # fmt: skip

    def _wide(self) -> str:
        """Whether whole strips are aligned."""
        accesses = [load.access for load in self.kernel.loads]
        accesses += [s.access for s in self.kernel.stores if s.combine is None]
        return aligned(self.p, accesses, self.width)

    def _scratch(self, plan: _Plan) -> str:
        """Memory for the states of all parts, where there are several."""
        p, f = self.p, self.p.f
        words = sum(word_count(accumulator(f, s, 1)) for s in self.reducing)
        cell = p.scratch_cell()
        with f.if_then(f.emit(f"icmp ugt i64 {plan.parts}, 1")):
            p.workspace.give(f, f.emit(f"load ptr, ptr {cell}"))
            states = f.emit(f"mul i64 {plan.points}, {plan.parts}")
            p.malloc(f.emit(f"mul i64 {states}, {4 * words}"), cell)
        return f.emit(f"load ptr, ptr {cell}")

    # --- kernels --------------------------------------------------------------------------------
    def _begin(self) -> tuple[FunctionBuilder, Nest]:
        maybe = [f"i64 %{side}{k}" for k in self.maybe for side in ("inside", "outside")]
        more = [*_PARAMETERS, *maybe, "i1 %wide", "ptr %scratch"]
        f = self.arguments.begin(more=more)
        nest = Nest(self.arguments.context(self.kernel), self.kernel, self.depth)
        self.accumulators = [accumulator(f, s, 1) for s in self.reducing]
        self.shared = gpu.shared_memory(f, shared_words(self.accumulators))
        return f, nest

    def _first(self) -> FunctionBuilder:
        """Reduces the points, or the parts of them."""
        f, nest = self._begin()
        tile, part = self._part(f)
        rank, point = self._share(f, tile, "%log_group", "%group_step", "%point_step")
        real = f.emit(f"icmp ult i64 {point}, %points")
        at, outer = self._at(f, nest, f.select(real, "i64", point, 0))
        nest.compute(self.depth, at)
        begin = f.emit(f"mul i64 {part}, %each")
        end = f.minimum(f.emit(f"add i64 {begin}, %each"), "%strips")
        end = f.select(real, "i64", end, 0)
        sweep = _Sweep(self, nest, at, outer)
        states = sweep.emit(f.emit(f"add i64 {begin}, {rank}"), end)
        states = self._joined(f, states, "%log_group", "%group_step")
        leads = f.emit(f"and i1 {real}, {f.emit(f'icmp eq i64 {rank}, 0')}")
        with f.if_then(leads):
            alone, several = f.label("alone"), f.label("several")
            f.branch_if(f.emit("icmp eq i64 %parts, 1"), alone, several)
            f.block(alone)
            self._finish(f, nest, at, states)
            f.do("ret void")
            f.block(several)
            count = f.emit("mul i64 %points, %parts")
            number = f.emit(f"add i64 {f.emit(f'mul i64 {point}, %parts')}, {part}")
            for one, (k, state) in zip(self.accumulators, self._numbered(states), strict=True):
                for word in words_of(f, one.types(), state):
                    f.do(f"store i32 {word}, ptr {self._slot(f, k, count, number)}")
                    k += 1
        f.do("ret void")
        return f

    def _second(self) -> FunctionBuilder:
        """Joins the parts of a point, by a block."""
        f, nest = self._begin()
        rank, point = self._share(f, gpu.block(f), "%log_join", "0", "%log_join")
        real = f.emit(f"icmp ult i64 {point}, %points")
        point = f.select(real, "i64", point, 0)
        at, _ = self._at(f, nest, point)
        count = f.emit("mul i64 %points, %parts")
        first = f.emit(f"mul i64 {point}, %parts")
        group = f.emit("shl i64 1, %log_join")
        flat = [pair for one in self.accumulators
                for pair in zip(one.types(), one.initial(), strict=True)]  # fmt: skip
        with f.loop(rank, "%parts", group, accumulators=flat) as loop:
            after: list[str] = []
            number = f.emit(f"add i64 {first}, {loop}")
            states = self._dealt(loop.carried)
            for one, (k, state) in zip(self.accumulators, self._numbered(states), strict=True):
                words = [f.emit(f"load i32, ptr {self._slot(f, k + w, count, number)}")
                         for w in range(word_count(one))]  # fmt: skip
                after += one.united(state, registers_of(f, one.types(), words))
            loop.carry(*after)
        states = self._joined(f, self._dealt(loop.results), "%log_join", "0")
        with f.if_then(f.emit(f"and i1 {real}, {f.emit(f'icmp eq i64 {rank}, 0')}")):
            self._finish(f, nest, at, states)
        f.do("ret void")
        return f

    @staticmethod
    def _part(f: FunctionBuilder) -> tuple[str, str]:
        """Which points the block is for, and which part of them."""
        block, parts = (f.emit(f"trunc i64 {x} to i32") for x in (gpu.block(f), "%parts"))
        tile, part = (f.emit(f"{word} i32 {block}, {parts}") for word in ("udiv", "urem"))
        return f.emit(f"zext i32 {tile} to i64"), f.emit(f"zext i32 {part} to i64")

    def _share(
        self, f: FunctionBuilder, tile: str, log_group: str, group_step: str, point_step: str
    ) -> tuple[str, str]:
        """The number of the thread in its group, and the point that the group is for."""
        thread = gpu.thread(f)
        log_tile = f.emit(f"sub i64 {LOG_THREADS}, {log_group}")
        rank = self._digit(f, thread, group_step, log_group)
        within = self._digit(f, thread, point_step, log_tile)
        first = f.emit(f"shl i64 {tile}, {log_tile}")
        return rank, f.emit(f"add i64 {first}, {within}")

    @staticmethod
    def _digit(f: FunctionBuilder, number: str, low: str, bits: str) -> str:
        """So many bits of a number, from bit `low` on."""
        mask = f.emit(f"sub i64 {f.emit(f'shl i64 1, {bits}')}, 1")
        return f.emit(f"and i64 {f.emit(f'lshr i64 {number}, {low}')}, {mask}")

    def _dealt(self, flat: Sequence[str]) -> list[list[str]]:
        rest = iter(flat)
        return [[next(rest) for _ in one.types()] for one in self.accumulators]

    def _numbered(self, states: list[list[str]]) -> list[tuple[int, list[str]]]:
        """The states, each with the number of its first word."""
        found, k = [], 0
        for one, state in zip(self.accumulators, states, strict=True):
            found.append((k, state))
            k += word_count(one)
        return found

    def _slot(self, f: FunctionBuilder, word: int, count: str, number: str) -> str:
        """Where in the scratch memory a word of a state is."""
        at = f.emit(f"add i64 {f.emit(f'mul i64 {count}, {word}')}, {number}")
        return f.emit(f"getelementptr i32, ptr %scratch, i64 {at}")

    def _at(
        self, f: FunctionBuilder, nest: Nest, point: str
    ) -> tuple[list[str], dict[int, str]]:
        """Where the accesses are at a point of the result; the index along each of its loops."""
        loops = [*range(self.depth), *self.maybe]
        extents = [nest.size(self.kernel.extents[k]) for k in range(self.depth)]
        extents += [f"%outside{k}" for k in self.maybe]
        indices = dict(zip(loops, split_index(f, point, extents), strict=True))
        pointers = nest.start()
        for loop, index in indices.items():
            nest.registers[nest.kernel.iterators[loop]] = index
            pointers = [nest.along(p, a.strides[loop], index)
                        for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
        return pointers, indices

    def _joined(
        self, f: FunctionBuilder, states: list[list[str]], log_group: str, step: str
    ) -> list[list[str]]:
        last = f.emit(f"add i64 {step}, {log_group}")
        return [join(f, one, state, self.shared, step, last)
                for one, state in zip(self.accumulators, states, strict=True)]  # fmt: skip

    def _finish(
        self, f: FunctionBuilder, nest: Nest, at: list[str], states: list[list[str]]
    ) -> None:
        for item, one, state in zip(self.reducing, self.accumulators, states, strict=True):
            store(f, one.result(state), at[nest.number(item)], item.access.buffer.dtype)


class _Sweep:
    """The strips that a thread reduces: several at once while they are whole, then one by one."""

    def __init__(
        self, reduction: _Reduction, nest: Nest, pointers: list[str], outer: dict[int, str]
    ) -> None:
        self.nest, self.f, self.pointers, self.outer = nest, nest.f, pointers, outer
        self.depth, self.width = reduction.depth, reduction.width
        self.accumulators, self.reducing = reduction.accumulators, reduction.reducing
        self.strips = Strips(nest, self.width)
        self.wide = "%wide" if self.strips.wide_accesses() else None
        f = self.f
        kernel = reduction.kernel
        self.loops = range(self.depth, nest.rank)
        extents = [f"%inside{k}" if k in reduction.maybe else nest.size(kernel.extents[k])
                   for k in self.loops]  # fmt: skip
        self.last = extents[-1]
        #: How many strips there are along each loop, the innermost one cut into them.
        self.extents = [*extents[:-1], _ceil_div(f, extents[-1], self.width)]
        most = _MOST_COPIES if self.width > 1 else 2 * _MOST_COPIES
        if any(one.is_compensated for one in self.accumulators):
            most = min(most, BLOCK // self.width)
        self.copies = copies_of(kernel, self.width, most)
        #: From one strip of a thread to its next.
        self.step = f.emit("shl i64 1, %log_group")
        self.digits = split_index(f, self.step, self.extents)

    def emit(self, begin: str, end: str) -> list[list[str]]:
        """The states of the strips from `begin` on, before `end`."""
        f = self.f
        states = [one.initial() for one in self.accumulators]
        start = split_index(f, begin, self.extents)
        if self.copies > 1:
            begin, start, states = self._round(begin, end, start, states, self.copies)
        return self._round(begin, end, start, states, 1)[2]

    def _round(
        self, begin: str, end: str, start: list[str], states: list[list[str]], copies: int
    ) -> tuple[str, list[str], list[list[str]]]:
        """The loop over `copies` strips at once, all of them whole, or over one that need not be."""
        f, whole = self.f, copies > 1
        if whole:
            end = f.minimum(end, self._whole())
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
            states = self._absorbed(places, self._dealt(flat), whole)
            following = f.emit(f"add i64 {loop.carried[0]}, {stride}")
            loop.carry(following, *indices, *(r for state in states for r in state))
        results = loop.results
        return results[0], results[1 : rank + 1], self._dealt(results[rank + 1 :])

    def _whole(self) -> str:
        """Up to where all strips are whole."""
        f, width = self.f, self.width
        if width == 1:
            return "%strips"
        full = f.emit(f"udiv i64 {self.last}, {width}")
        if len(self.loops) == 1:
            return full
        even = f.emit(f"icmp eq i64 {f.emit(f'mul i64 {full}, {width}')}, {self.last}")
        return f.select(even, "i64", "%strips", 0)

    def _dealt(self, flat: Sequence[str]) -> list[list[str]]:
        rest = iter(flat)
        return [[next(rest) for _ in one.types()] for one in self.accumulators]

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
        self, places: Sequence[Place], states: list[list[str]], whole: bool
    ) -> list[list[str]]:
        """The states with strips added."""
        f, wide = self.f, self.wide
        if wide is not None and places[0].there is not None:
            wide = f.emit(f"and i1 {wide}, {places[0].there[-1]}")
        self.strips.compute(places, wide)
        after = []
        for item, one, state in zip(self.reducing, self.accumulators, states, strict=True):
            after.append(one.absorb(state, [self._partials(item, one, p) for p in places]))
        self.strips.write(places, wide)
        return after

    def _partials(self, item: Store, one: Accumulator, place: Place) -> list[str]:
        partials = one.identity()
        for e, scope in enumerate(place.scopes):
            mask = None if place.there is None else place.there[e]
            partials = one.add(partials, scope.outside.lower(item.value), mask, str(e))
        if not isinstance(one, FirstPlace):
            return partials
        assert item.places is not None
        f, total = self.f, "0"
        for loop, stride in enumerate(item.places):
            if not is_zero(stride):
                index = place.indices.get(loop) or self.outer[loop]
                more = f.emit(f"mul i64 {index}, {self.nest.size(stride)}")
                total = f.emit(f"add i64 {total}, {more}")
        return one.placed(partials, total, self.nest.size(item.places[-1]))


def _fastest(kernel: Kernel) -> int:
    """The loop along which most loads go by neighbours, the innermost of several."""
    def near(loop: int) -> int:
        accesses = [load.access for load in kernel.loads]
        return sum(a.strides[loop] == a.buffer.dtype.itemsize for a in accesses
                   if isinstance(a.strides[loop], int))  # fmt: skip

    return max(range(len(kernel.extents)), key=lambda k: (near(k), k))


# --- sizes on the host -------------------------------------------------------------------------
def _product(f: FunctionBuilder, sizes: Sequence[str]) -> str:
    total = "1"
    for size in sizes:
        total = size if total == "1" else f.emit(f"mul i64 {total}, {size}")
    return total


def _ceil_div(f: FunctionBuilder, a: str, b: str | int) -> str:
    if b == 1:
        return a
    more = f.emit(f"add i64 {a}, {f.emit(f'sub i64 {b}, 1')}")
    return f.emit(f"udiv i64 {more}, {b}")


def _log(f: FunctionBuilder, number: str) -> str:
    """The least power of two that is not smaller, as its logarithm."""
    less = f.emit(f"sub i64 {f.maximum(number, 1)}, 1")
    zeros = f.intrinsic("i64", "@llvm.ctlz.i64", f"i64 {less}", "i1 false")
    return f.emit(f"sub i64 64, {zeros}")
