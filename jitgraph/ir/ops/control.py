"""Control flow: ops that hold functions, their *regions*.

    loop     counted or conditional repetition: carried state, sequences, rows of outputs
    branch   one of two regions, chosen at run time; the other does not run

A region sees nothing but its own parameters; what it takes from outside (*captured* values) is an
operand of the op. Region parameters may know more of their extents than the operands' types do,
never less (`passes.regions` refines them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.elementwise import symbolic
from jitgraph.ir.function import Function
from jitgraph.ir.interpreter import run_region
from jitgraph.ir.opdef import (
    Array,
    Attrs,
    OpDef,
    Shape,
    ShapeSource,
    Size,
    Told,
    emit,
    register,
    same_size,
)
from jitgraph.ir.ops.arithmetic import equal, greater_equal, where
from jitgraph.ir.regions import keeping_shapes, row_extents, shapes_of_results
from jitgraph.ir.types import BOOL, I64, Bundle, Dim, Type
from jitgraph.ir.values import Value


@dataclass(frozen=True, slots=True)
class Feed:
    """What a region's parameter is: an operand (by position), or a row of it along the axis that
    is walked; without an operand the number of the step. `varies` from step to step, or not."""

    operand: int | None
    row: bool = False
    varies: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Control(OpDef):
    """An op with regions. `feeds(operands, attrs)` tells for each region, by the attribute that
    holds it, where its parameters come from."""

    feeds: Callable[[int, Attrs], Mapping[str, tuple[Feed, ...]]]


def regions(op_attrs: Attrs) -> dict[str, Function]:
    """The regions among the attributes of an op."""
    return {name: a for name, a in op_attrs.items() if isinstance(a, Function)}


def _fits(region: str, fn: Function, feeds: Sequence[Feed], types: Sequence[Type]) -> None:
    """Raise unless parameters and operands agree in dtype, rank and known extents."""
    if len(fn.params) != len(feeds):
        raise ShapeError(f"the {region} takes {len(fn.params)} values, {len(feeds)} are given")
    for param, feed in zip(fn.params, feeds, strict=True):
        given = Type(I64) if feed.operand is None else types[feed.operand]
        if feed.row:
            if not given.rank:
                raise ShapeError(f"{given} has no rows to walk along")
            given = given.with_shape(given.shape[1:])
        _agree(f"{param.describe()} of the {region}", param.type, given)


def _agree(what: str, have: Type, given: Type) -> None:
    if have.dtype != given.dtype:
        raise DTypeError(f"{what} is {have}, and {given} is given")
    if have.rank != given.rank or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(have.shape, given.shape, strict=True)
    ):
        raise ShapeError(f"{what} is {have}, and {given} is given")


def _outside(type_: Type) -> Type:
    """A region's type as others see it: its names for extents mean nothing outside."""
    return type_.with_shape(d if isinstance(d, int) else None for d in type_.shape)


# --- loop --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class LoopParts:
    """The operands of a loop by their roles; positions are those among the operands."""

    bound: int | None
    carried: range
    sequences: range
    captured: range

    @staticmethod
    def of(operands: int, attrs: Attrs) -> LoopParts:
        first = 0 if attrs["steps"] is not None else 1
        middle = first + attrs["carried"]
        last = middle + attrs["sequences"]
        return LoopParts(None if first == 0 else 0, range(first, middle), range(middle, last),
                         range(last, operands))  # fmt: skip


def _loop_feeds(operands: int, attrs: Attrs) -> dict[str, tuple[Feed, ...]]:
    parts = LoopParts.of(operands, attrs)
    state = (Feed(None, varies=True), *(Feed(k, varies=True) for k in parts.carried))
    rows = tuple(Feed(k, row=True, varies=True) for k in parts.sequences)
    captured = tuple(Feed(k) for k in parts.captured)
    feeds = {"body": (*state, *rows, *captured)}
    if attrs["condition"] is not None:
        feeds["condition"] = (*state, *captured)
    return feeds


def _infer_loop(types: Sequence[Type], attrs: Attrs) -> Type:
    body: Function = attrs["body"]
    feeds = _loop_feeds(len(types), attrs)
    for name, own in feeds.items():
        _fits(name, attrs[name], own, types)
    parts, steps = LoopParts.of(len(types), attrs), attrs["steps"]
    if parts.bound is not None and types[0] != Type(I64):
        raise DTypeError(f"the number of steps must be i64[], not {types[0]}")
    condition = attrs["condition"]
    if condition is not None and attrs["reverse"]:
        raise ShapeError("a loop that ends by a condition walks from the first row")
    if condition is not None and [r.type for r in condition.results] != [Type(BOOL)]:
        raise DTypeError("the condition of a loop must give one bool[]")
    if len(body.results) < len(parts.carried):
        raise ShapeError(f"the body must give the next {len(parts.carried)} carried values first")
    for position, result in zip(parts.carried, body.results, strict=False):
        param = body.params[1 + position - parts.carried.start]
        _agree(f"the carried value {param.describe()}", types[position], result.type)
    rows = [_outside(r.type) for r in body.results[len(parts.carried) :]]
    stacked = [Type(r.dtype, (steps if condition is None else None, *r.shape)) for r in rows]
    return Bundle.of([*(types[k] for k in parts.carried), *stacked, Type(I64)])


def _evaluate_loop(
    *operands: Array,
    body: Function,
    condition: Function | None,
    carried: int,
    sequences: int,
    steps: int | None,
    reverse: bool,
    truncate: int | None,
) -> tuple[Array, ...]:
    attrs = {"steps": steps, "carried": carried, "sequences": sequences}
    parts = LoopParts.of(len(operands), attrs)
    bound = int(operands[0]) if steps is None else steps
    if bound < 0 and len(body.results) > carried:
        raise ShapeError(f"a loop of {bound} steps has no rows to give")
    for k in parts.sequences:
        if len(operands[k]) != bound:
            raise ShapeError(f"a loop of {bound} steps walks along {len(operands[k])} rows")
    state = [operands[k] for k in parts.carried]
    captured = [operands[k] for k in parts.captured]
    outputs: list[Array] = []
    first = [np.zeros(operands[k].shape[1:], operands[k].dtype) for k in parts.sequences]
    if len(body.results) > carried:
        shapes = row_extents(body, [np.asarray(0, np.int64), *state, *first, *captured])[carried:]
        rows = bound if condition is None else 0
        outputs = [np.zeros((rows, *shape), r.dtype)
                   for shape, r in zip(shapes, body.results[carried:], strict=True)]  # fmt: skip
    collected: list[list[Array]] = [[] for _ in outputs]
    done = 0
    while done < bound:
        row = np.asarray(bound - 1 - done if reverse else done, np.int64)
        step = f"step {done}" + f" (row {row})" * reverse
        if condition is not None and not run_region(
            condition, [row, *state, *captured], f"the condition before {step}"
        )[0]:
            break
        walked = [np.asarray(operands[k][row]) for k in parts.sequences]
        results = run_region(body, [row, *state, *walked, *captured], step)
        for param, before, after in zip(body.params[1:], state, results[:carried], strict=False):
            if before.shape != after.shape:
                raise ShapeError(f"{param.describe()} is carried with the shape {before.shape}, "
                                 f"and a step gives {after.shape}")  # fmt: skip
        state = results[:carried]
        if condition is None:
            for output, result in zip(outputs, results[carried:], strict=True):
                output[row] = result
        else:
            for own, result in zip(collected, results[carried:], strict=True):
                own.append(result)
        done += 1
    if condition is not None and done:
        outputs = list(map(np.stack, collected))
    return (*state, *outputs, np.asarray(done, np.int64))


def _loop_shapes(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Any:
    parts = LoopParts.of(len(args), attrs)
    bound: Size = attrs["steps"] if parts.bound is None else args[0]
    inner = shapes_of_results(source, attrs["body"], _given(source, args, attrs, "body"))
    finals = [source.shape(args[k]) for k in parts.carried]
    for final, step in zip(finals, inner, strict=False):
        for axis, size in zip(final, step, strict=True):
            source.same_size(axis, size)
    done = bound if attrs["condition"] is None else Told(len(inner))
    return (*finals, *((done, *shape) for shape in inner[len(finals) :]), ())


def _given(
    source: ShapeSource, args: Sequence[Value], attrs: Attrs, region: str
) -> list[tuple[Shape, Value | None]]:
    """The extents of each parameter of a region, and its value where that never changes."""
    definition = BRANCH if region in ("then", "otherwise") else LOOP
    found: list[tuple[Shape, Value | None]] = []
    for feed in definition.feeds(len(args), attrs)[region]:
        if feed.operand is None:
            found.append(((), None))
            continue
        operand = args[feed.operand]
        shape = source.shape(operand)
        found.append((shape[feed.row :], None if feed.varies else operand))
    return found


def _enough_rows(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    """Every sequence must have a row for each step."""
    parts = LoopParts.of(len(args), attrs)
    bound: Size = attrs["steps"] if parts.bound is None else args[0]
    outputs = len(attrs["body"].results) > len(parts.carried)
    conditions = [symbolic(greater_equal(bound, 0))] if outputs and not parts.sequences else []
    for k in parts.sequences:
        rows = source.shape(args[k])[0]
        if not same_size(rows, bound):
            conditions.append(symbolic(equal(rows, bound)))
    return conditions


LOOP = Control(
    name="loop",
    infer=_infer_loop,
    evaluate=_evaluate_loop,
    shape=_loop_shapes,
    requires=_enough_rows,
    feeds=_loop_feeds,
    doc="`steps` turns (or as many as the first operand says) of the body, which takes the number "
    "of the step, the carried values, a row of each sequence and the captured values, and gives "
    "the next carried values and a row of each output. Ends before a step whose `condition` is "
    "false. Results: the carried values, the outputs (a row a step done), the number of steps "
    "done. `reverse` walks rows from the last to the first. A gradient goes back through the last "
    "`truncate` steps alone.",
)
register(LOOP)


def loop(
    body: Function,
    carried: Sequence[Value],
    sequences: Sequence[Value],
    captured: Sequence[Value],
    steps: Size,
    *,
    condition: Function | None = None,
    reverse: bool = False,
    truncate: int | None = None,
) -> Value:
    """The bundle of a loop's results."""
    varying = 1 + len(carried) + len(sequences)
    body = keeping_shapes(body, len(carried), varying)
    known = isinstance(steps, int)
    bound = () if isinstance(steps, int) else (steps,)
    return emit(
        LOOP, (*bound, *carried, *sequences, *captured), body=body, condition=condition,
        carried=len(carried), sequences=len(sequences), steps=steps if known else None,
        reverse=reverse, truncate=truncate,
    )  # fmt: skip


# --- branch ------------------------------------------------------------------------------------
def _branch_feeds(operands: int, attrs: Attrs) -> dict[str, tuple[Feed, ...]]:
    captured = tuple(Feed(k) for k in range(1, operands))
    return {"then": captured, "otherwise": captured}


def _infer_branch(types: Sequence[Type], attrs: Attrs) -> Type:
    if types[0] != Type(BOOL):
        raise DTypeError(f"the condition of a branch must be bool[], not {types[0]}")
    for name, feeds in _branch_feeds(len(types), attrs).items():
        _fits(name, attrs[name], feeds, types)
    then, otherwise = (attrs[name].results for name in ("then", "otherwise"))
    if len(then) != len(otherwise):
        raise ShapeError(f"one branch gives {len(then)} values, the other {len(otherwise)}")
    return Bundle.of(
        Type(a.dtype, tuple(_common(a.type, b.type))) for a, b in zip(then, otherwise, strict=True)
    )


def _common(a: Type, b: Type) -> Iterator[Dim]:
    if a.dtype != b.dtype or a.rank != b.rank:
        raise DTypeError(f"one branch gives {a}, the other {b}")
    for x, y in zip(a.shape, b.shape, strict=True):
        yield x if isinstance(x, int) and x == y else None


def _evaluate_branch(
    chosen: Array, *captured: Array, then: Function, otherwise: Function
) -> tuple[Array, ...]:
    which, side = (then, "the true side") if chosen else (otherwise, "the false side")
    return tuple(run_region(which, captured, side))


def _branch_shapes(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> Any:
    then, otherwise = (
        shapes_of_results(source, attrs[name], _given(source, args, attrs, name))
        for name in ("then", "otherwise")
    )
    return tuple(
        tuple(_chosen(args[0], x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(then, otherwise, strict=True)
    )


def _chosen(condition: Value, a: Size, b: Size) -> Size:
    same = a is b or (isinstance(a, int) and isinstance(b, int) and a == b)
    return a if same else where(condition, a, b)


BRANCH = Control(
    name="branch",
    infer=_infer_branch,
    evaluate=_evaluate_branch,
    shape=_branch_shapes,
    feeds=_branch_feeds,
    doc="The results of one of two functions of the captured values: `then` where the first "
    "operand is true, else `otherwise`. The other one does not run.",
)
register(BRANCH)


def branch(
    chosen: Value, captured: Sequence[Value], then: Function, otherwise: Function
) -> Value:
    """The bundle of a branch's results."""
    return emit(BRANCH, (chosen, *captured), then=then, otherwise=otherwise)
