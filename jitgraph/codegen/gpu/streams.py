"""Kernels that only move memory, by which a device's limits are measured.

    copy    each thread has several pieces of 16 bytes on the way at a time
    read    the same, and what was read is written only where it is a number that it never is
"""

from __future__ import annotations

from jitgraph.codegen.gpu.module import THREADS, DeviceModule, block, blocks, thread
from jitgraph.codegen.gpu.target import DeviceTarget
from jitgraph.codegen.llvm import FunctionBuilder

STREAMS = ("copy", "read")
#: Pieces that a thread has on the way, bytes of one, and what a block moves at a time.
_FLIGHT, _PIECE = 4, 16
TILE = THREADS * _FLIGHT * _PIECE
_VECTOR = "<4 x i32>"
_NEVER = 0x5A17C0DE


def streams(target: DeviceTarget) -> DeviceModule:
    """The module: kernels `(ptr out, ptr source, i64 tiles)`."""
    module = DeviceModule(target)
    for name in STREAMS:
        f = module.kernel(name, ["ptr noalias %out", "ptr noalias %source", "i64 %tiles"])
        place = f.emit(f"mul i64 {thread(f)}, {_PIECE}", "place")
        first, step = block(f), blocks(f)
        if name == "copy":
            with f.loop(first, "%tiles", step, "tile") as tile:
                for at, piece in _loaded(f, str(tile), place):
                    f.do(f"store {_VECTOR} {piece}, ptr {f.offset('%out', at)}, align {_PIECE}")
        else:
            zeros = [(_VECTOR, "zeroinitializer")]
            with f.loop(first, "%tiles", step, "tile", accumulators=zeros) as tile:
                total = tile.carried[0]
                for _, piece in _loaded(f, str(tile), place):
                    total = f.emit(f"xor {_VECTOR} {total}, {piece}")
                tile.carry(total)
            parts = [f.emit(f"extractelement {_VECTOR} {tile.results[0]}, i32 {k}")
                     for k in range(4)]  # fmt: skip
            for part in parts[1:]:
                parts[0] = f.emit(f"xor i32 {parts[0]}, {part}")
            with f.if_then(f.emit(f"icmp eq i32 {parts[0]}, {_NEVER}")):
                f.do(f"store i32 {parts[0]}, ptr %out")
        f.do("ret void")
        module.launched(f)
    return module


def _loaded(f: FunctionBuilder, tile: str, place: str) -> list[tuple[str, str]]:
    """What a thread reads of a tile: where it is, and the piece. All loads come first."""
    start = f.emit(f"add i64 {f.emit(f'mul i64 {tile}, {TILE}')}, {place}")
    found = []
    for k in range(_FLIGHT):
        at = f.emit(f"add i64 {start}, {k * THREADS * _PIECE}")
        pointer = f.offset("%source", at)
        found.append((at, f.emit(f"load {_VECTOR}, ptr {pointer}, align {_PIECE}")))
    return found
