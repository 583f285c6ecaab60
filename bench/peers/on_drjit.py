"""Dr.Jit on LLVM: flat arrays for vectors, tensors for matrices; evaluated and waited for."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench.case import Case
from bench.peers.base import Names, NotHere, Peer, Prepared, call, scalar

VERSIONS = range(22, 12, -1)


def library() -> str | None:
    """libLLVM: where DRJIT_LIBLLVM_PATH says, or the newest that the linker knows."""
    if given := os.environ.get("DRJIT_LIBLLVM_PATH"):
        return given
    for version in VERSIONS:
        for name in (f"LLVM-{version}", f"LLVM.{version}"):
            if found := ctypes.util.find_library(name):
                return found
        for folder in Path("/usr/lib").glob(f"llvm-{version}/lib"):
            if (path := folder / "libLLVM.so").exists():
                return str(path)
    return ctypes.util.find_library("LLVM")


LIBRARY = library()
if LIBRARY is None:
    raise ImportError("needs libLLVM.so (Debian: apt install libllvm19)")
os.environ["DRJIT_LIBLLVM_PATH"] = LIBRARY

import drjit as dr  # noqa: E402
from drjit.llvm import ad as backend  # noqa: E402

NAMESPACE = Names(
    dr,
    where=dr.select,
    sigmoid=lambda x: dr.rcp(1 + dr.exp(-x)),
    sum=lambda x, axis=None, keepdims=False: dr.sum(x, axis, keepdims=keepdims),
    mean=lambda x, axis=None, keepdims=False: dr.mean(x, axis, keepdims=keepdims),
    max=lambda x, axis=None, keepdims=False: dr.max(x, axis, keepdims=keepdims),
)
VECTORS = {"float32": "Float", "float64": "Float64", "int64": "Int64"}
TENSORS = {"float32": "TensorXf", "float64": "TensorXf64", "int64": "TensorXi64"}
#: What it lacks, or what takes it minutes.
LACKS = {
    "product": "no products", "product in order": "no products",
    "product of slices": "no products", "call update": "–", "layout input": "no strided arrays",
    "reduce argmax": "no argmax", "reduce var": "no var",
    "masked sum": "no masked selection", "given mask sum": "no masked selection",
    "Newton roots": "–", "recurrent net": "no products",
    "function expm1": "no expm1", "function log1p": "no log1p",
}  # fmt: skip


def array(value: Any) -> Any:
    """A NumPy array on Dr.Jit's side."""
    if scalar(value):
        return value
    kinds = VECTORS if value.ndim == 1 else TENSORS
    return getattr(backend, kinds[value.dtype.name])(np.ascontiguousarray(value))


class Adapter(Peer):
    """Frozen functions where they work: they do not trace again at each call."""

    def version(self) -> str:
        with contextlib.suppress(AttributeError):
            dr.set_thread_count(self.threads)
        return f"{metadata.version('drjit')} ({Path(str(LIBRARY)).name})"

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.family in LACKS:
            raise NotHere(LACKS[case.family])
        if case.state or case.wrt:
            raise NotHere("–")
        arguments = [array(a) for a in arrays]
        dr.eval(*arguments)
        if all(a.ndim <= 1 for a in arrays if not scalar(a)) or case.group == "layouts":
            return self._fastest(case, arguments)
        raise NotHere("–")

    def _fastest(self, case: Case, arguments: list[Any]) -> Prepared:
        def program(*inputs: Any) -> Any:
            return case.expression(NAMESPACE, *inputs)

        def frozen_or_traced() -> tuple[Any, str]:
            frozen = dr.freeze(program)
            try:
                for _ in range(3):
                    dr.eval(frozen(*arguments))
            except Exception:
                return program, "traced"
            return frozen, "frozen"

        function, how = frozen_or_traced()

        def run(*inputs: Any) -> Any:
            result = function(*inputs)
            dr.eval(result)
            dr.sync_thread()
            return result

        statement, names = call(run, arguments)
        return Prepared(statement, names, lambda: _fetched(run(*arguments)), how)


def _fetched(result: Any) -> list[Any]:
    return [np.asarray(r.numpy() if hasattr(r, "numpy") else r)
            for r in (result if isinstance(result, tuple) else (result,))]  # fmt: skip
