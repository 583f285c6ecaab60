"""The machine that code is generated for: what the generators size their tiles by.

A `Target` is plain data, so it can be part of a cache key and a test can invent one.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

_DEFAULT_L1_BYTES = 32 << 10
_DEFAULT_L2_BYTES = 512 << 10
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


@cache
def host() -> Target:
    """The processor this process runs on. The first call initialises LLVM's native target."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    vector_bytes, vector_registers = _simd(triple, features)
    return Target(
        triple=triple,
        cpu=llvm.get_host_cpu_name(),
        features=features.flatten(),
        vector_bytes=vector_bytes,
        vector_registers=vector_registers,
        l1_bytes=_cache_bytes(1, _DEFAULT_L1_BYTES),
        l2_bytes=_cache_bytes(2, _DEFAULT_L2_BYTES),
    )


def _simd(triple: str, features: dict[str, bool]) -> tuple[int, int]:
    """Preferred vector width in bytes and the number of vector registers.

    AVX-512 counts only with its VL, BW and DQ parts: the first chips without them
    (Knights Landing) are better served as AVX2.
    """
    if all(features.get(f"avx512{part}", False) for part in ("f", "vl", "bw", "dq")):
        return 64, 32
    if features.get("avx", False):
        return 32, 16
    is_arm = triple.startswith(("aarch64", "arm64"))
    return 16, 32 if is_arm else 16


def _cache_bytes(level: int, default: int) -> int:
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
