"""Programs for GPUs: a host program whose arrays and kernels are on a device.

`program` writes the host's side, `module` has the kernels, and `kernels` says which ones a step of
work becomes: `nests`, `products`, `orders`. Kernels are LLVM IR, which `ptx` compiles for a GPU and
`simulation` for the host, where the `simulator` runs them.
"""
