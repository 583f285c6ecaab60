"""The GPU that code is generated for, and which versions of PTX fit it.

LLVM aborts the process where the version of PTX does not fit the architecture, and the driver takes
no version that is newer than itself. So both are chosen here, from tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jitgraph.codegen.target import Target
from jitgraph.errors import DeviceError, NoDeviceError, OptionError

Version = tuple[int, int]

TRIPLE = "nvptx64-nvidia-cuda"
#: For each architecture: the least version of PTX that knows it, and the bytes of shared memory
#: that a block may have when it asks for more than `STATIC_SHARED`.
ARCHITECTURES: dict[str, tuple[Version, int]] = {
    "sm_75": ((6, 3), 64 << 10),
    "sm_80": ((7, 0), 163 << 10),
    "sm_86": ((7, 1), 99 << 10),
    "sm_87": ((7, 4), 163 << 10),
    "sm_89": ((7, 8), 99 << 10),
    "sm_90": ((7, 8), 227 << 10),
    "sm_90a": ((8, 0), 227 << 10),
    "sm_100": ((8, 6), 227 << 10),
    "sm_100a": ((8, 6), 227 << 10),
    "sm_103": ((8, 8), 227 << 10),
    "sm_103a": ((8, 8), 227 << 10),
    "sm_110": ((9, 0), 227 << 10),
    "sm_120": ((8, 7), 99 << 10),
    "sm_120a": ((8, 7), 99 << 10),
    "sm_121": ((8, 8), 99 << 10),
}
#: The version of PTX that code is written in where the architecture needs none that is newer.
BASELINE: Version = (8, 0)
#: The version of PTX that came with each version of CUDA, from the first that has `BASELINE`.
PTX_OF_CUDA: dict[Version, Version] = {
    (12, 0): (8, 0),
    (12, 1): (8, 1),
    (12, 2): (8, 2),
    (12, 3): (8, 3),
    (12, 4): (8, 4),
    (12, 5): (8, 5),
    (12, 7): (8, 6),
    (12, 8): (8, 7),
    (12, 9): (8, 8),
    (13, 0): (9, 0),
}
NEWEST = max(PTX_OF_CUDA)
#: Bytes of shared memory that every block may have.
STATIC_SHARED = 48 << 10

_REGISTERS = 255
_L1_BYTES, _L2_BYTES = 128 << 10, 32 << 20
_ARCHITECTURE = re.compile(r"sm_(\d+)([af]?)")


@dataclass(frozen=True, slots=True)
class DeviceTarget(Target):
    """One GPU as LLVM and our code generators see it: `cpu` is the architecture. It has no vectors:
    each thread computes one element at a time.

    `sms` is how many multiprocessors there are, `shared_bytes` how much shared memory a block may
    have (`STATIC_SHARED` of it without being asked for). Code for a `simulated` GPU is run by the
    CPU.
    """

    ptx: Version
    sms: int
    shared_bytes: int
    simulated: bool


def device_target(
    arch: str,
    *,
    cuda: Version = NEWEST,
    sms: int = 1,
    shared_bytes: int | None = None,
    simulated: bool = False,
) -> DeviceTarget:
    """The target for code that a driver of version `cuda` loads on a GPU like this. Raises
    NoDeviceError where the GPU is too old, or the driver for the GPU."""
    known = nearest(arch)
    ptx = ptx_version(known, cuda)
    return DeviceTarget(
        triple=TRIPLE,
        cpu=known,
        features=f"+ptx{ptx[0]}{ptx[1]}",
        vector_bytes=0,
        vector_registers=_REGISTERS,
        l1_bytes=_L1_BYTES,
        l2_bytes=_L2_BYTES,
        ptx=ptx,
        sms=sms,
        shared_bytes=ARCHITECTURES[known][1] if shared_bytes is None else shared_bytes,
        simulated=simulated,
    )


def nearest(arch: str) -> str:
    """The architecture itself if it is in the table, else the newest in it that is older: PTX for
    that runs on it as well. (Names with a letter are for one architecture and no other.)"""
    if arch in ARCHITECTURES:
        return arch
    number, letter = _parsed(arch)
    if letter:
        raise OptionError(f"there is no architecture {arch}", hint=_known())
    older = [name for name in ARCHITECTURES if name[-1].isdigit() and _parsed(name)[0] <= number]
    if not older:
        least = min(ARCHITECTURES, key=_parsed)
        raise NoDeviceError(
            f"this GPU ({arch}) is too old",
            hint=f"the oldest that jitgraph makes code for is {least} (Turing, 2018)",
        )
    return max(older, key=_parsed)


def ptx_version(arch: str, cuda: Version) -> Version:
    """The version of PTX for an architecture of the table, under a driver of version `cuda`."""
    wanted = max(ARCHITECTURES[arch][0], BASELINE)
    taken = max((ptx for since, ptx in PTX_OF_CUDA.items() if since <= cuda), default=(0, 0))
    if taken < wanted:
        least = min(since for since, ptx in PTX_OF_CUDA.items() if ptx >= wanted)
        raise NoDeviceError(
            f"the NVIDIA driver is too old: it is of CUDA {cuda[0]}.{cuda[1]}, and code for {arch} "
            f"needs {least[0]}.{least[1]}",
            hint="install a newer driver (nvidia-smi shows which one is there)",
        )
    return wanted


def check_shared(target: DeviceTarget, kernel: str, size: int) -> None:
    """Raise DeviceError if a kernel needs more shared memory than a block of the GPU may have."""
    if size > target.shared_bytes:
        raise DeviceError(
            f"the kernel {kernel} needs {size:,} bytes of shared memory a block; {target.cpu} has "
            f"{target.shared_bytes:,}"
        )


def _parsed(arch: str) -> tuple[int, str]:
    match = _ARCHITECTURE.fullmatch(arch)
    if match is None:
        raise OptionError(f"there is no architecture {arch!r}", hint=_known())
    return int(match[1]), match[2]


def _known() -> str:
    return f"known are {', '.join(ARCHITECTURES)}"
