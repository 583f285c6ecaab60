"""Compile scalar expressions into loops over contiguous arrays, many to a module."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import jitgraph.ir.ops  # noqa: F401
from jitgraph.codegen.libraries import addresses
from jitgraph.codegen.llvm import Compiled, FunctionBuilder, Module, compile_ir
from jitgraph.codegen.registers import Register, store
from jitgraph.codegen.scalar import ScalarLowering
from jitgraph.codegen.target import host
from jitgraph.codegen.vectors import Lanes
from jitgraph.ir.types import DTYPES, DType, Type, finfo
from jitgraph.ir.values import Value

Array = npt.NDArray[Any]
#: A function of values, and the dtypes of its operands.
Kernel = tuple[Callable[..., Value], Sequence[DType]]


def compile_kernels(
    kernels: Mapping[str, Kernel], *, contract: bool = True
) -> dict[str, Callable[..., Array]]:
    """Each kernel as a function of equally long arrays, computed in vectors as kernels of programs
    are (complex ones element by element)."""
    module = Module(host())
    results = {name: _emit(module, name, kernel, contract) for name, kernel in kernels.items()}
    imports = addresses(module.imports)
    compiled = compile_ir(module.text(), host(), passes="explicit", imports=imports)
    return {name: _callable(compiled, name, *made) for name, made in results.items()}


def _emit(module: Module, name: str, kernel: Kernel, contract: bool) -> tuple[DType, int]:
    function, dtypes = kernel
    leaves = [Value(Type(dtype)) for dtype in dtypes]
    result = function(*leaves)
    count = _lanes([*dtypes, result.dtype])
    pointers = [f"ptr noalias %x{k}" for k in range(len(leaves))]
    f = FunctionBuilder(module, name, [*pointers, "ptr noalias %y", "i64 %n"], passes="explicit")
    lanes = Lanes(f, count)

    def at(pointer: str, index: object, dtype: DType) -> str:
        return f.offset(pointer, f.emit(f"mul nsw i64 {index}, {dtype.itemsize}"))

    with f.loop(0, "%n", count) as i:
        registers: dict[Value, Register] = {}
        for k, leaf in enumerate(leaves):
            pointer = at(f"%x{k}", i, leaf.dtype)
            registers[leaf] = lanes.load(pointer, leaf.dtype, leaf.dtype.itemsize, None)
        register = ScalarLowering(f, registers, contract, count).lower(result)
        pointer = at("%y", i, result.dtype)
        if count == 1:
            store(f, register, pointer, result.dtype)
        else:
            lanes.store(register, pointer, result.dtype, result.dtype.itemsize, None)
    f.do("ret void")
    return result.dtype, count


def _lanes(dtypes: Sequence[DType]) -> int:
    if any(dtype.kind == "c" for dtype in dtypes):
        return 1
    return host().vector_bytes // max(4, *(dtype.itemsize for dtype in dtypes))


def _callable(compiled: Compiled, name: str, dtype: DType, lanes: int) -> Callable[..., Array]:
    def run(*operands: Array) -> Array:
        size = operands[0].size
        padding = (0, -size % lanes)
        arrays = [np.pad(np.ascontiguousarray(x).ravel(), padding, mode="edge") for x in operands]
        result = np.empty(arrays[0].shape, dtype)
        signature = [ctypes.c_void_p] * (len(arrays) + 1) + [ctypes.c_int64]
        native = ctypes.CFUNCTYPE(None, *signature)(compiled.address(name))
        native(*[x.ctypes.data for x in arrays], result.ctypes.data, result.size)
        return result[:size].reshape(operands[0].shape)

    return run


# --- operands ------------------------------------------------------------------------------------
def special_values(dtype: DType) -> Array:
    """Limits, zeros, infinities, NaN, and small numbers of either sign."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        small = [0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64]
        numbers = [*small, *(-n for n in small), info.min, info.min + 1, info.max, info.max - 1]
        return np.array(sorted({n for n in numbers if info.min <= n <= info.max}), dtype)
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        parts = np.array([0, -0.0, 1, -1.5, np.inf, -np.inf, np.nan, 1e-30, 3e15], part)
        grid = np.meshgrid(parts, parts)
        return np.stack(grid, -1).reshape(-1).view(dtype)
    info = finfo(dtype)
    limits = [info.max, info.tiny, info.smallest_subnormal, 1 + info.eps, 1 - info.epsneg]
    positive = [0.0, np.inf, np.nan, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 10.25, 88, 100, 1023, *limits]
    return np.array([*positive, *(-x for x in positive)], dtype)


def random_values(dtype: DType, count: int, rng: np.random.Generator) -> Array:
    """Values over the whole range of integers; floats of many magnitudes."""
    if dtype.kind == "b":
        return rng.integers(0, 2, count).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        anywhere = rng.integers(info.min, info.max, count // 2, dtype=dtype, endpoint=True)
        return np.concatenate([anywhere, rng.integers(0, 70, count - count // 2).astype(dtype)])
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        return random_values(part, 2 * count, rng).view(dtype)
    with np.errstate(over="ignore"):
        return (rng.normal(size=count) * 10.0 ** rng.integers(-6, 6, count)).astype(dtype)


def every_f16() -> Array:
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16)


__all__ = ["DTYPES", "Array", "compile_kernels", "every_f16", "random_values", "special_values"]
