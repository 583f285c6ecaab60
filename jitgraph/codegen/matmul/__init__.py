"""Matrix products as generated code: packed panels, a register-tiled micro-kernel, small shapes."""

from jitgraph.codegen.matmul.product import emit_matmul, emit_matmul_scratch, matmul_library

__all__ = ["emit_matmul", "emit_matmul_scratch", "matmul_library"]
