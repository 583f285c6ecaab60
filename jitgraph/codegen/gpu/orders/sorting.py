"""Rows in order: each block sorts a tile, then pairs of sorted stretches become one, repeatedly.

    tiles     7 3 9 1 | 4 8 2 6      ->   1 3 7 9 | 2 4 6 8         in shared memory, bitonic
    merges    1 3 7 9 | 2 4 6 8      ->   1 2 3 4 6 7 8 9           a thread for each element

What is compared are *keys*, signed integers in the order of the elements (NaNs are equal and last,
zeros of both signs equal), and of equal keys the places they come from: the order is stable, and so
the same however it is found. In a merge an element's place is its own in its stretch and, found by
halving, the number of those before it in the other one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jitgraph.codegen.gpu import launching as gl
from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.registers import load, memory_type, register_type, store
from jitgraph.ir.kernel import Call
from jitgraph.ir.types import DType, is_bfloat16, kind_of

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Elements that a block sorts.
TILE = 1024
_LARGEST = {"i32": (1 << 31) - 1, "i64": (1 << 63) - 1}


@dataclass(frozen=True, slots=True)
class Ordered:
    """Sorted keys, and where they come from in their row (i64), row after row."""

    keys: str
    places: str


# --- keys --------------------------------------------------------------------------------------
def key_type(dtype: DType) -> str:
    return "i32" if dtype.itemsize <= 4 else "i64"


def has_key(dtype: DType) -> bool:
    return kind_of(dtype) in "biuf" and not is_bfloat16(dtype)


def key_of(f: FunctionBuilder, register: str, dtype: DType) -> str:
    """A number's key."""
    type_, wide, kind = register_type(dtype), key_type(dtype), kind_of(dtype)
    bits, wide_bits = 8 * dtype.itemsize, int(wide[1:])
    if kind == "f":
        if type_ == "half":
            register, type_, bits = f.emit(f"fpext half {register} to float"), "float", 32
        raw = f.emit(f"bitcast {type_} {register} to {wide}")
        turned = f.emit(f"xor {wide} {raw}, {_LARGEST[wide]}")
        key = f.select(f.emit(f"icmp slt {wide} {raw}, 0"), wide, turned, raw)
        zero = f.emit(f"fcmp oeq {type_} {register}, 0.0")
        nan = f.emit(f"fcmp uno {type_} {register}, 0.0")
        key = f.select(zero, wide, 0, key)
        return f.select(nan, wide, _LARGEST[wide], key)
    if kind == "u" and bits == wide_bits:
        return f.emit(f"xor {wide} {register}, {-(1 << (bits - 1))}")
    if type_ == wide:
        return register
    return f.emit(f"{'sext' if kind == 'i' else 'zext'} {type_} {register} to {wide}")


# --- order -------------------------------------------------------------------------------------
def order_of_array(p: OnDevice, dtype: DType, start: str, rows: str, n: str) -> Ordered:
    """Sort rows of n elements in C order."""
    f, type_ = p.f, key_type(dtype)
    total = f.emit(f"mul i64 {rows}, {n}")
    width = int(type_[1:]) // 8
    room = [p.scratch_memory(f.emit(f"mul i64 {total}, {width}")) for _ in range(2)]
    places = [p.scratch_memory(f.emit(f"mul i64 {total}, 8")) for _ in range(2)]
    tile = _tile(f, n)
    tiles = gl.divided_up(f, n, tile)
    kernel = gl.routine(p, f"sort_tiles_{dtype.name}", [
        "ptr noalias readonly %x", "ptr noalias %keys", "ptr noalias %places", "i64 %rows",
        "i64 %n", "i64 %tile", "i64 %tiles",
    ], lambda k: _sort_tiles(k, dtype))  # fmt: skip
    gl.launch(p, kernel, [
        f"ptr {start}", f"ptr {room[0]}", f"ptr {places[0]}", f"i64 {rows}", f"i64 {n}",
        f"i64 {tile}", f"i64 {tiles}",
    ], gl.blocks_for(p, f.emit(f"mul i64 {rows}, {tiles}")))  # fmt: skip
    kernel = gl.routine(p, f"merge_{type_}", [
        "ptr noalias %keys", "ptr noalias %places", "ptr noalias %keys_out",
        "ptr noalias %places_out", "i64 %total", "i64 %n", "i64 %width",
    ], lambda k: _merge(k, type_))  # fmt: skip
    header = f.begin_loop("merges", [
        ("i64", tile), ("ptr", room[0]), ("ptr", places[0]), ("ptr", room[1]), ("ptr", places[1]),
    ])  # fmt: skip
    stretch, *now = header.carried
    body, done = f.label("merge"), f.label("sorted")
    f.branch_if(f.emit(f"icmp slt i64 {stretch}, {n}"), body, done)
    f.block(body)
    gl.launch(p, kernel, [
        *(f"ptr {pointer}" for pointer in now), f"i64 {total}", f"i64 {n}", f"i64 {stretch}",
    ], gl.blocks_of_threads(p, total))  # fmt: skip
    f.end_loop(header, [f.emit(f"shl i64 {stretch}, 1"), *now[2:], *now[:2]])
    f.block(done)
    return Ordered(now[0], now[1])


def _tile(f: FunctionBuilder, n: str) -> str:
    """The power of two that a row fits into, as far as tiles go."""
    last = f.emit(f"sub i64 {f.maximum(n, 2)}, 1")
    free = f.intrinsic("i64", "@llvm.ctlz.i64", f"i64 {last}", "i1 false")
    return f.minimum(f.emit(f"shl i64 1, {f.emit(f'sub i64 64, {free}')}"), TILE)


def _sort_tiles(f: FunctionBuilder, dtype: DType) -> None:
    type_ = key_type(dtype)
    width = int(type_[1:]) // 8
    keys = gpu.shared_memory(f, TILE * (width + 4))
    places = f.offset(keys, TILE * width)
    thread, threads = gpu.thread(f), gpu.threads(f)
    pairs = f.emit("lshr i64 %tile, 1")
    with gl.each_task(f, f.emit("mul i64 %rows, %tiles")) as task:
        row = f.emit(f"udiv i64 {task}, %tiles")
        first = f.emit(f"mul i64 {f.emit(f'urem i64 {task}, %tiles')}, %tile")
        with f.loop(thread, "%tile", threads, name="filled") as k:
            _fill(f, dtype, keys, row, first, str(k))
            gl.write(f, "i32", f.emit(f"trunc i64 {k} to i32"), places, str(k))
        gpu.barrier(f)
        sizes = f.begin_loop("size", [("i64", "2")])
        (size,) = sizes.carried
        larger, sorted_ = f.label("larger"), f.label("sorted")
        f.branch_if(f.emit(f"icmp sle i64 {size}, %tile"), larger, sorted_)
        f.block(larger)
        distances = f.begin_loop("distance", [("i64", f.emit(f"lshr i64 {size}, 1"))])
        (distance,) = distances.carried
        nearer, level = f.label("nearer"), f.label("level")
        f.branch_if(f.emit(f"icmp sgt i64 {distance}, 0"), nearer, level)
        f.block(nearer)
        with f.loop(thread, pairs, threads, name="pair") as pair:
            _exchange(f, type_, keys, places, str(pair), distance, size)
        gpu.barrier(f)
        f.end_loop(distances, [f.emit(f"lshr i64 {distance}, 1")])
        f.block(level)
        f.end_loop(sizes, [f.emit(f"shl i64 {size}, 1")])
        f.block(sorted_)
        count = f.minimum(f.emit(f"sub i64 %n, {first}"), "%tile")
        start = f.emit(f"add i64 {f.emit(f'mul i64 {row}, %n')}, {first}")
        with f.loop(thread, count, threads, name="written") as k:
            to = f.emit(f"add i64 {start}, {k}")
            gl.write(f, type_, gl.read(f, type_, keys, str(k)), "%keys", to)
            local = f.emit(f"zext i32 {gl.read(f, 'i32', places, str(k))} to i64")
            gl.write(f, "i64", f.emit(f"add i64 {first}, {local}"), "%places", to)
        gpu.barrier(f)


def _fill(f: FunctionBuilder, dtype: DType, keys: str, row: str, first: str, k: str) -> None:
    """A key of a tile; behind the end of the row there are the largest ones."""
    type_ = key_type(dtype)
    place = f.emit(f"add i64 {first}, {k}")
    inside, outside, done = f.label("inside"), f.label("outside"), f.label("filled")
    f.branch_if(f.emit(f"icmp slt i64 {place}, %n"), inside, outside)
    f.block(inside)
    index = f.emit(f"add i64 {f.emit(f'mul i64 {row}, %n')}, {place}")
    register = load(f, gl.at(f, memory_type(dtype), "%x", index), dtype)
    assert isinstance(register, str)
    gl.write(f, type_, key_of(f, register, dtype), keys, k)
    f.branch(done)
    f.block(outside)
    gl.write(f, type_, str(_LARGEST[type_]), keys, k)
    f.branch(done)
    f.block(done)


def _exchange(
    f: FunctionBuilder, type_: str, keys: str, places: str, pair: str, distance: str, size: str
) -> None:
    """Two elements a distance apart, in the order that the network wants here."""
    below = f.emit(f"and i64 {pair}, {f.emit(f'sub i64 {distance}, 1')}")
    low = f.emit(f"sub i64 {f.emit(f'shl i64 {pair}, 1')}, {below}")
    high = f.emit(f"add i64 {low}, {distance}")
    a, b = (gl.read(f, type_, keys, x) for x in (low, high))
    i, j = (gl.read(f, "i32", places, x) for x in (low, high))
    less = f.emit(f"icmp slt {type_} {b}, {a}")
    equal = f.emit(f"icmp eq {type_} {b}, {a}")
    tie = f.emit(f"and i1 {equal}, {f.emit(f'icmp ult i32 {j}, {i}')}")
    wrong = f.emit(f"or i1 {less}, {tie}")
    falling = f.emit(f"icmp ne i64 {f.emit(f'and i64 {low}, {size}')}, 0")
    with f.if_then(f.emit(f"xor i1 {wrong}, {falling}")):
        for base, kind, x, y in ((keys, type_, b, a), (places, "i32", j, i)):
            gl.write(f, kind, x, base, low)
            gl.write(f, kind, y, base, high)


def _merge(f: FunctionBuilder, type_: str) -> None:
    """Of each element the place in its pair of stretches of `%width`."""
    with gl.each_point(f, "%total") as point:
        row = f.emit(f"mul i64 {f.emit(f'udiv i64 {point}, %n')}, %n")
        place = f.emit(f"sub i64 {point}, {row}")
        both = f.emit("shl i64 %width, 1")
        first = f.emit(f"sub i64 {place}, {f.emit(f'urem i64 {place}, {both}')}")
        middle = f.minimum(f.emit(f"add i64 {first}, %width"), "%n")
        end = f.minimum(f.emit(f"add i64 {first}, {both}"), "%n")
        left = f.emit(f"icmp slt i64 {place}, {middle}")
        key = gl.read(f, type_, "%keys", str(point))
        begin = f.select(left, "i64", middle, first)
        stop = f.select(left, "i64", end, middle)
        other = gl.at(f, type_, "%keys", row)
        found = bound(f, type_, other, begin, stop, key, left)
        before = f.emit(f"sub i64 {found}, {begin}")
        skipped = f.select(left, "i64", 0, f.emit(f"sub i64 {middle}, {first}"))
        own = f.emit(f"sub i64 {place}, {skipped}")
        to = f.emit(f"add i64 {row}, {f.emit(f'add i64 {own}, {before}')}")
        gl.write(f, type_, key, "%keys_out", to)
        gl.write(f, "i64", gl.read(f, "i64", "%places", str(point)), "%places_out", to)


def bound(
    f: FunctionBuilder, type_: str, keys: str, begin: str, end: str, key: str, strict: str
) -> str:
    """The first place from `begin` to `end` of sorted keys where the key there is not less
    (`strict`), or is larger, than this one."""
    header = f.begin_loop("halve", [("i64", begin), ("i64", end)])
    low, high = header.carried
    body, done = f.label("half"), f.label("found")
    f.branch_if(f.emit(f"icmp slt i64 {low}, {high}"), body, done)
    f.block(body)
    middle = f.emit(f"lshr i64 {f.emit(f'add i64 {low}, {high}')}, 1")
    there = gl.read(f, type_, keys, middle)
    less, equal = (f.emit(f"icmp {how} {type_} {there}, {key}") for how in ("slt", "eq"))
    met = f.emit(f"and i1 {equal}, {f.emit(f'xor i1 {strict}, true')}")
    passed = f.emit(f"or i1 {less}, {met}")
    behind = f.emit(f"add i64 {middle}, 1")
    low_next = f.select(passed, "i64", behind, low)
    f.end_loop(header, [low_next, f.select(passed, "i64", high, middle)])
    f.block(done)
    return low


# --- the routines ------------------------------------------------------------------------------
def emit_sort(p: OnDevice, step: Call, name: str) -> bool:
    """`sort` in place, or the places of an array's rows in order."""
    view = (*step.inputs, *step.outputs)[0]
    dtype = view.buffer.dtype
    if not has_key(dtype):
        return False
    f, rows, n = p.f, p.product_of(step.batch), p.size(step.core[0])
    start = p.start(view)
    total = f.emit(f"mul i64 {rows}, {n}")
    sorts = not step.inputs
    if sorts:
        size = f.emit(f"mul i64 {total}, {dtype.itemsize}")
        copy = p.scratch_memory(size)
        p.workspace.copy(f, copy, start, size)
        ordered = order_of_array(p, dtype, copy, rows, n)
        gather_rows(p, dtype, copy, ordered.places, start, total, n)
    else:
        ordered = order_of_array(p, dtype, start, rows, n)
        size = f.emit(f"mul i64 {total}, 8")
        p.workspace.copy(f, p.start(step.outputs[0]), ordered.places, size)
    return True


def gather_rows(
    p: OnDevice, dtype: DType, x: str, places: str, out: str, total: str, n: str
) -> None:
    """out[r, i] = x[r, places[r, i]]."""
    kernel = gl.routine(p, f"gather_{dtype.name}", [
        "ptr noalias readonly %x", "ptr noalias readonly %places", "ptr noalias %out",
        "i64 %total", "i64 %n",
    ], lambda k: _gather(k, dtype))  # fmt: skip
    gl.launch(p, kernel, [
        f"ptr {x}", f"ptr {places}", f"ptr {out}", f"i64 {total}", f"i64 {n}",
    ], gl.blocks_of_threads(p, total))  # fmt: skip


def _gather(k: FunctionBuilder, dtype: DType) -> None:
    type_ = memory_type(dtype)
    with gl.each_point(k, "%total") as point:
        row = k.emit(f"mul i64 {k.emit(f'udiv i64 {point}, %n')}, %n")
        index = k.emit(f"add i64 {row}, {gl.read(k, 'i64', '%places', str(point))}")
        register = load(k, gl.at(k, type_, "%x", index), dtype)
        store(k, register, gl.at(k, type_, "%out", str(point)), dtype)
