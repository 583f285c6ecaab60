"""Hand-written kernels, and running them on the simulated device."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from jitgraph.codegen.gpu import simulation, simulator
from jitgraph.codegen.llvm import Compiled

_SREG = "llvm.nvvm.read.ptx.sreg"
PRELUDE = f"""
declare i32 @{_SREG}.tid.x()
declare i32 @{_SREG}.ctaid.x()
declare i32 @{_SREG}.ntid.x()
declare i32 @{_SREG}.nctaid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
declare void @llvm.nvvm.bar.warp.sync(i32)
declare i32 @llvm.nvvm.shfl.sync.bfly.i32(i32, i32, i32, i32)
declare i32 @llvm.nvvm.shfl.sync.idx.i32(i32, i32, i32, i32)
declare i32 @llvm.nvvm.shfl.sync.up.i32(i32, i32, i32, i32)
declare i32 @llvm.nvvm.shfl.sync.down.i32(i32, i32, i32, i32)
declare float @llvm.nvvm.shfl.sync.bfly.f32(i32, float, i32, i32)
declare void @llvm.nvvm.membar.gl()
declare i1 @llvm.nvvm.vote.any.sync(i32, i1)
declare i1 @llvm.nvvm.vote.all.sync(i32, i1)
declare i32 @llvm.nvvm.vote.ballot.sync(i32, i1)
@k.shared = internal addrspace(3) global [4096 x i8] undef, align 16
@table = internal constant [4 x float] [float 1.0, float 2.0, float 3.0, float 4.0]
"""
BARRIER = "call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)"
WARP_BARRIER = "call void @llvm.nvvm.bar.warp.sync(i32 -1)"
_PLACE = f"""
  %shared = addrspacecast ptr addrspace(3) @k.shared to ptr
  %tid32 = call i32 @{_SREG}.tid.x()
  %block32 = call i32 @{_SREG}.ctaid.x()
  %threads32 = call i32 @{_SREG}.ntid.x()
  %blocks32 = call i32 @{_SREG}.nctaid.x()
  %tid = zext i32 %tid32 to i64
  %block = zext i32 %block32 to i64
  %threads = zext i32 %threads32 to i64
  %blocks = zext i32 %blocks32 to i64
  %start = mul i64 %block, %threads
  %i = add i64 %start, %tid
  %all = mul i64 %blocks, %threads
"""


def kernel(parameters: str, body: str) -> str:
    """A module with the kernel `k`, whose body finds its place in `%tid`, `%block`, `%i`, ..."""
    return f"{PRELUDE}define ptx_kernel void @k({parameters}) #0 {{\nentry:{_PLACE}{body}}}\n" + (
        'attributes #0 = { nounwind "target-cpu"="sm_80" }\n'
    )


@cache
def code(text: str) -> Compiled:
    return simulation.linked(simulation.simulated_object(text, ["k"]))


def function(name: str, *types: Any) -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_int, *types)(simulator.library().address(f"sim_{name}"))


_P, _N, _U = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint
_TYPES = {
    "launch": (_P, _U, _U, _U, _U, _U, _U, _U, _P, _P, _P),
    "alloc": (_P, _N, _P),
    "free": (_N, _P),
    "set_bytes": (_N, ctypes.c_ubyte, _N, _P),
    "to_host": (_P, _N, _N, _P),
    "to_device": (_N, _P, _N, _P),
    "copy": (_N, _N, _N, _P),
    "wait": (_P,),
    "enter": (_P,),
}


def driver(name: str, *arguments: Any) -> int:
    """Call a function of the simulated driver; the stream is added."""
    types = _TYPES[name]
    given = (*arguments, None) if len(arguments) < len(types) else arguments
    return int(function(name, *types)(*given))


class Memory:
    """An allocation on the simulated device."""

    def __init__(self, size: int) -> None:
        cell = ctypes.c_size_t()
        assert driver("alloc", ctypes.addressof(cell), size) == 0
        self.address, self.size = cell.value, size

    @staticmethod
    def of(array: np.ndarray[Any, Any]) -> Memory:
        memory = Memory(array.nbytes)
        assert driver("to_device", memory.address, array.ctypes.data, array.nbytes) == 0
        return memory

    def read(self, dtype: Any, count: int | None = None) -> np.ndarray[Any, Any]:
        found = np.empty(self.size // np.dtype(dtype).itemsize if count is None else count, dtype)
        assert driver("to_host", found.ctypes.data, self.address, found.nbytes) == 0
        return found

    def free(self) -> None:
        assert driver("free", self.address) == 0


def launch(text: str, grid: int, threads: int, arguments: Sequence[Any], dynamic: int = 0) -> int:
    """Run the kernel `k`; arguments are allocations and integers."""
    words = [ctypes.c_uint64(a.address if isinstance(a, Memory) else a) for a in arguments]
    cells = (ctypes.c_void_p * len(words))(*map(ctypes.addressof, words))
    found = simulation.handle(code(text), "k")
    return driver("launch", found, grid, 1, 1, threads, 1, 1, dynamic, None, cells, None)
