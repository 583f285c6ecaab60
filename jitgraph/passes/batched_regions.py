"""Control flow for many elements at once.

    while c(x): x = f(x)   =>   while any(c(X)): X = where(c(X), f(X), X)

A loop walks until the last element is done; what is carried stays as it is for those that are. A
branch whose condition differs from element to element is a choice between both results: both sides
run, for all elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jitgraph.ir.function import Function
from jitgraph.ir.opdef import Attrs, Size, constant
from jitgraph.ir.ops.arithmetic import less, where
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.control import LOOP, LoopParts, branch, loop
from jitgraph.ir.ops.indexing import SLICE, slice_axis, zeros_like
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.movement import broadcast_to, dims, expand_dims, transpose
from jitgraph.ir.ops.reduction import any_over, max_
from jitgraph.ir.types import BOOL, I64, Type
from jitgraph.ir.values import Op, Value

#: A value for all elements, and whether it differs from element to element.
Many = tuple[Value, bool]
#: `batched(roots, inputs, size, same)` of `passes.batching`, which hands it down.
Batched = Callable[
    [Sequence[Value], Mapping[Value, Value], Size, Mapping[Value, Value]], list[Many]
]


def batched_control(op: Op, args: Sequence[Many], size: Size, batched: Batched) -> list[Many]:
    """The results of a loop or a branch for all elements."""
    if op.definition is LOOP:
        return _Loop(op, args, size, batched).run()
    return _branch(op, args, size, batched)


def spread(made: Value, differs: bool, size: Size) -> Value:
    """A value with the axis of the elements, which repeats what is the same for all."""
    if differs:
        return made
    return broadcast_to(expand_dims(made, (0,)), (size, *dims(made)))


def _chosen(which: Value, a: Value, b: Value) -> Value:
    """Of each element what is chosen for it."""
    return where(expand_dims(which, range(1, a.ndim)), a, b)  # type: ignore[no-any-return]


class _Region:
    """The parameters of a region for all elements, and the number of these inside."""

    def __init__(self, fn: Function, flags: Sequence[bool], size: Size, batched: Batched) -> None:
        self.fn, self.flags, self._batched = fn, flags, batched
        self.size: Size = size if isinstance(size, int) else Value(Type(I64), name="elements")
        self.params = [
            Value(Type(p.dtype, (None,) * (p.ndim + 1)), name=p.name) if flag
            else Value(p.type, name=p.name)
            for p, flag in zip(fn.params, flags, strict=True)
        ]  # fmt: skip

    @property
    def last(self) -> list[Value]:
        """The parameter for the number of elements, if only the call knows it."""
        return [self.size] if isinstance(self.size, Value) else []

    def results(self, fn: Function | None = None, params: Sequence[Value] | None = None,
                flags: Sequence[bool] | None = None) -> list[Many]:  # fmt: skip
        """The results over these parameters; or those of another region over some of them."""
        fn, params, flags = fn or self.fn, params or self.params, flags or self.flags
        pairs = list(zip(fn.params, params, flags, strict=True))
        return self._batched(
            fn.results, {old: new for old, new, flag in pairs if flag}, self.size,
            {old: new for old, new, flag in pairs if not flag},
        )  # fmt: skip


class _Loop:
    def __init__(self, op: Op, args: Sequence[Many], size: Size, batched: Batched) -> None:
        self.attrs: Attrs = op.attrs
        self.args, self.size, self.batched = args, size, batched
        self.parts = LoopParts.of(len(args), op.attrs)
        self.body: Function = op.attrs["body"]
        self.condition: Function | None = op.attrs["condition"]
        self.bounds = args[0][0] if self.parts.bound is not None and args[0][1] else None
        self.carried = [args[k][1] for k in self.parts.carried]

    def run(self) -> list[Many]:
        masked = self._settle()
        return self._masked() if masked else self._plain()

    def _flags(self) -> list[bool]:
        rest = [self.args[k][1] for k in (*self.parts.sequences, *self.parts.captured)]
        return [False, *self.carried, *rest]

    def _without_rows(self, of_body: Sequence[Any]) -> list[Any]:
        """What belongs to the condition's parameters, of what belongs to the body's."""
        first = 1 + len(self.parts.carried)
        return [*of_body[:first], *of_body[first + len(self.parts.sequences) :]]

    def _settle(self) -> bool:
        """Find out what differs of what is carried; whether elements end at steps of their own."""
        while True:
            region = _Region(self.body, self._flags(), self.size, self.batched)
            found = [differs for _, differs in region.results()[: len(self.carried)]]
            if self.bounds is not None or self._condition_differs(region):
                self.carried = [True] * len(self.carried)
                return True
            following = [a or b for a, b in zip(self.carried, found, strict=True)]
            if following == self.carried:
                return False
            self.carried = following

    def _condition_differs(self, region: _Region) -> bool:
        if self.condition is None:
            return False
        ((_, differs),) = region.results(
            self.condition, self._without_rows(region.params), self._without_rows(region.flags)
        )
        return differs

    # --- operands -------------------------------------------------------------------------------
    def _state(self) -> list[Value]:
        return [spread(*self.args[k], self.size) if flag else self.args[k][0]
                for k, flag in zip(self.parts.carried, self.carried, strict=True)]  # fmt: skip

    def _sequences(self) -> list[Value]:
        return [_rows_first(*self.args[k]) for k in self.parts.sequences]

    def _captured(self) -> list[Value]:
        own = [self.args[k][0] for k in self.parts.captured]
        return own if isinstance(self.size, int) else [*own, self.size]

    # --- all elements together ------------------------------------------------------------------
    def _plain(self) -> list[Many]:
        region = _Region(self.body, self._flags(), self.size, self.batched)
        made = region.results()
        count = len(self.carried)
        state = [spread(*m, region.size) if flag else m[0]
                 for m, flag in zip(made, self.carried, strict=False)]  # fmt: skip
        body = Function((*region.params, *region.last), (*state, *(v for v, _ in made[count:])))
        steps = self.args[0][0] if self.parts.bound is not None else self.attrs["steps"]
        found = items(loop(
            body, self._state(), self._sequences(), self._captured(), steps,
            condition=self._common_condition(), reverse=self.attrs["reverse"],
            truncate=self.attrs["truncate"],
        ))  # fmt: skip
        outputs = [(_elements_first(v) if differs else v, differs)
                   for v, (_, differs) in zip(found[count:-1], made[count:], strict=True)]
        return [*zip(found, self.carried, strict=False), *outputs, (found[-1], False)]

    def _common_condition(self) -> Function | None:
        if self.condition is None:
            return None
        flags = self._without_rows(self._flags())
        region = _Region(self.condition, flags, self.size, self.batched)
        ((holds, _),) = region.results()
        return Function((*region.params, *region.last), (holds,))

    # --- each element to its own end ------------------------------------------------------------
    def _masked(self) -> list[Many]:
        """Two more values are carried: which elements go on, and how many steps each has done."""
        count = len(self.carried)
        alive = broadcast_to(constant(True), (self.size,))
        done = zeros_like(alive, I64)
        bounds = [] if self.bounds is None else [self.bounds]
        longest = self._longest()
        found = items(loop(
            self._masked_body(), [*self._state(), alive, done],
            [slice_axis(s, 0, 0, longest) for s in self._sequences()],
            [*self._captured(), *bounds], longest,
            condition=self._masked_condition(), reverse=self.attrs["reverse"],
            truncate=self.attrs["truncate"],
        ))  # fmt: skip
        outputs = [(_elements_first(v), True) for v in found[count + 2 : -1]]
        return [*((v, True) for v in found[:count]), *outputs, (found[count + 1], True)]

    def _longest(self) -> Size:
        if self.bounds is None:
            return self.args[0][0] if self.parts.bound is not None else self.attrs["steps"]
        none = broadcast_to(constant(0, I64), (1,))
        return max_(concatenate([self.bounds, none], 0), (0,))

    def _ends(self, region: _Region, bounds: Sequence[Value]) -> tuple[Value | None, Value | None]:
        """Which elements are within their bounds, and for which the condition holds."""
        step = region.params[0]
        within = less(step, bounds[0]) if bounds else None
        if self.condition is None:
            return within, None
        own = region.fn is self.condition
        params = region.params if own else self._without_rows(region.params)
        flags = region.flags if own else self._without_rows(region.flags)
        ((holds, differs),) = region.results(self.condition, params, flags)
        return within, spread(holds, differs, region.size)

    def _more_params(self) -> tuple[list[Value], list[Value]]:
        carried = [Value(Type(dtype, (None,)), name=name)
                   for dtype, name in ((BOOL, "alive"), (I64, "done"))]  # fmt: skip
        bounds = [] if self.bounds is None else [Value(Type(I64, (None,)), name="bounds")]
        return carried, bounds

    def _masked_body(self) -> Function:
        region = _Region(self.body, self._flags(), self.size, self.batched)
        (alive, done), bounds = self._more_params()
        within, holds = self._ends(region, bounds)
        now, stays = alive, alive
        if holds is not None:
            now = now & holds
            stays = stays & (holds if within is None else holds | ~within)
        if within is not None:
            now = now & within
        count = len(self.carried)
        made = [spread(*m, region.size) for m in region.results()]
        state = [_chosen(now, new, old)
                 for new, old in zip(made[:count], region.params[1:], strict=False)]  # fmt: skip
        first = 1 + count
        params = (*region.params[:first], alive, done, *region.params[first:], *region.last)
        more = where(now, done + 1, done)
        rows = [_chosen(now, row, zeros_like(row)) for row in made[count:]]
        return Function((*params, *bounds), (*state, stays, more, *rows))

    def _masked_condition(self) -> Function | None:
        if self.condition is None:
            return None
        flags = self._without_rows(self._flags())
        region = _Region(self.condition, flags, self.size, self.batched)
        (alive, done), bounds = self._more_params()
        within, holds = self._ends(region, bounds)
        assert holds is not None
        may = alive & (holds if within is None else holds | ~within)
        first = 1 + len(self.carried)
        params = (*region.params[:first], alive, done, *region.params[first:], *region.last)
        return Function((*params, *bounds), (any_over(may, (0,)),))


def _rows_first(sequence: Value, differs: bool) -> Value:
    return transpose(sequence, (1, 0, *range(2, sequence.ndim))) if differs else sequence


def _elements_first(rows: Value) -> Value:
    return transpose(rows, (1, 0, *range(2, rows.ndim)))


def walked(order: Sequence[Value], roots: Sequence[Value]) -> set[Value]:
    """The first rows of arrays that loops walk along and nothing else looks at. Loops end by
    themselves, so for many elements these may be all rows."""
    found = {v for v in order if v.op is not None and v.op.definition is SLICE
             and v.op.attrs["axes"] == v.op.attrs["starts"] == (0,)
             and v.op.attrs["steps"] == (1,)}  # fmt: skip
    found.difference_update(roots)
    for value in order if found else ():
        op = value.op
        if op is not None and op.definition is LOOP:
            sequences = LoopParts.of(len(op.args), op.attrs).sequences
            found.difference_update(a for k, a in enumerate(op.args) if k not in sequences)
        elif op is not None:
            found.difference_update(op.args)
    return found


# --- branch --------------------------------------------------------------------------------------
def _branch(op: Op, args: Sequence[Many], size: Size, batched: Batched) -> list[Many]:
    (chosen, differs), captured = args[0], args[1:]
    sides: tuple[Function, Function] = op.attrs["then"], op.attrs["otherwise"]
    flags = [flag for _, flag in captured]
    values = [v for v, _ in captured]
    if differs:
        made = []
        for fn in sides:
            pairs = list(zip(fn.params, values, flags, strict=True))
            inputs = {p: v for p, v, flag in pairs if flag}
            same = {p: v for p, v, flag in pairs if not flag}
            made.append([spread(*m, size) for m in batched(fn.results, inputs, size, same)])
        return [(_chosen(chosen, a, b), True) for a, b in zip(*made, strict=True)]
    regions = [_Region(fn, flags, size, batched) for fn in sides]
    found = [region.results() for region in regions]
    varies = [a[1] or b[1] for a, b in zip(*found, strict=True)]
    functions = [
        Function((*region.params, *region.last),
                 [spread(*m, region.size) if v else m[0] for m, v in zip(own, varies, strict=True)])
        for region, own in zip(regions, found, strict=True)
    ]  # fmt: skip
    operands = values if isinstance(size, int) else [*values, size]
    return list(zip(items(branch(chosen, operands, *functions)), varies, strict=True))
