"""Random well-typed programs, for every test that compares two meanings of one function.

`functions()` draws a `Program`: a function over random parameter types (known, named and unknown
extents) and example inputs on which it has a value. The program is evaluated as it grows, so each
op is chosen to be defined on the operands it really gets: no index out of bounds, no cast of a NaN
to an integer, no integer to a negative power. `benign=True` also keeps to finite numbers of
moderate size and to ops that do not jump, so that results may be compared up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from jitgraph.errors import DTypeError, JitgraphError
from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.elementwise import Elementwise, cast, resolve
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OPS, Rejection, constant, emit
from jitgraph.ir.ops import joining
from jitgraph.ir.ops import movement as move
from jitgraph.ir.ops.arithmetic import equal, remainder
from jitgraph.ir.ops.bits import bitcast
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.control import branch, loop
from jitgraph.ir.ops.indexing import ADD_SLICE, SCATTER_ADD, SET_SLICE, gather, slice_, slice_axis
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.normalisation import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from jitgraph.ir.ops.prefix import prefix_sum
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.types import DTYPES, I64, Dim, Extent, Type, kind_of
from jitgraph.ir.values import Value, topological
from tests.arrays import example_array, is_moderate

#: Arrays in a program have at most this many elements and axes.
MAX_SIZE, MAX_RANK = 256, 4
#: Extents of parameters: few elements, and more than a vector has.
SIZES = (3, 1, 2, 4, 0, 9, 17)
#: Continuous, with derivatives of moderate size wherever the operands are moderate.
SMOOTH = {
    "absolute", "add", "arcsinh", "arctan", "conjugate", "cos", "erf", "erfc", "exp", "expm1",
    "fma", "fmax", "fmin", "logaddexp", "maximum", "minimum", "multiply", "negative", "positive",
    "sigmoid", "sin", "softplus", "square", "subtract", "tanh", "where",
}  # fmt: skip
DIVISIONS = {"floor_divide", "remainder", "fmod"}
SHIFTS = {"left_shift", "right_shift"}
EVERY_DTYPE = tuple(DTYPES)
USUAL_DTYPES = ("f64", "f32", "i64", "bool", "i32", "u8")

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Program:
    """A function, and arrays it can be called with."""

    def __init__(self, function: Function, arrays: Sequence[np.ndarray]) -> None:
        self.function = function
        self.arrays = tuple(arrays)

    def inputs(self) -> list[np.ndarray]:
        """Fresh copies of the example inputs."""
        return [a.copy() for a in self.arrays]

    def __repr__(self) -> str:
        inputs = "\n".join(f"{p.name} = {a!r}" for p, a in
                           zip(self.function.params, self.arrays, strict=True))  # fmt: skip
        return f"Program:\n{self.function}\n{inputs}"


@st.composite
def functions(
    draw: Draw, *, benign: bool = False, dtypes: Sequence[str] = USUAL_DTYPES,
    max_params: int = 3, max_steps: int = 10, control: bool = False,
) -> Program:  # fmt: skip
    """Programs of up to `max_steps` steps (an op, with the casts and sizes it needs). `control`:
    with loops and branches, which hold programs of their own."""
    growing = _Growing(draw, benign, [*RULES, *CONTROL * 4] if control else RULES)
    for index in range(draw(st.integers(1, max_params))):
        growing.add_parameter(index, dtypes)
    for _ in range(draw(st.integers(max_steps // 3, max_steps))):
        growing.step()
    return growing.finish()


@cache
def _accepts(definition: Elementwise, kinds: tuple[Any, ...]) -> bool:
    try:
        resolve(definition, kinds)
    except DTypeError:
        return False
    return True


def _broadcast(*shapes: tuple[int, ...]) -> bool:
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return math.prod(shape) <= MAX_SIZE and len(shape) <= MAX_RANK


@dataclass
class _Growing:
    """A program under construction: its values so far, each with the array it is on the inputs."""

    draw: Draw
    benign: bool
    rules: Sequence[Callable[[_Growing], Any]]
    params: list[Value] = field(default_factory=list)
    pool: list[Value] = field(default_factory=list)
    arrays: dict[Value, np.ndarray] = field(default_factory=dict)
    extents: dict[str, tuple[int, Extent]] = field(default_factory=dict)

    def add_parameter(self, index: int, dtypes: Sequence[str]) -> None:
        dtype = DTYPES[self.draw(st.sampled_from(dtypes))]
        shape = tuple(self.draw(st.lists(st.sampled_from(SIZES), max_size=3)))
        if math.prod(shape) > MAX_SIZE:
            shape = tuple(min(size, 4) for size in shape)
        type_ = Type(dtype, tuple(map(self.extent, shape)))
        param = Value(type_, name=self.draw(st.sampled_from(["x", "y", "", None])))
        seed = self.draw(st.integers(0, 2**16))
        rng = np.random.default_rng([seed, index])
        self.arrays[param] = example_array(rng, dtype, shape, benign=self.benign)
        self.params.append(param)
        self.pool.append(param)

    def extent(self, size: int) -> Dim:
        """A dimension of a type that `size` satisfies."""
        kind = self.draw(st.sampled_from(["known", "named", "unknown"]))
        if kind != "named":
            return size if kind == "known" else None
        name = self.draw(st.sampled_from(["n", "m", "k"]))
        never_one = size != 1 and self.draw(st.booleans())
        known, extent = self.extents.setdefault(name, (size, Extent(name, never_one)))
        return extent if known == size else None

    def finish(self) -> Program:
        used = {a for v in self.arrays if v.op is not None for a in v.op.args}
        made = [v for v in self.pool if v not in used][-4:]
        results = made + self.draw(st.lists(st.sampled_from(self.pool), max_size=1))
        true = [v for v in self.pool
                if v.type == Type(DTYPES["bool"]) and self.arrays[v]]  # fmt: skip
        checks = self.draw(st.lists(st.sampled_from(true), max_size=3)) if true else []
        name = self.draw(st.sampled_from(["main", "f.1", "<lambda>"]))
        function = Function(self.params, results, checks=checks, name=name)
        return Program(function, [self.arrays[p] for p in self.params])

    def step(self) -> None:
        """Take what a rule builds, unless it is not benign; some rules find no operands."""
        for _ in range(4):
            made = self.draw(st.sampled_from(self.rules))(self)
            if isinstance(made, Value) and made not in self.arrays:
                self.take(made)
                break

    def take(self, made: Value) -> None:
        fresh = [v for v in topological([made], stop=set(self.arrays)) if v not in self.arrays]
        computed = dict(self.arrays)
        for value in fresh:
            assert value.op is not None
            operands = [computed[a] for a in value.op.args]
            computed[value] = np.asarray(value.op.definition.evaluate(*operands, **value.op.attrs))
        if not self.benign or all(is_moderate(computed[v]) for v in fresh):
            self.arrays = computed
            self.pool.append(made)

    def pick(self, fits: Callable[[Value], bool] = lambda value: True) -> Value | None:
        found = [v for v in self.pool if fits(v)]
        # The latest twice, so that programs grow deep.
        return self.draw(st.sampled_from(found + found[-2:])) if found else None

    def shape(self, value: Value) -> tuple[int, ...]:
        return self.arrays[value].shape

    def some_axes(self, rank: int, least: int = 0) -> tuple[int, ...]:
        axes = st.sets(st.integers(0, rank - 1), min_size=least) if rank else st.just(set())
        return tuple(sorted(self.draw(axes)))

    def number(self, number: int) -> int | Value:
        """The number, or an i64 value that happens to be it."""
        known = [v for v in self.pool if v.type == Type(I64) and abs(int(self.arrays[v])) < 1000]
        if not known or self.draw(st.booleans()):
            return number
        value = self.draw(st.sampled_from(known))
        return value + (number - int(self.arrays[value]))  # type: ignore[no-any-return]


# --- elementwise ---------------------------------------------------------------------------------
def _is_defined(g: _Growing, op: Elementwise, operands: Sequence[Any]) -> bool:
    arrays = [g.arrays.get(o) if isinstance(o, Value) else np.asarray(o) for o in operands]
    kinds = {kind_of(a.dtype) for a in arrays}
    last = arrays[-1]
    if op.name == "power" and kinds <= set("biu") and not (last >= 0).all():
        return False
    if not g.benign:
        return True
    if kinds & set("fc"):
        return op.name in SMOOTH
    if op.name in DIVISIONS:
        return bool((last > 0).all())
    return op.name not in SHIFTS or bool(((last >= 0) & (last < 8)).all())


def elementwise(g: _Growing) -> Value | None:
    """Any op of the tables over operands that broadcast, the last of which may be a number."""
    arity = g.draw(st.sampled_from([1, 2, 2, 2, 3]))
    operands: list[Any] = []
    while len(operands) < arity:
        chosen = g.pick(lambda v: _broadcast(*map(g.shape, operands), g.shape(v)))
        if chosen is None:
            return None
        operands.append(chosen)
    if arity > 1:
        number = g.draw(st.sampled_from([None, None, None, 1, 2, 0.5, 0, True]))
        operands[-1] = operands[-1] if number is None else number
    kinds = tuple(o.dtype if isinstance(o, Value) else np.dtype(bool) if o is True else type(o)
                  for o in operands)  # fmt: skip
    ops = [op for op in ELEMENTWISE
           if op.arity == arity and _accepts(op, kinds) and _is_defined(g, op, operands)]
    return g.draw(st.sampled_from(ops))(*operands) if ops else None


def conversion(g: _Growing) -> Value | None:
    x = g.pick()
    assert x is not None
    to = DTYPES[g.draw(st.sampled_from(EVERY_DTYPE[::-1]))]
    array = g.arrays[x]
    readable = x.dtype.itemsize == to.itemsize and {kind_of(x.dtype), kind_of(to)} <= set("iuf")
    if readable and not g.benign and not np.isnan(array).any() and g.draw(st.booleans()):
        return bitcast(x, to)
    if x.dtype.kind == "c" and to.kind != "c":
        return None
    if kind_of(x.dtype) == "f" and kind_of(to) not in "fc":
        if g.benign:
            return None
        if to.kind != "b":
            top = float(np.iinfo(to).max) / 2
            low = 0.0 if to.kind == "u" else -top
            wide = array.astype(np.float64)
            if not ((wide >= low) & (wide <= top)).all():
                return None
    return cast(x, to)


def constant_array(g: _Growing) -> Value:
    dtype = DTYPES[g.draw(st.sampled_from(USUAL_DTYPES))]
    shape = tuple(g.draw(st.lists(st.integers(0, 3), max_size=2)))
    rng = np.random.default_rng(g.draw(st.integers(0, 99)))
    return constant(example_array(rng, dtype, shape, benign=g.benign))


# --- reductions and products ---------------------------------------------------------------------
def reduction(g: _Growing) -> Value | None:
    op = g.draw(st.sampled_from(REDUCTIONS))
    jumps = g.benign and op.positional
    x = g.pick(lambda v: kind_of(v.dtype) in op.accepts and not (jumps and kind_of(v.dtype) == "f"))
    if x is None:
        return None
    axes = g.some_axes(x.ndim, least=0 if op.positional else min(1, x.ndim))
    if not op.of_nothing and any(g.shape(x)[a] == 0 for a in axes):
        return None
    return emit(op, (x,), axes=axes)


def row_step(g: _Growing) -> Value | None:
    """A reduction that keeps its axes, and what comes of it: x - max(x), x * sum(x)."""
    x = g.pick(lambda v: kind_of(v.dtype) in "iuf" and v.ndim > 0 and v.dtype.itemsize > 1)
    if x is None:
        return None
    op = g.draw(st.sampled_from([r for r in REDUCTIONS if kind_of(x.dtype) in r.accepts
                                 and not r.positional]))  # fmt: skip
    axes = g.some_axes(x.ndim, least=1)
    if not op.of_nothing and any(g.shape(x)[a] == 0 for a in axes):
        return None
    folded = move.expand_dims(emit(op, (x,), axes=axes), axes)
    other = g.pick(lambda v: v.dtype == x.dtype and _broadcast(g.shape(v), g.shape(x)))
    one = x if other is None or g.draw(st.booleans()) else other
    if folded.dtype.kind == "b" or not _broadcast(g.shape(one), g.shape(x)):
        return folded
    return one * folded if g.draw(st.booleans()) else one - folded


def normalisation(g: _Growing) -> Value | None:
    x = g.pick(lambda v: v.type.is_float and v.ndim > 0)
    if x is None:
        return None
    op = g.draw(st.sampled_from([SOFTMAX, LOG_SOFTMAX, LOGSUMEXP]))
    return emit(op, (x,), axes=g.some_axes(x.ndim, least=1))


def running_sum(g: _Growing) -> Value | None:
    x = g.pick(lambda v: kind_of(v.dtype) in "iufc" and v.ndim > 0)
    if x is None:
        return None
    axis = g.draw(st.integers(0, x.ndim - 1))
    return prefix_sum(x, axis, reverse=g.draw(st.booleans()))


def product(g: _Growing) -> Value | None:
    a = g.pick(lambda v: 1 <= v.ndim <= 3)
    if a is None:
        return None
    inner, batch = g.shape(a)[-1], g.shape(a)[:-2]
    b = g.pick(lambda v: v.dtype == a.dtype and 1 <= v.ndim <= 3
               and (g.shape(v)[-2] if v.ndim > 1 else g.shape(v)[0]) == inner
               and _broadcast(batch, g.shape(v)[:-2]))  # fmt: skip
    if b is None and a.ndim > 1:
        b = move.transpose(a, [*range(a.ndim - 2), a.ndim - 1, a.ndim - 2])
    return None if b is None else matmul(a, b)


# --- movement ------------------------------------------------------------------------------------
def permutation(g: _Growing) -> Value | None:
    x = g.pick(lambda v: v.ndim > 1)
    return x and move.transpose(x, g.draw(st.permutations(range(x.ndim))))


def new_axes(g: _Growing) -> Value | None:
    x = g.pick(lambda v: v.ndim < MAX_RANK)
    return x and move.expand_dims(x, [g.draw(st.integers(0, x.ndim))])


def dropped_axes(g: _Growing) -> Value | None:
    x = g.pick(lambda v: 1 in g.shape(v))
    return x and move.squeeze(x, [i for i, size in enumerate(g.shape(x)) if size == 1])


def new_shape(g: _Growing) -> Value | None:
    x = g.pick(lambda v: g.arrays[v].size > 0)
    if x is None:
        return None
    rest, shape = g.arrays[x].size, []
    for _ in range(g.draw(st.integers(0, 2))):
        shape.append(g.draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0])))
        rest //= shape[-1]
    return move.reshape(x, [*map(g.number, shape), g.draw(st.sampled_from([rest, -1]))])


def repetition(g: _Growing) -> Value | None:
    x = g.pick(lambda v: v.ndim < MAX_RANK and g.arrays[v].size <= 32)
    if x is None:
        return None
    sizes = [g.number(2) if have == 1 and g.draw(st.booleans()) else size
             for have, size in zip(g.shape(x), move.dims(x), strict=True)]  # fmt: skip
    return move.broadcast_to(x, [*([g.number(2)] if g.draw(st.booleans()) else []), *sizes])


def repetition_adjoint(g: _Growing) -> Value | None:
    x = g.pick(lambda v: v.ndim > 0 and v.dtype.kind != "b")
    if x is None:
        return None
    kept = move.dims(x)[g.draw(st.integers(0, x.ndim)) :]
    return move.sum_to(x, [1 if g.draw(st.booleans()) else size for size in kept])


def joined(g: _Growing) -> Value | None:
    a = g.pick(lambda v: v.ndim > 0 and g.arrays[v].size <= 64)
    if a is None:
        return None
    axis = g.draw(st.integers(0, a.ndim - 1))
    others = [s for i, s in enumerate(g.shape(a)) if i != axis]
    b = g.pick(lambda v: v.dtype == a.dtype and v.ndim == a.ndim and g.arrays[v].size <= 64
               and [s for i, s in enumerate(g.shape(v)) if i != axis] == others)  # fmt: skip
    return b and joining.concatenate([a, b], axis)


def counting(g: _Growing) -> Value:
    return move.iota(g.number(g.draw(st.integers(0, 5))))


def extent_of(g: _Growing) -> Any:
    x = g.pick(lambda v: v.ndim > 0)
    if x is None:
        return None
    axis = g.draw(st.integers(0, x.ndim - 1))
    size = move.dim(x, axis)
    return equal(size, g.shape(x)[axis]) if g.draw(st.booleans()) and x.ndim > 1 else size


# --- indexing ------------------------------------------------------------------------------------
def part(g: _Growing) -> Value | None:
    x = g.pick(lambda v: v.ndim > 0)
    if x is None:
        return None
    axes = g.some_axes(x.ndim, least=1)
    starts, sizes, steps = [], [], []
    for axis in axes:
        extent = g.shape(x)[axis]
        step = g.draw(st.sampled_from([1, -1, 2, -2]))
        start = g.draw(st.integers(0, max(extent - 1, 0)))
        room = extent - start if step > 0 else start + 1
        most = -(-room // abs(step)) if extent else 0
        starts.append(g.number(start))
        sizes.append(g.number(g.draw(st.integers(0, most))))
        steps.append(step)
    cut = slice_(x, axes, starts, sizes, steps)
    if g.draw(st.booleans()) or cut.op is None:
        return cut
    value = cut if x.dtype.kind == "b" else cut + cut
    change = ADD_SLICE if x.dtype.kind != "b" and g.draw(st.booleans()) else SET_SLICE
    return emit(change, (x, value, *cut.op.args[1:]), **cut.op.attrs)


def lookup(g: _Growing) -> Value | None:
    x = g.pick(lambda v: v.ndim > 0 and 0 not in g.shape(v))
    if x is None:
        return None
    indices: list[Value] = []
    shapes: list[tuple[int, ...]] = []
    for axis in range(g.draw(st.integers(1, min(x.ndim, 2)))):
        extent = g.shape(x)[axis]
        given = g.pick(lambda v: v.dtype == I64 and g.arrays[v].size <= 8
                       and _broadcast(*shapes, g.shape(v)))  # fmt: skip
        if given is not None and g.draw(st.booleans()):
            indices.append(remainder(given, move.dim(x, axis)))
            shapes.append(g.shape(given))
        else:
            indices.append(constant(np.array(g.draw(st.integers(0, extent - 1)), np.int64)))
    found = gather(x, indices)
    if x.dtype.kind == "b" or g.draw(st.booleans()):
        return found
    return emit(SCATTER_ADD, (x, found, *indices))


# --- control flow --------------------------------------------------------------------------------
def _region(
    g: _Growing, given: Sequence[np.ndarray], steps: int = 3
) -> tuple[_Growing, list[Value]]:
    """A program under construction over arrays like these; half of their extents are known."""
    inner = _Growing(g.draw, g.benign, RULES if g.rules is RULES or g.draw(st.booleans())
                     else [*RULES, *CONTROL * 2])  # fmt: skip
    for array in given:
        shape = (size if g.draw(st.booleans()) else None for size in array.shape)
        param = Value(Type(array.dtype, tuple(shape)), name=g.draw(st.sampled_from(["p", None])))
        inner.arrays[param] = array
        inner.params.append(param)
        inner.pool.append(param)
    for _ in range(g.draw(st.integers(0, steps))):
        inner.step()
    return inner, list(inner.params)


def _alike(g: _Growing, array: np.ndarray) -> Value:
    """A value of this dtype and shape, the latest that there is or another."""
    fits = [v for v in g.pool if v.dtype == array.dtype and g.shape(v) == array.shape]
    return g.draw(st.sampled_from(fits[::-1]))


def _taken(g: _Growing, bundle: Value) -> None:
    """Add the items of a bundle, unless it has no value, or one that may not be."""
    op = bundle.op
    assert op is not None
    try:
        whole = Function(g.params, items(bundle))
        rebuild(whole, Builder(whole.params))  # which finds extents that change from step to step
        made = op.definition.evaluate(*(g.arrays[a] for a in op.args), **op.attrs)
    except JitgraphError:
        return
    if g.benign and not all(map(is_moderate, made)):
        return
    found = items(bundle)
    for item, array in zip(found, made, strict=True):
        if array.size <= MAX_SIZE and array.ndim <= MAX_RANK:
            g.arrays[item] = array
            g.pool.append(item)


def repeated(g: _Growing) -> None:
    """A loop of up to four steps over values of the pool, perhaps ended by a condition."""
    some = st.lists(st.sampled_from(g.pool[::-1]), max_size=2)
    carried, captured = g.draw(some), g.draw(some)
    carried += carried[:1] * g.draw(st.integers(0, 1))
    count = g.draw(st.sampled_from([3, 2, 1, 4, 0]))
    long = [v for v in g.pool if v.ndim and g.shape(v)[0] >= max(count, 1)]
    sequences = g.draw(st.lists(st.sampled_from(long), max_size=2)) if long else []
    for k, whole in enumerate(sequences):
        sequences[k] = slice_axis(whole, 0, 0, count)
        g.arrays[sequences[k]] = g.arrays[whole][:count]
    arrays = [np.asarray(0), *(g.arrays[v] for v in carried),
              *(np.zeros(g.shape(v)[1:], v.dtype) for v in sequences),
              *(g.arrays[v] for v in captured)]  # fmt: skip
    inner, params = _region(g, arrays)
    following = [_alike(inner, g.arrays[v]) for v in carried]
    outputs = g.draw(st.lists(st.sampled_from(inner.pool[::-1]), max_size=3))
    body = Function(params, [*following, *outputs], name="body")
    condition = None
    if g.draw(st.booleans()):
        state = arrays[: 1 + len(carried)]
        inner, params = _region(g, [*state, *(g.arrays[v] for v in captured)], 2)
        holds = [v for v in inner.pool if v.type == Type(DTYPES["bool"])]
        last = params[0] < g.draw(st.integers(0, 3))
        condition = Function(params, [g.draw(st.sampled_from([last, *holds]))], name="holds")
    steps = g.number(count)
    if isinstance(steps, Value):
        g.take(steps)
    _taken(g, loop(body, carried, sequences, captured, steps, condition=condition,
                   reverse=condition is None and g.draw(st.booleans())))  # fmt: skip


def chosen(g: _Growing) -> None:
    """A branch over values of the pool."""
    captured = g.draw(st.lists(st.sampled_from(g.pool[::-1]), min_size=1, max_size=3))
    truths = [v for v in g.pool if v.type == Type(DTYPES["bool"])]
    condition = g.draw(st.sampled_from([*truths, constant(np.array(g.draw(st.booleans())))]))
    arrays = [g.arrays[v] for v in captured]
    then, params = _region(g, arrays)
    other, others = _region(g, arrays)
    pairs = [(v, w) for v in then.pool[::-1] for w in other.pool[::-1]
             if v.dtype == w.dtype and v.ndim == w.ndim]  # fmt: skip
    results = g.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=3))
    if condition.literal is not None:
        g.arrays[condition] = condition.literal.array
    _taken(g, branch(condition, captured,
                     Function(params, [v for v, _ in results], name="then"),
                     Function(others, [w for _, w in results], name="otherwise")))  # fmt: skip


#: Without those that draw by rejection: parameters at random are seldom ones they take.
ELEMENTWISE = [op for op in OPS.values()
               if isinstance(op, Elementwise) and not isinstance(op.lower, Rejection)]  # fmt: skip
REDUCTIONS = [op for op in OPS.values() if isinstance(op, Reduction)]
RULES: list[Callable[[_Growing], Any]] = [
    *[elementwise] * 8, *[reduction] * 3, row_step, row_step, normalisation, running_sum,
    product, product, conversion,
    constant_array, permutation, new_axes, dropped_axes, new_shape, repetition,
    repetition_adjoint, joined, counting, extent_of, part, part, lookup, lookup,
]  # fmt: skip
#: Rules that add several values to the pool themselves.
CONTROL: list[Callable[[_Growing], Any]] = [repeated, repeated, chosen]
