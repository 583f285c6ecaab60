"""Errors of the math functions: every float32, and stratified float64, against wider arithmetic.

    python -m bench.mathlib                       all functions, all 2^32 float32 inputs: hours
    python -m bench.mathlib --quick               a stratified sample of both formats: minutes
    python -m bench.mathlib --functions exp,log

A result's error is counted in units in the last place (ULP) of the exact result. The reference is
float64 for float32 and the 80-bit long double for float64; the worst case found is computed again
by mpmath. Functions of two operands, and those that long double does not have, are sampled. The
table in docs/mathlib.md is brought up to date.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import scipy.special
from tqdm import tqdm

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.ir.opdef import OPS

Array = npt.NDArray[Any]
F32, F64 = np.dtype("f4"), np.dtype("f8")
DOCUMENT = Path(__file__).parent.parent / "docs" / "mathlib.md"
CHUNK = 1 << 20
SAMPLES, QUICK_SAMPLES, MPMATH_SAMPLES = 100_000_000, 4_000_000, 40_000
TABLE_HEAD = "| function | dtype | max ULP | at | inputs | special values |"


@dataclass(frozen=True)
class Case:
    """A function: its reference in NumPy's wider formats and in mpmath, the interval where it is
    interesting, and the distance of the points where its pieces meet."""

    wide: Callable[..., Array]
    exact: Callable[..., Any]
    interval: tuple[float, float] = (-2.0, 2.0)
    unit: float = 0.5
    arity: int = 1
    has_long: bool = True


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    result: Array = np.where(x < 0, e, 1) / (1 + e)
    return result


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _mp_power_of_two(x: Any) -> Any:
    return mpmath.mpf(2) ** x


def _mp_softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x))


_LN2, _HALF_PI = math.log(2) / 2, math.pi / 2
CASES = {
    "exp": Case(np.exp, mpmath.exp, (-745, 710), _LN2),
    "exp2": Case(np.exp2, _mp_power_of_two, (-1075, 1024)),
    "expm1": Case(np.expm1, mpmath.expm1, (-40, 710), _LN2),
    "log": Case(np.log, mpmath.log, (0, 4), math.sqrt(0.5)),
    "log2": Case(np.log2, lambda x: mpmath.log(x, 2), (0, 4), math.sqrt(0.5)),
    "log10": Case(np.log10, mpmath.log10, (0, 4), math.sqrt(0.5)),
    "log1p": Case(np.log1p, mpmath.log1p, (-1, 3), math.sqrt(0.5) - 1),
    "sin": Case(np.sin, mpmath.sin, (-100, 100), _HALF_PI),
    "cos": Case(np.cos, mpmath.cos, (-100, 100), _HALF_PI),
    "tan": Case(np.tan, mpmath.tan, (-100, 100), _HALF_PI),
    "tanh": Case(np.tanh, mpmath.tanh, (-22, 22), _LN2 / 2),
    "sinh": Case(np.sinh, mpmath.sinh, (-711, 711), _LN2),
    "cosh": Case(np.cosh, mpmath.cosh, (-711, 711), _LN2),
    "sigmoid": Case(_sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), (-745, 40), _LN2),
    "softplus": Case(_softplus, _mp_softplus, (-745, 40), _LN2),
    "erf": Case(scipy.special.erf, mpmath.erf, (-6, 6), has_long=False),
    "erfc": Case(scipy.special.erfc, mpmath.erfc, (-6, 27), has_long=False),
    "arcsin": Case(np.arcsin, mpmath.asin, (-1, 1)),
    "arccos": Case(np.arccos, mpmath.acos, (-1, 1)),
    "arctan": Case(np.arctan, mpmath.atan, (-4, 4), math.sqrt(2) - 1),
    "arcsinh": Case(np.arcsinh, mpmath.asinh, (-4, 4)),
    "arccosh": Case(np.arccosh, mpmath.acosh, (1, 4)),
    "arctanh": Case(np.arctanh, mpmath.atanh, (-1, 1)),
    "cbrt": Case(np.cbrt, lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), (-8, 8)),
    "power": Case(np.power, lambda x, y: x**y, arity=2),
    "hypot": Case(np.hypot, mpmath.hypot, arity=2),
    "arctan2": Case(np.arctan2, mpmath.atan2, arity=2),
}


# --- inputs --------------------------------------------------------------------------------------
def every_float32() -> Iterator[list[Array]]:
    """All of them, NaNs included."""
    for start in range(0, 1 << 32, CHUNK):
        yield [np.arange(start, start + CHUNK, dtype=np.uint32).view(F32)]


def _any_bits(rng: np.random.Generator, dtype: np.dtype[Any], count: int) -> Array:
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return rng.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True).view(dtype)


def stratified(case: Case, dtype: np.dtype[Any], count: int) -> Iterator[list[Array]]:
    """Every exponent alike; the interesting interval, evenly; around the points where pieces of
    the function meet; for a power, exponents for which the result is neither 0 nor infinite."""
    rng = np.random.default_rng(2024)
    quarter = min(CHUNK, count) // 4
    for _ in range(0, count, 4 * quarter):
        bits = [_any_bits(rng, dtype, 4 * quarter) for _ in range(case.arity)]
        if case.arity == 1:
            low, high = case.interval
            nearby = rng.integers(-200, 200, quarter) * case.unit
            spread = 2.0 ** -rng.uniform(0, np.finfo(dtype).nmant, quarter)
            bits[0][:quarter] = rng.uniform(low, high, quarter)
            bits[0][quarter : 2 * quarter] = nearby * (1 + spread * rng.choice([-1, 0, 1], quarter))
        else:
            bits[0][:quarter] = rng.uniform(0.5, 2, quarter)
            bits[1][:quarter] = rng.uniform(-3, 3, quarter)
        if case.wide is np.power:
            x = np.abs(bits[0])
            x[quarter : 2 * quarter] = 1 + rng.uniform(-1, 1, quarter) * 2.0 ** -rng.uniform(
                1, np.finfo(dtype).nmant, quarter
            )
            info = np.finfo(dtype)
            exponent = rng.uniform(info.minexp - info.nmant, info.maxexp, 4 * quarter)
            bits = [x, (exponent / np.log2(x.astype(F64))).astype(dtype)]
        yield bits


# --- errors --------------------------------------------------------------------------------------
def errors(actual: Array, exact: Array) -> Array:
    """In ulps of the exact results; 0 where those are not finite numbers of the format."""
    info = np.finfo(actual.dtype)
    size = np.abs(exact)
    counted = size <= exact.dtype.type(info.max)
    # Halved where the exact result was rounded up into the next binade.
    unit = np.spacing(np.maximum(size.astype(actual.dtype), info.tiny)).astype(exact.dtype)
    unit = np.where(size * exact.dtype.type(info.eps) < unit, unit / 2, unit)
    unit = np.maximum(unit, exact.dtype.type(info.smallest_subnormal))
    error = np.abs(actual.astype(exact.dtype) - exact) / unit
    # An infinity where the exact result is a number near the largest counts as a million.
    return np.where(counted, np.minimum(error, 1e6), 0)


def exact_error(case: Case, actual: Any, operands: tuple[Any, ...]) -> float:
    """The error of one result by mpmath."""
    with mpmath.workdps(400 if case.unit == _HALF_PI else 60):
        exact = case.exact(*(mpmath.mpf(float(x)) for x in operands))
        info = np.finfo(actual.dtype)
        exponent = max(int(mpmath.frexp(exact)[1]) - 1, info.minexp) - info.nmant
        return float(abs(mpmath.mpf(float(actual)) - exact) / mpmath.ldexp(1, exponent))


def _by_mpmath(case: Case, operands: list[Array]) -> Array:
    """What long double does not have, as sums of two float64. Slow."""
    results = []
    with mpmath.workdps(40):
        for row in zip(*operands, strict=True):
            exact = case.exact(*(mpmath.mpf(float(x)) for x in row))
            high = float(exact)
            results.append(np.longdouble(high) + np.longdouble(float(exact - high)))
    return np.array(results, np.longdouble)


def special_values_differ(name: str, run: Callable[..., Array], dtype: np.dtype[Any]) -> int:
    """How many results at zeros, infinities, NaN and limits are of another kind than NumPy's."""
    info = np.finfo(dtype)
    some = [0, 1, 2, 3, 0.5, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal]
    x = np.array([*some, *(-v for v in some)], dtype)
    operands = [x] if CASES[name].arity == 1 else [p.ravel() for p in np.meshgrid(x, x)]
    ours, theirs = run(*operands), OPS[name].evaluate(*operands)
    same = (np.isnan(ours) & np.isnan(theirs)) | (
        (np.isfinite(ours) == np.isfinite(theirs)) & (np.signbit(ours) == np.signbit(theirs))
        & ((ours == 0) == (theirs == 0)) & (np.isnan(ours) == np.isnan(theirs))
    )  # fmt: skip
    return int((~same).sum())


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    dtype: str
    error: float
    where: str
    inputs: str
    special: int

    def __str__(self) -> str:
        special = "as NumPy's" if self.special == 0 else f"{self.special} differ"
        return (f"| {self.name} | {self.dtype} | {self.error:.3f} | {self.where} "
                f"| {self.inputs} | {special} |")  # fmt: skip


def compiled(name: str, dtype: np.dtype[Any]) -> Callable[..., Array]:
    """The function of arrays."""
    variables = [T.tensor(dtype.name, (None,), f"x{k}") for k in range(CASES[name].arity)]
    function: Callable[..., Array] = jg.function(variables, getattr(T, name)(*variables))
    return function


def measure(name: str, dtype: np.dtype[Any], quick: bool) -> Row:
    """The largest error over all chunks of inputs."""
    case, run = CASES[name], compiled(name, dtype)
    by_mpmath = dtype == F64 and not case.has_long
    if dtype == F32 and case.arity == 1 and not quick:
        count, chunks, inputs = 1 << 32, every_float32(), "all 2^32"
    else:
        count = QUICK_SAMPLES if quick else SAMPLES
        count = MPMATH_SAMPLES if by_mpmath else count
        chunks, inputs = stratified(case, dtype, count), f"{count:.0e} stratified"
    wider = F64 if dtype == F32 else np.dtype(np.longdouble)
    bar = tqdm(total=count, desc=f"{name} {dtype}", unit_scale=True, leave=False)
    worst: tuple[float, tuple[Any, ...], Any] = (0.0, (), None)
    for operands in chunks:
        if by_mpmath:
            bounded = (np.abs(operands[0]) < 30) & (np.abs(operands[0]) > 1e-300)
            operands = [x[bounded] for x in operands]
            exact = _by_mpmath(case, operands)
        else:
            exact = case.wide(*(x.astype(wider) for x in operands))
        actual = run(*operands)
        error = errors(actual, exact)
        k = int(np.argmax(error))
        if error[k] > worst[0]:
            worst = (float(error[k]), tuple(x[k] for x in operands), actual[k])
        bar.update(len(error))
    bar.close()
    error_, at, result = worst
    if at:
        error_ = exact_error(case, result, at)
    where = ", ".join(repr(float(x)) for x in at)
    special = special_values_differ(name, run, dtype)
    return Row(name, {F32: "f32", F64: "f64"}[dtype], error_, where, inputs, special)


# --- the table -----------------------------------------------------------------------------------
def write_table(rows: list[Row]) -> None:
    """Replace or add the rows in the document."""
    text = DOCUMENT.read_text()
    start = text.index(TABLE_HEAD)
    old = text[start:].split("\n\n", 1)
    lines = {tuple(line.split(" | ")[:2]): line for line in old[0].splitlines()[2:]}
    for row in rows:
        line = str(row)
        lines[tuple(line.split(" | ")[:2])] = line
    order = {f"| {name}": k for k, name in enumerate(CASES)}
    ordered = sorted(lines.items(), key=lambda item: (order.get(item[0][0], 99), item[0][1]))
    table = [TABLE_HEAD, "|---|---|---|---|---|---|", *(line for _, line in ordered)]
    DOCUMENT.write_text("\n\n".join([text[:start] + "\n".join(table), *old[1:]]).rstrip() + "\n")


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="samples instead of all float32")
    parser.add_argument("--functions", default=",".join(CASES), help="names, separated by commas")
    parser.add_argument("--dtypes", default="f32,f64")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    for name in arguments.functions.split(","):
        for dtype in arguments.dtypes.split(","):
            row = measure(name, F32 if dtype == "f32" else F64, arguments.quick)
            tqdm.write(str(row))
            write_table([row])


if __name__ == "__main__":
    main()
