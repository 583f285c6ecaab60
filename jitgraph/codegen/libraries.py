"""Loading the code of a function: object code, and the libraries compiled once that it calls.

Nothing here imports a code generator before it is needed: code from the disk needs none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Protocol

from jitgraph.codegen.llvm import Compiled, load_objects
from jitgraph.codegen.objects import cached_library, code_key
from jitgraph.codegen.target import host
from jitgraph.store import Entry


class _Addresses(Protocol):
    """Compiled code, or other code in this process."""

    def address(self, symbol: str) -> int: ...


# Of two threads that make a library at once, one would link with what is thrown away. Re-entrant:
# libraries are linked with each other.
_lock = threading.RLock()


def function_key(text: str, options: str) -> str:
    """The key of the code for a function with this text, under the options."""
    return code_key(host(), "function", text, options)


def load(entry: Entry) -> Compiled:
    """Machine code in this process, linked with the libraries it calls."""
    return load_objects(entry.objects, imports=addresses(entry.header["imports"]))


def addresses(imports: Mapping[str, str]) -> dict[str, int]:
    """Where the functions that code calls are, given the library of each."""
    with _lock:
        return {symbol: LIBRARIES[library]().address(symbol) for symbol, library in imports.items()}


def _matmul(dtype: str) -> Compiled:
    from jitgraph.codegen.matmul import matmul_library

    return matmul_library(dtype, host())


def _convolution(dtype: str) -> Compiled:
    from jitgraph.codegen.convolution.library import convolution_library

    return convolution_library(dtype, host())


def _pool() -> Compiled:
    from jitgraph.codegen.pool import pool_library

    return pool_library(host())


def _runtime() -> Compiled:
    from jitgraph.codegen.library import runtime_library

    return runtime_library(host())


def _angles() -> Compiled:
    from jitgraph.codegen.mathlib.angles import library_text

    return cached_library("angles", library_text, host(), passes="vectorise")


def _selection() -> Compiled:
    from jitgraph.codegen.selection import selection_library

    return selection_library(host())


def _ordering() -> Compiled:
    from jitgraph.codegen.ordering import ordering_library

    return ordering_library(host())


def _numpy() -> _Addresses:
    from jitgraph.codegen.natives import numpy_routines

    return numpy_routines()


def _scipy() -> _Addresses:
    from jitgraph.codegen.natives import scipy_routines

    return scipy_routines()


def _python() -> _Addresses:
    from jitgraph.codegen.trampoline import trampolines

    return trampolines()


def _iterations() -> Compiled:
    from jitgraph.codegen.iterations import library_text

    target = host()
    return cached_library("iterations", lambda: library_text(target), target, passes="vectorise")


#: What functions are linked with, by the name under which `Module.use` asks for it.
LIBRARIES: dict[str, Callable[[], _Addresses]] = {
    "runtime": _runtime,
    "pool": _pool,
    "angles": cache(_angles),
    "iterations": cache(_iterations),
    "selection": _selection,
    "ordering": _ordering,
    "numpy": _numpy,
    "python": _python,
    "scipy": _scipy,
    "matmul_f32": lambda: _matmul("f32"),
    "matmul_f64": lambda: _matmul("f64"),
    "convolution_f32": lambda: _convolution("f32"),
    "convolution_f64": lambda: _convolution("f64"),
}
