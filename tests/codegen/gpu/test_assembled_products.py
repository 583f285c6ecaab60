"""NVIDIA's assembler takes the kernels of products and convolutions, and hardly spills."""

from __future__ import annotations

import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu import backend
from jitgraph.codegen.gpu.ptx import assemble, ptx
from jitgraph.codegen.gpu.target import device_target
from jitgraph.config import Products
from jitgraph.errors import MissingPackageError

#: Bytes that other kernels than the tiles of products and convolutions may spill: what calls of a
#: division save.
_SPILLED = 160


def product(dtype: str) -> object:
    x, y, b = T.matrix("x", dtype=dtype), T.matrix("y", dtype=dtype), T.vector("b", dtype=dtype)
    u, v = T.tensor3("u", dtype=dtype), T.tensor3("v", dtype=dtype, shape=(None, None, 1))
    return jg.function([x, y, b, u, v], [T.tanh(T.dot(x, y) + b), T.matmul(u, v)])


def convolution(dtype: str) -> object:
    x, w, g = (T.tensor4(name, dtype=dtype) for name in "xwg")
    y = T.nnet.conv2d(x, w, border_mode="half", subsample=(2, 1))
    return jg.function([x, w, g], [y, *T.grad((y * g).sum(), [x, w])])


@pytest.mark.parametrize(
    ("made", "dtype", "precision", "arch"),
    [
        (product, "float32", "exact", "sm_75"), (product, "float64", "exact", "sm_80"),
        (product, "float32", "bf16", "sm_90"), (product, "float32", "f16", "sm_100"),
        (convolution, "float32", "exact", "sm_90"), (convolution, "float32", "tf32", "sm_90"),
    ],
)  # fmt: skip
def test_assembled(made: object, dtype: str, precision: str, arch: str) -> None:
    assert callable(made)
    compilation, target = made(dtype).compilation, device_target(arch)
    modules = backend.emit(compilation.program, compilation.signature, target,
                           contract=True, products=Products(precision))  # fmt: skip
    try:
        _, reports = assemble(ptx(modules.device.text(), target), arch)
    except MissingPackageError:
        pytest.skip("no ptxas here")
    assert reports
    for name, report in reports.items():
        most = 0 if report.shared else _SPILLED
        assert report.spill_stores + report.spill_loads <= most, (name, report)
        assert report.shared <= 48 << 10
