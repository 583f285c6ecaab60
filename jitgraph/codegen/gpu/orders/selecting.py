"""Elements chosen by a mask, and places in sorted order: the routines of `codegen.selection` and
`codegen.ordering` on a device.

What is chosen moves to as many places from the start as were chosen before it, which a scan counts
(`prefixes`). Selection and partition sort (`sorting`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu import launching as gl
from jitgraph.codegen.gpu.orders.prefixes import scan_rows
from jitgraph.codegen.gpu.orders.sorting import bound, order_of_array
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.ir.kernel import Call
from jitgraph.ir.types import I64

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Emits whether the element at a place of a row is chosen.
Chosen = Callable[[FunctionBuilder, str, str], str]
#: Emits what is done with an element: row, place, how many were chosen before, whether it is.
Put = Callable[[FunctionBuilder, str, str, str, str], None]


class _Count:
    """Counts what is chosen."""

    types, neutral = ["i64"], ["0"]

    def __init__(self, f: FunctionBuilder, chosen: Chosen, put: Put) -> None:
        self.f, self._chosen, self._put = f, chosen, put

    def merged(self, a: Sequence[str], b: Sequence[str]) -> list[str]:
        return [self.f.emit(f"add i64 {a[0]}, {b[0]}")]

    def value(self, row: str, place: str) -> list[str]:
        return [self.f.emit(f"zext i1 {self._chosen(self.f, row, place)} to i64")]

    def put(self, row: str, place: str, before: list[str], value: list[str]) -> None:
        is_chosen = self.f.emit(f"icmp ne i64 {value[0]}, 0")
        self._put(self.f, row, place, before[0], is_chosen)


def _count_rows(
    p: OnDevice,
    name: str,
    rows: str,
    n: str,
    parameters: Sequence[str],
    values: Sequence[str],
    chosen: Chosen,
    put: Put,
) -> None:
    def begin(more: list[str]) -> FunctionBuilder:
        return gl.begin(p, name, [*parameters, *more])

    def launch(kernel: FunctionBuilder, blocks: str, more: list[str]) -> None:
        gl.launch(p, kernel, [*values, *more], blocks)

    scan_rows(p, begin, launch, rows, n, lambda f: _Count(f, chosen, put))


def emit_selection(p: OnDevice, step: Call, name: str) -> bool:
    """`compress` and `positions`: the extents are those of the operands and of the result."""
    n, count = (p.size(size) for size in step.core)
    pointers = [p.start(view) for view in (*step.inputs, *step.outputs)]
    itemsize = step.outputs[0].buffer.dtype.itemsize
    type_ = "<2 x i64>" if itemsize == 16 else f"i{8 * itemsize}"
    compresses = step.routine.symbols[0] == "compress"

    def chosen(f: FunctionBuilder, row: str, place: str) -> str:
        return f.emit(f"icmp ne i8 {gl.read(f, 'i8', '%mask', place)}, 0")

    def put(f: FunctionBuilder, row: str, place: str, before: str, is_chosen: str) -> None:
        room = f.emit(f"icmp slt i64 {before}, %room")
        with f.if_then(f.emit(f"and i1 {is_chosen}, {room}")):
            value = gl.read(f, f"{type_}", "%x", place) if compresses else place
            gl.write(f, type_, value, "%out", before)

    names = ["%x", "%mask", "%out"] if compresses else ["%mask", "%out"]
    parameters = [*(f"ptr noalias {x}" for x in names), "i64 %room"]
    values = [*(f"ptr {pointer}" for pointer in pointers), f"i64 {count}"]
    _count_rows(p, name, "1", n, parameters, values, chosen, put)
    return True


def emit_ordering(p: OnDevice, step: Call, name: str) -> bool:
    """`search_left`, `search_right`, `argselect` and `argpartition`, of keys."""
    (routine,) = step.routine.symbols
    rows = p.product_of(step.batch)
    first, second, out = (p.start(view) for view in (*step.inputs, *step.outputs))
    if routine == "argpartition":
        _partition(p, name, rows, p.size(step.core[0]), first, second, out)
        return True
    m, n = (p.size(size) for size in step.core)
    if routine == "argselect":
        _select(p, name, rows, m, n, first, second, out)
    else:
        _search(p, name, rows, m, n, [first, second, out], strict=routine == "search_left")
    return True


def _search(
    p: OnDevice, name: str, rows: str, m: str, n: str, pointers: Sequence[str], *, strict: bool
) -> None:
    """A thread for each key that is sought."""
    f = gl.begin(p, name, [
        "ptr noalias readonly %known", "ptr noalias readonly %wanted", "ptr noalias %out",
        "i64 %total", "i64 %m", "i64 %n",
    ])  # fmt: skip
    with gl.each_point(f, "%total") as point:
        row = f.emit(f"mul i64 {f.emit(f'udiv i64 {point}, %n')}, %m")
        key = gl.read(f, "i64", "%wanted", str(point))
        known = gl.at(f, "i64", "%known", row)
        found = bound(f, "i64", known, "0", "%m", key, "true" if strict else "false")
        gl.write(f, "i64", found, "%out", str(point))
    total = p.f.emit(f"mul i64 {rows}, {n}")
    gl.launch(p, f, [*(f"ptr {x}" for x in pointers), f"i64 {total}", f"i64 {m}", f"i64 {n}"],
              gl.blocks_of_threads(p, total))  # fmt: skip


def _clamped(f: FunctionBuilder, place: str, extent: str) -> str:
    return f.maximum(f.minimum(place, f.emit(f"sub i64 {extent}, 1")), 0)


def _select(
    p: OnDevice, name: str, rows: str, m: str, n: str, keys: str, places: str, out: str
) -> None:
    """The places that sorting brings to some places; 0 where there are no keys."""
    ordered = order_of_array(p, I64, keys, rows, m)
    f = gl.begin(p, f"{name}.select", [
        "ptr noalias readonly %order", "ptr noalias readonly %places", "ptr noalias %out",
        "i64 %total", "i64 %m", "i64 %n",
    ])  # fmt: skip
    with gl.each_point(f, "%total") as point:
        row = f.emit(f"mul i64 {f.emit(f'udiv i64 {point}, %n')}, %m")
        place = _clamped(f, gl.read(f, "i64", "%places", str(point)), "%m")
        gl.write(f, "i64", "0", "%out", str(point))
        with f.if_then(f.emit("icmp sgt i64 %m, 0")):
            there = gl.read(f, "i64", "%order", f.emit(f"add i64 {row}, {place}"))
            gl.write(f, "i64", there, "%out", str(point))
    total = p.f.emit(f"mul i64 {rows}, {n}")
    gl.launch(p, f, [
        f"ptr {ordered.places}", f"ptr {places}", f"ptr {out}", f"i64 {total}", f"i64 {m}",
        f"i64 {n}",
    ], gl.blocks_of_threads(p, total))  # fmt: skip


def _partition(
    p: OnDevice, name: str, rows: str, n: str, keys: str, place: str, out: str
) -> None:
    """Before the chosen one come, in their order, the elements that sorting puts before it."""
    ordered = order_of_array(p, I64, keys, rows, n)

    def own(f: FunctionBuilder, row: str) -> tuple[str, str]:
        """The chosen one's rank, and its place."""
        rank = _clamped(f, gl.read(f, "i64", "%place", "0"), "%n")
        at = f.emit(f"add i64 {f.emit(f'mul i64 {row}, %n')}, {rank}")
        return rank, gl.read(f, "i64", "%order", at)

    def before(f: FunctionBuilder, row: str, place: str) -> str:
        _, chosen = own(f, row)
        start = f.emit(f"mul i64 {row}, %n")
        key, limit = (gl.read(f, "i64", "%keys", f.emit(f"add i64 {start}, {x}"))
                      for x in (place, chosen))  # fmt: skip
        tie = f.emit(f"and i1 {f.emit(f'icmp eq i64 {key}, {limit}')}, "
                     f"{f.emit(f'icmp slt i64 {place}, {chosen}')}")  # fmt: skip
        return f.emit(f"or i1 {f.emit(f'icmp slt i64 {key}, {limit}')}, {tie}")

    def put(f: FunctionBuilder, row: str, place: str, fronts: str, is_front: str) -> None:
        rank, chosen = own(f, row)
        behind = f.emit(f"zext i1 {f.emit(f'icmp slt i64 {place}, {chosen}')} to i64")
        others = f.emit(f"add i64 {f.emit(f'sub i64 {place}, {fronts}')}, {behind}")
        back = f.emit(f"add i64 {rank}, {others}")
        to = f.select(is_front, "i64", fronts, back)
        to = f.select(f.emit(f"icmp eq i64 {place}, {chosen}"), "i64", rank, to)
        gl.write(f, "i64", place, "%out",
                 f.emit(f"add i64 {f.emit(f'mul i64 {row}, %n')}, {to}"))  # fmt: skip

    _count_rows(
        p, f"{name}.partition", rows, n,
        ["ptr noalias readonly %keys", "ptr noalias readonly %order",
         "ptr noalias readonly %place", "ptr noalias %out", "i64 %n"],
        [f"ptr {keys}", f"ptr {ordered.places}", f"ptr {place}", f"ptr {out}", f"i64 {n}"],
        before, put,
    )  # fmt: skip
