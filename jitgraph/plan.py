"""What `function` has understood of a program, and how calls fit it: coercion, layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jitgraph import inputs
from jitgraph.config import EXACT, Products
from jitgraph.driver import Interface, Layout, default_layout
from jitgraph.errors import ShapeError, UpdateError
from jitgraph.inputs import Argument, refused
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.ops.opaque import reraise
from jitgraph.ir.order import order_of
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import Dim, Extent
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.tensor.shared import SharedVariable


@dataclass(frozen=True, slots=True)
class Plan:
    """A program as `function` understood it. Parameters are the inputs, then the shared variables;
    results are the outputs, then the new values of `updated`."""

    function: Function
    arguments: tuple[Argument, ...]
    shared: tuple[SharedVariable, ...]
    updated: tuple[SharedVariable, ...]
    single: bool
    nothing: bool
    algebra: str
    #: Which numbers each input takes (`runtime.variant`); any where it does not say.
    numbers: tuple[str, ...] = ()
    #: The names of the outputs, where a call returns a dict.
    keys: tuple[str, ...] | None = None
    #: See `modes`.
    mode: str = "native"
    #: Where it computes.
    device: str = "cpu"
    #: How it multiplies matrices there.
    products: Products = EXACT

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.function.params[: len(self.arguments)]

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.function.results[: len(self.function.results) - len(self.updated)]

    def interface(self) -> Interface:
        return Interface(
            (*(None for _ in self.arguments), *(s.slots.address for s in self.shared)),
            (*(None for _ in self.outputs), *(s.slots.address for s in self.updated)),
            self.single,
            self.nothing,
        )


def expected_layout(plan: Plan) -> Layout:
    """The variant to compile before a call is seen."""
    extents: list[list[int | None]] = [[None] * p.ndim for p in plan.inputs]
    extents += [list(s.slots.get().shape) for s in plan.shared]
    return default_layout(plan.function, extents)


def explain(plan: Plan, code: int, *inputs: Any) -> None:
    """Raise why a program stopped that was given these arrays, one per parameter."""
    reraise()
    if code == -2:
        raise MemoryError(f"{plan.function.name}: no memory for temporaries")
    interpreter.run(plan.function, inputs)


# --- calls --------------------------------------------------------------------------------------
def coerced(plan: Plan, given: Sequence[Any]) -> list[Any]:
    """One array per input; raises InputError, DTypeError or ShapeError."""
    return inputs.coerced(plan.arguments, given)


def layout_of(plan: Plan, arrays: Sequence[Any], *, coordinates: int = 1) -> Layout:
    """The variant these inputs, and the shared variables as they are, belong to. Last axes of up to
    `coordinates` elements (those of points in space) are compiled for their extent."""
    everything = [*arrays, *map(intact, plan.shared)]
    _check_named(plan, everything)
    fixed = tuple(
        tuple(_fixed(size, known, coordinates if 0 < axis == a.ndim - 1 else 1)
              for axis, (size, known) in enumerate(zip(a.shape, p.type.shape, strict=True)))
        for a, p in zip(everything, plan.function.params, strict=True)
    )  # fmt: skip
    return Layout(tuple(map(order_of, everything)), fixed)


def _fixed(size: int, known: Dim, most: int) -> int:
    """The extent an axis is compiled for, or 0. One that bears a name is the same as others."""
    if isinstance(known, int) or (size != 1 and known is not None):
        return 0
    return size if size <= most else 0


def intact(shared: SharedVariable) -> Any:
    """The value of a shared variable, which a borrower may have turned into something else."""
    array = shared.slots.get()
    if array.dtype != shared.dtype or array.ndim != shared.ndim:
        raise UpdateError(
            f"{shared.describe()} is {shared.type}, and its array was changed in place to "
            f"{array.dtype} of shape {array.shape}",
            hint="give it a new value with set_value()",
            location=caller_location(),
        )
    return array


def _check_named(plan: Plan, arrays: Sequence[Any]) -> None:
    """Extents of one name must be equal."""
    seen: dict[str, tuple[Value, int]] = {}
    for param, array in zip(plan.function.params, arrays, strict=True):
        for dim, size in zip(param.type.shape, array.shape, strict=True):
            if isinstance(dim, Extent):
                first, known = seen.setdefault(dim.name, (param, size))
                if known != size:
                    raise refused(param, ShapeError(
                        f"extent {dim.name} is {known} in {first.describe()} and {size} in "
                        f"{param.describe()}",
                    ))  # fmt: skip


# --- copies -------------------------------------------------------------------------------------
def checked_swap(
    plan: Plan, swap: Mapping[SharedVariable, SharedVariable]
) -> dict[Value, SharedVariable]:
    """What to take for what. Raises UpdateError."""
    checked: dict[Value, SharedVariable] = {}
    for old, new in swap.items():
        checked[old] = new
        if old not in {*plan.shared, *plan.updated}:
            known = ", ".join(s.describe() for s in plan.shared) or "none"
            name = old.describe() if isinstance(old, Value) else repr(old)
            raise UpdateError(f"{plan.function.name} has no shared variable {name} to swap",
                              hint=f"it has: {known}", location=caller_location())  # fmt: skip
        if not isinstance(new, SharedVariable) or not old.type.accepts(new.type):
            raise UpdateError(
                f"{old.describe()} is {old.type} and shared, and cannot be swapped for {new!r}",
                hint="swap it for a shared variable of the same dtype and rank",
                location=caller_location(),
            )
    return checked


def with_exchanged(
    plan: Plan, exchanged: Mapping[Value, SharedVariable], without_updates: bool, name: str
) -> Plan:
    """The plan over other shared variables."""
    updated = () if without_updates else tuple(exchanged.get(s, s) for s in plan.updated)
    if len(set(updated)) < len(updated):
        raise UpdateError("swap gives two shared variables one replacement, and both are updated",
                          location=caller_location())  # fmt: skip
    results = plan.function.results[: len(plan.outputs) + len(updated)]
    shared = tuple(dict.fromkeys(exchanged.get(s, s) for s in plan.shared))
    fn = Function((*plan.inputs, *shared), substituted(results, exchanged), name=name)
    arguments = tuple(
        a if a.default is None else replace(a, default=exchanged[a.default]) for a in plan.arguments
    )
    return replace(plan, function=fn, arguments=arguments, shared=shared, updated=updated)
