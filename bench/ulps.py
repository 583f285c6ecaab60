"""Errors of results in units in the last place, computed where the results are, without arrays
between: float32 against float64 of jitgraph's own, float64 against the long double of the C
library. Both are programs of native code that take some ten nanoseconds for a number.

Infinity counts as the number after the largest, so that an overflow a little too early is an error
of a unit or two, and one that should not be is enormous. NaN where a number belongs, or a number
where NaN belongs, counts as a million.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.llvm import compile_ir
from jitgraph.codegen.target import host
from jitgraph.ir.ops.bits import bitcast

Array = npt.NDArray[Any]
F32, F64 = np.dtype("f4"), np.dtype("f8")
I64 = np.dtype("i8")
#: Where one of result and reference is NaN.
_WRONG = 1e6


# --- float32 -------------------------------------------------------------------------------------
def single_errors(function: Callable[..., Any], arity: int) -> Callable[..., Array]:
    """A function of float32 arrays: the errors of `function`, in one kernel with the same function
    of float64."""
    variables = [T.tensor("float32", (None,), f"x{k}") for k in range(arity)]
    result = T.cast(function(*variables), "float64")
    exact = function(*(T.cast(x, "float64") for x in variables))
    both_nan = T.isnan(result) & T.isnan(exact)
    limit = 2.0**128
    result, exact = (T.clip(y, -limit, limit) for y in (result, exact))
    binade = T.maximum((bitcast(exact, I64) >> 52) & 0x7FF, 1023 - 126)
    one_over = bitcast((2 * 1023 + 23 - binade) << 52, F64)
    error = T.absolute(result - exact) * one_over
    error = T.where(both_nan, 0.0, T.where(T.isnan(error), _WRONG, error))
    made: Callable[..., Array] = jg.function(variables, error)
    return made


# --- float64 -------------------------------------------------------------------------------------
#: For each operand one pointer to float64, then the results and the errors.
_LOOP = """
declare x86_fp80 @llvm.fabs.f80(x86_fp80)
declare x86_fp80 @llvm.copysign.f80(x86_fp80, x86_fp80)
{declarations}
define internal x86_fp80 @limited(x86_fp80 %x) {{
  %size = call x86_fp80 @llvm.fabs.f80(x86_fp80 %x)
  %limit = fpext double 0x7FE0000000000000 to x86_fp80
  %most = fadd x86_fp80 %limit, %limit
  %beyond = fcmp ogt x86_fp80 %size, %most
  %signed = call x86_fp80 @llvm.copysign.f80(x86_fp80 %most, x86_fp80 %x)
  %y = select i1 %beyond, x86_fp80 %signed, x86_fp80 %x
  ret x86_fp80 %y
}}
define void @errors({parameters}, ptr %results, ptr %errors, i64 %n) {{
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %next, %done ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %step, label %end
step:
{loads}
{body}
  %result.at = getelementptr double, ptr %results, i64 %i
  %result.short = load double, ptr %result.at
  %result.long = fpext double %result.short to x86_fp80
  %result = call x86_fp80 @limited(x86_fp80 %result.long)
  %exact = call x86_fp80 @limited(x86_fp80 %y)
  %nan = fcmp uno x86_fp80 %exact, %exact
  %result.nan = fcmp uno x86_fp80 %result, %result
  %both = and i1 %nan, %result.nan
  %either = or i1 %nan, %result.nan
  %bits = bitcast x86_fp80 %exact to i80
  %high = lshr i80 %bits, 64
  %biased = and i80 %high, 32767
  %tiny = icmp ult i80 %biased, 15361
  %binade = select i1 %tiny, i80 15361, i80 %biased
  %inverse = sub i80 32818, %binade
  %inverse.high = shl i80 %inverse, 64
  %inverse.bits = or i80 %inverse.high, 9223372036854775808
  %one.over = bitcast i80 %inverse.bits to x86_fp80
  %difference = fsub x86_fp80 %result, %exact
  %distance = call x86_fp80 @llvm.fabs.f80(x86_fp80 %difference)
  %ulps = fmul x86_fp80 %distance, %one.over
  %error = fptrunc x86_fp80 %ulps to double
  %checked = select i1 %either, double {wrong}, double %error
  %counted = select i1 %both, double 0.0, double %checked
  %error.at = getelementptr double, ptr %errors, i64 %i
  store double %counted, ptr %error.at
  br label %done
done:
  %next = add i64 %i, 1
  br label %test
end:
  ret void
}}
"""


def double_errors(body: str, arity: int) -> Callable[..., Array]:
    """A function of float64 arrays and the results to judge. `body` computes %y from %x0, %x1 in
    x86_fp80, by functions of the C library."""
    compiled = _compiled(body, arity)
    native = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (arity + 2), ctypes.c_int64)(
        compiled.address("errors")
    )

    def errors(*arrays: Array) -> Array:
        made = np.empty(len(arrays[0]))
        native(*(a.ctypes.data for a in (*arrays, made)), len(made))
        return made

    return errors


@cache
def _compiled(body: str, arity: int) -> Any:
    called = sorted({word[1:].split("(")[0] for word in body.split() if word.startswith("@")})
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    imports = {n: ctypes.cast(library[n], ctypes.c_void_p).value or 0 for n in called
               if "." not in n}  # fmt: skip
    arguments = {n: next(w for w in body.split("\n") if f"@{n}(" in w).count("x86_fp80 %")
                 for n in called}  # fmt: skip
    declarations = "\n".join(
        f"declare x86_fp80 @{n}({', '.join(['x86_fp80'] * arguments[n])})"
        for n in called if n not in ("llvm.fabs.f80", "llvm.copysign.f80")
    )  # fmt: skip
    loads = "\n".join(
        f"""  %x{k}.at = getelementptr double, ptr %x{k}.all, i64 %i
  %x{k}.short = load double, ptr %x{k}.at
  %x{k} = fpext double %x{k}.short to x86_fp80"""
        for k in range(arity)
    )
    text = _LOOP.format(
        declarations=declarations, loads=loads, body=body, wrong=_WRONG,
        parameters=", ".join(f"ptr %x{k}.all" for k in range(arity)),
    )  # fmt: skip
    return compile_ir(text, host(), imports=imports)
