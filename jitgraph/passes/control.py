"""Steps for control flow: regions scheduled as programs of their own, and what they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jitgraph.ir.function import Function
from jitgraph.ir.kernel import Argument, Branch, Buffer, Fetch, Loop, Program, State, Step
from jitgraph.ir.opdef import Shape
from jitgraph.ir.ops.bundles import ITEM
from jitgraph.ir.ops.control import BRANCH, LOOP, Feed, LoopParts
from jitgraph.ir.order import C
from jitgraph.ir.types import Bundle
from jitgraph.ir.values import Op, Value

if TYPE_CHECKING:
    from jitgraph.passes.schedule import Scheduler


def control_steps(value: Value, scheduler: Scheduler) -> list[Step]:
    """The step of a loop or a branch; its results get buffers, which become the items' views. What
    tells their extents is read at once."""
    op = value.op
    assert op is not None
    if op.definition is not LOOP:
        return [_branch(value, op, scheduler)]
    step = _loop(value, op, scheduler)
    return [step] if step.done is None else [step, Fetch(_done(value, scheduler), step.done)]


def is_grown(value: Value) -> bool:
    """Whether a value is rows of a loop that ends by itself."""
    if value.op is None or value.op.definition is not ITEM or not value.ndim:
        return False
    made = value.op.args[0].op
    if made is None or made.definition is not LOOP or made.attrs["condition"] is None:
        return False
    return bool(value.op.attrs["index"] >= made.attrs["carried"])


def _done(value: Value, scheduler: Scheduler) -> Value:
    """The number of steps that a loop has done."""
    assert isinstance(value.type, Bundle)
    return scheduler.builder.emit(ITEM, (value,), {"index": len(value.type.items) - 1})


def _program(fn: Function, scheduler: Scheduler) -> Program:
    return scheduler.inner(fn, (C,) * len(fn.params))


def _items(value: Value, scheduler: Scheduler) -> dict[int, Value]:
    """The results of an op that somebody uses, by their position."""
    found: dict[int, Value] = {}
    for user in scheduler.users.get(value, ()):
        if user.op is not None and user.op.definition is ITEM:
            found[user.op.attrs["index"]] = user
    return found


def _result(item: Value | None, like: Value, shape: Shape, scheduler: Scheduler) -> Buffer:
    """Where a result goes: the buffer of its item, or one that nobody reads."""
    if item is None:
        return scheduler.buffer(like, "temporary", extents=shape)
    buffer = scheduler.home(item)
    scheduler.views[item] = scheduler.whole(buffer)
    return buffer


def _grown(item: Value | None, like: Value, shape: Shape, scheduler: Scheduler) -> Buffer:
    """Memory for a result of which only the loop itself finds out how large it is."""
    buffer = scheduler.buffer(like, "grown", extents=shape)
    if item is not None:
        scheduler.views[item] = scheduler.whole(buffer)
    return buffer


def _argument(feed: Feed, args: tuple[Value, ...], scheduler: Scheduler) -> Argument | None:
    if feed.operand is None:
        return None
    operand = args[feed.operand]
    shape = scheduler.builder.shape(operand)
    if not operand.ndim:
        return Argument((), scalar=operand)
    view = scheduler.dense(operand)
    if not feed.row:
        return Argument(shape, view)
    row = scheduler.sizes.product((*shape[1:], operand.dtype.itemsize))
    return Argument(shape[1:], view, row=row)


def _loop(value: Value, op: Op, scheduler: Scheduler) -> Loop:
    parts, attrs = LoopParts.of(len(op.args), op.attrs), op.attrs
    body: Function = attrs["body"]
    feeds = op.definition.feeds(len(op.args), attrs)["body"]  # type: ignore[attr-defined]
    arguments = tuple(_argument(feed, op.args, scheduler) for feed in feeds)
    shapes = scheduler.builder.item_shapes(value)
    items = _items(value, scheduler)
    carried = len(parts.carried)
    state = []
    for k, position in enumerate(parts.carried):
        final = _result(items.get(k), body.results[k], shapes[k], scheduler)
        other = None
        if shapes[k]:
            other = scheduler.buffer(op.args[position], "temporary", extents=shapes[k])
        state.append(State(final, other))
    condition: Function | None = attrs["condition"]
    place = _result if condition is None else _grown
    outputs = tuple(
        place(items.get(k), body.results[k], shapes[k], scheduler)
        for k in range(carried, len(body.results))
    )
    done = None
    if len(body.results) in items or (condition is not None and outputs):
        done = scheduler.buffer(_done(value, scheduler), "temporary", extents=())
    return Loop(
        attrs["steps"] if parts.bound is None else op.args[0],
        attrs["reverse"],
        _program(body, scheduler),
        None if condition is None else _program(condition, scheduler),
        arguments,
        tuple(state),
        len(parts.sequences),
        outputs,
        done,
    )


def _branch(value: Value, op: Op, scheduler: Scheduler) -> Branch:
    feeds = BRANCH.feeds(len(op.args), op.attrs)["then"]
    arguments = [_argument(feed, op.args, scheduler) for feed in feeds]
    shapes = scheduler.builder.item_shapes(value)
    items = _items(value, scheduler)
    then, otherwise = op.attrs["then"], op.attrs["otherwise"]
    results = tuple(
        _result(items.get(k), like, shape, scheduler)
        for k, (like, shape) in enumerate(zip(then.results, shapes, strict=True))
    )
    return Branch(
        op.args[0],
        _program(then, scheduler),
        _program(otherwise, scheduler),
        tuple(a for a in arguments if a is not None),
        results,
    )

