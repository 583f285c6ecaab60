"""cuBLASLt, NVIDIA's library of matrix products, by its C functions.

A device that has it lets generated code call it (`codegen.gpu.products.library`). What that needs
for a problem, its *plan*, is made here, once for each problem: descriptors, and the algorithm that
the library's heuristics propose. The library sees columns first; a product of ours is one of its
with the factors exchanged.

It gives the same results in every run on the same kind of GPU, with the same version of itself.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from jitgraph.codegen.gpu import record
from jitgraph.codegen.gpu.plans import BIAS_POINTER, COMPUTE_F64, PLANNED, PROBLEM, WORDS
from jitgraph.errors import DeviceError, DeviceMemoryError

if TYPE_CHECKING:
    from jitgraph.runtime.device import Device

_POINTER, _I32, _I64, _SIZE = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_size_t
#: The functions that are called, and the types of their parameters. All return a status.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cublasLtCreate": (_POINTER,),
    "cublasLtMatmulDescCreate": (_POINTER, _I32, _I32),
    "cublasLtMatmulDescSetAttribute": (_POINTER, _I32, _POINTER, _SIZE),
    "cublasLtMatrixLayoutCreate": (_POINTER, _I32, ctypes.c_uint64, ctypes.c_uint64, _I64),
    "cublasLtMatrixLayoutSetAttribute": (_POINTER, _I32, _POINTER, _SIZE),
    "cublasLtMatmulPreferenceCreate": (_POINTER,),
    "cublasLtMatmulPreferenceSetAttribute": (_POINTER, _I32, _POINTER, _SIZE),
    "cublasLtMatmulAlgoGetHeuristic": (*(_POINTER,) * 7, _I32, _POINTER, _POINTER),
    "cublasLtMatmul": (*(_POINTER,) * 14, _SIZE, _POINTER),
}
STATUS = {
    1: "NOT_INITIALIZED", 3: "ALLOC_FAILED", 7: "INVALID_VALUE", 8: "ARCH_MISMATCH",
    11: "MAPPING_ERROR", 13: "EXECUTION_FAILED", 14: "INTERNAL_ERROR", 15: "NOT_SUPPORTED",
    16: "LICENSE_ERROR",
}  # fmt: skip
_INTERNAL_ERROR, _NOT_SUPPORTED = 14, 15
#: cudaDataType.
R_32F, R_64F = 0, 1
#: Attributes of operations, of layouts and of preferences.
TRANSPOSE_A, TRANSPOSE_B, EPILOGUE = 3, 4, 7
BATCH_COUNT, BATCH_OFFSET = 5, 6
MOST_WORKSPACE, ALIGNED_A, ALIGNED_B, ALIGNED_C, ALIGNED_D = 1, 5, 6, 7, 8
#: Values of the first two, and of the third.
PLAIN, TRANSPOSED = 0, 1
NO_EPILOGUE, ADD_BIAS = 1, 4
#: Memory that algorithms may use, as NVIDIA advises for its larger GPUs.
WORKSPACE = 32 << 20


class Proposal(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8), ("workspace", _SIZE), ("state", _I32),
        ("waves", ctypes.c_float), ("reserved", _I32 * 4),
    )  # fmt: skip


class Library(Protocol):
    """The library, or what pretends to be it: addresses of `FUNCTIONS`."""

    def address(self, name: str) -> int: ...


class _Refused(Exception):  # noqa: N818 - a status, not an error of the user's
    def __init__(self, status: int) -> None:
        self.status = status


class Multiplier:
    """The library at work for a device. Raises DeviceError where it cannot be set up."""

    def __init__(self, device: Device, library: Library) -> None:
        self._device = device
        self._call = {
            name: ctypes.CFUNCTYPE(ctypes.c_int, *types)(library.address(name))
            for name, types in FUNCTIONS.items()
        }
        self._lock = threading.Lock()
        self._plans: dict[bytes, Any] = {}
        #: What plans point at.
        self._kept: list[Any] = []
        device.enter()
        try:
            self._handle = self._made("cublasLtCreate")
        except _Refused as refused:
            raise DeviceError(
                f"{device.name}: cuBLASLt does not start ({described(refused.status)})", hint=OWN
            ) from None
        self._workspace = device.allocate(WORKSPACE)
        self._zeros, self._zero_bytes = 0, 0
        self._planner = ctypes.CFUNCTYPE(_POINTER, _POINTER)(self._plan)
        #: What the device's record is to have.
        self.words: Mapping[str, int] = {
            "plan": ctypes.cast(self._planner, _POINTER).value or 0,
            "multiply": library.address("cublasLtMatmul"),
            "describe": library.address("cublasLtMatmulDescSetAttribute"),
        }

    def _plan(self, problem: int) -> int | None:
        """Called from native code: the address of the plan for the problem at an address; null, and
        `error` set in the record, if there is none."""
        key = ctypes.string_at(problem, 8 * len(PROBLEM))
        try:
            with self._lock:
                if key not in self._plans:
                    words = memoryview(key).cast("q")
                    self._plans[key] = self._new(dict(zip(PROBLEM, words, strict=True)), key)
                return ctypes.addressof(self._plans[key])
        except _Refused as refused:
            self._device.note(record.LIBRARY + refused.status)
        except DeviceMemoryError:
            self._device.note(record.OUT_OF_MEMORY)
        except Exception:  # it must not pass through native code
            self._device.note(record.LIBRARY + _INTERNAL_ERROR)
        return None

    def _new(self, problem: Mapping[str, int], key: bytes) -> Any:
        rows, columns, depth = (problem[k] for k in ("rows", "columns", "depth"))
        zeros = 0
        if not depth:  # a sum of nothing is one zero
            zeros, depth = self._zeros_for(problem), 1
        left = self._layout(problem, "left", rows, depth)
        right = self._layout(problem, "right", depth, columns)
        out = self._layout(problem, "out", rows, columns)
        operation = self._operation(problem)
        proposal = self._proposed(problem, operation, left, right, out)
        number = (ctypes.c_double if _is_double(problem) else ctypes.c_float) * 2
        scales = number(1, 0)
        self._kept += [proposal, scales]
        planned = {
            "handle": self._handle, "operation": operation,
            "one": ctypes.addressof(scales),
            "nought": ctypes.addressof(scales) + ctypes.sizeof(scales) // 2,
            "left_layout": left, "right_layout": right, "out_layout": out,
            "algorithm": ctypes.addressof(proposal), "workspace": self._workspace,
            "workspace_bytes": proposal.workspace, "zeros": zeros,
        }  # fmt: skip
        plan = (ctypes.c_int64 * len(WORDS))(*memoryview(key).cast("q"))
        for k, word in enumerate(PLANNED, len(PROBLEM)):
            plan[k] = planned[word]
        return plan

    def _zeros_for(self, problem: Mapping[str, int]) -> int:
        """Memory full of zeros for either factor of a product of depth 1, whatever its strides."""
        reach = 0
        for side, lines in (("left", "rows"), ("right", "columns")):
            along = max(problem[f"{side}_line"], 1) * max(problem[lines], 1)
            reach = max(reach, along + abs(problem[f"{side}_batch"]) * problem["batch"])
        size = 8 * (reach + 1)
        if size > self._zero_bytes:  # earlier plans still have what they were given
            self._zeros, self._zero_bytes = self._device.allocate(size), size
            self._device.call("set_bytes", self._zeros, 0, size, self._device.stream)
        return self._zeros

    def _operation(self, problem: Mapping[str, int]) -> int:
        made = self._made("cublasLtMatmulDescCreate", problem["compute"], _number(problem))
        # Its first factor is our right one.
        sides = ((TRANSPOSE_A, "right"), (TRANSPOSE_B, "left"))
        for attribute, side in sides:
            turned = TRANSPOSED if problem[f"{side}_turned"] else PLAIN
            self._set("cublasLtMatmulDesc", made, attribute, _I32(turned))
        if problem["biased"]:
            self._set("cublasLtMatmulDesc", made, EPILOGUE, _I32(ADD_BIAS))
            # The heuristics look at nothing but how it is aligned.
            self._set("cublasLtMatmulDesc", made, BIAS_POINTER, _I64(problem["bias_aligned"]))
        return made

    def _layout(self, problem: Mapping[str, int], side: str, rows: int, columns: int) -> int:
        """Of a matrix with these rows and columns, as the library sees it: its columns are our
        rows, or with `turned` our columns."""
        if problem.get(f"{side}_turned"):
            rows, columns = columns, rows
        line = max(problem[f"{side}_line"], columns)
        made = self._made("cublasLtMatrixLayoutCreate", _number(problem), columns, rows, line)
        if problem["batch"] > 1:
            self._set("cublasLtMatrixLayout", made, BATCH_COUNT, _I32(problem["batch"]))
            offset = _I64(problem[f"{side}_batch"])
            self._set("cublasLtMatrixLayout", made, BATCH_OFFSET, offset)
        return made

    def _proposed(
        self, problem: Mapping[str, int], operation: int, left: int, right: int, out: int
    ) -> Proposal:
        """The algorithm for the problem."""
        preference = self._made("cublasLtMatmulPreferenceCreate")
        wanted = {
            ALIGNED_A: problem["right_aligned"], ALIGNED_B: problem["left_aligned"],
            ALIGNED_C: problem["out_aligned"], ALIGNED_D: problem["out_aligned"],
        }  # fmt: skip
        self._set("cublasLtMatmulPreference", preference, MOST_WORKSPACE, _I64(WORKSPACE))
        for attribute, alignment in wanted.items():
            self._set("cublasLtMatmulPreference", preference, attribute, _I32(alignment))
        proposal, count = Proposal(), _I32(0)
        self._do(
            "cublasLtMatmulAlgoGetHeuristic", self._handle, operation, right, left, out, out,
            preference, 1, ctypes.addressof(proposal), ctypes.addressof(count),
        )  # fmt: skip
        if not count.value:
            raise _Refused(_NOT_SUPPORTED)
        if proposal.state:
            raise _Refused(proposal.state)
        return proposal

    # --- the library's functions ----------------------------------------------------------------
    def _do(self, name: str, *arguments: int) -> None:
        status = self._call[name](*arguments)
        if status:
            raise _Refused(status)

    def _made(self, name: str, *arguments: int) -> int:
        """Something new, by the function that creates it; it stays for as long as the process."""
        cell = _POINTER()
        self._do(name, ctypes.addressof(cell), *arguments)
        return cell.value or 0

    def _set(self, kind: str, thing: int, attribute: int, value: Any) -> None:
        where, size = ctypes.addressof(value), ctypes.sizeof(value)
        self._do(f"{kind}SetAttribute", thing, attribute, where, size)


OWN = 'JITGRAPH_PRODUCTS=own (jg.config.products = "own") computes without it'


def described(status: int) -> str:
    """A status of the library in words."""
    return f"CUBLAS_STATUS_{STATUS.get(status, status)}"


def _is_double(problem: Mapping[str, int]) -> bool:
    return problem["compute"] == COMPUTE_F64


def _number(problem: Mapping[str, int]) -> int:
    return R_64F if _is_double(problem) else R_32F


class InstalledLibrary:
    """cuBLASLt as it is installed here."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def address(self, name: str) -> int:
        """Of one of its functions."""
        return ctypes.cast(getattr(self._library, name), _POINTER).value or 0


def installed() -> InstalledLibrary | None:
    """The library, if `cuda.pathfinder` finds it."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib
    except ImportError:
        return None
    try:
        path = load_nvidia_dynamic_lib("cublasLt").abs_path
    except RuntimeError:  # of which DynamicLibNotFoundError is one
        return None
    return InstalledLibrary(ctypes.CDLL(path))
