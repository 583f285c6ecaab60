"""Convolution and its adjoints as generated LLVM IR: matrix products whose one operand is never
there as a whole.

    conv              filters · patches: panels of patches are packed, one after the other, and
                      swept by the micro-kernels of `codegen.matmul` while they are in the L1 cache;
                      few filters (`direct`) read the patches where they lie
    conv_by_input     turned filters · adjoint of the outputs: panels of products are added to the
                      places that the filters saw
    conv_by_filters   patches · turned adjoint: micro-kernels of their own read the patches where
                      they lie

Where an element of a filter meets the input is the sum of two offsets, one of the element (from a
table) and one of the place; so there is one code for all geometries. Images that need zeros around
them are copied between zeros, one at a time.

Work is cut by the sizes alone, and every output is one task's own, so results are the same bits for
every number of threads.
"""

from __future__ import annotations

from functools import cache

from jitgraph.codegen.convolution.by_filters import emit_by_filters
from jitgraph.codegen.convolution.by_input import emit_by_input
from jitgraph.codegen.convolution.forward import emit_forward
from jitgraph.codegen.llvm import Compiled, Module
from jitgraph.codegen.matmul.kernel import emit_first, emit_packed_panel, emit_panel, emit_sweep
from jitgraph.codegen.matmul.packing import emit_pack
from jitgraph.codegen.matmul.tiling import Tiling
from jitgraph.codegen.objects import cached_library
from jitgraph.codegen.pool import pool_library
from jitgraph.codegen.target import Target


@cache
def convolution_library(dtype: str, target: Target) -> Compiled:
    """The functions for `dtype` ("f32" or "f64"), compiled and kept on disk."""
    imports = {"parallel_for": pool_library(target).address("parallel_for")}
    return cached_library(
        f"convolution_{dtype}", lambda: library_text(dtype, target), target, imports=imports
    )


def library_text(dtype: str, target: Target) -> str:
    """Its IR. Every function has the signature

        i64 (ptr geometry, ptr a, ptr b, ptr out, ptr memory, ptr epilogue, ptr context)

    with arrays in C order that do not overlap, and the words that `geometry.GIVEN` names. Without
    memory it does nothing and gives the number of bytes that it needs. Those that make images call

        epilogue(context, i64 copy, ptr image, i64 number, i64 first, i64 last)

    unless it is null, when channels `first` to `last` (exclusive) of an image, which lies there,
    are final. Where `out` is null, they are not kept any longer.
    Calls of one `copy` (there are up to `geometry.MOST_CHUNKS`) come one after the other, and which
    belong to it follows from the sizes.
    """
    module, base = Module(target), f"convolution_{dtype}"
    tiling = Tiling.of(dtype, target)
    for vectors in range(1, tiling.vectors + 1):
        emit_panel(module, base, tiling, vectors)
        emit_packed_panel(module, base, tiling, vectors)
        emit_first(module, base, tiling, vectors)
    emit_sweep(module, base, tiling)
    emit_pack(module, base, tiling)
    emit_forward(module, base, tiling)
    emit_by_input(module, base, tiling)
    emit_by_filters(module, base, tiling)
    return module.text()
