"""`function`: from symbolic inputs, outputs, updates and givens to a native callable."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace as changed
from typing import Any

import numpy as np

from jitgraph.compiled import Plan, compiled_function, dormant, expected_layout
from jitgraph.config import PRECISIONS, Products, config
from jitgraph.errors import DTypeError, InputError, OptionError, ShapeError, UpdateError
from jitgraph.inputs import Argument, In, Out, as_input
from jitgraph.ir.elementwise import cast, symbolic
from jitgraph.ir.function import Function
from jitgraph.ir.substitution import substituted
from jitgraph.ir.values import Value, topological
from jitgraph.location import caller_location
from jitgraph.modes import MODES
from jitgraph.tensor import variable as _variable
from jitgraph.tensor.shared import SharedVariable
from jitgraph.tensor.variable import Variable

#: Constants of more bytes than this are read where they are instead of being copied into the code.
EMBED_LIMIT = 1 << 12

Pairs = Mapping[Any, Any] | Iterable[tuple[Any, Any]]


def function(
    inputs: Sequence[Variable | In],
    outputs: Any = None,
    *,
    updates: Pairs | None = None,
    givens: Pairs | None = None,
    name: str | None = None,
    on_unused_input: str | None = None,
    allow_input_downcast: bool | str | None = None,
    algebra: str | None = None,
    no_default_updates: bool | Sequence[SharedVariable] = False,
    mode: str | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Any:
    """Compile expressions into one native function.

    inputs: the variables the function takes, in order; `In(x, value=1.0)` has a default. outputs:
    an expression (the call returns an array, 0-d for a scalar), a list of them (a list of arrays),
    a dict by name (a dict of arrays), or None. updates: pairs of shared variable and new value, all
    computed from the old ones and stored after the outputs are. givens: pairs of variable and what
    to put in its place. on_unused_input: "raise", "warn" or "ignore". allow_input_downcast: True
    also takes arrays of a wider dtype of the same kind, "unsafe" whatever NumPy's `astype` makes of
    what is given, and False nothing that would lose digits, not even Python's floats. algebra:
    "real" or "ieee", by default `config.algebra`.
    no_default_updates: shared variables that keep their value although they have a default update
    (the states of random variables do), or True for all. mode: "native", or to look for a mistake
    "interpreted", "checked" or "guarded" (`jitgraph.modes`). device: "cpu", "cuda" (a GPU),
    "cuda:1" and so on, or "simulated", by default `config.device`; a function on a device takes
    arrays of the host or of the device, gives `DeviceArray`s, and its shared variables live there.
    precision: "exact", "tf32", "bf16" or "f16", by default `config.precision`, which says what they
    mean for products on a GPU.

    Raises InputError for inputs that are missing, unused, given twice or not variables, UpdateError
    for updates of what is not shared or of another type, and at the call InputError, DTypeError,
    ShapeError and the run-time errors of ops. A failing call changes no shared variable.
    """
    arguments, kept = _declared(inputs, allow_input_downcast)
    keys = _output_names(outputs)
    single = not isinstance(outputs, list | tuple | Mapping) and outputs is not None
    listed = [outputs] if single else list(outputs.values() if keys is not None else outputs or ())
    results = [expression_of(o, "an output") for o in listed]
    pairs = _checked_updates(updates) + kept
    replaced = _checked_givens(givens)
    roots = substituted([*results, *(new for _, new in pairs)], replaced)
    for target, new in default_updates(roots, replaced, dict(pairs), no_default_updates):
        pairs.append((target, new))
        roots.append(new)
    plan = planned(
        arguments, roots, updated=tuple(s for s, _ in pairs), single=single,
        nothing=outputs is None, on_unused_input=on_unused_input or config.on_unused_input,
        algebra=algebra, name=name or "main", numbers=_numbers(arguments), keys=keys, device=device,
        precision=precision,
    )  # fmt: skip
    if mode not in (None, "native"):
        if mode not in MODES:
            raise OptionError(f"mode cannot be {mode!r}",
                              hint=f"one of: {', '.join(map(repr, MODES))}")  # fmt: skip
        return dormant(changed(plan, mode=mode))
    return compiled_function(plan, expected_layout(plan))


def planned(
    arguments: tuple[Argument, ...],
    roots: Sequence[Value],
    *,
    updated: tuple[SharedVariable, ...] = (),
    single: bool = False,
    nothing: bool = False,
    on_unused_input: str = "ignore",
    algebra: str | None = None,
    name: str = "main",
    numbers: tuple[str, ...] = (),
    keys: tuple[str, ...] | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Plan:
    """The program of these inputs and results (outputs, then the new values of `updated`)."""
    inputs = tuple(argument.variable for argument in arguments)
    roots = substituted(roots, _large_constants(roots))
    shared = _shared_of(inputs, roots, on_unused_input)
    algebra = algebra or config.algebra
    if algebra not in ("real", "ieee"):
        raise OptionError(f"algebra cannot be {algebra!r}", hint="one of: 'real', 'ieee'")
    precision = precision or config.precision
    if precision not in PRECISIONS:
        raise OptionError(f"precision cannot be {precision!r}",
                          hint=f"one of: {', '.join(map(repr, PRECISIONS))}")  # fmt: skip
    fn = Function((*inputs, *shared), roots, name=name)
    where = place(device)
    return Plan(
        fn, arguments, shared, updated, single, nothing, algebra, numbers, keys, device=where,
        products=Products(precision, config.products),
    )  # fmt: skip


def place(device: str | None) -> str:
    """The name of the device that computes; raises OptionError and NoDeviceError."""
    asked = config.device if device is None else device
    if asked == "cpu":
        return asked
    from jitgraph.runtime import devices

    found = devices.device(asked)
    return "cpu" if found is None else found.name


def _numbers(arguments: Sequence[Argument]) -> tuple[str, ...]:
    """Which numbers native code takes for each input without asking."""
    if not any(argument.particular for argument in arguments):
        return ()
    from jitgraph.runtime.variant import ANY_NUMBER, TYPED

    return tuple(TYPED if argument.particular else ANY_NUMBER for argument in arguments)


# --- inputs and outputs ------------------------------------------------------------------------
def _declared(
    inputs: Sequence[Variable | In], downcast: bool | str | None
) -> tuple[tuple[Argument, ...], list[tuple[SharedVariable, Value]]]:
    """The inputs as calls see them, and the updates of their defaults."""
    if isinstance(inputs, Value | In) or not isinstance(inputs, Sequence):
        raise InputError("the inputs must be a list of variables", hint="function([x], x + 1)")
    described = [item if isinstance(item, In) else In(item) for item in inputs]
    seen: set[Value] = set()
    for item in described:
        _check_input(item.variable)
        if item.variable in seen:
            raise InputError(f"the input {item.variable.describe()} is given twice",
                             location=item.variable.location)  # fmt: skip
        seen.add(item.variable)
    arguments = tuple(_argument(item, downcast) for item in described)
    updates = [
        (a.default, _fitting_update(a.default, expression_of(item.update, "an update")))
        for a, item in zip(arguments, described, strict=True)
        if a.default is not None and item.update is not None
    ]
    return arguments, updates


def _check_input(item: Any) -> None:
    if not isinstance(item, Value):
        raise InputError(f"{item!r} is not a symbolic variable", hint="such as T.dscalar('x')")
    if isinstance(item, SharedVariable):
        raise InputError(
            f"the shared variable {item.describe()} cannot be an input",
            hint="functions read shared variables by themselves; leave it out",
            location=item.location,
        )
    if item.op is not None:
        raise InputError(
            f"{item.describe()} is an expression, not a variable",
            hint="take its variables as inputs, or replace it through givens=",
            location=item.location,
        )


def _argument(item: In, downcast: bool | str | None) -> Argument:
    variable = item.variable
    chosen = downcast if item.allow_downcast is None else item.allow_downcast
    made = Argument(variable, item.name or variable.name, None, chosen, item.strict)
    if item.value is None:
        if item.update is not None:
            raise InputError(
                f"the input {variable.describe()} has an update, but no value to start with",
                hint="In(x, value=0, update=x + 1)", location=variable.location,
            )  # fmt: skip
        return made
    held = SharedVariable(np.array(as_input(made, item.value), order="C"), made.keyword)
    return changed(made, default=held)


def _output_names(outputs: Any) -> tuple[str, ...] | None:
    if not isinstance(outputs, Mapping):
        return None
    for key in outputs:
        if not isinstance(key, str):
            raise InputError(f"outputs in a dict have names, not {key!r}",
                             hint='function([x], {"y": x + 1})')  # fmt: skip
    return tuple(outputs)


def expression_of(value: Any, role: str) -> Value:
    """An expression, or a constant; raises InputError for what cannot be one."""
    if isinstance(value, Out):
        value = value.variable
    if isinstance(value, Value):
        return value
    try:
        return symbolic(value, cls=Variable)
    except DTypeError:
        raise InputError(f"{value!r} cannot be {role}: it is no expression") from None


def _shared_of(
    inputs: Sequence[Value], roots: Sequence[Value], on_unused: str
) -> tuple[SharedVariable, ...]:
    """The shared variables the program reads; every other leaf must be an input."""
    leaves = [v for v in topological(roots) if v.op is None]
    known = set(inputs)
    shared = [v for v in leaves if isinstance(v, SharedVariable)]
    missing = [v for v in leaves if v not in known and not isinstance(v, SharedVariable)]
    if missing:
        first = missing[0]
        listed = ", ".join(f"{v.describe()}: {v.type}" for v in missing)
        raise InputError(
            f"the outputs need {listed}, which {'is' if len(missing) == 1 else 'are'} not among "
            "the inputs",
            hint="add it to inputs, or give it a value through givens=",
            location=first.location,
        )
    used = set(leaves)
    unused = [v for v in inputs if v not in used]
    if unused and on_unused != "ignore":
        listed = ", ".join(v.describe() for v in unused)
        if on_unused not in ("raise", "warn"):
            raise OptionError(f"on_unused_input cannot be {on_unused!r}",
                              hint="one of: 'raise', 'warn', 'ignore'")  # fmt: skip
        if on_unused == "raise":
            raise InputError(
                f"no output needs the input{'s' * (len(unused) > 1)} {listed}",
                hint="leave it out, or pass on_unused_input='ignore'",
                location=unused[0].location,
            )
        warnings.warn(f"no output needs the input {listed}", stacklevel=3)
    return tuple(shared)


# --- updates and givens ------------------------------------------------------------------------
def _pairs(given: Pairs | None, role: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    items = given.items() if isinstance(given, Mapping) else given
    if not isinstance(items, Iterable):
        raise UpdateError(f"{role} must be pairs or a dict", hint=f"{role}=[(variable, value)]")
    pairs = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in items]
    if any(len(pair) != 2 for pair in pairs):
        raise UpdateError(f"{role} must be pairs or a dict", hint=f"{role}=[(variable, value)]")
    return pairs


def _checked_updates(updates: Pairs | None) -> list[tuple[SharedVariable, Value]]:
    checked: list[tuple[SharedVariable, Value]] = []
    seen: set[Value] = set()
    for target, new in _pairs(updates, "updates"):
        if not isinstance(target, SharedVariable):
            name = target.describe() if isinstance(target, Value) else repr(target)
            raise UpdateError(
                f"{name} cannot be updated: it is not a shared variable",
                hint="make it with jitgraph.shared(value)",
                location=caller_location(),
            )
        if target in seen:
            raise UpdateError(f"{target.describe()} is updated twice", location=caller_location())
        seen.add(target)
        checked.append((target, _fitting_update(target, expression_of(new, "an update"))))
    return checked


def _fitting_update(target: SharedVariable, new: Value) -> Value:
    have, want = new.type, target.type
    if have.rank != want.rank:
        raise UpdateError(
            f"{target.describe()} is {want}, its update {have}: the ranks differ",
            location=new.location or caller_location(),
        )
    if not np.can_cast(have.dtype, want.dtype, "safe"):
        raise UpdateError(
            f"{target.describe()} is {want}, its update {have}: the conversion would lose "
            "information",
            hint=f"write it out: T.cast(new_value, {str(want.dtype)!r})",
            location=new.location or caller_location(),
        )
    return cast(new, want.dtype)  # type: ignore[no-any-return]


def default_updates(
    roots: Sequence[Value],
    givens: Mapping[Value, Value],
    updated: Mapping[SharedVariable, Value],
    without: bool | Sequence[SharedVariable],
) -> Iterator[tuple[SharedVariable, Value]]:
    """Updates of shared variables that the program reads and says nothing of. They may need other
    such variables."""
    if isinstance(without, bool):
        if without:
            return
        without = ()
    known = {*updated, *without}
    pending = list(roots)
    while pending:
        found = [v for v in topological(pending) if isinstance(v, SharedVariable)
                 and v.default_update is not None and v not in known]  # fmt: skip
        known.update(found)
        pending = []
        for target in found:
            new = _fitting_update(target, expression_of(target.default_update, "an update"))
            pending += substituted([new], givens)
            yield target, pending[-1]


def _checked_givens(givens: Pairs | None) -> dict[Value, Value]:
    checked: dict[Value, Value] = {}
    for old, new in _pairs(givens, "givens"):
        if not isinstance(old, Value):
            raise InputError(f"givens can replace variables and expressions, not {old!r}")
        replacement = expression_of(new, "a replacement")
        if replacement.dtype != old.dtype:
            if not np.can_cast(replacement.dtype, old.dtype, "safe"):
                raise DTypeError(
                    f"{old.describe()} is {old.type} and cannot be replaced by {replacement.type}",
                    hint=f"T.cast(replacement, {str(old.dtype)!r})",
                    location=replacement.location or caller_location(),
                )
            replacement = cast(replacement, old.dtype)
        if replacement.ndim != old.ndim:
            raise ShapeError(
                f"{old.describe()} is {old.type} and cannot be replaced by {replacement.type}: "
                "the ranks differ",
                location=replacement.location or caller_location(),
            )
        checked[old] = replacement
    return checked


def _large_constants(roots: Sequence[Value]) -> dict[Value, Value]:
    """Constants too large to be part of the code become parameters that nobody can change."""
    found: dict[Value, Value] = {}
    for value in topological(roots):
        literal = value.literal
        if literal is not None and literal.array.nbytes > EMBED_LIMIT and literal.splat is None:
            held = SharedVariable(literal.array, value.name or f"constant{len(found)}")
            held.type = value.type
            found[value] = held
    return found


# --- expressions --------------------------------------------------------------------------------
def clone(outputs: Any, replace: Pairs | None = None) -> Any:
    """Expressions (one, or a list) with some of what they are made of replaced, as `givens` does:
    `clone(cost, {x: x / 2})`."""
    replaced = _checked_givens(replace)
    if not isinstance(outputs, list | tuple):
        return substituted([expression_of(outputs, "an expression")], replaced)[0]
    return substituted([expression_of(o, "an expression") for o in outputs], replaced)


def subgraph(inputs: Sequence[Variable], outputs: Any) -> Callable[..., Any]:
    """A function of expressions: outputs (one, or a list) as they would be of other inputs.

        softplus = jg.subgraph([x], T.log(1 + T.exp(x)))
        cost = softplus(T.dot(a, w)).sum()
    """
    arguments, _ = _declared(inputs, None)

    def call(*args: Any) -> Any:
        if len(args) != len(arguments):
            raise InputError(f"{len(args)} inputs given, {len(arguments)} wanted",
                             location=caller_location())  # fmt: skip
        return clone(outputs, zip((a.variable for a in arguments), args, strict=True))

    return call


# --- eval --------------------------------------------------------------------------------------
def _evaluate(expression: Variable, givens: Mapping[Any, Any]) -> Any:
    """`expression.eval({x: 1.0})`: compiled once per expression, set of variables and device,
    which is that of the shared variables. It binds none of them to the CPU."""
    cache: dict[Any, Any] | None = getattr(expression, "evaluators", None)
    if cache is None:
        cache = expression.evaluators = {}
    given = {_named(expression, key): value for key, value in givens.items()}
    shared = [v for v in topological([expression]) if isinstance(v, SharedVariable)]
    free = [s for s in shared if s.slots.home is None]
    device = next((s.slots.home for s in shared if s.slots.home is not None), config.device)
    key = device, frozenset(map(id, given))
    if key not in cache:
        variables = tuple(given)
        cut = {v: type(v)(v.type, None, v.name, v.location) for v in variables
               if isinstance(v, Value) and v.op is not None}  # fmt: skip
        cache[key] = variables, function([cut.get(v, v) for v in variables], expression,
                                         givens=cut, on_unused_input="ignore",
                                         device=device)  # fmt: skip
        for s in free if device == "cpu" else ():
            s.slots.home = None
    order, compiled = cache[key]
    return np.asarray(compiled(*(given[v] for v in order)))


def _named(expression: Variable, key: Any) -> Any:
    """The variable of an expression that a name stands for; anything else is itself."""
    if not isinstance(key, str):
        return key
    found = [v for v in topological([expression]) if v.op is None and v.name == key]
    if len(found) != 1:
        raise InputError(f"{len(found) or 'no'} variables of the expression are named {key!r}",
                         location=caller_location())  # fmt: skip
    return found[0]


_variable.EVALUATOR = _evaluate
