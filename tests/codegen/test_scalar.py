"""Every elementwise op and every cast, compiled, against NumPy: the cases come from the tables."""

import ctypes
from functools import cache
from typing import Any

import numpy as np
import pytest
from scalar_kernels import (
    DTYPES,
    Array,
    compile_kernels,
    every_f16,
    random_values,
    special_values,
)

from jitgraph.codegen.llvm import FunctionBuilder, Module, compile_ir
from jitgraph.codegen.registers import constant_register
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.codegen.target import host
from jitgraph.errors import DTypeError
from jitgraph.ir.elementwise import Elementwise, cast, resolve
from jitgraph.ir.opdef import OPS
from jitgraph.ir.ops.arithmetic import where
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.ops.special import FORMULAS
from jitgraph.ir.types import Type, as_dtype, is_bfloat16, kind_of
from jitgraph.ir.values import Value

#: Results in ulps that may differ from NumPy's, whose own functions err by up to 4 in places.
#: Every other op must agree to the bit. (NumPy has no fma: the reference rounds twice.)
APPROXIMATE = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "logaddexp2", "sigmoid",
    "softplus", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh",
    "tanh", "arcsinh", "arccosh", "arctanh", "erf", "erfc", "power", "cbrt", "hypot",
    "fma", "bits_to_normal",
}  # fmt: skip
ULPS = 5
#: Special functions have a test of their own.
OPERATIONS = [op for op in OPS.values() if isinstance(op, Elementwise) and op.name != "where"
              and op.name not in FORMULAS]  # fmt: skip


def takes(op: Elementwise, name: str) -> bool:
    """Whether NumPy has a loop of `op` for operands all of this dtype."""
    operands = (DTYPES[name],) * op.arity
    try:
        return resolve(op, operands)[:-1] == operands
    except DTypeError:
        return False


def compiled(dtype: str) -> dict[str, Any]:
    """All ops for one dtype in one module."""
    return compile_kernels(
        {op.name: (op, [DTYPES[dtype]] * op.arity) for op in OPERATIONS if takes(op, dtype)},
    )


def operands_for(op: Elementwise, name: str) -> list[Array]:
    """Random values, and all combinations of special ones (of three operands: a sample)."""
    dtype, rng = DTYPES[name], np.random.default_rng(7)
    special = special_values(dtype)
    if op.arity == 1:
        everything = every_f16() if dtype == np.float16 else random_values(dtype, 2000, rng)
        return [np.concatenate([special, everything])]
    if op.arity == 2:
        grid = [part.ravel() for part in np.meshgrid(special, special)]
    else:
        grid = [rng.choice(special, 2000) for _ in range(op.arity)]
    operands = [np.concatenate([part, random_values(dtype, 1000, rng)]) for part in grid]
    if op.name == "power" and dtype.kind == "i":
        operands[1] = np.where(operands[1] < 0, operands[1] & 7, operands[1])
    return operands


def assert_equal(op: str, actual: Array, expected: Array, operands: list[Array]) -> None:
    assert actual.dtype == expected.dtype
    if actual.dtype.kind == "c":
        parts = [(actual.real, expected.real), (actual.imag, expected.imag)]
    else:
        parts = [(actual, expected)]
    for a, b in parts:
        good = a == b
        if kind_of(a.dtype) == "f":
            good &= np.signbit(a) == np.signbit(b)
            good |= np.isnan(a) & np.isnan(b)
            scale = np.abs(expected) if expected.dtype.kind == "c" else np.abs(b)
            if op.startswith("logaddexp"):  # cancels where the result is near zero
                scale = np.maximum(scale, np.abs(operands[0]))
            if op in APPROXIMATE or operands[0].dtype.kind == "c":
                with np.errstate(all="ignore"):
                    good |= np.abs(a - b) <= ULPS * np.spacing(scale.astype(b.dtype))
        wrong = np.flatnonzero(~good)[:5]
        cases = [(*(x[i] for x in operands), actual[i], expected[i]) for i in wrong]
        assert good.all(), f"{op}: {(~good).sum()} differ (operands, ours, NumPy's): {cases}"


def is_settled(op: str, operands: list[Array]) -> Array:
    """Where NumPy itself has one answer: not for the sign of max(0, -0) and (in bfloat16) of
    sign(-0), nor for what complex products overflow to (it depends on whether its loop fuses), nor
    huge angles."""
    settled = np.ones(operands[0].shape, bool)
    if op == "sign" and is_bfloat16(operands[0].dtype):
        settled &= operands[0] != 0
    if op in {"maximum", "minimum", "fmax", "fmin"} and kind_of(operands[0].dtype) == "f":
        settled &= (operands[0] != 0) | (operands[1] != 0)
    if operands[0].dtype.kind == "c" and op in {"multiply", "square", "divide", "reciprocal"}:
        for operand in operands:
            settled &= np.isfinite(operand)
    return settled


@pytest.mark.parametrize("dtype", DTYPES)
def test_ops_agree_with_numpy(dtype: str) -> None:
    for name, kernel in compiled(dtype).items():
        op = OPS[name]
        assert isinstance(op, Elementwise)
        operands = operands_for(op, dtype)
        settled = is_settled(name, operands)
        operands = [x[settled] for x in operands]
        assert_equal(name, kernel(*operands), op.evaluate(*operands), operands)


@cache
def casts() -> dict[str, Any]:
    return compile_kernels({
        f"{a}.{b}": (lambda x, b=b: cast(x, b), [DTYPES[a]]) for a in DTYPES for b in DTYPES
    })


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("source", DTYPES)
def test_casts_agree_with_numpy(source: str) -> None:
    dtype, rng = DTYPES[source], np.random.default_rng(3)
    x = np.concatenate([special_values(dtype), random_values(dtype, 2000, rng)])
    if kind_of(dtype) == "f":
        limits = np.array([2.0**n for n in (7, 8, 15, 16, 31, 32, 63, 64)])
        with np.errstate(over="ignore"):
            edges = np.concatenate([limits, limits - 0.5, limits - 1]).astype(dtype)
        x = np.concatenate([x, edges, -edges])
    for target in DTYPES:
        expected = cast(x, DTYPES[target])
        actual = casts()[f"{source}.{target}"](x)
        settled = np.ones(x.shape, bool)
        if kind_of(dtype) in "fc" and DTYPES[target].kind in "iu":
            # C leaves open what is out of range. NumPy's loops agree up to here, ml_dtypes' do not.
            limit = 2.0 ** (31 if is_bfloat16(dtype) else 63)
            settled = np.isfinite(x.real) & (np.abs(x.real).astype(np.float64) < limit)
        assert_equal(f"to {target}", actual[settled], expected[settled], [x[settled]])


def test_f64_to_f16_rounds_once() -> None:
    """Around every midpoint of two f16, where rounding through f32 goes astray."""
    numbers = every_f16()[:0x7C00].astype(np.float64)
    middle = (numbers[1:] + numbers[:-1]) / 2
    x = np.concatenate([middle, np.nextafter(middle, np.inf), np.nextafter(middle, 0), -middle])
    assert_equal("cast", casts()["f64.f16"](x), x.astype(np.float16), [x])


def test_where_and_bitcast() -> None:
    kernels = compile_kernels({
        **{f"where.{d}": (where, [np.dtype(bool), DTYPES[d], DTYPES[d]]) for d in DTYPES},
        "bits": (lambda x: bitcast(x, "i64"), [np.dtype("f8")]),
        "float": (lambda x: bitcast(x, "f32"), [np.dtype("u4")]),
    })  # fmt: skip
    rng = np.random.default_rng(1)
    for name, dtype in DTYPES.items():
        c, a, b = rng.random(300) < 0.5, random_values(dtype, 300, rng), special_values(dtype)
        b = rng.choice(b, 300)
        got, want = kernels[f"where.{name}"](c, a, b), np.where(c, a, b)
        assert_equal("where", got, want, [a, b])
    x = special_values(np.dtype("f8"))
    np.testing.assert_array_equal(kernels["bits"](x), x.view("i8"))
    bits = rng.integers(0, 1 << 32, 500, dtype="u4")
    np.testing.assert_array_equal(kernels["float"](bits).view("u4"), bits)


@pytest.mark.skipif("bf16" not in DTYPES, reason="needs ml_dtypes")
def test_bfloat16_keeps_its_bits_and_rounds_to_even() -> None:
    """Every bf16 comes back from memory; floats around every midpoint of two go to the nearest."""
    every, bf16 = np.arange(1 << 16, dtype=np.uint16), DTYPES["bf16"]
    kernels = compile_kernels({
        "from": (lambda x: bitcast(x, "bf16"), [np.dtype("u2")]),
        "to": (lambda x: bitcast(x, "u16"), [bf16]),
        "half": (lambda x: bitcast(x, "f16"), [bf16]),
    })  # fmt: skip
    np.testing.assert_array_equal(kernels["from"](every).view("u2"), every)
    np.testing.assert_array_equal(kernels["to"](every.view(bf16)), every)
    np.testing.assert_array_equal(kernels["half"](every.view(bf16)).view("u2"), every)
    middle = (every.astype(np.uint32) << 16) + 0x8000
    for near in (middle - 1, middle, middle + 1):
        x = near.view(np.float32)
        with np.errstate(invalid="ignore"):
            assert_equal("cast", casts()["f32.bf16"](x), x.astype(bf16), [x])


def test_bitcast_needs_one_width() -> None:
    with pytest.raises(DTypeError, match="cannot bitcast f64 to i32"):
        bitcast(Value(Type(as_dtype("f64"))), "i32")


def test_deep_chains_and_constants() -> None:
    """20,000 additions in a row: no recursion anywhere."""
    x = Value(Type(as_dtype("f64")))
    y = x
    for _ in range(20_000):
        y = y + 1.0
    module = Module(host())
    f = FunctionBuilder(module, "chain", ["double %x"], returns="double")
    f.do(f"ret double {ScalarLowering(f, {x: '%x'}, False).lower(y)}")
    assert module.text().count("fadd double") == 20_000


def test_constants_are_exact() -> None:
    values = [np.float32(0.1), np.float64(-0.0), np.float16(1.5), np.int8(-3), np.uint64(2**64 - 1)]
    module = Module(host())
    for k, value in enumerate(values):
        type_ = {"f2": "half", "f4": "float", "f8": "double"}.get(value.dtype.str[1:])
        type_ = type_ or f"i{8 * value.dtype.itemsize}"
        f = FunctionBuilder(module, f"k{k}", ["ptr %p"])
        f.do(f"store {type_} {constant_register(value)}, ptr %p")
        f.do("ret void")
    code = compile_ir(module.text(), host())
    for k, value in enumerate(values):
        cell = np.zeros(1, value.dtype)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address(f"k{k}"))(cell.ctypes.data)
        assert cell.tobytes() == value.tobytes()


def test_complex_products_contract_only_where_asked() -> None:
    """By instructions, never by flags, which each target reads in its own way."""
    a, b = (Value(Type(as_dtype("c128"))) for _ in range(2))
    registers = {a: ("%a", "%b"), b: ("%c", "%d")}
    fused = []
    for contract in (False, True):
        f = FunctionBuilder(Module(host()), "f", [f"double %{name}" for name in "abcd"])
        ScalarLowering(f, dict(registers), contract).lower(a * b)
        fused.append(str(f).count("@llvm.fma"))
        for flag in ("contract", "nnan", "reassoc"):
            assert flag not in str(f)
    assert fused == ([0, 2] if host().has_fma else [0, 0])
