"""Products of a matrix and a vector: the memory of the matrix is the limit.

    matrix read along the depth     a warp for each line, its lanes along the depth
    matrix read along the lines     a thread for each line, the warps of a block along the depth

Whoever shares a line then adds up in an order that only the sizes determine.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.registers import register_type
from jitgraph.ir.types import DType

#: Loads of a thread under way at a time.
_UNROLLED = 4
_WARP, _WARPS = 32, 8
THREADS = _WARP * _WARPS


@dataclass(frozen=True, slots=True)
class Lines:
    """The matrix, in bytes from line to line and along the depth, and the vector."""

    f: FunctionBuilder
    dtype: DType
    matrix: str
    line_stride: str
    depth_stride: str
    vector: str
    vector_stride: str

    @property
    def deep(self) -> bool:
        """Whether lanes go along the depth."""
        return is_deep(self.dtype, self.depth_stride)

    def place(self) -> tuple[str, str]:
        """The line of the thread, of those of its block, and where in the depth it begins."""
        f = self.f
        thread = gpu.thread(f)
        warp, lane = f.emit(f"lshr i64 {thread}, 5"), f.emit(f"and i64 {thread}, 31")
        return (warp, lane) if self.deep else (lane, warp)

    def sum(self, line: str, begin: str, first: str, last: str) -> str:
        """The sum of a line over a part of the depth, in the threads that `finishes` names."""
        f, type_ = self.f, register_type(self.dtype)
        step = _WARP if self.deep else _WARPS
        start = f.offset(self.matrix, f.emit(f"mul i64 {line}, {self.line_stride}"))
        final = f.emit(f"sub i64 {last}, 1")
        zeros = [(type_, "0.0")] * _UNROLLED
        k0 = f.emit(f"add i64 {first}, {begin}")
        with f.loop(k0, last, step * _UNROLLED, "k", accumulators=zeros) as loop:
            loaded = []
            for n in range(_UNROLLED):
                k = f.emit(f"add i64 {loop}, {n * step}")
                at = f.minimum(k, final) if n else k
                a = self._load(start, self.depth_stride, at)
                loaded.append((k, a, self._load(self.vector, self.vector_stride, at)))
            sums = []
            for n, (k, a, b) in enumerate(loaded):
                operands = (f"{type_} {x}" for x in (a, b, loop.carried[n]))
                after = f.intrinsic(type_, f"@llvm.fma.f{8 * self.dtype.itemsize}", *operands)
                if n:
                    inside = f.emit(f"icmp slt i64 {k}, {last}")
                    after = f.select(inside, type_, after, loop.carried[n])
                sums.append(after)
            loop.carry(*sums)
        total = loop.results[0]
        for more in loop.results[1:]:
            total = f.emit(f"fadd {type_} {total}, {more}")
        return self._over_warp(total) if self.deep else self._over_block(total)

    def finishes(self) -> str:
        """Whether the thread has the sum of its line."""
        f = self.f
        thread = gpu.thread(f)
        if self.deep:
            return f.emit(f"icmp eq i64 {f.emit(f'and i64 {thread}, {_WARP - 1}')}, 0")
        return f.emit(f"icmp slt i64 {thread}, {_WARP}")

    def _load(self, start: str, stride: str, index: str) -> str:
        f = self.f
        place = f.offset(start, f.emit(f"mul i64 {index}, {stride}"))
        return f.emit(f"load {register_type(self.dtype)}, ptr {place}")

    def _over_warp(self, value: str) -> str:
        f, type_ = self.f, register_type(self.dtype)
        distance = _WARP // 2
        while distance:
            value = f.emit(f"fadd {type_} {value}, {self._from_lane(value, distance)}")
            distance //= 2
        return value

    def _from_lane(self, value: str, distance: int) -> str:
        """The value of the lane whose number differs in one bit."""
        f, words = self.f, self.dtype.itemsize // 4
        type_, whole = register_type(self.dtype), f"i{8 * self.dtype.itemsize}"
        bits = f.emit(f"bitcast {type_} {value} to {whole}")
        found = []
        for n in range(words):
            word = bits
            if words > 1:
                word = f.emit(f"trunc i64 {f.emit(f'lshr i64 {bits}, {32 * n}')} to i32")
            found.append(f.intrinsic("i32", "@llvm.nvvm.shfl.sync.bfly.i32", "i32 -1",
                                     f"i32 {word}", f"i32 {distance}", "i32 31"))  # fmt: skip
        if words > 1:
            low, high = (f.emit(f"zext i32 {word} to i64") for word in found)
            found = [f.emit(f"or i64 {low}, {f.emit(f'shl i64 {high}, 32')}")]
        return f.emit(f"bitcast {whole} {found[0]} to {type_}")

    def _over_block(self, value: str) -> str:
        f, type_, item = self.f, register_type(self.dtype), self.dtype.itemsize
        shared = gpu.shared_memory(f, THREADS * item)
        thread = gpu.thread(f)
        mine = f.offset(shared, f.emit(f"mul i64 {thread}, {item}"))
        f.do(f"store {type_} {value}, ptr {mine}")
        gpu.barrier(f)
        lane = f.emit(f"and i64 {thread}, {_WARP - 1}")
        start = f.offset(shared, f.emit(f"mul i64 {lane}, {item}"))
        total = f.emit(f"load {type_}, ptr {start}")
        for warp in range(1, _WARPS):
            more = f.emit(f"load {type_}, ptr {f.offset(start, warp * _WARP * item)}")
            total = f.emit(f"fadd {type_} {total}, {more}")
        return total


def is_deep(dtype: DType, depth_stride: str) -> bool:
    """Whether such a matrix is read along the depth."""
    return depth_stride == str(dtype.itemsize)


def lines_of_block(deep: bool) -> int:
    """How many lines a block has."""
    return _WARPS if deep else _WARP


def depth_of_round(deep: bool) -> int:
    """How far the threads of a block get at a time."""
    return _UNROLLED * (_WARP if deep else _WARPS)
