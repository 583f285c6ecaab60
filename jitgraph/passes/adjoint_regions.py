"""The adjoints of control flow: a loop run backwards over a tape, the branch that was taken.

    c' = f(c, x)  for rows x    =>    tape of c; then, from the last row to the first,
                                      gc, gx = pullback of f at (c, x), applied to gc'

The tape holds what the backward step needs of the forward one and cannot cheaply compute again:
carried values, products, reductions, transcendental functions. A loop that writes the tape does
all the loop in the cost does; `passes.regions` makes them one. The tape of a loop that ends by
itself grows with the steps.

Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 4 (taping), 12 (loops).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jitgraph.errors import GradientError, ShapeError
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import Size, constant, same_size
from jitgraph.ir.ops.arithmetic import equal, minimum, where
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.control import LOOP, LoopParts, branch, loop
from jitgraph.ir.ops.indexing import slice_axis, zeros_like
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.movement import broadcast_to, dim, dims
from jitgraph.ir.regions import changing
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import I64, Bundle, Type
from jitgraph.ir.values import Value, topological
from jitgraph.passes.fuse import EXPENSIVE, op_cost

#: Ops that only look at their operands in another way.
_VIEWS = frozenset({"transpose", "expand_dims", "squeeze", "slice", "broadcast_to", "cast", "dim",
                    "constant", "iota", "reshape"})  # fmt: skip


#: `pulled_back(outputs, seeds, wrt)` of `passes.autodiff`, which knows this file and hands it down.
PullBack = Callable[[Sequence[Value], Sequence[Value], Sequence[Value]], list[Value | None]]


def pulled_back_through(
    value: Value,
    adjoint: Sequence[Value | None],
    wanted: Sequence[bool],
    pulled_back: PullBack,
) -> list[Value | None]:
    """One adjoint per operand of a loop or a branch, None where none is wanted."""
    assert value.op is not None
    if value.op.definition is LOOP:
        # All adjoints at once, also where only some are wanted: gradients that are asked for one by
        # one then come from one loop, and what nobody needs is trimmed.
        every = [a.type.is_continuous for a in value.op.args]
        try:
            found = _LoopAdjoint(value, adjoint, every, pulled_back).run()
        except GradientError:
            found = _LoopAdjoint(value, adjoint, wanted, pulled_back).run()
        return [f if w else None for f, w in zip(found, wanted, strict=True)]
    return _through_branch(value, adjoint, wanted, pulled_back)


def _param(like: Value, name: str) -> Value:
    """A region's parameter that takes values of this kind; its extents are found out later."""
    return Value(Type(like.dtype, (None,) * like.ndim), name=name)


# --- branch ------------------------------------------------------------------------------------
def _through_branch(
    value: Value,
    adjoint: Sequence[Value | None],
    wanted: Sequence[bool],
    pulled_back: PullBack,
) -> list[Value | None]:
    op = value.op
    assert op is not None
    chosen, *captured = op.args
    needed = [k for k, w in enumerate(wanted[1:]) if w]
    given = [k for k, g in enumerate(adjoint) if g is not None]
    flowing = [g for g in adjoint if g is not None]
    sides = [_branch_side(op.attrs[name], given, flowing, needed, pulled_back)
             for name in ("then", "otherwise")]  # fmt: skip
    found = items(branch(chosen, [*captured, *flowing], *sides))
    result: list[Value | None] = [None] * len(op.args)
    for k, gradient in zip(needed, found, strict=True):
        result[k + 1] = gradient
    return result


def _branch_side(
    fn: Function,
    given: Sequence[int],
    flowing: Sequence[Value],
    needed: Sequence[int],
    pulled_back: PullBack,
) -> Function:
    seeds = [_param(g, f"g{k}") for k, g in zip(given, flowing, strict=True)]
    wrt = [fn.params[k] for k in needed]
    found = pulled_back([fn.results[k] for k in given], seeds, wrt)
    results = [zeros_like(w) if g is None else g for g, w in zip(found, wrt, strict=True)]
    return Function([*fn.params, *seeds], results, name=f"{fn.name}_adjoint")


# --- loop --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Backward:
    """The pullback of one step, and which values of the forward step it reads from the tape."""

    fn: Function
    taped: tuple[Value, ...]


class _LoopAdjoint:
    """Builds the loop that runs back."""

    def __init__(
        self,
        value: Value,
        adjoint: Sequence[Value | None],
        wanted: Sequence[bool],
        pulled_back: PullBack,
    ) -> None:
        from jitgraph.passes.stabilise import stabilised  # brings all rules: when first needed

        op = value.op
        assert op is not None
        self.pulled_back = pulled_back
        self.value, self.adjoint, self.wanted = value, adjoint, wanted
        self.args, self.attrs = op.args, op.attrs
        self.body: Function = op.attrs["body"]
        self.parts = parts = LoopParts.of(len(op.args), op.attrs)
        params = self.body.params
        self.step = params[0]
        state = 1 + len(parts.carried)
        rows = state + len(parts.sequences)
        self.carried, self.rows, self.captured = params[1:state], params[state:rows], params[rows:]
        self.results = tuple(stabilised(self.body.results, set(params)))
        #: Which carried values, rows and captured values an adjoint flows to.
        self.live_state = [k for k, p in enumerate(self.carried) if p.type.is_continuous]
        self.live_rows = [k for k in range(len(self.rows)) if wanted[parts.sequences[k]]]
        self.live_captured = [k for k in range(len(self.captured)) if wanted[parts.captured[k]]]
        outputs = range(len(parts.carried), len(self.results))
        self.outputs = [k for k in outputs if adjoint[k] is not None]

    def run(self) -> list[Value | None]:
        backward = self._backward()
        tape = self._tape(backward.taped)
        steps = self.back
        sequences = [self._walked(self.args[k]) for k in self.parts.sequences]
        flowing = [self._walked(self._known(k)) for k in self.outputs]
        start = [self._initial(k) for k in self.live_state]
        totals = [zeros_like(self.args[self.parts.captured[k]]) for k in self.live_captured]
        captured = [self.args[k] for k in self.parts.captured]
        if self.attrs["truncate"] is not None:
            captured.append(_as_value(self.first))
        found = items(loop(
            backward.fn, [*start, *totals], [*tape, *sequences, *flowing], captured, steps,
            reverse=not self.attrs["reverse"],
        ))  # fmt: skip
        return self._placed(found)

    def _known(self, k: int) -> Value:
        found = self.adjoint[k]
        assert found is not None
        return found

    def _initial(self, k: int) -> Value:
        given = self.adjoint[k]
        return zeros_like(self.args[self.parts.carried[k]]) if given is None else given

    # --- which steps, and their rows ------------------------------------------------------------
    def _count(self, steps: Size) -> None:
        """Find out how many steps are gone back, how many are left, and the first row of the
        former."""
        most: int | None = self.attrs["truncate"]
        self.back: Size = steps
        self.left: Size = 0
        if most is not None:
            self.back = min(steps, most) if isinstance(steps, int) else minimum(steps, most)
            self.left = steps - self.back
        self.first: Size = 0 if self.attrs["reverse"] else self.left

    def _bound(self) -> Size:
        known: int | None = self.attrs["steps"]
        return self.args[0] if known is None else known

    def _walked(self, sequence: Value) -> Value:
        """The rows that are gone back along."""
        if self.back is dim(sequence, 0):
            return sequence
        return slice_axis(sequence, 0, self.first, self.back)

    def _tape(self, taped: Sequence[Value]) -> list[Value]:
        """Rows of values of the forward step, from a loop that does what the first one does."""
        attrs = self.attrs
        forward = Function(
            self.body.params, [*self.body.results, *taped], checks=self.body.checks,
            name=self.body.name,
        )  # fmt: skip
        carried, sequences, captured = (
            [self.args[k] for k in own]
            for own in (self.parts.carried, self.parts.sequences, self.parts.captured)
        )
        found = items(loop(
            forward, carried, sequences, captured, self._bound(),
            condition=attrs["condition"], reverse=attrs["reverse"], truncate=attrs["truncate"],
        ))  # fmt: skip
        self._count(self._bound() if attrs["condition"] is None else found[-1])
        return [self._walked(row) for row in found[len(self.body.results) : -1]]

    # --- one step back --------------------------------------------------------------------------
    def _backward(self) -> _Backward:
        state_seeds = [_param(self.carried[k], f"g{k}") for k in self.live_state]
        output_seeds = [_param(self.results[k], f"g{k}") for k in self.outputs]
        totals = [_param(self.captured[k], f"total{k}") for k in self.live_captured]
        outputs = [self.results[k] for k in (*self.live_state, *self.outputs)]
        state_wrt = [self.carried[k] for k in self.live_state]
        row_wrt = [self.rows[k] for k in self.live_rows]
        captured_wrt = [self.captured[k] for k in self.live_captured]
        wrt = [*state_wrt, *captured_wrt, *row_wrt]
        found = self.pulled_back(outputs, [*state_seeds, *output_seeds], wrt)
        flows = [zeros_like(w) if g is None else g for g, w in zip(found, wrt, strict=True)]
        first = len(state_wrt)
        sums = [t if found[first + k] is None else t + flows[first + k]
                for k, t in enumerate(totals)]  # fmt: skip
        results = [*flows[:first], *sums, *flows[first + len(totals) :]]
        taped = self._frontier(results, {*state_seeds, *output_seeds, *totals})
        names = [_param(v, v.name or f"taped{k}") for k, v in enumerate(taped)]
        results = substituted(results, dict(zip(taped, names, strict=True)))
        params = [self.step, *state_seeds, *totals, *names, *self.rows, *output_seeds,
                  *self.captured]  # fmt: skip
        if self.attrs["truncate"] is not None:  # rows are counted from the first that is walked
            params.append(_param(self.step, "first"))
            results = substituted(results, {self.step: self.step + params[-1]})
        return _Backward(Function(params, results, name=f"{self.body.name}_adjoint"), tuple(taped))

    def _frontier(self, results: Sequence[Value], fresh: set[Value]) -> list[Value]:
        """What the backward step needs from the tape: values of the forward step that are not
        cheap to compute from rows, captured values and other values on the tape."""
        given = {self.step, *self.rows, *self.captured}
        order = topological(results)
        new = set(fresh)  # what depends on adjoints
        for value in order:
            if value.op is not None and any(a in new for a in value.op.args):
                new.add(value)
        needed = [a for v in order if v in new and v.op is not None for a in v.op.args]
        needed += results
        steady = self._steady(order)
        taped: dict[Value, None] = {}
        seen: set[Value] = set()
        pending = [v for v in needed if v not in new]
        while pending:
            value = pending.pop()
            if value in seen or value in given or value in steady:
                continue
            seen.add(value)
            if value.op is None or not (
                isinstance(value.type, Bundle) or _is_cheap(value) or self._changes_shape(value)
            ):
                taped[value] = None
            else:
                pending += value.op.args
        return sorted(taped, key={v: k for k, v in enumerate(order)}.__getitem__)

    def _steady(self, order: Sequence[Value]) -> set[Value]:
        """What does not depend on the step, and so need not be kept for each."""
        varying = {self.step, *self.carried, *self.rows}
        for value in order:
            if value.op is not None and any(a in varying for a in value.op.args):
                varying.add(value)
        return {v for v in order if v not in varying and v.op is not None}

    def _changes_shape(self, value: Value) -> bool:
        """Whether a value may have another shape in another step, and so no tape."""
        fn = Function(self.body.params, [value], checks=self.body.checks, name=self.body.name)
        try:
            return changing(fn, 1 + len(self.carried) + len(self.rows))[0]
        except ShapeError:
            return True

    # --- where adjoints go ----------------------------------------------------------------------
    def _placed(self, found: Sequence[Value]) -> list[Value | None]:
        result: list[Value | None] = [None] * len(self.args)
        flowing = iter(found)
        for k in self.live_state:
            result[self.parts.carried[k]] = self._reaching(next(flowing))
        for k in self.live_captured:
            result[self.parts.captured[k]] = next(flowing)
        for k in self.live_rows:
            position = self.parts.sequences[k]
            result[position] = self._padded(next(flowing), self.args[position])
        return [r if w else None for r, w in zip(result, self.wanted, strict=True)]

    def _reaching(self, adjoint: Value) -> Value:
        """What arrives at the initial value: nothing, if not all steps are gone back."""
        if same_size(self.left, 0):
            return adjoint
        reached: Value = where(equal(self.left, 0), adjoint, zeros_like(adjoint))
        return reached

    def _padded(self, rows: Value, like: Value) -> Value:
        """Rows with zeros around them, for the rows of the sequence that are not gone back along
        or that no step has read."""
        have, want = dim(rows, 0), dim(like, 0)
        if have is want or (isinstance(have, int) and have == want):
            return rows
        zero = constant(np.zeros((), rows.dtype), cls=type(rows))
        before, after = ([] if same_size(missing, 0)
                         else [broadcast_to(zero, (missing, *dims(like)[1:]))]
                         for missing in (self.first, want - have - self.first))
        return concatenate([*before, rows, *after], 0)


def _as_value(size: Size) -> Value:
    return size if isinstance(size, Value) else constant(size, I64)


def _is_cheap(value: Value) -> bool:
    """Whether computing a value again costs less than reading it back."""
    op = value.op
    assert op is not None
    if op.name in _VIEWS:
        return True
    return isinstance(op.definition, Elementwise) and op_cost(value) < EXPENSIVE
