"""The loops of special functions as machine code: one scalar function for each `Iteration`."""

from __future__ import annotations

from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.registers import Register
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.codegen.target import Target
from jitgraph.ir.formulas.iteration import ITERATIONS, Iteration
from jitgraph.ir.types import F64, Type
from jitgraph.ir.values import Value


def library_text(target: Target) -> str:
    """All of them, as a module."""
    module = Module(target)
    for iteration in ITERATIONS.values():
        _emit(module, iteration)
    return module.text()


def _emit(module: Module, iteration: Iteration) -> None:
    """The state lies in variables, which LLVM puts into registers."""
    names = [f"%x{k}" for k in range(iteration.arity)]
    f = FunctionBuilder(
        module,
        f"iteration.{iteration.name}",
        [f"double {name}" for name in names],
        returns="double",
        attributes="memory(none)",
    )
    given = tuple(Value(Type(F64)) for _ in names)
    known: dict[Value, Register] = dict(zip(given, names, strict=True))

    def lowered(*values: Value, bound: dict[Value, Register]) -> list[Register]:
        scalar = ScalarLowering(f, {**known, **bound}, contract=False)
        return [scalar.lower(value) for value in values]

    start = lowered(*iteration.start(*given), bound={})
    slots = [f.emit("alloca double") for _ in start]
    for slot, register in zip(slots, start, strict=True):
        f.do(f"store double {register}, ptr {slot}")
    steps = f.emit("alloca i64")
    f.do(f"store i64 0, ptr {steps}")
    head, body, done = f.label("head"), f.label("body"), f.label("done")
    f.block(head)
    state = tuple(Value(Type(F64)) for _ in slots)
    bound: dict[Value, Register] = {
        value: f.emit(f"load double, ptr {slot}") for value, slot in zip(state, slots, strict=True)
    }
    (more,) = lowered(iteration.more(given, state), bound=bound)
    count = f.emit(f"load i64, ptr {steps}")
    within = f.emit(f"icmp ult i64 {count}, {iteration.limit}")
    f.branch_if(f.emit(f"and i1 {more}, {within}"), body, done)
    f.block(body)
    f.do(f"store i64 {f.emit(f'add i64 {count}, 1')}, ptr {steps}")
    following = lowered(*iteration.step(given, state), bound=bound)
    for slot, register in zip(slots, following, strict=True):
        f.do(f"store double {register}, ptr {slot}")
    f.branch(head)
    f.block(done)
    f.do(f"ret double {bound[state[0]]}")
