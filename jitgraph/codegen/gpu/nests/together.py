"""What threads of a block do together: the states of their reductions become one.

Threads that work on the same reduction are 2^n threads, 2^m apart. In every step half of them
absorb the states of the other half: through shared memory while the halves are a warp or more
apart, then by shuffles. The order is always the same, so results are the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.reductions import Accumulator
from jitgraph.codegen.registers import Register, register_type
from jitgraph.ir.types import DType

#: Threads of a block that reduces, and of a warp, as powers of two.
LOG_THREADS, LOG_WARP = 8, 5
_THREADS = 1 << LOG_THREADS
_BITS = {"i1": 1, "i8": 8, "i16": 16, "half": 16, "i32": 32, "float": 32, "i64": 64, "double": 64}
_WORD = 4
#: Of the largest blocks that agree.
_MOST_WARPS = 16


def word_count(accumulator: Accumulator) -> int:
    """How many words of 32 bits a state is."""
    return sum(-(-_BITS[type_] // 32) for type_ in accumulator.types())


def words_of(f: FunctionBuilder, types: Sequence[str], registers: Sequence[str]) -> list[str]:
    """Registers as words of 32 bits."""
    words: list[str] = []
    for type_, register in zip(types, registers, strict=True):
        bits = _BITS[type_]
        if type_ in ("half", "float", "double"):
            register = f.emit(f"bitcast {type_} {register} to i{bits}")
        if bits < 32:
            register = f.emit(f"zext i{bits} {register} to i32")
        if bits == 64:
            words.append(f.emit(f"trunc i64 {register} to i32"))
            high = f.emit(f"lshr i64 {register}, 32")
            register = f.emit(f"trunc i64 {high} to i32")
        words.append(register)
    return words


def registers_of(f: FunctionBuilder, types: Sequence[str], words: Sequence[str]) -> list[str]:
    """The registers that became these words."""
    rest, registers = iter(words), []
    for type_ in types:
        bits, register = _BITS[type_], next(rest)
        if bits == 64:
            low, high = (f.emit(f"zext i32 {w} to i64") for w in (register, next(rest)))
            register = f.emit(f"or i64 {low}, {f.emit(f'shl i64 {high}, 32')}")
        elif bits < 32:
            register = f.emit(f"trunc i32 {register} to i{bits}")
        if type_ in ("half", "float", "double"):
            register = f.emit(f"bitcast i{bits} {register} to {type_}")
        registers.append(register)
    return registers


def shared_words(accumulators: Sequence[Accumulator], threads: int = _THREADS) -> int:
    """The bytes of shared memory that `join` needs."""
    return max(map(word_count, accumulators)) * threads * _WORD


def join(
    f: FunctionBuilder,
    accumulator: Accumulator,
    state: list[str],
    shared: str,
    first: str,
    last: str,
) -> list[str]:
    """The states of threads 2^first, ..., 2^(last - 1) apart absorbed by the first of them. All
    threads of the block take part, as often as each other."""
    thread = gpu.thread(f)
    types = accumulator.types()
    begin, end = (f.emit(f"sub i64 {LOG_THREADS}, {x}") for x in (last, first))
    near = LOG_THREADS - LOG_WARP
    carried = list(zip(types, state, strict=True))
    with f.loop(begin, f.minimum(end, near), name="far", accumulators=carried) as loop:
        distance = f.emit(f"lshr i64 {_THREADS // 2}, {loop}")
        words = words_of(f, types, loop.carried)
        mine = f.offset(shared, f.emit(f"mul i64 {thread}, {_WORD}"))
        for k, word in enumerate(words):
            f.do(f"store i32 {word}, ptr {f.offset(mine, k * _THREADS * _WORD)}")
        gpu.barrier(f)
        partner = f.emit(f"and i64 {f.emit(f'add i64 {thread}, {distance}')}, {_THREADS - 1}")
        at = f.offset(shared, f.emit(f"mul i64 {partner}, {_WORD}"))
        others = [f.emit(f"load i32, ptr {f.offset(at, k * _THREADS * _WORD)}")
                  for k in range(len(words))]  # fmt: skip
        gpu.barrier(f)
        loop.carry(*accumulator.united(loop.carried, registers_of(f, types, others)))
    carried = list(zip(types, loop.results, strict=True))
    with f.loop(f.maximum(begin, near), end, name="near", accumulators=carried) as loop:
        distance = f.emit(f"trunc i64 {f.emit(f'lshr i64 {_THREADS // 2}, {loop}')} to i32")
        others = [shuffled_down(f, word, distance) for word in words_of(f, types, loop.carried)]
        loop.carry(*accumulator.united(loop.carried, registers_of(f, types, others)))
    return loop.results


def shuffled_down(f: FunctionBuilder, word: str, distance: str) -> str:
    """The word of the thread so many places further on in the warp."""
    return f.intrinsic(
        "i32", "@llvm.nvvm.shfl.sync.down.i32", "i32 -1", f"i32 {word}", f"i32 {distance}", "i32 31"
    )


def meet(f: FunctionBuilder, log_group: str) -> None:
    """The threads of a group meet; what they wrote before is seen after."""
    warp, block, done = (f.label(n) for n in ("warp", "block", "met"))
    f.branch_if(f.emit(f"icmp sle i64 {log_group}, {LOG_WARP}"), warp, block)
    f.block(warp)
    name = "@llvm.nvvm.bar.warp.sync"
    f.module.declare(f"declare void {name}(i32)")
    f.do(f"call void {name}(i32 -1)")
    f.branch(done)
    f.block(block)
    gpu.barrier(f)
    f.branch(done)
    f.block(done)


def group_words(accumulators: Sequence[Accumulator]) -> int:
    """The bytes of shared memory that `agreed` needs."""
    return sum(map(word_count, accumulators)) * _MOST_WARPS * _WORD


def agreed(
    f: FunctionBuilder,
    accumulators: Sequence[Accumulator],
    states: Sequence[Sequence[str]],
    shared: str,
    log_group: str,
) -> list[list[str]]:
    """The states of neighbouring threads as one, which the first thread of each group has, or of
    each of its warps. Warps meet once, and need the memory until they meet again."""
    types = [t for one in accumulators for t in one.types()]
    near, beyond = f.minimum(log_group, LOG_WARP), f.emit(f"sub i64 {log_group}, {LOG_WARP}")
    several = f.emit(f"icmp sgt i64 {beyond}, 0")
    rounds = f.select(several, "i64", 2, 1)
    carried = [("i64", near), *zip(types, [r for s in states for r in s], strict=True)]
    with f.loop(0, rounds, name="round", accumulators=carried) as loop:
        states = dealt(accumulators, loop.carried[1:])
        states = [_shuffled(f, *pair, loop.carried[0])
                  for pair in zip(accumulators, states, strict=True)]  # fmt: skip
        flat = [r for state in states for r in state]
        before, pass_on, done = f.current, f.label("pass_on"), f.label("passed")
        first = f.emit(f"icmp eq i64 {loop}, 0")
        f.branch_if(f.emit(f"and i1 {first}, {several}"), pass_on, done)
        f.block(pass_on)
        passed = _passed_on(f, types, flat, shared, beyond)
        last = f.current
        f.branch(done)
        f.block(done)
        loop.carry(beyond, *(f.phi(t, [(x, before), (y, last)])
                             for t, x, y in zip(types, flat, passed, strict=True)))  # fmt: skip
    return dealt(accumulators, loop.results[1:])


def _passed_on(
    f: FunctionBuilder, types: Sequence[str], flat: Sequence[str], shared: str, log_count: str
) -> list[str]:
    """For the first threads of each warp the states of the group's warps."""
    thread, words = gpu.thread(f), words_of(f, types, flat)
    size = len(words) * _WORD
    lane = f.emit(f"and i64 {thread}, {(1 << LOG_WARP) - 1}")
    warp = f.emit(f"lshr i64 {thread}, {LOG_WARP}")
    with f.if_then(f.emit(f"icmp eq i64 {lane}, 0")):
        mine = f.offset(shared, f.emit(f"mul i64 {warp}, {size}"))
        for k, word in enumerate(words):
            f.do(f"store i32 {word}, ptr {f.offset(mine, k * _WORD)}")
    gpu.barrier(f)
    within = f.emit(f"sub i64 {f.emit(f'shl i64 1, {log_count}')}, 1")
    start = f.emit(f"and i64 {warp}, {f.emit(f'xor i64 {within}, -1')}")
    which = f.emit(f"add i64 {start}, {f.emit(f'and i64 {lane}, {within}')}")
    at = f.offset(shared, f.emit(f"mul i64 {which}, {size}"))
    return registers_of(
        f, types, [f.emit(f"load i32, ptr {f.offset(at, k * _WORD)}") for k in range(len(words))]
    )


def _shuffled(
    f: FunctionBuilder, accumulator: Accumulator, state: Sequence[str], log_count: str
) -> list[str]:
    """The states of so many neighbours absorbed by the first of them; at most a warp."""
    types = accumulator.types()
    carried = [("i64", log_count), *zip(types, state, strict=True)]
    with f.loop(0, log_count, name="near", accumulators=carried) as loop:
        left = f.emit(f"sub i64 {loop.carried[0]}, 1")
        distance = f.emit(f"trunc i64 {f.emit(f'shl i64 1, {left}')} to i32")
        state = loop.carried[1:]
        others = [shuffled_down(f, word, distance) for word in words_of(f, types, state)]
        loop.carry(left, *accumulator.united(state, registers_of(f, types, others)))
    return loop.results[1:]


def told(f: FunctionBuilder, value: Register, dtype: DType, log_group: str) -> Register:
    """What the first thread of each group has, or of each of its warps, for all of its threads."""
    parts = [value] if isinstance(value, str) else list(value)
    types = [register_type(dtype)] * len(parts)
    near = f.emit(f"shl i64 1, {f.minimum(log_group, LOG_WARP)}")
    first = f.emit(f"and i64 {gpu.thread(f)}, {f.emit(f'sub i64 0, {near}')}")
    lane = f.emit(f"trunc i64 {first} to i32")
    shuffle = "@llvm.nvvm.shfl.sync.idx.i32"
    words = [f.intrinsic("i32", shuffle, "i32 -1", f"i32 {word}", f"i32 {lane}", "i32 31")
             for word in words_of(f, types, parts)]  # fmt: skip
    registers = registers_of(f, types, words)
    return registers[0] if len(registers) == 1 else (registers[0], registers[1])


def dealt(accumulators: Sequence[Accumulator], flat: Sequence[str]) -> list[list[str]]:
    """The registers of all states, state by state."""
    rest = iter(flat)
    return [[next(rest) for _ in one.types()] for one in accumulators]
