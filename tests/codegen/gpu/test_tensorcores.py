"""Products on the simulated tensor cores: those of rounded operands, with sums in f32."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from kernels import Memory, kernel, launch

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.config import PRECISIONS
from jitgraph.errors import OptionError

#: Which element of a matrix each register of a lane is, as CUTLASS writes it down
#: (include/cute/atom/mma_traits_sm80.hpp; the PTX manual's formulas by groupID and
#: threadID_in_group say the same): digits of the lane, then of the register, from the lowest, as
#: (how many, step), where steps go along the rows of the left factor and of the sums, and the
#: columns of the right one, before they go along the other axis.
LAYOUTS: dict[str, tuple[str, int, int, tuple[list[tuple[int, int]], ...]]] = {
    # instruction: (type of operands, rows, depth, (left, right, sums))
    "m8n8k4.row.col.f64": ("f64", 8, 4, (
        [(4, 8), (8, 1)], [(4, 8), (8, 1)], [(4, 16), (8, 1), (2, 8)],
    )),
    "m16n8k8.row.col.tf32": ("f32", 16, 8, (
        [(4, 16), (8, 1), (2, 8), (2, 64)], [(4, 8), (8, 1), (2, 32)],
        [(4, 32), (8, 1), (2, 16), (2, 8)],
    )),
    "m16n8k16.row.col.bf16": ("bf16", 16, 16, (
        [(4, 32), (8, 1), (2, 16), (2, 8), (2, 128)], [(4, 16), (8, 1), (2, 8), (2, 64)],
        [(4, 32), (8, 1), (2, 16), (2, 8)],
    )),
    "m16n8k16.row.col.f32.f32": ("f16", 16, 16, (
        [(4, 32), (8, 1), (2, 16), (2, 8), (2, 128)], [(4, 16), (8, 1), (2, 8), (2, 64)],
        [(4, 32), (8, 1), (2, 16), (2, 8)],
    )),
}  # fmt: skip


def elements(layout: list[tuple[int, int]], lines: int) -> Any:
    """Of each lane and element of its registers, the line and the place along it."""
    offsets = [
        sum(d * step for d, (_, step) in zip(digits[::-1], layout, strict=True))
        for digits in product(*(range(count) for count, _ in reversed(layout)))
    ]
    found = np.array(offsets).reshape(-1, 32).T
    return found % lines, found // lines


def words(values: Any, type_: str) -> Any:
    """Elements of registers as a kernel loads them."""
    if type_ == "bf16":
        return (values.astype("f4").view("u4") >> 16).astype("u2")
    return values.astype({"f64": "f8", "f32": "f4", "f16": "f2"}[type_])


def multiplying(name: str, counts: list[int]) -> str:
    """A kernel that loads so many registers of both factors and the sums, and stores the sums."""
    wide = name.endswith("f64")
    operand = "double" if wide else "<2 x half>" if name.endswith("f32.f32") else "i32"
    total, size = ("double", 8) if wide else ("float", 4)
    types = [operand] * (counts[0] + counts[1]) + [total] * counts[2]
    result = "{ " + ", ".join([total] * counts[2]) + " }"
    lines: list[str] = []
    arguments: list[str] = []
    for which, count in zip("abc", counts, strict=True):
        for k in range(count):
            type_ = types[len(arguments)]
            lines += [f"%{which}{k}.n = mul i64 %tid, {count}",
                      f"%{which}{k}.m = add i64 %{which}{k}.n, {k}",
                      f"%{which}{k}.o = mul i64 %{which}{k}.m, {size}",
                      f"%{which}{k}.p = getelementptr i8, ptr %{which}, i64 %{which}{k}.o",
                      f"%{which}{k} = load {type_}, ptr %{which}{k}.p"]  # fmt: skip
            arguments.append(f"{type_} %{which}{k}")
    mma = f"llvm.nvvm.mma.{name}"
    lines.append(f"%made = call {result} @{mma}({', '.join(arguments)})")
    for k in range(counts[2]):
        lines += [f"%d{k} = extractvalue {result} %made, {k}",
                  f"store {total} %d{k}, ptr %c{k}.p"]  # fmt: skip
    text = kernel("ptr %a, ptr %b, ptr %c", "\n".join([*(f"  {x}" for x in lines), "  ret void\n"]))
    return text.replace("define", f"declare {result} @{mma}({', '.join(types)})\ndefine", 1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_which_lane_has_which_element(name: str) -> None:
    type_, rows, depth, layouts = LAYOUTS[name]
    rng = np.random.default_rng(1)
    left, right, before = (rng.integers(-8, 9, shape).astype("f8")
                           for shape in ((rows, depth), (8, depth), (rows, 8)))  # fmt: skip
    total = "f64" if type_ == "f64" else "f32"
    memory, counts = [], []
    for matrix, layout, kind in zip((left, right, before), layouts, (type_, type_, total),
                                    strict=True):  # fmt: skip
        lines, places = elements(layout, len(matrix))
        assert sorted(zip(lines.flat, places.flat, strict=True)) == [
            *product(range(matrix.shape[0]), range(matrix.shape[1]))
        ]
        given = np.ascontiguousarray(words(matrix[lines, places], kind))
        memory.append(Memory.of(given))
        counts.append(max(given[0].nbytes // (8 if type_ == "f64" else 4), 1))
    assert launch(multiplying(name, counts), 1, 32, memory) == 0
    made = np.empty_like(before)
    made[elements(layouts[2], rows)] = memory[2].read("f8" if type_ == "f64" else "f4").reshape(
        32, -1)  # fmt: skip
    np.testing.assert_array_equal(made, left @ right.T + before)
    for one in memory:
        one.free()


def converting(name: str, result: str, operands: int) -> str:
    """A kernel that converts pairs, of which it gives both or only the first to an instruction."""
    cast = "" if result == "i32" else f"  %bits = bitcast {result} %made to i32\n"
    given = ", ".join(f"float %x{k}" for k in range(operands))
    text = kernel(
        "ptr %x, ptr %y",
        f"""
  %place = getelementptr [2 x float], ptr %x, i64 %tid
  %next = getelementptr float, ptr %place, i64 1
  %x0 = load float, ptr %place
  %x1 = load float, ptr %next
  %made = call {result} @llvm.nvvm.{name}({given})
{cast}  %out = getelementptr i32, ptr %y, i64 %tid
  store i32 {"%bits" if cast else "%made"}, ptr %out
  ret void
""",
    )
    types = ", ".join(["float"] * operands)
    return text.replace("define", f"declare {result} @llvm.nvvm.{name}({types})\ndefine", 1)


def test_roundings() -> None:
    """To tf32 halves go away from zero, to 16 bits to the even one; of two numbers the first
    becomes the upper half of a word (PTX manual, `cvt`)."""
    steps = np.array([1, 1 + 2**-11, 1 + 2**-11 - 2**-20, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8,
                      3.25e38, 65519, 65520, 1e-5, np.inf, 0])  # fmt: skip
    numbers = np.concatenate([steps, -steps, np.random.default_rng(2).normal(size=40)]).astype("f4")
    pairs = np.ascontiguousarray(np.stack([numbers, numbers[::-1]], axis=1))
    x, y = Memory.of(pairs), Memory(4 * len(pairs))

    def converted(name: str, result: str, operands: int) -> Any:
        assert launch(converting(name, result, operands), 1, len(pairs), [x, y]) == 0
        return y.read("u4")

    tf32 = converted("f2tf32.rna", "i32", 1).view("f4")
    for number, made in zip(numbers.astype("f8"), tf32, strict=True):
        if not math.isfinite(number) or not number:
            assert made == number
            continue
        step = 2.0 ** (math.frexp(number)[1] - 11)
        exact = math.copysign(math.floor(abs(number) / step + 0.5) * step, number)
        assert made == exact
    for name, result, kind in (("ff2bf16x2.rn", "<2 x bfloat>", "bf16"),
                               ("ff2f16x2.rn", "<2 x half>", "f16")):  # fmt: skip
        both = converted(name, result, 2)
        for number, made in zip(pairs.T, (both >> 16, both & 0xFFFF), strict=True):
            with np.errstate(over="ignore"):
                expected = words(rounded(number, kind), kind).view("u2")
            np.testing.assert_array_equal(made, expected)
    x.free()
    y.free()


def rounded(x: Any, precision: str) -> Any:
    """What a tensor core multiplies in place of f32."""
    if precision == "f16":
        return x.astype("f2").astype("f4")
    bits = x.view("u4").astype("u8")
    if precision == "tf32":  # halves go up
        return (bits + (1 << 12) & 0xFFFFE000).astype("u4").view("f4")
    return (bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000).astype("u4").view("f4")


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("turned", [False, True])
def test_products_of_rounded_operands(precision: str, turned: bool) -> None:
    x, y, b = T.fmatrix("x"), T.fmatrix("y"), T.fvector("b")
    z = T.dot(x.T, y.T) if turned else T.dot(x, y)
    f = jg.function([x, y, b], z + b, device="simulated", precision=precision)
    rng = np.random.default_rng(3)
    for rows, depth, columns in ((5, 7, 9), (70, 40, 130), (130, 600, 33), (1400, 9, 1300)):
        if turned and rows == 1400:
            continue
        p, q = (rng.normal(size=s).astype("f4") for s in ((rows, depth), (depth, columns)))
        c = rng.normal(size=columns).astype("f4")
        found = np.asarray(f(p.T.copy(), q.T.copy(), c) if turned else f(p, q, c))
        exact = rounded(p, precision).astype("f8") @ rounded(q, precision).astype("f8") + c
        np.testing.assert_allclose(found, exact, rtol=0, atol=2e-6 * np.abs(exact).max())


def test_convolutions_of_rounded_operands() -> None:
    x, w = T.ftensor4("x"), T.ftensor4("w")
    y = T.nnet.conv2d(x, w, border_mode="half")
    outputs = [y, *T.grad((y * y).sum(), [x, w])]
    exact = jg.function([x, w], outputs, device="simulated")
    with jg.config.override(precision="tf32"):
        near = jg.function([x, w], outputs, device="simulated")
    rng = np.random.default_rng(3)
    given = [rng.normal(size=s).astype("f4") for s in ((2, 20, 8, 8), (70, 20, 3, 3))]
    for one, other in zip(near(*given), exact(*given), strict=True):
        a, b = np.asarray(one), np.asarray(other)
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-3 * np.abs(b).max())
        assert (a != b).any()


def test_the_cpu_is_exact() -> None:
    x = T.fmatrix("x")
    p = np.random.default_rng(3).normal(size=(9, 9)).astype("f4")
    f = jg.function([x], T.dot(x, x), device="cpu")
    g = jg.jit(lambda x: x @ x, device="cpu", precision="bf16")
    np.testing.assert_array_equal(f(p), g(p))
    with pytest.raises(OptionError, match="precision"):
        jg.function([x], x, precision="half")
