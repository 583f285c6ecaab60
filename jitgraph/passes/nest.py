"""Builds one loop nest: pulls the scalar body of a value out of the graph, point by point.

    y = transpose(x) + b  at (i, j)    =>    load x[j, i]; load b[j]; add
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from jitgraph.errors import InternalError
from jitgraph.ir.builder import Builder
from jitgraph.ir.elementwise import CAST
from jitgraph.ir.kernel import ELEMENT, Access, Kernel, Load, Source, Store, View
from jitgraph.ir.opdef import OPS, OpDef, Shape, Size, apply_op, building_with, constant, same_size
from jitgraph.ir.ops.arithmetic import add, equal, multiply, where
from jitgraph.ir.ops.indexing import slice_bounds
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.types import I64, Type
from jitgraph.ir.values import Value
from jitgraph.location import Location
from jitgraph.passes.fuse import VIEWS, is_scalar_code


class Sizes:
    """Arithmetic on sizes: numbers stay numbers, the rest becomes i64 values of the builder."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self._built: dict[tuple[Any, Size, Size], Size] = {}

    def add(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if isinstance(a, int) and a == 0:
            return b
        return a if isinstance(b, int) and b == 0 else self._build(add, a, b)

    def mul(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        for x, y in ((a, b), (b, a)):
            if isinstance(x, int) and x in (0, 1):
                return 0 if x == 0 else y
        return self._build(multiply, a, b)

    def if_one(self, extent: Size, then: Size, otherwise: Size) -> Size:
        """`then` where the extent is 1, else `otherwise`."""
        if isinstance(extent, int):
            return then if extent == 1 else otherwise
        if same_size(then, otherwise):
            return then
        with building_with(self.builder):
            return self.builder.find(where(equal(extent, 1), then, otherwise))

    def _build(self, op: Callable[[Size, Size], Value], a: Size, b: Size) -> Size:
        built = self._built.get((op, a, b))
        if built is None:
            with building_with(self.builder):
                built = self._built[op, a, b] = op(a, b)
        return self.builder.find(built)

    def product(self, sizes: Sequence[Size]) -> Size:
        total: Size = 1
        for size in sizes:
            total = self.mul(total, size)
        return total

    def row_major(self, shape: Shape, itemsize: int) -> tuple[Size, ...]:
        """Byte strides of a C-ordered array."""
        strides: list[Size] = []
        stride: Size = itemsize
        for extent in reversed(shape):
            strides.append(stride)
            stride = self.mul(stride, extent)
        return tuple(reversed(strides))


@dataclass(frozen=True, slots=True)
class Axis:
    """Where along one axis an element lies: start + step * iterator, or just start. The iterator
    is one of the nest's, by number, or an index that the body computes."""

    iterator: int | Value | None
    start: Size = 0
    step: Size = 1


FIRST = Axis(None, 0, 0)
Index: TypeAlias = tuple[Axis, ...]


class Nest:
    """A kernel in the making over a domain. `views` tells which values are in memory, and where.

    Axes of one element get no loop, unless `every_axis` is to have one.
    """

    def __init__(
        self,
        extents: Shape,
        views: Mapping[Value, View],
        sizes: Sizes,
        fetched: Collection[Value] = (),
        *,
        every_axis: bool = False,
    ) -> None:
        self.fetched = fetched
        self.views = views
        self.sizes = sizes
        self.shape = sizes.builder.shape
        looped = [k for k, e in enumerate(extents) if every_axis or not same_size(e, 1)]
        self._loop_of = {axis: k for k, axis in enumerate(looped)}
        self._rank = len(extents)
        self.extents = tuple(extents[k] for k in looped)
        self.iterators = tuple(Value(Type(I64), name=f"i{k}") for k in looped)
        self.stores: list[Store] = []
        self._loads: list[Load] = []
        self._sources: dict[Value, Source] = {}
        self._captured: dict[Value, None] = {}
        self._memo: dict[tuple[Value, Index], Value] = {}
        self._locations: dict[Location, None] = {}

    def identity(self) -> Index:
        """Each axis of the domain at its own loop; axes of one element have none."""
        return tuple(
            Axis(self._loop_of[k]) if k in self._loop_of else FIRST for k in range(self._rank)
        )

    def loops(self, axes: Iterable[int]) -> frozenset[int]:
        """The loops over these axes of the domain."""
        return frozenset(self._loop_of[k] for k in axes if k in self._loop_of)

    def comes_from(self, location: Location | None) -> None:
        """Have the kernel name a line of the user."""
        if location is not None:
            self._locations.setdefault(location)

    def kernel(self, *, sequential: bool = False) -> Kernel:
        return Kernel(
            self.extents,
            self.iterators,
            tuple(self._loads),
            tuple(self._sources.values()),
            tuple(self.stores),
            tuple(self._captured),
            sequential,
            tuple(self._locations),
        )

    # --- elements -------------------------------------------------------------------------------
    def element(self, value: Value, index: Index) -> Value:
        """The body value of one element of `value`."""
        known = self._known(value, index)
        return self._computed(value, index) if known is None else known

    def _known(self, value: Value, index: Index) -> Value | None:
        literal = value.literal
        if literal is not None and literal.splat is not None:
            return value if value.ndim == 0 else constant(literal.splat)
        if value.ndim == 0 and value not in self.views:
            self._captured.setdefault(value)
            return value
        return self._memo.get((value, index))

    def _computed(self, value: Value, index: Index) -> Value:
        """Without recursion along chains of ops: a body may be hundreds deep."""
        stack = [(value, index, self._operands(value, index))]
        while stack:
            top, at, operands = stack[-1]
            missing = [o for o in operands if self._known(*o) is None]
            if missing:
                stack += ((*o, self._operands(*o)) for o in reversed(missing))
                continue
            stack.pop()
            if (top, at) not in self._memo:
                self._memo[top, at] = self._element(top, at, operands)
        return self._memo[value, index]

    def _operands(self, value: Value, index: Index) -> list[tuple[Value, Index]]:
        """The elements that one element of a view or an elementwise op is made from."""
        op = value.op
        if op is None or value in self.views or op.name in ("iota", "gather", "scatter_add"):
            return []
        if isinstance(op.definition, Reduction):
            return [(op.args[0], at) for at in self._reduced(op.args[0], index, op.attrs["axes"])]
        mapped = self.look_through(value, index)
        if mapped is not None:
            return [(op.args[0], mapped)]
        return [(a, self.align(a, index, self.shape(value))) for a in op.args]

    def root(self, value: Value, index: Index) -> Value:
        """Like `element`, for a scalar that this very nest computes."""
        computed = value.ndim == 0 and value.literal is None and not is_scalar_code(value)
        if computed and value.op is not None and value not in self.fetched:
            return self._computed(value, index)
        return self.element(value, index)

    def _element(
        self, value: Value, index: Index, operands: Sequence[tuple[Value, Index]]
    ) -> Value:
        if value in self.views:
            return self._load(value, index)
        op = value.op
        if op is None:
            raise InternalError(f"{value.describe()} is not in memory")
        self.comes_from(op.location)
        if op.name == "iota":
            return self.position(index[0])
        if op.name == "gather":
            return self._gather(value, index)
        if op.name == "scatter_add":
            return self._one_hot(value, index)
        args = tuple(self.element(*o) for o in operands)
        if op.name in VIEWS:
            return args[0]
        if isinstance(op.definition, Reduction):
            combine = OPS[op.definition.combine]
            return reduce(lambda a, b: apply_op(combine, (a, b), {}, op.location), args)
        return apply_op(op.definition, args, op.attrs, op.location)

    def _reduced(self, value: Value, index: Index, axes: Sequence[int]) -> Iterator[Index]:
        """The indices in `value` of what a reduction along `axes` merges at `index`."""
        extents = self.shape(value)
        for places in product(*(range(int(extents[a])) for a in axes)):  # type: ignore[arg-type]
            rest, at = iter(index), dict(zip(axes, places, strict=True))
            yield tuple(
                Axis(None, at[k], 0) if k in at else next(rest) for k in range(len(extents))
            )

    def look_through(self, value: Value, index: Index) -> Index | None:
        """For a view, the index of the same element in what it looks at."""
        op = value.op
        assert op is not None
        source, attrs = op.args[0] if op.args else value, op.attrs
        match op.name:
            case "transpose":
                moved = {p: index[i] for i, p in enumerate(attrs["perm"])}
                return tuple(moved[p] for p in range(source.ndim))
            case "expand_dims":
                return tuple(a for i, a in enumerate(index) if i not in attrs["axes"])
            case "squeeze":
                rest = iter(index)
                return tuple(
                    FIRST if i in attrs["axes"] else next(rest) for i in range(source.ndim)
                )
            case "broadcast_to":
                return self.align(source, index, self.shape(value))
            case "slice":
                return self._sliced(index, attrs["axes"], op.args[1:], value)
        return None

    def _sliced(
        self, index: Index, axes: Sequence[int], dynamic: Sequence[Value], value: Value
    ) -> Index:
        assert value.op is not None
        attrs = value.op.attrs
        starts, _ = slice_bounds(attrs, dynamic)
        result = list(index)
        for axis, start, step in zip(axes, starts, attrs["steps"], strict=True):
            at = index[axis]
            moved = self.sizes.add(start, self.sizes.mul(at.start, step))
            result[axis] = Axis(at.iterator, moved, self.sizes.mul(at.step, step))
        return tuple(result)

    def align(self, operand: Value, index: Index, shape: Shape) -> Index:
        """The index of a broadcast operand, given that of the result of shape `shape`."""
        have = self.shape(operand)
        lead = len(shape) - len(have)
        aligned: list[Axis] = []
        for extent, whole, axis in zip(have, shape[lead:], index[lead:], strict=True):
            if isinstance(extent, int) and extent == 1:
                aligned.append(FIRST)
            elif same_size(extent, whole):
                aligned.append(axis)
            else:
                start = self.sizes.if_one(extent, 0, axis.start)
                aligned.append(Axis(axis.iterator, start, self.sizes.if_one(extent, 0, axis.step)))
        return tuple(aligned)

    # --- memory ---------------------------------------------------------------------------------
    def access(self, view: View, index: Index) -> Access:
        """The view driven by the nest's iterators."""
        offset = view.offset
        strides: list[Size] = [0] * len(self.extents)
        for axis, stride in zip(index, view.strides, strict=True):
            offset = self.sizes.add(offset, self.sizes.mul(axis.start, stride))
            if axis.iterator is not None:
                assert isinstance(axis.iterator, int)
                step = self.sizes.mul(axis.step, stride)
                strides[axis.iterator] = self.sizes.add(strides[axis.iterator], step)
        return Access(view.buffer, offset, tuple(strides))

    def _load(self, value: Value, index: Index) -> Value:
        if any(isinstance(axis.iterator, Value) for axis in index):
            handle = self._source(value)
            return apply_op(ELEMENT, (handle, *map(self.position, index)), {}, None)
        access = self.access(self.views[value], index)
        for load in self._loads:
            if load.access.same_as(access):
                return load.leaf
        leaf = Value(Type(value.dtype), name=f"x{len(self._loads)}")
        self._loads.append(Load(leaf, access))
        return leaf

    def _gather(self, value: Value, index: Index) -> Value:
        assert value.op is not None
        source, indices = value.op.args[0], value.op.args[1:]
        lead = value.ndim - (source.ndim - len(indices))
        shape = self.shape(value)[:lead]
        found = [self.element(i, self.align(i, index[:lead], shape)) for i in indices]
        return self.element(source, (*map(self._at, found), *index[lead:]))

    def _one_hot(self, value: Value, index: Index) -> Value:
        """One element of a `scatter_add` that adds at most one number to each."""
        assert value.op is not None
        base, piece, *indices = value.op.args
        along = next(k for k, i in enumerate(indices) if i.is_op("iota"))
        lead, rest = self.shape(indices[along]), len(indices)
        before = self.element(base, index)
        at = (index[along], *index[rest:])
        shape = (*lead, *self.shape(base)[rest:])
        after = self._op(add, before, self.element(piece, self.align(piece, at, shape)))
        for k, i in enumerate(indices):
            if k != along:
                found = self._as_i64(self.element(i, self.align(i, at[:1], lead)))
                hit = self._op(equal, found, self.position(index[k]))
                after = self._op(where, hit, after, before)
        return after

    @staticmethod
    def _op(definition: OpDef, *args: Value) -> Value:
        return apply_op(definition, args, {}, None)

    def _at(self, position: Value) -> Axis:
        """An axis at a position that the body computes."""
        if position in self.iterators:
            return Axis(self.iterators.index(position))
        if position.literal is not None:
            return Axis(None, int(position.literal.array))
        return Axis(self._as_i64(position))

    @staticmethod
    def _as_i64(index: Value) -> Value:
        return index if index.dtype == I64 else apply_op(CAST, (index,), {"dtype": I64}, None)

    def _source(self, value: Value) -> Value:
        known = self._sources.get(value)
        if known is None:
            handle = Value(value.type, name=f"a{len(self._sources)}")
            known = self._sources[value] = Source(handle, view_of(value, self.views, self.sizes))
        return known.handle

    def position(self, axis: Axis) -> Value:
        """An axis's index as an i64 body value."""
        start = self._as_body(axis.start)
        if axis.iterator is None:
            return start
        at = axis.iterator
        if isinstance(at, int):
            at = self.iterators[at]
        if not (isinstance(axis.step, int) and axis.step == 1):
            at = apply_op(multiply, (at, self._as_body(axis.step)), {}, None)
        if isinstance(axis.start, int) and axis.start == 0:
            return at
        return apply_op(add, (at, start), {}, None)

    def _as_body(self, size: Size) -> Value:
        if isinstance(size, Value):
            self._captured.setdefault(size)
            return size
        return constant(np.int64(size))


def view_of(value: Value, views: Mapping[Value, View], sizes: Sizes) -> View:
    """Memory that holds the value: its own, or that of a stored value seen through views."""
    if value in views:
        return views[value]
    nest = Nest(sizes.builder.shape(value), views, sizes, every_axis=True)
    index: Index | None = nest.identity()
    base = value
    while base not in views:
        index = None if index is None or base.op is None else nest.look_through(base, index)
        if index is None or base.op is None:
            raise InternalError(f"{value.describe()} is not in memory")
        base = base.op.args[0]
    assert index is not None
    access = nest.access(views[base], index)
    return View(access.buffer, access.offset, access.strides)
