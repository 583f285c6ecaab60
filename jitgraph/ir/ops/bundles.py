"""Ops with several results give a bundle, which `item` ops take apart."""

from __future__ import annotations

from collections.abc import Sequence

from jitgraph.errors import ShapeError
from jitgraph.ir.opdef import Attrs, OpDef, emit, register
from jitgraph.ir.types import Bundle, Type
from jitgraph.ir.values import Value


def _infer_item(types: Sequence[Type], attrs: Attrs) -> Type:
    bundle, index = types[0], attrs["index"]
    if not isinstance(bundle, Bundle) or not 0 <= index < len(bundle.items):
        raise ShapeError(f"{bundle} has no item {index}")
    return bundle.items[index]


ITEM: OpDef = OpDef(
    name="item",
    infer=_infer_item,
    evaluate=lambda bundle, *, index: bundle[index],
    shape=lambda source, args, attrs: source.item_shapes(args[0])[attrs["index"]],
    batch=lambda batch, bundle, *, index: emit(ITEM, (bundle,), index=index),
    doc="One of the results of an op that has several. Adjoints are gathered item by item.",
)
register(ITEM)


def items(bundle: Value) -> tuple[Value, ...]:
    """All results of an op that has several."""
    assert isinstance(bundle.type, Bundle)
    return tuple(emit(ITEM, (bundle,), index=k) for k in range(len(bundle.type.items)))
