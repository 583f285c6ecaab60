"""Elements of arrays as generated code holds them: in registers, as constants, in memory.

| dtype | register | memory |
|---|---|---|
| bool | `i1` | `i8` |
| integers | `iN` | `iN` |
| f16, f32, f64 | `half`, `float`, `double` | the same |
| bf16 | `float`, one that is a bf16 | `i16`, its upper half |
| c64, c128 | a pair of registers | real part, imaginary part |

LLVM's `bfloat` is not used: where the CPU has no instructions for it, LLVM calls a library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.expansions import part_dtype
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.ir.types import BOOL, F32, F64, DType, is_bfloat16

#: An SSA name or the text of a constant; for complex numbers the real and imaginary parts.
Register: TypeAlias = "str | tuple[str, str]"

#: Writes an instruction, and gives the name of its result.
Emit: TypeAlias = Callable[[str], str]

F16, I32 = np.dtype(np.float16), np.dtype(np.int32)
_FLOAT_TYPES = {F16: "half", F32: "float", F64: "double"}


def register_type(dtype: DType) -> str:
    """The LLVM type of a register of a real dtype (of one part, for a complex one)."""
    if is_bfloat16(dtype):
        return "float"
    if (floating := _FLOAT_TYPES.get(part_dtype(dtype))) is not None:
        return floating
    return "i1" if dtype == BOOL else f"i{8 * dtype.itemsize}"


def vector_of(type_: str, lanes: int) -> str:
    """The vector type of `lanes` elements; one lane is the scalar type itself."""
    return type_ if lanes == 1 else f"<{lanes} x {type_}>"


def splat(type_: str, text: str, lanes: int) -> str:
    """A scalar constant in every lane, as an operand."""
    return text if lanes == 1 else f"splat ({type_} {text})"


def memory_type(dtype: DType) -> str:
    """The LLVM type of an element in memory (of one part, for a complex dtype)."""
    if is_bfloat16(dtype):
        return "i16"
    return "i8" if dtype == BOOL else register_type(dtype)


def type_number(dtype: DType) -> int:
    """The number by which generated code asks for arrays of a dtype."""
    return py.BFLOAT16 if is_bfloat16(dtype) else dtype.num


def constant_register(value: Any) -> Register:
    """The text of a NumPy scalar (or 0-d array) as an operand, exact to the bit."""
    array = np.asarray(value)
    dtype = array.dtype
    if dtype.kind == "c":
        return constant_text(array.real), constant_text(array.imag)
    return constant_text(array)


def constant_text(array: Any) -> str:
    """The text of a real constant."""
    array = np.asarray(array)
    dtype = array.dtype
    if dtype == BOOL:
        return "true" if array else "false"
    if dtype.kind in "iu":
        return str(int(array.view(f"i{dtype.itemsize}")))
    if dtype == F16:
        return f"0xH{int(array.view('u2')):04X}"
    return f"0x{int(array.astype(F64).view('u8')):016X}"  # LLVM writes floats as doubles too


# --- memory ------------------------------------------------------------------------------------
def unpacked(emit: Emit, raw: str, dtype: DType, lanes: int = 1) -> str:
    """The register of what was read from memory."""
    if dtype == BOOL:
        return emit(f"icmp ne {vector_of('i8', lanes)} {raw}, {splat('i8', '0', lanes)}")
    if not is_bfloat16(dtype):
        return raw
    half, word, single = (vector_of(t, lanes) for t in ("i16", "i32", "float"))
    wide = emit(f"zext {half} {raw} to {word}")
    bits = emit(f"shl {word} {wide}, {splat('i32', '16', lanes)}")
    return emit(f"bitcast {word} {bits} to {single}")


def packed(emit: Emit, register: str, dtype: DType, lanes: int = 1) -> str:
    """What is written to memory for a register."""
    if dtype == BOOL:
        return emit(f"zext {vector_of('i1', lanes)} {register} to {vector_of('i8', lanes)}")
    if not is_bfloat16(dtype):
        return register
    half, word, single = (vector_of(t, lanes) for t in ("i16", "i32", "float"))
    bits = emit(f"bitcast {single} {register} to {word}")
    high = emit(f"lshr {word} {bits}, {splat('i32', '16', lanes)}")
    return emit(f"trunc {word} {high} to {half}")


# --- halves ------------------------------------------------------------------------------------
def widened(emit: Emit, register: str, dtype: DType, lanes: int) -> str:
    """A register of a half as a float."""
    if is_bfloat16(dtype):
        return register
    return emit(f"fpext {vector_of('half', lanes)} {register} to {vector_of('float', lanes)}")


def narrowed(emit: Emit, register: str, dtype: DType, lanes: int) -> str:
    """A float rounded to a half, to nearest even."""
    single, word, bit = (vector_of(t, lanes) for t in ("float", "i32", "i1"))
    if not is_bfloat16(dtype):
        return emit(f"fptrunc {single} {register} to {vector_of('half', lanes)}")

    def number(value: int) -> str:
        return splat("i32", str(value), lanes)

    bits = emit(f"bitcast {single} {register} to {word}")
    last = emit(f"and {word} {emit(f'lshr {word} {bits}, {number(16)}')}, {number(1)}")
    up = emit(f"add {word} {emit(f'add {word} {bits}, {number(0x7FFF)}')}, {last}")
    quiet = emit(f"or {word} {bits}, {number(1 << 22)}")  # a NaN that is still one without its rest
    is_nan = emit(f"fcmp uno {single} {register}, {splat('float', '0.0', lanes)}")
    chosen = emit(f"select {bit} {is_nan}, {word} {quiet}, {word} {up}")
    kept = emit(f"and {word} {chosen}, {number(-1 << 16)}")
    return emit(f"bitcast {word} {kept} to {single}")


# --- one element -------------------------------------------------------------------------------
def load(emitter: FunctionBuilder, pointer: str, dtype: DType, suffix: str = "") -> Register:
    """Load one element. `suffix` is put after the instruction: alignment, metadata."""
    type_ = memory_type(dtype)
    first = emitter.emit(f"load {type_}, ptr {pointer}{suffix}")
    if dtype.kind != "c":
        return unpacked(emitter.emit, first, dtype)
    second = emitter.offset(pointer, dtype.itemsize // 2)
    return first, emitter.emit(f"load {type_}, ptr {second}{suffix}")


def store(
    emitter: FunctionBuilder, register: Register, pointer: str, dtype: DType, suffix: str = ""
) -> None:
    """Store one element. `suffix` is put after the instruction: alignment, metadata."""
    type_ = memory_type(dtype)
    first, *second = [register] if isinstance(register, str) else register
    first = packed(emitter.emit, first, dtype)
    emitter.do(f"store {type_} {first}, ptr {pointer}{suffix}")
    for part in second:
        at = emitter.offset(pointer, dtype.itemsize // 2)
        emitter.do(f"store {type_} {part}, ptr {at}{suffix}")
