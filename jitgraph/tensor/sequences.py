"""Numbers in order, and grids of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.config import config
from jitgraph.errors import DTypeError, OptionError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.arithmetic import absolute, equal, floor, sign, where
from jitgraph.ir.ops.exponential import log10, power
from jitgraph.ir.types import as_dtype, kind_of, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor import creation
from jitgraph.tensor.operands import as_tensor, common_dtype, constant, public
from jitgraph.tensor.shaping import full_like, length


@public
def identity(n: Any, dtype: Any = None) -> Value:
    """The n × n matrix with ones on its diagonal."""
    return creation.eye(n, dtype=dtype)


@public
def empty(shape: Any, dtype: Any = None) -> Value:
    """Zeros: what NumPy leaves open is decided here."""
    return creation.zeros(shape, dtype)


@public
def empty_like(x: ArrayLike, dtype: Any = None) -> Value:
    """Zeros of x's shape: what NumPy leaves open is decided here."""
    return full_like(x, 0, dtype)


# --- linspace and its kind ---------------------------------------------------------------------
@public
def linspace(
    start: ArrayLike, stop: ArrayLike, num: Any = 50, endpoint: bool = True,
    retstep: bool = False, dtype: Any = None, axis: int = 0,
) -> Any:  # fmt: skip
    """`num` numbers from start to stop in equal steps, with stop itself unless endpoint=False.

    start and stop may be arrays, which get a new axis. With `retstep` also the step.
    """
    made = evenly_spaced(start, stop, num, endpoint, dtype, axis)
    return made if retstep else made[0]


def evenly_spaced(
    start: ArrayLike, stop: ArrayLike, num: Any, endpoint: bool = True, dtype: Any = None,
    axis: int = 0,
) -> tuple[Value, Value]:  # fmt: skip
    """The numbers of `linspace`, and their distance."""
    first, last = as_tensor(start), as_tensor(stop)
    size = length(num, "num")
    working = common_dtype([first, last, float(1)])
    target = working if dtype is None else as_dtype(dtype)
    if kind_of(working) not in "fc":
        raise DTypeError(f"linspace does not take {first.type} and {last.type}")
    first, last = cast(first, working), cast(last, working)
    delta = last - first
    parts = size - 1 if endpoint else size
    numbers = movement.iota(size, cls=type(constant(0)))
    counter = cast(movement.expand_dims(numbers, range(1, delta.ndim + 1)), working)
    whole: Any = delta * np.nan
    if isinstance(parts, Value):
        parts = cast(parts, working)
        whole = where(parts > 0, delta / where(parts > 0, parts, 1), delta * np.nan)
    elif parts > 0:
        whole = delta / parts
    if isinstance(parts, int) and parts <= 0:
        y = counter * delta
    else:  # a step that underflows is divided last
        y = where(equal(whole, 0), counter / parts * delta, counter * whole)
    y = y + first
    if endpoint:
        at_end = movement.expand_dims(equal(numbers, size - 1) & (numbers > 0),
                                      range(1, delta.ndim + 1))  # fmt: skip
        y = where(at_end, last, y)
    if target.kind in "iu":
        y = floor(y)
    axis = normalise_axis(axis, y.ndim)
    order = list(range(1, y.ndim))
    order.insert(axis, 0)
    return cast(movement.transpose(y, order), target), whole


@public
def logspace(
    start: ArrayLike, stop: ArrayLike, num: Any = 50, endpoint: bool = True,
    base: ArrayLike = 10.0, dtype: Any = None, axis: int = 0,
) -> Value:  # fmt: skip
    """base to the powers of `linspace(start, stop, num)`."""
    exponents, _ = evenly_spaced(start, stop, num, endpoint, axis=axis)
    base = as_tensor(base) if isinstance(base, list | tuple) else base
    if getattr(base, "ndim", 0):
        base = movement.expand_dims(as_tensor(base), (normalise_axis(axis, exponents.ndim),))
    y = power(base, exponents)
    return y if dtype is None else cast(y, dtype)  # type: ignore[no-any-return]


@public
def geomspace(
    start: ArrayLike, stop: ArrayLike, num: Any = 50, endpoint: bool = True,
    dtype: Any = None, axis: int = 0,
) -> Value:  # fmt: skip
    """`num` real numbers from start to stop in equal ratios; both of one sign, neither 0."""
    first, last = as_tensor(start), as_tensor(stop)
    working = common_dtype([first, last, float(1)])
    if kind_of(working) != "f":
        raise DTypeError(f"geomspace does not take {first.type} and {last.type}")
    first, last = cast(first, working), cast(last, working)
    sizes = absolute(first), absolute(last)
    y = sign(first) * logspace(log10(sizes[0]), log10(sizes[1]), num, endpoint, axis=0)
    count = movement.dim(y, 0)
    place = movement.expand_dims(movement.iota(count, cls=type(y)), range(1, y.ndim))
    y = where(equal(place, 0), first, y)
    if endpoint:
        y = where(equal(place, count - 1) & (place > 0), last, y)
    order = list(range(1, y.ndim))
    order.insert(normalise_axis(axis, y.ndim), 0)
    y = movement.transpose(y, order)
    return y if dtype is None else cast(y, dtype)


# --- grids -------------------------------------------------------------------------------------
@public
def meshgrid(
    *xi: ArrayLike, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Value, ...]:
    """One array per vector, each varying along its own axis: "xy" puts the first vector along the
    columns, "ij" along the rows. With `sparse` the other axes have extent 1."""
    if indexing not in ("xy", "ij"):
        raise OptionError(f"meshgrid cannot index by {indexing!r}", hint="'xy' or 'ij'")
    vectors = [movement.reshape(as_tensor(x), (-1,)) for x in xi]
    rank = len(vectors)
    axes = list(range(rank))
    if indexing == "xy" and rank > 1:
        axes[:2] = [1, 0]
    lines = [movement.expand_dims(v, [k for k in range(rank) if k != axis])
             for v, axis in zip(vectors, axes, strict=True)]  # fmt: skip
    if sparse:
        return tuple(lines)
    sizes: list[Any] = [0] * rank
    for v, axis in zip(vectors, axes, strict=True):
        sizes[axis] = movement.dim(v, 0)
    return tuple(movement.broadcast_to(line, sizes) for line in lines)


@public
def indices(dimensions: Any, dtype: Any = np.int64, sparse: bool = False) -> Any:
    """The position along each axis of a grid, stacked; with `sparse` a tuple that broadcasts."""
    grid = positions(dimensions, dtype, sparse)
    return grid if sparse else _joined(grid)


def positions(dimensions: Any, dtype: Any, sparse: bool = False) -> tuple[Value, ...]:
    """The position along each axis of a grid."""
    lines = [cast(movement.iota(length(n, "a dimension"), cls=type(constant(0))), dtype)
             for n in dimensions]  # fmt: skip
    return meshgrid(*lines, sparse=sparse, indexing="ij")


def _joined(grid: tuple[Value, ...]) -> Value:
    return as_tensor(list(grid)) if grid else constant(np.zeros((0,), np.int64))


@public
def ix_(*args: ArrayLike) -> tuple[Value, ...]:
    """Index arrays that read the rows, columns, ... given, in every combination."""
    made = []
    for x in args:
        value: Value = as_tensor(x)
        if value.dtype.kind == "b":
            if value.literal is None:
                raise DTypeError(f"ix_ takes known masks, not {value.type}")
            value = constant(value.literal.array.nonzero()[0])
        made.append(value)
    return meshgrid(*made, sparse=True, indexing="ij")


class Grid:
    """`T.mgrid[0:n, 0:1:5j]`: a grid from slices, dense or open; bounds may be symbolic."""

    def __init__(self, sparse: bool) -> None:
        self.sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        """The arrays of `meshgrid` for one slice per axis; a complex step is a number of points."""
        if not isinstance(key, tuple):
            return _line(key)
        lines = [_line(k) for k in key]
        dtype = common_dtype(lines)
        grid = meshgrid(*[cast(v, dtype) for v in lines], sparse=self.sparse, indexing="ij")
        return grid if self.sparse else _joined(grid)


def _line(key: slice) -> Value:
    start = 0 if key.start is None else key.start
    if isinstance(key.step, complex):
        return evenly_spaced(start, key.stop, int(abs(key.step)))[0]
    return creation.arange(start, key.stop, 1 if key.step is None else key.step)


mgrid, ogrid = Grid(False), Grid(True)


# --- windows -----------------------------------------------------------------------------------
def _window(name: str, doc: str) -> Any:
    def window(M: int, *parameters: float) -> Value:  # noqa: N803  (NumPy's name)
        return constant(getattr(np, name)(M, *parameters), config.floatX)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = doc
    return public(window)


bartlett = _window("bartlett", "The triangular window of M points, a known number.")
blackman = _window("blackman", "Blackman's window of M points, a known number.")
hamming = _window("hamming", "Hamming's window of M points, a known number.")
hanning = _window("hanning", "Hann's window of M points, a known number.")
kaiser = _window("kaiser", "Kaiser's window of M points and parameter beta, known numbers.")
