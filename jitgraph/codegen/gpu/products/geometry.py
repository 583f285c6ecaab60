"""What the sizes of a convolution's call mean, on the host and in kernels alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from jitgraph.codegen.gpu.products.arithmetic import Sizes
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.ir.kernel import Call
from jitgraph.ir.opdef import Size

Triple: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Images [n, groups * channels, *spatial], filters [groups * filters, channels, *taps], outputs
    [n, groups * filters, *spots]. A tap meets spot * stride + tap * dilation - before."""

    images: str
    groups: int
    channels: str
    filters: str
    spatial: Triple
    taps: Triple
    spots: Triple
    strides: tuple[int, int, int]
    before: Triple
    dilation: tuple[int, int, int]

    @staticmethod
    def of(f: FunctionBuilder, step: Call, size: Callable[[Size], str]) -> Geometry:
        """In the function `f`, where `size` gives numbers and registers."""
        s, attrs, routine = Sizes(f), step.attrs, step.routine
        letters = dict.fromkeys("".join((*(c or "" for c in routine.operands), *routine.results)))
        sizes = dict(zip(letters, map(size, step.core), strict=True))
        padding, taps = attrs["padding"], [sizes[k] for k in "kji"]
        before = []
        for axis, (count, dilation) in enumerate(zip(taps, attrs["dilation"], strict=True)):
            if isinstance(padding, str):
                reach = s.times(s.less(count, "1"), dilation)
                before.append(s.over(s.plus(reach, "1"), "2") if padding == "half" else reach)
            else:
                before.append(str(padding[2 * axis]))
        return Geometry(
            sizes["n"], attrs["groups"], sizes["e"], s.over(sizes["o"], attrs["groups"]),
            (sizes["z"], sizes["y"], sizes["x"]), (sizes["k"], sizes["j"], sizes["i"]),
            (sizes["r"], sizes["q"], sizes["p"]), tuple(attrs["strides"]),
            (before[0], before[1], before[2]), tuple(attrs["dilation"]),
        )  # fmt: skip

    @property
    def padded(self) -> bool:
        """Whether filters may reach beyond the images."""
        return self.before != ("0", "0", "0")
