"""What follows a convolution image by image becomes its epilogue.

    y = conv(x, w)                                  for each image i, some channels j:
    for i, j: p[i, j] = tanh(pool(y[i, j]) + b[j])  =>    y[j] = conv(x[i], w[j])
                                                          p[i, j] = tanh(pool(y[j]) + b[j])

So memory is taken once less; where nobody else reads what the convolution makes, that is never
there as a whole. A kernel or row nest takes part if its outer loops are the images and channels,
and it reads the result at the point of these loops only (in their *cell*, see `passes.rows`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from jitgraph.ir.kernel import (
    Buffer,
    Call,
    Check,
    Fetch,
    ImageEpilogue,
    Kernel,
    Let,
    Rows,
    Step,
    Store,
)
from jitgraph.ir.opdef import same_size
from jitgraph.passes.epilogue import touched
from jitgraph.passes.loops import collapse_inside
from jitgraph.passes.nest import Sizes
from jitgraph.passes.rows import cell_of, with_locals

#: The routines that make images.
_MAKERS = ("conv", "conv_by_input")
#: The loops over images and their channels.
_OUTER = 2


def fuse_image_epilogues(steps: Sequence[Step], sizes: Sizes) -> list[Step]:
    """The steps with row nests moved into the convolutions that they go on from. A convolution
    waits for the first step that reads its result."""
    made = {_result(step) for step in steps if _makes_images(step)}
    users = Counter(b for step in steps for b in touched(step)) if made else Counter()
    fused: list[Step] = []
    for step in steps:
        if isinstance(step, Kernel | Rows) and not made.isdisjoint(step.reads()):
            rows = _as_rows(step)
            at = None if rows is None else _convolution_before(fused, rows, sizes)
            if rows is not None and at is not None:
                call = fused.pop(at)
                assert isinstance(call, Call)
                out = _result(call)
                alone = out.kind == "temporary" and users[out] == len((call, step))
                step = _joined(call, rows, sizes, alone=alone)
        fused.append(step)
    return fused


def _makes_images(step: Step) -> bool:
    return (
        isinstance(step, Call)
        and step.routine.library == "convolution"
        and step.routine.symbols[0] in _MAKERS
        and not step.batch
        and step.epilogue is None
    )


def _result(step: Step) -> Buffer:
    assert isinstance(step, Call)
    return step.outputs[0].buffer


def _as_rows(step: Kernel | Rows) -> Rows | None:
    """The step as a nest that shares the loops over images and channels."""
    if isinstance(step, Rows):
        return step if step.depth >= _OUTER else None
    return Rows(_OUTER, (step,), ()) if len(step.extents) >= _OUTER else None


def _convolution_before(steps: Sequence[Step], rows: Rows, sizes: Sizes) -> int | None:
    """Where the latest convolution is that the nest can follow. Nothing in between needs its result
    or changes its operands, so it can wait."""
    reads = rows.reads()
    seen: set[Buffer] = set()
    written: set[Buffer] = set()
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        if (
            isinstance(step, Call) and _makes_images(step) and _result(step) in reads - seen
            and not step.reads() & written and _suits(rows, step, sizes)
        ):  # fmt: skip
            return at
        seen |= touched(step)
        written |= set() if isinstance(step, Fetch | Let | Check) else step.writes()
    return None


def _suits(rows: Rows, call: Call, sizes: Sizes) -> bool:
    """Whether the nest can do a part of its points while other images are not there yet."""
    out = _result(call)
    shared = rows.shared[:_OUTER]
    cell = cell_of(out, shared, sizes)
    if cell is None or cell.axes != tuple(range(_OUTER)):
        return False
    if rows.writes() & {out, *call.reads()}:
        return False
    return all(
        not kernel.sequential and cell.holds(kernel) and all(map(_can_wait, kernel.stores))
        for kernel in rows.kernels
    )


def _can_wait(store: Store) -> bool:
    """Whether a store does not mind in which order images and channels come. A total has one
    element for each channel at most: there are copies of it."""
    if store.indices or (store.running is not None and store.running < _OUTER):
        return False
    if store.reduced.isdisjoint(range(_OUTER)):
        return True
    small = all(same_size(s, 0) for k, s in enumerate(store.access.strides) if k != _OUTER - 1)
    return small and store.places is None and not store.in_register


def _joined(call: Call, rows: Rows, sizes: Sizes, *, alone: bool) -> Call:
    """The convolution with its epilogue, for one image at a time where it is `alone` in reading."""
    image: Buffer | None = None
    if alone:
        out = _result(call)
        image = replace(out, extents=out.extents[1:])
        moved = {out: image}
        rows = replace(rows, kernels=tuple(with_locals(k, 1, moved) for k in rows.kernels))
    return replace(call, epilogue=ImageEpilogue(collapse_inside(rows, sizes), image))
