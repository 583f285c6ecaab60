"""Reductions: a group of threads for each point of the result.

    thread g of a group:  state of elements g, g + G, ...     then the group's states are joined

Where neighbours in memory are reduced, the threads of a group are neighbours (and a group is up to
a warp for short rows, up to a block for long ones); else neighbouring threads belong to
neighbouring points, and groups share out the rows. Few points of many elements are reduced by
several blocks each, which leave their states in memory, and a second kernel joins those in order.
All of that is decided by sizes alone, so a result is the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.points import permuted, split_index, with_stores
from jitgraph.codegen.gpu.nests.strips import aligned, copies_of, width_of
from jitgraph.codegen.gpu.nests.sweeps import Sweep, ceil_div, product
from jitgraph.codegen.gpu.nests.together import (
    LOG_THREADS,
    LOG_WARP,
    dealt,
    join,
    registers_of,
    shared_words,
    word_count,
    words_of,
)
from jitgraph.codegen.innermost import is_zero
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.places import accumulator
from jitgraph.codegen.reductions import BLOCK
from jitgraph.codegen.registers import store
from jitgraph.ir.kernel import Access, Kernel, Store
from jitgraph.ir.opdef import same_size

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
    """A kernel, or a pair of kernels, for all that is reduced over the same loops, in every call.
    What is stored at each point may be written over what is read, and so comes last."""
    firsts: list[Store] = []
    for item in kernel.stores:
        if item.combine is not None and not any(_alike(first, item) for first in firsts):
            firsts.append(item)
    for first in firsts:
        last = first is firsts[-1]
        stores = tuple(s for s in kernel.stores
                       if (last if s.combine is None else _alike(first, s)))  # fmt: skip
        part = with_stores(kernel, stores)
        _Reduction(arguments(part), part).emit()


def _alike(item: Store, other: Store) -> bool:
    """Whether stores are reduced over the same loops, of which some may only be so in a call where
    their strides are zero."""
    return item.reduced == other.reduced and all(
        same_size(item.access.strides[k], other.access.strides[k]) for k in item.reduced
    )


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
        points = product(f, [*extents[:depth], *self.outside.values()])
        reduced = [self.inside.get(k, extents[k]) for k in range(depth, len(extents))]
        strips = product(f, [*reduced[:-1], ceil_div(f, reduced[-1], self.width)])
        plan = self._plan(points, strips)
        wide = aligned(p, self._moved(), self.width)
        self.wide = None if wide == "false" else "%wide"
        scratch = self._scratch(plan)
        tile = f.emit(f"lshr i64 {_THREADS}, {plan.log_group}")
        blocks = f.emit(f"mul i64 {ceil_div(f, points, tile)}, {plan.parts}")
        more = [*plan.values(), *(f"i64 {x}" for k in self.maybe
                                  for x in (self.inside[k], self.outside[k])),
                f"i1 {wide}", f"ptr {scratch}"]  # fmt: skip
        self.arguments.launch(self._first(), blocks, _THREADS, more)
        several = f.emit(f"icmp ugt i64 {plan.parts}, 1")
        tile = f.emit(f"lshr i64 {_THREADS}, {plan.log_join}")
        blocks = f.select(several, "i64", ceil_div(f, points, tile), 0)
        self.arguments.launch(self._second(), blocks, _THREADS, more)

    def _reduced_extent(self, loop: int, extent: str) -> str:
        """The extent of a loop where it is reduced, else 1."""
        f, stride = self.p.f, self.reducing[0].access.strides[loop]
        zero = f.emit(f"icmp eq i64 {self.p.size(stride)}, 0")
        return f.select(zero, "i64", extent, 1)

    def _plan(self, points: str, strips: str) -> _Plan:
        f = self.p.f
        wanted = f.emit(f"sub i64 {_POINTS}, {log_of(f, points)}")
        wanted = f.maximum(wanted, 0)
        count = log_of(f, strips)
        rows = columns = "0"
        if self.by_rows is not False:
            worth = f.maximum(f.emit(f"sub i64 {count}, {_LOG_FEW}"), 0)
            several = f.minimum(f.minimum(wanted, worth), LOG_THREADS)
            rows = f.maximum(f.minimum(count, LOG_WARP), several)
            long = f.emit(f"icmp sge i64 {strips}, {_LONG}")
            rows = f.select(long, "i64", LOG_THREADS, rows)
        if self.by_rows is not True:
            beside = f.emit(f"sub i64 {LOG_THREADS}, {f.minimum(log_of(f, points), LOG_WARP)}")
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
        wanted_parts = ceil_div(f, str(1 << _PARTS), threads)
        each = f.emit(f"mul i64 {f.emit(f'shl i64 1, {log_group}')}, {few}")
        parts = f.minimum(wanted_parts, f.emit(f"udiv i64 {strips}, {each}"))
        parts = f.maximum(parts, 1)
        return _Plan(
            points, strips, log_group, f.select(rowwise, "i64", 0, beside),
            f.select(rowwise, "i64", log_group, 0), parts, ceil_div(f, strips, parts),
            f.minimum(log_of(f, parts), LOG_THREADS),
        )  # fmt: skip

    def _moved(self) -> list[Access]:
        """The accesses that strips move."""
        stores = [s.access for s in self.kernel.stores if s.combine is None]
        return [load.access for load in self.kernel.loads] + stores

    def _scratch(self, plan: _Plan) -> str:
        """Memory for the states of all parts, where there are several."""
        p, f = self.p, self.p.f
        words = sum(word_count(accumulator(f, s, 1)) for s in self.reducing)
        several = f.emit(f"icmp ugt i64 {plan.parts}, 1")
        states = f.emit(f"mul i64 {plan.points}, {plan.parts}")
        return p.scratch_memory(
            f.select(several, "i64", f.emit(f"mul i64 {states}, {4 * words}"), 0)
        )

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
        extents = [f"%inside{k}" if k in self.maybe else nest.size(self.kernel.extents[k])
                   for k in range(self.depth, nest.rank)]  # fmt: skip
        begin, step = f.emit(f"add i64 {begin}, {rank}"), f.emit("shl i64 1, %log_group")
        sweep = Sweep(nest, at, outer, extents, self.width, step, self._copies(), self.wide)
        states = sweep.emit(begin, end, self.accumulators)
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
            states = dealt(self.accumulators, loop.carried)
            for one, (k, state) in zip(self.accumulators, self._numbered(states), strict=True):
                words = [f.emit(f"load i32, ptr {self._slot(f, k + w, count, number)}")
                         for w in range(word_count(one))]  # fmt: skip
                after += one.united(state, registers_of(f, one.types(), words))
            loop.carry(*after)
        states = self._joined(f, dealt(self.accumulators, loop.results), "%log_join", "0")
        with f.if_then(f.emit(f"and i1 {real}, {f.emit(f'icmp eq i64 {rank}, 0')}")):
            self._finish(f, nest, at, states)
        f.do("ret void")
        return f

    def _copies(self) -> int:
        most = _MOST_COPIES if self.width > 1 else 2 * _MOST_COPIES
        if any(one.is_compensated for one in self.accumulators):
            most = min(most, BLOCK // self.width)
        return copies_of(self.kernel, self.width, most)

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

    def _at(self, f: FunctionBuilder, nest: Nest, point: str) -> tuple[list[str], dict[int, str]]:
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


def _fastest(kernel: Kernel) -> int:
    """The loop along which most loads go by neighbours, the innermost of several."""

    def near(loop: int) -> int:
        accesses = [load.access for load in kernel.loads]
        return sum(a.strides[loop] == a.buffer.dtype.itemsize for a in accesses
                   if isinstance(a.strides[loop], int))  # fmt: skip

    return max(range(len(kernel.extents)), key=lambda k: (near(k), k))


def log_of(f: FunctionBuilder, number: str) -> str:
    """The least power of two that is not smaller, as its logarithm."""
    less = f.emit(f"sub i64 {f.maximum(number, 1)}, 1")
    zeros = f.intrinsic("i64", "@llvm.ctlz.i64", f"i64 {less}", "i1 false")
    return f.emit(f"sub i64 64, {zeros}")
