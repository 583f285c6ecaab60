"""Huge angles: reduction by pi/2 with integers, out of the way of the common case.

M. Payne and R. Hanek, "Radian reduction for trigonometric functions", 1983: of the product of the
53-bit significand and 2/pi only the 192 bits around the binary point matter; multiples of 4
quadrants above them are never computed.

`angle_high` is x itself up to a bound and the reduced angle beyond; `angle_low` is 0, or the rest
of the reduced angle with the quadrant in its last two bits. Loops over them vectorise because the
calls name vector variants (LLVM's vector function ABI), which look whether any lane is huge.
"""

# mypy: disable-error-code=no-any-return
# (Python operators on values are typed Any.)
from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from jitgraph.codegen.mathlib.floats import F32, F64, PI
from jitgraph.codegen.mathlib.native import native
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

#: Up to here the Cody-Waite reduction in three parts loses nothing that matters.
BOUNDS = {F32: 2.0**17, F64: 2.0**30}
_LANES = {F32: (4, 8, 16), F64: (2, 4, 8)}
_TYPES = {F32: ("float", "f32"), F64: ("double", "f64")}

# --- the reduction of one f64 --------------------------------------------------------------------
#: 2/pi to 1216 bits, with 64 zero bits above it for numbers near the bound.
_TWO_OVER_PI = (1 << 1216) * 2 * 10**400 // 31415926535897932384626433832795028841971693993751
