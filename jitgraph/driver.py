"""From a function to machine code: the one place where the stages follow each other.

    Function -> specialise -> optimise -> schedule -> LLVM IR -> object code
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

from jitgraph.config import EXACT, Products
from jitgraph.errors import JitgraphError, OptionError, ShapeError
from jitgraph.ir.builder import Rewritten
from jitgraph.ir.function import Function
from jitgraph.ir.ops.opaque import is_opaque
from jitgraph.ir.order import C, Order
from jitgraph.passes.base import Options, Trace
from jitgraph.passes.specialise import Fixed, always_failing, plain, specialise
from jitgraph.store import Entry, store

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.backend import Modules
    from jitgraph.codegen.gpu.target import DeviceTarget
    from jitgraph.codegen.llvm import Compiled, Module
    from jitgraph.codegen.signature import Signature
    from jitgraph.ir.kernel import Program
    from jitgraph.ir.values import Op


@dataclass(frozen=True, slots=True)
class Layout:
    """What a variant is compiled for: per parameter, how it lies in memory and which unknown
    extents are fixed."""

    orders: tuple[Order, ...]
    fixed: Fixed


@dataclass(frozen=True, slots=True)
class Interface:
    """Where parameters come from and results go: the cells of shared variables, by parameter and
    by result (None for an argument or a returned array). `single` returns a bare array, `nothing`
    None; else a call returns a list."""

    param_slots: tuple[int | None, ...]
    result_slots: tuple[int | None, ...]
    single: bool
    nothing: bool = False


@dataclass(slots=True)
class Compilation:
    """Every stage of one variant, each made when somebody asks for it."""

    function: Function
    layout: Layout
    interface: Interface
    algebra: str = "real"
    #: Where the program's arrays are and its kernels run, and what these are compiled for, if not
    #: for the very device.
    device: str = "cpu"
    target: DeviceTarget | None = None
    #: How matrices are multiplied on the device.
    products: Products = EXACT
    #: Whether the code takes the times of its steps (`codegen.probes`).
    probed: bool = False
    #: The function after all passes as text, where that is known already.
    text: str | None = None
    log: Callable[[Rewritten], None] | None = None
    trace: Trace = field(default_factory=Trace)
    times: dict[str, float] = field(default_factory=dict)
    _graph: Function | None = None
    _optimised: Function | None = None
    _program: Program | None = None
    _module: Module | Modules | None = None
    _code: Compiled | None = None

    @property
    def graph(self) -> Function:
        """The function as written, over this variant's parameter types."""
        if self._graph is None:
            with self._timed("specialise"):
                self._graph = specialise(self.function, self.layout.fixed)
        return self._graph

    @property
    def optimised(self) -> Function:
        """The function after all passes of the pipeline."""
        if self._optimised is None and self.text is not None:
            from jitgraph.ir.parser import parse

            # Of another version it may not be understood.
            with self._timed("parse"), suppress(JitgraphError):
                self._optimised = parse(self.text)
        if self._optimised is None:
            graph = self.graph
            with self._timed("optimise"):
                options = Options(self.algebra, self.log)
                try:
                    self._optimised = _pipeline().optimise(graph, options, self.trace)
                except ShapeError:
                    # Wrong for every input, or only where no unknown extent is 1?
                    _pipeline().optimise(plain(self.function), Options(self.algebra))
                    self._optimised = always_failing(graph)
        return self._optimised

    @property
    def program(self) -> Program:
        """Kernels, products, buffers."""
        if self._program is None:
            optimised = self.optimised
            with self._timed("schedule"):
                on_device = self.device != "cpu"
                self._program = _scheduler().schedule(
                    optimised, self.layout.orders, device=on_device,
                    contracts=self.algebra == "real" and (on_device or _cpu().host().has_fma),
                )  # fmt: skip
        return self._program

    @property
    def signature(self) -> Signature:
        """The parameters and outputs of the native function."""
        slots = self.interface.param_slots, self.interface.result_slots
        found: Signature = _signatures().signature_of(self.graph, self.layout.orders, *slots)
        return found

    @property
    def equal_extents(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Pairs of (parameter, axis) whose extents bear one name."""
        found: list[tuple[tuple[int, int], tuple[int, int]]]
        found = _signatures().equal_extents(self.graph)
        return found

    @property
    def module(self) -> Module | Modules:
        """The module of LLVM IR, before LLVM's own passes; for a device, the host's and its own."""
        if self._module is None:
            program, signature, contract = self.program, self.signature, self.algebra == "real"
            with self._timed("codegen"):
                if self.device == "cpu":
                    self._module = _cpu().emit(
                        program, signature, contract=contract, probed=self.probed
                    )
                else:
                    self._module = _gpu().emit(
                        program, signature, self.device_target, contract=contract,
                        products=self._products, probed=self.probed,
                    )  # fmt: skip
        return self._module

    @property
    def device_target(self) -> DeviceTarget:
        """What a device's kernels are compiled for."""
        if self.target is None:
            self.target = _devices().device(self.device).target
        return self.target

    @property
    def _products(self) -> Products:
        """As asked for, where the device has a library and the function use for it."""
        asked = self.products.products
        if asked == "auto" and not (
            self.function.has_op(_multiplies) and _devices().device(self.device).has_library
        ):
            asked = "own"
        return replace(self.products, products=asked)

    @property
    def _backend(self) -> Any:
        return _cpu() if self.device == "cpu" else _gpu()

    @property
    def llvm(self) -> str:
        """The module as text."""
        return self.module.text()

    @property
    def code(self) -> Compiled:
        """Machine code in this process; the other stages are passed over if the disk has it."""
        if self._code is None:
            # A call of Python is one of this process.
            shelf = None if is_opaque(self.function) else store()
            entry = None
            if shelf is not None:
                with self._timed("lookup"):
                    key = _libraries().function_key(str(self.function), self._options())
                    entry = shelf.load(key)
            if entry is None:
                module = self.module
                with self._timed("llvm"):
                    entry = self._backend.compiled(module, self.function.name)
                if shelf is not None:
                    shelf.save(key, entry)
            with self._timed("link"):
                if self.device == "cpu":
                    self._code = _libraries().load(entry)
                else:
                    self._code = _on_device(self.device, entry)
        return self._code

    def _options(self) -> str:
        """All that decides about the code besides the function. Where the cells of shared
        variables lie does not, only which parameters and results have the same."""
        face = self.interface
        slots = (*face.param_slots, *face.result_slots)
        cells = [None if slot is None else slots.index(slot) for slot in slots]
        target = None if self.device == "cpu" else self.device_target
        how = None if self.device == "cpu" else self._products
        kind = (face.single, face.nothing, self.algebra, self.probed, target, how)
        return repr((self.layout, cells, *kind))

    @property
    def assembly(self) -> str:
        """The assembly of the machine code; PTX, for a device."""
        text: str = self._backend.assembly(self.module)
        return text

    @property
    def ptx(self) -> str:
        """The kernels as PTX. Raises OptionError for a program of the CPU."""
        text: str = _gpu().ptx_of(self._device_module("ptx"))
        return text

    @property
    def sass(self) -> str:
        """The kernels as machine code of the GPU. Raises DeviceError where there is no assembler
        or nothing that shows what it makes."""
        text: str = _gpu().sass_of(self._device_module("sass"))
        return text

    def _device_module(self, stage: str) -> Any:
        if self.device == "cpu":
            raise OptionError(
                f"{self.function.name} computes on the CPU and has no {stage}",
                hint='build it with device="cuda", or show it with '
                "`python -m jitgraph.dump --arch sm_90`",
            )
        return self.module

    def _timed(self, stage: str) -> _Timer:
        return _Timer(self.times, stage)


class _Timer:
    def __init__(self, times: dict[str, float], stage: str) -> None:
        self.times, self.stage = times, stage

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.times[self.stage] = time.perf_counter() - self.start


# Imported when first needed, to keep `import jitgraph` quick: most programs that start load what
# they need from the disk.
def _pipeline() -> Any:
    from jitgraph.passes import pipeline

    return pipeline


def _scheduler() -> Any:
    from jitgraph.passes import schedule

    return schedule


def _signatures() -> Any:
    from jitgraph.codegen import signature

    return signature


def _cpu() -> Any:
    """The back end, imported when first needed: it brings LLVM, and `import jitgraph` must not."""
    from jitgraph.codegen import cpu

    return cpu


def _gpu() -> Any:
    """The back end for devices."""
    from jitgraph.codegen.gpu import backend

    return backend


def _devices() -> Any:
    """The devices of this machine."""
    from jitgraph.runtime import devices

    return devices


def _multiplies(op: Op) -> bool:
    """Whether this may be a product for a library."""
    from jitgraph.codegen.gpu.products.library import WORTHWHILE

    if op.name != "matmul":
        return False
    a, b = (value.type.shape for value in op.args)
    sizes = (*a, *b[:-2], b[-1])
    known = [n for n in sizes if isinstance(n, int)]
    return min(len(a), len(b)) > 1 and (len(known) < len(sizes) or prod(known) >= WORTHWHILE)


def _on_device(device: str, entry: Entry) -> Compiled:
    from jitgraph.runtime.device_code import DeviceCode

    return DeviceCode(_devices().device(device), entry)


def _libraries() -> Any:
    """What loads code, imported when first needed like the back end, and without it."""
    from jitgraph.codegen import libraries

    return libraries


def default_layout(fn: Function, extents: Sequence[Sequence[int | None]]) -> Layout:
    """The layout compiled ahead of the first call: C order, and no unknown extent is 1 except
    where a shared variable has it so now (`extents`, None where not known)."""
    fixed = tuple(tuple(int(e == 1) for e in known) for known in extents)
    return Layout((C,) * len(fn.params), fixed)
