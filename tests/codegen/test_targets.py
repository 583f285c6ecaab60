"""Code for processors that are not here: it compiles, and calls nothing that nobody has."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen import cpu
from jitgraph.codegen.llvm import assembly
from jitgraph.codegen.target import Target, host
from jitgraph.compiled import Plan, layout_of
from jitgraph.driver import Compilation
from jitgraph.ir.function import Function
from jitgraph.ir.types import DTYPES
from tests.codegen.variants import VARIANTS

#: Every seventh variant, whose order is by kind and dtype, so that all of both occur.
NAMES = list(VARIANTS)[::7]
#: Symbols that every process has.
LIBC = {"memset", "memcpy", "memmove"}
FUNCTIONS = (
    "exp", "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "tanh", "sinh", "arcsin", "arctan",
    "erf", "erfc", "sqrt", "cbrt", "floor", "rint", "sigmoid", "softplus", "gammaln", "j0",
)  # fmt: skip


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Target:
    """An AArch64 processor, with vectors of 16 bytes and no masks."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = replace(host(), triple="aarch64-unknown-linux-gnu", cpu="neoverse-n1", features="",
                     vector_bytes=16, vector_registers=32)  # fmt: skip
    monkeypatch.setattr(cpu, "host", lambda: target)
    return target


def called_from_outside(fn: Function, arrays: list[Any]) -> tuple[str, set[str]]:
    """The assembly of a function, and what it calls that is neither its own nor a library's."""
    plan = Plan(fn, fn.params, (), (), False, False, "real", None)
    module = Compilation(fn, layout_of(plan, arrays), plan.interface(), "real").module
    text = "\n".join(assembly(unit, module.target) for unit in module.units())
    own = set(re.findall(r"^([\w.]+):", text, re.MULTILINE))
    called = set(re.findall(r"\bbl?\s+([A-Za-z_][\w.]*)", text))
    return text, called - own - set(module.imports)


@pytest.mark.parametrize("name", NAMES)
def test_kernels(name: str, arm: Target) -> None:
    variant = VARIANTS[name]
    text, outside = called_from_outside(variant.function(), variant.arrays(37))
    assert outside <= LIBC
    assert "\tret" in text


@pytest.mark.parametrize("dtype", sorted(DTYPES.keys() & {"f16", "bf16", "f32", "f64"}))
def test_functions(dtype: str, arm: Target) -> None:
    def everything(x: Any) -> list[Any]:
        return [getattr(T, name)(x) for name in FUNCTIONS] + [x**1.7, x // 0.3, x % 0.3]

    array = np.ones(37, DTYPES[dtype])
    text, outside = called_from_outside(jg.jit(everything).trace(array), [array])
    assert outside <= LIBC
    lanes = "2d" if dtype == "f64" else "4s"
    assert re.search(rf"\tfmla\tv\d+\.{lanes}", text), "multiply-adds in vectors"
