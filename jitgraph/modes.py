"""What a compiled function does besides running native code: `mode=` of `function`.

| mode | |
|---|---|
| `native` | native code, the default |
| `interpreted` | NumPy, op by op: nothing is compiled, and calls are slow |
| `checked` | both, and an error where they differ: in the results, or after a step of a loop |
| `guarded` | NumPy, with an error at the first NaN or infinity, at the line that made it |

Loops and branches are looked into: errors name the line inside and the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph.errors import DomainError, InternalError, Operand
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.interpreter import Watch
from jitgraph.ir.opdef import Array
from jitgraph.ir.ops.opaque import is_opaque
from jitgraph.ir.types import computed_in, finfo, is_half, kind_of, type_of
from jitgraph.ir.values import Value
from jitgraph.location import caller_location

MODES = ("native", "interpreted", "checked", "guarded")
#: Relative to the largest element: sums in another order, formulas of our own.
_TOLERANCE = {4: 1e-4, 8: 1e-8, 16: 1e-8}


def interpreted(
    mode: str,
    fn: Function,
    inputs: Sequence[Array],
    native: Callable[[Function, Sequence[Array]], Sequence[Array]],
) -> list[Array]:
    """The results by NumPy. "guarded" raises DomainError for a NaN or an infinity, "checked"
    InternalError where a step of a loop gives something else in native code, which is `native`."""
    if mode == "checked":

        def compare_step(region: Function, given: Sequence[Array], want: Sequence[Array]) -> None:
            if not is_opaque(region):  # what Python functions do besides is not done once more
                compare(region, native(region, given), want)

        return interpreter.run(fn, inputs, watch=Watch(region=compare_step))
    if mode != "guarded":
        return interpreter.run(fn, inputs)
    for param, array in zip(fn.params, inputs, strict=True):
        if (what := _not_finite(array)) is not None:
            raise DomainError(f"{param.describe()} has {what} among its elements",
                              location=caller_location())  # fmt: skip
    with np.errstate(all="ignore"):
        return interpreter.run(fn, inputs, watch=Watch(_guard))


def _not_finite(array: Any) -> str | None:
    if not isinstance(array, np.ndarray) or kind_of(array.dtype) not in "fc":
        return None
    if np.isnan(array).any():
        return "NaN"
    return "an infinity" if np.isinf(array).any() else None


def _guard(value: Value, operands: Sequence[Any], result: Any) -> None:
    """Raise where an op makes a NaN or an infinity."""
    what = _not_finite(result)
    if what is None or value.op is None or value.literal is not None:
        return
    shown = (
        Operand(a.describe(), _with_range(o), a.location)
        for a, o in zip(value.op.args, operands, strict=True)
    )
    raise DomainError(f"{value.op.name} gives {what}").locate(value.op.location, shown)


def _with_range(array: Any) -> str:
    if not isinstance(array, np.ndarray) or not array.size or kind_of(array.dtype) not in "iuf":
        return str(getattr(array, "dtype", "several results"))
    return f"{type_of(array)} from {array.min()} to {array.max()}"


def compare(fn: Function, native: Sequence[Array], expected: Sequence[Array]) -> None:
    """Raise InternalError where native results are not what NumPy makes of the same inputs."""
    for k, (result, got, want) in enumerate(zip(fn.results, native, expected, strict=True)):
        if got.shape != want.shape or not _agree(got, want):
            raise InternalError(
                f"result {k} of {fn.name} ({result.describe()}) differs between native code and "
                f"NumPy:\n  {got!r:.200}\n  {want!r:.200}",
                hint="please report it with f.dump()", location=result.location,
            )  # fmt: skip


def _agree(got: Array, want: Array) -> bool:
    if kind_of(want.dtype) not in "fc" or not want.size:
        return bool(np.array_equal(got, want))
    info = finfo(want.dtype)
    tolerance = 16 * float(info.eps) if is_half(want.dtype) else _TOLERANCE[info.dtype.itemsize]
    got, want = (a.astype(computed_in(a.dtype), copy=False) for a in (got, want))
    finite = np.isfinite(want)
    scale = float(np.abs(want[finite]).max()) if finite.any() else 0.0
    return bool(np.allclose(got, want, rtol=tolerance, atol=tolerance * scale, equal_nan=True))
