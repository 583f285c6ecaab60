"""Compiled functions as the user holds them: calls, variants, coercion of inputs, errors.

The fast path is native code that never comes here. Arguments it does not take as they are (lists,
other dtypes, keywords, another layout) are coerced or refused here and handed to a native variant.
"""

from __future__ import annotations

import inspect
import keyword
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph import inputs, modes
from jitgraph.config import EXACT, Products
from jitgraph.driver import Compilation, Interface, Layout, default_layout
from jitgraph.errors import (
    InputError,
    InternalError,
    LinAlgError,
    OptionError,
    ShapeError,
    UpdateError,
)
from jitgraph.inputs import Argument, arguments_for, by_input, refused
from jitgraph.ir import interpreter
from jitgraph.ir.function import Function
from jitgraph.ir.ops.opaque import is_opaque, reraise
from jitgraph.ir.order import order_of
from jitgraph.ir.printer import print_function
from jitgraph.ir.substitution import substituted, without_rules
from jitgraph.ir.types import Dim, Extent
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.runtime.callable import make_callable_type, set_entry
from jitgraph.tensor.shared import SharedVariable

if TYPE_CHECKING:
    from jitgraph.profiling import Profile
    from jitgraph.runtime.variant import Variant
    from jitgraph.transfer import Gate

STAGES = ("graph", "optimised", "schedule", "llvm", "asm")
#: Those that only programs for a device have.
DEVICE_STAGES = ("ptx", "sass")
#: What a variant returns for arguments it was not made for.
REFUSED = object()
#: The version of what a pickle of a compiled function holds.
FORMAT = 2
#: How often a call looks for its variant anew while shared variables change their shapes.
RETRIES = 100


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


@dataclass(slots=True)
class State:
    """What belongs to one compiled function besides its entry point."""

    plan: Plan
    #: The optimised functions of variants, as text, where they are known without being made.
    texts: dict[Layout, str] = field(default_factory=dict)
    compilations: dict[Layout, Compilation] = field(default_factory=dict)
    #: The variants in the order in which a call tries them.
    variants: list[Variant] = field(default_factory=list)
    #: Calls the variants like the function itself, but returns `REFUSED` if none of them fits.
    native: Any = None
    #: Native functions of the regions of a program that is checked step by step.
    regions: dict[Function, Any] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    #: Of a function on a device.
    gate: Gate | None = None


class _Methods:
    """A compiled function. Call it with arrays, numbers or lists, by position or by name; look
    inside with `dump()`.

    `f[variable]` is the value of a shared variable, or the default of an input, by variable or by
    name; it can be set. Pickles and deep copies have shared variables of their own, or share them
    with what else is in the same pickle.
    """

    _state: State

    @property
    def name(self) -> str:
        return self._state.plan.function.name

    @property
    def compilation(self) -> Compilation:
        """The stages of the variant compiled first."""
        state = self._state
        if not state.compilations:
            compile_variant(state, next(iter(state.texts), None) or expected_layout(state.plan))
            self._go_native()
        return next(iter(state.compilations.values()))

    def dump(self, stage: str = "all") -> str:
        """The text of a stage: graph, optimised, schedule, llvm, asm, ptx and sass (GPUs), all."""
        return dump_stage(self.compilation, stage)

    def profile(self, *args: Any, **kwargs: Any) -> Profile:
        """Run the program for a while with these inputs, and report what each of its steps costs:
        see `jitgraph.profiling`. Shared variables stay as they are."""
        plan = self._state.plan
        arrays = coerced(plan, by_input(self.name, plan.arguments, args, kwargs))
        return profiled(plan, layout_of(plan, arrays), arrays)

    @property
    def __signature__(self) -> inspect.Signature:
        """The inputs, for help() and notebooks: those without a usable name are arg0, arg1, ..."""
        seen: dict[str, Argument] = {}
        for k, argument in enumerate(self._state.plan.arguments):
            name = argument.keyword or ""
            usable = name.isidentifier() and not keyword.iskeyword(name) and name not in seen
            seen[name if usable else f"arg{k}"] = argument
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters: list[inspect.Parameter] = []
        optional = True  # Python has no argument that must be given after one that may be left out
        for name, argument in reversed(seen.items()):
            optional = optional and argument.default is not None
            default: Any = inspect.Parameter.empty
            if argument.default is not None and optional:
                default = argument.default.get_value()
            parameters.append(inspect.Parameter(name, kind, default=default))
        return inspect.Signature(parameters[::-1])

    # --- values ---------------------------------------------------------------------------------
    def _holder(self, key: Any) -> SharedVariable:
        """What holds the value of an input with a default, or of a shared variable."""
        plan = self._state.plan
        holders: dict[Any, SharedVariable] = {}
        for held in (*plan.shared, *plan.updated):
            holders |= {held.name: held, held: held}
        for argument in plan.arguments:
            if argument.default is not None:
                names = (argument.keyword, argument.variable)
                holders |= dict.fromkeys(names, argument.default)
        if key is None or key not in holders:
            known = ", ".join(sorted(k for k in holders if isinstance(k, str))) or "none"
            raise InputError(f"{self.name} holds no value of {key!r}", hint=f"it holds: {known}")
        return holders[key]

    def __getitem__(self, key: Any) -> Any:
        return self._holder(key).get_value()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._holder(key).set_value(value)

    # --- copies ---------------------------------------------------------------------------------
    def copy(
        self,
        share_memory: bool = False,
        swap: Mapping[SharedVariable, SharedVariable] | None = None,
        delete_updates: bool = False,
        name: str | None = None,
    ) -> Any:
        """Another function of the same program. It reads and updates the same shared variables but
        for those that `swap` replaces (`{old: new}`), and none with `delete_updates`. What inputs
        start with is its own. No memory is shared besides, so `share_memory` changes nothing.

        Raises UpdateError for a swap of what the function does not use, or for another type.
        """
        plan = self._state.plan
        exchanged = _checked_swap(plan, swap or {})
        for argument in plan.arguments:
            if (held := argument.default) is not None:
                exchanged[held] = SharedVariable(held.get_value(), held.name)
        return dormant(_with_exchanged(plan, exchanged, delete_updates, name or self.name))

    def __copy__(self) -> Any:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        state, plan = self._state, self._state.plan
        with state.lock:
            if not is_opaque(plan.function):
                for layout, made in state.compilations.items():
                    if layout not in state.texts:
                        state.texts[layout] = print_function(made.optimised, locations=True)
            texts = dict(state.texts)
        return _restored, (FORMAT, replace(plan, function=without_rules(plan.function)), texts)

    # --- looking inside -------------------------------------------------------------------------
    def __repr__(self) -> str:
        plan = self._state.plan
        takes = ", ".join(f"{i.describe()}: {i.type}" for i in plan.inputs)
        gives = ", ".join(str(r.type) for r in plan.outputs)
        updates = f", updates {', '.join(u.describe() for u in plan.updated)}" * bool(plan.updated)
        where = f", on {plan.device}" * (plan.device != "cpu")
        return f"<compiled {self.name}({takes}) -> {gives or 'None'}{updates}{where}>"

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(repr(self))}\n\n{html.escape(self.dump('optimised'))}</pre>"

    def _slow(self, *args: Any, **kwargs: Any) -> Any:
        """Everything the native entry does not take as it is."""
        state, arguments = self._state, self._state.plan.arguments
        given = by_input(self.name, arguments, args, kwargs)
        as_they_are = len(given) > len(args) and not any(a.particular for a in arguments)
        if as_they_are and state.native is not None:
            result = state.native(*given)
            if result is not REFUSED:
                return result
        return self._tried(coerced(state.plan, given))

    def _transferred(self, values: Sequence[Any]) -> Any:
        """Call the native program of a device with values of its inputs; a `DeviceArray`, a list of
        such, or None."""
        state = self._state
        if (gate := state.gate) is None:
            from jitgraph.transfer import Gate

            gate = state.gate = Gate(state.plan.device, state.plan.arguments)
        headers = gate.headers(values)
        result = REFUSED if state.native is None else state.native(*headers)
        return gate.results(self._tried(headers) if result is REFUSED else result)

    def _tried(self, arrays: Sequence[Any]) -> Any:
        """Call the variant for arrays that the inputs take."""
        state = self._state
        for _ in range(RETRIES):
            compile_variant(state, layout_of(state.plan, arrays))
            if state.native is None:
                self._go_native()
            # Refused: another thread gave a shared variable another shape in between.
            if (result := state.native(*arrays)) is not REFUSED:
                return result
        raise InternalError(f"{self.name} refuses arguments that were made to fit it")

    def _go_native(self) -> None:
        """Let calls find the variants, once there is one."""
        from jitgraph.runtime.variant import ENTRY

        state = self._state
        with state.lock:
            if state.native is not None:
                return
            first = state.variants[0].address
            native = Native()
            owned = (state.plan, state.variants)
            set_entry(native, ENTRY, first, refuse_all, self._fail, owned)
            state.native = native
        self._enter()

    def _enter(self) -> None:
        """Make calls native ones; the slow path is that of the class."""
        from jitgraph.runtime.variant import ENTRY

        state = self._state
        owned = (state.plan, state.variants)
        set_entry(self, ENTRY, state.variants[0].address, self._slow, self._fail, owned)
        if isinstance(self, _Dormant):
            self.__class__ = self.awake

    def _fail(self, code: int, *args: Any) -> Any:
        """The native program stopped: the interpreter, given the same inputs, will say why."""
        plan = self._state.plan
        inputs = coerced(plan, args)
        explain(plan, code, *inputs, *(s.slots.host() for s in plan.shared))
        error = self._unexplained(code)
        if plan.shared and isinstance(error, InternalError):
            # Another thread may have set a value that fits in the meantime.
            return self._slow(*args)
        raise error

    def _unexplained(self, code: int) -> Exception:
        """What native code fails with where the interpreter does not."""
        from jitgraph.codegen.signature import ROUTINE_FAILED

        if code >= ROUTINE_FAILED:  # by rounding alone: the interpreter's operands differ a little
            return LinAlgError(
                f"{self.name}: a matrix is singular, not positive definite, or does not converge"
            )
        return InternalError(f"{self.name} failed its check {code}, and the interpreter did not")


def explain(plan: Plan, code: int, *inputs: Any) -> None:
    """Raise why a program stopped that was given these arrays, one per parameter."""
    reraise()
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
        made = Compilation(plan.function, layout, plan.interface(), plan.algebra, plan.device,
                           products=plan.products, text=state.texts.get(layout))  # fmt: skip
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


class _Dormant(CompiledFunction):  # type: ignore[misc, valid-type]
    """One that has no native program yet: its first call finds or compiles it."""

    #: What it is from then on.
    awake: type[Any] = CompiledFunction

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._slow(*args, **kwargs)


class _Named(CompiledFunction):  # type: ignore[misc, valid-type]
    """One whose outputs have names."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = self._state
        native = state.native
        results: Any = REFUSED if native is None else native(*args, **kwargs)
        if results is REFUSED:
            results = self._slow(*args, **kwargs)
        return dict(zip(state.plan.keys, results, strict=True))


class _OnDevice(CompiledFunction):  # type: ignore[misc, valid-type]
    """One that computes on a device: it takes arrays of the host or the device, gives arrays of the
    device, and returns before they are there."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plan = self._state.plan
        if kwargs or len(args) != len(plan.arguments):
            args = tuple(by_input(self.name, plan.arguments, args, kwargs))
        found = self._transferred(args)
        return found if plan.keys is None else dict(zip(plan.keys, found, strict=True))

    def _fail(self, code: int, *args: Any) -> Any:
        plan, gate = self._state.plan, self._state.gate
        assert gate is not None  # it was called
        gate.device.check()
        inputs = coerced(plan, [gate.on_host(a) for a in args])
        explain(plan, code, *inputs, *(s.slots.host() for s in plan.shared))
        raise self._unexplained(code)


class _Watched(CompiledFunction):  # type: ignore[misc, valid-type]
    """One that runs in the interpreter, or there as well."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plan = self._state.plan
        arrays = coerced(plan, by_input(self.name, plan.arguments, args, kwargs))
        given = [*arrays, *(s.slots.host() for s in plan.shared if _intact(s) is not None)]
        results = modes.interpreted(plan.mode, plan.function, given, self._region)
        outputs, news = results[: len(plan.outputs)], results[len(plan.outputs) :]
        if plan.mode == "checked":
            native = self._tried(arrays) if plan.device == "cpu" else self._transferred(arrays)
            found = [native] if plan.single else native or []
            after = [*map(np.asarray, found), *(s.slots.host() for s in plan.updated)]
            modes.compare(plan.function, after, results)
            outputs = found
        else:
            for shared, new in zip(plan.updated, news, strict=True):
                shared.slots.set(new)
        if plan.keys is not None:
            return dict(zip(plan.keys, outputs, strict=True))
        return outputs[0] if plan.single else None if plan.nothing else outputs

    def _region(self, region: Function, given: Sequence[Any]) -> Sequence[Any]:
        """What native code makes of one step of a loop, or of a branch."""
        state = self._state
        if region not in state.regions:
            plan = replace(state.plan, function=region, arguments=arguments_for(region.params),
                           shared=(), updated=(), single=False, nothing=not region.results,
                           numbers=(), keys=None, mode="native")  # fmt: skip
            state.regions[region] = dormant(plan)
        return [*map(np.asarray, state.regions[region](*given) or ())]


def profiled(plan: Plan, layout: Layout, arrays: Sequence[Any]) -> Profile:
    """What the steps of a plan's program cost with these inputs."""
    from jitgraph.profiling import profile

    return profile(plan.function, layout, [*arrays, *map(_intact, plan.shared)], plan.algebra,
                   partial(explain, plan), plan.device, plan.products)  # fmt: skip


def compiled_function(plan: Plan, layout: Layout) -> Any:
    """The callable for a plan, its first variant compiled."""
    made = dormant(plan)
    compile_variant(made._state, layout)
    made._go_native()
    return made


def dormant(plan: Plan, texts: dict[Layout, str] | None = None) -> Any:
    """The callable for a plan, which compiles nothing before it is called; `texts` are optimised
    functions by layout."""
    for shared in (*plan.shared, *plan.updated):
        shared.settle(plan.device)
    made = (_Watched() if plan.mode != "native" else _OnDevice() if plan.device != "cpu"
            else _Named() if plan.keys is not None else _Dormant())  # fmt: skip
    made._state = State(plan, texts or {})
    return made


def expected_layout(plan: Plan) -> Layout:
    """The variant to compile before a call is seen."""
    extents: list[list[int | None]] = [[None] * p.ndim for p in plan.inputs]
    extents += [list(s.slots.get().shape) for s in plan.shared]
    return default_layout(plan.function, extents)


# --- copies ------------------------------------------------------------------------------------
def _restored(version: int, plan: Plan, texts: dict[Layout, str]) -> Any:
    """The callable that a pickle holds."""
    if version != FORMAT:
        raise InputError(
            f"the pickle of a compiled function has format {version}, not {FORMAT}",
            hint="load it with the version of jitgraph that wrote it, and keep the program itself",
        )
    return dormant(plan, texts)


def _checked_swap(
    plan: Plan, swap: Mapping[SharedVariable, SharedVariable]
) -> dict[Value, SharedVariable]:
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


def _with_exchanged(
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


def dump_stage(compilation: Compilation, stage: str) -> str:
    """The text of one stage of a compilation, or of all."""
    from jitgraph.ir.schedule_text import print_program

    texts = {
        "graph": lambda: str(compilation.graph),
        "optimised": lambda: str(compilation.optimised),
        "schedule": lambda: print_program(compilation.program),
        "llvm": lambda: compilation.llvm,
        "asm": lambda: compilation.assembly,
        "ptx": lambda: compilation.ptx,
        "sass": lambda: compilation.sass,
    }
    if stage == "all":
        return "\n\n".join(f"// ---- {name}\n{texts[name]()}" for name in STAGES)
    if stage not in texts:
        known = ", ".join((*STAGES, *DEVICE_STAGES))
        raise OptionError(f"there is no stage {stage!r}", hint=f"one of: {known}, all")
    return texts[stage]()


# --- inputs ------------------------------------------------------------------------------------
def coerced(plan: Plan, given: Sequence[Any]) -> list[Any]:
    """One array per input; raises InputError, DTypeError or ShapeError."""
    return inputs.coerced(plan.arguments, given)


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
                    raise refused(param, ShapeError(
                        f"extent {dim.name} is {known} in {first.describe()} and {size} in "
                        f"{param.describe()}",
                    ))  # fmt: skip
