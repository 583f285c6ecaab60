"""Every way a kernel can be laid out, in sizes around whole vectors, against the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from jitgraph.codegen import cpu, llvm, target
from jitgraph.codegen.target import Target
from jitgraph.ir import interpreter
from tests.codegen.variants import VARIANTS, sizes_around
from tests.native import compiled

LONG = bool(os.environ.get("JITGRAPH_LONG"))
#: The dtypes that stand for all of them: plain floats, pairs of them, and bytes.
USUAL = ("f32", "c128", "bool")
NAMES = [name for name in VARIANTS
         if LONG or name.startswith("pointwise") or name.split()[-1] not in
         {"f64", "f16", "c64", "i8", "u16", "i32", "i64", "u64", "i16"}]  # fmt: skip


def agrees(name: str) -> None:
    variant = VARIANTS[name]
    fn = variant.function()
    native = compiled(fn, "ieee", arrays=variant.arrays(37))
    for n in sizes_around(variant.lanes(target.host().vector_bytes)):
        if not n and not variant.of_nothing:
            continue
        arrays = variant.arrays(n)
        for got, want in zip(native(*arrays), interpreter.run(fn, arrays), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            np.testing.assert_array_equal(got, want, err_msg=f"{name}, n = {n}")


@pytest.mark.parametrize("name", NAMES)
def test_every_size_is_right_to_the_bit(name: str) -> None:
    agrees(name)
