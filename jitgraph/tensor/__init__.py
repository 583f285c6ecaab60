# ruff: noqa: F401  (everything imported here is exported)
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
| `control`, `scan` | `while_loop`, `fori_loop`, `cond`, `ifelse`; `scan`, `map`, `reduce` |
| `nnet` | `softmax`, cross-entropies |
| `shared` | `shared`: variables with a value of their own |
| `random` | random numbers: functions of keys, and `RandomStreams` |
| `gradient` | `grad` |
| `derivatives` | `jacobian`, `hessian`, `jvp`, `vjp`, `hvp`, `vectorize_graph` |
| `marks` | `stop_gradient`, `grad_clip`, ...: what gradients see |
| `operands` | what may stand where an array is meant |

The functions that follow from tables are spelled out for type checkers and editors in
`__init__.pyi`, which `python -m jitgraph.tensor.stub` writes.
"""

import inspect as _inspect
import math as _math

from jitgraph.tensor import nnet, random
from jitgraph.tensor.constructors import CONSTRUCTORS, tensor
from jitgraph.tensor.control import cond, fori_loop, ifelse, loop_rows, while_loop
from jitgraph.tensor.creation import arange, eye, full, ones, zeros
from jitgraph.tensor.derivatives import (
    Lop,
    Rop,
    hessian,
    hvp,
    jacobian,
    jvp,
    vectorize_graph,
    vjp,
)
from jitgraph.tensor.gradient import grad
from jitgraph.tensor.indexing import take
from jitgraph.tensor.linear import dot, matmul, outer
from jitgraph.tensor.marks import (
    consider_constant,
    disconnected_grad,
    grad_clip,
    grad_scale,
    stop_gradient,
    zero_grad,
)
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
from jitgraph.tensor.scan import foldl, foldr, map, reduce, scan, until
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
from jitgraph.tensor.variable import Variable

as_tensor_variable = as_tensor
constant = as_tensor
log_softmax = nnet.log_softmax
softmax = nnet.softmax
inf, nan, pi = _math.inf, _math.nan, _math.pi
newaxis = None

globals().update(FUNCTIONS)
globals().update(CONSTRUCTORS)

_OWN_ROOMS = ("nnet", "random")
__all__ = sorted(
    name for name, value in globals().items()
    if not name.startswith("_") and name not in ("FUNCTIONS", "CONSTRUCTORS")
    and (name in _OWN_ROOMS or not _inspect.ismodule(value))
)  # fmt: skip
