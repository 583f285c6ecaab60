"""Programs for GPUs: a host program whose arrays and kernels are on a device.

`program` writes the host's side, `module` the kernels' one; `points`, and the rooms beside it, are
how loop nests become grids of threads. Kernels are LLVM IR, which `ptx` compiles for a GPU and
`simulation` for the host.
"""
