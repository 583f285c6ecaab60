"""Writes to computed places.

What comes to the same in any order (sums and extrema of integers) is combined in memory by atomic
instructions, by a thread for each value. Devices have them for 32 and 64 bits. Other writes are
sorted by place: whoever writes is alone and the order is known.

    out[index[i]] += x[i]      index   2 0 2 1 2          sorted   0 | 1 | 2 2 2
                               x       a b c d e          from     1   3   0 2 4
    thread of 0: += b          thread of 1: += d          thread of 2: += a, c, e, in this order

The order is stable, so of several values that are put in one place the last one stays. Long runs
are cut: what each further stretch of `STRETCH` comes to is added by the thread of the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitgraph.codegen.gpu import launching as gl
from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.gpu.nests.points import permuted, split_index
from jitgraph.codegen.gpu.orders.sorting import order_of_array
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.codegen.reductions import Accumulator
from jitgraph.codegen.registers import Register, load, register_type, store
from jitgraph.ir.kernel import Kernel
from jitgraph.ir.types import I64, kind_of

#: Elements of a run that one thread adds up.
STRETCH = 128
#: The atomic instructions of what combines integers in any order: with and without sign.
_ATOMIC = {"add": ("add", "add"), "maximum": ("max", "umax"), "minimum": ("min", "umin")}


def scatters(kernel: Kernel) -> bool:
    """Whether a kernel does nothing but write to computed places, several perhaps to one."""
    return len(kernel.stores) == 1 and bool(kernel.stores[0].indices and kernel.stores[0].reduced)


def emit_scatter(arguments: Arguments, kernel: Kernel) -> None:
    """Launch the kernels: places, their order, writes."""
    (item,) = kernel.stores
    outer = sorted(item.reduced)
    inner = [k for k in range(len(kernel.extents)) if k not in item.reduced]
    _Scatter(arguments, permuted(kernel, [*outer, *inner]), len(outer)).emit()


class _Scatter:
    """The first `depth` loops are those over the indices."""

    def __init__(self, arguments: Arguments, kernel: Kernel, depth: int) -> None:
        self.arguments, self.kernel, self.depth = arguments, kernel, depth
        self.p = arguments.emitter
        (self.item,) = kernel.stores
        self.dtype = self.item.access.buffer.dtype

    @property
    def instruction(self) -> str:
        """That which combines in any order, if there is one."""
        kind = kind_of(self.dtype)
        if kind not in "iu" or self.dtype.itemsize < 4 or self.item.combine not in _ATOMIC:
            return ""
        return _ATOMIC[self.item.combine][kind == "u"]

    def emit(self) -> None:
        p, f = self.p, self.p.f
        n = p.product_of(self.kernel.extents[: self.depth])
        width = p.product_of(self.kernel.extents[self.depth :])
        total = f.emit(f"mul i64 {n}, {width}")
        if self.instruction:
            self._launch(self._at_once, ["i64 %total"], [f"i64 {total}"], total)
            return
        made = p.scratch_memory(f.emit(f"mul i64 {n}, 8"))
        self._launch(self._places, ["ptr noalias %made", "i64 %n"], [f"ptr {made}", f"i64 {n}"], n)
        ordered = order_of_array(p, I64, made, "1", n)
        stretches = gl.divided_up(f, n, STRETCH)
        parts = "null"
        if self.item.combine is not None:
            cells = f.emit(f"mul i64 {stretches}, {width}")
            parts = p.scratch_memory(f.emit(f"mul i64 {cells}, {self.dtype.itemsize}"))
        more = ["ptr noalias readonly %sorted", "ptr noalias readonly %from", "ptr noalias %parts",
                "i64 %n", "i64 %width"]  # fmt: skip
        values = [f"ptr {ordered.keys}", f"ptr {ordered.places}", f"ptr {parts}", f"i64 {n}",
                  f"i64 {width}"]  # fmt: skip
        if self.item.combine is None:
            self._launch(self._put, more, values, total)
            return
        self._launch(self._combine, more, values, total)
        long = f.emit(f"icmp sgt i64 {stretches}, 1")
        self._launch(self._join, more, values, f.select(long, "i64", total, 0))

    def _launch(
        self,
        write: Callable[[FunctionBuilder], None],
        more: list[str],
        values: list[str],
        points: str,
    ) -> None:
        f = self.arguments.begin(more=more)
        write(f)
        f.do("ret void")
        blocks = gl.blocks_of_threads(self.p, points)
        self.arguments.launch(f, blocks, gpu.THREADS, values)

    # --- kernels --------------------------------------------------------------------------------
    def _at_once(self, f: FunctionBuilder) -> None:
        """Values are combined where they belong, in whatever order."""
        nest = self._nest()
        with gl.each_point(f, "%total") as point, nest.within(nest.scope()):
            indices = split_index(f, str(point), [nest.size(e) for e in self.kernel.extents])
            pointers = self._moved(nest, indices, 0, nest.start())
            nest.compute(nest.rank, pointers)
            value = nest.outside.lower(self.item.value)
            out = f.offset(pointers[-1], self._place(nest))
            f.do(f"atomicrmw {self.instruction} ptr {out}, {register_type(self.dtype)} {value} "
                 'syncscope("device") monotonic')  # fmt: skip

    def _places(self, f: FunctionBuilder) -> None:
        """How far from its start in the array each write goes."""
        nest = Nest(self.arguments.context(self.kernel), self.kernel, self.depth)
        with gl.each_point(f, "%n") as point, nest.within(nest.scope()):
            pointers = self._moved(nest, self._outer(nest, str(point)), 0, nest.start())
            nest.compute(self.depth, pointers)
            gl.write(f, "i64", self._place(nest), "%made", str(point))

    def _put(self, f: FunctionBuilder) -> None:
        """The last value of each run is written."""
        nest = self._nest()
        with gl.each_point(f, self._total(f)) as point:
            k, rest = self._split(f, str(point))
            following = f.emit(f"add i64 {k}, 1")
            last = self._differs(f, k, following, f.emit(f"icmp slt i64 {following}, %n"))
            with f.if_then(last):
                self._store(nest, k, rest, self._value(nest, k, rest))

    def _combine(self, f: FunctionBuilder) -> None:
        """Each stretch of a run: the first one's goes where it belongs, the others' beside."""
        nest, combine = self._nest(), self.item.combine
        assert combine is not None
        with gl.each_point(f, self._total(f)) as point:
            k, rest = self._split(f, str(point))
            first = self._is_first(f, k)
            cut = f.emit(f"icmp eq i64 {f.emit(f'urem i64 {k}, {STRETCH}')}, 0")
            with f.if_then(f.emit(f"or i1 {first}, {cut}")):
                total = self._run(nest, k, rest, combine, self._before(nest, k, rest, first))
                here, beside, done = f.label("here"), f.label("beside"), f.label("kept")
                f.branch_if(first, here, beside)
                f.block(here)
                self._store(nest, k, rest, total)
                f.branch(done)
                f.block(beside)
                store(f, total, self._part(f, k, rest), self.dtype)
                f.block(done)

    def _before(self, nest: Nest, k: str, rest: str, first: str) -> list[str]:
        """What a stretch begins with: the first one with what is in memory."""
        f, kind = nest.f, register_type(self.dtype)
        there, beside, done = f.label("there"), f.label("none"), f.label("before")
        out = self._out(nest, k, rest)
        f.branch_if(first, there, beside)
        f.block(there)
        found = _parts(load(f, out, self.dtype))
        f.branch(done)
        f.block(beside)
        f.branch(done)
        f.block(done)
        neutral = _parts(Accumulator(f, self.item, 1).neutral())
        return [f.phi(kind, [(a, there), (b, beside)]) for a, b in zip(found, neutral, strict=True)]

    def _run(
        self, nest: Nest, k: str, rest: str, combine: str, parts: Sequence[str]
    ) -> Register:  # fmt: skip
        """What a run comes to, with what was before, up to the end of the stretch."""
        f = nest.f
        kinds = [register_type(self.dtype)] * len(parts)
        stretch = f.emit(f"udiv i64 {k}, {STRETCH}")
        end = f.emit(f"mul i64 {f.emit(f'add i64 {stretch}, 1')}, {STRETCH}")
        end = f.minimum(end, "%n")
        key = gl.read(f, "i64", "%sorted", k)
        header = f.begin_loop("run", [("i64", k), *zip(kinds, parts, strict=True)])
        at, *state = header.carried
        test, body, done = f.label("test"), f.label("more"), f.label("run")
        f.branch_if(f.emit(f"icmp slt i64 {at}, {end}"), test, done)
        f.block(test)
        same = f.emit(f"icmp eq i64 {gl.read(f, 'i64', '%sorted', at)}, {key}")
        f.branch_if(same, body, done)
        f.block(body)
        value = self._value(nest, at, rest)
        after = nest.merged(combine, self.dtype, _register(state), value, 1)
        f.end_loop(header, [f.emit(f"add i64 {at}, 1"), *_parts(after)])
        f.block(done)
        return _register(state)

    def _join(self, f: FunctionBuilder) -> None:
        """The stretches of long runs."""
        nest, combine = self._nest(), self.item.combine
        assert combine is not None
        with gl.each_point(f, self._total(f)) as point:
            k, rest = self._split(f, str(point))
            with f.if_then(self._is_first(f, k)):
                key = gl.read(f, "i64", "%sorted", k)
                behind = f.emit(f"add i64 {f.emit(f'udiv i64 {k}, {STRETCH}')}, 1")
                start = f.emit(f"mul i64 {behind}, {STRETCH}")
                header = f.begin_loop("stretch", [("i64", start)])
                (at,) = header.carried
                test, body, done = f.label("test"), f.label("more"), f.label("run")
                f.branch_if(f.emit(f"icmp slt i64 {at}, %n"), test, done)
                f.block(test)
                same = f.emit(f"icmp eq i64 {gl.read(f, 'i64', '%sorted', at)}, {key}")
                f.branch_if(same, body, done)
                f.block(body)
                out = self._out(nest, k, rest)
                part = load(f, self._part(f, at, rest), self.dtype)
                joined = nest.merged(combine, self.dtype, load(f, out, self.dtype), part, 1)
                store(f, joined, out, self.dtype)
                f.end_loop(header, [f.emit(f"add i64 {at}, {STRETCH}")])
                f.block(done)

    # --- elements -------------------------------------------------------------------------------
    def _nest(self) -> Nest:
        return Nest(self.arguments.context(self.kernel), self.kernel, len(self.kernel.extents))

    def _total(self, f: FunctionBuilder) -> str:
        return f.emit("mul i64 %n, %width")

    def _split(self, f: FunctionBuilder, point: str) -> tuple[str, str]:
        """The place in the order, and the number of the point in the inner loops."""
        return f.emit(f"udiv i64 {point}, %width"), f.emit(f"urem i64 {point}, %width")

    def _is_first(self, f: FunctionBuilder, k: str) -> str:
        before = f.emit(f"sub i64 {k}, 1")
        return self._differs(f, k, before, f.emit(f"icmp sgt i64 {k}, 0"))

    def _differs(self, f: FunctionBuilder, k: str, other: str, exists: str) -> str:
        """Whether there is no such neighbour of the same place."""
        there = f.select(exists, "i64", other, k)
        places = [gl.read(f, "i64", "%sorted", x) for x in (k, there)]
        differ = f.emit(f"icmp ne i64 {places[0]}, {places[1]}")
        return f.emit(f"or i1 {differ}, {f.emit(f'xor i1 {exists}, true')}")

    def _outer(self, nest: Nest, number: str) -> list[str]:
        return split_index(
            nest.f, number, [nest.size(e) for e in self.kernel.extents[: self.depth]]
        )

    def _inner(self, nest: Nest, number: str) -> list[str]:
        return split_index(
            nest.f, number, [nest.size(e) for e in self.kernel.extents[self.depth :]]
        )

    def _moved(
        self, nest: Nest, indices: list[str], first: int, pointers: list[str]
    ) -> list[str]:
        for loop, index in enumerate(indices, first):
            nest.registers[nest.kernel.iterators[loop]] = index
            pointers = [nest.along(p, a.strides[loop], index)
                        for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
        return pointers

    def _place(self, nest: Nest) -> str:
        """How far from its start in the array a write goes."""
        f, place = nest.f, "0"
        for index, stride in self.item.indices:
            by = f.emit(f"mul i64 {nest.outside.lower(index)}, {nest.size(stride)}")
            place = f.emit(f"add i64 {place}, {by}")
        return place

    def _value(self, nest: Nest, k: str, rest: str) -> Register:
        """The value that the element at a place in the order brings."""
        with nest.within(nest.scope()):
            number = gl.read(nest.f, "i64", "%from", k)
            pointers = self._moved(nest, self._outer(nest, number), 0, nest.start())
            pointers = self._moved(nest, self._inner(nest, rest), self.depth, pointers)
            nest.compute(nest.rank, pointers)
            return nest.outside.lower(self.item.value)

    def _out(self, nest: Nest, k: str, rest: str) -> str:
        """Where it goes."""
        with nest.within(nest.scope()):
            pointers = self._moved(nest, self._inner(nest, rest), self.depth, nest.start())
        return nest.f.offset(pointers[-1], gl.read(nest.f, "i64", "%sorted", k))

    def _store(self, nest: Nest, k: str, rest: str, value: Register) -> None:
        store(nest.f, value, self._out(nest, k, rest), self.dtype)

    def _part(self, f: FunctionBuilder, k: str, rest: str) -> str:
        stretch = f.emit(f"udiv i64 {k}, {STRETCH}")
        cell = f.emit(f"add i64 {f.emit(f'mul i64 {stretch}, %width')}, {rest}")
        return f.offset("%parts", f.emit(f"mul i64 {cell}, {self.dtype.itemsize}"))


def _parts(register: Register) -> list[str]:
    return [register] if isinstance(register, str) else list(register)


def _register(parts: list[str]) -> Register:
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])
