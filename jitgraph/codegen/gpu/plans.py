"""Plans of matrix products by cuBLASLt: blocks of words that generated code and the runtime share.

    words of a plan: those of `PROBLEM`, of which it is the plan, and then `PLANNED`
"""

#: What a problem is: out[b, i, j] = sum over k of left[b, i, k] * right[b, k, j] (+ bias[j]).
#: Distances are in elements. `*_line` is that of rows, or of columns where `*_turned` says that
#: elements of columns are adjacent; `out` has adjacent elements in its rows. `*_aligned` is a power
#: of two that divides the address. `compute` is a cublasComputeType_t. Descriptors are told where
#: the bias is, so with one each `thread` has plans of its own.
PROBLEM = (
    "compute", "batch", "rows", "columns", "depth",
    "left_turned", "left_line", "left_batch", "right_turned", "right_line", "right_batch",
    "out_line", "out_batch", "biased", "thread",
    "left_aligned", "right_aligned", "out_aligned", "bias_aligned",
)  # fmt: skip
#: What `cublasLtMatmul` is called with. `zeros`: what stands for both factors, if not null.
PLANNED = (
    "handle", "operation", "one", "nought", "right_layout", "left_layout", "out_layout",
    "algorithm", "workspace", "workspace_bytes", "zeros",
)  # fmt: skip
WORDS = (*PROBLEM, *PLANNED)
#: The most that alignments are told apart by.
MOST_ALIGNED = 256
#: cublasComputeType_t by precision.
COMPUTE = {"exact": 68, "tf32": 77, "bf16": 75, "f16": 74}
COMPUTE_F64 = 70
#: The attribute of an operation that is the address of its bias.
BIAS_POINTER = 8
