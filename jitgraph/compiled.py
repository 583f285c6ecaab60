"""Compiled functions as the user holds them: calls, variants, coercion of inputs, errors.

The fast path is native code that never comes here. Arguments it does not take as they are (lists,
other dtypes, keywords, another layout) are coerced or refused here and handed to a native variant.
"""

from __future__ import annotations

import inspect
import keyword
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph.driver import Compilation, Interface, Layout
from jitgraph.errors import (
    DTypeError,
    InputError,
    InternalError,
    JitgraphError,
    LinAlgError,
    Operand,
    OptionError,
    ShapeError,
    UpdateError,
)
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.order import order_of
from jitgraph.ir.types import DTYPE_NAMES, Dim, Extent, can_cast, kind_of
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.runtime.callable import make_callable_type, set_entry
from jitgraph.tensor.shared import SharedVariable

if TYPE_CHECKING:
    from jitgraph.profiling import Profile
    from jitgraph.runtime.variant import Variant

STAGES = ("graph", "optimised", "schedule", "llvm", "asm")


#: What a variant returns for arguments it was not made for.
REFUSED = object()
#: How often a call looks for its variant anew while shared variables change their shapes.
RETRIES = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """A program as `function` understood it. Parameters are the inputs, then the shared variables;
    results are the outputs, then the new values of `updated`."""

    function: Function
    inputs: tuple[Value, ...]
    shared: tuple[SharedVariable, ...]
    updated: tuple[SharedVariable, ...]
    single: bool
    nothing: bool
    algebra: str
    allow_input_downcast: bool | None
    #: Which numbers each input takes (`runtime.variant`); any where it does not say.
    numbers: tuple[str, ...] = ()

    def interface(self) -> Interface:
        outputs = len(self.function.results) - len(self.updated)
        return Interface(
            (*(None for _ in self.inputs), *(s.slots.address for s in self.shared)),
            (*(None for _ in range(outputs)), *(s.slots.address for s in self.updated)),
            self.single,
            self.nothing,
        )


@dataclass(slots=True)
class State:
    """What belongs to one compiled function besides its entry point."""

    plan: Plan
    compilations: dict[Layout, Compilation] = field(default_factory=dict)
    #: The variants in the order in which a call tries them.
    variants: list[Variant] = field(default_factory=list)
    #: Calls the variants like the function itself, but returns `REFUSED` if none of them fits.
    native: Any = None
    lock: threading.RLock = field(default_factory=threading.RLock)


class _Methods:
    """A compiled function. Call it with arrays, numbers or lists, by position or by name; look
    inside with `dump()`."""

    _state: State

    @property
    def name(self) -> str:
        return self._state.plan.function.name

    @property
    def compilation(self) -> Compilation:
        """The stages of the variant compiled first."""
        return next(iter(self._state.compilations.values()))

    def dump(self, stage: str = "all") -> str:
        """The text of a stage: graph, optimised, schedule, llvm, asm, or all of them."""
        return dump_stage(self.compilation, stage)

    def profile(self, *args: Any, **kwargs: Any) -> Profile:
        """Run the program for a while with these inputs, and report what each of its steps costs:
        see `jitgraph.profiling`. Shared variables stay as they are."""
        from jitgraph.profiling import profile

        plan = self._state.plan
        arrays = coerced(plan, _by_input(plan, args, kwargs))
        layout = layout_of(plan, arrays)
        inputs = [*arrays, *map(_intact, plan.shared)]
        return profile(plan.function, layout, inputs, plan.algebra, partial(explain, plan))

    @property
    def __signature__(self) -> inspect.Signature:
        """The inputs, for help() and notebooks: those without a usable name are arg0, arg1, ..."""
        seen: dict[str, None] = {}
        for k, param in enumerate(self._state.plan.inputs):
            name = param.name or ""
            usable = name.isidentifier() and not keyword.iskeyword(name) and name not in seen
            seen[name if usable else f"arg{k}"] = None
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(name, kind) for name in seen])

    def __repr__(self) -> str:
        plan = self._state.plan
        takes = ", ".join(f"{i.describe()}: {i.type}" for i in plan.inputs)
        results = plan.function.results[: len(plan.function.results) - len(plan.updated)]
        gives = ", ".join(str(r.type) for r in results)
        updates = f", updates {', '.join(u.describe() for u in plan.updated)}" * bool(plan.updated)
        return f"<compiled {self.name}({takes}) -> {gives or 'None'}{updates}>"

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(repr(self))}\n\n{html.escape(self.dump('optimised'))}</pre>"

    def _slow(self, *args: Any, **kwargs: Any) -> Any:
        """Everything the native entry does not take as it is."""
        state = self._state
        given = _by_input(state.plan, args, kwargs)
        if kwargs and (result := state.native(*given)) is not REFUSED:
            return result
        arrays = coerced(state.plan, given)
        for _ in range(RETRIES):
            compile_variant(state, layout_of(state.plan, arrays))
            # Refused: another thread gave a shared variable another shape in between.
            if (result := state.native(*arrays)) is not REFUSED:
                return result
        raise InternalError(f"{self.name} refuses arguments that were made to fit it")

    def _fail(self, code: int, *args: Any) -> Any:
        """The native program stopped: the interpreter, given the same inputs, will say why."""
        plan = self._state.plan
        inputs = coerced(plan, args)
        explain(plan, code, *inputs, *(s.slots.get() for s in plan.shared))
        from jitgraph.codegen.signature import ROUTINE_FAILED

        if code >= ROUTINE_FAILED:  # by rounding alone: the interpreter's operands differ a little
            raise LinAlgError(
                f"{self.name}: a matrix is singular, not positive definite, or does not converge"
            )
        if plan.shared:  # another thread may have set a value that fits in the meantime
            return self._slow(*args)
        raise InternalError(f"{self.name} failed its check {code}, and the interpreter did not")


def explain(plan: Plan, code: int, *inputs: Any) -> None:
    """Raise why a program stopped that was given these arrays, one per parameter."""
    if code == -2:
        raise MemoryError(f"{plan.function.name}: no memory for temporaries")
    interpreter.run(plan.function, inputs)


def refuse_all(*args: Any, **kwargs: Any) -> object:
    """What is called with arguments that no variant was made for."""
    return REFUSED


def compile_variant(state: State, layout: Layout) -> None:
    """Make sure that there is a variant for the layout."""
    from jitgraph.runtime.variant import Variant

    with state.lock:
        if layout in state.compilations:
            return
        plan = state.plan
        made = Compilation(plan.function, layout, plan.interface(), plan.algebra)
        variant = Variant(
            made.code,
            made.signature.params,
            made.signature.outputs,
            equal_extents=made.equal_extents,
            single=plan.single,
            nothing=plan.nothing,
            numbers=plan.numbers,
        )
        if state.variants:
            state.variants[-1].append(variant, state.variants)
        state.compilations[layout] = made
        state.variants.append(variant)


CompiledFunction = make_callable_type("CompiledFunction", _Methods)


class _NativeMethods:
    """The variants of a function, without its slow path."""


Native = make_callable_type("Native", _NativeMethods)


def compiled_function(plan: Plan, layout: Layout) -> Any:
    """The callable for a plan, its first variant compiled."""
    from jitgraph.runtime.variant import ENTRY

    made = CompiledFunction()
    state = made._state = State(plan)
    compile_variant(state, layout)
    first = state.variants[0].address
    state.native = Native()
    owned = (plan, state.variants)
    set_entry(state.native, ENTRY, first, refuse_all, made._fail, owned)
    set_entry(made, ENTRY, first, made._slow, made._fail, owned)
    return made


def dump_stage(compilation: Compilation, stage: str) -> str:
    """The text of one stage of a compilation, or of all."""
    from jitgraph.ir.schedule_text import print_program

    texts = {
        "graph": lambda: str(compilation.graph),
        "optimised": lambda: str(compilation.optimised),
        "schedule": lambda: print_program(compilation.program),
        "llvm": lambda: compilation.llvm,
        "asm": lambda: compilation.assembly,
    }
    if stage == "all":
        return "\n\n".join(f"// ---- {name}\n{texts[name]()}" for name in STAGES)
    if stage not in texts:
        raise OptionError(f"there is no stage {stage!r}", hint=f"one of: {', '.join(STAGES)}, all")
    return texts[stage]()


# --- inputs ------------------------------------------------------------------------------------
def coerced(plan: Plan, given: Sequence[Any]) -> list[Any]:
    """One array per input; raises InputError, DTypeError or ShapeError."""
    return [_as_input(p, v, plan.allow_input_downcast) for p, v in
            zip(plan.inputs, given, strict=True)]  # fmt: skip


def _by_input(plan: Plan, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    inputs = plan.inputs
    if len(args) > len(inputs):
        raise _wrong_call(plan, f"{len(args)} inputs given, {len(inputs)} wanted")
    if len(args) == len(inputs) and not kwargs:
        return list(args)
    values: dict[Value, Any] = dict(zip(inputs, args, strict=False))
    by_name = {p.name: p for p in inputs if p.name}
    for name, value in kwargs.items():
        if name not in by_name:
            raise _wrong_call(plan, f"there is no input named {name!r}")
        if by_name[name] in values:
            raise _wrong_call(plan, f"the input {name!r} is given twice")
        values[by_name[name]] = value
    missing = [p.describe() for p in inputs if p not in values]
    if missing:
        plural = "s" * (len(missing) > 1)
        raise _wrong_call(plan, f"missing input{plural}: {', '.join(missing)}")
    return [values[p] for p in inputs]


def _wrong_call(plan: Plan, message: str) -> InputError:
    known = ", ".join(f"{p.describe()}: {p.type}" for p in plan.inputs) or "none"
    hint = f"inputs of {plan.function.name}: {known}"
    return InputError(message, hint=hint, location=caller_location())


def _as_input(param: Value, value: Any, downcast: bool | None) -> Any:
    type_ = param.type
    if isinstance(value, Value):
        raise InputError(
            f"input {param.describe()} was given the symbolic {value!r}",
            hint="call with arrays; to substitute an expression use givens=",
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"input {param.describe()}: {error}", location=caller_location()
        ) from None
    typed = isinstance(value, np.ndarray | np.generic)
    if array.dtype != type_.dtype:
        array = _converted(param, array, typed, downcast)
    if array.ndim != type_.rank:
        raise _refused(param, ShapeError(
            f"input {param.describe()} is {type_}, and was given an array of shape {array.shape}",
            hint=f"pass an array of rank {type_.rank}",
        ))  # fmt: skip
    for axis, (known, size) in enumerate(zip(type_.shape, array.shape, strict=True)):
        if isinstance(known, int) and known != size:
            raise _refused(param, ShapeError(
                f"input {param.describe()} is {type_}, and was given an array of shape "
                f"{array.shape} (dimension {axis}: {size} is not {known})",
            ))  # fmt: skip
    # Exact arrays in native byte order: the native entry takes nothing else.
    return np.asarray(np.require(array, dtype=type_.dtype, requirements=["A", "E"]))


def _converted(param: Value, array: Any, typed: bool, downcast: bool | None) -> Any:
    have, want = array.dtype, param.dtype
    if kind_of(have) not in "biufc":
        raise _refused(param, DTypeError(
            f"input {param.describe()} is {param.type}, and was given {have}",
            hint="pass an array of numbers",
        ))  # fmt: skip
    if can_cast(have, want, "safe") or (downcast and can_cast(have, want, "same_kind")):
        return array.astype(want)
    if not typed:
        if (kind_of(want) in "fc" and kind_of(have) in "biuf") or have.kind == want.kind == "c":
            return array.astype(want)
        whole = have.kind in "biu" and want.kind in "iu"
        if whole and np.array_equal(adapted := array.astype(want), array):
            return adapted
    hint = f"pass x.astype({str(want)!r})" if typed else f"pass numbers that fit into {want}"
    if typed and can_cast(have, want, "same_kind"):
        hint += ", or build with allow_input_downcast=True"
    raise _refused(param, DTypeError(
        f"input {param.describe()} is {DTYPE_NAMES[want]}, and was given {have}: "
        "the conversion could lose information",
        hint=hint,
    ))  # fmt: skip


def _refused(param: Value, error: JitgraphError) -> JitgraphError:
    """The error at the line of the call, with the input and the line that made it."""
    operand = Operand(param.describe(), str(param.type), param.location)
    return error.locate(caller_location(), [operand])


def layout_of(plan: Plan, arrays: Sequence[Any], *, coordinates: int = 1) -> Layout:
    """The variant these inputs, and the shared variables as they are, belong to. Last axes of up to
    `coordinates` elements (those of points in space) are compiled for their extent."""
    everything = [*arrays, *map(_intact, plan.shared)]
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


def _intact(shared: SharedVariable) -> Any:
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
                    raise _refused(param, ShapeError(
                        f"extent {dim.name} is {known} in {first.describe()} and {size} in "
                        f"{param.describe()}",
                    ))  # fmt: skip
