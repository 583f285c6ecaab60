"""cuBLASLt as the simulated device has it: the functions that are called, with their meaning.

What they are asked for is checked as the library would: attributes and their sizes, layouts whose
lines overlap, addresses that are less aligned than was promised. Matrices go through the device's
transfers, which check that they lie where memory is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph.codegen.gpu.plans import BIAS_POINTER, COMPUTE, COMPUTE_F64
from jitgraph.runtime import cublas
from jitgraph.runtime.cublas import FUNCTIONS, Proposal

if TYPE_CHECKING:
    from jitgraph.runtime.device import Device

_OK, _INVALID, _FAILED, _NOT_SUPPORTED = 0, 7, 13, 15
_TYPES: dict[int, np.dtype[Any]] = {cublas.R_32F: np.dtype("f4"), cublas.R_64F: np.dtype("f8")}
#: Bits of the fraction that factors are rounded to, by how it computes.
_ROUNDED = {COMPUTE["tf32"]: 10, COMPUTE["f16"]: 10, COMPUTE["bf16"]: 7}
_EXACT = {COMPUTE["exact"], COMPUTE_F64}
#: What each kind of thing may be told, and in how many bytes.
_ATTRIBUTES = {
    "operation": {
        cublas.TRANSPOSE_A: 4, cublas.TRANSPOSE_B: 4, cublas.EPILOGUE: 4, BIAS_POINTER: 8,
    },
    "layout": {cublas.BATCH_COUNT: 4, cublas.BATCH_OFFSET: 8},
    "preference": {
        cublas.MOST_WORKSPACE: 8, cublas.ALIGNED_A: 4, cublas.ALIGNED_B: 4, cublas.ALIGNED_C: 4,
        cublas.ALIGNED_D: 4,
    },
}  # fmt: skip
_ALIGNED = (cublas.ALIGNED_A, cublas.ALIGNED_B, cublas.ALIGNED_C, cublas.ALIGNED_D)
_NEEDED_WORKSPACE = 256


class _Refused(Exception):  # noqa: N818 - a status
    def __init__(self, status: int) -> None:
        self.status = status


class _Thing:
    """A descriptor: its kind, what it was made with, and its attributes."""

    def __init__(self, kind: str, *made: int) -> None:
        self.kind, self.made = kind, made
        self.attributes: dict[int, int] = {}

    def get(self, attribute: int, default: int = 0) -> int:
        return self.attributes.get(attribute, default)


class SimulatedLibrary:
    """The library for a device whose memory it reads and writes by transfers."""

    def __init__(self, device: Device) -> None:
        self._device = device
        #: By number; 0 is NULL.
        self._things: list[_Thing] = [_Thing("null")]
        meanings: dict[str, Callable[..., None]] = {
            "cublasLtCreate": self._create,
            "cublasLtMatmulDescCreate": self._operation,
            "cublasLtMatmulDescSetAttribute": partial(self._set, "operation"),
            "cublasLtMatrixLayoutCreate": self._layout,
            "cublasLtMatrixLayoutSetAttribute": partial(self._set, "layout"),
            "cublasLtMatmulPreferenceCreate": self._preference,
            "cublasLtMatmulPreferenceSetAttribute": partial(self._set, "preference"),
            "cublasLtMatmulAlgoGetHeuristic": self._propose,
            "cublasLtMatmul": self._multiply,
        }
        self._functions = {
            name: ctypes.CFUNCTYPE(ctypes.c_int, *types)(_guarded(meanings[name]))
            for name, types in FUNCTIONS.items()
        }
        #: The sizes of the products that were computed: batch, rows, columns, depth.
        self.products: list[tuple[int, int, int, int]] = []

    def address(self, name: str) -> int:
        """Of one of the functions."""
        return ctypes.cast(self._functions[name], ctypes.c_void_p).value or 0

    # --- descriptors ----------------------------------------------------------------------------
    def _new(self, cell: int, kind: str, *made: int) -> None:
        self._things.append(_Thing(kind, *made))
        ctypes.c_int64.from_address(cell).value = len(self._things) - 1

    def _thing(self, number: int, kind: str) -> _Thing:
        found = self._things[number]
        _require(found.kind == kind)
        return found

    def _set(self, kind: str, number: int, attribute: int, value: int, size: int) -> None:
        thing = self._thing(number, kind)
        _require(_ATTRIBUTES[kind].get(attribute) == size)
        data = ctypes.string_at(value, size)
        thing.attributes[attribute] = int.from_bytes(data, "little", signed=True)

    def _create(self, cell: int) -> None:
        self._new(cell, "handle")

    def _operation(self, cell: int, compute: int, scale: int) -> None:
        _require(compute in _EXACT or compute in _ROUNDED)
        _require(scale == (cublas.R_64F if compute == COMPUTE_F64 else cublas.R_32F))
        self._new(cell, "operation", compute)

    def _layout(self, cell: int, type_: int, rows: int, columns: int, ld: int) -> None:
        _require(type_ in _TYPES and rows > 0 and columns > 0 and ld >= rows)
        self._new(cell, "layout", type_, rows, columns, ld)

    def _preference(self, cell: int) -> None:
        self._new(cell, "preference")

    def _propose(
        self, handle: int, operation: int, a: int, b: int, c: int, d: int, preference: int,
        asked: int, results: int, count: int,
    ) -> None:  # fmt: skip
        self._thing(handle, "handle")
        self._shape(operation, a, b, c, d)
        wanted = self._thing(preference, "preference")
        proposal = Proposal.from_address(results)
        for k, attribute in enumerate(_ALIGNED):
            proposal.algorithm[k] = wanted.get(attribute, 256)
        proposal.algorithm[4] = operation
        proposal.workspace = min(_NEEDED_WORKSPACE, wanted.get(cublas.MOST_WORKSPACE))
        ctypes.c_int32.from_address(count).value = min(asked, 1)

    def _shape(self, operation: int, *layouts: int) -> tuple[int, int, int, int]:
        """Batch, rows, columns and depth of a product, if the matrices fit."""
        done = self._thing(operation, "operation")
        a, b, c, d = (self._thing(x, "layout") for x in layouts)
        rows, depth = a.made[1:3][:: -1 if done.get(cublas.TRANSPOSE_A) else 1]
        inner, columns = b.made[1:3][:: -1 if done.get(cublas.TRANSPOSE_B) else 1]
        batch = {x.get(cublas.BATCH_COUNT, 1) for x in (a, b, c, d)}
        _require(len(batch) == 1 and inner == depth)
        _require(c.made[1:3] == d.made[1:3] == (rows, columns))
        double = done.made[0] == COMPUTE_F64
        _require({x.made[0] for x in (a, b, c, d)} == {cublas.R_64F if double else cublas.R_32F})
        if double and done.get(cublas.EPILOGUE, cublas.NO_EPILOGUE) != cublas.NO_EPILOGUE:
            raise _Refused(_NOT_SUPPORTED)
        return batch.pop(), rows, columns, depth

    # --- a product ------------------------------------------------------------------------------
    def _multiply(
        self, handle: int, operation: int, alpha: int, a: int, a_layout: int, b: int, b_layout: int,
        beta: int, c: int, c_layout: int, d: int, d_layout: int, algorithm: int, workspace: int,
        workspace_bytes: int, stream: int,
    ) -> None:  # fmt: skip
        self._thing(handle, "handle")
        shape = self._shape(operation, a_layout, b_layout, c_layout, d_layout)
        promised = (ctypes.c_uint64 * 8).from_address(algorithm)
        _require(promised[4] == operation and workspace_bytes >= _NEEDED_WORKSPACE)
        _require(bool(workspace) and workspace % 256 == 0 and stream == self._device.stream)
        for pointer, alignment in zip((a, b, c, d), promised, strict=False):
            _require(pointer % alignment == 0)
        done = self._thing(operation, "operation")
        dtype = _TYPES[self._thing(a_layout, "layout").made[0]]
        for scale, number in ((alpha, 1), (beta, 0)):
            _require(np.frombuffer(ctypes.string_at(scale, dtype.itemsize), dtype)[0] == number)
        left, right = self._read(a, a_layout), self._read(b, b_layout)
        if done.get(cublas.TRANSPOSE_A):
            left = left.swapaxes(-1, -2)
        if done.get(cublas.TRANSPOSE_B):
            right = right.swapaxes(-1, -2)
        bits = _ROUNDED.get(done.made[0])
        product = _to_bits(left, bits) @ _to_bits(right, bits)
        if done.get(cublas.EPILOGUE) == cublas.ADD_BIAS:
            bias = np.empty(shape[1], dtype)
            self._transfer("to_host", bias.ctypes.data, done.get(BIAS_POINTER), bias.nbytes)
            product += bias[:, None]
        self._write(d, d_layout, product)
        self.products.append(shape)

    def _read(self, address: int, layout: int) -> np.ndarray[Any, Any]:
        """[batch, rows, columns]."""
        thing = self._thing(layout, "layout")
        type_, rows, columns, ld = thing.made
        batch, offset = thing.get(cublas.BATCH_COUNT, 1), thing.get(cublas.BATCH_OFFSET)
        dtype = _TYPES[type_]
        found = np.empty((batch, columns, rows), dtype)
        for k in range(batch):
            lines = np.empty(ld * (columns - 1) + rows, dtype)
            start = address + k * offset * dtype.itemsize
            self._transfer("to_host", lines.ctypes.data, start, lines.nbytes)
            strides = (ld * dtype.itemsize, dtype.itemsize)
            found[k] = np.lib.stride_tricks.as_strided(lines, (columns, rows), strides)
        turned: np.ndarray[Any, Any] = found.swapaxes(-1, -2)
        return turned

    def _write(self, address: int, layout: int, product: np.ndarray[Any, Any]) -> None:
        thing = self._thing(layout, "layout")
        type_, _, columns, ld = thing.made
        item, offset = _TYPES[type_].itemsize, thing.get(cublas.BATCH_OFFSET)
        for k, matrix in enumerate(product):
            for column in range(columns):
                line = np.ascontiguousarray(matrix[:, column])
                to = address + (k * offset + column * ld) * item
                self._transfer("to_device", to, line.ctypes.data, line.nbytes)

    def _transfer(self, function: str, to: int, source: int, size: int) -> None:
        if self._device.try_call(function, to, source, size, self._device.stream):
            raise _Refused(_FAILED)


def _guarded(function: Callable[..., None]) -> Callable[..., int]:
    """As a C function: NULL is 0, and what is refused a status."""

    def run(*arguments: int | None) -> int:
        try:
            function(*(x or 0 for x in arguments))
        except _Refused as refused:
            return refused.status
        except Exception:  # it must not pass through native code
            return _FAILED
        return _OK

    return run


def _require(condition: bool) -> None:
    if not condition:
        raise _Refused(_INVALID)


def _to_bits(x: np.ndarray[Any, Any], bits: int | None) -> np.ndarray[Any, Any]:
    """f32 rounded to so many bits of the fraction, ties to even."""
    if bits is None:
        return x
    words = np.ascontiguousarray(x).view(np.uint32)
    drop = 23 - bits
    odd = (words >> drop) & 1
    rounded = (words + np.uint32((1 << (drop - 1)) - 1) + odd) >> drop << drop
    return np.where(np.isfinite(x), rounded.view(np.float32), x)
