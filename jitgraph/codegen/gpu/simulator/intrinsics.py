"""A GPU's intrinsics as functions of the simulator, with the same parameters.

Those that all threads of a warp must execute together (`AT_SITES`) get one more before them: the
number of the place in the kernel.

Operations of a warp are collectives (see `simulator.threads`): each lane's record holds what it
brings, then what it gets.
"""

from __future__ import annotations

from collections.abc import Callable

from jitgraph.codegen.gpu.simulator.copies import COPIES
from jitgraph.codegen.gpu.simulator.state import WARP, Kind, place, put
from jitgraph.codegen.gpu.simulator.tensorcores import TENSOR_CORES
from jitgraph.codegen.llvm import FunctionBuilder, Module

_PREFIX = "llvm.nvvm."
_SREG = f"{_PREFIX}read.ptx.sreg."
_PLACES = ("tid", "ctaid", "ntid", "nctaid")
_SHUFFLES = ("idx", "up", "down", "bfly")
_VOTES = ("all", "any", "ballot")

#: All that there are, and whether they make threads wait for each other.
SYNCHRONISES: dict[str, bool] = {
    **{f"{_SREG}{name}.x": False for name in _PLACES},
    f"{_SREG}laneid": False,
    **{f"{_PREFIX}membar.{scope}": False for scope in ("cta", "gl", "sys")},
    f"{_PREFIX}barrier0": True,
    f"{_PREFIX}barrier.cta.sync.all": True,
    f"{_PREFIX}barrier.cta.sync.aligned.all": True,
    f"{_PREFIX}bar.warp.sync": True,
    **{f"{_PREFIX}shfl.sync.{mode}.i32": True for mode in _SHUFFLES},
    **{f"{_PREFIX}shfl.sync.{mode}.f32": True for mode in _SHUFFLES},
    **{f"{_PREFIX}vote.{vote}.sync": True for vote in _VOTES},
    **{f"{_PREFIX}{name}": False for name in COPIES},
    **{f"{_PREFIX}{name}": waits for name, waits in TENSOR_CORES.items()},
}


def function_of(intrinsic: str) -> str:
    """The function that is an intrinsic here."""
    return "sim_" + intrinsic.removeprefix(_SREG).removeprefix(_PREFIX)


#: Those that all threads of a warp must execute at one place: their functions are told which.
AT_SITES = frozenset(
    name for name, waits in SYNCHRONISES.items()
    if waits and name not in (f"{_PREFIX}bar.warp.sync", f"{_PREFIX}barrier.cta.sync.all")
)  # fmt: skip

#: The functions.
INTRINSICS = tuple(map(function_of, SYNCHRONISES))


def emit_intrinsics(module: Module) -> None:
    """All of them."""
    for name in _PLACES:
        f = FunctionBuilder(module, f"sim_{name}.x", returns="i32")
        f.do(f"ret i32 {f.emit(f'load i32, ptr {place(name)}')}")
    f = FunctionBuilder(module, "sim_laneid", returns="i32")
    thread = f.emit(f"load i32, ptr {place('tid')}")
    f.do(f"ret i32 {f.emit(f'and i32 {thread}, {WARP - 1}')}")
    for scope in ("cta", "gl", "sys"):
        f = FunctionBuilder(module, f"sim_membar.{scope}")
        if scope != "cta":
            f.do("call void @sim_fence()")
        f.do("ret void")
    for name, parameters, site in (
        ("barrier0", ["i64 %site"], "%site"),
        ("barrier.cta.sync.all", ["i32 %barrier"], "0"),
        ("barrier.cta.sync.aligned.all", ["i64 %site", "i32 %barrier"], "%site"),
    ):
        f = FunctionBuilder(module, f"sim_{name}", parameters)
        f.do(f"call void @sim_barrier(i64 {site})")
        f.do("ret void")
    f = FunctionBuilder(module, "sim_bar.warp.sync", ["i32 %mask"])
    f.do("call void @sim_collective(ptr null, i64 0, i32 %mask, ptr null)")
    f.do("ret void")
    _emit_exchange(module)
    for mode, source in _SOURCES.items():
        _emit_shuffle(module, mode, source)
    for vote in _VOTES:
        _emit_vote(module, vote)


def _emit_exchange(module: Module) -> None:
    """`void @exchange(ptr records, i32 mask)`: records of value and lane; the value of that lane
    goes behind them, or the lane becomes -1 where it takes no part."""
    f = FunctionBuilder(module, "exchange", ["ptr %records", "i32 %mask"], internal=True)
    with f.loop(0, WARP) as lane, f.if_then(_takes_part(f, str(lane))):
        record = _record(f, str(lane))
        source = f.emit(f"load i64, ptr {f.offset(record, 8)}")
        good, bad, done = f.label("good"), f.label("bad"), f.label("done")
        f.branch_if(_takes_part(f, source), good, bad)
        f.block(bad)
        f.do(f"store i64 -1, ptr {f.offset(record, 8)}")
        f.branch(done)
        f.block(good)
        value = f.emit(f"load i32, ptr {_record(f, source)}")
        f.do(f"store i32 {value}, ptr {f.offset(record, 16)}")
        f.block(done)
    f.do("ret void")


def _takes_part(f: FunctionBuilder, lane: str) -> str:
    shifted = f.emit(f"lshr i32 %mask, {f.emit(f'trunc i64 {lane} to i32')}")
    return f.emit(f"trunc i32 {shifted} to i1")


def _record(f: FunctionBuilder, lane: str) -> str:
    return f.emit(f"load ptr, ptr {f.emit(f'getelementptr ptr, ptr %records, i64 {lane}')}")


_Source = Callable[[FunctionBuilder, str, str], tuple[str, str]]


def _up(f: FunctionBuilder, distance: str, last: str) -> tuple[str, str]:
    source = f.emit(f"sub i32 %lane, {distance}")
    return source, f.emit(f"icmp sge i32 {source}, {last}")


def _down(f: FunctionBuilder, distance: str, last: str) -> tuple[str, str]:
    source = f.emit(f"add i32 %lane, {distance}")
    return source, f.emit(f"icmp sle i32 {source}, {last}")


def _butterfly(f: FunctionBuilder, distance: str, last: str) -> tuple[str, str]:
    source = f.emit(f"xor i32 %lane, {distance}")
    return source, f.emit(f"icmp sle i32 {source}, {last}")


def _index(f: FunctionBuilder, lane: str, last: str) -> tuple[str, str]:
    return lane, f.emit(f"icmp sle i32 {lane}, {last}")


#: (lane to read from, whether there is one), as the PTX manual defines them.
_SOURCES: dict[str, _Source] = {"idx": _index, "up": _up, "down": _down, "bfly": _butterfly}


def _emit_shuffle(module: Module, mode: str, source_of: _Source) -> None:
    parameters = ["i32 %lane", "i32 %distance", "i32 %clamp"]
    f = FunctionBuilder(module, f"source.{mode}", parameters, returns="i32", internal=True)
    distance = f.emit("and i32 %distance, 31")
    bound = f.emit("and i32 %clamp, 31")
    shifted = f.emit("lshr i32 %clamp, 8")
    segment = f.emit(f"and i32 {shifted}, 31")
    within = f.emit(f"xor i32 {segment}, -1")
    first = f.emit(f"and i32 %lane, {segment}")
    last = f.emit(f"or i32 {first}, {f.emit(f'and i32 {bound}, {within}')}")
    if mode == "idx":
        distance = f.emit(f"or i32 {first}, {f.emit(f'and i32 {distance}, {within}')}")
    source, exists = source_of(f, distance, last)
    f.do(f"ret i32 {f.select(exists, 'i32', source, '%lane')}")
    for type_, name in (("i32", "i32"), ("float", "f32")):
        f = FunctionBuilder(
            module,
            f"sim_shfl.sync.{mode}.{name}",
            ["i64 %site", "i32 %mask", f"{type_} %value", "i32 %distance", "i32 %clamp"],
            returns=type_,
        )
        lane = f.emit("call i32 @sim_laneid()")
        source = f.emit(f"call i32 @source.{mode}(i32 {lane}, i32 %distance, i32 %clamp)")
        wide = f.emit(f"zext i32 {source} to i64")
        record = f.record([f"{type_} %value", f"i64 {wide}", "i64 0"])
        f.do(f"call void @sim_collective(ptr @exchange, i64 %site, i32 %mask, ptr {record})")
        found = f.emit(f"load i64, ptr {f.offset(record, 8)}")
        with f.if_then(f.emit(f"icmp slt i64 {found}, 0")):
            put(f, "fault_other", wide)
            f.do(f"call void @fault(i64 {Kind.LANE}, i64 0, i64 0)")
        f.do(f"ret {type_} {f.emit(f'load {type_}, ptr {f.offset(record, 16)}')}")


def _emit_vote(module: Module, vote: str) -> None:
    if vote == "all":
        f = FunctionBuilder(module, "ballot", ["ptr %records", "i32 %mask"], internal=True)
        votes = f.reserve("i32", "votes")
        f.do(f"store i32 0, ptr {votes}")
        with f.loop(0, WARP) as lane, f.if_then(_takes_part(f, str(lane))):
            value = f.emit(f"load i32, ptr {_record(f, str(lane))}")
            bit = f.emit(f"shl i32 {value}, {f.emit(f'trunc i64 {lane} to i32')}")
            before = f.emit(f"load i32, ptr {votes}")
            f.do(f"store i32 {f.emit(f'or i32 {before}, {bit}')}, ptr {votes}")
        result = f.emit(f"load i32, ptr {votes}")
        with f.loop(0, WARP) as lane, f.if_then(_takes_part(f, str(lane))):
            record = _record(f, str(lane))
            f.do(f"store i32 {result}, ptr {record}")
            f.do(f"store i32 %mask, ptr {f.offset(record, 8)}")
        f.do("ret void")
    returns = "i32" if vote == "ballot" else "i1"
    f = FunctionBuilder(
        module, f"sim_vote.{vote}.sync", ["i64 %site", "i32 %mask", "i1 %value"], returns=returns
    )
    record = f.record([f"i32 {f.emit('zext i1 %value to i32')}", "i32 0"])
    f.do(f"call void @sim_collective(ptr @ballot, i64 %site, i32 %mask, ptr {record})")
    votes_ = f.emit(f"load i32, ptr {record}")
    mask = f.emit(f"load i32, ptr {f.offset(record, 8)}")
    if vote == "ballot":
        f.do(f"ret i32 {votes_}")
    elif vote == "any":
        f.do(f"ret i1 {f.emit(f'icmp ne i32 {votes_}, 0')}")
    else:
        f.do(f"ret i1 {f.emit(f'icmp eq i32 {votes_}, {mask}')}")
