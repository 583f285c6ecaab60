"""Errors of the math functions: every float32, and stratified float64, against wider arithmetic.

    python -m bench.mathlib                       all functions: all 2^32 float32, 1e8 float64
    python -m bench.mathlib --quick               a stratified sample of both formats: minutes
    python -m bench.mathlib --functions exp,log

A result's error is counted in units in the last place (ULP) of the exact result. The reference is
jitgraph's own float64 for float32 and the C library's 80-bit long double for float64; the worst
case found is computed again by mpmath. Functions of two operands are sampled. The table in
docs/mathlib.md is brought up to date.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import jitgraph as jg
import jitgraph.tensor as T
from bench.ulps import F32, F64, double_errors, single_errors
from jitgraph.ir.opdef import OPS

Array = npt.NDArray[Any]
DOCUMENT = Path(__file__).parent.parent / "docs" / "mathlib.md"
CHUNK = 1 << 18
SAMPLES, QUICK_SAMPLES = 100_000_000, 4_000_000
TABLE_HEAD = "| function | dtype | max ULP | at | inputs | special values |"


@dataclass(frozen=True)
class Case:
    """A function: what computes %y in long double, its reference in mpmath, the interval where it
    is interesting, and the distance of the points where its pieces meet."""

    body: str
    exact: Callable[..., Any]
    interval: tuple[float, float] = (-2.0, 2.0)
    unit: float = 0.5
    arity: int = 1


def _call(name: str, *operands: str, to: str = "%y") -> str:
    return f"  {to} = call x86_fp80 @{name}({', '.join(f'x86_fp80 {o}' for o in operands)})\n"


_ONE = "  %one = fpext double 1.0 to x86_fp80\n"
#: exp(-|x|), and the two functions made of it.
_FALLING = (
    _ONE + "  %minus = fneg x86_fp80 %x0\n" + _call("llvm.fabs.f80", "%x0", to="%size")
    + "  %below = fneg x86_fp80 %size\n" + _call("expl", "%below", to="%e")
)  # fmt: skip
_SIGMOID = _FALLING + """  %negative = fcmp olt x86_fp80 %x0, 0xK00000000000000000000
  %over = select i1 %negative, x86_fp80 %e, x86_fp80 %one
  %under = fadd x86_fp80 %one, %e
  %y = fdiv x86_fp80 %over, %under
"""
_SOFTPLUS = _FALLING + _call("log1pl", "%e", to="%logarithm") + """
  %negative = fcmp olt x86_fp80 %x0, 0xK00000000000000000000
  %positive = select i1 %negative, x86_fp80 0xK00000000000000000000, x86_fp80 %x0
  %y = fadd x86_fp80 %positive, %logarithm
"""


def _mp_power_of_two(x: Any) -> Any:
    return mpmath.mpf(2) ** x


def _mp_softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x))


def _by(function: str, *rest: Any, **named: Any) -> Case:
    """A function of the C library."""
    operands = [f"%x{k}" for k in range(named.get("arity", 1))]
    return Case(_call(function, *operands), *rest, **named)


_LN2, _HALF_PI = math.log(2) / 2, math.pi / 2
CASES = {
    "exp": _by("expl", mpmath.exp, (-745, 710), _LN2),
    "exp2": _by("exp2l", _mp_power_of_two, (-1075, 1024)),
    "expm1": _by("expm1l", mpmath.expm1, (-40, 710), _LN2 / 8),
    "log": _by("logl", mpmath.log, (0, 4), math.sqrt(0.5)),
    "log2": _by("log2l", lambda x: mpmath.log(x, 2), (0, 4), math.sqrt(0.5)),
    "log10": _by("log10l", mpmath.log10, (0, 4), math.sqrt(0.5)),
    "log1p": _by("log1pl", mpmath.log1p, (-1, 3), math.sqrt(0.5) - 1),
    "sin": _by("sinl", mpmath.sin, (-100, 100), _HALF_PI),
    "cos": _by("cosl", mpmath.cos, (-100, 100), _HALF_PI),
    "tan": _by("tanl", mpmath.tan, (-100, 100), _HALF_PI),
    "tanh": _by("tanhl", mpmath.tanh, (-22, 22), _LN2 / 2),
    "sinh": _by("sinhl", mpmath.sinh, (-711, 711), _LN2),
    "cosh": _by("coshl", mpmath.cosh, (-711, 711), _LN2),
    "sigmoid": Case(_SIGMOID, lambda x: 1 / (1 + mpmath.exp(-x)), (-745, 40), _LN2),
    "softplus": Case(_SOFTPLUS, _mp_softplus, (-745, 40), _LN2),
    "erf": _by("erfl", mpmath.erf, (-6, 6), 0.1875),
    "erfc": _by("erfcl", mpmath.erfc, (-6, 27)),
    "arcsin": _by("asinl", mpmath.asin, (-1, 1)),
    "arccos": _by("acosl", mpmath.acos, (-1, 1)),
    "arctan": _by("atanl", mpmath.atan, (-4, 4), math.sqrt(2) - 1),
    "arcsinh": _by("asinhl", mpmath.asinh, (-4, 4)),
    "arccosh": _by("acoshl", mpmath.acosh, (1, 4)),
    "arctanh": _by("atanhl", mpmath.atanh, (-1, 1)),
    "cbrt": _by("cbrtl", lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), (-8, 8)),
    "power": _by("powl", lambda x, y: x**y, arity=2),
    "hypot": _by("hypotl", mpmath.hypot, arity=2),
    "arctan2": _by("atan2l", mpmath.atan2, arity=2),
}


# --- inputs --------------------------------------------------------------------------------------
def every_float32(chunk: int) -> list[Array]:
    """All of them, chunk by chunk, NaNs included."""
    start = chunk * CHUNK
    return [np.arange(start, start + CHUNK, dtype=np.uint32).view(F32)]


def _any_bits(rng: np.random.Generator, dtype: np.dtype[Any], count: int) -> Array:
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return rng.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True).view(dtype)


def stratified(name: str, dtype: np.dtype[Any], chunk: int) -> list[Array]:
    """Every exponent alike; the interesting interval, evenly; around the points where pieces of
    the function meet; for a power, exponents for which the result is neither 0 nor infinite."""
    case, info = CASES[name], np.finfo(dtype)
    rng = np.random.default_rng([2024, chunk])
    quarter = CHUNK // 4
    bits = [_any_bits(rng, dtype, CHUNK) for _ in range(case.arity)]
    spread = np.ldexp(rng.uniform(-1, 1, quarter), -rng.integers(0, info.nmant, quarter))
    if case.arity == 1:
        nearby = rng.integers(-200, 200, quarter) * case.unit
        bits[0][: 2 * quarter] = rng.uniform(*case.interval, 2 * quarter)
        bits[0][2 * quarter : 3 * quarter] = nearby * (1 + spread)
    else:
        bits[0][:quarter] = rng.uniform(0.5, 2, quarter)
        bits[1][:quarter] = rng.uniform(-3, 3, quarter)
    if name != "power":
        return bits
    x = np.abs(bits[0])
    x[quarter : 2 * quarter] = 1 + spread / 2
    exponent = rng.uniform(info.minexp - info.nmant, info.maxexp, CHUNK)
    return [x, (exponent / np.log2(x.astype(F64))).astype(dtype)]


# --- errors --------------------------------------------------------------------------------------
def exact_error(case: Case, actual: Any, operands: tuple[Any, ...]) -> float:
    """The error of one result by mpmath."""
    with mpmath.workdps(400 if case.unit == _HALF_PI else 60):
        exact = case.exact(*(mpmath.mpf(float(x)) for x in operands))
        info = np.finfo(actual.dtype)
        exponent = max(int(mpmath.frexp(exact)[1]) - 1, info.minexp) - info.nmant
        return float(abs(mpmath.mpf(float(actual)) - exact) / mpmath.ldexp(1, exponent))


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


def worst_of(
    run: Callable[[int], tuple[list[Array], Array]], chunks: Iterable[int], bar: Any
) -> tuple[float, tuple[Any, ...]]:
    """The largest error of all chunks, and where it is."""

    def worst(chunk: int) -> tuple[float, tuple[Any, ...]]:
        operands, error = run(chunk)
        k = int(np.argmax(error))
        bar.update(len(error))
        return float(error[k]), tuple(x[k] for x in operands)

    with ThreadPoolExecutor(2) as pool:
        return max(pool.map(worst, chunks), key=lambda found: found[0])


def measure(name: str, dtype: np.dtype[Any], count: int) -> Row:
    """The largest error of a function: over all float32, or over about `count` inputs."""
    case, run = CASES[name], compiled(name, dtype)
    if dtype == F32:
        judge = single_errors(getattr(T, name), case.arity)
    else:
        against = double_errors(case.body, case.arity)

        def judge(*operands: Array) -> Array:
            return against(*operands, run(*operands))

    every = dtype == F32 and case.arity == 1 and count == SAMPLES
    chunks = (1 << 32) // CHUNK if every else -(-count // CHUNK)

    def errors(chunk: int) -> tuple[list[Array], Array]:
        operands = every_float32(chunk) if every else stratified(name, dtype, chunk)
        return operands, judge(*operands)

    with tqdm(total=chunks * CHUNK, desc=f"{name} {dtype}", unit_scale=True, leave=False) as bar:
        error, at = worst_of(errors, range(chunks), bar)
    result = run(*(np.array([x]) for x in at))[0]
    if np.isfinite(result) and error < 1e5:
        error = exact_error(case, result, at)
    where = ", ".join(repr(float(x)) for x in at)
    special = special_values_differ(name, run, dtype)
    inputs = "all 2^32" if every else f"{count:.0e} stratified"
    return Row(name, {F32: "f32", F64: "f64"}[dtype], error, where, inputs, special)


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
    count = QUICK_SAMPLES if arguments.quick else SAMPLES
    for name in arguments.functions.split(","):
        for dtype in arguments.dtypes.split(","):
            row = measure(name, F32 if dtype == "f32" else F64, count)
            tqdm.write(str(row))
            write_table([row])


if __name__ == "__main__":
    main()
