"""Passes on what lies inside loops and branches.

    refine   a region's parameters know what the graph around it knows of their extents
    unify    loops that do the same become one, with the outputs of both
    trim     carried values, outputs and captured values nobody needs are gone

Unification is what makes the loop in a cost and the loop that writes its tape one loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import AsWritten, Size, building_with, emit
from jitgraph.ir.ops.bundles import ITEM
from jitgraph.ir.ops.control import LOOP, Control, Feed, LoopParts, loop, regions
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import Dim, Extent, Type
from jitgraph.ir.values import Op, Value, topological
from jitgraph.passes.specialise import with_params

Inner = Callable[[Function], Function]


def has_regions(fn: Function) -> bool:
    """Whether the function holds a loop or a branch."""
    return any(isinstance(v.op.definition, Control) for v in fn.ops if v.op is not None)


# --- refine ------------------------------------------------------------------------------------
def inside(builder: Builder, inner: Inner) -> Callable[[Value, tuple[Value, ...]], Value | None]:
    """For `rebuild`: every region refined for its operands, then rewritten by `inner`."""

    def transform(old: Value, args: tuple[Value, ...]) -> Value | None:
        op = old.op
        assert op is not None
        if not isinstance(op.definition, Control):
            return None
        feeds = op.definition.feeds(len(args), op.attrs)
        attrs = dict(op.attrs)
        for name, region in regions(op.attrs).items():
            attrs[name] = inner(_refined(builder, region, feeds[name], args))
        return emit(op.definition, args, **attrs)

    return transform


def _refined(
    builder: Builder, region: Function, feeds: Sequence[Feed], args: Sequence[Value]
) -> Function:
    """The region over parameters of the types that the extents of its operands allow."""
    names: dict[Size, Extent] = {}

    def dim(size: Size) -> Dim:
        if isinstance(size, int):
            return size
        return names.setdefault(size, Extent(f"d{len(names)}", builder.not_one(size)))

    params = []
    for param, feed in zip(region.params, feeds, strict=True):
        type_ = param.type
        if feed.operand is not None:
            shape = builder.shape(args[feed.operand])[int(feed.row) :]
            type_ = Type(param.dtype, tuple(map(dim, shape)))
        params.append(Value(type_, name=param.name, location=param.location))
    return with_params(region, params)


# --- unify -------------------------------------------------------------------------------------
def unify(fn: Function) -> Function:
    """`fn` with loops that differ in their outputs alone made one. Those that take what such loops
    give may then be alike as well: so until nothing changes."""
    while True:
        groups: dict[Any, list[Value]] = {}
        for value in fn.ops:
            if value.op is not None and value.op.definition is LOOP:
                groups.setdefault(_likeness(value.op), []).append(value)
        merged: dict[Value, tuple[Value, list[int]]] = {}
        with building_with(AsWritten()):  # not by the builder of the function around a region
            for loops in groups.values():
                for other in loops[1:]:
                    _merge(loops[0], other, merged)
            if not merged:
                return fn
            fn = _with_items(fn, merged)
        fn = rebuild(fn, Builder(fn.params))  # equal values become one


def _likeness(op: Op) -> Any:
    """What two loops must have in common besides what their bodies carry on."""
    kept = {k: v for k, v in op.attrs.items() if k != "body"}
    return op.args, tuple(sorted((k, str(v)) for k, v in kept.items()))


def _merge(
    first: Value, other: Value, merged: dict[Value, tuple[Value, list[int]]]
) -> None:
    """Let the first of two loops do the work of the other as well, if both carry on the same.

    `merged` tells for each loop that is replaced the loop it became, and where its results are.
    """
    assert first.op is not None
    assert other.op is not None
    current = merged[first][0] if first in merged else first
    assert current.op is not None
    body, more = current.op.attrs["body"], other.op.attrs["body"]
    renamed = dict(zip(more.params, body.params, strict=True))
    results = substituted(more.results, renamed)
    checks = substituted(more.checks, renamed)
    joined = Function(body.params, [*body.results, *results], checks=[*body.checks, *checks],
                      name=body.name)  # fmt: skip
    joined = rebuild(joined, Builder(joined.params))
    mine, theirs = joined.results[: len(body.results)], joined.results[len(body.results) :]
    carried = first.op.attrs["carried"]
    if mine[:carried] != theirs[:carried]:
        return
    kept = list(mine)
    places = []
    for result in theirs[carried:]:
        if result not in kept[carried:]:
            kept.append(result)
        places.append(carried + kept[carried:].index(result))
    whole = Function(joined.params, kept, checks=joined.checks, name=body.name)
    made = emit(LOOP, current.op.args, **{**current.op.attrs, "body": whole})
    last = len(kept)
    for old in [v for v, (target, _) in merged.items() if target is current]:
        merged[old] = made, [*merged[old][1][:-1], last]
    merged[first] = made, [*range(len(first.op.attrs["body"].results)), last]
    merged[other] = made, [*range(carried), *places, last]


def _with_items(fn: Function, merged: dict[Value, tuple[Value, list[int]]]) -> Function:
    """`fn` whose items of merged loops are taken from what these have become."""
    replaced: dict[Value, Value] = {}
    for value in fn.ops:
        op = value.op
        if op is not None and op.definition is ITEM and op.args[0] in merged:
            target, places = merged[op.args[0]]
            replaced[value] = emit(ITEM, (target,), index=places[op.attrs["index"]])
    results = substituted([*fn.results, *fn.checks], replaced)
    split = len(fn.results)
    return Function(fn.params, results[:split], checks=results[split:], name=fn.name)


# --- trim --------------------------------------------------------------------------------------
def trimmed(fn: Function) -> Function:
    """`fn` whose loops carry, take and give only what is needed. What one loop no longer takes,
    another one need not give: so until nothing changes."""
    while True:
        shorter = _trimmed_once(fn)
        if _operands(shorter) == _operands(fn):
            return shorter
        fn = shorter


def _operands(fn: Function) -> int:
    """How many values go into loops and out of them."""
    loops = [v.op for v in fn.ops if v.op is not None and v.op.definition is LOOP]
    return sum(len(op.args) + len(op.attrs["body"].results) for op in loops)


def _trimmed_once(fn: Function) -> Function:
    used: dict[Value, set[int]] = {}
    for value in fn.ops:
        op = value.op
        if op is not None and op.definition is ITEM:
            used.setdefault(op.args[0], set()).add(op.attrs["index"])
    plans: dict[Value, _Trimmed] = {}

    def transform(old: Value, args: tuple[Value, ...]) -> Value | None:
        op = old.op
        assert op is not None
        if op.definition is LOOP:
            plan = plans[old] = _Trimmed(op, args, used.get(old, set()))
            return plan.loop()
        if op.definition is ITEM and op.args[0] in plans:
            return plans[op.args[0]].item(args[0], op.attrs["index"])
        return None

    return rebuild(fn, Builder(fn.params), transform)


def _reading_once(body: Function, args: Sequence[Value], parts: LoopParts) -> Function:
    """The body that takes what it is given several times from the first of the places."""
    first = 1 + len(parts.carried)
    params = dict(zip((*parts.sequences, *parts.captured), body.params[first:], strict=True))
    known: dict[tuple[bool, Value], Value] = {}
    renamed: dict[Value, Value] = {}
    for position, param in params.items():
        one = known.setdefault((position in parts.sequences, args[position]), param)
        if one is not param:
            renamed[param] = one
    if not renamed:
        return body
    results = substituted([*body.results, *body.checks], renamed)
    split = len(body.results)
    return Function(body.params, results[:split], checks=results[split:], name=body.name)


class _Trimmed:
    """One loop without what nobody needs."""

    def __init__(self, op: Op, args: tuple[Value, ...], used: set[int]) -> None:
        self.op, self.args = op, args
        self.body = _reading_once(op.attrs["body"], args, LoopParts.of(len(args), op.attrs))
        self.condition: Function | None = op.attrs["condition"]
        self.parts = parts = LoopParts.of(len(args), op.attrs)
        params = self.body.params
        first, rows = 1 + len(parts.carried), 1 + len(parts.carried) + len(parts.sequences)
        self.carried, self.rows, self.captured = params[1:first], params[first:rows], params[rows:]
        results = self.body.results
        #: Carried values that stay what they are.
        self.fixed = [k for k, p in enumerate(self.carried) if results[k] is p]
        #: Outputs that somebody reads; equal ones are written once, at the first of them.
        self.place: dict[int, int] = {}
        for k in range(len(self.carried), len(results)):
            if k in used:
                self.place[k] = next((j for j in self.place if results[j] is results[k]), k)
        self.outputs = sorted(set(self.place.values()))
        self.state = self._needed_state(used)

    def _needed_state(self, used: set[int]) -> list[int]:
        """The carried values that change and that something depends on."""
        results = self.body.results
        roots = [*self.body.checks, *(results[k] for k in self.outputs)]
        state = {k for k in range(len(self.carried)) if k in used}
        state |= {k for k in range(len(self.carried)) if self._condition_reads(k)}
        while True:
            reached = set(topological([*roots, *(results[k] for k in state)]))
            more = {k for k, p in enumerate(self.carried) if p in reached} - state
            if not more:
                break
            state |= more
        self.reached = reached
        return sorted(state - set(self.fixed))

    def _condition_reads(self, position: int) -> bool:
        """Whether the condition depends on a carried (or, counted on, captured) parameter."""
        if self.condition is None:
            return False
        param = self.condition.params[1 + position]
        return param in topological(self.condition.results)

    def _captured(self) -> list[int]:
        carried = len(self.carried)
        return [k for k, p in enumerate(self.captured)
                if p in self.reached or self._condition_reads(carried + k)]  # fmt: skip

    def loop(self) -> Value:
        """The loop, or its like if there is nothing to trim."""
        parts, args = self.parts, self.args
        rows = [k for k, p in enumerate(self.rows) if p in self.reached]
        captured = self._captured()
        fixed = [k for k in self.fixed
                 if self.carried[k] in self.reached or self._condition_reads(k)]  # fmt: skip
        body = Function(
            [self.body.params[0], *(self.carried[k] for k in self.state),
             *(self.rows[k] for k in rows), *(self.captured[k] for k in captured),
             *(self.carried[k] for k in fixed)],
            [self.body.results[k] for k in (*self.state, *self.outputs)],
            checks=self.body.checks, name=self.body.name,
        )  # fmt: skip
        steps: Size = self.op.attrs["steps"] if parts.bound is None else args[0]
        return loop(
            body,
            [args[parts.carried[k]] for k in self.state],
            [args[parts.sequences[k]] for k in rows],
            [*(args[parts.captured[k]] for k in captured),
             *(args[parts.carried[k]] for k in fixed)],
            steps,
            condition=self._trimmed_condition(captured, fixed),
            reverse=self.op.attrs["reverse"],
            truncate=self.op.attrs["truncate"],
        )  # fmt: skip

    def _trimmed_condition(self, captured: Sequence[int], fixed: Sequence[int]) -> Function | None:
        if self.condition is None:
            return None
        params = self.condition.params
        carried = params[1 : 1 + len(self.carried)]
        others = params[1 + len(self.carried) :]
        kept = [params[0], *(carried[k] for k in self.state), *(others[k] for k in captured),
                *(carried[k] for k in fixed)]  # fmt: skip
        return Function(kept, self.condition.results, checks=self.condition.checks,
                        name=self.condition.name)  # fmt: skip

    def item(self, made: Value, index: int) -> Value:
        """What was result `index` of the loop."""
        if index < len(self.carried):
            if index in self.fixed:
                return self.args[self.parts.carried[index]]
            return emit(ITEM, (made,), index=self.state.index(index))
        if index == len(self.body.results):
            return emit(ITEM, (made,), index=len(self.state) + len(self.outputs))
        place = self.outputs.index(self.place[index])
        return emit(ITEM, (made,), index=len(self.state) + place)
