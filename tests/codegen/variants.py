"""One program for each way a kernel can be laid out, and arrays of a chosen size for it.

All numbers are small integers, so that results are exact whatever the order of additions, and
native code must agree with the interpreter to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import jitgraph.tensor as T
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import emit
from jitgraph.ir.ops.indexing import SCATTER_ADD
from jitgraph.ir.ops.movement import dim, sum_to
from jitgraph.ir.types import DTYPES, Type
from jitgraph.tensor.variable import Variable

#: Extents of an array: numbers, or "n" for the size that varies. A leading "!" makes the type
#: know the extent.
Extents = tuple[int | str, ...]


@dataclass(frozen=True)
class Operand:
    """A parameter: its dtype, its extents, and its order in memory."""

    dtype: str
    extents: Extents
    layout: str = "C"
    #: Indices are below this extent ("n" or a number), other numbers about zero.
    below: int | str | None = None

    def variable(self, name: str) -> Variable:
        known = tuple(int(e[1:]) if isinstance(e, str) and e[0] == "!" else None
                      for e in self.extents)  # fmt: skip
        return Variable(Type(DTYPES[self.dtype], known), name=name)

    def array(self, n: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        shape = tuple(n if e == "n" else int(str(e).lstrip("!")) for e in self.extents)
        dtype = DTYPES[self.dtype]
        if self.below is not None:
            top = n if self.below == "n" else int(self.below)
            numbers = rng.integers(0, max(top, 1), shape)
        elif dtype.kind in "bu":
            numbers = rng.integers(0, 2 if dtype.kind == "b" else 4, shape)
        else:
            most = 1 if dtype == np.float16 else 3
            numbers = rng.integers(-most, most + 1, shape)
        array = np.asarray(numbers).astype(dtype)
        if dtype.kind == "c":
            array += (1j * rng.integers(-3, 4, shape)).astype(dtype)
        return laid_out(array, self.layout)


def laid_out(array: np.ndarray[Any, Any], layout: str) -> np.ndarray[Any, Any]:
    """The same numbers in another memory order."""
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.flip(np.ascontiguousarray(np.flip(array)))
    if layout == "strided":
        wide = np.zeros((*array.shape[:-1], 3 * array.shape[-1]), array.dtype)
        wide[..., ::3] = array
        return wide[..., ::3]
    return array


@dataclass(frozen=True)
class Variant:
    """A program, by the operands it takes."""

    build: Callable[..., Any]
    operands: tuple[Operand, ...]
    #: Whether it has a value where n is 0.
    of_nothing: bool = True

    def function(self) -> Function:
        params = [o.variable(f"x{k}") for k, o in enumerate(self.operands)]
        made = self.build(*params)
        return Function(params, made if isinstance(made, list) else [made])

    def arrays(self, n: int) -> list[np.ndarray[Any, Any]]:
        rng = np.random.default_rng(n)
        return [o.array(n, rng) for o in self.operands]

    def lanes(self, vector_bytes: int) -> int:
        """Elements of its widest number in a vector."""
        sizes = [DTYPES[o.dtype].itemsize // (1 + (o.dtype[0] == "c")) for o in self.operands]
        return vector_bytes // max(sizes)


def sizes_around(lanes: int) -> list[int]:
    """Where vectors begin and end, four copies of them too, and primes."""
    about = {0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 4 * lanes - 1, 4 * lanes,
             4 * lanes + 1, 9 * lanes + 3, 37, 211}  # fmt: skip
    return sorted(about)


# --- programs ------------------------------------------------------------------------------------
def _mixed(x: Any, y: Any) -> Any:
    return (x & ~y) | (x ^ y) if x.dtype.kind == "b" else x * y + x


def _long(x: Any, y: Any) -> Any:
    for k in range(30):
        x = T.where(x > y - k, x - 1, x + 2)
    return x


def _middle(x: Any, y: Any) -> Any:
    for k in range(7):
        x = T.where(x > k, x - 1, y)
    return x


def _centred(x: Any) -> Any:
    return x - x.max(axis=-1, keepdims=True)


def _rows(x: Any) -> Any:
    e = _centred(x)
    return e * e.sum(axis=-1, keepdims=True) + x.min(axis=-1, keepdims=True)


def _rows_and_totals(x: Any) -> Any:
    y = _rows(x)
    return [y, y.sum(axis=0), y.sum(axis=-1)]


def _middle_axis(x: Any) -> Any:
    top = x.max(axis=-2, keepdims=True)
    return [x - top, top]


def _middle_kept(x: Any) -> Any:
    top = x.max(axis=-2)
    return [top, x - T.expand_dims(top, -2)]


def _counted(x: Any) -> Any:
    return T.arange(dim(x, 0)) * x


def _window(x: Any) -> Any:
    return x[1:] - x[:-1]


def _steps(x: Any) -> Any:
    return [x[::2], x[::-3] * 2]


def _sum_like(x: Any, y: Any) -> Any:
    return sum_to(x, [dim(y, 0), dim(y, 1)])



def _scattered(x: Any, i: Any) -> Any:
    return emit(SCATTER_ADD, (T.zeros_like(x), x, i))


def _extremes(x: Any) -> Any:
    return [x.max(axis=-1), x.min(axis=0), x.argmax(axis=-1), x.any(), (x > 0).all(axis=0)]


def _sums_of_rows(x: Any, v: Any) -> Any:
    return [(x * v).sum(axis=1), x.sum(axis=1), (x - v).sum(axis=1)]


def _sums_down(x: Any, v: Any) -> Any:
    return [(x * v).sum(axis=0), x.sum(axis=0)]


def _extremes_of_rows(x: Any) -> Any:
    return [x.max(axis=1), x.argmin(axis=1), x.min(axis=0), x.argmax(axis=0)]


def _halves(x: Any) -> Any:
    return T.concatenate([x, x * 2], axis=0)


EVERY = ("f64", "f32", "f16", "c64", "c128", "bool", "i8", "u16", "i32", "i64", "u64")


def _variants() -> dict[str, Variant]:
    made: dict[str, Variant] = {}

    def add(
        name: str, build: Callable[..., Any], *operands: Operand, of_nothing: bool = True
    ) -> None:
        made[name] = Variant(build, operands, of_nothing)

    for dtype in EVERY:
        one, two = Operand(dtype, ("n",)), Operand(dtype, (3, "n"))
        add(f"pointwise {dtype}", _mixed, one, one)
        for layout in ("reversed", "strided"):
            far = Operand(dtype, ("n",), layout)
            add(f"{layout} {dtype}", _mixed, far, one)
        add(f"flipped {dtype}", lambda x, y: _mixed(x[::-1], y), one, one)
        add(f"stepped {dtype}", _steps if dtype != "bool" else lambda x: x[::2], one)
        add(f"broadcast {dtype}", _mixed, two, one)
        add(f"column {dtype}", _mixed, two, Operand(dtype, (3, "!1")))
        add(f"turned {dtype}", _mixed, two, Operand(dtype, (3, "n"), "F"))
        add(f"gathered {dtype}", lambda x, i: x[i], one, Operand("i64", ("n",), below="n"))
        add(f"gathered rows {dtype}", lambda x, i: x[i], two, Operand("i64", (7,), below=3))
        add(f"gathered columns {dtype}", lambda x, i: x[:, i], two,
            Operand("i64", ("n",), below="n"))  # fmt: skip
        add(f"gathered points {dtype}", lambda x, i, j: x[i, j], two,
            Operand("i64", ("n",), below=3), Operand("i64", ("n",), below="n"))  # fmt: skip
        if dtype == "bool":
            add("any, all", lambda x: [x.any(axis=1), x.all(axis=0), x.any(), x.sum(axis=1)], two)
            continue
        three = Operand(dtype, (2, "n", 3))
        add(f"sum {dtype}", lambda x: [x.sum(axis=1), x.sum()], two)
        add(f"sum of 1 {dtype}", lambda x: (x + x).sum(), one)
        add(f"sum down {dtype}", lambda x: [x.sum(axis=0), x * x], two)
        add(f"sum far down {dtype}", lambda x: x.sum(axis=0), Operand(dtype, ("n", 3)))
        add(f"sum around {dtype}", lambda x: x.sum(axis=(0, 2)), three)
        add(f"sum within {dtype}", lambda x: x.sum(axis=1), three)
        add(f"sum to {dtype}", _sum_like, two, Operand(dtype, (1, "n")))
        add(f"sum to column {dtype}", _sum_like, two, Operand(dtype, (3, 1)))
        add(f"joined {dtype}", _halves, one)
        if dtype[0] == "c":
            continue
        add(f"extremes {dtype}", _extremes, two, of_nothing=False)
        add(f"places {dtype}", lambda x: [x.argmax(), x.argmin(axis=0), (x * x).argmin(axis=-1)],
            two, of_nothing=False)  # fmt: skip
        add(f"product {dtype}", lambda x: T.prod(T.minimum(T.maximum(x, 0), 1), axis=1), two)
    for dtype in ("f64", "f32", "i16", "f16"):
        one = Operand(dtype, ("n",))
        add(f"long body {dtype}", _long, one, one)
        add(f"middling body {dtype}", _middle, one, one)
    for dtype in ("f64", "f32", "i32"):
        add(f"rows {dtype}", _rows, Operand(dtype, (5, "n")), of_nothing=False)
        add(f"rows of strides {dtype}", _rows, Operand(dtype, (5, "n"), "F"), of_nothing=False)
        add(f"known rows {dtype}", _rows, Operand(dtype, ("n", "!37")))
        add(f"rows with totals {dtype}", _rows_and_totals, Operand(dtype, (5, "n")),
            of_nothing=False)  # fmt: skip
        add(f"known rows with totals {dtype}", _rows_and_totals, Operand(dtype, ("n", "!19")))
        add(f"matrices {dtype}", _rows_and_totals, Operand(dtype, (2, 3, "n")), of_nothing=False)
        add(f"middle axis {dtype}", _middle_axis, Operand(dtype, (2, 9, "n")))
        add(f"middle of four {dtype}", _middle_axis, Operand(dtype, (2, 3, 9, "n")))
        add(f"middle of four, kept {dtype}", _middle_kept, Operand(dtype, (2, 3, 9, "n")))
        add(f"counted {dtype}", _counted, Operand(dtype, ("n",)))
        add(f"scattered {dtype}", _scattered, Operand(dtype, ("n", 3)),
            Operand("i64", ("n",), below="n"))  # fmt: skip
        add(f"window {dtype}", _window, Operand(dtype, ("n", 2)), of_nothing=False)
    for dtype in ("f64", "f32", "f16", "c64", "c128", "i8", "i32"):
        for rows in (8, 19):  # whole groups of rows, and one that lacks some
            many, vector = Operand(dtype, (rows, "n")), Operand(dtype, ("n",))
            add(f"{rows} rows {dtype}", _sums_of_rows, many, vector)
            add(f"two of {rows} rows {dtype}", lambda x, y: (x * y).sum(axis=1), many, many)
            add(f"down {rows} rows {dtype}", _sums_down, many, vector)
            if dtype[0] != "c":
                add(f"extremes of {rows} rows {dtype}", _extremes_of_rows, many, of_nothing=False)
        add(f"known rows at once {dtype}", lambda x: x.sum(axis=1), Operand(dtype, ("n", "!21")))
        add(f"rows of matrices {dtype}", lambda x: [x.sum(axis=2), x.sum(axis=1)],
            Operand(dtype, (2, 11, "n")))  # fmt: skip
    for dtype in ("f64", "f32"):
        add(f"product of matrices {dtype}", lambda x, y: x @ y + 1,
            Operand(dtype, (5, "n")), Operand(dtype, ("n", 7)))  # fmt: skip
        add(f"wide product {dtype}", lambda x, y: T.maximum(x @ y, 0),
            Operand(dtype, ("n", 3)), Operand(dtype, (3, "n")))  # fmt: skip
        add(f"turned product {dtype}", lambda x, y: x.T @ y,
            Operand(dtype, (3, "n")), Operand(dtype, (3, "n"), "F"))  # fmt: skip
        add(f"far product {dtype}", lambda x, y: x @ y,
            Operand(dtype, (5, "n"), "strided"), Operand(dtype, ("n", 7), "reversed"))  # fmt: skip
        add(f"matrix and vector {dtype}", lambda x, y: [x @ y, x.T @ x @ y],
            Operand(dtype, (5, "n")), Operand(dtype, ("n",)))  # fmt: skip
    add("to f64", lambda x, y: x + y.astype("float64"),
        Operand("f64", ("n",)), Operand("i8", ("n",)))  # fmt: skip
    add("to f32", lambda x, y: x.astype("float32") * y,
        Operand("f16", ("n",)), Operand("f32", ("n",)))  # fmt: skip
    add("choice", lambda c, x, y: T.where(c, x, y), Operand("bool", ("n",)),
        Operand("c64", ("n",)), Operand("c64", ("n",)))  # fmt: skip
    return made


VARIANTS = _variants()
