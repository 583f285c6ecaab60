"""Triton: kernels written by hand for what it is known for: elementwise and row programs."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bench.case import Case
from bench.gpu import peers
from bench.gpu.peers import Running
from bench.peers.base import NotHere

_BLOCK = 1024


@triton.jit
def arithmetic(a, b, c, out, n, size: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size)
    mask = i < n
    x, y, z = tl.load(a + i, mask), tl.load(b + i, mask), tl.load(c + i, mask)
    tl.store(out + i, x * y + z, mask)


@triton.jit
def fused(a, b, c, out, n, size: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size)
    mask = i < n
    x, y, z = tl.load(a + i, mask), tl.load(b + i, mask), tl.load(c + i, mask)
    made = x * tl.exp(-y * y) + libdevice.sin(z) * libdevice.tanh(x - y)
    tl.store(out + i, made, mask)


@triton.jit
def softmax(source, out, columns, size: tl.constexpr):
    i = tl.arange(0, size)
    row = tl.program_id(0).to(tl.int64) * columns
    x = tl.load(source + row + i, i < columns, other=-float("inf"))
    e = tl.exp(x - tl.max(x, 0))
    tl.store(out + row + i, e / tl.sum(e, 0), i < columns)


@triton.jit
def layer_norm(source, gamma, beta, out, columns, size: tl.constexpr):
    i = tl.arange(0, size)
    row, mask = tl.program_id(0).to(tl.int64) * columns, i < columns
    x = tl.load(source + row + i, mask, other=0.0)
    apart = tl.where(mask, x - tl.sum(x, 0) / columns, 0.0)
    spread = 1 / tl.sqrt(tl.sum(apart * apart, 0) / columns + 1e-5)
    g, b = tl.load(gamma + i, mask), tl.load(beta + i, mask)
    tl.store(out + row + i, apart * spread * g + b, mask)


ELEMENTWISE = {"arithmetic": arithmetic, "fused": fused}
ROWS = {"softmax": softmax, "layer norm": layer_norm}


class Adapter(peers.Peer):
    """See the module."""

    def __init__(self, name: str, device: str) -> None:
        super().__init__(name, device)
        if torch.cuda.device_count() <= peers.ordinal(device):
            raise NotHere("no GPU for Triton")

    def version(self) -> str:
        return str(triton.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Running:
        if case.family not in ELEMENTWISE and case.family not in ROWS:
            raise NotHere("no kernel written")
        tensors = [torch.from_numpy(a).to(self.device) for a in arrays]
        first = tensors[0]

        def call() -> Any:
            out = torch.empty_like(first)
            if case.family in ROWS:
                m, n = first.shape
                block = triton.next_power_of_2(n)
                warps = max(min(block // 256, 16), 1)
                ROWS[case.family][(m,)](*tensors, out, n, block, num_warps=warps)
            else:
                n = first.numel()
                ELEMENTWISE[case.family][(triton.cdiv(n, _BLOCK),)](*tensors, out, n, _BLOCK)
            return out

        return Running(
            call, lambda: torch.cuda.synchronize(self.device), lambda: [call().cpu().numpy()]
        )
