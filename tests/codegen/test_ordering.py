"""The library of places in sorted order on other processors than this one."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from jitgraph.codegen.llvm import Unit, assembly, compile_ir
from jitgraph.codegen.natives import numpy_routines
from jitgraph.codegen.ordering import library_text
from jitgraph.codegen.target import Target, host

LIBC = {"memset", "memcpy", "malloc", "free", "feraiseexcept", "numpy.sort.i8"}
Array = np.ndarray[Any, Any]


def test_it_compiles_for_arm() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = replace(host(), triple="aarch64-unknown-linux-gnu", cpu="neoverse-n1", features="",
                     vector_bytes=16, vector_registers=32)  # fmt: skip
    text = assembly(Unit(library_text(target), "explicit"), target)
    own = set(re.findall(r"^([\w.]+):", text, re.MULTILINE))
    assert set(re.findall(r"\bbl?\s+([A-Za-z_][\w.]*)", text)) - own <= LIBC


def narrower() -> Target:
    return replace(host(), cpu="haswell" if "x86_64" in host().triple else host().cpu,
                   features="", vector_bytes=32)  # fmt: skip


@pytest.mark.parametrize("target", [host(), narrower()], ids=["host", "narrower"])
def test_it_computes_the_same_without_wide_vectors(target: Target) -> None:
    imports = {"numpy.sort.i8": numpy_routines().address("numpy.sort.i8")}
    code = compile_ir(library_text(target), target, passes="explicit", imports=imports)

    def call(name: str, *given: Array | int, count: int) -> Array:
        out = np.full(count, -1)
        passed = [a if isinstance(a, int) else a.ctypes.data for a in (*given, out)]
        types = [ctypes.c_int64 if isinstance(a, int) else ctypes.c_void_p for a in (*given, out)]
        ctypes.CFUNCTYPE(None, *types)(code.address(name))(*passed)
        return out

    rng = np.random.default_rng(1)
    for n in (1, 31, 700, 20_000):
        keys = rng.integers(-n, n, n)
        order = np.argsort(keys, kind="stable")
        places = np.array([0, n - 1, n // 2, n // 3])
        found = call("argselect", keys, n, places, 4, count=4)
        np.testing.assert_array_equal(found, order[places])
        place = np.array([n // 3])
        parted = call("argpartition", keys, n, place, count=n)
        np.testing.assert_array_equal(np.sort(parted), np.arange(n))
        assert parted[n // 3] == order[n // 3]
        assert set(parted[: n // 3]) == set(order[: n // 3])
        for side in ("left", "right"):
            got = call(f"search_{side}", np.sort(keys), n, keys, n, count=n)
            np.testing.assert_array_equal(got, np.searchsorted(np.sort(keys), keys, side))
