"""What the device computes and what the CPU of the same machine does: elementwise the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from jitgraph.config import config
from jitgraph.ir.function import Function
from jitgraph.ir.types import DTYPES, kind_of
from tests.codegen.scalar_kernels import random_values, special_values
from tests.device.conftest import NAMED, some
from tests.native import compiled
from tests.test_ops_native import LAYOUTS, Operands, mixed, taking

FLOATS = ("f64", "f32")
#: Around the widths of warps and blocks.
SIZES = (0, 1, 2, 31, 32, 33, 127, 129, 255, 256, 257, 1000)


def twins(
    build: Callable[[], Function], like: Sequence[np.ndarray], algebra: str = "ieee"
) -> tuple[Any, Any]:
    """The program on the device, and on the CPU."""
    there = compiled(build(), algebra, arrays=like)
    with config.override(device="cpu"):
        return there, compiled(build(), algebra, arrays=like)


def differing(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Where bits differ; NaNs are alike."""
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if kind_of(want.dtype) == "c":
        return differing(got.real, want.real) | differing(got.imag, want.imag)
    if kind_of(want.dtype) != "f":
        return np.asarray(got != want)
    bits = f"u{want.dtype.itemsize}"
    same = np.ascontiguousarray(got).view(bits) == np.ascontiguousarray(want).view(bits)
    return ~(same.reshape(want.shape) | ((got != got) & (want != want)))


def assert_same_bits(names: Sequence[str], got: Any, want: Any, told: object = "") -> None:
    found = []
    for name, a, b in zip(names, got, want, strict=True):
        if (apart := differing(a, b)).any():
            first = np.flatnonzero(apart)[0]
            found.append(f"{name}: {apart.sum()} of {apart.size}, first at {first}: "
                         f"{a.flat[first]!r}, on the CPU {b.flat[first]!r}")  # fmt: skip
    assert not found, "\n".join([f"other bits than the CPU's, {told}", *found])


class Every:
    """Every op of a dtype, on the device and on the CPU."""

    def __init__(self, dtype: Any, rank: int, like: Operands, stride: int = 1) -> None:
        self.ops = taking(dtype)[::stride]
        self.names = [op.name for op in self.ops]

        def build() -> Function:
            params = Operands.parameters(dtype, rank, rank, rank)
            return Function(params.all(), [op(*params.of(op)) for op in self.ops])

        self.there, self.here = twins(build, like.all())

    def check(self, operands: Operands, laid_out: Callable[[Any], Any] = lambda a: a) -> None:
        arrays = [laid_out(a) for a in operands.all()]
        assert_same_bits(self.names, self.there(*arrays), self.here(*arrays), arrays[0].shape)


@pytest.mark.parametrize("name", dict.fromkeys(["f32", *some(list(DTYPES), 1)]))
def test_special_values(name: str) -> None:
    """All pairs of special values, and numbers of many magnitudes."""
    dtype = DTYPES[name]
    rng, special = np.random.default_rng(2), special_values(dtype)
    a, b = (part.ravel() for part in np.meshgrid(special, special))
    c = rng.choice(special, a.size)
    operands = Operands.arrays(*(np.concatenate([x, random_values(dtype, 400, rng)])
                                 for x in (a, b, c)))  # fmt: skip
    Every(dtype, 1, operands, 1 if NAMED and name in FLOATS else 3).check(operands)


@pytest.mark.parametrize("name", some(["f64", "f32", "i64", "u8", "c64"], 2))
def test_sizes(name: str) -> None:
    """No element, one, and up to a thousand, in every order in memory."""
    dtype = DTYPES[name]
    every = Every(dtype, 2, mixed(dtype, *[(3, 7)] * 3), 8)
    for size in SIZES:
        every.check(mixed(dtype, *[(1 + size % 2, size)] * 3, seed=size))
    for layout in LAYOUTS.values():
        every.check(mixed(dtype, *[(5, 33)] * 3), layout)


@pytest.mark.parametrize("algebra", ["real", "ieee"])
@pytest.mark.parametrize("name", FLOATS)
def test_chains(name: str, algebra: str) -> None:
    """Many ops in one kernel. Of two products that are added, the real algebra lets either be part
    of a multiply-add; which one, each processor's code decides for itself."""
    dtype = DTYPES[name]
    rng = np.random.default_rng(7)
    arrays = [rng.uniform(-2, 2, (3, 401)).astype(dtype) for _ in range(3)]

    def build() -> Function:
        given = Operands.parameters(dtype, 2, 2, 2)
        a, b, c = given.a, given.b, given.c
        by_name = {op.name: op for op in taking(dtype)}
        exp, sin, tanh, sqrt = (by_name[n] for n in ("exp", "sin", "tanh", "sqrt"))
        return Function([a, b, c], [a * b + c, a * exp(-b * b) + sin(c) * tanh(a - b),
                                    (a * b - c * c) / (sqrt(a * a + b * b) + c * c)])  # fmt: skip

    there, here = twins(build, arrays, algebra)
    got, want = there(*arrays), here(*arrays)
    if algebra == "ieee":
        assert_same_bits(("a*b+c", "transcendental", "quotient"), got, want)
    else:
        assert_same_bits(("a*b+c",), got[:1], want[:1])
        for x, y in zip(got, want, strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=8 * np.finfo(dtype).eps * 8)
