"""The routines of convolutions by themselves: for processors with other registers and caches, with
memory that holds NaN and ends where they said."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import jitgraph.ir.ops  # noqa: F401  (declares the ops)
from jitgraph.codegen.convolution.library import library_text
from jitgraph.codegen.llvm import Unit, assembly, compile_ir
from jitgraph.codegen.pool import pool_library
from jitgraph.codegen.target import host
from jitgraph.ir.opdef import OPS

DTYPES = {"f32": np.float32, "f64": np.float64}
#: The host as it is; with tiny caches, so that every block and task has a border; with sixteen
#: registers of 16 or 32 bytes, and no masks.
TARGETS = {
    "host": {}, "small": {"l1_bytes": 64, "l2_bytes": 64},
    "narrow": {"vector_bytes": 16, "vector_registers": 16},
    "middle": {"vector_bytes": 32, "vector_registers": 16, "l1_bytes": 64, "l2_bytes": 4096},
}  # fmt: skip
#: Images, groups, channels and filters of a group; input, filters; strides, zeros, dilations.
CASES: list[tuple[tuple[int, ...], ...]] = [
    ((3, 1, 2, 5), (1, 6, 9), (1, 2, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    ((2, 2, 3, 9), (4, 5, 20), (2, 3, 2), (1, 2, 3), (1, 0, 2), (2, 1, 1)),
    ((1, 1, 30, 70), (1, 7, 19), (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 2)),
    ((17, 3, 1, 1), (1, 1, 5), (1, 1, 5), (2, 2, 2), (0, 0, 4), (1, 1, 1)),
    ((3, 4, 1, 1), (2, 7, 37), (2, 3, 3), (1, 2, 1), (0, 1, 1), (1, 1, 2)),
    ((1, 1, 3, 2), (1, 11, 32), (1, 2, 1), (1, 1, 1), (0, 0, 0), (1, 3, 1)),
]
_GUARD = 4096


class Routines:
    """The library for an invented processor."""

    def __init__(self, dtype: str, changes: dict[str, Any]) -> None:
        target = replace(host(), **changes)
        imports = {"parallel_for": pool_library(host()).address("parallel_for")}
        text = library_text(dtype, target)
        self.code = compile_ir(text, target, passes="explicit", imports=imports)
        self.dtype, self.base = DTYPES[dtype], f"convolution_{dtype}"

    def call(self, name: str, words: list[int], shape: Any, *operands: Any) -> Any:
        """The result, and whether memory behind what the routine asked for is untouched."""
        take = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 7)
        function = take(self.code.address(f"{self.base}.{name}"))
        geometry = np.array(words, np.int64)
        out = np.full(shape, np.nan, self.dtype)
        arrays = [np.ascontiguousarray(a, self.dtype) for a in operands]
        given = [geometry.ctypes.data, *(a.ctypes.data for a in arrays), out.ctypes.data]
        asked = function(*given, None, None, None)
        memory = np.full(asked + 64 + _GUARD, 255, np.uint8)  # NaN in every dtype
        start = -memory.ctypes.data % 64
        function(*given, memory.ctypes.data + start, None, None)
        return out, bool((memory[start + asked :] == 255).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_other_processors(dtype: str, target: str) -> None:
    routines, rng = Routines(dtype, TARGETS[target]), np.random.default_rng(4)
    for (n, groups, c, o), spatial, kernel, strides, before, dilation in CASES:
        x = rng.normal(size=(n, groups * c, *spatial))
        w = rng.normal(size=(groups * o, c, *kernel))
        padding = tuple(p for one in before for p in (one, one))
        attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
        y = OPS["conv"].evaluate(x, w, **attrs)
        g = rng.normal(size=y.shape)
        words = [n, groups, c, o, *spatial, *kernel, *y.shape[2:], *strides, *before, *dilation, 0]
        for name, wanted, *operands in (
            ("conv", y, x, w),
            ("conv_by_input", OPS["conv_by_input"].evaluate(g, w, sizes=spatial, **attrs), g, w),
            ("conv_by_filters", OPS["conv_by_filters"].evaluate(x, g, sizes=kernel, **attrs), x, g),
        ):
            found, inside = routines.call(name, words, wanted.shape, *operands)
            told = f"{name} {words}"
            limit = (3e-5 if dtype == "f32" else 1e-12) * (1 + np.abs(wanted).max())
            np.testing.assert_allclose(found, wanted, rtol=0, atol=limit, err_msg=told)
            assert inside, told


def test_code_for_arm_calls_nothing_from_outside() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = replace(host(), triple="aarch64-unknown-linux-gnu", cpu="neoverse-n1", features="",
                     vector_bytes=16, vector_registers=32)  # fmt: skip
    text = assembly(Unit(library_text("f32", target), "explicit"), target)
    own = set(re.findall(r"^([\w.]+):", text, re.MULTILINE))
    called = set(re.findall(r"\bbl?\s+([A-Za-z_][\w.]*)", text))
    assert called - own <= {"memset", "memcpy", "parallel_for"}
    assert re.search(r"\tfmla\tv\d+\.4s", text), "multiply-adds in vectors"
