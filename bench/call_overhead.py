"""What a call costs: a compiled function beside an empty builtin and NumPy, interleaved.

    python bench/call_overhead.py

Prints the best and the median nanoseconds of each over many rounds, and what the compiled call
costs more than a METH_FASTCALL builtin that does nothing.
"""

from __future__ import annotations

import ctypes
import statistics
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.llvm import compile_ir
from jitgraph.codegen.target import host

CALLS, ROUNDS = 20_000, 30
METH_FASTCALL = 0x80


class _MethodDef(ctypes.Structure):
    """PyMethodDef"""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def empty_builtin() -> tuple[Callable[..., Any], object]:
    """A builtin that returns None at once, and what must stay alive for it."""
    none = id(None)
    text = (
        "define ptr @nothing(ptr %self, ptr %args, i64 %n) {\n"
        f"  %none = inttoptr i64 {none} to ptr\n"
        "  %count = load i64, ptr %none\n"
        "  %low = trunc i64 %count to i32\n"
        "  %mortal = icmp sgt i32 %low, -1\n"
        "  %one = zext i1 %mortal to i64\n"
        "  %more = add i64 %count, %one\n"
        "  store i64 %more, ptr %none\n"
        "  ret ptr %none\n}\n"
    )
    code = compile_ir(text, host())
    method = _MethodDef(b"nothing", code.address("nothing"), METH_FASTCALL, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
    return make(ctypes.addressof(method), None, None), (code, method)


def main() -> None:
    """Measure and print the table."""
    x, y = T.dvectors("x", "y")
    a, b = T.dscalars("a", "b")
    w = jg.shared(np.zeros(4), name="w")
    builtin, keep = empty_builtin()
    u, v = np.arange(4.0), np.ones(4)
    f, scalars = jg.function([x, y], x + y), jg.function([a, b], a + b)
    update = jg.function([x], updates=[(w, w + x)])
    cases: dict[str, Callable[[], Any]] = {
        "empty METH_FASTCALL builtin": lambda: builtin(u, v),
        "f(x, y), two vectors of 4": lambda: f(u, v),
        "f(a, b), two Python floats": lambda: scalars(1.0, 2.0),
        "f(x) with one update": lambda: update(u),
        "NumPy x + y": lambda: u + v,
        "(the lambda around each)": lambda: None,
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, call in cases.items():
            times[name].append(timeit.timeit(call, number=CALLS) / CALLS * 1e9)
    print(f"{'ns a call':34} {'best':>8} {'median':>8}")
    for name, taken in times.items():
        print(f"{name:34} {min(taken):8.0f} {statistics.median(taken):8.0f}")
    best = {name: min(taken) for name, taken in times.items()}
    more = best["f(x, y), two vectors of 4"] - best["empty METH_FASTCALL builtin"]
    print(f"\nf(x, y) costs {more:.0f} ns more than the empty builtin (goal: at most 150)")
    del keep


if __name__ == "__main__":
    main()
