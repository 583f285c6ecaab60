"""The symbolic API: `import jitgraph.tensor as T`.

Variables stand for arrays that do not exist yet; NumPy's operators, methods and functions build
expressions of them, and `jitgraph.function` compiles the expressions.

| room | what is in it |
|---|---|
| `variable` | `Variable`, with NumPy's operators and methods |
| `constructors` | `scalar`, `dvector`, `lmatrices`, ... : the inputs of a program |
| `creation` | `zeros`, `ones`, `full`, `eye`, `arange` |
| `math` | elementwise functions, one per op of the tables |
| `reductions` | `sum`, `mean`, `argmax`, ... |
| `shaping` | `reshape`, `concatenate`, `split`, ... |
| `indexing` | `x[...]` |
| `linear` | `dot`, `matmul`, `outer` |
| `nnet` | `softmax`, cross-entropies |
| `shared` | `shared`: variables with a value of their own |
| `gradient` | `grad` |
| `operands` | what may stand where an array is meant |

The functions that follow from tables are spelled out for type checkers and editors in
`__init__.pyi`, which `python -m jitgraph.tensor.stub` writes.
"""

import math as _math

from jitgraph.tensor import fft, linalg, nnet
from jitgraph.tensor.constructors import CONSTRUCTORS, tensor
from jitgraph.tensor.creation import arange, eye, full, ones, zeros
from jitgraph.tensor.gradient import grad
from jitgraph.tensor.indexing import take
from jitgraph.tensor.linear import dot, matmul, outer
from jitgraph.tensor.masks import argwhere, compress, extract, flatnonzero, nonzero
from jitgraph.tensor.math import (
    FUNCTIONS,
    allclose,
    cast,
    clip,
    isclose,
    relu,
    round,
    switch,
    where,
)
from jitgraph.tensor.operands import as_tensor
from jitgraph.tensor.reductions import (
    all,
    any,
    argmax,
    argmin,
    cumsum,
    logsumexp,
    max,
    max_and_argmax,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from jitgraph.tensor.shaping import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_to,
    concatenate,
    dimshuffle,
    expand_dims,
    flatten,
    full_like,
    hstack,
    moveaxis,
    ones_like,
    ravel,
    reshape,
    shape,
    shape_padleft,
    shape_padright,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
    vstack,
    zeros_like,
)
from jitgraph.tensor.shared import SharedVariable, shared
from jitgraph.tensor.sorting import (
    argpartition,
    argsort,
    lexsort,
    median,
    nanmedian,
    nanpercentile,
    nanquantile,
    partition,
    percentile,
    quantile,
    sort,
    top_k,
    unique,
)
from jitgraph.tensor.variable import Variable

as_tensor_variable = as_tensor
constant = as_tensor
log_softmax = nnet.log_softmax
softmax = nnet.softmax
inf, nan, pi = _math.inf, _math.nan, _math.pi
newaxis = None

globals().update(FUNCTIONS)
globals().update(CONSTRUCTORS)

__all__ = [
    "all", "allclose", "any", "arange", "argmax", "argmin", "argpartition", "argsort", "argwhere",
    "as_tensor", "as_tensor_variable", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_to",
    "cast", "clip", "compress", "concatenate", "constant", "cumsum", "dimshuffle", "dot",
    "expand_dims", "extract", "eye", "fft", "flatnonzero", "flatten", "full", "full_like", "grad",
    "hstack", "inf", "isclose", "lexsort", "linalg", "log_softmax", "logsumexp", "matmul", "max",
    "max_and_argmax", "mean", "median", "min", "moveaxis", "nan", "nanmedian", "nanpercentile",
    "nanquantile", "newaxis", "nnet", "nonzero", "ones", "ones_like", "outer", "partition",
    "percentile", "pi", "prod", "quantile", "ravel", "relu", "reshape", "round", "shape",
    "shape_padleft", "shape_padright", "shared", "softmax", "sort", "split", "squeeze", "stack",
    "std", "sum", "swapaxes", "switch", "take", "tensor", "top_k", "transpose", "unique", "var",
    "vstack", "where", "zeros", "zeros_like", "SharedVariable", "Variable",
    *FUNCTIONS, *CONSTRUCTORS,
]  # fmt: skip
