"""`jit`: plain NumPy functions, traced once per dtypes and ranks, called as native code.

A call is looked up by what its arguments are: the tree they form, the dtype and rank of each leaf
(or that it is a Python number), and the values of static arguments. What was not met before is
traced: the function runs once on symbolic variables. Programs of arguments that are arrays (no
trees, no keywords) and of one result hang all their variants on one chain, which the native entry
tries by itself; a call that one of them takes meets no Python at all.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph.compiled import (
    REFUSED,
    RETRIES,
    Native,
    Plan,
    State,
    coerced,
    compile_variant,
    compiled_function,
    dormant,
    dump_stage,
    explain,
    layout_of,
    profiled,
    refuse_all,
)
from jitgraph.driver import Compilation
from jitgraph.errors import InputError, InternalError, JitgraphError
from jitgraph.function import default_updates, expression_of, place, planned
from jitgraph.inputs import arguments_for
from jitgraph.ir.function import Function
from jitgraph.ir.pickling import found_at, path_of, reachable
from jitgraph.ir.types import Type, is_supported
from jitgraph.ir.values import Value
from jitgraph.location import caller_location
from jitgraph.runtime.callable import make_callable_type, set_entry
from jitgraph.tensor.number import Number
from jitgraph.tensor.variable import Variable
from jitgraph.tracing import Place, Restart, is_tracing, tracing
from jitgraph.trees import LEAF, Node, Structure, flatten, leaf_names, unflatten

if TYPE_CHECKING:
    from jitgraph.profiling import Profile

#: What a leaf is: one of Python's numbers, or dtype and rank.
Kind = Any
#: Points in space have up to so many coordinates, for which code is compiled that knows how many.
COORDINATES = 4
PYTHON_NUMBERS = (float, int, complex, bool)


# --- arguments -----------------------------------------------------------------------------------
@dataclass(slots=True)
class _Call:
    """A call of a function, its arguments apart: the leaves, and all that a trace depends on."""

    leaves: list[Any]
    structure: Structure
    static: tuple[tuple[int | str, Any], ...]

    def arguments(self, leaves: Iterable[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of the function with other leaves."""
        args, kwargs = unflatten(self.structure, leaves)
        args = list(args)
        for where, value in self.static:
            if isinstance(where, int):
                args.insert(where, value)
            else:
                kwargs[where] = value
        return args, kwargs


@dataclass(frozen=True, slots=True)
class _Parameters:
    """The names of a function's parameters, by position, and those that are static."""

    names: tuple[str, ...]
    static: frozenset[str]

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        if kwargs:
            args = self._in_place(args, kwargs)
        static: tuple[tuple[int | str, Any], ...] = ()
        if self.static:
            names = self.names[: len(args)]
            fixed = {k for k, name in enumerate(names) if name in self.static}
            static = (*((k, args[k]) for k in sorted(fixed)),
                      *((name, kwargs.pop(name)) for name in sorted(self.static & set(kwargs))))
            args = tuple(a for k, a in enumerate(args) if k not in fixed)
        leaves, structure = flatten((args, kwargs))
        return _Call(leaves, structure, static)

    def _in_place(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Positional arguments with the keywords that continue them, which are taken out."""
        more = []
        for name in self.names[len(args) :]:
            if name not in kwargs:
                break
            more.append(kwargs.pop(name))
        if len(kwargs) > 1:
            rest = sorted(kwargs.items())
            kwargs.clear()
            kwargs.update(rest)
        return (*args, *more)

    def leaf_names(self, call: _Call) -> list[str]:
        """A name for each leaf."""
        assert isinstance(call.structure, Node)
        args, kwargs = call.structure.children
        assert isinstance(args, Node)
        assert isinstance(kwargs, Node)
        fixed = {where for where, _ in call.static}
        free = [n for k, n in enumerate(self.names) if k not in fixed]
        free += [f"arg{k}" for k in range(len(free), len(args.children))]
        pairs = [*zip(free, args.children, strict=False),
                 *zip(kwargs.keys, kwargs.children, strict=True)]  # fmt: skip
        return [n for name, structure in pairs for n in leaf_names(structure, name)]


def _parameters(
    function: Callable[..., Any], names: Sequence[str], numbers: Sequence[int]
) -> _Parameters:
    """Raises InputError for static arguments that the function does not have."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY,
                                                           p.POSITIONAL_OR_KEYWORD)]  # fmt: skip
    known = {p.name for p in parameters}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in names:
        if name not in known and not takes_any:
            raise InputError(f"{name_of(function)} has no argument {name!r} to be static",
                             hint=f"its arguments: {', '.join(known)}",
                             location=caller_location())  # fmt: skip
    static = set(names)
    for number in numbers:
        if not -len(positional) <= number < len(positional):
            raise InputError(f"{name_of(function)} has no positional argument {number}",
                             location=caller_location())  # fmt: skip
        static.add(positional[number])
    return _Parameters(tuple(positional), frozenset(static))


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called in messages."""
    inner = function.func if isinstance(function, functools.partial) else function
    return getattr(inner, "__name__", type(inner).__name__)


def _flat(count: int) -> Structure:
    """The tree of a call with so many arguments that are leaves."""
    return Node(tuple, None, (Node(tuple, None, (LEAF,) * count), Node(dict, (), ())))


def _kind(leaf: Any) -> Kind:
    """What a trace depends on of a leaf; None for what has no dtype."""
    kind = type(leaf)
    if kind is np.ndarray:
        return leaf.dtype, leaf.ndim
    if kind in PYTHON_NUMBERS:
        return kind
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype, leaf.ndim
    if isinstance(leaf, Value):
        return Value
    if hasattr(leaf, "__array__"):
        if isinstance(dtype := getattr(leaf, "dtype", None), np.dtype):  # of a device
            return dtype, leaf.ndim
        array = np.asarray(leaf)
        return array.dtype, array.ndim
    return None


def _variable(kind: Kind, name: str, shape: tuple[int | None, ...]) -> Variable:
    if kind in PYTHON_NUMBERS:
        return Number.argument(kind, name)
    return Variable(Type(kind[0].newbyteorder("="), shape), None, name)


# --- programs ------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Program:
    """What one kind of call was traced to."""

    plan: Plan
    kinds: tuple[Kind, ...]
    #: The tree of the results.
    out: Structure
    #: Where its variants are: on the chain, for a program that the native entry may call.
    state: State | None = None
    #: Its own callable, for any other.
    packed: Any = None


@dataclass(frozen=True, slots=True)
class _Sized:
    """Programs of one kind of call, which wants some extents as numbers: by these numbers."""

    places: tuple[Place, ...]
    programs: dict[tuple[int, ...], _Program] = field(default_factory=dict)

    def extents(self, leaves: Sequence[Any]) -> tuple[int, ...]:
        return tuple([np.shape(leaves[k])[axis] for k, axis in self.places])


@dataclass(slots=True)
class _Chain:
    """The programs that take as many arrays as the first of them, and give one."""

    arguments: int = -1
    states: list[State] = field(default_factory=list)
    variants: list[Any] = field(default_factory=list)
    native: Any = None


class _Methods:
    """A function under `jit`. Called with arrays it is native code; called with variables, or by a
    function that is being traced, it is the function itself."""

    __wrapped__: Callable[..., Any]
    _options: dict[str, Any]
    _parameters: _Parameters
    _algebra: str | None
    _device: str | None
    _precision: str | None
    _label: str
    _lock: threading.RLock
    _programs: dict[Any, _Program | _Sized]
    #: Those with callables of their own whose arguments are leaves, by the kinds of these.
    _quick: dict[tuple[Kind, ...], _Program]
    _chain: _Chain
    _bound: weakref.WeakKeyDictionary[Any, Any]
    #: Whose result this is, of which arguments, where it is not that of `jit`.
    _again: tuple[Any, tuple[Any, ...]] | None = None

    # --- calls ----------------------------------------------------------------------------------
    def _slow(self, *args: Any, **kwargs: Any) -> Any:
        """Everything the native entry does not take as it is."""
        if is_tracing():
            return self.__wrapped__(*args, **kwargs)
        kinds = tuple(map(_kind, args))
        if not kwargs and (known := self._quick.get(kinds)) is not None:
            return unflatten(known.out, known.packed(*args))
        call = self._parameters.call(args, dict(kwargs) if kwargs else kwargs)
        program = self._program(call)
        if program is None:
            return self.__wrapped__(*args, **kwargs)
        if program.state is not None:
            return self._on_chain(program, call.leaves)
        if program.packed is None:
            self._pack(program, call.leaves)
        flat = call.structure == _flat(len(args)) and not call.static
        if flat and self._programs.get((kinds, call.structure, ())) is program:
            self._quick[kinds] = program
        return unflatten(program.out, program.packed(*call.leaves))

    def _program(self, call: _Call) -> _Program | None:
        """The program for a call, traced if there is none yet; None for a call with variables."""
        kinds = tuple([_kind(leaf) for leaf in call.leaves])
        key = (kinds, call.structure, call.static)
        try:
            found = self._found(key, call)
        except TypeError:
            raise self._unhashable(call) from None
        if found is None:
            if any(isinstance(leaf, Value) for leaf in call.leaves):
                return None
            with self._lock:
                found = self._found(key, call) or self._trace(key, call)
        return found

    def _found(self, key: Any, call: _Call) -> _Program | None:
        found = self._programs.get(key)
        if isinstance(found, _Sized):
            return found.programs.get(found.extents(call.leaves))
        return found

    def _trace(self, key: Any, call: _Call) -> _Program:
        """A program for a kind of call, for its extents only where these are asked for."""
        known = self._programs.get(key)
        places = set(known.places) if isinstance(known, _Sized) else set()
        while True:
            try:
                program = self._traced(call, key[0], places)
                break
            except Restart as restart:
                places |= restart.places
        if not places:
            self._programs[key] = program
            return program
        if not isinstance(known, _Sized) or set(known.places) != places:
            known = self._programs[key] = _Sized(tuple(sorted(places)))
        known.programs[known.extents(call.leaves)] = program
        return program

    def _known(self, call: _Call) -> _Program:
        program = self._program(call)
        if program is None:
            raise InputError(f"{self._label} must be given arrays here, not variables",
                             location=caller_location())  # fmt: skip
        return program

    def _on_chain(self, program: _Program, leaves: Sequence[Any]) -> Any:
        if self._chain.native is not None:
            result = self._chain.native(*leaves)
            if result is not REFUSED:
                return result
        arrays = coerced(program.plan, leaves)
        given = [leaf if kind in PYTHON_NUMBERS else array
                 for leaf, kind, array in zip(leaves, program.kinds, arrays, strict=True)]
        assert program.state is not None
        for _ in range(RETRIES):
            with self._lock:
                layout = layout_of(program.plan, arrays, coordinates=COORDINATES)
                compile_variant(program.state, layout)
                self._go_native()
            result = self._chain.native(*given)
            if result is not REFUSED:
                return result
        raise InternalError(f"{self._label} refuses arguments that were made to fit it")

    def _go_native(self) -> None:
        """Let calls find the chain, once there is something on it."""
        from jitgraph.runtime.variant import ENTRY

        chain = self._chain
        if chain.native is None:
            first = chain.variants[0].address
            chain.native = Native()
            set_entry(chain.native, ENTRY, first, refuse_all, self._fail, chain)
            set_entry(self, ENTRY, first, self._slow, self._fail, chain)
            self.__class__ = Jitted

    def _pack(self, program: _Program, leaves: Sequence[Any]) -> None:
        with self._lock:
            if program.packed is None and program.plan.device != "cpu":
                program.packed = dormant(program.plan)
            elif program.packed is None:
                arrays = coerced(program.plan, leaves)
                layout = layout_of(program.plan, arrays, coordinates=COORDINATES)
                program.packed = compiled_function(program.plan, layout)

    def _fail(self, code: int, *args: Any) -> Any:
        """A native program stopped: the interpreter, given the same inputs, will say why."""
        plan = self._known(self._parameters.call(args, {})).plan
        explain(plan, code, *coerced(plan, args), *(s.slots.host() for s in plan.shared))
        if plan.shared:  # another thread may have set a value that fits in the meantime
            return self._slow(*args)
        raise InternalError(f"{self._label} failed its check {code}, and the interpreter did not")

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the instance is static, unless it is a tree (a dataclass)."""
        if instance is None:
            return self
        _, structure = flatten(instance)
        if structure != LEAF:
            return MethodType(self, instance)  # type: ignore[arg-type]
        found = self._bound.get(instance)
        if found is None:
            # Weakly, or the instance would keep itself alive.
            method = _Method(self.__wrapped__, weakref.ref(instance))
            found = self._bound[instance] = jit(method, **self._options)
        return found

    # --- copies ---------------------------------------------------------------------------------
    def __reduce__(self) -> str | tuple[Any, ...]:
        """By name where a module has it under its name. What is in `__main__`, or made on the way,
        goes with its function, so that picklers which take functions apart can."""
        function = self.__wrapped__
        if function.__module__ != "__main__" and found_at(function) is self:
            return path_of(function)
        if self._again is not None:
            return self._again
        static = tuple(sorted(self._parameters.static))
        return _jitted, (reachable(function), {**self._options, "static_argnames": static})

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    # --- tracing --------------------------------------------------------------------------------
    def _traced(self, call: _Call, kinds: tuple[Kind, ...], places: set[Place]) -> _Program:
        """The function run on symbols, which know their extents at `places`."""
        names = self._parameters.leaf_names(call)
        for name, leaf, kind in zip(names, call.leaves, kinds, strict=True):
            if kind is None or (kind not in PYTHON_NUMBERS
                                and not is_supported(kind[0].newbyteorder("="))):
                raise self._no_array(name, leaf)
        shapes = [tuple(size if (k, axis) in places else None
                        for axis, size in enumerate(np.shape(leaf)))
                  for k, leaf in enumerate(call.leaves)]  # fmt: skip
        inputs = tuple(map(_variable, kinds, names, shapes))
        args, kwargs = call.arguments(inputs)
        try:
            with tracing(inputs):
                out = self.__wrapped__(*args, **kwargs)
            leaves, structure = flatten(out)
            results = [expression_of(leaf, "a result of a function under jit") for leaf in leaves]
            return self._planned(call, kinds, inputs, results, structure)
        except JitgraphError as error:
            listed = ", ".join(f"{n}: {_kind_text(k)}" for n, k in zip(names, kinds, strict=True))
            error.add_note(f"while {self._label} was traced for ({listed})")
            raise

    def _planned(
        self, call: _Call, kinds: tuple[Kind, ...], inputs: tuple[Value, ...],
        results: list[Value], out: Structure,
    ) -> _Program:  # fmt: skip
        """On the chain if the native entry can do all there is to do."""
        from jitgraph.runtime.variant import PYTHON, TYPED

        plain = call.structure == _flat(len(inputs))
        device = self._device = place(self._device)
        native = plain and out == LEAF and not call.static and self._chain.arguments in (
            -1, len(inputs)) and device == "cpu"  # fmt: skip
        numbers = tuple(PYTHON if k in PYTHON_NUMBERS else TYPED for k in kinds) if native else ()
        try:
            updates = list(default_updates(results, {}, {}, False))  # random numbers go on
            plan = planned(
                arguments_for(inputs), [*results, *(new for _, new in updates)], single=native,
                updated=tuple(shared for shared, _ in updates),
                algebra=self._algebra, name=self._label, numbers=numbers, device=device,
                precision=self._precision,
            )  # fmt: skip
        except InputError as error:
            error.hint = "variables from outside reach a function under jit as arguments only"
            raise
        program = _Program(plan, kinds, out)
        if native:
            self._chain.arguments = len(inputs)
            program.state = State(plan, variants=self._chain.variants, lock=self._lock)
        return program

    def _no_array(self, name: str, leaf: Any) -> JitgraphError:
        argument = name.partition(".")[0]
        return InputError(
            f"the argument {name} of {self._label} is {leaf!r:.60}, which is no array of numbers",
            hint=f"if the trace may depend on its value: jit(f, static_argnames=({argument!r},))",
            location=caller_location(),
        )

    def _unhashable(self, call: _Call) -> JitgraphError:
        for where, value in call.static:
            try:
                hash(value)
            except TypeError:
                return InputError(
                    f"the static argument {where} of {self._label} is {value!r:.60}, which cannot "
                    "be hashed",
                    hint="static arguments are looked up by value: pass a tuple, or an array as an "
                    "ordinary argument",
                    location=caller_location(),
                )
        return InputError(f"the keys of a tree given to {self._label} cannot be hashed",
                          location=caller_location())  # fmt: skip

    # --- looking inside -------------------------------------------------------------------------
    def trace(self, *args: Any, **kwargs: Any) -> Function:
        """The graph that the function is for arguments like these."""
        return self._known(self._parameters.call(args, kwargs)).plan.function

    def lower(self, *args: Any, **kwargs: Any) -> Compilation:
        """All stages of the compilation for arguments like these, each made when asked for."""
        call = self._parameters.call(args, kwargs)
        plan = self._known(call).plan
        layout = layout_of(plan, coerced(plan, call.leaves), coordinates=COORDINATES)
        return Compilation(plan.function, layout, plan.interface(), plan.algebra, plan.device,
                           products=plan.products)  # fmt: skip

    def dump(self, *args: Any, stage: str = "all", **kwargs: Any) -> str:
        """The text of a stage: graph, optimised, schedule, llvm, asm, or all of them."""
        return dump_stage(self.lower(*args, **kwargs), stage)

    def profile(self, *args: Any, **kwargs: Any) -> Profile:
        """Run it for a while with these arguments, and report what each of its steps costs: see
        `jitgraph.profiling`. Shared variables stay as they are."""
        call = self._parameters.call(args, kwargs)
        plan = self._known(call).plan
        arrays = coerced(plan, call.leaves)
        return profiled(plan, layout_of(plan, arrays, coordinates=COORDINATES), arrays)

    @property
    def traces(self) -> int:
        """How many kinds of calls were traced so far."""
        return sum(len(p.programs) if isinstance(p, _Sized) else 1 for p in self._programs.values())

    def __repr__(self) -> str:
        traced = f"traced {self.traces} time{'s' * (self.traces != 1)}"
        return f"<jit {self._label}{inspect.signature(self.__wrapped__)}, {traced}>"


def _kind_text(kind: Kind) -> str:
    if kind is None or kind in PYTHON_NUMBERS:
        return "?" if kind is None else str(kind.__name__)
    dtype, rank = kind
    return str(Type(dtype, (None,) * rank)) if is_supported(dtype) else str(dtype)


@dataclass(frozen=True, slots=True, eq=False)
class _Method:
    """A method of an instance that others keep alive."""

    function: Callable[..., Any]
    instance: weakref.ref[Any]

    @property
    def __name__(self) -> str:
        return name_of(self.function)

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.function)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self.instance(), *args, **kwargs)


Jitted = make_callable_type("Jitted", _Methods)


def _jitted(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """The function under jit that a pickle holds: the one its module has, if it has one."""
    found = found_at(function)
    if isinstance(found, Jitted) and found.__wrapped__ is function:
        return found
    return jit(function, **options)


class _Untraced(Jitted):  # type: ignore[misc, valid-type]
    """One that has no native program yet."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._slow(*args, **kwargs)


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnames: str | Sequence[str] = (),
    static_argnums: int | Sequence[int] = (),
    algebra: str | None = None,
    name: str | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Any:
    """A function of NumPy arrays, compiled: `jit(f)`, or `@jit` above its definition.

    f is run once for each kind of arguments (dtypes and ranks) on symbolic variables, and what it
    computes becomes native code for all shapes; where f asks for an extent as a number, as in
    `np.arange(len(x))`, for each number. Arguments and results may be trees of arrays (dicts,
    lists, tuples, named tuples, dataclasses). Python numbers adapt to arrays beside them, as in
    NumPy. Results are arrays, of rank 0 where NumPy gives scalars. Arrays that f takes from outside
    are constants; shared variables are read.

    static_argnames, static_argnums: arguments whose values the trace may depend on, such as flags
    or numbers of steps; they must be hashable. algebra, device, precision: as for
    `function`; `config.device` is that of the first call.
    """
    if f is None:
        return functools.partial(
            jit, static_argnames=static_argnames, static_argnums=static_argnums,
            algebra=algebra, name=name, device=device, precision=precision,
        )  # fmt: skip
    if not callable(f):
        raise InputError(f"jit takes a function, not {f!r:.60}", location=caller_location())
    if device is not None:
        from jitgraph.runtime.devices import canonical

        canonical(device)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    made = _Untraced()
    functools.update_wrapper(made, f, updated=())
    made._options = {"static_argnames": names, "algebra": algebra, "name": name, "device": device,
                     "precision": precision}  # fmt: skip
    made._parameters = _parameters(f, names, numbers)
    made._algebra, made._device, made._precision = algebra, device, precision
    made._label = name or name_of(f)
    made._lock = threading.RLock()
    made._programs, made._quick = {}, {}
    made._chain = _Chain()
    made._bound = weakref.WeakKeyDictionary()
    return made
