"""Kernels that do nothing but move memory or multiply and add: what a machine can do at most.

Each is a task for the pool, `void (ptr context, i64 chunk)`; `CONTEXT` are the fields of its
context. A chunk has its own stretch of `size` bytes of both arrays, and goes over it `rounds`
times.
"""

from __future__ import annotations

from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.target import Target

CONTEXT = ("out", "source", "size", "rounds")
#: Vectors per round of a loop over memory; `size` is a multiple of so many.
UNROLLED = 8
#: Independent sums: more than latency times ports of any core yet.
CHAINS = 12
STREAMS = ("copy", "copy_past_caches", "read")
ARITHMETIC = {"f32": ("float", 4), "f64": ("double", 8)}


def library_text(target: Target) -> str:
    """The module with all kernels: the names of `STREAMS` and of `ARITHMETIC`."""
    module = Module(target)
    past_caches = f", !nontemporal {module.metadata('i32 1')}"
    _emit_copy(module, "copy", "")
    _emit_copy(module, "copy_past_caches", past_caches)
    _emit_read(module)
    for name, (type_, itemsize) in ARITHMETIC.items():
        _emit_multiply_add(module, name, type_, target.vector_bytes // itemsize)
    return module.text()


class _Task:
    """A kernel in the making, with what its context says."""

    def __init__(self, module: Module, name: str) -> None:
        f = self.f = FunctionBuilder(module, name, ["ptr %context", "i64 %chunk"])
        self.width = module.target.vector_bytes
        self.vector = f"<{self.width // 8} x i64>"
        self.size, self.rounds = self._field("i64", "size"), self._field("i64", "rounds")
        start = f.emit(f"mul i64 %chunk, {self.size}")
        self.out = f.offset(self._field("ptr", "out"), start)
        self.source = f.offset(self._field("ptr", "source"), start)

    def _field(self, type_: str, name: str) -> str:
        place = self.f.offset("%context", 8 * CONTEXT.index(name))
        return self.f.emit(f"load {type_}, ptr {place}")

    def vectors(self, at: object) -> list[str]:
        """The next vectors of the source."""
        places = [self.f.offset(self.source, str(at))]
        places += [self.f.offset(places[0], k * self.width) for k in range(1, UNROLLED)]
        return [self.f.emit(f"load {self.vector}, ptr {p}, align {self.width}") for p in places]


def _emit_copy(module: Module, name: str, suffix: str) -> None:
    task = _Task(module, name)
    f = task.f
    with f.loop(0, task.rounds), f.loop(0, task.size, UNROLLED * task.width) as at:
        vectors = task.vectors(at)
        start = f.offset(task.out, str(at))
        for k, vector in enumerate(vectors):
            place = f.offset(start, k * task.width)
            f.do(f"store {task.vector} {vector}, ptr {place}, align {task.width}{suffix}")
    f.do("ret void")


def _emit_read(module: Module) -> None:
    task = _Task(module, "read")
    f, vector = task.f, task.vector
    zeros = [(vector, "zeroinitializer")] * UNROLLED
    with f.loop(0, task.rounds, accumulators=zeros) as again:
        carried = list(zip([vector] * UNROLLED, again.carried, strict=True))
        with f.loop(0, task.size, UNROLLED * task.width, accumulators=carried) as at:
            pairs = zip(at.carried, task.vectors(at), strict=True)
            at.carry(*[f.emit(f"xor {vector} {a}, {b}") for a, b in pairs])
        again.carry(*at.results)
    _keep(task, vector, "xor", again.results)


def _emit_multiply_add(module: Module, name: str, type_: str, lanes: int) -> None:
    task = _Task(module, name)
    f, vector = task.f, f"<{lanes} x {type_}>"
    factor = f.emit(f"load {vector}, ptr {task.source}, align {task.width}")
    intrinsic = f"@llvm.fmuladd.v{lanes}f{8 * task.width // lanes}"
    with f.loop(0, task.rounds, accumulators=[(vector, factor)] * CHAINS) as loop:
        loop.carry(*[
            f.intrinsic(vector, intrinsic, f"{vector} {sum_}", f"{vector} {factor}",
                        f"{vector} {factor}")
            for sum_ in loop.carried
        ])  # fmt: skip
    _keep(task, vector, "fadd", loop.results)


def _keep(task: _Task, vector: str, combine: str, parts: list[str]) -> None:
    """Store what all parts combine to, so that none of them is for nothing."""
    total = parts[0]
    for part in parts[1:]:
        total = task.f.emit(f"{combine} {vector} {total}, {part}")
    task.f.do(f"store {vector} {total}, ptr {task.out}, align {task.width}")
    task.f.do("ret void")
