"""Turns an optimised function into a program: buffers, loop nests, products and scalar code.

    %2 = reduce_sum (%0 * %1)    =>    kernel over (n, m): acc[i] += load %0[i, j] * load %1[j]

The order is the function's own: each stored value becomes work at its place, each scalar a `let`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import (
    STRIDE,
    Buffer,
    BufferKind,
    Call,
    Check,
    Fetch,
    Kernel,
    Product,
    Program,
    Step,
    Store,
    View,
    Yield,
    Zero,
)
from jitgraph.ir.opdef import Routine, Shape, Size, apply_op, constant, same_size
from jitgraph.ir.ops.arithmetic import add
from jitgraph.ir.ops.control import Control
from jitgraph.ir.ops.indexing import SLICE, slice_bounds
from jitgraph.ir.ops.prefix import Prefix
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.order import FORTRAN, UNIT, ZERO, C, Order
from jitgraph.ir.types import Bundle
from jitgraph.ir.values import Value
from jitgraph.passes.calls import call_step
from jitgraph.passes.contract import contract
from jitgraph.passes.control import control_steps, is_grown
from jitgraph.passes.epilogue import fuse_epilogues
from jitgraph.passes.fuse import is_pointwise, is_scalar_code, stored_values, view_base
from jitgraph.passes.image_epilogue import fuse_image_epilogues
from jitgraph.passes.loops import (
    collapse,
    settle,
    start_accumulators,
)
from jitgraph.passes.memory import place_scalars, plan_memory
from jitgraph.passes.merge import merge_kernels, taken_from_memory
from jitgraph.passes.nest import Index, Nest, Sizes, view_of
from jitgraph.passes.rows import group_rows
from jitgraph.passes.rules.registry import rules_for

#: Ops that copy their first operand and change a part of it.
CHANGES = ("set_slice", "add_slice", "scatter_add", "scatter")


def schedule(
    fn: Function,
    orders: Sequence[Order],
    *,
    region: bool = False,
    device: bool = False,
    contracts: bool = False,
) -> Program:
    """The program for `fn` whose parameters lie in memory like this. A region gives scalars back
    in registers where it can. On a device convolutions have no epilogues: these are made for
    images that stay in a cache."""
    builder = Builder(fn.params, rules=rules_for("ieee"))
    return Scheduler(rebuild(fn, builder), builder, tuple(orders), region, device, contracts).run()


class Scheduler:
    def __init__(
        self,
        fn: Function,
        builder: Builder,
        orders: tuple[Order, ...],
        region: bool,
        device: bool,
        contracts: bool,
    ) -> None:
        self.fn = fn
        self.region, self.device, self.contracts = region, device, contracts
        self.builder = builder
        self.orders = orders
        self.sizes = Sizes(builder)
        self.stored = stored_values(fn, builder)
        self.steps: list[Step] = []
        self.views: dict[Value, View] = {}
        params = set(fn.params)
        self._waiting = {c: taken_from_memory([c]) - params for c in self.fn.checks}
        self.fetched: set[Value] = set()
        self.users: dict[Value, list[Value]] = {}
        for value in fn.ops:
            for arg in value.op.args if value.op is not None else ():
                self.users.setdefault(arg, []).append(value)
        self._buffers = 0
        self._result_buffers: dict[Value, Buffer] = {}
        self._homes: dict[Value, Buffer] = {}

    def run(self) -> Program:
        param_buffers = tuple(map(self._param, self.fn.params, self.orders))
        results = self._result_plan()
        self._emit_checks()
        for value in self.fn.ops:
            self._value(value)
        assert not self._waiting
        self._give_results(results)
        last = {buffer for _, buffer in results}
        steps = merge_kernels(self.steps, last)
        steps = group_rows(steps, self.sizes)
        steps = fuse_epilogues(steps)
        steps = start_accumulators(steps, self.sizes)
        if not self.device:
            steps = fuse_image_epilogues(steps, self.sizes)
        steps = [collapse(s, self.sizes) for s in steps]
        if self.contracts:
            steps = contract(steps)
        program = Program(
            self.fn.name,
            self.fn.params,
            self.orders,
            param_buffers,
            tuple(steps),
            tuple(buffer for _, buffer in results),
        )
        return plan_memory(place_scalars(program), self.sizes)

    # --- parameters, results, checks ------------------------------------------------------------
    def inner(self, fn: Function, orders: Sequence[Order]) -> Program:
        """The program of a region."""
        return schedule(
            fn, orders, region=True, device=self.device, contracts=self.contracts
        )

    def buffer(
        self,
        value: Value,
        kind: BufferKind,
        name: str | None = None,
        *,
        extents: Shape | None = None,
    ) -> Buffer:
        """A new buffer for a value (or for others of its dtype, with other extents)."""
        self._buffers += 1
        return Buffer(
            self._buffers,
            name or f"{kind[0]}{self._buffers}",
            value.dtype,
            kind,
            self.builder.shape(value) if extents is None else extents,
            value.literal if kind == "constant" else None,
        )

    def _param(self, param: Value, order: Order) -> Buffer:
        buffer = self.buffer(param, "param", param.name)
        if param.ndim:
            self.views[param] = View(buffer, 0, self._strides(param, order))
        else:
            self.steps.append(Fetch(param, buffer))
        return buffer

    def _strides(self, param: Value, order: Order) -> tuple[Size, ...]:
        """Byte strides: products of extents in dense arrays, else as the kinds of the axes say."""
        shape, itemsize = self.builder.shape(param), param.dtype.itemsize
        if order == C:
            return self.sizes.row_major(shape, itemsize)
        if order == FORTRAN:
            return self.sizes.row_major(shape[::-1], itemsize)[::-1]
        known: dict[str, Size] = {UNIT: itemsize, ZERO: 0}
        return tuple(
            known[kind] if kind in known else apply_op(STRIDE, (param,), {"axis": axis}, None)
            for axis, kind in enumerate(order)
        )

    def _result_plan(self) -> list[tuple[Value, Buffer]]:
        """A fresh buffer per result. The first result of a stored value is computed in place."""
        plan: list[tuple[Value, Buffer]] = []
        for value in self.fn.results:
            buffer = self.buffer(value, "result")
            op = value.op
            computed = op is not None and op.name not in ("constant", "reshape")
            computed = computed and not is_grown(value)
            if computed and value.ndim and value not in self._result_buffers:
                self._result_buffers[value] = buffer
            plan.append((value, buffer))
        return plan

    def _give_results(self, results: Sequence[tuple[Value, Buffer]]) -> None:
        yielded: list[tuple[int, Value]] = []
        for k, (value, buffer) in enumerate(results):
            if self.region and not value.ndim:
                yielded.append((k, value))
            else:
                self._copy_result(value, buffer)
        if self.region:
            self.steps.append(Yield(tuple(yielded)))

    def _copy_result(self, value: Value, buffer: Buffer) -> None:
        """Results that are parameters, constants, scalars or given twice are copies."""
        if self._result_buffers.get(value) is not buffer:
            self.pointwise(value, self.whole(buffer))

    def _emit_checks(self) -> None:
        """Every check, as soon as what it looks at is there: kernels take the equality of two
        extents for granted wherever one of them is known."""
        for check, needs in list(self._waiting.items()):
            if needs <= self.fetched:
                self.steps.append(Check(check))
                del self._waiting[check]

    def do(self, step: Kernel | Product | Call | Zero) -> None:
        self.steps.append(settle(step) if isinstance(step, Kernel) else step)

    # --- values ---------------------------------------------------------------------------------
    def _value(self, value: Value) -> None:
        op = value.op
        assert op is not None
        if is_scalar_code(value) or value not in self.stored:
            return
        if op.name == "constant":
            self._constant(value)
        elif op.name == "reshape":
            self._reshape(value)
        elif isinstance(op.definition, Control):
            self._control(value)
        elif isinstance(value.type, Bundle):
            self.do(call_step(value, self))
        elif op.name != "item":  # items have their views from the op that made them
            self._compute(value)
        if value.ndim == 0 and value in self.views:
            view = self.views.pop(value)
            self.steps.append(Fetch(value, view.buffer))
            self.fetched.add(value)
            self._emit_checks()

    def _control(self, value: Value) -> None:
        steps = control_steps(value, self)
        self.steps += steps
        self.fetched |= {s.value for s in steps if isinstance(s, Fetch)}
        self._emit_checks()

    def _constant(self, value: Value) -> None:
        self.views[value] = self.whole(self.buffer(value, "constant"))

    def dense(self, value: Value) -> View:
        """Where the elements of an array lie in C order: as they are, or in a copy."""
        view = self.views[value]
        if self.is_whole(view, self.builder.shape(value)):
            return view
        copy = self.whole(self.buffer(value, "temporary"))
        self.pointwise(value, copy)
        return copy

    def whole(self, buffer: Buffer) -> View:
        return View(buffer, 0, self.sizes.row_major(buffer.extents, buffer.dtype.itemsize))

    def is_whole(self, view: View, shape: Shape) -> bool:
        strides = self.sizes.row_major(shape, view.buffer.dtype.itemsize)
        return same_size(view.offset, 0) and all(
            same_size(n, 1) or same_size(have, want)
            for n, have, want in zip(shape, view.strides, strides, strict=True)
        )

    def _reshape(self, value: Value) -> None:
        """Another view of the same memory, if that is in C order; else of a copy."""
        assert value.op is not None
        source = value.op.args[0]
        if source.ndim == 0:
            view = self.whole(self.buffer(source, "temporary"))
            self.pointwise(source, view)
        else:
            view = self.dense(source)
        strides = self.sizes.row_major(self.builder.shape(value), value.dtype.itemsize)
        self.views[value] = View(view.buffer, 0, strides)

    def _compute(self, value: Value) -> None:
        buffer = self.home(value)
        op = value.op
        assert op is not None
        out = self._turned(buffer) if self._is_read_turned(value) else self.whole(buffer)
        if is_pointwise(value, self.builder):
            self.pointwise(value, out)
        elif isinstance(op.definition, Reduction):
            self._reduction(value, op.definition, out)
        elif isinstance(op.definition, Prefix):
            self._prefix(value, op.definition, out)
        elif op.name == "sum_to":
            self._sum_to(value, out)
        elif op.name == "matmul":
            self._product(value, out)
        elif isinstance(op.definition.lower, Routine):
            self.do(call_step(value, self, out))
        elif op.name == "concatenate":
            self._concatenate(value, out)
        elif op.name in ("set_slice", "add_slice"):
            self._change_slice(value, out)
        elif op.name in ("scatter_add", "scatter"):
            self._scatter(value, out)
        else:
            self.pointwise(value, out)
        self.views[value] = out

    def home(self, value: Value) -> Buffer:
        """The buffer to compute a value in: where one op goes on to change a part of it, and nobody
        else wants it as it was, that op's."""
        last = value
        while (changed := self._changed(last)) is not None:
            last = changed
        home = self._result_buffers.get(last) or self._homes.get(last)
        if home is None:
            home = self._homes[last] = self.buffer(last, "temporary")
        return home

    def _changed(self, value: Value) -> Value | None:
        users = self.users.get(value, ())
        if len(users) != 1 or value in self.fn.results:
            return None
        op = users[0].op
        assert op is not None
        return users[0] if op.name in CHANGES and op.args[0] is value else None

    def _is_read_turned(self, value: Value) -> bool:
        """Whether a matrix product is only ever used transposed: it is then written that way, which
        costs the product nothing and saves its readers from jumping through memory."""
        users = self.users.get(value, ())
        if not value.is_op("matmul") or value.ndim != 2 or value in self._result_buffers:
            return False
        return bool(users) and all(u.is_op("transpose") for u in users)

    def _turned(self, buffer: Buffer) -> View:
        rows, columns = buffer.extents
        outer, inner = self.sizes.row_major((columns, rows), buffer.dtype.itemsize)
        return View(buffer, 0, (inner, outer))

    def _nest(self, extents: Shape, value: Value) -> Nest:
        """A nest that computes `value`, or a part of it."""
        nest = Nest(extents, self.views, self.sizes, self.fetched)
        nest.comes_from(value.location)
        return nest

    def pointwise(self, value: Value, out: View, *, sequential: bool = False) -> None:
        """Compute every element of `value` into `out`."""
        if self._is_zero(value) and self.is_whole(out, self.builder.shape(value)):
            self.do(Zero(out.buffer))
            return
        nest = self._nest(self.builder.shape(value), value)
        element = nest.root(value, nest.identity())
        nest.stores.append(Store(element, nest.access(out, nest.identity())))
        self.do(nest.kernel(sequential=sequential))

    @staticmethod
    def _is_zero(value: Value) -> bool:
        literal = view_base(value).literal
        splat = None if literal is None else literal.splat
        return value.ndim > 0 and splat is not None and not any(np.asarray(splat).tobytes())

    # --- reductions -----------------------------------------------------------------------------
    def _reduction(self, value: Value, definition: Reduction, out: View) -> None:
        assert value.op is not None
        source, axes = value.op.args[0], value.op.attrs["axes"]
        nest = self._nest(self.builder.shape(source), value)
        index = nest.identity()
        loops = nest.loops(axes)
        positional = definition.positional
        element = nest.element(source, index) if loops or not positional else constant(np.int64(0))
        kept = tuple(a for i, a in enumerate(index) if i not in axes)
        store = Store(element, nest.access(out, kept), definition.combine if loops else None, loops)
        if positional and loops:
            store = replace(store, places=self._places(nest, source, axes))
        nest.stores.append(store)
        kernel = settle(nest.kernel())
        if store.places is None or kernel.stores[0].in_register:
            self.steps.append(kernel)
        else:
            self._by_extremum(value, store, kept, out)

    def _places(self, nest: Nest, source: Value, axes: Sequence[int]) -> tuple[Size, ...]:
        """How far the position among the axes, in C order, moves with each loop."""
        shape = self.builder.shape(source)
        steps = dict(zip(axes, self.sizes.row_major(tuple(shape[a] for a in axes), 1), strict=True))
        by_loop = {k: steps[a] for a in axes for k in nest.loops([a])}
        return tuple(by_loop.get(k, 0) for k in range(len(nest.extents)))

    def _by_extremum(self, value: Value, store: Store, index: Index, out: View) -> None:
        """A position that registers cannot keep: the extremum lies in memory beside it."""
        assert value.op is not None
        source = value.op.args[0]
        self._buffers += 1
        home = Buffer(self._buffers, f"t{self._buffers}", source.dtype, "temporary",
                      self.builder.shape(value))  # fmt: skip
        nest = self._nest(self.builder.shape(source), value)
        place = replace(store, value=nest.element(source, nest.identity()),
                        access=nest.access(out, index))  # fmt: skip
        best = replace(place, access=nest.access(self.whole(home), index), places=None)
        nest.stores += [place, best]
        self.do(nest.kernel())

    def _prefix(self, value: Value, definition: Prefix, out: View) -> None:
        """What is combined so far, along one loop: in a register where that is the innermost."""
        assert value.op is not None
        axis, shape = value.op.attrs["axis"], self.builder.shape(value)
        nest = self._nest(shape, value)
        index = list(nest.identity())
        if value.op.attrs["reverse"]:
            last = self.sizes.add(shape[axis], -1)
            index[axis] = replace(index[axis], start=last, step=-1)
        element = nest.element(value.op.args[0], tuple(index))
        store = Store(element, nest.access(out, tuple(index)))
        for loop in nest.loops([axis]):
            inner = loop == len(nest.extents) - 1
            store = replace(store, combine=definition.combine, running=loop, in_register=inner)
        nest.stores.append(store)
        self.steps.append(nest.kernel(sequential=True))

    def _sum_to(self, value: Value, out: View) -> None:
        """Axes that may or may not be summed get a stride that is zero when they are."""
        assert value.op is not None
        source = value.op.args[0]
        whole, target = self.builder.shape(source), self.builder.shape(value)
        nest = self._nest(whole, value)
        lead = len(whole) - len(target)
        index = list(nest.identity()[lead:])
        reduced = set(range(lead))
        for k, (extent, size) in enumerate(zip(target, whole[lead:], strict=True)):
            if not same_size(extent, size):
                step = self.sizes.if_one(extent, 0, index[k].step)
                index[k] = replace(index[k], step=step)
                reduced.add(lead + k)
        element = nest.element(source, nest.identity())
        loops = nest.loops(reduced)
        access = nest.access(out, tuple(index))
        nest.stores.append(Store(element, access, "add" if loops else None, loops))
        self.do(nest.kernel())

    # --- products and joins ---------------------------------------------------------------------
    def _product(self, value: Value, out: View) -> None:
        assert value.op is not None
        left, right = (view_of(a, self.views, self.sizes) for a in value.op.args)
        a, b = (self.builder.shape(x) for x in value.op.args)
        batch = self.builder.shape(value)[:-2]
        self.do(Product(
            batch, a[-2], b[-1], self.builder.same_size(a[-1], b[-2]),
            self._batched(left, a, batch), self._batched(right, b, batch), out, value.location,
        ))  # fmt: skip

    def _batched(self, view: View, shape: Shape, batch: Shape) -> View:
        """The view with one stride per batch axis, zero where the operand is broadcast."""
        lead = len(batch) - (len(shape) - 2)
        strides: list[Size] = [0] * lead
        for extent, whole, stride in zip(shape[:-2], batch[lead:], view.strides, strict=False):
            same = same_size(extent, whole)
            strides.append(stride if same else self.sizes.if_one(extent, 0, stride))
        return View(view.buffer, view.offset, (*strides, *view.strides[-2:]))

    def _concatenate(self, value: Value, out: View) -> None:
        assert value.op is not None
        axis = value.op.attrs["axis"]
        offset: Size = 0
        for piece in value.op.args:
            self._pointwise_at(piece, View(out.buffer, offset, out.strides))
            length = self.builder.shape(piece)[axis]
            offset = self.sizes.add(offset, self.sizes.mul(length, out.strides[axis]))

    def _pointwise_at(self, value: Value, out: View) -> None:
        """Like `_pointwise`, into a part of a buffer that other kernels write as well."""
        nest = self._nest(self.builder.shape(value), value)
        element = nest.element(value, nest.identity())
        nest.stores.append(Store(element, nest.access(out, nest.identity())))
        self.do(nest.kernel(sequential=True))

    def _base(self, base: Value, out: View) -> None:
        """Start from the first operand of an op that changes a part of it."""
        if base not in self.views or self.views[base].buffer is not out.buffer:
            self.pointwise(base, out, sequential=True)

    def _change_slice(self, value: Value, out: View) -> None:
        assert value.op is not None
        base, piece, *dynamic = value.op.args
        self._base(base, out)
        cut = apply_op(SLICE, (value, *dynamic), value.op.attrs, None)
        shape = list(self.builder.shape(base))
        for axis, size in zip(value.op.attrs["axes"],
                              slice_bounds(value.op.attrs, dynamic)[1], strict=True):  # fmt: skip
            shape[axis] = self.builder.find(size)
        nest = self._nest(tuple(shape), value)
        target = nest.look_through(cut, nest.identity())
        assert target is not None
        element = nest.element(piece, nest.align(piece, nest.identity(), tuple(shape)))
        if value.op.name == "add_slice":
            self.views[value] = out
            before = nest.element(value, target)
            element = apply_op(add, (before, element), {}, value.location)
        nest.stores.append(Store(element, nest.access(out, target)))
        self.do(nest.kernel(sequential=True))

    def _scatter(self, value: Value, out: View) -> None:
        assert value.op is not None
        base, piece, *indices = value.op.args
        combine = value.op.attrs.get("combine", "add")
        combine = None if combine == "set" else combine
        self._base(base, out)
        lead = self.builder.broadcast([self.builder.shape(i) for i in indices])
        rest = self.builder.shape(base)[len(indices) :]
        nest = self._nest((*lead, *rest), value)
        whole = nest.identity()
        found = [nest.element(i, nest.align(i, whole[: len(lead)], lead)) for i in indices]
        element = nest.element(piece, nest.align(piece, whole, (*lead, *rest)))
        inner = View(out.buffer, out.offset, out.strides[len(indices) :])
        access = nest.access(inner, whole[len(lead) :])
        placed = tuple(zip(found, out.strides, strict=False))
        loops = nest.loops(range(len(lead)))
        nest.stores.append(Store(element, access, combine, loops, indices=placed))
        self.do(nest.kernel(sequential=True))
