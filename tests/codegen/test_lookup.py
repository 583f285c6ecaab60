"""Tables looked up by the bits of numbers, and what is done rarely: in vectors of every width."""

from typing import Any

import numpy as np
import pytest
from scalar_kernels import DTYPES, compile_kernels

from jitgraph.codegen.mathlib.floats import FORMATS, bits_of
from jitgraph.codegen.mathlib.native import lookup, rarely
from jitgraph.ir.elementwise import cast
from jitgraph.ir.values import Value

#: Tables of one register, of two, and of sizes that no permutation has, in memory.
SIZES = (4, 8, 16, 32, 64)


@pytest.mark.parametrize("outside", ["f32", "f64"])
@pytest.mark.parametrize("inside", ["f32", "f64"])
def test_lookup(inside: str, outside: str) -> None:
    """The element that the low bits tell, of tables as wide as the vectors and of others."""
    dtype, wide = DTYPES[inside], DTYPES[outside]
    integer = FORMATS[dtype].integer
    tables = {n: tuple(float(v) for v in np.random.default_rng(n).integers(1, 999, n) / 8)
              for n in SIZES}  # fmt: skip
    base = 2.0 ** FORMATS[dtype].digits  # there the last bits are the number's

    def element(n: int) -> Any:
        return lambda x: cast(lookup(bits_of(cast(x, dtype) + base), tables[n], dtype), wide)

    compiled = compile_kernels({f"table{n}": (element(n), [wide]) for n in SIZES})
    x = np.random.default_rng(1).integers(0, 1000, 64).astype(wide)
    index = (x.astype(dtype) + dtype.type(base)).view(integer)
    for n in SIZES:
        expected = np.array(tables[n])[index % n]
        np.testing.assert_array_equal(compiled[f"table{n}"](x), expected, err_msg=str(n))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rarely_takes_all_lanes_or_none(dtype: str) -> None:
    """Vectors without an unusual lane keep the usual value; in others all lanes are computed with
    care, whose value is the same for lanes that are not unusual."""

    def careful(x: Value) -> Value:
        return x * 4.0

    def function(x: Value) -> Value:
        return rarely(x < 0.0, x * 2.0, careful, x)

    run = compile_kernels({"f": (function, [DTYPES[dtype]])})["f"]
    x = np.arange(1, 129, dtype=DTYPES[dtype])
    np.testing.assert_array_equal(run(x), 2 * x)
    x[40] = -40
    actual = run(x)
    mended = actual == 4 * x
    assert mended[40]
    assert mended.sum() in (1, 2, 4, 8, 16, 32)
    np.testing.assert_array_equal(actual[~mended], 2 * x[~mended])
