"""`scan`: loops in Theano's manner, with taps, and `map`, `reduce`, `foldl`, `foldr` made of it.

    outputs, updates = scan(lambda x, h: tanh(x + h @ w), sequences=xs, outputs_info=h0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitgraph.errors import InputError, OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Size
from jitgraph.ir.ops.arithmetic import logical_not, minimum
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.control import loop
from jitgraph.ir.ops.indexing import slice_, slice_axis
from jitgraph.ir.ops.movement import dim, squeeze
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import BOOL, I64, Type
from jitgraph.ir.values import Value
from jitgraph.tensor.control import UNBOUNDED
from jitgraph.tensor.operands import as_size, as_tensor, constant, refuse
from jitgraph.tensor.regions import parameter, shared_captures, traced
from jitgraph.tensor.shared import SharedVariable, latest, made_since


@dataclass(frozen=True, slots=True)
class until:  # noqa: N801  (the name programs use)
    """Given back by the function of a scan: stop after the step in which the condition holds."""

    condition: Any


@dataclass(slots=True)
class _Sequence:
    """An array walked along its leading axis, read at several places of it in each step."""

    array: Value
    taps: tuple[int, ...]

    @property
    def first(self) -> int:
        return min(0, *self.taps)

    @property
    def span(self) -> int:
        """How many rows more than steps the taps need."""
        return max(0, *self.taps) - self.first

    def length(self) -> Size:
        rows = dim(self.array, 0)
        return rows - self.span if self.span else rows

    def rows(self, tap: int, steps: Size, backwards: bool) -> Value:
        """The row of each step for one tap."""
        start = tap - self.first
        if not backwards:
            whole = start == 0 and steps is dim(self.array, 0)
            return self.array if whole else slice_axis(self.array, 0, start, steps)
        last = dim(self.array, 0) - 1 - self.span + start
        return slice_(self.array, (0,), (last,), (steps,), (-1,))


@dataclass(slots=True)
class _Output:
    """What a scan gives: carried from step to step if it has taps (all negative)."""

    initial: Value | None = None
    taps: tuple[int, ...] = ()
    #: The values of the last steps, oldest first, as parameters of the step.
    window: list[Value] = field(default_factory=list)

    @property
    def depth(self) -> int:
        return -min(self.taps)

    def starts(self) -> list[Value]:
        """The initial window."""
        assert self.initial is not None
        if self.taps == (-1,):
            return [self.initial]
        return [squeeze(slice_axis(self.initial, 0, k, 1), (0,)) for k in range(self.depth)]


def scan(
    fn: Callable[..., Any],
    sequences: Any = None,
    outputs_info: Any = None,
    non_sequences: Any = None,
    n_steps: Any = None,
    truncate_gradient: int = -1,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
    profile: Any = False,
    allow_gc: Any = None,
    strict: bool = False,
    return_list: bool = False,
) -> tuple[Any, dict[Any, Any]]:
    """Apply `fn` step by step; gives the outputs (rows of all steps) and a dict of updates.

    fn takes, in this order, the rows of the sequences, the former outputs, and the non-sequences;
    it gives the outputs of the step (one or a list), and perhaps updates of shared variables and an
    `until(condition)`, after which the scan ends. Variables it uses otherwise are found.
    sequences: arrays to walk along, or dicts `{"input": x, "taps": [-1, 0, 1]}`. outputs_info: for
    each output None, if no step needs former ones, its initial value, or a dict `{"initial": x,
    "taps": [-2, -1]}`, whose rows are those before the first step. n_steps: else the length of the
    shortest sequence; or, without sequences, as many as it takes until. go_backwards: from the last
    rows to the first. truncate_gradient: a gradient goes back through so many of the last steps, as
    if those before were constant; -1 for all. strict: shared variables must be given as
    non_sequences. mode, profile and allow_gc are accepted for the sake of old programs.
    """
    if truncate_gradient != -1 and truncate_gradient < 1:
        refuse(OptionError(f"truncate_gradient={truncate_gradient}: it must be -1 or positive"))
    walked = [_sequence(s) for s in _listed(sequences)]
    outputs = [_output(o) for o in _listed(outputs_info)]
    others: list[Value] = [as_tensor(v) for v in _listed(non_sequences)]
    made = _Scan(fn, walked, outputs, others, n_steps, go_backwards, name or "scan")
    made.truncate = None if truncate_gradient == -1 else int(truncate_gradient)
    made.strict = strict
    return made.run(return_list)


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, Value | np.ndarray | np.generic | int | float | complex | Mapping):
        return [given]
    return list(given)


def _sequence(given: Any) -> _Sequence:
    taps: Any = (0,)
    if isinstance(given, Mapping):
        taps = given.get("taps") or (0,)
        given = given["input"]
    array = as_tensor(given)
    if not array.ndim:
        refuse(ShapeError(f"{array.describe()} is a scalar: a sequence has rows"), array)
    return _Sequence(array, tuple(taps) if isinstance(taps, list | tuple) else (taps,))


def _output(given: Any) -> _Output:
    if given is None:
        return _Output()
    taps: Any = (-1,)
    if isinstance(given, Mapping):
        if given.get("initial") is None:
            return _Output()
        taps = given.get("taps", (-1,)) or ()
        given = given["initial"]
    taps = tuple(taps) if isinstance(taps, list | tuple) else (taps,)
    if not taps:
        return _Output()
    if any(t >= 0 for t in taps):
        refuse(InputError(f"the taps {list(taps)} of an output must be negative"))
    return _Output(as_tensor(given), taps)


class _Scan:
    """One scan, as it is being built."""

    def __init__(
        self,
        fn: Callable[..., Any],
        sequences: list[_Sequence],
        outputs: list[_Output],
        others: list[Value],
        n_steps: Any,
        backwards: bool,
        name: str,
    ) -> None:
        self.fn, self.sequences, self.outputs = fn, sequences, outputs
        self.others, self.backwards, self.name = others, backwards, name
        self.steps = self._steps(n_steps)
        self.number = parameter(Type(I64), "i")
        self.updates: dict[SharedVariable, Value] = {}
        self.begun = latest()
        self.stop: Value | None = None
        self.truncate: int | None = None
        self.strict = False

    def _steps(self, given: Any) -> Size:
        if given is not None:
            return as_size(given, "n_steps")
        if not self.sequences:
            return UNBOUNDED  # refused when no `until` was found
        lengths = [s.length() for s in self.sequences]
        shortest = lengths[0]
        for length in lengths[1:]:
            shortest = minimum(shortest, length) if length is not shortest else shortest
        return shortest

    def run(self, return_list: bool) -> tuple[Any, dict[Any, Any]]:
        rows = [(s.rows(tap, self.steps, self.backwards), s, tap)
                for s in self.sequences for tap in s.taps]  # fmt: skip
        walked = [row for row, _, _ in rows]
        elements: list[Value] = [
            parameter(w.type.with_shape(w.type.shape[1:]), s.array.name or f"row{k}")
            for k, (w, s, _) in enumerate(rows)
        ]
        results = self._traced(elements)
        for state in made_since(self.begun, [*results, *self.updates.values(), *self._stopping()]):
            if state.default_update is not None:  # a random draw of the step
                self.updates.setdefault(state, state.default_update)
        if self.stop is None and isinstance(self.steps, int) and self.steps == UNBOUNDED:
            refuse(InputError("a scan without sequences needs n_steps, or an until"))
        if not results and not self.updates:
            refuse(InputError("the step gives nothing", hint="return the row of the step"))
        carried = [o for o in self.outputs if o.taps]
        following = self._following(results)
        initial = [v for o in carried for v in o.starts()]
        params = [p for o in carried for p in o.window]
        for shared, new in self.updates.items():
            held = parameter(shared.type, shared.name or "shared")
            initial, params, following = [*initial, shared], [*params, held], [*following, new]
            kept = [*following, *results, *self._stopping()]
            kept = substituted(kept, {shared: held})
            split = len(following)
            following, results = kept[:split], kept[split : split + len(results)]
            self.stop = kept[-1] if self.stop is not None else None
        condition = None
        if self.stop is not None:
            stopped = parameter(Type(BOOL), "stopped")
            initial, params = [*initial, constant(np.False_)], [*params, stopped]
            following = [*following, self.stop]
            condition = [logical_not(stopped)]
        own = [self.number, *params, *elements]
        parts = [traced([*following, *results], own)]
        if condition is not None:
            parts.append(traced(condition, [self.number, *params]))
        captured, joined = shared_captures(*parts)
        given = set(self.others)
        hidden = [v for v in captured if isinstance(v, SharedVariable) and v not in given]
        if self.strict and hidden:
            refuse(InputError("a strict scan uses a shared variable it is not given",
                              hint="name it in non_sequences"), *hidden)  # fmt: skip
        made = items(loop(
            joined[0].function(own, self.name), initial, walked, captured, self.steps,
            truncate=self.truncate,
            condition=None if condition is None
            else joined[1].function([self.number, *params], f"{self.name}_goes_on"),
        ))  # fmt: skip
        return self._given_back(made, len(initial), return_list)

    def _stopping(self) -> list[Value]:
        return [] if self.stop is None else [self.stop]

    def _traced(self, elements: list[Value]) -> list[Value]:
        """What a step gives, in the dtypes and shapes that the next step can take."""
        for output in self.outputs:
            if output.taps:
                like = output.starts()[0].type
                output.window = [parameter(like, f"former{k}") for k in range(output.depth)]
        given = [o.window[tap + o.depth] for o in self.outputs if o.taps for tap in o.taps]
        results = self._separated(self.fn(*elements, *given, *self.others))
        if not self.outputs:
            self.outputs = [_Output() for _ in results]
        if len(results) != len(self.outputs):
            refuse(InputError(f"the step gives {len(results)} outputs, outputs_info has "
                              f"{len(self.outputs)}"))  # fmt: skip
        for k, (output, result) in enumerate(zip(self.outputs, results, strict=True)):
            if output.taps:
                results[k] = self._fitting(output, result)
        return results

    def _fitting(self, output: _Output, result: Value) -> Value:
        former = output.window[0]
        if result.ndim != former.ndim:
            refuse(ShapeError(
                f"an output starts as {former.type}, and the step gives {result.type}: the ranks "
                "differ"
            ), result)  # fmt: skip
        if not np.can_cast(result.dtype, former.dtype, "safe"):
            refuse(InputError(
                f"an output starts as {former.type}, and the step gives {result.type}",
                hint=f"start with dtype {result.dtype}",
            ), result)  # fmt: skip
        return cast(result, former.dtype)  # type: ignore[no-any-return]

    def _separated(self, given: Any) -> list[Value]:
        """The outputs among what the step's function gives; updates and `until` are kept."""
        parts = list(given) if isinstance(given, tuple) else [given]
        outputs: list[Any] = []
        for part in parts:
            if isinstance(part, until):
                self.stop = cast(as_tensor(part.condition), BOOL)
            elif isinstance(part, Mapping):
                self._keep_updates(part.items())
            elif _is_pairs(part):
                self._keep_updates(part)
            elif isinstance(part, list | tuple):
                outputs += part
            elif part is not None:
                outputs.append(part)
        return [as_tensor(o) for o in outputs]

    def _keep_updates(self, pairs: Any) -> None:
        for shared, new in pairs:
            if not isinstance(shared, SharedVariable):
                refuse(InputError(f"{shared!r} cannot be updated: it is not a shared variable"))
            self.updates[shared] = cast(as_tensor(new), shared.dtype)

    def _following(self, results: Sequence[Value]) -> list[Value]:
        """The next window of each output that is carried."""
        following: list[Value] = []
        for output, result in zip(self.outputs, results, strict=True):
            if output.taps:
                following += [*output.window[1:], result]
        return following

    def _given_back(
        self, made: Sequence[Value], carried: int, return_list: bool
    ) -> tuple[Any, dict[Any, Any]]:
        windows = sum(o.depth for o in self.outputs if o.taps)
        updates = dict(zip(self.updates, made[windows : windows + len(self.updates)], strict=True))
        for state, last in updates.items():
            if state.serial > self.begun and state.default_update is not None:
                state.default_update = last
        rows = list(made[carried:-1])
        if len(rows) == 1 and not return_list:
            return rows[0], updates
        return (rows or None), updates


def _is_pairs(part: Any) -> bool:
    return isinstance(part, list | tuple) and bool(part) and all(
        isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], SharedVariable) for p in part
    )


# --- what is made of scan ----------------------------------------------------------------------
def map(
    fn: Callable[..., Any],
    sequences: Any,
    non_sequences: Any = None,
    truncate_gradient: int = -1,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """`fn` of every row of the sequences, joined; and the updates."""
    return scan(fn, sequences, None, non_sequences, None, truncate_gradient, go_backwards, mode,
                name)  # fmt: skip


def reduce(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """The last output of `fn(row, former, ...)` over the rows; and the updates."""
    rows, updates = scan(fn, sequences, outputs_info, non_sequences, None, -1, go_backwards, mode,
                         name)  # fmt: skip
    if isinstance(rows, list):
        return [row[-1] for row in rows], updates
    return rows[-1], updates


def foldl(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """`reduce` from the first row to the last."""
    return reduce(fn, sequences, outputs_info, non_sequences, False, mode, name)


def foldr(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, dict[Any, Any]]:
    """`reduce` from the last row to the first."""
    return reduce(fn, sequences, outputs_info, non_sequences, True, mode, name)
