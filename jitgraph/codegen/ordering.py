"""Places in sorted order without sorting: a library of loops over keys, which are i64 numbers.

    void @search_left(ptr known, i64 m, ptr wanted, i64 n, ptr out)    where keys would be put
    void @search_right(...)    the same, behind equal ones
    void @argselect(ptr keys, i64 n, ptr places, i64 k, ptr out)    where the keys are that sorting
                                                                    would bring to some places
    void @argpartition(ptr keys, i64 n, ptr place, ptr out)    all positions: of the keys before the
                                                               one that belongs to a place, its own,
                                                               then the others, each in their order

A search halves the range for several vectors of keys at once, as often as the length of the table
says: nothing is predicted and loads overlap. Selection narrows a range of values around the rank
that is sought by a sample (R. Floyd and R. Rivest, 1975), until few keys are left, which are
sorted. What is random there is decided by a fixed sequence; data made to defeat it are sorted.
"""

from __future__ import annotations

from functools import cache

from jitgraph.codegen.llvm import Compiled, FunctionBuilder, Module
from jitgraph.codegen.natives import numpy_routines
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.target import Target

_LANES = 8
_VECTOR, _BITS = f"<{_LANES} x i64>", f"<{_LANES} x i1>"
#: Vectors of keys that are searched at once.
_SEARCHED = 4
#: So few keys are sorted.
_FEW = 512
#: How many keys stand for all, and how many of them lie to each side of the rank that is sought.
_SAMPLE, _MARGIN = 1024, 40
#: After so many rounds what is left is sorted.
_ROUNDS = 16
#: 2⁶⁴ divided by the golden ratio: its multiples are spread evenly.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_LEAST, _LARGEST = -(1 << 63), (1 << 63) - 1
_SORT = "numpy.sort.i8"


@cache
def ordering_library(target: Target) -> Compiled:
    """The library for a target."""
    imports = {_SORT: numpy_routines().address(_SORT)}
    return cached_library(
        "ordering", lambda: library_text(target), target, passes="explicit", imports=imports
    )


def library_text(target: Target) -> str:
    """All of it, as a module."""
    module = Module(target)
    module.declare(f"declare i32 @{_SORT}(ptr, i64, ptr)")
    module.declare("declare ptr @malloc(i64)")
    module.declare("declare i32 @feraiseexcept(i32)")
    module.declare("declare void @free(ptr)")
    _search(module, "search_left", "slt")
    _search(module, "search_right", "sle")
    _filter(module)
    _narrow(module)
    _find(module)
    _argselect(module)
    _argpartition(module)
    return module.text()


# --- pieces -------------------------------------------------------------------------------------
def _at(f: FunctionBuilder, base: str, index: str | int) -> str:
    return f.emit(f"getelementptr i64, ptr {base}, i64 {index}", "p")


def _load(f: FunctionBuilder, base: str, index: str | int = 0) -> str:
    return f.emit(f"load i64, ptr {_at(f, base, index)}")


def _load_vector(f: FunctionBuilder, base: str, index: str) -> str:
    return f.emit(f"load {_VECTOR}, ptr {_at(f, base, index)}, align 8")


def _splat(f: FunctionBuilder, value: str) -> str:
    first = f.emit(f"insertelement {_VECTOR} poison, i64 {value}, i64 0")
    return f.emit(
        f"shufflevector {_VECTOR} {first}, {_VECTOR} poison, <{_LANES} x i32> zeroinitializer"
    )


def _ones(f: FunctionBuilder, bits: str) -> str:
    """How many lanes are true."""
    byte = f.emit(f"bitcast {_BITS} {bits} to i{_LANES}")
    many = f.intrinsic(f"i{_LANES}", f"@llvm.ctpop.i{_LANES}", f"i{_LANES} {byte}")
    return f.emit(f"zext i{_LANES} {many} to i64")


def _has_compress(f: FunctionBuilder) -> bool:
    target = f.module.target
    return "avx512" in target.features and target.vector_bytes == 64


def _compress(f: FunctionBuilder, values: str, bits: str, out: str) -> None:
    store = f"@llvm.masked.compressstore.v{_LANES}i64"
    f.module.declare(f"declare void {store}({_VECTOR}, ptr, {_BITS})")
    f.do(f"call void {store}({_VECTOR} {values}, ptr {out}, {_BITS} {bits})")


# --- search -------------------------------------------------------------------------------------
def _search(module: Module, name: str, predicate: str) -> None:
    f = FunctionBuilder(
        module, name, ["ptr %known", "i64 %m", "ptr %wanted", "i64 %n", "ptr %out"],
        passes="explicit",
    )  # fmt: skip
    with f.if_then(f.emit("icmp slt i64 %m, 1")):
        f.do("call void @llvm.memset.p0.i64(ptr %out, i8 0, i64 "
             f"{f.emit('shl i64 %n, 3')}, i1 false)")  # fmt: skip
        f.do("ret void")
    module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    block = _LANES * _SEARCHED
    whole = f.emit(f"and i64 %n, {-block}")
    with f.loop(0, whole, block) as i:
        _halved(f, predicate, str(i), _VECTOR, _SEARCHED)
    with f.loop(whole, "%n") as i:
        _halved(f, predicate, str(i), "i64", 1)
    f.do("ret void")


def _halved(f: FunctionBuilder, predicate: str, at: str, type_: str, parts: int) -> None:
    """The places of `parts` registers of keys from position `at` on."""
    places = [f.emit(f"add i64 {at}, {k * _LANES}") for k in range(parts)]
    keys = [f.emit(f"load {type_}, ptr {_at(f, '%wanted', p)}, align 8") for p in places]
    one = type_ == "i64"
    zero = "0" if one else "zeroinitializer"
    header = f.begin_loop("halve", [("i64", "%m"), *[(type_, zero)] * parts])
    size, *bases = header.carried
    body, done = f.label("body"), f.label("done")
    f.branch_if(f.emit(f"icmp sgt i64 {size}, 1"), body, done)
    f.block(body)
    half = f.emit(f"lshr i64 {size}, 1")
    table = _at(f, "%known", f.emit(f"sub i64 {half}, 1"))
    step = half if one else _splat(f, half)
    moved = [_passed(f, predicate, type_, table, base, key, step)
             for base, key in zip(bases, keys, strict=True)]  # fmt: skip
    f.end_loop(header, [f.emit(f"sub i64 {size}, {half}"), *moved])
    f.block(done)
    last = "1" if one else "splat (i64 1)"
    for base, key, place in zip(bases, keys, places, strict=True):
        found = _passed(f, predicate, type_, "%known", base, key, last)
        f.do(f"store {type_} {found}, ptr {_at(f, '%out', place)}, align 8")


def _passed(
    f: FunctionBuilder, predicate: str, type_: str, table: str, base: str, key: str, step: str
) -> str:
    """The base, moved on by a step where the key of the table lies before the one sought."""
    pointers = f.emit(f"getelementptr i64, ptr {table}, {type_} {base}")
    if type_ == "i64":
        known, bits = f.emit(f"load i64, ptr {pointers}"), "i1"
    else:
        gather = f"@llvm.masked.gather.v{_LANES}i64.v{_LANES}p0"
        f.module.declare(
            f"declare {_VECTOR} {gather}(<{_LANES} x ptr>, i32, {_BITS}, {_VECTOR})"
        )
        known = f.emit(f"call {_VECTOR} {gather}(<{_LANES} x ptr> {pointers}, i32 8, "
                       f"{_BITS} splat (i1 true), {_VECTOR} zeroinitializer)")  # fmt: skip
        bits = _BITS
    before = f.emit(f"icmp {predicate} {type_} {known}, {key}")
    further = f.emit(f"add {type_} {base}, {step}")
    return f.emit(f"select {bits} {before}, {type_} {further}, {type_} {base}")


# --- the keys between two -----------------------------------------------------------------------
def _filter(module: Module) -> None:
    """i64 @filter(ptr keys, i64 n, i64 low, i64 high, i64 from, i64 to, ptr out, ptr counts): keys
    `from` .. `to` are written side by side, their number returned; how many are less than low,
    equal to it and equal to high goes to `counts`."""
    f = FunctionBuilder(
        module, "filter",
        ["ptr %keys", "i64 %n", "i64 %low", "i64 %high", "i64 %from", "i64 %to", "ptr %out",
         "ptr %counts"],
        returns="i64", internal=True, passes="explicit",
    )  # fmt: skip
    bounds = ["%low", "%low", "%high", "%from", "%to"]

    def tests(type_: str, bits: str, key: str, values: list[str]) -> list[str]:
        made = [f.emit(f"icmp {how} {type_} {key}, {bound}")
                for how, bound in zip(("slt", "eq", "eq", "sge", "sle"), values, strict=True)
                ]  # fmt: skip
        return [*made[:3], f.emit(f"and {bits} {made[3]}, {made[4]}")]

    start, counts = "0", ["0"] * 4
    if _has_compress(f):
        start = f.emit(f"and i64 %n, {-_LANES}")
        wide = [_splat(f, bound) for bound in bounds]
        with f.loop(0, start, _LANES, accumulators=[("i64", "0")] * 4) as i:
            keys = _load_vector(f, "%keys", str(i))
            found = tests(_VECTOR, _BITS, keys, wide)
            _compress(f, keys, found[-1], _at(f, "%out", i.carried[-1]))
            i.carry(*(f.emit(f"add i64 {c}, {_ones(f, t)}")
                      for c, t in zip(i.carried, found, strict=True)))  # fmt: skip
        counts = i.results
    with f.loop(start, "%n", accumulators=[("i64", c) for c in counts]) as i:
        key = _load(f, "%keys", str(i))
        found = tests("i64", "i1", key, bounds)
        f.do(f"store i64 {key}, ptr {_at(f, '%out', i.carried[-1])}")
        i.carry(*(f.emit(f"add i64 {c}, {f.emit(f'zext i1 {t} to i64')}")
                  for c, t in zip(i.carried, found, strict=True)))  # fmt: skip
    for k, count in enumerate(i.results[:3]):
        f.do(f"store i64 {count}, ptr {_at(f, '%counts', k)}")
    f.do(f"ret i64 {i.results[3]}")


# --- the keys around a rank ---------------------------------------------------------------------
def _narrow(module: Module) -> None:
    """void @narrow(ptr keys, i64 n, i64 place, ptr room, ptr state): keys in order, among them the
    one of rank `place`. `state` gets the first one's rank, their number, where they are, and by
    how much the place of the next one differs (0 where all are equal). `room` holds two arrays of
    n + 1 keys."""
    f = FunctionBuilder(
        module, "narrow", ["ptr %keys", "i64 %n", "i64 %place", "ptr %room", "ptr %state"],
        internal=True, passes="explicit",
    )  # fmt: skip
    sample = f.reserve(f"[{_SAMPLE} x i64]", "sample")
    counts = f.reserve("[3 x i64]", "counts")
    other = _at(f, "%room", f.emit("add i64 %n, 1"))
    header = f.begin_loop("round", [
        ("ptr", "%keys"), ("i64", "%n"), ("i64", "0"), ("i64", "0"), ("ptr", "%room"),
        ("ptr", other),
    ])  # fmt: skip
    source, count, first, rounds, target, spare = header.carried
    few = f.emit(f"icmp sle i64 {count}, {_FEW}")
    late = f.emit(f"icmp sgt i64 {rounds}, {_ROUNDS}")
    with f.if_then(f.emit(f"or i1 {few}, {late}")):
        _sorted_copy(f, source, count, target)
        _settle(f, first, count, target, "1")
    sought = f.emit(f"sub i64 %place, {first}")
    low, high = _bounds(f, sample, source, count, sought)

    def filtered(start: str, end: str) -> str:
        return f.emit(f"call i64 @filter(ptr {source}, i64 {count}, i64 {low}, i64 {high}, "
                      f"i64 {start}, i64 {end}, ptr {target}, ptr {counts})")  # fmt: skip

    below, above = f.emit(f"sub i64 {low}, 1"), f.emit(f"add i64 {high}, 1")
    apart = f.emit(f"icmp slt i64 {low}, {high}")  # else nothing lies between, and they may wrap
    middle = filtered(f.select(apart, "i64", f.emit(f"add i64 {low}, 1"), 1),
                      f.select(apart, "i64", f.emit(f"sub i64 {high}, 1"), 0))  # fmt: skip
    less, same, top = (_load(f, counts, k) for k in range(3))
    top = f.select(apart, "i64", top, 0)
    ends = [less]
    for more in (same, middle, top):
        ends.append(f.emit(f"add i64 {ends[-1]}, {more}"))
    before = [f.emit(f"icmp slt i64 {sought}, {end}") for end in ends]
    for bound, k, number in ((low, 0, same), (high, 2, top)):
        met = f.emit(f"xor i1 {before[k]}, true")
        with f.if_then(f.emit(f"and i1 {met}, {before[k + 1]}")):
            f.do(f"store i64 {bound}, ptr {target}")
            _settle(f, f.emit(f"add i64 {first}, {ends[k]}"), number, target, "0")
    between, missed, again = f.label("between"), f.label("missed"), f.label("again")
    beside = f.emit(f"xor i1 {before[2]}, true")
    f.branch_if(f.emit(f"or i1 {before[0]}, {beside}"), missed, between)
    f.block(missed)  # the sample has misled: the keys on that side
    side = filtered(f.select(before[0], "i64", _LEAST, above),
                    f.select(before[0], "i64", below, _LARGEST))  # fmt: skip
    skipped = f.select(before[0], "i64", 0, ends[3])
    f.branch(again)
    f.block(between)
    f.branch(again)
    f.block(again)
    kept = f.phi("i64", [(middle, between), (side, missed)])
    passed = f.phi("i64", [(ends[1], between), (skipped, missed)])
    f.end_loop(header, [target, kept, f.emit(f"add i64 {first}, {passed}"),
                        f.emit(f"add i64 {rounds}, 1"), spare, target])  # fmt: skip


def _sorted_copy(f: FunctionBuilder, source: str, count: str, target: str) -> None:
    f.module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    size = f.emit(f"shl i64 {count}, 3")
    f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")
    f.emit(f"call i32 @{_SORT}(ptr {target}, i64 {count}, ptr null)")


def _settle(f: FunctionBuilder, first: str, count: str, where: str, step: str) -> None:
    for k, word in enumerate((f"i64 {first}", f"i64 {count}", f"ptr {where}", f"i64 {step}")):
        f.do(f"store {word}, ptr {_at(f, '%state', k)}")
    f.do("ret void")


def _bounds(
    f: FunctionBuilder, sample: str, source: str, count: str, sought: str
) -> tuple[str, str]:
    """Keys of a sample, between which the key of a rank most likely is."""
    with f.loop(0, _SAMPLE) as i:
        share = f.emit(f"zext i64 {f.emit(f'mul i64 {i}, {_GOLDEN}')} to i128")
        scaled = f.emit(f"mul i128 {share}, {f.emit(f'zext i64 {count} to i128')}")
        place = f.emit(f"trunc i128 {f.emit(f'lshr i128 {scaled}, 64')} to i64")
        f.do(f"store i64 {_load(f, source, place)}, ptr {_at(f, sample, str(i))}")
    f.emit(f"call i32 @{_SORT}(ptr {sample}, i64 {_SAMPLE}, ptr null)")
    rank = f.emit(f"udiv i64 {f.emit(f'mul i64 {sought}, {_SAMPLE}')}, {count}")
    left, right = f.emit(f"sub i64 {rank}, {_MARGIN}"), f.emit(f"add i64 {rank}, {_MARGIN}")
    low = _load(f, sample, f.maximum(left, 0))
    high = _load(f, sample, f.minimum(right, _SAMPLE - 1))
    lowest = f.emit(f"icmp slt i64 {left}, 0")
    highest = f.emit(f"icmp sge i64 {right}, {_SAMPLE}")
    return f.select(lowest, "i64", _LEAST, low), f.select(highest, "i64", _LARGEST, high)


# --- where a key is -----------------------------------------------------------------------------
def _find(module: Module) -> None:
    """i64 @find(ptr keys, i64 n, i64 key, i64 r): the place of the r-th key equal to `key`, which
    there is."""
    f = FunctionBuilder(
        module, "find", ["ptr %keys", "i64 %n", "i64 %key", "i64 %r"], returns="i64",
        internal=True, passes="explicit",
    )  # fmt: skip
    whole, key = f.emit(f"and i64 %n, {-_LANES}"), _splat(f, "%key")
    header = f.begin_loop("vectors", [("i64", "0"), ("i64", "%r")])
    at, left = header.carried
    body, on, one_by_one = f.label("body"), f.label("on"), f.label("one_by_one")
    f.branch_if(f.emit(f"icmp slt i64 {at}, {whole}"), body, one_by_one)
    f.block(body)
    equal = f.emit(f"icmp eq {_VECTOR} {_load_vector(f, '%keys', at)}, {key}")
    many = _ones(f, equal)
    f.branch_if(f.emit(f"icmp slt i64 {left}, {many}"), one_by_one, on)
    f.block(on)
    f.end_loop(header, [f.emit(f"add i64 {at}, {_LANES}"), f.emit(f"sub i64 {left}, {many}")])
    f.block(one_by_one)
    rest = f.begin_loop("keys", [("i64", at), ("i64", left)])
    place, before = rest.carried
    same = f.emit(f"icmp eq i64 {_load(f, '%keys', place)}, %key")
    with f.if_then(f.emit(f"and i1 {same}, {f.emit(f'icmp eq i64 {before}, 0')}")):
        f.do(f"ret i64 {place}")
    f.end_loop(rest, [f.emit(f"add i64 {place}, 1"),
                      f.emit(f"sub i64 {before}, {f.emit(f'zext i1 {same} to i64')}")])  # fmt: skip


# --- selection ----------------------------------------------------------------------------------
def _argselect(module: Module) -> None:
    f = FunctionBuilder(
        module, "argselect", ["ptr %keys", "i64 %n", "ptr %places", "i64 %k", "ptr %out"],
        passes="explicit",
    )  # fmt: skip
    f.module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    with f.if_then(f.emit("icmp slt i64 %n, 1")):
        f.do("call void @llvm.memset.p0.i64(ptr %out, i8 0, i64 "
             f"{f.emit('shl i64 %k, 3')}, i1 false)")  # fmt: skip
        f.do("ret void")
    state = f.reserve("[4 x i64]", "state")
    own = f.reserve(f"[{2 * _FEW + 2} x i64]", "own")
    f.do(f"store i64 0, ptr {_at(f, state, 1)}")
    last = f.emit("sub i64 %n, 1")
    many = f.emit(f"icmp sgt i64 %n, {_FEW}")
    # Two arrays of keys: memory that is never touched costs nothing.
    size = f.emit(f"add i64 {f.emit('shl i64 %n, 4')}, 16")
    room = f.emit(f"call ptr @malloc(i64 {f.select(many, 'i64', size, 16)})")
    with f.if_then(f.emit(f"icmp eq ptr {room}, null")):  # the interpreter says it
        f.emit("call i32 @feraiseexcept(i32 1)")
        f.do("ret void")
    used = f.select(many, "ptr", room, own)
    with f.loop(0, "%k") as j:
        place = f.maximum(f.minimum(_load(f, "%places", str(j)), last), 0)
        offset = f.emit(f"sub i64 {place}, {_load(f, state)}")
        known = f.emit(f"icmp ult i64 {offset}, {_load(f, state, 1)}")
        with f.if_then(f.emit(f"xor i1 {known}, true")):
            f.do(f"call void @narrow(ptr %keys, i64 %n, i64 {place}, ptr {used}, ptr {state})")
        first, count = _load(f, state), _load(f, state, 1)
        where = f.emit(f"load ptr, ptr {_at(f, state, 2)}")
        step = _load(f, state, 3)
        offset = f.emit(f"mul i64 {f.emit(f'sub i64 {place}, {first}')}, {step}")
        key = _load(f, where, offset)
        before = f.emit(f"mul i64 {step}, {_rank(f, where, count, step, key)}")
        r = f.emit(f"sub i64 {f.emit(f'sub i64 {place}, {first}')}, {before}")
        found = f.emit(f"call i64 @find(ptr %keys, i64 %n, i64 {key}, i64 {r})")
        f.do(f"store i64 {found}, ptr {_at(f, '%out', str(j))}")
    f.do(f"call void @free(ptr {room})")
    f.do("ret void")


def _rank(f: FunctionBuilder, keys: str, count: str, step: str, key: str) -> str:
    """How many keys in order are less than a key; of equal ones only the first is there."""
    cell = f.reserve("i64", "key")
    rank = f.reserve("i64", "rank")
    f.do(f"store i64 {key}, ptr {cell}")
    size = f.select(f.emit(f"icmp eq i64 {step}, 0"), "i64", 1, count)
    f.do(f"call void @search_left(ptr {keys}, i64 {size}, ptr {cell}, i64 1, ptr {rank})")
    return f.emit(f"load i64, ptr {rank}")


def _argpartition(module: Module) -> None:
    f = FunctionBuilder(
        module, "argpartition", ["ptr %keys", "i64 %n", "ptr %place", "ptr %out"],
        passes="explicit",
    )  # fmt: skip
    with f.if_then(f.emit("icmp slt i64 %n, 1")):
        f.do("ret void")
    cell = f.reserve("i64", "found")
    f.do(f"store i64 0, ptr {cell}")
    f.do(f"call void @argselect(ptr %keys, i64 %n, ptr %place, i64 1, ptr {cell})")
    own = f.emit(f"load i64, ptr {cell}")
    key = _load(f, "%keys", own)
    place = f.maximum(f.minimum(_load(f, "%place"), f.emit("sub i64 %n, 1")), 0)
    f.do(f"store i64 {own}, ptr {_at(f, '%out', place)}")
    # Equal keys in front of the chosen one belong before it.
    behind = f.emit(f"add i64 {place}, 1")
    front, back = _split(f, "0", own, "sle", key, "0", behind)
    _split(f, f.emit(f"add i64 {own}, 1"), "%n", "slt", key, front, back)
    f.do("ret void")


def _split(
    f: FunctionBuilder, start: str, end: str, predicate: str, key: str, front: str, back: str
) -> tuple[str, str]:
    """The positions from start to end, in front those of keys that lie before `key`."""
    state = [front, back]
    if _has_compress(f):
        whole = f.emit(f"and i64 {f.emit(f'sub i64 {end}, {start}')}, {-_LANES}")
        stop, wide = f.emit(f"add i64 {start}, {whole}"), _splat(f, key)
        steps = f"<{', '.join(f'i64 {k}' for k in range(_LANES))}>"
        with f.loop(start, stop, _LANES, accumulators=[("i64", s) for s in state]) as i:
            keys = _load_vector(f, "%keys", str(i))
            before = f.emit(f"icmp {predicate} {_VECTOR} {keys}, {wide}")
            places = f.emit(f"add {_VECTOR} {_splat(f, str(i))}, {steps}")
            after = f.emit(f"xor {_BITS} {before}, splat (i1 true)")
            for bits, at in zip((before, after), i.carried, strict=True):
                _compress(f, places, bits, _at(f, "%out", at))
            i.carry(*(f.emit(f"add i64 {c}, {_ones(f, t)}")
                      for c, t in zip(i.carried, (before, after), strict=True)))  # fmt: skip
        start, state = stop, i.results
    with f.loop(start, end, accumulators=[("i64", s) for s in state]) as i:
        before = f.emit(f"icmp {predicate} i64 {_load(f, '%keys', str(i))}, {key}")
        at = f.select(before, "i64", *i.carried)
        f.do(f"store i64 {i}, ptr {_at(f, '%out', at)}")
        one = f.emit(f"zext i1 {before} to i64")
        i.carry(f.emit(f"add i64 {i.carried[0]}, {one}"),
                f.emit(f"add i64 {i.carried[1]}, {f.emit(f'sub i64 1, {one}')}"))  # fmt: skip
    return i.results[0], i.results[1]
