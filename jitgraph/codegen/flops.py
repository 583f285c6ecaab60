"""How much arithmetic an op is, for people to compare with what the machine can do.

An addition, multiplication, division, square root, extremum or rounding of floating-point numbers
is one operation, a fused multiply-add two. Comparisons, selections, conversions, bits and integers
are none. A function such as exp is what its expansion is made of; a call counts as one.
"""

from __future__ import annotations

from jitgraph.codegen.expansions import expansion
from jitgraph.codegen.mathlib import COMPLEX
from jitgraph.codegen.mathlib.native import Native
from jitgraph.ir.opdef import OPS, Expand, Inst, Intrinsic, apply_op
from jitgraph.ir.types import DType, Type, computed_in, kind_of
from jitgraph.ir.values import Op, Value

_ARITHMETIC = (Inst, Intrinsic, Native, Expand)
#: One operation, though they are made of comparisons and selections.
_EXTREMA = frozenset({"maximum", "minimum", "fmax", "fmin"})


def flops(op: Op) -> int:
    """The floating-point operations of one application of an op."""
    lower = op.definition.lower
    operands = [a.dtype for a in op.args]
    if not isinstance(lower, _ARITHMETIC) or not any(kind_of(d) in "fc" for d in operands):
        return 0
    is_complex = any(d.kind == "c" for d in operands)
    if isinstance(lower, Expand) or (is_complex and op.name in COMPLEX):
        dtypes = tuple(map(computed_in, operands))
        inside = sum(flops(inner) for _, inner in expansion(op.name, dtypes).steps)
        return max(inside, int(op.name in _EXTREMA))
    if kind_of(op.type.dtype) not in "fc":
        return 0
    return (2 if op.name == "fma" else 1) * (2 if is_complex else 1)


def flops_of_combining(combine: str, dtype: DType) -> int:
    """The floating-point operations of merging one more value into a reduction."""
    values = Value(Type(dtype)), Value(Type(dtype))
    made = apply_op(OPS[combine], values, {}, None)
    return flops(made.op) if made.op is not None else 0
