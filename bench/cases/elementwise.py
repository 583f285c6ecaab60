"""Elementwise programs: arithmetic, transcendentals, layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bench.case import Case, Inputs

DTYPES = {"f32": np.float32, "f64": np.float64}
#: Single functions, with the interval their operands are drawn from.
FUNCTIONS = {
    "exp": (-10, 10), "log": (1e-3, 1e3), "sin": (-10, 10), "cos": (-10, 10), "tanh": (-4, 4),
    "erf": (-3, 3), "power": (0.1, 5), "log1p": (-0.9, 10), "expm1": (-5, 5),
    "sqrt": (0, 100), "sigmoid": (-8, 8),
}  # fmt: skip
SIZES = (10**2, 10**3, 10**4, 10**5, 10**6, 10**7, 10**8)


def uniform(
    dtype: Any, *shapes: tuple[int, ...], low: float = -2.0, high: float = 2.0
) -> Inputs:
    """Inputs of these shapes, uniform in [low, high)."""

    def inputs(random: np.random.Generator) -> Sequence[Any]:
        drawn = []
        for shape in shapes:
            array = random.random(shape, np.float32 if dtype == np.float32 else np.float64)
            array *= high - low
            array += low
            drawn.append(array.astype(dtype, copy=False))
        return drawn

    return inputs


def arithmetic(xp: Any, a: Any, b: Any, c: Any) -> Any:
    """Two operations an element: memory is the limit."""
    return a * b + c


def fused(xp: Any, a: Any, b: Any, c: Any) -> Any:
    """Three transcendentals an element."""
    return a * xp.exp(-b * b) + xp.sin(c) * xp.tanh(a - b)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from sweeps()
    yield from functions()
    yield from layouts()


def sweeps() -> Iterator[Case]:
    """The same program from a hundred elements to a hundred million."""
    for family, program in (("arithmetic", arithmetic), ("fused", fused)):
        for name, dtype in DTYPES.items():
            for n in SIZES:
                size = np.dtype(dtype).itemsize * n
                yield Case(
                    name=f"{family} {name} 1e{len(str(n)) - 1}", group="elementwise",
                    family=family, inputs=uniform(dtype, (n,), (n,), (n,)), expression=program,
                    traffic=(3 * size, size), curve=(f"{family} {name}", n),
                    quick=n == 10**6 or (n == 10**4 and family == "fused"),
                )  # fmt: skip
    yield Case(
        name="fused f64 1e6, one thread", group="elementwise", family="fused", threads=1,
        inputs=uniform(np.float64, *[(10**6,)] * 3), expression=fused,
        traffic=(24_000_000, 8_000_000),
    )  # fmt: skip


def functions() -> Iterator[Case]:
    """One function each, in cache."""
    for function, (low, high) in FUNCTIONS.items():
        for name, dtype in DTYPES.items():
            n = 10**4
            size = np.dtype(dtype).itemsize * n
            binary = function == "power"
            yield Case(
                name=f"{function} {name} 1e4", group="functions", family=f"function {function}",
                inputs=uniform(dtype, *[(n,)] * (1 + binary), low=low, high=high),
                expression=lambda xp, *x, _f=function: getattr(xp, _f)(*x),
                traffic=(size * (1 + binary), size),
                quick=function in ("exp", "tanh"),
                options={"ufunc": function, "function": function},
            )  # fmt: skip


#: Programs that read 2000 x 2000 matrices in some order, from whole arrays.
LAYOUTS: dict[str, tuple[Any, tuple[tuple[int, ...], ...]]] = {
    "contiguous": (lambda xp, a, b: a * b + a, ((2000, 2000), (2000, 2000))),
    "every second column": (
        lambda xp, a, b: a[:, ::2] * b[:, ::2] + 1, ((2000, 4000), (2000, 4000))
    ),
    "transposed operand": (lambda xp, a, b: a * b.T + a, ((2000, 2000), (2000, 2000))),
    "row broadcast": (lambda xp, a, b: a * b + b, ((2000, 2000), (2000,))),
    "column broadcast": (lambda xp, a, b: a * b + b, ((2000, 2000), (2000, 1))),
    "row and column": (lambda xp, a, b: a * b + b, ((2000, 1), (2000,))),
}  # fmt: skip


def layouts() -> Iterator[Case]:
    """Strided, transposed and broadcast operands."""
    for layout, (program, shapes) in LAYOUTS.items():
        for name, dtype in DTYPES.items():
            size = np.dtype(dtype).itemsize
            yield Case(
                name=f"{layout} {name} 2000x2000", group="layouts", family=f"layout {layout}",
                inputs=uniform(dtype, *shapes), expression=program,
                traffic=(sum(int(np.prod(s)) for s in shapes) * size, 4_000_000 * size),
                quick=layout == "transposed operand" and name == "f64",
            )  # fmt: skip
    for layout, view, shape in (
        ("strided", lambda a: a[:, ::2], (2000, 4000)), ("transposed", np.transpose, (2000, 2000))
    ):  # fmt: skip
        yield Case(
            name=f"{layout} input f64 2000x2000", group="layouts", family="layout input",
            inputs=viewed(view, uniform(np.float64, shape, (2000, 2000))),
            expression=lambda xp, a, b: a * b + b,
            traffic=(8 * (int(np.prod(shape)) + 4_000_000), 32_000_000),
        )  # fmt: skip


def viewed(view: Callable[[Any], Any], inputs: Inputs) -> Inputs:
    """The inputs, the first seen through a view."""

    def seen(random: np.random.Generator) -> Sequence[Any]:
        first, *others = inputs(random)
        return [view(first), *others]

    return seen
