"""LLVM IR text: writing it, and turning it into machine code.

`Module` and `FunctionBuilder` write a module as text: a kernel is a few hundred lines, parsing
them takes LLVM a fraction of a millisecond, and a generator reads like the code it generates.
`compile_ir` takes the text through LLVM (parse, verify, optimise, emit) and links the object code
into this process; `load_objects` links object code that a cache kept.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from jitgraph.codegen.loader import CodegenError, load
from jitgraph.codegen.target import Target, host, initialise

if TYPE_CHECKING:
    import llvmlite.binding as llvm

# Loop properties, for `FunctionBuilder.loop(properties=...)`.
NO_VECTORIZE = '!"llvm.loop.vectorize.enable", i1 false'
NO_UNROLL = '!"llvm.loop.unroll.disable"'

_INTERNAL = "internal "
_TERMINATORS = ("br ", "ret ", "switch ", "unreachable")


#: What LLVM does with a function.
#: "vectorise": all passes, loops become vector code. "explicit": the code is already written as
#: it should run (explicit vectors, nothing to inline), and only the machine code is optimised.
#: "quick": nothing is optimised; for code that runs once a call and should compile in no time.
Passes: TypeAlias = Literal["vectorise", "explicit", "quick"]

_SYMBOL = re.compile(r"@([\w.$]+)")
_DEFINED = re.compile(r"^define [^@]*@([\w.$]+)", re.MULTILINE)
_VARIABLE = re.compile(r"(@[\w.$]+) = (?:dso_local )?global (\[.*?\]|\S+)")


@dataclass(frozen=True, slots=True)
class Unit:
    """The text of a whole module, and the passes it needs."""

    text: str
    passes: Passes = "vectorise"


class Module:
    """One LLVM module in the making. Equal declarations and metadata are written once.

    For LLVM it may come apart: functions that need different passes are modules (`units`) of
    their own, which the linker puts together again.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.functions: list[FunctionBuilder] = []
        #: The library that has each function declared by `use`.
        self.imports: dict[str, str] = {}
        self._declarations: dict[str, None] = {}
        self._helpers: list[str] = []
        self._metadata: dict[str, str] = {}
        self._names: set[str] = set()
        self._merged: dict[str, FunctionBuilder] = {}

    def declare(self, line: str) -> None:
        """Add a top-level line, once: a declaration, a global, a type."""
        self._declarations[line] = None

    def use(self, library: str, symbol: str, declaration: str) -> None:
        """Declare a function that a library compiled once has (see `codegen.libraries`)."""
        self.declare(declaration)
        self.imports[symbol] = library

    def define(self, text: str) -> None:
        """Add the text of internal functions: helpers, for whichever function calls them."""
        self._helpers.append(text)

    def once(self, name: str) -> bool:
        """Whether this is the first time `name` is claimed: for helpers emitted on demand."""
        fresh = name not in self._names
        self._names.add(name)
        return fresh

    def merged(self, function: FunctionBuilder) -> FunctionBuilder:
        """A finished function, or the one of the same text that was here before: equal kernels, as
        in loops that Python has unrolled, are compiled once."""
        first = self._merged.setdefault(self._unnamed(function), function)
        if first is not function and function in self.functions:  # not if asked for once more
            self.functions.remove(function)
        return first

    def _unnamed(self, function: FunctionBuilder) -> str:
        """The text of a function, without its name."""
        return str(function).replace(function.name, "@", 1)

    def metadata(self, operands: str, *, distinct: bool = False) -> str:
        """The name (`!3`) of the node `!{operands}`. A distinct node gets itself as its first
        operand and is never shared, as loop identifiers and alias scopes must be."""
        name = f"!{len(self._metadata)}"
        if distinct:
            self._metadata[f"distinct !{{{name}, {operands}}}"] = name
            return name
        return self._metadata.setdefault(f"!{{{operands}}}", name)

    def text(self) -> str:
        """All of it as one module."""
        return self._joined(self._declarations, [*map(str, self.functions), *self._helpers])

    def units(self) -> list[Unit]:
        """The modules that LLVM gets: one for each kind of passes."""
        kinds = dict.fromkeys(function.passes for function in self.functions)
        if len(kinds) == 1:
            return [Unit(self.text(), *kinds)]
        shared: set[str] = set()
        return [Unit(self._unit(passes, shared), passes) for passes in kinds]

    def _unit(self, passes: Passes, shared: set[str]) -> str:
        """The functions that need these passes, declarations of others that they call, and what
        they use of the rest. `shared` are the variables that an earlier unit has."""
        own = [str(f).replace(_INTERNAL, "", 1) for f in self.functions if f.passes == passes]
        used = set(_SYMBOL.findall("\n".join(own)))
        helpers: list[str] = []
        waiting = self._helpers
        while found := [h for h in waiting if not used.isdisjoint(_DEFINED.findall(h))]:
            helpers += found
            waiting = [h for h in waiting if h not in found]
            used.update(_SYMBOL.findall("\n".join(found)))
        others = [f.declaration for f in self.functions if f.passes != passes and f.symbol in used]
        lines = []
        for line in self._declarations:
            if used.issuperset(_SYMBOL.findall(line)[:1]):
                variable = _VARIABLE.match(line)
                if variable and variable[1] in shared:
                    lines.append(f"{variable[1]} = external global {variable[2]}")
                    continue
                lines.append(line)
                shared.update([variable[1]] if variable else [])
        return self._joined([*lines, *others], [*own, *helpers])

    def _joined(self, declarations: Iterable[str], functions: Iterable[str]) -> str:
        width = self.target.vector_bytes * 8
        attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" }}'
        metadata = (f"{name} = {node}" for node, name in self._metadata.items())
        return "\n".join([*declarations, *functions, attributes, *metadata]) + "\n"


class Loop:
    """A loop being written. It formats as its index, so `f"mul i64 {i}, 8"` reads well.

    `carried` are the accumulators' values at the start of an iteration; the body must give the
    ones for the next iteration to `carry`; `results` are the final ones, after the loop.
    """

    def __init__(self, index: str, carried: list[str], results: list[str]) -> None:
        self.index = index
        self.carried = carried
        self.results = results
        self.next: list[str] = []

    def carry(self, *values: str) -> None:
        """Set the accumulators' values for the next iteration."""
        self.next = list(values)

    def __str__(self) -> str:
        return self.index


@dataclass(frozen=True, slots=True)
class Header:
    """The block a loop of any form comes back to, and the values it carries."""

    label: str
    before: str
    at: int
    types: tuple[str, ...]
    initial: tuple[str, ...]
    carried: tuple[str, ...]


class FunctionBuilder:
    """Emits one function of a module, which it joins at once.

    `parameters` are LLVM parameters with their attributes and names, as in `ptr noalias %x`;
    `args` holds the names. Blocks are named without the `%`. `passes` is what LLVM should do.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Sequence[str] = (),
        *,
        returns: str = "void",
        internal: bool = False,
        attributes: str = "",
        passes: Passes = "vectorise",
    ) -> None:
        self.module = module
        self.symbol = name
        self.name = f"@{name}"
        self.args = [parameter.rsplit(" ", 1)[1] for parameter in parameters]
        self.passes: Passes = passes
        signature = f"{returns} {self.name}({', '.join(parameters)})"
        self.declaration = f"declare {signature}"
        self._head = f"define {_INTERNAL if internal else ''}{signature}"
        self._attributes = f"{attributes} #0" if attributes else "#0"
        self._reserved: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self.current = "entry"
        self.terminated = False
        module.functions.append(self)

    def __str__(self) -> str:
        head = [f"{self._head} {self._attributes} {{", "entry:", *self._reserved]
        return "\n".join([*head, *self._lines, "}"])

    def fresh(self, prefix: str = "t") -> str:
        """A value name not used before: `%prefix.7`."""
        self._count += 1
        return f"%{prefix}.{self._count}"

    def label(self, prefix: str) -> str:
        """A block name not used before, for `branch` and then `block`."""
        return self.fresh(prefix)[1:]

    def emit(self, instruction: str, prefix: str = "t") -> str:
        """Emit an instruction that has a value, and return the value's new name."""
        name = self.fresh(prefix)
        self._lines.append(f"  {name} = {instruction}")
        return name

    def reserve(self, type_: str, prefix: str) -> str:
        """Memory on the stack, taken when the function begins."""
        name = self.fresh(prefix)
        self._reserved.append(f"  {name} = alloca {type_}, align 16")
        return name

    def reserve_cell(self, prefix: str) -> str:
        """Memory on the stack for a pointer, which is null when the function begins."""
        name = self.reserve("ptr", prefix)
        self._reserved.append(f"  store ptr null, ptr {name}")
        return name

    def do(self, instruction: str) -> None:
        """Emit an instruction that has no value: a store, a void call, a return."""
        self._lines.append(f"  {instruction}")
        self.terminated = instruction.startswith(_TERMINATORS)

    def block(self, label: str) -> None:
        """Start a block; the one before it falls through to it unless it ended already."""
        if not self.terminated:
            self.branch(label)
        self._lines.append(f"{label}:")
        self.current = label
        self.terminated = False

    def branch(self, label: str) -> None:
        """Jump."""
        self.do(f"br label %{label}")

    def branch_if(self, condition: str, then: str, otherwise: str) -> None:
        """Jump to `then` when the i1 `condition` holds, else to `otherwise`."""
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def phi(self, type_: str, incoming: Sequence[tuple[str, str]], prefix: str = "t") -> str:
        """Merge (value, block) pairs; must come first in its block."""
        pairs = ", ".join(f"[ {value}, %{block} ]" for value, block in incoming)
        return self.emit(f"phi {type_} {pairs}", prefix)

    def offset(self, pointer: str, offset: str | int) -> str:
        """`pointer` moved by `offset` bytes."""
        return self.emit(f"getelementptr i8, ptr {pointer}, i64 {offset}", "p")

    def record(self, fields: Sequence[str]) -> str:
        """Memory on the stack that holds typed registers, one every eight bytes."""
        made = self.reserve(f"[{len(fields)} x i64]", "record")
        for k, field in enumerate(fields):
            self.do(f"store {field}, ptr {self.offset(made, 8 * k)}")
        return made

    def unpack(self, record: str, types: Sequence[str]) -> list[str]:
        """The fields of a record."""
        return [
            self.emit(f"load {type_}, ptr {self.offset(record, 8 * k)}")
            for k, type_ in enumerate(types)
        ]

    def intrinsic(self, returns: str, function: str, *arguments: str) -> str:
        """Call an intrinsic with typed arguments, as in `"i64 %x"`, and declare it."""
        types = ", ".join(argument.rsplit(" ", 1)[0] for argument in arguments)
        self.module.declare(f"declare {returns} {function}({types})")
        return self.emit(f"call {returns} {function}({', '.join(arguments)})")

    def minimum(self, x: str | int, y: str | int) -> str:
        """The smaller of two i64."""
        return self.intrinsic("i64", "@llvm.smin.i64", f"i64 {x}", f"i64 {y}")

    def maximum(self, x: str | int, y: str | int) -> str:
        """The larger of two i64."""
        return self.intrinsic("i64", "@llvm.smax.i64", f"i64 {x}", f"i64 {y}")

    def select(self, condition: str, type_: str, then: str | int, otherwise: str | int) -> str:
        """`then` where the i1 `condition` holds, else `otherwise`."""
        return self.emit(f"select i1 {condition}, {type_} {then}, {type_} {otherwise}")

    @contextmanager
    def if_then(self, condition: str) -> Iterator[None]:
        """Run the body when the i1 `condition` holds. A body that returns ends its path."""
        then, done = self.label("then"), self.label("done")
        self.branch_if(condition, then, done)
        self.block(then)
        yield
        self.block(done)

    @contextmanager
    def loop(
        self,
        start: str | int,
        end: str | int,
        step: str | int = 1,
        name: str = "i",
        *,
        accumulators: Sequence[tuple[str, str]] = (),
        properties: Sequence[str] = (),
        runs: bool = False,
    ) -> Iterator[Loop]:
        """`for (i64 i = start; i < end; i += step)`, with 0 <= start and 0 < step.

        `accumulators` are (type, initial value) pairs carried from iteration to iteration; see
        `Loop`. The loop has the rotated form (guard, body, latch) that LLVM's passes want; one that
        `runs` has its first iteration in any case, and so needs no guard.
        """
        before, body, after = self.current, self.label(name), self.label(f"{name}.end")
        if not runs:
            self.branch_if(self.emit(f"icmp slt i64 {start}, {end}"), body, after)
        self.block(body)
        types = [type_ for type_, _ in accumulators]
        initial = [value for _, value in accumulators]
        phis_at = len(self._lines)
        loop = Loop(
            self.fresh(name),
            [self.fresh("acc") for _ in types],
            [self.fresh("result") for _ in types],
        )
        yield loop
        if len(loop.next) != len(types):
            raise ValueError(f"loop {name} carries {len(types)} values, not {len(loop.next)}")
        index_next = self.emit(f"add nuw nsw i64 {loop}, {step}")
        again = self.emit(f"icmp slt i64 {index_next}, {end}")
        latch = self.current
        self.do(f"br i1 {again}, label %{body}, label %{after}{self._loop_id(properties)}")
        self.block(after)
        phis = [("i64", loop.index, start, index_next)]
        phis += zip(types, loop.carried, initial, loop.next, strict=True)
        self._lines[phis_at:phis_at] = [
            f"  {phi} = phi {type_} [ {first}, %{before} ], [ {following}, %{latch} ]"
            for type_, phi, first, following in phis
        ]
        if runs:
            loop.results[:] = loop.next
            return
        self._lines += [
            f"  {result} = phi {type_} [ {first}, %{before} ], [ {last}, %{latch} ]"
            for type_, result, first, last in zip(
                types, loop.results, initial, loop.next, strict=True
            )
        ]

    def begin_loop(self, name: str, carried: Sequence[tuple[str, str]]) -> Header:
        """Start a loop that ends wherever its code leaves it; (type, initial value) pairs are
        carried, and hold after the loop as well. `end_loop` goes back to the start."""
        label, before = self.label(name), self.current
        self.block(label)
        types, initial = [t for t, _ in carried], [v for _, v in carried]
        values = [self.fresh(name) for _ in carried]
        return Header(label, before, len(self._lines), tuple(types), tuple(initial), tuple(values))

    def end_loop(self, header: Header, following: Sequence[str]) -> None:
        """Go back to the start of the loop with the next values of what it carries."""
        latch = self.current
        self.branch(header.label)
        self._lines[header.at : header.at] = [
            f"  {value} = phi {type_} [ {first}, %{header.before} ], [ {new}, %{latch} ]"
            for type_, value, first, new in zip(
                header.types, header.carried, header.initial, following, strict=True
            )
        ]

    def _loop_id(self, properties: Sequence[str]) -> str:
        if not properties:
            return ""
        nodes = ", ".join(self.module.metadata(text) for text in properties)
        return f", !llvm.loop {self.module.metadata(nodes, distinct=True)}"


# LLVM's contexts are separate but target machines and the JIT session are shared, so one thread
# at a time. Re-entrant: the garbage collector may run `_unload` while we hold it.
llvm_lock = threading.RLock()
# A child of a process that was compiling gets LLVM as it was between two compilations.
os.register_at_fork(
    before=llvm_lock.acquire,
    after_in_parent=llvm_lock.release,
    after_in_child=llvm_lock.release,
)
_library_numbers = itertools.count()


class Compiled(Protocol):
    """Machine code in this process. It is unloaded when the object dies."""

    def address(self, symbol: str) -> int:
        """Address of an external function or variable; raises CodegenError if there is none."""


class _Linked:
    """Code linked by LLVM."""

    def __init__(self, objects: Iterable[bytes], imports: Mapping[str, int]) -> None:
        import llvmlite.binding as llvm

        self._addresses: dict[str, int] = {}
        with llvm_lock:
            self._jit = _jit()
            self._library = f"jitgraph.{next(_library_numbers)}"
            linker = llvm.JITLibraryBuilder()
            for object_ in objects:
                linker.add_object_img(object_)
            linker.add_current_process()
            for symbol, address in imports.items():
                linker.import_symbol(symbol, address)
            try:
                self._code = [linker.link(self._jit, self._library)]
            except RuntimeError as error:
                raise CodegenError(f"linking failed: {error}") from error
        # Not at exit: worker threads may still be parked inside generated code.
        weakref.finalize(self, _unload, self._code).atexit = False

    def address(self, symbol: str) -> int:
        """As `Compiled` says. The linker works on demand, so this is also where it comes out that
        something needs a symbol which nobody defines."""
        if symbol not in self._addresses:
            with llvm_lock:
                try:
                    found = self._jit.lookup(self._library, symbol)
                except RuntimeError as error:
                    raise CodegenError(f"cannot link {symbol}: {error}") from error
                self._code.append(found)
                self._addresses[symbol] = found[symbol]
        return self._addresses[symbol]


def _unload(code: list[llvm.ResourceTracker]) -> None:
    with llvm_lock:
        while code:
            code.pop().close()


def compile_ir(
    text: str,
    target: Target,
    *,
    passes: Passes = "vectorise",
    imports: Mapping[str, int] = MappingProxyType({}),
) -> Compiled:
    """Compile one module and load it; see `object_code` and `load_objects`."""
    return load_objects([object_code(Unit(text, passes), target)], imports=imports)


def object_code(unit: Unit, target: Target) -> bytes:
    """Relocatable object code. Raises CodegenError when LLVM rejects the text."""
    with llvm_lock:
        return bytes(_machine(target, unit.passes).emit_object(_optimised(unit, target)))


def load_objects(
    objects: Iterable[bytes], *, imports: Mapping[str, int] = MappingProxyType({})
) -> Compiled:
    """Link objects into this process, as one library.

    `imports` are addresses of symbols that they need, beyond their own and those of the process;
    what they point to must outlive the result.
    """
    images = list(objects)
    return load(images, imports) or _Linked(images, imports)


def assembly(unit: Unit, target: Target) -> str:
    """The assembly, for people to read."""
    with llvm_lock:
        text: str = _machine(target, unit.passes).emit_assembly(_optimised(unit, target))
        return text


def optimised_ir(unit: Unit, target: Target) -> str:
    """The IR that machine code is made of, for people to read."""
    with llvm_lock:
        return str(_optimised(unit, target))


def _optimised(unit: Unit, target: Target) -> llvm.ModuleRef:
    """Parsed and optimised module, in a context of its own (freed with the module)."""
    import llvmlite.binding as llvm

    machine = _machine(target, unit.passes)
    # The layout comes first: alignments that the text leaves out are taken from it.
    header = f'target datalayout = "{machine.target_data}"\ntarget triple = "{target.triple}"\n'
    try:
        module = llvm.parse_assembly(header + unit.text, llvm.create_context())
        if os.environ.get("JITGRAPH_VERIFY"):
            module.verify()
    except RuntimeError as error:
        raise CodegenError(f"invalid LLVM IR: {error}", unit.text) from error
    if unit.passes == "vectorise":
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = True
        options.loop_interleaving = True
        options.loop_unrolling = True
        options.slp_vectorization = False
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
    elif unit.passes == "explicit":
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
        passes = llvm.create_new_module_pass_manager()
        passes.add_instruction_combine_pass()
        passes.run(module, builder)
    return module


@cache
def _machine(target: Target, passes: Passes) -> llvm.TargetMachine:
    """LLVM's code generator for `target`; position independent, as the JIT loads it anywhere."""
    import llvmlite.binding as llvm

    initialise()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=0 if passes == "quick" else 2,
        reloc="pic",
        codemodel="small",
        jit=True,
    )


@cache
def _jit() -> llvm.LLJIT:
    """The process's one JIT session: each `Compiled` is a library in it."""
    import llvmlite.binding as llvm

    initialise()
    target = host()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, reloc="pic", codemodel="small", jit=True
    )
    return llvm.create_lljit_compiler(machine, suppress_errors=True)
