"""The machine that code is generated for: what the generators size their tiles by.

A `Target` is plain data, so it can be part of a cache key and a test can invent one.
"""

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from jitgraph.codegen.generator import generator
from jitgraph.store import Entry, fingerprint, store

_DEFAULT_L1_BYTES = 32 << 10
_DEFAULT_L2_BYTES = 512 << 10
_CPUINFO = Path("/proc/cpuinfo")
# Lines of it that differ from core to core or from moment to moment.
_CHANGING = ("processor", "cpu MHz", "core id", "apicid", "initial apicid", "bogomips", "BogoMIPS")
_CACHE_ROOT = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True, slots=True)
class Target:
    """One processor as LLVM and our code generators see it.

    `vector_bytes` is the SIMD width that code should prefer and `vector_registers` how many
    registers of that width there are; caches are per core (data cache for the first level).
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int

    @property
    def has_fma(self) -> bool:
        """Whether a product and a sum are one instruction, rounded once."""
        return not self.triple.startswith(("x86", "i")) or "+fma" in self.features.split(",")


@cache
def host() -> Target:
    """The processor this process runs on."""
    triple, cpu, features = _remembered() or _asked()
    vector_bytes, vector_registers = _simd(triple, set(features.split(",")))
    return Target(
        triple=triple,
        cpu=cpu,
        features=features,
        vector_bytes=vector_bytes,
        vector_registers=vector_registers,
        l1_bytes=cache_bytes(1, _DEFAULT_L1_BYTES),
        l2_bytes=cache_bytes(2, _DEFAULT_L2_BYTES),
    )


@cache
def initialise() -> None:
    """Make LLVM ready for the native target."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


def _asked() -> tuple[str, str, str]:
    """What LLVM says of the processor: triple, name, features; kept for the next process."""
    import llvmlite.binding as llvm

    initialise()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    found = llvm.get_process_triple(), cpu, features
    shelf, key = store(), _identity()
    if shelf is not None and key is not None:
        shelf.save(key, Entry({"kind": "processor", "name": cpu, "target": found}, ()))
    return found


def _remembered() -> tuple[str, str, str] | None:
    """What LLVM said in an earlier process on the same kind of processor: asking means to load
    LLVM, which code from the disk does not need."""
    shelf, key = store(), _identity()
    entry = shelf.load(key) if shelf is not None and key is not None else None
    return tuple(entry.header["target"]) if entry is not None else None


def _identity() -> str | None:
    """A key for everything that LLVM's answer depends on, or None where that is not known.

    Linux tells model, stepping and features of the first core, less what it does not know itself;
    NumPy has asked the processor for the vector extensions.
    """
    try:
        first = _CPUINFO.read_text().partition("\n\n")[0]
    except OSError:
        return None
    lines = [line for line in first.splitlines() if not line.startswith(_CHANGING)]
    vectors = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    return fingerprint("processor", generator(), platform.machine(), repr(vectors), *lines)


def _simd(triple: str, features: set[str]) -> tuple[int, int]:
    """Preferred vector width in bytes and the number of vector registers.

    AVX-512 counts only with its VL, BW and DQ parts: the first chips without them
    (Knights Landing) are better served as AVX2.
    """
    if all(f"+avx512{part}" in features for part in ("f", "vl", "bw", "dq")):
        return 64, 32
    if "+avx" in features:
        return 32, 16
    is_arm = triple.startswith(("aarch64", "arm64"))
    return 16, 32 if is_arm else 16


def cache_bytes(level: int, default: int) -> int:
    """Size of the data (or unified) cache of `level`, as Linux reports it, else `default`."""
    for index in sorted(_CACHE_ROOT.glob("index*")):
        try:
            if int((index / "level").read_text()) != level:
                continue
            if (index / "type").read_text().strip() == "Instruction":
                continue
            return _parse_size((index / "size").read_text().strip())
        except (OSError, ValueError):
            continue
    return default


def _parse_size(text: str) -> int:
    """`"48K"` => 49152."""
    shifts = {"K": 10, "M": 20, "G": 30}
    return int(text[:-1]) << shifts[text[-1]] if text[-1] in shifts else int(text)
