"""What the machine can do: bandwidth of streaming copies and reads, and multiply-adds a second.

    python -m bench.machine THREADS

Prints JSON. The kernels are a few lines of LLVM IR, so that no library stands between. The best of
several strategies and repetitions counts: a limit is what something reached.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

BYTES = 256 << 20
REPEATS = 7
#: Independent accumulators: more than latency times ports of any core yet.
CHAINS = 12
FMAS = 2_000_000
PAGE = 4096


def stream(name: str, width: int, store: str) -> str:
    """A kernel that copies, or (without a store) reads, vectors of `width` bytes."""
    vector, lanes = f"<{width // 8} x i64>", range(8)
    loads = "".join(
        f"  %s{k} = getelementptr i8, ptr %src, i64 %i{k}\n"
        f"  %v{k} = load {vector}, ptr %s{k}, align {width}\n" for k in lanes
    )  # fmt: skip
    at = "".join(f"  %i{k} = add i64 %i, {k * width}\n" for k in lanes)
    stores = "".join(
        f"  %d{k} = getelementptr i8, ptr %dst, i64 %i{k}\n"
        f"  store {vector} %v{k}, ptr %d{k}, align {width}{store}\n" for k in lanes
    )  # fmt: skip
    sums = "".join(f"  %t{k} = xor {vector} %a{k}, %v{k}\n" for k in lanes)
    phis = "".join(
        f"  %a{k} = phi {vector} [zeroinitializer, %entry], [%t{k}, %loop]\n" for k in lanes
    )
    folds = "".join(
        f"  %f{k + 1} = xor {vector} {f'%f{k}' if k else 'zeroinitializer'}, %t{k}\n"
        for k in lanes
    )
    reading = store == "read"
    return (
        f"define i64 @{name}(ptr %dst, ptr %src, i64 %n) {{\nentry:\n  br label %loop\nloop:\n"
        f"  %i = phi i64 [0, %entry], [%next, %loop]\n{phis if reading else ''}{at}{loads}"
        f"{sums if reading else stores}  %next = add i64 %i, {8 * width}\n"
        f"  %more = icmp ult i64 %next, %n\n  br i1 %more, label %loop, label %done\ndone:\n"
        f"{folds if reading else ''}"
        + (f"  %r = extractelement {vector} %f8, i32 0\n" if reading else "")
        + f"  ret i64 {'%r' if reading else '0'}\n}}\n"
    )


def multiply_adds(name: str, element: str, lanes: int) -> str:
    """A kernel of nothing but fused multiply-adds."""
    vector = f"<{lanes} x {element}>"
    chains = range(CHAINS)
    phis = "".join(f"  %a{k} = phi {vector} [%seed, %entry], [%b{k}, %loop]\n" for k in chains)
    body = "".join(
        f"  %b{k} = call {vector} @llvm.fma.v{lanes}f{32 if element == 'float' else 64}"
        f"({vector} %a{k}, {vector} %x, {vector} %seed)\n" for k in chains
    )  # fmt: skip
    folds = "".join(
        f"  %f{k + 1} = fadd {vector} {f'%f{k}' if k else '%seed'}, %b{k}\n" for k in chains
    )
    intrinsic = f"@llvm.fma.v{lanes}f{32 if element == 'float' else 64}"
    return (
        f"declare {vector} {intrinsic}({vector}, {vector}, {vector})\n"
        f"define i64 @{name}(ptr %p, ptr %q, i64 %n) {{\nentry:\n"
        f"  %seed = load {vector}, ptr %p, align 4\n  %x = load {vector}, ptr %q, align 4\n"
        f"  br label %loop\nloop:\n  %i = phi i64 [0, %entry], [%next, %loop]\n{phis}{body}"
        f"  %next = add i64 %i, 1\n  %more = icmp ult i64 %next, %n\n"
        f"  br i1 %more, label %loop, label %done\ndone:\n{folds}"
        f"  store {vector} %f{CHAINS}, ptr %p, align 4\n  ret i64 0\n}}\n"
    )


class Kernels:
    """The compiled kernels; calls release the GIL."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        for prepare in ("initialize", "initialize_native_target", "initialize_native_asmprinter"):
            try:
                getattr(llvm, prepare)()
            except RuntimeError:
                continue  # newer versions initialise themselves
        features = llvm.get_host_cpu_features()
        self.width = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
        text = "!0 = !{i32 1}\n" + "".join([
            stream("copy", self.width, ""), stream("copy_past_cache", self.width,
                                                   ", !nontemporal !0"),
            stream("read", self.width, "read"),
            multiply_adds("fma_f32", "float", self.width // 4),
            multiply_adds("fma_f64", "double", self.width // 8),
        ])  # fmt: skip
        module = llvm.parse_assembly(text)
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=3
        )
        self._engine = llvm.create_mcjit_compiler(module, target)
        self._engine.finalize_object()

    def __getitem__(self, name: str) -> Callable[[int, int, int], int]:
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 3)
        return kind(self._engine.get_function_address(name))


def aligned(size: int) -> np.ndarray[Any, Any]:
    """Touched memory that starts on a page."""
    whole = np.ones(size + PAGE, np.uint8)
    start = -whole.ctypes.data % PAGE
    return whole[start : start + size]


def fastest(pool: ThreadPoolExecutor, jobs: Sequence[Callable[[], Any]]) -> float:
    """Seconds until all jobs are done, at best."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for future in [pool.submit(job) for job in jobs]:
            future.result()
        times.append(time.perf_counter() - start)
    return min(times)


def bandwidths(kernels: Kernels, threads: int) -> dict[str, float]:
    """Bytes moved a second, reads and writes counted alike."""
    part = BYTES // threads // PAGE * PAGE
    pairs = [(aligned(part), aligned(part)) for _ in range(threads)]
    found = {}
    with ThreadPoolExecutor(threads) as pool:
        for name in ("copy", "copy_past_cache", "read"):
            kernel = kernels[name]
            jobs = [partial(kernel, d.ctypes.data, s.ctypes.data, part) for d, s in pairs]
            moved = threads * part * (1 if name == "read" else 2)
            found[name] = moved / fastest(pool, jobs)
        copies = [partial(np.copyto, d, s) for d, s in pairs]
        found["copy by NumPy"] = 2 * threads * part / fastest(pool, copies)
    return found


def arithmetic(kernels: Kernels, threads: int) -> dict[str, float]:
    """Floating-point operations a second; a multiply-add is two."""
    found = {}
    with ThreadPoolExecutor(threads) as pool:
        for name, size in (("fma_f32", 4), ("fma_f64", 8)):
            kernel, kind = kernels[name], np.float32 if size == 4 else np.float64
            x = np.zeros(16, kind)
            seeds = [np.zeros(16, kind) for _ in range(threads)]
            jobs = [partial(kernel, s.ctypes.data, x.ctypes.data, FMAS) for s in seeds]
            flops = 2 * threads * FMAS * CHAINS * kernels.width / size
            found[name] = flops / fastest(pool, jobs)
    return found


def limits(threads: int) -> dict[str, float]:
    """All limits: bytes and operations a second."""
    kernels = Kernels()
    return {
        **bandwidths(kernels, threads),
        **arithmetic(kernels, threads),
        **{f"{k}, one thread": v for k, v in arithmetic(kernels, 1).items()},
    }


def processor() -> str:
    """Its name."""
    with Path("/proc/cpuinfo").open() as info:
        for line in info:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def caches() -> dict[str, int]:
    """Bytes of the caches of the first core, by level."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (folder / "type").read_text().strip() != "Instruction":
            size = (folder / "size").read_text().strip()
            found[f"L{(folder / 'level').read_text().strip()}"] = int(size.rstrip("K")) << 10
    return found


def described(threads: int) -> dict[str, Any]:
    """The machine in words."""
    return {
        "processor": processor(), "cores": os.cpu_count(), "threads": threads,
        "caches": caches(), "system": platform.platform(), "python": platform.python_version(),
    }  # fmt: skip


def measured(threads: int, environment: dict[str, str]) -> dict[str, float]:
    """The limits, from a process of their own; empty where it failed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench.machine", str(threads)],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


if __name__ == "__main__":
    print(json.dumps(limits(int(sys.argv[1]))))
