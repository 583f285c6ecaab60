"""Matrix products as generated code: packed panels, a register-tiled micro-kernel, small shapes."""

from jitgraph.codegen.matmul.product import compile_matmul, emit_matmul, matmul_library

__all__ = ["compile_matmul", "emit_matmul", "matmul_library"]
