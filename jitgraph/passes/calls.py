"""Steps for native routines: operands in memory, as the routine can read them, and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jitgraph.ir.kernel import Buffer, Call, View
from jitgraph.ir.opdef import Routine, Shape, Size
from jitgraph.ir.ops.bundles import ITEM
from jitgraph.ir.types import Bundle
from jitgraph.ir.values import Value
from jitgraph.passes.nest import view_of

if TYPE_CHECKING:
    from jitgraph.passes.schedule import Scheduler


def call_step(value: Value, scheduler: Scheduler, out: View | None = None) -> Call:
    """The step of an op that a routine computes, into `out`; several results get buffers, which
    become the views of the items."""
    op = value.op
    assert op is not None
    routine = op.definition.lower
    assert isinstance(routine, Routine)
    outs = _several(value, scheduler) if out is None else [out]
    passed = [(a, core) for a, core in zip(op.args, routine.operands, strict=False)
              if core is not None]  # fmt: skip
    shapes = [scheduler.builder.shape(a) for a, _ in passed] + [v.buffer.extents for v in outs]
    batch, core = _sizes(shapes, [*(core for _, core in passed), *routine.results])
    if routine.in_place:
        scheduler.pointwise(passed.pop(0)[0], outs[0], sequential=True)
    inputs = [_operand(a, len(batch), routine, scheduler) for a, _ in passed]
    chosen: Size = 0
    if routine.choice is not None:
        chosen = scheduler.builder.find(op.args[routine.choice])
    return Call(routine, batch, core, tuple(inputs), tuple(outs), chosen, value.location,
                op.attrs)  # fmt: skip


def _sizes(shapes: Sequence[Shape], cores: Sequence[str]) -> tuple[Shape, Shape]:
    """The extents of the batch, and those the signature names, in its order."""
    named: dict[str, Size] = {}
    batch: Shape = ()
    for shape, core in zip(shapes, cores, strict=True):
        lead = len(shape) - len(core)
        batch = max(batch, shape[:lead], key=len)
        for name, size in zip(core, shape[lead:], strict=True):
            named.setdefault(name, size)
    return batch, tuple(named.values())


def _several(value: Value, scheduler: Scheduler) -> list[View]:
    """Where several results go: also those that nobody asks for are written."""
    assert isinstance(value.type, Bundle)
    users = (u for u in scheduler.users.get(value, ()) if u.op and u.op.definition is ITEM)
    asked = {u.op.attrs["index"]: u for u in users if u.op is not None}
    outs: list[View] = []
    shapes = scheduler.builder.item_shapes(value)
    for k, (type_, shape) in enumerate(zip(value.type.items, shapes, strict=True)):
        buffer: Buffer
        if k in asked:
            buffer = scheduler.home(asked[k])
        else:
            buffer = scheduler.buffer(Value(type_), "temporary", extents=shape)
        outs.append(scheduler.whole(buffer))
        if k in asked:
            scheduler.views[asked[k]] = outs[-1]
    return outs


def _operand(value: Value, rank: int, routine: Routine, scheduler: Scheduler) -> View:
    """Memory with an operand: where it lies, or a copy where the routine cannot read that. A scalar
    is the same for all points of a batch of `rank` axes."""
    view = view_of(value, scheduler.views, scheduler.sizes) if value.ndim else None
    readable = view is not None and (
        not routine.dense or scheduler.is_whole(view, scheduler.builder.shape(value))
    )
    if view is None or not readable:
        view = scheduler.whole(scheduler.buffer(value, "temporary"))
        scheduler.pointwise(value, view)
    return view if value.ndim else replace(view, strides=(0,) * rank)
