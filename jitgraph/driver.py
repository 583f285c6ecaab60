"""From a function to machine code: the one place where the stages follow each other.

    Function -> specialise -> optimise -> schedule -> LLVM IR -> object code
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jitgraph.codegen.entry import OutputSpec, ParamSpec, emit_entry
from jitgraph.codegen.llvm import Compiled, Module, compile_ir
from jitgraph.codegen.matmul import matmul_library
from jitgraph.codegen.program import Signature, emit_program
from jitgraph.codegen.target import host
from jitgraph.ir.builder import Rewritten
from jitgraph.ir.function import Function
from jitgraph.ir.kernel import Product, Program
from jitgraph.ir.types import Extent
from jitgraph.passes.base import Options, Trace
from jitgraph.passes.pipeline import optimise
from jitgraph.passes.schedule import schedule
from jitgraph.passes.specialise import Ones, specialise


@dataclass(frozen=True, slots=True)
class Layout:
    """What a variant is compiled for: per parameter, whether it is in C order and which unknown
    extents are 1."""

    contiguous: tuple[bool, ...]
    ones: Ones


@dataclass(frozen=True, slots=True)
class Interface:
    """Where parameters come from and results go: the cells of shared variables, by parameter and
    by result (None for an argument or a returned array); `single` returns a bare array."""

    param_slots: tuple[int | None, ...]
    result_slots: tuple[int | None, ...]
    single: bool


@dataclass(slots=True)
class Compilation:
    """Every stage of one variant, each made when somebody asks for it."""

    function: Function
    layout: Layout
    interface: Interface
    algebra: str = "real"
    log: Callable[[Rewritten], None] | None = None
    trace: Trace = field(default_factory=Trace)
    times: dict[str, float] = field(default_factory=dict)
    _graph: Function | None = None
    _optimised: Function | None = None
    _program: Program | None = None
    _llvm: str | None = None
    _code: Compiled | None = None

    @property
    def graph(self) -> Function:
        """The function as written, over this variant's parameter types."""
        if self._graph is None:
            with self._timed("specialise"):
                self._graph = specialise(self.function, self.layout.ones)
        return self._graph

    @property
    def optimised(self) -> Function:
        """The function after all passes of the pipeline."""
        if self._optimised is None:
            graph = self.graph
            with self._timed("optimise"):
                options = Options(self.algebra, self.log)
                self._optimised = optimise(graph, options, self.trace)
        return self._optimised

    @property
    def program(self) -> Program:
        """Kernels, products, buffers."""
        if self._program is None:
            optimised = self.optimised
            with self._timed("schedule"):
                self._program = schedule(optimised, self.layout.contiguous)
        return self._program

    @property
    def signature(self) -> Signature:
        """The parameters and outputs of the native function."""
        params = []
        for param, contiguous, slot in zip(
            self.graph.params, self.layout.contiguous, self.interface.param_slots, strict=True
        ):
            dims = tuple(d if isinstance(d, int) else None for d in param.type.shape)
            not_one = tuple(isinstance(d, Extent) and d.not_one for d in param.type.shape)
            params.append(ParamSpec(param.dtype, dims, not_one, contiguous, slot))
        outputs = [
            OutputSpec("result" if slot is None else "update", r.dtype, r.ndim, slot)
            for r, slot in zip(self.graph.results, self.interface.result_slots, strict=True)
        ]
        return Signature(tuple(params), tuple(outputs))

    @property
    def llvm(self) -> str:
        """The module as LLVM IR text, before LLVM's own passes."""
        if self._llvm is None:
            program = self.program
            with self._timed("codegen"):
                module = Module(host())
                signature = self.signature
                emit_program(module, program, signature, contract=self.algebra == "real")
                emit_entry(
                    module,
                    signature.params,
                    signature.outputs,
                    equal_dims=_equal_dims(self.graph),
                    single=self.interface.single,
                )
                self._llvm = module.text()
        return self._llvm

    @property
    def code(self) -> Compiled:
        """Machine code in this process."""
        if self._code is None:
            text = self.llvm
            with self._timed("llvm"):
                self._code = compile_ir(text, host(), imports=_imports(self.program))
        return self._code

    @property
    def assembly(self) -> str:
        """The assembly of the machine code."""
        return self.code.assembly()

    def _timed(self, stage: str) -> _Timer:
        return _Timer(self.times, stage)


class _Timer:
    def __init__(self, times: dict[str, float], stage: str) -> None:
        self.times, self.stage = times, stage

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.times[self.stage] = time.perf_counter() - self.start


def _equal_dims(fn: Function) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Axes of parameters that bear the same extent name."""
    first: dict[str, tuple[int, int]] = {}
    pairs = []
    for k, param in enumerate(fn.params):
        for axis, dim in enumerate(param.type.shape):
            if isinstance(dim, Extent):
                at = first.setdefault(dim.name, (k, axis))
                if at != (k, axis):
                    pairs.append((at, (k, axis)))
    return pairs


def _imports(program: Program) -> dict[str, int]:
    """Addresses of the shared matrix-product routines that the program calls."""
    found: dict[str, int] = {}
    for step in program.work():
        if isinstance(step, Product):
            name = "f64" if step.out.buffer.dtype.itemsize == 8 else "f32"
            library = matmul_library(name, host())
            for symbol in (f"matmul_{name}", f"matmul_{name}_scratch"):
                found[symbol] = library.address(symbol)
    return found


def default_layout(fn: Function, extents: Sequence[Sequence[int | None]]) -> Layout:
    """The layout compiled ahead of the first call: C order, and no unknown extent is 1 except
    where a shared variable has it so now (`extents`, None where not known)."""
    ones = tuple(
        tuple(e == 1 for e in known) for known in extents
    )
    return Layout((True,) * len(fn.params), ones)
